"""Pictures of windows' borders: held against draws, and against counting on the fingers."""

import numpy as np
import pytest
import torch

from awdlib.batches import WindowLengths
from awdlib.figures.window_borders import (
    EPOCHS,
    STRETCH,
    border_figure,
    border_probabilities,
    border_rows,
    expected_reach,
    same_window,
)
from awdlib.figures.window_runs import arrival_figure, drawn_figure, place_differences, places_figure

FIXED = WindowLengths(bptt=7, short_probability=0.0, spread=0.0, minimum=1)
LAWS = [WindowLengths(bptt=10, spread=2.0, minimum=2), WindowLengths(bptt=12, short_probability=0.5, spread=1.0)]


def naive_epochs(lengths, rows, epochs):
    """Where windows begin, and how far back each row reaches, drawn again without the module's help."""
    generator = torch.Generator().manual_seed(5)
    begins, back = np.zeros((epochs, rows)), np.zeros((epochs, rows))
    for epoch in range(epochs):
        row = 0
        while row < rows:
            length = lengths.draw(generator)
            begins[epoch, row] = 1
            for place in range(min(length, rows - row)):
                back[epoch, row + place] = place
            row += length
    return begins, back


@pytest.mark.parametrize("lengths", LAWS)
def test_border_probabilities_and_reach_are_those_of_many_draws(lengths):
    rows, epochs = 60, 4000
    begins, back = naive_epochs(lengths, rows, epochs)
    u, reach = border_probabilities(lengths, rows), expected_reach(lengths, rows)
    assert np.abs(begins.mean(0) - u).max() < 4.5 * np.sqrt(0.25 / epochs)
    assert (np.abs(back.mean(0) - reach) < 4.5 * back.std(0) / np.sqrt(epochs) + 1e-9).all()


@pytest.mark.parametrize("lengths", LAWS)
def test_the_chance_of_a_pair_is_that_of_many_draws(lengths):
    """S(k), far from row 0: a row reaches k steps back in as many epochs."""
    back = naive_epochs(lengths, 300, 800)[1][:, 200:]
    seen = [(back >= k).mean() for k in range(16)]
    np.testing.assert_allclose(seen, same_window(lengths, 15), atol=0.02)


@pytest.mark.parametrize("lengths", LAWS)
def test_one_rate_for_all_adds_the_noise_that_the_chapter_computes(lengths):
    """Variance of an epoch's summed update for independent gradients: E[L] E[1/L] times that of scaled rates."""
    begins = naive_epochs(lengths, 4000, 40)[0]
    p, mean = lengths.probabilities(), lengths.mean()
    one_rate = scaled = 0.0
    for epoch in begins:
        drawn = np.diff(np.flatnonzero(epoch))
        one_rate += (drawn * (mean / drawn) ** 2).sum()  # each row has weight rate / length, and variance 1
        scaled += (drawn * (drawn / drawn) ** 2).sum()
    due = mean * sum(mass / length for length, mass in p.items())
    assert one_rate / scaled == pytest.approx(due, rel=0.01) and due > 1.03


@pytest.mark.parametrize("lengths", LAWS)
def test_far_down_both_are_what_the_closed_forms_say(lengths):
    p, mean = lengths.probabilities(), lengths.mean()
    square = sum(length * length * mass for length, mass in p.items())
    assert border_probabilities(lengths, 3000)[-1] == pytest.approx(1 / mean)
    chances = same_window(lengths, max(p))
    assert chances[0] == pytest.approx(1) and chances[-1] == 0 and (np.diff(chances) <= 0).all()
    assert expected_reach(lengths, 3000)[-1] == pytest.approx(chances[1:].sum())
    assert chances[1:].sum() == pytest.approx((square / mean - 1) / 2)


def test_of_fixed_windows_both_are_combs():
    rows = np.arange(50)
    np.testing.assert_array_equal(border_probabilities(FIXED, 50), rows % 7 == 0)
    np.testing.assert_array_equal(expected_reach(FIXED, 50), rows % 7)
    np.testing.assert_array_equal(border_rows(FIXED, 50, torch.Generator()), rows % 7 == 0)
    np.testing.assert_allclose(same_window(FIXED, 8), np.maximum(1 - np.arange(9) / 7, 0))


@pytest.mark.parametrize(("wrong", "words"), [
    (lambda: border_probabilities(FIXED, 0), "rows is 0"),
    (lambda: border_probabilities({7: 1.0}, 5), "give a WindowLengths"),
    (lambda: expected_reach(None, 5), "lengths is None"),
    (lambda: same_window(None, 5), "lengths is None"),
    (lambda: same_window(FIXED, -1), "distance is -1"),
    (lambda: border_rows(FIXED, None, torch.Generator()), "rows is None"),
    (lambda: border_rows(None, 5, torch.Generator()), "lengths is None"),
    (lambda: border_figure(20, 5.0, 2.0, 0), "short_probability is 2.0"),
    (lambda: border_figure(20, 5.0, 0.05, -1), "first is -1"),
    (lambda: drawn_figure(FIXED, None), "no length"),
    (lambda: drawn_figure(FIXED, [7, 0]), "a length drawn is 0"),
    (lambda: drawn_figure(None, [7]), "lengths is None"),
    (lambda: arrival_figure(0, None, None, 3), "as many rows"),
    (lambda: arrival_figure(0, np.ones(3), np.ones((2, 3)), 0), "nominal is 0"),
    (lambda: places_figure([], 10, []), "choose from fixed"),
    (lambda: places_figure([], 10, ["half"]), "choose from fixed"),
])  # fmt: skip
def test_wrong_input_is_refused_in_one_line(wrong, words):
    with pytest.raises(ValueError, match=words) as refused:
        wrong()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("bptt", "spread", "p", "first"), [(20, 0, 0, 0), (70, 5, 0.05, 400), (35, 0, 0.05, 2000)])
