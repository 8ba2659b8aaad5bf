"""Explorables: a pure function from parameters to a plotly figure, made into sliders that live in the page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

from awdlib import _require as require
from awdlib.explore import limits, packing, page
from awdlib.explore.controls import Control, checked, grid, placed, require_fit, require_free
from awdlib.explore.still import require_still, still_png
from awdlib.figures.style import plotly_template

HEIGHT = 360  #: of a figure that names none, in CSS pixels

FigureFunction = Callable[..., Any]


class Explorable:
    """A figure with sliders that need neither kernel nor network; what `explorable` returns, with its arguments.

    Attributes:
        controls: name → control, in the order of the function's keywords.
        points: every combination of values, in the order in which figures are packed.

    Example:
        >>> import plotly.graph_objects as go
        >>> from awdlib.explore import explorable, slider
        >>> def line(slope):
        ...     return go.Figure(go.Scatter(y=[0, slope])), f"a line of slope {slope}"
        >>> figure = explorable(line, slope=slider(1, 3, 1, 2))
        >>> figure.default, figure.points, figure.decoded(slope=3)["alt"]
        ({'slope': 2}, [{'slope': 1}, {'slope': 2}, {'slope': 3}], 'a line of slope 3')
    """

    def __init__(
        self, function: FigureFunction, controls: dict[str, Control], *,
        title: str, look_for: str, still: Any, limit_mb: float,
    ) -> None:  # fmt: skip
        if not callable(function):
            raise ValueError(f"the function is {require.shown(function)}; give one from parameters to a plotly figure")
        require_still(still)
        self.function, self._still = function, still
        self.title, self.look_for = require.text("title", title), require.text("look_for", look_for)
        require.number("limit_mb", limit_mb, "(0, inf)")
        require_fit(function, controls)
        self.controls = checked(controls)
        limits.require_few(self.tree, self.controls, limit_mb)
        self.points = grid(self.controls)
        trees = [self.tree(**point) for point in self.points]
        self.packed = packing.pack(trees)
        self.data = page.script_safe(page.specification(self.controls, self.packed, page.bundle_for(trees)))
        limits.require_light(self.data, self.controls, limit_mb)

    def tree(self, **values: Any) -> dict[str, Any]:
        """What the function draws for these values, as the page gets it, ``{"data", "layout", "alt"}``.

        What goes wrong there comes out as it is, with a note of where it was (from Python 3.11).

        Args:
            **values: of all controls.
        """
        try:
            return figure_tree(self.function(**values))
        except Exception as problem:
            if values and sys.version_info >= (3, 11):
                problem.add_note("at " + ", ".join(f"{name} = {require.shown(v)}" for name, v in values.items()))
            raise

    @property
    def default(self) -> dict[str, Any]:
        """The values at which the controls stand at first."""
        return {name: control.value for name, control in self.controls.items()}

    def decoded(self, **values: Any) -> dict[str, Any]:
        """The figure that the page shows for these values, unpacked in Python.

        Args:
            **values: of the controls; what is left out stands where it stood at first.

        Raises:
            ValueError: there is no control of this name, or it cannot stand there.
        """
        return packing.unpack(self.packed, self.points.index(placed(self.controls, values)))

    @cached_property
    def html(self) -> str:
        """The cell's HTML; the same string on every run."""
        tree = self.tree(**self.default)
        height = int(tree["layout"].get("height") or HEIGHT)
        still = still_png(self._still, tree, height)
        return page.render(
            self.data, title=self.title, look_for=self.look_for, alt=tree["alt"], still=still, height=height
        )

    def __repr__(self) -> str:
        stand = ", ".join(f"{c.label} = {c.text(c.value)}" for c in self.controls.values())
        head = ". ".join(part.rstrip(".") for part in (self.title, self.look_for) if part)
        at = f" ({stand})" if stand else ""
        return f"[figure{at}] {head}. {self.decoded()['alt']}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": repr(self)}


