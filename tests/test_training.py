"""Training: each update by hand, records by hand, exact resume, and it learns."""

import copy
import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from awdlib.batches import batchify
from awdlib.corpora import Corpus, Vocabulary
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.ntasgd import is_triggered
from awdlib.training import (
    EpochRecord,
    StepRecord,
    TrainConfig,
    Training,
    TrainingDiverged,
    start,
    train,
)

MODEL = ModelConfig(vocab_size=13, embedding_size=6, hidden_size=8, num_layers=2)
CONFIG = TrainConfig(epochs=3, batch_size=2, eval_batch_size=2, bptt=8, lr=1.0, patience=0, weight_decay=0.01)


def corpus(tokens=160):
    words = [f"w{number}" for number in range(13)]
    generator = torch.Generator().manual_seed(4)
    streams = [torch.randint(13, (n,), generator=generator) for n in (tokens, 60, 50)]
    return Corpus("tiny", Vocabulary(words), *streams, checked="made here")


def figures(training):
    """All that a run leaves behind, but for the time it took."""
    history = [{**vars(record), "seconds": 0} for record in training.history]
    with training.optimizer.averaged():
        averaged = {name: weight.clone() for name, weight in training.model.state_dict().items()}
    return history, training.model.state_dict(), averaged


def assert_same_run(one, other):
    (history, weights, averaged), (history2, weights2, averaged2) = figures(one), figures(other)
    assert history == history2
    for name in weights:
        assert weights[name].equal(weights2[name]) and averaged[name].equal(averaged2[name]), name


def test_every_update_is_the_one_written_out_by_hand():
    """Two windows of a run with every regularizer on, against autograd, the clip and SGD step by step."""
    text, training = corpus(), start(MODEL, CONFIG)
    twin = copy.deepcopy(training.model).train()
    windows, masks = torch.Generator().manual_seed(CONFIG.seed), torch.Generator().manual_seed(CONFIG.seed + 1)
    columns, row, states = batchify(text.train, 2), 0, None
    for record in train(training, text):
        drawn = CONFIG.window_lengths().draw(windows)
        inputs, targets = columns[row : row + drawn], columns[row + 1 : row + drawn + 1]
        output = twin(inputs, states, generator=masks)
        entropy = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
        raw, dropped = output.raw_output, output.dropped_output
        loss = entropy + 2 * (dropped**2).mean() + ((raw[1:] - raw[:-1]) ** 2).mean()
        weights = list(twin.parameters())
        gradients = torch.autograd.grad(loss, weights)
        norm = math.sqrt(sum((gradient.double() ** 2).sum().item() for gradient in gradients))
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                clipped = gradient * min(1, 0.25 / (norm + 1e-6))
                weight -= 1.0 * drawn / 8 * (clipped + 0.01 * weight)
        assert (record.seq_len, record.lr) == (drawn, drawn / 8)
        torch.testing.assert_close(record.loss, entropy.detach())
        for ours, by_hand in zip(training.model.parameters(), weights, strict=True):
            torch.testing.assert_close(ours, by_hand)
        states, row = [(h.detach(), c.detach()) for h, c in output.states], row + drawn
        if record.update == 2:
            break


def test_the_learning_rate_follows_the_length_drawn_also_where_the_corpus_ends():
    records = [r for r in train(start(MODEL, CONFIG), corpus()) if isinstance(r, StepRecord)]
    lengths, generator = CONFIG.window_lengths(), torch.Generator().manual_seed(CONFIG.seed)
    drawn = [lengths.draw(generator) for _ in records]
    assert [record.lr for record in records] == [length / 8 for length in drawn]
    assert any(record.seq_len < length for record, length in zip(records, drawn, strict=True))


def test_records_count_windows_updates_and_epochs_and_average_the_loss():
    """Against the columns: every row but the last is read once an epoch, and train_loss weighs windows by length."""
    training, steps, rows = start(MODEL, CONFIG), [], 160 // 2 - 1
    updates = 0
    for record in train(training, corpus()):
        if isinstance(record, StepRecord):
            updates += 1
            steps.append(record)
            assert (record.epoch, record.update) == (len(training.history) + 1, updates) == (training.epoch, updates)
            assert record.progress == sum(step.seq_len for step in steps) / rows and not record.loss.requires_grad
            continue
        read = sum(step.seq_len for step in steps)
        by_hand = sum(step.loss.item() * step.seq_len for step in steps) / read
        assert rows - read in (0, 1)
        assert (record.epoch, record.updates) == (len(training.history), updates)
        assert record.train_loss == pytest.approx(by_hand, rel=1e-12)
        assert record.train_perplexity == pytest.approx(math.exp(by_hand), rel=1e-12)
        assert record.valid_perplexity == math.exp(record.valid_loss)
        assert record.seconds > 0 and training.seconds == 0 == training.row and not training.loss_sum
        assert not any(part.any() for state in training.states for part in state), "an epoch begins with zero states"
        steps = []
    assert [record.epoch for record in training.history] == [1, 2, 3] and training.finished
    assert training.best_epoch() == min(training.history, key=lambda record: record.valid_loss)
    assert start(MODEL, CONFIG).best_epoch() is None


