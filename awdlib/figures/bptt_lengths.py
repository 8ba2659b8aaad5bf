"""Windows of random length: how likely each length is, and the learning rate that it is trained with."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch

from awdlib import _require as require
from awdlib.batches import WindowLengths
from awdlib.figures.style import BLUE, INK, MUTED, ORANGE, describe

LONGEST = 105  #: the longest window in view, in tokens
FROM, STRETCH = 2520, 350  #: where in a column windows are shown, and how much of it, in tokens
RAREST = 1e-4  #: lengths less likely than this are not drawn
SEED, EPOCHS = 1, 2  #: of the windows drawn; how often the stretch is read in windows of random length
TOPS = (0.1, 0.2, 0.5, 1.0)  #: where the axis of probability may end

Trace = dict[str, Any]
_QUIET: Trace = {"type": "scatter", "hoverinfo": "skip"}


def split_probabilities(lengths: WindowLengths) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each length, and the part of it that windows drawn from half the base contribute.

    Args:
        lengths: the distribution.

    Returns:
        both (LONGEST,), of the lengths 1, 2, …; longer ones, of probability below 1e-3 in every figure, are left out.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.bptt_lengths import split_probabilities
        >>> total, short = split_probabilities(WindowLengths(bptt=70, short_probability=0.05))
        >>> round(float(total.sum()), 3), round(float(short.sum()), 3)
        (1.0, 0.05)
    """
    half = replace(lengths, short_probability=1.0)
    parts = [(lengths, 1.0), (half, lengths.short_probability)]
    found = []
    for distribution, weight in parts:
        probability = distribution.probabilities()
        found.append(weight * np.array([probability.get(length, 0.0) for length in range(1, LONGEST + 1)]))
    return found[0], found[1]


def expected_factor(lengths: WindowLengths) -> float:
    """The mean of length / bptt, by which the learning rate of an update is multiplied.

    Args:
        lengths: the distribution.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.bptt_lengths import expected_factor
        >>> round(expected_factor(WindowLengths(bptt=70)), 3)
        0.968
    """
    return sum(length / lengths.bptt * mass for length, mass in lengths.probabilities().items())


def draw_windows(lengths: WindowLengths, stop: int, generator: torch.Generator) -> Iterator[tuple[int, int, bool]]:
    """Windows drawn one behind the other, as an epoch of training draws them.

    Args:
        lengths: the distribution.
        stop: where the stretch of text ends, in tokens.
        generator: source of randomness.

    Yields:
        where a window begins, where it ends (the last one at ``stop``), and whether its base was halved.

    Example:
        >>> import torch
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.bptt_lengths import draw_windows
        >>> fixed = WindowLengths(bptt=70, short_probability=0.0, spread=0.0)
        >>> list(draw_windows(fixed, 200, torch.Generator()))
        [(0, 70, False), (70, 140, False), (140, 200, False)]
    """
    freely = replace(lengths, minimum=1)  # or both bases could be cut to the same shortest window
    whole = replace(freely, short_probability=0.0)
    start = 0
    while start < stop:
        drawn, undrawn = (_twin(generator) for _ in range(2))
        is_short = freely.draw(drawn) != whole.draw(undrawn)  # the same noise, but on the whole base
        end = min(stop, start + lengths.draw(generator))
        yield start, end, is_short
        start = end


def _twin(generator: torch.Generator) -> torch.Generator:
    twin = torch.Generator()
    twin.set_state(generator.get_state())
    return twin


