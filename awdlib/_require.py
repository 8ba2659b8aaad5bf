"""What a value must be where it enters the library; whatever is not raises a ValueError of one line.

The line names the value, the limit and the remedy. A bool is no number here; numpy's numbers are, and come back as
Python's own, so that records and checkpoints hold plain values. Of a tensor only kind, shape and device are looked
at, and never its numbers but by `known`: that would make a GPU wait.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, get_args, get_type_hints

import numpy as np
import torch
from torch import Tensor

_SPOKEN = {"(0, inf)": "must be positive and finite", "[0, inf)": "must be finite and cannot be negative"}


def whole_number(name: str, value: Any, minimum: int | None = None, maximum: int | None = None) -> int:
    """The value as an int.

    Raises:
        ValueError: it is not a whole number (2.0 is none either), or not from minimum to maximum.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} is {shown(value)}; it must be a whole number")
    if minimum is not None and value < minimum:
        limit = "it cannot be negative" if minimum == 0 else f"it must be at least {minimum}"
        raise ValueError(f"{name} is {value}; {limit}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} is {shown(value)}; it must be at most {maximum}")
    return int(value)


def number(name: str, value: Any, interval: str = "(-inf, inf)", why: str = "") -> float:
    """The value as a float.

    Args:
        name: what to call it.
        value: an int or a float, Python's or numpy's.
        interval: where it must lie, as it is written in mathematics: "[0, 1)" holds 0 and not 1.
        why: what else to say of that limit.

    Raises:
        ValueError: it is not a number, or outside; nan lies in no interval.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{name} is {shown(value)}; it must be a number")
    low, high = _ends(interval)
    above = value > low or (value == low and interval[0] == "[")
    below = value < high or (value == high and interval[-1] == "]")
    if not (above and below):
        limit = "must be a finite number" if low == -math.inf else _SPOKEN.get(interval, f"must lie in {interval}")
        raise ValueError(f"{name} is {value}; it {limit}{why}")
    return float(value)


@lru_cache
def _ends(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def switch(name: str, value: Any) -> bool:
    """The value, a bool.

    Raises:
        ValueError: it is anything else; "no" counts as true in Python.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {shown(value)}; it must be True or False")
    return value


def text(name: str, value: Any) -> str:
    """The value, a str.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} is {shown(value)}; it must be a string")
    return value


def texts(name: str, value: Any) -> list[str]:
    """The value, several strings, as a list.

    Raises:
        ValueError: it is one string, whose letters Python would take for them, or one of them is no string.
    """
    if isinstance(value, str):
        raise ValueError(f"{name} is one string, {shown(value)}; it must be a list of them: use .split()")
    return [text(f"one of {name}", part) for part in value]


_KINDS: dict[type, Callable[[str, Any], Any]] = {int: whole_number, float: number, bool: switch, str: text}


def declared_types(config: Any) -> None:
    """Hold each field of a dataclass against its declared type, and store numbers as Python's own.

    Raises:
        ValueError: a field has a value of another type.
    """
    for name, declared in get_type_hints(type(config)).items():
        value, kinds = getattr(config, name), get_args(declared) or (declared,)
        if not (value is None and type(None) in kinds):
            object.__setattr__(config, name, _KINDS[kinds[0]](name, value))  # frozen once it is made


def sizes(name: str, value: Any) -> None:
    """Look whether the value is the shape of a tensor: whole numbers, none of them negative.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, tuple | list):
        raise ValueError(f"{name} is {shown(value)}; it must be a tuple of sizes")
    for size in value:
        whole_number(f"a size in {name}", size, 0)


def floats(name: str, value: Any, layout: str = "") -> None:
    """Look whether the value is a tensor of floating-point numbers, laid out as ``layout`` says.

    Args:
        name: what to call it.
        value: the tensor.
        layout: its dimensions by name, "(seq_len, batch, features)"; empty if any will do.

    Raises:
        ValueError: it is not.
    """
    tensor(name, value, layout)
    if not value.is_floating_point():
        raise ValueError(f"{name} holds {value.dtype}; it must hold floating-point numbers: use .float()")


