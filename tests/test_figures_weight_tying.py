"""Pictures of tying, each number computed another way."""

import json
import math
import statistics

import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures import weight_tying as figures
from awdlib.model import LanguageModel, ModelConfig

RECORD = json.loads(bundled("runs/weight-tying.json").read_text(encoding="utf-8"))


def parameters(**sizes):
    with torch.device("meta"):
        return sum(weight.numel() for weight in LanguageModel(ModelConfig(**sizes)).parameters())


def trace(figure, mode):
    return [trace for trace in figure.data if trace.mode == mode][-1]


@pytest.mark.parametrize(("embedding", "hidden", "layers"), [(400, 1150, 3), (50, 200, 1), (1150, 650, 2)])
def test_the_saved_part_is_that_of_real_models(embedding, hidden, layers):
    figure = figures.saving_figure(embedding, hidden, layers)
    dots = trace(figure, "markers")
    for x, y, note in zip(dots.x, dots.y, figure.layout.annotations, strict=False):
        tied = parameters(vocab_size=int(x), embedding_size=embedding, hidden_size=hidden, num_layers=layers)
        untied = tied + int(x) * embedding
        assert y == pytest.approx(100 * (untied - tied) / untied)
        assert note.text.endswith(f"<br>{tied / 1e6:.1f} M")
    assert max(trace(figure, "lines").y) < 50


def test_the_marked_vocabularies_are_those_of_the_corpora():
    assert figures.VOCABULARIES["toy"] == len(load_corpus("toy").vocabulary)
    assert figures.VOCABULARIES["PTB"] == ModelConfig().vocab_size
    assert (figures.VOCABULARIES["WT-2"], figures.VOCABULARIES["WT-103"]) == (33_278, 267_735)  # as published


def test_of_the_papers_model_tying_saves_a_seventh_on_penn_treebank_and_more_than_a_quarter_on_wikitext():
    dots = dict(zip(figures.VOCABULARIES, trace(figures.saving_figure(400, 1150, 3), "markers").y, strict=True))
    assert round(100 / dots["PTB"]) == 7 and 25 < dots["WT-2"] < 30 and dots["toy"] < 3


@pytest.mark.parametrize("arguments", [(0, 5, 1), (5, 2.5, 1), (5, 5, 0)])
def test_sizes_that_are_none_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        figures.saving_figure(*arguments)


@pytest.mark.parametrize("matrix", figures.MATRICES)
@pytest.mark.parametrize("often", ["all", "10 times or more", "less than 10 times"])
@pytest.mark.parametrize("moment", [0, len(RECORD["moments"])])
def test_the_map_shows_the_words_asked_for_where_the_record_has_them(matrix, often, moment):
    figure = figures.word_map_figure(matrix, moment, often)
    kept = next(run["map"] for run in RECORD["runs"] if "map" in run)[matrix][moment]
    drawn, shown = RECORD["drawn"], []
    for group in figures.KINDS:
        (dots,) = [trace for trace in figure.data if trace.name == group]
        members = [at for at, name in enumerate(drawn["groups"]) if name == group]
        assert len(members) == len(dots.x)
        for at, x, y in zip(members, dots.x, dots.y, strict=True):
            visible = {"all": True, "10 times or more": drawn["counts"][at] >= 10}.get(often, drawn["counts"][at] < 10)
            assert ([x, y] == kept[at]) if visible else (math.isnan(x) and math.isnan(y))
            if visible:
                shown.append((x, y, group))
        assert np.nanmax(np.abs([dots.x, dots.y]), initial=0) <= figure.layout.xaxis.range[1]
    same = 0
    for one in shown:
        others = [other for other in shown if other is not one]
        same += min(others, key=lambda other: math.dist(one[:2], other[:2]))[2] == one[2]
    sentence = figure.layout.meta["alt"]
    assert (
        sentence.startswith(f"{len(shown)} rows") and abs(same / len(shown) - _percent(sentence)) < 0.03
    )  # rounded points may be equally near


def _percent(sentence):
    return float(sentence.partition("same group for ")[2].partition("%")[0]) / 100


def test_a_map_that_is_not_there_is_refused():
    for arguments, message in {("tied", 0, "all"): "no matrix", ("tied both", 99, "all"): "at most",
                               ("tied both", 0, "rare"): "must be one of"}.items():  # fmt: skip
        with pytest.raises(ValueError, match=message):
            figures.word_map_figure(*arguments)


def test_the_curves_are_the_means_of_the_seeds():
    (axes,) = figures.bottleneck_figure(RECORD).axes
    bars = dict(zip(figures.ARMS, axes.containers, strict=True))
    for arm, container in bars.items():
        x, y = container.lines[0].get_data()
        for size, height in zip(x, y, strict=True):
            tests = [
                run["arms"][arm]["test"] for run in RECORD["runs"] if run["part"] == "models" and run["size"] == size
            ]
            floor = math.log(RECORD["floor"]["test"])
            assert height == pytest.approx(statistics.mean(math.log(test) - floor for test in tests))
            assert len(tests) == len(RECORD["seeds"])
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [*dashed[0].get_xdata()] == RECORD["columns"]


def test_what_the_map_is_looked_at_for_is_there():
    """In the tied matrix rare words join their groups; untied, where words are read, they stay far more mixed."""
    last = len(RECORD["moments"])
    tied, reads, writes = (
        _percent(figures.word_map_figure(matrix, last, "less than 10 times").layout.meta["alt"])
        for matrix in figures.MATRICES
    )
    assert min(tied, writes) > 0.7 and reads < 0.5


def test_arms_and_the_softmax_alone_are_told_apart():
    (axes,) = figures.bottleneck_figure(RECORD).axes
    dashed = next(line for line in axes.lines if line.get_linestyle() == "--")
    inks = [ink for ink, _, _ in figures.ARMS.values()]
    assert len({*inks, dashed.get_color()}) == len(inks) + 1
    floor = math.log(RECORD["floor"]["test"])
    spreads = dict(zip(figures.ARMS, axes.containers, strict=True))
    tests = [math.log(run["arms"]["tied"]["test"]) - floor for run in RECORD["runs"] if run.get("size") == 32]
    low, high = spreads["tied"].lines[2][0].get_segments()[1][:, 1]
    assert (high - low) / 2 == pytest.approx(statistics.stdev(tests))
    fitted = [run["divergence"] for run in RECORD["runs"] if run["part"] == "softmax"]
    assert [*dashed.get_ydata()] == fitted
