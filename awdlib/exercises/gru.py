"""Checks for the exercises of the chapter *From LSTM to GRU*."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.contracts import Promise, Report, guarded
from awdlib.exercises.answers import YOUR_TURN, is_empty

BEFORE, UPDATE, CANDIDATE, WIDTH = 0.5, 0.75, -0.3, 100  #: of exercise 1
Step = Callable[..., Any]  #: called as ``function(x, h, weight_ih, weight_hh, bias_ih, bias_hh)``


def check_by_hand(state: float, change: float, entries: float) -> Report:
    """Exercise 1: one unit's new state, how far it moved, and the entries of a layer's weight-drop mask.

    Args:
        state: the reader's h_t; ``...`` where there is none yet.
        change: h_t - h_{t-1}.
        entries: of the mask of a GRU layer of `WIDTH` units.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.gru import check_by_hand
        >>> check_by_hand(..., ..., ...)
        your turn: fill in the cell and run it again
        >>> check_by_hand(0.3, -0.2, 40_000)
        ✓ the new state
        ✓ how far it moved
        ✗ entries of the mask
            hint: that is an LSTM's: a GRU has three blocks of rows
    """
    if any(answer is ... for answer in (state, change, entries)):
        return YOUR_TURN
    state, change, entries = (
        _plain(name, answer) for name, answer in (("state", state), ("change", change), ("entries", entries))
    )
    h, z, n = BEFORE, UPDATE, CANDIDATE
    right = z * h + (1 - z) * n
    return Report((
        _number("the new state", state, right, {
            (1 - z) * h + z * n: "the update gate keeps here: z stands at the old state, 1 - z at the candidate",
            z * h: "that is what is kept; the candidate's part comes to it",
            z * h + n: "the candidate is weighed with 1 - z: a GRU has no second gate for it",
            h + (1 - z) * n: "the old state is weighed too, with z",
            math.tanh(right): "the sum is not squashed again: both of its parts are between -1 and 1",
        }, "z times the old state and 1 - z times the candidate"),
        _number("how far it moved", change, right - h, {
            h - right: "new minus old: it has the other sign",
            n - h: "that is how far the candidate lies away; the state goes 1 - z of that way",
            (right - h) ** 2: "that is its square, which TAR adds up; asked is the difference",
            z * (n - h): "it goes 1 - z of the way, and keeps z",
        }, "(1 - z)(n - h)"),
        _number("entries of the mask", entries, 3 * WIDTH**2, {
            4 * WIDTH**2: "that is an LSTM's: a GRU has three blocks of rows",
            2 * WIDTH**2: "two gates and the candidate, which has a recurrent matrix as well",
            WIDTH**2: "that is one block; a GRU has three",
            3 * WIDTH: "one for each entry of the matrix, not for each row",
            6 * WIDTH**2: "only the recurrent matrix is masked, not that of the input",
        }, "as many as weight_hh has"),
    ))  # fmt: skip


def _plain(name: str, answer: Any) -> float:
    """A number of any kind, a tensor of one entry too, as Python's."""
    if isinstance(answer, str | bool):
        raise ValueError(f"{name} is {require.shown(answer)}; it must be a number")
    try:
        return require.number(name, float(answer))
    except TypeError as error:
        raise ValueError(f"{name} is {require.shown(answer)}; it must be a number") from error


def _number(text: str, given: Any, right: float, wrong: dict[float, str], hint: str) -> Promise:
    """Right to within a thousandth, or else the hint of the known wrong answer that is nearest."""
    known = (why for value, why in wrong.items() if math.isclose(given, value, rel_tol=2e-3, abs_tol=1e-4))
    kept = math.isclose(given, right, rel_tol=2e-3, abs_tol=1e-4)
    return Promise(text, kept, next(known, hint))


