"""CUDA graphs: what is recorded is the same work; on a GPU the calls come in the order that torch asks for."""

import contextlib
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers import CONFIG, MODEL, assert_same_run, corpus

from awdlib.gradients import Window, fast_gradients
from awdlib.graphs import WARM_UP, GraphedGradients
from awdlib.training import start, train
from awdlib.training_config import TrainConfig


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_run_with_graphs_is_the_run_without(cell):
    """Windows of many lengths, averaging, several epochs, zero states at the top of each."""
    runs = []
    for graphs in (False, True):
        training = start(replace(MODEL, cell=cell), replace(CONFIG, graphs=graphs, average_from=2))
        list(train(training, corpus()))
        runs.append(training)
    assert len(runs[1].graphed.recordings) > 3
    assert_same_run(*runs)


def test_a_run_with_graphs_goes_on_where_it_was():
    config = replace(CONFIG, graphs=True)
    whole = start(MODEL, config)
    list(train(whole, corpus()))
    first = start(MODEL, config)
    steps = train(first, corpus())
    for _ in range(7):
        next(steps)
    second = start(MODEL, config)
    second.load_state_dict(first.state_dict())
    list(train(second, corpus()))
    assert_same_run(whole, second)


def test_the_slow_way_is_not_recorded():
    with pytest.raises(ValueError, match="graphs is True and fast is False"):
        TrainConfig(graphs=True, fast=False)


class Tape:
    """Stands in for torch.cuda: counts recordings, and replays by doing the work once more."""

    def __init__(self):
        self.events = []

    def graph(self, graph, pool):
        assert pool == "pool"

        @contextlib.contextmanager
        def recording():
            self.events.append("record")
            yield
            self.events.append("recorded")

        return recording()

    def Stream(self):
        return SimpleNamespace(wait_stream=lambda other: self.events.append("side waits"))

    def current_stream(self):
        return SimpleNamespace(wait_stream=lambda other: self.events.append("main waits"))

    @contextlib.contextmanager
    def stream(self, side):
        self.events.append("warm up")
        yield

    def CUDAGraph(self):
        return SimpleNamespace(
            register_generator_state=lambda generator: self.events.append("generator"),
            replay=lambda: self.events.append("replay"),
        )


def test_on_a_gpu_a_length_is_recorded_once_after_a_warm_up_that_leaves_no_trace(monkeypatch):
    """Without a GPU: torch.cuda is played by a tape, and the work is really done where it would be recorded."""
    training = start(MODEL, CONFIG)
    model, generator, tape = training.model, training.mask_generator, Tape()
    graphed = GraphedGradients(model, CONFIG, generator)
    graphed.device, graphed.pool = SimpleNamespace(type="cuda"), "pool"
    for name in ("graph", "Stream", "current_stream", "stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, getattr(tape, name))
    monkeypatch.setattr(torch, "zeros", lambda shape, dtype, device: torch.full(shape, 0, dtype=dtype))
    work, done = graphed._work, []
    monkeypatch.setattr(graphed, "_work", lambda *tokens: (done.append(tape.events[-1]), work(*tokens))[1])

    states = [tuple(torch.randn_like(part) for part in state) for state in model.initial_states(2)]
    tokens = torch.arange(12).view(6, 2)
    before = generator.get_state()
    graphed(Window(tokens[:-1], tokens[1:], states))
    once = ["side waits", "warm up", "main waits", "generator", "record", "recorded"]
    assert tape.events == [*once, "replay"]
    assert done == ["warm up"] * WARM_UP + ["record"]
    assert generator.get_state().equal(before)
    assert all(
        kept.equal(part) for a, b in zip(graphed.states, states, strict=True) for kept, part in zip(a, b, strict=True)
    )

    graphed(Window(tokens[:-1], tokens[1:], states))
    assert tape.events == [*once, "replay", "replay"]
    graphed(Window(tokens[:-2], tokens[1:-1], states))
    assert tape.events == [*once, "replay", "replay", *once, "replay"]


def test_the_gradient_is_left_in_the_weights_and_the_loss_is_nobody_elses():
    training = start(MODEL, CONFIG)
    model, tokens = training.model, torch.arange(12).view(6, 2)
    graphed = GraphedGradients(model, CONFIG, torch.Generator().manual_seed(1))
    window = Window(tokens[:-1], tokens[1:], model.initial_states(2))
    first, _ = graphed(window)
    kept, gradients = first.clone(), [weight.grad.clone() for weight in model.parameters()]
    expected, _ = fast_gradients(model, CONFIG, window, torch.Generator().manual_seed(1))
    assert first.equal(expected)
    for weight, gradient in zip(model.parameters(), gradients, strict=True):
        assert weight.grad.equal(gradient)
    model.zero_grad()  # a replay gives weights no grad: it fills the fixed places
    graphed.recordings[window.inputs.shape] = graphed.recordings[window.inputs.shape]._replace(replay=lambda: None)
    graphed(window)
    assert all(weight.grad is fixed for weight, fixed in zip(model.parameters(), graphed.gradients, strict=True))
    graphed(Window(tokens[:-2], tokens[1:-1], window.states))
    assert first.equal(kept)
