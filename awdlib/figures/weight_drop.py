"""Weight drop on one matrix: which entries a window keeps, and what the mask does to the singular values."""

from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.dropout import require_probability, weight_dropout
from awdlib.figures.style import DIVERGING, MUTED, colour, describe
from awdlib.figures.trained import toy_run

SIZE = 128  #: rows and columns of the matrix
ROWS, COLUMNS = 16, 36  #: of its upper left corner, which is drawn
TOP = 0.6  #: entries of this size and above are drawn in the darkest colours
HIGHEST, SHOWN = 12.5, 100  #: end of the axis of singular values, and how many of them are drawn
SEED = 1  #: of the mask, and of the random matrices
#: the matrices, in words
KINDS = {
    "trained": "a trained forget gate",
    "orthogonal": "a random orthogonal matrix",
    "gaussian": "a random Gaussian matrix",
}


@cache
def weight_matrix(kind: str) -> Tensor:
    """A hidden-to-hidden matrix: the forget gate of the trained model's first layer, or a random one of its norm.

    Args:
        kind: "trained", "orthogonal" or "gaussian".

    Returns:
        (SIZE, SIZE), in double precision; all three have the same Frobenius norm.

    Raises:
        ValueError: an unknown kind.

    Example:
        >>> from awdlib.figures.weight_drop import weight_matrix
        >>> [round(weight_matrix(kind).norm().item(), 2) for kind in ("trained", "orthogonal", "gaussian")]
        [19.78, 19.78, 19.78]
    """
    if kind not in KINDS:
        raise ValueError(f"matrix is {require.shown(kind)}; it must be one of {', '.join(KINDS)}")
    gates: Any = toy_run().model.layers[0].weight_hh
    trained = gates.detach()[SIZE : 2 * SIZE].double()  # of i, f, g and o the second
    if kind == "trained":
        return trained
    random = torch.randn(SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(SEED))
    if kind == "orthogonal":
        random = torch.linalg.qr(random)[0]
    return random * (trained.norm() / random.norm())


def masked(matrix: Tensor, p: float) -> Tensor:
    """The matrix as one window sees it, by the library's own weight drop.

    Args:
        matrix: any shape.
        p: dropout probability.

    Raises:
        ValueError: p is outside [0, 1).

    Example:
        >>> import torch
        >>> from awdlib.figures.weight_drop import masked
        >>> masked(torch.ones(100, 100), p=0.5).unique()
        tensor([0., 2.])
    """
    return weight_dropout(matrix, p, generator=torch.Generator().manual_seed(SEED))


def noise_norm(matrix: Tensor, p: float) -> float:
    """How large the noise of weight drop is: the root of the expected squared Frobenius norm of masked minus matrix.

    An entry w becomes 0 or w / (1 - p), which has mean w and variance w² p / (1 - p). Summed over the entries that is
    p / (1 - p) times the squared norm of the matrix, so that the masked matrix's own is 1 / (1 - p) times as large.

    Args:
        matrix: any shape.
        p: dropout probability.

    Raises:
        ValueError: p is outside [0, 1).

    Example:
        At p = 0.5 the noise is as large as the matrix:

        >>> import torch
        >>> from awdlib.figures.weight_drop import noise_norm
        >>> noise_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), p=0.5)
        5.0
    """
    require_probability("p", p)
    return (p / (1 - p)) ** 0.5 * matrix.norm().item()


