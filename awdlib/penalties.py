"""Two penalties on the last layer's output: how large it is (AR) and how fast it changes (TAR).

Merity, McCann & Socher 2017 write both with norms; the original code, followed here, takes the mean of the squares
over all elements, so that the weights do not depend on batch, window or hidden size.
"""

from torch import Tensor
from torch.nn import functional as F

from awdlib import _require as require


def activation_regularization(dropped_output: Tensor, weight: float) -> Tensor:
    """AR: weight times the mean squared activation, on the output *after* dropout (Merity et al. 2017, section 4.6).

    Args:
        dropped_output: (seq_len, batch, features), the last layer's output after locked dropout.
        weight: alpha of the paper; 0 gives 0.

    Returns:
        a scalar to be added to the loss.

    Raises:
        ValueError: the output has no element or another shape, or the weight is negative or not finite.

    Example:
        Twice as large an output costs four times as much:

        >>> import torch
        >>> from awdlib.penalties import activation_regularization
        >>> output = torch.tensor([3.0, 4.0]).view(1, 1, 2)
        >>> activation_regularization(output, 2.0).item(), activation_regularization(2 * output, 2.0).item()
        (25.0, 100.0)
    """
    _require("dropped_output", dropped_output, weight)
    return weight * dropped_output.square().mean()


def temporal_activation_regularization(raw_output: Tensor, weight: float) -> Tensor:
    """TAR: weight times the mean squared step between neighbouring times, on the output *before* dropout.

    Merity et al. 2017, section 4.6. A window of one time step has no neighbours, and so no penalty.

    Args:
        raw_output: (seq_len, batch, features), the last layer's output before dropout.
        weight: beta of the paper; 0 gives 0.

    Returns:
        a scalar to be added to the loss.

    Raises:
        ValueError: the output has no element or another shape, or the weight is negative or not finite.

    Example:
        A large output that stands still costs nothing:

        >>> import torch
        >>> from awdlib.penalties import temporal_activation_regularization
        >>> still, moving = torch.full((4, 1, 1), 9.0), torch.tensor([0.0, 1.0, 3.0, 6.0]).view(4, 1, 1)
        >>> [round(temporal_activation_regularization(x, 1.0).item(), 3) for x in (still, moving)]
        [0.0, 4.667]
    """
    _require("raw_output", raw_output, weight)
    if len(raw_output) < 2:
        return raw_output.new_zeros(())
    return weight * F.mse_loss(raw_output[1:], raw_output[:-1])


def _require(name: str, output: Tensor, weight: float) -> None:
    require.floats(name, output, "(seq_len, batch, features)")
    require.number("weight", weight, "[0, inf)")
    if output.numel() == 0:
        raise ValueError(f"{name} has shape {tuple(output.shape)}; a mean needs at least one element")
