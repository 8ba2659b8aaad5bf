"""The pictures of the cache's gain show what an independent computation finds."""

import json
import math

import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.cache import cache_probabilities
from awdlib.figures.cache import attention, read_text, text_probabilities
from awdlib.figures.cache_gain import KINDS, band_figure, kinds, price, price_figure, weight_figure
from awdlib.figures.cache_records import (
    ages_figure,
    excess_figure,
    excesses,
    memory_figure,
    mentions_figure,
    models,
    saved,
    tuning_figure,
)
from awdlib.toy_language import toy_language


def test_kinds_are_those_of_the_generator():
    """What the generator drew each word from, for words that only one sort of class writes."""
    steps = toy_language().derive(np.random.default_rng(3), 3000)
    found = kinds([step.word for step in steps])
    for step, kind in zip(steps, found, strict=True):
        assert (KINDS[kind] == "names") == (step.word_class == "name")
        assert (KINDS[kind] == "line ends") == (step.word == "<eos>")
    share = sum(KINDS[kind] == "topic words" for kind in found) / len(found)
    assert 0.25 < share < 0.5
    with pytest.raises(ValueError, match="'gryphon' is no word of the toy language"):
        kinds(["gryphon"])


def test_the_band_shows_the_attention_and_frames_where_the_word_came():
    generator = torch.Generator().manual_seed(4)
    states, targets = torch.randn(9, 3, generator=generator), torch.tensor([1, 2, 3, 1, 2, 3, 1, 1, 2])
    figure = band_figure(states, targets, list("abcabcaab"), window=5, flatness=2.0, chunk=4)
    shown = figure.axes[0].images[0].get_array()
    for row in range(4):
        t = 5 + row
        attention = (2.0 * states[t - 5 : t].double() @ states[t].double()).softmax(0)
        np.testing.assert_allclose(shown[row, row : row + 5].data ** 2, attention.numpy(), rtol=1e-6)
        assert shown.mask[row].tolist() == [not row <= key < row + 5 for key in range(9)]
    frames = {(round(p.get_x() + 0.5), round(p.get_y() + 0.5)) for p in figure.axes[0].patches}
    due = {(i, t - 5) for t in range(5, 9) for i in range(t - 5, t) if targets[i] == targets[t]}
    assert frames == due and due
    library, _ = cache_probabilities(states, targets, 5, 2.0)
    said = [float(part.split()[-1].rstrip(".")) for part in figure.get_label().partition("came: ")[2].split(", ")]
    assert said == pytest.approx(library[5:].tolist(), abs=0.006)
    with pytest.raises(ValueError, match=r"must have shape \(9,\)"):
        band_figure(states, targets[:8], list("abcabcaab"), window=5, flatness=2.0, chunk=4)
    with pytest.raises(ValueError, match="there are 3 words and 9 positions: give a word for each"):
        band_figure(states, targets, list("abc"), window=5, flatness=2.0, chunk=4)
    for window, theta, chunk, why in ((0, 2.0, 9, "window"), (5, math.nan, 4, "theta"), (9, 2.0, 0, "chunk"),
                                      ("5", 2.0, 4, "window")):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            band_figure(states, targets, list("abcabcaab"), window=window, flatness=theta, chunk=chunk)
    with pytest.raises(ValueError, match="states"):
        band_figure(None, targets, list("abcabcaab"), window=5, flatness=2.0, chunk=4)


@pytest.mark.parametrize(("flatness", "window", "weight"), [(0.0, 30, 0.03), (5.0, 300, 0.3)])
def test_the_price_is_the_sum_of_logarithms_of_ratios(flatness, window, weight):
    text, found = read_text(), text_probabilities(flatness, window)
    mixed = (1 - weight) * found.model + weight * found.cache
    gain = torch.where(found.usable, (mixed / found.model).log(), 0.0)[:, 0]
    of = np.array(kinds(text.words))
    parts = price(flatness, window, weight)
    assert [*parts] == [*KINDS, "all words"]
    for number, name in enumerate(KINDS):
        assert parts[name].gain == pytest.approx(
            100 * gain[torch.tensor(of == number)].sum().item() / len(gain), abs=1e-6
        )
        for other in np.linspace(0.005, 0.95, 40):
            rows = torch.tensor(of == number)
            there = ((1 - other) + other * found.cache / found.model).log().where(found.usable, 0.0)[rows].sum().item()
            assert parts[name].best >= 100 * there / len(gain) - 2e-3
    assert parts["all words"].gain == pytest.approx(100 * gain.mean().item(), abs=1e-6)


@pytest.mark.parametrize(("flatness", "window"), [(0, 30), (5, 300), (15, 30)])
def test_names_gain_up_to_their_ring_and_all_others_pay_long_before(flatness, window):
    """What the chapter tells the reader to look for."""
    weights = [0.01, 0.03, 0.07, 0.15, 0.3, 0.6]
    steps = [price(flatness, window, weight) for weight in weights]
    ring = steps[0]["names"].best_weight
    below = [step["names"].gain for step, weight in zip(steps, weights, strict=True) if weight <= ring]
    assert len(below) >= 4 and below == sorted(below)
    assert all(steps[len(below) - 1][kind].gain < 0 for kind in KINDS[1:])
    assert steps[0]["all words"].best_weight < ring / 4


def test_a_longer_window_takes_attention_from_every_position_that_was_there():
    for at in (1500, 4000, 9000):
        short, long = attention(5.0, 300, at), attention(5.0, 1000, at)
        assert len(short) == 300 and len(long) == 1000 and (long[-300:] < short).all()
        assert long[-300:].sum() == pytest.approx((long[-300:] / short).mean(), rel=1e-6)  # by one common factor


