"""Pictures of memory: the gates of a cell, recurrent masks, and where the parameters are, each computed another way."""

import math
import re
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from awdlib.explore import explorable, slider
from awdlib.figures import gates, parameters, recurrent_masks
from awdlib.figures.style import MUTED, colour
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS

# --- the gates of one cell ---

CELLS = [(3, 1.0, 0.0), (0, 0.5, 1.0), (5, 1.0, 1.0), (1, 0.3, -1.0), (2, 1.0, 0.5)]


def torch_cell(forget_bias, pulse, recurrent):
    """(h, c) of each step by torch's own cell."""
    cell = nn.LSTMCell(1, 1, dtype=torch.float64)
    with torch.no_grad():
        cell.weight_ih.copy_(torch.tensor([[8.0], [0.0], [2.0], [0.0]]))
        cell.weight_hh.fill_(recurrent)
        cell.bias_ih.copy_(torch.tensor([-4.0, forget_bias, 0.0, 1.0]))
        cell.bias_hh.zero_()
        state, states = None, []
        for step in range(-3, 41):
            x = torch.full((1, 1), pulse if step == 0 else 0.0, dtype=torch.float64)
            state = cell(x, state)
            states.append([part.item() for part in state])
    return np.array(states).T


@pytest.mark.parametrize("setting", CELLS)
def test_the_cell_is_torchs(setting):
    figure = gates.gates_figure(*setting)
    hidden, cell = torch_cell(*setting)
    np.testing.assert_allclose(figure.data[4].y, cell, atol=1e-12)
    np.testing.assert_allclose(figure.data[5].y, hidden, atol=1e-12)
    assert list(figure.data[4].x) == list(range(-3, 41)) == list(figure.data[0].x)


@pytest.mark.parametrize("setting", CELLS)
def test_the_gates_are_the_equations(setting):
    forget_bias, pulse, recurrent = setting
    hidden, _ = torch_cell(*setting)
    strips = [np.asarray(trace.z)[0] for trace in gates.gates_figure(*setting).data[:4]]
    h_before = 0.0
    for step, h in enumerate(hidden):
        x = pulse if step == 3 else 0.0
        sums = [8 * x - 4 + recurrent * h_before, forget_bias + recurrent * h_before, 1 + recurrent * h_before]
        assert strips[0][step] == x
        for strip, total in zip(strips[1:], sums, strict=True):
            assert strip[step] == pytest.approx(1 / (1 + math.exp(-total)), abs=1e-12)
        h_before = h


def test_a_cells_colours_are_its_roles():
    data = gates.gates_figure(3, 1.0, 0.0).data
    full = [trace.colorscale[-1][1] for trace in data[:4]] + [trace.line.color for trace in data[4:6]]
    assert full == [MUTED, *map(colour, ("input", "forget", "output", "cell", "hidden"))]
    assert all((trace.zmin, trace.zmax) == (0, 1) for trace in data[:4])


@pytest.mark.parametrize(("forget_bias", "pulse"), [*product([0, 1, 2, 3], [0.3, 1.0])])
def test_without_a_recurrent_weight_the_half_life_has_a_closed_form(forget_bias, pulse):
    closed = math.log(0.5) / math.log(1 / (1 + math.exp(-forget_bias)))
    trace = gates.run_cell(forget_bias, pulse, 0.0)
    assert gates.half_life(trace.cell) == pytest.approx(closed, rel=1e-9)
    figure = gates.gates_figure(forget_bias, pulse, 0.0)
    line, dot, label = figure.data[6], figure.data[7], figure.layout.annotations[0]
    half = trace.cell.max() / 2
    assert [*line.x] == pytest.approx([0, closed, closed]) and [*line.y][:2] == pytest.approx([half, half])
    assert (dot.x[0], dot.y[0], label.x) == pytest.approx((closed, half, closed))
    assert label.text == f"<b>half-life {closed:.1f} steps</b>"
    alt = figure.layout.meta["alt"]
    assert f"to half of it in {closed:.1f} steps" in alt and alt.endswith(f" = {closed:.1f}.")


def test_half_life_of_traces_made_by_hand():
    assert gates.half_life(np.array([0, 0, 1, 0.9, 0.6, 0.3])) == pytest.approx(2 + math.log(1.2) / math.log(2))
    assert gates.half_life(np.array([0, 1, 2, 3.0])) is None
    assert gates.half_life(np.array([1, 4, 3, 2.0, 3, 1])) == 2
    assert 0 < gates.half_life(np.array([1.0, -1.0])) < 1
    with pytest.raises(ValueError, match="stronger pulse"):
        gates.half_life(np.zeros(4))


