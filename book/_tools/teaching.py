"""Write what the part For teachers says of the chapters from the chapters themselves: `python book/_tools/teaching.py`.

Four tables of `teaching/index.md` are made anew, each between two comments. On all pages, what is marked
`<!-- to come: NAME -->Title` becomes a link once the chapter NAME is there, and links to explorables and exercises get
the anchor of the section that holds them. Run it after a chapter has been added or changed; a test says when.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import NamedTuple

from exercises import exercises_of
from made import remade

from awdlib.chapters import CHAPTERS

BOOK = Path(__file__).resolve().parent.parent
TEACHING = BOOK / "teaching"
TIMES = BOOK.parent / "data" / "runs" / "chapter-times.json"
GALLERY = ("gallery", "results")  #: pages besides the chapters with explorables
LINK = re.compile(r"\[([^\]]+)\]\(\.\./([\w-]+)\.ipynb(?:#[^)]*)?\)")
TO_COME = re.compile(r"<!-- to come: ([\w-]+) -->([^|<\n]+?)<!-- -->")


class Shown(NamedTuple):
    """An explorable or a lab: its kind, its title, and the anchor of its section."""

    kind: str
    title: str
    anchor: str


class Exercise(NamedTuple):
    """An exercise of a chapter."""

    number: int
    title: str
    level: str
    checked: bool
    anchor: str


def anchor(heading: str) -> str:
    """The place that MyST makes of a heading; empty where a link could not be sure to find it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    plain = re.sub(r"[*`]", "", plain).strip().lower().replace(" ", "-")
    found = re.sub(r"[^\w\- ]", "", plain)
    return found if found.isascii() and "$" not in heading else ""


def cells(name: str) -> list[tuple[str, str]]:
    """Kind and source of each cell of a notebook."""
    text = (BOOK / f"{name}.ipynb").read_text(encoding="utf-8")
    return [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in json.loads(text)["cells"]
    ]


def headings(name: str) -> list[str]:
    """The anchors of a page's headings, down to the third level."""
    prose = "\n".join(text for kind, text in cells(name) if kind == "markdown")
    prose = re.sub(r"^```.*?^```", "", prose, flags=re.M | re.S)
    return [
        anchor(found) for found in re.findall(r"^#{1,3} (.+)$", prose, re.M)
    ]


def shown(name: str) -> list[Shown]:
    """The explorables and labs of a notebook, in order."""
    found, place = [], ""
    for kind, source in cells(name):
        if kind == "markdown":
            here = re.findall(r"^#{1,3} (.+)$", source, re.M)
            place = anchor(here[-1]) if here else place
            continue
        tree = ast.parse(
            re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.M)
        )
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            what = ast.unparse(call.func)
            titles = [k.value for k in call.keywords if k.arg == "title"]
            if what in ("explorable", "lab") and titles:
                title = ast.literal_eval(titles[0])
                found.append(Shown(what, title, place))
    return found


def exercises(name: str) -> list[Exercise]:
    """The exercises of a chapter; checked are those that a cell with a check goes with."""
    found: list[Exercise] = []
    inside = False
    for kind, source in cells(name):
        if kind == "markdown":
            for heading in re.findall(r"^#{2,3} .+$", source, re.M):
                inside = heading == "## Exercises" or (
                    inside and not heading.startswith("## ")
                )
                parts = re.fullmatch(r"### (\d)\. (.+) \(([^)]+)\)", heading)
                if inside and parts:
                    number, title, level = int(parts[1]), parts[2], parts[3]
                    place = anchor(heading.removeprefix("### "))
                    found.append(Exercise(number, title, level, False, place))
        elif inside and found and re.search(r"\bcheck_\w+\(", source):
            found[-1] = found[-1]._replace(checked=True)
    return found


def there(name: str) -> bool:
    """Whether a chapter has been written."""
    return (BOOK / f"{name}.ipynb").exists()


