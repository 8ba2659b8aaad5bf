"""The exercises on the GRU: the chapter's own solutions pass, each known wrong answer gets its hint."""

import math

import numpy as np
import pytest
import torch
from test_exercises import solutions

from awdlib.exercises import gru
from awdlib.exercises.gru import check_by_hand, check_cho, check_window
from awdlib.recurrent import gru_step


def test_the_solutions_of_the_chapter_pass():
    given = solutions("gru")
    assert {*given} == {1, 2, 3}
    assert check_by_hand(*(given[1][name] for name in ("state", "change", "entries"))).kept
    assert check_cho(given[2]["cho_step"]).kept
    assert check_window(given[3]["gru_window"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    def empty(*_): ...

    for report in (
        check_by_hand(..., ..., ...),
        check_by_hand(0.3, ..., 30_000),
        check_cho(empty),
        check_window(empty),
    ):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize("answer", [
    (np.float64(0.3), torch.tensor(-0.2), np.int64(30_000)), (0.3, -0.2, 30_000.0), (0.3001, -0.2, 30_000),
])  # fmt: skip
def test_right_numbers_may_be_written_otherwise(answer):
    assert check_by_hand(*answer).kept


@pytest.mark.parametrize(("answer", "hint"), [
    ((0.25 * 0.5 - 0.75 * 0.3, -0.2, 30_000), "z stands at the old state"),
    ((0.375, -0.2, 30_000), "the candidate's part comes to it"),
    ((0.075, -0.2, 30_000), "weighed with 1 - z"),
    ((0.425, -0.2, 30_000), "the old state is weighed too"),
    ((math.tanh(0.3), -0.2, 30_000), "not squashed again"),
    ((0.9, -0.2, 30_000), "z times the old state and 1 - z"),
    ((0.3, 0.2, 30_000), "new minus old"),
    ((0.3, -0.8, 30_000), "how far the candidate lies away"),
    ((0.3, 0.04, 30_000), "that is its square"),
    ((0.3, -0.6, 30_000), "1 - z of the way"),
    ((0.3, 1.0, 30_000), "(1 - z)(n - h)"),
    ((0.3, -0.2, 40_000), "an LSTM's"),
    ((0.3, -0.2, 20_000), "two gates and the candidate"),
    ((0.3, -0.2, 10_000), "that is one block"),
    ((0.3, -0.2, 300), "not for each row"),
    ((0.3, -0.2, 60_000), "not that of the input"),
    ((0.3, -0.2, 7), "as many as weight_hh has"),
])  # fmt: skip
def test_wrong_numbers_get_a_hint(answer, hint):
    report = check_by_hand(*answer)
    assert not report.kept and hint in repr(report) and len(report.broken()) == 1


@pytest.mark.parametrize("answer", ["0.3", None, [0.3], math.nan, True])
def test_an_answer_that_is_no_number_is_refused(answer):
    with pytest.raises(ValueError, match="^state is .*; it must be a "):
        check_by_hand(answer, -0.2, 30_000)


# Cho's step ----------------------------------------------------------------------------------------------------------


def cho_with_cells(x, h, w_i, w_h, b_i, b_h):
    """By slices, in another order."""
    size = h.shape[1]
    keep = (x @ w_i[size : 2 * size].t() + h @ w_h[size : 2 * size].t() + (b_i + b_h)[size : 2 * size]).sigmoid()
    reset = (x @ w_i[:size].t() + h @ w_h[:size].t() + (b_i + b_h)[:size]).sigmoid()
    new = ((h * reset) @ w_h[2 * size :].t() + x @ w_i[2 * size :].t() + (b_i + b_h)[2 * size :]).tanh()
    return torch.lerp(new, h, keep)


@pytest.mark.parametrize("right", [
    cho_with_cells, lambda *given: (cho_with_cells(*given),),
    lambda *given: cho_with_cells(*(part.float() for part in given)), lambda *given: cho_with_cells(*given).numpy(),
])  # fmt: skip
def test_cho_s_step_may_be_written_otherwise(right):
    assert check_cho(right).kept


@pytest.mark.parametrize(("change", "hint"), gru.CHO_WRONG)
def test_a_wrong_step_gets_its_hint(change, hint):
    report = check_cho(lambda *given: gru._cho(*given, **change))
    assert not report.kept and hint in repr(report)


def test_with_the_reset_gate_open_both_variants_agree():
    report = check_cho(lambda x, h, *weights: gru_step(x, (h,), *weights)[0])
    assert [promise.kept for promise in report.promises] == [True, True, True, False]
    report = check_cho(lambda *given: gru._cho(*given, reset="no bias"))
    assert [promise.kept for promise in report.promises] == [True, True, False, False]


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda x, h, *_: (h, h), "alone"),
    (lambda x, h, *_: h[0], "alone"),
    (lambda x, h, *w: h.mul_(0.5) + 0 * cho_with_cells(x, h, *w), "work on copies"),
    (lambda x, h, *w: 0.5 * cho_with_cells(x, h, *w), "line by line"),
])  # fmt: skip
def test_other_wrong_steps(wrong, hint):
    report = check_cho(wrong)
    assert not report.kept and hint in repr(report)


def test_a_step_that_fails_is_reported():
    assert not check_cho(lambda *given: given[0] @ given[1]).kept
    assert not check_window(lambda *given: given[0] @ given[1]).kept


# A window with weight drop -------------------------------------------------------------------------------------------


def window(x, h, w_i, w_h, b_i, b_h, mask, *, flipped=False, one_bias=False, kept=(), blind=False, swapped=False,
           carried=True):  # fmt: skip
    size, outputs = h.shape[1], []
    mask = torch.ones_like(mask) if blind else mask.clone()
    for block in kept:
        mask[size * block : size * block + size] = 1
    for x_t in x:
        a, b = (x_t @ w_i.T + b_i).chunk(3, 1), (h @ (w_h * mask).T + b_h).chunk(3, 1)
        z, r = torch.sigmoid(a[1] + b[1]), torch.sigmoid(a[0] + b[0])
        if swapped:
            z, r = r, z
        bias = b_h[2 * size :]
        n = torch.tanh(a[2] + bias + r * (b[2] - bias)) if one_bias else torch.tanh(a[2] + r * b[2])
        new = z * n + (1 - z) * h if flipped else (1 - z) * n + z * h
        h = new if carried else h
        outputs.append(new)
    return torch.stack(outputs)


def test_a_window_may_be_written_otherwise():
    assert check_window(window).kept
    assert check_window(lambda *given: window(*given).float()).kept
    assert check_window(lambda *given: [*window(*given)]).kept
    assert check_window(lambda *given: (window(*given), given[1])).kept


@pytest.mark.parametrize(("changes", "hint", "broken"), [
    ({"flipped": True}, "z multiplies the old h", 3),
    ({"one_bias": True}, "n has two biases", 3),
    ({"kept": (2,)}, "dropping all of n changes nothing", 2),
    ({"kept": (0, 1)}, "dropping all of r and z changes nothing", 2),
    ({"blind": True}, "dropping all of r and z and n changes nothing", 2),
    ({"swapped": True}, "rows are r, z, n in turn", 3),
    ({"carried": False}, "the first step is right, a later one is not", 1),
])  # fmt: skip
def test_a_wrong_window_gets_its_hint(changes, hint, broken):
    report = check_window(lambda *given: window(*given, **changes))
    assert hint in repr(report) and 1 <= len(report.broken()) <= broken


def test_a_window_of_the_wrong_shape_is_told():
    assert "due is (6, 3, 5)" in repr(check_window(lambda *given: window(*given)[-1]))
