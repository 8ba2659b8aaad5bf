"""Checks for the exercises of the chapter *The model, line by line*."""

from collections.abc import Collection
from typing import Any

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN
from awdlib.model import ModelConfig

BATCH, STEPS = 40, 70  #: of exercise 1, with the paper's sizes for Penn Treebank
_SIZES = ModelConfig()
_V, _E, _H = _SIZES.vocab_size, _SIZES.embedding_size, _SIZES.hidden_size
_SQUARES = 2 * _H**2 + _E**2  # of the three layers' hidden sizes
#: by the place: the right count, and what is to be said of a wrong one
_DECISIONS: dict[str, tuple[int, dict[int, str]]] = {
    "embedding": (_V, {
        _V * _E: "a row is dropped as a whole: one decision for all its features",
        _V * BATCH: "the matrix is masked before anybody reads from it: all sequences meet the same mask",
        _E: "rows are dropped, not columns", STEPS * BATCH: "word types are dropped, not the words of the window",
    }),
    "input": (BATCH * _E, {
        STEPS * BATCH * _E: "the mask is locked: the time steps share it",
        _E: "each sequence of the batch has a mask of its own", STEPS * _E: "sequences differ, time steps share",
        BATCH * _H: "the embedded words have embedding_size features",
    }),
    "hidden": (2 * BATCH * _H, {
        BATCH * _H: "three layers have two places between them",
        3 * BATCH * _H: "three layers have two places between them; after the last one it is the output's mask",
        2 * _H: "each sequence of the batch has a mask of its own",
        2 * STEPS * BATCH * _H: "the mask is locked: the time steps share it",
        BATCH * (_H + _E): "the last layer's output is not between two layers",
    }),
    "weight": (4 * _SQUARES, {
        _SQUARES: "an LSTM layer has four such blocks, one a gate, stacked into one matrix",
        3 * 4 * _H**2: "the last layer is as large as an embedding: see layer_sizes()",
        4 * _H**2: "every layer has a recurrent matrix; the last one is smaller: see layer_sizes()",
        4 * _SQUARES * BATCH: "one mask for all sequences of the batch",
        4 * _SQUARES * STEPS: "one mask for all time steps",
    }),
    "output": (BATCH * _E, {
        BATCH * _H: "the last layer is as large as an embedding, since the softmax is tied",
        STEPS * BATCH * _E: "the mask is locked: the time steps share it",
        _E: "each sequence of the batch has a mask of its own", BATCH * _V: "the logits are not dropped",
    }),
}  # fmt: skip

#: exercise 2: which promises of `check_language_model`, counted from 1, each of its changes breaks; a test tries them
BROKEN = {"a": {3}, "b": {2}, "c": {8, 9}}
_WHERE = {
    "a": "the mask is drawn, and then? Which matrix does the lookup read?",
    "b": "what is handed to the next window, and when was it noted down?",
    "c": "two fields have changed places: which promises look at one of them alone?",
}


def check_decisions(embedding: int, input: int, hidden: int, weight: int, output: int) -> Report:
    """Exercise 1: the random decisions of one window at the paper's sizes for Penn Treebank, place by place.

    Args:
        embedding: the reader's count of embedding dropout, ``...`` where there is none yet.
        input: of the locked mask on the embedded words.
        hidden: of the locked masks between layers, all together.
        weight: of the masks on the recurrent matrices, all together.
        output: of the locked mask on the last layer's output.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.reading_the_model import check_decisions
        >>> check_decisions(..., ..., ..., ..., ...)
        your turn: fill in the cell and run it again
        >>> check_decisions(4_000_000, 16_000, 92_000, 11_220_000, 16_000)
        ✗ decisions of the embedding's mask
            hint: a row is dropped as a whole: one decision for all its features
        ✓ decisions of the input's mask
        ✓ decisions of the hidden masks
        ✓ decisions of the weights' masks
        ✓ decisions of the output's mask
    """
    answers = {"embedding": embedding, "input": input, "hidden": hidden, "weight": weight, "output": output}
    if any(answer is ... for answer in answers.values()):
        return YOUR_TURN
    masks = {place: f"{place}'s mask" for place in answers} | {"hidden": "hidden masks", "weight": "weights' masks"}
    found = []
    for place, given in answers.items():
        require.number(place, given)
        right, known = _DECISIONS[place]
        hint = known.get(
            given, "write down the shape of the mask; a size of 1 is shared, and all others are multiplied"
        )
        found.append(Promise(f"decisions of the {masks[place]}", given == right, hint))
    return Report(tuple(found))


def check_predictions(a: Any, b: Any, c: Any) -> Report:
    """Exercise 2: the numbers of the promises that each of three changes breaks.

    Args:
        a: a number or several of them, ``...`` where there is none yet.
        b: likewise.
        c: likewise.

    Raises:
        ValueError: an answer is neither a number nor several.

    Example:
        >>> from awdlib.exercises.reading_the_model import check_predictions
        >>> check_predictions(3, 2, [9])
        ✓ what change a breaks
        ✓ what change b breaks
        ✗ what change c breaks
            hint: 9 is right, but it is not all
    """
    answers = {"a": a, "b": b, "c": c}
    if any(answer is ... for answer in answers.values()):
        return YOUR_TURN
    found = []
    for name, answer in answers.items():
        given = set(answer) if isinstance(answer, Collection) and not isinstance(answer, str) else {answer}
        for number in given:
            require.whole_number(f"an answer to {name}", number, 1, 11)
        right = BROKEN[name]
        hint = _WHERE[name]
        if given and given < right:
            hint = f"{', '.join(map(str, sorted(given)))} is right, but it is not all"
        elif given > right:
            hint = f"all that it breaks is among them, but {', '.join(map(str, sorted(given - right)))} still holds"
        found.append(Promise(f"what change {name} breaks", given == right, hint))
    return Report(tuple(found))
