"""A job that waits in the middle of its work for a signal. Apart from the tests, so that a process can import it."""

import importlib
import itertools
import os
import signal

from awdlib.jobs import Job


def wait_for_a_signal(mark):
    """Make the file, then wait; a signal that comes in between is not missed."""
    come, written = os.pipe()
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written)
    mark.touch()
    os.read(come, 1)
    signal.set_wakeup_fd(-1)


class Held(Job):
    """Waits in its second epoch, which begins with the 19th record; a file beside the run's folder says so."""

    pauses = (20,)  # the record since its start at which it waits, for each start

    def __call__(self, asked=bool):
        before, records = len(marks(self)), itertools.count(1)
        pause = self.pauses[before] if before < len(self.pauses) else None

        def look():
            record = next(records)
            (self.folder / f"{self.cell.name}.seen").write_text(str(record))
            if record == pause:
                wait_for_a_signal(self.folder / f"{self.cell.name}.held{before}")
            return asked()

        return super().__call__(look)


def seen(job):
    """How many records a job has had since it was started last."""
    return int((job.folder / f"{job.cell.name}.seen").read_text())


class HeldTwice(Held):
    """Waits once more when it is started again, from its checkpoint at the first epoch's end."""

    pauses = (20, 5)


class Broken(Job):
    """Cannot be read by another process."""

    def __reduce__(self):
        return importlib.import_module, ("nowhere",)


def marks(job):
    return sorted(job.folder.glob(f"{job.cell.name}.held*"))
