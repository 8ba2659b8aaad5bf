"""The exercises on the continuous cache: the chapter's own solutions pass, each known wrong answer gets its hint."""

import json
import math

import numpy as np
import pytest
import torch
from test_exercises import BOOK, solutions

from awdlib.cache import TargetProbabilities, cache_probabilities
from awdlib.exercises.continuous_cache import check_by_hand, check_cache, check_improve

SHARE, MIXED, LOST = 5 / 8, 0.8 * 0.05 + 0.2 * 5 / 8, -math.log(0.8)


def test_the_solutions_of_the_chapter_pass():
    given = solutions("continuous-cache")
    assert {*given} == {1, 2, 3}
    assert check_by_hand(*(given[1][name] for name in ("in_cache", "mixed", "lost"))).kept
    assert check_improve(given[2]["improve"]).kept
    assert check_cache(given[3]["cache_of"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    def empty(*_): ...

    for report in (check_by_hand(..., ..., ...), check_by_hand(SHARE, ..., LOST), check_improve(empty),
                   check_cache(empty)):  # fmt: skip
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize("answer", [
    (np.float64(SHARE), torch.tensor(MIXED), np.float32(LOST)), (0.625, 0.165, 0.2231), (0.625, 0.165, 0.223),
])  # fmt: skip
def test_right_numbers_may_be_written_otherwise(answer):
    assert check_by_hand(*answer).kept


@pytest.mark.parametrize(("answer", "hint"), [
    ((4 / 8, MIXED, LOST), "both of its positions count"),
    ((1 / 8, MIXED, LOST), "both of its positions count"),
    ((3 / 8, MIXED, LOST), "that is the other word's"),
    ((5.0, MIXED, LOST), "divide by the sum"),
    ((2 / 3, MIXED, LOST), "that counts words"),
    ((math.log(4) / math.log(12), MIXED, LOST), "take their exponentials first"),
    ((0.9, MIXED, LOST), "4, 3 and 1"),
    ((SHARE, 0.2 * 0.05 + 0.8 * SHARE, LOST), "lambda is the cache's share"),
    ((SHARE, 0.05 + 0.2 * SHARE, LOST), "shrinks, by the factor"),
    ((SHARE, 0.125, LOST), "the model has its own"),
    ((SHARE, 0.04, LOST), "the cache has its own"),
    ((SHARE, 0.5, LOST), "(1 - lambda) p_model + lambda p_cache"),
    ((SHARE, MIXED, -LOST), "a loss is positive here"),
    ((SHARE, MIXED, 0.2), "logarithm of a ratio"),
    ((SHARE, MIXED, math.log2(1.25)), "that is in bits"),
    ((SHARE, MIXED, math.log10(1.25)), "not that to base 10"),
    ((SHARE, MIXED, math.log(5)), "it keeps the part 1 - lambda"),
    ((SHARE, MIXED, 0.22), "give three digits"),
    ((SHARE, MIXED, 0.8), "multiplied by 1 - lambda"),
])  # fmt: skip
def test_wrong_numbers_get_a_hint(answer, hint):
    report = check_by_hand(*answer)
    assert not report.kept and hint in repr(report) and len(report.broken()) == 1


@pytest.mark.parametrize("answer", ["0.625", "5/8", [SHARE], None, torch.tensor([SHARE, SHARE])])
def test_an_answer_that_is_no_number_is_refused(answer):
    with pytest.raises(ValueError, match="^in_cache is .*; it must be a number$"):
        check_by_hand(answer, MIXED, LOST)
    with pytest.raises(ValueError, match="mixed is nan; it must be a finite number"):
        check_by_hand(SHARE, math.nan, LOST)


def test_a_right_formula_with_a_wrong_number_in_it_is_told_so():
    report = check_by_hand(0.5, 0.8 * 0.05 + 0.2 * 0.5, LOST)
    assert len(report.broken()) == 2 and "the formula is right, the p_cache in it is not yet" in repr(report)


def shares(weight, model, cache):
    return weight * cache / ((1 - weight) * model + weight * cache)


@pytest.mark.parametrize("right", [
    lambda w, m, c: shares(w, m, c).mean(),
    lambda w, m, c: shares(w, m, c).mean().item(),
    lambda w, m, c: sum(w * b / ((1 - w) * a + w * b) for a, b in zip(m.tolist(), c.tolist(), strict=True)) / len(m),
    lambda w, m, c: np.mean(w * c.numpy() / ((1 - w) * m.numpy() + w * c.numpy())),
    lambda w, m, c: 1 - ((1 - w) * m / ((1 - w) * m + w * c)).mean(),
])  # fmt: skip
def test_right_steps_may_be_written_otherwise(right):
    assert check_improve(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda w, m, c: shares(w, m, c).sum(), "take the mean"),
    (lambda w, m, c: 1 - shares(w, m, c).mean(), "that is the model's share"),
    (lambda w, m, c: (c / (m + c)).mean(), "weigh the two probabilities"),
    (lambda w, m, c: (w * c).mean() / ((1 - w) * m + w * c).mean(), "not a ratio of sums"),
    (lambda w, m, c: ((1 - w) * m + w * c).mean(), "that is the mean mixed probability"),
    (lambda w, m, c: (c > m).double().mean(), "not with a vote"),
    (lambda w, m, c: (c / ((1 - w) * m + w * c)).mean(), "is lambda times p_cache"),
    (lambda w, m, c: shares(1 - w, m, c).mean(), "lambda is the cache's share"),
    (lambda w, m, c: shares(w, m, c).median(), "which part of each is the cache's"),
    (lambda w, m, c: c.mean(), "that is the mean p_cache"),
    (shares, "give one number"),
    (lambda w, m, c: 0.3, "which part of each is the cache's"),
    (lambda w, m, c: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_steps_get_a_hint(wrong, hint):
    report = check_improve(wrong)
    assert not report.kept and hint in repr(report)
    assert "two words" not in repr(report) or report.broken()[0] == "two words, by hand"  # seen at once


def test_the_step_repeated_finds_the_librarys_best_weight():
    improve = solutions("continuous-cache")[2]["improve"]
    generator = torch.Generator().manual_seed(9)
    model, cache = torch.rand(200, 1, generator=generator).double() * 0.3, torch.rand(200, 1, generator=generator)
    weight = 0.5
    for _ in range(500):
        weight = improve(weight, model, cache.double()).item()
    found = TargetProbabilities(model, cache.double(), torch.ones(200, 1, dtype=torch.bool))
    assert 0.02 < weight < 0.98 and weight == pytest.approx(found.best_weight(), abs=1e-3)


def cache_like(first, last, attention=lambda scores: scores.softmax(0), scale=None):
    """A cache by a loop, in which one thing may be wrong."""

    def cache_of(states, targets, window, theta):
        found = []
        for t in range(len(states)):
            past = torch.arange(first(t, window), last(t, len(states)))
            scores = attention((theta if scale is None else scale) * states[past] @ states[t])
            found.append(scores[targets[past] == targets[t]].sum())
        return torch.stack(found)

    return cache_of


def windowed(t, window):
    return max(0, t - window)


def until(t, _):
    return t


def whole_width(states, targets, window, theta):
    """Masks after the softmax: hidden keys, of the future as well, have their share of the sum."""
    position = torch.arange(len(states))
    visible = (position < position[:, None]) & (position >= position[:, None] - window)
    attention = (theta * states @ states.t()).softmax(1) * visible
    return (attention * (targets == targets[:, None])).sum(1)


@pytest.mark.parametrize(("wrong", "broken"), [
    (cache_like(windowed, lambda t, _: t + 1), "a word that comes for the first time has probability 0"),
    (cache_like(windowed, lambda t, n: min(n, t + 5)), "words to come change nothing"),
    (cache_like(lambda t, w: 0, until), "what has left the window changes nothing"),
    (cache_like(lambda t, w: max(0, t - w + 1), until), "the window's oldest position is still seen"),
    (cache_like(lambda t, w: max(0, t - w - 1), until), "any states and words: the equation"),
    (cache_like(windowed, until, lambda s: s.exp() / s.exp().sum()), "at a large theta nothing overflows"),
    (cache_like(windowed, until, lambda s: s.exp()), "one probability for each word that came"),
    (cache_like(windowed, until, scale=1.0), "at theta = 0 it counts words"),
    (cache_like(windowed, lambda t, _: max(0, t - 1)), "the newest pair, of position t - 1, is seen"),
    (cache_like(windowed, until, lambda s: s.sigmoid()), "one probability for each word that came"),
    (whole_width, "at theta = 0 it counts words"), (whole_width, "words to come change nothing"),
    (lambda s, w, *_: torch.zeros(len(w) - 1), "one probability for each word that came"),
    (lambda s, w, n, t: (s.mul_(1.5), cache_probabilities(s, w, n, t)[0])[1], "leaves its inputs untouched"),
    (lambda *_: undefined, "runs to the end"),  # noqa: F821
])  # fmt: skip
def test_wrong_caches_are_rejected(wrong, broken):
    assert broken in check_cache(wrong).broken()


def test_a_row_without_a_memory_is_told_from_the_other_mistakes():
    """A softmax over nothing is not a number: the commonest slip of a banded cache, and no leak."""

    def nothing_seen(*given):
        return torch.cat([torch.tensor([math.nan]), cache_probabilities(*given)[0][1:]])

    report = check_cache(nothing_seen)
    assert report.broken() == ["one probability for each word that came"]
    assert "nan at position 0: the first word has no pair before it, and its p_cache is 0" in repr(report)
    for wrong, hint in (
        (lambda s, w, *_: torch.full((len(w),), 1.5), "between 1.5 and 1.5"),
        (lambda s, w, *_: torch.zeros(len(w), 6), "has shape (40, 6); due are 40"),
        (lambda s, w, *_: torch.tensor([0.0] * (len(w) - 1) + [math.nan]), "at position 39"),
    ):
        assert hint in repr(check_cache(wrong))


@pytest.mark.parametrize("right", [
    cache_like(windowed, until), lambda *given: cache_probabilities(*given)[0],
    lambda *given: cache_probabilities(*given)[0].tolist(), lambda *given: cache_probabilities(*given)[0].float(),
])  # fmt: skip
def test_right_caches_may_be_written_otherwise(right):
    assert check_cache(right).kept


def test_the_chapters_own_broken_cache_is_rejected_for_both_of_its_bugs():
    notebook = json.loads((BOOK / "continuous-cache.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "def cache_of" in text]
    space = {"torch": torch}
    exec("def cache_of" + cell.partition("def cache_of")[2].partition("\n\n\n")[0], space)
    report = check_cache(space["cache_of"])
    assert report.broken() == [
        "a word that comes for the first time has probability 0", "what has left the window changes nothing",
        "at theta = 0 it counts words", "any states and words: the equation",
    ]  # fmt: skip
    assert repr(report).count("mend that first") == 2
