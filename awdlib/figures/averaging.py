"""The average of the iterates beside the iterate: NT-ASGD's averaging in a valley whose loss is known exactly.

The valley is ``loss(x) = sum over j of CURVATURE[j] x[j]^2 / 2``; every gradient comes with Gaussian noise of standard
deviation sigma in each direction. A step of size eta along a direction of curvature lambda is then an autoregressive
process, whose variance settles at ``eta sigma^2 / (lambda (2 - eta lambda))``: SGD with a constant step size never
arrives. The mean of n iterates has about ``sigma^2 / (lambda^2 n)``, whatever the step size (Polyak & Juditsky 1992).
"""

import math
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.figures.style import GRID, INK, MUTED, PAPER, colour, describe, fade
from awdlib.ntasgd import NTASGD

CURVATURE = (0.08, 1.0)  #: second derivatives of the loss: little along the valley, much across it
ORIGIN = (-10.0, 2.5)  #: where every run begins; the minimum lies at (0, 0)
STEPS, RUNS = 100, 300
SHOWN = 26  #: points drawn of the average, which moves slowly
LEVELS = (0.1, 0.5, 1.5, 3.4)  #: of the loss, drawn as ellipses
LOSSES = (-3.6, 1.9)  #: decades of the lower panel


class Descent(NamedTuple):
    """Where many runs of SGD went, and their averages; what `descend` returns.

    Example:
        >>> from awdlib.figures.averaging import descend
        >>> descent = descend(lr=0.4, noise=0.5, start=20, steps=50, runs=3)
        >>> tuple(descent.iterates.shape), tuple(descent.averages.shape)
        ((51, 3, 2), (31, 3, 2))
    """

    iterates: Tensor  #: (steps + 1, runs, 2), the first where the runs begin
    averages: Tensor  #: (steps + 1 - start, runs, 2), the first at the step where averaging begins


def descend(lr: float, noise: float, start: int, steps: int = STEPS, runs: int = RUNS, seed: int = 11) -> Descent:
    """Go down the valley with `awdlib.ntasgd.NTASGD`, many runs at once, and begin to average at a given step.

    Args:
        lr: learning rate; below 2, where the steps across the valley would grow.
        noise: standard deviation of the gradient's noise in each direction.
        start: the step before which averaging begins.
        steps: how many are taken.
        runs: that differ in their noise only.
        seed: of the noise.

    Raises:
        ValueError: a setting is out of range, or the learning rate is not stable.

    Example:
        Without noise every step multiplies the distance along a direction by 1 - lr x curvature:

        >>> from awdlib.figures.averaging import descend
        >>> descend(lr=1.0, noise=0.0, start=0, steps=1, runs=1).iterates[:, 0].tolist()
        [[-10.0, 2.5], [-9.2, 0.0]]
    """
    require.number("lr", lr, f"(0, {2 / max(CURVATURE):g})", ": a larger step climbs out of the valley")
    require.number("noise", noise, "[0, inf)")
    require.whole_number("steps", steps, 1)
    require.whole_number("start", start, 0, steps)
    generator = torch.Generator().manual_seed(seed)
    kicks = torch.randn(steps, runs, 2, dtype=torch.float64, generator=generator)
    curvature = torch.tensor(CURVATURE, dtype=torch.float64)
    weight = torch.nn.Parameter(torch.tensor(ORIGIN, dtype=torch.float64).repeat(runs, 1))
    optimizer = NTASGD([weight], lr=lr)
    iterates, averages = [weight.detach().clone()], []
    for step in range(steps + 1):
        if step == start:
            optimizer.start_averaging()
        if step >= start:
            with optimizer.averaged():
                averages.append(weight.detach().clone())
        if step < steps:
            weight.grad = curvature * weight.detach() + noise * kicks[step]
            optimizer.step()
            iterates.append(weight.detach().clone())
    return Descent(torch.stack(iterates), torch.stack(averages))


def valley_loss(points: Tensor) -> Tensor:
    """The loss at points of the valley, sum of CURVATURE x^2 / 2.

    Args:
        points: (..., 2), along the valley and across it.

    Returns:
        (...,)

    Example:
        >>> import torch
        >>> from awdlib.figures.averaging import valley_loss
        >>> valley_loss(torch.tensor([[10.0, 0.0], [0.0, 2.0]]))
        tensor([4., 2.])
    """
    return (points.square() * torch.tensor(CURVATURE, dtype=points.dtype)).sum(-1) / 2


def averaging_figure(lr: float, noise: float, start: int) -> go.Figure:
    """One run in the valley, and below it the loss of iterate and average over the steps, in the mean of many runs.

    Args:
        lr: learning rate.
        noise: standard deviation of the gradient's noise.
        start: the step at which averaging begins; before the last.

    Returns:
        a plotly figure of two panels.

    Raises:
        ValueError: as `descend` says.

    Example:
        >>> from awdlib.figures.averaging import averaging_figure
        >>> averaging_figure(lr=0.4, noise=0.0, start=20).layout.meta["alt"].partition("runs, ")[2]
        "the iterate's loss is 0.006; that of the average, begun at step 20, is 0.14, 23 times higher."
    """
    require.whole_number("start", start, 0, STEPS - 1)
    descent = descend(lr, noise, start)
    iterate, average = (valley_loss(part).mean(1).numpy() for part in descent)
    drawn = np.linspace(0, STEPS - start, SHOWN).round().astype(int)
    traces = [
        *_valley(),
        _path("iterate", descent.iterates[:, 0].numpy()),
        _path("average", descent.averages[drawn, 0].numpy()),
        _line("iterate", np.arange(STEPS + 1), np.log10(iterate)) | {"xaxis": "x2", "yaxis": "y2"},
        _line("average", start + drawn, np.log10(average[drawn])) | {"xaxis": "x2", "yaxis": "y2"},
        {"x": [start, start], "y": [LOSSES[0], LOSSES[1] - 0.6], "mode": "lines", "hoverinfo": "skip",
         "line": {"color": MUTED, "width": 1.25, "dash": "dot"}, "xaxis": "x2", "yaxis": "y2"},
    ]  # fmt: skip
    notes = _notes(start, float(iterate[-1]), float(average[-1]))
    figure = go.Figure({"data": traces, "layout": _layout() | {"annotations": notes}})
    return describe(figure, _sentence(lr, noise, start, float(iterate[-1]), float(average[-1])))


