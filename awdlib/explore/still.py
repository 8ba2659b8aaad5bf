"""Still pictures of plotly figures, drawn with matplotlib: what stands where scripts do not run, and in print.

Not a second plotly: lines, markers, text, bars and heat maps on linear or logarithmic axes, in one or more panels,
with titles and annotations. For anything else ``explorable(still=…)`` takes a picture of your own.
"""

from __future__ import annotations

import base64
import html
import io
import re
from functools import partial
from typing import Any

import numpy as np

from awdlib import _require as require
from awdlib.figures import style

DPI, PIXELS_WIDE, COLOURS = 100, 760, 48
MARGINS = {"l": 76, "r": 30, "t": 34, "b": 56}  #: in pixels, at the least; what is written must find its place there
_DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "x": "x", "cross": "+", "triangle-up": "^"}


def still_png(still: Any, tree: dict[str, Any], height: int) -> str:
    """Base64 of a PNG.

    Args:
        still: a matplotlib figure, a function that returns one, or None: then it is drawn from ``tree``.
        tree: ``{"data", "layout"}`` of a plotly figure.
        height: in pixels.

    Raises:
        ValueError: a kind of trace that cannot be drawn here, or the function returned no matplotlib figure.

    Example:
        >>> from base64 import b64decode
        >>> from awdlib.explore.still import still_png
        >>> tree = {"data": [{"type": "bar", "y": [4, 3]}], "layout": {"title": "Gates"}}
        >>> b64decode(still_png(None, tree, height=200))[1:4]
        b'PNG'
    """
    require_still(still)
    figure = draw(tree, height) if still is None else still() if callable(still) else still
    if not hasattr(figure, "savefig"):
        raise ValueError(f"still() returned {require.shown(figure)}; it must return a matplotlib figure")
    return encode(figure)


def require_still(still: Any) -> None:
    """Refuse what no picture can be made of, before anything is computed.

    Args:
        still: as in `still_png`.

    Raises:
        ValueError: not a matplotlib figure, not a function, not None.

    Example:
        >>> from awdlib.explore.still import require_still
        >>> require_still("curve.png")
        Traceback (most recent call last):
            ...
        ValueError: still is 'curve.png'; give a matplotlib figure or a function that returns one
    """
    if not (still is None or callable(still) or hasattr(still, "savefig")):
        raise ValueError(f"still is {require.shown(still)}; give a matplotlib figure or a function that returns one")


def encode(figure: Any) -> str:
    """Base64 of a small PNG of a matplotlib figure: few colours, no date, no version.

    Args:
        figure: the figure.

    Example:
        >>> from base64 import b64decode
        >>> from matplotlib.figure import Figure
        >>> from awdlib.explore.still import encode
        >>> b64decode(encode(Figure(figsize=(1, 1))))[1:4]
        b'PNG'
    """
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=DPI, metadata={"Software": None})
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def draw(tree: dict[str, Any], height: int) -> Any:
    """The matplotlib twin of a plotly figure.

    Args:
        tree: ``{"data", "layout"}`` of a plotly figure.
        height: in pixels.

    Raises:
        ValueError: a kind of trace that cannot be drawn here.

    Example:
        >>> from awdlib.explore.still import draw
        >>> layout = {"yaxis": {"title": {"text": "gates"}}}
        >>> figure = draw({"data": [{"type": "bar", "y": [4, 3]}], "layout": layout}, height=200)
        >>> figure.axes[0].get_ylabel(), len(figure.axes[0].patches)
        ('gates', 2)
        >>> draw({"data": [{"type": "pie"}], "layout": {}}, height=200)
        Traceback (most recent call last):
            ...
        ValueError: no still picture can be drawn of a 'pie' trace: pass still=, a matplotlib figure
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with style.use_style(), rc_context({"font.size": 9.5}):
        figure = Figure(figsize=(PIXELS_WIDE / DPI, height / DPI), layout="none")  # type: ignore[arg-type]  # its stubs forget "none"
        layout, panels = tree["layout"], {}
        paper = _paper(layout.get("margin", {}), height)
        for number, trace in enumerate(tree["data"]):
            key = (trace.get("xaxis", "x"), trace.get("yaxis", "y"))
            if key not in panels:
                panels[key] = _panel(figure, paper, layout, *key)
            _DRAW.get(trace.get("type", "scatter"), _refuse)(panels[key], trace, style.CYCLE[number % 6])
        for (x, y), axes in panels.items():
            _dress(axes, layout.get(_axis(x), {}), layout.get(_axis(y), {}))
        for note in layout.get("annotations", []):
            _annotate(figure, paper, panels, note)
        figure.text(0.01, 0.98, _text(layout.get("title")), va="top", fontweight="bold")
        return figure


def _axis(name: str) -> str:
    return f"{name[0]}axis{name[1:]}"


def _text(title: Any) -> str:
    text = title.get("text", "") if isinstance(title, dict) else title or ""
    text = re.sub(r"<br\s*/?>", "\n", str(text))
    text = re.sub(r"</?(b|i|em|span|sub|sup)( [^>]*)?>", "", text)  # plotly's tags; <eos> is a word
    return html.unescape(text).replace("$", r"\$")


def _paper(margin: dict[str, Any], height: int) -> Any:
    """Plotly's paper, where its panels and annotations lie, as a box in parts of the picture."""
    from matplotlib.transforms import Bbox

    left, right, top, bottom = (max(MARGINS[side], margin.get(side) or 0) for side in "lrtb")
    return Bbox([[left / PIXELS_WIDE, bottom / height], [1 - right / PIXELS_WIDE, 1 - top / height]])


