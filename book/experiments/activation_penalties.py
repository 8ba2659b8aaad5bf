"""What AR and TAR do to the hidden trace of a trained model: the toy preset at each (alpha, beta) of a small grid.

    python book/experiments/activation_penalties.py      writes data/runs/activation-penalties.json

Only the weights of the two penalties differ between the runs, and the seed is the same.
The other settings are the preset's, but for when averaging begins: with the same epoch in
every run, since a trigger that fires early in one of them would hide what the penalties
do. One thread a run; finished runs are kept and skipped when the script is started again.
Every run is read at its best validation epoch, with the averaged weights if averaging had
begun by then.
"""

import math
import sys
from dataclasses import asdict, replace
from functools import partial

import torch
from fitting import NEVER, fit
from grid import RUNS, command_line, measure
from torch import Tensor

from awdlib.corpora import EOS, Corpus, load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS
from awdlib.training import TrainConfig, start

OUT = RUNS / "activation-penalties.json"
ALPHAS = (0.0, 0.5, 1.0, 2.0, 4.0)
BETAS = (0.0, 0.5, 1.0, 2.0, 4.0)
AVERAGE_FROM = 33  # the epoch in which the preset's own run begins to average
SENTENCES = 3  # of the validation text, from its beginning, whose trace is kept


def model_config(vocab_size: int) -> ModelConfig:
    """The toy preset's model."""
    return replace(PRESETS["toy"].model, vocab_size=vocab_size)


def training_config(alpha: float, beta: float, epochs: int) -> TrainConfig:
    """The toy preset's training but for the two weights, and averaged by schedule."""
    return replace(
        PRESETS["toy"].training,
        ar_weight=alpha,
        tar_weight=beta,
        epochs=epochs,
        average_from=AVERAGE_FROM,
        patience=NEVER,
    )


def passage(corpus: Corpus) -> Tensor:
    """The first sentences of the validation text, each with its <eos>."""
    ends = (corpus.valid == corpus.vocabulary.ids[EOS]).nonzero().flatten()
    return corpus.valid[: int(ends[SENTENCES - 1]) + 1]


@torch.no_grad()
def outputs(model: LanguageModel, tokens: Tensor) -> Tensor:
    """(tokens, features): the last layer's output in evaluation, the text read in one go from a zero state."""
    return model.eval()(tokens[:, None]).raw_output[:, 0].double()


def run(alpha: float, beta: float, epochs: int) -> dict:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    config = training_config(alpha, beta, epochs)
    training = start(model_config(len(corpus.vocabulary)), config)
    model = training.model
    model.load_state_dict(fit(training, corpus))
    best = training.best_epoch()
    text = outputs(model, corpus.valid)
    trace = outputs(model, passage(corpus))
    return {
        "alpha": alpha,
        "beta": beta,
        "best_epoch": best.epoch,
        "averaging": best.averaging,
        "valid_perplexity": math.exp(evaluate(model, corpus.valid)),
        "test_perplexity": math.exp(evaluate(model, corpus.test)),
        "mean_square": text.square().mean().item(),
        "mean_square_step": text.diff(dim=0).square().mean().item(),
        # a line a word, its features in thousandths
        "trace": [
            " ".join(str(round(1000 * value)) for value in word)
            for word in trace.tolist()
        ],
    }


def main() -> int:
    """Run every (alpha, beta) that the record does not hold yet."""
    epochs = PRESETS["toy"].training.epochs
    parser = command_line(__doc__, OUT, epochs=epochs, jobs=1)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the runs
    corpus = load_corpus("toy")
    settings = {
        "command": f"python book/experiments/activation_penalties.py --epochs {options.epochs}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "model": asdict(model_config(len(corpus.vocabulary))),
        "training": asdict(training_config(0.0, 0.0, options.epochs)),
        "alphas": list(ALPHAS),
        "betas": list(BETAS),
        "words": corpus.vocabulary.decode(passage(corpus)),
    }
    cells = [
        {"alpha": alpha, "beta": beta} for alpha in ALPHAS for beta in BETAS
    ]
    record = measure(
        options.out,
        settings,
        cells,
        partial(run, epochs=options.epochs),
        options.jobs,
    )
    for one in record["runs"]:
        print(
            f"alpha {one['alpha']:<4g} beta {one['beta']:<4g} mean square {one['mean_square']:.4f}, of steps "
            f"{one['mean_square_step']:.4f}, validation perplexity {one['valid_perplexity']:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
