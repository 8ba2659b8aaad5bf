"""How long one step of a recurrence takes on this machine, alone in a chain and beside all others at once."""

from collections.abc import Sequence
from typing import Any

from awdlib import _require as require
from awdlib.figures.style import BLUE, ORANGE, describe, use_style


def steps_figure(rows: Sequence[int], chain: Sequence[float], together: Sequence[float], machine: str) -> Any:
    """Microseconds a step against the rows of a step: in a chain, and all steps in one product (matplotlib).

    Args:
        rows: of a step, ascending.
        chain: microseconds a step where each waits for the one before.
        together: the same where all are multiplied at once.
        machine: what it was measured on, for the title.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there are not as many times as rows, or one is not positive.

    Example:
        >>> from awdlib.figures.one_step import steps_figure
        >>> steps_figure([1, 64], [20, 25], [0.5, 20], "this machine").get_label()
        'A step on this machine: with 1 row 20 µs in a chain and 0.50 at once, with 64 rows 25 and 20.'
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if not len(rows) == len(chain) == len(together) > 0:
        raise ValueError(
            f"there are {len(rows)} rows, {len(chain)} and {len(together)} times: give one time of each for each"
        )
    for name, values in (("rows", rows), ("chain", chain), ("together", together)):
        for value in values:
            require.number(name, value, "(0, inf)")
    with use_style():
        figure, axes = plt.subplots()
        for times, ink, marker in ((chain, ORANGE, "o"), (together, BLUE, "s")):
            axes.loglog(rows, times, color=ink, marker=marker)
        axes.annotate("in a chain", (rows[0], chain[0]), xytext=(0, 9), textcoords="offset points", color=ORANGE,
                      fontweight="bold")  # fmt: skip
        axes.annotate("all at once", (rows[0], together[0]), xytext=(6, -4), textcoords="offset points", color=BLUE,
                      fontweight="bold", va="top")  # fmt: skip
        low, high = min(*chain, *together), max(*chain, *together)
        axes.set(xlabel="rows of a step (the batch)", ylabel="µs a step", ylim=(low / 2.2, high * 2.2))
        axes.set_title(machine)
        axes.xaxis.set_major_locator(FixedLocator([*rows]))
        axes.xaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    words = f"{rows[0]} row{'s' if rows[0] > 1 else ''}"
    said = f"with {words} {_short(chain[0])} µs in a chain and {_short(together[0])} at once"
    if len(rows) > 1:
        said += f", with {rows[-1]} rows {_short(chain[-1])} and {_short(together[-1])}"
    return describe(figure, f"A step on {machine}: {said}.")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
