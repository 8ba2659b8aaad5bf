"""The notebooks of an assignment: otter's master, from which it makes the students', and the instructor's."""

import re

import nbformat
from exercises import BOOK, Exercise, cells_of, own_imports, prelude
from names import answers_in, free_names
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_raw_cell,
)

from awdlib.chapters import CHAPTERS


def master(exercises: list[Exercise]) -> nbformat.NotebookNode:
    """The notebook that otter takes apart: its raw cells say where a question, its solution and its tests begin.

    It has no name: otter refuses a submission whose metadata do not give the name, and a service may have lost them.
    """
    settings = f"""# ASSIGNMENT CONFIG
init_cell: false
check_all_cell: false
export_cell: false
generate: {{show_stdout: true}}
tests: {{ok_format: false}}
requirements: ["awdlib[book] @ git+{repository()[0]}"]
solutions_pdf: false
template_pdf: false"""
    cells = [new_raw_cell(settings), *head(exercises)]
    for one in exercises:
        cells += [
            new_raw_cell(
                f"# BEGIN QUESTION\nname: {one.name}\npoints: {one.points}\ncheck_cell: false"
            ),
            new_markdown_cell(question(one)),
            *block("SOLUTION", answer(one)),
            *block("TESTS", test(one)),
            new_raw_cell("# END QUESTION"),
            checked(one),
        ]
    return notebook(cells)


def instructor(exercises: list[Exercise]) -> nbformat.NotebookNode:
    """Questions, hints and solutions, with the points of each."""
    cells = head(exercises)
    for one in exercises:
        hint = f"\n\n> **Hint.** {one.hint}" if one.hint else ""
        cells += [
            new_markdown_cell(question(one) + hint),
            new_code_cell(one.solution),
            checked(one),
        ]
    return notebook(cells)


def head(exercises: list[Exercise]) -> list[nbformat.NotebookNode]:
    """What an assignment begins with: where it is from, the chapter's setup cell, and what its code needs."""
    name = exercises[0].chapter
    title = next(one.title for one in CHAPTERS if one.name == name)
    total = sum(one.points for one in exercises)
    text = f"""# Assignment: {title}

{len(exercises)} questions, {total} points. Each has a check below it that says what is right and gives a hint for what
is not; ask it as often as you like. Hand in this notebook with your answers in it.

The chapter: [{title}]({address(name)})"""
    setup = next(source for kind, source in cells_of(name) if kind == "code")
    needed = prelude(exercises)
    return [new_markdown_cell(text), new_code_cell(setup)] + [
        new_code_cell(needed)
    ] * bool(needed)


def address(name: str) -> str:
    """Where a chapter is read as it is in the repository."""
    url, branch = repository()
    return f"{url}/blob/{branch}/book/{name}.ipynb"


def repository() -> tuple[str, str]:
    """Its address and branch, from the book's settings."""
    config = (BOOK.parent / "_config.yml").read_text(encoding="utf-8")
    url, branch = re.findall(r"^  (?:url|branch): (\S+)$", config, re.M)[:2]
    return url, branch


def question(one: Exercise) -> str:
    """Its text, with what it is worth; links lead to the chapters."""
    text = re.sub(
        r"\]\(([\w-]+)\.(?:ipynb|md)(#[^)]*)?\)",
        lambda m: f"]({address(m[1])})",
        one.question,
    )
    points = f"{one.points} point{'s' * (one.points > 1)}"
    return f"## {one.number}. {one.title} ({one.kind}, {points})\n\n{text}"


def block(kind: str, code: str) -> list[nbformat.NotebookNode]:
    """A cell between the two raw cells that tell otter what it is."""
    return [
        new_raw_cell(f"# BEGIN {kind}"),
        new_code_cell(code),
        new_raw_cell(f"# END {kind}"),
    ]


def answer(one: Exercise) -> str:
    """One cell for both: what a student gets stands in a string, and otter leaves out what is the solution."""
    quotes = "'''" if '"""' in one.start else '"""'
    return f"""{quotes} # BEGIN PROMPT
{one.start}
{quotes} # END PROMPT
# BEGIN SOLUTION NO PROMPT
{one.solution}
# END SOLUTION"""


def checked(one: Exercise) -> nbformat.NotebookNode:
    """The cell in which a student asks the check."""
    return new_code_cell(f"{own_imports(one)}\n\n{one.check}".strip())


def test(one: Exercise) -> str:
    """What otter runs in the submission: the chapter's own check, imported anew, so that none can be slipped in."""
    answers = sorted(
        free_names(f"{own_imports(one)}\n{one.check}", answers_in(one.start))
    )
    lines = [f"def test_{one.name}({', '.join(answers)}):"]
    lines += [f"    {line}" for line in own_imports(one).splitlines()]
    lines += [
        f"    report = {one.check}",
        "    assert report.kept, repr(report)",
    ]
    return "\n".join(lines)


def notebook(cells: list[nbformat.NotebookNode]) -> nbformat.NotebookNode:
    """A notebook for Python, its cells numbered, so that making it twice gives the same file."""
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number:02}"
    python = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return new_notebook(cells=cells, metadata={"kernelspec": python})
