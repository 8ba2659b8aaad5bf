"""The list of chapters: what there is, in the order of the table of contents, with times that were measured."""

import json
import re
from pathlib import Path

import pytest

from awdlib.chapters import CHAPTERS, BookMap, times

ROOT = Path(__file__).resolve().parent.parent
TIMES = json.loads((ROOT / "data" / "runs" / "chapter-times.json").read_text())
CONTENTS = (ROOT / "_toc.yml").read_text()
WRITTEN = [chapter for chapter in CHAPTERS if (ROOT / "book" / f"{chapter.name}.ipynb").exists()]


def heading(name):
    notebook = json.loads((ROOT / "book" / f"{name}.ipynb").read_text(encoding="utf-8"))
    return "".join(notebook["cells"][0]["source"]).splitlines()[0].removeprefix("# ")


def test_chapters_that_are_written_have_their_times_and_the_others_have_none():
    assert WRITTEN and all(chapter.name in TIMES for chapter in WRITTEN)
    others = {chapter.name for chapter in CHAPTERS} - {chapter.name for chapter in WRITTEN}
    assert not others & {*TIMES}


def test_the_table_of_contents_has_the_written_chapters_in_this_order_under_these_parts():
    parts = re.split(r"^  - caption: ", CONTENTS, flags=re.M)[1:]
    listed = [
        (part.splitlines()[0], name) for part in parts for name in re.findall(r"file: book/([\w-]+)$", part, re.M)
    ]
    ours = [(chapter.part, chapter.name) for chapter in WRITTEN if chapter.name != "intro"]
    assert [entry for entry in listed if entry[0] in {chapter.part for chapter in CHAPTERS}] == ours
    assert "root: book/intro\n" in CONTENTS


@pytest.mark.parametrize("chapter", WRITTEN[1:], ids=lambda chapter: chapter.name)
def test_titles_are_the_chapters_own(chapter):
    assert heading(chapter.name) == chapter.title


def test_the_map_links_to_what_is_written_and_marks_what_is_to_come():
    shown = BookMap()._repr_markdown_()
    for number, chapter in enumerate(CHAPTERS[1:], start=1):
        entry = re.search(rf"^{number}\. (.*)\n    (.*)$", shown, re.M)
        if chapter in WRITTEN:
            assert entry[1] == f"[{chapter.title}]({chapter.name}.ipynb)  "
            measured = (
                f"{TIMES[chapter.name]['reading_minutes']} min to read, {TIMES[chapter.name]['seconds']} s to run"
            )
            assert entry[2] == f"{chapter.question} *{measured}.*"
        else:
            assert entry[1] == f"{chapter.title}  " and entry[2].endswith("*To come.*")
    assert len(re.findall(r"^\*\*(.*)\*\*$", shown, re.M)) == len({chapter.part for chapter in CHAPTERS})


def test_a_chapters_times_are_those_of_the_record_and_an_unknown_name_is_refused():
    for chapter in WRITTEN:
        text = times(chapter.name)
        assert f"reading time: {TIMES[chapter.name]['reading_minutes']} minutes" in text
        assert f"running time: {TIMES[chapter.name]['seconds']} s on two CPU cores (measured)" in text
        assert "(estimated)" in text
    with pytest.raises(ValueError, match=r"no chapter is called 'lstms': use one of intro, "):
        times("lstms")
