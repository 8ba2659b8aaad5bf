"""Pictures of models trained with AR, TAR, both or neither: spectra of their hidden traces, states, learning curves.

What several seeds have in common is in the record ``data/runs/activation-regularization.json``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from awdlib.figures.comparison import draw_arms
from awdlib.figures.style import BLUE, GREEN, MUTED, ORANGE, describe, label_ends, use_style

INKS = {"none": MUTED, "AR": BLUE, "TAR": ORANGE, "both": GREEN}  #: of the arms
DASHES = {"none": "-", "AR": "--", "TAR": "-", "both": (0, (1, 1))}  #: so that ink is not all that tells them apart
PERIODS = (64, 16, 8, 4, 2)  #: words a cycle, on the axis of frequencies


def by_seed(record: Mapping[str, Any], setting: str, arm: str, name: str) -> np.ndarray:
    """What the runs of one arm measured, a row a seed.

    Args:
        record: of ``data/runs/activation-regularization.json``.
        setting: "moderate" or "plain".
        arm: "none", "AR", "TAR" or "both".
        name: of a number, or of a list of numbers, that each run holds.

    Returns:
        (seeds,) or (seeds, length).

    Raises:
        ValueError: the record has no such runs.

    Example:
        >>> from awdlib.figures.penalty_runs import by_seed
        >>> run = {"setting": "plain", "arm": "AR", "test": 30.0}
        >>> by_seed({"runs": [run, run | {"test": 32.0}]}, "plain", "AR", "test").tolist()
        [30.0, 32.0]
    """
    found = [run[name] for run in record["runs"] if (run["setting"], run["arm"]) == (setting, arm)]
    if not found:
        raise ValueError(f"the record has no run of setting {setting!r} and arm {arm!r}: run the experiment to its end")
    return np.array(found)


def spectrum_figure(record: Mapping[str, Any], setting: str = "moderate") -> Any:
    """Power of the hidden trace by frequency, arm by arm, and its ratio to that without penalties (matplotlib).

    Lines are means over seeds, bands reach from the lowest seed to the highest.

    Args:
        record: of ``data/runs/activation-regularization.json``.
        setting: "moderate" or "plain".

    Returns:
        a matplotlib figure of two panels, with the constant part of the traces to the left of each.

    Example:
        >>> from awdlib.figures.penalty_runs import spectrum_figure
        >>> runs = [{"setting": "plain", "arm": arm, "power": [4.0, 2.0, 1.0]} for arm in ("none", "AR", "TAR", "both")]
        >>> figure = spectrum_figure({"piece": 3, "runs": runs}, "plain")
        >>> figure.axes[2].get_ylabel()
        'ratio to none'
    """
    import matplotlib.pyplot as plt

    power = {arm: by_seed(record, setting, arm, "power") for arm in INKS}
    with use_style():
        figure, grid = plt.subplots(
            2, 2, figsize=(6.2, 6.2), width_ratios=[1, 9], height_ratios=[5, 4], sharey="row", sharex="col"
        )
        for arm, values in power.items():
            _spectrum(grid[0], values, arm)
            if arm != "none":
                _spectrum(grid[1], values / power["none"].mean(0), arm)
        for axes in grid.ravel():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        grid[0, 0].set_ylabel("power")
        grid[1, 0].set(ylabel="ratio to none", xticks=[0], xticklabels=["constant\npart"])
        grid[1, 1].set(
            xticks=[2 * record["piece"] / period for period in PERIODS], xticklabels=PERIODS, xlabel="period, in words"
        )
        grid[1, 0].set_yticks([0.2, 0.3, 0.5, 1])
        base = power["none"].mean(0)
        ends = [(values.mean(0)[-1], arm, INKS[arm]) for arm, values in power.items()]
        label_ends(grid[0, 1], len(base) - 1, ends, 1.35)
        label_ends(grid[1, 1], len(base) - 1, [(end / base[-1], arm, ink) for end, arm, ink in ends[1:]])
        for axes in grid[1]:
            axes.axhline(1, color=MUTED, linewidth=1)
        plt.close(figure)
    means = {arm: values.mean(0) for arm, values in power.items()}
    return describe(
        figure,
        "; ".join(
            f"{arm}: power {mean[0]:.2g} of the constant part, {mean[1]:.2g} at the slowest and {mean[-1]:.2g} at the "
            "quickest frequency"
            for arm, mean in means.items()
        ),
    )


def _spectrum(row: Sequence[Any], values: np.ndarray, arm: str) -> None:
    """One arm in one row of panels: its constant part on the left, all other frequencies on the right."""
    ink, low, mean, high = INKS[arm], values.min(0), values.mean(0), values.max(0)
    row[0].plot([0, 0], [low[0], high[0]], color=ink, alpha=0.35, linewidth=7, solid_capstyle="butt")
    row[0].plot(0, mean[0], "_", color=ink, markersize=18, markeredgewidth=2.5)
    frequencies = np.arange(1, len(mean))
    row[1].fill_between(frequencies, low[1:], high[1:], color=ink, alpha=0.15, linewidth=0)
    row[1].plot(frequencies, mean[1:], color=ink, linestyle=DASHES[arm])


def states_figure(record: Mapping[str, Any], setting: str = "moderate") -> Any:
    """How large activations are, and for how long they resemble themselves, arm by arm (matplotlib).

    Args:
        record: of ``data/runs/activation-regularization.json``.
        setting: "moderate" or "plain".

    Returns:
        a matplotlib figure of the distribution of activations and, below, of their correlation by distance.

    Example:
        >>> from awdlib.figures.penalty_runs import states_figure
        >>> one = {"setting": "plain", "histogram": [0.1, 0.8, 0.1], "correlation": [1.0, 0.2]}
        >>> figure = states_figure({"runs": [one | {"arm": arm} for arm in ("none", "AR", "TAR", "both")]}, "plain")
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['activation', 'words apart']
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, (above, below) = plt.subplots(2, 1, figsize=(6.0, 7.2))
        for arm, ink in INKS.items():
            shares = by_seed(record, setting, arm, "histogram").mean(0)
            centres = np.linspace(-1, 1, 2 * len(shares) + 1)[1::2]
            above.plot(centres, shares, color=ink, linestyle=DASHES[arm], label=arm)
            correlation = by_seed(record, setting, arm, "correlation").mean(0)
            below.plot(range(1, len(correlation)), correlation[1:], color=ink, linestyle=DASHES[arm])
        above.set(xlabel="activation", ylabel="share of all activations", yscale="log", ylim=(1e-4, 0.6))
        above.set_xticks([-1, -0.5, 0, 0.5, 1])
        above.yaxis.set_major_formatter("{x:g}")
        above.legend(loc="lower center", handlelength=2.4)
        below.axhline(0, color=MUTED, linewidth=0.8)
        below.set(xlabel="words apart", ylabel="correlation of a unit with itself", xticks=[1, 5, 10, 15, 20])
        plt.close(figure)
    return figure


def learning_figure(record: Mapping[str, Any]) -> Any:
    """Validation perplexity by epoch in both settings, a line a run (matplotlib).

    Args:
        record: of ``data/runs/activation-regularization.json``.

    Returns:
        a matplotlib figure of two panels, one above the other.

    Example:
        >>> from awdlib.figures.penalty_runs import learning_figure
        >>> arms, settings = ("none", "AR", "TAR", "both"), ("plain", "moderate")
        >>> runs = [{"setting": one, "arm": arm, "valid": [60.0, 30.0]} for one in settings for arm in arms]
        >>> [axes.get_title(loc="left") for axes in learning_figure({"floor": {"valid": 15.5}, "runs": runs}).axes]
        ['no dropout', 'with moderate dropout']
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, panels = plt.subplots(2, 1, figsize=(6.2, 7.4))
        for axes, (setting, title) in zip(
            panels, {"plain": "no dropout", "moderate": "with moderate dropout"}.items(), strict=True
        ):
            curves = {arm: (ink, by_seed(record, setting, arm, "valid").tolist()) for arm, ink in INKS.items()}
            draw_arms(axes, curves, record["floor"]["valid"])
            axes.set_title(title)
            axes.set_ylim(top=60)
        plt.close(figure)
    return figure
