"""The paper's ablation: each part of AWD-LSTM left out in turn, over several seeds, beside the published figures.

Merity et al. 2017, the table of ablations. The paper does not say whether its other rows were
fine-tuned, so all rows here are compared at equal budget *without* fine-tuning: ``full`` is the paper's row
"- fine-tuning", and every difference is taken from it, the paper's too. (If the paper fine-tuned its rows, its
differences are larger by what fine-tuning brings: 0.2 to 1.5.) The paper's row "AWD-LSTM (tied)" is ``fine-tuned``:
it goes on from the ``full`` run of the same seed, for at most as many epochs as that took::

    for cell, record in run_grid(PRESETS["toy"], ["full", "no-weight-drop"], [1, 2, 3], folder, load_corpus("toy")):
        ...
    print(as_text(collect(folder)))  # awdlib.figures.ablation
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from awdlib import _require as require
from awdlib.corpora import Corpus
from awdlib.presets import Preset
from awdlib.runs import CHECKPOINT, RECORD, Run, hold, read_record, resume, start_finetuning
from awdlib.settings import suggest
from awdlib.training import EpochRecord, StepRecord, start
from awdlib.training_config import TrainConfig, decided, finetuning

SPLITS = ("valid", "test")  #: what a finished run is measured on


class Row(NamedTuple):
    """One row of the table: what it is called, what it changes, and what the paper reports.

    Example:
        >>> from awdlib.ablation import ROWS
        >>> from awdlib.presets import PRESETS
        >>> row, paper = ROWS["no-weight-drop"], PRESETS["awd-lstm-ptb"]
        >>> paper.model.dropout_weight, row.vary(paper).model.dropout_weight
        (0.5, 0.0)
        >>> row.published["ptb"]
        (71.1, 68.9)
    """

    label: str  #: as the table and the picture write it
    vary: Callable[[Preset], Preset]  #: from a preset to the one without this part
    published: dict[str, tuple[float, float]]  #: corpus -> perplexity, validation and test


def _model(**changes: Any) -> Callable[[Preset], Preset]:
    return lambda preset: replace(preset, model=replace(preset.model, **changes))


def changing(**changes: Any) -> Callable[[Preset], Preset]:
    """What changes these training settings of a preset.

    Args:
        **changes: fields of `TrainConfig`.

    Returns:
        a function from a preset to the changed one.

    Example:
        >>> from awdlib.ablation import changing
        >>> from awdlib.presets import PRESETS
        >>> changing(seed=7)(PRESETS["toy"]).training.seed
        7
    """
    return lambda preset: replace(preset, training=replace(preset.training, **changes))


def _as_large_as_hidden(preset: Preset) -> Preset:
    return _model(embedding_size=preset.model.hidden_size)(preset)


def _fine_tuned(preset: Preset) -> Preset:
    return replace(preset, training=finetuning(preset.training, preset.training.epochs))


def _row(label: str, vary: Callable[[Preset], Preset], ptb: tuple[float, float], wt2: tuple[float, float]) -> Row:
    return Row(label, vary, {"ptb": ptb, "wikitext-2": wt2})


_PLATEAU = changing(lr_decay="plateau", decay_factor=0.5, average_from=None)  # no average, by schedule neither

#: The paper's rows by name; ``full`` is its row "- fine-tuning", ``fine-tuned`` its first.
#:
#: :meta hide-value:
ROWS: dict[str, Row] = {
    "full": _row("full, not fine-tuned", _model(), (60.7, 58.8), (69.1, 66.0)),
    "no-ntasgd": _row("– NT-ASGD", _PLATEAU, (66.3, 63.7), (73.3, 69.7)),
    "no-variable-windows": _row("– variable windows", changing(variable_windows=False), (61.3, 58.9), (69.3, 66.2)),
    "no-embedding-dropout": _row("– embedding dropout", _model(dropout_embedding=0.0), (65.1, 62.7), (71.1, 68.1)),
    "no-weight-decay": _row("– weight decay", changing(weight_decay=0.0), (63.7, 61.0), (71.9, 68.7)),
    "no-ar-tar": _row("– AR/TAR", changing(ar_weight=0.0, tar_weight=0.0), (62.7, 60.3), (73.2, 70.1)),
    "full-sized-embedding": _row("full-sized embedding", _as_large_as_hidden, (68.0, 65.6), (73.7, 70.7)),
    "no-weight-drop": _row("– weight drop", _model(dropout_weight=0.0), (71.1, 68.9), (78.4, 74.9)),
    "fine-tuned": _row("full, fine-tuned", _fine_tuned, (60.0, 57.3), (68.6, 65.8)),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One row at one seed: one run. `plan` makes them, and its example shows some."""

    row: str  #: name of one of `ROWS`
    preset: Preset  #: as varied by the row, with the seed and the corpus's vocabulary

    @property
    def name(self) -> str:
        """Name of its folder, ROW-SEED."""
        return f"{self.row}-{self.preset.training.seed}"


