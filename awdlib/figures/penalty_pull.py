"""What the two penalties alone would make of a hidden trace: a sum of cosines over time, each pulled at by frequency.

The trace is of the record ``data/runs/activation-penalties.json``.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.figures.activation_penalties import experiment, trained
from awdlib.figures.style import BLUE, MUTED, PINK, describe

BATCH, RATE = 20, 20.0  #: sequences side by side, and learning rate, of the recorded trainings
_LOWEST, _HIGHEST = 1e-5, 3.0  # ends of the axis of powers


def cosine_basis(seq_len: int) -> Tensor:
    """The cosines of which any trace of this length is a sum: the orthonormal basis of the discrete cosine transform.

    Row k is a cosine that makes k half turns over the window. The rows are the eigenvectors of the matrix of second
    differences with free ends, with eigenvalues 2 - 2 cos(pi k / seq_len) (Strang 1999, DCT-2).

    Args:
        seq_len: time steps.

    Returns:
        (seq_len, seq_len) in double precision, by frequency and time; ``cosine_basis(T) @ trace`` are the
        coefficients of a trace (T, features).

    Raises:
        ValueError: seq_len is not positive.

    Example:
        A constant trace has its whole power at frequency 0:

        >>> import torch
        >>> from awdlib.figures.penalty_pull import cosine_basis
        >>> (cosine_basis(4) @ torch.ones(4, dtype=torch.float64)).abs().round(decimals=6).tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    require.whole_number("seq_len", seq_len, 1)
    time = torch.arange(seq_len, dtype=torch.float64) + 0.5
    frequency = math.pi / seq_len * torch.arange(seq_len, dtype=torch.float64)
    basis = math.sqrt(2 / seq_len) * torch.cos(frequency[:, None] * time)
    basis[0] /= math.sqrt(2)
    return basis


def pull(seq_len: int, alpha: float, beta: float) -> Tensor:
    """How hard the two penalties pull at each cosine of a trace: T B H / 2 times the gradient, for a coefficient of 1.

    Args:
        seq_len: time steps T, at least 2.
        alpha: weight of AR.
        beta: weight of TAR.

    Returns:
        (seq_len,), alpha + beta (2 - 2 cos(pi k / T)) T / (T - 1) of frequency k.

    Raises:
        ValueError: there are fewer than two steps, or a weight is negative or not finite.

    Example:
        AR pulls at all alike, TAR not at all at what stays the same:

        >>> from awdlib.figures.penalty_pull import pull
        >>> pull(3, alpha=2.0, beta=0.0).tolist()
        [2.0, 2.0, 2.0]
        >>> pull(3, alpha=0.0, beta=1.0).round(decimals=3).tolist()
        [0.0, 1.5, 4.5]
    """
    require.whole_number("seq_len", seq_len, 2)
    alpha, beta = require.number("alpha", alpha, "[0, inf)"), require.number("beta", beta, "[0, inf)")
    frequency = math.pi / seq_len * torch.arange(seq_len, dtype=torch.float64)
    return alpha + beta * (2 - 2 * frequency.cos()) * seq_len / (seq_len - 1)


def pulled(trace: Tensor, alpha: float, beta: float, updates: int) -> Tensor:
    """A trace after so many steps of gradient descent on the two penalties and nothing else, in closed form.

    Each cosine is multiplied by (1 - 2 lr / (T B H) pull)^updates, with the batch and the rate of the recorded runs.

    Args:
        trace: (seq_len, features) of one sequence; moved itself, as no trace of a network can be.
        alpha: weight of AR.
        beta: weight of TAR.
        updates: steps of gradient descent.

    Returns:
        (seq_len, features).

    Example:
        >>> import torch
        >>> from awdlib.figures.penalty_pull import pulled
        >>> still = torch.ones(5, 64, dtype=torch.float64)
        >>> pulled(still, alpha=0.0, beta=4.0, updates=100).allclose(still)
        True
    """
    seq_len, features = trace.shape
    basis = cosine_basis(seq_len)
    step = 2 * RATE / (seq_len * BATCH * features)
    gain = (1 - step * pull(seq_len, alpha, beta)) ** updates
    return basis.t() @ (gain[:, None] * (basis @ trace.double()))


def sizes(trace: Tensor) -> tuple[float, float]:
    """What AR and TAR weigh of a trace: the mean square of its activations, and that of their steps.

    Args:
        trace: (seq_len, features), at least two steps.

    Example:
        >>> import torch
        >>> from awdlib.figures.penalty_pull import sizes
        >>> sizes(torch.tensor([[1.0], [3.0]]))
        (5.0, 4.0)
    """
    return trace.square().mean().item(), trace.diff(dim=0).square().mean().item()


