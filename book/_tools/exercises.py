"""The checked exercises of a chapter, taken out of its notebook: question, starting point, check, hint and solution.

An assignment stands alone, so each exercise brings along what its cells use of the chapter: imports, and definitions
further up, found by their names.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from names import answers_in, free_names, imported, imports_in, supplied

BOOK = Path(__file__).resolve().parents[1]
POINTS = {
    "recall": 1, "apply": 2, "derive": 3, "implement": 4, "debug": 4, "break it": 4,
}  #: by how the brackets of a title end  # fmt: skip
CODE = "\N{NULL}"  #: stands around a code cell, in the text of a chapter
DETAILS = re.compile(
    r"<details><summary>(\w+)</summary>(.*?)</details>", re.DOTALL
)


@dataclass(frozen=True)
class Exercise:
    """One exercise that has a check."""

    chapter: str
    number: int
    title: str
    kind: str  #: what the title says in brackets
    question: str  #: Markdown
    imports: str  #: of the checks
    start: str  #: code that a student begins with
    check: str  #: an expression: the report of the answer
    hint: str  #: Markdown
    solution: str  #: code

    @property
    def name(self) -> str:
        """Unique in an assignment."""
        return f"q{self.number}"

    @property
    def points(self) -> int:
        """What it is worth: all for an answer that passes the check, none for another."""
        for kind, points in POINTS.items():
            if self.kind.endswith(kind):
                return points
        raise ValueError(
            f"{self.chapter}, exercise {self.number}: {self.kind!r} ends with none of {', '.join(POINTS)}"
        )


def exercises_of(chapter: str) -> list[Exercise]:
    """The exercises with a check, in their order.

    Args:
        chapter: name of its notebook, without ``.ipynb``.
    """
    marked = [
        text if kind == "markdown" else f"{CODE}{text}{CODE}"
        for kind, text in cells_of(chapter)
    ]
    section = re.search(
        r"^## Exercises$(.*?)(?=^## |\Z)", "\n\n".join(marked), re.M | re.S
    )
    blocks = re.split(
        r"^### (?=\d+\. )", section[1] if section else "", flags=re.M
    )
    return [_exercise(chapter, one) for one in blocks[1:] if _code_of(one)]


def cells_of(chapter: str) -> list[tuple[str, str]]:
    """(kind, source) of the cells of a chapter."""
    text = (BOOK / f"{chapter}.ipynb").read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]


def _code_of(block: str) -> str:
    """The code cells of an exercise, if they end with a check."""
    cells = re.findall(f"{CODE}(.*?){CODE}", block, re.DOTALL)
    return "\n\n".join(cells) if cells and "check_" in cells[-1] else ""


def _exercise(chapter: str, block: str) -> Exercise:
    heading, _, rest = block.partition("\n")
    number, title, kind = re.match(r"(\d+)\. (.*) \((.*)\)", heading).groups()
    details = dict(DETAILS.findall(rest))
    codes = re.findall(r"```python\n(.*?)\n```", details["Solution"], re.DOTALL)
    start, imports, check = taken_apart(_code_of(block))
    return Exercise(
        chapter,
        int(number),
        title,
        kind,
        question=rest.split(CODE)[0].strip(),
        imports=imports,
        start=start,
        check=check,
        hint=details.get("Hint", "").strip(),
        solution=completed(start, "\n\n".join(codes)),
    )


def taken_apart(code: str) -> tuple[str, str, str]:
    """(starting point, imports of the check, the expression that checks) of an exercise's code.

    What the starting point uses of the checks' module (a class to look at, say) it imports itself.
    """
    *before, last = ast.parse(code).body
    calls = [
        ast.unparse(node)
        for node in ast.walk(last)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id.startswith("check_")
    ]
    imports = [
        node
        for node in before
        if isinstance(node, ast.ImportFrom)
        and node.module.startswith("awdlib.exercises")
    ]
    lines = dict(enumerate(code.splitlines(), start=1))
    for node in (*imports, last):
        for number in range(node.lineno, node.end_lineno + 1):
            del lines[number]
    start = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines.values())).strip("\n")
    own = imported(imports, free_names(start))
    check = calls[-1]
    return (
        f"{own}\n\n{start}".strip("\n"),
        imported(imports, free_names(check)),
        check,
    )


def completed(start: str, solution: str) -> str:
    """A solution that stands alone in the cell: with the starting point's imports, and a method within its class."""
    method = ast.parse(solution).body[0]
    if isinstance(method, ast.FunctionDef) and _is_method(method):
        return _within_class(start, method.name, solution)
    needed = imported(imports_in(start), free_names(solution))
    return f"{needed}\n\n\n{solution}".strip("\n")


def _is_method(function: ast.FunctionDef) -> bool:
    return [one.arg for one in function.args.args[:1]] == ["self"]


def _within_class(start: str, name: str, method: str) -> str:
    """The starting point, a method of its class replaced."""
    (old,) = [
        node
        for node in ast.walk(ast.parse(start))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    lines = start.splitlines()
    new = textwrap.indent(method, " " * old.col_offset)
    lines[old.lineno - 1 : old.end_lineno] = new.splitlines()
    return "\n".join(lines)


# ---- what an exercise uses of its chapter ----


def prelude(exercises: Sequence[Exercise]) -> str:
    """The imports and definitions of their chapter that exercises use, in the chapter's order."""
    before = itertools.takewhile(
        lambda cell: "## Exercises" not in cell[1],
        cells_of(exercises[0].chapter),
    )
    wanted: set[str] = set()
    for one in exercises:
        asked = free_names(f"{one.imports}\n{one.check}")
        wanted |= free_names(one.start) | free_names(one.solution)
        wanted |= asked - answers_in(one.start)
    return supplied(_plain_code(before), wanted)


def own_imports(one: Exercise) -> str:
    """What the check's expression needs: the imports of the exercise, and those of its chapter that it names."""
    asked = free_names(f"{one.imports}\n{one.check}")
    cells = _plain_code(cells_of(one.chapter))
    known = [node for code in cells for node in imports_in(code)]
    found = imported(known, asked - answers_in(one.start))
    return f"{one.imports}\n{found}".strip()


def _plain_code(cells: Iterable[tuple[str, str]]) -> list[str]:
    """The code cells that are nothing but Python: all but the one that sets Colab up."""
    return [
        text for kind, text in cells
        if kind == "code" and "google.colab" not in text
    ]  # fmt: skip
