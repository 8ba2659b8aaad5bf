"""What carrying the hidden state from window to window is worth, and where in a window it is worth it."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np

from awdlib.figures.style import colour, describe, use_style

NAMES = {"carried": "carried", "reset": "set to zero"}  #: what becomes of the state between two windows
INKS = {"carried": "with", "reset": "without"}  #: their roles


def carrying_figure(runs: Sequence[dict[str, Any]], floor: float) -> Any:
    """Perplexity by window length with the state carried or not, and the cost of not carrying by place (matplotlib).

    Args:
        runs: each with "window", "trained" ("carried" or "reset") and "read", by way of reading the held-out text
            ("valid" and "nats_by_position"), as ``data/runs/language-modelling.json`` has them. In the upper panel a
            model is read as it was trained; the lower one has the models of the longest window trained carrying.
        floor: the lowest perplexity that any model can be expected to reach.

    Returns:
        a matplotlib figure of two panels, whose label is its text alternative.

    Raises:
        ValueError: there are no runs.

    Example:
        >>> from awdlib.figures.carrying import carrying_figure
        >>> read = {
        ...     "carried": {"valid": 25.0, "nats_by_position": [3.2, 3.2]},
        ...     "reset": {"valid": 40.0, "nats_by_position": [4.2, 3.2]},
        ... }
        >>> runs = [{"window": 2, "trained": way, "read": read} for way in ("carried", "reset")]
        >>> carrying_figure(runs, floor=15.5).get_label()
        'Windows of 2: 25.0 carried, 40.0 set to zero. Zero costs 1.00 nats at first, 0.00 at last.'
    """
    import matplotlib.pyplot as plt

    if not runs:
        raise ValueError("runs is empty: give at least one carried and one reset run of each window")
    windows = sorted({run["window"] for run in runs})
    found = {
        (window, way): [r["read"][way]["valid"] for r in runs if (r["window"], r["trained"]) == (window, way)]
        for window in windows
        for way in NAMES
    }
    longest = [run["read"] for run in runs if (run["window"], run["trained"]) == (windows[-1], "carried")]
    cost = np.mean([np.subtract(*(one[way]["nats_by_position"] for way in ("reset", "carried"))) for one in longest], 0)
    with use_style():
        figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 6.0))
        for way, name in NAMES.items():
            ink, places = colour(INKS[way]), np.arange(len(windows))
            above.plot(places, [mean(found[window, way]) for window in windows], color=ink)
            for place, window in enumerate(windows):
                above.plot([place] * len(found[window, way]), found[window, way], "o", color=ink, markersize=6,
                           markerfacecolor="none")  # fmt: skip
            above.text(0.1, mean(found[windows[0], way]), name, color=ink, fontweight="bold", va="bottom")
        above.axhline(floor, color=colour("floor"), linestyle="--")
        above.text(len(windows) - 1, floor, "floor", color=colour("floor"), va="bottom", ha="right")
        above.set_xticks(range(len(windows)), windows)
        above.set(xlabel="window, in words", ylabel="validation perplexity", title="trained and read in the same way")
        below.set_xticks([1, *range(5, len(cost) + 1, 5)])
        below.bar(np.arange(1, len(cost) + 1), cost, color=colour("without"))
        below.set(xlabel=f"place in a window of {windows[-1]}", ylabel="extra surprise, nats",
                  title="trained carrying, then read from zero at every window")  # fmt: skip
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    each = "; ".join(
        f"windows of {window}: {', '.join(f'{mean(found[window, way]):.1f} {name}' for way, name in NAMES.items())}"
        for window in windows
    )
    return describe(
        figure,
        f"{each.capitalize()}. Zero costs {cost[0]:.2f} nats at first, {cost[-1]:.2f} at last.",
    )
