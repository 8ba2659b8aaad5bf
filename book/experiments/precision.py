"""Does the fast way of training reach what the plain one does? A slice of Penn Treebank, three seeds, three ways.

    python book/experiments/precision.py --data DIR      writes data/runs/precision.json

The plain way computes every gradient with torch's own functions in single precision. The
fast way has the softmax in blocks of positions and another clip; in bfloat16 its layers
are under autocast besides. Everything else, the masks included, is the same. One thread
a run; finished runs are kept and skipped when the script is started again.
"""

import sys
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from grid import RUNS, command_line, measure

from awdlib.corpora import Corpus, load_corpus
from awdlib.model import ModelConfig
from awdlib.training import EpochRecord, TrainConfig, start, train

OUT = RUNS / "precision.json"
SEEDS = (1, 2, 3)
TOKENS = 100_000  # of the training text; validation is on all of its text
WAYS = {
    "plain-fp32": {"fast": False, "precision": "fp32"},
    "fast-fp32": {"fast": True, "precision": "fp32"},
    "fast-bf16": {"fast": True, "precision": "bf16"},
}


def model_config(vocab_size: int) -> ModelConfig:
    """Every regularizer of AWD-LSTM, at a size that trains within minutes."""
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=150, hidden_size=300, num_layers=2, dropout_input=0.25,
        dropout_hidden=0.2, dropout_output=0.3, dropout_embedding=0.05, dropout_weight=0.3,
    )  # fmt: skip


def training_config(epochs: int) -> TrainConfig:
    """The last third of the epochs is averaged."""
    return TrainConfig(
        epochs=epochs,
        batch_size=20,
        bptt=35,
        lr=20.0,
        average_from=epochs - epochs // 3 + 1,
    )


def slice_of(name: str, data: Path | None) -> Corpus:
    """The corpus with only the beginning of its training text."""
    corpus = load_corpus(name, data)
    return replace(corpus, train=corpus.train[:TOKENS])


def run(name: str, data: Path | None, way: str, seed: int, epochs: int) -> dict:
    """One run, in a process of its own: validation perplexity after each epoch."""
    torch.set_num_threads(1)
    corpus = slice_of(name, data)
    config = replace(training_config(epochs), seed=seed, **WAYS[way])
    training = start(model_config(len(corpus.vocabulary)), config)
    curve = [
        record.valid_perplexity
        for record in train(training, corpus)
        if isinstance(record, EpochRecord)
    ]
    return {
        "way": way,
        "seed": seed,
        "valid_perplexity": curve,
        "best": min(curve),
    }


def main() -> int:
    """Run every way and seed that the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=6, jobs=2)
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of Penn Treebank; default: AWDLIB_DATA, or a download",
    )
    parser.add_argument("--corpus", default="ptb")
    options = parser.parse_args()
    corpus = slice_of(options.corpus, options.data)
    settings = {
        "command": f"python book/experiments/precision.py --epochs {options.epochs}",
        "corpus": corpus.name,
        "training_tokens": len(corpus.train),
        "validation_tokens": len(corpus.valid),
        "model": asdict(model_config(len(corpus.vocabulary))),
        "training": asdict(training_config(options.epochs)),
        "ways": WAYS,
        "seeds": list(SEEDS),
    }
    cells = [{"way": way, "seed": seed} for way in WAYS for seed in SEEDS]
    one = partial(run, options.corpus, options.data, epochs=options.epochs)
    record = measure(options.out, settings, cells, one, options.jobs)
    for way in WAYS:
        best = [one["best"] for one in record["runs"] if one["way"] == way]
        print(
            f"{way:12} best validation perplexity {min(best):.2f} to {max(best):.2f}, mean {sum(best) / len(best):.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
