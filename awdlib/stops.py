"""When a run that could go on should stop between two updates: asked to, or out of time."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from awdlib import _require as require

INTERRUPTED = "interrupted"  #: somebody asked for it
TIME_IS_UP = "the time limit is reached"  #: nobody did


class Stop:
    """Called after each update; says why to stop there, and "" while there is no reason. `stops` makes one.

    Args:
        minutes: from now on; None for no limit.
        asked: looked at as well, besides `request`.

    Raises:
        ValueError: minutes is not positive.

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
    """Inside, Ctrl-C and termination ask to stop instead of ending the process. In the main thread alone: others
    cannot catch signals, and leave them as they are.

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
    kinds = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {kind: signal.signal(kind, lambda *_: stop.request()) for kind in kinds}
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
