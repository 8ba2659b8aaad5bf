"""A run done in stretches is the run done in one: time limits, signals and kills cost nothing but what came after the
last checkpoint."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from test_cli import assert_same_run, environment, run

from awdlib import checkpoints
from awdlib.cli import main
from awdlib.stops import INTERRUPTED, TIME_IS_UP, Stop, held_back, stops

TINY = ["--device", "cpu"]
TINY += [word for setting in ("embedding_size=8", "hidden_size=12", "batch_size=100", "eval_batch_size=100",
                              "patience=0", "average_from=2") for word in ("--set", setting)]  # fmt: skip
TRAIN = ["train", "--preset", "toy", "--epochs", "2", *TINY]
GRID = ["ablate", "--preset", "toy", "--epochs", "1", "--rows", "full,no-ar-tar", "--seeds", "1", *TINY]


class Clock:
    """Goes on by a minute with each look at it; a run looks when it begins and after each record."""

    def __init__(self):
        self.looks = 0

    def monotonic(self):
        self.looks += 1
        return 60.0 * self.looks


@pytest.fixture
def clock(monkeypatch):
    own = Clock()
    monkeypatch.setattr("awdlib.stops.time", own)
    return own


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run without interruption, and how many records it has."""
    folder, own = tmp_path_factory.mktemp("runs") / "whole", Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("awdlib.stops.time", own)
        assert main([*TRAIN, "--time-limit", "9999", "--out", str(folder)]) == 0
    return folder, own.looks - 1


#: a program that trains and is killed when it looks at the clock for the n-th time
KILLED = """
import os, signal, sys
from awdlib import cli, stops
class Clock:
    looks = 0
    def monotonic(self):
        self.looks += 1
        if self.looks == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return 0.0
stops.time = Clock()
cli.main(sys.argv[2:])
"""


