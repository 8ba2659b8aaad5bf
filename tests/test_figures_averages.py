"""Figures of averaging, the cache and sampling draw what independent computations give."""

import math
import re

import numpy as np
import pytest
import torch

pytest.importorskip("plotly")

from awdlib.cache import CacheConfig, target_probabilities  # noqa: E402
from awdlib.figures import averaging, cache, sampling  # noqa: E402
from awdlib.figures.style import EMPTY, MUTED, colour  # noqa: E402
from awdlib.figures.trained import toy_run  # noqa: E402

LRS, NOISES, STARTS = (0.1, 0.2, 0.4, 0.8, 1.5), (0.0, 0.25, 0.5, 0.75), (0, 10, 20, 40, 80)


def text_of(figure):
    return figure.layout.meta["alt"]


def numbers_in(text):
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*(?:e-?\d+)?", text)]


# ---- averaging ----


@pytest.mark.parametrize(("lr", "noise", "start"), [(0.1, 0.75, 0), (0.8, 0.5, 40), (1.5, 0.25, 7)])
def test_the_path_and_its_average_are_those_of_a_loop_in_numpy(lr, noise, start):
    descent = averaging.descend(lr, noise, start, steps=60, runs=3, seed=5)
    kicks = torch.randn(60, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).numpy()
    x = np.array([[-10.0, 2.5]] * 3)
    visited = [x]
    for kick in kicks:
        x = x - lr * (np.array([0.08, 1.0]) * x + noise * kick)
        visited.append(x)
    np.testing.assert_allclose(descent.iterates.numpy(), visited, atol=1e-12)
    means = [np.mean(visited[start : last + 1], axis=0) for last in range(start, 61)]
    np.testing.assert_allclose(descent.averages.numpy(), means, atol=1e-12)


def expected_loss(lr, noise, steps):
    """Mean loss after each step, from the recursions of mean and variance."""
    curvature = np.array([0.08, 1.0])
    mean, variance, losses = np.array([-10.0, 2.5]), np.zeros(2), []
    for _ in range(steps + 1):
        losses.append(float((curvature * (mean**2 + variance)).sum() / 2))
        mean, variance = (1 - lr * curvature) * mean, (1 - lr * curvature) ** 2 * variance + (lr * noise) ** 2
    return np.array(losses)


@pytest.mark.parametrize(("lr", "noise"), [(0.4, 0.0), (0.8, 0.5), (1.5, 0.75)])
def test_the_mean_loss_that_is_drawn_is_the_expected_one(lr, noise):
    drawn = 10 ** averaging.averaging_figure(lr, noise, 20).data[-3].y
    expected = expected_loss(lr, noise, 100)
    spread = 5 * math.sqrt(2 / 300) if noise else 1e-9  # five standard errors of a mean of squares, at most
    np.testing.assert_allclose(drawn, expected, rtol=spread)


def test_the_iterates_variance_settles_where_the_closed_form_says():
    lr, noise, runs = 0.8, 0.5, 4000
    last = averaging.descend(lr, noise, 0, steps=150, runs=runs).iterates[-1]
    for direction, curvature in enumerate((0.08, 1.0)):
        settled = lr * noise**2 / (curvature * (2 - lr * curvature))
        assert last[:, direction].var().item() == pytest.approx(settled, rel=5 * math.sqrt(2 / runs))


def test_the_average_of_many_iterates_does_not_depend_on_the_learning_rate():
    def across(lr):  # the start is soon forgotten across the valley, so that only the noise is left
        return averaging.descend(lr, 0.5, 50, steps=250, runs=2000).averages[-1, :, 1].var().item()

    settled = 0.5**2 / 201  # noise^2 / (curvature^2 n)
    assert across(0.4) == pytest.approx(settled, rel=0.15)
    assert across(1.5) == pytest.approx(settled, rel=0.15)


