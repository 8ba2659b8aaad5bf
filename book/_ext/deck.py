"""From a chapter to the slides of a lecture: what is shown, what is said beside it, and what the speaker's notes hold.

Nothing is written twice. A slide shows one thing of the chapter (a formula, a figure, a piece of code, a table) under
the first sentence of the paragraph that leads to it; all paragraphs, whole, are the notes. The first sentence of a
paragraph says what the paragraph is about: chapters are written so.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

#: of code and of what it prints, that a slide holds and the last row can read
LINES, COLUMNS = 17, 80
WORDS, SENTENCES = 75, 5  #: that a slide without a picture may have
BESIDE = 34  #: words beside what is shown
CHARACTERS = 450  #: of a table's rows
#: a link that is a picture
BADGE = re.compile(r"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)")
FEW = 10  #: words, no statement yet: the sentence after them is wanted too
#: sections of which a slide only says that they are there
SKIPPED = ("Your lab", "Exercises")

Kind = Literal[
    "markdown", "math", "code", "text", "image", "explorable", "source"
]
Cell = dict[str, Any]  #: of a notebook, as JSON has it


@dataclass(frozen=True)
class Shown:
    """What is to be looked at on a slide."""

    kind: Kind
    content: str  #: Markdown, code, text, base64 of a PNG, or HTML
    alt: str = ""  #: of an image


@dataclass
class Slide:
    """One slide: where in the chapter it belongs, what it says, what it shows, and what its speaker may say."""

    section: str
    title: str
    says: list[str] = field(default_factory=list)  #: Markdown, a sentence each
    shows: Shown | None = None
    #: Markdown, a paragraph each
    notes: list[str] = field(default_factory=list)


def slides_of(cells: Sequence[Cell]) -> list[Slide]:
    """The slides of a chapter, without the one that its title is on.

    Args:
        cells: of the stored notebook, its outputs among them.
    """
    return list(_Maker().make(cells))


class _Maker:
    """Walks through the cells and keeps the paragraphs that no slide has shown yet."""

    def __init__(self) -> None:
        self.section = self.title = ""
        self.pending: list[str] = []
        # whether a question stands here that what comes next may answer
        self.asks = False

    def make(self, cells: Sequence[Cell]) -> Iterator[Slide]:
        for cell in cells:
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                for kind, block in blocks(text):
                    yield from self.block(kind, block)
            elif self.section and self.section not in SKIPPED:
                for shown in shown_by(cell):
                    yield from self.show(shown)
        yield from self.finish()

    def block(self, kind: str, block: str) -> Iterator[Slide]:
        """One block of Markdown."""
        if kind.startswith("heading"):
            yield from self.heading(int(kind[-1]), block)
        elif not self.section or self.section in SKIPPED:
            # the chapter's head, whose first paragraph the title slide's notes take
            return
        elif kind == "paragraph":
            if not re.match(r"\*\*(Next|Sources):?\*\*", block):
                self.pending.append(block)
        elif kind == "list":
            yield from self.points(block)
        elif kind in ("math", "table", "quote"):
            for part in tables(block) if kind == "table" else [block]:
                yield from self.show(
                    Shown("math" if kind == "math" else "markdown", part)
                )

    def heading(self, level: int, text: str) -> Iterator[Slide]:
        if self.section == "Exercises" and level == 3:
            # of an exercise nothing is shown but what it is called
            self.pending.append(text)
            return
        yield from self.finish()
        self.title, self.asks = text, text.startswith("Predict")
        if level == 2:
            self.section = text

    def show(self, shown: Shown) -> Iterator[Slide]:
        """A slide for what is to be looked at, under the sentence that leads to it."""
        near, self.pending = self.pending, []
        if self.asks:
            # a slide for the question alone: whoever sees the answer beside it predicts nothing
            self.asks = False
            yield from self.talk(near)
            near, self.pending = self.pending, []
        before: list[str] = []
        while words(" ".join(spoken(near))) > BESIDE and len(spoken(near)) > 1:
            before.append(near.pop(0))
        yield from self.talk(before)
        yield Slide(self.section, self.title, spoken(near), shown, near)

    def points(self, block: str) -> Iterator[Slide]:
        """A list: its items, each down to its first sentence, as many on a slide as are readable."""
        items = [
            re.sub(r"\s+", " ", item).strip()
            for item in re.split(r"^(?:[-*]|\d+\.) ", block, flags=re.M)[1:]
        ]
        lead, self.pending = self.pending, []
        for number, group in enumerate(
            groups([beginning(item) for item in items])
        ):
            first = lead if number == 0 else []
            listed = "\n".join(f"- {one}" for one in group)
            notes = first + [item for item in items if beginning(item) in group]
            yield Slide(
                self.section,
                self.title,
                [*map(beginning, first[-1:]), listed],
                None,
                notes,
            )

    def talk(self, paragraphs: list[str]) -> Iterator[Slide]:
        """Slides of sentences only."""
        predicts = self.title.startswith("Predict")
        whole = {
            one: one if predicts and words(one) <= WORDS else beginning(one)
            for one in paragraphs
        }
        sentences = [whole[one] for one in paragraphs if not is_aside(one)]
        if not sentences:
            # for the notes of the next slide
            self.pending = paragraphs + self.pending
            return
        left = [*paragraphs]
        for group in groups(sentences):
            notes = []
            while left and (is_aside(left[0]) or whole[left[0]] in group):
                notes.append(left.pop(0))
            yield Slide(self.section, self.title, group, None, notes)

    def finish(self) -> Iterator[Slide]:
        """What is left at the end of a section."""
        if self.section == "Exercises":
            listed = "\n".join(self.pending)  # each begins with its number
            yield Slide(self.section, self.section, [listed])
            self.pending = []
        else:
            paragraphs, self.pending = self.pending, []
            yield from self.talk(paragraphs)


def _parser() -> MarkdownIt:
    """CommonMark with tables and formulas, which are left to MathJax."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    parser.use(dollarmath_plugin, double_inline=False)

    def math_inline(_: Any, tokens: Sequence[Token], at: int, *__: Any) -> str:
        return rf"\({html.escape(tokens[at].content)}\)"

    def math_block(_: Any, tokens: Sequence[Token], at: int, *__: Any) -> str:
        return rf"<p>\[{html.escape(tokens[at].content)}\]</p>"

    parser.add_render_rule("math_inline", math_inline)
    parser.add_render_rule("math_block", math_block)
    return parser


