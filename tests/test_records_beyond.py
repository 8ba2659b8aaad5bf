"""The record behind the chapter beyond AWD-LSTM: whole, of today's settings, and as the chapter tells it."""

import json
import math
from dataclasses import asdict

import beyond as experiment
import numpy as np
import pytest
import torch

from awdlib.beyond import MixtureOfSoftmaxes
from awdlib.bundled import bundled
from awdlib.cache import CacheConfig, target_probabilities
from awdlib.corpora import EOS, load_corpus
from awdlib.figures.beyond_records import beside, kind_gains, runs_of
from awdlib.figures.cache_gain import KINDS
from awdlib.figures.trained import toy_run

RECORD = json.loads(bundled("runs/beyond.json").read_text(encoding="utf-8"))
CORPUS = load_corpus("toy")
FULL = runs_of(RECORD, "full")
(TUNED,) = [run["tuned"] for run in RECORD["runs"] if "tuned" in run]


def test_it_is_whole_and_of_todays_settings():
    assert RECORD["floor"] == CORPUS.floor and RECORD["environment"]["commit"]
    assert not RECORD["environment"]["commit"].endswith("+")
    vocab_size, epochs = len(CORPUS.vocabulary), RECORD["training"]["epochs"]
    assert RECORD["model"] == asdict(experiment.sizes(vocab_size)) and epochs == 40
    assert RECORD["mixture"] == asdict(experiment.mixture_sizes(vocab_size, experiment.COMPONENTS))
    assert RECORD["training"] == asdict(experiment.training_config(epochs, seed=experiment.TUNED_AT))
    assert RECORD["tried"] == experiment.ARMS and RECORD["transformer"] == experiment.TRANSFORMER
    assert RECORD["dynamic"]["rms"] == experiment.RMS and RECORD["dynamic"]["sgd"] == experiment.SGD
    assert RECORD["seeds"] == experiment.SEEDS and len(RECORD["seeds"]) >= 3
    assert RECORD["updates_of_an_epoch"] == experiment.updates_of_an_epoch(CORPUS)
    for arm in RECORD["tried"]:
        runs = runs_of(RECORD, arm)
        assert [run["seed"] for run in runs] == RECORD["seeds"] and all(run["epochs"] == epochs for run in runs)
        for run in runs:
            every = RECORD["transformer"]["validate_every"] if arm == "transformer" else 1
            assert len(run["curve"]) == epochs // every and run["valid"] == min(run["curve"])


def test_the_values_are_those_chosen_at_the_seed_of_tuning():
    tried = [run for run in RECORD["runs"] if run["seed"] == RECORD["tuned_at"]]
    for arm, values in RECORD["tried"].items():
        used = [run["values"] for run in runs_of(RECORD, arm)]
        of_arm = [run for run in tried if run["arm"] == arm]
        if len(values) > 1:
            assert [run["values"] for run in of_arm] == values
            best = min(of_arm, key=lambda run: run["valid"])["values"]
        else:
            (best,) = values
        assert all(one == best for one in used), arm
    cells = {(cell["lr"], cell["decay"]): cell["loss"] for cell in TUNED["rms"]}
    assert {*cells} == {(lr, decay) for lr in experiment.RMS["lr"] for decay in experiment.RMS["decay"]}
    best = experiment.best_dynamic(TUNED, "rms")
    assert cells[best["lr"], best["decay"]] == min(cells.values())


def test_parameters_are_equal_but_for_four_in_a_hundred():
    due = FULL[0]["parameters"]
    for arm in RECORD["tried"]:
        assert all(abs(run["parameters"] / due - 1) < 0.04 for run in runs_of(RECORD, arm)), arm
    narrow = experiment.mixture_sizes(len(CORPUS.vocabulary), experiment.COMPONENTS)
    model = MixtureOfSoftmaxes(narrow, experiment.COMPONENTS)
    assert experiment.parameters(model) == runs_of(RECORD, "mixture")[0]["parameters"]
    assert experiment.parameters(experiment.Transformer(1105, 0.1)) == runs_of(RECORD, "transformer")[0]["parameters"]


