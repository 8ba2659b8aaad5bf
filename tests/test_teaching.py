"""The part For teachers: what its pages name exists, its times add up, its numbers are computed again.

A number that a page states is held by a comment beside it, `<!-- held: 0.22 = EXPRESSION -->` (in the question bank
`<!-- answer: … -->`): the expression is evaluated with what `NAMES` has, must give the number in all its digits, and
the number must stand in the text of the same section. Where the expression gives a sentence, as `shown` does, the
sentence must contain the number. `<!-- holds: EXPRESSION -->` must be true.
"""

import itertools
import json
import math
import re
import shlex
import sys
from functools import cache
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
from explorables import declared

from awdlib.batches import WindowLengths
from awdlib.chapters import CHAPTERS
from awdlib.cli import build_parser
from awdlib.explore import figure as explore_figure
from awdlib.explore.page import specification
from awdlib.goals import GOALS
from awdlib.model import LanguageModel
from awdlib.ntasgd import is_triggered
from awdlib.presets import PRESETS
from awdlib.published import PTB, WIKITEXT2

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
TEACHING = BOOK / "teaching"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(TEACHING.glob("*.md"))}
TITLES = {chapter.name: chapter.title for chapter in CHAPTERS}
LEVELS = {"recall", "apply", "derive", "analyse", "design"}

sys.path.append(str(BOOK / "_tools"))
import classroom  # noqa: E402, I001
import teaching  # noqa: E402


# What the pages may compute with


def run(name):
    """A record of runs by its name."""
    return json.loads((ROOT / "data" / "runs" / f"{name}.json").read_text(encoding="utf-8"))


def parameters(name):
    """How many parameters a preset's model has, counted on tensors without numbers."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in LanguageModel(PRESETS[name].model).parameters())


def shown(page, title, **positions):
    """What an explorable says in words where its controls stand so."""
    figure = next(one for one in figures(page) if one.title == title)
    values = {name: control.values[control.default] for name, control in figure.controls.items()} | positions
    return explore_figure.figure_tree(figure.function(**values))["alt"]


def fires(losses, patience):
    """The first epoch after which the trigger's rule, as coded, fires."""
    return next(n for n in range(1, len(losses) + 1) if is_triggered(losses[:n], patience))


def perplexities_of(record, arm):
    """The test perplexities of an arm of a record, by seed."""
    return [one["test"] for one in run(record)["runs"] if one.get("arm") == arm]


def next_printed(losses, patience):
    """The first epoch after which the rule that the paper prints fires: worse than the best of the last ones."""
    return next(
        n for n in range(patience + 1, len(losses) + 1) if losses[n - 1] > min(losses[n - 1 - patience : n - 1])
    )


def early_stop(losses, patience):
    """The epoch whose weights early stopping keeps, and the last one that it trains."""
    best = 1
    for epoch in range(1, len(losses) + 1):
        best = epoch if losses[epoch - 1] < losses[best - 1] else best
        if epoch - best == patience:
            break
    return best, epoch


def stairs(name):
    """The runs of a stair of the chapter that assembles the model, by seed."""
    return sorted((one for one in run("awd-lstm")["runs"] if one["stair"] == name), key=lambda one: one["seed"])


def averaging(one):
    """The epoch from which a run averages."""
    return one["averaging_from"]


def strength_gaps():
    """For each probability of the experiment on dropout's strength: ordinary minus locked, by seed."""
    found = {(one["kind"], one["p"], one["seed"]): one["test"] for one in run("dropout-strength")["runs"]}
    seeds = sorted({seed for _, _, seed in found})
    return [
        [found["ordinary", p, seed] - found["locked", p, seed] for seed in seeds]
        for p in sorted({p for _, p, _ in found})
    ]


def minutes_of(*arms):
    """How long the recorded runs of these arms of the ablation took, one number each."""
    folder = ROOT / "data" / "runs" / "ptb-100k"
    records = [path for arm in arms for path in folder.glob(f"{arm}-[123]/record.json")]
    return [json.loads(path.read_text(encoding="utf-8"))["minutes"] for path in records]


OURS = (
    run,
    parameters,
    shown,
    fires,
    next_printed,
    early_stop,
    perplexities_of,
    stairs,
    averaging,
    minutes_of,
    strength_gaps,
)
OURS += (mean, stdev, WindowLengths)
PLAIN = (abs, all, any, enumerate, float, int, len, list, max, min, next, range, round, sorted, sum, zip)
NAMES = {name: getattr(math, name) for name in ("exp", "log", "log2", "sqrt", "comb", "cos", "pi", "erf")}
NAMES |= {one.__name__: one for one in OURS + PLAIN} | {
    "PRESETS": PRESETS,
    "PTB": PTB,
    "WIKITEXT2": WIKITEXT2,
    "GOALS": GOALS,
    "classroom": classroom,
}


