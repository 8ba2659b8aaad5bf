"""Checks for the exercises of the page *Reproducing the paper*."""

import copy
import io
import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty

_TEXTS = (
    ("windows of one length", (3.0, 4.0), (70, 70)),
    ("a short last window", (3.0, 4.5), (70, 7)),
    ("three windows of three lengths", (2.0, 5.0, 3.8), (70, 35, 12)),
)


def check_perplexity(function: Callable[[list[float], list[int]], Any]) -> Report:
    """Exercise 1: ``function(means, counts)``, the perplexity of a text from its windows' mean losses.

    Args:
        function: the reader's; gets the mean loss of each window, in nats, and the number of words it predicts.

    Example:
        >>> import math
        >>> from awdlib.exercises.reproducing import check_perplexity
        >>> print(check_perplexity(lambda means, counts: math.exp(sum(means) / len(means))).promises[1])
        ✗ a short last window
            hint: every window counts alike here: let each weigh as many words as it predicts
    """
    if is_empty(function, [3.0, 4.0], [70, 70]):
        return YOUR_TURN
    found: list[Promise] = []
    for text, means, counts in _TEXTS:
        try:
            given = float(function([*means], [*counts]))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, Promise(text, False, f"it raised {type(error).__name__}: {error}")))
        loss = sum(mean * count for mean, count in zip(means, counts, strict=True)) / sum(counts)
        kept = math.isclose(given, math.exp(loss), rel_tol=1e-5)
        found.append(Promise(text, kept, _perplexity_hint(given, means, counts, loss)))
    return Report(tuple(found))


def _perplexity_hint(given: float, means: tuple[float, ...], counts: tuple[int, ...], loss: float) -> str:
    words = sum(counts)
    weighted = sum(count * math.exp(mean) for mean, count in zip(means, counts, strict=True)) / words
    last = "the exponential comes last: average the losses, not the perplexities"
    equal = "every window counts alike here: let each weigh as many words as it predicts"
    for wrong, hint in (
        (loss, "this is the mean loss: take its exponential"),
        (2**loss, "the losses are in nats: the base is e, not 2"),
        (statistics.fmean(math.exp(mean) for mean in means), last),
        (weighted, last),
        (math.exp(statistics.fmean(means)), equal),
        (math.exp(loss * words / (words + 1)), "that divides by one word more than was predicted"),
        (math.exp(loss * words / (words + len(means))), "that divides by one word a window more than was predicted"),
        (math.exp(loss * words / len(means)), "that is the loss of a window: divide by the words, not the windows"),
    ):  # fmt: skip
        if math.isclose(given, wrong, rel_tol=1e-5):
            return hint
    return "add up the losses of all words, divide by their number, and only then take the exponential"


#: perplexities of a few runs that differ in the seed alone, and Student's t for one degree of freedom less
_RUNS = (((61.0, 60.2, 61.4), 4.303, 3.182), ((58.9, 59.4, 58.1, 58.8, 60.2), 2.776, 2.571))


def check_seed_range(function: Callable[[list[float]], Any]) -> Report:
    """Exercise 2: ``function(own)``, the range of one more run: 95 of 100 runs with another seed lie in it.

    Args:
        function: the reader's; gets the perplexities of runs that differ in their seed alone, gives (low, high).

    Example:
        The mean is known better than a single run:

        >>> import statistics
        >>> from awdlib.exercises.reproducing import check_seed_range
        >>> def of_the_mean(own):
        ...     half = {3: 4.303, 5: 2.776}[len(own)] * statistics.stdev(own) / len(own) ** 0.5
        ...     return statistics.fmean(own) - half, statistics.fmean(own) + half
        >>> print(check_seed_range(of_the_mean).promises[1])
        ✗ half the range of one more run, 3 seeds
            hint: that is where the mean of many runs lies: a single run strays from it
    """
    if is_empty(function, [*_RUNS[0][0]]):
        return YOUR_TURN
    found: list[Promise] = []
    for own, t, one_more in _RUNS:
        seeds = f"{len(own)} seeds"
        try:
            low, high = (float(value) for value in function([*own]))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, Promise(seeds, False, f"it raised {type(error).__name__}: {error}")))
        centre = statistics.fmean(own)
        middle = math.isclose((low + high) / 2, centre, rel_tol=1e-5)
        right = t * statistics.stdev(own) * math.sqrt(1 + 1 / len(own))
        kept = math.isclose((high - low) / 2, right, rel_tol=2e-3)
        found += [
            Promise(f"its middle, {seeds}", middle, "it lies around the mean of the runs, as far below as above"),
            Promise(f"half the range of one more run, {seeds}", kept, _range_hint((high - low) / 2, own, t, one_more)),
        ]
    return Report(tuple(found))


def _range_hint(half: float, own: tuple[float, ...], t: float, one_more: float) -> str:
    n = len(own)
    if math.isclose(-half, t * statistics.stdev(own) * math.sqrt(1 + 1 / n), rel_tol=2e-3):
        return "the lower end comes first"
    quantiles = {
        t: "",
        1.96: "1.96 holds for a spread that is known; from so few seeds it is a guess: take Student's t",
        2: "2 holds for a spread that is known; from so few seeds it is a guess: take Student's t",
        one_more: "Student's t of one degree too many: the mean has used one up",
        1: "that is one standard deviation: Student's t is missing",
    }
    spreads = {
        statistics.stdev(own): "",
        statistics.pstdev(own): "divide the squares by n - 1: the mean was taken from the same runs",
        statistics.variance(own): "this is the variance: take its square root",
    }
    widths = {
        math.sqrt(1 + 1 / n): "",
        1 / math.sqrt(n): "that is where the mean of many runs lies: a single run strays from it",
        1: "your own mean is not exact either: its variance, 1/n of a run's, adds to that of the new run",
    }
    for quantile, first in quantiles.items():
        for spread, second in spreads.items():
            for width, third in widths.items():
                if math.isclose(half, quantile * spread * width, rel_tol=2e-3):
                    return "; ".join(hint for hint in (third, second, first) if hint)
    return "Student's t, times the standard deviation of a run, times the root of 1 + 1/n"


