"""Pictures of missing words and of what survives of a window, each number computed another way."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures import learning_rows, missing_words, surviving_words

RECORD = json.loads(bundled("runs/embedding-dropout.json").read_text(encoding="utf-8"))

# --- three ways to drop ---


def cells_of(figure):
    """(sequence, step, feature) of the cells as they are drawn."""
    z = np.array(figure.data[0].z, dtype=float)
    lines = missing_words.SEQ_LEN // missing_words.LINE
    found = np.full((2, missing_words.SEQ_LEN, missing_words.FEATURES), np.nan)
    for b, t in itertools.product(range(2), range(missing_words.SEQ_LEN)):
        row = 3 * (t // missing_words.LINE) + 2 + b * (3 * lines + 2)
        left = (t % missing_words.LINE) * (missing_words.FEATURES + 1)
        found[b, t] = z[row, left : left + missing_words.FEATURES]
    assert np.isnan(z).sum() + found.size == z.size, "a cell is drawn where no word stands"
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_shares_a_coin_is_what_the_way_says(seed):
    words = missing_words.window()[1]
    entries, tokens, types = (cells_of(missing_words.ways_figure(way, 0.3, seed)) for way in missing_words.WAYS)
    assert (entries == entries[:, :1]).all() and (entries[0] != entries[1]).any() and (entries[0, 0] == 0).any()
    for whole in (tokens, types):
        assert (whole == whole[..., :1]).all()
    places = {}
    for b, t in itertools.product(range(2), range(missing_words.SEQ_LEN)):
        places.setdefault(words[b][t], []).append((b, t))
    assert max(map(len, places.values())) > 5
    assert any({b for b, _ in where} == {0, 1} for where in places.values()), "a word stands in both sequences"
    assert all(len({types[b, t, 0] for b, t in where}) == 1 for where in places.values())
    assert any(len({tokens[b, t, 0] for b, t in where}) == 2 for where in places.values())


@pytest.mark.parametrize("way", missing_words.WAYS)
def test_words_are_pale_exactly_where_all_their_cells_are_empty_and_the_text_alternative_counts_them(way):
    figure = missing_words.ways_figure(way, 0.3, 2)
    kept = cells_of(figure).any(2).ravel()
    _, present, gone = figure.data
    words = [word.replace("<", "‹").replace(">", "›") for sequence in missing_words.window()[1] for word in sequence]
    for there, word, shown, pale in zip(kept, words, present.text, gone.text, strict=True):
        assert (shown, pale) == ((f"<b>{word}</b>", " ") if there else (" ", f"<i>{word}</i>"))
    if way != "entries":
        assert f" {(~kept).sum()} of 40 words are gone" in figure.layout.meta["alt"]


def test_no_dropping_says_so():
    assert "no word is gone" in missing_words.ways_figure("types", 0.0, 1).layout.meta["alt"]


@pytest.mark.parametrize(("bad", "message"), [
    (lambda: missing_words.draw("word", 0.1, 1), "way is 'word'; it must be one of entries, tokens, types"),
    (lambda: missing_words.draw("types", 0.1, -1), "seed is -1"),
    (lambda: missing_words.draw("tokens", 1.0, 1), "p is 1.0"),
    (lambda: missing_words.arms_figure([], 15.0), "there are no runs"),
    (lambda: missing_words.arms_figure([{"arm": "rows", "valid": [1.0]}], 15.0), "an arm is 'rows'"),
    (lambda: missing_words.hole_figure({"grammar": [1.0]}, [1, 2]), "give one for each distance"),
    (lambda: surviving_words.surviving([], 0.1), "counts is empty"),
    (lambda: surviving_words.surviving([(0, 3)], 0.1), "a count is 0"),
    (lambda: surviving_words.surviving([(1, 3)], 1.0), "p is 1.0"),
    (lambda: surviving_words.survival_figure("ptb", 0.1, 11, 20), "no window of 'ptb', 11 × 20, was counted"),
    (lambda: surviving_words.growth_figure({"c4": [(1, 1, 1)]}), "growth is of \\['c4'\\]"),
    (lambda: learning_rows.rows_figure(torch.zeros(0, 3)), "happens has shape \\(0, 3\\)"),
])  # fmt: skip
def test_bad_arguments_are_refused_in_a_line(bad, message):
    with pytest.raises(ValueError, match=message):
        bad()


# --- what survives ---


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_distribution_is_the_sum_over_all_fates_of_all_types(p):
    counts = [(1, 3), (2, 2), (5, 1)]
    occurrences = [1, 1, 1, 2, 2, 5]
    slow = np.zeros(13)
    for fates in itertools.product([0, 1], repeat=6):
        chance = math.prod(1 - p if fate else p for fate in fates)
        slow[sum(n * fate for n, fate in zip(occurrences, fates, strict=True))] += chance
    np.testing.assert_allclose(surviving_words.surviving(counts, p), slow, atol=1e-12)


@pytest.mark.parametrize("key", [("toy", 35, 20), ("ptb", 70, 40), ("wikitext-2", 140, 80)])
def test_mean_and_variance_of_the_distribution_are_those_of_the_equation(key):
    counts, p = surviving_words.windows()[key], 0.2
    tokens, decisions = surviving_words.tokens_and_decisions(counts)
    assert tokens == key[1] * key[2]
    share, probability = np.arange(tokens + 1) / tokens, surviving_words.surviving(counts, p)
    mean = (share * probability).sum()
    assert probability.sum() == pytest.approx(1) and mean == pytest.approx(1 - p)
    assert ((share - mean) ** 2 * probability).sum() == pytest.approx(p * (1 - p) / decisions)
    squares = sum((n / tokens) ** 2 for n, types in counts for _ in range(types))
    assert decisions == pytest.approx(1 / squares)


def test_the_panels_are_the_two_distributions_in_bins():
    figure = surviving_words.survival_figure("ptb", 0.3, 35, 20)
    counts = surviving_words.windows()["ptb", 35, 20]
    for bars, of in zip(figure.data, ([(1, 700)], counts), strict=True):
        probability = surviving_words.surviving(of, 0.3)
        bins = np.zeros(surviving_words.BINS)
        for survivors, chance in enumerate(probability):
            bins[min(survivors * surviving_words.BINS // 700, surviving_words.BINS - 1)] += chance
        np.testing.assert_allclose(bars.y, bins / bins.max(), atol=1e-3)
    alt = figure.layout.meta["alt"]
    _, decisions = surviving_words.tokens_and_decisions(counts)
    assert f"{100 * math.sqrt(0.21 / 700):.1f} points" in alt and f"as of {decisions:.0f} coins" in alt
    assert f"it is {100 * math.sqrt(0.21 / decisions):.1f}" in alt


def test_the_text_below_the_explorable_holds():
    """A larger window narrows the upper panel to a line, the lower one soon stops; the toy language's has two heaps:
    windows that keep both of the two most frequent words, and those that lose one."""

    def spread(corpus, length, batch):
        return surviving_words.tokens_and_decisions(surviving_words.windows()[corpus, length, batch])

    for corpus in ("toy", "ptb", "wikitext-2"):
        (small, few), (large, more), (huge, most) = (spread(corpus, *size) for size in ((10, 1), (35, 20), (70, 80)))
        assert huge > 500 * small and more > 3 * few and most < 1.4 * more
    for length, batch in ((35, 20), (70, 20), (70, 80)):
        heaps = np.array(surviving_words.survival_figure("toy", 0.1, length, batch).data[1].y)
        left, right = [at for at in range(1, 49) if heaps[at] > 0.1 and heaps[at - 1] < heaps[at] > heaps[at + 1]]
        counts = surviving_words.windows()["toy", length, batch]
        tokens, top = length * batch, [counts[-1][0] / (length * batch), counts[-2][0] / (length * batch)]
        assert counts[-1][1] == counts[-2][1] == 1 and tokens == sum(n * types for n, types in counts)
        both = sum(top) + 0.9 * (1 - sum(top))  # of a window that keeps them, on average
        for peak, share in ((right, both), (left, both - sum(top) / 2)):
            assert abs((peak + 0.5) / surviving_words.BINS - share) < 0.03


def test_growth_is_drawn_as_it_is_recorded():
    growth = {name: one["growth"] for name, one in RECORD["windows"].items()}
    lines = surviving_words.growth_figure(growth).axes[0].lines[1:]
    for (_, rows), types, decisions in zip(growth.items(), lines[::2], lines[1::2], strict=True):
        np.testing.assert_array_equal(types.get_ydata(), [row[1] for row in rows])
        np.testing.assert_array_equal(decisions.get_ydata(), [row[2] for row in rows])
        assert [*types.get_xdata()] == [row[0] for row in rows]
        assert rows[-1][1] > 1000 and max(row[2] for row in rows) < 100, "into the thousands; below one hundred"


# --- holes, arms, rows ---


def test_lines_of_the_hole_figure_are_the_costs_it_was_given():
    costs = {"grammar": [0.7, 0.1, 0.0], "types 0.3": [0.8, 0.1, 0.02], "nothing": [3.7, 1.5, 0.9]}
    figure = missing_words.hole_figure(costs, [1, 2, 5])
    drawn = {tuple(line.get_ydata()) for line in figure.axes[0].lines}
    assert drawn == {tuple(values) for values in costs.values()}
    assert "types 0.3 0.80 at 1, 0.10 at 2, 0.02 at 5" in figure.get_label()


def test_each_run_is_a_line_of_its_arms_colour():
    runs = [{"arm": "types 0.1", "valid": [50.0, 30.0]}, {"arm": "entries 0.1", "valid": [60.0, 40.0]},
            {"arm": "types 0.1", "valid": [52.0, 31.0]}]  # fmt: skip
    lines = [line for line in missing_words.arms_figure(runs, 15.5).axes[0].lines if line.get_linestyle() == "-"]
    assert sorted(tuple(line.get_ydata()) for line in lines) == [(50, 30), (52, 31), (60, 40)]
    assert len({line.get_color() for line in lines}) == 2


def test_a_run_of_fewer_epochs_ends_in_a_dot():
    runs = [{"arm": "nothing", "valid": [60.0, 50.0, 40.0]}, {"arm": "nothing, half as long", "valid": [62.0, 45.0]}]
    (dot,) = [line for line in missing_words.arms_figure(runs, 15.5).axes[0].lines if line.get_marker() == "o"]
    assert [*dot.get_xydata()[0]] == [2, 45] and dot.get_color() == missing_words.INKS["nothing, half as long"]


def test_rows_are_drawn_as_given():
    happens = torch.tensor([[2, 1, 2, 2], [0, 0, 2, 0], [0, 0, 0, 0]])
    figure = learning_rows.rows_figure(happens)
    drawn = np.asarray(figure.axes[0].collections[0].get_array()).reshape(3, 4)
    np.testing.assert_array_equal(drawn, happens.numpy())
    assert "33% of the places learn through the input, 8% are dropped, 58% are not in the window" in figure.get_label()


def test_the_toy_windows_of_the_record_can_be_counted_again():
    corpus = load_corpus("toy")
    rows = len(corpus.train) // 20
    columns = corpus.train[: 20 * rows].view(20, rows)
    whole = [start for start in range(0, rows - 1, 35) if start + 35 <= rows - 1]
    start = whole[len(whole) // 2]
    counts = columns[:, start : start + 35].flatten().bincount()
    again = sorted((n, int((counts == n).sum())) for n in {*counts.tolist()} - {0})
    assert [tuple(pair) for pair in surviving_words.windows()["toy", 35, 20]] == again
