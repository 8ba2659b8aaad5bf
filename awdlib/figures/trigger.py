"""When NT-ASGD begins to average: its trigger on recorded validation losses, as coded and as printed in the paper."""

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, EMPTY, GREEN, GRID, INK, MUTED, PINK, ROLES, describe, fade
from awdlib.figures.trained import toy_run
from awdlib.ntasgd import is_triggered

CURVES = {"toy": "regularized, still falling", "overfitted": "no dropout, overfitting"}  #: the recorded runs, in words
PATIENCES = range(11)  #: those of the lower panel
LONGEST, NOT_YET = 40, 45  #: epochs of the longest record; where a rule that does not fire is drawn
LOSSES = (2.85, 4.75)  #: in view, in nats a token; the first epochs lie above

Trace = dict[str, Any]
_QUIET: Trace = {"type": "scatter", "hoverinfo": "skip"}


class Curve(NamedTuple):
    """Validation losses of a run, in nats a token; what `recorded` returns.

    Example:
        >>> from awdlib.figures.trigger import recorded
        >>> curve = recorded("toy")
        >>> len(curve.iterate), len(curve.average)
        (32, 8)
    """

    iterate: tuple[float, ...]  #: after each epoch of plain SGD
    average: tuple[float, ...]  #: of the average, after each epoch since averaging began; empty if it never did


@cache
def recorded(name: str) -> Curve:
    """The validation losses of a run that ships with the project, both on the toy language.

    "toy" is the run of `awdlib.figures.trained.toy_run`, whose trigger fired; "overfitted" has no dropout, and its
    record, of the experiment on dropout masks, is of plain SGD all through.

    Args:
        name: one of `CURVES`.

    Raises:
        ValueError: there is no such curve.

    Example:
        >>> from awdlib.figures.trigger import recorded
        >>> curve = recorded("overfitted")
        >>> min(curve.iterate) < curve.iterate[-1] - 0.5, curve.average
        (True, ())
    """
    if name not in CURVES:
        raise ValueError(f"the curve is {require.shown(name)}; it must be one of {', '.join(CURVES)}")
    if name == "toy":
        epochs = toy_run().record["epochs"]
        return Curve(*(tuple(e["valid_loss"] for e in epochs if e["averaging"] is on) for on in (False, True)))
    runs = json.loads(bundled("runs/dropout-masks.json").read_text(encoding="utf8"))["runs"]
    curve = runs["none-1"]["curve"]
    return Curve(tuple(math.log(epoch["valid"]) for epoch in curve), ())


