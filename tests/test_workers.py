"""Cells side by side: in processes and through submitit the same results as one after another, whatever is killed."""

import contextlib
import fcntl
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from held import Broken, Held, HeldTwice, marks, seen
from test_ablation import ROOT, outcome
from test_ablation import TINY as PRESET
from test_cli import command, environment
from test_stops import TINY, Clock

from awdlib import workers
from awdlib.ablation import plan, run_grid
from awdlib.cli import main
from awdlib.corpora import load_corpus
from awdlib.jobs import ELSEWHERE, FAILED, FINISHED, Job
from awdlib.locks import LOCK
from awdlib.stops import INTERRUPTED, TIME_IS_UP
from awdlib.workers import DIED, here, on_cluster, side_by_side

SMALL = replace(PRESET, training=replace(PRESET.training, batch_size=100, eval_batch_size=100))
LONG = replace(SMALL, training=replace(SMALL.training, epochs=99))
ROWS = ["full", "no-weight-drop", "fine-tuned"]
ABLATE = ["ablate", "--preset", "toy", "--epochs", "2", "--seeds", "1", *TINY]


@pytest.fixture(scope="module")
def toy():
    return load_corpus("toy")


@pytest.fixture(scope="module")
def serial(toy, tmp_path_factory):
    """The cells trained one after another in this process."""
    folder = tmp_path_factory.mktemp("serial")
    for _ in run_grid(SMALL, ROWS, [1], folder, toy, name="toy"):
        pass
    return folder


@pytest.fixture
def torch_threads():
    """Jobs that run in this process set them."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def importable(monkeypatch):
    """Processes find what these tests bring along."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))


def jobs_of(folder, toy, rows, kind=Job, preset=SMALL, seeds=(1,)):
    return [kind(cell, folder, "toy", device="cpu", threads=1) for cell in plan(preset, rows, seeds, toy)]


def record(folder):
    return json.loads((folder / "record.json").read_text())


