"""One matrix or two: what tying saves, where the word vectors lie, and what a small last layer costs."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from statistics import mean, stdev
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.comparison import arms_figure
from awdlib.figures.style import (
    BLUE,
    GOLD,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PINK,
    SKY,
    describe,
    use_style,
)  # fmt: skip

VOCABULARIES = {"toy": 1_105, "PTB": 10_000, "WT-2": 33_278, "WT-103": 267_735}  #: word types of known corpora
_SIZES = np.geomspace(300, 1e6, 60)  # vocabularies of the curve
KINDS = {
    "nouns, one": (BLUE, "circle", "●"),
    "nouns, many": (SKY, "circle-open", "○"),
    "verbs, one": (ORANGE, "square", "■"),
    "verbs, many": (GOLD, "square-open", "□"),
    "adjectives": (GREEN, "triangle-up", "▲"),
    "names": (PINK, "diamond", "◆"),
}
"""Groups of words: colour, plotly's name of the marker, and how it is written."""
MATRICES = {"tied both": "tied", "narrow input": "untied, reads", "narrow output": "untied, writes"}
"""Matrices of the record, and what they are called."""
ARMS = {"tied": (BLUE, "o", "tied"), "narrow": (ORANGE, "s", "own matrix"),
        "projected": (GOLD, "^", "tied, projected"), "wide": (PINK, "D", "own, wide")}  # fmt: skip
"""Arms of the experiment: colour, matplotlib's marker, and the name beside the line."""


def layer_parameters(embedding_size: int, hidden_size: int, num_layers: int, last: int) -> int:
    """Parameters of the LSTM layers alone, each with two biases for every gate.

    Args:
        embedding_size: features that the first one reads.
        hidden_size: features of all but the last.
        num_layers: how many.
        last: features that the last one hands on.

    Example:
        The paper's three layers; with one embedding of 10,000 times 400 and 10,000 biases that makes 24,221,600:

        >>> from awdlib.figures.weight_tying import layer_parameters
        >>> layer_parameters(400, 1150, 3, last=400)
        20211600
    """
    sizes = [embedding_size] + [hidden_size] * (num_layers - 1) + [last]
    return sum(4 * out * (inside + out) + 8 * out for inside, out in zip(sizes, sizes[1:], strict=False))