def lengths_figure(bptt: int, short_probability: float, spread: float, minimum: int) -> go.Figure:
    """Three panels: the probability of each window length, the factor of its learning rate, and windows drawn.

    Args:
        bptt: the base length, in tokens.
        short_probability: probability p of half the base.
        spread: standard deviation s, in tokens.
        minimum: the shortest window, in tokens.

    Returns:
        a plotly figure; the two upper panels share the axis of lengths.

    Raises:
        ValueError: `awdlib.batches.WindowLengths` refuses a value, or bptt is above 70, or spread above 10: the panels
            are not long enough.

    Example:
        >>> from awdlib.figures.bptt_lengths import lengths_figure
        >>> figure = lengths_figure(bptt=70, short_probability=0.05, spread=5.0, minimum=5)
        >>> figure.layout.meta["alt"].partition(";")[0]
        'Mean 67.7 tokens'
    """
    require.whole_number("bptt", bptt, 1, 70)
    require.number("spread", spread, "[0, 10]")
    lengths = WindowLengths(bptt=bptt, short_probability=short_probability, spread=spread, minimum=minimum)
    total, short = split_probabilities(lengths)
    top = next(top for top in TOPS if top == TOPS[-1] or 1.25 * total.max() <= top)
    traces = [*_bars(total, short, lengths.mean(), top), *_factors(lengths, total), *_strips(lengths)]
    return describe(go.Figure(traces, _layout(lengths, top)), _sentence(lengths))


def _bars(total: np.ndarray, short: np.ndarray, mean: float, top: float) -> list[Trace]:
    """All windows, and before them those of half the base."""
    at = np.arange(1, LONGEST + 1)
    bars = [
        {"type": "bar", "x": at[: len(part)], "y": np.where(part < RAREST, 0.0, part), "marker": {"color": ink},
         "opacity": 1, "width": 0.82, "hovertemplate": "%{x} tokens: %{y:.4f}<extra></extra>"}
        for part, ink in ((total, BLUE), (short[:65], ORANGE))
    ]  # fmt: skip
    return [*bars, _line([mean, mean], [0, top], INK, 1.25, dash="dot")]


def _factors(lengths: WindowLengths, total: np.ndarray) -> list[Trace]:
    """length / bptt as a line, thick where windows are, with a dot at each base and one at the mean."""
    likely = np.flatnonzero(total >= RAREST) + 1
    low, high, base, mean = likely[0], likely[-1], lengths.bptt, lengths.mean()
    traces = [
        _line([0, LONGEST], [0, LONGEST / base], MUTED, 1),
        _line([low, high], [low / base, high / base], BLUE, 4),
        _line([mean, mean, 0], [2.05, expected_factor(lengths), expected_factor(lengths)], INK, 1.25, dash="dot"),
        _dots([mean], [expected_factor(lengths)], INK, 10),
    ]
    return [trace | {"xaxis": "x2", "yaxis": "y2"} for trace in traces]


