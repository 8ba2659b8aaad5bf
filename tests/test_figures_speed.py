"""What limits a recurrent model: counted operations, the fitted cost, the picture beside the limit, the arithmetic."""

import copy
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from awdlib.figures import one_step, speed
from awdlib.model import ModelConfig

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))


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
    record = speed.benchmark()
    found = speed._multiples(record)
    assert all(abs(found[config]["awdlib"] - found[config]["bare"]) < 0.02 for config in ("ptb-40", "ptb-20"))
    assert found["wt2-80"]["bare"] - found["wt2-80"]["awdlib"] > 0.2, "further away on WikiText-2"
    assert all(found[config]["awdlib"] < 1.2 for config in ("ptb-40", "ptb-20", "wt2-80")), "little is left"
    assert found["small"]["awdlib"] > 1.3 and found["gru-40"]["awdlib"] > 1.2 and found["gru-40"]["bare"] > 1.2
    points = speed.points_of(record)
    constants = speed.fit(points)
    ratios = [speed.predicted(one, constants)[0] / one["median"] for one in points.values()]
    assert 0.8 < min(ratios) and max(ratios) < 1.2, "of the points that it was fitted to"
    tested = {
        name: (constants["overhead"] + one["operations"] / constants["rate"]) / one["median"]
        for name, one in speed.unseen(record).items()
    }
    assert {*tested} == {"ptb-40", "ptb-20", "wt2-80", "gru-40"}, "small is the base of all growth, and no test"
    assert all(abs(one - 1) < 0.27 for one in tested.values()), "to about a quarter"
    assert min(tested["ptb-40"], tested["wt2-80"]) > 1.15, "too much for the largest two"
    assert all(abs(tested[name] - 1) < 0.05 for name in ("ptb-20", "gru-40")), "nearly right for the others"
    largest = max(one["operations"] for one in points.values())
    assert 17 < max(one["operations"] for one in speed.unseen(record).values()) / largest < 19, "eighteen times"
    above = {name: one["median"] / speed.predicted(one, constants)[0] for name, one in points.items()}
    assert min(above["hidden-1600"], above["vocabulary-32000"]) > 1.1 and above["batch-160"] < 0.95, "the lines' ends"
    doubled = [
        points[f"batch-{two}"]["median"] / points[f"batch-{one}"]["median"] for one, two in ((40, 80), (80, 160))
    ]
    assert all(1.75 < one < 2 for one in doubled), "nearly twice as long"
    line = [one for _, one in speed.lines_of(points)["vocabulary"]]
    assert line[-1]["memory"] / line[0]["memory"] < 2 < line[-1]["operations"] / line[0]["operations"]


def test_the_estimates_of_the_solutions_are_those_of_the_formula():
    lstm, gru = (sum(speed.operations(ModelConfig(cell=cell)).values()) for cell in ("lstm", "gru"))
    assert 0.78 < gru / lstm < 0.82, "a fifth less"
    text = (ROOT / "book" / "speed.ipynb").read_text(encoding="utf-8")
    for rate, batch in ((10e12, 8), (100e12, 80)):
        assert f"a batch of about {batch}" in text and 2 * 3 * 20e-6 * rate / lstm == pytest.approx(batch, rel=0.05)


@pytest.mark.parametrize("name", ["speed", "reproducing"])
def test_both_pages_have_what_a_chapter_has_beside_their_own_form(name):
    cells = json.loads((ROOT / "book" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    exercises = re.split(r"^### \d\. ", prose.partition("## Exercises")[2].partition("\n## ")[0], flags=re.M)[1:]
    assert len(exercises) == 4 and all("<summary>Solution</summary>" in text for text in exercises)
    assert len(re.findall(r"^- ", prose.partition("## Summary")[2].partition("**Next")[0], re.M)) == 5
    assert "## History and caveats" in prose and len(re.findall(r"Predict, then (run|move)", prose)) >= 2


def test_a_figure_of_steps_has_both_ways_and_says_their_ends():
    figure = one_step.steps_figure([1, 4, 64], [20, 21, 40], [0.5, 2, 33], "a machine")
    assert figure.get_label() == (
        "A step on a machine: with 1 row 20 µs in a chain and 0.50 at once, with 64 rows 40 and 33."
    )
    (axes,) = figure.axes
    assert [[*line.get_ydata()] for line in axes.lines] == [[20, 21, 40], [0.5, 2, 33]]
    assert [*axes.lines[0].get_xdata()] == [1, 4, 64] and (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_ylim()[0] < 0.5 and axes.get_ylim()[1] > 40


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
    (lambda: one_step.steps_figure([1], [1, 2], [1], "x"), "give one time of each for each"),
    (lambda: one_step.steps_figure([], [], [], "x"), "give one time of each for each"),
    (lambda: one_step.steps_figure([1], [0.0], [1], "x"), "chain is 0"),
    (lambda: one_step.steps_figure([1], [1], [float("nan")], "x"), "together is nan"),
    (lambda: one_step.steps_figure([0], [1], [1], "x"), "rows is 0"),
    (lambda: speed.growth_figure(["batch"]), "must be one of batch, window"),
    (lambda: speed.point("height", 3), "must be one of batch, window"),
    (lambda: speed.growth_figure("height"), "must be one of batch, window"),
])  # fmt: skip
def test_wrong_arguments_get_one_line(call, says):
    with pytest.raises(ValueError, match=says):
        call()
