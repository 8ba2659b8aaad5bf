"""The record of *Language modelling and perplexity*: of today's settings, computed again where that is quick."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import language_modelling as experiment
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from awdlib.batches import batchify
from awdlib.corpora import PUBLISHED, load_corpus
from awdlib.model import LanguageModel, ModelConfig
from awdlib.toy_language import toy_language
from awdlib.training import EpochRecord, TrainConfig

PATH = Path(__file__).resolve().parent.parent / "data" / "runs" / "language-modelling.json"
RECORD = json.loads(PATH.read_text(encoding="utf-8"))


def close(found, wanted, tolerance=2e-6):
    """Equal but for the rounding to six digits."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
    pairs = zip(found.values(), wanted.values(), strict=True) if isinstance(wanted, dict) else None
    if isinstance(wanted, list):
        pairs = zip(found, wanted, strict=True)
    if pairs is None:
        assert found == (pytest.approx(wanted, rel=tolerance) if isinstance(wanted, float) else wanted)
    else:
        for one, other in pairs:
            close(one, other, tolerance)


def strings(value):
    """All that is written in a record but names of its fields."""
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [found for part in parts for found in strings(part)]
    return [value] if isinstance(value, str) else []


def test_it_is_whole_and_of_todays_corpus_and_settings():
    corpus = load_corpus("toy")
    assert RECORD["floor"] == experiment.rounded(corpus.floor) and RECORD["windows"] == list(experiment.WINDOWS)
    assert ModelConfig(**RECORD["model"]) == experiment.model_config(len(corpus.vocabulary))
    epochs = RECORD["training"]["epochs"]
    assert TrainConfig(**RECORD["training"]) == experiment.training_config(experiment.WINDOWS[0], epochs, seed=0)
    assert RECORD["environment"]["commit"] and not RECORD["environment"]["commit"].endswith("+")
    assert RECORD["command"].endswith(f"language_modelling.py --epochs {epochs}")
    cells = {(run["window"], run["trained"], run["seed"]) for run in RECORD["runs"]}
    assert len(cells) == len(RECORD["runs"]) == len(experiment.WINDOWS) * 2 * len(experiment.SEEDS) == 18
    for run in RECORD["runs"]:
        assert len(run["curve"]) == epochs
        assert all(len(read["nats_by_position"]) == run["window"] for read in run["read"].values())
    assert RECORD["samples"]["tokens"] == experiment.SAMPLE_TOKENS
    assert len(RECORD["samples"]["floor"]) == len(RECORD["samples"]["generator"]) == experiment.SAMPLES
    assert RECORD["more_text"]["sizes"] == list(experiment.SIZES)


def test_it_holds_no_word_of_a_corpus_but_those_that_stand_for_others():
    """Whatever is written in it is a key, a setting or a mark; the corpora's parts hold numbers, and `checked`."""
    for name, corpus in RECORD["corpora"].items():
        assert {*corpus["marks"]} <= {"<unk>", "<eos>", "N"}, name
        assert strings(corpus) == [corpus["checked"]]
    assert not strings([RECORD["baselines"], RECORD["samples"], RECORD["more_text"]])


def test_what_it_says_of_the_toy_language_is_counted_again():
    corpus = load_corpus("toy")
    close(RECORD["corpora"]["toy"], json.loads(json.dumps(experiment.statistics(corpus))))
    close(RECORD["baselines"]["toy"], experiment.baselines(corpus), tolerance=1e-5)


def test_what_it_says_of_the_published_corpora_is_what_is_known_of_them():
    for name, known in PUBLISHED.items():
        found = RECORD["corpora"][name]
        assert found["vocab_size"] == known.vocab_size
        assert {split: part["tokens"] for split, part in found["splits"].items()} == known.tokens
        assert all(part["not_in_train"] == 0 for part in found["splits"].values())
        assert found["splits"]["train"]["unknown"] == found["marks"]["<unk>"]


