"""Pictures of the complete model: a window on its way through it, broken promises, the terms of the loss."""

import math

import pytest
import torch
from torch.nn import functional as F

from awdlib.dropout import keep_mask
from awdlib.figures.trained import toy_run
from awdlib.figures.whole_model import faults_figure, terms_figure
from awdlib.figures.window_walk import LINES, STEPS, bars, walk, walk_figure
from awdlib.penalties import activation_regularization, temporal_activation_regularization

SEEDS = (1, 2, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_stages_in_training_are_those_of_the_masks_that_the_seed_draws(seed):
    model, corpus, _ = toy_run()
    found, config = walk(training=True, seed=seed), model.config
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = keep_mask((len(model.embedding), 1), config.dropout_embedding, generator=generator) * model.embedding
        embedded = rows[corpus.valid[:STEPS]]
        first_mask = keep_mask((1, 1, 64), config.dropout_input, generator=generator)[0]
        torch.testing.assert_close(found.stages["embedding"], embedded)
        torch.testing.assert_close(found.stages["input"], embedded * first_mask)
        keep_mask(tuple(model.layers[0].weight_hh.shape), config.dropout_weight, generator=generator)
        hidden = keep_mask((1, 1, 128), config.dropout_hidden, generator=generator)[0]
        torch.testing.assert_close(found.stages["hidden"], found.stages["first"] * hidden)
        keep_mask(tuple(model.layers[1].weight_hh.shape), config.dropout_weight, generator=generator)
        last = keep_mask((1, 1, 64), config.dropout_output, generator=generator)[0]
        torch.testing.assert_close(found.stages["output"], found.stages["raw"] * last)


@pytest.mark.parametrize("training", [True, False])
def test_the_bars_average_to_the_terms_of_the_loss(training):
    model, corpus, record = toy_run()
    found, weights = walk(training, 2), record["training"]
    logits = found.stages["output"] @ model.embedding.detach().t() + model.softmax_bias.detach()
    entropy = F.cross_entropy(logits, corpus.valid[1 : STEPS + 1])
    torch.testing.assert_close(bars("entropy", training, 2).mean(), entropy)
    ar = activation_regularization(found.stages["output"][:, None], weights["ar_weight"])
    torch.testing.assert_close(bars("ar", training, 2).mean(), ar)
    tar = temporal_activation_regularization(found.stages["raw"][:, None], weights["tar_weight"])
    torch.testing.assert_close(bars("tar", training, 2)[1:].mean(), tar)
    for line in ("embedding", "input", "first", "hidden", "raw", "output"):
        torch.testing.assert_close(bars(line, training, 2), found.stages[line].pow(2).mean(1))


def test_evaluation_is_the_shipped_model_and_leaves_it_as_it_was():
    model, corpus, _ = toy_run()
    found = walk(training=False, seed=3)
    with torch.no_grad():
        output = model(corpus.valid[:STEPS, None])
    torch.testing.assert_close(found.stages["raw"], output.raw_output[:, 0])
    walk(training=True, seed=3)
    assert not model.training and not model.layers[0]._forward_hooks


def test_the_masks_shown_in_the_chapter_drop_a_word_a_feature_and_nothing_behind_a_layer():
    """What the text says to look for, with the masks that are shown first."""
    stages = walk(training=True, seed=2).stages
    assert (stages["embedding"] == 0).all(1).any() and not (stages["embedding"] == 0).all(0).any()
    assert (stages["input"] == 0).all(0).any() and (stages["hidden"] == 0).all(0).any()
    assert not (stages["first"] == 0).any() and not (stages["raw"] == 0).any()
    assert not any((walk(False, 2).stages[name] == 0).any() for name in ("embedding", "input", "hidden", "output"))


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("training", [True, False])
def test_the_figure_draws_the_stage_its_bars_and_says_so(line, training):
    for seed in SEEDS:
        figure, numbers = walk_figure(line, training, seed), bars(line, training, seed)
        heat, bar = figure.data
        stage = walk(training, seed).stages[line]
        assert torch.equal(torch.tensor(heat.z), stage[:, :40]) and torch.equal(torch.tensor(bar.x), numbers)
        assert 0 <= numbers.min() and numbers.max() <= LINES[line].longest, "a bar leaves the axis"
        assert heat.zmax == -heat.zmin == LINES[line].darkest
        alt = figure.layout.meta["alt"]
        assert f"{(stage == 0).double().mean():.0%} of it zeros" in alt and f"{numbers.mean():.2g} on average" in alt
        gone = {word for word, row in zip(walk(training, seed).words, stage, strict=False) if not row.any()}
        assert ("nothing is left of" in alt) == (bool(gone) and line != "tar")
        assert list(figure.layout.yaxis.ticktext) == [
            w.replace("<eos>", "‹eos›") for w in walk(training, seed).words[:STEPS]
        ]


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="line is 'loss'; it must be one of embedding, input,"):
        walk_figure("loss", True, 1)
    for seed in (-1, 1.5, "1", None):
        with pytest.raises(ValueError, match="seed is"):
            walk_figure("ar", True, seed)


def test_crosses_stand_where_promises_are_broken():
    figure = faults_figure({"one": ["b"], "two": ["a", "c"], "three": []}, ["a", "b", "c"])
    (axes,) = figure.axes
    crosses = {text.get_position() for text in axes.texts if text.get_text() == "✗"}
    assert crosses == {(1, 0), (0, 1), (2, 1)} and len(axes.texts) == 9
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two", "three"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "3"]
    assert figure.get_label() == "3 changes, 3 promises. one: breaks 2. two: breaks 1, 3. three: breaks none."
    with pytest.raises(ValueError, match="'d' is none of the promises: a, b, c"):
        faults_figure({"one": ["d"]}, ["a", "b", "c"])
    with pytest.raises(ValueError, match="nothing to show"):
        faults_figure({}, ["a"])


def test_the_terms_are_drawn_as_they_were_measured():
    terms = {"cross entropy": [6.0, 4.0, 3.0], "AR": [0.01, 0.02, 0.03], "TAR": [0.02, 0.03, 0.05]}
    (axes,) = terms_figure(terms).axes
    assert [list(line.get_ydata()) for line in axes.lines] == list(terms.values())
    assert {text.get_text() for text in axes.texts} == {*terms}


@pytest.mark.parametrize(("change", "message"), [
    ({"AR": []}, "AR has 0 values"), ({"TAR": [0.1]}, "TAR has 1 values"), ({"AR": [0.0, 1.0]}, "AR is 0.0"),
    ({"AR": [math.nan, 1.0]}, "AR is nan"), ({"L2": [1.0, 2.0]}, "terms are cross entropy, AR, TAR, L2"),
])  # fmt: skip
def test_wrong_terms_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        terms_figure({"cross entropy": [6.0, 4.0], "AR": [0.01, 0.02], "TAR": [0.02, 0.03]} | change)
