"""The GRU beside the LSTM: their diagrams, and what one unit of each remembers of the same input."""

import math
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch

from awdlib import _require as require
from awdlib.figures.lstm_cell import BOXES, BUS, HIGHWAY, arrow, draw_lstm, frame, knot, line, rounded
from awdlib.figures.style import BLUE, GREEN, INK, MUTED, PAPER, colour, describe, use_style
from awdlib.recurrent import State, gru_step, lstm_step

WRITTEN = 0.9  #: the candidate while the input lasts; 0 afterwards
SHUT = 40.0  #: a bias that shuts a gate, or opens it, to the last digit
BEFORE, STEPS = 2, 42  #: silent steps in front, and steps in all, of `remember`


def cells_figure() -> Any:
    """The LSTM cell above, the GRU cell below, their parts in the same places (matplotlib).

    The GRU is Cho et al. 2014's, its reset gate where torch and cuDNN have it.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> from awdlib.figures.gru_cell import cells_figure
        >>> cells_figure().get_label()[:38]
        'Two cells, one above the other. Above,'
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 7.9))
        draw_lstm(above)
        _draw_gru(below)
        for ax, name in ((above, "LSTM"), (below, "GRU")):
            ax.text(0.95, 5.62, name, fontsize=14, fontweight="bold", ha="left", va="top", color=INK)
        plt.close(figure)
    return describe(
        figure,
        "Two cells, one above the other. Above, the LSTM: along the top the cell state c, multiplied by the forget "
        "gate f, then input gate i times candidate g is added; at the right the output gate o multiplies tanh of c "
        "and gives h. Below, the GRU: along the top the hidden state h itself, multiplied by the update gate z, then "
        "1 - z times the candidate n is added. The reset gate r multiplies what the candidate takes from the state. "
        "There is no output gate: what is remembered is what is shown.",
    )


def _draw_gru(ax: Any) -> None:
    """The GRU cell in the places of the LSTM's."""
    frame(ax)
    memory, z, r, n = colour("hidden"), 2.3, 4.2, 6.1
    arrow(ax, [(-0.1, HIGHWAY), (10.05, HIGHWAY)], memory, 5)
    ax.text(-0.2, HIGHWAY, "$h_{t-1}$", ha="right", va="center", fontsize=19, color=memory)
    ax.text(10.15, HIGHWAY, "$h_t$", ha="left", va="center", fontsize=19, color=memory)
    ax.text(6.9, HIGHWAY + 0.42, "$h_t = z\\,h_{t-1} + (1-z)\\,n$", ha="center", fontsize=15, color=memory)
    top, mix = 2.95, 3.87  # the candidate's box, and where it meets 1 - z
    for symbol, x, y, name, ink in (("z", z, BOXES, "update", colour("forget")), ("r", r, BOXES, "reset",
                                    colour("input")), ("n", n, top, "candidate", colour("candidate"))):  # fmt: skip
        ax.add_patch(rounded((x - 0.75, y - 0.42), 1.5, 0.84, ink, ink, 1))
        ax.text(x, y, "tanh" if symbol == "n" else "$\\sigma$", ha="center", va="center", fontsize=16, color=PAPER,
                zorder=5)  # fmt: skip
        ax.text(x - (0.95 if symbol == "n" else 0.16), y + (0.0 if symbol == "n" else 0.66), f"${symbol}$",
                fontsize=18, color=ink, ha="right", va="center")  # fmt: skip
        ax.text(x, BUS - 0.16, name, ha="center", va="top", fontsize=12, color=ink)
        arrow(ax, [(x, BUS), (x, BOXES - (0.32 if symbol == "n" else 0.45))], MUTED, 1.6)
    arrow(ax, [(z, BOXES + 0.42), (z, HIGHWAY - 0.3)], colour("forget"), 2)
    arrow(ax, [(z, mix), (n - 0.3, mix)], colour("forget"), 2)
    ax.text(3.9, mix + 0.12, "$1-z$", ha="center", va="bottom", fontsize=15, color=colour("forget"))
    arrow(ax, [(r + 0.75, BOXES), (n - 0.3, BOXES)], colour("input"), 2)
    arrow(ax, [(n, BOXES + 0.3), (n, top - 0.45)], MUTED, 1.6)
    arrow(ax, [(n, top + 0.42), (n, mix - 0.3)], colour("candidate"), 2)
    arrow(ax, [(n, mix + 0.3), (n, HIGHWAY - 0.3)], INK, 2)
    for x, y, sign in ((z, HIGHWAY, "×"), (n, BOXES, "×"), (n, mix, "×"), (n, HIGHWAY, "+")):
        knot(ax, x, y, sign)
    ax.text(n + 0.45, BOXES, "$r\\,(U h)$", ha="left", va="center", fontsize=15, color=colour("input"))
    arrow(ax, [(n + 1.55, top), (n + 0.8, top)], MUTED, 1.6)
    ax.text(n + 1.6, top, "$W x_t$", ha="left", va="center", fontsize=15, color=INK)
    line(ax, [(-0.1, BUS), (n, BUS)], MUTED, 1.6)
    arrow(ax, [(1.35, -0.25), (1.35, BUS)], MUTED, 1.6)
    ax.text(-0.2, BUS, "$h_{t-1}$", ha="right", va="center", fontsize=19, color=memory)
    ax.text(1.35, -0.32, "$x_t$", ha="center", va="top", fontsize=19, color=INK)
    arrow(ax, [(9.05, HIGHWAY), (9.05, BUS), (10.05, BUS)], memory, 3)
    ax.text(10.15, BUS, "$h_t$", ha="left", va="center", fontsize=19, color=memory)


