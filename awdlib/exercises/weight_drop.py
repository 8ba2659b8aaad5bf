"""Checks for the exercises of the chapter *Weight drop*."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from awdlib import _require as require
from awdlib.contracts import STANDARD_ERRORS, Promise, Report, check_weight_drop
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

HIDDEN, INPUT, BATCH, STEPS = 1150, 400, 40, 70  #: of exercise 1: the paper's first layer, and its windows
INPUTS = 6  #: features that a module of exercise 3 reads
_MATRIX, _HELD = 4 * HIDDEN * HIDDEN, BATCH * HIDDEN
_FRESH = STEPS * _HELD
_ONE_MATRIX = "one matrix serves all time steps and all sequences of the window"
_OF_H = "the mask lies on h, before the gates read it: one coin serves all four"
_MATRIX_HINTS = {
    HIDDEN * HIDDEN: "that is one gate's matrix, and there are four on top of each other",
    4 * HIDDEN: "those are rows; every entry has a coin of its own",
    4 * HIDDEN * INPUT: "that is the matrix of the way up, which is not dropped",
    4 * HIDDEN * (HIDDEN + INPUT): "weight drop leaves the matrix of the way up alone",
    STEPS * _MATRIX: _ONE_MATRIX, BATCH * _MATRIX: _ONE_MATRIX, STEPS * BATCH * _MATRIX: _ONE_MATRIX,
}  # fmt: skip
_HELD_HINTS = {
    HIDDEN: "each of the sequences of the batch has a mask of its own",
    _FRESH: "that is with fresh masks: here the time steps share one",
    STEPS * HIDDEN: "it is the time steps that share, and not the sequences",
    4 * _HELD: _OF_H, 4 * HIDDEN: _OF_H,
}  # fmt: skip
_FRESH_HINTS = {
    _HELD: "that is with one mask a window: here each step has its own",
    STEPS * HIDDEN: "each of the sequences of the batch has masks of its own",
    4 * _FRESH: _OF_H,
}  # fmt: skip


def check_coins(weights: int, held: int, fresh: int) -> Report:
    """Exercise 1: how many random decisions one window takes in the paper's first layer.

    Args:
        weights: the reader's count under weight drop; ``...`` where there is none yet.
        held: with one mask a window on h.
        fresh: with a mask a step on h.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.weight_drop import check_coins
        >>> check_coins(..., ..., ...)
        your turn: fill in the cell and run it again
        >>> check_coins(1150 * 1150, 40 * 1150, 70 * 40 * 1150)
        ✗ decisions of a window under weight drop
            hint: that is one gate's matrix, and there are four on top of each other
        ✓ decisions with one mask a window on h
        ✓ decisions with a mask a step on h
    """
    if weights is ... or held is ... or fresh is ...:
        return YOUR_TURN
    for name, answer in {"weights": weights, "held": held, "fresh": fresh}.items():
        require.number(name, answer)
    rows = (
        ("decisions of a window under weight drop", weights, _MATRIX, _MATRIX_HINTS),
        ("decisions with one mask a window on h", held, _HELD, _HELD_HINTS),
        ("decisions with a mask a step on h", fresh, _FRESH, _FRESH_HINTS),
    )
    common = "write down the mask's shape, and multiply its sizes; those that share one decision count as 1"
    return Report(tuple(Promise(text, given == right, known.get(given, common)) for text, given, right, known in rows))


def check_noise(function: Callable[[Tensor, Tensor, float], Any]) -> Report:
    """Exercise 2: ``function(U, h, p)``, the standard deviation of each pre-activation under weight drop.

    Args:
        function: the reader's; U is (units, features), h is (features,), and (units,) numbers of any kind are due.

    Example:
        >>> from awdlib.exercises.weight_drop import check_noise
        >>> check_noise(lambda U, h, p: ((p / (1 - p)) * (U**2 @ h**2)) ** 0.5).kept
        True
    """
    draw = torch.Generator().manual_seed(3)
    weight = torch.randn(4, 7, generator=draw, dtype=torch.float64)
    h = torch.randn(7, generator=draw, dtype=torch.float64)
    if is_empty(function, weight, h, 0.3):
        return YOUR_TURN
    cases = (
        ("one connection", weight[:1, :1], h[:1], 0.3),
        ("one unit", weight[:1], h, 0.3),
        ("four units", weight, h, 0.3),
        ("four units, most weights dropped", weight, h, 0.8),
    )
    found: list[Promise] = []
    for text, u, state, p in cases:
        try:
            given = torch.as_tensor(function(u.clone(), state.clone(), p), dtype=torch.float64).detach()
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, raised(text, error)))
        right = _noise(u, state, p)
        kept = given.numel() == len(right) and torch.allclose(given.reshape(-1), right, rtol=1e-4)
        found.append(Promise(text, kept, _noise_hint(given, u, state, p)))
    return Report(tuple(found))


def _noise(weight: Tensor, h: Tensor, p: float) -> Tensor:
    """The closed form of the chapter's section *The equation*."""
    return (p / (1 - p) * (weight**2 @ h**2)).sqrt()


