"""How an update's time and memory grow with batch, window, hidden size and vocabulary, beside a model of the cost."""

from pathlib import Path
from typing import Any

from awdlib.figures.speed import GROWING, fit, lines_of, points_of, predicted
from awdlib.figures.style import MUTED, colour, describe, use_style

NAMES = {what: name for what, (name, _) in GROWING.items()}
MIB = 2**20


def worst(points: dict[str, dict[str, Any]], constants: dict[str, float], number: int, name: str) -> float:
    """The largest factor between what is predicted and what was measured, in either direction."""
    ratios = [predicted(one, constants)[number] / one[name] for one in points.values()]
    return max(max(ratio, 1 / ratio) for ratio in ratios)


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
