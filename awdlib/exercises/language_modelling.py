"""Checks for the exercises of the chapter *Language modelling and perplexity*."""

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from awdlib.batches import batchify, fixed_windows
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

GUESSES = (0.5, 0.25, 0.1, 0.2)  #: probabilities that exercise 1 is first tried on


def _hint(given: float, known: dict[str, float], otherwise: str) -> str:
    """What is said of a known wrong answer."""
    for hint, wrong in known.items():
        if math.isclose(given, wrong, rel_tol=1e-6):
            return hint
    return otherwise


def check_perplexity(function: Callable[[list[float]], float]) -> Report:
    """Exercise 1: ``function(probabilities)``, the perplexity of a text from what its words were given.

    Args:
        function: the reader's.

    Example:
        >>> from awdlib.exercises.language_modelling import check_perplexity
        >>> check_perplexity(lambda probabilities: sum(1 / p for p in probabilities) / len(probabilities))
        ✗ four words
            hint: this is the arithmetic mean of 1/p, and perplexity is the geometric one
        ✓ a uniform guess among 50 words
        ✗ a long text
            hint: this is the arithmetic mean of 1/p, and perplexity is the geometric one
    """
    if is_empty(function, list(GUESSES)):
        return YOUR_TURN
    cases = {
        "four words": list(GUESSES),
        "a uniform guess among 50 words": [1 / 50] * 7,
        "a long text": [0.001, 0.3] * 400,  # the product of these is too small for a float
    }
    found: list[Promise] = []
    for name, p in cases.items():
        try:
            given = float(function(p))
        except ArithmeticError as error:  # 1 over a product that has become 0, or the exponential of a sum
            remedy = "a product of many p is too small for a float: take the mean of the logarithms"
            return Report((*found, raised(name, error, remedy)))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, raised(name, error)))
        nats, n = -sum(map(math.log, p)), len(p)
        known = {
            "this is the arithmetic mean of 1/p, and perplexity is the geometric one": sum(1 / q for q in p) / n,
            "this is 1 over the mean probability: take the logarithms first": n / sum(p),
            "this is the cross entropy: take its exponential": nats / n,
            "these are nats: their base is e, not 2": 2 ** (nats / n),
            "these are bits: their base is 2, not e": math.exp(nats / n / math.log(2)),
            "the sign: a logarithm of a probability is negative": math.exp(-nats / n),
            "divide by the number of words": math.exp(min(nats, 700.0)),
            "divide by the number of words, not by one less": math.exp(nats / (n - 1)),
            "this is the mean of ln p: change its sign, then take the exponential": -nats / n,
            "each word of the text counts once: do not weigh its ln p by p": math.exp(-sum(q * math.log(q) for q in p)),
        }
        otherwise = "the exponential of the mean of -ln p; a product of many p is 0 in floating point"
        found.append(
            Promise(name, math.isclose(given, math.exp(nats / n), rel_tol=1e-6), _hint(given, known, otherwise))
        )
    return Report(tuple(found))


def check_bits_per_character(function: Callable[[float, int, int], float]) -> Report:
    """Exercise 2: ``function(perplexity, tokens, characters)``.

    Args:
        function: the reader's.

    Example:
        >>> from awdlib.exercises.language_modelling import check_bits_per_character
        >>> check_bits_per_character(lambda perplexity, tokens, characters: 5.0).kept
        False
    """
    if is_empty(function, 64.0, 10, 50):
        return YOUR_TURN
    found: list[Promise] = []
    for perplexity, tokens, characters in ((64.0, 100, 550), (100.0, 82_430, 446_184)):
        name = f"perplexity {perplexity:g} over {tokens:,} tokens of {characters:,} characters"
        try:
            given = float(function(perplexity, tokens, characters))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, raised(name, error)))
        bits, share = math.log2(perplexity), tokens / characters
        known = {
            "these are nats a character: divide by ln 2": bits * math.log(2) * share,
            "these are bits a token: share them among the characters": bits,
            "tokens and characters are the wrong way round": bits / share,
            "the logarithm belongs to the perplexity alone": math.log2(perplexity * share),
            "these are the bits of the whole text: share them among the characters": bits * tokens,
            "this is a perplexity a character: take its logarithm to base 2": perplexity**share,
        }
        otherwise = "all the bits of the text are tokens times log2(perplexity)"
        found.append(Promise(name, math.isclose(given, bits * share, rel_tol=1e-6), _hint(given, known, otherwise)))
    return Report(tuple(found))


