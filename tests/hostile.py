"""What the tables of hostile input share: a call, and the one line that must answer it."""

import math
import re

import pytest

nan, inf = math.nan, math.inf


def table(cases):
    """A test's parameters from {what is wrong: (the call, what its one line must say)}."""
    return pytest.mark.parametrize(("call", "line"), [pytest.param(*case, id=name) for name, case in cases.items()])


def assert_refused(call, line):
    """The call raises a ValueError of one line, not a long one, in which ``line`` is found."""
    with pytest.raises(ValueError) as caught:
        call()
    said = str(caught.value)
    assert re.search(line, said), f"{said!r} does not say {line!r}"
    assert "\n" not in said and len(said) < 600
