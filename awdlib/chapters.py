"""The chapters of the book in their order: what each one asks, and how long it takes to read and to run."""

import json
from typing import NamedTuple

from awdlib.bundled import bundled


class Chapter(NamedTuple):
    """One chapter of the book, written or to come.

    Example:
        >>> from awdlib.chapters import CHAPTERS
        >>> CHAPTERS[1].part, CHAPTERS[1].title
        ('Foundations', 'Language modelling and perplexity')
    """

    part: str  #: of the book
    name: str  #: of its notebook, without .ipynb
    title: str  #: as its first heading has it
    question: str  #: what it answers
    t4_minutes: int  #: to run it on a T4-class GPU; an estimate


#: in reading order
CHAPTERS = (
    Chapter("Foundations", "intro", "Introduction", "What is this book about, and how is it read?", 1),
    Chapter("Foundations", "language-modelling", "Language modelling and perplexity",
            "What is to be predicted, how is a prediction judged, and how well can anyone do?", 2),
    Chapter("Foundations", "lstm", "The LSTM from scratch, and BPTT by hand",
            "What does an LSTM compute, and how does an error travel back through time?", 2),
    Chapter("Foundations", "overfitting", "Overfitting, and where dropout may go",
            "Why does a good model get worse while it trains, and which connections may be dropped?", 3),
    Chapter("Regularizing", "dropout-masks", "Dropout masks: ordinary and locked",
            "Should a mask be drawn at every step, or once for a window?", 2),
    Chapter("Regularizing", "embedding-dropout", "Embedding dropout", "What if whole words go missing?", 2),
    Chapter("Regularizing", "weight-drop", "Weight drop", "How can the recurrence itself be regularized?", 2),
    Chapter("Regularizing", "weight-tying", "Weight tying and independent sizes",
            "Why may one matrix read words and write them?", 2),
    Chapter("Regularizing", "activation-regularization", "Activation regularization",
            "What is gained when hidden states are small, and change slowly?", 2),
    Chapter("Optimizing", "variable-length-bptt", "Variable-length BPTT", "Why should windows vary in length?", 2),
    Chapter("Optimizing", "nt-asgd", "From SGD to NT-ASGD", "When should one begin to average, and why?", 2),
    Chapter("The model", "awd-lstm", "AWD-LSTM assembled", "What does the whole model do, once trained?", 10),
    Chapter("The model", "ablation", "The ablation", "Which of the parts carries how much?", 3),
    Chapter("The model", "continuous-cache", "The continuous cache", "How can a model remember what it just read?", 2),
    Chapter("The model", "gru", "From LSTM to GRU", "What is lost, and won, with one gate less?", 3),
    Chapter("The model", "reproducing", "Reproducing the paper", "Do the published numbers come out?", 1),
    Chapter("The model", "beyond", "Beyond AWD-LSTM", "What came after?", 3),
    Chapter("The model", "speed", "Speed", "What limits a recurrent model?", 1),
)  # fmt: skip


def times(name: str) -> str:
    """How long a chapter takes, in words: its reading time, and its running time on a CPU and on a GPU.

    The reading time is counted from its words and lines of code, the running time on a CPU was measured when it was
    last run and stored; the time on a GPU is an estimate.

    Args:
        name: of the chapter's notebook.

    Raises:
        ValueError: no chapter has this name.

    Example:
        >>> from awdlib.chapters import times
        >>> print(times("dropout-masks").splitlines()[0])
        reading time: 35 minutes
    """
    known = _times()
    chapter = next((chapter for chapter in CHAPTERS if chapter.name == name), None)
    if chapter is None:
        raise ValueError(f"no chapter is called {name!r}: use one of {', '.join(one.name for one in CHAPTERS)}")
    if name not in known:
        return "reading and running times: not measured yet"
    minutes = f"{chapter.t4_minutes} minute{'s' if chapter.t4_minutes > 1 else ''}"
    return (
        f"reading time: {known[name]['reading_minutes']} minutes\n"
        f"running time: {known[name]['seconds']} s on two CPU cores (measured),\n"
        f"about {minutes} on a T4-class GPU (estimated)"
    )


def book_map() -> "BookMap":
    """The map of the book: every chapter but the introduction, its question, and its times; those to come are marked.

    Example:
        >>> from awdlib.chapters import book_map
        >>> book_map()._repr_markdown_().splitlines()[0]
        '### Foundations'
    """
    return BookMap()


class BookMap:
    """A map that a notebook shows as a table a part, with links to the chapters.

    Example:
        >>> from awdlib.chapters import BookMap
        >>> print(BookMap())  # doctest: +ELLIPSIS
        Foundations
          Language modelling and perplexity ...
    """

    def __repr__(self) -> str:
        lines, known = [], _times()
        for part, chapters in _parts().items():
            lines.append(part)
            lines += [f"  {chapter.title} ({_duration(known.get(chapter.name))})" for chapter in chapters]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        lines, known = [], _times()
        for part, chapters in _parts().items():
            lines += [f"### {part}", "", "| chapter | the question | to read | to run |", "| --- | --- | --: | --: |"]
            for chapter in chapters:
                time = known.get(chapter.name)
                title = chapter.title if time is None else f"[{chapter.title}]({chapter.name}.ipynb)"
                read, run = (f"{time['reading_minutes']} min", f"{time['seconds']} s") if time else ("to come", "")
                lines.append(f"| {title} | {chapter.question} | {read} | {run} |")
            lines.append("")
        return "\n".join(lines)


def _times() -> dict[str, dict[str, int]]:
    return dict(json.loads(bundled("runs/chapter-times.json").read_text(encoding="utf-8")))


def _parts() -> dict[str, list[Chapter]]:
    """The chapters of each part, without the introduction, on whose page the map is."""
    others = CHAPTERS[1:]
    return {part: [one for one in others if one.part == part] for part in dict.fromkeys(one.part for one in others)}


def _duration(time: dict[str, int] | None) -> str:
    return "to come" if time is None else f"{time['reading_minutes']} min to read, {time['seconds']} s to run"
