"""Hidden traces of models, drawn in colour over the words read.

The chapter on them also takes from here what `awdlib.figures.penalty_pull` and `awdlib.figures.penalty_runs` hold.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from awdlib.figures.penalty_pull import cosine_basis, pull_figure, sizes
from awdlib.figures.penalty_runs import by_seed, learning_figure, spectrum_figure, states_figure
from awdlib.figures.style import DIVERGING, colormap, describe, use_style

__all__ = [
    "by_seed", "cosine_basis", "lab_figure", "learning_figure", "pull_figure", "spectrum_figure", "states_figure",
    "traces_figure",
]  # fmt: skip


def traces_figure(traces: Mapping[str, Tensor], words: Sequence[str], units: int = 32) -> Any:
    """Hidden traces of several models over the same words, side by side in one scale of colour (matplotlib).

    Args:
        traces: by the name to write, (seq_len, features) each.
        words: (seq_len,) the words read.
        units: of each trace, which are drawn.

    Returns:
        a matplotlib figure; time runs downwards.

    Raises:
        ValueError: there is no trace.

    Example:
        >>> import torch
        >>> from awdlib.figures.hidden_traces import traces_figure
        >>> figure = traces_figure({"one": torch.zeros(2, 4), "other": torch.ones(2, 4)}, ["the", "sea"])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['one', 'other']
    """
    import matplotlib.pyplot as plt

    if not traces:
        raise ValueError("there are no traces to draw: name at least one")
    top = max(trace[:, :units].abs().max().item() for trace in traces.values())
    with use_style():
        figure, row = plt.subplots(1, len(traces), figsize=(1.4 + 2.8 * len(traces), 4.8), sharey=True, squeeze=False)
        for axes, (name, trace) in zip(row[0], traces.items(), strict=True):
            axes.imshow(trace[:, :units].numpy(), cmap=colormap(DIVERGING), vmin=-top, vmax=top, aspect="auto")
            axes.set(title=name, xlabel="unit", xticks=[])
            axes.grid(False)
            axes.tick_params(length=0)
        row[0, 0].set_yticks(range(len(words)), words, fontsize=9)
        plt.close(figure)
    return figure


def lab_figure(trace: Tensor, words: Sequence[str], perplexity: float) -> Any:
    """The hidden trace of one model, under a line of its sizes (matplotlib): what the chapter's lab shows.

    Args:
        trace: (seq_len, features).
        words: (seq_len,) the words read.
        perplexity: on the validation text.

    Returns:
        a matplotlib figure.

    Example:
        >>> import torch
        >>> from awdlib.figures.hidden_traces import lab_figure
        >>> lab_figure(torch.ones(2, 4), ["the", "sea"], 60.0).get_label()
        'validation perplexity 60.0, mean h² 1.000, mean (Δh)² 0.000'
    """
    size, step = sizes(trace)
    sentence = f"validation perplexity {perplexity:.1f}, mean h² {size:.3f}, mean (Δh)² {step:.3f}"
    figure = traces_figure({f"perplexity {perplexity:.1f}\nmean h² {size:.3f}, mean (Δh)² {step:.3f}": trace}, words)
    return describe(figure, sentence)
