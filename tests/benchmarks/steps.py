"""One update in training, by everyone who can do one; and how its time and memory grow with its sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from cases import Case
from clock import measured
from limit import Products, bandwidth
from peers import HALVES, LR, make, updating
from sizes import GROWTH, STEP, Sizes, bytes_held, bytes_moved, operations, tiny
from torch import Tensor
from windows import windows

from awdlib import training
from awdlib.training_config import TrainConfig

Update = Callable[[Tensor, Tensor], Tensor]
#: settings of the library's own candidates
LIBRARY: dict[str, dict[str, bool]] = {"awdlib": {}, "awdlib-graphs": {"graphs": True}, "awdlib-plain": {"fast": False}}


def measure(case: Case) -> dict[str, Any]:
    """Seconds and memory of one update."""
    sizes = (STEP | GROWTH)[case.config]
    sizes = tiny(sizes) if case.quick else sizes
    result = {"tokens": sizes.tokens, "operations": operations(sizes)}
    if case.candidate == "limit":
        return result | _limit(case, sizes)
    if case.group == "growth":
        result["bytes_held"] = bytes_held(sizes, case.device)
    text = windows(sizes, case.device)

    def build() -> Callable[[], Tensor]:
        update = updater(case, sizes)
        return lambda: update(*next(text))

    return result | measured(case, build)


def updater(case: Case, sizes: Sizes) -> Update:
    """Who does an update, given inputs and targets."""
    if case.candidate not in LIBRARY:
        return updating(make(case.candidate, sizes, case.device), case.precision)
    config = TrainConfig(
        batch_size=sizes.batch, bptt=sizes.window, variable_windows=False, precision=case.precision,
        **LIBRARY[case.candidate],
    )  # fmt: skip
    return partial(training.update, training.start(sizes.model, config, case.device), lr=LR)


def _limit(case: Case, sizes: Sizes) -> dict[str, Any]:
    """The products alone, and how long the memory takes to deliver what an update cannot do without."""
    dtype = HALVES.get(case.precision, torch.float32)
    result = measured(case, lambda: Products(sizes, dtype, case.device))
    moved, speed = bytes_moved(sizes, dtype.itemsize), bandwidth(case.device, 2**20 if case.quick else 2**28)
    return result | {"bytes_moved": moved, "bandwidth": speed, "seconds_of_traffic": moved / speed}
