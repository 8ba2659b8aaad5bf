"""Pictures of the chapter on the LSTM, their numbers computed once more: gradients, the cliff, the cell, agreement."""

import copy
import re

import numpy as np
import pytest
import torch
from test_records import read

from awdlib.figures.agreement import FEWEST, accuracy, agreement_figure, lesson_figure, unit_figure
from awdlib.figures.gradients_over_time import (
    HIDDEN,
    STEPS,
    border_figure,
    cliff,
    cliff_figure,
    direct_path,
    gradient_figure,
    journeys,
    reach_figure,
)
from awdlib.figures.lstm_cell import cell_figure
from awdlib.training import EpochRecord


def lines(figure):
    return {trace.name: np.array(trace.y, dtype=float) for trace in figure.data}


@pytest.mark.parametrize("gain, bias", [(0.5, -1), (1.0, 0), (1.2, 1), (2.0, 3)])
def test_gradients_drawn_are_those_of_perturbed_states(gain, bias):
    """The norm of the Jacobian over k steps, by autograd through torch's own cells, not by the closed forms."""
    rnn, lstm = journeys(gain, bias)
    drawn, distance = lines(gradient_figure(gain, bias)), 12
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(STEPS, 4 * HIDDEN, dtype=torch.float64, generator=generator) * 0.1
    cell = torch.nn.LSTMCell(4 * HIDDEN, HIDDEN).double()
    blocks = torch.randn(4, HIDDEN, HIDDEN, dtype=torch.float64, generator=generator)
    weight = torch.cat([gain * torch.linalg.qr(block)[0] for block in blocks])
    for parameter, value in zip(cell.parameters(), (torch.eye(4 * HIDDEN), weight, torch.zeros(4 * HIDDEN),
                                                    torch.zeros(4 * HIDDEN)), strict=True):  # fmt: skip
        parameter.data.copy_(value)
    cell.bias_ih.data[HIDDEN : 2 * HIDDEN] = bias
    start = STEPS - distance

    def last_cell(c):
        h = lstm.states[start - 1, :HIDDEN][None]
        c = c[None]
        for x in noise[start:]:
            h, c = cell(x[None], (h, c))
        return c[0]

    def last_hidden(h):
        for x in noise[start:, :HIDDEN]:
            h = torch.tanh(x + weight[:HIDDEN] @ h)
        return h

    exact = torch.autograd.functional.jacobian(last_cell, lstm.states[start - 1, HIDDEN:])
    assert 10 ** drawn["LSTM"][distance - 1] == pytest.approx(torch.linalg.svdvals(exact)[0].item(), rel=1e-6)
    exact = torch.autograd.functional.jacobian(last_hidden, rnn.states[start - 1])
    assert 10 ** drawn["tanh network"][distance - 1] == pytest.approx(torch.linalg.svdvals(exact)[0].item(), rel=1e-6)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("bias", [-1, 3])
def test_the_bound_bounds_and_the_sentence_says_what_is_drawn(gain, bias):
    figure = gradient_figure(gain, bias)
    drawn, distance = lines(figure), np.arange(1, STEPS + 1)
    np.testing.assert_allclose(drawn["bound: gain to the k"], distance * np.log10(gain), atol=1e-12)
    assert (drawn["tanh network"] <= drawn["bound: gain to the k"] + 1e-9).all()
    forget = journeys(gain, bias)[1].forget
    product = [forget[STEPS - k :].prod(0).max().item() for k in distance]
    np.testing.assert_allclose(10 ** drawn["forget gates alone"], product)
    said = re.search(r"error is (\S+) for the tanh network and (\S+) for the LSTM", figure.layout.meta["alt"])
    for text, name in zip(said.groups(), ("tanh network", "LSTM"), strict=True):
        assert abs(np.log10(float(text)) - drawn[name][-1]) < 0.51


