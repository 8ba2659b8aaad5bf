"""Evaluation: the loss of a stream of random text, windows of 70 tokens, the states carried through."""

from collections.abc import Callable
from typing import Any

import torch
from cases import Case
from clock import measured
from peers import make
from sizes import EVALUATE, Sizes, tiny
from torch import Tensor, nn
from torch.nn import functional as F
from windows import tokens

from awdlib.batches import batchify, fixed_windows
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel

WINDOWS = {1: 8, 10: 4}  # of each column, by the number of columns


def measure(case: Case) -> dict[str, Any]:
    """Seconds and memory of one pass over the stream."""
    full = EVALUATE[case.config]
    sizes = tiny(full) if case.quick else full
    stream = tokens(sizes, (WINDOWS[full.batch] * sizes.window + 1) * sizes.batch).to(case.device)
    build = _library if case.candidate == "awdlib" else _peer
    return {"tokens": len(stream) - sizes.batch} | measured(case, lambda: build(case, sizes, stream))


def _library(case: Case, sizes: Sizes, stream: Tensor) -> Callable[[], float]:
    model = LanguageModel(sizes.model, generator=torch.Generator().manual_seed(1)).to(case.device)
    return lambda: evaluate(model, stream, sizes.batch, sizes.window)


def _peer(case: Case, sizes: Sizes, stream: Tensor) -> Callable[[], float]:
    peer = make(case.candidate, sizes, case.device)
    return lambda: loss_of(peer, stream, sizes)


@torch.no_grad()
def loss_of(peer: nn.Module, stream: Tensor, sizes: Sizes) -> float:
    """Nats a token, as everyone computes it: cross entropy of each window, weighted with its length."""
    peer.eval()
    peer.reset()
    columns, total = batchify(stream, sizes.batch), 0.0
    for inputs, targets in fixed_windows(columns, sizes.window):
        logits, _ = peer(inputs)
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten()) * len(inputs)
    return (total / (len(columns) - 1)).item()