@pytest.mark.parametrize("run", FULL, ids=lambda run: f"seed-{run['seed']}")
def test_the_groups_add_up_to_the_perplexities(run):
    total = len(CORPUS.test) - 1
    for groups in (run["kinds"], run["places"]):
        assert sum(group["words"] for group in groups) == total
        for way, found in run["ways"].items():
            due = math.exp(-sum(group[way] for group in groups) / total)
            assert found["test"] == pytest.approx(due, rel=1e-4)
        floor = math.exp(-sum(group["floor"] for group in groups) / total)
        assert floor == pytest.approx(CORPUS.floor["test"], rel=1e-4)
    assert run["ways"]["static"]["test"] == pytest.approx(run["test"], rel=1e-4)
    assert [group["kind"] for group in run["kinds"]] == [*KINDS]


def test_the_gains_of_hundreds_add_up_to_the_losses():
    for rule in ("sgd", "rms"):
        for cell in TUNED[rule]:
            gained = sum(cell["gains"]) / (len(CORPUS.valid) - 1)
            assert TUNED["still"] - cell["loss"] == pytest.approx(gained, abs=1e-4)


# what the chapter says of it


def test_averaging_begins_with_one_epoch_in_every_run():
    lstms = [run for run in RECORD["runs"] if run["arm"] != "transformer"]
    for run in lstms:
        due = experiment.AVERAGE_FROM - 1 if run["epochs"] == RECORD["training"]["epochs"] else None
        assert run["averaging_after"] == due
    assert experiment.AVERAGE_FROM == 30 and experiment.TUNING_EPOCHS == 12 and len(lstms) == 15


def test_what_the_chapter_says_of_training():
    """No arm is told from AWD-LSTM by three seeds; two runs of past decode are behind, and still falling."""
    full = [run["test"] for run in FULL]
    assert max(full) - min(full) < 0.15
    for arm in ("shuffle", "past", "mixture"):
        apart, error = beside(RECORD, arm)
        assert abs(apart) < 4.3 * error, arm
        assert apart - 4.3 * error > -0.5 or arm == "past", "half a point of gain would have been seen"
    curves = {arm: np.array([run["curve"] for run in runs_of(RECORD, arm)]) for arm in ("full", "shuffle", "past")}
    mixtures = np.array([run["curve"] for run in runs_of(RECORD, "mixture")])
    assert (mixtures[:, :10].min(0) > np.concatenate([*curves.values()])[:, :10].max(0)).all()
    assert all(22 < run["curve"][-1] < 24 for arm in (*curves, "mixture") for run in runs_of(RECORD, arm))
    past = runs_of(RECORD, "past")
    behind = [one["test"] - other for one, other in zip(past, full, strict=True)]
    slow = [run for run, apart in zip(past, behind, strict=True) if apart > 0.7]
    assert len(slow) == 2 and abs(min(behind)) < 0.1
    assert all(run["curve"][-1] < run["curve"][-6] - 0.5 for run in slow)


def test_what_the_chapter_says_of_steps():
    won = {(cell["lr"], cell["decay"]): TUNED["still"] - cell["loss"] for cell in TUNED["rms"]}
    best = max(won, key=won.get)
    assert best == (0.0002, 0.001) and won[0.0004, 0.0] < 0.4 * won[best] < 0.8 * won[best] < won[0.0004, 0.01]
    assert 1.9 < math.exp(TUNED["still"]) - math.exp(TUNED["still"] - won[best]) < 2.2
    thousands = {(cell["lr"], cell["decay"]): np.reshape(cell["gains"][:100], (10, 10)).sum(1) for cell in TUNED["rms"]}
    assert thousands[best].min() > 0 and thousands[best].max() > 10 * thousands[best].min()
    assert (thousands[0.0004, 0.0] < 0).sum() >= 3


