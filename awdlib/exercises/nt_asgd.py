"""Checks for the exercises of the chapter *From SGD to NT-ASGD*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

LOSSES = (5.0, 4.4, 4.5, 4.2, 4.3, 4.0, 4.05, 4.1, 3.9, 4.15)  #: of exercise 1, where n is 2
_CODED, _PRINTED = 10, 5
_FROM_ONE = "epochs are counted from 1 here"
_CODED_HINTS = {
    _CODED - 1: _FROM_ONE,
    _PRINTED: "that is the rule as printed: as coded, the last two losses before the newest are left out",
    3: "that is with n = 0: worse than the best so far is not enough",
    8: "that leaves out one loss too few: the newest is itself no part of what it is compared with",
}
_PRINTED_HINTS = {
    _PRINTED - 1: _FROM_ONE,
    _CODED: "that is the rule as coded: as printed, only the last two losses before the newest count",
    3: "there must be more than two losses before the newest: t > n in the paper",
}


def check_trigger(coded: int, printed: int) -> Report:
    """Exercise 1: the epoch after which each rule fires on `LOSSES`, with n = 2.

    Args:
        coded: the reader's answer for the rule as coded; ``...`` where there is none yet.
        printed: for the rule as printed.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.nt_asgd import check_trigger
        >>> check_trigger(..., ...)
        your turn: fill in the cell and run it again
        >>> check_trigger(3, 5)
        ✗ the epoch as coded
            hint: that is with n = 0: worse than the best so far is not enough
        ✓ the epoch as printed
    """
    if coded is ... or printed is ...:
        return YOUR_TURN
    for name, answer in {"coded": coded, "printed": printed}.items():
        require.number(name, answer)
    common = "go through the epochs in turn, and write down what each loss is compared with"
    rows = (("coded", coded, _CODED, _CODED_HINTS), ("printed", printed, _PRINTED, _PRINTED_HINTS))
    return Report(
        tuple(
            Promise(f"the epoch as {rule}", given == right, hints.get(int(given), common))
            for rule, given, right, hints in rows
        )
    )


def check_spread(function: Callable[[float, float, float, int], Any]) -> Report:
    """Exercise 2: ``function(lr, curvature, noise, n)``, two standard deviations: of an iterate, of a mean of n.

    Args:
        function: the reader's; the run has settled, and n is so large that the closed form for long means holds.

    Example:
        >>> from awdlib.exercises.nt_asgd import check_spread
        >>> def spread(lr, curvature, noise, n):
        ...     return noise * (lr / (curvature * (2 - lr * curvature))) ** 0.5, noise / (curvature * n**0.5)
        >>> check_spread(spread).kept
        True
    """
    if is_empty(function, 0.5, 1.0, 1.0, 100):
        return YOUR_TURN
    found: list[Promise] = []
    for text, lr, curvature, noise, n in (
        ("curvature 1, noise 1", 0.3, 1.0, 1.0, 400),
        ("a flatter direction", 0.3, 0.2, 1.0, 900),
        ("a smaller learning rate, more noise", 0.07, 0.4, 3.0, 2500),
    ):
        try:
            iterate, average = (float(value) for value in function(lr, curvature, noise, n))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, raised(text, error)))
        settled, long = _variances(lr, curvature, noise, n)
        whole = _with_its_ends(lr, curvature, noise, n)
        pairs = ((f"the iterate, {text}", iterate, [settled]), (f"the average, {text}", average, [long, whole]))
        for promise, given, variances in pairs:
            kept = any(math.isclose(given, math.sqrt(variance), rel_tol=1e-4) for variance in variances)
            found.append(Promise(promise, kept, _spread_hint(given, lr, curvature, noise, n)))
    return Report(tuple(found))


def _variances(lr: float, curvature: float, noise: float, n: int) -> tuple[float, float]:
    """The closed forms of the chapter's section *The equations*."""
    return lr * noise**2 / (curvature * (2 - lr * curvature)), noise**2 / (curvature**2 * n)


