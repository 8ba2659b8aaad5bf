"""Why fresh masks on the recurrent path destroy memory, shown on LSTM cells that each hold a value.

In an LSTM the memory travels in the cell, past every weight: c_t = f c_(t-1) + i g. A mask multiplied on the state
stands in that path at every step; weight drop masks the matrix beside the path, which only steers the gates.
"""

from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.dropout import keep_mask, require_probability, weight_dropout
from awdlib.figures.style import BLUE, DIVERGING, EMPTY, INK, MUTED, ORANGE, PINK, describe, fade
from awdlib.recurrent import LSTMLayer, lstm_step

CELLS, STEPS = 24, 30  #: cells of the layer, and steps over which they hold their values
FORGET_BIAS, INPUT_BIAS = 3.0, -6.0  #: forget gates open, so that a cell remembers; input gates shut, so that it may
WAYS = {
    "fresh": "fresh masks",
    "locked": "locked mask",
    "weight": "weight drop",
}
"""What is dropped: a mask on the state drawn anew at every step, one drawn once, or one on the matrix drawn once."""
PARTS = ("c and h", "h alone")  #: of the state, on which a mask may lie
SEED = 3  #: of a draw in which nearly as many cells remember as are expected to
TOO_LARGE = 3  #: factor, as a power of ten, from which on values are drawn in the last colour


def hold(way: str, p: float, state: str = "c and h", seed: int = SEED) -> Tensor:
    """Let a layer of LSTM cells hold a value each, +1 or -1, without input, under one way of recurrent dropout.

    The weights are those of a new `LSTMLayer`, but for the biases of `FORGET_BIAS` and `INPUT_BIAS`; the steps are
    `awdlib.recurrent.lstm_step`, the masks `awdlib.dropout.keep_mask` and `weight_dropout`. Masks on the state: Moon et
    al. 2015 and Gal & Ghahramani 2016 (locked); weight drop: Merity et al. 2017, section 2.

    Args:
        way: one of `WAYS`, or "none".
        p: dropout probability.
        state: what a mask on the state is multiplied on, one of `PARTS`; weight drop does without.
        seed: of weights, values and masks.

    Returns:
        (STEPS + 1, CELLS) cell states, the first as given.

    Raises:
        ValueError: an unknown way or part of the state, or p outside [0, 1).

    Example:
        >>> from awdlib.figures.recurrent_masks import hold
        >>> fresh, locked = hold("fresh", 0.5), hold("locked", 0.5)
        >>> [int((cells.abs() > 0.1).sum()) for cells in (fresh[1], fresh[-1], locked[1], locked[-1])]
        [13, 0, 13, 13]
    """
    _require(way, p, state)
    draw = torch.Generator().manual_seed(seed)
    layer = LSTMLayer(1, CELLS, generator=draw).double()
    weight_ih, weight_hh = layer.weight_ih.detach(), layer.weight_hh.detach()
    bias = torch.zeros(4, CELLS, dtype=torch.float64)
    bias[0], bias[1] = INPUT_BIAS, FORGET_BIAS
    c = 2.0 * torch.randint(2, (1, CELLS), generator=draw).double() - 1
    if way == "weight":
        weight_hh = weight_dropout(weight_hh, p, generator=draw)
    masks = keep_mask((STEPS if way == "fresh" else 1, CELLS), p, generator=draw, dtype=torch.float64)
    h, silence, cells = 0.5 * c.tanh(), torch.zeros(1, 1, dtype=torch.float64), [c]
    for mask in masks.expand(STEPS, CELLS).unsqueeze(1):
        if way in ("fresh", "locked"):
            h, c = h * mask, c * mask if state == "c and h" else c
        h, c = lstm_step(silence, (h, c), weight_ih, weight_hh, bias.flatten(), torch.zeros(4 * CELLS).double())
        cells.append(c)
    return torch.cat(cells)


def _require(way: str, p: float, state: str) -> None:
    require_probability("p", p)
    for name, given, known in (("way", way, [*WAYS, "none"]), ("state", state, PARTS)):
        if given not in known:
            raise ValueError(f"{name} is {require.shown(given)}; it must be one of {', '.join(known)}")


