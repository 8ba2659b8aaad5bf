"""The model against one put together from torch.nn alone: loss, every gradient, states; with LSTM and with GRU."""

import copy
import pickle
import re

import pytest
import torch
from helpers import assert_frozen_and_keyword_only
from torch import nn

from awdlib.dropout import keep_mask
from awdlib.model import LanguageModel, ModelConfig, Output, at_least_single, cross_entropy, detach, penalties
from awdlib.presets import PRESETS

T, B, VOCAB = 6, 3, 11
CELLS = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3), "rnn": (nn.RNN, 1)}  # torch's own layer, and its blocks of weights
OFF = dict.fromkeys([f"dropout_{where}" for where in ("input", "hidden", "output", "embedding", "weight")], 0.0)
ON = dict(zip(OFF, (0.4, 0.3, 0.2, 0.1, 0.5), strict=True))


class Plain(nn.Module):
    """The same architecture from torch.nn; masks, where there are any, are handed in ready-made."""

    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        layer = CELLS[config.cell][0]
        self.layers = nn.ModuleList(layer(inputs, outputs) for inputs, outputs in config.layer_sizes())
        self.softmax = nn.Linear(config.layer_sizes()[-1][1], config.vocab_size)
        if config.tied:
            self.softmax.weight = self.embedding.weight

    def forward(self, tokens, masks):
        words = {"weight": self.embedding.weight * masks["embedding"]}
        x = torch.func.functional_call(self.embedding, words, (tokens,)) * masks["input"]
        for number, layer in enumerate(self.layers):
            weights = {"weight_hh_l0": layer.weight_hh_l0 * masks["weight", number]}
            x = torch.func.functional_call(layer, weights, (x,))[0]
            raw = x
            x = x * (masks["hidden", number] if number < len(self.layers) - 1 else masks["output"])
        return self.softmax(x), raw, x


