"""The contracts of layers and penalties: the library keeps them, known broken implementations do not."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from awdlib.contracts import (
    check_activation_regularization,
    check_temporal_activation_regularization,
    check_weight_drop,
)
from awdlib.dropout import weight_dropout
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


@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("p", [0.2, 0.5])
def test_the_librarys_layers_keep_the_contract(cell, p):
    report = check_weight_drop(lambda p: FromZero(LAYERS[cell](INPUTS, HIDDEN, p)), INPUTS, p)
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


def test_a_sound_layer_of_another_make_keeps_the_contract():
    report = check_weight_drop(Wild)
    assert report.kept, report


@pytest.mark.parametrize(("broken", "promise"), [
    (Inactive, "drops something in training"), (AlwaysOn, "does nothing in evaluation"),
    (NoGradient, "the gradient reaches the raw weights"), (WrongMatrix, "leaves the way from input to state alone"),
    (FreshEachStep, "one mask for all time steps"), (Rescaled, "in evaluation computes with the raw weights"),
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


@pytest.mark.parametrize("broken", [
    lambda h, weight: weight * (h[:, 1:] - h[:, :-1]).square().mean(),  # over sequences instead of time
    lambda h, weight: weight * (h[1:] - h[:-1]).square().sum(), lambda h, weight: weight * (h[1:] - h[:-1]).mean(),
    lambda h, weight: weight * (h[1:] - h[:-1].detach()).square().mean(), activation_regularization,
])  # fmt: skip
def test_wrong_temporal_activation_regularization_is_rejected(broken):
    assert not check_temporal_activation_regularization(broken).kept
