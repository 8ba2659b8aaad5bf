"""The gates of one LSTM cell, and how long it remembers: a pulse arrives once, then the input is silent."""

from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch

from awdlib import _require as require
from awdlib.figures.style import EMPTY, INK, MUTED, colour, describe, fade
from awdlib.recurrent import lstm_step

BEFORE, AFTER = 3, 40  #: steps drawn before the pulse and after it
STEPS = np.arange(-BEFORE, AFTER + 1)  #: what is drawn, counted from the pulse
INPUT_BIAS, OUTPUT_BIAS = -4.0, 1.0  #: the input gate is shut while nothing arrives, the output gate open
INPUT_WEIGHT, CANDIDATE_WEIGHT = 8.0, 2.0  #: what opens the input gate, and what is written through it
TOP = 2.1  #: of the cell's axis
WIDE = 0.95  #: of the panels, in parts of the picture; the rest is for the values on the right
STRIPS = {"pulse": "pulse x", "input": "input i", "forget": "forget f", "output": "output o"}  #: rows, from above
_ROWS = {"pulse": (0.945, 1.0), "input": (0.865, 0.92), "forget": (0.785, 0.84), "output": (0.705, 0.76),
         "cell": (0.265, 0.665), "hidden": (0.0, 0.215)}  # fmt: skip


class Trace(NamedTuple):
    """What one cell does from step to step; each (BEFORE + 1 + AFTER,), the pulse at position BEFORE.

    Example:
        The gates are those that make the cell: c = f c + i g, with the candidate g:

        >>> import numpy as np
        >>> from awdlib.figures.gates import run_cell
        >>> trace = run_cell(forget_bias=2.0, pulse=1.0, recurrent=0.5)
        >>> made = trace.forget[1:] * trace.cell[:-1] + trace.input[1:] * trace.candidate[1:]
        >>> np.allclose(made, trace.cell[1:])
        True
    """

    pulse: np.ndarray  #: the input
    input: np.ndarray  #: the input gate
    forget: np.ndarray  #: the forget gate
    output: np.ndarray  #: the output gate
    candidate: np.ndarray  #: what the input gate lets into the cell
    cell: np.ndarray  #: the cell state after the step
    hidden: np.ndarray  #: the hidden state after the step


def run_cell(forget_bias: float, pulse: float, recurrent: float) -> Trace:
    """Run one LSTM cell of size one with `awdlib.recurrent.lstm_step`, in double precision, from a zero state.

    Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000. Beside the arguments the weights are fixed: see
    `INPUT_BIAS` and its neighbours.

    Args:
        forget_bias: of the forget gate; its sigmoid is what the gate lets through while the cell is at rest.
        pulse: the input at its one step; 0 at all others.
        recurrent: the weight from the hidden state to all three gates and to the candidate.

    Returns:
        the trace, step by step.

    Raises:
        ValueError: an argument is not a finite number.

    Example:
        Without a recurrent weight the cell is multiplied by the same forget gate at every step:

        >>> from awdlib.figures.gates import BEFORE, run_cell
        >>> cell = run_cell(forget_bias=0.0, pulse=1.0, recurrent=0.0).cell
        >>> [round(float(cell[step + 1] / cell[step]), 6) for step in (BEFORE, BEFORE + 9)]
        [0.5, 0.5]
    """
    for name, given in {"forget_bias": forget_bias, "pulse": pulse, "recurrent": recurrent}.items():
        require.number(name, given)
    weight_ih = torch.tensor([[INPUT_WEIGHT], [0.0], [CANDIDATE_WEIGHT], [0.0]], dtype=torch.float64)
    weight_hh = torch.full((4, 1), float(recurrent), dtype=torch.float64)
    bias = torch.tensor([INPUT_BIAS, forget_bias, 0.0, OUTPUT_BIAS], dtype=torch.float64)
    inputs = torch.zeros(BEFORE + 1 + AFTER, 1, 1, dtype=torch.float64)
    inputs[BEFORE] = pulse
    h = c = torch.zeros(1, 1, dtype=torch.float64)
    steps = []
    for x in inputs:
        i, f, g, o = (x @ weight_ih.t() + h @ weight_hh.t() + bias).chunk(4, dim=1)  # as lstm_step has them inside
        h, c = lstm_step(x, (h, c), weight_ih, weight_hh, bias, torch.zeros_like(bias))
        steps.append(torch.cat([x, i.sigmoid(), f.sigmoid(), o.sigmoid(), g.tanh(), c, h], dim=1))
    return Trace(*torch.cat(steps).t().numpy())