#: finds the blocks of a cell here, and writes the HTML of the slides
PARSER = _parser()


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """(kind, Markdown) of the blocks of a cell: what is hidden until opened, and comments, are left out."""
    text = re.sub(r"<details>.*?</details>|<!--.*?-->", "", text, flags=re.S)
    text = BADGE.sub("", text)
    lines = text.splitlines()
    kinds = {
        "paragraph_open": "paragraph", "bullet_list_open": "list", "ordered_list_open": "list", "table_open": "table",
        "math_block": "math", "math_block_label": "math", "blockquote_open": "quote", "fence": "fence",
    }  # fmt: skip
    for token in PARSER.parse(text):
        if token.level != 0 or token.map is None:
            continue
        block = "\n".join(lines[token.map[0] : token.map[1]]).strip()
        if token.type == "heading_open":
            yield f"heading {token.tag[1]}", block.lstrip("# ")
        elif token.type in kinds:
            yield kinds[token.type], block


def tables(block: str) -> Iterator[str]:
    """A table in parts that can be read on a slide, each with the table's head."""
    head, rule, *rows = block.splitlines()
    part: list[str] = []
    for row in rows:
        if part and len("".join([*part, row])) > CHARACTERS:
            yield "\n".join([head, rule, *part])
            part = []
        part.append(row)
    yield "\n".join([head, rule, *part])


def shown_by(cell: Cell) -> Iterator[Shown]:
    """What of a code cell belongs on slides: a figure without its code, else code and what it printed, if they fit."""
    figures = [
        figure
        for output in cell["outputs"]
        for figure in figures_of(output, cell)
    ]
    if figures:
        yield from figures
        return
    code = without_imports("".join(cell["source"]))
    printed = "".join(map(printed_by, cell["outputs"])).rstrip()
    if "show_source(" in code or "times(" in code:
        code = ""
    if code and printed and fits(f"{code}\n{printed}"):
        yield Shown("code", f"{code}\n\N{NULL}{printed}")
        return
    if code and fits(code):
        yield Shown("code", code)
        if len(printed.splitlines()) == 1:
            return  # such a line says that all went well, as the code does
    if printed and fits(printed) and "reading time:" not in printed:
        yield Shown("text", printed)


