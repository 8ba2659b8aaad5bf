"""Words that go missing: three ways to drop at the input, and what the models of the experiment make of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.corpora import load_corpus
from awdlib.dropout import embedding_dropout, keep_mask, locked_dropout
from awdlib.figures import comparison
from awdlib.figures.style import (
    BLUE,
    EMPTY,
    GOLD,
    INK,
    MUTED,
    ORANGE,
    PINK,
    ROLES,
    colour,
    describe,
    use_style,
)

SEQ_LEN, FEATURES, LINE = 20, 8, 5  #: words of a sequence, features of a word, words of a line
STARTS = (7030, 6478)  #: where the two sequences begin in the toy language's validation text
#: the three ways, by what gets a coin of its own
WAYS = {
    "entries": "one coin for each feature of a sequence",
    "tokens": "one coin for each position",
    "types": "one coin for each word of the vocabulary",
}
#: of the arms of the experiment
INKS = {
    "nothing": MUTED, "nothing, half as long": INK, "entries 0.1": ORANGE, "tokens 0.1": PINK, "types 0.1": BLUE,
    "types 0.3": GOLD,
}  # fmt: skip


@cache
def window() -> tuple[Tensor, list[list[str]]]:
    """The two sequences that are drawn: their token ids (SEQ_LEN, 2), and their words, sequence by sequence.

    Example:
        >>> from awdlib.figures.missing_words import window
        >>> " ".join(window()[1][0][:5])
        'the cook tastes lena <eos>'
    """
    corpus = load_corpus("toy")
    rows = [corpus.valid[start : start + SEQ_LEN] for start in STARTS]
    return torch.stack(rows, 1), [corpus.vocabulary.decode(row) for row in rows]


def draw(way: str, p: float, seed: int) -> Tensor:
    """What the window's embedded words are multiplied by, under one of `WAYS`.

    Gal & Ghahramani 2016, section 4.2, and Merity et al. 2018, section 4.3, for the types.

    Args:
        way: "entries" (locked dropout), "tokens" or "types" (embedding dropout).
        p: dropout probability.
        seed: of the generator.

    Returns:
        (SEQ_LEN, 2, FEATURES) of 0 and 1 / (1 - p).

    Raises:
        ValueError: an unknown way, p outside [0, 1), or a seed that is not a whole number from 0 on.

    Example:
        The word "the" is read again and again; dropped as a type, it is gone everywhere:

        >>> from awdlib.figures.missing_words import draw, window
        >>> kept = draw("types", p=0.4, seed=1).any(2)
        >>> {kept[t, b].item() for b in (0, 1) for t, word in enumerate(window()[1][b]) if word == "the"}
        {False}
    """
    if way not in WAYS:
        raise ValueError(f"way is {require.shown(way)}; it must be one of {', '.join(WAYS)}")
    generator = torch.Generator().manual_seed(require.whole_number("seed", seed, 0))
    tokens, _ = window()
    if way == "types":
        rows = torch.ones(len(load_corpus("toy").vocabulary), FEATURES)
        return embedding_dropout(rows, p, generator=generator)[tokens]
    if way == "tokens":
        return keep_mask((SEQ_LEN, 2, 1), p, generator=generator).expand(-1, -1, FEATURES)
    return locked_dropout(torch.ones(SEQ_LEN, 2, FEATURES), p, generator=generator)


def ways_figure(way: str, p: float, seed: int) -> go.Figure:
    """Two sequences of one batch as they stand in the text, each word over the cells of its embedding (plotly).

    Args:
        way: "entries", "tokens" or "types".
        p: dropout probability.
        seed: of the masks.

    Returns:
        a plotly figure, in which words that are gone as a whole are pale, and their cells empty.

    Raises:
        ValueError: as `draw` says.

    Example:
        >>> from awdlib.figures.missing_words import ways_figure
        >>> ways_figure("types", p=0.3, seed=2).layout.annotations[0].text
        '<b>types</b>: one coin for each word of the vocabulary'
    """
    kept = draw(way, p, seed) > 0
    lines = SEQ_LEN // LINE
    block = 3 * lines + 2  # of a line two rows for its words and one for their cells; below the sequence a gap
    cells = np.full((block + 3 * lines, LINE * (FEATURES + 1)), np.nan)
    x, y, present, gone = [], [], [], []
    for b in range(2):
        for t, word in enumerate(window()[1][b]):
            row, left = 3 * (t // LINE) + b * block, (t % LINE) * (FEATURES + 1)
            cells[row + 2, left : left + FEATURES] = kept[t, b].numpy()
            x.append(left + (FEATURES - 1) / 2)
            y.append(row + 0.75)
            whole = bool(kept[t, b].any())
            # a blank, not nothing: plotly.js takes an empty text's place away and then misses it when the slider moves
            present.append(f"<b>{_shown(word)}</b>" if whole else " ")
            gone.append(" " if whole else f"<i>{_shown(word)}</i>")
    figure = go.Figure(
        go.Heatmap(
            z=cells, zmin=0, zmax=1, showscale=False, xgap=1, ygap=1, hoverinfo="skip",
            colorscale=[[0, EMPTY], [1, ROLES["kept"]]],
        )
    )  # fmt: skip
    for words, ink in ((present, INK), (gone, MUTED)):
        figure.add_scatter(
            x=x, y=y, text=words, mode="text", textfont={"color": ink, "size": 12}, hoverinfo="skip", cliponaxis=False
        )
    figure.update_layout(_ways_layout(way, p, block, cells.shape))
    return describe(figure, _ways_sentence(way, p, kept))


def _shown(word: str) -> str:
    return word.replace("<", "‹").replace(">", "›")  # plotly reads tags


def _ways_layout(way: str, p: float, block: int, shape: tuple[int, ...]) -> dict[str, Any]:
    height, width = shape
    hidden = {"showgrid": False, "showticklabels": False, "ticks": "", "showline": False}

    def note(text: str, x: float, y: float, side: str, ink: str = INK) -> dict[str, Any]:
        return {"text": text, "x": x, "y": y, "xref": "paper", "yref": "y", "xanchor": side, "yanchor": "bottom",
                "showarrow": False, "font": {"color": ink}}  # fmt: skip

    below = height + 1.2
    return {
        "height": 500, "margin": {"l": 6, "r": 6, "t": 8, "b": 8},
        "xaxis": hidden | {"range": [-0.8, width - 1.2]},
        "yaxis": hidden | {"range": [below + 0.2, -4.6]},
        "annotations": [
            note(f"<b>{way}</b>: {WAYS[way]}", 0, -2.6, "left"),
            note("sequence 1", 0, -0.6, "left", MUTED),
            note("sequence 2", 0, block - 0.6, "left", MUTED),
            note(f"■ kept, × {1 / (1 - p):.2f}", 0, below, "left", ROLES["kept"]),
            note("□ dropped", 1, below, "right", MUTED),
        ],
    }  # fmt: skip


def _ways_sentence(way: str, p: float, kept: Tensor) -> str:
    begin = f"Two sequences of {SEQ_LEN} words; {way}, {WAYS[way]}, p = {p:g}: "
    if way == "entries":
        gone = [int((~kept[0, b]).sum()) for b in range(2)]
        return (
            f"{begin}{gone[0]} of {FEATURES} features are dropped from all words of sequence 1, and {gone[1]} from all "
            "of sequence 2."
        )
    words = [window()[1][b][t] for b in range(2) for t in range(SEQ_LEN) if not kept[t, b].any()]
    if not words:
        return f"{begin}no word is gone."
    total = Counter(word for sequence in window()[1] for word in sequence)
    names = (f"{word} ({count} of {total[word]})" for word, count in Counter(words).most_common())
    return f"{begin}{len(words)} of {2 * SEQ_LEN} words are gone: {', '.join(names)}."


def arms_figure(runs: Sequence[Mapping[str, Any]], floor: float) -> Any:
    """Validation perplexity by epoch of every arm and seed; a shorter run ends in a dot (matplotlib).

    Args:
        runs: each with an "arm" of `INKS` and its "valid" perplexities.
        floor: of the validation text.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: there is no run, or an arm has no colour.

    Example:
        >>> from awdlib.figures.missing_words import arms_figure
        >>> runs = [{"arm": "nothing", "valid": [60.0, 50.0]}, {"arm": "types 0.1", "valid": [70.0, 30.0]}]
        >>> [text.get_text() for text in arms_figure(runs, 15.5).axes[0].texts]
        [' floor: what the grammar itself reaches', 'types 0.1', 'nothing']
    """
    if not runs:
        raise ValueError("there are no runs to draw: give at least one")
    inks = {run["arm"]: (run["arm"], _ink(run["arm"])) for run in runs}
    return comparison.arms_figure(comparison.curves_by_arm(runs, inks), floor, limits=(0.95 * floor, 105))


def hole_figure(costs: Mapping[str, Sequence[float]], distances: Sequence[int]) -> Any:
    """Nats that are lost when one word cannot be seen, by how far before the predicted one it stood (matplotlib).

    Args:
        costs: by arm of `INKS`, or "grammar": the loss in nats at each distance.
        distances: in words; 1 is the word just before.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there is nothing to draw, an arm has no colour, or its costs are not as many as the distances.

    Example:
        >>> from awdlib.figures.missing_words import hole_figure
        >>> hole_figure({"grammar": [0.7, 0.1], "nothing": [1.9, 0.3]}, [1, 2]).get_label()
        'Nats lost by distance of the missing word: grammar 0.70 at 1, 0.10 at 2; nothing 1.90 at 1, 0.30 at 2.'
    """
    import matplotlib.pyplot as plt

    if not costs or any(len(values) != len(distances) for values in costs.values()):
        raise ValueError(f"costs has {[len(values) for values in costs.values()]} values: give one for each distance")
    with use_style():
        figure, axes = plt.subplots(figsize=(6.6, 4.2))
        for place, (name, values) in enumerate(sorted(costs.items(), key=lambda item: -item[1][0])):
            ink = colour("floor") if name == "grammar" else _ink(name)
            dash = "--" if name == "grammar" else "-"
            axes.plot(distances, values, dash, color=ink, marker="o", markersize=4)
            axes.annotate(f"{name}  {values[0]:.2f}", (0.42, 0.93 - 0.1 * place), xycoords="axes fraction", color=ink,
                          fontweight="bold")  # fmt: skip
        axes.set(xlabel="how many words ago the missing word stood", ylabel="nats lost", ylim=(0, None),
                 xticks=list(distances))  # fmt: skip
        axes.annotate("at 1:", (0.32, 0.93), xycoords="axes fraction", color=MUTED)
        plt.close(figure)
    course = "; ".join(
        f"{name} " + ", ".join(f"{value:.2f} at {at}" for at, value in zip(distances, values, strict=True))
        for name, values in costs.items()
    )
    return describe(figure, f"Nats lost by distance of the missing word: {course}.")


def _ink(arm: str) -> str:
    if arm not in INKS:
        raise ValueError(f"an arm is {require.shown(arm)}; it must be one of {', '.join(INKS)}")
    return INKS[arm]
