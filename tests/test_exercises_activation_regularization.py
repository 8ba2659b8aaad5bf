"""The exercises of the chapter on AR and TAR: its printed solutions pass, every known wrong answer gets its hint."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_exercises import solutions
from torch.nn import functional as F

from awdlib.dropout import locked_dropout, ordinary_dropout
from awdlib.exercises import activation_regularization as exercises
from awdlib.exercises.activation_objective import check_whole_loss
from awdlib.exercises.activation_regularization import (
    check_charges,
    check_dropped_steps,
    check_gradient,
)

BOOK = Path(__file__).resolve().parent.parent / "book"


def test_the_printed_solutions_pass():
    given = solutions("activation-regularization")
    assert {*given} == {1, 2, 3, 4}
    assert check_charges(given[1]["ar"], given[1]["tar"]).kept
    assert check_gradient(given[2]["gradient"]).kept
    assert check_dropped_steps(given[3]["dropped_steps"]).kept
    assert check_whole_loss(given[4]["objective"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    def empty(*_): ...

    for report in (check_charges(30, ...), check_gradient(empty), check_dropped_steps(empty), check_whole_loss(empty)):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize(("answer", "hint"), [
    ((7.5, 25 / 3), "AR looks at the output after dropout"),
    ((15, 25 / 3), "half of what is due"),
    ((3.75, 25 / 3), "AR takes the dropped one, times α"),
    ((120, 25 / 3), "that is the sum"),
    ((15.49, 25 / 3), "that is the norm of the paper's formula"),
    ((7.746, 25 / 3), "no root"),
    ((60, 25 / 3), "twice what is due"),
    ((31, 25 / 3), "which output, which elements"),
    ((30, 50 / 3), "β is TAR's weight"),
    ((30, 25 / 6), "half of what is due"),
    ((30, 100 / 3), "TAR looks at the raw output"),
    ((30, 6.25), "three steps between them"),
    ((30, 25), "that is the sum"),
    ((30, 5), "that is the norm of the paper's formula"),
    ((30, 2.887), "no root"),
    ((30, 7 / 3), "square the steps"),
    ((30, 29 / 4), "first step is not compared"),
    ((30, 0), "which output, which elements"),
])  # fmt: skip
def test_wrong_charges_get_a_hint(answer, hint):
    report = check_charges(*answer)
    assert len(report.broken()) == 1 and hint in repr(report)


@pytest.mark.parametrize("number", [
    float, np.float32, lambda x: round(x, 1), np.float64, torch.tensor, lambda x: torch.tensor([x]),
])  # fmt: skip
def test_right_charges_of_any_kind_pass(number):
    assert check_charges(number(30), number(25 / 3)).kept


def test_a_charge_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="tar is"):
        check_charges(30, "25/3")


def gradient(raw, mask, alpha, beta, wrong=""):
    count = 1 if wrong == "sums" else raw.numel()
    ar = 2 * alpha * mask ** {"mask once": 1, "no mask": 0}.get(wrong, 2) * raw / count
    if len(raw) == 1 and wrong != "one step":
        return ar
    steps = (raw[1:] - raw[:-1]) * (mask if wrong == "TAR masked" else 1)
    pull = 2 * beta * steps / (1 if wrong == "sums" else raw.numel() if wrong == "T" else steps.numel())
    if wrong == "one step":
        pull = torch.full_like(raw[:1], math.nan) if len(raw) == 1 else pull
        if len(raw) == 1:
            return ar + pull
    tar = torch.zeros_like(raw)
    tar[1:] += pull
    if wrong != "behind":
        tar[:-1] -= pull * (mask if wrong == "TAR masked" else 1)
    if wrong == "TAR masked":
        tar[1:] += pull * (mask - 1)
    if wrong == "ends":
        scale = 2 * beta / steps.numel()
        tar[0] += scale * raw[0]
        tar[-1] += scale * raw[-1]
    if wrong == "ring":
        tar = 2 * beta * (2 * raw - raw.roll(1, 0) - raw.roll(-1, 0)) / steps.numel()
    if wrong == "no TAR":
        tar = 0 * tar
    tar = {"sign": -tar, "half TAR": tar / 2}.get(wrong, tar)
    ar = ar / 2 if wrong == "half AR" else ar
    return (ar + tar) / (2 if wrong == "half" else 1)


@pytest.mark.parametrize(("wrong", "hint"), [
    ("mask once", "it comes out squared"), ("no mask", "where is the mask"), ("half", "has a factor 2"),
    ("half AR", "AR's is missing"), ("half TAR", "TAR's is missing"), ("sums", "the means divide"),
    ("T", "there are T - 1 steps"), ("sign", "the sign of TAR's part"), ("ends", "have one neighbour only"),
    ("ring", "the window is no ring"), ("behind", "occurs in two steps"), ("TAR masked", "no mask there"),
    ("no TAR", "the part of TAR is missing"), ("one step", "not 0/0"),
])  # fmt: skip
def test_wrong_gradients_get_a_hint(wrong, hint):
    report = check_gradient(lambda *given: gradient(*given, wrong))
    assert not report.kept and hint in repr(report), report
    if wrong != "one step":
        (both,) = [promise for promise in report.promises if promise.text == "both"]
        assert not both.kept and hint in both.hint, "the case with all parts names the mistake"


@pytest.mark.parametrize(("wrong", "hint", "case"), [
    (lambda *g: 3 * gradient(*g), "all elements", "both"),
    (lambda *g: 4 * gradient(*g), "all elements", "both"),
    (lambda *g: 12 * gradient(*g), "all elements", "both"),
    (lambda raw, mask, *_: gradient(raw, mask, 1.0, 1.0), "where are the weights", "both"),
    (lambda *g: gradient(*g) if len(g[0]) > 1 else 0 * g[0], "AR is missing", "a window of one step"),
    (lambda raw, mask, a, b: gradient(raw, mask, a, 0.0)
     + gradient(raw.transpose(0, 1), mask.transpose(0, 1), 0.0, b).transpose(0, 1), "between sequences", "both"),
    (lambda raw, mask, a, b: torch.cat([gradient(raw, mask, a, 0.0)[:1], gradient(raw, mask, a, b)[1:-1],
                                        gradient(raw, mask, a, 0.0)[-1:]])[: len(raw)], "a neighbour too", "both"),
    (lambda raw, mask, a, b: 2 * gradient(raw, mask, a, b, "behind") - gradient(raw, mask, a, b),
     "mind the signs", "both"),
])  # fmt: skip
def test_more_wrong_gradients_get_a_true_hint(wrong, hint, case):
    (found,) = [promise for promise in check_gradient(wrong).promises if promise.text == case]
    assert not found.kept and hint in found.hint, found


def by_autograd(raw, mask, alpha, beta):
    raw = raw.clone().requires_grad_()
    loss = alpha * (raw * mask).square().mean()
    if len(raw) > 1:
        loss = loss + beta * raw.diff(dim=0).square().mean()
    return torch.autograd.grad(loss, raw)[0]


@pytest.mark.parametrize("right", [
    gradient, by_autograd,
    lambda raw, mask, alpha, beta: gradient(raw, mask, alpha, beta).float(),
    lambda raw, mask, alpha, beta: gradient(raw, mask, alpha, beta).numpy(),
])  # fmt: skip
def test_right_gradients_in_other_words_pass(right):
    assert check_gradient(right).kept, check_gradient(right)


def test_a_gradient_of_another_shape_or_that_fails_says_so():
    assert "needs the shape of raw" in repr(check_gradient(lambda raw, *_: raw[:1, :1]))
    assert "it raised NameError" in repr(check_gradient(lambda *_: undefined))  # noqa: F821


def parts(raw):
    return raw.diff().square().mean(), (raw[1:].square() + raw[:-1].square()).mean()


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda s, z, raw, p, locked: s, "what is the mean of m²"),
    (lambda s, z, raw, p, locked: s / (1 - p) ** 2 if locked else s + p / (1 - p) * z, "not its square"),
    (lambda s, z, raw, p, locked: s * (1 - p) if locked else s + p / (1 - p) * z, "what is kept is scaled up"),
    (lambda s, z, raw, p, locked: s + p / (1 - p) * z, "that is for fresh masks"),
    (lambda s, z, raw, p, locked: s / (1 - p), "that is for a locked mask"),
    (lambda s, z, raw, p, locked: s / (1 - p) if locked else s, "the variances of the two ends"),
    (lambda s, z, raw, p, locked: s / (1 - p) if locked else s + p / (1 - p) * raw.square().mean(), "both ends"),
    (lambda s, z, raw, p, locked: s / (1 - p) if locked else z / (1 - p), "the cross term stays"),
    (lambda s, z, raw, p, locked: s / (1 - p) if locked else s + p * z, "the variance of a mask is p/(1 - p)"),
    (lambda s, z, raw, p, locked: (s + (0 if locked else p * z)) / (1 - p), "without a factor"),
    (lambda s, z, raw, p, locked: s / (1 - p) if locked else s + 2 * p / (1 - p) * z, "adds its variance once"),
    (lambda s, z, raw, p, locked: s / (1 - p) if locked else s + p * (1 - p) * z, "the variance of the coin"),
    (lambda s, z, raw, p, locked: s / p if locked else s + (1 - p) / p * z, "p is the probability to be dropped"),
    (lambda s, z, raw, p, locked: (s / (1 - p) if locked else s + p / (1 - p) * z) * 7, "the sum over the steps"),
    (lambda s, z, raw, p, locked: (1 - p) * (s if locked else z - (1 - p) * (z - s)), "what is kept is scaled up"),
    (lambda s, z, raw, p, locked: math.nan, "nan is no expectation"),
    (lambda s, z, raw, p, locked: 7.0, "write the step as"),
    (lambda s, z, raw, p, locked: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_expectations_get_a_hint(wrong, hint):
    report = check_dropped_steps(lambda raw, p, locked: wrong(*parts(raw), raw, p, locked))
    assert not report.kept and hint in repr(report), report


def test_the_expectations_are_what_masks_of_the_library_give():
    torch.manual_seed(4)
    raw = torch.linspace(-0.4, 0.9, 8, dtype=torch.float64)
    many = raw[:, None, None].expand(8, 200_000, 1)
    for dropout, locked in ((locked_dropout, True), (ordinary_dropout, False)):
        measured = dropout(many, 0.3).diff(dim=0).square().mean().item()
        assert measured == pytest.approx(exercises._dropped_steps(raw, 0.3, locked), rel=0.01)


def objective(logits, targets, raw, dropped, alpha, beta, training, wrong=""):
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    if wrong == "entropy":
        loss = loss * len(logits)
    if not training and wrong != "evaluation":
        return loss
    a, t = (raw, dropped) if wrong == "swapped" else (dropped, raw)
    if wrong == "detached":
        t = t.detach()
    if wrong == "batch":
        t = t.transpose(0, 1)
    if wrong == "TAR dropped":
        t = dropped
    if wrong == "AR raw":
        a = raw
    ar = a.square().sum() if wrong == "sum" else a.norm() if wrong == "norm" else a.square().mean()
    loss = loss + alpha * ar
    steps = t[1:] - t[:-1]
    if wrong == "guard" and raw.shape[1] < 2:
        return loss
    if len(raw) > 1 or wrong == "nan":
        tar = steps.square().sum() if wrong == "TAR sum" else steps.square().mean()
        if wrong == "T":
            tar = steps.square().sum() / raw.numel()
        if wrong == "stabilizer":
            tar = t.norm(dim=-1).diff(dim=0).square().mean()
        loss = loss + beta * tar * (alpha if wrong == "product" else 1)
    return loss.item() if wrong == "number" else loss


@pytest.mark.parametrize(("wrong", "broken", "hint"), [
    ("evaluation", "cross entropy alone in evaluation", "in training only"),
    ("entropy", "cross entropy alone with both weights 0", "a mean over all tokens"),
    ("swapped", "AR: α times the mean square of the dropped output", "that is of the raw output"),
    ("AR raw", "AR's gradient reaches the dropped output, and no other", "that is of the raw output"),
    ("TAR dropped", "TAR's gradient reaches the raw output, and no other", "that is of the dropped output"),
    ("detached", "TAR's gradient reaches the raw output, and no other", "is something detached"),
    ("batch", "TAR: β times the mean square of the steps in time of the raw output", "between sequences"),
    ("sum", "AR: α times the mean square of the dropped output", "that is a sum"),
    ("norm", "AR: α times the mean square of the dropped output", "that is a norm"),
    ("TAR sum", "TAR: β times the mean square of the steps in time of the raw output", "that is a sum"),
    ("T", "TAR: β times the mean square of the steps in time of the raw output", "there are T - 1 steps"),
    ("stabilizer", "TAR: β times the mean square of the steps in time of the raw output", "norm-stabilizer"),
    ("nan", "a window of one step is charged no TAR", "the mean of nothing"),
    ("guard", "a batch of one sequence has its TAR", "which dimension do you look at"),
    ("product", "both together are the sum of each alone", "neither penalty may depend"),
    ("number", "runs to the end", "a tensor of one number"),
])  # fmt: skip
def test_wrong_objectives_are_rejected_for_what_is_wrong(wrong, broken, hint):
    report = check_whole_loss(lambda *given: objective(*given, wrong=wrong))
    assert broken in report.broken() and hint in repr(report), report


TAR = "TAR: β times the mean square of the steps in time of the raw output"
AR = "AR: α times the mean square of the dropped output"


@pytest.mark.parametrize(("wrong", "broken", "hint"), [
    (lambda *g: objective(*g[:4], -g[4], -g[5], g[6]), AR, "is added to the loss"),
    (lambda *g: objective(*g[:4], g[4], -g[5], g[6]), TAR, "is added to the loss"),
    (lambda *g: objective(*g[:4], g[4] ** 2, g[5], g[6]), AR, "multiply by α once"),
    (lambda *g: objective(*g[:4], g[4], g[5] ** 2, g[6]), TAR, "multiply by β once"),
    (lambda *g: objective(*g[:4], g[5], g[4], g[6]), AR, "that is a charge on steps"),
    (lambda *g: objective(*g[:4], g[5], g[4], g[6]), TAR, "that is the size"),
    (lambda *g: objective(*g[:4], 2.0, 1.0, g[6]), "cross entropy alone with both weights 0", "nothing of weight 0"),
    (lambda *g: objective(*g[:4], *((0.0, 0.0) if len(g[2]) < 2 else g[4:6]), g[6]),
     "a window of one step has its AR", "AR needs no steps"),
])  # fmt: skip
def test_more_wrong_objectives_get_a_true_hint(wrong, broken, hint):
    (found,) = [promise for promise in check_whole_loss(wrong).promises if promise.text == broken]
    assert not found.kept and hint in found.hint, found


def test_a_mistake_is_not_blamed_on_what_is_right():
    ring = check_whole_loss(lambda *g: objective(*g[:5], 0.0, g[6])
                            + (g[5] * (g[2].roll(-1, 0) - g[2]).square().mean() if g[6] else 0))  # fmt: skip
    assert "which dimension" not in repr(ring) and repr(ring).count("the window is no ring") == 2
    entropy = check_whole_loss(lambda *g: objective(*g, wrong="entropy"))
    assert entropy.broken() == ["cross entropy alone with both weights 0"]


def test_right_objectives_in_other_words_pass():
    def other(logits, targets, raw, dropped, alpha, beta, training):
        loss = F.nll_loss(logits.log_softmax(-1).flatten(0, 1), targets.flatten())
        if training and alpha:
            loss = loss + alpha * dropped.pow(2).mean()
        if training and beta and raw.shape[0] > 1:
            loss = loss + beta * F.mse_loss(raw[1:], raw[:-1])
        return loss.reshape(1)

    assert check_whole_loss(other).kept, check_whole_loss(other)
    assert check_whole_loss(objective).kept


def test_the_chapters_broken_objective_is_rejected_for_its_four_bugs():
    notebook = json.loads((BOOK / "activation-regularization.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "def objective" in text]
    space = {"torch": torch}
    exec(cell.partition("\n\n\ncheck_whole_loss")[0], space)
    report = check_whole_loss(space["objective"])
    assert {
        "cross entropy alone in evaluation",
        "AR: α times the mean square of the dropped output",
        "TAR: β times the mean square of the steps in time of the raw output",
        "a window of one step is charged no TAR",
    } <= {*report.broken()}
