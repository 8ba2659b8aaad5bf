"""Hidden traces as sums of cosines over time: what the two penalties alone would make of them, and what training does.

The traces are those of the record ``data/runs/activation-penalties.json``; what several seeds of an experiment have in
common is in ``data/runs/activation-regularization.json``.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.figures.activation_penalties import experiment, trained
from awdlib.figures.comparison import draw_arms
from awdlib.figures.style import BLUE, DIVERGING, GREEN, MUTED, ORANGE, PINK, colormap, describe, label_ends, use_style

BATCH, RATE = 20, 20.0  #: sequences side by side, and learning rate, of the recorded trainings
INKS = {"none": MUTED, "AR": BLUE, "TAR": ORANGE, "both": GREEN}  #: of the arms
DASHES = {"none": "-", "AR": "--", "TAR": "-", "both": (0, (1, 1))}  #: so that ink is not all that tells them apart
PERIODS = (64, 16, 8, 4, 2)  #: words a cycle, on the axis of frequencies
_LOWEST, _HIGHEST = 1e-5, 3.0  # ends of the axis of powers


def cosine_basis(seq_len: int) -> Tensor:
    """The cosines of which any trace of this length is a sum: the orthonormal basis of the discrete cosine transform.

    Row k is a cosine that makes k half turns over the window. The rows are the eigenvectors of the matrix of second
    differences with free ends, with eigenvalues 2 - 2 cos(pi k / seq_len) (Strang 1999, DCT-2).

    Args:
        seq_len: time steps.

    Returns:
        (seq_len, seq_len) in double precision, by frequency and time; ``cosine_basis(T) @ trace`` are the
        coefficients of a trace (T, features).

    Raises:
        ValueError: seq_len is not positive.

    Example:
        A constant trace has its whole power at frequency 0:

        >>> import torch
        >>> from awdlib.figures.hidden_traces import cosine_basis
        >>> (cosine_basis(4) @ torch.ones(4, dtype=torch.float64)).abs().round(decimals=6).tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    require.whole_number("seq_len", seq_len, 1)
    time = torch.arange(seq_len, dtype=torch.float64) + 0.5
    frequency = math.pi / seq_len * torch.arange(seq_len, dtype=torch.float64)
    basis = math.sqrt(2 / seq_len) * torch.cos(frequency[:, None] * time)
    basis[0] /= math.sqrt(2)
    return basis


def pull(seq_len: int, alpha: float, beta: float) -> Tensor:
    """How hard the two penalties pull at each cosine of a trace: T B H / 2 times the gradient, for a coefficient of 1.

    Args:
        seq_len: time steps T, at least 2.
        alpha: weight of AR.
        beta: weight of TAR.

    Returns:
        (seq_len,), alpha + beta (2 - 2 cos(pi k / T)) T / (T - 1) of frequency k.

    Raises:
        ValueError: there are fewer than two steps, or a weight is negative or not finite.

    Example:
        AR pulls at all alike, TAR not at all at what stays the same:

        >>> from awdlib.figures.hidden_traces import pull
        >>> pull(3, alpha=2.0, beta=0.0).tolist()
        [2.0, 2.0, 2.0]
        >>> pull(3, alpha=0.0, beta=1.0).round(decimals=3).tolist()
        [0.0, 1.5, 4.5]
    """
    require.whole_number("seq_len", seq_len, 2)
    alpha, beta = require.number("alpha", alpha, "[0, inf)"), require.number("beta", beta, "[0, inf)")
    frequency = math.pi / seq_len * torch.arange(seq_len, dtype=torch.float64)
    return alpha + beta * (2 - 2 * frequency.cos()) * seq_len / (seq_len - 1)


def pulled(trace: Tensor, alpha: float, beta: float, updates: int) -> Tensor:
    """A trace after so many steps of gradient descent on the two penalties and nothing else, in closed form.

    Each cosine is multiplied by (1 - 2 lr / (T B H) pull)^updates, with the batch and the rate of the recorded runs.

    Args:
        trace: (seq_len, features) of one sequence; moved itself, as no trace of a network can be.
        alpha: weight of AR.
        beta: weight of TAR.
        updates: steps of gradient descent.

    Returns:
        (seq_len, features).

    Example:
        >>> import torch
        >>> from awdlib.figures.hidden_traces import pulled
        >>> still = torch.ones(5, 64, dtype=torch.float64)
        >>> pulled(still, alpha=0.0, beta=4.0, updates=100).allclose(still)
        True
    """
    seq_len, features = trace.shape
    basis = cosine_basis(seq_len)
    step = 2 * RATE / (seq_len * BATCH * features)
    gain = (1 - step * pull(seq_len, alpha, beta)) ** updates
    return basis.t() @ (gain[:, None] * (basis @ trace.double()))


