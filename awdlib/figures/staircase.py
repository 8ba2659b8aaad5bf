"""A model built up part by part: what each stair is worth, and at which words it still loses against the language."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from awdlib.figures.style import BLUE, EMPTY, GREEN, INK, MUTED, ORANGE, PINK, colour, describe, use_style

COLUMNS = 3  #: kinds of words side by side
Stairs = Mapping[str, Sequence[float]]  #: test perplexity of each seed, by the name to write, from the bottom up

NAMES = {
    "plain": "plain LSTM",
    "zaremba": "ordinary dropout,\nfalling rate",
    "masks": "locked masks, embedding\nand weight drop",
    "tied": "tied softmax,\nweight decay",
    "penalties": "AR, TAR,\nrandom windows",
    "ntasgd": "NT-ASGD",
    "finetuned": "fine-tuning",
    "cache": "continuous cache",
}  #: of the recorded stairs, as they are written


def stair_runs(record: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What was measured on each stair, a run a seed, the three topmost ones out of the last trained stair's runs.

    Args:
        record: of ``book/experiments/awd_lstm.py``.

    Returns:
        by the stair, in order.

    Example:
        >>> from awdlib.figures.staircase import stair_runs
        >>> top = {"stair": "ntasgd", "test": 24.0, "finetuned": {"test": 23.5}, "cache": {"test": 21.0}}
        >>> found = stair_runs({"stairs": {"plain": "", "ntasgd": ""}, "runs": [{"stair": "plain", "test": 28.0}, top]})
        >>> {stair: [run["test"] for run in runs] for stair, runs in found.items()}
        {'plain': [28.0], 'ntasgd': [24.0], 'finetuned': [23.5], 'cache': [21.0]}
    """
    found = {stair: [run for run in record["runs"] if run["stair"] == stair] for stair in record["stairs"]}
    for extra in ("finetuned", "cache"):
        found[extra] = [run[extra] for run in record["runs"] if extra in run]
    return found


def staircase_figure(stairs: Stairs, floor: float) -> Any:
    """Test perplexity stair by stair: a tread at the mean over seeds, a dot a seed, an arrow for what each part did.

    Args:
        stairs: test perplexities by the name of the part that was added, from the bottom up.
        floor: the lowest perplexity that any model can reach.

    Returns:
        a matplotlib figure, whose label is its text alternative; the height is in nats above the floor.

    Raises:
        ValueError: there are fewer than two stairs, or one has no run.

    Example:
        >>> from awdlib.figures.staircase import staircase_figure
        >>> staircase_figure({"plain": [28.0, 30.0], "dropout": [24.0]}, floor=15.8).get_label()
        'Test perplexity by stair, floor 15.8: plain 29.0, dropout 24.0.'
    """
    import matplotlib.pyplot as plt

    if len(stairs) < 2 or not all(len(values) for values in stairs.values()):
        raise ValueError(f"there are {len(stairs)} stairs; give at least two, each with a run")
    means = [float(np.mean(values)) for values in stairs.values()]
    heights = [float(np.mean(np.log(values))) - math.log(floor) for values in stairs.values()]
    with use_style():
        figure, axes = plt.subplots(figsize=(5.6, 0.6 * len(stairs) + 0.9))
        for at, (values, height) in enumerate(zip(stairs.values(), heights, strict=True)):
            before = heights[at - 1] if at else height
            change = height - before
            ink = BLUE if change <= 0 else ORANGE
            axes.barh(at, min(height, before), color=EMPTY, height=0.62)
            axes.barh(at, abs(change), left=min(height, before), color=ink, height=0.62)
            axes.plot(np.log(values) - math.log(floor), [at] * len(values), "o", color=INK, markersize=3.5)
            said = f"{means[at]:.1f}" + (f"  ({change:+.3f})".replace("-", "−") if at else "")
            beyond = max(height, before, *(math.log(value / floor) for value in values))
            axes.annotate(said, (beyond, at), xytext=(7, 0), textcoords="offset points", va="center", fontsize=9,
                          color=ink if at else INK, fontweight="bold")  # fmt: skip
        axes.axvline(0, color=colour("floor"), linewidth=2)
        axes.annotate(f"floor {floor:.1f}", (0, -0.75), xytext=(4, 0), textcoords="offset points",
                      color=colour("floor"), fontsize=9, va="center")  # fmt: skip
        axes.set(xlabel="nats a word above the floor", xlim=(0, 1.34 * max(heights)), ylim=(len(stairs) - 0.5, -1.05))
        axes.set_yticks(range(len(stairs)), ["plus " * bool(at) + name for at, name in enumerate(stairs)], fontsize=9)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(False)
        plt.close(figure)
    named = ", ".join(f"{name} {mean:.1f}".replace("\n", " ") for name, mean in zip(stairs, means, strict=True))
    return describe(figure, f"Test perplexity by stair, floor {floor:.1f}: {named}.")


def excess_figure(excess: Mapping[str, Mapping[str, float]]) -> Any:
    """Where models lose against the language: nats above the floor, split by kind of word, a bar a model.

    Args:
        excess: by the model's name, from the bottom up, nats a word of the text by the kind of word; kinds add up.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there is no model, or two are split into other kinds.

    Example:
        >>> from awdlib.figures.staircase import excess_figure
        >>> excess_figure({"plain": {"nouns": 0.3, "names": 0.2}, "best": {"nouns": 0.2, "names": 0.05}}).get_label()
        'Nats a word above the floor. plain: nouns 0.30, names 0.20; best: nouns 0.20, names 0.05.'
    """
    import matplotlib.pyplot as plt

    kinds = [*next(iter(excess.values()), {})]
    if not kinds or any([*parts] != kinds for parts in excess.values()):
        raise ValueError("excess is split into other kinds from model to model, or there is none: use the same for all")
    inks = [BLUE, ORANGE, GREEN, PINK, MUTED, INK]
    with use_style():
        rows = math.ceil(len(kinds) / COLUMNS)
        figure, grid = plt.subplots(
            rows, COLUMNS, figsize=(5.6, rows * (0.27 * len(excess) + 0.5)), sharey=True, sharex=True, squeeze=False
        )
        for axes in grid.flat[len(kinds) :]:
            axes.remove()
        for axes, kind, ink in zip(grid.flat, kinds, inks * len(kinds), strict=False):
            values = [parts[kind] for parts in excess.values()]
            axes.barh(range(len(values)), values, color=ink, height=0.66)
            for at, value in enumerate(values):
                axes.annotate(f"{round(value, 2) + 0.0:.2f}".replace("-", "−"), (max(value, 0), at), xytext=(3, 0),
                              textcoords="offset points", va="center", fontsize=8)  # fmt: skip
            axes.set_title(kind, fontsize=9.5, color=ink)
            axes.set_xticks([])
            axes.grid(False)
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(axis="y", length=0, labelcolor=INK)
        top = max(max(parts.values()) for parts in excess.values())
        grid[0, 0].set(xlim=(min(0.0, *(min(parts.values()) for parts in excess.values())), 1.45 * top))
        for axes in grid[:, 0]:
            axes.set_yticks(range(len(excess)), [name.replace("\n", " ") for name in excess], fontsize=9)
        grid[0, 0].invert_yaxis()
        plt.close(figure)
    named = "; ".join(
        f"{name}: ".replace("\n", " ") + ", ".join(f"{kind} {value:.2f}" for kind, value in parts.items())
        for name, parts in excess.items()
    )
    return describe(figure, f"Nats a word above the floor. {named}.")
