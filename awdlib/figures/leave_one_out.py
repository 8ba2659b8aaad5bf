"""Two regularizers that overlap, in a model whose error has a closed form: what leaving one of them out can show.

The model is linear regression with orthonormal features: each coefficient is drawn with variance 1 and seen through
noise of variance 1. Dropout on a feature, averaged over its masks, is a quadratic penalty as large as the variance of
the mask (Srivastava et al. 2014, section 9.1), and so shrinks its coefficient by 1 / (1 + penalty). A feature that two
dropouts reach has the product of two masks.
"""

from typing import Any, NamedTuple

import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.figures.style import BLUE, GREEN, INK, ORANGE, describe


class Square(NamedTuple):
    """The four errors of two parts that are there or not; `dropout_square` makes one.

    Example:
        The second part gains 0.5 alone, and costs 0.05 where the first one is there already:

        >>> from awdlib.figures.leave_one_out import Square
        >>> square = Square(1.0, 0.5, 0.5, 0.55)
        >>> [round(gain, 2) for gain in (*square.alone, *square.left_out, square.whole, square.overlap)]
        [0.5, 0.5, -0.05, -0.05, 0.45, 0.55]
    """

    neither: float  #: error with none of them
    first: float  #: with the first alone
    second: float  #: with the second alone
    both: float  #: with both

    @property
    def alone(self) -> tuple[float, float]:
        """By how much each of them lowers the error when it is added to nothing."""
        return self.neither - self.first, self.neither - self.second

    @property
    def left_out(self) -> tuple[float, float]:
        """By how much the error rises when each of them is taken from both."""
        return self.second - self.both, self.first - self.both

    @property
    def whole(self) -> float:
        """By how much both together lower the error."""
        return self.neither - self.both

    @property
    def overlap(self) -> float:
        """The interaction: what a part gains alone beyond what it gains beside the other."""
        return self.alone[0] - self.left_out[0]


def shrunken_error(penalty: float) -> float:
    """Expected squared error of a coefficient of variance 1, seen through noise of variance 1 and shrunk.

    What is left out of the coefficient is a bias, what is kept of the noise a variance.

    Args:
        penalty: not negative; 1 is the best.

    Example:
        >>> from awdlib.figures.leave_one_out import shrunken_error
        >>> [round(shrunken_error(penalty), 3) for penalty in (0, 1, 3)]
        [1.0, 0.5, 0.625]
    """
    require.number("penalty", penalty)
    if penalty < 0:
        raise ValueError(f"penalty is {penalty}; it cannot be negative")
    return (penalty**2 + 1) / (1 + penalty) ** 2


def dropout_square(p: float, q: float, shared: float) -> Square:
    """Errors on new data without and with two dropouts, each of which reaches a part of the features.

    Args:
        p: probability of the first one.
        q: of the second one.
        shared: part of the features that both reach; of the others each one reaches half.

    Raises:
        ValueError: a probability is not in [0, 1), or the part not in [0, 1].

    Example:
        Either of them alone is the best there is; together they are too much:

        >>> from awdlib.figures.leave_one_out import dropout_square
        >>> [round(error, 3) for error in dropout_square(0.5, 0.5, shared=1.0)]
        [1.0, 0.5, 0.5, 0.625]
    """
    for name, value in (("p", p), ("q", q)):
        require.number(name, value)
        if not 0 <= value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 0 and less than 1")
    require.number("shared", shared)
    if not 0 <= shared <= 1:
        raise ValueError(f"shared is {shared}; it must lie between 0 and 1")

    def error(p: float, q: float) -> float:
        one, other = shrunken_error(1 / (1 - p) - 1), shrunken_error(1 / (1 - q) - 1)
        return (1 - shared) * (one + other) / 2 + shared * shrunken_error(1 / ((1 - p) * (1 - q)) - 1)

    return Square(error(0, 0), error(p, 0), error(0, q), error(p, q))


_NAMES = ("neither", "first alone", "second alone", "both")


