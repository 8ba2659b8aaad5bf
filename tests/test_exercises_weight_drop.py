"""The exercises on weight drop: printed solutions pass, and each wrong answer that is known gets its own hint."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from awdlib.contracts import check_weight_drop
from awdlib.exercises.weight_drop import check_both_layers, check_coins, check_noise

CHAPTER = Path(__file__).resolve().parent.parent / "book" / "weight-drop.ipynb"
CELLS = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
MATRIX, HELD, FRESH = 4 * 1150 * 1150, 40 * 1150, 70 * 40 * 1150


def run(code):
    """What a cell or a solution defines, with the names that the chapter has imported by then."""
    space = {"torch": torch, "nn": nn, "F": F}
    exec(code, space)
    return space


def test_the_solutions_of_the_chapter_pass():
    prose = "\n\n".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
    coins, noise, layers, repaired = map(run, re.findall(r"```python\n(.*?)```", prose, re.S))
    assert check_coins(*(coins[name] for name in ("weights", "held", "fresh"))).kept
    assert check_noise(noise["noise"]).kept
    assert check_both_layers(layers["BothLayers"]).kept
    assert check_weight_drop(repaired["WeightDrop"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    class Empty(nn.Module):
        def __init__(self, p):
            super().__init__()

        def forward(self, x): ...

    for report in (check_coins(..., ..., ...), check_noise(lambda *_: None), check_both_layers(Empty)):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize(("answer", "hint"), [
    ((1150**2, HELD, FRESH), "one gate's matrix"), ((4 * 1150, HELD, FRESH), "every entry has a coin"),
    ((4 * 1150 * 400, HELD, FRESH), "the way up, which is not dropped"),
    ((4 * 1150 * 1550, HELD, FRESH), "leaves the matrix of the way up alone"),
    ((70 * MATRIX, HELD, FRESH), "one matrix serves all"), ((40 * MATRIX, HELD, FRESH), "one matrix serves all"),
    ((70 * 40 * MATRIX, HELD, FRESH), "one matrix serves all"), ((7, HELD, FRESH), "write down the mask's shape"),
    ((MATRIX, 1150, FRESH), "each of the sequences"), ((MATRIX, FRESH, FRESH), "with fresh masks"),
    ((MATRIX, 70 * 1150, FRESH), "the time steps that share"), ((MATRIX, 4 * HELD, FRESH), "serves all four"),
    ((MATRIX, 4 * 1150, FRESH), "serves all four"), ((MATRIX, HELD, HELD), "each step has its own"),
    ((MATRIX, HELD, 70 * 1150), "masks of its own"), ((MATRIX, HELD, 4 * FRESH), "serves all four"),
])  # fmt: skip
def test_wrong_counts_get_a_hint(answer, hint):
    report = check_coins(*answer)
    assert len(report.broken()) == 1 and hint in repr(report)


@pytest.mark.parametrize("right", [
    lambda U, h, p: (p / (1 - p) * ((U * h) ** 2).sum(1)).sqrt(),
    lambda U, h, p: np.sqrt(p / (1 - p) * (U.numpy() ** 2 @ h.numpy() ** 2)),
    lambda U, h, p: [((p / (1 - p)) ** 0.5 * torch.linalg.norm(row * h)).item() for row in U],
    lambda U, h, p: (p / (1 - p) * (U.float() ** 2 @ h.float() ** 2)).sqrt()[:, None],
])  # fmt: skip
def test_right_noises_pass_however_they_are_written(right):
    assert check_noise(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda U, h, p: p / (1 - p) * (U**2 @ h**2), "take its square root"),
    (lambda U, h, p: (p * (1 - p) * (U**2 @ h**2)).sqrt(), "a mask of 0 and 1"),
    (lambda U, h, p: ((1 - p) / p * (U**2 @ h**2)).sqrt(), "p is the probability of dropping"),
    (lambda U, h, p: (p / (1 - p)) ** 0.5 * (U @ h).abs(), "square each term"),
    (lambda U, h, p: (p / (1 - p)) ** 0.5 * (U @ h), "square each term"),
    (lambda U, h, p: (p / (1 - p) * (U @ h) ** 2).sqrt(), "square each term"),
    (lambda U, h, p: (p / (1 - p)) ** 0.5 * (U.abs() @ h.abs()), "not their roots"),
    (lambda U, h, p: (U**2 @ h**2).sqrt(), "p = 1/2 alone"),
    (lambda U, h, p: (p / (1 - p) * (U**2).sum(1)).sqrt(), "multiplied by a feature"),
    (lambda U, h, p: (p / (1 - p) * (U * h) ** 2).sqrt(), "one number for each unit"),
    (lambda U, h, p: (p / (1 - p) * ((U * h) ** 2).sum()).sqrt(), "one number for each unit"),
    (lambda U, h, p: U.sum(1) + 17, "add their variances"),
    (lambda U, h, p: undefined, "it raised NameError"),  # noqa: F821
    (lambda U, h, p: (U**2 @ h**2).sqrt() if p > 0.5 else (p / (1 - p) * (U**2 @ h**2)).sqrt(), "p = 1/2 alone"),
])  # fmt: skip
def test_wrong_noises_get_a_hint(wrong, hint):
    report = check_noise(wrong)
    assert not report.kept and hint in repr(report)


def both(names, *, share=False, hidden=20, always=False, gradient=True):
    """A module around a two-layer nn.LSTM that masks these weights."""

    class Module(nn.Module):
        def __init__(self, p):
            super().__init__()
            self.p, self.lstm = p, nn.LSTM(6, hidden, 2)

        def forward(self, x):
            masked, state = {}, torch.random.get_rng_state()
            for name in names:
                if share:
                    torch.random.set_rng_state(state)
                weight = getattr(self.lstm, name)
                weight = weight if gradient else weight.detach()
                masked[name] = F.dropout(weight, self.p, self.training or always)
            return torch.func.functional_call(self.lstm, masked, (x,))

    return Module


HH = ("weight_hh_l0", "weight_hh_l1")


class TwoModules(nn.Module):
    """Two layers that are two modules, and outputs alone."""

    def __init__(self, p):
        super().__init__()
        self.p, self.layers = p, nn.ModuleList([nn.LSTM(6, 20), nn.LSTM(20, 20)])

    def forward(self, x):
        for layer in self.layers:
            masked = {"weight_hh_l0": F.dropout(layer.weight_hh_l0, self.p, self.training)}
            x, _ = torch.func.functional_call(layer, masked, (x,))
        return x


@pytest.mark.parametrize("make", [both(HH), both(HH, hidden=32), TwoModules])
def test_right_layers_pass_however_they_are_written(make):
    report = check_both_layers(make)
    assert report.kept, report


@pytest.mark.parametrize(("make", "promise", "hint"), [
    (both(HH[:1]), "drops in both layers", "the second layer's is weight_hh_l1"),
    (both(HH[1:]), "drops in both layers", "1 of the two"),
    (both(()), "drops something in training", "does not compute with the masked weight"),
    (both(HH, share=True), "a mask of its own for each layer", "draw a mask for each"),
    (both((*HH, "weight_ih_l1")), "leaves the way from input to state alone", "weight_ih_l1 leads up"),
    (both((*HH, "weight_ih_l0")), "leaves the way from input to state alone", "from a zero state"),
    (both(HH, always=True), "does nothing in evaluation", "look at `training`"),
    (both(HH, gradient=False), "drops in both layers", "a raw matrix gets no gradient"),
    (lambda p: nn.LSTM(6, 20), "drops in both layers", "two layers of equal size"),
    (lambda p: nn.LSTM(6, 20, 2, dropout=p), "leaves the way from input to state alone", "from a zero state"),
    (lambda p: nn.LSTM(7, 20, 2), "runs to the end", "it raised"),
])  # fmt: skip
def test_wrong_layers_get_a_hint(make, promise, hint):
    report = check_both_layers(make)
    assert promise in report.broken() and hint in repr(report), report


def test_the_chapters_own_broken_wrapper_is_rejected_for_both_of_its_bugs_and_for_either_alone():
    (cell,) = [text for text in ("".join(cell["source"]) for cell in CELLS) if text.startswith("class WeightDrop(")]
    code = cell.partition("\n\n\ncheck_weight_drop")[0]
    no_gradient, never_off = "the gradient reaches the raw weights", "does nothing in evaluation"
    assert {no_gradient, never_off} <= {*check_weight_drop(run(code)["WeightDrop"]).broken()}
    switched = code.replace("self.p)\n        self.lstm.weight", "self.p, self.training)\n        self.lstm.weight")
    assert check_weight_drop(run(switched)["WeightDrop"]).broken() == [no_gradient]
    joined = code.replace("self.lstm.weight_hh_l0 = nn.Parameter(masked)\n        return self.lstm(x)",
                          "given = {'weight_hh_l0': masked}\n"
                          "        return torch.func.functional_call(self.lstm, given, (x,))")  # fmt: skip
    broken = check_weight_drop(run(joined)["WeightDrop"]).broken()
    assert never_off in broken and no_gradient not in broken


def test_a_repair_that_keeps_a_raw_matrix_of_its_own_passes():
    class Kept(nn.Module):
        def __init__(self, p):
            super().__init__()
            self.p, self.lstm = p, nn.LSTM(6, 20)
            self.raw = nn.Parameter(self.lstm.weight_hh_l0.detach().clone())

        def forward(self, x):
            masked = F.dropout(self.raw, self.p, self.training)
            return torch.func.functional_call(self.lstm, {"weight_hh_l0": masked}, (x,))

    assert check_weight_drop(Kept).kept
