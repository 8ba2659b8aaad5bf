"""One LSTM cell as a diagram: the gated highway of the cell state, and the gates that steer it."""

from typing import Any

from awdlib.figures.style import GRID, INK, MUTED, PAPER, colour, describe, use_style

#: gates and candidate from left to right: symbol, place on the x axis, what it says, role of its colour
GATES = (
    ("f", 2.3, "forget", "forget"), ("i", 4.2, "input", "input"), ("g", 6.1, "candidate", "candidate"),
    ("o", 8.0, "output", "output"),
)  # fmt: skip
HIGHWAY, BOXES, BUS = 4.9, 1.85, 0.85  #: heights of the cell's path, the gates, and the line that feeds them


def cell_figure() -> Any:
    """The LSTM cell (Gers et al. 2000) with each of its equations where it acts (matplotlib).

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> from awdlib.figures.lstm_cell import cell_figure
        >>> cell_figure().get_label()[:50]
        'An LSTM cell. Along the top runs the cell state, f'
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, ax = plt.subplots(figsize=(6.4, 3.95))
        draw_lstm(ax)
        plt.close(figure)
    return describe(
        figure,
        "An LSTM cell. Along the top runs the cell state, from c at t - 1 to c at t: it is multiplied by the forget "
        "gate f, then the product of input gate i and candidate g is added. Nothing else touches it. Below, the four "
        "blocks f, i, g and o are each computed from the input x at t and the hidden state h at t - 1. On the right "
        "the output gate o multiplies tanh of the cell state and gives the hidden state h at t.",
    )


def draw_lstm(ax: Any) -> None:
    """Draw the LSTM cell into matplotlib axes.

    Args:
        ax: the axes, which lose their frame.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.lstm_cell import draw_lstm
        >>> ax = Figure().add_subplot()
        >>> draw_lstm(ax)
        >>> "forget" in [text.get_text() for text in ax.texts]
        True
    """
    frame(ax)
    _highway(ax)
    _gates(ax)
    _hidden(ax)


def frame(ax: Any) -> None:
    """Axes without a frame, and the box in which a cell is drawn.

    Args:
        ax: matplotlib axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.lstm_cell import frame
        >>> ax = Figure().add_subplot()
        >>> frame(ax)
        >>> ax.axison, len(ax.patches)
        (False, 1)
    """
    ax.set(xlim=(-1.05, 11.0), ylim=(-0.95, 5.85), aspect="equal")
    ax.axis("off")
    ax.add_patch(rounded((0.75, 0.1), 8.95, 5.7, PAPER, GRID, 2))


def _highway(ax: Any) -> None:
    green = colour("cell")
    arrow(ax, [(-0.1, HIGHWAY), (10.05, HIGHWAY)], green, 5)
    ax.text(-0.2, HIGHWAY, "$c_{t-1}$", ha="right", va="center", fontsize=19, color=green)
    ax.text(10.15, HIGHWAY, "$c_t$", ha="left", va="center", fontsize=19, color=green)
    ax.text(7.0, HIGHWAY + 0.42, "$c_t = f\\,c_{t-1} + i\\,g$", ha="center", fontsize=15, color=green)


def _gates(ax: Any) -> None:
    for symbol, x, name, role in GATES:
        ink = colour(role)
        arrow(ax, [(x, BUS), (x, BOXES - 0.45)], MUTED, 1.6)
        ax.add_patch(rounded((x - 0.75, BOXES - 0.42), 1.5, 0.84, ink, ink, 1))
        ax.text(
            x,
            BOXES,
            "tanh" if symbol == "g" else "$\\sigma$",
            ha="center",
            va="center",
            fontsize=16,
            color=PAPER,
            zorder=5,
        )
        ax.text(x - 0.16, BOXES + 0.66, f"${symbol}$", fontsize=18, color=ink, ha="right", va="center")
        ax.text(x, BUS - 0.16, name, ha="center", va="top", fontsize=12, color=ink)
    (f, i, g, _), middle = [gate[1] for gate in GATES], 3.55
    join = (i + g) / 2
    arrow(ax, [(f, BOXES + 0.42), (f, HIGHWAY - 0.3)], colour("forget"), 2)
    arrow(ax, [(i, BOXES + 0.42), (i, middle), (join - 0.3, middle)], colour("input"), 2)
    arrow(ax, [(g, BOXES + 0.42), (g, middle), (join + 0.3, middle)], colour("candidate"), 2)
    arrow(ax, [(join, middle + 0.3), (join, HIGHWAY - 0.3)], INK, 2)
    for x, y, sign in ((f, HIGHWAY, "×"), (join, middle, "×"), (join, HIGHWAY, "+")):
        knot(ax, x, y, sign)


def _hidden(ax: Any) -> None:
    """What feeds the gates, and what the output gate lets out."""
    blue, o, y = colour("hidden"), GATES[3][1], 3.3
    line(ax, [(-0.1, BUS), (o, BUS)], MUTED, 1.6)
    arrow(ax, [(1.35, -0.25), (1.35, BUS)], MUTED, 1.6)
    ax.text(-0.2, BUS, "$h_{t-1}$", ha="right", va="center", fontsize=19, color=blue)
    ax.text(1.35, -0.32, "$x_t$", ha="center", va="top", fontsize=19, color=INK)
    tap = 9.05
    line(ax, [(tap, HIGHWAY), (tap, y + 0.85)], colour("cell"), 2)
    ax.add_patch(rounded((tap - 0.5, y + 0.42), 1.0, 0.62, PAPER, INK, 1.4))
    ax.text(tap, y + 0.73, "tanh", ha="center", va="center", fontsize=13, zorder=5)
    arrow(ax, [(tap, y + 0.42), (tap, y + 0.02), (tap, y - 0.3)], colour("cell"), 2)
    ax.plot([o, o, tap - 0.3], [BOXES + 0.42, y - 0.6, y - 0.6], color=colour("output"), linewidth=2, zorder=2)
    knot(ax, tap, y - 0.6, "×")
    arrow(ax, [(tap, y - 0.9), (tap, BUS), (10.05, BUS)], blue, 3)
    ax.text(10.15, BUS, "$h_t$", ha="left", va="center", fontsize=19, color=blue)
    ax.text(10.05, y - 0.6, "$h_t = o\\,\\tanh\\,c_t$", ha="center", va="center", fontsize=15, color=blue, rotation=90)


def knot(ax: Any, x: float, y: float, sign: str) -> None:
    """A circle with a sign: what is done to the lines that meet there.

    Args:
        ax: matplotlib axes.
        x, y: its centre.
        sign: "×" or "+".

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.lstm_cell import knot
        >>> ax = Figure().add_subplot()
        >>> knot(ax, 1.0, 2.0, "+")
        >>> ax.texts[0].get_text()
        '+'
    """
    from matplotlib.patches import Circle

    ax.add_patch(Circle((x, y), 0.3, facecolor=PAPER, edgecolor=INK, linewidth=1.6, zorder=5))
    ax.text(x, y - 0.02, sign, ha="center", va="center", fontsize=18, zorder=6)


def rounded(corner: tuple[float, float], width: float, height: float, face: str, edge: str, line: float) -> Any:
    """A box with round corners.

    Args:
        corner: the lower left one.
        width, height: of the box.
        face, edge: colours.
        line: width of its edge, in points.

    Example:
        >>> from awdlib.figures.lstm_cell import rounded
        >>> from awdlib.figures.style import INK, PAPER
        >>> rounded((0, 0), 2.0, 1.0, PAPER, INK, 1).get_width()
        2.0
    """
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        corner, width, height, boxstyle="round,pad=0,rounding_size=0.18", facecolor=face, edgecolor=edge,
        linewidth=line, zorder=0 if edge == GRID else 4,
    )  # fmt: skip


def line(ax: Any, points: list[tuple[float, float]], ink: str, width: float) -> None:
    """A line through points.

    Args:
        ax: matplotlib axes.
        points: (x, y) of each.
        ink: its colour.
        width: in points.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.lstm_cell import line
        >>> from awdlib.figures.style import INK
        >>> ax = Figure().add_subplot()
        >>> line(ax, [(0, 0), (1, 2)], INK, 2)
        >>> len(ax.lines)
        1
    """
    ax.plot(*zip(*points, strict=True), color=ink, linewidth=width, solid_capstyle="round", zorder=2)


def arrow(ax: Any, points: list[tuple[float, float]], ink: str, width: float) -> None:
    """A line through the points, with a head at the last one.

    Args:
        ax: matplotlib axes.
        points: (x, y) of each, two at least.
        ink: its colour.
        width: in points.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.lstm_cell import arrow
        >>> from awdlib.figures.style import INK
        >>> ax = Figure().add_subplot()
        >>> arrow(ax, [(0, 0), (1, 0), (1, 2)], INK, 2)
        >>> len(ax.lines), len(ax.texts)
        (1, 1)
    """
    if len(points) > 2:
        line(ax, points[:-1], ink, width)
    ax.annotate("", points[-1], points[-2], zorder=3, arrowprops={
        "arrowstyle": "-|>", "color": ink, "linewidth": width, "shrinkA": 0, "shrinkB": 0,
        "mutation_scale": 10 + 3 * width,
    })  # fmt: skip
