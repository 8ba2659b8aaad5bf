"""The record behind the chapter on windows: whole, of today's settings, and the arms are what the chapter says."""

import json

import pytest
import torch
import variable_length_bptt as experiment
from torch.nn import functional as F

from awdlib.batches import batchify, ends_epoch
from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures.window_runs import ARMS
from awdlib.model import LanguageModel, ModelConfig
from awdlib.training import EpochRecord, start, train

RECORD = json.loads(bundled("runs/variable-length-bptt.json").read_text(encoding="utf-8"))
CORPUS = load_corpus("toy")
ROWS = len(batchify(CORPUS.train, RECORD["training"]["batch_size"]))


def test_it_is_whole_and_of_todays_settings():
    assert RECORD["floor"] == CORPUS.floor and not RECORD["environment"]["commit"].endswith("+")
    assert ModelConfig(**RECORD["model"]) == experiment.model_config(len(CORPUS.vocabulary))
    training = experiment.WindowedConfig(**RECORD["training"])
    assert training == experiment.training_config(training.epochs, 10, "fixed", 0)
    assert RECORD["command"].endswith(f"--epochs {training.epochs}")
    assert RECORD["arms"] == experiment.ARMS and {*RECORD["arms"]} == {*ARMS} and len(RECORD["seeds"]) >= 3
    cells = [(run["seed"], run["nominal"], run["arm"]) for run in RECORD["runs"]]
    due = [
        (seed, nominal, arm) for seed in experiment.SEEDS for nominal, of in experiment.TRAINED.items() for arm in of
    ]
    assert cells == due
    for run in RECORD["runs"]:
        assert len(run["valid"]) == len(run["train"]) == training.epochs and len(run["places"]) == run["nominal"]
        assert run["valid"].index(min(run["valid"])) + 1 == run["best_epoch"]
        assert run["test"] > RECORD["floor"]["test"]


@pytest.mark.parametrize("run", [run for run in RECORD["runs"] if run["seed"] == 1],
                         ids=lambda run: f"{run['arm']}-{run['nominal']}")  # fmt: skip
def test_the_updates_are_those_of_the_arms_own_lengths(run):
    """An epoch drawn again, without training: as many updates as the run took."""
    config = experiment.training_config(RECORD["training"]["epochs"], run["nominal"], run["arm"], run["seed"])
    generator, updates = torch.Generator().manual_seed(run["seed"]), 0
    columns = torch.zeros(ROWS, 1)
    for _ in range(config.epochs):
        lengths, row, seen = config.window_lengths(), 0, []
        while not ends_epoch(columns, row):
            seen.append(lengths.draw(generator))
            row += seen[-1]
        updates += len(seen)
        if run["arm"] == "offset":
            assert 1 <= seen[0] <= run["nominal"] and {*seen[1:]} == {run["nominal"]}
    assert updates == run["updates"]


def test_offsets_are_all_equally_likely_and_drawn_anew_each_epoch():
    config, generator = experiment.training_config(1, 10, "offset", 1), torch.Generator().manual_seed(0)
    firsts = torch.tensor([config.window_lengths().draw(generator) for _ in range(5000)])
    assert (firsts.bincount(minlength=11)[1:] - 500).abs().max() < 100 and firsts.min() == 1


@pytest.mark.parametrize("arm", ["random", "unscaled"])
def test_rates_of_the_two_arms_of_random_lengths(arm, monkeypatch):
    """What the optimizer steps with: length / T of the rate, or the mean of it for all."""
    config = experiment.training_config(15, 10, arm, 1)
    training = start(experiment.model_config(len(CORPUS.vocabulary)), config)
    if arm == "unscaled":
        training.optimizer.register_step_pre_hook(experiment.at_mean_rate(10, lambda: training.lr))
    rates, lengths = [], []
    training.optimizer.register_step_post_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    for record in train(training, CORPUS):
        if isinstance(record, EpochRecord) or len(rates) == 12:
            break
        lengths.append(record.seq_len)
    law = experiment.window_lengths(10)
    due = [law.mean() if arm == "unscaled" else length for length in [*lengths, record.seq_len]]
    assert rates == pytest.approx([config.lr * length / 10 for length in due]) and len(set(lengths)) > 2


def test_a_token_weighs_the_same_at_both_nominal_lengths():
    short, usual = (experiment.training_config(1, nominal, "fixed", 1) for nominal in (10, 35))
    assert short.lr / short.bptt == pytest.approx(usual.lr / usual.bptt) and short.bptt == 10


def test_loss_by_place_against_one_pass_over_the_uncut_text():
    model = LanguageModel(experiment.model_config(len(CORPUS.vocabulary)), generator=torch.Generator().manual_seed(2))
    columns = batchify(CORPUS.train, 20)
    with torch.no_grad():
        logits = model.eval()(columns[:-1], model.initial_states(20)).logits
    losses = F.cross_entropy(logits.flatten(0, 1), columns[1:].flatten(), reduction="none").view(ROWS - 1, 20)
    due = [losses[[row for row in range(ROWS - 1) if row % 7 == place]].mean().item() for place in range(7)]
    assert experiment.loss_by_place(model, CORPUS, 7, 20) == pytest.approx(due, rel=1e-5)


@pytest.mark.parametrize("seed", RECORD["seeds"])
def test_the_mark_of_fixed_windows_is_no_matter_of_what_it_is_compared_with(seed):
    """The chapter draws differences to random windows: these have no peak at place 0 themselves."""
    places = {run["arm"]: run["places"] for run in RECORD["runs"] if (run["nominal"], run["seed"]) == (10, seed)}
    assert max(places["fixed"]) == places["fixed"][0]
    for arm in ("random", "unscaled", "offset"):
        assert places[arm][0] < sum(places[arm][5:]) / 5 < places["fixed"][0]