def test_the_figure_shows_its_draws_and_says_what_is_to_be_seen(bptt, spread, p, first):
    figure = border_figure(bptt, float(spread), float(p), first)
    cells, fixed, level, reach = figure.data
    z, alt = np.array(cells.z), figure.layout.meta["alt"]
    lengths = WindowLengths(bptt=bptt, spread=float(spread), short_probability=float(p))
    assert z.shape == (EPOCHS, STRETCH) and cells.x[0] == first
    np.testing.assert_array_equal(fixed.y, np.arange(first, first + STRETCH) % bptt)
    np.testing.assert_allclose(reach.y, expected_reach(lengths, first + STRETCH)[first:])
    assert np.ptp(level.y) == 0 and figure.layout.yaxis2.range[1] > max(reach.y)
    assert f"{int(z.any(0).sum())} rows begin a window at least once, {int(z.all(0).sum())} of them" in alt
    assert f"{min(reach.y):.1f} to {max(reach.y):.1f} steps back" in alt and f"long text is {level.y[0]:.1f}." in alt
    gaps = np.diff(np.flatnonzero(z[3]))
    assert set(gaps) <= set(lengths.probabilities()), "windows of possible lengths"
    if spread == 0 == p:  # a comb
        np.testing.assert_array_equal(np.flatnonzero(z.any(0)), np.arange(0, STRETCH, bptt))


def test_stretches_of_one_text_share_their_draws_and_these_follow_the_distribution():
    near, further = (np.array(border_figure(20, 5.0, 0.05, first).data[0].z) for first in (0, 100))
    np.testing.assert_array_equal(near[:, 100:], further[:, : STRETCH - 100])
    assert len({tuple(epoch) for epoch in near}) == EPOCHS
    lengths = WindowLengths(bptt=20, spread=5.0, short_probability=0.05)
    gaps = np.concatenate([np.diff(np.flatnonzero(epoch)) for epoch in near])
    deviation = np.sqrt(sum(mass * (k - lengths.mean()) ** 2 for k, mass in lengths.probabilities().items()))
    assert abs(gaps.mean() - lengths.mean()) < 0.2 * deviation and gaps.std() == pytest.approx(deviation, rel=0.2)


@pytest.mark.parametrize("bptt", [20, 70])
def test_halves_alone_make_a_second_comb_and_no_more(bptt):
    """What the explorable asks to look for; at 35 the half is cut to 17, and the comb would dissolve."""
    u = border_probabilities(WindowLengths(bptt=bptt, spread=0.0, short_probability=0.05), 4200)
    assert u[np.arange(4200) % (bptt // 2) != 0].max() == 0 and u[-bptt // 2 :].max() > 0


def test_drawn_bars_are_shares_of_windows_and_of_tokens():
    figure = drawn_figure(WindowLengths(bptt=10, spread=1.0, minimum=1), [10, 10, 5, 9])
    for axes, due in zip(figure.axes, ({10: 0.5, 5: 0.25, 9: 0.25}, {10: 20 / 34, 5: 5 / 34, 9: 9 / 34}), strict=True):
        bars = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches}
        assert {length: height for length, height in bars.items() if height} == pytest.approx(due)
    with pytest.raises(ValueError, match="no length"):
        drawn_figure(WindowLengths(), [])


def test_arrival_draws_per_cents_and_the_mean_of_the_epochs():
    fixed, epochs = np.linspace(0.5, 1, 6), np.arange(18).reshape(3, 6) ** 2 / 400
    above, below = arrival_figure(50, fixed, epochs, nominal=3).axes
    lines = [line for line in above.lines if len(line.get_xdata()) == 6]
    np.testing.assert_allclose(lines[-1].get_ydata(), 100 * fixed)
    np.testing.assert_allclose(below.lines[-1].get_ydata(), 100 * epochs.mean(0))
    assert lines[-1].get_xdata()[0] == 50 and [line.get_xdata()[0] for line in above.lines[:2]] == [49.5, 52.5]
    with pytest.raises(ValueError, match="as many rows"):
        arrival_figure(0, fixed, epochs[:, :4], nominal=3)


def test_places_are_differences_between_runs_of_equal_seed_in_whatever_order():
    def run(arm, seed, places):
        return {"nominal": 2, "arm": arm, "seed": seed, "places": places}

    runs = [run("random", 2, [1.0, 1.0]), run("random", 1, [2.0, 2.0]), run("fixed", 1, [2.5, 1.9]),
            run("fixed", 2, [1.1, 1.0]), run("offset", 1, [2.0, 2.0])]  # fmt: skip
    np.testing.assert_allclose(place_differences(runs, 2, "fixed"), [[0.5, -0.1], [0.1, 0.0]])
    with pytest.raises(ValueError, match="offset"):
        place_differences(runs, 2, "offset")
    (axes,) = places_figure(runs, 2, ["fixed"]).axes
    np.testing.assert_allclose(axes.lines[-1].get_ydata(), [0.3, -0.05])