def half_life(cell: np.ndarray) -> float | None:
    """Steps from the cell's peak until it has fallen to half of it; between two steps the fall is taken as even.

    Even means the same factor in each part of a step. So a cell under a constant forget gate f has exactly the
    half-life of the closed form, log(1/2) / log(f).

    Args:
        cell: (steps,) with a positive peak.

    Returns:
        the number of steps; None if the cell does not fall so far.

    Raises:
        ValueError: the cell is nowhere positive.

    Example:
        >>> import numpy as np
        >>> from awdlib.figures.gates import half_life
        >>> half_life(np.array([0.0, 8.0, 6.0, 4.0, 2.0])), half_life(np.array([0.0, 8.0, 7.0]))
        (2.0, None)
    """
    peak = int(np.argmax(cell))
    if not cell[peak] > 0:
        raise ValueError(f"the cell's peak is {cell[peak]:g}; it must be positive: give the cell a stronger pulse")
    low = np.flatnonzero(cell[peak:] <= cell[peak] / 2)
    if not len(low):
        return None
    above, below = cell[peak + low[0] - 1], max(cell[peak + low[0]], 1e-12)
    part = np.log(2 * above / cell[peak]) / np.log(above / below)
    return float(low[0] - 1 + part)


def gates_figure(forget_bias: float, pulse: float, recurrent: float) -> go.Figure:
    """One cell's input, gates, cell state and hidden state, one above the other, with the half-life of the memory.

    Args:
        forget_bias: of the forget gate.
        pulse: the input at step 0; 0 at all others.
        recurrent: the weight from the hidden state to all gates and to the candidate.

    Returns:
        a plotly figure of four strips from 0 (pale) to 1 (full colour), and the two states as lines.

    Raises:
        ValueError: an argument is not a finite number, or the pulse writes nothing positive into the cell.

    Example:
        The bias of the forget gate decides how long a cell remembers:

        >>> from awdlib.figures.gates import gates_figure
        >>> for bias in (1, 3):
        ...     print(gates_figure(bias, pulse=1.0, recurrent=0.0).layout.annotations[0].text)
        <b>half-life 2.2 steps</b>
        <b>half-life 14.3 steps</b>
    """
    trace = run_cell(forget_bias, pulse, recurrent)
    remembered = half_life(trace.cell)
    mark, label = _half_life_mark(trace.cell, remembered)
    layout = {"height": 440, "margin": {"l": 66, "r": 18, "t": 10, "b": 46}, "annotations": [label, *_names(trace)]}
    figure = go.Figure(data=[*_strips(trace), *_lines(trace), *mark], layout=layout | _axes())  # at once: far faster
    return describe(figure, _sentence(trace, forget_bias, recurrent, remembered))


def _strips(trace: Trace) -> list[dict[str, Any]]:
    strips = []
    for number, name in enumerate(STRIPS, start=1):
        full = MUTED if name == "pulse" else colour(name)
        strips.append({
            "type": "heatmap", "x": STEPS, "z": getattr(trace, name)[None], "zmin": 0, "zmax": 1, "showscale": False,
            "colorscale": [[0, EMPTY], [1, full]], "xaxis": f"x{number}", "yaxis": f"y{number}", "xgap": 1, "ygap": 0,
            "hovertemplate": f"step %{{x}}<br>{STRIPS[name]} = %{{z:.3f}}<extra></extra>",
        })  # fmt: skip
    return strips


def _lines(trace: Trace) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter", "x": STEPS, "y": getattr(trace, name), "mode": "lines", "line": {"color": colour(name)},
            "fill": "tozeroy", "fillcolor": fade(colour(name), 0.15), "xaxis": f"x{number}", "yaxis": f"y{number}",
            "hovertemplate": f"step %{{x}}<br>{name} %{{y:.3f}}<extra></extra>",
        }
        for number, name in enumerate(("cell", "hidden"), start=5)
    ]  # fmt: skip