def _panel(figure: Any, paper: Any, layout: dict[str, Any], x: str, y: str) -> Any:
    """Axes where plotly's domains put them on the paper."""
    left, right = layout.get(_axis(x), {}).get("domain", [0, 1])
    low, high = layout.get(_axis(y), {}).get("domain", [0, 1])
    x0, y0 = paper.x0 + paper.width * left, paper.y0 + paper.height * low
    return figure.add_axes((x0, y0, paper.width * (right - left), paper.height * (high - low)))


def _scatter(axes: Any, trace: dict[str, Any], default: str) -> None:
    mode, line, marker = trace.get("mode", "lines"), trace.get("line", {}), trace.get("marker", {})
    y = np.asarray(trace["y"], dtype=float)
    x = np.arange(len(y)) if trace.get("x") is None else trace["x"]
    shade = marker.get("color")
    colour = _opaque(line.get("color") or (shade if isinstance(shade, str) else default))
    _fill(axes, trace, x, y, colour)
    if "lines" in mode and line.get("width") != 0:
        steps = {"hv": "steps-post", "vh": "steps-pre", "hvh": "steps-mid"}.get(line.get("shape"), "default")
        width = line.get("width", 2)
        axes.plot(x, y, _DASHES.get(line.get("dash"), "-"), color=colour, linewidth=width, drawstyle=steps)
    if "markers" in mode:
        area = np.asarray(marker.get("size", 6)) ** 2 / 2
        how = {"c": shade, "cmap": style.colormap()} if isinstance(shade, np.ndarray) else {"color": colour}
        axes.scatter(x, y, s=area, marker=_MARKERS.get(marker.get("symbol"), "o"), zorder=3, **how)
    if "text" in mode:
        up, across = (trace.get("textposition") or "middle center").split()
        where = {
            "va": {"top": "bottom", "middle": "center", "bottom": "top"}[up],
            "ha": {"left": "right", "center": "center", "right": "left"}[across],
        }
        font = trace.get("textfont", {})
        ink, size = _opaque(font.get("color") or colour), 0.72 * (font.get("size") or 11)
        for at, height, word in zip(x, y, trace.get("text", []), strict=False):
            axes.text(at, height, _text(word), color=ink, fontsize=size, **where)


def _fill(axes: Any, trace: dict[str, Any], x: Any, y: np.ndarray, colour: Any) -> None:
    shade = _opaque(trace["fillcolor"]) if "fillcolor" in trace else (colour, 0.2)
    if trace.get("fill") in ("toself", "tonexty"):  # bands: an outline there and back, or down to the line before
        before = axes.lines[-1].get_ydata() if trace["fill"] == "tonexty" and axes.lines else None
        if before is not None and len(before) == len(y):
            axes.fill_between(x, before, y, color=shade, linewidth=0)
        else:
            axes.fill(x, y, color=shade, linewidth=0)
    elif trace.get("fill") == "tozeroy":
        axes.fill_between(x, y, color=shade, linewidth=0)


def _bar(axes: Any, trace: dict[str, Any], default: str) -> None:
    colour = trace.get("marker", {}).get("color", default)
    colours = [_opaque(c) for c in colour] if isinstance(colour, list) else colour
    colours = _opaque(colours) if isinstance(colours, str) else colours
    if isinstance(colours, np.ndarray):
        colours = style.colormap()((colours - colours.min()) / max(np.ptp(colours), 1e-12))
    if trace.get("orientation") == "h":
        axes.barh(trace["y"], trace["x"], color=colours)
    else:
        y = np.asarray(trace["y"], dtype=float)
        axes.bar(np.arange(len(y)) if trace.get("x") is None else trace["x"], y, color=colours)


def _heatmap(axes: Any, trace: dict[str, Any], default: str) -> None:
    z = np.asarray(trace["z"], dtype=float)
    x, y = _edges(trace.get("x"), z.shape[1]), _edges(trace.get("y"), z.shape[0])
    colours = style.colormap(trace.get("colorscale") if isinstance(trace.get("colorscale"), list) else None)
    gap = dict(edgecolors=style.PAPER, linewidth=0.6) if z.size <= 2500 and trace.get("xgap", 1) else {}
    axes.pcolormesh(x, y, z, cmap=colours, vmin=trace.get("zmin"), vmax=trace.get("zmax"), **gap)
    axes.grid(False)
    for centres, setter in ((trace.get("x"), axes.set_xticks), (trace.get("y"), axes.set_yticks)):
        if isinstance(centres, list):
            setter(range(len(centres)), labels=[_text(word) for word in centres])


