"""Columns and windows: every target but at most one a column, in order; the lengths follow their closed form."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from awdlib.batches import WindowLengths, batchify, ends_epoch, fixed_windows, window


@given(st.integers(4, 400), st.integers(1, 20))
def test_columns_hold_the_stream_in_order(num_tokens, batch_size):
    if num_tokens // batch_size < 2:
        with pytest.raises(ValueError, match=f"batch_size {batch_size} "):
            batchify(torch.arange(num_tokens), batch_size)
        return
    columns = batchify(torch.arange(num_tokens), batch_size)
    rows = num_tokens // batch_size
    assert columns.t().flatten().tolist() == list(range(rows * batch_size))


@given(st.integers(3, 400), st.integers(0, 2**31), st.integers(5, 80))
def test_random_windows_cover_every_target_but_at_most_one_a_column_in_order(rows, seed, bptt):
    columns = torch.arange(2 * rows).view(2, rows).t()  # column 0 counts rows
    generator, lengths = torch.Generator().manual_seed(seed), WindowLengths(bptt=bptt)
    row, seen = 0, []
    while not ends_epoch(columns, row):
        inputs, targets = window(columns, row, lengths.draw(generator))
        assert (targets - inputs == 1).all()  # the next word, in both columns
        assert inputs[0, 0] == row
        seen += targets[:, 0].tolist()
        row += len(inputs)
    assert seen == list(range(1, len(seen) + 1))
    assert rows - 1 - len(seen) in (0, 1)


@given(st.integers(2, 300), st.integers(1, 100))
def test_fixed_windows_cover_every_target_once(rows, length):
    columns = torch.arange(rows)[:, None]
    targets = torch.cat([targets for _, targets in fixed_windows(columns, length)])
    assert targets[:, 0].tolist() == list(range(1, rows))


@pytest.mark.parametrize("lengths", [
    WindowLengths(bptt=70), WindowLengths(bptt=20, spread=8), WindowLengths(bptt=35, maximum=40),
    WindowLengths(bptt=9, short_probability=0.5, spread=3), WindowLengths(bptt=7, short_probability=0, spread=0),
])  # fmt: skip
def test_drawn_lengths_follow_the_closed_form(lengths):
    generator, draws = torch.Generator().manual_seed(3), 20_000
    drawn = torch.tensor([lengths.draw(generator) for _ in range(draws)])
    closed = lengths.probabilities()
    assert sum(closed.values()) == pytest.approx(1, abs=1e-9)
    for length, mass in closed.items():
        tolerance = 5 * math.sqrt(mass * (1 - mass) / draws) + 1 / draws
        assert (drawn == length).float().mean().item() == pytest.approx(mass, abs=tolerance), length
    assert {*drawn.tolist()} <= {*closed}


def test_the_papers_mean_length():
    """Merity et al.'s settings: 67.7 tokens a window, by Wald's identity on truncated normals."""
    by_hand = 0.95 * 69.5 + 0.05 * 34.5  # cutting to an integer takes one half off on average
    assert WindowLengths(bptt=70).mean() == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize(("values", "named"), [
    ({"bptt": 4}, "bptt is 4"), ({"short_probability": 1.5}, "short_probability is 1.5"), ({"spread": -1}, "spread is"),
    ({"minimum": 0}, "minimum is 0"), ({"maximum": 60}, "maximum is 60"),
])  # fmt: skip
def test_impossible_distributions_are_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        WindowLengths(**values)
    with pytest.raises(ValueError, match="must be at least 1"):
        next(fixed_windows(torch.zeros(4, 1), 0))
    with pytest.raises(ValueError, match="batch_size is 0"):
        batchify(torch.arange(9), 0)
