"""The training loop, as a generator of records that anything can consume: a progress bar, a plot, a lab, a test.

    for record in train(training, corpus):
        ...

A `StepRecord` comes after each update, an `EpochRecord` after each epoch. Between two records the `Training` object
is consistent: its `Training.state_dict` can be saved there and the run resumed exactly.
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.batches import batchify, ends_epoch, window
from awdlib.corpora import Corpus
from awdlib.evaluation import check_vocabulary, evaluate
from awdlib.gradients import Window, fast_gradients, plain_gradients
from awdlib.graphs import GraphedGradients
from awdlib.model import LanguageModel, ModelConfig
from awdlib.ntasgd import NTASGD, count_triggers, is_triggered
from awdlib.precision import choose_precision
from awdlib.recurrent import State
from awdlib.training_config import TrainConfig
from awdlib.training_records import EpochRecord, StepRecord

#: in nats a token: beyond it perplexity is no number, and nothing learned
LARGEST_LOSS = math.log(sys.float_info.max)
UPDATES_BETWEEN_CHECKS = 100  # looking at the loss makes a GPU wait, so not after every update


class TrainingDiverged(ValueError):
    """The loss, or a weight, is no longer a finite number; `train` raises it within 100 updates of the first one."""


class Training:
    """A run in progress: model, optimizer, random states and position. All that must survive a checkpoint.

    Its ``history`` holds the `EpochRecord` of each epoch done; ``updates`` counts the updates of the whole run; in its
    ``config`` the precision "auto" is decided.

    Args:
        model: the model, on the device where it is to be trained.
        config: how to train it.

    Raises:
        ValueError: the device cannot compute in the precision.

    Example:
        >>> from awdlib import model, training
        >>> untrained = model.LanguageModel(model.ModelConfig(vocab_size=10, hidden_size=8))
        >>> new = training.Training(untrained, training.TrainConfig(epochs=3))
        >>> new.epoch, new.updates, new.finished
        (1, 0, False)
    """

    def __init__(self, model: LanguageModel, config: TrainConfig) -> None:
        self.model, self.device = model, model.embedding.device
        self.config = config = replace(config, precision=choose_precision(config.precision, self.device))
        self.optimizer = NTASGD(
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay, patience=config.patience
        )
        self.window_generator = torch.Generator().manual_seed(config.seed)
        self.mask_generator = torch.Generator(self.device).manual_seed(config.seed + 1)
        self.history: list[EpochRecord] = []
        self.updates = 0
        self.begin_epoch()

    @cached_property
    def graphed(self) -> GraphedGradients:
        """What computes the gradients with ``config.graphs``; made when first needed."""
        return GraphedGradients(self.model, self.config, self.mask_generator)

    @property
    def epoch(self) -> int:
        """The epoch under way, counted from 1."""
        return len(self.history) + 1

    def begin_epoch(self) -> None:
        """Back to the top of the columns, with zero states."""
        self.row, self.seconds = 0, 0.0
        self.states = self.model.initial_states(self.config.batch_size)
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)

    @property
    def lr(self) -> float:
        """The learning rate of the epoch under way, at a window of ``bptt`` tokens."""
        config = self.config
        if config.lr_decay == "schedule":
            return config.lr * config.decay_factor ** max(0, self.epoch - config.decay_after)
        if config.lr_decay == "plateau":
            losses = [record.valid_loss for record in self.history]
            return config.lr * config.decay_factor ** count_triggers(losses, config.patience)
        return config.lr

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the criterion has ended the run."""
        losses = [record.valid_loss for record in self.history]
        stopped = self.config.stop_on_trigger and is_triggered(losses, self.config.patience)
        return stopped or self.epoch > self.config.epochs

    def arranged(self, columns: Tensor) -> Tensor:
        """The columns as the epoch under way reads them: as they are; `awdlib.beyond` shuffles them."""
        return columns

    def gradients(self, window: Window) -> tuple[Tensor, list[State]]:
        """Leave a window's clipped gradient in the weights; returns its loss, and the states after it."""
        if self.config.graphs:
            return self.graphed(window)
        compute = fast_gradients if self.config.fast else plain_gradients
        return compute(self.model, self.config, window, self.mask_generator)

    def best_epoch(self) -> EpochRecord | None:
        """The epoch of lowest validation loss so far."""
        return min(self.history, key=lambda record: record.valid_loss, default=None)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, enough to go on as if nothing had happened; `load_state_dict` takes it."""
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
        """Restore what `state_dict` returned, of a training of equal sizes and settings, onto this model's device.

        The saved state stays as it is, and can be restored again.

        Raises:
            ValueError: it is not the state of a training with this model and these settings; this one may be half
                restored then, and is to be thrown away.
        """
        try:
            self._restore(saved)
        except (KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
            reason = require.shown(error, 200)
            raise ValueError(f"the state is of another model, device or version ({reason}): take its own") from None

    def _restore(self, saved: dict[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.window_generator.set_state(saved["window_generator"].cpu())
        self.mask_generator.set_state(saved["mask_generator"].cpu())
        self.history = [EpochRecord(**record) for record in saved["history"]]
        self.updates = require.whole_number("updates", saved["updates"], 0)
        self.row = require.whole_number("row", saved["row"], 0)
        self.seconds = require.number("seconds", saved["seconds"], "[0, inf)")
        self.states = [tuple(part.to(self.device) for part in state) for state in saved["states"]]
        due = self.model.initial_states(self.config.batch_size)
        if [part.shape for state in self.states for part in state] != [part.shape for state in due for part in state]:
            raise ValueError("its hidden states are of another model or batch_size: take its own")
        self.loss_sum = saved["loss_sum"].to(self.device, copy=True)
        require_finite(self)


def start(model_config: ModelConfig, config: TrainConfig, device: torch.device | str = "cpu") -> Training:
    """A fresh `Training`; equal seeds give equal initial weights on every device.

    Args:
        model_config: sizes and dropouts.
        config: how to train; its seed is that of the weights, too.
        device: where to train.

    Raises:
        ValueError: there is no such device.

    Example:
        >>> from awdlib import model, training
        >>> sizes = model.ModelConfig(vocab_size=10, hidden_size=8)
        >>> one, other = (training.start(sizes, training.TrainConfig(seed=7)) for _ in range(2))
        >>> one.model.embedding.equal(other.model.embedding)
        True
    """
    device = require.device(device)
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
        TrainingDiverged: the loss, or a weight, is not finite.
        ValueError: the corpus is too small for the batch sizes, or its vocabulary is not the model's.

    Example:
        A model that knows nothing has a loss of ln 1105 = 7.0, and the learning rate follows the window drawn:

        >>> from awdlib import corpora, model, training
        >>> corpus = corpora.load_corpus("toy")
        >>> sizes = model.ModelConfig(vocab_size=len(corpus.vocabulary), embedding_size=8, hidden_size=8)
        >>> first = next(training.train(training.start(sizes, training.TrainConfig(batch_size=4, seed=3)), corpus))
        >>> round(first.loss.item(), 1), first.seq_len, round(first.lr, 2)  # 30 at a window of 70
        (7.0, 33, 14.14)
    """
    columns, config = columns_of(training, corpus), training.config
    if config.average_from == 1 and training.updates == 0:
        training.optimizer.start_averaging()
    while not training.finished:
        yield from _train_epoch(training, columns)
        yield _finish_epoch(training, corpus, columns)


