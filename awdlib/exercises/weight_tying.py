"""Checks for the exercises of the chapter *Weight tying and independent sizes*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised
from awdlib.exercises.tied_models import check_tied as check_tied  # exercise 4

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
        matrix: "that is how many are saved: divide by the untied model's parameters",
    }
    near = "give the quotient itself, or three decimals" if abs(saved - matrix / two) < 0.005 else "saved / untied"
    hint = next((text for value, text in parts.items() if math.isclose(saved, value, rel_tol=2e-3)), near)
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
            return Report((raised(text, error),))
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
        (2 * writing - both, "the sign of the part of reading: grad_x is a gradient already"),
        (writing.index_add(0, tokens, h), "what arrives at the words that were read is grad_x, not h"),
        (_gradient(tokens, h, grad_x, error), "grad_x and h have changed places: the softmax multiplies h"),
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
            return Report((raised(text, error),))
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
        (F.linear((h @ projection.t()).relu(), embedding, bias), "the projection is linear: no relu"),
        (due - 2 * bias, "the bias is added"),
    ]
    return next(
        (text for wrong, text in known if torch.allclose(given, wrong, rtol=1e-4, atol=1e-5)),
        "first from H to E with the projection, then from E to V with the embedding, then the bias",
    )
