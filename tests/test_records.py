"""The committed records: complete, of today's settings, and free of anything that names a machine's folders."""

import importlib.util
import json
import math
import re
import statistics
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from awdlib.corpora import load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import ModelConfig
from awdlib.presets import PRESETS
from awdlib.runs import load_best
from awdlib.training import TrainConfig
from awdlib.training_config import decided

RUNS = Path(__file__).resolve().parent.parent / "data" / "runs"


def read(name):
    return json.loads((RUNS / f"{name}.json").read_text(encoding="utf-8"))


def script(name):
    """An experiment of the book as a module."""
    specification = importlib.util.spec_from_file_location(
        name, RUNS.parents[1] / "book" / "experiments" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(RUNS.rglob("*.json")), ids=lambda path: path.stem)
def test_no_record_names_a_folder_of_one_machine(path):
    assert not re.search(r"(?<![\w:/.~-])/(home|root|mnt|srv|work|tmp|Users)/", path.read_text(encoding="utf-8"))


def test_the_small_penn_treebank_run_is_the_presets_and_reached_its_goal():
    record, preset = read("ptb-small"), PRESETS["ptb-small"]
    assert record["status"] == "finished" and record["preset"] == "ptb-small"
    # made into configurations again, so that a field added since then has its default
    assert TrainConfig(**record["training"]) == decided(preset.training, record["training"])
    assert ModelConfig(**record["model"]) == replace(preset.model, vocab_size=10_000)
    assert len(record["epochs"]) == preset.training.epochs
    assert record["minutes"] <= 25 and record["final_perplexity"]["test"] < 107
    assert record["environment"]["commit"] and not record["environment"]["commit"].endswith("+")
    assert min(asdict(preset.model)[f"dropout_{where}"] for where in ("input", "embedding", "weight")) > 0
    assert preset.training.ar_weight > 0 < preset.training.tar_weight and preset.training.variable_windows


def test_the_run_that_figures_show_is_the_toy_preset_with_the_weights_of_its_best_epoch():
    record, preset = read("toy/record"), PRESETS["toy"]
    corpus = load_corpus("toy")
    assert record["status"] == "finished" and record["corpus"]["floor"] == corpus.floor
    assert TrainConfig(**record["training"]) == preset.training
    assert ModelConfig(**record["model"]) == replace(preset.model, vocab_size=len(corpus.vocabulary))
    assert record["environment"]["commit"] and not record["environment"]["commit"].endswith("+")
    model, _ = load_best(RUNS / "toy", corpus)
    assert math.exp(evaluate(model, corpus.test)) == pytest.approx(record["final_perplexity"]["test"], rel=1e-5)
    best = min(record["epochs"], key=lambda epoch: epoch["valid_loss"])
    assert best["epoch"] == record["best_epoch"] and any(epoch["averaging_began"] for epoch in record["epochs"])


def test_zarembas_small_model_comes_within_2_of_its_published_perplexities():
    record, preset = read("zaremba-small"), PRESETS["zaremba-small"]
    assert record["status"] == "finished" and len(record["epochs"]) == preset.training.epochs
    assert TrainConfig(**record["training"]) == preset.training
    assert ModelConfig(**record["model"]) == replace(preset.model, vocab_size=10_000)
    assert record["environment"]["commit"] and not record["environment"]["commit"].endswith("+")
    published = map(float, preset.published.split(" / "))
    for split, goal in zip(("valid", "test"), published, strict=True):
        assert abs(record["final_perplexity"][split] - goal) < 2


def test_the_experiment_of_dropout_masks_is_whole_and_of_todays_corpus_and_settings():
    experiment = script("dropout_masks")
    record, corpus = read("dropout-masks"), load_corpus("toy")
    assert record["floor"] == corpus.floor
    models = {arm: ModelConfig(**values) for arm, values in record["models"].items()}
    assert models == experiment.arms(len(corpus.vocabulary))
    training = TrainConfig(**record["training"])
    assert training == experiment.training_config(training.epochs, seed=0)
    assert {*record["runs"]} == {f"{arm}-{seed}" for arm in record["models"] for seed in record["seeds"]}
    assert all(len(run["curve"]) == record["training"]["epochs"] for run in record["runs"].values())
    assert len(record["seeds"]) >= 3


def test_what_the_chapter_claims_of_the_experiment_holds():
    """Prose carries no figures, but it does say who overfits, and where the curves lie."""
    record = read("dropout-masks")
    by_arm = {arm: [run for name, run in record["runs"].items() if name.startswith(arm)] for arm in record["models"]}
    for run in by_arm["none"]:
        valid = [point["valid"] for point in run["curve"]]
        assert 10 <= valid.index(min(valid)) + 1 <= 20 and valid[-1] > 1.5 * min(valid), "turns around epoch 15"
        assert run["curve"][-1]["train"] < min(r["curve"][-1]["train"] for r in by_arm["locked"])
    for arm in ("ordinary", "locked"):
        assert all(run["last_valid"] < 0.8 * min(r["last_valid"] for r in by_arm["none"]) for run in by_arm[arm])
        assert all(run["best_valid"] > record["floor"]["valid"] for run in by_arm[arm])
    means = {arm: sum(run["test"] for run in runs) / len(runs) for arm, runs in by_arm.items()}
    spread = max(run["test"] for run in by_arm["locked"]) - min(run["test"] for run in by_arm["locked"])
    assert abs(means["ordinary"] - means["locked"]) < spread, "the chapter says: no difference to build on"


