"""A Sphinx extension: the built book asks the network for nothing.

- MathJax comes from the package ``sphinx-mathjax-offline``, its one script and its fonts;
- plotly.js lies in the site in two bundles: the cartesian one among the book's own assets, since no Python package
  brings it and it starts in half the time, and the whole from the installed plotly package. Pages that hold an
  explorable say in a ``<meta name="plotly-…">`` where; it is loaded when a figure is about to be seen;
- the style and the script that every explorable brings along, since a notebook's cell must stand alone, are taken out
  of its HTML here and kept in one file each for the site;
- each reference of the bibliography and each term of the glossary can be linked to from Markdown:
  ``[text](bibliography.md#key)``, ``[text](glossary.md#locked-dropout)``.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from awdlib.explore.page import asset

CARTESIAN, FULL = "plotly/plotly-cartesian.min.js", "plotly/plotly.min.js"
MATHJAX = "mathjax"
BIBLIOGRAPHY, GLOSSARY = "book/bibliography", "book/glossary"
STYLE, SCRIPT = "explorable/explorable.css", "explorable/explorable.js"
EXPLORABLE = re.compile(r'<figure class="explorable".*?</figure>', re.DOTALL)
START = """(() => {
%s
for (const root of document.querySelectorAll(".explorable")) startExplorable(root.dataset.id);
})();
"""
BROUGHT_ALONG = re.compile(
    r"\n<style>.*?</style>|\n<script>.*?</script>", re.DOTALL
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect(
        "config-inited",
        lambda app, config: setattr(
            config, "mathjax_path", f"{MATHJAX}/tex-mml-chtml.js"
        ),
    )
    app.connect("env-updated", name_references)
    app.connect("html-page-context", finish_page)
    app.connect("build-finished", copy_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def finish_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Tell a page's explorables where the site's own plotly.js lies; mend what screen readers would trip over."""
    body = context.get("body", "")
    # docutils marks citations with roles that ARIA has withdrawn; without them they are read as the text they are
    context["body"] = body.replace(' role="doc-biblioentry"', "").replace(
        ' role="list" class="citation', ' class="citation'
    )
    if 'class="explorable"' in body:
        context["body"] = EXPLORABLE.sub(
            lambda found: BROUGHT_ALONG.sub("", found[0]), context["body"]
        )
        cartesian, full, style, script = (
            context["pathto"](f"_static/{name}", resource=True)
            for name in (CARTESIAN, FULL, STYLE, SCRIPT)
        )
        context["metatags"] = (
            context.get("metatags", "")
            + f'\n<meta name="plotly-cartesian" content="{cartesian}" />'
            + f'\n<meta name="plotly-full" content="{full}" />'
            + f'\n<link rel="stylesheet" href="{style}" />'
            + f'\n<script defer src="{script}"></script>'
        )


def name_references(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Make the bibliography's keys and the glossary's terms known to MyST as places that Markdown may link to."""
    citations = {
        citation.key: citation.citation_id
        for citation in env.get_domain("cite").citations
    }
    terms = {
        re.sub(r"\W+", "-", name.lower()).strip("-"): anchor
        for name, _, kind, _, anchor, _ in env.get_domain("std").get_objects()
        if kind == "term"
    }
    for page, places in ((BIBLIOGRAPHY, citations), (GLOSSARY, terms)):
        if page in env.all_docs:
            slugs = dict(env.metadata[page].get("myst_slugs", {}))
            slugs |= {
                name: (0, anchor, name) for name, anchor in places.items()
            }
            env.metadata[page]["myst_slugs"] = slugs
    return []


def copy_scripts(app: Sphinx, problem: Exception | None) -> None:
    """Copy MathJax and the whole of plotly.js from their packages into the site, and what explorables share from ours."""
    if problem is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    source = mathjax_folder()
    fonts = Path("output/chtml/fonts/woff-v2")
    shutil.copytree(
        source / fonts, static / MATHJAX / fonts, dirs_exist_ok=True
    )
    shutil.copy(source / "tex-mml-chtml.js", static / MATHJAX)
    (static / FULL).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(plotly_script(), static / FULL)
    (static / STYLE).parent.mkdir(parents=True, exist_ok=True)
    (static / STYLE).write_text(asset("explorable.css"), encoding="utf-8")
    (static / SCRIPT).write_text(
        START % asset("explorable.js"), encoding="utf-8"
    )


def mathjax_folder() -> Path:
    """Where ``sphinx-mathjax-offline`` keeps MathJax (its name cannot be imported)."""
    package = distribution("sphinx-mathjax-offline")
    return Path(
        str(package.locate_file("sphinx-mathjax-offline/static/mathjax"))
    )


def plotly_script() -> Path:
    """The installed plotly's script."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the book needs plotly.js: pip install plotly")
    return (
        Path(spec.submodule_search_locations[0])
        / "package_data"
        / "plotly.min.js"
    )
