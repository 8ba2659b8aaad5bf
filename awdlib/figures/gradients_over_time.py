"""How an error shrinks or grows on its way back through time: in theory, across a window's border, once trained."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.figures.style import GOLD, INK, MUTED, SEQUENTIAL, colormap, colour, describe, label_end, use_style
from awdlib.reach import Journey, lstm_journey, product_norms, rnn_journey

HIDDEN, STEPS = 24, 50  #: units of the layers, and steps that they run
NOISE = 0.1  #: standard deviation of what arrives at each unit and step
LOWEST, HIGHEST = -12.5, 6.5  #: ends of the axis, as powers of ten
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")  #: characters, since a still picture knows no markup
FAINTEST = 1e-6  #: part of the largest gradient that a map still shows


def journeys(gain: float, forget_bias: float) -> tuple[Journey, Journey]:
    """A tanh network and an LSTM, not trained, that read the same noise; each recurrent block is gain times orthogonal.

    Args:
        gain: every singular value of every recurrent block.
        forget_bias: of the LSTM's forget gates; the other gates have none.

    Returns:
        the network's and the LSTM's states and Jacobians, in double precision.

    Raises:
        ValueError: the gain is not positive, or forget_bias not a finite number.

    Example:
        >>> from awdlib.figures.gradients_over_time import journeys
        >>> rnn, lstm = journeys(gain=0.9, forget_bias=1.0)
        >>> rnn.jacobians.shape, lstm.jacobians.shape
        (torch.Size([50, 24, 24]), torch.Size([50, 48, 48]))
    """
    require.number("gain", gain, "(0, inf)")
    require.number("forget_bias", forget_bias)
    draw = torch.Generator().manual_seed(1)
    noise = torch.randn(STEPS, 4 * HIDDEN, dtype=torch.float64, generator=draw) * NOISE
    blocks = torch.randn(4, HIDDEN, HIDDEN, dtype=torch.float64, generator=draw)
    orthogonal = gain * torch.linalg.qr(blocks)[0].flatten(0, 1)
    bias = torch.zeros(4 * HIDDEN, dtype=torch.float64)
    bias[HIDDEN : 2 * HIDDEN] = forget_bias
    return rnn_journey(noise[:, :HIDDEN], orthogonal[:HIDDEN]), lstm_journey(noise + bias, orthogonal)


def direct_path(forget: Tensor) -> Tensor:
    """What the cell that forgets least hands back by its forget gates alone, over the last k steps, for each k.

    Args:
        forget: (steps, hidden_size), the forget gates.

    Returns:
        (steps,); entry k - 1 is the largest product of k gates.

    Raises:
        ValueError: the gates are not (steps, hidden_size).

    Example:
        >>> import torch
        >>> from awdlib.figures.gradients_over_time import direct_path
        >>> direct_path(torch.tensor([[0.5, 0.1], [0.5, 0.9]]))
        tensor([0.9000, 0.2500])
    """
    require.floats("forget", forget, "(steps, hidden_size)")
    return forget.flip(0).cumprod(0).max(dim=1).values


def gradient_figure(gain: float, forget_bias: float) -> go.Figure:
    """The norm of the product of Jacobians over distance, with and without gates, and what theory says of each.

    Args:
        gain: every singular value of every recurrent block of weights.
        forget_bias: of the LSTM's forget gates.

    Returns:
        a plotly figure of four lines over the distance, on a logarithmic axis.

    Raises:
        ValueError: as `journeys` says.

    Example:
        The simple network's bound is the gain to the power of the distance:

        >>> from awdlib.figures.gradients_over_time import gradient_figure
        >>> figure = gradient_figure(gain=2.0, forget_bias=1.0)
        >>> figure.data[0].name, float((10 ** figure.data[0].y[:3]).round(6).max())
        ('bound: gain to the k', 8.0)
    """
    rnn, lstm = journeys(gain, forget_bias)
    assert lstm.forget is not None
    distance = np.arange(1, STEPS + 1)
    measured = {
        "tanh network": product_norms(rnn.jacobians).numpy(),
        "LSTM": product_norms(lstm.jacobians, part=slice(HIDDEN, None)).numpy(),
    }
    lines = [
        ("bound: gain to the k", gain**distance, colour("without"), "dot"),
        ("tanh network", measured["tanh network"], colour("without"), "solid"),
        ("forget gates alone", direct_path(lstm.forget).numpy(), colour("with"), "dot"),
        ("LSTM", measured["LSTM"], colour("with"), "solid"),
    ]
    ticks = range(-12, 7, 3)
    powers = ["10" + str(power).translate(RAISED) if power else "1" for power in ticks]
    figure = go.Figure(
        data=[_line(distance, np.log10(values), name, ink, dash) for name, values, ink, dash in lines],
        layout={
            "height": 420, "margin": {"l": 62, "r": 12, "t": 52, "b": 48},
            "annotations": [_key("tanh network", "its bound, gainᵏ", colour("without"), 1.08),
                            _key("LSTM", "its forget gates alone", colour("with"), 1.015)],
            "xaxis": {"title": {"text": "distance k, steps"}, "range": [0, STEPS + 0.5]},
            "yaxis": {"title": {"text": "largest factor of an error"}, "range": [LOWEST, HIGHEST],
                      "tickvals": list(ticks), "ticktext": powers},
        },
    )  # fmt: skip
    figure.add_shape(type="line", x0=0, x1=STEPS + 0.5, y0=0, y1=0, line={"color": MUTED, "width": 1}, layer="below")
    ends = " and ".join(f"{_power(values[-1])} for the {name}" for name, values in measured.items())
    return describe(
        figure,
        f"Gain {gain:g}, forget bias {forget_bias:g}: over {STEPS} steps the largest factor of an error is {ends}; the "
        f"bound is {_power(gain**STEPS)}, and the forget gates alone let {_power(float(lines[2][1][-1]))} pass.",
    )


def _key(name: str, dotted: str, ink: str, y: float) -> dict[str, Any]:
    """One network's line and its dotted companion, in words."""
    return {"text": f"<b>{name}</b>; dotted: {dotted}", "x": 0, "y": y, "xref": "paper", "yref": "paper",
            "xanchor": "left", "yanchor": "bottom", "showarrow": False, "font": {"color": ink}}  # fmt: skip


