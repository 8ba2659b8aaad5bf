"""Checks for the exercises of the chapter *Activation regularization*."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

RAW, KEPT = (2.0, -1.0, -1.0, 3.0), 2.0  #: of exercise 1: a unit over four steps, and its mask's entry at p = 0.5
ALPHA, BETA = 2.0, 1.0  #: of exercise 1, the paper's
_CLOSE = 5e-3  # a reader may round to one decimal
_SQUARES = sum((KEPT * h) ** 2 for h in RAW)
_STEPS = sum((b - a) ** 2 for a, b in zip(RAW, RAW[1:], strict=False))
_AR, _TAR = ALPHA * _SQUARES / 4, BETA * _STEPS / 3
_AR_HINTS = {
    2 * _AR: "twice what is due: the mask of a kept unit is 1/(1 - p) = 2, once, inside the square",
    _AR / KEPT**2: "AR looks at the output after dropout: this unit was kept, and is twice as large there",
    _AR / 2: "half of what is due: is α in it, and the mask inside the square? (This unit was kept: no expectation)",
    _AR / ALPHA / KEPT**2: "this is the mean square of the raw output: AR takes the dropped one, times α",
    ALPHA * _SQUARES: "that is the sum: the code takes the mean over all elements",
    ALPHA * math.sqrt(_SQUARES): "that is the norm of the paper's formula: the code takes the mean of squares",
    ALPHA * math.sqrt(_SQUARES / 4): "no root: the code takes the mean of squares",
}
_TAR_HINTS = {
    _TAR * KEPT**2: "TAR looks at the raw output, before dropout",
    BETA * _STEPS / 4: "four activations have three steps between them",
    BETA * _STEPS: "that is the sum: the code takes the mean over all steps",
    BETA * math.sqrt(_STEPS): "that is the norm of the paper's formula: the code takes the mean of squares",
    BETA * math.sqrt(_STEPS / 3): "no root: the code takes the mean of squares",
    BETA * 7 / 3: "square the steps",
    ALPHA * _STEPS / 3: "β is TAR's weight, and 1",
    _TAR / 2: "half of what is due: the mean of the squared steps, times β",
    BETA * (_STEPS + RAW[0] ** 2) / 4: "a window's first step is not compared with anything before it",
}


def check_charges(ar: float, tar: float) -> Report:
    """Exercise 1: what AR and TAR charge for one unit over four steps.

    Args:
        ar: the reader's AR, ``...`` where there is none yet.
        tar: the reader's TAR.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.activation_regularization import check_charges
        >>> check_charges(..., ...)
        your turn: fill in the cell and run it again
        >>> check_charges(30, 6.25)
        ✓ AR
        ✗ TAR
            hint: four activations have three steps between them
    """
    if ar is ... or tar is ...:
        return YOUR_TURN
    found = []
    for name, given, right, hints in (("AR", ar, _AR, _AR_HINTS), ("TAR", tar, _TAR, _TAR_HINTS)):
        if isinstance(given, Tensor) and given.numel() == 1:
            given = given.item()
        given = require.number(name.lower(), given)
        known = (hint for wrong, hint in hints.items() if math.isclose(given, wrong, rel_tol=_CLOSE))
        hint = next(known, "which output, which elements, squares or not, and a mean over how many?")
        found.append(Promise(name, math.isclose(given, right, rel_tol=_CLOSE), hint))
    return Report(tuple(found))


Gradient = Callable[[Tensor, Tensor, float, float], Tensor]  #: called as ``function(raw, mask, alpha, beta)``


def check_gradient(function: Gradient) -> Report:
    """Exercise 2: ``function(raw, mask, alpha, beta)``, the gradient of AR + TAR with respect to the raw output.

    Args:
        function: the reader's; raw is (seq_len, batch, features), the mask one that can be multiplied with it.

    Example:
        >>> from awdlib.exercises.activation_regularization import check_gradient
        >>> check_gradient(lambda raw, mask, alpha, beta: 2 * alpha * mask**2 * raw / raw.numel()).broken()
        ['TAR alone', 'both', 'two steps']
    """
    generator = torch.Generator().manual_seed(5)
    raw = torch.randn(6, 3, 4, dtype=torch.float64, generator=generator)
    mask = torch.empty(1, 3, 4, dtype=torch.float64).bernoulli_(0.6, generator=generator) / 0.6
    alpha, beta = 3.0, 1.5  # neither is a factor that belongs there anyway
    if is_empty(function, raw.clone(), mask.clone(), alpha, beta):
        return YOUR_TURN
    cases = {
        "AR alone": (raw, alpha, 0.0), "TAR alone": (raw, 0.0, beta), "both": (raw, alpha, beta),
        "two steps": (raw[:2], 0.0, beta), "a window of one step": (raw[:1], alpha, beta),
    }  # fmt: skip
    found = []
    for name, (h, alpha, beta) in cases.items():
        try:
            given = torch.as_tensor(function(h.clone(), mask.clone(), alpha, beta)).detach().double()
        except Exception as error:  # whatever a reader's code may raise
            found.append(raised(name, error))
            continue
        right = _gradient(h, mask, alpha, beta)
        kept = given.shape == right.shape and torch.allclose(given, right, rtol=1e-4, atol=1e-7)
        found.append(Promise(name, kept, _gradient_hint(given, h, mask, alpha, beta)))
    return Report(tuple(found))


def _gradient(h: Tensor, mask: Tensor, alpha: float, beta: float) -> Tensor:
    """The closed form of the chapter's section on gradients."""
    gradient = 2 * alpha * mask**2 * h / h.numel()
    if len(h) > 1:
        step = 2 * beta * (h[1:] - h[:-1]) / h[1:].numel()
        gradient[1:] += step
        gradient[:-1] -= step
    return gradient


