"""Learning curves of several runs in one picture, from their records: of single runs, or of an experiment's arms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from awdlib.figures.style import CYCLE, MUTED, PAPER, colour, describe, label_ends, perplexity_axis, use_style

Arms = Mapping[str, tuple[str, Sequence[Sequence[float]]]]  #: by name: the colour, and of each run a value an epoch


def comparison_figure(records: Mapping[str, dict[str, Any]], title: str = "") -> Any:
    """Validation (solid) and training perplexity (dotted) by epoch of several runs (matplotlib).

    A ring marks the epoch after which a run began to average. The floor is drawn if all runs are of one corpus and it
    is known.

    Args:
        records: name -> record of the run (`awdlib.runs.read_record`); each with at least one epoch.
        title: above the picture.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there is no run, or one without a finished epoch.

    Example:
        Of a record only the epochs, the averaging and the corpus are looked at:

        >>> from awdlib.figures.comparison import comparison_figure
        >>> epochs = [{"epoch": 1, "train_perplexity": 60.0, "valid_perplexity": 40.0}]
        >>> record = {"epochs": epochs, "averaging": None, "corpus": {"name": "toy", "floor": {"valid": 15.5}}}
        >>> comparison_figure({"one": record, "other": record}).get_label()
        'validation perplexity by epoch of 2 runs: one 40.0 after epoch 1; other 40.0 after epoch 1; floor 15.5.'
    """
    import matplotlib.pyplot as plt

    if not records:
        raise ValueError("there are no runs to compare: name at least one")
    for name, record in records.items():
        if not record["epochs"]:
            raise ValueError(f"{name} has no finished epoch yet: leave it out, or wait for one")
    with use_style():
        figure, axes = plt.subplots(figsize=(7.2, 4.0))
        ends = [
            _draw(axes, name, record, CYCLE[number % len(CYCLE)], "-" if number < len(CYCLE) else "--")
            for number, (name, record) in enumerate(records.items())
        ]
        label_ends(axes, max(record["epochs"][-1]["epoch"] for record in records.values()), ends)
        floor = _common_floor(records)
        if floor is not None:
            axes.axhline(floor, color=colour("floor"), linestyle=(0, (1, 2)))
            axes.text(1, floor, "floor", color=colour("floor"), va="bottom")
        perplexity_axis(axes)
        axes.set_title(title)
        key = "— validation   ··· training   ○ averaging begins"
        axes.annotate(key, (0.99, 0.97), xycoords="axes fraction", ha="right", va="top", color=MUTED, fontsize=9)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(figure, _sentence(records, title, floor))


def curves_by_arm(runs: Sequence[Mapping[str, Any]], inks: Mapping[str, tuple[str, str]]) -> Arms:
    """The validation curves of an experiment, as `draw_arms` takes them.

    Args:
        runs: each with its "arm" and its "valid" perplexities; runs of other arms than those of inks are left out.
        inks: by arm, in the order of drawing: the name to write, and the colour; arms without a run are left out.

    Returns:
        the colour and the curves of each name.

    Example:
        >>> from awdlib.figures.comparison import curves_by_arm
        >>> runs = [{"arm": arm, "valid": [60, last]} for arm, last in (("up", 30), ("none", 50), ("up", 32))]
        >>> curves_by_arm(runs, {"none": ("nothing", "gray"), "up": ("up", "blue"), "h": ("h", "red")})
        {'nothing': ('gray', [[60, 50]]), 'up': ('blue', [[60, 30], [60, 32]])}
    """
    found = {arm: [run["valid"] for run in runs if run["arm"] == arm] for arm in inks}
    return {name: (ink, found[arm]) for arm, (name, ink) in inks.items() if found[arm]}


def arms_figure(
    arms: Arms,
    floor: float,
    size: tuple[float, float] = (7.4, 4.4),
    limits: tuple[float | None, float | None] = (None, None),
    apart: float = 1.08,
) -> Any:
    """A picture of what `draw_arms` draws, and nothing else (matplotlib).

    Args:
        arms: by the name to write: the colour, and of each run the perplexity after each epoch.
        floor: the lowest perplexity that any model can be expected to reach.
        size: of the picture, in inches.
        limits: lowest and highest perplexity shown; None leaves it to the curves.
        apart: smallest ratio between the heights of two names.

    Returns:
        a matplotlib figure.

    Example:
        >>> from awdlib.figures.comparison import arms_figure
        >>> arms = {"plain": ("black", [[60, 50]]), "dropped": ("blue", [[70, 30]])}
        >>> figure = arms_figure(arms, floor=15.5, limits=(10, 80))
        >>> [round(float(end)) for end in figure.axes[0].get_ylim()]
        [10, 80]
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, axes = plt.subplots(figsize=size)
        draw_arms(axes, arms, floor, apart)
        axes.set_ylim(*limits)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return figure