@cache
def figures(name):
    return declared(BOOK / f"{name}.ipynb")


def visible(text):
    """What a reader sees of a page, numbers written plainly."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    return text.replace("{,}", ",").replace(r"\,", ",").replace("−", "-").replace("\u202f", ",")


def sections(text):
    """A page from heading to heading."""
    return re.split(r"^(?=#{1,4} )", text, flags=re.M)


def stands_in(number, text):
    if "e" in number:
        return r"{}\cdot10^{{{}}}".format(*number.split("e")) in text
    return re.search(rf"(?<![\d.])(?<!\d,){re.escape(number)}(?![\d%]*\d|[.,]\d)", text) is not None


HELD = [
    (page, number, expression.strip(), section)
    for page, text in PAGES.items()
    for section in sections(text)
    for number, expression in re.findall(r"<!-- (?:held|answer): (\S+) = (.+?) -->", section, re.S)
]
HOLDS = [(page, found) for page, text in PAGES.items() for found in re.findall(r"<!-- holds: (.+?) -->", text, re.S)]


def test_all_pages_are_there_and_in_the_table_of_contents_before_what_is_looked_up():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    part = contents.partition("  - caption: For teachers\n")[2].partition("  - caption: ")[0]
    assert {*re.findall(r"file: book/teaching/([\w-]+)", part)} == {*PAGES}
    assert {*PAGES} == {"index", "lecture", "module", "seminar", "misconceptions", "questions", "class"}
    assert contents.index("For teachers") < contents.index("To look up")


@pytest.mark.parametrize("page", PAGES)
def test_what_is_made_from_the_chapters_is_up_to_date(page):
    assert teaching.renewed(PAGES[page]) == PAGES[page], "run python book/_tools/teaching.py"


def test_the_tables_say_what_the_notebooks_hold():
    times = run("chapter-times")
    for chapter in CHAPTERS:
        row = re.search(rf"^\| (?:\[)?{re.escape(chapter.title)}\b.*$", PAGES["index"], re.M)[0].split(" | ")
        if not (BOOK / f"{chapter.name}.ipynb").exists():
            assert row[2:6] == ["to come"] * 4
            continue
        text = (BOOK / f"{chapter.name}.ipynb").read_text(encoding="utf-8")
        exercises = re.findall(r'"### \d\. ', text.partition('"## Exercises')[2].partition('"## History')[0])
        assert row[1:6] == [
            chapter.question,
            str(times[chapter.name]["reading_minutes"]),
            str(times[chapter.name]["seconds"]),
            str(len(figures(chapter.name))),
            str(len(exercises)),
        ]
        assert f"../{chapter.name}.ipynb" in row[0]


def test_the_points_are_those_of_the_levels_and_add_up():
    worth = {"recall": 1, "apply": 2, "derive": 3, "implement": 4, "debug": 4, "it": 4}  # by the last word of the kind
    table = PAGES["index"].partition("<!-- made: points -->")[2].partition("<!-- end: points -->")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d +]+) \| (\d+) \|$", table, re.M)
    due = {}
    for chapter in filter(lambda one: teaching.there(one.name), CHAPTERS):
        if asked := [one for one in teaching.exercises(chapter.name) if one.checked]:
            due[chapter.name] = [worth[one.level.split()[-1]] for one in asked]
    assert {name: [*map(int, points.split(" + "))] for name, points, _ in rows} == due
    assert [int(total) for *_, total in rows] == [*map(sum, due.values())]
    assert f"| all | | {sum(map(sum, due.values()))} |" in table


@pytest.mark.parametrize("page", PAGES)
def test_explorables_that_a_page_names_exist_with_their_controls_and_values(page):
    current = []
    for title, name, key in re.findall(r"\[▶ ([^\]]+)\]\(\.\./([\w-]+)\.ipynb|<kbd>([^<]+)</kbd>", PAGES[page]):
        if title:
            kinds = {one.title: one.kind for one in teaching.shown(name)}
            assert title in kinds, f"{name} has no explorable {title!r}"
            found = [one for one in figures(name) if one.title == title]
            current = [specification({k: c}, {})["controls"][0] for k, c in found[0].controls.items()] if found else []
            continue
        label, _, value = key.partition(": ")
        control = next((one for one in current if one["label"] == label), None)
        assert control, f"{label!r} is no control of what is named before it; there are {[c['label'] for c in current]}"
        texts = {text.replace("-", "−") for text in control["texts"]}
        assert not value or value.replace("-", "−") in texts, f"{label} can be {texts}"


def places(path):
    """What a link into a page may name after #."""
    if path.suffix == ".ipynb":
        return {*teaching.headings(path.stem)}
    text = path.read_text(encoding="utf-8")
    found = {teaching.anchor(one) for one in re.findall(r"^#{1,3} (.+)$", text, re.M)}
    if path.stem == "bibliography":
        found |= {*re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.M)}
    if path.stem == "glossary":
        terms = re.findall(r"^(\S.*)\n  \S", text.partition("```{glossary}\n")[2], re.M)
        found |= {re.sub(r"\W+", "-", term.lower()).strip("-") for term in terms}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for text, target in re.findall(r"\[([^\]]+)\]\(([^)\s]+)\)", PAGES[page]):
        assert not target.startswith("http"), "sources belong into the bibliography"
        name, _, place = target.partition("#")
        path = (TEACHING / name).resolve() if name else TEACHING / f"{page}.md"
        assert path.exists(), f"[{text}]({target})"
        assert not place or place in places(path), f"[{text}]({target})"


