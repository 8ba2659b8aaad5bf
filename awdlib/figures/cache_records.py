"""Pictures of what was measured of the continuous cache, from the record ``data/runs/continuous-cache.json``."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.figures.cache_gain import KINDS
from awdlib.figures.style import (
    BLUE,
    DIVERGING,
    GOLD,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    colour,
    describe,
    label_end,
    use_style,
)  # fmt: skip

ENDS = 6  #: per cent of perplexity at which the colours of `tuning_figure` end
TEXTS = {"valid": "validation", "test": "test"}  #: as the record calls them, and in words


def models(record: Mapping[str, Any], arm: str = "toy") -> list[dict[str, Any]]:
    """What the record holds of one arm, a model a seed.

    Args:
        record: of ``data/runs/continuous-cache.json``.
        arm: "toy", or one of Penn Treebank's.

    Raises:
        ValueError: the record has no such models.

    Example:
        >>> from awdlib.figures.cache_records import models
        >>> models({"runs": [{"arm": "toy", "seed": 1}, {"arm": "gru", "seed": 1}]}, "gru")
        [{'arm': 'gru', 'seed': 1}]
    """
    found = [run for run in record["runs"] if run["arm"] == arm]
    if not found:
        arms = sorted({run["arm"] for run in record["runs"]})
        raise ValueError(f"the record has no model of the arm {require.shown(arm)}: it has {', '.join(arms)}")
    return found


def tuning_figure(record: Mapping[str, Any], text: str, window: int, seed: int = 2) -> go.Figure:
    """Perplexity over theta and lambda, as a map, of one model of the toy language.

    Args:
        record: of ``data/runs/continuous-cache.json``.
        text: "validation" or "test".
        window: positions remembered, one of the record's.
        seed: of the model.

    Returns:
        a plotly figure.

    Raises:
        ValueError: the record knows no such text, window or seed.

    Example:
        >>> from awdlib.figures.cache_records import tuning_figure
        >>> cells = [{"theta": t, "lambda": 0.1, "reached": 9.0, "at": [10.0, 9.0 + t]} for t in (0.0, 2.0)]
        >>> run = {"arm": "toy", "seed": 2, "grid": {"test": {"30": cells}}}
        >>> tuning_figure({"toy": {"lambdas": [0.0, 0.1]}, "runs": [run]}, "test", 30).layout.meta["alt"]
        'Test perplexity with a window of 30: 10.0 without the cache, lowest at θ = 0 and λ = 0.10, with 9.0.'
    """
    split = next((name for name, words in TEXTS.items() if words == text), None)
    model = next((run for run in models(record) if run["seed"] == seed), None)
    if model is None:
        raise ValueError(f"the record has no model of seed {require.shown(seed)}: choose one of its seeds")
    cells = model["grid"].get(split, {}).get(str(window))
    if cells is None:
        raise ValueError(f"the record has no {require.shown(text)} text with a window of {require.shown(window)}")
    lambdas = record["toy"]["lambdas"]
    reached = np.array([cell["at"] for cell in cells])  # (thetas, lambdas)
    alone = reached[0, lambdas.index(0.0)]
    percent = 100 * (reached / alone - 1)
    ridge = [np.interp(cell["lambda"], lambdas, np.arange(len(lambdas))) for cell in cells]
    best = min(range(len(cells)), key=lambda row: cells[row]["reached"])
    stops: list[list[Any]] = DIVERGING
    scale = [[1 - at, ink] for at, ink in reversed(stops)]  # lower is better: blue
    figure = go.Figure()
    figure.add_heatmap(
        z=percent.clip(-ENDS, ENDS), zmin=-ENDS, zmax=ENDS, colorscale=scale, showscale=False, hoverinfo="skip"
    )
    figure.add_scatter(x=ridge, y=list(range(len(cells))), mode="lines", line={"color": INK, "width": 2},
                       hoverinfo="skip")  # fmt: skip
    for ink, size in ((INK, 15), (PAPER, 8)):
        figure.add_scatter(x=[ridge[best]], y=[best], mode="markers", marker={"color": ink, "size": size},
                           hoverinfo="skip")  # fmt: skip
    cell = cells[best]
    note = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom",
            "showarrow": False, "align": "left"}  # fmt: skip
    figure.update_layout(
        height=380, margin={"l": 50, "r": 8, "t": 50, "b": 46},
        annotations=[note | {"text": f"<b>{text} perplexity {alone:.2f} → {cell['reached']:.2f}</b><br>"
                                     f"at θ = {cell['theta']:g}, λ = {cell['lambda']:.3f} (ring)"}],
        xaxis={"tickvals": list(range(0, len(lambdas), 2)), "ticktext": [f"{weight:g}" for weight in lambdas[::2]],
               "title": {"text": "λ", "standoff": 4}, "showline": False},
        yaxis={"tickvals": list(range(len(cells))), "ticktext": [f"{one['theta']:g}" for one in cells],
               "title": {"text": "θ", "standoff": 4}, "showline": False, "showgrid": False},
    )  # fmt: skip
    return describe(
        figure,
        f"{text.capitalize()} perplexity with a window of {window}: {alone:.1f} without the cache, lowest at "
        f"θ = {cell['theta']:g} and λ = {cell['lambda']:.2f}, with {cell['reached']:.1f}.",
    )


def recorded_tuning_figure(text: str, window: int) -> go.Figure:
    """`tuning_figure` of the record that ships with the book.

    Args:
        text: "validation" or "test".
        window: positions remembered, one of the record's.

    Returns:
        a plotly figure.

    Raises:
        ValueError: the record knows no such text or window.

    Example:
        >>> from awdlib.figures.cache_records import recorded_tuning_figure
        >>> recorded_tuning_figure("test", 300).layout.meta["alt"].partition(":")[0]
        'Test perplexity with a window of 300'
    """
    record = json.loads(bundled("runs/continuous-cache.json").read_text(encoding="utf-8"))
    return tuning_figure(record, text, window)


def excesses(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Excess over the floor on the toy test text by kind of word, names in two parts; nats per 100 words of the text.

    The probability of a word is that of its kind times that of the word given its kind; the excess of the names is
    split at this product.

    Args:
        record: of ``data/runs/continuous-cache.json``.

    Returns:
        of each part (2, seeds), the model alone first, then with the cache.

    Example:
        >>> import json
        >>> from awdlib.bundled import bundled
        >>> from awdlib.figures.cache_records import excesses
        >>> found = excesses(json.loads(bundled("runs/continuous-cache.json").read_text()))
        >>> list(found)
        ['names: which one', 'names: that one comes', 'topic words', 'other words', 'line ends']
    """
    parts: dict[str, list[list[float]]] = {}
    for run in models(record):
        words = run["words"]
        total = sum(kind["words"] for kind in words["kinds"].values()) / 100
        names, urn = words["kinds"][KINDS[0]], sum(group["urn"] for group in words["mentions"])
        came = [names["floor"] - urn - names[f"{of}_kind"] for of in ("model", "mixed")]
        whole = [names["floor"] - names[of] for of in ("model", "mixed")]
        parts.setdefault("names: which one", []).append(
            [(both - part) / total for both, part in zip(whole, came, strict=True)]
        )
        parts.setdefault("names: that one comes", []).append([part / total for part in came])
        for kind in KINDS[1:]:
            sums = words["kinds"][kind]
            parts.setdefault(kind, []).append([(sums["floor"] - sums[of]) / total for of in ("model", "mixed")])
    return {name: np.array(values).T for name, values in parts.items()}