@cache
def _cast() -> tuple[Tensor, dict[str, int]]:
    """The trace of the model that was trained with neither penalty, and three of its units."""
    trace = trained(0.0, 0.0)[0][:, 0]
    changes = trace.diff(dim=0).square().mean(0) / trace.var(0)
    swings = trace.std(0) > 0.25  # a unit that hardly moves would show nothing
    aside = int(trace.mean(0).abs().argmax())
    swings[aside] = False
    slow = int(changes.where(swings, torch.inf).argmin())
    quick = int(changes.where(swings, -torch.inf).argmax())
    return trace, {"off centre": aside, "slow": slow, "quick": quick}


def pull_figure(alpha: float, beta: float, updates: int) -> go.Figure:
    """Three units of a real trace under the pull of the penalties alone, and the power of all units by frequency.

    Args:
        alpha: weight of AR.
        beta: weight of TAR.
        updates: steps of gradient descent, as `pulled` takes them.

    Returns:
        a plotly figure of three units over words and, below, the power by frequency; dotted is the trace as it was.

    Example:
        >>> from awdlib.figures.hidden_traces import pull_figure
        >>> pull_figure(alpha=0.0, beta=1.0, updates=0).layout.meta["alt"].partition(":")[0]
        'After 0 updates with α = 0 and β = 1'
    """
    before, units = _cast()
    after = pulled(before, alpha, beta, updates)
    lines = []
    for row, unit in enumerate(units.values()):
        axis = {"xaxis": ("x3", "x4", "x")[row], "yaxis": f"y{row + 2}"}
        lines += [_line(before[:, unit], MUTED, "dot", axis), _line(after[:, unit], BLUE, "solid", axis)]
    for trace, ink, dash in ((before, MUTED, "dot"), (after, PINK, "solid")):
        power = (cosine_basis(len(trace)) @ trace).square().mean(1)
        lines.append(_line(power.clamp(min=_LOWEST / 10), ink, dash, {"xaxis": "x2", "yaxis": "y"}))
    sizes = [f"{value:.3f}" for trace in (before, after) for value in _sizes(trace)]
    figure = go.Figure(lines, _pull_layout(units, sizes))
    return describe(
        figure,
        f"After {updates} updates with α = {alpha:g} and β = {beta:g}: the mean square of the trace is {sizes[2]} "
        f"(at first {sizes[0]}), that of its steps {sizes[3]} (at first {sizes[1]}).",
    )


def _sizes(trace: Tensor) -> tuple[float, float]:
    return trace.square().mean().item(), trace.diff(dim=0).square().mean().item()


def _line(values: Tensor, ink: str, dash: str, axis: dict[str, str]) -> dict[str, Any]:
    line = {"color": ink, "dash": dash, "width": 1.25 if dash == "dot" else 2.25}
    return {"type": "scatter", "x": np.arange(len(values)), "y": values.numpy(), "mode": "lines", "line": line,
            "hoverinfo": "skip", **axis}  # fmt: skip


def _pull_layout(units: dict[str, int], sizes: Sequence[str]) -> dict[str, Any]:
    words = experiment()["words"]
    bands = [(0.87, 1.0), (0.70, 0.83), (0.53, 0.66)]  # of the paper's height, a unit each
    paper = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False, "x": 0}
    notes = [
        {"text": f"<b>a unit {name}</b>" if name == "off centre" else f"<b>a {name} unit</b>", "y": top} | paper
        for name, (_, top) in zip(units, bands, strict=True)
    ]
    shares = f"mean h² {sizes[0]} → {sizes[2]}<br>mean (Δh)² {sizes[1]} → {sizes[3]}"  # two lines fit a phone
    notes += [{"text": "<b>power of all units, by frequency</b>", "y": 0.37} | paper]
    notes += [{"text": shares, "y": 0.31, "align": "left", "font": {"color": PINK, "size": 12}} | paper]
    layout: dict[str, Any] = {}
    across = {"range": [-0.5, len(words) - 0.5], "showgrid": False}
    for row, (band, below) in enumerate(zip(bands, ("x3", "x4", "x"), strict=True), start=2):
        layout[f"yaxis{row}"] = {"domain": band, "range": [-1.02, 1.02], "tickvals": [-1, 0, 1], "anchor": below}
        if below != "x":  # the words stand below the last of the three
            layout[f"xaxis{below[1]}"] = across | {"anchor": f"y{row}", "showticklabels": False, "ticks": ""}
    periods = [26, 8, 4, 2]
    return layout | {
        "height": 620, "margin": {"l": 52, "r": 10, "t": 26, "b": 52}, "annotations": notes,
        "xaxis": across | {"anchor": "y4", "tickvals": [*range(len(words))], "ticktext": words, "tickangle": -90,
                           "tickfont": {"size": 10}},
        "xaxis2": {"anchor": "y", "range": [-0.5, len(words) + 0.5], "title": {"text": "period, in words"},
                   "tickvals": [0] + [2 * len(words) / period for period in periods],
                   "ticktext": ["∞", *map(str, periods)]},
        "yaxis": {"domain": [0, 0.31], "anchor": "x2", "type": "log", "range": [*np.log10([_LOWEST, _HIGHEST])],
                  "tickvals": [0.0001, 0.001, 0.01, 0.1, 1], "ticktext": ["0.0001", "0.001", "0.01", "0.1", "1"]},
    }  # fmt: skip


