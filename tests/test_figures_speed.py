"""What limits a recurrent model: counted operations, the fitted cost, the picture beside the limit, the arithmetic."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest

from awdlib.figures import speed
from awdlib.model import ModelConfig

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))


@pytest.mark.parametrize("config", [
    ModelConfig(), ModelConfig(cell="gru"), ModelConfig(vocab_size=33_278),
    ModelConfig(vocab_size=50, embedding_size=7, hidden_size=11, num_layers=2),
])  # fmt: skip
def test_operations_are_those_that_the_benchmark_counts_for_an_update(config):
    import sizes

    assert sizes.operations(sizes.Sizes(config, batch=3, window=5)) == 15 * sum(speed.operations(config).values())


def test_operations_of_an_untied_model_are_counted_by_hand():
    config = ModelConfig(vocab_size=100, embedding_size=3, hidden_size=5, num_layers=2, tied=False)
    assert speed.operations(config) == {
        "input": 6 * 4 * (3 * 5 + 5 * 5), "recurrent": 6 * 4 * (25 + 25), "softmax": 6 * 5 * 100,
    }  # fmt: skip


def test_the_multiples_are_medians_over_the_limits():
    record = {"measurements": [
        {"group": "step", "config": "a", "precision": "fp32", "candidate": "limit", "median": 2.0},
        {"group": "step", "config": "a", "precision": "fp32", "candidate": "awdlib", "median": 3.0},
        {"group": "step", "config": "a", "precision": "bf16", "candidate": "awdlib", "median": 9.0},
        {"group": "step", "config": "a", "precision": "fp32", "candidate": "fastai", "not_measured": "why"},
        {"group": "step", "config": "b", "precision": "fp32", "candidate": "awdlib", "median": 3.0},
    ]}  # fmt: skip
    figure = speed.beside_limit_figure(record)
    assert figure.get_label() == "An update as a multiple of its matrix products alone: a: awdlib 1.50."
    with pytest.raises(ValueError, match="no update beside its limit"):
        speed.beside_limit_figure({"measurements": []})


def test_the_page_speaks_of_the_record_that_is_there():
    """Its prose says in words what the picture and the fit show."""
    found = speed._multiples(speed.benchmark())
    assert all(found[config]["awdlib"] < 1.2 for config in ("ptb-40", "ptb-20", "wt2-80")), "little is left"
    assert found["small"]["awdlib"] > 1.3 and found["gru-40"]["awdlib"] > 1.2 and found["gru-40"]["bare"] > 1.2
    points = speed.points_of(speed.benchmark())
    constants = speed.fit(points)
    ratios = [speed.predicted(one, constants)[0] / one["median"] for one in points.values()]
    assert 0.8 < min(ratios) and max(ratios) < 1.25, "good to a fifth"
    line = [one for _, one in speed.lines_of(points)["vocabulary"]]
    assert line[-1]["memory"] / line[0]["memory"] < 2 < line[-1]["operations"] / line[0]["operations"]


def test_a_picture_of_growth_shows_the_medians_and_the_fitted_line():
    points = speed.points_of(speed.benchmark())
    constants = speed.fit(points)
    for what, (_, values) in speed.GROWING.items():
        figure = speed.growth_figure(what)
        line, dots = figure.data[:2]
        assert list(dots.x) == [f"{value:,}" for value in values]
        for value, seen, expected in zip(values, dots.y, line.y, strict=True):
            one = points[speed.point(what, value)]
            assert seen == 1000 * one["median"]
            assert expected == pytest.approx(1000 * (constants["overhead"] + one["operations"] / constants["rate"]))


def test_the_fit_finds_the_constants_it_was_made_with():
    points = {
        str(count): {"operations": count, "median": 0.5 + count / 40, "memory": 7 + count, "bytes_held": count}
        for count in (10, 100, 1000)
    }
    found = speed.fit(copy.deepcopy(points))
    assert found == pytest.approx({"overhead": 0.5, "rate": 40.0, "held": 7})


@pytest.mark.parametrize(("latency", "rate", "batch"), [(20, 10, 40), (80, 0.2, 10), (2, 200, 160)])
def test_an_epoch_computes_and_waits_by_the_arithmetic(latency, rate, batch):
    tokens, layers = 929_589, 3
    computing = 145.14e6 * tokens / (rate * 1e12)
    waiting = 2 * layers * tokens / batch * latency * 1e-6
    figure = speed.epoch_figure(latency, rate, batch)
    mark = figure.data[3]
    assert mark.x == (batch,) and mark.y[0] == pytest.approx(computing + waiting, rel=1e-4)
    lines = [np.interp(batch, np.asarray(trace.x), np.asarray(trace.y)) for trace in figure.data[:3]]
    assert lines == pytest.approx([computing, waiting, computing + waiting], rel=0.01)


@pytest.mark.parametrize(("call", "says"), [
    (lambda: speed.epoch_figure(0, 1, 1), "latency is 0"),
    (lambda: speed.epoch_figure(1, -1, 1), "rate is -1"),
    (lambda: speed.epoch_figure(1, 1, 0), "batch is 0"),
    (lambda: speed.growth_figure("height"), "must be one of batch, window"),
])  # fmt: skip
def test_wrong_arguments_get_one_line(call, says):
    with pytest.raises(ValueError, match=says):
        call()
