"""What the experiment of the chapter *From SGD to NT-ASGD* measured: when to begin to average, and how steep it was."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from awdlib import _require as require
from awdlib.figures.style import (
    CYCLE,
    GOLD,
    GREEN,
    INK,
    MUTED,
    PINK,
    SKY,
    colour,
    describe,
    label_ends,
    use_style,
)
from awdlib.figures.trigger import compared, levels, trigger_epoch

Run = Mapping[str, Any]

#: The arms in the order of their story: the name to write, and the colour.
NAMES: dict[str, tuple[str, str]] = {
    "constant": ("constant rate", colour("iterate")),
    "plateau": ("halving", GOLD),
    "schedule": ("schedule", GREEN),
    "swa": ("SWA", PINK),
    "ema": ("EMA", SKY),
    "nt-asgd": ("NT-ASGD", colour("average")),
}


def of_arm(runs: Sequence[Run], arm: str) -> list[Run]:
    """What the runs hold of one arm, in their order; where a seed has several values of it, the first.

    Args:
        runs: of the record ``data/runs/nt-asgd.json``.
        arm: one of `NAMES`.

    Raises:
        ValueError: a run has no such arm.

    Example:
        >>> from awdlib.figures.nt_asgd_runs import of_arm
        >>> of_arm([{"arms": [{"arm": "swa", "from": 9}, {"arm": "ema", "from": 0}]}], "ema")
        [{'arm': 'ema', 'from': 0}]
    """
    try:
        return [next(one for one in run["arms"] if one["arm"] == arm) for run in runs]
    except StopIteration:
        raise ValueError(f"the arm is {require.shown(arm)}; a run has none of that name") from None


def starts_figure(runs: Sequence[Run]) -> Any:
    """Validation perplexity of the average by the epoch after which it began, read at four ends (matplotlib).

    Args:
        runs: each with its "starts" and the arm "nt-asgd".

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there are no runs.

    Example:
        >>> from awdlib.figures.nt_asgd_runs import starts_figure
        >>> runs = [{"starts": {"2": [40.0, 30.0, 35.0]}, "arms": [{"arm": "nt-asgd", "from": 1}]}]
        >>> starts_figure(runs).get_label()
        'Perplexity of the average by its start: read after epoch 2, lowest (30.0) when begun after epoch 1.'
    """
    import matplotlib.pyplot as plt

    if not runs:
        raise ValueError("there are no runs to draw: give at least one")
    mean = {int(end): np.mean([run["starts"][end] for run in runs], axis=0) for end in runs[0]["starts"]}
    shades = dict(zip(mean, (MUTED, GOLD, CYCLE[2], colour("average"))[-len(mean) :], strict=True))
    low = min(values.min() for values in mean.values())
    with use_style():
        figure, axes = plt.subplots(figsize=(7.2, 4.0))
        for end, values in mean.items():
            axes.plot(range(end + 1), values, color=shades[end])
            axes.plot(end, values[-1], "o", color=colour("iterate"), markersize=6)
            at = int(values.argmin())
            axes.plot(at, values[at], "o", markersize=10, markerfacecolor="none", markeredgecolor=shades[end])
            axes.annotate(f"read after {end}", (end, values[-1]), xytext=(6, 0), textcoords="offset points",
                          color=shades[end], va="center", fontsize=10)  # fmt: skip
        last = max(mean)
        fired = [one["from"] for one in of_arm(runs, "nt-asgd") if one["from"] is not None]
        axes.plot(fired, [low / 1.1] * len(fired), "^", color=INK, markersize=7)
        axes.set(xlabel="epoch after which averaging begins", ylabel="validation perplexity", yscale="log")
        axes.set_ylim(low / 1.16, min(float(max(values[0] for values in mean.values())), 6 * low))
        axes.set_xlim(-0.5, last * 1.24)
        _plain_ticks(axes)
        axes.set_xticks(range(0, last + 1, max(1, last // 6)))
        note = "○ best start   ● the iterate itself" + ("   ▲ the trigger" if fired else "")
        axes.annotate(note, (0.99, 0.97), xycoords="axes fraction", ha="right", va="top", color=MUTED, fontsize=9)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    words = "; ".join(
        f"read after epoch {end}, lowest ({values.min():.1f}) when begun after epoch {int(values.argmin())}"
        for end, values in mean.items()
    )
    return describe(figure, f"Perplexity of the average by its start: {words}.")


def norms_figure(tenths: Sequence[Sequence[float]], limit: float) -> Any:
    """Gradient norms by epoch before the clip: the median, and the band between the first and the last tenth.

    Args:
        tenths: of each epoch three quantiles: a tenth, the half, nine tenths.
        limit: the norm above which a gradient is clipped.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there are no epochs, an epoch has not three quantiles, or the limit is not positive.

    Example:
        >>> from awdlib.figures.nt_asgd_runs import norms_figure
        >>> norms_figure([[0.1, 0.2, 0.3], [0.1, 0.15, 0.2]], limit=0.25).get_label()
        'Norm of the gradient by epoch: median 0.20 in the first epoch and 0.15 in the last; the clip lies at 0.25.'
    """
    import matplotlib.pyplot as plt

    require.number("limit", limit, "(0, inf)")
    if not tenths or any(len(epoch) != 3 for epoch in tenths):
        raise ValueError(f"the tenths are {require.shown(tenths)}; there must be three for each epoch, of one at least")
    low, middle, high = np.array(tenths).T
    epochs = range(1, len(middle) + 1)
    with use_style():
        figure, axes = plt.subplots(figsize=(6.6, 3.0))
        axes.fill_between(epochs, low, high, color=colour("average"), alpha=0.18, linewidth=0)
        axes.plot(epochs, middle, color=colour("average"))
        axes.axhline(limit, color=PINK, linestyle="--")
        axes.text(epochs[-1], limit, "clip", color=PINK, va="bottom", ha="right")
        label_ends(axes, epochs[-1], [(float(middle[-1]), "median", colour("average"))])
        axes.set(xlabel="epoch", ylabel="gradient norm", ylim=(0, max(float(high.max()), limit) * 1.15))
        axes.xaxis.set_major_locator(_whole())
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(
        figure,
        f"Norm of the gradient by epoch: median {middle[0]:.2f} in the first epoch and {middle[-1]:.2f} in the last; "
        f"the clip lies at {limit:g}.",
    )


def firing_figure(losses: Sequence[float], patience: int) -> Any:
    """A validation curve twice: the level that each rule holds it against, and where the rule fires (matplotlib).

    Args:
        losses: validation losses in order, in nats a token.
        patience: n of the paper.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there are no losses, one is not finite, or patience is negative.

    Example:
        >>> from awdlib.figures.nt_asgd_runs import firing_figure
        >>> firing_figure([5.0, 4.4, 4.1, 4.2, 4.6], patience=1).get_label()
        'The trigger at n = 1 on a curve of 5 epochs: as coded it fires after epoch 5, as printed after epoch 4.'
    """
    import matplotlib.pyplot as plt

    found = {}
    curve = list(losses)
    if not curve:
        raise ValueError("there are no losses to draw: give at least one")
    with use_style():
        figure, pair = plt.subplots(1, 2, figsize=(7.4, 3.3), sharey=True)
        for axes, rule in zip(pair, ("coded", "printed"), strict=True):
            at = found[rule] = trigger_epoch(curve, patience, rule)
            last = at or len(curve)
            epochs = np.arange(1, len(curve) + 1)
            axes.plot(epochs, curve, color=colour("iterate"), alpha=0.35)
            axes.plot(epochs[:last], curve[:last], color=colour("iterate"), marker="o", markersize=3)
            level = levels(curve, patience, rule)[:last]
            axes.step(epochs[:last], level, where="mid", color=GREEN, linewidth=2.2)
            span = compared(last, patience, rule)[0]
            if span:
                axes.axvspan(span[0] - 0.5, span[-1] + 0.5, color=GREEN, alpha=0.12, linewidth=0)
            if at:
                axes.plot(at, curve[at - 1], "o", color=INK, markersize=9)
            where = f"after epoch {at}" if at else "not yet"
            axes.set_title(f"as {rule}, n = {patience}: {where}", fontsize=11)
            axes.set(xlabel="epoch", ylim=(min(curve) - 0.1, min(max(curve), min(curve) + 1.5)))
            axes.xaxis.set_major_locator(_whole())
        pair[0].set_ylabel("validation loss (nats)")
        pair[0].annotate("— compared with", (0.97, 0.95), xycoords="axes fraction", ha="right", va="top", color=GREEN)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    said = {rule: f"after epoch {at}" if at else "not at all" for rule, at in found.items()}
    return describe(
        figure,
        f"The trigger at n = {patience} on a curve of {len(curve)} epochs: as coded it fires {said['coded']}, as "
        f"printed {said['printed']}.",
    )


def _plain_ticks(axes: Any) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.yaxis.set_major_locator(FixedLocator([20, 25, 30, 35, 40, 50, 60, 80, 100, 150]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.xaxis.set_major_locator(_whole())


def _whole() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True)
