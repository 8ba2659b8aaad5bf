"""Two runs of one seed that differ in one part: both curves, and their difference in nats by epoch."""

import math
from collections.abc import Sequence
from typing import Any

from awdlib import _require as require
from awdlib.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, describe, label_ends, perplexity_axis, use_style


def two_runs_figure(full: Sequence[float], other: Sequence[float], name: str, floor: float | None = None) -> Any:
    """Validation perplexity of the full model and of another, and the other's loss minus the full model's.

    Args:
        full: loss after each epoch, in nats.
        other: the same of the other run.
        name: what the other one is, as in "without AR/TAR".
        floor: the lowest loss that any model can be expected to reach, in nats.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: no epochs, or not as many of both.

    Example:
        >>> from awdlib.figures.two_runs import two_runs_figure
        >>> two_runs_figure([4.0, 3.5, 3.2], [3.9, 3.5, 3.4], "without dropout").get_label()
        'Full model and the one without dropout, validation: after epoch 3, perplexity 25 and 30; the difference goes \
from −0.10 nats in epoch 1 to +0.20 in epoch 3.'
    """
    import matplotlib.pyplot as plt
    import numpy as np

    require.text("name", name)
    if not full or len(full) != len(other):
        raise ValueError(f"there are {len(full)} epochs of one run and {len(other)} of the other; give as many of both")
    epochs, gap = range(1, len(full) + 1), np.array(other) - np.array(full)
    with use_style():
        figure, (top, low) = plt.subplots(
            2, 1, figsize=(5.4, 4.8), sharex=True, gridspec_kw={"height_ratios": [3, 2]}
        )  # fmt: skip
        for values, ink, mark in ((full, BLUE, "o"), (other, ORANGE, "s")):
            top.plot(epochs, np.exp(values), color=ink, marker=mark, markersize=3.5)
        perplexity_axis(top)
        last = [(float(np.exp(full[-1])), "full", BLUE), (float(np.exp(other[-1])), name.replace(" ", "\n", 1), ORANGE)]
        label_ends(top, len(full), last, apart=1.7)
        if floor is not None:
            top.axhline(np.exp(floor), color=GREEN, linestyle="--")
            top.text(1, np.exp(floor), " floor", color=GREEN, va="bottom")
        seen = [*full, *other, *([] if floor is None else [floor])]
        ends = 0.85 * float(np.exp(min(seen))), 1.8 * float(np.exp(max(seen)))  # the upper name may be pushed up
        top.set(xlabel="", ylabel="perplexity, validation", ylim=ends)
        low.bar(epochs, gap, width=0.7, color=[ORANGE if value > 0 else BLUE for value in gap])
        low.axhline(0, color=MUTED, linewidth=1)
        low.set(xlabel="epoch", ylabel=f"{name.split()[0]} − full, nats")
        low.set_title("above 0: the full model is ahead", fontsize=10)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(figure, _sentence(full, other, name))


def _sentence(full: Sequence[float], other: Sequence[float], name: str) -> str:
    first, last = (f"{other[at] - full[at]:+.2f}".replace("-", "−") for at in (0, -1))
    return (
        f"Full model and the one {name}, validation: after epoch {len(full)}, perplexity {math.exp(full[-1]):.0f} and "
        f"{math.exp(other[-1]):.0f}; the difference goes from {first} nats in epoch 1 to {last} in epoch "
        f"{len(full)}."
    )


def gap_lines_figure(gaps: Sequence[Sequence[float]], name: str) -> Any:
    """The difference from the full model by epoch, a line a seed, and where it changes its sign for good.

    Args:
        gaps: loss of the other run minus the full model's after each epoch, in nats, for each seed.
        name: what the other one is, as in "without dropout".

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there are no seeds, or not as many epochs of all.

    Example:
        >>> from awdlib.figures.two_runs import gap_lines_figure
        >>> sentence = gap_lines_figure([[-0.1, -0.2, 0.1], [0.1, -0.1, 0.3]], "without dropout").get_label()
        >>> sentence.partition(": ")[2]
        'from −0.20 nats to +0.30; above 0 for good from epoch 3, 3 on.'
    """
    import matplotlib.pyplot as plt

    if not gaps or len({*map(len, gaps)}) > 1:
        raise ValueError(f"gaps have {[*map(len, gaps)]} epochs; give as many for each seed")
    epochs = range(1, len(gaps[0]) + 1)
    middle = [sum(values) / len(gaps) for values in zip(*gaps, strict=True)]
    with use_style():
        figure, axes = plt.subplots(figsize=(5.4, 3.4))
        for values in gaps:
            axes.plot(epochs, values, color=MUTED, linewidth=1.2)
        axes.plot(epochs, middle, color=INK, linewidth=2.6)
        axes.fill_between(epochs, middle, 0, where=[value > 0 for value in middle], color=ORANGE, alpha=0.3)
        axes.fill_between(epochs, middle, 0, where=[value < 0 for value in middle], color=BLUE, alpha=0.3)
        axes.axhline(0, color=INK, linewidth=1)
        where: dict[str, Any] = {"xycoords": "axes fraction", "fontsize": 10}
        axes.annotate("above 0: the full model is ahead", (0.02, 0.95), color=ORANGE, va="top", **where)
        axes.annotate(f"below 0: it is behind the one {name}", (0.02, 0.06), color=BLUE, **where)
        axes.set(xlabel="epoch", ylabel="difference, nats")
        axes.margins(y=0.15)  # room for the words
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    low, high = (f"{end:+.2f}".replace("-", "−") for end in (min(map(min, gaps)), max(map(max, gaps))))
    since = ", ".join(str(sign_since(values)) for values in gaps)
    return describe(
        figure,
        f"Validation loss {name} minus the full model, {len(gaps)} seeds: from {low} nats to {high}; above 0 for good "
        f"from epoch {since} on.",
    )


def sign_since(gap: Sequence[float]) -> int:
    """The epoch from which on a difference keeps the sign that it ends with.

    Args:
        gap: after each epoch.

    Example:
        >>> from awdlib.figures.two_runs import sign_since
        >>> sign_since([0.1, -0.2, 0.1, 0.3])
        3
    """
    ends_above = gap[-1] > 0
    return max((epoch for epoch, value in enumerate(gap, 1) if (value > 0) != ends_above), default=0) + 1
