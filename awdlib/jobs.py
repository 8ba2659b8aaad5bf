"""A cell of a grid as a function: what a process anywhere can be asked to do.

A `Job` trains what its folder does not hold yet, from the last checkpoint there, and so can be killed and started again
at any moment. Nothing but the run's folder comes back from it, and how it ended. `awdlib.workers` runs several.
"""

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from awdlib import _require as require
from awdlib.ablation import Cell, is_finished, open_cell
from awdlib.allocator import keep_freed_memory, out_of_memory
from awdlib.corpora import load_corpus
from awdlib.environment import choose_device
from awdlib.locks import FolderInUse
from awdlib.runs import hold
from awdlib.stops import INTERRUPTED, Stop, stops

#: how a job ends, besides the two reasons of `awdlib.stops`; why is said behind the last
FINISHED, ELSEWHERE, FAILED = "finished", "another process trains it", "failed"


@dataclass(frozen=True)
class Job:
    """One cell, as what a process anywhere can be asked to do. Calling it trains; it returns how that ended.

    It raises nothing of its own: a cell that cannot be trained as asked returns `FAILED` and why; a fault of the
    library does so too, and prints its traceback.

    Raises:
        ValueError: threads is less than 1, or minutes not positive and finite.

    Example:
        The shortest stretch is one update:

        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.ablation import plan
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.jobs import Job
        >>> from awdlib.presets import PRESETS
        >>> (cell,) = plan(PRESETS["toy"], ["full"], [1], load_corpus("toy"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     job = Job(cell, Path(folder), minutes=1e-9)
        ...     job(), sorted(path.name for path in Path(folder, cell.name).iterdir())
        ('the time limit is reached', ['checkpoint.pt', 'record.json'])
    """

    cell: Cell  #: one of `awdlib.ablation.plan`
    folder: Path  #: of the grid; every machine must see the same
    preset: str = ""  #: its name, for the record
    data: Path | None = None  #: where the corpus is, as `awdlib.corpora.load_corpus` takes it
    device: str = "auto"  #: as `awdlib.environment.choose_device` takes it, where the job runs
    threads: int | None = None  #: of torch; None leaves them as they are
    minutes: float | None = None  #: after which it stops with a checkpoint

    def __post_init__(self) -> None:
        if self.threads is not None:
            require.whole_number("threads", self.threads, 1)
        Stop(self.minutes)

    def __call__(self, asked: Callable[[], bool] = bool) -> str:
        stop = Stop(self.minutes, asked)
        with stops(stop), _requeueing(stop) as signals:
            outcome = self._outcome(stop)
        if signals and outcome == INTERRUPTED:
            signal.raise_signal(signals[0])  # submitit ends the job here, and submits it again
        return outcome

    def _outcome(self, stop: Stop) -> str:
        keep_freed_memory()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        try:
            return self._train(stop)
        except FolderInUse:
            return ELSEWHERE
        except Exception as error:
            if out_of_memory(error):
                return f"{FAILED}: out of memory: lower batch_size or bptt, or train fewer cells at a time"
            if not isinstance(error, ValueError | OSError):
                traceback.print_exc()
                return f"{FAILED}: {type(error).__name__}: {_one_line(str(error))}"
            return f"{FAILED}: {_one_line(str(error))}"

    def _train(self, stop: Stop) -> str:
        corpus = load_corpus(self.cell.preset.corpus, self.data, progress=False)
        with hold(self.folder / self.cell.name):
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
        """What submitit is to submit again when the machine is taken away: the same; its folder has its checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextmanager
def _requeueing(stop: Stop) -> Iterator[list[int]]:
    """Inside a job of submitit, its signal that the machine is taken away asks to stop; yields the signals that came.

    Submitit would end the job in the middle of an update, without a checkpoint.
    """
    came: list[int] = []
    kind = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"), signal.SIGTERM)
    handler = signal.getsignal(kind) if "SUBMITIT_EXECUTOR" in os.environ else None
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number: int, _: Any) -> None:
        came.append(number)
        stop.request()

    signal.signal(kind, note)
    try:
        yield came
    finally:
        signal.signal(kind, handler)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())
