"""Pictures of overfitting: curves against the floor, where the excess comes from, sizes and shares, arms, schedules."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures import comparison
from awdlib.figures.style import (
    BLUE,
    EMPTY,
    GOLD,
    INK,
    MUTED,
    ORANGE,
    PINK,
    SKY,
    colour,
    describe,
    label_end,
    label_ends,
    perplexity_axis,
    use_style,
)
from awdlib.training_config import TrainConfig

Curves = Sequence[Sequence[float]]  #: a curve a run, a value an epoch

#: what each arm of the chapter's experiment drops, in words, and its colour
ARMS = {
    "none": ("nothing", MUTED),
    "up": ("up", BLUE),
    "h": ("h", ORANGE),
    "up and h": ("up and h", PINK),
    "h and c": ("h and c", GOLD),
}
#: the parts that the excess is split into, with their colours
PARTS = {
    "open": ("open-class words", BLUE), "names": ("names", PINK), "closed": ("closed-class words", ORANGE),
    "sentence ends": ("sentence ends", SKY), "known": ("all three seen", BLUE),
    "known context, new word": ("the two seen, without this word", ORANGE), "new context": ("the two never seen", PINK),
}  # fmt: skip


def _curve(name: str, values: Any) -> None:
    """A run's perplexities: a sequence of positive numbers, at least one."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ValueError(f"{name} is {require.shown(values)}; it must be a list with a perplexity for each epoch")
    for value in values:
        require.number(f"a perplexity of {name}", value, "(0, inf)")


def _runs(name: str, runs: Any, check: Callable[[str, Any], None]) -> None:
    if not isinstance(runs, Sequence) or not runs:
        raise ValueError(f"{name} is {require.shown(runs)}; it must be a list of runs, at least one")
    for run in runs:
        check(f"a run of {name}", run)


def _looks(name: str, run: Any) -> None:
    if not isinstance(run, Sequence) or not run:
        raise ValueError(f"{name} is {require.shown(run)}; it must be a list with a look for each epoch")
    if missing := [split for split in ("classes", "novelty") for look in run if split not in look]:
        raise ValueError(f"an epoch of {name} has no {missing[0]!r}: give both splits of each")


def _arm(name: str, run: Mapping[str, Any]) -> None:
    if run.get("arm") not in tuple(ARMS):
        raise ValueError(f"an arm is {require.shown(run.get('arm'))}; it must be one of {', '.join(ARMS)}")
    _curve(f"valid of {name}", run.get("valid"))


def overfit_figure(train: Curves, valid: Curves, floor: Mapping[str, float]) -> Any:
    """Perplexity on training and validation text, both in evaluation mode, by epoch, a line a run (matplotlib).

    Args:
        train: for each run, the perplexity on the training text after each epoch.
        valid: the same on the validation text; a dot marks each run's lowest.
        floor: of "train" and "valid".

    Returns:
        a matplotlib figure; what lies under the training text's floor is shaded.

    Raises:
        ValueError: there is no run, a run has no epoch, or a perplexity or a floor is no positive number.

    Example:
        >>> from awdlib.figures.overfitting import overfit_figure
        >>> figure = overfit_figure([[60.0, 20.0, 9.0]], [[70.0, 30.0, 50.0]], {"train": 15.7, "valid": 15.5})
        >>> figure.get_label()
        'Training ends at 9.0, floor 15.7; validation is lowest at epoch 2 and ends at 50.0, floor 15.5.'
    """
    import matplotlib.pyplot as plt

    for name, curves in (("train", train), ("valid", valid)):
        _runs(name, curves, _curve)
        require.number(f"floor[{name!r}]", floor.get(name), "(0, inf)")
    best = [int(np.argmin(run)) for run in valid]
    lowest = 0.8 * min(floor["train"], *(min(run) for run in train))
    ends = [
        (float(np.mean([run[-1] for run in runs])), role, colour(role))
        for runs, role in ((train, "train"), (valid, "valid"))
    ]
    with use_style():
        figure, axes = plt.subplots(figsize=(7.4, 4.0))
        axes.axhspan(lowest, floor["train"], color=EMPTY, linewidth=0)
        axes.axhline(floor["valid"], color=colour("floor"), linestyle="--")
        for run, role in (*((run, "train") for run in train), *((run, "valid") for run in valid)):
            axes.plot(range(1, len(run) + 1), run, color=colour(role), alpha=0.85)
        for run, at in zip(valid, best, strict=True):
            axes.plot(at + 1, run[at], "o", color=colour("valid"), markersize=7)
        axes.text(1, floor["valid"] * 1.03, " floor", color=colour("floor"), va="bottom")
        middle = (lowest * floor["train"]) ** 0.5
        axes.text(1, middle, " below the floor: memory of this one text", va="center", fontsize=10)
        label_ends(axes, len(train[0]), ends)
        perplexity_axis(axes)
        axes.set_yticks([1, 2, 3, 5, 10, 15, 20, 30, 50, 100, 150, 200, 300])
        axes.set_ylim(lowest, None)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    epochs = " and ".join(str(at + 1) for at in dict.fromkeys(best))
    return describe(
        figure,
        f"Training ends at {ends[0][0]:.1f}, floor {floor['train']:.1f}; validation is lowest at epoch {epochs} and "
        f"ends at {ends[1][0]:.1f}, floor {floor['valid']:.1f}.",
    )


