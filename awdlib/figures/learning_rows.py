"""Which rows of the embedding matrix learn in which window: those whose word is read and not dropped."""

from typing import Any

import numpy as np
from torch import Tensor

from awdlib.figures.style import BLUE, EMPTY, ORANGE, describe, use_style

ABSENT, DROPPED, LEARNS = 0, 1, 2  #: what can happen to a row in a window


def rows_figure(happens: Tensor) -> Any:
    """What happens to each row in window after window: its word is not there, dropped, or read (matplotlib).

    Args:
        happens: (rows, windows) of `ABSENT`, `DROPPED` or `LEARNS`; rows from the most frequent word on.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: happens has not two dimensions, or is empty.

    Example:
        >>> import torch
        >>> from awdlib.figures.learning_rows import rows_figure
        >>> rows_figure(torch.tensor([[2, 2, 1, 2], [0, 2, 0, 0]])).get_label()
        'Of 2 rows in 4 windows, 50% of the places learn through the input, 12% are dropped, 38% are not in the window.'
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap

    if happens.dim() != 2 or happens.numel() == 0:
        raise ValueError(f"happens has shape {tuple(happens.shape)}; give (rows, windows), neither of them 0")
    rows, windows = happens.shape
    edges = np.arange(rows + 1) + 1.0  # of ranks: row r reaches from r to r + 1 on the logarithmic axis
    with use_style():
        figure, ax = plt.subplots(figsize=(6.6, 4.6))
        inks = ListedColormap([EMPTY, ORANGE, BLUE])
        ax.pcolormesh(np.arange(windows + 1), edges, happens.numpy(), cmap=inks, vmin=0, vmax=2, rasterized=True)
        ax.set(yscale="log", ylim=(rows + 1, 1), xlabel="window of training", ylabel="rank of the row's word")
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.grid(False)
        ax.set_title("■ learns through the input", color=BLUE, fontsize=11)
        ax.set_title("■ dropped", color=ORANGE, fontsize=11, loc="right")
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    share = [(happens == kind).double().mean().item() for kind in (LEARNS, DROPPED, ABSENT)]
    return describe(
        figure,
        f"Of {rows:,} rows in {windows} windows, {share[0]:.0%} of the places learn through the input, {share[1]:.0%} "
        f"are dropped, {share[2]:.0%} are not in the window.",
    )
