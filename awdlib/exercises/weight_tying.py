"""Checks for the exercises of the chapter *Weight tying and independent sizes*."""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty

VOCAB, SIZE, HIDDEN = 33_278, 400, 1150  #: of exercise 1, the paper's model for WikiText-2
LAYERS = 20_211_600  #: parameters of its three layers


def check_counts(tied: int, untied: int, saved: float) -> Report:
    """Exercise 1: the parameters of the paper's WikiText-2 model, tied and not, and the part that tying saves.

    Args:
        tied: the reader's count; ``...`` where there is none yet.
        untied: the same with a softmax matrix of its own, as large as the embedding's.
        saved: parameters that tying saves, as a part of the untied model's.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.weight_tying import check_counts
        >>> check_counts(33_522_800, 46_867_278, 0.284)
        ✗ parameters of the tied model
            hint: the softmax has a bias for each word
        ✓ parameters of the untied model
        ✓ part that tying saves
    """
    if any(answer is ... for answer in (tied, untied, saved)):
        return YOUR_TURN
    for name, answer in {"tied": tied, "untied": untied, "saved": saved}.items():
        require.number(name, answer)
    matrix = VOCAB * SIZE
    one = LAYERS + matrix + VOCAB
    two = one + matrix
    hints = {
        "tied": {
            one - VOCAB: "the softmax has a bias for each word",
            two: "that is the untied count: the matrix is there once",
            LAYERS + VOCAB * HIDDEN + VOCAB: "a row of the matrix is as long as an embedding, not as a hidden layer",
            matrix + VOCAB: "add the layers",
        },
        "untied": {
            two - VOCAB: "the softmax has a bias for each word",
            one: "that is the tied count: now there are two matrices",
            two + VOCAB: "a bias for each word is needed where words are written, not where they are read",
            LAYERS + matrix + VOCAB * HIDDEN + VOCAB: "the last layer hands on 400 numbers: so long are the rows",
        },
    }
    parts = {
        100 * matrix / two: "that is in per cent: give a part of 1",
        matrix / one: "as a part of the untied model's parameters, not of the tied one's",
        one / two: "that is the part which remains",
    }
    hint = next((text for value, text in parts.items() if math.isclose(saved, value, rel_tol=2e-3)), "saved / untied")
    counted = "layers, matrices of vocabulary times embedding, and a bias for each word"
    return Report((
        Promise("parameters of the tied model", tied == one, hints["tied"].get(tied, counted)),
        Promise("parameters of the untied model", untied == two, hints["untied"].get(untied, counted)),
        Promise("part that tying saves", math.isclose(saved, matrix / two, rel_tol=2e-3), hint),
    ))  # fmt: skip


Gradient = Callable[..., Tensor]
#: called as ``function(tokens, grad_x, h, error, vocab_size)``


def check_gradient(function: Gradient) -> Report:
    """Exercise 2: the gradient of a tied matrix from what arrives at its two ends.

    Args:
        function: the reader's; tokens (N,) that were read, grad_x (N, E) the loss's gradient at the embedded words,
            h (N, E) what the softmax multiplies, error (N, V) the loss's gradient at the logits.

    Example:
        >>> from awdlib.exercises.weight_tying import check_gradient
        >>> def gradient(tokens, grad_x, h, error, vocab_size):
        ...     return (error.t() @ h).index_add(0, tokens, grad_x)
        >>> check_gradient(gradient).kept
        True
    """
    generator = torch.Generator().manual_seed(1)
    vocab, size = 7, 3

    def draw(tokens: list[int]) -> Any:
        shapes = ((len(tokens), size), (len(tokens), size), (len(tokens), vocab))
        numbers = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return torch.tensor(tokens), *numbers

    once, again = draw([2, 0, 5]), draw([2, 0, 2, 5, 2])
    if is_empty(function, *(part.clone() for part in once), vocab):
        return YOUR_TURN
    found = []
    for text, case in {"each word read once": once, "a word read three times": again}.items():
        try:
            given = torch.as_tensor(function(*(part.clone() for part in case), vocab)).detach().double()
        except Exception as error:  # whatever a reader's code may raise
            return Report((Promise(text, False, f"it raised {type(error).__name__}: {error}"),))
        due = _gradient(*case)
        kept = given.shape == due.shape and torch.allclose(given, due, rtol=1e-4, atol=1e-5)
        found.append(Promise(text, kept, _gradient_hint(given, *case)))
    return Report(tuple(found))


def _gradient(tokens: Tensor, grad_x: Tensor, h: Tensor, error: Tensor) -> Tensor:
    return (error.t() @ h).index_add(0, tokens, grad_x)


