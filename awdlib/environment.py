"""What a record says of the machine, the versions and the commit that made it; no path, no user, no host."""

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy
import torch

from awdlib import __version__
from awdlib import _require as require


def now() -> str:
    """The present time, UTC, to the second, in the form of ISO 8601.

    Example:
        >>> from datetime import datetime
        >>> from awdlib.environment import now
        >>> datetime.fromisoformat(now()).tzname()
        'UTC'
    """
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def describe_environment(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Versions, commit and hardware, as plain values.

    Args:
        device: the device of the run; a GPU is named.

    Returns:
        a value under each name, None where there is nothing to say (no GPU; no clone and so no commit).

    Raises:
        ValueError: there is no such device.

    Example:
        >>> from awdlib.environment import describe_environment
        >>> here = describe_environment("cpu")
        >>> here["device"], here["gpu"]
        ('cpu', None)
        >>> list(here)[:5]
        ['awdlib', 'commit', 'python', 'torch', 'numpy']
    """
    device = require.device(device)
    return {
        "awdlib": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "system": platform.system(),
        "device": device.type,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def choose_device(name: str = "auto") -> torch.device:
    """The device of a name; "auto" is a CUDA GPU where there is one, else the CPU.

    Args:
        name: "auto", "cpu" or "cuda".

    Raises:
        ValueError: an unknown name, or "cuda" where there is none.

    Example:
        >>> from awdlib.environment import choose_device
        >>> choose_device("cpu")
        device(type='cpu')
        >>> choose_device("tpu")
        Traceback (most recent call last):
            ...
        ValueError: device is 'tpu'; it must be auto, cpu or cuda
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; it must be auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda', and torch finds no CUDA GPU here: take --device cpu, or auto")
    return torch.device(name)


def _commit() -> str | None:
    """The commit of the clone that this file lies in, "+" behind it where files differ; None outside a clone."""
    folder = Path(__file__).resolve().parent
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
