"""The record behind the chapter on embedding dropout: whole, of today's settings, and what the chapter says holds."""

import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_records import RUNS

from awdlib.corpora import load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS
from awdlib.recurrent import LSTMLayer
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig

sys.path.insert(0, str(RUNS.parents[1] / "book" / "experiments"))
import embedding_dropout as experiment  # noqa: E402

sys.path.remove(str(RUNS.parents[1] / "book" / "experiments"))
RECORD = json.loads((RUNS / "embedding-dropout.json").read_text(encoding="utf-8"))
WORDS = ("tokens 0.1", "types 0.1")
CONTROL = "nothing, half as long"


def of(arm, value):
    return [value(run) for run in RECORD["runs"] if run["arm"] == arm]


def test_it_is_whole_and_of_todays_settings():
    corpus = load_corpus("toy")
    assert RECORD["floor"] == corpus.floor and not RECORD["environment"]["commit"].endswith("+")
    assert ModelConfig(**RECORD["model"]) == experiment.model_config(len(corpus.vocabulary))
    training = TrainConfig(**RECORD["training"])
    assert training == experiment.training_config(training.epochs, seed=0)
    assert RECORD["command"].endswith(f"--epochs {training.epochs}")
    assert RECORD["arms"] == {arm: [*p] for arm, p in experiment.ARMS.items()}
    assert RECORD["seeds"] == [*experiment.SEEDS] and len(RECORD["seeds"]) >= 3
    cells = [(run["arm"], run["seed"]) for run in RECORD["runs"]]
    assert cells == [(arm, seed) for seed in RECORD["seeds"] for arm in RECORD["arms"]]
    for run in RECORD["runs"]:
        assert len(run["valid"]) == training.epochs // (2 if run["arm"] == CONTROL else 1)
        assert run["test"] == pytest.approx(math.exp(run["nats_without"][0]), rel=1e-5)
    assert {*RECORD["windows"]} == {"toy", "ptb", "wikitext-2"} and RECORD["distances"] == [*experiment.DISTANCES]


def test_the_expected_concentration_of_independent_words_is_that_of_the_equation():
    frequencies, tokens = np.array([0.5, 0.3, 0.15, 0.05]), 12
    drawn = np.random.default_rng(1).multinomial(tokens, frequencies, size=40_000)
    squares = (frequencies**2).sum()
    assert ((drawn / tokens) ** 2).sum(1).mean() == pytest.approx(
        1 / tokens + (tokens - 1) / tokens * squares, rel=5e-3
    )


def test_no_word_of_a_corpus_is_stored_but_numbers_only():
    def leaves(value):
        if isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                yield from leaves(part)
        else:
            yield value

    assert all(isinstance(leaf, int | float) for leaf in leaves(RECORD["windows"]))


def test_toy_windows_are_counted_right():
    corpus = load_corpus("toy")
    tokens = corpus.train
    frequencies = tokens.bincount().double() / len(tokens)
    toy = RECORD["windows"]["toy"]
    assert toy["concentration"] == pytest.approx(frequencies.square().sum().item(), rel=1e-5)
    size, types, decisions = toy["growth"][4]
    starts = sorted({*np.linspace(0, len(tokens) - size, experiment.SAMPLED).astype(int).tolist()})
    stretches = [tokens[start : start + size].tolist() for start in starts]
    assert types == pytest.approx(statistics.mean(len({*one}) for one in stretches), rel=1e-5)
    pairs = [sum(one.count(word) for word in one) / size**2 for one in stretches]
    assert decisions == pytest.approx(statistics.mean(1 / pair for pair in pairs), rel=1e-5)


@pytest.fixture(scope="module")
def some():
    """The toy language, a stretch of its test text, and how it begins."""
    corpus = load_corpus("toy")
    return toy_language(), corpus.vocabulary.decode(corpus.test[:500])


@pytest.mark.parametrize("at", [5, 33, 121, 150, 402, 403])
def test_the_exact_prediction_with_a_hole_sums_over_every_word_that_could_stand_there(some, at):
    language, words = some
    chances = language.next_word_probabilities(words[:at])
    before = language.log_probabilities(words[:at]).sum()
    reader = experiment.Reader(language)
    for word in words[:at]:
        reader, _ = reader.see(word)
    reader = reader.skip()

    def reached(hidden, end):
        try:
            return math.exp(language.log_probabilities([*words[:at], hidden, *words[at + 1 : end]]).sum() - before)
        except ValueError:  # it cannot stand there
            return 0.0

    possible = [word for word, chance in zip(language.vocabulary, chances, strict=True) if chance > 0]
    for end in range(at + 2, at + 5):
        reader, p = reader.see(words[end - 1])
        with_it, without = (sum(reached(hidden, last) for hidden in possible) for last in (end, end - 1))
        assert p == pytest.approx(with_it / without, rel=1e-9)


def test_with_nothing_hidden_the_reader_is_the_exact_prediction(some):
    language, words = some
    reader, found = experiment.Reader(language), []
    for word in words:
        reader, p = reader.see(word)
        found.append(math.log(p))
    np.testing.assert_allclose(found, language.log_probabilities(words))


