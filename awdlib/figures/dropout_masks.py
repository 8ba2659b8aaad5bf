"""Pictures of dropout masks: over time and features, on a real hidden trace, and what is left after averaging."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.dropout import keep_mask
from awdlib.figures.comparison import arms_figure
from awdlib.figures.style import EMPTY, MUTED, ROLES, colormap, colour, describe, use_style

SEQ_LEN, FEATURES = 24, 32
SHOWN = 40  #: features of a hidden trace that are drawn; more would be too narrow to tell apart
MARKS = {"ordinary": "s", "locked": "o"}  #: of single runs
KINDS = {"ordinary": "a new mask at every step", "locked": "one mask for the window"}  #: the two, in words


def draw_mask(
    kind: str, p: float, seed: int, seq_len: int = SEQ_LEN, batch: int = 2, features: int = FEATURES
) -> Tensor:
    """The mask that training would multiply on, spread out over (seq_len, batch, features).

    Args:
        kind: "ordinary" or "locked".
        p: dropout probability.
        seed: of the generator.
        seq_len: time steps.
        batch: sequences.
        features: entries of each activation.

    Returns:
        (seq_len, batch, features) of 0 and 1 / (1 - p).

    Raises:
        ValueError: an unknown kind.

    Example:
        >>> from awdlib.figures.dropout_masks import draw_mask
        >>> locked, ordinary = draw_mask("locked", 0.5, seed=1), draw_mask("ordinary", 0.5, seed=1)
        >>> locked[0].equal(locked[-1]), ordinary[0].equal(ordinary[-1])
        (True, False)
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    steps = 1 if kind == "locked" else seq_len
    mask = keep_mask((steps, batch, features), p, generator=torch.Generator().manual_seed(seed))
    return mask.expand(seq_len, batch, features)


def mask_figure(kind: str, p: float, seed: int) -> go.Figure:
    """The masks of two sequences of one window side by side: time runs to the right, features downwards.

    Args:
        kind: "ordinary" or "locked".
        p: dropout probability.
        seed: of the masks.

    Returns:
        a plotly figure of two heat maps, (features, time) each.

    Example:
        In a locked mask every column of the picture is the first one again:

        >>> from awdlib.figures.dropout_masks import mask_figure
        >>> kept = mask_figure("locked", p=0.5, seed=1).data[0].z
        >>> bool((kept == kept[:, :1]).all())
        True
    """
    mask = draw_mask(kind, p, seed)
    figure = go.Figure()
    for sequence, axis in enumerate(("", "2")):
        kept = (mask[:, sequence] > 0).to(torch.uint8).t().numpy()  # (features, time)
        figure.add_heatmap(
            z=kept, zmin=0, zmax=1, colorscale=[[0, EMPTY], [1, ROLES["kept"]]], showscale=False,
            xaxis=f"x{axis}", yaxis=f"y{axis}", xgap=1, ygap=1, hoverinfo="skip",
        )  # fmt: skip
    shared = {"showgrid": False, "showticklabels": False, "ticks": "", "showline": False}
    figure.update_layout(
        height=400, margin={"l": 30, "r": 8, "t": 34, "b": 34},
        xaxis=shared | {"domain": [0, 0.485], "title": {"text": "time →"}},
        xaxis2=shared | {"domain": [0.515, 1], "title": {"text": "time →"}},
        yaxis=shared | {"autorange": "reversed", "title": {"text": "feature"}},
        yaxis2=shared | {"autorange": "reversed", "anchor": "x2"},
        annotations=[_title("sequence 1", 0), _title("sequence 2", 0.515)],
    )  # fmt: skip
    share = (mask == 0).double().mean().item()
    whole = (mask[:, 0] == 0).all(0).sum().item()
    return describe(
        figure,
        f"{kind} dropout, {KINDS[kind]}, p = {p:g}: {share:.0%} of the entries are dropped; in sequence 1, {whole} of "
        f"{FEATURES} features are dropped at every step.",
    )


def _title(text: str, x: float) -> dict[str, Any]:
    return {"text": f"<b>{text}</b>", "x": x, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left",
            "yanchor": "bottom", "showarrow": False}  # fmt: skip


