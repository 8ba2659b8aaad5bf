"""The exercises of *AWD-LSTM assembled*: printed solutions pass, every known wrong answer gets its hint."""

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_exercises import solutions
from torch import nn

from awdlib.exercises.answers import YOUR_TURN
from awdlib.exercises.awd_lstm import (
    ORDER,
    check_epoch,
    check_excess,
    check_order,
    check_parameters,
    parameters_of,
    reference_epoch,
)
from awdlib.model import LanguageModel, ModelConfig, cross_entropy, detach

NEEDED = {"nn": nn, "torch": torch, "detach": detach, "cross_entropy": cross_entropy}


def hints(report):
    return {promise.text: promise.hint for promise in report.promises if not promise.kept}


def test_the_printed_solutions_pass():
    found = solutions("awd-lstm")
    assert sorted(found) == [1, 2, 3, 4]
    assert check_order(found[1]["order"]).kept
    assert check_parameters(found[2]["parameters"]).kept
    assert check_excess(found[3]["excess"], found[3]["closed"]).kept
    found[4].update(NEEDED)
    assert check_epoch(found[4]["epoch"]).kept


def test_an_empty_cell_is_no_answer():
    def nothing(*arguments): ...

    assert check_order(...) is YOUR_TURN and check_parameters(nothing) is YOUR_TURN
    assert check_excess(nothing, nothing) is YOUR_TURN and check_epoch(nothing) is YOUR_TURN


@pytest.mark.parametrize("answer", ["cfabdegh", "bcefadgh", [*"cefabdgh"], "C F A B D E G H"])
def test_every_order_that_works_is_right(answer):
    assert check_order(answer).kept


@pytest.mark.parametrize(
    ("answer", "broken"),
    [
        ("abcdefgh", ["f before a"]),
        ("cfdabegh", ["a before d", "b before d"]),
        ("ecfabdgh", ["c before e"]),
        ("cfabdehg", ["g before h"]),
        ("cfabgdeh", ["g and h after the windows"]),
        ("bcfdaegh", ["a before d"]),
    ],
)
def test_an_order_that_does_not_work_says_where(answer, broken):
    report = check_order(answer)
    assert report.broken() == broken
    for promise in report.promises:
        if not promise.kept and "windows" not in promise.text:
            one, _, other = promise.text.partition(" before ")
            assert promise.hint == ORDER[one, other]


@pytest.mark.parametrize("answer", ["abc", "abcdefgg", 7])
def test_what_is_no_order_is_refused(answer):
    with pytest.raises(ValueError, match="each letter from a to h once"):
        check_order(answer)


@pytest.mark.parametrize("sizes", [(10_000, 400, 1150, 3), (50, 6, 9, 2), (50, 6, 9, 1), (33_278, 400, 1150, 3)])
def test_the_count_is_that_of_the_model(sizes):
    names = ("vocab_size", "embedding_size", "hidden_size", "num_layers")
    with torch.device("meta"):
        model = LanguageModel(ModelConfig(**dict(zip(names, sizes, strict=True))))
    assert parameters_of(*sizes) == sum(weight.numel() for weight in model.parameters())


def lstm(inputs, outputs, biases=2, gates=4):
    return gates * outputs * (inputs + outputs + biases)


def counted(vocab, embedding, hidden, layers, *, untied=0, bias=1, last=None, **lstms):
    sizes = [embedding] + [hidden] * (layers - 1) + [last or embedding]
    recurrent = sum(lstm(*pair, **lstms) for pair in zip(sizes, sizes[1:]))  # noqa: B905 (one shorter)
    return vocab * embedding * (1 + untied) + bias * vocab + recurrent


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"untied": 1}, "tied"),
        ({"bias": 0}, "softmax has a bias"),
        ({"biases": 1}, "two biases"),
        ({"biases": 0}, "two biases"),
        ({"biases": 1, "bias": 0}, "two things"),
        ({"biases": 0, "bias": 0}, "biases count too"),
        ({"gates": 1}, "four gates"),
    ],
)
def test_a_wrong_count_gets_its_hint(change, hint):
    assert counted(10_000, 400, 1150, 3) == 24_221_600
    report = check_parameters(lambda *sizes: counted(*sizes, **change))
    assert len(report.broken()) == 4
    assert all(hint in said for said in hints(report).values())


def test_a_last_layer_as_large_as_the_others_gets_its_hint():
    report = check_parameters(lambda v, e, h, n: counted(v, e, h, n, last=h))
    assert "as large as an embedding" in hints(report)["Penn Treebank, the paper's sizes"]


def test_three_layers_always_gets_its_hint():
    report = check_parameters(lambda v, e, h, _: counted(v, e, h, 3))
    assert report.broken() == ["two small layers", "a single layer"]
    assert all("three layers" in said for said in hints(report).values())


