"""The cache against a per-token loop, and its invariants."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from awdlib import cache
from awdlib.cache import CacheConfig, cache_probabilities, sweep_flatness, target_probabilities
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig

VOCAB = 9


def stream(length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(length, 4, generator=generator, dtype=torch.float64)
    return states, torch.randint(VOCAB, (length,), generator=generator)


def loop(states, targets, window, flatness):
    """The whole distribution over the vocabulary at every position, one token and one pair at a time."""
    rows = []
    for t in range(len(states)):
        row = [0.0] * VOCAB
        for i in range(max(0, t - window), t):
            row[targets[i]] += math.exp(flatness * sum(a * b for a, b in zip(states[t].tolist(), states[i].tolist())))  # noqa: B905
        total = sum(row)
        rows.append([value / total for value in row] if total else row)
    return torch.tensor(rows, dtype=torch.float64)


@given(st.integers(1, 30), st.integers(1, 40), st.floats(0, 2), st.integers(1, 12))
def test_it_equals_a_per_token_loop_for_any_length_window_and_chunk(length, window, flatness, chunk):
    states, targets = stream(length)
    before, cache.CHUNK = cache.CHUNK, chunk
    try:
        found, usable = cache_probabilities(states, targets, window, flatness)
    finally:
        cache.CHUNK = before
    by_loop = loop(states, targets, window, flatness)
    torch.testing.assert_close(found, by_loop.gather(1, targets[:, None])[:, 0])
    assert usable.tolist() == [t > 0 for t in range(length)]


def test_it_sums_to_one_over_the_vocabulary():
    states, targets = stream(20)
    total = torch.zeros(20, dtype=torch.float64)
    for word in range(VOCAB):  # the last target asked for is each word in turn; the history stays as it is
        for t in range(20):
            asked = targets[: t + 1].clone()
            asked[t] = word
            total[t] += cache_probabilities(states[: t + 1], asked, 7, 0.5)[0][t]
    torch.testing.assert_close(total[1:], torch.ones(19, dtype=torch.float64))
    assert total[0] == 0  # no history yet


def test_flatness_zero_counts_words():
    states, targets = stream(30)
    found, _ = cache_probabilities(states, targets, window=10, flatness=0.0)
    for t in range(1, 30):
        seen = targets[max(0, t - 10) : t].tolist()
        assert found[t].item() == pytest.approx(seen.count(targets[t].item()) / len(seen))


def test_the_originals_rule_uses_no_cache_until_the_history_is_longer_than_the_window():
    states, targets = stream(30)
    found, usable = cache_probabilities(states, targets, window=8, flatness=0.3, only_when_full=True)
    always, _ = cache_probabilities(states, targets, window=8, flatness=0.3)
    assert usable.tolist() == [t > 8 for t in range(30)]
    torch.testing.assert_close(found, torch.where(usable, always, 0.0))


@pytest.fixture
def model():
    return LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=4, hidden_size=6, num_layers=2)).double()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_mixed_with_a_model_it_equals_the_loop_in_each_stream(model, batch_size):
    tokens = torch.randint(VOCAB, (90,))
    config = CacheConfig(window=12, flatness=0.7, weight=0.3)
    found = target_probabilities(model, tokens, config, batch_size=batch_size, seq_len=7)
    assert model.training  # left as it was found
    columns = tokens[: 90 // batch_size * batch_size].view(batch_size, -1)
    losses = []
    for column in columns:
        with torch.no_grad():
            output = model.eval()(column[:-1, None])
        p_model = output.logits[:, 0].softmax(-1)
        p_cache = loop(output.raw_output[:, 0], column[1:], 12, 0.7)
        mixed = 0.7 * p_model + 0.3 * p_cache
        mixed[0] = p_model[0]
        torch.testing.assert_close(mixed.sum(-1), torch.ones(len(mixed), dtype=torch.float64))
        losses += (-mixed.log().gather(1, column[1:, None])).flatten().tolist()
    assert found.loss(0.3) == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_weight_zero_is_the_model(model):
    tokens = torch.randint(VOCAB, (60,))
    found = target_probabilities(model, tokens, CacheConfig(window=5))
    assert found.loss(0.0) == pytest.approx(evaluate(model, tokens), rel=1e-9)


def test_a_cache_helps_a_text_that_repeats_itself(model):
    tokens = torch.randint(VOCAB, (15,)).repeat(12)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)  # states that differ from word to word
    found = target_probabilities(model, tokens, CacheConfig(window=60, flatness=1.0))
    assert found.loss(0.5) < found.loss(0.0) - 0.2


def test_the_best_weight_beats_every_weight_on_a_grid(model):
    tokens = torch.randint(VOCAB, (15,)).repeat(12)
    found = target_probabilities(model, tokens, CacheConfig(window=60, flatness=3.0))
    best = found.best_weight()
    assert 0 < best < 1
    assert all(found.loss(best) <= found.loss(step / 100) + 1e-9 for step in range(101))


def test_a_sweep_equals_one_pass_each(model):
    tokens = torch.randint(VOCAB, (80,))
    config = CacheConfig(window=9)
    for flatness, found in zip([0.0, 0.8], sweep_flatness(model, tokens, config, [0.0, 0.8], 2), strict=True):
        alone = target_probabilities(model, tokens, CacheConfig(window=9, flatness=flatness), 2)
        assert all(one.equal(other) for one, other in zip(found, alone, strict=True))


def test_memory_of_the_history_is_bounded_by_the_window():
    history = cache._History(window=10, flatness=1.0, only_when_full=False)
    for _ in range(20):
        history.look_up_and_remember(*stream(7))
        assert len(history.states) <= 10 and len(history.words) <= 10
        assert history.states.untyped_storage().nbytes() <= 17 * 4 * 8  # a view must not hold the past


@pytest.mark.parametrize(("values", "named"), [
    ({"window": 0}, "window is 0"), ({"flatness": -1.0}, "theta"), ({"weight": 1.5}, "lambda"),
    ({"flatness": float("nan")}, "theta"), ({"weight": -0.1}, "lambda"),
])  # fmt: skip
def test_impossible_settings_are_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        CacheConfig(**values)