def test_all_is_on_the_axis_but_what_falls_below_it():
    for gain in (0.5, 2.0):
        for bias in (-1, 3):
            figure = gradient_figure(gain, bias)
            for name in ("tanh network", "LSTM"):
                assert lines(figure)[name].max() < figure.layout.yaxis.range[1]


def test_words_and_powers_are_plain_characters_so_that_a_still_shows_them_too():
    layout = gradient_figure(1.0, 0).layout
    texts = [*layout.yaxis.ticktext, *(note.text for note in layout.annotations)]
    assert list(layout.yaxis.ticktext) == ["10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "1", "10³", "10⁶"]
    assert list(layout.yaxis.tickvals) == [-12, -9, -6, -3, 0, 3, 6]
    assert not any("<sup>" in text for text in texts) and "gainᵏ" in texts[-2]


def test_the_direct_path_is_the_best_cells_and_not_a_mixture():
    forget = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.4]])
    assert direct_path(forget).tolist() == pytest.approx([0.5, 0.32, 0.09])


def test_the_cliff_is_that_of_the_unit_run_by_hand():
    for w in (5.7, 6.0, 6.02):
        h = 0.0
        for _ in range(12):
            h = w / (1 + np.exp(-h)) - 3
        assert cliff(np.array([w]), 12)[0] == pytest.approx((1 / (1 + np.exp(-h)) - 0.7) ** 2)
    figure = cliff_figure(steps=12, start=5.99, rate=0.1, limit=1.0)
    slope = (cliff(np.array([5.99 + 1e-6]), 12)[0] - cliff(np.array([5.99 - 1e-6]), 12)[0]) / 2e-6
    assert f"gradient is {slope:.1f}" in figure.get_label() and "a clipped one to 6.09" in figure.get_label()
    assert f"w = {5.99 - 0.1 * slope:.2f}" in figure.get_label()


def test_the_border_map_hides_what_is_exactly_zero():
    one = torch.tensor([[1.0, 0.0], [0.0, 0.1]])
    figure = border_figure({"cut": one}, ["the", "gulls"], border=1)
    image = figure.axes[0].images[0].get_array()
    assert image.mask.tolist() == [[False, True], [True, False]] and image[1, 1] == pytest.approx(0.1)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["the", "gulls"]


def test_reach_is_relative_to_the_last_word_and_averaged_on_the_logarithmic_scale():
    figure = reach_figure({"LSTM": [[2.0, 1.0], [1.0, 0.125]]})
    heights = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert heights == [[1, 0.5], [1, 0.125], pytest.approx([1, 0.25])]


def test_the_cells_diagram_names_all_that_the_equations_have():
    written = {text.get_text() for text in cell_figure().axes[0].texts}
    for symbol in ("$c_{t-1}$", "$c_t$", "$h_{t-1}$", "$h_t$", "$x_t$", "$f$", "$i$", "$g$", "$o$", "×", "+"):
        assert symbol in written, symbol
    assert "$c_t = f\\,c_{t-1} + i\\,g$" in written


def test_the_boxes_of_the_diagram_have_the_squashing_that_the_equations_have():
    texts = {text.get_text(): text.get_position() for text in cell_figure().axes[0].texts}
    assert texts["$g$"][0] < texts["$o$"][0] and texts["$f$"][0] < texts["$i$"][0] < texts["$g$"][0]
    tanhs = [t.get_position()[0] for t in cell_figure().axes[0].texts if t.get_text() == "tanh"]
    assert min(abs(x - texts["$g$"][0]) for x in tanhs) < 0.5 and len(tanhs) == 2


