"""What the committed records say beside what was published: one number, and differences between runs of equal seed.

Only differences at equal seed are compared: runs of one seed share their initial weights and window lengths wherever
their sizes and rules allow. With few seeds a difference may be chance, so each comes with its spread and with the
interval of Student's t, in which the true one lies in 95 of 100 repetitions if seeds differ normally.
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
    path: str  #: of the record, below the folder of records
    parents: tuple[dict[str, Any], ...] = ()  #: records of the runs that it goes on from, the first one first

    @property
    def size(self) -> str:
        """Layers and widths, in words."""
        model = self.record["model"]
        cell = f"{model['num_layers']}-layer {model.get('cell', 'lstm').upper()}"
        widths = f"embedding {model['embedding_size']}, hidden {model['hidden_size']}"
        return f"{cell}, {widths}, {self.record['parameters'] / 1e6:.1f} M"

    @property
    def budget(self) -> str:
        """Epochs and time of the run and of those before it, in words."""
        runs = (*self.parents, self.record)
        done, asked = len(self.record["epochs"]), self.record["training"]["epochs"]
        epochs = " + ".join(str(len(run["epochs"])) for run in runs)
        if done < asked:
            ended = self.record["status"] == "finished"
            epochs += " (ended by the criterion)" if ended else f" of {asked}"
        return f"{epochs} epochs, {sum(run['minutes'] for run in runs):,.0f} min"

    @property
    def hardware(self) -> str:
        """GPUs, or processors and threads; and the precision."""
        runs = (*self.parents, self.record)
        stretches = [one for run in runs for one in (*run.get("earlier_environments", ()), run["environment"])]
        machines = dict.fromkeys(one["gpu"] or _processor(one) for one in stretches)
        return f"{' and '.join(machines)}; {self.record['training']['precision']}"


def _processor(environment: dict[str, Any]) -> str:
    threads = environment["threads"]
    return f"{environment['cpu']}, {threads} thread{'s' if threads > 1 else ''}"


def result_of(goal: Goal, records: Path | None = None) -> Result | None:
    """What the records say of a goal; None where its last run has none.

    Args:
        goal: one of `awdlib.goals.GOALS`.
        records: folder as ``reproduce --records`` fills it; by default the project's own, ``data/runs``.

    Raises:
        ValueError: the record is of a run on another corpus.

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
    found = {name: _read(root / name) for name in (f"{run}/{RECORD}", f"{run}.json") if (root / name).exists()}
    if not found:
        return None
    path, record = min(found.items(), key=lambda one: one[1]["status"] != "finished")  # a new run hides no finished one
    if record["corpus"]["name"] != goal.corpus:
        raise ValueError(f"{root / path} is of a run on {record['corpus']['name']}, not {goal.corpus}: move it away")
    parents = (_read(root / step.parent / RECORD),) if step.parent else ()
    if goal.cached:
        if len(goal.steps) > 2:
            parents = (_read(root / goal.steps[0].run / RECORD),)
        if not (root / run / TUNED).exists():
            return None
        figures = _read(root / run / TUNED)
        return Result(figures["valid"]["with"], figures["test"]["with"], record, f"{run}/{TUNED}", parents)
    if final := record["final_perplexity"]:
        return Result(final["valid"], final["test"], record, path, parents)
    best = min((epoch["valid_perplexity"] for epoch in record["epochs"]), default=None)
    return None if best is None else Result(best, None, record, path, parents)


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Difference:
    """One arm minus another at equal seed, in test perplexity. `differences` makes them."""

    arm: str  #: what is compared
    against: str  #: with what
    by_seed: dict[int, float]  #: seed -> perplexity of the arm minus that of the other
    published: float | None = None  #: the same difference as the paper reports it, on its corpus and at its size
    parameters: int = 0  #: of the arm's model

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
        if count - 1 not in T_QUANTILES:
            raise ValueError(f"{self.arm} has {count} seeds; the table of t is for 2 to {max(T_QUANTILES) + 1}")
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
            "arm": self.arm, "against": self.against, "published": self.published, "parameters": self.parameters,
            "by_seed": self.by_seed,
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
    arms = [
        ("unregularized", "no regularizer", None),
        *((name, row.label, _of_paper(row.published["ptb"][1])) for name, row in ROWS.items() if name != "full"),
        ("gru", "GRU", None),
        ("zaremba", "Zaremba's rule", None),  # no paper has both at one size
    ]
    full = _finished(root, "full")
    found = []
    for arm, label, published in arms:
        runs = _finished(root, arm)
        by_seed = {seed: _test(run) - _test(full[seed]) for seed, run in runs.items() if seed in full}
        if len(by_seed) > 1:
            found.append(Difference(label, "full", by_seed, published, next(iter(runs.values()))["parameters"]))
    caches = {seed: root / f"full-{seed}" / TUNED for seed in full}
    gain = {seed: _gain(_read(path)) for seed, path in caches.items() if path.exists()}
    if len(gain) > 1:
        published = _of_paper(_published("awd-lstm-ptb-cache"), "awd-lstm-ptb-finetuned")
        found.append(
            Difference("full with the cache", "full", gain, published, next(iter(full.values()))["parameters"])
        )
    return found


def _finished(root: Path, arm: str) -> dict[int, dict[str, Any]]:
    """Records of an arm's finished runs, by seed."""
    found = {}
    for path in root.glob(f"{arm}-*/{RECORD}"):
        seed, record = path.parent.name.removeprefix(f"{arm}-"), _read(path)
        if seed.isdecimal() and record["status"] == "finished":
            found[int(seed)] = record
    return dict(sorted(found.items()))


def _test(record: dict[str, Any]) -> float:
    return float(record["final_perplexity"]["test"])


def _gain(tuned: dict[str, Any]) -> float:
    return float(tuned["test"]["with"] - tuned["test"]["without"])


def _of_paper(test: float, against: str = "awd-lstm-ptb") -> float:
    """A published perplexity minus that of a goal, with the one decimal that both have."""
    return round(test - _published(against), 1)


def _published(goal: str) -> float:
    """Test perplexity that a goal aims at."""
    aim = GOALS[goal].published
    assert aim is not None
    return aim[1]