def chapter_table() -> str:
    """Chapter, question, times, how many explorables, how many exercises."""
    times = json.loads(TIMES.read_text(encoding="utf-8"))
    lines = [
        "| chapter | question | read, min | run, s | explorables | exercises | with a check |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for chapter in CHAPTERS:
        if not there(chapter.name):
            row = (chapter.title, chapter.question, *["to come"] * 5)
        else:
            known, asked = times[chapter.name], exercises(chapter.name)
            figures = [
                one for one in shown(chapter.name) if one.kind == "explorable"
            ]
            row = (
                f"[{chapter.title}](../{chapter.name}.ipynb)",
                chapter.question,
                known["reading_minutes"],
                known["seconds"],
                len(figures),
                len(asked),
                sum(one.checked for one in asked),
            )
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def to(name: str, place: str) -> str:
    """Where a link to a section of a chapter leads."""
    return f"../{name}.ipynb" + (f"#{place}" if place else "")


def explorable_table() -> str:
    """Every explorable and every lab, by chapter."""
    lines = [
        "| page | explorables, and labs (these need a kernel) |",
        "| --- | --- |",
    ]
    for name, title in titles().items():
        if there(name) and (all_of := shown(name)):
            links = (
                f"[▶ {one.title}]({to(name, one.anchor)})"
                + (" (lab)" if one.kind == "lab" else "")
                for one in all_of
            )
            lines.append(f"| {title} | " + "<br>".join(links) + " |")
    return "\n".join(lines)


def exercise_table() -> str:
    """Every exercise, by chapter."""
    lines = ["| chapter | exercises; ✓ has a check |", "| --- | --- |"]
    for chapter in CHAPTERS:
        if there(chapter.name) and (asked := exercises(chapter.name)):
            links = (
                f"[exercise {one.number}: {one.title}]({to(chapter.name, one.anchor)})"
                f" ({one.level}){' ✓' if one.checked else ''}"
                for one in asked
            )
            lines.append(f"| {chapter.title} | " + "<br>".join(links) + " |")
    return "\n".join(lines)


def point_table() -> str:
    """The points of each chapter's assignment, question by question."""
    lines = [
        "| assignment | points of its questions | together |",
        "| --- | --- | --- |",
    ]
    total = 0
    for chapter in CHAPTERS:
        if there(chapter.name) and (asked := exercises_of(chapter.name)):
            points = [one.points for one in asked]
            total += sum(points)
            each = " + ".join(map(str, points))
            lines.append(f"| `{chapter.name}` | {each} | {sum(points)} |")
    return "\n".join([*lines, f"| all | | {total} |"])


def titles() -> dict[str, str]:
    """Names of the chapters and of the other pages with explorables, and their titles."""
    pages = {chapter.name: chapter.title for chapter in CHAPTERS}
    return pages | {
        name: cells(name)[0][1].splitlines()[0][2:] for name in GALLERY
    }


MADE = {
    "chapters": chapter_table,
    "explorables": explorable_table,
    "exercises": exercise_table,
    "points": point_table,
}


def renewed(text: str) -> str:
    """A page with its made tables, its links to new chapters and its anchors as they should be."""
    text = remade(text, MADE)

    def linked(found: re.Match[str]) -> str:
        name, title = found.groups()
        return f"[{title}](../{name}.ipynb)" if there(name) else found[0]

    def anchored(found: re.Match[str]) -> str:
        said, name = found.groups()
        place = None
        if said.startswith("▶ "):
            place = {one.title: one.anchor for one in shown(name)}.get(said[2:])
        elif number := re.match(r"exercise (\d)", said):
            numbers = {one.number: one.anchor for one in exercises(name)}
            place = numbers.get(int(number[1]))
        return found[0] if place is None else f"[{said}]({to(name, place)})"

    text = TO_COME.sub(linked, text)
    return LINK.sub(anchored, text)


if __name__ == "__main__":
    for page in sorted(TEACHING.glob("*.md")):
        old = page.read_text(encoding="utf-8")
        if (new := renewed(old)) != old:
            page.write_text(new, encoding="utf-8")
            print(f"renewed {page.relative_to(BOOK.parent)}")
