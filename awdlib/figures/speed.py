"""What limits a recurrent model: its operations, its waiting, and what the benchmark's record says of both."""

import json
import statistics
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, PINK, describe, use_style
from awdlib.model import ModelConfig
from awdlib.presets import PRESETS
from awdlib.published import PTB
from awdlib.recurrent import LAYERS

#: what the benchmark lets grow, one size at a time from the same small model on: name, and the values measured
GROWING = {
    "batch": ("batch", (10, 20, 40, 80, 160)),
    "window": ("window", (35, 70, 140, 280)),
    "hidden": ("hidden size", (200, 400, 800, 1600)),
    "vocabulary": ("vocabulary", (2_000, 4_000, 8_000, 16_000, 32_000)),
}
BASE = {"batch": 20, "window": 35, "hidden": 400, "vocabulary": 2_000}  #: the small model, through which all lines go
PARTS = {"input": "from below", "recurrent": "from the step before", "softmax": "softmax"}  #: of a model's products
PEERS = {"awdlib": BLUE, "bare": MUTED, "fastai": ORANGE}  #: those of the benchmark that are drawn

Record = Mapping[str, Any]


@cache
def benchmark() -> dict[str, Any]:
    """The committed record of ``make bench`` on a processor; read once, and not to be changed.

    Example:
        >>> from awdlib.figures.speed import benchmark
        >>> benchmark()["environment"]["device"]
        'cpu'
    """
    return dict(json.loads(bundled("benchmarks/cpu.json").read_text(encoding="utf-8")))


def operations(config: ModelConfig) -> dict[str, int]:
    """Floating-point operations a token of training: of the matrix products, forward and backward.

    A product of a vector with a matrix multiplies and adds once for each entry of the matrix; the backward pass has two
    of the same size, one for what came in and one for the matrix.

    Args:
        config: sizes of the model.

    Returns:
        one of `PARTS` -> operations.

    Example:
        >>> from awdlib.figures.speed import operations
        >>> from awdlib.model import ModelConfig
        >>> found = operations(ModelConfig())
        >>> round(sum(found.values()) / 1e6)
        145
    """
    gates, sizes = LAYERS[config.cell].gates, config.layer_sizes()
    entries = {
        "input": gates * sum(below * size for below, size in sizes),
        "recurrent": gates * sum(size * size for _, size in sizes),
        "softmax": config.vocab_size * sizes[-1][1],
    }
    return {part: 3 * 2 * count for part, count in entries.items()}


def point(what: str, value: int) -> str:
    """What the benchmark calls the point where one size has this value and the others are small.

    Args:
        what: one of `GROWING`.
        value: of that size.

    Raises:
        ValueError: nothing of this name grows.

    Example:
        >>> from awdlib.figures.speed import point
        >>> point("batch", 40), point("batch", 20)
        ('batch-40', 'base')
    """
    _require_growing(what)
    return "base" if BASE[what] == value else f"{what}-{value}"


def points_of(record: Record) -> dict[str, dict[str, Any]]:
    """The points of growth that a record has, by name, each with the memory of a typical round.

    Args:
        record: of the benchmark.

    Example:
        >>> from awdlib.figures.speed import benchmark, points_of
        >>> "batch-160" in points_of(benchmark())
        True
    """
    found = [one for one in record["measurements"] if one["group"] == "growth" and "median" in one]
    return {one["config"]: one | {"memory": statistics.median(one["memory"])} for one in found}


def lines_of(points: Mapping[str, dict[str, Any]]) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """What grows, and the (value, point) measured of it; lines of less than two points are none.

    Args:
        points: from `points_of`.

    Example:
        >>> from awdlib.figures.speed import benchmark, lines_of, points_of
        >>> [value for value, _ in lines_of(points_of(benchmark()))["window"]]
        [35, 70, 140, 280]
    """
    lines = {
        what: [(value, points[name]) for value in values if (name := point(what, value)) in points]
        for what, (_, values) in GROWING.items()
    }
    return {what: line for what, line in lines.items() if len(line) > 1}


