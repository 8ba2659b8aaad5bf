"""The ablation's table: means over seeds, differences from the full model, and the paper's figures beside them."""

import statistics
from pathlib import Path
from typing import Any, NamedTuple

from awdlib.ablation import ROWS, SPLITS, changing, differing_settings
from awdlib.model import ModelConfig
from awdlib.presets import Preset
from awdlib.runs import RECORD, read_record
from awdlib.training_config import TrainConfig


class Line(NamedTuple):
    """One row of the finished table: means over its seeds, in perplexity; None where there is nothing to say.

    From `collect`, whose example shows some.
    """

    row: str  #: its name
    seeds: str  #: as in "1 2 3"
    valid: float  #: mean over the seeds
    valid_sd: float | None  #: standard deviation over the seeds
    test: float  #: mean over the seeds
    test_sd: float | None  #: standard deviation over the seeds
    valid_difference: float | None  #: from ``full``, over the seeds that both have; None for ``full`` itself
    valid_error: float | None  #: standard error of that difference
    test_difference: float | None  #: from ``full``, likewise
    test_error: float | None  #: standard error of that difference
    paper_valid: float  #: what the paper reports
    paper_test: float  #: what the paper reports
    paper_valid_difference: float  #: from the paper's row "- fine-tuning"
    paper_test_difference: float  #: likewise


class Table(NamedTuple):
    """What `collect` finds in a folder."""

    preset: str  #: its name; "" where it has none
    corpus: str  #: what was trained on
    epochs: int  #: of every run, fine-tuning not counted
    paper_corpus: str  #: of the paper's figures; this corpus where it has any, else Penn Treebank
    lines: list[Line]  #: in the order of `awdlib.ablation.ROWS`


def collect(folder: Path) -> Table:
    """The table of all finished cells in a grid's folder.

    A difference is the mean over seeds of (row - full) at equal seed: runs of one seed share initial weights and
    window lengths, so only their difference can be treated as independent from seed to seed.

    Args:
        folder: of the grid, as `awdlib.ablation.run_grid` fills it.

    Raises:
        ValueError: there is no finished cell, or the cells do not belong to one grid.

    Example:
        A grid of two runs, its records made up from another's:

        >>> import json, tempfile
        >>> from dataclasses import asdict
        >>> from pathlib import Path
        >>> from awdlib import ablation, ablation_table, bundled, checkpoints, corpora, presets
        >>> other = json.loads(bundled.bundled("runs/ptb-small.json").read_text(encoding="utf-8"))
        >>> cells = ablation.plan(presets.PRESETS["toy"], ["full", "no-ar-tar"], [1], corpora.load_corpus("toy"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for cell, test in zip(cells, [30.0, 33.0]):
        ...         record = other | {"preset": "toy", "corpus": {"name": "toy", "floor": {}}}
        ...         record |= {"model": asdict(cell.preset.model), "training": asdict(cell.preset.training)}
        ...         record |= {"final_perplexity": {"valid": 31.0, "test": test}}
        ...         checkpoints.write_json(Path(folder) / cell.name / "record.json", record)
        ...     table = ablation_table.collect(Path(folder))
        >>> [(line.row, line.test, line.test_difference, line.paper_test_difference) for line in table.lines]
        [('full', 30.0, None, 0.0), ('no-ar-tar', 33.0, 3.0, 1.5)]
    """
    found: dict[str, dict[int, dict[str, Any]]] = {}  # row -> seed -> record
    for path in sorted(folder.glob(f"*/{RECORD}")):
        row, _, seed = path.parent.name.rpartition("-")
        if row in ROWS and seed.isdecimal() and (record := read_record(path.parent))["status"] == "finished":
            found.setdefault(row, {})[int(seed)] = record
    if not found:
        raise ValueError(f"{folder} holds no finished run of an ablation")
    first = _require_one_grid(folder, found)
    corpus = first["corpus"]["name"]
    on = corpus if corpus in ROWS["full"].published else "ptb"
    lines = [_line(row, found[row], found.get("full", {}), on) for row in ROWS if row in found]
    return Table(first["preset"], corpus, first["training"]["epochs"], on, lines)


def _require_one_grid(folder: Path, found: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """Check that every run is the first one varied by its row and seed; returns the first run's record."""
    first = next(iter(found.get("full", next(iter(found.values()))).values()))
    model, training = ModelConfig(**first["model"]), TrainConfig(**first["training"])
    base = Preset(corpus=first["corpus"]["name"], model=model, training=training, source="")
    for row, runs in found.items():
        for seed, record in runs.items():
            expected = changing(seed=seed)(ROWS[row].vary(base))
            changed = differing_settings(record, expected, first["preset"])
            if "full" not in found:  # settings that cannot be told from the first run's
                changed = ", ".join(name for name in ("preset", "corpus") if record[name] != first[name])
            if changed:
                raise ValueError(
                    f"{folder / row}-{seed} differs from the rest in {changed}: the runs of one table may differ in "
                    "their row and seed alone; name another folder"
                )
    return first


def _line(row: str, runs: dict[int, dict[str, Any]], full: dict[int, dict[str, Any]], on: str) -> Line:
    ours = [_mean_and_deviation([run["final_perplexity"][split] for run in runs.values()]) for split in SPLITS]
    shared = runs.keys() & full.keys() if row != "full" else set()
    against: list[tuple[float | None, float | None]] = []
    for split in SPLITS:
        values = [runs[seed]["final_perplexity"][split] - full[seed]["final_perplexity"][split] for seed in shared]
        mean, deviation = _mean_and_deviation(values) if values else (None, None)
        against.append((mean, None if deviation is None else deviation / len(shared) ** 0.5))
    paper, without = ROWS[row].published[on], ROWS["full"].published[on]
    differences = [round(one - other, 1) for one, other in zip(paper, without, strict=True)]
    return Line(
        row, " ".join(map(str, sorted(runs))), *ours[0], *ours[1], *against[0], *against[1], *paper, *differences
    )


def _mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
