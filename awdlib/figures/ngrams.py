"""What an n-gram model expects of a sentence of the toy language, word by word, beside what can be known."""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.corpora import EOS, Corpus, load_corpus
from awdlib.figures.style import (
    BLUE,
    CYCLE,
    GRID,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    colour,
    describe,
    fade,
    label_ends,
    use_style,
)
from awdlib.ngrams import KneserNey
from awdlib.toy_language import ToyLanguage, toy_language

START, STOP = 337, 359  #: where the sentence that is shown lies in the validation text, its <eos> included
GUESSES = 5  #: words shown of what the n-gram model expected
MOST = 25.5  #: bits that the axis of surprise reaches
_TOP = 0.33  # where the panel of guesses ends and that of the sentence begins, in parts of the picture


class Passage(NamedTuple):
    """A sentence of held-out toy text and what the grammar itself expects in it; what `passage` returns.

    Example:
        >>> from awdlib.figures.ngrams import passage
        >>> found = passage()
        >>> " ".join(found.words[:8]), found.exact.shape
        ('today the patient farmers that two hens in', (22, 1105))
    """

    words: list[str]  #: of the sentence, its <eos> included
    exact: np.ndarray  #: (words, vocabulary of the corpus) p(word | all words before), by the grammar


@cache
def _toy() -> tuple[Corpus, ToyLanguage]:
    return load_corpus("toy"), toy_language()


@cache
def passage() -> Passage:
    """The sentence that is shown, and the exact probabilities of what may come at each of its words.

    Example:
        >>> from awdlib.figures.ngrams import passage
        >>> bool(passage().exact.sum(1).min() > 0.99)  # the rest is on words that the corpus happens not to have
        True
    """
    corpus, language = _toy()
    text = corpus.vocabulary.decode(corpus.valid[:STOP])
    begins = max(n for n in range(1, START) if text[n - 1] == text[n] == EOS) + 1  # the document's first word
    columns = [language.index[word] for word in corpus.vocabulary.words]
    exact = [language.next_word_probabilities(text[begins:place])[columns] for place in range(START, STOP)]
    return Passage(text[START:STOP], np.array(exact))


@cache
def fitted(order: int, discount: float) -> tuple[KneserNey, float]:
    """An n-gram model of the toy training text, and its perplexity on all of the validation text.

    Args:
        order: n.
        discount: what is taken off every count.

    Example:
        >>> from awdlib.figures.ngrams import fitted
        >>> model, perplexity = fitted(2, 0.6)
        >>> model.order, round(perplexity)
        (2, 94)
    """
    corpus, _ = _toy()
    model = KneserNey(corpus.train, len(corpus.vocabulary), order, discount=discount)
    return model, math.exp(-np.log(model.probabilities(corpus.valid)[1:]).mean())


@cache
def expectations(order: int, discount: float) -> np.ndarray:
    """(words of the sentence, vocabulary): what the n-gram model expects at each word.

    Args:
        order: n.
        discount: what is taken off every count.

    Example:
        >>> from awdlib.figures.ngrams import expectations
        >>> expectations(3, 0.6).sum(1).round(6).tolist() == [1.0] * 22
        True
    """
    corpus, _ = _toy()
    model, _ = fitted(order, discount)
    text = corpus.valid.numpy()
    return np.array(
        [model.next_word_probabilities(text[max(0, place - order + 1) : place]) for place in range(START, STOP)]
    )


