"""Running the workers: one after another, the candidates in turn, the record written after each."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import record as records
from cases import GROUPS, Case, obstacle
from tqdm import tqdm

WORKER = Path(__file__).with_name("measure.py")


def schedule(record: dict[str, Any], alternatives: list[list[Case]], rounds: int) -> list[Case]:
    """What is left to do, in order: of each comparison A B C A B C …, less what the record has."""
    return [
        case
        for cases in alternatives
        for number in range(min(rounds, GROUPS[cases[0].group].rounds))
        for case in cases
        if records.rounds_done(record, case) <= number
    ]


def run(
    path: Path, record: dict[str, Any], alternatives: list[list[Case]], rounds: int, work: Callable[[Case], Any]
) -> None:
    """Measure what the record does not have yet, and write it after each measurement."""
    possible = []
    for cases in alternatives:
        for case in cases:
            if reason := obstacle(case):
                records.add_obstacle(record, case, reason)
        possible.append([case for case in cases if not obstacle(case)])
    records.write(path, record)
    with tqdm(schedule(record, list(filter(None, possible)), rounds), unit="process") as progress:
        for case in progress:
            progress.set_description(str(case))
            records.add(record, case, work(case))
            records.write(path, record)


def worker(threads: int) -> Callable[[Case], dict[str, Any]]:
    """Measures a case in a process of its own, with so many threads from its very beginning."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}

    def work(case: Case) -> dict[str, Any]:
        command = [*case.key.values(), case.device, str(threads), *(["quick"] if case.quick else [])]
        done = subprocess.run([sys.executable, WORKER, *command], env=environment, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
            raise ValueError(f"{case} failed ({last}): try measure.py {' '.join(command)} alone")
        return json.loads(done.stdout)

    return work
