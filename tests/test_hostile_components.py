"""Hostile input to the components: each wrong kind, shape, device or value is refused in one line that names it.

Another device is played by torch's "meta", which has shapes and no numbers.
"""

import numpy as np
import pytest
import torch
from hostile import assert_refused, inf, nan, table
from torch import nn

from awdlib import _require as require
from awdlib.batches import WindowLengths, batchify, ends_epoch, fixed_windows, window
from awdlib.contracts import check_locked_dropout, check_mask, check_weight_drop
from awdlib.dropout import embedding_dropout, keep_mask, locked_dropout, ordinary_dropout, weight_dropout
from awdlib.exercises.dropout_masks import check_batch_first, check_counts
from awdlib.ntasgd import NTASGD, count_triggers, is_triggered
from awdlib.penalties import activation_regularization, temporal_activation_regularization
from awdlib.recurrent import GRULayer, LSTMLayer, gru_step, lstm_step

TOKENS, COLUMNS = torch.arange(60), torch.arange(20).view(10, 2)
WINDOW, MATRIX, IDS = torch.ones(5, 2, 3), torch.ones(4, 3), torch.ones(5, 2, 3, dtype=torch.long)
DROPOUTS = {ordinary_dropout: WINDOW, locked_dropout: WINDOW, embedding_dropout: MATRIX, weight_dropout: MATRIX}
PENALTIES = (activation_regularization, temporal_activation_regularization)
NOT_NUMBERS = {"a string": "0.5", "none": None, "a bool": True, "a tensor": torch.tensor(0.5), "a list": [0.5]}
NOT_WHOLE = {"a fraction": 2.5, "2.0": 2.0, "nan": nan, "a string": "2", "none": None, "a bool": True}


@table({
    "a list for the text": (lambda: batchify([1, 2, 3], 1), r"tokens is \[1, 2, 3\]; it must be a tensor"),
    "a text of columns": (lambda: batchify(COLUMNS, 2), r"tokens has shape \(10, 2\); it must be \(num_tokens,\)"),
    "a text of floats": (lambda: batchify(torch.rand(9), 2), r"tokens holds torch.float32; token ids are .*\.long\(\)"),
    "a text of bools": (lambda: batchify(TOKENS > 3, 2), "tokens holds torch.bool"),
    "an empty text": (lambda: batchify(TOKENS[:0], 1), "the text has 0 tokens; it needs at least 2"),
    "more columns than words": (lambda: batchify(TOKENS, 100), "use a batch_size of at most 30"),
    **{f"batch_size {name}": (lambda v=v: batchify(TOKENS, v), "batch_size is .*whole")
       for name, v in NOT_WHOLE.items()},
    **{f"bptt {name}": (lambda v=v: WindowLengths(bptt=v), "bptt is .*whole") for name, v in NOT_WHOLE.items()},
    **{f"spread {name}": (lambda v=v: WindowLengths(spread=v), "spread is") for name, v in NOT_NUMBERS.items()},
    "spread nan": (lambda: WindowLengths(spread=nan), "spread is nan; it must be a finite number"),
    "spread infinite": (lambda: WindowLengths(spread=inf), "spread is inf; it must be a finite number"),
    "short_probability nan": (lambda: WindowLengths(short_probability=nan), "short_probability is nan"),
    "minimum of half a word": (lambda: WindowLengths(minimum=2.5), "minimum is 2.5; it must be a whole number"),
    "maximum nan": (lambda: WindowLengths(maximum=nan), "maximum is nan; it must be a whole number"),
    "a seed for a generator": (lambda: WindowLengths().draw(5), "generator is 5; it must be a torch.Generator"),
    "a negative start": (lambda: window(COLUMNS, -1, 3), "start is -1; it cannot be negative"),
    "a start at the end": (lambda: window(COLUMNS, 9, 3), "start is 9; in columns of 10 rows .* begins at row 8"),
    "a window of no words": (lambda: window(COLUMNS, 0, 0), "the window's length is 0; it must be at least 1"),
    "a window of -2 words": (lambda: window(COLUMNS, 0, -2), "the window's length is -2"),
    "a window over a text": (lambda: window(TOKENS, 0, 3), r"columns has shape \(60,\); it must be \(rows, batch\)"),
    "evaluation windows of 2.5": (lambda: next(fixed_windows(COLUMNS, 2.5)), "length is 2.5; it must be a whole"),
    "an epoch's end before its start": (lambda: ends_epoch(COLUMNS, -5), "start is -5; it cannot be negative"),
})  # fmt: skip
def test_batches(call, line):
    assert_refused(call, line)