def weight_drop_figure(p: float, matrix: str) -> go.Figure:
    """A corner of the masked matrix, and the singular values with the mask, without it, and of the noise it adds.

    Wan et al. 2013; Merity et al. 2017, section 2.

    Args:
        p: dropout probability.
        matrix: "trained", "orthogonal" or "gaussian".

    Returns:
        a plotly figure of a heat map, without colour where an entry was dropped, above three lines.

    Raises:
        ValueError: p is outside [0, 1), or an unknown matrix.

    Example:
        >>> from awdlib.figures.weight_drop import weight_drop_figure
        >>> figure = weight_drop_figure(p=0.5, matrix="orthogonal")
        >>> unmasked = figure.data[2]
        >>> unmasked.name, unmasked.y[[0, -1]].round(2).tolist()  # an orthogonal matrix scales all directions alike
        ('without mask', [1.75, 1.75])
    """
    whole = weight_matrix(matrix)
    dropped = masked(whole, p)
    corner = dropped[:ROWS, :COLUMNS].numpy()
    figure = go.Figure()
    figure.add_heatmap(
        z=np.where(corner == 0, np.nan, corner), zmin=-TOP, zmax=TOP, colorscale=DIVERGING, showscale=False, xgap=1,
        ygap=1, hoverinfo="skip", xaxis="x2", yaxis="y2",
    )  # fmt: skip
    spectra = {
        "masked": torch.linalg.svdvals(dropped).numpy(),
        "without mask": torch.linalg.svdvals(whole).numpy(),
        "noise alone": torch.linalg.svdvals(dropped - whole).numpy(),
    }
    for (name, values), (ink, dash) in zip(spectra.items(), INKS, strict=True):
        figure.add_scatter(
            x=np.arange(1, SHOWN + 1), y=values[:SHOWN], name=name, mode="lines",
            line={"color": ink, "width": 2, "dash": dash}, hovertemplate=f"{name}: %{{y:.2f}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(_layout(spectra))
    return describe(figure, _sentence(p, matrix, whole, dropped, spectra))


INKS = [(colour("with"), "solid"), (colour("without"), "solid"), (MUTED, "dot")]  #: of the three lines, in order


IN_PANEL = {"xref": "x", "yref": "y", "xanchor": "right"}  #: where the labels of the lines stand


def _layout(spectra: dict[str, np.ndarray]) -> dict[str, Any]:
    bare = {"showgrid": False, "showticklabels": False, "ticks": "", "showline": False}
    labels = [
        _note(f"{name}: largest {values[0]:.1f}", SHOWN, HIGHEST - 1.1 - 1.5 * row, ink) | IN_PANEL
        for row, ((name, values), (ink, _)) in enumerate(zip(spectra.items(), INKS, strict=True))
    ]
    return {
        "height": 460, "margin": {"l": 48, "r": 8, "t": 30, "b": 46},
        "xaxis": {"title": {"text": f"the {SHOWN} largest singular values"}, "range": [0, SHOWN + 1],
                  "tickvals": [1, 25, 50, 75, 100]},
        "yaxis": {"domain": [0, 0.48], "range": [0, HIGHEST], "tickvals": [0, 4, 8]},
        "xaxis2": bare | {"anchor": "y2", "range": [-0.5, COLUMNS - 0.5]},
        "yaxis2": bare | {"domain": [0.56, 1], "anchor": "x2", "range": [ROWS - 0.5, -0.5]},
        "annotations": [
            _note(f"<b>as one window sees it</b>: {ROWS} × {COLUMNS} of {SIZE} × {SIZE}", 0, 1.01), *labels,
        ],
    }  # fmt: skip


def _note(text: str, x: float, y: float, ink: str = "") -> dict[str, Any]:
    font = {"font": {"color": ink}} if ink else {}
    where = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    return {"text": text, "x": x, "y": y} | where | font


def _sentence(p: float, matrix: str, whole: Tensor, dropped: Tensor, spectra: dict[str, np.ndarray]) -> str:
    largest = {name: values[0] for name, values in spectra.items()}
    middle = {name: float(np.median(values)) for name, values in spectra.items()}
    return (
        f"Weight drop on {KINDS[matrix]}, p = {p:g}: {(dropped == 0).double().mean().item():.0%} of the entries are "
        f"dropped. The largest singular value goes from {largest['without mask']:.1f} to {largest['masked']:.1f}, the "
        f"median from {middle['without mask']:.1f} to {middle['masked']:.1f}. The noise has Frobenius norm "
        f"{(dropped - whole).norm().item():.1f}, expected {noise_norm(whole, p):.1f}; the matrix has "
        f"{whole.norm().item():.1f}."
    )