def _line(x: np.ndarray, y: np.ndarray, name: str, ink: str, dash: str) -> dict[str, Any]:
    return {"type": "scatter", "x": x, "y": y, "name": name, "mode": "lines", "line": {"color": ink, "dash": dash},
            "hovertemplate": f"{name}<br>k = %{{x}}: 10<sup>%{{y:.1f}}</sup><extra></extra>"}  # fmt: skip


def _power(number: float) -> str:
    """One digit where the number is of common size, else the power of ten next to it."""
    return f"{number:.2g}" if 0.01 <= number < 1000 else f"1e{round(np.log10(number)):d}"


def border_figure(maps: dict[str, Tensor], words: Sequence[str], border: int) -> Any:
    """Heat maps of how much each prediction's loss depends on each word read, with the border of two windows.

    Args:
        maps: by title, (steps, steps): row t, column s, the norm of the gradient of the loss at t by the input at s.
        words: the words read.
        border: first step of the second window.

    Returns:
        a matplotlib figure, a panel a map, in a logarithmic scale that all share.

    Raises:
        ValueError: there is no map, one is not (steps, steps) or zero everywhere, or the border is not among the steps.

    Example:
        >>> import torch
        >>> from awdlib.figures.gradients_over_time import border_figure
        >>> figure = border_figure({"whole": torch.ones(3, 3).tril()}, ["the", "gulls", "sing"], border=2)
        >>> figure.axes[0].get_title(loc="left")
        'whole'
    """
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    require.whole_number("border", border, 0, len(words))
    for title, one in maps.items():
        require.shape(f"the map of {title!r}", one, (len(words), len(words)), "a row and a column for each word")
    top = max((one.max().item() for one in maps.values()), default=0.0)
    require.number("the largest gradient", top, "(0, inf)")
    with use_style():
        figure, panels = plt.subplots(len(maps), 1, figsize=(5.6, 5.0 * len(maps)), squeeze=False, sharex=True)
        for ax, (title, one) in zip(panels[:, 0], maps.items(), strict=True):
            shown = np.ma.masked_equal(one.numpy(), 0)
            image = ax.imshow(shown, cmap=colormap(SEQUENTIAL), norm=LogNorm(top * FAINTEST, top))
            for line in (ax.axhline, ax.axvline):
                line(border - 0.5, color=colour("forget"), linestyle="--")
            ax.set(title=title, ylabel="prediction after reading …")
            ax.set_xticks(range(len(words)), words, rotation=90, fontsize=11)
            ax.set_yticks(range(len(words)), words, fontsize=11)
            ax.tick_params(length=0)
            ax.grid(False)
        panels[-1, 0].set_xlabel("… depends on this word")
        bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.7, aspect=30)
        bar.set_label("norm of the gradient")
        plt.close(figure)
    return figure


