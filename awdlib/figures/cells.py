"""Sizes of models whose layers are of different cells."""

from dataclasses import replace

import torch

from awdlib import _require as require
from awdlib.model import LanguageModel, ModelConfig
from awdlib.recurrent import LAYERS


def parameters(config: ModelConfig) -> int:
    """Parameters of a model of these sizes, counted from the model itself without giving it memory.

    Args:
        config: its sizes.

    Example:
        >>> from awdlib.figures.cells import parameters
        >>> from awdlib.presets import PRESETS
        >>> [f"{parameters(PRESETS[name].model):,}" for name in ("awd-lstm-ptb", "awd-gru-ptb")]
        ['24,221,600', '19,168,700']
    """
    with torch.device("meta"):
        model = LanguageModel(config)
    return sum(weight.numel() for weight in model.parameters())


def equal_width(config: ModelConfig, cell: str) -> int:
    """The hidden size at which a model with another cell comes nearest to a model's number of parameters.

    Args:
        config: of the model whose size is to be met.
        cell: the other cell, "lstm", "gru" or "rnn".

    Raises:
        ValueError: an unknown cell.

    Example:
        >>> from awdlib.figures.cells import equal_width
        >>> from awdlib.model import ModelConfig
        >>> equal_width(ModelConfig(), "gru")
        1353
    """
    if cell not in LAYERS:
        raise ValueError(f"cell is {require.shown(cell)}; it must be one of {', '.join(LAYERS)}")
    aim, low, high = parameters(config), 1, 2

    def size(hidden: int) -> int:
        return parameters(replace(config, cell=cell, hidden_size=hidden))

    while size(high) < aim:
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= aim else (low, middle)
    return min((low, high), key=lambda hidden: abs(size(hidden) - aim))
