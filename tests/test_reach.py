"""How far back an error reaches: Jacobians against autograd, products in order, and a model's reach."""

import pytest
import torch
from torch.nn import functional as F

from awdlib.model import LanguageModel, ModelConfig
from awdlib.reach import loss_reach, lstm_journey, product_norms, rnn_journey

HIDDEN, STEPS = 5, 7


def drawn(blocks):
    generator = torch.Generator().manual_seed(blocks)
    inputs = torch.randn(STEPS, blocks * HIDDEN, dtype=torch.float64, generator=generator)
    return inputs, torch.randn(blocks * HIDDEN, HIDDEN, dtype=torch.float64, generator=generator)


def lstm_state(inputs, weight, state):
    h, c = state.chunk(2)
    i, f, g, o = (inputs + weight @ h).chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.cat([o.sigmoid() * c.tanh(), c])


@pytest.mark.parametrize(("blocks", "journey", "step", "size"), [
    (4, lstm_journey, lstm_state, 2 * HIDDEN),
    (1, rnn_journey, lambda x, u, h: torch.tanh(x + u @ h), HIDDEN),
])  # fmt: skip
def test_states_and_jacobians_are_those_of_the_step_written_down(blocks, journey, step, size):
    inputs, weight = drawn(blocks)
    made, state = journey(inputs, weight), torch.zeros(size, dtype=torch.float64)
    for t in range(STEPS):
        exact = torch.autograd.functional.jacobian(lambda before, t=t: step(inputs[t], weight, before), state)
        torch.testing.assert_close(made.jacobians[t], exact)
        state = step(inputs[t], weight, state)
        torch.testing.assert_close(made.states[t], state)


def test_an_lstms_forget_gates_are_given():
    inputs, weight = drawn(4)
    made = lstm_journey(inputs, weight)
    before = torch.cat([torch.zeros(1, HIDDEN, dtype=torch.float64), made.states[:-1, :HIDDEN]])
    expected = (inputs + before @ weight.t())[:, HIDDEN : 2 * HIDDEN].sigmoid()
    torch.testing.assert_close(made.forget, expected)


def test_norms_are_of_the_products_in_the_order_of_the_chain_rule():
    jacobians = torch.randn(4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    norms, part = product_norms(jacobians), product_norms(jacobians, slice(3, None))
    for k in range(1, 5):
        product = torch.linalg.multi_dot([*jacobians.flip(0)[:k], torch.eye(6, dtype=torch.float64)])
        assert norms[k - 1].item() == pytest.approx(torch.linalg.svdvals(product)[0].item())
        assert part[k - 1].item() == pytest.approx(torch.linalg.svdvals(product[3:, 3:])[0].item())


@pytest.mark.parametrize("cell", ["lstm", "rnn", "gru"])
def test_reach_is_the_gradient_of_the_loss_at_each_distance(cell):
    torch.manual_seed(2)
    config = ModelConfig(vocab_size=20, embedding_size=4, hidden_size=6, num_layers=2, cell=cell)
    model, text = LanguageModel(config), torch.randint(20, (30,))
    reach = loss_reach(model, text, distance=3, samples=2)
    assert model.training and all(weight.grad is None for weight in model.parameters())
    model.eval()
    expected = torch.zeros(4)
    for start in (0, len(text) - 8):
        x = model.embedding.detach()[text[start : start + 7], None].requires_grad_()
        hidden = x
        for layer in model.layers:
            hidden, _ = layer(hidden, layer.initial_state(1))
        logits = F.linear(hidden[-1], *model.decoder())
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, text[start + 7 : start + 8]), x)
        expected += gradient[:, 0].norm(dim=1).flip(0)[:4] / 2
    torch.testing.assert_close(reach, expected)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: rnn_journey(torch.ones(3, 4), torch.ones(5, 5)), "inputs is"),
    (lambda: lstm_journey(torch.ones(3, 4), torch.ones(5, 5)), "weight_hh is"),
    (lambda: rnn_journey(torch.ones(3, 4), None), "weight_hh is None; it must be a tensor"),
    (lambda: rnn_journey(torch.ones(3, 4), torch.tensor(1.0)), "weight_hh has shape"),
    (lambda: rnn_journey(torch.ones(3, 4).double(), torch.ones(4, 4)), "weight_hh holds torch.float32"),
    (lambda: lstm_journey(torch.ones(0, 4), torch.ones(4, 1)), "a row a step"),
    (lambda: product_norms(None), "jacobians is None"), (lambda: product_norms(torch.eye(3)), "jacobians has shape"),
    (lambda: product_norms(torch.ones(2, 3, 4)), "a square matrix for each step"),
    (lambda: product_norms(torch.ones(0, 3, 3)), "a square matrix for each step"),
    (lambda: loss_reach(LanguageModel(ModelConfig(vocab_size=9, hidden_size=4)), torch.rand(9), 4), "use .long"),
    (lambda: loss_reach(LanguageModel(ModelConfig(vocab_size=9, hidden_size=4)), torch.arange(99), 4, 3), "has 0 to 8"),
    (lambda: loss_reach(LanguageModel(ModelConfig(vocab_size=9, hidden_size=4)), torch.arange(9), 4), "the text has 9"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
