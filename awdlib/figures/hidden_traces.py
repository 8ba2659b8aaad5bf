"""Hidden traces, seen as sums of cosines over time, and what the two penalties alone would make of them."""

import math

import torch
from torch import Tensor

from awdlib import _require as require


def cosine_basis(seq_len: int) -> Tensor:
    """The cosines of which any trace of this length is a sum: the orthonormal basis of the discrete cosine transform.

    Row k is a cosine that makes k half turns over the window. The rows are the eigenvectors of the matrix of second
    differences with free ends, with eigenvalues 2 - 2 cos(pi k / seq_len) (Strang 1999, DCT-2).

    Args:
        seq_len: time steps.

    Returns:
        (seq_len, seq_len) in double precision, by frequency and time; ``cosine_basis(T) @ trace`` are the
        coefficients of a trace (T, features).

    Raises:
        ValueError: seq_len is not positive.

    Example:
        A constant trace has its whole power at frequency 0:

        >>> import torch
        >>> from awdlib.figures.hidden_traces import cosine_basis
        >>> (cosine_basis(4) @ torch.ones(4, dtype=torch.float64)).round(decimals=6).tolist()
        [2.0, 0.0, -0.0, -0.0]
    """
    require.whole_number("seq_len", seq_len, 1)
    time = torch.arange(seq_len, dtype=torch.float64) + 0.5
    frequency = math.pi / seq_len * torch.arange(seq_len, dtype=torch.float64)
    basis = math.sqrt(2 / seq_len) * torch.cos(frequency[:, None] * time)
    basis[0] /= math.sqrt(2)
    return basis