def test_the_experiment_on_the_strength_of_masks_is_whole_and_of_todays_corpus_and_settings():
    experiment = script("dropout_strength")
    record, corpus = read("dropout-strength"), load_corpus("toy")
    assert record["floor"] == corpus.floor
    model = experiment.model_config(len(corpus.vocabulary), "locked", 0.0)
    assert ModelConfig(**record["model"]) == model
    training = TrainConfig(**record["training"])
    assert training == experiment.training_config(training.epochs, seed=0)
    due = [(seed, p, kind) for seed in experiment.SEEDS for p in experiment.PS for kind in experiment.KINDS]
    assert [(run["seed"], run["p"], run["kind"]) for run in record["runs"]] == due and len(experiment.SEEDS) >= 3
    assert (record["seeds"], record["ps"]) == (list(experiment.SEEDS), list(experiment.PS))
    for run in record["runs"]:
        assert len(run["valid"]) == training.epochs and record["floor"]["test"] < run["test"] < run["valid"][0]
    ordinary = experiment.model_config(9, "ordinary", 0.3)
    assert not ordinary.locked and ordinary == replace(experiment.model_config(9, "locked", 0.3), locked=False)


def test_what_the_chapter_claims_of_the_strength_of_masks_holds():
    record = read("dropout-strength")
    for p in record["ps"]:
        by_kind = {
            kind: [run for run in record["runs"] if (run["kind"], run["p"]) == (kind, p)] for kind in record["kinds"]
        }
        fits = {kind: statistics.mean(run["last_train"] for run in runs) for kind, runs in by_kind.items()}
        assert max(fits.values()) < 1.15 * min(fits.values()), "on the training text they end alike"
        for run in sum(by_kind.values(), []):
            last, best = run["valid"][-1], min(run["valid"])
            assert (last > 1.05 * best) if p == 0.1 else (last < 1.01 * best), "overfits, or holds level"


def test_the_fast_way_reaches_what_the_plain_one_does_within_the_spread_of_seeds():
    """In fp32 and in bf16, on a slice of Penn Treebank: means of seeds within two standard errors of a difference."""
    record = read("precision")
    best = {way: [run["best"] for run in record["runs"] if run["way"] == way] for way in record["ways"]}
    seeds = len(record["seeds"])
    assert [run["seed"] for run in record["runs"]] == record["seeds"] * len(best) and seeds == 3
    assert record["ways"]["plain-fp32"] == {"fast": False, "precision": "fp32"}
    assert {(way["fast"], way["precision"]) for way in record["ways"].values()} >= {(True, "fp32"), (True, "bf16")}
    between_seeds = sum(statistics.variance(found) for found in best.values()) / len(best)
    margin = 2 * math.sqrt(2 * between_seeds / seeds)
    plain = statistics.mean(best.pop("plain-fp32"))
    assert margin < 0.03 * plain, "else equal means would say nothing"
    for way, found in best.items():
        assert abs(statistics.mean(found) - plain) < margin, way


def test_the_experiment_of_activation_penalties_is_whole_and_of_todays_corpus_and_settings():
    experiment = script("activation_penalties")
    record, corpus = read("activation-penalties"), load_corpus("toy")
    assert record["floor"] == corpus.floor and record["environment"]["commit"]
    assert not record["environment"]["commit"].endswith("+")
    assert ModelConfig(**record["model"]) == experiment.model_config(len(corpus.vocabulary))
    training = TrainConfig(**record["training"])
    assert training == experiment.training_config(0.0, 0.0, PRESETS["toy"].training.epochs)
    preset = PRESETS["toy"].training
    same = replace(preset, ar_weight=0.0, tar_weight=0.0, average_from=training.average_from, patience=10**6)
    assert training == same, "the preset's, but for the penalties, and averaged by schedule"
    assert record["words"] == corpus.vocabulary.decode(experiment.passage(corpus))
    assert record["words"] == corpus.vocabulary.decode(corpus.valid[: len(record["words"])])
    assert record["words"].count("<eos>") == 3 and record["words"][-1] == "<eos>"
    cells = [(run["alpha"], run["beta"]) for run in record["runs"]]
    assert cells == [(alpha, beta) for alpha in record["alphas"] for beta in record["betas"]]
    for run in record["runs"]:
        shape = (len(record["words"]), record["model"]["embedding_size"])  # tied: the last layer's output
        assert torch.tensor([[int(unit) for unit in word.split()] for word in run["trace"]]).shape == shape
        assert record["floor"]["valid"] < run["valid_perplexity"] and run["averaging"]


def test_what_the_figure_of_activation_penalties_shows_holds():
    """Larger weights leave smaller and slower activations, at every setting of the other weight."""
    runs = {(run["alpha"], run["beta"]): run for run in read("activation-penalties")["runs"]}
    alphas, betas = (sorted({pair[axis] for pair in runs}) for axis in (0, 1))
    for beta in betas:
        sizes = [runs[alpha, beta]["mean_square"] for alpha in alphas]
        assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0] / 2
    for alpha in alphas:
        steps = [runs[alpha, beta]["mean_square_step"] for beta in betas]
        assert steps == sorted(steps, reverse=True) and steps[-1] < steps[0] / 2
    slow = {pair: run["mean_square_step"] / run["mean_square"] for pair, run in runs.items()}
    assert slow[0.0, betas[-1]] < slow[0.0, 0.0] / 2, "TAR slows; smaller is not what it asks for"
    assert slow[alphas[-1], 0.0] > slow[0.0, 0.0], "AR does not slow"
    valid = {pair: run["valid_perplexity"] for pair, run in runs.items()}
    hardest = valid.pop((alphas[-1], betas[-1]))
    assert hardest > 1.1 * max(valid.values()), "too much of both costs perplexity"