def _weights(seed: int, inputs: int = 4, hidden: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,)]
    return [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _cho(
    x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor, *,
    reset: str = "state", reversed_update: bool = False, swapped: bool = False,
) -> Tensor:  # fmt: skip
    """Cho et al. 2014, with the reset before the product, or with one of its usual mistakes."""
    w, u, b, c = (part.chunk(3) for part in (weight_ih, weight_hh, bias_ih, bias_hh))
    r, z = (torch.sigmoid(x @ w[k].T + b[k] + h @ u[k].T + c[k]) for k in ((1, 0) if swapped else (0, 1)))
    of_h = {
        "state": (r * h) @ u[2].T + c[2], "product": r * (h @ u[2].T + c[2]), "both": r * ((r * h) @ u[2].T + c[2]),
        "the bias too": (r * h) @ u[2].T + r * c[2], "nothing": h @ u[2].T + c[2], "by z": (z * h) @ u[2].T + c[2],
        "no bias": (r * h) @ u[2].T,
    }[reset]  # fmt: skip
    candidate = torch.tanh(x @ w[2].T + b[2] + of_h)
    return (1 - z) * h + z * candidate if reversed_update else z * h + (1 - z) * candidate


CHO_WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"reset": "product"}, "that is torch's: there r multiplies the product; here it multiplies h, before the product"),
    ({"reversed_update": True}, "the update gate is reversed: here z keeps, and 1 - z writes"),
    ({"reset": "product", "reversed_update": True}, "two things: r multiplies h before the product, and z keeps"),
    ({"swapped": True}, "the blocks of rows are r, z, n in turn"),
    ({"reset": "both"}, "r multiplies h once, before the product; bias and product are not reset again"),
    ({"reset": "the bias too"}, "r multiplies h alone; bias_hh's part of n is not reset"),
    ({"reset": "nothing"}, "nothing is reset: r multiplies h before the third product"),
    ({"reset": "by z"}, "it is r that multiplies h there, not z"),
    ({"reset": "no bias"}, "n has a second bias, the third block of bias_hh"),
)  #: known wrong steps of exercise 2: what of ``_cho`` is changed, and the hint


def check_cho(function: Step) -> Report:
    """Exercise 2: one step of the GRU as Cho et al. 2014 wrote it, with the reset before the product.

    Args:
        function: the reader's; returns the new h, (batch, hidden_size).

    Example:
        >>> from awdlib.exercises.gru import check_cho
        >>> from awdlib.recurrent import gru_step
        >>> check_cho(lambda x, h, *weights: gru_step(x, (h,), *weights)[0])
        ✓ a new state of the old one's shape
        ✓ leaves its inputs untouched
        ✓ with the reset gate open it is torch's
        ✗ any weights: Cho's equations
            hint: that is torch's: there r multiplies the product; here it multiplies h, before the product
    """
    if is_empty(function, torch.zeros(2, 4).double(), torch.zeros(2, 5).double(), *_weights(0)):
        return YOUR_TURN
    return guarded(lambda: _look_at_cho(function))


def _look_at_cho(function: Step) -> Iterator[Promise]:
    generator = torch.Generator().manual_seed(1)
    x, h = (torch.randn(3, size, generator=generator, dtype=torch.float64) for size in (4, 5))
    weights = _weights(2)
    untouched = [part.clone() for part in (x, h, *weights)]
    found = _state(function(x, h, *weights))
    fits = found is not None and found.shape == h.shape
    yield Promise("a new state of the old one's shape", fits, "return the new h, (batch, hidden_size), alone")
    same = all(map(torch.equal, (x, h, *weights), untouched))
    yield Promise("leaves its inputs untouched", same, "work on copies")
    if found is None or not fits:
        return
    opened = [part.clone() for part in weights]
    opened[2][:5] = 60.0  # r = 1
    other = _state(function(x, h, *opened))
    right = other is not None and other.allclose(_cho(x, h, *opened), atol=1e-6)
    known = [(_cho(x, h, *weights, **change), why) for change, why in CHO_WRONG]
    hint = next((why for wrong, why in known if found.allclose(wrong, atol=1e-6)), "compare it line by line")
    yield Promise("with the reset gate open it is torch's", right, hint)
    yield Promise("any weights: Cho's equations", found.allclose(_cho(x, h, *weights), atol=1e-6), hint)


def _state(given: Any) -> Tensor | None:
    """What a step returned, in double precision; a state in a tuple of one is taken out of it."""
    if isinstance(given, tuple | list) and len(given) == 1:
        given = given[0]
    if isinstance(given, np.ndarray):
        given = torch.from_numpy(given)
    return given.double() if isinstance(given, Tensor) else None


