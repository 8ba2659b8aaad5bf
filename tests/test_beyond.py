"""What came after AWD-LSTM, each part against an implementation of its own or a result known in closed form."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from awdlib.beyond import (
    BeyondTraining,
    DynamicConfig,
    MixtureOfSoftmaxes,
    PastDecoder,
    dynamic_evaluation,
    partial_shuffle,
    squared_gradients,
)
from awdlib.corpora import load_corpus
from awdlib.evaluation import evaluate
from awdlib.gradients import Window, plain_gradients
from awdlib.model import LanguageModel, ModelConfig, cross_entropy
from awdlib.training import EpochRecord, Training, train
from awdlib.training_config import TrainConfig

SIZES = ModelConfig(vocab_size=30, embedding_size=8, hidden_size=10, num_layers=2)
STILL = replace(SIZES, dropout_input=0.0, dropout_hidden=0.0, dropout_output=0.0, dropout_embedding=0.0,
                dropout_weight=0.0)  # fmt: skip
CONFIG = TrainConfig(batch_size=4, bptt=10, ar_weight=0.5, tar_weight=0.5)


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def text(length=400, seed=2):
    return torch.randint(30, (length,), generator=generator(seed))


# partial shuffle


def test_each_column_is_cut_once_and_its_parts_change_places():
    columns = torch.arange(70).view(7, 10).t().contiguous()
    untouched = columns.clone()
    cuts = []
    for seed in range(40):
        shuffled = partial_shuffle(columns, generator(seed))
        for before, after in zip(columns.t().tolist(), shuffled.t().tolist(), strict=True):
            cut = before.index(after[0])
            assert after == before[cut:] + before[:cut]
            cuts.append(cut)
        assert len({*cuts[-7:]}) > 1, "each column has a cut of its own"
    assert columns.equal(untouched) and {*cuts} == {*range(10)}
    counts = np.bincount(cuts)
    assert counts.min() > 0.5 * len(cuts) / 10, "every row is equally likely"


@pytest.mark.parametrize("wrong", [None, torch.arange(4), torch.zeros(0, 3, dtype=torch.long)])
def test_what_is_no_columns_is_refused(wrong):
    with pytest.raises(ValueError):
        partial_shuffle(wrong)


def test_each_epoch_is_shuffled_anew_and_a_resumed_one_as_before():
    columns = torch.arange(200).view(4, 50).t().contiguous()
    run = BeyondTraining(LanguageModel(SIZES), CONFIG, shuffle=True)
    first = run.arranged(columns)
    run.history.append(None)
    second = run.arranged(columns)
    other = BeyondTraining(LanguageModel(SIZES), replace(CONFIG, seed=2), shuffle=True)
    assert not first.equal(second) and not first.equal(other.arranged(columns))
    run.history.clear()
    assert run.arranged(columns).equal(first)
    assert BeyondTraining(LanguageModel(SIZES), CONFIG).arranged(columns) is columns


def test_training_reads_the_shuffled_columns(monkeypatch):
    corpus = load_corpus("toy")
    small = replace(corpus, train=corpus.train[:400], valid=corpus.valid[:400])
    sizes = replace(SIZES, vocab_size=len(corpus.vocabulary))
    seen = []
    run = BeyondTraining(LanguageModel(sizes), replace(CONFIG, epochs=2, eval_batch_size=4), shuffle=True)
    gradients = run.gradients
    monkeypatch.setattr(run, "gradients", lambda window: seen.append(window.inputs) or gradients(window))
    expected = []
    columns = small.train.view(4, 100).t()
    expected.append(run.arranged(columns))
    for record in train(run, small):
        if isinstance(record, EpochRecord) and record.epoch == 1:
            read = torch.cat(seen)
            assert read.equal(expected[0][: len(read)]) and not read.equal(columns[: len(read)])
            seen.clear()
            expected.append(run.arranged(columns))
    read = torch.cat(seen)
    assert read.equal(expected[1][: len(read)])


# past decode


def test_past_decode_is_the_equation():
    model = PastDecoder(STILL, generator=generator()).double()
    tokens = text(12).view(6, 2)
    logits = model(tokens).logits
    due = 0.0
    for row, words in zip(logits.softmax(-1).detach().numpy(), tokens.tolist(), strict=True):
        for p, word in zip(row, words, strict=True):
            E = model.embedding.detach().numpy()
            r = np.tanh(model.past_weight.detach().numpy() @ (E.T @ p) + model.past_bias.detach().numpy())
            scores = E @ r + model.past_softmax_bias.detach().numpy()
            due -= scores[word] - math.log(np.exp(scores).sum())
    assert model.past_loss(logits, tokens).item() == pytest.approx(due / 12, rel=1e-9)


def test_the_gradient_of_past_decode_is_of_the_sum():
    """Finite differences of cross entropy + AR + TAR + weight times the past's loss."""
    torch.manual_seed(0)
    model = PastDecoder(STILL, generator=generator()).double()
    run = BeyondTraining(model, replace(CONFIG, max_grad_norm=1e9), past_weight=0.7)
    inputs, targets = text(12).view(6, 2), text(12, 5).view(6, 2)
    run.gradients(Window(inputs, targets, model.initial_states(2)))

    def whole():
        with torch.no_grad():
            output = model(inputs)
            loss = cross_entropy(output.logits, targets) + 0.7 * model.past_loss(output.logits, inputs)
            raw = output.raw_output
            return (loss + 0.5 * raw.square().mean() + 0.5 * (raw[1:] - raw[:-1]).square().mean()).item()

    for weight in (model.embedding, model.past_weight, model.layers[0].weight_hh, model.past_softmax_bias):
        at = weight.flatten().abs().argmax().item()
        numbers = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight.view(-1)[at] += step
            numbers.append(whole())
            with torch.no_grad():
                weight.view(-1)[at] -= step
        assert weight.grad.flatten()[at].item() == pytest.approx((numbers[0] - numbers[1]) / 2e-5, rel=1e-4)


