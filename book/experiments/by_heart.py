"""The first figure of the book: an LSTM with AWD-LSTM's regularizers and the same one without, epoch by epoch.

    python book/experiments/by_heart.py            writes data/runs/by-heart.json

Both have the toy preset's size and windows. The one has all of the preset; the other no dropout, no weight drop, no
AR, no TAR, no weight decay and no averaging. After each epoch both are asked, in evaluation mode, for the perplexity
of the training text and of the validation text, and (seed 1) what they make of each word of two sentences, one of
either text. Finished runs are kept and skipped when the script is started again.
"""

import math
import sys
from dataclasses import asdict, replace
from functools import partial

import torch
from fitting import NEVER
from grid import RUNS, command_line, measure
from torch import Tensor

from awdlib.corpora import Corpus, load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS
from awdlib.toy_language import toy_language
from awdlib.training import EpochRecord, TrainConfig, start, train

OUT = RUNS / "by-heart.json"
SEEDS = (1, 2, 3)
#: chosen among the sentences with a relative clause because the difference between the models shows well in them
SENTENCES = {
    "train": "the stormy gull that the salmon board sails <eos>",
    "valid": "a branch that beatrice watches tracks this berry <eos>",
}


def arms(vocab_size: int) -> dict[str, tuple[ModelConfig, TrainConfig]]:
    """The two models and how they are trained; they differ in every regularizer and in nothing else."""
    preset = PRESETS["toy"]
    model = replace(preset.model, vocab_size=vocab_size)
    places = ("input", "hidden", "output", "embedding", "weight")
    bare = replace(
        model, **dict.fromkeys([f"dropout_{place}" for place in places], 0.0)
    )
    plain = replace(
        preset.training,
        ar_weight=0.0,
        tar_weight=0.0,
        weight_decay=0.0,
        patience=NEVER,
    )
    return {"with": (model, preset.training), "without": (bare, plain)}


def place(corpus: Corpus, split: str) -> range:
    """Where in a split's stream its sentence first stands."""
    words = corpus.vocabulary.decode(corpus.split(split))
    sentence = SENTENCES[split].split()
    first = next(
        at
        for at in range(len(words))
        if words[at : at + len(sentence)] == sentence
    )
    return range(first, first + len(sentence))


def surprise(model: LanguageModel, corpus: Corpus, split: str) -> list[float]:
    """-ln p of each word of a split's sentence, all of the split before it having been read."""
    where = place(corpus, split)
    stream: Tensor = corpus.split(split)[: where.stop]
    with torch.no_grad():
        log_p = model.eval()(stream[:-1, None]).logits[:, 0].log_softmax(1)
    targets = stream[where.start :, None]
    return _rounded(-log_p[where.start - 1 :].gather(1, targets)[:, 0])


def least_surprise(corpus: Corpus, split: str) -> list[float]:
    """The same of the grammar itself: what nobody can expect to do better than."""
    where = place(corpus, split)
    words = corpus.vocabulary.decode(corpus.split(split)[: where.stop])
    return _rounded(-toy_language().log_probabilities(words)[where.start :])


def run(arm: str, seed: int, epochs: int) -> dict:
    """One run, epoch by epoch."""
    torch.set_num_threads(1)  # layers this small gain nothing from a second one
    corpus = load_corpus("toy")
    model, config = arms(len(corpus.vocabulary))[arm]
    training = start(model, replace(config, epochs=epochs, seed=seed))
    found: dict = {"arm": arm, "seed": seed, "train": [], "valid": []}
    found["words"] = {split: [] for split in SENTENCES} if seed == 1 else None
    for record in train(training, corpus):
        if not isinstance(record, EpochRecord):
            continue
        with training.optimizer.averaged():
            loss = evaluate(training.model, corpus.train, config.batch_size)
            found["train"].append(round(math.exp(loss), 3))
            found["valid"].append(round(record.valid_perplexity, 3))
            for split in SENTENCES if seed == 1 else ():
                found["words"][split].append(
                    surprise(training.model, corpus, split)
                )
    return found


def _rounded(values) -> list[float]:
    return [round(float(value), 4) for value in values]


def main() -> int:
    """Run every arm and seed that the record does not hold yet."""
    options = command_line(__doc__, OUT, epochs=40, jobs=1).parse_args()
    corpus = load_corpus("toy")
    settings = {
        "command": f"python book/experiments/by_heart.py --epochs {options.epochs}",
        "corpus": "toy",
        "floor": corpus.floor,
        "sentences": SENTENCES,
        "least_surprise": {
            split: least_surprise(corpus, split) for split in SENTENCES
        },
        "arms": {
            arm: {"model": asdict(model), "training": asdict(config)}
            for arm, (model, config) in arms(len(corpus.vocabulary)).items()
        },
    }
    cells = [
        {"arm": arm, "seed": seed}
        for seed in SEEDS
        for arm in ("with", "without")
    ]
    measure(
        options.out,
        settings,
        cells,
        partial(run, epochs=options.epochs),
        options.jobs,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
