"""Checks for the exercises of the chapter *Variable-length BPTT*."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

HALVES = {4: 0.5, 8: 0.5}  #: lengths of exercise 1 and their probabilities
NOMINAL, RATE = 4, 0.5  #: of exercise 3: the window and the rate that belongs to it


def check_means(window: float, token: float, reach: float) -> Report:
    """Exercise 1: windows of 4 and of 8 tokens, each with probability one half.

    Args:
        window: the reader's mean length of a window; ``...`` where there is none yet.
        token: the mean length of the window that a token of the text stands in.
        reach: the mean number of steps back from a loss to the beginning of its window.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.variable_length_bptt import check_means
        >>> check_means(6, 6, 2.833)
        ✓ mean length of a window
        ✗ mean length of the window of a token
            hint: that is the mean over windows: a window of 8 holds twice as many tokens as one of 4
        ✓ mean steps back
    """
    if any(answer is ... for answer in (window, token, reach)):
        return YOUR_TURN
    for name, answer in {"window": window, "token": token, "reach": reach}.items():
        require.number(name, answer)
    hints = {
        "token": {
            6.0: "that is the mean over windows: a window of 8 holds twice as many tokens as one of 4",
            40.0: "that is the mean square: divide by the mean",
            math.sqrt(40): "that is the root of the mean square: two thirds of the tokens are in a window of 8",
            16 / 3: "the weights are turned: more tokens are in the long windows, not in the short ones",
        },
        "reach": {
            10 / 3: "the first token of a window reaches 0 steps back, not 1: (L - 1) / 2 on average",
            23 / 6: "count steps back, not tokens: the first token of a window reaches 0 back",
            2.5: "the mean over windows is not the mean over tokens: a token is in a window of 20/3 on average",
            17 / 3: "that is the last token's reach: average over all places of the window",
            3.0: "half of a window's mean length: average over tokens, and let the first one reach 0 back",
        },
    }
    return Report((
        Promise("mean length of a window", _near(window, 6), "the mean of 4 and 8, equally likely"),
        Promise("mean length of the window of a token", _near(token, 20 / 3),
                _known(token, hints["token"], "draw tokens, not windows: length l has weight l p_l")),
        Promise("mean steps back", _near(reach, 17 / 6),
                _known(reach, hints["reach"], "in a window of L the tokens reach 0, 1, …, L - 1 back")),
    ))  # fmt: skip


def _near(given: float, right: float, tolerance: float = 0.015) -> bool:
    """Answers written with one decimal place are right, too."""
    return math.isclose(given, right, rel_tol=tolerance)


def _known(given: float, hints: Mapping[float, str], rest: str) -> str:
    return next((text for value, text in hints.items() if _near(given, value)), rest)


def check_borders(function: Callable[[dict[int, float], int], Sequence[float]]) -> Report:
    """Exercise 2: ``function(p, rows)``, the probability that a window begins at each of the first rows.

    Args:
        function: the reader's; p is a distribution, length -> probability.

    Example:
        >>> from awdlib.exercises.variable_length_bptt import check_borders
        >>> def borders(p, rows):
        ...     u = [1.0]
        ...     for n in range(1, rows):
        ...         u.append(sum(mass * u[n - k] for k, mass in p.items() if k <= n))
        ...     return u
        >>> check_borders(borders).kept
        True
    """
    cases = {
        "fixed windows of 3": {3: 1.0},
        "windows of 2 or 3": {2: 0.5, 3: 0.5},
        "windows of 1, 4 or 15": {4: 0.25, 1: 0.25, 15: 0.5},  # one of them is longer than the text
    }
    found = []
    for text, lengths in cases.items():
        if is_empty(function, dict(lengths), 12):
            return YOUR_TURN
        try:
            given = torch.as_tensor(function(dict(lengths), 12)).detach().double().flatten()
        except Exception as error:  # whatever a reader's code may raise
            return Report((raised(text, error),))
        due = _renewal(lengths, 12)
        kept = given.shape == due.shape and torch.allclose(given, due, atol=1e-5)
        found.append(Promise(text, kept, _borders_hint(given, due, lengths)))
    return Report(tuple(found))


def _renewal(lengths: Mapping[int, float], rows: int) -> Tensor:
    u = torch.zeros(rows, dtype=torch.float64)
    u[0] = 1.0
    for row in range(1, rows):
        u[row] = sum(mass * u[row - k] for k, mass in lengths.items() if k <= row)
    return u


def _borders_hint(given: Tensor, due: Tensor, lengths: Mapping[int, float]) -> str:
    if given.shape != due.shape:
        return f"a probability for each of the 12 rows, 0 to 11; yours are {given.numel()}"
    once = torch.tensor([lengths.get(row, 0.0) for row in range(12)], dtype=torch.float64)
    mean = sum(length * mass for length, mass in lengths.items())
    started = once.clone()
    started[0] = 1.0
    again = due.clone()
    again[0] = 0.0
    known = [
        (once, "that is where the second window begins: the third, the fourth, … begin somewhere too"),
        (started, "that is where the second window begins: the third, the fourth, … begin somewhere too"),
        (torch.full_like(due, 1 / mean), "that is where it tends to; the first window always begins at row 0"),
        (again, "the first window begins at row 0: u_0 = 1"),
        (torch.zeros_like(due), "the first window begins at row 0: u_0 = 1, and all others follow from it"),
    ]
    return next(
        (text for wrong, text in known if torch.allclose(given, wrong, atol=1e-5)),
        "a window begins at row n if the one before began at n - k and has length k: sum over k; row 0 has 1",
    )


def check_rates(function: Callable[..., Any]) -> Report:
    """Exercise 3: ``function(optimizer, lengths, nominal, gradient)``, an epoch whose every step is scaled.

    Args:
        function: the reader's; it is to call ``gradient()``, which fills the weights' ``grad``, and
            ``optimizer.step()`` once for each of the lengths.

    Example:
        A rate that is multiplied again and again:

        >>> from awdlib.exercises.variable_length_bptt import check_rates
        >>> def compounding(optimizer, lengths, nominal, gradient):
        ...     for length in lengths:
        ...         for group in optimizer.param_groups:
        ...             group["lr"] *= length / nominal
        ...         gradient()
        ...         optimizer.step()
        >>> check_rates(compounding).kept
        False
    """
    lengths = (3, 4, 6, 2, 5)
    due = [RATE * length / NOMINAL for length in lengths]
    found = []
    for name in ("SGD", "ASGD"):
        try:
            moved, gradients, left = _walk(function, name, lengths)
        except Exception as error:  # whatever a reader's code may raise
            return Report((raised(name, error),))
        if not moved and not gradients:
            return YOUR_TURN
        found.append(Promise(f"{name}: each step has its own window's rate", _alike(moved, due),
                             _rates_hint(moved, gradients, due)))  # fmt: skip
        hint = f"afterwards lr is {left:.3g}: the next epoch would begin from there"
        found.append(Promise(f"{name}: the nominal rate is there again afterwards", _near(left, RATE, 1e-6), hint))
    return Report(tuple(found))


def _walk(function: Callable[..., Any], name: str, lengths: Sequence[int]) -> tuple[list[float], int, float]:
    """How far each step went, how often a gradient was asked for, and the rate left; every gradient is 1."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    options = {"t0": 0, "lambd": 0.0} if name == "ASGD" else {}
    optimizer = getattr(torch.optim, name)([weight], lr=RATE, **options)
    seen, asked = [0.0], 0
    optimizer.register_step_post_hook(lambda *_: seen.append(weight.item()))

    def gradient() -> None:
        nonlocal asked
        asked += 1
        weight.grad = torch.ones_like(weight)

    function(optimizer, lengths, NOMINAL, gradient)
    left = float(optimizer.param_groups[0]["lr"])
    return [before - after for before, after in pairwise(seen)], asked, left


