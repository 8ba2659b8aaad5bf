"""The whole of AWD-LSTM on one page: the unrolled model, and where each of its parts acts."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from awdlib.ablation import ROWS
from awdlib.figures.style import EMPTY, INK, MUTED, colour, describe

WORDS = ("the", "gulls", "that", "anna", "follows", "sail")  #: read from left to right, each to be foretold
STEPS = len(WORDS) - 1
EMBEDDING, SOFTMAX = 1.0, 5.0  #: rows; the layers are between them, the words below and above
LAYERS = (2.0, 3.0, 4.0)
HALF_WIDTH, HALF_HEIGHT = 0.36, 0.24  #: of a box
ROOM, SPOTS = 120, 80  #: coordinates of lines and of dots kept for what is marked, so that all figures are alike
#: drawn for the picture: which of four features a connection upwards keeps, and which of four weights a layer keeps
FEATURES = {1.0: (1, 0, 1, 1), 2.0: (0, 1, 1, 0), 3.0: (1, 1, 0, 1), 4.0: (1, 0, 0, 1)}
WEIGHTS = {2.0: (1, 0, 1, 1), 3.0: (0, 1, 1, 0), 4.0: (1, 1, 0, 1)}
Points = list[tuple[float, float]]  #: of a line


class Part(NamedTuple):
    """One part of the model: its formula, what it does, and where the paper's ablation has it.

    Example:
        >>> from awdlib.figures.architecture import PARTS
        >>> PARTS["weight drop"].row
        'no-weight-drop'
    """

    formula: str  #: the heart of it
    does: str  #: what it does, as a sentence
    row: str = ""  #: of the ablation without it, in `awdlib.ablation.ROWS`


#: What can be marked, and where it acts.
#:
#: :meta hide-value:
PARTS = {
    "nothing yet: the plain model": Part(
        "h<sub>t</sub>, c<sub>t</sub> = LSTM(x<sub>t</sub>, h<sub>t−1</sub>, c<sub>t−1</sub>)",
        "Words go in below, a state is handed from left to right, and above each word the next one is foretold",
    ),
    "embedding dropout": Part(
        "whole rows of the embedding are zero", "A word that is dropped is missing wherever it stands in the window",
        "no-embedding-dropout",
    ),
    "locked dropout": Part(
        "x̃<sub>t</sub> = m ⊙ x<sub>t</sub>, the same m at every step",
        "On the way up features are dropped, and the same ones at every step of a window",
    ),
    "weight drop": Part(
        "h<sub>t−1</sub> meets M ⊙ U",
        "On the way from left to right single weights are dropped, once for the whole window", "no-weight-drop",
    ),
    "weight tying": Part(
        "softmax(E h + b), with the E that reads the words", "One matrix reads the words below and foretells them above"
    ),
    "AR and TAR": Part(
        "α ‖h<sub>t</sub>‖² + β ‖h<sub>t</sub> − h<sub>t−1</sub>‖²",
        "The top layer pays for large outputs, and for outputs that change fast", "no-ar-tar",
    ),
    "variable windows": Part(
        "window length T ~ mostly N(70, 5²)",
        "Gradients stop at a window's border, and the border falls elsewhere in every epoch", "no-variable-windows",
    ),
    "NT-ASGD": Part(
        "w̄ = mean of w<sub>i</sub> from the trigger on",
        "When validation has not improved for a while, the weights of all further steps are averaged", "no-ntasgd",
    ),
    "continuous cache": Part(
        "p = (1 − λ) p<sub>softmax</sub> + λ p<sub>cache</sub>",
        "After training, what followed similar states in the recent past is foretold a little more",
    ),
}  # fmt: skip


def architecture_figure(part: str) -> go.Figure:
    """The unrolled model, with one of its parts marked where it acts.

    Merity et al. 2017, sections 2 to 5; the cache: Grave et al. 2017.

    Args:
        part: one of `awdlib.figures.architecture.PARTS`.

    Returns:
        a plotly figure; words read upwards, time runs to the right.

    Raises:
        ValueError: there is no such part.

    Example:
        >>> from awdlib.figures.architecture import architecture_figure
        >>> architecture_figure("weight drop").layout.meta["alt"].rpartition(". ")[2]
        'Published for Penn Treebank: test perplexity 68.9 without it, 58.8 with it and all others.'
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; it must be one of {', '.join(PARTS)}")
    lines, spots = _marked(part)
    mark = colour("without") if part == "embedding dropout" else colour("with")
    traces = [
        _plain("box", MUTED) | {"fill": "toself", "fillcolor": EMPTY},
        _plain("up", MUTED),
        _plain("on", EMPTY if part == "weight drop" else MUTED),
        _line(lines, mark, 3, ROOM),
        _dots(spots, mark),
        *_texts(),
    ]
    layout = {
        "height": 400, "margin": {"l": 4, "r": 4, "t": 34, "b": 6},
        "xaxis": {"visible": False, "range": [-0.72, STEPS - 0.28]},
        "yaxis": {"visible": False, "range": [-0.45, 6.35]},
        "annotations": [_heading(part)],
    }  # fmt: skip
    return describe(go.Figure({"data": traces, "layout": layout}), _sentence(part))


def _box(x: float, y: float) -> Points:
    left, right, low, high = x - HALF_WIDTH, x + HALF_WIDTH, y - HALF_HEIGHT, y + HALF_HEIGHT
    return [(left, low), (right, low), (right, high), (left, high), (left, low)]


def _up(x: float, y: float) -> Points:
    """The connection from the box at (x, y) to the one above it."""
    return [(x, y + HALF_HEIGHT), (x, y + 1 - HALF_HEIGHT)]


