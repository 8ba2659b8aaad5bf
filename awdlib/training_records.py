"""What training reports: a record after each update, and one after each epoch."""

import math
from dataclasses import dataclass

from torch import Tensor

from awdlib import _require as require


@dataclass(frozen=True)
class StepRecord:
    """What one update did; `awdlib.training.train` yields it, and its example shows one."""

    epoch: int  #: counted from 1
    update: int  #: counted from 1 over the whole run
    seq_len: int  #: rows of this window
    lr: float  #: learning rate of this update, scaled to the window drawn
    loss: Tensor  #: cross entropy in nats a token, (), on the device; looking at it makes a GPU wait
    progress: float  #: share of the epoch done, in [0, 1]


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch reached; `awdlib.training.train` yields it, and `awdlib.training.Training` keeps them all."""

    epoch: int  #: counted from 1
    updates: int  #: over the whole run
    train_loss: float  #: nats a token, dropout on, averaged over the epoch
    valid_loss: float  #: nats a token, on the average once there is one
    averaging: bool  #: whether valid_loss is the average's
    averaging_began: str | None  #: by what at this epoch's end, "trigger" or "schedule"; else None
    seconds: float  #: of training and validation

    def __post_init__(self) -> None:
        require.declared_types(self)

    @property
    def train_perplexity(self) -> float:
        """Perplexity of ``train_loss``, its exponential."""
        return math.exp(self.train_loss)

    @property
    def valid_perplexity(self) -> float:
        """Perplexity of ``valid_loss``, its exponential."""
        return math.exp(self.valid_loss)
