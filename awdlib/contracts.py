"""The promises that a regularizer keeps, as checks to run on any implementation: the library's, or a reader's own.

    >>> from awdlib.contracts import check_locked_dropout
    >>> from awdlib.dropout import locked_dropout
    >>> check_locked_dropout(locked_dropout).kept
    True

The field's recurring defect is a regularizer that is silently inactive: no error, only worse results. Each check here
fails for one such defect and says what to look at.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

STANDARD_ERRORS = 5  # a correct implementation strays further about once in two million draws


@dataclass(frozen=True)
class Promise:
    """One promise, and whether it was kept."""

    text: str
    kept: bool
    hint: str  #: what to look at when it was not

    def __str__(self) -> str:
        return f"✓ {self.text}" if self.kept else f"✗ {self.text}\n    hint: {self.hint}"


@dataclass(frozen=True)
class Report:
    """The promises of one contract, in the order in which they were looked at."""

    promises: tuple[Promise, ...]

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.kept for promise in self.promises)

    def broken(self) -> list[str]:
        """The promises that were not."""
        return [promise.text for promise in self.promises if not promise.kept]

    def __repr__(self) -> str:
        return "\n".join(map(str, self.promises))


Dropout = Callable[[Tensor, float, bool], Tensor]


def check_locked_dropout(function: Dropout, p: float = 0.5) -> Report:
    """Look whether ``function(x, p, training)`` is locked dropout on x of shape (seq_len, batch, features)."""
    return check_mask(
        function, p, shape=(8, 12, 40), shared={0: "time steps"}, separate={1: "sequences", 2: "features"}
    )


def check_embedding_dropout(function: Dropout, p: float = 0.3) -> Report:
    """Look whether ``function(weight, p, training)`` is embedding dropout on (vocab, embedding_size)."""
    return check_mask(function, p, shape=(2000, 6), shared={1: "features of a word"}, separate={0: "words"})


def check_weight_dropout(function: Dropout, p: float = 0.5) -> Report:
    """Look whether ``function(weight, p, training)`` is DropConnect on a matrix (4 * hidden_size, hidden_size)."""
    return check_mask(function, p, shape=(80, 20), shared={}, separate={0: "rows", 1: "columns"})


def check_mask(
    function: Dropout, p: float, shape: tuple[int, ...], shared: dict[int, str], separate: dict[int, str]
) -> Report:
    """The contract of any dropout whose mask is shared along some dimensions and drawn anew along the others.

    Args:
        function: called as ``function(x, p, training)``.
        p: dropout probability.
        shape: of the x to try.
        shared: dimension → what shares one decision along it.
        separate: dimension → what has decisions of its own along it.
    """
    found: list[Promise] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        try:
            found.extend(_look(function, p, shape, shared, separate))
        except Exception as error:  # a reader's code may fail in any way: say how, instead of a traceback
            hint = f"it raised {type(error).__name__}: {error}"
            found.append(Promise(f"runs on a tensor of shape {shape} in double precision", False, hint))
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
        same = (kept == kept.narrow(dim, 0, 1)).all().item()
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
