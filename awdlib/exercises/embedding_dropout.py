"""Checks for the exercises of the chapter *Embedding dropout*."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.contracts import STANDARD_ERRORS, Promise, Report, guarded
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

WINDOWS = 40  #: in which a row is looked for a gradient; dropped in all of them is less likely than one in 10**12
SEQ_LEN, BATCH, FEATURES, VOCAB = 70, 40, 400, 10_000  #: the window of exercise 1: the paper's, on Penn Treebank

_RIGHT = {"entries": BATCH * FEATURES, "tokens": SEQ_LEN * BATCH, "types": VOCAB}
_HINTS = {
    "entries": {
        SEQ_LEN * BATCH * FEATURES: "those are fresh masks at every step; a locked mask is held over the window",
        FEATURES: "each of the sequences has a mask of its own",
        BATCH: "each feature of a sequence has a coin of its own: that is what tells entries from words",
        SEQ_LEN * FEATURES: "the time steps share a locked mask, and the sequences do not",
        VOCAB * FEATURES: "the entries of the embedded words, not of the matrix",
    },
    "tokens": {
        SEQ_LEN: "each of the sequences has coins of its own",
        BATCH: "each of the time steps has coins of its own",
        SEQ_LEN * BATCH * FEATURES: "a token is there as a whole or not at all: its features share the coin",
        VOCAB: "a coin for each position, whichever word stands there",
    },
    "types": {
        VOCAB * FEATURES: "a row is there as a whole or not at all: the mask has size 1 in its second dimension",
        VOCAB * BATCH: "one decision for all sequences: they read rows of the same matrix",
        SEQ_LEN * BATCH: "a coin for each row of the matrix, whether its word is in the window or not",
        FEATURES: "it is rows that are dropped, not columns",
    },
}  # fmt: skip


def check_coins(entries: int, tokens: int, types: int) -> Report:
    """Exercise 1: how many coins the three ways toss for a window of 70 steps and 40 sequences.

    Args:
        entries: the reader's count under a locked mask on the embedded words; ``...`` where there is none yet.
        tokens: with a coin for each position.
        types: under embedding dropout.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.embedding_dropout import check_coins
        >>> check_coins(..., ..., ...)
        your turn: fill in the cell and run it again
        >>> check_coins(40 * 400, 70 * 40, 70 * 40)
        ✓ coins for entries
        ✓ coins for tokens
        ✗ coins for types
            hint: a coin for each row of the matrix, whether its word is in the window or not
    """
    given = {"entries": entries, "tokens": tokens, "types": types}
    if any(answer is ... for answer in given.values()):
        return YOUR_TURN
    found = []
    for name, answer in given.items():
        require.number(name, answer)
        hint = _HINTS[name].get(answer, "write down the mask's shape; dimensions of size 1 are shared")
        found.append(Promise(f"coins for {name}", answer == _RIGHT[name], hint))
    return Report(tuple(found))


Spread = Callable[[Tensor, float, bool], float]  #: called as ``function(tokens, p, types)``


def check_spread(function: Spread) -> Report:
    """Exercise 2: ``function(tokens, p, types)``, the standard deviation of the share of a window that survives.

    Args:
        function: the reader's; ``tokens`` are ids (seq_len, batch), ``types`` tells coins for types from coins for
            tokens.

    Example:
        >>> import torch
        >>> from awdlib.exercises.embedding_dropout import check_spread
        >>> def spread(tokens, p, types):
        ...     counts = torch.bincount(tokens.flatten()) if types else torch.ones(tokens.numel())
        ...     shares = counts / tokens.numel()
        ...     return (p * (1 - p) * shares.square().sum()) ** 0.5
        >>> check_spread(spread).kept
        True
    """
    if is_empty(function, torch.zeros(2, 3, dtype=torch.long), 0.2, True):
        return YOUR_TURN
    cases = {
        "one word, again and again": torch.full((5, 4), 3),
        "twenty words, each once": torch.arange(20).view(5, 4),
        "a few words often, others once": torch.tensor([0, 0, 0, 0, 0, 0, 7, 7, 7, 2, 2, 9, 11, 12, 5]).view(5, 3),
    }
    found = []
    for name, tokens in cases.items():
        for types in (True, False):
            text = f"{name}; a coin for each {'type' if types else 'token'}"
            try:
                given = float(function(tokens.clone(), 0.2, types))
            except Exception as error:  # whatever a reader's code may raise
                return Report((raised(text, error),))
            right = _spread(tokens, 0.2, types)
            found.append(Promise(text, math.isclose(given, right, rel_tol=1e-4), _spread_hint(given, tokens, types)))
    return Report(tuple(found))


def _spread(tokens: Tensor, p: float, types: bool) -> float:
    """The closed form of the chapter's section *The equation*."""
    count = tokens.numel()
    squares = int(tokens.flatten().bincount().square().sum()) if types else count
    return math.sqrt(p * (1 - p) * squares) / count


