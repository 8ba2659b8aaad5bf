"""The record behind *AWD-LSTM assembled*: whole, of today's settings, and what can be computed again is."""

import json
import math

import awd_lstm as experiment
import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.corpora import EOS, load_corpus
from awdlib.evaluation import evaluate
from awdlib.figures.staircase import NAMES, stair_runs
from awdlib.figures.surprise import READERS, passage, surprisals
from awdlib.figures.trained import toy_run
from awdlib.model import LanguageModel, ModelConfig
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig

RECORD = json.loads(bundled("runs/awd-lstm.json").read_text(encoding="utf-8"))
CORPUS = load_corpus("toy")
RUNS = RECORD["runs"]
TOPS = [run for run in RUNS if run["stair"] == experiment.TOP]


def test_it_is_whole_and_of_todays_settings():
    assert RECORD["floor"] == CORPUS.floor and len(RECORD["seeds"]) >= 3
    assert RECORD["environment"]["commit"] and not RECORD["environment"]["commit"].endswith("+")
    assert RECORD["stairs"] == experiment.STAIRS and RECORD["more"] == experiment.MORE
    epochs = RECORD["training"]["plain"]["epochs"]
    assert RECORD["command"].endswith(f"awd_lstm.py --epochs {epochs} --more {RECORD['more']}")
    for stair in RECORD["stairs"]:
        assert ModelConfig(**RECORD["models"][stair]) == experiment.model_config(len(CORPUS.vocabulary), stair)
        assert TrainConfig(**RECORD["training"][stair]) == experiment.training_config(stair, epochs, seed=0)
    cells = [(run["seed"], run["stair"]) for run in RUNS]
    assert cells == [(seed, stair) for seed in RECORD["seeds"] for stair in RECORD["stairs"]]
    assert {*READERS} - {"finetuned", "cache"} <= {*RECORD["stairs"]}
    for run in RUNS:
        assert len(run["valid"]) == len(run["train"]) == epochs and min(run["valid"]) == run["valid_best"]
    for run in TOPS:
        assert len(run["longer"]["valid"]) == epochs + RECORD["more"]
        assert np.allclose(run["longer"]["valid"][:epochs], run["valid"])
        assert 1 <= len(run["finetuned"]["valid"]) <= RECORD["more"]


def test_each_stair_changes_what_its_line_says():
    height = {stair: at for at, stair in enumerate(RECORD["stairs"])}
    for stair, model in RECORD["models"].items():
        how, at = RECORD["training"][stair], height[stair]
        assert (model["dropout_input"] > 0) == (model["dropout_output"] > 0) == (at >= height["zaremba"])
        assert (how["lr_decay"] == "schedule" and how["decay_factor"] < 1) == (1 <= at < height["ntasgd"])
        assert (model["dropout_weight"] > 0) == (model["dropout_embedding"] > 0) == (at >= height["masks"])
        assert at < height["zaremba"] or model["locked"] == (at >= height["masks"])
        assert model["tied"] == (how["weight_decay"] > 0) == (at >= height["tied"])
        assert (how["ar_weight"] > 0) == how["variable_windows"] == (at >= height["penalties"])
        same = ("batch_size", "bptt", "lr", "max_grad_norm", "epochs")
        assert [how[name] for name in same] == [RECORD["training"]["plain"][name] for name in same]


def results():
    for run in RUNS:
        yield run
        yield from (run[extra] for extra in ("longer", "finetuned", "cache") if extra in run)


def test_the_excesses_by_kind_add_up_to_the_loss_above_the_floor():
    for found in results():
        assert math.isclose(
            sum(found["excess"].values()), math.log(found["test"] / RECORD["floor"]["test"]), abs_tol=1e-4
        )
        assert [*found["excess"]] == [*RECORD["kinds"]]
    assert sum(RECORD["kinds"].values()) == len(CORPUS.test) - 1


def test_the_passages_are_of_the_test_text_and_their_floor_is_exact():
    words = CORPUS.vocabulary.decode(CORPUS.test)
    for one, (begin, end) in zip(RECORD["passages"], experiment.passages(), strict=True):
        assert one["begin"] == begin and words[begin:end] == one["words"]
        assert words[begin - 2 : begin] == [EOS, EOS] and one["words"][-1] == EOS
        again = -toy_language().log_probabilities(one["words"])  # a document begins here: nothing before it counts
        assert np.allclose(again, one["floor"], atol=6e-4)


def test_a_models_loss_is_split_as_it_was():
    model, corpus, _ = toy_run()
    log_p = experiment.log_probabilities(model, corpus)
    assert math.isclose(-log_p.mean(), evaluate(model, corpus.test), rel_tol=1e-6)
    found = experiment.judged(model, corpus)
    assert math.isclose(sum(found["excess"].values()), math.log(found["test"] / corpus.floor["test"]), abs_tol=1e-5)
    names = torch.tensor([word in toy_language().names.base for word in experiment.test_words()[1:]])
    due = (-log_p - experiment.exact())[names].sum().item() / len(log_p)
    assert math.isclose(found["excess"]["names"], due, rel_tol=1e-9)
    begin, end = experiment.passages()[1]
    assert np.allclose(found["surprisal"][1], -log_p[begin - 1 : end - 1], atol=6e-4)


