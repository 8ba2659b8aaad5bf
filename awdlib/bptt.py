"""Backpropagation through time by hand: a window of an LSTM or a GRU whose way back is written out.

Autograd would add up the gradient of ``weight_hh`` step by step, a product and a sum of the whole matrix each time. By
hand the steps only hand the error back through the gates; the weights' gradients are one product each for the window.

In single precision torch's own LSTM on a CPU does the same, and faster. Under autocast to bfloat16
`awdlib.recurrent.LSTMLayer` takes this way for layers of the paper's sizes, on processors that multiply matrices of
bfloat16 (`pays`). Everywhere else it is here to be read. torch's GRU on a CPU leaves the way back to autograd, so
`awdlib.recurrent.GRULayer` takes `gru_window` in training there (`gru_pays`).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.precision import cpu_flags

LARGE = 1000  #: hidden size from which the way by hand gains; at 600 its many small steps cost more than they save


def pays(x: Tensor, hidden_size: int) -> bool:
    """Whether `lstm_window` is faster than torch's LSTM for this input, here.

    Args:
        x: the input.
        hidden_size: of the layer.

    Example:
        In single precision it never is:

        >>> import torch
        >>> from awdlib.bptt import pays
        >>> pays(torch.zeros(70, 40, 1150), 1150)
        False
    """
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu") or not torch.is_grad_enabled():
        return False
    in_bfloat16 = torch.get_autocast_dtype("cpu") == torch.bfloat16
    return in_bfloat16 and hidden_size >= LARGE and "amx_bf16" in cpu_flags()


def gru_pays(x: Tensor) -> bool:
    """Whether `gru_window` is faster than torch's GRU for this input, here: in training on a CPU, without autocast.

    It was at every size that was tried, by a tenth to a quarter (``book/experiments/gru_speed.py``).

    Args:
        x: the input.

    Example:
        >>> import torch
        >>> from awdlib.bptt import gru_pays
        >>> with torch.no_grad():
        ...     reading = gru_pays(torch.zeros(70, 40, 1150))
        >>> gru_pays(torch.zeros(70, 40, 1150)), reading
        (True, False)
    """
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def lstm_window(x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """A window of an LSTM: `awdlib.recurrent.lstm_step` at each time step, differentiable once.

    Under autocast the matrix products and gates are in its precision, cells and all gradients of weights are not. The
    backward pass is that of Werbos 1990, for the LSTM of Gers et al. 2000.

    Args:
        x: (seq_len, batch, input_size).
        h: (batch, hidden_size), before the window.
        c: (batch, hidden_size), before the window.
        weights: weight_ih, weight_hh, bias_ih, bias_hh, as `awdlib.recurrent.lstm_step` takes them.

    Returns:
        the outputs (seq_len, batch, hidden_size), and h and c after the window.

    Example:
        >>> import torch
        >>> from awdlib.bptt import lstm_window
        >>> lstm, x, zeros = torch.nn.LSTM(5, 7), torch.randn(4, 3, 5), torch.zeros(3, 7)
        >>> outputs, h, c = lstm_window(x, zeros, zeros, list(lstm.parameters()))
        >>> torch.allclose(outputs, lstm(x)[0], atol=1e-6), torch.equal(outputs[-1], h)
        (True, True)
    """
    precision = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        precision = torch.get_autocast_dtype(x.device.type)
    outputs, h, c = _LSTMWindow.apply(x, h, c, *weights, precision)
    return outputs, h, c


class _LSTMWindow(torch.autograd.Function):
    """T = seq_len, B = batch; ``precision`` is that of products and gates."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, c: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor,
        bias_hh: Tensor, precision: torch.dtype,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        cast_x, cast_ih, cast_hh = x.to(precision), weight_ih.to(precision), weight_hh.to(precision)
        gates = F.linear(cast_x, cast_ih, (bias_ih + bias_hh).to(precision))  # (T, B, 4 * hidden_size), all steps
        outputs = gates.new_empty(len(x) + 1, *h.shape)  # (T + 1, B, hidden_size): before the window, and each step
        cells = torch.empty_like(outputs, dtype=c.dtype)
        outputs[0], cells[0] = h, c
        recurrent = cast_hh.t()
        for t, gate in enumerate(gates):
            gate += outputs[t] @ recurrent
            i, f, g, o = gate.chunk(4, dim=1)  # views: the gates are kept for the way back
            for part in (i, f, o):
                part.sigmoid_()
            g.tanh_()
            cells[t + 1] = f * cells[t] + i * g
            outputs[t + 1] = o * cells[t + 1].tanh()
        ctx.save_for_backward(cast_x, cast_ih, cast_hh, gates, outputs, cells)
        ctx.dtypes = x.dtype, h.dtype, c.dtype, weight_ih.dtype
        return outputs[1:], outputs[-1].clone(), cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad_outputs: Tensor, grad_h: Tensor, grad_c: Tensor) -> tuple[Tensor | None, ...]:
        require.first_derivative("lstm_window")
        x, weight_ih, weight_hh, gates, outputs, cells = ctx.saved_tensors
        of_x, of_h, of_c, of_weights = ctx.dtypes
        squashed = cells[1:].tanh()  # (T, B, hidden_size)
        grad_gates = torch.empty_like(gates)  # of the sums that enter the gates
        dh, dc = grad_h.to(of_c), grad_c
        for t in reversed(range(len(gates))):
            i, f, g, o = gates[t].chunk(4, dim=1)
            di, df, dg, do = grad_gates[t].chunk(4, dim=1)
            dh = dh + grad_outputs[t]
            do.copy_(dh * squashed[t] * o * (1 - o))
            dc = dc + dh * o * (1 - squashed[t] ** 2)
            di.copy_(dc * g * i * (1 - i))
            df.copy_(dc * cells[t] * f * (1 - f))
            dg.copy_(dc * i * (1 - g**2))
            dc = dc * f
            dh = grad_gates[t] @ weight_hh

        errors, before = grad_gates.flatten(0, 1), outputs[:-1].flatten(0, 1)  # (T * B, ...): one product for all steps
        grad_ih = (errors.t() @ x.flatten(0, 1)).to(of_weights)
        grad_hh = (errors.t() @ before).to(of_weights)
        grad_bias = errors.sum(dim=0, dtype=of_weights)
        grad_x = (grad_gates @ weight_ih).to(of_x)
        return grad_x, dh.to(of_h), dc, grad_ih, grad_hh, grad_bias, grad_bias, None


