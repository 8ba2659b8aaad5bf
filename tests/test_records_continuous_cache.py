"""The record behind the chapter on the continuous cache: whole, of today's settings, and consistent with itself."""

import json
import math

import continuous_cache as experiment
import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.cache import CacheConfig, target_probabilities
from awdlib.corpora import EOS, load_corpus
from awdlib.figures.cache_gain import KINDS, kinds
from awdlib.figures.cache_records import excesses, models, saved
from awdlib.figures.trained import toy_run
from awdlib.toy_language import toy_language

RECORD = json.loads(bundled("runs/continuous-cache.json").read_text(encoding="utf-8"))
TOY, FULL = models(RECORD), models(RECORD, "full")
CORPUS = load_corpus("toy")


def chosen(run):
    tuned = run["tuned"]
    return tuned if isinstance(tuned, dict) else next(one for one in tuned if one["window"] == experiment.TOY["window"])


def test_it_is_whole_and_of_todays_settings():
    assert RECORD["floor"] == CORPUS.floor and RECORD["environment"]["commit"]
    assert not RECORD["environment"]["commit"].endswith("+")
    assert (RECORD["seeds"], RECORD["toy"], RECORD["ptb"]) == (experiment.SEEDS, experiment.TOY, experiment.PTB)
    due = [("toy", seed) for seed in RECORD["seeds"]]
    due += [(arm, seed) for arm in experiment.PTB["arms"] for seed in RECORD["seeds"]]
    assert [(run["arm"], run["seed"]) for run in RECORD["runs"]] == due and len(RECORD["seeds"]) >= 3
    for run in TOY:
        assert [one["window"] for one in run["tuned"]] == RECORD["toy"]["windows"]
        for cells in (*run["grid"]["valid"].values(), *run["grid"]["test"].values()):
            assert [cell["theta"] for cell in cells] == RECORD["toy"]["thetas"]
            assert all(len(cell["at"]) == len(RECORD["toy"]["lambdas"]) for cell in cells)
    for run in FULL:
        assert [one["window"] for one in run["windows"]] == RECORD["ptb"]["windows"]


def test_of_penn_treebank_it_holds_no_words():
    for run in RECORD["runs"]:
        if run["corpus"] == "ptb-100k":
            assert {*run} <= {"corpus", "arm", "seed", "tried", "tuned", "square", "on_test", "windows", "words"}
            for age in run.get("words", []):
                assert all({*group} == {"words", "model", "mixed"} for group in age)


@pytest.mark.parametrize("run", TOY, ids=lambda run: f"seed-{run['seed']}")
def test_the_parts_of_the_toy_gain_add_up_to_the_perplexities(run):
    tuned, words = chosen(run), run["words"]
    total = sum(group["words"] for group in words["kinds"].values())
    assert total == len(CORPUS.test) - 1
    for key, due in (("model", tuned["test"]["without"]), ("mixed", tuned["test"]["with"])):
        parts = sum(group[key] for group in words["kinds"].values())
        assert math.exp(-parts / total) == pytest.approx(due, rel=1e-4)
        for number, kind in enumerate(KINDS):
            by_age = [group[key] for group in words["ages"][kind]]
            assert sum(by_age) == pytest.approx(words["kinds"][kind][key], abs=0.1), number
    floor = sum(group["floor"] for group in words["kinds"].values())
    assert math.exp(-floor / total) == pytest.approx(CORPUS.floor["test"], rel=1e-4)
    names = words["kinds"]["names"]
    assert sum(group["words"] for group in words["mentions"]) == names["words"]
    assert sum(group["mixed"] for group in words["mentions"]) == pytest.approx(names["mixed"], abs=0.1)
    urn = sum(group["urn"] for group in words["mentions"])
    with_urn = sum(group["model"] for group in words["kinds"].values()) - names["model"] + names["model_kind"] + urn
    assert words["urn"] == pytest.approx(math.exp(-with_urn / total), rel=1e-4)
    excess = sum(part[0, run["seed"] - 1] for part in excesses(RECORD).values())
    assert excess == pytest.approx(100 * math.log(tuned["test"]["without"] / CORPUS.floor["test"]), abs=0.05)


def test_what_is_chosen_is_the_best_on_validation():
    for run in TOY:
        for tuned in run["tuned"]:
            cells = run["grid"]["valid"][str(tuned["window"])]
            best = min(cells, key=lambda cell: cell["reached"])
            assert (tuned["theta"], tuned["valid"]["with"]) == (best["theta"], best["reached"])
    for run in models(RECORD, "gru") + FULL:
        best = min(run["tried"], key=lambda cell: cell["reached"])
        assert (run["tuned"]["theta"], run["tuned"]["lambda"]) == (best["theta"], best["lambda"])


def test_the_full_models_agree_with_what_the_command_line_tuned_on_them():
    """``tune-cache`` reads validation in ten streams, and so may choose a slightly other lambda."""
    for run in FULL:
        theirs = json.loads(bundled(f"runs/ptb-100k/full-{run['seed']}/cache.json").read_text(encoding="utf-8"))
        assert run["tuned"]["test"]["without"] == pytest.approx(theirs["test"]["without"], rel=1e-4)
        assert run["tuned"]["test"]["with"] == pytest.approx(theirs["test"]["with"], rel=2e-3)
        total = sum(group["words"] for age in run["words"] for group in age)
        mixed = sum(group["mixed"] for age in run["words"] for group in age)
        assert math.exp(-mixed / total) == pytest.approx(run["tuned"]["test"]["with"], rel=1e-4)


