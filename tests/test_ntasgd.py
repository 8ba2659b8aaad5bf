"""NT-ASGD against torch's SGD, hand-computed averages, and the original's trigger written out as a loop."""

import copy
import pickle
import random

import pytest
import torch
from torch import nn

from awdlib.ntasgd import NTASGD, is_triggered


def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    data = torch.randn(60, 8, 4, dtype=torch.float64)
    return model, data


def loss_of(model, x):
    return (model(x).squeeze(1) - x.sum(1).sin()).square().mean()


def advance(model, optimizer, batches):
    """Steps over batches; the iterate after each, as one vector."""
    seen = []
    for x in batches:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        seen.append(vector(model))
    return seen


def vector(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def test_iterates_are_torch_sgds_before_and_after_the_trigger():
    model, data = problem()
    twin = copy.deepcopy(model)
    ours = NTASGD(model.parameters(), lr=0.3, weight_decay=0.01)
    torchs = torch.optim.SGD(twin.parameters(), lr=0.3, weight_decay=0.01)
    before = advance(model, ours, data[:20])
    ours.start_averaging()
    iterates = before + advance(model, ours, data[20:])
    torch.testing.assert_close(iterates, advance(twin, torchs, data), rtol=0, atol=1e-14)


def test_the_average_is_the_mean_of_the_iterates_from_the_triggers_own_weights_on():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    iterates = advance(model, optimizer, data[:20])[-1:]
    optimizer.start_averaging()
    iterates += advance(model, optimizer, data[20:])
    with optimizer.averaged():
        torch.testing.assert_close(vector(model), torch.stack(iterates).mean(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(vector(model), iterates[-1], rtol=0, atol=0)
    assert optimizer.iterates_averaged == len(iterates)


def test_a_step_takes_the_learning_rate_set_for_that_very_step():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = NTASGD([weight], lr=1.0)
    optimizer.start_averaging()
    by_hand = [0.0]
    for lr in (0.5, 2.0, 0.25):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = torch.ones(1, dtype=torch.float64)
        optimizer.step()
        by_hand.append(by_hand[-1] - lr)
    assert weight.item() == by_hand[-1]
    with optimizer.averaged():
        assert weight.item() == pytest.approx(sum(by_hand) / 4, abs=1e-15)


def original_trigger(losses, nonmono):
    """The epoch at which the original's loop switches, or None: history excludes the newest loss there."""
    history = []
    for epoch, loss in enumerate(losses):
        if len(history) > nonmono and loss > min(history[:-nonmono] if nonmono else history):
            return epoch
        history.append(loss)
    return None


def printed_trigger(losses, n):
    """The same for Algorithm 1 as printed: worse than the best of the last n."""
    for epoch in range(len(losses)):
        if epoch > n and losses[epoch] > min(losses[epoch - n : epoch]):
            return epoch
    return None


def test_the_trigger_is_the_originals_on_random_histories_and_not_the_printed_one():
    rng, differ = random.Random(5), 0
    for _ in range(1000):
        patience = rng.randrange(1, 7)
        losses = [6 * 0.9**epoch + rng.gauss(0, 0.3) + 4 for epoch in range(30)]
        ours = next((e for e in range(30) if is_triggered(losses[: e + 1], patience)), None)
        assert ours == original_trigger(losses, patience)
        differ += ours != printed_trigger(losses, patience)
    assert differ > 500
    # the newest is worse than the best of the last 2, yet better than all before those: printed fires, coded waits
    losses = [9.0, 8.0, 7.0, 5.0, 6.0]
    assert printed_trigger(losses, 2) == 4 and not is_triggered(losses, 2)


def test_observe_begins_averaging_once_and_says_so_once():
    weight = nn.Parameter(torch.ones(1))
    optimizer = NTASGD([weight], lr=1.0, patience=1)
    assert [optimizer.observe(loss) for loss in (5.0, 4.0, 4.5, 4.2, 6.0, 7.0)] == [False] * 3 + [True, False, False]
    assert optimizer.averaging


@pytest.mark.parametrize("stage", ["before", "averaging"])
def test_state_round_trips(stage):
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3, weight_decay=0.01, patience=0)
    optimizer.observe(1.0)
    advance(model, optimizer, data[:5])
    if stage == "averaging":
        assert optimizer.observe(2.0)
        advance(model, optimizer, data[5:10])
    twin = copy.deepcopy(model)
    restored = NTASGD(twin.parameters(), lr=9.0, patience=0)
    restored.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    assert advance(twin, restored, data[10:])[-1].equal(advance(model, optimizer, data[10:])[-1])
    assert restored.observe(3.0) == optimizer.observe(3.0)
    with restored.averaged(), optimizer.averaged():
        assert vector(twin).equal(vector(model))


def test_deep_copies_and_pickles_keep_the_counters():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3, patience=3)
    optimizer.observe(1.5)
    optimizer.start_averaging()
    advance(model, optimizer, data[:4])
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert (twin.history, twin.iterates_averaged, twin.patience) == ([1.5], 5, 3)


def test_an_exception_inside_averaged_restores_the_iterate():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    optimizer.start_averaging()
    iterate = advance(model, optimizer, data[:9])[-1]
    with pytest.raises(RuntimeError, match="inside"), optimizer.averaged():
        assert not vector(model).equal(iterate)
        optimizer.step()
    assert vector(model).equal(iterate)
    with pytest.raises(RuntimeError, match="inside"), optimizer.averaged():
        optimizer.state_dict()
    advance(model, optimizer, data[9:12])  # goes on


def test_before_the_trigger_averaged_changes_nothing():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    iterate = advance(model, optimizer, data[:3])[-1]
    with optimizer.averaged():
        assert vector(model).equal(iterate)


@pytest.mark.parametrize("values", [{"lr": -1.0}, {"lr": float("nan")}, {"lr": 1, "weight_decay": -1},
                                    {"lr": 1, "patience": -1}])  # fmt: skip
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValueError, match="cannot be negative"):
        NTASGD([nn.Parameter(torch.ones(1))], **values)
