"""Measure what a student needs to run each chapter: memory, processor time, minutes.

    python book/_tools/limits.py [NAME ...]        all chapters, or those named; what is known of the others stays

Every chapter runs from top to bottom in a kernel of its own, with no corpora at hand and one thread, as on a hub. A
JupyterLab server with an idle kernel and a clone of the repository are measured as well. All goes into
data/runs/class-limits.json, from which classroom.py makes limits and tables.

`memory` is the resident set in MiB: of the kernel as the system's own high-water mark, of its children as the largest
of samples. Pages of libraries count in full, as if nobody else on the server used them. `private` is the largest
sample of what no other process shares, which is what one more student costs a server where others are at work.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import nbformat
import psutil
from jupyter_client import BlockingKernelClient
from nbclient import NotebookClient

from awdlib import checkpoints
from awdlib.chapters import CHAPTERS
from awdlib.environment import describe_environment, now

BOOK = Path(__file__).resolve().parents[1]
RECORD = BOOK.parent / "data" / "runs" / "class-limits.json"
MIB = 2**20
STARTED = "import torch, awdlib, awdlib.explore; torch.ones(2) @ torch.ones(2)"


class Watch(threading.Thread):
    """Samples a process and its children until it is stopped.

    What processes took that have ended since is kept: pid and seconds of each.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.process = psutil.Process(pid)
        self.children, self.private = 0, 0
        self.seconds: dict[int, float] = {}
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            self.sample()

    def sample(self) -> None:
        private, beside = 0, 0
        try:
            family = [self.process, *self.process.children(recursive=True)]
        except psutil.Error:
            return
        for one in family:
            try:
                known = one.memory_full_info()
                private += known.uss
                beside += known.rss if one.pid != self.process.pid else 0
                self.seconds[one.pid] = sum(one.cpu_times()[:2])
            except psutil.Error:  # it has just ended
                continue
        self.children = max(self.children, beside)
        self.private = max(self.private, private)

    def stop(self) -> dict[str, float]:
        """What was seen: memory and private in MiB, processor seconds."""
        self.sample()
        self.done.set()
        self.join()
        own = high_water(self.process.pid)
        return {
            "memory": round((own + self.children) / MIB),
            "private": round(self.private / MIB),
            "processor_seconds": round(sum(self.seconds.values()), 1),
        }


def high_water(pid: int) -> int:
    """The largest resident set that a process ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main() -> None:
    """Measure the chapters named on the command line, or all."""
    os.environ.pop("AWDLIB_DATA", None)
    os.environ["OMP_NUM_THREADS"] = "1"
    there = [
        one.name for one in CHAPTERS if (BOOK / f"{one.name}.ipynb").exists()
    ]
    names = sys.argv[1:] or there
    known = (
        json.loads(RECORD.read_text(encoding="utf-8"))
        if RECORD.exists()
        else {}
    )
    chapters = known.get("chapters", {})
    for name in names:
        chapters[name] = measured(BOOK / f"{name}.ipynb")
        print(name, chapters[name], flush=True)
    record = {
        "date": now(),
        "threads": 1,
        "environment": describe_environment(),
        "server": server(),
        "disk": disk(),
        "chapters": {
            name: chapters[name] for name in there if name in chapters
        },
    }
    checkpoints.write_json(RECORD, record)
    print(record["server"], record["disk"])


def measured(path: Path) -> dict[str, float]:
    """Run a notebook; the seconds are those of its cells, without the start of the kernel."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(BOOK)}},
    )
    client.create_kernel_manager()
    with client.setup_kernel():
        watch = Watch(client.km.provisioner.pid)
        watch.start()
        began = time.perf_counter()
        for number, cell in enumerate(notebook.cells):
            client.execute_cell(cell, number)
        seconds = time.perf_counter() - began
        return watch.stop() | {"seconds": round(seconds, 1)}


def server() -> dict[str, dict[str, float]]:
    """A JupyterLab server, and a kernel in it that has imported the library and waits."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "JUPYTER_RUNTIME_DIR": folder,
            "JUPYTER_TOKEN": "measured",
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
        command += ["--allow-root", "--ServerApp.port=18765"]
        command += [f"--ServerApp.root_dir={folder}"]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(lambda: ask("/api/status"))
            seconds = time.perf_counter() - began
            alone = whole(process.pid) | {"seconds": round(seconds, 1)}
            made = ask("/api/kernels", b'{"name": "python3"}')
            time.sleep(3)
            kernel = BlockingKernelClient()
            kernel.load_connection_file(f"{folder}/kernel-{made['id']}.json")
            kernel.start_channels()
            kernel.wait_for_ready(timeout=60)
            kernel.execute_interactive(STARTED, timeout=120)
            kernel.stop_channels()
            (child,) = psutil.Process(process.pid).children()
            return {"lab": alone, "idle_kernel": whole(child.pid)}
        finally:
            process.terminate()
            process.wait(20)


def whole(pid: int) -> dict[str, float]:
    """A process alone, as it is now; memory at its highest so far."""
    process = psutil.Process(pid)
    return {
        "memory": round(high_water(pid) / MIB),
        "private": round(process.memory_full_info().uss / MIB),
        "processor_seconds": round(sum(process.cpu_times()[:2]), 1),
    }


def ask(path: str, body: bytes | None = None) -> dict:
    """A question to the server, or an order where there is a body."""
    request = urllib.request.Request(
        f"http://127.0.0.1:18765{path}",
        data=body,
        headers={"Authorization": "token measured"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_for(question, patience: float = 120) -> None:
    """Ask until there is an answer."""
    end = time.monotonic() + patience
    while True:
        try:
            question()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def disk() -> dict[str, int]:
    """A clone of the repository as a student's folder holds it, in MiB: its last commit only, and its history."""
    sizes = {}
    for name, options in {"shallow": ["--depth=1"], "clone": []}.items():
        with tempfile.TemporaryDirectory() as folder:
            command = ["git", "clone", "-q", *options, BOOK.parent.as_uri()]
            subprocess.run([*command, folder], check=True)
            files = (one for one in Path(folder).rglob("*") if one.is_file())
            total = sum(one.stat().st_blocks * 512 for one in files)
            sizes[name] = round(total / MIB)
    return sizes


if __name__ == "__main__":
    main()
