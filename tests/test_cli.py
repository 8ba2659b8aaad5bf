"""The command line as a user meets it: what it prints, what it leaves behind, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from awdlib import checkpoints
from awdlib.cli import main
from awdlib.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
TINY = ["train", "--preset", "toy", "--epochs", "2", "--device", "cpu"]
TINY += [word for setting in ("embedding_size=8", "hidden_size=12", "batch_size=30", "eval_batch_size=30", "patience=0",
                              "average_from=2") for word in ("--set", setting)]  # fmt: skip


def weights(folder):
    saved = checkpoints.load(folder / "checkpoint.pt")
    return {**saved["model"], **{f"average {k}": v["average"] for k, v in saved["optimizer"]["state"].items()}}


def figures(folder):
    record = json.loads((folder / "record.json").read_text())
    return [{**epoch, "seconds": 0} for epoch in record["epochs"]], record["final_perplexity"]


def assert_same_run(one, other):
    assert figures(one) == figures(other)
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, and what it printed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    done = run([*TINY, "--out", str(folder)])
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def command(words):
    return [sys.executable, "-m", "awdlib", *words]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def run(words):
    return subprocess.run(command(words), env=environment(), capture_output=True, text=True, check=False)


def test_training_prints_an_epoch_a_line_with_the_floor_and_the_averaging(finished):
    _, printed = finished
    lines = printed.splitlines()
    assert re.match(r"toy: [\d,]+ parameters on cpu; toy: [\d,]+ training tokens, [\d,]+ word types", lines[0])
    assert re.match(r"epoch +1/2  train +[\d.]+  valid +[\d.]+ \(floor [\d.]+\) .*averaging begins \(by ", lines[1])
    assert re.match(r"epoch +2/2 .* averaged ", lines[2])
    assert re.match(r"best epoch \d: valid [\d.]+, test [\d.]+ \(floor [\d.]+\)", lines[3])


def test_the_record_says_what_was_run_where_and_with_what_result(finished):
    folder, printed = finished
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished" and record["preset"] == "toy"
    assert (
        record["model"]["hidden_size"] == 12 and record["training"]["epochs"] == 2 and record["training"]["seed"] == 1
    )
    assert record["averaging"] == {"begun_after_epoch": 1, "begun_by": "schedule"}
    assert {"torch", "cpu", "threads", "commit"} <= record["environment"].keys()
    assert f"test {record['final_perplexity']['test']:.2f}" in printed
    assert [epoch["epoch"] for epoch in record["epochs"]] == [1, 2]
    best = record["epochs"][record["best_epoch"] - 1]
    assert best["averaging"], "the weights kept are to be the average's"
    assert record["final_perplexity"]["valid"] == pytest.approx(best["valid_perplexity"], rel=1e-4)
    assert str(folder) not in json.dumps(record) and str(ROOT) not in json.dumps(record)
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "checkpoint.pt", "record.json"]


def test_evaluate_gives_the_records_figures(finished, capsys):
    folder, _ = finished
    final = json.loads((folder / "record.json").read_text())["final_perplexity"]
    assert main(["evaluate", str(folder), "--device", "cpu"]) == 0
    assert f"test: perplexity {final['test']:.2f} " in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--split", "valid", "--batch-size", "30", "--device", "cpu"]) == 0
    assert f"valid: perplexity {final['valid']:.2f} " in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_run_ended_in_mid_epoch_and_resumed_equals_the_uninterrupted_one(kind, status, finished, tmp_path):
    whole, _ = finished
    folder = tmp_path / "run"
    words = [*TINY, "--out", str(folder), "--checkpoint-minutes", "0"]
    process = subprocess.Popen(command(words), env=environment(), stdout=subprocess.PIPE, text=True)
    while not re.match("epoch +1/2", process.stdout.readline()):  # one epoch is done, the second under way
        assert process.poll() is None
    process.send_signal(kind)
    printed, _ = process.communicate()
    assert process.returncode == status
    if status == 130:
        assert "--resume to go on" in printed
        assert json.loads((folder / "record.json").read_text())["status"] == "interrupted"
    saved = checkpoints.load(folder / "checkpoint.pt")
    assert len(saved["history"]) == 1, "it was to end in the second epoch"

    done = run([*words, "--resume"])
    assert done.returncode == 0 and "resuming" in done.stdout, done.stderr
    assert_same_run(folder, whole)


def test_resuming_what_is_not_there_starts_and_says_so(tmp_path, capsys):
    assert main([*TINY, "--epochs", "1", "--out", str(tmp_path / "new"), "--resume"]) == 0
    assert "holds no checkpoint: starting from the beginning" in capsys.readouterr().out


def test_a_longer_run_goes_on_from_a_finished_one(finished, tmp_path):
    folder, whole = tmp_path / "run", finished[0]
    assert main([*TINY, "--epochs", "1", "--out", str(folder)]) == 0
    assert main([*TINY, "--out", str(folder), "--resume"]) == 0
    assert figures(folder) == figures(whole)


def test_presets_are_listed_with_source_and_published_figures(capsys):
    assert main(["presets"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in PRESETS) and "60.0 / 57.3" in printed and "section 5" in printed


BAD = {
    "preset": (["train", "--preset", "awd-lstm-ptp"], "no preset 'awd-lstm-ptp'; did you mean 'awd-lstm-ptb'?"),
    "corpus": ([*TINY, "--corpus", "brown"], "invalid choice: 'brown'"),
    "data": (["train", "--preset", "awd-lstm-ptb", "--data", "nowhere"], "looked for ptb.train.txt"),
    "no such setting": ([*TINY, "--set", "dropout_wieght=0.5"], "did you mean 'dropout_weight'?"),
    "not of the form": ([*TINY, "--set", "lr"], "'lr' must have the form FIELD=VALUE"),
    "wrong type": ([*TINY, "--set", "lr=fast"], "setting lr is 'fast'; it must be a number"),
    "wrong switch": ([*TINY, "--set", "tied=perhaps"], "setting tied is 'perhaps'; it must be true or false"),
    "out of range": (
        [*TINY, "--set", "dropout_input=1.2"],
        "dropout_input is 1.2; it must lie in [0, 1): at 1 nothing would be kept",
    ),
    "epochs": ([*TINY, "--epochs", "0"], "epochs is 0; it must be at least 1"),
    "epochs not a number": ([*TINY, "--epochs", "many"], "invalid int value: 'many'"),
    "device": ([*TINY, "--device", "tpu"], "device is 'tpu'; it must be auto, cpu or cuda"),
    "no preset": (["train"], "--preset"),
    "no command": ([], "COMMAND"),
    "not a run": (["evaluate", "nowhere"], "nowhere is not the folder of a run"),
    "diverges": ([*TINY, "--set", "lr=1e30"], "lower lr or max_grad_norm"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_exits_2_with_one_line(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, complaint = BAD[name]
    try:
        status = main(words)
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr().err.strip()
    assert status == 2
    assert complaint in said and "\n" not in said and "Traceback" not in said


def test_a_folder_with_a_run_is_never_overwritten(finished, capsys):
    folder, _ = finished
    before = (folder / "checkpoint.pt").read_bytes()
    assert main([*TINY, "--out", str(folder)]) == 2
    assert "already holds a run: add --resume" in capsys.readouterr().err
    assert main([*TINY, "--set", "lr=3", "--out", str(folder), "--resume"]) == 2
    assert "other settings (lr)" in capsys.readouterr().err
    assert (folder / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("spoil", ["truncated", "one bit", "foreign"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(spoil, finished, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    content = bytearray((finished[0] / "checkpoint.pt").read_bytes())
    if spoil == "truncated":
        content = content[: len(content) // 2]
    elif spoil == "one bit":
        content[len(content) // 2] ^= 1
    else:
        torch.save({"model": {}}, folder / "foreign")
        content = (folder / "foreign").read_bytes()
    (folder / "checkpoint.pt").write_bytes(content)
    assert main([*TINY, "--out", str(folder), "--resume"]) == 2
    said = capsys.readouterr().err
    assert ("truncated or damaged" in said) != (spoil == "foreign") and "checkpoint.pt" in said
    assert (folder / "checkpoint.pt").read_bytes() == bytes(content)


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path):
    folder = tmp_path / "run"
    assert main([*TINY, "--epochs", "1", "--out", str(folder)]) == 0
    saved = checkpoints.load(folder / "checkpoint.pt")
    saved["model"]["softmax_bias"][0] = float("nan")  # what comes after it diverges
    checkpoints.save(folder / "checkpoint.pt", saved)
    before = (folder / "checkpoint.pt").read_bytes()
    assert main([*TINY, "--out", str(folder), "--resume", "--checkpoint-minutes", "0"]) == 2
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    checkpoints.save(path, {"old": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(checkpoints.CheckpointError, match=r"No space left.*what was there before is untouched"):
        checkpoints.save(path, {"new": 2})
    assert checkpoints.load(path) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.skipif("AWDLIB_DATA" not in os.environ, reason="AWDLIB_DATA names no folder with the real corpora")
@pytest.mark.slow
@pytest.mark.parametrize(("preset", "size"), [("awd-lstm-ptb", 24_221_600), ("awd-lstm-wt2", 33_556_078)])
def test_the_papers_models_train_on_their_corpora(preset, size, tmp_path):
    """A few updates at full size, small batch and window, for which 30 is too bold: enough to see the loss fall."""
    from awdlib.corpora import load_corpus
    from awdlib.settings import apply_settings
    from awdlib.training import start, train

    chosen = PRESETS[preset]
    model, config = apply_settings(["batch_size=4", "bptt=12", "lr=10"], chosen.model, chosen.training)
    training = start(model, config)
    assert sum(weight.numel() for weight in training.model.parameters()) == size
    losses = []
    for record in train(training, load_corpus(chosen.corpus)):
        losses.append(record.loss.item())
        if record.update == 12:
            break
    assert sum(losses[-3:]) / 3 < losses[0] - 0.25  # from ln(vocab_size) down