def _outputs(given: Any) -> Tensor:
    """What a window returned: a tensor, a list of its steps, or a pair like torch's own."""
    if isinstance(given, tuple) and len(given) == 2:
        given = given[0]
    return torch.stack(given) if isinstance(given, list) else torch.as_tensor(given)


def check_window(function: Step) -> Report:
    """Exercise 3: a window of a GRU with weight drop, in torch's variant.

    Args:
        function: the reader's, called as ``function(x, h, weight_ih, weight_hh, bias_ih, bias_hh, mask)`` with x
            (seq_len, batch, input_size) and a mask for weight_hh; returns the outputs (seq_len, batch, hidden_size).

    Example:
        >>> import torch
        >>> from awdlib.exercises.gru import check_window
        >>> def window(x, h, weight_ih, weight_hh, bias_ih, bias_hh, mask):
        ...     weights = [weight_ih, weight_hh * mask, bias_ih, bias_hh]
        ...     return torch.gru(x, h[None], weights, True, 1, 0.0, False, False, False)[0]
        >>> check_window(window)
        ✓ an output for each step
        ✓ a full update gate keeps the state
        ✓ the recurrent bias of n is reset with its product
        ✓ the mask drops entries of all three blocks
        ✓ any weights and masks: torch's GRU
    """
    sizes = torch.zeros(2, 3, 4).double(), torch.zeros(3, 5).double()
    if is_empty(function, *sizes, *_weights(0), torch.ones(15, 5).double()):
        return YOUR_TURN
    return guarded(lambda: _look_at_window(function))


def _by_torch(x: Tensor, h: Tensor, weights: list[Tensor], mask: Tensor) -> Tensor:
    masked = [weights[0], weights[1] * mask, *weights[2:]]
    return torch.gru(x, h[None], masked, True, 1, 0.0, False, False, False)[0]


def _look_at_window(function: Step) -> Iterator[Promise]:
    generator = torch.Generator().manual_seed(4)
    x, h = torch.randn(6, 3, 4, generator=generator).double(), torch.randn(3, 5, generator=generator).double()
    weights, ones = _weights(5), torch.ones(15, 5).double()
    found = _outputs(function(x, h.clone(), *(part.clone() for part in weights), ones))
    fits = found.shape == (6, 3, 5)
    yield Promise("an output for each step", fits, f"the result has shape {tuple(found.shape)}; due is (6, 3, 5)")
    if not fits:
        return

    def same(changed: list[Tensor], mask: Tensor, steps: int = 6) -> bool:
        got = _outputs(function(x[:steps], h.clone(), *(part.clone() for part in changed), mask))
        return bool(torch.allclose(got.double(), _by_torch(x[:steps], h, changed, mask), atol=1e-6))

    full = [part.clone() for part in weights]
    full[2][5:10] = 60.0  # z = 1
    yield Promise(
        "a full update gate keeps the state", same(full, ones), "where z is 1, h stays: z multiplies the old h"
    )
    alone = [torch.zeros_like(part) for part in weights]
    alone[2][:5], alone[3][10:] = -1.0, 1.0  # r about a quarter, and a recurrent bias of n
    yield Promise("the recurrent bias of n is reset with its product", same(alone, ones, 1),
                  "n has two biases: bias_ih's part stands outside of r, bias_hh's within")  # fmt: skip
    silent = []
    for block in range(3):
        mask = ones.clone()
        mask[5 * block : 5 * block + 5] = 0
        got = _outputs(function(x, h.clone(), *(part.clone() for part in weights), mask))
        if got.allclose(found, atol=1e-9):
            silent.append("rzn"[block])
    yield Promise("the mask drops entries of all three blocks", not silent,
                  f"dropping all of {' and '.join(silent)} changes nothing")  # fmt: skip
    mask = (2.0 * (torch.rand(15, 5, generator=generator) > 0.5)).double()
    hint = "perhaps for a reason above; mend that first. torch's rows are r, z, n in turn"
    if same(weights, mask, 1):
        hint = "the first step is right, a later one is not: each begins with the h of the one before"
    yield Promise("any weights and masks: torch's GRU", same(weights, mask), hint)
