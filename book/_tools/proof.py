"""The proof of the assignments: right answers, none, and every known wrong one go through the grader (otter-grader).

Known wrong answers are code: tests/wrong_answers/<chapter>.py has a cell `# %% NUMBER: what is wrong` for each.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from exercises import BOOK, Exercise

WRONG = BOOK.parent / "tests" / "wrong_answers"


@dataclass(frozen=True)
class WrongAnswer:
    """What somebody might write, and should not get points for."""

    number: int  #: of the exercise
    mistake: str  #: in words
    code: str


@dataclass(frozen=True)
class Sheet:
    """A submission, and the points that it should get."""

    name: str
    answers: dict[
        str, str
    ]  #: code by question; a question that is missing stays as students get it
    due: dict[str, int]  #: points by question
    bare: bool = False  #: without metadata


def file_of(chapter: str) -> Path:
    """Where a chapter's known wrong answers are."""
    return WRONG / f"{chapter.replace('-', '_')}.py"


def wrong_answers(chapter: str) -> list[WrongAnswer]:
    """The known wrong answers to a chapter's exercises, in their order."""
    parts = re.split(
        r"^# %% (\d+): (.+)\n",
        file_of(chapter).read_text(encoding="utf-8"),
        flags=re.M,
    )[1:]
    return [WrongAnswer(int(number), mistake, code.strip())
            for number, mistake, code in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]  # fmt: skip


def sheets(
    exercises: Sequence[Exercise], wrong: Sequence[WrongAnswer]
) -> Iterator[Sheet]:
    """Submissions that a grader has to tell apart.

    All solutions; the same from a service that keeps no metadata of others; nothing; and sheets of right and wrong answers mixed. On the k-th of these, the i-th exercise has its
    wrong answer number k + i, counted round with the right answer as the last: every wrong answer is on one sheet, and
    every exercise is right on one at least, so that a grader which takes too much is seen as well as one that takes
    too little.
    """
    right = {one.name: one.solution for one in exercises}
    worth = {one.name: one.points for one in exercises}
    yield Sheet("solutions", right, worth)
    yield Sheet("bare", right, worth, bare=True)
    yield Sheet("as given", {}, dict.fromkeys(worth, 0))
    known = {
        one.name: [each.code for each in wrong if each.number == one.number]
        for one in exercises
    }
    count = 1 + max(map(len, known.values()))
    for k in range(count):
        chosen = {
            name: (codes + [None] * count)[(k + i) % count]
            for i, (name, codes) in enumerate(known.items())
        }
        yield Sheet(
            f"mixed {k + 1}",
            {
                name: right[name] if code is None else code
                for name, code in chosen.items()
            },
            {
                name: worth[name] if code is None else 0
                for name, code in chosen.items()
            },
        )


def filled(
    notebook: nbformat.NotebookNode, answers: dict[str, str]
) -> nbformat.NotebookNode:
    """A student's notebook with these answers in its answer cells."""
    made = copy.deepcopy(notebook)
    cells = {
        name: cell
        for cell in made.cells
        for name in cell.metadata.get("otter", {}).get("tests", ())
    }
    for name, code in answers.items():
        cells[name].source = code
    return made


def bared(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook without its metadata, and its cells without theirs."""
    made = copy.deepcopy(notebook)
    for part in (made, *made.cells):
        part.metadata = nbformat.NotebookNode()
    return made


def prove(name: str, exercises: Sequence[Exercise], folder: Path) -> list[str]:
    """Grade the sheets of one chapter, print a line for each; returns a line for each deviation.

    Args:
        name: of the chapter.
        exercises: that are in its assignment.
        folder: in which the assignment was made.
    """
    student = nbformat.read(folder / "student" / f"{name}.ipynb", as_version=4)
    deviations = []
    for sheet in sheets(exercises, wrong_answers(name)):
        submission = filled(student, sheet.answers)
        if sheet.bare:
            submission = bared(submission)
        given = graded(submission, name, folder / "autograder.zip")
        print(
            f"{name:26} {sheet.name:10} due {sum(sheet.due.values()):3}  given {sum(given.values()):3g}",
            flush=True,
        )
        deviations += [
            f"{name}, {sheet.name}, {question}: due {due}, given {given.get(question, 0):g}"
            for question, due in sheet.due.items() if given.get(question, 0) != due
        ]  # fmt: skip
    return deviations


def graded(
    notebook: nbformat.NotebookNode, name: str, grader: Path
) -> dict[str, float]:
    """The points that otter gives, by question."""
    from otter.api import grade_submission

    with tempfile.TemporaryDirectory() as folder, silence():
        path = Path(folder) / f"{name}.ipynb"
        nbformat.write(notebook, path)
        results = grade_submission(str(path), str(grader), quiet=True)
    return {
        question: found.score for question, found in results.results.items()
    }


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep back what the grader's kernel writes to standard error, unless something fails."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
