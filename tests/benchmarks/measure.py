"""One measurement, in a process of its own: prints it as one line of JSON.

    python tests/benchmarks/measure.py GROUP CONFIG PRECISION CANDIDATE DEVICE THREADS [quick]

`python tests/benchmarks` calls this for every measurement; the candidates' own code is imported only where it is run.
"""

import json
import sys
from importlib import import_module
from typing import Any

import torch
from cases import Case

from awdlib.allocator import keep_freed_memory
from awdlib.precision import tensor_float

MODULES = {
    "step": "steps",
    "growth": "steps",
    "evaluate": "evaluating",
    "cache": "lookups",
    "cells": "cells",
    "import": "importing",
    "corpus": "reading",
}


def measure(case: Case, threads: int) -> dict[str, Any]:
    """Measure one case, under the conditions that are the same for all."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    if case.candidate == "fastai" and case.group != "import":
        import_module("fastai.text.all")  # before memory is looked at: what it loads is not what it needs
    with tensor_float(case.precision):
        return import_module(MODULES[case.group]).measure(case)


if __name__ == "__main__":
    *key, device, threads = sys.argv[1:7]
    case = Case(*key, device, quick=sys.argv[7:] == ["quick"])
    print(json.dumps(measure(case, int(threads))))