def test_without_its_weight_the_training_is_the_plain_one():
    inputs, targets = text(40).view(10, 4), text(40, 5).view(10, 4)
    grads = []
    for kind in (Training, BeyondTraining):
        run = kind(LanguageModel(SIZES, generator=generator()), CONFIG)
        run.model.train()
        run.gradients(Window(inputs, targets, run.states))
        grads.append([weight.grad for weight in run.model.parameters()])
    assert all(a.equal(b) for a, b in zip(*grads, strict=True))


def test_what_cannot_be_is_refused():
    untied = replace(SIZES, tied=False)
    for refused in (
        lambda: PastDecoder(untied),
        lambda: MixtureOfSoftmaxes(untied, 2),
        lambda: MixtureOfSoftmaxes(SIZES, 0),
        lambda: BeyondTraining(LanguageModel(SIZES), CONFIG, past_weight=0.1),
        lambda: BeyondTraining(MixtureOfSoftmaxes(SIZES, 2), CONFIG, past_weight=0.1),
        lambda: BeyondTraining(PastDecoder(SIZES), CONFIG, past_weight=-1.0),
        lambda: BeyondTraining(PastDecoder(SIZES), CONFIG, shuffle="yes"),
        lambda: DynamicConfig(lr=-1.0),
        lambda: DynamicConfig(lr=0.1, decay=2.0),
        lambda: DynamicConfig(lr=0.1, seq_len=0),
        lambda: DynamicConfig(lr=0.1, epsilon=0.0),
        lambda: dynamic_evaluation(LanguageModel(SIZES), text(), DynamicConfig(lr=0.1), [torch.zeros(2)]),
        lambda: dynamic_evaluation(LanguageModel(SIZES), text(), DynamicConfig(lr=0.1), 3),
        lambda: dynamic_evaluation(LanguageModel(SIZES), text(), DynamicConfig(lr=0.1), [None]),
        lambda: dynamic_evaluation(LanguageModel(SIZES), text(), None),
        lambda: dynamic_evaluation(LanguageModel(SIZES), text() + 30, DynamicConfig(lr=0.1)),
        lambda: dynamic_evaluation(LanguageModel(SIZES), text(), DynamicConfig(lr=1e30)),
    ):
        with pytest.raises(ValueError) as error:
            refused()
        assert "\n" not in str(error.value) and len(str(error.value)) < 200


# mixture of softmaxes


