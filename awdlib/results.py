"""What the committed records say beside what was published: one number, and differences between runs of equal seed.

Only differences at equal seed are compared: runs of one seed share initial weights and window lengths. With few seeds
a difference may be chance, so each comes with its spread and with the interval of Student's t, in which the true one
lies in 95 of 100 repetitions if seeds differ normally.
"""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from awdlib.ablation import ROWS
from awdlib.bundled import bundled
from awdlib.goals import GOALS, Goal
from awdlib.runs import RECORD, TUNED

#: Quantile 0.975 of Student's t, by degrees of freedom (Student 1908; any table of statistics).
T_QUANTILES = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
HIGHER, LOWER, OPEN, WITHIN = "higher", "lower", "not settled", "within the seeds' spread"  #: verdicts


@dataclass(frozen=True)
class Result:
    """What a run reached, and at which cost. `result_of` makes one."""

    valid: float  #: perplexity of the best epoch's weights, with the cache where the goal has it
    test: float | None  #: the same on the test text; None while the run is not finished
    record: dict[str, Any]  #: the run's
    path: str  #: of the record, below ``data/runs``

    @property
    def size(self) -> str:
        """Layers and widths, in words."""
        model = self.record["model"]
        widths = f"{model['embedding_size']} and {model['hidden_size']}"
        return f"{model['num_layers']} layers, {widths}, {self.record['parameters'] / 1e6:.1f} M parameters"

    @property
    def budget(self) -> str:
        """Epochs and time, in words."""
        done, asked = len(self.record["epochs"]), self.record["training"]["epochs"]
        epochs = f"{done} epochs" if done == asked else f"{done} of {asked} epochs"
        return f"{epochs}, {self.record['minutes']:.0f} min"

    @property
    def hardware(self) -> str:
        """GPU, or processor and threads; and the precision."""
        there = self.record["environment"]
        threads = f"{there['threads']} thread{'s' if there['threads'] > 1 else ''}"
        return f"{there['gpu'] or there['cpu'] + ', ' + threads}, {self.record['training']['precision']}"


def result_of(goal: Goal, records: Path | None = None) -> Result | None:
    """What the records say of a goal; None where its last run has none.

    Args:
        goal: one of `awdlib.goals.GOALS`.
        records: folder as ``reproduce --records`` fills it; by default the project's own, ``data/runs``.

    Example:
        >>> from awdlib.goals import GOALS
        >>> from awdlib.results import result_of
        >>> abs(result_of(GOALS["zaremba-small"]).test - GOALS["zaremba-small"].published[1]) < 2
        True
        >>> result_of(GOALS["awd-lstm-wt2-readme-cache"]) is None  # nobody has run it yet
        True
    """
    root, step = records or bundled("runs"), goal.steps[-1]
    run = f"{step.run}/{step.row}-1" if step.row else step.run
    names = [name for name in (f"{run}/{RECORD}", f"{run}.json") if (root / name).exists()]
    if not names:
        return None
    record = _read(root / names[0])
    if goal.cached:
        tuned = f"{run}/{TUNED}"
        if not (root / tuned).exists():
            return None
        figures = _read(root / tuned)
        return Result(figures["valid"]["with"], figures["test"]["with"], record, tuned)
    if final := record["final_perplexity"]:
        return Result(final["valid"], final["test"], record, names[0])
    best = min((epoch["valid_perplexity"] for epoch in record["epochs"]), default=None)
    return None if best is None else Result(best, None, record, names[0])


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Difference:
    """One arm minus another at equal seed, in test perplexity. `differences` makes them."""

    arm: str  #: what is compared
    against: str  #: with what
    by_seed: dict[int, float]  #: seed -> perplexity of the arm minus that of the other
    published: float | None = None  #: the same difference as the paper reports it, on its corpus and at its size

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.by_seed.values())

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds."""
        return statistics.stdev(self.by_seed.values())

    @property
    def interval(self) -> tuple[float, float]:
        """Student's interval of 95 %."""
        count = len(self.by_seed)
        half = T_QUANTILES[count - 1] * self.spread / count**0.5
        return self.mean - half, self.mean + half

    @property
    def verdict(self) -> str:
        """Whether it can be told from 0 by these seeds."""
        low, high = self.interval
        if low > 0:
            return HIGHER
        if high < 0:
            return LOWER
        return OPEN if abs(self.mean) > self.spread else WITHIN

    def summary(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "arm": self.arm, "against": self.against, "published": self.published, "by_seed": self.by_seed,
            "mean": self.mean, "spread": self.spread, "interval": list(self.interval), "verdict": self.verdict,
        }  # fmt: skip


def differences(records: Path | None = None) -> list[Difference]:
    """The comparisons on ``ptb-100k``: each regularizer, the optimizer, the cell, the rule and the cache.

    Args:
        records: folder as ``reproduce --records`` fills it; by default the project's own, ``data/runs``.

    Returns:
        those of which at least two seeds are finished.

    Example:
        >>> from awdlib.results import differences
        >>> [one.verdict for one in differences() if one.arm == "no regularizer"]
        ['higher']
    """
    root = (records or bundled("runs")) / "ptb-100k"
    base = "awd-lstm-ptb"
    arms = [
        ("unregularized", "no regularizer", None),
        *((row, ROWS[row].label, ROWS[row].published["ptb"][1] - _published(base)) for row in ROWS if row != "full"),
        ("gru", "GRU of equal size", None),
        ("zaremba", "Zaremba's rule", _published("zaremba-medium") - _published(base)),
    ]
    full = _tests(root, "full")
    found = []
    for arm, label, published in arms:
        by_seed = {seed: value - full[seed] for seed, value in _tests(root, arm).items() if seed in full}
        found.append(Difference(label, "full", by_seed, published))
    caches = {int(path.parent.name.rpartition("-")[2]): _read(path)["test"] for path in root.glob(f"full-*/{TUNED}")}
    gain = {seed: test["with"] - test["without"] for seed, test in sorted(caches.items())}
    published = _published(f"{base}-cache") - _published(f"{base}-finetuned")
    found.append(Difference("with the cache", "without it", gain, published))
    return [one for one in found if len(one.by_seed) > 1]


def _published(goal: str) -> float:
    """Test perplexity that a goal aims at."""
    aim = GOALS[goal].published
    assert aim is not None
    return aim[1]


def _tests(root: Path, arm: str) -> dict[int, float]:
    """Test perplexity of an arm's finished runs, by seed."""
    found = {}
    for path in root.glob(f"{arm}-*/{RECORD}"):
        seed, record = path.parent.name.removeprefix(f"{arm}-"), _read(path)
        if seed.isdecimal() and record["status"] == "finished":
            found[int(seed)] = record["final_perplexity"]["test"]
    return dict(sorted(found.items()))
