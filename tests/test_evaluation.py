"""Passes over held-out text, with and without a cache: by hand, in bounded memory, without a graph, and traceless."""

import pytest
import torch
from helpers import Largest
from torch.utils._pytree import tree_leaves

from awdlib.cache import CacheConfig, sweep_flatness, target_probabilities
from awdlib.corpora import Corpus, Vocabulary
from awdlib.evaluation import check_vocabulary, evaluate
from awdlib.model import LanguageModel, ModelConfig, cross_entropy

VOCAB = 9


@pytest.fixture
def model():
    return LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=4, hidden_size=6, num_layers=2)).double()


@pytest.mark.parametrize("batch_size", [1, 3, 30])
@pytest.mark.parametrize("seq_len", [1, 7, 19, 70])
def test_it_is_the_mean_over_every_target_of_every_column_whatever_the_window(model, batch_size, seq_len):
    tokens = torch.randint(VOCAB, (61,))
    surprisals = []
    for column in tokens[: 61 // batch_size * batch_size].view(batch_size, -1):
        with torch.no_grad():
            log_p = model.eval()(column[:-1, None]).logits[:, 0].log_softmax(-1)
        surprisals += [-row[word].item() for row, word in zip(log_p, column[1:], strict=True)]
    by_hand = sum(surprisals) / len(surprisals)
    assert evaluate(model, tokens, batch_size, seq_len) == pytest.approx(by_hand, rel=1e-12)


def test_a_single_stream_in_windows_of_70_is_the_default(model):
    tokens, shapes = torch.randint(VOCAB, (150,)), []
    model.register_forward_hook(lambda module, inputs, output: shapes.append(output.logits.shape[:2]))
    assert type(evaluate(model, tokens)) is float
    assert shapes == [(70, 1), (70, 1), (9, 1)]


def test_windows_are_summed_in_double_precision(model):
    """A hundred equal losses in single precision: neither their running sum nor their scaling may round."""
    for weight in model.float().parameters():
        weight.data.zero_()
    model.softmax_bias.data[0] = 1.0
    tokens = torch.zeros(701, dtype=torch.long)
    with torch.no_grad():
        one = cross_entropy(model(tokens[:7, None]).logits, tokens[:7, None]).double().item()
    assert evaluate(model, tokens, seq_len=7) == pytest.approx(one, rel=1e-12)


def test_the_text_is_brought_to_where_the_model_is(model):
    """Device "meta" computes shapes only, and refuses to be mixed with another: it gets as far as the loss's value."""
    with pytest.raises(RuntimeError, match="item"):
        evaluate(model.to("meta"), torch.randint(VOCAB, (60,)), 2, seq_len=7)


def test_a_vocabulary_of_another_size_is_refused(model):
    def corpus(size):
        return Corpus("made up", Vocabulary([f"w{n}" for n in range(size)]), *[torch.zeros(9).long()] * 3, checked="")

    check_vocabulary(model, corpus(VOCAB))
    complaint = (
        "^the model knows 9 word types and corpus 'made up' has 1,234: use the corpus that the model was trained on$"
    )
    with pytest.raises(ValueError, match=complaint):
        check_vocabulary(model, corpus(1234))


@pytest.mark.parametrize("batch_size", [1, 4])
def test_memory_of_evaluation_does_not_grow_with_the_text(model, batch_size):
    for num_tokens in (400, 4000):
        with Largest() as largest:
            evaluate(model, torch.randint(VOCAB, (num_tokens,)), batch_size, seq_len=10)
        weights = max(weight.numel() for weight in model.parameters())
        assert largest.elements <= max(num_tokens, 10 * batch_size * max(VOCAB, 4 * 6), weights)


PASSES = {
    "evaluate": lambda model, tokens: evaluate(model, tokens, 2, seq_len=7),
    "cache": lambda model, tokens: target_probabilities(model, tokens, CacheConfig(window=5), 2, seq_len=7),
    "sweep": lambda model, tokens: sweep_flatness(model, tokens, CacheConfig(window=5), [0.0, 1.0], 2, seq_len=7),
}


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_no_graph_is_built_and_mode_and_gradients_are_as_before_also_after_an_exception(model, name, training, fails):
    tokens, windows = torch.randint(VOCAB, (60,)), []

    def look(module, _, output):
        assert not module.training and not torch.is_grad_enabled()
        tensors = tree_leaves(tuple(output))
        assert not any(tensor.requires_grad for tensor in tensors)
        windows.append(len(output.logits))
        if fails and len(windows) == 3:
            raise KeyboardInterrupt

    model.train(training).register_forward_hook(look)
    if fails:
        with pytest.raises(KeyboardInterrupt):
            PASSES[name](model, tokens)
    else:
        PASSES[name](model, tokens)
    assert sum(windows) == 21 if fails else sum(windows) == 29
    assert torch.is_grad_enabled() and all(module.training is training for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
