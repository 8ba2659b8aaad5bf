"""Pictures of what was published and measured of the ideas beyond AWD-LSTM: perplexities, ranks, gains."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
import torch

from awdlib import _require as require
from awdlib.figures.style import BLUE, GOLD, GREEN, INK, PINK, colour, describe, use_style


class Reported(NamedTuple):
    """Test perplexities that a paper reports, without and with dynamic evaluation; None where we know of none.

    Example:
        >>> from awdlib.figures.beyond_records import REPORTED
        >>> REPORTED[0].name, REPORTED[0].ptb
        ('AWD-LSTM', (57.3, 51.1))
    """

    name: str  #: of the model
    year: int  #: in which it was first made public
    ptb: tuple[float, float | None]  #: Penn Treebank, still and dynamic
    wt2: tuple[float, float | None]  #: WikiText-2, still and dynamic


#: Merity et al. 2017; Yang et al. 2017; Brahma 2018; Takase et al. 2018; Melis et al. 2019; Melis 2022. All but the
#: dynamic figures of AWD-LSTM, which are Krause et al.'s (2017), come from the model's own paper.
REPORTED = (
    Reported("AWD-LSTM", 2017, (57.3, 51.1), (65.8, 44.3)),
    Reported("AWD-LSTM, mixture of softmaxes", 2017, (54.4, 47.7), (61.5, 40.7)),
    Reported("AWD-LSTM, past decode", 2018, (55.6, None), (63.5, None)),
    Reported("AWD-LSTM, direct output connection", 2018, (52.4, None), (58.0, None)),
    Reported("Mogrifier LSTM", 2019, (50.1, 44.8), (55.1, 38.6)),
    Reported("Mogrifier RLSTM", 2022, (47.9, 42.9), (55.0, 38.0)),
)


def reported_figure() -> Any:
    """Six published models, standing still and learning while they read: one corpus above the other (matplotlib).

    Example:
        >>> from awdlib.figures.beyond_records import reported_figure
        >>> reported_figure().get_label()[:76]
        'Test perplexity on Penn Treebank and WikiText-2: AWD-LSTM 57.3 → 51.1 and 65'
    """
    import matplotlib.pyplot as plt

    names = [f"{model.name}, {model.year}".replace("AWD-LSTM, ", "+ ") for model in REPORTED]
    names[0] = f"AWD-LSTM, {REPORTED[0].year}"
    with use_style():
        figure, panels = plt.subplots(2, 1, figsize=(5.6, 5.8))
        for axes, title, corpus in zip(panels, ("Penn Treebank", "WikiText-2"), ("ptb", "wt2"), strict=True):
            for row, model in enumerate(REPORTED):
                still, moving = getattr(model, corpus)
                axes.plot(still, row, "o", color=colour("without"), markersize=8)
                axes.annotate(f"{still}", (still, row), (7, 0), textcoords="offset points", va="center", fontsize=9)
                if moving is not None:
                    arrow = {"arrowstyle": "-|>", "color": BLUE, "linewidth": 2, "shrinkA": 5}
                    axes.annotate("", (moving, row), (still, row), arrowprops=arrow)
                    axes.annotate(f"{moving}", (moving, row), (-5, 0), textcoords="offset points", va="center",
                                  ha="right", fontsize=9, color=BLUE)  # fmt: skip
            low, high = (37, 62) if corpus == "ptb" else (31, 72)
            axes.set(title=title, xlim=(low, high), ylim=(len(REPORTED) - 0.5, -0.7))
            axes.set_yticks(range(len(REPORTED)), names)
            axes.grid(True, axis="x")
            axes.grid(False, axis="y")
        panels[1].set_xlabel("test perplexity\n(arrows: dynamic evaluation)")
        plt.close(figure)
    said = "; ".join(f"{m.name} {_arrow(m.ptb)} and {_arrow(m.wt2)}" for m in REPORTED)
    return describe(figure, f"Test perplexity on Penn Treebank and WikiText-2: {said}. Arrows: dynamic evaluation.")


def _arrow(pair: tuple[float, float | None]) -> str:
    return f"{pair[0]}" if pair[1] is None else f"{pair[0]} → {pair[1]}"


def spectra_figure(spectra: Mapping[str, Sequence[float]], limit: int, shown: int = 90) -> Any:
    """Singular values of several matrices, largest first, and the rank that no single softmax exceeds (matplotlib).

    Args:
        spectra: by name: singular values, falling; each is drawn as parts of its first.
        limit: the rank to mark.
        shown: values drawn of each, at most.

    Raises:
        ValueError: more than three matrices, or none, or one without values.

    Example:
        >>> from awdlib.figures.beyond_records import spectra_figure
        >>> spectra_figure({"a": [4.0, 1.0, 1e-9], "b": [2.0, 1.0, 1.0]}, limit=2).get_label()
        'Singular values above a millionth of the first: a 2, b 3. No single softmax exceeds rank 2.'
    """
    import matplotlib.pyplot as plt

    if not 0 < len(spectra) <= 3:
        raise ValueError(f"there are {len(spectra)} matrices: draw one, two or three")
    for name, values in spectra.items():
        if not len(values) or not values[0] > 0:
            raise ValueError(f"{name} has no singular value above 0: there is nothing to draw")
    ranks = {}
    with use_style():
        figure, axes = plt.subplots(figsize=(6.8, 3.7))
        inks = zip((GREEN, colour("without"), colour("with")), ("--", "-", "-"), strict=True)
        for (name, values), (ink, style) in zip(spectra.items(), inks, strict=False):
            parts = np.asarray(values) / values[0]
            ranks[name] = int((parts > 1e-6).sum())
            parts = parts[:shown]
            axes.plot(np.arange(1, len(parts) + 1), np.maximum(parts, 1e-12), style, color=ink)
            at = max(1, min(len(parts), ranks[name]) // 2)
            axes.annotate(name, (at, parts[at - 1]), (6, 6), textcoords="offset points", color=ink, fontweight="bold")
        axes.axvline(limit + 0.5, color=INK, linewidth=1, linestyle=":")
        axes.text(limit + 1.5, 0.2, f"rank {limit}: the most\nthat one softmax can", fontsize=9, va="top")
        axes.set(
            yscale="log", ylim=(1e-8, 2), xlabel="number of the singular value", ylabel="size, in parts of the first"
        )
        axes.set_yticks([1, 1e-2, 1e-4, 1e-6, 1e-8], ["1", "0.01", "0.0001", "10⁻⁶", "10⁻⁸"])
        plt.close(figure)
    said = ", ".join(f"{name} {rank}" for name, rank in ranks.items())
    return describe(
        figure, f"Singular values above a millionth of the first: {said}. No single softmax exceeds rank {limit}."
    )


def gains_figure(gains: Mapping[str, Sequence[Sequence[float]]], groups: Sequence[str]) -> Any:
    """What ways of adapting gain on groups of words, a bar a way and group, a dot a seed (matplotlib).

    Args:
        gains: by way: of each seed, nats per 100 words of the text for each group.
        groups: their names.

    Raises:
        ValueError: more than three ways, or none; or not one number for each group.

    Example:
        >>> from awdlib.figures.beyond_records import gains_figure
        >>> gains_figure({"cache": [[4.0, -1.0], [6.0, -1.0]]}, ["names", "others"]).get_label()
        'Gain in nats per 100 words of the text (names; others): cache +5.0, -1.0.'
    """
    import matplotlib.pyplot as plt

    if not 0 < len(gains) <= 3:
        raise ValueError(f"there are {len(gains)} ways: draw one, two or three")
    for way, seeds in gains.items():
        if not len(seeds) or {len(one) for one in seeds} != {len(groups)}:
            raise ValueError(f"{way} needs, of each seed, one number for each of {len(groups)} groups")
    with use_style():
        figure, axes = plt.subplots(figsize=(6.8, 3.8))
        height = 0.8 / len(gains)
        inks = (GOLD, BLUE, PINK)
        means = {}
        for number, ((way, seeds), ink) in enumerate(zip(gains.items(), inks, strict=False)):
            values = np.array(seeds)
            means[way] = values.mean(0)
            at = np.arange(len(groups)) + (number - (len(gains) - 1) / 2) * height
            axes.barh(at, means[way], height * 0.9, color=ink, alpha=0.85)
            for one in values:
                axes.plot(one, at, "o", color=INK, markersize=2.5)
            axes.text(max(values[:, 0]) + 0.4, at[0], way, color=ink, va="center", fontweight="bold")
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(groups)), groups)
        axes.set(xlabel="nats gained per 100 words of the text", ylim=(len(groups) - 0.5, -0.5))
        axes.margins(x=0.2)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        plt.close(figure)
    said = "; ".join(f"{way} {', '.join(f'{value:+.1f}' for value in of)}" for way, of in means.items())
    return describe(figure, f"Gain in nats per 100 words of the text ({'; '.join(groups)}): {said}.")


def reading_figure(still: torch.Tensor, moving: torch.Tensor, title: str = "") -> Any:
    """What a reader whose weights move has gained by each word, beside one whose weights stand still (matplotlib).

    Args:
        still: (num_targets,), ln p of each word by weights that stand still.
        moving: the same by weights that move.
        title: written above.

    Raises:
        ValueError: they are not of one length, or empty.

    Example:
        >>> import torch
        >>> from awdlib.figures.beyond_records import reading_figure
        >>> reading_figure(torch.tensor([-2.0, -2.0]), torch.tensor([-2.0, -1.0]), "mine").get_label()
        'mine: perplexity 7.4 becomes 4.5; gained after 2 words: 1.0 nats.'
    """
    import matplotlib.pyplot as plt

    require.floats("still", still, "(num_targets,)")
    require.shape("moving", moving, still.shape, "that of still")
    if not len(still):
        raise ValueError("still is empty: read at least two words")
    gained = (moving - still).cumsum(0).numpy()
    before, after = (math.exp(-of.mean().item()) for of in (still, moving))
    ink = colour("with") if gained[-1] > 0 else colour("without")
    with use_style():
        figure, axes = plt.subplots()
        axes.plot(np.arange(1, len(gained) + 1), gained, color=ink)
        axes.axhline(0, color=INK, linewidth=1)
        axes.set(xlabel="words read", ylabel="nats gained so far",
                 title=f"{title}: perplexity {before:.1f} → {after:.1f}")  # fmt: skip
        plt.close(figure)
    read = f"{title}: perplexity {before:.1f} becomes {after:.1f}"
    return describe(figure, f"{read}; gained after {len(gained)} words: {gained[-1]:.1f} nats.")


def runs_of(record: Mapping[str, Any], arm: str) -> list[dict[str, Any]]:
    """What the record holds of one arm, a run a seed; the seed at which things were tuned is left out.

    Args:
        record: of ``data/runs/beyond.json``.
        arm: "full", "shuffle", "past", "mixture" or "transformer".

    Raises:
        ValueError: the record has no such runs.

    Example:
        >>> from awdlib.figures.beyond_records import runs_of
        >>> runs_of({"seeds": [1], "runs": [{"arm": "full", "seed": 0}, {"arm": "full", "seed": 1}]}, "full")
        [{'arm': 'full', 'seed': 1}]
    """
    found = [run for run in record["runs"] if run["arm"] == arm and run["seed"] in record["seeds"]]
    if not found:
        raise ValueError(f"the record has no run of the arm {require.shown(arm)}: name one of its own")
    return found


def beside(record: Mapping[str, Any], arm: str) -> tuple[float, float]:
    """How much more test perplexity an arm has than AWD-LSTM at the same seed: the mean, and its standard error.

    Args:
        record: of ``data/runs/beyond.json``.
        arm: as of `runs_of`.

    Example:
        >>> from awdlib.figures.beyond_records import beside
        >>> tests = {"full": [20.0, 22.0], "past": [21.0, 25.0]}
        >>> runs = [{"arm": arm, "seed": n, "test": test} for arm in tests for n, test in enumerate(tests[arm])]
        >>> beside({"seeds": [0, 1], "runs": runs}, "past")
        (2.0, 1.0)
    """
    pairs = zip(runs_of(record, arm), runs_of(record, "full"), strict=True)
    apart = [one["test"] - other["test"] for one, other in pairs]
    return mean(apart), stdev(apart) / math.sqrt(len(apart))


def arms_table(record: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """A line an arm: perplexities, the difference to AWD-LSTM, its standard error, and t, the one over the other.

    Args:
        record: of ``data/runs/beyond.json``.
        names: of the arms, to be written.

    Example:
        >>> from awdlib.figures.beyond_records import arms_table
        >>> tests = {"full": [22.0, 24.0], "past": [23.0, 27.0]}
        >>> runs = [{"arm": arm, "valid": 23.0, "seed": n, "test": tests[arm][n]} for arm in tests for n in (0, 1)]
        >>> print(arms_table({"seeds": [0, 1], "runs": runs}, {"full": "AWD-LSTM", "past": "+ past decode"}))
                        valid         test   beside AWD-LSTM     t
        AWD-LSTM        23.00   23.00 ± 1.41
        + past decode   23.00   25.00 ± 2.83    +2.00 ± 1.00  +2.0
    """
    lines = [f"{'':14}{'valid':>7}{'test':>13}   beside AWD-LSTM     t"]
    for arm, name in names.items():
        runs = runs_of(record, arm)
        test = [run["test"] for run in runs]
        line = f"{name:14}{mean(run['valid'] for run in runs):7.2f}{mean(test):8.2f} ± {stdev(test):.2f}"
        if arm != "full":
            apart, error = beside(record, arm)
            line += f"{apart:+9.2f} ± {error:.2f}{apart / error:+6.1f}"
        lines.append(line)
    return "\n".join(lines)


def kind_gains(record: Mapping[str, Any], way: str, over: str = "static") -> Any:
    """What a way of reading gains over another on each kind of words, in nats per 100 words of the text.

    Args:
        record: of ``data/runs/beyond.json``.
        way: of reading, or "floor".
        over: what it is compared with.

    Returns:
        (seeds, kinds), a numpy array.

    Example:
        >>> from awdlib.figures.beyond_records import kind_gains
        >>> kinds = [{"words": 1, "static": -5.0, "rms": -3.0}, {"words": 3, "static": -6.0, "rms": -7.0}]
        >>> kind_gains({"seeds": [1], "runs": [{"arm": "full", "seed": 1, "kinds": kinds}]}, "rms")
        array([[ 50., -25.]])
    """
    found = []
    for run in runs_of(record, "full"):
        words = sum(part["words"] for part in run["kinds"])
        found.append([100 * (part[way] - part[over]) / words for part in run["kinds"]])
    return np.array(found)
