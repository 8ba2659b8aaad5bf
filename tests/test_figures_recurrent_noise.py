"""Figures about dropped recurrent weights show what masks do: recomputed by drawing them, and by plain numpy."""

import itertools
import math

import numpy as np
import pytest
import torch

from awdlib.dropout import keep_mask, weight_dropout
from awdlib.figures.recurrent_noise import (
    EDGE,
    MAPS,
    SCHEMES,
    WORD,
    eigenvalue_figure,
    eigenvalues,
    shared_noise,
    shared_noise_figure,
)
from awdlib.figures.trained import toy_run
from awdlib.figures.weight_drop import weight_matrix
from awdlib.figures.weight_drop_runs import ARMS, arms_figure, suspects_figure, trained_figure
from awdlib.recurrent import lstm_step

SHAPES = {"fresh": (3, 2, 1, 9), "held": (1, 2, 1, 9), "weights": (1, 1, 4, 9)}  # (step, sequence, unit, feature)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_closed_form_of_shared_noise_is_what_drawn_masks_give(scheme):
    torch.manual_seed(3)
    weight, h = torch.randn(4, 9), torch.randn(3, 2, 9)
    coins = keep_mask((20_000, *SHAPES[scheme]), 0.4)
    drawn = (coins * weight * h[:, :, None]).sum(-1)  # (draw, step, sequence, unit)
    measured = torch.corrcoef(drawn.transpose(1, 2).flatten(1).t())
    assert (measured - shared_noise(scheme, weight, h)).abs().max() < 0.05


def test_who_shares_a_coin_and_who_does_not():
    torch.manual_seed(3)
    weight, h = torch.rand(4, 9) + 0.1, torch.rand(3, 2, 9) + 0.1  # positive: what is shared shows
    found = {scheme: shared_noise(scheme, weight, h) for scheme in SCHEMES}
    places = [*itertools.product(range(2), range(3), range(4))]  # (sequence, step, unit)
    for (i, (b, t, u)), (k, (c, s, v)) in itertools.product(enumerate(places), repeat=2):
        assert (found["fresh"][i, k] > 0) == (b == c and t == s)
        assert (found["held"][i, k] > 0) == (b == c)
        assert (found["weights"][i, k] > 0) == (u == v)


def test_the_picture_of_shared_noise_shows_the_matrices():
    torch.manual_seed(3)
    weight, h = torch.randn(4, 9), torch.randn(3, 2, 9)
    figure = shared_noise_figure(weight, h)
    for axes, scheme in zip(figure.axes, SCHEMES, strict=True):
        assert np.allclose(axes.images[0].get_array(), shared_noise(scheme, weight, h))
        assert [label.get_text() for label in axes.get_xticklabels()] == ["sequence 1", "sequence 2"]


