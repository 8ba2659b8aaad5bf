"""Pictures of what was measured of LSTM and GRU, from ``data/runs/gru.json`` and ``data/runs/gru-speed.json``."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, PINK, describe, use_style
from awdlib.results import Difference

Record = Mapping[str, Any]
ARMS = {
    "LSTM": ("lstm", BLUE),
    "GRU, as wide": ("gru", ORANGE),
    "GRU, as large": ("gru", PINK),
}  #: cell and colour of those that are drawn; the last has as many parameters as the first
AXES = {"epochs": "epochs", "time": "time", "operations": "operations"}  #: what a budget may be counted in
LEFT_OUT = {
    "": "nothing", "everything": "everything", "weight drop": "weight drop", "locked dropout": "locked dropout",
    "embedding dropout": "embedding dropout", "AR and TAR": "AR and TAR",
}  #: what may be left out, as the record calls it and in words  # fmt: skip
TICKS = (15, 20, 25, 30, 40, 60)  #: of the perplexities
_CANDIDATES = {"LSTM": "lstm", "GRU, as wide": "gru", "GRU, as large": "gru-equal"}


@cache
def recorded(name: str) -> dict[str, Any]:
    """A committed record, read once, and not to be changed.

    Args:
        name: "gru" or "gru-speed".

    Raises:
        ValueError: it is another.

    Example:
        >>> from awdlib.figures.gru_runs import recorded
        >>> [one["size"] for one in recorded("gru-speed")["sizes"]]
        ['small', 'middle', 'paper']
    """
    _known("name", name, ("gru", "gru-speed"))
    return dict(json.loads(bundled(f"runs/{name}.json").read_text(encoding="utf-8")))


def arm_of(record: Record, arm: str, without: str = "") -> list[dict[str, Any]]:
    """The whole runs of an arm, a seed each.

    Args:
        record: of ``data/runs/gru.json``.
        arm: one of `ARMS`.
        without: the regularizer that was left out, "everything", or "" for none.

    Raises:
        ValueError: there is no such arm, or nothing so called was left out.

    Example:
        >>> from awdlib.figures.gru_runs import arm_of, recorded
        >>> [one["seed"] for one in arm_of(recorded("gru"), "LSTM")]
        [1, 2, 3]
    """
    cell = ARMS[_known("arm", arm, ARMS)][0]
    _known("without", without, LEFT_OUT)
    whole = [one for one in record["runs"] if one["part"] == "whole" and one["cell"] == cell]
    wide = {one["width"] for one in whole}
    width = max(wide) if arm == "GRU, as large" else min(wide)
    return [one for one in whole if one["width"] == width and one["without"] == without]


def times(speed: Record, size: str) -> dict[str, float]:
    """How long an update of each candidate takes, the LSTM's being 1: medians of the ratios within a round.

    Args:
        speed: of ``data/runs/gru-speed.json``.
        size: "small", "middle" or "paper".

    Raises:
        ValueError: there is no such size.

    Example:
        >>> from awdlib.figures.gru_runs import times
        >>> two = {"lstm": {"seconds": [2.0, 4.0, 2.0]}, "gru": {"seconds": [1.0, 2.0, 3.0]}}
        >>> times({"sizes": [{"size": "small", "candidates": two}]}, "small")
        {'lstm': 1.0, 'gru': 0.5}
    """
    sizes = {one["size"]: one["candidates"] for one in speed["sizes"]}
    found = sizes[_known("size", size, sizes)]
    base = found["lstm"]["seconds"]
    return {
        name: statistics.median(own / other for own, other in zip(one["seconds"], base, strict=True))
        for name, one in found.items()
    }


def price(speed: Record, arm: str, axis: str) -> float:
    """What an epoch of an arm costs on an axis, an epoch of the LSTM being 1.

    Args:
        speed: of ``data/runs/gru-speed.json``; its small size is that of the runs.
        arm: one of `ARMS`.
        axis: one of `AXES`.

    Raises:
        ValueError: there is no such arm or axis.

    Example:
        >>> from awdlib.figures.gru_runs import price, recorded
        >>> price(recorded("gru-speed"), "GRU, as wide", "epochs")
        1.0
    """
    which = _CANDIDATES[_known("arm", arm, ARMS)]
    _known("axis", axis, AXES)
    if axis == "epochs" or which == "lstm":
        return 1.0
    (small,) = (one["candidates"] for one in speed["sizes"] if one["size"] == "small")
    if axis == "operations":
        return float(small[which]["operations"] / small["lstm"]["operations"])
    return times(speed, "small")[which]


def budget(record: Record, speed: Record, axis: str, upto: float, without: str = "") -> float:
    """A budget that every arm has used up, or a smaller one, an epoch of the LSTM being 1.

    Args:
        record: of ``data/runs/gru.json``.
        speed: of ``data/runs/gru-speed.json``.
        axis: one of `AXES`, which the budget is counted in.
        upto: the budget that is asked for, at least 2.
        without: what was left out, as the record calls it; "" for nothing.

    Raises:
        ValueError: an argument is none of these.

    Example:
        >>> from awdlib.figures.gru_runs import budget, recorded
        >>> [budget(recorded("gru"), recorded("gru-speed"), "epochs", upto) for upto in (15, 100)]
        [15.0, 40.0]
    """
    require.number("upto", upto, "[2, inf)")
    arms = [arm for arm in ARMS if arm_of(record, arm, without)]
    return float(min(upto, record["epochs"] * min(price(speed, arm, axis) for arm in arms)))


def within(record: Record, speed: Record, axis: str, upto: float, without: str = "") -> dict[str, dict[int, float]]:
    """The best validation perplexity of each arm within a `budget`, by seed.

    Args:
        record: of ``data/runs/gru.json``.
        speed: of ``data/runs/gru-speed.json``.
        axis: one of `AXES`, which the budget is counted in.
        upto: the budget, an epoch of the LSTM being 1; at least 2.
        without: what was left out, as the record calls it; "" for nothing.

    Returns:
        arm -> seed -> perplexity; arms of which there are runs.

    Raises:
        ValueError: an argument is none of these.

    Example:
        >>> from awdlib.figures.gru_runs import recorded, within
        >>> [*within(recorded("gru"), recorded("gru-speed"), "time", 20, "everything")]
        ['LSTM', 'GRU, as wide']
    """
    most, best = budget(record, speed, axis, upto, without), {}
    for arm in ARMS:
        epochs = math.floor(most / price(speed, arm, axis) + 1e-9)
        if runs := arm_of(record, arm, without):
            best[arm] = {one["seed"]: min(one["valid"][:epochs]) for one in runs}
    return best


def gap(arm: str, against: str, ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference:
    """Perplexities of one arm minus those of another, at equal seed.

    Args:
        arm: what the first is called.
        against: what the other is called.
        ours: seed -> perplexity.
        theirs: seed -> perplexity.

    Raises:
        ValueError: the seeds are not the same.

    Example:
        >>> from awdlib.figures.gru_runs import gap
        >>> gap("GRU", "LSTM", {1: 23.0, 2: 23.5}, {1: 22.5, 2: 22.6}).by_seed
        {1: 0.5, 2: 0.8999999999999986}
    """
    if {*ours} != {*theirs}:
        raise ValueError(f"seeds are {[*ours]} and {[*theirs]}; they must be the same")
    return Difference(arm, against, {seed: value - theirs[seed] for seed, value in ours.items()})


def perplexities(record: Record, arm: str, without: str = "") -> dict[int, float]:
    """Test perplexities of an arm, by seed.

    Args:
        record: of ``data/runs/gru.json``.
        arm: one of `ARMS`.
        without: what was left out, as the record calls it; "" for nothing.

    Example:
        >>> from awdlib.figures.gru_runs import perplexities, recorded
        >>> [*perplexities(recorded("gru"), "LSTM")]
        [1, 2, 3]
    """
    return {one["seed"]: one["test"] for one in arm_of(record, arm, without)}


def budget_figure(without: str, axis: str, upto: float) -> go.Figure:
    """Validation perplexity of both cells against what the training cost: a line a seed, and where a budget ends.

    Args:
        without: what was left out, as the record calls it; "" for nothing.
        axis: one of `AXES`.
        upto: the budget, an epoch of the LSTM being 1; less where an arm has not used up so much.

    Returns:
        a plotly figure.

    Raises:
        ValueError: an argument is none of these.

    Example:
        >>> from awdlib.figures.gru_runs import budget_figure
        >>> budget_figure("", "epochs", 40).layout.yaxis.type
        'log'
    """
    record, speed = recorded("gru"), recorded("gru-speed")
    found = within(record, speed, axis, upto, without)
    best = {arm: statistics.fmean(by_seed.values()) for arm, by_seed in found.items()}
    most, floor = budget(record, speed, axis, upto, without), record["floor"]["valid"]
    data: list[dict[str, Any]] = []
    for arm in best:
        step = price(speed, arm, axis)
        for run in arm_of(record, arm, without):
            x = [step * number for number in range(1, len(run["valid"]) + 1)]
            data.append({
                "type": "scatter", "x": x, "y": run["valid"], "mode": "lines", "line": {"color": ARMS[arm][1],
                "width": 1.6}, "name": f"{arm}, seed {run['seed']}", "hovertemplate": "%{y:.1f}",
            })  # fmt: skip
    end = max(line["x"][-1] for line in data)
    data.append({
        "type": "scatter", "x": [0, end], "y": [floor, floor], "mode": "lines", "name": "floor",
        "line": {"color": GREEN, "dash": "dash"}, "hoverinfo": "skip",
    })  # fmt: skip
    keys = [
        {"text": f"<b>{arm}: {value:.1f}</b>", "x": 1, "xref": "paper", "xanchor": "right", "y": 1 - 0.075 * row,
         "yref": "paper", "yanchor": "top", "showarrow": False, "font": {"color": ARMS[arm][1]}}
        for row, (arm, value) in enumerate(sorted(best.items(), key=lambda one: -one[1]))
    ]  # fmt: skip
    keys.append({"text": f"floor {floor:.1f}", "x": 0, "xref": "paper", "xanchor": "left", "y": _log(floor),
                 "yanchor": "bottom", "showarrow": False, "font": {"color": GREEN}})  # fmt: skip
    unit = "epochs" if axis == "epochs" else f"{AXES[axis]}, in epochs of the LSTM"
    layout = {
        "height": 400, "margin": {"l": 56, "r": 16, "t": 12, "b": 52}, "annotations": keys,
        "shapes": [{"type": "line", "x0": most, "x1": most, "yref": "paper", "y0": 0, "y1": 0.72,
                    "line": {"color": MUTED, "width": 1.5, "dash": "dot"}}],
        "xaxis": {"range": [0, 1.03 * end], "title": {"text": unit}},
        "yaxis": {"type": "log", "range": [_log(14), _log(80)], "tickvals": [*TICKS], "ticktext": [*map(str, TICKS)],
                  "title": {"text": "validation perplexity"}},
    }  # fmt: skip
    left = f"without {without}" if without else "with all regularizers"
    said = "; ".join(f"{arm} {value:.1f}" for arm, value in best.items())
    return describe(
        go.Figure(data=data, layout=layout),
        f"Best validation perplexity {left}, within a budget of {most:.0f} {unit} (dotted line), mean of the seeds: "
        f"{said}. Floor {floor:.1f}.",
    )


def _known(name: str, value: Any, among: Iterable[str]) -> str:
    """Look whether a value is one of those that there are."""
    if value not in [*among]:
        raise ValueError(f"{name} is {require.shown(value)}; it must be one of {', '.join(map(repr, among))}")
    return str(value)


def _log(value: float) -> float:
    return math.log10(value)


def differences(record: Record, arm: str) -> dict[str, Difference]:
    """Test perplexity without a regularizer minus with all, at equal seed; "averaging" compares within a run.

    Args:
        record: of ``data/runs/gru.json``.
        arm: one of `ARMS`.

    Returns:
        what was left out -> the difference; those of which there are runs.

    Example:
        >>> from awdlib.figures.gru_runs import differences, recorded
        >>> [*differences(recorded("gru"), "LSTM")["averaging"].by_seed]
        [1, 2, 3]
    """
    left = {name: perplexities(record, arm, name) for name in record["without"]}
    left["averaging"] = {one["seed"]: one["raw_test"] for one in arm_of(record, arm)}
    return {name: gap(f"– {name}", arm, ours, perplexities(record, arm)) for name, ours in left.items() if ours}


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
        figure, ax = plt.subplots(figsize=(6.4, 0.75 * len(names) + 1.1))
        for column, (shift, mark, (arm, found)) in enumerate(zip((-0.17, 0.17), "os", cells.items(), strict=True)):
            ink = ARMS[arm][1]
            for row, name in enumerate(names):
                values = [*found[name].by_seed.values()] if name in found else []
                ax.plot(values, [row + shift] * len(values), mark, color=ink, alpha=0.75, markersize=7)
                if values:
                    mean = statistics.fmean(values)
                    ax.plot([mean, mean], [row + shift - 0.16, row + shift + 0.16], color=ink, linewidth=2.5)
            ax.annotate(f"{'●■'[column]} {arm.partition(',')[0]}", (0.2 * column, 1.03), xycoords="axes fraction",
                        va="bottom", color=ink, fontweight="bold")  # fmt: skip
        ax.axvline(0, color=INK, linewidth=1)
        ax.set(yticks=range(len(names)), yticklabels=[f"– {name}" for name in names],
               xlabel="test perplexity, more than with all regularizers")  # fmt: skip
        ax.margins(x=0.08)
        ax.invert_yaxis()
        ax.grid(axis="x")
        plt.close(figure)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{arm.partition(',')[0]} {found[name].mean:+.1f}"
                                for arm, found in cells.items() if name in found)
        for name in names
    )  # fmt: skip
    return describe(figure, f"Test perplexity without a regularizer minus with all, mean of the seeds. {said}.")
