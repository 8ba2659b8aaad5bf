"""Perplexity as hesitation: what it costs to be too sure, or not sure enough; and where in a sentence it is paid."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.corpora import EOS
from awdlib.figures.style import BLUE, INK, MUTED, PAPER, colormap, colour, describe, use_style
from awdlib.toy_language import toy_language

PROMPTS = ("the sailor steers the", "the sailor that the gulls follow", "the sailor steers the boat")
"""From many possible next words to few."""
SHOWN = 8  #: words with a bar of their own, the likeliest; the rest share one
SCALE = np.round(np.geomspace(0.4, 5, 45), 4)  #: temperatures at which the curves are drawn
_TOP = 0.5  # where the panel of curves ends


class Hesitation(NamedTuple):
    """Three perplexities of one prediction; what `hesitation` returns.

    Example:
        >>> from awdlib.figures.perplexity import hesitation
        >>> found = hesitation([0.5, 0.25, 0.25], temperature=1.0)
        >>> round(found.own, 3) == round(found.real, 3) == round(found.least, 3) == round(2**1.5, 3)
        True
    """

    own: float  #: exp of the prediction's entropy: among how many words it believes to hesitate
    real: float  #: exp of its cross entropy: the perplexity that the text will show
    least: float  #: exp of the entropy of the truth: what no prediction can beat on average


def hesitation(p: Any, temperature: float) -> Hesitation:
    """Perplexities of q, proportional to p to the power 1 / temperature, where words are drawn from p.

    By Gibbs' inequality ``real`` is at least ``least``, and equal to it for q = p alone.

    Args:
        p: probabilities of the words, which sum to one.
        temperature: below 1, q is surer than p; above, less sure.

    Raises:
        ValueError: the temperature is not above 0, or p are no probabilities.

    Example:
        Being twice as sure as the truth warrants costs more than being half as sure:

        >>> from awdlib.figures.perplexity import hesitation
        >>> [round(hesitation([0.9, 0.05, 0.05], t).real, 2) for t in (0.5, 1.0, 2.0)]
        [1.79, 1.48, 1.7]
    """
    require.number("temperature", temperature, "(0, inf)")
    given, p = p, np.asarray(p, dtype=float)
    if p.ndim != 1 or not (p >= 0).all() or abs(p.sum() - 1) > 1e-6:
        raise ValueError(f"p is {require.shown(given)}; it must be probabilities that sum to one")
    p = p[p > 0]
    log_q = np.log(p) / temperature
    log_q -= log_q.max() + math.log(np.exp(log_q - log_q.max()).sum())
    entropies = -(np.exp(log_q) * log_q).sum(), -(p * log_q).sum(), -(p * np.log(p)).sum()
    return Hesitation(*(math.exp(nats) for nats in entropies))


@cache
def _truth(prompt: str) -> tuple[list[str], np.ndarray]:
    """Words that may follow, the likeliest first, and their exact probabilities."""
    language = toy_language()
    p = language.next_word_probabilities(prompt.split())
    order = np.argsort(-p, kind="stable")
    order = order[p[order] > 0]
    return [language.vocabulary[number] for number in order], p[order]


def hesitation_figure(prompt: str, temperature: float) -> go.Figure:
    """A prediction that is surer, or less sure, than the truth: its probabilities, and what that does to perplexity.

    Args:
        prompt: words of the toy language, the beginning of a document.
        temperature: the prediction is the exact distribution to the power 1 / temperature, made to sum to one.

    Returns:
        a plotly figure; above, the truth as diamonds and the prediction as bars; below, perplexity over temperature.

    Raises:
        ValueError: the temperature is not between 0.05 and 100, or a word is unknown or cannot stand where it stands.

    Example:
        >>> from awdlib.figures.perplexity import hesitation_figure
        >>> figure = hesitation_figure("the sailor steers the boat", temperature=0.5)
        >>> figure.layout.meta["alt"].partition(": ")[2]
        'the prediction believes to hesitate among 1.3 words, and the text will show 17.0; the least possible is 7.1.'
    """
    require.text("prompt", prompt)
    require.number("temperature", temperature, "[0.05, 100]")
    words, p = _truth(prompt)
    found = hesitation(p, temperature)
    q = p ** (1 / temperature) / (p ** (1 / temperature)).sum()
    traces = [*_bars(p, q), *_curves(p, temperature, found)]
    layout = _layout([*(_written(word) for word in words[:SHOWN]), "all others"], p)
    layout["annotations"] = _notes(prompt, found)
    return describe(
        go.Figure({"data": traces, "layout": layout}),
        f"“{prompt} …” at temperature {temperature:g}: the prediction believes to hesitate among {found.own:.1f} "
        f"words, and the text will show {found.real:.1f}; the least possible is {found.least:.1f}.",
    )


def _written(word: str) -> str:
    return "‹eos›" if word == EOS else word  # plotly would take "<eos>" for a tag


def _bars(p: np.ndarray, q: np.ndarray) -> list[dict[str, Any]]:
    truth, guess = (np.append(part[:SHOWN], part[SHOWN:].sum()) for part in (p, q))
    rows = np.arange(SHOWN + 1)
    here = {"y": rows, "hoverinfo": "skip", "xaxis": "x2", "yaxis": "y2"}
    mark = {"color": colour("floor"), "size": 9, "symbol": "diamond", "line": {"color": PAPER, "width": 1}}
    bars = {"type": "bar", "orientation": "h", "width": 0.74, "marker": {"color": BLUE, "line": {"width": 0}}}
    return [here | bars | {"x": guess}, here | {"type": "scatter", "mode": "markers", "x": truth, "marker": mark}]


def _curves(p: np.ndarray, temperature: float, found: Hesitation) -> list[dict[str, Any]]:
    curve = [hesitation(p, t) for t in SCALE]
    line = {"type": "scatter", "mode": "lines", "x": np.log10(SCALE), "hoverinfo": "skip"}
    dot = {"type": "scatter", "mode": "markers", "x": [math.log10(temperature)], "hoverinfo": "skip"}
    return [
        line | {"y": np.full(len(SCALE), found.least), "line": {"color": colour("floor"), "dash": "dash"}},
        line | {"y": [one.own for one in curve], "line": {"color": MUTED, "dash": "dot"}},
        line | {"y": [one.real for one in curve], "line": {"color": BLUE}},
        dot | {"y": [found.own], "marker": {"color": MUTED, "size": 9}},
        dot | {"y": [found.real], "marker": {"color": BLUE, "size": 11}},
    ]


def _layout(words: list[str], p: np.ndarray) -> dict[str, Any]:
    quiet = {"ticks": "", "showgrid": False, "showline": False}
    top = 1.2 * max(hesitation(p, SCALE[0]).real, len(p))
    ticks = [value for value in (1, 3, 10, 30, 100, 300, 1000) if value <= top]
    return {
        "height": 560, "margin": {"l": 78, "r": 12, "t": 30, "b": 44}, "barmode": "overlay",
        "xaxis2": {"range": [0, 1.02], "anchor": "y2", "tickvals": [0, 0.25, 0.5, 0.75, 1], "showgrid": True,
                   "title": {"text": "probability of the next word", "standoff": 2}},
        "yaxis2": quiet | {"range": [SHOWN + 0.6, -0.6], "domain": [_TOP + 0.1, 1], "anchor": "x2",
                           "tickvals": list(range(SHOWN + 1)), "ticktext": words, "automargin": False},
        "xaxis": {"range": [math.log10(0.37), math.log10(5.4)], "anchor": "y", "tickvals": np.log10([0.5, 1, 2, 5]),
                  "ticktext": ["0.5", "1", "2", "5"], "title": {"text": "temperature: ← surer · less sure →"}},
        "yaxis": {"type": "log", "domain": [0, _TOP - 0.08], "anchor": "x", "tickvals": ticks,
                  "range": [-0.03, math.log10(top)], "title": {"text": "perplexity"}, "automargin": False},
    }  # fmt: skip


def _notes(prompt: str, found: Hesitation) -> list[dict[str, Any]]:
    over = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    inside = {"xref": "x2 domain", "yref": "y2 domain", "x": 1, "xanchor": "right", "yanchor": "bottom"}
    return [
        over | {"x": 0, "y": 1, "xshift": -74, "yshift": 4, "text": f"<b>{prompt} …</b>", "font": {"color": INK}},
        inside | {"y": 0.26, "text": "<b>◆ the truth</b>", "font": {"color": colour("floor")}},
        inside | {"y": 0.12, "text": "<b>■ the prediction</b>", "font": {"color": BLUE}},
        over | {"x": 0, "y": _TOP - 0.08, "text": f"<b>● the text shows {found.real:.1f}</b>", "xshift": 4,
                "font": {"color": BLUE}},
        over | {"x": 1, "y": 0, "text": f"● it believes {found.own:.1f}", "xanchor": "right", "yshift": 22,
                "font": {"color": MUTED}},
        over | {"x": 1, "y": 0, "text": f"the least possible {found.least:.1f}", "xanchor": "right", "yshift": 4,
                "font": {"color": colour("floor")}},
    ]  # fmt: skip


def strip_figure(words: Sequence[str], bits: Mapping[str, Sequence[float]], notes: Mapping[int, str]) -> Any:
    """The surprise at each word of a sentence under several models, as a strip of heat for each (matplotlib).

    Args:
        words: the sentence, one row each.
        bits: by model, the surprise of each word.
        notes: by row, what there is to see there.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: a model has not one number a word.

    Example:
        >>> from awdlib.figures.perplexity import strip_figure
        >>> strip_figure(["gulls", "sing"], {"unigram": [9.0, 7.0], "grammar": [3.0, 1.0]}, {1: "agrees"}).get_label()
        'Mean surprise in bits a word: unigram 8.0, grammar 2.0.'
    """
    import matplotlib.pyplot as plt

    if not len(words) or not bits:
        raise ValueError("there are no words, or no models' bits: give at least one of each")
    if wrong := [name for name, values in bits.items() if len(values) != len(words)]:
        raise ValueError(f"bits has {len(bits[wrong[0]])} numbers of {wrong[0]!r}: give one for each of {len(words)}")
    table = np.array(list(bits.values())).T
    with use_style():
        figure, ax = plt.subplots(figsize=(6.4, 0.29 * len(words) + 0.7))
        top = max(16.0, table.max())
        ax.imshow(table, cmap=colormap(), vmin=0, vmax=top, aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            ink = "white" if value > 0.5 * top else INK
            ax.text(column, row, f"{abs(value):.1f}", ha="center", va="center", color=ink, fontsize=9.5)
        ax.set_xticks(range(len(bits)), list(bits), fontweight="bold")
        ax.xaxis.tick_top()
        ax.set_yticks(range(len(words)), [EOS if word == EOS else word for word in words])
        ax.tick_params(length=0, labelcolor=INK)
        ax.hlines(np.arange(len(words) - 1) + 0.5, -0.5, len(bits) - 0.5, color="white", linewidth=1.5)
        ax.vlines(np.arange(len(bits) - 1) + 0.5, -0.5, len(words) - 0.5, color="white", linewidth=6)
        for row, note in notes.items():
            ax.text(len(bits) - 0.42, row, f"◂ {note}", va="center", color=MUTED, fontsize=10)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_xlim(-0.5, len(bits) + (0.9 if notes else -0.5))
        ax.set_facecolor("white")
        ax.tick_params(axis="x", pad=2)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    means = ", ".join(f"{name} {np.mean(values):.1f}" for name, values in bits.items())
    return describe(figure, f"Mean surprise in bits a word: {means}.")
