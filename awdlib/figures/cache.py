"""The continuous cache at work on a passage of the toy language's test text, word by word, with the trained toy model.

Grave et al. 2016, section 3; the equations stand in `awdlib.cache`, whose `cache_probabilities` does the work.
"""

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib.cache import CacheConfig, TargetProbabilities, cache_probabilities
from awdlib.corpora import EOS
from awdlib.figures.style import MUTED, PAPER, colour, describe
from awdlib.figures.trained import toy_run

OPENING = "today conrad repairs sarah but conrad never sees".split()  #: of the passage, a sentence of the test text
WORDS = 17  #: in the passage; the last one ends the sentence
REACH = 100  #: past positions that the lower panel shows
LOWEST = 5e-5  #: probability at the left edge


class Text(NamedTuple):
    """The toy test text as the trained model saw it; what `read_text` returns.

    Example:
        >>> from awdlib.figures.cache import read_text
        >>> text = read_text()
        >>> text.states.shape[1], len(text.states) == len(text.words) == len(text.model)
        (64, True)
    """

    states: Tensor  #: (num_targets, features), h_t before each word
    targets: Tensor  #: (num_targets,) ids of the words that came
    words: list[str]  #: the same as words
    model: Tensor  #: (num_targets,) p_model of each, in double precision
    passage: int  #: number of the passage's first word among them


@cache
def read_text() -> Text:
    """Let the trained toy model read its test text, once.

    Example:
        >>> from awdlib.figures.cache import read_text
        >>> text = read_text()
        >>> text.words[text.passage : text.passage + 4]
        ['today', 'conrad', 'repairs', 'sarah']
    """
    model, corpus, _ = toy_run()
    inputs, targets = corpus.test[:-1], corpus.test[1:]
    with torch.no_grad():
        output = model(inputs[:, None])
    log_p = output.logits[:, 0].double().log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    words = [corpus.vocabulary.words[number] for number in targets.tolist()]
    first = next(at for at in range(len(words)) if words[at : at + len(OPENING)] == OPENING)
    return Text(output.raw_output[:, 0], targets, words, log_p.exp(), first)


@lru_cache(maxsize=64)
def text_probabilities(flatness: float, window: int) -> TargetProbabilities:
    """What model and cache each give to every word of the test text.

    Args:
        flatness: theta.
        window: positions remembered.

    Returns:
        (num_targets, 1) each.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> from awdlib.figures.cache import text_probabilities
        >>> found = text_probabilities(flatness=3.0, window=300)
        >>> found.loss(weight=0.1) < found.loss(weight=0.0)
        True
    """
    text = read_text()
    cached, usable = cache_probabilities(text.states, text.targets, window, flatness)
    return TargetProbabilities(text.model[:, None], cached.double()[:, None], usable[:, None])


def attention(flatness: float, window: int, position: int) -> np.ndarray:
    """How much the cache looks at each position of its window, before a word of the test text.

    The sum of these over the positions that the word followed is the p_cache of that word.

    Args:
        flatness: theta.
        window: positions remembered.
        position: number of the word that is to come.

    Returns:
        (positions in the window,) softmax of theta h_t . h_i, the oldest position first.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> from awdlib.figures.cache import attention
        >>> attention(flatness=0.0, window=4, position=10)
        array([0.25, 0.25, 0.25, 0.25])
    """
    CacheConfig(window=window, flatness=flatness)  # refuses what is out of range
    states = read_text().states[max(0, position - window) : position + 1].double()
    return (flatness * states[:-1] @ states[-1]).softmax(0).numpy()


def cache_figure(flatness: float, weight: float, window: int) -> go.Figure:
    """Probability of each word of a passage without and with the cache; below, where the cache looks before the last.

    Args:
        flatness: theta.
        weight: lambda.
        window: positions remembered.

    Returns:
        a plotly figure of two panels.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> from awdlib.figures.cache import cache_figure
        >>> cache_figure(flatness=0.0, weight=0.1, window=100).layout.meta["alt"].partition(", the ")[2].partition(
        ...     " and "
        ... )[0]
        "sentence's perplexity goes from 95 to 45"
    """
    text, found = read_text(), text_probabilities(flatness, window)
    rows = slice(text.passage, text.passage + WORDS)
    passage = TargetProbabilities(*(part[rows] for part in found))
    words = [_written(word) for word in text.words[rows]]
    alone, mixed = (np.log10(p[:, 0].numpy()) for p in (passage.model, passage.mixed(weight)))
    perplexities = [[math.exp(part.loss(at)) for at in (0.0, weight)] for part in (passage, found)]
    looked = attention(flatness, window, rows.stop - 1)
    p_cache = passage.cache[-1, 0].item()
    traces = [*_dumbbells(alone, mixed), *_looks(looked, text, rows.stop - 1)]
    layout = _layout(words) | {"annotations": _notes(perplexities, p_cache)}
    sentence = _sentence(flatness, weight, window, words, mixed - alone, perplexities)
    return describe(go.Figure({"data": traces, "layout": layout}), sentence)


def _written(word: str) -> str:
    return "‹eos›" if word == EOS else word  # plotly would take "<eos>" for a tag


