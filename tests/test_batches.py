"""Columns and windows: every target but at most one a column, in order; the lengths follow their closed form."""

import math
from collections import Counter
from statistics import NormalDist

import pytest
import torch
from helpers import assert_frozen_and_keyword_only
from hypothesis import given
from hypothesis import strategies as st

from awdlib.batches import WindowLengths, batchify, ends_epoch, fixed_windows, window

#: any length, batch size and vocabulary; the text decides nothing but what must come out again
STREAMS = st.builds(
    lambda length, vocabulary, seed: torch.randint(
        vocabulary, (length,), generator=torch.Generator().manual_seed(seed)
    ),
    st.integers(0, 400), st.integers(1, 50_000), st.integers(0, 2**31),
)  # fmt: skip


@given(STREAMS.filter(lambda tokens: len(tokens) >= 2), st.integers(1, 500))
def test_columns_hold_the_stream_in_order(tokens, batch_size):
    rows, remedy = len(tokens) // batch_size, f"at most {len(tokens) // 2}$"
    if rows < 2:
        complaint = rf"^batch_size {batch_size} cuts {len(tokens)} tokens into columns of {rows}; a column needs at "
        with pytest.raises(ValueError, match=rf"{complaint}least 2 \(an input and a target\): .* {remedy}"):
            batchify(tokens, batch_size)
        return
    columns = batchify(tokens, batch_size)
    assert columns.shape == (rows, batch_size) and columns.is_contiguous()
    for number, column in enumerate(columns.unbind(1)):
        assert column.equal(tokens[number * rows : (number + 1) * rows])


def test_a_long_stream_is_refused_with_its_length_written_readably():
    with pytest.raises(ValueError, match="^batch_size 1001 cuts 2,001 tokens into columns of 1; .* at most 1000$"):
        batchify(torch.arange(2001), 1001)
    assert batchify(torch.arange(2001), 1000).shape == (2, 1000)  # the remedy that it names works


