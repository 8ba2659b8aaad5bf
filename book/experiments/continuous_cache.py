"""The experiment of the chapter *The continuous cache*: what the cache gains, on which words, and how it is tuned.

    python book/experiments/continuous_cache.py --ptb runs/ptb-100k
                                                        writes data/runs/continuous-cache.json

Three models of the toy language are trained by its preset. The trained models of 100,000
words of Penn Treebank are those of data/runs/ptb-100k, read from the folder that
made them; without --ptb they are left out. Of each model: theta and lambda by window,
chosen on the validation text; what they reach on the test text; and the gain there,
added up over kinds of words. Of Penn Treebank's text nothing is kept but counts and
sums. Finished parts are kept and skipped when the script is started again.
"""

import math
import sys
from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from cached_text import Text, choose, look_up, perplexity, read, tried
from fitting import fit
from grid import RUNS, command_line, measure, rounded
from torch import Tensor

from awdlib.cache import TargetProbabilities
from awdlib.corpora import EOS, Corpus, load_corpus
from awdlib.figures.cache_gain import KINDS, kinds
from awdlib.presets import PRESETS
from awdlib.runs import load_best
from awdlib.toy_language import toy_language
from awdlib.training import start

OUT = RUNS / "continuous-cache.json"
SEEDS = [1, 2, 3]
TOY = {
    "windows": [10, 30, 100, 300, 1000],
    "thetas": [0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0],
    "lambdas": [0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5],
    "window": 300,  # of what is taken apart
    # the least of each group: words since the last one
    "ages": [1, 11, 31, 101, 301],
    "mentions": [0, 1, 2, 4, 8],  # the same: of a name, in its document, before
}
PTB = {
    "arms": ["full", "no-ar-tar", "unregularized", "gru"],
    "windows": [30, 100, 250, 500, 1000, 2000],
    "thetas": [0.5, 1.0, 1.5, 2.0, 3.0],
    "window": 500,
    "ages": [1, 11, 101, 501],
    # the same: of word types, by their count in training
    "ranks": [1, 101, 1001],
}
NEVER = 10**9  # words since the last one, where there was none


def groups_of(values: list[int], least: list[int]) -> Tensor:
    """The group of each value: the number of the last bound that it reaches."""
    return torch.tensor([bisect_left(least, value + 1) - 1 for value in values])


def ages(tokens: list[int]) -> list[int]:
    """Of each word but the first, how many words ago it last came; NEVER where it did not."""
    last: dict[int, int] = {}
    found = []
    for at, word in enumerate(tokens):
        found.append(at - last.get(word, at - NEVER))
        last[word] = at
    return found[1:]


def mentions(words: list[str]) -> list[int]:
    """Of each word but the first, how often it came before in its document."""
    seen: Counter[str] = Counter()
    found = []
    for before, word in zip([EOS, *words], words, strict=False):
        found.append(seen[word])
        seen[word] += 1
        if before == word == EOS:  # the document ends
            seen.clear()
    return found[1:]


def sums(group: Tensor, count: int, **values: Tensor) -> list[dict[str, Any]]:
    """Of each group: how many words, and the sum of each value over them."""
    return [
        {"words": int((group == number).sum())}
        | {
            name: value[group == number].sum().item()
            for name, value in values.items()
        }
        for number in range(count)
    ]


def toy(seed: int) -> dict[str, Any]:
    """Train a model of the toy language, tune the cache, and take its gain apart."""
    corpus, preset = load_corpus("toy"), PRESETS["toy"]
    sizes = replace(preset.model, vocab_size=len(corpus.vocabulary))
    training = start(sizes, replace(preset.training, seed=seed))
    training.model.load_state_dict(fit(training, corpus))
    model = training.model.eval()
    texts = {
        split: read(model, corpus.split(split), whole=True)
        for split in ("valid", "test")
    }
    grid: dict[str, Any] = {split: {} for split in texts}
    for split, text in texts.items():
        for window in TOY["windows"]:
            grid[split][str(window)] = tried(
                text, window, TOY["thetas"], TOY["lambdas"]
            )
    tuned = [
        choose(grid["valid"][str(window)], *texts.values(), window)
        for window in TOY["windows"]
    ]
    (chosen,) = [one for one in tuned if one["window"] == TOY["window"]]
    return {
        "grid": grid,
        "tuned": tuned,
        "words": toy_words(corpus, texts, chosen["theta"], chosen["lambda"]),
        "square": texts["valid"].states.square().sum(1).mean().item(),
    }


