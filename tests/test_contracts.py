"""The contracts of layers and penalties: the library keeps them, known broken implementations do not."""

from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from awdlib.contracts import (
    check_activation_regularization,
    check_embedding_dropout,
    check_locked_dropout,
    check_temporal_activation_regularization,
    check_weight_drop,
    check_weight_dropout,
)
from awdlib.dropout import embedding_dropout, locked_dropout, weight_dropout
from awdlib.penalties import activation_regularization, temporal_activation_regularization
from awdlib.recurrent import LAYERS, LSTMLayer, lstm_step

INPUTS, HIDDEN = 6, 16


class FromZero(nn.Module):
    """One of the library's layers, begun at a zero state."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x, self.layer.initial_state(x.shape[1]))


#: every promise of each contract, in the order in which it is looked at: one that went missing must be missed
PROMISES = {
    "locked": [
        "returns a tensor of its input's shape", "leaves its input untouched", "does nothing in evaluation",
        "does nothing at p = 0", "drops something in training", "scales what it keeps by 1/(1 - p)",
        "one decision for all time steps", "separate decisions for different sequences",
        "separate decisions for different features", "drops a share of about p (here 0.5)",
        "a fresh mask at each call", "lets the gradient through where it keeps, and only there",
    ],
    "embedding": [
        "returns a tensor of its input's shape", "leaves its input untouched", "does nothing in evaluation",
        "does nothing at p = 0", "drops something in training", "scales what it keeps by 1/(1 - p)",
        "one decision for all features of a word", "separate decisions for different words",
        "drops a share of about p (here 0.3)", "a fresh mask at each call",
        "lets the gradient through where it keeps, and only there",
    ],
    "weight": [
        "returns a tensor of its input's shape", "leaves its input untouched", "does nothing in evaluation",
        "does nothing at p = 0", "drops something in training", "scales what it keeps by 1/(1 - p)",
        "separate decisions for different rows", "separate decisions for different columns",
        "drops a share of about p (here 0.5)", "a fresh mask at each call",
        "lets the gradient through where it keeps, and only there",
    ],
    "penalty": [
        "has the value of the closed form", "is nothing at weight 0", "its gradient reaches the output",
        "is right on an output that never changes",
    ],
    "layer": [
        "drops something in training", "leaves the way from input to state alone", "one mask for all sequences",
        "does nothing in evaluation", "in evaluation computes with the raw weights",
        "the gradient reaches the raw weights", "one mask for all time steps", "can be copied",
    ],
}  # fmt: skip
REPORTS = {
    "locked": lambda: [check_locked_dropout(locked_dropout)],
    "embedding": lambda: [check_embedding_dropout(embedding_dropout)],
    "weight": lambda: [check_weight_dropout(weight_dropout)],
    "penalty": lambda: [
        check_activation_regularization(activation_regularization),
        check_temporal_activation_regularization(temporal_activation_regularization),
    ],
    "layer": lambda: [check_weight_drop(Wild), check_weight_drop(lambda p: FromZero(LSTMLayer(INPUTS, HIDDEN, p)))],
}


@pytest.mark.parametrize("contract", PROMISES)
def test_every_promise_is_looked_at_and_the_library_keeps_it(contract):
    for report in REPORTS[contract]():
        assert [promise.text for promise in report.promises] == PROMISES[contract]
        assert all(promise.kept is True and len(promise.hint) > 10 for promise in report.promises)
        assert type(report.promises) is tuple and report.kept is True and report.broken() == []
        assert repr(report) == "\n".join(f"✓ {text}" for text in PROMISES[contract])


def test_a_layer_without_gradients_is_looked_at_to_the_end():
    assert check_weight_drop(WithoutGraph).broken() == ["the gradient reaches the raw weights"]


def test_what_was_found_is_frozen_and_shown_with_its_hint():
    report = check_activation_regularization(lambda h, weight: weight * h.square().sum())
    with pytest.raises(FrozenInstanceError):
        report.promises = ()
    with pytest.raises(FrozenInstanceError):
        report.promises[0].kept = True
    assert report.kept is False and all(type(promise.kept) is bool for promise in report.promises)
    first, hint = repr(report).splitlines()[:2]
    assert first == "✗ has the value of the closed form" and hint == f"    hint: {report.promises[0].hint}"


def test_the_same_code_gets_the_same_report_whatever_was_drawn_before():
    def too_many(w, p, training):
        return weight_dropout(w, 0.7, training) * 0.6 if training and p else w

    reports = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        reports.append(repr(check_weight_dropout(too_many)))
    assert reports[0] == reports[1] and "% was dropped" in reports[0]


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("p", [0.02, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("inputs", [INPUTS, HIDDEN], ids=["narrow", "square"])  # square: weight_ih looks like weight_hh
def test_the_librarys_layers_keep_the_contract(cell, p, inputs):
    report = check_weight_drop(lambda p: FromZero(LAYERS[cell](inputs, HIDDEN, p)), inputs, p)
    assert report.kept, report


class Wild(nn.Module):
    """An LSTM with weight drop as it is found in the wild; subclasses carry one defect each."""

    def __init__(self, p):
        super().__init__()
        self.p, self.lstm = p, nn.LSTM(INPUTS, HIDDEN)

    def masked(self):
        return {"weight_hh_l0": weight_dropout(self.lstm.weight_hh_l0, self.p, self.training)}

    def forward(self, x):
        return torch.func.functional_call(self.lstm, self.masked(), (x,))


class OutputsOnly(Wild):
    """Returns no state."""

    def forward(self, x):
        return super().forward(x)[0]


class KeepsItsMask(Wild):
    """Has room for a mask, and only where there is one: its state without dropout is another."""

    def __init__(self, p):
        super().__init__(p)
        if p > 0:
            self.register_buffer("mask", torch.ones(4 * HIDDEN, HIDDEN))


def used_before(p):
    layer = Wild(p).eval()
    layer(torch.randn(3, 2, INPUTS))[0].sum().backward()  # gradients of its own, and in evaluation mode
    return layer


@pytest.mark.parametrize("make", [Wild, OutputsOnly, KeepsItsMask, used_before])
def test_sound_layers_of_another_make_keep_the_contract(make):
    report = check_weight_drop(make)
    assert report.kept, report


class Inactive(Wild):
    """The mask is put where a newer framework no longer looks."""

    def forward(self, x):
        self.raw = self.masked()
        return self.lstm(x)


class AlwaysOn(Wild):
    """Forgets to switch off."""

    def masked(self):
        return {"weight_hh_l0": weight_dropout(self.lstm.weight_hh_l0, self.p, True)}


class NoGradient(Wild):
    """The mask is put on a copy of the data: nothing is learned."""

    def masked(self):
        return {"weight_hh_l0": weight_dropout(self.lstm.weight_hh_l0.data, self.p, self.training)}


class WrongMatrix(Wild):
    """Drops the way from the input too."""

    def masked(self):
        names = ("weight_hh_l0", "weight_ih_l0")
        return {name: weight_dropout(getattr(self.lstm, name), self.p, self.training) for name in names}


class FreshEachStep(Wild):
    """Another mask at every time step."""

    def forward(self, x):
        state, weights = (x.new_zeros(x.shape[1], HIDDEN),) * 2, self.lstm
        outputs = []
        for frame in x:
            masked = self.masked()["weight_hh_l0"]
            state = lstm_step(frame, state, weights.weight_ih_l0, masked, weights.bias_ih_l0, weights.bias_hh_l0)
            outputs.append(state[0])
        return torch.stack(outputs), state


class Rescaled(Wild):
    """Corrects for dropout in evaluation, although training has done so already."""

    def masked(self):
        masked = super().masked()
        return masked if self.training else {name: weight * (1 - self.p) for name, weight in masked.items()}


class HiddenNotWeights(Wild):
    """Drops the outputs instead, a mask a sequence."""

    def forward(self, x):
        outputs, state = self.lstm(x)
        return F.dropout(outputs, self.p, self.training), state


class TooMany(Wild):
    """Drops a tenth more than it was told."""

    def masked(self):
        return {"weight_hh_l0": weight_dropout(self.lstm.weight_hh_l0, self.p and self.p + 0.1, self.training)}


class WithoutGraph(Wild):
    """Cannot be trained at all."""

    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class MaskPerSequence(Wild):
    """Another mask for each sequence: not what one matrix product can do, and not DropConnect of Merity et al."""

    def forward(self, x):
        alone = [super(MaskPerSequence, self).forward(x[:, b : b + 1])[0] for b in range(x.shape[1])]
        return torch.cat(alone, dim=1), None


class LosesWeights(Wild):
    """A copy begins with weights of its own."""

    def __deepcopy__(self, memo):
        return LosesWeights(self.p)


class ReadsTheFirst(Wild):
    """Its mask is made by a function that it keeps; a deep copy keeps the same function, which reads the original."""

    def __init__(self, p):
        super().__init__(p)
        self.of = lambda: weight_dropout(self.lstm.weight_hh_l0, self.p, self.training)

    def masked(self):
        return {"weight_hh_l0": self.of()}


class SharesAWeight(Wild):
    """A copy has its input weights in common with the original."""

    def __deepcopy__(self, memo):
        twin = type(self)(self.p).train(self.training)
        twin.load_state_dict(self.state_dict())
        twin.lstm.weight_ih_l0 = self.lstm.weight_ih_l0
        return twin


class NotInTheState(Wild):
    """Its recurrent matrix is learned, and is missing from what is saved."""

    def __init__(self, p):
        super().__init__(p)
        self.raw = [nn.Parameter(self.lstm.weight_hh_l0.detach().clone())]
        del self.lstm.weight_hh_l0
        self.lstm.weight_hh_l0 = None

    def forward(self, x):
        self.lstm.weight_hh_l0 = weight_dropout(self.raw[0], self.p, self.training)
        return self.lstm(x)


def test_a_look_at_a_copy_leaves_the_layer_with_its_weights():
    layer = Wild(0.5)
    before = [weight.detach().clone() for weight in layer.parameters()]
    check_weight_drop(lambda p: layer)
    assert all(weight.equal(was) for weight, was in zip(layer.parameters(), before, strict=True))


@pytest.mark.parametrize("broken", [ReadsTheFirst, SharesAWeight])
def test_a_copy_that_shares_a_weight_with_its_original_breaks_that_promise_alone(broken):
    report = check_weight_drop(broken)
    assert report.broken() == ["can be copied"] and "shares a weight" in repr(report)


@pytest.mark.parametrize(("broken", "promise"), [
    (NotInTheState, "in evaluation computes with the raw weights"),
    (Inactive, "drops something in training"), (AlwaysOn, "does nothing in evaluation"),
    (NoGradient, "the gradient reaches the raw weights"), (WrongMatrix, "leaves the way from input to state alone"),
    (FreshEachStep, "one mask for all time steps"), (Rescaled, "in evaluation computes with the raw weights"),
    (TooMany, "one mask for all time steps"), (WithoutGraph, "the gradient reaches the raw weights"),
    (MaskPerSequence, "one mask for all sequences"), (LosesWeights, "can be copied"),
    (HiddenNotWeights, "leaves the way from input to state alone"),
    (lambda p: LSTMLayer(INPUTS, HIDDEN, p), "runs to the end"),
])  # fmt: skip
def test_the_contract_rejects_layers_that_are_broken(broken, promise):
    report = check_weight_drop(broken)
    assert promise in report.broken(), report
    assert "hint: " in repr(report)


def test_the_librarys_penalties_keep_their_contracts():
    assert check_activation_regularization(activation_regularization).kept
    assert check_temporal_activation_regularization(temporal_activation_regularization).kept


@pytest.mark.parametrize("broken", [
    lambda h, weight: weight * h.square().sum(), lambda h, weight: weight * h.norm(),
    lambda h, weight: weight * h.mean(),
    lambda h, weight: weight * h.detach().square().mean(), lambda h, weight: h.square().mean(),
    lambda h, weight: weight * h[-1].square().mean(), temporal_activation_regularization, lambda h, weight: 0.0,
])  # fmt: skip
def test_wrong_activation_regularization_is_rejected(broken):
    assert not check_activation_regularization(broken).kept


def test_a_penalty_computed_from_something_else_is_told_so():
    elsewhere = nn.Parameter(torch.zeros(()))
    for check, right in (
        (check_activation_regularization, activation_regularization),
        (check_temporal_activation_regularization, temporal_activation_regularization),
    ):
        report = check(lambda h, weight, right=right: right(h.detach(), weight) + (0 * elsewhere if weight else 0))
        assert report.broken() == ["its gradient reaches the output"]
        report = check(lambda h, weight, right=right: right(h.detach(), weight))
        assert report.broken() == ["its gradient reaches the output"]


@pytest.mark.parametrize("broken", [
    lambda h, weight: weight * (h[:, 1:] - h[:, :-1]).square().mean(),  # over sequences instead of time
    lambda h, weight: weight * (h[1:] - h[:-1]).square().sum(), lambda h, weight: weight * (h[1:] - h[:-1]).mean(),
    lambda h, weight: weight * (h[1:] - h[:-1].detach()).square().mean(), activation_regularization,
])  # fmt: skip
def test_wrong_temporal_activation_regularization_is_rejected(broken):
    assert not check_temporal_activation_regularization(broken).kept
