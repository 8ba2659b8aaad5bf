"""The exercises of *Language modelling and perplexity*: printed solutions pass, known wrong answers get their hint."""

import json
import math
from statistics import mean

import pytest
import torch
from test_exercises import BOOK
from torch.nn import functional as F

from awdlib.batches import fixed_windows
from awdlib.exercises.language_modelling import (
    check_bigram,
    check_bits_per_character,
    check_evaluation,
    check_perplexity,
)

CHECKS = {
    "perplexity_of": check_perplexity,
    "bits_per_character": check_bits_per_character,
    "bigram_table": check_bigram,
    "evaluate_text": check_evaluation,
}
NAMES = {"math": math, "torch": torch, "mean": mean, "F": F, "fixed_windows": fixed_windows}


def blocks():
    """The hidden solutions' code, in the order of the chapter; each runs with what the chapter has imported."""
    notebook = json.loads((BOOK / "language-modelling.ipynb").read_text(encoding="utf-8"))
    prose = "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return [part.partition("```")[0] for part in prose.partition("## Exercises")[2].split("```python\n")[1:]]


@pytest.mark.parametrize(("number", "name"), [*enumerate(CHECKS)])
def test_the_printed_solution_passes(number, name):
    space = dict(NAMES)
    exec(blocks()[number], space)
    assert CHECKS[name](space[name]).kept and len(blocks()) == len(CHECKS)


@pytest.mark.parametrize("check", CHECKS.values())
def test_an_empty_cell_is_told_from_a_wrong_answer(check):
    assert "your turn" in repr(check(lambda *_: None))


@pytest.mark.parametrize("check", CHECKS.values())
def test_an_error_is_reported(check):
    assert "it raised NameError" in repr(check(lambda *_: undefined))  # noqa: F821


def rejected(check, answer, hint):
    report = check(answer)
    assert not report.kept and hint in repr(report), report


def nats(p):
    return [-math.log(one) for one in p]


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda p: mean(1 / one for one in p), "arithmetic mean of 1/p"),
    (lambda p: 1 / mean(p), "1 over the mean probability"),
    (lambda p: mean(nats(p)), "this is the cross entropy"),
    (lambda p: 2 ** mean(nats(p)), "their base is e, not 2"),
    (lambda p: math.exp(mean(-math.log2(one) for one in p)), "their base is 2, not e"),
    (lambda p: math.exp(-mean(nats(p))), "the sign"),
    (lambda p: math.exp(min(700.0, sum(nats(p)))), "divide by the number of words"),
    (lambda p: math.prod(p) ** (-1 / len(p)) if math.prod(p) > 0 else math.inf, "is 0 in floating point"),
    (lambda p: 7.0, "the exponential of the mean of -ln p"),
])  # fmt: skip
def test_wrong_perplexities_get_a_hint(wrong, hint):
    rejected(check_perplexity, wrong, hint)


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda perplexity, tokens, characters: math.log(perplexity) * tokens / characters, "these are nats"),
    (lambda perplexity, tokens, characters: math.log2(perplexity), "these are bits a token"),
    (lambda perplexity, tokens, characters: math.log2(perplexity) * characters / tokens, "the wrong way round"),
    (lambda perplexity, tokens, characters: math.log2(perplexity * tokens / characters), "to the perplexity alone"),
    (lambda perplexity, tokens, characters: perplexity, "all the bits of the text"),
])  # fmt: skip
def test_wrong_bits_per_character_get_a_hint(wrong, hint):
    rejected(check_bits_per_character, wrong, hint)


def bigram(counts, D, lower=None, freed=None, lonely=True):
    seen = (counts > 0).to(counts.dtype)
    lower = seen.sum(0) / seen.sum() if lower is None else lower
    total = counts.sum(1, keepdim=True)
    freed = D * seen.sum(1, keepdim=True) if freed is None else freed
    table = ((counts - D).clamp(min=0) + freed * lower) / total.clamp(min=1)
    return torch.where(total > 0, table, lower) if lonely else table


@pytest.mark.parametrize(("wrong", "broken", "hint"), [
    (lambda c, D: c / c.sum(1, keepdim=True), "no probability is 0", "what is taken off goes to all words"),
    (lambda c, D: bigram(c, D, lonely=False), "a word that nothing ever followed has probabilities, too", "is 0"),
    (lambda c, D: bigram(c, D, freed=D), "each row sums to one", "the number of different words that followed u"),
    (lambda c, D: bigram(c, D, freed=D * c.sum(1, keepdim=True)), "each row sums to one", "what is freed in row u"),
    (lambda c, D: bigram(c, D, lower=c.sum(0) / c.sum()), "the Kneser-Ney probabilities", "counts occurrences"),
    (lambda c, D: bigram(c, D, lower=torch.full((5,), 0.2, dtype=c.dtype)), "the Kneser-Ney probabilities",
     "after how many different words"),
])  # fmt: skip
def test_wrong_tables_of_bigrams_get_a_hint(wrong, broken, hint):
    report = check_bigram(wrong)
    assert broken in report.broken() and hint in repr(report), report


def loop(model, columns, length, carried=True, kind="targets"):
    """An evaluation loop with the bugs asked for, written apart from the check's own."""
    state, total, losses = None, 0.0, []
    for start in range(0, len(columns) - 1, length):
        inputs, targets = columns[start : start + length][: len(columns) - 1 - start], columns[start + 1 :][:length]
        logits, state = model(inputs, state if carried else None)
        each = -logits.log_softmax(-1).gather(-1, targets[..., None])
        total, losses = total + each.sum().item(), [*losses, each.mean().item()]
    count = (len(columns) - 1) * columns.shape[1]
    return {
        "targets": math.exp(total / count),
        "rows": math.exp(total / columns.numel()),
        "windows": math.exp(mean(losses)),
        "perplexities": mean(map(math.exp, losses)),
    }[kind]


def test_a_right_loop_written_otherwise_passes():
    assert check_evaluation(loop).kept


@pytest.mark.parametrize(("carried", "kind", "hint"), [
    (False, "targets", "hand the state of one window to the next"),
    (True, "windows", "weigh each window's loss"),
    (True, "perplexities", "average the losses"),
    (True, "rows", "one fewer than there are rows"),
    (False, "windows", "hand the state of one window to the next; weigh each window's loss"),
    (False, "perplexities", "hand the state of one window to the next; average the losses"),
    (False, "rows", "hand the state of one window to the next; divide by the number of targets"),
])  # fmt: skip
def test_wrong_loops_get_a_hint(carried, kind, hint):
    rejected(check_evaluation, lambda model, columns, length: loop(model, columns, length, carried, kind), hint)


def test_any_other_number_gets_the_recipe():
    rejected(check_evaluation, lambda *_: 7.0, "over the number of targets, and then exp")


def test_the_chapters_own_broken_loop_is_rejected_for_its_bugs():
    notebook = json.loads((BOOK / "language-modelling.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "def evaluate_text" in text]
    space = dict(NAMES)
    exec(cell.partition("\n\n\ncheck_evaluation")[0], space)
    rejected(check_evaluation, space["evaluate_text"], "hand the state of one window to the next; average the losses")
