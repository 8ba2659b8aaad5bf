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
from awdlib.figures.surprise import READERS
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
