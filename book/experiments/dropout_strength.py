"""How strong should the masks be? Ordinary and locked dropout on the toy language, each at several probabilities.

    python book/experiments/dropout_strength.py      writes data/runs/dropout-strength.json

The models of the chapter *Dropout masks*, with the masks in the same three places. Windows
have one length, and the learning rate falls in the last third of the epochs: single epochs
swing less then, and so do the seeds. Finished runs are kept and skipped when the script is
started again.
"""

import math
import sys
from dataclasses import asdict
from functools import partial

import torch
from fitting import curves, fit, training_config
from grid import RUNS, command_line, measure, rounded

from awdlib.corpora import load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import ModelConfig
from awdlib.training import start

OUT = RUNS / "dropout-strength.json"
SEEDS = (1, 2, 3)
PS = (0.1, 0.2, 0.3, 0.4)
KINDS = ("ordinary", "locked")


def model_config(vocab_size: int, kind: str, p: float) -> ModelConfig:
    """Two layers, masks on the words, between the layers and on the output."""
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=64, hidden_size=128, num_layers=2, dropout_input=p, dropout_hidden=p,
        dropout_output=p, dropout_embedding=0.0, dropout_weight=0.0, locked=kind == "locked",
    )  # fmt: skip


def run(kind: str, p: float, seed: int, epochs: int) -> dict:
    """One run, in a process of its own: its validation curve, and the test perplexity of its best epoch."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    model = model_config(len(corpus.vocabulary), kind, p)
    training = start(model, training_config(epochs, seed))
    best = fit(training, corpus)
    last_train = math.exp(evaluate(training.model, corpus.train))
    training.model.load_state_dict(best)
    return {
        "kind": kind,
        "p": p,
        "seed": seed,
        "valid": curves(training)["valid"],
        "test": rounded(math.exp(evaluate(training.model, corpus.test))),
        "last_train": rounded(last_train),
    }


def main() -> int:
    """Run every cell that the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=40)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    corpus = load_corpus("toy")
    cells = [
        {"kind": kind, "p": p, "seed": seed}
        for seed in SEEDS
        for p in PS
        for kind in KINDS
    ]
    settings = {
        "command": f"python book/experiments/dropout_strength.py --epochs {options.epochs}",
        "corpus": "toy",
        "floor": corpus.floor,
        "model": asdict(model_config(len(corpus.vocabulary), "locked", 0.0)),
        "training": asdict(training_config(options.epochs, seed=0)),
        "kinds": list(KINDS),
        "ps": list(PS),
        "seeds": list(SEEDS),
    }
    measure(
        options.out,
        settings,
        cells,
        partial(run, epochs=options.epochs),
        options.workers,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
