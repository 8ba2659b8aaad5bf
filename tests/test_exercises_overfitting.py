"""The exercises of the chapter on overfitting: its printed solutions pass, every known wrong answer gets its hint."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_exercises import solutions
from torch import nn
from torch.nn import functional as F

from awdlib.exercises.overfitting import check_connections, check_early_stopping, check_masks, check_variance

BOOK = Path(__file__).resolve().parent.parent / "book"


def the_chapters_stack():
    notebook = json.loads((BOOK / "overfitting.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "class Stack" in text]
    space = {"torch": torch, "F": F}
    exec(cell.partition("\n\n\ncheck_connections")[0], space)
    return space["Stack"]


def test_the_printed_solutions_pass():
    given = solutions("overfitting")
    assert {*given} == {1, 2, 3, 4, 5}
    assert check_masks(given[1]["up"], given[1]["up_and_h"], given[1]["torchs"]).kept
    assert check_variance(given[2]["variance"]).kept
    assert check_connections(given[3]["Zaremba"]).kept
    repaired = type("Repaired", (the_chapters_stack(),), {"forward": given[4]["forward"]})
    assert check_connections(repaired).kept
    assert check_early_stopping(given[5]["stop"]).kept


class Empty(nn.Module):
    def __init__(self, *_):
        super().__init__()

    def forward(self, x): ...


def test_an_empty_cell_is_told_from_a_wrong_answer():
    empty = check_masks(1, ..., 2), check_variance(lambda *_: None), check_connections(Empty)
    for report in (*empty, check_early_stopping(lambda *_: None)):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize(("answer", "hint"), [
    ((2, 23, 1), "the softmax reads the last layer through a mask too"),
    ((1, 23, 1), "that is between the layers alone"),
    ((23, 23, 1), "that counts the steps in time as well"),
    ((3, 20, 1), "the connections that go up carry a mask too"),
    ((3, 22, 1), "are one more than the layers, and 20 steps are 20 connections in time: one is missing"),
    ((3, 21, 1), "the connections that go up are one more than the layers: two are missing"),
    ((3, 24, 1), "one too many"),
    ((3, 43, 1), "a step in time is taken in one layer"),
    ((3, 40, 1), "a step in time is taken in one layer"),
    ((3, 2, 1), "the steps in time carry masks here, too"),
    ((20, 23, 1), "they carry no mask here"),
    ((22, 23, 1), "that counts the steps in time as well"),
    ((60, 23, 1), "the path goes up once, not at every step\n"),
    ((3, 60, 1), "the path goes up once, not at every step"),
    ((3, 3, 1), "that is the count without the steps"),
    ((3, 23, 3), "nn.LSTM drops neither its input nor its last output"),
    ((3, 23, 2), "each layer except the last"),
    ((3, 23, 21), "nn.LSTM never drops on the way to the next step"),
    ((3, 23, 20), "nn.LSTM never drops on the way to the next step"),
    ((3, 23, 23), "nn.LSTM never drops on the way to the next step"),
    ((3, 23, 0), "it does drop in one place"),
    ((3, 7, 1), "follow the path with a finger"),
])  # fmt: skip
def test_wrong_counts_get_a_hint(answer, hint):
    report = check_masks(*answer)
    assert len(report.broken()) == 1 and hint in repr(report)


def test_a_count_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="up_and_h is"):
        check_masks(3, "23", 1)


def count(layers, steps, recurrent):
    return layers + 1 + steps * recurrent


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda n, s, p, r: count(n, s, r) * p / (1 - p), "these are variances added up"),
    (lambda n, s, p, r: (p / (1 - p)) ** count(n, s, r), "not the product of variances"),
    (lambda n, s, p, r: (1 - p) ** -count(n, s, r), "subtract the square of the mean"),
    (lambda n, s, p, r: ((1 - p) ** -count(n, s, r) - 1) ** 0.5, "this is the standard deviation"),
    (lambda n, s, p, r: (1 - p) ** -n - 1 if not r else (1 - p) ** -(n + s) - 1, "right, for 1 mask;"),
    (lambda n, s, p, r: (1 - p) ** -(n - 1 + s * r) - 1, "right, for 0 masks;"),
    (lambda n, s, p, r: (1 - p) ** -(n + 1 + n * s * r) - 1, "right, for 23 masks;"),
    (lambda n, s, p, r: (1 - p) ** -(s * r) - 1, "right, for 10 masks;"),
    (lambda n, s, p, r: (1 - p) ** count(n, s, r), "this is the chance to come through"),
    (lambda n, s, p, r: (1 - p) ** count(n, s, r) * (1 - (1 - p) ** count(n, s, r)), "without the scaling"),
    (lambda n, s, p, r: p ** -count(n, s, r) - 1, "p is the probability of a zero"),
    (lambda n, s, p, r: p ** -count(n, s, r), "p is the probability of a zero"),
    (lambda n, s, p, r: -2.0, "the mean of m² is"),
    (lambda n, s, p, r: float("nan"), "the mean of m² is"),
    (lambda n, s, p, r: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_variances_get_a_hint(wrong, hint):
    report = check_variance(wrong)
    assert not report.kept and hint in repr(report)
    beginnings = {promise.hint.partition(",")[0] for promise in report.promises if not promise.kept}
    assert len(beginnings) == 1, "the same mistake is called the same in every row"


class Cells(nn.Module):
    """A stack by loops, in which each connection can be treated in a wrong way."""

    def __init__(self, inputs, hidden, layers, p, wrong=""):
        super().__init__()
        sizes = [inputs] + [hidden] * layers
        self.cells = nn.ModuleList(nn.LSTMCell(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.p, self.wrong = p, wrong

    def drop(self, x):
        if self.wrong == "never off":
            return F.dropout(x, self.p)
        if self.wrong == "scaled in evaluation":  # as in 2012: nothing in training, 1 - p in evaluation
            return F.dropout(x, self.p) * (1 - self.p) if self.training else x * (1 - self.p)
        if self.wrong == "unscaled":
            return F.dropout(x, self.p, self.training) * (1 - self.p if self.training else 1)
        if self.wrong == "scaled twice":
            return F.dropout(x, self.p, self.training) / (1 - self.p if self.training else 1)
        if self.wrong == "locked" and x.dim() == 3:
            return x * F.dropout(torch.ones_like(x[:1]), self.p, self.training)
        if self.wrong == "keeps p":
            return F.dropout(x, 1 - self.p if self.p else 0, self.training)
        return F.dropout(x, self.p, self.training)

    def forward(self, x):
        x = x if self.wrong == "not in" else self.drop(x)
        if self.wrong == "in twice":
            x = self.drop(x)
        if self.wrong == "unscaled in" and self.training:
            x = x * (1 - self.p)
        for number, cell in enumerate(self.cells):
            h = c = x.new_zeros(x.shape[1], cell.hidden_size)
            outputs = []
            for x_t in x:
                h, c = cell(x_t, (h, c))
                if self.wrong == "state":
                    h = self.drop(h)
                if self.wrong == "cell":
                    c = self.drop(c)
                outputs.append(h)
            x = torch.stack(outputs)
            last = number == len(self.cells) - 1
            if self.wrong != "state" and self.wrong != ("not out" if last else "not between"):
                x = self.drop(x)
            if self.wrong == "between twice" and not last:
                x = self.drop(x)
            if self.wrong == "between twice" and not last:
                x = self.drop(x)
        return x.transpose(0, 1) if self.wrong == "batch first" else x


def test_a_right_stack_passes_at_every_probability():
    for p in (0.1, 0.4, 0.7):
        assert check_connections(Cells, p).kept, check_connections(Cells, p)


@pytest.mark.parametrize(("wrong", "broken"), [
    ("not in", ["drops on the way into the first layer"]),
    ("not between", ["drops between the layers"]),
    ("in twice", ["drops on the way into the first layer"]),
    ("unscaled in", ["drops on the way into the first layer"]),
    ("between twice", ["drops between the layers"]),
    ("not out", ["drops on the way out of the last layer"]),
    ("state", ["leaves the way to the next step alone"]),
    ("cell", ["leaves the way to the next step alone"]),
    ("never off", ["does nothing in evaluation"]),
    ("unscaled", ["scales what it keeps by 1/(1 - p), in training"]),
    ("scaled in evaluation", ["scales what it keeps by 1/(1 - p), in training", "does nothing in evaluation"]),
    ("scaled twice", ["scales what it keeps by 1/(1 - p), in training"]),
    ("locked", ["a fresh mask at each step"]),
    ("keeps p", ["drops on the way out of the last layer"]),
    ("batch first", ["returns the last layer's output at every step"]),
])  # fmt: skip
def test_wrong_stacks_are_rejected_for_what_is_wrong(wrong, broken):
    report = check_connections(lambda *sizes: Cells(*sizes, wrong))
    assert {*broken} <= {*report.broken()}, report
    if wrong not in ("batch first", "keeps p"):
        assert report.broken() == broken, report


def test_a_module_that_fails_says_how():
    assert "it raised TypeError" in repr(check_connections(lambda inputs, hidden: None))
    with pytest.raises(ValueError, match="p is"):
        check_connections(Cells, 1.0)


def test_the_chapters_broken_stack_is_rejected_for_both_of_its_bugs():
    broken = check_connections(the_chapters_stack()).broken()
    assert broken == ["leaves the way to the next step alone", "does nothing in evaluation"]


def stopper(better=lambda loss, best, before: loss < best, off=0, first=1, peeks=False):
    def stop(losses, patience):
        best, epoch = 0, 0
        for epoch, loss in enumerate(losses):
            if epoch and better(loss, losses[best], losses[epoch - 1]):
                best = epoch
            if epoch - best == patience + off:
                break
        kept = losses.index(min(losses)) if peeks else best
        return kept + first, epoch + first

    return stop


def against_the_last(losses, patience):
    """Counts epochs that are worse than the one before."""
    worse, epoch = 0, 0
    for epoch in range(1, len(losses)):
        worse = worse + 1 if losses[epoch] >= losses[epoch - 1] else 0
        if worse == patience:
            break
    return losses.index(min(losses[: epoch + 1])) + 1, epoch + 1


@pytest.mark.parametrize(("wrong", "hint"), [
    (stopper(better=lambda loss, best, before: loss <= best), "an equal loss is not a new lowest one"),
    (stopper(off=1), "one epoch off"),
    (stopper(off=-1), "one epoch off"),
    (stopper(first=0), "count epochs from 1"),
    (stopper(peeks=True), "look no further than where training ends"),
    (against_the_last, "compare with the lowest loss so far"),
    (lambda losses, patience: stopper()(losses, patience)[0], "return two whole numbers"),
    (lambda losses, patience: (None, 3), "return two whole numbers"),
    (lambda losses, patience: (1.5, 3), "return two whole numbers"),
    (lambda losses, patience: (math.nan, 3), "return two whole numbers"),
    (lambda losses, patience: "35", "return two whole numbers"),
    (lambda losses, patience: stopper()(losses, patience)[::-1], "the other way round"),
    (lambda losses, patience: (np.int64(1), np.int64(1)), "due are 3 for the weights kept"),
    (lambda losses, patience: (7, 7), "epochs are numbers from 1 to 4"),
    (lambda losses, patience: (1, 1), "due are 3 for the weights kept"),
    (lambda losses, patience: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_ways_to_stop_get_a_hint(wrong, hint):
    report = check_early_stopping(wrong)
    assert not report.kept and hint in repr(report), report


def test_one_epoch_off_is_never_called_a_wrong_comparison():
    for off in (-1, 1):
        assert "compare with the lowest" not in repr(check_early_stopping(stopper(off=off)))


@pytest.mark.parametrize("kind", [tuple, list, np.array, torch.tensor, lambda pair: tuple(map(float, pair))])
def test_the_right_way_to_stop_passes(kind):
    assert check_early_stopping(lambda losses, patience: kind(stopper()(losses, patience))).kept


@pytest.mark.parametrize("number", [int, float, np.int32, np.float32])
def test_right_counts_of_any_kind_pass(number):
    assert check_masks(*map(number, (3, 23, 1))).kept


@pytest.mark.parametrize("right", [
    lambda n, s, p, r: np.prod([1 / (1 - p)] * (n + 1 + s * r)) - 1,
    lambda n, s, p, r: torch.tensor(1 - p, dtype=torch.float64) ** -(n + 1 + (s if r else 0)) - 1,
    lambda n, s, p, r: math.expm1(-(n + 1 + s * r) * math.log1p(-p)),
])  # fmt: skip
def test_right_variances_in_other_words_pass(right):
    assert check_variance(right).kept


def test_a_variance_in_single_precision_passes():
    assert check_variance(lambda n, s, p, r: torch.tensor(1 / (1 - p)) ** (n + 1 + s * r) - 1).kept
