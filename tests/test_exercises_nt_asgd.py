"""The exercises of the chapter on NT-ASGD: its printed solutions pass, every known wrong answer gets its hint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_exercises import solutions

from awdlib.exercises.nt_asgd import LOSSES, check_averaged_sgd, check_conversion, check_spread, check_trigger
from awdlib.figures.noisy_quadratic import of_averages
from awdlib.figures.trigger import trigger_epoch

BOOK = Path(__file__).resolve().parent.parent / "book"
NOTEBOOK = json.loads((BOOK / "nt-asgd.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def the_chapters(text):
    (cell,) = [source for source in CODE if text in source]
    space = {"torch": torch}
    exec(cell.rpartition("\n\ncheck_")[0], space)
    return space


def test_the_printed_solutions_pass():
    given = solutions("nt-asgd")
    assert {*given} == {1, 2, 3, 4}
    assert check_trigger(given[1]["coded"], given[1]["printed"]).kept
    assert check_spread(given[2]["spread"]).kept
    assert check_conversion(given[3]["to_mean"]).kept
    assert check_averaged_sgd(given[4]["AveragedSGD"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    for report in (check_trigger(10, ...), check_spread(lambda *_: None), check_conversion(lambda *_: None)):
        assert not report.kept and "your turn" in repr(report)


def test_the_answers_are_those_of_the_rules():
    assert check_trigger(*(trigger_epoch([*LOSSES], 2, rule) for rule in ("coded", "printed"))).kept
    text = "".join("".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "markdown")
    assert ", ".join(f"{loss:g}" if loss % 1 else f"{loss:.1f}" for loss in LOSSES) in text


@pytest.mark.parametrize(("answer", "hint"), [
    ((9, 5), "counted from 1"), ((5, 5), "that is the rule as printed"), ((3, 5), "with n = 0"),
    ((8, 5), "one loss too few"), ((7, 5), "go through the epochs"), ((10.0, 4), "counted from 1"),
    ((10, 10), "that is the rule as coded"), ((10, 3), "more than two losses"), ((10, 7.5), "go through the epochs"),
])  # fmt: skip
def test_wrong_epochs_get_a_hint(answer, hint):
    report = check_trigger(*answer)
    assert len(report.broken()) == 1 and hint in repr(report)


def settled(lr, curvature, noise):
    return noise * (lr / (curvature * (2 - lr * curvature))) ** 0.5


def of_settled_mean(lr, curvature, noise, n):
    """From the covariances of all pairs of iterates."""
    apart = np.abs(np.arange(n)[:, None] - np.arange(n))
    return settled(lr, curvature, noise) * ((1 - lr * curvature) ** apart).mean() ** 0.5


@pytest.mark.parametrize("right", [
    lambda lr, c, s, n: (np.sqrt(lr * s**2 / (c * (2 - lr * c))), np.sqrt(s**2 / c**2 / n)),
    lambda lr, c, s, n: [torch.tensor(settled(lr, c, s)), torch.tensor(s / c / n**0.5)],
    lambda lr, c, s, n: torch.tensor([settled(lr, c, s), s / c / n**0.5], dtype=torch.float32),
    lambda lr, c, s, n: (settled(lr, c, s), of_settled_mean(lr, c, s, n)),
])  # fmt: skip
def test_right_spreads_pass_however_they_are_written(right):
    assert check_spread(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda lr, c, s, n: (settled(lr, c, s) ** 2, s / c / n**0.5), "take its square root"),
    (lambda lr, c, s, n: (settled(lr, c, s), s**2 / c**2 / n), "take its square root"),
    (lambda lr, c, s, n: (settled(lr, c, s), settled(lr, c, s) / n**0.5), "independent iterates"),
    (lambda lr, c, s, n: (settled(lr, c, s), s / (c * n) ** 0.5), "square both"),
    (lambda lr, c, s, n: (settled(lr, c, s), s / n**0.5), "the curvature is missing"),
    (lambda lr, c, s, n: (s / c / n**0.5, settled(lr, c, s)), "the iterate's comes first"),
    (lambda lr, c, s, n: (s * (lr / (2 * c)) ** 0.5, s / c / n**0.5), "small lr x curvature only"),
    (lambda lr, c, s, n: (7.0, s / c / n**0.5), "the two variances in the section"),
    (lambda lr, c, s, n: (lr * s, s / c / n**0.5), "the two variances in the section"),
    (lambda lr, c, s, n: settled(lr, c, s), "it raised TypeError"),
])  # fmt: skip
def test_wrong_spreads_get_a_hint(wrong, hint):
    report = check_spread(wrong)
    assert not report.kept and hint in repr(report)


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda lr, clip, steps: (lr / steps, clip / steps), "smaller one, so its rate is the larger"),
    (lambda lr, clip, steps: (lr, clip / steps), "with the same rate"),
    (lambda lr, clip, steps: (30, clip / steps), "how many times smaller"),
    (lambda lr, clip, steps: (lr * steps, clip), "would bind less often"),
    (lambda lr, clip, steps: (lr * steps, clip * steps), "and so is its limit"),
    (lambda lr, clip, steps: (lr * steps, 0.25), "bind at the same windows"),
    (lambda lr, clip, steps: lr * steps, "it raised TypeError"),
])  # fmt: skip
def test_wrong_conversions_get_a_hint(wrong, hint):
    report = check_conversion(wrong)
    assert not report.kept and hint in repr(report)


def test_right_conversions_pass_however_they_are_written():
    assert check_conversion(lambda lr, clip, steps: torch.tensor([lr * steps, clip / steps])).kept
    assert check_conversion(lambda lr, clip, steps: [np.float64(lr) * steps, clip / steps]).kept


def test_the_broken_class_of_the_chapter_gets_both_hints():
    report = check_averaged_sgd(the_chapters("class AveragedSGD")["AveragedSGD"])
    assert len(report.broken()) == 2
    assert "the rate of the step before" in repr(report) and "leaves out the first iterate" in repr(report)


class Right:
    def __init__(self, weights, lr):
        self.weights, self.lr, self.seen = weights, lr, None

    def start(self):
        self.seen = [[weight.clone()] for weight in self.weights]

    def step(self):
        for number, weight in enumerate(self.weights):
            weight.sub_(weight.grad, alpha=self.lr)
            if self.seen:
                self.seen[number].append(weight.clone())

    @property
    def means(self):
        return [torch.stack(list(kept)).mean(0) for kept in self.seen]


def changed(**methods):
    return type("Changed", (Right,), methods)


def kept(self):
    return [torch.stack(list(part)) for part in self.seen]


@pytest.mark.parametrize(("make", "hint"), [
    (changed(means=property(lambda self: [part[1:].mean(0) for part in kept(self)])), "leaves out the first iterate"),
    (changed(means=property(lambda self: [part[:-1].mean(0) for part in kept(self)])), "leaves out the newest"),
    (changed(means=property(lambda self: [part[1:].sum(0) / len(part) for part in kept(self)])), "zeros in its place"),
    (changed(means=property(lambda self: [part[-1] for part in kept(self)])), "the newest iterate alone"),
    (changed(means=property(lambda self: [0.5 * part.mean(0) for part in kept(self)])), "torch.stack(iterates)"),
    (changed(means=property(lambda self: self.weights)), "the same tensors: clone them"),
    (changed(start=lambda self: None), "it raised TypeError"),
])  # fmt: skip
def test_wrong_averages_get_a_hint(make, hint):
    assert check_averaged_sgd(Right).kept
    report = check_averaged_sgd(make)
    assert not report.kept and hint in repr(report)


def test_a_wrong_step_gets_a_hint():
    def step(self):
        for weight in self.weights:
            weight.add_(weight.grad, alpha=self.lr)

    assert "a step is w - lr * grad" in repr(check_averaged_sgd(changed(step=step)))


def test_a_step_that_changes_a_copy_gets_a_hint():
    def step(self):
        for number, weight in enumerate(self.weights):
            weight = weight - self.lr * weight.grad
            if self.seen:
                self.seen[number].append(weight)

    def rebinding(self):
        self.weights = [weight - self.lr * weight.grad for weight in self.weights]

    assert "the very tensors in place" in repr(check_averaged_sgd(changed(step=step)))
    assert "it raised TypeError" in repr(check_averaged_sgd(changed(step=rebinding)))


@pytest.mark.parametrize("curvature", [0.05, 0.5])
def test_the_answer_to_the_derivation(curvature):
    """Exercise 5: the way down is smaller than the noise once n > (d / (lr sigma))^2, whatever the curvature."""
    lr, noise, origin = 0.5, 0.1, 5.0
    border = round((origin / (lr * noise)) ** 2)
    average = of_averages(lr, curvature, noise, 2 * border, 0, origin)
    smaller = average.mean**2 < average.variance
    assert not smaller[: round(0.9 * border)].any() and smaller[round(1.1 * border) :].all()
