"""The cells of a grid side by side: in processes of this machine, or as jobs of a cluster.

Runs are distributed, never the recurrence inside one: a step of an LSTM needs the one before it, so a run cannot be
divided over time, and the products of one step are too small to be worth a network's latency. The cells of a grid need
nothing of each other (but for ``fine-tuned``, which waits for ``full``), so ten machines finish ten of them in the time
of one.

Where a `Job` runs is up to the launcher: `here` starts a process, `on_cluster` submits it through submitit, to Slurm or
to processes that submitit manages itself::

    for event in side_by_side(jobs, here, at_once=4):
        print(event.cell.name, event.what)
"""

import io
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from awdlib import _require as require
from awdlib.ablation import Cell
from awdlib.jobs import ELSEWHERE, FAILED, FINISHED, Job
from awdlib.runs import read_record
from awdlib.stops import held_back

DIED = "its process died"  #: how a job ends that cannot say so itself; what is known of it is said behind
STARTS = 5  #: how often a cell that does not get on is started before it is given up
POLL = 0.2  #: seconds between two looks at the workers

_PATIENCE = 15.0  # seconds until what a job on another machine has written must be seen here
_TIMEOUTS = 1000  # how often submitit may submit a job again that has used up its time
_DEFAULTS = {"timeout_min": 240, "name": "awdlib"}  # submitit's own limit is a few minutes


class Worker(Protocol):
    """A job at work somewhere. `here` starts one.

    Args:
        *args: of whatever does the work; a protocol has none of its own.
        **kwargs: likewise.
    """

    def outcome(self) -> str:
        """How it ended; "" while it has not."""

    def stop(self) -> None:
        """Ask it to leave a checkpoint and end, if it is to end with this process."""

    def join(self) -> None:
        """Wait for that."""


