"""Who stands at a window's border: over the epochs, and in expectation, by the renewal equation.

Each epoch begins at the first row of the columns, and the next window begins where the last one ends. So the rows at
which windows begin are a renewal process, and the probability of each is a sum over the length of the last window.
"""

from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch

from awdlib import _require as require
from awdlib.batches import WindowLengths
from awdlib.figures.style import BLUE, EMPTY, INK, ORANGE, describe

EPOCHS, STRETCH = 30, 210  #: in view: epochs, and rows of the text
SEED = 1  #: of the windows drawn

Trace = dict[str, Any]


def window_law(lengths: Any) -> WindowLengths:
    """The value, if it is a distribution of window lengths.

    Args:
        lengths: what a caller gave for one.

    Returns:
        the same.

    Raises:
        ValueError: it is none.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.window_borders import window_law
        >>> window_law(WindowLengths(bptt=35)).bptt
        35
    """
    if not isinstance(lengths, WindowLengths):
        raise ValueError(f"lengths is {require.shown(lengths)}; give a WindowLengths(bptt=70)")
    return lengths


def border_probabilities(lengths: WindowLengths, rows: int) -> np.ndarray:
    """The probability that a window begins at each row: u_0 = 1, u_n = sum over k of p_k u_(n-k).

    Args:
        lengths: the distribution p of window lengths.
        rows: how many.

    Returns:
        (rows,), which tends to 1 / ``lengths.mean()`` wherever lengths are spread.

    Raises:
        ValueError: rows is not a positive whole number.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.window_borders import border_probabilities
        >>> fixed = WindowLengths(bptt=3, short_probability=0.0, spread=0.0, minimum=1)
        >>> border_probabilities(fixed, 7).tolist()
        [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]
        >>> paper = WindowLengths(bptt=70)
        >>> border_probabilities(paper, 5000)[-1].round(6) == round(1 / paper.mean(), 6)
        np.True_
    """
    require.whole_number("rows", rows, 1)
    probabilities = window_law(lengths).probabilities()
    taken, mass = np.array([*probabilities]), np.array([*probabilities.values()])
    longest = int(taken.max())
    padded = np.zeros(longest + rows)  # no window begins before the first row
    padded[longest] = 1.0
    for row in range(longest + 1, longest + rows):
        padded[row] = mass @ padded[row - taken]
    return padded[longest:]


def expected_reach(lengths: WindowLengths, rows: int) -> np.ndarray:
    """How many steps back the error of a loss at each row goes, on average over epochs: its place in its window.

    Args:
        lengths: the distribution of window lengths.
        rows: how many.

    Returns:
        (rows,); at row n the sum over a of a times the probability that a window began at n - a and is longer than a.

    Raises:
        ValueError: rows is not a positive whole number.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.window_borders import expected_reach
        >>> fixed = WindowLengths(bptt=3, short_probability=0.0, spread=0.0, minimum=1)
        >>> expected_reach(fixed, 7).tolist()
        [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0]
    """
    probabilities = window_law(lengths).probabilities()
    longer = np.zeros(max(probabilities) + 1)  # longer[a] = P(length > a)
    for length, mass in probabilities.items():
        longer[:length] += mass
    return np.convolve(border_probabilities(lengths, rows), longer * np.arange(len(longer)))[:rows]


def same_window(lengths: WindowLengths, distance: int) -> np.ndarray:
    """The probability that a loss and what was read k steps before are in one window, far from the first row.

    Args:
        lengths: the distribution p of window lengths.
        distance: the largest k.

    Returns:
        (distance + 1,); entry k is the sum over l > k of (l - k) p_l, divided by the mean length.

    Raises:
        ValueError: distance is negative, or not a whole number.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.window_borders import same_window
        >>> same_window(WindowLengths(bptt=4, short_probability=0.0, spread=0.0, minimum=1), distance=5).tolist()
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """
    apart = np.arange(require.whole_number("distance", distance, 0) + 1)
    taken, mass = (np.array([*part]) for part in zip(*window_law(lengths).probabilities().items(), strict=True))
    return mass @ np.maximum(taken[:, None] - apart, 0) / lengths.mean()


def border_rows(lengths: WindowLengths, rows: int, generator: torch.Generator) -> np.ndarray:
    """One epoch's borders as training draws them: True where a window begins.

    Args:
        lengths: the distribution of window lengths.
        rows: how many.
        generator: source of randomness.

    Returns:
        (rows,) of bool.

    Raises:
        ValueError: rows is not a positive whole number.

    Example:
        >>> import torch
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.window_borders import border_rows
        >>> fixed = WindowLengths(bptt=2, short_probability=0.0, spread=0.0, minimum=1)
        >>> border_rows(fixed, 5, torch.Generator()).tolist()
        [True, False, True, False, True]
    """
    begins, row = np.zeros(require.whole_number("rows", rows, 1), dtype=bool), 0
    window_law(lengths)
    while row < rows:
        begins[row] = True
        row += lengths.draw(generator)
    return begins


