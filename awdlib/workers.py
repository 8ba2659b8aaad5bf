"""The cells of a grid side by side: in processes of this machine, or as jobs of a cluster.

Runs are distributed, never the recurrence inside one: a step of an LSTM needs the one before it, so a run cannot be
divided over time, and the products of one step are too small to be worth a network's latency. The cells of a grid need
nothing of each other (but for ``fine-tuned``, which waits for ``full``), so ten machines finish ten of them in the time
of one.

A `Job` is a cell as a function: it trains what its folder does not hold yet, from the last checkpoint there, and so can
be killed and started again at any moment. Nothing but the run's folder comes back from it. Where it runs is up to the
launcher: `here` starts a process, `on_cluster` submits it through submitit, to Slurm or to processes that submitit
manages itself::

    for event in side_by_side(jobs, here, at_once=4):
        print(event.cell.name, event.what)
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from awdlib import _require as require
from awdlib.ablation import Cell, is_finished, open_cell
from awdlib.allocator import keep_freed_memory
from awdlib.corpora import load_corpus
from awdlib.environment import choose_device
from awdlib.locks import FolderInUse
from awdlib.runs import hold, read_record
from awdlib.stops import INTERRUPTED, TIME_IS_UP, Stop, stops

FINISHED, ELSEWHERE, FAILED, DIED = "finished", "another process trains it", "failed", "its process died"
STARTS = 5  #: how often a cell whose process dies is started before it is given up
POLL = 0.2  # seconds between two looks at the processes


@dataclass(frozen=True)
class Job:
    """One cell, as what a process anywhere can be asked to do. Calling it trains; it returns how that ended.

    Raised from inside are only faults of the library: a cell that cannot be trained as asked returns `FAILED` and why.
    """

    cell: Cell  #: one of `awdlib.ablation.plan`
    folder: Path  #: of the grid; every machine must see the same
    preset: str = ""  #: its name, for the record
    data: Path | None = None  #: where the corpus is, as `awdlib.corpora.load_corpus` takes it
    device: str = "auto"  #: as `awdlib.environment.choose_device` takes it, where the job runs
    threads: int | None = None  #: of torch; None leaves them as they are
    minutes: float | None = None  #: after which it stops with a checkpoint

    def __call__(self, asked: Callable[[], bool] = bool) -> str:
        keep_freed_memory()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        try:
            return self._train(Stop(self.minutes, asked))
        except FolderInUse:
            return ELSEWHERE
        except (ValueError, OSError) as error:
            return f"{FAILED}: {error}"

    def _train(self, stop: Stop) -> str:
        corpus = load_corpus(self.cell.preset.corpus, self.data, progress=False)
        with stops(stop), hold(self.folder / self.cell.name):
            if is_finished(self.cell, self.folder, self.preset):
                return FINISHED
            run = open_cell(self.cell, self.folder, corpus, self.preset, choose_device(self.device))
            for _ in run.steps():
                if why := stop():
                    run.save("interrupted")
                    return why
            run.finish()
        return FINISHED

    def checkpoint(self, *_: Any) -> Any:
        """What submitit asks for when Slurm takes the machine away: the same again; its checkpoint is in its folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Worker(Protocol):
    """A job at work somewhere."""

    def outcome(self) -> str:
        """How it ended; "" while it has not."""

    def stop(self) -> None:
        """Have it leave a checkpoint and end, and wait for that, where it can be asked to."""


class _Process:
    """A job in a process of its own on this machine."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")
        self._asked = context.Event()
        self._end, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(job, theirs, self._asked))
        self._process.start()
        theirs.close()

    def outcome(self) -> str:
        if self._end.poll():
            try:
                return self._end.recv()
            except EOFError:  # it ended without a word
                self._process.join()
                return f"{DIED} (exit status {self._process.exitcode})"
        return ""

    def stop(self) -> None:
        self._asked.set()
        self._process.join()


def _work(job: Job, answer: Connection, asked: Any) -> None:
    """What the process does; it stops when asked to, and when the process that started it is no more."""
    parent = multiprocessing.parent_process()
    answer.send(job(lambda: asked.is_set() or (parent is not None and not parent.is_alive())))


def here(job: Job) -> Worker:
    """Start a job in a process of its own on this machine.

    Args:
        job: what it is to do.
    """
    return _Process(job)


class _Submitted:
    """A job in the hands of submitit."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def outcome(self) -> str:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        if not self._job.done():
            return ""
        try:
            return self._job.result()
        except (FailedJobError, UncompletedJobError) as error:
            last = str(error).strip().splitlines()[-1:]
            return f"{DIED} ({self._job.state.lower()}; log: {self._job.paths.stderr}; {' '.join(last)})"

    def stop(self) -> None:
        """A cluster's jobs go on when the terminal that submitted them is closed: that is what they are for."""


