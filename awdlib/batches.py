"""Cutting a token stream into parallel columns, and the columns into windows of random length.

A corpus is one long stream. `batchify` lays it out as ``batch_size`` columns that are read side by side, top to
bottom; training walks down the columns in windows, carries the hidden state from one to the next, and
backpropagates inside a window only (truncated backpropagation through time). `WindowLengths` draws how long each
window is (Merity et al. 2017, section 4.1).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from awdlib import _require as require


def batchify(tokens: Tensor, batch_size: int) -> Tensor:
    """Lay a stream out as columns of equal length, dropping the few tokens left over.

    Args:
        tokens: (num_tokens,) token ids in reading order.
        batch_size: number of columns.

    Returns:
        (rows, batch_size), column b continuing where column b - 1 ended.

    Raises:
        ValueError: tokens are not token ids, batch_size is not positive, or the columns would hold fewer than 2 tokens.

    Example:
        >>> import torch
        >>> from awdlib.batches import batchify
        >>> batchify(torch.arange(11), batch_size=3)
        tensor([[0, 3, 6],
                [1, 4, 7],
                [2, 5, 8]])
    """
    require.token_ids("tokens", tokens, "(num_tokens,)")
    batch_size = require.whole_number("batch_size", batch_size, 1)
    if len(tokens) < 2:
        raise ValueError(f"the text has {len(tokens)} tokens; it needs at least 2, one to read and one to predict")
    rows = len(tokens) // batch_size
    if rows < 2:
        raise ValueError(
            f"batch_size {batch_size} cuts {len(tokens):,} tokens into columns of {rows}; a column needs at least 2 "
            f"(an input and a target): use a batch_size of at most {len(tokens) // 2}"
        )
    return tokens[: rows * batch_size].view(batch_size, rows).t().contiguous()


@dataclass(frozen=True, kw_only=True)
class WindowLengths:
    """The distribution of window lengths (Merity et al. 2017, section 4.1; numbers from the original code).

    A base length is ``bptt``, or half of it with probability ``short_probability``; the length is drawn from
    Normal(base, spread), cut to an integer, and never below ``minimum`` nor above ``maximum``. With ``spread`` and
    ``short_probability`` both 0 every window has exactly ``bptt`` tokens.

    Args:
        bptt: nominal window in tokens, also the length at which the learning rate is unscaled.
        short_probability: probability of the halved base.
        spread: standard deviation in tokens.
        minimum: shortest window in tokens.
        maximum: longest window in tokens (fine-tuning uses ``bptt + 10``), or None for no limit.

    Raises:
        ValueError: a value is out of range.

    Example:
        The paper's windows have a mean of 67.7 tokens, and so do many draws:

        >>> import torch
        >>> from awdlib.batches import WindowLengths
        >>> lengths = WindowLengths(bptt=70)
        >>> round(lengths.mean(), 1)
        67.7
        >>> generator = torch.Generator().manual_seed(1)
        >>> round(sum(lengths.draw(generator) for _ in range(10_000)) / 10_000)
        68
    """

    bptt: int = 70
    short_probability: float = 0.05
    spread: float = 5.0
    minimum: int = 5
    maximum: int | None = None

    def __post_init__(self) -> None:
        require.declared_types(self)
        require.whole_number("minimum", self.minimum, 1)
        if self.bptt < self.minimum:
            raise ValueError(f"bptt is {self.bptt}; it must be at least the minimum window, {self.minimum}")
        require.number("short_probability", self.short_probability, "[0, 1]")
        require.number("spread", self.spread, "[0, inf)")
        if self.maximum is not None and self.maximum < self.bptt:
            raise ValueError(f"maximum is {self.maximum}; it must be at least bptt, {self.bptt}")

    def draw(self, generator: torch.Generator | None = None) -> int:
        """Draw one length in tokens; two numbers are taken from the generator each time.

        Args:
            generator: source of randomness, on the CPU; None takes torch's global one.
        """
        require.generator(generator, "cpu")
        short = torch.rand((), generator=generator, dtype=torch.float64).item() < self.short_probability
        noise = torch.randn((), generator=generator, dtype=torch.float64).item()
        length = int((self.bptt / 2 if short else self.bptt) + self.spread * noise)
        length = max(self.minimum, length)
        return length if self.maximum is None else min(self.maximum, length)

    def probabilities(self) -> dict[int, float]:
        """The distribution in closed form, length -> probability, lengths of probability above 1e-12 only.

        ``int`` cuts towards zero, so length k > 0 collects the mass of Normal(base, spread) on [k, k + 1).
        """
        longest = math.ceil(self.bptt + 10 * self.spread) + 1
        found: dict[int, float] = {}
        for length in range(longest + 1):
            mass = sum(
                weight * (self._below(length + 1, base) - (self._below(length, base) if length else 0.0))
                for base, weight in ((self.bptt, 1 - self.short_probability), (self.bptt / 2, self.short_probability))
            )
            clipped = max(self.minimum, length)
            clipped = clipped if self.maximum is None else min(self.maximum, clipped)
            found[clipped] = found.get(clipped, 0.0) + mass
        return {length: mass for length, mass in found.items() if mass > 1e-12}

    def mean(self) -> float:
        """Expected length in tokens."""
        return sum(length * mass for length, mass in self.probabilities().items())

    def _below(self, edge: float, base: float) -> float:
        """P(Normal(base, spread) < edge)."""
        if self.spread == 0:
            return float(base < edge)
        return 0.5 * (1 + math.erf((edge - base) / (self.spread * math.sqrt(2))))


def window(columns: Tensor, start: int, length: int) -> tuple[Tensor, Tensor]:
    """The window of at most ``length`` rows that begins at row ``start``, and its targets, one row further down.

    Args:
        columns: (rows, batch) from `batchify`.
        start: first row of the inputs.
        length: rows wanted; fewer come back where the columns end.

    Returns:
        inputs (seq_len, batch) and targets (seq_len, batch).

    Raises:
        ValueError: no row of inputs and its targets begins at ``start``, or length is not positive.

    Example:
        >>> import torch
        >>> from awdlib.batches import window
        >>> inputs, targets = window(torch.arange(6)[:, None], start=1, length=3)
        >>> inputs.flatten().tolist(), targets.flatten().tolist()
        ([1, 2, 3], [2, 3, 4])
    """
    require.tensor("columns", columns, "(rows, batch)")
    length = require.whole_number("the window's length", length, 1)
    start = require.whole_number("start", start, 0)
    if start > len(columns) - 2:
        raise ValueError(
            f"start is {start}; in columns of {len(columns)} rows the last window begins at row {len(columns) - 2}"
        )
    seq_len = min(length, len(columns) - 1 - start)
    return columns[start : start + seq_len], columns[start + 1 : start + 1 + seq_len]


def fixed_windows(columns: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every window of ``length`` rows in order, the last one shorter: each target once. For evaluation.

    Args:
        columns: (rows, batch) from `batchify`.
        length: rows of a window.

    Yields:
        inputs and targets, each (seq_len, batch).

    Raises:
        ValueError: length is not positive.

    Example:
        >>> import torch
        >>> from awdlib.batches import fixed_windows
        >>> [targets.flatten().tolist() for _, targets in fixed_windows(torch.arange(6)[:, None], length=3)]
        [[1, 2, 3], [4, 5]]
    """
    require.whole_number("the window's length", length, 1)
    for start in range(0, len(columns) - 1, length):
        yield window(columns, start, length)


def ends_epoch(columns: Tensor, start: int) -> bool:
    """Whether an epoch of training is over at row ``start``: fewer than 2 targets a column are left.

    The original code stops there too, so an epoch covers every target but at most one a column.

    Args:
        columns: (rows, batch) from `batchify`.
        start: the row at which the next window would begin.

    Raises:
        ValueError: start is negative, or not a whole number.

    Example:
        Six rows hold five targets a column; at row 4 one is left, and the epoch ends without it:

        >>> import torch
        >>> from awdlib.batches import ends_epoch
        >>> [ends_epoch(torch.arange(6)[:, None], start) for start in (0, 3, 4, 5)]
        [False, False, True, True]
    """
    require.whole_number("start", start, 0)
    return len(columns) - 1 - start < 2