def test_holes_in_a_model_are_what_a_loop_over_the_text_makes_them():
    corpus = load_corpus("toy")
    model = LanguageModel(experiment.model_config(len(corpus.vocabulary))).eval()
    torch.nn.init.normal_(model.embedding)  # so that a hole is felt
    tokens = corpus.test[:14]
    found = experiment.with_holes(model, tokens)
    for distance, nats in zip(experiment.DISTANCES, found, strict=True):
        slow = []
        for target in range(distance, len(tokens)):
            x = model.embedding[tokens[:target]].detach().clone()[:, None]
            x[target - distance] = 0
            for layer in model.layers:
                x, _ = layer(x, layer.initial_state(1))
            logits = x[-1] @ model.embedding.t() + model.softmax_bias
            slow.append(-logits.log_softmax(1)[0, tokens[target]].item())
        assert nats == pytest.approx(statistics.mean(slow), rel=1e-4)
    whole = experiment.surprises(model, corpus.test[:500]).mean().item()
    assert whole == pytest.approx(evaluate(model, corpus.test[:500]), rel=1e-5)


def test_tokens_are_dropped_whole_each_with_a_coin_of_its_own():
    plain = LSTMLayer(3, 4)
    layer = experiment.TokenDropLSTM(plain, 0.5)
    seen = []
    x = torch.ones(40, 30, 3)
    original = LSTMLayer.forward
    try:
        LSTMLayer.forward = lambda self, x, state, generator=None: seen.append(x) or original(self, x, state)
        layer(x, layer.initial_state(30))
        layer.eval()(x, layer.initial_state(30))
    finally:
        LSTMLayer.forward = original
    dropped, untouched = seen
    assert untouched.equal(x) and {*dropped.unique().tolist()} == {0.0, 2.0}
    kept = dropped[..., 0] > 0
    assert (dropped == dropped[..., :1]).all() and abs(kept.float().mean() - 0.5) < 0.08
    assert (kept != kept[:1]).any() and (kept != kept[:, :1]).any()


@pytest.mark.parametrize("arm", RECORD["arms"])
def test_each_arm_drops_what_it_is_called(arm):
    model = experiment.begin(load_corpus("toy"), arm, experiment.training_config(3, seed=1)).model
    entries, tokens, types = RECORD["arms"][arm]
    assert (model.config.dropout_input, model.config.dropout_embedding) == (entries, types)
    assert getattr(model.layers[0], "p", 0.0) == tokens
    name = arm.split(" ")[0]
    given = {"entries": entries, "tokens": tokens, "types": types}
    assert {kind for kind, p in given.items() if p} == ({name} if name in given else set())
    assert all(f"{p:g}" in arm for p in given.values() if p)


def gain(arm, other):
    one, two = ([math.log(value) for value in of(name, lambda run: run["test"])] for name in (arm, other))
    error = math.hypot(statistics.stdev(one), statistics.stdev(two)) / math.sqrt(len(one))
    return statistics.mean(two) - statistics.mean(one), error


def test_what_the_chapter_says_of_the_arms_holds():
    for arm in WORDS:
        for other in ("nothing", CONTROL):
            difference, error = gain(arm, other)
            assert 0.06 > difference > 3 * error, "a few hundredths of a nat, more than three times the error"
        assert max(of(arm, lambda run: run["test"])) < min(
            test for other in ("nothing", CONTROL) for test in of(other, lambda run: run["test"])
        ), "each run better than each run without"
    for pair in (WORDS, ("entries 0.1", CONTROL)):
        assert abs(gain(*pair)[0]) < 2 * gain(*pair)[1], "the seeds decide; a tie"
    tests = {arm: of(arm, lambda run: run["test"]) for arm in RECORD["arms"]}
    means = sorted(tests, key=lambda arm: statistics.mean(tests[arm]))
    assert {*means[:2]} == {*WORDS} and min(tests["types 0.3"]) > max(tests[CONTROL])
    spread = {arm: statistics.stdev(values) for arm, values in tests.items()}
    assert spread.pop("types 0.3") > 3 * max(spread.values()), "between seeds as in no other arm"
    ends = {arm: statistics.mean(of(arm, lambda run: run["valid"][-1])) for arm in tests}
    order = sorted(ends, key=ends.get)
    assert {*order[:2]} == {*WORDS} and order[2] == "entries 0.1" and order[-1] == "types 0.3", "as the picture's words"
    above = {arm: max(of(arm, lambda run: run["valid"][-1] - min(run["valid"]))) for arm in tests}
    assert above.pop("nothing") > 0.3 and max(above.values()) < 0.1, "no other run ends more than 0.1 above its best"
    best = {arm: of(arm, lambda run: run["valid"].index(min(run["valid"])) / len(run["valid"])) for arm in tests}
    assert max(best.pop("nothing")) < 0.8 < min(min(places) for places in best.values())


def test_what_the_chapter_says_of_published_figures_holds():
    assert [round(math.log(without / full), 2) for without, full in ((62.7, 57.3), (68.1, 65.8))] == [0.09, 0.03]
    paper = PRESETS["awd-lstm-ptb"].model
    others = (paper.dropout_input, paper.dropout_hidden, paper.dropout_output, paper.dropout_weight)
    assert paper.dropout_embedding == 0.1 < min(others), "the smallest of its dropouts"

    def count(config):
        with torch.device("meta"):
            return sum(weight.numel() for weight in LanguageModel(config).parameters())

    assert count(PRESETS["awd-lstm-ptb"].model) > 100 * count(ModelConfig(**RECORD["model"]))
    assert Path(experiment.__file__).name in RECORD["command"]
