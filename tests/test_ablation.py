"""The ablation: what each row changes, a grid really run, interrupted and resumed, and the table that comes of it."""

import csv
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from argparse import ArgumentParser
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from awdlib import checkpoints
from awdlib.ablation import ROWS, is_finished, open_cell, plan, run_grid
from awdlib.ablation_table import collect
from awdlib.cli import ablating, build_parser, comparing
from awdlib.corpora import load_corpus
from awdlib.figures.ablation import ablation_figure, as_csv, as_text
from awdlib.figures.comparison import comparison_figure
from awdlib.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {"epochs": 2, "batch_size": 60, "eval_batch_size": 60, "patience": 0, "average_from": 2}
WORDS = [word for name in SETTINGS for word in ("--set", f"{name}={SETTINGS[name]}")]
WORDS += ["--set", "embedding_size=8", "--set", "hidden_size=12", "--device", "cpu"]
TINY = replace(
    PRESETS["toy"],
    model=replace(PRESETS["toy"].model, embedding_size=8, hidden_size=12),
    training=replace(PRESETS["toy"].training, **SETTINGS),
)
GRID = (["full", "no-weight-drop"], [1, 2])

#: what each row must change of the paper's configuration for Penn Treebank, and nothing else
CHANGES = {
    "full": {},
    "no-ntasgd": {"lr_decay": "plateau"},
    "no-variable-windows": {"variable_windows": False},
    "no-embedding-dropout": {"dropout_embedding": 0.0},
    "no-weight-decay": {"weight_decay": 0.0},
    "no-ar-tar": {"ar_weight": 0.0, "tar_weight": 0.0},
    "full-sized-embedding": {"embedding_size": 1150},
    "no-weight-drop": {"dropout_weight": 0.0},
    "fine-tuned": {"average_from": 1, "stop_on_trigger": True, "longest_window": 80},
}
#: Merity et al. 2017: validation and test on Penn Treebank, then on WikiText-2
PUBLISHED = {
    "fine-tuned": (60.0, 57.3, 68.6, 65.8),
    "full": (60.7, 58.8, 69.1, 66.0),
    "no-ntasgd": (66.3, 63.7, 73.3, 69.7),
    "no-variable-windows": (61.3, 58.9, 69.3, 66.2),
    "no-embedding-dropout": (65.1, 62.7, 71.1, 68.1),
    "no-weight-decay": (63.7, 61.0, 71.9, 68.7),
    "no-ar-tar": (62.7, 60.3, 73.2, 70.1),
    "full-sized-embedding": (68.0, 65.6, 73.7, 70.7),
    "no-weight-drop": (71.1, 68.9, 78.4, 74.9),
}


@pytest.fixture(scope="module")
def toy():
    return load_corpus("toy")


@pytest.fixture(scope="module")
def grid(toy, tmp_path_factory):
    """Two rows at two seeds, run without interruption."""
    folder = tmp_path_factory.mktemp("grid")
    for _ in run_grid(TINY, *GRID, folder, toy, name="toy"):
        pass
    return folder


def run_command(*words):
    """The command as ``python -m awdlib`` runs it, its complaint raised."""
    parser = ArgumentParser()
    commands = parser.add_subparsers()
    ablating.add_commands(commands)
    comparing.add_commands(commands)
    options = parser.parse_args(list(map(str, words)))
    return options.command(options)


def settings(preset):
    return {"corpus": preset.corpus, **asdict(preset.model), **asdict(preset.training)}


def outcome(folder):
    record = json.loads((folder / "record.json").read_text())
    saved = checkpoints.load(folder / "checkpoint.pt")
    epochs = [{**epoch, "seconds": 0} for epoch in record["epochs"]]
    return epochs, record["final_perplexity"], {name: weight.tolist() for name, weight in saved["model"].items()}


def pretend(folder, row, seed, valid, test, **changes):
    """A finished run with figures made up, to compute with by hand."""
    preset = plan(TINY, ["full", row], [seed], load_corpus("toy"))[-1].preset
    record = {
        "status": "finished", "preset": "toy", "corpus": {"name": "toy", "floor": {"valid": 5.0}},
        "model": asdict(preset.model), "training": asdict(preset.training),
        "final_perplexity": {"valid": valid, "test": test},
        "parameters": 1, "epochs": [], "minutes": 1.0, "averaging": None, "best_epoch": None,
    }  # fmt: skip
    checkpoints.write_json(folder / f"{row}-{seed}" / "record.json", record | changes)


# Rows


