"""Telling an answer from an empty cell."""

from collections.abc import Callable
from typing import Any

from awdlib.contracts import Report


class YourTurn(Report):
    """What a check returns where nothing has been answered yet."""

    @property
    def kept(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "your turn: fill in the cell and run it again"


YOUR_TURN = YourTurn(())


def is_empty(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function has no body yet: it returns None, and does not fail."""
    try:
        return function(*arguments) is None
    except Exception:  # a body that fails is an answer, and its check will say what is wrong with it
        return False