@cache
def _drawn(lengths: WindowLengths, rows: int) -> np.ndarray:
    """(EPOCHS, rows) of bool, drawn all at once from the closed form; the stretches of one text share their draws."""
    probabilities = lengths.probabilities()
    taken, mass = np.array([*probabilities]), np.array([*probabilities.values()])
    windows = rows // taken.min() + 1
    # a window of all epochs at a time, so that longer texts begin with the draws of shorter ones
    drawn = np.random.default_rng(SEED).choice(taken, size=(windows, EPOCHS), p=mass / mass.sum())
    begins = np.zeros((EPOCHS, rows), dtype=bool)
    begins[:, 0] = True
    window, epoch = np.nonzero((ends := drawn.cumsum(0)) < rows)
    begins[epoch, ends[window, epoch]] = True
    return begins


@cache
def _expected(lengths: WindowLengths, rows: int) -> np.ndarray:
    return expected_reach(lengths, rows)


def border_figure(bptt: int, spread: float, short_probability: float, first: int) -> go.Figure:
    """Above, where windows begin in each of many epochs; below, how far back a loss at each row reaches on average.

    Args:
        bptt: the base length, in tokens.
        spread: standard deviation s, in tokens.
        short_probability: probability p of half the base.
        first: the first row in view.

    Returns:
        a plotly figure of two panels over the same rows.

    Raises:
        ValueError: `awdlib.batches.WindowLengths` refuses a value, or first is negative.

    Example:
        >>> from awdlib.figures.window_borders import border_figure
        >>> figure = border_figure(bptt=70, spread=0.0, short_probability=0.0, first=0)
        >>> figure.layout.meta["alt"].partition(":")[0]
        'Rows 0 to 209 in 30 epochs'
    """
    require.whole_number("first", first, 0)
    lengths = WindowLengths(bptt=bptt, spread=spread, short_probability=short_probability)
    stop = first + STRETCH
    rows = np.arange(first, stop)
    begins = _drawn(lengths, stop)[:, first:]
    reach = _expected(lengths, stop)[first:]
    level = (sum(k * k * mass for k, mass in lengths.probabilities().items()) / lengths.mean() - 1) / 2
    traces = [
        {"type": "heatmap", "x": rows, "y": np.arange(1, EPOCHS + 1), "z": begins.astype(float), "zmin": 0, "zmax": 1,
         "colorscale": [[0, EMPTY], [1, INK]], "xgap": 0, "ygap": 1, "hoverinfo": "skip"},
        _line(rows, rows % bptt, ORANGE, 1.25, "dot"),
        _line(rows, np.full(STRETCH, level), INK, 1.25, "dash"),
        _line(rows, reach, BLUE, 2.5, "solid"),
    ]  # fmt: skip
    return describe(go.Figure(traces, _layout(first, bptt, level)), _sentence(begins, reach, first, level))


def _line(x: np.ndarray, y: np.ndarray, ink: str, width: float, dash: str) -> Trace:
    return {"type": "scatter", "x": x, "y": y, "mode": "lines", "line": {"color": ink, "width": width, "dash": dash},
            "xaxis": "x2", "yaxis": "y2", "hoverinfo": "skip"}  # fmt: skip


def _layout(first: int, bptt: int, level: float) -> dict[str, Any]:
    top = 1.12 * bptt
    across = {"range": [first - 0.5, first + STRETCH - 0.5], "tickformat": ",d", "nticks": 6}
    return {
        "height": 460, "margin": {"l": 52, "r": 10, "t": 26, "b": 46},
        "xaxis": across | {"anchor": "y", "showticklabels": False},
        "xaxis2": across | {"anchor": "y2", "matches": "x", "title": {"text": "row of the text"}},
        "yaxis": {"domain": [0.5, 1], "range": [EPOCHS + 0.5, 0.5], "title": {"text": "epoch"}, "showgrid": False,
                  "tickvals": [1, 10, 20, 30], "anchor": "x"},
        "yaxis2": {"domain": [0, 0.41], "range": [0, top], "title": {"text": "steps back"}, "anchor": "x2",
                   "nticks": 5},
        "annotations": [
            _note("<b>■ here a window begins</b>", 0, 1, INK), _note("<b>expected</b>", 0, 0.41, BLUE),
            _note("fixed windows", 0.3, 0.41, ORANGE), _note(f"far down: {level:.1f}", 1, 0.41, INK),
        ],
    }  # fmt: skip


def _note(text: str, x: float, y: float, ink: str) -> dict[str, Any]:
    return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "right" if x == 1 else "left",
            "yanchor": "bottom", "yshift": 3, "font": {"color": ink, "size": 12}}  # fmt: skip


def _sentence(begins: np.ndarray, reach: np.ndarray, first: int, level: float) -> str:
    always, ever = int(begins.all(0).sum()), int(begins.any(0).sum())
    return (
        f"Rows {first} to {first + STRETCH - 1} in {EPOCHS} epochs: {ever} rows begin a window at least once, {always} "
        f"of them in every epoch. A loss reaches {reach.min():.1f} to {reach.max():.1f} steps back on average, "
        f"depending on its row; the average over all rows of a long text is {level:.1f}."
    )
