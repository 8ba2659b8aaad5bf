"""Backpropagation through time by hand: torch's LSTM and GRU in value and gradient, and taken only where it pays."""

import pytest
import torch
from torch import nn

from awdlib import bptt, recurrent
from awdlib.bptt import gru_pays, gru_window, lstm_window, pays
from awdlib.recurrent import GRULayer, LSTMLayer


def problem(dtype, seq_len=7, batch=3, inputs=5, hidden=6):
    lstm = nn.LSTM(inputs, hidden, dtype=dtype)
    sizes = [(seq_len, batch, inputs), (batch, hidden), (batch, hidden)]
    return lstm, [torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes]


def by_hand(lstm, x, h, c):
    return lstm_window(x, h, c, list(lstm.parameters()))


def by_torch(lstm, x, h, c):
    outputs, (h, c) = lstm(x, (h[None], c[None]))
    return outputs, h[0], c[0]


def values_and_gradients(way, lstm, entering, leave_out=()):
    """All three results, and the gradient of a weighted sum of them by all that goes in."""
    results = way(lstm, *entering)
    torch.manual_seed(5)
    weighted = [(part.double() * torch.randn_like(part, dtype=torch.float64)).sum() for part in results]
    objective = sum(part for number, part in enumerate(weighted) if number not in leave_out)
    return [*results, *torch.autograd.grad(objective, [*entering, *lstm.parameters()])]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seq_len", [1, 2, 7])
@pytest.mark.parametrize("leave_out", [(), (1, 2), (0, 1), (0, 2)])  # results that nobody uses
def test_it_is_torchs_lstm(dtype, tolerance, seq_len, leave_out):
    lstm, entering = problem(dtype, seq_len)
    ours, theirs = (values_and_gradients(way, lstm, entering, leave_out) for way in (by_hand, by_torch))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_the_gradient_is_that_of_finite_differences():
    lstm, entering = problem(torch.float64, seq_len=3, batch=2, inputs=2, hidden=2)
    assert torch.autograd.gradcheck(
        lambda x, h, c, *weights: lstm_window(x, h, c, [*weights]), [*entering, *lstm.parameters()]
    )


def test_under_autocast_it_is_as_exact_as_torch():
    """Both against torch in single precision. bfloat16 rounds to 2**-9; errors of steps add up."""
    lstm, entering = problem(torch.float32, seq_len=35, batch=8, inputs=40, hidden=60)
    exact = values_and_gradients(by_torch, lstm, entering)

    def rounded(way):
        def inside(*arguments):
            with torch.autocast("cpu", torch.bfloat16):
                return way(*arguments)

        return values_and_gradients(inside, lstm, entering)

    for one, ours, theirs in zip(exact, rounded(by_hand), rounded(by_torch), strict=True):
        errors = [((found - one).norm() / one.norm()).item() for found in (ours, theirs)]
        assert 2**-12 < errors[0] < 2 * errors[1]


