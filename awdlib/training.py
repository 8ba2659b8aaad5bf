"""The training loop, as a generator of records that anything can consume: a progress bar, a plot, a lab, a test.

    for record in train(training, corpus):
        ...

A `StepRecord` comes after each update, an `EpochRecord` after each epoch. Between two records the `Training` object
is consistent: its `state_dict` can be saved there and the run resumed exactly.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from awdlib.batches import WindowLengths, batchify, ends_epoch, window
from awdlib.corpora import Corpus
from awdlib.evaluation import check_vocabulary, evaluate
from awdlib.model import LanguageModel, ModelConfig, cross_entropy, detach, penalties
from awdlib.ntasgd import NTASGD

UPDATES_BETWEEN_CHECKS = 100  # looking at the loss makes a GPU wait, so not after every update


class TrainingDiverged(ValueError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained. Defaults: the paper's for Penn Treebank.

    Args:
        epochs: passes over the training set.
        batch_size: columns that are trained on side by side.
        eval_batch_size: columns in validation; testing reads one single stream.
        bptt: nominal window in tokens.
        variable_windows: whether window lengths are random (`WindowLengths`), the learning rate scaled to each.
        lr: learning rate at a window of ``bptt`` tokens.
        max_grad_norm: the gradient's global norm is clipped to this.
        weight_decay: L2 coefficient on every parameter.
        ar_weight: alpha, of activation regularization.
        tar_weight: beta, of temporal activation regularization.
        patience: n of the non-monotone trigger, in epochs.
        average_from: begin to average at the start of this epoch if the trigger has not fired by then: for budgets
            of a few epochs, too short for the trigger. None leaves it to the trigger alone.
        precision: "fp32", or "bf16" for autocast with weights, averages, softmax and penalties in fp32.
        seed: of the initial weights, the masks and the window lengths.

    Raises:
        ValueError: a value is out of range.
    """

    epochs: int = 750
    batch_size: int = 40
    eval_batch_size: int = 10
    bptt: int = 70
    variable_windows: bool = True
    lr: float = 30.0
    max_grad_norm: float = 0.25
    weight_decay: float = 1.2e-6
    ar_weight: float = 2.0
    tar_weight: float = 1.0
    patience: int = 5
    average_from: int | None = None
    precision: str = "fp32"
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "eval_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("lr", "max_grad_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive and finite")
        for name in ("weight_decay", "ar_weight", "tar_weight", "patience", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be zero or positive, and finite")
        if self.average_from is not None and self.average_from < 2:
            raise ValueError(f"average_from is {self.average_from}; averaging can begin with epoch 2 at the earliest")
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision is {self.precision!r}; it must be 'fp32' or 'bf16'")
        self.window_lengths()  # checks bptt

    def window_lengths(self) -> WindowLengths:
        """The distribution that windows are drawn from."""
        if self.variable_windows:
            return WindowLengths(bptt=self.bptt)
        return WindowLengths(bptt=self.bptt, short_probability=0, spread=0, minimum=1)


@dataclass(frozen=True)
class StepRecord:
    """What one update did."""

    epoch: int  #: counted from 1
    update: int  #: counted from 1 over the whole run
    seq_len: int  #: rows of this window
    lr: float  #: learning rate of this update, scaled to the window drawn
    loss: Tensor  #: cross entropy in nats a token, on the device: looking at it makes a GPU wait
    progress: float  #: share of the epoch done, in [0, 1]


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch reached."""

    epoch: int  #: counted from 1
    updates: int  #: over the whole run
    train_loss: float  #: nats a token, dropout on, averaged over the epoch
    valid_loss: float  #: nats a token, on the average once there is one
    averaging: bool  #: whether valid_loss is the average's
    averaging_began: str | None  #: at this epoch's end: "trigger" or "schedule"; else None
    seconds: float  #: of training and validation

    @property
    def train_perplexity(self) -> float:
        return math.exp(self.train_loss)

    @property
    def valid_perplexity(self) -> float:
        return math.exp(self.valid_loss)


class Training:
    """A run in progress: model, optimizer, random states and position. All that must survive a checkpoint.

    Args:
        model: the model, on the device where it is to be trained.
        config: how to train it.
    """

    def __init__(self, model: LanguageModel, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.device = model.embedding.device
        self.optimizer = NTASGD(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay, patience=config.patience
        )
        self.window_generator = torch.Generator().manual_seed(config.seed)
        self.mask_generator = torch.Generator(self.device).manual_seed(config.seed + 1)
        self.history: list[EpochRecord] = []
        self.updates = 0
        self.begin_epoch()

    @property
    def epoch(self) -> int:
        """The epoch under way, counted from 1."""
        return len(self.history) + 1

    def begin_epoch(self) -> None:
        """Back to the top of the columns, with zero states."""
        self.row, self.seconds = 0, 0.0
        self.states = self.model.initial_states(self.config.batch_size)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)

    def best_epoch(self) -> EpochRecord | None:
        """The epoch of lowest validation loss so far."""
        return min(self.history, key=lambda record: record.valid_loss, default=None)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, enough to go on as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "window_generator": self.window_generator.get_state(),
            "mask_generator": self.mask_generator.get_state(),
            "history": [asdict(record) for record in self.history],
            "updates": self.updates,
            "row": self.row,
            "seconds": self.seconds,
            "states": [list(state) for state in self.states],
            "loss_sum": self.loss_sum,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, onto this model's device."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.window_generator.set_state(saved["window_generator"].cpu())
        self.mask_generator.set_state(saved["mask_generator"].cpu())
        self.history = [EpochRecord(**record) for record in saved["history"]]
        self.updates, self.row, self.seconds = saved["updates"], saved["row"], saved["seconds"]
        self.states = [tuple(part.to(self.device) for part in state) for state in saved["states"]]
        self.loss_sum = saved["loss_sum"].to(self.device)


def start(model_config: ModelConfig, config: TrainConfig, device: torch.device | str = "cpu") -> Training:
    """A fresh `Training`; equal seeds give equal initial weights on every device."""
    model = LanguageModel(model_config, generator=torch.Generator().manual_seed(config.seed)).to(device)
    return Training(model, config)


def train(training: Training, corpus: Corpus) -> Iterator[StepRecord | EpochRecord]:
    """Train until ``config.epochs`` are done, from wherever ``training`` stands.

    Args:
        training: from `start`, or restored from a checkpoint.
        corpus: trained on ``corpus.train``, validated on ``corpus.valid``.

    Yields:
        a `StepRecord` after each update, an `EpochRecord` after each epoch.

    Raises:
        TrainingDiverged: the loss is not finite.
        ValueError: the corpus is too small for the batch sizes, or its vocabulary is not the model's.
    """
    check_vocabulary(training.model, corpus)
    config = training.config
    columns = batchify(corpus.train, config.batch_size).to(training.device)
    batchify(corpus.valid, config.eval_batch_size)  # fails now, not an epoch later
    if ends_epoch(columns, 0):
        raise ValueError(f"batch_size {config.batch_size} leaves {len(columns)} tokens a column; training needs 3")
    while training.epoch <= config.epochs:
        yield from _train_epoch(training, columns)
        yield _finish_epoch(training, corpus, columns)


def _train_epoch(training: Training, columns: Tensor) -> Iterator[StepRecord]:
    lengths = training.config.window_lengths()
    while not ends_epoch(columns, training.row):
        began = time.perf_counter()
        drawn = lengths.draw(training.window_generator)
        inputs, targets = window(columns, training.row, drawn)
        lr = training.config.lr * drawn / training.config.bptt
        loss = _update(training, inputs, targets, lr)
        training.row += len(inputs)
        training.updates += 1
        training.loss_sum += loss.double() * len(inputs)
        training.seconds += time.perf_counter() - began
        if training.updates % UPDATES_BETWEEN_CHECKS == 0:
            require_finite(training)
        progress = training.row / (len(columns) - 1)
        yield StepRecord(training.epoch, training.updates, len(inputs), lr, loss, progress)


def _update(training: Training, inputs: Tensor, targets: Tensor, lr: float) -> Tensor:
    """One step of truncated backpropagation through time; returns the cross entropy."""
    model, config, optimizer = training.model.train(), training.config, training.optimizer
    with torch.autocast(training.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        output = model(inputs, detach(training.states), generator=training.mask_generator)
    loss = cross_entropy(output.logits, targets)
    optimizer.zero_grad()
    (loss + penalties(output, config.ar_weight, config.tar_weight)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    training.states = detach(output.states)
    return loss.detach()


def _finish_epoch(training: Training, corpus: Corpus, columns: Tensor) -> EpochRecord:
    """Validate, let the trigger see the loss, and move on to the next epoch."""
    require_finite(training)
    began = time.perf_counter()
    config, optimizer = training.config, training.optimizer
    averaging, began_by = optimizer.averaging, None
    with optimizer.averaged():
        valid_loss = evaluate(training.model, corpus.valid, config.eval_batch_size, config.bptt)
    if optimizer.observe(valid_loss):
        began_by = "trigger"
    elif not averaging and training.epoch + 1 == config.average_from:
        optimizer.start_averaging()
        began_by = "schedule"
    record = EpochRecord(
        epoch=training.epoch,
        updates=training.updates,
        train_loss=training.loss_sum.item() / training.row,
        valid_loss=valid_loss,
        averaging=averaging,
        averaging_began=began_by,
        seconds=training.seconds + time.perf_counter() - began,
    )
    training.history.append(record)
    training.begin_epoch()
    return record


def require_finite(training: Training) -> None:
    """Raise if the epoch's loss is no longer finite; waits for the device.

    Raises:
        TrainingDiverged: it is not.
    """
    if not torch.isfinite(training.loss_sum):
        raise TrainingDiverged(
            f"the loss became {training.loss_sum.item()} in epoch {training.epoch}, by update {training.updates}, at "
            f"lr {training.config.lr}: lower lr or max_grad_norm"
        )