def excess_figure(record: Mapping[str, Any]) -> Any:
    """What the model alone and the model with the cache lose beyond the floor, part by part (matplotlib).

    Bars are means over the seeds, dots the seeds.

    Args:
        record: of ``data/runs/continuous-cache.json``.

    Returns:
        a matplotlib figure.

    Example:
        >>> import json
        >>> from awdlib.bundled import bundled
        >>> from awdlib.figures.cache_records import excess_figure
        >>> figure = excess_figure(json.loads(bundled("runs/continuous-cache.json").read_text()))
        >>> figure.axes[0].get_xlabel()
        'excess over the floor, nats per 100 words'
    """
    import matplotlib.pyplot as plt

    found = excesses(record)
    with use_style():
        figure, axes = plt.subplots(figsize=(6.6, 3.9))
        for row, values in enumerate(found.values()):
            for side, role in enumerate(("without", "with")):
                y = row - 0.19 + 0.38 * side
                axes.barh(y, values[side].mean(), height=0.34, color=colour(role))
                axes.plot(values[side], [y] * values.shape[1], "o", color=INK, markersize=3)
                shown = round(values[side].mean(), 1) + 0.0  # no minus before a zero
                axes.annotate(f"{shown:.1f}", (1, y), (34, 0), xycoords=("axes fraction", "data"), ha="right",
                              textcoords="offset points", va="center", color=colour(role))  # fmt: skip
        axes.set_yticks(range(len(found)), [name.replace(": ", ":\n") for name in found])
        axes.invert_yaxis()
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_xlabel("excess over the floor, nats per 100 words")
        axes.grid(False)
        axes.grid(True, axis="x")
        axes.annotate("mean", (1, 1), (34, 2), xycoords="axes fraction", textcoords="offset points", ha="right",
                      color=MUTED)  # fmt: skip
        axes.text(0.98, 0.32, "model alone", color=colour("without"), transform=axes.transAxes, ha="right",
                  fontweight="bold")  # fmt: skip
        axes.text(0.98, 0.24, "with the cache", color=colour("with"), transform=axes.transAxes, ha="right",
                  fontweight="bold")  # fmt: skip
        plt.close(figure)
    said = "; ".join(f"{name} {alone.mean():.1f} and {mixed.mean():.1f}" for name, (alone, mixed) in found.items())
    return describe(figure, f"Excess in nats per 100 words, model alone and with the cache: {said}.")