def _dumbbells(alone: np.ndarray, mixed: np.ndarray) -> list[dict[str, Any]]:
    """A ring for the model alone and a line from it to a dot for the mixture: blue where it gains, else orange."""
    rows = np.arange(len(alone), dtype=float)
    gaps = np.full_like(alone, np.nan)
    axes = {"hoverinfo": "skip", "xaxis": "x", "yaxis": "y"}
    traces = [
        {"x": alone, "y": rows, "mode": "markers", "marker": {"color": ink, "size": size}} | axes
        for ink, size in ((MUTED, 9), (PAPER, 6))  # a ring, which the still picture draws as well
    ]
    for role, chosen in (("without", mixed < alone), ("with", mixed >= alone)):
        x = np.column_stack([alone, mixed, gaps])
        x[~chosen] = np.nan
        marker = {"color": colour(role), "size": np.tile([0.0, 9.0, 0.0], len(rows)), "opacity": 1}
        traces.append(
            {"x": x.ravel(), "y": np.repeat(rows, 3), "mode": "lines+markers", "marker": marker,
             "line": {"color": colour(role), "width": 3}} | axes
        )  # fmt: skip
    return traces


def _looks(looked: np.ndarray, text: Text, position: int) -> list[dict[str, Any]]:
    """Bars over the past: what the cache looks at, beside what it looks at most; blue where the same word followed."""
    shown = np.zeros(REACH)
    shown[REACH - min(REACH, len(looked)) :] = looked[-REACH:] / looked.max()
    followed = (text.targets[position - REACH : position] == text.targets[position]).numpy()
    ago = np.arange(-REACH, 0)
    return [
        {"type": "bar", "x": ago, "y": np.where(chosen, shown, 0), "marker": {"color": ink, "line": {"width": 0}},
         "xaxis": "x2", "yaxis": "y2", "hoverinfo": "skip"}
        for ink, chosen in ((MUTED, ~followed), (colour("with"), followed))
    ]  # fmt: skip


def _layout(words: list[str]) -> dict[str, Any]:
    powers = {-4: "0.0001", -3: "0.001", -2: "0.01", -1: "0.1", 0: "1"}
    return {
        "height": 460, "margin": {"l": 64, "r": 12, "t": 44, "b": 42}, "bargap": 0.15, "barmode": "overlay",
        "xaxis": {"range": [math.log10(LOWEST), 0.05], "tickvals": [*powers], "ticktext": [*powers.values()],
                  "showgrid": True, "title": {"text": "probability of the word that came", "standoff": 4}},
        "yaxis": {"domain": [0.37, 1], "range": [len(words) - 0.4, -0.6], "tickvals": list(range(len(words))),
                  "ticktext": words, "tickfont": {"size": 12}, "ticks": "", "showline": False},
        "xaxis2": {"range": [-REACH - 0.5, -0.5], "anchor": "y2", "tickvals": [-REACH, -50, -1],
                   "ticktext": [str(REACH), "50", "1"],
                   "title": {"text": "words ago, at most 100 shown; blue where ‹eos› followed", "standoff": 4}},
        "yaxis2": {"domain": [0, 0.15], "range": [0, 1.08], "anchor": "x2", "visible": False},
    }  # fmt: skip


def _notes(perplexities: list[list[float]], p_cache: float) -> list[dict[str, Any]]:
    """Perplexities above the upper panel, its key, and the title of the lower one."""
    at = {"xref": "paper", "yref": "paper", "yanchor": "bottom", "showarrow": False}
    left, right = at | {"x": 0, "xanchor": "left", "xshift": -60}, at | {"x": 1, "xanchor": "right"}
    (alone, mixed), (alone_all, mixed_all) = perplexities
    better, better_all = (colour("with" if after < before else "without") for before, after in perplexities)
    return [
        left | {"text": f"<b>sentence: perplexity {alone:.0f} → {mixed:.0f}</b>", "y": 1.05, "font": {"color": better}},
        left
        | {"text": f"test text: perplexity {alone_all:.1f} → {mixed_all:.1f}", "y": 1, "font": {"color": better_all}},
        right | {"text": "○ model alone", "y": 1.05, "font": {"color": MUTED}},
        right | {"text": "● with cache", "y": 1},
        left | {"text": "<b>where it looks before ‹eos›</b>", "y": 0.15},
        right | {"text": f"p<sub>cache</sub> = {p_cache:.2f}", "y": 0.15, "font": {"color": colour("with")}},
    ]


def _sentence(flatness: float, weight: float, window: int, words: list[str], gains: np.ndarray, ppl: Any) -> str:
    """The text alternative; ``gains`` in decades."""
    most = int(gains.argmax())
    times = 10 ** gains[most]
    (alone, mixed), (alone_all, mixed_all) = ppl
    return (
        f"With θ = {flatness:g}, λ = {weight:g} and a window of {window} words, the sentence's perplexity goes from "
        f"{alone:.0f} to {mixed:.0f} and the whole test text's from {alone_all:.1f} to {mixed_all:.1f}. Of the "
        f"sentence's {len(words)} words {(gains >= 0).sum()} gain; “{words[most]}” gains most and becomes "
        f"{times:,.{0 if times > 20 else 1}f} times as probable; none falls below {1 - weight:.2g} times what it was."
    )
