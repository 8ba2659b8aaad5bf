"""Pictures of hidden traces: what they show is recomputed here in another way."""

import math

import numpy as np
import pytest
import torch

from awdlib.figures import penalty_pull
from awdlib.figures.activation_penalties import trained
from awdlib.figures.hidden_traces import traces_figure
from awdlib.figures.penalty_pull import BATCH, RATE, cosine_basis, pull, pull_figure, pulled
from awdlib.figures.penalty_runs import INKS, by_seed, learning_figure, spectrum_figure, states_figure
from awdlib.penalties import activation_regularization, temporal_activation_regularization


@pytest.mark.parametrize("seq_len", [1, 2, 7, 26])
def test_the_cosines_are_orthonormal_eigenvectors_of_second_differences_with_free_ends(seq_len):
    basis = cosine_basis(seq_len)
    torch.testing.assert_close(basis @ basis.t(), torch.eye(seq_len, dtype=torch.float64))
    steps = torch.eye(seq_len, dtype=torch.float64).diff(dim=0)
    laplacian = steps.t() @ steps
    values = torch.diag(basis @ laplacian @ basis.t())
    torch.testing.assert_close(basis @ laplacian @ basis.t(), torch.diag(values), atol=1e-12, rtol=0)
    expected = [2 - 2 * math.cos(math.pi * k / seq_len) for k in range(seq_len)]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 0.0), (0.0, 1.5), (2.0, 1.0)])
def test_the_pull_is_that_of_the_librarys_penalties(alpha, beta):
    torch.manual_seed(1)
    h = torch.randn(9, 1, 5, dtype=torch.float64, requires_grad=True)
    loss = activation_regularization(h, alpha) + temporal_activation_regularization(h, beta)
    (gradient,) = torch.autograd.grad(loss, h)
    basis = cosine_basis(9)
    wanted = pull(9, alpha, beta)[:, None] * (basis @ h.detach()[:, 0]) * 2 / h.numel()
    torch.testing.assert_close(basis @ gradient[:, 0], wanted)


def test_what_is_left_after_updates_is_what_gradient_descent_leaves():
    torch.manual_seed(2)
    trace = torch.randn(8, 6, dtype=torch.float64)
    h = trace[:, None].expand(8, BATCH, 6).clone()  # the same sequence in the whole batch
    for _ in range(30):
        h.requires_grad_()
        loss = activation_regularization(h, 0.5) + temporal_activation_regularization(h, 1.0)
        h = (h - RATE * torch.autograd.grad(loss, h)[0]).detach()
    torch.testing.assert_close(pulled(trace, 0.5, 1.0, 30), h[:, 0])
    torch.testing.assert_close(pulled(trace.float(), 0.5, 1.0, 30), h[:, 0], atol=1e-5, rtol=1e-5)


def test_the_explorable_shows_the_recorded_trace_before_and_after():
    figure = pull_figure(2.0, 4.0, 300)
    before, units = trained(0.0, 0.0)[0][:, 0], penalty_pull._cast()[1]
    after = pulled(before, 2.0, 4.0, 300)
    assert len({*units.values()}) == 3
    for row, unit in enumerate(units.values()):
        assert np.allclose(figure.data[2 * row].y, before[:, unit]) and figure.data[2 * row].line.dash == "dot"
        assert np.allclose(figure.data[2 * row + 1].y, after[:, unit])
    for line, trace in zip(figure.data[6:], (before, after), strict=True):
        assert sum(line.y) * 1 / len(trace) == pytest.approx(trace.square().mean().item(), rel=1e-3), "Parseval"
    said = figure.layout.meta["alt"]
    assert f"{after.square().mean():.3f} (at first {before.square().mean():.3f})" in said