def gru_window(x: Tensor, h: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """A window of a GRU: `awdlib.recurrent.gru_step` at each time step, differentiable once.

    Args:
        x: (seq_len, batch, input_size).
        h: (batch, hidden_size), before the window.
        weights: weight_ih, weight_hh, bias_ih, bias_hh, as `awdlib.recurrent.gru_step` takes them, of x's precision.

    Returns:
        the outputs (seq_len, batch, hidden_size), and h after the window.

    Example:
        >>> import torch
        >>> from awdlib.bptt import gru_window
        >>> gru, x = torch.nn.GRU(5, 7), torch.randn(4, 3, 5)
        >>> outputs, h = gru_window(x, torch.zeros(3, 7), list(gru.parameters()))
        >>> torch.allclose(outputs, gru(x)[0], atol=1e-6), torch.equal(outputs[-1], h)
        (True, True)
    """
    outputs, h = _GRUWindow.apply(x, h, *weights)
    return outputs, h


class _GRUWindow(torch.autograd.Function):
    """T = seq_len, B = batch. A step makes as few tensors and views as it can: on small layers they cost the time."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor
    ) -> tuple[Tensor, Tensor]:
        size = h.shape[1]
        gates = F.linear(x, weight_ih, bias_ih)  # (T, B, 3 * hidden_size), all steps; becomes r, z, n in place
        products = torch.empty_like(gates)  # of the state, with their bias
        outputs = gates.new_empty(len(x) + 1, *h.shape)  # (T + 1, B, hidden_size): before the window, and each step
        outputs[0] = h
        r, z, n = gates.chunk(3, dim=2)
        n_h, recurrent = products[..., 2 * size :], weight_hh.t()
        two, two_h = gates[..., : 2 * size], products[..., : 2 * size]  # r and z at once
        parts = (products, outputs[:-1], outputs[1:], two, two_h, r, z, n, n_h)
        steps = zip(*(part.unbind() for part in parts), strict=True)
        for product, before, after, two_t, two_ht, r_t, z_t, n_t, n_ht in steps:
            torch.addmm(bias_hh, before, recurrent, out=product)
            two_t.add_(two_ht).sigmoid_()
            n_t.addcmul_(r_t, n_ht).tanh_()
            torch.lerp(n_t, before, z_t, out=after)  # (1 - z) * n + z * before
        ctx.save_for_backward(x, weight_ih, weight_hh, gates, n_h, outputs)
        return outputs[1:], outputs[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad_outputs: Tensor, grad_h: Tensor) -> tuple[Tensor | None, ...]:
        require.first_derivative("gru_window")
        x, weight_ih, weight_hh, gates, n_h, outputs = ctx.saved_tensors
        r, z, n = gates.chunk(3, dim=2)
        before = outputs[:-1]
        of_n = (1 - z) * (1 - n**2)  # derivative of h by the sum that enters n
        slopes = torch.stack([of_n * n_h * r * (1 - r), (before - n) * z * (1 - z), of_n * r], dim=2)
        errors = torch.empty_like(before)  # dh of each step
        dh = grad_h
        steps = zip(*(part.unbind() for part in (grad_outputs, errors, slopes, z)), strict=True)
        for grad_output, error, slope, z_t in reversed([*steps]):
            torch.add(dh, grad_output, out=error)
            grad_products = (error[:, None] * slope).flatten(1)  # (B, 3 * hidden_size)
            dh = torch.addmm(error * z_t, grad_products, weight_hh)

        grads = slopes.mul_(errors[:, :, None])  # of the products; those of what enters from x differ in n alone
        of_products = grads.flatten(2).flatten(0, 1)  # (T * B, ...): one product for all steps
        grad_hh, grad_bias_hh = of_products.t() @ before.flatten(0, 1), of_products.sum(0)
        torch.mul(errors, of_n, out=grads[:, :, 2])
        of_gates = grads.flatten(2).flatten(0, 1)
        grad_x = (of_gates @ weight_ih).view_as(x)
        return grad_x, dh, of_gates.t() @ x.flatten(0, 1), grad_hh, of_gates.sum(0), grad_bias_hh
