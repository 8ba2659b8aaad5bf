"""The record behind the chapter on overfitting: whole, of today's settings, and what the chapter says of it holds."""

import json
import math
import statistics

import overfitting as experiment
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS
from awdlib.recurrent import LSTMLayer
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig

RECORD = json.loads(bundled("runs/overfitting.json").read_text(encoding="utf-8"))
ARMS = [run for run in RECORD["runs"] if run["part"] == "placement"]
SIZES = {(run["hidden"], run["share"]): run for run in RECORD["runs"] if run["part"] == "size"}
NONE = [run for run in ARMS if run["arm"] == "none"]


def test_it_is_whole_and_of_todays_settings():
    corpus = load_corpus("toy")
    assert RECORD["floor"] == corpus.floor and RECORD["environment"]["commit"]
    assert not RECORD["environment"]["commit"].endswith("+")
    assert ModelConfig(**RECORD["model"]) == experiment.model_config(len(corpus.vocabulary))
    training = TrainConfig(**RECORD["training"])
    assert training == experiment.training_config(training.epochs, seed=0)
    assert RECORD["command"].endswith(f"--epochs {training.epochs}")
    assert RECORD["arms"] == {arm: [*p] for arm, p in experiment.ARMS.items()} and len(RECORD["seeds"]) >= 3
    cells = [(run["arm"], run["seed"]) for run in ARMS]
    assert cells == [(arm, seed) for seed in RECORD["seeds"] for arm in RECORD["arms"]]
    assert [*SIZES] == [(hidden, share) for share in experiment.SHARES for hidden in experiment.SIZES]
    assert all(len(run["valid"]) == len(run["train"]) == training.epochs for run in ARMS)
    assert all(len(run["valid"]) == len(run["train"]) == experiment.READINGS for run in SIZES.values())
    assert all(("looks" in run) == (run["arm"] == "none") for run in ARMS)


def test_floors_parameters_and_updates_can_be_computed_again():
    corpus, language = load_corpus("toy"), toy_language()
    words = corpus.vocabulary.decode(corpus.train)
    for share, floor in zip(RECORD["shares"], RECORD["train_floors"], strict=True):
        assert language.floor(words[: int(share * len(words))]) == pytest.approx(floor, rel=1e-5)
    assert all(15.4 < floor < 16.3 for floor in (language.floor(words[:10_000]), RECORD["floor"]["valid"])), "about 16"
    for (hidden, share), run in SIZES.items():
        model = LanguageModel(experiment.model_config(len(corpus.vocabulary), hidden=hidden))
        assert run["parameters"] == sum(weight.numel() for weight in model.parameters())
        rows = int(share * len(words)) // 20
        assert run["updates"] == experiment.READINGS / share * math.ceil((rows - 2) / 35)


def test_the_groups_of_words_are_what_they_are_called():
    corpus = load_corpus("toy")
    words, train = (corpus.vocabulary.decode(tokens) for tokens in (corpus.valid, corpus.train))
    groups = {"classes": experiment.classes(words), "novelty": experiment.novelty(train, words)}
    names = {*toy_language().names.base}
    for at, word in enumerate(words[1:]):
        assert groups["classes"]["names"][at] == (word in names)
        assert groups["classes"]["sentence ends"][at] == (word == "<eos>")
    text = " ".join(["", "<eos>", *train, ""])
    for at in range(1, 400):
        two = f" {words[at - 1]} {words[at]} "
        known, word = two in text, two + words[at + 1] + " " in text
        kind = "known" if word else "known context, new word" if known else "new context"
        assert groups["novelty"][kind][at]
    for split, found in groups.items():
        assert sum(members.mean() for members in found.values()) == pytest.approx(1)
        for name, members in found.items():
            assert RECORD["share_of_words"][split][name] == pytest.approx(members.mean(), rel=1e-5)


def test_the_parts_add_up_to_the_excess_which_is_the_divergence():
    for run in NONE:
        for look, valid in zip(run["looks"], run["valid"], strict=True):
            for split in ("classes", "novelty"):
                assert sum(look[split].values()) == pytest.approx(look["excess"], abs=1e-4)
            assert look["excess"] == pytest.approx(math.log(valid / RECORD["floor"]["valid"]), abs=0.02)
            assert abs(look["excess"] - look["kl"]) < 0.05 and look["kl"] > 0


def test_masks_of_the_experiment_lie_where_its_arms_say():
    """From a zero input only the recurrence varies: masks on h and c change it, and not the first step."""
    plain = LSTMLayer(4, 30)
    x, zero = torch.zeros(6, 5, 4), plain.initial_state(5)
    due, _ = plain(x, zero)
    for p_h, p_c in ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5)):
        layer = experiment.StateDropLSTM(plain, p_h, p_c)
        out, _ = layer(x, zero)
        assert torch.allclose(out[0], due[0], atol=1e-6) and not torch.allclose(out[1], due[1], atol=1e-4)
        assert not (out == 0).any(), "what goes up is never dropped"
        assert torch.allclose(layer.eval()(x, zero)[0], due, atol=1e-6)
    nothing = experiment.StateDropLSTM(plain, 1e-9, 1e-9)  # the loop itself, with masks that drop nothing
    assert torch.allclose(nothing(x, zero)[0], due, atol=1e-6)


