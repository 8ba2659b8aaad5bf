"""What has to be imported before a training can begin, beyond torch itself."""

import subprocess
import sys
from typing import Any

from cases import Case

PROGRAM = "import time, torch; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"
MODULES = {"awdlib": "awdlib.training", "fastai": "fastai.text.all"}


def measure(case: Case) -> dict[str, Any]:
    """Seconds of one import, in a Python that has done nothing yet; this one has imported parts of the library."""
    command = [sys.executable, "-c", PROGRAM.format(MODULES[case.candidate])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"tokens": 1, "seconds": float(done.stdout), "repetitions": 1}
