"""N-gram language models with interpolated Kneser-Ney smoothing: counting, well done.

Kneser & Ney 1995; interpolated, and with the modified discounts, as in Chen & Goodman 1999, equations 18 and 27. With
``u`` the n - 1 words before ``w``, and ``v`` the same without the oldest one::

    p(w | u)  =  max(c(u w) - D, 0) / c(u .)  +  D N(u .) / c(u .) * p(w | v)

``c(u .)`` is the sum over the words that may follow, ``N(u .)`` the number of different ones that were seen to. At the
highest order c counts occurrences. Below it, c counts in how many *different* words an occurrence can be preceded:
a word that always follows the same one is well predicted by it, and a poor guess elsewhere. The lowest order is
interpolated with the uniform distribution, so that no word has probability 0.

Counts are kept as sorted arrays of numbers, an n-gram being its oldest n - 1 words' number times the vocabulary, plus
its last word. A million words take about a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from awdlib import _require as require

Tokens = Tensor | np.ndarray | Sequence[int]  #: a text: token ids in reading order


@dataclass(frozen=True, eq=False)
class Level:
    """The n-grams of one length: what was counted, and what the smoothing needs of each context.

    A context is one of the n-grams a word shorter, by its place among those; -1 stands for one that never occurred.

    Example:
        >>> from awdlib.ngrams import KneserNey
        >>> level = KneserNey([0, 1, 0, 1, 1], vocab_size=2, order=2, discount=0.5).levels[1]
        >>> level.keys, level.counts  # 0 1 twice, 1 0 and 1 1 once: context times 2, plus the word
        (array([1, 2, 3]), array([2, 1, 1]))
    """

    keys: np.ndarray  #: sorted numbers of the n-grams seen, each its context times the vocabulary, plus its word
    counts: np.ndarray  #: of each: occurrences at the highest order, different words before it below
    discounts: np.ndarray  #: what is taken off a count of 0, 1, 2, and 3 or more
    totals: np.ndarray  #: of each context, the sum of its counts
    backoff: np.ndarray  #: of each context, the share that the discounts free for the next lower order

    def find(self, context: np.ndarray, word: np.ndarray, vocab_size: int) -> np.ndarray:
        """The places of n-grams among ``keys``; -1 for those that never occurred.

        Args:
            context: their contexts' places, int, or -1.
            word: their last words, of the same shape.
            vocab_size: number of word types.
        """
        key = context * vocab_size + word
        place = np.searchsorted(self.keys, key).clip(max=len(self.keys) - 1)
        return np.where((context >= 0) & (self.keys[place] == key), place, -1)


class KneserNey:
    """An n-gram model of a stream of tokens, interpolated Kneser-Ney; ``<eos>`` is a word like any other.

    Args:
        tokens: the training text.
        vocab_size: number of word types.
        order: n, words of an n-gram: it predicts a word from the n - 1 before it.
        discount: what is taken off every count; None estimates it, order by order, from how many n-grams were counted
            once, twice, ...; where there are none of these, it is one half.
        modified: estimate three discounts an order, for counts of 1, 2, and 3 or more (Chen & Goodman 1999, equation
            26), instead of one.

    Raises:
        ValueError: order, vocab_size or discount is out of range, the text is shorter than an n-gram, or has ids
            outside the vocabulary.

    Example:
        "san" is always followed by "francisco", which is frequent and yet no good guess after another word:

        >>> from awdlib.ngrams import KneserNey
        >>> words = "in san francisco the bay of san francisco and the sea of san francisco".split()
        >>> ids = {word: number for number, word in enumerate(dict.fromkeys(words))}
        >>> model = KneserNey([ids[word] for word in words], len(ids), order=2, discount=0.5)
        >>> for context in ("san", "sea"):
        ...     p = model.next_word_probabilities([ids[context]])
        ...     print(context, {word: p[ids[word]].round(2).item() for word in ("francisco", "of")})
        san {'francisco': 0.85, 'of': 0.03}
        sea {'francisco': 0.05, 'of': 0.6}
    """

    def __init__(
        self, tokens: Tokens, vocab_size: int, order: int, *, discount: float | None = None, modified: bool = False
    ) -> None:
        self.vocab_size = require.whole_number("vocab_size", vocab_size, 1)
        self.order = require.whole_number("order", order, 1)
        if discount is not None:
            require.number("discount", discount, "(0, 1]")
        text = _ids(tokens, vocab_size)
        if len(text) < order:
            raise ValueError(f"the text has {len(text)} tokens; an n-gram of order {order} needs at least as many")
        grams = _number_ngrams(text, vocab_size, order)
        self.levels = []
        for n, (keys, ends) in enumerate(grams, start=1):
            counts = np.bincount(ends) if n == order else _words_before(ends, grams[n][1])
            taken = _discounts(counts, n, discount, modified)
            context, contexts = keys // vocab_size, len(grams[n - 2][0]) if n > 1 else 1
            totals = np.bincount(context, weights=counts, minlength=contexts)
            freed = np.bincount(context, weights=taken[counts.clip(max=3)], minlength=contexts)
            backoff = np.divide(freed, totals, out=np.ones(contexts), where=totals > 0)
            self.levels.append(Level(keys, counts, taken, totals, backoff))

    def probabilities(self, tokens: Tokens) -> np.ndarray:
        """p(w | the order - 1 words before it) of every word of a text; at its beginning from those that are there.

        Args:
            tokens: the text.

        Returns:
            (num_tokens,), each above 0.

        Raises:
            ValueError: it is empty, or has ids outside the vocabulary.
        """
        text = _ids(tokens, self.vocab_size)
        p = np.full(len(text), 1 / self.vocab_size)
        context = np.zeros(len(text), dtype=np.int64)  # places of the contexts; the empty one is number 0
        for level in self.levels:
            gram = level.find(context, text, self.vocab_size)
            counts = np.where(gram >= 0, level.counts[gram], 0)
            totals = np.where(context >= 0, level.totals[context], 0)
            rest = np.where(context >= 0, level.backoff[context], 1.0) * p
            p = (counts - level.discounts[counts.clip(max=3)]) / totals.clip(min=1) + rest
            context = np.concatenate([[-1], gram[:-1]])  # what ended at the word before
        return p

    def next_word_probabilities(self, context: Tokens) -> np.ndarray:
        """p(w | context) for every word w of the vocabulary.

        Args:
            context: the words so far; the last order - 1 of them count. It may be empty.

        Returns:
            (vocab_size,), which sum to one.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        words = _ids(context, self.vocab_size, empty=True)
        p = np.full(self.vocab_size, 1 / self.vocab_size)
        for n, level in enumerate(self.levels[: len(words) + 1]):
            place = self._place(words[len(words) - n :])
            if place < 0 or level.totals[place] == 0:
                break  # longer contexts have not been seen either
            first, last = np.searchsorted(level.keys, [place * self.vocab_size, (place + 1) * self.vocab_size])
            counts = level.counts[first:last]
            p = level.backoff[place] * p
            p[level.keys[first:last] % self.vocab_size] += (
                counts - level.discounts[counts.clip(max=3)]
            ) / level.totals[place]
        return p

    def _place(self, words: np.ndarray) -> int:
        """Where an n-gram stands among those of its length; -1 if it never occurred."""
        place = np.zeros(1, dtype=np.int64)
        for level, word in zip(self.levels, words, strict=False):
            place = level.find(place, word, self.vocab_size)
        return int(place[0])


