"""The contract of the complete model: the library keeps it, and each fault put into the library's source breaks it."""

import inspect
import textwrap
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from awdlib import model
from awdlib.model import LanguageModel, ModelConfig, cross_entropy, penalties
from awdlib.model_contract import check_language_model, check_objective

EVALUATION = "in evaluation nothing is dropped"
STATES = "the state after a window begins the next"
WORDS = "embedding dropout: a word is gone wherever it stands"
ROWS = "the softmax reads every row of the tied matrix"
INPUT = "locked dropout on the embedded words"
HIDDEN = "locked dropout between every two layers"
WEIGHT = "weight drop: one mask on each recurrent matrix"
RAW = "the raw output is what the last layer gave"
OUTPUT = "locked dropout on the output"
DROPPED = "the softmax reads the dropped output"
FRESH = "draws every mask anew for each window"

LOOKUP = "F.embedding(tokens, words)"
LAYER = "x, state = layer(x, state, generator=generator)"
LAST = "dropout(x, config.dropout_output, **dropping)"


def rewritten(thing, old, new):
    """The same class or function with one piece of its source replaced."""
    code = textwrap.dedent(inspect.getsource(thing))
    assert code.count(old) == 1, f"{old!r} occurs {code.count(old)} times"
    names = dict(vars(model))
    exec(code.replace(old, new), names)
    return names[thing.__name__]


def test_the_library_keeps_every_promise_whatever_the_cell_and_the_random_state():
    for cell in ("lstm", "gru", "rnn"):
        report = check_language_model(lambda config, cell=cell: LanguageModel(replace(config, cell=cell)))
        assert report.kept and len(report.promises) == 11, (cell, report)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert check_language_model(LanguageModel).kept
    assert torch.equal(torch.get_rng_state(), before)


def test_it_is_kept_whatever_is_drawn(monkeypatch):
    drawn = iter(range(40))
    monkeypatch.setattr(torch, "manual_seed", lambda _, seed=torch.manual_seed: seed(1000 + next(drawn)))
    for _ in range(30):
        assert check_language_model(LanguageModel).kept


@pytest.mark.parametrize(("old", "new", "broken"), [
    ("embedding_dropout(self.embedding, config.dropout_embedding, **dropping)", "self.embedding", [WORDS]),
    (LOOKUP, "F.embedding(tokens, self.embedding)", [WORDS]),
    # entries in place of rows; tokens in place of types; nothing scaled
    ("embedding_dropout(self.embedding,", "ordinary_dropout(self.embedding,", [WORDS]),
    (LOOKUP, f"{LOOKUP} * (torch.rand(*tokens.shape, 1) > config.dropout_embedding * self.training)", [WORDS]),
    (LOOKUP, "F.embedding(tokens, words) * (1 - config.dropout_embedding * self.training)", [WORDS]),
    ("x = dropout(F.embedding(tokens, words), config.dropout_input, **dropping)", f"x = {LOOKUP}", [INPUT]),
    ("locked_dropout if config.locked else ordinary_dropout", "ordinary_dropout", [INPUT, HIDDEN, OUTPUT]),
    # one mask for the whole batch
    (f"{LOOKUP}, config.dropout_input, **dropping)",
     "F.embedding(tokens, words).flatten(0, 1)[:, None], config.dropout_input, **dropping).view(*tokens.shape, -1)",
     [INPUT]),
    ("if number > 0:", "if number >= 0:", [HIDDEN]),
    ("if number > 0:", "if number > 1:", [HIDDEN]),
    ("if number > 0:", "if number > 9:", [HIDDEN]),
    ("config.dropout_hidden,", "config.dropout_output,", [HIDDEN, RAW]),
    (LAYER, f"{LAYER}; x = dropout(x, config.dropout_hidden, **dropping)", [HIDDEN]),
    ("inputs, outputs, config.dropout_weight,", "inputs, outputs, 0.0,", [WEIGHT]),
    ("inputs, outputs, config.dropout_weight,", "inputs, outputs, 0.6 * config.dropout_weight,", [WEIGHT]),
    (LAYER, "x, _ = layer(x, state, generator=generator)", [STATES]),
    (LAYER, LAYER.replace("x, state,", "x, layer.initial_state(x.shape[1]),"), [STATES]),
    (LAST, "x", [OUTPUT]),
    (f"x, {LAST}", f"*2 * ({LAST},)", [RAW, OUTPUT]),
    (f"x, {LAST}", f"{LAST}, x", [RAW, OUTPUT]),
    ("F.linear(encoding.dropped_output", "F.linear(encoding.raw_output", [DROPPED]),
    ("return (self.embedding if", "return (embedding_dropout(self.embedding, self.config.dropout_embedding, "
     "self.training) if", [ROWS]),
    ("return (self.embedding if", "return (self.embedding.flip(0) if", [ROWS, DROPPED]),
    ('"training": self.training', '"training": True', [EVALUATION]),
    ('"generator": generator}', '"generator": torch.Generator().manual_seed(1)}', [FRESH]),
])  # fmt: skip
def test_each_fault_breaks_its_promises_and_no_other(old, new, broken):
    report = check_language_model(rewritten(LanguageModel, old, new))
    assert report.broken() == broken, report
    assert all(promise.hint in repr(report) for promise in report.promises if not promise.kept)


