"""The experiment of the chapter *Variable-length BPTT*: who stands at a window's border, on the toy language.

    python book/experiments/variable_length_bptt.py    writes data/runs/variable-length-bptt.json

One model, several ways to cut its text into windows, equal numbers of tokens. Beside the
curves, each run keeps the loss on the training text by place in a fixed window (row mod T),
read without dropout after the last epoch: a model that was trained with fixed windows may
show their borders, any other may not. One thread; finished runs are kept and skipped when
the script is started again.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import fitting
import torch
from grid import RUNS, command_line, measure, rounded
from torch.nn import functional as F

from awdlib.batches import WindowLengths, batchify, fixed_windows
from awdlib.corpora import Corpus, load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.training import TrainConfig, start

OUT = RUNS / "variable-length-bptt.json"
SEEDS = (1, 2, 3)
ARMS = {
    "fixed": "every window has T tokens",
    "random": "lengths of WindowLengths, the rate of each scaled by length / T",
    "unscaled": "the same lengths, all at the mean of these rates",
    "offset": "T tokens, but for the first window of an epoch: 1 to T, all alike",
}
TRAINED = {10: tuple(ARMS), 35: ("fixed", "random")}  # by nominal length T
SPREAD = 1 / 7  # standard deviation as a part of T: 5 at the usual 35


def window_lengths(nominal: int) -> WindowLengths:
    """The paper's distribution, its spread and its shortest window in proportion to the nominal length."""
    return WindowLengths(
        bptt=nominal, spread=SPREAD * nominal, minimum=max(1, nominal // 7)
    )


class OffsetLengths:
    """Windows of T tokens behind a first one of 1 to T: one draw an epoch."""

    def __init__(self, nominal: int) -> None:
        self.nominal, self.first = nominal, True

    def draw(self, generator: torch.Generator) -> int:
        """As `WindowLengths.draw`."""
        if not self.first:
            return self.nominal
        self.first = False
        return int(torch.randint(1, self.nominal + 1, (), generator=generator))


@dataclass(frozen=True, kw_only=True)
class WindowedConfig(TrainConfig):
    """`TrainConfig` whose windows are an arm's; training asks for them once an epoch."""

    arm: str = "fixed"

    def window_lengths(self) -> WindowLengths:
        """Of the arm."""
        if self.arm == "fixed":
            return super().window_lengths()
        if self.arm == "offset":
            return OffsetLengths(self.bptt)
        return window_lengths(self.bptt)


def model_config(vocab_size: int) -> ModelConfig:
    """Two layers, and nothing that regularizes them."""
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=64, hidden_size=96, num_layers=2, dropout_input=0.0,
        dropout_hidden=0.0, dropout_output=0.0, dropout_embedding=0.0, dropout_weight=0.0,
    )  # fmt: skip


def training_config(
    epochs: int, nominal: int, arm: str, seed: int
) -> WindowedConfig:
    """As in other chapters; a rate that gives each token the same weight whatever the nominal length."""
    common = fitting.training_config(epochs, seed)
    rate = common.lr * nominal / common.bptt
    settings = asdict(replace(common, bptt=nominal, lr=rate))
    return WindowedConfig(**settings, arm=arm)


def at_mean_rate(nominal: int, lr: Callable[[], float]) -> Callable:
    """A hook before each step that puts the mean of the scaled rates in the place of the scaled one."""
    factor = window_lengths(nominal).mean() / nominal

    def hook(optimizer: torch.optim.Optimizer, *_) -> None:
        for group in optimizer.param_groups:
            group["lr"] = lr() * factor

    return hook


@torch.no_grad()
def loss_by_place(
    model: LanguageModel, corpus: Corpus, nominal: int, batch_size: int
) -> list[float]:
    """Mean loss on the training text, in nats, of the rows at each place of a fixed window: row mod T."""
    columns, losses = batchify(corpus.train, batch_size), []
    states = model.eval().initial_states(batch_size)
    for inputs, targets in fixed_windows(columns, 500):
        output = model(inputs, states)
        states = output.states
        losses.append(
            F.cross_entropy(
                output.logits.flatten(0, 1), targets.flatten(), reduction="none"
            ).view_as(targets)
        )
    rows = torch.cat(losses).double().mean(1)
    return [rows[place::nominal].mean().item() for place in range(nominal)]


def run(epochs: int, nominal: int, arm: str, seed: int) -> dict:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    config = training_config(epochs, nominal, arm, seed)
    model = model_config(len(corpus.vocabulary))
    training = start(model, config)
    if arm == "unscaled":
        training.optimizer.register_step_pre_hook(
            at_mean_rate(nominal, lambda: training.lr)
        )
    best = fitting.fit(training, corpus)
    places = loss_by_place(training.model, corpus, nominal, config.batch_size)
    training.model.load_state_dict(best)
    done = {
        **fitting.curves(training),
        "updates": training.updates,
        "best_epoch": training.best_epoch().epoch,
        "test": math.exp(evaluate(training.model, corpus.test)),
        "places": places,
    }
    return {"nominal": nominal, "arm": arm, "seed": seed, **rounded(done)}


def main() -> int:
    """Run every cell that the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=15, jobs=1)
    options = parser.parse_args()
    corpus = load_corpus("toy")
    settings = {
        "command": "python book/experiments/variable_length_bptt.py "
        f"--epochs {options.epochs}",
        "corpus": "toy",
        "floor": corpus.floor,
        "model": asdict(model_config(len(corpus.vocabulary))),
        "training": asdict(training_config(options.epochs, 10, "fixed", 0)),
        "arms": ARMS,
        "seeds": list(SEEDS),
    }
    cells = [
        {"nominal": nominal, "arm": arm, "seed": seed}
        for seed in SEEDS
        for nominal, arms in TRAINED.items()
        for arm in arms
    ]
    job = partial(run, options.epochs)
    measure(options.out, settings, cells, job, options.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
