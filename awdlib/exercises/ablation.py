"""Checks for the exercises of the chapter *The ablation*."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty

#: Exercise 1: losses in nats with neither part, with A alone, with B alone, with both.
LOSSES = {"neither": 4.95, "A": 4.88, "B": 4.86, "A and B": 4.84}
#: Quantile 0.975 of Student's t by degrees of freedom, as `awdlib.results.T_QUANTILES` has it.
T_QUANTILES = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def check_square(alone: float, left_out: float, overlap: float) -> Report:
    """Exercise 1: what A gains alone, what it gains beside B, and the interaction, from `LOSSES`.

    Args:
        alone: by how much the loss falls when A is added to nothing; ``...`` where there is no answer yet.
        left_out: by how much it rises when A is taken from both.
        overlap: what A gains alone beyond what it gains beside B.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.ablation import check_square
        >>> check_square(0.07, 0.04, 0.03)
        ✓ what A gains alone
        ✗ what leaving A out costs
            hint: that is B's: with A left out, B is what remains
        ✗ the interaction
            hint: what A gains alone minus what it gains beside B
    """
    given = {"alone": alone, "left_out": left_out, "overlap": overlap}
    if any(answer is ... for answer in given.values()):
        return YOUR_TURN
    for name, answer in given.items():
        require.number(name, answer)
    none, a, b, both = LOSSES.values()
    right = {"alone": none - a, "left_out": b - both, "overlap": none - a - (b - both)}
    known = {
        "alone": {
            b - both: "that is what it gains beside B: start from neither",
            none - b: "that is B's",
            a - none: "turn the sign: a fall of the loss is a gain",
        },
        "left_out": {
            a - both: "that is B's: with A left out, B is what remains",
            none - a: "that is what A gains alone: start from both",
            both - b: "turn the sign: a rise of the loss is a cost",
            none - both: "that is the whole, with B left out too",
        },
        "overlap": {
            b - both - (none - a): "turn the sign: A gains more alone than it does beside B",
            none - both: "that is the whole",
            0.0: "they are not equal, so something is shared",
        },
    }
    texts = {"alone": "what A gains alone", "left_out": "what leaving A out costs", "overlap": "the interaction"}
    general = {"alone": "compare `neither` with `A`", "left_out": "compare `A and B` with `B`",
               "overlap": "what A gains alone minus what it gains beside B"}  # fmt: skip
    return Report(tuple(
        Promise(text, _near(given[name], right[name]), _hint(given[name], known[name], general[name]))
        for name, text in texts.items()
    ))  # fmt: skip


def _near(given: float, right: float) -> bool:
    return math.isclose(given, right, rel_tol=1e-4, abs_tol=1e-6)


def _hint(given: float, known: Mapping[float, str], general: str) -> str:
    return next((hint for wrong, hint in known.items() if _near(given, wrong)), general)


Gap = Callable[[Sequence[float], Sequence[float]], Any]  #: called as ``function(arm, full)``
_ARM, _FULL = [104.0, 118.0, 111.5, 109.0], [100.0, 115.0, 106.0, 107.5]  # test perplexities in the order of seeds


def check_gap(function: Gap) -> Report:
    """Exercise 2: ``function(arm, full)``, mean and standard error of the paired difference in nats.

    Args:
        function: the reader's; takes test perplexities in the same order of seeds, returns two numbers.

    Example:
        >>> import math
        >>> from statistics import mean, stdev
        >>> from awdlib.exercises.ablation import check_gap
        >>> def gap(arm, full):
        ...     gaps = [math.log(a / b) for a, b in zip(arm, full)]
        ...     return mean(gaps), stdev(gaps) / math.sqrt(len(gaps))
        >>> check_gap(gap).kept
        True
    """
    if is_empty(function, list(_ARM), list(_FULL)):
        return YOUR_TURN
    found: list[Promise] = []
    for title, count in (("four seeds", 4), ("three seeds", 3)):
        try:
            mean, error = (float(value) for value in function(_ARM[:count], _FULL[:count]))
        except Exception as problem:  # whatever a reader's code may raise
            return Report((Promise(title, False, f"it raised {type(problem).__name__}: {problem}"),))
        means, errors = _gaps(_ARM[:count], _FULL[:count])
        found.append(Promise(f"mean difference, {title}", _near(mean, means[""]), _named(mean, means)))
        found.append(Promise(f"its standard error, {title}", _near(error, errors[""]), _named(error, errors)))
    return Report(tuple(found))


def _gaps(arm: list[float], full: list[float]) -> tuple[dict[str, float], dict[str, float]]:
    """Right answers under "", and known wrong ones under their hints."""
    logs = [[math.log(value) for value in values] for values in (arm, full)]
    gaps, points = [a - b for a, b in zip(*logs, strict=True)], [a - b for a, b in zip(arm, full, strict=True)]
    root, mean, spread = math.sqrt(len(arm)), statistics.fmean(gaps), statistics.stdev(gaps)
    apart = math.hypot(*map(statistics.stdev, logs))
    ratio = statistics.fmean(arm) / statistics.fmean(full)
    in_points = "that is in perplexity: take the logarithm of each run's first"
    means = {
        "": mean, in_points: statistics.fmean(points), "the full model is what is subtracted": -mean,
        "first the difference of each pair, then the mean; the logarithm of a mean is another number": math.log(ratio),
        "divide by the number of pairs": sum(gaps),
    }  # fmt: skip
    errors = {
        "": spread / root, in_points: statistics.stdev(points) / root,
        "that is the standard deviation of one pair: the mean of n varies less, by the root of n": spread,
        "that treats the two columns as if their seeds were not shared: take the spread of the differences":
            apart / root,
        "that treats the columns as unpaired, and forgets the root of n": apart,
        "divide the squares by n - 1: the mean was estimated from the same pairs": statistics.pstdev(gaps) / root,
        "divide by the root of n, not by n": spread / len(gaps),
        "that is the variance: take its square root": spread**2 / len(gaps),
        "that is half of an interval: return the standard error itself": T_QUANTILES[len(gaps) - 1] * spread / root,
    }  # fmt: skip
    return means, errors


def _named(given: float, answers: dict[str, float]) -> str:
    known = {answer: hint for hint, answer in answers.items() if hint}
    return _hint(given, known, "differences of logarithms at equal seed; then mean, or stdev over the root of n")


Needed = Callable[[float, float, dict[int, float]], Any]  #: called as ``function(effect, spread, quantiles)``


def check_seeds_needed(function: Needed) -> Report:
    """Exercise 3: ``function(effect, spread, quantiles)``, how many pairs make an interval shorter than the effect.

    Args:
        function: the reader's; quantiles are Student's by degrees of freedom, 1 to 9. It returns None where ten
            seeds do not suffice.

    Example:
        >>> from awdlib.exercises.ablation import check_seeds_needed
        >>> def seeds_needed(effect, spread, quantiles):
        ...     for freedom, t in quantiles.items():
        ...         if t * spread / (freedom + 1) ** 0.5 < abs(effect):
        ...             return freedom + 1
        >>> check_seeds_needed(seeds_needed).kept
        True
    """
    if is_empty(function, 1.0, 0.001, dict(T_QUANTILES)):
        return YOUR_TURN
    cases = {
        "a large effect": (0.15, 0.008), "an effect of three spreads": (0.03, 0.01), "an effect of two": (0.02, 0.01),
        "an effect of one spread": (0.01, 0.01), "an effect below 0": (-0.02, 0.008),
        "an effect that ten seeds cannot show": (0.001, 0.01),
    }  # fmt: skip
    found: list[Promise] = []
    for text, (effect, spread) in cases.items():
        try:
            given = function(effect, spread, dict(T_QUANTILES))
        except Exception as problem:  # whatever a reader's code may raise
            return Report((*found, Promise(text, False, f"it raised {type(problem).__name__}: {problem}")))
        right = _seeds(effect, spread)
        found.append(Promise(text, given == right, _seeds_hint(given, right, effect, spread)))
    return Report(tuple(found))


def _seeds(effect: float, spread: float, shift: int = 1, fixed: float = 0.0, power: float = 0.5) -> int | None:
    """The smallest number of pairs; the options make the known mistakes."""
    for count in range(2, 11):
        if (fixed or T_QUANTILES[max(count - shift, 1)]) * spread / count**power < abs(effect):
            return count
    return None


def _seeds_hint(given: Any, right: int | None, effect: float, spread: float) -> str:
    if right is None:
        return "return None where the longest row of the table does not suffice"
    if effect < 0 and given is None:
        return "an effect may have either sign: compare with its size"
    if given == right - 1:
        return "n pairs have n - 1 degrees of freedom: is it their number that you return?"
    wrong = {
        _seeds(effect, spread, fixed=1.96): "1.96 is for a known spread: with few seeds use the table",
        _seeds(effect, spread, power=0.0): "the mean of n pairs varies less than one, by the root of n",
        _seeds(effect, spread, power=1.0): "the mean of n pairs varies less than one by the root of n, not by n",
    }
    return wrong.get(given, "half the interval is t(n - 1) times the spread over the root of n; try n = 2, 3, …")


Ablate = Callable[[Callable[..., Any], dict[str, Any], dict[str, dict[str, Any]], Sequence[int]], Any]
_PARTS = {"no-a": {"a": 0.0}, "no-b": {"b": 0.0, "width": 12}}
_BASE = {"a": 0.5, "b": 0.2, "width": 8}
_SEEDS = (4, 7, 9)


class _Trainer:
    """Stands for training: notes what it is asked for, and gives losses that betray every known mistake."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, Any], int]] = []

    def __call__(self, settings: Mapping[str, Any], seed: int) -> dict[str, list[float]]:
        self.calls.append((dict(settings), seed))
        level = 4 + 0.3 * (0.5 - settings["a"]) + 0.7 * (0.2 - settings["b"]) + 0.05 * math.sin(5 * seed)
        level += 0.02 * (settings["a"] + settings["b"]) * (seed % 3)  # a part gains more with some seeds
        dip = 0.004 * (seed % 5) + 0.06 * settings["b"]  # the test text has its own luckiest epoch
        valid = level + 0.1 * settings["b"]
        last = level + 0.1 + 0.04 * settings["a"] - 0.05 * settings["b"]
        return {
            "valid": [valid + 0.2, valid, valid + 0.1, valid + 0.15],
            "test": [level + 0.3, level + 0.08, level + 0.08 - dip, last],
        }