@cache
def _cast() -> tuple[Tensor, dict[str, int]]:
    """The trace of the model that was trained with neither penalty, and three of its units."""
    trace = trained(0.0, 0.0)[0][:, 0]
    changes = trace.diff(dim=0).square().mean(0) / trace.var(0)
    swings = trace.std(0) > 0.25  # a unit that hardly moves would show nothing
    aside = int(trace.mean(0).abs().argmax())
    swings[aside] = False
    slow = int(changes.where(swings, torch.inf).argmin())
    quick = int(changes.where(swings, -torch.inf).argmax())
    return trace, {"off centre": aside, "slow": slow, "quick": quick}


def pull_figure(alpha: float, beta: float, updates: int) -> go.Figure:
    """Three units of a real trace under the pull of the penalties alone, and the power of all units by frequency.

    Args:
        alpha: weight of AR.
        beta: weight of TAR.
        updates: steps of gradient descent, as `pulled` takes them.

    Returns:
        a plotly figure of three units over words and, below, the power by frequency; dotted is the trace as it was.

    Example:
        >>> from awdlib.figures.penalty_pull import pull_figure
        >>> pull_figure(alpha=0.0, beta=1.0, updates=0).layout.meta["alt"].partition(":")[0]
        'After 0 updates with α = 0 and β = 1'
    """
    before, units = _cast()
    after = pulled(before, alpha, beta, updates)
    lines = []
    for row, unit in enumerate(units.values()):
        axis = {"xaxis": ("x3", "x4", "x")[row], "yaxis": f"y{row + 2}"}
        lines += [_line(before[:, unit], MUTED, "dot", axis), _line(after[:, unit], BLUE, "solid", axis)]
    for trace, ink, dash in ((before, MUTED, "dot"), (after, PINK, "solid")):
        power = (cosine_basis(len(trace)) @ trace).square().mean(1)
        lines.append(_line(power.clamp(min=_LOWEST / 10), ink, dash, {"xaxis": "x2", "yaxis": "y"}))
    said = [f"{value:.3f}" for trace in (before, after) for value in sizes(trace)]
    figure = go.Figure(lines, _pull_layout(units, said))
    return describe(
        figure,
        f"After {updates} updates with α = {alpha:g} and β = {beta:g}: the mean square of the trace is {said[2]} "
        f"(at first {said[0]}), that of its steps {said[3]} (at first {said[1]}).",
    )


def _line(values: Tensor, ink: str, dash: str, axis: dict[str, str]) -> dict[str, Any]:
    line = {"color": ink, "dash": dash, "width": 1.25 if dash == "dot" else 2.25}
    return {"type": "scatter", "x": np.arange(len(values)), "y": values.numpy(), "mode": "lines", "line": line,
            "hoverinfo": "skip", **axis}  # fmt: skip


def _pull_layout(units: dict[str, int], said: Sequence[str]) -> dict[str, Any]:
    words = experiment()["words"]
    bands = [(0.87, 1.0), (0.70, 0.83), (0.53, 0.66)]  # of the paper's height, a unit each
    paper = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False, "x": 0}
    notes = [
        {"text": f"<b>a unit {name}</b>" if name == "off centre" else f"<b>a {name} unit</b>", "y": top} | paper
        for name, (_, top) in zip(units, bands, strict=True)
    ]
    shares = f"mean h² {said[0]} → {said[2]}<br>mean (Δh)² {said[1]} → {said[3]}"  # two lines fit a phone
    notes += [{"text": "<b>power of all units, by frequency</b>", "y": 0.37} | paper]
    notes += [{"text": shares, "y": 0.31, "align": "left", "font": {"color": PINK, "size": 12}} | paper]
    layout: dict[str, Any] = {}
    across = {"range": [-0.5, len(words) - 0.5], "showgrid": False}
    for row, (band, below) in enumerate(zip(bands, ("x3", "x4", "x"), strict=True), start=2):
        layout[f"yaxis{row}"] = {"domain": band, "range": [-1.02, 1.02], "tickvals": [-1, 0, 1], "anchor": below}
        if below != "x":  # the words stand below the last of the three
            layout[f"xaxis{below[1]}"] = across | {"anchor": f"y{row}", "showticklabels": False, "ticks": ""}
    periods = [26, 8, 4, 2]
    return layout | {
        "height": 620, "margin": {"l": 52, "r": 10, "t": 26, "b": 52}, "annotations": notes,
        "xaxis": across | {"anchor": "y4", "tickvals": [*range(len(words))], "ticktext": words, "tickangle": -90,
                           "tickfont": {"size": 10}},
        "xaxis2": {"anchor": "y", "range": [-0.5, len(words) + 0.5], "title": {"text": "period, in words"},
                   "tickvals": [0] + [2 * len(words) / period for period in periods],
                   "ticktext": ["∞", *map(str, periods)]},
        "yaxis": {"domain": [0, 0.31], "anchor": "x2", "type": "log", "range": [*np.log10([_LOWEST, _HIGHEST])],
                  "tickvals": [0.0001, 0.001, 0.01, 0.1, 1], "ticktext": ["0.0001", "0.001", "0.01", "0.1", "1"]},
    }  # fmt: skip
