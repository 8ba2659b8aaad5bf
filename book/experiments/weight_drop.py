"""The experiment of the chapter *Weight drop*, on the toy language: dropping entries of the recurrent matrices.

    python book/experiments/weight_drop.py            writes data/runs/weight-drop.json

The model, the recipe and the seeds are those of the experiment of the chapter on
overfitting, so that its arms can stand beside these: no dropout, ordinary dropout on what
goes up, weight drop alone, and both. One more arm has the defect that the chapter is
about: its masked matrix is made, and nothing reads it. Of each trained model the singular
values of the recurrent matrices are kept, and what it makes of the validation text while
its recurrent weights are dropped. One thread a run; finished runs are kept and skipped
when the script is started again.
"""

import math
import sys
from dataclasses import asdict, replace
from functools import partial

import overfitting
import torch
from fitting import curves, fit, training_config
from grid import RUNS, command_line, measure, rounded
from torch import Tensor

from awdlib.batches import batchify, fixed_windows
from awdlib.corpora import Corpus, load_corpus
from awdlib.dropout import weight_dropout
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig, cross_entropy
from awdlib.recurrent import LSTMLayer, State
from awdlib.training import TrainConfig, Training, start

OUT = RUNS / "weight-drop.json"
SEEDS = (1, 2, 3, 4)
UP = overfitting.P  # dropout on what goes up, as in the chapter on overfitting
ARMS = {
    "none": (0.0, 0.0),
    "weights 0.5": (0.0, 0.5),
    "up": (UP, 0.0),
    "up, weights 0.3": (UP, 0.3),
    "up, weights 0.5": (UP, 0.5),
    "silent": (UP, 0.5),
}  # dropout on what goes up, and weight drop
SILENT_SEEDS = (1,)  # every digit of it is known beforehand
DAMAGE = (
    0.0,
    0.1,
    0.2,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
)  # trained models are read with these weight drops


class SilentLSTM(LSTMLayer):
    """An LSTM layer whose weight drop does nothing: the masked matrix is put where no kernel looks."""

    def __init__(self, layer: LSTMLayer) -> None:
        super().__init__(
            layer.input_size, layer.hidden_size
        )  # drops nothing itself
        self.load_state_dict(layer.state_dict())
        self.p = layer.weight_dropout
        self.own = torch.Generator().manual_seed(
            0
        )  # leaves the other masks as they are

    def forward(
        self,
        x: Tensor,
        state: State,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """As `LSTMLayer`."""
        masked = weight_dropout(
            self.weight_hh, self.p, self.training, generator=self.own
        )
        self.masked = masked.detach()  # in evaluation it is the parameter
        return super().forward(x, state, generator=generator)


def model_config(vocab_size: int, arm: str) -> ModelConfig:
    """The model of the chapter on overfitting, with weight drop."""
    up, weights = ARMS[arm]
    return replace(
        overfitting.model_config(vocab_size, up), dropout_weight=weights
    )


def begin(corpus: Corpus, arm: str, config: TrainConfig) -> Training:
    """A training of the arm's model."""
    training = start(model_config(len(corpus.vocabulary), arm), config)
    if arm != "silent":
        return training
    model = training.model
    model.layers = torch.nn.ModuleList(map(SilentLSTM, model.layers))
    return Training(model, config)


def run(arm: str, seed: int, epochs: int) -> dict:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    training = begin(corpus, arm, training_config(epochs, seed))
    model, best = training.model, fit(training, corpus)
    train_at_end = math.exp(evaluate(model, corpus.train, 20))
    read = {f"{p:g}": rounded(damaged(model, corpus, p)) for p in DAMAGE}
    spectra = [spectrum(layer.weight_hh) for layer in model.layers]
    model.load_state_dict(best)
    return {
        "arm": arm,
        "seed": seed,
        **curves(training),
        "train_evaluated_at_end": rounded(train_at_end),
        "test": rounded(math.exp(evaluate(model, corpus.test))),
        "valid_with_masks": read,
        "singular_values": spectra,
    }  # fmt: skip


@torch.no_grad()
def damaged(model: LanguageModel, corpus: Corpus, p: float) -> float:
    """Perplexity of the validation text, its recurrent weights dropped anew for each window and nothing else."""
    model.eval()
    before = [layer.weight_dropout for layer in model.layers]
    for layer in model.layers:
        layer.train()
        layer.weight_dropout = p
    columns, total = batchify(corpus.valid, 20), 0.0
    masks, states = torch.Generator().manual_seed(1), model.initial_states(20)
    for inputs, targets in fixed_windows(columns, 35):
        logits, states, _, _ = model(inputs, states, generator=masks)
        total += cross_entropy(logits, targets).item() * len(inputs)
    for layer, was in zip(model.layers, before, strict=True):
        layer.weight_dropout = was
    return math.exp(total / (len(columns) - 1))


def spectrum(weight: Tensor) -> list[float]:
    """The singular values of a recurrent matrix, all gates on top of each other; four digits are plenty."""
    values = torch.linalg.svdvals(weight.detach().double())
    return [float(f"{value:.4g}") for value in values.tolist()]


def main() -> int:
    """Run every cell that the record does not hold yet."""
    options = command_line(__doc__, OUT, epochs=30, jobs=1).parse_args()
    torch.set_num_threads(1)  # as the runs
    corpus = load_corpus("toy")
    settings = {
        "command": f"python book/experiments/weight_drop.py --epochs {options.epochs}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "model": asdict(model_config(len(corpus.vocabulary), "none")),
        "training": asdict(training_config(options.epochs, seed=0)),
        "seeds": list(SEEDS),
        "arms": {arm: list(p) for arm, p in ARMS.items()},
        "silent_seeds": list(SILENT_SEEDS),
        "damage": list(DAMAGE),
    }
    cells = [
        {"arm": arm, "seed": seed}
        for seed in SEEDS
        for arm in ARMS
        if arm != "silent" or seed in SILENT_SEEDS
    ]
    one = partial(run, epochs=options.epochs)
    record = measure(options.out, settings, cells, one, options.jobs)
    for done in record["runs"]:
        print(
            f"{done['arm']}, seed {done['seed']}: best validation {min(done['valid']):.2f}, test {done['test']:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
