"""The records of the chapter on the GRU: made by the committed scripts, with their settings, and consistent."""

import json
import statistics
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from awdlib import recurrent
from awdlib.corpora import load_corpus
from awdlib.figures.cells import equal_width, parameters
from awdlib.model import LanguageModel, cross_entropy
from awdlib.training import start

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "experiments"))
import gru  # noqa: E402
import gru_speed  # noqa: E402

RUNS = ROOT / "data" / "runs"
RECORD = json.loads((RUNS / "gru.json").read_text(encoding="utf-8"))
SPEED = json.loads((RUNS / "gru-speed.json").read_text(encoding="utf-8"))


def part(name):
    return [one for one in RECORD["runs"] if one["part"] == name]


def test_the_records_settings_are_the_scripts():
    size = len(load_corpus("toy").vocabulary)
    assert RECORD["command"] == f"python book/experiments/gru.py --epochs {RECORD['epochs']}"
    for key, model in RECORD["models"].items():
        cell, width = key.split()
        assert model == asdict(gru.model_config(size, cell, int(width)))
    for cell, training in RECORD["training"].items():
        assert training == asdict(gru.training_config(cell, RECORD["epochs"], seed=0))
    assert RECORD["seeds"] == [*gru.SEEDS] and RECORD["lr"] == gru.LR and RECORD["epochs"] == gru.EPOCHS
    assert RECORD["without"] == {
        name: {"model": model, "training": training} for name, (model, training) in gru.WITHOUT.items()
    }
    assert not RECORD["environment"]["commit"].endswith("+") and not SPEED["environment"]["commit"].endswith("+")


def test_its_runs_are_the_script_s_cells():
    cells = gru.cells()
    assert len(RECORD["runs"]) == len(cells) == 90
    for one, cell in zip(RECORD["runs"], cells, strict=True):
        assert cell.items() <= one.items()


def test_the_rates_are_those_that_were_best_at_seed_0():
    for cell, lr in RECORD["lr"].items():
        tried = {one["lr"]: min(one["valid"]) for one in part("tune") if one["cell"] == cell}
        assert {*tried} == {*gru.RATES[cell]} and min(tried, key=tried.get) == lr
    assert {one["seed"] for one in part("tune")} == {0}
    assert {one["seed"] for one in RECORD["runs"] if one["part"] != "tune"} == {*gru.SEEDS}


def test_parameters_are_counted():
    for one in part("whole"):
        model = gru.model_config(len(load_corpus("toy").vocabulary), one["cell"], one["width"])
        assert one["parameters"] == parameters(model)
    (lstm,) = {one["parameters"] for one in part("whole") if one["cell"] == "lstm"}
    (wide,) = {one["parameters"] for one in part("whole") if one["width"] == gru.EQUAL}
    assert abs(wide / lstm - 1) < 0.005


def test_the_small_size_of_the_speed_is_that_of_the_runs():
    (small,) = (one["candidates"] for one in SPEED["sizes"] if one["size"] == "small")
    for name, cell, width in (("lstm", "lstm", 128), ("gru", "gru", 128), ("gru-equal", "gru", gru.EQUAL)):
        runs = [one for one in part("whole") if (one["cell"], one["width"]) == (cell, width)]
        assert {one["parameters"] for one in runs} == {small[name]["parameters"]}
        assert small[name]["hidden_size"] == width
    training = RECORD["training"]["lstm"]
    assert gru_speed.SIZES["small"][1:3] == (training["batch_size"], training["bptt"])


def test_every_perplexity_is_above_the_floor_and_every_run_whole():
    for one in part("whole") + part("bias"):
        assert one["test"] > RECORD["floor"]["test"] and min(one["valid"]) > RECORD["floor"]["valid"]
        assert len(one["valid"]) == len(one["raw_valid"]) == RECORD["epochs"]
        assert one["averaging_from"] == gru.AVERAGE_FROM
        first = gru.AVERAGE_FROM - 1
        assert one["raw_valid"][:first] == pytest.approx(one["valid"][:first], rel=1e-4)
        assert one["raw_valid"][first:] != one["valid"][first:]


def test_around_the_tenth_epoch_the_lstm_waits_where_the_gru_has_passed():
    for one in part("whole"):
        if one["without"] == "":
            about = statistics.median(one["valid"][6:11])
            assert 45 < about < 55 if one["cell"] == "lstm" else about < 40


def test_a_gru_of_equal_width_is_smaller_by_what_the_chapter_says():
    shares = [
        one["candidates"]["gru"]["parameters"] / one["candidates"]["lstm"]["parameters"] for one in SPEED["sizes"]
    ]
    assert 1 - shares[0] == pytest.approx(1 / 6, abs=0.01) and 1 - shares[2] == pytest.approx(1 / 5, abs=0.01)


def test_the_speed_s_sizes_are_the_scripts_and_operations_follow():
    assert [one["size"] for one in SPEED["sizes"]] == [*gru_speed.SIZES]
    for one in SPEED["sizes"]:
        model, batch, window, rounds = gru_speed.SIZES[one["size"]]
        assert one["tokens"] == batch * window and [*one["candidates"]] == [*gru_speed.CANDIDATES]
        for name, of in one["candidates"].items():
            assert of["parameters"] == parameters(gru_speed.config_of(model, name)) and len(of["seconds"]) == rounds
        found = one["candidates"]
        assert found["gru-equal"]["hidden_size"] == equal_width(model, "gru")
        assert abs(found["gru-equal"]["parameters"] / found["lstm"]["parameters"] - 1) < 0.01
        assert found["gru"]["operations"] == found["gru-torch"]["operations"] < found["lstm"]["operations"]


def test_the_sharpness_is_that_of_the_exact_hessian(monkeypatch):
    """The same power iteration with products by automatic differentiation, through torch's own GRU."""
    corpus = load_corpus("toy")
    config = replace(
        gru.model_config(len(corpus.vocabulary), "gru", without="everything"), num_layers=1, embedding_size=3,
        hidden_size=3,
    )  # fmt: skip
    training = start(config, replace(gru.training_config("gru", 1, 1, without="everything"), batch_size=2, bptt=6))
    found = gru.sharpness(training, corpus)
    monkeypatch.setattr(recurrent, "gru_pays", lambda x: False)
    model = LanguageModel(config).double()
    model.load_state_dict(training.model.state_dict())
    weights = [*model.parameters()]
    inputs, targets = gru.window(gru.batchify(corpus.train, 2), 0, 12)
    logits, *_ = model(inputs, None)
    gradient = torch.autograd.grad(cross_entropy(logits, targets), weights, create_graph=True)
    flat = torch.cat([piece.flatten() for piece in gradient])
    vector = torch.randn(len(flat), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(gru.POWER_STEPS):
        vector = vector / vector.norm()
        product = torch.cat([p.flatten() for p in torch.autograd.grad(flat @ vector, weights, retain_graph=True)])
        value, vector = (product @ vector).item(), product
    assert found == pytest.approx({"sharpness": value, "norm": flat.norm().item()}, rel=1e-5)