def _gradient_hint(given: Tensor, h: Tensor, mask: Tensor, alpha: float, beta: float) -> str:
    if given.shape != h.shape:
        return f"it needs the shape of raw, {tuple(h.shape)}, and has {tuple(given.shape)}"
    if not given.isfinite().all():
        return "a window of one step has no steps in it: TAR and its gradient are 0 there, not 0/0"
    ar, both = _gradient(h, mask, alpha, 0.0), _gradient(h, mask, alpha, beta)
    tar = both - ar
    factor = 2 * beta / max(h[1:].numel(), 1)
    ends, behind, inside = torch.zeros_like(h), torch.zeros_like(h), tar.clone()
    ends[0] += h[0]
    ends[-1] += h[-1]
    behind[1:] = factor * (h[1:] - h[:-1])
    inside[[0, -1]] = 0
    ring = factor * (2 * h - h.roll(1, 0) - h.roll(-1, 0))
    across = _gradient(h.transpose(0, 1), mask.transpose(0, 1), 0.0, beta).transpose(0, 1)
    everywhere = "the means are over all elements: steps, sequences and units all divide"
    unweighted = _gradient(h, mask, 1.0, 0.0) * (alpha > 0) + _gradient(h, mask, 0.0, 1.0) * (beta > 0)
    wrong = (
        (2 * alpha * mask * h / h.numel() + tar, "the mask stands inside the square: it comes out squared"),
        (2 * alpha * h / h.numel() + tar, "AR is of the dropped output: where is the mask?"),
        (both / 2, "the derivative of a square has a factor 2"),
        (ar / 2 + tar, "the derivative of a square has a factor 2: AR's is missing"),
        (ar + tar / 2, "the derivative of a square has a factor 2: TAR's is missing"),
        (ar * h.numel() + tar * h[1:].numel(), "the means divide: AR's by T B H, TAR's by (T - 1) B H"),
        (both * h.shape[1], everywhere),
        (both * h.shape[2], everywhere),
        (both * h.shape[1] * h.shape[2], everywhere),
        (unweighted, "where are the weights α and β?"),
        (_gradient(h, mask, 1.0, 0.0) + _gradient(h, mask, 0.0, 1.0), "where are the weights α and β?"),
        (ar + across, "those are steps between sequences: time is dimension 0"),
        (ar + inside, "the first and the last step have a neighbour too: one each"),
        (ar + 2 * behind - tar, "a step pulls its end one way and its beginning the other: mind the signs"),
        (tar, "AR is missing: it is there in a window of any length"),
        (ar + tar * (len(h) - 1) / len(h), "there are T - 1 steps, not T: TAR's mean divides by (T - 1) B H"),
        (ar - tar, "the sign of TAR's part: it must pull a peak down"),
        (ar + factor * ends + tar, "the first and the last step have one neighbour only: h, not 2h, stands there"),
        (ar + ring, "the window is no ring: its ends are not neighbours (torch.roll makes them so)"),
        (ar + behind, "h_t occurs in two steps: the one that leads to it and the one that leads away"),
        (ar + behind - tar, "h_t occurs in two steps: the one that leads to it and the one that leads away"),
        (ar + tar * mask**2, "TAR is of the raw output: no mask there"),
        (both * 0 + ar, "the part of TAR is missing"),
    )
    for value, hint in wrong:
        if torch.allclose(given, value, rtol=1e-4, atol=1e-7):
            return hint
    return "differentiate by a single h_t: in which squares does it occur, and what does the mean divide by?"


