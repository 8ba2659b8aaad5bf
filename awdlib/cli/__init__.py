"""``python -m awdlib``: every command, a module a group.

Every mistake of the user's ends in one line and exit status 2; an interrupted run in a checkpoint and status 130.
"""

import argparse
import os
import sys
from typing import NoReturn

from awdlib.cli import comparing, evaluating, generating, training
from awdlib.cli.training import INTERRUPTED


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; None takes the program's own.

    Returns:
        the exit status.
    """
    options = build_parser().parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, OSError) as error:
        if os.environ.get("AWDLIB_DEBUG"):
            raise
        print(f"awdlib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # outside of training, which stops between two updates and saves
        print("awdlib: interrupted", file=sys.stderr)
        return INTERRUPTED


class _OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"awdlib: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the page of the command line in the book is made from it."""
    parser = _OneLineParser(prog="python -m awdlib", description="AWD-LSTM, piece by piece.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (training, evaluating, generating, comparing):
        group.add_commands(commands)
    return parser
