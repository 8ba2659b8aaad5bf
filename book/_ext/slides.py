"""A Sphinx extension: beside every chapter a deck of slides, made from the same notebook in the same build.

``slides/NAME.html`` is a reveal.js page; `deck` says what is on it. The explorables are alive in it, what they and the
formulas need is the site's own, and reveal.js comes from the package ``sphinx-revealjs``: nothing is asked of a network.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from deck import BADGE, Shown, Slide, slides_of
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from offline import BROUGHT_ALONG, CARTESIAN, FULL, MATHJAX, SCRIPT, STYLE
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx

from awdlib.chapters import CHAPTERS, Chapter, times

FOLDER = "slides"
REVEAL = "reveal"
PARTS = (
    "dist/reset.css",
    "dist/reveal.css",
    "dist/reveal.js",
    "plugin/notes",
    "plugin/math",
    "plugin/search",
    "plugin/zoom",
)
TITLE = re.compile(r'<p class="explorable-title">(.*?)</p>\n')
HERE = Path(__file__).resolve().parent


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", write_slides)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_slides(app: Sphinx, problem: Exception | None) -> None:
    """Write the deck of each chapter that the book has, and a page that lists them."""
    if problem is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    folder = site / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    copy_reveal(site / "_static" / REVEAL)
    templates = Environment(
        loader=FileSystemLoader(HERE.parent / "_templates"), autoescape=False
    )
    shared = {
        "book": app.config.project, "style": HtmlFormatter(style="friendly").get_style_defs(".highlight"),
        "static": "../_static", "reveal": f"../_static/{REVEAL}", "mathjax": f"../_static/{MATHJAX}/tex-mml-chtml.js",
        "metas": {"plotly-cartesian": CARTESIAN, "plotly-full": FULL}, "explorable": (STYLE, SCRIPT),
    }  # fmt: skip
    decks = []
    for chapter in CHAPTERS:
        notebook = Path(app.srcdir) / "book" / f"{chapter.name}.ipynb"
        if (
            not notebook.exists()
            or f"book/{chapter.name}" not in app.env.all_docs
        ):
            continue
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        slides = slides_of(cells)
        page = templates.get_template("slides.html").render(
            shared, chapter=chapter, times=times(chapter.name).splitlines(), lead=render(lead_of(cells)),
            stacks=[[rendered(slide) for slide in stack] for stack in stacked(slides)],
        )  # fmt: skip
        (folder / f"{chapter.name}.html").write_text(page, encoding="utf-8")
        decks.append((chapter, len(slides) + 1))
    index = templates.get_template("slides-index.html").render(
        shared, parts=by_part(decks)
    )
    (folder / "index.html").write_text(index, encoding="utf-8")


def stacked(slides: list[Slide]) -> list[list[Slide]]:
    """The slides of each section together: one goes down through a section, and right to the next."""
    stacks: list[list[Slide]] = []
    for slide in slides:
        if not stacks or stacks[-1][-1].section != slide.section:
            stacks.append([])
        stacks[-1].append(slide)
    return stacks


def by_part(
    decks: list[tuple[Chapter, int]],
) -> dict[str, list[tuple[Chapter, int]]]:
    """The decks of each part of the book."""
    parts: dict[str, list[tuple[Chapter, int]]] = {}
    for chapter, count in decks:
        parts.setdefault(chapter.part, []).append((chapter, count))
    return parts


def lead_of(cells: list[dict[str, Any]]) -> str:
    """The chapter's first paragraph, and what it needs and gives."""
    paragraphs = BADGE.sub("", "".join(cells[0]["source"])).split("\n\n")
    return "\n\n".join(
        one for one in paragraphs if not one.startswith(("#", "[![", "!"))
    )


def rendered(slide: Slide) -> dict[str, Any]:
    """A slide for the template."""
    named = (
        TITLE.search(slide.shows.content)
        if slide.shows and slide.shows.kind == "explorable"
        else None
    )
    return {
        "section": inline(slide.section),
        "title": named[1] if named else inline(slide.title),
        "says": [] if named else [render(one) for one in slide.says],
        "kind": slide.shows.kind if slide.shows else "",
        "shows": shown(slide.shows) if slide.shows else "",
        "notes": render("\n\n".join(slide.notes)),
    }


def shown(thing: Shown) -> str:
    """The HTML of what a slide shows."""
    if thing.kind in ("markdown", "math"):
        return render(thing.content)
    if thing.kind == "code":
        code, _, printed = thing.content.partition("\n\N{NULL}")
        below = (
            f'<pre class="printed">{html.escape(printed)}</pre>'
            if printed
            else ""
        )
        return highlight(code, PythonLexer(), HtmlFormatter()) + below
    if thing.kind == "text":
        return f'<pre class="printed">{html.escape(thing.content)}</pre>'
    if thing.kind == "image":
        return f'<img src="data:image/png;base64,{thing.content}" alt="{html.escape(thing.alt)}">'
    if thing.kind == "source":
        return thing.content
    return TITLE.sub("", BROUGHT_ALONG.sub("", thing.content))


def _markdown() -> MarkdownIt:
    """CommonMark with tables and formulas, which are left to MathJax; links lead to the book's pages."""
    parser = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .use(dollarmath_plugin, double_inline=False)
    )
    parser.add_render_rule(
        "math_inline",
        lambda self, tokens, at, *_: rf"\({html.escape(tokens[at].content)}\)",
    )
    parser.add_render_rule(
        "math_block",
        lambda self, tokens, at, *_: (
            rf"<p>\[{html.escape(tokens[at].content)}\]</p>"
        ),
    )
    return parser


_PARSER = _markdown()


def render(text: str) -> str:
    """Markdown as HTML."""
    return lead_out(_PARSER.render(text))


def inline(text: str) -> str:
    """The same of a heading."""
    return lead_out(_PARSER.renderInline(text))


def lead_out(page: str) -> str:
    """Links between notebooks become links to the book's pages, which open beside the slides."""
    page = re.sub(
        r'href="(?!https?:)([\w-]+)\.(?:ipynb|md)(#[^"]*)?"',
        r'href="../book/\1.html\2"',
        page,
    )
    return page.replace("<a href=", '<a target="_blank" rel="noopener" href=')


def copy_reveal(folder: Path) -> None:
    """Copy what the decks use of reveal.js from its package."""
    package = Path(
        str(
            distribution("sphinx-revealjs").locate_file(
                "sphinx_revealjs/_static/revealjs"
            )
        )
    )
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (package / part).is_dir():
            shutil.copytree(package / part, folder / part, dirs_exist_ok=True)
        else:
            shutil.copy(package / part, folder / part)
    shutil.copy(package / "LICENSE", folder) if (
        package / "LICENSE"
    ).exists() else None
