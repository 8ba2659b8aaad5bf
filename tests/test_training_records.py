"""What a run tells and keeps: records by hand, what seeds decide, and exact resume from whatever was saved."""

import itertools
import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from helpers import CONFIG, MODEL, assert_same_run, corpus
from torch.utils._pytree import tree_leaves

from awdlib.training import StepRecord, start, train


def test_records_count_windows_updates_and_epochs_and_average_the_loss():
    """Against the columns: every row but the last is read once an epoch, and train_loss weighs windows by length."""
    training, steps, rows = start(MODEL, CONFIG), [], 160 // 2 - 1
    updates = 0
    for record in train(training, corpus()):
        if isinstance(record, StepRecord):
            updates += 1
            steps.append(record)
            assert (record.epoch, record.update) == (len(training.history) + 1, updates) == (training.epoch, updates)
            assert not any(part.requires_grad for state in training.states for part in state), "the graph is cut off"
            assert record.progress == sum(step.seq_len for step in steps) / rows and not record.loss.requires_grad
            continue
        read = sum(step.seq_len for step in steps)
        by_hand = sum(step.loss.item() * step.seq_len for step in steps) / read
        assert rows - read in (0, 1)
        assert (record.epoch, record.updates) == (len(training.history), updates)
        assert type(record.train_loss) is type(record.valid_loss) is float
        assert record.train_loss == pytest.approx(by_hand, rel=1e-12)
        assert record.train_perplexity == pytest.approx(math.exp(by_hand), rel=1e-12)
        assert record.valid_perplexity == math.exp(record.valid_loss)
        assert record.seconds > 0 and training.seconds == 0 == training.row and not training.loss_sum
        assert not any(part.any() for state in training.states for part in state), "an epoch begins with zero states"
        steps = []
    assert [record.epoch for record in training.history] == [1, 2, 3] and training.finished
    assert training.best_epoch() == min(training.history, key=lambda record: record.valid_loss)
    assert start(MODEL, CONFIG).best_epoch() is None


def test_seconds_are_those_of_updates_and_validation(monkeypatch):
    """On a clock that ticks once each time it is read, an update takes one second and so does validation."""
    monkeypatch.setattr("time.perf_counter", itertools.count(1000.0).__next__)
    for record in train(training := start(MODEL, CONFIG), corpus()):
        if isinstance(record, StepRecord):
            seconds = training.seconds
        else:
            assert record.seconds == seconds + 1
            assert seconds == record.updates - sum(before.updates for before in training.history[-2:-1])


def test_records_of_an_epoch_are_frozen_and_those_of_steps_too():
    for record in train(start(MODEL, replace(CONFIG, epochs=1)), corpus()):
        with pytest.raises(FrozenInstanceError):
            record.epoch = 7


def test_seeds_decide_weights_masks_and_windows_and_nothing_global_does():
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        training = start(MODEL, replace(CONFIG, epochs=1, seed=seed))
        before = torch.get_rng_state()
        runs.append([(r.seq_len, r.loss.item()) for r in train(training, corpus()) if isinstance(r, StepRecord)])
        assert before.equal(torch.get_rng_state())
    assert runs[0] == runs[1] != runs[2]


def test_the_seed_alone_decides_the_initial_weights():
    before = torch.get_rng_state()
    first, again, other = (start(MODEL, replace(CONFIG, seed=seed)).model.state_dict() for seed in (1, 1, 2))
    assert before.equal(torch.get_rng_state())
    for name in first:
        assert first[name].equal(again[name]) and (not first[name].any() or not first[name].equal(other[name]))


@pytest.mark.parametrize("average_from", [1, 2])  # 1: from the first weights, which resuming must not set again
@pytest.mark.parametrize("stop_at", [1, 5, 9, 14, 22])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(stop_at, average_from, tmp_path):
    config = replace(CONFIG, average_from=average_from)
    text, whole = corpus(), start(MODEL, config)
    length = sum(1 for _ in train(whole, text))
    assert whole.optimizer.averaging and length > stop_at, "the run must pass through every stage"

    stopped = start(MODEL, config)
    for number, _ in enumerate(train(stopped, text), start=1):
        if number == stop_at:
            break
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    for _ in range(2):  # what was saved stays as it is, and can be resumed from again
        resumed = start(MODEL, config)
        torch.rand(7)  # the global generator has nothing to do with it
        resumed.load_state_dict(saved)
        for restored, stored in zip(*map(tree_leaves, (resumed.state_dict(), saved)), strict=True):
            assert restored.equal(stored) if isinstance(stored, torch.Tensor) else restored == stored
        assert sum(1 for _ in train(resumed, text)) == length - stop_at
        assert_same_run(resumed, whole)
