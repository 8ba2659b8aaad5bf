"""The exercises on weight tying: the chapter's own solutions pass, and each known wrong answer gets its hint."""

import json

import numpy as np
import pytest
import torch
from test_exercises import BOOK, solutions
from torch import nn
from torch.nn import functional as F

from awdlib.exercises.weight_tying import check_counts, check_gradient, check_projected, check_tied

TIED, UNTIED, SAVED = 33_556_078, 46_867_278, 13_311_200 / 46_867_278


def test_the_solutions_of_the_chapter_pass():
    given = solutions("weight-tying")
    assert {*given} == {1, 2, 3, 4}
    assert check_counts(*(given[1][name] for name in ("tied", "untied", "saved"))).kept
    assert check_gradient(given[2]["tied_gradient"]).kept
    assert check_projected(given[3]["projected_logits"]).kept
    assert check_tied(given[4]["TiedModel"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    def empty(*_): ...

    for report in (check_counts(..., ..., ...), check_counts(TIED, UNTIED, ...), check_gradient(empty),
                   check_projected(empty)):  # fmt: skip
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize("answer", [(np.int64(TIED), float(UNTIED), np.float32(0.284)), (TIED, UNTIED, 0.2840)])
def test_right_counts_may_be_written_otherwise(answer):
    assert check_counts(*answer).kept


@pytest.mark.parametrize(("answer", "hint"), [
    ((TIED - 33_278, UNTIED, SAVED), "has a bias for each word"),
    ((UNTIED, UNTIED, SAVED), "the matrix is there once"),
    ((20_211_600 + 33_278 * 1151, UNTIED, SAVED), "as long as an embedding"),
    ((33_278 * 401, UNTIED, SAVED), "add the layers"),
    ((24_221_600, UNTIED, SAVED), "layers, matrices of vocabulary times embedding"),
    ((TIED, UNTIED - 33_278, SAVED), "has a bias for each word"),
    ((TIED, TIED, SAVED), "now there are two matrices"),
    ((TIED, UNTIED + 33_278, SAVED), "where words are written, not where they are read"),
    ((TIED, TIED + 33_278 * 1150, SAVED), "so long are the rows"),
    ((TIED, UNTIED, 100 * SAVED), "in per cent"),
    ((TIED, UNTIED, 13_311_200 / TIED), "not of the tied one's"),
    ((TIED, UNTIED, TIED / UNTIED), "that is the part which remains"),
    ((TIED, UNTIED, 0.5), "saved / untied"),
    ((TIED, UNTIED, 13_311_200), "divide by the untied"),
    ((TIED, UNTIED, 0.28), "three decimals"),
])  # fmt: skip
def test_wrong_counts_get_a_hint(answer, hint):
    report = check_counts(*answer)
    assert not report.kept and hint in repr(report) and len(report.broken()) == 1


def test_a_count_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="tied is '33M'; it must be a number"):
        check_counts("33M", UNTIED, SAVED)


def by_loops(tokens, grad_x, h, error, vocab_size):
    found = torch.zeros(vocab_size, h.shape[1])
    for t, word in enumerate(tokens.tolist()):
        found[word] += grad_x[t].float()
        for other in range(vocab_size):
            found[other] += (error[t, other] * h[t]).float()
    return found


def in_numpy(tokens, grad_x, h, error, vocab_size):
    found = error.numpy().T @ h.numpy()
    np.add.at(found, tokens.numpy(), grad_x.numpy())
    return found


def one_hot(tokens, grad_x, h, error, vocab_size):
    return F.one_hot(tokens, vocab_size).to(grad_x).t() @ grad_x + error.t() @ h


@pytest.mark.parametrize("right", [by_loops, in_numpy, one_hot])
def test_right_gradients_may_be_written_otherwise(right):
    assert check_gradient(right).kept


def lossy(tokens, grad_x, h, error, vocab_size):
    found = error.t() @ h
    found[tokens] += grad_x
    return found


def overwriting(tokens, grad_x, h, error, vocab_size):
    found = error.t() @ h
    found[tokens] = grad_x
    return found


def reading(tokens, grad_x, h, error, vocab_size):
    return torch.zeros(vocab_size, h.shape[1], dtype=h.dtype).index_add(0, tokens, grad_x)


@pytest.mark.parametrize(("wrong", "hint"), [
    (lossy, "keeps only one"), (overwriting, "add, do not overwrite"), (reading, "that is the part of reading alone"),
    (lambda tokens, grad_x, h, error, v: error.t() @ h, "that is the part of writing alone"),
    (lambda *given: one_hot(*given) / 2, "not averaged"),
    (lambda *given: reading(*given) - given[3].t() @ given[2], "the sign of the softmax's part"),
    (lambda *given: given[3].t() @ given[2] - reading(*given), "the sign of the part of reading"),
    (lambda tokens, grad_x, h, *rest: one_hot(tokens, h, h, *rest), "grad_x, not h"),
    (lambda tokens, grad_x, h, *rest: one_hot(tokens, h, grad_x, *rest), "have changed places"),
    (lambda *given: one_hot(*given).t(), "the gradient has the shape of the matrix, (7, 3)"),
    (lambda *given: 3 * one_hot(*given), "error^T h for all rows"),
    (lambda *given: given[0] @ given[1], "it raised RuntimeError"),
])  # fmt: skip
def test_wrong_gradients_get_a_hint(wrong, hint):
    report = check_gradient(wrong)
    assert not report.kept and hint in repr(report)


def test_a_gradient_that_loses_repeated_words_is_right_where_none_is_repeated():
    assert check_gradient(lossy).broken() == ["a word read three times"]


@pytest.mark.parametrize("right", [
    lambda h, m, p, b: F.linear(F.linear(h, p), m, b), lambda h, m, p, b: h @ (m @ p).t() + b,
    lambda h, m, p, b: torch.einsum("...h,eh,ve->...v", h, p, m).float() + b.float(),
])  # fmt: skip
def test_right_projections_may_be_written_otherwise(right):
    assert check_projected(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (lambda h, m, p, b: h @ p.t() @ m.t(), "the bias is missing"),
    (lambda h, m, p, b: h[..., :4] @ m.t() + b, "to cut h off is no projection"),
    (lambda h, m, p, b: (h @ p.t() @ m.t() + b).softmax(-1), "what comes before the softmax"),
    (lambda h, m, p, b: (h @ p.t() @ m.t() + b).log_softmax(-1), "what comes before the softmax"),
    (lambda h, m, p, b: (h @ p.t()).tanh() @ m.t() + b, "no tanh"),
    (lambda h, m, p, b: (h @ p.t()).relu() @ m.t() + b, "no relu"),
    (lambda h, m, p, b: h @ p.t() @ m.t() - b, "the bias is added"),
    (lambda h, m, p, b: h @ p.t(), "a number for each word: (11,)"),
    (lambda h, m, p, b: h @ p @ m + b, "it raised RuntimeError"),
    (lambda h, m, p, b: 2 * h @ p.t() @ m.t() + b, "first from H to E"),
])  # fmt: skip
def test_wrong_projections_get_a_hint(wrong, hint):
    report = check_projected(wrong)
    assert not report.kept and hint in repr(report)


