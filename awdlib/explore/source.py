"""The library's own source in view, so that what a chapter builds can be held against what training uses."""

from __future__ import annotations

import ast
import html
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]  #: the library's folder

_HUES = {
    "Keyword": "#7c3aed", "Operator.Word": "#7c3aed", "Name.Function": "#0b69a8", "Name.Class": "#0b69a8",
    "Name.Decorator": "#b45309", "Literal.String": "#08775a", "Literal.Number": "#b45309", "Comment": "#6b7280",
}  # fmt: skip
"""Hues by token; each is mixed with the page's own text colour, so that it reads on light and on dark."""


class Source:
    """Source code of a class or function; what `show_source` returns.

    Args:
        code: the code.
        place: the file that holds it, relative to the library's parent.
        name: of the class or function.

    Example:
        >>> from awdlib.explore import Source
        >>> Source("x = 1", "awdlib/example.py", "x")
        # awdlib/example.py
        x = 1
    """

    def __init__(self, code: str, place: str, name: str) -> None:
        self.code, self.place, self.name = code, place, name

    def __repr__(self) -> str:
        return f"# {self.place}\n{self.code}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        place = html.escape(self.place)
        head = f'<div style="font-size:.85em;margin:0 0 .3em">from <code>{place}</code></div>'
        box = "margin:0;padding:.7em .9em;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.45;"
        box += "border-radius:.4em;color:inherit;"
        box += "border:1px solid color-mix(in srgb,currentColor 18%,transparent);"
        box += "background:color-mix(in srgb,currentColor 4%,transparent)"
        name = f'tabindex="0" role="region" aria-label="Source code of {html.escape(self.name)}"'
        lines = map(_wrapping, self.code.split("\n"), highlighted(self.code).split("\n"))
        code = f'<pre style="{box}" {name}>{"".join(lines)}</pre>'
        return {"text/html": f'<div class="source">\n{head}\n{code}\n</div>', "text/plain": repr(self)}


def show_source(thing: Callable[..., Any] | type, *, docstring: bool = False) -> Source:
    """Show the source of a function or class of the library, and the file that holds it.

    Args:
        thing: a function, class or method.
        docstring: keep the documentation inside it (the chapter usually has just said it).

    Raises:
        ValueError: there is no source for it.

    Example:
        >>> from awdlib.explore import show_source
        >>> from awdlib.model import detach
        >>> show_source(detach)
        # awdlib/model.py
        def detach(states: Sequence[State]) -> list[State]:
            return [tuple(part.detach() for part in state) for state in states]
    """
    try:
        code, file = inspect.getsource(thing), Path(inspect.getsourcefile(thing) or "")
    except (OSError, TypeError) as problem:
        raise ValueError(f"no source for {thing!r}: give a function or a class written in Python") from problem
    inside = file.resolve().is_relative_to(PACKAGE)
    place = file.resolve().relative_to(PACKAGE.parent).as_posix() if inside else f"this notebook, {thing.__name__}"
    code = textwrap.dedent(code).rstrip()
    return Source(code if docstring else without_docstrings(code), place, thing.__qualname__)


def without_docstrings(code: str) -> str:
    r"""The code without documentation strings; comments stay.

    Args:
        code: whole statements of Python.

    Example:
        >>> from awdlib.explore.source import without_docstrings
        >>> print(without_docstrings("def f(x):\n    'Twice x.'\n    return 2 * x  # twice"))
        def f(x):
            return 2 * x  # twice
    """
    lines, gone = code.split("\n"), set()
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, named) and ast.get_docstring(node) is not None:
            text = node.body[0]
            if len(node.body) > 1:  # a body of nothing but its documentation has to stay
                gone |= set(range(text.lineno - 1, text.end_lineno or text.lineno))
                if not lines[text.end_lineno or 0].strip():
                    gone.add(text.end_lineno or 0)
    return "\n".join(line for number, line in enumerate(lines) if number not in gone)


def _wrapping(line: str, coloured: str) -> str:
    """A line that goes on four columns further in where the page is too narrow for it."""
    columns = len(line) - len(line.lstrip()) + 4
    return f'<span style="display:block;padding-left:{columns}ch;text-indent:-{columns}ch">{coloured or " "}</span>'


def highlighted(code: str) -> str:
    """HTML spans of Python code, with inline colours; no span goes on in the next line.

    Args:
        code: Python, whole or not.

    Example:
        >>> from awdlib.explore.source import highlighted
        >>> highlighted("1")
        '<span style="color:color-mix(in oklab,currentColor 35%,#b45309)">1</span>'
    """
    from pygments.lexers import PythonLexer

    spans = []
    for token, text in PythonLexer(stripnl=False, ensurenl=False).get_tokens(code):
        name = str(token).removeprefix("Token.")
        hue = next((colour for prefix, colour in _HUES.items() if name.startswith(prefix)), None)
        parts = html.escape(text, quote=False).split("\n")
        if hue:
            ink = f"color:color-mix(in oklab,currentColor 35%,{hue})"
            parts = [part and f'<span style="{ink}">{part}</span>' for part in parts]
        spans.append("\n".join(parts))
    return "".join(spans)
