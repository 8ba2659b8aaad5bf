"""Telling an answer from an empty cell."""

from collections.abc import Callable
from typing import Any

from awdlib.contracts import Report


class YourTurn(Report):
    """What a check returns where nothing has been answered yet.

    Args:
        promises: none.

    Example:
        >>> from awdlib.exercises.answers import YOUR_TURN
        >>> YOUR_TURN
        your turn: fill in the cell and run it again
        >>> YOUR_TURN.kept
        False
    """

    @property
    def kept(self) -> bool:
        """Never: nothing was promised yet."""
        return False

    def __repr__(self) -> str:
        return "your turn: fill in the cell and run it again"


YOUR_TURN = YourTurn(())  #: the only one there is


def is_empty(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a function has no body yet: it returns None, and does not fail.

    Args:
        function: the reader's.
        arguments: what to call it with.

    Example:
        >>> from awdlib.exercises.answers import is_empty
        >>> def noise(x, p): ...
        >>> is_empty(noise, 1.0, 0.5), is_empty(lambda x, p: x * p, 1.0, 0.5)
        (True, False)
    """
    try:
        return function(*arguments) is None
    except Exception:  # a body that fails is an answer, and its check will say what is wrong with it
        return False
