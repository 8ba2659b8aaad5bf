"""SGD at a constant learning rate in a bowl with noise, and the average of its iterates: every moment in closed form.

In a direction of curvature lambda a step is ``w <- w - lr (lambda w + sigma noise)``: with ``a = 1 - lr lambda`` the
k-th iterate has mean ``a^k w_0`` and variance ``lr sigma^2 / (lambda (2 - lr lambda)) (1 - a^(2k))``. A kick moves the
sum of all later iterates by ``sigma / lambda`` in the end, whatever the learning rate: hence the variance
``sigma^2 / (lambda^2 n)`` of a long average (Polyak & Juditsky 1992), and the exact one of a short, computed here.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.figures.style import GREEN, INK, MUTED, colour, describe, use_style

CURVATURES = (1.0, 0.1, 0.01)  #: of the bowl of the explorable; every run begins at a distance of 1 in each
STEPS = 1000
STARTS = (0, 10, 30, 100, 200, 400, 600, 800, 980)  #: of the average, for the slider
DECADES = (-5.4, 0.5)  #: of the loss, in view
SHOWN = 60  #: points drawn of a line


class Moments(NamedTuple):
    """Mean and variance of a weight over many runs; what `of_iterates`, `of_averages` and `of_decayed` return.

    Example:
        >>> from awdlib.figures.noisy_quadratic import of_iterates
        >>> of_iterates(lr=0.5, curvature=1.0, noise=0.0, steps=2).mean.tolist()
        [1.0, 0.5, 0.25]
    """

    mean: np.ndarray  #: (number of steps looked at,)
    variance: np.ndarray  #: the same


def of_iterates(lr: float, curvature: float, noise: float, steps: int, origin: float = 1.0) -> Moments:
    """The iterates 0 to ``steps`` of SGD in one direction.

    Args:
        lr: learning rate; below 2 / curvature.
        curvature: second derivative of the loss.
        noise: standard deviation of the gradient's noise.
        steps: how many are taken.
        origin: where it begins; the minimum lies at 0.

    Raises:
        ValueError: a setting is out of range, or the learning rate is not stable.

    Example:
        The variance settles at lr noise^2 / (curvature (2 - lr curvature)):

        >>> from awdlib.figures.noisy_quadratic import of_iterates
        >>> round(float(of_iterates(lr=0.5, curvature=1.0, noise=3.0, steps=60).variance[-1]), 6)
        3.0
    """
    keep = _kept(lr, curvature, noise)
    powers: np.ndarray = np.float64(keep) ** np.arange(require.whole_number("steps", steps, 0) + 1)
    settled = lr * noise**2 / (curvature * (2 - lr * curvature))
    return Moments(require.number("origin", origin) * powers, settled * (1 - powers**2))


def of_averages(lr: float, curvature: float, noise: float, steps: int, start: int, origin: float = 1.0) -> Moments:
    """The mean of the iterates ``start`` to k, for each k from ``start`` to ``steps``, in one direction.

    Args:
        lr: as of `of_iterates`.
        curvature: as of `of_iterates`.
        noise: as of `of_iterates`.
        steps: as of `of_iterates`.
        start: the first iterate of the mean.
        origin: as of `of_iterates`.

    Returns:
        moments of (steps - start + 1,) averages; the first is the iterate itself.

    Raises:
        ValueError: a setting is out of range, or the learning rate is not stable.

    Example:
        Ten times the learning rate, and the same variance of the average, noise^2 / (curvature^2 n):

        >>> from awdlib.figures.noisy_quadratic import of_averages
        >>> [round(float(10_000 * of_averages(lr, 1.0, 1.0, 10_000, 200).variance[-1]), 2) for lr in (0.1, 1.0)]
        [1.02, 1.02]
    """
    keep = _kept(lr, curvature, noise)
    require.whole_number("start", start, 0, require.whole_number("steps", steps, 0))
    number = np.arange(1, steps - start + 2)  # of iterates in the mean
    reached = 1 - keep**number  # of the whole effect of a kick before the start
    inside = np.concatenate([[0.0], np.cumsum(reached[:-1] ** 2)])  # of the kicks since
    before = reached**2 * (1 - keep ** (2 * start)) / (1 - keep**2)
    mean = require.number("origin", origin) * keep**start * reached / (number * (1 - keep))
    return Moments(mean, (noise / (curvature * number)) ** 2 * (inside + before))


def of_decayed(lr: float, curvature: float, noise: float, steps: int, start: int, origin: float = 1.0) -> Moments:
    """The iterates 0 to ``steps`` of SGD whose learning rate falls in a straight line, from ``start`` on, towards 0.

    Args:
        lr: as of `of_iterates`.
        curvature: as of `of_iterates`.
        noise: as of `of_iterates`.
        steps: as of `of_iterates`; the learning rate would be 0 in the step after the last.
        start: the last iterate that is reached at the full rate.
        origin: as of `of_iterates`.

    Raises:
        ValueError: a setting is out of range, or the learning rate is not stable.

    Example:
        Two steps, at 0.5 and at 0.25:

        >>> from awdlib.figures.noisy_quadratic import of_decayed
        >>> of_decayed(lr=0.5, curvature=1.0, noise=0.0, steps=2, start=0).mean.tolist()
        [1.0, 0.5, 0.375]
    """
    _kept(lr, curvature, noise)
    if require.whole_number("start", start, 0) >= require.whole_number("steps", steps, 1):
        raise ValueError(f"start is {start}; it must be below {steps}, or no step is left for the rate to fall")
    mean, variance = _falling(lr, curvature, steps, start)
    return Moments(require.number("origin", origin) * mean, noise**2 * variance)


@cache
def _falling(lr: float, curvature: float, steps: int, start: int) -> Moments:
    """From a distance of 1, with noise of standard deviation 1."""
    mean, variance = [1.0], [0.0]
    for step in range(steps):
        rate = lr * min(1.0, (steps - step) / (steps - start))
        mean.append((1 - rate * curvature) * mean[-1])
        variance.append((1 - rate * curvature) ** 2 * variance[-1] + rate**2)
    return Moments(np.array(mean), np.array(variance))


def _kept(lr: float, curvature: float, noise: float) -> float:
    """What a step without noise leaves of the distance."""
    require.number("curvature", curvature, "(0, inf)")
    require.number("noise", noise, "[0, inf)")
    require.number("lr", lr, f"(0, {2 / curvature:g})", ": a larger step climbs out of the bowl")
    return 1 - lr * curvature


def excess(kind: str, lr: float, noise: float, start: int = 0) -> np.ndarray:
    """Expected loss above the minimum of the bowl of `CURVATURES`, by step.

    Args:
        kind: "iterate", "average" (from ``start`` on) or "decayed" (its rate falls from ``start`` on).
        lr: learning rate.
        noise: standard deviation of the gradient's noise in each direction.
        start: step.

    Returns:
        (STEPS + 1,), or for the average (STEPS + 1 - start,).

    Raises:
        ValueError: an unknown kind, or a setting out of range.

    Example:
        >>> from awdlib.figures.noisy_quadratic import excess
        >>> iterate, average = (excess(kind, 0.5, 0.1, 300)[-1] for kind in ("iterate", "average"))
        >>> bool(average < iterate / 4)
        True
    """
    known = {"iterate": of_iterates, "average": of_averages, "decayed": of_decayed}
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(f"the kind is {require.shown(kind)}; it must be one of {', '.join(known)}")
    more = {} if kind == "iterate" else {"start": start}
    total: np.ndarray = np.zeros(1)
    for curvature in CURVATURES:
        mean, variance = known[kind](lr, curvature, noise, STEPS, **more)  # type: ignore[operator]
        total = total + curvature / 2 * (mean**2 + variance)
    return total


def by_start(lr: float, noise: float) -> tuple[float, ...]:
    """Expected loss of the average after the last step, for every start in `STARTS`.

    Args:
        lr: learning rate.
        noise: standard deviation of the gradient's noise in each direction.

    Raises:
        ValueError: a setting is out of range.

    Example:
        Not at once, and not at the end:

        >>> from awdlib.figures.noisy_quadratic import STARTS, by_start
        >>> losses = by_start(0.5, 0.1)
        >>> STARTS[losses.index(min(losses))]
        100
    """
    return _by_start(require.number("lr", lr), require.number("noise", noise))


@cache
def _by_start(lr: float, noise: float) -> tuple[float, ...]:
    return tuple(float(excess("average", lr, noise, start)[-1]) for start in STARTS)


def start_figure(lr: float, noise: float, start: int) -> go.Figure:
    """Expected loss of iterate, average and SGD with a falling rate over the steps; below, of the average by start.

    Args:
        lr: learning rate.
        noise: standard deviation of the gradient's noise in each direction.
        start: the step at which averaging, and the fall of the other's learning rate, begin; one of `STARTS`.

    Returns:
        a plotly figure of two panels.

    Raises:
        ValueError: a setting is out of range.

    Example:
        >>> from awdlib.figures.noisy_quadratic import start_figure
        >>> start_figure(lr=0.5, noise=0.1, start=200).layout.meta["alt"].rpartition(": ")[2]
        'the best start of those shown is step 100.'
    """
    if start not in STARTS:
        raise ValueError(f"start is {require.shown(start)}; it must be one of {', '.join(map(str, STARTS))}")
    iterate, average = excess("iterate", lr, noise), excess("average", lr, noise, start)
    falling = excess("decayed", lr, noise, start)
    losses = by_start(lr, noise)
    best = STARTS[losses.index(min(losses))]
    since = np.unique(np.linspace(0, STEPS - start, SHOWN).round().astype(int))
    every = np.unique(np.geomspace(1, STEPS, SHOWN).round().astype(int))
    traces = [
        _line(every, iterate[every], colour("iterate"), 1.75),
        _line(start + since, falling[start + since], GREEN, 2, dash="dash"),
        _line(start + since, average[since], colour("average"), 3),
        _line([start, start], [10 ** DECADES[0], 10 ** DECADES[1]], MUTED, 1.25, dash="dot"),
        _lower(_line(STARTS, losses, colour("average"), 2)),
        _lower(_dots([best], [min(losses)], "circle-open", 15, INK)),
        _lower(_dots([start], [losses[STARTS.index(start)]], "circle", 9, colour("average"))),
    ]
    ends = {"iterate": float(iterate[-1]), "average": float(average[-1]), "falling": float(falling[-1])}
    figure = go.Figure({"data": traces, "layout": _layout(ends, losses)})
    return describe(figure, _sentence(lr, noise, start, ends, best))


def _line(x: Any, y: Any, ink: str, width: float, dash: str = "solid") -> dict[str, Any]:
    height = np.log10(np.maximum(np.asarray(y, dtype=float), 1e-12))
    line = {"color": ink, "width": width, "dash": dash}
    return {"type": "scatter", "x": np.asarray(x), "y": height, "mode": "lines", "line": line, "hoverinfo": "skip"}


def _dots(x: Any, y: Any, symbol: str, size: float, ink: str) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": size, "color": ink, "line": {"color": ink, "width": 2}}
    return _line(x, y, ink, 1) | {"mode": "markers", "marker": marker}


def _lower(trace: dict[str, Any]) -> dict[str, Any]:
    return trace | {"xaxis": "x2", "yaxis": "y2"}


def _layout(ends: dict[str, float], losses: tuple[float, ...]) -> dict[str, Any]:
    decades = {-5: "0.00001", -4: "0.0001", -3: "0.001", -2: "0.01", -1: "0.1", 0: "1"}
    ticks = {"tickvals": [*decades], "ticktext": [*decades.values()]}
    inks = {"iterate": colour("iterate"), "average": colour("average"), "falling": GREEN}
    lower = [math.log10(max(loss, 1e-12)) for loss in losses]
    middle = (min(lower) + max(lower)) / 2
    span = max(1.2, max(lower) - min(lower) + 0.5)
    title = {"x": 0, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    return {
        "height": 470, "margin": {"l": 64, "r": 8, "t": 28, "b": 46},
        "xaxis": {"range": [-10, 1330], "tickvals": [0, 250, 500, 750, 1000], "title": {"text": "step", "standoff": 4}},
        "yaxis": {"domain": [0.5, 1], "range": list(DECADES), "title": {"text": "loss"}, **ticks},
        "xaxis2": {"range": [-10, 1330], "tickvals": [0, 250, 500, 750, 1000], "anchor": "y2",
                   "title": {"text": "step at which averaging begins", "standoff": 4}},
        "yaxis2": {"domain": [0, 0.29], "range": [middle - span / 2, middle + span / 2], "anchor": "x2",
                   "title": {"text": "loss"}, **ticks},
        "annotations": [
            title | {"text": "<b>expected loss over the steps</b>", "y": 1, "yshift": 3},
            title | {"text": "<b>the average's at the end</b> (○ lowest)", "y": 0.29, "yshift": 3},
            *({"text": f"<b>{name}</b>", "x": STEPS + 12, "y": height,
               "xanchor": "left", "font": {"color": inks[name]}} for name, height in _apart(ends).items()),
        ],
    }  # fmt: skip


def _apart(ends: dict[str, float], gap: float = 0.62) -> dict[str, float]:
    """Heights of the labels, in decades: where the lines end, but in view and off each other."""
    placed: dict[str, float] = {}
    below = DECADES[0]
    for name, loss in sorted(ends.items(), key=lambda item: item[1]):
        below = max(math.log10(max(loss, 1e-12)), below + gap)
        placed[name] = below
    return placed


def _sentence(lr: float, noise: float, start: int, ends: dict[str, float], best: int) -> str:
    def written(loss: float) -> str:
        return f"{loss:.2g}" if loss >= 1e-4 else "below 0.0001"

    return (
        f"After {STEPS} steps at learning rate {lr:g} with gradient noise {noise:g}, the iterate's expected loss is "
        f"{written(ends['iterate'])}; of the average since step {start} it is {written(ends['average'])}, and of SGD "
        f"whose rate falls from there {written(ends['falling'])}. For the average: the best start of those shown is "
        f"step {best}."
    )


def path_figure(iterates: Any, averages: Any, start: int, settled: float) -> Any:
    """One run of SGD in one direction, its average, and the band in which the iterate goes on moving (matplotlib).

    Args:
        iterates: (steps + 1,) weights.
        averages: (steps + 1 - start,) averages, from ``start`` on.
        start: the step at which averaging begins.
        settled: standard deviation at which the iterate's settles.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there are more or fewer averages than iterates from ``start`` on.

    Example:
        >>> from awdlib.figures.noisy_quadratic import path_figure
        >>> path_figure([2.0, 1.0, 0.0], [1.0, 0.5], start=1, settled=0.3).get_label()
        'A weight over 2 steps: the iterate ends at +0.000, its average since step 1 at +0.500.'
    """
    import matplotlib.pyplot as plt

    last = len(iterates) - 1
    if not 0 <= start <= last or len(averages) != last + 1 - start:
        raise ValueError(
            f"there are {len(averages)} averages for {last + 1} iterates; there must be one from step {start} on"
        )
    with use_style():
        figure, axes = plt.subplots(figsize=(7.0, 3.3))
        axes.axhspan(-2 * settled, 2 * settled, color=colour("iterate"), alpha=0.1, linewidth=0)
        axes.axhline(0, color=MUTED, linewidth=1)
        axes.plot(range(last + 1), iterates, color=colour("iterate"), linewidth=0.9)
        axes.plot(range(start, last + 1), averages, color=colour("average"), linewidth=3)
        axes.axvline(start, color=MUTED, linestyle=":", linewidth=1.2)
        top = max(float(max(iterates)), 2.4 * settled)
        axes.text(start, top, " averaging begins", color=MUTED, va="top")
        axes.text(0.985, 0.93, "iterate", color=colour("iterate"), ha="right", va="top", fontweight="bold",
                  transform=axes.transAxes)  # fmt: skip
        axes.text(0.985, 0.83, "its average", color=colour("average"), ha="right", va="top", fontweight="bold",
                  transform=axes.transAxes)  # fmt: skip
        axes.set(xlabel="step", ylabel="weight (minimum at 0)", xlim=(0, last))
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(
        figure,
        f"A weight over {last} steps: the iterate ends at {float(iterates[-1]):+.3f}, its average since step {start} "
        f"at {float(averages[-1]):+.3f}.",
    )
