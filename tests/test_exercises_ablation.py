"""The exercises on the ablation: the chapter's own solutions pass, and each known wrong answer gets its hint."""

import json
import math
from statistics import mean, pstdev, stdev, variance

import numpy as np
import pytest
import torch
from test_exercises import BOOK, solutions

from awdlib.exercises import ablation as exercises
from awdlib.exercises.ablation import check_ablation, check_gap, check_seeds_needed, check_square
from awdlib.results import T_QUANTILES


def test_the_solutions_of_the_chapter_pass():
    given = solutions("ablation")
    assert {*given} >= {1, 2, 3, 4}
    assert check_square(*(given[1][name] for name in ("alone", "left_out", "overlap"))).kept
    assert check_gap(given[2]["gap"]).kept
    assert check_seeds_needed(given[3]["seeds_needed"]).kept
    assert check_ablation(given[4]["my_ablation"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    def empty(*_): ...

    for report in (check_square(..., ..., ...), check_square(0.07, 0.02, ...), check_gap(empty),
                   check_seeds_needed(empty), check_ablation(empty)):  # fmt: skip
        assert not report.kept and "your turn" in repr(report)


def test_the_quantiles_are_those_of_the_results():
    assert exercises.T_QUANTILES == T_QUANTILES


# 1


@pytest.mark.parametrize("answer", [
    (np.float64(0.07), 0.02, 0.05), (4.95 - 4.88, 4.86 - 4.84, 4.95 - 4.88 - 4.86 + 4.84),
    (torch.tensor(0.07).item(), float(np.float32(0.02)), 0.05),
])  # fmt: skip
def test_right_numbers_may_be_written_otherwise(answer):
    assert check_square(*answer).kept


@pytest.mark.parametrize(("answer", "hint"), [
    ((0.02, 0.02, 0.05), "what it gains beside B: start from neither"), ((0.09, 0.02, 0.05), "that is B's"),
    ((-0.07, 0.02, 0.05), "a fall of the loss is a gain"), ((0.5, 0.02, 0.05), "compare `neither` with `A`"),
    ((0.07, 0.04, 0.05), "with A left out, B is what remains"), ((0.07, 0.07, 0.05), "gains alone: start from both"),
    ((0.07, -0.02, 0.05), "a rise of the loss is a cost"), ((0.07, 0.11, 0.05), "the whole, with B left out too"),
    ((0.07, 0.02, -0.05), "A gains more alone"), ((0.07, 0.02, 0.11), "that is the whole"),
    ((0.07, 0.02, 0.0), "something is shared"), ((0.07, 0.02, 0.3), "minus what it gains beside B"),
])  # fmt: skip
def test_wrong_numbers_get_a_hint(answer, hint):
    report = check_square(*answer)
    assert not report.kept and hint in repr(report) and len(report.broken()) == 1


def test_an_answer_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="alone is '0.07'; it must be a number"):
        check_square("0.07", 0.02, 0.05)


# 2


def logs(values):
    return [math.log(value) for value in values]


def gaps(arm, full):
    return [math.log(a / b) for a, b in zip(arm, full, strict=True)]


def error(values):
    return stdev(values) / math.sqrt(len(values))


def in_numpy(arm, full):
    found = np.log(np.array(arm)) - np.log(np.array(full))
    return found.mean(), found.std(ddof=1) / len(found) ** 0.5


def in_torch(arm, full):
    found = torch.tensor(arm, dtype=torch.float64).log() - torch.tensor(full, dtype=torch.float64).log()
    return found.mean(), found.std() / len(found) ** 0.5


@pytest.mark.parametrize("right", [in_numpy, in_torch, lambda a, b: [mean(gaps(a, b)), error(gaps(a, b))]])
def test_a_right_gap_may_be_written_otherwise(right):
    assert check_gap(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda a, b: (mean(x - y for x, y in zip(a, b, strict=True)), error(gaps(a, b))), "that is in perplexity"),
    (lambda a, b: (mean(gaps(b, a)), error(gaps(a, b))), "the full model is what is subtracted"),
    (lambda a, b: (math.log(mean(a) / mean(b)), error(gaps(a, b))), "first the difference of each pair"),
    (lambda a, b: (sum(gaps(a, b)), error(gaps(a, b))), "divide by the number of pairs"),
    (lambda a, b: (mean(gaps(a, b)), stdev(gaps(a, b))), "the standard deviation of one pair"),
    (lambda a, b: (mean(gaps(a, b)), math.hypot(error(logs(a)), error(logs(b)))), "as if their seeds were not shared"),
    (lambda a, b: (mean(gaps(a, b)), math.hypot(stdev(logs(a)), stdev(logs(b)))), "and forgets the root of n"),
    (lambda a, b: (mean(gaps(a, b)), pstdev(gaps(a, b)) / len(a) ** 0.5), "divide the squares by n - 1"),
    (lambda a, b: (mean(gaps(a, b)), stdev(gaps(a, b)) / len(a)), "by the root of n, not by n"),
    (lambda a, b: (mean(gaps(a, b)), variance(gaps(a, b)) / len(a)), "that is the variance"),
    (lambda a, b: (mean(gaps(a, b)), T_QUANTILES[len(a) - 1] * error(gaps(a, b))), "half of an interval"),
    (lambda a, b: (mean(gaps(a, b)), error([x - y for x, y in zip(a, b, strict=True)])), "that is in perplexity"),
    (lambda a, b: (mean(gaps(a, b)), 1.0), "differences of logarithms at equal seed"),
    (lambda a, b: mean(gaps(a, b)), "it raised TypeError"), (lambda a, b: (1.0, 2.0, 3.0), "it raised ValueError"),
])  # fmt: skip
def test_a_wrong_gap_gets_a_hint(wrong, hint):
    report = check_gap(wrong)
    assert not report.kept and hint in repr(report)


