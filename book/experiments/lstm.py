"""The experiment of the chapter *The LSTM from scratch*: gates against none, at equal size, on the toy language.

    python book/experiments/lstm.py            writes data/runs/lstm.json

Four arms, two layers each and equal numbers of parameters: an LSTM as torch begins it, an LSTM whose forget gates
begin open, a tanh network as torch begins it, and one whose recurrent matrices begin orthogonal. Nothing is dropped.
A pilot with one seed chooses each arm's learning rate on the validation text, from the same list for all. Each run is
judged at its best validation epoch: perplexity, number agreement by distance on fresh text and on stretched sentences,
and how far back the loss's gradient reaches. Finished runs are kept and skipped when the script is started again.
"""

import math
import sys
from dataclasses import asdict

import torch
from fitting import NEVER, by_epoch
from grid import RUNS, begun, command_line, rounded
from torch import nn
from tqdm import tqdm

from awdlib import checkpoints
from awdlib.agreement import (
    Exam,
    bigram_share,
    draw_exam,
    marks,
    singular_share,
    stretched_exam,
)
from awdlib.corpora import Corpus, load_corpus
from awdlib.environment import describe_environment, now
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.reach import loss_reach
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig, TrainingDiverged, start

OUT = RUNS / "lstm.json"
SEEDS = (1, 2, 3, 4)
PILOT_SEED, PILOT_EPOCHS = 11, 12
RATES = (1.25, 2.5, 5.0, 10.0, 20.0, 40.0)
LSTM, RNN = 128, 321  # hidden sizes of equally large models
BEGINNINGS = {
    "lstm": {"cell": "lstm", "hidden_size": LSTM},
    "lstm-open": {"cell": "lstm", "hidden_size": LSTM, "forget_bias": 1.0},
    "rnn": {"cell": "rnn", "hidden_size": RNN},
    "rnn-orthogonal": {"cell": "rnn", "hidden_size": RNN, "gain": 1.0},
}
EXAM = {"tokens": 200_000, "seed": 2016}
LONG = 9  # distances from here on count as one
STRETCHED = {
    "adjectives": [0, 1, 2, 3, 5, 8, 12, 17, 25],
    "count": 400,
    "seed": 2017,
}
REACH = 60  # steps that the gradient is followed back


def model_config(vocab_size: int, cell: str, hidden_size: int) -> ModelConfig:
    """Two layers and no dropout anywhere."""
    places = ("input", "hidden", "output", "embedding", "weight")
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=64, hidden_size=hidden_size, num_layers=2, cell=cell,
        **{f"dropout_{place}": 0.0 for place in places},
    )  # fmt: skip


def training_config(epochs: int, lr: float, seed: int) -> TrainConfig:
    """Plain SGD with clipping, and windows of one length."""
    return TrainConfig(
        epochs=epochs, batch_size=20, eval_batch_size=20, bptt=35, variable_windows=False, lr=lr, weight_decay=0.0,
        ar_weight=0.0, tar_weight=0.0, patience=NEVER, seed=seed,
    )  # fmt: skip


@torch.no_grad()
def begin(
    model: LanguageModel, forget_bias: float | None, gain: float | None
) -> None:
    """Change the initial weights: forget gates to a bias, recurrent matrices to a multiple of an orthogonal one."""
    for layer in model.layers:
        size = layer.hidden_size
        if forget_bias is not None:
            layer.bias_ih[size : 2 * size] = forget_bias  # rows: i, f, g, o
            layer.bias_hh[size : 2 * size] = 0
        if gain is not None:
            for block in layer.weight_hh.split(size):
                nn.init.orthogonal_(block, gain)


def learn(
    corpus: Corpus, arm: str, config: TrainConfig
) -> tuple[LanguageModel, list[dict]]:
    """Train one model; returned with the weights of its best validation epoch, and its learning curve."""
    settings = dict(BEGINNINGS[arm])
    ways = settings.pop("forget_bias", None), settings.pop("gain", None)
    training = start(model_config(len(corpus.vocabulary), **settings), config)
    torch.manual_seed(config.seed)  # of the orthogonal matrices
    begin(training.model, *ways)
    best, guessing = training.model.state_dict(), len(corpus.vocabulary)
    try:
        for record in by_epoch(training, corpus, best):
            lowest = training.best_epoch().valid_loss
            if record.epoch == 2 and lowest > math.log(guessing):
                break  # worse than guessing: this learning rate leads nowhere
    except TrainingDiverged:
        pass
    training.model.load_state_dict(best)
    curve = [
        {
            "epoch": record.epoch,
            "train": rounded(record.train_perplexity),
            "valid": rounded(record.valid_perplexity),
        }
        for record in training.history
    ]
    return training.model, curve