@pytest.mark.parametrize("given", [None, [24_221_600], "many"])
def test_what_is_no_count_is_named(given):
    said = hints(check_parameters(lambda v, *_: parameters_of(v, *_) if v == 10_000 else given))["runs to the end"]
    assert said.endswith(": return a number") and str(given) in said


def test_counts_of_other_kinds_are_accepted():
    assert check_parameters(lambda *sizes: float(parameters_of(*sizes))).kept
    assert check_parameters(lambda *sizes: np.int64(parameters_of(*sizes))).kept
    assert check_parameters(lambda *sizes: torch.tensor(parameters_of(*sizes))).kept


def test_a_count_that_fails_says_how():
    assert "ZeroDivisionError" in hints(check_parameters(lambda *sizes: 1 // 0))["runs to the end"]


def excess(perplexity, floor):
    return math.log(perplexity) - math.log(floor)


def closed(before, after, floor):
    return (excess(before, floor) - excess(after, floor)) / excess(before, floor)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda a, b: a - b, "take logarithms"),
        (lambda a, b: a / b, "exp of what"),
        (lambda a, b: math.log2(a / b), "bits"),
        (lambda a, b: math.log(b / a), "other way round"),
        (lambda a, b: math.log(a), "grammar's loss"),
        (lambda a, b: 0.0, "grammar has one too"),
    ],
)
def test_a_wrong_excess_gets_its_hint(wrong, hint):
    found = hints(check_excess(wrong, closed))
    assert [*found] == ["excess: nats a word above the floor"] and hint in found[[*found][0]]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda a, b, c: 100 * closed(a, b, c), "per cent"),
        (lambda a, b, c: 1 - closed(a, b, c), "left"),
        (lambda a, b, c: (a - b) / (a - c), "difference of perplexities"),
        (lambda a, b, c: 0.5, "0 where nothing changed"),
    ],
)
def test_a_wrong_share_gets_its_hint(wrong, hint):
    found = hints(check_excess(excess, wrong))
    assert [*found] == ["closed: the share of the distance that is gone"] and hint in found[[*found][0]]


def test_tensors_and_numpy_are_accepted():
    tensors = check_excess(lambda a, b: torch.tensor(a / b).log(), lambda a, b, c: np.log(a / b) / np.log(a / c))
    assert tensors.kept


@pytest.mark.parametrize(
    ("old", "new", "broken"),
    [
        ("    model.train()\n", "", ["every window is read in training mode"]),
        ("output = model(inputs, states)", "output = model(inputs)",
         ["each window begins with the state that the last one left", "the weights after the epoch are right"]),
        ('lr * len(inputs) / bptt', "lr",
         ["the learning rate follows the window", "the weights after the epoch are right"]),
        ("    nn.utils.clip_grad_norm_(model.parameters(), clip)\n", "    pass\n",
         ["the gradient is clipped", "the weights after the epoch are right"]),
        ("optimizer.zero_grad()", "pass", ["the weights after the epoch are right"]),
        ("    model.eval()\n", "", ["validates once, without dropout"]),
        ("with optimizer.averaged():", "if True:", ["validates the average"]),
        ("    model.eval()\n", "    optimizer.start_averaging()\n    model.eval()\n", ["the average goes on"]),
        ("    optimizer.observe(loss)\n", "", ["tells the trigger, and returns the loss"]),
        ("return loss", "return", ["tells the trigger, and returns the loss"]),
        ("states = detach(output.states)", "states = output.states", ["runs to the end"]),
    ],
)  # fmt: skip
def test_each_bug_in_an_epoch_is_seen(old, new, broken):
    code = inspect.getsource(reference_epoch)
    head, quote, rest = code.partition('"""')
    body = rest.partition('"""')[2]
    space = dict(inspect.getmodule(reference_epoch).__dict__)
    assert body.count(old) == 1
    exec(head + body.replace(old, new), space)
    report = check_epoch(space["reference_epoch"])
    assert report.broken() == broken, report


def test_a_norm_is_clipped_and_not_each_number():
    code = inspect.getsource(reference_epoch)
    code = code.partition('"""')[0] + code.partition('"""')[2].partition('"""')[2]
    space = dict(inspect.getmodule(reference_epoch).__dict__)
    exec(code.replace("clip_grad_norm_", "clip_grad_value_"), space)
    assert hints(check_epoch(space["reference_epoch"]))["the gradient is clipped"].startswith("clip the norm")


def test_the_chapters_epoch_carries_the_three_bugs_that_its_text_names():
    path = Path(__file__).resolve().parent.parent / "book" / "awd-lstm.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    (cell,) = [
        "".join(one["source"]) for one in notebook["cells"] if "check_epoch(epoch)" in "".join(one["source"])
    ]  # fmt: skip
    space = dict(NEEDED)
    exec(cell, space)
    assert set(check_epoch(space["epoch"]).broken()) == {
        "every window is read in training mode", "the learning rate follows the window",
        "the weights after the epoch are right", "validates the average",
    }  # fmt: skip
