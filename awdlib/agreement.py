"""Number agreement over distance: does a model still know, at the verb, how many the subject was?

Linzen, Dupoux and Goldberg 2016 asked this of English. In the toy language it can be asked without doubt, since the
generator knows which verb belongs to which noun: "the *sailor* that the hungry gulls near the harbour follow *hoists* a
sail". `draw_exam` writes fresh text and lists its verbs; `marks` says which of them a model got right, that is, where
it gave all verb forms of the subject's number together more probability than all of the other. Guessing is right half
of the time, the grammar itself always.
"""

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.batches import fixed_windows
from awdlib.corpora import Corpus
from awdlib.evaluation import check_vocabulary, columns_for
from awdlib.model import LanguageModel, at_least_single
from awdlib.toy_floor import EOS
from awdlib.toy_language import Step, ToyLanguage

VERBS = ("verb", "move", "say", "tell", "be")  #: classes of words that agree with their subject
NOUNS = ("being", "thing", "place", "name")  #: classes of words that may come between, and mislead
NUMBERS = ("one", "many")  #: as the grammar has them


class Verb(NamedTuple):
    """A main verb of a text, and where its subject is.

    Example:
        >>> from awdlib.agreement import Verb
        >>> words = "the sailor that the gulls follow hoists a sail <eos>".split()
        >>> verb = Verb(position=6, distance=5, number="one", attractors=1)
        >>> words[verb.position - verb.distance], words[verb.position]
        ('sailor', 'hoists')
    """

    position: int  #: of the verb in the text
    distance: int  #: words from the subject's noun to the verb; 1 for neighbours
    number: str  #: of the subject: "one" or "many"
    attractors: int  #: nouns and names between the two that are of the other number


class Exam(NamedTuple):
    """A text that nobody has trained on, its verbs, and the verb forms of each number; `draw_exam` makes it."""

    words: list[str]  #: the text
    verbs: list[Verb]  #: of the text, in order
    forms: dict[str, list[str]]  #: under "one" and "many" the words that can only be verbs of this number


def draw_exam(language: ToyLanguage, corpus: Corpus, tokens: int, seed: int) -> Exam:
    """Fresh text from the toy language, and the questions that it asks.

    The questions are the main verbs whose subject is a noun that shows its number. Verbs inside relative clauses are
    left out, and so are subjects that are names (always one) or that look the same in both numbers ("sheep"). Documents
    with a word that the corpus does not know (a handful of rare names) are thrown away.

    Args:
        language: draws the text.
        corpus: the toy language; its vocabulary is that of the models to be asked.
        tokens: draw at least so many words.
        seed: of the draw; the shipped text has that of `awdlib.toy_language.SEED`.

    Raises:
        ValueError: tokens is less than 1, or the seed negative.

    Example:
        >>> from awdlib.agreement import draw_exam
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.toy_language import toy_language
        >>> words, verbs, _ = draw_exam(toy_language(), load_corpus("toy"), tokens=1000, seed=3)
        >>> verb = max(verbs, key=lambda verb: verb.distance)
        >>> " ".join(words[verb.position - verb.distance : verb.position + 1])
        'pianists that two rhythmic dancers near the stage rehearse are'
        >>> verb.number, verb.distance, verb.attractors  # the stage is one
        ('many', 9, 1)
    """
    require.whole_number("seed", seed, 0)
    steps = _known(language.derive(np.random.default_rng(seed), tokens), corpus.vocabulary.ids)
    verbs = list(_find_verbs(steps, _same_in_both(language)))
    return Exam([step.word for step in steps], verbs, _forms(language))


def _known(steps: Sequence[Step], known: Container[str]) -> list[Step]:
    """The documents of a text of which every word is known."""
    documents: list[list[Step]] = [[]]
    for step in steps:
        if step.state == "document":
            documents.append([])
        documents[-1].append(step)
    return [step for document in documents if all(step.word in known for step in document) for step in document]


def _words(language: ToyLanguage, kinds: Sequence[str], number: str) -> set[str]:
    """All words of some classes in this number, of whatever topic."""
    rows = [language.arcs.classes.index(f"{kind}.{number}") for kind in kinds]
    able = np.flatnonzero(language.emission[:, rows].any(axis=(0, 1)))
    return {language.vocabulary[word] for word in able}


