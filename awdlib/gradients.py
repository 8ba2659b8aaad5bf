"""The gradient of one window: forward, loss, backward, clip. Twice: as one would write it, and fast.

`plain_gradients` is made of torch's own functions alone; it is what the other is held to. `fast_gradients` never has
all the logits of a window at once (`awdlib.softmax`). Both leave the clipped gradient in the weights' ``grad``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from awdlib.model import Encoding, LanguageModel, Output, cross_entropy, detach, penalties
from awdlib.precision import AUTOCAST, LOSS_SCALE, autocast, choose_precision, tensor_float
from awdlib.recurrent import State
from awdlib.softmax import linear_cross_entropy
from awdlib.training_config import TrainConfig


class Window(NamedTuple):
    """One window of truncated backpropagation through time, and what comes into it; T = seq_len, B = batch.

    Example:
        >>> import torch
        >>> from awdlib.gradients import Window
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model, text = LanguageModel(ModelConfig(vocab_size=50, hidden_size=12)), torch.arange(21)[:, None]
        >>> Window(text[:-1], text[1:], model.initial_states(1)).targets.shape
        torch.Size([20, 1])
    """

    inputs: Tensor  #: (T, B) token ids
    targets: Tensor  #: (T, B) token ids
    states: Sequence[State]  #: of each layer before the window


def plain_gradients(
    model: LanguageModel, config: TrainConfig, window: Window, generator: torch.Generator | None = None
) -> tuple[Tensor, list[State]]:
    """Logits of the whole window, torch's cross entropy, torch's clip.

    Args:
        model: in training mode; ``grad`` of its weights is replaced.
        config: precision, penalties, clip and what the gradient is of.
        window: what to learn from.
        generator: source of randomness for the masks, on the model's device.

    Returns:
        the cross entropy in nats a token, and the states after the window, cut off from their history.

    Example:
        Nothing learned yet: about as good as guessing among 50 words, of which ln 50 = 3.9 is the loss.

        >>> import torch
        >>> from awdlib.gradients import Window, plain_gradients
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> from awdlib.training_config import TrainConfig
        >>> model, text = LanguageModel(ModelConfig(vocab_size=50, hidden_size=12)), torch.arange(21)[:, None]
        >>> window = Window(text[:-1], text[1:], model.initial_states(1))
        >>> loss, states = plain_gradients(model, TrainConfig(), window)
        >>> round(loss.item(), 1), torch.nn.utils.get_total_norm([w.grad for w in model.parameters()]).item() < 0.26
        (3.9, True)
    """
    device = model.embedding.device
    precision = choose_precision(config.precision, device)
    with tensor_float(precision):
        with autocast(precision, device):
            output = model(window.inputs, window.states, generator=generator)
        loss = cross_entropy(output.logits, window.targets)
        whole = objective(config, loss, output)
        model.zero_grad()
        whole.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    return loss.detach(), detach(output.states)


def fast_gradients(
    model: LanguageModel, config: TrainConfig, window: Window, generator: torch.Generator | None = None
) -> tuple[Tensor, list[State]]:
    """The same, with softmax and cross entropy in blocks of positions.

    Args:
        model: as of `plain_gradients`.
        config: as of `plain_gradients`.
        window: as of `plain_gradients`.
        generator: as of `plain_gradients`.

    Returns:
        as `plain_gradients`.

    Example:
        With equal masks they differ by rounding alone:

        >>> import torch
        >>> from awdlib.gradients import Window, fast_gradients, plain_gradients
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> from awdlib.training_config import TrainConfig
        >>> model, text = LanguageModel(ModelConfig(vocab_size=50, hidden_size=12)), torch.arange(21)[:, None]
        >>> window, found = Window(text[:-1], text[1:], model.initial_states(1)), []
        >>> for gradients in (plain_gradients, fast_gradients):
        ...     _ = gradients(model, TrainConfig(), window, torch.Generator().manual_seed(1))
        ...     found.append(model.embedding.grad)
        >>> torch.allclose(*found, atol=1e-6)
        True
    """
    device = model.embedding.device
    precision = choose_precision(config.precision, device)
    with tensor_float(precision):
        with autocast(precision, device):
            encoding = model.encode(window.inputs, window.states, generator=generator)
            dropped = encoding.dropped_output.flatten(0, 1)  # (T * B, features)
            loss = linear_cross_entropy(dropped, *model.decoder(), window.targets.flatten())
        whole = objective(config, loss, encoding)
        model.zero_grad()
        scale = LOSS_SCALE if loss.is_cuda and AUTOCAST[precision] is not None else 1.0
        (whole * scale).backward()
        clip([weight.grad for weight in model.parameters() if weight.grad is not None], config.max_grad_norm, scale)
    return loss.detach(), detach(encoding.states)


def objective(config: TrainConfig, loss: Tensor, output: Output | Encoding) -> Tensor:
    """What the gradient is of: cross entropy, and the penalties AR and TAR.

    Args:
        config: the weights of the penalties, and whether the cross entropy is summed over time.
        loss: mean cross entropy of the window, in nats a token.
        output: of the forward pass, for the penalties.

    Returns:
        a scalar.

    Example:
        Without penalties it is the cross entropy, times the steps of the window where Zaremba's rule is asked for:

        >>> import torch
        >>> from awdlib.gradients import objective
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> from awdlib.training_config import TrainConfig
        >>> output = LanguageModel(ModelConfig(vocab_size=50, hidden_size=12))(torch.arange(20)[:, None])
        >>> plain = (
        ...     TrainConfig(ar_weight=0.0, tar_weight=0.0),
        ...     TrainConfig(ar_weight=0.0, tar_weight=0.0, sum_over_time=True),
        ... )
        >>> [objective(config, torch.tensor(4.0), output).item() for config in plain]
        [4.0, 80.0]
    """
    entropy = loss * len(output.raw_output) if config.sum_over_time else loss
    return entropy + penalties(output, config.ar_weight, config.tar_weight)


@torch.no_grad()
def clip(gradients: list[Tensor], max_norm: float, scale: float = 1.0) -> None:
    """Shorten the gradient, in place, where its norm over all weights exceeds a limit (Pascanu et al. 2013).

    ``torch.nn.utils.clip_grad_norm_`` with another way to the norm on a CPU, which takes a third of the time there,
    and with the scale of the loss taken out in the same pass.

    Args:
        gradients: one a weight.
        max_norm: the limit.
        scale: what the loss was multiplied by.

    Example:
        >>> import torch
        >>> from awdlib.gradients import clip
        >>> gradients = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])]  # together of norm 5
        >>> clip(gradients, max_norm=1.0)
        >>> gradients
        [tensor([0.6000, 0.0000]), tensor([0.8000])]
    """
    if gradients[0].is_cuda:
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
    else:
        norm = torch.stack([part.flatten().dot(part.flatten()) for part in gradients]).sum().sqrt()
    factor = (scale * max_norm / (norm + scale * 1e-6)).clamp(max=1) / scale
    torch._foreach_mul_(gradients, factor)
