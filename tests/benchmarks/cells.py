"""One update of an LSTM and of a GRU: of equal width, of as many parameters, of the library and of torch's layers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cases import Case
from clock import measured
from peers import make, updating
from sizes import CELLS, Sizes, operations, parameters, tiny
from steps import updater
from torch import Tensor
from windows import windows

from awdlib.figures.cells import equal_width

#: who updates, and whether it is a GRU, and of equal size
CANDIDATES = {
    "awdlib": ("awdlib", "lstm", False),
    "awdlib-gru": ("awdlib", "gru", False),
    "awdlib-gru-equal": ("awdlib", "gru", True),
    "bare": ("bare", "lstm", False),
    "bare-gru": ("bare", "gru", False),
}


def sizes_of(case: Case) -> Sizes:
    """The sizes of a case: those of its configuration with the candidate's cell, and width."""
    sizes = tiny(CELLS[case.config]) if case.quick else CELLS[case.config]
    _, cell, equal = CANDIDATES[case.candidate]
    model = replace(sizes.model, cell=cell)
    return replace(sizes, model=replace(model, hidden_size=equal_width(sizes.model, cell)) if equal else model)


def measure(case: Case) -> dict[str, Any]:
    """Seconds and memory of one update."""
    sizes, who = sizes_of(case), CANDIDATES[case.candidate][0]
    text = windows(sizes, case.device)

    def build() -> Callable[[], Tensor]:
        if who == "bare":
            update = updating(make("bare", sizes, case.device), case.precision)
        else:
            update = updater(replace(case, candidate=who), sizes)
        return lambda: update(*next(text))

    counted = {"operations": operations(sizes), "parameters": parameters(sizes)}
    return {"tokens": sizes.tokens, "hidden_size": sizes.model.hidden_size, **counted} | measured(case, build)