def average_figure(p: float, steps: int) -> go.Figure:
    """What the mean of a constant feature over ``steps`` time steps can be, under either dropout, in closed form.

    The feature is 1 at every step. Under ordinary dropout the number of kept steps is binomial; under locked dropout
    all are kept or none.

    Args:
        p: dropout probability.
        steps: time steps averaged over.

    Returns:
        a plotly figure.

    Example:
        >>> from awdlib.figures.dropout_masks import average_figure
        >>> figure = average_figure(p=0.5, steps=16)
        >>> figure.layout.meta["alt"].partition(", which")[0].partition(": ")[2]
        'its standard deviation is 0.25 under ordinary dropout and 1.00 under locked dropout'
    """
    ordinary = binomial(steps, 1 - p)
    position = np.arange(steps + 1) / (steps * (1 - p))
    figure = go.Figure()
    _stems(figure, position, ordinary, colour("without"), "ordinary")
    _stems(figure, np.array([0.0, 1 / (1 - p)]), np.array([p, 1 - p]), colour("with"), "locked")
    figure.update_layout(
        height=340,
        xaxis={
            "title": {"text": "mean of the dropped feature over the window"},
            "range": [-0.2, max(2.3, 1.15 / (1 - p))],
        },
        yaxis={"title": {"text": "probability"}, "range": [0, 1.05]},
        annotations=[
            {"x": 1, "y": min(1, ordinary.max() + 0.03), "text": "<b>ordinary</b>", "yanchor": "bottom",
             "font": {"color": colour("without")}},
            {"x": 1 / (1 - p), "y": 1 - p, "text": "<b>locked</b>", "xanchor": "left", "xshift": 8,
             "font": {"color": colour("with")}},
        ],
    )  # fmt: skip
    spread = {kind: noise_of_mean(p, steps, kind) for kind in KINDS}
    return describe(
        figure,
        f"Mean over {steps} steps of a feature that is 1, at p = {p:g}: its standard deviation is "
        f"{spread['ordinary']:.2f} under ordinary dropout and {spread['locked']:.2f} under locked dropout, which "
        f"gives 0 with probability {p:g} and {1 / (1 - p):.2f} otherwise.",
    )


def noise_of_mean(p: float, steps: int, kind: str) -> float:
    """Standard deviation of the mean over time of a feature that is 1 and dropped.

    It is sqrt(p / (1 - p)), under ordinary dropout divided by sqrt(steps).

    Args:
        p: dropout probability.
        steps: time steps averaged over.
        kind: "ordinary" or "locked".

    Example:
        >>> from awdlib.figures.dropout_masks import noise_of_mean
        >>> noise_of_mean(0.5, 16, "ordinary"), noise_of_mean(0.5, 16, "locked")
        (0.25, 1.0)
    """
    return (p / (1 - p) / (steps if kind == "ordinary" else 1)) ** 0.5


def binomial(trials: int, chance: float) -> np.ndarray:
    """P(k successes) for k = 0 … trials, by adding one trial after another.

    Args:
        trials: how many.
        chance: that one succeeds.

    Returns:
        (trials + 1,) probabilities.

    Example:
        >>> from awdlib.figures.dropout_masks import binomial
        >>> binomial(2, 0.5)
        array([0.25, 0.5 , 0.25])
    """
    probability = np.array([1.0])
    for _ in range(trials):
        probability = np.convolve(probability, [1 - chance, chance])
    return probability


def _stems(figure: go.Figure, x: np.ndarray, y: np.ndarray, ink: str, name: str) -> None:
    """Thin bars with a dot on top; stems too small to be seen are left to lie on the axis."""
    gaps = np.full_like(x, np.nan)
    figure.add_scatter(
        x=np.column_stack([x, x, gaps]).ravel(), y=np.column_stack([np.zeros_like(y), y, gaps]).ravel(),
        mode="lines", line={"color": ink, "width": 2.5}, hoverinfo="skip", name=name,
    )  # fmt: skip
    figure.add_scatter(
        x=x, y=y, mode="markers", marker={"color": ink, "size": 6}, name=name,
        hovertemplate="mean %{x:.2f}<br>probability %{y:.3f}<extra></extra>",
    )  # fmt: skip


def trace_figure(hidden: Tensor, words: list[str], p: float, seed: int) -> Any:
    """A real hidden trace as it is, under ordinary, and under locked dropout (matplotlib, three panels).

    Args:
        hidden: (seq_len, features) of one sequence, before dropout; the first `SHOWN` features are drawn.
        words: (seq_len,) the words read.
        p: dropout probability.
        seed: of the masks.

    Returns:
        a matplotlib figure.

    Example:
        >>> import torch
        >>> from awdlib.figures.dropout_masks import trace_figure
        >>> figure = trace_figure(torch.randn(3, 8), ["the", "sea", "sings"], p=0.5, seed=1)
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['as computed', 'ordinary dropout', 'locked dropout']
    """
    import matplotlib.pyplot as plt

    hidden = hidden[:, :SHOWN]
    seq_len, features = hidden.shape
    panels = {"as computed": torch.ones(seq_len, features)}
    for kind in KINDS:
        panels[f"{kind} dropout"] = draw_mask(kind, p, seed, seq_len, 1, features)[:, 0]
    with use_style():
        figure, axes = plt.subplots(1, 3, figsize=(10.5, 4.4), sharey=True)
        top = hidden.abs().max().item()
        for ax, (title, mask) in zip(axes, panels.items(), strict=True):
            picture = np.ma.masked_where((mask == 0).numpy(), hidden.abs().numpy())
            ax.set_facecolor("#f4b183")  # the dropped entries
            ax.imshow(picture, cmap=colormap(), vmin=0, vmax=top, aspect="auto")
            ax.set(title=title, xlabel="feature", xticks=[])
            ax.grid(False)
        axes[0].set_yticks(range(seq_len), words, fontsize=8.5)
        axes[0].tick_params(length=0)
    plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return figure


