"""The recorded runs on ptb-100k, one arm at a time beside the full model: what each seed's validation curve did."""

import json
import math
from functools import cache
from typing import Any

import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.ablation import ROWS
from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, MUTED, ORANGE, PAPER, describe, fade

SEEDS = (1, 2, 3)  #: of every arm
#: Arm -> what a control calls it, in the order in which it offers them.
ARMS = {
    "unregularized": "no regularizer at all",
    **{row: ROWS[row].label.replace("– ", "without ") for row in ROWS if row != "full"},
    "gru": "GRU, as many parameters",
    "zaremba": "Zaremba's rule",
}
TICKS = (100, 120, 150, 200, 300, 400)  # of perplexity


@cache
def recorded(arm: str, seed: int) -> dict[str, Any]:
    """The record of a run on ``ptb-100k``; read once, and not to be changed.

    Args:
        arm: ``"full"``, or one of `ARMS`.
        seed: one of `SEEDS`.

    Raises:
        ValueError: there is no such arm or seed.

    Example:
        >>> from awdlib.figures.recorded_runs import recorded
        >>> recorded("full", 1)["corpus"]["name"]
        'ptb-100k'
    """
    if arm != "full" and arm not in ARMS:
        raise ValueError(f"arm is {arm!r}; it must be one of full, {', '.join(ARMS)}")
    require.whole_number("seed", seed, SEEDS[0], SEEDS[-1])
    path = bundled(f"runs/ptb-100k/{arm}-{seed}/record.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def recorded_figure(arm: str, seed: int) -> go.Figure:
    """Validation perplexity by epoch of one arm and of the full model, at one seed; the other seeds pale.

    A ring marks the epoch after which a run began to average. A fine-tuned run goes on from the full one, so its
    curve begins where that one ends.

    Args:
        arm: one of `ARMS`.
        seed: one of `SEEDS`.

    Returns:
        a plotly figure.

    Raises:
        ValueError: there is no such arm or seed.

    Example:
        >>> from awdlib.figures.recorded_runs import recorded_figure
        >>> recorded_figure("no-weight-drop", 2).layout.meta["alt"][:59]
        'Seed 2 on ptb-100k. The full model reaches a test perplexit'
    """
    ours, full = recorded(arm, seed), recorded("full", seed)
    traces = []
    for name, ink in (("full", BLUE), (arm, ORANGE)):
        for other in (*(one for one in SEEDS if one != seed), seed):
            traces += _curve(recorded(name, other), ink, _shift(name, other), bold=other == seed)
    epochs = max(len(full["epochs"]), _shift(arm, seed) + len(ours["epochs"]))
    tests = {name: record["final_perplexity"]["test"] for name, record in (("full", full), (arm, ours))}
    layout = {
        "height": 380, "margin": {"l": 52, "r": 12, "t": 70, "b": 44},
        "xaxis": {"range": [0.5, epochs + 0.8], "title": {"text": "epoch"}},
        "yaxis": {"type": "log", "range": [math.log10(105), math.log10(430)], "tickvals": [*TICKS],
                  "ticktext": [*map(str, TICKS)], "title": {"text": "validation perplexity"}},
        "annotations": [_note(f"● full, test <b>{tests['full']:.1f}</b>", BLUE, 40),
                        _note(f"● {ARMS[arm]}, test <b>{tests[arm]:.1f}</b>", ORANGE, 20),
                        _note("○ averaging begins", MUTED, 0)],
    }  # fmt: skip
    return describe(go.Figure({"data": traces, "layout": layout}), _sentence(arm, seed, tests))


def _shift(arm: str, seed: int) -> int:
    """Epochs done before the first one of a run."""
    return len(recorded("full", seed)["epochs"]) if arm == "fine-tuned" else 0


def _curve(record: dict[str, Any], ink: str, shift: int, bold: bool) -> list[dict[str, Any]]:
    y = [epoch["valid_perplexity"] for epoch in record["epochs"]]
    x = [shift + epoch["epoch"] for epoch in record["epochs"]]
    line = {"color": ink, "width": 3} if bold else {"color": fade(ink, 0.3), "width": 1.5}
    both = {"type": "scatter", "hoverinfo": "skip"}
    began = record["averaging"]["begun_after_epoch"] - 1 if bold and record["averaging"] else None
    ring = {"color": PAPER, "size": 11, "line": {"color": ink, "width": 2.5}}
    place = ([], []) if began is None else ([x[began]], [y[began]])
    curve = both | {"x": x, "y": y, "mode": "lines", "line": line}
    return [curve, both | {"x": place[0], "y": place[1], "mode": "markers", "marker": ring}] if bold else [curve]


def _note(text: str, ink: str, above: int) -> dict[str, Any]:
    """A line of words over the picture, so many pixels above it."""
    at = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "yshift": above}
    return at | {"showarrow": False, "text": text, "font": {"color": ink}}


def _sentence(arm: str, seed: int, tests: dict[str, float]) -> str:
    def began(name: str) -> str:
        record = recorded(name, seed)
        if began := record["averaging"]:
            return f"averaging from epoch {began['begun_after_epoch'] + 1}"
        return "averaging from its start" if record["training"]["average_from"] == 1 else "never averaging"

    return (
        f"Seed {seed} on ptb-100k. The full model reaches a test perplexity of {tests['full']:.1f}, {began('full')}; "
        f"'{ARMS[arm]}' {tests[arm]:.1f}, {began(arm)}."
    )
