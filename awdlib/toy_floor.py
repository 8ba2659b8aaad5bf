"""The lowest perplexity that any model can reach on a toy language, computed exactly.

A toy language is a hidden Markov model with words on its arcs. Its hidden state is a pair (topic z, grammatical state
s); an arc leaves state s, emits a word of some class, and arrives at state s'. No model sees z or s, so the best
possible prediction of the next word weighs every pair by its probability given the words so far. That weighing is
the forward algorithm (Rabiner 1989, *A tutorial on hidden Markov models*, section III A). With the belief
``b(z, s) = p(z, s | w_1 .. w_t)``, one step is::

    flow(z, a)  =  b(z, source of a) · p(a) · p(w | class of a, z)      for each arc a that can emit w = w_{t+1}
    p(w | w_1 .. w_t)  =  sum of flow over z and a
    b'(z, s')   =  sum of flow(z, a) over the arcs a into s',  divided by p(w | w_1 .. w_t)

Recurring names come from an urn whose contents are visible words (`NameUrn`), so p(name) needs no weighing. Nothing
here is approximate. The probability *given* the hidden state is higher, since the generator knows what no model sees:
its perplexity is not the floor.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from awdlib import _require as require

EOS = "<eos>"  #: the word that ends a sentence; after another one, the document


@dataclass(frozen=True, kw_only=True)
class Arcs:
    """The arcs of the grammar, as four arrays of one entry an arc, and the places their numbers stand for.

    Args:
        states: names of the grammatical states; ``"document"`` (a document begins) is among them.
        classes: names of the word classes.
        source: number of the state that each arc leaves, int ``[arcs]``.
        destination: number of the state at which it arrives, int ``[arcs]``.
        word_class: numbers of classes, int ``[arcs]``.
        probability: p(arc | its source), ``[arcs]``; sums to one over the arcs that leave a state.

    Example:
        A grammar that sings until a coin says stop:

        >>> from awdlib.toy_floor import Arcs
        >>> arcs = Arcs.from_grammar('''
        ...     document  1.0 sing
        ...     sing      0.75 la sing | 0.25 <eos> document
        ... ''')
        >>> for source, word, p, destination in zip(arcs.source, arcs.word_class, arcs.probability, arcs.destination):
        ...     print(arcs.states[source], "writes", arcs.classes[word], p, "and goes to", arcs.states[destination])
        document writes la 0.75 and goes to sing
        document writes <eos> 0.25 and goes to document
        sing writes la 0.75 and goes to sing
        sing writes <eos> 0.25 and goes to document
    """

    states: Sequence[str]
    classes: Sequence[str]
    source: np.ndarray
    destination: np.ndarray
    word_class: np.ndarray
    probability: np.ndarray

    @classmethod
    def from_grammar(cls, grammar: str) -> "Arcs":
        """Read a grammar's text (`awdlib.toy_language` explains it); moves that write nothing are followed through.

        Args:
            grammar: a line a state.

        Returns:
            the arcs; state 0 is ``"document"``.

        Raises:
            ValueError: a line has another form, the probabilities of a state do not sum to one, a state has no line, or
                leads to itself without a word.
        """
        require.text("grammar", grammar)
        rules = _read_rules(grammar)
        rows: list[tuple[int, int, str, float]] = []
        states = ["document"]
        for state in states:  # grows while it is read: a state is listed when a word first leads to it
            for probability, word_class, follower in _ways_to_write(rules, state):
                if follower not in states:
                    states.append(follower)
                rows.append((states.index(state), states.index(follower), word_class, probability))
        names = [name for _, _, name, _ in rows]
        source, destination, chances = (np.array([row[column] for row in rows]) for column in (0, 1, 3))
        classes = sorted(set(names))
        return cls(
            states=states,
            classes=classes,
            source=source,
            destination=destination,
            word_class=np.array([classes.index(name) for name in names]),
            probability=chances,
        )


def _read_rules(grammar: str) -> dict[str, list[list[str]]]:
    """State → its options, each [probability, class, next state] or [probability, next state]; N and M filled in."""
    rules: dict[str, list[list[str]]] = {}
    for line in filter(None, map(str.strip, grammar.splitlines())):
        for n in ("one", "many") if ".N" in line else ("",):
            for m in ("one", "many") if ".M" in line else ("",):
                state, _, rest = line.replace(".N", f".{n}").replace(".M", f".{m}").partition(" ")
                rules[state] = [_option(option, line) for option in rest.split("|")]
    for state, options in rules.items():
        if abs(sum(float(option[0]) for option in options) - 1) > 1e-9:
            raise ValueError(f"the probabilities of state {state!r} do not sum to one: correct its line of the grammar")
    return rules


def _option(text: str, line: str) -> list[str]:
    words = text.split()
    try:
        if len(words) not in (2, 3) or not 0 < float(words[0]) <= 1:
            raise ValueError
    except ValueError:
        form = "STATE PROBABILITY [CLASS] STATE | ..., each probability in (0, 1]"
        raise ValueError(f"the grammar's line {line!r} must have the form {form}") from None
    return words


def _ways_to_write(
    rules: Mapping[str, list[list[str]]], state: str, through: tuple[str, ...] = ()
) -> Iterator[tuple[float, str, str]]:
    """(probability, class, next state) of the ways to write one word from ``state``, reached ``through`` others."""
    if state in through:
        raise ValueError(f"state {state!r} leads to itself without a word: write one on the way")
    if state not in rules:
        raise ValueError(f"state {state!r} has no line in the grammar: add one")
    for probability, *word_class, destination in rules[state]:
        if word_class:
            yield float(probability), word_class[0], destination
        else:
            for further, name, end in _ways_to_write(rules, destination, (*through, state)):
                yield float(probability) * further, name, end


@dataclass
class NameUrn:
    """The names of one document: Hoppe's urn (1984). What it holds is visible to every reader of the text.

    With probability alpha / (alpha + n) the next name is drawn from ``base``, else it is one of the n names already
    seen in this document, each occurrence being equally likely.

    Args:
        base: name -> probability; they sum to one.
        alpha: how readily new names come.
        seen: the names of this document so far, in order.
        counts: the same, counted.

    Example:
        A name that was seen is the likelier one from then on, and a new document forgets it:

        >>> from awdlib.toy_floor import NameUrn
        >>> urn = NameUrn({"anna": 0.5, "ida": 0.5}, alpha=1.0)
        >>> urn.add("anna")
        >>> urn.probability("anna"), urn.probability("ida"), urn.empty().probability("anna")
        (0.75, 0.25, 0.5)
    """

    base: dict[str, float]
    alpha: float
    seen: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)

    def probability(self, name: str) -> float:
        """p(the next name is ``name`` | the names seen).

        Args:
            name: one of ``base``.

        Raises:
            ValueError: it is not a name of this urn.
        """
        if name not in self.base:
            raise ValueError(f"{name!r} is not a name of this urn: use one of {require.shown(list(self.base))}")
        return (self.alpha * self.base[name] + self.counts[name]) / (self.alpha + len(self.seen))

    def add(self, name: str) -> None:
        """Note that a name was seen once more.

        Args:
            name: one of ``base``.
        """
        self.seen.append(name)
        self.counts[name] += 1

    def empty(self) -> "NameUrn":
        """The urn at the start of the next document."""
        return NameUrn(self.base, self.alpha)


class ExactPredictor:
    """p(next word | all words before it) in a hidden Markov text, by forward filtering.

    Args:
        vocabulary: the word types; ``"<eos>"`` is among them.
        topic_prior: p(topic) at the start of a document, ``[topics]``.
        arcs: the grammar.
        emission: p(word | topic, class), ``[topics, classes, words]``; the row of the class ``"name"`` is ignored.
        names: an empty urn, which gives p(name) for the class ``"name"``.

    Example:
        A coin that is fair, or has two heads. Before it is tossed nobody knows which; each head makes it likelier that
        there is no other side. (Half of the probability is the end's.)

        >>> import numpy as np
        >>> from awdlib.toy_floor import Arcs, ExactPredictor, NameUrn
        >>> arcs = Arcs.from_grammar("document 1.0 toss\\ntoss 0.5 coin toss | 0.5 <eos> document")
        >>> fair, loaded = [[1, 0, 0], [0, 0.5, 0.5]], [[1, 0, 0], [0, 1, 0]]
        >>> words, prior = ["<eos>", "heads", "tails"], np.array([0.5, 0.5])
        >>> predictor = ExactPredictor(words, prior, arcs, np.array([fair, loaded]), NameUrn({}, alpha=1.0))
        >>> [round(predictor.next_word_probabilities(["heads"] * n)[1], 3).item() for n in (0, 1, 2, 9)]
        [0.375, 0.417, 0.45, 0.5]
    """

    def __init__(
        self, vocabulary: Sequence[str], topic_prior: np.ndarray, arcs: Arcs, emission: np.ndarray, names: NameUrn
    ):
        self.vocabulary = list(vocabulary)
        self.topic_prior = topic_prior
        self.arcs = arcs
        self.emission = emission
        self.names = names
        self._step_cache: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    @cached_property
    def index(self) -> dict[str, int]:
        """From a word to its number in ``vocabulary``."""
        return {word: number for number, word in enumerate(self.vocabulary)}

    def next_word_probabilities(self, prefix: Sequence[str]) -> np.ndarray:
        """p(w | prefix) for every word w: the best prediction that can be made.

        Args:
            prefix: the words so far, from the start of a document; it may span documents, and may be empty.

        Returns:
            Probabilities ``[len(vocabulary)]``, which sum to one.

        Raises:
            ValueError: a word is unknown, or cannot stand where it stands.
        """
        belief, urn, _ = self._filter(prefix)
        leaving = belief[:, self.arcs.source] * self.arcs.probability  # [topics, arcs]
        class_of_arc = np.eye(len(self.arcs.classes))[self.arcs.word_class]  # [arcs, classes]
        class_mass = leaving @ class_of_arc  # [topics, classes]
        if "name" not in self.arcs.classes:
            return np.einsum("zc,zcw->w", class_mass, self.emission)
        name_mass = class_mass[:, self.arcs.classes.index("name")].sum()
        class_mass[:, self.arcs.classes.index("name")] = 0.0
        probabilities = np.einsum("zc,zcw->w", class_mass, self.emission)
        for name in urn.base:
            probabilities[self.index[name]] += name_mass * urn.probability(name)
        return probabilities

    def log_probabilities(self, words: Sequence[str]) -> np.ndarray:
        """ln p(w_t | all words before w_t), in nats, for every word of a text that begins with a document.

        Args:
            words: the text; its end may be anywhere.

        Returns:
            ``[len(words)]``.

        Raises:
            ValueError: the text is empty, a word is unknown, or a word cannot stand where it stands.
        """
        if len(words) == 0:
            raise ValueError("words is empty: give a text of at least one word")
        return self._filter(words)[2]

    def floor(self, words: Sequence[str]) -> float:
        """The perplexity of the best possible model on a text: exp(-mean ln p), over all words but the first.

        The first word of a stream is never a target: a model reads it before it predicts anything.

        Args:
            words: the text, from the start of a document.

        Returns:
            a perplexity, at least 1.

        Raises:
            ValueError: fewer than two words, or as for `log_probabilities`.
        """
        if len(words) < 2:
            raise ValueError(f"words has length {len(words)}: a floor needs at least 2 (the first is not predicted)")
        return math.exp(-self.log_probabilities(words)[1:].mean())

    def _filter(self, words: Iterable[str]) -> tuple[np.ndarray, NameUrn, np.ndarray]:
        """The belief ``[topics, states]`` and the urn after ``words``, and ln p of each word."""
        document = self.arcs.states.index("document")
        fresh = np.zeros((len(self.topic_prior), len(self.arcs.states)))
        fresh[:, document] = self.topic_prior
        belief, urn, log_probabilities = fresh, self.names.empty(), []
        for position, word in enumerate(words):
            source, weight, arrives = self._step(word)
            flow = belief[:, source] * weight  # [topics, arcs that emit word]
            if word in urn.base:
                flow = flow * urn.probability(word)
                urn.add(word)
            probability = flow.sum()
            if probability == 0.0:
                raise ValueError(f"{word!r} at position {position} cannot follow: give a text drawn from this language")
            log_probabilities.append(math.log(probability))
            belief = flow @ arrives / probability
            if belief[:, document].any():
                if np.delete(belief, document, axis=1).any():
                    raise ValueError(f"the document may end at position {position}, or not: make its end visible")
                belief, urn = fresh, self.names.empty()
        return belief, urn, np.array(log_probabilities)

    def _step(self, word: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The a arcs that can emit ``word``.

        Returns:
            Their sources ``[a]``, p(arc and word | source, topic) ``[topics, a]``, and their arrivals, one-hot
            ``[a, states]``.
        """
        if word not in self._step_cache:
            if word not in self.index:
                raise ValueError(f"{word!r} is not a word of this language: use only words of its vocabulary")
            arcs = self.arcs
            if word in self.names.base:  # the urn's factor changes from word to word: the filter multiplies by it
                emits = np.array([[float(name == "name") for name in arcs.classes]] * len(self.topic_prior))
            else:
                emits = self.emission[:, :, self.index[word]]  # [topics, classes]
            able = np.flatnonzero(np.any(emits, axis=0)[arcs.word_class])
            weight = arcs.probability[able] * emits[:, arcs.word_class[able]]
            arrives = np.eye(len(arcs.states))[arcs.destination[able]]
            self._step_cache[word] = (arcs.source[able], weight, arrives)
        return self._step_cache[word]