def _spread_hint(given: float, tokens: Tensor, types: bool) -> str:
    right, other = _spread(tokens, 0.2, types), _spread(tokens, 0.2, not types)
    present = len(tokens.unique())

    def near(value: float) -> bool:
        return math.isclose(given, value, rel_tol=1e-4)

    for wrong, hint in (
        (right**2, "this is the variance: take its square root"),
        (right * tokens.numel(), "this is for the number of tokens that survive: divide by N for the share"),
        (right / 0.8, "this is for the scaled mask, whose mean is 1; asked is the share of tokens that are there"),
        (right / 0.4, "this lacks the factor p(1 - p) under the root"),
        (other, f"this is the answer for a coin for each {'token' if types else 'type'}"),
        (math.sqrt(0.16 / present), "this would hold if all types occurred equally often: weigh each by its share n/N"),
    ):
        if near(wrong):
            return hint
    return "the share is a sum over coins: of each, its share n/N times 0 or 1, whose variance is p(1 - p)"


Drop = Callable[[Tensor, Tensor, float, bool], Tensor]  #: called as ``function(x, tokens, p, training)``


def check_per_sequence(function: Drop, p: float = 0.3) -> Report:
    """Exercise 3: a coin for each word type *and sequence*, applied to the embedded words.

    Args:
        function: the reader's, called as ``function(x, tokens, p, training)`` with x (seq_len, batch, features), the
            embedded words, and tokens (seq_len, batch), their ids.
        p: dropout probability to try.

    Raises:
        ValueError: p is not between 0 and 1.

    Example:
        Locked dropout does not know of words:

        >>> from awdlib.dropout import locked_dropout
        >>> from awdlib.exercises.embedding_dropout import check_per_sequence
        >>> check_per_sequence(lambda x, tokens, p, training: locked_dropout(x, p, training)).broken()[0]
        'a word is there as a whole or not at all'
    """
    require.number("p", p, "(0, 1)")
    if is_empty(function, torch.ones(2, 3, 4), torch.zeros(2, 3, dtype=torch.long), p, True):
        return YOUR_TURN
    return guarded(lambda: _look_per_sequence(function, p))


