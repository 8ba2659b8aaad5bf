"""Pictures of models trained with weight drop: their curves, their singular values, and what they make of masks."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from awdlib.figures import comparison
from awdlib.figures.style import BLUE, GOLD, GREEN, INK, MUTED, ORANGE, describe, label_ends, perplexity_axis, use_style

#: the arms of the experiment: name to write, colour, line
ARMS = {
    "none": ("no dropout", MUTED, "-"),
    "weights 0.5": ("weights 0.5", GOLD, "-"),
    "up": ("up", ORANGE, "-"),
    "up, weights 0.3": ("up, weights 0.3", GREEN, "--"),
    "up, weights 0.5": ("up, weights 0.5", BLUE, "-."),
}
SHOWN = 100  #: perplexity above which the arms' curves are cut off: all begin there, and fall at once
LETTERS = "ABCDEFGH"  #: names of curves whose origin is not to be seen


def arms_figure(runs: Sequence[Mapping[str, Any]], floor: float) -> Any:
    """Validation perplexity by epoch of the experiment's arms, a line a run (matplotlib).

    Args:
        runs: each with its "arm", one of `ARMS`, and "valid", as ``data/runs/weight-drop.json`` holds them; runs of
            other arms are left out.
        floor: the lowest perplexity that any model can be expected to reach.

    Returns:
        a matplotlib figure.

    Example:
        >>> from awdlib.figures.weight_drop_runs import ARMS, arms_figure
        >>> figure = arms_figure([{"arm": arm, "valid": [60, 30]} for arm in ARMS], floor=15.5)
        >>> len(figure.axes[0].lines)  # the floor is one
        6
    """
    arms = comparison.curves_by_arm(runs, {arm: (name, ink) for arm, (name, ink, _) in ARMS.items()})
    return comparison.arms_figure(arms, floor, size=(7.4, 4.8), limits=(None, SHOWN))


def trained_figure(runs: Sequence[Mapping[str, Any]]) -> Any:
    """Two panels: singular values of the first layer's recurrent matrix, and perplexity read with masks (matplotlib).

    Args:
        runs: as of `arms_figure`, with "singular_values" and "valid_with_masks"; means over the runs of an arm are
            drawn.

    Returns:
        a matplotlib figure.

    Example:
        >>> from awdlib.figures.weight_drop_runs import ARMS, trained_figure
        >>> run = {"singular_values": [[3.0, 2.0, 1.0]], "valid_with_masks": {"0": 25.0, "0.5": 40.0}}
        >>> figure = trained_figure([{"arm": arm} | run for arm in ARMS])
        >>> [len(axes.lines) for axes in figure.axes]
        [5, 5]
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.2))
        for arm, (name, ink, line) in ARMS.items():
            of_arm = [run for run in runs if run["arm"] == arm]
            values = np.mean([run["singular_values"][0] for run in of_arm], axis=0)
            left.plot(range(1, len(values) + 1), values, line, color=ink, label=name)
            reads = [[*run["valid_with_masks"].values()] for run in of_arm]
            shares = [float(p) for p in of_arm[0]["valid_with_masks"]]
            right.plot(shares, np.mean(reads, axis=0), line, color=ink, label=name)
        left.set(xlabel="number of the singular value", ylabel="singular value", xscale="log", title="the matrix")
        left.set_xticks([1, 2, 5, 10, 20, 50, 100], [1, 2, 5, 10, 20, 50, 100])
        left.minorticks_off()
        left.legend(fontsize=9.5)
        perplexity_axis(right)
        right.xaxis.set_major_locator(plt.MultipleLocator(0.1))
        right.set(xlabel="share of recurrent weights dropped while reading", ylabel="", title="validation perplexity")
        plt.close(figure)
    return figure