def mentions_figure(groups: Sequence[str], lines: Mapping[str, Sequence[Sequence[float]]]) -> Any:
    """Surprise at a name by how often it had come before in its document, a line a predictor (matplotlib).

    Args:
        groups: how often, in words.
        lines: by "floor", "model alone" or "with the cache": of each seed, a mean in nats for each group.

    Returns:
        a matplotlib figure.

    Raises:
        ValueError: a predictor that is none of these, or has not a mean for each group.

    Example:
        >>> from awdlib.figures.cache_records import mentions_figure
        >>> mentions_figure(["0", "1"], {"floor": [[6.0, 3.0]], "model alone": [[5.8, 5.6]]}).get_label()
        'Surprise at a name, in nats, by earlier mentions (0; 1): floor 6.0, 3.0; model alone 5.8, 5.6.'
    """
    import matplotlib.pyplot as plt

    inks = {"floor": colour("floor"), "model alone": colour("without"), "with the cache": colour("with")}
    marks = {"floor": ("--", "s"), "model alone": ("-", "o"), "with the cache": ("-", "D")}
    if strange := [name for name in lines if name not in inks]:
        raise ValueError(f"{strange[0]!r} is no line of this picture: name only {', '.join(inks)}")
    if uneven := [name for name, seeds in lines.items() if any(len(seed) != len(groups) for seed in seeds)]:
        raise ValueError(f"{uneven[0]!r} must have a mean for each of the {len(groups)} groups")
    with use_style():
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        places = np.arange(len(groups))
        for name, seeds in lines.items():
            values = np.array(seeds)
            axes.plot(places, values.mean(0), linestyle=marks[name][0], marker=marks[name][1], color=inks[name])
            axes.vlines(places, values.min(0), values.max(0), color=inks[name], linewidth=1.5)
            label_end(axes, places[-1], values.mean(0)[-1], name, inks[name])
        axes.set_xticks(places, groups)
        axes.set(xlabel="mentions of this name before, in this document", ylabel="surprise, nats", ylim=(0, None))
        plt.close(figure)
    said = "; ".join(
        f"{name} {', '.join(f'{value:.1f}' for value in np.array(seeds).mean(0))}" for name, seeds in lines.items()
    )
    return describe(figure, f"Surprise at a name, in nats, by earlier mentions ({'; '.join(groups)}): {said}.")