def _find_verbs(steps: Sequence[Step], without_number: set[str]) -> Iterator[Verb]:
    subject, between = None, 0  # where the noun is; nouns since then that are of the other number
    for position, step in enumerate(steps):
        kind, _, number = step.word_class.partition(".")
        state = step.state.partition(".")[0]
        if kind in VERBS and state in ("after_subject", "predicate", "verb_phrase"):
            if subject is not None and steps[subject].word not in without_number:
                yield Verb(position, position - subject, number, between)
            subject = None
        elif kind in NOUNS and state == "subject_noun":
            subject, between = position, 0
        elif kind in NOUNS and subject is not None:
            between += (number or "one") != steps[subject].word_class.partition(".")[2]


def stretched_exam(language: ToyLanguage, corpus: Corpus, adjectives: int, count: int, seed: int) -> Exam:
    """Sentences whose subject and verb are as far apart as one likes, for distances that free text hardly ever reaches.

    Each is "<eos> <eos> the *sailor* that the hungry … gulls follow *hoists*": the grammar allows any number of
    adjectives, and seldom writes more than two. The noun between is of the other number, and so is its verb.

    Args:
        language: draws the words.
        corpus: the toy language.
        adjectives: in front of the noun between; the verb is 5 words further from its subject.
        count: sentences, half of them with a singular subject.
        seed: of the draw.

    Returns:
        an exam of ``count`` sentences of equal length, one after the other: ``singular_share(…, batch_size=count)``
        reads each from a zero state.

    Raises:
        ValueError: count is not positive, or adjectives or the seed negative.

    Example:
        >>> from awdlib.agreement import stretched_exam
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.toy_language import toy_language
        >>> exam = stretched_exam(toy_language(), load_corpus("toy"), adjectives=2, count=2, seed=4)
        >>> print(*exam.words[: len(exam.words) // 2])
        <eos> <eos> the merchant that the striped busy merchants count sells
        >>> exam.verbs[0].distance
        7
    """
    for name, given, least in (("adjectives", adjectives, 0), ("count", count, 1), ("seed", seed, 0)):
        require.whole_number(name, given, least)
    rng, length = np.random.default_rng(seed), adjectives + 9
    same, forms = _same_in_both(language), _forms(language)
    words: list[str] = []
    verbs: list[Verb] = []
    for number in range(count):
        topic, mine = int(rng.integers(len(language.topics))), NUMBERS[number % 2]
        other = NUMBERS[1 - number % 2]
        classes = [f"being.{mine}", *["adjective"] * adjectives, f"being.{other}", f"verb.{other}", f"verb.{mine}"]
        subject, *between, inner, inner_verb, verb = (_word(language, rng, topic, name, same) for name in classes)
        words += [EOS, EOS, "the", subject, "that", "the", *between, inner, inner_verb, verb]
        verbs.append(Verb((number + 1) * length - 1, adjectives + 5, mine, attractors=1))
    return Exam(words, verbs, forms)


def _word(language: ToyLanguage, rng: np.random.Generator, topic: int, word_class: str, without: set[str]) -> str:
    """A word of a class in a topic, as the language draws it, but none of some."""
    chances = language.emission[topic, language.arcs.classes.index(word_class)].copy()
    chances[[language.index[word] for word in without]] = 0
    return language.vocabulary[int(rng.choice(len(chances), p=chances / chances.sum()))]


def _forms(language: ToyLanguage) -> dict[str, list[str]]:
    """Under each number the words that can be verbs of it and not of the other."""
    one, many = (_words(language, VERBS, number) for number in NUMBERS)
    return {"one": sorted(one - many), "many": sorted(many - one)}


def _same_in_both(language: ToyLanguage) -> set[str]:
    """Nouns that can be one or many: "sheep"."""
    one, many = (_words(language, ("being", "thing"), number) for number in NUMBERS)
    return one & many


