"""One process a folder: a lock that dies with its process, however that ends.

The lock is the operating system's own (flock; on Windows, that of the C runtime), on a small file that says who holds
it; the package filelock would do, but empties that file before it knows whether the lock is free. A killed process
leaves the file and not the lock. Some network drives know no locks: then a warning is given, and work goes on
unprotected.
"""

import contextlib
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from awdlib.checkpoints import CheckpointError
from awdlib.environment import now

LOCK = ".lock"  #: the file in the folder
_FAR = 1 << 20  # the byte that Windows locks: beyond the text, which others must be able to read

_held: dict[Path, tuple[int | None, int]] = {}  # lock file -> descriptor, and how often this process holds it


class FolderInUse(ValueError):
    """Another process trains in this folder; raised by `locked`."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock inside the context; the process that holds it may do so again inside.

    Args:
        folder: made if it is not there, with its parents; what is still empty in the end is removed again.

    Yields:
        whether the lock protects: False where the file system knows none.

    Raises:
        FolderInUse: another process holds it.
        CheckpointError: the folder cannot be written.

    Example:
        While it is held, a file in the folder says by whom; afterwards the file is gone:

        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.locks import LOCK, locked
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with locked(Path(folder)):
        ...         (Path(folder) / LOCK).read_text().split()[0]
        ...     (Path(folder) / LOCK).exists()
        'process'
        False
    """
    path = folder.resolve() / LOCK
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    descriptor, times = _held.get(path, (None, 0))
    if times == 0:
        descriptor = _acquire(path)
    _held[path] = descriptor, times + 1
    try:
        yield descriptor is not None
    finally:
        _held[path] = descriptor, times
        if times == 0:
            del _held[path]
            _release(path, descriptor)
        for empty in made:
            with contextlib.suppress(OSError):
                empty.rmdir()


def _acquire(path: Path) -> int | None:
    """The locked file's descriptor; None, and a warning, where there are no locks."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CheckpointError(
                f"cannot write {path.parent} ({error.strerror}): free some space or name another folder"
            ) from None
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                with contextlib.suppress(OSError):  # a full disk cannot say who holds it, and locks all the same
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"process {os.getpid()} on {platform.node()} since {now()}".encode())
                return descriptor
        except (BlockingIOError, PermissionError):
            holder = os.read(descriptor, 1000).decode(errors="replace") or "another process"
            os.close(descriptor)
            raise FolderInUse(
                f"{path.parent} is in use by {holder}: wait for its end, or name another folder"
            ) from None
        except FileNotFoundError:
            pass  # it was released, and its file removed, between our opening and locking it
        except OSError as error:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            warnings.warn(
                f"{path.parent} cannot be locked ({error.strerror}): make sure that no other process trains there",
                stacklevel=2,
            )
            return None
        os.close(descriptor)


def _release(path: Path, descriptor: int | None) -> None:
    if descriptor is None:
        return
    if sys.platform == "win32":  # an open file cannot be removed there; by now it may be another's, and stays
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
    else:  # removed while it is locked: who has opened it meanwhile will notice
        path.unlink(missing_ok=True)
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