def random_mixture(components, sizes=STILL):
    model = MixtureOfSoftmaxes(sizes, components, generator=generator()).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator(weight.numel()), dtype=torch.float64))
    return model.eval()


def test_a_mixture_is_a_mean_of_softmaxes():
    model = random_mixture(3)
    tokens = text(8).view(8, 1)
    output = model(tokens)
    for h, found in zip(output.raw_output[:, 0], output.logits[:, 0], strict=True):
        pi = (model.prior_weight @ h).softmax(0)
        p = torch.zeros(30, dtype=torch.float64)
        for k in range(3):
            rows = slice(8 * k, 8 * k + 8)
            latent = (model.latent_weight[rows] @ h + model.latent_bias[rows]).tanh()
            p += pi[k] * (model.embedding @ latent + model.softmax_bias).softmax(0)
        torch.testing.assert_close(found.exp(), p)
    targets = text(8, 9).view(8, 1)
    torch.testing.assert_close(model.target_loss(output.dropped_output, targets), cross_entropy(output.logits, targets))


def test_the_rank_of_one_softmax_is_bounded_and_a_mixtures_is_not():
    tokens = text(60, 11).view(60, 1)
    for components, bounded in ((1, True), (2, False), (4, False)):
        ln_p = random_mixture(components)(tokens).logits[:, 0]
        rank = torch.linalg.matrix_rank(ln_p, rtol=1e-9).item()
        assert (rank <= 8 + 2) == bounded and rank <= 30


def test_a_mixture_is_trained_on_its_own_loss_and_evaluated_like_any_model():
    model = MixtureOfSoftmaxes(STILL, 3, generator=generator())
    run = BeyondTraining(model, CONFIG)
    inputs, targets = text(40).view(10, 4), text(40, 5).view(10, 4)
    loss, _ = run.gradients(Window(inputs, targets, run.states))
    grads = [weight.grad.clone() for weight in model.parameters()]
    plain, _ = plain_gradients(model, CONFIG, Window(inputs, targets, run.states))  # through the whole distribution
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    for a, weight in zip(grads, model.parameters(), strict=True):
        torch.testing.assert_close(a, weight.grad, rtol=1e-3, atol=1e-6)
    words = text(101)
    with torch.no_grad():
        ln_p = model.eval()(words[:-1, None]).logits[:, 0].gather(1, words[1:, None])
    assert evaluate(model, words) == pytest.approx(-ln_p.mean().item(), rel=1e-5)


def test_both_models_carry_states_draw_masks_and_clip_as_all_do():
    """Two windows in a row against the plain way; past decode with a weight too small to be seen."""
    config = replace(CONFIG, max_grad_norm=0.05)
    for model, weight in ((MixtureOfSoftmaxes(SIZES, 3, generator=generator()), 0.0),
                          (PastDecoder(SIZES, generator=generator()), 1e-9)):  # fmt: skip
        twin = Training(copy.deepcopy(model), config)
        run = BeyondTraining(model, config, past_weight=weight)
        ours = theirs = run.states
        for seed in (3, 4):
            inputs, targets = text(40, seed).view(10, 4), text(40, seed + 7).view(10, 4)
            loss, ours = run.gradients(Window(inputs, targets, ours))
            due, theirs = plain_gradients(twin.model, config, Window(inputs, targets, theirs), twin.mask_generator)
            assert loss.item() == pytest.approx(due.item(), rel=1e-5)
            for state, other in zip(ours, theirs, strict=True):
                assert all(a.equal(b) and a.any() for a, b in zip(state, other, strict=True))
            pairs = zip(model.parameters(), twin.model.parameters(), strict=True)
            grads = [(a.grad, torch.zeros_like(b) if b.grad is None else b.grad) for a, b in pairs]
            for a, b in grads:
                torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)
            assert torch.cat([a.flatten() for a, _ in grads]).norm().item() == pytest.approx(0.05, rel=1e-3)


# dynamic evaluation