def test_a_model_that_is_always_in_training_or_never_is_found():
    class Never(LanguageModel):
        def train(self, mode=True):
            return super().train(False)

    assert {WORDS, INPUT, HIDDEN, WEIGHT, OUTPUT} <= {*check_language_model(Never).broken()}
    assert "it is silently inactive" in repr(check_language_model(Never))


def test_a_mask_a_step_on_the_recurrent_matrix_is_not_weight_drop():
    class Steps(LanguageModel):
        def encode(self, tokens, states=None, *, generator=None):
            parts = []
            for row in tokens:
                parts.append(super().encode(row[None], states, generator=generator))
                states = parts[-1].states
            return model.Encoding(states, *(torch.cat(part) for part in list(zip(*parts, strict=True))[1:]))

    broken = check_language_model(Steps).broken()
    assert {INPUT, HIDDEN, WEIGHT, OUTPUT} <= {*broken} and EVALUATION not in broken and STATES not in broken


def test_a_model_that_fails_is_told_how():
    def make(config: ModelConfig):
        raise RuntimeError("no layers today")

    assert "it raised RuntimeError: no layers today" in repr(check_language_model(make))


# ---- the loss ----


def loss_with(penalties):
    def loss(output, targets, alpha, beta):
        return cross_entropy(output.logits, targets) + penalties(output, alpha, beta)

    return loss


ENTROPY = "cross entropy: the mean over all words of the window"
AR, TAR = "AR: α times the mean square of the dropped output", "TAR: β times the mean square of the raw output's steps"
GRADIENT = "every term sends its gradient back"


def test_the_librarys_loss_keeps_its_promises():
    report = check_objective(loss_with(penalties))
    assert report.kept and [promise.text for promise in report.promises] == [ENTROPY, AR, TAR, GRADIENT]


@pytest.mark.parametrize(("old", "new", "broken"), [
    ("output.dropped_output", "output.raw_output", [AR]),
    ("output.raw_output", "output.dropped_output", [TAR]),
    ("return ar +", "return", [AR]),
    ("return ar + temporal_activation_regularization(at_least_single(output.raw_output), tar_weight)", "return ar",
     [TAR]),
    ("(output.raw_output)", "(output.raw_output).detach()", [GRADIENT]),
    ("(output.dropped_output)", "(output.dropped_output).detach()", [GRADIENT]),
    ("ar_weight)", "tar_weight)", None),
    ("(output.raw_output)", "(output.raw_output.transpose(0, 1))", [TAR]),
])  # fmt: skip
def test_each_fault_of_the_penalties_breaks_its_promise(old, new, broken):
    code = inspect.getsource(penalties)
    if broken is None:  # the two weights exchanged
        old, new, broken = "(output.dropped_output), ar_weight", "(output.dropped_output), tar_weight", [AR, TAR]
    assert old in code
    assert check_objective(loss_with(rewritten(penalties, old, new))).broken() == broken


@pytest.mark.parametrize("reduction", ["sum", "detached", "last"])
def test_each_fault_of_the_cross_entropy_breaks_its_promise(reduction):
    def loss(output, targets, alpha, beta):
        logits = output.logits.detach() if reduction == "detached" else output.logits
        logits, targets = (logits[-1:], targets[-1:]) if reduction == "last" else (logits, targets)
        how = "sum" if reduction == "sum" else "mean"
        entropy = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=how)
        return entropy + penalties(output, alpha, beta)

    assert check_objective(loss).broken() == [GRADIENT if reduction == "detached" else ENTROPY]


def test_a_loss_that_fails_or_forgets_the_batch_is_told_how():
    report = check_objective(lambda output, targets, alpha, beta: F.cross_entropy(output.logits, targets))
    assert not report.kept and "it raised" in repr(report)
