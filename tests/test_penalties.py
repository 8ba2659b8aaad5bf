"""AR and TAR against loops over single elements, and their gradients against the closed form."""

import pytest
import torch

from awdlib.penalties import activation_regularization, temporal_activation_regularization


@pytest.fixture
def h():
    return torch.randn(5, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_ar_is_the_mean_square_over_all_elements(h):
    by_hand = sum(value**2 for value in h.flatten().tolist()) / h.numel()
    assert activation_regularization(h, 2.0).item() == pytest.approx(2 * by_hand, rel=1e-12)


@pytest.mark.parametrize("length", [2, 3, 5])
def test_tar_is_the_mean_squared_step_over_all_elements(h, length):
    h = h[:length]
    steps = [(h[t + 1, b, f] - h[t, b, f]).item() ** 2 for t in range(length - 1) for b in range(2) for f in range(3)]
    assert temporal_activation_regularization(h, 3.0).item() == pytest.approx(3 * sum(steps) / len(steps), rel=1e-12)


def test_gradients_in_closed_form(h):
    h.requires_grad_()
    (gradient,) = torch.autograd.grad(activation_regularization(h, 2.0), h)
    torch.testing.assert_close(gradient, 2 * 2.0 * h / h.numel())
    (gradient,) = torch.autograd.grad(temporal_activation_regularization(h, 3.0), h)
    padded = torch.cat([h[:1], h, h[-1:]])  # a step of 0 before the first and after the last
    by_hand = 2 * 3.0 * ((padded[1:-1] - padded[:-2]) - (padded[2:] - padded[1:-1])) / h[1:].numel()
    torch.testing.assert_close(gradient, by_hand)


def test_one_time_step_has_no_temporal_penalty(h):
    for weight in (0.0, 3.0):
        nothing = temporal_activation_regularization(h[:1], weight)
        assert nothing.item() == 0.0 and nothing.shape == () and nothing.dtype == h.dtype
    assert temporal_activation_regularization(h[:1].to("meta"), 3.0).device.type == "meta"


@pytest.mark.parametrize("penalty", [activation_regularization, temporal_activation_regularization])
def test_weight_zero_is_no_penalty_and_the_weight_scales_it(h, penalty):
    assert penalty(h, 0.0).item() == 0.0
    torch.testing.assert_close(penalty(h, 6.0), 3 * penalty(h, 2.0), rtol=1e-14, atol=0)
