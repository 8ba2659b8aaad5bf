"""Training: each update by hand, where averaging begins, precision, refusals, and it learns."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from helpers import CONFIG, MODEL, assert_same_run, corpus
from torch.nn import functional as F

from awdlib.batches import batchify
from awdlib.corpora import Corpus, Vocabulary
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.ntasgd import is_triggered
from awdlib.training import EpochRecord, StepRecord, TrainConfig, Training, TrainingDiverged, start, train


def test_every_update_is_the_one_written_out_by_hand():
    """Two windows of a run with every regularizer on, against autograd, the clip and SGD step by step."""
    text, training = corpus(), start(MODEL, CONFIG)
    twin = copy.deepcopy(training.model).train()
    training.model.eval()  # whoever looked at it before
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


def test_a_trigger_that_was_earlier_than_the_schedule_stays_the_beginning():
    config = replace(CONFIG, lr=8.0, epochs=12, patience=0)
    list(train(training := start(MODEL, config), corpus()))
    fired = next(record.epoch for record in training.history if record.averaging_began)
    assert fired < 10, "for a schedule to come later"
    list(train(scheduled := start(MODEL, replace(config, average_from=fired + 2)), corpus()))
    assert_same_run(scheduled, training)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_precision_is_that_of_the_layers_and_never_of_the_weights(precision, dtype):
    training, seen = start(MODEL, replace(CONFIG, epochs=1, average_from=1, precision=precision)), []
    first = training.model.layers[0]
    first.register_forward_hook(lambda layer, _, out: seen.append((layer.training, out[0].dtype)))
    list(train(training, corpus()))
    assert {*seen} == {(True, dtype), (False, torch.float32)}  # evaluation is in single precision
    assert {weight.dtype for weight in training.model.parameters()} == {torch.float32}
    assert {state["average"].dtype for state in training.optimizer.state.values()} == {torch.float32}


def test_three_tokens_a_column_are_enough():
    assert sum(isinstance(record, StepRecord) for record in train(start(MODEL, CONFIG), corpus(6))) == CONFIG.epochs


def test_fixed_windows_when_variable_ones_are_off():
    config = TrainConfig(epochs=1, batch_size=2, eval_batch_size=2, bptt=3, variable_windows=False)
    records = [r for r in train(start(MODEL, config), corpus()) if isinstance(r, StepRecord)]
    assert {r.seq_len for r in records[:-1]} == {3} and {r.lr for r in records} == {config.lr}


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