def curves_figure(runs: dict[str, dict[str, Any]], floor: float) -> Any:
    """Validation perplexity by epoch, a line a run, arms in colour, the reachable floor below (matplotlib).

    Args:
        runs: by "arm-seed", the arms "none", "ordinary" and "locked" each at least once; a run's "curve" is a list of
            {"epoch": int, "valid": perplexity}, as the record ``data/runs/dropout-masks.json`` holds them.
        floor: the lowest perplexity that any model can reach.

    Returns:
        a matplotlib figure.

    Example:
        >>> from awdlib.figures.dropout_masks import curves_figure
        >>> curve = [{"epoch": 1, "valid": 60.0}, {"epoch": 2, "valid": 30.0}]
        >>> figure = curves_figure({f"{arm}-1": {"curve": curve} for arm in ("none", "ordinary", "locked")}, 15.5)
        >>> figure.axes[0].get_ylabel()
        'validation perplexity'
    """
    arms = {
        "none": ("no dropout", MUTED), "ordinary": ("ordinary", colour("without")), "locked": ("locked", colour("with"))
    }  # fmt: skip
    curves: dict[str, list[list[float]]] = {arm: [] for arm in arms}
    for name, run in runs.items():
        curves[name.split("-")[0]].append([point["valid"] for point in run["curve"]])
    shown = {name: (ink, curves[arm]) for arm, (name, ink) in arms.items()}
    return arms_figure(shown, floor, size=(7.4, 4.0), apart=1.15)


def strength_figure(runs: Sequence[Mapping[str, Any]], floor: float) -> Any:
    """Test perplexity of ordinary and of locked dropout by the probability: a dot a run, a line through the means.

    Args:
        runs: of the experiment, each with ``kind``, ``p`` and ``test``.
        floor: the lowest perplexity that any model can be expected to reach.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: a kind without runs, or a floor that is not positive.

    Example:
        >>> from awdlib.figures.dropout_masks import strength_figure
        >>> runs = [{"kind": kind, "p": p, "test": 25 - 10 * p} for kind in ("ordinary", "locked") for p in (0.1, 0.2)]
        >>> strength_figure(runs, floor=15.8).get_label()
        'Test perplexity by p. ordinary: 24.0 at 0.1, 23.0 at 0.2; locked: 24.0 at 0.1, 23.0 at 0.2; floor 15.8.'
    """
    import matplotlib.pyplot as plt

    require.number("floor", floor, "(0, inf)")
    inks, told = {"ordinary": colour("without"), "locked": colour("with")}, []
    with use_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.8))
        for kind, ink in inks.items():
            found = {p: [run["test"] for run in runs if (run["kind"], run["p"]) == (kind, p)]
                     for p in sorted({run["p"] for run in runs if run["kind"] == kind})}  # fmt: skip
            if not found:
                raise ValueError(f"there are no runs of {kind} dropout: give some of each kind")
            for p, values in found.items():
                axes.plot([p] * len(values), values, MARKS[kind], color=ink, fillstyle="none")
            means = {p: float(np.mean(values)) for p, values in found.items()}
            axes.plot([*means], [*means.values()], color=ink)
            axes.plot([], [], MARKS[kind] + "-", color=ink, fillstyle="none", label=kind)
            told.append(f"{kind}: " + ", ".join(f"{value:.1f} at {p:g}" for p, value in means.items()))
        axes.axhline(floor, color=colour("floor"), linestyle="--")
        axes.text(axes.get_xlim()[0], floor, " floor", color=colour("floor"), va="bottom", fontsize=10)
        axes.set(xlabel="dropout probability p", ylabel="test perplexity", ylim=(0.97 * floor, None))
        axes.set_xticks(sorted({run["p"] for run in runs}))
        axes.legend(loc="upper left", labelcolor="linecolor")
        plt.close(figure)
    return describe(figure, f"Test perplexity by p. {'; '.join(told)}; floor {floor:.1f}.")