def _gradient_hint(given: Tensor, tokens: Tensor, grad_x: Tensor, h: Tensor, error: Tensor) -> str:
    writing = error.t() @ h
    both = _gradient(tokens, grad_x, h, error)
    lost, put = writing.clone(), writing.clone()
    lost[tokens] += grad_x
    put[tokens] = grad_x
    known = [
        (writing, "that is the part of writing alone: add what arrives at the embedded words"),
        (both - writing, "that is the part of reading alone: add error^T h"),
        (both / 2, "gradients of two uses add up, they are not averaged"),
        (lost, "a word read more than once has one contribution from each time: `g[tokens] += …` keeps only one"),
        (put, "the rows of the words that were read have both parts: add, do not overwrite"),
        (both - 2 * writing, "the sign of the softmax's part: error is the gradient at the logits already"),
    ]
    if given.shape != both.shape:
        return f"the gradient has the shape of the matrix, {tuple(both.shape)}; yours has {tuple(given.shape)}"
    return next(
        (text for wrong, text in known if torch.allclose(given, wrong, rtol=1e-4, atol=1e-5)),
        "error^T h for all rows, and grad_x added to the rows of the words that were read",
    )


Decoder = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  #: ``function(h, embedding, projection, bias)``


def check_projected(function: Decoder) -> Report:
    """Exercise 3: logits of a tied softmax behind a last layer that is larger than an embedding.

    Args:
        function: the reader's; h (..., H), embedding (V, E), projection (E, H), bias (V,).

    Example:
        >>> from awdlib.exercises.weight_tying import check_projected
        >>> check_projected(lambda h, embedding, projection, bias: h @ projection.t() @ embedding.t() + bias).kept
        True
    """
    generator = torch.Generator().manual_seed(1)
    vocab, size, hidden = 11, 4, 6
    shapes = ((vocab, size), (size, hidden), (vocab,))
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    cases = {"one vector": (hidden,), "a window of 5 steps, 3 side by side": (5, 3, hidden)}
    found = []
    for text, shape in cases.items():
        h = torch.randn(shape, generator=generator, dtype=torch.float64)
        if is_empty(function, h, *weights):
            return YOUR_TURN
        try:
            given = torch.as_tensor(function(h, *weights)).detach().double()
        except Exception as error:  # whatever a reader's code may raise
            return Report((Promise(text, False, f"it raised {type(error).__name__}: {error}"),))
        due = h @ weights[1].t() @ weights[0].t() + weights[2]
        kept = given.shape == due.shape and torch.allclose(given, due, rtol=1e-4, atol=1e-5)
        found.append(Promise(text, kept, _projected_hint(given, due, h, *weights)))
    return Report(tuple(found))


def _projected_hint(given: Tensor, due: Tensor, h: Tensor, embedding: Tensor, projection: Tensor, bias: Tensor) -> str:
    if given.shape != due.shape:
        return f"a number for each word: {tuple(due.shape)}; yours has shape {tuple(given.shape)}"
    size = embedding.shape[1]
    known = [
        (due - bias, "the bias is missing"),
        (F.linear(h[..., :size], embedding, bias), "to cut h off is no projection: multiply it with the matrix"),
        (due.softmax(-1), "logits are asked for: what comes before the softmax"),
        (due.log_softmax(-1), "logits are asked for: what comes before the softmax"),
        (F.linear((h @ projection.t()).tanh(), embedding, bias), "the projection is linear: no tanh"),
    ]
    return next(
        (text for wrong, text in known if torch.allclose(given, wrong, rtol=1e-4, atol=1e-5)),
        "first from H to E with the projection, then from E to V with the embedding, then the bias",
    )


Maker = Callable[[int, int, int], nn.Module]  #: called as ``make(vocab_size, embedding_size, hidden_size)``
_V, _E, _H = 23, 5, 7  # sizes that no two shapes can be mistaken for each other
_READ, _NOT_READ = 4, 9  # two words; the first is read, the second never


def check_tied(make: Maker) -> Report:
    """Exercise 4: whether one parameter reads and writes, and goes on doing so.

    It looks at what the model does, not at how its parts are called: it changes a row and watches the logits.

    Args:
        make: the reader's class; its models are called with tokens (seq_len, batch), and return logits.

    Example:
        Without a tie one matrix reads and another one writes:

        >>> from torch import nn
        >>> from awdlib.exercises.weight_tying import check_tied
        >>> check_tied(lambda v, e, h: nn.Sequential(nn.Embedding(v, e), nn.Linear(e, v))).broken()[0]
        'one parameter has a row for each word'
    """
    torch.manual_seed(1)
    try:
        model = make(_V, _E, _H)
        logits = model(_tokens())
    except Exception as error:  # whatever a reader's code may raise
        return Report((Promise("it reads a window", False, f"it raised {type(error).__name__}: {error}"),))
    if not isinstance(logits, Tensor) or logits.shape != (*_tokens().shape, _V):
        hint = f"return a tensor of logits, (seq_len, batch, vocab_size), here {(*_tokens().shape, _V)}"
        return Report((Promise("it returns logits", False, hint),))
    found = [
        Promise("one parameter has a row for each word", len(_word_matrices(model)) == 1, _count_hint(model)),
        Promise(_FELT, _is_felt(model), _felt_hint(model)),
        Promise("its gradient has a part from reading and one from writing", _has_both(model), _gradient_of(model)),
    ]
    if not found[1].kept:  # nothing is there that could go on
        return Report(tuple(found))
    _step(model)
    twins = {
        "so it is after an update": (lambda one: one, "the optimizer moved the two ends apart"),
        "so it is in a deep copy": (copy.deepcopy, "Parameters that share memory are copied one by one"),
        "so it is in double precision": (lambda one: copy.deepcopy(one).double(), "`.double()`, like `.to(device)`, "
                                         "makes new memory for each Parameter: only one Parameter stays one"),
        "so it is in a fresh model that loads its state": (lambda one: _loaded(make, one), "tie when the model is "
                                                           "made, and keep all of it in the state"),
    }  # fmt: skip
    for text, (twin, hint) in twins.items():
        try:
            other = twin(model)
            same = torch.allclose(_eval(other), _eval(model).to(_eval(other).dtype), atol=1e-5)
            found.append(Promise(text, same and _is_felt(other), hint))
        except Exception as error:  # such as a state that does not fit
            found.append(Promise(text, False, f"it raised {type(error).__name__}: {error}"))
    return Report(tuple(found))


