"""The pictures of LSTM and GRU: memories against closed forms, budgets and differences against the record."""

import math
import statistics

import numpy as np
import pytest

from awdlib.figures import gru_runs
from awdlib.figures.cells import equal_width, parameters
from awdlib.figures.gru_cell import BEFORE, STEPS, WRITTEN, cells_figure, memory_figure, remember
from awdlib.figures.gru_runs import (
    ARMS,
    AXES,
    budget,
    budget_figure,
    differences,
    gap,
    left_out_figure,
    perplexities,
    price,
    recorded,
    times,
    within,
)  # fmt: skip
from awdlib.model import ModelConfig

RECORD, SPEED = recorded("gru"), recorded("gru-speed")


@pytest.mark.parametrize("keep", [0.5, 0.95])
@pytest.mark.parametrize("shown", [0.1, 1.0])
@pytest.mark.parametrize("lasts", [1, 20])
def test_memories_are_those_of_the_closed_forms(keep, shown, lasts):
    """c is a geometric sum while the input lasts, then a power; the GRU's is 1 - z of it."""
    found = remember(keep, shown, lasts)
    step = np.arange(1, STEPS - BEFORE + 1)
    summed = WRITTEN * (1 - keep ** np.minimum(step, lasts)) / (1 - keep) * keep ** np.maximum(step - lasts, 0)
    np.testing.assert_allclose(found.cell[BEFORE:], summed, atol=1e-9)
    np.testing.assert_allclose(found.gru[BEFORE:], (1 - keep) * summed, atol=1e-9)
    np.testing.assert_allclose(found.lstm, shown * np.tanh(found.cell), atol=1e-9)
    assert (found.cell[:BEFORE] == 0).all() and (found.gru[:BEFORE] == 0).all()


@pytest.mark.parametrize(("wrong", "said"), [
    ((1.0, 0.5, 1), "keep"), ((0.0, 0.5, 1), "keep"), ((0.9, 0.0, 1), "shown"), ((0.9, 1.1, 1), "shown"),
    ((0.9, 0.5, 0), "lasts"), ((0.9, 0.5, 41), "lasts"), ((0.9, 0.5, 1.5), "lasts"), ((None, 0.5, 1), "keep"),
])  # fmt: skip
def test_wrong_gates_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        remember(*wrong)


def test_the_memories_are_drawn_and_told():
    figure, found = memory_figure(0.9, 0.3, 5), remember(0.9, 0.3, 5)
    for line, values in zip(figure.data, (found.cell, found.lstm, found.gru), strict=True):
        np.testing.assert_array_equal(line.y, values)
    assert figure.data[2].yaxis == "y2" and {line.yaxis for line in figure.data[:2]} == {"y"}
    told = figure.layout.meta["alt"]
    assert f"half is left after {math.log(0.5) / math.log(0.9):.1f}" in told
    for values in (found.cell, found.lstm, found.gru):
        assert f"{values[BEFORE + 4]:.2f}" in told
    assert figure.layout.shapes[0].x1 == 4.5
    assert figure.layout.yaxis.range[1] > found.cell.max()


def test_both_cells_are_drawn():
    figure = cells_figure()
    words = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert {"LSTM", "forget", "input", "output", "candidate"} <= {*words[0]}
    assert {"GRU", "update", "reset", "candidate", "$1-z$"} <= {*words[1]} and "output" not in words[1]


@pytest.mark.parametrize("config", [ModelConfig(), ModelConfig(hidden_size=90, embedding_size=31, num_layers=2)])
@pytest.mark.parametrize("cell", ["gru", "rnn", "lstm"])
def test_the_equal_width_is_the_nearest(config, cell):
    from dataclasses import replace

    width, aim = equal_width(config, cell), parameters(config)
    far = [abs(parameters(replace(config, cell=cell, hidden_size=width + by)) - aim) for by in (-1, 0, 1)]
    assert far[1] == min(far)


def test_an_unknown_cell_is_refused():
    with pytest.raises(ValueError, match="cell is 'gpt'; it must be one of lstm, gru, rnn"):
        equal_width(ModelConfig(), "gpt")


def arm(cell, width, without):
    return [
        one
        for one in RECORD["runs"]
        if one["part"] == "whole" and (one["cell"], one["width"], one["without"]) == (cell, width, without)
    ]


def compared(without):
    """The arms' runs, as the figure is to draw them."""
    arms = {"LSTM": ("lstm", 128), "GRU, as wide": ("gru", 128), "GRU, as large": ("gru", 158)}
    return [(name, one) for name, (cell, width) in arms.items() for one in arm(cell, width, without)]


@pytest.mark.parametrize("upto", [15, 40])
@pytest.mark.parametrize("axis", [*AXES])
@pytest.mark.parametrize("without", ["", "everything"])
def test_a_budget_stretches_the_curves_and_nothing_else(axis, without, upto):
    figure, runs = budget_figure(without, axis, upto), compared(without)
    assert len(figure.data) == len(runs) + 1 and len(runs) == (6 if without else 9)
    for line, (name, run) in zip(figure.data, runs, strict=False):
        assert line.name == f"{name}, seed {run['seed']}" and [*line.y] == run["valid"]
        expected = 1.0 if axis == "epochs" or name == "LSTM" else price(SPEED, name, axis)
        np.testing.assert_allclose(line.x, expected * np.arange(1, len(run["valid"]) + 1))
        assert line.line.color == ARMS[name][1]
    assert set(figure.data[-1].y) == {RECORD["floor"]["valid"]}


