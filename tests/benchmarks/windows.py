"""Random text: the same for all that read it."""

from collections.abc import Iterator
from itertools import cycle

import torch
from sizes import Sizes
from torch import Tensor

SEED = 1
DIFFERENT = 4  # windows before the first comes again


def tokens(sizes: Sizes, count: int) -> Tensor:
    """A stream of token ids."""
    return torch.randint(sizes.model.vocab_size, (count,), generator=torch.Generator().manual_seed(SEED))


def windows(sizes: Sizes, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets, (window, batch) each, on and on."""
    rows = tokens(sizes, (DIFFERENT * sizes.window + 1) * sizes.batch).view(-1, sizes.batch).to(device)
    starts = range(0, len(rows) - 1, sizes.window)
    return cycle([(rows[n : n + sizes.window], rows[n + 1 : n + 1 + sizes.window]) for n in starts])
