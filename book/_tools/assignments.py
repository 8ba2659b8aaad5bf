"""Make assignments of the chapters' exercises: for students, for instructors, and for the grader (otter-grader).

    python book/_tools/assignments.py [NAME ...]            all chapters with checked exercises, or those named
    python book/_tools/assignments.py --prove [NAME ...]    and grade right, empty and wrong answers: see proof.py

Into _build/assignments/NAME go

    student/NAME.ipynb      questions and starting points; the checks give hints, nothing but awdlib is needed
    instructor/NAME.ipynb   the same with hints and solutions
    autograder.zip          what `otter run -a autograder.zip SUBMISSION` and Gradescope grade with

Every question, check and solution is the chapter's own. An answer has all of its exercise's points if the check is
content with it, else none. Solutions are graded when they are made: they must have all points.

Why otter (7.0.0), and not nbgrader (0.9.6)? Tried on two chapters, both gave right, empty and wrong answers the points
due, in 7 to 9 seconds of a processor core a submission. With otter an assignment is one notebook and one zip, grading
one command without a server or Docker, and its report has the hints of the check that failed. nbgrader wants a folder
laid out as a course and keeps points in a database there; hints are in an HTML page that a further command makes; and
it needs Python 3.11, where the library runs on 3.10. Neither asks students to install anything, so both work in Colab.
Where a course has a JupyterHub, or grades by hand as well, nbgrader's exchange and its grading page are the better
choice: `exercises_of` has what it takes to write its source notebook.
"""

import argparse
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import nbformat
from exercises import BOOK, Exercise, exercises_of
from notebooks import instructor, master
from proof import file_of, prove, silence

from awdlib.chapters import CHAPTERS

OUT = BOOK.parent / "_build" / "assignments"


def main() -> None:
    """Make the assignments named on the command line, or all."""
    given = arguments()
    deviations = []
    for name in given.names:
        try:
            made = make(name, given.out / name)
        except RuntimeError as failed:  # otter has tried the solutions
            sys.exit(f"error: {name}: {failed}")
        points = sum(one.points for one in made)
        print(f"{name}: {len(made)} questions, {points} points", flush=True)
        if given.prove:
            deviations += prove(name, made, given.out / name)
    print(f"The assignments are in {given.out}")
    if deviations:
        sys.exit("\n".join(deviations))


def arguments() -> argparse.Namespace:
    """What the command line asks for; ends with one line if that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--out", type=Path, default=OUT, help="folder")
    parser.add_argument(
        "--prove", action="store_true", help="grade right and wrong answers"
    )
    given = parser.parse_args()
    known = chapters()
    for name in given.names:
        if name not in known:
            sys.exit(
                f"error: {name!r} has no checked exercises: use {', '.join(known)}"
            )
    given.names = given.names or known
    if find_spec("otter") is None:
        sys.exit(
            "error: otter-grader is not installed: run `make assignments`, or pip install otter-grader==7.0.0"
        )
    for name in given.names:
        if given.prove and not file_of(name).exists():
            sys.exit(
                f"error: {file_of(name)} is missing: wrong answers to prove {name} with"
            )
    return given


def chapters() -> list[str]:
    """The chapters that have checked exercises, in the book's order."""
    there = [
        one.name for one in CHAPTERS if (BOOK / f"{one.name}.ipynb").exists()
    ]
    return [name for name in there if exercises_of(name)]


def make(name: str, folder: Path) -> list[Exercise]:
    """Write one chapter's assignment; returns its exercises."""
    from otter.assign import main as assign

    exercises = exercises_of(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work, silence():
        source = Path(work) / f"{name}.ipynb"
        nbformat.write(master(exercises), source)
        assign(str(source), str(Path(work) / "made"), no_pdfs=True)
        made = Path(work) / "made"
        (folder / "student").mkdir()
        shutil.copy(made / "student" / source.name, folder / "student")
        shutil.copy(
            next((made / "autograder").glob("*.zip")), folder / "autograder.zip"
        )
    (folder / "instructor").mkdir()
    nbformat.write(instructor(exercises), folder / "instructor" / source.name)
    return exercises


if __name__ == "__main__":
    main()