@pytest.mark.parametrize("upto", [15, 40])
@pytest.mark.parametrize("axis", [*AXES])
def test_what_a_budget_buys_is_read_off_the_curves(axis, upto):
    """Of every line the lowest point left of the dotted line; the words say the same."""
    figure, best = budget_figure("", axis, upto), within(RECORD, SPEED, axis, upto)
    end = figure.layout.shapes[0].x0
    assert end == (min(upto, 40 * price(SPEED, "GRU, as wide", "operations")) if axis == "operations" else upto)
    for name, by_seed in best.items():
        lines = {line.name: line for line in figure.data}
        for seed, value in by_seed.items():
            line = lines[f"{name}, seed {seed}"]
            assert value == min(y for x, y in zip(line.x, line.y, strict=True) if x <= end + 1e-6)
        assert f"{name} {statistics.fmean(by_seed.values()):.1f}" in figure.layout.meta["alt"]
        keys = [note.text for note in figure.layout.annotations]
        assert f"<b>{name}: {statistics.fmean(by_seed.values()):.1f}</b>" in keys
    assert f"within a budget of {end:.0f} " in figure.layout.meta["alt"]


def test_a_budget_is_one_that_all_have_used_up():
    share = price(SPEED, "GRU, as wide", "operations")
    assert budget(RECORD, SPEED, "operations", 100) == 40 * share < 40 == budget(RECORD, SPEED, "time", 100)
    assert budget(RECORD, SPEED, "operations", 10) == 10


def test_gaps_are_taken_at_equal_seed():
    found = gap("a", "b", {2: 5.0, 1: 3.0}, {1: 1.0, 2: 2.0})
    assert found.by_seed == {1: 2.0, 2: 3.0} and (found.arm, found.against) == ("a", "b")
    assert perplexities(RECORD, "GRU, as large") == {one["seed"]: one["test"] for one in arm("gru", 158, "")}


def test_prices_are_ratios_to_the_lstm():
    (small,) = (one["candidates"] for one in SPEED["sizes"] if one["size"] == "small")
    assert price(SPEED, "GRU, as wide", "operations") == small["gru"]["operations"] / small["lstm"]["operations"] < 1
    assert price(SPEED, "GRU, as wide", "time") == times(SPEED, "small")["gru"]
    assert price(SPEED, "GRU, as large", "time") == times(SPEED, "small")["gru-equal"]


def test_what_is_left_out_is_compared_at_equal_seed():
    for name, cell in (("LSTM", "lstm"), ("GRU, as wide", "gru")):
        full = {one["seed"]: one for one in arm(cell, 128, "")}
        found = differences(RECORD, name)
        assert [*found] == [*RECORD["without"], "averaging"]
        for left, one in found.items():
            runs = full.values() if left == "averaging" else arm(cell, 128, left)
            key = "raw_test" if left == "averaging" else "test"
            assert one.by_seed == {run["seed"]: run[key] - full[run["seed"]]["test"] for run in runs}
            assert len(one.by_seed) == 3


def test_the_dots_are_the_differences():
    figure = left_out_figure(RECORD)
    for name, mark in (("LSTM", "o"), ("GRU, as wide", "s")):
        lines = [line for line in figure.axes[0].lines if line.get_marker() == mark]
        for row, (line, one) in enumerate(zip(lines, differences(RECORD, name).values(), strict=True)):
            assert [*line.get_xdata()] == [*one.by_seed.values()]
            assert all(abs(y - row) < 0.5 for y in line.get_ydata())
            assert f"{name.partition(',')[0]} {one.mean:+.1f}" in figure.get_label()


def test_records_are_read_once():
    assert gru_runs.recorded("gru") is RECORD


def test_everything_that_was_left_out_can_be_chosen():
    assert {*gru_runs.LEFT_OUT} == {"", "everything", *RECORD["without"]}


@pytest.mark.parametrize(("wrong", "said"), [
    (lambda: budget_figure("x", "epochs", 40), "without is 'x'; it must be one of '', 'everything'"),
    (lambda: budget_figure("", "hours", 40), "axis is 'hours'; it must be one of 'epochs'"),
    (lambda: budget_figure("", "epochs", 0), "upto is 0; it must lie in"),
    (lambda: price(SPEED, "RNN", "time"), "arm is 'RNN'; it must be one of 'LSTM'"),
    (lambda: perplexities(RECORD, "RNN"), "arm is 'RNN'"), (lambda: times(SPEED, "huge"), "size is 'huge'"),
    (lambda: recorded("x"), "name is 'x'"), (lambda: gap("a", "b", {1: 1.0}, {2: 1.0}), "seeds are .1. and .2."),
])  # fmt: skip
def test_what_is_not_there_is_refused_in_one_line(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()