class _Process:
    """A job in a process of its own on this machine."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(job, theirs), daemon=True)
        if os.name == "posix":  # else it is started below, and lets the signals in again
            resource_tracker.ensure_running()
        with held_back():
            self._process.start()
        theirs.close()

    def outcome(self) -> str:
        if not self._connection.poll():
            return ""
        try:
            said = self._connection.recv()
        except (EOFError, OSError):  # it ended without a word
            said = ""
        self._process.join()
        self._connection.close()
        return said or f"{DIED} (exit status {self._process.exitcode})"

    def stop(self) -> None:
        with suppress(OSError):  # it has ended
            self._connection.send("stop")

    def join(self) -> None:
        self._process.join()


def _work(job: Job, parent: Connection) -> None:
    """What the process does. It stops when its parent sends a word, or is no more: then too there is what to read."""
    outcome = job(parent.poll)
    with suppress(OSError):
        parent.send(outcome)


def here(job: Job) -> Worker:
    """Start a job in a process of its own on this machine, which ends with this one and leaves a checkpoint then.

    Args:
        job: what it is to do.

    Example:
        It is what `side_by_side` calls for each job; without jobs, never:

        >>> from awdlib.workers import here, side_by_side
        >>> list(side_by_side([], here, at_once=2))
        []
    """
    return _Process(job)


class _Submitted:
    """A job in the hands of submitit."""

    def __init__(self, job: Any, local: bool) -> None:
        self._job, self._local = job, local
        self._patience = 0.0 if local else _PATIENCE

    def outcome(self) -> str:
        from submitit.core.utils import UncompletedJobError

        job = self._job
        if not job.done():
            return ""
        if not job.paths.result_pickle.exists():
            self._patience -= POLL
            return self._death() if self._patience < 0 else ""
        try:
            return job.result()
        except UncompletedJobError:  # the job could not be read, or submitted again
            return self._death()

    def _death(self) -> str:
        log = self._job.paths.stderr
        said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        state = [] if self._local else [str(self._job.state)]
        return f"{DIED} ({'; '.join([*state, *said, f'log: {log}'])})"

    def stop(self) -> None:
        if self._local and not self._job.done():
            os.kill(int(self._job.job_id), signal.SIGTERM)  # submitit's process, which passes it on to the job's

    def join(self) -> None:
        while self._local and not self._job.done():
            time.sleep(POLL)
            self.stop()  # once more: it does not pass on what comes before it has started the job


def on_cluster(cluster: str, logs: Path, **parameters: Any) -> Callable[[Job], Worker]:
    """A launcher that submits jobs through submitit, an optional dependency.

    Slurm's jobs go on when the process that submitted them ends, and are submitted again by themselves when their time
    is up. With "local" they are processes that submitit manages on this machine: they leave a checkpoint and end when
    `side_by_side` does, but go on where its process is killed.

    Args:
        cluster: "slurm" or "local".
        logs: folder for what the jobs print and for their pickled code; every machine must see the same.
        **parameters: for submitit's ``update_parameters``, such as timeout_min (240 if left out), gpus_per_node,
            cpus_per_task and slurm_partition.

    Returns:
        a launcher for `side_by_side`.

    Raises:
        ValueError: submitit is not installed, knows no such cluster or parameter, or the cluster is not there; later,
            a job cannot be submitted.

    Example:
        >>> from pathlib import Path
        >>> from awdlib.workers import on_cluster
        >>> try:
        ...     on_cluster("abacus", Path("logs"))
        ... except ValueError as refused:
        ...     print(str(refused).partition(":")[0])
        submitit cannot use cluster 'abacus'
    """
    try:
        from submitit import AutoExecutor
    except ImportError:
        raise ValueError("submitit is not installed: pip install submitit, or leave out --cluster") from None
    limits = {f"{name}_max_num_timeout": _TIMEOUTS for name in ("slurm", "local")}
    try:
        executor = AutoExecutor(folder=logs, cluster=cluster, **limits)
        executor.update_parameters(**_DEFAULTS | parameters)
    except (ValueError, RuntimeError, NameError, TypeError, AssertionError, OSError) as error:
        raise ValueError(f"submitit cannot use cluster {cluster!r}: {_first_line(error)}") from None

    def launch(job: Job) -> Worker:
        try:
            # Ctrl-C here would end submitit's processes with a traceback; what sbatch complains of is said below, once
            with held_back((signal.SIGINT,)), redirect_stderr(io.StringIO()):
                return _Submitted(executor.submit(job), local=cluster == "local")
        except (RuntimeError, OSError) as error:
            raise ValueError(f"submitit cannot submit {job.cell.name}: {_first_line(error)}") from None

    return launch


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


class Event(NamedTuple):
    """Something happened to a cell. `side_by_side` yields them."""

    cell: Cell  #: which one
    what: str  #: "started", "epoch", "finished", "stopped", "starts again" or "given up"
    detail: str = ""  #: why, where there is more to say
    epochs: int = 0  #: done so far
    new_epochs: int = 0  #: of them, since the last event of this kind
    valid: float | None = None  #: validation perplexity of the last of them


def side_by_side(
    jobs: Sequence[Job], launch: Callable[[Job], Worker], at_once: int, starts: int = STARTS,
    stop: Callable[[], str] = str,
) -> Iterator[Event]:  # fmt: skip
    """Run jobs, several at a time; one that is killed or interrupted is started again and goes on from its checkpoint.

    Processes of this machine end with it, each with a checkpoint in its folder; those of Slurm go on.

    Args:
        jobs: in the order in which they are started, of one grid; ``fine-tuned`` waits for its ``full``, and is given
            up with it.
        launch: `here`, or what `on_cluster` returns.
        at_once: at most so many at a time.
        starts: how often a job is started before it is given up, counted anew whenever it has finished an epoch.
        stop: such as `awdlib.stops.Stop`: ends everything once it gives a reason.

    Yields:
        what happens to them; "epoch" is read from the run's record, so some may be missed.

    Raises:
        ValueError: at_once or starts is less than 1.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.ablation import plan
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.jobs import Job
        >>> from awdlib.presets import PRESETS
        >>> from awdlib.workers import side_by_side
        >>> cells = plan(PRESETS["toy"], ["full", "fine-tuned"], [1], load_corpus("toy"))
        >>> class Instantly:  # a worker that has done its work before it is asked
        ...     def outcome(self):
        ...         return "finished"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     jobs = [Job(cell, Path(folder)) for cell in cells]
        ...     [(event.cell.name, event.what) for event in side_by_side(jobs, lambda job: Instantly(), at_once=2)]
        [('full-1', 'started'), ('full-1', 'finished'), ('fine-tuned-1', 'started'), ('fine-tuned-1', 'finished')]
    """
    require.whole_number("at_once", at_once, 1)
    require.whole_number("starts", starts, 1)
    crew = _Crew(list(jobs), launch, at_once, starts)
    try:
        while (crew.waiting or crew.working) and not stop():
            yield from crew.start()
            yield from crew.look()
            if crew.working:
                time.sleep(POLL)
    finally:
        for worker in crew.working.values():  # all are asked before one is waited for
            worker.stop()
        for worker in crew.working.values():
            worker.join()


class _Crew:
    """Who waits, who works, and what was last heard of each."""

    def __init__(self, jobs: list[Job], launch: Callable[[Job], Worker], at_once: int, starts: int) -> None:
        self.waiting, self.launch, self.at_once, self.starts = jobs, launch, at_once, starts
        self.working: dict[Job, Worker] = {}
        self.started: dict[Job, int] = {}  # how often since its last epoch
        self.epochs: dict[Job, int] = {}

    def start(self) -> Iterator[Event]:
        """Start what can be started."""
        for job in list(self.waiting):
            if len(self.working) >= self.at_once:
                return
            if self._full_is_under_way(job):
                continue
            self.waiting.remove(job)
            again = self.started.get(job, 0)
            self.started[job] = again + 1
            self.working[job] = self.launch(job)
            yield Event(job.cell, "starts again" if again else "started")

    def look(self) -> Iterator[Event]:
        """See how far everybody is."""
        for job, worker in list(self.working.items()):
            outcome = worker.outcome()
            yield from self._epoch(job)
            if outcome:
                del self.working[job]
                yield from self._ended(job, outcome)

    def _ended(self, job: Job, outcome: str) -> Iterator[Event]:
        hopeless = outcome == ELSEWHERE or outcome.startswith(FAILED)
        if outcome == FINISHED:
            yield Event(job.cell, "finished")
        elif not hopeless and self.started[job] < self.starts:
            self.waiting.insert(0, job)
            yield Event(job.cell, "stopped", outcome)
        else:
            yield Event(job.cell, "given up", outcome)
            for other in [other for other in self.waiting if _goes_on_from(other, job)]:
                self.waiting.remove(other)
                why = ELSEWHERE if outcome == ELSEWHERE else f"{job.cell.name} is not trained"
                yield Event(other.cell, "given up", why)

    def _epoch(self, job: Job) -> Iterator[Event]:
        try:
            record = read_record(job.folder / job.cell.name)
        except ValueError:  # it has not written any yet
            return
        done = len(record["epochs"])
        if new := done - self.epochs.get(job, 0):
            self.epochs[job], self.started[job] = done, 1
            yield Event(job.cell, "epoch", "", done, new, record["epochs"][-1]["valid_perplexity"])

    def _full_is_under_way(self, job: Job) -> bool:
        return any(_goes_on_from(job, other) for other in [*self.waiting, *self.working])


def _goes_on_from(job: Job, other: Job) -> bool:
    """Whether a job fine-tunes what the other trains."""
    same_seed = job.cell.preset.training.seed == other.cell.preset.training.seed
    return same_seed and (job.cell.row, other.cell.row) == ("fine-tuned", "full")