@pytest.mark.parametrize("patience", [0, 2])
def test_averaging_begins_where_the_trigger_says_so_and_nowhere_else(patience):
    training = start(MODEL, replace(CONFIG, lr=8.0, epochs=12, patience=patience, variable_windows=False))
    steps, records = [], []
    for record in train(training, corpus()):
        (records if isinstance(record, EpochRecord) else steps).append(record)
    assert {step.lr for step in steps} == {8.0}, "NT-ASGD never lowers its learning rate"
    losses = [record.valid_loss for record in records]
    fired = next(epoch for epoch in range(1, 12) if is_triggered(losses[:epoch], patience))
    assert [record.averaging_began for record in records] == [None] * (fired - 1) + ["trigger"] + [None] * (12 - fired)
    assert [record.averaging for record in records] == [False] * fired + [True] * (12 - fired)
    assert training.optimizer.history == losses


def test_records_of_an_epoch_are_frozen_and_those_of_steps_too():
    for record in train(start(MODEL, replace(CONFIG, epochs=1)), corpus()):
        with pytest.raises(FrozenInstanceError):
            record.epoch = 7


def test_seeds_decide_weights_masks_and_windows_and_nothing_global_does():
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        training = start(MODEL, replace(CONFIG, epochs=1, seed=seed))
        before = torch.get_rng_state()
        runs.append([(r.seq_len, r.loss.item()) for r in train(training, corpus()) if isinstance(r, StepRecord)])
        assert before.equal(torch.get_rng_state())
    assert runs[0] == runs[1] != runs[2]


def test_the_seed_alone_decides_the_initial_weights():
    before = torch.get_rng_state()
    first, again, other = (start(MODEL, replace(CONFIG, seed=seed)).model.state_dict() for seed in (1, 1, 2))
    assert before.equal(torch.get_rng_state())
    for name in first:
        assert first[name].equal(again[name]) and (not first[name].any() or not first[name].equal(other[name]))


def test_three_tokens_a_column_are_enough():
    assert sum(isinstance(record, StepRecord) for record in train(start(MODEL, CONFIG), corpus(6))) == CONFIG.epochs


def test_fixed_windows_when_variable_ones_are_off():
    config = TrainConfig(epochs=1, batch_size=2, eval_batch_size=2, bptt=3, variable_windows=False)
    records = [r for r in train(start(MODEL, config), corpus()) if isinstance(r, StepRecord)]
    assert {r.seq_len for r in records[:-1]} == {3} and {r.lr for r in records} == {config.lr}


@pytest.mark.parametrize("average_from", [1, 2])  # 1: from the first weights, which resuming must not set again
@pytest.mark.parametrize("stop_at", [1, 5, 9, 14, 22])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(stop_at, average_from, tmp_path):
    config = replace(CONFIG, average_from=average_from)
    text, whole = corpus(), start(MODEL, config)
    length = sum(1 for _ in train(whole, text))
    assert whole.optimizer.averaging and length > stop_at, "the run must pass through every stage"

    stopped = start(MODEL, config)
    for number, _ in enumerate(train(stopped, text), start=1):
        if number == stop_at:
            break
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    for _ in range(2):  # what was saved stays as it is, and can be resumed from again
        resumed = start(MODEL, config)
        torch.rand(7)  # the global generator has nothing to do with it
        resumed.load_state_dict(saved)
        for restored, stored in zip(*map(tree_leaves, (resumed.state_dict(), saved)), strict=True):
            assert restored.equal(stored) if isinstance(stored, torch.Tensor) else restored == stored
        assert sum(1 for _ in train(resumed, text)) == length - stop_at
        assert_same_run(resumed, whole)


