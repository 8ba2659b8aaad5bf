"""Pictures of what was measured of LSTM and GRU, from ``data/runs/gru.json`` and ``data/runs/gru-speed.json``."""

import json
import math
import statistics
from collections.abc import Mapping
from functools import cache
from typing import Any

import plotly.graph_objects as go

from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, GREEN, INK, ORANGE, PINK, describe, use_style

Record = Mapping[str, Any]
ARMS = {
    "LSTM": ("lstm", BLUE),
    "GRU, as wide": ("gru", ORANGE),
    "GRU, as large": ("gru", PINK),
}  #: cell and colour of those that are drawn; the last has as many parameters as the first
AXES = {
    "epochs": "epochs",
    "time": "time",
    "torch": "time, with torch's GRU",
    "operations": "operations",
}  #: what a budget may be counted in
LEFT_OUT = {
    "": "nothing", "everything": "everything", "weight drop": "weight drop", "locked dropout": "locked dropout",
    "embedding dropout": "embedding dropout", "AR and TAR": "AR and TAR",
}  #: what may be left out, as the record calls it and in words  # fmt: skip
_CANDIDATES = {"LSTM": "lstm", "GRU, as wide": "gru", "GRU, as large": "gru-equal"}


@cache
def recorded(name: str) -> dict[str, Any]:
    """A committed record, read once, and not to be changed.

    Args:
        name: "gru" or "gru-speed".

    Example:
        >>> from awdlib.figures.gru_runs import recorded
        >>> [one["size"] for one in recorded("gru-speed")["sizes"]]
        ['small', 'middle', 'paper']
    """
    return dict(json.loads(bundled(f"runs/{name}.json").read_text(encoding="utf-8")))


def arm_of(record: Record, arm: str, without: str = "") -> list[dict[str, Any]]:
    """The whole runs of an arm, a seed each.

    Args:
        record: of ``data/runs/gru.json``.
        arm: one of `ARMS`.
        without: the regularizer that was left out, "everything", or "" for none.

    Example:
        >>> from awdlib.figures.gru_runs import arm_of, recorded
        >>> [one["seed"] for one in arm_of(recorded("gru"), "LSTM")]
        [1, 2, 3]
    """
    cell = ARMS[arm][0]
    whole = [one for one in record["runs"] if one["part"] == "whole" and one["cell"] == cell]
    wide = {one["width"] for one in whole}
    width = max(wide) if arm == "GRU, as large" else min(wide)
    return [one for one in whole if one["width"] == width and one["without"] == without]


def times(speed: Record, size: str) -> dict[str, float]:
    """How long an update of each candidate takes, the LSTM's being 1: medians of the ratios within a round.

    Args:
        speed: of ``data/runs/gru-speed.json``.
        size: "small", "middle" or "paper".

    Example:
        >>> from awdlib.figures.gru_runs import times
        >>> two = {"lstm": {"seconds": [2.0, 4.0, 2.0]}, "gru": {"seconds": [1.0, 2.0, 3.0]}}
        >>> times({"sizes": [{"size": "small", "candidates": two}]}, "small")
        {'lstm': 1.0, 'gru': 0.5}
    """
    (found,) = (one["candidates"] for one in speed["sizes"] if one["size"] == size)
    base = found["lstm"]["seconds"]
    return {
        name: statistics.median(own / other for own, other in zip(one["seconds"], base, strict=True))
        for name, one in found.items()
    }


def price(speed: Record, arm: str, axis: str) -> float:
    """What an epoch of an arm costs on an axis, an epoch of the LSTM being 1.

    Args:
        speed: of ``data/runs/gru-speed.json``; the times are those of its small size.
        arm: one of `ARMS`.
        axis: one of `AXES`.

    Example:
        >>> from awdlib.figures.gru_runs import price, recorded
        >>> price(recorded("gru-speed"), "GRU, as wide", "epochs")
        1.0
    """
    which = _CANDIDATES[arm]
    if axis == "epochs" or which == "lstm":
        return 1.0
    (small,) = (one["candidates"] for one in speed["sizes"] if one["size"] == "small")
    if axis == "operations":
        return float(small[which]["operations"] / small["lstm"]["operations"])
    found = times(speed, "small")
    if axis == "time":
        return found[which]
    return found["gru-torch"] * found[which] / found["gru"]


