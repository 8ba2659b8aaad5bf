"""The page on reproducing: how long the road is, the script of all commands, one model with many perplexities."""

import json
import math
import re
import shlex
from pathlib import Path

import pytest

from awdlib.cli import build_parser
from awdlib.figures import one_model, results, road
from awdlib.goals import GOALS, GROUPS, commands

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "data" / "runs"
CELLS = json.loads((ROOT / "book" / "reproducing.ipynb").read_text(encoding="utf-8"))["cells"]


def by_the_minute(epochs, seconds, stretch, lost):
    """Lent minutes until so many epochs are done, counted one after another."""
    minute, trained = 0, 0.0
    while trained < epochs * seconds - 1e-9:
        trained += 60 * (minute % stretch >= lost)
        minute += 1
    return minute


@pytest.mark.parametrize(("epochs", "seconds", "stretch", "lost"), [
    (750, 60, 240, 5), (10, 120, 30, 10), (1, 60, 30, 2), (55, 60, 60, 5), (56, 60, 60, 5), (3, 600, 12, 2),
])  # fmt: skip
def test_the_hours_are_those_counted_minute_by_minute(epochs, seconds, stretch, lost):
    minutes = by_the_minute(epochs, seconds, stretch, lost)
    hours = road.hours_needed(epochs, seconds, stretch, lost)
    assert 60 * hours == pytest.approx(minutes)
    assert float(road.epochs_done(hours, seconds, stretch, lost)) == pytest.approx(epochs)


def test_nothing_is_trained_in_the_lost_minutes_and_none_of_it_is_lost_again():
    done = road.epochs_done([minute / 60 for minute in range(61)], seconds=60, stretch=30, lost=10)
    steps = [round(after - before) for before, after in zip(done, done[1:], strict=False)]
    assert steps == 2 * (10 * [0] + 20 * [1])


@pytest.mark.parametrize("goal", ["awd-lstm-ptb-finetuned", "awd-lstm-wt2-finetuned"])
def test_the_road_ends_where_training_and_fine_tuning_end(goal):
    train, tune = road.epochs_asked(goal)
    figure = road.road_figure(goal, seconds=65, stretch=60, lost=10)
    line, *marks = figure.data[2:]
    assert line.y[-1] == pytest.approx(train + tune) and line.x[-1] == marks[1].x[0]
    assert [mark.y[0] for mark in marks] == [train, train + tune]
    useful = (train + tune) * 65 / 3600
    assert f"{1 - useful / line.x[-1]:.0%} of the time trains nothing" in figure.layout.meta["alt"]
    assert f"{math.ceil(line.x[-1] - 1e-9)} stretches; " in figure.layout.meta["alt"]


@pytest.mark.parametrize(("call", "says"), [
    (lambda: road.epochs_asked("awd-lstm-ptb"), "no goal with fine-tuning"),
    (lambda: road.epochs_asked("nothing"), "no goal with fine-tuning"),
    (lambda: road.epochs_done(1, 0, 30, 5), "seconds is 0"),
    (lambda: road.epochs_done(1, 60, -1, 5), "stretch is -1"),
    (lambda: road.hours_needed(1, 60, 30, 30), "nothing is left to train in"),
    (lambda: one_model.perplexities_figure({"a": 1.0}, "b"), "none of the ways"),
    (lambda: one_model.perplexities_figure({"a": float("nan"), "b": 2.0}, "b"), "perplexity of 'a' is nan"),
    (lambda: one_model.perplexities_figure({"a": 0.0}, "a"), "perplexity of 'a' is 0"),
    (lambda: one_model.perplexities_figure({"a": "3", "b": 2.0}, "b"), "must be a number"),
    (lambda: road.epochs_asked(["awd"]), "no goal with fine-tuning"),
    (lambda: road.hours_needed(float("nan"), 60, 60, 5), "epochs is nan"),
    (lambda: road.hours_needed(-1, 60, 60, 5), "epochs is -1"),
    (lambda: commands("awd-lstm-ptb"), "give a list of names"),
    (lambda: commands(["awd"]), "no goal is called 'awd'"),
])  # fmt: skip
def test_wrong_arguments_get_one_line(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_the_script_has_every_command_of_every_published_number_once():
    script = commands(GROUPS["gpu"])
    lines = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert len(lines) == len({*lines})
    assert {*lines} == {step.command() for name in GROUPS["gpu"] for step in GOALS[name].steps}
    for line in lines:
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "awdlib"]
        build_parser().parse_args(words[3:])
    for name in GROUPS["gpu"]:
        if published := GOALS[name].published:
            assert f"# {name}: {GOALS[name].system} -> {published[0]:.1f} / {published[1]:.1f}, " in script


def test_the_table_of_what_was_run_leaves_out_what_was_not(tmp_path):
    assert not results.recorded_table(tmp_path).rows
    named = [row[-1].strip("`") for row in results.recorded_table().rows]
    assert "zaremba-small" in named
    for name, goal in GOALS.items():
        assert (name in named) == (goal.corpus in ("ptb", "wikitext-2") and results.result_of(goal) is not None)


def test_the_best_weights_of_every_finished_run_are_those_of_its_best_epoch():
    """What the page advises after a sudden end on a Drive holds wherever nothing went wrong."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RUNS.rglob("record.json")]
    finished = [one for one in found if one.get("final_perplexity")]
    assert len(finished) > 20
    for one in finished:
        best = min(epoch["valid_perplexity"] for epoch in one["epochs"])
        assert one["final_perplexity"]["valid"] == pytest.approx(best, rel=1e-5)


def test_every_command_of_the_page_is_one_that_the_program_takes():
    text = "".join("".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "markdown")
    lines = re.findall(r"python -m awdlib ((?:\\\n|[^\n`])+)", text.replace("NAME", "awd-lstm-ptb"))
    assert len(lines) >= 6
    for line in lines:
        build_parser().parse_args(shlex.split(line.replace("\\\n", " ")))


def test_the_picture_says_how_far_each_way_is_off():
    figure = one_model.perplexities_figure({"right": 20.0, "near": 20.1, "far": 30.0, "low": 10.0}, "right")
    assert figure.get_label() == (
        "Perplexity of one model, right: 20.00; near: 20.10 (+0.50%); far: 30.00 (+50%); low: 10.00 (-50%)."
    )
    assert [text.get_text() for text in figure.axes[0].texts][1:] == [
        "20.10  (+0.50%)", "30.00  (+50%)", "10.00  (-50%)",
    ]  # fmt: skip