def judge(
    corpus: Corpus, model: LanguageModel, exam: Exam, stretched: list[Exam]
) -> dict:
    """What is kept of a trained model."""
    count = STRETCHED["count"]
    return {
        "test": rounded(math.exp(evaluate(model, corpus.test))),
        "agreement": tally(exam, singular_share(model, corpus, exam, 20)),
        "stretched": [
            marks(singular_share(model, corpus, one, count), one).mean().item()
            for one in stretched
        ],
        "reach": [
            rounded(size)
            for size in loss_reach(model, corpus.valid, REACH).tolist()
        ],
    }


def tally(exam: Exam, share: torch.Tensor) -> list[list[int]]:
    """[distance, whether there is an attractor, verbs, of them right] of each kind of verb; the longest together."""
    kinds: dict[tuple[int, int], list[float]] = {}
    for verb, right in zip(
        exam.verbs, marks(share, exam).tolist(), strict=True
    ):
        if not math.isnan(right):
            kind = min(verb.distance, LONG), int(verb.attractors > 0)
            kinds.setdefault(kind, []).append(right)
    return [
        [*kind, len(of), int(sum(of))] for kind, of in sorted(kinds.items())
    ]


def main() -> int:
    """The pilot, then every arm and seed that the record does not hold yet."""
    options = command_line(__doc__, OUT, epochs=20).parse_args()
    torch.set_num_threads(1)  # layers this small gain nothing from a second one
    corpus, language = load_corpus("toy"), toy_language()
    exam = draw_exam(language, corpus, **EXAM)
    shared = {key: STRETCHED[key] for key in ("count", "seed")}
    stretched = [
        stretched_exam(language, corpus, adjectives, **shared)
        for adjectives in STRETCHED["adjectives"]
    ]
    settings = plan(corpus, options.epochs)
    record = begun(options.out, settings) or {
        **settings,
        "date": now(),
        "environment": describe_environment(),
        "bigram": tally(exam, bigram_share(corpus, exam)),
        "distances": [one.verbs[0].distance for one in stretched],
        "pilot": {},
        "runs": {},
    }
    for arm in tqdm(BEGINNINGS, desc="pilot", unit="arm"):
        for lr in RATES:
            if f"{arm}-{lr:g}" not in record["pilot"]:
                config = training_config(PILOT_EPOCHS, lr, PILOT_SEED)
                _, curve = learn(corpus, arm, config)
                reached = [point["valid"] for point in curve]
                record["pilot"][f"{arm}-{lr:g}"] = min(reached, default=None)
                checkpoints.write_json(options.out, record)
    cells = [(arm, seed) for seed in SEEDS for arm in BEGINNINGS]
    for arm, seed in tqdm(cells, unit="run"):
        if f"{arm}-{seed}" in record["runs"]:
            continue
        lr = chosen(record["pilot"], arm)
        config = training_config(options.epochs, lr, seed)
        model, curve = learn(corpus, arm, config)
        record["runs"][f"{arm}-{seed}"] = {
            "lr": lr,
            "curve": curve,
            **judge(corpus, model, exam, stretched),
        }
        checkpoints.write_json(options.out, record)
    return 0


def plan(corpus: Corpus, epochs: int) -> dict:
    """All that decides the result, as the record holds it."""
    sizes = {}
    for arm, beginning in BEGINNINGS.items():
        config = model_config(
            len(corpus.vocabulary), beginning["cell"], beginning["hidden_size"]
        )
        sizes[arm] = sum(w.numel() for w in LanguageModel(config).parameters())
    return {
        "command": f"python book/experiments/lstm.py --epochs {epochs}",
        "corpus": "toy",
        "floor": corpus.floor,
        "arms": BEGINNINGS,
        "parameters": sizes,
        "model": asdict(model_config(len(corpus.vocabulary), "lstm", LSTM)),
        "training": asdict(training_config(epochs, lr=RATES[0], seed=0)),
        "rates": list(RATES),
        "pilot_seed": PILOT_SEED,
        "pilot_epochs": PILOT_EPOCHS,
        "seeds": list(SEEDS),
        "exam": EXAM,
        "stretched": STRETCHED,
    }


def chosen(pilot: dict[str, float | None], arm: str) -> float:
    """The learning rate with which an arm's pilot reached the lowest validation perplexity."""
    reached = {lr: pilot[f"{arm}-{lr:g}"] or math.inf for lr in RATES}
    return min(reached, key=reached.__getitem__)


if __name__ == "__main__":
    sys.exit(main())