def _half_life_mark(cell: np.ndarray, remembered: float | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """How far the half-life reaches, drawn at half of the peak and up to its label; and the label."""
    peak = int(np.argmax(cell))
    start, half = peak - BEFORE, float(cell[peak]) / 2
    end = np.nan if remembered is None else start + remembered
    shared = {"type": "scatter", "hoverinfo": "skip", "xaxis": "x5", "yaxis": "y5"}
    line = {"color": INK, "width": 1.25, "dash": "dot"}
    mark = [
        shared | {"x": [start, end, end], "y": [half, half, 0.86 * TOP], "mode": "lines", "line": line},
        shared | {"x": [end], "y": [half], "mode": "markers", "marker": {"color": INK, "size": 7}},
    ]
    text = f"half-life: more than {AFTER} steps" if remembered is None else f"half-life {remembered:.1f} steps"
    label = {
        "text": f"<b>{text}</b>", "x": AFTER if remembered is None else end, "y": 0.87 * TOP, "xref": "x5",
        "yref": "y5", "xanchor": "left" if end < AFTER / 2 else "right", "yanchor": "bottom", "showarrow": False,
        "font": {"color": INK},
    }  # fmt: skip
    return mark, label


def _names(trace: Trace) -> list[dict[str, Any]]:
    """Each row's name on its left, in its colour; on its right a gate's last value, or a state's scale."""
    notes = []
    for name, (low, high) in _ROWS.items():
        ink = MUTED if name == "pulse" else colour(name)
        notes.append(_note(f"<b>{STRIPS.get(name, f'{name} {name[0]}')}</b>", -0.015, (low + high) / 2, "right", ink))
        if name in ("input", "forget", "output"):
            notes.append(_note(f"{getattr(trace, name)[-1]:.2f}", WIDE + 0.01, (low + high) / 2, "left", ink))
    for name, top, values in (("cell", TOP, (0, 1)), ("hidden", 1.05, (0, 1))):
        low, high = _ROWS[name]
        notes += [_note(f"{v}", WIDE + 0.01, low + (high - low) * v / top, "left", MUTED) for v in values]
    return notes


def _note(text: str, x: float, y: float, anchor: str, ink: str) -> dict[str, Any]:
    return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": anchor, "yanchor": "middle",
            "showarrow": False, "font": {"color": ink}}  # fmt: skip


def _axes() -> dict[str, Any]:
    layout: dict[str, Any] = {}
    bare = {"showticklabels": False, "ticks": "", "showgrid": False}
    for number, (name, domain) in enumerate(_ROWS.items(), start=1):
        state = name in ("cell", "hidden")
        across = {"domain": [0, WIDE], "range": [-BEFORE - 0.5, AFTER + 0.5], "anchor": f"y{number}", "showline": state}
        up = bare | {"domain": domain, "anchor": f"x{number}", "showline": False}
        if state:
            up |= {"range": [0, TOP if name == "cell" else 1.05], "showgrid": True, "tickvals": [0, 1]}
        if name == "hidden":
            across |= {"tickvals": list(range(0, AFTER + 1, 10)), "title": {"text": "steps after the pulse"}}
        else:
            across |= bare
        layout |= {f"xaxis{number}": across, f"yaxis{number}": up}
    return layout


def _sentence(trace: Trace, forget_bias: float, recurrent: float, remembered: float | None) -> str:
    gate, peak = trace.forget[-1], trace.cell.max()
    if remembered is None:
        memory = f"in {AFTER} steps the cell does not fall to half of its peak of {peak:.2f}"
    else:
        memory = f"the cell falls from {peak:.2f} to half of it in {remembered:.1f} steps"
    if recurrent == 0:
        why = f"the forget gate f rests at {gate:.5f}, and log(1/2) / log f = {np.log(0.5) / np.log(gate):.1f}"
    else:
        why = f"with the feedback the forget gate ends at {gate:.3f}"
    return f"Forget bias {forget_bias:g}, recurrent weight {recurrent:g}: {memory}; {why}."
