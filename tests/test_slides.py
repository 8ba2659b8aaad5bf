"""The decks: made of the chapter's own sentences, nothing lost from the notes, nothing too much for a slide."""

import json
import re
import sys
from pathlib import Path

import pytest

for needed in ("sphinx", "mdit_py_plugins"):  # what builds the book, which the library does without
    pytest.importorskip(needed)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_ext"))
import deck  # noqa: E402
import slides  # noqa: E402

BOOK = ROOT / "book"
CHAPTERS = sorted(path.stem for path in BOOK.glob("*.ipynb"))


def cells_of(name):
    return json.loads((BOOK / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]


def flat(text):
    return re.sub(r"\s+", " ", text)


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return request.param, deck.slides_of(cells_of(request.param))


def test_what_a_slide_says_stands_in_the_chapter(chapter):
    name, made = chapter
    prose = flat("\n".join("".join(cell["source"]) for cell in cells_of(name) if cell["cell_type"] == "markdown"))
    for slide in made:
        for said in slide.says:
            for line in said.splitlines():
                sentence = flat(line.removeprefix("- ")).rstrip("*")
                assert sentence in prose, (slide.title, sentence)


def test_every_paragraph_of_a_chapter_is_in_the_notes(chapter):
    name, made = chapter
    notes = flat("\n".join(note for slide in made for note in slide.notes))
    section = ""
    for cell in cells_of(name):
        if cell["cell_type"] != "markdown":
            continue
        for kind, block in deck.blocks("".join(cell["source"])):
            section = block if kind == "heading 2" else section
            skipped = not section or section in deck.SKIPPED or re.match(r"\*\*(Next|Sources)", block)
            if kind == "paragraph" and not skipped:
                assert flat(block) in notes, block


def test_a_question_to_predict_stands_alone_before_anything_that_answers_it(chapter):
    name, made = chapter
    asked = {}
    for slide in made:
        if slide.title.startswith("Predict"):
            asked.setdefault((slide.section, slide.title), slide)
    for first in asked.values():
        assert first.shows is None and first.says, (name, first.title)


def test_every_figure_is_on_a_slide(chapter):
    name, made = chapter
    shown = [slide.shows.kind for slide in made if slide.shows]
    section, wanted = "", {"explorable": 0, "image": 0}
    for cell in cells_of(name):
        text = "".join(cell["source"])
        for heading in re.findall(r"^## (.*)$", text, re.M) if cell["cell_type"] == "markdown" else []:
            section = heading
        if cell["cell_type"] == "code" and section and section not in deck.SKIPPED:
            for output in cell["outputs"]:
                html = "".join(output.get("data", {}).get("text/html", ""))
                wanted["explorable"] += 'class="explorable"' in html
                wanted["image"] += "image/png" in output.get("data", {}) and 'class="' not in html
    assert {kind: shown.count(kind) for kind in wanted} == wanted


def test_no_slide_has_more_than_can_be_read(chapter):
    _, made = chapter
    for slide in made:
        said = "\n".join(slide.says)
        if slide.shows:
            assert len(slide.says) <= 4
        elif slide.section != "Exercises":
            assert deck.words(said) <= 2 * deck.WORDS and said
        if slide.shows and slide.shows.kind in ("code", "text"):
            assert deck.fits(slide.shows.content.replace("\N{NULL}", ""))


@pytest.mark.parametrize(("paragraph", "first"), [
    ("One is here, and it has at least ten words in all. Two.", "One is here, and it has at least ten words in all."),
    ("Short one. It needs its second sentence, which makes it long enough. Third.",
     "Short one. It needs its second sentence, which makes it long enough."),
    ("As Merity et al. (2018) say in their paper on these things, it helps. Two.",
     "As Merity et al. (2018) say in their paper on these things, it helps."),
    ("With $p = 0. A$ in it, and `a. B` too, it goes on for long enough. Two.",
     "With $p = 0. A$ in it, and `a. B` too, it goes on for long enough."),
    ("**What it says. In bold it goes on and on for ten words.** Two.",
     "**What it says. In bold it goes on and on for ten words.**"),
    ("A link [to a. B](x.ipynb) is one word of the many that are here now. Two.",
     "A link [to a. B](x.ipynb) is one word of the many that are here now."),
    ("No end", "No end"),
])  # fmt: skip
def test_the_beginning_of_a_paragraph(paragraph, first):
    assert deck.beginning(paragraph) == first


def markdown(text):
    return {"cell_type": "markdown", "source": text, "metadata": {}}


def code(text, *outputs):
    return {"cell_type": "code", "source": text, "metadata": {}, "outputs": list(outputs)}


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_code_and_what_it_prints_share_a_slide_if_there_is_room():
    long = "\n".join(f"x{n} = {n}" for n in range(deck.LINES - 1))
    one, two, three = deck.slides_of(
        [markdown("# T\n\n## S"), code("import this\nprint(1)", printed("1\n")), code(long, printed("1\n2\n3\n"))]
    )
    assert one.shows.content == "print(1)\n\N{NULL}1" and one.shows.kind == "code"
    assert (two.shows.kind, three.shows.kind) == ("code", "text") and three.shows.content == "1\n2\n3"


def test_what_does_not_fit_is_left_out_and_what_is_hidden_stays_hidden():
    long = "\n".join(f"x{n} = {n}" for n in range(deck.LINES + 1))
    made = deck.slides_of(
        [markdown("# T\n\n## S\n\nSay.\n\n<details><summary>Hint</summary>Secret.</details>"), code(long)]
    )
    assert [slide.shows for slide in made] == [None] and "Secret" not in str(made)


def test_a_long_table_goes_on_on_the_next_slide_with_its_head():
    rows = [f"| {n} | {'word ' * 30}|" for n in range(6)]
    made = deck.slides_of([markdown("# T\n\n## S\n\n" + "\n".join(["| a | b |", "| - | - |", *rows]))])
    parts = [slide.shows.content.splitlines() for slide in made]
    assert len(parts) == 3 and all(part[:2] == ["| a | b |", "| - | - |"] for part in parts)
    assert [row for part in parts for row in part[2:]] == rows


def test_a_badge_is_no_part_of_a_slide():
    badge = "[![Open](_static_assets/colab.svg)](https://x.y)"
    (slide,) = deck.slides_of([markdown(f"# T\n\n## S\n\n{badge}\n\nWhat is said here.")])
    assert slide.says == ["What is said here."] and slide.notes == ["What is said here."]


def test_exercises_are_listed_and_labs_are_not_shown():
    made = deck.slides_of([
        markdown("# T\n\n## Exercises\n\nEach check.\n\n### 1. One (recall)\n\nDo."),
        code("check()", printed("your turn")), markdown("### 2. Two (apply)\n\n## Your lab\n\nTry."),
        code("lab()", printed("x")), markdown("## Summary\n\n- A."),
    ])  # fmt: skip
    assert [(slide.title, slide.says) for slide in made] == [
        ("Exercises", ["1. One (recall)\n2. Two (apply)"]), ("Summary", ["- A."]),
    ]  # fmt: skip


def test_links_lead_to_the_books_pages_and_formulas_are_left_to_mathjax():
    html = slides.render("See [it](lstm.ipynb#x) and [there](https://a.b), $a<b$:\n\n$$\nc & d\n$$\n")
    assert 'href="../book/lstm.html#x"' in html and 'href="https://a.b"' in html
    assert r"\(a&lt;b\)" in html and r"\[" in html and "c &amp; d" in html
