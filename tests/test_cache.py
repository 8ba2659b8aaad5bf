"""The cache against a per-token loop, and its invariants."""

import math

import pytest
import torch
from helpers import Largest, assert_frozen_and_keyword_only
from hypothesis import given
from hypothesis import strategies as st

from awdlib import cache
from awdlib.cache import CacheConfig, TargetProbabilities, cache_probabilities, sweep_flatness, target_probabilities
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


@given(st.integers(1, 30), st.integers(1, 40), st.floats(0, 2), st.integers(1, 12), st.booleans())
def test_it_equals_a_per_token_loop_for_any_length_window_and_chunk(length, window, flatness, chunk, only_when_full):
    states, targets = stream(length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CHUNK", chunk)
        found, usable = cache_probabilities(states, targets, window, flatness, only_when_full)
    assert usable.tolist() == [t > (window if only_when_full else 0) for t in range(length)]
    by_loop = loop(states, targets, window, flatness).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(found, by_loop * usable, rtol=1e-9, atol=1e-12)


LENGTHS = {"short of the chunk": 255, "the chunk": 256, "one more": 257, "two chunks and one": 513}


@pytest.mark.parametrize("length", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("window", [1, 255, 256, 257, 600])
def test_edges_of_window_and_chunk(length, window):
    """A history of exactly the window, one more, or less, and chunks that end before, at and after the text."""
    assert cache.CHUNK == 256
    states, targets = stream(length)
    found, usable = cache_probabilities(states, targets, window, 0.5)
    assert usable.tolist() == [False] + [True] * (length - 1)
    for t in {1, 2, window - 1, window, window + 1, 254, 255, 256, 257, 511, 512} & {*range(1, length)}:
        begin = max(0, t - window)
        attention = (0.5 * states[begin:t] @ states[t]).softmax(0)
        torch.testing.assert_close(found[t], attention[targets[begin:t] == targets[t]].sum(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("only_when_full", [False, True])
@pytest.mark.parametrize("window", [1, 7, 50])
@pytest.mark.parametrize("chunk", [1, 6, 256])
def test_it_sums_to_one_over_the_vocabulary_wherever_it_can_be_used(window, chunk, only_when_full, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", chunk)
    states, targets = stream(20)
    total, can_be_used = torch.zeros(2, 20, dtype=torch.float64)
    for word in range(VOCAB):  # the last target asked for is each word in turn; the history stays as it is
        for t in range(20):
            asked = targets[: t + 1].clone()
            asked[t] = word
            found, usable = cache_probabilities(states[: t + 1], asked, window, 0.5, only_when_full)
            total[t] += found[t]
            can_be_used[t] = usable[t]
    torch.testing.assert_close(total, can_be_used)
    assert can_be_used.tolist() == [t > (window if only_when_full else 0) for t in range(20)]


def test_states_without_their_targets_are_refused():
    states, targets = stream(512)
    with pytest.raises(ValueError, match="zip|targets"):
        cache_probabilities(states, targets[:256], 5, 1.0)


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


@pytest.mark.parametrize("only_when_full", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_mixed_with_a_model_it_equals_the_loop_in_each_stream(model, batch_size, only_when_full):
    tokens = torch.randint(VOCAB, (90,))
    config = CacheConfig(window=12, flatness=0.7, weight=0.3, only_when_full=only_when_full)
    found = target_probabilities(model, tokens, config, batch_size=batch_size, seq_len=7)
    assert {part.dtype for part in (found.model, found.cache)} == {torch.float64} and found.usable.dtype == torch.bool
    assert {part.shape for part in found} == {(90 // batch_size - 1, batch_size)}
    columns = tokens[: 90 // batch_size * batch_size].view(batch_size, -1)
    losses = []
    for number, column in enumerate(columns):
        with torch.no_grad():
            output = model.eval()(column[:-1, None])
        p_model = output.logits[:, 0].softmax(-1)
        p_cache = loop(output.raw_output[:, 0], column[1:], 12, 0.7)
        mixed = 0.7 * p_model + 0.3 * p_cache
        alone = 13 if only_when_full else 1
        mixed[:alone] = p_model[:alone]
        asked = mixed.gather(1, column[1:, None])[:, 0]
        torch.testing.assert_close(found.mixed(0.3)[:, number], asked)
        torch.testing.assert_close(mixed.sum(-1), torch.ones(len(mixed), dtype=torch.float64))
        losses += (-asked.log()).tolist()
    assert found.loss(0.3) == pytest.approx(sum(losses) / len(losses), rel=1e-9)


def test_weight_zero_is_the_model(model):
    tokens = torch.randint(VOCAB, (60,))
    found = target_probabilities(model, tokens, CacheConfig(window=5))
    assert found.mixed(0.0).equal(found.model)
    assert found.loss(0.0) == pytest.approx(evaluate(model, tokens), rel=1e-9)


def test_weight_one_is_the_cache_and_the_model_where_there_is_none(model):
    found = target_probabilities(model, torch.randint(VOCAB, (60,)), CacheConfig(window=5))
    assert found.mixed(1.0)[1:].equal(found.cache[1:]) and found.mixed(1.0)[0] == found.model[0]


def test_what_other_columns_read_does_not_matter(model):
    tokens = torch.randint(VOCAB, (90,))
    changed = tokens.clone()
    changed[30:60] = (tokens[30:60] + 1) % VOCAB  # the second of three columns
    found, other = (
        target_probabilities(model, text, CacheConfig(window=8), 3, seq_len=7) for text in (tokens, changed)
    )
    for one, two in zip(found, other, strict=True):
        assert one[:, [0, 2]].equal(two[:, [0, 2]])
    assert not found.model[:, 1].equal(other.model[:, 1]) and not found.cache[:, 1].equal(other.cache[:, 1])


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


@pytest.mark.parametrize(
    ("helped", "hurt", "best"), [(3, 2, 2 / 3), (1, 1, 1 / 2), (1, 2, 2 / 9), (1, 9, 0), (9, 1, 1)]
)
def test_the_best_weight_in_closed_form(helped, hurt, best):
    """A cache that lifts 0.2 to 0.8 at some targets and lowers 0.8 to 0.2 at others: the loss's slope is 0 at best."""
    p = torch.tensor([0.2] * helped + [0.8] * hurt, dtype=torch.float64)
    found = TargetProbabilities(p, 1 - p, torch.ones(len(p), dtype=torch.bool))
    assert type(found.loss(0.5)) is float
    assert found.loss(0.5) == pytest.approx(math.log(2))
    assert found.best_weight() == pytest.approx(best, abs=1e-5)
    assert found.best_weight(tolerance=0.2) == pytest.approx(best, abs=0.2)


def test_the_best_weight_is_searched_no_longer_than_its_tolerance_asks(monkeypatch):
    found = TargetProbabilities(*torch.tensor([[0.2, 0.8], [0.8, 0.2]], dtype=torch.float64), torch.ones(2).bool())
    tried = []
    monkeypatch.setattr(TargetProbabilities, "loss", lambda self, weight: tried.append(weight) or (weight - 0.4) ** 2)
    found.best_weight(0.5)
    assert tried == pytest.approx([0.381966, 0.618034, 0.236068, 0.381966], abs=1e-6)  # golden sections, until 0.38
    tried.clear()
    assert found.best_weight() == pytest.approx(0.4, abs=1e-5)
    assert len(tried) == 2 * math.ceil(math.log(1e-5) / math.log((math.sqrt(5) - 1) / 2))


def test_a_sweep_equals_one_pass_each(model):
    tokens = torch.randint(VOCAB, (80,))
    config = CacheConfig(window=9)
    assert sweep_flatness(model, tokens, config, [1.0])[0].model.shape == (79, 1), "a single stream is the default"
    for flatness, found in zip([0.0, 0.8], sweep_flatness(model, tokens, config, [0.0, 0.8], 2), strict=True):
        alone = target_probabilities(model, tokens, CacheConfig(window=9, flatness=flatness), 2)
        assert all(one.equal(other) for one, other in zip(found, alone, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_probabilities_are_double_and_their_softmax_is_at_least_single_precision(model, dtype):
    tokens = torch.randint(VOCAB, (40,))
    found = target_probabilities(model.to(dtype), tokens, CacheConfig(window=5))
    with torch.no_grad():
        logits = model.eval()(tokens[:-1, None]).logits[:, 0]
    expected = logits.double().softmax(-1).gather(1, tokens[1:, None])
    torch.testing.assert_close(found.model, expected, rtol=1e-5, atol=0)
    assert found.cache.dtype == torch.float64


@pytest.mark.parametrize("only_when_full", [False, True])
def test_everything_is_computed_where_states_and_model_are(model, only_when_full):
    """Device "meta" stands for any other than the CPU: it computes shapes, and refuses to be mixed with another."""
    states, targets = (part.to("meta") for part in stream(20))
    for found in cache_probabilities(states, targets, 5, 1.0, only_when_full):
        assert found.device.type == "meta" and found.shape == (20,)
    config = CacheConfig(window=5, only_when_full=only_when_full)
    for found in target_probabilities(model.to("meta"), torch.randint(VOCAB, (60,)), config, 2, seq_len=7):
        assert found.device.type == "meta" and found.shape == (29, 2)


def test_memory_of_the_history_is_bounded_by_the_window():
    history = cache._History(window=10, flatness=1.0, only_when_full=False)
    chunks = [stream(7, seed) for seed in range(20)]
    with Largest() as largest:
        for chunk in chunks:
            history.look_up_and_remember(*chunk)
            assert len(history.states) == len(history.words) <= 10
            assert history.states.untyped_storage().nbytes() <= 10 * 4 * 8  # a view must not hold the past
            assert history.words.untyped_storage().nbytes() <= 10 * 8
    assert largest.elements == largest.stored == 7 * (10 + 7), "chunk x (window + chunk), the attention itself"
    assert history.seen == 140


@pytest.mark.parametrize("window", [8, 64])
def test_memory_of_a_cached_pass_does_not_grow_with_the_text_but_for_one_number_a_token(model, window):
    """Of the text alone there are as many numbers as of targets: no tensor may be larger, once it is long enough."""
    for num_tokens in (300, 3000):
        with Largest() as largest:
            target_probabilities(model, torch.randint(VOCAB, (num_tokens,)), CacheConfig(window=window), 1, seq_len=16)
        assert largest.elements <= max(num_tokens, 16 * (window + 16))


@pytest.mark.parametrize(("values", "complaint"), [
    ({"window": 0}, "the cache's window is 0; it must be at least 1"),
    ({"flatness": -1.0}, r"the cache's flatness \(theta\) is -1.0; .*cannot be negative"),
    ({"flatness": math.nan}, r"the cache's flatness \(theta\) is nan; .*cannot be negative"),
    ({"weight": 1.5}, r"the cache's weight \(lambda\) is 1.5; it must lie in \[0, 1\]"),
    ({"weight": -0.1}, r"the cache's weight \(lambda\) is -0.1; it must lie in \[0, 1\]"),
])  # fmt: skip
def test_impossible_settings_are_refused_by_name(values, complaint):
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        CacheConfig(**values)


def test_settings_begin_with_the_originals_for_penn_treebank_and_may_lie_on_their_limits():
    assert CacheConfig() == CacheConfig(window=500, flatness=1.0, weight=0.1, only_when_full=False)
    assert_frozen_and_keyword_only(CacheConfig())
    for weight in (0, 1):
        assert CacheConfig(window=1, flatness=0, weight=weight).weight == weight
