"""The rules beside NT-ASGD: Zaremba's schedule and loss, halving by the same criterion, fine-tuning."""

from dataclasses import replace

import pytest
import torch
from test_training import CONFIG, MODEL, corpus
from torch.nn import functional as F

from awdlib.batches import batchify
from awdlib.model import LanguageModel, ModelConfig
from awdlib.ntasgd import count_triggers, is_triggered
from awdlib.presets import PRESETS
from awdlib.training import EpochRecord, StepRecord, Training, start, train
from awdlib.training_config import TrainConfig, finetuning


def epochs(training, text):
    return [record for record in train(training, text) if isinstance(record, EpochRecord)]


def rates(training, text):
    """The learning rate of each epoch's updates at a window of bptt tokens."""
    found = {}
    for record in train(training, text):
        if isinstance(record, StepRecord):
            found.setdefault(record.epoch, set()).add(record.lr)
    return found


FIXED = replace(CONFIG, variable_windows=False, epochs=6)


def test_the_schedule_lowers_the_rate_after_every_epoch_beyond_the_last_full_one():
    config = replace(FIXED, lr_decay="schedule", decay_after=2, decay_factor=0.5)
    training = start(MODEL, config)
    assert rates(training, corpus()) == {1: {1.0}, 2: {1.0}, 3: {0.5}, 4: {0.25}, 5: {0.125}, 6: {0.0625}}
    assert not training.optimizer.averaging


def test_zarembas_small_preset_has_the_rates_of_their_code():
    """Epochs 1 to 5 at rate 1, then halved after each: five full epochs although the setting reads four."""
    config = PRESETS["zaremba-small"].training
    training = Training(LanguageModel(MODEL), config)
    expected = [1.0] * 5 + [0.5**k for k in range(1, 9)]
    for rate in expected:
        assert training.lr == rate
        training.history.append(EpochRecord(training.epoch, 0, 5.0, 5.0, False, None, 0.0))
    assert training.finished and len(expected) == 13


def test_the_loss_is_summed_over_time_before_the_clip():
    """One Zaremba update, against autograd on the loss averaged over the batch and summed over time."""
    config = replace(FIXED, lr_decay="schedule", decay_after=9, sum_over_time=True, max_grad_norm=0.5,
                     ar_weight=0.0, tar_weight=0.0, weight_decay=0.0)  # fmt: skip
    model_config = ModelConfig(
        vocab_size=13, embedding_size=6, hidden_size=6, num_layers=2, tied=False, locked=False, init_range=0.3,
        dropout_input=0.5, dropout_hidden=0.5, dropout_output=0.5, dropout_embedding=0.0, dropout_weight=0.0,
    )  # fmt: skip
    text, training = corpus(), start(model_config, config)
    before = [weight.detach().clone() for weight in training.model.parameters()]
    assert all(weight.abs().max() <= 0.3 for weight in before) and any(weight.abs().max() > 0.25 for weight in before)
    columns = batchify(text.train, 2)
    output = training.model.train()(columns[:8], generator=torch.Generator().manual_seed(config.seed + 1))
    losses = F.cross_entropy(output.logits.flatten(0, 1), columns[1:9].flatten(), reduction="none")
    gradients = torch.autograd.grad(losses.sum() / 2, list(training.model.parameters()))
    norm = sum(gradient.square().sum() for gradient in gradients).sqrt()
    assert norm > 0.5, "the clip must bite for this test to see on what it acts"
    next(train(training, text))
    for weight, old, gradient in zip(training.model.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(weight.detach(), old - gradient * 0.5 / norm, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "size"), [
    ("zaremba-small", 10_000 * 200 * 2 + 10_000 + 2 * (8 * 200 * 200 + 8 * 200)),
    ("zaremba-medium", 10_000 * 650 * 2 + 10_000 + 2 * (8 * 650 * 650 + 8 * 650)),
    ("zaremba-large", 10_000 * 1500 * 2 + 10_000 + 2 * (8 * 1500 * 1500 + 8 * 1500)),
    ("awd-gru-ptb", 19_168_700),
])  # fmt: skip
def test_presets_have_the_sizes_of_the_papers(name, size):
    with torch.device("meta"):
        model = LanguageModel(PRESETS[name].model)
    assert sum(weight.numel() for weight in model.parameters()) == size
    assert name != "zaremba-large" or round(size / 1e6) == 66


