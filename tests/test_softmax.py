"""Softmax and loss in blocks against torch's own: value, gradients, refusals, and how much is in memory at once."""

import itertools

import pytest
import torch
from helpers import Largest, Products
from hostile import assert_refused, table
from torch.nn import functional as F

from awdlib import softmax
from awdlib.softmax import linear_cross_entropy

BLOCK, FEATURES, VOCAB = 4, 5, 13
NAMES = ("x", "weight", "bias")
BF16 = 2.0**-9  #: the largest relative error of rounding to bfloat16, which has eight bits


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setitem(softmax.BLOCK, "cpu", BLOCK)


def problem(num_targets, dtype=torch.float64, wanting=NAMES):
    tensors = {
        "x": torch.randn(num_targets, FEATURES, dtype=dtype),
        "weight": torch.randn(VOCAB, FEATURES, dtype=dtype),
        "bias": torch.randn(VOCAB, dtype=dtype),
    }
    for name in wanting:
        tensors[name].requires_grad_()
    return *tensors.values(), torch.randint(VOCAB, (num_targets,))


def plain(x, weight, bias, targets):
    return F.cross_entropy(F.linear(x, weight, bias), targets)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, {"rtol": 1e-12, "atol": 1e-14}), (torch.float32, {"rtol": 1e-5, "atol": 1e-6})],
    ids=["double", "single"],
)
@pytest.mark.parametrize("num_targets", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 2])
def test_value_and_gradients_are_those_of_torch(num_targets, dtype, tolerance):
    *tensors, targets = problem(num_targets, dtype)
    ours, theirs = linear_cross_entropy(*tensors, targets), plain(*tensors, targets)
    torch.testing.assert_close(ours, theirs, **tolerance)
    upstream = torch.tensor(-2.5, dtype=dtype)
    for one, other in zip(*(torch.autograd.grad(loss, tensors, upstream) for loss in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other, **tolerance)


@pytest.mark.parametrize("num_targets", [BLOCK, 2 * BLOCK + 1])
def test_gradcheck(num_targets):
    *tensors, targets = problem(num_targets)
    assert torch.autograd.gradcheck(lambda *tensors: linear_cross_entropy(*tensors, targets), tensors)


@pytest.mark.parametrize("wanting", [few for n in range(4) for few in itertools.combinations(NAMES, n)], ids=" ".join)
def test_gradients_reach_those_who_want_one_and_no_other(wanting):
    *tensors, targets = problem(2 * BLOCK + 1, wanting=wanting)
    with Products() as products:
        loss = linear_cross_entropy(*tensors, targets)
    assert len(products.dtypes) == 3 * (1 + ("x" in wanting) + ("weight" in wanting)), "three blocks, and no vain work"
    torch.testing.assert_close(loss, plain(*tensors, targets))
    assert loss.requires_grad == bool(wanting)
    if wanting:
        loss.backward()
        wanted = [tensor for tensor in tensors if tensor.requires_grad]
        for tensor, gradient in zip(wanted, torch.autograd.grad(plain(*tensors, targets), wanted), strict=True):
            torch.testing.assert_close(tensor.grad, gradient)
    assert [name for name, tensor in zip(NAMES, tensors, strict=True) if tensor.grad is not None] == list(wanting)


def test_without_gradients_there_is_a_value():
    *tensors, targets = problem(2 * BLOCK + 1)
    with torch.no_grad():
        with Products() as products:
            loss = linear_cross_entropy(*tensors, targets)
        torch.testing.assert_close(loss, plain(*tensors, targets))
    assert not loss.requires_grad
    assert len(products.dtypes) == 3, "three blocks, and no vain work"


def test_the_inputs_stay_as_they_are():
    *tensors, targets = problem(2 * BLOCK + 1)
    before = [tensor.detach().clone() for tensor in (*tensors, targets)]
    linear_cross_entropy(*tensors, targets).backward()
    assert all(old.equal(new) for old, new in zip(before, (*tensors, targets), strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_a_thousand_nats_apart(dtype):
    """exp(-1000) is 0 in every type, and exp(1000) infinite: the target may be the likeliest word or the least."""
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0], [0.5]], dtype=dtype, requires_grad=True)
    weight = torch.tensor([[500.0], [-500.0], [0.0]], dtype=dtype, requires_grad=True)
    bias, targets = torch.zeros(3, dtype=dtype, requires_grad=True), torch.tensor([1, 0, 0, 1, 2])
    ours, theirs = linear_cross_entropy(x, weight, bias, targets), plain(x, weight, bias, targets)
    assert ours.item() == theirs.item() == (1000 + 1000 + 0 + 0 + 250) / 5
    gradients = [torch.autograd.grad(loss, (x, weight, bias)) for loss in (ours, theirs)]
    for one, other in zip(*gradients, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("where", NAMES)
def test_what_is_not_a_number_stays_visible(where):
    """Training finds out by the loss that it has diverged."""
    *tensors, targets = problem(2 * BLOCK + 1, wanting=())
    tensors[NAMES.index(where)].view(-1)[-1] = float("nan")
    assert linear_cross_entropy(*tensors, targets).isnan()


def test_a_way_back_that_is_gone_twice_gives_the_same_even_if_the_first_result_is_changed():
    *tensors, targets = problem(2 * BLOCK + 1)
    loss = linear_cross_entropy(*tensors, targets)
    first = torch.autograd.grad(loss, tensors, retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    for gradient in first:
        gradient.zero_()  # as a clip changes it, in place
    assert all(old.equal(new) for old, new in zip(kept, torch.autograd.grad(loss, tensors), strict=True))


def test_a_second_derivative_is_refused():
    """Also where torch would take the first for a constant, and the sum with another term would be silently wrong."""
    *tensors, targets = problem(BLOCK)
    loss = linear_cross_entropy(*tensors, targets)
    with pytest.raises(ValueError, match="^linear_cross_entropy is differentiable once: leave out create_graph=True"):
        torch.autograd.grad(loss, tensors, create_graph=True)


def test_there_never_are_logits_of_more_than_a_block():
    num_targets, features, vocab = 16 * BLOCK, 2, 50
    x, weight, bias = (torch.randn(s, requires_grad=True) for s in ((num_targets, features), (vocab, features), vocab))
    targets, seen = torch.randint(vocab, (num_targets,)), {}
    for function in (plain, linear_cross_entropy):
        with Largest() as seen[function]:
            function(x, weight, bias, targets).backward()
    assert seen[plain].stored >= num_targets * vocab  # where they are, it shows
    assert seen[linear_cross_entropy].stored == BLOCK * vocab > max(x.numel(), weight.numel())


@pytest.mark.parametrize("x_dtype", [torch.float32, torch.bfloat16], ids=["single", "half"])
def test_under_autocast_products_are_in_half_and_all_else_in_single(x_dtype):
    """Every difference from double precision is one of the roundings that autocast is for.

    Logits are rounded to bfloat16 once, so that each is off by BF16 of the largest, delta, at most; the loss, a
    logarithm of a sum less a logit, by 2 delta, and each probability by 2 delta of itself. The error of the logits is
    rounded on its way into the products, and so are the products. What the sums add in single precision, and the
    squares of all these, lie within a tenth of the bound.
    """
    num_targets, features, vocab = 8 * BLOCK + 1, 6, 40
    x = torch.randn(num_targets, features).bfloat16().to(x_dtype).requires_grad_()
    weight = (0.1 * torch.randn(vocab, features)).bfloat16().float().requires_grad_()
    bias = (0.1 * torch.randn(vocab)).bfloat16().float().requires_grad_()
    targets = torch.randint(vocab, (num_targets,))
    with torch.autocast("cpu", torch.bfloat16), Products() as products:
        loss = linear_cross_entropy(x, weight, bias, targets)
    gradients = torch.autograd.grad(loss, (x, weight, bias))
    assert {*products.dtypes} == {torch.bfloat16} and loss.dtype == torch.float32
    assert [gradient.dtype for gradient in gradients] == [x_dtype, torch.float32, torch.float32]

    exact = [tensor.detach().double().requires_grad_() for tensor in (x, weight, bias)]
    exact_x, exact_weight, _ = (tensor.detach() for tensor in exact)
    logits = F.linear(*exact)
    exact_loss = F.cross_entropy(logits, targets)
    expected = torch.autograd.grad(exact_loss, exact)
    delta = BF16 * logits.detach().abs().max()
    assert abs(loss.double() - exact_loss) <= 1.1 * 2 * delta

    probabilities = logits.detach().softmax(1)
    error = (probabilities - F.one_hot(targets, vocab)).abs()
    off = (2 * delta * probabilities + BF16 * error) / num_targets
    blocks = range(0, num_targets, BLOCK)
    parts = [error[at : at + BLOCK].t() @ exact_x[at : at + BLOCK].abs() / num_targets for at in blocks]
    bounds = (
        off @ exact_weight.abs() + 3 * BF16 * expected[0].abs(),  # rounded as a product, in the scale, and when scaled
        off.t() @ exact_x.abs() + BF16 * sum(parts),  # rounded as a product of each block
        2 * delta * probabilities.sum(0) / num_targets,  # no product: the sum of the errors as they are
    )
    for name, gradient, right, bound in zip(NAMES, gradients, expected, bounds, strict=True):
        assert ((gradient.double() - right).abs() <= 1.1 * bound).all(), name


X, WEIGHT, BIAS, TARGETS = torch.ones(6, 4), torch.ones(9, 4), torch.zeros(9), torch.arange(6)


@table({
    "x as a list": (lambda: linear_cross_entropy([1.0], WEIGHT, BIAS, TARGETS), r"x is \[1.0\]; it must be a tensor"),
    "a window for x": (
        lambda: linear_cross_entropy(torch.ones(3, 2, 4), WEIGHT, BIAS, TARGETS),
        r"x has shape \(3, 2, 4\); it must be \(num_targets, features\)"),
    "x of whole numbers": (lambda: linear_cross_entropy(X.long(), WEIGHT, BIAS, TARGETS), r"x holds torch\.int64"),
    "a weight of one row": (lambda: linear_cross_entropy(X, X[0], BIAS, TARGETS), r"weight has shape \(4,\)"),
    "a weight of whole numbers": (
        lambda: linear_cross_entropy(X, WEIGHT.long(), BIAS, TARGETS), r"weight holds torch\.int64"),
    "a transposed weight": (
        lambda: linear_cross_entropy(X, WEIGHT.t(), BIAS, TARGETS),
        r"weight is a tensor of shape \(4, 9\); it must have shape \(4, 4\): a row a word, as long as a row of x"),
    "a bias too long": (
        lambda: linear_cross_entropy(X, WEIGHT, torch.zeros(10), TARGETS),
        r"bias is a tensor of shape \(10,\); it must have shape \(9,\): a number a word"),
    "no bias": (lambda: linear_cross_entropy(X, WEIGHT, None, TARGETS), "bias is None; it must have shape"),
    "targets of a window": (
        lambda: linear_cross_entropy(X, WEIGHT, BIAS, TARGETS.view(3, 2)), r"targets has shape \(3, 2\)"),
    "targets that are no ids": (
        lambda: linear_cross_entropy(X, WEIGHT, BIAS, TARGETS.int()), r"targets holds torch\.int32; token ids are"),
    "a target too few": (
        lambda: linear_cross_entropy(X, WEIGHT, BIAS, TARGETS[:5]),
        r"targets is a tensor of shape \(5,\); it must have shape \(6,\): one for each row of x"),
    "no targets": (
        lambda: linear_cross_entropy(X[:0], WEIGHT, BIAS, TARGETS[:0]),
        "there are no targets; a mean needs at least one"),
    "an id of -1": (
        lambda: linear_cross_entropy(X, WEIGHT, BIAS, TARGETS - 1),
        "targets has ids from -1 to 4; the vocabulary has 0 to 8"),
    "an id too high": (
        lambda: linear_cross_entropy(X, WEIGHT, BIAS, TARGETS + 4),
        "targets has ids from 4 to 9; the vocabulary has 0 to 8"),
    **{f"{name} elsewhere": (
        lambda name=name: linear_cross_entropy(**{
            given: tensor.to("meta" if given == name else "cpu")
            for given, tensor in zip((*NAMES, "targets"), (X, WEIGHT, BIAS, TARGETS), strict=True)}),
        rf"{'x' if name == 'weight' else name} is on \w+ and the weight on \w+") for name in (*NAMES, "targets")},
})  # fmt: skip
def test_what_does_not_fit_is_refused(call, line):
    assert_refused(call, line)


def test_the_last_id_of_the_vocabulary_is_one():
    assert linear_cross_entropy(X, WEIGHT, BIAS, TARGETS + 3).isfinite()