@pytest.mark.parametrize(("lr", "noise", "start"), [(0.8, 0.5, 40), (0.2, 0.75, 0), (1.5, 0.25, 80)])
def test_both_panels_draw_the_same_descent(lr, noise, start):
    figure = averaging.averaging_figure(lr, noise, start)
    descent = averaging.descend(lr, noise, start)
    path, mean_path, loss, mean_loss, mark = figure.data[-5:]
    np.testing.assert_array_equal(np.column_stack([path.x, path.y]), descent.iterates[:, 0])
    at = np.asarray(mean_loss.x, dtype=int)
    assert (at[0], at[-1], list(loss.x)) == (start, 100, list(range(101)))
    np.testing.assert_array_equal(np.column_stack([mean_path.x, mean_path.y]), descent.averages[at - start, 0])
    for line, points in ((loss, descent.iterates), (mean_loss, descent.averages[at - start])):
        wanted = (0.08 * points[..., 0] ** 2 + points[..., 1] ** 2).mean(1) / 2
        np.testing.assert_allclose(10 ** np.asarray(line.y), wanted)
        assert (line.xaxis, line.yaxis) == ("x2", "y2")
    assert (path.line.color, loss.line.color) == (colour("iterate"),) * 2
    assert (mean_path.line.color, mean_loss.line.color) == (colour("average"),) * 2
    assert list(mark.x) == [start, start] and figure.layout.annotations[-1].x == start
    dots = [np.flatnonzero(trace.marker.size).tolist() for trace in (path, mean_path)]
    assert dots == [[100], [0, len(at) - 1]]


def test_the_ellipses_are_those_of_equal_loss():
    figure = averaging.averaging_figure(0.8, 0.5, 40)
    for level, ellipse in zip(sorted(averaging.LEVELS, reverse=True), figure.data, strict=False):
        np.testing.assert_allclose(0.04 * ellipse.x**2 + 0.5 * ellipse.y**2, level)


@pytest.mark.parametrize("noise", NOISES)
def test_the_names_of_the_lines_stay_apart_in_order_and_inside(noise):
    for lr in LRS:
        for start in STARTS:
            figure = averaging.averaging_figure(lr, noise, start)
            (iterate, average), notes = (figure.data[at].y[-1] for at in (-3, -2)), figure.layout.annotations
            heights = notes[2].y, notes[3].y
            assert ("iterate" in notes[2].text, "average" in notes[3].text) == (True, True)
            assert abs(heights[0] - heights[1]) > 0.59
            assert (heights[0] < heights[1]) == (iterate < average)
            assert averaging.LOSSES[0] + 0.29 < min(heights) and max(heights) < averaging.LOSSES[1] - 0.6
            for height, end in zip(heights, (iterate, average), strict=True):
                assert abs(height - max(end, averaging.LOSSES[0])) < 0.95
            if min(heights) > averaging.LOSSES[0] + 0.31:  # pushed as far up as down, but at the panel's foot
                assert sum(heights) == pytest.approx(iterate + average)


@pytest.mark.parametrize(("lr", "noise", "start", "word"), [(0.8, 0.5, 40, "lower"), (0.1, 0.25, 10, "higher")])
def test_the_text_tells_both_losses_and_how_far_apart_they_are(lr, noise, start, word):
    figure = averaging.averaging_figure(lr, noise, start)
    iterate, average = 10 ** figure.data[-3].y[-1], 10 ** figure.data[-2].y[-1]
    ratio = max(iterate, average) / min(iterate, average)
    told = numbers_in(text_of(figure))
    assert told == pytest.approx([100, lr, noise, 300, iterate, start, average, ratio], rel=0.06)
    assert text_of(figure).endswith(f"times {word}.")