_FELT = "a change of its row is felt by reading and by writing"


def _tokens() -> Tensor:
    return torch.tensor([[_READ, 1], [2, 3], [1, 2]])


def _eval(model: nn.Module) -> Tensor:
    logits: Tensor = model.eval()(_tokens())
    return logits


def _word_matrices(model: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if sorted(weight.shape) == [_E, _V]]


def _row(matrix: Tensor, word: int) -> Tensor:
    return matrix[word] if matrix.shape[0] == _V else matrix[:, word]


@torch.no_grad()
def _changes(model: nn.Module, matrix: Tensor) -> tuple[bool, bool]:
    """Whether a row of the matrix matters to what the model makes of a word it reads, and to a word's own logit."""
    before, kept = _eval(model).clone(), matrix.clone()
    felt = []
    for word in (_READ, _NOT_READ):
        _row(matrix, word).add_(1.0)
        moved = ((_eval(model) - before)[:, 0].abs() > 1e-6).any(0)
        matrix.copy_(kept)
        moved_others = moved[torch.arange(_V) != word].any().item()
        felt.append(moved_others if word == _READ else moved[word].item() and not moved_others)
    return bool(felt[0]), bool(felt[1])


def _is_felt(model: nn.Module) -> bool:
    return any(_changes(model, matrix) == (True, True) for matrix in _word_matrices(model))


def _gradients(model: nn.Module) -> list[tuple[bool, bool]]:
    """Of each word matrix: has the logit of a word that was not read a gradient at a word read, and at its own row?"""
    model.zero_grad()
    _eval(model)[-1, 0, _NOT_READ].backward()
    rows = [(m.grad if m.grad is not None else torch.zeros_like(m)) for m in _word_matrices(model)]
    found = [(bool(_row(grad, _READ).any()), bool(_row(grad, _NOT_READ).any())) for grad in rows]
    model.zero_grad()
    return found


def _has_both(model: nn.Module) -> bool:
    return (True, True) in _gradients(model)


def _step(model: nn.Module) -> None:
    """One update from some text."""
    tokens = torch.arange(2 * _V).view(_V, 2) % _V
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss = F.cross_entropy(model.train()(tokens).flatten(0, 1), tokens.roll(-1, 0).flatten())
    loss.backward()
    optimizer.step()


def _loaded(make: Maker, model: nn.Module) -> nn.Module:
    fresh = make(_V, _E, _H)
    fresh.load_state_dict(model.state_dict())
    return fresh


def _count_hint(model: nn.Module) -> str:
    count = len(_word_matrices(model))
    if count == 0:
        return "no parameter has the shape (vocab_size, embedding_size)"
    places = {matrix.data_ptr() for matrix in _word_matrices(model)}
    if len(places) < count:
        return "two Parameters share their memory (`.data`): the optimizer sees two. Assign the Parameter itself"
    return f"there are {count}: was it copied, or replaced after it was tied? Assign the Parameter itself, last"


def _felt_hint(model: nn.Module) -> str:
    ends = [_changes(model, matrix) for matrix in _word_matrices(model)]
    if len(ends) > 1:
        return "the matrix that reads is not the one that writes: equal numbers in two places are no tie"
    if ends and not ends[0][1]:
        return "what writes is something else: a copy, or a matrix that is no parameter"
    return "what reads is something else: a copy, or a matrix that is no parameter"


def _gradient_of(model: nn.Module) -> str:
    ends = _gradients(model)
    if len(ends) > 1:
        return "each of two Parameters has one part: their sum belongs to one Parameter"
    if ends and not ends[0][1]:
        return "the softmax's part is missing: a detached weight, or its `.data`, has no gradient"
    return "the part of reading is missing: a detached weight, or its `.data`, has no gradient"