# 3


def by_half(effect, spread, quantiles, shift=1, power=0.5, t=None, start=2):
    for count in range(start, 11):
        if (t or quantiles[count - shift]) * spread / count**power < abs(effect):
            return count
    return None


def in_a_comprehension(effect, spread, quantiles):
    fits = [f + 1 for f, t in quantiles.items() if (t * spread) ** 2 < effect**2 * (f + 1)]
    return np.int64(min(fits)) if fits else None


@pytest.mark.parametrize("right", [by_half, in_a_comprehension])
def test_right_numbers_of_seeds_may_be_found_otherwise(right):
    assert check_seeds_needed(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda e, s, q: by_half(e, s, q, t=1.96), "1.96 is for a known spread"),
    (lambda e, s, q: by_half(e, s, q, power=0), "varies less than one, by the root of n"),
    (lambda e, s, q: by_half(e, s, q, power=1), "by the root of n, not by n"),
    (lambda e, s, q: by_half(e, s, q) and by_half(e, s, q) - 1, "n pairs have n - 1 degrees of freedom"),
    (lambda e, s, q: by_half(e, s, q) or 10, "return None where"),
    (lambda e, s, q: by_half(e, s, q) if e > 0 else None, "an effect may have either sign"),
    (lambda e, s, q: by_half(e, s, q, start=3), "try n = 2, 3"), (lambda e, s, q: 3, "t(n - 1) times the spread"),
    (lambda e, s, q: by_half(e, s, q, shift=0), "it raised KeyError"),
])  # fmt: skip
def test_wrong_numbers_of_seeds_get_a_hint(wrong, hint):
    report = check_seeds_needed(wrong)
    assert not report.kept and hint in repr(report)


# 4


def at_best_valid(losses):
    return losses["test"][losses["valid"].index(min(losses["valid"]))]


def proper(run, full, changes, seeds, epoch=at_best_valid, shift=0, change=lambda full, own: {**full, **own}):
    def row(name):
        return mean(epoch(run(change(full, changes[name]), s + shift)) - epoch(run(full, s)) for s in seeds)

    return {name: row(name) for name in changes}


def each_run_once(run, full, changes, seeds):
    base = np.array([at_best_valid(run(dict(full), seed)) for seed in seeds])
    return {
        name: np.mean([at_best_valid(run(full | own, seed)) for seed in seeds] - base) for name, own in changes.items()
    }


@pytest.mark.parametrize("right", [proper, each_run_once])
def test_right_ablations_may_be_written_otherwise(right):
    assert check_ablation(right).kept


def in_place(full, own):
    full.update(own)
    return full


OWN, PAIRED, READ = (
    "each row is trained with its own change, and no other", "every row has the seeds of the full model",
    "the test loss at the best validation epoch is compared",
)  # fmt: skip


def accumulating(run, full, changes, seeds):
    settings, table = dict(full), {}
    for name, own in changes.items():
        settings |= own
        table[name] = proper(run, full, {name: settings}, seeds)[name]
    return table


def with_another_model(run, full, changes, seeds):
    run({**full, "width": 99}, seeds[0])
    return proper(run, full, changes, seeds)


@pytest.mark.parametrize(("wrong", "broken", "hint"), [
    (with_another_model, [OWN], "a row had other settings"),
    (lambda *g: proper(*g, change=lambda full, own: full), [OWN, READ], "every run had the full model's settings"),
    (lambda *g: proper(*g, change=in_place), [OWN, READ], "were changed in place"),
    (accumulating, [OWN, READ], "a row had other settings"),
    (lambda *g: proper(*g, shift=100), [PAIRED, READ], "the same list of seeds"),
    (lambda *g: proper(*g[:3], g[3][:1]), [PAIRED, READ], "the same list of seeds"),
    (lambda *g: proper(*g, epoch=lambda one: min(one["test"])), [READ], "chosen by the test text"),
    (lambda *g: proper(*g, epoch=lambda one: one["test"][-1]), [READ], "that is the last epoch's"),
    (lambda *g: proper(*g, epoch=lambda one: min(one["valid"])), [READ], "that is the validation loss"),
    (lambda *g: {name: -gap for name, gap in proper(*g).items()}, [READ], "the full model is what is subtracted"),
    (lambda *g: {name: 2 * gap for name, gap in proper(*g).items()}, [READ], "mean over seeds of row minus full"),
    (lambda run, full, changes, seeds: proper(run, full, {"no-a": changes["no-a"]}, seeds), [OWN, READ],
     "return a number for each row: no-a, no-b"),
    (lambda *g: 0.5, ["it runs"], "it raised TypeError"),
])  # fmt: skip
def test_wrong_ablations_are_found(wrong, broken, hint):
    report = check_ablation(wrong)
    assert report.broken() == broken and hint in repr(report)


def test_the_chapters_own_broken_ablation_breaks_every_promise():
    notebook = json.loads((BOOK / "ablation.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "def my_ablation" in text]
    space = {"mean": mean}
    exec(cell.partition("\n\n\ncheck_ablation")[0], space)
    assert check_ablation(space["my_ablation"]).broken() == [OWN, PAIRED, READ]