@pytest.mark.parametrize(
    ("lr", "noise", "start", "named"),
    [(2.0, 0.5, 0, "lr"), (0.0, 0.5, 0, "lr"), (0.5, -0.1, 0, "noise"), (0.5, math.nan, 0, "noise"),
     (0.5, 0.5, -1, "start"), (0.5, 0.5, 100, "start"), (0.5, 0.5, 2.0, "start")],
)  # fmt: skip
def test_a_descent_that_cannot_be_is_refused(lr, noise, start, named):
    with pytest.raises(ValueError, match=f"^{named} is "):
        averaging.averaging_figure(lr, noise, start)


# ---- cache ----


def naive_cache(text, position, flatness, window):
    """Attention over the window before one word, and its share on positions that the same word followed."""
    states = text.states.double().numpy()
    first = max(0, position - window)
    scores = np.array([flatness * float(states[position] @ states[past]) for past in range(first, position)])
    looks = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    followed = [text.words[past] == text.words[position] for past in range(first, position)]
    return looks, float(looks[followed].sum())


CACHES = [(0.0, 0.1, 100), (3.0, 0.4, 30), (10.0, 0.02, 300), (1.0, 0.8, 10)]  # theta, lambda, window


@pytest.mark.parametrize(("flatness", "weight", "window"), CACHES)
def test_lines_lead_from_the_models_probability_to_the_mixture(flatness, weight, window):
    text, figure = cache.read_text(), cache.cache_figure(flatness, weight, window)
    ring, _, losses, gains = figure.data[:4]
    for row in range(cache.WORDS):
        position = text.passage + row
        alone = text.model[position].item()
        mixed = (1 - weight) * alone + weight * naive_cache(text, position, flatness, window)[1]
        drawn, other = (gains, losses) if mixed >= alone else (losses, gains)
        assert 10 ** ring.x[row] == pytest.approx(alone) and ring.y[row] == row
        assert 10 ** drawn.x[3 * row : 3 * row + 2] == pytest.approx([alone, mixed], rel=1e-3)
        assert np.isnan(other.x[3 * row : 3 * row + 3]).all() and np.isnan(drawn.x[3 * row + 2])
        assert list(drawn.y[3 * row : 3 * row + 2]) == [row, row]
        assert drawn.marker.size[3 * row : 3 * row + 2].tolist() == [0, 9]
    assert (gains.line.color, losses.line.color) == (colour("with"), colour("without"))
    shown = [word.replace("<eos>", "‹eos›") for word in text.words[text.passage : text.passage + cache.WORDS]]
    assert list(figure.layout.yaxis.ticktext) == shown
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first word is above