def _bigram(counts: Tensor, discount: float) -> Tensor:
    """Interpolated Kneser-Ney of order 2, its lower order not interpolated further."""
    seen = (counts > 0).double()
    lower = seen.sum(0) / seen.sum()
    totals = counts.sum(1, keepdim=True)
    kept = (counts - discount).clamp(min=0) + discount * seen.sum(1, keepdim=True) * lower
    return torch.where(totals > 0, kept / totals.clamp(min=1), lower)


def check_bigram(function: Callable[[Tensor, float], Tensor]) -> Report:
    """Exercise 3: ``function(counts, D)``, all bigram probabilities with absolute discounting.

    Args:
        function: the reader's; counts is (V, V), row u the words that followed u, and each word followed another.

    Example:
        >>> from awdlib.exercises.language_modelling import check_bigram
        >>> check_bigram(lambda counts, D: counts / counts.sum(1, keepdim=True)).broken()[:2]
        ['no probability is 0', 'a word that nothing ever followed has probabilities, too']
    """
    text = torch.tensor([0, 1, 2, 0, 1, 3, 0, 2, 2, 0, 1, 2, 3, 0, 4])  # nothing follows 4
    counts, discount = torch.zeros(5, 5, dtype=torch.float64), 0.75
    for u, w in zip(text[:-1].tolist(), text[1:].tolist(), strict=True):
        counts[u, w] += 1
    if is_empty(function, counts.clone(), discount):
        return YOUR_TURN
    try:
        p = torch.as_tensor(function(counts.clone(), discount)).detach().double()
    except Exception as error:  # whatever a reader's code may raise
        return Report((raised("gives a table of probabilities", error),))
    if p.shape != counts.shape:
        hint = f"its shape is {tuple(p.shape)}; it must be that of the counts, {tuple(counts.shape)}"
        return Report((Promise("gives a table of probabilities", False, hint),))
    asked, right, lonely = p[:4], _bigram(counts, discount), p[4]
    known, sums = _wrong_bigrams(counts, discount), _same(asked.sum(1), torch.ones(4))
    unseen = "what is taken off goes to all words, by the lower order"
    freed = "what is freed in row u: D times the number of different words that followed u, over the total"
    lower = "the lower order counts after how many different words w was seen: a column sum of counts > 0"
    if (asked < 0).any():
        unseen = "nothing can be taken off a count of 0: max(c - D, 0)"
    if _same(asked, known["backed off"]):
        freed = "the lower order is for all words: add it to those that were seen, too"
    if _same(asked, known["unigram"]):
        lower = f"this lower order counts occurrences; {lower}"
    return Report((
        Promise("no probability is 0", bool((asked > 0).all()), unseen),
        Promise("a word that nothing ever followed has probabilities, too", _same(lonely, right[4]),
                "where the total is 0 there is nothing to discount: use the lower order alone"),
        Promise("each row sums to one", sums, freed),
        Promise("the Kneser-Ney probabilities", _same(asked, right[:4]),
                lower if sums else "first make each row sum to one"),
    ))  # fmt: skip


def _wrong_bigrams(counts: Tensor, discount: float) -> dict[str, Tensor]:
    """Two known wrong answers, the rows after words that something followed."""
    seen, total = (counts > 0).double(), counts[:4].sum(1, keepdim=True)
    kept, freed = (counts[:4] - discount).clamp(min=0) / total, discount * seen[:4].sum(1, keepdim=True) / total
    return {
        "unigram": kept + freed * counts.sum(0) / counts.sum(),
        "backed off": torch.where(counts[:4] > 0, kept, freed * seen.sum(0) / seen.sum()),
    }


