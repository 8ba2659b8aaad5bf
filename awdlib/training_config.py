"""How a model is trained: every setting, validated when made."""

from dataclasses import dataclass, replace
from typing import Any

from awdlib import _require as require
from awdlib.batches import WindowLengths
from awdlib.precision import require_precision

LARGEST_SEED = 2**63 - 2  # torch's generators take no more than 64 bits with a sign; the masks' is one above


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained. Defaults: the paper's for Penn Treebank (Merity et al. 2017, section 5).

    The original README's command has other batch sizes and epochs: ``awd-lstm-ptb-readme`` of `awdlib.presets.PRESETS`.

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
        patience: n of the non-monotone trigger, in epochs; see `is_triggered`, also for where paper and code differ.
        lr_decay: "none" for NT-ASGD; "plateau" for SGD whose learning rate is multiplied by ``decay_factor`` where
            NT-ASGD would begin to average (the ablation's row without NT-ASGD); "schedule" for SGD that multiplies it
            after every epoch beyond ``decay_after`` (Zaremba et al. 2014). With the last two nothing is averaged.
        decay_factor: see ``lr_decay``.
        decay_after: epochs at the full learning rate under "schedule".
        sum_over_time: the gradient is that of the loss averaged over the batch and summed over time (Zaremba et al.
            2014); the clip acts on it.
        average_from: begin to average at the start of this epoch if the trigger has not fired by then: for budgets
            of a few epochs, too short for the trigger; 1 for fine-tuning. None leaves it to the trigger alone.
        stop_on_trigger: end the run where the criterion holds (fine-tuning).
        longest_window: no window is longer, in tokens (fine-tuning: ``bptt + 10``); None for no limit.
        precision: "fp32", "tf32", "bf16", "fp16" or "auto", see `awdlib.precision`; weights, averages, softmax and
            penalties are always in fp32.
        graphs: on a GPU, launch the work of a window as one CUDA graph (`awdlib.graphs`); needs ``fast``.
        fast: False computes every gradient with torch's own functions alone, which takes longer and more memory.
        seed: of the initial weights, the masks and the window lengths.

    Raises:
        ValueError: a value is of another type or out of range, or ``average_from`` is set beside a decay of the
            learning rate.

    Example:
        >>> from awdlib.training_config import TrainConfig
        >>> round(TrainConfig().window_lengths().mean(), 1)  # of the nominal 70 tokens
        67.7
        >>> TrainConfig(lr_decay="plateau", average_from=1)
        Traceback (most recent call last):
            ...
        ValueError: lr_decay is 'plateau' and average_from 1: choose one of the two
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
    lr_decay: str = "none"
    decay_factor: float = 0.5
    decay_after: int = 0
    sum_over_time: bool = False
    average_from: int | None = None
    stop_on_trigger: bool = False
    longest_window: int | None = None
    precision: str = "fp32"
    graphs: bool = False
    fast: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        require.declared_types(self)
        for name in ("epochs", "batch_size", "eval_batch_size"):
            require.whole_number(name, getattr(self, name), 1)
        for name in ("lr", "max_grad_norm"):
            require.number(name, getattr(self, name), "(0, inf)")
        for name in ("weight_decay", "ar_weight", "tar_weight"):
            require.number(name, getattr(self, name), "[0, inf)")
        for name in ("patience", "decay_after"):
            require.whole_number(name, getattr(self, name), 0)
        require.whole_number("seed", self.seed, 0, LARGEST_SEED)
        if self.average_from is not None and self.average_from < 1:
            raise ValueError(f"average_from is {self.average_from}; averaging can begin with epoch 1 at the earliest")
        if self.lr_decay not in ("none", "plateau", "schedule"):
            raise ValueError(f"lr_decay is {self.lr_decay!r}; it must be 'none', 'plateau' or 'schedule'")
        if self.lr_decay != "none" and self.average_from is not None:
            raise ValueError(
                f"lr_decay is {self.lr_decay!r} and average_from {self.average_from}: choose one of the two"
            )
        require.number("decay_factor", self.decay_factor, "(0, 1]")
        require_precision(self.precision)
        if self.graphs and not self.fast:
            raise ValueError("graphs is True and fast is False: what is recorded is the fast way; leave one as it is")
        self.window_lengths()  # checks bptt

    def window_lengths(self) -> WindowLengths:
        """The distribution that windows are drawn from; of ``bptt`` tokens alone without ``variable_windows``."""
        if self.variable_windows:
            return WindowLengths(bptt=self.bptt, maximum=self.longest_window)
        return WindowLengths(bptt=self.bptt, short_probability=0, spread=0, minimum=1)


def finetuning(config: TrainConfig, epochs: int) -> TrainConfig:
    """The original code's fine-tuning of a trained model: average from the first step, end at the same criterion.

    Merity et al. 2017 describe it as a second run of ASGD with the trigger's criterion as its end; that windows are
    at most ten tokens longer than the nominal one is in the code alone.

    Args:
        config: of the run that is fine-tuned; its learning rate, window and penalties are kept.
        epochs: at most this many.

    Returns:
        the configuration of the second run.

    Example:
        >>> from awdlib.training_config import TrainConfig, finetuning
        >>> config = finetuning(TrainConfig(lr=20.0), epochs=500)
        >>> config.lr, config.average_from, config.stop_on_trigger, config.longest_window
        (20.0, 1, True, 80)
    """
    return replace(
        config, epochs=epochs, lr_decay="none", average_from=1, stop_on_trigger=True, longest_window=config.bptt + 10
    )


def decided(config: TrainConfig, saved: dict[str, Any]) -> TrainConfig:
    """The same with a precision left to the processor ("auto") as an earlier part of the run decided it.

    Args:
        config: as asked for.
        saved: settings from a checkpoint or a record.

    Example:
        >>> from awdlib.training_config import TrainConfig, decided
        >>> decided(TrainConfig(precision="auto"), {"precision": "bf16"}).precision
        'bf16'
        >>> decided(TrainConfig(precision="fp32"), {"precision": "bf16"}).precision
        'fp32'
    """
    return replace(config, precision=saved["precision"]) if config.precision == "auto" else config