def test_the_model_reads_the_test_text_as_the_library_does():
    model, corpus, _ = toy_run()
    found = target_probabilities(model, corpus.test, CacheConfig(window=30, flatness=3.0), seq_len=100)
    text, ours = cache.read_text(), cache.text_probabilities(3.0, 30)
    torch.testing.assert_close(ours.model, found.model, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(ours.cache, found.cache, rtol=1e-3, atol=1e-6)
    assert ours.usable.equal(found.usable)
    assert text.words == [corpus.vocabulary.words[number] for number in corpus.test[1:]]


@pytest.mark.parametrize(("flatness", "weight", "window"), CACHES)
def test_bars_show_where_the_cache_looks(flatness, weight, window):
    text, figure = cache.read_text(), cache.cache_figure(flatness, weight, window)
    last = text.passage + cache.WORDS - 1
    looks, p_cache = naive_cache(text, last, flatness, window)
    np.testing.assert_allclose(cache.attention(flatness, window, last), looks, rtol=1e-5)
    others, same = (np.asarray(figure.data[at].y) for at in (4, 5))
    assert (figure.data[4].marker.color, figure.data[5].marker.color) == (MUTED, colour("with"))
    wanted = np.append(np.zeros(300), looks / looks.max())[-100:]
    np.testing.assert_allclose(others + same, wanted, rtol=1e-5)
    assert list(figure.data[5].x) == list(range(-100, 0))
    for ago in range(1, 101):
        shows = same if text.words[last - ago] == "<eos>" else others
        assert shows[-ago] == pytest.approx(wanted[-ago])
    assert f"= {p_cache:.2f}" in figure.layout.annotations[-1].text
    if window <= 100:
        assert same.sum() / (others + same).sum() == pytest.approx(p_cache, rel=1e-4)


def test_the_cache_looks_at_no_more_than_there_is():
    assert len(cache.attention(1.0, 300, 5)) == 5


@pytest.mark.parametrize(("flatness", "weight", "window"), CACHES)
def test_perplexities_and_gains_are_told(flatness, weight, window):
    text, figure = cache.read_text(), cache.cache_figure(flatness, weight, window)
    found = cache.text_probabilities(flatness, window)
    alone, cached = found.model[:, 0].numpy(), found.cache[:, 0].numpy()
    mixed = (1 - weight) * alone + weight * cached
    mixed[0] = alone[0]  # nothing to look back at
    rows = slice(text.passage, text.passage + cache.WORDS)
    ppl = [np.exp(-np.log(p).mean()) for p in (alone[rows], mixed[rows], alone, mixed)]
    ratio = mixed[rows] / alone[rows]
    told = numbers_in(text_of(figure))
    assert told == pytest.approx(
        [flatness, weight, window, *ppl, cache.WORDS, (ratio > 1).sum(), ratio.max(), 1 - weight], rel=0.03
    )
    assert f"“{text.words[text.passage + ratio.argmax()]}”" in text_of(figure)
    sentence, whole = figure.layout.annotations[:2]
    assert numbers_in(sentence.text) == pytest.approx(ppl[:2], rel=0.03)
    assert numbers_in(whole.text) == pytest.approx(ppl[2:], rel=0.01)
    for note, (before, after) in ((sentence, ppl[:2]), (whole, ppl[2:])):
        assert note.font.color == colour("with" if after < before else "without")


@pytest.mark.parametrize("window", [10, 30, 100, 300])
def test_no_word_stands_between_gain_and_loss(window):
    """Rounding may not turn a blue line orange."""
    text = cache.read_text()
    rows = slice(text.passage, text.passage + cache.WORDS)
    for flatness in (0.0, 1.0, 3.0, 10.0):
        found = cache.text_probabilities(flatness, window)
        assert ((found.cache / found.model)[rows] - 1).abs().min() > 0.01


@pytest.mark.parametrize(
    ("flatness", "weight", "window", "named"),
    [(-1.0, 0.1, 100, "flatness"), (1.0, 1.1, 100, "weight"), (1.0, 0.1, 0, "window"), (1.0, 0.1, 2.5, "window")],
)
def test_a_cache_that_cannot_be_is_refused(flatness, weight, window, named):
    with pytest.raises(ValueError, match=rf"the cache's {named}"):
        cache.cache_figure(flatness, weight, window)
    if named != "weight":
        with pytest.raises(ValueError, match=rf"the cache's {named}"):
            cache.attention(flatness, window, 50)


# ---- sampling ----

KEPT = (1, 2, 3, 5, 10, 20, 100, 1105)


def naive_choice(prompt, temperature, top_k):
    """Words and probabilities before and after, likeliest first, from one pass over the whole prompt."""
    model, corpus, _ = toy_run()
    ids = corpus.vocabulary.encode(["<eos>", *prompt.split()])
    with torch.no_grad():
        logits = model(ids[:, None]).logits[-1, 0].double().numpy()
    order = np.argsort(-logits)
    before = np.exp(logits[order]) / np.exp(logits).sum()
    after = (before / before[0]) ** (1 / (temperature or 1e-3)) * (np.arange(len(order)) < top_k)
    return [corpus.vocabulary.words[number] for number in order], before, after / after.sum()


@pytest.mark.parametrize("prompt", sampling.PROMPTS)
@pytest.mark.parametrize(("temperature", "top_k"), [(0.5, 1105), (1.5, 10), (3.0, 100), (0.0, 5), (1.0, 16), (2.0, 1)])
def test_bars_are_a_naive_softmax_with_temperature_and_top_k(prompt, temperature, top_k):
    words, before, after = naive_choice(prompt, temperature, top_k)
    figure = sampling.sampling_figure(prompt, temperature, top_k)
    dropped, kept, ring, hole = figure.data
    shown = [word.replace("<eos>", "‹eos›") for word in words[:16]]
    assert list(figure.layout.yaxis.ticktext) == [*shown, "all others"]
    np.testing.assert_allclose(ring.x, [*before[:16], before[16:].sum()], rtol=1e-4)
    np.testing.assert_array_equal(ring.x, hole.x)
    np.testing.assert_allclose(kept.x, [*after[:16], after[16:].sum()], rtol=1e-4, atol=1e-9)
    gone = [n >= top_k for n in range(16)] + [top_k < 1105]
    np.testing.assert_allclose(dropped.x, np.where(gone, ring.x, 0))
    assert (dropped.marker.color, kept.marker.color) == (EMPTY, colour("kept"))
    assert all(list(trace.y) == list(range(17)) for trace in figure.data)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the likeliest word is above
    assert kept.orientation == dropped.orientation == "h" and figure.layout.barmode == "overlay"


@pytest.mark.parametrize(("temperature", "top_k"), [(0.5, 1105), (1.5, 10), (3.0, 2), (0.0, 1)])
def test_the_effective_numbers_and_the_dropped_share_are_told(temperature, top_k):
    prompt = sampling.PROMPTS[0]
    words, before, after = naive_choice(prompt, temperature, top_k)
    figure = sampling.sampling_figure(prompt, temperature, top_k)
    numbers = [math.exp(-sum(p * math.log(p) for p in ps if p > 0)) for ps in (before, after)]
    share = 100 * before[top_k:].sum()
    kept = [] if top_k == 1 else [top_k]
    told = [temperature, *kept, after[0], *numbers, *([share] if share else [])]
    assert numbers_in(text_of(figure)) == pytest.approx(told, rel=0.01, abs=0.006)
    assert f"“{words[0]}”" in text_of(figure) and text_of(figure).startswith(f"“{prompt} …”")
    _, _, model, drawn, drops = figure.layout.annotations
    assert numbers_in(model.text) == pytest.approx(numbers[:1], abs=0.051)
    assert numbers_in(drawn.text) == pytest.approx(numbers[1:], abs=0.051)
    assert numbers_in(drops.text) == pytest.approx([share] if share else [], abs=0.051)


def test_the_effective_number_of_equally_likely_words_is_their_number():
    assert sampling.effective_number(torch.full((7,), 1 / 7)) == pytest.approx(7)
    assert sampling.effective_number(torch.tensor([0.0, 1.0, 0.0])) == 1


@pytest.mark.parametrize("prompt", sampling.PROMPTS)
def test_rounding_can_neither_reorder_the_words_nor_move_the_cut(prompt):
    before = sampling.choose(prompt, 1.0, 1105).before
    fall = before[:-1] / before[1:] - 1
    assert fall[: sampling.SHOWN].min() > 5e-3
    assert min(fall[k - 1] for k in KEPT[:-1]) > 1e-3


@pytest.mark.parametrize(
    ("prompt", "temperature", "top_k", "named"),
    [("the sailor steers the", -0.5, 5, "temperature"), ("the sailor steers the", 1.0, 0, "top_k"),
     ("the sailor steers the", 1.0, 1106, "top_k"), ("the zeppelin", 1.0, 5, "zeppelin")],
)  # fmt: skip
def test_a_choice_that_cannot_be_is_refused(prompt, temperature, top_k, named):
    with pytest.raises(ValueError, match=named):
        sampling.sampling_figure(prompt, temperature, top_k)