def _same(given: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(given, wanted.double(), rtol=1e-5, atol=1e-7)  # as close as single precision comes


class Stub(torch.nn.Module):
    """A language model of 7 words that nobody trained, whose prediction depends on all it has read.

    Called as ``model(tokens, state)`` it returns logits (seq_len, batch, 7) and the state to go on with, as an LSTM
    would; ``None`` begins anew.

    Args:
        seed: of its table.

    Example:
        >>> import torch
        >>> from awdlib.exercises.language_modelling import Stub
        >>> logits, state = Stub(seed=1)(torch.zeros(5, 2, dtype=torch.long), None)
        >>> logits.shape, state.shape
        (torch.Size([5, 2, 7]), torch.Size([2]))
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.table = 3 * torch.randn(11, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def forward(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits after each token, and the state after the last.

        Args:
            tokens: (seq_len, batch).
            state: (batch,) or None.
        """
        state = torch.zeros(tokens.shape[1], dtype=torch.long) if state is None else state
        logits = []
        for row in tokens:
            state = (3 * state + row + 1) % 11
            logits.append(self.table[state])
        return torch.stack(logits), state


def _loop(columns: Tensor, length: int, carried: bool, kind: str) -> float:
    """The evaluation loop: right for ``carried`` and "targets", else with one or more of the known bugs."""
    model, state, losses, sizes = Stub(seed=1), None, [], []
    for inputs, targets in fixed_windows(columns, length):
        logits, state = model(inputs, state if carried else None)
        losses.append(F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item())
        sizes.append(len(inputs))
    nats, count = sum(loss * size for loss, size in zip(losses, sizes, strict=True)), len(columns) - 1
    return {
        "targets": math.exp(nats / count),
        "rows": math.exp(nats / len(columns)),
        "columns": math.exp(nats * columns.shape[1] / count),
        "nats": nats / count,
        "windows": math.exp(sum(losses) / len(losses)),
        "weighed": sum(math.exp(loss) * size for loss, size in zip(losses, sizes, strict=True)) / count,
        "perplexities": sum(map(math.exp, losses)) / len(losses),
    }[kind]


def check_evaluation(function: Callable[[torch.nn.Module, Tensor, int], float]) -> Report:
    """Exercise 4: ``function(model, columns, length)``, the perplexity of a text read in windows.

    Args:
        function: the reader's; the model is called as `Stub` is.

    Example:
        >>> from awdlib.exercises.language_modelling import check_evaluation
        >>> check_evaluation(lambda model, columns, length: 7.0).kept
        False
    """
    text = torch.randint(7, (75,), generator=torch.Generator().manual_seed(5))
    columns = batchify(text, 3)  # 25 rows, 24 targets a column
    if is_empty(function, Stub(seed=1), columns, 24):
        return YOUR_TURN
    once = "average the losses and take the exponential once, at the end"
    weigh = "weigh each window's loss by its number of targets: the last one is shorter"
    reasons = {  # those with fewer bugs first: where windows are of one length, some have the same result
        "targets": "",
        "windows": weigh,
        "weighed": once,
        "perplexities": f"{once}; {weigh}",
        "rows": "divide by the number of targets, one fewer than there are rows",
        "columns": "divide by the number of targets, which is that of rows times that of columns",
        "nats": "this is the mean loss: take its exponential",
    }
    found: list[Promise] = []
    for name, length in {"one window": 24, "windows of equal length": 8, "a shorter last window": 7}.items():
        try:
            given = float(function(Stub(seed=1), columns, length))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, raised(name, error)))
        known: dict[str, float] = {}
        for carried, kind in product((True, False), reasons):
            carry = "" if carried else "hand the state of one window to the next"
            known.setdefault("; ".join(filter(None, (carry, reasons[kind]))), _loop(columns, length, carried, kind))
        kept = math.isclose(given, _loop(columns, length, True, "targets"), rel_tol=1e-6)
        otherwise = "all nats of all targets, over the number of targets, and then exp"
        found.append(Promise(name, kept, _hint(given, known, otherwise)))
    return Report(tuple(found))
