"""One primitive, every regularizer: each dropout is a `keep_mask` of another shape.

=================  ==========================  =======================================  ======================
regularizer        shape of the mask           what is shared                           source
=================  ==========================  =======================================  ======================
ordinary dropout   (seq_len, batch, features)  nothing                                  Srivastava et al. 2014
locked dropout     (1, batch, features)        one mask for all time steps              Gal & Ghahramani 2016
embedding dropout  (vocab, 1)                  one decision for a word, wherever it is  Gal & Ghahramani 2016
weight drop        weight.shape                one mask for all steps and sequences     Wan et al. 2013
=================  ==========================  =======================================  ======================

Locked dropout is also called variational dropout, weight drop DropConnect; ordinary dropout is no part of AWD-LSTM.
AWD-LSTM's three are drawn once a window. All are scaled by 1 / (1 - p), so that the expectation is unchanged, and
switched off in evaluation. They are functions: the state of a mask is nobody's business but the window's.
"""

import math

import torch
from torch import Tensor

from awdlib import _require as require


def require_probability(name: str, p: float) -> None:
    """Raise unless p is a dropout probability.

    Args:
        name: what the message calls it.
        p: the value to check.

    Raises:
        ValueError: p is outside [0, 1), or not a number.

    Example:
        >>> from awdlib.dropout import require_probability
        >>> require_probability("dropout_input", 1.0)
        Traceback (most recent call last):
            ...
        ValueError: dropout_input is 1.0; it must lie in [0, 1): at 1 nothing would be kept
    """
    require.number(name, p, "[0, 1)", ": at 1 nothing would be kept")