class Memories(NamedTuple):
    """What one unit of each cell holds and shows at each step; each (STEPS,).

    Example:
        >>> from awdlib.figures.gru_cell import remember
        >>> remember(keep=0.9, shown=1.0, lasts=1).gru.shape
        (42,)
    """

    cell: np.ndarray  #: the LSTM's memory c
    lstm: np.ndarray  #: the LSTM's output h
    gru: np.ndarray  #: the GRU's memory and output h


def remember(keep: float, shown: float, lasts: int) -> Memories:
    """Feed one unit of an LSTM and one of a GRU the same input for a few steps, then silence.

    The forget gate and the update gate both stand at ``keep``. The LSTM's input gate is open while the input lasts,
    and shut afterwards. By `awdlib.recurrent.lstm_step` and `gru_step`, in double precision, from zero states.

    Args:
        keep: what both memories keep from step to step, in (0, 1).
        shown: the LSTM's output gate, in (0, 1].
        lasts: steps of input.

    Raises:
        ValueError: an argument is out of range.

    Example:
        A GRU that keeps nine tenths can write no more than a tenth:

        >>> from awdlib.figures.gru_cell import BEFORE, remember
        >>> found = remember(keep=0.9, shown=1.0, lasts=1)
        >>> round(float(found.cell[BEFORE]), 3), round(float(found.gru[BEFORE]), 3)
        (0.9, 0.09)
    """
    require.number("keep", keep, "(0, 1)")
    require.number("shown", shown, "(0, 1]")
    require.whole_number("lasts", lasts, 1, STEPS - BEFORE)
    gate, out = math.log(keep / (1 - keep)), SHUT if shown == 1 else math.log(shown / (1 - shown))
    write = math.atanh(WRITTEN)
    zeros, x = torch.zeros(1, 1).double(), torch.zeros(STEPS, 1, 1).double()
    x[BEFORE : BEFORE + lasts] = 1.0

    def weights(inputs: list[float], biases: list[float]) -> list[torch.Tensor]:
        column, bias = torch.tensor(inputs).double()[:, None], torch.tensor(biases).double()
        return [column, torch.zeros_like(column), bias, torch.zeros_like(bias)]

    lstm, gru = weights([2 * SHUT, 0, write, 0], [-SHUT, gate, 0, out]), weights([0, 0, write], [0, gate, 0])
    state: State = (zeros, zeros)
    other: State = (zeros,)
    found = []
    for x_t in x:
        state, other = lstm_step(x_t, state, *lstm), gru_step(x_t, other, *gru)
        found.append([state[1].item(), state[0].item(), other[0].item()])
    return Memories(*np.array(found).T)


