"""Checks for the exercises of the chapter *The continuous cache*."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.contracts import Promise, Report, guarded
from awdlib.exercises.answers import YOUR_TURN, is_empty

SCORES, WEIGHT, P_MODEL = (math.log(4), math.log(3), 0.0), 0.2, 0.05  #: of exercise 1; its words are a, b, a


def check_by_hand(in_cache: float, mixed: float, lost: float) -> Report:
    """Exercise 1: p_cache of a word, its mixed probability, and what a word that is not in the cache loses.

    Args:
        in_cache: the reader's p_cache; ``...`` where there is none yet.
        mixed: the mixture's probability of the same word.
        lost: nats that a word loses which is not in the cache, at least 0.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.continuous_cache import check_by_hand
        >>> check_by_hand(..., ..., ...)
        your turn: fill in the cell and run it again
        >>> check_by_hand(0.625, 0.165, 0.2)
        ✓ p_cache of the word
        ✓ the mixture's probability of the word
        ✗ what a word loses that is not in the cache
            hint: that is what it loses of its probability; in nats it is the logarithm of a ratio
    """
    if any(answer is ... for answer in (in_cache, mixed, lost)):
        return YOUR_TURN
    in_cache, mixed, lost = (
        _as_number(name, answer) for name, answer in (("in_cache", in_cache), ("mixed", mixed), ("lost", lost))
    )
    first, second, third = (math.exp(score) for score in SCORES)
    total = first + second + third
    share = (first + third) / total
    right = (1 - WEIGHT) * P_MODEL + WEIGHT * share
    nats = -math.log(1 - WEIGHT)
    raw = (SCORES[0] + SCORES[2]) / sum(SCORES)
    return Report((
        _number("p_cache of the word", in_cache, share, {
            first / total: "the word came twice: both of its positions count",
            third / total: "the word came twice: both of its positions count",
            second / total: "that is the other word's",
            first + third: "divide by the sum over all remembered positions",
            2 / 3: "that counts words, as at theta = 0: weigh each position by exp(theta h·h_i)",
            raw: "these are the scores themselves: take their exponentials first",
        }, "the exponentials are 4, 3 and 1"),
        _number("the mixture's probability of the word", mixed, right, {
            WEIGHT * P_MODEL + (1 - WEIGHT) * share: "lambda is the cache's share, and 1 - lambda the model's",
            P_MODEL + WEIGHT * share: "the model's part shrinks, by the factor 1 - lambda",
            WEIGHT * share: "that is the cache's part: the model has its own",
            (1 - WEIGHT) * P_MODEL: "that is the model's part: the cache has its own",
            (1 - WEIGHT) * P_MODEL + WEIGHT * in_cache: "the formula is right, the p_cache in it is not yet",
        }, "(1 - lambda) p_model + lambda p_cache"),
        _number("what a word loses that is not in the cache", lost, nats, {
            -nats: "a loss is positive here: how much its surprise grows",
            WEIGHT: "that is what it loses of its probability; in nats it is the logarithm of a ratio",
            nats / math.log(2): "that is in bits: take the natural logarithm",
            nats / math.log(10): "take the natural logarithm, not that to base 10",
            -math.log(WEIGHT): "it keeps the part 1 - lambda of its probability",
            round(nats, 2): "nearly: give three digits, or let Python compute it",
        }, "its probability is multiplied by 1 - lambda: what does that add to -ln p?"),
    ))  # fmt: skip


def _as_number(name: str, given: Any) -> float:
    """One finite number, as Python, NumPy or PyTorch have it."""
    try:
        value = given if isinstance(given, str) else float(given)
    except (TypeError, ValueError):
        value = given
    return require.number(name, value)


def _number(text: str, given: Any, right: float, wrong: dict[float, str], hint: str) -> Promise:
    """Right to within a thousandth, or else the hint of the known wrong answer that is nearest."""
    known = (why for value, why in wrong.items() if math.isclose(given, value, rel_tol=2e-3, abs_tol=1e-4))
    kept = math.isclose(given, right, rel_tol=2e-3, abs_tol=1e-4)
    return Promise(text, kept, next(known, hint))


Improve = Callable[[float, Tensor, Tensor], Any]  #: called as ``function(weight, model, cache)``


def check_improve(function: Improve) -> Report:
    """Exercise 2: ``function(weight, model, cache)``, one step of expectation maximization for lambda.

    Args:
        function: the reader's; model and cache are the probabilities of the words that came, (num_targets,).

    Example:
        >>> from awdlib.exercises.continuous_cache import check_improve
        >>> def improve(weight, model, cache):
        ...     return (weight * cache / ((1 - weight) * model + weight * cache)).mean()
        >>> check_improve(improve)
        ✓ two words, by hand
        ✓ any probabilities
        ✓ repeated, it arrives at the lambda of lowest loss
    """
    if is_empty(function, 0.5, torch.tensor([0.5, 0.1]), torch.tensor([0.0, 0.9])):
        return YOUR_TURN
    return guarded(lambda: _look_at_improve(function))


def _shares(weight: float, model: Tensor, cache: Tensor) -> Tensor:
    return weight * cache / ((1 - weight) * model + weight * cache)


def _look_at_improve(function: Improve) -> Iterator[Promise]:
    generator = torch.Generator().manual_seed(5)
    two = torch.tensor([0.5, 0.1]).double(), torch.tensor([0.0, 0.7]).double()
    model, cache, there = torch.rand(3, 50, generator=generator).double()
    many = 0.3 * model + 0.01, cache.where(there < 0.4, 0)  # most words are not in the window: the best is inside
    for text, weight, (model, cache) in (("two words, by hand", 0.6, two), ("any probabilities", 0.2, many)):
        given = function(weight, model.clone(), cache.clone())
        if getattr(given, "numel", lambda: 1)() != 1:
            yield Promise(text, False, "give one number, the new lambda: the mean over the words")
            return
        shares, mixed = _shares(weight, model, cache), (1 - weight) * model + weight * cache
        wrong = {
            shares.sum().item(): "that is the sum over the words: take the mean",
            1 - shares.mean().item(): "that is the model's share: the new lambda is the cache's",
            (cache / (model + cache)).mean().item(): "weigh the two probabilities with 1 - lambda and lambda",
            (cache / mixed).mean().item(): "the cache's part of the mixed probability is lambda times p_cache",
            _shares(1 - weight, model, cache).mean().item(): "lambda is the cache's share, and 1 - lambda the model's",
            (weight * cache.sum() / mixed.sum()).item(): "a mean of ratios, word by word, not a ratio of sums",
            cache.mean().item(): "that is the mean p_cache: which part of each mixed probability is the cache's?",
            mixed.mean().item(): "that is the mean mixed probability: which part of each is the cache's?",
            (cache > model).double().mean().item(): "each word counts with its share, not with a vote",
        }
        yield _number(text, float(given), shares.mean().item(), wrong, "which part of each is the cache's?")
    weight = 0.5
    for _ in range(300):
        weight = float(function(weight, *many))
    best = min(range(1, 1000), key=lambda at: -((1 - at / 1000) * many[0] + at / 1000 * many[1]).log().sum().item())
    hint = f"after 300 steps it stands at {weight:.3f}, and the loss is lowest at {best / 1000:.3f}"
    yield Promise("repeated, it arrives at the lambda of lowest loss", abs(weight - best / 1000) < 2e-3, hint)


Cache = Callable[[Tensor, Tensor, int, float], Any]  #: called as ``function(states, targets, window, flatness)``


def check_cache(function: Cache) -> Report:
    """Exercise 3: whether ``function(states, targets, window, flatness)`` is the p_cache of each word that came.

    Grave et al. 2016, section 3: position t sees the pairs of t - window <= i < t; 0 where there is none.

    Args:
        function: the reader's, or any implementation that gives (num_targets,) probabilities.

    Example:
        >>> from awdlib.cache import cache_probabilities
        >>> from awdlib.exercises.continuous_cache import check_cache
        >>> check_cache(lambda *given: cache_probabilities(*given)[0])
        ✓ one probability for each word that came
        ✓ leaves its inputs untouched
        ✓ a word that comes for the first time has probability 0
        ✓ words to come change nothing
        ✓ what has left the window changes nothing
        ✓ the window's oldest position is still seen
        ✓ the newest pair, of position t - 1, is seen
        ✓ at theta = 0 it counts words
        ✓ any states and words: the equation
        ✓ at a large theta nothing overflows
    """
    if is_empty(function, torch.zeros(3, 2), torch.tensor([0, 1, 0]), 2, 1.0):
        return YOUR_TURN
    return guarded(lambda: _look_at_cache(function))


def _by_loop(states: Tensor, targets: Tensor, window: int, flatness: float) -> Tensor:
    """The equation, a position at a time."""
    found = torch.zeros(len(states), dtype=states.dtype)
    for t in range(1, len(states)):
        seen = slice(max(0, t - window), t)
        attention = (flatness * states[seen] @ states[t]).softmax(0)
        found[t] = attention[targets[seen] == targets[t]].sum()
    return found


def _no_probabilities(found: Tensor, due: int) -> str:
    """Why these are not as many probabilities as are due; empty where they are."""
    if found.shape != (due,):
        return f"the result has shape {tuple(found.shape)}; due are {due} numbers"
    if found.isnan().any():
        at = int(found.isnan().int().argmax())
        why = "the first word has no pair before it, and its p_cache is 0" if at == 0 else "probabilities are numbers"
        return f"the result is nan at position {at}: {why}"
    if not ((found >= 0) & (found <= 1 + 1e-6)).all():
        return f"they lie between {found.min():.3g} and {found.max():.3g}; a probability lies between 0 and 1"
    return ""


def _look_at_cache(function: Cache) -> Iterator[Promise]:
    generator = torch.Generator().manual_seed(3)
    states = torch.randn(40, 5, generator=generator).double()
    words = torch.randint(6, (40,), generator=generator)
    untouched = states.clone(), words.clone()
    found = torch.as_tensor(function(states, words, 7, 0.8))
    wrong = _no_probabilities(found, len(words))
    yield Promise("one probability for each word that came", not wrong, wrong)
    same = states.equal(untouched[0]) and words.equal(untouched[1])
    yield Promise("leaves its inputs untouched", same, "work on copies")
    if found.shape != words.shape or found.isnan().any():
        return  # what follows would be true of nothing
    new = torch.as_tensor(function(states, torch.arange(40), 7, 0.8))
    yield Promise("a word that comes for the first time has probability 0", bool((new == 0).all()),
                  "a query may not see its own pair: the word in it is the one to be predicted")  # fmt: skip
    head = torch.as_tensor(function(states[:20], words[:20], 7, 0.8))
    yield Promise("words to come change nothing", head.allclose(found[:20], atol=1e-9),
                  "the first 20 words have other probabilities when 20 more follow: mask later keys before the softmax"
                  )  # fmt: skip
    other = states.clone()
    other[:10] = other[:10].flip(0) + 3.0
    late = torch.as_tensor(function(other, words, 7, 0.8))
    yield Promise("what has left the window changes nothing", late[17:].allclose(found[17:], atol=1e-9),
                  "a query sees `window` pairs and no older ones: the band has a lower edge too")  # fmt: skip
    rare = torch.arange(8)
    rare[7] = 0  # came exactly 7 words ago
    oldest = bool(torch.as_tensor(function(states[:8], rare, 7, 0.8))[7] > 0)
    yield Promise("the window's oldest position is still seen", oldest, "position t sees t - window <= i < t")
    again = torch.arange(8)
    again[7] = 6  # the word before it
    newest = bool(torch.as_tensor(function(states[:8], again, 7, 0.8))[7] > 0)
    yield Promise("the newest pair, of position t - 1, is seen", newest, "position t sees t - window <= i < t")
    edges = bool((new == 0).all()) and head.allclose(found[:20], atol=1e-9) and oldest and newest
    edges = edges and late[17:].allclose(found[17:], atol=1e-9)
    first = "" if edges else "perhaps for the reason above; mend that first. If it stays: "
    counted = torch.as_tensor(function(states, words, 7, 0.0))
    yield Promise("at theta = 0 it counts words", counted.double().allclose(_by_loop(states, words, 7, 0.0), atol=1e-6),
                  first + "all visible positions have the same share, and the shares add up to 1")  # fmt: skip
    yield Promise("any states and words: the equation",
                  found.double().allclose(_by_loop(states, words, 7, 0.8), atol=1e-6),
                  first + "a softmax of theta h_t·h_i over the visible positions, summed where the same word followed"
                  )  # fmt: skip
    large = torch.as_tensor(function(states, words, 7, 500.0))
    yield Promise("at a large theta nothing overflows", bool(large.isfinite().all()),
                  "exp(1000) is no number: subtract the row's largest score first, as softmax does")  # fmt: skip