def keep_mask(
    shape: tuple[int, ...],
    p: float,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Draw independent entries that are 0 with probability ``p`` and 1 / (1 - p) otherwise, so of mean 1.

    Srivastava et al. 2014, section 10 ("inverted" dropout: scaled in training, so that evaluation is untouched).

    Args:
        shape: shape of the mask; dimensions of size 1 are shared when it is multiplied on.
        p: probability of a zero, in [0, 1); kept to within 2**-17, since sixteen random bits decide an entry. Above
            0.9, where few entries carry the mean, it is 32 bits and 2**-33.
        generator: source of randomness, on ``device``; None takes torch's global one.
        device: where the mask is made.
        dtype: floating-point type of the mask; None takes torch's default.

    Returns:
        the mask, of that shape.

    Raises:
        ValueError: p is outside [0, 1), a size is negative, dtype is not a floating-point type, or the generator is
            for another device.

    Example:
        Two values, and a mean of about 1:

        >>> import torch
        >>> from awdlib.dropout import keep_mask
        >>> mask = keep_mask((100, 1000), p=0.2, generator=torch.Generator().manual_seed(1))
        >>> mask.unique().tolist(), round(mask.mean().item(), 2)
        ([0.0, 1.25], 1.0)
    """
    require_probability("p", p)
    require.sizes("shape", shape)
    device = require.device(device)
    require.generator(generator, device)
    if not (dtype or torch.get_default_dtype()).is_floating_point:
        raise ValueError(f"dtype is {dtype}; a mask needs a floating-point type, such as torch.float32")
    bits = 16 if p <= 0.9 else 32
    numbers = _random_numbers(bits, shape, generator, device)
    dropped = min(round(p * 2**bits), 2**bits - 1)  # so many of the 2**bits possible numbers mean a zero
    mask = torch.empty(shape, device=device, dtype=dtype)
    torch.ge(numbers, dropped - 2 ** (bits - 1), out=mask)  # 1 where kept, 0 elsewhere
    return mask.div_(1 - p)


def _random_numbers(
    bits: int, shape: tuple[int, ...], generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Whole numbers of 16 or 32 bits, all equally likely: four or two from each random number of 64 bits.

    On a CPU the drawing is what a mask costs. This takes less than a third of the time that uniform numbers do.
    """
    entries, each = math.prod(shape), 64 // bits
    drawn = torch.empty(-(-entries // each), dtype=torch.int64, device=device)  # rounded up
    drawn.random_(-(2**63), None, generator=generator)
    return drawn.view(torch.int16 if bits == 16 else torch.int32)[:entries].view(shape)


def ordinary_dropout(x: Tensor, p: float, training: bool = True, *, generator: torch.Generator | None = None) -> Tensor:
    """Zero every entry on its own: another mask at each time step.

    Srivastava et al. 2014, section 4; on an LSTM's non-recurrent connections, Zaremba et al. 2014, section 3.2.

    Args:
        x: any shape.
        p: dropout probability, in [0, 1).
        training: False returns x itself.
        generator: source of randomness on x's device.

    Returns:
        the same shape.

    Raises:
        ValueError: p is outside [0, 1), or x does not hold floating-point numbers.

    Example:
        Every step of a window keeps other features:

        >>> import torch
        >>> from awdlib.dropout import ordinary_dropout
        >>> dropped = ordinary_dropout(torch.ones(35, 1, 400), p=0.5)
        >>> torch.equal(dropped[0], dropped[1])
        False
    """
    require.floats("x", x)
    return weight_dropout(x, p, training, generator=generator)


def locked_dropout(x: Tensor, p: float, training: bool = True, *, generator: torch.Generator | None = None) -> Tensor:
    """Zero the same features at every time step of the window, other features for each sequence.

    Gal & Ghahramani 2016, section 4; Merity et al. 2017, section 4.2. The code behind the paper's own figures drew a
    new mask at each step, shared by the sequences; its corrected version does what the paper says, as this does.

    Args:
        x: (seq_len, batch, features).
        p: dropout probability, in [0, 1).
        training: False returns x itself.
        generator: source of randomness on x's device.

    Returns:
        (seq_len, batch, features).

    Raises:
        ValueError: p is outside [0, 1), or x does not have three dimensions of floating-point numbers.

    Example:
        Every step of a window keeps the same features, and a sequence beside it others:

        >>> import torch
        >>> from awdlib.dropout import locked_dropout
        >>> dropped = locked_dropout(torch.ones(35, 2, 400), p=0.5)
        >>> all(torch.equal(step, dropped[0]) for step in dropped), torch.equal(dropped[:, 0], dropped[:, 1])
        (True, False)
    """
    require.floats("x", x, "(seq_len, batch, features)")
    if _drops_nothing(p, training):
        return x
    _, batch, features = x.shape
    return x * keep_mask((1, batch, features), p, generator=generator, device=x.device, dtype=x.dtype)


def embedding_dropout(
    weight: Tensor, p: float, training: bool = True, *, generator: torch.Generator | None = None
) -> Tensor:
    """Zero whole rows of the embedding matrix, so that a dropped word vanishes everywhere in the window.

    Gal & Ghahramani 2016, section 4.2; Merity et al. 2017, section 4.3. Where the softmax is tied to the embedding
    it must use the whole ``weight``, not the result.

    Args:
        weight: (vocab, embedding_size).
        p: dropout probability, in [0, 1).
        training: False returns weight itself.
        generator: source of randomness on weight's device.

    Returns:
        (vocab, embedding_size).

    Raises:
        ValueError: p is outside [0, 1), or weight does not have two dimensions of floating-point numbers.

    Example:
        A word is there as a whole or not at all:

        >>> import torch
        >>> from awdlib.dropout import embedding_dropout
        >>> kept = embedding_dropout(torch.ones(1000, 5), p=0.1) > 0
        >>> torch.equal(kept.any(dim=1), kept.all(dim=1)), 0.85 < kept.float().mean().item() < 0.95
        (True, True)
    """
    require.floats("weight", weight, "(vocab, embedding_size)")
    if _drops_nothing(p, training):
        return weight
    return weight * keep_mask((len(weight), 1), p, generator=generator, device=weight.device, dtype=weight.dtype)


def weight_dropout(
    weight: Tensor, p: float, training: bool = True, *, generator: torch.Generator | None = None
) -> Tensor:
    """Zero single entries of a weight matrix: DropConnect, for the recurrent matrix of an LSTM.

    Wan et al. 2013; Merity et al. 2017, section 2. Masking the weights, not the activations, leaves the recurrence
    itself untouched, so that the fast kernels for whole sequences still apply.

    Args:
        weight: any shape; for an LSTM's hidden-to-hidden matrix (4 * hidden_size, hidden_size).
        p: dropout probability, in [0, 1).
        training: False returns weight itself.
        generator: source of randomness on weight's device.

    Returns:
        the same shape; gradients reach ``weight`` and are 0 exactly where the mask is.

    Raises:
        ValueError: p is outside [0, 1), or weight does not hold floating-point numbers.

    Example:
        What was dropped is not trained on this window:

        >>> import torch
        >>> from awdlib.dropout import weight_dropout
        >>> weight_hh = torch.ones(80, 20, requires_grad=True)
        >>> dropped = weight_dropout(weight_hh, p=0.5)
        >>> dropped.sum().backward()
        >>> torch.equal(weight_hh.grad, dropped.detach())  # at weights of 1 both are the mask
        True
    """
    require.floats("weight", weight)
    if _drops_nothing(p, training):
        return weight
    return weight * keep_mask(tuple(weight.shape), p, generator=generator, device=weight.device, dtype=weight.dtype)


def _drops_nothing(p: float, training: bool) -> bool:
    require_probability("p", p)
    return not require.switch("training", training) or p == 0