@pytest.mark.parametrize("row", CHANGES)
def test_a_row_changes_its_own_fields_and_no_others(row):
    preset = PRESETS["awd-lstm-ptb"]
    assert CHANGES.keys() == ROWS.keys()
    before, after = settings(preset), settings(ROWS[row].vary(preset))
    assert {name: after[name] for name in after if after[name] != before[name]} == CHANGES[row]


def test_without_ntasgd_nothing_averages_by_schedule_either():
    varied = ROWS["no-ntasgd"].vary(PRESETS["ptb-small"]).training
    assert PRESETS["ptb-small"].training.average_from is not None and varied.average_from is None
    assert (varied.lr_decay, varied.decay_factor) == ("plateau", 0.5)


def test_a_full_sized_embedding_makes_the_last_layer_as_large_too():
    assert ROWS["full-sized-embedding"].vary(PRESETS["awd-lstm-wt2"]).model.layer_sizes() == [(1150, 1150)] * 3


def test_published_figures_are_the_papers():
    for row, figures in PUBLISHED.items():
        assert (*ROWS[row].published["ptb"], *ROWS[row].published["wikitext-2"]) == figures, row
    assert PUBLISHED.keys() == ROWS.keys()


def test_cells_come_seed_by_seed_the_full_model_first(toy):
    cells = plan(TINY, ["no-weight-drop", "fine-tuned", "full"], [7, 3, 7], toy)
    rows = ["full", "no-weight-drop", "fine-tuned"]
    assert [cell.name for cell in cells] == [f"{row}-{seed}" for seed in (7, 3) for row in rows]
    assert all(cell.preset.model.vocab_size == len(toy.vocabulary) for cell in cells)


# A grid, really run


def test_a_second_call_trains_nothing(grid, toy, monkeypatch):
    before = {path: path.read_bytes() for path in grid.rglob("*.*")}
    monkeypatch.setattr("awdlib.runs.train", lambda *_: pytest.fail("it trained a finished cell"))
    assert list(run_grid(TINY, *GRID, grid, toy, name="toy")) == []
    assert {path: path.read_bytes() for path in grid.rglob("*.*")} == before


def test_each_run_is_of_its_row_and_seed(grid):
    for row, dropout in (("full", TINY.model.dropout_weight), ("no-weight-drop", 0.0)):
        for seed in (1, 2):
            record = json.loads((grid / f"{row}-{seed}" / "record.json").read_text())
            assert (record["model"]["dropout_weight"], record["training"]["seed"]) == (dropout, seed)


def test_a_grid_interrupted_in_the_middle_of_a_cell_is_resumed_to_the_same_result(grid, toy, tmp_path):
    seen, began = 0, run_grid(TINY, *GRID, tmp_path, toy, name="toy")
    for cell, _ in began:
        seen += cell.name == "no-weight-drop-1"
        if seen == 5:
            break
    began.close()
    record = json.loads((tmp_path / "no-weight-drop-1" / "record.json").read_text())
    assert (
        record["status"] == "interrupted" and checkpoints.load(tmp_path / "no-weight-drop-1/checkpoint.pt")["row"] > 0
    )
    assert not (tmp_path / "full-2").exists()

    cells = [cell.name for cell, _ in run_grid(TINY, *GRID, tmp_path, toy, name="toy")]
    assert [*dict.fromkeys(cells)] == ["no-weight-drop-1", "full-2", "no-weight-drop-2"]
    whole = [cell for cell, _ in run_grid(TINY, ["no-weight-drop"], [1], tmp_path / "fresh", toy, name="toy")]
    assert cells.count("no-weight-drop-1") == len(whole) - 5, "it is to go on where it stopped"
    for name in ("full-1", "no-weight-drop-1", "full-2", "no-weight-drop-2"):
        assert outcome(tmp_path / name) == outcome(grid / name)


def test_more_epochs_go_on_from_a_finished_cell_fewer_are_refused(toy, tmp_path):
    def cell(epochs):
        return plan(replace(TINY, training=replace(TINY.training, epochs=epochs)), ["full"], [1], toy)[0]

    for _ in run_grid(cell(1).preset, ["full"], [1], tmp_path, toy):
        pass
    assert is_finished(cell(1), tmp_path) and not is_finished(cell(2), tmp_path)
    epochs = [record.epoch for _, record in run_grid(cell(2).preset, ["full"], [1], tmp_path, toy)]
    assert set(epochs) == {2}
    with pytest.raises(ValueError, match=r"full-1 was trained for 2 epochs, more than the 1 asked for"):
        is_finished(cell(1), tmp_path)