def _edges(centres: Any, count: int) -> np.ndarray:
    middle = np.asarray(centres, dtype=float) if isinstance(centres, np.ndarray) else np.arange(count, dtype=float)
    gaps = np.diff(middle) if count > 1 else np.ones(1)
    inner = middle[:-1] + gaps / 2
    return np.concatenate([[middle[0] - gaps[0] / 2], inner, [middle[-1] + gaps[-1] / 2]])


def _refuse(axes: Any, trace: dict[str, Any], default: str) -> None:
    raise ValueError(f"no still picture can be drawn of a {trace['type']!r} trace: pass still=, a matplotlib figure")


_DRAW = {"scatter": _scatter, "bar": _bar, "heatmap": _heatmap}


def _opaque(colour: str) -> Any:
    """A colour as matplotlib writes it: ``rgba(…)`` becomes a tuple."""
    parts = re.findall(r"[\d.]+", colour) if colour.startswith("rgb") else []
    return (*(float(p) / 255 for p in parts[:3]), float(parts[3]) if len(parts) > 3 else 1.0) if parts else colour


def _dress(axes: Any, x: dict[str, Any], y: dict[str, Any]) -> None:
    for name, axis in (("x", x), ("y", y)):
        setting = partial(_set, axes, name)
        setting("label", _text(axis.get("title")))
        edge = {"x": "bottom", "y": "right" if axis.get("side") == "right" else "left"}[name]
        for side in {"x": ("bottom", "top"), "y": ("left", "right")}[name]:
            axes.spines[side].set_visible(side == edge and axis.get("showline") is not False)
        if edge == "right":
            axes.yaxis.tick_right()
            axes.yaxis.set_label_position("right")
        if "tickfont" in axis or "tickangle" in axis:
            size = 0.72 * axis.get("tickfont", {}).get("size", style.TEXT_SIZE)
            axes.tick_params(axis=name, labelsize=size, labelrotation=-axis.get("tickangle", 0))
        if axis.get("showgrid") is False:
            axes.grid(False, axis=name)
        log = axis.get("type") == "log"
        if log:
            setting("scale", "log")
        if axis.get("range") is not None:
            limits = np.asarray(axis["range"], dtype=float)
            setting("lim", 10**limits if log else limits)
        elif axis.get("autorange") == "reversed":
            getattr(axes, f"invert_{name}axis")()
        if axis.get("visible") is False or axis.get("showticklabels") is False:
            setting("ticks", [])
        elif isinstance(axis.get("tickvals"), np.ndarray):
            words = axis.get("ticktext", [f"{value:g}" for value in axis["tickvals"]])
            setting("ticks", axis["tickvals"], labels=[_text(word) for word in words])


def _set(axes: Any, name: str, what: str, *values: Any, **options: Any) -> None:
    getattr(axes, f"set_{name}{what}")(*values, **options)


def _annotate(figure: Any, paper: Any, panels: dict[tuple[str, str], Any], note: dict[str, Any]) -> None:
    """Text at data, panel or paper coordinates, with the alignment that plotly would choose."""
    from matplotlib.transforms import blended_transform_factory

    across, up = str(note.get("xref", "x")), str(note.get("yref", "y"))
    names = across.split()[0], up.split()[0]
    sharing = [panel for key, panel in panels.items() if key[0] == names[0] or key[1] == names[1]]
    axes = panels.get(names) or [*sharing, *panels.values()][0]  # where one is the paper, the other's panel
    x, y = note.get("x", 0.5), note.get("y", 0.5)
    x = paper.x0 + paper.width * x if across == "paper" else x
    y = paper.y0 + paper.height * y if up == "paper" else y
    if across[0] == "x" and "domain" not in across and axes.get_xscale() == "log":
        x = 10**x  # plotly counts in powers of ten there
    if up[0] == "y" and "domain" not in up and axes.get_yscale() == "log":
        y = 10**y
    horizontal, vertical = (
        figure.transFigure if ref == "paper" else axes.transAxes if "domain" in ref else axes.transData
        for ref in (across, up)
    )
    text = str(note.get("text", ""))
    axes.annotate(
        _text(text),
        (x, y),
        (0.72 * note.get("xshift", 0), 0.72 * note.get("yshift", 0)),  # of a picture of 100 pixels an inch, in points
        xycoords=blended_transform_factory(horizontal, vertical),
        textcoords="offset points",
        fontsize=8.5,
        fontweight="bold" if text.startswith("<b>") else "normal",
        color=_opaque(note.get("font", {}).get("color", style.INK)),
        ha={"left": "left", "right": "right"}.get(str(note.get("xanchor")), "center"),
        va={"top": "top", "bottom": "bottom"}.get(str(note.get("yanchor")), "center"),
        annotation_clip=False,
    )
