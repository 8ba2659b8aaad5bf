"""Checks for the exercises of the chapter *Dropout masks*."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.contracts import Dropout, Promise, Report, check_locked_dropout, check_mask
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

SEQ_LEN, BATCH, FEATURES = 35, 20, 400  #: the window of exercise 1


def check_counts(ordinary: int, locked: int) -> Report:
    """Exercise 1: how many random decisions one window takes, at (35, 20, 400).

    Args:
        ordinary: the reader's count under ordinary dropout; ``...`` where there is none yet.
        locked: the same under locked dropout.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.dropout_masks import check_counts
        >>> check_counts(..., ...)
        your turn: fill in the cell and run it again
        >>> check_counts(35 * 20 * 400, 35 * 20)
        ✓ decisions of a window under ordinary dropout
        ✗ decisions of a window under locked dropout
            hint: the time steps share, and the features do not
    """
    if ordinary is ... or locked is ...:
        return YOUR_TURN
    right = {"ordinary": SEQ_LEN * BATCH * FEATURES, "locked": BATCH * FEATURES}
    hints = {
        "ordinary": {
            right["locked"]: "that is the locked count: here the time steps do not share",
            SEQ_LEN * FEATURES: "each of the sequences of the batch has decisions of its own",
        },
        "locked": {
            right["ordinary"]: "that is the ordinary count: which dimension shares one decision?",
            FEATURES: "each of the sequences of the batch has decisions of its own",
            SEQ_LEN * BATCH: "the time steps share, and the features do not",
        },
    }
    given = {"ordinary": ordinary, "locked": locked}
    for name, answer in given.items():
        require.number(name, answer)
    return Report(
        tuple(
            Promise(
                f"decisions of a window under {kind} dropout",
                given[kind] == right[kind],
                hints[kind].get(given[kind], "multiply the sizes of the mask's dimensions; those of size 1 are shared"),
            )
            for kind in right
        )
    )


Noise = Callable[[Tensor, float, bool], float]  #: called as ``function(x, p, locked)``


def check_noise(function: Noise) -> Report:
    """Exercise 2: ``function(x, p, locked)``, the standard deviation of the mean over time of a dropped x.

    Args:
        function: the reader's; x is one feature over time, (seq_len,).

    Example:
        The solution, section *Equation* of the chapter:

        >>> from awdlib.exercises.dropout_masks import check_noise
        >>> def noise(x, p, locked):
        ...     squares = x.mean() ** 2 if locked else x.square().mean() / len(x)
        ...     return (p / (1 - p) * squares) ** 0.5
        >>> check_noise(noise).kept
        True
    """
    if is_empty(function, torch.ones(3), 0.2, True):
        return YOUR_TURN
    cases = {
        "a constant feature": torch.ones(16, dtype=torch.float64),
        "a feature that alternates in sign": torch.tensor([1.0, -1.0] * 8, dtype=torch.float64),
        "a feature that is active at one step": torch.eye(16, dtype=torch.float64)[3],
        "any feature": torch.linspace(-1, 2, 16, dtype=torch.float64),
    }
    found = []
    for name, x in cases.items():
        for locked in (False, True):
            text = f"{name}, {'locked' if locked else 'ordinary'} dropout"
            try:
                given = float(function(x, 0.2, locked))
            except Exception as error:  # whatever a reader's code may raise
                return Report((raised(text, error),))
            right = _noise(x, 0.2, locked)
            hint = _noise_hint(given, right, locked)
            found.append(Promise(text, math.isclose(given, right, rel_tol=1e-6, abs_tol=1e-9), hint))
    return Report(tuple(found))


def _noise(x: Tensor, p: float, locked: bool) -> float:
    """The closed form of the chapter's section *Equation*."""
    squares = x.mean() ** 2 if locked else x.square().mean() / len(x)
    return math.sqrt(p / (1 - p) * squares.item())


def _noise_hint(given: float, right: float, locked: bool) -> str:
    if math.isclose(given, right**2, rel_tol=1e-6, abs_tol=1e-9):
        return "this is the variance: take its square root"
    if locked:
        return "one factor multiplies the whole sum: its standard deviation times the absolute mean of x"
    return "the factors are independent: add the variances p/(1-p) x_t^2, and mind that the mean divides by T"


def check_batch_first(function: Dropout, p: float = 0.5) -> Report:
    """Exercise 3: locked dropout on x of shape (batch, seq_len, features).

    Args:
        function: the reader's, called as ``function(x, p, training)``.
        p: dropout probability to try.

    Example:
        The mask of the chapter's ``locked_dropout`` has its 1 in the first dimension, here the sequences':

        >>> from awdlib.dropout import locked_dropout
        >>> from awdlib.exercises.dropout_masks import check_batch_first
        >>> check_batch_first(locked_dropout).broken()[:2]
        ['one decision for all time steps', 'separate decisions for different sequences']
    """
    if is_empty(function, torch.ones(2, 3, 4), p, True):
        return YOUR_TURN
    axes = {"shared": {1: "time steps"}, "separate": {0: "sequences", 2: "features"}}
    return check_mask(function, p, shape=(12, 8, 40), **axes)


def check_module(make: Callable[[float], torch.nn.Module]) -> Report:
    """Exercise 4: a module made by ``make(p)`` that applies locked dropout according to its own ``training`` flag.

    Args:
        make: the reader's class, or anything that gives such a module.

    Example:
        >>> from torch.nn import Dropout
        >>> from awdlib.exercises.dropout_masks import check_module
        >>> check_module(Dropout).broken()
        ['one decision for all time steps']
    """

    made: dict[float, torch.nn.Module] = {}

    def function(x: Tensor, p: float, training: bool) -> Tensor:
        if p not in made:  # one module, called again and again, as in training
            made[p] = make(p)
        return made[p].train(training)(x)

    return check_locked_dropout(function)