def test_characters_are_those_of_the_text_with_a_space_after_each_word():
    for split, found in RECORD["corpora"]["toy"]["splits"].items():
        lines = (PATH.parents[1] / "toy" / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        assert sum(len(line) + 1 + bool(line) for line in lines) == found["characters"]


def test_fresh_samples_have_these_floors():
    language, rng = toy_language(), np.random.default_rng(RECORD["samples"]["seed"])
    steps = language.derive(rng, experiment.SAMPLE_TOKENS)
    assert language.floor([step.word for step in steps]) == pytest.approx(RECORD["samples"]["floor"][0], rel=1e-5)
    told = experiment.generators_perplexity(language, steps)
    assert told == pytest.approx(RECORD["samples"]["generator"][0], rel=1e-5)


def test_what_the_generator_knows_is_the_probability_of_its_own_draws():
    """One word at a time: the arcs that leave the state, each with its class's chance of the word."""
    language = toy_language()
    steps, seen, nats = language.derive(np.random.default_rng(8), 300), [], []
    for step in steps:
        seen = [] if step.state == "document" else seen
        p = 0.0
        for arc in range(len(language.arcs.source)):
            if language.arcs.states[language.arcs.source[arc]] == step.state:
                name = language.arcs.classes[language.arcs.word_class[arc]]
                if name == "name" and step.word in language.names.base:
                    alpha, base = language.names.alpha, language.names.base[step.word]
                    emits = (alpha * base + seen.count(step.word)) / (alpha + len(seen))
                elif name == "name":
                    emits = 0.0
                else:
                    topic, kind = language.topics.index(step.topic), language.arcs.word_class[arc]
                    emits = language.emission[topic, kind, language.index[step.word]]
                p += language.arcs.probability[arc] * emits
        nats.append(-math.log(p))
        seen += [step.word] if step.word_class == "name" else []
    assert experiment.generators_perplexity(language, steps) == pytest.approx(math.exp(mean(nats[1:])))


@pytest.mark.parametrize("carried", [True, False])
def test_nats_by_position_is_what_a_loop_over_windows_finds(carried):
    config = ModelConfig(vocab_size=30, embedding_size=8, hidden_size=8, num_layers=1)
    model = LanguageModel(config, generator=torch.Generator().manual_seed(1)).eval()
    with torch.no_grad():
        model.embedding.mul_(20)
    tokens = torch.randint(30, (173,), generator=torch.Generator().manual_seed(2))
    loss, places = experiment.nats_by_position(model, tokens, 4, carried)
    columns = batchify(tokens, experiment.EVAL_BATCH)  # 17 rows: four windows of 4
    every = torch.zeros(4, 4, experiment.EVAL_BATCH)
    for b in range(experiment.EVAL_BATCH):
        for start in range(0, 16, 4):
            for i in range(4):
                read = columns[(0 if carried else start) : start + i + 1, b : b + 1]
                with torch.no_grad():
                    logits = model(read).logits[-1]
                every[start // 4, i, b] = F.cross_entropy(logits, columns[start + i + 1, b : b + 1])
    assert loss == pytest.approx(every.mean().item(), rel=1e-5)
    assert places == pytest.approx(every.mean((0, 2)).tolist(), rel=1e-5)


@pytest.mark.parametrize("carried", [True, False])
def test_a_state_that_is_not_carried_is_zero_after_each_update(carried, monkeypatch):
    left, train = [], experiment.train

    def watched(training, corpus):
        for step in train(training, corpus):
            yield step
            if not isinstance(step, EpochRecord):
                left.append(sum(part.abs().sum().item() for part in tree_leaves(training.states)))

    monkeypatch.setattr(experiment, "train", watched)
    whole = load_corpus("toy")
    corpus = replace(whole, train=whole.train[:600], valid=whole.valid[:200], test=whole.test[:200])
    config = replace(experiment.training_config(10, 5, seed=1), epochs=1, decay_after=0)
    found = experiment.run(corpus, 10, carried, config)
    assert found["trained"] == ("carried" if carried else "reset") and len(left) > 2
    assert all(size > 0 for size in left[:-1]) if carried else not any(left[:-1])


def test_add_k_is_counting_with_dictionaries():
    train, text = np.array([0, 1, 0, 1, 2, 0, 0]), np.array([0, 1, 1, 2, 0])
    pairs = [*zip(train[:-1], train[1:], strict=True)]
    expected = [1.0]
    for u, w in zip(text[:-1], text[1:], strict=True):
        expected.append((pairs.count((u, w)) + 0.5) / (sum(a == u for a, _ in pairs) + 0.5 * 4))
    np.testing.assert_allclose(experiment.add_k(train, text, 4, 0.5), expected)


def test_what_the_chapter_says_of_the_record_holds():
    corpora, baselines = RECORD["corpora"], RECORD["baselines"]
    assert abs(baselines["ptb"]["rows"]["mkn-5"]["test"] - 141.2) < 0.2
    for name, table in baselines.items():
        rows = table["rows"]
        assert rows["unigram"]["valid"] < table["add_k"][0]["valid"], f"{name}: adding one is worse than nothing"
        best, k = min((one["valid"], one["k"]) for one in table["add_k"])
        assert best > rows["kn-2"]["valid"] and 0.0001 < k < 1, f"{name}: a smaller k helps, to a point"
        worse = table["add_k"][0]["valid"] / rows["unigram"]["valid"]
        assert worse < 1.005 if name == "toy" else worse > 1.2, f"{name}: a draw on the toy, a rout on real text"
        tokens = corpora[name]["splits"]["test"]
        if tokens["unknown"]:
            assert table["unknown_nats"] / tokens["unknown"] < table["all_nats"] / tokens["tokens"] - 2, (
                "easy to predict"
            )
    assert corpora["wikitext-2"]["ranks"][-1][1] == 3, "cut off at three occurrences"
    more = RECORD["more_text"]["valid"]
    first, last = ({n: values[place] for n, values in more.items()} for place in (0, -1))
    assert max(first.values()) < 1.06 * min(first.values()), "at 60,000 words the orders hardly differ"
    assert last["2"] > 1.3 * last["3"] and more["2"][-1] > 0.95 * more["2"][-2], "the bigram flattens out"
    assert (np.subtract(RECORD["samples"]["floor"], RECORD["samples"]["generator"]) > 0.5).all()
    assert "published hash does not match: train" in corpora["wikitext-2"]["checked"], "articles in another order"


def test_the_corpora_follow_zipfs_law_as_far_as_the_chapter_says():
    for name, corpus in RECORD["corpora"].items():
        ranks, count = np.array(corpus["ranks"]).T
        middle = (ranks > 4) & (ranks < 1100)
        slope = np.polyfit(np.log(ranks[middle]), np.log(count[middle]), 1)[0]
        assert slope == pytest.approx(-1, abs=0.15), f"{name}: roughly as 1/rank"
        least = np.cumsum(count * np.diff(ranks, prepend=0))  # no word between two ranks is rarer than the second
        half = ranks[least > corpus["splits"]["train"]["tokens"] / 2][0]
        assert half < 0.05 * corpus["types_in_train"], f"{name}: a few types make up half of the text"
        assert count[ranks >= corpus["types_in_train"] / 2][0] < 20, f"{name}: most types are rare"


@pytest.mark.skipif("AWDLIB_DATA" not in os.environ, reason="AWDLIB_DATA names no folder with the real corpora")
def test_the_first_line_of_penn_treebank_lists_words_found_nowhere_else_in_training():
    corpus = load_corpus("ptb")
    counts, eos = torch.bincount(corpus.train), corpus.vocabulary.ids["<eos>"]
    first = corpus.train[: int((corpus.train == eos).nonzero()[0])]
    assert len(first) == 24 and (counts[first] == 1).all()
    assert set(first.tolist()) <= {*corpus.valid.tolist(), *corpus.test.tolist()}


def test_carrying_pays_at_every_length_and_matters_in_reading_more_than_in_training():
    def valid(window, trained, read):
        chosen = [run for run in RECORD["runs"] if run["window"] == window and run["trained"] == trained]
        return [run["read"][read]["valid"] for run in chosen]

    costs, lag = [], []
    for window in RECORD["windows"]:
        carried, reset = valid(window, "carried", "carried"), valid(window, "reset", "reset")
        mixed, blind = valid(window, "reset", "carried"), valid(window, "carried", "reset")
        assert max(carried) < min(reset) and max(mixed) < min(reset) and min(blind) > max(reset)
        assert min(carried) > RECORD["floor"]["valid"]
        assert mean(reset) - mean(mixed) > mean(mixed) - mean(carried), "reading more than training"
        assert mean(reset) - mean(carried) > 2 * max(stdev(reset), stdev(carried)), "more than the seeds' spread"
        costs.append(mean(reset) - mean(carried))
        lag.append(mean(mixed) / mean(carried))
    assert costs == sorted(costs, reverse=True), "most at the shortest"
    assert lag == sorted(lag, reverse=True) and lag[0] < 1.15 and lag[-1] <= 1, "the closer the longer the window"
    for run in RECORD["runs"]:
        if run["window"] == max(RECORD["windows"]):
            nats = [run["read"][way]["nats_by_position"] for way in ("reset", "carried")]
            cost = np.subtract(*nats)
            assert cost[:5].mean() > 0.4 and abs(cost[15:]).max() < 0.1, "paid at a window's first words"