def _strips(lengths: WindowLengths) -> list[Trace]:
    """Bands of text with a mark at every border: fixed windows above, below them epochs of random ones."""
    generator = torch.Generator().manual_seed(SEED)
    fixed = replace(lengths, short_probability=0.0, spread=0.0)
    traces = []
    for row, distribution in enumerate([fixed] + [lengths] * EPOCHS):
        seen = [
            (max(0, start - FROM), end - FROM, is_short)
            for start, end, is_short in draw_windows(distribution, FROM + STRETCH, generator)
            if end > FROM
        ]
        short = [edge for start, end, is_short in seen if is_short for edge in (start, end, np.nan)]
        borders = [edge for _, end, _ in seen[:-1] for edge in (end, end, np.nan)]
        traces += [
            _line([0, STRETCH], [row, row], "#9cc7e6", 11),
            _line(short or [np.nan], [row, row, np.nan] * (len(short) // 3) or [np.nan], ORANGE, 11),
            _line(borders, [row - 0.36, row + 0.36, np.nan] * (len(borders) // 3), INK, 1.5),
        ]
    return [trace | {"xaxis": "x3", "yaxis": "y3"} for trace in traces]


def _line(x: Any, y: Any, ink: str, width: float, **look: str) -> Trace:
    return {"x": x, "y": y, "mode": "lines", "line": {"color": ink, "width": width, **look}, **_QUIET}


def _dots(x: Any, y: Any, ink: str, size: float) -> Trace:
    return {"x": x, "y": y, "mode": "markers", "marker": {"color": ink, "size": size}, **_QUIET}


def _layout(lengths: WindowLengths, top: float) -> dict[str, Any]:
    base, mean, p, factor = lengths.bptt, lengths.mean(), lengths.short_probability, expected_factor(lengths)
    side, shift = ("right", -1.2) if mean > 52 else ("left", 1.2)
    across, ticks = {"range": [0, LONGEST + 0.5]}, [80, 180, 280]
    return {
        "height": 460, "margin": {"l": 54, "r": 10, "t": 24, "b": 44}, "barmode": "overlay",
        "xaxis": across | {"showticklabels": False, "ticks": ""},
        "xaxis2": across | {"anchor": "y2", "title": {"text": "window length (tokens)"},
                            "tickvals": [1, 20, 40, 60, 80, 100]},
        "xaxis3": {"range": [0, STRETCH], "anchor": "y3", "title": {"text": "position in the column (tokens)"},
                   "tickvals": ticks, "ticktext": [f"{FROM + tick:,}" for tick in ticks]},
        "yaxis": {"domain": [0.68, 1], "range": [0, top], "title": {"text": "probability"},
                  "tickvals": [0, top / 2, top]},
        "yaxis2": {"domain": [0.39, 0.63], "range": [0, 2.05], "title": {"text": "learning rate ×"},
                   "tickvals": [0, 0.5, 1, 1.5, 2]},
        "yaxis3": {"domain": [0, 0.19], "range": [EPOCHS + 0.6, -0.6], "showgrid": False, "ticks": "",
                   "showline": False, "tickvals": list(range(EPOCHS + 1)),
                   "ticktext": ["fixed", *(f"epoch {number + 1}" for number in range(EPOCHS))]},
        "annotations": [
            _note(f"■ base {base}: {1 - p:.0%}", 0, BLUE), _note(f"■ half, {base / 2:g}: {p:.0%}", 0.42, ORANGE),
            {"text": f"mean <b>{_shown(mean, 1)}</b>", "x": mean + shift, "y": 0.97 * top, "xanchor": side,
             "yanchor": "top", "font": {"color": INK}},
            {"text": f"mean <b>× {_shown(factor, 2)}</b>", "x": mean + 3, "y": factor - 0.05, "xref": "x2",
             "yref": "y2", "xanchor": "left", "yanchor": "top", "font": {"color": INK}},
        ],
    }  # fmt: skip


def _note(text: str, x: float, ink: str) -> dict[str, Any]:
    return {"text": text, "x": x, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom",
            "yshift": 3, "font": {"color": ink, "size": 12}}  # fmt: skip


def _shown(value: float, places: int) -> str:
    """Halves rounded down, on every machine: the paper's mean is 67.75 but for the last bits."""
    return f"{value - 1e-7:.{places}f}"


def _sentence(lengths: WindowLengths) -> str:
    low, high = central(lengths)
    base, mean, factor = lengths.bptt, _shown(lengths.mean(), 1), _shown(expected_factor(lengths), 2)
    if low == high:
        return f"Every window has {low} tokens, and the learning rate is multiplied by {factor}."
    return (
        f"Mean {mean} tokens; at least 98% of windows have {low} to {high}, which multiplies the learning rate by "
        f"{low / base:.2f} to {high / base:.2f}, on average by {factor}."
    )


def central(lengths: WindowLengths, tail: float = 0.01) -> tuple[int, int]:
    """The lengths that leave out no more than a given probability on either side.

    Args:
        lengths: the distribution.
        tail: the probability.

    Example:
        >>> from awdlib.batches import WindowLengths
        >>> from awdlib.figures.bptt_lengths import central
        >>> central(WindowLengths(bptt=70))
        (30, 81)
    """
    probability = lengths.probabilities()
    found = sorted(probability)
    below = np.cumsum([probability[length] for length in found])
    return found[int(np.argmax(below > tail))], found[int(np.argmax(below >= 1 - tail))]
