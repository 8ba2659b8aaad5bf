"""Pictures of what came after AWD-LSTM: shuffled columns, weights that learn while they read, the cost of a word.

Press 2019 for the shuffle, Krause et al. 2018 for dynamic evaluation, Vaswani et al. 2017 for the transformer.
"""

import json
import math
from collections.abc import Mapping, Sequence
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
from awdlib.figures.style import BLUE, EMPTY, GOLD, GREEN, INK, MUTED, ORANGE, PINK, colour, describe, use_style

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
        'Plain order: no column has a seam. Beside many, in row 1: while, river, sheep.'
    """
    found = shuffled(epoch)
    rows = len(found)
    words = [[MARK.get(stream()[place], stream()[place]) for place in row] for row in found.tolist()]
    within = found % rows  # row of each word in the plain order
    seams = [(column.argmin().item()) for column in within.t()]  # row at which the old beginning stands
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
        a plotly figure: the summed gain in nats; faint lines are the other settings.

    Raises:
        ValueError: the record knows no such setting.

    Example:
        >>> from awdlib.figures.beyond import dynamic_figure
        >>> cells = [{"lr": 0.1, "decay": 0.0, "loss": 2.0, "gains": [1.0, 4.0]}]
        >>> record = {"runs": [{"tuned": {"still": 2.3, "bin": 100, "rms": cells}}]}
        >>> dynamic_figure(0.1, 0.0, record).layout.meta["alt"]
        'Step 0.1, decay 0: 5 nats gained after 200 words, perplexity 10.0 becomes 7.4.'
    """
    tuned = next(run["tuned"] for run in (record or _record())["runs"] if "tuned" in run)
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
        "yaxis": {"title": {"text": "nats gained so far"}, "range": [-1.0 * best, 1.15 * best]},
        "annotations": [{"text": f"<b>perplexity {before:.1f} → {after:.1f}</b>", "x": 0.02, "y": 0.98, "xref": "paper",
                         "yref": "paper", "xanchor": "left", "yanchor": "top", "font": {"color": ink}}],
    }  # fmt: skip
    read = tuned["bin"] * len(chosen["gains"])
    words = f"{total:.0f} nats gained" if total > 0 else f"{-total:.0f} nats lost"
    return describe(
        go.Figure(traces, layout),
        f"Step {lr:g}, decay {decay:g}: {words} after {read} words, perplexity {before:.1f} becomes {after:.1f}.",
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
        Cost(kept=5400, operations=40388000, steps=1002)
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
    if counted not in COUNTED:
        raise ValueError(f"counted is {counted!r}; it must be one of {', '.join(COUNTED)}")
    traces, said, notes = [], [], []
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
    named = {0: "1", 2: "100", 4: "10,000", 6: "1 million", 8: "100 million", 10: "10 billion"}
    layout = {
        "height": 360, "margin": {"t": 56}, "annotations": notes,
        "xaxis": {"type": "log", "title": {"text": "words read"}, "tickvals": [1, 100, 10_000],
                  "ticktext": ["1", "100", "10,000"]},
        "yaxis": {"type": "log", "tickvals": [10**p for p in powers], "ticktext": [named[p] for p in powers],
                  "range": [-0.2, 9.4]},
    }  # fmt: skip
    return describe(go.Figure(traces, layout), f"After {length:,} words, {COUNTED[counted]}: {'; '.join(said)}.")


class Reported(NamedTuple):
    """Test perplexities that a paper reports, without and with dynamic evaluation; None where we know of none.

    Example:
        >>> from awdlib.figures.beyond import REPORTED
        >>> REPORTED[0].name, REPORTED[0].ptb
        ('AWD-LSTM', (57.3, 51.1))
    """

    name: str  #: of the model
    year: int  #: in which it was first made public
    ptb: tuple[float, float | None]  #: Penn Treebank, still and dynamic
    wt2: tuple[float, float | None]  #: WikiText-2, still and dynamic


#: Merity et al. 2017; Yang et al. 2017; Brahma 2018; Takase et al. 2018; Melis et al. 2019. All but the dynamic figures
#: of AWD-LSTM, which are Krause et al.'s, come from the model's own paper.
REPORTED = (
    Reported("AWD-LSTM", 2017, (57.3, 51.1), (65.8, 44.3)),
    Reported("AWD-LSTM, mixture of softmaxes", 2017, (54.4, 47.7), (61.5, 40.7)),
    Reported("AWD-LSTM, past decode", 2018, (55.6, None), (63.5, None)),
    Reported("AWD-LSTM, direct output connection", 2018, (52.4, None), (58.0, None)),
    Reported("Mogrifier LSTM", 2019, (50.1, None), (55.1, None)),
    Reported("Mogrifier RLSTM", 2020, (47.9, 42.9), (55.0, 38.0)),
)


def reported_figure() -> Any:
    """Six published models, standing still and learning while they read: two corpora side by side (matplotlib).

    Example:
        >>> from awdlib.figures.beyond import reported_figure
        >>> reported_figure().get_label()[:76]
        'Test perplexity on Penn Treebank and WikiText-2: AWD-LSTM 57.3 → 51.1 and 65'
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, panels = plt.subplots(1, 2, figsize=(7.6, 3.6), sharey=True)
        for axes, title, corpus in zip(panels, ("Penn Treebank", "WikiText-2"), ("ptb", "wt2"), strict=True):
            for row, model in enumerate(REPORTED):
                still, moving = getattr(model, corpus)
                axes.plot(still, row, "o", color=colour("without"), markersize=8)
                axes.annotate(f"{still}", (still, row), (7, 0), textcoords="offset points", va="center", fontsize=9)
                if moving is not None:
                    arrow = {"arrowstyle": "-|>", "color": BLUE, "linewidth": 2, "shrinkA": 5}
                    axes.annotate("", (moving, row), (still, row), arrowprops=arrow)
                    axes.annotate(f"{moving}", (moving, row), (-5, 0), textcoords="offset points", va="center",
                                  ha="right", fontsize=9, color=BLUE)  # fmt: skip
            low, high = (37, 62) if corpus == "ptb" else (31, 72)
            axes.set(title=title, xlabel="test perplexity", xlim=(low, high), ylim=(len(REPORTED) - 0.5, -0.7))
            axes.grid(True, axis="x")
            axes.grid(False, axis="y")
        names = [f"{model.name}, {model.year}".replace("AWD-LSTM, ", "+ ") for model in REPORTED]
        names[0] = f"AWD-LSTM, {REPORTED[0].year}"
        panels[0].set_yticks(range(len(REPORTED)), names)
        plt.close(figure)
    said = "; ".join(f"{m.name} {_arrow(m.ptb)} and {_arrow(m.wt2)}" for m in REPORTED)
    return describe(figure, f"Test perplexity on Penn Treebank and WikiText-2: {said}. Arrows: dynamic evaluation.")


def _arrow(pair: tuple[float, float | None]) -> str:
    return f"{pair[0]}" if pair[1] is None else f"{pair[0]} → {pair[1]}"


def spectra_figure(spectra: Mapping[str, Sequence[float]], limit: int, shown: int = 90) -> Any:
    """Singular values of several matrices, largest first, and the rank that no single softmax exceeds (matplotlib).

    Args:
        spectra: by name: singular values, falling; each is drawn as parts of its first.
        limit: the rank to mark.
        shown: values drawn of each, at most.

    Raises:
        ValueError: more than three matrices, or none.

    Example:
        >>> from awdlib.figures.beyond import spectra_figure
        >>> spectra_figure({"a": [4.0, 1.0, 1e-9], "b": [2.0, 1.0, 1.0]}, limit=2).get_label()
        'Singular values above a millionth of the first: a 2, b 3. No single softmax exceeds rank 2.'
    """
    import matplotlib.pyplot as plt

    if not 0 < len(spectra) <= 3:
        raise ValueError(f"there are {len(spectra)} matrices: draw one, two or three")
    ranks = {}
    with use_style():
        figure, axes = plt.subplots(figsize=(6.8, 3.7))
        inks = zip((GREEN, colour("without"), colour("with")), ("--", "-", "-"), strict=True)
        for (name, values), (ink, style) in zip(spectra.items(), inks, strict=False):
            parts = np.asarray(values) / values[0]
            ranks[name] = int((parts > 1e-6).sum())
            parts = parts[:shown]
            axes.plot(np.arange(1, len(parts) + 1), np.maximum(parts, 1e-12), style, color=ink)
            at = max(1, min(len(parts), ranks[name]) * 2 // 3)
            axes.annotate(name, (at, parts[at - 1]), (6, 6), textcoords="offset points", color=ink, fontweight="bold")
        axes.axvline(limit + 0.5, color=INK, linewidth=1, linestyle=":")
        axes.text(limit + 1.5, 0.2, f"rank {limit}: the most\nthat one softmax can", fontsize=9, va="top")
        axes.set(
            yscale="log", ylim=(1e-8, 2), xlabel="number of the singular value", ylabel="size, in parts of the first"
        )
        axes.set_yticks([1, 1e-2, 1e-4, 1e-6, 1e-8], ["1", "0.01", "0.0001", "10⁻⁶", "10⁻⁸"])
        plt.close(figure)
    said = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
    return describe(
        figure, f"Singular values above a millionth of the first: {said}. No single softmax exceeds rank {limit}."
    )


def gains_figure(gains: Mapping[str, Sequence[Sequence[float]]], groups: Sequence[str]) -> Any:
    """What ways of adapting gain on groups of words, a bar a way and group, a dot a seed (matplotlib).

    Args:
        gains: by way: of each seed, nats per 100 words of the text for each group.
        groups: their names.

    Raises:
        ValueError: more than three ways, or none.

    Example:
        >>> from awdlib.figures.beyond import gains_figure
        >>> gains_figure({"cache": [[4.0, -1.0], [6.0, -1.0]]}, ["names", "others"]).get_label()
        'Gain in nats per 100 words of the text (names; others): cache +5.0, -1.0.'
    """
    import matplotlib.pyplot as plt

    if not 0 < len(gains) <= 3:
        raise ValueError(f"there are {len(gains)} ways: draw one, two or three")
    with use_style():
        figure, axes = plt.subplots(figsize=(6.8, 3.8))
        height = 0.8 / len(gains)
        inks = (GOLD, BLUE, PINK)
        means = {}
        for number, ((way, seeds), ink) in enumerate(zip(gains.items(), inks, strict=False)):
            values = np.array(seeds)
            means[way] = values.mean(0)
            at = np.arange(len(groups)) + (number - (len(gains) - 1) / 2) * height
            axes.barh(at, means[way], height * 0.9, color=ink, alpha=0.85)
            for one in values:
                axes.plot(one, at, "o", color=INK, markersize=2.5)
            axes.text(max(values[:, 0]) + 0.2, at[0], way, color=ink, va="center", fontweight="bold")
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(groups)), groups)
        axes.set(xlabel="nats gained per 100 words of the text", ylim=(len(groups) - 0.5, -0.5))
        axes.margins(x=0.2)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        plt.close(figure)
    said = "; ".join(f"{way} {', '.join(f'{value:+.1f}' for value in of)}" for way, of in means.items())
    return describe(figure, f"Gain in nats per 100 words of the text ({'; '.join(groups)}): {said}.")
