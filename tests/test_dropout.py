"""Each mask's contract, its closed form, and that the contract itself rejects what is broken."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from awdlib import dropout
from awdlib.contracts import (
    check_embedding_dropout,
    check_locked_dropout,
    check_ordinary_dropout,
    check_weight_dropout,
)
from awdlib.dropout import embedding_dropout, keep_mask, locked_dropout, ordinary_dropout, weight_dropout

#: function, contract, a shape to try, and the shape of the mask for it
KINDS = {
    "ordinary": (ordinary_dropout, check_ordinary_dropout, (6, 3, 5), (6, 3, 5)),
    "locked": (locked_dropout, check_locked_dropout, (6, 3, 5), (1, 3, 5)),
    "embedding": (embedding_dropout, check_embedding_dropout, (9, 4), (9, 1)),
    "weight": (weight_dropout, check_weight_dropout, (8, 2), (8, 2)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_the_library_keeps_its_contract(kind, p):
    function, check, *_ = KINDS[kind]
    report = check(function, p)
    assert report.kept, report


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_is_the_input_times_the_mask_of_the_same_generator(kind):
    function, _, shape, mask_shape = KINDS[kind]
    x = torch.randn(shape, dtype=torch.float64)
    out = function(x, 0.4, generator=torch.Generator().manual_seed(3))
    mask = keep_mask(mask_shape, 0.4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert out.equal(x * mask)
    assert {*mask.unique().tolist()} == {0.0, 1 / (1 - 0.4)}


@given(st.floats(0, 1, exclude_max=True), st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 2**31))
def test_masks_keep_their_mean_at_any_p_and_shape(p, shape, seed):
    """Bernstein's inequality holds for any number of entries; the chance that a sound mask fails is 1e-9 an example."""
    mask = keep_mask(tuple(shape), p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert {*mask.unique().tolist()} <= {0.0, 1 / (1 - p)} and mask.shape == tuple(shape)
    exponent, n = math.log(2e9), mask.numel()
    share = math.sqrt(2 * p * (1 - p) * exponent / n) + 2 * exponent / (3 * n)  # of the kept from 1 - p
    assert abs(mask.mean().item() - 1) <= share / (1 - p) + 1e-9


@given(st.floats(0.02, 0.95), st.integers(0, 2**31))
def test_large_masks_keep_their_mean_within_six_standard_errors(p, seed):
    n = 4000
    mask = keep_mask((n,), p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert abs(mask.mean().item() - 1) <= 6 * math.sqrt(p / (1 - p) / n)  # entries of variance p/(1-p)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_type_and_device_follow_the_input(kind, dtype):
    function, _, shape, mask_shape = KINDS[kind]
    x = torch.ones(shape, dtype=dtype)
    out = function(x, 0.4, generator=torch.Generator().manual_seed(3))
    assert out.dtype == dtype and out.device == x.device
    reference = keep_mask(mask_shape, 0.4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(out, reference.expand(shape).to(dtype))  # the same decisions in every type
    assert function(x.to("meta"), 0.4).device.type == "meta"  # a mask made elsewhere could not be multiplied on
    with torch.device("meta"):  # nor does a default device matter
        assert function(x, 0.4).device.type == "cpu"


def test_a_mask_without_type_or_device_takes_torchs_defaults():
    masks = []
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        try:
            masks.append(keep_mask((50,), 0.4, generator=torch.Generator().manual_seed(3)))
        finally:
            torch.set_default_dtype(torch.float32)
        assert masks[-1].dtype == default and masks[-1].device.type == "cpu"
    assert (masks[0] == 0).equal(masks[1] == 0), "the decisions of a seed depend on no type"
    assert keep_mask((2,), 0.4, device="meta").device.type == "meta"


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_is_honoured_and_the_global_one_left_alone(kind):
    function, _, shape, _ = KINDS[kind]
    x, generator = torch.ones(shape), torch.Generator().manual_seed(3)
    before = torch.get_rng_state()
    first, second = function(x, 0.5, generator=generator), function(x, 0.5, generator=generator)
    assert first.equal(function(x, 0.5, generator=generator.manual_seed(3))) and not first.equal(second)
    assert before.equal(torch.get_rng_state())
    torch.manual_seed(3)  # without one, the global generator decides
    assert function(x, 0.5).equal(first)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("p", "training"), [(0.5, False), (0.0, True)], ids=["evaluation", "p = 0"])
def test_where_nothing_is_dropped_the_input_itself_comes_back_and_nothing_is_drawn(kind, p, training):
    function, _, shape, _ = KINDS[kind]
    x, generator = torch.ones(shape), torch.Generator().manual_seed(3)
    assert function(x, p, training, generator=generator) is x
    assert generator.get_state().equal(torch.Generator().manual_seed(3).get_state())


def test_training_is_what_functions_assume():
    for function, _, shape, _ in KINDS.values():
        assert (function(torch.ones(shape), 0.9) == 0).any()


#: p, and how many of the 65,536 equally likely numbers mean a zero: the nearest count
COUNTS = {0.0: 0, 2**-18: 0, 1e-4: 7, 0.25: 16_384, 0.5: 32_768, 0.7: 45_875, 0.9: 58_982}


@pytest.mark.parametrize("p", COUNTS)
def test_of_all_numbers_that_can_be_drawn_a_share_of_p_means_a_zero(p, monkeypatch):
    """Each number once: no sample, and so no tolerance but the one in the promise, 2**-17 of p."""
    every = torch.arange(-(2**15), 2**15).to(torch.int16)
    monkeypatch.setattr(dropout, "_random_numbers", lambda bits, shape, *_: every.view(shape))
    mask = keep_mask((2**16,), p, dtype=torch.float64)
    zeros = (mask == 0).sum().item()
    assert zeros == COUNTS[p] and mask[zeros:].eq(1 / (1 - p)).all()
    assert abs(zeros / 2**16 - p) <= 2**-17


@pytest.mark.parametrize("p", [0.9000001, 0.95, 0.999, 0.9999, 1 - 2**-20, 1 - 2**-32, 1 - 2**-53])
def test_where_few_are_kept_the_nearest_of_two_to_the_32_counts_is_dropped_and_never_all(p, monkeypatch):
    """Of the numbers around the border, exactly those below the count mean a zero, so that p is kept to 2**-33."""
    count = min(round(p * 2**32), 2**32 - 1)
    near = torch.arange(count - 5, min(count + 5, 2**32)) - 2**31
    monkeypatch.setattr(dropout, "_random_numbers", lambda bits, shape, *_: near.to(torch.int32) if bits == 32 else 0)
    mask = keep_mask((len(near),), p, dtype=torch.float64)
    assert mask.tolist() == [0.0] * 5 + [1 / (1 - p)] * (len(near) - 5)
    assert abs(count / 2**32 - p) <= (2**-33 if p < 1 - 2**-32 else 2**-32)


def strays_at_most(n, p):
    """How far the number of zeros among n entries strays from n p: Bernstein, with a chance of 1e-9 for a sound mask.

    Sixteen bits an entry keep p to within 2**-17, which counts as well; more bits, where there are, keep it closer.
    """
    exponent = math.log(2e9)
    return n * 2**-17 + math.sqrt(2 * n * p * (1 - p) * exponent) + 2 * exponent / 3


@pytest.mark.parametrize("p", [1e-4, 0.1, 0.5, 0.7, 0.95, 0.9999])
@pytest.mark.parametrize("shape", [(1_000_001,), (299, 7, 1, 433), (1000, 1002)], ids=str)
def test_the_share_of_zeros_is_p_in_each_quarter_of_the_numbers_drawn(shape, p):
    """Four entries come from one random number: each of its four parts must be as random as the others."""
    dropped = keep_mask(shape, p, generator=torch.Generator().manual_seed(9)).flatten() == 0
    for entries in (dropped, *(dropped[part::4] for part in range(4))):
        assert abs(entries.sum().item() - p * len(entries)) <= strays_at_most(len(entries), p)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_neighbouring_entries_know_nothing_of_each_other(p):
    """Correlations between the parts of one random number, and of neighbouring ones.

    Of n pairs of independent entries the sample correlation has a standard error of 1 / sqrt(n).
    """
    dropped = (keep_mask((1_000_003,), p, generator=torch.Generator().manual_seed(9)) == 0).double()
    centred = dropped - dropped.mean()
    for distance in range(1, 9):
        products = centred[:-distance] * centred[distance:]
        for part in range(4):
            pairs = products[part::4]
            assert abs(pairs.mean() / centred.var()) < 6 / math.sqrt(len(pairs)), (distance, part)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (3,), (5,), (3, 0), (0,), (0, 4)], ids=str)