def _valley() -> list[dict[str, Any]]:
    """Shaded ellipses of equal loss and a cross at the minimum."""
    turn = np.linspace(0, 2 * math.pi, 49)
    ellipses = []
    for level in LEVELS[::-1]:
        along, across = (math.sqrt(2 * level / curvature) for curvature in CURVATURE)
        ellipses.append(
            {"x": along * np.cos(turn), "y": across * np.sin(turn), "mode": "lines", "fill": "toself",
             "fillcolor": fade(MUTED, 0.1), "line": {"color": GRID, "width": 1}, "hoverinfo": "skip"}
        )  # fmt: skip
    cross = {"symbol": "cross", "size": 10, "color": INK}
    return [*ellipses, {"x": [0], "y": [0], "mode": "markers", "marker": cross, "hoverinfo": "skip"}]


def _line(role: str, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    width = {"iterate": 1.5, "average": 3.25}[role]
    return {"x": x, "y": y, "mode": "lines", "line": {"color": colour(role), "width": width}, "hoverinfo": "skip"}


def _path(role: str, points: np.ndarray) -> dict[str, Any]:
    """A line through the valley with a dot at its end, and a small one where the average begins."""
    sizes, rings = np.zeros(len(points)), np.zeros(len(points))
    sizes[-1], rings[-1] = 11, 1.5
    sizes[0] = 7 if role == "average" else 0
    marker = {"color": colour(role), "size": sizes, "opacity": 1, "line": {"color": PAPER, "width": rings}}
    return _line(role, *points.T) | {"mode": "lines+markers", "marker": marker}


def _layout() -> dict[str, Any]:
    decades = {-3: "0.001", -2: "0.01", -1: "0.1", 0: "1", 1: "10"}
    return {
        "height": 460, "margin": {"l": 52, "r": 10, "t": 26, "b": 46},
        "xaxis": {"range": [-11, 6.5], "tickvals": [-10, -5, 0, 5],
                  "title": {"text": "along the valley", "standoff": 4}},
        "yaxis": {"domain": [0.56, 1], "range": [-3.2, 3.2], "tickvals": [-2, 0, 2], "showgrid": False,
                  "title": {"text": "across"}},
        "xaxis2": {"range": [-2, 138], "anchor": "y2", "tickvals": [0, 20, 40, 60, 80, 100],
                   "title": {"text": "step", "standoff": 4}},
        "yaxis2": {"domain": [0, 0.36], "range": list(LOSSES), "anchor": "x2",
                   "tickvals": [*decades], "ticktext": [*decades.values()], "title": {"text": "loss"}},
    }  # fmt: skip


def _notes(start: int, iterate: float, average: float) -> list[dict[str, Any]]:
    """Titles of the panels, names at the ends of the lines, and the start of averaging."""
    title = {"x": 0, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    line = {"xref": "x2", "yref": "y2", "xanchor": "left", "showarrow": False}
    heights = _apart(iterate, average)
    return [
        title | {"text": "<b>one run, seen from above</b>", "y": 1},
        title | {"text": f"<b>loss, mean of {RUNS} runs</b>", "y": 0.36},
        line | {"text": "<b>iterate</b>", "x": STEPS + 2, "y": heights[0], "font": {"color": colour("iterate")}},
        line | {"text": "<b>average</b>", "x": STEPS + 2, "y": heights[1], "font": {"color": colour("average")}},
        line | {"text": "averaging begins", "x": start, "y": LOSSES[1] - 0.3, "xshift": 3, "font": {"color": MUTED}},
    ]


def _apart(iterate: float, average: float, gap: float = 0.6) -> tuple[float, float]:
    """Heights of both labels, in decades: where the lines end, but inside the panel and off each other."""
    floor = LOSSES[0] + 0.3
    low, high = sorted(max(floor, math.log10(max(loss, 1e-12))) for loss in (iterate, average))
    push = max(0.0, gap - (high - low)) / 2
    low, high = max(floor, low - push), max(floor, low - push) + max(gap, high - low)
    return (low, high) if iterate < average else (high, low)


def _sentence(lr: float, noise: float, start: int, iterate: float, average: float) -> str:
    ratio = max(iterate, average) / min(iterate, average)
    than = "lower" if average < iterate else "higher"
    return (
        f"After {STEPS} steps at learning rate {lr:g} with gradient noise {noise:g}, in the mean of {RUNS} runs, the "
        f"iterate's loss is {_written(iterate)}; that of the average, begun at step {start}, is {_written(average)}, "
        f"{f'{ratio:.1f}' if ratio < 10 else f'{ratio:,.0f}'} times {than}."
    )


def _written(loss: float) -> str:
    return f"{loss:.2g}" if loss >= 1e-4 else "below 0.0001"