def by_hand(model, words, lr, decay, seq_len, epsilon=1e-5, squares=None):
    """The equations of Krause et al. 2018, a weight at a time, with a state carried by re-reading all that came."""
    learner = copy.deepcopy(model).eval()
    home = [w.detach().clone() for w in learner.parameters()]
    roots = [s.sqrt() for s in squares] if squares else [torch.ones_like(w) for w in home]
    if squares:
        mean = torch.cat([r.flatten() for r in roots]).mean()
        units, ways = [r + epsilon for r in roots], [(decay * r / mean).clamp(max=1) for r in roots]
    else:
        units, ways = roots, [decay * r for r in roots]
    states, scores = learner.initial_states(1), []
    for begin in range(0, len(words) - 1, seq_len):
        output = learner(words[begin : begin + seq_len, None][: len(words) - 1 - begin], states)
        targets = words[begin + 1 : begin + 1 + seq_len]
        loss = torch.nn.functional.cross_entropy(output.logits[:, 0], targets, reduction="none")
        scores += (-loss).tolist()
        learner.zero_grad()
        loss.mean().backward()
        states = [tuple(part.detach() for part in state) for state in output.states]
        for weight, start, unit, way in zip(learner.parameters(), home, units, ways, strict=True):
            new = weight.data - lr * weight.grad / unit + way * (start - (weight.data - lr * weight.grad / unit))
            weight.data = new
    return torch.tensor(scores)


@pytest.mark.parametrize("seq_len", [1, 5, 7])
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_dynamic_evaluation_is_the_equation(seq_len, decay):
    model, words = LanguageModel(SIZES, generator=generator()).double(), text(64)
    before = copy.deepcopy(model.state_dict())
    plain = dynamic_evaluation(model, words, DynamicConfig(lr=1.0, decay=decay, seq_len=seq_len))
    torch.testing.assert_close(plain.log_p.float(), by_hand(model, words, 1.0, decay, seq_len))
    squares = squared_gradients(model, text(400, 4), batch_size=2, seq_len=10)
    settings = DynamicConfig(lr=1e-3, decay=decay, seq_len=seq_len, epsilon=1e-3)
    rms = dynamic_evaluation(model, words, settings, squares)
    torch.testing.assert_close(rms.log_p.float(), by_hand(model, words, 1e-3, decay, seq_len, 1e-3, squares))
    assert all(before[name].equal(now) for name, now in model.state_dict().items()), "a copy learns"
    assert model.training and rms.targets.equal(words[1:]) and rms.states.shape == (63, 8)


def test_words_are_scored_before_they_are_learned_from():
    model, words = LanguageModel(SIZES, generator=generator()), text(64)
    still = dynamic_evaluation(model, words, DynamicConfig(lr=0.0)).log_p
    assert -still.mean().item() == pytest.approx(evaluate(model, words), rel=1e-5)
    moving = dynamic_evaluation(model, words, DynamicConfig(lr=5.0)).log_p
    assert moving[:5].equal(still[:5]) and not moving[5:].allclose(still[5:])
    other = words.clone()
    other[41:] = (other[41:] + 7) % 30
    head = dynamic_evaluation(model, other, DynamicConfig(lr=5.0)).log_p
    assert head[:40].equal(moving[:40]) and not head[41:].equal(moving[41:])


def test_full_decay_leads_home_at_every_step():
    model, words = LanguageModel(SIZES, generator=generator()).double(), text(64)
    still = dynamic_evaluation(model, words, DynamicConfig(lr=0.0)).log_p
    led = dynamic_evaluation(model, words, DynamicConfig(lr=9.0, decay=1.0)).log_p
    torch.testing.assert_close(led, still)


def test_squared_gradients_are_the_mean_over_windows():
    model, words = LanguageModel(STILL, generator=generator()).double(), text(61)
    found = squared_gradients(model, words, batch_size=2, seq_len=10)
    columns, states, sums = words[:60].view(2, 30).t(), None, None
    for begin in (0, 10, 20):
        part = columns[begin : begin + 11]
        output = model(part[:-1], states)
        states = [tuple(x.detach() for x in state) for state in output.states]
        model.zero_grad()
        cross_entropy(output.logits, part[1:]).backward()
        grads = [weight.grad**2 for weight in model.parameters()]
        sums = grads if sums is None else [a + b for a, b in zip(sums, grads, strict=True)]
    for square, total in zip(found, sums, strict=True):
        torch.testing.assert_close(square, total / 3)
