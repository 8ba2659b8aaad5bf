"""The continuous cache: all positions of a chunk at once, as the library has it, against a loop over the tokens."""

from collections.abc import Callable
from typing import Any

import torch
from cases import Case
from clock import measured
from torch import Tensor

from awdlib.cache import cache_probabilities

FEATURES, VOCABULARY, FLATNESS = 400, 10_000, 0.3
POSITIONS = 12_000  # that the library looks up
LOOPED = 32  # that the loop does, behind a window of history


def measure(case: Case) -> dict[str, Any]:
    """Seconds and memory of one pass over the positions; no model is part of it."""
    tenth = 10 if case.quick else 1
    window, vocabulary = int(case.config.removeprefix("window-")) // tenth, VOCABULARY // tenth
    looped = case.candidate == "per-token-loop"
    count = window + LOOPED if looped else POSITIONS // tenth
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(count, FEATURES, generator=generator).div_(FEATURES**0.5).to(case.device)
    targets = torch.randint(vocabulary, (count,), generator=generator).to(case.device)

    def build() -> Callable[[], Any]:
        if not looped:
            return lambda: cache_probabilities(states, targets, window, FLATNESS)
        loop = PerTokenLoop(window, vocabulary, FLATNESS, states)
        loop.remember(states[:window], targets[:window])
        return lambda: loop.probabilities(states[window:], targets[window:])

    return {"tokens": LOOPED if looped else count} | measured(case, build)


class PerTokenLoop:
    """The cache as it is usually written: one-hot rows of the last words, and for every token a distribution of them.

    What is forgotten is written over; the order of the rows does not matter.
    """

    def __init__(self, window: int, vocabulary: int, flatness: float, like: Tensor):
        self.window, self.flatness, self.seen = window, flatness, 0
        self.states = like.new_zeros(window, like.shape[1])
        self.words = like.new_zeros(window, vocabulary)

    def remember(self, states: Tensor, targets: Tensor) -> None:
        """Take pairs in without looking anything up."""
        for state, target in zip(states, targets, strict=True):
            self._remember(state, target)

    def probabilities(self, states: Tensor, targets: Tensor) -> Tensor:
        """What the cache gives to each target, which is then remembered."""
        found = []
        for state, target in zip(states, targets, strict=True):
            held = min(self.seen, self.window)
            attention = (self.flatness * (self.states[:held] @ state)).softmax(dim=0)
            distribution = attention @ self.words[:held]
            found.append(distribution[target])
            self._remember(state, target)
        return torch.stack(found)

    def _remember(self, state: Tensor, target: Tensor) -> None:
        row = self.seen % self.window
        self.states[row] = state
        self.words[row].zero_()
        self.words[row, target] = 1
        self.seen += 1
