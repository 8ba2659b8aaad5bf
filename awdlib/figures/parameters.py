"""Where a language model's parameters are: layer by layer, kind by kind, counted from the model itself."""

from typing import Any

import plotly.graph_objects as go
import torch

from awdlib.figures.style import EMPTY, INK, MUTED, PAPER, colour, describe
from awdlib.model import LanguageModel, ModelConfig

KINDS = {
    "weight_ih": ("input to hidden", colour("input")),
    "weight_hh": ("hidden to hidden", colour("hidden")),
    "words": ("word matrices", colour("output")),
    "bias": ("biases", MUTED),
}
"""Kinds of parameters: words and colour. ``words`` are the matrices with a row for each word of the vocabulary."""
LARGEST = 18.6  #: end of the axis, in millions; a part that is larger lengthens it
_THICK, _LOW = 0.42, 0.06  #: of a bar, and where it begins above the bottom of its row, in rows
_SMALL = 1.7  #: millions below which a bar's piece has no room for its number


def count_parameters(config: ModelConfig) -> dict[str, dict[str, int]]:
    """Count the parameters of a model of these sizes, without giving it any memory.

    The model is a real `LanguageModel`, on torch's "meta" device, where tensors have shapes and no numbers.

    Args:
        config: its sizes.

    Returns:
        part of the model ("embedding", "layer 1", …, "softmax") → one of `KINDS` → parameters. A tied softmax has
        biases alone: its matrix is the embedding's.

    Example:
        >>> from awdlib.figures.parameters import count_parameters
        >>> from awdlib.model import ModelConfig
        >>> counts = count_parameters(ModelConfig())
        >>> counts["layer 3"]
        {'weight_ih': 1840000, 'weight_hh': 640000, 'bias': 3200}
        >>> sum(sum(part.values()) for part in counts.values())
        24221600
    """
    with torch.device("meta"):
        model = LanguageModel(config)
    parts: dict[str, dict[str, int]] = {"embedding": {}}
    parts |= {f"layer {number}": {} for number in range(1, config.num_layers + 1)} | {"softmax": {}}
    for name, weight in model.named_parameters():
        owner, *path = name.split(".")
        part = f"layer {int(path[0]) + 1}" if owner == "layers" else owner.removesuffix("_bias").removesuffix("_weight")
        kind = _kind(path[-1] if path else name)
        parts[part][kind] = parts[part].get(kind, 0) + weight.numel()
    return parts


def _kind(name: str) -> str:
    return "bias" if "bias" in name else name if name in KINDS else "words"


def parameters_figure(hidden_size: int, embedding_size: int, cell: str, tied: bool) -> go.Figure:
    """The parameters of each part of a model for Penn Treebank with three layers, as bars in pieces.

    Merity et al. 2017, section 5, has embeddings of 400, layers of 1,150, and the softmax tied to the embedding.

    Args:
        hidden_size: features of each layer; tied, of each but the last.
        embedding_size: features of a word.
        cell: "lstm", "gru" or "rnn".
        tied: whether the softmax uses the embedding's matrix. Then the last layer is as large as an embedding.

    Returns:
        a plotly figure with a row for each part, a piece of its bar for each kind of parameters; what a tied softmax
        shares is pale.

    Raises:
        ValueError: a size is not a positive whole number, an unknown cell, or tied is not True or False.

    Example:
        >>> from awdlib.figures.parameters import parameters_figure
        >>> for tied in (True, False):
        ...     print(parameters_figure(1150, 400, "lstm", tied).layout.annotations[0].text)
        <b>24.2 M parameters</b>
        <b>43.8 M parameters</b>
    """
    config = ModelConfig(embedding_size=embedding_size, hidden_size=hidden_size, cell=cell, tied=tied)
    counts = count_parameters(config)
    total = sum(sum(part.values()) for part in counts.values())
    masked = sum(part.get("weight_hh", 0) for part in counts.values())
    notes = _heading(total, masked)
    for row, (part, count) in enumerate(counts.items()):
        notes += _row_notes(part, count, len(counts) - row - 1, config, total)
    end = max(LARGEST, *(sum(part.values()) / 1e6 for part in counts.values()))
    layout = {
        "height": 430, "margin": {"l": 12, "r": 12, "t": 58, "b": 48}, "annotations": notes,
        "xaxis": {"range": [0, end], "tickvals": [0, 5, 10, 15], "title": {"text": "million parameters"}},
        "yaxis": {"range": [0, len(counts)], "showticklabels": False, "ticks": "", "showline": False,
                  "showgrid": False},
    }  # fmt: skip
    figure = go.Figure(data=_bars(counts, config), layout=layout)
    return describe(figure, _sentence(counts, config, total, masked))


