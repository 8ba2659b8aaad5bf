"""What experiments share of training: a recipe, the weights of the best validation epoch, and the learning curves."""

from collections.abc import Iterator

from grid import rounded
from torch import Tensor

from awdlib.corpora import Corpus
from awdlib.training import EpochRecord, TrainConfig, Training, train

NEVER = 10**6  # a patience that no run outlasts: the trigger stays off


def training_config(epochs: int, seed: int) -> TrainConfig:
    """SGD with clipping, windows of one length; the last third of the epochs at a falling rate."""
    return TrainConfig(
        epochs=epochs, batch_size=20, eval_batch_size=20, bptt=35, variable_windows=False, lr=20.0, weight_decay=0.0,
        ar_weight=0.0, tar_weight=0.0, lr_decay="schedule", decay_factor=0.8, decay_after=epochs * 2 // 3, seed=seed,
    )  # fmt: skip


def fit(training: Training, corpus: Corpus) -> dict[str, Tensor]:
    """Train to the end; returns the weights of the best validation epoch, while the model keeps those of the last."""
    best: dict[str, Tensor] = {}
    for _ in by_epoch(training, corpus, best):
        pass
    return best


def by_epoch(
    training: Training, corpus: Corpus, best: dict[str, Tensor]
) -> Iterator[EpochRecord]:
    """Train epoch by epoch; ``best`` always holds copies of the weights of the best validation epoch so far.

    Once averaging has begun they are the averages, whose loss the validation is. Of equal epochs the first is best.
    """
    for record in train(training, corpus):
        if isinstance(record, EpochRecord):
            if record is training.best_epoch():
                with training.optimizer.averaged():
                    weights = training.model.state_dict().items()
                    best.update((name, of.clone()) for name, of in weights)
            yield record


def curves(training: Training) -> dict[str, list[float]]:
    """Perplexity by epoch of the training text, read with dropout, and of the validation text."""
    history = training.history
    return rounded(
        {
            "train": [epoch.train_perplexity for epoch in history],
            "valid": [epoch.valid_perplexity for epoch in history],
        }
    )
