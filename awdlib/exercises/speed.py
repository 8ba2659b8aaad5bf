"""Checks for the exercises of the page *Speed*."""

import math
import statistics
from collections.abc import Callable
from typing import Any

from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty
from awdlib.model import ModelConfig

_SIZES = ((10_000, 400, 1150, 3), (2_000, 200, 400, 2), (300, 24, 40, 1))


def check_gru_operations(function: Callable[[int, int, int, int], Any]) -> Report:
    """Exercise 1: ``function(vocabulary, embedding, hidden, layers)``, operations a token of a tied GRU.

    Args:
        function: the reader's; counts the matrix products, forward and backward.

    Example:
        >>> from awdlib.exercises.speed import check_gru_operations
        >>> def of_equal_layers(vocabulary, embedding, hidden, layers):
        ...     return 6 * (layers * 3 * hidden * (hidden + hidden) + embedding * vocabulary)
        >>> print(check_gru_operations(of_equal_layers).promises[0])
        ✗ 3 layers of 1150
            hint: widths do not fit: the first layer reads embeddings, and the last one gives them
    """
    if is_empty(function, *_SIZES[0]):
        return YOUR_TURN
    found: list[Promise] = []
    for vocabulary, embedding, hidden, layers in _SIZES:
        text = f"{layers} layer{'s' if layers > 1 else ''} of {hidden}"
        try:
            given = float(function(vocabulary, embedding, hidden, layers))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, Promise(text, False, f"it raised {type(error).__name__}: {error}")))
        right = 6 * _entries(vocabulary, embedding, hidden, layers)
        kept = math.isclose(given, right, rel_tol=1e-9)
        found.append(Promise(text, kept, _count_hint(given, vocabulary, embedding, hidden, layers)))
    return Report(tuple(found))


def _entries(vocabulary: int, embedding: int, hidden: int, layers: int, gates: int = 3) -> int:
    """Of all matrices that are multiplied by."""
    config = ModelConfig(vocab_size=vocabulary, embedding_size=embedding, hidden_size=hidden, num_layers=layers)
    return gates * sum(size * (below + size) for below, size in config.layer_sizes()) + embedding * vocabulary


def _count_hint(given: float, vocabulary: int, embedding: int, hidden: int, layers: int) -> str:
    entries = _entries(vocabulary, embedding, hidden, layers)
    config = ModelConfig(vocab_size=vocabulary, embedding_size=embedding, hidden_size=hidden, num_layers=layers)
    biases = 3 * sum(size for _, size in config.layer_sizes())
    softmax = embedding * vocabulary
    inner = 3 * hidden * (embedding + hidden) + (layers - 1) * 3 * hidden * 2 * hidden
    widths = "widths do not fit: the first layer reads embeddings, and the last one gives them"
    for wrong, hint in (
        (6 * _entries(vocabulary, embedding, hidden, layers, gates=4), "four gates are the LSTM's: a GRU has three"),
        (6 * (entries + softmax), "looking a word up multiplies nothing: the tied matrix is multiplied by once"),
        (6 * (entries - softmax), "the softmax is a product too"),
        (6 * (entries + biases), "a bias is added, not multiplied: count the matrices alone"),
        (6 * (entries + 2 * biases), "a bias is added, not multiplied: count the matrices alone"),
        (6 * (inner + softmax), widths),
        (6 * (layers * 6 * hidden * hidden + softmax), widths),
        (6 * (layers * 6 * hidden * hidden + hidden * vocabulary), widths),
        (6 * (inner + hidden * vocabulary), widths),
        (2 * entries, "that is the forward pass: the backward pass has two products of the same size"),
        (4 * entries, "the backward pass has two products: for the vector and for the matrix"),
        (3 * entries, "each entry multiplies and adds: two operations a product"),
        (entries, "these are the entries: each costs six operations a token"),
    ):
        if math.isclose(given, wrong, rel_tol=1e-9):
            return hint
    return "six times the entries of all matrices that a vector is multiplied by: layers and softmax"


_MACHINES = ((145e6, 3, 20e-6, 10e12), (145e6, 3, 5e-6, 100e12), (20e6, 2, 40e-6, 1e12))