def _with_its_ends(lr: float, curvature: float, noise: float, n: int) -> float:
    """The exact variance of the mean of n iterates of a settled run: for large n the same."""
    keep = 1 - lr * curvature
    cut = 2 * keep * (1 - keep**n) / (n * (1 - keep**2))  # what kicks near the ends have not yet done, or had done
    return (1 - cut) * noise**2 / (curvature**2 * n)


def _spread_hint(given: float, lr: float, curvature: float, noise: float, n: int) -> str:
    settled, long = _variances(lr, curvature, noise, n)
    for wrong, hint in (
        (settled, "this is the variance: take its square root"),
        (long, "this is the variance: take its square root"),
        (math.sqrt(settled / n), "that is for n independent iterates; each remembers the one before it"),
        (noise / math.sqrt(curvature * n), "a kick moves the sum of the iterates by noise / curvature: square both"),
        (noise / math.sqrt(n), "a flat direction answers more to the same kick: the curvature is missing"),
        (math.sqrt(long), "that is the average's: the iterate's comes first"),
        (math.sqrt(settled), "that is the iterate's: the average's comes second"),
        (noise * math.sqrt(lr / (2 * curvature)), "this holds for small lr x curvature only"),
    ):
        if math.isclose(given, wrong, rel_tol=1e-4):
            return hint
    return "see the two variances in the section The equations, and take their square roots"


def check_conversion(function: Callable[[float, float, int], Any]) -> Report:
    """Exercise 3: ``function(lr, clip, steps)`` for a loss summed over time gives lr and clip for its mean over time.

    Args:
        function: the reader's; both settings must make the same updates.

    Example:
        >>> from awdlib.exercises.nt_asgd import check_conversion
        >>> check_conversion(lambda lr, clip, steps: (lr * steps, clip)).broken()[0]
        'the clip: 5 on the sum over 35 steps'
    """
    if is_empty(function, 1.0, 5.0, 35):
        return YOUR_TURN
    found: list[Promise] = []
    for lr, clip, steps in ((1.0, 5.0, 35), (1.0, 5.0, 20), (0.5, 10.0, 35)):
        try:
            rate, limit = (float(value) for value in function(lr, clip, steps))
        except Exception as error:  # whatever a reader's code may raise
            text = f"lr {lr:g} and clip {clip:g} on the sum over {steps} steps"
            return Report((*found, raised(text, error)))
        found.append(
            Promise(f"the learning rate: {lr:g} on the sum over {steps} steps",
                    math.isclose(rate, lr * steps, rel_tol=1e-6), _rate_hint(rate, lr, steps))
        )  # fmt: skip
        found.append(
            Promise(f"the clip: {clip:g} on the sum over {steps} steps",
                    math.isclose(limit, clip / steps, rel_tol=1e-6), _clip_hint(limit, clip, steps))
        )  # fmt: skip
    return Report(tuple(found))


def _rate_hint(given: float, lr: float, steps: int) -> str:
    if math.isclose(given, lr / steps, rel_tol=1e-6):
        return "the other way round: the mean's gradient is the smaller one, so its rate is the larger one"
    if math.isclose(given, lr, rel_tol=1e-6):
        return "with the same rate the mean's step would be smaller, as many times as the window has steps"
    return "how many times smaller is the gradient of the mean than that of the sum?"


def _clip_hint(given: float, clip: float, steps: int) -> str:
    if math.isclose(given, clip, rel_tol=1e-6):
        return "the norm shrinks with the gradient: a limit of the same size would bind less often"
    if math.isclose(given, clip * steps, rel_tol=1e-6):
        return "the other way round: the mean's gradient is the smaller one, and so is its limit"
    return "the limit must bind at the same windows: it shrinks as the gradient does"


