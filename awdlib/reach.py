"""How far back an error reaches: the factors that it meets on its way through time, and their product.

An error at step T changes the state of step s by the product of the Jacobians of all steps in between (Bengio, Simard
and Frasconi 1994; Pascanu, Mikolov and Bengio 2013). Here are the Jacobians of the simple network and of the LSTM in
closed form, the size of their products, and the reach of a trained model's loss.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.model import LanguageModel
from awdlib.recurrent import State, lstm_step, rnn_step


class Journey(NamedTuple):
    """What one sequence does to a layer's state, step by step; T = steps, S = size of the state.

    Example:
        >>> import torch
        >>> from awdlib.reach import rnn_journey
        >>> journey = rnn_journey(torch.zeros(6, 3), torch.eye(3))
        >>> journey.states.shape, journey.jacobians[0].equal(torch.eye(3))
        (torch.Size([6, 3]), True)
    """

    states: Tensor  #: (T, S): h after each step; of an LSTM h and c, one behind the other
    jacobians: Tensor  #: (T, S, S): of each state by the state before
    forget: Tensor | None  #: (T, hidden_size): an LSTM's forget gates


def rnn_journey(inputs: Tensor, weight_hh: Tensor) -> Journey:
    """A simple recurrent network (Elman 1990) from a zero state: its Jacobians are diag(1 - h²) U.

    Args:
        inputs: (T, hidden_size), what is added at each step: W x + b.
        weight_hh: (hidden_size, hidden_size).

    Returns:
        states and Jacobians.

    Raises:
        ValueError: a shape is none of these.

    Example:
        Where tanh is steepest, the Jacobian is the matrix itself:

        >>> import torch
        >>> from awdlib.reach import rnn_journey
        >>> rnn_journey(torch.zeros(2, 3), 0.9 * torch.eye(3)).jacobians[1, 0]
        tensor([0.9000, 0.0000, 0.0000])
    """
    hidden_size = _hidden_size(inputs, weight_hh, blocks=1)
    nothing, identity = inputs.new_zeros(hidden_size), torch.eye(hidden_size, dtype=inputs.dtype)
    state: State = (inputs.new_zeros(1, hidden_size),)
    states = []
    for x in inputs:
        state = rnn_step(x[None], state, identity, weight_hh, nothing, nothing)
        states.append(state[0][0])
    h = torch.stack(states)
    return Journey(h, (1 - h**2).unsqueeze(2) * weight_hh, None)


def lstm_journey(inputs: Tensor, weight_hh: Tensor) -> Journey:
    """An LSTM (Gers et al. 2000) from a zero state, with the Jacobian of (h, c) by (h, c) of the step before.

    With the errors that enter the gates as in `awdlib.bptt`, one block each::

        dc/dc' = diag(f)        dc/dh' = diag(c' f(1-f)) U_f + diag(g i(1-i)) U_i + diag(i (1-g²)) U_g
        dh/dc' = s dc/dc'       dh/dh' = s dc/dh' + diag(tanh(c) o(1-o)) U_o          s = diag(o (1 - tanh²(c)))

    Args:
        inputs: (T, 4 * hidden_size), what is added to the gates i, f, g, o at each step: W x + b.
        weight_hh: (4 * hidden_size, hidden_size).

    Returns:
        states (T, 2 * hidden_size), Jacobians, and forget gates.

    Raises:
        ValueError: a shape is none of these.

    Example:
        Without recurrent weights nothing but the forget gates leads from cell to cell:

        >>> import torch
        >>> from awdlib.reach import lstm_journey
        >>> journey = lstm_journey(torch.zeros(5, 8), torch.zeros(8, 2))
        >>> journey.jacobians[-1, 2:, 2:]
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    hidden_size = _hidden_size(inputs, weight_hh, blocks=4)
    nothing, identity = inputs.new_zeros(4 * hidden_size), torch.eye(4 * hidden_size, dtype=inputs.dtype)
    state: State = (inputs.new_zeros(1, hidden_size),) * 2
    befores, afters = [], []
    for x in inputs:
        befores.append(torch.cat(state, dim=1)[0])
        state = lstm_step(x[None], state, identity, weight_hh, nothing, nothing)
        afters.append(torch.cat(state, dim=1)[0])
    before, after = torch.stack(befores), torch.stack(afters)
    h, c = before.chunk(2, dim=1)
    i, f, g, o = (inputs + h @ weight_hh.t()).chunk(4, dim=1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    u_i, u_f, u_g, u_o = weight_hh.chunk(4)

    def scaled(factor: Tensor, matrix: Tensor) -> Tensor:
        return factor.unsqueeze(2) * matrix

    squashed = after[:, hidden_size:].tanh()
    c_by_h = scaled(c * f * (1 - f), u_f) + scaled(g * i * (1 - i), u_i) + scaled(i * (1 - g**2), u_g)
    c_by_c, slope = torch.diag_embed(f), o * (1 - squashed**2)
    h_by_h = scaled(slope, c_by_h) + scaled(squashed * o * (1 - o), u_o)
    rows = [torch.cat([h_by_h, scaled(slope, c_by_c)], dim=2), torch.cat([c_by_h, c_by_c], dim=2)]
    return Journey(after, torch.cat(rows, dim=1), f)


def product_norms(jacobians: Tensor, part: slice = slice(None)) -> Tensor:
    """Spectral norm of the product of the last k Jacobians, for each k.

    Args:
        jacobians: (T, S, S), of each state by the one before.
        part: of the state: rows and columns of the product whose norm is taken; an LSTM's cells are the second half.

    Returns:
        (T,); entry k - 1 is the largest factor that an error can meet over k steps.

    Raises:
        ValueError: the Jacobians are not square, or there are none.

    Example:
        >>> import torch
        >>> from awdlib.reach import product_norms
        >>> product_norms(0.5 * torch.eye(2).expand(3, 2, 2))
        tensor([0.5000, 0.2500, 0.1250])
    """
    require.floats("jacobians", jacobians, "(steps, size, size)")
    size = jacobians.shape[1]
    require.shape("jacobians", jacobians, (max(1, len(jacobians)), size, size), "a square matrix for each step")
    product, products = torch.eye(size, dtype=jacobians.dtype), []
    for jacobian in jacobians.flip(0):
        product = product @ jacobian
        products.append(product[part, part])
    return torch.linalg.matrix_norm(torch.stack(products), ord=2)


def loss_reach(model: LanguageModel, tokens: Tensor, distance: int, samples: int = 100) -> Tensor:
    """How much the loss of one prediction depends on the words before, by their distance.

    Args:
        model: of any cell; its copy is read, in evaluation and on the CPU.
        tokens: (num_tokens,) token ids, a text.
        distance: the furthest to look at.
        samples: predictions to average over, evenly spread over the text; each is read from a zero state, twice as
            far back as is looked at.

    Returns:
        (distance + 1,); entry k is the mean norm of the loss's gradient with respect to the first layer's input k
        steps before the last word read.

    Raises:
        ValueError: the text is too short or holds ids that the model does not know, or a number is not positive.

    Example:
        >>> import torch
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> from awdlib.reach import loss_reach
        >>> model = LanguageModel(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=12))
        >>> reach = loss_reach(model, torch.arange(200) % 50, distance=10, samples=3)
        >>> reach.shape, bool(reach[0] > reach[10] > 0)
        (torch.Size([11]), True)
    """
    length = 2 * require.whole_number("distance", distance, 1) + 2
    require.whole_number("samples", samples, 1)
    require.token_ids("tokens", tokens, "(num_tokens,)")
    require.known("tokens", tokens, len(model.embedding))
    if len(tokens) < length + samples:
        raise ValueError(f"the text has {len(tokens)} tokens; give at least {length + samples}")
    starts = torch.linspace(0, len(tokens) - length, samples).long()
    model = copy.deepcopy(model).cpu().eval()  # cuDNN differentiates no recurrent layer in evaluation
    columns = tokens.cpu()[starts[None] + torch.arange(length)[:, None]]  # (length, samples)
    hidden = x = model.embedding.detach()[columns[:-1]].requires_grad_()
    for layer, state in zip(model.layers, model.initial_states(samples), strict=True):
        hidden, _ = layer(hidden, state)
    logits = F.linear(hidden[-1], *model.decoder())
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, columns[-1], reduction="sum"), x)
    return gradient.norm(dim=2).mean(1).flip(0)[: distance + 1]


def _hidden_size(inputs: Tensor, weight_hh: Tensor, blocks: int) -> int:
    require.floats("inputs", inputs, "(steps, features)")
    require.floats("weight_hh", weight_hh, "(rows, hidden_size)")
    require.alike("weight_hh", weight_hh, "inputs", inputs)
    hidden_size = weight_hh.shape[-1]
    require.shape("weight_hh", weight_hh, (blocks * hidden_size, hidden_size), f"{blocks} blocks of hidden_size rows")
    size = (max(1, len(inputs)), blocks * hidden_size)
    require.shape("inputs", inputs, size, f"{blocks} blocks of hidden_size columns, a row a step")
    return hidden_size
