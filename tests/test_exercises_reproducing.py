"""The exercises of the page on reproducing: its printed solutions pass, every known wrong answer gets its hint."""

import copy
import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from test_exercises import solutions

from awdlib.exercises.reproducing import TinyRun, check_checkpoint, check_perplexity, check_seed_range
from awdlib.results import T_QUANTILES

BOOK = Path(__file__).resolve().parent.parent / "book"
NOTEBOOK = json.loads((BOOK / "reproducing.ipynb").read_text(encoding="utf-8"))
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def the_pages(text):
    (cell,) = [source for source in CODE if text in source]
    space = {"torch": torch}
    exec(cell.rpartition("\n\ncheck_")[0], space)
    return space


def test_the_printed_solutions_pass():
    given = solutions("reproducing")
    assert {*given} == {1, 2, 3, 4}
    assert check_perplexity(given[1]["perplexity"]).kept
    assert check_seed_range(given[2]["seed_range"]).kept
    assert check_checkpoint(given[3]["keep"], given[3]["bring_back"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    nothing = lambda *_: None  # noqa: E731
    for report in (check_perplexity(nothing), check_seed_range(nothing), check_checkpoint(nothing, nothing)):
        assert not report.kept and "your turn" in repr(report)


# 1: the perplexity of a text


@pytest.mark.parametrize("right", [
    lambda means, counts: math.exp(np.average(means, weights=counts)),
    lambda means, counts: torch.tensor(means).mul(torch.tensor(counts)).sum().div(sum(counts)).exp(),  # float32
    lambda means, counts: np.prod(np.exp(np.array(means) * counts / sum(counts))),
])  # fmt: skip
def test_right_perplexities_pass_however_they_are_written(right):
    assert check_perplexity(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda m, c: math.exp(sum(m) / len(m)), "every window counts alike"),
    (lambda m, c: math.exp(statistics.median(m)), "add up the losses"),
    (lambda m, c: statistics.fmean(map(math.exp, m)), "the exponential comes last"),
    (lambda m, c: np.average(np.exp(m), weights=c), "the exponential comes last"),
    (lambda m, c: np.average(m, weights=c), "take its exponential"),
    (lambda m, c: 2 ** np.average(m, weights=c), "the base is e, not 2"),
    (lambda m, c: math.exp(np.dot(m, c) / (sum(c) + 1)), "one word more than was predicted"),
    (lambda m, c: math.exp(np.dot(m, c) / (sum(c) + len(c))), "one word a window more"),
    (lambda m, c: math.exp(np.dot(m, c) / len(m)), "divide by the words"),
    (lambda m, c: math.exp(sum(m) / sum(c)), "add up the losses"),
    (lambda m, c: float("nan"), "add up the losses"),
    (lambda m, c: m.sum(), "it raised AttributeError"),
])  # fmt: skip
def test_wrong_perplexities_get_a_hint(wrong, hint):
    report = check_perplexity(wrong)
    assert not report.kept and hint in repr(report)


# 2: one more seed


def of_range(own, t=None, spread=statistics.stdev, width=lambda n: math.sqrt(1 + 1 / n)):
    half = (t or T_QUANTILES[len(own) - 1]) * spread(own) * width(len(own))
    return statistics.fmean(own) - half, statistics.fmean(own) + half


@pytest.mark.parametrize("right", [
    of_range, lambda own: torch.tensor(of_range(own)), lambda own: np.array(of_range(own), dtype="float32"),
    lambda own: [*of_range(own)],
])  # fmt: skip
def test_right_ranges_pass_however_they_are_written(right):
    assert check_seed_range(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda own: of_range(own, width=lambda n: n**-0.5), "where the mean of many runs lies"),
    (lambda own: of_range(own, width=lambda n: 1), "your own mean is not exact either"),
    (lambda own: of_range(own, t=1.96), "take Student's t"),
    (lambda own: of_range(own, t=2), "take Student's t"),
    (lambda own: of_range(own, t=T_QUANTILES[len(own)]), "one degree too many"),
    (lambda own: of_range(own, spread=statistics.pstdev), "divide the squares by n - 1"),
    (lambda own: of_range(own, spread=statistics.variance), "take its square root"),
    (lambda own: of_range(own, t=1, width=lambda n: 1), "that is one standard deviation"),
    (lambda own: of_range(own, t=1.96, spread=np.std, width=lambda n: n**-0.5), "where the mean of many runs lies"),
    (lambda own: of_range(own)[::-1], "the lower end comes first"),
    (lambda own: (min(own), max(own)), "it lies around the mean"),
    (lambda own: (0.0, 2 * statistics.fmean(own)), "the root of 1 + 1/n"),
    (lambda own: of_range(own)[0], "it raised TypeError"),
])  # fmt: skip
def test_wrong_ranges_get_a_hint(wrong, hint):
    report = check_seed_range(wrong)
    assert not report.kept and hint in repr(report)


