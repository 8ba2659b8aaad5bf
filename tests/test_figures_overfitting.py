"""Pictures of overfitting and of the places of dropout, each number computed another way."""

import json
import math
from itertools import pairwise, product

import numpy as np
import pytest

from awdlib.bundled import bundled
from awdlib.explore import choice, explorable
from awdlib.figures import dropout_paths, overfitting
from awdlib.figures.style import MUTED, ORANGE, colour
from awdlib.model import ModelConfig
from awdlib.presets import PRESETS
from awdlib.training import start

RECORD = json.loads(bundled("runs/overfitting.json").read_text(encoding="utf-8"))

# --- masks on paths ---


def walks(layers, steps):
    """Every way through the grid by trying all orders of moves, the slow way."""
    for moves in product("UR", repeat=layers + 1 + steps):
        if moves.count("U") == layers + 1 and moves[0] == moves[-1] == "U":  # onward only inside a layer
            yield moves


@pytest.mark.parametrize(("layers", "steps"), [(1, 0), (1, 4), (2, 3), (3, 2), (3, 4)])
def test_the_paths_are_all_paths_and_each_meets_the_same_masks(layers, steps):
    slow = {"".join(moves) for moves in walks(layers, steps)}
    fast = [
        "".join("U" if a[0] == b[0] else "R" for a, b in pairwise(path)) for path in dropout_paths.paths(layers, steps)
    ]
    assert {*fast} == slow and len(fast) == len(slow) == math.comb(steps + layers - 1, layers - 1)
    for moves in fast:
        for placement, (up, h, c) in dropout_paths.PLACEMENTS.items():
            for route, dropped in (("h", h), ("c", c)):
                masks = sum(up if move == "U" else dropped for move in moves)
                assert masks == dropout_paths.masks_on_path(layers, steps, placement, route)


@pytest.mark.parametrize(("masks", "p"), [(0, 0.3), (1, 0.5), (4, 0.2), (6, 0.65)])
def test_the_closed_forms_are_the_sums_over_all_outcomes(masks, p):
    through = mean = second = 0.0
    for kept in product([0, 1], repeat=masks):
        chance = math.prod(1 - p if one else p for one in kept)
        value = math.prod(one / (1 - p) for one in kept)
        through, mean, second = through + chance * (value > 0), mean + chance * value, second + chance * value**2
    assert mean == pytest.approx(1)
    assert dropout_paths.survival(masks, p) == pytest.approx(through)
    assert dropout_paths.noise(masks, p) == pytest.approx(second - mean**2, abs=1e-12)


SETTINGS = [("up", 2, 6, 0.5, "h"), ("h", 3, 8, 0.3, "h"), ("h", 3, 8, 0.3, "c"), ("up and h", 1, 0, 0.1, "h"),
            ("h and c", 2, 4, 0.2, "c")]  # fmt: skip


