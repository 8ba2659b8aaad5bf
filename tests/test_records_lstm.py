"""The record of the experiment on gates: of today's script, corpus and exams, and as the chapter tells it."""

import json
import math
import statistics

import fitting
import pytest
import torch
from test_records import RUNS, read, script

from awdlib.agreement import bigram_share, draw_exam, stretched_exam
from awdlib.corpora import load_corpus
from awdlib.figures.agreement import accuracy
from awdlib.model import LanguageModel
from awdlib.toy_language import toy_language
from awdlib.training import EpochRecord

RECORD, EXPERIMENT, CORPUS = read("lstm"), script("lstm"), load_corpus("toy")


def test_it_is_whole_and_of_todays_corpus_and_settings():
    plan = EXPERIMENT.plan(CORPUS, RECORD["training"]["epochs"])
    assert json.loads(json.dumps(plan)) == {name: RECORD[name] for name in plan}
    assert RECORD["environment"]["commit"] and not RECORD["environment"]["commit"].endswith("+")
    assert {*RECORD["runs"]} == {f"{arm}-{seed}" for arm in RECORD["arms"] for seed in RECORD["seeds"]}
    assert len(RECORD["seeds"]) >= 3 and RECORD["pilot_seed"] not in RECORD["seeds"]
    for run in RECORD["runs"].values():
        assert len(run["curve"]) == RECORD["training"]["epochs"] and len(run["reach"]) == EXPERIMENT.REACH + 1


def test_the_arms_are_equally_large():
    sizes = RECORD["parameters"].values()
    assert max(sizes) - min(sizes) == 3, "the chapter says: but for three"


def test_learning_rates_are_the_best_of_the_pilot_and_inside_the_list_that_was_searched():
    for arm in RECORD["arms"]:
        reached = {lr: RECORD["pilot"][f"{arm}-{lr:g}"] for lr in RECORD["rates"]}
        best = min(reached, key=reached.get)
        assert {RECORD["runs"][f"{arm}-{seed}"]["lr"] for seed in RECORD["seeds"]} == {best}
        assert RECORD["rates"][0] < best < RECORD["rates"][-1]


def test_exams_and_the_bigrams_answers_are_drawn_again_alike():
    language = toy_language()
    exam = draw_exam(language, CORPUS, **RECORD["exam"])
    assert EXPERIMENT.tally(exam, bigram_share(CORPUS, exam)) == RECORD["bigram"]
    asked = [[row[:2], row[2]] for row in RECORD["bigram"]]
    for run in RECORD["runs"].values():
        for (kind, verbs), row in zip(asked, run["agreement"], strict=True):
            assert row[:2] == kind and verbs - 20 <= row[2] <= verbs, "but for the columns' first words"
    for adjectives, distance in zip(RECORD["stretched"]["adjectives"], RECORD["distances"], strict=True):
        one = stretched_exam(language, CORPUS, adjectives, count=2, seed=1)
        assert {verb.distance for verb in one.verbs} == {distance}


def test_no_sentence_of_the_training_text_has_as_many_adjectives_as_the_longest_of_the_exam():
    language = toy_language()
    row = language.emission[:, language.arcs.classes.index("adjective")].any(axis=0)
    adjectives = {word for word, able in zip(language.vocabulary, row, strict=True) if able}
    longest = run = 0
    for word in CORPUS.vocabulary.decode(CORPUS.train):
        run = run + 1 if word in adjectives else 0
        longest = max(longest, run)
    assert longest < 10 < RECORD["stretched"]["adjectives"][-1]


@pytest.mark.parametrize(
    ("arm", "knows"), [("lstm", True), ("lstm-open", True), ("rnn", False), ("rnn-orthogonal", False)]
)
def test_what_the_figures_alternative_text_claims(arm, knows):
    runs = [RECORD["runs"][f"{arm}-{seed}"] for seed in RECORD["seeds"]]
    far = [accuracy(run["agreement"], attractor=True) for run in runs]
    for distance in (7, 8, 9):
        mean = statistics.mean(one[distance] for one in far)
        assert mean > 0.9 if knows else mean < 0.7
    at = dict(zip(RECORD["distances"], zip(*(run["stretched"] for run in runs), strict=True), strict=True))
    assert (statistics.mean(at[10]) > 0.85) if knows else (statistics.mean(at[10]) < 0.5)
    assert statistics.mean(at[30]) < 0.6


def test_what_the_chapter_says_of_the_table():
    """Prose carries no figures, but it does say who beats whom, and where a difference is within the noise."""

    def misled(run, nearest, furthest):
        rows = [row for row in run["agreement"] if row[1] and nearest <= row[0] <= furthest]
        return sum(row[3] for row in rows) / sum(row[2] for row in rows)

    runs = {arm: [RECORD["runs"][f"{arm}-{seed}"] for seed in RECORD["seeds"]] for arm in RECORD["arms"]}
    tests = {arm: [run["test"] for run in of] for arm, of in runs.items()}
    far = {arm: [misled(run, 7, 9) for run in of] for arm, of in runs.items()}
    near = {arm: statistics.mean(misled(run, 4, 6) for run in of) for arm, of in runs.items()}
    for gated in ("lstm", "lstm-open"):
        for plain in ("rnn", "rnn-orthogonal"):
            assert max(tests[gated]) < min(tests[plain]) and min(far[gated]) > max(far[plain])
    assert 1.7 < statistics.mean(tests["rnn"]) / statistics.mean(tests["lstm"]) < 2, "nearly two"
    assert near["rnn-orthogonal"] < near["rnn"], "it agrees worse than the plain one, near"
    assert statistics.mean(far["rnn-orthogonal"]) < statistics.mean(far["rnn"]), "and far"
    error = math.hypot(statistics.stdev(tests["lstm"]), statistics.stdev(tests["lstm-open"])) / math.sqrt(
        len(far["rnn"])
    )
    assert abs(statistics.mean(tests["lstm"]) - statistics.mean(tests["lstm-open"])) < 2 * error, "within the noise"


