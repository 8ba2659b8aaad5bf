"""What the runs on ptb-100k add up to, as a record of its own: every difference with its spread, and the pilot.

    python -m awdlib reproduce cpu --records data/runs    the runs, hours on two cores
    python book/experiments/ptb_100k.py                   writes data/runs/ptb-100k/summary.json

Nothing is trained here. The pilot chose between two strengths of the dropouts by the validation text at seed 0, which
no comparison uses.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from grid import rounded

from awdlib import checkpoints
from awdlib.goals import GOALS, GROUPS
from awdlib.results import differences

RUNS = Path(__file__).resolve().parents[2] / "data" / "runs"
PILOT = GOALS["ptb-100k-pilot"].steps


def read(path: Path) -> dict[str, Any]:
    """A record."""
    return json.loads(path.read_text(encoding="utf-8"))


def pilot(runs: Path) -> list[dict[str, Any]]:
    """Each run of the pilot: its command, its dropouts, and what it reached on the validation text."""
    found = []
    for step in PILOT:
        record = read(runs / step.run / "record.json")
        found.append(
            {
                "command": step.command(),
                "dropouts": {
                    name: value
                    for name, value in record["model"].items()
                    if name.startswith("dropout_")
                },
                "valid": record["final_perplexity"]["valid"],
                "averaging": record["averaging"],
            }
        )
    return found


def summary(runs: Path) -> dict[str, Any]:
    """The whole record."""
    full = read(runs / "ptb-100k" / "full-1" / "record.json")
    return rounded(
        {
            "command": "python book/experiments/ptb_100k.py",
            "runs": f"python -m awdlib reproduce {' '.join(name for name in GROUPS['cpu'] if name.startswith('ptb-100k'))}",
            "size": {
                name: full[name]
                for name in ("corpus", "model", "parameters", "training")
            },
            "pilot": pilot(runs),
            "differences": [one.summary() for one in differences(runs)],
        }
    )


def main() -> int:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=RUNS)
    options = parser.parse_args()
    checkpoints.write_json(
        options.runs / "ptb-100k" / "summary.json", summary(options.runs)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
