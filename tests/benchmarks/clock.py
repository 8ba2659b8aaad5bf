"""Time and memory of what is repeated."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cases import Case

SECONDS = 1.5  # that a process repeats for, at least
LEAST = 2  # repetitions, or blocks of them


def measured(case: Case, build: Callable[[], Callable[[], Any]]) -> dict[str, Any]:
    """Build what is measured, warm it up, repeat it: median seconds of a repetition, and bytes of memory.

    ``memory`` is the most that the process held at any time, ``added`` what came to it from here on. On a GPU both
    are what torch has allocated there.
    """
    before = _memory("VmRSS")
    action = build()
    seconds = _repeat(action, case)
    on_gpu = case.device == "cuda"
    memory = torch.cuda.max_memory_allocated() if on_gpu else _memory("VmHWM")
    return {
        "seconds": statistics.median(seconds),
        "repetitions": len(seconds),
        "memory": memory,
        "added": memory if on_gpu else memory - before,
    }


def _repeat(action: Callable[[], Any], case: Case) -> list[float]:
    """Seconds of each repetition after a warm-up; on a GPU, which is slow to wait for, the means of blocks of ten."""
    size, wait = (10, torch.cuda.synchronize) if case.device == "cuda" else (1, lambda: None)

    def block() -> float:
        wait()
        began = time.perf_counter()
        for _ in range(size):
            action()
        wait()
        return (time.perf_counter() - began) / size

    block()
    seconds = [block()]
    while not case.quick and (len(seconds) < LEAST or size * sum(seconds) < SECONDS):
        seconds.append(block())
    return seconds


def _memory(what: str) -> int:
    """Bytes: VmRSS, what this process holds now, or VmHWM, the most that it ever held.

    Linux's getrusage would count what the parent held when it started this process. Elsewhere there is nothing but
    getrusage, and "now" is "ever".
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(what))
