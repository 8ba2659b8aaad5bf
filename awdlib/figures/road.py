"""How long a published number takes to reach, where a machine is lent for a stretch of time and then taken back."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.figures.style import BLUE, GREEN, INK, describe
from awdlib.goals import GOALS
from awdlib.presets import PRESETS

POINTS = 300  #: that a line is drawn with


def epochs_asked(name: str) -> tuple[int, int]:
    """Epochs of training, and at most of fine-tuning, that a goal takes.

    Args:
        name: of a goal that is trained and fine-tuned.

    Raises:
        ValueError: no goal has this name, or it has no fine-tuning.

    Example:
        >>> from awdlib.figures.road import epochs_asked
        >>> epochs_asked("awd-lstm-ptb-finetuned")
        (750, 500)
    """
    if (
        not isinstance(name, str)
        or name not in GOALS
        or [step.kind for step in GOALS[name].steps[:2]] != ["train", "finetune"]
    ):
        raise ValueError(f"{name!r} is no goal with fine-tuning: use one such as 'awd-lstm-ptb-finetuned'")
    train, tune = GOALS[name].steps[:2]
    return PRESETS[train.preset].training.epochs, int(tune.options[tune.options.index("--epochs") + 1])


def epochs_done(hours: Any, seconds: float, stretch: float, lost: float) -> np.ndarray:
    """Epochs after so much lent time: of every stretch the first minutes are lost, the rest is training.

    Args:
        hours: of lent time, an array or a number.
        seconds: an epoch takes.
        stretch: minutes until the machine is taken back.
        lost: minutes of each stretch that train nothing: starting, and what came after the last checkpoint.

    Raises:
        ValueError: a time is not positive, or a stretch is lost as a whole.

    Example:
        In an hour that loses five minutes there is time for 55 epochs of a minute:

        >>> from awdlib.figures.road import epochs_done
        >>> epochs_done([0.05, 1, 2], seconds=60, stretch=60, lost=5).tolist()
        [0.0, 55.0, 110.0]
    """
    require.number("seconds", seconds, "(0, inf)")
    require.number("stretch", stretch, "(0, inf)")
    require.number("lost", lost, "[0, inf)")
    if lost >= stretch:
        raise ValueError(f"lost is {lost:g} minutes of a stretch of {stretch:g}: nothing is left to train in")
    whole, begun = np.divmod(60 * np.asarray(hours, dtype=float), stretch)
    return (whole * (stretch - lost) + np.maximum(begun - lost, 0)) * 60 / seconds


def hours_needed(epochs: float, seconds: float, stretch: float, lost: float) -> float:
    """Lent time until so many epochs are done: the inverse of `epochs_done`.

    Args:
        epochs: to be done.
        seconds: an epoch takes.
        stretch: minutes until the machine is taken back.
        lost: minutes of each stretch that train nothing.

    Raises:
        ValueError: as `epochs_done` says.

    Example:
        >>> from awdlib.figures.road import hours_needed
        >>> hours_needed(110, seconds=60, stretch=60, lost=5)
        2.0
    """
    require.number("epochs", epochs, "[0, inf)")
    epochs_done(0, seconds, stretch, lost)  # looks at the other numbers
    minutes = epochs * seconds / 60
    stretches = math.ceil(minutes / (stretch - lost) - 1e-9)
    return (minutes + stretches * lost) / 60


def road_figure(goal: str, seconds: float, stretch: float, lost: float) -> go.Figure:
    """Epochs done against hours of lent time, up to the end of training and of fine-tuning.

    Args:
        goal: name of one with fine-tuning.
        seconds: an epoch takes.
        stretch: minutes until the machine is taken back.
        lost: minutes of each stretch that train nothing.

    Returns:
        a plotly figure.

    Raises:
        ValueError: as `epochs_asked` and `epochs_done` say.

    Example:
        >>> from awdlib.figures.road import road_figure
        >>> print(road_figure("awd-lstm-ptb-finetuned", 65, 60, 5).layout.meta["alt"])  # doctest: +ELLIPSIS
        At 65 s an epoch, 750 epochs of training take 14.8 hours in 15 stretches of 60 minutes, ...
    """
    train, tune = epochs_asked(goal)
    both = train + tune
    ends = {epochs: hours_needed(epochs, seconds, stretch, lost) for epochs in (train, both)}
    hours = np.linspace(0, ends[both], POINTS)
    done = np.minimum(epochs_done(hours, seconds, stretch, lost), both)
    top = {"x": 0.01, "xref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    notes = [
        top | {"y": epochs, "text": f"<b>{what}</b>: {ends[epochs]:,.0f} h",
               "font": {"color": ink}}
        for epochs, what, ink in ((train, "trained", BLUE), (both, "fine-tuned", GREEN))
    ]  # fmt: skip
    levels = [
        {"type": "scatter", "x": [0, ends[both]], "y": [epochs, epochs], "mode": "lines", "hoverinfo": "skip",
         "line": {"color": ink, "width": 1.25, "dash": "dot"}}
        for epochs, ink in ((train, BLUE), (both, GREEN))
    ]  # fmt: skip
    line = {
        "type": "scatter", "x": hours, "y": done, "mode": "lines", "line": {"color": INK},
        "hovertemplate": "%{x:.1f} h<br>%{y:.0f} epochs<extra></extra>",
    }  # fmt: skip
    marks = [
        {"type": "scatter", "x": [ends[epochs]], "y": [epochs], "mode": "markers", "hoverinfo": "skip",
         "marker": {"size": 9, "color": ink}}
        for epochs, ink in ((train, BLUE), (both, GREEN))
    ]  # fmt: skip
    layout = {
        "height": 340, "annotations": notes, "margin": {"l": 62, "r": 20, "t": 12, "b": 48},
        "xaxis": {"title": {"text": "hours of lent time"}, "range": [0, 1.02 * ends[both]]},
        "yaxis": {"title": {"text": "epochs done"}, "range": [0, 1.13 * both]},
    }  # fmt: skip
    figure = go.Figure(data=[*levels, line, *marks], layout=layout)
    share = 1 - both * seconds / 3600 / ends[both]
    return describe(figure, (
        f"At {seconds:g} s an epoch, {train} epochs of training take {ends[train]:,.1f} hours in "
        f"{_stretches(ends[train], stretch)} of {stretch:g} minutes, and with at most {tune} of fine-tuning "
        f"{ends[both]:,.1f} hours in {_stretches(ends[both], stretch)}; {share:.0%} of the time trains nothing."
    ))  # fmt: skip


def _stretches(hours: float, stretch: float) -> str:
    count = math.ceil(60 * hours / stretch - 1e-9)
    return f"{count} stretch{'es' if count != 1 else ''}"