def test_agreement_is_the_records():
    record = read("lstm")
    figure = agreement_figure(record)
    left, right = figure.axes
    rows = [row for row in record["runs"]["rnn-2"]["agreement"] if row[1] == 1 and row[2] >= FEWEST]
    shares = [row[3] / row[2] for row in rows]
    assert any(np.allclose(line.get_ydata(), shares) for line in left.lines if len(line.get_ydata()) == len(shares))
    stretched = [record["runs"][f"lstm-{seed}"]["stretched"] for seed in record["seeds"]]
    assert any(np.allclose(line.get_ydata(), np.mean(stretched, 0)) for line in right.lines
               if len(line.get_ydata()) == len(stretched[0]))  # fmt: skip
    assert f"{np.mean(stretched, 0)[-1]:.0%} for LSTM," in figure.get_label()
    worse = copy.deepcopy(record)
    worse["runs"]["lstm-1"]["stretched"][-1] = 0.0
    assert agreement_figure(worse).get_label() != figure.get_label()


def test_distances_with_few_verbs_are_left_out():
    table = [[4, 1, FEWEST, FEWEST], [5, 1, FEWEST - 1, 3], [6, 0, 100, 50]]
    assert accuracy(table, attractor=True) == {4: 1.0} and accuracy(table, attractor=False) == {6: 0.5}


def test_the_unit_and_the_lesson_draw_what_they_are_given():
    cells = torch.tensor([[0.0, 1.0, 0.5], [0.0, -1.0, -2.0]])
    heights = [list(line.get_ydata()) for line in unit_figure(list("abc"), cells, ("x", "y"), 3).axes[0].lines]
    assert cells[0].tolist() in heights and cells[1].tolist() in heights
    shared = {"updates": 90, "seconds": 2.0, "averaging": False, "averaging_began": None}
    history = [EpochRecord(epoch=e, train_loss=4.0 - e, valid_loss=3.0, **shared) for e in (1, 2)]
    left, right = lesson_figure(history, 15.0, {5: 0.9, 10: 0.4}).axes
    assert any(np.allclose(line.get_ydata(), np.exp([3.0, 2.0])) for line in left.lines if len(line.get_ydata()) == 2)
    assert any(np.allclose(line.get_ydata(), [0.9, 0.4]) for line in right.lines)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: direct_path(torch.ones(3)), "forget has shape"),
    (lambda: border_figure({}, [], 0), "the largest gradient is 0.0; it must be positive"),
    (lambda: border_figure({"a": torch.zeros(2, 2)}, ["a", "b"], 1), "the largest gradient is 0.0"),
    (lambda: border_figure({"a": torch.ones(2, 2)}, ["a"], 1), "a row and a column for each word"),
    (lambda: border_figure({"a": torch.ones(1, 1)}, ["a"], 2), "border is 2"),
    (lambda: reach_figure({"LSTM": [[1.0, 2.0], [1.0]]}), "give runs of one length"),
    (lambda: reach_figure({"LSTM": [[0.0, 2.0]]}), "begin above zero"),
    (lambda: reach_figure({"LSTM": []}), "give runs"),
    (lambda: cliff(np.array([6.0]), -1), "steps is -1"), (lambda: cliff_figure(12, np.nan, 0.1, 1.0), "start is nan"),
    (lambda: cliff_figure(12, 5.9, 0.1, 0.0), "limit is 0.0"),
    (lambda: cliff_figure(12, 5.9, -0.1, 1.0), "rate is -0.1"),
    (lambda: unit_figure(["a"], torch.zeros(3, 2), ("a", "b"), 1), "a row for each sentence"),
    (lambda: lesson_figure([], 15.0, {5: 0.5}), "history is empty"),
    (lambda: journeys(0.0, 1.0), "gain is 0.0"), (lambda: journeys(1.0, np.inf), "forget_bias is inf"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_the_cliff_is_where_the_chapter_says_and_its_factor_too():
    """At w = 6 the unit stays at 0, where a deviation grows by 1.5 a step; left of it the loss is high, right low."""
    assert cliff(np.array([6.0]), 12)[0] == pytest.approx((0.5 - 0.7) ** 2)
    assert 6 * 0.5 * (1 - 0.5) == 1.5
    loss = cliff(np.array([5.9, 6.1, 7.56]), 12)
    assert loss[0] > 0.35 and loss[1] < 0.1 and loss[2] < 0.1, "a flat plain to land on"