def explorable(
    function: FigureFunction, *, title: str = "", look_for: str = "", still: Any = None,
    limit_mb: float = limits.LIMIT_MB,
    **controls: Control,
) -> Explorable:  # fmt: skip
    """Make sliders for a pure function; the result displays itself as a cell's last line.

    The function is called once for every combination of values. What varies between the figures is quantised
    (`awdlib.explore.packing`) and written into the cell, so the page answers with nothing behind it.

    Args:
        function: takes the controls' values as keywords and returns a plotly figure, or ``(figure, sentence)``;
            the sentence is the text alternative (or attach it with `awdlib.figures.style.describe`).
        title: a short name above the figure.
        look_for: one sentence that says what to look for.
        still: the picture shown where scripts do not run: a matplotlib figure or a function that makes one;
            by default it is drawn from the plotly figure (lines, bars, heat maps).
        limit_mb: the most that the data may weigh, in megabytes.
        **controls: one control a parameter, made by the functions of `awdlib.explore.controls`.

    Raises:
        ValueError: something else than a control, a control that is no parameter, a parameter with neither control
            nor default, no text alternative; or the grid is too large: then the message says how many megabytes it
            weighs and which control to give fewer values.

    Example:
        In a notebook the last line draws the figure; elsewhere it is described.

        >>> import plotly.graph_objects as go
        >>> from awdlib.explore import explorable, slider
        >>> def line(slope):
        ...     return go.Figure(go.Scatter(y=[0, slope])), f"A line of slope {slope}."
        >>> explorable(line, title="Slope", look_for="It turns.", slope=slider(1, 3, 1, 2))
        [figure (slope = 2)] Slope. It turns. A line of slope 2.
    """
    require_free("explorable", title=title, look_for=look_for, still=still, limit_mb=limit_mb)
    return Explorable(function, controls, title=title, look_for=look_for, still=still, limit_mb=limit_mb)


def show_figure(figure: Any, *, alt: str = "", title: str = "", look_for: str = "", still: Any = None) -> Explorable:
    """A plotly figure without sliders, drawn the same way everywhere.

    Args:
        figure: the plotly figure.
        alt: its text alternative, unless attached with `awdlib.figures.style.describe`.
        title, look_for, still: as in `explorable`.

    Raises:
        ValueError: it has no text alternative.

    Example:
        >>> import plotly.graph_objects as go
        >>> from awdlib.explore import show_figure
        >>> show_figure(go.Figure(go.Bar(y=[4, 3])), alt="Two bars, 4 and 3.", title="Gates")
        [figure] Gates. Two bars, 4 and 3.
    """
    return explorable(lambda: (figure, alt) if alt else figure, title=title, look_for=look_for, still=still)


def figure_tree(result: Any) -> dict[str, Any]:
    """A figure, or ``(figure, sentence)``, as ``{"data", "layout", "alt"}`` in the book's template.

    Args:
        result: what the function of an explorable returns.

    Raises:
        ValueError: not a plotly figure, or no text alternative that is a string.

    Example:
        >>> import plotly.graph_objects as go
        >>> from awdlib.explore.figure import figure_tree
        >>> tree = figure_tree((go.Figure(go.Bar(y=[4, 3])), "Two bars."))
        >>> tree["alt"], tree["data"][0]["y"]
        ('Two bars.', array([4., 3.]))
    """
    if isinstance(result, tuple) and len(result) != 2:
        things = "1 thing in a tuple" if len(result) == 1 else f"{len(result)} things"
        raise ValueError(f"the function returned {things}: return (figure, sentence)")
    figure, sentence = result if isinstance(result, tuple) else (result, None)
    if not hasattr(figure, "to_plotly_json"):
        raise ValueError(f"there is no plotly figure, but {require.shown(result)}: return one, or (figure, sentence)")
    tree = packing.plain(figure.to_plotly_json())
    layout = tree.get("layout", {})
    meta = layout.pop("meta", None)
    attached = meta.get("alt") if isinstance(meta, dict) else None
    given = [require.text("the text alternative", said) for said in (sentence, attached) if said is not None]
    if not (alt := next(filter(None, given), "")):
        raise ValueError("the figure has no text alternative: return (figure, sentence) or use style.describe()")
    layout["template"] = plotly_template()
    return {"data": tree["data"], "layout": layout, "alt": alt}
