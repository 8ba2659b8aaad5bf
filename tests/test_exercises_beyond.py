"""The exercises beyond AWD-LSTM: the chapter's own solutions pass, each known wrong answer gets its hint."""

import copy

import numpy as np
import pytest
import torch
from test_exercises import solutions

from awdlib.beyond import DynamicConfig, dynamic_evaluation, partial_shuffle
from awdlib.exercises.beyond import check_by_hand, check_dynamic, check_shuffle

STEPPED, RANK, KEPT = 1.28, 5, 512_000


def test_the_solutions_of_the_chapter_pass():
    given = solutions("beyond")
    assert {*given} == {1, 2, 3}
    assert check_by_hand(*(given[1][name] for name in ("stepped", "rank", "kept"))).kept
    assert check_shuffle(given[2]["shuffle"]).kept
    assert check_dynamic(given[3]["dynamic"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    def empty(*_): ...

    for report in (check_by_hand(..., RANK, KEPT), check_shuffle(empty), check_dynamic(empty)):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize("answer", [
    (1.28, 5, 512_000), (np.float64(1.28), np.int64(5), 512e3), (torch.tensor(1.28), torch.tensor(5), 512_000.0),
])  # fmt: skip
def test_right_numbers_may_be_written_otherwise(answer):
    assert check_by_hand(*answer).kept


@pytest.mark.parametrize(("answer", "hint"), [
    ((1.35, RANK, KEPT), "also led back"),
    ((1.315, RANK, KEPT), "longer where R is above its mean"),
    ((1.42, RANK, KEPT), "leads towards the trained weight"),
    ((1.25, RANK, KEPT), "begins where the step has led"),
    ((1.52, RANK, KEPT), "not up"),
    ((1.388, RANK, KEPT), "the gradient is divided by R"),
    ((1.4365, RANK, KEPT), "the plain rule"),
    ((0.2, RANK, KEPT), "not by its square"),
    ((0.88, RANK, KEPT), "starts at the present weight"),
    ((0.85, RANK, KEPT), "starts at the present weight"),
    ((7.0, RANK, KEPT), "first -eta g / R"),
    ((STEPPED, 3, KEPT), "rank of H W"),
    ((STEPPED, 4, KEPT), "each add a matrix of rank 1"),
    ((STEPPED, 6, KEPT), "ranks of a sum"),
    ((STEPPED, 9, KEPT), "add up the ranks"),
    ((STEPPED, RANK, 256_000), "a key and a value"),
    ((STEPPED, RANK, 128_000), "each layer keeps its own"),
    ((STEPPED, RANK, 512), "for each of the words"),
    ((STEPPED, RANK, 2_048_000), "in bytes"),
    ((STEPPED, RANK, 7), "for each layer and word"),
])  # fmt: skip
def test_wrong_numbers_get_a_hint(answer, hint):
    report = check_by_hand(*answer)
    assert not report.kept and hint in repr(report) and len(report.broken()) == 1


@pytest.mark.parametrize("answer", [None, "1.28", [1.28], float("nan"), torch.ones(2)])
def test_what_is_no_number_is_named(answer):
    with pytest.raises(ValueError, match="^stepped is .*; it must be"):
        check_by_hand(answer, RANK, KEPT)


def starts_of(column):
    return [0, *((column[:-1] == 0).nonzero()[:, 0] + 1).tolist()]


def rolled(columns, generator, cut):
    return torch.stack([column.roll(-cut(column, generator)) for column in columns.t()], 1)


def drawn(options, generator):
    return options[torch.randint(len(options), (), generator=generator).item()]


def right(columns, generator):
    return rolled(columns, generator, lambda column, g: drawn(starts_of(column), g))


def test_a_right_shuffle_may_be_written_otherwise():
    def by_numpy(columns, generator):
        result = columns.numpy().copy()
        for b in range(result.shape[1]):
            starts = [0, *(np.flatnonzero(result[:-1, b] == 0) + 1)]
            result[:, b] = np.roll(result[:, b], -starts[int(torch.rand((), generator=generator) * len(starts))])
        return result

    assert check_shuffle(right).kept and check_shuffle(by_numpy).kept


def one_cut(columns, generator):
    cut = drawn(starts_of(columns[:, 0]), generator)
    return columns.roll(-cut, 0)


def sentences_shuffled(columns, generator):
    result = []
    for column in columns.t():
        parts = column.tensor_split((column == 0).nonzero()[:, 0] + 1)
        result.append(torch.cat([parts[n] for n in torch.randperm(len(parts), generator=generator)]))
    return torch.stack(result, 1)


def on_to_the_next(column, generator):
    """A start after a random row: what follows a long sentence is favoured."""
    row = torch.randint(len(column), (), generator=generator).item()
    return next((start for start in starts_of(column) if start >= row), 0)


def in_place(columns, generator):
    columns.copy_(right(columns, generator))
    return columns


def with_seed(columns, generator):
    return right(columns, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("wrong", "hint"), [
    (partial_shuffle, "right after a 0, or at the top"),
    (lambda c, g: rolled(c, g, lambda column, g: drawn([n - 1 for n in starts_of(column)], g)), "right after a 0"),
    (one_cut, "right after a 0"),
    (lambda c, g: c.clone(), "one draw a column"),
    (lambda c, g: c[torch.randperm(len(c), generator=g)], "cut once and swap"),
    (sentences_shuffled, "cut once and swap"),
    (in_place, "build new columns"),
    (with_seed, "do not seed it"),
    (lambda c, g: right(c, None), "draw with generator=generator"),
    (lambda c, g: rolled(c, g, on_to_the_next), "finds long sentences more often"),
    (lambda c, g: c[:-1], "the result has shape"),
    (lambda c, g: c.t(), "the result has shape"),
    (lambda c, g: c[:, torch.randperm(c.shape[1], generator=g)], "time is dimension 0"),
    (lambda c, g: rolled(c, g, lambda column, g: drawn(starts_of(column)[1:] or [0], g)), "never came first"),
    (lambda c, g: rolled(c, g, lambda column, g: drawn(starts_of(column)[1:], g)), "never came first"),
])  # fmt: skip
def test_wrong_shuffles_get_a_hint(wrong, hint):
    report = check_shuffle(wrong)
    assert not report.kept and hint in repr(report)


def reader(score_first=True, copying=True, carry=True, up=False, summed=False, skip=False):
    def dynamic(model, words, lr, seq_len):
        learner = copy.deepcopy(model) if copying else model
        weights, states, scores = list(learner.parameters()), None, []
        for begin in range(0, len(words) - 1, seq_len):
            part = words[begin : begin + seq_len + 1, None]

            def scored(part=part, states=states):
                output = learner(part[:-1], states)
                return output.logits[:, 0].log_softmax(-1).gather(1, part[1:])[:, 0], output

            ln_p, output = scored()
            grads = torch.autograd.grad(-(ln_p.sum() if summed else ln_p.mean()), weights)
            if score_first:
                scores.append(ln_p.detach())
            with torch.no_grad():
                for w, g in zip(weights, [] if skip else grads, strict=False):
                    w += (lr if up else -lr) * g
            if not score_first:
                ln_p, output = scored()
                scores.append(ln_p.detach())
            states = [tuple(x.detach() for x in s) for s in output.states] if carry else None
        return torch.cat(scores)

    return dynamic


def test_right_readers_may_be_written_otherwise():
    assert check_dynamic(reader()).kept
    library = lambda model, words, lr, n: dynamic_evaluation(model, words, DynamicConfig(lr=lr, seq_len=n)).log_p  # noqa: E731
    assert check_dynamic(library).kept
    assert check_dynamic(lambda *given: reader()(*given).numpy()).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (reader(score_first=False), "score first"),
    (reader(copying=False), "a copy learns"),
    (reader(carry=False), "carry the hidden state"),
    (reader(up=True), "no better than at first"),
    (reader(skip=True), "no better than at first"),
    (reader(summed=True), "gradient of the segment's mean loss"),
    (lambda *given: reader()(*given).exp(), "none above 0"),
    (lambda *given: reader()(*given)[1:], "the result has shape"),
    (lambda *given: reader()(*given).mean(), "the result has shape"),
    (lambda m, w, lr, n: reader()(m, w, lr, 5), "one step a segment"),
    (lambda m, w, lr, n: reader()(m, w, 1.0, n), "carry the hidden state"),
])  # fmt: skip
def test_wrong_readers_get_a_hint(wrong, hint):
    report = check_dynamic(wrong)
    assert not report.kept and hint in repr(report)


def test_learning_from_the_whole_text_first_is_noticed():
    def crammer(model, words, lr, seq_len):
        learner = copy.deepcopy(model)
        output = learner(words[:-1, None])
        loss = -output.logits[:, 0].log_softmax(-1).gather(1, words[1:, None]).mean()
        for w, g in zip(learner.parameters(), torch.autograd.grad(loss, list(learner.parameters())), strict=True):
            w.data -= lr * g
        return reader()(learner, words, lr, seq_len)

    report = check_dynamic(crammer)
    assert "nothing has been learned" in repr(report) and "who told them" in repr(report)