def excess_figure(looks: Sequence[Sequence[Mapping[str, Any]]], best: int) -> Any:
    """Where a model loses against the exact prediction: the excess, split by class of word and by what is new.

    Args:
        looks: for each run and epoch, {"classes": {group: nats}, "novelty": {group: nats}}, nats a word of the whole
            text, so that the groups of a split add up to the excess.
        best: the epoch, counted from 1, at which validation is lowest: a dotted line.

    Returns:
        a matplotlib figure of two panels, one above the other; thin lines are runs, thick ones their mean.

    Raises:
        ValueError: a group has no name in `PARTS`, or there is no run, no epoch, or no such split.

    Example:
        >>> from awdlib.figures.overfitting import excess_figure
        >>> look = {"classes": {"names": 0.2, "open": 0.3}, "novelty": {"known": -0.1, "new context": 0.6}}
        >>> [axes.get_title(loc="left") for axes in excess_figure([[look, look]], best=1).axes]
        ['by class of word', 'by whether training had this word behind the same two']
    """
    import matplotlib.pyplot as plt

    _runs("looks", looks, _looks)
    require.whole_number("best", best, 1)
    titles = {"classes": "by class of word", "novelty": "by whether training had this word behind the same two"}
    with use_style():
        figure, panels = plt.subplots(2, 1, figsize=(7.2, 6.6), sharex=True)
        for axes, (split, title) in zip(panels, titles.items(), strict=True):
            axes.axhline(0, color=INK, linewidth=1)
            axes.axvline(best, color=MUTED, linestyle=":", linewidth=1.25)
            for group in looks[0][0][split]:
                if group not in PARTS:
                    raise ValueError(f"a group is {require.shown(group)}; it must be one of {', '.join(PARTS)}")
                name, ink = PARTS[group]
                values = np.array([[look[split][group] for look in run] for run in looks])
                epochs = range(1, values.shape[1] + 1)
                axes.plot(epochs, values.T, color=ink, alpha=0.3, linewidth=1)
                axes.plot(epochs, values.mean(0), color=ink, linewidth=2.4, label=name)
            axes.set(title=title, ylabel="excess, nats a word", ylim=(-0.08, 1.05))
            axes.legend(loc="upper right", labelcolor="linecolor", handlelength=1.2, fontsize=10)
        panels[-1].set_xlabel("epoch")
        plt.close(figure)
    return figure


def arms_figure(runs: Sequence[Mapping[str, Any]], floor: float) -> Any:
    """Validation perplexity by epoch of every placement and seed (matplotlib).

    Args:
        runs: each with an "arm" of `ARMS` and its "valid" perplexities.
        floor: of the validation text.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: there is no run, a run's arm is not one of `ARMS`, or a perplexity is no positive number.

    Example:
        >>> from awdlib.figures.overfitting import arms_figure
        >>> runs = [{"arm": "none", "valid": [60.0, 50.0]}, {"arm": "up", "valid": [70.0, 30.0]}]
        >>> [text.get_text() for text in arms_figure(runs, 15.5).axes[0].texts]
        [' floor: what the grammar itself reaches', 'up', 'nothing']
    """
    _runs("runs", runs, _arm)
    require.number("floor", floor, "(0, inf)")
    return comparison.arms_figure(comparison.curves_by_arm(runs, ARMS), floor, limits=(0.95 * floor, 105))


