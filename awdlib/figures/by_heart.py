"""Learning a language, or learning a text by heart: one LSTM with AWD-LSTM's regularizers and one without."""

import json
import math
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.style import INK, colour, describe, fade

ARMS = ("without", "with")  #: regularizers
TEXTS = {"new": "valid", "read in training": "train"}  #: what the reader chooses -> the split
LOWEST = -6.6  #: end of the axis of probabilities, as a power of ten
HIGHEST = 250.0  #: of the axis of perplexities
Trace = dict[str, Any]


@cache
def experiment() -> dict[str, Any]:
    """The record of ``book/experiments/by_heart.py``; read once, and not to be changed.

    Example:
        >>> from awdlib.figures.by_heart import experiment
        >>> experiment()["sentences"]["valid"]
        'a branch that beatrice watches tracks this berry <eos>'
    """
    return dict(json.loads(bundled("runs/by-heart.json").read_text(encoding="utf-8")))


def runs(arm: str) -> list[dict[str, Any]]:
    """The recorded runs of one arm, a seed each; the first has the words of the two sentences.

    Args:
        arm: ``"with"`` or ``"without"`` regularizers.

    Raises:
        ValueError: there is no such arm.

    Example:
        >>> from awdlib.figures.by_heart import runs
        >>> [run["seed"] for run in runs("with")], len(runs("with")[0]["valid"])
        ([1, 2, 3], 40)
    """
    if arm not in ARMS:
        raise ValueError(f"arm is {arm!r}; it must be one of {', '.join(ARMS)}")
    return [run for run in experiment()["runs"] if run["arm"] == arm]


def by_heart_figure(text: str, epoch: int) -> go.Figure:
    """What both models make of each word of a sentence after so many epochs, above their perplexity of that text.

    Args:
        text: ``"new"`` or ``"read in training"``.
        epoch: how often both have read the training text, from 1 on.

    Returns:
        a plotly figure of two panels; the floor is what the grammar itself gives.

    Raises:
        ValueError: there is no such text or epoch.

    Example:
        >>> from awdlib.figures.by_heart import by_heart_figure
        >>> by_heart_figure("new", 40).layout.meta["alt"][:55]
        'After 40 epochs, on text that neither model has read, t'
    """
    if text not in TEXTS:
        raise ValueError(f"text is {text!r}; it must be one of {', '.join(TEXTS)}")
    epochs = len(runs("with")[0]["valid"])
    require.whole_number("epoch", epoch, 1, epochs)
    split = TEXTS[text]
    now = {arm: runs(arm)[0][split][epoch - 1] for arm in ARMS}
    words = experiment()["sentences"][split].replace("<eos>", "‹eos›").split()
    traces = [*_words(split, epoch), *_curves(split, epoch)]
    layout = _layout(words, epochs) | {"annotations": _notes(text, now)}
    return describe(go.Figure({"data": traces, "layout": layout}), _sentence(text, now, epoch))


def _words(split: str, epoch: int) -> list[Trace]:
    """Of each word, from the top: the grammar's probability as an upright stroke, the models' as dots tied to it."""
    least = np.array(experiment()["least_surprise"][split]) / -math.log(10)
    rows = np.arange(len(least), dtype=float)
    gap = np.full_like(rows, np.nan)
    traces = []
    for arm, size, lift in zip(ARMS, (12, 12), (-0.12, 0.12), strict=True):
        log_p = np.maximum(np.array(runs(arm)[0]["words"][split][epoch - 1]) / -math.log(10), LOWEST)
        ties = {"x": np.column_stack([least, log_p, gap]).ravel(), "y": np.repeat(rows + lift, 3), "mode": "lines",
                "line": {"color": fade(colour(arm), 0.35), "width": 4}}  # fmt: skip
        marker = {"color": colour(arm), "size": size}
        traces += [ties, {"x": log_p, "y": rows + lift, "mode": "markers", "marker": marker}]
    strokes = {"x": np.column_stack([least, least, gap]).ravel(), "mode": "lines",
               "y": np.column_stack([rows - 0.4, rows + 0.4, gap]).ravel(),
               "line": {"color": colour("floor"), "width": 3}}  # fmt: skip
    both = {"type": "scatter", "hoverinfo": "skip", "xaxis": "x", "yaxis": "y"}
    return [both | trace for trace in (*traces, strokes)]