@pytest.mark.parametrize("stair", experiment.STAIRS)
def test_the_parameters_are_those_of_the_stair(stair):
    model = LanguageModel(experiment.model_config(len(CORPUS.vocabulary), stair))
    count = sum(weight.numel() for weight in model.parameters())
    assert {run["parameters"] for run in RUNS if run["stair"] == stair} == {count}


STAIRS = stair_runs(RECORD)


def changes(upper, lower):
    """What a stair adds to the loss in nats, seed by seed."""
    return np.array(
        [math.log(a["test"]) - math.log(b["test"]) for a, b in zip(STAIRS[upper], STAIRS[lower], strict=True)]
    )


def is_clear(gaps):
    """Beyond 4.3 standard errors of the mean of three pairs."""
    assert len(gaps) == 3
    return abs(gaps.mean()) > 4.3 * gaps.std(ddof=1) / math.sqrt(3)


def test_the_chapter_says_of_the_stairs_what_the_record_holds():
    order = [*NAMES]
    assert order[:5] == ["plain", "zaremba", "masks", "tied", "penalties"]
    for lower, upper in [*zip(order[:4], order[1:5], strict=True), ("finetuned", "cache")]:
        assert changes(upper, lower).max() < 0 and is_clear(changes(upper, lower)), "these gain in every seed"
    distance = np.mean([math.log(run["test"] / RECORD["floor"]["test"]) for run in STAIRS["plain"]])
    assert 0.45 < -changes("penalties", "plain").mean() / distance < 0.55, "about half of the distance"
    highest, second = -changes("zaremba", "plain"), -changes("tied", "masks")
    others = [-changes(*pair).mean() for pair in (("masks", "zaremba"), ("penalties", "tied"), ("cache", "finetuned"))]
    assert min(highest.mean(), second.mean()) > 2 * max(others), "two of them stand out"
    assert not is_clear(highest - second), "which of the two is higher is not decided"
    assert (changes("ntasgd", "penalties") > 0).tolist().count(True) == 2, "NT-ASGD is worse in two of three"
    how = RECORD["training"]["penalties"]
    assert (how["lr_decay"], how["decay_after"]) == ("schedule", how["epochs"] * 2 // 3), "fell in the last third"


def test_the_whole_is_behind_where_the_plain_model_is_best_and_ahead_in_the_end():
    for plain, whole in zip(STAIRS["plain"], STAIRS["ntasgd"], strict=True):
        plain, whole = plain["valid"], whole["valid"]
        at = plain.index(min(plain))
        assert 10 <= at + 1 <= 14, "after a dozen epochs"
        assert whole[at] > plain[at] and plain[-1] > 2 * plain[at]
        assert whole.index(min(whole)) == len(whole) - 1 and whole[-1] < 0.85 * min(plain)
    for zaremba, masks in zip(STAIRS["zaremba"], STAIRS["masks"], strict=True):
        assert 1.2 < zaremba["valid"][-1] / zaremba["valid_best"] < 1.4, "turns, and rises less"
        assert masks["valid"][-1] < 1.04 * masks["valid_best"], "nearly level"


def test_fine_tuning_mends_what_an_early_trigger_did():
    begun = sorted(TOPS, key=lambda run: run["averaging_from"])
    before = [run["test"] for run in begun]
    assert before == sorted(before, reverse=True) and before[0] > 1.15 * before[-1], "the earlier, the worse"
    after = [run["finetuned"]["test"] for run in begun]
    assert max(after) < 1.01 * min(after), "within one per cent of each other"
    gaps = np.array([math.log(run["finetuned"]["test"] / run["longer"]["test"]) for run in TOPS])
    assert gaps.max() < 0 and not is_clear(gaps), "ahead in every seed, and too few to be sure"


def test_the_bill_by_kind_of_word_is_as_the_chapter_reads_it():
    plain, zaremba, whole, cached = (
        {kind: np.mean([run["excess"][kind] for run in STAIRS[reader]]) for kind in RECORD["kinds"]}
        for reader in READERS
    )
    for bill in (plain, zaremba, whole, cached):
        assert max(bill, key=bill.get) == "names"
    for kind in ("nouns", "adjectives", "verbs", "ends"):
        assert whole[kind] < 0.5 * plain[kind]
    assert 0.8 * plain["names"] < whole["names"] < plain["names"]
    assert whole["names"] > 0.5 * sum(whole.values())
    assert cached["names"] < 0.8 * whole["names"] and cached["small words"] > whole["small words"]
    assert round(RECORD["kinds"]["names"] / sum(RECORD["kinds"].values()), 1) == 0.1, "a tenth of the words"


def test_passage_1_shows_what_the_reader_is_told_to_look_for():
    words, floor = passage(1)
    extra = {reader: np.subtract(surprisals(1, reader), floor) for reader in READERS}
    for word in ("plump", "barn", "pulls"):
        at = words.index(word)
        assert extra["plain"][at] > 3 and extra["finetuned"][at] < 0.35 * extra["plain"][at]
    assert words[0] == words[-2] == "julia"
    assert all(found[-2] > 4 for found in extra.values()), "the name stays"
