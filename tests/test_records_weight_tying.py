"""The record behind the chapter on weight tying: whole, of today's settings, and what the chapter says of it holds."""

import json
import math

import numpy as np
import pytest
import torch
import weight_tying as experiment

from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures.weight_tying import ARMS, arm_values
from awdlib.model import ModelConfig
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig

RECORD = json.loads(bundled("runs/weight-tying.json").read_text(encoding="utf-8"))
MODELS = [run for run in RECORD["runs"] if run["part"] == "models"]
FITTED = {run["columns"]: run for run in RECORD["runs"] if run["part"] == "softmax"}
CORPUS = load_corpus("toy")


def test_it_is_whole_and_of_todays_settings():
    assert RECORD["floor"] == CORPUS.floor and RECORD["environment"]["commit"]
    assert not RECORD["environment"]["commit"].endswith("+")
    assert ModelConfig(**RECORD["model"]) == experiment.model_config(len(CORPUS.vocabulary), experiment.WATCHED, "tied")
    training = TrainConfig(**RECORD["training"])
    assert training == experiment.training_config(training.epochs, seed=0)
    assert RECORD["command"].endswith(f"--epochs {training.epochs}")
    assert RECORD["arms"] == experiment.ARMS and {*RECORD["arms"]} == {*ARMS} and len(RECORD["seeds"]) >= 3
    cells = [(run["seed"], run["size"]) for run in MODELS]
    assert cells == [(seed, size) for seed in RECORD["seeds"] for size in experiment.SIZES]
    assert [*FITTED] == [*experiment.COLUMNS]
    for run in MODELS:
        arms = [arm for arm in experiment.ARMS if run["size"] in experiment.TRAINED.get(arm, experiment.SIZES)]
        assert [*run["arms"]] == arms
        for kept in run["arms"].values():
            assert len(kept["valid"]) == len(kept["train"]) == training.epochs
            assert kept["valid"].index(min(kept["valid"])) + 1 == kept["best_epoch"]
            assert kept["test"] > RECORD["floor"]["test"]


@pytest.mark.parametrize("arm", ARMS)
def test_the_arms_have_the_sizes_and_the_ties_that_the_chapter_says(arm):
    words, hidden = len(CORPUS.vocabulary), experiment.HIDDEN
    for run in MODELS:
        if arm not in run["arms"]:
            continue
        size = run["size"]
        model = experiment.make(words, size, arm)
        last = size if arm in ("tied", "narrow") else hidden
        layers = 4 * hidden * (size + hidden + 2) + 4 * last * (hidden + last + 2)
        beside = {"tied": 0, "narrow": words * size, "projected": size * hidden, "wide": words * hidden}[arm]
        due = layers + words * size + words + beside
        assert due == run["arms"][arm]["parameters"] == sum(weight.numel() for weight in model.parameters())
        assert model.decoder()[0].shape == (words, last)
    tokens = torch.randint(words, (4, 2))
    model = experiment.make(words, 8, arm)
    with torch.no_grad():
        before, h = model(tokens).logits, model(tokens).raw_output
        model.embedding[~torch.isin(torch.arange(words), tokens)] += 1.0  # words that are not read
        felt = not torch.equal(model(tokens).logits, before)
    assert felt == (arm in ("tied", "projected")), "whether the reading matrix writes"
    if arm == "projected":
        by_hand = (h @ model.projection.t()) @ model.embedding.t() + model.softmax_bias
        assert torch.allclose(model(tokens).logits, by_hand, atol=1e-5)


def test_the_exact_distributions_are_those_of_the_language():
    p = experiment.exact_distributions(CORPUS, 40)
    language, words = toy_language(), CORPUS.vocabulary.decode(CORPUS.test)
    place = int(np.linspace(1, len(words) - 1, 40).astype(int)[3])
    due = language.next_word_probabilities(words[:place])  # of the whole text before it
    known = [language.index[word] for word in CORPUS.vocabulary.words]
    assert np.allclose(p[3].numpy(), due[known] / due[known].sum())
    entropy = -torch.special.xlogy(p, p).sum(1).mean().item()
    assert abs(FITTED[1]["entropy"] - entropy) < 0.5
    assert abs(FITTED[1]["entropy"] - math.log(RECORD["floor"]["test"])) < 0.1


def test_more_columns_come_nearer_and_eight_are_near_enough():
    found = [run["divergence"] for run in FITTED.values()]
    assert found == sorted(found, reverse=True) and min(found) > 0


def test_classes_and_frequencies_of_the_drawn_words():
    often = CORPUS.train.bincount(minlength=len(CORPUS.vocabulary))
    drawn = RECORD["drawn"]
    assert drawn["counts"] == [often[CORPUS.vocabulary.ids[word]].item() for word in drawn["words"]]
    assert drawn["counts"] == sorted(drawn["counts"], reverse=True) and drawn["counts"][-1] >= 1
    groups = dict(zip(drawn["words"], drawn["groups"], strict=True))
    names = {*toy_language().names.base}
    assert all((group == "names") == (word in names) for word, group in groups.items())
    assert {*groups.values()} == {*experiment.GROUPS.values()}