def _ids(tokens: Tokens, vocab_size: int, empty: bool = False) -> np.ndarray:
    """The text as an array of known ids."""
    text = np.asarray(tokens)
    if text.size == 0 and empty:
        return np.zeros(0, dtype=np.int64)
    if text.ndim != 1 or text.size == 0 or not np.issubdtype(text.dtype, np.integer):
        raise ValueError(f"tokens is {require.shown(tokens)}; it must be a text of at least one token id")
    if text.min() < 0 or text.max() >= vocab_size:
        raise ValueError(f"the text has ids from {text.min()} to {text.max()}; vocab_size is {vocab_size}: raise it")
    return text.astype(np.int64)


def _number_ngrams(text: np.ndarray, vocab_size: int, order: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For n = 1 to order: the sorted keys of the n-grams, and the place among them of the one that ends at each word.

    The first n - 1 words end none, so the second array is that much shorter than the text.
    """
    grams, context = [], np.zeros(len(text), dtype=np.int64)
    for n in range(order):
        keys, ends = np.unique(context * vocab_size + text[n:], return_inverse=True)
        grams.append((keys, ends))
        context = ends[:-1]
    return grams


def _words_before(ends: np.ndarray, longer: np.ndarray) -> np.ndarray:
    """Of each n-gram, how many different words an occurrence has before it: N(. u w) of the papers.

    Args:
        ends: of the n-grams, as `_number_ngrams` has them.
        longer: the same of those a word longer.
    """
    _, once = np.unique(longer, return_index=True)  # one occurrence of each longer n-gram
    return np.bincount(ends[1:][once], minlength=ends.max() + 1)


def _discounts(counts: np.ndarray, n: int, discount: float | None, modified: bool) -> np.ndarray:
    """What is taken off a count of 0, 1, 2, 3 or more: Chen & Goodman 1999, equations 17 and 26."""
    if discount is not None:
        return discount * np.array([0.0, 1.0, 1.0, 1.0])
    one, two, three, four = (int((counts == times).sum()) for times in (1, 2, 3, 4))
    if min(one, two, *((three, four) if modified else ())) == 0:
        return np.array([0.0, 0.5, 1.0, 1.5] if modified else [0.0, 0.5, 0.5, 0.5])
    y = one / (one + 2 * two)
    if not modified:
        return np.array([0.0, y, y, y])
    taken = np.array([0.0, 1 - 2 * y * two / one, 2 - 3 * y * three / two, 3 - 4 * y * four / three])
    return taken.clip(min=0.0)
