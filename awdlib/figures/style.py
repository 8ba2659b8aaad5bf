"""One visual language for every picture of the book: colours by role, type, sizes, for plotly and for matplotlib.

The colours start from Okabe and Ito's palette (distinguishable with every common colour blindness) and are darkened
until text in them reads on white. Each has a twin for dark pages; interactive figures swap the twins while the page
is open (`awdlib.explore`), so a figure names the *light* colour and never thinks about the page around it.

Figures are plain dictionaries for plotly, so this module imports neither plotly nor, until it is asked, matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INK = "#1f2933"  #: text
MUTED = "#5b6672"  #: what stands back
GRID = "#dde2e8"  #: grid lines
PAPER = "#ffffff"  #: the page
#: The six hues; `ROLES` says what each is for.
BLUE, ORANGE, GREEN, PINK, GOLD, SKY = "#0b69a8", "#bf4b08", "#08775a", "#a83f7d", "#8a6100", "#3d8fc6"

DARK = {
    INK: "#e6e9ed", MUTED: "#a3adb8", GRID: "#39424d", PAPER: "#14181d",
    BLUE: "#62b5f0", ORANGE: "#ff9a5c", GREEN: "#4cc9a4", PINK: "#ec97c8", GOLD: "#e3b74d", SKY: "#9bd0f5",
    "#eef1f4": "#232a32", "#9cc7e6": "#2c6a99", "#08304f": "#d8edfc",  # EMPTY and the two ends of SEQUENTIAL
    "#f5f5f2": "#262b31", "#8f3503": "#ffb98c", "#06436e": "#9ad2f9",  # the middle and the two ends of DIVERGING
}  # fmt: skip
"""The colour that stands on a dark page in place of each light one."""

EMPTY = "#eef1f4"  #: what is not there, such as a dropped entry or a zero
#: Colour scales, for plotly as they are, for matplotlib through `colormap`. Zero is the palest in both.
SEQUENTIAL = [[0.0, EMPTY], [0.35, "#9cc7e6"], [0.7, BLUE], [1.0, "#08304f"]]
#: As `SEQUENTIAL`, for values on both sides of zero.
DIVERGING = [[0.0, "#8f3503"], [0.25, ORANGE], [0.5, "#f5f5f2"], [0.75, BLUE], [1.0, "#06436e"]]

ROLES = {
    "iterate": ORANGE, "average": BLUE,
    "train": MUTED, "valid": BLUE, "test": PINK, "floor": GREEN,
    "kept": BLUE, "dropped": EMPTY, "scaled": "#08304f",
    "with": BLUE, "without": ORANGE,
    "input": SKY, "hidden": BLUE, "output": PINK, "forget": ORANGE, "cell": GREEN, "candidate": GOLD,
}  # fmt: skip
"""What a colour means, the same in every chapter."""

CYCLE = [BLUE, ORANGE, GREEN, PINK, GOLD, SKY]  #: the colours of lines that have no role, in order
FONTS = ["Inter", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans", "sans-serif"]
TEXT_SIZE, TITLE_SIZE = 13, 15  #: of plotly's figures, in pixels
WIDTH, HEIGHT = 6.4, 3.4  #: of matplotlib's figures, in inches


def colour(role: str) -> str:
    """The colour of a role.

    Args:
        role: one of `ROLES`, for example ``"floor"``.

    Raises:
        ValueError: no such role.

    Example:
        >>> from awdlib.figures.style import colour
        >>> colour("floor"), colour("with")
        ('#08775a', '#0b69a8')
    """
    if role not in ROLES:
        raise ValueError(f"no colour for the role {role!r}: the roles are {', '.join(ROLES)}")
    return ROLES[role]


def fade(hex_colour: str, alpha: float) -> str:
    """``hex_colour`` made transparent, for bands and fills: ``"rgba(11, 105, 168, 0.2)"``; follows the dark switch.

    Args:
        hex_colour: ``"#rrggbb"``.
        alpha: opacity between 0 and 1.

    Example:
        >>> from awdlib.figures.style import colour, fade
        >>> fade(colour("with"), 0.2)
        'rgba(11, 105, 168, 0.2)'
    """
    red, green, blue = (int(hex_colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:g})"


def describe(figure: Any, sentence: str) -> Any:
    """Attach the text alternative to a plotly or matplotlib figure, and return the figure.

    Args:
        figure: a plotly figure (kept in ``layout.meta["alt"]``) or a matplotlib one (kept as its label).
        sentence: what the picture shows, with its numbers, for those who cannot see it.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.style import describe
        >>> describe(Figure(), "Perplexity falls from 60 to 30.").get_label()
        'Perplexity falls from 60 to 30.'
    """
    if hasattr(figure, "to_plotly_json"):
        figure.update_layout(meta={"alt": sentence})
    else:
        figure.set_label(sentence)
    return figure


def _axis() -> dict[str, Any]:
    return {
        "automargin": True, "fixedrange": True, "gridcolor": GRID, "linecolor": MUTED, "tickcolor": MUTED,
        "tickfont": {"color": MUTED},
        "title": {"font": {"color": INK, "size": TEXT_SIZE + 1}, "standoff": 8}, "zeroline": False,
        "showline": True, "ticks": "outside", "ticklen": 4, "minor": {"ticks": ""},
    }  # fmt: skip


def plotly_template() -> dict[str, Any]:
    """The plotly template as a plain dictionary: transparent paper, quiet axes, no tool bar, direct labels.

    Example:
        >>> import plotly.graph_objects as go
        >>> from awdlib.figures.style import plotly_template
        >>> go.Figure(layout={"template": plotly_template()}).layout.template.layout.showlegend
        False
    """
    return {
        "layout": {
            "font": {"family": ", ".join(FONTS), "size": TEXT_SIZE, "color": INK},
            "title": {
                "font": {"size": TITLE_SIZE}, "automargin": True, "x": 0, "xanchor": "left", "xref": "paper",
                "yref": "container",
            },
            "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "colorway": CYCLE,
            "margin": {"l": 56, "r": 24, "t": 16, "b": 48}, "showlegend": False, "dragmode": False,
            "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
            "xaxis": _axis() | {"showgrid": False}, "yaxis": _axis(),
            "colorscale": {"sequential": SEQUENTIAL, "diverging": DIVERGING},
            "annotationdefaults": {"showarrow": False, "font": {"size": TEXT_SIZE}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0,0,0,0)"},
        },
        "data": {
            "heatmap": [{"showscale": False, "xgap": 1, "ygap": 1, "hoverongaps": False}],
            "scatter": [{"line": {"width": 2.25}}],
        },
    }  # fmt: skip


def matplotlib_rc() -> dict[str, Any]:
    """Matplotlib's settings that match `plotly_template`; `use_style` applies them.

    Example:
        >>> from awdlib.figures.style import MUTED, matplotlib_rc
        >>> matplotlib_rc()["axes.edgecolor"] == MUTED
        True
    """
    from cycler import cycler

    return {
        "figure.figsize": (WIDTH, HEIGHT), "figure.dpi": 110, "figure.facecolor": PAPER,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": PAPER, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 11,
        "axes.prop_cycle": cycler(color=CYCLE), "axes.edgecolor": MUTED, "axes.labelcolor": INK, "axes.titlesize": 12,
        "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": GRID, "xtick.color": MUTED, "ytick.color": MUTED,
        "text.color": INK, "lines.linewidth": 1.9, "legend.frameon": False, "image.interpolation": "nearest",
    }  # fmt: skip


@contextmanager
def use_style() -> Iterator[None]:
    """Draw with the book's matplotlib settings inside a ``with`` block; nothing outside it changes.

    Example:
        >>> import matplotlib
        >>> from awdlib.figures.style import use_style
        >>> before = matplotlib.rcParams["axes.spines.top"]
        >>> with use_style():
        ...     matplotlib.rcParams["axes.spines.top"]
        False
        >>> matplotlib.rcParams["axes.spines.top"] == before
        True
    """
    import matplotlib

    settings: Any = matplotlib_rc()
    with matplotlib.rc_context(settings):
        yield


def colormap(scale: list[list[Any]] | None = None) -> Any:
    """A matplotlib colour map from one of the scales, `SEQUENTIAL` or `DIVERGING`.

    Args:
        scale: [position in [0, 1], colour] of each stop; None for `SEQUENTIAL`.

    Example:
        >>> from matplotlib.colors import to_hex
        >>> from awdlib.figures.style import EMPTY, colormap
        >>> to_hex(colormap()(0.0)) == EMPTY
        True
    """
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("awdlib", [tuple(stop) for stop in scale or SEQUENTIAL])


def label_end(axes: Any, x: float, y: float, text: str, color: str) -> None:
    """Write a line's name at its end, in its own colour: a direct label in place of a legend.

    Args:
        axes: matplotlib axes.
        x, y: the line's last point, in data units.
        text: the name.
        color: the line's colour.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.style import colour, label_end
        >>> axes = Figure().add_subplot()
        >>> label_end(axes, 40, 31.5, "valid", colour("valid"))
        >>> [(text.get_text(), text.xy) for text in axes.texts]
        [('valid', (40, 31.5))]
    """
    axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", color=color, va="center", fontweight="bold")


def label_ends(axes: Any, x: float, ends: list[tuple[float, str, str]], apart: float = 1.1) -> None:
    """Direct labels of several lines, pushed upwards where two would lie on each other.

    Args:
        axes: matplotlib axes with a logarithmic y axis.
        x: where the lines end.
        ends: (last value, name, colour) of each line.
        apart: smallest ratio between two labels' heights.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.style import BLUE, ORANGE, label_ends
        >>> axes = Figure().add_subplot(yscale="log")
        >>> label_ends(axes, 40, [(30.0, "locked", BLUE), (31.0, "ordinary", ORANGE)])
        >>> [(text.get_text(), round(text.xy[1], 1)) for text in axes.texts]
        [('locked', 30.0), ('ordinary', 33.0)]
    """
    below = 0.0
    for y, text, color in sorted(ends):
        below = max(y, below * apart)
        label_end(axes, x, below, text, color)


def perplexity_axis(axes: Any) -> None:
    """A logarithmic perplexity axis, and whole epochs below, with plain numbers on both.

    Args:
        axes: matplotlib axes.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.figures.style import perplexity_axis
        >>> axes = Figure().add_subplot()
        >>> perplexity_axis(axes)
        >>> axes.get_yscale(), axes.get_ylabel(), axes.get_xlabel()
        ('log', 'perplexity', 'epoch')
    """
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    ticks = [10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000, 3000, 10_000]
    axes.set(xlabel="epoch", ylabel="perplexity", yscale="log")
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