def killed_at(look, words):
    """Run that program; what it had printed."""
    program = [sys.executable, "-c", KILLED, str(look), *words, "--time-limit", "1"]
    done = subprocess.run(program, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout


def record(folder):
    return json.loads((folder / "record.json").read_text())


def updates(folder):
    return checkpoints.load(folder / "checkpoint.pt")["updates"]


def best(folder):
    return {name: weight.tolist() for name, weight in checkpoints.load(folder / "best.pt")["model"].items()}


# Stretches


@pytest.mark.slow
def test_a_run_in_stretches_and_kills_equals_the_uninterrupted_one(whole, clock, tmp_path, capsys):
    folder = tmp_path / "run"
    words = [*TRAIN, "--out", str(folder), "--resume"]
    first = run([*words, "--time-limit", "1e-9"])  # by the clock on the wall, in a process of its own
    assert first.returncode == 75 and first.stderr == "" and updates(folder) == 1
    assert f"{TIME_IS_UP}; {folder} holds a checkpoint: run the same command with --resume to go on" in first.stdout

    at, kills = [1], {2: (9, "0"), 5: (4, "3")}  # stretch: the look it is killed at, minutes between two checkpoints
    while True:
        if len(at) in kills:
            look, minutes = kills[len(at)]
            assert "resuming" in killed_at(look, [*words, "--checkpoint-minutes", minutes])
            assert record(folder)["status"] == "running"
            assert updates(folder) == at[-1] + (look - 1 if minutes == "0" else 0), "it costs more than it may"
            status = 75
        else:
            status = main([*words, "--time-limit", "7"])
            printed = capsys.readouterr().out
        at.append(updates(folder))
        if status == 0:
            break
        assert status == 75 and record(folder)["final_perplexity"] is None
        if len(at) - 1 not in kills:
            assert record(folder)["status"] == "interrupted" and TIME_IS_UP in printed
    assert len(at) > 7 and at == sorted(at)
    assert record(folder)["status"] == "finished" and "best epoch" in printed
    assert_same_run(folder, whole[0])
    assert best(folder) == best(whole[0])


def test_a_limit_that_is_reached_with_the_last_update_leaves_only_the_evaluation(whole, clock, tmp_path, capsys):
    folder, records = tmp_path / "run", whole[1]
    words = [*TRAIN, "--out", str(folder), "--resume", "--time-limit"]
    assert main([*words, str(records)]) == 75
    assert record(folder)["status"] == "interrupted" and len(record(folder)["epochs"]) == 2
    assert record(folder)["final_perplexity"] is None
    assert main([*words, "1"]) == 0, "there is no update left to stop after"
    assert "best epoch" in capsys.readouterr().out
    assert_same_run(folder, whole[0])
    assert main([*TRAIN, "--out", str(tmp_path / "other"), "--time-limit", str(records + 1)]) == 0


def test_fine_tuning_in_stretches_equals_the_uninterrupted_one(whole, clock, tmp_path):
    words = ["finetune", str(whole[0]), "--epochs", "1", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    stretched = [*words, "--out", str(tmp_path / "run"), "--resume", "--time-limit", "7"]
    statuses = [main(stretched)]
    while statuses[-1] == 75:
        assert record(tmp_path / "run")["status"] == "interrupted"
        statuses.append(main(stretched))
    assert statuses[-1] == 0 and len(statuses) > 2
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_an_ablation_in_stretches_ends_in_the_same_table(clock, tmp_path, capsys):
    assert main([*GRID, "--out", str(tmp_path / "whole")]) == 0
    stretched = [*GRID, "--out", str(tmp_path / "grid"), "--time-limit", "11"]
    statuses = []
    while statuses.count(0) == 0:
        capsys.readouterr()
        statuses.append(main(stretched))
        stopped = statuses[-1] == 75
        assert (f"{TIME_IS_UP}; run the same command again to go on" in capsys.readouterr().out) == stopped
        assert (tmp_path / "grid" / "table.txt").exists() != stopped
    assert statuses == [75, 75, 75, 0], "two cells of some eighteen updates"
    for name in ("full-1", "no-ar-tar-1"):
        assert_same_run(tmp_path / "grid" / name, tmp_path / "whole" / name)
    assert (tmp_path / "grid" / "table.txt").read_text() == (tmp_path / "whole" / "table.txt").read_text()


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", ""])
@pytest.mark.parametrize("way", ["train", "finetune", "ablate"])
def test_a_time_limit_that_is_none_is_refused_in_one_line(way, value, tmp_path, capsys):
    words = {"train": TRAIN, "finetune": ["finetune", "nowhere"], "ablate": GRID}[way]
    try:
        status = main([*words, "--out", str(tmp_path / "run"), f"--time-limit={value}"])
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr().err
    assert status == 2 and said.count("\n") == 1
    numeric = value not in ("soon", "")
    assert (f"time limit in minutes is {float(value)}; it must" if numeric else "--time-limit: invalid float") in said
    assert not (tmp_path / "run").exists()


# What stops a run


def test_a_stop_knows_who_asked(clock):
    assert Stop()() == ""
    limited = Stop(2)
    assert [limited() for _ in range(4)] == ["", TIME_IS_UP, TIME_IS_UP, TIME_IS_UP]
    limited.request()
    assert limited() == INTERRUPTED, "who asks does not want to be told of a limit"
    asked = []
    other = Stop(asked=lambda: bool(asked))
    assert other() == ""
    asked.append("by a parent")
    assert other() == INTERRUPTED


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_signals_ask_inside_and_do_what_they_did_outside(kind):
    before = signal.getsignal(kind)
    with stops(Stop()) as outer:
        with stops(Stop()) as inner:
            signal.raise_signal(kind)
            assert (inner(), outer()) == (INTERRUPTED, "")
        signal.raise_signal(kind)
        assert outer() == INTERRUPTED
    assert signal.getsignal(kind) is before
    with pytest.raises(ZeroDivisionError), stops(Stop()):
        _ = 1 / 0
    assert signal.getsignal(kind) is before


def test_another_thread_leaves_signals_as_they_are():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with stops(Stop()) as stop:
            seen.append((signal.getsignal(signal.SIGTERM) is before, stop()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(True, "")]


def test_what_is_held_back_comes_to_those_who_stop_inside_or_else_at_the_end():
    with stops(Stop()) as outer:
        with held_back():
            signal.raise_signal(signal.SIGTERM)
            assert outer() == ""
            with stops(Stop()) as inner:
                assert (inner(), outer()) == (INTERRUPTED, "")
            signal.raise_signal(signal.SIGINT)
            assert outer() == ""
        assert outer() == INTERRUPTED
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_process_started_while_signals_are_held_back_holds_them_back_until_it_can_stop():
    program = "import os, signal; os.kill(os.getpid(), signal.SIGINT); from awdlib.stops import Stop, stops\n"
    program += "with stops(Stop()) as stop: print(stop())"
    with held_back():
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=os.environ | environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert process.communicate() == ("interrupted\n", "") and process.returncode == 0
