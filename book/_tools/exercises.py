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
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BOOK = Path(__file__).resolve().parents[1]
POINTS = {
    "recall": 1, "apply": 2, "derive": 3, "implement": 4, "debug": 4, "break it": 4,
}  #: by how the brackets of a title end  # fmt: skip
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
        found = [
            points
            for kind, points in POINTS.items()
            if self.kind.endswith(kind)
        ]
        if not found:
            raise ValueError(
                f"{self.chapter}, exercise {self.number}: {self.kind!r} ends with none of {', '.join(POINTS)}"
            )
        return found[0]


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
            begins = re.search(r"^## Exercises.*", source, re.M | re.DOTALL)
            inside = inside or bool(begins)
            text += "\n\n" + (begins[0] if begins else source) * inside
            inside = inside and not re.search(
                r"^## (?!Exercises)", begins[0] if begins else source, re.M
            )
        elif inside:
            text += f"\n\n\N{NULL}{source}\N{NULL}"
    text = re.split(r"^## (?!Exercises)", text, flags=re.M)[0]
    for block in re.split(r"^### (?=\d+\. )", text, flags=re.M)[1:]:
        code = "\n\n".join(
            re.findall("\N{NULL}(.*?)\N{NULL}", block, re.DOTALL)
        )
        if "check_" in code:
            yield _exercise(chapter, block, code)


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
        details.get("Hint", "").strip(), completed(start, "\n\n".join(code.rstrip() for code in codes)),
    )  # fmt: skip


def taken_apart(cell: str) -> tuple[str, str, str]:
    """(starting point, imports of the check, the expression that checks) of an exercise's code.

    What the starting point uses of the checks' module (a class to look at, say) it imports itself.
    """
    tree = ast.parse(cell)
    lines = cell.splitlines()
    imports = [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        and "exercises" in (node.module or "")
    ]
    last = tree.body[-1]
    calls = [
        node for node in ast.walk(last)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("check_")
    ]  # fmt: skip
    dropped = {
        n
        for node in (*imports, last)
        for n in range(node.lineno - 1, node.end_lineno)
    }
    start = "\n".join(
        line for n, line in enumerate(lines) if n not in dropped
    ).strip("\n")
    start = re.sub(r"\n{4,}", "\n\n\n", start)
    check = ast.unparse(calls[-1])
    of_start, of_check = (
        _imported(imports, free_names(code)) for code in (start, check)
    )
    return f"{of_start}\n\n{start}".strip("\n"), of_check, check


def _imported(
    imports: Sequence[ast.Import | ast.ImportFrom], wanted: set[str]
) -> str:
    """Of some imports, what is wanted."""
    return "\n".join(
        ast.unparse(_only(node, wanted))
        for node in imports
        if defined(node) & wanted
    )


def completed(start: str, solution: str) -> str:
    """A solution that stands alone in the cell: with the starting point's imports, and a method within its class."""
    mended = ast.parse(solution).body[0]
    if isinstance(mended, ast.FunctionDef) and [
        arg.arg for arg in mended.args.args[:1]
    ] == ["self"]:
        return _within_class(start, mended.name, solution)
    imports = [
        node
        for node in ast.parse(start).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    return f"{_imported(imports, free_names(solution))}\n\n\n{solution}".strip(
        "\n"
    )


def _within_class(start: str, name: str, method: str) -> str:
    """The starting point, a method of its class replaced."""
    (old,) = [
        node for one in ast.parse(start).body if isinstance(one, ast.ClassDef)
        for node in one.body if isinstance(node, ast.FunctionDef) and node.name == name
    ]  # fmt: skip
    lines = start.splitlines()
    lines[old.lineno - 1 : old.end_lineno] = textwrap.indent(
        method, " " * old.col_offset
    ).splitlines()
    return "\n".join(lines)


# ---- what an exercise uses of its chapter ----


def prelude(exercises: Sequence[Exercise]) -> str:
    """The imports and definitions of their chapter that exercises use, in the chapter's order."""
    cells = itertools.takewhile(
        lambda cell: "## Exercises" not in cell[1],
        cells_of(exercises[0].chapter),
    )
    known = [
        (node, _source(source, node)) for kind, source in cells if kind == "code" and "google.colab" not in source
        for node in ast.parse(source).body if defined(node)
    ]  # fmt: skip
    wanted: set[str] = set()
    for one in exercises:
        answers = set().union(*map(defined, ast.parse(one.start).body))
        wanted |= free_names(one.start) | free_names(one.solution)
        wanted |= free_names(f"{one.imports}\n{one.check}") - answers
    taken: set[int] = set()
    while new := {_first(known, name) for name in wanted} - {None} - taken:
        taken |= new
        wanted = wanted.union(*(free_names(known[n][1]) for n in new))
    return "\n".join(_written(*known[n], wanted) for n in sorted(taken)).strip(
        "\n"
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


def _first(statements: Sequence[tuple[ast.stmt, str]], name: str) -> int | None:
    return next(
        (n for n, (node, _) in enumerate(statements) if name in defined(node)),
        None,
    )


def _source(code: str, node: ast.stmt) -> str:
    first = min(
        [
            node.lineno,
            *(one.lineno for one in getattr(node, "decorator_list", ())),
        ]
    )
    return "\n".join(code.splitlines()[first - 1 : node.end_lineno])


def _written(node: ast.stmt, text: str, wanted: set[str]) -> str:
    """A statement as the chapter writes it; of an import, what is wanted."""
    if isinstance(node, ast.ImportFrom):
        return ast.unparse(_only(node, wanted))
    return (
        text if isinstance(node, ast.Import | ast.Assign) else f"\n\n{text}\n\n"
    )


def _only(node: ast.stmt, wanted: set[str]) -> ast.stmt:
    """Of an import, the names that are wanted."""
    if isinstance(node, ast.ImportFrom):
        return ast.ImportFrom(
            node.module,
            [one for one in node.names if (one.asname or one.name) in wanted],
            node.level,
        )
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
