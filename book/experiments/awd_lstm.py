"""The whole model, built up stair by stair on the toy language, and where each stair still loses against the grammar.

    python book/experiments/awd_lstm.py            writes data/runs/awd-lstm.json

Each stair keeps what the stairs below it have and adds one part; all are trained for equally many epochs. The topmost
trained stair is then fine-tuned, and beside it simply trained on for as many epochs; a continuous cache is laid on the
weights that come out best on the validation text. Of every stair the record keeps its loss on the test text, split by
kind of word and set against the exact probabilities of the grammar, its marks in number agreement, and its surprise at
the words of a few passages. One thread a run; finished runs are kept and skipped when the script is started again.
"""

import math
import sys
from dataclasses import asdict, replace
from functools import cache, partial

import numpy as np
import torch
from fitting import by_epoch, curves
from grid import RUNS, command_line, measure, rounded
from torch import Tensor

from awdlib.agreement import Exam, draw_exam, marks, singular_share
from awdlib.batches import batchify, fixed_windows
from awdlib.cache import CacheConfig, sweep_flatness
from awdlib.corpora import EOS, Corpus, load_corpus
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig, Training, start
from awdlib.training_config import finetuning

OUT = RUNS / "awd-lstm.json"
SEEDS = (1, 2, 3)
MORE = 15  # epochs of fine-tuning, and of going on without it
TOP = "ntasgd"  # the stair that is fine-tuned
STAIRS = {
    "plain": "two LSTM layers, SGD at one rate",
    "zaremba": "+ ordinary dropout between layers, a rate that falls",
    "masks": "+ locked masks, embedding dropout, weight drop",
    "tied": "+ tied softmax, weight decay",
    "penalties": "+ AR, TAR, windows of random length",
    "ntasgd": "the average of NT-ASGD in place of the falling rate",
}
THETAS = (0.1, 0.3, 1.0)
EXAM_TOKENS, EXAM_SEED = 10_000, 3
PASSAGES, LONGEST = 4, 40  # passages to look at, and words of each at most
KINDS = {
    "being": "nouns", "thing": "nouns", "place": "nouns", "tale": "nouns", "adjective": "adjectives", "name": "names",
    "verb": "verbs", "move": "verbs", "say": "verbs", "tell": "verbs", EOS: "ends",
}  # fmt: skip
REST = "small words"


def model_config(vocab_size: int, stair: str) -> ModelConfig:
    """The sizes and dropouts of a stair; the topmost has those of the preset "toy"."""
    top = replace(PRESETS["toy"].model, vocab_size=vocab_size)
    height = [*STAIRS].index(stair)
    changes: dict = {}
    if height < 3:
        changes["tied"] = False
    if height < 2:
        changes |= {
            "dropout_embedding": 0.0, "dropout_weight": 0.0, "locked": False,
        }  # fmt: skip
    if height < 1:
        changes |= {
            "dropout_input": 0.0, "dropout_hidden": 0.0, "dropout_output": 0.0,
        }  # fmt: skip
    return replace(top, **changes)


def training_config(stair: str, epochs: int, seed: int) -> TrainConfig:
    """How a stair is trained; all share batch, clip, nominal window and first rate."""
    top = replace(
        PRESETS["toy"].training,
        epochs=epochs,
        eval_batch_size=20,
        patience=3,
        seed=seed,
    )
    height = [*STAIRS].index(stair)
    if height == 5:
        return top
    changes: dict = {
        "lr_decay": "schedule", "decay_factor": 0.8, "decay_after": epochs * 2 // 3,
    }  # fmt: skip
    if height < 4:
        changes |= {
            "ar_weight": 0.0, "tar_weight": 0.0, "variable_windows": False,
        }  # fmt: skip
    if height < 3:
        changes["weight_decay"] = 0.0
    if height < 1:
        changes |= {"decay_factor": 1.0}
    return replace(top, **changes)


