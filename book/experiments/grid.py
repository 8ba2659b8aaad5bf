"""What experiments share: their options, a record that an interrupted run goes on with, several cells at a time."""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from awdlib import checkpoints
from awdlib.environment import describe_environment, now

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"


def command_line(
    text: str, out: Path, *, epochs: int, of: str = "", jobs: int | None = None
) -> argparse.ArgumentParser:
    """The options of an experiment, with their defaults; a script adds those that are its own.

    ``text`` is the script's, whose first line is what ``--help`` begins with; ``of`` says which runs the epochs are
    of, if not of all. Without ``jobs``, how many runs go side by side, there is no such option.
    """
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=epochs, help=of)
    if jobs is not None:
        parser.add_argument(
            "--jobs", type=int, default=jobs, help="runs side by side"
        )
    parser.add_argument("--out", type=Path, default=out)
    return parser


def measure(
    path: Path,
    settings: dict[str, Any],
    cells: list[dict[str, Any]],
    run: Callable[..., dict[str, Any]],
    jobs: int,
) -> dict[str, Any]:
    """Run the cells that the record does not hold yet, and write it after each; returns it, its runs in their order.

    ``run`` takes a cell as keywords and returns what is kept of it, the cell's own values among it. A record of other
    settings is begun anew.
    """
    record = begun(path, settings) or settings | {
        "date": now(),
        "environment": describe_environment(),
        "runs": [],
    }
    runs = record["runs"]
    missing = [
        cell
        for cell in cells
        if not any(cell.items() <= one.items() for one in runs)
    ]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        started = [pool.submit(run, **cell) for cell in missing]
        for finished in tqdm(
            as_completed(started), total=len(started), unit="run"
        ):
            runs.append(finished.result())
            runs.sort(
                key=lambda one: [
                    cell.items() <= one.items() for cell in cells
                ].index(True)
            )
            checkpoints.write_json(path, record)
    return record


def begun(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """What an interrupted start of the same experiment left behind; None where there is nothing of these settings."""
    if not path.exists():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    same = all(record.get(name) == value for name, value in settings.items())
    return record if same else None


def rounded(value: Any) -> Any:
    """Six significant digits of every number in it that is no whole number: more would say nothing."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