def _look_per_sequence(function: Drop, p: float) -> Iterator[Promise]:
    words = 12  # each of them in each of 40 sequences, five times
    tokens = torch.stack([torch.randperm(60) % words for _ in range(40)], 1)
    x = torch.rand(60, 40, 5, dtype=torch.float64) + 0.5
    untouched = x.clone()
    out = function(x, tokens, p, True)
    shape = getattr(out, "shape", None)
    yield Promise("returns a tensor of x's shape", shape == x.shape, f"x has {tuple(x.shape)}, the result {shape}")
    yield Promise("leaves its input untouched", x.equal(untouched), "do not multiply in place")
    same = function(x, tokens, p, False).equal(x) and function(x, tokens, 0.0, True).equal(x)
    yield Promise("does nothing in evaluation, and at p = 0", same, "look at `training`, and at what is kept at p = 0")
    mask = out / untouched
    kept = mask[..., 0] != 0
    yield Promise("drops something in training", not kept.all().item(), "it is silently inactive")
    if kept.all():
        return
    whole = bool(((mask != 0) == kept[..., None]).all())
    yield Promise("a word is there as a whole or not at all", whole, "the features of a word share its coin")
    scaled = torch.allclose(mask[mask != 0], mask.new_tensor(1 / (1 - p)))
    yield Promise("scales what it keeps by 1/(1 - p)", scaled, "multiply what is kept by 1/(1 - p), in training")
    votes = torch.zeros(words, 40, dtype=torch.double).scatter_add_(0, tokens, kept.double())
    one = bool(((votes == 0) | (votes == 60 / words)).all())
    yield Promise("one decision for a word of a sequence, wherever it stands", one, "the same word of the same "
                  "sequence is there at one step and gone at another: look its coin up by its id")  # fmt: skip
    decided = votes > 0
    apart = not bool((decided == decided[:, :1]).all())
    yield Promise("separate decisions for different sequences", apart, "the mask needs a size for the sequences, too")
    differ = not bool((decided == decided[:1]).all())
    yield Promise("separate decisions for different words", differ, "the mask needs a size for the vocabulary, too")
    share = (votes == 0).double().mean().item()
    near = abs(share - p) < STANDARD_ERRORS * math.sqrt(p * (1 - p) / votes.numel()) or not (one and apart and differ)
    yield Promise(f"drops a share of about p (here {p})", near, f"{share:.0%} of the words were dropped")
    again = (function(x, tokens, p, True) / x)[..., 0] != 0
    yield Promise("a fresh mask for each window", not again.equal(kept), "toss the coins anew at each call")


Tied = Callable[[int, int, float], nn.Module]  #: called as ``make(vocab_size, embedding_size, p)``


def check_tied_embedding(make: Tied, p: float = 0.4) -> Report:
    """Exercise 4: an embedding with embedding dropout, ``forward(tokens)``, and the softmax tied to it, ``logits(h)``.

    Args:
        make: the reader's class, called as ``make(vocab_size, embedding_size, p)``; its matrix is ``weight``.
        p: dropout probability to try.

    Raises:
        ValueError: p is not between 0 and 1.

    Example:
        Without any dropout it is silently inactive:

        >>> from torch import nn
        >>> from awdlib.exercises.embedding_dropout import check_tied_embedding
        >>> class Plain(nn.Embedding):
        ...     def __init__(self, vocab_size, size, p):
        ...         super().__init__(vocab_size, size)
        ...
        ...     def logits(self, h):
        ...         return h @ self.weight.t()
        >>> check_tied_embedding(Plain).broken()
        ['drops something in training']
    """
    require.number("p", p, "(0, 1)")
    return guarded(lambda: _look_tied(make, p))


