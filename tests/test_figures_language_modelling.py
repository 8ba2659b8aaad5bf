"""Figures of *Language modelling and perplexity*: every number in them computed once more, from its definition."""

import json
import math

import numpy as np
import pytest
import torch

from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures import ngrams
from awdlib.figures.carrying import carrying_figure
from awdlib.figures.ngrams import more_text_figure, passage, surprise_figure
from awdlib.figures.perplexity import PROMPTS, SHOWN, hesitation, hesitation_figure, strip_figure
from awdlib.figures.zipf import zipf_figure
from awdlib.ngrams import KneserNey
from awdlib.toy_language import toy_language

RECORD = json.loads(bundled("runs/language-modelling.json").read_text(encoding="utf-8"))


def test_the_passage_is_one_sentence_of_the_validation_text_with_the_grammars_own_probabilities():
    corpus, language, found = load_corpus("toy"), toy_language(), passage()
    text = corpus.vocabulary.decode(corpus.valid)
    assert text[ngrams.START - 1] == "<eos>" and found.words == text[ngrams.START : ngrams.STOP]
    assert found.words.count("<eos>") == 1 and found.words[-1] == "<eos>"
    log_p = language.log_probabilities(text[: ngrams.STOP])[ngrams.START :]
    ids = corpus.vocabulary.encode(found.words)
    np.testing.assert_allclose(np.log(found.exact[np.arange(len(ids)), ids]), log_p, atol=1e-9)


@pytest.mark.parametrize(("order", "discount", "word"), [(1, 0.6, 1), (3, 0.05, 12), (5, 0.9, 22)])
def test_the_bars_are_the_surprises_of_the_n_gram_model(order, discount, word):
    corpus = load_corpus("toy")
    model = KneserNey(corpus.train, len(corpus.vocabulary), order, discount=discount)
    bits = -np.log2(model.probabilities(corpus.valid[: ngrams.STOP])[ngrams.START :])
    figure = surprise_figure(order, discount, word)
    reads, others, here, grammar, guesses, truth = figure.data
    np.testing.assert_allclose(np.add(others.x, here.x), bits, rtol=1e-6)
    assert np.flatnonzero(here.x).tolist() == [word - 1]
    assert np.flatnonzero(reads.x).tolist() == list(range(max(0, word - order), word - 1))
    exact = passage().exact
    ids = corpus.vocabulary.encode(passage().words).numpy()
    np.testing.assert_allclose(grammar.x, -np.log2(exact[np.arange(len(ids)), ids]), atol=1e-9)
    p = model.next_word_probabilities(corpus.valid[: ngrams.START + word - 1])
    np.testing.assert_allclose(guesses.x, np.sort(p)[::-1][: len(guesses.x)])
    names = figure.layout.yaxis2.ticktext
    shown = corpus.vocabulary.encode([name.replace("‹eos›", "<eos>") for name in names]).numpy()
    np.testing.assert_allclose(p[shown], guesses.x)
    np.testing.assert_allclose(truth.x, exact[word - 1, shown])
    running = 2 ** bits[:word].mean()
    assert f"perplexity up to here {running:.0f} and" in figure.layout.meta["alt"]
    assert f"up to this word {running:,.0f}" in figure.layout.annotations[0].text
    whole = math.exp(-np.log(model.probabilities(corpus.valid)[1:]).mean())
    assert figure.layout.annotations[-1].text == f"all of the text: {whole:,.0f}"


def test_beyond_order_2_the_bars_hardly_move():
    """As the chapter's explorable says of it."""
    bits = {n: np.add(*(surprise_figure(n, 0.6, 1).data[i].x for i in (1, 2))) for n in (1, 2, 3, 5)}
    moved = [abs(bits[one] - bits[other]).mean() for one, other in ((1, 2), (2, 3), (3, 5))]
    assert moved[0] > 1.5 and max(moved[1:]) < 0.6


def test_the_names_of_the_passage_are_where_the_chapter_points():
    words, names = passage().words, toy_language().names.base
    assert [place for place, word in enumerate(words) if word in names] == [12, 14, 17]
    assert words[12] == words[14] == "norma" and words[6] == "hens" and words[10:12] == ["pull", "show"]


def test_no_bar_of_the_chapters_explorable_leaves_its_axis():
    worst = max(np.max(np.add(*(surprise_figure(n, 0.05, 1).data[i].x for i in (1, 2)))) for n in (1, 2, 3, 5))
    assert 20 < worst < ngrams.MOST


def test_with_a_small_discount_a_5_gram_is_worse_than_a_uniform_guess():
    """As the chapter's explorable says of it."""
    corpus = load_corpus("toy")
    assert ngrams.fitted(5, 0.05)[1] > len(corpus.vocabulary) > ngrams.fitted(5, 0.6)[1]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: surprise_figure(0, 0.6, 1), "order is 0"), (lambda: surprise_figure(2, None, 1), "discount is None"),
    (lambda: hesitation([0.5, 0.6], 1.0), "sum to one"), (lambda: hesitation([], 1.0), "sum to one"),
    (lambda: hesitation([-0.5, 1.5], 1.0), "sum to one"), (lambda: hesitation([[1.0]], 1.0), "sum to one"),
    (lambda: hesitation_figure(PROMPTS[0], 1e-9), "temperature is 1e-09"), (lambda: hesitation_figure(3, 1), "prompt"),
    (lambda: strip_figure([], {}, {}), "at least one of each"), (lambda: zipf_figure({}, {}), "no corpus"),
    (lambda: zipf_figure({"x": [(1, 2)]}, {"x": {}}), "'x'"), (lambda: zipf_figure({"toy": []}, {"toy": {}}), "'toy'"),
    (lambda: zipf_figure({"toy": [(1, 2)]}, {}), "'toy'"), (lambda: carrying_figure([], 15.0), "runs is empty"),
    (lambda: more_text_figure([1, 2], {"2": [1.0]}, 1.0, 2.0), "give one for each of"),
    (lambda: more_text_figure([], {}, 1.0, 2.0), "give one for each of"),
])  # fmt: skip
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_order_longer_than_the_text_before_reads_all_of_it():
    words = ngrams.expectations(400, 0.6)
    corpus = load_corpus("toy")
    model, _ = ngrams.fitted(400, 0.6)
    np.testing.assert_allclose(words[0], model.next_word_probabilities(corpus.valid[: ngrams.START]))


