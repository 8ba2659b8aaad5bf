"""Assignments: every solution has its points, every start and every known wrong answer none; nothing is given away."""

import ast
import contextlib
import functools
import inspect
import io
import json
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import assignments
import exercises
import nbformat
import notebooks
import proof
import pytest
import torch
from exercises import Exercise, exercises_of, own_imports, prelude, taken_apart
from names import answers_in, defined, free_names
from proof import WRONG, WrongAnswer, bared, filled, sheets, wrong_answers

from awdlib.chapters import CHAPTERS

ROOT = Path(__file__).resolve().parents[1]
NAMES = assignments.chapters()
EXERCISES = [one for name in NAMES for one in exercises_of(name)]
ANSWERS = [(one, wrong) for one in EXERCISES if proof.file_of(one.chapter).exists()
           for wrong in wrong_answers(one.chapter) if wrong.number == one.number]  # fmt: skip


@functools.cache
def given(chapter):
    """What the second cell of an assignment defines."""
    space = {}
    exec(prelude(exercises_of(chapter)), space)
    return space


def refusal(one, code):
    """What the grader's test says against an answer, in a copy of what the assignment gives; nothing if it is right."""
    threads, answer, test = torch.get_num_threads(), dict(given(one.chapter)), {}
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, answer)
            exec(notebooks.test(one), test)
            (function,) = (value for name, value in test.items() if name.startswith("test_"))
            function(*(answer[name] for name in inspect.signature(function).parameters))
    except AssertionError as found:
        return str(found)
    finally:
        torch.set_num_threads(threads)


def named(one):
    return f"{one.chapter}-{one.number}"


# ---- answers, without a grader ----


@pytest.mark.parametrize("one", EXERCISES, ids=named)
def test_the_solution_has_the_points_and_the_start_has_none(one):
    assert refusal(one, one.solution) is None
    said = refusal(one, one.start)
    assert said and ("your turn" in said or "✗" in said)


@pytest.mark.parametrize("one", EXERCISES, ids=named)
def test_nothing_beside_the_answer_stops_a_right_one_before_its_check(one):
    space = dict(given(one.chapter))
    exec(one.solution, space)
    rest = [node for node in ast.parse(one.start).body if not defined(node) & answers_in(one.solution)]
    assert not any(isinstance(node, ast.Assert) for node in rest)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(ast.Module(rest, []), "start", "exec"), space)


@pytest.mark.parametrize(("one", "wrong"), ANSWERS, ids=[f"{named(one)} {wrong.mistake}" for one, wrong in ANSWERS])
def test_a_known_wrong_answer_has_none_and_for_what_is_wrong_in_it(one, wrong):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a wrong answer may warn; it must not fail for that
        said = refusal(one, wrong.code)
    assert said and "✗" in said and "NameError" not in said, said


@pytest.mark.parametrize("name", NAMES)
def test_each_exercise_has_known_wrong_answers(name):
    path = proof.file_of(name).relative_to(ROOT)
    assert proof.file_of(name).exists(), f"{name} has checked exercises, and {path} is missing"
    known = [wrong.number for wrong in wrong_answers(name)]
    assert {*known} == {one.number for one in exercises_of(name)} and min(map(known.count, known)) >= 2, path


def test_every_file_of_wrong_answers_belongs_to_a_chapter():
    left = {path.stem for path in WRONG.glob("*.py")} - {proof.file_of(name).stem for name in NAMES}
    assert not left and len(NAMES) >= 18


def test_a_chapter_without_a_notebook_is_left_out_and_no_other_is():
    written = {one.name for one in CHAPTERS if (assignments.BOOK / f"{one.name}.ipynb").exists()}
    with_checks = {
        name
        for name in written
        if "check_" in "".join(code for kind, code in exercises.cells_of(name) if kind == "code")
        and any(kind == "markdown" and "## Exercises" in text for kind, text in exercises.cells_of(name))
    }
    assert {*NAMES} == with_checks  # fmt: skip


