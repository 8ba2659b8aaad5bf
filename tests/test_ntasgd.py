"""NT-ASGD against torch's SGD, hand-computed averages, and the original's trigger written out as a loop."""

import copy
import random

import pytest
import torch
from helpers import advance, problem, vector
from torch import nn
from torch.nn import functional as F

from awdlib.ntasgd import NTASGD, count_triggers, is_triggered


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


def test_groups_keep_their_own_learning_rate_and_weight_decay():
    model, data = problem()
    twin = copy.deepcopy(model)

    def groups(model):
        return [{"params": model[0].parameters(), "lr": 0.3, "weight_decay": 0.02}, {"params": model[2].parameters()}]

    ours = NTASGD(groups(model), lr=0.05, weight_decay=0.001)
    torchs = torch.optim.SGD(groups(twin), lr=0.05, weight_decay=0.001)
    before = advance(model, ours, data[:9])
    ours.start_averaging()
    iterates = advance(model, ours, data[9:20])
    torch.testing.assert_close(before + iterates, advance(twin, torchs, data[:20]), rtol=0, atol=1e-14)
    with ours.averaged():
        mean = torch.stack(before[-1:] + iterates).mean(0)
        torch.testing.assert_close(vector(model), mean, rtol=0, atol=1e-12)


class Tied(nn.Module):
    """One matrix, by two names: embedding and softmax."""

    def __init__(self):
        super().__init__()
        self.embedding, self.softmax = nn.Embedding(7, 3), nn.Linear(3, 7, bias=False)
        self.softmax.weight = self.embedding.weight
        self.double()

    def forward(self, tokens):
        return self.softmax(self.embedding(tokens).tanh())


@pytest.mark.parametrize("listed", ["once", "twice"])
def test_a_tied_weight_takes_one_step_and_is_averaged_once(listed):
    torch.manual_seed(0)
    model, twin = Tied(), Tied()
    twin.load_state_dict(model.state_dict())
    torchs = torch.optim.SGD(twin.parameters(), lr=0.5, weight_decay=0.01)  # an nn.Module lists it once
    if listed == "once":
        ours = NTASGD(model.parameters(), lr=0.5, weight_decay=0.01)
    else:
        with pytest.warns(UserWarning, match="duplicate parameters"):  # torch's; the steps are right all the same
            ours = NTASGD([model.embedding.weight, model.softmax.weight], lr=0.5, weight_decay=0.01)
    iterates = [vector(model)]
    ours.start_averaging()
    for tokens in torch.randint(7, (20, 9)):
        for one, optimizer in ((model, ours), (twin, torchs)):
            optimizer.zero_grad()
            F.cross_entropy(one(tokens[:-1]), tokens[1:]).backward()
            optimizer.step()
        iterates.append(vector(model))
        torch.testing.assert_close(iterates[-1], vector(twin), rtol=0, atol=1e-14)
    with ours.averaged():
        torch.testing.assert_close(vector(model), torch.stack(iterates).mean(0), rtol=0, atol=1e-12)
        assert model.softmax.weight is model.embedding.weight
    assert vector(model).equal(iterates[-1])


def test_a_weight_without_gradient_stays_and_is_averaged_as_it_is():
    moving, frozen = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.ones(2))
    optimizer = NTASGD([frozen, moving], lr=1.0, weight_decay=0.5)
    optimizer.start_averaging()
    moving.grad = torch.ones(2)
    optimizer.step()
    assert frozen.tolist() == [1, 1] and moving.tolist() == [-1, -1]
    with optimizer.averaged():
        assert frozen.tolist() == [1, 1] and moving.tolist() == [-0.5, -0.5]


def test_averaging_started_again_begins_with_the_weights_of_that_moment():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    optimizer.start_averaging()
    iterates = advance(model, optimizer, data[:20])[-1:]
    optimizer.start_averaging()
    iterates += advance(model, optimizer, data[20:30])
    with optimizer.averaged():
        torch.testing.assert_close(vector(model), torch.stack(iterates).mean(0), rtol=0, atol=1e-12)


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


def test_no_worse_is_not_worse():
    assert not is_triggered([3.0, 3.0], 0) and is_triggered([3.0, 3.1], 0)
    assert not is_triggered([2.0, 1.0, 2.0], 1) and is_triggered([2.0, 1.0, 2.1], 1)


def test_triggers_are_counted_as_a_loop_that_forgets_its_history_does():
    rng, most = random.Random(6), 0
    for _ in range(300):
        patience, losses = rng.randrange(4), [rng.random() for _ in range(rng.randrange(25))]
        fired, rest = 0, losses
        while (epoch := original_trigger(rest, patience)) is not None:
            fired, rest = fired + 1, rest[epoch + 1 :]
        assert count_triggers(losses, patience) == fired
        most = max(most, fired)
    assert most > 5


def test_observe_begins_averaging_once_and_says_so_once():
    weight = nn.Parameter(torch.ones(1))
    optimizer = NTASGD([weight], lr=1.0, patience=1)
    assert optimizer.iterates_averaged == 0 and not optimizer.averaging
    assert [optimizer.observe(loss) for loss in (5.0, 4.0, 4.5, 4.2, 6.0, 7.0)] == [False] * 3 + [True, False, False]
    assert optimizer.averaging


@pytest.mark.parametrize(("values", "complaint"), [
    ({"lr": -1.0}, "lr is -1.0; .*cannot be negative"),
    ({"lr": float("nan")}, "lr is nan; .*cannot be negative"),
    ({"lr": 1, "weight_decay": -1}, "weight_decay is -1; .*cannot be negative"),
    ({"lr": 1, "patience": -1}, "patience is -1; .*cannot be negative"),
])  # fmt: skip
def test_impossible_settings_are_refused(values, complaint):
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        NTASGD([nn.Parameter(torch.ones(1))], **values)


def test_the_papers_patience_is_the_default_and_a_rate_of_zero_is_none():
    weight = nn.Parameter(torch.ones(1))
    assert NTASGD([weight], lr=1, patience=0).patience == 0
    optimizer = NTASGD([weight], lr=0)
    assert optimizer.patience == 5 and optimizer.param_groups[0]["weight_decay"] == 0
    weight.grad = torch.ones(1)
    optimizer.step()
    assert weight.item() == 1