def test_what_the_chapter_says_of_the_reach():
    relative = {
        arm: [RECORD["runs"][f"{arm}-{seed}"]["reach"] for seed in RECORD["seeds"]]
        for arm in ("lstm", "rnn", "rnn-orthogonal")
    }
    last = {arm: [run[-1] / run[0] for run in runs] for arm, runs in relative.items()}
    assert max(last["rnn"]) < 1e-4 and statistics.geometric_mean(last["rnn"]) < 1e-5
    assert min(last["rnn-orthogonal"]) > statistics.geometric_mean(last["lstm"]), "even further back than the LSTM's"
    near_and_far = [(run[10] / run[0], run[-1] / run[10]) for runs in relative.values() for run in runs]
    assert all(1e-2 < first < 10**-0.85 for first, _ in near_and_far), "one or two powers of ten in ten words"
    assert 1e-6 < statistics.geometric_mean(last["rnn"]) < 5e-6, "a few millionths"


def test_what_the_chapter_says_of_thirty_words():
    ends = {
        arm: [RECORD["runs"][f"{arm}-{seed}"]["stretched"][-1] for seed in RECORD["seeds"]] for arm in RECORD["arms"]
    }
    gated = ends["lstm"] + ends["lstm-open"]
    assert 0.65 < max(gated) < 0.75, "even the best run: seven in ten"
    assert sum(end < 0.55 for end in gated) > len(gated) / 2, "most are no better than a coin"
    assert max(ends["rnn"] + ends["rnn-orthogonal"]) < 0.5
    assert statistics.mean(ends["rnn"]) < 0.3, "well below 50 %: it agrees with the wrong noun"


def test_the_sizes_that_the_chapters_text_names_are_the_experiments():
    notebook = json.loads((RUNS.parents[1] / "book" / "lstm.ipynb").read_text(encoding="utf-8"))
    text = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert f"{EXPERIMENT.RNN} against {EXPERIMENT.LSTM}" in text
    assert len(RECORD["rates"]) == 6 and "from the same six" in text
    assert RECORD["training"]["epochs"] == 20 and "twenty epochs and sixty thousand words" in text
    assert 55_000 < len(CORPUS.train) < 65_000


def test_an_arm_begins_as_it_is_called():
    for arm, beginning in EXPERIMENT.BEGINNINGS.items():
        model = LanguageModel(EXPERIMENT.model_config(20, beginning["cell"], hidden_size=6))
        before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        EXPERIMENT.begin(model, beginning.get("forget_bias"), beginning.get("gain"))
        changed = {name for name, weight in model.named_parameters() if not weight.equal(before[name])}
        for number, layer in enumerate(model.layers):
            size, bias = layer.hidden_size, layer.bias_ih + layer.bias_hh
            if arm == "lstm-open":
                assert (bias[size : 2 * size] == 1).all() and (bias[:size].abs() < 1).all()
                changed -= {f"layers.{number}.bias_ih", f"layers.{number}.bias_hh"}
            elif arm == "rnn-orthogonal":
                torch.testing.assert_close(layer.weight_hh.T @ layer.weight_hh, torch.eye(size))
                changed -= {f"layers.{number}.weight_hh"}
        assert not changed, "nothing else"


def test_a_run_ends_with_the_weights_of_its_best_epoch(monkeypatch):
    def epochs(training, corpus):
        for epoch, loss in enumerate((3.0, 2.0, 2.5), 1):
            torch.nn.init.constant_(training.model.embedding, epoch)
            record = EpochRecord(epoch=epoch, updates=1, seconds=1.0, train_loss=4.0, valid_loss=loss, averaging=False,
                                 averaging_began=None)  # fmt: skip
            training.history.append(record)
            yield record

    monkeypatch.setattr(fitting, "train", epochs)
    model, curve = EXPERIMENT.learn(CORPUS, "rnn", EXPERIMENT.training_config(3, lr=1.0, seed=1))
    assert (model.embedding == 2).all() and [point["epoch"] for point in curve] == [1, 2, 3]


def test_the_rate_chosen_is_the_one_with_the_lowest_perplexity_and_not_one_that_diverged():
    pilot = {
        f"rnn-{lr:g}": value for lr, value in zip(EXPERIMENT.RATES, (90.0, 50.0, 60.0, 70.0, None, None), strict=True)
    }
    assert EXPERIMENT.chosen(pilot, "rnn") == 2.5