def figures_of(output: Cell, cell: Cell) -> Iterator[Shown]:
    """The picture, the explorable or the source that an output is."""
    data = output.get("data", {})
    page = "".join(data.get("text/html", ""))
    if 'class="explorable"' in page:
        yield Shown("explorable", page)
    elif 'class="source"' in page:
        lines = "".join(data.get("text/plain", "")).splitlines()
        if len(lines) <= LINES + 1:  # the first one says where it is from
            yield Shown("source", page)
    elif "image/png" in data:
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        yield Shown("image", "".join(data["image/png"]).replace("\n", ""), alt)
    elif "text/markdown" in data:
        yield Shown("markdown", "".join(data["text/markdown"]))


def printed_by(output: Cell) -> str:
    """The text of an output that is nothing but text."""
    data = output.get("data", {})
    if "text/html" in data or "image/png" in data or "text/markdown" in data:
        return ""
    return "".join(output.get("text", data.get("text/plain", "")))


def without_imports(code: str) -> str:
    """A cell's code from where it begins to do something."""
    code = re.sub(
        r"^from \S+ import \([^)]*\)\n|^(?:from \S+ )?import .*\n?",
        "",
        code,
        flags=re.M,
    )
    return code.strip("\n")


def fits(text: str) -> bool:
    """Whether so much text can be read on a slide."""
    lines = text.splitlines()
    return len(lines) <= LINES and all(len(line) <= COLUMNS for line in lines)


END = re.compile(
    r"(?<!al)(?<!e\.g)(?<!i\.e)(?<!vs)(?<!cf)[.!?][*_]*[\"”)]?(?=\s+[A-Z*X\N{NULL}(\"“])"
)


def beginning(paragraph: str) -> str:
    """The first sentence of a paragraph of Markdown, or two where the first says little; formulas and links stay whole."""
    flat = re.sub(r"\s+", " ", paragraph).strip()
    hidden: list[str] = []

    def hide(found: re.Match[str]) -> str:
        hidden.append(found[0])
        # a link counts as two words, a formula or a piece of code as one
        lead = "X" if found[0][0] == "[" else ""
        return f"{lead}\N{NULL}{len(hidden) - 1}\N{NULL}"

    masked = re.sub(r"\$[^$]+\$|`[^`]+`|\[[^\]]*\]\([^)]*\)", hide, flat)
    ends = [found.end() for found in END.finditer(masked)] + [len(masked)]
    far = (end for end in ends if words(masked[:end]) >= FEW)
    sentence = masked[: next(far, len(masked))]
    if sentence.count("**") % 2:
        sentence += "**"
    return re.sub(
        "X?\N{NULL}(\\d+)\N{NULL}",
        lambda found: hidden[int(found[1])],
        sentence,
    )


def spoken(paragraphs: Sequence[str]) -> list[str]:
    """What a slide says of these paragraphs."""
    return [beginning(one) for one in paragraphs if not is_aside(one)]


def is_aside(paragraph: str) -> bool:
    """Whether a paragraph is for the notes alone: in brackets, or telling a reader what to do in the page."""
    bracketed = paragraph.startswith("(") and paragraph.endswith(")")
    return bracketed or paragraph.startswith(("**What to look for", "**Try"))


def words(text: str) -> int:
    """How many words a reader sees."""
    return len(re.findall(r"\w+", re.sub(r"\]\([^)]*\)", "]", text)))


def groups(sentences: list[str]) -> Iterator[list[str]]:
    """As many sentences at a time as a slide can have."""
    group: list[str] = []
    for sentence in sentences:
        if group and (
            len(group) == SENTENCES
            or words(" ".join([*group, sentence])) > WORDS
        ):
            yield group
            group = []
        group.append(sentence)
    if group:
        yield group
