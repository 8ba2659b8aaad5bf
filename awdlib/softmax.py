"""Softmax and cross entropy over a large vocabulary in one function, and never all of a window's logits at once.

The logits of a window are the largest tensor of the whole model: at the paper's sizes 2,800 positions times 10,000
words, and autograd would keep several of them. Here they exist for a block of positions at a time, and the gradients
are computed in the same breath, because the gradient of the cross entropy with respect to the logits is known at once:

    softmax(logits) - one_hot(target)

`linear_cross_entropy` does it; ``F.cross_entropy(F.linear(...))`` is the plain way that it is tested against.
"""

from typing import Any

import torch
from torch import Tensor

from awdlib import _require as require

BLOCK = {"cpu": 512, "cuda": 4096}  #: positions at a time: on a CPU, what its caches hold; a GPU wants few, large ones


def linear_cross_entropy(x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy of ``softmax(x weight^T + bias)`` against targets, in nats.

    Under autocast the matrix products run in its precision; softmax, loss and all sums stay in at least single
    precision, and weight and bias get gradients of their own precision. Differentiable once.

    Args:
        x: (num_targets, features), floating point.
        weight: (vocab_size, features).
        bias: (vocab_size,).
        targets: (num_targets,), token ids.

    Returns:
        a scalar.

    Raises:
        ValueError: a shape, kind or device is none of these, or there is no target; on the CPU, a target is outside
            the vocabulary. On a GPU, targets are not looked at, since that would make it wait.

    Example:
        It is torch's own cross entropy:

        >>> import torch
        >>> from awdlib.softmax import linear_cross_entropy
        >>> x, weight, targets = torch.randn(6, 4), torch.randn(9, 4), torch.arange(6)
        >>> loss = linear_cross_entropy(x, weight, torch.zeros(9), targets)
        >>> torch.allclose(loss, torch.nn.functional.cross_entropy(x @ weight.t(), targets))
        True
    """
    require.floats("x", x, "(num_targets, features)")
    require.token_ids("targets", targets, "(num_targets,)")
    require.floats("weight", weight, "(vocab_size, features)")
    require.shape("weight", weight, (len(weight), x.shape[1]), "a row a word, as long as a row of x")
    require.shape("bias", bias, (len(weight),), "a number a word")
    require.shape("targets", targets, (len(x),), "one for each row of x")
    for name, tensor in (("x", x), ("bias", bias), ("targets", targets)):
        require.same_device(name, tensor, "the weight", weight)
    if len(targets) == 0:
        raise ValueError("there are no targets; a mean needs at least one")
    if targets.device.type == "cpu":
        require.known("targets", targets, len(weight))
    precision = x.dtype
    if torch.is_autocast_enabled(x.device.type):
        precision = torch.get_autocast_dtype(x.device.type)
    if not torch.is_grad_enabled():  # nothing wants a gradient then, which the function below could not know
        x, weight, bias = x.detach(), weight.detach(), bias.detach()
    loss: Tensor = _LinearCrossEntropy.apply(x, weight, bias, targets, precision)
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradients are made on the way forward, where the softmax is at hand; the way back only scales them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, precision: torch.dtype) -> Tensor:
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        cast_x, cast_weight, cast_bias = (tensor.to(precision) for tensor in (x, weight, bias))
        exact = torch.promote_types(precision, torch.float32)  # at least single, also where the products are in half
        total = torch.zeros((), dtype=exact, device=x.device)
        grad_x = torch.empty_like(x) if wants_x else None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        grad_bias = torch.zeros_like(bias) if wants_bias else None

        block = BLOCK.get(x.device.type, len(x))
        products = cast_x.new_empty(min(block, len(x)), len(weight))  # one block of memory for all blocks of positions
        for begin in range(0, len(x), block):
            positions = slice(begin, begin + block)
            rows, words = cast_x[positions], targets[positions, None]
            product = products[: len(rows)]
            logits = torch.addmm(cast_bias, rows, cast_weight.t(), out=product).to(exact)  # (block, vocab_size)
            largest, of_targets = logits.amax(dim=1), logits.gather(1, words)[:, 0]
            probabilities = torch.softmax(logits, dim=1, out=logits)
            # log of the softmax's denominator, read off at the likeliest word: its probability cannot underflow
            total += (largest - probabilities.amax(dim=1).log() - of_targets).sum()

            error = probabilities.scatter_add_(1, words, probabilities.new_full(words.shape, -1.0))
            if grad_bias is not None:
                grad_bias += error.sum(dim=0)
            error = error.to(precision)
            if grad_x is not None:
                grad_x[positions] = error @ cast_weight
            if grad_weight is not None and precision == weight.dtype:
                grad_weight.addmm_(error.t(), rows)
            elif grad_weight is not None:  # a product in half precision, summed in single
                grad_weight += error.t() @ rows
        ctx.save_for_backward(grad_x, grad_weight, grad_bias)
        ctx.num_targets = len(x)
        return total / len(x)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        require.first_derivative("linear_cross_entropy")
        scale = grad_loss / ctx.num_targets
        return (*(grad if grad is None else grad * scale.to(grad.dtype) for grad in ctx.saved_tensors), None, None)
