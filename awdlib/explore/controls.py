"""What a reader can turn: a slider, a choice, a switch. Plain data; page and notebook each draw them their way."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np

from awdlib import _require as require

MAX_STEPS = 401  #: positions of a slider
_SHOWN = 8  # values that a message lists


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
        """One of the values as a reader sees it, with its unit: "1 step", "2 steps".

        Args:
            value: one of ``values``.
        """
        one = value in (1, -1) and len(self.unit) > 2 and self.unit.endswith("s")
        return f"{self.texts[self.values.index(value)]} {self.unit[:-1] if one else self.unit}".strip()


def _decimals(*numbers: float) -> int:
    """Digits after the point that write all these numbers exactly (at most 6)."""
    exponents = [Decimal(repr(round(float(number), 6))).normalize().as_tuple().exponent for number in numbers]
    return max(0, *(-exponent for exponent in exponents if isinstance(exponent, int)))


def _written(number: str) -> str:
    """With the sign for minus and not a hyphen, which would be smaller than a plus."""
    return number.replace("-", "\N{MINUS SIGN}")


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
    texts = tuple(_written(f"{v:,.{places}f}") for v in values)
    _require_different("a slider", values)
    return _made("slider", values, value if whole else round(value, 6), texts, label, symbol, unit)


def steps(values: Sequence[float], value: float, *, label: str = "", symbol: str = "", unit: str = "") -> Control:
    """A slider over listed values, for scales that are not linear.

    Args:
        values: the positions, in order.
        value: where it stands at first.
        label, symbol, unit: what is written beside it.

    Raises:
        ValueError: no list of numbers, fewer than two values, one of them twice, or ``value`` not among them.

    Example:
        >>> from awdlib.explore import steps
        >>> steps([0.00005, 0.1, 30, 1000], 30, label="learning rate").texts
        ('0.00005', '0.1', '30', '1,000')
    """
    if not isinstance(values, Iterable):
        raise ValueError(f"the values of steps() are {require.shown(values)}; give a list of numbers")
    listed = tuple(given.item() if isinstance(given, np.generic) else given for given in values)
    for given in listed:
        require.number("a slider's value", given)
    _require_different("steps()", listed)
    rounded = [Decimal(f"{v:g}") for v in listed]  # six digits count; a Decimal is written without an exponent
    texts = tuple(_written(f"{v:,f}") for v in rounded)
    return _made("slider", listed, value, texts, label, symbol, unit)


def choice(options: Mapping[Any, str] | Sequence[Any], value: Any, *, label: str = "") -> Control:
    """One of a few options, from a list to choose from.

    Args:
        options: the values, or a mapping from each value to how it is written.
        value: the one chosen at first.
        label: what is written beside it.

    Raises:
        ValueError: one string, no list, fewer than two options, one of them twice or one that can change, as a list
            can; or ``value`` not among them.

    Example:
        >>> from awdlib.explore import choice
        >>> control = choice({"lstm": "LSTM", "gru": "GRU"}, "gru")
        >>> control.value, control.text("gru")
        ('gru', 'GRU')
    """
    if isinstance(options, str):
        raise ValueError(f"the options are one string, {options!r}; give a list or a mapping of them")
    if not isinstance(options, Iterable):
        raise ValueError(f"the options are {require.shown(options)}; give a list or a mapping of them")
    values = tuple(options)
    texts = options.values() if isinstance(options, Mapping) else values
    _require_different("a choice", values)
    return _made("choice", values, value, tuple(str(text) for text in texts), label)


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
    return Control(kind, values, _standing(f"the {kind}", value, values), texts, label, symbol, unit)


def _require_different(maker: str, values: tuple[Any, ...]) -> None:
    """Look whether there are several values, each of them once."""
    for value in values:
        try:
            hash(value)
        except TypeError:
            kind = type(value).__name__
            raise ValueError(f"{maker} cannot hold {require.shown(value)}, a {kind}: give numbers or strings") from None
    if len(set(values)) < 2:
        raise ValueError(f"{maker} needs at least two different values, got {require.shown(list(values))}")
    if len(set(values)) < len(values):
        twice = require.shown(next(value for value in values if values.count(value) > 1))
        raise ValueError(f"{maker} takes every value once, but {twice} is given twice: leave one out")


def _standing(what: str, value: Any, values: tuple[Any, ...]) -> Any:
    """The value, as it is written among those that a control can take."""
    if value not in values:
        few = values if len(values) <= _SHOWN else (*values[:3], "…", values[-1])
        raise ValueError(f"{what} cannot stand at {require.shown(value)}: choose one of {', '.join(map(str, few))}")
    return values[values.index(value)]


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


def require_free(maker: str, **arguments: Any) -> None:
    """Refuse controls where an argument of ``explorable`` or ``lab`` itself was meant.

    Args:
        maker: ``"explorable"`` or ``"lab"``.
        **arguments: its own, by name.

    Raises:
        ValueError: one of them is a control.

    Example:
        >>> from awdlib.explore.controls import require_free, switch
        >>> require_free("lab", title=switch(True))
        Traceback (most recent call last):
            ...
        ValueError: 'title' is an argument of lab itself: rename the function's parameter
    """
    for name, given in arguments.items():
        if isinstance(given, Control):
            raise ValueError(f"{name!r} is an argument of {maker} itself: rename the function's parameter")


def require_fit(function: Callable[..., Any], controls: Mapping[str, Any]) -> None:
    """Refuse controls that the function has no parameter for, and parameters that nothing is given for.

    Args:
        function: what is called with the controls' values as keywords. One that does not say what it takes, as some
            written in C do not, is left alone.
        controls: by name of the parameter.

    Raises:
        ValueError: a control too many, or one too few.

    Example:
        >>> from awdlib.explore.controls import require_fit, switch
        >>> def f(a, b=1): ...
        >>> require_fit(f, {"aa": switch(True)})
        Traceback (most recent call last):
            ...
        ValueError: 'aa' is no parameter of f: give controls for a, b
    """
    try:
        taken = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    name = getattr(function, "__name__", "<lambda>").replace("<lambda>", "the function")
    known = [part.name for part in taken if part.kind in (part.POSITIONAL_OR_KEYWORD, part.KEYWORD_ONLY)]
    if not any(part.kind == part.VAR_KEYWORD for part in taken):
        for control in (control for control in controls if control not in known):
            rest = f"give controls for {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"{control!r} is no parameter of {name}: {rest}")
    for part in (part for part in taken if part.default is part.empty):
        if part.kind == part.POSITIONAL_ONLY:
            raise ValueError(f"parameter {part.name!r} of {name} takes no keyword: leave out the / behind it")
        if part.name in known and part.name not in controls:
            raise ValueError(f"parameter {part.name!r} of {name} has no control and no default: give it one")


def placed(controls: Mapping[str, Control], values: Mapping[str, Any]) -> dict[str, Any]:
    """Where all controls stand.

    Args:
        controls: by name of the parameter.
        values: of some of them; the others stand where they stood at first.

    Raises:
        ValueError: there is no control of this name, or it cannot stand there.

    Example:
        >>> from awdlib.explore.controls import placed, steps, switch
        >>> controls = {"layers": steps([1, 3], 1), "tied": switch(True)}
        >>> placed(controls, {"layers": 3})
        {'layers': 3, 'tied': True}
        >>> placed(controls, {"layers": 2})
        Traceback (most recent call last):
            ...
        ValueError: control 'layers' cannot stand at 2: choose one of 1, 3
    """
    if unknown := [name for name in values if name not in controls]:
        remedy = f"choose among {', '.join(controls)}" if controls else "there are none"
        raise ValueError(f"there is no control {unknown[0]!r}: {remedy}")
    given = {name: _standing(f"control {name!r}", value, controls[name].values) for name, value in values.items()}
    return {name: control.value for name, control in controls.items()} | given


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
