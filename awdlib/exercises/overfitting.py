"""Checks for the exercises of the chapter *Overfitting, and where dropout may go*."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from awdlib import _require as require
from awdlib.contracts import Promise, Report, guarded
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

LAYERS, STEPS = 2, 20  #: of exercise 1
_CASES = ((1, 0, 0.3, False), (2, 10, 0.2, False), (2, 10, 0.2, True), (3, 4, 0.45, True))  # p = 0.5 hides mistakes
_BETWEEN, _CLIMBS = LAYERS - 1, LAYERS + 1  # of its path: connections between layers, and all that go up
_TIME = "that counts the steps in time as well: which connections carry a mask here?"
_CLIMB = "the connections that go up are one more than the layers"
_LAYER = f"a step in time is taken in one layer, whichever it is: {STEPS} on the whole path"
_TORCH = "nn.LSTM never drops on the way to the next step"
_UP_HINTS = {
    LAYERS: "one into each layer, and one more: the softmax reads the last layer through a mask too",
    _BETWEEN: "that is between the layers alone: what of the way into the first, and out of the last?",
    _CLIMBS + STEPS: _TIME, LAYERS + STEPS: _TIME, _CLIMBS * STEPS: "the path goes up once, not at every step",
    STEPS: "those are the steps in time, and they carry no mask here: count the connections that go up",
}  # fmt: skip
_BOTH_HINTS = {
    STEPS: "those are the steps in time; the connections that go up carry a mask too",
    LAYERS + STEPS: f"{_CLIMB}, and {STEPS} steps are {STEPS} connections in time: one is missing",
    _BETWEEN + STEPS: f"{_CLIMB}: two are missing", _CLIMBS: "that is the count without the steps in time",
    _CLIMBS + STEPS + 1: f"one too many: {STEPS} steps are {STEPS} connections in time",
    LAYERS: f"the steps in time carry masks here, too; and {_CLIMB}",
    _CLIMBS * STEPS: "the path goes up once, not at every step: add the two numbers",
    LAYERS * STEPS: _LAYER, _CLIMBS + LAYERS * STEPS: _LAYER,
}  # fmt: skip
_TORCHS_HINTS = {
    0: "it does drop in one place: nn.LSTM's documentation says where",
    _CLIMBS: "nn.LSTM drops neither its input nor its last output",
    LAYERS: "nn.LSTM's documentation: on the outputs of each layer except the last",
    _BETWEEN + STEPS: _TORCH, _CLIMBS + STEPS: _TORCH, STEPS: _TORCH,
}  # fmt: skip


def check_masks(up: int, up_and_h: int, torchs: int) -> Report:
    """Exercise 1: masks on a path through two layers, from a word to the prediction made 20 steps later.

    Args:
        up: the reader's count with masks on the connections that go up, ``...`` where there is none yet.
        up_and_h: with masks on the hidden state's way to the next step as well, and a path through that state.
        torchs: with ``nn.LSTM``'s own dropout alone.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.overfitting import check_masks
        >>> check_masks(..., ..., ...)
        your turn: fill in the cell and run it again
        >>> check_masks(2, 23, 1)
        ✗ masks with dropout on the way up
            hint: one into each layer, and one more: the softmax reads the last layer through a mask too
        ✓ masks with dropout on h as well
        ✓ masks of nn.LSTM's own dropout
    """
    if up is ... or up_and_h is ... or torchs is ...:
        return YOUR_TURN
    for name, answer in {"up": up, "up_and_h": up_and_h, "torchs": torchs}.items():
        require.number(name, answer)
    rows = (
        ("masks with dropout on the way up", up, _CLIMBS, _UP_HINTS),
        ("masks with dropout on h as well", up_and_h, _CLIMBS + STEPS, _BOTH_HINTS),
        ("masks of nn.LSTM's own dropout", torchs, _BETWEEN, _TORCHS_HINTS),
    )
    found = []
    for text, given, right, known in rows:
        hint = known.get(given, "follow the path with a finger, and count the dashed connections on it")
        found.append(Promise(text, given == right, hint))
    return Report(tuple(found))


def check_variance(function: Callable[[int, int, float, bool], float]) -> Report:
    """Exercise 2: ``function(layers, steps, p, recurrent)``, the variance of the product of the masks on a path.

    Args:
        function: the reader's; ``recurrent`` says whether h is dropped on its way to the next step, too.

    Example:
        >>> from awdlib.exercises.overfitting import check_variance
        >>> def variance(layers, steps, p, recurrent):
        ...     masks = layers + 1 + steps * recurrent
        ...     return (1 - p) ** -masks - 1
        >>> check_variance(variance).kept
        True
    """
    if is_empty(function, 2, 3, 0.5, True):
        return YOUR_TURN
    found = []
    for layers, steps, p, recurrent in _CASES:
        where = "up and on h" if recurrent else "up alone"
        text = f"{layers} layer{'s' * (layers > 1)}, {steps} steps, p = {p:g}, masks {where}"
        try:
            given = float(function(layers, steps, p, recurrent))
        except Exception as error:  # whatever a reader's code may raise
            return Report((raised(text, error),))
        masks = layers + 1 + steps * recurrent
        right = (1 - p) ** -masks - 1
        found.append(Promise(text, math.isclose(given, right, rel_tol=1e-5), _variance_hint(given, masks, p)))
    return Report(tuple(found))


def _variance_hint(given: float, masks: int, p: float) -> str:
    def near(value: float) -> bool:
        return math.isclose(given, value, rel_tol=1e-5)

    zero = "p is the probability of a zero: what is kept is divided by 1 - p"
    through = (1 - p) ** masks
    for wrong, hint in (
        (masks * p / (1 - p), "these are variances added up; the masks are multiplied: multiply their second moments"),
        ((p / (1 - p)) ** masks, "it is not the product of variances: multiply second moments, then subtract 1"),
        (1 / through, "this is the second moment: subtract the square of the mean"),
        (math.sqrt(1 / through - 1), "this is the standard deviation: square it"),
        (through, "this is the chance to come through; asked is the variance of the product"),
        (through * (1 - through), "this is the variance without the scaling: a mask that keeps is 1/(1 - p), not 1"),
        (p**-masks, zero), (p**-masks - 1, zero),
    ):  # fmt: skip
        if near(wrong):
            return hint
    if given > -1 and math.isfinite(given):
        count = round(-math.log1p(given) / math.log1p(-p))
        if math.isclose(given, (1 - p) ** -count - 1, rel_tol=1e-5, abs_tol=1e-12):
            masks_of = f"{count} mask{'s' * (count != 1)}"
            return f"the form is right, for {masks_of}; there is one more than layers, and the steps if h is dropped"
    return "the mean of m² is 1/(1 - p), and the moments of independent factors multiply"


Stack = Callable[[int, int, int, float], nn.Module]  #: called as ``make(input_size, hidden_size, layers, p)``


def check_connections(make: Stack, p: float = 0.4) -> Report:
    """Exercises 3 and 4: a stack of LSTM layers with dropout on the connections that go up, and on no others.

    Args:
        make: the reader's class, called as ``make(input_size, hidden_size, layers, p)``; the module it makes takes x
            of shape (seq_len, batch, input_size), and what it returns is, or begins with, the last layer's output.
        p: dropout probability to try.

    Raises:
        ValueError: p is not between 0 and 1.

    Example:
        torch's own layers leave the first and the last connection alone:

        >>> from torch.nn import LSTM
        >>> from awdlib.exercises.overfitting import check_connections
        >>> def torchs(inputs, hidden, layers, p):
        ...     return LSTM(inputs, hidden, layers, dropout=p if layers > 1 else 0.0)
        >>> check_connections(torchs).broken()
        ['drops on the way out of the last layer', 'drops on the way into the first layer']
    """
    require.number("p", p, "(0, 1)")
    if is_empty(lambda: make(3, 4, 2, p)(torch.zeros(2, 1, 3))):
        return YOUR_TURN
    return guarded(lambda: _look(make, p))


def _look(make: Stack, p: float) -> Iterator[Promise]:
    """One layer or two, an input of ones or of nothing, so that each connection is looked at alone."""
    ones, nothing = torch.ones(9, 60, 7), torch.zeros(9, 60, 7)
    (single, plain), (double, plain_double) = (_twins(make, layers, p) for layers in (1, 2))
    silent, due = _outputs(single, nothing), _outputs(plain, nothing)
    yield Promise("returns the last layer's output at every step", silent.shape == (9, 60, 20),
                  f"(time, batch, hidden) is (9, 60, 20) here, and {tuple(silent.shape)} came back")  # fmt: skip
    dropped = silent == 0
    share = dropped.double().mean().item()
    out = abs(share - p) < 5 * math.sqrt(p * (1 - p) / dropped.numel())
    hint = f"{share:.0%} of what comes out is zero, at p = {p:g}"
    yield Promise("drops on the way out of the last layer", out, f"{hint}: drop what you return, and by p")
    scale = (silent[0] / due[0])[~dropped[0]].median().item()  # at the first step nothing has come back yet
    right = math.isclose(scale, 1 / (1 - p) if out else 1.0, rel_tol=1e-4)
    if out:
        yield Promise("scales what it keeps by 1/(1 - p), in training", right, f"it is multiplied by {scale:.3g}")
        fresh = not dropped[0].equal(dropped[1])
        yield Promise("a fresh mask at each step", fresh, "two steps have the same mask: draw one of x's shape")
    into = not _same(_outputs(single, ones), _outputs(plain, ones), scale)
    hint = "x goes in as it is: drop it before a layer reads it"
    if into and right and not _once_on_the_way_in(make, p, scale):
        into, hint = False, "it is dropped, but not once, by p, and scaled by 1/(1 - p): how many masks does x meet?"
    yield Promise("drops on the way into the first layer", into, hint)
    between = not _same(_outputs(double, nothing), _outputs(plain_double, nothing), scale)
    hint = "the second layer reads all of the first one's output"
    if between and not _once_between(make, p):
        between, hint = False, "not once and by p: is there a mask behind the first layer and one before the second?"
    yield Promise("drops between the layers", between, hint)
    untouched = _same(silent, due, scale, steps=9)
    yield Promise("leaves the way to the next step alone", untouched, "what goes back into the cell was dropped: keep "
                  "h as it is, and drop only the copy that goes up")  # fmt: skip
    evaluated = torch.allclose(_outputs(double.eval(), ones), _outputs(plain_double, ones), rtol=1e-5, atol=1e-7)
    yield Promise("does nothing in evaluation", evaluated, "in evaluation it must compute what it computes at p = 0: "
                  "give F.dropout the module's `training`, and scale in training only")  # fmt: skip


def _once_on_the_way_in(make: Stack, p: float, scale: float) -> bool:
    """Whether a single feature of value 1 arrives as 1/(1 - p), in a share 1 - p of the sequences."""
    module, plain = _twins(make, 1, p, inputs=1)
    x = torch.ones(1, 2000, 1)
    out, due = _outputs(module, x)[0], scale * _outputs(plain, x / (1 - p))[0]
    arrived = ((out == 0) | torch.isclose(out, due, rtol=1e-4, atol=1e-6)).all(1)
    return abs(arrived.double().mean().item() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / len(arrived))


def _once_between(make: Stack, p: float) -> bool:
    """Whether a first layer of one unit, constant without an input, reaches the second in a share 1 - p."""
    module, _ = _twins(make, 2, p, inputs=1, hidden=1)
    out = _outputs(module, torch.zeros(1, 20_000, 1)).flatten()
    out = out[out != 0]  # what the mask on the way out kept: one value where h arrived, another where it did not
    share = (out > (out.min() + out.max()) / 2).double().mean().item()
    return min(abs(share - p), abs(share - (1 - p))) < 5 * math.sqrt(p * (1 - p) / len(out))


def _twins(make: Stack, layers: int, p: float, inputs: int = 7, hidden: int = 20) -> tuple[nn.Module, nn.Module]:
    """A stack in training, and one of the same weights that drops nothing."""
    module, plain = make(inputs, hidden, layers, p).train(), make(inputs, hidden, layers, 0.0).eval()
    plain.load_state_dict(module.state_dict())
    return module, plain


def _same(dropped: Tensor, plain: Tensor, scale: float, steps: int = 1) -> bool:
    """Whether in the first steps all that was kept is what is computed without dropout, scaled."""
    kept = dropped[:steps] != 0
    return torch.allclose(dropped[:steps][kept], scale * plain[:steps][kept], rtol=1e-4, atol=1e-6)


def _outputs(module: nn.Module, x: Tensor) -> Tensor:
    result = module(x)
    return (result if isinstance(result, Tensor) else result[0]).detach()


Stopper = Callable[[Sequence[float], int], tuple[int, int]]  #: called as ``function(losses, patience)``


def check_early_stopping(function: Stopper) -> Report:
    """Exercise 5: ``function(losses, patience)`` gives (epoch of the weights kept, epoch after which training ends).

    Epochs count from 1. Training ends after ``patience`` epochs in a row without a new lowest loss, or with the last.

    Args:
        function: the reader's.

    Example:
        >>> from awdlib.exercises.overfitting import check_early_stopping
        >>> def stop(losses, patience):
        ...     best = 0
        ...     for epoch, loss in enumerate(losses):
        ...         if loss < losses[best]:
        ...             best = epoch
        ...         if epoch - best == patience:
        ...             break
        ...     return best + 1, epoch + 1
        >>> check_early_stopping(stop).kept
        True
    """
    if is_empty(function, [3.0, 2.0], 1):
        return YOUR_TURN
    cases: tuple[tuple[str, list[float], int, tuple[int, int]], ...] = (
        ("a loss that turns", [5, 4, 3, 3.5, 3.6, 3.7, 3.8], 2, (3, 5)),
        ("a loss that never turns", [5, 4, 3, 2], 2, (4, 4)),
        ("a loss that is best at once", [2, 3, 4, 5, 6], 3, (1, 4)),
        ("a ripple, shorter than the patience", [5, 4, 4.5, 3, 3.5, 3.6, 3.7], 3, (4, 7)),
        ("a tie, which is no new lowest loss", [5, 4, 4, 4, 4], 2, (2, 4)),
        ("a fall that stays above the lowest", [5, 3, 4.5, 4.2, 3.8, 3.5, 3.2], 3, (2, 5)),
        ("a better epoch that comes too late", [5, 3, 4, 4, 1], 2, (2, 4)),
    )
    found = []
    for text, losses, patience, right in cases:
        try:
            given = function(list(losses), patience)
        except Exception as error:  # whatever a reader's code may raise
            return Report((raised(text, error),))
        pair = _epochs(given)
        found.append(Promise(text, pair == right, _stopping_hint(pair, right, losses, patience)))
    return Report(tuple(found))


def _epochs(given: Any) -> tuple[int, int] | None:
    """Two whole numbers of whatever kind, or None for anything else."""
    try:
        best, last = (float(one) for one in given if not isinstance(one, str))
    except (TypeError, ValueError):  # not two, or no numbers
        return None
    return (int(best), int(last)) if best.is_integer() and last.is_integer() else None


def _stopping_hint(given: tuple[int, int] | None, right: tuple[int, int], losses: list[float], patience: int) -> str:
    at = f"losses {losses}, patience {patience}"
    if given is None:
        return f"{at}: return two whole numbers, the epoch of the weights kept and the last epoch trained"
    best, last = given
    if (best + 1, last + 1) == right:
        return f"{at}: count epochs from 1"
    if (last, best) == right:
        return f"{at}: the other way round: first the epoch whose weights are kept"
    if not 1 <= min(given) <= max(given) <= len(losses):
        return f"{at}: {given} came back, and epochs are numbers from 1 to {len(losses)}"
    if last > right[1] and best > right[0] and losses[right[0] - 1] == losses[best - 1]:
        return f"{at}: an equal loss is not a new lowest one"
    if last == right[1] and losses[best - 1] < losses[right[0] - 1]:
        return f"{at}: epoch {best} was never trained: look no further than where training ends"
    if best == right[0] and abs(last - right[1]) == 1:
        return f"{at}: one epoch off: the last epoch is the best one plus {patience}"
    if best == right[0] and last > right[1] and sorted(losses[best:]) != losses[best:]:
        return f"{at}: compare with the lowest loss so far, not with the epoch before"
    return f"{at}: due are {right[0]} for the weights kept and {right[1]} for the last epoch, {given} came back"
