"""The exercises of the chapter on embedding dropout: printed solutions pass, every known wrong answer gets its hint."""

import json
from pathlib import Path

import pytest
import torch
from test_exercises import solutions
from torch import nn
from torch.nn import functional as F

from awdlib.exercises.embedding_dropout import check_coins, check_per_sequence, check_spread, check_tied_embedding

BOOK = Path(__file__).resolve().parent.parent / "book"


def test_the_printed_solutions_pass():
    given = solutions("embedding-dropout")
    assert {*given} == {1, 2, 3, 4}
    assert check_coins(given[1]["entries"], given[1]["token_wise"], given[1]["type_wise"]).kept
    assert check_spread(given[2]["spread"]).kept
    assert check_per_sequence(given[3]["drop"]).kept
    assert check_tied_embedding(given[4]["TiedEmbedding"]).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    for report in (check_coins(1, ..., 2), check_spread(lambda *_: None), check_per_sequence(lambda *_: None)):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize(("answer", "hint"), [
    ((70 * 40 * 400, 2800, 10_000), "fresh masks at every step"),
    ((400, 2800, 10_000), "each of the sequences has a mask of its own"),
    ((40, 2800, 10_000), "each feature of a sequence has a coin of its own"),
    ((70 * 400, 2800, 10_000), "the time steps share a locked mask"),
    ((10_000 * 400, 2800, 10_000), "the entries of the embedded words"),
    ((16_000, 70, 10_000), "each of the sequences has coins of its own"),
    ((16_000, 40, 10_000), "each of the time steps has coins of its own"),
    ((16_000, 2800 * 400, 10_000), "its features share the coin"),
    ((16_000, 10_000, 10_000), "a coin for each position"),
    ((16_000, 2800, 10_000 * 400), "size 1 in its second dimension"),
    ((16_000, 2800, 10_000 * 40), "one decision for all sequences"),
    ((16_000, 2800, 2800), "whether its word is in the window or not"),
    ((16_000, 2800, 400), "it is rows that are dropped"),
    ((16_000, 2800, 7), "write down the mask's shape"),
])  # fmt: skip
def test_wrong_counts_get_a_hint(answer, hint):
    report = check_coins(*answer)
    assert len(report.broken()) == 1 and hint in repr(report)


def test_a_count_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="tokens is"):
        check_coins(16_000, "2800", 10_000)


def variance(tokens, p, types):
    shares = torch.bincount(tokens.flatten()) / tokens.numel() if types else torch.ones(tokens.numel()) / tokens.numel()
    return p * (1 - p) * shares.square().sum()


@pytest.mark.parametrize("right", [
    lambda t, p, k: variance(t, p, k) ** 0.5,
    lambda t, p, k: variance(t, p, k).sqrt().numpy(),
    lambda t, p, k: float(variance(t, p, k).double()) ** 0.5,
    lambda t, p, k: torch.stack([variance(t, p, k)]).sqrt(),
])  # fmt: skip
def test_right_spreads_pass_however_they_are_written(right):
    assert check_spread(right).kept


@pytest.mark.parametrize(("wrong", "hint"), [
    (variance, "this is the variance"),
    (lambda t, p, k: variance(t, p, k) ** 0.5 * t.numel(), "divide by N for the share"),
    (lambda t, p, k: variance(t, p, k) ** 0.5 / (1 - p), "this is for the scaled mask"),
    (lambda t, p, k: (variance(t, p, k) / p / (1 - p)) ** 0.5, "lacks the factor p(1 - p)"),
    (lambda t, p, k: variance(t, p, not k) ** 0.5, "this is the answer for a coin for each"),
    (lambda t, p, k: variance(t, p, False) ** 0.5, "this is the answer for a coin for each token"),
    (lambda t, p, k: (p * (1 - p) / (len(t.unique()) if k else t.numel())) ** 0.5, "weigh each by its share"),
    (lambda t, p, k: 0.123, "the share is a sum over coins"),
    (lambda t, p, k: undefined, "it raised NameError"),  # noqa: F821
])  # fmt: skip
def test_wrong_spreads_get_a_hint(wrong, hint):
    report = check_spread(wrong)
    assert not report.kept and hint in repr(report)