def test_ordinary_masks_are_drawn_anew_at_each_step_and_locked_ones_are_not():
    for locked in (True, False):
        config = replace(MODEL, locked=locked, dropout_output=0.5)
        model = LanguageModel(config).train()
        output = model(torch.randint(13, (9, 2)))
        dropped = output.dropped_output == 0
        assert bool((dropped == dropped[:1]).all()) is locked


def test_halving_by_the_criterion_begins_anew_after_each_time():
    losses = [9.0, 8.0, 7.0, 7.5, 7.4, 7.6, 8.0, 9.0, 9.5, 9.9, 10.0]
    # 7.4 is worse than the 7.0 two before it; then the history is 7.6, 8.0, 9.0; then 9.5, 9.9, 10.0
    fired = [count_triggers(losses[:end], 1) for end in range(1, len(losses) + 1)]
    assert fired == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    assert all(is_triggered(losses[:end], 1) for end in range(5, 12)), "without a new beginning, after every epoch"


def test_plateau_lowers_the_rate_where_the_trigger_would_average_and_never_averages():
    text = corpus()
    config = replace(FIXED, lr=8.0, epochs=12, patience=0, lr_decay="plateau", decay_factor=0.5)
    training = start(MODEL, config)
    found, losses = rates(training, text), [record.valid_loss for record in training.history]
    assert count_triggers(losses, 0) > 0 and not training.optimizer.averaging
    for epoch, rate in found.items():
        assert rate == {8.0 * 0.5 ** count_triggers(losses[: epoch - 1], 0)}


def test_fine_tuning_averages_from_its_first_weights_and_caps_the_window():
    text = corpus()
    trained = start(MODEL, CONFIG)
    list(train(trained, text))
    config = finetuning(CONFIG, epochs=1)
    assert config.window_lengths().maximum == CONFIG.bptt + 10
    tuning = Training(trained.model, config)
    iterates = [torch.nn.utils.parameters_to_vector(trained.model.parameters()).detach().clone()]
    for record in train(tuning, text):
        if isinstance(record, StepRecord):
            iterates.append(torch.nn.utils.parameters_to_vector(trained.model.parameters()).detach().clone())
    with tuning.optimizer.averaged():
        average = torch.nn.utils.parameters_to_vector(trained.model.parameters()).detach()
    torch.testing.assert_close(average, torch.stack(iterates).mean(0), rtol=1e-5, atol=1e-6)


def test_fine_tuning_ends_at_the_criterion():
    text = corpus()
    tuning = Training(LanguageModel(MODEL), replace(finetuning(CONFIG, epochs=60), lr=8.0, patience=1))
    losses = [record.valid_loss for record in epochs(tuning, text)]
    assert tuning.finished and len(losses) < 60
    assert is_triggered(losses, 1) and not any(is_triggered(losses[:n], 1) for n in range(len(losses)))


@pytest.mark.parametrize(("values", "named"), [
    ({"lr_decay": "cosine"}, "lr_decay is 'cosine'"), ({"decay_factor": 0.0}, "decay_factor is 0.0"),
    ({"decay_after": -1}, "decay_after is -1"), ({"lr_decay": "plateau", "average_from": 2}, "choose one"),
    ({"longest_window": 3}, "maximum is 3"),
])  # fmt: skip
def test_impossible_rules_are_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        TrainConfig(**values)


def test_impossible_models_are_refused_by_name():
    for values, named in (({"cell": "elman"}, "cell is 'elman'"), ({"init_range": 0.0}, "init_range is 0.0")):
        with pytest.raises(ValueError, match=named):
            ModelConfig(**values)