def contents(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*.*")}


@contextlib.contextmanager
def held_elsewhere(folder):
    """Somebody else's lock: this process's own, of another opening of the file, is one to the system."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Signaller:
    """Given as ``stop``, so that it is called again and again: sends a job that waits its next signal, by its pid."""

    def __init__(self, job, *kinds):
        self.job, self.kinds, self.where = job, kinds, job.folder / job.cell.name
        self.before = []

    def __call__(self):
        if len(marks(self.job)) > len(self.before):
            kind = self.kinds[len(self.before)]
            self.before.append(record(self.where))
            os.kill(int((self.where / LOCK).read_text().split()[1]), kind)
        return ""

    def assert_gone_on_from_its_checkpoint(self):
        """The first epoch is the one from before, to the second that it took."""
        assert len(self.before) == len(self.kinds)
        for before in self.before:
            assert before["status"] == "running" and len(before["epochs"]) == 1
            assert record(self.where)["epochs"][0] == before["epochs"][0]


def told(events):
    """What happened but for the epochs, by cell."""
    by_cell = {}
    for event in events:
        if event.what != "epoch":
            by_cell.setdefault(event.cell.name, []).append(event.what)
    return by_cell


# A job


def test_a_job_can_be_sent_and_looked_up(toy, tmp_path):
    jobs = jobs_of(tmp_path, toy, ["full", "no-ntasgd", "fine-tuned"], seeds=[1, 2])
    assert pickle.loads(pickle.dumps(jobs)) == jobs and len({*jobs}) == 6
    for wrong, complaint in (({"threads": 0}, "threads is 0"), ({"minutes": 0}, "time limit in minutes is 0")):
        with pytest.raises(ValueError, match=complaint):
            replace(jobs[0], **wrong)


def test_a_job_trains_what_is_missing_says_how_it_ended_and_trains_nothing_twice(serial, toy, tmp_path, torch_threads):
    (job,) = jobs_of(tmp_path, toy, ["full"])
    (tuned,) = jobs_of(tmp_path, toy, ROWS)[2:]
    short = replace(job, minutes=1e-9)
    assert short() == TIME_IS_UP and record(tmp_path / "full-1")["status"] == "interrupted"
    assert job(lambda: True) == INTERRUPTED
    assert (job(), tuned()) == (FINISHED, FINISHED)
    for name in ("full-1", "fine-tuned-1"):
        assert outcome(tmp_path / name) == outcome(serial / name)
    before = contents(tmp_path)
    assert (job(), tuned()) == (FINISHED, FINISHED) and contents(tmp_path) == before


def test_a_job_asked_by_a_signal_leaves_a_checkpoint(toy, tmp_path, monkeypatch, torch_threads):
    (job,) = jobs_of(tmp_path, toy, ["full"])
    monkeypatch.setattr("awdlib.jobs.load_corpus", lambda *_, **__: signal.raise_signal(signal.SIGTERM) or toy)
    assert job() == INTERRUPTED, "even before there is anything to train"
    assert record(tmp_path / "full-1")["status"] == "interrupted"


def test_a_job_that_cannot_be_done_says_why_in_one_line(toy, tmp_path, monkeypatch, capsys, torch_threads):
    job, tuned = jobs_of(tmp_path, toy, ["full", "fine-tuned"])
    with held_elsewhere(tmp_path / "full-1"):
        assert job() == ELSEWHERE
    assert re.fullmatch(f"{FAILED}: .*full-1 is not the folder of a run: .*", tuned())
    assert replace(job, device="tpu")() == f"{FAILED}: device is 'tpu'; it must be auto, cpu or cuda"
    (tmp_path / "full-1" / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert re.fullmatch(f"{FAILED}: .*checkpoint.pt is not a checkpoint of .*", job())
    for name in ("full-1", "fine-tuned-1"):
        assert not (tmp_path / name / "record.json").exists()
    assert capsys.readouterr().err == ""

    def raising(error):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr("awdlib.jobs.open_cell", fail)

    raising(RuntimeError("CUDA out of memory.\nTried to allocate more than there is"))
    assert job().startswith(f"{FAILED}: out of memory: lower batch_size") and capsys.readouterr().err == ""
    raising(KeyError("a fault\nof the library"))
    assert job() == f"{FAILED}: KeyError: 'a fault\\nof the library'"
    assert capsys.readouterr().err.startswith("Traceback")


# Who is started when, with workers that are made up


class Scripted:
    """A launcher whose workers end as they are told to; the last word is repeated, "" is for ever at work."""

    def __init__(self, **script):
        self.script = {name.replace("_", "-"): list(ends) for name, ends in script.items()}
        self.log, self.most, self.now = [], 0, 0

    def __call__(self, job):
        self.log.append(job.cell.name)
        self.now += 1
        self.most = max(self.most, self.now)
        ends = self.script.get(job.cell.name, [FINISHED])
        return SimpleNamespace(
            outcome=lambda: self.end(ends.pop(0) if len(ends) > 1 else ends[0]),
            stop=lambda: self.log.append(f"stop {job.cell.name}"),
            join=lambda: self.log.append(f"join {job.cell.name}"),
        )

    def end(self, how):
        self.now -= bool(how)
        return how


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(workers, "POLL", 0)


def test_no_more_work_at_once_than_asked_for_and_in_order(toy, tmp_path, no_pause):
    launch = Scripted(full_1=["", "", "", FINISHED])
    jobs = jobs_of(tmp_path, toy, ROWS, seeds=[1, 2])
    events = list(side_by_side(jobs, launch, at_once=2))
    assert launch.most == 2 and told(events) == {job.cell.name: ["started", "finished"] for job in jobs}
    order = ["full-1", "no-weight-drop-1", "full-2", "no-weight-drop-2", "fine-tuned-2", "fine-tuned-1"]
    assert launch.log == order, "what waits for full lets the others pass"
    for wrong in ({"at_once": 0}, {"at_once": 1, "starts": 0}):
        with pytest.raises(ValueError, match="it must be at least 1"):
            next(side_by_side(jobs, launch, **wrong))


@pytest.mark.parametrize("end", [DIED, f"{DIED} (exit status -9)", INTERRUPTED, TIME_IS_UP])
def test_what_ends_early_is_started_again_and_given_up_where_that_does_not_help(end, toy, tmp_path, no_pause):
    jobs = jobs_of(tmp_path, toy, ROWS)
    events = list(side_by_side(jobs, Scripted(full_1=[end, end, FINISHED]), at_once=2))
    assert told(events)["full-1"] == ["started", "stopped", "starts again", "stopped", "starts again", "finished"]
    assert told(events)["fine-tuned-1"] == ["started", "finished"]

    launch = Scripted(full_1=[end])
    events = list(side_by_side(jobs, launch, at_once=2, starts=3))
    assert launch.log.count("full-1") == 3 and "fine-tuned-1" not in launch.log
    assert told(events)["full-1"][-2:] == ["starts again", "given up"]
    assert [event.detail for event in events if event.what == "given up"] == [end, "full-1 is not trained"]
    assert told(events)["no-weight-drop-1"] == ["started", "finished"]


def test_a_job_that_gets_on_is_not_given_up_however_often_it_is_killed(serial, toy, tmp_path, no_pause):
    done, whole = [], record(serial / "full-1")

    def launch(job):
        def end():
            done.append(whole["epochs"][0])
            where = tmp_path / "full-1"
            where.mkdir(exist_ok=True)
            (where / "record.json").write_text(json.dumps(whole | {"epochs": done, "status": "running"}))
            return DIED if len(done) < 9 else FINISHED

        return SimpleNamespace(outcome=end)

    events = list(side_by_side(jobs_of(tmp_path, toy, ["full"]), launch, at_once=1, starts=2))
    assert told(events)["full-1"].count("starts again") == 8 and events[-1].what == "finished"
    epochs = [event for event in events if event.what == "epoch"]
    assert [(event.epochs, event.new_epochs) for event in epochs] == [(n, 1) for n in range(1, 10)]
    assert epochs[0].valid == whole["epochs"][0]["valid_perplexity"]


@pytest.mark.parametrize("end", [ELSEWHERE, f"{FAILED}: a damaged checkpoint"])
def test_what_cannot_be_done_is_not_tried_again(end, toy, tmp_path, no_pause):
    launch = Scripted(full_1=[end])
    events = list(side_by_side(jobs_of(tmp_path, toy, ROWS, seeds=[1, 2]), launch, at_once=1))
    assert sorted(launch.log) == ["fine-tuned-2", "full-1", "full-2", "no-weight-drop-1", "no-weight-drop-2"]
    given_up = {event.cell.name: event.detail for event in events if event.what == "given up"}
    why = ELSEWHERE if end == ELSEWHERE else "full-1 is not trained"
    assert given_up == {"full-1": end, "fine-tuned-1": why}


def test_who_is_at_work_is_told_to_stop_before_anybody_is_waited_for(toy, tmp_path, no_pause):
    jobs = jobs_of(tmp_path, toy, ROWS)
    for why in ("", INTERRUPTED):
        launch, reasons = Scripted(full_1=[""], no_weight_drop_1=[""]), [""]
        events = side_by_side(jobs, launch, at_once=3, stop=reasons.pop)
        assert [next(events).what, next(events).what] == ["started", "started"]
        if why:
            reasons.append(why)
            assert list(events) == []
        events.close()
        names = ["full-1", "no-weight-drop-1"]
        assert launch.log == names + [f"{what} {name}" for what in ("stop", "join") for name in names]


# Processes of this machine


@pytest.mark.slow
def test_processes_side_by_side_one_of_them_killed_give_the_results_of_one_after_another(
    serial, toy, tmp_path, importable
):
    (killed,) = jobs_of(tmp_path, toy, ["full"], Held)
    (other,) = jobs_of(tmp_path, toy, ["no-weight-drop"])
    killer = Signaller(killed, signal.SIGKILL)
    events = list(side_by_side([killed, other], here, at_once=2, stop=killer))
    assert told(events) == {
        "full-1": ["started", "stopped", "starts again", "finished"],
        "no-weight-drop-1": ["started", "finished"],
    }
    assert [event.detail for event in events if event.what == "stopped"] == [f"{DIED} (exit status -9)"]
    killer.assert_gone_on_from_its_checkpoint()
    for name in ("full-1", "no-weight-drop-1"):
        assert outcome(tmp_path / name) == outcome(serial / name), name
        assert [event.epochs for event in events if event.what == "epoch" and event.cell.name == name][-1] == 2


def test_a_process_that_cannot_even_begin_is_given_up(toy, tmp_path, importable, capfd):
    events = list(side_by_side(jobs_of(tmp_path, toy, ["full"], Broken), here, at_once=1, starts=1))
    assert told(events) == {"full-1": ["started", "given up"]} and events[-1].detail == f"{DIED} (exit status 1)"
    assert "No module named 'nowhere'" in capfd.readouterr().err


def program(*words):
    """Start a program in a process group of its own. What it prints ends when the last process that it started ends."""
    return subprocess.Popen(
        words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.slow
def test_ctrl_c_while_the_processes_begin_ends_all_with_checkpoints_and_without_complaint(tmp_path):
    words = [*ABLATE, "--rows", "full,no-weight-drop", "--jobs", "2", "--out", str(tmp_path / "grid")]
    process = program(*command([*words[:4], "99", *words[5:]]))
    lines = [process.stdout.readline() for _ in range(3)]
    assert "2 runs, 0 of them finished" in lines[0]
    assert lines[1:] == ["full-1: started\n", "no-weight-drop-1: started\n"]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them; they are importing torch
    printed, complaint = process.communicate()
    assert (process.returncode, complaint) == (130, "")
    assert "interrupted; run the same command again to go on" in printed
    for name in ("full-1", "no-weight-drop-1"):
        assert record(tmp_path / "grid" / name)["status"] == "interrupted"
        assert sorted(path.name for path in (tmp_path / "grid" / name).iterdir()) == ["checkpoint.pt", "record.json"]


#: trains two cells side by side, and says what happens
PARENT = """
if __name__ == "__main__":
    import pickle, sys
    from awdlib.workers import here, side_by_side
    with open(sys.argv[1], "rb") as file:
        jobs = pickle.load(file)
    for event in side_by_side(jobs, here, at_once=2):
        print(event.cell.name, event.what, flush=True)
"""


@pytest.mark.slow
def test_processes_whose_parent_is_killed_leave_checkpoints_and_end(toy, tmp_path):
    folder = tmp_path / "grid"
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "jobs").write_bytes(pickle.dumps(jobs_of(folder, toy, ["full"], preset=LONG)))
    process = program(sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "jobs"))
    while (line := process.stdout.readline()) != "full-1 epoch\n":
        assert line == "full-1 started\n", process.stderr.read()
    process.kill()
    _, complaint = process.communicate()
    assert complaint == "" and process.returncode == -signal.SIGKILL
    assert record(folder / "full-1")["status"] == "interrupted" and len(record(folder / "full-1")["epochs"]) < 99
    assert sorted(path.name for path in (folder / "full-1").iterdir()) == ["best.pt", "checkpoint.pt", "record.json"]


# Through submitit


def local(folder, **parameters):
    return on_cluster("local", folder / "submitit", **parameters)


@pytest.mark.slow
def test_a_submitted_job_killed_and_robbed_of_its_machine_gives_the_results_of_an_uninterrupted_run(
    serial, toy, tmp_path, importable
):
    (job,) = jobs_of(tmp_path, toy, ["full"], HeldTwice)
    signaller = Signaller(job, signal.SIGKILL, signal.SIGUSR2)
    # submitit takes its signal for a job's whole time being up where that is less than ten minutes
    events = list(side_by_side([job], local(tmp_path, timeout_min=9), at_once=2, stop=signaller))
    assert told(events) == {"full-1": ["started", "stopped", "starts again", "finished"]}
    assert seen(job) == 36 - 18 - 5, "what was done when the second signal came was not to be lost"
    (death,) = [event.detail for event in events if event.what == "stopped"]
    log = re.fullmatch(rf"{DIED} \((?:.*; )?log: (.*)\)", death)[1]
    assert Path(log).parent == tmp_path / "submitit" and Path(log).exists()
    signaller.assert_gone_on_from_its_checkpoint()
    assert outcome(tmp_path / "full-1") == outcome(serial / "full-1")
    requeued = [path.read_text() for path in (tmp_path / "submitit").glob("*.out") if "Requeued" in path.read_text()]
    assert len(requeued) == 1


@pytest.mark.slow
def test_submitted_processes_of_this_machine_end_with_checkpoints_when_they_are_no_longer_wanted(
    toy, tmp_path, importable, capfd
):
    events = side_by_side(jobs_of(tmp_path, toy, ["full"], preset=LONG), local(tmp_path), at_once=1)
    while (event := next(events)).what != "epoch":
        assert event.what == "started"
    (log,) = (tmp_path / "submitit").glob("*_log.out")
    os.kill(int(log.name.split("_")[0]), signal.SIGINT)  # Ctrl-C goes to submitit's process as well
    events.close()
    assert capfd.readouterr().err == "", "that would end in a traceback"
    assert record(tmp_path / "full-1")["status"] == "interrupted"
    assert not (tmp_path / "full-1" / LOCK).exists()


def test_a_submitted_job_that_cannot_be_read_is_given_up_with_the_reason(toy, tmp_path, importable):
    events = list(side_by_side(jobs_of(tmp_path, toy, ["full"], Broken), local(tmp_path), at_once=1, starts=1))
    assert told(events) == {"full-1": ["started", "given up"]}
    assert events[-1].detail.startswith(f"{DIED} (ModuleNotFoundError: No module named 'nowhere'; log: ")


def stub(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


SRUN = """while :; do case "$1" in --output|--error) shift 2;; --*) shift;; *) break;; esac; done; exec "$@" """
SBATCH = """cp "$1" "$AWDLIB_SCRIPT"; echo Submitted batch job 7
(SLURM_JOB_ID=7 sh "$AWDLIB_SCRIPT"; : >"$AWDLIB_SCRIPT.ended") </dev/null >"$AWDLIB_SCRIPT.log" 2>&1 &"""
SACCT = """[ ! -e "$AWDLIB_SCRIPT.ended" ] || printf 'JobID|State|NodeList\\n7|FAILED|node1\\n' """


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Stand-ins for the programs of Slurm; a job of theirs is a process here."""
    for name, script in (("srun", SRUN), ("sbatch", SBATCH), ("sacct", SACCT)):
        stub(tmp_path / "bin", name, script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("AWDLIB_SCRIPT", str(tmp_path / "script"))
    return tmp_path


def test_ablate_submits_to_slurm_with_the_parameters_given(serial, slurm, importable, capsys):
    words = [*ABLATE, "--rows", "full", "--cluster", "slurm", "--threads", "1", "--out", str(slurm / "grid")]
    settings = ["slurm_partition=short", "timeout_min=90", "mem_gb=1.5", "slurm_exclusive=true"]
    assert main([*words, *(word for setting in settings for word in ("--cluster-set", setting))]) == 0
    lines = (slurm / "script").read_text().splitlines()
    wanted = ["partition=short", "time=90", "mem=1536MB", "exclusive", "job-name=awdlib", "signal=USR2@90"]
    assert {f"#SBATCH --{line}" for line in wanted} <= {*lines}
    assert outcome(slurm / "grid" / "full-1") == outcome(serial / "full-1")
    assert "full-1: finished, valid" in capsys.readouterr().out and (slurm / "grid" / "table.txt").exists()


def test_a_job_that_slurm_refuses_ends_ablate_in_one_line(slurm, capsys):
    stub(slurm / "bin", "sbatch", 'cp "$1" "$AWDLIB_SCRIPT"; echo sbatch: error: invalid account >&2; exit 1')
    assert main([*ABLATE, "--rows", "full", "--cluster", "slurm", "--out", str(slurm / "grid")]) == 2
    said = capsys.readouterr().err
    assert said == "awdlib: submitit cannot submit full-1: sbatch: error: invalid account\n"
    assert "#SBATCH --time=240" in (slurm / "script").read_text(), "submitit's own limit is a few minutes"


def test_a_job_of_another_machine_has_its_time_to_be_seen_and_is_never_stopped(slurm, tmp_path, monkeypatch):
    paths = SimpleNamespace(result_pickle=tmp_path / "none", stderr=tmp_path / "log")
    job = SimpleNamespace(done=lambda: False, paths=paths, state="NODE_FAIL", job_id="7")
    worker = workers._Submitted(job, local=False)
    monkeypatch.setattr("os.kill", lambda *_: pytest.fail("its number is not that of a process here"))
    worker.stop()
    worker.join()
    assert worker.outcome() == ""
    job.done = lambda: True
    looks = iter(worker.outcome, f"{DIED} (NODE_FAIL; log: {tmp_path / 'log'})")
    assert 10 < len(list(looks)) * workers.POLL < 60


# The command


class AtOnce:
    """A worker that has done its job, in this process, when it is there."""

    def __init__(self, job):
        self.said = job()

    def outcome(self):
        return self.said


@pytest.fixture
def in_this_process(monkeypatch, serial, torch_threads):
    """Cells that are to be started are done here; those that have no folder yet come out as they did before."""

    def launch(job):
        if not (job.folder / job.cell.name).exists():
            shutil.copytree(serial / job.cell.name, job.folder / job.cell.name)
        return AtOnce(job)

    monkeypatch.setattr("awdlib.cli.ablating.here", launch)
    return launch


def ablate(folder, *words, rows="full,no-weight-drop,fine-tuned"):
    return main([*ABLATE, "--rows", rows, "--out", str(folder), "--jobs", "2", *words])


def test_ablate_side_by_side_ends_in_the_table_and_runs_nothing_twice(
    serial, tmp_path, in_this_process, monkeypatch, capsys
):
    folder = tmp_path / "grid"
    assert ablate(folder, rows="full,fine-tuned") == 0
    printed = capsys.readouterr().out
    final = record(folder / "full-1")["final_perplexity"]
    assert f"full-1: finished, valid {final['valid']:.2f}, test {final['test']:.2f}\n" in printed
    assert (folder / "table.txt").read_text() in printed

    runs = contents(folder / "full-1") | contents(folder / "fine-tuned-1")
    started = []
    launch = lambda job: started.append(job.cell.name) or in_this_process(job)  # noqa: E731
    monkeypatch.setattr("awdlib.cli.ablating.here", launch)
    assert ablate(folder, rows="full,fine-tuned") == 0 and started == []
    assert "2 runs, 2 of them finished" in capsys.readouterr().out
    assert ablate(folder) == 0 and started == ["no-weight-drop-1"]
    assert contents(folder / "full-1") | contents(folder / "fine-tuned-1") == runs


def test_a_cell_that_fails_is_given_up_with_its_reason_and_the_others_go_on(tmp_path, in_this_process, capsys):
    (tmp_path / "full-1").mkdir()
    (tmp_path / "full-1" / "checkpoint.pt").write_bytes(b"no checkpoint")
    assert ablate(tmp_path) == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert any(
        re.fullmatch(r"full-1: given up \(failed: .*checkpoint.pt is not a checkpoint .*\)", line) for line in lines
    )
    assert "fine-tuned-1: given up (full-1 is not trained)" in lines
    assert lines[-1] == "not trained: full-1, fine-tuned-1; run the same command again to go on"
    assert record(tmp_path / "no-weight-drop-1")["status"] == "finished"
    assert printed.err == "" and not (tmp_path / "table.txt").exists()


def test_a_cell_that_another_process_trains_is_left_to_it(tmp_path, in_this_process, capsys):
    with held_elsewhere(tmp_path / "full-1"):
        assert ablate(tmp_path, rows="full,fine-tuned") == 75
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{ELSEWHERE}: full-1, fine-tuned-1; run the same command again for the table"
    assert not (tmp_path / "table.txt").exists() and not (tmp_path / "fine-tuned-1").exists()


def test_the_time_limit_ends_ablate_with_all_its_workers(tmp_path, no_pause, monkeypatch, capsys):
    launch = Scripted(full_1=[""], no_weight_drop_1=[""])
    monkeypatch.setattr("awdlib.cli.ablating.here", launch)
    monkeypatch.setattr("awdlib.stops.time", Clock())
    assert ablate(tmp_path, "--time-limit", "5") == 75
    assert f"{TIME_IS_UP}; run the same command again to go on" in capsys.readouterr().out
    assert launch.log[-1] == "join no-weight-drop-1" and not (tmp_path / "table.txt").exists()


def test_what_is_finished_when_the_time_is_up_is_finished(serial, tmp_path, in_this_process, monkeypatch, capsys):
    monkeypatch.setattr("awdlib.cli.ablating.Stop", lambda _: lambda: TIME_IS_UP if finished() else "")

    def finished():
        return (tmp_path / "full-1" / "record.json").exists()

    assert ablate(tmp_path, rows="full") == 0 and TIME_IS_UP not in capsys.readouterr().out


@pytest.mark.parametrize(("words", "threads"), [([], 2), (["--threads", "3"], 3), (["--jobs", "1"], 4)])
def test_the_cores_are_shared_out_unless_it_is_said_how(words, threads, tmp_path, monkeypatch, no_pause):
    seen = []

    def launch(job):
        seen.append(job)
        return SimpleNamespace(outcome=lambda: f"{FAILED}: it was only to be looked at")

    monkeypatch.setattr("awdlib.cli.ablating.here", launch)
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.chdir(tmp_path)
    assert ablate("grid", "--jobs", "9", *words, rows="full,no-weight-drop") == 1
    assert [job.threads for job in seen] == [threads, threads]
    assert {job.folder for job in seen} == {tmp_path / "grid"}, "a job may start elsewhere"


LOCAL = ["--cluster", "local"]
#: (words, what the one line must say)
BAD = {
    "no jobs": (["--jobs", "0"], "jobs is 0; it must be at least 1"),
    "half a job": (["--jobs", "1.5"], "argument --jobs: invalid int value: '1.5'"),
    "no threads": (["--jobs", "2", "--threads", "0"], "threads is 0; it must be at least 1"),
    "threads of what": (["--threads", "2"], "--threads is of the processes of --jobs and --cluster: add one"),
    "parameter of what": (["--cluster-set", "timeout_min=9"], "--cluster-set is of a cluster's jobs: add --cluster"),
    "no value": ([*LOCAL, "--cluster-set", "timeout_min"], "'timeout_min'; it must be NAME=VALUE"),
    "empty value": ([*LOCAL, "--cluster-set", "timeout_min="], "'timeout_min='; it must be NAME=VALUE"),
    "no name": ([*LOCAL, "--cluster-set", "=9"], "'=9'; it must be NAME=VALUE"),
    "unknown": ([*LOCAL, "--cluster-set", "hours=9"], "submitit cannot use cluster 'local': Parameter 'hours' need"),
    "unknown of slurm": ([*LOCAL, "--cluster-set", "slurm_tim=9"], "Unknown argument 'tim' for executor 'slurm'"),
    "no number": ([*LOCAL, "--cluster-set", "timeout_min=long"], '"timeout_min" expected type'),
    "cluster": (["--cluster", "pbs"], "argument --cluster: invalid choice: 'pbs'"),
    "no Slurm here": (["--cluster", "slurm"], "submitit cannot use cluster 'slurm': Could not detect \"srun\""),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_started(name, tmp_path, capsys, monkeypatch):
    words, complaint = BAD[name]
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        status = main([*ABLATE, "--rows", "full", "--out", str(tmp_path / "grid"), *words])
    except SystemExit as ended:
        status = ended.code
    said = capsys.readouterr().err
    assert status == 2 and complaint in said and said.count("\n") == 1, said
    assert not (tmp_path / "grid" / "full-1").exists()


@pytest.mark.parametrize("words", [["--jobs", "0"], ["--threads", "0", "--jobs", "1"], [*LOCAL, "--cluster-set", "x"]])
def test_it_is_said_even_where_nothing_is_left_to_do(words, serial, capsys):
    assert main([*ABLATE, "--rows", "full", "--out", str(serial), *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_submitit_it_is_said_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main([*ABLATE, "--rows", "full", "--out", str(tmp_path / "grid"), *LOCAL]) == 2
    said = capsys.readouterr().err
    assert said == "awdlib: submitit is not installed: pip install submitit, or leave out --cluster\n"
