"""The exercises of the page on speed: its printed solutions pass, every known wrong answer gets its hint."""

import math
import statistics

import numpy as np
import pytest
import torch
from test_exercises import solutions

from awdlib.exercises.speed import check_balance, check_gru_operations, check_ratio
from awdlib.figures.speed import benchmark, epoch_figure, operations
from awdlib.model import ModelConfig


def test_the_printed_solutions_pass():
    given = solutions("speed")
    assert {*given} == {1, 2, 3}  # the fourth is to be measured
    assert check_gru_operations(given[1]["gru_operations"]).kept
    assert check_balance(given[2]["balance"]).kept
    assert check_ratio(given[3]["times_as_long"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    for check in (check_gru_operations, check_balance, check_ratio):
        report = check(lambda *_: None)
        assert not report.kept and "your turn" in repr(report)


# 1: the GRU's operations


def of_library(vocabulary, embedding, hidden, layers, cell="gru"):
    sizes = {"vocab_size": vocabulary, "embedding_size": embedding, "hidden_size": hidden, "num_layers": layers}
    return sum(operations(ModelConfig(**sizes, cell=cell)).values())


def entries(vocabulary, embedding, hidden, layers, gates=3):
    return of_library(vocabulary, embedding, hidden, layers) // 6


@pytest.mark.parametrize("right", [
    of_library, lambda *sizes: float(of_library(*sizes)), lambda *sizes: np.int64(of_library(*sizes)),
    lambda *sizes: torch.tensor(of_library(*sizes)),
])  # fmt: skip
def test_right_counts_pass_however_they_are_written(right):
    assert check_gru_operations(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda *sizes: of_library(*sizes, cell="lstm"), "a GRU has three"),
    (lambda v, e, h, n: of_library(v, e, h, n) + 6 * v * e, "looking a word up multiplies nothing"),
    (lambda v, e, h, n: of_library(v, e, h, n) - 6 * v * e, "the softmax is a product too"),
    (lambda v, e, h, n: of_library(v, e, h, n) + 6 * 3 * ((n - 1) * h + e), "a bias is added"),
    (lambda v, e, h, n: of_library(v, e, h, n) + 12 * 3 * ((n - 1) * h + e), "a bias is added"),
    (lambda v, e, h, n: 6 * (3 * h * (e + h) + (n - 1) * 6 * h * h + v * e), "the last one gives them"),
    (lambda v, e, h, n: 6 * (n * 6 * h * h + v * e), "the first layer reads embeddings"),
    (lambda v, e, h, n: 6 * (n * 6 * h * h + v * h), "the first layer reads embeddings"),
    (lambda *sizes: 2 * entries(*sizes), "the backward pass has two products of the same size"),
    (lambda *sizes: 4 * entries(*sizes), "for the vector and for the matrix"),
    (lambda *sizes: 3 * entries(*sizes), "two operations a product"),
    (entries, "each costs six operations"), (lambda *sizes: 0, "six times the entries"),
    (lambda *sizes: sizes[4], "it raised IndexError"),
])  # fmt: skip
def test_wrong_counts_get_a_hint(wrong, hint):
    report = check_gru_operations(wrong)
    assert not report.kept and hint in repr(report)


# 2: waiting and computing


def right_balance(operations, layers, latency, rate):
    return 2 * layers * latency * rate / operations


@pytest.mark.parametrize("right", [
    right_balance, lambda *given: math.ceil(right_balance(*given)), lambda *given: round(right_balance(*given)),
    lambda *given: torch.tensor(right_balance(*given), dtype=torch.float64),
    lambda *given: np.float32(right_balance(*given)),
])  # fmt: skip
def test_right_balances_pass_however_they_are_written(right):
    assert check_balance(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda o, n, s, r: n * s * r / o, "backward the steps wait once more"),
    (lambda o, n, s, r: 2 * s * r / o, "every layer waits for itself"),
    (lambda o, n, s, r: s * r / o, "in every layer, forward and backward"),
    (lambda o, n, s, r: o / (2 * n * s * r), "upside down"),
    (lambda o, n, s, r: 2 * n * s * r / (3 * o), "forward and backward already"),
    (lambda o, n, s, r: 2 * n * s * 1e6 * r / o, "the latency is in seconds"),
    (lambda o, n, s, r: 929_589 * 2 * n * s * r / o, "solve for the batch"),
    (lambda o, n, s, r: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_balances_get_a_hint(wrong, hint):
    report = check_balance(wrong)
    assert not report.kept and hint in repr(report)


def test_at_the_balance_the_explorable_waits_as_long_as_it_computes():
    model = ModelConfig()
    batch = right_balance(sum(operations(model).values()), model.num_layers, 80e-6, 10e12)
    computing, waiting = (
        float(np.interp(math.log(batch), np.log(trace.x), np.log(trace.y)))
        for trace in epoch_figure(80, 10, 40).data[:2]
    )
    assert computing == pytest.approx(waiting, abs=1e-6)


# 3: a ratio, measured in turns


def in_rounds(ours, theirs):
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("right", [
    in_rounds, lambda ours, theirs: np.median(np.array(ours) / np.array(theirs)),
    lambda ours, theirs: torch.tensor(ours, dtype=torch.float64).div(torch.tensor(theirs)).median(),
    lambda ours, theirs: min(ours) / min(theirs),  # what is left when nothing disturbs; as robust here
])  # fmt: skip
def test_right_ratios_pass_however_they_are_written(right):
    assert check_ratio(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda ours, theirs: in_rounds(theirs, ours), "the other way round"),
    (lambda ours, theirs: sum(ours) / sum(theirs), "take a median"),
    (lambda ours, theirs: np.mean(np.array(ours) / np.array(theirs)), "take a median"),
    (lambda ours, theirs: statistics.median(ours) / statistics.median(theirs), "divide within a round first"),
    (lambda ours, theirs: statistics.median(ours) - statistics.median(theirs), "for this machine alone"),
    (lambda ours, theirs: min(np.array(ours) / np.array(theirs)), "theirs was disturbed"),
    (lambda ours, theirs: max(np.array(ours) / np.array(theirs)), "ours was disturbed"),
    (lambda ours, theirs: ours[0] / theirs[0], "ours was disturbed"),
    (lambda ours, theirs: ours[-1], "median of the ratios"),
    (lambda ours, theirs: ours / theirs, "it raised TypeError"),
])  # fmt: skip
def test_wrong_ratios_get_a_hint(wrong, hint):
    report = check_ratio(wrong)
    assert not report.kept and hint in repr(report)


def test_on_the_record_both_ways_to_divide_agree():
    """The page's picture divides medians, its third exercise within rounds, and its solution says how near they are."""
    steps = {}
    for one in benchmark()["measurements"]:
        if one["group"] == "step" and one["precision"] == "fp32" and "median" in one:
            steps.setdefault(one["config"], {})[one["candidate"]] = one
    apart = [
        one["median"] / found["limit"]["median"] / in_rounds(one["seconds"], found["limit"]["seconds"])
        for found in steps.values() for one in found.values()
    ]  # fmt: skip
    assert len(apart) > 15 and all(abs(ratio - 1) < 0.03 for ratio in apart)
