"""The chapters' exercises: every solution printed in a chapter passes its check, every known wrong answer does not."""

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from awdlib.exercises.dropout_masks import check_batch_first, check_counts, check_module, check_noise

BOOK = Path(__file__).resolve().parent.parent / "book"


def solutions(name):
    """{exercise number: what its solution's code defines}, from the chapter's own hidden solutions."""
    notebook = json.loads((BOOK / f"{name}.ipynb").read_text(encoding="utf-8"))
    prose = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    found = {}
    for number, text in re.findall(r"^### (\d)\. (.*?)(?=^### \d|^## )", prose, re.M | re.S):
        space = {"torch": torch, "p": 0.2}
        for block in re.findall(r"<summary>Solution</summary>.*?```python\n(.*?)```", text, re.S):
            exec(block, space)
            found[int(number)] = space
    return found


def test_the_solutions_of_dropout_masks_pass():
    given = solutions("dropout-masks")
    assert {*given} == {1, 2, 3, 4}
    assert check_counts(given[1]["ordinary_decisions"], given[1]["locked_decisions"]).kept
    assert check_noise(given[2]["noise"]).kept
    assert check_batch_first(given[3]["locked_batch_first"]).kept
    assert check_module(given[4]["LockedDropout"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    for report in (check_counts(..., ...), check_noise(lambda *_: None), check_batch_first(lambda *_: None)):
        assert not report.kept and "your turn" in repr(report)


ORDINARY, LOCKED = 35 * 20 * 400, 20 * 400


@pytest.mark.parametrize(("answer", "hint"), [
    ((LOCKED, ORDINARY), "that is the locked count"),
    ((ORDINARY, ORDINARY), "which dimension shares one decision"),
    ((ORDINARY, 400), "each of the sequences of the batch"),
    ((35 * 400, LOCKED), "each of the sequences of the batch"),
    ((ORDINARY, 35 * 20), "the time steps share, and the features do not"),
    ((ORDINARY, 7), "multiply the sizes"),
])  # fmt: skip
def test_wrong_counts_get_a_hint(answer, hint):
    report = check_counts(*answer)
    assert not report.kept and hint in repr(report)


def closed(x, p, squares):
    return (p / (1 - p) * squares) ** 0.5


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda x, p, locked: p / (1 - p) * (x.mean() ** 2 if locked else x.square().mean() / len(x)), "take its square"),
    (lambda x, p, locked: closed(x, p, x.mean() ** 2), "the factors are independent"),
    (lambda x, p, locked: closed(x, p, x.square().mean() / len(x)), "one factor multiplies the whole sum"),
    (lambda x, p, locked: closed(x, p, x.square().mean() / (1 if locked else len(x))), "one factor multiplies"),
    (lambda x, p, locked: closed(x, p, x.mean() ** 2 / (1 if locked else len(x))), "the factors are independent"),
    (lambda x, p, locked: closed(x, 1 - p, x.mean() ** 2 if locked else x.square().mean() / len(x)), "hint"),
    (lambda x, p, locked: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_noises_get_a_hint(wrong, hint):
    report = check_noise(wrong)
    assert not report.kept and hint in repr(report)


def mask(shape, p):
    return torch.empty(shape, dtype=torch.float64).bernoulli_(1 - p) / (1 - p)


@pytest.mark.parametrize(("wrong", "broken"), [
    (lambda x, p, t: x * mask((1, *x.shape[1:]), p) if t and p else x, "one decision for all time steps"),
    (lambda x, p, t: x * mask(x.shape, p) if t and p else x, "one decision for all time steps"),
    (lambda x, p, t: x * mask((1, 1, x.shape[2]), p) if t and p else x, "separate decisions for different sequences"),
    (lambda x, p, t: x * mask((x.shape[0], 1, 1), p) if t and p else x, "separate decisions for different features"),
    (lambda x, p, t: x * mask((x.shape[0], 1, x.shape[2]), p), "does nothing in evaluation"),
    (lambda x, p, t: x * (mask((x.shape[0], 1, x.shape[2]), p) > 0) if t else x, "scales what it keeps by 1/(1 - p)"),
])  # fmt: skip
def test_wrong_batch_first_masks_are_rejected(wrong, broken):
    assert broken in check_batch_first(wrong).broken()


def test_the_hint_for_a_time_first_mask_speaks_of_the_readers_own_dimensions():
    report = check_batch_first(lambda x, p, t: x * mask((1, *x.shape[1:]), p) if t and p else x)
    assert "the mask needs size 1 in dimension 1" in repr(report)
    assert "the mask needs its full size in dimension 0" in repr(report)


class Always(nn.Module):
    """Forgets to look at ``training``."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return x * mask((1, *x.shape[1:]), self.p)


class Stale(Always):
    """Draws its mask once, when it is made."""

    def __init__(self, p):
        super().__init__(p)
        self.mask = mask((1, 12, 40), p)

    def forward(self, x):
        return x * self.mask if self.training else x


class Inert(Always):
    """Does nothing."""

    def forward(self, x):
        return x


class Shared(Always):
    """Half repaired: held over time, but still one mask for the whole batch."""

    def forward(self, x):
        return x * mask((1, 1, x.shape[2]), self.p) if self.training else x


@pytest.mark.parametrize(("wrong", "broken"), [
    (Always, "does nothing in evaluation"), (Inert, "drops something in training"),
    (Shared, "separate decisions for different sequences"),
])  # fmt: skip
def test_wrong_modules_are_rejected(wrong, broken):
    assert broken in check_module(wrong).broken()


def test_a_module_with_one_mask_for_ever_is_rejected():
    assert check_module(Stale).broken() == ["a fresh mask at each call"]


def test_the_chapters_own_broken_module_is_rejected_for_both_of_its_bugs():
    notebook = json.loads((BOOK / "dropout-masks.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "class LockedDropout" in text]
    space = {"torch": torch}
    exec(cell.partition("\n\n\ncheck_module")[0], space)
    broken = check_module(space["LockedDropout"]).broken()
    assert broken[:2] == ["one decision for all time steps", "separate decisions for different sequences"]