@table({
    **{f"{f.__name__}, p {name}": (lambda f=f, x=x, p=p: f(x, p), "p is .*; it must be a number")
       for f, x in DROPOUTS.items() for name, p in NOT_NUMBERS.items()},
    **{f"{f.__name__}, a list": (lambda f=f: f([1.0, 2.0], 0.5), "is .1.0, 2.0.; it must be a tensor")
       for f in DROPOUTS},
    **{f"{f.__name__}, whole numbers": (lambda f=f, x=x: f(x.long(), 0.5), r"holds torch.int64; .* use \.float\(\)")
       for f, x in DROPOUTS.items()},
    **{f"{f.__name__}, training a word": (lambda f=f, x=x: f(x, 0.5, "no"), "training is 'no'; it must be True or")
       for f, x in DROPOUTS.items()},
    **{f"{f.__name__}, a seed": (lambda f=f, x=x: f(x, 0.5, generator=3), "generator is 3")
       for f, x in DROPOUTS.items()},
    **{f"{f.__name__}, a generator elsewhere":
       (lambda f=f, x=x: f(x.to("meta"), 0.5, generator=torch.Generator()), "generator is on cpu .* drawn on meta")
       for f, x in DROPOUTS.items()},
    "an input by its own name": (lambda: ordinary_dropout(IDS, 0.5), "^x holds torch.int64"),
    "whole numbers in evaluation too": (lambda: locked_dropout(IDS, 0.5, False), "x holds torch.int64"),
    "an embedding of one dimension": (
        lambda: embedding_dropout(torch.ones(4), 0.5), r"must be \(vocab, embedding_size"),
    "a negative size": (lambda: keep_mask((-1, 2), 0.5), "a size in shape is -1; it cannot be negative"),
    "half a size": (lambda: keep_mask((2.5,), 0.5), "a size in shape is 2.5; it must be a whole number"),
    "a shape that is none": (lambda: keep_mask("ab", 0.5), "shape is 'ab'; it must be a tuple of sizes"),
    "a mask of whole numbers": (
        lambda: keep_mask((2,), 0.5, dtype=torch.long), "dtype is torch.int64; .*floating-point"),
    "no such device": (lambda: keep_mask((2,), 0.5, device="gpu"), "device is 'gpu'; torch finds here: cpu"),
})  # fmt: skip
def test_dropout(call, line):
    assert_refused(call, line)


@table({
    **{f"{f.__name__[:4]}, weight {v}": (lambda f=f, v=v: f(WINDOW, v), f"weight is {v}; it must be finite and cannot")
       for f in PENALTIES for v in (nan, inf, -1.0)},
    **{f"{f.__name__[:4]}, weight {name}": (lambda f=f, v=v: f(WINDOW, v), "weight is .*; it must be a number")
       for f in PENALTIES for name, v in NOT_NUMBERS.items()},
    **{f"{f.__name__[:4]}, no element": (lambda f=f: f(WINDOW[:, :0], 1.0), r"shape \(5, 0, 3\); a mean needs at least")
       for f in PENALTIES},
    **{f"{f.__name__[:4]}, whole numbers": (lambda f=f: f(IDS, 1.0), "output holds torch.int64") for f in PENALTIES},
    **{f"{f.__name__[:4]}, one dimension": (lambda f=f: f(torch.ones(3), 1.0), r"must be \(seq_len, batch, features\)")
       for f in PENALTIES},
})  # fmt: skip
def test_penalties(call, line):
    assert_refused(call, line)


def weights():
    return [nn.Parameter(torch.ones(2))]


def optimizer(averaging=False):
    made = NTASGD(weights(), lr=1.0)
    made.param_groups[0]["params"][0].grad = torch.ones(2)
    if averaging:
        made.start_averaging()
        made.step()
    return made


def step_at(lr):
    made = optimizer()
    made.param_groups[0]["lr"] = lr
    made.step()


def restore(change):
    """Restore a changed state; what refuses it must not have touched the optimizer."""
    saved, made = optimizer(averaging=True).state_dict(), optimizer()
    before = made.state_dict()
    try:
        made.load_state_dict(change(saved))
    finally:
        assert made.state_dict() == before


