"""The complete model at work: which promise each broken line breaks, and what the terms of the loss weigh."""

from collections.abc import Mapping, Sequence
from typing import Any

from awdlib import _require as require
from awdlib.figures.style import BLUE, GREEN, GRID, MUTED, ORANGE, PINK, describe, label_ends, use_style


def faults_figure(faults: Mapping[str, Sequence[str]], promises: Sequence[str]) -> Any:
    """Which promises of a contract each change of the code breaks: a row a change, a column a promise.

    Args:
        faults: what was changed → the promises that were broken by it, as `awdlib.contracts.Report.broken` has them.
        promises: all of them, in the order of the columns.

    Returns:
        a matplotlib figure; columns are numbered from 1.

    Raises:
        ValueError: there is nothing to show, or a broken promise is none of the promises.

    Example:
        >>> from awdlib.figures.whole_model import faults_figure
        >>> figure = faults_figure({"no AR": ["AR"], "no TAR": ["TAR"]}, ["entropy", "AR", "TAR"])
        >>> print(figure.get_label())
        2 changes, 3 promises. no AR: breaks 2. no TAR: breaks 3.
    """
    import matplotlib.pyplot as plt

    if not faults or not promises:
        raise ValueError("nothing to show: give at least one change and one promise")
    for broken in faults.values():
        for promise in broken:
            if promise not in promises:
                raise ValueError(f"{require.shown(promise)} is none of the promises: {', '.join(promises)}")
    columns, rows = len(promises), len(faults)
    with use_style():
        figure, axes = plt.subplots(figsize=(5.4, 0.55 + 0.27 * rows))
        for row, broken in enumerate(faults.values()):
            for column, promise in enumerate(promises):
                red = promise in broken
                axes.text(column, row, "✗" if red else "·", ha="center", va="center",
                          color=ORANGE if red else MUTED, fontweight="bold" if red else "normal",
                          fontsize=13 if red else 9)  # fmt: skip
        axes.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6))
        axes.set_xticks(range(columns), [str(number) for number in range(1, columns + 1)], fontsize=9)
        axes.set_yticks(range(rows), [*faults], fontsize=9)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.hlines([row + 0.5 for row in range(rows - 1)], -0.6, columns - 0.4, color=GRID, linewidth=0.6)
        axes.grid(visible=False)
        plt.close(figure)
    told = [
        f"{name}: breaks {', '.join(str(promises.index(promise) + 1) for promise in broken) or 'none'}."
        for name, broken in faults.items()
    ]
    return describe(figure, f"{rows} changes, {columns} promises. {' '.join(told)}")


def terms_figure(terms: Mapping[str, Sequence[float]]) -> Any:
    """The terms of the loss, epoch by epoch, on a logarithmic axis.

    Args:
        terms: "cross entropy", "AR" and "TAR", each with a value an epoch, in nats.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: a term is missing or of another length, or a value is not positive.

    Example:
        >>> from awdlib.figures.whole_model import terms_figure
        >>> print(terms_figure({"cross entropy": [6.0, 3.5], "AR": [0.01, 0.02], "TAR": [0.01, 0.03]}).get_label())
        Terms of the loss over 2 epochs: cross entropy from 6 to 3.5, AR from 0.01 to 0.02, TAR from 0.01 to 0.03 nats.
    """
    import matplotlib.pyplot as plt

    inks = {"cross entropy": BLUE, "AR": GREEN, "TAR": PINK}
    if {*terms} != {*inks}:
        raise ValueError(f"terms are {', '.join(terms) or 'none'}; they must be {', '.join(inks)}")
    epochs = len(terms["cross entropy"])
    for name, values in terms.items():
        if len(values) != epochs or not epochs:
            raise ValueError(f"{name} has {len(values)} values; all terms need one for each epoch, and at least one")
        for value in values:
            require.number(name, value, "(0, inf)")
    with use_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.4))
        for name, values in terms.items():
            axes.plot(range(1, epochs + 1), values, color=inks[name])
        axes.set_yscale("log")
        label_ends(axes, epochs, [(values[-1], name, inks[name]) for name, values in terms.items()], apart=1.5)
        axes.set(xlabel="epoch", ylabel="nats")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        plt.close(figure)
    told = ", ".join(f"{name} from {values[0]:.2g} to {values[-1]:.2g}" for name, values in terms.items())
    return describe(figure, f"Terms of the loss over {epochs} epochs: {told} nats.")