def _alike(moved: Sequence[float], due: Sequence[float]) -> bool:
    return len(moved) == len(due) and all(_near(one, other, 1e-5) for one, other in zip(moved, due, strict=True))


def _rates_hint(moved: list[float], asked: int, due: list[float]) -> str:
    if len(moved) != len(due) or asked != len(due):
        return f"{len(due)} windows ask for as many gradients and steps: you took {asked} and {len(moved)}"
    factors = [rate / RATE for rate in due]
    compounded = [RATE * math.prod(factors[: at + 1]) for at in range(len(due))]
    known = [
        ([due[0], *due[:-1]], "each step has the rate of the window before: this optimizer fixed it a step ago"),
        ([RATE, *due[:-1]], "each step has the rate of the window before: set it before the step, not after"),
        (compounded, "the factors pile up: begin with the nominal rate"),
        ([RATE] * len(due), "every step has the nominal rate: nothing is scaled"),
        ([RATE / factor for factor in factors], "length / nominal, not the other way round"),
        ([RATE * factor**2 for factor in factors], "scaled twice: either the rate or the gradient, not both"),
        ([RATE * factor * NOMINAL for factor in factors], "divide by the nominal length"),
    ]  # fmt: skip
    text = next((text for wrong, text in known if _alike(moved, wrong)), "the step is to be lr · length / nominal")
    shown = " ".join(f"{one / RATE:.2f}" for one in moved)
    return f"{text}; the factors were {shown}"