def check_balance(function: Callable[[float, int, float, float], Any]) -> Report:
    """Exercise 2: ``function(operations, layers, latency, rate)``, the batch at which waiting equals computing.

    Args:
        function: the reader's; operations a token, latency of a layer's step in seconds, operations a second.

    Example:
        >>> from awdlib.exercises.speed import check_balance
        >>> print(check_balance(lambda operations, layers, latency, rate: layers * latency * rate / operations))
        ✗ 20 µs a step, 10 TFLOP/s
            hint: that is the forward pass alone: backward the steps wait once more
        ✗ 5 µs a step, 100 TFLOP/s
            hint: that is the forward pass alone: backward the steps wait once more
        ✗ 40 µs a step, 1 TFLOP/s
            hint: that is the forward pass alone: backward the steps wait once more
    """
    if is_empty(function, *_MACHINES[0]):
        return YOUR_TURN
    found: list[Promise] = []
    for operations, layers, latency, rate in _MACHINES:
        text = f"{latency * 1e6:g} µs a step, {rate / 1e12:g} TFLOP/s"
        try:
            given = float(function(operations, layers, latency, rate))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, Promise(text, False, f"it raised {type(error).__name__}: {error}")))
        right = 2 * layers * latency * rate / operations
        kept = math.isclose(given, right, rel_tol=1e-6) or given in (round(right), math.ceil(right))
        found.append(Promise(text, kept, _balance_hint(given, right, layers)))
    return Report(tuple(found))


def _balance_hint(given: float, right: float, layers: int) -> str:
    for wrong, hint in (
        (right / 2, "that is the forward pass alone: backward the steps wait once more"),
        (right / layers, "every layer waits for itself: their steps are one chain here"),
        (right / (2 * layers), "a token waits in every layer, forward and backward"),
        (1 / right, "upside down: a longer step needs a larger batch to be hidden"),
        (right * 6, "the operations given are forward and backward already"),
        (right * 1e6, "the latency is in seconds here"),
        (right / 3, "the operations given are forward and backward already"),
    ):
        if math.isclose(given, wrong, rel_tol=1e-6):
            return hint
    return "set a token's operations / rate equal to 2 · layers · latency / batch, and solve for the batch"


#: what the machine did in each round: the same to both programs, but for one round in which one was interrupted
_CLOCKS = (1.0, 1.0, 1.1, 1.6, 1.5, 1.0, 1.2)
_ROUNDS: tuple[tuple[str, float, tuple[float, ...], dict[int, float], dict[int, float]], ...] = (
    ("a quiet machine", 0.9, (1.0,) * 7, {}, {}),
    ("the clock falls while both are measured", 0.9, _CLOCKS, {}, {}),
    ("ours is interrupted once", 0.9, _CLOCKS, {4: 20.0}, {}),
    ("theirs is interrupted once", 1.3, _CLOCKS, {}, {1: 20.0}),
    ("each is interrupted once", 1.3, _CLOCKS, {0: 9.0}, {5: 30.0}),
)


def check_ratio(function: Callable[[list[float], list[float]], Any]) -> Report:
    """Exercise 3: ``function(ours, theirs)``, how many times as long ours takes, from rounds measured in turns.

    Args:
        function: the reader's; gets the seconds of both programs, one of each a round.

    Example:
        One interruption spoils a mean:

        >>> from awdlib.exercises.speed import check_ratio
        >>> check_ratio(lambda ours, theirs: sum(ours) / sum(theirs)).broken()
        ['ours is interrupted once', 'theirs is interrupted once', 'each is interrupted once']
    """
    if is_empty(function, [1.0] * 7, [1.0] * 7):
        return YOUR_TURN
    found: list[Promise] = []
    for text, right, clocks, on_ours, on_theirs in _ROUNDS:
        ours = [right * clock * on_ours.get(number, 1.0) for number, clock in enumerate(clocks)]
        theirs = [clock * on_theirs.get(number, 1.0) for number, clock in enumerate(clocks)]
        try:
            given = float(function([*ours], [*theirs]))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, Promise(text, False, f"it raised {type(error).__name__}: {error}")))
        kept = math.isclose(given, right, rel_tol=1e-6)
        found.append(Promise(text, kept, _ratio_hint(given, right, ours, theirs)))
    return Report(tuple(found))


def _ratio_hint(given: float, right: float, ours: list[float], theirs: list[float]) -> str:
    rounds = [one / other for one, other in zip(ours, theirs, strict=True)]
    for wrong, hint in (
        (1 / right, "the other way round: ours divided by theirs"),
        (statistics.median(ours) - statistics.median(theirs), "a difference in seconds holds for this machine alone"),
        (sum(ours) / sum(theirs), "one interrupted round carries the whole mean: take a median"),
        (statistics.fmean(rounds), "one interrupted round carries the whole mean: take a median"),
        (statistics.median(ours) / statistics.median(theirs),
         "each median may come from another round, at another clock: divide within a round first"),
        (min(rounds), "the best round is the one in which theirs was disturbed"),
        (max(rounds), "the worst round is the one in which ours was disturbed"),
    ):  # fmt: skip
        if math.isclose(given, wrong, rel_tol=1e-6):
            return hint
    return "divide within each round, where both met the same machine; then take the median of the ratios"
