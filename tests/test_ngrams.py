"""N-gram models: against dictionaries and exact fractions, against textbook formulas, and on texts that are odd."""

from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from awdlib.corpora import load_corpus
from awdlib.ngrams import KneserNey


def tables(text, order):
    """For n = 1 to order, {context: {word: count}}, counts below the highest order being of different words before."""
    found = []
    for n in range(1, order + 1):
        longer = {tuple(text[i : i + n + 1]) for i in range(len(text) - n)}
        grams = [gram[1:] for gram in longer]
        if n == order:
            grams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
        found.append({})
        for *context, word in grams:
            found[-1].setdefault(tuple(context), Counter())[word] += 1
    return found


def by_hand(word, context, counted, discounts, vocab_size):
    """The recursion of the module's introduction; discounts[n][c] for a count of c (3 for more)."""
    if context is None:
        return Fraction(1, vocab_size)
    below = by_hand(word, context[1:] if context else None, counted, discounts, vocab_size)
    followers = counted[len(context)].get(context)
    if not followers:
        return below
    taken = discounts[len(context)]
    total = sum(followers.values())
    freed = sum(taken[min(count, 3)] for count in followers.values())
    return (followers[word] - taken[min(followers[word], 3)] + freed * below) / total


@given(st.lists(st.integers(0, 3), min_size=5, max_size=30), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_it_is_the_recursion_over_dictionaries_and_sums_to_one(text, order):
    size, discount = 5, Fraction(3, 4)  # the last word never occurs
    model = KneserNey(text, size, order, discount=0.75)
    counted, discounts = tables(text, order), [[0, *[discount] * 3]] * order
    for length in range(order):
        for context in product(range(size), repeat=length):
            exact = [by_hand(word, context, counted, discounts, size) for word in range(size)]
            assert sum(exact) == 1
            np.testing.assert_allclose(model.next_word_probabilities(context), [float(p) for p in exact], rtol=1e-9)


@pytest.mark.parametrize("modified", [False, True])
def test_estimated_discounts_are_those_of_chen_and_goodman(modified):
    corpus = load_corpus("toy")
    model = KneserNey(corpus.train, len(corpus.vocabulary), 3, modified=modified)
    for counted, level in zip(tables(corpus.train.tolist(), 3), model.levels, strict=True):
        n = Counter(count for followers in counted.values() for count in followers.values())
        y = n[1] / (n[1] + 2 * n[2])
        right = [0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))] if modified else [0, y, y, y]
        np.testing.assert_allclose(level.discounts, right)


def test_modified_discounts_are_the_recursion_too():
    corpus = load_corpus("toy")
    model = KneserNey(corpus.train, len(corpus.vocabulary), 3, modified=True)
    counted, discounts = tables(corpus.train.tolist(), 3), [level.discounts.tolist() for level in model.levels]
    text = corpus.valid[:60].tolist()
    expected = [
        by_hand(word, tuple(text[max(0, place - 2) : place]), counted, discounts, len(corpus.vocabulary))
        for place, word in enumerate(text)
    ]
    np.testing.assert_allclose(model.probabilities(text), [float(p) for p in expected], rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_a_text_at_once_is_its_words_one_by_one(order):
    corpus = load_corpus("toy")
    model = KneserNey(corpus.train, len(corpus.vocabulary), order)
    text = corpus.valid[:80]
    one_by_one = [model.next_word_probabilities(text[:place])[text[place]] for place in range(len(text))]
    np.testing.assert_allclose(model.probabilities(text), one_by_one, rtol=1e-12)
    for place in (0, 1, 7, 50):
        assert model.next_word_probabilities(text[:place]).sum() == pytest.approx(1, abs=1e-9)


def test_after_a_context_that_only_ended_the_text_the_shorter_one_speaks():
    text = [0, 1, 0, 1, 2]  # nothing follows 2, nor 1 2
    model = KneserNey(text, vocab_size=3, order=3, discount=0.5)
    below = KneserNey(text, vocab_size=3, order=3, discount=0.5).next_word_probabilities([])
    np.testing.assert_allclose(model.next_word_probabilities([1, 2]), below)
    for word in range(3):
        assert model.probabilities([1, 2, word])[-1] == pytest.approx(below[word])


def test_a_word_that_never_occurred_has_a_probability_and_so_has_any_word_after_it():
    model = KneserNey([0, 1, 0, 1, 2, 0, 1], vocab_size=4, order=3, discount=0.5)
    assert (model.next_word_probabilities([0, 3]) > 0).all() and model.probabilities([3, 3, 0, 3]).min() > 0


def test_where_nothing_can_be_estimated_it_is_one_half():
    assert KneserNey([0, 0, 0, 0, 0], vocab_size=1, order=1).levels[0].discounts.tolist() == [0, 0.5, 0.5, 0.5]
    more = KneserNey([0, 1, 1], vocab_size=2, order=1, modified=True)
    assert more.levels[0].discounts.tolist() == [0, 0.5, 1.0, 1.5]


def test_tensors_arrays_and_lists_are_one():
    text = [0, 1, 2, 0, 1]
    models = [KneserNey(kind(text), 3, 2, discount=0.5) for kind in (list, np.array, torch.tensor)]
    for kind, model in zip((torch.tensor, list, np.array), models, strict=True):
        np.testing.assert_array_equal(model.probabilities(kind(text)), models[0].probabilities(text))


@pytest.mark.parametrize(("arguments", "message"), [
    (([0, 1], 2, 0), "order is 0"), (([0, 1], 0, 1), "vocab_size is 0"), (([0], 2, 2), "the text has 1 tokens"),
    (([0, 2], 2, 1), "ids from 0 to 2"), (([0, -1], 2, 1), "ids from -1 to 0"), (([], 2, 1), "at least one token id"),
    (([0.5, 1.0], 2, 1), "at least one token id"), ((torch.zeros(2, 2, dtype=torch.long), 2, 1), "at least one token"),
])  # fmt: skip
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        KneserNey(*arguments)


@pytest.mark.parametrize("discount", [0, 1.5, -0.1])
def test_a_discount_is_above_0_and_at_most_1(discount):
    with pytest.raises(ValueError, match="discount is"):
        KneserNey([0, 1], 2, 1, discount=discount)


def test_bad_texts_are_named_when_they_are_read():
    model = KneserNey([0, 1, 0], 2, 2, discount=0.5)
    for call in (model.probabilities, model.next_word_probabilities):
        with pytest.raises(ValueError, match="vocab_size is 2"):
            call([0, 2])
    with pytest.raises(ValueError, match="at least one token id"):
        model.probabilities([])