def test_fine_tuning_goes_on_from_the_full_run_of_the_same_seed(grid, toy, tmp_path):
    shutil.copytree(grid / "full-2", tmp_path / "full-2")
    first = next(run_grid(TINY, ["full", "fine-tuned"], [2], tmp_path, toy, name="toy"))[0]
    assert first.name == "fine-tuned-2"
    record = json.loads((tmp_path / "fine-tuned-2" / "record.json").read_text())
    full = json.loads((grid / "full-2" / "record.json").read_text())
    assert record["parent"]["run"] == "full-2" and record["parent"]["perplexity"] == full["final_perplexity"]
    shutil.rmtree(tmp_path / "fine-tuned-2")
    model = open_cell(first, tmp_path, toy, "toy").training.model
    best = checkpoints.load(grid / "full-2" / "best.pt")["model"]
    assert all(weight.equal(best[name]) for name, weight in model.state_dict().items())


def test_fine_tuning_of_a_shorter_run_is_not_taken_for_that_of_a_longer_one(toy, tmp_path):
    pretend(tmp_path, "fine-tuned", 1, 30.0, 29.0)
    longer = replace(TINY, training=replace(TINY.training, epochs=3))
    with pytest.raises(ValueError, match="fine-tuned-1 goes on from a run of 2 epochs, not 3: move it away"):
        list(run_grid(longer, ["full", "fine-tuned"], [1], tmp_path, toy, name="toy"))
    assert not (tmp_path / "full-1").exists()


# The table


@pytest.fixture
def made_up(tmp_path):
    for seed, full, without in ((1, 20.0, 23.0), (2, 22.0, 24.0), (3, 24.0, 28.0)):
        pretend(tmp_path, "full", seed, full + 1, full)
        pretend(tmp_path, "no-weight-drop", seed, without + 2, without)
    pretend(tmp_path, "no-ar-tar", 2, 30.0, 29.0)
    return tmp_path


def test_means_deviations_and_differences_are_those_computed_by_hand(made_up):
    full, ar_tar, weight_drop = collect(made_up).lines
    assert (full.row, full.seeds, full.valid, full.test, full.test_sd) == ("full", "1 2 3", 23.0, 22.0, 2.0)
    assert full.test_difference is None and full.paper_test_difference == 0
    assert (weight_drop.test, weight_drop.valid) == (25.0, 27.0)
    assert weight_drop.test_sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert weight_drop.test_difference == 3.0  # of 3, 2 and 4
    assert weight_drop.test_error == pytest.approx(1 / math.sqrt(3))
    assert weight_drop.valid_difference == 4.0
    assert (weight_drop.paper_test, weight_drop.paper_valid_difference) == (68.9, 10.4)
    assert (ar_tar.test_sd, ar_tar.test_difference, ar_tar.test_error) == (None, 7.0, None)  # one seed


def test_csv_parses_back(made_up):
    table = collect(made_up)
    read = list(csv.DictReader(io.StringIO(as_csv(table))))
    for line, found in zip(table.lines, read, strict=True):
        assert found.pop("paper_corpus") == "ptb"
        parsed = {k: v if k in ("row", "seeds") else float(v) if v else None for k, v in found.items()}
        assert parsed == line._asdict()


def test_text_sets_ours_beside_the_papers(made_up):
    title, _, _, full, ar_tar, weight_drop = as_text(collect(made_up)).splitlines()
    assert "toy on toy, 2 epochs without fine-tuning" in title and "the paper's figures for ptb" in title
    assert full.split("  ")[0] == "full, not fine-tuned" and full.split()[-3:] == ["60.7", "58.8", "–"]
    assert (
        "22.00 ± 2.00" in full
        and "+3.00 ± 0.58" in weight_drop
        and weight_drop.split()[-3:] == ["71.1", "68.9", "+10.1"]
    )
    assert "29.00 " in ar_tar and "+7.00 " in ar_tar
    assert len({len(line) for line in (full, ar_tar, weight_drop)}) == 1


def test_unfinished_and_foreign_folders_are_left_out(made_up):
    pretend(made_up, "no-weight-decay", 1, 1.0, 1.0, status="interrupted")
    pretend(made_up, "full", 4, 1.0, 1.0, status="running")
    (made_up / "notes-1").mkdir()
    assert [line.row for line in collect(made_up).lines] == ["full", "no-ar-tar", "no-weight-drop"]
    assert collect(made_up).lines[0].seeds == "1 2 3"


