"""Pictures of a training run."""

from collections.abc import Sequence
from typing import Any

from awdlib.figures.style import colour, describe, label_ends, perplexity_axis, use_style
from awdlib.training import EpochRecord


def history_figure(history: Sequence[EpochRecord], floor: float | None = None, title: str = "") -> Any:
    """Training and validation perplexity by epoch, with the floor where it is known (matplotlib).

    Args:
        history: the epochs, in order; at least one.
        floor: the lowest perplexity that any model can reach on the validation text.
        title: what was trained.

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
        label_ends(axes, numbers[-1], ends, apart=1.25)  # the picture is low
        if floor is not None:
            axes.axhline(floor, color=colour("floor"), linestyle="--")
            axes.text(numbers[0], floor, " floor", color=colour("floor"), va="bottom")
        perplexity_axis(axes)
        axes.set_title(title)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    beside = f", floor {floor:.0f}" if floor is not None else ""
    return describe(
        figure,
        f"{title}: perplexity by epoch; after epoch {last.epoch}, {last.train_perplexity:.0f} in training with dropout "
        f"on, {last.valid_perplexity:.0f} in validation{beside}.",
    )