def budget_figure(without: str, axis: str) -> go.Figure:
    """Validation perplexity of both cells against what the training cost: a line a seed.

    Args:
        without: what was left out, as the record calls it; "" for nothing.
        axis: one of `AXES`.

    Returns:
        a plotly figure.

    Example:
        >>> from awdlib.figures.gru_runs import budget_figure
        >>> budget_figure("", "epochs").layout.yaxis.type
        'log'
    """
    record, speed = recorded("gru"), recorded("gru-speed")
    data: list[dict[str, Any]] = []
    notes, said, end = [], [], 0.0
    for arm, (_, ink) in ARMS.items():
        runs = arm_of(record, arm, without)
        if not runs:
            continue
        step = price(speed, arm, axis)
        x = [step * number for number in range(1, len(runs[0]["valid"]) + 1)]
        end = max(end, x[-1])
        for run in runs:
            data.append({
                "type": "scatter", "x": x, "y": run["valid"], "mode": "lines", "line": {"color": ink, "width": 1.6},
                "name": f"{arm}, seed {run['seed']}", "hovertemplate": "%{y:.1f}",
            })  # fmt: skip
        last = statistics.fmean(min(run["valid"]) for run in runs)
        notes.append((last, arm, ink))
        said.append(f"{arm} {last:.1f} after {x[-1]:.0f}")
    floor = record["floor"]["valid"]
    data.append({
        "type": "scatter", "x": [0, end], "y": [floor, floor], "mode": "lines", "name": "floor",
        "line": {"color": GREEN, "dash": "dash"}, "hoverinfo": "skip",
    })  # fmt: skip
    ticks = [15, 20, 30, 50, 100, 200, 500]
    keys = [
        {"text": f"<b>{arm}: {last:.1f}</b>", "x": 1, "xref": "paper", "xanchor": "right", "y": 1 - 0.075 * row,
         "yref": "paper", "yanchor": "top", "showarrow": False, "font": {"color": ink}}
        for row, (last, arm, ink) in enumerate(sorted(notes, reverse=True))
    ]  # fmt: skip
    keys.append({"text": f"floor {floor:.1f}", "x": 0, "xref": "paper", "xanchor": "left", "y": _log(floor),
                 "yanchor": "bottom", "showarrow": False, "font": {"color": GREEN}})  # fmt: skip
    unit = "epochs" if axis == "epochs" else f"{AXES[axis]}: epochs of the LSTM"
    layout = {
        "height": 400, "margin": {"l": 56, "r": 16, "t": 12, "b": 52}, "annotations": keys,
        "xaxis": {"range": [0, 1.03 * end], "title": {"text": unit}},
        "yaxis": {"type": "log", "range": [_log(13), _log(520)], "tickvals": ticks, "ticktext": [*map(str, ticks)],
                  "title": {"text": "validation perplexity"}},
    }  # fmt: skip
    left = f"without {without}" if without else "with all regularizers"
    return describe(
        go.Figure(data=data, layout=layout),
        f"Best validation perplexity {left}, mean of the seeds: {'; '.join(said)} in {unit}. Floor {floor:.1f}.",
    )


def _log(value: float) -> float:
    return math.log10(value)


def differences(record: Record, arm: str) -> dict[str, list[float]]:
    """Test perplexity without a regularizer minus with all, at equal seed; "averaging" compares within a run.

    Args:
        record: of ``data/runs/gru.json``.
        arm: one of `ARMS`.

    Returns:
        what was left out -> a difference a seed.

    Example:
        >>> from awdlib.figures.gru_runs import differences, recorded
        >>> len(differences(recorded("gru"), "LSTM")["averaging"])
        3
    """
    full = {one["seed"]: one for one in arm_of(record, arm)}
    found = {
        name: [one["test"] - full[one["seed"]]["test"] for one in arm_of(record, arm, name)]
        for name in record["without"]
    }
    found["averaging"] = [one["raw_test"] - one["test"] for one in full.values()]
    return {name: values for name, values in found.items() if values}


def left_out_figure(record: Record) -> Any:
    """What leaving a regularizer out costs each cell, a dot a seed (matplotlib).

    Args:
        record: of ``data/runs/gru.json``.

    Example:
        >>> from awdlib.figures.gru_runs import left_out_figure, recorded
        >>> left_out_figure(recorded("gru")).get_label()[:21]
        'Test perplexity witho'
    """
    import matplotlib.pyplot as plt

    cells = {arm: differences(record, arm) for arm in ("LSTM", "GRU, as wide")}
    names = [*cells["LSTM"]]
    with use_style():
        figure, ax = plt.subplots(figsize=(6.4, 0.75 * len(names) + 0.9))
        for row, name in enumerate(names):
            for shift, (arm, found) in zip((-0.17, 0.17), cells.items(), strict=True):
                ink, mark = ARMS[arm][1], "o" if arm == "LSTM" else "s"
                values = found.get(name, [])
                ax.plot(values, [row + shift] * len(values), mark, color=ink, alpha=0.75, markersize=7)
                if values:
                    mean = statistics.fmean(values)
                    ax.plot([mean, mean], [row + shift - 0.16, row + shift + 0.16], color=ink, linewidth=2.5)
                if row == 0:
                    ax.annotate(arm.partition(",")[0], (0.99, row + shift), va="center", ha="right", color=ink,
                                xycoords=("axes fraction", "data"), fontweight="bold")  # fmt: skip
        ax.axvline(0, color=INK, linewidth=1)
        ax.set(yticks=range(len(names)), yticklabels=[f"– {name}" for name in names],
               xlabel="test perplexity, more than with all regularizers")  # fmt: skip
        ax.margins(x=0.12)
        ax.invert_yaxis()
        ax.grid(axis="x")
        plt.close(figure)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{arm.partition(',')[0]} {statistics.fmean(found[name]):+.1f}"
                                for arm, found in cells.items() if name in found)
        for name in names
    )  # fmt: skip
    return describe(figure, f"Test perplexity without a regularizer minus with all, mean of the seeds. {said}.")
