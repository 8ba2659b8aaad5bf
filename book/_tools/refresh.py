"""Run the chapters again and store their outputs, normalised, so that a diff shows what changed and nothing else.

    python book/_tools/refresh.py [NAME ...]        all chapters, or those named (without .ipynb)

Chapters run with no corpora at hand and two threads, as in the tests. How long each one took goes into
data/runs/chapter-times.json, with its reading time, from which the chapter itself reads both.
"""

import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from awdlib import checkpoints
from awdlib.environment import describe_environment, now

BOOK = Path(__file__).resolve().parents[1]
TIMES = BOOK.parent / "data" / "runs" / "chapter-times.json"
FORMULAS_AND_LINKS = re.compile(r"\$\$.*?\$\$|\]\([^)]*\)", re.DOTALL)
WIDGET = "application/vnd.jupyter.widget-view+json"


def main() -> None:
    """Refresh the chapters named on the command line, or all."""
    os.environ.pop("AWDLIB_DATA", None)
    names = sys.argv[1:] or sorted(path.stem for path in BOOK.glob("*.ipynb"))
    for name in names:
        seconds = refresh(BOOK / f"{name}.ipynb")
        print(f"{name}: {seconds:.0f} s")
        note_times(name, seconds, reading_minutes(BOOK / f"{name}.ipynb"))


def refresh(path: Path) -> float:
    """Execute one notebook in place; returns the seconds that its cells took."""
    notebook = nbformat.read(path, as_version=4)
    began = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(BOOK)}},
    ).execute()
    seconds = time.perf_counter() - began
    normalise(notebook)
    checkpoints.write_atomically(
        path, (nbformat.writes(notebook) + "\n").encode()
    )
    return seconds


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Take out what differs between two runs without meaning anything, and widgets whose kernel is gone."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)


def reading_minutes(path: Path) -> int:
    """How long a chapter takes to read, in steps of five minutes: 130 words of prose or 15 lines of code a minute."""
    cells = nbformat.read(path, as_version=4).cells
    prose, code = (
        "\n".join(cell.source for cell in cells if cell.cell_type == kind)
        for kind in ("markdown", "code")
    )
    words = len(re.findall(r"\w+", FORMULAS_AND_LINKS.sub("", prose)))
    lines = sum(bool(line.strip()) for line in code.splitlines())
    return max(5, 5 * round((words / 130 + lines / 15) / 5))


def note_times(name: str, seconds: float, minutes: int) -> None:
    """Store how long a chapter runs and reads; small changes are noise, and would change the chapter's own output."""
    times = (
        json.loads(TIMES.read_text(encoding="utf-8")) if TIMES.exists() else {}
    )
    known = times.get(name, {"seconds": 0, "reading_minutes": 0})
    same_run = name in times and (
        0.7 < seconds / max(known["seconds"], 1) < 1.4
        or abs(seconds - known["seconds"]) < 5
    )
    if not same_run or minutes != known["reading_minutes"]:
        environment = {
            key: describe_environment()[key]
            for key in ("cpu", "cores", "torch")
        }
        times[name] = {
            "seconds": known["seconds"] if same_run else round(seconds),
            "reading_minutes": minutes,
            "date": now(),
            "environment": environment,
        }
        checkpoints.write_json(TIMES, dict(sorted(times.items())))
        print(
            f"{name}: noted its new times; refresh it once more, since it prints them"
        )


if __name__ == "__main__":
    main()