@pytest.mark.parametrize("arm", RECORD["arms"])
def test_each_arm_trains_a_model_with_its_own_masks_and_no_others(arm):
    model = experiment.begin(load_corpus("toy"), arm, experiment.training_config(3, seed=1)).model
    up, p_h, p_c = RECORD["arms"][arm]
    config = model.config
    assert (config.dropout_input, config.dropout_hidden, config.dropout_output) == (up, up, up)
    assert (config.dropout_embedding, config.dropout_weight, config.locked) == (0, 0, False)
    assert [(getattr(layer, "p_h", 0), getattr(layer, "p_c", 0)) for layer in model.layers] == [(p_h, p_c)] * 2


def of(arm, value):
    return [value(run) for run in ARMS if run["arm"] == arm]


def test_what_the_chapter_says_of_the_run_without_dropout_holds():
    for run in NONE:
        assert run["valid"][-1] > 1.3 * min(run["valid"]) and run["train_evaluated_at_end"] < RECORD["floor"]["train"]
        assert min(look["excess"] for look in run["looks"]) > 0.5, "more than half a nat at the best epoch"
    assert round(statistics.stdev(min(run["valid"]) for run in NONE), 1) == 0.6
    calm = RECORD["training"]["decay_after"]
    looks = [(run["looks"][calm], run["looks"][-1]) for run in NONE]
    whole = statistics.mean(last["excess"] - first["excess"] for first, last in looks)

    def part(split, group):
        return statistics.mean(last[split][group] - first[split][group] for first, last in looks) / whole

    assert all(part("classes", group) > 0.2 for group in ("names", "open", "closed"))
    assert part("novelty", "known context, new word") > 0.5 and part("novelty", "known") < 0.15
    best = [run["looks"][run["valid"].index(min(run["valid"]))]["classes"] for run in NONE]
    gains = {
        group: statistics.mean(last["classes"][group] - low[group] for low, (_, last) in zip(best, looks, strict=True))
        for group in best[0]
    }
    assert max(gains, key=gains.get) == "closed", "would seem to climb most, counted from the best epoch"


def test_what_the_chapter_says_of_the_placements_holds():
    test = {arm: of(arm, lambda run: run["test"]) for arm in RECORD["arms"]}
    assert max(test["up"] + test["up and h"]) < min(test["none"] + test["h"] + test["h and c"])
    assert all(both < up for both, up in zip(test["up and h"], test["up"], strict=True)), "in every seed"
    assert max(test["h"] + test["h and c"]) < min(test["none"]), "each is better than no dropout"
    logs = {arm: [math.log(value) for value in test[arm]] for arm in ("none", "h")}
    error = math.hypot(*map(statistics.stdev, logs.values())) / math.sqrt(3)
    assert 2 < (statistics.mean(logs["none"]) - statistics.mean(logs["h"])) / error < 3, "by less than three errors"
    assert max(test["h and c"]) < min(test["h"]), "alone, masks on h are the weakest regularizer"
    for arm in ("none", "h"):
        assert all(run["valid"][-1] > 1.09 * min(run["valid"]) for run in ARMS if run["arm"] == arm), "they turn"
    for arm in ("up", "up and h", "h and c"):
        assert all(run["valid"][-1] < 1.01 * min(run["valid"]) for run in ARMS if run["arm"] == arm), "they do not"
    twelfth = {arm: statistics.mean(of(arm, lambda run: run["valid"][11])) for arm in test}
    assert twelfth["none"] < twelfth["up"]


def test_what_the_chapter_says_of_the_sizes_holds():
    words = len(load_corpus("toy").vocabulary)
    low = {key: min(run["valid"]) for key, run in SIZES.items()}
    turn = {key: run["valid"].index(low[key]) for key, run in SIZES.items()}
    assert all(turn[hidden, 0.25] < turn[hidden, 1.0] for hidden in RECORD["sizes"])
    assert round(SIZES[256, 0.25]["train"][-1], 2) == 1.01 and SIZES[256, 0.25]["valid"][-1] > words == 1105
    updates = [run["updates"] for run in SIZES.values()]
    assert max(updates) < 1.03 * min(updates), "almost the same number"
    assert turn[32, 1.0] == experiment.READINGS - 1 and low[32, 1.0] > 1.5 * low[64, 1.0], (
        "worst by far, and still falls"
    )
    smallest = [run["valid"][-1] / run["train"][-1] for (hidden, share), run in SIZES.items() if hidden == 32]
    assert low[32, 1.0] > low[64, 1.0] > 1.1 * max(low[128, 1.0], low[256, 1.0]) and smallest[-1] < 1.25
    quarter = [low[hidden, 0.25] for hidden in RECORD["sizes"]]
    assert max(quarter) < 1.15 * min(quarter), "much alike at their best"
    assert low[256, 1.0] > low[128, 1.0] - 0.6, "the largest is no better than one of half its units"


def test_what_the_chapter_says_of_zarembas_models_holds():
    def count(config):
        with torch.device("meta"):
            return sum(weight.numel() for weight in LanguageModel(config).parameters())

    small, medium, large = (count(PRESETS[f"zaremba-{size}"].model) for size in ("small", "medium", "large"))
    assert (round(medium / small), round(large / small)) == (4, 14)
    assert round(large / SIZES[128, 1.0]["parameters"], -2) == 300
