"""From one stream of words to columns, and down the columns in windows: what `awdlib.batches` does to a text."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.batches import batchify, ends_epoch, window
from awdlib.corpora import EOS, load_corpus
from awdlib.figures.style import EMPTY, GRID, INK, MUTED, ROLES, describe

WORDS = 47  #: of the stream
GAP = 1.0  #: rows kept free above and below the window, for the hidden state
READ, NOW, LATER = 0, 1, 2  #: what becomes of a word: read in an earlier window, read in this one, or later
COLOURS = [GRID, "#9cc7e6", EMPTY]  #: of the three
MARK = {EOS: "‹eos›"}  #: a page would take the corpus's own spelling for a tag

Trace = dict[str, Any]
_QUIET: Trace = {"type": "scatter", "hoverinfo": "skip"}


class Cut(NamedTuple):
    """A stretch of text cut up for training, at one update; what `cut` returns.

    Example:
        >>> from awdlib.figures.streams import cut
        >>> found = cut(batch_size=4, bptt=4, update=2)
        >>> found.start, found.stop, found.updates, found.trimmed
        (4, 8, 3, 3)
    """

    columns: Tensor  #: (rows, batch) positions in the stream
    start: int  #: the window's first row of inputs; after the last update, that where the epoch ended
    stop: int  #: the row after its last one of inputs: its last row of targets
    updates: int  #: of the whole epoch
    trimmed: int  #: words at the stream's end that fill no row


@cache
def stream() -> tuple[str, ...]:
    """The words that are cut up: the beginning of the toy language's training text.

    Example:
        >>> from awdlib.figures.streams import stream
        >>> len(stream()), stream()[:4]
        (47, ('many', 'leaves', 'seldom', 'track'))
    """
    corpus = load_corpus("toy")
    return tuple(corpus.vocabulary.decode(corpus.train[:WORDS]))


def cut(batch_size: int, bptt: int, update: int) -> Cut:
    """Lay the stream out in columns and walk down them in fixed windows, as training does, to one update.

    Args:
        batch_size: number of columns.
        bptt: rows of a window.
        update: which window of the epoch, counted from 1; beyond the last one the epoch is over, and the window empty.

    Raises:
        ValueError: `awdlib.batches` refuses a value, or update is below 1.

    Example:
        >>> from awdlib.figures.streams import cut
        >>> cut(batch_size=4, bptt=4, update=2).columns[4:8, 0]
        tensor([4, 5, 6, 7])
    """
    require.whole_number("update", update, 1)
    columns = batchify(torch.arange(WORDS), batch_size)
    edges, row = [(0, 0)], 0
    while not ends_epoch(columns, row):
        inputs, _ = window(columns, row, bptt)
        edges.append((row, row + len(inputs)))
        row += len(inputs)
    updates = len(edges) - 1
    start, stop = edges[update] if update <= updates else (row, row)
    return Cut(columns, start, stop, updates, WORDS - columns.numel())


def stream_figure(batch_size: int, bptt: int, update: int) -> go.Figure:
    """The stream as one strip, the columns that it is cut into, and the window that one update reads.

    Args:
        batch_size: number of columns.
        bptt: rows of a window.
        update: which update of the epoch, counted from 1.

    Returns:
        a plotly figure with the strip above; below it the columns, time running down.

    Raises:
        ValueError: see `cut`.

    Example:
        >>> from awdlib.figures.streams import stream_figure
        >>> figure = stream_figure(batch_size=4, bptt=4, update=2)
        >>> cells = figure.data[4]
        >>> cells.text[10:12], [float(x) for x in cells.x[10:12]]  # neighbours where a column ends and the next begins
        (('while', 'the'), [0.125, 0.375])
    """
    found = cut(batch_size, bptt, update)
    traces = [*_strip(found), *_words(found), *_window(found), *_states(found, update)]
    return describe(go.Figure(traces, _layout(found)), _sentence(found, update))


def states_of_words(found: Cut) -> np.ndarray:
    """`READ`, `NOW` or `LATER` for every word of the stream; nan for those trimmed.

    Args:
        found: from `cut`.

    Returns:
        (WORDS,), in the order of the stream.

    Example:
        >>> from awdlib.figures.streams import cut, states_of_words
        >>> states_of_words(cut(batch_size=4, bptt=4, update=2))[:11]
        array([0., 0., 0., 0., 1., 1., 1., 1., 2., 2., 2.])
    """
    row = np.arange(len(found.columns))
    state = np.where(row < found.start, READ, np.where(row < found.stop, NOW, LATER))
    states = np.full(WORDS, np.nan)
    states[found.columns.numpy()] = state[:, None]
    return states


def _line_of(found: Cut, rows: Any) -> np.ndarray:
    """Where rows are drawn: one line is free above the window, and one below it."""
    rows = np.asarray(rows)
    return rows + (rows >= found.start) + (rows >= found.stop)


def _middles(found: Cut) -> np.ndarray:
    batch = found.columns.shape[1]
    return (np.arange(batch) + 0.5) / batch


def _heatmap(x: Any, y: Any, z: Any, gap: float) -> Trace:
    thirds = [[edge, ink] for ink, low in zip(COLOURS, (0, 1 / 3, 2 / 3), strict=True) for edge in (low, low + 1 / 3)]
    return {"type": "heatmap", "x": x, "y": y, "z": z, "zmin": READ, "zmax": LATER, "colorscale": thirds,
            "showscale": False, "xgap": gap, "ygap": 1, "hoverinfo": "skip"}  # fmt: skip


def _strip(found: Cut) -> list[Trace]:
    """The stream as one line of cells, crosses on those trimmed, and lines from its parts to the columns."""
    states, batch, rows = states_of_words(found), found.columns.shape[1], len(found.columns)
    places = (np.arange(WORDS) + 0.5) / WORDS
    trimmed = np.where(np.isnan(states), places, np.nan)
    edges = np.arange(batch + 1)
    fan_x = np.column_stack([edges * rows / WORDS, edges / batch, np.full(batch + 1, np.nan)]).ravel()
    fan_y = np.tile([_top(found), -0.5, np.nan], batch + 1)
    marker = {"color": MUTED, "symbol": "x", "size": 5}
    above = {"yaxis": "y2"}
    return [
        _heatmap(places, [0], states[None], 0.5) | above,
        {"x": trimmed, "y": np.zeros(WORDS), "mode": "markers", "marker": marker, **_QUIET, **above},
        {"x": fan_x, "y": fan_y, "mode": "lines", "line": {"color": GRID, "width": 1.5}, **_QUIET},
    ]


def _words(found: Cut) -> list[Trace]:
    """The cells of the columns, the words in them, and above each column which words of the stream it holds."""
    states, (rows, batch) = states_of_words(found), found.columns.shape
    lines = np.full((rows + 2, batch), np.nan)
    lines[_line_of(found, np.arange(rows))] = states[found.columns.numpy()]
    places = found.columns.t().flatten().numpy()  # of the words, column after column: as they stand in the stream
    spare = [np.nan] * found.trimmed
    words = [MARK.get(word, word) for word in (stream()[place] for place in places)]
    heads = [f"{column[0] + 1}–{column[-1] + 1}" for column in found.columns.t().tolist()]
    return [
        _heatmap(_middles(found), np.arange(rows + 2), lines, 10),
        _text([*np.repeat(_middles(found), rows), *spare], [*np.tile(_line_of(found, np.arange(rows)), batch), *spare],
              [*words, *[""] * found.trimmed], INK, 11 if batch < 5 else 10),
        _text(_middles(found), np.full(batch, -1.0 * (rows + 2) / 13), heads, MUTED, 11),
    ]  # fmt: skip


def _window(found: Cut) -> list[Trace]:
    """A bar to the left of the inputs of each column, and one to the right of their targets, a row further down."""
    batch = found.columns.shape[1]
    bars = []
    for side, role, first, last in ((0.014, "input", 0, -1), (-0.014, "output", 1, 0)):
        edge = np.arange(batch) / batch + (side if side > 0 else 1 / batch + side)
        low, high = _line_of(found, [found.start + first, found.stop + last])
        x = np.column_stack([edge, edge, np.full(batch, np.nan)]).ravel()
        y = np.tile([low - 0.45, high + 0.45, np.nan], batch)
        line = {"color": ROLES[role], "width": 4}
        bars.append(
            {"x": x, "y": y if found.stop > found.start else y * np.nan, "mode": "lines", "line": line, **_QUIET}
        )
    return bars


def _states(found: Cut, update: int) -> list[Trace]:
    """What each column's hidden state is before the window, and that it is carried on after it."""
    batch = found.columns.shape[1]
    over = update > found.updates
    before = "end" if over else "h = 0" if update == 1 else "h ↓"
    after = "h ↓" if update < found.updates else ""
    ink = ROLES["hidden"]
    return [
        _text(_middles(found), np.full(batch, float(line)), [f"<b>{text}</b>" if text else ""] * batch, ink, 12)
        for line, text in ((found.start, before), (found.stop + 1, after))
    ]