@cache
def kept(way: str, p: float, state: str = "c and h", seed: int = SEED) -> np.ndarray:
    """How much of its value each cell still has, measured by the same cells undisturbed; not to be changed.

    Args:
        way: one of `WAYS`.
        p: dropout probability.
        state: what a mask on the state is multiplied on, one of `PARTS`.
        seed: of weights, values and masks.

    Returns:
        (CELLS, STEPS + 1) ratios, of which 1 is right and 0 is lost. The cells are sorted, those first that remember
        longest; see `remembers`.

    Raises:
        ValueError: as `hold` says.

    Example:
        >>> from awdlib.figures.recurrent_masks import kept
        >>> bool((kept("fresh", 0.0) == 1).all())
        True
    """
    ratio = (hold(way, p, state, seed) / hold("none", 0.0, seed=seed)).t().numpy()
    return ratio[np.argsort(-remembers(ratio).sum(1), kind="stable")]


def remembers(ratio: np.ndarray) -> np.ndarray:
    """Whether at least half of a cell's value has been there at every step so far.

    Args:
        ratio: (cells, steps), as `kept` gives them.

    Returns:
        (cells, steps) of bool.

    Example:
        >>> import numpy as np
        >>> from awdlib.figures.recurrent_masks import remembers
        >>> remembers(np.array([[1.0, 0.6, 0.4, 0.7], [1.0, 2.0, 4.0, 8.0]])).sum(1)
        array([2, 4])
    """
    return np.logical_and.accumulate(ratio >= 0.5, axis=1)


def expected(way: str, p: float, state: str = "c and h") -> np.ndarray:
    """Cells that can be expected to remember, step by step, where that has a closed form.

    A fresh mask spares a cell t times in a row with probability (1 - p)^t, a locked one with 1 - p. What the masks do
    by way of the gates is left out: masks on h alone, and weight drop, are expected to cost none.

    Args:
        way: one of `WAYS`.
        p: dropout probability.
        state: what a mask on the state is multiplied on, one of `PARTS`.

    Returns:
        (STEPS + 1,) numbers of cells, not rounded.

    Raises:
        ValueError: as `hold` says.

    Example:
        >>> from awdlib.figures.recurrent_masks import expected
        >>> [expected(way, 0.5)[:3].tolist() for way in ("fresh", "locked", "weight")]
        [[24.0, 12.0, 6.0], [24.0, 12.0, 12.0], [24.0, 24.0, 24.0]]
    """
    _require(way, p, state)
    masked = np.arange(STEPS + 1) if way == "fresh" else np.minimum(np.arange(STEPS + 1), 1)
    return CELLS * (1 - p) ** (masked if way in ("fresh", "locked") and state == "c and h" else 0 * masked)


def masks_figure(p: float, steps: int, state: str = "c and h") -> go.Figure:
    """What three ways of recurrent dropout leave of the values that a layer of LSTM cells holds.

    Args:
        p: dropout probability, the same for all three.
        steps: after how many of the steps the cells are counted.
        state: on what of the state the masks lie, one of `PARTS`.

    Returns:
        a plotly figure of three heat maps, one above the other; a row is a cell, sorted by how long it remembers, and
        the dotted line is the number of cells that the closed form expects to remember.

    Raises:
        ValueError: as `hold` says, or steps is not from 1 to STEPS.

    Example:
        >>> from awdlib.figures.recurrent_masks import masks_figure
        >>> for note in masks_figure(p=0.2, steps=20).layout.annotations[1:6:2]:
        ...     print(note.text)
        none left
        19 of 24 left, values × 88
        24 of 24 left, values × 1.0
    """
    require.whole_number("steps", steps, 1, STEPS)
    traces, notes, sentences = [], [], []
    layout: dict[str, Any] = {}
    for number, way in enumerate(WAYS, start=1):
        ratio = kept(way, p, state)
        count, factor = _state_of(ratio, steps)
        traces += _panel(ratio, expected(way, p, state), steps, f"x{number}", f"y{number}")
        low = (3 - number) * 0.35
        layout |= _axes(number, [low, low + 0.27])
        notes += _titles(way, low + 0.27, count, factor)
        due = expected(way, p, state)[steps]
        sentences.append(f"{WAYS[way]} {_words(count, factor)}" + (f" ({due:.1f} expected)" if due < CELLS else ""))
    figure = go.Figure(
        data=traces,
        layout=layout
        | {"height": 440, "margin": {"l": 14, "r": 14, "t": 44, "b": 44}, "annotations": [*notes, *_key(p, state)]},
    )
    where = "c and h" if state == "c and h" else "h alone"
    return describe(figure, f"p = {p:g}, masks on {where}, {CELLS} cells after {steps} steps: {'; '.join(sentences)}.")