@torch.no_grad()
def singular_share(model: LanguageModel, corpus: Corpus, exam: Exam, batch_size: int = 1) -> Tensor:
    """Of the probability that a model gives to verb forms before each word, the share of those in the singular.

    Args:
        model: left in the mode it was found in.
        corpus: whose vocabulary it was trained with.
        exam: the text to read, from `draw_exam`.
        batch_size: columns that the text is cut into; 1 is exact, more is faster. A column's first word has no
            prediction, and neither have the words left over at the text's end: theirs is not-a-number.

    Returns:
        (number of words,), on the CPU.

    Raises:
        ValueError: the corpus is not the toy language, or not the model's; batch_size is not positive.

    Example:
        A model with all weights at 0 finds every form equally likely:

        >>> import torch
        >>> from awdlib.agreement import draw_exam, singular_share
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> from awdlib.toy_language import toy_language
        >>> corpus = load_corpus("toy")
        >>> exam = draw_exam(toy_language(), corpus, tokens=100, seed=3)
        >>> model = LanguageModel(ModelConfig(vocab_size=len(corpus.vocabulary), embedding_size=4, hidden_size=4))
        >>> for weight in model.parameters():
        ...     _ = torch.nn.init.zeros_(weight)
        >>> share, forms = singular_share(model, corpus, exam), {n: len(exam.forms[n]) for n in exam.forms}
        >>> round(share[1].item(), 4) == round(forms["one"] / (forms["one"] + forms["many"]), 4)
        True
    """
    check_vocabulary(model, corpus)
    columns = columns_for(model, corpus.vocabulary.encode(exam.words), batch_size)
    one, many = (corpus.vocabulary.encode(exam.forms[number]).to(columns.device) for number in NUMBERS)
    was_training = model.training
    model.eval()
    try:
        states, found = model.initial_states(batch_size), []
        for inputs, _ in fixed_windows(columns, 70):
            logits, states, _, _ = model(inputs, states)
            logits = at_least_single(logits)
            found.append((logits[..., one].logsumexp(-1) - logits[..., many].logsumexp(-1)).sigmoid())
    finally:
        model.train(was_training)
    nothing = torch.full((1, batch_size), torch.nan, device=columns.device)
    by_column = torch.cat([nothing, *found]).t().flatten().cpu()
    return torch.cat([by_column, torch.full((len(exam.words) - len(by_column),), torch.nan)])


def bigram_share(corpus: Corpus, exam: Exam) -> Tensor:
    """As `singular_share`, of a model that sees nothing but the word before: counted in the training text.

    Where the word before was rarely followed by a verb, the share of all verbs counts as one verb more.

    Args:
        corpus: whose training text is counted.
        exam: the text to read, from `draw_exam`.

    Returns:
        (number of words,).

    Example:
        Next to its subject it knows the verb's number:

        >>> from awdlib.agreement import bigram_share, draw_exam, marks
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.toy_language import toy_language
        >>> corpus = load_corpus("toy")
        >>> exam = draw_exam(toy_language(), corpus, tokens=20_000, seed=3)
        >>> right = marks(bigram_share(corpus, exam), exam)
        >>> near = [verb.distance == 1 for verb in exam.verbs]
        >>> [round(right[part].nanmean().item(), 2) for part in (near, [not one for one in near])]
        [0.97, 0.57]
    """
    sizes, counts = len(corpus.vocabulary), []
    for number in NUMBERS:
        is_form = torch.zeros(sizes)
        is_form[corpus.vocabulary.encode(exam.forms[number])] = 1
        follows = is_form[corpus.train[1:]].double()
        counts.append(torch.zeros(sizes, dtype=torch.float64).index_add(0, corpus.train[:-1], follows))
    overall = counts[0].sum() / (counts[0].sum() + counts[1].sum())
    after = (counts[0] + overall) / (counts[0] + counts[1] + 1)  # of each word: the share behind it
    before = corpus.vocabulary.encode(exam.words[:-1])
    return torch.cat([torch.full((1,), torch.nan, dtype=torch.float64), after[before]])


def marks(share: Tensor, exam: Exam) -> Tensor:
    """Which verbs were expected in the right number.

    Args:
        share: of the singular, from `singular_share` or `bigram_share`.
        exam: what they were asked.

    Returns:
        (number of verbs,), 1 where the right number had more probability than the wrong one, 0 where it had not,
        not-a-number where there was no prediction.

    Raises:
        ValueError: the share is not one a word.

    Example:
        >>> import torch
        >>> from awdlib.agreement import Exam, Verb, marks
        >>> exam = Exam("gulls that follow ida sing".split(), [Verb(4, 4, "many", 1)], {})
        >>> [marks(torch.full((5,), share), exam).item() for share in (0.2, 0.8)]
        [1.0, 0.0]
    """
    require.shape("share", share, (len(exam.words),), "one a word of the exam")
    given = share[[verb.position for verb in exam.verbs]]
    singular = torch.tensor([verb.number == "one" for verb in exam.verbs], dtype=torch.bool)
    right = torch.where(singular, given > 0.5, given < 0.5).to(given.dtype)
    return torch.where(given.isnan(), given, right)