def test_words_outside_the_window_lose_exactly_the_premium():
    for run in FULL:
        for group in run["words"][-1]:
            gain = (group["mixed"] - group["model"]) / group["words"]
            assert gain == pytest.approx(math.log(1 - run["tuned"]["lambda"]), abs=2e-3)


def test_the_experiments_pieces_on_the_model_that_ships_with_the_book():
    model, corpus, _ = toy_run()
    text = experiment.read(model, corpus.test[:2001], whole=True)
    theirs = target_probabilities(model, corpus.test[:2001], CacheConfig(window=100, flatness=3.0))
    ours = experiment.look_up(text, 100, 3.0)
    torch.testing.assert_close(ours.model, theirs.model, rtol=1e-4, atol=1e-9)
    torch.testing.assert_close(ours.cache, theirs.cache, rtol=1e-4, atol=1e-7)
    kind_of = torch.tensor(kinds(corpus.vocabulary.words))
    of_kind = experiment.kind_probabilities(text, kind_of, 100, 3.0)
    words = corpus.vocabulary.words
    for at in (7, 500, 1999):  # by a plain sum over the vocabulary
        same = [w for w in range(len(words)) if kind_of[w] == kind_of[text.targets[at]]]
        assert of_kind.model[at].item() == pytest.approx(text.log_p[at, same].exp().sum().item(), rel=1e-5)
        assert ours.cache[at] <= of_kind.cache[at] + 1e-6
    between = experiment.names_given_a_name(text, kind_of, 100, 3.0)
    assert len(between.model) == sum(words[w] in toy_language().names.base for w in text.targets.tolist())
    assert between.model.max() <= 1 and between.cache.max() <= 1 + 1e-6


def test_ages_mentions_and_the_urn_by_hand():
    words = ["ida", "sees", "ida", EOS, EOS, "ida", "sees", "anna"]
    numbers = [sorted({*words}).index(word) for word in words]
    never = experiment.NEVER
    assert experiment.ages(numbers) == [never, 2, never, 1, 3, 5, never]
    assert experiment.mentions(words) == [0, 1, 0, 1, 0, 0, 0]
    base = toy_language().names.base
    urn = experiment.urn_log_probabilities(words).exp().tolist()
    due = [1, (1.5 * base["ida"] + 1) / 2.5, 1, 1, base["ida"], 1, 1.5 * base["anna"] / 2.5]
    assert urn == pytest.approx(due)
    assert experiment.groups_of([1, 10, 11, 10**9], [1, 11, 101]).tolist() == [0, 0, 1, 2]


def test_what_the_chapter_says_of_windows():
    for run in FULL:
        by_window = {one["window"]: saved(one) for one in run["windows"]}
        assert max(by_window, key=by_window.get) == 500 and by_window[2000] < by_window[500] - 2
        late = [one["test"]["only_when_full"] / one["test"]["with"] for one in run["windows"]]
        assert max(late) < 1.01
    for run in TOY:
        long = run["tuned"][-1]
        assert long["window"] == 1000 and long["test"]["only_when_full"] > 1.015 * long["test"]["with"]
        by_window = [saved(one) for one in run["tuned"]]
        assert by_window[:4] == sorted(by_window[:4]) and abs(by_window[4] - by_window[3]) < 0.5


def test_what_the_chapter_says_of_the_map():
    """The valley moves to the right with the window, and from validation to test the ring by a step at most."""
    (run,) = (run for run in TOY if run["seed"] == 2)
    lambdas, thetas = RECORD["toy"]["lambdas"], RECORD["toy"]["thetas"]
    rings = {
        split: [min(cells, key=lambda cell: cell["reached"]) for cells in run["grid"][split].values()]
        for split in ("valid", "test")
    }
    for split in rings.values():
        found = [ring["lambda"] for ring in split]
        assert found == sorted(found) and found[-1] > 4 * found[0]
    for ours, theirs in zip(*rings.values(), strict=True):
        assert abs(thetas.index(ours["theta"]) - thetas.index(theirs["theta"])) <= 1
        places = np.interp([ours["lambda"], theirs["lambda"]], lambdas, range(len(lambdas)))
        assert abs(places[0] - places[1]) < 1


def test_what_the_chapter_says_of_seeds_and_of_rare_words():
    parts = excesses(RECORD)
    topic = parts["topic words"]
    worst = max(range(len(TOY)), key=lambda at: chosen(TOY[at])["test"]["without"])
    for at in range(len(TOY)):
        assert (topic[1, at] < topic[0, at]) == (at == worst)
    assert topic[0, worst] > 2 * max(np.delete(topic[0], worst))
    for run in FULL:
        for age in run["words"][:2]:
            rare = age[2]
            assert math.exp((rare["mixed"] - rare["model"]) / rare["words"]) > 7
        frequent = [age[0] for age in run["words"]]
        share = sum(one["words"] for one in frequent) / sum(one["words"] for age in run["words"] for one in age)
        gain = sum(one["mixed"] - one["model"] for one in frequent) / sum(one["words"] for one in frequent)
        assert share > 0.5 and 0 < gain < 0.1