def draw_masks(config, seed):
    """The masks in the order in which a window meets them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(shape, p):
        return keep_mask(shape, p, generator=generator, dtype=torch.float64) if p else torch.ones(1).double()

    sizes = config.layer_sizes()
    masks = {"embedding": draw((VOCAB, 1), config.dropout_embedding)}
    masks["input"] = draw((1, B, config.embedding_size), config.dropout_input)
    for number, (_, size) in enumerate(sizes):
        if number > 0:
            masks["hidden", number - 1] = draw((1, B, sizes[number][0]), config.dropout_hidden)
        masks["weight", number] = draw((CELLS[config.cell][1] * size, size), config.dropout_weight)
    masks["output"] = draw((1, B, sizes[-1][1]), config.dropout_output)
    return masks


def copy_weights(model, plain):
    plain.embedding.weight.data.copy_(model.embedding.data)
    plain.softmax.bias.data.copy_(model.softmax_bias.data)
    if not model.config.tied:
        plain.softmax.weight.data.copy_(model.softmax_weight.data)
    for ours, theirs in zip(model.layers, plain.layers, strict=True):
        for name, weight in ours.named_parameters():
            getattr(theirs, f"{name}_l0").data.copy_(weight.data)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("dropouts", [OFF, ON], ids=["off", "on"])
def test_loss_and_every_gradient_equal_the_independent_model(cell, tied, dropouts):
    """In double precision; with dropouts on, the same masks are handed to both."""
    config = ModelConfig(
        vocab_size=VOCAB, embedding_size=5, hidden_size=7, num_layers=3, cell=cell, tied=tied, **dropouts
    )
    model, plain = LanguageModel(config).double(), Plain(config).double()
    nn.init.normal_(model.softmax_bias)
    copy_weights(model, plain)
    tokens = torch.randint(VOCAB, (T + 1, B))

    output = model.train()(tokens[:-1], generator=torch.Generator().manual_seed(9))
    loss = cross_entropy(output.logits, tokens[1:]) + penalties(output, 2.0, 1.0)
    loss.backward()

    logits, raw, dropped = plain(tokens[:-1], draw_masks(config, seed=9))
    entropy = -logits.log_softmax(-1).gather(-1, tokens[1:, :, None]).mean()
    expected = entropy + 2.0 * (dropped**2).mean() + 1.0 * ((raw[1:] - raw[:-1]) ** 2).mean()
    expected.backward()

    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    pairs = [(model.embedding, plain.embedding.weight), (model.softmax_bias, plain.softmax.bias)]
    if not tied:
        pairs.append((model.softmax_weight, plain.softmax.weight))
    for ours, theirs in zip(model.layers, plain.layers, strict=True):
        pairs += [(weight, getattr(theirs, f"{name}_l0")) for name, weight in ours.named_parameters()]
    assert len(pairs) == len([*model.parameters()]) == len([*plain.parameters()])
    for ours, theirs in pairs:
        assert ours.grad.abs().max() > 0
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_carrying_the_state_over_windows_equals_one_long_pass(cell):
    config = ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7, cell=cell)
    model = LanguageModel(config).double().eval()
    tokens = torch.randint(VOCAB, (20, B))
    whole = model(tokens)
    assert whole.raw_output is whole.dropped_output, "nothing is dropped in evaluation"
    pieces, states = [], None
    for piece in tokens.split([3, 1, 9, 7]):
        output = model(piece, states)
        pieces.append(output.logits)
        states = detach(output.states)
    torch.testing.assert_close(torch.cat(pieces), whole.logits)
    torch.testing.assert_close(states, whole.states)


def test_embedding_dropout_leaves_the_tied_softmax_whole():
    config = ModelConfig(
        vocab_size=500, embedding_size=4, hidden_size=4, num_layers=1, **OFF | {"dropout_embedding": 0.9}
    )
    model = LanguageModel(config).train()
    logits = model(torch.zeros(1, 1, dtype=torch.long)).logits
    assert (logits != 0).all()  # nine words in ten would have a logit of their bias, 0


@pytest.mark.parametrize("name", sorted(set(PRESETS) & {"awd-lstm-ptb", "awd-lstm-wt2"}))
def test_the_papers_models_have_the_papers_sizes(name):
    sizes = {"awd-lstm-ptb": 24_221_600, "awd-lstm-wt2": 33_556_078}
    model = LanguageModel(PRESETS[name].model)
    assert sum(weight.numel() for weight in model.parameters()) == sizes[name]
    assert model.embedding.abs().max() <= 0.1 and model.embedding.abs().max() > 0.09
    assert (model.softmax_bias == 0).all()
    for layer in model.layers:
        bound = layer.hidden_size**-0.5
        assert all(0.9 * bound < weight.abs().max() <= bound for weight in layer.parameters())


def test_equal_generators_give_equal_weights_whatever_else_was_drawn():
    config = ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7)
    first = LanguageModel(config, generator=torch.Generator().manual_seed(1)).state_dict()
    torch.rand(3)
    second = LanguageModel(config, generator=torch.Generator().manual_seed(1)).state_dict()
    assert all(first[name].equal(second[name]) for name in first)


@pytest.mark.parametrize("init_range", [None, 0.3])
def test_untied_weights_begin_within_their_ranges_from_the_generator_given(init_range):
    config = ModelConfig(vocab_size=400, embedding_size=30, hidden_size=25, tied=False, init_range=init_range)
    before = torch.get_rng_state()
    model, again = (LanguageModel(config, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert before.equal(torch.get_rng_state())
    assert model.softmax_weight.shape == (400, 25), "as large as the last layer's output"
    bounds = {"embedding": 0.1, "softmax_weight": 0.1, "softmax_bias": 0.0}
    for (name, weight), same in zip(model.named_parameters(), again.parameters(), strict=True):
        bound = init_range or bounds.get(name, 25**-0.5)
        assert weight.equal(same) and 0.9 * bound <= weight.max() <= bound and -bound <= weight.min() <= -0.9 * bound


def test_a_tied_model_has_one_matrix_and_its_state_names_it_once():
    tied, untied = (
        LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7, num_layers=1, tied=tied))
        for tied in (True, False)
    )
    layer = [f"layers.0.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    assert sorted(tied.state_dict()) == sorted(["embedding", "softmax_bias", *layer])
    assert sorted(untied.state_dict()) == sorted(["embedding", "softmax_bias", "softmax_weight", *layer])
    for model, size in ((tied, 5), (untied, 7)):
        assert model(torch.zeros(T, B, dtype=torch.long)).raw_output.shape == (T, B, size)


@pytest.mark.parametrize("cell", CELLS)
def test_training_evaluation_training_copies_and_pickles(cell):
    config = ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7, cell=cell, **ON)
    model, tokens = LanguageModel(config), torch.randint(VOCAB, (T, B))
    saved = LanguageModel(config)
    saved.load_state_dict(model.state_dict())

    def logits(model):
        before = torch.get_rng_state()
        found = model.train()(tokens, generator=torch.Generator().manual_seed(7)).logits
        assert before.equal(torch.get_rng_state()), "a generator of its own: the global one is left alone"
        return found

    first, evaluated = logits(model), model.eval()(tokens).logits
    assert evaluated.equal(model(tokens).logits) and not evaluated.equal(first)
    assert logits(model).equal(first)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), saved):
        assert logits(twin).equal(first) and twin.eval()(tokens).logits.equal(evaluated)
        twin.embedding.data.zero_()
        assert not twin(tokens).logits.equal(evaluated)
    assert model.eval()(tokens).logits.equal(evaluated)


def test_masks_states_and_logits_are_made_where_the_model_is():
    model = LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7, **ON)).to("meta").train()
    output = model(torch.zeros(T, B, dtype=torch.long, device="meta"))  # would refuse masks made on the CPU
    assert output.logits.device.type == "meta" and output.logits.shape == (T, B, VOCAB)


def test_states_begin_with_zeros_one_for_each_layer():
    model = LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7)).double().eval()
    states, tokens = model.initial_states(B), torch.randint(VOCAB, (T, B))
    assert [[part.shape for part in state] for state in states] == [[(B, size)] * 2 for size in (7, 7, 5)]
    assert all(part.dtype == torch.float64 and not part.any() for state in states for part in state)
    assert model(tokens).logits.equal(model(tokens, states).logits)
    with pytest.raises(ValueError, match="there are 2 states; the model needs one for each of 3 layers"):
        model(tokens, states[:2])


def test_detached_states_have_the_same_values_and_no_past():
    model = LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7))
    states = model(torch.randint(VOCAB, (T, B))).states
    for state, cut in zip(states, detach(states), strict=True):
        assert type(cut) is tuple
        for part, same in zip(state, cut, strict=True):
            assert part.requires_grad and not same.requires_grad and part.equal(same)


def test_the_defaults_are_the_papers_for_penn_treebank():
    assert ModelConfig() == ModelConfig(
        vocab_size=10_000, embedding_size=400, hidden_size=1150, num_layers=3, cell="lstm", tied=True,
        dropout_input=0.4, dropout_hidden=0.3, dropout_output=0.4, dropout_embedding=0.1, dropout_weight=0.5,
        locked=True, init_range=None,
    )  # fmt: skip
    assert ModelConfig().layer_sizes() == [(400, 1150), (1150, 1150), (1150, 400)]
    assert ModelConfig(tied=False, num_layers=2).layer_sizes() == [(400, 1150), (1150, 1150)]
    assert ModelConfig(num_layers=1).layer_sizes() == [(400, 400)]
    assert_frozen_and_keyword_only(ModelConfig())


@pytest.mark.parametrize(("values", "complaint"), [
    ({"vocab_size": 0}, "vocab_size is 0; it must be at least 1"),
    ({"embedding_size": -3}, "embedding_size is -3; it must be at least 1"),
    ({"hidden_size": 0}, "hidden_size is 0; it must be at least 1"),
    ({"num_layers": -1}, "num_layers is -1; it must be at least 1"),
    ({"cell": "gpt"}, "cell is 'gpt'; it must be one of lstm, gru, rnn"),
    ({"init_range": 0.0}, "init_range is 0.0; it must be positive and finite"),
    ({"init_range": float("inf")}, "init_range is inf; it must be a finite number"),
    *(({name: p}, f"{name} is {p}; it must lie in [0, 1): at 1 nothing would be kept")
      for name in ON for p in (1.0, -0.5)),
])  # fmt: skip
def test_impossible_models_are_refused_by_name(values, complaint):
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
        ModelConfig(**values)


def test_the_smallest_model_works():
    model = LanguageModel(ModelConfig(vocab_size=1, embedding_size=1, hidden_size=1, num_layers=1))
    output = model(torch.zeros(1, 1, dtype=torch.long))
    assert cross_entropy(output.logits, torch.zeros(1, 1, dtype=torch.long)) == 0  # there is only one word


def test_a_window_needs_two_dimensions_and_a_token():
    model = LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7))
    for shape in ((3,), (0, 2), (2, 0), (2, 3, 4)):
        complaint = f"tokens has shape {shape}; a window is (seq_len, batch), neither of them 0"
        with pytest.raises(ValueError, match=f"^{re.escape(complaint)}$"):
            model(torch.zeros(shape, dtype=torch.long))


def test_penalties_and_loss_are_single_precision_on_half_precision_outputs():
    model = LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7))
    tokens = torch.randint(VOCAB, (T, B))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(tokens)
    assert output.logits.dtype == torch.bfloat16
    single = Output(output.logits.float(), output.states, output.raw_output.float(), output.dropped_output.float())
    for half, full in (
        (cross_entropy(output.logits, tokens), cross_entropy(single.logits, tokens)),
        (penalties(output, 1.5, 2.5), penalties(single, 1.5, 2.5)),
    ):
        assert half.dtype == torch.float32 and half.equal(full)


@pytest.mark.parametrize(("dtype", "becomes"), [
    (torch.float16, torch.float32), (torch.bfloat16, torch.float32),
    (torch.float32, torch.float32), (torch.float64, torch.float64),
])  # fmt: skip
def test_only_half_precision_is_raised(dtype, becomes):
    x = torch.ones(3, dtype=dtype)
    assert at_least_single(x).dtype == becomes and (at_least_single(x) is x) is (dtype == becomes)
