"""The exercises of the chapter on the LSTM: printed solutions pass, known wrong answers get their hint."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_exercises import solutions

from awdlib.exercises.lstm import (
    check_coupled_step,
    check_forget_bias,
    check_parameters,
    check_port,
    check_rnn_backward,
)
from awdlib.recurrent import lstm_step

BOOK = Path(__file__).resolve().parent.parent / "book"


def test_the_solutions_of_the_chapter_pass():
    given = solutions("lstm")
    assert {*given} == {1, 2, 3, 4, 5}
    assert check_parameters(given[1]["lstm_parameters"], given[1]["simple_parameters"]).kept
    assert check_forget_bias(given[2]["forget_bias"]).kept
    assert check_rnn_backward(given[3]["rnn_backward"]).kept
    assert check_coupled_step(given[4]["coupled_step"]).kept
    assert check_port(given[5]["ported_step"]).kept
    assert given[2]["forget_bias"](30) == pytest.approx(3.76, abs=0.005), "the solution's text says so"
    assert given[1]["lstm_parameters"] == 7_139_200 and given[1]["simple_parameters"] == 1_784_800


def test_an_empty_cell_is_told_from_a_wrong_answer():
    empty = [
        check(lambda *_: None) for check in (check_forget_bias, check_rnn_backward, check_coupled_step, check_port)
    ]
    for report in (*empty, check_parameters(..., ...), check_parameters(5, ...)):
        assert not report.kept and "your turn" in repr(report)


LSTM, RNN = (
    sum(w.numel() for w in torch.nn.LSTM(400, 1150).parameters()),
    sum(w.numel() for w in torch.nn.RNN(400, 1150).parameters()),
)


@pytest.mark.parametrize(("answer", "hint"), [
    ((LSTM - 4 * 1150, RNN), "two biases a row"), ((LSTM - 8 * 1150, RNN), "the biases are missing"),
    ((4 * 1150 * 402, RNN), "from hidden state to hidden state is missing"),
    ((4 * 1150 * 1152, RNN), "reads the input is missing"), ((LSTM * 3 // 4, RNN), "make four blocks"),
    ((RNN, LSTM), "that is the other layer's count"), ((LSTM, RNN - 1150), "two biases a row"),
    ((LSTM, 7), "how many rows"),
])  # fmt: skip
def test_wrong_counts_get_a_hint(answer, hint):
    assert check_parameters(LSTM, RNN).kept
    report = check_parameters(*answer)
    assert not report.kept and hint in repr(report)


def logit(f):
    return math.log(f / (1 - f))


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda k: 0.5 ** (1 / k), "this is the gate"), (lambda k: -logit(0.5 ** (1 / k)), "the sign is turned"),
    (lambda k: 1 / (1 + math.exp(-(0.5 ** (1 / k)))), "the sigmoid is taken"),
    (lambda k: logit(math.exp(-1 / k)), "1/e would be left"), (lambda k: math.log(k), "first the gate f"),
    (lambda k: math.log(k / math.log(2)), "for long memories"), (lambda k: math.nan, "first the gate f"),
    (lambda k: -logit(0.5**k) if k > 1 else 0.0, "first the gate f"),
    (lambda k: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_biases_get_a_hint(wrong, hint):
    report = check_forget_bias(wrong)
    assert not report.kept and hint in repr(report)


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda dh, h, u: (dh, dh @ u), "has not passed through tanh"),
    (lambda dh, h, u: (dh * (1 - h.tanh() ** 2), dh * (1 - h.tanh() ** 2) @ u), "is tanh of the sum already"),
    (lambda dh, h, u: (dh * h * (1 - h), dh * h * (1 - h) @ u), "the slope of the sigmoid"),
    (lambda dh, h, u: (dh * (1 - h), dh * (1 - h) @ u), "the slope of tanh at the sum"),
    (lambda dh, h, u: (dh * (1 - h**2), dh * (1 - h**2) @ u.T), "backward is delta @ weight_hh"),
    (lambda dh, h, u: (dh * (1 - h**2), dh @ u), "behind tanh, not the one before"),
    (lambda dh, h, u: (dh * (1 - h**2), dh), "multiply the error of the sum"),
    (lambda dh, h, u: (dh * (1 - h**2), (dh * (1 - h**2)).T), "both errors have the shape of h"),
    (lambda dh, h, u: (dh * (1 - h**2),), "both errors have the shape of h"),
    (lambda dh, h, u: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_backward_steps_get_a_hint(wrong, hint):
    report = check_rnn_backward(wrong)
    assert not report.kept and hint in repr(report)


def test_a_step_that_is_right_for_one_matrix_alone_fails_in_the_chain():
    seen = []

    def first_matrix(dh, h, u):
        seen.append(u)
        return dh * (1 - h**2), dh * (1 - h**2) @ seen[0]

    report = check_rnn_backward(first_matrix)
    assert report.broken() == ["five steps in a row give autograd's gradient of weight_hh"]
    assert "each step alone must be right first" in repr(report)


def coupled(cell, output=lambda o, c: o.sigmoid() * c.tanh(), order="fgo"):
    def step(x, state, w, u, b):
        h, c = state
        z = dict(zip(order, (x @ w.T + h @ u.T + b).chunk(3, dim=1), strict=True))
        c = cell(z["f"], c, z["g"])
        return output(z["o"], c), c

    return step


@pytest.mark.parametrize(("wrong", "hint"), [
    (coupled(lambda f, c, g: f.sigmoid() * c + (1 - f) * g.tanh()), "is of the sigmoid, not of the sum"),
    (coupled(lambda f, c, g: f.sigmoid() * c + f.sigmoid() * g.tanh()), "both gates are f"),
    (coupled(lambda f, c, g: (1 - f.sigmoid()) * c + f.sigmoid() * g.tanh()), "the two gates are swapped"),
    (coupled(lambda f, c, g: f.sigmoid() * c + (1 - f.sigmoid()) * g), "the candidate passes through tanh"),
    (coupled(lambda f, c, g: f.sigmoid() * c + g.tanh()), "nothing limits what is written"),
    (coupled(lambda f, c, g: f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh(), order="fog"), "in the order f, g, o"),
    (coupled(lambda f, c, g: f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh(), lambda o, c: o.sigmoid() * c), "h = o"),
    (coupled(lambda f, c, g: f.sigmoid() * c + g.tanh()), "is right once c is"),
    (coupled(lambda f, c, g: f.sigmoid() * c + g.tanh(), order="ofg"), "mend c first, then look at o"),
    (lambda *given: coupled(lambda f, c, g: f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh())(*given)[::-1],
     "changed places"),
    (lambda x, state, w, u, b: state[0][:1], "it raised"),
])  # fmt: skip
def test_wrong_coupled_steps_get_a_hint(wrong, hint):
    report = check_coupled_step(wrong)
    assert not report.kept and hint in repr(report)


def port(order="ifgo", extra=0.0, biases=(1, 1), output=lambda o, c: o.sigmoid() * c.tanh()):
    def step(x, state, w, u, b, b2):
        h, c = state
        z = x @ w.T + h @ u.T + biases[0] * b + biases[1] * b2
        z = dict(zip(order, z.chunk(4, dim=1), strict=True))
        c = (z["f"] + extra).sigmoid() * c + z["i"].sigmoid() * z["g"].tanh()
        return output(z["o"], c), c

    return step


@pytest.mark.parametrize(("wrong", "hints"), [
    (port("igfo", 1.0), ["blocks of rows are i, f, g, o", "something is added to the forget gate"]),
    (port("igfo"), ["blocks of rows are i, f, g, o"]), (port("ifog"), ["blocks of rows are i, f, g, o"]),
    (port(extra=1.0), ["something is added"]), (port(biases=(1, 0)), ["bias_hh is left out"]),
    (port(biases=(0, 1)), ["bias_ih is left out"]),
    (port(output=lambda o, c: o.sigmoid() * c), ["h = o tanh(c)"]), (port(biases=(2, 2)), ["c = sigmoid(f) c"]),
    (lambda x, state, *w: lstm_step(x, state, *w)[::-1], ["changed places: h is returned first"]),
    (port("ofgi"), ["blocks of rows are i, f, g, o", "mend c first, then look at o"]),
    (port("igfo", biases=(1, 0)), ["i, f, g, o, and bias_hh is left out"]),
    (port(biases=(0, 0)), ["both biases are left out"]),
    (port(extra=-1.0), ["c = sigmoid(f) c", "is right once c is"]),
    (lambda x, state, *w: undefined, ["it raised NameError"]),  # noqa: F821
])  # fmt: skip
def test_wrong_ports_get_a_hint(wrong, hints):
    report = check_port(wrong)
    assert not report.kept and all(hint in repr(report) for hint in hints)


def test_a_port_that_only_reorders_is_told_of_the_addition_alone_and_not_sent_after_h():
    said = repr(check_port(port("ifgo", extra=1.0)))
    assert "something is added to the forget gate" in said and "blocks of rows" not in said
    assert "it follows from c, and is right once c is" in said and "it begins with what the first step" in said


def test_a_step_that_remembers_is_told_so():
    calls = []

    def forgetful(x, state, *weights):
        calls.append(x)
        return lstm_step(x, state if len(calls) < 3 else (state[0], 0 * state[1]), *weights)

    assert "nothing but its arguments" in repr(check_port(forgetful))

    def tired(x, state, *weights):
        calls.append(x)
        if len(calls) > 5:
            raise RuntimeError("tired")
        return lstm_step(x, state, *weights)

    report = check_port(tired)
    assert not report.kept and "it raised RuntimeError: tired" in repr(report)


def test_right_answers_in_other_clothes_are_accepted():
    def in_place(dh, h, u):
        dh *= 1 - h**2
        return [dh, dh @ u]

    def numpy_back(dh, h, u):
        da = dh.numpy() * (1 - h.numpy() ** 2)
        return da, da @ u.numpy()

    def single(dh, h, u):
        da = dh.float() * (1 - h.float() ** 2)
        return da, da @ u.float()

    for answer in (in_place, numpy_back):
        assert check_rnn_backward(answer).kept, answer
    assert "raised" not in repr(check_rnn_backward(single))
    assert check_forget_bias(lambda k: torch.logit(torch.tensor(0.5) ** (1 / k))).kept
    assert check_forget_bias(lambda k: -math.log(2 ** (1 / k) - 1)).kept
    assert check_parameters(float(LSTM), np.int64(RNN)).kept

    def overwrites(x, state, *weights):
        h, c = lstm_step(x, state, *weights)
        state[0].zero_()
        state[1].zero_()
        return h, c

    assert check_port(overwrites).kept
    assert check_port(lambda x, state, *w: [part.numpy() for part in lstm_step(x, state, *w)]).kept


def test_the_chapters_own_broken_port_is_rejected_for_both_of_its_bugs():
    notebook = json.loads((BOOK / "lstm.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "def ported_step" in text]
    space = {"torch": torch}
    exec(cell.partition("\n\n\ncheck_port")[0], space)
    said = repr(check_port(space["ported_step"]))
    assert "blocks of rows are i, f, g, o" in said and "something is added to the forget gate" in said