class Model(nn.Module):
    """Two LSTM layers between a word's two uses, tied in one of many ways."""

    def __init__(self, vocab_size, embedding_size, hidden_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.first = nn.LSTM(embedding_size, hidden_size)
        self.last = nn.LSTM(hidden_size, embedding_size)
        self.decoder = nn.Linear(embedding_size, vocab_size)
        self.tie()

    def tie(self):
        self.decoder.weight = self.embedding.weight

    def read(self, tokens):
        return self.embedding(tokens)

    def write(self, h):
        return self.decoder(h)

    def forward(self, tokens):
        return self.write(self.last(self.first(self.read(tokens))[0])[0])


class OtherWay(Model):
    def tie(self):
        self.embedding.weight = self.decoder.weight


class Functional(Model):
    """One matrix, stored the other way round, and no module for the words at all."""

    def tie(self):
        self.matrix = nn.Parameter(self.embedding.weight.detach().t().clone())
        self.bias = self.decoder.bias
        del self.embedding, self.decoder

    def read(self, tokens):
        return self.matrix.t()[tokens]

    def write(self, h):
        return h @ self.matrix + self.bias


class Untied(Model):
    def tie(self):
        pass


class Alias(Model):
    def tie(self):
        self.decoder.weight.data = self.embedding.weight.data


class Copied(Model):
    def tie(self):
        self.decoder.weight = nn.Parameter(self.embedding.weight.detach().clone())


class Replaced(Model):
    def tie(self):
        self.decoder.weight = self.embedding.weight
        self.embedding = nn.Embedding(*self.embedding.weight.shape)


class WritesDetached(Model):
    def write(self, h):
        return F.linear(h, self.embedding.weight.detach(), self.decoder.bias)


class ReadsDetached(Model):
    def read(self, tokens):
        return self.embedding.weight.data[tokens]


class Frozen(Model):
    """What writes is a copy that is no parameter."""

    def tie(self):
        del self.decoder.weight
        self.decoder.register_buffer("weight", self.embedding.weight.detach().clone())


class Lost(Model):
    """Tied, but its state leaves the matrix out."""

    def state_dict(self, *given, **named):
        state = super().state_dict(*given, **named)
        return {name: value for name, value in state.items() if name != "embedding.weight"}


class Wide(Model):
    def write(self, h):
        return h


class LogProbabilities(Model):
    def write(self, h):
        return super().write(h).log_softmax(-1)


class Probabilities(Model):
    def write(self, h):
        return super().write(h).softmax(-1)


@pytest.mark.parametrize("right", [Model, OtherWay, Functional])
def test_tied_models_pass(right):
    assert check_tied(right).kept


ONE, FELT = "one parameter has a row for each word", "a change of its row is felt by reading and by writing"
BOTH = "its gradient has a part from reading and one from writing"


@pytest.mark.parametrize(("wrong", "broken", "hint"), [
    (Untied, [ONE, FELT, BOTH], "equal numbers in two places are no tie"),
    (Copied, [ONE, FELT, BOTH], "there are 2: was it copied"),
    (Replaced, [ONE, FELT, BOTH], "there are 2: was it copied, or replaced after it was tied?"),
    (Alias, [ONE, BOTH, "so it is in a deep copy", "so it is in double precision"], "two Parameters share their"),
    (WritesDetached, [BOTH], "the softmax's part is missing"),
    (ReadsDetached, [BOTH], "the part of reading is missing"),
    (Frozen, [FELT, BOTH], "what writes is something else"),
    (Lost, ["so it is in a fresh model that loads its state"], "Missing key"),
    (Wide, ["it returns logits"], "return a tensor of logits"),
    (LogProbabilities, ["it returns logits"], "leave the softmax to the loss"),
    (Probabilities, ["it returns logits"], "leave the softmax to the loss"),
    (lambda v, e, h: nn.Embedding(v, e)(torch.tensor([v])), ["it reads a window"], "it raised IndexError"),
])  # fmt: skip
def test_broken_ties_are_found(wrong, broken, hint):
    report = check_tied(wrong)
    assert report.broken() == broken and hint in repr(report)


def test_the_chapters_own_broken_model_shares_memory_and_no_parameter():
    notebook = json.loads((BOOK / "weight-tying.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "class TiedModel" in text]
    space = {"torch": torch}
    exec(cell.partition("\n\n\ncheck_tied")[0], space)
    assert check_tied(space["TiedModel"]).broken() == check_tied(Alias).broken()
