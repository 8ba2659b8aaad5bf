"""The four dropouts in one picture: on which axis each one shares its decisions, over a window of real words."""

from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.corpora import load_corpus
from awdlib.dropout import embedding_dropout, locked_dropout, ordinary_dropout, weight_dropout
from awdlib.figures.style import EMPTY, MUTED, ROLES, describe

SEQ_LEN, FEATURES = 20, 16  #: time steps of the window; features of a word, and units of the layer
GATES, ROWS = "ifgo", SEQ_LEN // 4  #: blocks of the layer's hidden-to-hidden matrix, and rows drawn of each
STARTS = (7030, 6478)  #: where the two sequences begin in the toy language's validation text


class Kind(NamedTuple):
    """What is written around the mask of one kind of dropout.

    Example:
        >>> from awdlib.figures.four_masks import KINDS
        >>> KINDS["embedding"].unit, KINDS["weight"].rows
        ('word type', '← rows, gate by gate')
    """

    name: str  #: of the dropout
    unit: str  #: what one random decision is for
    rows: str  #: what runs downwards
    columns: str  #: what runs to the right


#: the four, by the name that `masks` and `four_masks_figure` take
KINDS = {
    "ordinary": Kind("ordinary dropout", "entry", "← time", "feature"),
    "locked": Kind("locked dropout", "feature", "← time", "feature"),
    "embedding": Kind("embedding dropout", "word type", "← words read", "feature"),
    "weight": Kind("weight drop", "weight", "← rows, gate by gate", "hidden unit"),
}


@cache
def windows() -> tuple[Tensor, list[list[str]], int]:
    """The two sequences that the masks lie on, from the toy language's validation text.

    Returns:
        their token ids, (2, SEQ_LEN); their words; and how many word types the vocabulary has.

    Example:
        >>> from awdlib.figures.four_masks import windows
        >>> " ".join(windows()[1][1])
        'lena says that the cat always bakes the cake when the loaf that two cooks taste stirs the pan <eos>'
    """
    corpus = load_corpus("toy")
    tokens = torch.stack([corpus.valid[start : start + SEQ_LEN] for start in STARTS])
    return tokens, [corpus.vocabulary.decode(row) for row in tokens], len(corpus.vocabulary)


