"""Rank and frequency: how few words make up most of a text, and how many occur hardly ever (Zipf's law)."""

from collections.abc import Mapping, Sequence
from typing import Any

from awdlib.figures.style import BLUE, GREEN, MUTED, PINK, describe, use_style

#: Of a corpus's name: beside which part of its line it stands, from 0 to 1 along the ranks, and on which side.
PLACES = {"toy": (0.5, "below"), "ptb": (0.4, "below"), "wikitext-2": (0.72, "above")}
INKS = {"toy": GREEN, "ptb": BLUE, "wikitext-2": PINK}  #: of the corpora
TITLES = {"toy": "toy language", "ptb": "PTB", "wikitext-2": "WikiText-2"}  #: as they are written


def zipf_figure(ranks: Mapping[str, Sequence[Sequence[int]]], marks: Mapping[str, Mapping[str, int]]) -> Any:
    """How often the word of each rank occurs, a line a corpus, both axes logarithmic (matplotlib).

    Args:
        ranks: by corpus, some (rank, occurrences) in order of rank, the last of them the last that is drawn.
        marks: by corpus, how often the words that stand for others occur, "<unk>" and "<eos>".

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: a corpus is none of those that have a colour, has no ranks, or no marks.

    Example:
        >>> from awdlib.figures.zipf import zipf_figure
        >>> figure = zipf_figure({"toy": [(1, 900), (10, 100), (100, 9)]}, {"toy": {"<eos>": 900}})
        >>> figure.get_label()
        'Occurrences of the word of each rank: toy language from 900 at rank 1 to 9 at rank 100.'
    """
    import matplotlib.pyplot as plt

    if not ranks or (wrong := [name for name in ranks if name not in INKS or name not in marks or not ranks[name]]):
        known = ", ".join(INKS)
        raise ValueError(f"ranks is of {wrong if ranks else 'no corpus'}: give ranks and marks of some of {known}")
    with use_style():
        figure, ax = plt.subplots(figsize=(6.6, 4.2))
        for name, pairs in ranks.items():
            rank, count = zip(*pairs, strict=True)
            ax.plot(rank, count, color=INKS[name])
            _name(ax, name, rank, count)
            for mark, number in marks[name].items():
                if mark in ("<unk>", "<eos>"):
                    place = min(pairs, key=lambda pair: abs(pair[1] - number))[0]
                    ax.plot(place, number, "o" if mark == "<unk>" else "s", color=INKS[name], markersize=8,
                            markerfacecolor="white", markeredgewidth=2)  # fmt: skip
        ends = [1, max(pairs[-1][0] for pairs in ranks.values())]
        start = 2.2 * max(pairs[0][1] for pairs in ranks.values())
        ax.plot(ends, [start / end for end in ends], color=MUTED, linestyle=":")
        ax.text(30, start / 30, " 1 / rank", color=MUTED, va="bottom")
        ax.text(0.03, 0.05, "○ <unk>   □ <eos>", color=MUTED, transform=ax.transAxes)
        ax.set(xscale="log", yscale="log", xlabel="rank of the word", ylabel="occurrences in the training text")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:,.0f}")
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    course = ", ".join(
        f"{TITLES[name]} from {pairs[0][1]:,} at rank {pairs[0][0]} to {pairs[-1][1]:,} at rank {pairs[-1][0]:,}"
        for name, pairs in ranks.items()
    )
    return describe(figure, f"Occurrences of the word of each rank: {course}.")


def _name(ax: Any, name: str, rank: Sequence[int], count: Sequence[int]) -> None:
    """Write a corpus's name beside its line, where there is room."""
    part, side = PLACES[name]
    place = int(part * (len(rank) - 1))
    above = side == "above"
    ax.annotate(TITLES[name], (rank[place], count[place]), xytext=(24, 20) if above else (-8, -8), color=INKS[name],
                textcoords="offset points", fontweight="bold", ha="left" if above else "right",
                va="bottom" if above else "top")  # fmt: skip
