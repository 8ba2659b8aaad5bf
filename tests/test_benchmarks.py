"""The benchmarks compare equal work, and their models of cost count it right. No test here looks at a clock."""

import importlib.util
from dataclasses import replace

import cells
import growth
import limit
import lookups
import peers
import pytest
import reading
import sizes
import steps
import torch
import windows
from cases import Case
from evaluating import loss_of
from torch.utils.flop_counter import FlopCounterMode

from awdlib import training
from awdlib.cache import cache_probabilities
from awdlib.corpora import SPLITS, load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.training_config import TrainConfig

UNREGULARIZED = {f"dropout_{name}": 0.0 for name in ("input", "hidden", "output", "embedding", "weight")}
LSTM = sizes.Sizes(ModelConfig(vocab_size=30, embedding_size=6, hidden_size=8, **UNREGULARIZED), batch=3, window=7)
GRU = replace(LSTM, model=replace(LSTM.model, cell="gru"))
both_cells = pytest.mark.parametrize("size", [LSTM, GRU], ids=["lstm", "gru"])
needs_fastai = pytest.mark.skipif(not importlib.util.find_spec("fastai"), reason="fastai is not installed")


def bare_like(model):
    """torch's own layers, with a model's weights."""
    bare = peers.Bare(model.config)
    weights = {
        "embedding.weight": model.embedding,
        "softmax.weight": model.embedding,
        "softmax.bias": model.softmax_bias,
    }
    for number, layer in enumerate(model.layers):
        weights |= {f"layers.{number}.{name}_l0": weight for name, weight in layer.named_parameters()}
    bare.load_state_dict(weights)
    return bare


# Equal work --------------------------------------------------------------------------------------------------------


@both_cells
@pytest.mark.parametrize("settings", [steps.LIBRARY["awdlib"], steps.LIBRARY["awdlib-plain"]], ids=["fast", "plain"])
def test_without_regularization_the_library_and_the_bare_layers_do_the_same_updates(size, settings):
    config = TrainConfig(batch_size=3, bptt=7, variable_windows=False, ar_weight=0.0, tar_weight=0.0, **settings)
    run, text = training.start(size.model, config), windows.windows(size, "cpu")
    bare = bare_like(run.model)
    update = peers.updating(bare, "fp32")
    for _ in range(3):
        inputs, targets = next(text)
        ours = training.update(run, inputs, targets, lr=peers.LR)
        assert ours.item() == pytest.approx(update(inputs, targets).item(), rel=1e-5)
    for name, weight in bare_like(run.model).state_dict().items():
        torch.testing.assert_close(bare.state_dict()[name], weight, rtol=1e-4, atol=1e-6)


@both_cells
def test_the_library_and_the_bare_layers_evaluate_to_the_same_loss(size):
    model = LanguageModel(size.model)
    text = windows.tokens(size, 100)
    assert loss_of(bare_like(model), text, size) == pytest.approx(evaluate(model, text, size.batch, size.window))


@needs_fastai
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fastai's imports have some
def test_fastai_s_model_has_as_many_parameters_and_no_other_loss():
    size = sizes.STEP["small"]
    peer = peers.make("fastai", size, "cpu")
    assert sum(weight.numel() for weight in peer.parameters()) == sizes.parameters(size)
    text = windows.windows(size, "cpu")
    loss = peers.updating(peer, "fp32")(*next(text))
    assert loss.item() == pytest.approx(torch.tensor(2000.0).log().item(), abs=0.1)


def test_the_loop_over_tokens_gives_the_probabilities_of_the_cache():
    states, targets = torch.randn(60, 5), torch.randint(9, (60,))
    ours, _ = cache_probabilities(states, targets, window=20, flatness=0.7)
    loop = lookups.PerTokenLoop(20, 9, 0.7, states)
    loop.remember(states[:30], targets[:30])  # beyond the window: what is forgotten has been written over
    torch.testing.assert_close(loop.probabilities(states[30:], targets[30:]), ours[30:])


def test_a_corpus_is_the_same_read_word_by_word():
    corpus = load_corpus("toy")
    words, streams = reading.read_plainly(reading.paths_of("toy"))
    assert words == corpus.vocabulary.words
    assert all(torch.equal(stream, corpus.split(split)) for stream, split in zip(streams, SPLITS, strict=True))


def test_every_window_of_the_text_is_whole_and_its_targets_are_one_ahead():
    text = windows.windows(LSTM, "cpu")
    for _ in range(2 * windows.DIFFERENT):
        inputs, targets = next(text)
        assert inputs.shape == targets.shape == (7, 3)
        assert inputs[1:].equal(targets[:-1])


# The cost ----------------------------------------------------------------------------------------------------------


@both_cells
def test_the_limit_multiplies_what_is_counted(size):
    products = limit.Products(size, torch.float32, "cpu")
    with FlopCounterMode(display=False) as counter:
        products()
    assert counter.get_total_flops() == sizes.operations(size)


@pytest.mark.parametrize("name", [*sizes.STEP, *sizes.GROWTH])
def test_parameters_are_counted_as_the_model_has_them(name):
    size = (sizes.STEP | sizes.GROWTH)[name]
    with torch.device("meta"):
        assert sum(w.numel() for w in LanguageModel(size.model).parameters()) == sizes.parameters(size)


def test_the_cost_model_finds_its_own_constants():
    points = {
        str(n): {"median": 0.5 + n / 4, "operations": n, "bytes_held": 10 * n, "memory": 10 * n + 3} for n in (1, 5, 90)
    }
    constants = growth.fit(points)
    assert constants == pytest.approx({"overhead": 0.5, "rate": 4, "held": 3})
    assert growth.predicted(points["5"], constants) == pytest.approx((1.75, 53))


# Cells ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [*sizes.CELLS])
def test_cells_are_compared_at_equal_width_and_at_equal_size(config):
    found = {name: cells.sizes_of(Case("cells", config, "fp32", name)) for name in cells.CANDIDATES}
    lstm = found["awdlib"]
    assert lstm == found["bare"] == sizes.CELLS[config] and found["awdlib-gru"] == found["bare-gru"]
    assert found["awdlib-gru"] == replace(lstm, model=replace(lstm.model, cell="gru"))
    equal = found["awdlib-gru-equal"]
    assert equal.model.hidden_size > lstm.model.hidden_size and equal.model.cell == "gru"
    assert abs(sizes.parameters(equal) / sizes.parameters(lstm) - 1) < 0.01


@pytest.mark.parametrize("candidate", [*cells.CANDIDATES])
def test_every_cell_can_be_measured(candidate):
    found = cells.measure(Case("cells", "small", "fp32", candidate, quick=True))
    assert found["seconds"] > 0 and found["tokens"] == sizes.tiny(sizes.CELLS["small"]).tokens
    gru = candidate in ("awdlib-gru", "bare-gru")
    lstm = sizes.tiny(sizes.CELLS["small"])
    assert (found["parameters"] < sizes.parameters(lstm)) == gru or candidate == "awdlib-gru-equal"