def test_a_memory_that_lasts_is_said_to():
    figure = gates.gates_figure(5, 1.0, 0.0)
    assert figure.layout.annotations[0].text == "<b>half-life: more than 40 steps</b>" and np.isnan(figure.data[7].x[0])
    assert "in 40 steps the cell does not fall to half" in figure.layout.meta["alt"]
    assert figure.layout.meta["alt"].endswith("= 103.2.")  # log(1/2) / log(sigmoid(5))
    assert gates.half_life(gates.run_cell(3, 1.0, 0.0).cell) and not gates.half_life(gates.run_cell(3, 1.0, 1.0).cell)


@pytest.mark.parametrize("setting", CELLS)
def test_the_numbers_beside_the_gates_are_the_last_ones(setting):
    figure = gates.gates_figure(*setting)
    beside = {(note.text, note.font.color) for note in figure.layout.annotations}
    for trace, role in zip(figure.data[1:4], ("input", "forget", "output"), strict=True):
        assert (f"{np.asarray(trace.z)[0][-1]:.2f}", colour(role)) in beside
    gate = np.asarray(figure.data[2].z)[0][-1]
    assert f"rests at {gate:.5f}" in figure.layout.meta["alt"] or f"ends at {gate:.3f}" in figure.layout.meta["alt"]
    assert f"{np.max(figure.data[4].y):.2f}" in figure.layout.meta["alt"]


def test_no_line_reaches_the_label():
    for forget_bias, recurrent in product([0, 5], [-1.0, 1.0]):
        figure = gates.gates_figure(forget_bias, 1.0, recurrent)
        assert max(figure.data[4].y) < 0.85 * figure.layout.yaxis5.range[1]
        assert 0 <= min(figure.data[5].y) and max(figure.data[5].y) <= 1


@pytest.mark.parametrize("wrong", [math.nan, "3", True, math.inf])
def test_a_cell_wants_finite_numbers(wrong):
    for place, name in enumerate(("forget_bias", "pulse", "recurrent")):
        setting: list = [3.0, 1.0, 0.0]
        setting[place] = wrong
        with pytest.raises(ValueError, match=f"{name} is"):
            gates.gates_figure(*setting)


def test_a_pulse_that_writes_nothing_is_refused():
    with pytest.raises(ValueError, match="stronger pulse"):
        gates.gates_figure(3, -1.0, 0.0)


# --- masks on the recurrent path ---


def naive(way, p, state, seed):
    """The cells by loops over numbers; the random tensors in the order in which the library draws them."""
    n, steps = 24, 30
    draw = torch.Generator().manual_seed(seed)
    layer = recurrent_masks.LSTMLayer(1, n, generator=draw)
    values = torch.randint(2, (1, n), generator=draw)[0]
    w = layer.weight_hh.detach().double().numpy().copy()
    if way == "weight":
        w *= recurrent_masks.keep_mask((4 * n, n), p, generator=draw).numpy().astype(float)
    rows = {"fresh": steps, "locked": 1}.get(way, 0)
    masks = recurrent_masks.keep_mask((rows, n), p, generator=draw, dtype=torch.float64).numpy() if rows else None
    c = [2.0 * v - 1 for v in values.tolist()]
    h = [0.5 * math.tanh(v) for v in c]
    seen = [list(c)]
    for t in range(steps):
        m = masks[t if way == "fresh" else 0] if rows else np.ones(n)
        h = [h[k] * m[k] for k in range(n)]
        c = [c[k] * m[k] for k in range(n)] if state == "c and h" else c
        i, f, g, o = ([sum(w[gate * n + k][j] * h[j] for j in range(n)) for k in range(n)] for gate in range(4))
        c = [c[k] / (1 + math.exp(-f[k] - 3)) + math.tanh(g[k]) / (1 + math.exp(6 - i[k])) for k in range(n)]
        h = [math.tanh(c[k]) / (1 + math.exp(-o[k])) for k in range(n)]
        seen.append(list(c))
    return np.array(seen)