def plan(preset: Preset, rows: Sequence[str], seeds: Sequence[int], corpus: Corpus) -> list[Cell]:
    """The cells in the order in which they are run: all rows of one seed, ``full`` first, then the next seed's.

    Args:
        preset: what the rows vary; its corpus, vocabulary size and seed are replaced.
        rows: names of `ROWS`.
        seeds: one cell of each row for each of them.
        corpus: what is to be trained on.

    Raises:
        ValueError: no such row, no rows or seeds, a row that changes nothing, or one that needs another beside it.

    Example:
        >>> from awdlib.ablation import plan
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.presets import PRESETS
        >>> cells = plan(PRESETS["toy"], ["no-ar-tar", "full"], [1, 2], load_corpus("toy"))
        >>> [cell.name for cell in cells]
        ['full-1', 'no-ar-tar-1', 'full-2', 'no-ar-tar-2']
    """
    for name in require.texts("rows", rows):
        if name not in ROWS:
            raise ValueError(f"there is no row {name!r}{suggest(name, ROWS)}")
    if not rows or not seeds:
        raise ValueError(f"rows are {list(rows)}, seeds {list(seeds)}; a grid needs at least one of each")
    if "fine-tuned" in rows and "full" not in rows:
        raise ValueError("row 'fine-tuned' goes on from 'full': add that row")
    preset = replace(preset, corpus=corpus.name, model=replace(preset.model, vocab_size=len(corpus.vocabulary)))
    for name in rows:
        if name not in ("full", "fine-tuned") and ROWS[name].vary(preset) == preset:
            raise ValueError(f"row {name!r} changes nothing in these settings: leave it out")
    varied = [(name, ROWS[name].vary(preset)) for name in ROWS if name in rows]
    return [Cell(name, changing(seed=seed)(one)) for seed in dict.fromkeys(seeds) for name, one in varied]


def is_finished(cell: Cell, folder: Path, name: str = "") -> bool:
    """Whether ``FOLDER/ROW-SEED`` holds a finished run of this cell.

    Args:
        cell: one of `plan`.
        folder: of the grid.
        name: of the preset, when it has one.

    Raises:
        ValueError: it holds a run of another preset, of other settings, or of more epochs.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.ablation import is_finished, plan
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.presets import PRESETS
        >>> (cell,) = plan(PRESETS["toy"], ["full"], [1], load_corpus("toy"))
        >>> with tempfile.TemporaryDirectory() as empty:
        ...     is_finished(cell, Path(empty))
        False
    """
    here, asked = folder / cell.name, cell.preset.training.epochs
    if not (here / RECORD).exists():
        return False
    record = read_record(here)
    finished, epochs = record["status"] == "finished", record["training"]["epochs"]
    if changed := differing_settings(record, cell.preset, name, but="epochs"):
        raise ValueError(f"{here} holds a run with other settings ({changed}): name another folder")
    if epochs > asked:
        raise ValueError(
            f"{here} was trained for {epochs} epochs, more than the {asked} asked for: name another folder"
        )
    if epochs < asked and cell.row == "fine-tuned":
        raise ValueError(
            f"{here} goes on from a run of {epochs} epochs, not {asked}: move it away, or name another folder"
        )
    return finished and epochs == asked


