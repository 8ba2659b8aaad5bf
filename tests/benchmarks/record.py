"""The record of a benchmark: where it was made, and the seconds and bytes of every round; nothing that follows from it.

A record is continued only by the same code under the same conditions.
"""

import hashlib
import json
import statistics
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cases import Case

from awdlib.allocator import keep_freed_memory
from awdlib.checkpoints import write_atomically
from awdlib.environment import describe_environment, now

ROOT = Path(__file__).resolve().parents[2]
EACH_ROUND = ("seconds", "repetitions", "memory", "added", "bandwidth", "seconds_of_traffic")
INFORMATION = ("commit",)  # one that changes no code changes nothing here: ``sources`` says what the code was


def conditions(device: str, quick: bool) -> dict[str, Any]:
    """Machine, versions, threads and code: what has to be the same for all measurements of a record."""
    return describe_environment(device) | {
        "allocator": "keeps freed memory" if keep_freed_memory() else "the system's",
        "fastai": version("fastai") if find_spec("fastai") else None,
        "sources": _fingerprint(),
        "quick": quick,
    }


def _fingerprint() -> str:
    """A hash of the library's and the benchmarks' own code, also where no commit can be told."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "awdlib").rglob("*.py"), *(ROOT / "tests" / "benchmarks").glob("*.py")]):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def begin(path: Path, conditions: dict[str, Any], fresh: bool) -> dict[str, Any]:
    """The record at a path, to be gone on with, or a new one. What was missing then, such as a peer, may be there now.

    Raises:
        ValueError: what is there was not made under these conditions.
    """
    if fresh or not path.exists():
        return {"date": now(), "environment": conditions, "measurements": []}
    record = read(path)
    before = {name: value for name, value in record["environment"].items() if value is not None}
    differing = [name for name in before if name not in INFORMATION and before[name] != conditions.get(name)]
    if differing:
        there = ", ".join(f"{name} {before[name]}, now {conditions.get(name)}" for name in differing)
        raise ValueError(f"{path} was not made here and now ({there}): --fresh starts it over, --out names another")
    return record | {"environment": conditions}


def read(path: Path) -> dict[str, Any]:
    """The record at a path.

    Raises:
        ValueError: there is none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {name: record[name] for name in ("date", "environment", "measurements")}
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}): measure first, or name a record with --out") from None
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{path} is not a record of benchmarks: --fresh starts it over, --out names another") from None


def write(path: Path, record: dict[str, Any]) -> None:
    """Write it whole or not at all, a measurement on each line."""
    head = json.dumps({"date": record["date"], "environment": record["environment"]}, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(measurement) for measurement in record["measurements"])
    write_atomically(path, f'{head},\n "measurements": [\n  {lines}\n ]\n}}\n'.encode())


def find(record: dict[str, Any], case: Case) -> dict[str, Any] | None:
    """What is known of a case."""
    return next((one for one in record["measurements"] if case.key.items() <= one.items()), None)


def rounds_done(record: dict[str, Any], case: Case) -> int:
    """How often a case has been measured."""
    return len((find(record, case) or {}).get("seconds", []))


def add(record: dict[str, Any], case: Case, result: dict[str, Any]) -> None:
    """Add a round to a case; its median follows."""
    found = _entry(record, case)
    for name, value in result.items():
        if name in EACH_ROUND:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    found["median"] = statistics.median(found["seconds"])
    record["date"] = now()


def add_obstacle(record: dict[str, Any], case: Case, reason: str) -> None:
    """Say why there is no measurement of a case, unless there is one."""
    if not rounds_done(record, case):
        _entry(record, case)["not_measured"] = reason


def _entry(record: dict[str, Any], case: Case) -> dict[str, Any]:
    found = find(record, case)
    if found is None:
        found = dict(case.key)
        record["measurements"].append(found)
    found.pop("not_measured", None)
    return found
