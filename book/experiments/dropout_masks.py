"""The experiment of the chapter *Dropout masks*: no, ordinary and locked dropout on the toy language, several seeds.

    python book/experiments/dropout_masks.py            writes data/runs/dropout-masks.json

Only the dropout on the activations differs between the arms. Weight drop, embedding
dropout, AR, TAR, weight decay and averaging are off; tied embeddings and windows of
random length are the same in all. Finished runs are kept and skipped when the script
is started again.
"""

import math
import sys
from dataclasses import asdict

import torch
from fitting import NEVER, fit
from grid import RUNS, begun, command_line
from tqdm import tqdm

from awdlib import checkpoints
from awdlib.corpora import Corpus, load_corpus
from awdlib.environment import describe_environment, now
from awdlib.evaluation import evaluate
from awdlib.model import ModelConfig
from awdlib.training import TrainConfig, start

OUT = RUNS / "dropout-masks.json"
SEEDS = (1, 2, 3)
P = 0.3


def arms(vocab_size: int) -> dict[str, ModelConfig]:
    """The three models, which differ in nothing but the masks on their activations."""

    def model(p: float, locked: bool) -> ModelConfig:
        return ModelConfig(
            vocab_size=vocab_size, embedding_size=64, hidden_size=128, num_layers=2, dropout_input=p, dropout_hidden=p,
            dropout_output=p, dropout_embedding=0.0, dropout_weight=0.0, locked=locked,
        )  # fmt: skip

    return {
        "none": model(0.0, True),
        "ordinary": model(P, False),
        "locked": model(P, True),
    }


def training_config(epochs: int, seed: int) -> TrainConfig:
    """Plain SGD with clipping, windows of random length, and nothing else."""
    return TrainConfig(
        epochs=epochs, batch_size=20, eval_batch_size=20, bptt=35, lr=20.0, weight_decay=0.0, ar_weight=0.0,
        tar_weight=0.0, patience=NEVER, seed=seed,
    )  # fmt: skip


def run(corpus: Corpus, model: ModelConfig, config: TrainConfig) -> dict:
    """One run: its learning curve, and the perplexities of its best validation epoch."""
    training = start(model, config)
    training.model.load_state_dict(fit(training, corpus))
    curve = [
        {
            "epoch": record.epoch,
            "train": record.train_perplexity,
            "valid": record.valid_perplexity,
        }
        for record in training.history
    ]
    return {
        "curve": curve,
        "best_valid": training.best_epoch().valid_perplexity,
        "test": math.exp(evaluate(training.model, corpus.test)),
        "last_train": curve[-1]["train"],
        "last_valid": curve[-1]["valid"],
    }


def main() -> int:
    """Run every arm and seed that the record does not hold yet."""
    options = command_line(__doc__, OUT, epochs=40).parse_args()
    torch.set_num_threads(1)  # layers this small gain nothing from a second one
    corpus = load_corpus("toy")
    models = arms(len(corpus.vocabulary))
    settings = asdict(training_config(options.epochs, seed=0))
    record = begun(options.out, {"training": settings}) or {
        "command": f"python book/experiments/dropout_masks.py --epochs {options.epochs}",
        "date": now(),
        "environment": describe_environment(),
        "corpus": "toy",
        "floor": corpus.floor,
        "models": {arm: asdict(model) for arm, model in models.items()},
        "training": settings,
        "seeds": list(SEEDS),
        "runs": {},
    }
    cells = [(arm, seed) for seed in SEEDS for arm in models]
    for arm, seed in tqdm(cells, unit="run"):
        if f"{arm}-{seed}" not in record["runs"]:
            record["runs"][f"{arm}-{seed}"] = run(
                corpus, models[arm], training_config(options.epochs, seed)
            )
            checkpoints.write_json(options.out, record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