def _state_of(ratio: np.ndarray, steps: int) -> tuple[int, float]:
    """How many cells remember after so many steps, and how large their values are on average, 1 being right."""
    alive = remembers(ratio)[:, steps]
    return int(alive.sum()), float(np.median(ratio[alive, steps])) if alive.any() else 0.0


def _words(count: int, factor: float) -> str:
    if count == 0:
        return "none left"
    size = f"{factor:.1f}" if factor < 10 else f"{factor:,.0f}" if factor < 1e5 else f"10{_power(factor)}"
    return f"{count} of {CELLS} left, values × {size}"


def _power(factor: float) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(round(np.log10(factor))))


def _panel(ratio: np.ndarray, line: np.ndarray, steps: int, x: str, y: str) -> list[dict[str, Any]]:
    """The cells over time, the expected number of those that remember, and a line where they are counted."""
    colours = [[0, EMPTY], [0.2, EMPTY], [0.25, BLUE], [0.3, BLUE], [0.5, PINK], [0.75, ORANGE], [1, DIVERGING[0][1]]]
    across, shared = np.arange(STEPS + 1), {"xaxis": x, "yaxis": y, "hoverinfo": "skip"}
    size = np.log10(np.clip(ratio, 0.1, 10.0**TOO_LARGE))
    return [
        {"type": "heatmap", "x": across, "y": np.arange(CELLS) + 0.5, "z": size, "zmin": -1, "zmax": TOO_LARGE,
         "colorscale": colours, "showscale": False, "xgap": 1, "ygap": 0, **shared},
        {"type": "scatter", "x": across, "y": line, "mode": "lines",
         "line": {"color": INK, "width": 1.75, "dash": "dot"}, **shared},
        {"type": "scatter", "x": [steps] * 2, "y": [0, CELLS], "mode": "lines",
         "line": {"color": INK, "width": 2}, **shared},
    ]  # fmt: skip


def _axes(number: int, domain: list[float]) -> dict[str, Any]:
    bare = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
    across = bare | {"range": [-0.5, STEPS + 0.5], "anchor": f"y{number}"}
    if number == len(WAYS):
        across |= {"showticklabels": True, "tickvals": list(range(0, STEPS + 1, 5)), "title": {"text": "steps"}}
    return {
        f"xaxis{number}": across,
        f"yaxis{number}": bare | {"range": [0, CELLS], "domain": domain, "anchor": f"x{number}"},
    }


def _titles(way: str, y: float, count: int, factor: float) -> list[dict[str, Any]]:
    shared = {"y": y + 0.01, "xref": "paper", "yref": "paper", "yanchor": "bottom", "showarrow": False}
    return [
        shared | {"text": f"<b>{WAYS[way]}</b>", "x": 0, "xanchor": "left", "font": {"color": INK}},
        shared | {"text": _words(count, factor), "x": 1, "xanchor": "right", "font": {"color": MUTED}},
    ]


def _key(p: float, state: str) -> list[dict[str, Any]]:
    """What the colours mean, above the panels; and what the dotted line is, where there is room for it."""
    shared = {"y": 1.05, "xref": "paper", "yref": "paper", "yanchor": "bottom", "showarrow": False}
    words = {"■ as without dropout": (0, BLUE, "left"), "■ too large": (0.72, ORANGE, "center"),
             "□ lost": (1, MUTED, "right")}  # fmt: skip
    keys: list[dict[str, Any]] = [
        shared | {"text": text, "x": x, "xanchor": anchor, "font": {"color": ink}}
        for text, (x, ink, anchor) in words.items()
    ]
    shown = p > 0 and state == "c and h"
    curve = {
        "text": "expected: (1 − p)ᵗ" if shown else "", "x": STEPS, "y": 0.8 * CELLS, "xref": "x1", "yref": "y1",
        "xanchor": "right", "bgcolor": fade(EMPTY, 1.0 * shown), "showarrow": False, "font": {"color": INK},
    }  # fmt: skip
    return [*keys, curve]
