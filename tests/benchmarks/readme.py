"""The section "Speed" of the README, which is made from the records that lie in data/benchmarks."""

from pathlib import Path

import record as records
import table

README = records.ROOT / "README.md"
FOLDER = records.ROOT / "data" / "benchmarks"
NAMES = ("cpu", "cuda")  # records, in the order in which they are shown
BEGIN, END = "<!-- benchmarks -->\n", "<!-- /benchmarks -->\n"


def picture_of(path: Path) -> Path:
    """Where the figure of a record's growth lies."""
    return path.with_name(f"{path.stem}-growth.svg")


def speed() -> str:
    """The tables of all records there are."""
    parts = []
    for path in (FOLDER / f"{name}.json" for name in NAMES):
        if path.exists():
            picture = picture_of(path).relative_to(README.parent).as_posix()
            parts.append(table.tables(records.read(path), picture))
    return "\n".join(parts)


def split(text: str) -> tuple[str, str, str]:
    """The README before, between and behind the markers."""
    before, begin, rest = text.partition(BEGIN)
    between, end, behind = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{README.name} has no lines {BEGIN.strip()} and {END.strip()}: put them where tables belong")
    return before, between, behind


def write() -> None:
    """Put the tables between the markers."""
    before, _, behind = split(README.read_text(encoding="utf-8"))
    README.write_text(f"{before}{BEGIN}{speed()}{END}{behind}", encoding="utf-8")
