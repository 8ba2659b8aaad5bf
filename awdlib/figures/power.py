"""How likely a paired experiment is to see a difference: the power of Student's interval, exactly."""

import math
from functools import cache

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.ablation import ROWS
from awdlib.figures.paired_runs import LEFT_OUT, paper_gap
from awdlib.figures.style import BLUE, INK, MUTED, describe
from awdlib.results import T_QUANTILES

ENOUGH = 0.8  #: the chance that experiments are commonly planned for
SCALES = {1.0: "as large as the paper's", 0.5: "half as large", 0.25: "a quarter as large"}


@cache
def power(effect: float, spread: float, seeds: int) -> float:
    """The chance that the interval of 95 % over paired differences lies wholly on the true side of 0.

    The estimated spread is the true one times the root of a chi-square over its degrees of freedom; the mean is
    normal and independent of it. So the chance is an integral over one variable.

    Args:
        effect: the true difference.
        spread: true standard deviation of a difference from seed to seed.
        seeds: how many, from 2 to 10.

    Raises:
        ValueError: the spread is not positive, or there are too few seeds or too many.

    Example:
        >>> from awdlib.figures.power import power
        >>> [round(power(effect, spread=1.0, seeds=3), 3) for effect in (0.0, 1.0, 3.0)]
        [0.025, 0.179, 0.745]
    """
    require.number("effect", effect)
    require.number("spread", spread)
    require.whole_number("seeds", seeds, 2, max(T_QUANTILES) + 1)
    if spread <= 0:
        raise ValueError(f"spread is {spread}; it must be positive")
    freedom = seeds - 1
    shrunk = np.linspace(1e-6, 6, 4001)  # estimated spread over the true one
    log_density = (freedom - 1) * np.log(shrunk) - freedom * shrunk**2 / 2
    log_density += math.log(2) + freedom / 2 * math.log(freedom / 2) - math.lgamma(freedom / 2)
    seen = abs(effect) * math.sqrt(seeds) / spread - T_QUANTILES[freedom] * shrunk
    chance = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in seen])
    heights = chance * np.exp(log_density)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(shrunk)).sum())


def power_figure(seeds: int, spread: float, scale: float) -> go.Figure:
    """For each row of the table the chance to see an effect as large as the paper's, or a part of it.

    Args:
        seeds: how many pairs.
        spread: standard deviation of a difference from seed to seed, in nats.
        scale: the part of the paper's difference on Penn Treebank that is supposed to be true; one of ``SCALES``.

    Returns:
        a plotly figure of bars.

    Raises:
        ValueError: as ``power`` says, or there is no such scale.

    Example:
        >>> from awdlib.figures.power import power_figure
        >>> power_figure(3, 0.008, 1.0).layout.meta["alt"].partition(":")[0]
        "With 3 seeds and a spread of 0.008 nats, chance to see effects as large as the paper's"
    """
    if scale not in SCALES:
        raise ValueError(f"scale is {scale}; it must be one of {', '.join(map(str, SCALES))}")
    rows = [*LEFT_OUT][::-1]
    effects = [scale * paper_gap(row, "ptb") for row in rows]
    chances = [power(effect, spread, seeds) for effect in effects]
    sizes = [f"{effect:+.3f}".replace("-", "−") for effect in effects]
    names = [f"{ROWS[row].label}<br>{size}" for row, size in zip(rows, sizes, strict=True)]
    bars = {"type": "bar", "orientation": "h", "y": names, "x": chances, "hoverinfo": "skip",
            "marker": {"color": [BLUE if chance >= ENOUGH else MUTED for chance in chances]},
            "text": [f"{chance:.0%}" for chance in chances], "textposition": "outside", "cliponaxis": False,
            "textfont": {"color": INK}}  # fmt: skip
    line = {"type": "line", "x0": ENOUGH, "x1": ENOUGH, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": MUTED, "width": 1, "dash": "dash"}}  # fmt: skip
    layout = {
        "height": 460, "margin": {"l": 150, "r": 14, "t": 16, "b": 46}, "shapes": [line], "bargap": 0.35,
        "xaxis": {"range": [0, 1.24], "tickvals": [0, 0.4, 0.8], "ticktext": ["0", "40%", "80%"],
                  "title": {"text": "chance to see it"}},
        "yaxis": {"ticks": "", "showgrid": False, "tickfont": {"color": INK, "size": 12}},
    }  # fmt: skip
    return describe(go.Figure({"data": [bars], "layout": layout}), _sentence(seeds, spread, scale, chances))


def _sentence(seeds: int, spread: float, scale: float, chances: list[float]) -> str:
    parts = ", ".join(f"{LEFT_OUT[row]} {chance:.0%}" for row, chance in zip(LEFT_OUT, reversed(chances), strict=True))
    return (
        f"With {seeds} seeds and a spread of {spread:g} nats, chance to see effects {SCALES[scale]}: {parts}; "
        f"{sum(chance >= ENOUGH for chance in chances)} of {len(chances)} reach {ENOUGH:.0%}."
    )
