"""What dropping recurrent weights does to the recurrence: who shares the noise, and where the eigenvalues go."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.dropout import require_probability, weight_dropout
from awdlib.figures.style import DIVERGING, INK, MUTED, colormap, colour, describe, use_style
from awdlib.figures.trained import toy_run
from awdlib.figures.weight_drop import SIZE, weight_matrix
from awdlib.reach import lstm_journey

#: what the coins are tossed for, in words
SCHEMES = {"fresh": "fresh masks on h", "held": "one mask on h", "weights": "weight drop"}
#: whose eigenvalues are drawn, in words
MAPS = {
    "orthogonal": "a random orthogonal matrix",
    "gaussian": "a random Gaussian matrix",
    "gate": "a trained forget gate's matrix",
    "state": "the step of a trained LSTM's state",
}
WORD = 20  #: of the validation text, after which the LSTM's step is taken
EDGE = 2.6  #: of the picture, in the complex plane


def shared_noise(scheme: str, weight: Tensor, h: Tensor) -> Tensor:
    """Correlation of the noise of pre-activations, for given states, in closed form.

    The noise of U h is p / (1 - p) times the sum over features j of w_ij w_kj h_j h'_j, over those j of which the two
    have their coin in common; in a correlation p cancels.

    Args:
        scheme: "fresh" (another mask on h at each step, for each sequence), "held" (one for each sequence) or
            "weights" (one on the matrix).
        weight: (units, features).
        h: (steps, sequences, features).

    Returns:
        (n, n) with n = sequences * steps * units, the unit running fastest and the sequence slowest.

    Raises:
        ValueError: an unknown scheme, or shapes that do not fit.

    Example:
        Two units share a mask on h, and no entry of the matrix:

        >>> import torch
        >>> from awdlib.figures.recurrent_noise import shared_noise
        >>> weight, h = torch.ones(2, 3), torch.ones(1, 1, 3)
        >>> [shared_noise(scheme, weight, h)[0, 1].round().item() for scheme in ("held", "weights")]
        [1.0, 0.0]
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme is {require.shown(scheme)}; it must be one of {', '.join(SCHEMES)}")
    require.floats("h", h, "(steps, sequences, features)")
    require.shape("weight", weight, (len(weight), h.shape[2]), "(units, features)")
    steps, sequences, _ = h.shape
    terms = torch.einsum("uj,tbj->btuj", weight.double(), h.double())  # what each coin is multiplied with
    same_step, same_sequence = (torch.eye(size).double() for size in (steps, sequences))
    ones = torch.ones(steps, steps).double()
    if scheme == "weights":
        units = torch.eye(len(weight)).double()
        covariance = torch.einsum("btuj,csuj,uv->btucsv", terms, terms, units)
    else:
        times = same_step if scheme == "fresh" else ones
        covariance = torch.einsum("btuj,csvj,bc,ts->btucsv", terms, terms, same_sequence, times)
    covariance = covariance.reshape(steps * sequences * len(weight), -1)
    size = covariance.diagonal().sqrt()
    return covariance / size / size[:, None]