def columns_of(training: Training, corpus: Corpus) -> Tensor:
    """The corpus's training text in columns, on the device; looked at now, not an epoch later.

    Args:
        training: who is to read it.
        corpus: its training and validation texts are looked at.

    Returns:
        (rows, batch_size).

    Raises:
        ValueError: the corpus is too small for the batch sizes, or its vocabulary is not the model's, or the training
            began on another text.

    Example:
        >>> from awdlib import corpora, model, training
        >>> corpus = corpora.load_corpus("toy")
        >>> sizes = model.ModelConfig(vocab_size=len(corpus.vocabulary), embedding_size=8, hidden_size=8)
        >>> new = training.start(sizes, training.TrainConfig(batch_size=20))
        >>> training.columns_of(new, corpus).shape == (len(corpus.train) // 20, 20)
        True
    """
    check_vocabulary(training.model, corpus)
    config = training.config
    columns = batchify(corpus.train, config.batch_size).to(training.device)
    batchify(corpus.valid, config.eval_batch_size)
    if ends_epoch(columns, 0):
        raise ValueError(f"batch_size {config.batch_size} leaves {len(columns)} tokens a column; training needs 3")
    if training.row >= len(columns):
        raise ValueError(f"the training stands at row {training.row} of {len(columns)}: take the text it began with")
    return columns