@pytest.mark.parametrize(
    ("way", "state"), [*product(["fresh", "locked"], recurrent_masks.PARTS), ("weight", "c and h")]
)
def test_the_cells_hold_as_a_naive_loop_says(way, state):
    cells = recurrent_masks.hold(way, 0.25, state, seed=2).numpy()
    np.testing.assert_allclose(cells, naive(way, 0.25, state, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_masks_on_the_cell_leave_what_the_closed_form_says(p):
    # sixty layers of 24 cells; five standard deviations of a share
    for way, steps in product(["fresh", "locked"], [1, 2, 4]):
        counts = [
            recurrent_masks.remembers(recurrent_masks.kept(way, p, "c and h", seed))[:, steps].sum()
            for seed in range(60)
        ]
        share = (1 - p) ** (steps if way == "fresh" else 1)
        deviation = 5 * (share * (1 - share) / (60 * 24)) ** 0.5
        assert abs(np.mean(counts) / 24 - share) < deviation
        assert recurrent_masks.expected(way, p)[steps] == pytest.approx(24 * share)


@pytest.mark.parametrize("way", ["fresh", "locked"])
def test_what_survives_a_mask_is_too_large_by_its_scale(way):
    ratio = recurrent_masks.kept(way, 0.2)
    alive = recurrent_masks.remembers(ratio)
    for step in (1, 5, 8):
        assert np.median(ratio[alive[:, step], step]) == pytest.approx(1.25**step, rel=0.05)
    lost = ratio[~alive[:, 8], 8]
    assert len(lost) and np.abs(lost).max() < 0.05


def test_what_does_not_touch_the_cell_lets_it_remember():
    for way, state in (("weight", "c and h"), ("fresh", "h alone"), ("locked", "h alone")):
        ratio = recurrent_masks.kept(way, 0.5, state)
        assert recurrent_masks.remembers(ratio).all() and not np.allclose(ratio, 1, atol=1e-3)
        assert (recurrent_masks.expected(way, 0.5, state) == 24).all()
    np.testing.assert_array_equal(
        recurrent_masks.kept("weight", 0.5, "h alone"), recurrent_masks.kept("weight", 0.5, "c and h")
    )


def test_a_locked_mask_loses_its_cells_at_once_and_for_good():
    alive = recurrent_masks.remembers(recurrent_masks.kept("locked", 0.5))
    assert (alive[:, 1:] == alive[:, 1:2]).all() and 0 < alive[:, 1].sum() < 24


def test_what_has_been_lost_once_stays_lost():
    ratio = np.array([[1.0, 0.5, 0.49, 2.0], [0.4, 1.0, 1.0, 1.0]])
    assert recurrent_masks.remembers(ratio).tolist() == [[True, True, False, False], [False] * 4]


def test_the_weights_are_dropped_once():
    first, second = recurrent_masks.hold("weight", 0.5, seed=5), recurrent_masks.hold("weight", 0.5, seed=6)
    assert not torch.equal(first.abs(), second.abs())
    decay = (first[1:] / first[:-1]).numpy()
    assert np.abs(np.diff(decay, axis=0)).max() < 0.02  # a mask a step would make it jump


PICTURES = [(0.2, 10, "c and h"), (0.5, 5, "c and h"), (0.8, 30, "h alone"), (0.0, 1, "c and h")]


@pytest.mark.parametrize(("p", "steps", "state"), PICTURES)
def test_the_picture_of_the_masks(p, steps, state):
    figure = recurrent_masks.masks_figure(p, steps, state)
    notes = figure.layout.annotations
    for number, way in enumerate(recurrent_masks.WAYS):
        cells, line, mark = figure.data[3 * number : 3 * number + 3]
        ratio = recurrent_masks.hold(way, p, state).numpy() / recurrent_masks.hold("none", 0.0).numpy()
        drawn = np.sort(np.asarray(cells.z), axis=0)
        np.testing.assert_allclose(drawn, np.sort(np.log10(np.clip(ratio.T, 0.1, 1000)), axis=0), atol=1e-12)
        lives = (np.cumsum(np.asarray(cells.z) < math.log10(0.5), axis=1) == 0).sum(1)
        assert (np.diff(lives) <= 0).all()  # sorted, so that their upper edge is the survival curve
        np.testing.assert_allclose(line.y, recurrent_masks.expected(way, p, state))
        assert [*mark.x] == [steps, steps]
        alive = (np.minimum.accumulate(ratio, axis=0)[steps] >= 0.5).sum()
        words = notes[2 * number + 1].text
        assert words == "none left" if alive == 0 else words.startswith(f"{alive} of 24 left, values × ")
        assert words in figure.layout.meta["alt"]
        if state == "c and h" and alive and way != "weight" and p > 0:
            size = 1 / (1 - p) ** (steps if steps < 30 else 0)
            assert float(words.split("× ")[1].replace(",", "")) == pytest.approx(size, rel=0.06)


def test_the_words_for_what_is_left():
    assert recurrent_masks._words(0, 0.0) == "none left"
    assert [recurrent_masks._words(3, factor).split("× ")[1] for factor in (0.98, 9.94, 1234.5, 2e5, 3e12)] == [
        "1.0", "9.9", "1,234", "10⁵", "10¹²",
    ]  # fmt: skip


def test_the_label_of_the_curve_is_there_where_there_is_a_curve():
    label = {setting: recurrent_masks.masks_figure(*setting).layout.annotations[-1].text
             for setting in ((0.2, 5, "c and h"), (0.0, 5, "c and h"), (0.2, 5, "h alone"))}  # fmt: skip
    assert [*label.values()] == ["expected: (1 − p)ᵗ", "", ""]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recurrent_masks.hold("ordinary", 0.5), "way is 'ordinary'; it must be one of fresh, locked"),
        (lambda: recurrent_masks.hold("fresh", 1.0), r"p is 1.0; it must lie in \[0, 1\)"),
        (lambda: recurrent_masks.expected("fresh", 0.5, "c"), "state is 'c'; it must be one of c and h"),
        (lambda: recurrent_masks.masks_figure(0.5, 0), "steps is 0; it must be at least 1"),
        (lambda: recurrent_masks.masks_figure(0.5, 31), "steps is 31; it must be at most 30"),
    ],
)
def test_masks_that_cannot_be(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- where the parameters are ---


def by_hand(hidden, embedding, gates_of_the_cell, tied, vocab=10_000, layers=3):
    """(input to hidden, hidden to hidden, biases) of each layer, and the softmax, by the formulas of the text."""
    sizes = [embedding] + [hidden] * (layers - 1) + [embedding if tied else hidden]
    rows = [
        (gates_of_the_cell * out * into, gates_of_the_cell * out * out, 2 * gates_of_the_cell * out)
        for into, out in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    return rows, 0 if tied else vocab * hidden


SIZES = [*product([200, 1150], [400, 650], ["lstm", "gru", "rnn"], [True, False])]


@pytest.mark.parametrize(("hidden", "embedding", "cell", "tied"), SIZES)
def test_counts_are_the_formulas(hidden, embedding, cell, tied):
    config = ModelConfig(hidden_size=hidden, embedding_size=embedding, cell=cell, tied=tied)
    counts = parameters.count_parameters(config)
    rows, softmax = by_hand(hidden, embedding, {"lstm": 4, "gru": 3, "rnn": 1}[cell], tied)
    assert [*counts] == ["embedding", "layer 1", "layer 2", "layer 3", "softmax"]
    assert counts["embedding"] == {"words": 10_000 * embedding}
    assert [tuple(counts[f"layer {n}"][kind] for kind in ("weight_ih", "weight_hh", "bias")) for n in (1, 2, 3)] == rows
    assert counts["softmax"] == ({"bias": 10_000} | ({} if tied else {"words": softmax}))


@pytest.mark.parametrize(("cell", "tied", "layers"), [*product(["lstm", "gru", "rnn"], [True, False], [1, 2, 4])])
def test_counts_add_up_to_a_model_that_is_built(cell, tied, layers):
    config = ModelConfig(vocab_size=50, embedding_size=6, hidden_size=9, num_layers=layers, cell=cell, tied=tied)
    counts = parameters.count_parameters(config)
    built = LanguageModel(config)
    assert sum(sum(part.values()) for part in counts.values()) == sum(weight.numel() for weight in built.parameters())
    masked = sum(layer.weight_hh.numel() for layer in built.layers)
    assert sum(part.get("weight_hh", 0) for part in counts.values()) == masked
    assert built.embedding.device.type == "cpu"


def test_the_papers_models_have_the_papers_sizes():
    totals = {"awd-lstm-ptb": 24_221_600, "awd-lstm-wt2": 33_556_078, "awd-gru-ptb": 19_168_700}
    for name, total in totals.items():
        counts = parameters.count_parameters(PRESETS[name].model)
        assert sum(sum(part.values()) for part in counts.values()) == total


@pytest.mark.parametrize(("hidden", "embedding", "cell", "tied"), SIZES)
def test_the_bars_are_the_formulas(hidden, embedding, cell, tied):
    figure = parameters.parameters_figure(hidden, embedding, cell, tied)
    shared, *traces = figure.data
    rows, softmax = by_hand(hidden, embedding, {"lstm": 4, "gru": 3, "rnn": 1}[cell], tied)
    expected = {4: {"word matrices": 10_000 * embedding}, 0: {"word matrices": softmax, "biases": 10_000}}
    names = ("input to hidden", "hidden to hidden", "biases")
    expected |= {3 - n: dict(zip(names, row, strict=True)) for n, row in enumerate(rows)}
    ends: dict = {}
    for trace in traces:
        x, y = np.asarray(trace.x, float).reshape(-1, 6), np.asarray(trace.y, float).reshape(-1, 6)
        for (left, right, right_again, *_), (low, _, high, *_) in zip(x, y, strict=True):
            row = int(low)
            assert right == right_again and row < low < high < row + 0.5
            assert right - left == pytest.approx(expected[row].get(trace.name, 0) / 1e6, abs=1e-9)
            assert left == pytest.approx(ends.get(row, 0.0))  # it begins where the piece before it ends
            ends[row] = right
    assert ends == pytest.approx({row: sum(parts.values()) / 1e6 for row, parts in expected.items()})
    assert shared.x[1] == pytest.approx(10_000 * embedding / 1e6 if tied else 0) and int(shared.y[0]) == 0
    assert figure.layout.xaxis.range[1] >= max(ends.values())


@pytest.mark.parametrize(("hidden", "embedding", "cell", "tied"), SIZES)
def test_the_words_of_the_bars(hidden, embedding, cell, tied):
    figure = parameters.parameters_figure(hidden, embedding, cell, tied)
    rows, softmax = by_hand(hidden, embedding, {"lstm": 4, "gru": 3, "rnn": 1}[cell], tied)
    total = 10_000 * embedding + softmax + 10_000 + sum(map(sum, rows))
    masked, recurrent = sum(row[1] for row in rows), sum(map(sum, rows))
    texts = [note.text for note in figure.layout.annotations]
    assert texts[:2] == [f"<b>{total / 1e6:.1f} M parameters</b>", f"weight drop masks {masked / 1e6:.1f} M"]
    heads = [text for text in texts if re.match("<b>(layer|soft|emb)", text)]
    last = embedding if tied else hidden
    assert heads == [
        f"<b>embedding</b> 10,000 × {embedding:,}",
        f"<b>layer 1</b> {embedding:,} → {hidden:,}", f"<b>layer 2</b> {hidden:,} → {hidden:,}",
        f"<b>layer 3</b> {hidden:,} → {last:,}",
        "<b>softmax</b> " + ("shares the embedding" if tied else f"10,000 × {hidden:,}"),
    ]  # fmt: skip
    for own in map(sum, rows):
        assert f"{own / 1e6:.1f} M, {own / total:.0%}" in texts
    for note in figure.layout.annotations:
        if note.xref == "x" and note.text:  # a piece's number lies in its middle
            row = rows[3 - int(note.y)]
            place = 0 if note.text == f"{row[0] / 1e6:.1f}" and note.x < row[0] / 1e6 else 1
            assert note.text == f"{row[place] / 1e6:.1f}"
            assert note.x == pytest.approx((row[0] / 2 if place == 0 else row[0] + row[1] / 2) / 1e6)
    alt = figure.layout.meta["alt"]
    assert f"{total:,} parameters, {recurrent / total:.0%} of them" in alt and f"masks {masked:,}," in alt
    assert alt.startswith(f"{'Tied' if tied else 'Untied'} {cell.upper()}, H = {hidden:,}, E = {embedding:,}")


def test_large_pieces_carry_their_numbers_and_the_largest_bar_fits():
    texts = [note.text for note in parameters.parameters_figure(1150, 400, "lstm", True).layout.annotations]
    assert texts.count("5.3") == 3 and texts.count("1.8") == 2 and "10,000 biases" in texts
    assert parameters.parameters_figure(1500, 400, "lstm", True).layout.xaxis.range[1] == parameters.LARGEST
    assert parameters.parameters_figure(2000, 400, "lstm", True).layout.xaxis.range[1] > 32


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match="hidden_size is 0; it must be at least 1"):
        parameters.parameters_figure(0, 400, "lstm", True)
    with pytest.raises(ValueError, match="cell is 'gpt'; it must be one of lstm, gru, rnn"):
        parameters.parameters_figure(200, 400, "gpt", True)


def test_all_three_become_explorables():
    made = [
        explorable(gates.gates_figure, forget_bias=slider(1, 3, 2, 3), pulse=slider(0.5, 1.0, 0.5, 1.0),
                   recurrent=slider(0, 1, 1, 0)),
        explorable(lambda p: recurrent_masks.masks_figure(p, 10), p=slider(0.0, 0.4, 0.2, 0.2)),
        explorable(lambda h: parameters.parameters_figure(h, 400, "gru", False), h=slider(200, 600, 200, 400)),
    ]  # fmt: skip
    for one in made:
        assert len(one.data) < 60_000 and one.decoded()["alt"] in one.html