def test_masks_of_few_entries_or_none(shape):
    masks = [keep_mask(shape, 0.5, generator=torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert all(mask.shape == shape and mask.is_contiguous() for mask in masks)
    assert {value for mask in masks for value in mask.flatten().tolist()} == ({0.0, 2.0} if masks[0].numel() else set())


def refusal(name, p):
    """The whole message: the value, the limit, and why it is one."""
    return "^" + re.escape(f"{name} is {p}; it must lie in [0, 1): at 1 nothing would be kept") + "$"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_probabilities_are_refused_also_in_evaluation(kind, p):
    function, _, shape, _ = KINDS[kind]
    for training in (True, False):
        with pytest.raises(ValueError, match=refusal("p", p)):
            function(torch.ones(shape), p, training)
    with pytest.raises(ValueError, match=refusal("p", p)):
        keep_mask(shape, p)


def test_locked_dropout_wants_three_dimensions():
    with pytest.raises(ValueError, match=r"^x has shape \(4, 5\); it must be \(seq_len, batch, features\)$"):
        locked_dropout(torch.ones(4, 5), 0.5)


def stale(x, p, training, masks={}):  # noqa: B006 (the very defect: one mask for ever)
    if not training or p == 0:
        return x
    return x * masks.setdefault((x.shape, p), keep_mask((1, *x.shape[1:]), p, dtype=x.dtype))


def in_place(x, p, training):
    if training and p:
        x.data.mul_(keep_mask((1, *x.shape[1:]), p, dtype=x.dtype))
    return x


#: implementations found in the wild, and the first promise that each breaks
BROKEN = {
    "ordinary dropout, a mask a time step": (lambda x, p, t: F.dropout(x, p, t), "one decision for all time steps"),
    "one mask for the whole batch": (
        lambda x, p, t: x * keep_mask((1, 1, x.shape[2]), p, dtype=x.dtype) if t and p else x,
        "separate decisions for different sequences",
    ),
    "one decision for all features": (
        lambda x, p, t: x * keep_mask((1, x.shape[1], 1), p, dtype=x.dtype) if t and p else x,
        "separate decisions for different features",
    ),
    "never less than a tenth": (lambda x, p, t: locked_dropout(x, max(p, 0.1), t), "does nothing at p = 0"),
    "silently inactive": (lambda x, p, t: x, "drops something in training"),
    "still on in evaluation": (lambda x, p, t: locked_dropout(x, p, True), "does nothing in evaluation"),
    "not rescaled": (
        lambda x, p, t: locked_dropout(x, p, t) * ((1 - p) if t else 1),
        "scales what it keeps by 1/(1 - p)",
    ),
    "p kept instead of dropped": (
        lambda x, p, t: x * keep_mask((1, *x.shape[1:]), 0.9, dtype=x.dtype) / 10 / 0.5 if t and p else x,
        "drops a share of about p (here 0.5)",
    ),
    "the same mask for ever": (stale, "a fresh mask at each call"),
    "gradient cut off": (
        lambda x, p, t: locked_dropout(x.detach(), p, t),
        "lets the gradient through where it keeps, and only there",
    ),
    "straight-through gradient": (
        lambda x, p, t: x + (locked_dropout(x, p, t) - x).detach(),
        "lets the gradient through where it keeps, and only there",
    ),
    "in place": (in_place, "leaves its input untouched"),
    "wrong shape": (lambda x, p, t: locked_dropout(x, p, t)[0], "returns a tensor of its input's shape"),
    "does not run": (lambda x, p, t: x @ x, "runs to the end"),
    "returns nothing": (lambda x, p, t: None, "returns a tensor of its input's shape"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_contract_rejects(name):
    function, first = BROKEN[name]
    report = check_locked_dropout(function)
    assert not report.kept
    assert report.broken()[0] == first, report
    assert "hint: " in repr(report)


@pytest.mark.parametrize(("stray", "kept"), [(0, True), (33, True), (50, True), (-50, True), (60, False), (-60, False)])
def test_a_share_may_stray_five_standard_errors_and_no_further(stray, kept):
    """480 decisions at p = 0.5: the standard error is 10.95 of them, and five are 54.8."""

    def as_many(x, p, training):
        if not training or p == 0:
            return x
        mask = torch.full((480,), 1 / (1 - p), dtype=x.dtype)
        mask[torch.randperm(480)[: 240 + stray]] = 0
        return x * mask.view(1, 12, 40)

    assert check_locked_dropout(as_many).broken() == ([] if kept else ["drops a share of about p (here 0.5)"])


def test_embedding_and_weight_contracts_reject_each_others_masks():
    assert check_embedding_dropout(weight_dropout).broken() == ["one decision for all features of a word"]
    assert "separate decisions for different columns" in check_weight_dropout(embedding_dropout).broken()
    columns = lambda w, p, t: w * keep_mask((1, w.shape[1]), p, dtype=w.dtype) if t and p else w  # noqa: E731
    assert "separate decisions for different rows" in check_weight_dropout(columns).broken()


def test_ordinary_and_locked_contracts_reject_each_others_masks():
    assert "separate decisions for different time steps" in check_ordinary_dropout(locked_dropout).broken()
    assert "one decision for all time steps" in check_locked_dropout(ordinary_dropout).broken()


def test_a_contract_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    check_locked_dropout(locked_dropout)
    assert before.equal(torch.get_rng_state())
