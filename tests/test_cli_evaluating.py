"""``finetune``, ``evaluate --cache`` and ``tune-cache`` as a user meets them, on a run of every cell."""

import json
import math
import re

import pytest
from test_cli import TINY, figures

from awdlib.cache import CacheConfig, target_probabilities
from awdlib.cli import main
from awdlib.corpora import load_corpus
from awdlib.runs import load_best


@pytest.fixture(scope="module", params=["lstm", "gru"])
def finished(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / request.param
    assert main([*TINY, "--set", f"cell={request.param}", "--out", str(folder)]) == 0
    return folder


def test_fine_tuning_writes_a_new_run_and_leaves_the_old_one_untouched(finished, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    out = tmp_path / "tuned"
    assert main(["finetune", str(finished), "--epochs", "2", "--out", str(out), "--device", "cpu"]) == 0
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before
    record, parent = json.loads((out / "record.json").read_text()), json.loads(before["record.json"])
    assert record["parent"]["run"] == finished.name and record["status"] == "finished"
    assert record["epochs"][0]["averaging"] and record["training"]["longest_window"] == parent["training"]["bptt"] + 10
    # it starts from trained weights
    assert record["epochs"][0]["train_loss"] < parent["epochs"][0]["train_loss"] - 0.1
    assert main(["finetune", str(finished), "--epochs", "2", "--out", str(out), "--device", "cpu"]) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_fine_tuning_in_two_stretches_equals_one(finished, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    words = ["finetune", str(finished), "--device", "cpu"]
    assert main([*words, "--epochs", "2", "--out", str(one)]) == 0
    assert main([*words, "--epochs", "1", "--out", str(two)]) == 0
    assert main([*words, "--epochs", "2", "--out", str(two), "--resume"]) == 0
    assert figures(one) == figures(two)


def test_evaluating_with_the_cache_gives_the_librarys_figures(finished, capsys):
    words = ["evaluate", str(finished), "--device", "cpu", "--cache", "--window", "40", "--theta", "0.5"]
    assert main([*words, "--lambda", "0.2", "--split", "valid"]) == 0
    printed = capsys.readouterr().out
    corpus = load_corpus("toy")
    found = target_probabilities(load_best(finished, corpus)[0], corpus.valid, CacheConfig(window=40, flatness=0.5))
    assert f"valid: perplexity {math.exp(found.loss(0.2)):.2f} (" in printed
    assert f"without it valid: perplexity {math.exp(found.loss(0.0)):.2f}" in printed


def test_tuning_never_looks_at_the_test_text_to_choose_and_evaluate_takes_it_from_there(finished, capsys):
    assert main(["tune-cache", str(finished), "--device", "cpu", "--window", "30", "--thetas", "0,0.5"]) == 0
    printed = capsys.readouterr().out
    kept = json.loads((finished / "cache.json").read_text())
    best = min(kept["tried"], key=lambda line: line["valid"])
    assert (kept["settings"]["flatness"], kept["settings"]["window"]) == (best["theta"], 30)
    assert kept["settings"]["weight"] == pytest.approx(best["lambda"], abs=1e-4)
    assert kept["valid"]["with"] <= kept["valid"]["without"]
    assert re.search(r"theta 0 +best lambda 0\.\d+", printed)
    assert main(["evaluate", str(finished), "--device", "cpu", "--cache"]) == 0
    assert f"perplexity {kept['test']['with']:.2f} (" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "complaint"), [
    (["evaluate", "RUN", "--cache", "--window", "0"], "window is 0"),
    (["evaluate", "RUN", "--cache", "--lambda", "2"], "lambda) is 2.0"),
    (["tune-cache", "RUN", "--thetas", "0,much"], "thetas is '0,much'"),
    (["tune-cache", "RUN", "--thetas", "-1"], "theta) is -1.0"),
    (["finetune", "RUN", "--epochs", "0"], "epochs is 0"),
    (["finetune", "nowhere"], "nowhere is not the folder of a run"),
    (["tune-cache", "nowhere"], "nowhere is not the folder of a run"),
])  # fmt: skip
def test_bad_input_exits_2_with_one_line(words, complaint, finished, capsys):
    assert main([str(finished) if word == "RUN" else word for word in words]) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said and "\n" not in said
