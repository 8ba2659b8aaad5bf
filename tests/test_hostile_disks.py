"""Full disks and read-only folders, wherever something is written: the old file whole, nothing half-written, one line.

A full disk is played by the limit on a file's size, which the system enforces; a read-only folder is a real one, and
the tests give up being root for it.
"""

import contextlib
import errno
import hashlib
import io
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from test_cli import TINY, command, environment

from awdlib import checkpoints, downloads
from awdlib.checkpoints import CheckpointError
from awdlib.cli import main
from awdlib.corpora import CorpusError
from awdlib.downloads import Mirror, download

NOBODY = 65534
ABLATE = ["ablate", *TINY[1:], "--epochs", "1", "--rows", "full,no-weight-drop", "--seeds", "1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run and a finished ablation, to copy."""
    folder = tmp_path_factory.mktemp("runs")
    assert main([*TINY, "--epochs", "1", "--out", str(folder / "whole")]) == 0
    assert main([*ABLATE, "--out", str(folder / "grid")]) == 0
    return folder


@pytest.fixture
def folder(finished):
    """A copy that everyone may enter and read, as no folder of pytest's is."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        shutil.copytree(finished, place, dirs_exist_ok=True)
        for path in (place, *place.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield place


@contextlib.contextmanager
def files_of_at_most(limit):
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def read_only(folder):
    """Nothing in the folder, nor the folder itself, can be written, not even by root: it becomes somebody else."""
    was = os.geteuid()
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o555)
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


#: what writes -> (the command, bytes that a file may have, the file that does not fit)
WRITERS = {
    "a new run's record": ([*TINY, "--out", "new"], 200, "record.json"),
    "best weights": ([*TINY, "--out", "new"], 20_000, "best.pt"),
    "a checkpoint": (
        [*TINY, "--out", "whole", "--epochs", "2", "--resume", "--checkpoint-minutes", "0"], 20_000, "checkpoint"),
    "a fine-tuned run": (["finetune", "whole", "--device", "cpu", "--out", "new", "--epochs", "1"], 20_000, "best.pt"),
    "an ablation's cell": ([*ABLATE, "--seeds", "2", "--out", "grid"], 20_000, "full-2"),
    "an ablation's table": ([*ABLATE, "--out", "grid"], 200, "table.txt"),
    "cache settings": (["tune-cache", "whole", "--device", "cpu", "--thetas", "0", "--window", "3"], 200, "cache.json"),
    "a report": (["report", "whole", "--out", "."], 100, "report.txt"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRITERS)
def test_a_full_disk_costs_nothing_that_was_there(case, folder, monkeypatch, capsys):
    words, limit, name = WRITERS[case]
    monkeypatch.chdir(folder)
    before = contents(folder)
    with files_of_at_most(limit):
        assert main(words) == 2
    said = capsys.readouterr().err
    assert name in said and "(File too large): free some space or name another folder" in said and said.count("\n") == 1
    after = contents(folder)
    new = {path for path in after if path not in before}
    assert new <= {"new/record.json", "grid/full-2/record.json"}, "whole, and all that fitted"
    changed = {path for path in before if after[path] != before[path]}
    assert changed <= {"whole/record.json"}, "it says that the run is being trained"
    for path in new | changed:
        assert after[path].endswith(b"}\n")


@pytest.mark.parametrize("case", WRITERS)
def test_a_read_only_folder_is_named_and_untouched(case, folder, monkeypatch, capsys):
    words, _, name = WRITERS[case]
    monkeypatch.chdir(folder)
    before = contents(folder)
    with read_only(folder):
        assert main(words) == 2
    said = capsys.readouterr().err
    assert "cannot write" in said and "(Permission denied): free some space or name another folder" in said, said
    assert said.count("\n") == 1 and contents(folder) == before


def test_after_a_full_disk_a_run_goes_on_as_if_nothing_had_been(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = [*TINY, "--epochs", "2", "--resume", "--out"]
    with files_of_at_most(20_000):
        assert main([*words, "whole"]) == 2
    assert main([*words, "whole"]) == main([*words, "never-full"]) == 0
    one, other = (checkpoints.load(folder / name / "checkpoint.pt")["model"] for name in ("whole", "never-full"))
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "tempfile.NamedTemporaryFile", "Path.chmod", "Path.mkdir"])
@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_whichever_step_of_a_write_fails_the_old_file_is_whole_and_alone(step, trouble, tmp_path, monkeypatch):
    checkpoints.save(tmp_path / "checkpoint.pt", {"old": 1})

    def fail(*_, **__):
        raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr(f"awdlib.checkpoints.{step}", fail)
    with pytest.raises(
        CheckpointError, match=f"cannot write .*{os.strerror(trouble)}.*what was there before is untouched"
    ):
        checkpoints.save(tmp_path / "checkpoint.pt", {"new": 2})
    assert checkpoints.load(tmp_path / "checkpoint.pt") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_ctrl_c_during_a_write_leaves_nothing_half_written(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(tmp_path / "checkpoint.pt", {"new": 2})
    assert not list(tmp_path.iterdir())


TEXT = b"a line\n" * 1000


@pytest.mark.parametrize("limits", [files_of_at_most, read_only])
def test_a_download_that_cannot_be_written_is_not_the_mirrors_fault(limits, folder, monkeypatch):
    answer = io.BytesIO(TEXT)
    answer.headers = {}
    monkeypatch.setattr(downloads.urllib.request, "urlopen", lambda *_, **__: answer)
    mirror, hashes = Mirror(files={"train": "http://mirror"}), {"train": f"sha256:{hashlib.sha256(TEXT).hexdigest()}"}
    before = contents(folder)
    with limits(1000 if limits is files_of_at_most else folder):
        with pytest.raises(
            CorpusError, match="Tiny cannot be written to .*: free some space, or name another .*AWDLIB_CACHE"
        ):
            download("Tiny", (mirror, mirror), {"train": "train.txt"}, hashes, folder / "tiny", progress=False)
    assert contents(folder) == before and not (folder / "tiny").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
def test_output_that_cannot_be_written_ends_in_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(["presets"]),
            env=environment() | {"PYTHONUNBUFFERED": ""},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert (
        done.stderr
        == "awdlib: cannot write the output (No space left on device): free some space, or send it elsewhere\n"
    )


def test_a_reader_who_has_read_enough_is_no_mistake():
    """As with `| head -1`, which closes the pipe."""
    done = subprocess.Popen(
        command(["presets"]), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    done.stdout.close()
    assert done.stderr.read() == "" and done.wait() == 141
    done.stderr.close()


def test_a_log_on_disk_has_each_epoch_as_it_ends(folder):
    """Without an end of the program, which may be killed: the first line is there while it still runs."""
    log = folder / "log"
    tiny = [*TINY, "--epochs", "1000", "--out", str(folder / "run")]
    with open(log, "w") as out:
        running = subprocess.Popen(command(tiny), env=environment() | {"PYTHONUNBUFFERED": ""}, stdout=out)
        try:
            while "epoch" not in log.read_text():
                assert running.poll() is None, "it ended without a line of an epoch"
                time.sleep(0.1)
            assert log.read_text().count("\n") < 20  # and not a hundred at once, when some buffer was full
        finally:
            running.kill()
            running.wait()


#: what lies where something else is due -> (the command, what the one line says)
IN_THE_WAY = {
    "a file for a run": ([*TINY, "--out", "whole/record.json"], "cannot write .*record.json"),
    "a file above a run": ([*TINY, "--out", "whole/record.json/run"], r"cannot write .*\(Not a directory\)"),
    "a file for a report's folder": (["report", "whole", "--out", "whole/record.json"], "cannot write .*report.txt"),
    "a file for a run to read": (["evaluate", "whole/record.json"], r"is not the folder of a run.*\(Not a directory\)"),
    "a folder for a record": (["evaluate", "grid"], "is not the folder of a run"),
    "a file for the data": (["train", "--preset", "ptb-small", "--data", "whole/record.json"], "looked for ptb.train"),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_files_for_folders_and_folders_for_files(case, folder, monkeypatch, capsys):
    words, line = IN_THE_WAY[case]
    monkeypatch.chdir(folder)
    before = contents(folder)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert re.search(line, said) and said.count("\n") == 1 and contents(folder) == before
