"""Pictures of what came after AWD-LSTM: shuffled columns, weights that learn while they read, the cost of a word.

Press 2019 for the shuffle, Krause et al. 2018 for dynamic evaluation, Vaswani et al. 2017 for the transformer.
"""

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch

from awdlib import _require as require
from awdlib.batches import batchify
from awdlib.beyond import partial_shuffle
from awdlib.bundled import bundled
from awdlib.figures.streams import MARK, WORDS, stream
from awdlib.figures.style import BLUE, EMPTY, INK, MUTED, ORANGE, colour, describe

COLUMNS = 4  #: of the shuffled text
WINDOW = 4  #: its rows to a window


def shuffled(epoch: int) -> torch.Tensor:
    """Positions in the stream as one epoch of a partial shuffle lays them out; epoch 0 is the plain order.

    Args:
        epoch: 0, or the seed of the shuffle.

    Returns:
        (rows, 4).

    Example:
        >>> from awdlib.figures.beyond import shuffled
        >>> shuffled(0)[:2].tolist(), shuffled(3)[:2].tolist()
        ([[0, 11, 22, 33], [1, 12, 23, 34]], [[9, 19, 29, 36], [10, 20, 30, 37]])
    """
    require.whole_number("epoch", epoch, 0)
    columns = batchify(torch.arange(WORDS), COLUMNS)
    return columns if epoch == 0 else partial_shuffle(columns, torch.Generator().manual_seed(epoch))


def shuffle_figure(epoch: int) -> go.Figure:
    """The columns of a short text in one epoch: darker is further down in the plain order; orange is the seam.

    Args:
        epoch: 0 for the plain order, else the seed of the shuffle.

    Returns:
        a plotly figure.

    Example:
        >>> from awdlib.figures.beyond import shuffle_figure
        >>> shuffle_figure(0).layout.meta["alt"]
        'Plain order: no column has a seam. Beside many, in row 1: the, hunter, anna.'
    """
    found = shuffled(epoch)
    rows = len(found)
    words = [[MARK.get(stream()[place], stream()[place]) for place in row] for row in found.tolist()]
    within = found % rows  # row of each word in the plain order
    seams = [int(column.argmin()) for column in within.t()]  # row at which the old beginning stands
    x, y = np.meshgrid(np.arange(COLUMNS), np.arange(rows))
    tints = [[0.0, EMPTY], [1.0, "#9cc7e6"]]
    lines_x, lines_y = [], []
    for column, seam in enumerate(seams):
        shown = seam - 0.5 if seam else math.nan
        lines_x += [column - 0.48, column + 0.48, math.nan]
        lines_y += [shown, shown, math.nan]
    borders = [edge - 0.5 for edge in range(WINDOW, rows, WINDOW)]
    traces: list[dict[str, Any]] = [
        {"type": "heatmap", "z": within.numpy().astype(float), "colorscale": tints, "zmin": 0, "zmax": rows - 1,
         "showscale": False, "xgap": 6, "ygap": 1, "hoverinfo": "skip"},
        {"type": "scatter", "mode": "text", "x": x.ravel(), "y": y.ravel(), "text": np.array(words).ravel().tolist(),
         "textfont": {"size": 11, "color": INK}, "hoverinfo": "skip"},
        {"type": "scatter", "mode": "lines", "x": lines_x, "y": lines_y, "hoverinfo": "skip",
         "line": {"color": colour("without"), "width": 4}},
        {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"color": MUTED, "width": 1, "dash": "dot"},
         "x": [v for _ in borders for v in (-0.5, COLUMNS - 0.5, math.nan)],
         "y": [v for edge in borders for v in (edge, edge, math.nan)]},
    ]  # fmt: skip
    plain = {"showgrid": False, "showline": False, "ticks": ""}
    layout = {
        "height": 400, "margin": {"l": 30, "r": 8, "t": 30, "b": 8},
        "xaxis": plain | {"tickvals": [*range(COLUMNS)], "ticktext": [f"column {n + 1}" for n in range(COLUMNS)],
                          "side": "top", "range": [-0.5, COLUMNS - 0.5]},
        "yaxis": plain | {"range": [rows - 0.5, -0.5], "showticklabels": False, "title": {"text": "← time"}},
    }  # fmt: skip
    return describe(go.Figure(traces, layout), _who_meets_whom(epoch, found, words, seams))