def toy_words(
    corpus: Corpus, texts: dict[str, Text], theta: float, weight: float
) -> dict[str, Any]:
    """The gain on the test text by kind of word, its excess over the floor, and what knowing the names would gain.

    The probability of a word is that of its kind times that of the word given its kind: the logarithms of
    both parts are kept. The cache gives the first part to the kinds' numbers in place of the words.
    """
    text, window = texts["test"], TOY["window"]
    words = corpus.vocabulary.decode(corpus.test)
    language = toy_language()
    kind_of = torch.tensor(kinds(corpus.vocabulary.words))
    kind = kind_of[text.targets]
    found = look_up(text, window, theta)
    of_kind = kind_probabilities(text, kind_of, window, theta)
    floor = torch.from_numpy(language.log_probabilities(words))[1:]
    parts = {
        "floor": floor,
        "model": found.model[:, 0].log(),
        "mixed": found.mixed(weight)[:, 0].log(),
        "model_kind": of_kind.model[:, 0].log(),
        "mixed_kind": of_kind.mixed(weight)[:, 0].log(),
    }
    names = kind == KINDS.index("names")
    urn = urn_log_probabilities(words)
    by_age = groups_of(ages(corpus.test.tolist()), TOY["ages"])
    by_mention = groups_of(mentions(words), TOY["mentions"])
    return {
        "theta": theta,
        "lambda": weight,
        "kinds": dict(zip(KINDS, sums(kind, len(KINDS), **parts), strict=True)),
        "ages": {
            name: sums(
                by_age.where(kind == number, -1), len(TOY["ages"]), **parts
            )
            for number, name in enumerate(KINDS)
        },
        "mentions": sums(
            by_mention.where(names, -1),
            len(TOY["mentions"]),
            urn=urn,
            **parts,
        ),
        "urn": math.exp(
            -torch.where(names, parts["model_kind"] + urn, parts["model"])
            .mean()
            .item()
        ),
        "by_document": by_document(text, words, window, theta, weight),
        "within_names": within_names(texts, kind_of, window),
    }


def kind_probabilities(
    text: Text, kind_of: Tensor, window: int, theta: float
) -> TargetProbabilities:
    """What model and cache give to the kind of each word that came."""
    by_kind = torch.zeros(
        len(text.targets), len(KINDS), dtype=torch.float64
    ).index_add(1, kind_of, text.log_p.exp())
    kind = kind_of[text.targets]
    as_text = text._replace(
        targets=kind, model=by_kind.gather(1, kind[:, None])
    )
    return look_up(as_text, window, theta)


def urn_log_probabilities(words: list[str]) -> Tensor:
    """ln p(this name | the names of its document so far) of each word but the first; 0 where it is no name."""
    empty = toy_language().names
    urn, found = empty.empty(), []
    for before, word in zip([EOS, *words], words, strict=False):
        found.append(0.0)
        if word in urn.base:
            found[-1] = math.log(urn.probability(word))
            urn.add(word)
        elif before == word == EOS:
            urn = empty.empty()
    return torch.tensor(found[1:], dtype=torch.float64)


def by_document(
    text: Text, words: list[str], window: int, theta: float, weight: float
) -> float:
    """The perplexity where the cache begins anew after the end of each document."""
    ends = [
        at
        for at, pair in enumerate(zip(words, words[1:], strict=False), 1)
        if pair == (EOS, EOS)
    ]  # the number of the target that follows is the same
    bounds = [0, *ends, len(text.targets)]
    parts = [
        look_up(
            Text(text.states[a:b], text.targets[a:b], text.model[a:b], None),
            window,
            theta,
        )
        for a, b in zip(bounds, bounds[1:], strict=False)
        if a < b
    ]
    joined = TargetProbabilities(
        *(torch.cat(pieces) for pieces in zip(*parts, strict=True))
    )
    return perplexity(joined, weight)