def test_a_schedule_begins_averaging_where_the_trigger_does_not():
    config = TrainConfig(epochs=3, batch_size=2, eval_batch_size=2, bptt=8, lr=0.1, patience=9, average_from=3)
    training = start(MODEL, config)
    began = [r.averaging_began for r in train(training, corpus()) if isinstance(r, EpochRecord)]
    assert began == [None, "schedule", None]
    assert [r.averaging for r in training.history] == [False, False, True]


def test_a_decay_schedule_scales_the_rate_that_was_set():
    config = replace(CONFIG, lr=6.0, lr_decay="schedule", decay_after=0, decay_factor=0.5)
    assert start(MODEL, config).lr == 3.0  # epoch 1 is one beyond the last full one


def test_validation_sees_the_average_and_training_goes_on_from_the_iterate():
    text, config = corpus(), TrainConfig(epochs=2, batch_size=2, eval_batch_size=2, bptt=8, average_from=2)
    training = start(MODEL, config)
    list(train(training, text))
    iterate = evaluate(training.model, text.valid, 2, seq_len=8)
    with training.optimizer.averaged():
        average = evaluate(training.model, text.valid, 2, seq_len=8)
    assert training.history[-1].valid_loss == average != iterate


def test_a_tiny_model_learns_a_sentence_by_heart():
    words = "the old sailor that the gulls follow hoists a red sail".split()
    vocabulary = Vocabulary(words)
    stream = vocabulary.encode(words * 30)
    text = Corpus("sentence", vocabulary, stream, stream[:40], stream[:40], checked="made here")
    dropouts = {f"dropout_{where}": 0.1 for where in ("input", "hidden", "output", "embedding", "weight")}
    model = ModelConfig(vocab_size=len(vocabulary), embedding_size=16, hidden_size=24, num_layers=2, **dropouts)
    config = TrainConfig(epochs=40, batch_size=2, eval_batch_size=1, bptt=12, lr=10.0, ar_weight=0.1, tar_weight=0.1)
    training = start(model, config)
    list(train(training, text))
    assert training.best_epoch().valid_perplexity < 1.1  # 11 words in order, "the" twice: 1 can be reached
    assert training.history[0].valid_perplexity > 5


def test_a_diverged_run_says_where_and_what_to_do():
    training = start(MODEL, CONFIG)
    with torch.no_grad():
        training.model.softmax_bias[3] = float("nan")
    complaint = r"^the loss became nan in epoch 1, by update \d+, at lr 1.0: lower lr or max_grad_norm$"
    with pytest.raises(TrainingDiverged, match=complaint):
        list(train(training, corpus()))
    assert not training.history, "no epoch is recorded that has no loss"


def test_divergence_is_noticed_within_a_hundred_updates():
    config = replace(CONFIG, batch_size=1, bptt=5, variable_windows=False)
    training = start(MODEL, config)
    with torch.no_grad():
        training.model.softmax_bias[3] = float("nan")
    with pytest.raises(TrainingDiverged, match="by update 100,"):
        list(train(training, corpus(1000)))


@pytest.mark.parametrize(("values", "named"), [
    ({"epochs": 0}, "epochs is 0"), ({"lr": 0.0}, "lr is 0.0"), ({"lr": float("nan")}, "lr is nan"),
    ({"bptt": 2}, "bptt is 2"), ({"ar_weight": -1.0}, "ar_weight is -1.0"),
    ({"precision": "fp8"}, "precision is 'fp8'"),
    ({"average_from": 0}, "average_from is 0"), ({"max_grad_norm": float("inf")}, "max_grad_norm is inf"),
])  # fmt: skip
def test_impossible_settings_are_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        TrainConfig(**values)


def test_a_corpus_that_does_not_fit_is_refused_before_training():
    with pytest.raises(ValueError, match="the model knows 12 word types and corpus 'tiny' has 13"):
        next(train(Training(LanguageModel(ModelConfig(vocab_size=12)), CONFIG), corpus()))
    with pytest.raises(ValueError, match="batch_size 40"):
        next(train(start(MODEL, TrainConfig(batch_size=40, epochs=1)), corpus(40)))
    with pytest.raises(ValueError, match="^batch_size 40 leaves 2 tokens a column; training needs 3$"):
        next(train(start(MODEL, TrainConfig(batch_size=40, epochs=1)), corpus(119)))
    with pytest.raises(ValueError, match="batch_size 31 cuts 60 tokens"):  # validation's, before the first update
        next(train(start(MODEL, replace(CONFIG, eval_batch_size=31)), corpus()))