def test_the_excess_writes_means_beside_the_bars_and_not_at_a_seeds_dot():
    found = json.loads(bundled("runs/continuous-cache.json").read_text(encoding="utf-8"))
    axes = excess_figure(found).axes[0]
    column = {text.get_text() for text in axes.texts if text.get_position()[0] == 34}
    due = {f"{abs(round(side.mean(), 1)):.1f}" for part in excesses(found).values() for side in part}
    assert column == due | {"mean"}
    assert sum(len(container) for container in axes.containers) == 10


def test_the_price_figure_says_and_draws_the_price():
    figure, parts = price_figure(5.0, 0.07, 300), price(5.0, 300, 0.07)
    bars = sum(np.array(trace.x) for trace in figure.data if trace.type == "bar")
    assert bars == pytest.approx([part.gain for part in parts.values()])
    rings = figure.data[-1].x
    assert [*rings] == pytest.approx([part.best for part in parts.values()])
    for name, part in parts.items():
        assert f"{name} {part.gain:+.1f}" in figure.layout.meta["alt"]
    with pytest.raises(ValueError, match="lambda"):
        price_figure(1.0, 1.0, 100)


def test_the_weight_figure_marks_the_perplexity():
    found = text_probabilities(1.0, 100)
    figure = weight_figure(found, 0.1, floor=15.8, title="it")
    (line, mark) = (one for one in figure.axes[0].lines if len(one.get_xdata()) in (1, 61))
    assert line.get_ydata()[10] == pytest.approx(mark.get_ydata()[0]) == pytest.approx(math.exp(found.loss(0.1)))
    assert "floor 15.8" in figure.get_label()


CELLS = [
    {"theta": 0.0, "lambda": 0.1, "reached": 19.0, "at": [20.0, 19.0, 22.0]},
    {"theta": 4.0, "lambda": 0.15, "reached": 18.0, "at": [20.0, 18.4, 18.5]},
]


def record(**more):
    run = {"arm": "toy", "seed": 2, "grid": {"valid": {"30": CELLS}}} | more
    return {"toy": {"lambdas": [0.0, 0.1, 0.2]}, "runs": [run]}


def test_the_map_shows_per_cent_of_the_perplexity_without_a_cache_and_rings_the_lowest():
    figure = tuning_figure(record(), "validation", 30)
    heat, ridge, ring = figure.data[0], figure.data[1], figure.data[-1]
    assert np.allclose(heat.z, [[0, -5, 6], [0, -6, -6]])  # clipped at 6 per cent
    assert [*ridge.x] == pytest.approx([1.0, 1.5]) and (ring.x[0], ring.y[0]) == (pytest.approx(1.5), 1)
    assert "lowest at θ = 4 and λ = 0.15, with 18.0" in figure.layout.meta["alt"]
    for split, window in (("test", 30), ("validation", 31), ("training", 30)):
        with pytest.raises(ValueError, match="the record has no"):
            tuning_figure(record(), split, window)


def test_excesses_are_differences_from_the_floor_with_the_names_in_two_parts():
    sums = {"words": 25, "floor": -50.0, "model": -60.0, "mixed": -58.0, "model_kind": -30.0, "mixed_kind": -31.0}
    words = {"kinds": dict.fromkeys(KINDS, sums), "mentions": [{"urn": -15.0}, {"urn": -8.0}]}
    found = excesses(record(words=words))
    assert found["names: that one comes"].ravel().tolist() == [3.0, 4.0]  # the floor: 50 - 23 = 27
    assert found["names: which one"].ravel().tolist() == [7.0, 4.0]
    assert found["line ends"].ravel().tolist() == [10.0, 8.0]


def test_models_of_an_arm_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match="no model of the arm 'gru': it has toy"):
        models(record(), "gru")
    with pytest.raises(ValueError, match="'unigram' is no line"):
        mentions_figure(["0"], {"unigram": [[1.0]]})
    with pytest.raises(ValueError, match="'floor' must have a mean for each of the 2 groups"):
        mentions_figure(["0", "1"], {"floor": [[1.0]]})
    with pytest.raises(ValueError, match="no model of seed 9"):
        tuning_figure(record(), "validation", 30, seed=9)


def test_bars_by_age_are_gains_in_a_hundred_words_of_the_whole_text():
    seed = [[{"words": 10, "model": -20.0, "mixed": -20.0 + gain} for gain in row] for row in ((1, 2, 3), (0, -1, 0))]
    figure = ages_figure([seed, seed], ["near", "far"])
    widths = [bar.get_width() for container in figure.axes[0].containers for bar in container]
    assert widths == pytest.approx([100 / 60, 0, 200 / 60, -100 / 60, 300 / 60, 0])


def test_the_memory_curves_are_per_cent_of_test_perplexity():
    def tuned(window, reached, late):
        return {"window": window, "test": {"without": 100.0, "with": reached, "only_when_full": late}}

    runs = [
        {"arm": "toy", "tuned": [tuned(10, 98.0, 98.0), tuned(100, 90.0, 95.0)]},
        {"arm": "full", "windows": [tuned(30, 96.0, 96.0), tuned(300, 80.0, 81.0)]},
    ]
    figure = memory_figure({"runs": runs})
    drawn = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert np.allclose(drawn, [[2, 10], [2, 5], [4, 20], [4, 19]])
    assert "Penn Treebank most at 300 words, 20.0 per cent" in figure.get_label()
    assert saved(runs[0]["tuned"][1], "only_when_full") == pytest.approx(5)
