"""Checks for the exercises of the chapter *AWD-LSTM assembled*."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from awdlib import _require as require
from awdlib.contracts import Promise, Report, guarded
from awdlib.exercises.answers import YOUR_TURN, is_empty
from awdlib.model import LanguageModel, ModelConfig, cross_entropy, detach
from awdlib.ntasgd import NTASGD

#: exercise 1: which step must come before which, and what goes wrong otherwise; a to f belong to a window
ORDER = {
    ("c", "f"): "there is nothing to differentiate before the forward pass",
    ("f", "a"): "before the backward pass there is no gradient of this window to clip",
    ("a", "d"): "the optimizer must see the clipped gradient",
    ("b", "d"): "a step takes the learning rate that is set when it is made",
    ("c", "e"): "the state to be cut off comes out of the forward pass",
    ("g", "h"): "the trigger can see the validation loss only once it is measured",
}
_WINDOW, _STEPS = "abcdef", "abcdefgh"

_SIZES = ((10_000, 400, 1150, 3), (33_278, 400, 1150, 3), (50, 6, 9, 2), (50, 6, 9, 1))


def check_order(answer: str | Sequence[str]) -> Report:
    """Exercise 1: the steps of an epoch in an order that works; there are several.

    Args:
        answer: the letters a to h, as one string or several, ``...`` where there is none yet.

    Raises:
        ValueError: the answer is not each of the letters once.

    Example:
        >>> from awdlib.exercises.awd_lstm import check_order
        >>> check_order("bcfadegh").kept, check_order("bcfdaegh").broken()
        (True, ['a before d'])
    """
    if answer is ...:
        return YOUR_TURN
    text = "".join(map(str, answer)) if isinstance(answer, list | tuple) else str(answer)
    letters = [letter for letter in text.lower() if letter.isalnum()]
    if sorted(letters) != [*_STEPS]:
        raise ValueError(f"the answer is {require.shown(answer)}; it must be each letter from a to h once")
    at = {letter: place for place, letter in enumerate(letters)}
    found = [
        Promise(f"{one} before {other}", at[one] < at[other], hint) for (one, other), hint in ORDER.items()
    ]  # fmt: skip
    last = max(at[letter] for letter in _WINDOW)
    done = last < min(at["g"], at["h"])
    return Report((*found, Promise("g and h after the windows", done, "validation comes once an epoch, at its end")))


def parameters_of(vocab: int, embedding: int, hidden: int, layers: int) -> int:
    """How many numbers an AWD-LSTM learns: exercise 2's answer, from the sizes of its layers.

    Args:
        vocab: word types.
        embedding: features of a word, and of the last layer's output.
        hidden: features of the other layers.
        layers: recurrent layers.

    Example:
        >>> from awdlib.exercises.awd_lstm import parameters_of
        >>> f"{parameters_of(10_000, 400, 1150, 3):,}"
        '24,221,600'
    """
    sizes = [embedding] + [hidden] * (layers - 1) + [embedding]
    recurrent = sum(4 * out * (into + out + 2) for into, out in zip(sizes, sizes[1:]))  # noqa: B905 (one shorter)
    return vocab * embedding + vocab + recurrent


def _wrong_counts(vocab: int, embedding: int, hidden: int, layers: int) -> dict[float, str]:
    right = parameters_of(vocab, embedding, hidden, layers)
    sizes = [embedding] + [hidden] * (layers - 1) + [embedding]
    outputs = sum(sizes[1:])
    untied_last = [embedding] + [hidden] * layers
    wide = sum(4 * out * (into + out + 2) for into, out in zip(untied_last, untied_last[1:]))  # noqa: B905
    return {
        parameters_of(vocab, embedding, hidden, 3): "these are three layers; the number of layers is an argument",
        right + vocab * embedding: "the softmax is tied: one matrix reads and writes",
        right - vocab: "the softmax has a bias, a number a word",
        right - 4 * outputs: "torch's LSTM has two biases, and so has the original code",
        right - 4 * outputs - vocab: "two things: the softmax has a bias, and each LSTM has two",
        right - 8 * outputs: "each LSTM has two biases of four gates",
        right - 8 * outputs - vocab: "biases count too: two in each LSTM, and one in the softmax",
        vocab * embedding + vocab + wide: "the last layer is as large as an embedding, not as the others",
        vocab * (embedding + 1) + (right - vocab * (embedding + 1)) // 4: "an LSTM has four gates, each with weights",
    }  # fmt: skip


def check_parameters(function: Callable[[int, int, int, int], int]) -> Report:
    """Exercise 2: the number of parameters from the four sizes.

    Args:
        function: the reader's ``parameters(vocab, embedding, hidden, layers)``.

    Example:
        >>> from awdlib.exercises.awd_lstm import check_parameters, parameters_of
        >>> check_parameters(lambda *sizes: parameters_of(*sizes) - sizes[0])
        ✗ Penn Treebank, the paper's sizes
            hint: the softmax has a bias, a number a word
        ✗ WikiText-2, the paper's sizes
            hint: the softmax has a bias, a number a word
        ✗ two small layers
            hint: the softmax has a bias, a number a word
        ✗ a single layer
            hint: the softmax has a bias, a number a word
    """
    if is_empty(function, *_SIZES[0]):
        return YOUR_TURN
    names = ("Penn Treebank, the paper's sizes", "WikiText-2, the paper's sizes", "two small layers", "a single layer")

    def look() -> Iterator[Promise]:
        for name, sizes in zip(names, _SIZES, strict=True):
            answer, right = function(*sizes), parameters_of(*sizes)
            if answer is None or isinstance(answer, str | list | tuple):
                raise ValueError(f"the function returned {require.shown(answer)}: return a number")
            given = float(answer)
            hint = f"{given:,.0f} where {right:,} were due: take the layers one by one, input and output size each"
            yield Promise(name, given == right, _wrong_counts(*sizes).get(given, hint))

    return guarded(look)


def check_excess(excess: Callable[[float, float], float], closed: Callable[[float, float, float], float]) -> Report:
    """Exercise 3: the distance to the floor in nats, and the share of a distance that is closed.

    Args:
        excess: the reader's ``excess(perplexity, floor)``.
        closed: the reader's ``closed(before, after, floor)``.

    Example:
        >>> from awdlib.exercises.awd_lstm import check_excess
        >>> check_excess(lambda perplexity, floor: perplexity - floor, lambda before, after, floor: 0.5)
        ✗ excess: nats a word above the floor
            hint: a difference of perplexities is no number of nats: take logarithms first
        ✗ closed: the share of the distance that is gone
            hint: it must be 0 where nothing changed and 1 at the floor, in nats
    """
    if is_empty(excess, 30.0, 15.0) or is_empty(closed, 30.0, 20.0, 15.0):
        return YOUR_TURN

    def look() -> Iterator[Promise]:
        cases = [(30.0, 15.0), (22.3, 15.8), (15.8, 15.8)]
        given = [float(excess(*case)) for case in cases]
        right = _near(given, [math.log(one / floor) for one, floor in cases])
        yield Promise("excess: nats a word above the floor", right, _excess_hint(given, cases))
        triples = [(30.0, 20.0, 15.0), (28.0, 28.0, 15.8), (28.0, 15.8, 15.8)]
        shares = [float(closed(*case)) for case in triples]
        due = [math.log(before / after) / math.log(before / floor) for before, after, floor in triples]
        yield Promise("closed: the share of the distance that is gone", _near(shares, due), _closed_hint(shares, due))

    return guarded(look)


def _near(given: Sequence[float], due: Sequence[float]) -> bool:
    return all(math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6) for one, other in zip(given, due, strict=True))


def _excess_hint(given: Sequence[float], cases: Sequence[tuple[float, float]]) -> str:
    known = {
        "a difference of perplexities is no number of nats: take logarithms first": [a - b for a, b in cases],
        "the ratio of the perplexities is exp of what is asked for": [a / b for a, b in cases],
        "these are bits; for nats take the natural logarithm": [math.log2(a / b) for a, b in cases],
        "the other way round: a model above the floor has a positive excess": [math.log(b / a) for a, b in cases],
        "this is the loss itself: what would the grammar's loss be?": [math.log(a) for a, b in cases],
    }
    return next(
        (hint for hint, wrong in known.items() if _near(given, wrong)),
        "the loss is ln of the perplexity; the grammar has one too",
    )


def _closed_hint(given: Sequence[float], due: Sequence[float]) -> str:
    if _near(given, [100 * one for one in due]):
        return "these are per cent; a share lies between 0 and 1"
    if _near(given, [1 - one for one in due]):
        return "this is the share that is left"
    if _near(given, [2 / 3, 0.0, 1.0]):
        return "these are shares of a difference of perplexities: measure distances in nats"
    return "it must be 0 where nothing changed and 1 at the floor, in nats"


def check_epoch(epoch: Callable[..., float]) -> Report:
    """Exercise 4: an epoch of training, watched from outside: modes, states, rate, clip, average.

    Args:
        epoch: ``epoch(model, optimizer, windows, validate, lr, bptt, clip)``, which trains a `LanguageModel` with an
            `NTASGD` on a list of (inputs, targets), calls ``validate(model)`` once, tells the optimizer, and returns
            the validation loss.

    Example:
        >>> from awdlib.exercises.awd_lstm import check_epoch, reference_epoch
        >>> check_epoch(reference_epoch).kept
        True
    """
    tried = _stage()
    if is_empty(epoch, *tried.arguments()) and not tried.modes:  # nothing was even read
        return YOUR_TURN
    return guarded(lambda: _watched(epoch))


def reference_epoch(
    model: LanguageModel, optimizer: NTASGD, windows: Sequence[tuple[Tensor, Tensor]],
    validate: Callable[[LanguageModel], float], lr: float, bptt: int, clip: float,
) -> float:  # fmt: skip
    """An epoch as it should be: what exercise 4 is held to.

    Args:
        model: to train.
        optimizer: of its weights.
        windows: (inputs, targets) in order.
        validate: gives the validation loss of a model that is in evaluation mode.
        lr: learning rate at a window of ``bptt`` tokens.
        bptt: nominal window.
        clip: largest norm of the gradient.

    Returns:
        the validation loss.

    Example:
        The second of two epochs of one window each; the loss is whatever ``validate`` finds:

        >>> import torch
        >>> from awdlib.exercises.awd_lstm import reference_epoch
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> from awdlib.ntasgd import NTASGD
        >>> model = LanguageModel(ModelConfig(vocab_size=9, embedding_size=4, hidden_size=4))
        >>> optimizer = NTASGD(model.parameters(), lr=1.0)
        >>> text = torch.arange(9)[:, None]
        >>> for _ in range(2):
        ...     loss = reference_epoch(model, optimizer, [(text[:-1], text[1:])], lambda _: 2.5, 1.0, 8, 0.25)
        >>> loss, optimizer.history
        (2.5, [2.5, 2.5])
    """
    model.train()
    states = model.initial_states(windows[0][0].shape[1])
    for inputs, targets in windows:
        output = model(inputs, states)
        optimizer.zero_grad()
        cross_entropy(output.logits, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        for group in optimizer.param_groups:
            group["lr"] = lr * len(inputs) / bptt
        optimizer.step()
        states = detach(output.states)
    model.eval()
    with optimizer.averaged():
        loss = validate(model)
    optimizer.observe(loss)
    return loss


class _stage:  # noqa: N801 (a fixture, not a type)
    """A small model whose optimizer averages already, and notes of all that is done with them."""

    lr, bptt, clip = 3.0, 8, 0.1

    def __init__(self) -> None:
        sizes = ModelConfig(
            vocab_size=40, embedding_size=6, hidden_size=8, num_layers=2, dropout_input=0.0, dropout_hidden=0.0,
            dropout_output=0.0, dropout_embedding=0.0, dropout_weight=0.0,
        )  # fmt: skip
        weights = torch.Generator().manual_seed(5)
        self.model = LanguageModel(sizes, generator=weights).double()
        self.optimizer = NTASGD(self.model.parameters(), lr=self.lr)
        self.optimizer.start_averaging()
        text = torch.randint(40, (24, 3), generator=weights)
        cuts = [(0, 8), (8, 12), (12, 22)]
        self.windows = [(text[a:b], text[a + 1 : b + 1]) for a, b in cuts]
        self.modes: list[bool] = []
        self.given: list[Any] = []
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.validated: list[tuple[bool, list[Tensor]]] = []
        self.model.register_forward_pre_hook(self._read)
        self.optimizer.register_step_pre_hook(self._step)
        self.model.eval()  # as a validation before may have left it

    def _read(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.modes.append(self.model.training)
        self.given.append(arguments[1] if len(arguments) > 1 else None)

    def _step(self, *_: Any) -> None:
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        gradients = [w.grad for w in self.model.parameters() if w.grad is not None]
        self.norms.append(nn.utils.get_total_norm(gradients).item())

    def validate(self, model: LanguageModel) -> float:
        self.validated.append((model.training, copy.deepcopy([*model.parameters()])))
        return 3.0

    def arguments(self) -> tuple[Any, ...]:
        return self.model, self.optimizer, self.windows, self.validate, self.lr, self.bptt, self.clip


def _watched(epoch: Callable[..., float]) -> Iterator[Promise]:
    mine, due = _stage(), _stage()
    returned = epoch(*mine.arguments())
    reference_epoch(*due.arguments())
    hint = "a model that was evaluated stays in evaluation mode until train() is called: its dropout is off"
    yield Promise("every window is read in training mode", len(mine.modes) == 3 and all(mine.modes), hint)
    carried = [states for states in mine.given[1:] if states is not None]
    whole = len(carried) == 2 and all(part.any() for states in carried for state in states for part in state)
    hint = "hand the states on; zeros belong to the beginning of an epoch alone"
    yield Promise("each window begins with the state that the last one left", whole, hint)
    cut = not any(part.requires_grad for states in carried for state in states for part in state)
    yield Promise("the states' history is cut off", cut, "detach the states between two windows")
    rates = [mine.lr * len(inputs) / mine.bptt for inputs, _ in mine.windows]
    hint = f"windows of 8, 4 and 10 were trained at {mine.rates}: scale lr by len(inputs) / bptt before the step"
    yield Promise("the learning rate follows the window", mine.rates == rates, hint)
    clipped = bool(mine.norms) and max(mine.norms) <= 1.001 * mine.clip
    hint = "clip the norm of all gradients together, after backward() and before step()"
    yield Promise("the gradient is clipped", clipped, hint)
    same = all(one.allclose(other) for one, other in zip(mine.model.parameters(), due.model.parameters(), strict=True))
    hint = "if all else holds: is each window's gradient a fresh one, and the loss the cross entropy?"
    yield Promise("the weights after the epoch are right", same, hint)
    quiet = len(mine.validated) == 1 and not mine.validated[0][0]
    hint = "call eval() before validate(model), and validate once"
    yield Promise("validates once, without dropout", quiet, hint)
    with due.optimizer.averaged(), mine.optimizer.averaged():
        averages = zip(mine.model.parameters(), due.model.parameters(), strict=True)
        kept = not same or all(one.allclose(other) for one, other in averages)  # weights that are wrong have another
        pairs = zip(mine.validated[0][1], mine.model.parameters(), strict=True) if mine.validated else []
        judged = bool(mine.validated) and all(one.allclose(other) for one, other in pairs)
    hint = "once averaging has begun, the model to be judged is the average: `with optimizer.averaged():`"
    yield Promise("validates the average", judged, hint)
    hint = "averaging had begun before this epoch: to begin it again forgets all earlier iterates"
    yield Promise("the average goes on", kept, hint)
    hint = "observe(loss) once an epoch, and return it; without it averaging never begins"
    yield Promise("tells the trigger, and returns the loss", mine.optimizer.history == [3.0] == [returned], hint)