def coins(shape, p):
    return torch.empty(shape, dtype=torch.float64).bernoulli_(1 - p) / (1 - p)


def indexed(x, tokens, p, training):
    """As the solution, written another way: with the whole vocabulary, and index tensors."""
    if not training or p == 0:
        return x
    mask = coins((1000, x.shape[1]), p)
    return x * mask[tokens, torch.arange(x.shape[1])].unsqueeze(-1)


def test_another_right_answer_passes():
    assert check_per_sequence(indexed).kept


def on(mask):
    """A drop that is right in all but its mask."""
    return lambda x, t, p, training: x * mask(x, t, p) if training and p else x


def seeded(x, tokens, p):
    torch.manual_seed(0)
    return coins((1000, x.shape[1]), p).gather(0, tokens)[..., None]


@pytest.mark.parametrize(("wrong", "broken"), [
    (lambda x, t, p, training: x, "drops something in training"),
    (on(seeded), "a fresh mask for each window"),
    (on(lambda x, t, p: coins(1000, p)[t][..., None]), "separate decisions for different sequences"),
    (on(lambda x, t, p: coins((*x.shape[:2], 1), p)), "one decision for a word of a sequence, wherever it stands"),
    (on(lambda x, t, p: coins(x.shape, p)), "a word is there as a whole or not at all"),
    (on(lambda x, t, p: coins((1, x.shape[1], 1), p)), "separate decisions for different words"),
    (on(lambda x, t, p: coins((1000, x.shape[1]), p).gather(0, t)[..., None] * (1 - p)),
     "scales what it keeps by 1/(1 - p)"),
    (on(lambda x, t, p: coins((1000, x.shape[1]), 1 - p).gather(0, t)[..., None] * p / (1 - p)),
     "drops a share of about p (here 0.3)"),
    (lambda x, t, p, training: x * coins((1000, x.shape[1]), p).gather(0, t)[..., None],
     "does nothing in evaluation, and at p = 0"),
    (lambda x, t, p, training: x.mul_(coins((1000, x.shape[1]), p).gather(0, t)[..., None]) if training and p else x,
     "leaves its input untouched"),
    (lambda x, t, p, training: x[0], "returns a tensor of x's shape"),
    (lambda x, t, p, training: x * undefined, "runs to the end"),  # noqa: F821
])  # fmt: skip
def test_wrong_drops_are_rejected(wrong, broken):
    assert broken in check_per_sequence(wrong).broken()


class Right(nn.Module):
    """A right answer; the wrong ones below change one thing."""

    def __init__(self, vocab_size, embedding_size, p):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, embedding_size).uniform_(-0.1, 0.1))
        self.p = p

    def mask(self):
        return torch.empty(len(self.weight), 1).bernoulli_(1 - self.p) / (1 - self.p)

    def dropped(self):
        return self.weight * self.mask() if self.training and self.p else self.weight

    def forward(self, tokens):
        self.rows = self.dropped()
        return F.embedding(tokens, self.rows)

    def logits(self, h):
        return F.linear(h, self.weight)


class Columns(Right):
    def mask(self):
        return torch.empty(1, self.weight.shape[1]).bernoulli_(1 - self.p) / (1 - self.p)


class Entries(Right):
    def mask(self):
        return F.dropout(torch.ones_like(self.weight), self.p)


class Unscaled(Right):
    def mask(self):
        return super().mask() * (1 - self.p)


class Always(Right):
    def dropped(self):
        return self.weight * self.mask()


class Once(Right):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.fixed = super().mask()

    def mask(self):
        return self.fixed


class Keeping(Right):
    def mask(self):
        return torch.empty(len(self.weight), 1).bernoulli_(self.p) / (1 - self.p)


class Together(Right):
    def mask(self):
        return torch.zeros(1, 1) if torch.rand(()) < 2 else torch.ones(1, 1)


