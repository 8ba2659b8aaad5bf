"""What several test files use: a small problem for optimizers, and a watch on the size of tensors."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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


def assert_frozen_and_keyword_only(config):
    """Settings cannot be mixed up by their order, nor changed once they have been validated."""
    values = [getattr(config, field.name) for field in dataclasses.fields(config)]
    for count in (1, len(values)):
        with pytest.raises(TypeError, match="positional argument"):
            type(config)(*values[:count])
    for field in dataclasses.fields(config):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, getattr(config, field.name))
