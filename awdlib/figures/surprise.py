"""A passage word by word: how surprised a model was at each word, beside the surprise of the language itself.

Of the toy language the exact probability of every word is known, so a model's surprisal falls into two parts: what
nobody could have foreseen, and what this model did not know. Recorded by ``book/experiments/awd_lstm.py``.
"""

import json
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import Any

import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.corpora import EOS
from awdlib.figures.staircase import stair_runs
from awdlib.figures.style import (
    BLUE,
    EMPTY,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    SEQUENTIAL,
    colormap,
    describe,
    use_style,
)

READERS = {
    "plain": "the plain LSTM",
    "zaremba": "Zaremba's recipe",
    "finetuned": "AWD-LSTM",
    "cache": "AWD-LSTM and cache",
}  #: models whose surprise is recorded, in words
LARGEST = 10.0  #: nats that the axis holds
PER_ROW = 8  #: words of a row of `passage_figure`, at most
ROW_WIDTH = 40  #: letters of such a row, at most


@cache
def _record() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bundled("runs/awd-lstm.json").read_text(encoding="utf-8"))
    return found


def passage(number: int) -> tuple[list[str], list[float]]:
    """The words of a recorded passage, and the surprisal of each in nats if the grammar itself predicts.

    Args:
        number: of the passage, from 1.

    Raises:
        ValueError: there is no such passage.

    Example:
        >>> from awdlib.figures.surprise import passage
        >>> words, floor = passage(1)
        >>> len(words) == len(floor), words[-1]
        (True, '<eos>')
    """
    found = _record()["passages"]
    require.whole_number("number", number, 1, len(found))
    return found[number - 1]["words"], found[number - 1]["floor"]


def surprisals(number: int, reader: str) -> list[float]:
    """The surprisal of a recorded model at each word of a passage, in nats: the mean over its seeds.

    Args:
        number: of the passage, from 1.
        reader: one of `READERS`.

    Raises:
        ValueError: there is no such passage or reader.

    Example:
        >>> from awdlib.figures.surprise import passage, surprisals
        >>> len(surprisals(2, "cache")) == len(passage(2)[0])
        True
    """
    if reader not in READERS:
        raise ValueError(f"reader is {reader!r}; it must be one of {', '.join(READERS)}")
    passage(number)
    read = [run["surprisal"][number - 1] for run in stair_runs(_record())[reader]]
    return [sum(of_word) / len(of_word) for of_word in zip(*read, strict=True)]


def surprise_figure(number: int, reader: str) -> go.Figure:
    """A bar a word: blue as far as the language itself is surprised, orange for what the model adds.

    Where the model was less surprised than the grammar, the part that it gained is an empty frame.

    Args:
        number: of the passage, from 1.
        reader: one of `READERS`.

    Returns:
        a plotly figure; the text runs downwards.

    Raises:
        ValueError: there is no such passage or reader.

    Example:
        >>> from awdlib.figures.surprise import surprise_figure
        >>> surprise_figure(1, "plain").layout.meta["alt"].split(":")[0]
        'Passage 1, read by the plain LSTM'
    """
    words, floor = passage(number)
    found = surprisals(number, reader)
    rows = list(range(len(words)))
    shared = [min(pair) for pair in zip(found, floor, strict=True)]
    bar = {"type": "bar", "orientation": "h", "y": rows, "width": 0.74, "hoverinfo": "skip"}
    traces = [
        bar | {"x": shared, "marker": {"color": BLUE}},
        bar | {"x": _over(found, floor), "base": floor, "marker": {"color": ORANGE}},
        bar
        | {
            "x": _over(floor, found),
            "base": found,
            "marker": {"color": EMPTY, "line": {"color": MUTED, "width": 1}},
        },
    ]
    layout = {
        "height": 92 + 17 * len(words), "margin": {"l": 84, "r": 10, "t": 42, "b": 44}, "barmode": "overlay",
        "xaxis": {"range": [0, LARGEST], "title": {"text": "surprisal of the word, in nats"}, "showgrid": True},
        "yaxis": {"range": [len(words) - 0.4, -0.6], "tickvals": rows, "ticks": "", "showgrid": False,
                  "ticktext": [_written(word) for word in words], "tickfont": {"size": 12, "color": INK}},
        "annotations": _notes(sum(found) / len(words), sum(floor) / len(words)),
    }  # fmt: skip
    return describe(go.Figure({"data": traces, "layout": layout}), _sentence(number, reader, words, found, floor))


