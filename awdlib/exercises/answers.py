"""What the checks share: telling an answer from an empty cell and from an error, and looking at numbers."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from awdlib.contracts import Promise, Report


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


def raised(text: str, error: Exception, remedy: str = "") -> Promise:
    """The promise that the reader's code broke by raising an error: a line that says so stands for the traceback.

    Args:
        text: what was promised.
        error: what was raised.
        remedy: what to do about it, where that is known.

    Example:
        >>> from awdlib.exercises.answers import raised
        >>> raised("a long text", OverflowError("math range error"), "take the mean of the logarithms").hint
        'it raised OverflowError: math range error; take the mean of the logarithms'
    """
    hint = f"it raised {type(error).__name__}: {error}"
    return Promise(text, False, f"{hint}; {remedy}" if remedy else hint)


def look_at_numbers(
    function: Callable[..., Any],
    cases: Iterable[tuple[str, tuple[Any, ...], float]],
    is_right: Callable[[float, float], bool],
    hint: Callable[..., str],
) -> Report:
    """Ask a function for one number in each case; the first error that it raises ends the report.

    Args:
        function: the reader's; gets copies, which it may change.
        cases: of each its name, what the function is asked with, and the right number.
        is_right: ``is_right(given, right)``, whether a number counts as the right one.
        hint: ``hint(given, right, *asked)``, what to say of a number that does not.

    Example:
        >>> from awdlib.exercises.answers import look_at_numbers
        >>> cases = [("a pair", ([1.0, 3.0],), 2.0), ("nothing", ([],), 0.0)]
        >>> look_at_numbers(lambda x: sum(x) / len(x), cases, lambda given, right: given == right, lambda *_: "divide")
        ✓ a pair
        ✗ nothing
            hint: it raised ZeroDivisionError: division by zero
    """
    found: list[Promise] = []
    for text, asked, right in cases:
        try:
            given = float(function(*copy.deepcopy(asked)))
        except Exception as error:  # whatever a reader's code may raise
            return Report((*found, raised(text, error)))
        found.append(Promise(text, is_right(given, right), hint(given, right, *asked)))
    return Report(tuple(found))