def test_under_autocast_cells_and_gradients_of_weights_stay_single():
    lstm, entering = problem(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs, h, c = by_hand(lstm, *entering)
    assert (outputs.dtype, h.dtype, c.dtype) == (torch.bfloat16, torch.bfloat16, torch.float32)
    (outputs.sum() + c.sum()).backward()
    assert {part.grad.dtype for part in [*entering, *lstm.parameters()]} == {torch.float32}


def test_it_refuses_second_derivatives():
    lstm, entering = problem(torch.float64)
    outputs, _, _ = by_hand(lstm, *entering)
    with pytest.raises(ValueError, match="^lstm_window is differentiable once: leave out create_graph=True"):
        torch.autograd.grad(outputs.sum(), entering[:1], create_graph=True)


@pytest.mark.parametrize(
    ("hidden", "autocast", "grad", "flags", "expected"),
    [
        (1150, torch.bfloat16, True, {"amx_bf16"}, True),
        (600, torch.bfloat16, True, {"amx_bf16"}, False),
        (1150, None, True, {"amx_bf16"}, False),
        (1150, torch.float16, True, {"amx_bf16"}, False),
        (1150, torch.bfloat16, False, {"amx_bf16"}, False),
        (1150, torch.bfloat16, True, {"avx512_bf16"}, False),
    ],
)
def test_it_pays_for_large_layers_in_bfloat16_in_training_on_a_cpu_that_has_it(
    monkeypatch, hidden, autocast, grad, flags, expected
):
    monkeypatch.setattr(bptt, "cpu_flags", lambda: frozenset(flags))
    with torch.autocast("cpu", autocast, enabled=autocast is not None), torch.set_grad_enabled(grad):
        assert pays(torch.zeros(2, 1, 3), hidden) == expected


def test_a_layer_takes_it_where_it_pays(monkeypatch):
    """With its mask, its state and its shapes; the other way is torch's kernel."""
    layer, x = LSTMLayer(5, 6, weight_dropout=0.5).double(), torch.randn(4, 3, 5, dtype=torch.float64)
    state, found, calls = tuple(torch.randn(2, 3, 6, dtype=torch.float64)), [], []  # h and c
    for answer in (True, False):
        monkeypatch.setattr(recurrent, "pays", lambda *_, answer=answer: answer)
        monkeypatch.setattr(recurrent, "lstm_window", lambda *a: (calls.append(a), lstm_window(*a))[1])
        outputs, (h, c) = layer(x, state, generator=torch.Generator().manual_seed(1))
        layer.zero_grad()
        (outputs.sum() + h.sum() + c.sum()).backward()
        found.append([outputs, h, c, *(weight.grad for weight in layer.parameters())])
    assert len(calls) == 1
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert (found[0][4] == 0).any()  # the gradient of dropped recurrent weights


# GRU -----------------------------------------------------------------------------------------------------------------


def gru_problem(dtype, seq_len=7, batch=3, inputs=5, hidden=6):
    gru = nn.GRU(inputs, hidden, dtype=dtype)
    return gru, [
        torch.randn(size, dtype=dtype, requires_grad=True) for size in [(seq_len, batch, inputs), (batch, hidden)]
    ]


def gru_by_hand(gru, x, h):
    return gru_window(x, h, list(gru.parameters()))


def gru_by_torch(gru, x, h):
    outputs, h = gru(x, h[None])
    return outputs, h[0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seq_len", [1, 2, 7])
@pytest.mark.parametrize("leave_out", [(), (0,), (1,)])  # results that nobody uses
def test_it_is_torchs_gru(dtype, tolerance, seq_len, leave_out):
    gru, entering = gru_problem(dtype, seq_len)
    ours, theirs = (values_and_gradients(way, gru, entering, leave_out) for way in (gru_by_hand, gru_by_torch))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_the_gru_s_gradient_is_that_of_finite_differences():
    gru, entering = gru_problem(torch.float64, seq_len=3, batch=2, inputs=2, hidden=2)
    assert torch.autograd.gradcheck(lambda x, h, *weights: gru_window(x, h, [*weights]), [*entering, *gru.parameters()])


def test_the_gru_gives_the_same_gradient_a_second_time():
    gru, entering = gru_problem(torch.float64)
    outputs, _ = gru_by_hand(gru, *entering)
    first, second = (torch.autograd.grad(outputs.sum(), entering, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))


def test_the_gru_refuses_second_derivatives():
    gru, entering = gru_problem(torch.float64)
    with pytest.raises(ValueError, match="^gru_window is differentiable once: leave out create_graph=True"):
        torch.autograd.grad(gru_by_hand(gru, *entering)[0].sum(), entering[:1], create_graph=True)


def test_a_gru_takes_it_in_training_on_a_cpu_and_leaves_reading_and_autocast_to_torch():
    x = torch.zeros(2, 1, 3)
    assert gru_pays(x) and not gru_pays(x.to("meta"))
    with torch.no_grad():
        assert not gru_pays(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not gru_pays(x)


def test_a_gru_layer_is_the_same_both_ways(monkeypatch):
    """With its mask, its state and its shapes."""
    layer, x = GRULayer(5, 6, weight_dropout=0.5).double(), torch.randn(4, 3, 5, dtype=torch.float64)
    state, found, calls = (torch.randn(3, 6, dtype=torch.float64),), [], []
    for answer in (True, False):
        monkeypatch.setattr(recurrent, "gru_pays", lambda _, answer=answer: answer)
        monkeypatch.setattr(recurrent, "gru_window", lambda *a: (calls.append(a), gru_window(*a))[1])
        outputs, (h,) = layer(x, state, generator=torch.Generator().manual_seed(1))
        layer.zero_grad()
        (outputs.sum() + h.sum()).backward()
        found.append([outputs, h, *(weight.grad for weight in layer.parameters())])
    assert len(calls) == 1
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert (found[0][3] == 0).any()  # the gradient of dropped recurrent weights