def _text(x: Any, y: Any, text: list[str], ink: str, size: int) -> Trace:
    return {"x": x, "y": y, "text": text, "mode": "text", "textfont": {"color": ink, "size": size},
            "marker": {"color": ink}, "textposition": "middle center", **_QUIET}  # fmt: skip


def _top(found: Cut) -> float:
    """Upper end of the axis of lines: room for the fan, an eighth of the height of the columns."""
    return -0.5 - (len(found.columns) + 2) / 8


def _layout(found: Cut) -> dict[str, Any]:
    plain = {"showgrid": False, "showticklabels": False, "ticks": "", "showline": False}
    trimmed = f"× {found.trimmed} trimmed"
    return {
        "height": 460, "margin": {"l": 30, "r": 8, "t": 24, "b": 24},
        "xaxis": plain | {"range": [0, 1]},
        "yaxis": plain | {"domain": [0, 0.955], "range": [len(found.columns) + 1.5, _top(found)],
                          "title": {"text": "← time"}},
        "yaxis2": plain | {"domain": [0.955, 1], "range": [-0.5, 0.5]},
        "annotations": [
            _note(f"the stream, words 1–{WORDS}", 0, 1, INK), _note(trimmed, 1, 1, MUTED),
            _note("▌inputs", 0, 0, ROLES["input"]), _note("▐ targets", 0.22, 0, ROLES["output"]),
            _note("■ read before", 0.47, 0, MUTED), _note("h ↓ state", 1, 0, ROLES["hidden"]),
        ],
    }  # fmt: skip


def _note(text: str, x: float, y: float, ink: str) -> dict[str, Any]:
    return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper",
            "xanchor": "right" if x == 1 else "left", "yanchor": "bottom" if y else "top", "yshift": 3 if y else -3,
            "font": {"color": ink, "size": 12}}  # fmt: skip


def _sentence(found: Cut, update: int) -> str:
    rows, batch = found.columns.shape
    first, last = found.start + 1, found.stop
    left = rows - 1 - last
    if update > found.updates:
        missed = f" {left} target a column was not reached." if left else " Every target was reached."
        return f"The epoch is over: {found.updates} updates have read the {batch} columns of {rows} words.{missed}"
    state = "is zero" if update == 1 else f"comes from update {update - 1}"
    return (
        f"Update {update} of {found.updates}: in each of the {batch} columns of {rows} words, rows {first} to "
        f"{last} are inputs and rows {first + 1} to {last + 1} their targets; each column's hidden state {state}. "
        f"Trimmed at the stream's end: {found.trimmed}."
    )
