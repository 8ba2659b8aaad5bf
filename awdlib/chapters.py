"""The chapters of the book in their order: what each one asks, and how long it takes to read and to run."""

import json
from collections.abc import Iterator
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
    Chapter("Regularizing", "reading-the-model", "The model, line by line",
            "Which line of the model is which term of which equation, and how is it seen to act?", 2),
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
        >>> print(times("dropout-masks"))  # doctest: +ELLIPSIS
        reading time: ... minutes
        running time: ... s on two CPU cores (measured),
        about 2 minutes on a T4-class GPU (estimated)
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


class BookMap:
    """The map of the book: every chapter but the introduction, its question, its times; those to come are marked.

    A notebook shows it as a list a part, with links to the chapters.

    Example:
        >>> from awdlib.chapters import BookMap
        >>> print(BookMap())  # doctest: +ELLIPSIS
        Foundations
          1. Language modelling and perplexity ...
    """

    def __repr__(self) -> str:
        return "\n".join(self._lines("{part}", "  {number}. {title} ({time})")) + "\n"

    def _repr_markdown_(self) -> str:
        return "\n".join(self._lines("\n**{part}**\n", "{number}. {link}  \n    {question} *{time}.*"))

    def _lines(self, part_form: str, chapter_form: str) -> Iterator[str]:
        times, part = _times(), ""
        for number, chapter in enumerate(CHAPTERS[1:], start=1):  # without the introduction, on whose page the map is
            if chapter.part != part:
                part = chapter.part
                yield part_form.format(part=part)
            known = times.get(chapter.name)
            time = f"{known['reading_minutes']} min to read, {known['seconds']} s to run" if known else "To come"
            link = f"[{chapter.title}]({chapter.name}.ipynb)" if known else chapter.title
            yield chapter_form.format(number=number, time=time, link=link, **chapter._asdict())


def _times() -> dict[str, dict[str, int]]:
    return dict(json.loads(bundled("runs/chapter-times.json").read_text(encoding="utf-8")))
