"""The toy language: text drawn from a small probabilistic grammar, whose best possible perplexity is known exactly.

**How a text is made.** A text is a run of documents, a document a run of sentences. Each document has

- a hidden *topic*, drawn once: sea, farm, kitchen, music, forest, market, mountain or workshop. It tilts every noun,
  verb and adjective: nine in ten are drawn from the topic's own lists, the others from lists shared by all topics or,
  rarely, from any topic's. Topics share words too (the sea and the mountain have ropes). So a word hints at the
  topic, strongly or not at all, and never settles it. Within a list the r-th word has a probability proportional to
  1/r (Zipf).
- an urn of *names* that recur (`NameUrn`): the more often a name was seen in this document, the
  likelier it returns. This is what a cache can learn and a fixed model cannot.

**How a sentence is made.** `GRAMMAR` (``data/toy/grammar.txt``) is a finite-state machine. Its line ::

    after_subject.N   0.35 that relative.N | 0.65 predicate.N

says: in state ``after_subject.N``, with probability 0.35 write "that" and go on in state ``relative.N``; else go on in
``predicate.N`` without writing. N (and M) stand for a number, ``one`` or ``many``, and a line with N is short for one
line a number. The middle word names a class of words (``being.N`` is a list of nouns in the singular or plural); if
no class has this name, it is the word itself. Since the state remembers N all through a relative clause, the main
verb agrees with its subject however far away: "the *sailor* that the hungry gulls near the harbour follow *hoists*
a sail". Where ``.N.M`` is written, N is the outer and M the inner noun's number.

**What stays hidden** besides the topic: "sheep", "deer", "salmon" and "trout" are one or many; "that" after "tells the
sailor" begins what is told, or a relative clause ("tells the sailor that the gulls follow a story" is either); a verb
may take an object or not ("sings").

**As a file**: one sentence a line, words between spaces; every line's end is read as the word ``<eos>``. A blank line
ends a document, so that its end is visible: an ``<eos>`` right after an ``<eos>``. Nouns and adjectives begin with a
consonant, so that "a" need never be "an".

``python -m awdlib.toy_language --write data/toy`` makes the files again, byte for byte.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.toy_floor import EOS, Arcs, ExactPredictor, NameUrn

SEED = 1  #: of the text that ships with the project
SPLIT_TOKENS = {"train": 60_000, "valid": 10_000, "test": 10_000}  #: words to draw at least, <eos> included

#: The grammar that ships with the project, in the form that this module explains.
#:
#: :meta hide-value:
GRAMMAR = bundled("toy/grammar.txt").read_text(encoding="utf-8")

LISTS = {"topics", "general", "closed", "names", "irregular_plurals"}  #: what a lexicon holds
NOUNS = ("being", "thing")  #: classes of nouns: listed in the singular, the plural is made
VERBS = ("verb", "move", "say", "tell")  #: classes of verbs: listed in the plural, the third person is made


class Step(NamedTuple):
    """One word of what `ToyLanguage.derive` wrote, with what only the generator knew."""

    word: str  #: as it is written
    word_class: str  #: what it was drawn from
    state: str  #: the grammatical state that wrote it
    topic: str  #: of the document


class ToyLanguage(ExactPredictor):
    """A toy language: it writes text, and predicts text as well as can be (`ExactPredictor`).

    Args:
        lexicon: lists of words, each in order of falling probability: ``topics`` (topic → class → words), ``general``
            (class → words), ``closed`` (class → words, the same in every topic), ``names``, ``irregular_plurals``.
        grammar: lines of the form that this module's introduction shows.
        topic_share: the probability that an open-class word comes from its topic's own list.
        leak: the probability that it comes from any topic's list; the rest is the general list's.
        name_alpha: how readily new names come, alpha of `NameUrn`.

    Raises:
        ValueError: a name is also another word, the probabilities of a state do not sum to one, the lexicon has no
            such list, or a probability is out of range.

    Example:
        Two topics with a noun each, and one that they share. The first "sails" settles the topic:

        >>> from awdlib.toy_language import ToyLanguage
        >>> topics = {"sea": {"thing": ["sail"]}, "farm": {"thing": ["plough"]}}
        >>> lists = {"general": {"thing": ["day"]}, "closed": {}, "names": ["ida"], "irregular_plurals": {}}
        >>> grammar = "document 1.0 go\\ngo 0.5 thing.many go | 0.5 <eos> document"
        >>> language = ToyLanguage({"topics": topics, **lists}, grammar, topic_share=0.8, leak=0.0)
        >>> for prefix in ([], ["sails"]):
        ...     print(dict(zip(language.vocabulary, language.next_word_probabilities(prefix).round(3).tolist())))
        {'<eos>': 0.5, 'days': 0.1, 'ida': 0.0, 'ploughs': 0.2, 'sails': 0.2}
        {'<eos>': 0.5, 'days': 0.1, 'ida': 0.0, 'ploughs': 0.0, 'sails': 0.4}
    """

    def __init__(
        self,
        lexicon: Mapping[str, Any],
        grammar: str = GRAMMAR,
        *,
        topic_share: float = 0.9,
        leak: float = 0.02,
        name_alpha: float = 1.5,
    ):
        require.number("topic_share", topic_share, "[0, 1]")
        require.number("leak", leak, "[0, 1]")
        require.number("topic_share + leak", topic_share + leak, "[0, 1]")
        require.number("name_alpha", name_alpha, "(0, inf)")
        if missing := LISTS - lexicon.keys():
            raise ValueError(f"the lexicon has no {', '.join(sorted(missing))}: add what is missing")
        self.topics = list(lexicon["topics"])
        lists = _class_lists(lexicon, topic_share, leak)
        arcs = Arcs.from_grammar(grammar)
        literals = {name: [[(1.0, [name])]] * len(self.topics) for name in arcs.classes if name not in lists}
        literals.pop("name", None)
        lists = {name: words for name, words in (lists | literals).items() if name in arcs.classes}
        words = {word for topics in lists.values() for parts in topics for _, part in parts for word in part}
        if clash := sorted(words & set(lexicon["names"])):
            raise ValueError(f"names {clash} are also other words: names must be told apart by sight; rename them")
        vocabulary = [EOS, *sorted((words | set(lexicon["names"])) - {EOS})]
        names = NameUrn(dict(zip(lexicon["names"], _zipf(len(lexicon["names"])).tolist(), strict=True)), name_alpha)
        topic_prior = np.full(len(self.topics), 1 / len(self.topics))
        super().__init__(vocabulary, topic_prior, arcs, _emission(lists, arcs.classes, vocabulary), names)

    def sample(self, rng: np.random.Generator, tokens: int) -> list[str]:
        """Whole documents, drawn until they hold at least ``tokens`` words, ``<eos>`` included."""
        return [step.word for step in self.derive(rng, tokens)]

    def derive(self, rng: np.random.Generator, tokens: int) -> list[Step]:
        """As `sample`, each word with the hidden state it was drawn from.

        Raises:
            ValueError: ``tokens`` is less than 1.

        Example:
            A document has one topic, and its end is visible:

            >>> import numpy as np
            >>> from awdlib.toy_language import toy_language
            >>> steps = toy_language().derive(np.random.default_rng(0), tokens=1)
            >>> len({step.topic for step in steps}), [step.word for step in steps[-2:]]
            (1, ['<eos>', '<eos>'])
        """
        require.whole_number("tokens", tokens, 1)
        steps: list[Step] = []
        while len(steps) < tokens:
            steps.extend(self._document(rng))
        return steps

    def _document(self, rng: np.random.Generator) -> Iterator[Step]:
        arcs, urn, topic = self.arcs, self.names.empty(), _draw(rng, self.topic_prior)
        state = start = arcs.states.index("document")
        while True:
            leaving = np.flatnonzero(arcs.source == state)
            arc = leaving[_draw(rng, arcs.probability[leaving])]
            word_class = arcs.classes[arcs.word_class[arc]]
            if word_class == "name":
                word = _draw_name(rng, urn)
            else:
                word = self.vocabulary[_draw(rng, self.emission[topic, arcs.word_class[arc]])]
            yield Step(word, word_class, arcs.states[state], self.topics[topic])
            state = arcs.destination[arc]
            if state == start:
                return


def toy_language() -> ToyLanguage:
    """The toy language of the book: `GRAMMAR` over the words of ``data/toy/lexicon.json``.

    Example:
        The verb agrees with its subject across a clause, and the best possible prediction knows it:

        >>> from awdlib.toy_language import toy_language
        >>> language = toy_language()
        >>> words = "the sailor that the hungry gulls near the harbour follow".split()
        >>> p = language.next_word_probabilities(words)
        >>> p[language.index["hoists"]].round(3).item(), p[language.index["hoist"]].item()
        (0.139, 0.0)
    """
    return ToyLanguage(json.loads((bundled("toy") / "lexicon.json").read_text(encoding="utf-8")))


def to_text(words: Sequence[str]) -> str:
    """Words as the text of a file: each ``<eos>`` becomes the end of a line.

    Args:
        words: the words in order.

    Example:
        >>> from awdlib.toy_language import to_text
        >>> to_text(["anna", "sings", "<eos>", "<eos>"])
        'anna sings\\n\\n'
    """
    return "".join("\n" if word == EOS else word + " " for word in words).replace(" \n", "\n")


def from_text(text: str) -> list[str]:
    """The words of a file's text: the inverse of `to_text`.

    Args:
        text: lines of words with spaces between.

    Example:
        >>> from awdlib.toy_language import from_text
        >>> from_text("anna sings\\n\\n")
        ['anna', 'sings', '<eos>', '<eos>']
    """
    return [word for line in text.splitlines() for word in (*line.split(), EOS)]


def write(folder: Path, seed: int = SEED) -> dict[str, Any]:
    """Draw the three splits from one generator and write them, with ``floor.json``, into a folder.

    Args:
        folder: an existing folder.
        seed: of the generator.

    Returns:
        what ``floor.json`` holds: the exact floor (a perplexity) of each split, and how it was made.

    Raises:
        ValueError: folder is none, or seed is negative.
        OSError: the disk is full, or the folder cannot be written; each old file is untouched or whole.

    Example:
        What it returned when it wrote the files that ship with the project:

        >>> import json
        >>> from awdlib.bundled import bundled
        >>> record = json.loads(bundled("toy/floor.json").read_text())
        >>> record["seed"], record["tokens"]["train"], round(record["floor"]["test"], 2)
        (1, 60237, 15.8)
    """
    require.whole_number("seed", seed, 0)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: make it first")
    language, rng = toy_language(), np.random.default_rng(seed)
    splits = {name: language.sample(rng, tokens) for name, tokens in SPLIT_TOKENS.items()}
    known = set(splits["train"])
    record = {
        "made_by": "python -m awdlib.toy_language --write data/toy",
        "meaning": "exp(-mean ln p(word | all words before it)), hidden state marginalised, all words but the first",
        "seed": seed,
        "vocabulary": len(language.vocabulary),
        "tokens": {name: len(words) for name, words in splits.items()},
        "unseen_in_train": {name: sum(w not in known for w in words) / len(words) for name, words in splits.items()},
        "floor": {name: round(language.floor(words), 6) for name, words in splits.items()},
    }
    for name, words in splits.items():
        _write_atomically(folder / f"{name}.txt", to_text(words))
    _write_atomically(folder / "floor.json", json.dumps(record, indent=2) + "\n")
    return record


def plural(noun: str, irregular: Mapping[str, str]) -> str:
    """The plural of a noun, by the rule of `third_person` unless it is irregular.

    Args:
        noun: in the singular.
        irregular: singular -> plural of the nouns that have one of their own.

    Example:
        >>> from awdlib.toy_language import plural
        >>> plural("gull", {}), plural("sheep", {"sheep": "sheep"})
        ('gulls', 'sheep')
    """
    return irregular.get(noun, third_person(noun))


def third_person(verb: str) -> str:
    """The third person singular of a verb.

    Args:
        verb: as it is written after "they".

    Example:
        >>> from awdlib.toy_language import third_person
        >>> [third_person(verb) for verb in ("sail", "catch", "carry", "play")]
        ['sails', 'catches', 'carries', 'plays']
    """
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else "s")


def _inflected(lists: Mapping[str, Sequence[str]], irregular: Mapping[str, str]) -> dict[str, list[str]]:
    """Class → words, with each list of nouns or verbs replaced by one list a number."""
    classes: dict[str, list[str]] = {}
    for name, words in lists.items():
        if name in NOUNS:
            classes |= {f"{name}.one": list(words), f"{name}.many": [plural(word, irregular) for word in words]}
        elif name in VERBS:
            classes |= {f"{name}.one": [third_person(word) for word in words], f"{name}.many": list(words)}
        else:
            classes[name] = list(words)
    return classes


def _class_lists(lexicon: Mapping[str, Any], topic_share: float, leak: float) -> dict[str, list[list[tuple]]]:
    """Class → for each topic, the mixture it draws from, as (share, words) pairs."""
    irregular = lexicon["irregular_plurals"]
    own = [_inflected(lists, irregular) for lists in lexicon["topics"].values()]
    general = _inflected(lexicon["general"], irregular)
    mixtures: dict[str, list[list[tuple]]] = {}
    for name in general:
        leaked = [(leak / len(own), lists[name]) for lists in own]
        rest = (1 - topic_share - leak, general[name])
        mixtures[name] = [[(topic_share, lists[name]), rest, *leaked] for lists in own]
    for name, words in _inflected(lexicon["closed"], irregular).items():
        mixtures[name] = [[(1.0, words)]] * len(own)
    return mixtures


def _emission(lists: Mapping[str, list[list[tuple]]], classes: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """p(word | topic, class), ``[topics, classes, words]``; zero for the class ``"name"``, which is the urn's."""
    index = {word: number for number, word in enumerate(vocabulary)}
    topics = len(next(iter(lists.values())))
    emission = np.zeros((topics, len(classes), len(vocabulary)))
    for name, mixtures in lists.items():
        for topic, mixture in enumerate(mixtures):
            for share, words in mixture:
                places = [index[word] for word in words]
                np.add.at(emission[topic, classes.index(name)], places, share * _zipf(len(words)))
    return emission