def token_ids(name: str, value: Any, layout: str) -> None:
    """Look whether the value is a tensor of int64, laid out as ``layout`` says; `floats` explains the layout.

    Raises:
        ValueError: it is not.
    """
    tensor(name, value, layout)
    if value.dtype != torch.int64:
        raise ValueError(f"{name} holds {value.dtype}; token ids are torch.int64: use .long()")


def known(name: str, ids: Tensor, size: int) -> None:
    """Look whether all token ids are among ``size`` words. The one check that looks at numbers: a GPU waits.

    Raises:
        ValueError: one is negative, or too large.
    """
    if torch.compiler.is_compiling():  # it would break the graph
        return
    low, high = (int(edge) for edge in ids.aminmax()) if ids.numel() else (0, 0)
    if low < 0 or high >= size:
        raise ValueError(
            f"{name} has ids from {low} to {high}; the vocabulary has 0 to {size - 1}: use its own encode()"
        )


def tensor(name: str, value: Any, layout: str = "") -> None:
    """Look whether the value is a tensor, laid out as ``layout`` says; see `floats`.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} is {shown(value)}; it must be a tensor")
    if layout and value.dim() != layout.count(",") + (not layout.endswith(",)")):
        raise ValueError(f"{name} has shape {tuple(value.shape)}; it must be {layout}")


def shape(name: str, value: Tensor, expected: Sequence[int], why: str) -> None:
    """Look whether a tensor has exactly this shape.

    Raises:
        ValueError: it has not; ``why`` says where the expected one comes from.
    """
    if not isinstance(value, Tensor) or tuple(value.shape) != tuple(expected):
        raise ValueError(f"{name} is {shown(value)}; it must have shape {tuple(expected)}: {why}")


def same_device(name: str, value: Tensor, other: str, beside: Tensor) -> None:
    """Look whether two tensors lie on one device.

    Raises:
        ValueError: they do not.
    """
    if value.device != beside.device:
        raise ValueError(f"{name} is on {value.device} and {other} on {beside.device}: move it there with .to()")


def alike(name: str, value: Tensor, other: str, beside: Tensor) -> None:
    """Look whether two tensors can be multiplied: one device, and, where autocast does not see to it, one dtype.

    Raises:
        ValueError: they cannot.
    """
    same_device(name, value, other, beside)
    if value.dtype != beside.dtype and not torch.is_autocast_enabled(value.device.type):
        raise ValueError(f"{name} holds {value.dtype} and {other} {beside.dtype}: bring both to one with .to()")


def generator(value: Any, device: torch.device | str) -> None:
    """Look whether the value is a generator for this kind of device, or None.

    Raises:
        ValueError: it is not.
    """
    if value is None:
        return
    if not isinstance(value, torch.Generator):
        raise ValueError(f"generator is {shown(value)}; it must be a torch.Generator, or None: seed one by manual_seed")
    if value.device.type != torch.device(device).type:
        raise ValueError(f"generator is on {value.device} and the numbers are drawn on {device}: make one there")


def device(value: Any) -> torch.device:
    """The value as a device that is there; None is torch's default.

    Raises:
        ValueError: there is none of this name.
    """
    try:
        found = torch.get_default_device() if value is None else torch.device(value)
        of_a_tensor = isinstance(value, torch.device) and value.index is not None
        if found.type == "cuda" and not of_a_tensor:
            torch.cuda.get_device_properties(found)
    except (RuntimeError, TypeError, AssertionError):
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise ValueError(f"device is {shown(value)}; torch finds here: {', '.join(there)}") from None
    return found


def first_derivative(name: str) -> None:
    """Call it in a backward written by hand: a graph of it would silently miss terms of the second derivative.

    Raises:
        ValueError: a graph of the backward is being made.
    """
    if torch.is_grad_enabled():
        raise ValueError(f"{name} is differentiable once: leave out create_graph=True, or take torch's own functions")


def shown(value: Any, longest: int = 60) -> str:
    """The value for a message: one line, and not a long one."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value):
        return f"a {type(value).__name__} of {len(value)} tensors"
    line = " ".join(repr(value).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
