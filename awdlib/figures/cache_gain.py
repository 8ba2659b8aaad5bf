"""What the continuous cache gains, and on which words: by kind of word, by age, by setting.

Grave et al. 2016, section 3, for the cache. A word's gain is ``ln p - ln p_model``, in nats; gains add up.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.cache import CacheConfig, TargetProbabilities
from awdlib.figures.cache import read_text, text_probabilities
from awdlib.figures.style import INK, MUTED, PAPER, SEQUENTIAL, colormap, colour, describe, use_style
from awdlib.toy_language import toy_language

KINDS = ("names", "topic words", "other words", "line ends")  #: of the toy language's words
SHOWN = 25  #: nats in 100 words, at most, that a bar of `price_figure` shows


@cache
def _language_kinds() -> dict[str, int]:
    """Kind of every word of the toy language, as its number in `KINDS`."""
    language = toy_language()
    tilt = language.emission.max(0) - language.emission.min(0)  # [classes, words]: what the topic can change
    topical = dict(zip(language.vocabulary, (tilt > 1e-9).any(0).tolist(), strict=True))
    special = dict.fromkeys(language.names.base, 0) | {"<eos>": 3}
    return {word: special.get(word, 1 if topical[word] else 2) for word in language.vocabulary}


def kinds(words: Sequence[str]) -> list[int]:
    """Kind of each word of the toy language, as its number in `KINDS`.

    A topic word is one whose probability hangs on the topic of the document; names have an urn instead.

    Args:
        words: of the toy language's vocabulary.

    Returns:
        a number for each word.

    Raises:
        ValueError: a word is not the toy language's.

    Example:
        >>> from awdlib.figures.cache_gain import KINDS, kinds
        >>> [KINDS[kind] for kind in kinds("conrad repairs the sail <eos>".split())]
        ['names', 'topic words', 'other words', 'topic words', 'line ends']
    """
    known = _language_kinds()
    if strange := [word for word in words if word not in known]:
        raise ValueError(f"{strange[0]!r} is no word of the toy language: name only words of its vocabulary")
    return [known[word] for word in words]


def band_figure(states: Tensor, targets: Tensor, words: Sequence[str], window: int, flatness: float, chunk: int) -> Any:
    """One chunk's dot products as a picture: the band that a query may see, and where its word had come (matplotlib).

    Args:
        states: (window + chunk, features), the state before each word.
        targets: (window + chunk,) the words that came, as numbers.
        words: the same as words.
        window: positions remembered.
        flatness: theta.
        chunk: queries, the last positions.

    Returns:
        a matplotlib figure with a row for each query and a column for each position that is kept.

    Raises:
        ValueError: shapes that do not fit, or a setting out of range.

    Example:
        >>> import torch
        >>> from awdlib.figures.cache_gain import band_figure
        >>> figure = band_figure(torch.zeros(5, 2), torch.tensor([1, 2, 1, 1, 2]), list("abaab"), 3, 1.0, chunk=2)
        >>> figure.get_label()
        'A band of 3 positions in a matrix of 2 by 5; p_cache of the words that came: a 0.67, b 0.33.'
    """
    import matplotlib.pyplot as plt

    CacheConfig(window=window, flatness=flatness)  # refuses what is out of range
    require.whole_number("chunk", chunk, 1)
    require.floats("states", states, "(window + chunk, features)")
    require.shape("states", states, (window + chunk, states.shape[-1]), "(window + chunk, features)")
    require.shape("targets", targets, (window + chunk,), "(window + chunk,)")
    if len(words) != window + chunk:
        raise ValueError(f"there are {len(words)} words and {window + chunk} positions: give a word for each")
    position = torch.arange(window + chunk)
    asked = position[window:, None]
    visible = (position < asked) & (position >= asked - window)
    scores = (flatness * states[window:].double() @ states.double().t()).masked_fill(~visible, -torch.inf)
    attention = scores.softmax(1)
    same = visible & (targets == targets[window:, None])
    with use_style():
        figure, axes = plt.subplots(figsize=(6.6, 0.27 * chunk + 2.1))
        scale = colormap(SEQUENTIAL).with_extremes(bad=PAPER)
        shown = attention.sqrt().masked_fill(~visible, torch.nan).numpy()  # the root: faint ones are seen as well
        axes.imshow(shown, cmap=scale, vmin=0, vmax=1, aspect="auto")
        for row, column in same.nonzero().tolist():
            box: dict[str, Any] = {"fill": False, "edgecolor": colour("without"), "linewidth": 2}
            axes.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, **box))
        axes.set_xticks(range(window + chunk), words, rotation=90, fontsize=13)  # as large as a column is wide
        axes.set_yticks(range(chunk), words[window:], fontsize=13)
        axes.set(xlabel="word that followed the remembered state", ylabel="word that came")
        axes.axvline(window - 0.5, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        axes.tick_params(length=0)
        axes.grid(False)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    found = ", ".join(
        f"{word} {p:.2f}" for word, p in zip(words[window:], (attention * same).sum(1).tolist(), strict=True)
    )
    size = f"{chunk} by {window + chunk}"
    return describe(
        figure, f"A band of {window} positions in a matrix of {size}; p_cache of the words that came: {found}."
    )


class Price(NamedTuple):
    """What one lambda does to one kind of words; from `price`.

    Example:
        >>> from awdlib.figures.cache_gain import price
        >>> names = price(flatness=5.0, window=300, weight=0.07)["names"]
        >>> 0 < names.gain < names.best and names.best_weight > 0.3
        True
    """

    gain: float  #: nats in 100 words of the text, whatever their kind
    best: float  #: the same, had this kind a lambda of its own
    best_weight: float  #: that lambda


@lru_cache(maxsize=64)
def price(flatness: float, window: int, weight: float) -> dict[str, Price]:
    """Gain of the cache on the toy test text, by kind of word, read by the model that ships with the book.

    Args:
        flatness: theta.
        window: positions remembered.
        weight: lambda, below 1.

    Returns:
        of each kind, and of "all words", the gain at this lambda and at one of its own.

    Raises:
        ValueError: a setting is out of range.

    Example:
        The kinds' gains add up:

        >>> from awdlib.figures.cache_gain import price
        >>> *parts, whole = price(flatness=1.0, window=100, weight=0.05).values()
        >>> abs(sum(part.gain for part in parts) - whole.gain) < 1e-9
        True
    """
    require.number("the cache's weight (lambda)", weight, "[0, 1)")
    return {
        name: Price(part.gain(weight), part.gain(part.best_weight), part.best_weight)
        for name, part in _parts(flatness, window).items()
    }


class _Part(NamedTuple):
    """The words of one kind, and the lambda that suits them best."""

    found: TargetProbabilities
    share: float  #: of all words of the text
    best_weight: float

    def gain(self, weight: float) -> float:
        return 100 * self.share * (self.found.loss(0.0) - self.found.loss(weight))


@lru_cache(maxsize=64)
def _parts(flatness: float, window: int) -> dict[str, _Part]:
    found = text_probabilities(flatness, window)
    kind = torch.tensor(kinds(read_text().words))
    parts = {}
    for name, rows in (*((name, kind == number) for number, name in enumerate(KINDS)), ("all words", kind >= 0)):
        part = TargetProbabilities(*(column[rows] for column in found))
        best = part.best_weight(1e-3)
        best = best if part.loss(best) < part.loss(0.0) else 0.0  # the search ends near 0, not at it
        parts[name] = _Part(part, rows.double().mean().item(), best)
    return parts


def price_figure(flatness: float, weight: float, window: int) -> go.Figure:
    """What one lambda for all words gives to each kind and takes from it, beside what a lambda of its own would give.

    Args:
        flatness: theta.
        weight: lambda, below 1.
        window: positions remembered.

    Returns:
        a plotly figure with a bar and a ring for each kind.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> from awdlib.figures.cache_gain import price_figure
        >>> price_figure(1.0, 0.05, 100).layout.meta["alt"].partition(":")[0]
        'Gain in nats per 100 words at θ = 1, λ = 0.05 and a window of 100 words'
    """
    found = price(flatness, window, weight)
    rows = np.arange(len(found))
    gains = np.array([part.gain for part in found.values()])
    figure = go.Figure()
    for role, chosen in (("with", gains > 0), ("without", gains <= 0)):
        figure.add_bar(
            x=np.where(chosen, gains, 0).clip(-SHOWN, SHOWN), y=rows, orientation="h", width=0.55, hoverinfo="skip",
            marker={"color": colour(role), "line": {"width": 0}},
        )  # fmt: skip
    for ink, size in ((INK, 13), (PAPER, 8)):  # a ring, which the still picture draws as well
        figure.add_scatter(
            x=[part.best for part in found.values()], y=rows, mode="markers", marker={"color": ink, "size": size},
            hoverinfo="skip",
        )  # fmt: skip
    note = {"xref": "paper", "x": 1, "xanchor": "right", "showarrow": False}
    notes = [note | {"y": row, "text": f"<b>{gain:+.1f}</b>"} for row, gain in zip(rows, gains, strict=True)]
    key = {"xref": "paper", "yref": "paper", "x": 1, "y": 1, "xanchor": "right", "yanchor": "bottom"}
    notes.append(key | {"text": "○ with the best λ of its own", "showarrow": False, "font": {"color": INK}})
    figure.update_layout(
        height=330, margin={"l": 112, "r": 8, "t": 30, "b": 44}, barmode="overlay", annotations=notes,
        xaxis={"range": [-SHOWN - 1, SHOWN + 8], "tickvals": [-20, -10, 0, 10, 20], "zeroline": True,
               "zerolinecolor": MUTED, "title": {"text": "gain, nats per 100 words", "standoff": 4}},
        yaxis={"range": [len(rows) - 0.5, -0.6], "tickvals": rows, "ticks": "", "showline": False,
               "ticktext": [f"{name}<br>best λ {part.best_weight:.2f}" for name, part in found.items()]},
    )  # fmt: skip
    said = ", ".join(
        f"{name} {part.gain:+.1f} (best λ {part.best_weight:.2f}: {part.best:+.1f})" for name, part in found.items()
    )
    settings = f"θ = {flatness:g}, λ = {weight:g} and a window of {window} words"
    return describe(figure, f"Gain in nats per 100 words at {settings}: {said}.")


def weight_figure(found: TargetProbabilities, weight: float, floor: float | None = None, title: str = "") -> Any:
    """Perplexity of a text against lambda, for one set of looked-up probabilities (matplotlib).

    Args:
        found: of model and cache, as `awdlib.cache.target_probabilities` gives them.
        weight: lambda to mark.
        floor: the lowest perplexity that any model can be expected to reach, where it is known.
        title: above the picture.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: lambda is outside [0, 1].

    Example:
        >>> from awdlib.figures.cache import text_probabilities
        >>> from awdlib.figures.cache_gain import weight_figure
        >>> figure = weight_figure(text_probabilities(1.0, 100), weight=0.05, title="toy")
        >>> figure.get_label()[:41]
        'toy: perplexity 22.3 without the cache, 2'
    """
    import matplotlib.pyplot as plt

    weights = np.linspace(0, 0.6, 61)
    alone, chosen = (np.exp(found.loss(at)) for at in (0.0, weight))
    best = found.best_weight(1e-3)
    with use_style():
        figure, axes = plt.subplots(figsize=(6.2, 3.2))
        axes.plot(weights, [np.exp(found.loss(at)) for at in weights], color=colour("with"))
        axes.axhline(alone, color=colour("without"), linestyle="--")
        axes.text(0.6, alone, "model alone", color=colour("without"), va="bottom", ha="right")
        if floor is not None:
            axes.axhline(floor, color=colour("floor"), linestyle="--")
            axes.text(0.6, floor, "floor", color=colour("floor"), va="bottom", ha="right")
        axes.plot(weight, chosen, "o", color=INK)
        axes.annotate(f"{chosen:.2f}", (weight, chosen), (0, 7), textcoords="offset points", ha="center", color=INK)
        axes.set(xlabel="λ", ylabel="perplexity", title=title)
        plt.close(figure)
    beside = f", floor {floor:.1f}" if floor is not None else ""
    return describe(
        figure,
        f"{title}: perplexity {alone:.1f} without the cache, {chosen:.1f} at λ = {weight:g}, lowest at λ = {best:.2f}"
        f"{beside}.",
    )