def suspects_figure(curves: Sequence[Sequence[float]], floor: float) -> Any:
    """Validation perplexity by epoch of runs that are known by a letter only (matplotlib).

    Args:
        curves: of each run, the perplexity after each epoch.
        floor: the lowest perplexity that any model can be expected to reach.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> from awdlib.figures.weight_drop_runs import suspects_figure
        >>> suspects_figure([[60, 30], [70, 32]], floor=15.5).get_label()
        'Validation perplexity by epoch of 2 runs; at the end A 30, B 32; floor 15.5.'
    """
    import matplotlib.pyplot as plt

    names = LETTERS[: len(curves)]
    inks, dashes = (BLUE, ORANGE, GREEN, INK), ("-", "--", "-.", ":")
    with use_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.4))
        for number, values in enumerate(curves):
            axes.plot(range(1, len(values) + 1), values, dashes[number % 4], color=inks[number % 4])
        axes.axhline(floor, color=GREEN, linestyle="--", linewidth=1)
        axes.text(1, floor, " floor", color=GREEN, va="bottom", fontsize=10)
        perplexity_axis(axes)
        ends = [
            (values[-1], name, inks[number % 4])
            for number, (name, values) in enumerate(zip(names, curves, strict=True))
        ]
        label_ends(axes, len(curves[0]), ends, apart=1.17)
        axes.set_ylabel("validation perplexity")
        plt.close(figure)
    words = ", ".join(f"{name} {values[-1]:.0f}" for name, values in zip(names, curves, strict=True))
    return describe(figure, f"Validation perplexity by epoch of {len(curves)} runs; at the end {words}; floor {floor}.")


def arms_table(runs: Sequence[Mapping[str, Any]], arms: Sequence[str], floor: Mapping[str, float]) -> str:
    """Perplexities of the arms: mean and standard deviation over their runs, and the floor below.

    Args:
        runs: as of `arms_figure`, at least two of each arm, with "train_evaluated_at_end" and "test".
        arms: the rows.
        floor: the lowest perplexity to be expected in "train", "valid" and "test".

    Example:
        >>> from awdlib.figures.weight_drop_runs import arms_table
        >>> runs = [{"arm": "up", "valid": [9, v, 8], "train_evaluated_at_end": 5, "test": 7} for v in (6, 8)]
        >>> print(arms_table(runs, ["up"], {"train": 4, "valid": 5.5, "test": 6}))
                             best valid    last valid    last train          test
        up                    7.0 ± 1.4     8.0 ± 0.0     5.0 ± 0.0     7.0 ± 0.0
        floor                 5.5           5.5           4.0           6.0
    """
    columns = {
        "best valid": ("valid", lambda run: min(run["valid"])),
        "last valid": ("valid", lambda run: run["valid"][-1]),
        "last train": ("train", lambda run: run["train_evaluated_at_end"]),
        "test": ("test", lambda run: run["test"]),
    }
    lines = [f"{'':17}" + "".join(f"{name:>14}" for name in columns)]
    for arm in arms:
        of_arm = [run for run in runs if run.get("arm") == arm]
        found = [[of(run) for run in of_arm] for _, of in columns.values()]
        lines.append(f"{arm:17}" + "".join(f"{mean(values):8.1f} ±{stdev(values):4.1f}" for values in found))
    lines.append(f"{'floor':17}" + "".join(f"{floor[text]:8.1f}      " for text, _ in columns.values()).rstrip())
    return "\n".join(lines)


def gain(runs: Sequence[Mapping[str, Any]], arm: str, other: str) -> tuple[float, float]:
    """By how many nats an arm is better in test than another, mean over their runs, and the standard error of that.

    Args:
        runs: each with its "arm" and "test"; at least two of either arm.
        arm: the one.
        other: the one that it is compared with.

    Example:
        >>> from awdlib.figures.weight_drop_runs import gain
        >>> tests = {"up": (20.0, 20.0), "none": (30.0, 30.0)}
        >>> runs = [{"arm": arm, "test": test} for arm, both in tests.items() for test in both]
        >>> [round(value, 3) for value in gain(runs, "up", "none")]
        [0.405, 0.0]
    """
    logs = [[math.log(run["test"]) for run in runs if run.get("arm") == name] for name in (arm, other)]
    one, two = logs
    return mean(two) - mean(one), math.hypot(*(stdev(values) / len(values) ** 0.5 for values in logs))