def masks(kind: str, p: float, seed: int) -> Tensor:
    """The mask that each of the two sequences meets in one window: the library's dropouts, applied to ones.

    Args:
        kind: "ordinary", "locked", "embedding" or "weight".
        p: dropout probability.
        seed: of the generator.

    Returns:
        (2, SEQ_LEN, FEATURES), time by feature; of weight drop (2, 4 * FEATURES, FEATURES), twice the same. Of 0 and
        1 / (1 - p).

    Raises:
        ValueError: an unknown kind, p outside [0, 1), or a seed that is not a whole number from 0 on.

    Example:
        The word "the" is read four times in each sequence; it is there at all of these steps or at none:

        >>> from awdlib.figures.four_masks import masks, windows
        >>> kept = masks("embedding", p=0.4, seed=1) > 0
        >>> [(word, kept[0, step].any().item()) for step, word in enumerate(windows()[1][0]) if word == "the"]
        [('the', False), ('the', False), ('the', False), ('the', False)]
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {require.shown(kind)}; it must be one of {', '.join(KINDS)}")
    generator = torch.Generator().manual_seed(require.whole_number("seed", seed, 0))
    if kind == "weight":
        return weight_dropout(torch.ones(4 * FEATURES, FEATURES), p, generator=generator).expand(2, -1, -1)
    if kind == "embedding":
        tokens, _, vocab_size = windows()
        return embedding_dropout(torch.ones(vocab_size, FEATURES), p, generator=generator)[tokens]
    dropout = locked_dropout if kind == "locked" else ordinary_dropout
    return dropout(torch.ones(SEQ_LEN, 2, FEATURES), p, generator=generator).transpose(0, 1)


def four_masks_figure(kind: str, p: float, seed: int) -> go.Figure:
    """One window of two sequences under one of the four dropouts: what is kept, and what is shared.

    The rows of the first three are time steps, labelled by the words read there, and their columns features. Weight
    drop masks no activation: its rows are those of the hidden-to-hidden matrix, the first few of each gate, and its
    columns the units of the hidden state before.

    Srivastava et al. 2014; Gal & Ghahramani 2016; Wan et al. 2013; Merity et al. 2017, sections 2, 4.2 and 4.3.

    Args:
        kind: "ordinary", "locked", "embedding" or "weight".
        p: dropout probability.
        seed: of the masks.

    Returns:
        a plotly figure of one heat map a sequence.

    Raises:
        ValueError: an unknown kind, p outside [0, 1), or a seed that is not a whole number from 0 on.

    Example:
        >>> from awdlib.figures.four_masks import four_masks_figure
        >>> figure = four_masks_figure("weight", p=0.5, seed=1)
        >>> figure.layout.annotations[0].text, "".join(figure.layout.yaxis.ticktext).split()
        ('<b>Weight drop</b>: one decision per weight', ['i', 'f', 'g', 'o'])
    """
    mask = masks(kind, p, seed)
    drawn = mask.view(2, 4, FEATURES, FEATURES)[:, :, :ROWS].flatten(1, 2) if kind == "weight" else mask
    figure = go.Figure()
    for kept, axis in zip((drawn > 0).to(torch.uint8).numpy(), ("", "2"), strict=True):
        figure.add_heatmap(
            z=kept, zmin=0, zmax=1, colorscale=[[0, EMPTY], [1, ROLES["kept"]]], showscale=False, xgap=1, ygap=1,
            xaxis=f"x{axis}", yaxis=f"y{axis}", hoverinfo="skip",
        )  # fmt: skip
        figure.add_scatter(
            **_between_gates(kind), mode="lines", line={"color": MUTED, "width": 1.5}, xaxis=f"x{axis}",
            yaxis=f"y{axis}", hoverinfo="skip",
        )  # fmt: skip
    figure.update_layout(_layout(kind, p))
    return describe(figure, _sentence(kind, p, mask))


def _between_gates(kind: str) -> dict[str, list[float]]:
    """Lines between the blocks of the matrix; under the other kinds there are none."""
    gap = float("nan")
    if kind != "weight":
        return {"x": [gap] * 9, "y": [gap] * 9}
    edges = [block * ROWS - 0.5 for block in (1, 2, 3)]
    return {"x": [-0.5, FEATURES - 0.5, gap] * 3, "y": [part for edge in edges for part in (edge, edge, gap)]}


def _layout(kind: str, p: float) -> dict[str, Any]:
    shared = {"showgrid": False, "ticks": "", "showline": False}
    x = shared | {
        "showticklabels": False, "range": [-0.5, FEATURES - 0.5], "title": {"text": KINDS[kind].columns, "standoff": 4},
    }  # fmt: skip
    y = shared | {"range": [SEQ_LEN - 0.5, -0.5]}
    if kind == "weight":
        centres = [(block + 0.5) * ROWS - 0.5 for block in range(4)]
        ticks = [{"tickvals": centres, "ticktext": [f"{gate}\u00a0" for gate in GATES], "tickfont": {"size": 13}}] * 2
    else:
        ticks = [{"tickvals": [*range(SEQ_LEN)], "ticktext": words, "tickfont": {"size": 11}} for words in windows()[1]]
    name, unit = KINDS[kind].name, KINDS[kind].unit
    return {
        "height": 450, "margin": {"l": 74, "r": 8, "t": 54, "b": 58},
        "xaxis": x | {"domain": [0, 0.42]}, "xaxis2": x | {"domain": [0.58, 1]},
        "yaxis": y | ticks[0] | {"title": {"text": KINDS[kind].rows, "standoff": 4}},
        "yaxis2": y | ticks[1] | {"anchor": "x2"},
        "annotations": [
            _note(f"<b>{_capital(name)}</b>: one decision per {unit}", 0, 1.075) | {"xshift": -66},  # room on a phone
            _note("sequence 1", 0, 1.005), _note("sequence 2: same" if kind == "weight" else "sequence 2", 0.58, 1.005),
            _note(f"■ kept, and multiplied by {1 / (1 - p):.2f}", 0, -0.155, ROLES["kept"]),
            _note("□ dropped", 1, -0.155, MUTED) | {"xanchor": "right"},
        ],
    }  # fmt: skip


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _note(text: str, x: float, y: float, ink: str = "") -> dict[str, Any]:
    font = {"font": {"color": ink}} if ink else {}
    return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
            "showarrow": False} | font  # fmt: skip


def _sentence(kind: str, p: float, mask: Tensor) -> str:
    """What the mask shares, with its numbers, for those who cannot see it."""
    return (
        f"{_capital(KINDS[kind].name)}, p = {p:g}: one decision {_shared(kind, mask == 0)}. What is kept is multiplied "
        f"by {1 / (1 - p):.2f}."
    )


def _shared(kind: str, dropped: Tensor) -> str:
    share = f"{dropped.double().mean().item():.0%}"
    if kind == "weight":
        return (
            f"for each of the {dropped[0].numel():,} weights of a hidden-to-hidden matrix for {FEATURES} units, the "
            f"same at every step and in both sequences; {share} of them are dropped, and the first {ROWS} rows of "
            "each gate are drawn"
        )
    if kind == "embedding":
        return f"for each of {windows()[2]:,} word types, the same in both sequences; {_gone(dropped)}"
    if kind == "locked":
        return (
            f"for each feature of a sequence, which holds for all {SEQ_LEN} steps; it drops {_stripes(dropped[0])} of "
            f"sequence 1 and {_stripes(dropped[1])} of sequence 2"
        )
    return (
        f"for each of {dropped.numel()} entries, shared by no other step and no other sequence; {share} of them are "
        "dropped"
    )


def _stripes(dropped: Tensor) -> str:
    """The features (counted from 1) that are dropped at every step."""
    numbers = [str(number + 1) for number in dropped.all(0).nonzero().flatten().tolist()]
    return f"feature{'s' * (len(numbers) != 1)} {', '.join(numbers)}" if numbers else "no feature"


def _gone(dropped: Tensor) -> str:
    """The words whose rows are dropped, with how often they would have been read."""
    rows = dropped.all(2)
    words = windows()[1]
    times = Counter(words[sequence][step] for sequence, step in rows.nonzero().tolist())
    names = [word if count == 1 else f"{word} ({count} times)" for word, count in times.most_common()]
    return f"gone here: {', '.join(names)}" if names else "none of these words is gone"
