"""The zoo of weight drops: each has its own defect and no other, and PyTorch's own tool does what the chapter says."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from awdlib.contracts import check_weight_drop
from awdlib.exercises.weight_drop_zoo import DEFECTS, ZooLayer, with_way
from awdlib.model import LanguageModel, ModelConfig

BROKEN = {
    "right": [],
    "unread": ["drops something in training", "one mask for all time steps"],
    "new_parameter": ["the gradient reaches the raw weights"],
    "never_off": ["does nothing in evaluation", "in evaluation computes with the raw weights", "can be copied"],
    "drawn_once": ["drops something in training"],
    "borrowed": ["can be copied"],
}


def test_every_defect_is_in_the_zoo():
    assert {*BROKEN, "for_good"} == {"right", *DEFECTS}


@pytest.mark.parametrize("way", BROKEN)
def test_each_breaks_its_own_promises_and_no_other(way):
    assert check_weight_drop(partial(ZooLayer, way)).broken() == BROKEN[way]


def test_what_is_dropped_for_good_does_not_come_back():
    layer, x = ZooLayer("for_good", 0.5), torch.ones(3, 1, 6)
    shares = []
    for _ in range(3):
        layer(x)
        shares.append((layer.weight_hh == 0).float().mean().item())
    assert shares == pytest.approx([0.5, 0.75, 0.875], abs=0.06)
    assert not check_weight_drop(partial(ZooLayer, "for_good")).kept


def test_a_copy_of_the_borrowed_one_reads_the_original():
    layer, x = ZooLayer("borrowed", 0.5).eval(), torch.ones(3, 1, 6)
    before, _ = layer(x)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.weight_hh.zero_()
    assert twin(x)[0].equal(before)
    with torch.no_grad():
        layer.weight_hh.zero_()
    assert not twin(x)[0].equal(before)


@pytest.mark.parametrize("way", ["right", *DEFECTS])
def test_a_model_keeps_its_weights_and_computes_the_same_in_evaluation(way):
    config = ModelConfig(vocab_size=9, embedding_size=4, hidden_size=6, num_layers=2)
    model = LanguageModel(config).eval()
    twin = with_way(copy.deepcopy(model), way, 0.5).eval()
    for old, new in zip(model.layers, twin.layers, strict=True):
        assert (new.way, new.p, new.hidden_size) == (way, 0.5, old.hidden_size)
        assert all(one.equal(new.state_dict()[name]) for name, one in old.state_dict().items())
        x, state = torch.ones(3, 2, old.input_size), old.initial_state(2)
        assert new(x, state)[0].equal(old(x, state)[0]) == (way != "never_off")


@pytest.mark.parametrize(("arguments", "message"), [
    (("dropped", 0.5), "way is 'dropped'; it must be one of right, unread"), ((None, 0.5), "way is None"),
    ((["right"], 0.5), "way is"),
    (("right", 1.0), r"p is 1.0; it must lie in \[0, 1\)"), (("right", None), "p is None"),
    (("right", float("nan")), "p is nan"),
    (("right", 0.5, 0), "input_size is 0"), (("right", 0.5, 6, -1), "hidden_size"),
])  # fmt: skip
def test_the_zoo_refuses_what_it_does_not_have(arguments, message):
    with pytest.raises(ValueError, match=message):
        ZooLayer(*arguments)


def test_a_model_of_other_cells_is_refused():
    model = LanguageModel(ModelConfig(vocab_size=9, embedding_size=4, hidden_size=6, cell="gru"))
    with pytest.raises(ValueError, match="GRULayer; the zoo has LSTM layers only"):
        with_way(model, "right", 0.5)


def test_parametrize_draws_several_masks_a_window_uses_the_last_and_cannot_be_copied_in_training():
    drawn = []

    class Mask(nn.Module):
        def forward(self, weight):
            drawn.append(F.dropout(weight, 0.5, self.training))
            return drawn[-1]

    lstm, x = nn.LSTM(6, 20), torch.ones(3, 1, 6)
    parametrize.register_parametrization(lstm, "weight_hh_l0", Mask())
    lstm(x)
    drawn.clear()
    output, _ = lstm(x)
    assert len(drawn) > 1
    state = torch.zeros(1, 1, 20), torch.zeros(1, 1, 20)
    for mask in drawn:
        weights = [lstm.weight_ih_l0, mask, lstm.bias_ih_l0, lstm.bias_hh_l0]
        due = torch.lstm(x, state, weights, True, 1, 0.0, True, False, False)[0]
        assert torch.allclose(output, due) == (mask is drawn[-1])
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(lstm)
    lstm.eval()(x)
    copy.deepcopy(lstm)