@given(STREAMS.filter(lambda tokens: len(tokens) >= 2), st.integers(1, 200), st.integers(0, 2**31), st.integers(5, 80))
def test_random_windows_cover_every_target_but_at_most_one_a_column_in_order(tokens, batch_size, seed, bptt):
    columns = batchify(tokens, min(batch_size, len(tokens) // 2))
    generator, lengths = torch.Generator().manual_seed(seed), WindowLengths(bptt=bptt)
    row, read, due = 0, [columns[:0]], [columns[:0]]
    while not ends_epoch(columns, row):
        drawn = lengths.draw(generator)
        inputs, targets = window(columns, row, drawn)
        row += len(inputs)
        assert len(inputs) == drawn or row == len(columns) - 1, "shorter than drawn only where the columns end"
        read.append(inputs), due.append(targets)
    assert len(columns) - 1 - row in (0, 1) and (row > 0 or len(columns) == 2)
    assert torch.cat(read).equal(columns[:row]) and torch.cat(due).equal(columns[1 : row + 1])


@pytest.mark.parametrize(("start", "over"), [(0, False), (6, False), (7, False), (8, True), (9, True), (10, True)])
def test_an_epoch_is_over_where_fewer_than_two_targets_a_column_are_left(start, over):
    columns = torch.zeros(10, 3)  # the last row is a target only: from row 7 there are targets 8 and 9
    assert ends_epoch(columns, start) is over


@given(STREAMS.filter(lambda tokens: len(tokens) >= 2), st.integers(1, 200), st.integers(1, 100))
def test_fixed_windows_cover_every_target_once(tokens, batch_size, length):
    columns = batchify(tokens, min(batch_size, len(tokens) // 2))
    inputs, targets = zip(*fixed_windows(columns, length), strict=True)
    assert torch.cat(inputs).equal(columns[:-1]) and torch.cat(targets).equal(columns[1:])
    assert {len(piece) for piece in inputs[:-1]} <= {length} and 1 <= len(inputs[-1]) <= length


DISTRIBUTIONS = {
    "paper": WindowLengths(), "wide": WindowLengths(bptt=20, spread=8), "capped": WindowLengths(bptt=35, maximum=40),
    "often short": WindowLengths(bptt=9, short_probability=0.5, spread=3),
    "always short": WindowLengths(bptt=41, short_probability=1, spread=2, minimum=1),
    "below zero": WindowLengths(bptt=3, spread=4, minimum=1),
    "one half": WindowLengths(bptt=7, short_probability=0.5, spread=0, minimum=1),
    "fixed": WindowLengths(bptt=7, short_probability=0, spread=0),
}  # fmt: skip


def mass_by_hand(lengths, k):
    """P(length = k): the mixture's mass on [k, k + 1), and beyond the ends what they collect."""
    low = -math.inf if k == lengths.minimum else k
    high = math.inf if k == lengths.maximum else k + 1
    mass = 0.0
    for base, weight in ((lengths.bptt, 1 - lengths.short_probability), (lengths.bptt / 2, lengths.short_probability)):
        if lengths.spread:
            normal = NormalDist(base, lengths.spread)
            mass += weight * ((normal.cdf(high) if high < math.inf else 1) - (normal.cdf(low) if low > 0 else 0))
        else:
            mass += weight * (low <= base < high)
    return mass


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_closed_form_is_the_normals_mass_between_whole_numbers(name):
    lengths = DISTRIBUTIONS[name]
    closed = lengths.probabilities()
    assert sum(closed.values()) == pytest.approx(1, abs=1e-10)
    for k in range(200):
        expected = mass_by_hand(lengths, k) if lengths.minimum <= k <= (lengths.maximum or k) else 0.0
        assert closed.get(k, 0.0) == pytest.approx(expected, rel=1e-9, abs=1e-12), k
    assert min(closed.values()) > 1e-12 and min(closed) >= lengths.minimum and max(closed) < 200
    assert lengths.mean() == pytest.approx(sum(k * mass_by_hand(lengths, k) for k in closed), abs=1e-9)


def test_the_closed_form_leaves_out_what_is_no_likelier_than_one_in_a_million_million():
    for p, listed in ((1e-12, False), (1.005e-12, True)):
        lengths = WindowLengths(bptt=7, short_probability=p, spread=0, minimum=1)
        assert (3 in lengths.probabilities()) is listed


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_drawn_lengths_follow_the_closed_form(name):
    """Pearson's statistic over cells of at least 5 expected draws, below a bound that chance passes once in a million.

    A chi-square variable with d degrees of freedom exceeds d + 2 sqrt(d x) + 2 x with probability below exp(-x)
    (Laurent & Massart 2000, lemma 1).
    """
    lengths, generator, draws = DISTRIBUTIONS[name], torch.Generator().manual_seed(3), 20_000
    counts = Counter(lengths.draw(generator) for _ in range(draws))
    closed = lengths.probabilities()
    assert {*counts} <= {*closed}
    cells, rare = [], [0.0, 0]  # (expected, counted); lengths that hardly ever come share one cell
    for k, mass in closed.items():
        if draws * mass >= 5:
            cells.append((draws * mass, counts[k]))
        else:
            rare = [rare[0] + draws * mass, rare[1] + counts[k]]
    statistic = sum((counted - expected) ** 2 / expected for expected, counted in cells)
    freedom, x = len(cells) - 1, math.log(1e6)
    assert statistic <= freedom + 2 * math.sqrt(freedom * x) + 2 * x
    assert abs(rare[1] - rare[0]) <= math.sqrt(2 * x * rare[0]) + x  # Bernstein's bound for their number


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_mean_scaling_of_the_learning_rate_is_the_closed_forms(name):
    """E[length] / bptt, from the closed form and from draws: equal within five standard errors."""
    lengths, generator, draws = DISTRIBUTIONS[name], torch.Generator().manual_seed(4), 20_000
    variance = sum(mass * (k - lengths.mean()) ** 2 for k, mass in lengths.probabilities().items())
    drawn = sum(lengths.draw(generator) for _ in range(draws)) / draws
    standard_error = math.sqrt(max(variance, 0) / draws) / lengths.bptt
    assert drawn / lengths.bptt == pytest.approx(lengths.mean() / lengths.bptt, abs=5 * standard_error + 1e-9)


def test_the_papers_mean_length_and_scaling():
    """67.7 tokens a window: cutting to an integer takes one half off each base on average."""
    by_hand = 0.95 * 69.5 + 0.05 * 34.5
    assert WindowLengths().mean() == pytest.approx(by_hand, abs=1e-6) and 67.7 < by_hand < 67.8
    assert WindowLengths().mean() / 70 == pytest.approx(0.96786, abs=1e-5)
    assert WindowLengths() == WindowLengths(bptt=70, short_probability=0.05, spread=5, minimum=5, maximum=None)


@pytest.mark.parametrize("lengths", [*DISTRIBUTIONS.values(), WindowLengths(spread=1e9)], ids=[*DISTRIBUTIONS, "exact"])
def test_each_draw_takes_the_same_two_numbers_of_its_generator_and_none_of_the_global_one(lengths):
    """Both in double precision, as a spread of thousands of millions shows."""
    generator, twin = (torch.Generator().manual_seed(8) for _ in range(2))
    before = torch.get_rng_state()
    for _ in range(50):
        found = lengths.draw(generator)
        short = torch.rand((), generator=twin, dtype=torch.float64) < lengths.short_probability
        noise = torch.randn((), generator=twin, dtype=torch.float64).item()
        length = math.trunc((lengths.bptt / 2 if short else lengths.bptt) + lengths.spread * noise)
        assert type(found) is int and found == min(max(length, lengths.minimum), lengths.maximum or math.inf)
    assert generator.get_state().equal(twin.get_state()) and before.equal(torch.get_rng_state())
    torch.manual_seed(8)
    assert lengths.draw() == lengths.draw(torch.Generator().manual_seed(8))


def test_no_window_is_short_at_probability_zero_even_at_the_lowest_draw(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.zeros((), dtype=torch.float64))
    assert DISTRIBUTIONS["fixed"].draw() == 7


@pytest.mark.parametrize(("values", "complaint"), [
    ({"bptt": 4}, "bptt is 4; it must be at least the minimum window, 5"),
    ({"short_probability": 1.5}, r"short_probability is 1.5; it must lie in \[0, 1\]"),
    ({"short_probability": -0.5}, r"short_probability is -0.5; it must lie in \[0, 1\]"),
    ({"short_probability": math.nan}, r"short_probability is nan; it must .*(\[0, 1\]|finite number)"),
    ({"spread": -1}, "spread is -1.*; .*cannot be negative"),
    ({"minimum": 0}, "minimum is 0; .*at least 1( token)?"),
    ({"maximum": 69}, "maximum is 69; it must be at least bptt, 70"),
])  # fmt: skip
def test_impossible_distributions_are_refused_by_name(values, complaint):
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        WindowLengths(**values)


def test_a_distribution_is_frozen_and_its_settings_are_named():
    assert_frozen_and_keyword_only(WindowLengths())


def test_the_limits_themselves_are_possible():
    tight = WindowLengths(bptt=5, short_probability=0, spread=0, minimum=5, maximum=5)
    assert tight.draw() == 5 and tight.probabilities() == {5: 1.0}


def test_windows_and_columns_of_nothing_are_refused():
    for length in (0, -1):
        with pytest.raises(ValueError, match=f"^the window's length is {length}; it must be at least 1$"):
            next(fixed_windows(torch.zeros(4, 1), length))
        with pytest.raises(ValueError, match=f"^batch_size is {length}; it must be at least 1$"):
            batchify(torch.arange(9), length)