def drawn(values):
    return [value for value in np.asarray(values, dtype=float) if not np.isnan(value)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_mask_on_the_drawn_path_is_a_cross_on_a_dashed_connection(setting):
    placement, layers, steps, p, route = setting
    figure = dropout_paths.paths_figure(*setting)
    up, h, c, band, crosses = figure.data[:5]
    for line, dropped in zip((up, h, c), dropout_paths.PLACEMENTS[placement], strict=True):
        assert (line.line.dash, line.line.color) == (("dash", ORANGE) if dropped else ("solid", MUTED))
    ends = []
    for line in (up, h, c):
        if line.line.dash == "dash":
            x, y = (np.asarray(axis, dtype=float).reshape(-1, 3)[:, :2].mean(1) for axis in (line.x, line.y))
            ends += zip(x.round(6), y.round(6), strict=True)
    shift = -dropout_paths.BESIDE if route == "h" else dropout_paths.BESIDE
    found = list(zip(drawn(crosses.x), drawn(crosses.y), strict=True))
    assert len(found) == dropout_paths.masks_on_path(layers, steps, placement, route)
    for x, y in found:
        straight = x == int(x)  # on the way up: a line's middle may differ from the band's by the shift of h or c
        assert any(abs(x - a) < 1e-6 and abs(y - b) < (abs(shift) + 1e-6 if straight else 1e-6) for a, b in ends)
    assert (band.x[0], band.y[0]) == (dropout_paths.COLUMNS - 1 - steps, 0)
    assert (band.x[-1], band.y[-1]) == (dropout_paths.COLUMNS - 1, layers + 1)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_curve_the_title_and_the_sentence_say_the_same(setting):
    placement, layers, steps, p, route = setting
    figure = dropout_paths.paths_figure(*setting)
    reference, curve, dot = figure.data[-3:]
    masks = dropout_paths.masks_on_path(layers, steps, placement, route)
    for n in range(36):
        assert reference.y[n] == pytest.approx((1 - p) ** (layers + 1))
        assert curve.y[n] == pytest.approx((1 - p) ** dropout_paths.masks_on_path(layers, n, placement, route))
    assert (dot.x[0], dot.y[0]) == (steps, pytest.approx((1 - p) ** masks))
    assert figure.layout.annotations[0].text.startswith(f"<b>{masks} mask{'s' * (masks != 1)}</b>")
    assert f"{100 * (1 - p) ** masks:.1f}% come through" in figure.layout.annotations[0].text
    assert f"is {(1 - p) ** -masks - 1:.3g}. There are" in figure.layout.meta["alt"]


@pytest.mark.parametrize(("arguments", "message"), [
    (("down", 2, 3, 0.5), "placement is 'down'"), (("up", 4, 3, 0.5), "layers is 4"), (("up", 2, 9, 0.5), "steps is 9"),
    (("up", 2, 3, 1.0), "p is 1.0"), (("up", 2, 3, 0.5, "x"), "route is 'x'"), (("up", 0, 3, 0.5), "layers is 0"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dropout_paths.paths_figure(*arguments)


def test_a_path_of_no_steps_or_layers():
    assert len(list(dropout_paths.paths(3, 0))) == 1
    with pytest.raises(ValueError, match="layers is 0"):
        dropout_paths.paths(0, 3)


# --- curves ---


def test_the_two_curves_are_drawn_and_the_turning_points_marked():
    train, valid = [[50.0, 20.0, 9.0], [60.0, 19.0, 8.0]], [[60.0, 30.0, 45.0], [70.0, 33.0, 31.0]]
    figure = overfitting.overfit_figure(train, valid, {"train": 15.0, "valid": 14.0})
    (axes,) = figure.axes
    lines = {tuple(line.get_ydata()): line for line in axes.lines}
    for runs, role in ((train, "train"), (valid, "valid")):
        for run in runs:
            assert lines[tuple(run)].get_color() == colour(role)
    dots = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in axes.lines if line.get_marker() == "o"]
    assert dots == [(2, 30.0), (3, 31.0)]
    assert [text.xy[1] for text in axes.texts if text.get_text() in ("train", "valid")] == [8.5, 38.0]
    assert figure.get_label() == (
        "Training ends at 8.5, floor 15.0; validation is lowest at epoch 2 and 3 and ends at 38.0, floor 14.0."
    )


def test_the_parts_of_the_excess_are_drawn_run_by_run_and_on_average():
    looks = [run["looks"] for run in RECORD["runs"] if run.get("arm") == "none"]
    figure = overfitting.excess_figure(looks, best=14)
    for axes, split in zip(figure.axes, ("classes", "novelty"), strict=True):
        named = {text.get_text(): text.get_color() for text in axes.get_legend().get_texts()}
        for group in looks[0][0][split]:
            name, ink = overfitting.PARTS[group]
            assert named[name] == ink
            means = [sum(run[at][split][group] for run in looks) / len(looks) for at in range(len(looks[0]))]
            own = [line for line in axes.lines if line.get_color() == ink and len(line.get_ydata()) == len(means)]
            assert len(own) == len(looks) + 1
            np.testing.assert_allclose(own[-1].get_ydata(), means)
    with pytest.raises(ValueError, match="a group is 'verbs'"):
        overfitting.excess_figure([[{"classes": {"verbs": 1.0}, "novelty": {}}]], 1)


def test_every_run_is_a_line_in_its_arms_colour():
    runs = [run for run in RECORD["runs"] if "arm" in run]
    (axes,) = overfitting.arms_figure(runs, RECORD["floor"]["valid"]).axes
    *lines, floor = axes.lines
    drawn = [(line.get_color(), list(line.get_ydata())) for line in lines]
    assert sorted(drawn) == sorted((overfitting.ARMS[run["arm"]][1], run["valid"]) for run in runs)
    assert set(floor.get_ydata()) == {RECORD["floor"]["valid"]}
    assert {text.get_text() for text in axes.texts[1:]} == {name for name, _ in overfitting.ARMS.values()}
    low, high = axes.get_ylim()
    assert all(low < run["valid"][-1] < high for run in runs)


def test_the_schedules_are_those_that_training_follows():
    names = ("zaremba-small", "zaremba-medium", "zaremba-large")
    (axes,) = overfitting.schedule_figure({name: PRESETS[name].training for name in names}).axes
    for name, line in zip(names, axes.lines, strict=True):
        training = start(ModelConfig(vocab_size=5, embedding_size=2, hidden_size=2), PRESETS[name].training)
        due = []
        while training.epoch <= training.config.epochs:
            due.append(training.lr)
            training.history.append(None)
        np.testing.assert_allclose(line.get_ydata(), due)
        assert axes.get_ylim()[0] < due[-1] and due[-1] < due[0] == 1
    with pytest.raises(ValueError, match="lr_decay is 'none'"):
        overfitting.schedule_figure({"toy": PRESETS["toy"].training})


@pytest.mark.parametrize(("hidden", "share", "reading"), [(32, 0.25, 1), (128, 1.0, 18), (256, 0.5, 9)])
def test_the_curves_of_a_size_are_the_records(hidden, share, reading):
    (run,) = [run for run in RECORD["runs"] if (run.get("hidden"), run.get("share")) == (hidden, share)]
    figure = overfitting.size_figure(hidden, share, reading)
    floor, train, valid, moment = figure.data
    assert list(train.y) == run["train"] and list(valid.y) == run["valid"] and len(train.y) == RECORD["readings"]
    assert {*floor.y} == {RECORD["floor"]["valid"]}
    low, high = run["train"][reading - 1], run["valid"][reading - 1]
    assert list(moment.x) == [reading] * 2 and list(moment.y) == [low, high]
    assert f"gap {math.log(high) - math.log(low):.2f} nats" in figure.layout.annotations[0].text
    assert f"{run['parameters']:,} parameters" in figure.layout.annotations[0].text
    for note, role, value in zip(
        figure.layout.annotations[2:], ("train", "valid"), (run["train"], run["valid"]), strict=True
    ):
        assert (note.text, note.font.color, note.y) == (role, colour(role), pytest.approx(math.log10(value[-1])))
    own_floor = RECORD["train_floors"][RECORD["shares"].index(share)]
    assert f"(floor of that part {own_floor:.1f})" in figure.layout.meta["alt"]


def test_all_curves_of_sizes_lie_inside_the_picture():
    low, high = (10**end for end in overfitting.size_figure(128, 1.0, 1).layout.yaxis.range)
    for run in RECORD["runs"]:
        if run["part"] == "size":
            assert all(low < value < high for value in run["train"] + run["valid"])


def test_a_size_that_was_not_run_is_refused():
    with pytest.raises(ValueError, match="there is no run of 100 units"):
        overfitting.size_figure(100, 1.0, 1)
    with pytest.raises(ValueError, match="reading is 19"):
        overfitting.size_figure(128, 1.0, 19)


FLOORS = {"train": 15.0, "valid": 15.0}
LOOK = {"classes": {"names": 0.1}, "novelty": {"known": 0.1}}


@pytest.mark.parametrize(("draw", "arguments", "message"), [
    (overfitting.overfit_figure, ([], [], FLOORS), "train is "),
    (overfitting.overfit_figure, (None, [], FLOORS), "train"),
    (overfitting.overfit_figure, ([[]], [[]], FLOORS), "a run of train is "),
    (overfitting.overfit_figure, ([3.0], [[3.0]], FLOORS), "a run of train is 3.0"),
    (overfitting.overfit_figure, ([[3.0]], [[math.nan]], FLOORS), "a perplexity of a run of valid is nan"),
    (overfitting.overfit_figure, ([[3.0]], [[3.0]], {"train": 15.0}), "floor.'valid'. is None"),
    (overfitting.excess_figure, ([], 1), "looks is "), (overfitting.excess_figure, ([[]], 1), "a run of looks is "),
    (overfitting.excess_figure, ([[{"classes": {"names": 0.1}}]], 1), "has no 'novelty'"),
    (overfitting.excess_figure, ([[LOOK]], None), "best is None"),
    (overfitting.arms_figure, ([], 15.0), "runs is "), (overfitting.arms_figure, ([{}], 15.0), "an arm is None"),
    (overfitting.arms_figure, ([{"arm": ["up"], "valid": [3.0]}], 15.0), "an arm is .'up'."),
    (overfitting.arms_figure, ([{"arm": "up", "valid": []}], 15.0), "valid of a run of runs is "),
    (overfitting.arms_figure, ([{"arm": "up", "valid": [3.0]}], None), "floor is None"),
    (dropout_paths.masks_on_path, (2, 1, ["up"]), "placement is "),
])  # fmt: skip
def test_what_is_no_curve_is_refused(draw, arguments, message):
    with pytest.raises(ValueError, match=message):
        draw(*arguments)


def test_more_masks_than_a_float_can_count():
    assert dropout_paths.survival(10**6, 0.5) == 0 and dropout_paths.noise(10**6, 0.5) == math.inf


def test_the_chapters_two_chances_after_ten_steps():
    assert round(1 / dropout_paths.survival(10, 0.2)) == 9, "once in nine times"
    assert round(dropout_paths.survival(10, 0.65), 5) == 3e-5, "three times in a hundred thousand"
    assert round(dropout_paths.survival(10, 0.2), 2) == 0.11


def test_they_become_explorables():
    made = [
        explorable(lambda hidden: overfitting.size_figure(hidden, 0.5, 3), hidden=choice([32, 256], 32)),
        explorable(lambda way: dropout_paths.paths_figure(way, 2, 4, 0.3), way=choice(["up", "h and c"], "up")),
    ]
    for one in made:
        assert len(one.data) < 60_000 and one.decoded()["alt"] in one.html
