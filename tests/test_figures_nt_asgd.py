"""The figures of the chapter on NT-ASGD: their numbers against matrices, simulation, and the record."""

import json

import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.figures import noisy_quadratic as bowl
from awdlib.figures.nt_asgd_runs import NAMES, firing_figure, norms_figure, of_arm, starts_figure
from awdlib.ntasgd import NTASGD

RECORD = json.loads(bundled("runs/nt-asgd.json").read_text(encoding="utf-8"))
RUNS = [run for run in RECORD["runs"] if run["seed"] in RECORD["seeds"]]
SETTINGS = [(0.3, 0.5, 2.0), (1.5, 1.0, 0.4), (0.05, 0.2, 1.0)]


def matrices(rates, curvature, noise):
    """Each iterate as a row: its factor of the origin, and of every kick."""
    rows = [np.eye(1, len(rates) + 1)[0]]
    for step, rate in enumerate(rates):
        row = (1 - rate * curvature) * rows[-1]
        row[step + 1] -= rate * noise
        rows.append(row)
    return np.array(rows)


def moments(rows, origin):
    return rows[:, 0] * origin, (rows[:, 1:] ** 2).sum(1)


@pytest.mark.parametrize(("lr", "curvature", "noise"), SETTINGS)
@pytest.mark.parametrize("start", [0, 7, 40])
def test_moments_are_those_of_the_matrices_of_all_kicks(lr, curvature, noise, start):
    steps, origin = 40, -3.0
    rows = matrices([lr] * steps, curvature, noise)
    iterate = bowl.of_iterates(lr, curvature, noise, steps, origin)
    np.testing.assert_allclose(iterate, moments(rows, origin), rtol=1e-10, atol=1e-14)
    means = np.array([rows[start : end + 1].mean(0) for end in range(start, steps + 1)])
    average = bowl.of_averages(lr, curvature, noise, steps, start, origin)
    np.testing.assert_allclose(average, moments(means, origin), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize(("lr", "curvature", "noise"), SETTINGS)
def test_the_falling_rate_falls_in_a_straight_line_from_the_start(lr, curvature, noise):
    rates = [lr] * 8 + [lr * part / 12 for part in range(12, 0, -1)]
    found = bowl.of_decayed(lr, curvature, noise, 20, 8, 2.0)
    np.testing.assert_allclose(found, moments(matrices(rates, curvature, noise), 2.0), rtol=1e-9, atol=1e-14)


def test_the_loss_is_what_ntasgd_loses_in_the_bowl():
    lr, noise, start, runs = 0.5, 0.3, 100, 1500
    curvature = torch.tensor(bowl.CURVATURES, dtype=torch.float64)
    weight = torch.ones(runs, 3, dtype=torch.float64, requires_grad=True)
    optimizer, draw = NTASGD([weight], lr=lr), torch.Generator().manual_seed(1)
    for step in range(bowl.STEPS):
        if step == start:
            optimizer.start_averaging()
        kick = torch.randn(runs, 3, generator=draw, dtype=torch.float64)
        weight.grad = curvature * weight.detach() + noise * kick
        optimizer.step()

    def loss():
        return (curvature / 2 * weight.detach() ** 2).sum(1).mean().item()

    assert loss() == pytest.approx(bowl.excess("iterate", lr, noise)[-1], rel=0.08)
    with optimizer.averaged():
        assert loss() == pytest.approx(bowl.excess("average", lr, noise, start)[-1], rel=0.08)
        assert loss() == pytest.approx(bowl.by_start(lr, noise)[bowl.STARTS.index(start)], rel=0.08)


def test_what_the_chapter_says_of_the_explorable():
    def best(lr, noise):
        losses = bowl.by_start(lr, noise)
        return bowl.STARTS[losses.index(min(losses))]

    for lr in (0.05, 0.2, 0.5, 1.0):
        starts = [best(lr, noise) for noise in (0.03, 0.1, 0.3, 1.0)]
        assert starts == sorted(starts, reverse=True), "more noise, an earlier start"
    for noise in (0.03, 0.1, 0.3, 1.0):
        starts = [best(lr, noise) for lr in (0.05, 0.2, 0.5, 1.0)]
        assert starts == sorted(starts, reverse=True), "larger steps, an earlier start"
    gain = bowl.excess("iterate", 0.05, 0.03)[-1] / min(bowl.by_start(0.05, 0.03))
    assert best(0.05, 0.03) == max(bowl.STARTS) and gain < 1.05, "little noise and slow steps: late, and little gained"


def test_what_the_chapter_says_of_the_picture_to_keep():
    """The iterate is hardly better at step 120 than at step 20, where its average begins."""
    mean, variance = bowl.of_iterates(0.3, 0.5, 2.0, 120, 5.0)
    squares = mean**2 + variance
    assert squares[120] < squares[20] < 1.05 * squares[120]


def test_when_the_largest_step_is_best():
    rates = (0.05, 0.2, 0.5, 1.0)
    for noise in (0.03, 0.1, 0.3, 1.0):
        lowest = [min(bowl.by_start(lr, noise)) for lr in rates]
        falling = min(bowl.excess("decayed", lr, noise, start)[-1] for lr in rates for start in bowl.STARTS)
        iterate = min(bowl.excess("iterate", lr, noise)[-1] for lr in rates)
        assert (lowest.index(min(lowest)) == 3) == (noise <= 0.1)
        assert min(lowest) < min(falling, iterate)


def test_the_explorable_draws_these_losses():
    figure = bowl.start_figure(0.5, 0.3, 100)
    iterate, falling, average, _, lower, ring, dot = figure.data
    assert 10 ** iterate.y[-1] == pytest.approx(bowl.excess("iterate", 0.5, 0.3)[-1])
    assert 10 ** average.y[-1] == pytest.approx(bowl.excess("average", 0.5, 0.3, 100)[-1])
    assert 10 ** falling.y[-1] == pytest.approx(bowl.excess("decayed", 0.5, 0.3, 100)[-1])
    np.testing.assert_allclose(10 ** np.array(lower.y), bowl.by_start(0.5, 0.3))
    assert ring.y[0] == min(lower.y) and (dot.x[0], dot.y[0]) == (100, lower.y[bowl.STARTS.index(100)])


@pytest.mark.parametrize("call", [
    lambda: bowl.of_iterates(2.0, 1.0, 1.0, 5), lambda: bowl.of_averages(0.5, 1.0, 1.0, 5, 6),
    lambda: bowl.of_decayed(0.5, 1.0, -1.0, 5, 1), lambda: bowl.excess("mean", 0.5, 1.0),
    lambda: bowl.start_figure(0.5, 0.1, 5), lambda: bowl.of_iterates(0.5, 1.0, 1.0, 5, None),
    lambda: bowl.of_averages(0.5, 1.0, 1.0, 5, 2, float("nan")), lambda: bowl.of_decayed(0.5, 1.0, 1.0, 5, 5),
    lambda: bowl.of_decayed(0.5, 1.0, 1.0, 5, 1, "far"), lambda: bowl.excess(["iterate"], 0.5, 1.0),
    lambda: bowl.by_start([0.5], 0.1), lambda: bowl.path_figure([], [], 0, 1.0),
    lambda: bowl.path_figure([2.0, 1.0, 0.0], [1.0], 1, 0.3), lambda: of_arm(RUNS, "adam"),
    lambda: starts_figure([]), lambda: norms_figure([], 0.25), lambda: norms_figure([[0.1, 0.2]], 0.25),
    lambda: norms_figure([[0.1, 0.2, 0.3]], float("nan")), lambda: firing_figure([], 5),
    lambda: firing_figure([4.0, 3.0], -1),
])  # fmt: skip
def test_bad_arguments_are_named_in_one_line(call):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        call()


def test_the_starts_are_drawn_as_recorded():
    (axes,) = starts_figure(RUNS).axes
    (fired,) = (line for line in axes.lines if line.get_marker() == "^")
    assert list(fired.get_xdata()) == [one["from"] for one in of_arm(RUNS, "nt-asgd")]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 1 and line is not fired]
    ends = [int(end) for end in RUNS[0]["starts"]]
    assert [len(line.get_xdata()) - 1 for line in lines] == ends
    for line, end in zip(lines, ends, strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.mean([run["starts"][str(end)] for run in RUNS], axis=0))


def test_the_norms_are_drawn_as_recorded():
    tenths = RUNS[0]["norms"]["tenths_1_5_9"]
    (axes,) = norms_figure(tenths, 0.25).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [half for _, half, _ in tenths])


def test_each_rule_fires_where_its_level_is_crossed():
    losses = [5.0, 4.4, 4.5, 4.2, 4.3, 4.0, 4.05, 4.1, 3.9, 4.15]
    figure = firing_figure(losses, 2)
    assert figure.get_label().endswith("as coded it fires after epoch 10, as printed after epoch 5.")
    for axes, epoch in zip(figure.axes, (10, 5), strict=True):
        assert axes.lines[-1].get_xdata()[0] == epoch and axes.lines[-1].get_ydata()[0] == losses[epoch - 1]


def test_every_arm_has_a_name_and_a_colour_of_its_own():
    assert {*NAMES} == {*RECORD["tried"]}
    assert len({ink for _, ink in NAMES.values()}) == len(NAMES) == len(of_arm(RUNS[:1], "ema")) * 6
