"""How much of a window survives when whole word types go missing, and how that grows with the text."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, MUTED, ORANGE, describe, use_style
from awdlib.figures.zipf import INKS, TITLES

BINS = 50  #: of the share that survives
Counts = Sequence[Sequence[int]]  #: (occurrences, how many types have so many) of a window


def tokens_and_decisions(counts: Counts) -> tuple[int, float]:
    """N, the tokens of a window, and N² / Σ n², over how many independent coins its noise averages.

    Args:
        counts: (occurrences, types that have so many).

    Returns:
        N, and the effective number of decisions.

    Raises:
        ValueError: there are none, or one is not positive.

    Example:
        Ten types that occur once, and one that occurs ten times:

        >>> from awdlib.figures.surviving_words import tokens_and_decisions
        >>> tokens, decisions = tokens_and_decisions([(1, 10), (10, 1)])
        >>> tokens, round(decisions, 2)  # 20² / (10 · 1² + 10²)
        (20, 3.64)
    """
    if not counts:
        raise ValueError("counts is empty; give (occurrences, types that have so many) of a window")
    for pair in counts:
        for value in pair:
            require.whole_number("a count", value, 1)
    tokens = sum(times * types for times, types in counts)
    return tokens, tokens**2 / sum(times**2 * types for times, types in counts)


def surviving(counts: Counts, p: float) -> np.ndarray:
    """P(k tokens survive) for k = 0 … N, when each type is dropped with probability p: exact.

    The generating function of the number of survivors is the product over types of p + (1 - p) z^n, n its
    occurrences; a Fourier transform turns its values on the unit circle into its coefficients.

    Args:
        counts: (occurrences, types that have so many).
        p: dropout probability.

    Returns:
        (N + 1,) probabilities.

    Raises:
        ValueError: p is outside [0, 1), or as `tokens_and_decisions` says.

    Example:
        A word that occurs twice, and one that occurs once:

        >>> from awdlib.figures.surviving_words import surviving
        >>> surviving([(1, 1), (2, 1)], 0.1).round(2)
        array([0.01, 0.09, 0.09, 0.81])
    """
    require.number("p", p, "[0, 1)")
    tokens, _ = tokens_and_decisions(counts)
    turn = np.exp(-2j * np.pi * np.arange(tokens + 1) / (tokens + 1))
    values = np.ones(tokens + 1, dtype=complex)
    for times, types in counts:
        power = turn[np.arange(tokens + 1) * times % (tokens + 1)]  # turn ** times, and faster
        values *= (p + (1 - p) * power) ** types
    return np.maximum(np.fft.ifft(values).real, 0.0)


@cache
def windows() -> dict[tuple[str, int, int], list[list[int]]]:
    """Counts of one window by (corpus, length, batch size), from the middle of its training text.

    Example:
        The toy language's most frequent word stands 69 times in a window of 35 × 20 words:

        >>> from awdlib.figures.surviving_words import windows
        >>> windows()["toy", 35, 20][-1]
        [69, 1]
    """
    record = json.loads(bundled("runs/embedding-dropout.json").read_text(encoding="utf-8"))
    return {
        (corpus, one["length"], one["batch"]): one["types_that_occur"]
        for corpus, found in record["windows"].items()
        for one in found["windows"]
    }


def survival_figure(corpus: str, p: float, length: int, batch: int) -> go.Figure:
    """The distribution of the share of a window that survives: a coin for each type, and a coin for each token.

    Args:
        corpus: "toy", "ptb" or "wikitext-2".
        p: dropout probability.
        length: time steps of the window.
        batch: sequences side by side.

    Returns:
        a plotly figure of two panels, each as high as its own highest bar.

    Raises:
        ValueError: no window of this corpus and size was counted.

    Example:
        >>> from awdlib.figures.surviving_words import survival_figure
        >>> survival_figure("ptb", p=0.1, length=70, batch=40).layout.annotations[0].text
        '2,800 tokens: ± 0.6 points'
    """
    if (corpus, length, batch) not in windows():
        sizes = sorted({key[1:] for key in windows()})
        raise ValueError(f"no window of {corpus!r}, {length} × {batch}, was counted: use {', '.join(TITLES)}, {sizes}")
    counts = windows()[corpus, length, batch]
    tokens, decisions = tokens_and_decisions(counts)
    types = sum(number for _, number in counts)
    panels = {
        "tokens": (surviving([(1, tokens)], p), ORANGE, "", f"{tokens:,} tokens"),
        "types": (surviving(counts, p), BLUE, "2", f"{types:,} types, worth {decisions:,.0f} coins"),
    }
    figure = go.Figure()
    spreads, notes = {}, []
    for kind, (probability, ink, axis, text) in panels.items():
        share = np.arange(tokens + 1) / tokens
        spreads[kind] = float(np.sqrt((probability * (share - (1 - p)) ** 2).sum()))
        bins = np.minimum(np.arange(tokens + 1) * BINS // tokens, BINS - 1)
        height = np.bincount(bins, weights=probability, minlength=BINS)
        figure.add_bar(
            x=np.arange(BINS) + 0.5, y=np.round(height / height.max(), 4),
            marker={"color": ink}, xaxis=f"x{axis}", yaxis=f"y{axis}", hoverinfo="skip",
        )  # fmt: skip
        notes.append(
            {"text": f"{text}: ± {100 * spreads[kind]:.1f} points", "x": 0, "y": 1.0, "xref": "paper",
             "yref": f"y{axis} domain", "xanchor": "left", "yanchor": "bottom", "showarrow": False,
             "font": {"color": ink}}
        )  # fmt: skip
    figure.update_layout(_survival_layout(notes, p))
    return describe(figure, _survival_sentence(corpus, p, length, batch, types, decisions, spreads))


def _survival_layout(notes: list[dict[str, Any]], p: float) -> dict[str, Any]:
    quarters = [0, 25, 50, 75, 100]  # the axis counts bins, so that a bar is one unit wide
    x = {"range": [-0.5, BINS + 1], "tickvals": [BINS * per_cent / 100 for per_cent in quarters],
         "ticktext": [f"{per_cent}%" for per_cent in quarters]}  # fmt: skip
    y = {"range": [0, 1.05], "showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
    lines = [
        {"type": "line", "x0": BINS * (1 - p), "x1": BINS * (1 - p), "y0": 0, "y1": 1, "xref": f"x{axis}",
         "yref": f"y{axis} domain", "line": {"color": MUTED, "width": 1.5, "dash": "dot"}}
        for axis in ("", "2")
    ]  # fmt: skip
    return {
        "height": 400, "margin": {"l": 12, "r": 14, "t": 30, "b": 52}, "bargap": 0, "annotations": notes,
        "xaxis": x | {"anchor": "y", "showticklabels": False},
        "xaxis2": x | {"anchor": "y2", "title": {"text": "share of the window that survives"}},
        "yaxis": y | {"domain": [0.57, 1]}, "yaxis2": y | {"domain": [0, 0.43], "anchor": "x2"}, "shapes": lines,
    }  # fmt: skip


def _survival_sentence(
    corpus: str, p: float, length: int, batch: int, types: int, decisions: float, spreads: Mapping[str, float]
) -> str:
    sequences = "1 sequence" if batch == 1 else f"{batch} sequences"
    return (
        f"{TITLES[corpus]}, a window of {length} words in {sequences}, p = {p:g}: on average {1 - p:.0%} survive. With "
        f"a coin for each of {length * batch:,} tokens the standard deviation is {100 * spreads['tokens']:.1f} points; "
        f"with a coin for each of {types:,} types it is {100 * spreads['types']:.1f}, as of {decisions:.0f} coins."
    )


def growth_figure(growth: Mapping[str, Sequence[Sequence[float]]]) -> Any:
    """Types and effective decisions of longer and longer texts, both axes logarithmic (matplotlib).

    Args:
        growth: by corpus, rows of (tokens, types, effective number of decisions), in order of tokens.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: a corpus is none of those that have a colour, or has no rows.

    Example:
        >>> from awdlib.figures.surviving_words import growth_figure
        >>> growth_figure({"toy": [(10, 9.1, 8.6), (10_000, 884, 39.8)]}).get_label()
        'In 10,000 tokens of the toy language stand 884 types, worth 40 coins.'
    """
    import matplotlib.pyplot as plt

    if not growth or (wrong := [name for name in growth if name not in INKS or not growth[name]]):
        raise ValueError(f"growth is of {wrong if growth else 'no corpus'}: give rows of some of {', '.join(INKS)}")
    with use_style():
        figure, ax = plt.subplots(figsize=(6.6, 4.4))
        last = max(rows[-1][0] for rows in growth.values())
        ax.plot([10, last], [10, last], color=MUTED, linestyle=":")
        ax.text(900, 1300, "tokens: a coin each", color=MUTED, rotation=38, rotation_mode="anchor", va="bottom",
                ha="left", fontsize=10)  # fmt: skip
        for name, rows in growth.items():
            tokens, types, decisions = zip(*rows, strict=True)
            ax.plot(tokens, types, color=INKS[name], linestyle="--")
            ax.plot(tokens, decisions, color=INKS[name])
        _corpus_names(ax, growth)
        ax.set(xscale="log", yscale="log", xlabel="tokens of the text", ylim=(7, 2.2 * last**0.5 * 60))
        ax.set_title("- -  types of words     —  coins that they are worth", fontsize=11)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:,.0f}")
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    ends = "; ".join(
        f"in {rows[-1][0]:,} tokens of {'the ' if name == 'toy' else ''}{TITLES[name]} stand {rows[-1][1]:,.0f} types, "
        f"worth {rows[-1][2]:.0f} coins"
        for name, rows in growth.items()
    )
    return describe(figure, f"{ends[0].upper()}{ends[1:]}.")


def _corpus_names(ax: Any, growth: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Each name at the end of its dashed line, and of the other with the number of coins; what is above lies above."""
    highest = max(growth, key=lambda name: growth[name][-1][1])
    for name, rows in growth.items():
        tokens, types, decisions = rows[-1]
        up = name == highest
        look: dict[str, Any] = {"textcoords": "offset points", "color": INKS[name], "ha": "right", "fontweight": "bold"}
        look |= {"xytext": (0, 6 if up else -7), "va": "bottom" if up else "top"}
        ax.annotate(TITLES[name], (tokens, types), **look | {"xytext": (40 * (not up), look["xytext"][1])})
        ax.annotate(f"{TITLES[name]} {decisions:.0f}", (tokens, decisions), **look)
