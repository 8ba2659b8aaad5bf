"""What AR and TAR leave of a hidden trace: models trained with each pair of weights, reading the same sentences.

The record ``data/runs/activation-penalties.json`` holds them; ``book/experiments/activation_penalties.py`` made it.
"""

import json
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, DIVERGING, MUTED, PINK, describe
from awdlib.penalties import activation_regularization, temporal_activation_regularization

UNITS = 24  #: of the trace, which are drawn; the penalties are of all
TOP = 0.8  #: activations of this size and above are drawn in the darkest colours
LOWEST, HIGHEST = 0.001, 0.4  #: ends of the axis of mean squares


@cache
def experiment() -> dict[str, Any]:
    """The record of the runs: settings, words of the trace, and a run for each pair of weights.

    Example:
        >>> from awdlib.figures.activation_penalties import experiment
        >>> experiment()["alphas"], " ".join(experiment()["words"][:6])
        ([0.0, 0.5, 1.0, 2.0, 4.0], 'the net hoists every shell <eos>')
    """
    record: dict[str, Any] = json.loads(bundled("runs/activation-penalties.json").read_text(encoding="utf-8"))
    return record


def trained(alpha: float, beta: float) -> tuple[Tensor, dict[str, Any]]:
    """The trace of the model that was trained with these weights, and its run as the record has it.

    Args:
        alpha: weight of AR.
        beta: weight of TAR.

    Returns:
        (seq_len, 1, features), the last layer's raw output over the words of `experiment`; and the run.

    Raises:
        ValueError: no model was trained with these weights.

    Example:
        >>> from awdlib.figures.activation_penalties import trained
        >>> trace, run = trained(alpha=0.5, beta=0.5)
        >>> trace.shape, run["averaging"]
        (torch.Size([26, 1, 64]), True)
    """
    for run in experiment()["runs"]:
        if (run["alpha"], run["beta"]) == (alpha, beta):
            thousandths = [[float(number) for number in word.split()] for word in run["trace"]]
            return torch.tensor(thousandths, dtype=torch.float64).unsqueeze(1) / 1000, run
    for name, value in {"alpha": alpha, "beta": beta}.items():
        if value not in (there := experiment()[f"{name}s"]):
            raise ValueError(f"{name} is {require.shown(value)}; models were trained at {', '.join(map(str, there))}")
    raise ValueError(f"the record has no run at alpha {alpha} and beta {beta}: run the experiment again to its end")


