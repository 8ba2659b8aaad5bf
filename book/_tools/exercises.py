"""The checked exercises of a chapter, taken out of its notebook: question, starting point, check, hint and solution.

An assignment stands alone, so each exercise brings along what its cells use of the chapter: imports, and definitions
further up, found by their names.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1]
POINTS = {
    "recall": 1, "apply": 2, "derive": 3, "implement": 4, "debug": 4, "research": 0,
}  #: by the last word in the brackets of a title  # fmt: skip
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
        return POINTS[re.findall(r"\w+", self.kind)[-1]]


def exercises_of(chapter: str) -> list[Exercise]:
    """The exercises with a check, in their order.

    Args:
        chapter: name of its notebook, without ``.ipynb``.
    """
    cells = cells_of(chapter)
    return list(_walk(chapter, cells))


def cells_of(chapter: str) -> list[tuple[str, str]]:
    """(kind, source) of the cells of a chapter."""
    notebook = json.loads(
        (BOOK / f"{chapter}.ipynb").read_text(encoding="utf-8")
    )
    return [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in notebook["cells"]
    ]


def _walk(chapter: str, cells: Sequence[tuple[str, str]]) -> Iterator[Exercise]:
    text = ""  # of the exercise: what stands before its cell, the cell, what stands after it
    inside = False
    for kind, source in cells:
        if kind == "markdown":
            inside = inside or bool(re.search(r"^## Exercises", source, re.M))
            text += f"\n\n{source}"
            inside = inside and not re.search(
                r"^## (?!Exercises)", source, re.M
            )
        elif inside:
            text += f"\n\n\N{NULL}{source}\N{NULL}"
    for block in re.split(
        r"^### (?=\d+\. )", text.partition("## Exercises")[2], flags=re.M
    )[1:]:
        found = re.search("\N{NULL}(.*?)\N{NULL}", block, re.DOTALL)
        if found:
            block = re.split(r"^## ", block, flags=re.M)[0]
            yield _exercise(chapter, block, found[1])


def _exercise(chapter: str, block: str, cell: str) -> Exercise:
    heading, _, rest = block.partition("\n")
    number, title, kind = re.fullmatch(
        r"(\d+)\. (.*) \((.*)\)", heading.strip()
    ).groups()
    details = dict(DETAILS.findall(rest))
    codes = re.findall(r"```python\n(.*?)```", details["Solution"], re.DOTALL)
    start, imports, check = taken_apart(cell)
    return Exercise(
        chapter, int(number), title, kind, rest.split("\N{NULL}")[0].strip(), imports, start, check,
        details.get("Hint", "").strip(), "\n\n".join(code.rstrip() for code in codes),
    )  # fmt: skip


def taken_apart(cell: str) -> tuple[str, str, str]:
    """(starting point, imports of checks, the expression that checks) of an exercise's cell."""
    tree = ast.parse(cell)
    lines = cell.splitlines()
    imports = [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        and "exercises" in (node.module or "")
    ]
    calls = [
        node for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("check_")
    ]  # fmt: skip
    last = tree.body[-1]
    dropped = {
        n
        for node in (*imports, last)
        for n in range(node.lineno - 1, node.end_lineno)
    }
    start = "\n".join(
        line for n, line in enumerate(lines) if n not in dropped
    ).strip("\n")
    return start, "\n".join(map(ast.unparse, imports)), ast.unparse(calls[-1])


# ---- what an exercise uses of its chapter ----


def prelude(exercises: Sequence[Exercise]) -> str:
    """The imports and definitions of their chapter that exercises use, in the chapter's order."""
    cells = itertools.takewhile(
        lambda cell: "## Exercises" not in cell[1],
        cells_of(exercises[0].chapter),
    )
    statements = [
        node for kind, source in cells if kind == "code" and "google.colab" not in source
        for node in ast.parse(source).body if defined(node)
    ]  # fmt: skip
    wanted: set[str] = set()
    for one in exercises:
        wanted |= free_names(
            "\n".join((one.imports, one.start, one.solution, one.check))
        )
    taken: set[int] = set()
    while True:
        found = next((n for name in sorted(wanted) if (n := _first(statements, name)) is not None and n not in taken),
                     None)  # fmt: skip
        if found is None:
            break
        taken.add(found)
        wanted |= free_names(ast.unparse(statements[found]))
    return "\n".join(
        ast.unparse(_only(statements[n], wanted)) for n in sorted(taken)
    )


def own_imports(one: Exercise) -> str:
    """What the check's expression needs: the imports of the exercise, and those of its chapter that it names."""
    cells = [
        source
        for kind, source in cells_of(one.chapter)
        if kind == "code" and "google.colab" not in source
    ]
    known = [
        node
        for source in cells
        for node in ast.parse(source).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    answers = set().union(*map(defined, ast.parse(one.start).body))
    missing = free_names(f"{one.imports}\n{one.check}") - answers
    found = [
        ast.unparse(_only(node, missing))
        for node in known
        if defined(node) & missing
    ]
    return "\n".join([one.imports, *dict.fromkeys(found)]).strip()


def _first(statements: Sequence[ast.stmt], name: str) -> int | None:
    return next(
        (n for n, node in enumerate(statements) if name in defined(node)), None
    )


def _only(node: ast.stmt, wanted: set[str]) -> ast.stmt:
    """Of an import, the names that are wanted."""
    if isinstance(node, ast.ImportFrom):
        node.names = [
            alias
            for alias in node.names
            if (alias.asname or alias.name) in wanted
        ]
    return node


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {
            (alias.asname or alias.name).split(".")[0] for alias in node.names
        }
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {
            name.id
            for target in node.targets
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
    return set()


def free_names(code: str) -> set[str]:
    """Names that a piece of code reads and does not define itself."""
    tree = ast.parse(code)
    read = {
        n.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
    bound = {
        n.id
        for n in ast.walk(tree)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    bound |= {
        n.name
        for n in ast.walk(tree)
        if isinstance(n, ast.FunctionDef | ast.ClassDef)
    }
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= defined(node)
    return read - bound - set(dir(builtins))
