"""The check of a whole loss, for an exercise of the chapter *Activation regularization*."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised

Objective = Callable[..., Tensor]  #: ``function(logits, targets, raw, dropped, alpha, beta, training)``


def check_whole_loss(function: Objective) -> Report:
    """Exercise 4: a whole loss, ``function(logits, targets, raw, dropped, alpha, beta, training)``.

    It is the mean cross entropy, to which training adds AR on the dropped and TAR on the raw output.

    Args:
        function: the reader's; logits are (seq_len, batch, vocab), targets (seq_len, batch) token ids, raw and
            dropped (seq_len, batch, features).

    Example:
        A loss that forgets its penalties:

        >>> from torch.nn.functional import cross_entropy
        >>> from awdlib.exercises.activation_objective import check_whole_loss
        >>> def bare(logits, targets, raw, dropped, alpha, beta, training):
        ...     return cross_entropy(logits.flatten(0, 1), targets.flatten())
        >>> check_whole_loss(bare).broken()[:2]
        ['AR: α times the mean square of the dropped output', "AR's gradient reaches the dropped output, and no other"]
    """
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(6, 3, 9, dtype=torch.float64, generator=generator)
    targets = torch.randint(9, (6, 3), generator=generator)
    raw = torch.randn(6, 3, 4, dtype=torch.float64, generator=generator)
    dropped = raw * torch.tensor([2.0, 0.0, 2.0, 2.0], dtype=torch.float64)
    if is_empty(function, logits.clone(), targets.clone(), raw.clone(), dropped.clone(), 2.0, 1.0, True):
        return YOUR_TURN
    found: list[Promise] = []
    try:
        found.extend(_look(function, (logits, targets, raw, dropped)))
    except Exception as error:  # a reader's code may fail in any way: say how, instead of a traceback
        found.append(raised("runs to the end", error))
    return Report(tuple(found))


def _look(function: Objective, window: tuple[Tensor, Tensor, Tensor, Tensor]) -> Iterator[Promise]:
    def call(window: Any, alpha: float, beta: float, training: bool = True) -> Tensor:
        value = function(*(part.clone() for part in window), alpha, beta, training)
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise TypeError("the loss must be a tensor of one number")
        return value.reshape(()).double()

    logits, targets, raw, dropped = window
    entropy = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    bare = call(window, 0.0, 0.0)
    yield Promise("cross entropy alone with both weights 0", torch.allclose(bare, entropy),
                  f"{bare.item():.4f} where {entropy.item():.4f} was due: a mean over all tokens, "
                  "and nothing of weight 0")  # fmt: skip
    evaluated = call(window, 2.0, 1.5, False)
    yield Promise("cross entropy alone in evaluation", torch.allclose(evaluated, bare),
                  "perplexity is of the prediction alone: add the penalties in training only")  # fmt: skip
    ar, tar = (call(window, 2.0, 0.0) - bare) / 2.0, (call(window, 0.0, 1.5) - bare) / 1.5
    size, step = dropped.square().mean(), raw.diff(dim=0).square().mean()
    yield Promise("AR: α times the mean square of the dropped output", torch.allclose(ar, size),
                  _hint(ar, raw, dropped, _ar_mistakes))  # fmt: skip
    yield _reaches("AR", function, window, (2.0, 0.0), 3)
    yield Promise("TAR: β times the mean square of the steps in time of the raw output", torch.allclose(tar, step),
                  _hint(tar, raw, dropped, _tar_mistakes))  # fmt: skip
    yield _reaches("TAR", function, window, (0.0, 1.5), 2)
    together = call(window, 2.0, 1.5) - bare
    yield Promise("both together are the sum of each alone", torch.allclose(together, 2.0 * ar + 1.5 * tar),
                  "neither penalty may depend on the other's weight")  # fmt: skip
    one = tuple(part[:1] for part in window)
    lone = call(one, 0.0, 1.5) - call(one, 0.0, 0.0)
    yield Promise("a window of one step is charged no TAR", lone.abs().item() < 1e-9,
                  "the mean of nothing is not a number: leave TAR out where there are no steps" if lone.isnan() else
                  f"it was charged {lone.item():.4f}, and has no step in it")  # fmt: skip
    small = (call(one, 2.0, 0.0) - call(one, 0.0, 0.0)) / 2.0
    yield Promise("a window of one step has its AR", torch.allclose(small, dropped[:1].square().mean()),
                  "AR needs no steps: leave out TAR only" if small.abs().item() < 1e-9 else
                  _hint(small, raw[:1], dropped[:1], _ar_mistakes))  # fmt: skip
    single = tuple(part[:, :1] for part in window)
    found = (call(single, 0.0, 1.5) - call(single, 0.0, 0.0)) / 1.5
    yield Promise("a batch of one sequence has its TAR", torch.allclose(found, raw[:, :1].diff(dim=0).square().mean()),
                  "its steps in time are as many as ever: which dimension do you look at?"
                  if found.isnan() or found.abs().item() < 1e-9 else
                  _hint(found, raw[:, :1], dropped[:, :1], _tar_mistakes))  # fmt: skip


def _reaches(name: str, function: Objective, window: Any, weights: tuple[float, float], due: int) -> Promise:
    """Whether the gradient of one penalty goes to the tensor it is of, and to no other."""
    text = f"{name}'s gradient reaches the {'dropped' if due == 3 else 'raw'} output, and no other"
    logits, targets, *outputs = (part.clone() for part in window)
    outputs = [output.requires_grad_() for output in outputs]
    value = function(logits, targets, *outputs, *weights, True)
    if not value.requires_grad:
        return Promise(text, False, "no gradient comes back: is something detached, or turned into a plain number?")
    grads = torch.autograd.grad(value, outputs, allow_unused=True)
    reached = [grad is not None and bool(grad.abs().sum() > 0) for grad in grads]
    if not any(reached):
        return Promise(text, False, "no gradient comes back: is something detached?")
    return Promise(text, reached == [due == 2, due == 3], "it goes to the other output, or to both")


_Mistakes = Callable[[Tensor, Tensor], tuple[tuple[Tensor, str], ...]]


def _hint(given: Tensor, raw: Tensor, dropped: Tensor, mistakes: _Mistakes) -> str:
    for value, hint in mistakes(raw, dropped):
        if torch.allclose(given, value.to(given.dtype)):
            return hint
    return "which output, which dimension, a mean or a sum, squares or a norm?"


def _ar_mistakes(raw: Tensor, dropped: Tensor) -> tuple[tuple[Tensor, str], ...]:
    size = dropped.square().mean()
    exchanged = "that is a charge on steps: α is the weight of AR, β that of TAR"
    return (
        (size * 0, "it charges nothing: is it added at all, and in training?"),
        (raw.square().mean(), "that is of the raw output: AR looks at what is left after dropout"),
        (-size, "a penalty is added to the loss, not taken from it"),
        (2 * size, "twice what is due: multiply by α once"),
        (raw.diff(dim=0).square().mean(), exchanged),
        (dropped.diff(dim=0).square().mean(), exchanged),
        (size * dropped.numel(), "that is a sum: a mean does not depend on window, batch and size"),
        (size * dropped.numel() / dropped.shape[1], "divide by all elements, not by the sequences alone"),
        (dropped.norm(), "that is a norm: the code takes the mean of squares"),
        (size.sqrt(), "no root: the code takes the mean of squares"),
        (dropped.norm(dim=-1).mean(), "those are norms, as in the paper's formula: the code takes the mean of squares"),
        (dropped.abs().mean(), "square it"),
    )


def _tar_mistakes(raw: Tensor, dropped: Tensor) -> tuple[tuple[Tensor, str], ...]:
    step, number = raw.diff(dim=0).square().mean(), raw[1:].numel()
    across = "those are differences between sequences: time is dimension 0 here"
    return (
        (step * 0, "it charges nothing: is it added at all, and in training?"),
        (dropped.diff(dim=0).square().mean(), "that is of the dropped output: TAR looks at the raw one"),
        (raw.diff(dim=1).square().mean(), across),
        (dropped.diff(dim=1).square().mean(), f"{across}; and TAR looks at the raw output"),
        (raw.diff(dim=2).square().mean(), "those are differences between units: time is dimension 0"),
        (-step, "a penalty is added to the loss, not taken from it"),
        (1.5 * step, "multiply by β once"),
        (dropped.square().mean(), "that is the size, which α weighs: β is the weight of the steps"),
        (step * number, "that is a sum: a mean does not depend on window, batch and size"),
        (step * number / raw.numel(), "there are T - 1 steps: divide by their number, not by that of the activations"),
        (raw.diff(dim=0).norm(), "that is a norm: the code takes the mean of squares"),
        (raw.diff(dim=0).norm(dim=-1).mean(), "those are norms: the code takes the mean of squares"),
        (step.sqrt(), "no root: the code takes the mean of squares"),
        ((raw.roll(1, 0) - raw).square().mean(), "the window is no ring: its ends are not neighbours"),
        (raw.square().mean(), "that is the size, not the step from one time to the next"),
        (raw.norm(dim=-1).diff(dim=0).square().mean(), "that is the norm-stabilizer: take the step of the vectors"),
    )