def square_figure(p: float, q: float, shared: float) -> go.Figure:
    """The two ways from neither part to both, and where they would end if the single gains added up.

    Args:
        p: dropout probability of the first part.
        q: of the second one.
        shared: part of the features that both reach.

    Returns:
        a plotly figure.

    Raises:
        ValueError: as `dropout_square` says.

    Example:
        >>> from awdlib.figures.leave_one_out import square_figure
        >>> square_figure(0.5, 0.5, 1.0).layout.meta["alt"].partition(". ")[0]
        'Error on new data: neither 1.00, first alone 0.50, second alone 0.50, both 0.62'
    """
    square = dropout_square(p, q, shared)
    summed = square.neither - sum(square.alone)
    ways = [_way([0, 0.85, 2], [square.neither, square.first, square.both], BLUE, "circle"),
            _way([0, 1.15, 2], [square.neither, square.second, square.both], ORANGE, "square")]  # fmt: skip
    gap = {"type": "scatter", "x": [2, 2], "y": [summed, square.both], "mode": "lines", "hoverinfo": "skip",
           "line": {"color": GREEN, "width": 4}}  # fmt: skip
    hollow = {"type": "scatter", "x": [2], "y": [summed], "mode": "markers", "hoverinfo": "skip",
              "marker": {"symbol": "diamond-open", "size": 12, "color": GREEN, "line": {"width": 2}}}  # fmt: skip
    ends = {"type": "scatter", "x": [0, 2], "y": [square.neither, square.both], "mode": "markers",
            "hoverinfo": "skip", "marker": {"color": INK, "size": 12}}  # fmt: skip
    layout = {
        "height": 400, "margin": {"l": 50, "r": 10, "t": 76, "b": 44},
        "xaxis": {"range": [-0.3, 2.45], "tickvals": [0, 1, 2], "ticktext": ["neither", "one of them", "both"]},
        "yaxis": {"range": [-0.08, 1.1], "title": {"text": "error on new data"}},
        "annotations": [*_notes(square), *_labels(square, summed)],
    }  # fmt: skip
    return describe(go.Figure({"data": [gap, *ways, ends, hollow], "layout": layout}), _sentence(square))


def _way(x: list[float], y: list[float], ink: str, symbol: str) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": [0, 12, 0], "color": ink}
    return {"type": "scatter", "x": x, "y": y, "mode": "lines+markers", "hoverinfo": "skip",
            "line": {"color": ink, "width": 2.5}, "marker": marker}  # fmt: skip


def _notes(square: Square) -> list[dict[str, Any]]:
    """What each way of asking answers, above the picture."""
    lines = [
        "leaving out: first {:+.2f}, second {:+.2f}".format(*square.left_out),
        "adding to none: first {:+.2f}, second {:+.2f}".format(*(-gain for gain in square.alone)),
        f"adding both {-square.whole:+.2f}; interaction {square.overlap:+.2f}",
    ]
    at = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    inks = (INK, INK, GREEN)
    return [
        at | {"text": _signed(text), "yshift": 48 - 21 * row, "font": {"color": inks[row]}}
        for row, text in enumerate(lines)
    ]


def _labels(square: Square, summed: float) -> list[dict[str, Any]]:
    """Names at the points; those of the single parts on the two sides of their pair."""
    at = {"xref": "x", "yref": "y", "showarrow": False}
    above = "bottom" if square.both < square.second else "top"  # away from the line that goes on from there
    return [
        at | {"x": 0.8, "y": square.first, "text": "first", "xanchor": "right", "yanchor": "top",
              "font": {"color": BLUE}},
        at | {"x": 1.2, "y": square.second, "text": "second", "xanchor": "left", "yanchor": above,
              "font": {"color": ORANGE}},
        at | {"x": 1.93, "y": summed, "text": "if gains<br>added up", "xanchor": "right",
              "yanchor": "top" if summed > 0.15 else "bottom", "font": {"color": GREEN}},
    ]  # fmt: skip


def _sentence(square: Square) -> str:
    errors = ", ".join(f"{name} {error:.2f}" for name, error in zip(_NAMES, square, strict=True))
    return _signed(
        f"Error on new data: {errors}. Leaving out the first changes it by {square.left_out[0]:+.2f}, the second by "
        f"{square.left_out[1]:+.2f}; adding the first to none by {-square.alone[0]:+.2f}, the second by "
        f"{-square.alone[1]:+.2f}, both by {-square.whole:+.2f}; interaction {square.overlap:+.2f}."
    )


def _signed(text: str) -> str:
    """With the minus sign that is as wide as a plus, and no minus before a zero."""
    return text.replace("-0.00", "+0.00").replace("-", "−")
