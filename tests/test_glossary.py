"""The glossary: every term explained once, in order, and introduced in bold in the chapter that it points to."""

import json
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parent.parent / "book"
TEXT = (BOOK / "glossary.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^(\S.*)\n  (\S.*)$", TEXT.partition("```{glossary}\n")[2].partition("\n```")[0], re.M)
TERMS = dict(ENTRIES)


def prose(name):
    notebook = json.loads((BOOK / f"{name}.ipynb").read_text(encoding="utf-8"))
    return "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def test_every_term_stands_once_and_in_order():
    names = [re.sub(r"\W", "", name).lower() for name, _ in ENTRIES]
    assert len(names) > 50 and names == sorted(set(names))


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_explained_and_introduced_in_bold_where_it_says(term):
    meaning, _, where = TERMS[term].rpartition("*See ")
    assert re.match(r"[A-Z$].{15,}\. ", meaning), "a sentence that says what it is"
    title, name = re.fullmatch(r"\[(.+)\]\(([\w-]+)\.ipynb\)\.\*", where).groups()
    bold = [text.lower() for text in re.findall(r"\*\*(.+?)\*\*", prose(name))]
    short = term.partition(" (")[0].lower()
    if name == "gallery":  # parts whose chapters are still to come
        assert short.partition(",")[0] in prose(name).lower()
    else:
        assert {term.lower(), short} & {*bold}, f"{title} does not say **{term}**"


def test_links_to_terms_lead_to_a_term():
    slugs = {re.sub(r"\W+", "-", term.lower()).strip("-") for term in TERMS}
    for path in BOOK.glob("*.ipynb"):
        assert {*re.findall(r"glossary\.md#([\w-]+)", prose(path.stem))} <= slugs, path.stem


def test_every_source_stands_in_one_section_of_the_bibliography():
    entries = re.findall(r"^@\w+\{([^,]+),\n((?:.+\n)+?)\}", (BOOK / "references.bib").read_text(), re.M)
    sections = re.findall(r'^:filter: keywords % "(\w+)"$', (BOOK / "bibliography.md").read_text(), re.M)
    assert entries and len(sections) == len(set(sections))
    for key, fields in entries:
        keywords = re.findall(r"^  keywords = \{(\w+)\},$", fields, re.M)
        assert len(keywords) == 1 and keywords[0] in sections, key
        assert re.search(r"^  url = \{https://\S+\}$", fields, re.M), key
