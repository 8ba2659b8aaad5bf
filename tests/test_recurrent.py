"""The LSTM layer: bitwise nn.LSTM in evaluation, its own masked twin in training."""

import copy
import pickle

import pytest
import torch
from torch import nn

from awdlib.dropout import keep_mask
from awdlib.recurrent import LSTMLayer, lstm_step

T, B, INPUTS, HIDDEN = 7, 3, 5, 4


def pair(dropout=0.5, dtype=torch.float32):
    """Our layer, and torch's with the same weights."""
    layer = LSTMLayer(INPUTS, HIDDEN, dropout, generator=torch.Generator().manual_seed(1)).to(dtype)
    oracle = nn.LSTM(INPUTS, HIDDEN).to(dtype)
    for name, weight in layer.named_parameters():
        getattr(oracle, f"{name}_l0").data.copy_(weight.data)
    return layer, oracle


def inputs(dtype=torch.float32):
    generator = torch.Generator().manual_seed(2)
    draw = [
        torch.randn(*shape, generator=generator, dtype=dtype) for shape in ((T, B, INPUTS), (B, HIDDEN), (B, HIDDEN))
    ]
    return draw[0].requires_grad_(), (draw[1], draw[2])


def run_oracle(oracle, x, state):
    outputs, (h, c) = oracle(x, (state[0][None], state[1][None]))
    return outputs, (h[0], c[0])


def test_evaluation_is_bitwise_torchs_lstm():
    layer, oracle = pair()
    x, state = inputs()
    with torch.no_grad():
        ours, theirs = layer.eval()(x, state), run_oracle(oracle.eval(), x, state)
    assert ours[0].equal(theirs[0]) and ours[1][0].equal(theirs[1][0]) and ours[1][1].equal(theirs[1][1])


@pytest.mark.parametrize("training", [True, False])
def test_gradients_without_dropout_are_torchs(training):
    layer, oracle = pair(dropout=0.0, dtype=torch.float64)
    layer.train(training), oracle.train(training)
    for module, run in ((layer, layer), (oracle, lambda x, state: run_oracle(oracle, x, state))):
        x, state = inputs(torch.float64)
        outputs, (h, c) = run(x, state)
        (outputs.sin().sum() + h.cos().sum() + c.sum()).backward()
        module.grad_of_x = x.grad
    torch.testing.assert_close(layer.grad_of_x, oracle.grad_of_x)
    for name, weight in layer.named_parameters():
        torch.testing.assert_close(weight.grad, getattr(oracle, f"{name}_l0").grad)


def test_the_step_repeated_is_the_layer():
    layer, _ = pair(dropout=0.0, dtype=torch.float64)
    x, state = inputs(torch.float64)
    outputs, last = layer(x, state)
    by_steps = []
    for frame in x:
        state = lstm_step(frame, state, layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh)
        by_steps.append(state[0])
    torch.testing.assert_close(outputs, torch.stack(by_steps))
    torch.testing.assert_close(last, state)


def test_one_mask_a_window_reaches_every_time_step():
    """With the layer's own mask put into the plain step by hand, training outputs are equal; without, they are not."""
    layer, _ = pair(dropout=0.5, dtype=torch.float64)
    x, state = inputs(torch.float64)
    outputs, _ = layer.train()(x, state, generator=torch.Generator().manual_seed(7))
    mask = keep_mask((4 * HIDDEN, HIDDEN), 0.5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for weight, equal in ((layer.weight_hh * mask, True), (layer.weight_hh, False)):
        step_state, by_steps = state, []
        for frame in x:
            step_state = lstm_step(frame, step_state, layer.weight_ih, weight, layer.bias_ih, layer.bias_hh)
            by_steps.append(step_state[0])
        assert torch.allclose(outputs, torch.stack(by_steps)) is equal


def test_the_gradient_reaches_the_raw_weight_and_is_zero_exactly_where_masked():
    layer, _ = pair(dropout=0.5)
    x, state = inputs()
    layer.train()(x, state, generator=torch.Generator().manual_seed(7))[0].sum().backward()
    mask = keep_mask((4 * HIDDEN, HIDDEN), 0.5, generator=torch.Generator().manual_seed(7))
    assert (layer.weight_hh.grad != 0).equal(mask != 0)
    assert all((weight.grad != 0).any() for weight in layer.parameters())


def test_gradcheck_with_the_mask_fixed():
    layer, _ = pair(dropout=0.3, dtype=torch.float64)
    x, state = inputs(torch.float64)

    def run(x, *weights):
        outputs, (h, c) = torch.func.functional_call(
            layer, dict(zip(dict(layer.named_parameters()), weights, strict=True)), (x, state),
            {"generator": torch.Generator().manual_seed(7)},
        )  # fmt: skip
        return outputs, h, c

    assert torch.autograd.gradcheck(run, (x, *layer.parameters()))


def test_masks_are_fresh_in_training_and_absent_in_evaluation():
    layer, _ = pair()
    x, state = inputs()
    first, second = (layer.train()(x, state)[0] for _ in range(2))
    assert not first.equal(second)
    assert layer.eval()(x, state)[0].equal(layer(x, state)[0])
    layer.train()(x, state)[0].sum().backward()  # training after evaluation works


def test_copies_pickles_and_states_behave_like_the_layer():
    layer, _ = pair()
    x, state = inputs()
    layer.train()(x, state)[0].sum().backward()  # copies work in mid-training too
    saved = LSTMLayer(INPUTS, HIDDEN, 0.5)
    saved.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), saved):
        assert twin.eval()(x, state)[0].equal(layer.eval()(x, state)[0])


def test_an_impossible_probability_is_refused():
    with pytest.raises(ValueError, match="weight_dropout is 1.0"):
        LSTMLayer(3, 3, 1.0)
