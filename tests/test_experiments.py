"""What the book's experiments share: nothing is run twice, and of a training the best weights are kept."""

import json
from dataclasses import replace
from pathlib import Path

import fitting
import grid
import helpers
import pytest

from awdlib.evaluation import evaluate
from awdlib.training import start

CELLS = [{"p": p, "seed": seed} for p in (0.5, 0.1) for seed in (1, 2)]


def test_an_interrupted_experiment_goes_on_with_what_it_lacks_in_the_order_of_its_cells(tmp_path):
    path = tmp_path / "record.json"
    begun = {"command": "experiment", "date": "then", "runs": [CELLS[2] | {"loss": 3.0}]}
    path.write_text(json.dumps(begun))
    record = grid.measure(path, {"command": "experiment"}, CELLS, dict, jobs=2)
    assert record == json.loads(path.read_text()) and record["date"] == "then"
    assert record["runs"] == [CELLS[0], CELLS[1], CELLS[2] | {"loss": 3.0}, CELLS[3]]


def test_a_record_of_other_settings_is_begun_anew(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"epochs": 1, "date": "then", "runs": [CELLS[0] | {"loss": 3.0}]}))
    record = grid.measure(path, {"epochs": 2}, CELLS[:1], dict, jobs=1)
    assert record["runs"] == CELLS[:1] and record["epochs"] == 2 and record["date"] != "then"
    assert record["environment"]["torch"]


def test_the_options_are_the_defaults_and_what_the_command_says(tmp_path):
    alone = grid.command_line("An experiment.", tmp_path, epochs=3)
    assert vars(alone.parse_args([])) == {"epochs": 3, "out": tmp_path}
    beside = grid.command_line("An experiment.\n\nMore of it.", tmp_path, epochs=3, jobs=2)
    said = beside.parse_args(["--epochs", "1", "--jobs", "4", "--out", "record.json"])
    assert vars(said) == {"epochs": 1, "jobs": 4, "out": Path("record.json")}
    assert beside.description == "An experiment."


@pytest.mark.parametrize("average_from", [None, 1])
def test_the_weights_kept_are_those_of_the_best_validation_epoch_averaged_once_averaging_has_begun(average_from):
    config = replace(helpers.CONFIG, epochs=8, lr=3.0, patience=100, average_from=average_from)
    training, corpus = start(helpers.MODEL, config), helpers.corpus()
    best = fitting.fit(training, corpus)
    record = training.best_epoch()
    assert record.epoch < 8 and record.averaging == (average_from is not None), "or this shows nothing"
    valid = [evaluate(training.model, corpus.valid, config.eval_batch_size, config.bptt)]
    assert valid[0] != record.valid_loss, "the model itself stays as training left it"
    training.model.load_state_dict(best)
    valid.append(evaluate(training.model, corpus.valid, config.eval_batch_size, config.bptt))
    assert valid[1] == record.valid_loss


def test_of_a_training_that_is_left_or_breaks_off_the_best_weights_so_far_are_there():
    training, best, seen = start(helpers.MODEL, helpers.CONFIG), {}, []
    for record in fitting.by_epoch(training, helpers.corpus(), best):
        seen.append(best["embedding"].clone())
        if record.epoch == 2:
            break
    assert len(training.history) == 2 and best["embedding"].equal(seen[training.best_epoch().epoch - 1])


def test_curves_are_rounded_and_as_long_as_the_training():
    training = start(helpers.MODEL, helpers.CONFIG)
    fitting.fit(training, helpers.corpus())
    curves = fitting.curves(training)
    assert curves["valid"] == [float(f"{epoch.valid_perplexity:.6g}") for epoch in training.history]
    assert len(curves["train"]) == helpers.CONFIG.epochs
