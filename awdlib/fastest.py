"""Which way of training is fastest on this GPU: each is tried for a few updates at the paper's size."""

import statistics
import time
from dataclasses import replace
from typing import Any

import torch

from awdlib import _require as require
from awdlib.environment import describe_environment
from awdlib.presets import PRESETS
from awdlib.training import start, update

#: What is tried: each precision, launched kernel by kernel and as one graph.
WAYS = [
    {"precision": precision, "graphs": graphs}
    for precision in ("fp32", "tf32", "bf16", "fp16")
    for graphs in (False, True)
]


def fastest_settings(device: torch.device | str, preset: str = "awd-lstm-ptb", updates: int = 20) -> dict[str, Any]:
    """Train a few updates in each of `WAYS` and choose the fastest.

    Every way sees the same windows of the nominal length and as many updates before the clock starts. One that this
    device refuses is left out, with its complaint.

    Args:
        device: what is measured.
        preset: what is trained.
        updates: timed, after as many that are not.

    Returns:
        ``settings``, as ``--set`` takes them, and what was ``tried``: milliseconds an update, the median, or why not.

    Raises:
        ValueError: there is no such preset, or no way works.

    Example:
        >>> from awdlib.fastest import fastest_settings
        >>> found = fastest_settings("cpu", "toy", updates=1)
        >>> len(found["tried"]), [setting.partition("=")[0] for setting in found["settings"]]
        (8, ['precision', 'graphs'])
    """
    device = require.device(device)
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}: 'python -m awdlib presets' lists them")
    tried = [way | _measure(way, device, preset, require.whole_number("updates", updates, 1)) for way in WAYS]
    working = [one for one in tried if "ms" in one]
    if not working:
        raise ValueError(f"no way of training works here: {tried[0]['refused']}")
    best = min(working, key=lambda one: one["ms"])
    settings = [f"{name}={best[name]}" for name in WAYS[0]]
    return {"settings": settings, "tried": tried, "preset": preset, "environment": describe_environment(device)}


def _measure(way: dict[str, Any], device: torch.device, preset: str, updates: int) -> dict[str, Any]:
    chosen = PRESETS[preset]
    try:
        training = start(chosen.model, replace(chosen.training, variable_windows=False, **way), device)
        shape = (training.config.bptt, training.config.batch_size)
        words = torch.randint(chosen.model.vocab_size, shape, generator=torch.Generator().manual_seed(0)).to(device)
        took = [_timed(training, words, device) for _ in range(2 * updates)][updates:]
    except (ValueError, RuntimeError) as error:
        return {"refused": str(error).partition("\n")[0]}
    return {"ms": round(1000 * statistics.median(took), 3)}


def _timed(training: Any, words: torch.Tensor, device: torch.device) -> float:
    began = time.perf_counter()
    update(training, words, words, training.lr)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