@table({
    **{f"lr {name}": (lambda v=v: NTASGD(weights(), v), "lr is .*; it must be a number")
       for name, v in NOT_NUMBERS.items()},
    "lr infinite": (lambda: NTASGD(weights(), inf), "lr is inf; it must be finite and cannot be negative"),
    "weight_decay nan": (lambda: NTASGD(weights(), 1.0, weight_decay=nan), "weight_decay is nan"),
    **{f"patience {name}": (lambda v=v: NTASGD(weights(), 1.0, patience=v), "patience is .*whole number")
       for name, v in NOT_WHOLE.items()},
    "a group's own lr": (lambda: NTASGD([{"params": weights(), "lr": -1.0}], lr=1.0), "lr is -1.0"),
    "nothing to train": (lambda: NTASGD([], lr=1.0), "empty parameter list"),
    **{f"a step at lr {lr}": (lambda lr=lr: step_at(lr), f"lr is {lr}") for lr in (nan, inf, -0.5)},
    "a closure": (lambda: optimizer().step(lambda: 1.0), r"closure is given; .* call backward\(\) before step"),
    **{f"observing {v}": (lambda v=v: optimizer().observe(v), "validation_loss is .*number")
       for v in (nan, inf, "5", None, torch.tensor(5.0), True)},
    "nan in a history": (lambda: is_triggered([1.0, nan, 2.0, 3.0], 1), "the losses are .*nan.* all must be finite"),
    "inf in a history": (lambda: count_triggers([1.0, inf, 2.0, 3.0], 1), "the losses are .*inf.* all must be finite"),
    "a negative patience": (lambda: is_triggered([1.0, 2.0, 3.0], -1), "patience is -1; it cannot be negative"),
    "a patience of 1.5": (lambda: count_triggers([1.0, 2.0, 3.0], 1.5), "patience is 1.5; it must be a whole number"),
    "an average of another shape": (
        lambda: restore(lambda s: s | {"state": {0: {"average": torch.ones(3)}}}), r"must have shape \(2,\)"),
    "no average": (lambda: restore(lambda s: s | {"state": {}}), "not the state of an NTASGD .KeyError"),
    "another optimizer's state": (
        lambda: restore(lambda _: torch.optim.SGD(weights(), lr=1.0).state_dict()), "not the state of an NTASGD"),
    "no state at all": (lambda: restore(lambda _: [1]), "not the state of an NTASGD"),
    "a history with nan": (lambda: restore(lambda s: s | {"history": [nan]}), "all must be finite"),
    "a count below zero": (lambda: restore(lambda s: s | {"iterates_averaged": -3}), "iterates_averaged is -3"),
    "another number of weights": (
        lambda: restore(lambda s: s | {"param_groups": [{**s["param_groups"][0], "params": [0, 1]}],
                                       "state": dict.fromkeys((0, 1), s["state"][0])}), "of 2 weights .* has 1"),
    "an lr of nan": (
        lambda: restore(lambda s: s | {"param_groups": [{**s["param_groups"][0], "lr": nan}]}), "lr is nan"),
})  # fmt: skip
def test_ntasgd(call, line):
    assert_refused(call, line)


def test_a_refused_loss_is_not_noted_and_no_weights_join_once_averaging_has_begun():
    made = optimizer()
    with pytest.raises(ValueError):
        made.observe(nan)
    assert made.history == []
    made.start_averaging()
    with pytest.raises(RuntimeError, match="add all weights before"):
        made.add_param_group({"params": weights()})


LAYER, STATE = LSTMLayer(3, 4), (torch.zeros(2, 4), torch.zeros(2, 4))
LSTM, GRU = ((torch.ones(n, 3), torch.ones(n, 4), torch.ones(n), torch.ones(n)) for n in (16, 12))