class Biased(Right):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.bias = nn.Parameter(torch.randn(sizes[0]))

    def logits(self, h):
        return super().logits(h) + self.bias


class Tokens(Right):
    def forward(self, tokens):
        x = F.embedding(tokens, self.weight)
        return F.dropout(torch.ones(*tokens.shape, 1), self.p, self.training) * x


class PerSequence(Right):
    def forward(self, tokens):
        x = F.embedding(tokens, self.weight)
        coins = F.dropout(torch.ones(len(self.weight), tokens.shape[1]), self.p, self.training)
        return coins.gather(0, tokens)[..., None] * x


class Overwriting(Right):
    def dropped(self):
        if self.training:
            self.weight.data *= self.mask()
        return self.weight


class Untied(Right):
    def logits(self, h):
        return F.linear(h, self.rows)


class Padding(Right):
    def forward(self, tokens):
        return F.embedding(tokens, self.dropped(), padding_idx=-1)


class Detached(Right):
    def dropped(self):
        return super().dropped().detach()


class DetachedSoftmax(Right):
    def logits(self, h):
        return F.linear(h, self.weight.detach())


class Failing(Right):
    def forward(self, tokens):
        return undefined  # noqa: F821


@pytest.mark.parametrize("right", [Right, Biased])
def test_a_right_module_passes(right):
    assert check_tied_embedding(right).kept


def test_a_drop_for_each_token_is_not_told_that_it_drops_too_few_words():
    """Its share of tokens is right; no word is gone everywhere, which is the one thing that is wrong."""
    report = check_per_sequence(on(lambda x, t, p: coins((*x.shape[:2], 1), p)))
    assert report.broken() == ["one decision for a word of a sequence, wherever it stands"]


@pytest.mark.parametrize(("wrong", "broken", "hint"), [
    (Columns, "drops rows, not entries", "size 1 in dimension 1"),
    (Columns, "separate decisions for different words", "the vocabulary's size in dimension 0"),
    (Entries, "drops rows, not entries", "size 1 in dimension 1"),
    (Unscaled, "scales what it keeps by 1/(1 - p)", "multiplied by 1, and p is 0.4"),
    (Tokens, "one decision for a word, wherever it stands", "gone at another"),
    (PerSequence, "one decision for a word, wherever it stands", "a coin for each row"),
    (Overwriting, "leaves the matrix as it is", "an overwritten row is lost"),
    (Always, "does nothing in evaluation", "look at `self.training`"),
    (Once, "a fresh mask for each window", "draw in forward"),
    (Keeping, "drops a share of about p (here 0.4)", "of the rows were dropped"),
    (Together, "separate decisions for different words", "all words got the same decisions"),
    (Untied, "the softmax uses the whole matrix", "none dropped and none scaled"),
    (Padding, "every row learns through the input, unless it is dropped", "what does padding_idx do?"),
    (Detached, "every row learns through the input, unless it is dropped", "500 of them get no gradient"),
    (DetachedSoftmax, "every row gets a gradient through the softmax", "the tie is to the parameter"),
    (Failing, "runs to the end", "NameError"),
])  # fmt: skip
def test_wrong_modules_are_rejected_with_a_hint(wrong, broken, hint):
    report = check_tied_embedding(wrong)
    assert broken in report.broken() and hint in repr(report)


def test_the_chapters_module_has_the_three_bugs_and_no_others():
    notebook = json.loads((BOOK / "embedding-dropout.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    (cell,) = [text for text in cells if "class TiedEmbedding" in text]
    space = {"torch": torch, "F": F}
    exec(cell.partition("\n\n\ncheck_tied_embedding")[0].partition("\n\n\n")[2], space)
    report = check_tied_embedding(space["TiedEmbedding"])
    assert "what does padding_idx do?" in repr(report)
    assert report.broken() == [
        "scales what it keeps by 1/(1 - p)",
        "the softmax uses the whole matrix",
        "every row learns through the input, unless it is dropped",
        "every row gets a gradient through the softmax",
    ]