def saving_figure(embedding_size: int, hidden_size: int, num_layers: int) -> go.Figure:
    """The part of a model's parameters that tying saves, against the size of the vocabulary.

    The untied model has the same layers and a softmax matrix as large as the embedding's.

    Args:
        embedding_size: features of a word, and of the last layer.
        hidden_size: features of the other layers.
        num_layers: of LSTM layers.

    Returns:
        a plotly figure with a curve that rises from nothing to a half, and a dot for each of `VOCABULARIES`.

    Raises:
        ValueError: a size is not a positive whole number.

    Example:
        >>> from awdlib.figures.weight_tying import saving_figure
        >>> print(saving_figure(400, 1150, 3).layout.meta["alt"].partition(": ")[2])
        toy 2%, PTB 14%, WT-2 28%, WT-103 46% of the untied model; never more than half.
    """
    for name, size in (("embedding_size", embedding_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        require.whole_number(name, size, 1)
    layers = layer_parameters(embedding_size, hidden_size, num_layers, last=embedding_size)

    def saved(vocabulary: Any) -> Any:
        matrix = vocabulary * embedding_size
        return 100 * matrix / (layers + vocabulary + 2 * matrix)

    words = np.array([*VOCABULARIES.values()])
    tied = layers + words + words * embedding_size
    texts = [f"<b>{name}</b><br>{count / 1e6:.1f} M" for name, count in zip(VOCABULARIES, tied, strict=True)]
    rows = np.array([58, 72, 58, 72])  # heights of the labels: neighbours apart
    line = {"type": "scatter", "x": _SIZES, "y": saved(_SIZES), "mode": "lines", "line": {"color": BLUE},
            "hoverinfo": "skip"}  # fmt: skip
    dots = {"type": "scatter", "x": words, "y": saved(words), "mode": "markers", "hoverinfo": "skip",
            "marker": {"color": BLUE, "size": 10}}  # fmt: skip
    notes = [
        {"text": text, "x": np.log10(v), "y": row, "xref": "x", "yref": "y", "yanchor": "bottom", "showarrow": False,
         "font": {"color": INK}} for text, v, row in zip(texts, words, rows, strict=True)
    ]  # fmt: skip
    ends = [y for at, row in zip(saved(words), rows, strict=True) for y in (at, row - 1, None)]
    stems = {"type": "scatter", "x": np.repeat(words, 3), "y": ends,
             "mode": "lines", "line": {"color": MUTED, "width": 1, "dash": "dot"}, "hoverinfo": "skip"}  # fmt: skip
    half = {"text": "a half", "x": np.log10(320), "y": 50, "xref": "x", "yref": "y",
            "xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"color": MUTED}}  # fmt: skip
    limit = {"type": "scatter", "x": [300, 1e6], "y": [50, 50], "mode": "lines", "hoverinfo": "skip",
             "line": {"color": MUTED, "width": 1}}  # fmt: skip
    layout = {
        "height": 400, "margin": {"l": 52, "r": 14, "t": 14, "b": 50}, "annotations": [*notes, half],
        "xaxis": {"type": "log", "range": [np.log10(300), 6], "title": {"text": "word types V"},
                  "tickvals": [1000, 10_000, 100_000, 1_000_000], "ticktext": ["1,000", "10,000", "100,000", "1 M"]},
        "yaxis": {"range": [0, 88], "tickvals": [0, 10, 20, 30, 40, 50],
                  "ticktext": ["0%", "10%", "20%", "30%", "40%", "50%"], "title": {"text": "saved by tying"}},
    }  # fmt: skip
    parts = ", ".join(f"{name} {saved(v):.0f}%" for name, v in VOCABULARIES.items())
    sizes = f"E = {embedding_size:,}, H = {hidden_size:,}, {num_layers} layer{'s' if num_layers > 1 else ''}"
    sentence = f"What tying saves, {sizes}: {parts} of the untied model; never more than half."
    return describe(go.Figure(data=[limit, stems, line, dots], layout=layout), sentence)


@cache
def _record() -> dict[str, Any]:
    return dict(json.loads(bundled("runs/weight-tying.json").read_text(encoding="utf-8")))


@cache
def _map() -> dict[str, np.ndarray]:
    """Matrix → (moments, words, 2)."""
    found = next(run["map"] for run in _record()["runs"] if "map" in run)
    return {name: np.array(points) for name, points in found.items()}


def word_map_figure(matrix: str, moment: int, often: str) -> go.Figure:
    """Word vectors in the plane in which those at the end of training differ most, by group of words.

    Args:
        matrix: one of `MATRICES`.
        moment: which of the record's moments, counted from 0; the last one is the best epoch.
        often: "all", or only words that training shows "10 times or more" or "less than 10 times".

    Returns:
        a plotly figure; colours and marks are those of `KINDS`.

    Raises:
        ValueError: there is no such matrix, moment or part of the words.

    Example:
        >>> from awdlib.figures.weight_tying import word_map_figure
        >>> print(word_map_figure("tied both", 0, "all").layout.meta["alt"].partition(":")[0])
        260 rows of the matrix of the tied model, at the start
    """
    points, shown = _points(matrix, moment, often)
    groups = np.array(_record()["drawn"]["groups"])
    traces = []
    for name, (ink, symbol, _) in KINDS.items():
        x, y = np.where((shown & (groups == name))[:, None], points, np.nan)[groups == name].T
        traces.append({
            "type": "scatter", "x": x, "y": y, "mode": "markers", "name": name, "hoverinfo": "skip",
            "marker": {"color": ink, "symbol": symbol, "size": 8, "line": {"width": 1.5, "color": ink}},
        })  # fmt: skip
    reach = 1.05 * np.abs(_map()[matrix]).max()
    bare = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False, "range": [-reach, reach]}
    notes = []
    for place, (name, (ink, _, glyph)) in enumerate(KINDS.items()):
        row, column = place % 2, place // 2
        notes.append({"text": f"{glyph} {name}", "x": (0.0, 0.36, 0.72)[column], "y": 1.09 - 0.055 * row,
                      "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False,
                      "font": {"color": ink}})  # fmt: skip
    share, guess = _agreement(points[shown], groups[shown])
    notes.append({"text": f"nearest dot of the same group: <b>{share:.0%}</b>, by chance {guess:.0%}", "x": 0, "y": 0,
                  "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "top", "showarrow": False,
                  "font": {"color": INK}})  # fmt: skip
    layout = {"height": 460, "margin": {"l": 10, "r": 10, "t": 60, "b": 34}, "annotations": notes, "xaxis": bare,
              "yaxis": bare}  # fmt: skip
    sentence = (
        f"{shown.sum()} rows of the matrix of the {MATRICES[matrix]} model, {_when(moment)}: in the plane the nearest "
        f"word is of the same group for {share:.0%}, by chance for {guess:.0%}."
    )
    return describe(go.Figure(data=traces, layout=layout), sentence.replace(", reads model", " model, that reads")
                    .replace(", writes model", " model, that writes"))  # fmt: skip


def _points(matrix: str, moment: int, often: str) -> tuple[np.ndarray, np.ndarray]:
    if matrix not in MATRICES:
        raise ValueError(f"there is no matrix {matrix!r}: use one of {', '.join(MATRICES)}")
    require.whole_number("moment", moment, 0, len(_map()[matrix]) - 1)
    counts = np.array(_record()["drawn"]["counts"])
    parts = {"all": counts > 0, "10 times or more": counts >= 10, "less than 10 times": counts < 10}
    if often not in parts:
        raise ValueError(f"often is {often!r}; it must be one of {', '.join(parts)}")
    return _map()[matrix][moment], parts[often]


def _when(moment: int) -> str:
    moments = _record()["moments"]
    if moment >= len(moments):
        return "of the best epoch"
    return "at the start" if moments[moment] == 0 else f"after epoch {moments[moment]}"


def _agreement(points: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """The part of points whose nearest neighbour is of their own group, and that of a neighbour drawn blindly."""
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(apart, np.inf)
    same = groups[:, None] == groups
    chance = (same.sum() - len(groups)) / (len(groups) * (len(groups) - 1))
    return float(same[np.arange(len(groups)), apart.argmin(1)].mean()), float(chance)


def arm_values(runs: Sequence[Mapping[str, Any]], arm: str, size: int, key: str) -> list[Any]:
    """What the runs of one arm at one embedding size have under a key, a value a seed.

    At E = H the projected and the wide model were not trained: the wide one would be the narrow one.

    Args:
        runs: of the record.
        arm: one of `ARMS`.
        size: of an embedding.
        key: such as "test" or "parameters".

    Example:
        >>> from awdlib.figures.weight_tying import arm_values
        >>> runs = [{"part": "models", "size": 8, "seed": 1, "arms": {"tied": {"test": 50.0}}}]
        >>> arm_values(runs, "tied", 8, "test"), arm_values(runs, "wide", 8, "test")
        ([50.0], [])
    """
    models = [run for run in runs if run["part"] == "models" and run["size"] == size]
    return [run["arms"][arm][key] for run in models if arm in run["arms"]]


def bottleneck_figure(record: Mapping[str, Any]) -> Any:
    """Excess over the floor by embedding size: of trained models, and of a softmax with the best context vectors.

    Args:
        record: of the experiment.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> import json
        >>> from awdlib.bundled import bundled
        >>> from awdlib.figures.weight_tying import bottleneck_figure
        >>> record = json.loads(bundled("runs/weight-tying.json").read_text())
        >>> bottleneck_figure(record).get_label()  # doctest: +ELLIPSIS
        'Excess over the floor...'
    """
    import matplotlib.pyplot as plt

    runs, sizes = record["runs"], record["sizes"]
    fitted = {run["columns"]: run["divergence"] for run in runs if run["part"] == "softmax"}
    with use_style():
        figure, axes = plt.subplots(figsize=(5.4, 4.4))
        for arm, (ink, mark, name) in ARMS.items():
            found = {size: np.log(arm_values(runs, arm, size, "test")) for size in sizes}
            kept = [size for size in sizes if len(found[size])]
            excess = [mean(found[size]) - np.log(record["floor"]["test"]) for size in kept]
            spread = [stdev(found[size]) for size in kept]
            axes.errorbar(kept, excess, spread, color=ink, marker=mark, markersize=6, capsize=3)
            at, ha, va = {"tied": (-1, "left", "top"), "narrow": (-1, "left", "bottom")}.get(
                arm, (0, "right", "center")
            )
            label = name if at else name.replace(", ", ",\n")
            axes.annotate(label, (kept[at], excess[at]), xytext=(8 if at else -9, 0), textcoords="offset points",
                          color=ink, ha=ha, va=va, fontweight="bold")  # fmt: skip
        axes.plot([*fitted], [*fitted.values()], color=MUTED, linestyle="--", marker=".")
        axes.annotate("the softmax alone", (4, fitted[4]), xytext=(9, 4), textcoords="offset points",
                      color=MUTED, fontweight="bold")  # fmt: skip
        axes.set_xscale("log", base=2)
        ticks = sorted({*fitted, *sizes})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set(xlabel="features of a word E", ylabel="above the floor, nats a word", xlim=(0.9, 300))
        axes.set_ylim(bottom=0)
        plt.close(figure)
    return describe(figure, "Excess over the floor by embedding size, of four kinds of model and of the softmax alone.")


def arm_curves_figure(record: Mapping[str, Any], size: int) -> Any:
    """Validation perplexity by epoch of the arms at one embedding size, a line a run.

    Args:
        record: of the experiment.
        size: one of its embedding sizes.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> import json
        >>> from awdlib.bundled import bundled
        >>> from awdlib.figures.weight_tying import arm_curves_figure
        >>> record = json.loads(bundled("runs/weight-tying.json").read_text())
        >>> arm_curves_figure(record, 8).get_label()  # doctest: +ELLIPSIS
        'Validation perplexity by epoch at E = 8...'
    """
    arms = {
        name: (ink, found)
        for arm, (ink, _, name) in ARMS.items()
        if (found := arm_values(record["runs"], arm, size, "valid"))
    }
    figure = arms_figure(arms, record["floor"]["valid"], size=(5.4, 4.6))
    return describe(figure, f"Validation perplexity by epoch at E = {size}: {', '.join(arms)}, a line a run.")
