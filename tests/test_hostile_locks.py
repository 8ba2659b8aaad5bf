"""Two processes in one run's folder: the second is told who holds it, and the lock dies with its process."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from test_cli import TINY, command, environment

from awdlib import locks
from awdlib.ablation import plan, run_grid
from awdlib.cli import main
from awdlib.corpora import load_corpus
from awdlib.jobs import Job
from awdlib.locks import LOCK, FolderInUse, locked
from awdlib.presets import PRESETS
from awdlib.runs import Run, hold
from awdlib.training import start

LONG = [*TINY, "--epochs", "500"]
HOLD = "import sys, pathlib; from awdlib.locks import locked\n"
HOLD += "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


@pytest.fixture
def holder():
    """Start processes that are ended with the test; returns the function that starts one and waits for its line."""
    started = []

    def begin(words, line):
        process = subprocess.Popen(words, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        while not re.match(line, process.stdout.readline()):
            assert process.poll() is None
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def hold_elsewhere(holder, folder):
    return holder([sys.executable, "-c", HOLD, str(folder)], "held")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_second_process_is_told_who_trains_there_and_changes_nothing(holder, tmp_path, capsys):
    folder = tmp_path / "run"
    first = holder(command([*LONG, "--out", str(folder)]), "epoch +1/")
    for words in (["--resume"], []):
        assert main([*LONG, "--out", str(folder), *words]) == 2
        said = capsys.readouterr().err
        who = rf"process {first.pid} on {platform.node()} since \d{{4}}-\d\d-\d\dT[\d:+]+"
        assert re.fullmatch(rf"awdlib: .*run is in use by {who}: wait for its end, or name another folder\n", said), (
            said
        )
    assert main(["report", str(folder), "--out", str(tmp_path)]) == 0  # reading is free
    assert main(["evaluate", str(folder), "--device", "cpu"]) == 0
    assert main(["generate", str(folder), "--device", "cpu", "--length", "3"]) == 0
    first.send_signal(signal.SIGTERM)
    first.communicate()
    assert sorted(contents(folder)) == ["best.pt", "checkpoint.pt", "record.json"]
    assert json.loads(contents(folder)["record.json"])["status"] == "interrupted"


def test_a_killed_process_leaves_no_lock_and_what_it_left_half_written_is_removed(holder, tmp_path):
    folder = tmp_path / "run"
    first = holder(command([*TINY, "--out", str(folder), "--checkpoint-minutes", "0"]), "epoch +1/")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (folder / LOCK).exists()  # the file stays behind, the lock does not
    (folder / ".checkpoint.pt-half").write_bytes(b"a part")
    assert main([*TINY, "--out", str(folder), "--resume"]) == 0
    assert sorted(contents(folder)) == ["best.pt", "checkpoint.pt", "record.json"]


def test_every_command_that_trains_is_refused_and_finds_what_is_there_untouched(holder, tmp_path, capsys):
    whole, grid = tmp_path / "whole", tmp_path / "grid"
    assert main([*TINY, "--epochs", "1", "--out", str(whole)]) == 0
    capsys.readouterr()
    ablate = ["ablate", *TINY[1:], "--epochs", "1", "--rows", "full,no-weight-drop", "--seeds", "1", "--out", str(grid)]
    for words, folder in (
        ([*TINY, "--resume", "--out", str(whole)], whole),
        (["finetune", str(whole), "--device", "cpu", "--out", str(tmp_path / "tuned")], tmp_path / "tuned"),
        (ablate, grid / "full-1"),
    ):
        first = hold_elsewhere(holder, folder)
        before = contents(folder)
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f"{folder} is in use by process {first.pid}" in said and said.count("\n") == 1
        assert contents(folder) == before
        first.communicate("")  # it ends, and takes its file along
        assert not (folder / LOCK).exists()
    assert main(ablate) == 0
    assert not list(tmp_path.rglob(LOCK))


def test_the_librarys_own_ways_of_training_are_refused_too(holder, tmp_path):
    corpus, preset = load_corpus("toy"), PRESETS["toy"]
    model = replace(preset.model, vocab_size=len(corpus.vocabulary), embedding_size=8, hidden_size=8)
    run = Run(tmp_path / "run", corpus, start(model, preset.training))
    first = hold_elsewhere(holder, run.folder)
    for write in (lambda: next(run.steps()), run.save):
        with pytest.raises(FolderInUse, match=f"in use by process {first.pid}"):
            write()
    assert list(contents(run.folder)) == [LOCK]
    hold_elsewhere(holder, tmp_path / "grid" / "full-1")
    with pytest.raises(FolderInUse, match="full-1 is in use"):
        next(run_grid(preset, ["full"], [1], tmp_path / "grid", corpus))
    first.communicate("")
    steps = run.steps()
    next(steps)
    assert (run.folder / LOCK).exists()
    steps.close()
    run.save("interrupted")
    assert sorted(contents(run.folder)) == ["checkpoint.pt", "record.json"], "a run that is closed leaves no lock"


def test_one_process_may_hold_a_folder_again_inside_and_lets_go_at_the_outermost(holder, tmp_path):
    (tmp_path / LOCK).write_text("process 1234567 on a machine that was switched off, and much more" * 9)
    with locked(tmp_path), locked(tmp_path), hold(tmp_path):
        assert list(contents(tmp_path)) == [LOCK]
        assert re.fullmatch(rf"process {os.getpid()} on .* since [\d:T+-]+", (tmp_path / LOCK).read_text())
    assert not contents(tmp_path) and not locks._held
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "new"):
        _ = 1 / 0
    assert not (tmp_path / "new").exists(), "an empty folder made for the lock goes with it"
    hold_elsewhere(holder, tmp_path)  # and another process can have it


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*TINY, "--epochs", "1", "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("way", ["train", "finetune", "ablate", "run_grid", "job"])
def test_the_lock_is_taken_before_anyone_looks_what_a_folder_has(way, finished, tmp_path, monkeypatch):
    """Otherwise two processes could both find it empty, and the later one write over the earlier one's finished run."""

    class Looked(BaseException):  # a job reports every other
        pass

    def look(*_):
        assert list(locks._held), "it is looked at without the lock"
        raise Looked

    for place in ("cli.training._goes_on", "cli.ablating.open_cell", "ablation.open_cell", "jobs.is_finished"):
        monkeypatch.setattr(f"awdlib.{place}", look)
    grid = ["ablate", *TINY[1:], "--rows", "full", "--seeds", "1", "--out", str(tmp_path / "grid")]
    cells = plan(PRESETS["toy"], ["full"], [1], load_corpus("toy"))
    begin = {
        "job": lambda: Job(cells[0], tmp_path)(),
        "train": lambda: main([*TINY, "--out", str(tmp_path / "run")]),
        "finetune": lambda: main(["finetune", str(finished), "--device", "cpu", "--out", str(tmp_path / "run")]),
        "ablate": lambda: main(grid),
        "run_grid": lambda: next(run_grid(PRESETS["toy"], ["full"], [1], tmp_path, load_corpus("toy"))),
    }[way]
    with pytest.raises(Looked):
        begin()
    assert not locks._held and not list(tmp_path.iterdir())


def test_a_file_removed_while_it_was_being_locked_is_not_taken_for_a_lock(tmp_path, monkeypatch):
    """The first holder releases between our opening and locking of its file: what we locked then has no name."""
    real, calls = locks._lock, []

    def lock(descriptor):
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()
        real(descriptor)

    monkeypatch.setattr(locks, "_lock", lock)
    with locked(tmp_path):
        assert len(calls) == 2 and str(os.getpid()) in (tmp_path / LOCK).read_text()


def unsupported(_):
    raise OSError(95, "Operation not supported")


def test_where_the_file_system_knows_no_locks_a_warning_is_given_and_training_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "_lock", unsupported)
    with pytest.warns(UserWarning, match=r"cannot be locked \(Operation not supported\): make sure"), hold(tmp_path):
        assert not contents(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a program: not an error
        assert main([*TINY, "--epochs", "1", "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    assert re.fullmatch(r"awdlib: warning: .*run cannot be locked \(Operation not supported\): make sure .*\n", said)
    assert sorted(contents(tmp_path / "run")) == ["best.pt", "checkpoint.pt", "record.json"]
