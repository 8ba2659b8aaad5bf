"""The record behind the chapter on NT-ASGD: whole, of today's settings, and its arms are what they are said to be."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import nt_asgd as experiment
import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures.nt_asgd_runs import of_arm
from awdlib.figures.trigger import recorded, trigger_epoch
from awdlib.model import ModelConfig, cross_entropy
from awdlib.ntasgd import count_triggers
from awdlib.training import EpochRecord, TrainConfig, start, train

RECORD = json.loads(bundled("runs/nt-asgd.json").read_text(encoding="utf-8"))
EPOCHS = RECORD["training"]["epochs"]
RUNS = [run for run in RECORD["runs"] if run["seed"] in RECORD["seeds"]]
TUNING = RECORD["runs"][0]


def test_it_is_whole_and_of_todays_settings():
    corpus = load_corpus("toy")
    assert RECORD["floor"] == corpus.floor and RECORD["environment"]["commit"]
    assert not RECORD["environment"]["commit"].endswith("+")
    assert ModelConfig(**RECORD["model"]) == experiment.model_config(len(corpus.vocabulary))
    assert TrainConfig(**RECORD["training"]) == experiment.training_config(EPOCHS, seed=RECORD["tuned_at"])
    assert RECORD["command"].endswith(f"--epochs {EPOCHS}")
    assert RECORD["tried"] == experiment.ARMS and RECORD["schedule_factor"] == experiment.FACTOR
    assert [run["seed"] for run in RECORD["runs"]] == [RECORD["tuned_at"], *RECORD["seeds"]] and len(RUNS) >= 3
    assert all(len(one["valid"]) == EPOCHS for run in RECORD["runs"] for one in run["arms"])


def test_every_arm_runs_with_the_value_that_was_best_at_the_seed_of_tuning():
    best = experiment.chosen(TUNING)
    for run in RUNS:
        assert {one["arm"]: [one["value"]] for one in run["arms"]} == best
    for arm, values in RECORD["tried"].items():
        assert [one["value"] for one in TUNING["arms"] if one["arm"] == arm] == values


@pytest.mark.parametrize("run", RECORD["runs"], ids=lambda run: f"seed {run['seed']}")
def test_arms_share_the_path_up_to_where_they_leave_it_and_not_further(run):
    constant = run["arms"][0]["valid"]
    for one in run["arms"][1:]:
        leaves = one["from"]
        if one["arm"] == "ema":
            continue
        if leaves is None:
            assert one["valid"] == constant
            continue
        assert one["valid"][:leaves] == constant[:leaves] and one["valid"][leaves:] != constant[leaves:]


@pytest.mark.parametrize("run", RECORD["runs"], ids=lambda run: f"seed {run['seed']}")
def test_the_trigger_fired_where_the_rule_says(run):
    losses = [math.log(valid) for valid in run["arms"][0]["valid"]]
    for one in run["arms"]:
        if one["arm"] in ("nt-asgd", "plateau"):
            assert one["from"] == trigger_epoch(losses, one["value"])
        if one["arm"] == "plateau" and one["from"]:
            assert count_triggers(losses[: one["from"]], one["value"]) == 1


def test_the_starts_hold_the_path_and_the_arm():
    for run in RUNS:
        constant = run["arms"][0]["valid"]
        for end, table in run["starts"].items():
            assert len(table) == int(end) + 1 and table[-1] == pytest.approx(constant[int(end) - 1], rel=1e-4)
    for run, one in zip(RUNS, of_arm(RUNS, "nt-asgd"), strict=True):
        if one["from"] is not None:
            assert one["valid"][-1] == pytest.approx(run["starts"][str(EPOCHS)][one["from"]], rel=1e-5)


@pytest.fixture(scope="module")
def small():
    corpus = load_corpus("toy")
    corpus = replace(corpus, train=corpus.train[:6000])
    config = experiment.training_config(4, seed=3)
    sizes = replace(experiment.model_config(len(corpus.vocabulary)), embedding_size=12, hidden_size=16)
    return corpus, config, sizes


def test_the_path_and_its_means_are_those_of_a_run_that_averages(small, monkeypatch):
    corpus, config, sizes = small
    path = experiment.walk(start(sizes, config), corpus, [0.9])
    training = start(sizes, replace(config, average_from=3))
    for record in train(training, corpus):
        if isinstance(record, EpochRecord):
            torch.testing.assert_close(experiment.flat(training.model), path.weights[record.epoch], rtol=0, atol=1e-5)
    with training.optimizer.averaged():
        torch.testing.assert_close(experiment.flat(training.model), path.mean(2, 4), rtol=0, atol=1e-5)
    assert all(len(norms) == path.counts[1] for norms in path.norms[:1])


def test_a_fork_goes_on_exactly_and_swa_is_the_mean_of_the_ends_of_epochs(small, monkeypatch):
    corpus, config, sizes = small
    monkeypatch.setattr(experiment, "model_config", lambda words: sizes)
    path = experiment.walk(start(sizes, config), corpus, [])
    same = replace(config, lr_decay="schedule", decay_factor=1.0, decay_after=2)
    weights = experiment.decayed(path, same, 2, corpus)
    torch.testing.assert_close(torch.stack(weights), torch.stack(path.weights[1:]), rtol=0, atol=1e-5)
    swa = experiment.swa(path, config, config.lr, corpus)  # SWALR to the rate there is: the path itself
    torch.testing.assert_close(swa[-1], path.weights[4], rtol=0, atol=1e-5)
    lower = experiment.swa(path, config, 1.0, corpus)
    assert lower[:3] == path.weights[1:4] or all(a.equal(b) for a, b in zip(lower[:3], path.weights[1:4], strict=True))


def test_the_sharpness_is_the_largest_eigenvalue_of_the_whole_hessian(monkeypatch):
    sizes = ModelConfig(vocab_size=12, embedding_size=4, hidden_size=4, num_layers=1)
    monkeypatch.setattr(experiment, "model_config", lambda words: sizes)
    monkeypatch.setattr(experiment, "SHARPNESS_ROWS", 8)
    text = torch.randint(12, (400,), generator=torch.Generator().manual_seed(0)) ** 2 % 7
    reader = experiment.Reader(SimpleNamespace(vocabulary=range(12), train=text))
    weights = 3 * experiment.flat(reader.model)
    model, parameters = reader._put(weights), list(reader.model.parameters())
    loss = cross_entropy(model(reader.inputs, model.initial_states(20)).logits, reader.targets)
    slope = torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in slope]
    hessian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    largest = torch.linalg.eigvalsh(hessian.double())[-1].item()
    assert reader.sharpness(weights) == pytest.approx(largest, rel=0.02)


def ends(arm):
    return np.array([one["test"]["last"] for one in of_arm(RUNS, arm)])


def interval(arm):
    gaps = ends(arm) - ends("nt-asgd")
    half = 4.303 * gaps.std(ddof=1) / math.sqrt(len(gaps))
    return gaps, gaps.mean() - half, gaps.mean() + half


def test_who_wins_as_the_chapter_says():
    for arm in ("constant", "plateau", "schedule", "swa"):
        gaps, low, _ = interval(arm)
        assert min(gaps) > 0, "NT-ASGD ends below it on every seed"
        assert (low > 0) == (arm == "swa"), "only against SWA does the interval leave out zero"
    gaps, low, high = interval("ema")
    assert min(gaps) < 0 < max(gaps) and low < 0 < high, "the exponential average does as well"
    assert ends("constant").std(ddof=1) > 4 * ends("nt-asgd").std(ddof=1)
    assert len(RUNS) == 3, "Student's t in the chapter is for three"


def test_the_exponential_average_is_highest_through_the_first_half():
    for run in RUNS:
        by_arm = {one["arm"]: one["valid"][: EPOCHS // 2] for one in run["arms"]}
        ema = by_arm.pop("ema")
        assert all(a > max(others) for a, *others in zip(ema, *by_arm.values(), strict=True))
    assert of_arm(RUNS, "ema")[0]["value"] == max(RECORD["tried"]["ema"]) == 0.999


def test_a_schedule_begun_too_early_freezes_in_the_tuning():
    last = {one["value"]: one["valid"][-1] for one in TUNING["arms"] if one["arm"] == "schedule"}
    assert last[0.4] > max(last[0.6], last[0.8]) + 0.5


def test_too_late_costs_little_and_too_early_much():
    whole = [run["starts"][str(EPOCHS)] for run in RUNS]
    losses = [[math.log(valid) for valid in run["arms"][0]["valid"]] for run in RUNS]
    for run, table, curve in zip(RUNS, whole, losses, strict=True):
        for end in (12, 24):
            early = run["starts"][str(end)]
            assert early.index(min(early)) == end - 1, "while the run falls, the last epoch but one"
        best = table.index(min(table))
        assert sum(value < 1.01 * min(table) for value in table) > 20 and max(table) == table[0]
        at = trigger_epoch(curve, 8)
        assert 0 < at - best and 24 < at and table[at] < min(1.01 * min(table), min(table) + 0.2)
    for n, rule in ((2, "coded"), (8, "printed")):
        costs = [t[trigger_epoch(curve, n, rule)] - min(t) for t, curve in zip(whole, losses, strict=True)]
        assert max(costs) > 3 and min(costs) < 0.5
        dearest = costs.index(max(costs))
        assert min(whole[dearest]) + max(costs) > whole[dearest][-1], "the iterate would have been better"
    assert trigger_epoch(losses[1], 2) and whole[1][trigger_epoch(losses[1], 2)] < min(whole[1]) + 0.1


def test_the_clip_binds_rarely_and_the_run_ends_below_the_edge():
    edge = 2 / RECORD["training"]["lr"]
    assert RECORD["training"]["max_grad_norm"] == 0.25, "drawn as the limit in the chapter"
    for run in RUNS:
        assert max(half for _, half, _ in run["norms"]["tenths_1_5_9"]) < RECORD["training"]["max_grad_norm"]
        *before, last = run["sharpness"]["path"].values()
        assert min(before) > edge > last > 0.8 * edge


def test_the_ablation_on_penn_treebank_says_the_same():
    folder = bundled("runs/ptb-100k")
    rows = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["differences"]
    (row,) = (row for row in rows if "NT-ASGD" in row["arm"])
    assert row["interval"][0] > 0 and row["published"] == 4.9


def test_the_printed_rule_gives_in_by_epoch_13():
    for name in ("toy", "overfitted"):
        assert max(trigger_epoch([*recorded(name).iterate], n, "printed") for n in range(1, 11)) <= 13
