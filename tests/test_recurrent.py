"""LSTM and GRU layers: bitwise torch's own in evaluation, their own masked twins in training."""

import copy
import pickle
import runpy
import warnings

import pytest
import torch
from torch import nn

from awdlib import recurrent
from awdlib.dropout import keep_mask
from awdlib.recurrent import LAYERS, STEPS, LSTMLayer, RecurrentLayer

T, B, INPUTS, HIDDEN = 7, 3, 5, 4
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@pytest.fixture(params=GATES)  # the names themselves: a layer that went missing must be missed
def cell(request):
    return request.param


def pair(cell, dropout=0.5, dtype=torch.float32):
    """Our layer, and torch's with the same weights."""
    layer = LAYERS[cell](INPUTS, HIDDEN, dropout, generator=torch.Generator().manual_seed(1)).to(dtype)
    oracle = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell](INPUTS, HIDDEN).to(dtype)
    for name, weight in layer.named_parameters():
        getattr(oracle, f"{name}_l0").data.copy_(weight.data)
    return layer, oracle


def inputs(cell, dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    parts = LAYERS[cell].parts
    x, *state = (
        torch.randn(*shape, generator=generator, dtype=dtype) for shape in ((T, B, INPUTS), *[(B, HIDDEN)] * parts)
    )
    return x.requires_grad_(), tuple(state)


def run_oracle(oracle, x, state):
    stacked = tuple(part[None] for part in state)
    outputs, last = oracle(x, stacked if len(state) == 2 else stacked[0])
    return outputs, tuple(part[0] for part in (last if len(state) == 2 else [last]))


def by_steps(cell, layer, x, state, weight_hh):
    outputs = []
    for frame in x:
        state = STEPS[cell](frame, state, layer.weight_ih, weight_hh, layer.bias_ih, layer.bias_hh)
        outputs.append(state[0])
    return torch.stack(outputs), state


def test_evaluation_is_bitwise_torchs(cell):
    layer, oracle = pair(cell)
    x, state = inputs(cell)
    with torch.no_grad():
        ours, theirs = layer.eval()(x, state), run_oracle(oracle.eval(), x, state)
    assert ours[0].equal(theirs[0])
    assert all(one.equal(other) for one, other in zip(ours[1], theirs[1], strict=True))


@pytest.mark.parametrize("training", [True, False])
def test_gradients_without_dropout_are_torchs(cell, training):
    layer, oracle = pair(cell, dropout=0.0, dtype=torch.float64)
    layer.train(training), oracle.train(training)
    for module, run in ((layer, layer), (oracle, lambda x, state: run_oracle(oracle, x, state))):
        x, state = inputs(cell, torch.float64)
        outputs, last = run(x, state)
        (outputs.sin().sum() + sum(part.cos().sum() for part in last)).backward()
        module.grad_of_x = x.grad
    torch.testing.assert_close(layer.grad_of_x, oracle.grad_of_x)
    for name, weight in layer.named_parameters():
        torch.testing.assert_close(weight.grad, getattr(oracle, f"{name}_l0").grad)


def test_the_step_repeated_is_the_layer(cell):
    layer, _ = pair(cell, dropout=0.0, dtype=torch.float64)
    x, state = inputs(cell, torch.float64)
    torch.testing.assert_close(layer(x, state), by_steps(cell, layer, x, state, layer.weight_hh))


def test_one_mask_a_window_reaches_every_time_step(cell):
    """With the layer's own mask put into the plain step by hand, training outputs are equal; without, they are not."""
    layer, _ = pair(cell, dropout=0.5, dtype=torch.float64)
    x, state = inputs(cell, torch.float64)
    outputs, _ = layer.train()(x, state, generator=torch.Generator().manual_seed(7))
    shape = (GATES[cell] * HIDDEN, HIDDEN)
    mask = keep_mask(shape, 0.5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for weight, equal in ((layer.weight_hh * mask, True), (layer.weight_hh, False)):
        assert torch.allclose(outputs, by_steps(cell, layer, x, state, weight)[0]) is equal


def test_the_gradient_reaches_the_raw_weight_and_is_zero_exactly_where_masked(cell):
    layer, _ = pair(cell, dropout=0.5)
    x, state = inputs(cell)
    layer.train()(x, state, generator=torch.Generator().manual_seed(7))[0].sum().backward()
    mask = keep_mask((GATES[cell] * HIDDEN, HIDDEN), 0.5, generator=torch.Generator().manual_seed(7))
    assert (layer.weight_hh.grad != 0).equal(mask != 0)
    assert all((weight.grad != 0).any() for weight in layer.parameters())


def test_gradcheck_with_the_mask_fixed(cell):
    layer, _ = pair(cell, dropout=0.3, dtype=torch.float64)
    x, state = inputs(cell, torch.float64)

    def run(x, *weights):
        named = dict(zip(dict(layer.named_parameters()), weights, strict=True))
        generator = {"generator": torch.Generator().manual_seed(7)}
        outputs, last = torch.func.functional_call(layer, named, (x, state), generator)
        return outputs, *last

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


def test_masks_are_fresh_in_training_and_absent_in_evaluation(cell):
    layer, _ = pair(cell)
    x, state = inputs(cell)
    first, second = (layer.train()(x, state)[0] for _ in range(2))
    assert not first.equal(second)
    assert layer.eval()(x, state)[0].equal(layer(x, state)[0])


def test_training_goes_on_after_evaluation_as_if_there_had_been_none(cell):
    layer, _ = pair(cell)
    x, state = inputs(cell)

    def train():
        layer.zero_grad()
        outputs, _ = layer.train()(x, state, generator=torch.Generator().manual_seed(7))
        outputs.sin().sum().backward()
        return [outputs.detach(), *(weight.grad.clone() for weight in layer.parameters())]

    before = train()
    evaluated = layer.eval()(x, state)[0]
    evaluated.sum().backward()  # evaluation can be differentiated as well
    assert not evaluated.equal(before[0])
    assert all(one.equal(other) for one, other in zip(before, train(), strict=True))


def test_a_layer_begins_within_its_bound_at_zero_states_and_without_dropout(cell):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    layer, again = (LAYERS[cell](30, 64, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert before.equal(torch.get_rng_state())
    for weight, same in zip(layer.parameters(), again.parameters(), strict=True):
        assert weight.equal(same) and 0.95 / 8 < weight.max() <= 1 / 8 and -1 / 8 <= weight.min() < -0.95 / 8
    assert not next(LAYERS[cell](30, 64).parameters()).equal(next(LAYERS[cell](30, 64).parameters()))
    state = layer.double().initial_state(3)
    assert type(state) is tuple
    assert [(part.shape, part.dtype, part.any().item()) for part in state] == [
        ((3, 64), torch.float64, False)
    ] * LAYERS[cell].parts
    assert {part.device.type for part in layer.to("meta").initial_state(3)} == {"meta"}
    assert layer.weight_dropout == 0
    assert repr(LAYERS[cell](30, 64, 0.25)) == f"{LAYERS[cell].__name__}(30, 64, weight_dropout=0.25)"


def test_cudnns_warning_about_memory_is_silenced_and_no_other():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runpy.run_path(recurrent.__file__)
        warnings.warn("RNN module weights are not part of single contiguous chunk of memory. This means …")  # noqa: B028
        with pytest.raises(UserWarning, match="other"):
            warnings.warn("other")  # noqa: B028


def test_copies_pickles_and_states_behave_like_the_layer_and_are_independent_of_it(cell):
    layer, _ = pair(cell)
    x, state = inputs(cell)
    layer.train()(x, state)[0].sum().backward()  # copies work in mid-training too
    assert [*layer.state_dict()] == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]  # the raw weights, and no mask
    saved = LAYERS[cell](INPUTS, HIDDEN, 0.5)
    saved.load_state_dict(layer.state_dict())
    twins = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), saved]
    in_training = layer(x, state, generator=torch.Generator().manual_seed(7))[0]
    evaluated = layer.eval()(x, state)[0]
    for twin in twins:
        assert twin.training and twin.weight_dropout == 0.5
        assert twin(x, state, generator=torch.Generator().manual_seed(7))[0].equal(in_training)
        assert twin.eval()(x, state)[0].equal(evaluated)
        twin.weight_hh.data.zero_()
        assert not twin(x, state)[0].equal(evaluated), "the copy computes with its own weights"
    assert layer(x, state)[0].equal(evaluated)


def test_an_impossible_probability_is_refused():
    with pytest.raises(ValueError, match="^weight_dropout is 1.0; it must lie in"):
        LSTMLayer(3, 3, 1.0)


def test_the_common_base_is_not_a_layer():
    with pytest.raises(TypeError, match="abstract"):
        RecurrentLayer(3, 3)