def _look_tied(make: Tied, p: float) -> Iterator[Promise]:
    vocab, size = 500, 6
    module: Any = make(vocab, size, p).train()
    weight = module.weight.detach().clone()
    every = torch.arange(vocab).view(vocab // 2, 2)  # each word once, so that each coin is seen
    embedded = module(every).detach().view(vocab, size)
    untouched = module.weight.equal(weight)
    yield Promise("leaves the matrix as it is", untouched, "an overwritten row is lost: multiply into a new tensor")
    mask = embedded / weight
    kept = mask != 0
    first = kept[:, :1]
    yield Promise("drops something in training", not kept.all().item(), "it is silently inactive")
    if kept.all() or not untouched:
        return
    yield Promise("drops rows, not entries", bool((kept == first).all()), "all features of a word share one decision: "
                  "the mask needs size 1 in dimension 1")  # fmt: skip
    yield Promise("separate decisions for different words", not bool((kept == kept[:1]).all()),
                  "all words got the same decisions: the mask needs the vocabulary's size in dimension 0")  # fmt: skip
    factor = mask[kept].median().item()
    yield Promise("scales what it keeps by 1/(1 - p)", math.isclose(factor, 1 / (1 - p), rel_tol=1e-4),
                  f"what is kept is multiplied by {factor:.3g}, and p is {p:g}")  # fmt: skip
    yield _one_coin_for_a_type(module, vocab)
    again = (module(every).detach().view(vocab, size) != 0)[:, :1]
    yield Promise("a fresh mask for each window", not again.equal(first), "draw in forward, not in the constructor")
    share = 1 - torch.stack([first, again]).double().mean().item()
    near = abs(share - p) < STANDARD_ERRORS * math.sqrt(p * (1 - p) / vocab) or not bool((kept == first).all())
    yield Promise(f"drops a share of about p (here {p})", near, f"{share:.0%} of the rows were dropped")
    yield from _look_at_the_tie(module, weight, every)
    module.eval()
    evaluated = module(every).detach().view(vocab, size)
    hint = "the matrix itself is read then, neither dropped nor scaled: look at `self.training`"
    yield Promise("does nothing in evaluation", torch.allclose(evaluated, weight), hint)


def _one_coin_for_a_type(module: Any, vocab: int) -> Promise:
    """Whether a word that stands at several steps of several sequences is there everywhere or nowhere."""
    words = torch.arange(vocab).repeat(4).view(-1, 2)
    words[vocab:] = words[vocab:].flip(1)  # twice in each of the two sequences
    kept = (module(words).detach() != 0).any(2)
    there = torch.zeros(vocab).index_add_(0, words.flatten(), kept.flatten().float())
    hint = "a word is there at one place of the window and gone at another: toss a coin for each row of the matrix"
    return Promise("one decision for a word, wherever it stands", bool(((there == 0) | (there == 4)).all()), hint)


def _look_at_the_tie(module: Any, weight: Tensor, every: Tensor) -> Iterator[Promise]:
    """Whether the softmax uses all of the matrix, and whether gradients reach every row that was kept."""
    h = torch.randn(7, 2, weight.shape[1], dtype=weight.dtype)
    compared = (module.logits(h) - module.logits(torch.zeros_like(h))).detach()  # less the bias, if there is one
    whole = torch.allclose(compared, h @ weight.t(), rtol=1e-4, atol=1e-5)
    yield Promise("the softmax uses the whole matrix", whole, "`logits` compares h with the rows of the matrix itself, "
                  "none dropped and none scaled: a dropped one would leave its word no logit but the bias")  # fmt: skip
    never = torch.ones(len(weight), dtype=torch.bool)  # read, kept, and without a gradient every time
    for _ in range(WINDOWS):
        module.zero_grad()
        embedded = module(every)
        kept = (embedded.detach() != 0).any(2).flatten()
        reached = torch.zeros_like(kept)
        if embedded.requires_grad:
            embedded.sum().backward()
            if module.weight.grad is not None:
                reached = (module.weight.grad != 0).any(1)
        never &= ~reached
    missing = never.nonzero().flatten().tolist()
    last = " (the last one: what does padding_idx do?)" if missing == [len(weight) - 1] else ""
    yield Promise("every row learns through the input, unless it is dropped", not missing,
                  f"{len(missing)} of them {'get' if len(missing) > 1 else 'gets'} no gradient{last}")  # fmt: skip
    module.zero_grad()
    module(every)  # logits may use what it left
    logits = module.logits(h)
    if logits.requires_grad:
        F.cross_entropy(logits.flatten(0, 1), every.flatten()[:14]).backward()
    grad = module.weight.grad
    full = grad is not None and bool((grad != 0).any(1).all())
    yield Promise("every row gets a gradient through the softmax", full, "dropped or not: the tie is to the parameter")