def check_averaged_sgd(make: Callable[[list[Tensor], float], Any]) -> Report:
    """Exercise 4: ``make(weights, lr)`` with ``lr``, ``start()``, ``step()`` and, once started, ``means``.

    Args:
        make: the reader's class; ``step()`` reads ``grad`` of each weight and the ``lr`` set for that very step.

    Example:
        >>> import torch
        >>> from awdlib.exercises.nt_asgd import check_averaged_sgd
        >>> class Forgets:
        ...     def __init__(self, weights, lr):
        ...         self.weights, self.lr = weights, lr
        ...
        ...     def start(self):
        ...         self.means = self.weights  # the very same tensors, and no mean
        ...
        ...     def step(self):
        ...         for weight in self.weights:
        ...             weight -= self.lr * weight.grad
        >>> check_averaged_sgd(Forgets).broken()
        ['the mean is that of all iterates, the first one included', 'the mean has memory of its own']
    """
    try:
        return _averaged_sgd(make)
    except Exception as error:  # whatever a reader's code may raise
        return Report((raised("it runs", error),))


def _averaged_sgd(make: Callable[[list[Tensor], float], Any]) -> Report:
    draw = torch.Generator().manual_seed(5)
    weights = [torch.randn(size, generator=draw, dtype=torch.float64) for size in (3, 2)]
    due = torch.cat(weights)
    optimizer = make(weights, 1.0)
    iterates, same_steps, late, still = [], [], [], []
    previous = 1.0
    for step in range(12):
        if step == 5:
            optimizer.start()
            iterates.append(due.clone())
        rate = 0.5 + 0.1 * (step % 4)  # windows differ in length, and the rate with them
        before, slopes = torch.cat(weights).clone(), []
        for weight in weights:
            weight.grad = torch.randn(len(weight), generator=draw, dtype=torch.float64)
            slopes.append(weight.grad.clone())
        optimizer.lr = rate
        with torch.no_grad():
            optimizer.step()
        moved, slope = before - torch.cat(weights), torch.cat(slopes)
        same_steps.append(_near(moved, rate * slope))
        late.append(_near(moved, previous * slope))
        still.append(not moved.any())
        previous, due = rate, torch.cat(weights).clone()
        if step >= 5:
            iterates.append(due)
    return Report(
        (
            Promise("each step takes the learning rate set for it", all(same_steps), _step_hint(late, all(still))),
            _mean_promise(torch.cat(list(optimizer.means)), torch.stack(iterates)),
            Promise("the mean has memory of its own", not _shared(optimizer.means, weights),
                    "means and weights are the same tensors: clone them"),
        )
    )  # fmt: skip


def _near(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-6, atol=1e-9)


def _shared(means: Any, weights: list[Tensor]) -> bool:
    held = {weight.data_ptr() for weight in weights}
    return any(mean.data_ptr() in held for mean in means)


def _step_hint(late: list[bool], still: bool) -> str:
    if still:
        return "the weights did not move: change the very tensors in place, as weight -= ... does"
    if all(late[1:]):
        return "it takes the rate of the step before: read lr when the step is made, not after the one before"
    return "a step is w - lr * grad, with the lr of that moment"


def _mean_promise(mean: Tensor, iterates: Tensor) -> Promise:
    hint = "compare with torch.stack(iterates).mean(0), the weights at start() being the first of them"
    if _near(mean, iterates[1:].mean(0)):
        hint = "it leaves out the first iterate: the weights at which averaging begins belong to the mean"
    elif _near(mean, iterates[:-1].mean(0)):
        hint = "it leaves out the newest iterate: update the mean after the step, not before it"
    elif _near(mean, iterates[1:].sum(0) / len(iterates)):
        hint = "it counts the first iterate but takes zeros in its place: start from a copy of the weights"
    elif _near(mean, iterates[-1]):
        hint = "that is the newest iterate alone"
    return Promise("the mean is that of all iterates, the first one included", _near(mean, iterates.mean(0)), hint)