# ---- what a student gets ----


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_a_student_gets_has_a_line_of_a_solution(name):
    found = exercises_of(name)
    everything = "\n".join(cell.source for cell in notebooks.head(found))
    everything += "\n".join(
        part for one in found for part in (notebooks.question(one), notebooks.test(one), notebooks.checked(one).source)
    )
    lines = {line.strip() for line in everything.splitlines()}
    for one in found:
        start = {line.strip() for text in found for line in text.start.splitlines()}
        secret = {line.strip() for line in one.solution.splitlines()} - start - {""}
        secret = {line for line in secret if not line.startswith(("import ", "from "))}
        assert secret and not secret & lines, secret & lines
        assert not any(line in everything for line in secret if len(line) > 12)  # fmt: skip


@pytest.mark.parametrize("one", EXERCISES, ids=named)
def test_the_graders_test_asks_the_chapters_check_and_imports_it_itself(one):
    (function,) = ast.parse(notebooks.test(one)).body
    answers = {arg.arg for arg in function.args.args}
    assert ast.unparse(ast.parse(one.check)) in notebooks.test(one) and answers
    assert {name for name in free_names(one.check) if name.startswith("check_")}.isdisjoint(answers)
    cell = ast.parse(notebooks.checked(one).source).body
    assert ast.unparse(cell[-1]) == one.check and all(isinstance(node, ast.ImportFrom) for node in cell[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_an_assignment_begins_with_the_chapters_setup_cell_and_its_total(name):
    found = exercises_of(name)
    text, setup, *needed = (cell.source for cell in notebooks.head(found))
    assert f"{len(found)} questions, {sum(one.points for one in found)} points." in text
    assert "google.colab" in setup and setup in [code for kind, code in exercises.cells_of(name) if kind == "code"]
    assert bool(needed) == bool(prelude(found))


def test_points_by_kind():
    (masks,) = [[one.points for one in exercises_of(name)] for name in NAMES if name == "dropout-masks"]
    assert masks == [1, 2, 4, 4]
    points = {one.kind: one.points for one in EXERCISES}
    assert points["derive, then implement"] == 4 and points["break it"] == points["debug"] == 4
    with pytest.raises(ValueError, match="lstm, exercise 7: 'sing' ends with none of recall, apply"):
        _ = Exercise("lstm", 7, "A song", "sing", "", "", "", "", "", "").points


def test_an_instructor_gets_hints_and_solutions():
    found = exercises_of("dropout-masks")
    cells = [cell.source for cell in notebooks.instructor(found).cells]
    for one in found:
        assert one.solution in cells and sum(f"> **Hint.** {one.hint}" in cell for cell in cells) == 1


def test_making_it_twice_gives_the_same_notebook():
    found = exercises_of("speed")
    assert notebooks.master(found) == notebooks.master(exercises_of("speed"))


# ---- taking a chapter apart ----

CELL = """from awdlib.exercises.some import Tool, check_it
from torch import nn

show(Tool)


def answer(x): ...  # yours


check_it(answer)"""


def test_a_cell_is_taken_apart():
    start, imports, check = taken_apart(CELL)
    assert imports == "from awdlib.exercises.some import check_it" and check == "check_it(answer)"
    assert start.startswith("from awdlib.exercises.some import Tool\n\nfrom torch import nn\n\nshow(Tool)\n")
    assert start.endswith("def answer(x): ...  # yours")


def test_a_check_within_another_call_is_found():
    assert taken_apart("a = ...\n\nprint(check_it(a, n=3))") == ("a = ...", "", "check_it(a, n=3)")


def test_a_solution_that_is_a_method_is_put_into_its_class():
    start = "class A:\n    def f(self):  # one\n        return 1\n\n    def g(self):\n        return 2"
    assert exercises.completed(start, "def f(self):\n    return 3") == (
        "class A:\n    def f(self):\n        return 3\n\n    def g(self):\n        return 2"
    )


def test_a_solution_keeps_the_imports_of_the_start_that_it_needs():
    start = "from torch.nn import functional as F, init\nimport math\n\ndef f(x): ..."
    made = exercises.completed(start, "def f(x):\n    return F.relu(x)")
    assert made == "from torch.nn import functional as F\n\n\ndef f(x):\n    return F.relu(x)"


def markdown(*lines):
    return {"cell_type": "markdown", "source": "\n\n".join(lines)}


def code(*lines):
    return {"cell_type": "code", "source": "\n".join(lines)}


def solved(text):
    solution = f"```python\n{text}\n```"
    return "\n".join(f"<details><summary>{name}</summary>{part}\n</details>"
                     for name, part in (("Hint", "look"), ("Solution", f"\n\n{solution}\n")))  # fmt: skip


@pytest.fixture
def chapter(monkeypatch, tmp_path):
    """A made-up chapter: its exercises begin within a cell, one has two code cells, one has no check."""
    cells = [
        code("import sys", 'if "google.colab" in sys.modules:', "    !pip install nothing"),
        code("import math", "from torch import nn, optim", "from awdlib.contracts import check_both", "print(1)"),
        code(
            "SIZE = math.prod([2, 3])", "unused = 1", "@decorated", "def base(x):", "    # why", "    return x * SIZE"
        ),
        code("def decorated(f):", "    return f"),
        code("def answer(x):", "    return 'as the chapter does it'"),
        markdown("## Your lab", "text", "## Exercises", "### 1. One (recall)", "What?"),
        code("from awdlib.exercises.some import Tool", "show(Tool)"),
        code("from awdlib.exercises.some import check_it", "def answer(x): ...", "check_it(answer)"),
        markdown(solved("def answer(x):\n    return base(x)"), "### 2. Two (apply)", "Why?"),
        code("other = ...", "check_both(other, nn)"),
        markdown(solved("other = optim"), "### 3. Three (research)", solved("print(2)"), "## Summary", "- a"),
        code("check_it(3)"),
    ]
    (tmp_path / "made-up.ipynb").write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(exercises, "BOOK", tmp_path)
    return "made-up"


def test_the_exercises_of_a_chapter(chapter):
    one, two = exercises_of(chapter)
    assert (one.name, one.title, one.kind, one.points, one.question) == ("q1", "One", "recall", 1, "What?")
    assert one.start == "from awdlib.exercises.some import Tool\n\nshow(Tool)\n\ndef answer(x): ..."
    assert (one.check, one.hint, one.solution) == ("check_it(answer)", "look", "def answer(x):\n    return base(x)")
    assert (two.number, two.start, two.solution, two.question) == (2, "other = ...", "other = optim", "Why?")


def test_an_assignment_brings_what_it_needs_of_the_chapter_and_no_answer(chapter):
    needed = prelude(exercises_of(chapter))
    assert needed.startswith(
        "import math\nfrom torch import nn, optim\nfrom awdlib.contracts import check_both\nSIZE ="
    )
    assert "@decorated\ndef base(x):\n    # why\n    return x * SIZE" in needed and "def decorated(f):" in needed
    assert "unused" not in needed and "as the chapter does it" not in needed


def test_a_check_brings_its_own_imports(chapter):
    one, two = exercises_of(chapter)
    assert own_imports(one) == "from awdlib.exercises.some import check_it"
    assert own_imports(two) == "from torch import nn\nfrom awdlib.contracts import check_both"
    assert notebooks.test(two).splitlines()[0] == "def test_q2(other):"


def test_an_answer_may_have_the_name_of_a_builtin():
    assert free_names("check_it(input, max)") == {"check_it"}
    assert free_names("check_it(input, max)", {"input", "a"}) == {"check_it", "input"}
    (one,) = [one for one in EXERCISES if "input" in one.check.split("(")[1]]
    assert "input" in notebooks.test(one).splitlines()[0]


# ---- the proof ----

QUESTIONS = [Exercise("made-up", n, "", kind, "", "", "", "", "", f"right {n}")
             for n, kind in ((1, "recall"), (2, "apply"), (3, "debug"))]  # fmt: skip
MISTAKES = [WrongAnswer(n, "", f"wrong {n}.{m}") for n, count in ((1, 2), (2, 3), (3, 1)) for m in range(count)]


def test_each_wrong_answer_is_on_one_sheet_and_each_question_is_answered_rightly_on_another():
    solutions, bare, empty, *mixed = sheets(QUESTIONS, MISTAKES)
    assert sum(solutions.due.values()) == 7 and (bare.answers, bare.due) == (solutions.answers, solutions.due)
    assert not empty.answers and sum(empty.due.values()) == 0
    used = [text for sheet in mixed for text in sheet.answers.values()]
    assert sorted(text for text in used if "wrong" in text) == [wrong.code for wrong in MISTAKES]
    assert {"right 1", "right 2", "right 3"} <= {*used} and len(mixed) == 4
    for sheet in mixed:
        for question, text in sheet.answers.items():
            assert sheet.due[question] == (0 if "wrong" in text else {"q1": 1, "q2": 2, "q3": 4}[question])


def honest(name, text):
    return {"q1": 1, "q2": 2, "q3": 4}[name] * text.startswith("right")


@pytest.mark.parametrize(("grader", "blamed"), [
    (honest, 0),
    (lambda name, text: {"q1": 1, "q2": 2, "q3": 4}[name], 3 + len(MISTAKES)),
    (lambda name, text: 0, 2 * 3 + 4 * 3 - len(MISTAKES)),
    (lambda name, text: 1 if text == "wrong 2.1" else honest(name, text), 1),
    (lambda name, text: 0 if text == "right 3" else honest(name, text), 5),
])  # fmt: skip
def test_a_grader_that_gives_other_points_is_found(monkeypatch, tmp_path, capsys, grader, blamed):
    cells = [nbformat.v4.new_code_cell("...", metadata={"otter": {"tests": [one.name]}}) for one in QUESTIONS]
    (tmp_path / "student").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "student" / "made-up.ipynb")
    monkeypatch.setattr(proof, "wrong_answers", lambda name: MISTAKES)
    monkeypatch.setattr(proof, "graded", lambda notebook, *_: {
        one.name: grader(one.name, cell.source) for one, cell in zip(QUESTIONS, notebook.cells, strict=True)
    })  # fmt: skip
    deviations = proof.prove("made-up", QUESTIONS, tmp_path)
    assert len(deviations) == blamed and len(capsys.readouterr().out.splitlines()) == 7
    assert all(line.startswith("made-up, ") and ": due " in line for line in deviations)


def test_a_sheet_is_filled_in_without_touching_the_students_notebook():
    cell = nbformat.v4.new_code_cell("a = ...", metadata={"otter": {"tests": ["q1"]}})
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert filled(notebook, {"q1": "a = 1"}).cells[0].source == "a = 1" and cell.source == "a = ..."
    with pytest.raises(KeyError):
        filled(notebook, {"q2": "a = 1"})
    bare = bared(notebook)
    assert bare.cells[0].source == "a = ..." and not bare.cells[0].metadata and cell.metadata


# ---- the command ----


@pytest.mark.parametrize(("arguments", "found", "said"), [
    (["nowhere"], True, "error: 'nowhere' has no checked exercises: use language-modelling, lstm"),
    (["intro"], True, "error: 'intro' has no checked exercises: use"),
    ([], None, "error: otter-grader is not installed: run `make assignments`"),
])  # fmt: skip
def test_what_cannot_be_done_gets_one_line(monkeypatch, arguments, found, said):
    monkeypatch.setattr(sys, "argv", ["assignments.py", *arguments])
    monkeypatch.setattr(assignments, "find_spec", lambda name: found)
    with pytest.raises(SystemExit) as caught:
        assignments.main()
    assert caught.value.code.startswith(said) and "\n" not in caught.value.code


def test_a_chapter_without_known_wrong_answers_is_not_proved(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["assignments.py", "--prove", "speed"])
    monkeypatch.setattr(assignments, "find_spec", lambda name: True)
    monkeypatch.setattr(proof, "WRONG", tmp_path)
    with pytest.raises(SystemExit, match="^error: .*speed.py is missing: wrong answers to prove speed with$"):
        assignments.main()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("otter") is None, reason="otter-grader is not installed: `make assignments` does it")
def test_the_grader_gives_each_sheet_its_points(tmp_path):
    command = [sys.executable, "book/_tools/assignments.py", "--prove", "--out", tmp_path, "speed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if " due " in line]
    assert len(rows) == 7 and all(row[-1] == row[-3] for row in rows)
    text = (tmp_path / "speed" / "student" / "speed.ipynb").read_text(encoding="utf-8")
    assert "def balance(operations" in text and "2 * layers * latency" not in text and "Hint" not in text

    empty = tmp_path / "empty"  # a student's notebook runs from anywhere, top to bottom
    empty.mkdir()
    command = [
        sys.executable,
        "-m",
        "nbconvert",
        "--execute",
        "--to",
        "notebook",
        "--stdout",
        "../speed/student/speed.ipynb",
    ]
    ran = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=True)
    assert ran.stdout.count("your turn") == 3 and not [*empty.iterdir()]
