"""The fast gradient against the plain one, and the clip against torch's."""

import itertools
from dataclasses import replace

import pytest
import torch
from helpers import CONFIG, MODEL, Largest, corpus
from torch import nn

from awdlib import gradients, softmax
from awdlib.batches import batchify
from awdlib.gradients import Window, clip, fast_gradients, plain_gradients
from awdlib.model import LanguageModel
from awdlib.training import start, update

BLOCK = 8  # positions: most windows below have several blocks, and a shorter last one
TOLERANCES = {
    torch.float64: {"rtol": 1e-11, "atol": 1e-13},  # sums in another order
    torch.float32: {"rtol": 1e-4, "atol": 1e-6},
}
HARD = replace(CONFIG, max_grad_norm=1e-2)  # so that the clip is at work, and with 1e6 it never is


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setitem(softmax.BLOCK, "cpu", BLOCK)


def window(model, seq_len=7, batch=3):
    """A window, and states before it that are not zero."""
    tokens = torch.randint(MODEL.vocab_size, (seq_len + 1, batch))
    states = [tuple(torch.randn_like(part) for part in state) for state in model.initial_states(batch)]
    return Window(tokens[:-1], tokens[1:], states)


def both(model, config, given):
    """Loss, states and gradients of the plain and the fast way, with equal masks."""
    for compute in (plain_gradients, fast_gradients):
        for weight in model.parameters():
            weight.grad = torch.full_like(weight, 7.0)  # of a window before: not to be added to
        loss, states = compute(model, config, given, torch.Generator().manual_seed(5))
        yield loss, states, {name: weight.grad.clone() for name, weight in model.named_parameters()}


def assert_equal_ways(model, config, given):
    plain, fast = both(model, config, given)
    torch.testing.assert_close(fast, plain, **TOLERANCES[model.embedding.dtype])
    assert all(gradient.any() for gradient in plain[2].values()), "a gradient of zeros would prove nothing"


@pytest.mark.parametrize("summed", [True, False], ids=["summed", "mean"])
def test_the_plain_gradient_is_that_of_the_loss_written_out(summed):
    """The oracle of all below; summed over time, the cross entropy counts seq_len times."""
    model = LanguageModel(MODEL).double()
    given = window(model, seq_len=7, batch=3)
    config = replace(CONFIG, sum_over_time=summed, max_grad_norm=1e6, ar_weight=0.7, tar_weight=0.3)
    loss, _ = plain_gradients(model, config, given, torch.Generator().manual_seed(5))
    logits, _, raw, dropped = model(given.inputs, given.states, generator=torch.Generator().manual_seed(5))
    entropy = -logits.log_softmax(2).gather(2, given.targets[:, :, None]).mean()
    torch.testing.assert_close(loss, entropy.detach())
    objective = (7 if summed else 1) * entropy + 0.7 * (dropped**2).mean() + 0.3 * ((raw[1:] - raw[:-1]) ** 2).mean()
    for weight, gradient in zip(model.parameters(), torch.autograd.grad(objective, model.parameters()), strict=True):
        torch.testing.assert_close(weight.grad, gradient, **TOLERANCES[torch.float64])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=["double", "single"])