def schedule_figure(configs: Mapping[str, TrainConfig]) -> Any:
    """The learning rate of each epoch under a schedule of decay (matplotlib, logarithmic).

    Zaremba et al. 2014, section 4.1.

    Args:
        configs: by name; their ``lr_decay`` is "schedule".

    Returns:
        a matplotlib figure; a line a configuration, as long as its training.

    Raises:
        ValueError: a configuration has no schedule.

    Example:
        >>> from awdlib.figures.overfitting import schedule_figure
        >>> from awdlib.presets import PRESETS
        >>> line = schedule_figure({"small": PRESETS["zaremba-small"].training}).axes[0].lines[0]
        >>> line.get_ydata()[[0, 4, 5, 6, -1]].round(3).tolist()
        [1.0, 1.0, 0.5, 0.25, 0.004]
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, axes = plt.subplots(figsize=(7.0, 3.2))
        for (name, config), ink in zip(configs.items(), (MUTED, ORANGE, BLUE), strict=False):
            if config.lr_decay != "schedule":
                raise ValueError(f"{name}: lr_decay is {config.lr_decay!r}; a picture of a schedule needs 'schedule'")
            epochs = np.arange(1, config.epochs + 1)
            rates = config.lr * config.decay_factor ** np.maximum(0, epochs - config.decay_after)
            axes.plot(epochs, rates, color=ink, drawstyle="steps-mid")
            label_end(axes, float(epochs[-1]), float(rates[-1]), name, ink)
        axes.set(xlabel="epoch", ylabel="learning rate", yscale="log", ylim=(2e-3, 1.5), xlim=(0, 63))
        axes.set_yticks([1, 0.1, 0.01], ["1", "0.1", "0.01"])
        axes.minorticks_off()
        plt.close(figure)
    return figure


@cache
def experiment() -> dict[str, Any]:
    """The record ``data/runs/overfitting.json``, made by ``book/experiments/overfitting.py``; not to be changed.

    Example:
        >>> from awdlib.figures.overfitting import experiment
        >>> experiment()["sizes"], experiment()["shares"]
        ([32, 64, 128, 256], [0.25, 0.5, 1.0])
    """
    return dict(json.loads(bundled("runs/overfitting.json").read_text(encoding="utf-8")))


def size_figure(hidden: int, share: float, reading: int) -> go.Figure:
    """One model of the experiment on sizes: its two curves, the floor, and the gap at one moment of its training.

    Args:
        hidden: units of the model, one of the sizes of `experiment`.
        share: of the training text, one of its shares.
        reading: the moment, counted in words read over words of the whole text; 1 or more.

    Returns:
        a plotly figure, both perplexities on a logarithmic axis.

    Raises:
        ValueError: the record has no such run, or no such moment.

    Example:
        >>> from awdlib.figures.overfitting import size_figure
        >>> size_figure(hidden=128, share=0.25, reading=2).layout.meta["alt"].partition(":")[0]
        '128 hidden units, a quarter of the text, 2 readings'
    """
    record = experiment()
    runs = [run for run in record["runs"] if (run.get("hidden"), run.get("share")) == (hidden, share)]
    if not runs:
        sizes, shares = (", ".join(map(str, record[of])) for of in ("sizes", "shares"))
        raise ValueError(
            f"there is no run of {hidden} units on {share} of the text: use one of {sizes}, and of {shares}"
        )
    require.whole_number("reading", reading, 1, record["readings"])
    run, floor = runs[0], record["floor"]["valid"]
    own_floor = record["train_floors"][record["shares"].index(share)]
    values = {role: run[role][reading - 1] for role in ("train", "valid")}
    gap = float(np.log(values["valid"] / values["train"]))
    across = list(range(1, record["readings"] + 1))
    shared = {"type": "scatter", "mode": "lines"}
    hover = "{} %{{y:.1f}} after %{{x}} readings<extra></extra>"
    traces = [
        shared | {"x": [1, across[-1]], "y": [floor] * 2, "line": {"color": colour("floor"), "dash": "dash"},
                  "hoverinfo": "skip"},
        *(shared | {"x": across, "y": run[role], "line": {"color": colour(role)}, "hovertemplate": hover.format(role)}
          for role in values),
        shared | {"x": [reading] * 2, "y": [*values.values()], "mode": "lines+markers", "hoverinfo": "skip",
                  "line": {"color": INK, "width": 1.5, "dash": "dot"}, "marker": {"color": INK, "size": 8}},
    ]  # fmt: skip
    layout = _size_layout(run, values, gap, floor, across[-1])
    part = {0.25: "a quarter of the text", 0.5: "half of the text", 1.0: "all of the text"}.get(
        share, f"{share:g} of it"
    )
    return describe(
        go.Figure(data=traces, layout=layout),
        f"{hidden} hidden units, {part}, {reading} reading{'s' * (reading > 1)}: training perplexity "
        f"{values['train']:.1f} (floor of that part {own_floor:.1f}), validation {values['valid']:.1f} (floor "
        f"{floor:.1f}, lowest {min(run['valid']):.1f}); the gap is {gap:.2f} nats.",
    )


def _size_layout(
    run: Mapping[str, Any], values: Mapping[str, float], gap: float, floor: float, last: int
) -> dict[str, Any]:
    above = {"xref": "paper", "yref": "paper", "x": 0, "y": 1.01, "xanchor": "left", "yanchor": "bottom"}
    at = {"xref": "x", "yref": "y", "x": 1, "xanchor": "left", "font": {"color": colour("floor")}}
    text = (
        f"<b>gap {gap:.2f} nats</b>: train {values['train']:.1f}, valid {values['valid']:.1f}"
        f"<br>{run['parameters']:,} parameters"
    )
    notes = [
        above | {"text": text, "align": "left", "font": {"color": INK}},
        at | {"y": float(np.log10(floor)), "text": "floor", "yanchor": "bottom"},
        *(at | {"x": last - 0.3, "xanchor": "right", "y": float(np.log10(run[role][-1])), "text": role,
                "yanchor": anchor, "yshift": shift, "font": {"color": colour(role)}}
          for role, anchor, shift in (("train", "top", -7), ("valid", "bottom", 7))),
    ]  # fmt: skip
    return {
        "height": 400, "margin": {"l": 56, "r": 14, "t": 50, "b": 46}, "annotations": notes,
        "xaxis": {"range": [0.5, last + 0.5], "title": {"text": "words read, in whole training texts"}},
        "yaxis": {"type": "log", "range": [np.log10(0.9), np.log10(1600)], "title": {"text": "perplexity"},
                  "tickvals": [1, 3, 10, 30, 100, 300, 1000]},
    }  # fmt: skip