Expected = Callable[[Tensor, float, bool], float]  #: called as ``function(raw, p, locked)``


def check_dropped_steps(function: Expected) -> Report:
    """Exercise 3: ``function(raw, p, locked)``, the expectation of mean squared steps of the *dropped* output.

    Args:
        function: the reader's; raw is one unit over time, (seq_len,).

    Example:
        >>> from awdlib.exercises.activation_regularization import check_dropped_steps
        >>> check_dropped_steps(lambda raw, p, locked: raw.diff().square().mean() / (1 - p)).broken()[0]
        'a unit that stands still, fresh masks'
    """
    if is_empty(function, torch.ones(3, dtype=torch.float64), 0.2, True):
        return YOUR_TURN
    cases = {
        "a unit that stands still": torch.full((8,), 0.5, dtype=torch.float64),
        "a unit that alternates": torch.tensor([0.5, -0.25] * 4, dtype=torch.float64),
        "any unit": torch.linspace(-0.4, 0.9, 8, dtype=torch.float64) ** 2,
    }
    found = []
    for name, raw in cases.items():
        for locked in (True, False):
            text = f"{name}, {'a locked mask' if locked else 'fresh masks'}"
            try:
                given = float(function(raw.clone(), 0.2, locked))
            except Exception as error:  # whatever a reader's code may raise
                return Report((raised(text, error),))
            kept = math.isclose(given, _dropped_steps(raw, 0.2, locked), rel_tol=1e-5, abs_tol=1e-9)
            found.append(Promise(text, kept, _dropped_steps_hint(given, raw, 0.2, locked)))
    return Report(tuple(found))


def _dropped_steps(raw: Tensor, p: float, locked: bool) -> float:
    """The closed form: a factor under a locked mask, a charge on size beside the steps under fresh ones."""
    steps = raw.diff().square().mean().item()
    if locked:
        return steps / (1 - p)
    return steps + p / (1 - p) * (raw[1:].square() + raw[:-1].square()).mean().item()


def _dropped_steps_hint(given: float, raw: Tensor, p: float, locked: bool) -> str:
    def near(value: float) -> bool:
        return math.isclose(given, value, rel_tol=1e-5, abs_tol=1e-9)

    if not math.isfinite(given):
        return f"{given} is no expectation: is there a division by 0, or a mean of nothing?"
    if near(_dropped_steps(raw, p, locked) * (len(raw) - 1)):
        return "that is the sum over the steps: take their mean"
    if near(_dropped_steps(raw, 1 - p, locked)):
        return "p is the probability to be dropped, not that to be kept"
    steps, sizes = raw.diff().square().mean().item(), (raw[1:].square() + raw[:-1].square()).mean().item()
    products = 2 * (raw[1:] * raw[:-1]).mean().item()
    known: tuple[tuple[float, str], ...]
    if locked:
        known = (
            (steps, "the mask comes out of the square: what is the mean of m²?"),
            (steps / (1 - p) ** 2, "the mean of m² is 1/(1 - p), not its square"),
            (steps * (1 - p), "what is kept is scaled up: m is 1/(1 - p) or 0"),
            (_dropped_steps(raw, p, False), "that is for fresh masks: a locked one is the same at both ends of a step"),
        )
    else:
        known = (
            (steps / (1 - p), "that is for a locked mask: fresh ones differ at the two ends of a step"),
            (steps, "the means are right; now the variances of the two ends, p/(1-p) h², are to be added"),
            (steps + p / (1 - p) * raw.square().mean().item(), "both ends of a step have a mask, and so a variance"),
            (sizes / (1 - p), "the product m_t m_{t-1} has mean 1, not 0: the cross term stays"),
            ((1 - p) * sizes - (1 - p) ** 2 * products, "what is kept is scaled up: m is 1/(1 - p) or 0"),
            (steps + 2 * p / (1 - p) * sizes, "each end adds its variance once: p/(1 - p) h²"),
            (steps + p * (1 - p) * sizes, "p(1 - p) is the variance of the coin: the mask is the coin over 1 - p"),
            (steps + sizes * p, "the variance of a mask is p/(1 - p)"),
            (steps / (1 - p) + p / (1 - p) * sizes, "the squared mean step is (Δh)², without a factor"),
        )
    for value, hint in known:
        if near(value):
            return hint
    return "write the step as m_t h_t - m_{t-1} h_{t-1}; its mean square is the square of its mean plus its variance"