def surprise_figure(order: int, discount: float, word: int) -> go.Figure:
    """Each word's surprise under an n-gram model and under the grammar, and what was expected at one of them.

    Args:
        order: n.
        discount: what is taken off every count.
        word: the one looked at, counted from 1.

    Returns:
        a plotly figure, bars for the n-gram model, dots for the grammar; below them the model's likeliest words.

    Raises:
        ValueError: the sentence has no such word, or order or discount is out of range.

    Example:
        >>> from awdlib.figures.ngrams import surprise_figure
        >>> figure = surprise_figure(order=2, discount=0.6, word=12)
        >>> figure.layout.meta["alt"].partition(":")[0]
        'Word 12, “show”'
    """
    require.whole_number("order", order, 1)
    require.number("discount", discount, "(0, 1]")
    shown = passage()
    place = require.whole_number("word", word, 1, len(shown.words)) - 1
    p, ids = expectations(order, discount), _toy()[0].vocabulary.encode(shown.words).numpy()
    rows = np.arange(len(ids))
    bits, floor = -np.log2(p[rows, ids]), -np.log2(shown.exact[rows, ids])
    traces = [*_bars(bits, floor, place, order), *_guesses(p[place], shown.exact[place])]
    running = [float(2 ** part[: place + 1].mean()) for part in (bits, floor)]
    words = [_written(one) for one in shown.words]
    layout = _layout(words, p[place]) | {"annotations": _notes(order, running, fitted(order, discount)[1])}
    return describe(
        go.Figure({"data": traces, "layout": layout}),
        f"Word {word}, “{words[place]}”: the {order}-gram model with discount {discount:g} gave it a surprise of "
        f"{bits[place]:.1f} bits, the grammar {floor[place]:.1f}; perplexity up to here {running[0]:.0f} and "
        f"{running[1]:.0f}, of the model on all of the validation text {fitted(order, discount)[1]:.0f}.",
    )


def _written(word: str) -> str:
    return "‹eos›" if word == EOS else word  # plotly would take "<eos>" for a tag


def _bars(bits: np.ndarray, floor: np.ndarray, place: int, order: int) -> list[dict[str, Any]]:
    """The sentence: what the model reads at this word, the word itself, the others, and the grammar's surprise."""
    rows = np.arange(len(bits))
    seen = (rows < place) & (rows >= place - order + 1)
    bar = {"type": "bar", "orientation": "h", "y": rows, "width": 0.74, "hoverinfo": "skip"}
    reading = np.where(seen, MOST, 0)
    mark = {"color": colour("floor"), "size": 9, "symbol": "diamond", "line": {"color": PAPER, "width": 1}}
    return [
        bar | {"x": reading, "width": 1.0, "marker": {"color": GRID, "line": {"width": 0}}},
        bar | {"x": np.where(rows == place, 0, bits), "marker": {"color": fade(ORANGE, 0.45), "line": {"width": 0}}},
        bar | {"x": np.where(rows == place, bits, 0), "marker": {"color": ORANGE, "line": {"width": 0}}},
        {"type": "scatter", "x": floor, "y": rows, "mode": "markers", "hoverinfo": "skip", "marker": mark},
    ]  # fmt: skip


def _guesses(p: np.ndarray, exact: np.ndarray) -> list[dict[str, Any]]:
    order = np.argsort(-p, kind="stable")[:GUESSES]
    mark = {"color": colour("floor"), "size": 9, "symbol": "diamond", "line": {"color": PAPER, "width": 1}}
    rows = np.arange(GUESSES)
    below = {"xaxis": "x2", "yaxis": "y2", "hoverinfo": "skip", "y": rows}
    return [
        below | {"type": "bar", "orientation": "h", "x": p[order], "width": 0.74,
                 "marker": {"color": ORANGE, "line": {"width": 0}}},
        below | {"type": "scatter", "x": exact[order], "mode": "markers", "marker": mark},
    ]  # fmt: skip


def _layout(words: list[str], p: np.ndarray) -> dict[str, Any]:
    likeliest = np.argsort(-p, kind="stable")[:GUESSES]
    names = [_written(_toy()[0].vocabulary.words[number]) for number in likeliest]
    quiet = {"ticks": "", "showgrid": False, "showline": False, "automargin": False}
    return {
        "height": 620, "margin": {"l": 78, "r": 10, "t": 44, "b": 44}, "barmode": "overlay",
        "xaxis": {"range": [-0.6, MOST], "anchor": "y", "title": {"text": "surprise, bits", "standoff": 2},
                  "tickvals": [0, 5, 10, 15, 20, 25], "showgrid": True},
        "yaxis": quiet | {"range": [len(words) - 0.4, -0.6], "domain": [_TOP, 1], "anchor": "x",
                          "tickvals": list(range(len(words))), "ticktext": words},
        "xaxis2": {"range": [-0.025, 1.01], "anchor": "y2", "title": {"text": "probability of its likeliest words here",
                   "standoff": 2}, "tickvals": [0, 0.25, 0.5, 0.75, 1], "showgrid": True},
        "yaxis2": quiet | {"range": [GUESSES - 0.4, -0.6], "domain": [0, _TOP - 0.13], "anchor": "x2",
                           "tickvals": list(range(GUESSES)), "ticktext": names},
    }  # fmt: skip