@pytest.mark.parametrize("count", [3, 5])
def test_ninety_five_of_a_hundred_new_runs_lie_in_the_range(count):
    draw = np.random.default_rng(1).normal(60, 0.4, (20_000, count + 1))
    low, high = zip(*(of_range([*own]) for own in draw[:, :count]), strict=True)
    assert ((draw[:, -1] > low) & (draw[:, -1] < high)).mean() == pytest.approx(0.95, abs=0.006)


# 3: a checkpoint

NAMES = ("weight", "average", "averaged", "hidden", "position", "history")


def keep(run):
    return {name: copy.deepcopy(getattr(run, name)) for name in NAMES} | {"draw": run.draw.get_state()}


def bring_back(run, kept):
    for name in NAMES:
        setattr(run, name, copy.deepcopy(kept[name]))
    run.draw.set_state(kept["draw"])


def test_right_checkpoints_pass_however_they_are_written():
    assert check_checkpoint(keep, bring_back).kept
    named = lambda kept: dict(zip([*NAMES, "draw"], kept, strict=True))  # noqa: E731
    assert check_checkpoint(lambda run: [*keep(run).values()], lambda run, kept: bring_back(run, named(kept))).kept

    def anew(run, kept):
        fresh = TinyRun(9)
        bring_back(fresh, kept)
        return fresh

    assert check_checkpoint(keep, anew).kept

    def in_place(run, kept):
        for name in ("weight", "average", "hidden"):
            getattr(run, name).copy_(kept[name])
        run.averaged, run.position, run.history = kept["averaged"], kept["position"], [*kept["history"]]
        run.draw = torch.Generator()
        run.draw.set_state(kept["draw"])

    assert check_checkpoint(keep, in_place).kept


@pytest.mark.parametrize("name", [*NAMES, "draw"])
def test_whatever_is_left_out_is_named_and_the_run_goes_another_way(name):
    def without(run, kept):
        had = run.draw.get_state() if name == "draw" else getattr(run, name)
        bring_back(run, kept)
        if name == "draw":
            run.draw.set_state(had)
        else:
            setattr(run, name, had)

    broken = check_checkpoint(keep, without).broken()
    assert broken == [f"brought back: {name}", "it goes on, bit for bit, as if it had never been stopped"]


def stepping(run):
    run.step()
    return keep(run)


def drawing(run):
    torch.rand(1, generator=run.draw)
    return keep(run)


def sharing(run, kept):
    for name in NAMES:
        setattr(run, name, kept[name])
    run.draw.set_state(kept["draw"])


@pytest.mark.parametrize(("wrong", "back", "hint"), [
    (lambda run: keep(run) | {"weight": run.weight}, bring_back, "the run changes tensors and lists in place"),
    (lambda run: keep(run) | {"history": run.history}, bring_back, "the run changes tensors and lists in place"),
    (lambda run: keep(run) | {"draw": run.draw}, bring_back, "of a generator its get_state()"),
    (lambda run: {"run": run}, lambda run, kept: kept["run"], "no objects"),
    (lambda run: run, lambda run, kept: kept, "no objects"),
    (stepping, bring_back, "only look"), (drawing, bring_back, "only look"),
    (keep, sharing, "changes the checkpoint in place"),
    (keep, lambda run, kept: None, "the weights are what is trained"),
    (lambda run: keep(run) | {"draw": run.draw.initial_seed()},
     lambda run, kept: bring_back(run, kept | {"draw": torch.Generator().manual_seed(kept["draw"]).get_state()}),
     "the masks to come depend on it"),
    (lambda run: undefined, bring_back, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_checkpoints_get_a_hint(wrong, back, hint):
    report = check_checkpoint(wrong, back)
    assert not report.kept and hint in repr(report)


def test_the_broken_checkpoint_of_the_page_is_told_what_it_lacks():
    space = the_pages("def keep(run)")
    report = check_checkpoint(space["keep"], space["bring_back"])
    assert report.broken()[:4] == [
        "what was kept stays as it was while the run goes on", "brought back: hidden", "brought back: history",
        "brought back: draw",
    ]  # fmt: skip


def test_all_that_a_tiny_run_remembers_is_looked_at():
    assert {*vars(TinyRun(1))} == {*NAMES, "draw"}