def by_seed(record: Mapping[str, Any], setting: str, arm: str, name: str) -> np.ndarray:
    """What the runs of one arm measured, a row a seed.

    Args:
        record: of ``data/runs/activation-regularization.json``.
        setting: "moderate" or "plain".
        arm: "none", "AR", "TAR" or "both".
        name: of a number, or of a list of numbers, that each run holds.

    Returns:
        (seeds,) or (seeds, length).

    Raises:
        ValueError: the record has no such runs.

    Example:
        >>> from awdlib.figures.hidden_traces import by_seed
        >>> run = {"setting": "plain", "arm": "AR", "test": 30.0}
        >>> by_seed({"runs": [run, run | {"test": 32.0}]}, "plain", "AR", "test").tolist()
        [30.0, 32.0]
    """
    found = [run[name] for run in record["runs"] if (run["setting"], run["arm"]) == (setting, arm)]
    if not found:
        raise ValueError(f"the record has no run of setting {setting!r} and arm {arm!r}: run the experiment to its end")
    return np.array(found)


def spectrum_figure(record: Mapping[str, Any], setting: str = "moderate") -> Any:
    """Power of the hidden trace by frequency, arm by arm, and its ratio to that without penalties (matplotlib).

    Lines are means over seeds, bands reach from the lowest seed to the highest.

    Args:
        record: of ``data/runs/activation-regularization.json``.
        setting: "moderate" or "plain".

    Returns:
        a matplotlib figure of two panels, with the constant part of the traces to the left of each.

    Example:
        >>> from awdlib.figures.hidden_traces import spectrum_figure
        >>> runs = [{"setting": "plain", "arm": arm, "power": [4.0, 2.0, 1.0]} for arm in ("none", "AR", "TAR", "both")]
        >>> figure = spectrum_figure({"piece": 3, "runs": runs}, "plain")
        >>> figure.axes[2].get_ylabel()
        'ratio to none'
    """
    import matplotlib.pyplot as plt

    power = {arm: by_seed(record, setting, arm, "power") for arm in INKS}
    with use_style():
        figure, grid = plt.subplots(
            2, 2, figsize=(6.2, 6.2), width_ratios=[1, 9], height_ratios=[5, 4], sharey="row", sharex="col"
        )
        for arm, values in power.items():
            _spectrum(grid[0], values, arm)
            if arm != "none":
                _spectrum(grid[1], values / power["none"].mean(0), arm)
        for axes in grid.ravel():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
        grid[0, 0].set_ylabel("power")
        grid[1, 0].set(ylabel="ratio to none", xticks=[0], xticklabels=["constant\npart"])
        grid[1, 1].set(
            xticks=[2 * record["piece"] / period for period in PERIODS], xticklabels=PERIODS, xlabel="period, in words"
        )
        grid[1, 0].set_yticks([0.2, 0.3, 0.5, 1])
        base = power["none"].mean(0)
        ends = [(values.mean(0)[-1], arm, INKS[arm]) for arm, values in power.items()]
        label_ends(grid[0, 1], len(base) - 1, ends, 1.35)
        label_ends(grid[1, 1], len(base) - 1, [(end / base[-1], arm, ink) for end, arm, ink in ends[1:]])
        for axes in grid[1]:
            axes.axhline(1, color=MUTED, linewidth=1)
        plt.close(figure)
    means = {arm: values.mean(0) for arm, values in power.items()}
    return describe(
        figure,
        "; ".join(
            f"{arm}: power {mean[0]:.2g} of the constant part, {mean[1]:.2g} at the slowest and {mean[-1]:.2g} at the "
            "quickest frequency"
            for arm, mean in means.items()
        ),
    )