def _noise_hint(given: Tensor, weight: Tensor, h: Tensor, p: float) -> str:
    if given.numel() != len(weight):
        return f"one number for each unit is due, {len(weight)} here; the shape that came back is {tuple(given.shape)}"
    squares = weight**2 @ h**2
    for wrong, hint in (
        (p / (1 - p) * squares, "this is the variance: take its square root"),
        ((p * (1 - p) * squares).sqrt(), "this is for a mask of 0 and 1: what is kept is scaled by 1/(1 - p)"),
        (((1 - p) / p * squares).sqrt(), "p is the probability of dropping"),
        (math.sqrt(p / (1 - p)) * (weight @ h).abs(), "the coins are independent: square each term, then add"),
        (math.sqrt(p / (1 - p)) * (weight @ h), "the coins are independent: square each term, then add"),
        (math.sqrt(p / (1 - p)) * (weight.abs() @ h.abs()), "variances of independent terms add, not their roots"),
        (squares.sqrt(), "this is right for p = 1/2 alone: where is the variance of a coin?"),
        ((p / (1 - p) * (weight**2).sum(1)).sqrt(), "each weight is multiplied by a feature of h"),
    ):
        if torch.allclose(given.reshape(-1), wrong, rtol=1e-4):
            return hint
    return "the pre-activation is a sum of independent terms m_ij u_ij h_j: add their variances"


def check_both_layers(make: Callable[[float], nn.Module], p: float = 0.5) -> Report:
    """Exercise 3: two LSTM layers of equal size with weight drop on both, a mask each.

    Args:
        make: the reader's class, or anything that gives a module for a p, called as ``module(x)`` with x of shape
            (seq_len, batch, 6), from a zero state; what it returns is, or begins with, the last layer's output.
        p: dropout probability to try.

    Raises:
        ValueError: p is not between 0 and 1.

    Example:
        >>> import torch
        >>> from awdlib.exercises.weight_drop import check_both_layers
        >>> class FirstOnly(torch.nn.Module):
        ...     def __init__(self, p):
        ...         super().__init__()
        ...         self.p, self.lstm = p, torch.nn.LSTM(6, 20, 2)
        ...
        ...     def forward(self, x):
        ...         weight = torch.nn.functional.dropout(self.lstm.weight_hh_l0, self.p, self.training)
        ...         return torch.func.functional_call(self.lstm, {"weight_hh_l0": weight}, (x,))
        >>> check_both_layers(FirstOnly).broken()
        ['drops in both layers']
    """
    require.number("p", p, "(0, 1)")
    if is_empty(lambda: make(p)(torch.zeros(2, 1, INPUTS))):
        return YOUR_TURN
    first = check_weight_drop(make, INPUTS, p)
    if "runs to the end" in first.broken():
        return first
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        return Report((*first.promises, *_both(make(p).train(), p)))


def _both(module: nn.Module, p: float) -> Iterator[Promise]:
    """Whether two of the square parameters were masked, and not with the same mask."""
    result = module(torch.randn(9, 2, INPUTS))
    output = result if isinstance(result, Tensor) else result[0]
    if not output.requires_grad:
        return
    output.square().sum().backward()
    matrices = [weight for weight in module.parameters() if weight.shape[1:] == output.shape[-1:]]
    square = [weight.grad == 0 for weight in matrices if weight.grad is not None]
    near = STANDARD_ERRORS * math.sqrt(p * (1 - p) / square[0].numel()) if square else 0.0
    masked = [zero for zero in square if abs(zero.double().mean().item() - p) < near]
    if len(square) < 3 <= len(matrices):
        hint = "a raw matrix gets no gradient: what the layer reads must still hang on it"
    elif len(square) < 3:
        hint = "two layers of equal size have three square matrices: both hidden-to-hidden, and the way up between them"
    elif len(masked) < 2:
        hint = f"{len(masked)} of the two hidden-to-hidden matrices got a mask: the second layer's is weight_hh_l1"
    else:
        hint = "three matrices got a mask: weight_ih_l1 leads up"
    yield Promise("drops in both layers", len(square) >= 3 and len(masked) == 2, hint)
    if len(masked) == 2:
        yield Promise("a mask of its own for each layer", not masked[0].equal(masked[1]),
                      "both layers lost the same entries: draw a mask for each")  # fmt: skip