@pytest.mark.parametrize(
    ("row", "changes", "complaint"),
    [
        ("no-weight-decay", {"preset": "ptb-small"}, "differs from the rest in preset"),
        ("no-weight-decay", {"corpus": {"name": "ptb", "floor": {}}}, "differs from the rest in corpus"),
        ("no-weight-decay", {"model": asdict(PRESETS["toy"].model)}, "in vocab_size, embedding_size, hidden_size"),
        ("fine-tuned", {"training": asdict(TINY.training)}, "in average_from, stop_on_trigger, longest_window, seed"),
        ("fine-tuned", {"preset": "ptb-small"}, "fine-tuned-4 differs from the rest in preset"),
    ],
)
def test_a_table_of_unequal_runs_is_refused(row, changes, complaint, made_up):
    pretend(made_up, row, 4, 1.0, 1.0, **changes)
    with pytest.raises(ValueError, match=complaint):
        collect(made_up)


def test_figures_say_in_words_what_they_show(made_up, grid):
    alt = ablation_figure(collect(made_up)).get_label()
    assert "– weight drop 25.00 ± 2.65, +3.00 from full (paper +10.1)" in alt
    left, right = ablation_figure(collect(made_up)).axes
    assert "+3.00" in [text.get_text() for text in right.texts] and "25.00" in [text.get_text() for text in left.texts]
    assert [text.get_text() for text in left.get_yticklabels()][0] == "full, not fine-tuned"
    assert [line.get_marker() for line in right.lines].count("D") == 1
    assert [line.get_marker() for line in left.lines].count("D") == 0, "other corpus: the paper's level says nothing"

    records = {path.name: json.loads((path / "record.json").read_text()) for path in sorted(grid.iterdir())}
    figure = comparison_figure(records, "grid")
    assert "of 4 runs" in figure.get_label() and "averaging from epoch 2" in figure.get_label()
    last = records["full-1"]["epochs"][-1]["valid_perplexity"]
    assert any(f"full-1 {last:.1f}" == text.get_text() for text in figure.axes[0].texts)
    floors = [
        line for line in figure.axes[0].lines if line.get_ydata()[0] == records["full-1"]["corpus"]["floor"]["valid"]
    ]
    assert len(floors) == 1
    records["no-weight-drop-2"]["corpus"] = {"name": "ptb", "floor": {}}
    assert "floor" not in comparison_figure(records).get_label()


# Commands


