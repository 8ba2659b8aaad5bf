"""Pictures of number agreement: how often a verb is expected in the right number, and the unit that remembers it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from awdlib import _require as require
from awdlib.figures.style import GOLD, INK, MUTED, PINK, colour, describe, label_end, perplexity_axis, use_style
from awdlib.training import EpochRecord

#: arms of the record ``data/runs/lstm.json``: name, colour, whether the line is broken
ARMS = {
    "lstm-open": ("LSTM, forget bias 1", PINK, "--"), "lstm": ("LSTM", colour("with"), "-"),
    "rnn-orthogonal": ("tanh, orthogonal", GOLD, "--"), "rnn": ("tanh network", colour("without"), "-"),
}  # fmt: skip
FEWEST = 30  #: verbs of a distance, below which nothing is drawn: chance alone would move a point too far


def accuracy(table: Sequence[Sequence[int]], attractor: bool) -> dict[int, float]:
    """Share of verbs expected in the right number, by distance.

    Args:
        table: rows of [distance, whether a noun of the other number lies between, verbs, of them right].
        attractor: which rows.

    Returns:
        a share for each distance of which there are at least `FEWEST` verbs.

    Example:
        >>> from awdlib.figures.agreement import accuracy
        >>> accuracy([[1, 0, 200, 190], [4, 0, 100, 90], [4, 1, 100, 60], [9, 1, 3, 0]], attractor=True)
        {4: 0.6}
    """
    return {row[0]: row[3] / row[2] for row in table if row[1] == attractor and row[2] >= FEWEST}


def agreement_figure(record: dict[str, Any]) -> Any:
    """Agreement by distance in fresh text, where a noun of the other number lies between, and in stretched sentences.

    Linzen et al. 2016 drew the like of English. A thin line a run, a thick one the mean of an arm.

    Args:
        record: as ``data/runs/lstm.json`` holds it.

    Returns:
        a matplotlib figure of two panels, whose label is its text alternative.

    Example:
        >>> import json
        >>> from awdlib.bundled import bundled
        >>> from awdlib.figures.agreement import agreement_figure
        >>> figure = agreement_figure(json.loads(bundled("runs/lstm.json").read_text()))
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['fresh text', 'stretched sentences']
    """
    import matplotlib.pyplot as plt

    with use_style():
        figure, (left, right) = plt.subplots(2, 1, figsize=(6.4, 7.4), sharey=True)
        ends = {}
        for arm, (name, ink, style) in ARMS.items():
            runs = [run for key, run in record["runs"].items() if key.rpartition("-")[0] == arm]
            if not runs:
                continue
            tables = [accuracy(run["agreement"], attractor=True) for run in runs]
            distances = sorted(tables[0])
            _bundle(left, distances, [[table[d] for d in distances] for table in tables], ink, style, name)
            ends[name] = _bundle(right, record["distances"], [run["stretched"] for run in runs], ink, style, name)
        table = accuracy(record["bigram"], attractor=True)
        left.plot([*table], [*table.values()], color=MUTED, linestyle=":")
        left.text(max(table), 0.27, "the word before alone", color=MUTED, ha="right", va="top")
        for ax in (left, right):
            ax.axhline(0.5, color=INK, linewidth=1)
            ax.text(0, 0.505, " guessing", va="bottom", fontsize=10, transform=ax.get_yaxis_transform())
            ax.axhline(1, color=colour("floor"), linestyle="--")
            ax.set(ylim=(0, 1.12), ylabel="verbs expected in\nthe right number")
            ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
            ax.text(0, 1.01, " the grammar itself", color=colour("floor"), va="bottom", fontsize=10,
                    transform=ax.get_yaxis_transform())  # fmt: skip
        longest = record["distances"][-1]
        last = max(distances)
        left.set_xticks(distances, [f"{d}+" if d == last else str(d) for d in distances])
        left.set(title="fresh text", xlabel="words from subject to verb, a noun of the other number between")
        right.set(title="stretched sentences", xlabel="words from subject to verb", xscale="log")
        right.set_xticks(record["distances"], [str(d) for d in record["distances"]])
        right.minorticks_off()
        right.legend(loc="lower left", fontsize=10, borderaxespad=0.2)
        plt.close(figure)
    told = ", ".join(f"{value:.0%} for {name}" for name, value in ends.items())
    return describe(
        figure, f"Agreement by distance; over {longest} words in stretched sentences: {told}; 50% is guessing."
    )


def _bundle(ax: Any, x: Sequence[int], runs: Sequence[Sequence[float]], ink: str, style: str, name: str) -> float:
    """The runs of one arm and their mean, of which the last value is returned."""
    ax.plot(x, np.array(runs).T, color=ink, alpha=0.3, linewidth=1)
    mean = np.mean(runs, axis=0)
    ax.plot(x, mean, color=ink, linestyle=style, linewidth=2.4, marker="o", markersize=4, label=name)
    return float(mean[-1])


def unit_figure(words: Sequence[str], cells: Tensor, names: tuple[str, str], unit: int) -> Any:
    """One unit's cell state over two sentences that differ in the number of their subject.

    Args:
        words: read, the subject's number left open: ``"sailor(s)"``.
        cells: (2, words), the cell state after each word of the sentence in the singular, and in the plural.
        names: of the two lines.
        unit: its number, for the title.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: the cell states are not two of as many as there are words.

    Example:
        >>> import torch
        >>> from awdlib.figures.agreement import unit_figure
        >>> figure = unit_figure(["the", "gull(s)"], torch.tensor([[0.0, 1.0], [0.0, -1.0]]), ("gull", "gulls"), unit=7)
        >>> figure.axes[0].get_title(loc="left")
        'cell state of unit 7'
    """
    import matplotlib.pyplot as plt

    require.shape("cells", cells, (2, len(words)), "a row for each sentence, a column for each word")
    with use_style():
        figure, ax = plt.subplots(figsize=(6.6, 3.9))
        steps = range(len(words))
        ax.fill_between(steps, *cells.numpy(), color=colour("cell"), alpha=0.12)
        for line, name, role in zip(cells.numpy(), names, ("with", "without"), strict=True):
            ax.plot(steps, line, color=colour(role), marker="o", markersize=4)
            label_end(ax, len(words) - 1, float(line[-1]), name, colour(role))
        ax.axhline(0, color=MUTED, linewidth=0.8)
        ax.set_xticks(steps, words, rotation=60, ha="right", rotation_mode="anchor", fontsize=11, color=INK)
        ax.set(title=f"cell state of unit {unit}", ylabel=f"$c_t$ of unit {unit}")
        plt.close(figure)
    return figure


def lesson_figure(history: Sequence[EpochRecord], floor: float, shares: dict[int, float]) -> Any:
    """A run's learning curves beside its agreement by distance.

    Args:
        history: the epochs, in order; at least one.
        floor: the lowest perplexity that any model can reach on the validation text.
        shares: by distance, the share of verbs expected in the right number.

    Returns:
        a matplotlib figure of two panels, whose label is its text alternative.

    Raises:
        ValueError: the history is empty.

    Example:
        >>> from awdlib.figures.agreement import lesson_figure
        >>> from awdlib.training import EpochRecord
        >>> losses = {"train_loss": 4.0, "valid_loss": 3.5, "averaging": False, "averaging_began": None}
        >>> record = EpochRecord(epoch=1, updates=90, seconds=2.0, **losses)
        >>> lesson_figure([record], floor=15.0, shares={5: 0.9, 10: 0.6}).get_label()
        'After epoch 1, perplexity 55 in training and 33 in validation; right number: 90% at 5 words, 60% at 10 words.'
    """
    import matplotlib.pyplot as plt

    if not history:
        raise ValueError("history is empty; train for an epoch at least")
    with use_style():
        figure, (left, right) = plt.subplots(2, 1, figsize=(6.0, 5.6))
        for role in ("train", "valid"):
            values = [getattr(record, f"{role}_perplexity") for record in history]
            left.plot([record.epoch for record in history], values, color=colour(role), label=role)
        left.axhline(floor, color=colour("floor"), linestyle="--", label="floor")
        perplexity_axis(left)
        left.legend(fontsize=10)
        right.plot([*shares], [*shares.values()], color=colour("with"), marker="o", markersize=4)
        right.axhline(0.5, color=INK, linewidth=1)
        right.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        right.set(
            ylim=(0, 1.04),
            xlabel="words from subject to verb",
            ylabel="right number\n(50%: guessing)",
            xticks=[*shares],
        )
        plt.close(figure)
    last = history[-1]
    told = ", ".join(f"{share:.0%} at {distance} words" for distance, share in shares.items())
    return describe(
        figure,
        f"After epoch {last.epoch}, perplexity {last.train_perplexity:.0f} in training and "
        f"{last.valid_perplexity:.0f} in validation; right number: {told}.",
    )