def by_step(trace: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Both penalties of weight 1, word by word: what each step adds to the mean over the window.

    Args:
        trace: (seq_len, 1, features).

    Returns:
        (seq_len,) AR of each step alone, the mean of h² over its features; and (seq_len,) TAR of each step and the
        one before it, the mean of (h - h of before)², not-a-number at the first step.

    Example:
        >>> import torch
        >>> from awdlib.figures.activation_penalties import by_step
        >>> size, change = by_step(torch.tensor([1.0, 3.0, 3.0]).view(3, 1, 1))
        >>> size.tolist(), change.tolist()
        ([1.0, 9.0, 9.0], [nan, 4.0, 0.0])
    """
    steps = range(len(trace))
    size = [activation_regularization(trace[t : t + 1], 1.0).item() for t in steps]
    change = [temporal_activation_regularization(trace[t - 1 : t + 1], 1.0).item() for t in steps[1:]]
    return np.array(size), np.array([np.nan, *change])


def penalties_figure(alpha: float, beta: float) -> go.Figure:
    """The trace of a model trained with these weights above its mean squares at each word, which the penalties weigh.

    In evaluation nothing is dropped, so AR, which training takes after dropout, sees here what TAR sees. The dotted
    lines are of the model trained with neither. Merity et al. 2017, section 4.6.

    Args:
        alpha: weight of AR.
        beta: weight of TAR.

    Returns:
        a plotly figure of a heat map above four lines.

    Raises:
        ValueError: no model was trained with these weights.

    Example:
        Without its penalty nothing is charged, however large the activations:

        >>> from awdlib.figures.activation_penalties import penalties_figure
        >>> penalties_figure(alpha=0.0, beta=2.0).layout.annotations[2].text.split(" = ")[-1]
        '0.000'
    """
    trace, run = trained(alpha, beta)
    figure = go.Figure()
    figure.add_heatmap(
        z=trace[:, 0, :UNITS].t().numpy(), zmin=-TOP, zmax=TOP, colorscale=DIVERGING, showscale=False, xgap=0.5,
        ygap=0.5, hoverinfo="skip", xaxis="x2", yaxis="y2",
    )  # fmt: skip
    inks = (BLUE, PINK)
    for squares, ink in zip(by_step(trained(0.0, 0.0)[0]), inks, strict=True):
        _line(figure, squares, ink, {"width": 1.25, "dash": "dot"})
    for squares, ink in zip(by_step(trace), inks, strict=True):
        _line(figure, squares, ink, {"width": 2.25})
    figure.update_layout(_layout(_labels(trace, run)))
    return describe(figure, _sentence(trace, run))


def _line(figure: go.Figure, squares: np.ndarray, ink: str, line: dict[str, Any]) -> None:
    figure.add_scatter(x=np.arange(len(squares)), y=squares, mode="lines", line={"color": ink} | line, hoverinfo="skip")


def _labels(trace: Tensor, run: dict[str, Any]) -> list[dict[str, Any]]:
    alpha, beta = run["alpha"], run["beta"]
    size, change = (squares.mean() for squares in _charged(trace))
    ar = activation_regularization(trace, alpha).item()
    tar = temporal_activation_regularization(trace, beta).item()
    return [
        _note(f"<b>{UNITS} units</b>", 0, 1.01),
        _note(f"validation perplexity {run['valid_perplexity']:.1f}", 1, 1.01) | {"xanchor": "right"},
        _note(f"AR: α · mean h² = {alpha:g} · {size:.3f} = {ar:.3f}", 0, 0.55, BLUE),
        _note(f"TAR: β · mean (Δh)² = {beta:g} · {change:.3f} = {tar:.3f}", 0, 0.49, PINK),
        _note("dotted: trained with neither", 0, 0.43, MUTED),
    ]


def _charged(trace: Tensor) -> tuple[np.ndarray, np.ndarray]:
    size, change = by_step(trace)
    return size, change[1:]


def _note(text: str, x: float, y: float, ink: str = "") -> dict[str, Any]:
    font = {"font": {"color": ink}} if ink else {}
    where = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    return {"text": text, "x": x, "y": y} | where | font


def _layout(annotations: list[dict[str, Any]]) -> dict[str, Any]:
    words = experiment()["words"]
    across = {"range": [-0.5, len(words) - 0.5], "showgrid": False}
    bare = {"showgrid": False, "showticklabels": False, "ticks": "", "showline": False}
    return {
        "height": 460, "margin": {"l": 48, "r": 8, "t": 30, "b": 62},
        "xaxis": across | {
            "tickvals": [*range(len(words))], "ticktext": words, "tickangle": -90, "tickfont": {"size": 10},
        },
        "yaxis": {
            "type": "log", "domain": [0, 0.42], "range": [*np.log10([LOWEST, HIGHEST])],
            "tickvals": [0.001, 0.01, 0.1], "ticktext": ["0.001", "0.01", "0.1"],
        },
        "xaxis2": bare | across | {"anchor": "y2"},
        "yaxis2": bare | {"domain": [0.63, 1], "anchor": "x2", "range": [UNITS - 0.5, -0.5]},
        "annotations": annotations,
    }  # fmt: skip


def _sentence(trace: Tensor, run: dict[str, Any]) -> str:
    size, change = (squares.mean() for squares in _charged(trace))
    return (
        f"Trained with α = {run['alpha']:g} and β = {run['beta']:g}, validation perplexity "
        f"{run['valid_perplexity']:.1f}: over these {len(trace)} words the mean square of the activations is "
        f"{size:.3f} and that of their change from word to word {change:.3f}; over the whole validation text "
        f"{run['mean_square']:.3f} and {run['mean_square_step']:.3f}."
    )
