"""The numbers of the chapter *Language modelling and perplexity*: corpora, n-grams, floors, and a state that is carried.

    AWDLIB_DATA=DIR python book/experiments/language_modelling.py    writes data/runs/language-modelling.json

Five parts, each kept as soon as it is done and skipped when the script is started again:
what the corpora hold; n-gram models of them; what more text would buy an n-gram model of
the toy language; how much the floor of a sample depends on the sample; and small LSTMs
whose hidden state is carried from window to window or set to zero, at three lengths of
the windows. No word of Penn Treebank is stored but <unk>, <eos> and N.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from grid import RUNS, begun, command_line, rounded
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from awdlib import checkpoints
from awdlib.batches import batchify, fixed_windows
from awdlib.corpora import EOS, PUBLISHED, SPLITS, UNKNOWN, Corpus, load_corpus
from awdlib.environment import describe_environment, now
from awdlib.model import LanguageModel, ModelConfig
from awdlib.ngrams import KneserNey
from awdlib.toy_language import Step, ToyLanguage, toy_language
from awdlib.training import EpochRecord, TrainConfig, start, train

OUT = RUNS / "language-modelling.json"
ORDERS = (2, 3, 4, 5)
ADDED = (1.0, 0.1, 0.01, 0.001, 0.0001)  # counts that add-k smoothing adds
MARKS = (UNKNOWN, EOS, "N")  # the only words of the corpora that are stored
SIZES = (60_000, 200_000, 600_000, 2_000_000, 6_000_000)  # tokens of toy text
SAMPLES, SAMPLE_TOKENS = 40, 10_000
WINDOWS = (5, 10, 35)
SEEDS = (1, 2, 3)
EVAL_BATCH = 10


def model_config(vocab_size: int) -> ModelConfig:
    """One layer of 100 units, locked dropout on what goes in and what comes out."""
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=100, hidden_size=100, num_layers=1, dropout_input=0.2,
        dropout_hidden=0.0, dropout_output=0.2, dropout_embedding=0.0, dropout_weight=0.0,
    )  # fmt: skip


def training_config(bptt: int, epochs: int, seed: int) -> TrainConfig:
    """Plain SGD on windows of one length; the learning rate is halved after each of the last epochs."""
    return TrainConfig(
        epochs=epochs, batch_size=20, eval_batch_size=EVAL_BATCH, bptt=bptt, variable_windows=False, lr=20.0,
        weight_decay=0.0, ar_weight=0.0, tar_weight=0.0, lr_decay="schedule", decay_after=epochs - 4,
        decay_factor=0.5, seed=seed,
    )  # fmt: skip


def perplexity(p: np.ndarray) -> float:
    """Of the probabilities of a text's words, the first of which is not predicted."""
    return math.exp(-np.log(p[1:]).mean())


def held_out(
    probabilities: Callable[[Tensor], np.ndarray], corpus: Corpus
) -> dict[str, float]:
    """The perplexity of both held-out texts."""
    return {
        split: perplexity(probabilities(corpus.split(split)))
        for split in ("valid", "test")
    }


def statistics(corpus: Corpus) -> dict[str, Any]:
    """Counts of tokens and types; nothing that would tell which words they are."""
    words, known = corpus.vocabulary.words, set(corpus.train.tolist())
    letters = torch.tensor(
        [1 if word == EOS else len(word) + 1 for word in words]
    )
    counts = torch.bincount(corpus.train, minlength=len(words))
    falling = sorted(counts[counts > 0].tolist(), reverse=True)
    ranks = sorted({round(1.2**n) for n in range(80)})
    lines = torch.diff(
        (corpus.train == corpus.vocabulary.ids[EOS]).nonzero()[:, 0]
    )
    lengths = (
        lines[lines > 1] - 1
    ).double()  # words of lines that are not empty
    return {
        "vocab_size": len(words),
        "checked": corpus.checked,
        "splits": {split: _split(corpus, split, known, letters) for split in SPLITS},
        "types_seen_once": int((counts == 1).sum()),
        "types_in_train": len(known),
        "words_a_line": {
            "mean": lengths.mean().item(),
            "median": lengths.median().item(),
            "longest": lengths.max().item(),
        },
        "ranks": [[rank, falling[rank - 1]] for rank in ranks if rank <= len(falling)],
        "marks": {
            mark: int(counts[corpus.vocabulary.ids[mark]])
            for mark in MARKS
            if mark in corpus.vocabulary.ids
        },
    }  # fmt: skip