def ages_figure(words: Sequence[Sequence[Sequence[Mapping[str, float]]]], ages: Sequence[str]) -> Any:
    """Gain on real text by how long ago the word last came, frequent and rarer words apart (matplotlib).

    Bars are means over the seeds, dots the seeds; together the bars are the gain of the whole text.

    Args:
        words: of each seed, of each age, of each class of frequency: number of "words", sums of ln p as "model" and
            "mixed"; what the record holds of Penn Treebank.
        ages: names of the ages.

    Returns:
        a matplotlib figure.

    Example:
        >>> from awdlib.figures.cache_records import ages_figure
        >>> near = [{"words": 5, "model": -20.0, "mixed": -15.0}] * 3
        >>> far = [{"words": 5, "model": -30.0, "mixed": -31.0}] * 3
        >>> ages_figure([[near, far]], ["just now", "never"]).get_label()
        'Gain in nats per 100 words: just now +16.7, +16.7, +16.7; never -3.3, -3.3, -3.3.'
    """
    import matplotlib.pyplot as plt

    classes = {"100 most frequent": GOLD, "next 900": GREEN, "all rarer words": BLUE}
    totals = [sum(group["words"] for age in seed for group in age) for seed in words]
    gains = np.array(
        [
            [[100 * (group["mixed"] - group["model"]) / total for group in age] for age in seed]
            for seed, total in zip(words, totals, strict=True)
        ]
    )  # (seeds, ages, classes)
    with use_style():
        figure, axes = plt.subplots(figsize=(6.6, 4.1))
        for number, (name, ink) in enumerate(classes.items()):
            y = np.arange(len(ages)) + 0.26 * (number - 1)
            axes.barh(y, gains[:, :, number].mean(0), height=0.23, color=ink)
            for seed in gains:
                axes.plot(seed[:, number], y, "o", color=INK, markersize=2.5)
            axes.text(0.99, 0.16 - 0.07 * number, name, color=ink, transform=axes.transAxes, ha="right",
                      fontweight="bold")  # fmt: skip
        axes.set_yticks(range(len(ages)), ages)
        axes.invert_yaxis()
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_xlabel("gain, nats per 100 words of the text")
        axes.grid(False)
        axes.grid(True, axis="x")
        plt.close(figure)
    said = "; ".join(
        f"{age} {', '.join(f'{value:+.1f}' for value in row)}" for age, row in zip(ages, gains.mean(0), strict=True)
    )
    return describe(figure, f"Gain in nats per 100 words: {said}.")


def saved(tuned: Mapping[str, Any], reached: str = "with") -> float:
    """Per cent of the test perplexity that the cache takes off.

    Args:
        tuned: what validation chose at one window, as the record holds it.
        reached: "with", or "only_when_full".

    Example:
        >>> from awdlib.figures.cache_records import saved
        >>> saved({"test": {"without": 100.0, "with": 75.0}})
        25.0
    """
    return 100 * (1 - tuned["test"][reached] / tuned["test"]["without"])


def memory_figure(record: Mapping[str, Any]) -> Any:
    """Per cent of test perplexity that the cache takes off, by window, on the toy language and Penn Treebank.

    Lines are means over the seeds, upright bars reach from the lowest seed to the highest (matplotlib).

    Args:
        record: of ``data/runs/continuous-cache.json``.

    Returns:
        a matplotlib figure.

    Example:
        >>> import json
        >>> from awdlib.bundled import bundled
        >>> from awdlib.figures.cache_records import memory_figure
        >>> figure = memory_figure(json.loads(bundled("runs/continuous-cache.json").read_text()))
        >>> figure.axes[0].get_xlabel()
        'window, words'
    """
    import matplotlib.pyplot as plt

    texts = {
        "toy language": ([run["tuned"] for run in models(record)], ORANGE, "o"),
        "Penn Treebank": ([run["windows"] for run in models(record, "full")], BLUE, "D"),
    }
    said = []
    with use_style():
        figure, axes = plt.subplots(figsize=(6.6, 3.8))
        for name, (seeds, ink, mark) in texts.items():
            windows = [tuned["window"] for tuned in seeds[0]]
            for reached, line in (("with", "-"), ("only_when_full", (0, (2, 2)))):
                values = np.array([[saved(tuned, reached) for tuned in seed] for seed in seeds])
                axes.plot(windows, values.mean(0), linestyle=line, marker=mark if reached == "with" else "", color=ink,
                          markersize=5)  # fmt: skip
                if reached == "with":
                    axes.vlines(windows, values.min(0), values.max(0), color=ink, linewidth=1.5)
                    label_end(axes, windows[-1], values.mean(0)[-1], name, ink)
                    best = int(values.mean(0).argmax())
                    said.append(f"{name} most at {windows[best]} words, {values.mean(0)[best]:.1f} per cent")
        axes.set(xscale="log", xlabel="window, words", ylabel="perplexity saved, per cent", ylim=(0, None))
        axes.set_xticks([10, 30, 100, 300, 1000, 3000], ["10", "30", "100", "300", "1000", "3000"])
        axes.minorticks_off()
        axes.text(0.98, 0.04, "dashed: no cache until the window is full", transform=axes.transAxes, ha="right",
                  color=MUTED, fontsize=10)  # fmt: skip
        plt.close(figure)
    return describe(figure, f"Share of test perplexity that the cache takes off, by window: {'; '.join(said)}.")
