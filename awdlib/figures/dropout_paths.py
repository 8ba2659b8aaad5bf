"""Where dropout may go: an LSTM unrolled in time, and the masks that a word meets on its way to a later prediction."""

from collections.abc import Iterator, Sequence
from math import comb, inf, nan
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.dropout import require_probability
from awdlib.figures.style import BLUE, INK, MUTED, ORANGE, PAPER, describe, fade

COLUMNS, DEEPEST = 9, 3  #: time steps and, at most, layers that are drawn
FARTHEST = 35  #: steps up to which the chance is drawn
BESIDE = 0.16  #: how far h lies below a layer's middle, and c above
#: which connections carry a mask: those that go up, those of h, those of c
PLACEMENTS = {
    "up": (True, False, False),
    "h": (False, True, False),
    "up and h": (True, True, False),
    "h and c": (False, True, True),
}
ROUTES = {"h": "the hidden state h", "c": "the cell state c"}  #: by which a layer hands on what it holds

Point = tuple[float, float]  #: time step and layer: layer 0 holds the words, the one above the last the predictions


def masks_on_path(layers: int, steps: int, placement: str, route: str = "h") -> int:
    """How many masks stand between a word and the prediction made ``steps`` steps after it was read.

    Every path goes up once into each layer and once out of the last: ``layers + 1`` connections. It takes ``steps``
    connections from one time step to the next, whatever the layers in which it does. Zaremba et al. 2014, section 3.2:
    with masks on the way up alone the information is corrupted ``layers + 1`` times, however far it travels.

    Args:
        layers: of the network.
        steps: from the word to the prediction.
        placement: one of `PLACEMENTS`.
        route: by which state it goes from step to step, one of `ROUTES`.

    Returns:
        the number of masks, each drawn on its own.

    Raises:
        ValueError: fewer than 1 layer or 0 steps, or an unknown placement or route.

    Example:
        Two layers, ten steps. Masks on the hidden state alone leave the way through the cell open:

        >>> from awdlib.figures.dropout_paths import masks_on_path
        >>> [masks_on_path(2, 10, placement) for placement in ("up", "h", "up and h")]
        [3, 10, 13]
        >>> masks_on_path(2, 10, "h", route="c")
        0
    """
    require.whole_number("layers", layers, 1)
    require.whole_number("steps", steps, 0)
    for name, given, known in (("placement", placement, PLACEMENTS), ("route", route, ROUTES)):
        if given not in tuple(known):  # also where it cannot be hashed
            raise ValueError(f"{name} is {require.shown(given)}; it must be one of {', '.join(known)}")
    up, h, c = PLACEMENTS[placement]
    return up * (layers + 1) + (h if route == "h" else c) * steps


def survival(masks: int, p: float) -> float:
    """The probability that none of so many independent masks is zero: (1 - p)^masks.

    Args:
        masks: on the path.
        p: dropout probability of each.

    Raises:
        ValueError: p is outside [0, 1), or masks is negative.

    Example:
        >>> from awdlib.figures.dropout_paths import survival
        >>> survival(3, 0.5)
        0.125
    """
    require_probability("p", p)
    return (1 - p) ** require.whole_number("masks", masks, 0)


def noise(masks: int, p: float) -> float:
    """The variance of the product of so many independent masks, whose mean is 1: (1 / (1 - p))^masks - 1.

    Each has second moment (1 - p) / (1 - p)^2 = 1 / (1 - p), and independent factors' moments multiply.

    Args:
        masks: on the path.
        p: dropout probability of each.

    Raises:
        ValueError: p is outside [0, 1), or masks is negative.

    Example:
        >>> from awdlib.figures.dropout_paths import noise
        >>> noise(1, 0.5), noise(3, 0.5)
        (1.0, 7.0)
    """
    through = survival(masks, p)
    return 1 / through - 1 if through else inf  # too many masks for a float


def paths(layers: int, steps: int) -> Iterator[list[Point]]:
    """Every way from a word to the prediction made ``steps`` steps later, as the places that it visits.

    There are comb(steps + layers - 1, layers - 1): as many as ways to share the steps among the layers.

    Args:
        layers: of the network.
        steps: from the word to the prediction.

    Raises:
        ValueError: fewer than 1 layer or 0 steps.

    Example:
        >>> from awdlib.figures.dropout_paths import paths
        >>> for path in paths(layers=2, steps=1):
        ...     print(path)
        [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3)]
        [(0, 0), (0, 1), (1, 1), (1, 2), (1, 3)]
    """
    require.whole_number("layers", layers, 1)
    require.whole_number("steps", steps, 0)
    return _onward([(0, 0)], layers, steps)