def _curves(split: str, epoch: int) -> list[Trace]:
    """Perplexity so far; what is still to come, and the other seeds, pale."""
    traces = []
    for arm in ARMS:
        for run in reversed(runs(arm)):
            y = np.array(run[split])
            pale = {"color": fade(colour(arm), 0.28), "width": 1.5}
            traces.append({"x": np.arange(1, len(y) + 1), "y": y, "mode": "lines", "line": pale})
        so_far = np.where(np.arange(1, len(y) + 1) <= epoch, y, np.nan)
        line = {"color": colour(arm), "width": 3}
        traces.append({"x": np.arange(1, len(y) + 1), "y": so_far, "mode": "lines", "line": line})
        marker = {"color": colour(arm), "size": 10}
        traces.append({"x": [epoch], "y": [y[epoch - 1]], "mode": "markers", "marker": marker})
    floor = experiment()["floor"][split]
    dashed = {"color": colour("floor"), "width": 2, "dash": "dash"}
    traces.append({"x": [1, len(y)], "y": [floor, floor], "mode": "lines", "line": dashed})
    return [{"type": "scatter", "hoverinfo": "skip", "xaxis": "x2", "yaxis": "y2"} | trace for trace in traces]


def _layout(words: list[str], epochs: int) -> dict[str, Any]:
    powers = {-6: "1/million", -4: "1/10,000", -2: "1/100", 0: "1"}
    shown = (10, 20, 50, 100, 200)
    return {
        "height": 470, "margin": {"l": 72, "r": 12, "t": 44, "b": 40},
        "xaxis": {"range": [LOWEST - 0.1, 0.2], "tickvals": [*powers], "ticktext": [*powers.values()],
                  "showgrid": True, "anchor": "y"},
        "yaxis": {"domain": [0.46, 1], "range": [len(words) - 0.45, -0.55], "tickvals": list(range(len(words))),
                  "ticktext": words, "tickfont": {"size": 14, "color": INK}, "ticks": "", "showline": False,
                  "showgrid": False},
        "xaxis2": {"range": [0.5, epochs + 0.9], "anchor": "y2", "tickvals": [1, 10, 20, 30, 40],
                   "title": {"text": "times that the training text was read", "standoff": 4}},
        "yaxis2": {"domain": [0, 0.27], "type": "log", "range": [math.log10(9), math.log10(HIGHEST)],
                   "anchor": "x2", "tickvals": [*shown], "ticktext": [*map(str, shown)]},
    }  # fmt: skip


def _notes(text: str, now: dict[str, float]) -> list[dict[str, Any]]:
    """The titles of the panels, and what the colours mean with their perplexities."""
    at = {"xref": "paper", "yref": "paper", "yanchor": "bottom", "showarrow": False}
    left = at | {"x": 0, "xanchor": "left", "xshift": -68}
    center, right = at | {"x": 0.42, "xanchor": "center"}, at | {"x": 1, "xanchor": "right"}
    floor = experiment()["floor"][TEXTS[text]]
    where = "new text" if text == "new" else "the training text"
    inks = {arm: {"color": colour(arm)} for arm in ARMS} | {"floor": {"color": colour("floor")}}
    return [
        left | {"text": "<b>probability that each gave to the word that came</b>", "y": 1.06},
        left | {"text": "● without", "y": 1.005, "font": inks["without"]},
        center | {"text": "● with regularizers", "y": 1.005, "font": inks["with"]},
        right | {"text": "<b>|</b> best possible", "y": 1.005, "font": inks["floor"]},
        left | {"text": f"<b>perplexity of {where}</b> (lower is better)", "y": 0.335},
        left | {"text": f"without <b>{now['without']:.0f}</b>", "y": 0.275, "font": inks["without"]},
        center | {"text": f"with <b>{now['with']:.0f}</b>", "y": 0.275, "font": inks["with"]},
        right | {"text": f"best possible <b>{floor:.1f}</b>", "y": 0.275, "font": inks["floor"]},
    ]


def _sentence(text: str, now: dict[str, float], epoch: int) -> str:
    """The text alternative."""
    floor = experiment()["floor"][TEXTS[text]]
    read = "text that neither model has read" if text == "new" else "the text that both were trained on"
    times = "epoch" if epoch == 1 else "epochs"
    below = [name for name, value in now.items() if value < floor]
    remark = (
        f" Below the floor is only who knows the text by heart: the model {' and the one '.join(below)} regularizers."
        if below
        else ""
    )
    return (
        f"After {epoch} {times}, on {read}, the model without regularizers has perplexity {now['without']:.1f}, the "
        f"same model with those of AWD-LSTM {now['with']:.1f}; the lowest that can be expected of any model is "
        f"{floor:.1f}.{remark}"
    )
