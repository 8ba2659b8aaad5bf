"""The HTML of an explorable: a still picture, the packed grid, a style and a script; nothing asked of a server.

Every identifier comes from a hash of the content, so the same figure gives the same string on every run.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from awdlib.explore.controls import Control
from awdlib.explore.packing import jsonable
from awdlib.figures.style import DARK

PLOTLY_VERSION = "4.1.1"  #: of plotly.js
CARTESIAN = frozenset(("bar", "box", "contour", "heatmap", "histogram", "histogram2d", "pie", "scatter", "violin"))
"""Kinds of traces that plotly's cartesian bundle draws. It is a third of the whole and starts in half the time."""

PLOTLY = {
    "cartesian": {
        "source": f"https://cdn.jsdelivr.net/npm/plotly.js-cartesian-dist-min@{PLOTLY_VERSION}/plotly-cartesian.min.js",
        "integrity": "sha256-eVQhUIVaUsVnJg4xNwldvit0Tm1wKlyr5n2iRpQvuno=",
    },
    "full": {
        "source": f"https://cdn.plot.ly/plotly-{PLOTLY_VERSION}.min.js",
        "integrity": "sha256-O24V1F27f8pb0glCkelh3cVHLNiHAJ5gCaVtq2aNch8=",
    },
}
"""plotly.js where the page has none of its own, in one version, known by its hash (tests hold it to the files here)."""

NOTE = "A still picture: its sliders move in the book, and wherever this notebook is run."  #: below a still picture

_PAGE = """\
<figure class="explorable" data-id="{id}" aria-label="{name}">
{title}{look}<div class="explorable-controls" hidden></div>
<img class="explorable-still" src="data:image/png;base64,{still}" alt="{alt}">
<div class="explorable-plot" role="img" aria-label="{alt}" data-height="{height}" hidden></div>
<p class="explorable-readout" aria-live="polite"></p>
<p class="explorable-note">{note}</p>
<style>{css}</style>
<script type="application/json" class="explorable-data">{data}</script>
<script>(() => {{
{js}
startExplorable("{id}");
}})();</script>
</figure>"""


@lru_cache
def asset(name: str) -> str:
    """Text of a file that lies beside this module.

    Args:
        name: with its ending.

    Example:
        >>> from awdlib.explore.page import asset
        >>> "function startExplorable(" in asset("explorable.js")
        True
    """
    return files("awdlib.explore").joinpath(name).read_text(encoding="utf8")


def specification(controls: Mapping[str, Control], packed: dict[str, Any], bundle: str = "cartesian") -> dict[str, Any]:
    """All that the page's script needs, ready for JSON.

    Args:
        controls: by name of the parameter.
        packed: the figures, as `awdlib.explore.packing.pack` returns them.
        bundle: what draws them, one of `PLOTLY`.

    Example:
        >>> from awdlib.explore.controls import slider
        >>> from awdlib.explore.page import specification
        >>> described = specification({"p": slider(0, 1, 0.5, 0.5)}, packed={})["controls"][0]
        >>> described["name"], described["texts"], described["default"]
        ('p', ['0.0', '0.5', '1.0'], 1)
    """
    described = [
        {
            "name": name, "kind": control.kind, "label": control.label, "symbol": control.symbol,
            "values": jsonable(control.values), "default": control.default,
            "texts": [control.text(value) for value in control.values],
        }
        for name, control in controls.items()
    ]  # fmt: skip
    return {"controls": described, "figure": packed, "dark": DARK, "plotly": {"bundle": bundle, **PLOTLY[bundle]}}


def bundle_for(trees: Iterable[dict[str, Any]]) -> str:
    """Which of `PLOTLY`'s bundles draws these figures.

    Args:
        trees: as `awdlib.explore.figure.figure_tree` returns them.

    Example:
        >>> from awdlib.explore.page import bundle_for
        >>> bundle_for([{"data": [{"type": "bar"}]}]), bundle_for([{"data": [{"type": "surface"}]}])
        ('cartesian', 'full')
    """
    kinds = {trace.get("type", "scatter") for tree in trees for trace in tree["data"]}
    return "cartesian" if kinds <= CARTESIAN else "full"


def script_safe(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element: no ``<`` in it.

    Args:
        value: what JSON can hold, without infinite numbers.

    Example:
        >>> import json
        >>> from awdlib.explore.page import script_safe
        >>> text = script_safe({"label": "</script>"})
        >>> "<" in text, json.loads(text)
        (False, {'label': '</script>'})
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def render(data: str, *, title: str, look_for: str, alt: str, still: str, height: int) -> str:
    """The explorable's HTML.

    Args:
        data: `specification` as `script_safe` writes it.
        title, look_for: what stands above; ``""`` for nothing.
        alt: the text alternative where the controls stand at first.
        still: base64 of a PNG.
        height: of the plot, in CSS pixels. The script gives it to the plot: where none runs, what hides the empty one
            may be taken away too, and nothing must be left of it but the still picture.

    Example:
        >>> from awdlib.explore.page import render
        >>> page = render("{}", title="p < 1", look_for="", alt="A line.", still="", height=200)
        >>> page.splitlines()[1]
        '<p class="explorable-title">p &lt; 1</p>'
    """
    escaped = {name: html.escape(text) for name, text in {"title": title, "look": look_for, "alt": alt}.items()}
    title_line = f'<p class="explorable-title">{escaped["title"]}</p>\n' if title else ""
    look_line = f'<p class="explorable-look">{escaped["look"]}</p>\n' if look_for else ""
    identity = "x" + hashlib.sha256((data + title + look_for).encode()).hexdigest()[:12]
    return _PAGE.format(
        id=identity, name=escaped["title"] or escaped["look"] or "Interactive figure", title=title_line, look=look_line,
        still=still, alt=escaped["alt"], height=height, note=NOTE, data=data,
        css=asset("explorable.css").strip(), js=asset("explorable.js").strip(),
    )  # fmt: skip
