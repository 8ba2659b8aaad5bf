"""The experiment of the chapter *Activation regularization*: nothing, AR, TAR and both, on the toy language.

    python book/experiments/activation_regularization.py      writes data/runs/activation-regularization.json

Two settings: "moderate", the toy preset's dropouts and a learning rate that falls at the end, and "plain", no dropout
at all. In each only the weights of the two penalties differ between the arms. They are the paper's, alpha 2 and beta 1,
and were not chosen here; the seeds are others than that of ``activation_penalties.py``. Of each run the weights of the
best validation epoch are kept, and looked at on the validation text in evaluation mode. One thread; finished runs are
kept and skipped.
"""

import math
import sys
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from fitting import NEVER, curves, fit
from grid import RUNS, command_line, measure, rounded
from torch import Tensor

from awdlib.corpora import load_corpus
from awdlib.evaluation import evaluate
from awdlib.figures.penalty_pull import cosine_basis
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS
from awdlib.training import TrainConfig, start

OUT = RUNS / "activation-regularization.json"
ALPHA, BETA = 2.0, 1.0  # the paper's
ARMS = {
    "none": (0.0, 0.0),
    "AR": (ALPHA, 0.0),
    "TAR": (0.0, BETA),
    "both": (ALPHA, BETA),
}
SEEDS = {"moderate": (2, 3, 4), "plain": (2, 3, 4)}
PIECE = 64  # words of which one spectrum is taken
LAGS = 20  # steps up to which correlations are taken
BINS = 40  # of the histogram of activations, from -1 to 1
SATURATED = 0.9  # tanh has all but ended its climb


def model_config(setting: str, vocab_size: int) -> ModelConfig:
    """The toy preset's model, in the plain setting without its dropouts."""
    model = replace(PRESETS["toy"].model, vocab_size=vocab_size)
    if setting == "moderate":
        return model
    return replace(
        model, dropout_input=0.0, dropout_hidden=0.0, dropout_output=0.0, dropout_embedding=0.0, dropout_weight=0.0
    )  # fmt: skip


def training_config(setting: str, arm: str, epochs: int) -> TrainConfig:
    """The toy preset's training but for the penalties; with dropout, the last third of the epochs at a falling rate.

    The falling rate takes the place of averaging: single epochs swing less then, and so do the seeds.
    """
    alpha, beta = ARMS[arm]
    config = replace(
        PRESETS["toy"].training, ar_weight=alpha, tar_weight=beta, epochs=epochs, patience=NEVER, seed=0
    )  # fmt: skip
    if setting == "plain":
        return config
    return replace(
        config,
        lr_decay="schedule",
        decay_factor=0.8,
        decay_after=epochs * 2 // 3,
    )


@torch.no_grad()
def look(model: LanguageModel, text: Tensor) -> dict[str, Any]:
    """What the hidden states of the last layer are like while it reads a text in one go, from a zero state."""
    h = model.eval()(text[:, None]).raw_output[:, 0].double()
    pieces = h[: len(h) // PIECE * PIECE].view(-1, PIECE, h.shape[1])
    coefficients = cosine_basis(PIECE) @ pieces
    centred = h - h.mean(0)
    weight, _ = model.decoder()
    scores = h @ weight.double().t()  # logits without their bias
    return {
        "mean_square": h.square().mean().item(),
        "mean_square_step": h.diff(dim=0).square().mean().item(),
        "square_of_mean": h.mean(0).square().mean().item(),
        "saturated": (h.abs() > SATURATED).double().mean().item(),
        "histogram": (torch.histc(h, BINS, -1, 1) / h.numel()).tolist(),
        "power": coefficients.square().mean((0, 2)).tolist(),
        "correlation": [
            ((centred[: len(h) - lag] * centred[lag:]).mean() / centred.square().mean()).item()
            for lag in range(LAGS + 1)
        ],
        "softmax_rms": weight.square().mean().sqrt().item(),
        "score_spread": scores.std(1).mean().item(),
    }  # fmt: skip


def run(
    setting: str, arm: str, seed: int, epochs: dict[str, int]
) -> dict[str, Any]:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    config = replace(training_config(setting, arm, epochs[setting]), seed=seed)
    training = start(model_config(setting, len(corpus.vocabulary)), config)
    model = training.model
    model.load_state_dict(fit(training, corpus))
    return rounded(
        {
            "setting": setting,
            "arm": arm,
            "seed": seed,
            **curves(training),
            "best_epoch": training.best_epoch().epoch,
            "test": math.exp(evaluate(model, corpus.test)),
        }
        | look(model, corpus.valid)
    )


def plan(epochs: dict[str, int]) -> dict[str, Any]:
    """What the record says of itself before the first run."""
    corpus = load_corpus("toy")
    size = len(corpus.vocabulary)
    return {
        "command": f"python book/experiments/activation_regularization.py --epochs {epochs['moderate']} "
        f"--plain-epochs {epochs['plain']}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "arms": {arm: list(weights) for arm, weights in ARMS.items()},
        "seeds": {setting: list(seeds) for setting, seeds in SEEDS.items()},
        "models": {setting: asdict(model_config(setting, size)) for setting in SEEDS},
        "training": {setting: asdict(training_config(setting, "none", epochs[setting])) for setting in SEEDS},
        "piece": PIECE,
        "saturated_above": SATURATED,
    }  # fmt: skip


def main() -> int:
    """Run every setting, arm and seed that the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=36, jobs=1)
    parser.add_argument("--plain-epochs", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the runs
    epochs = {"moderate": options.epochs, "plain": options.plain_epochs}
    cells = [
        {"setting": setting, "arm": arm, "seed": seed}
        for setting, seeds in SEEDS.items()
        for seed in seeds
        for arm in ARMS
    ]
    measure(
        options.out,
        plan(epochs),
        cells,
        partial(run, epochs=epochs),
        options.jobs,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