def test_bad_arguments_are_refused():
    for call, words in (
        (lambda: shared_noise("none", torch.ones(2, 3), torch.ones(1, 1, 3)), "scheme is 'none'"),
        (lambda: shared_noise("held", torch.ones(2, 4), torch.ones(1, 1, 3)), "weight is a tensor of shape"),
        (lambda: eigenvalues("trained", 0.5), "of is 'trained'"),
        (lambda: eigenvalues("gate", 1.0), "p is 1.0"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize("kind", ["orthogonal", "gaussian", "gate"])
def test_eigenvalues_are_those_of_the_masked_matrix_scaled_to_the_unit_circle(kind):
    matrix = weight_matrix("trained" if kind == "gate" else kind)
    scaled = matrix * math.sqrt(len(matrix)) / matrix.norm()
    masked = weight_dropout(scaled, 0.4, generator=torch.Generator().manual_seed(2)).numpy()
    found = eigenvalues(kind, 0.4, seed=2)
    for values, of in ((found.masked, masked), (found.plain, scaled.numpy())):
        assert np.allclose(np.sort_complex(values), np.sort_complex(np.linalg.eigvals(of)), atol=1e-8)


def test_the_lstms_step_is_the_derivative_of_the_masked_step_after_the_words_read():
    model, corpus, _ = toy_run()
    layer = model.layers[0]
    weights = [weight.detach().double() for weight in layer.parameters()]
    weights[1] = weight_dropout(weights[1], 0.5, generator=torch.Generator().manual_seed(1))
    x = model.embedding.detach()[corpus.valid[: WORD + 1]].double()
    h = c = torch.zeros(1, layer.hidden_size, dtype=torch.float64)
    for x_t in x[:-1]:
        h, c = lstm_step(x_t[None], (h, c), *weights)
    step = torch.autograd.functional.jacobian(
        lambda both: torch.cat(lstm_step(x[-1:], (both[None, : h.shape[1]], both[None, h.shape[1] :]), *weights), 1)[0],
        torch.cat([h, c], 1)[0],
    )
    due = np.abs(np.linalg.eigvals(step.numpy()))
    assert np.allclose(np.sort(np.abs(eigenvalues("state", 0.5).masked)), np.sort(due), atol=1e-6)


def test_where_theory_has_the_edge_large_matrices_have_it():
    """A matrix of 700 rows: the ring and the disc of the docstring, with masks and not Gaussian noise."""
    draw, n, p = torch.Generator().manual_seed(4), 700, 0.3
    gaussian = torch.randn(n, n, generator=draw, dtype=torch.float64)
    for kind, matrix in (("gaussian", gaussian / n**0.5), ("orthogonal", torch.linalg.qr(gaussian)[0])):
        size = torch.linalg.eigvals(weight_dropout(matrix, p, generator=draw)).abs()
        found = eigenvalues(kind, p)
        assert abs(size.max().item() - found.edge) < 0.06 and found.edge == pytest.approx(0.7**-0.5)
        if kind == "orthogonal":
            assert abs(size.min().item() - found.hole) < 0.06 and found.hole == pytest.approx((0.4 / 0.7) ** 0.5)
    assert eigenvalues("orthogonal", 0.5).hole == eigenvalues("orthogonal", 0.8).hole == 0


@pytest.mark.parametrize("of", MAPS)
def test_the_figure_shows_every_eigenvalue_the_circle_and_the_prediction(of):
    for p in (0.0, 0.3, 0.8):
        found, figure = eigenvalues(of, p, 2), eigenvalue_figure(of, p, 2)
        plain, masked = figure.data
        assert np.allclose(plain.x + 1j * plain.y, found.plain) and np.allclose(masked.x + 1j * masked.y, found.masked)
        radii = [shape.x1 for shape in figure.layout.shapes]
        assert radii == [1.0, *(radius for radius in (found.edge, found.hole) if radius)]
        assert max(np.abs(found.masked).max(), *radii) < EDGE, "all of it lies inside the picture"
        alt = figure.layout.meta["alt"]
        assert f"Largest modulus {np.abs(found.masked).max():.2f}" in alt and MAPS[of] in alt
        assert ("theory" in alt) == (of in ("orthogonal", "gaussian"))


RUNS = [
    {"arm": arm, "valid": [60.0, 40.0, 30.0 + at + run], "singular_values": [[4.0 + at, 2.0], [1.0]],
     "valid_with_masks": {"0": 20.0 + at, "0.5": 40.0 + run}}
    for at, arm in enumerate(ARMS) for run in range(2)
]  # fmt: skip


def test_the_arms_figure_shows_every_run_and_no_other_arm():
    figure = arms_figure([*RUNS, RUNS[0] | {"arm": "silent"}], floor=15.5)
    *curves, floor = figure.axes[0].lines
    assert [list(line.get_ydata()) for line in curves] == [run["valid"] for run in RUNS]
    assert list(floor.get_ydata()) == [15.5, 15.5]
    assert {*(text.get_text() for text in figure.axes[0].texts[1:])} == {name for name, _, _ in ARMS.values()}


def test_the_figure_of_trained_models_shows_means_over_runs():
    left, right = trained_figure(RUNS).axes
    for at, (spectrum, read) in enumerate(zip(left.lines, right.lines, strict=True)):
        assert list(spectrum.get_ydata()) == [4.0 + at, 2.0]
        assert list(read.get_xdata()) == [0.0, 0.5] and list(read.get_ydata()) == [20.0 + at, 40.5]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [name for name, _, _ in ARMS.values()]


def test_suspects_are_shown_under_letters_alone():
    figure = suspects_figure([[60, 30], [70, 32], [80, 50]], floor=15.5)
    *curves, _ = figure.axes[0].lines
    assert [list(line.get_ydata()) for line in curves] == [[60, 30], [70, 32], [80, 50]]
    named = sorted((text.get_text(), text.xy[1]) for text in figure.axes[0].texts[1:])
    assert [name for name, _ in named] == ["A", "B", "C"] and named[0][1] == 30
    assert figure.get_label().endswith("at the end A 30, B 32, C 50; floor 15.5.")
