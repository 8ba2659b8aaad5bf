"""Pictures of a training run."""

from collections.abc import Sequence
from typing import Any

from awdlib.figures.style import PAPER, colour, describe, label_ends, perplexity_axis, use_style
from awdlib.training import EpochRecord


def history_figure(
    history: Sequence[EpochRecord], floor: float | None = None, title: str = "", iterate: Sequence[float] = ()
) -> Any:
    """Training and validation perplexity by epoch, with the floor where it is known (matplotlib).

    A ring marks the epoch after which averaging began, if it did.

    Args:
        history: the epochs, in order; at least one.
        floor: the lowest perplexity that any model can reach on the validation text.
        title: what was trained.
        iterate: validation perplexity of the weights that were not averaged, after each epoch that was judged by the
            average: drawn beside it.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> from awdlib.figures.training import history_figure
        >>> from awdlib.training import EpochRecord
        >>> losses = {"train_loss": 4.0, "valid_loss": 3.5, "averaging": False, "averaging_began": None}
        >>> figure = history_figure([EpochRecord(epoch=1, updates=90, seconds=2.0, **losses)], title="toy")
        >>> figure.get_label()
        'toy: perplexity by epoch; after epoch 1, 55 in training with dropout on, 33 in validation.'
    """
    import matplotlib.pyplot as plt

    numbers = [record.epoch for record in history]
    last = history[-1]
    with use_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.2))
        ends = []
        for role in ("train", "valid"):
            values = [getattr(record, f"{role}_perplexity") for record in history]
            axes.plot(numbers, values, color=colour(role))
            ends.append((values[-1], f"{role} {values[-1]:.0f}", colour(role)))
        if iterate:
            ends.append((iterate[-1], f"iterate {iterate[-1]:.0f}", colour("iterate")))
            axes.plot(numbers[-len(iterate) :], iterate, color=colour("iterate"), marker="o", markersize=3)
        _mark_trigger(axes, history)
        label_ends(axes, numbers[-1], ends, apart=1.25)  # the picture is low
        if floor is not None:
            axes.axhline(floor, color=colour("floor"), linestyle="--")
            axes.text(numbers[0], floor, " floor", color=colour("floor"), va="bottom")
        perplexity_axis(axes)
        axes.set_title(title)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    beside = f", floor {floor:.0f}" if floor is not None else ""
    began = [record.epoch for record in history if record.averaging_began]
    beside += f"; averaging began after epoch {began[0]}" if began else ""
    beside += f", and the iterate itself is at {iterate[-1]:.0f}" if iterate else ""
    return describe(
        figure,
        f"{title}: perplexity by epoch; after epoch {last.epoch}, {last.train_perplexity:.0f} in training with dropout "
        f"on, {last.valid_perplexity:.0f} in validation{beside}.",
    )


def _mark_trigger(axes: Any, history: Sequence[EpochRecord]) -> None:
    """A ring on the validation curve where averaging began, and what began it."""
    for record in history:
        if record.averaging_began:
            axes.plot(record.epoch, record.valid_perplexity, "o", markersize=8, markerfacecolor=PAPER,
                      markeredgecolor=colour("valid"))  # fmt: skip
            said = "the trigger fires" if record.averaging_began == "trigger" else "averaging begins"
            axes.annotate(said, (record.epoch, record.valid_perplexity), xytext=(0, 14), textcoords="offset points",
                          ha="center", color=colour("valid"), fontsize=9)  # fmt: skip