def test_neighbours_are_counted_right():
    """Of a matrix that holds nothing but the class every word finds its own; of noise, as often as by chance."""
    classes = experiment.word_classes()
    kinds = sorted({*classes})
    rows = torch.eye(len(kinds))[[kinds.index(name) for name in classes]]
    torch.manual_seed(0)
    told = experiment.describe(rows + 0.01 * torch.randn_like(rows))
    blind = experiment.describe(torch.randn(len(classes), 50))
    for band, chance in told["chance"].items():
        assert told["same_class"][band] == 1.0 and 0.05 < chance < 0.15
        assert abs(blind["same_class"][band] - chance) < 0.06


def test_initial_matrices_of_the_compared_models_are_not_the_same():
    tied, narrow = (experiment.make(50, 8, arm, 1 + 1000 * at) for at, arm in enumerate(("tied", "narrow")))
    assert not torch.equal(tied.embedding, narrow.embedding)


def excess(arm, size):
    return [math.log(test / RECORD["floor"]["test"]) for test in arm_values(RECORD["runs"], arm, size, "test")]


def test_what_the_chapter_says_of_the_arms_holds():
    for size in RECORD["sizes"]:
        assert all(one < two for one, two in zip(excess("tied", size), excess("narrow", size), strict=True))
    tied, projected, wide = (float(np.mean(excess(arm, 8))) for arm in ("tied", "projected", "wide"))
    assert 0.4 < (tied - projected) / (tied - wide) < 0.5, "nearly half of the distance"
    for arm in RECORD["arms"]:
        assert min(excess(arm, 8)) > 20 * FITTED[8]["divergence"], "twenty times as far away"
    assert 0.02 < FITTED[8]["divergence"] < 0.03 and FITTED[16]["divergence"] < 0.01 < FITTED[8]["divergence"]
    assert max(excess("tied", 96)) < min(excess("wide", 32))
    (tied,), (wide,) = ({*arm_values(RECORD["runs"], *arm, "parameters")} for arm in (("tied", 96), ("wide", 32)))
    assert 1 < wide / tied < 1.06, "slightly fewer parameters"
    assert np.mean(excess("wide", 8)) - np.mean(excess("wide", 32)) < 0.05, "hardly minds 8 features"
    assert {arm for run in MODELS if run["size"] == 8 for arm in run["arms"]} == {*ARMS}
    for size, arms in {32: {"tied", "narrow", "wide"}, 96: {"tied", "narrow"}}.items():
        assert {arm for run in MODELS if run["size"] == size for arm in run["arms"]} == arms


def test_at_high_temperature_the_best_output_is_the_mean_of_the_vectors_to_come():
    """Whatever words may come: beside their mean vector, every other output has a higher expected divergence."""
    torch.manual_seed(3)
    matrix = torch.randn(20, 4, dtype=torch.float64)
    p = torch.rand(20, dtype=torch.float64).softmax(0)

    def loss(h, tau=1e3):
        wanted, given = (matrix @ matrix.t() / tau).log_softmax(0), (matrix @ h / tau).log_softmax(0)
        return (p * (wanted.exp() * (wanted - given[:, None])).sum(0)).sum() * tau**2

    mean = p @ matrix
    assert all(loss(mean) < loss(mean + 0.1 * torch.randn_like(mean)) for _ in range(50))
    assert loss(mean) > 0.1, "it stays above zero"


def test_who_leaves_the_plateau_before_the_rate_falls_ends_lower():
    full = RECORD["training"]["decay_after"]
    curves = arm_values(RECORD["runs"], "tied", 32, "valid")
    before = [curve[full - 1] for curve in curves]
    ends = [min(curve) for curve in curves]
    assert np.argsort(before).tolist() == np.argsort(ends).tolist() and min(ends) < 0.85 * max(ends)
    for curve in curves:
        assert min(abs(curve[at] - curve[at - 1]) for at in range(3, full)) < 0.05 * curve[3], "they pause"


def test_what_the_chapter_says_of_neighbours_and_lengths_holds():
    for run in (run for run in MODELS if run["size"] == 96):
        tied, narrow = run["arms"]["tied"]["words"]["both"], run["arms"]["narrow"]["words"]
        assert tied["same_class"]["1 to 9"] > 0.9
        assert 1.5 < narrow["input"]["same_class"]["1 to 9"] / tied["chance"]["1 to 9"] < 2.6, "about twice"
        for band in RECORD["bands"]:
            reading, writing = narrow["input"]["norm"][band], narrow["output"]["norm"][band]
            assert 1.8 * reading < writing < 3.1 * reading
            assert abs(tied["norm"][band] - writing) < abs(tied["norm"][band] - reading)
        assert run["alike"]["tied both / narrow output"] > 0.8 > 0.3 > run["alike"]["tied both / narrow input"]
