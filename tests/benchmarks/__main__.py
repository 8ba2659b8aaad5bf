"""How fast the library is, beside others and beside what the machine could do.

python tests/benchmarks                      everything; an interrupted run goes on where it was
python tests/benchmarks step/ptb-40 cache    a configuration and a group
python tests/benchmarks --table              what is on record
python tests/benchmarks --quick              whether all works, in a minute; its figures mean nothing
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

import growth
import readme
import record as records
import table
import torch
from cases import GROUPS, plan
from running import run, worker

from awdlib.environment import choose_device

INTERRUPTED = 130


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"benchmarks: {message} (see --help)\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = _OneLineParser(
        prog="python tests/benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    named = f"a group ({', '.join(GROUPS)}) or a configuration of it"
    parser.add_argument("wanted", nargs="*", metavar="GROUP[/CONFIG]", help=f"{named}; default: all")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=_positive, help="of each comparison; default: 7, of a quick look 2")
    parser.add_argument("--threads", type=_positive, default=torch.get_num_threads(), help="default: one a core")
    parser.add_argument("--out", type=Path, metavar="RECORD.json", help="default: data/benchmarks/DEVICE.json")
    parser.add_argument("--fresh", action="store_true", help="start the record over")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition; kept in _build")
    parser.add_argument("--table", action="store_true", help="print the record's tables and measure nothing")
    parser.add_argument("--readme", action="store_true", help="write the records' tables into the README, likewise")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    options = parse(arguments)
    try:
        _do(options)
    except (ValueError, OSError) as error:
        if os.environ.get("AWDLIB_DEBUG"):
            raise
        print(f"benchmarks: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def _do(options: argparse.Namespace) -> None:
    if options.wanted and (options.table or options.readme):
        raise ValueError(f"tables are of whole records: leave out {' '.join(options.wanted)}")
    if options.readme:
        return readme.write()
    device = choose_device(options.device).type
    folder = records.ROOT / "_build" / "benchmarks" if options.quick else readme.FOLDER
    path = options.out or folder / f"{device}.json"
    if not options.table:
        _measure(options, device, path)
    print(table.tables(records.read(path)), end="")


def _measure(options: argparse.Namespace, device: str, path: Path) -> None:
    cases = plan(options.wanted, device, options.quick)
    torch.set_num_threads(options.threads)
    record = records.begin(path, records.conditions(device, options.quick), options.fresh)
    path.parent.mkdir(parents=True, exist_ok=True)
    run(path, record, cases, options.rounds or (2 if options.quick else 7), worker(options.threads))
    growth.draw(record, readme.picture_of(path))


if __name__ == "__main__":
    sys.exit(main())
