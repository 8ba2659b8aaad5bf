"""Make what teaching/class.md and teaching/hub/ say of a class from what was measured: limits, tables, versions.

    python book/_tools/classroom.py                  renew the page and the files
    python book/_tools/classroom.py https://HUB      print a link for nbgitpuller to each chapter on that hub

data/runs/class-limits.json holds what each chapter needs (limits.py measures it), data/runs/class-trial.json what a
small hub did (teaching/hub/rehearse.py measured it). Versions are those of requirements.txt, the address that of
_config.yml.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from made import remade

from awdlib.chapters import CHAPTERS

BOOK = Path(__file__).resolve().parent.parent
ROOT = BOOK.parent
PAGE = BOOK / "teaching" / "class.md"
HUB = BOOK / "teaching" / "hub"
RUNS = ROOT / "data" / "runs"

HEADROOM = 1.25  #: for what students add to a chapter
OPEN = 2  #: chapters that a student has open at once: the last one's kernel is seldom shut down
CORES = 0.25  #: of a core that a student is sure of
SHARE = 0.5  #: of a class that works at the same time: an assumption
RESERVE = 4  #: GiB for the system, the hub and the proxy of one server
NODE_RESERVE = 2  #: GiB of a node that Kubernetes keeps for itself
NODE_CORES = 0.5  #: of a node's cores likewise
SYSTEM_DISK = 20  #: GiB for the system and the environment
STUDENT_DISK = 1  #: GiB a student: a clone, and what the student writes
CLASSES = (30, 100, 200)
NODES = ((4, 16), (8, 32), (16, 64), (32, 128))  #: cores, GiB

#: What a chapter imports, in the order of requirements.txt
NEEDED = (
    "torch numpy tqdm matplotlib plotly ipywidgets ipykernel ipython".split()
)


def run(name: str) -> dict[str, Any]:
    """A record by its name."""
    return json.loads((RUNS / f"{name}.json").read_text(encoding="utf-8"))


def peak(key: str = "memory") -> float:
    """The largest figure of any chapter."""
    return max(one[key] for one in run("class-limits")["chapters"].values())


def limits() -> dict[str, Any]:
    """What a student is sure of and what a student may take, from what was measured; memory in MiB, disk in GiB."""
    lab = run("class-limits")["server"]["lab"]["memory"]
    return {
        "memory guarantee": 128 * math.ceil((lab + peak()) / 128),
        "memory limit": 256 * math.ceil(HEADROOM * (lab + OPEN * peak()) / 256),
        "cores guarantee": CORES,
        "cores limit": 1,
        "disk": STUDENT_DISK,
    }


def start_seconds() -> float:
    """Seconds of a core until a student's first cell can run: the server, and a kernel that imports the library."""
    return sum(
        one["processor_seconds"]
        for one in run("class-limits")["server"].values()
    )


def server(students: int, at_once: int) -> tuple[int, int, int]:
    """Memory in GiB, cores and disk in GiB of one server for a class."""
    return (
        math.ceil(at_once * limits()["memory limit"] / 1024) + RESERVE,
        math.ceil(at_once * CORES),
        SYSTEM_DISK + students * STUDENT_DISK,
    )


def on_a_node(cores: int, memory: int) -> int:
    """How many students' guarantees fit on a node."""
    by_memory = (memory - NODE_RESERVE) * 1024 / limits()["memory guarantee"]
    return math.floor(min(by_memory, (cores - NODE_CORES) / CORES))


def table(*rows: tuple) -> str:
    """Rows of Markdown, the first being the head; all columns but the first are numbers."""
    head, *rest = rows
    line = ("---", *("---:" for _ in head[1:]))
    shown = (
        "| " + " | ".join(map(number, row)) + " |"
        for row in (head, line, *rest)
    )
    return "\n".join(shown)


def number(value: object) -> str:
    """A number with a comma at its thousands; anything else as it is."""
    return f"{value:,}" if isinstance(value, int) else str(value)


def chapter_table() -> str:
    """What each chapter needs; heads are short, so that the table fits a phone."""
    known = run("class-limits")["chapters"]
    return table(
        ("chapter", "memory", "own", "seconds"),
        *(
            (
                f"[{one.title}](../{one.name}.ipynb)",
                known[one.name]["memory"],
                known[one.name]["private"],
                round(known[one.name]["processor_seconds"]),
            )
            for one in CHAPTERS
            if one.name in known
        ),
    )


def server_table() -> str:
    """How large one server must be."""
    rows = (
        (f"{size}, {said}", at_once, *server(size, at_once))
        for size in CLASSES
        for said, at_once in (("half", round(size * SHARE)), ("all", size))
    )
    head = ("class", "at once", "memory, GiB", "cores", "disk, GiB")
    return table(head, *rows)


