"""What a reader can turn: a slider, a choice, a switch. Plain data; page and notebook each draw them their way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import Any

from awdlib import _require as require

MAX_STEPS = 401  #: positions of a slider


@dataclass(frozen=True)
class Control:
    """One parameter of an interactive figure.

    Args:
        kind: ``"slider"``, ``"choice"`` or ``"switch"``.
        values: every value that the parameter can take, in the control's order.
        value: where it stands at first.
        texts: how each value is written.
        label: what the parameter is, ``"drop probability"``; by default its name.
        symbol: its letter in equations, ``"p"``.
        unit: what is written behind a value, ``"tokens"``.

    Example:
        `slider`, `choice` and `switch` make one, and check it:

        >>> from awdlib.explore import slider
        >>> control = slider(0, 1, 0.25, 0.5, unit="nats")
        >>> control.kind, control.value, control.text(0.25)
        ('slider', 0.5, '0.25 nats')
    """

    kind: str
    values: tuple[Any, ...]
    value: Any
    texts: tuple[str, ...]
    label: str = ""
    symbol: str = ""
    unit: str = ""

    @property
    def default(self) -> int:
        """Position of ``value`` among ``values``."""
        return self.values.index(self.value)

    def text(self, value: Any) -> str:
        """One of the values as a reader sees it, with its unit.

        Args:
            value: one of ``values``.
        """
        return f"{self.texts[self.values.index(value)]} {self.unit}".strip()


def _decimals(*numbers: float) -> int:
    """Digits after the point that write all these numbers exactly (at most 6)."""
    exponents = [Decimal(repr(round(float(number), 6))).normalize().as_tuple().exponent for number in numbers]
    return max(0, *(-exponent for exponent in exponents if isinstance(exponent, int)))


def slider(
    start: float, stop: float, step: float, value: float, *, label: str = "", symbol: str = "", unit: str = ""
) -> Control:
    """A slider over ``start, start + step, …, stop`` (both ends included).

    Args:
        start: the first position.
        stop: the last one.
        step: distance between neighbours; fewer steps make a lighter page.
        value: where it stands at first; one of the steps.
        label, symbol, unit: what is written beside it.

    Returns:
        A control whose values are ``int`` when start and step are.

    Raises:
        ValueError: not a number, step not positive, stop below start or off the grid, too many steps, value not on the
            grid.

    Example:
        >>> from awdlib.explore import slider
        >>> slider(0, 0.6, 0.2, 0.4).values, slider(5, 70, 5, 35).values[:3]
        ((0.0, 0.2, 0.4, 0.6), (5, 10, 15))
        >>> slider(0, 1, 0.3, 0.6)
        Traceback (most recent call last):
            ...
        ValueError: a slider from 0 in steps of 0.3 never meets 1: choose a stop that it meets
    """
    for name, given in {"start": start, "stop": stop, "step": step, "value": value}.items():
        require.number(f"a slider's {name}", given)
    if step <= 0:
        raise ValueError(f"a slider's step must be positive, got {step}")
    count = round((stop - start) / step)
    if stop < start or abs(start + count * step - stop) > 1e-6 * max(1.0, abs(stop)):
        raise ValueError(f"a slider from {start} in steps of {step} never meets {stop}: choose a stop that it meets")
    if count + 1 > MAX_STEPS:
        raise ValueError(f"a slider has at most {MAX_STEPS} positions, got {count + 1}: choose a step above {step}")
    whole = isinstance(start, int) and isinstance(step, int)
    places = _decimals(start, step)
    values = tuple(int(start + i * step) if whole else round(start + i * step, 6) for i in range(count + 1))
    texts = tuple(f"{v:.{places}f}" for v in values)
    return _made("slider", values, value if whole else round(value, 6), texts, label, symbol, unit)


def steps(values: Sequence[float], value: float, *, label: str = "", symbol: str = "", unit: str = "") -> Control:
    """A slider over listed values, for scales that are not linear.

    Args:
        values: the positions, in order.
        value: where it stands at first.
        label, symbol, unit: what is written beside it.

    Raises:
        ValueError: not numbers, fewer than two values, or ``value`` not among them.

    Example:
        >>> from awdlib.explore import steps
        >>> steps([0.1, 1, 10, 30], 10, label="learning rate").texts
        ('0.1', '1', '10', '30')
    """
    for given in values:
        require.number("a slider's value", given)
    return _made("slider", tuple(values), value, tuple(f"{v:g}" for v in values), label, symbol, unit)


def choice(options: Mapping[Any, str] | Sequence[Any], value: Any, *, label: str = "") -> Control:
    """One of a few options, from a list to choose from.

    Args:
        options: the values, or a mapping from each value to how it is written.
        value: the one chosen at first.
        label: what is written beside it.

    Raises:
        ValueError: one string, fewer than two options, or ``value`` not among them.

    Example:
        >>> from awdlib.explore import choice
        >>> control = choice({"lstm": "LSTM", "gru": "GRU"}, "gru")
        >>> control.value, control.text("gru")
        ('gru', 'GRU')
    """
    if isinstance(options, str):
        raise ValueError(f"the options are one string, {options!r}; give a list or a mapping of them")
    texts = options.values() if isinstance(options, Mapping) else options
    return _made("choice", tuple(options), value, tuple(str(text) for text in texts), label)


def switch(value: bool, *, label: str = "") -> Control:
    """On or off (``True`` or ``False``).

    Args:
        value: how it stands at first.
        label: what is written beside it.

    Raises:
        ValueError: ``value`` is not a bool.

    Example:
        >>> from awdlib.explore import switch
        >>> switch(True, label="averaging").texts
        ('off', 'on')
    """
    if not isinstance(value, bool):
        raise ValueError(f"a switch is True or False, got {value!r}")
    return _made("switch", (False, True), value, ("off", "on"), label)


def _made(
    kind: str, values: tuple[Any, ...], value: Any, texts: tuple[str, ...], label: str, symbol: str = "", unit: str = ""
) -> Control:
    for name, given in {"label": label, "symbol": symbol, "unit": unit}.items():
        require.text(f"a {kind}'s {name}", given)
    if len(set(values)) != len(values) or len(values) < 2:
        raise ValueError(f"a {kind} needs at least two different values, got {list(values)}")
    if value not in values:
        raise ValueError(f"the {kind} cannot stand at {value!r}: choose one of {', '.join(map(str, values))}")
    return Control(kind, values, values[values.index(value)], texts, label, symbol, unit)


def checked(controls: Mapping[str, Any]) -> dict[str, Control]:
    """The controls of a figure, each with a label; by default its name.

    Args:
        controls: by name of the parameter.

    Raises:
        ValueError: something else than a control was given.

    Example:
        >>> from awdlib.explore.controls import checked, switch
        >>> checked({"weight_drop": switch(True)})["weight_drop"].label
        'weight drop'
    """
    for name, control in controls.items():
        if not isinstance(control, Control):
            raise ValueError(f"{name} = {control!r} is no control: use slider(), steps(), choice() or switch()")
    return {n: c if c.label else replace(c, label=n.replace("_", " ")) for n, c in controls.items()}


def grid(controls: Mapping[str, Control]) -> list[dict[str, Any]]:
    """Every combination of values, the last control's changing fastest.

    Args:
        controls: by name of the parameter.

    Example:
        >>> from awdlib.explore.controls import grid, steps, switch
        >>> grid({"layers": steps([1, 3], 1), "tied": switch(True)})[:3]
        [{'layers': 1, 'tied': False}, {'layers': 1, 'tied': True}, {'layers': 3, 'tied': False}]
    """
    return [dict(zip(controls, values, strict=True)) for values in product(*(c.values for c in controls.values()))]