def draw_arms(axes: Any, arms: Arms, floor: float, apart: float = 1.08) -> None:
    """Validation perplexity by epoch of an experiment's arms, a line a run; each arm's name where its mean ends.

    A run with fewer epochs than the longest ends in a dot.

    Args:
        axes: matplotlib axes to draw on.
        arms: by the name to write: the colour, and of each run the perplexity after each epoch.
        floor: the lowest perplexity that any model can be expected to reach.
        apart: smallest ratio between the heights of two names.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.comparison import draw_arms
        >>> from awdlib.figures.style import BLUE, ORANGE
        >>> axes = Figure().add_subplot()
        >>> draw_arms(axes, {"plain": (ORANGE, [[60, 50]]), "dropped": (BLUE, [[70, 30], [72, 32]])}, floor=15.5)
        >>> [(text.get_text(), round(text.xy[1])) for text in axes.texts[1:]]
        [('dropped', 31), ('plain', 50)]
    """
    ends = []
    for name, (ink, runs) in arms.items():
        for values in runs:
            axes.plot(range(1, len(values) + 1), values, color=ink, alpha=0.85)
        ends.append((float(np.mean([values[-1] for values in runs])), name, ink))
    axes.axhline(floor, color=colour("floor"), linestyle="--")
    axes.text(1, floor, " floor: what the grammar itself reaches", color=colour("floor"), va="bottom", fontsize=10)
    longest = max(len(values) for _, runs in arms.values() for values in runs)
    for ink, runs in arms.values():  # above all lines
        for values in runs:
            if len(values) < longest:
                axes.plot(len(values), values[-1], "o", color=ink, markersize=5)
    label_ends(axes, longest, ends, apart)
    perplexity_axis(axes)
    axes.set_ylabel("validation perplexity")


def _draw(axes: Any, name: str, record: dict[str, Any], color: str, style: str) -> tuple[float, str, str]:
    """Both curves of one run; returns the label of its validation curve."""
    epochs = record["epochs"]
    numbers = [epoch["epoch"] for epoch in epochs]
    valid = [epoch["valid_perplexity"] for epoch in epochs]
    axes.plot(numbers, [epoch["train_perplexity"] for epoch in epochs], ":", color=color, linewidth=1.2)
    axes.plot(numbers, valid, style, color=color, marker="o" if len(epochs) == 1 else "", markersize=4)
    if record["averaging"]:
        began = record["averaging"]["begun_after_epoch"]
        axes.plot(began, valid[began - 1], "o", markersize=8, markerfacecolor=PAPER, markeredgecolor=color)
    return valid[-1], f"{name} {valid[-1]:.1f}", color


def _common_floor(records: Mapping[str, dict[str, Any]]) -> float | None:
    """The validation floor, if all runs share their corpus and it is known."""
    if len({record["corpus"]["name"] for record in records.values()}) > 1:
        return None
    return next(iter(records.values()))["corpus"]["floor"].get("valid")


def _sentence(records: Mapping[str, dict[str, Any]], title: str, floor: float | None) -> str:
    def words(name: str, record: dict[str, Any]) -> str:
        began = record["averaging"]
        averaging = f", averaging from epoch {began['begun_after_epoch'] + 1}" if began else ""
        last = record["epochs"][-1]
        return f"{name} {last['valid_perplexity']:.1f} after epoch {last['epoch']}{averaging}"

    beside = f"; floor {floor:.1f}" if floor is not None else ""
    runs = "; ".join(words(name, record) for name, record in records.items())
    count = "1 run" if len(records) == 1 else f"{len(records)} runs"
    return f"{title + ': ' if title else ''}validation perplexity by epoch of {count}: {runs}{beside}."
