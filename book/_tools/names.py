"""Which names a piece of code defines, which it needs, and the statements of other code that supply them."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Set

Import = ast.Import | ast.ImportFrom


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning."""
    if isinstance(node, Import):
        return {(one.asname or one.name).split(".")[0] for one in node.names}
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        parts = [part for target in node.targets for part in ast.walk(target)]
        return {part.id for part in parts if isinstance(part, ast.Name)}
    return set()


def answers_in(code: str) -> set[str]:
    """The names that a piece of code defines at its top level."""
    return set().union(*map(defined, ast.parse(code).body))


def free_names(code: str, answers: Set[str] = frozenset()) -> set[str]:
    """Names that a piece of code reads and does not define itself.

    Python's own (`input`, say) do not count, unless they are the answers'.
    """
    read, bound = set(), set(dir(builtins)) - answers
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | Import):
            bound |= defined(node)
    return read - bound


def imports_in(code: str) -> list[ast.stmt]:
    """The statements of a piece of code that import, at its top level."""
    return [node for node in ast.parse(code).body if isinstance(node, Import)]


def imported(imports: Iterable[ast.stmt], wanted: set[str]) -> str:
    """What some imports bring of the names that are wanted, as code; nothing twice."""
    found = [_only(node, wanted) for node in imports if defined(node) & wanted]
    return "\n".join(dict.fromkeys(map(ast.unparse, found)))


def supplied(cells: Iterable[str], wanted: set[str]) -> str:
    """The imports and definitions of some cells that supply names, and what those need in turn, in the cells' order.

    Where a name is given a meaning more than once, the first counts.
    """
    known = [
        (node, _written(cell, node))
        for cell in cells
        for node in ast.parse(cell).body
        if defined(node)
    ]
    first: dict[str, int] = {}
    for number, (node, _) in enumerate(known):
        for name in defined(node):
            first.setdefault(name, number)
    taken: set[int] = set()
    while new := {first[name] for name in wanted if name in first} - taken:
        taken |= new
        wanted = wanted.union(*(free_names(known[n][1]) for n in new))
    texts = [
        imported([node], wanted) if isinstance(node, Import) else text
        for node, text in (known[n] for n in sorted(taken))
    ]
    return "\n".join(texts).strip("\n")


def _written(cell: str, node: ast.stmt) -> str:
    """A statement as its cell has it; functions and classes with air around them."""
    decorators = getattr(node, "decorator_list", [])
    first = min(one.lineno for one in (node, *decorators))
    text = "\n".join(cell.splitlines()[first - 1 : node.end_lineno])
    return text if isinstance(node, Import | ast.Assign) else f"\n\n{text}\n\n"


def _only(node: ast.stmt, wanted: set[str]) -> ast.stmt:
    """Of `from … import …`, the names that are wanted."""
    if not isinstance(node, ast.ImportFrom):
        return node
    names = [one for one in node.names if (one.asname or one.name) in wanted]
    return ast.ImportFrom(node.module, names, node.level)