def _due(epoch: Callable[[dict[str, list[float]]], float], arms: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Mean differences at equal seed, each run read by ``epoch``."""
    run = _Trainer()
    return {
        name: statistics.fmean(epoch(run(settings, seed)) - epoch(run(_BASE, seed)) for seed in _SEEDS)
        for name, settings in arms.items()
    }


def check_ablation(function: Ablate) -> Report:
    """Exercise 4: ``function(run, full, changes, seeds)`` gives each row's mean difference from the full model.

    Args:
        function: the reader's. ``run(settings, seed)`` trains and returns the losses after each epoch,
            ``{"valid": […], "test": […]}``; ``changes`` has the settings that each row changes.

    Example:
        >>> from awdlib.exercises.ablation import check_ablation
        >>> len(check_ablation(lambda run, full, changes, seeds: {name: 0.0 for name in changes}).broken())
        3
    """
    if is_empty(function, _Trainer(), dict(_BASE), {name: dict(one) for name, one in _PARTS.items()}, _SEEDS):
        return YOUR_TURN
    run, full = _Trainer(), dict(_BASE)
    changes = {name: dict(one) for name, one in _PARTS.items()}
    try:
        found = {name: float(value) for name, value in dict(function(run, full, changes, _SEEDS)).items()}
    except Exception as problem:  # whatever a reader's code may raise
        return Report((Promise("it runs", False, f"it raised {type(problem).__name__}: {problem}"),))
    arms = {name: _BASE | change for name, change in _PARTS.items()}
    trained = [settings for settings, _ in run.calls]
    wanted = [_BASE, *arms.values()]
    own = all(settings in wanted for settings in trained) and all(settings in trained for settings in wanted)
    seeds = {name: sorted({seed for settings, seed in run.calls if settings == one})
             for name, one in {"full": _BASE, **arms}.items()}  # fmt: skip
    paired = all(used == sorted(_SEEDS) for used in seeds.values() if used) and any(seeds.values())
    right = _due(_at_best_valid, arms)
    close = found.keys() == right.keys() and all(_near(found[name], right[name]) for name in right)
    return Report((
        Promise("each row is trained with its own change, and no other", own, _settings_hint(trained, full, wanted)),
        Promise("every row has the seeds of the full model", paired, "the same list of seeds for both runs of a pair"),
        Promise("the test loss at the best validation epoch is compared", close, _loss_hint(found, right, arms)),
    ))  # fmt: skip


def _at_best_valid(losses: dict[str, list[float]]) -> float:
    return losses["test"][losses["valid"].index(min(losses["valid"]))]


def _settings_hint(trained: list[dict[str, Any]], full: dict[str, Any], wanted: list[dict[str, Any]]) -> str:
    if full != _BASE:
        return "the full model's settings were changed in place: the rows after that inherit it"
    if trained and all(settings == _BASE for settings in trained):
        return "every run had the full model's settings: `full | change` is a new dictionary, and was it used?"
    if _BASE not in trained:
        return "the full model itself was never trained"
    if any(settings not in wanted for settings in trained):
        return "a row had other settings than the full model's with its own change"
    return "one of the rows was never trained"


def _loss_hint(found: dict[str, float], right: dict[str, float], arms: dict[str, dict[str, Any]]) -> str:
    if found.keys() != right.keys():
        return f"return a number for each row: {', '.join(right)}"
    known = {
        "that epoch was chosen by the test text: choose it by the validation text": lambda one: min(one["test"]),
        "that is the last epoch's: choose the one that is best on the validation text": lambda one: one["test"][-1],
        "that is the validation loss: choose by it, report the test loss": lambda one: min(one["valid"]),
    }
    for hint, epoch in known.items():
        due = _due(epoch, arms)
        if all(_near(found[name], due[name]) for name in due):
            return hint
    if all(_near(found[name], -right[name]) for name in right):
        return "the full model is what is subtracted"
    return "put the promises above right first; then: mean over seeds of row minus full, at the best validation epoch"
