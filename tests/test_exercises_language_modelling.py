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
    (lambda p: math.prod(p) ** (-1 / len(p)), "too small for a float: take the mean of the logarithms"),
    (lambda p: math.exp(sum(nats(p))), "divide by the number of words\n"),
    (lambda p: math.exp(sum(nats(p)) / (len(p) - 1)), "not by one less"),
    (lambda p: -mean(nats(p)), "change its sign, then take the exponential"),
    (lambda p: math.exp(sum(q * one for q, one in zip(p, nats(p), strict=True))), "do not weigh its ln p by p"),
    (lambda p: 7.0, "the exponential of the mean of -ln p"),
])  # fmt: skip
def test_wrong_perplexities_get_a_hint(wrong, hint):
    rejected(check_perplexity, wrong, hint)


def test_a_product_is_right_until_the_text_is_long():
    assert check_perplexity(lambda p: math.prod(p) ** (-1 / len(p))).broken() == ["a long text"]


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda perplexity, tokens, characters: math.log(perplexity) * tokens / characters, "these are nats"),
    (lambda perplexity, tokens, characters: math.log2(perplexity), "these are bits a token"),
    (lambda perplexity, tokens, characters: math.log2(perplexity) * characters / tokens, "the wrong way round"),
    (lambda perplexity, tokens, characters: math.log2(perplexity * tokens / characters), "to the perplexity alone"),
    (lambda perplexity, tokens, characters: perplexity, "all the bits of the text"),
    (lambda perplexity, tokens, characters: math.log2(perplexity) * tokens, "the bits of the whole text: share them"),
    (lambda perplexity, tokens, characters: perplexity ** (tokens / characters), "a perplexity a character"),
])  # fmt: skip
def test_wrong_bits_per_character_get_a_hint(wrong, hint):
    rejected(check_bits_per_character, wrong, hint)


@pytest.mark.parametrize("wrong", [
    lambda perplexity, tokens, characters: characters / tokens / math.log2(perplexity),
    lambda perplexity, tokens, characters: math.log2(perplexity) / (characters // tokens),
])  # fmt: skip
def test_no_case_lets_a_wrong_fraction_pass(wrong):
    assert len(check_bits_per_character(wrong).broken()) == 2


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
    (lambda c, D: bigram(c, D, lower=torch.full((5,), 0.2, dtype=c.dtype)),
     "a word that nothing ever followed has probabilities, too", "use the lower order alone"),
    (lambda c, D: torch.where(c > 0, bigram(c, D, freed=0.0), bigram(c, D)), "each row sums to one",
     "add it to those that were seen, too"),
    (lambda c, D: bigram(c, D) - D * (c == 0), "no probability is 0", "nothing can be taken off a count of 0"),
    (lambda c, D: bigram(c, D).T, "the Kneser-Ney probabilities", "first make each row sum to one"),
    (lambda c, D: bigram(c, D)[:4], "gives a table of probabilities", "its shape is (4, 5)"),
    (lambda c, D: torch.cat([bigram(c, D), torch.ones(1, 5)]), "gives a table of probabilities", "its shape is (6, 5)"),
])  # fmt: skip
def test_wrong_tables_of_bigrams_get_a_hint(wrong, broken, hint):
    report = check_bigram(wrong)
    assert broken in report.broken() and hint in repr(report), report


@pytest.mark.parametrize("kind", [
    torch.Tensor.float, torch.Tensor.numpy, torch.Tensor.tolist, lambda table: table.float().numpy(),
    torch.Tensor.requires_grad_,
])  # fmt: skip
def test_a_right_table_of_another_kind_passes(kind):
    assert check_bigram(lambda counts, D: kind(bigram(counts, D))).kept


def loop(model, columns, length, carried=True, kind="targets"):
    """An evaluation loop with the bugs asked for, written apart from the check's own."""
    state, total, losses, shares = None, 0.0, [], []
    for start in range(0, len(columns) - 1, length):
        inputs, targets = columns[start : start + length][: len(columns) - 1 - start], columns[start + 1 :][:length]
        logits, state = model(inputs, state if carried else None)
        each = -logits.log_softmax(-1).gather(-1, targets[..., None])
        total, losses = total + each.sum().item(), [*losses, each.mean().item()]
        shares.append(len(targets) / (len(columns) - 1))
    count = (len(columns) - 1) * columns.shape[1]
    return {
        "targets": math.exp(total / count),
        "rows": math.exp(total / columns.numel()),
        "columns": math.exp(total / (len(columns) - 1)),
        "nats": total / count,
        "windows": math.exp(mean(losses)),
        "weighed": sum(share * math.exp(loss) for share, loss in zip(shares, losses, strict=True)),
        "perplexities": mean(map(math.exp, losses)),
    }[kind]


def test_a_right_loop_written_otherwise_passes():
    assert check_evaluation(loop).kept


CARRY = "hand the state of one window to the next"
ONCE = "average the losses and take the exponential once, at the end"
WEIGH = "weigh each window's loss by its number of targets: the last one is shorter"


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize(("kind", "equal", "shorter"), [
    ("targets", [], []), ("windows", [], [WEIGH]), ("weighed", [ONCE], [ONCE]), ("perplexities", [ONCE], [ONCE, WEIGH]),
])  # fmt: skip
def test_each_of_the_three_bugs_gets_its_own_hint_and_no_other_does(carried, kind, equal, shorter):
    report = check_evaluation(lambda model, columns, length: loop(model, columns, length, carried, kind))
    one, same, last = report.promises
    assert one.kept, "in one window none of them shows"
    for promise, bugs in ((same, equal), (last, shorter)):
        expected = [*([] if carried else [CARRY]), *bugs]
        assert promise.kept == (not expected) and (promise.kept or promise.hint == "; ".join(expected))


@pytest.mark.parametrize(("kind", "hint"), [
    ("rows", "one fewer than there are rows"), ("columns", "that of rows times that of columns"),
    ("nats", "this is the mean loss: take its exponential"),
])  # fmt: skip
@pytest.mark.parametrize("carried", [True, False])
def test_other_wrong_loops_get_a_hint(carried, kind, hint):
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
