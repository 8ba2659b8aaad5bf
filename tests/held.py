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
        records = itertools.count(1)
        before = len(marks(self))

        def look():
            if len(marks(self)) == before < len(self.pauses) and next(records) == self.pauses[before]:
                wait_for_a_signal(self.folder / f"{self.cell.name}.held{before}")
            return asked()

        return super().__call__(look)


class HeldTwice(Held):
    """Waits once more when it is started again, from its checkpoint at the first epoch's end."""

    pauses = (20, 5)


class Broken(Job):
    """Cannot be read by another process."""

    def __reduce__(self):
        return importlib.import_module, ("nowhere",)


def marks(job):
    return sorted(job.folder.glob(f"{job.cell.name}.held*"))
