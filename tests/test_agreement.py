"""Agreement over distance: which verbs are asked for, what a model's answer is, and that the grammar knows them all."""

import math
import re

import numpy as np
import pytest
import torch

from awdlib.agreement import Exam, Verb, bigram_share, draw_exam, marks, singular_share, stretched_exam
from awdlib.corpora import load_corpus
from awdlib.model import LanguageModel, ModelConfig
from awdlib.toy_language import toy_language

CORPUS, LANGUAGE = load_corpus("toy"), toy_language()
SAME = {"sheep", "deer", "salmon", "trout"}


@pytest.fixture(scope="module")
def exam():
    return draw_exam(LANGUAGE, CORPUS, tokens=6000, seed=3)


def sentence_before(exam, verb):
    """The words of the verb's document before it."""
    start = verb.position
    while start > 1 and exam.words[start - 2 : start] != ["<eos>", "<eos>"]:
        start -= 1
    return exam.words[(0 if start == 1 else start) : verb.position]


def test_the_grammar_itself_is_always_right_and_gives_the_wrong_number_nothing(exam):
    assert {verb.number for verb in exam.verbs} == {"one", "many"}
    for verb in exam.verbs[:150]:
        p = LANGUAGE.next_word_probabilities(sentence_before(exam, verb))
        mass = {number: sum(p[LANGUAGE.index[word]] for word in forms) for number, forms in exam.forms.items()}
        other = "many" if verb.number == "one" else "one"
        assert mass[verb.number] > 0.3 and mass[other] == 0, verb


def test_subject_and_verb_stand_where_it_says_and_show_their_number(exam):
    """Read off the words alone: nouns, verbs and their numbers are looked up in the lexicon's classes."""
    classes = {name: row for row, name in enumerate(LANGUAGE.arcs.classes)}

    def words_of(*names):
        able = LANGUAGE.emission[:, [classes[name] for name in names]].any(axis=(0, 1))
        return {LANGUAGE.vocabulary[word] for word in np.flatnonzero(able)}

    nouns = {number: words_of(f"being.{number}", f"thing.{number}") for number in ("one", "many")}
    assert nouns["one"] & nouns["many"] == SAME
    singular = {*LANGUAGE.names.base} | words_of("place")
    attracted = 0
    for verb in exam.verbs:
        other = "many" if verb.number == "one" else "one"
        subject = exam.words[verb.position - verb.distance]
        between = exam.words[verb.position - verb.distance + 1 : verb.position]
        assert subject in nouns[verb.number] - SAME and exam.words[verb.position] in exam.forms[verb.number]
        assert verb.distance == 1 or between[0] == "that" or len(between) == 1  # a relative clause, or "often"
        misleading = [w for w in between if w in nouns[other] | (singular if other == "one" else set())]
        assert verb.attractors <= len(misleading), "at most: a word such as sails may be a verb here"
        attracted += verb.attractors
    assert attracted > 20 and max(verb.distance for verb in exam.verbs) >= 8


def test_documents_with_words_that_no_model_knows_are_left_out():
    assert {*LANGUAGE.vocabulary} - {*CORPUS.vocabulary.ids}
    exam = draw_exam(LANGUAGE, CORPUS, tokens=30_000, seed=7)
    assert {*exam.words} <= {*CORPUS.vocabulary.ids} and len(exam.words) < 30_000
    assert exam.words[-2:] == ["<eos>", "<eos>"]


@pytest.mark.parametrize("adjectives", [0, 3, 10])
def test_stretched_sentences_are_of_the_language_and_as_far_apart_as_asked(adjectives):
    exam = stretched_exam(LANGUAGE, CORPUS, adjectives, count=6, seed=4)
    length = len(exam.words) // 6
    assert [verb.number for verb in exam.verbs] == ["one", "many"] * 3
    for number, verb in enumerate(exam.verbs):
        words = exam.words[number * length : (number + 1) * length]
        assert verb.position == (number + 1) * length - 1 and verb.distance == adjectives + 5
        assert re.fullmatch(rf"<eos> <eos> the \S+ that the (\S+ ){{{adjectives}}}\S+ \S+ \S+", " ".join(words))
        assert math.isfinite(LANGUAGE.log_probabilities(words[2:]).sum()), "the grammar can write it"
        assert words[-1] in exam.forms[verb.number] and words[-2] not in exam.forms[verb.number]
        p = LANGUAGE.next_word_probabilities(words[2:-1])
        assert not any(p[LANGUAGE.index[word]] for word in exam.forms["many" if verb.number == "one" else "one"])


def test_the_share_is_a_ratio_of_sums_of_softmax_probabilities(exam):
    torch.manual_seed(1)
    model = LanguageModel(ModelConfig(vocab_size=len(CORPUS.vocabulary), embedding_size=5, hidden_size=6))
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    short = Exam(exam.words[:203], [], exam.forms)
    share = singular_share(model, CORPUS, short, batch_size=2)
    assert model.training and share.isnan().nonzero().flatten().tolist() == [0, 101, 202]
    model.eval()
    for column in (0, 1):
        ids = CORPUS.vocabulary.encode(short.words[101 * column : 101 * column + 101])
        p = model(ids[:, None]).logits[:, 0].softmax(1)
        one, many = (p[:, CORPUS.vocabulary.encode(exam.forms[number])].sum(1) for number in ("one", "many"))
        expected = (one / (one + many)).detach()
        torch.testing.assert_close(share[101 * column + 1 : 101 * column + 101], expected[:-1])


def test_marks_tell_right_from_wrong_and_from_unasked():
    verbs = [
        Verb(1, 1, "one", 0),
        Verb(2, 1, "one", 0),
        Verb(3, 1, "many", 0),
        Verb(4, 1, "many", 0),
        Verb(0, 0, "one", 0),
    ]
    exam = Exam(list("abcde"), verbs, {})
    given = marks(torch.tensor([torch.nan, 0.9, 0.1, 0.9, 0.1]), exam)
    assert given[:4].tolist() == [1, 0, 0, 1] and given[4].isnan()
    assert marks(torch.full((5,), 0.5), exam).tolist() == [0] * 5, "as likely as the wrong one is not right"
    with pytest.raises(ValueError, match="one a word"):
        marks(torch.ones(4), exam)


def test_an_exam_without_verbs_has_no_marks():
    assert marks(torch.ones(2), Exam(["a", "b"], [], {})).shape == (0,)


def test_the_bigram_counts_what_follows_each_word(exam):
    words = CORPUS.vocabulary.decode(CORPUS.train)
    share = bigram_share(CORPUS, exam)
    one, many = ({*exam.forms[number]} for number in ("one", "many"))
    total = [sum(word in of for word in words[1:]) for of in (one, many)]
    place = exam.words.index("that") + 1
    after = [sum(w in of for v, w in zip(words, words[1:], strict=False) if v == "that") for of in (one, many)]
    expected = (after[0] + total[0] / sum(total)) / (sum(after) + 1)
    assert share[place].item() == pytest.approx(expected)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: draw_exam(LANGUAGE, CORPUS, 0, 1), "tokens is 0"),
    (lambda: draw_exam(LANGUAGE, CORPUS, 10, -1), "seed is -1"),
    (lambda: stretched_exam(LANGUAGE, CORPUS, -1, 4, 1), "adjectives is -1"),
    (lambda: stretched_exam(LANGUAGE, CORPUS, 1, 0, 1), "count is 0"),
])  # fmt: skip
def test_exams_refuse_what_they_cannot_draw(call, message):
    with pytest.raises(ValueError, match=message):
        call()