def reach_figure(reaches: dict[str, Sequence[Sequence[float]]]) -> Any:
    """How far back the loss of trained models looks: a line a run, each divided by its own first value.

    Args:
        reaches: by arm ("LSTM", "tanh network"), a list a run, of `awdlib.reach.loss_reach`.

    Returns:
        a matplotlib figure with a logarithmic axis.

    Raises:
        ValueError: an arm has no run, its runs differ in length, or one does not begin above zero.

    Example:
        >>> from awdlib.figures.gradients_over_time import reach_figure
        >>> figure = reach_figure({"LSTM": [[1.0, 0.5, 0.3]], "tanh network": [[2.0, 0.4, 0.1]]})
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['LSTM', 'tanh network']
    """
    import matplotlib.pyplot as plt

    for arm, runs in reaches.items():
        if len({len(run) for run in runs}) != 1 or min(run[0] for run in runs) <= 0:
            raise ValueError(f"the runs of {arm!r} are {runs!r:.60}; give runs of one length that begin above zero")
    inks = {"LSTM": colour("with"), "tanh network": colour("without"), "orthogonal": GOLD}
    with use_style():
        figure, ax = plt.subplots(figsize=(6.0, 3.7))
        for arm, runs in reaches.items():
            relative = np.array([np.array(run) / run[0] for run in runs])
            ax.plot(relative.T, color=inks.get(arm, INK), alpha=0.35, linewidth=1.2)
            mean = np.exp(np.log(relative).mean(0))
            ax.plot(mean, color=inks.get(arm, INK), linewidth=2.4)
            label_end(ax, len(mean) - 1, float(mean[-1]), arm, inks.get(arm, INK))
        ax.set(yscale="log", xlabel="words back", ylabel="gradient of the loss,\nrelative to the last word")
        plt.close(figure)
    return figure


def cliff(weights: np.ndarray, steps: int) -> np.ndarray:
    """The loss of one unit h ← w sigmoid(h) - 3 that begins at 0 and is to end with sigmoid(h) = 0.7.

    At w = 6 it stays at 0, from where it is driven away by a factor of 1.5 a step (after Pascanu et al. 2013).

    Args:
        weights: values of w, any shape.
        steps: how often it is applied.

    Returns:
        the squared error at each weight.

    Raises:
        ValueError: steps is not a whole number, or negative.

    Example:
        >>> import numpy as np
        >>> from awdlib.figures.gradients_over_time import cliff
        >>> cliff(np.array([5.9, 6.0, 6.1]), steps=20).round(2).tolist()
        [0.4, 0.04, 0.06]
    """
    h = np.zeros_like(weights, dtype=float)
    for _ in range(require.whole_number("steps", steps, 0)):
        h = weights / (1 + np.exp(-h)) - 3
    return (1 / (1 + np.exp(-h)) - 0.7) ** 2


def cliff_figure(steps: int, start: float, rate: float, limit: float) -> Any:
    """One step of gradient descent at a cliff of the loss, plain and clipped.

    Args:
        steps: of the unit, as `cliff` takes them.
        start: the weight before the step.
        rate: learning rate.
        limit: the gradient is clipped to this.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: start is not a finite number, or another is not positive.

    Example:
        >>> from awdlib.figures.gradients_over_time import cliff_figure
        >>> cliff_figure(steps=12, start=5.99, rate=0.1, limit=1.0).get_label().partition(":")[0]
        'At w = 5.99 the gradient is -15.7'
    """
    import matplotlib.pyplot as plt

    require.number("start", start)
    for name, value in (("rate", rate), ("limit", limit)):
        require.number(name, value, "(0, inf)")
    nudge = 1e-7
    slope = float(np.diff(cliff(np.array([start - nudge, start + nudge]), steps))[0] / (2 * nudge))
    plain, clipped = start - rate * slope, start - rate * float(np.clip(slope, -limit, limit))
    height = float(cliff(np.array([start]), steps)[0])
    with use_style():
        figure, ax = plt.subplots(figsize=(5.6, 3.2))
        w = np.sort(np.append(np.linspace(5.5, 6.5, 400), np.linspace(5.98, 6.02, 400)))
        ax.plot(w, cliff(w, steps), color=INK)
        for end, lift, ink, name in (
            (plain, 0.08, colour("without"), f"plain step: to w = {plain:.1f}"),
            (clipped, 0.0, colour("with"), "clipped step"),
        ):
            tip = (min(end, 6.5), height + lift)
            arrow = {"arrowstyle": "-|>", "color": ink, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
            ax.annotate("", tip, (start, height + lift), arrowprops=arrow)
            place = (
                (tip[0] - 0.02, tip[1] + 0.02, "right", "bottom") if lift else (tip[0] + 0.02, tip[1], "left", "center")
            )
            ax.text(*place[:2], name, color=ink, ha=place[2], va=place[3], fontweight="bold")
        ax.plot(start, height, "o", color=INK)
        ax.set(xlabel="weight w", ylabel="loss", ylim=(0, 0.55), xlim=(5.5, 6.52))
        plt.close(figure)
    return describe(
        figure,
        f"At w = {start:g} the gradient is {slope:.1f}: a plain step goes to w = {plain:.2f}, a clipped one to "
        f"{clipped:.2f}.",
    )