def run(stair: str, seed: int, epochs: int, more: int) -> dict:
    """One stair at one seed; at the top also fine-tuning, going on, and the cache."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    config = training_config(stair, epochs, seed)
    training = start(model_config(len(corpus.vocabulary), stair), config)
    done, best = trained(training, corpus)
    found = {"stair": stair, "seed": seed, **done}
    if stair == TOP:
        weights = {name: of.clone() for name, of in best.items()}
        training.config = replace(config, epochs=epochs + more)
        found["longer"], _ = trained(training, corpus, best)
        model = LanguageModel(training.model.config)
        model.load_state_dict(weights)
        tuned = Training(model, finetuning(config, more))
        found["finetuned"], _ = trained(
            tuned, corpus, weights, found["valid_best"]
        )
        found["cache"] = cached(tuned.model, corpus)
    return rounded(found)


def trained(
    training: Training,
    corpus: Corpus,
    best: dict[str, Tensor] | None = None,
    least: float = math.inf,
) -> tuple[dict, dict[str, Tensor]]:
    """Train to the end; what the best weights are worth on the way, which may be those it began with.

    ``best`` are these, and ``least`` their validation perplexity; the model is left with the best.
    """
    if best is None:
        best = {}
    before = {name: of.clone() for name, of in best.items()}
    for _ in by_epoch(training, corpus, best):
        pass
    kept = min(epoch.valid_perplexity for epoch in training.history)
    if kept > least:
        best, kept = before, least
    last = {
        name: of.clone() for name, of in training.model.state_dict().items()
    }
    training.model.load_state_dict(best)
    done = {
        **curves(training),
        "valid_best": kept,
        "averaging_from": next(
            (one.epoch for one in training.history if one.averaging), None
        ),
        **judged(training.model, corpus),
    }
    training.model.load_state_dict(last)
    done["parameters"] = sum(w.numel() for w in training.model.parameters())
    if training.config.stop_on_trigger:
        training.model.load_state_dict(best)
    return done, best


def judged(model: LanguageModel, corpus: Corpus) -> dict:
    """Test perplexity, excess over the exact distribution by kind of word, agreement, surprise at the passages."""
    lost = -log_probabilities(model, corpus)
    return {
        "test": math.exp(lost.mean()),
        "agreement": marks(
            singular_share(model, corpus, exam(), batch_size=20), exam()
        ).nanmean().item(),
        **split(lost),
    }  # fmt: skip


def split(lost: Tensor) -> dict:
    """Of the surprisal of each word of the test text but its first: what is above the grammar's, by kind of word."""
    excess = lost - exact()
    kinds = kinds_of_words()
    return {
        "excess": {
            kind: excess[kinds == number].sum().item() / len(excess)
            for number, kind in enumerate(kind_names())
        },
        "surprisal": [
            [round(one, 3) for one in lost[begin - 1 : end - 1].tolist()]
            for begin, end in passages()
        ],
    }


@torch.no_grad()
def log_probabilities(model: LanguageModel, corpus: Corpus) -> Tensor:
    """ln p of each word of the test text but the first, read as one stream."""
    model.eval()
    states, found = None, []
    for inputs, targets in fixed_windows(batchify(corpus.test, 1), 500):
        logits, states, _, _ = model(inputs, states)
        of_all = logits.double().log_softmax(2)
        found.append(of_all.gather(2, targets[..., None])[:, 0, 0])
    return torch.cat(found)


def cached(model: LanguageModel, corpus: Corpus) -> dict:
    """The best cache on the validation text, and what it makes of the test text."""
    config = CacheConfig(window=500)
    valid = sweep_flatness(model, corpus.valid, config, THETAS, batch_size=1)
    weights = [found.best_weight() for found in valid]
    losses = [
        found.loss(weight) for found, weight in zip(valid, weights, strict=True)
    ]
    at = losses.index(min(losses))
    test = sweep_flatness(model, corpus.test, config, [THETAS[at]])[0]
    return {
        "theta": THETAS[at],
        "weight": weights[at],
        "valid_best": math.exp(losses[at]),
        "test": math.exp(test.loss(weights[at])),
        **split(-test.mixed(weights[at])[:, 0].log()),
    }


