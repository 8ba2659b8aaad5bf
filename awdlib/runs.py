"""A run's folder: trained, checkpointed, resumed, read back.

It holds::

    RUN/record.json      configuration, versions, hardware, every epoch's figures, the final figures
    RUN/checkpoint.pt    all that the run needs to go on exactly where it was
    RUN/best.pt          the weights of the best validation epoch (the average's, once there is one)
    RUN/cache.json       theta and lambda of the continuous cache, once they have been tuned
"""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from awdlib import _require as require
from awdlib import checkpoints
from awdlib.checkpoints import CheckpointError
from awdlib.corpora import Corpus
from awdlib.environment import describe_environment, now
from awdlib.evaluation import check_vocabulary, evaluate
from awdlib.locks import locked
from awdlib.model import LanguageModel, ModelConfig
from awdlib.records import complaint
from awdlib.training import (
    EpochRecord,
    StepRecord,
    Training,
    TrainingDiverged,
    columns_of,
    require_finite,
    start,
    train,
)
from awdlib.training_config import TrainConfig, decided, finetuning

RECORD, CHECKPOINT, BEST = "record.json", "checkpoint.pt", "best.pt"  #: the files in a run's folder
TUNED = "cache.json"  #: what tune-cache adds to them


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep other processes from training in a run's folder; `locks.locked`, with what a killed one left removed.

    A `Run` holds its folder while it trains and while it writes. Hold it around more where that depends on what the
    folder has, such as starting a run only if there is none.

    Args:
        folder: the run's; made when needed.

    Raises:
        FolderInUse: another process trains there.
        CheckpointError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.runs import hold
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     half_written = Path(folder) / ".record.json-x"
        ...     half_written.touch()  # what a killed process leaves
        ...     with hold(Path(folder)):
        ...         half_written.exists()
        False
    """
    with locked(folder) as protected:
        for name in (RECORD, CHECKPOINT, BEST) if protected else ():
            for leftover in folder.glob(f".{name}-*"):
                leftover.unlink(missing_ok=True)
        yield


@dataclass
class Run:
    """A run: a folder and the training in it.

    Args:
        folder: where everything is written; made when first needed.
        corpus: what is trained on.
        training: from `awdlib.training.start`, or restored by `resume`.
        preset: name of the preset it came from.
        checkpoint_minutes: time between two checkpoints inside an epoch: what a kill can cost at most.
        parent: where its first weights came from, for a run that fine-tunes another.

    Raises:
        ValueError: checkpoint_minutes is negative or not finite.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib import corpora, model, runs, training
        >>> words = corpora.Vocabulary(["a", "b", "c"])
        >>> corpus = corpora.Corpus("abc", words, *[words.encode(words.words * 333)] * 3, checked="made here")
        >>> new = training.start(model.ModelConfig(vocab_size=3, hidden_size=8), training.TrainConfig(epochs=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = runs.Run(Path(folder), corpus, new)
        ...     records = list(run.steps())
        ...     sorted(run.finish()), sorted(path.name for path in run.folder.iterdir())
        (['test', 'valid'], ['best.pt', 'checkpoint.pt', 'record.json'])
    """

    folder: Path
    corpus: Corpus
    training: Training
    preset: str = ""
    checkpoint_minutes: float = 3.0
    parent: dict[str, Any] | None = None
    environment: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        require.number("checkpoint_minutes", self.checkpoint_minutes, "[0, inf)")
        self.environment = describe_environment(self.training.device)  # as it is at the start, the commit above all

    def steps(self) -> Iterator[StepRecord | EpochRecord]:
        """Train, writing checkpoints, weights and record on the way; stop consuming at any record to interrupt.

        Yields:
            the records of `awdlib.training.train`.

        Raises:
            TrainingDiverged: the loss is not finite; the last good checkpoint is kept.
            CheckpointError: something cannot be written; what was written before is kept.
            FolderInUse: another process trains in this folder.
            ValueError: the corpus does not fit; nothing is written.
        """
        columns_of(self.training, self.corpus)
        with hold(self.folder):
            self.write_record("running")
            saved_at = time.monotonic()
            for record in self._train():
                if isinstance(record, EpochRecord):
                    self._keep_if_best(record)
                    self.save()
                    saved_at = time.monotonic()
                elif time.monotonic() - saved_at >= 60 * self.checkpoint_minutes:
                    self.save()
                    saved_at = time.monotonic()
                yield record

    def _train(self) -> Iterator[StepRecord | EpochRecord]:
        try:
            yield from train(self.training, self.corpus)
        except TrainingDiverged:
            self.write_record("diverged")
            raise

    def save(self, status: str = "running") -> None:
        """Write the checkpoint, then the record; a diverged state is never saved over a good one.

        Args:
            status: what the record says of the run, "running" or "interrupted".
        """
        require_finite(self.training)
        saved = self.training.state_dict() | {
            "model_config": asdict(self.training.model.config),
            "train_config": asdict(self.training.config),
            "corpus": self.corpus.name,
            "vocabulary": self.corpus.vocabulary.fingerprint(),
            "preset": self.preset,
        }
        with hold(self.folder):
            checkpoints.save(self.folder / CHECKPOINT, saved)
            self.write_record(status)

    def finish(self) -> dict[str, float]:
        """Evaluate the best weights on both held-out splits, the test split as one single stream; write the record.

        Returns:
            the perplexities of ``"valid"`` and ``"test"``.
        """
        model, _ = load_best(self.folder, self.corpus, self.training.device)
        config = self.training.config
        final = {
            "valid": math.exp(evaluate(model, self.corpus.valid, config.eval_batch_size)),
            "test": math.exp(evaluate(model, self.corpus.test, batch_size=1)),
        }
        with hold(self.folder):
            self.write_record("finished", final)
        return final

    def write_record(self, status: str, final: dict[str, float] | None = None) -> None:
        """Write ``record.json``: what was run, where, and how it went; ``final`` is what `finish` returns."""
        training, path = self.training, self.folder / RECORD
        before = read_record(self.folder) if path.exists() else {}
        best, by = training.best_epoch(), [r for r in training.history if r.averaging_began]
        record = {
            "status": status,
            "preset": self.preset,
            "parent": self.parent,
            "corpus": {"name": self.corpus.name, "checked": self.corpus.checked, "floor": self.corpus.floor},
            "model": asdict(training.model.config),
            "parameters": sum(weight.numel() for weight in training.model.parameters()),
            "training": asdict(training.config),
            "environment": self.environment,
            "earlier_environments": self._earlier(before),
            "began": before.get("began") or now(),
            "written": now(),
            "epochs": [
                asdict(r) | {"train_perplexity": r.train_perplexity, "valid_perplexity": r.valid_perplexity}
                for r in training.history
            ],
            "minutes": sum(r.seconds for r in training.history) / 60,
            "averaging": {"begun_after_epoch": by[0].epoch, "begun_by": by[0].averaging_began} if by else None,
            "best_epoch": best.epoch if best else None,
            "final_perplexity": final,
        }
        checkpoints.write_json(path, record)

    def _earlier(self, before: dict[str, Any]) -> list[dict[str, Any]]:
        """The environments of earlier stretches, each with the last epoch that was finished in it."""
        earlier: list[dict[str, Any]] = before.get("earlier_environments", [])
        last: dict[str, Any] = before.get("environment", self.environment)
        return earlier if last == self.environment else [*earlier, last | {"until_epoch": len(before["epochs"])}]

    def _keep_if_best(self, record: EpochRecord) -> None:
        best = self.training.best_epoch()
        if best is not None and best.epoch == record.epoch:
            with self.training.optimizer.averaged():
                weights = {name: weight.clone() for name, weight in self.training.model.state_dict().items()}
            config = asdict(self.training.model.config)
            fingerprint = self.corpus.vocabulary.fingerprint()
            checkpoints.save(self.folder / BEST, {"model": weights, "config": config, "vocabulary": fingerprint})


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a run: plain values, as `Run.write_record` has written them.

    Args:
        folder: the run's.

    Raises:
        CheckpointError: the folder holds none, or it is not JSON, or not a record.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib import bundled, runs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / runs.RECORD).write_bytes(bundled.bundled("runs/ptb-small.json").read_bytes())
        ...     record = runs.read_record(Path(folder))
        >>> record["preset"], record["status"], len(record["epochs"])
        ('ptb-small', 'finished', 9)
    """
    path = folder / RECORD
    remedy = "bring back a copy, or delete it and go on with --resume, which writes it anew"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{folder} is not the folder of a run: cannot read {path} ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is damaged: it is not JSON; {remedy}") from None
    if wrong := complaint(record):
        raise CheckpointError(f"{path} is damaged or of another version: {wrong}; {remedy}")
    return record


def tuned_state(record: dict[str, Any]) -> dict[str, Any]:
    """What tells whether a run has gone on since its weights were used: fine-tuned, or tuned a cache on.

    Args:
        record: the run's.

    Example:
        >>> from awdlib.runs import tuned_state
        >>> tuned_state({"best_epoch": 9, "final_perplexity": {"valid": 93.6, "test": 90.6}, "minutes": 20.8})
        {'best_epoch': 9, 'final_perplexity': {'valid': 93.6, 'test': 90.6}}
    """
    return {name: record[name] for name in ("best_epoch", "final_perplexity")}


def load_best(folder: Path, corpus: Corpus, device: torch.device | str = "cpu") -> tuple[LanguageModel, ModelConfig]:
    """The model of a run's best validation epoch, in evaluation mode, and its configuration.

    Args:
        folder: the run's.
        corpus: the one that it was trained on.
        device: where the model goes.

    Raises:
        CheckpointError: there is none yet, it is damaged, or the corpus is another.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib import corpora, model, runs, training
        >>> words = corpora.Vocabulary(["a", "b", "c"])
        >>> corpus = corpora.Corpus("abc", words, *[words.encode(words.words * 333)] * 3, checked="made here")
        >>> new = training.start(model.ModelConfig(vocab_size=3, hidden_size=8), training.TrainConfig(epochs=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     records = list(runs.Run(Path(folder), corpus, new).steps())
        ...     best, config = runs.load_best(Path(folder), corpus)
        >>> best.training, config.hidden_size
        (False, 8)
    """
    path = folder / BEST
    if not path.exists():
        raise CheckpointError(f"{folder} holds no {BEST}: no epoch of a run has been finished there")
    saved = checkpoints.load(path, device, holding=("model", "config", "vocabulary"))
    if saved["vocabulary"] != corpus.vocabulary.fingerprint():
        raise CheckpointError(f"{path} was trained on another vocabulary than {corpus.name!r} has: name its own corpus")
    try:
        config = ModelConfig(**saved["config"])
        model = LanguageModel(config).to(device)
        model.load_state_dict(saved["model"])
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is of another version of awdlib ({require.shown(error, 200)}): use that one"
        ) from None
    return model.eval(), config


def resume(
    folder: Path, corpus: Corpus, model_config: ModelConfig, config: TrainConfig, device: torch.device | str
) -> Training:
    """Restore the training in a folder, to go on exactly where it was.

    Args:
        folder: a run's folder with a checkpoint.
        corpus: the one that it was trained on.
        model_config: must equal the checkpoint's.
        config: must equal the checkpoint's, but for the number of epochs, which may grow.
        device: where to go on.

    Raises:
        CheckpointError: the checkpoint is damaged, or of another configuration or vocabulary.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib import corpora, model, runs, training
        >>> corpus, config = corpora.load_corpus("toy"), training.TrainConfig(batch_size=4)
        >>> sizes = model.ModelConfig(vocab_size=len(corpus.vocabulary), embedding_size=8, hidden_size=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = runs.Run(Path(folder), corpus, training.start(sizes, config))
        ...     first = next(run.steps())  # one update, and no more: an interruption
        ...     run.save("interrupted")
        ...     runs.resume(run.folder, corpus, sizes, config, "cpu").updates
        1
    """
    path = folder / CHECKPOINT
    saved = checkpoints.load(path, "cpu", holding=("model_config", "train_config", "vocabulary", "corpus"))
    if not all(isinstance(saved[name], dict) for name in ("model_config", "train_config")):
        raise CheckpointError(f"{path} is a checkpoint of another kind or version: it holds no settings")
    config = decided(config, saved["train_config"])
    changed = _changed_fields(saved["model_config"], model_config) + _changed_fields(saved["train_config"], config)
    if changed:
        raise CheckpointError(
            f"{folder} holds a run with other settings ({', '.join(changed)}): resume it with its own, or name another "
            "folder with --out"
        )
    if saved["vocabulary"] != corpus.vocabulary.fingerprint():
        raise CheckpointError(f"{folder} holds a run on another corpus ({saved['corpus']}): name that one")
    training = start(model_config, config, device)
    check_vocabulary(training.model, corpus)
    try:
        training.load_state_dict(saved)
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be resumed: {error}") from None
    return training


def start_finetuning(folder: Path, corpus: Corpus, epochs: int, device: torch.device | str) -> Training:
    """A fresh training that fine-tunes the best weights of a finished run, which is left as it is.

    Args:
        folder: the run to start from.
        corpus: the one that it was trained on.
        epochs: at most this many; the criterion may end it earlier.
        device: where to train.

    Raises:
        CheckpointError: there is no finished epoch in the folder, or it is damaged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib import corpora, model, runs, training
        >>> words = corpora.Vocabulary(["a", "b", "c"])
        >>> corpus = corpora.Corpus("abc", words, *[words.encode(words.words * 333)] * 3, checked="made here")
        >>> first = training.start(model.ModelConfig(vocab_size=3, hidden_size=8), training.TrainConfig(epochs=1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     records = list(runs.Run(Path(folder), corpus, first).steps())
        ...     runs.start_finetuning(Path(folder), corpus, epochs=5, device="cpu").config.average_from
        1
    """
    model, _ = load_best(folder, corpus, device)
    return Training(model.train(), finetuning(TrainConfig(**read_record(folder)["training"]), epochs))


def _changed_fields(saved: dict[str, Any], config: Any) -> list[str]:
    """Names of the fields in which a configuration differs from the saved one, the number of epochs apart."""
    ours = asdict(config)
    theirs = asdict(type(config)()) | saved  # settings that came later stood at their defaults then
    return [name for name in theirs if name != "epochs" and theirs[name] != ours.get(name)]