def _who_meets_whom(epoch: int, found: torch.Tensor, words: list[list[str]], seams: list[int]) -> str:
    row, column = (found == 0).nonzero()[0].tolist()
    beside = ", ".join(word for place, word in enumerate(words[row]) if place != column)
    told = ", ".join(f"column {number + 1} before row {seam + 1}" for number, seam in enumerate(seams) if seam)
    head = "Plain order: no column has a seam." if epoch == 0 else f"Epoch {epoch}: seams in {told or 'no column'}."
    return f"{head} Beside {words[row][column]}, in row {row + 1}: {beside}."


@cache
def _record() -> dict[str, Any]:
    return dict(json.loads(bundled("runs/beyond.json").read_text(encoding="utf-8")))


def dynamic_figure(lr: float, decay: float, record: Mapping[str, Any] | None = None) -> go.Figure:
    """What dynamic evaluation has gained by each place of the validation text, on a full model at seed 0 (recorded).

    Args:
        lr: step of the RMS rule, one of the record's.
        decay: way back to the trained weights a step, one of the record's.
        record: of ``data/runs/beyond.json``; None reads it.

    Returns:
        a plotly figure of the summed gain in nats, with the other settings as faint lines.

    Raises:
        ValueError: the record knows no such setting.

    Example:
        >>> from awdlib.figures.beyond import dynamic_figure
        >>> cells = [{"lr": 0.1, "decay": 0.0, "loss": 2.0, "gains": [1.0, 4.0]}]
        >>> record = {"runs": [{"tuned": {"still": 2.3, "bin": 100, "rms": cells}}]}
        >>> dynamic_figure(0.1, 0.0, record).layout.meta["alt"]
        'Step 0.1, decay 0: 5 nats gained by the end, perplexity 10.0 becomes 7.4.'
    """
    runs = (_record() if record is None else record)["runs"]
    tuned: dict[str, Any] = next((run["tuned"] for run in runs if "tuned" in run), {"rms": []})
    cells = [cell for cell in tuned["rms"] if cell["loss"] is not None]
    chosen = next((cell for cell in cells if (cell["lr"], cell["decay"]) == (lr, decay)), None)
    if chosen is None:
        raise ValueError(f"the record has no step {lr} with decay {decay}: take one of its own")
    traces = [_gained(cell, tuned["bin"], MUTED, 1.0, 0.35) for cell in cells]
    ink = colour("with") if sum(chosen["gains"]) > 0 else colour("without")
    traces.append(_gained(chosen, tuned["bin"], ink, 3.0, 1.0))
    total = sum(chosen["gains"])
    before, after = math.exp(tuned["still"]), math.exp(chosen["loss"])
    best = max(max(np.cumsum(cell["gains"])) for cell in cells)
    layout = {
        "height": 340, "xaxis": {"title": {"text": "words read"}},
        "yaxis": {"title": {"text": "nats gained so far"}, "range": [-0.15 * best, 1.15 * best]},
        "annotations": [{"text": f"<b>perplexity {before:.1f} → {after:.1f}</b>", "x": 0.02, "y": 0.98, "xref": "paper",
                         "yref": "paper", "xanchor": "left", "yanchor": "top", "font": {"color": ink}}],
    }  # fmt: skip
    words = f"{total:.0f} nats gained" if total > 0 else f"{-total:.0f} nats lost"
    return describe(
        go.Figure(traces, layout),
        f"Step {lr:g}, decay {decay:g}: {words} by the end, perplexity {before:.1f} becomes {after:.1f}.",
    )


def _gained(cell: Mapping[str, Any], step: int, ink: str, width: float, opacity: float) -> dict[str, Any]:
    gains = np.cumsum([0.0, *cell["gains"]])
    return {"type": "scatter", "mode": "lines", "x": (np.arange(len(gains)) * step).tolist(), "y": gains.tolist(),
            "line": {"color": ink, "width": width}, "opacity": opacity, "hoverinfo": "skip"}  # fmt: skip


class Cost(NamedTuple):
    """What one more word costs a network that has read ``length`` words; from `cost`.

    Example:
        >>> from awdlib.figures.beyond import cost
        >>> cost("LSTM", 10).kept == cost("LSTM", 10_000).kept
        True
    """

    kept: int  #: numbers remembered between two words
    operations: int  #: multiplications and additions for the word, without the softmax
    steps: int  #: layer steps that wait for each other when ``length`` words are trained on at once


