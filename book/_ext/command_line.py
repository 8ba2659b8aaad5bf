"""A Sphinx extension: ``.. commands:: MODULE FUNCTION`` documents a command line from its argparse parser.

``FUNCTION`` of ``MODULE`` returns the parser. Each of its commands becomes a section: what it is for, how to call it,
and what each argument means.
"""

from __future__ import annotations

import re
import sys
from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Commands(SphinxDirective):
    """Every command of a parser, a section each."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """The sections, parsed from the reStructuredText that describes them."""
        package, function = self.arguments
        parser = getattr(import_module(package), function)()
        for name, module in [*sys.modules.items()]:
            if f"{name}.".startswith(f"{package}."):
                self.env.note_dependency(str(module.__file__))
        text = "\n".join(describe(parser))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def describe(parser: ArgumentParser) -> Iterator[str]:
    """The lines that describe a parser's commands."""
    groups = (a for a in parser._actions if isinstance(a, _SubParsersAction))
    for commands in groups:
        for told in commands._choices_actions:
            command = commands.choices[told.dest]
            about = command.description or told.help
            yield from (told.dest, "-" * len(told.dest), "", sentence(about))
            yield from ("", ".. code-block:: text", "")
            yield from (f"   {usage(command)}", "")
            yield from table(command)


def usage(command: ArgumentParser) -> str:
    """How to call a command: with what must be given, and the rest as an ellipsis."""
    must = [written(action) for action in arguments(command) if needed(action)]
    more = "[options]" if len(must) < len(arguments(command)) else ""
    return " ".join(filter(None, [command.prog, *must, more]))


def table(command: ArgumentParser) -> Iterator[str]:
    """What each argument means; nothing where there is none."""
    if not arguments(command):
        return
    yield from (".. list-table::", "   :class: arguments", "   :header-rows: 1")
    yield from ("", "   * - argument", "     - meaning")
    for action in arguments(command):
        yield f"   * - ``{written(action)}``"
        yield f"     - {meaning(action)}"
    yield ""


def arguments(command: ArgumentParser) -> list[Action]:
    """All of a command's arguments but ``--help``."""
    return [action for action in command._actions if action.dest != "help"]


def needed(action: Action) -> bool:
    """Whether an argument must be given."""
    return action.required and action.nargs != "*"


def written(action: Action) -> str:
    """An argument as one types it: ``run``, ``--top-k K``, ``--resume``."""
    name = action.metavar or action.dest.upper()
    if not action.option_strings:
        return f"{name} ..." if action.nargs == "+" else str(name)
    if action.nargs == 0:
        return action.option_strings[0]
    return f"{action.option_strings[0]} {name}"


def meaning(action: Action) -> str:
    """Its help, its choices, and its default where the help leaves these out."""
    parts = [plain(action.help)] if action.help else []
    if action.choices:
        parts.append(", ".join(f"``{choice}``" for choice in action.choices))
    if action.required and action.option_strings:
        parts.append("must be given")
    elif action.default not in (None, False, "", []):
        if "(default" not in (action.help or ""):
            parts.append(f"default ``{action.default}``")
    return "; ".join(parts)


def plain(text: str) -> str:
    """A text of argparse's with nothing in it that reStructuredText would take for markup."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def sentence(text: str) -> str:
    """The same as a sentence."""
    text = plain(text.rstrip("."))
    return f"{text[:1].upper()}{text[1:]}."
