"""A small problem, and a loop over its batches, for tests of optimizers."""

import torch
from torch import nn


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
