"""When a run that could go on should stop between two updates: asked to, or out of time."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from awdlib import _require as require

INTERRUPTED = "interrupted"  #: somebody asked for it
TIME_IS_UP = "the time limit is reached"  #: nobody did

_ASKING = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C and termination


class Stop:
    """Called after each update; says why to stop there, and "" while there is no reason. `stops` lets signals ask.

    Args:
        minutes: from now on; None for no limit.
        asked: looked at as well, besides `request`.

    Raises:
        ValueError: minutes is not positive and finite.

    Example:
        >>> from awdlib.stops import Stop
        >>> stop = Stop(minutes=60)
        >>> stop()
        ''
        >>> stop.request()
        >>> stop()
        'interrupted'
    """

    def __init__(self, minutes: float | None = None, asked: Callable[[], bool] = bool) -> None:
        if minutes is not None:
            require.number("time limit in minutes", minutes, "(0, inf)")
        self._deadline = float("inf") if minutes is None else time.monotonic() + 60 * minutes
        self._asked, self._requested = asked, False

    def request(self) -> None:
        """Ask to stop."""
        self._requested = True

    def minutes_left(self) -> float | None:
        """Until the limit, always a little more than none; None without a limit."""
        return None if self._deadline == float("inf") else max((self._deadline - time.monotonic()) / 60, 1e-9)

    def __call__(self) -> str:
        if self._requested or self._asked():
            return INTERRUPTED
        return TIME_IS_UP if time.monotonic() >= self._deadline else ""


@contextmanager
def stops(stop: Stop) -> Iterator[Stop]:
    """Inside, Ctrl-C and termination ask to stop instead of ending the process.

    In the main thread alone: others cannot catch signals, and leave them as they are. What `held_back` kept waiting
    when this process was started comes in now.

    Args:
        stop: who is asked.

    Yields:
        the same.

    Example:
        >>> import signal
        >>> from awdlib.stops import Stop, stops
        >>> with stops(Stop()) as stop:
        ...     signal.raise_signal(signal.SIGTERM)
        ...     stop()
        'interrupted'
    """
    kinds = _ASKING if threading.current_thread() is threading.main_thread() else ()
    before = {kind: signal.signal(kind, lambda *_: stop.request()) for kind in kinds}
    mask = _mask("SIG_UNBLOCK", kinds)
    try:
        yield stop
    finally:
        _mask("SIG_SETMASK", mask)
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def held_back(kinds: tuple[int, ...] = _ASKING) -> Iterator[None]:
    """Inside, signals wait; in a process started inside, until it comes to `stops`.

    A Python process that is asked to end while it still imports what it needs complains with a traceback. Where the
    system cannot hold signals back (Windows), nothing is done.

    Args:
        kinds: which signals wait; Ctrl-C and termination, if left out.

    Example:
        >>> import signal
        >>> from awdlib.stops import Stop, held_back, stops
        >>> with stops(Stop()) as stop:
        ...     with held_back():
        ...         signal.raise_signal(signal.SIGINT)
        ...         print(repr(stop()))
        ...     print(repr(stop()))
        ''
        'interrupted'
    """
    mask = _mask("SIG_BLOCK", kinds)
    try:
        yield
    finally:
        _mask("SIG_SETMASK", mask)


def _mask(how: str, kinds: tuple[int, ...] | set[int]) -> set[int]:
    """Change which signals this thread holds back; returns those that it held back before."""
    if not hasattr(signal, "pthread_sigmask"):
        return set()
    return {int(kind) for kind in signal.pthread_sigmask(getattr(signal, how), kinds)}
