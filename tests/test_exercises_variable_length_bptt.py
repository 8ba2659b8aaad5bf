"""The exercises on windows: the chapter's own solutions pass, and each known wrong answer gets its hint."""

import math

import numpy as np
import pytest
import torch
from test_exercises import solutions

from awdlib.exercises.variable_length_bptt import check_borders, check_means, check_rates

TOKEN, REACH = 20 / 3, 17 / 6


def test_the_solutions_of_the_chapter_pass():
    given = solutions("variable-length-bptt")
    assert {*given} == {1, 2, 3}
    assert check_means(*(given[1][name] for name in ("mean_window", "mean_of_token", "mean_reach"))).kept
    assert check_borders(given[2]["borders"]).kept
    assert check_rates(given[3]["epoch"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    def empty(*_): ...

    for report in (check_means(..., ..., ...), check_means(6, ..., REACH), check_borders(empty), check_rates(empty)):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize("answer", [(6, TOKEN, REACH), (np.float32(6), 6.67, np.float64(2.83)), (6.0, 6.667, 2.8333),
                                    (6, 6.7, 2.8)])  # fmt: skip
def test_right_means_may_be_written_otherwise(answer):
    assert check_means(*answer).kept


@pytest.mark.parametrize(("answer", "hint"), [
    ((12, TOKEN, REACH), "equally likely"),
    ((6, 6, REACH), "holds twice as many tokens"),
    ((6, 40, REACH), "divide by the mean"),
    ((6, math.sqrt(40), REACH), "root of the mean square"),
    ((6, 16 / 3, REACH), "the weights are turned"),
    ((6, 8, REACH), "draw tokens, not windows"),
    ((6, TOKEN, TOKEN / 2), "0 steps back, not 1"),
    ((6, TOKEN, 23 / 6), "count steps back, not tokens"),
    ((6, TOKEN, 2.5), "not the mean over tokens"),
    ((6, TOKEN, TOKEN - 1), "average over all places"),
    ((6, TOKEN, 3), "half of a window's mean length"),
    ((6, TOKEN, 7), "0, 1, …, L - 1"),
])  # fmt: skip
def test_wrong_means_get_a_hint(answer, hint):
    report = check_means(*answer)
    assert not report.kept and hint in repr(report) and len(report.broken()) == 1


def renewal(p, rows, first=1.0):
    u = [first]
    for n in range(1, rows):
        u.append(sum(mass * u[n - k] for k, mass in p.items() if k <= n))
    return u


def by_powers(p, rows):
    """Sums of powers of the generating polynomial: another way to the same numbers."""
    step = np.zeros(rows)
    for length, mass in p.items():
        step[length : length + 1] += mass
    total, power = np.zeros(rows), np.eye(1, rows)[0]
    for _ in range(rows):
        total += power
        power = np.convolve(power, step)[:rows]
    return total


@pytest.mark.parametrize("function", [
    renewal, by_powers, lambda p, rows: tuple(renewal(p, rows)),
    lambda p, rows: torch.tensor(renewal(p, rows), dtype=torch.float32, requires_grad=True),
])  # fmt: skip
def test_right_borders_may_be_written_otherwise(function):
    assert check_borders(function).kept


def beyond_the_top(p, rows):
    """A negative row is counted from the end: right only while no window is longer than the text."""
    u = [1.0] + [0.0] * (rows - 1)
    for n in range(1, rows):
        u[n] = sum(mass * u[max(n - k, -rows)] for k, mass in p.items())
    return u


def one_short(p, rows):
    u = [1.0]
    for n in range(1, rows):
        u.append(sum(mass * u[n - k] for k, mass in p.items() if k < n))
    return u


@pytest.mark.parametrize(("function", "hint"), [
    (beyond_the_top, "✗ windows of 1, 4 or 15"),
    (one_short, "sum over k; row 0 has 1"),
    (lambda p, rows: list(np.cumsum(renewal(p, rows))), "sum over k; row 0 has 1"),
    (lambda p, rows: [float("nan")] * rows, "sum over k; row 0 has 1"),
    (lambda p, rows: dict(enumerate(renewal(p, rows))), "it raised"),
    (lambda p, rows: [p.get(n, 0.0) for n in range(rows)], "the third, the fourth"),
    (lambda p, rows: [1.0] + [p.get(n, 0.0) for n in range(1, rows)], "the third, the fourth"),
    (lambda p, rows: [1 / sum(k * m for k, m in p.items())] * rows, "where it tends to"),
    (lambda p, rows: renewal(p, rows, first=0.0), "u_0 = 1, and all others follow"),
    (lambda p, rows: [0.0, *renewal(p, rows)[1:]], "the first window begins at row 0: u_0 = 1"),
    (lambda p, rows: renewal(p, rows + 1), "a probability for each of the 12 rows"),
    (lambda p, rows: [0.5] * rows, "sum over k; row 0 has 1"),
    (lambda p, rows: p[0], "it raised KeyError"),
])  # fmt: skip
def test_wrong_borders_get_a_hint(function, hint):
    report = check_borders(function)
    assert not report.kept and hint in repr(report)


def set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


def walk(rate=None, late=False, gradient_factor=None, restore=True, steps=1):
    """An epoch that sets the rate by a rule, before or after its step, or scales the gradient by one."""

    def epoch(optimizer, lengths, nominal, gradient):
        lr = optimizer.param_groups[0]["lr"]
        for length in lengths:
            if rate and not late:
                set_rate(optimizer, rate(optimizer.param_groups[0]["lr"], lr, length, nominal))
            gradient()
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    weight.grad *= gradient_factor(length, nominal) if gradient_factor else 1
            for _ in range(steps):
                optimizer.step()
            if rate and late:
                set_rate(optimizer, rate(optimizer.param_groups[0]["lr"], lr, length, nominal))
        if restore:
            set_rate(optimizer, lr)

    return epoch


def scaled(now, lr, length, nominal):
    return lr * length / nominal


def own_eta(optimizer, lengths, nominal, gradient):
    """Another repair: the step size in ASGD's state."""
    lr = optimizer.param_groups[0]["lr"]
    for length in lengths:
        set_rate(optimizer, lr * length / nominal)
        gradient()
        for state in optimizer.state.values():
            if "eta" in state:
                state["eta"] = torch.as_tensor(lr * length / nominal)
        optimizer.step()
    set_rate(optimizer, lr)


@pytest.mark.parametrize("function", [own_eta, walk(gradient_factor=lambda length, nominal: length / nominal)])
def test_either_repair_of_the_late_rate_passes(function):
    assert check_rates(function).kept


@pytest.mark.parametrize(("function", "hint"), [
    (walk(scaled), "this optimizer fixed it a step ago"),
    (walk(scaled, late=True), "set it before the step, not after"),
    (walk(lambda now, lr, length, nominal: now * length / nominal), "the factors pile up"),
    (walk(), "nothing is scaled"),
    (walk(lambda now, lr, length, nominal: lr * nominal / length), "not the other way round"),
    (walk(scaled, gradient_factor=lambda length, nominal: length / nominal), "scaled twice"),
    (walk(lambda now, lr, length, nominal: lr * length), "divide by the nominal length"),
    (walk(lambda now, lr, length, nominal: lr / 3), "the step is to be"),
    (walk(scaled, steps=2), "you took 5 and 10"),
    (walk(scaled, restore=False), "the next epoch would begin from there"),
    (lambda *_: 1 / 0, "it raised ZeroDivisionError"),
])  # fmt: skip
def test_wrong_rates_get_a_hint(function, hint):
    report = check_rates(function)
    assert not report.kept and hint in repr(report)


def test_the_printed_fault_is_one_of_asgd_alone():
    assert check_rates(walk(scaled)).broken() == ["ASGD: each step has its own window's rate"]