def _bars(counts: dict[str, dict[str, int]], config: ModelConfig) -> list[dict[str, Any]]:
    """One outline for each kind, around its pieces in all rows; the first is what a tied softmax shares."""
    shared = config.vocab_size * config.embedding_size / 1e6 if config.tied else 0.0
    pieces: dict[str, list[tuple[float, float, int]]] = {"shared": [(0.0, shared, 0)]} | {kind: [] for kind in KINDS}
    for row, (part, count) in enumerate(reversed(counts.items())):
        start = 0.0
        for kind in ("weight_ih", "weight_hh", "bias") if part.startswith("layer") else ("words", "bias"):
            end = start + count.get(kind, 0) / 1e6
            pieces[kind].append((start, end, row))
            start = end
    traces = []
    for kind, rectangles in pieces.items():
        words, ink = KINDS.get(kind, ("shared with the embedding", EMPTY))
        x: list[float | None] = []
        y: list[float | None] = []
        for left, right, row in rectangles:
            low, high = row + _LOW, row + _LOW + _THICK
            x += [left, right, right, left, left, None]
            y += [low, low, high, high, low, None]
        traces.append({"type": "scatter", "x": x, "y": y, "mode": "lines", "line": {"width": 0, "color": ink},
                       "fill": "toself", "fillcolor": ink, "name": words, "hoverinfo": "skip"})  # fmt: skip
    return traces


def _heading(total: int, masked: int) -> list[dict[str, Any]]:
    keys = [(0.0, "left", "weight_ih"), (0.54, "center", "weight_hh"), (1.0, "right", "words")]
    return [
        _note(f"<b>{total / 1e6:.1f} M parameters</b>", 0, 1.1, "left", INK),
        _note(f"weight drop masks {masked / 1e6:.1f} M", 1, 1.1, "right", KINDS["weight_hh"][1]),
        *(_note(f"■ {KINDS[kind][0]}", x, 1.015, anchor, KINDS[kind][1]) for x, anchor, kind in keys),
    ]


def _row_notes(part: str, count: dict[str, int], row: int, config: ModelConfig, total: int) -> list[dict[str, Any]]:
    """Above a bar its name and sizes, and its sum; on its pieces their millions, where there is room."""
    own, rows = sum(count.values()), config.num_layers + 2
    top = (row + _LOW + _THICK) / rows
    notes = [
        _note(f"<b>{part}</b> {_sizes(part, config)}", 0, top, "left", INK),
        _note(f"{own / 1e6:.1f} M, {own / total:.0%}" if own >= 5e4 else f"{own:,} biases", 1, top, "right", MUTED),
    ]
    start = 0.0
    for kind in ("weight_ih", "weight_hh"):
        size = count.get(kind, 0) / 1e6
        text = f"{size:.1f}" if size >= _SMALL else ""
        middle = {"x": start + size / 2, "y": row + _LOW + _THICK / 2, "xref": "x", "yref": "y", "yanchor": "middle"}
        notes.append(_note(text, 0, 0, "center", PAPER) | middle)
        start += size
    return notes


def _sizes(part: str, config: ModelConfig) -> str:
    if part == "embedding":
        return f"{config.vocab_size:,} × {config.embedding_size:,}"
    if part == "softmax":
        return "shares the embedding" if config.tied else f"{config.vocab_size:,} × {config.hidden_size:,}"
    inputs, outputs = config.layer_sizes()[int(part.removeprefix("layer ")) - 1]
    return f"{inputs:,} → {outputs:,}"


def _note(text: str, x: float, y: float, anchor: str, ink: str) -> dict[str, Any]:
    return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": anchor, "yanchor": "bottom",
            "showarrow": False, "font": {"color": ink}}  # fmt: skip


def _sentence(counts: dict[str, dict[str, int]], config: ModelConfig, total: int, masked: int) -> str:
    recurrent = sum(sum(part.values()) for name, part in counts.items() if name.startswith("layer"))
    kind = f"{'Tied' if config.tied else 'Untied'} {config.cell.upper()}"
    return (
        f"{kind}, H = {config.hidden_size:,}, E = {config.embedding_size:,}: {total:,} parameters, "
        f"{recurrent / total:.0%} of them in the layers; weight drop masks {masked:,}, the hidden-to-hidden weights."
    )