def on_cluster(cluster: str, logs: Path, **parameters: Any) -> Callable[[Job], Worker]:
    """A launcher that submits jobs through submitit, an optional dependency.

    Args:
        cluster: "slurm", or "local" for processes that submitit manages on this machine.
        logs: folder for what the jobs print and for their pickled code; every machine must see the same.
        **parameters: for submitit's ``update_parameters``: timeout_min, gpus_per_node, cpus_per_task, slurm_partition
            and others.

    Returns:
        a launcher for `side_by_side`.

    Raises:
        ValueError: submitit is not installed, knows no such cluster or parameter, or the cluster is not there.
    """
    try:
        from submitit import AutoExecutor
    except ImportError:
        raise ValueError("submitit is not installed: pip install submitit, or leave out --cluster") from None
    try:
        executor = AutoExecutor(folder=logs, cluster=cluster)
        executor.update_parameters(**parameters)
    except (ValueError, RuntimeError, NameError) as error:
        raise ValueError(f"submitit cannot use cluster {cluster!r}: {error}") from None
    return lambda job: _Submitted(executor.submit(job))


class Event(NamedTuple):
    """Something happened to a cell. `side_by_side` yields them."""

    cell: Cell  #: which one
    what: str  #: "started", "epoch", "finished", "stopped", "starts again", or "given up"
    detail: str = ""  #: why, where there is more to say
    epochs: int = 0  #: done so far
    new_epochs: int = 0  #: of them, since the last event of this kind
    valid: float | None = None  #: validation perplexity of the last of them


def side_by_side(
    jobs: Sequence[Job], launch: Callable[[Job], Worker], at_once: int, starts: int = STARTS,
    stop: Callable[[], str] = str,
) -> Iterator[Event]:  # fmt: skip
    """Run jobs, several at a time; a job whose process dies is started again and goes on from its checkpoint.

    Processes of this machine end with it, each with a checkpoint in its folder; a cluster's go on.

    Args:
        jobs: in the order in which they are started, of one grid; ``fine-tuned`` waits for its ``full``.
        launch: `here`, or what `on_cluster` returns.
        at_once: at most so many at a time.
        starts: how often a job is started before it is given up.
        stop: such as `awdlib.stops.Stop`: ends everything once it gives a reason.

    Yields:
        what happens to them; "epoch" is read from the run's record, so some may be missed.

    Raises:
        ValueError: at_once or starts is less than 1.

    Example:
        >>> import tempfile
        >>> from dataclasses import replace
        >>> from pathlib import Path
        >>> from awdlib.ablation import plan
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.presets import PRESETS
        >>> from awdlib.workers import Job, side_by_side
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
        for worker in crew.working.values():
            worker.stop()


class _Crew:
    """Who waits, who works, and what was last heard of each."""

    def __init__(self, jobs: list[Job], launch: Callable[[Job], Worker], at_once: int, starts: int) -> None:
        self.waiting, self.launch, self.at_once, self.starts = jobs, launch, at_once, starts
        self.working: dict[Job, Worker] = {}
        self.started: dict[Job, int] = {}
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
                yield self._ended(job, outcome)

    def _ended(self, job: Job, outcome: str) -> Event:
        if outcome == FINISHED:
            return Event(job.cell, "finished")
        if outcome.startswith(DIED) and self.started[job] < self.starts:
            self.waiting.insert(0, job)
            return Event(job.cell, "stopped", outcome)
        if job.cell.row == "full":
            self.waiting = [other for other in self.waiting if not _goes_on_from(other, job)]
        return Event(job.cell, "stopped" if outcome in (INTERRUPTED, TIME_IS_UP) else "given up", outcome)

    def _epoch(self, job: Job) -> Iterator[Event]:
        try:
            record = read_record(job.folder / job.cell.name)
        except ValueError:  # it has not written any yet
            return
        done = len(record["epochs"])
        if new := done - self.epochs.get(job, 0):
            self.epochs[job] = done
            yield Event(job.cell, "epoch", "", done, new, record["epochs"][-1]["valid_perplexity"])

    def _full_is_under_way(self, job: Job) -> bool:
        return any(_goes_on_from(job, other) for other in [*self.waiting, *self.working])


def _goes_on_from(job: Job, other: Job) -> bool:
    """Whether a job fine-tunes what the other trains."""
    same_seed = job.cell.preset.training.seed == other.cell.preset.training.seed
    return same_seed and (job.cell.row, other.cell.row) == ("fine-tuned", "full")