@pytest.mark.parametrize("bad", [0, 23])
def test_a_word_that_the_sentence_has_not_is_refused(bad):
    with pytest.raises(ValueError, match="word is"):
        surprise_figure(2, 0.6, bad)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_hesitation_is_entropy_and_cross_entropy_as_torch_has_them(temperature):
    p = torch.rand(40, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    p = p / p.sum()
    q = torch.distributions.Categorical(logits=p.log() / temperature)
    found = hesitation([*p.tolist(), 0.0], temperature)
    assert found.own == pytest.approx(q.entropy().exp().item())
    assert found.real == pytest.approx(math.exp(-(p * q.logits).sum().item()))
    assert found.least == pytest.approx(torch.distributions.Categorical(probs=p).entropy().exp().item())
    assert found.real > found.least * (1 + 1e-6) or temperature == 1.0


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_picture_of_hesitation_shows_the_grammars_distribution_and_its_tempered_one(prompt):
    p = np.sort(toy_language().next_word_probabilities(prompt.split()))[::-1]
    guess, truth, least, own, real, own_dot, real_dot = hesitation_figure(prompt, 0.5).data
    np.testing.assert_allclose(truth.x, [*p[:SHOWN], p[SHOWN:].sum()])
    q = p**2 / (p**2).sum()
    np.testing.assert_allclose(guess.x, [*q[:SHOWN], q[SHOWN:].sum()])
    assert real_dot.y[0] == pytest.approx(math.exp(-(p[p > 0] * np.log(q[p > 0])).sum()))
    assert own_dot.y[0] == pytest.approx(math.exp(-(q[p > 0] * np.log(q[p > 0])).sum()))
    assert min(real.y) >= least.y[0] * (1 - 1e-12) and 10 ** real.x[np.argmin(real.y)] == pytest.approx(1, abs=0.05)
    assert (np.diff(own.y) > 0).all(), "surer is less hesitant"
    assert 10 ** own_dot.x[0] == pytest.approx(0.5) and own_dot.x == real_dot.x
    assert [f"{10**at:.3g}" for at in hesitation_figure(prompt, 0.5).layout.xaxis.tickvals] == ["0.5", "1", "2", "5"]
    top = 10 ** hesitation_figure(prompt, 0.5).layout.yaxis.range[1]
    assert max(max(real.y), max(own.y)) < top


def test_a_strip_holds_each_surprise_and_each_note():
    figure = strip_figure(["a", "b"], {"one": [1.04, 12.0], "two": [-0.0, 3.0]}, {1: "look"})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1.0", "0.0", "12.0", "3.0", "◂ look"]
    assert figure.get_label() == "Mean surprise in bits a word: one 6.5, two 1.5."
    with pytest.raises(ValueError, match="bits has 1 numbers of 'two'"):
        strip_figure(["a", "b"], {"one": [1.0, 2.0], "two": [3.0]}, {})


def test_lines_of_more_text_are_the_records():
    more = RECORD["more_text"]
    figure = more_text_figure(more["sizes"], more["valid"], 15.5, 24.5)
    lines = figure.axes[0].lines
    assert (lines[4].get_xdata()[0], lines[4].get_marker()) == (more["sizes"][0], "*"), "the network read little"
    for line, values in zip(lines, more["valid"].values(), strict=False):
        assert list(line.get_xdata()) == more["sizes"] and list(line.get_ydata()) == values
    assert list(lines[4].get_ydata()) == [24.5] and list(lines[5].get_ydata()) == [15.5, 15.5]


def test_the_lines_of_zipf_are_the_records_and_marks_lie_on_them():
    corpora = RECORD["corpora"]
    ranks = {name: corpus["ranks"] for name, corpus in corpora.items()}
    figure = zipf_figure(ranks, {name: corpus["marks"] for name, corpus in corpora.items()})
    drawn = [line.get_xydata().tolist() for line in figure.axes[0].lines]
    for name, pairs in ranks.items():
        assert [[float(a), float(b)] for a, b in pairs] in drawn
        for mark in ("<unk>", "<eos>"):
            if mark in corpora[name]["marks"]:
                count = corpora[name]["marks"][mark]
                (place,) = [xy[0][0] for xy in drawn if len(xy) == 1 and xy[0][1] == count]
                assert abs(math.log(dict(map(tuple, ranks[name]))[place] / count)) < 0.2
    assert len(drawn) == 3 + 5 + 1


def test_carrying_shows_every_run_and_the_mean_cost_by_place():
    runs = RECORD["runs"]
    above, below = carrying_figure(runs, 15.5).axes
    dots = sorted(value for line in above.lines if line.get_marker() == "o" for value in line.get_ydata())
    assert dots == sorted(run["read"][run["trained"]]["valid"] for run in runs)
    longest = [run["read"] for run in runs if run["window"] == 35 and run["trained"] == "carried"]
    for place in (0, 1, 34):
        cost = [one["reset"]["nats_by_position"][place] - one["carried"]["nats_by_position"][place] for one in longest]
        assert below.patches[place].get_height() == pytest.approx(sum(cost) / 3)
    assert len(below.patches) == 35