def _onward(path: list[Point], layers: int, steps: int) -> Iterator[list[Point]]:
    time, layer = path[-1]
    if layer == layers + 1:
        yield path
        return
    if layer < layers or time == steps:
        yield from _onward([*path, (time, layer + 1)], layers, steps)
    if layer > 0 and time < steps:
        yield from _onward([*path, (time + 1, layer)], layers, steps)


def paths_figure(placement: str, layers: int, steps: int, p: float, route: str = "h") -> go.Figure:
    """The unrolled network with dropped connections dashed, one path through it, and the chance to come through.

    Args:
        placement: one of `PLACEMENTS`.
        layers: 1 to `DEEPEST`.
        steps: from the word to the prediction, 0 to ``COLUMNS - 1``.
        p: dropout probability.
        route: one of `ROUTES`.

    Returns:
        a plotly figure; a cross is a mask that the path meets.

    Raises:
        ValueError: as `masks_on_path` and `survival` say, or more layers or steps than are drawn.

    Example:
        >>> from awdlib.figures.dropout_paths import paths_figure
        >>> paths_figure("up", layers=2, steps=6, p=0.5).layout.annotations[0].text
        '<b>3 masks</b>, (1 − p)³ = 12.5% come through'
    """
    count = masks_on_path(layers, steps, placement, route)
    require.whole_number("layers", layers, 1, DEEPEST)
    require.whole_number("steps", steps, 0, COLUMNS - 1)
    chance = survival(count, p)
    places = _staircase(layers, steps)
    traces = [*_connections(layers, placement), *_route(places, layers, placement, route), *_cells(layers)]
    layout = _layout(layers, steps, count, chance)
    figure = go.Figure(data=traces + _chances(layers, steps, placement, route, p), layout=layout)
    return describe(
        figure,
        f"{layers} LSTM layer{'s' * (layers > 1)}, masks on {placement if placement != 'up' else 'the way up only'}, "
        f"p = {p:g}: from a word to the prediction {steps} steps later, by way of {ROUTES[route]}, a path meets "
        f"{count} mask{'s' * (count != 1)}; a value comes through with probability {chance:.3g}, and the variance of "
        f"what arrives of a 1 is {noise(count, p):.3g}. There are {comb(steps + layers - 1, layers - 1)} such paths.",
    )