@pytest.mark.parametrize("penalised", [True, False], ids=["penalties", "no penalties"])
@pytest.mark.parametrize("summed", [True, False], ids=["summed", "mean"])
@pytest.mark.parametrize("locked", [True, False], ids=["locked", "ordinary"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_fast_and_plain_gradients_are_equal(tied, cell, locked, summed, penalised, dtype):
    model = LanguageModel(replace(MODEL, tied=tied, cell=cell, locked=locked)).to(dtype)
    config = replace(HARD, sum_over_time=summed, **({} if penalised else {"ar_weight": 0.0, "tar_weight": 0.0}))
    assert_equal_ways(model, config, window(model))


@pytest.mark.parametrize("max_grad_norm", [1e-2, 1e6], ids=["clipped", "as it is"])
@pytest.mark.parametrize(("seq_len", "batch"), [(1, 1), (2, 4), (1, BLOCK + 1), (35, 2), (16, 1)])
def test_fast_and_plain_gradients_are_equal_for_windows_of_any_shape(seq_len, batch, max_grad_norm):
    model = LanguageModel(MODEL).double()
    assert_equal_ways(model, replace(HARD, max_grad_norm=max_grad_norm), window(model, seq_len, batch))


def test_the_masks_are_drawn_from_the_generator_handed_in():
    model = LanguageModel(MODEL).double()
    given, before = window(model), torch.get_rng_state()
    for compute in (plain_gradients, fast_gradients):
        masks = torch.Generator().manual_seed(5)
        losses = [compute(model, CONFIG, given, masks)[0] for _ in range(2)]
        assert losses[0] != losses[1] and losses[0] == compute(model, CONFIG, given, masks.manual_seed(5))[0]
    assert before.equal(torch.get_rng_state())


def test_what_comes_back_has_no_history():
    model = LanguageModel(MODEL)
    given = window(model)
    for compute in (plain_gradients, fast_gradients):
        loss, states = compute(model, CONFIG, given)
        kept = [loss, *(part for state in states for part in state)]
        assert not any(tensor.requires_grad for tensor in kept) and len(kept) == 5


def test_the_fast_way_never_has_the_logits_of_a_window():
    seq_len, batch, vocab = 20, 4, 10_000
    model = LanguageModel(replace(MODEL, vocab_size=vocab, embedding_size=4, hidden_size=4))
    given = window(model, seq_len, batch)
    largest = {}
    for compute in (plain_gradients, fast_gradients):
        with Largest() as largest[compute]:
            compute(model, CONFIG, given)
    assert largest[plain_gradients].stored >= seq_len * batch * vocab  # where they are, it shows
    assert largest[fast_gradients].stored == BLOCK * vocab > model.embedding.numel()


@pytest.mark.parametrize("average_from", [None, 1], ids=["iterates", "averages"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_training_goes_the_same_way_fast_or_not(cell, average_from):
    """A few updates in double precision, where only the order of sums differs; states go from each to the next."""
    columns, ends = batchify(corpus().train, 3), []
    for fast in (True, False):
        training = start(replace(MODEL, cell=cell), replace(CONFIG, batch_size=3, fast=fast))
        training.model.double()
        training.begin_epoch()  # states in double precision, too
        if average_from:
            training.optimizer.start_averaging()
        losses = [
            update(training, columns[at : at + length], columns[at + 1 : at + length + 1], lr=length / 8)
            for at, length in ((0, 8), (8, 11), (19, 5), (24, 9), (33, 8))
        ]
        with training.optimizer.averaged():
            ends.append((losses, training.states, [weight.detach().clone() for weight in training.model.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("fast", [True, False])
def test_the_setting_decides_which_way_is_gone(fast, monkeypatch):
    gone = []
    for name in ("fast_gradients", "plain_gradients"):
        compute = getattr(gradients, name)
        monkeypatch.setattr(
            f"awdlib.training.{name}", lambda *given, name=name, compute=compute: gone.append(name) or compute(*given)
        )
    text = corpus().train[:18].view(9, 2)
    update(start(MODEL, replace(CONFIG, fast=fast)), text[:-1], text[1:], lr=1.0)
    assert gone == ["fast_gradients" if fast else "plain_gradients"]


def weights_and_gradients(dtype):
    """Tensors as weights have them, one of them a single number; their gradients together have norm 5."""
    gradients = [torch.randn(shape, dtype=dtype) for shape in ((13, 6), (32, 8), (32,), (), (1, 7))]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    return [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients], [5 * g / norm for g in gradients]


@pytest.mark.parametrize("scale", [1.0, 4096.0])
@pytest.mark.parametrize("max_norm", [0.25, 4.99, 5.01, 100.0])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["single", "double"])
def test_clip_is_torchs_and_takes_the_scale_out(dtype, rtol, max_norm, scale):
    weights, found = weights_and_gradients(dtype)
    for weight, gradient in zip(weights, found, strict=True):
        weight.grad = gradient.clone()
    assert nn.utils.clip_grad_norm_(weights, max_norm).item() == pytest.approx(5)
    scaled = [gradient * scale for gradient in found]
    clip(scaled, max_norm, scale)
    torch.testing.assert_close(scaled, [weight.grad for weight in weights], rtol=rtol, atol=0)
    if max_norm > 5:
        assert all(ours.equal(gradient) for ours, gradient in zip(scaled, found, strict=True)), "not a bit changes"


def test_clip_holds_its_limit_at_norms_close_to_nothing():
    """Where torch's small addend to the norm counts: 1e-6, of the gradient as it is without the scale."""
    for norm, scale in itertools.product((1e-7, 1e-6, 1e-5), (1.0, 4096.0)):
        weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        weight.grad = torch.tensor([0.6, -0.8], dtype=torch.float64) * norm
        ours = weight.grad * scale
        nn.utils.clip_grad_norm_([weight], 1e-6)
        clip([ours], 1e-6, scale)
        torch.testing.assert_close(ours, weight.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_clip_hides_no_gradient_that_is_not_finite(value):
    """The weights become nan, as torch's would: `require_finite` finds them."""
    weights, found = weights_and_gradients(torch.float32)
    found[1][3, 3] = value
    for weight, gradient in zip(weights, found, strict=True):
        weight.grad = gradient.clone()
    nn.utils.clip_grad_norm_(weights, 0.25)
    clip(found, 0.25)
    torch.testing.assert_close(found, [weight.grad for weight in weights], equal_nan=True)
    assert found[1][3, 3].isnan()
