"""Pictures of dropout masks, each number computed another way."""

import json
import statistics

import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.figures import dropout_masks
from awdlib.figures.style import colour

STRENGTH = json.loads(bundled("runs/dropout-strength.json").read_text(encoding="utf-8"))
CURVES = json.loads(bundled("runs/dropout-masks.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("kind", "p"), [("ordinary", 0.3), ("locked", 0.3), ("locked", 0.9), ("ordinary", 0.0)])
def test_a_drawn_mask_is_the_one_of_its_seed_and_kind(kind, p):
    torch.manual_seed(4)
    mask = dropout_masks.draw_mask(kind, p, seed=4, seq_len=30, batch=3, features=200)
    assert mask.shape == (30, 3, 200)
    torch.testing.assert_close(mask[mask != 0], torch.full_like(mask[mask != 0], 1 / (1 - p)))
    same = bool((mask == mask[:1]).all())
    assert same == (kind == "locked" or p == 0)
    assert abs((mask[0] == 0).double().mean().item() - p) < 5 * (p * (1 - p) / 600) ** 0.5 + 1e-9
    assert torch.equal(mask, dropout_masks.draw_mask(kind, p, seed=4, seq_len=30, batch=3, features=200))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("steps", [1, 5, 70])
def test_the_averages_are_those_of_simulated_masks(p, steps):
    """The sentence under the figure gives both standard deviations."""
    generator = torch.Generator().manual_seed(1)
    coins = (torch.rand(40_000, steps, generator=generator) >= p).double() / (1 - p)
    alt = dropout_masks.average_figure(p, steps).layout.meta["alt"]
    fresh = coins.mean(1).std().item()
    held = (p / (1 - p)) ** 0.5
    told = [float(word.rstrip(".,;")) for word in alt.split() if word.rstrip(".,;").replace(".", "", 1).isdigit()]
    assert any(abs(number - fresh) < 0.02 for number in told) and any(abs(number - held) < 0.006 for number in told), (
        alt
    )


def test_every_run_of_the_first_experiment_is_a_line_in_its_arms_colour():
    (axes,) = dropout_masks.curves_figure(CURVES["runs"], CURVES["floor"]["valid"]).axes
    *lines, floor = axes.lines
    drawn = sorted(list(line.get_ydata()) for line in lines)
    assert drawn == sorted([point["valid"] for point in run["curve"]] for run in CURVES["runs"].values())
    inks = {tuple(line.get_ydata()): line.get_color() for line in lines}
    assert inks[tuple(p["valid"] for p in CURVES["runs"]["locked-2"]["curve"])] == colour("with")
    assert inks[tuple(p["valid"] for p in CURVES["runs"]["ordinary-2"]["curve"])] == colour("without")
    assert set(floor.get_ydata()) == {CURVES["floor"]["valid"]}


def test_every_run_of_the_second_is_a_dot_and_lines_go_through_the_means():
    figure = dropout_masks.strength_figure(STRENGTH["runs"], STRENGTH["floor"]["test"])
    (axes,) = figure.axes
    lines = [line for line in axes.lines if len(line.get_xdata())]  # those of the legend have no points
    dots = {(line.get_color(), x, y) for line in lines if line.get_linestyle() == "None"
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}  # fmt: skip
    inks = {"ordinary": colour("without"), "locked": colour("with")}
    assert dots == {(inks[run["kind"]], run["p"], run["test"]) for run in STRENGTH["runs"]}
    for kind, ink in inks.items():
        (line,) = [line for line in lines if line.get_color() == ink and line.get_linestyle() == "-"]
        assert list(line.get_xdata()) == STRENGTH["ps"]
        for p, y in zip(STRENGTH["ps"], line.get_ydata(), strict=True):
            tests = [run["test"] for run in STRENGTH["runs"] if (run["kind"], run["p"]) == (kind, p)]
            assert y == pytest.approx(statistics.mean(tests)) and f"{y:.1f} at {p:g}" in figure.get_label()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ordinary", "locked"]
    low, high = axes.get_ylim()
    assert all(low < run["test"] < high for run in STRENGTH["runs"]) and low < STRENGTH["floor"]["test"]


def test_a_kind_without_runs_and_a_floor_that_is_none_are_refused():
    with pytest.raises(ValueError, match="there are no runs of locked dropout"):
        dropout_masks.strength_figure([run for run in STRENGTH["runs"] if run["kind"] == "ordinary"], 15.8)
    with pytest.raises(ValueError, match="floor is 0"):
        dropout_masks.strength_figure(STRENGTH["runs"], 0)


def test_the_trace_shows_the_size_of_the_activations_but_where_they_are_dropped():
    hidden = torch.randn(24, 64, generator=torch.Generator().manual_seed(2))
    figure = dropout_masks.trace_figure(hidden, [f"word{number}" for number in range(24)], p=0.3, seed=2)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:2] == ["word0", "word1"]
    for axes, kind in zip(figure.axes, (None, "ordinary", "locked"), strict=True):
        shown = axes.images[0].get_array()
        kept = np.ones((24, 40), bool)
        if kind:
            kept = (dropout_masks.draw_mask(kind, 0.3, 2, 24, 1, 40)[:, 0] > 0).numpy()
        assert np.array_equal(~np.ma.getmaskarray(shown), kept)
        assert np.array_equal(np.ma.getdata(shown)[kept], hidden[:, :40].abs().numpy()[kept])
