"""Backpropagation through time by hand: torch's LSTM and GRU in value and gradient, and taken only where it pays."""

import pytest
import torch
from torch import nn

from awdlib import bptt, recurrent
from awdlib.bptt import gru_pays, gru_window, lstm_window, pays
from awdlib.recurrent import GRULayer, LSTMLayer

WINDOWS = {nn.LSTM: lstm_window, nn.GRU: gru_window}
CELLS = pytest.mark.parametrize("kind", WINDOWS, ids=lambda kind: kind.__name__)


def problem(dtype, seq_len=7, batch=3, inputs=5, hidden=6, kind=nn.LSTM):
    """A layer of torch's; and what enters it: x, h, and an LSTM's c."""
    layer, states = kind(inputs, hidden, dtype=dtype), 2 if kind is nn.LSTM else 1
    sizes = [(seq_len, batch, inputs), *[(batch, hidden)] * states]
    return layer, [torch.randn(size, dtype=dtype, requires_grad=True) for size in sizes]


def by_hand(layer, *entering):
    return WINDOWS[type(layer)](*entering, list(layer.parameters()))


def by_torch(layer, x, h, *c):
    if not c:
        outputs, h = layer(x, h[None])
        return outputs, h[0]
    outputs, (h, c) = layer(x, (h[None], c[0][None]))
    return outputs, h[0], c[0]


def values_and_gradients(way, layer, entering, leave_out=()):
    """All results, and the gradient of a weighted sum of them by all that goes in."""
    results = way(layer, *entering)
    torch.manual_seed(5)
    weighted = [(part.double() * torch.randn_like(part, dtype=torch.float64)).sum() for part in results]
    objective = sum(part for number, part in enumerate(weighted) if number not in leave_out)
    return [*results, *torch.autograd.grad(objective, [*entering, *layer.parameters()])]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seq_len", [1, 2, 7])
@pytest.mark.parametrize(("kind", "leave_out"), [  # results that nobody uses
    (nn.LSTM, ()), (nn.LSTM, (1, 2)), (nn.LSTM, (0, 1)), (nn.LSTM, (0, 2)),
    (nn.GRU, ()), (nn.GRU, (0,)), (nn.GRU, (1,)),
])  # fmt: skip
def test_it_is_torchs(kind, dtype, tolerance, seq_len, leave_out):
    layer, entering = problem(dtype, seq_len, kind=kind)
    ours, theirs = (values_and_gradients(way, layer, entering, leave_out) for way in (by_hand, by_torch))
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@CELLS
def test_the_gradient_is_that_of_finite_differences(kind):
    layer, entering = problem(torch.float64, seq_len=3, batch=2, inputs=2, hidden=2, kind=kind)
    assert torch.autograd.gradcheck(
        lambda *given: WINDOWS[kind](*given[: len(entering)], [*given[len(entering) :]]),
        [*entering, *layer.parameters()],
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


@CELLS
def test_it_refuses_second_derivatives(kind):
    layer, entering = problem(torch.float64, kind=kind)
    name = WINDOWS[kind].__name__
    with pytest.raises(ValueError, match=f"^{name} is differentiable once: leave out create_graph=True"):
        torch.autograd.grad(by_hand(layer, *entering)[0].sum(), entering[:1], create_graph=True)


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


@pytest.mark.parametrize(("kind", "asked", "window", "states"), [
    (LSTMLayer, "pays", lstm_window, 2), (GRULayer, "gru_pays", gru_window, 1),
])  # fmt: skip
def test_a_layer_takes_it_where_it_pays(monkeypatch, kind, asked, window, states):
    """With its mask, its state and its shapes; the other way is torch's kernel."""
    layer, x = kind(5, 6, weight_dropout=0.5).double(), torch.randn(4, 3, 5, dtype=torch.float64)
    state, found, calls = tuple(torch.randn(states, 3, 6, dtype=torch.float64)), [], []
    for answer in (True, False):
        monkeypatch.setattr(recurrent, asked, lambda *_, answer=answer: answer)
        monkeypatch.setattr(recurrent, window.__name__, lambda *a: (calls.append(a), window(*a))[1])
        outputs, left = layer(x, state, generator=torch.Generator().manual_seed(1))
        layer.zero_grad()
        sum(part.sum() for part in (outputs, *left)).backward()
        found.append([outputs, *left, *(weight.grad for weight in layer.parameters())])
    assert len(calls) == 1
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert (found[0][states + 2] == 0).any()  # the gradient of dropped recurrent weights


def test_the_gru_gives_the_same_gradient_a_second_time():
    gru, entering = problem(torch.float64, kind=nn.GRU)
    outputs, _ = by_hand(gru, *entering)
    first, second = (torch.autograd.grad(outputs.sum(), entering, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))


def test_a_gru_takes_it_in_training_on_a_cpu_and_leaves_reading_and_autocast_to_torch():
    x = torch.zeros(2, 1, 3)
    assert gru_pays(x) and not gru_pays(x.to("meta"))
    with torch.no_grad():
        assert not gru_pays(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not gru_pays(x)