def shared_noise_figure(weight: Tensor, h: Tensor) -> Any:
    """The correlations of `shared_noise` for the three schemes side by side (matplotlib).

    Args:
        weight: (units, features).
        h: (steps, sequences, features).

    Returns:
        a matplotlib figure.

    Example:
        >>> import torch
        >>> from awdlib.figures.recurrent_noise import shared_noise_figure
        >>> figure = shared_noise_figure(torch.ones(2, 3), torch.ones(4, 2, 3))
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['fresh masks on h', 'one mask on h', 'weight drop']
    """
    import matplotlib.pyplot as plt

    steps, sequences, _ = h.shape
    units = len(weight)
    with use_style():
        figure, axes = plt.subplots(1, 3, figsize=(7.8, 3.2))
        for ax, (scheme, title) in zip(axes, SCHEMES.items(), strict=True):
            picture = shared_noise(scheme, weight, h).numpy()
            ax.imshow(picture, cmap=colormap(DIVERGING), vmin=-1, vmax=1)
            ax.set_title(title, fontsize=13)
            for at in range(units, units * steps * sequences, units):
                heavy = at % (units * steps) == 0
                line = {"color": INK if heavy else MUTED, "linewidth": 1.4 if heavy else 0.3}
                ax.axhline(at - 0.5, **line)
                ax.axvline(at - 0.5, **line)
            middles = [(number + 0.5) * units * steps - 0.5 for number in range(sequences)]
            names = [f"sequence {number + 1}" for number in range(sequences)]
            ax.set_xticks(middles, names)
            ax.set_yticks(middles, names if scheme == "fresh" else [], rotation=90, va="center")
            ax.tick_params(length=0, labelsize=11)
            ax.grid(False)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(
        figure,
        f"Correlations of the noise of {units} units at {steps} steps of {sequences} sequences: "
        "fresh masks on h, small squares on the diagonal; one mask on h, a large square for each sequence; weight "
        "drop, thin diagonals, each unit with itself at all steps of both sequences.",
    )


class Eigenvalues(NamedTuple):
    """What `eigenvalues` returns.

    Example:
        >>> from awdlib.figures.recurrent_noise import eigenvalues
        >>> found = eigenvalues("gaussian", 0.0)
        >>> len(found.masked), found.edge, bool((found.masked == found.plain).all())
        (128, 1.0, True)
    """

    masked: np.ndarray  #: complex, as one window has them
    plain: np.ndarray  #: complex, without the mask
    hole: float  #: predicted radius inside which there are none; 0 where there is no hole
    edge: float | None  #: predicted radius of the largest; None where nothing is predicted


@cache
def eigenvalues(of: str, p: float, seed: int = 1) -> Eigenvalues:
    """Eigenvalues with one mask and without, and where random matrix theory has them for large matrices.

    The matrices are scaled to Frobenius norm sqrt(n), so that the orthogonal one has all its eigenvalues on the unit
    circle, and those of the Gaussian one fill its disc (circular law). Weight drop adds independent noise of variance
    p / (1 - p): the Gaussian disc grows to 1 / sqrt(1 - p), and the circle becomes a ring between
    sqrt((1 - 2p) / (1 - p)) and 1 / sqrt(1 - p), which closes at p = 1/2 (single ring theorem;
    Guionnet et al. 2011). The LSTM's step is the Jacobian of (h, c) by (h, c) of the step before, in the first layer
    of the trained model; its mask lies on the matrix from the first word on.

    Args:
        of: one of `MAPS`.
        p: dropout probability.
        seed: of the mask.

    Raises:
        ValueError: an unknown name, or p outside [0, 1).

    Example:
        >>> import numpy as np
        >>> from awdlib.figures.recurrent_noise import eigenvalues
        >>> found = eigenvalues("orthogonal", 0.5)
        >>> np.abs(found.plain).round(6).max(), found.hole, round(found.edge, 2), np.abs(found.masked).max() < 1.6
        (np.float64(1.0), 0.0, 1.41, np.True_)
    """
    if of not in MAPS:
        raise ValueError(f"of is {require.shown(of)}; it must be one of {', '.join(MAPS)}")
    require_probability("p", p)
    draw = torch.Generator().manual_seed(seed)
    if of == "state":
        layer: Any = toy_run().model.layers[0]
        masked = _step(weight_dropout(layer.weight_hh.detach().double(), p, generator=draw))
        return Eigenvalues(torch.linalg.eigvals(masked).numpy(), _plain(of), hole=0.0, edge=None)
    masked = torch.linalg.eigvals(weight_dropout(_matrix(of), p, generator=draw))
    hole = max(0.0, (1 - 2 * p) / (1 - p)) ** 0.5 if of == "orthogonal" else 0.0
    return Eigenvalues(masked.numpy(), _plain(of), hole, None if of == "gate" else (1 - p) ** -0.5)


def _matrix(of: str) -> Tensor:
    whole = weight_matrix("trained" if of == "gate" else of)
    return whole * (SIZE**0.5 / whole.norm())


