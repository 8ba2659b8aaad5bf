"""The promises that a regularizer keeps, as checks to run on any implementation: the library's, or a reader's own.

    >>> from awdlib.contracts import check_locked_dropout
    >>> from awdlib.dropout import locked_dropout
    >>> check_locked_dropout(locked_dropout).kept
    True

The field's recurring defect is a regularizer that is silently inactive: no error, only worse results. Each check here
fails for one such defect and says what to look at.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from awdlib import _require as require

STANDARD_ERRORS = 5  #: a correct implementation strays further about once in two million draws


@dataclass(frozen=True)
class Promise:
    """One promise, and whether it was kept.

    Example:
        >>> from awdlib.contracts import Promise
        >>> print(Promise("does nothing in evaluation", kept=False, hint="look at `training`"))
        ✗ does nothing in evaluation
            hint: look at `training`
    """

    text: str  #: what is promised
    kept: bool  #: whether it was
    hint: str  #: what to look at when it was not

    def __str__(self) -> str:
        return f"✓ {self.text}" if self.kept else f"✗ {self.text}\n    hint: {self.hint}"


@dataclass(frozen=True)
class Report:
    """The promises of one contract; checks such as `check_mask` return one, and a notebook shows a line a promise."""

    promises: tuple[Promise, ...]  #: in the order in which they were looked at

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.kept for promise in self.promises)

    def broken(self) -> list[str]:
        """What was promised and not kept."""
        return [promise.text for promise in self.promises if not promise.kept]

    def __repr__(self) -> str:
        return "\n".join(map(str, self.promises))


Dropout = Callable[[Tensor, float, bool], Tensor]  #: called as ``function(x, p, training)``


def check_ordinary_dropout(function: Dropout, p: float = 0.5) -> Report:
    """Look whether ``function(x, p, training)`` is ordinary dropout on x of shape (seq_len, batch, features).

    Args:
        function: the implementation to look at.
        p: dropout probability to try.

    Example:
        Locked dropout does not draw anew at each time step:

        >>> from awdlib.contracts import check_ordinary_dropout
        >>> from awdlib.dropout import locked_dropout
        >>> "separate decisions for different time steps" in check_ordinary_dropout(locked_dropout).broken()
        True
    """
    separate = {0: "time steps", 1: "sequences", 2: "features"}
    return check_mask(function, p, shape=(8, 12, 40), shared={}, separate=separate)


def check_locked_dropout(function: Dropout, p: float = 0.5) -> Report:
    """Look whether ``function(x, p, training)`` is locked dropout on x of shape (seq_len, batch, features).

    Args:
        function: the implementation to look at.
        p: dropout probability to try.

    Example:
        torch's own dropout is not locked:

        >>> from torch.nn.functional import dropout
        >>> from awdlib.contracts import check_locked_dropout
        >>> check_locked_dropout(dropout).broken()
        ['one decision for all time steps']
    """
    return check_mask(
        function, p, shape=(8, 12, 40), shared={0: "time steps"}, separate={1: "sequences", 2: "features"}
    )


def check_embedding_dropout(function: Dropout, p: float = 0.3) -> Report:
    """Look whether ``function(weight, p, training)`` is embedding dropout on (vocab, embedding_size).

    Args:
        function: the implementation to look at.
        p: dropout probability to try.

    Example:
        One that forgets to scale what it keeps:

        >>> from awdlib.contracts import check_embedding_dropout
        >>> from awdlib.dropout import embedding_dropout
        >>> def unscaled(weight, p, training):
        ...     return (1 - p) * embedding_dropout(weight, p, training)
        >>> check_embedding_dropout(unscaled).broken()
        ['does nothing in evaluation', 'scales what it keeps by 1/(1 - p)']
    """
    return check_mask(function, p, shape=(2000, 6), shared={1: "features of a word"}, separate={0: "words"})


def check_weight_dropout(function: Dropout, p: float = 0.5) -> Report:
    """Look whether ``function(weight, p, training)`` is DropConnect on a matrix (4 * hidden_size, hidden_size).

    Args:
        function: the implementation to look at.
        p: dropout probability to try.

    Example:
        Embedding dropout in its place drops whole rows:

        >>> from awdlib.contracts import check_weight_dropout
        >>> from awdlib.dropout import embedding_dropout
        >>> "separate decisions for different columns" in check_weight_dropout(embedding_dropout).broken()
        True
    """
    return check_mask(function, p, shape=(80, 20), shared={}, separate={0: "rows", 1: "columns"})


Penalty = Callable[[Tensor, float], Tensor]  #: called as ``function(output, weight)``


def check_activation_regularization(function: Penalty) -> Report:
    """Look whether ``function(output, weight)`` is weight x mean of squares, for output (seq_len, batch, features).

    Args:
        function: the implementation to look at.

    Example:
        >>> from awdlib.contracts import check_activation_regularization
        >>> check_activation_regularization(lambda output, weight: weight * output.square().sum()).kept
        False
        >>> check_activation_regularization(lambda output, weight: weight * output.square().mean())
        ✓ has the value of the closed form
        ✓ is nothing at weight 0
        ✓ its gradient reaches the output
        ✓ is right on an output that never changes
    """
    return guarded(lambda: _look_at_penalty(function, lambda h: h.square().mean()))


def check_temporal_activation_regularization(function: Penalty) -> Report:
    """Look whether ``function(output, weight)`` is weight x mean of squared steps from one time to the next.

    Args:
        function: the implementation to look at.

    Example:
        AR in place of TAR:

        >>> from awdlib.contracts import check_temporal_activation_regularization
        >>> from awdlib.penalties import activation_regularization
        >>> check_temporal_activation_regularization(activation_regularization).broken()[0]
        'has the value of the closed form'
    """
    return guarded(lambda: _look_at_penalty(function, lambda h: (h[1:] - h[:-1]).square().mean()))


def check_weight_drop(make: Callable[[float], nn.Module], input_size: int = 6, p: float = 0.5) -> Report:
    """Look whether a recurrent layer drops its hidden-to-hidden weights, once a window, and only in training.

    Args:
        make: ``make(p)`` gives a layer with drop probability p, called as ``layer(x)`` with x of shape
            (seq_len, batch, input_size) from a zero state; what it returns begins with the outputs, as nn.LSTM's does.
        input_size: features that the layer reads.
        p: probability to try.

    Raises:
        ValueError: p is not between 0 and 1, or input_size is not positive.

    Example:
        ``nn.LSTM`` has no weight drop, and its own dropout acts between layers only:

        >>> from torch.nn import LSTM
        >>> from awdlib.contracts import check_weight_drop
        >>> check_weight_drop(lambda p: LSTM(6, 20)).broken()
        ['drops something in training', 'one mask for all time steps']
    """
    require.number("p", p, "(0, 1)")
    require.whole_number("input_size", input_size, 1)
    return guarded(lambda: _look_at_weight_drop(make, input_size, p))


def check_mask(
    function: Dropout, p: float, shape: tuple[int, ...], shared: dict[int, str], separate: dict[int, str]
) -> Report:
    """The contract of any dropout whose mask is shared along some dimensions and drawn anew along the others.

    Args:
        function: called as ``function(x, p, training)``.
        p: dropout probability.
        shape: of the x to try.
        shared: dimension -> what shares one decision along it.
        separate: dimension -> what has decisions of its own along it.

    Raises:
        ValueError: p is not between 0 and 1, a size is not positive, or shape has no such dimension.

    Example:
        Dropout of whole time steps, which no chapter uses:

        >>> from awdlib.contracts import check_mask
        >>> from awdlib.dropout import keep_mask
        >>> def drop_steps(x, p, training):
        ...     return x * keep_mask((len(x), 1, 1), p, dtype=x.dtype) if training else x
        >>> shared, separate = {1: "sequences", 2: "features"}, {0: "time steps"}
        >>> check_mask(drop_steps, 0.5, (200, 3, 4), shared, separate).kept
        True
    """
    require.number("p", p, "(0, 1)")
    require.sizes("shape", shape)
    if 0 in shape:
        raise ValueError(f"shape is {shape}; no size may be 0: there would be nothing to drop")
    for dim in (*shared, *separate):
        require.whole_number("a dimension", dim, 0, len(shape) - 1)
    return guarded(lambda: _look(function, p, shape, shared, separate))


def guarded(look: Callable[[], Iterator[Promise]]) -> Report:
    """Collect promises, from a fixed random state that is put back; a failure of the reader's code is a broken one.

    Args:
        look: calls the reader's code and yields a promise after another.

    Example:
        >>> from awdlib.contracts import Promise, guarded
        >>> def look():
        ...     yield Promise("divides", 1 / 0 > 1, "look at the divisor")
        >>> guarded(look)
        ✗ runs to the end
            hint: it raised ZeroDivisionError: division by zero
    """
    found: list[Promise] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        try:
            found.extend(look())
        except Exception as error:  # a reader's code may fail in any way: say how, instead of a traceback
            hint = f"it raised {type(error).__name__}: {error}"
            found.append(Promise("runs to the end", False, hint))
    return Report(tuple(found))


def _look(
    function: Dropout, p: float, shape: tuple[int, ...], shared: dict[int, str], separate: dict[int, str]
) -> Iterator[Promise]:
    x = torch.rand(shape, dtype=torch.float64) + 0.5  # no zeros of its own
    untouched = x.clone()
    out = function(x, p, True)
    yield Promise("returns a tensor of its input's shape", getattr(out, "shape", None) == x.shape,
                  f"the input has shape {shape}, the result {tuple(getattr(out, 'shape', ()))}")  # fmt: skip
    mask = out.detach() / untouched
    yield Promise("leaves its input untouched", x.equal(untouched), "do not multiply in place")
    yield Promise("does nothing in evaluation", function(x, p, False).equal(untouched), "look at `training`")
    yield Promise("does nothing at p = 0", function(x, 0.0, True).equal(untouched), "what is kept at p = 0?")
    kept = mask != 0  # the decisions
    yield Promise("drops something in training", not kept.all().item(), "it is silently inactive: look at `training`")
    scale = 1 / (1 - p)
    yield Promise("scales what it keeps by 1/(1 - p)", torch.allclose(mask[mask != 0], mask.new_tensor(scale)),
                  "the expectation must not change: multiply what is kept by 1/(1 - p), in training")  # fmt: skip
    for dim, name in shared.items():
        same = bool((kept == kept.narrow(dim, 0, 1)).all())
        yield Promise(f"one decision for all {name}", same, f"the mask needs size 1 in dimension {dim}")
    for dim, name in separate.items():
        differ = not (kept == kept.narrow(dim, 0, 1)).all().item()
        hint = f"all of them got the same decisions: the mask needs its full size in dimension {dim}"
        yield Promise(f"separate decisions for different {name}", differ, hint)
    yield _share_dropped(mask, p, shared)
    fresh = not function(x, p, True).equal(out)
    yield Promise("a fresh mask at each call", fresh, "draw the mask inside the function, and do not reseed")
    yield _gradient(function, untouched, p)


def _share_dropped(mask: Tensor, p: float, shared: dict[int, str]) -> Promise:
    """Whether as many decisions came out as zero as p says, within what chance allows."""
    decisions = mask
    for dim in shared:
        decisions = decisions.narrow(dim, 0, 1)
    dropped = (decisions == 0).double().mean().item()
    tolerance = STANDARD_ERRORS * math.sqrt(p * (1 - p) / decisions.numel())
    hint = f"{dropped:.0%} was dropped: p is the probability of dropping, not of keeping, and training turns it on"
    return Promise(f"drops a share of about p (here {p})", abs(dropped - p) <= tolerance, hint)


def _gradient(function: Dropout, x: Tensor, p: float) -> Promise:
    """Whether the gradient is what the mask is: 1/(1 - p) where kept, 0 where dropped."""
    x = x.clone().requires_grad_()
    out = function(x, p, True)
    if not out.requires_grad:
        reaches = False
    else:
        (gradient,) = torch.autograd.grad(out.sum(), x)
        reaches = torch.allclose(gradient, (out / x).detach())
    return Promise("lets the gradient through where it keeps, and only there", reaches,
                   "multiply the tensor itself, not a detached copy or its .data")  # fmt: skip


def _look_at_penalty(function: Penalty, closed_form: Callable[[Tensor], Tensor]) -> Iterator[Promise]:
    output = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    expected = 2.5 * closed_form(output)
    value = function(output, 2.5)
    hint = f"{value.item():.4f} where {expected.item():.4f} was due: mean or sum? squares? which elements?"
    yield Promise("has the value of the closed form", torch.allclose(value, expected), hint)
    nothing = float(function(output.detach(), 0.0)) == 0.0
    yield Promise("is nothing at weight 0", nothing, "multiply by the weight")
    (wanted,) = torch.autograd.grad(expected, output)
    given = torch.autograd.grad(value, output, allow_unused=True)[0] if value.requires_grad else None
    yield Promise("its gradient reaches the output", given is not None and torch.allclose(given, wanted),
                  "compute it from the output itself, not from a detached copy")  # fmt: skip
    still = torch.ones(7, 3, 5, dtype=torch.float64)
    same = torch.allclose(function(still, 2.5), 2.5 * closed_form(still))
    yield Promise("is right on an output that never changes", same, "a constant output has no steps, and has a size")


def _look_at_weight_drop(make: Callable[[float], nn.Module], input_size: int, p: float) -> Iterator[Promise]:
    layer = make(p).train()
    x = torch.randn(9, 1, input_size).expand(9, 2, input_size)  # two sequences that are the same

    def outputs(module: nn.Module) -> Tensor:
        result = module(x)
        return result if isinstance(result, Tensor) else result[0]

    first, second = outputs(layer), outputs(layer)
    yield Promise("drops something in training", not first.equal(second), "two windows came out the same: the "
                  "layer does not compute with the masked weight, or its mask was drawn once for all")  # fmt: skip
    yield Promise("leaves the way from input to state alone", first[0].equal(second[0]), "from a zero state the first "
                  "step does not see the hidden-to-hidden weights, and still it changed")  # fmt: skip
    yield Promise("one mask for all sequences", torch.allclose(first[:, 0], first[:, 1]), "two equal sequences differ")
    evaluated = outputs(layer.eval())
    yield Promise("does nothing in evaluation", evaluated.equal(outputs(layer)), "look at `training`")
    twin = make(0.0).eval()
    twin.load_state_dict(layer.state_dict(), strict=False)
    yield Promise("in evaluation computes with the raw weights", torch.allclose(evaluated, outputs(twin)),
                  "a layer without dropout and the same weights gives something else")  # fmt: skip
    yield from _look_at_raw_weight(layer.train(), outputs, p)
    yield _look_at_copy(layer.eval(), outputs, evaluated)


def _look_at_copy(layer: nn.Module, outputs: Callable[[nn.Module], Tensor], evaluated: Tensor) -> Promise:
    """Whether a deep copy computes the same, with weights of its own."""
    copied, kept = copy.deepcopy(layer), copy.deepcopy(layer.state_dict())
    after: list[Tensor] = []
    same = all(outputs(module).equal(evaluated) for module in (layer, copied))
    hint = "in evaluation the layer or its deep copy gives something else than before"
    if same:
        hint = "it shares a weight with its original: a function kept in a module is not copied with it"
        for module in (copied, layer):  # one after the other: a weight that they share is halved twice
            for weight in module.parameters():
                weight.data.mul_(0.5)
            after.append(outputs(module))
        same = torch.allclose(after[0], after[1])
        layer.load_state_dict(kept)
    return Promise("can be copied", same, hint)


def _look_at_raw_weight(layer: nn.Module, outputs: Callable[[nn.Module], Tensor], p: float) -> Iterator[Promise]:
    """Whether the trained parameter gets a gradient, which is zero where this window's one mask is."""
    layer.zero_grad()
    loss = outputs(layer).square().sum()
    gradients = []
    if loss.requires_grad:
        loss.backward()
        size = outputs(layer).shape[-1]
        square = [weight for weight in layer.parameters() if weight.dim() == 2 and weight.shape[1] == size]
        gradients = [weight.grad for weight in square if weight.grad is not None]
    shares = [(gradient == 0).double().mean().item() for gradient in gradients]
    dropped = max(shares, default=1.0)
    yield Promise("the gradient reaches the raw weights", dropped < 1.0, "no parameter of the hidden-to-hidden shape "
                  "gets one: after an update nothing would have been learned")  # fmt: skip
    entries = max((gradient.numel() for gradient in gradients), default=1)
    near = abs(dropped - p) <= STANDARD_ERRORS * math.sqrt(p * (1 - p) / entries)
    hint = (
        f"{dropped:.0%} of the gradient is zero and p is {p:g}: with one mask a window it is the dropped entries alone"
    )
    yield Promise("one mask for all time steps", near, hint)