def within_names(
    texts: dict[str, Text], kind_of: Tensor, window: int
) -> dict[str, Any]:
    """A cache that may only say *which* name, with theta and lambda of its own, from the validation text.

    The model alone says whether a name comes. Given that one does, the name is the mixture of model and cache,
    both cut down to names; where the cache holds no name, the model's.
    """
    best = None
    for theta in TOY["thetas"]:
        found = names_given_a_name(texts["valid"], kind_of, window, theta)
        weight = found.best_weight(1e-4)
        best = min(best or (math.inf,), (found.loss(weight), theta, weight))
    _, theta, weight = best
    after = {}
    for split, text in texts.items():
        found = names_given_a_name(text, kind_of, window, theta)
        gain = (found.mixed(weight) / found.model).log().sum().item()
        after[split] = math.exp(
            -text.model.log().mean().item() - gain / len(text.targets)
        )
    return {"theta": theta, "lambda": weight} | after


def names_given_a_name(
    text: Text, kind_of: Tensor, window: int, theta: float
) -> TargetProbabilities:
    """What model and cache give to each name that came, given that it is one."""
    names = kind_of[text.targets] == KINDS.index("names")
    word = look_up(text, window, theta)
    kind = kind_probabilities(text, kind_of, window, theta)
    usable = kind.usable & (kind.cache > 0)
    cached = torch.where(usable, word.cache / kind.cache.clamp(1e-300), 0.0)
    parts = (word.model / kind.model, cached, usable)
    return TargetProbabilities(*(part[names] for part in parts))


def ptb(arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """Tune the cache on a trained model of 100,000 words of Penn Treebank; of the full one, take its gain apart."""
    corpus = load_corpus("ptb-100k")
    model, _ = load_best(folder / f"{arm}-{seed}", corpus)
    valid, test = (
        read(model, corpus.split(split), whole=False)
        for split in ("valid", "test")
    )
    cells = tried(valid, PTB["window"], PTB["thetas"])
    chosen = choose(cells, valid, test, PTB["window"])
    found: dict[str, Any] = {
        "tried": cells,
        "tuned": chosen,
        "square": valid.states.square().sum(1).mean().item(),
    }
    if arm == PTB["arms"][0]:
        found["on_test"] = tried(test, PTB["window"], PTB["thetas"])
        found["windows"] = [
            choose(
                tried(valid, window, [chosen["theta"]]),
                valid,
                test,
                window,
            )
            for window in PTB["windows"]
        ]
        found["words"] = ptb_words(
            corpus, test, chosen["theta"], chosen["lambda"]
        )
    return found


def ptb_words(
    corpus: Corpus, text: Text, theta: float, weight: float
) -> list[list[dict[str, Any]]]:
    """The gain on the test text, by words since the last one and by rank in training: counts and sums."""
    found = look_up(text, PTB["window"], theta)
    counts = Counter(corpus.train.tolist())
    order = sorted(
        range(len(corpus.vocabulary)), key=lambda word: -counts[word]
    )
    rank = {word: place for place, word in enumerate(order, 1)}
    by_rank = groups_of(
        [rank[word] for word in text.targets.tolist()], PTB["ranks"]
    )
    by_age = groups_of(ages(corpus.test.tolist()), PTB["ages"])
    parts = {
        "model": found.model[:, 0].log(),
        "mixed": found.mixed(weight)[:, 0].log(),
    }
    return [
        sums(by_rank.where(by_age == age, -1), len(PTB["ranks"]), **parts)
        for age in range(len(PTB["ages"]))
    ]


def run(
    corpus: str, arm: str, seed: int, folder: Path | None
) -> dict[str, Any]:
    """One part of the record."""
    torch.set_num_threads(1)  # layers this small gain nothing from a second one
    found = toy(seed) if corpus == "toy" else ptb(arm, seed, folder)
    return {"corpus": corpus, "arm": arm, "seed": seed} | rounded(found)


def main() -> int:
    """Every model that the record does not hold yet."""
    parser = command_line(
        __doc__, OUT, epochs=PRESETS["toy"].training.epochs, jobs=1
    )
    parser.add_argument("--ptb", type=Path, help="folder of trained models")
    options = parser.parse_args()
    cells = [{"corpus": "toy", "arm": "toy", "seed": s} for s in SEEDS]
    if options.ptb:
        cells += [
            {"corpus": "ptb-100k", "arm": arm, "seed": s}
            for arm in PTB["arms"]
            for s in SEEDS
        ]
    settings = {
        "command": "python book/experiments/continuous_cache.py --ptb runs/ptb-100k",
        "floor": load_corpus("toy").floor,
        "seeds": SEEDS,
        "toy": TOY,
        "ptb": PTB,
    }
    measure(
        options.out,
        settings,
        cells,
        partial(run, folder=options.ptb),
        options.jobs,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