def _on(x: float, y: float) -> Points:
    """The connection from the box at (x, y) to the next step."""
    return [(x + HALF_WIDTH, y), (x + 1 - HALF_WIDTH, y)]


def _skeleton() -> Iterator[tuple[str, Points]]:
    """Boxes and connections of the plain model, each with what it is."""
    for x in range(STEPS):
        for y in (EMBEDDING, *LAYERS, SOFTMAX):
            yield "box", _box(x, y)
            yield "up", _up(x, y)
        yield "up", [(x, 0.22), (x, EMBEDDING - HALF_HEIGHT)]
        for y in LAYERS:
            yield "on", _on(x, y)
    for y in LAYERS:
        yield "on", [(-0.62, y), (-HALF_WIDTH, y)]


def _plain(kind: str, ink: str) -> dict[str, Any]:
    return _line([line for name, line in _skeleton() if name == kind], ink, 1.3)


def _marked(part: str) -> tuple[list[Points], Points]:
    """The lines and the dots that show where a part acts."""
    steps, top = range(STEPS), LAYERS[-1]
    if part == "embedding dropout":
        crossed = [_box(x, EMBEDDING) for x in (1, 4)]  # chosen to be seen, not drawn
        strokes = [[box[corner], box[corner + 2]] for box in crossed for corner in (0, 1)]
        return crossed + strokes, []
    if part == "locked dropout":
        across = np.linspace(-0.21, 0.21, 4).tolist()
        spots = [(at, y + 0.5) for y, mask in FEATURES.items() for at, keeps in zip(across, mask, strict=True) if keeps]
        return [], [(x + at, y) for x in steps for at, y in spots]
    if part == "weight drop":
        lanes = np.linspace(-0.16, 0.16, 4).tolist()
        kept = [y + at for y, mask in WEIGHTS.items() for at, keeps in zip(lanes, mask, strict=True) if keeps]
        return [_on(x, y) for x in steps[:-1] for y in kept], []
    if part == "weight tying":
        return [_box(x, y) for x in steps for y in (EMBEDDING, SOFTMAX)], []
    if part == "AR and TAR":
        return [_box(x, top) for x in steps] + [_on(x, top) for x in steps[:-1]], []
    if part == "variable windows":
        return [[(x, -0.3), (x, SOFTMAX + 1.3)] for x in (0.5, 3.5)], []
    if part == "NT-ASGD":
        return [_box(x, y) for x in steps for y in (EMBEDDING, *LAYERS)], []
    if part == "continuous cache":
        last, high = steps[-1], top + HALF_HEIGHT
        return [_arc(last, x, high) for x in steps[:-1]], [(x, high) for x in steps]
    return [], []


def _arc(start: float, end: float, y: float) -> Points:
    """From one place of a row back to another, above the row."""
    way = np.linspace(0, 1, 13)
    bow = 0.16 * abs(start - end) * np.sin(np.pi * way)
    return [(start + (end - start) * at, y + up) for at, up in zip(way.tolist(), bow.tolist(), strict=True)]


def _line(lines: list[Points], ink: str, width: float, room: int = 0) -> dict[str, Any]:
    """Several lines as one trace, made up to ``room`` coordinates with gaps."""
    points = [point for line in lines for point in (*line, (np.nan, np.nan))]
    points += [(np.nan, np.nan)] * (room - len(points))
    x, y = np.array(points).T
    return {"type": "scatter", "x": x, "y": y, "mode": "lines", "line": {"color": ink, "width": width},
            "hoverinfo": "skip"}  # fmt: skip


def _dots(points: Points, ink: str) -> dict[str, Any]:
    x, y = np.array(points + [(np.nan, np.nan)] * (SPOTS - len(points))).T
    return {"type": "scatter", "x": x, "y": y, "mode": "markers", "marker": {"color": ink, "size": 7},
            "hoverinfo": "skip"}  # fmt: skip


def _texts() -> list[dict[str, Any]]:
    """The words below and above, and what each row of boxes is."""
    steps = range(STEPS)
    text = {"type": "scatter", "mode": "text", "hoverinfo": "skip"}
    names = {EMBEDDING: "vector", SOFTMAX: "softmax"} | dict.fromkeys(LAYERS, "LSTM")
    return [
        text | {"x": [*steps, *steps], "y": [0.0] * STEPS + [SOFTMAX + 1.0] * STEPS,
                "text": [*WORDS[:-1], *(f"<b>{word}?</b>" for word in WORDS[1:])],
                "textfont": {"color": INK, "size": 13}},
        text | {"x": [x for x in steps for _ in names], "y": [y for _ in steps for y in names],
                "text": [name for _ in steps for name in names.values()], "textfont": {"color": INK, "size": 11}},
    ]  # fmt: skip


def _heading(part: str) -> dict[str, Any]:
    return {
        "text": PARTS[part].formula, "xref": "paper", "yref": "paper", "x": 0.5, "y": 1.0, "xanchor": "center",
        "yanchor": "bottom", "showarrow": False, "font": {"color": INK, "size": 15},
    }  # fmt: skip


def _sentence(part: str) -> str:
    """The text alternative, with the published figure where there is one; ``full`` is the paper's "- fine-tuning"."""
    does, row = PARTS[part].does, PARTS[part].row
    if not row:
        return f"{does}."
    without, full = ROWS[row].published["ptb"][1], ROWS["full"].published["ptb"][1]
    return f"{does}. Published for Penn Treebank: test perplexity {without} without it, {full} with it and all others."