def differing_settings(record: dict[str, Any], preset: Preset, name: str, but: str = "") -> str:
    """Names of the settings in which a run's record differs from a preset, commas between; "" where in none.

    Args:
        record: from `awdlib.runs.read_record`.
        preset: what was asked for.
        name: of the preset.
        but: a setting that may differ.

    Example:
        >>> from dataclasses import asdict
        >>> from awdlib.ablation import changing, differing_settings
        >>> from awdlib.presets import PRESETS
        >>> toy = PRESETS["toy"]
        >>> record = {"preset": "toy", "corpus": {"name": "toy"}, "model": asdict(toy.model)}
        >>> record["training"] = asdict(changing(seed=7, lr=5.0)(toy).training)
        >>> differing_settings(record, toy, "toy", but="seed")
        'lr'
    """
    training, there = decided(preset.training, record["training"]), TrainConfig(**record["training"])
    wanted = {"preset": name, "corpus": preset.corpus, **asdict(preset.model), **asdict(training)}
    found = {"preset": record["preset"], "corpus": record["corpus"]["name"], **record["model"], **asdict(there)}
    return ", ".join(key for key in wanted if key != but and found.get(key) != wanted[key])


def open_cell(
    cell: Cell, folder: Path, corpus: Corpus, name: str = "", device: torch.device | str = "cpu"
) -> Run:  # fmt: skip
    """The run of a cell, resumed where it was interrupted; its `Run.steps` train it, its `Run.finish` ends it.

    Args:
        cell: one of `plan`.
        folder: of the grid; nothing is written before the first step.
        corpus: what is trained on.
        name: of the preset, for the record.
        device: where to train.

    Raises:
        CheckpointError: what is there belongs to other settings, or there is no ``full`` run to fine-tune.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.ablation import open_cell, plan
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.presets import PRESETS
        >>> corpus = load_corpus("toy")
        >>> (cell,) = plan(PRESETS["toy"], ["full"], [1], corpus)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = open_cell(cell, Path(folder), corpus)
        >>> run.folder.name, run.training.updates
        ('full-1', 0)
    """
    here, preset, parent = folder / cell.name, cell.preset, None
    full = folder / f"full-{preset.training.seed}"
    if cell.row == "fine-tuned":
        origin = read_record(full)
        parent = {"run": full.name, "best_epoch": origin["best_epoch"], "perplexity": origin["final_perplexity"]}
    if (here / CHECKPOINT).exists():
        training = resume(here, corpus, preset.model, preset.training, device)
    elif cell.row == "fine-tuned":
        training = start_finetuning(full, corpus, preset.training.epochs, device)
    else:
        training = start(preset.model, preset.training, device)
    return Run(here, corpus, training, name, parent=parent)


def run_grid(
    preset: Preset, rows: Sequence[str], seeds: Sequence[int], folder: Path, corpus: Corpus, *,
    name: str = "", device: torch.device | str = "cpu",
) -> Iterator[tuple[Cell, StepRecord | EpochRecord]]:  # fmt: skip
    """Train every cell that is not finished; stop consuming at any record to interrupt, call again to go on.

    Args:
        preset: what the rows vary.
        rows: names of `ROWS`.
        seeds: one run of each row for each of them.
        folder: of the grid; its runs are in ``ROW-SEED``.
        corpus: what is trained on.
        name: of the preset, for the records.
        device: where to train.

    Yields:
        the cell at work, and the records of `awdlib.training.train`.

    Raises:
        ValueError: as `plan` and `is_finished` say, before anything is trained.
        FolderInUse: another process trains a cell that is not finished.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.ablation import run_grid
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.presets import PRESETS
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     grid = run_grid(PRESETS["toy"], ["full", "no-ar-tar"], [1, 2], Path(folder), load_corpus("toy"))
        ...     cell, record = next(grid)
        ...     grid.close()  # leaves a checkpoint, from which the next call goes on
        >>> cell.name, record.update
        ('full-1', 1)
    """
    cells = plan(preset, rows, seeds, corpus)
    for cell in [cell for cell in cells if not is_finished(cell, folder, name)]:
        with hold(folder / cell.name):
            run = open_cell(cell, folder, corpus, name, device)
            try:
                for record in run.steps():
                    yield cell, record
            except GeneratorExit:  # the consumer has left, between two updates
                run.save("interrupted")
                raise
            run.finish()