def node_table() -> str:
    """How many nodes of a cluster a class of 200 needs."""
    size = CLASSES[-1]
    half = round(size * SHARE)
    rows = (
        (
            f"{cores} cores, {memory} GiB",
            fits := on_a_node(cores, memory),
            math.ceil(half / fits),
            math.ceil(size / fits),
        )
        for cores, memory in NODES
    )
    return table(
        ("node", "students on it", f"nodes, {half}", f"nodes, {size}"), *rows
    )


def trial_table() -> str:
    """What a small hub did."""
    rows = (
        (
            one["students"],
            *(one["slowest_seconds"][step] for step in ("start", "pull")),
            round(one["slowest_seconds"]["run"]),
            one["memory_at_most"],
        )
        for one in run("class-trial")["rehearsals"]
    )
    head = ("students", "start, s", "pull, s", "run, s", "memory, MiB")
    return table(head, *rows)


def address() -> tuple[str, str]:
    """The repository and its branch, as _config.yml has them."""
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    found = re.search(r"^  url: (\S+)\n  branch: (\S+)$", text, re.M)
    assert found
    return found[1], found[2]


def link(hub: str, chapter: str) -> str:
    """What a student clicks: nbgitpuller fetches the repository and opens the chapter."""
    repository, branch = address()
    folder = repository.rpartition("/")[2]
    asked = {
        "repo": repository,
        "branch": branch,
        "urlpath": f"lab/tree/{folder}/book/{chapter}.ipynb",
    }
    query = urlencode(asked, quote_via=quote, safe="")
    return f"{hub.rstrip('/')}/hub/user-redirect/git-pull?{query}"


def shown_link() -> str:
    """The parts of a link, a line each, narrow enough for a page."""
    first, *rest = link("https://HUB", "lstm").replace("?", "&").split("&")
    signs = ("?", *("&" for _ in rest[1:]))
    lines = [
        first,
        *(f"  {sign}{part}" for sign, part in zip(signs, rest, strict=True)),
    ]
    return "\n".join(["```text", *lines, "```"])


def clone() -> str:
    """How the files come to a server."""
    repository = address()[0]
    folder = repository.rpartition("/")[2]
    lines = (
        f"git clone {repository}",
        f"cd {folder}/book/teaching/hub",
        "sudo sh tljh.sh ~/students.txt",
    )
    return "\n".join(["```text", *lines, "```"])


MADE = {
    "limits": chapter_table,
    "servers": server_table,
    "nodes": node_table,
    "trial": trial_table,
    "link": shown_link,
    "clone": clone,
}


def renewed(text: str) -> str:
    """The page with its made parts as they should be."""
    return remade(text, MADE)


def pins() -> dict[str, list[str]]:
    """The lines of requirements.txt by the package's name, without comments."""
    found: dict[str, list[str]] = {}
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        pin = line.partition("#")[0].strip()
        if pin:
            found.setdefault(pin.partition("==")[0], []).append(pin)
    return found


def refreshed(name: str, text: str) -> str:
    """A file of teaching/hub/ with versions, limits and address as they should be."""
    known = pins()
    if name == "requirements.txt":
        head = re.match(r"(?:#.*\n)+", text)
        assert head
        lines = (line for one in NEEDED for line in known[one])
        return head[0] + "\n".join(lines) + "\n"
    newest = {one: lines[0].split(";")[0] for one, lines in known.items()}

    def version(found: re.Match[str]) -> str:
        return newest.get(found[1], found[0])

    def limit(found: re.Match[str]) -> str:
        before, old, between, what = found.groups()
        unit = re.sub(r"[\d.]", "", old)
        return f"{before}{limits()[what]}{unit}{between}{what}"

    text = re.sub(r"\b([\w-]+)==[\w.]+", version, text)
    text = re.sub(
        r"(?m)^(.*[ ])([\d.]+(?:M|Gi)?)( # made: )([a-z ]+)$", limit, text
    )
    return re.sub(r"https://github\.com/[\w-]+/[\w-]+", address()[0], text)


def files() -> Iterator[Path]:
    """The files that a teacher takes as they are."""
    return (path for path in sorted(HUB.iterdir()) if path.is_file())


def main() -> None:
    """Print links for the hub named on the command line, or renew what is made."""
    if sys.argv[1:]:
        for one in CHAPTERS:
            print(f"{one.title}\n  {link(sys.argv[1], one.name)}")
        return
    made = {PAGE: renewed(PAGE.read_text(encoding="utf-8"))}
    made |= {
        path: refreshed(path.name, path.read_text(encoding="utf-8"))
        for path in files()
    }
    for path, new in made.items():
        if new != path.read_text(encoding="utf-8"):
            path.write_text(new, encoding="utf-8")
            print(f"renewed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