def _notes(order: int, running: list[float], whole: float) -> list[dict[str, Any]]:
    """The key, and perplexities so far, above; that of the whole text beside the guesses."""
    above = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    return [
        above | {"text": f"<b>■ {order}-gram</b>, perplexity up to this word {running[0]:,.0f}", "yshift": 20,
                 "xshift": -70, "font": {"color": ORANGE}},
        above | {"text": f"<b>◆ the grammar</b> {running[1]:,.0f}", "yshift": 2, "xshift": -70,
                 "font": {"color": colour("floor")}},
        above | {"text": "■ what it reads", "x": 1, "xanchor": "right", "yshift": 2, "font": {"color": MUTED}},
        {"xref": "x2 domain", "yref": "y2 domain", "x": 1, "y": 0, "xanchor": "right", "yanchor": "bottom",
         "text": f"all of the text: {whole:,.0f}", "font": {"color": INK}},
    ]  # fmt: skip


def more_text_figure(sizes: list[int], perplexities: dict[str, list[float]], floor: float, lstm: float) -> Any:
    """Perplexity of n-gram models against the length of the text they counted, with the floor (matplotlib).

    Args:
        sizes: tokens of training text.
        perplexities: by order, written as text; one a size.
        floor: the lowest perplexity that can be expected.
        lstm: perplexity of a recurrent network that read a text of the first of the sizes.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> from awdlib.figures.ngrams import more_text_figure
        >>> figure = more_text_figure([60_000, 600_000], {"2": [90.0, 70.0], "5": [88.0, 50.0]}, 15.5, 25.0)
        >>> figure.get_label()
        'From 60,000 to 600,000 tokens: order 2 from 90 to 70, order 5 from 88 to 50; floor 15.5, LSTM 25.'
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FixedLocator, NullLocator

    if not sizes or not perplexities or any(len(values) != len(sizes) for values in perplexities.values()):
        raise ValueError(f"perplexities is {require.shown(perplexities)}; give one for each of {require.shown(sizes)}")
    with use_style():
        figure, ax = plt.subplots(figsize=(6.6, 4.0))
        inks = dict(zip(perplexities, [MUTED, CYCLE[4], CYCLE[3], ORANGE][-len(perplexities) :], strict=True))
        for order, values in perplexities.items():
            ax.plot(sizes, values, marker="o", markersize=4, color=inks[order])
        label_ends(ax, sizes[-1], [(values[-1], f"{n}-gram", inks[n]) for n, values in perplexities.items()], 1.13)
        ax.plot(sizes[0], lstm, "*", color=BLUE, markersize=13)
        ax.annotate("an LSTM,\nthis little text", (sizes[0], lstm), xytext=(10, 0), textcoords="offset points",
                    color=BLUE, va="center", fontweight="bold")  # fmt: skip
        ax.axhline(floor, color=colour("floor"), linestyle="--")
        ax.text(sizes[-1], floor, "floor", color=colour("floor"), va="bottom", ha="right")
        ax.set(xscale="log", yscale="log", xlabel="words of training text", ylabel="validation perplexity")
        ax.xaxis.set_major_locator(FixedLocator(sizes))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks(sizes, [f"{size / 1e6:g} M" if size >= 1e6 else f"{size // 1000} k" for size in sizes])
        ax.yaxis.set_major_locator(FixedLocator([15, 20, 30, 40, 50, 70, 100]))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:.0f}")
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    course = ", ".join(f"order {n} from {values[0]:.0f} to {values[-1]:.0f}" for n, values in perplexities.items())
    return describe(figure, f"From {sizes[0]:,} to {sizes[-1]:,} tokens: {course}; floor {floor:.1f}, LSTM {lstm:.0f}.")