def _over(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    return [max(0.0, high - low) for high, low in zip(upper, lower, strict=True)]


def _written(word: str) -> str:
    return "‹eos›" if word == EOS else word  # plotly would take "<eos>" for a tag


def _notes(mean: float, floor: float) -> list[dict[str, Any]]:
    above = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    return [
        above | {"text": f"<b>■</b> the language itself: {floor:.2f} a word", "font": {"color": BLUE}, "yshift": 17},
        above | {"text": f"<b>■</b> added by the model: {mean - floor:+.2f} a word", "font": {"color": ORANGE}},
    ]


def _sentence(number: int, reader: str, words: Sequence[str], found: Sequence[float], floor: Sequence[float]) -> str:
    excess = [one - least for one, least in zip(found, floor, strict=True)]
    worst = sorted(range(len(words)), key=lambda at: -excess[at])[:3]
    named = ", ".join(f"“{_written(words[at])}” {excess[at]:+.1f}" for at in worst)
    return (
        f"Passage {number}, read by {READERS[reader]}: {sum(found) / len(words):.2f} nats a word, of which "
        f"{sum(floor) / len(words):.2f} are the language's own. Most is lost at {named}."
    )


def passage_figure(words: Sequence[str], found: Sequence[float], floor: Sequence[float], title: str = "") -> Any:
    """A passage as running text: each word on a ground as dark as the model's surprisal, the excess written below.

    Args:
        words: the passage.
        found: the model's surprisal at each word, in nats.
        floor: the language's own.
        title: above the picture.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there are no words, or not as many surprisals as words.

    Example:
        >>> from awdlib.figures.surprise import passage_figure
        >>> figure = passage_figure(["ida", "sings", "<eos>"], [6.0, 4.5, 1.0], [5.0, 3.0, 1.1])
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['ida', '+1.0', 'sings', '+1.5', '‹eos›', '−0.1']
    """
    import matplotlib.pyplot as plt

    if not words or not len(words) == len(found) == len(floor):
        raise ValueError(
            f"there are {len(words)} words, {len(found)} surprisals and {len(floor)} of the floor: give one a word"
        )
    rows = _rows([_written(word) for word in words])
    shade = colormap(SEQUENTIAL)
    with use_style():
        figure, axes = plt.subplots(figsize=(5.3, 0.3 + 0.52 * len(rows)))
        at = 0
        for line, row in enumerate(rows):
            x = 0.0
            for word in row:
                width = len(word) + 1.6
                _cell(axes, x, line, width, word, shade, found[at], found[at] - floor[at])
                x, at = x + width + 0.3, at + 1
        axes.set(xlim=(-0.3, ROW_WIDTH + 12), ylim=(len(rows) - 0.1, -0.35), title=title)
        axes.set_axis_off()
        plt.close(figure)
    excess = (sum(found) - sum(floor)) / len(words)
    return describe(
        figure,
        f"A passage of {len(words)} words: {sum(found) / len(words):.2f} nats a word, {excess:+.2f} against the "
        f"language itself. {textwrap.shorten(' '.join(words), 120, placeholder=' …')}",
    )


def _rows(words: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    for word in words:
        full = len(rows[-1]) == PER_ROW or sum(len(one) + 1.9 for one in [*rows[-1], word]) > ROW_WIDTH + 12
        if rows[-1] and full:
            rows.append([])
        rows[-1].append(word)
    return rows


def _cell(axes: Any, x: float, line: int, width: float, word: str, shade: Any, nats: float, excess: float) -> None:
    """One word on its ground, and what the model lost or gained under it."""
    from matplotlib.patches import Rectangle

    depth = min(1.0, max(0.0, nats / LARGEST))
    axes.add_patch(Rectangle((x, line - 0.3), width, 0.52, facecolor=shade(depth), edgecolor="none"))
    middle = x + width / 2
    axes.text(middle, line - 0.04, word, ha="center", va="center", fontsize=9.5, color=PAPER if depth > 0.5 else INK)
    sign = "−" if round(excess, 1) < 0 else "+"
    axes.text(
        middle, line + 0.38, f"{sign}{abs(excess):.1f}", ha="center", va="center", fontsize=8,
        color=ORANGE if excess >= 0.5 else GREEN if excess <= -0.5 else MUTED,
        fontweight="bold" if abs(excess) >= 0.5 else "normal",
    )  # fmt: skip