class TinyRun:
    """A training in miniature, with all that the future of a real one depends on.

    Args:
        seed: of the weight and of the masks.

    Attributes:
        weight: changed in place by every step.
        average: of the weights so far, changed in place.
        averaged: how many weights are in the average.
        hidden: the state that is carried from window to window.
        position: in the text.
        history: the losses so far; the rate is halved by what they say.
        draw: the source of randomness, a ``torch.Generator``.

    Example:
        >>> from awdlib.exercises.reproducing import TinyRun
        >>> run = TinyRun(seed=1)
        >>> run.step()
        >>> run.position, len(run.history)
        (1, 1)
    """

    def __init__(self, seed: int) -> None:
        self.draw = torch.Generator().manual_seed(seed)
        self.weight = torch.randn(4, generator=self.draw)
        self.average, self.averaged = torch.zeros(4), 0
        self.hidden = torch.zeros(4)
        self.position = 0
        self.history: list[float] = []

    def step(self) -> None:
        """Read on, drop, update, average, note the loss."""
        mask = torch.rand(4, generator=self.draw) < 0.5
        read = math.sin(self.position)
        self.position += 1
        self.hidden = torch.tanh(self.weight * mask + read + 0.5 * self.hidden)
        away = self.hidden - 0.3
        stalled = self.history[3:] and self.history[-1] > min(self.history[:-2])
        self.weight -= (0.05 if stalled else 0.1) * away
        self.averaged += 1
        self.average += (self.weight - self.average) / self.averaged
        self.history.append(float(away.square().mean()))


_PARTS = {
    "weight": "the weights are what is trained",
    "average": "the average is what is evaluated in the end",
    "averaged": "without their number the next weight counts for too much, or too little",
    "hidden": "the state is carried from window to window: the next window begins with it",
    "position": "without it the text begins again",
    "history": "the learning rate depends on the losses so far",
    "draw": "the masks to come depend on it: see draw.get_state() and draw.set_state(...)",
}


def check_checkpoint(keep: Callable[[TinyRun], Any], bring_back: Callable[[TinyRun, Any], Any]) -> Report:
    """Exercise 3: ``keep(run)`` gives a checkpoint, ``bring_back(run, kept)`` makes of any run the one kept.

    Args:
        keep: the reader's; gives tensors and plain values, in dictionaries and lists.
        bring_back: the reader's; changes a `TinyRun` that was begun with another seed.

    Example:
        >>> from awdlib.exercises.reproducing import check_checkpoint
        >>> def bring_back(run, kept):
        ...     run.position = kept["position"]
        >>> check_checkpoint(lambda run: {"position": run.position}, bring_back).broken()[-1]
        'it goes on, bit for bit, as if it had never been stopped'
    """
    run = TinyRun(1)
    try:
        if keep(run) is None:
            return YOUR_TURN
        return Report(tuple(_checkpoint(run, keep, bring_back)))
    except Exception as error:  # whatever a reader's code may raise
        return Report((Promise("it runs", False, f"it raised {type(error).__name__}: {error}"),))


def _checkpoint(
    run: TinyRun, keep: Callable[[TinyRun], Any], bring_back: Callable[[TinyRun, Any], Any]
) -> list[Promise]:
    _go_on(run, 7)
    before = _parts(run)
    kept = keep(run)
    unchanged = _same(_parts(run), before)
    try:
        file = _written(kept)
    except Exception:
        hint = "keep tensors and plain values, no objects: of a generator its get_state()"
        return [Promise("it can be written to a file and read without running code", False, hint)]
    _go_on(run, 9)
    first = _back(bring_back, copy.deepcopy(file), 2)
    found = [
        Promise("keeping changes nothing in the run", unchanged, "only look: no step, no draw, no attribute set"),
        Promise("what was kept stays as it was while the run goes on", _same(_written(kept), file),
                "the run changes tensors and lists in place: keep copies (clone(), list(...))"),
        *(Promise(f"brought back: {part}", _same(_parts(first)[part], before[part]), hint)
          for part, hint in _PARTS.items()),
    ]  # fmt: skip
    _go_on(first, 9)
    found.append(Promise("it goes on, bit for bit, as if it had never been stopped", _same(_parts(first), _parts(run)),
                         "something that the next steps depend on is another"))  # fmt: skip
    alone = copy.deepcopy(file)
    _go_on(_back(bring_back, alone, 3), 5)
    found.append(Promise("one checkpoint serves twice", _same(alone, file),
                         "the run that was brought back changes the checkpoint in place: give it copies"))  # fmt: skip
    return found


def _go_on(run: TinyRun, steps: int) -> None:
    for _ in range(steps):
        run.step()


def _back(bring_back: Callable[[TinyRun, Any], Any], file: Any, seed: int) -> TinyRun:
    """A run that was another, a few steps old."""
    run = TinyRun(seed)
    _go_on(run, 3)
    given = bring_back(run, file)
    return given if isinstance(given, TinyRun) else run


def _written(kept: Any) -> Any:
    """What is read from a file that it was written to."""
    file = io.BytesIO()
    torch.save(kept, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def _parts(run: TinyRun) -> dict[str, Any]:
    found = {part: copy.deepcopy(getattr(run, part)) for part in _PARTS if part != "draw"}
    return found | {"draw": run.draw.get_state()}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(_same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return False
    return bool(one == other)