LSTM_SIZES = ((400, 1150), (1150, 1150), (1150, 400))  #: AWD-LSTM on Penn Treebank (Merity et al. 2017)
WIDTH, LAYERS = 400, 10  #: of a transformer with as many weights in its layers, but for 5 per cent


def cost(kind: str, length: int) -> Cost:
    """Arithmetic of one more word, for two networks of about 20 million weights in their layers.

    An LSTM layer has ``4 H (I + H)`` weights and keeps h and c. A transformer layer of width d has ``12 d²``, keeps a
    key and a value of d numbers for each word, and compares and mixes all of them: ``4 d n`` operations more.

    Args:
        kind: "LSTM" or "transformer".
        length: words read, this one included.

    Raises:
        ValueError: another kind, or a length below 1.

    Example:
        >>> from awdlib.figures.beyond import cost
        >>> cost("LSTM", 1000)
        Cost(kept=5400, operations=40380000, steps=1002)
        >>> cost("transformer", 1000)
        Cost(kept=8000000, operations=54400000, steps=10)
    """
    require.whole_number("length", length, 1)
    if kind == "LSTM":
        weights = sum(4 * out * (into + out) for into, out in LSTM_SIZES)
        kept = 2 * sum(out for _, out in LSTM_SIZES)
        return Cost(kept, 2 * weights, length + len(LSTM_SIZES) - 1)
    if kind == "transformer":
        return Cost(2 * LAYERS * WIDTH * length, LAYERS * (24 * WIDTH**2 + 4 * WIDTH * length), LAYERS)
    raise ValueError(f"kind is {kind!r}; it must be 'LSTM' or 'transformer'")


LENGTHS = (1, 10, 100, 1000, 10_000, 100_000)  #: words read
COUNTED = {"kept": "numbers kept", "operations": "operations for one word", "steps": "steps that wait, in training"}


def cost_figure(counted: str, length: int) -> go.Figure:
    """One kind of `cost` against the words read, for both networks, on logarithmic axes.

    Args:
        counted: "kept", "operations" or "steps".
        length: words read, one of `LENGTHS`: where the marks stand.

    Raises:
        ValueError: another kind of cost, or as `cost` says.

    Example:
        >>> from awdlib.figures.beyond import cost_figure
        >>> cost_figure("kept", 1000).layout.meta["alt"]
        'After 1,000 words, numbers kept: LSTM 5,400; transformer 8,000,000.'
    """
    if counted not in [*COUNTED]:
        raise ValueError(f"counted is {counted!r}; it must be one of {', '.join(COUNTED)}")
    traces: list[dict[str, Any]] = []
    said: list[str] = []
    notes: list[dict[str, Any]] = []
    for kind, ink, dash in (("LSTM", BLUE, "solid"), ("transformer", ORANGE, "dash")):
        values = [getattr(cost(kind, n), counted) for n in LENGTHS]
        here = getattr(cost(kind, length), counted)
        traces += [
            {"type": "scatter", "mode": "lines", "x": list(LENGTHS), "y": values, "hoverinfo": "skip",
             "line": {"color": ink, "width": 2.5, "dash": dash}},
            {"type": "scatter", "mode": "markers", "x": [length], "y": [here], "hoverinfo": "skip",
             "marker": {"color": ink, "size": 11}},
        ]  # fmt: skip
        said.append(f"{kind} {here:,}")
        notes.append({"text": f"<b>{kind}: {here:,}</b>", "x": 0, "y": 1.16 - 0.09 * len(notes), "xref": "paper",
                      "yref": "paper", "xanchor": "left", "yanchor": "top", "font": {"color": ink}})  # fmt: skip
    powers = range(0, 11, 2)
    named = {0: "1", 2: "100", 4: "10⁴", 6: "10⁶", 8: "10⁸", 10: "10¹⁰"}
    layout = {
        "height": 360, "margin": {"t": 56}, "annotations": notes,
        "xaxis": {"type": "log", "title": {"text": "words read"}, "tickvals": [1, 100, 10_000],
                  "ticktext": ["1", "100", "10,000"]},
        "yaxis": {"type": "log", "tickvals": [10**p for p in powers], "ticktext": [named[p] for p in powers],
                  "range": [-0.2, 9.4]},
    }  # fmt: skip
    return describe(
        go.Figure(traces, layout),
        f"After {length:,} word{'s' if length > 1 else ''}, {COUNTED[counted]}: {'; '.join(said)}.",
    )
