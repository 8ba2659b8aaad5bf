"""Windows of random length in stills: lengths drawn, what arrives at each row, and what training leaves of the borders.

The runs are of the record ``data/runs/variable-length-bptt.json``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from awdlib import _require as require
from awdlib.batches import WindowLengths
from awdlib.figures.style import BLUE, GOLD, INK, MUTED, ORANGE, PINK, colour, label_end, use_style
from awdlib.figures.window_borders import window_law

ARMS = {"fixed": ("fixed", ORANGE), "random": ("random", BLUE), "unscaled": ("one rate", GOLD),
        "offset": ("offset", PINK)}  # fmt: skip
"""Arms of the experiment: the name beside the line, and the colour."""
TITLES = {"fixed": "fixed windows", "random": "random lengths", "unscaled": "random lengths, one rate for all",
          "offset": "a random offset each epoch"}  # fmt: skip
"""The same in full."""

Run = Mapping[str, Any]


def drawn_figure(lengths: WindowLengths, drawn: Sequence[int]) -> Any:
    """Two panels: the lengths that were drawn beside their probabilities, and the windows that tokens stand in.

    Args:
        lengths: the distribution.
        drawn: lengths, of which there must be at least one.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: nothing was drawn, or no lengths.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.window_runs import drawn_figure
        >>> figure = drawn_figure(WindowLengths(bptt=70), [68, 70, 71, 33])
        >>> [round(float(bar.get_height()), 2) for bar in figure.axes[0].patches if bar.get_height()]
        [0.25, 0.25, 0.25, 0.25]
    """
    import matplotlib.pyplot as plt

    if drawn is None or len(drawn) == 0:
        raise ValueError("no length was drawn: give at least one")
    drawn = [require.whole_number("a length drawn", length, 1) for length in drawn]
    probabilities = window_law(lengths).probabilities()
    at = np.arange(1, max(*probabilities, *drawn) + 1)
    exact = np.array([probabilities.get(int(length), 0.0) for length in at])
    share = np.bincount(drawn, minlength=len(at) + 1)[1:] / len(drawn)
    panels = {"of a window": (exact, share), "of the window a token is in": (exact * at, share * at)}
    with use_style():
        figure, axes = plt.subplots(2, 1, figsize=(6.2, 4.6), sharex=True)
        for ax, (title, (curve, bars)) in zip(axes, panels.items(), strict=True):
            curve, bars = curve / curve.sum(), bars / bars.sum()
            mean = float(at @ curve)
            ax.bar(at, bars, color="#9cc7e6", width=0.9)
            ax.plot(at[curve > 0], curve[curve > 0], ".", color=INK, markersize=4)
            ax.axvline(mean, color=MUTED, linestyle=":")
            ax.annotate(f"mean {mean:.2f} ", (mean, 1.12 * curve.max()), ha="right", color=MUTED)
            ax.set(ylabel="probability", ylim=(0, 1.3 * max(curve.max(), bars.max())))
            ax.set_title(f"length {title}")
        axes[0].annotate("bars: drawn\ndots: exact", (0.01, 0.75), xycoords="axes fraction", color=MUTED, fontsize=10)
        axes[1].set_xlabel("length (tokens)")
        plt.close(figure)
    return figure


def arrival_figure(first: int, fixed: np.ndarray, epochs: np.ndarray, nominal: int) -> Any:
    """The part of the full gradient that arrives at each row: fixed windows, single epochs of random ones, their mean.

    Args:
        first: the first row.
        fixed: (rows,), in every epoch.
        epochs: (epochs, rows), one epoch of random windows each.
        nominal: length of the fixed windows, whose borders are marked; the first begins at ``first``.

    Returns:
        a matplotlib figure of two panels.

    Raises:
        ValueError: the shapes do not fit, or nominal is not positive.

    Example:
        >>> import numpy as np
        >>> from awdlib.figures.window_runs import arrival_figure
        >>> figure = arrival_figure(0, np.ones(6), np.ones((3, 6)), nominal=3)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['fixed windows, every epoch', 'random windows']
    """
    import matplotlib.pyplot as plt

    require.whole_number("nominal", nominal, 1)
    fixed, epochs = np.asarray(fixed, dtype=float), np.asarray(epochs, dtype=float)
    if fixed.ndim != 1 or epochs.ndim != 2 or epochs.shape[1:] != fixed.shape:
        raise ValueError(
            f"epochs is {epochs.shape} and fixed {fixed.shape}: give as many rows in each epoch as in fixed"
        )
    rows = first + np.arange(len(fixed))
    with use_style():
        figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 4.8), sharex=True, sharey=True)
        for border in range(0, len(fixed), nominal):
            above.axvline(first + border - 0.5, color=MUTED, linewidth=0.8, linestyle=":")
        above.plot(rows, 100 * fixed, color=ORANGE, marker=".")
        below.plot(rows, 100 * epochs[:8].T, color=MUTED, linewidth=0.6, alpha=0.5)
        below.plot(rows, 100 * epochs.mean(0), color=BLUE, linewidth=2.4)
        below.annotate(f"mean of {len(epochs)} epochs", (0.01, 0.05), xycoords="axes fraction", color=BLUE,
                       fontweight="bold")  # fmt: skip
        below.annotate("single epochs", (0.99, 0.05), xycoords="axes fraction", color=MUTED, ha="right")
        above.set_title("fixed windows, every epoch", color=ORANGE)
        below.set_title("random windows", color=BLUE)
        below.set(xlabel="row of the text")
        for ax in (above, below):
            ax.set(ylabel="% of the full gradient")
        above.set_ylim(0, None)
        plt.close(figure)
    return figure


def place_differences(runs: Sequence[Run], nominal: int, arm: str) -> np.ndarray:
    """By how much a run's loss on the training text exceeds that of the random arm's run of equal seed, by place.

    Args:
        runs: of the record.
        nominal: length of the windows.
        arm: whose.

    Returns:
        (seeds, nominal), in nats.

    Raises:
        ValueError: there is no such run.

    Example:
        >>> from awdlib.figures.window_runs import place_differences
        >>> runs = [
        ...     {"nominal": 2, "arm": "random", "seed": 1, "places": [2.0, 2.0]},
        ...     {"nominal": 2, "arm": "fixed", "seed": 1, "places": [2.5, 2.0]},
        ... ]
        >>> place_differences(runs, 2, "fixed").tolist()
        [[0.5, 0.0]]
    """
    mine = {run["seed"]: run["places"] for run in runs if (run["nominal"], run["arm"]) == (nominal, arm)}
    random = {run["seed"]: run["places"] for run in runs if (run["nominal"], run["arm"]) == (nominal, "random")}
    if not mine or mine.keys() != random.keys():
        raise ValueError(f"the record has no {arm!r} runs of {nominal} tokens beside random ones of equal seeds")
    return np.array([np.array(mine[seed]) - np.array(random[seed]) for seed in mine])


def places_figure(runs: Sequence[Run], nominal: int, arms: Sequence[str]) -> Any:
    """What training leaves of the borders: the loss on the training text by place in a fixed window, less random's.

    Args:
        runs: of the record.
        nominal: length of the windows.
        arms: which to draw, a panel each.

    Returns:
        a matplotlib figure with a thin line for each seed and a thick one for their mean.

    Raises:
        ValueError: there is no such arm, or no run of it.

    Example:
        >>> from awdlib.figures.window_runs import places_figure
        >>> runs = [{"nominal": 2, "arm": arm, "seed": 1, "places": [2.5, 2.0]} for arm in ("random", "fixed")]
        >>> places_figure(runs, 2, ["fixed"]).axes[0].get_title(loc="left")
        'fixed windows'
    """
    import matplotlib.pyplot as plt

    if not arms or not {*arms} <= {*ARMS}:
        raise ValueError(f"arms are {arms!r}; choose from {', '.join(ARMS)}")
    with use_style():
        figure, panels = plt.subplots(len(arms), 1, figsize=(5.8, 0.6 + 1.9 * len(arms)), sharex=True, sharey=True,
                                      squeeze=False)  # fmt: skip
        for ax, arm in zip(panels[:, 0], arms, strict=True):
            ink = ARMS[arm][1]
            found = place_differences(runs, nominal, arm)
            ax.plot([0, nominal - 1], [0, 0], color=colour("with"), linewidth=1.5)
            ax.plot(found.T, color=ink, alpha=0.4, linewidth=1.0)
            ax.plot(found.mean(0), color=ink, marker="o", markersize=4)
            label_end(ax, nominal - 1, 0, "random", colour("with"))
            ax.set_title(TITLES[arm], color=ink)
            ax.set_xticks(range(0, nominal, 1 if nominal < 20 else 5))
        figure.supylabel("loss more than with random windows (nats)", fontsize=10.5)
        panels[-1, 0].set_xlabel("place in a fixed window (row mod T)")
        plt.close(figure)
    return figure