def test_the_explorable_says_what_it_shows_at_every_corner():
    """The chapter: with beta alone the quick unit goes first, and the one off centre stays there."""
    before, units = penalty_pull._cast()
    after = pulled(before, 0.0, 4.0, 300)
    left = after.std(0) / before.std(0)
    assert left[units["quick"]] < 0.5 * left[units["slow"]]
    forever = pulled(before, 0.0, 4.0, 3000)
    torch.testing.assert_close(forever.mean(0), before.mean(0))
    ratio = pulled(before, 4.0, 0.0, 300) / before
    assert ratio[before != 0].std() < 1e-9, "alpha alone scales"
    for updates in (0, 3000):
        for alpha in (0, 4):
            for beta in (0, 4):
                figure = pull_figure(alpha, beta, updates)
                low, high = 10 ** np.array(figure.layout.yaxis.range)
                assert max(figure.data[6].y) < high and min(figure.data[6].y) > low


def record():
    def run(setting, arm, seed):
        rank = 1 + [*INKS].index(arm) + seed / 10
        return {
            "setting": setting, "arm": arm, "seed": seed, "valid": [60.0 + rank, 30.0 + rank],
            "power": [4.0 * rank, 2.0 * rank, rank], "histogram": [0.1, 0.8, 0.1], "correlation": [1.0, rank / 10, 0.0],
        }  # fmt: skip

    runs = [run(setting, arm, seed) for setting in ("moderate", "plain") for arm in INKS for seed in (1, 2)]
    return {"piece": 3, "floor": {"valid": 15.5}, "runs": runs}


def test_the_spectrum_draws_means_over_seeds_and_ratios_to_no_penalty():
    figure = spectrum_figure(record())
    _, above, left, below = figure.axes
    for line, rank in zip(above.lines, (1.15, 2.15, 3.15, 4.15), strict=True):
        assert line.get_ydata() == pytest.approx([2 * rank, rank])
    for line, rank in zip(below.lines, (2.15, 3.15, 4.15), strict=False):
        assert line.get_ydata() == pytest.approx([rank / 1.15] * 2)
    marks = [line for line in left.lines if line.get_marker() == "_"]
    assert [mark.get_ydata()[0] for mark in marks] == pytest.approx([2.15 / 1.15, 3.15 / 1.15, 4.15 / 1.15])
    assert "AR: power 8.6 of the constant part" in figure.get_label()
    heights = [{text.get_text(): text.xy[1] for text in axes.texts} for axes in (above, below)]
    assert heights[0]["none"] == pytest.approx(1.15) and heights[1]["AR"] == pytest.approx(2.15 / 1.15)
    assert {*heights[0]} - {*heights[1]} == {"none"}


def test_states_and_curves_draw_what_the_record_holds():
    above, below = states_figure(record()).axes
    assert [line.get_xdata().tolist() for line in above.lines] == [pytest.approx([-2 / 3, 0, 2 / 3])] * 4
    assert below.lines[1].get_ydata() == pytest.approx([0.215, 0.0])
    for axes in learning_figure(record()).axes:
        assert len(axes.lines) == 9 and axes.lines[0].get_ydata() == pytest.approx([61.1, 31.1])


def test_traces_share_one_scale_of_colours():
    figure = traces_figure({"small": torch.full((2, 4), 0.1), "large": torch.full((2, 4), -0.8)}, ["the", "sea"])
    assert [axes.images[0].get_clim() for axes in figure.axes] == [(pytest.approx(-0.8), pytest.approx(0.8))] * 2


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="no run of setting 'other'"):
        by_seed(record(), "other", "AR", "power")
    with pytest.raises(ValueError, match="name at least one"):
        traces_figure({}, [])
    with pytest.raises(ValueError, match="seq_len"):
        pull(1, 1.0, 1.0)
    with pytest.raises(ValueError, match="seq_len"):
        cosine_basis(0)
    for weights in ((None, 1.0), (1.0, math.nan), (-1.0, 1.0)):
        with pytest.raises(ValueError, match="alpha is|beta is"):
            pulled(torch.ones(4, 2), *weights, 3)