def _train_epoch(training: Training, columns: Tensor) -> Iterator[StepRecord]:
    lengths, columns = training.config.window_lengths(), training.arranged(columns)
    while not ends_epoch(columns, training.row):
        began = time.perf_counter()
        drawn = lengths.draw(training.window_generator)
        inputs, targets = window(columns, training.row, drawn)
        lr = training.lr * drawn / training.config.bptt
        loss = update(training, inputs, targets, lr)
        training.row += len(inputs)
        training.updates += 1
        training.loss_sum += loss.double() * len(inputs)
        training.seconds += time.perf_counter() - began
        if training.updates % UPDATES_BETWEEN_CHECKS == 0:
            require_finite(training)
        progress = training.row / (len(columns) - 1)
        yield StepRecord(training.epoch, training.updates, len(inputs), lr, loss, progress)


def update(training: Training, inputs: Tensor, targets: Tensor, lr: float) -> Tensor:
    """One step of truncated backpropagation through time.

    Args:
        training: its weights and hidden states change.
        inputs: (seq_len, batch_size) token ids.
        targets: (seq_len, batch_size) token ids, one row further down.
        lr: learning rate of this step.

    Returns:
        the cross entropy before it, in nats a token.

    Example:
        >>> import torch
        >>> from awdlib import model, training
        >>> run = training.start(
        ...     model.ModelConfig(vocab_size=10, hidden_size=8), training.TrainConfig(batch_size=1, ar_weight=0.0)
        ... )
        >>> text = torch.arange(10)[:, None]
        >>> first, *others, last = [training.update(run, text[:-1], text[1:], lr=1.0).item() for _ in range(50)]
        >>> last < first
        True
    """
    training.model.train()
    loss, training.states = training.gradients(Window(inputs, targets, training.states))
    for group in training.optimizer.param_groups:
        group["lr"] = lr
    training.optimizer.step()
    return loss


def _finish_epoch(training: Training, corpus: Corpus, columns: Tensor) -> EpochRecord:
    """Validate, let the trigger see the loss, and move on to the next epoch."""
    require_finite(training)
    began = time.perf_counter()
    config, optimizer = training.config, training.optimizer
    averaging, began_by = optimizer.averaging, None
    with optimizer.averaged():
        valid_loss = evaluate(training.model, corpus.valid, config.eval_batch_size, config.bptt)
    train_loss = training.loss_sum.item() / training.row
    if max(train_loss, valid_loss) > LARGEST_LOSS:
        raise _diverged(training, f"the loss became {max(train_loss, valid_loss):.0f} nats a token")
    if config.lr_decay == "none" and optimizer.observe(valid_loss):
        began_by = "trigger"
    elif not averaging and training.epoch + 1 == config.average_from:
        optimizer.start_averaging()
        began_by = "schedule"
    record = EpochRecord(
        epoch=training.epoch,
        updates=training.updates,
        train_loss=train_loss,
        valid_loss=valid_loss,
        averaging=averaging,
        averaging_began=began_by,
        seconds=training.seconds + time.perf_counter() - began,
    )
    training.history.append(record)
    training.begin_epoch()
    return record


def require_finite(training: Training) -> None:
    """Raise if the epoch's loss, or a weight, is no longer finite; waits for the device.

    Args:
        training: the one to look at.

    Raises:
        TrainingDiverged: it is not.

    Example:
        >>> from awdlib import model, training
        >>> run = training.start(model.ModelConfig(vocab_size=10, hidden_size=8), training.TrainConfig())
        >>> run.loss_sum += float("inf")
        >>> training.require_finite(run)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        awdlib.training.TrainingDiverged: the loss became inf in epoch 1, by update 0, at lr 30.0: ...
    """
    if not torch.isfinite(training.loss_sum):
        raise _diverged(training, f"the loss became {training.loss_sum.item()}")
    if not all(weight.isfinite().all() for weight in training.model.parameters()):  # the last gradient was not
        raise _diverged(training, "a weight is no longer finite")


def _diverged(training: Training, what: str) -> TrainingDiverged:
    where = f"in epoch {training.epoch}, by update {training.updates}, at lr {training.config.lr}"
    return TrainingDiverged(f"{what} {where}: lower lr or max_grad_norm")
