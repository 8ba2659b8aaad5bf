"""How an update's time and memory grow with batch, window, hidden size and vocabulary, beside a model of the cost."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
from sizes import GROWING, point

from awdlib.figures.style import MUTED, colour, describe, use_style

NAMES = {"batch": "batch", "window": "window", "hidden": "hidden size", "vocabulary": "vocabulary"}
MIB = 2**20


def points_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The measured points by name, with the memory of a typical round."""
    found = [one for one in record["measurements"] if one["group"] == "growth" and "median" in one]
    return {one["config"]: one | {"memory": statistics.median(one["memory"])} for one in found}


def fit(points: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The three constants of the cost model, the same for all points.

    Seconds are ``overhead + operations / rate``, fitted by least squares of the relative errors. Bytes are ``held``,
    which every process holds, and those that the update's tensors take; nothing is fitted to these.
    """
    seconds = np.array([one["median"] for one in points.values()])
    operations = np.array([one["operations"] for one in points.values()], dtype=float)
    terms = np.stack([np.ones_like(seconds), operations], axis=1) / seconds[:, None]
    (overhead, slope), *_ = np.linalg.lstsq(terms, np.ones_like(seconds))
    held = statistics.median(one["memory"] - one["bytes_held"] for one in points.values())
    return {"overhead": float(overhead), "rate": float(1 / slope), "held": held}


def predicted(one: dict[str, Any], constants: dict[str, float]) -> tuple[float, float]:
    """Seconds and bytes of a point by the cost model."""
    return constants["overhead"] + one["operations"] / constants["rate"], constants["held"] + one["bytes_held"]


def worst(points: dict[str, dict[str, Any]], constants: dict[str, float], number: int, name: str) -> float:
    """The largest factor between what is predicted and what was measured, in either direction."""
    ratios = [predicted(one, constants)[number] / one[name] for one in points.values()]
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def lines_of(points: dict[str, dict[str, Any]]) -> dict[str, list[tuple[int, dict[str, Any]]]]:
    """What grows, and the (value, point) measured of it; lines of less than two points are none."""
    lines = {
        what: [(value, points[name]) for value in values if (name := point(what, value)) in points]
        for what, values in GROWING.items()
    }
    return {what: line for what, line in lines.items() if len(line) > 1}


def section(record: dict[str, Any], picture: str) -> list[str]:
    """The growth in Markdown: from end to end of each line, and the figure; nothing where nothing was measured."""
    points = points_of(record)
    lines = lines_of(points)
    if not lines:
        return []
    constants = fit(points)
    rows = [["what grows", "from", "to", "operations", "time", "memory"], ["---"] + ["---:"] * 5]
    for what, line in lines.items():
        (first, one), *_, (last, other) = line
        factors = [other[name] / one[name] for name in ("operations", "median", "memory")]
        rows.append([NAMES[what], f"{first:,}", f"{last:,}", *(f"× {factor:.1f}" for factor in factors)])
    overhead, rate = 1000 * constants["overhead"], constants["rate"] / 1e9
    in_time, in_memory = (worst(points, constants, number, name) for number, name in enumerate(("median", "memory")))
    held = constants["held"] / MIB
    parts = [
        "**An update's time and memory as one of its sizes grows, the others small.** One rate for all points, "
        f"{rate:,.0f} billion operations a second, and an overhead of {overhead:.1f} ms give the time of each within "
        f"a factor of {in_time:.2f}; its tensors and {held:,.0f} MiB give the memory within {in_memory:.2f}.",
        "\n".join(f"| {' | '.join(row)} |" for row in rows),
    ]
    return [*parts, f"![{sentence(lines)}]({picture})"] if picture else parts


def sentence(lines: dict[str, list[tuple[int, dict[str, Any]]]]) -> str:
    """The figure's text alternative."""
    said = "; ".join(
        f"{NAMES[what]} {line[0][0]:,} to {line[-1][0]:,}, {1000 * line[0][1]['median']:.0f} to "
        f"{1000 * line[-1][1]['median']:.0f} ms, {line[0][1]['memory'] / MIB:,.0f} to "
        f"{line[-1][1]['memory'] / MIB:,.0f} MiB"
        for what, line in lines.items()
    )
    return f"Time and memory of an update beside the cost model: {said}."


def draw(record: dict[str, Any], path: Path) -> None:
    """The figure as an SVG: above the time, below the memory, a column for each that grows; nothing without points."""
    points = points_of(record)
    lines = lines_of(points)
    if not lines:
        return
    from matplotlib import pyplot as plt
    from matplotlib import rc_context

    constants = fit(points)
    with use_style(), rc_context({"svg.hashsalt": "growth", "axes.grid.axis": "both"}):
        figure, axes = plt.subplots(
            2, len(lines), figsize=(2.6 * len(lines), 4.8), sharex="col", sharey="row", squeeze=False
        )
        for column, (what, line) in enumerate(lines.items()):
            _draw_line(axes[:, column], line, constants)
            axes[0, column].set_title(NAMES[what])
        axes[0, 0].set_ylabel("ms an update")
        axes[1, 0].set_ylabel("MiB of the process")
        axes[0, 0].annotate("● measured", (0.06, 0.9), xycoords="axes fraction", color=colour("with"))
        axes[0, 0].annotate("– cost model", (0.06, 0.8), xycoords="axes fraction", color=MUTED)
        describe(figure, sentence(lines))
        figure.savefig(path, metadata={"Date": None, "Title": figure.get_label()})
        plt.close(figure)


def _draw_line(axes: Any, line: list[tuple[int, dict[str, Any]]], constants: dict[str, float]) -> None:
    from matplotlib.ticker import LogLocator

    values = [value for value, _ in line]
    measured = [[1000 * one["median"] for _, one in line], [one["memory"] / MIB for _, one in line]]
    model = zip(*(predicted(one, constants) for _, one in line), strict=True)
    for panel, points, expected, scale in zip(axes, measured, model, (1000, 1 / MIB), strict=True):
        panel.set(xscale="log", yscale="log")
        panel.plot(values, [value * scale for value in expected], color=MUTED)
        panel.plot(values, points, "o", color=colour("with"))
        panel.set_xticks(values, [f"{value}".removesuffix("000") + "k" * (value % 1000 == 0) for value in values])
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        panel.yaxis.set_major_formatter("{x:,.0f}")
        panel.minorticks_off()
