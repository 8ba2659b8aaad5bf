"""One set of weights, many perplexities: what an evaluation says that is not done by the book."""

from collections.abc import Mapping
from typing import Any

from awdlib import _require as require
from awdlib.figures.style import BLUE, INK, MUTED, ORANGE, describe, use_style


def perplexities_figure(found: Mapping[str, float], right: str) -> Any:
    """What each way to evaluate says of the same model, as points beside the right one (matplotlib).

    Args:
        found: perplexity by way of evaluating, in the order of drawing.
        right: the way that is right, one of these.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: the right way is not among those found, or a perplexity is not a positive number.

    Example:
        >>> from awdlib.figures.one_model import perplexities_figure
        >>> perplexities_figure({"as it should be": 22.3, "dropout left on": 26.3}, "as it should be").get_label()
        'Perplexity of one model, as it should be: 22.30; dropout left on: 26.30 (+18%).'
    """
    import matplotlib.pyplot as plt

    if right not in found:
        raise ValueError(f"{right!r} is none of the ways that were tried: {', '.join(found)}")
    for way, value in found.items():
        require.number(f"the perplexity of {way!r}", value, "(0, inf)")
    true = found[right]
    with use_style():
        figure, axes = plt.subplots(figsize=(7.2, 0.9 + 0.42 * len(found)))
        for height, (way, value) in enumerate(found.items()):
            ink = BLUE if way == right else MUTED if abs(value / true - 1) < 0.01 else ORANGE
            axes.plot([true, value], [height, height], color=ink, linewidth=3, alpha=0.4)
            axes.plot(value, height, "o", color=ink, markersize=8)
            text = f"{value:.2f}" + ("" if way == right else f"  ({_off(value, true)})")
            left = value < 0.97 * true
            axes.annotate(text, (value, height), xytext=(-9 if left else 9, 0), textcoords="offset points",
                          ha="right" if left else "left", va="center", color=ink, fontsize=10)  # fmt: skip
        axes.axvline(true, color=BLUE, linewidth=1, linestyle=(0, (1, 2)))
        low, high = min(found.values()), max(found.values())
        wide = high - low
        axes.set(xlim=(low - 0.32 * wide, high + 0.32 * wide), ylim=(len(found) - 0.4, -0.6))
        axes.set_yticks(range(len(found)), [*found])
        axes.set_xlabel("perplexity that is reported", color=INK)
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    ways = "; ".join(f"{way}: {value:.2f} ({_off(value, true)})" for way, value in found.items() if way != right)
    return describe(figure, f"Perplexity of one model, {right}: {true:.2f}; {ways}.")


def _off(value: float, true: float) -> str:
    share = value / true - 1
    return f"{share:+.0%}" if abs(share) >= 0.01 else f"{share:+.2%}"