def noisy(losses: tuple[float, ...], noise: float, seed: int = 4) -> list[float]:
    """A copy of the losses with independent normal noise on each; the same draws at every strength.

    Args:
        losses: in nats a token.
        noise: standard deviation, in nats a token.
        seed: of the draws.

    Raises:
        ValueError: noise is negative or not finite.

    Example:
        >>> from awdlib.figures.trigger import noisy
        >>> noisy((4.0, 3.5), 0.0), noisy((4.0, 3.5), 0.1) == [4.0, 3.5]
        ([4.0, 3.5], False)
    """
    noise = require.number("noise", noise, "[0, inf)")
    draws = torch.randn(len(losses), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return [loss + noise * draw for loss, draw in zip(losses, draws.tolist(), strict=True)]


def is_triggered_as_printed(history: list[float], patience: int) -> bool:
    """Whether the newest loss is worse than the best of the last ``patience`` losses before it.

    Algorithm 1 of Merity et al. 2017 as its first version prints it: t > n and v > the smallest of logs[t - n … t],
    where the log holds the t losses before v. An author has called it a typo; `awdlib.ntasgd.is_triggered` is the rule
    as coded. With patience 0 there is nothing to compare with, and it never fires.

    Args:
        history: validation losses in order, the newest last.
        patience: n of the paper.

    Raises:
        ValueError: a loss is not finite, or patience is negative.

    Example:
        Worse than the loss before it is enough, once there are more than n before it:

        >>> from awdlib.figures.trigger import is_triggered_as_printed
        >>> is_triggered_as_printed([5.0, 4.0, 3.9, 3.8, 3.85], patience=2)
        True
    """
    is_triggered(history, patience)  # refuses what the rule as coded refuses
    return len(history) > patience + 1 and history[-1] > min(history[-patience - 1 : -1], default=math.inf)


RULES: dict[str, Callable[[list[float], int], bool]] = {"coded": is_triggered, "printed": is_triggered_as_printed}


def trigger_epoch(losses: list[float], patience: int, rule: str = "coded") -> int | None:
    """The epoch after whose validation averaging begins, counted from 1; None if the rule never fires.

    Args:
        losses: validation losses in order.
        patience: n of the paper.
        rule: "coded" or "printed".

    Raises:
        ValueError: an unknown rule, a loss that is not finite, or a negative patience.

    Example:
        >>> from awdlib.figures.trigger import recorded, trigger_epoch
        >>> losses = list(recorded("toy").iterate)
        >>> trigger_epoch(losses, 5), trigger_epoch(losses, 5, rule="printed"), trigger_epoch(losses, 0)
        (32, 10, 6)
    """
    _require_rule(rule)
    seen = range(1, len(losses) + 1)
    return next((epoch for epoch in seen if RULES[rule](losses[:epoch], patience)), None)


def _require_rule(rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"the rule is {require.shown(rule)}; it must be one of {', '.join(RULES)}")


def compared(epoch: int, patience: int, rule: str) -> tuple[range, range]:
    """The epochs whose losses the loss after ``epoch`` is compared with, and those left out.

    Args:
        epoch: the one just finished, counted from 1.
        patience: n of the paper.
        rule: "coded" or "printed".

    Returns:
        both as ranges of epochs; the first one is empty where the rule has too few losses to compare.

    Raises:
        ValueError: an unknown rule.

    Example:
        >>> from awdlib.figures.trigger import compared
        >>> [list(epochs) for epochs in compared(8, 3, "coded")], [list(epochs) for epochs in compared(8, 3, "printed")]
        ([[1, 2, 3, 4], [5, 6, 7]], [[5, 6, 7], [1, 2, 3, 4]])
    """
    _require_rule(rule)
    border = max(1, epoch - patience)
    old, recent = range(1, border), range(border, epoch)
    if epoch <= patience + 1:
        return range(1, 1), range(1, epoch)
    return (old, recent) if rule == "coded" else (recent, old)


def trigger_figure(curve: str, rule: str, patience: int, noise: float) -> go.Figure:
    """A validation curve and the level that a rule holds it against; below, when the rule fires at every patience.

    Args:
        curve: one of `CURVES`.
        rule: "coded" or "printed".
        patience: n of the paper, 0 to 10.
        noise: standard deviation of what is added to each loss, in nats a token.

    Returns:
        a plotly figure of two panels that share the axis of epochs.

    Raises:
        ValueError: an unknown curve or rule, a patience outside 0 to 10, or a negative noise.

    Example:
        >>> from awdlib.figures.trigger import trigger_figure
        >>> trigger_figure("toy", "coded", patience=5, noise=0.0).layout.meta["alt"].partition(" (")[0]
        'Averaging begins after epoch 32'
    """
    require.whole_number("patience", patience, PATIENCES[0], PATIENCES[-1])
    iterate, average = recorded(curve)
    losses = noisy(iterate, noise)
    epoch = trigger_epoch(losses, patience, rule)
    fires = _all_triggers(tuple(losses))
    known = average if noise == 0 and epoch == len(iterate) else ()  # recorded for the run's own trigger only
    traces = [
        *_spans(epoch or len(losses), patience, rule),
        *_curve(losses, epoch, patience, rule),
        *_average(known, len(iterate)),
        *_map(fires, rule, patience),
    ]
    figure = go.Figure(traces, _layout(epoch, len(losses), bool(known)))
    return describe(figure, _sentence(losses, epoch, patience, rule, fires["coded"][0]))


@cache
def _all_triggers(losses: tuple[float, ...]) -> dict[str, list[int | None]]:
    return {name: [trigger_epoch(list(losses), n, name) for n in PATIENCES] for name in RULES}


def levels(losses: list[float], patience: int, rule: str) -> list[float]:
    """The smallest of the losses that each epoch's loss is compared with; nan where there is nothing to compare.

    Args:
        losses: validation losses in order.
        patience: n of the paper.
        rule: "coded" or "printed".

    Raises:
        ValueError: an unknown rule.

    Example:
        >>> from awdlib.figures.trigger import levels
        >>> levels([5.0, 4.0, 4.5, 4.2], patience=1, rule="coded")
        [nan, nan, 5.0, 4.0]
    """
    spans = (compared(epoch, patience, rule)[0] for epoch in range(1, len(losses) + 1))
    return [min((losses[earlier - 1] for earlier in span), default=math.nan) for span in spans]


def _spans(epoch: int, patience: int, rule: str) -> list[Trace]:
    """The epochs compared with, and those left out, shaded."""
    low, high = LOSSES
    shades = []
    for span, ink in zip(compared(epoch, patience, rule), (fade(GREEN, 0.16), EMPTY), strict=True):
        left, right = (span[0] - 0.5, span[-1] + 0.5) if span else (0, 0)
        corners = {"x": [left, right, right, left], "y": [low, low, high, high]}
        shades.append(corners | {"fill": "toself", "fillcolor": ink, "mode": "lines", "line": {"width": 0}, **_QUIET})
    return shades


def _curve(losses: list[float], epoch: int | None, patience: int, rule: str) -> list[Trace]:
    """The losses, strong up to the trigger, over the steps of the level; the comparison that decides, bold."""
    epochs, last, ink = np.arange(1, LONGEST + 1), epoch or len(losses), ROLES["iterate"]
    all_levels = levels(losses, patience, rule)
    padded, level = (np.array([*v, *[math.nan] * (LONGEST - len(v))]) for v in (losses, all_levels[:last]))
    span, best = compared(last, patience, rule)[0], all_levels[last - 1]
    since = min(span, key=lambda earlier: losses[earlier - 1], default=math.nan)
    at = epoch or math.nan
    height = min(losses[epoch - 1], LOSSES[1]) if epoch else math.nan
    return [
        _line(epochs, padded, fade(ink, 0.4), 1.5),
        _line(epochs, level, fade(GREEN, 0.55), 1.5, shape="hvh"),
        _line(epochs, np.where(epochs <= last, padded, math.nan), ink, 2, "lines+markers"),
        _line([since, last], [best, best], GREEN, 3, "lines+markers"),
        _line([at, at], list(LOSSES), INK, 1.25, dash="dot"),
        _dots([at], [height], INK, 12),
        _dots([at], [height], ink, 8),
    ]


def _average(average: tuple[float, ...], begun: int) -> list[Trace]:
    epochs = list(range(begun + 1, begun + len(average) + 1))
    return [_line(epochs or [math.nan], average or [math.nan], ROLES["average"], 2, "lines+markers")]


def _map(fires: dict[str, list[int | None]], rule: str, patience: int) -> list[Trace]:
    """When each rule fires at every patience; the row of the one set is shaded, its dot ringed, its line drawn up."""
    at = fires[rule][patience]
    x = at or math.nan
    where = {name: [epoch or NOT_YET for epoch in epochs] for name, epochs in fires.items()}
    traces = [
        _line([0, NOT_YET + 3], [patience, patience], GRID, 11),
        _line([x, x], [PATIENCES[-1] + 1, -1], INK, 1.25, dash="dot"),
        _dots([at or NOT_YET], [patience], INK, 14),
        _dots(where["coded"], list(PATIENCES), BLUE, 10),
        _dots(where["printed"], list(PATIENCES), PINK, 7, "diamond"),
    ]
    return [trace | {"xaxis": "x2", "yaxis": "y2"} for trace in traces]


def _line(x: Any, y: Any, ink: str, width: float, mode: str = "lines", **look: str) -> Trace:
    line = {"color": ink, "width": width, **look}
    return {"x": x, "y": y, "mode": mode, "line": line, "marker": {"color": ink, "size": 5}, **_QUIET}


def _dots(x: Any, y: Any, ink: str, size: float, symbol: str = "circle") -> Trace:
    return {"x": x, "y": y, "mode": "markers", "marker": {"color": ink, "size": size, "symbol": symbol}, **_QUIET}


def _layout(epoch: int | None, checks: int, averaged: bool) -> dict[str, Any]:
    words = f"averaging begins<br><b>after epoch {epoch}</b>" if epoch else f"no trigger<br>in <b>{checks} epochs</b>"
    at = epoch or checks
    side = "right" if at > 27 else "left"  # of the label, where its line stands
    return {
        "height": 460, "margin": {"l": 48, "r": 8, "t": 28, "b": 46},
        "xaxis": {"range": [0, NOT_YET + 3], "showticklabels": False, "ticks": ""},
        "xaxis2": {"range": [0, NOT_YET + 3], "tickvals": [1, 10, 20, 30, 40, NOT_YET], "anchor": "y2",
                   "ticktext": ["1", "10", "20", "30", "", "not yet"], "title": {"text": "epoch"}},
        "yaxis": {"domain": [0.4, 1], "range": list(LOSSES), "title": {"text": "validation loss (nats)"},
                  "tickvals": [3, 3.5, 4, 4.5]},
        "yaxis2": {"domain": [0, 0.29], "range": [PATIENCES[-1] + 0.8, -0.8], "title": {"text": "patience <i>n</i>"},
                   "tickvals": [0, 5, 10], "showgrid": False},
        "annotations": [
            _note("■ compared with", 0, 1, GREEN), _note("━ their best", 0.42, 1, GREEN),
            _note("■ left out", 0.76, 1, MUTED),
            _note("when it fires, by <i>n</i>:", 0, 0.29, INK), _note("● as coded", 0.42, 0.29, BLUE),
            _note("◆ as printed", 0.7, 0.29, PINK),
            {"text": words, "x": at + (-0.9 if side == "right" else 0.9), "y": LOSSES[1] - 0.05, "xanchor": side,
             "yanchor": "top", "align": side, "font": {"color": INK}},
            {"text": "average" if averaged else "", "x": checks + 1, "y": 3.07, "xanchor": "left", "yanchor": "top",
             "font": {"color": ROLES["average"]}},
        ],
    }  # fmt: skip


def _note(text: str, x: float, y: float, ink: str) -> dict[str, Any]:
    return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
            "yshift": 3, "font": {"color": ink, "size": 12}}  # fmt: skip


def _sentence(losses: list[float], epoch: int | None, patience: int, rule: str, plain: int | None) -> str:
    beside = f"As coded and without patience it would be epoch {plain}." if patience else ""
    if epoch is None:
        return f"No trigger in {len(losses)} epochs (as {rule}, n = {patience}). {beside}".rstrip()
    level, span = levels(losses, patience, rule)[epoch - 1], compared(epoch, patience, rule)[0]
    which = f"the loss of epoch {span[0]}" if len(span) == 1 else f"the best of epochs {span[0]} to {span[-1]}"
    return (
        f"Averaging begins after epoch {epoch} (as {rule}, n = {patience}): its loss of {losses[epoch - 1]:.3f} nats "
        f"is worse than {level:.3f}, {which}. {beside}".rstrip()
    )