def _zipf(length: int) -> np.ndarray:
    """Probabilities proportional to 1, 1/2, 1/3, …"""
    weights = 1 / np.arange(1, length + 1)
    return weights / weights.sum()


def _draw(rng: np.random.Generator, probabilities: np.ndarray) -> int:
    """A number below len(probabilities): one uniform draw, so that a seed means the same on every machine."""
    cumulative = np.cumsum(probabilities)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _draw_name(rng: np.random.Generator, urn: NameUrn) -> str:
    if rng.random() < urn.alpha / (urn.alpha + len(urn.seen)):
        name = list(urn.base)[_draw(rng, np.array(list(urn.base.values())))]
    else:
        name = urn.seen[int(rng.random() * len(urn.seen))]
    urn.add(name)
    return name


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: ``--write FOLDER`` regenerates the files of ``data/toy``.

    Args:
        arguments: of the command line; None takes the program's own.

    Example:
        >>> from awdlib.toy_language import main
        >>> main(["--write", "no/such/folder"])
        Traceback (most recent call last):
            ...
        SystemExit: 2
    """
    parser = argparse.ArgumentParser(prog="python -m awdlib.toy_language", description="Regenerate the toy language.")
    parser.add_argument("--write", type=Path, required=True, metavar="FOLDER", help="an existing folder: data/toy")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    try:
        print(json.dumps(write(options.write, options.seed), indent=2))
    except (ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