def fit(points: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """The three constants of the cost model, the same for all points.

    Seconds are ``overhead + operations / rate``, fitted by least squares of the relative errors. Bytes are ``held``,
    which every process holds, and those that the update's tensors take; nothing is fitted to these.

    Args:
        points: from `points_of`.

    Returns:
        "overhead" in seconds, "rate" in operations a second, "held" in bytes.

    Example:
        >>> from awdlib.figures.speed import benchmark, fit, points_of
        >>> 0 < fit(points_of(benchmark()))["overhead"] < 1
        True
    """
    seconds = np.array([one["median"] for one in points.values()])
    counted = np.array([one["operations"] for one in points.values()], dtype=float)
    terms = np.stack([np.ones_like(seconds), counted], axis=1) / seconds[:, None]
    (overhead, slope), *_ = np.linalg.lstsq(terms, np.ones_like(seconds))
    held = statistics.median(one["memory"] - one["bytes_held"] for one in points.values())
    return {"overhead": float(overhead), "rate": float(1 / slope), "held": held}


def unseen(record: Record) -> dict[str, dict[str, Any]]:
    """The library's updates, by configuration, that are larger than every point of growth: a test for `fit`.

    Args:
        record: of the benchmark.

    Example:
        >>> from awdlib.figures.speed import benchmark, unseen
        >>> [*unseen(benchmark())]
        ['ptb-40', 'ptb-20', 'gru-40', 'wt2-80']
    """
    largest = max(one["operations"] for one in points_of(record).values())
    return {
        one["config"]: one
        for one in record["measurements"]
        if (one["group"], one["candidate"], one["precision"]) == ("step", "awdlib", "fp32")
        and "median" in one and one["operations"] > largest
    }  # fmt: skip


def predicted(one: Mapping[str, Any], constants: Mapping[str, float]) -> tuple[float, float]:
    """Seconds and bytes of a point by the cost model.

    Args:
        one: a point of `points_of`.
        constants: from `fit`.

    Example:
        >>> from awdlib.figures.speed import predicted
        >>> predicted({"operations": 100, "bytes_held": 8}, {"overhead": 1.0, "rate": 50.0, "held": 2.0})
        (3.0, 10.0)
    """
    return constants["overhead"] + one["operations"] / constants["rate"], constants["held"] + one["bytes_held"]


def beside_limit_figure(record: Record) -> Any:
    """Each configuration's update as a multiple of its matrix products alone, the library beside others (matplotlib).

    Args:
        record: of the benchmark.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: the record has no updates beside their limit.

    Example:
        >>> from awdlib.figures.speed import beside_limit_figure, benchmark
        >>> beside_limit_figure(benchmark()).get_label()[:53]
        'An update as a multiple of its matrix products alone:'
    """
    import matplotlib.pyplot as plt

    found = _multiples(record)
    if not found:
        raise ValueError("the record has no update beside its limit: run `make bench` with the group step")
    with use_style():
        figure, axes = plt.subplots(figsize=(7.2, 1.3 + 0.5 * len(found)))
        for height, (_, times) in enumerate(found.items()):
            axes.plot([1, max(times.values())], [height, height], color=MUTED, linewidth=1, alpha=0.6)
            for name, value in times.items():
                axes.plot(value, height, "o", color=PEERS[name], markersize=9)
        top = next(iter(found.values()))
        for number, name in enumerate(top):
            axes.annotate(name, (top[name], 0), xytext=(0, 10 + 12 * (number == 1)), textcoords="offset points",
                          ha="center", color=PEERS[name], fontweight="bold", fontsize=10)  # fmt: skip
        axes.axvline(1, color=GREEN)
        axes.annotate("products alone", (1, len(found) - 0.5), xytext=(5, 2), textcoords="offset points", color=GREEN)
        axes.set_yticks(range(len(found)), [*found])
        axes.set(ylim=(len(found) - 0.4, -1.0), xlabel="times as long as the matrix products alone")
        axes.set_xlim(left=0.95)
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    said = "; ".join(
        f"{config}: {', '.join(f'{name} {value:.2f}' for name, value in times.items())}"
        for config, times in found.items()
    )
    return describe(figure, f"An update as a multiple of its matrix products alone: {said}.")


def _multiples(record: Record) -> dict[str, dict[str, float]]:
    """Configuration -> candidate -> its time as a multiple of the limit's, in single precision."""
    medians: dict[str, dict[str, float]] = {}
    for one in record["measurements"]:
        if one["group"] == "step" and one["precision"] == "fp32" and "median" in one:
            medians.setdefault(one["config"], {})[one["candidate"]] = one["median"]
    return {
        config: {name: times[name] / times["limit"] for name in PEERS if name in times}
        for config, times in medians.items() if "limit" in times
    }  # fmt: skip


def growth_figure(what: str) -> go.Figure:
    """Time and memory of an update as one size grows: measured, and by the cost model.

    Args:
        what: one of `GROWING`.

    Raises:
        ValueError: nothing of this name grows.

    Example:
        >>> from awdlib.figures.speed import growth_figure
        >>> growth_figure("batch").layout.meta["alt"][:38]
        'As the batch grows from 10 to 160, the'
    """
    _require_growing(what)
    points = points_of(benchmark())
    constants, line, name = fit(points), lines_of(points)[what], GROWING[what][0]
    values = [f"{value:,}" for value, _ in line]
    measured = ([1000 * one["median"] for _, one in line], [one["memory"] / 2**20 for _, one in line])
    model = [*zip(*(predicted(one, constants) for _, one in line), strict=True)]
    traces = []
    for axis, (seen, expected, scale) in enumerate(zip(measured, model, (1000, 2**-20), strict=True), start=1):
        shared = {"type": "scatter", "x": values, "xaxis": f"x{axis}", "yaxis": f"y{axis}"}
        traces += [
            shared | {"y": [value * scale for value in expected], "mode": "lines", "line": {"color": MUTED},
                      "hoverinfo": "skip"},
            shared | {"y": seen, "mode": "markers", "marker": {"size": 10, "color": BLUE},
                      "hovertemplate": "%{x}: %{y:.0f}<extra></extra>"},
        ]  # fmt: skip
    across = {"type": "category", "title": {"text": name}}
    layout = {
        "height": 460, "margin": {"l": 62, "r": 16, "t": 30, "b": 48},
        "xaxis": across | {"anchor": "y", "showticklabels": False, "title": {"text": ""}},
        "xaxis2": across | {"anchor": "y2"},
        "yaxis": {"domain": [0.56, 1], "title": {"text": "ms an update"}, "rangemode": "tozero"},
        "yaxis2": {"domain": [0, 0.44], "title": {"text": "MiB in all"}, "rangemode": "tozero", "anchor": "x2"},
        "annotations": [
            _key("● measured", BLUE, 0.0), _key("— cost model", MUTED, 0.45),
        ],
    }  # fmt: skip
    first, last = line[0][1], line[-1][1]
    return describe(go.Figure(data=traces, layout=layout), (
        f"As the {name} grows from {values[0]} to {values[-1]}, the operations of an update grow "
        f"{last['operations'] / first['operations']:.1f} times, its time {last['median'] / first['median']:.1f} times "
        f"and the memory {last['memory'] / first['memory']:.1f} times."
    ))  # fmt: skip


def epoch_figure(latency: float, rate: float, batch: int) -> go.Figure:
    """Seconds of an epoch of the paper's model on an imagined machine: computing, waiting, and both.

    Each token of a column waits for the one before it, in every layer, forward and backward. Computing takes the same
    at every batch size; the steps that wait for each other get fewer as more columns are read side by side. This is
    arithmetic on Penn Treebank's size, and no measurement.

    Args:
        latency: microseconds that one step of one layer takes even if it computes nothing.
        rate: of computing, in thousand billion operations a second (TFLOP/s).
        batch: columns read side by side, which is marked.

    Raises:
        ValueError: a number is not positive.

    Example:
        >>> from awdlib.figures.speed import epoch_figure
        >>> print(epoch_figure(20, 10, 40).layout.meta["alt"])
        At 20 µs a step, 10 TFLOP/s and batch 40, an epoch of 139,438 dependent steps waits 3 s and computes 13 s.
    """
    require.number("latency", latency, "(0, inf)")
    require.number("rate", rate, "(0, inf)")
    require.whole_number("batch", batch, 1)
    batches = np.geomspace(5, 320, 61)
    config = PRESETS["awd-lstm-ptb"].model
    computing = sum(operations(config).values()) * PTB.tokens["train"] / (rate * 1e12)
    steps = 2 * config.num_layers * PTB.tokens["train"]  # forward and backward, at a batch of one
    waiting = steps * latency * 1e-6 / batches
    here = steps * latency * 1e-6 / batch
    shared = {"type": "scatter", "x": batches, "mode": "lines", "hovertemplate": "batch %{x:.0f}<br>%{y:.1f} s"}
    traces = [
        shared | {"y": np.full_like(batches, computing), "name": "computing", "line": {"color": BLUE}},
        shared | {"y": waiting, "name": "waiting", "line": {"color": ORANGE}},
        shared | {"y": computing + waiting, "name": "both", "line": {"color": INK, "dash": "dot"}},
        {"type": "scatter", "x": [batch], "y": [computing + here], "mode": "markers", "hoverinfo": "skip",
         "marker": {"size": 11, "color": PINK}},
    ]  # fmt: skip
    layout = {
        "height": 360, "margin": {"l": 62, "r": 16, "t": 34, "b": 48},
        "xaxis": {"type": "log", "title": {"text": "batch size"}, "tickvals": [5, 10, 20, 40, 80, 160, 320],
                  "range": [np.log10(5), np.log10(320)]},
        "yaxis": {"type": "log", "title": {"text": "seconds an epoch"}, "range": [-0.3, 4.2],
                  "tickvals": [1, 10, 100, 1000, 10_000], "ticktext": ["1", "10", "100", "1,000", "10,000"]},
        "annotations": [_key("— computing", BLUE, -0.15), _key("— waiting", ORANGE, 0.38), _key("··· both", INK, 0.78)],
    }  # fmt: skip
    return describe(go.Figure(data=traces, layout=layout), (
        f"At {latency:g} µs a step, {rate:g} TFLOP/s and batch {batch}, an epoch of {round(steps / batch):,} dependent "
        f"steps waits {here:,.0f} s and computes {computing:,.0f} s."
    ))  # fmt: skip


def _require_growing(what: str) -> None:
    if not isinstance(what, str) or what not in GROWING:
        raise ValueError(f"what is {what!r}; it must be one of {', '.join(GROWING)}")


def _key(text: str, ink: str, x: float) -> dict[str, Any]:
    return {"text": f"<b>{text}</b>", "x": x, "y": 1.01, "xref": "paper", "yref": "paper", "xanchor": "left",
            "yanchor": "bottom", "showarrow": False, "font": {"color": ink}}  # fmt: skip
