"""What a page can bear: how many figures and how many megabytes, and which control to coarsen where it is too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from awdlib.explore import packing, page
from awdlib.explore.controls import Control

LIMIT_MB = 0.8  #: what an explorable's data may weigh unless told otherwise, in megabytes
MAX_POINTS = 4000  #: combinations of values
SAMPLE = 16  #: figures by which the weight of too large a grid is judged


def require_few(tree: Callable[..., dict[str, Any]], controls: Mapping[str, Control], limit_mb: float) -> None:
    """Refuse a grid of too many figures, before they are computed.

    Args:
        tree: from values of the controls to a figure, as `awdlib.explore.figure.figure_tree` returns it.
        controls: by name of the parameter.
        limit_mb: what the data may weigh, in megabytes.

    Raises:
        ValueError: more than `MAX_POINTS` combinations; the message says about how many megabytes they would be.

    Example:
        >>> from awdlib.explore.controls import slider
        >>> from awdlib.explore.limits import require_few
        >>> require_few(lambda **values: values, {"p": slider(0, 1, 0.01, 0.5)}, limit_mb=0.8)
    """
    counts = [len(control.values) for control in controls.values()]
    total = math.prod(counts)
    if total <= MAX_POINTS:
        return
    places = np.unravel_index(np.linspace(0, total - 1, SAMPLE).astype(int), counts)
    points = [
        {name: control.values[at] for (name, control), at in zip(controls.items(), spot, strict=True)}
        for spot in zip(*places, strict=True)
    ]
    varying = packing.pack([tree(**point) for point in points])["varying"]
    megabytes = len(page.script_safe(varying)) / 1e6 * total / SAMPLE
    remedy = coarser(controls, min(MAX_POINTS / total, limit_mb / max(megabytes, 1e-9)))
    raise ValueError(
        f"{total:,} combinations of values, about {megabytes:.1f} MB; "
        f"the limits are {MAX_POINTS:,} and {limit_mb:g} MB: {remedy}"
    )


def require_light(data: str, controls: Mapping[str, Control], limit_mb: float) -> None:
    """Refuse figures that weigh too much.

    Args:
        data: the packed figures as they go into the page.
        controls: by name of the parameter.
        limit_mb: what they may weigh, in megabytes.

    Raises:
        ValueError: they weigh more; the message says how much.

    Example:
        >>> from awdlib.explore.controls import slider
        >>> from awdlib.explore.limits import require_light
        >>> require_light("x" * 2_000_000, {"p": slider(0, 1, 0.01, 0.5)}, limit_mb=0.8)
        Traceback (most recent call last):
            ...
        ValueError: the explorable weighs 2.00 MB, the limit is 0.8 MB: give 'p' at most 40 values in place of 101, or
        draw fewer points
    """
    megabytes = len(data) / 1e6
    if megabytes > limit_mb:
        remedy = coarser(controls, limit_mb / megabytes)
        raise ValueError(
            f"the explorable weighs {megabytes:.2f} MB, the limit is {limit_mb:g} MB: {remedy}, or draw fewer points"
        )


def coarser(controls: Mapping[str, Control], share: float) -> str:
    """Which control to give fewer values, and how many at most.

    Args:
        controls: by name of the parameter.
        share: part of all figures that may stay, below 1.

    Example:
        >>> from awdlib.explore.controls import slider, switch
        >>> from awdlib.explore.limits import coarser
        >>> coarser({"p": slider(0, 1, 0.01, 0.5), "tied": switch(True)}, share=0.3)
        "give 'p' at most 30 values in place of 101"
        >>> coarser({"tied": switch(True)}, share=0.3)
        'leave a control out'
    """
    sliders = {name: len(control.values) for name, control in controls.items() if control.kind == "slider"}
    if not sliders:
        return "leave a control out"
    name = max(sliders, key=lambda name: sliders[name])
    room = int(sliders[name] * share)
    if room >= 2:
        return f"give {name!r} at most {room} values in place of {sliders[name]}"
    others = ", ".join(repr(other) for other in sliders if other != name)
    return f"give {name!r} fewer values than its {sliders[name]}" + (f", and so {others}" if others else "")