@pytest.mark.parametrize("page", PAGES)
def test_exercises_that_a_page_names_exist_under_this_number_and_title(page):
    for number, title, name in re.findall(r"\[exercise (\d)(?:: ([^\]]+))?\]\(\.\./([\w-]+)\.ipynb", PAGES[page], re.I):
        known = {str(one.number): one.title for one in teaching.exercises(name)}
        assert number in known, f"{name} has no exercise {number}"
        assert not title or title == known[number], f"exercise {number} of {name} is {known[number]!r}"
    assert not re.findall(r"[Ee]xercise \d(?![^\[\]]*\]\()", visible(PAGES[page])), "an exercise is named with a link"


def timetables(text):
    """The sections whose heading states a number of minutes or hours, with the rows of their tables of such."""
    for section in sections(text):
        stated = re.match(r"#+ .*\((\d+) (minutes|hours)\)", section)
        if stated:
            table = re.findall(r"^\| (\d+)(?:–(\d+))? \|", section, re.M)
            yield section.splitlines()[0], int(stated[1]), [(int(a), int(b) if b else None) for a, b in table]


@pytest.mark.parametrize("plan", ["lecture", "module", "seminar"])
def test_the_times_of_a_plan_add_up(plan):
    tables = [*timetables(PAGES[plan])]
    assert tables
    for heading, stated, rows in tables:
        assert rows, heading
        if rows[0][1] is None:  # so many each
            assert all(end is None for _, end in rows) and sum(each for each, _ in rows) == stated, heading
        else:  # from–to
            assert rows[0][0] == 0 and rows[-1][1] == stated, heading
            assert all(a < b for a, b in rows) and all(b == c for (_, b), (c, _) in itertools.pairwise(rows)), heading


def test_the_plans_have_what_a_plan_needs():
    for plan in ("lecture", "module", "seminar"):
        headings = "\n".join(re.findall(r"^#+ (.+)$", PAGES[plan], re.M)).lower()
        for wanted in ("learning goals", "prerequisites", "homework", "no gpu"):
            assert wanted in headings, f"{plan}: {wanted}"
        assert "[▶ " in PAGES[plan] and "misconceptions.md#" in PAGES[plan], plan


@pytest.mark.parametrize(("page", "number", "expression", "section"), HELD, ids=lambda value: str(value)[:40])
def test_a_number_is_what_the_library_or_the_record_says(page, number, expression, section):
    value = eval(expression, NAMES | {"__builtins__": {}})
    assert stands_in(number, visible(section)), f"{page} does not say {number}"
    if isinstance(value, str):
        assert stands_in(number, visible(value)), value
        return
    plain = number.replace(",", "").replace("+", "")
    if "e" in plain:
        digits = len(plain.partition("e")[0].partition(".")[2])
        assert f"{value:.{digits}e}" == f"{float(plain):.{digits}e}", value
    else:
        assert float(plain) == round(value, len(plain.partition(".")[2])), value