@cache
def exam() -> Exam:
    """Fresh text of the toy language, and the verbs in it."""
    return draw_exam(toy_language(), load_corpus("toy"), EXAM_TOKENS, EXAM_SEED)


@cache
def test_words() -> list[str]:
    """The test text."""
    corpus = load_corpus("toy")
    return corpus.vocabulary.decode(corpus.test)


@cache
def exact() -> Tensor:
    """-ln p(word | all before) of each word of the test text but the first, as the grammar has it."""
    return -torch.from_numpy(toy_language().log_probabilities(test_words())[1:])


def kind_names() -> list[str]:
    """The kinds of words, each once."""
    return [*dict.fromkeys(KINDS.values()), REST]


@cache
def kinds_of_words() -> Tensor:
    """For each word of the test text but the first, the number of its kind: of the class that most often emits it."""
    language = toy_language()
    mass = language.emission.sum(0)  # (classes, words)
    number = {kind: at for at, kind in enumerate(kind_names())}

    def kind(word: str) -> int:
        if word in language.names.base:
            return number["names"]
        name = language.arcs.classes[
            int(mass[:, language.index[word]].argmax())
        ]
        return number[KINDS.get(name.partition(".")[0], REST)]

    return torch.tensor([kind(word) for word in test_words()[1:]])


@cache
def passages() -> list[tuple[int, int]]:
    """Stretches of the test text that begin with a document, spread evenly: from where to where, whole sentences."""
    words = test_words()
    starts = [
        at
        for at in range(2, len(words))
        if words[at - 1] == words[at - 2] == EOS
    ]
    chosen = np.linspace(0, len(starts) - 1, PASSAGES + 2).astype(int)[1:-1]
    found = []
    for begin in (starts[at] for at in chosen):
        ends = [
            at + 1
            for at in range(begin, begin + LONGEST)
            if words[at] == EOS and words[at - 1] != EOS
        ]
        found.append((begin, ends[-1]))
    return found


def main() -> int:
    """Run every cell that the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=45, of="of a stair", jobs=1)
    parser.add_argument("--more", type=int, default=MORE)
    options = parser.parse_args()
    corpus = load_corpus("toy")
    size = len(corpus.vocabulary)
    counts = kinds_of_words().bincount(minlength=len(kind_names())).tolist()
    settings = {
        "command": f"python book/experiments/awd_lstm.py --epochs {options.epochs} --more {options.more}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "stairs": STAIRS,
        "seeds": list(SEEDS),
        "models": {
            stair: asdict(model_config(size, stair)) for stair in STAIRS
        },
        "training": {
            stair: asdict(training_config(stair, options.epochs, seed=0))
            for stair in STAIRS
        },
        "more": options.more,
        "thetas": list(THETAS),
        "exam": {
            "tokens": EXAM_TOKENS,
            "seed": EXAM_SEED,
            "verbs": len(exam().verbs),
        },
        "kinds": dict(zip(kind_names(), counts, strict=True)),
        "passages": [
            {
                "begin": begin,
                "words": test_words()[begin:end],
                "floor": [
                    round(x, 3) for x in exact()[begin - 1 : end - 1].tolist()
                ],
            }
            for begin, end in passages()
        ],
    }
    cells = [
        {"stair": stair, "seed": seed} for seed in SEEDS for stair in STAIRS
    ]
    one = partial(run, epochs=options.epochs, more=options.more)
    record = measure(options.out, settings, cells, one, options.jobs)
    for done in record["runs"]:
        line = f"{done['stair']:10} {done['seed']} {done['test']:.2f}"
        for extra in ("longer", "finetuned", "cache"):
            if extra in done:
                line += f"  {extra} {done[extra]['test']:.2f}"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