def _staircase(layers: int, steps: int) -> list[Point]:
    """One path, which shares the steps among the layers as evenly as can be; it ends at the last column."""
    start = COLUMNS - 1 - steps
    places: list[Point] = [(start, 0)]
    for layer in range(1, layers + 1):
        places.append((places[-1][0], layer))
        places += [(time, layer) for time in range(int(places[-1][0]) + 1, start + steps * layer // layers + 1)]
    return [*places, (COLUMNS - 1, layers + 1)]


def _connections(layers: int, placement: str) -> list[dict[str, Any]]:
    """All connections: upwards, of h, of c, each kind dashed if it is dropped. A layer that is not there is a gap."""
    up, h, c = PLACEMENTS[placement]
    there = [layer if layer <= layers else nan for layer in range(1, DEEPEST + 1)]
    ways = [(time, y + at) for time in range(COLUMNS) for y in (0, *there) for at in (0.0, 1.0)]
    across = [(time + at, y) for y in there for time in range(COLUMNS - 1) for at in (0.0, 1.0)]
    return [
        _lines(ways, up),
        _lines([(x, y - BESIDE) for x, y in across], h),
        _lines([(x, y + BESIDE) for x, y in across], c),
    ]


def _lines(ends: Sequence[tuple[float, float]], dropped: bool) -> dict[str, Any]:
    """Straight pieces, each between two ends in turn."""
    x, y = (np.array([end[axis] for end in ends], dtype=float).reshape(-1, 2) for axis in (0, 1))
    gap = np.full((len(x), 1), nan)
    line = {"color": ORANGE if dropped else MUTED, "width": 1.5, "dash": "dash" if dropped else "solid"}
    return {"type": "scatter", "x": np.hstack([x, gap]).ravel(), "y": np.hstack([y, gap]).ravel(), "mode": "lines",
            "line": line, "hoverinfo": "skip"}  # fmt: skip


def _route(places: list[Point], layers: int, placement: str, route: str) -> list[dict[str, Any]]:
    """The path as a broad band, and a cross at each mask on it."""
    up, h, c = PLACEMENTS[placement]
    shift, masked = (-BESIDE, h) if route == "h" else (BESIDE, c)
    drawn = [(x, y + shift * (0 < y <= layers)) for x, y in places]
    crosses = []
    for (x, y), (to_x, to_y) in zip(drawn, drawn[1:], strict=False):
        if up if to_x == x else masked:
            crosses.append(((x + to_x) / 2, (y + to_y) / 2))
    crosses += [(nan, nan)] * (COLUMNS + DEEPEST - len(crosses))
    drawn += [drawn[-1]] * (COLUMNS + DEEPEST + 1 - len(drawn))
    band = {"color": fade(BLUE, 0.35), "width": 9}
    cross = {"symbol": "x", "size": 10, "color": ORANGE, "line": {"color": PAPER, "width": 1}}
    shared = {"type": "scatter", "hoverinfo": "skip"}
    return [
        shared | {"x": [x for x, _ in drawn], "y": [y for _, y in drawn], "mode": "lines", "line": band},
        shared | {"x": [x for x, _ in crosses], "y": [y for _, y in crosses], "mode": "markers", "marker": cross},
    ]


def _cells(layers: int) -> list[dict[str, Any]]:
    """The layers as squares, the words below and the predictions above as dots."""
    there = [layer if layer <= layers else nan for layer in range(1, DEEPEST + 1)]
    found = []
    for rows, marker in (
        (there, {"symbol": "square", "size": 15, "color": INK}),
        ([0, layers + 1], {"symbol": "circle", "size": 7, "color": MUTED}),
    ):
        places = {"x": [*range(COLUMNS)] * len(rows), "y": [y for y in rows for _ in range(COLUMNS)]}
        found.append({"type": "scatter", **places, "mode": "markers", "marker": marker, "hoverinfo": "skip"})
    return found


def _chances(layers: int, steps: int, placement: str, route: str, p: float) -> list[dict[str, Any]]:
    """By distance: the chance under this placement, under masks on the way up alone, and a dot where we are."""
    distances = np.arange(FARTHEST + 1)
    shared = {"type": "scatter", "xaxis": "x2", "yaxis": "y2"}
    found = []
    for which, ink, dash in (("up", MUTED, "dot"), (placement, BLUE, "solid")):
        at_once, step = (masks_on_path(layers, n, which, route) for n in (0, 1))
        chances = (1 - p) ** (at_once + (step - at_once) * distances)
        line = {"color": ink, "dash": dash}
        hover = "%{x} steps: %{y:.3f}<extra></extra>"
        found.append(shared | {"x": distances, "y": chances, "mode": "lines", "line": line, "hovertemplate": hover})
    return [*found, shared | {"x": [steps], "y": [chances[steps]], "mode": "markers", "hoverinfo": "skip",
                              "marker": {"color": BLUE, "size": 10}}]  # fmt: skip


def _layout(layers: int, steps: int, count: int, chance: float) -> dict[str, Any]:
    bare = {"showticklabels": False, "ticks": "", "showgrid": False, "showline": False}
    power = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(count))
    title = f"<b>{count} mask{'s' * (count != 1)}</b>, (1 − p){power} = {chance:.1%} come through"
    above: dict[str, Any] = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom"}
    start, top = COLUMNS - 1 - steps, layers + 1
    within = {"xref": "x", "yref": "y", "font": {"color": MUTED}}
    notes = [
        above | {"text": title, "y": 1.01, "font": {"color": INK}},
        above | {"text": "chance to come through, by distance", "y": 0.26, "font": {"color": INK}},
        within | {"x": start, "y": -0.15, "text": "word", "yanchor": "top", "xanchor": "center"},
        within | {"x": COLUMNS - 1, "y": top + 0.12, "text": "prediction", "yanchor": "bottom", "xanchor": "right"},
        within | {"x": -0.2, "y": top + 0.12, "text": "dashed: dropped", "yanchor": "bottom", "xanchor": "left"},
        within | {"x": -0.25, "y": 1 - BESIDE, "text": "h", "xanchor": "right", "yanchor": "middle"},
        within | {"x": -0.25, "y": 1 + BESIDE, "text": "c", "xanchor": "right", "yanchor": "middle"},
    ]
    return {
        "height": 470, "margin": {"l": 44, "r": 12, "t": 34, "b": 46}, "annotations": notes,
        "xaxis": bare | {"range": [-0.6, COLUMNS - 0.6]},
        "yaxis": bare | {"range": [-0.55, top + 0.55], "domain": [0.38, 1]},
        "xaxis2": {"range": [0, FARTHEST], "anchor": "y2", "title": {"text": "steps from word to prediction"}},
        "yaxis2": {"range": [0, 1.05], "domain": [0, 0.24], "anchor": "x2", "tickvals": [0, 0.5, 1],
                   "ticktext": ["0", "½", "1"]},
    }  # fmt: skip