def test_ablate_writes_the_table_and_goes_on_with_what_is_there(toy, tmp_path, capsys, monkeypatch):
    words = ["ablate", "--preset", "toy", "--rows", "full,fine-tuned", "--seeds", "1", "--out", tmp_path / "g", *WORDS]
    assert run_command(*words) == 0
    printed = capsys.readouterr().out
    assert "2 runs, 0 of them finished" in printed and "full, fine-tuned" in printed
    assert (tmp_path / "g" / "table.txt").read_text() in printed
    assert (tmp_path / "g" / "table.csv").read_text() == as_csv(collect(tmp_path / "g"))
    assert (tmp_path / "g" / "table.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "g" / "fine-tuned-1" / "record.json").read_text())
    assert record["training"]["stop_on_trigger"] and record["parent"]["run"] == "full-1"

    monkeypatch.setattr("awdlib.runs.train", lambda *_: pytest.fail("it trained a finished cell"))
    assert run_command(*words) == 0
    assert "2 runs, 2 of them finished" in capsys.readouterr().out


def test_ctrl_c_ends_ablate_between_two_updates(tmp_path):
    words = [
        "ablate",
        "--preset",
        "toy",
        "--rows",
        "full",
        "--seeds",
        "1",
        "--out",
        str(tmp_path),
        *(word.replace("epochs=2", "epochs=9") for word in WORDS),
    ]
    code = "import sys, tests.test_ablation as t; sys.exit(t.run_command(*sys.argv[1:]))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, *words], env=environment, stdout=subprocess.PIPE, text=True)
    while not process.stdout.readline().startswith("epoch"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate()
    assert process.returncode == 130 and "run the same command again to go on" in printed
    assert json.loads((tmp_path / "full-1" / "record.json").read_text())["status"] == "interrupted"
    assert not (tmp_path / "table.txt").exists()


def test_report_sets_runs_side_by_side(grid, tmp_path, capsys):
    assert run_command("report", grid / "full-1", grid / "no-weight-drop-2", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "report.txt").read_text() in printed
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    head, *lines = (tmp_path / "report.txt").read_text().splitlines()
    assert head.split() == ["run", "preset", "corpus", "parameters", "epochs", "best", "averaging", "valid", "test",
                            "minutes"]  # fmt: skip
    for line, name in zip(lines, ("full-1", "no-weight-drop-2"), strict=True):
        record = json.loads((grid / name / "record.json").read_text())
        final = record["final_perplexity"]
        assert line.split()[:6] == [name, "toy", "toy", f"{record['parameters']:,}", "2", str(record["best_epoch"])]
        assert f"after 1, by {record['averaging']['begun_by']}  {final['valid']:.2f}  {final['test']:.2f}" in line


def test_report_of_a_run_under_way_says_how_far_it_is(grid, tmp_path, capsys):
    record = json.loads((grid / "full-1" / "record.json").read_text())
    fresh = {"status": "running", "epochs": [], "final_perplexity": None, "best_epoch": None, "averaging": None}
    checkpoints.write_json(tmp_path / "a" / "full-1" / "record.json", record | fresh)
    assert run_command("report", grid / "full-1", tmp_path / "a" / "full-1", "--out", tmp_path) == 0
    line = capsys.readouterr().out.splitlines()[2]
    assert line.startswith(str(tmp_path / "a" / "full-1")) and "0 of 2, running" in line


def test_report_of_one_fine_tuned_run_averages_from_the_start(grid, tmp_path, capsys):
    record = json.loads((grid / "full-1" / "record.json").read_text()) | {"averaging": None}
    for name, average_from in (("tuned", 1), ("plain", None)):
        changed = record | {"training": record["training"] | {"average_from": average_from}}
        checkpoints.write_json(tmp_path / name / "record.json", changed)
        assert run_command("report", tmp_path / name, "--out", tmp_path) == 0
    tuned, plain = [line for line in capsys.readouterr().out.splitlines() if " toy " in line]
    assert "  from the start  " in tuned and "  –  " in plain
    assert "by epoch of 1 run: full" in comparison_figure({"full": record}).get_label()


def test_without_matplotlib_there_is_a_table_and_no_figure(grid, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert run_command("report", grid / "full-1", "--out", tmp_path) == 0
    assert "no report.png: matplotlib is not installed" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]


# Hostile input

BAD = {
    "row": (["--rows", "full,no-weight-dorp"], "no row 'no-weight-dorp'; did you mean 'no-weight-drop'?"),
    "no rows": (["--rows", ","], "needs at least one of each"),
    "no seeds": (["--seeds", ""], "needs at least one of each"),
    "seeds": (["--seeds", "1,two"], "seeds is '1,two'; it must be whole numbers with commas between them"),
    "negative seed": (["--seeds", "1,-2"], "seed is -2; it cannot be negative"),
    "row without effect": (["--set", "dropout_weight=0"], "row 'no-weight-drop' changes nothing in these settings"),
    "fine-tuned alone": (["--rows", "fine-tuned"], "row 'fine-tuned' goes on from 'full': add that row"),
    "preset": (["--preset", "toi"], "no preset 'toi'; did you mean 'toy'?"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_anything_is_trained(name, tmp_path):
    words, complaint = BAD[name]
    with pytest.raises(ValueError) as refused:
        run_command("ablate", "--preset", "toy", "--out", tmp_path / "g", *WORDS, *words)
    assert complaint in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "g").exists()


def test_the_folder_of_another_preset_is_refused_and_left_alone(grid, toy, monkeypatch):
    monkeypatch.setattr("awdlib.runs.train", lambda *_: pytest.fail("it trained over another preset's run"))
    other = replace(TINY, training=replace(TINY.training, lr=3.0))
    before = {path: path.read_bytes() for path in grid.rglob("*.*")}
    with pytest.raises(ValueError, match=r"full-1 holds a run with other settings \(lr\): name another folder"):
        list(run_grid(other, *GRID, grid, toy, name="toy"))
    with pytest.raises(ValueError, match=r"other settings \(preset\)"):
        list(run_grid(TINY, *GRID, grid, toy, name="ptb-small"))
    with pytest.raises(ValueError, match=r"no-weight-drop-2 holds a run with other settings \(dropout_output\)"):
        spoilt = replace(TINY, model=replace(TINY.model, dropout_output=0.1))  # noticed though another cell comes first
        list(run_grid(spoilt, ["no-ar-tar", "no-weight-drop"], [3, 2], grid, toy, name="toy"))
    assert {path: path.read_bytes() for path in grid.rglob("*.*")} == before


def test_all_nine_rows_are_run_unless_some_are_named():
    options = build_parser().parse_args(["ablate", "--preset", "toy"])
    assert options.rows.split(",") == list(ROWS) and len(ROWS) == 9


def test_reading_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no finished run of an ablation"):
        collect(tmp_path)
    with pytest.raises(ValueError, match="nowhere is not the folder of a run"):
        run_command("report", "nowhere", "--out", tmp_path)
    with pytest.raises(ValueError, match="no runs to compare"):
        comparison_figure({})
    with pytest.raises(ValueError, match="new has no finished epoch yet"):
        comparison_figure({"new": {"epochs": []}})
