"""Checks for the exercises of the chapter *Beyond AWD-LSTM*."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.contracts import Promise, Report, guarded
from awdlib.exercises.answers import YOUR_TURN, is_empty
from awdlib.model import LanguageModel, ModelConfig

TRAINED, WEIGHT, GRADIENT, ROOT, MEAN_ROOT = 1.0, 1.5, 0.03, 0.1, 0.05  #: of exercise 1, one weight
ETA, LAMBDA, FEATURES = 0.5, 0.1, 3  #: of exercise 1
STEPPED = WEIGHT - ETA * GRADIENT / ROOT  # down the gradient, and then home
STEP = STEPPED + LAMBDA * ROOT / MEAN_ROOT * (TRAINED - STEPPED)


def check_by_hand(stepped: float, rank: int, kept: int) -> Report:
    """Exercise 1: a weight after one step of dynamic evaluation, a softmax's largest rank, and a transformer's memory.

    Args:
        stepped: the reader's weight after the step; ``...`` where there is none yet.
        rank: the largest rank of the log-probabilities of a softmax with 3 features and a bias.
        kept: numbers that 4 layers of width 64 keep after 1,000 words.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.beyond import check_by_hand
        >>> check_by_hand(..., ..., ...)
        your turn: fill in the cell and run it again
        >>> check_by_hand(1.28, 4, 512_000)
        ✓ the weight after the step
        ✗ the largest rank of ln p
            hint: bias and normalizer each add a matrix of rank 1
        ✓ numbers that a transformer keeps
    """
    if any(answer is ... for answer in (stepped, rank, kept)):
        return YOUR_TURN
    given: dict[str, Any] = {"stepped": stepped, "rank": rank, "kept": kept}
    for name, answer in given.items():
        given[name] = require.number(name, answer.item() if getattr(answer, "shape", None) == () else answer)
    way = LAMBDA * ROOT / MEAN_ROOT
    unscaled = WEIGHT - ETA * GRADIENT

    def home(weight: float) -> float:
        return weight + way * (TRAINED - weight)

    keys = 4 * 64 * 1000
    return Report((
        _number("the weight after the step", given["stepped"], STEP, {
            STEPPED: "it is also led back to the trained weight",
            STEPPED + LAMBDA * (TRAINED - STEPPED): "the way back is longer where R is above its mean",
            STEPPED - way * (TRAINED - STEPPED): "the way back leads towards the trained weight",
            STEPPED + way * (TRAINED - WEIGHT): "the way back begins where the step has led",
            home(WEIGHT + ETA * GRADIENT / ROOT): "down the gradient, not up",
            home(unscaled): "the gradient is divided by R",
            unscaled + LAMBDA * (TRAINED - unscaled): "that is the plain rule: R divides the gradient",
            home(WEIGHT - ETA * GRADIENT / ROOT**2): "the gradient is divided by R, not by its square",
            home(TRAINED - ETA * GRADIENT / ROOT): "the step starts at the present weight, not at the trained one",
            TRAINED - ETA * GRADIENT / ROOT: "the step starts at the present weight, not at the trained one",
        }, "first -eta g / R; then lambda R / mean R of the way to the trained weight"),
        _number("the largest rank of ln p", given["rank"], FEATURES + 2, {
            FEATURES: "that is the rank of H Wᵀ: bias and normalizer are added to it",
            FEATURES + 1: "bias and normalizer each add a matrix of rank 1",
            2 * FEATURES: "ranks of a sum add up; what has been added, and of what rank is it?",
        }, "ln p = H Wᵀ + 1 bᵀ - z 1ᵀ: add up the ranks"),
        _number("numbers that a transformer keeps", given["kept"], 2 * keys, {
            keys: "a key and a value for each word and layer",
            2 * 64 * 1000: "each layer keeps its own",
            2 * 4 * 64: "for each of the words",
            8 * keys: "that is in bytes",
        }, "a key and a value of 64 numbers, for each layer and word"),
    ))  # fmt: skip


def _number(text: str, given: Any, right: float, wrong: dict[float, str], hint: str) -> Promise:
    """Right to within a thousandth, or else the hint of the known wrong answer that is nearest."""
    known = (why for value, why in wrong.items() if math.isclose(given, value, rel_tol=1e-3))
    return Promise(text, math.isclose(given, right, rel_tol=1e-3), next(known, hint))


DRAWS = 300  #: of exercise 2, to see whether all sentences come first equally often
Shuffle = Callable[[Tensor, torch.Generator], Any]  #: called as ``function(columns, generator)``


def check_shuffle(function: Shuffle) -> Report:
    """Exercise 2: ``function(columns, generator)``, a partial shuffle that begins each column at a sentence.

    Args:
        function: the reader's; columns (rows, batch) of token ids, in which 0 ends a sentence.

    Example:
        >>> import torch
        >>> from awdlib.exercises.beyond import check_shuffle
        >>> def shuffle(columns, generator):
        ...     rolled = []
        ...     for column in columns.t():
        ...         starts = torch.cat([torch.tensor([0]), (column[:-1] == 0).nonzero()[:, 0] + 1])
        ...         cut = starts[torch.randint(len(starts), (), generator=generator)].item()
        ...         rolled.append(column.roll(-cut))
        ...     return torch.stack(rolled, 1)
        >>> check_shuffle(shuffle)
        ✓ as many rows and columns
        ✓ leaves its input untouched
        ✓ each column keeps its words
        ✓ neighbours stay neighbours but at one seam
        ✓ each column begins with a sentence
        ✓ each column has a cut of its own
        ✓ another draw, another order
        ✓ the same generator, the same order
        ✓ every sentence can come first
        ✓ each as often as the others
        ✓ a column without an end of a sentence stays as it is
    """
    if is_empty(function, torch.tensor([[1], [0], [2]]), torch.Generator()):
        return YOUR_TURN
    return guarded(lambda: _look_at_shuffle(function))


def _sentences(rows: int, batch: int) -> Tensor:
    """Columns of different words, 0 at the end of each sentence of 3 or 4 words; the last sentence is complete."""
    columns = torch.arange(1, rows * batch + 1).view(batch, rows).t().contiguous()
    for column in range(batch):
        columns[3 + column % 2 :: 4, column] = 0
    columns[-1] = 0
    return columns


def _look_at_shuffle(function: Shuffle) -> Iterator[Promise]:
    columns = _sentences(24, 6)
    generator = torch.Generator().manual_seed(1)
    draws = [torch.as_tensor(function(given := columns.clone(), generator)) for _ in range(40)]
    first = draws[0]
    fits = all(draw.shape == columns.shape for draw in draws)
    yield Promise("as many rows and columns", fits, f"the result has shape {tuple(first.shape)}; due is (24, 6)")
    if not fits:
        return
    yield Promise("leaves its input untouched", given.equal(columns), "build new columns, and leave those given alone")
    same = all(draw.sort(0).values.equal(columns.sort(0).values) for draw in draws)
    yield Promise("each column keeps its words", same, "words move within their column: time is dimension 0")
    if not same:
        return
    cuts = torch.stack([_cuts(columns, draw) for draw in draws])  # (draws, batch), -1 where it is no rotation
    yield Promise("neighbours stay neighbours but at one seam", bool((cuts >= 0).all()),
                  "cut once and swap the two parts: nothing else moves")  # fmt: skip
    if not (cuts >= 0).all():
        return
    before = torch.stack([columns[draw_cuts - 1, range(6)] for draw_cuts in cuts])  # row -1 is the last, which is 0
    yield Promise("each column begins with a sentence", bool((before == 0).all()),
                  "a cut is right after a 0, or at the top: is the 0 itself still in front?")  # fmt: skip
    apart = any(len({*row}) > 2 for row in (cuts // 4).tolist())
    yield Promise("each column has a cut of its own", apart, "one draw a column, not one for all")
    changing = len({tuple(row) for row in cuts.tolist()}) > 20
    yield Promise("another draw, another order", changing, "draw from the generator at each call, and do not seed it")
    first, second = (torch.as_tensor(function(columns.clone(), torch.Generator().manual_seed(2))) for _ in range(2))
    yield Promise("the same generator, the same order", first.equal(second), "draw with generator=generator")
    starts = [{0, *((columns[:-1, b] == 0).nonzero()[:, 0] + 1).tolist()} for b in range(6)]
    reached = all({*cuts[:, b].tolist()} == starts[b] for b in range(6))
    yield Promise("every sentence can come first", reached,
                  "in forty draws some sentence never came first: the first one, or the last?")  # fmt: skip
    fair = min(_firsts(function, generator)) > 0.5 * DRAWS / 4
    yield Promise("each as often as the others", fair,
                  "draw one of the beginnings: a random row finds long sentences more often")  # fmt: skip
    endless = torch.arange(1, 6)[:, None]
    kept = torch.as_tensor(function(endless.clone(), generator)).equal(endless)
    yield Promise("a column without an end of a sentence stays as it is", kept, "its only beginning is the top")


def _firsts(function: Shuffle, generator: torch.Generator) -> list[int]:
    """How often each of four sentences of very different lengths comes first; 0 in place of what is no rotation."""
    batch = 6
    columns = torch.arange(1, 25)[:, None].repeat(1, batch)
    columns[[1, 3, 19, 23]] = 0
    found = [_cuts(columns, torch.as_tensor(function(columns.clone(), generator))) for _ in range(DRAWS // batch)]
    return [int((torch.stack(found) == start).sum()) for start in (0, 2, 4, 20)]


def _cuts(columns: Tensor, shuffled: Tensor) -> Tensor:
    """Of each column the row that has come to the top, if the rest has followed it round; else -1."""
    found = []
    for before, after in zip(columns.t(), shuffled.t(), strict=True):
        fits = [cut for cut in range(len(before)) if before.roll(-cut).equal(after)]
        found.append(fits[0] if fits else -1)
    return torch.tensor(found)


Dynamic = Callable[[nn.Module, Tensor, float, int], Any]  #: called as ``function(model, tokens, lr, seq_len)``


def check_dynamic(function: Dynamic) -> Report:
    """Exercise 3: whether ``function(model, tokens, lr, seq_len)`` scores each word before it learns from it.

    Krause et al. 2018: plain gradient steps of the mean loss of each segment, no decay.

    Args:
        function: the reader's, or any that gives ln p of each word but the first.

    Example:
        >>> import copy, torch
        >>> from awdlib.exercises.beyond import check_dynamic
        >>> def dynamic(model, tokens, lr, seq_len):
        ...     learner, states, found = copy.deepcopy(model), None, []
        ...     for begin in range(0, len(tokens) - 1, seq_len):
        ...         words = tokens[begin : begin + seq_len + 1, None]
        ...         output = learner(words[:-1], states)
        ...         log_p = output.logits[:, 0].log_softmax(-1).gather(1, words[1:])[:, 0]
        ...         found.append(log_p.detach())
        ...         states = [tuple(part.detach() for part in state) for state in output.states]
        ...         grads = torch.autograd.grad(-log_p.mean(), list(learner.parameters()))
        ...         with torch.no_grad():
        ...             for weight, grad in zip(learner.parameters(), grads):
        ...                 weight -= lr * grad
        ...     return torch.cat(found)
        >>> check_dynamic(dynamic)
        ✓ one log-probability for each word but the first
        ✓ the model stays as it was
        ✓ with a step of 0 it is the model's own reading
        ✓ the first words are scored by the trained weights
        ✓ words to come change nothing
        ✓ it learns
        ✓ every word: the equation
    """
    model = LanguageModel(ModelConfig(vocab_size=6, embedding_size=4, hidden_size=4, num_layers=1),
                          generator=torch.Generator().manual_seed(2)).eval()  # fmt: skip
    tokens = torch.tensor([0, 1, 0, 2]).repeat(9)
    if is_empty(function, copy.deepcopy(model), tokens, 1.0, 5):
        return YOUR_TURN
    return guarded(lambda: _look_at_dynamic(function, model, tokens))


def _scores(model: LanguageModel, words: Tensor, states: Any) -> tuple[Tensor, Any]:
    output = model(words[:-1, None], states)
    log_p = -F.cross_entropy(output.logits[:, 0], words[1:], reduction="none")
    return log_p, [tuple(part.detach() for part in state) for state in output.states]


def _by_steps(model: LanguageModel, tokens: Tensor, lr: float, seq_len: int, cheat: bool = False) -> Tensor:
    """The equation; ``cheat``: as the bug has it, each segment is scored by the weights that have learned from it."""
    learner, states, found = copy.deepcopy(model), None, []
    for begin in range(0, len(tokens) - 1, seq_len):
        words = tokens[begin : begin + seq_len + 1]
        log_p, after = _scores(learner, words, states)
        kept = log_p.detach()
        grads = torch.autograd.grad(-log_p.mean(), list(learner.parameters()))
        with torch.no_grad():
            for weight, grad in zip(learner.parameters(), grads, strict=True):
                weight.sub_(grad, alpha=lr)
        if cheat:
            again, after = _scores(learner, words, states)
            kept = again.detach()
        found.append(kept)
        states = after
    return torch.cat(found)


def _look_at_dynamic(function: Dynamic, model: LanguageModel, tokens: Tensor) -> Iterator[Promise]:
    def call(words: Tensor, lr: float, seq_len: int) -> tuple[Tensor, bool]:
        given = copy.deepcopy(model)
        found = torch.as_tensor(function(given, words.clone(), lr, seq_len)).detach().float()
        kept = all(a.equal(b) for a, b in zip(given.parameters(), model.parameters(), strict=True))
        return found, kept

    (found, kept), due = call(tokens, 1.0, 5), _by_steps(model, tokens, 1.0, 5)
    fits = found.shape == due.shape and bool((found <= 0).all())
    yield Promise("one log-probability for each word but the first", fits,
                  f"the result has shape {tuple(found.shape)}; due are {len(due)} numbers, none above 0")  # fmt: skip
    yield Promise("the model stays as it was", kept, "a copy learns: another text must find the trained weights")
    if not fits:
        return
    with torch.no_grad():
        plain = _scores(model, tokens, None)[0]
    still = call(tokens, 0.0, 5)[0].allclose(plain, atol=1e-5)
    yield Promise("with a step of 0 it is the model's own reading", still,
                  "carry the hidden state from segment to segment, and score every word once")  # fmt: skip
    cheats = found.allclose(_by_steps(model, tokens, 1.0, 5, cheat=True), atol=1e-5)
    seen = "before the first segment nothing has been learned, so its scores are those of the trained weights"
    if cheats:
        seen = "each segment is scored after it was learned from: score first"
    yield Promise("the first words are scored by the trained weights", found[:5].allclose(plain[:5], atol=1e-5), seen)
    other = tokens.clone()
    other[21:] = 5 - other[21:]
    head = call(other, 1.0, 5)[0][:20].allclose(found[:20], atol=1e-5)
    yield Promise("words to come change nothing", head,
                  "from word 22 on the text was changed, and the scores of earlier words changed: who told them?"
                  )  # fmt: skip
    learned = bool(found[-6:].mean() > plain[-6:].mean() + 0.2)
    yield Promise("it learns", learned, "at the end of a text that repeats itself it is no better than at first")
    whole = found.allclose(due, atol=1e-4) and call(tokens, 0.5, 7)[0].allclose(
        _by_steps(model, tokens, 0.5, 7), atol=1e-4)  # fmt: skip
    else_ = "" if found[:5].allclose(plain[:5], atol=1e-5) and still and head else "perhaps as above; if not: "
    hint = f"{else_}one step a segment, of lr times the gradient of the segment's mean loss"
    yield Promise("every word: the equation", whole, hint)