def _split(
    corpus: Corpus, split: str, known: set[int], letters: Tensor
) -> dict[str, int]:
    tokens, ids = corpus.split(split), corpus.vocabulary.ids
    unknown = ids.get(UNKNOWN, -1)
    return {
        "tokens": len(tokens),
        "types": len(tokens.unique()),
        "characters": int(
            letters[tokens].sum()
        ),  # a space after each word, and the line ends
        "unknown": int((tokens == unknown).sum()),
        "eos": int((tokens == ids[EOS]).sum()),
        "not_in_train": sum(token not in known for token in tokens.tolist()),
    }


def baselines(corpus: Corpus) -> dict[str, Any]:
    """Perplexities of models that only count."""
    size, train_text = len(corpus.vocabulary), corpus.train.numpy()
    once_more = np.bincount(train_text, minlength=size) + 1.0
    rows = {
        "uniform": {"valid": float(size), "test": float(size)},
        "unigram": held_out(
            lambda text: (once_more / once_more.sum())[text.numpy()], corpus
        ),
    }
    bigrams = [
        {
            "k": k,
            **held_out(
                lambda text, k=k: add_k(train_text, text.numpy(), size, k),
                corpus,
            ),
        }
        for k in ADDED
    ]
    for order in ORDERS:
        for name, modified in (("kn", False), ("mkn", True)):
            model = KneserNey(corpus.train, size, order, modified=modified)
            rows[f"{name}-{order}"] = held_out(model.probabilities, corpus)
    p = model.probabilities(corpus.test)  # of the last one, mkn-5
    unknown = corpus.test.numpy() == corpus.vocabulary.ids.get(UNKNOWN, -1)
    return {
        "rows": rows,
        "add_k": bigrams,
        "unknown_nats": np.log(1 / p[unknown]).sum(),
        "all_nats": np.log(1 / p[1:]).sum(),
    }


def add_k(
    train_text: np.ndarray, text: np.ndarray, size: int, k: float
) -> np.ndarray:
    """p(w | the word before it) of every word of a text, from counts plus k; the first gets 1."""
    pairs, counts = np.unique(
        train_text[:-1] * size + train_text[1:], return_counts=True
    )
    contexts = np.bincount(train_text[:-1], minlength=size)
    wanted = text[:-1] * size + text[1:]
    place = np.searchsorted(pairs, wanted).clip(max=len(pairs) - 1)
    found = np.where(pairs[place] == wanted, counts[place], 0)
    p = (found + k) / (contexts[text[:-1]] + k * size)
    return np.concatenate([[1.0], p])


def more_text(corpus: Corpus, language: ToyLanguage) -> dict[str, Any]:
    """Validation perplexity of n-gram models that read more and more toy text."""
    words = language.sample(np.random.default_rng(2), max(SIZES))
    ids = np.array([language.index[word] for word in words])
    held = np.array(
        [
            language.index[word]
            for word in corpus.vocabulary.decode(corpus.valid)
        ]
    )
    table = {}
    for order in ORDERS:
        table[str(order)] = [
            perplexity(
                KneserNey(
                    ids[:size], len(language.vocabulary), order, modified=True
                ).probabilities(held)
            )
            for size in SIZES
        ]
    return {"seed": 2, "sizes": list(SIZES), "valid": table}


def samples(language: ToyLanguage) -> dict[str, Any]:
    """Floors of many fresh texts as long as a held-out split, and what the generator itself could have said."""
    rng = np.random.default_rng(3)
    floors, told = [], []
    for _ in tqdm(range(SAMPLES), unit="sample"):
        steps = language.derive(rng, SAMPLE_TOKENS)
        floors.append(language.floor([step.word for step in steps]))
        told.append(generators_perplexity(language, steps))
    return {
        "seed": 3,
        "tokens": SAMPLE_TOKENS,
        "floor": floors,
        "generator": told,
    }