def test_what_the_chapter_says_of_reading():
    """The plain rule helps, the cache more, the RMS rule still more, and with a cache over it a little more."""
    for run in FULL:
        reached = {way: found["test"] for way, found in run["ways"].items()}
        assert reached["rms+cache"] < reached["rms"] < reached["static+cache"] < reached["sgd"] < reached["static"]
        assert reached["rms"] - reached["rms+cache"] < 0.25 * (reached["static"] - reached["static+cache"])


def test_what_the_chapter_says_of_kinds_of_words():
    """Names gain eight to twelve nats, all else loses a little; topic words lack much, and nothing finds it."""
    names, topics, *_ = range(4)
    ways = cache, dynamic, both = [kind_gains(RECORD, way) for way in ("static+cache", "rms", "rms+cache")]
    for found in ways:
        assert (found[:, names] > 7.95).all() and (found[:, names] < 12.05).all()
        assert (np.delete(found, names, 1) < 0).all() and (np.delete(found, names, 1) > -2).all()
    assert (dynamic[:, names] > cache[:, names]).all() and (both[:, names] > dynamic[:, names]).all()
    assert (both[:, names] < 0.7 * (cache + dynamic)[:, names]).all()
    assert (kind_gains(RECORD, "floor")[:, topics] > 7).all()


def test_what_the_chapter_says_of_places_in_a_document():
    """Nothing is gained in the first thirty words, most where a document is long."""
    for run in FULL:
        gains = [(group["rms"] - group["static"]) / group["words"] for group in run["places"]]
        assert RECORD["places"][2] == 31 and max(gains[:2]) < 0 < 0.1 < gains[-1] == max(gains)


# the experiment's own pieces


def test_a_transformer_looks_back_only():
    model = experiment.Transformer(50, 0.0).eval()
    tokens = torch.randint(50, (2, 20))
    other = tokens.clone()
    other[:, 12:] = (other[:, 12:] + 1) % 50
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[:, :12], model(other)[:, :12])
        assert not model(tokens)[:, 12:].allclose(model(other)[:, 12:])


def test_a_transformer_is_scored_on_every_word_once_after_half_a_context():
    model = experiment.Transformer(50, 0.0).eval()
    tokens = torch.randint(50, (181,))
    due, half = 0.0, experiment.TRANSFORMER["context"] // 2
    with torch.no_grad():
        for at in range(1, 181):
            block = max(0, (at - 1) // half - 1)  # of half contexts: the window in which this word is new
            begins = block * half
            due -= model(tokens[None, begins:at])[0, -1].log_softmax(-1)[tokens[at]].item()
    assert experiment.score(model, tokens) == pytest.approx(due / 180, rel=1e-5)


def test_places_in_documents_by_hand():
    words = ["a"] * 10 + ["b", EOS, EOS, "a", "b"]
    assert experiment.places(words).tolist() == [0] * 9 + [1, 1, 1, 0, 0]


def test_the_cache_over_a_still_reading_is_the_librarys():
    model, corpus, _ = toy_run()
    reading = experiment.read(model, corpus.test[:801], {"lr": 0.0}, None)
    ours = experiment.with_cache(reading, 5.0)
    theirs = target_probabilities(model, corpus.test[:801], CacheConfig(window=300, flatness=5.0))
    torch.testing.assert_close(ours.mixed(0.1), theirs.mixed(0.1), rtol=1e-4, atol=1e-7)


def test_what_the_chapter_says_of_transformers():
    apart, error = beside(RECORD, "transformer")
    assert 4.3 * error < apart and 2 < apart < 3
    pairs = zip(runs_of(RECORD, "transformer"), FULL, strict=True)
    assert all(one["test"] > other["test"] + 1 for one, other in pairs)
    steps = {values["lr"] for values in RECORD["tried"]["transformer"]}
    assert runs_of(RECORD, "transformer")[0]["values"]["lr"] == max(steps) and len(steps) == 2