@pytest.mark.parametrize(("page", "expression"), HOLDS, ids=lambda value: str(value)[:40])
def test_what_a_page_claims_of_a_record_holds(page, expression):
    assert eval(expression, NAMES | {"__builtins__": {}}) is True


QUESTION = re.compile(
    r"^### (?P<number>\d+)\. (?P<title>[^\n]+)\n\n"
    r"\*(?P<chapters>[^\n]+?) · (?P<level>\w+) · (?P<points>\d+) points, (?P<minutes>\d+) minutes\*\n\n"
    r"(?P<asked>.+?)\n\n<details><summary>Model answer and rubric</summary>\n\n"
    r"(?P<answer>.+?)\n\n\| points \| for \|\n\| --- \| --- \|\n(?P<rubric>(?:\| [^\n]+\n)+)\n</details>\n",
    re.M | re.S,
)
QUESTIONS = [found.groupdict() for found in QUESTION.finditer(PAGES.get("questions", ""))]


def chapters_of(question):
    """Titles and names of the chapters that a question is tagged with."""
    linked = re.findall(r"\[([^\]]+)\]\(\.\./([\w-]+)\.ipynb\)", question["chapters"])
    to_come = re.findall(r"<!-- to come: ([\w-]+) -->([^<]+)<!-- -->", question["chapters"])
    return [*linked, *((title, name) for name, title in to_come)]


def test_questions_are_numbered_in_order_and_none_has_lost_its_form():
    assert [int(one["number"]) for one in QUESTIONS] == [*range(1, len(QUESTIONS) + 1)] and len(QUESTIONS) >= 40
    assert len(QUESTIONS) == len(re.findall(r"^### ", PAGES["questions"], re.M))
    assert len({one["title"] for one in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one["number"])
def test_a_question_has_its_tags_and_a_rubric_that_adds_up(question):
    named = chapters_of(question)
    assert named and all(TITLES[name] == title for title, name in named)
    assert len(named) == question["chapters"].count(".ipynb)") + question["chapters"].count("<!-- to come: ")
    assert question["level"] in LEVELS
    points = [int(number) for number in re.findall(r"^\| (\d+) \| .+ \|$", question["rubric"], re.M)]
    assert len(points) == question["rubric"].count("\n") and sum(points) == int(question["points"])
    assert len(question["answer"]) > 60 and 1 <= int(question["minutes"]) <= 60


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one["number"])
def test_no_number_of_a_model_answer_is_left_unchecked(question):
    """Numbers with a point or a comma, or of three digits and more; what the question gives needs no check."""

    def numbers(text):
        return {found.replace(",", "") for found in re.findall(r"(?<![\w.,])\d+(?:,\d{3})*(?:\.\d+)?", visible(text))}

    checked = re.findall(r"<!-- answer: -?([\d.,]+)(?:e-\d+)? =", question["answer"])
    known = {number.replace(",", "") for number in checked} | numbers(question["asked"])
    left = {number for number in numbers(question["answer"]) - known if "." in number or len(number) > 2}
    assert not left


def test_the_bank_reaches_every_chapter_and_every_level():
    asked = {name for one in QUESTIONS for _, name in chapters_of(one)}
    assert asked == {*TITLES} - {"intro"}
    assert {one["level"] for one in QUESTIONS} == LEVELS


def test_commands_are_commands_of_the_library(capsys):
    commands = [
        line.removeprefix("python -m awdlib ")
        for text in PAGES.values()
        for block in re.findall(r"^ *```(?:bash|text)?\n(.*?)^ *```$", text.replace("\\\n", " "), re.M | re.S)
        for line in map(str.strip, block.splitlines())
        if line.startswith("python -m awdlib ")
    ]
    assert len(commands) >= 10
    for command in commands:
        build_parser().parse_args(shlex.split(command, comments=True))
    named = [preset for command in commands for preset in re.findall(r"--preset (\S+)", command)]
    assert {*named} <= {*PRESETS}


@pytest.mark.parametrize("page", PAGES)
def test_experiments_and_tests_that_a_page_names_exist_and_its_code_is_narrow(page):
    for path in re.findall(r"(?<!\.com/)\b(?:book/experiments|tests|awdlib|data/runs)/[\w/.-]*\w", PAGES[page]):
        assert (ROOT / path).exists(), path
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```$", PAGES[page], re.M | re.S):
        assert all(len(line) <= 80 for line in block.splitlines()), block
    assert not re.search(r"(?<!\w)/(?:home|work|tmp|Users)/", PAGES[page])
