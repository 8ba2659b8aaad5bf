"""``python -m awdlib``: every command, a module a group.

Every mistake of the user's ends in one line and exit status 2; an interrupted run in a checkpoint and status 130.
"""

import argparse
import errno
import io
import os
import sys
import warnings
from typing import NoReturn

from awdlib.allocator import out_of_memory
from awdlib.cli import ablating, comparing, evaluating, generating, reproducing, training
from awdlib.cli.training import STATUS
from awdlib.stops import INTERRUPTED

BROKEN_PIPE = 141  #: exit status where nobody reads what is written any more; a shell's 128 and SIGPIPE


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; None takes the program's own.

    Returns:
        the exit status.
    """
    options = build_parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log on disk has each epoch as it ends, as a terminal has
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _say(f"warning: {message}")
            status = options.command(options)
        sys.stdout.flush()  # a full disk is noticed here, not after the last line of this program
        return status
    except BrokenPipeError:  # `| head` has read enough
        _leave_stdout()
        return BROKEN_PIPE
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("AWDLIB_DEBUG") or not (complaint := _complaint(error)):
            raise
        _say(complaint)
        return 2
    except KeyboardInterrupt:  # outside of training, which stops between two updates and saves
        _say("interrupted")
        return STATUS[INTERRUPTED]


def _say(line: str) -> None:
    print(f"awdlib: {' '.join(line.splitlines())}", file=sys.stderr)


def _leave_stdout() -> None:
    """Write nowhere from now on, or Python would complain once more, on leaving."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _complaint(error: Exception) -> str:
    """An error as the one line that the user is told; empty if it is not the user's, but a mistake of this library."""
    if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
        _leave_stdout()
        return f"cannot write the output ({error.strerror}): free some space, or send it elsewhere"
    if isinstance(error, ValueError | OSError):
        return str(error)
    return "out of memory: lower batch_size or bptt, or take a smaller model" if out_of_memory(error) else ""


class _OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"awdlib: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the page of the command line in the book is made from it."""
    parser = _OneLineParser(prog="python -m awdlib", description="AWD-LSTM, piece by piece.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (training, evaluating, generating, ablating, comparing, reproducing):
        group.add_commands(commands)
    return parser