def generators_perplexity(language: ToyLanguage, steps: list[Step]) -> float:
    """Perplexity of who knows topic and grammatical state: p(word | topic, state, names seen), all words but the first."""
    arcs, urn, nats = language.arcs, language.names.empty(), []
    for step in steps:
        if step.state == "document":
            urn = language.names.empty()
        leaving = arcs.source == arcs.states.index(step.state)
        classes = arcs.word_class[leaving]
        emits = language.emission[
            language.topics.index(step.topic),
            classes,
            language.index[step.word],
        ]
        if step.word_class == "name":
            emits = (classes == arcs.classes.index("name")) * urn.probability(
                step.word
            )
            urn.add(step.word)
        nats.append(-math.log((arcs.probability[leaving] * emits).sum()))
    return math.exp(np.mean(nats[1:]))


@torch.no_grad()
def nats_by_position(
    model: LanguageModel, tokens: Tensor, length: int, carried: bool
) -> tuple[float, list[float]]:
    """Mean loss over a text read in windows, the state carried or not, and the same for each place in a window."""
    columns = batchify(tokens, EVAL_BATCH)
    states, losses = None, []
    for inputs, targets in fixed_windows(columns, length):
        logits, states, _, _ = model.eval()(inputs, states if carried else None)
        losses.append(
            F.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), reduction="none"
            ).view_as(targets)
        )
    whole = [one for one in losses if len(one) == length]
    places = torch.stack(whole).double().mean((0, 2)).tolist()
    return torch.cat(losses).double().mean().item(), places


def run(corpus: Corpus, bptt: int, carried: bool, config: TrainConfig) -> dict:
    """One small LSTM, trained with the state carried or not, and read in both ways."""
    training = start(model_config(len(corpus.vocabulary)), config)
    curve = []
    for step in train(training, corpus):
        if isinstance(step, EpochRecord):
            curve.append(step.valid_perplexity)
        elif not carried:
            training.states = training.model.initial_states(config.batch_size)
    read = {}
    for way in (True, False):
        valid, places = nats_by_position(
            training.model, corpus.valid, bptt, way
        )
        test, _ = nats_by_position(training.model, corpus.test, bptt, way)
        read["carried" if way else "reset"] = {
            "valid": math.exp(valid),
            "test": math.exp(test),
            "nats_by_position": places,
        }
    return {
        "window": bptt,
        "trained": "carried" if carried else "reset",
        "seed": config.seed,
        "curve": curve,
        "read": read,
    }


def carrying(
    epochs: int, known: list[dict], keep: Callable[[dict], None]
) -> None:
    """Every window, way and seed that is not known yet."""
    corpus = load_corpus("toy")
    cells = [
        (window, carried, seed)
        for seed in SEEDS
        for window in WINDOWS
        for carried in (True, False)
    ]
    done = {
        (one["window"], one["trained"] == "carried", one["seed"])
        for one in known
    }
    for window, carried, seed in tqdm(cells, unit="run"):
        if (window, carried, seed) not in done:
            config = training_config(window, epochs, seed)
            keep(run(corpus, window, carried, config))


def main() -> int:
    """Do what the record does not hold yet."""
    options = command_line(__doc__, OUT, epochs=10).parse_args()
    torch.set_num_threads(1)  # layers this small gain nothing from a second one
    language, toy = toy_language(), load_corpus("toy")
    settings = {
        "command": f"python book/experiments/language_modelling.py --epochs {options.epochs}",
        "floor": toy.floor,
        "model": asdict(model_config(len(toy.vocabulary))),
        "training": asdict(training_config(WINDOWS[0], options.epochs, seed=0)),
        "windows": list(WINDOWS),
        "seeds": list(SEEDS),
    }
    record = begun(options.out, rounded(settings)) or settings | {
        "date": now(),
        "environment": describe_environment(),
    }

    def keep() -> None:
        checkpoints.write_json(options.out, rounded(record))

    parts = {
        "corpora": lambda: {
            n: statistics(load_corpus(n)) for n in ("toy", *PUBLISHED)
        },
        "baselines": lambda: {
            n: baselines(load_corpus(n)) for n in ("toy", *PUBLISHED)
        },
        "samples": lambda: samples(language),
        "more_text": lambda: more_text(toy, language),
    }
    for name, compute in parts.items():
        if name not in record:
            print(name, flush=True)
            record[name] = compute()
            keep()
    runs = record.setdefault("runs", [])
    carrying(options.epochs, runs, lambda one: (runs.append(one), keep()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