@cache
def _plain(of: str) -> np.ndarray:
    """Eigenvalues without a mask."""
    layer: Any = toy_run().model.layers[0]
    whole = _step(layer.weight_hh.detach().double()) if of == "state" else _matrix(of)
    return torch.linalg.eigvals(whole).numpy()


@torch.no_grad()
def _step(weight_hh: Tensor) -> Tensor:
    """The Jacobian of the trained layer's state after `WORD` words of the validation text, read with these weights."""
    model, corpus, _ = toy_run()
    layer: Any = model.layers[0]
    words = model.embedding[corpus.valid[: WORD + 1]]
    driven = (words @ layer.weight_ih.t() + layer.bias_ih + layer.bias_hh).double()
    return lstm_journey(driven, weight_hh).jacobians[WORD]


def eigenvalue_figure(of: str, p: float, seed: int) -> go.Figure:
    """The eigenvalues of `eigenvalues` in the complex plane, with the unit circle and what theory says.

    Args:
        of: one of `MAPS`.
        p: dropout probability.
        seed: of the mask.

    Returns:
        a plotly figure.

    Example:
        >>> from awdlib.figures.recurrent_noise import eigenvalue_figure
        >>> eigenvalue_figure("orthogonal", p=0.5, seed=1).layout.meta["alt"].partition(".")[0]
        'Eigenvalues of a random orthogonal matrix under weight drop at p = 0'
    """
    found = eigenvalues(of, p, seed)
    figure = go.Figure()
    for radius, dash in ((1.0, "solid"), (found.edge, "dot"), (found.hole, "dot")):
        if radius:
            ink = colour("floor") if dash == "dot" else MUTED
            figure.add_shape(
                type="circle", x0=-radius, x1=radius, y0=-radius, y1=radius, layer="below",
                line={"color": ink, "width": 1.5, "dash": dash},
            )  # fmt: skip
    for name, points, marker in (
        ("without mask", found.plain, {"color": colour("without"), "size": 5, "symbol": "x-thin-open"}),
        ("masked", found.masked, {"color": colour("with"), "size": 5}),
    ):
        figure.add_scatter(
            x=points.real, y=points.imag, mode="markers", name=name, marker=marker,
            hovertemplate=f"{name}: %{{x:.2f}} + %{{y:.2f}} i<extra></extra>",
        )  # fmt: skip
    axis = {"range": [-EDGE, EDGE], "tickvals": [-2, -1, 0, 1, 2], "zeroline": False, "constrain": "domain"}
    figure.update_layout(
        height=430, margin={"l": 44, "r": 8, "t": 40, "b": 44},
        xaxis=axis | {"title": {"text": "real part"}},
        yaxis=axis | {"title": {"text": "imaginary part"}, "scaleanchor": "x", "showgrid": False},
        annotations=[
            _label("<b>●</b> masked", 0, "left", colour("with")),
            _label("× without mask", 0.5, "center", colour("without")),
            _label("○ unit circle", 1, "right", MUTED),
        ],
    )  # fmt: skip
    return describe(figure, _sentence(of, p, found))


def _label(text: str, x: float, anchor: str, ink: str) -> dict[str, Any]:
    return {"text": text, "x": x, "y": 1.02, "xref": "paper", "yref": "paper", "xanchor": anchor, "yanchor": "bottom",
            "showarrow": False, "font": {"color": ink}}  # fmt: skip


def _sentence(of: str, p: float, found: Eigenvalues) -> str:
    largest, before = (np.abs(values).max() for values in (found.masked, found.plain))
    sentence = f"Eigenvalues of {MAPS[of]} under weight drop at p = {p:g}. Largest modulus {largest:.2f}, without mask "
    sentence += f"{before:.2f}."
    if found.edge:
        sentence += f" For large matrices theory has the edge at {found.edge:.2f}"
        sentence += f" and a hole of radius {found.hole:.2f}." if of == "orthogonal" else "."
    return sentence
