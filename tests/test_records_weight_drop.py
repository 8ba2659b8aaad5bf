"""The record behind the chapter on weight drop: whole, of today's settings, and what the chapter says of it holds."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import overfitting
import pytest
import torch
import weight_drop as experiment

from awdlib.ablation import ROWS
from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures.weight_drop_runs import arms_table, gain
from awdlib.model import ModelConfig
from awdlib.recurrent import LSTMLayer
from awdlib.training import TrainConfig

BOOK = Path(__file__).resolve().parent.parent / "book"

RECORD = json.loads(bundled("runs/weight-drop.json").read_text(encoding="utf-8"))
EARLIER = json.loads(bundled("runs/overfitting.json").read_text(encoding="utf-8"))["runs"]
RUNS = RECORD["runs"]


def of(arm, value):
    return [value(run) for run in RUNS if run["arm"] == arm]


def test_it_is_whole_and_of_todays_settings():
    corpus = load_corpus("toy")
    assert RECORD["floor"] == corpus.floor and RECORD["environment"]["commit"]
    assert not RECORD["environment"]["commit"].endswith("+")
    words = len(corpus.vocabulary)
    assert ModelConfig(**RECORD["model"]) == experiment.model_config(words, "none")
    training = TrainConfig(**RECORD["training"])
    assert training == overfitting.training_config(training.epochs, seed=0)
    assert RECORD["command"].endswith(f"--epochs {training.epochs}")
    assert RECORD["arms"] == {arm: [*p] for arm, p in experiment.ARMS.items()} and len(RECORD["seeds"]) >= 4
    cells = [(run["arm"], run["seed"]) for run in RUNS]
    assert cells == [(arm, seed) for seed in RECORD["seeds"] for arm in RECORD["arms"]
                     if arm != "silent" or seed in RECORD["silent_seeds"]]  # fmt: skip
    sizes = [128, 64]  # of the recurrent matrices: tied, the last layer is as large as an embedding
    for run in RUNS:
        assert len(run["valid"]) == len(run["train"]) == training.epochs
        assert [len(values) for values in run["singular_values"]] == sizes
        assert [float(p) for p in run["valid_with_masks"]] == RECORD["damage"]
        assert run["valid_with_masks"]["0"] == pytest.approx(run["valid"][-1], rel=1e-4), "without masks it is itself"
        assert all(values == sorted(values, reverse=True) for values in run["singular_values"])


@pytest.mark.parametrize("arm", experiment.ARMS)
def test_each_arm_trains_a_model_with_its_own_weight_drop(arm):
    up, weights = experiment.ARMS[arm]
    model = experiment.begin(load_corpus("toy"), arm, overfitting.training_config(3, seed=1)).model
    config = model.config
    assert (config.dropout_input, config.dropout_hidden, config.dropout_output) == (up, up, up)
    silent = arm == "silent"
    assert [layer.weight_dropout for layer in model.layers] == [0.0 if silent else weights] * 2
    assert [getattr(layer, "p", None) for layer in model.layers] == [weights if silent else None] * 2
    assert ModelConfig(**RECORD["model"]) == replace(
        config, dropout_input=0.0, dropout_hidden=0.0, dropout_output=0.0, dropout_weight=0.0
    )


def test_the_silent_layer_makes_masks_and_computes_without_them():
    layer = LSTMLayer(5, 30, weight_dropout=0.5)
    silent = experiment.SilentLSTM(layer)
    x, zero = torch.randn(6, 3, 5), layer.initial_state(3)
    due, _ = layer.eval()(x, zero)
    assert silent(x, zero)[0].equal(due) and 0.4 < (silent.masked == 0).float().mean() < 0.6
    assert not layer.train()(x, zero)[0].equal(due)


def test_the_silent_run_is_the_run_without_weight_drop_here_and_in_the_record_of_another_chapter():
    (silent,) = (run for run in RUNS if run["arm"] == "silent")
    twins = [run for run in RUNS + EARLIER if (run.get("arm"), run.get("seed")) == ("up", silent["seed"])]
    assert len(twins) == 2 and {"looks", "parameters"}.isdisjoint(twins[1])
    assert all(run["valid"] == silent["valid"] and run["test"] == silent["test"] for run in twins)
    for run in RUNS:  # so are all the runs that both chapters have
        for other in EARLIER:
            if (other.get("arm"), other.get("seed")) == (run["arm"], run["seed"]):
                assert other["valid"] == run["valid"]


def test_dropping_while_reading_costs_what_the_record_says_of_an_untrained_model():
    """With masks at p = 0 it is the evaluation itself; settings are put back."""
    corpus = load_corpus("toy")
    model = experiment.begin(corpus, "weights 0.5", overfitting.training_config(3, seed=1)).model
    plain, masked = (experiment.damaged(model, corpus, p) for p in (0.0, 0.7))
    assert plain == pytest.approx(experiment.damaged(model, corpus, 0.0)) and plain != masked
    assert [layer.weight_dropout for layer in model.layers] == [0.5, 0.5]


def test_what_the_chapter_says_of_the_curves_holds():
    for run in RUNS:
        ratio = run["valid"][-1] / min(run["valid"])
        assert ratio > 1.33 if run["arm"] == "none" else ratio < 1.03
    best = {arm: of(arm, lambda run: min(run["valid"])) for arm in RECORD["arms"]}
    h = [min(run["valid"]) for run in EARLIER if run.get("arm") == "h"]
    assert max(best["weights 0.5"]) < min(h + best["none"]), "alone it reaches less than masks on h did"
    late = sorted(best["up, weights 0.5"])
    assert late[0] < min(best["up"]) and late[1] > max(best["up"]) + 1, "three of four end far above"
    still = [run["valid"].index(min(run["valid"])) for run in RUNS if run["arm"] == "up, weights 0.5"]
    assert still == [len(RUNS[0]["valid"]) - 1] * len(still), "their curves are still falling"
    lowest = min(RUNS, key=lambda run: run["test"])
    assert lowest["arm"] == "up, weights 0.5" and min(lowest["valid"]) == late[0], "and the fourth has the lowest test"
    assert (experiment.ARMS["weights 0.5"][1] / (1 - 0.5)) == 4 * overfitting.P / (1 - overfitting.P), "four times"


def test_what_the_chapter_says_of_the_spread_of_the_large_dose_holds():
    tests = {}
    for run in RUNS + [run for run in EARLIER if run.get("arm") in ("h", "up and h")]:
        if run["arm"] != "silent":
            tests.setdefault(run["arm"], []).append(run["test"])
    spreads = {arm: statistics.stdev(values) for arm, values in tests.items()}
    wide = spreads.pop("up, weights 0.5")
    assert len(spreads) == 6 and wide > 3 * max(spreads.values()), "several times that of every other"
    worse = {(run["arm"], run["seed"]): math.log(run["test"] / min(run["valid"])) for run in RUNS}
    odd = worse.pop(max(worse, key=worse.get))
    late = [run for run in RUNS if run["arm"] == "up, weights 0.5" and min(run["valid"]) > 25]
    assert len(late) == 3 and odd > 5 * max(worse.values()) > 0, "by much more than any other run"
    assert odd in [math.log(run["test"] / min(run["valid"])) for run in late], "and it is one of the three"


def test_the_table_and_the_gains_are_those_of_the_record_computed_by_hand():
    arms = ["none", "up, weights 0.5"]
    lines = arms_table(RUNS, arms, RECORD["floor"]).splitlines()
    for arm, line in zip(arms, lines[1:], strict=False):
        columns = (
            of(arm, lambda run: min(run["valid"])), of(arm, lambda run: run["valid"][-1]),
            of(arm, lambda run: run["train_evaluated_at_end"]), of(arm, lambda run: run["test"]),
        )  # fmt: skip
        due = [round(value, 1) for of_arm in columns for value in (np.mean(of_arm), np.std(of_arm, ddof=1))]
        assert line.startswith(arm) and [float(v) for v in line[17:].replace("±", " ").split()] == due
    assert [float(v) for v in lines[3].split()[1:]] == [
        round(RECORD["floor"][text], 1) for text in ("valid", "valid", "train", "test")
    ]
    one, other = (np.log(of(arm, lambda run: run["test"])) for arm in ("weights 0.5", "none"))
    nats, error = gain(RUNS, "weights 0.5", "none")
    assert nats == pytest.approx(other.mean() - one.mean()) and nats > 0
    assert error**2 == pytest.approx(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))


def test_what_the_chapter_says_of_the_singular_values_holds():
    def mean(arm, at):
        return statistics.mean(of(arm, lambda run: run["singular_values"][0][at]))

    for arm in ("up, weights 0.3", "up, weights 0.5"):
        assert abs(math.log(mean(arm, 0) / mean("up", 0))) < 0.1, "the largest stay where they are"
        assert all(mean(arm, at) > 1.1 * mean("up", at) for at in range(40, 128)), "the small ones grow"
    assert all(mean("none", at) > mean("weights 0.5", at) for at in range(128))


def test_the_published_figures_are_those_of_the_ablation():
    prose = (BOOK / "weight-drop.ipynb").read_text(encoding="utf-8")
    for corpus in ("ptb", "wikitext-2"):
        before, after = (ROWS[name].published[corpus] for name in ("fine-tuned", "no-weight-drop"))
        assert f"from {before[0]} and {before[1]} to {after[0]} and {after[1]}" in prose
