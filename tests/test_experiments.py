"""What the book's experiments over a grid share: nothing is run twice, and nothing of other settings is kept."""

import json

import grid

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