def _spectrum(row: Sequence[Any], values: np.ndarray, arm: str) -> None:
    """One arm in one row of panels: its constant part on the left, all other frequencies on the right."""
    ink, low, mean, high = INKS[arm], values.min(0), values.mean(0), values.max(0)
    row[0].plot([0, 0], [low[0], high[0]], color=ink, alpha=0.35, linewidth=7, solid_capstyle="butt")
    row[0].plot(0, mean[0], "_", color=ink, markersize=18, markeredgewidth=2.5)
    frequencies = np.arange(1, len(mean))
    row[1].fill_between(frequencies, low[1:], high[1:], color=ink, alpha=0.15, linewidth=0)
    row[1].plot(frequencies, mean[1:], color=ink, linestyle=DASHES[arm])


def states_figure(record: Mapping[str, Any], setting: str = "moderate") -> Any:
    """How large activations are, and for how long they resemble themselves, arm by arm (matplotlib).

    Args:
        record: of ``data/runs/activation-regularization.json``.
        setting: "moderate" or "plain".

    Returns:
        a matplotlib figure of the distribution of activations and, below, of their correlation by distance.

    Example:
        >>> from awdlib.figures.hidden_traces import states_figure
        >>> one = {"setting": "plain", "histogram": [0.1, 0.8, 0.1], "correlation": [1.0, 0.2]}
        >>> figure = states_figure({"runs": [one | {"arm": arm} for arm in ("none", "AR", "TAR", "both")]}, "plain")
        >>> [axes.get_xlabel() for axes in figure.axes]
        ['activation', 'words apart']
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, (above, below) = plt.subplots(2, 1, figsize=(6.0, 7.2))
        for arm, ink in INKS.items():
            shares = by_seed(record, setting, arm, "histogram").mean(0)
            centres = np.linspace(-1, 1, 2 * len(shares) + 1)[1::2]
            above.plot(centres, shares, color=ink, linestyle=DASHES[arm], label=arm)
            correlation = by_seed(record, setting, arm, "correlation").mean(0)
            below.plot(range(1, len(correlation)), correlation[1:], color=ink, linestyle=DASHES[arm])
        above.set(xlabel="activation", ylabel="share of all activations", yscale="log", ylim=(1e-4, 0.6))
        above.set_xticks([-1, -0.5, 0, 0.5, 1])
        above.yaxis.set_major_formatter("{x:g}")
        above.legend(loc="lower center", handlelength=2.4)
        below.axhline(0, color=MUTED, linewidth=0.8)
        below.set(xlabel="words apart", ylabel="correlation of a unit with itself", xticks=[1, 5, 10, 15, 20])
        plt.close(figure)
    return figure


def learning_figure(record: Mapping[str, Any]) -> Any:
    """Validation perplexity by epoch in both settings, a line a run (matplotlib).

    Args:
        record: of ``data/runs/activation-regularization.json``.

    Returns:
        a matplotlib figure of two panels, one above the other.

    Example:
        >>> from awdlib.figures.hidden_traces import learning_figure
        >>> arms, settings = ("none", "AR", "TAR", "both"), ("plain", "moderate")
        >>> runs = [{"setting": one, "arm": arm, "valid": [60.0, 30.0]} for one in settings for arm in arms]
        >>> [axes.get_title(loc="left") for axes in learning_figure({"floor": {"valid": 15.5}, "runs": runs}).axes]
        ['no dropout', 'with moderate dropout']
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, panels = plt.subplots(2, 1, figsize=(6.2, 7.4))
        for axes, (setting, title) in zip(
            panels, {"plain": "no dropout", "moderate": "with moderate dropout"}.items(), strict=True
        ):
            curves = {arm: (ink, by_seed(record, setting, arm, "valid").tolist()) for arm, ink in INKS.items()}
            draw_arms(axes, curves, record["floor"]["valid"])
            axes.set_title(title)
            axes.set_ylim(top=60)
        plt.close(figure)
    return figure


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
    size, step = _sizes(trace)
    sentence = f"validation perplexity {perplexity:.1f}, mean h² {size:.3f}, mean (Δh)² {step:.3f}"
    figure = traces_figure({f"perplexity {perplexity:.1f}\nmean h² {size:.3f}, mean (Δh)² {step:.3f}": trace}, words)
    return describe(figure, sentence)