@table({
    **{f"{name} of {value!r}":
       (lambda n=name, v=value: LSTMLayer(**{"input_size": 3, "hidden_size": 4, n: v}), f"{name} is")
       for name in ("input_size", "hidden_size") for value in (0, -1, 3.0, "3", True)},
    "p as a string": (lambda: LSTMLayer(3, 4, "0.5"), "weight_dropout is '0.5'; it must be a number"),
    "no streams": (lambda: LAYER.initial_state(0), "batch_size is 0; it must be at least 1"),
    "2.5 streams": (lambda: LAYER.initial_state(2.5), "batch_size is 2.5; it must be a whole number"),
    "an input without a batch": (lambda: LAYER(WINDOW[0], STATE), r"x has shape \(2, 3\); it must be \(seq_len"),
    "other features": (
        lambda: LAYER(torch.ones(5, 2, 7), STATE), r"shape \(5, 2, 7\); it must be \(seq_len, batch, 3\)"),
    "a window of no steps": (lambda: LAYER(WINDOW[:0], STATE), r"shape \(0, 2, 3\).*neither of them 0"),
    "an input of whole numbers": (lambda: LAYER(IDS, STATE), "x holds torch.int64"),
    "an input elsewhere": (lambda: LAYER(WINDOW.to("meta"), STATE), r"x is on meta and the layer on cpu: .* \.to\(\)"),
    "an input in double": (lambda: LAYER(WINDOW.double(), STATE), "x holds torch.float64 and the layer torch.float32"),
    "half a state": (lambda: LAYER(WINDOW, STATE[:1]), "the state is a tuple of 1 tensors; it must be a tuple of 2"),
    "an LSTM's state for a GRU": (lambda: GRULayer(3, 4)(WINDOW, STATE), "it must be a tuple of 1"),
    "a tensor for a state": (lambda: LAYER(WINDOW, torch.zeros(2, 2, 4)), "it must be a tuple of 2"),
    "a state of another batch": (
        lambda: LAYER(WINDOW, (torch.zeros(3, 4),) * 2),
        r"\(3, 4\); it must have shape \(2, 4\): \(batch, hidden_size\)"),
    "a state of another size": (
        lambda: LAYER(WINDOW, (torch.zeros(2, 5),) * 2), r"\(2, 5\); it must have shape \(2, 4\)"),
    "a state in double": (lambda: LAYER(WINDOW, tuple(p.double() for p in STATE)), "the state holds torch.float64"),
    "a state elsewhere": (
        lambda: LAYER(WINDOW, tuple(p.to("meta") for p in STATE)), "the state is on meta and x on cpu"),
    "a step of one sequence": (lambda: lstm_step(WINDOW[0, 0], STATE, *LSTM), r"x has shape \(3,\); it must be"),
    "a state of nothing": (lambda: LAYER(WINDOW, (None, None)), "a part of the state is None; it must be a tensor"),
    "a step from a tensor": (lambda: lstm_step(WINDOW[0], torch.zeros(2, 2, 4), *LSTM), "it must be a tuple of 2"),
    "a step of one sequence's state": (
        lambda: lstm_step(WINDOW[0], (torch.zeros(1, 4),) * 2, *LSTM), r"\(1, 4\); it must have shape \(2, 4\)"),
    "a bias that would broadcast": (
        lambda: lstm_step(WINDOW[0], STATE, *LSTM[:2], torch.zeros(1), LSTM[3]),
        r"bias_ih is .*\(1,\); it must .*\(16,\)"),
    "an LSTM's weights for a GRU": (
        lambda: gru_step(WINDOW[0], STATE[:1], *LSTM),
        r"weight_ih is .*\(16, 3\); it must have shape \(12, 3\): 3 blocks"),
    "a GRU's step from an LSTM's state": (lambda: gru_step(WINDOW[0], STATE, *GRU), "it must be a tuple of 1"),
})  # fmt: skip
def test_recurrent(call, line):
    assert_refused(call, line)


@table({
    **{f"p {p!r}": (lambda p=p: check_locked_dropout(locked_dropout, p), "p is")
       for p in (0, 1, 1.0, nan, "a", True, -1, 2)},
    "a layer's p of 1": (
        lambda: check_weight_drop(lambda p: LSTMLayer(6, 8, p), p=1.0), r"p is 1.0; it must lie in \(0, 1\)"),
    "no input": (lambda: check_weight_drop(lambda p: LSTMLayer(6, 8, p), 0), "input_size is 0"),
    "half a size": (lambda: check_mask(locked_dropout, 0.5, (2.5, 2, 3), {0: "time"}, {}), "a size in shape is 2.5"),
    "nothing to drop": (lambda: check_mask(locked_dropout, 0.5, (0, 2, 3), {0: "time"}, {}), "no size may be 0"),
    "a dimension too many": (lambda: check_mask(locked_dropout, 0.5, (4, 2, 3), {9: "x"}, {}), "a dimension is 9"),
    "an exercise's p of 2": (lambda: check_batch_first(locked_dropout, 2), r"p is 2; it must lie in \(0, 1\)"),
    "an answer in words": (lambda: check_counts("many", 3), "ordinary is 'many'; it must be a number"),
    "a list of answers": (lambda: check_counts(3, [4]), r"locked is \[4\]; it must be a number"),
})  # fmt: skip
def test_contracts_and_exercises(call, line):
    assert_refused(call, line)


def test_numpys_numbers_and_whole_numbers_for_floats_are_welcome_and_become_pythons():
    assert keep_mask((np.int64(3),), np.float32(0.5)).shape == (3,)
    assert batchify(TOKENS, np.int32(2)).shape == (30, 2)
    lengths = WindowLengths(bptt=np.int64(70), spread=np.float32(5), short_probability=0)
    assert [type(value) for value in vars(lengths).values()] == [int, float, float, int, type(None)]
    assert NTASGD(weights(), lr=np.float64(2), patience=np.int16(3)).patience == 3


def test_what_is_shown_is_one_short_line_and_never_a_tensors_numbers():
    for value in (torch.ones(90, 90), (torch.ones(90, 90),) * 3, ["x" * 900], "two\nlines"):
        shown = require.shown(value)
        assert len(shown) <= 60 and "\n" not in shown and "1." not in shown
