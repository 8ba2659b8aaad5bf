"""What several test files use: a small problem for optimizers, a tiny run, watches on tensors and products."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from awdlib.corpora import Corpus, Vocabulary
from awdlib.model import ModelConfig
from awdlib.training_config import TrainConfig


def problem():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    data = torch.randn(60, 8, 4, dtype=torch.float64)
    return model, data


def loss_of(model, x):
    return (model(x).squeeze(1) - x.sum(1).sin()).square().mean()


def advance(model, optimizer, batches):
    """Steps over batches; the iterate after each, as one vector."""
    seen = []
    for x in batches:
        optimizer.zero_grad()
        loss_of(model, x).backward()
        optimizer.step()
        seen.append(vector(model))
    return seen


def vector(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation made, and of the largest block of memory behind one."""

    def __init__(self):
        super().__init__()
        self.elements = self.stored = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
                self.stored = max(self.stored, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


class Products(TorchDispatchMode):
    """The type of each matrix product, in the order in which they are computed."""

    def __init__(self):
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            self.dtypes.append(result.dtype)
        return result


def assert_frozen_and_keyword_only(config):
    """Settings cannot be mixed up by their order, nor changed once they have been validated."""
    values = [getattr(config, field.name) for field in dataclasses.fields(config)]
    for count in (1, len(values)):
        with pytest.raises(TypeError, match="positional argument"):
            type(config)(*values[:count])
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, getattr(config, field.name))


#: a run of a few dozen updates: model, training, and the text below
MODEL = ModelConfig(vocab_size=13, embedding_size=6, hidden_size=8, num_layers=2)
CONFIG = TrainConfig(epochs=3, batch_size=2, eval_batch_size=2, bptt=8, lr=1.0, patience=0, weight_decay=0.01)


def corpus(tokens=160):
    words = [f"w{number}" for number in range(13)]
    generator = torch.Generator().manual_seed(4)
    streams = [torch.randint(13, (n,), generator=generator) for n in (tokens, 60, 50)]
    return Corpus("tiny", Vocabulary(words), *streams, checked="made here")


def figures(training):
    """All that a run leaves behind, but for the time it took."""
    history = [{**vars(record), "seconds": 0} for record in training.history]
    with training.optimizer.averaged():
        averaged = {name: weight.clone() for name, weight in training.model.state_dict().items()}
    return history, training.model.state_dict(), averaged


def assert_same_run(one, other):
    (history, weights, averaged), (history2, weights2, averaged2) = figures(one), figures(other)
    assert history == history2
    for name in weights:
        assert weights[name].equal(weights2[name]) and averaged[name].equal(averaged2[name]), name
