"""The pictures of what came after AWD-LSTM show what an independent computation finds."""

import math

import numpy as np
import pytest
import torch

from awdlib.figures.beyond import (
    COUNTED,
    LAYERS,
    LENGTHS,
    LSTM_SIZES,
    WIDTH,
    cost,
    cost_figure,
    dynamic_figure,
    shuffle_figure,
    shuffled,
)
from awdlib.figures.beyond_records import REPORTED, gains_figure, reading_figure, reported_figure, spectra_figure
from awdlib.figures.streams import stream
from awdlib.model import LanguageModel, ModelConfig


def test_the_columns_shown_are_rotations_and_the_seam_is_where_they_begin_anew():
    for epoch in range(9):
        places, figure = shuffled(epoch), shuffle_figure(epoch)
        cells, words, seams, _ = figure.data
        assert np.asarray(cells.z).shape == (11, 4)
        shown = np.array(words.text).reshape(11, 4)
        seam_rows = np.array(seams.y).reshape(4, 3)[:, 0]
        for column in range(4):
            found = places[:, column].tolist()
            assert sorted(found) == [*range(11 * column, 11 * column + 11)]
            breaks = [row for row in range(1, 11) if found[row] != found[row - 1] + 1]
            assert len(breaks) == (found[0] != 11 * column)
            if breaks:
                assert seam_rows[column] == breaks[0] - 0.5
            else:
                assert math.isnan(seam_rows[column])
            due = [stream()[place].replace("<", "‹").replace(">", "›") for place in found]
            assert shown[:, column].tolist() == due
        row, _ = (places == 0).nonzero()[0].tolist()
        alt = figure.layout.meta["alt"]
        assert f"row {row + 1}:" in alt and all(word in alt for word in shown[row] if word != "many")
    assert len({tuple(shuffled(epoch).flatten().tolist()) for epoch in range(9)}) == 9


def test_dynamic_figure_adds_up_the_gains():
    cells = [
        {"lr": 0.1, "decay": 0.0, "loss": 2.0, "gains": [1.0, -3.0]},
        {"lr": 0.2, "decay": 0.0, "loss": 1.9, "gains": [5.0, 7.0]},
        {"lr": 0.4, "decay": 0.0, "loss": None},
    ]
    record = {"runs": [{"valid": 9.0}, {"tuned": {"still": 2.3, "bin": 50, "rms": cells}}]}
    figure = dynamic_figure(0.2, 0.0, record)
    assert list(figure.data[-1].y) == [0, 5, 12] and list(figure.data[-1].x) == [0, 50, 100]
    assert "12 nats gained by the end, perplexity 10.0 becomes 6.7" in figure.layout.meta["alt"]
    assert "2 nats lost" in dynamic_figure(0.1, 0.0, record).layout.meta["alt"]
    for lr, given in ((0.4, record), (0.3, record), (0.2, {"runs": []})):
        with pytest.raises(ValueError, match="no step"):
            dynamic_figure(lr, 0.0, given)


def test_the_cost_of_a_word_is_that_of_the_layers():
    with torch.device("meta"):
        paper = LanguageModel(ModelConfig())
        layer = torch.nn.TransformerEncoderLayer(WIDTH, 8, 4 * WIDTH)
    assert tuple(ModelConfig().layer_sizes()) == LSTM_SIZES
    matrices = [w.numel() for one in paper.layers for w in one.parameters() if w.dim() == 2]
    of_transformer = LAYERS * sum(w.numel() for w in layer.parameters() if w.dim() == 2)
    assert abs(of_transformer / sum(matrices) - 1) < 0.06
    for n in LENGTHS:
        lstm, transformer = cost("LSTM", n), cost("transformer", n)
        assert lstm.operations == 2 * sum(matrices) and lstm.steps == n + 2
        assert lstm.kept == sum(part.numel() for state in paper.initial_states(1) for part in state)
        keys = torch.zeros(n if n <= 1000 else 1, 2, LAYERS, WIDTH, device="meta")
        assert transformer.kept == keys.numel() * (1 if n <= 1000 else n)
        scores_and_sums = LAYERS * 2 * (2 * WIDTH * n)  # a product of n keys, and a sum of n values
        assert transformer.operations == 2 * of_transformer + scores_and_sums and transformer.steps == LAYERS
    for wrong in (("lstm", 10), ("LSTM", 0), ("LSTM", 1.5)):
        with pytest.raises(ValueError):
            cost(*wrong)


def test_cost_figure_shows_each_cost():
    for counted in COUNTED:
        for length in LENGTHS:
            figure = cost_figure(counted, length)
            for number, kind in enumerate(("LSTM", "transformer")):
                line, mark = figure.data[2 * number : 2 * number + 2]
                assert list(line.y) == [getattr(cost(kind, n), counted) for n in LENGTHS]
                assert list(mark.x) == [length] and list(mark.y) == [getattr(cost(kind, length), counted)]
                assert f"{kind} {mark.y[0]:,}" in figure.layout.meta["alt"]
            assert f"{length:,} word{'s' * (length > 1)}," in figure.layout.meta["alt"]
    for wrong in ("words", None, ["kept"]):
        with pytest.raises(ValueError, match="counted"):
            cost_figure(wrong, 10)


def test_reported_perplexities_are_all_drawn():
    figure = reported_figure()
    for axes, corpus in zip(figure.axes, ("ptb", "wt2"), strict=True):
        dots = [(line.get_xdata()[0] if np.ndim(line.get_xdata()) else line.get_xdata()) for line in axes.lines]
        assert [float(dot) for dot in dots] == [getattr(model, corpus)[0] for model in REPORTED]
        low, high = axes.get_xlim()
        for model in REPORTED:
            still, moving = getattr(model, corpus)
            assert low < (moving or still) <= still < high
    assert REPORTED[0].ptb[0] == 57.3 and REPORTED[0].wt2[0] == 65.8
    assert [model.year for model in REPORTED] == sorted(model.year for model in REPORTED)


def test_spectra_count_what_is_above_a_millionth():
    figure = spectra_figure({"a": [10.0, 2.0, 1.1e-5, 9e-6]}, limit=2)
    assert "a 3." in figure.get_label()
    assert np.allclose(figure.axes[0].lines[0].get_ydata(), [1, 0.2, 1.1e-6, 9e-7])
    for wrong, why in (({}, "matrices"), (dict.fromkeys("abcd", [1.0]), "matrices"), ({"a": []}, "nothing to draw")):
        with pytest.raises(ValueError, match=why):
            spectra_figure(wrong, limit=2)


def test_gains_are_means_of_the_seeds_and_readings_sums():
    figure = gains_figure({"one": [[1.0, 2.0], [3.0, 4.0]], "two": [[0.0, -1.0], [0.0, -3.0]]}, ["a", "b"])
    assert [round(float(bar.get_width()), 6) for bar in figure.axes[0].patches] == [2, 3, 0, -2]
    with pytest.raises(ValueError, match="ways"):
        gains_figure({}, ["a"])
    for wrong in ([], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="one number for each"):
            gains_figure({"one": wrong}, ["a"])
    still, moving = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([-2.0, -1.0, -1.0])
    line = reading_figure(still, moving).axes[0].lines[0]
    assert line.get_ydata().tolist() == [-1, 0, 2] and line.get_xdata().tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="moving"):
        reading_figure(still, moving[:2])
    with pytest.raises(ValueError, match="empty"):
        reading_figure(still[:0], moving[:0])
