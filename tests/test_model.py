"""The model against one put together from torch.nn alone: loss, every gradient, states; with LSTM and with GRU."""

import pytest
import torch
from torch import nn

from awdlib.dropout import keep_mask
from awdlib.model import LanguageModel, ModelConfig, cross_entropy, detach, penalties
from awdlib.presets import PRESETS

T, B, VOCAB = 6, 3, 11
CELLS = {"lstm": (nn.LSTM, 4), "gru": (nn.GRU, 3)}  # torch's own layer, and its blocks of weights
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


@pytest.mark.parametrize(("values", "named"), [
    ({"hidden_size": 0}, "hidden_size is 0"), ({"dropout_input": 1.0}, "dropout_input is 1.0"),
    ({"dropout_weight": -0.5}, "dropout_weight is -0.5"), ({"num_layers": -1}, "num_layers is -1"),
])  # fmt: skip
def test_impossible_models_are_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        ModelConfig(**values)


def test_a_window_needs_two_dimensions_and_a_token():
    model = LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7))
    for shape in ((3,), (0, 2), (2, 3, 4)):
        with pytest.raises(ValueError, match="a window is"):
            model(torch.zeros(shape, dtype=torch.long))


def test_penalties_and_loss_are_single_precision_on_half_precision_outputs():
    model = LanguageModel(ModelConfig(vocab_size=VOCAB, embedding_size=5, hidden_size=7))
    tokens = torch.randint(VOCAB, (T, B))
    with torch.autocast("cpu", torch.bfloat16):
        output = model(tokens)
    assert output.logits.dtype == torch.bfloat16
    assert cross_entropy(output.logits, tokens).dtype == penalties(output, 1, 1).dtype == torch.float32