def memory_figure(keep: float, shown: float, lasts: int) -> go.Figure:
    """What one unit of each cell holds and shows, the LSTM's above, the GRU's below.

    Args:
        keep: the forget gate and the update gate.
        shown: the LSTM's output gate.
        lasts: steps of input.

    Returns:
        a plotly figure.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> from awdlib.figures.gru_cell import memory_figure
        >>> memory_figure(0.9, 0.5, 5).layout.meta["alt"][:62]
        'Both memories keep 0.9 a step: half is left after 6.6 steps. A'
    """
    found = remember(keep, shown, lasts)
    at = np.arange(-BEFORE, STEPS - BEFORE)
    top = 1.4 * max(1.0, found.cell.max())  # room for the names above the curves
    shade = [
        {"type": "rect", "x0": -0.5, "x1": lasts - 0.5, "xref": axis, "y0": 0, "y1": 1, "yref": f"{other} domain",
         "fillcolor": MUTED, "opacity": 0.13, "line": {"width": 0}, "layer": "below"}
        for axis, other in (("x", "y"), ("x2", "y2"))
    ]  # fmt: skip
    data: list[Any] = [
        _line(at, found.cell, "LSTM: memory c", GREEN, ""), _line(at, found.lstm, "LSTM: output h", BLUE, "", "dot"),
        _line(at, found.gru, "GRU: memory and output h", BLUE, "2"),
    ]  # fmt: skip
    last = BEFORE + lasts - 1
    names = [
        _name(f"LSTM: memory c, up to {found.cell[last]:.2f}", GREEN, 1.0),
        _name(f"output h, up to {found.lstm[last]:.2f} (dotted)", BLUE, 0.93),
        _name(f"GRU: memory and output h, up to {found.gru[last]:.2f}", BLUE, 1.1)
        | {"x": STEPS - BEFORE - 1, "xref": "x2", "yref": "y2"},
    ]
    layout = {
        "height": 430, "margin": {"l": 52, "r": 16, "t": 14, "b": 48}, "shapes": shade, "annotations": names,
        "xaxis": {"anchor": "y", "range": [-BEFORE, STEPS - BEFORE - 1], "showticklabels": False},
        "xaxis2": {"anchor": "y2", "range": [-BEFORE, STEPS - BEFORE - 1], "title": {"text": "step"}},
        "yaxis": {"domain": [0.5, 1.0], "range": [0, top], "nticks": 5},
        "yaxis2": {"domain": [0.0, 0.44], "range": [0, 1.12], "tickvals": [0, 0.5, 1]},
    }  # fmt: skip
    half = math.log(0.5) / math.log(keep)
    return describe(
        go.Figure(data=data, layout=layout),
        f"Both memories keep {keep:g} a step: half is left after {half:.1f} steps. After {lasts} "
        f"step{'s' if lasts > 1 else ''} of input the LSTM's memory stands at {found.cell[last]:.2f} and shows "
        f"{found.lstm[last]:.2f} of it; the GRU's stands at {found.gru[last]:.2f}, and shows all of it.",
    )


def _line(x: Any, y: Any, name: str, ink: str, axis: str, dash: str = "solid") -> dict[str, Any]:
    return {
        "type": "scatter", "x": x, "y": y, "mode": "lines", "name": name, "line": {"color": ink, "dash": dash},
        "xaxis": f"x{axis}", "yaxis": f"y{axis}", "hovertemplate": "step %{x}: %{y:.3f}<extra>" + name + "</extra>",
    }  # fmt: skip


def _name(text: str, ink: str, height: float) -> dict[str, Any]:
    return {
        "text": f"<b>{text}</b>", "x": 1, "xref": "paper", "xanchor": "right", "y": height, "yref": "paper",
        "yanchor": "top", "showarrow": False, "font": {"color": ink},
    }  # fmt: skip
