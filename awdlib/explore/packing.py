"""Many nearly equal figures in little space: what stays is kept once, what varies is quantised and written in base64.

Figures come as trees of dictionaries, lists and arrays. `pack` walks all of them at once; where they agree the
tree is written once, where they differ an entry ``{"path", "kind", …}`` says what belongs there at every grid point:

========  ==============================================================================  ==================
kind      how the numbers are held                                                        error
========  ==============================================================================  ==================
json      as they are (strings, short lists, parts of different shape)                    seven digits kept
table     1, 2, 4 or 8 bits each, naming one of at most 256 values (a mask takes 1 bit)     none
byte      one byte each between the smallest and the largest (a heat map's ``z``)         1/508 of the range
short     two bytes each, likewise                                                        1/131,068 of the range
float     single precision, for positive numbers spread over more than three decades      6e-8 of the value
========  ==============================================================================  ==================

Bytes are stored as they are: compressed ones could differ between machines, and stored outputs are compared.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

SMALL = 8  #: arrays of at most this many numbers are written out exactly

_DTYPES = {"table": "u1", "byte": "u1", "short": "<u2", "float": "<f4"}


def plain(value: Any) -> Any:
    """A plotly tree with every way of writing numbers made the same: numeric sequences become float arrays.

    plotly 5 leaves arrays, lists and tuples; plotly 6 and later write ``{"dtype", "bdata", "shape"}``.

    Args:
        value: of ``figure.to_plotly_json()``, or a part of it.

    Example:
        >>> from awdlib.explore.packing import plain
        >>> plain({"x": (1, 2), "y": {"dtype": "i1", "bdata": "Awc="}, "name": "line"})
        {'x': array([1., 2.]), 'y': array([3., 7.]), 'name': 'line'}
    """
    if isinstance(value, dict) and "bdata" in value:
        array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=np.dtype(value["dtype"]).newbyteorder("<"))
        shape = [int(n) for n in str(value["shape"]).split(",")] if "shape" in value else [-1]
        return array.reshape(shape).astype(float)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value.astype(float)
    if isinstance(value, (list, tuple, np.ndarray)):
        return _sequence(list(value))
    return value


def _sequence(items: list[Any]) -> Any:
    """A list as a float array if it holds only numbers (``None`` is a gap), else item by item."""
    nested = items and all(isinstance(item, (list, tuple, np.ndarray)) for item in items)
    cells = [cell for item in items for cell in item] if nested else items
    even = not nested or len({len(item) for item in items}) == 1
    numbers = any(cell is not None for cell in cells) and all(
        cell is None or (isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool)) for cell in cells
    )
    if even and numbers:
        return np.array([[*item] for item in items] if nested else items, dtype=float)
    return [plain(item) for item in items]


def jsonable(value: Any) -> Any:
    """Arrays as nested lists, not-a-number as ``None``, floats to seven digits: what JSON can hold.

    Args:
        value: a tree as `plain` returns it, or a part of it.

    Example:
        >>> import numpy as np
        >>> from awdlib.explore.packing import jsonable
        >>> jsonable({"y": np.array([1.0, np.nan, 1 / 3])})
        {'y': [1, None, 0.3333333]}
    """
    if isinstance(value, np.ndarray):
        return jsonable(value.tolist())
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, float):
        short = float(f"{value:.7g}")
        return None if np.isnan(value) else int(short) if short.is_integer() and abs(short) < 1e15 else short
    return value


def pack(trees: Sequence[Any]) -> dict[str, Any]:
    """Pack trees, one a grid point.

    Args:
        trees: results of `plain`, in grid order.

    Returns:
        ``{"base": tree, "varying": [entry, …]}``, ready for JSON; `unpack` undoes it.

    Raises:
        ValueError: there is an infinite number.

    Example:
        >>> import numpy as np
        >>> from awdlib.explore.packing import pack
        >>> packed = pack([{"name": "line", "y": slope * np.arange(9.0)} for slope in (1, 2, 3)])
        >>> packed["base"], [(entry["path"], entry["kind"]) for entry in packed["varying"]]
        ({'name': 'line', 'y': None}, [(['y'], 'table')])
    """
    varying: list[dict[str, Any]] = []
    return {"base": _common(trees, [], varying), "varying": varying}


def _common(items: Sequence[Any], path: list[str | int], varying: list[dict[str, Any]]) -> Any:
    first = items[0]
    if isinstance(first, dict) and all(isinstance(i, dict) and i.keys() == first.keys() for i in items):
        return {key: _common([i[key] for i in items], [*path, key], varying) for key in first}
    if _structured(first) and all(_structured(i) and len(i) == len(first) for i in items):
        return [_common([i[n] for i in items], [*path, n], varying) for n in range(len(first))]
    if isinstance(first, np.ndarray) and first.size > SMALL and all(_alike(i, first) for i in items):
        varying.append({"path": path, **_packed_arrays(np.stack(list(items)), path)})
        return None
    for item in items:
        _require_finite(item, path)
    texts = [json.dumps(jsonable(item)) for item in items]
    if len(set(texts)) == 1:
        return jsonable(first)
    kinds = list(dict.fromkeys(texts))
    rows = [kinds.index(text) for text in texts]
    varying.append({"path": path, "kind": "json", "values": [json.loads(kind) for kind in kinds], "index": rows})
    return None


def _structured(item: Any) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(part, dict) for part in item)


def _alike(item: Any, first: np.ndarray) -> bool:
    return isinstance(item, np.ndarray) and item.shape == first.shape


def _require_finite(item: Any, path: list[str | int]) -> None:
    parts = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    for key, part in parts:
        _require_finite(part, [*path, key])
    if isinstance(item, (float, np.ndarray)) and np.isinf(item).any():
        where = ".".join(map(str, path))
        raise ValueError(f"{where} holds an infinite number, which no page can draw: use nan for gaps")


def _packed_arrays(stack: np.ndarray, path: list[str | int]) -> dict[str, Any]:
    """Quantise one array of every grid point; equal ones are stored once."""
    _require_finite(stack, path)
    _, first_seen, rows = np.unique(stack.reshape(len(stack), -1), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first_seen)  # keep the order of the grid, so that the bytes do not depend on the sorting
    distinct = stack[first_seen[order]]
    entry = _quantised(distinct, coarse=path[-1] == "z")
    index = np.argsort(order)[rows.reshape(-1)]
    return {"shape": list(stack.shape[1:]), **entry, "index": index.tolist() if len(distinct) > 1 else []}


def _quantised(values: np.ndarray, coarse: bool) -> dict[str, Any]:
    table = np.unique(values)  # not-a-number, if any, comes last and once
    if len(table) <= 256:
        bits = next(bits for bits in (1, 2, 4, 8) if len(table) <= 2**bits)
        codes = _crowd(np.searchsorted(table, values).astype(np.uint8).ravel(), bits)
        known = [None if np.isnan(value) else float(value) for value in table]
        return {"kind": "table", "table": known, "bits": bits, **_bytes("table", codes)}
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if not coarse and low > 0 and high / low > 1e3:
        return {"kind": "float", **_bytes("float", values)}
    kind, top = ("byte", 254) if coarse else ("short", 65534)
    step = (high - low) / top
    codes = np.where(np.isnan(values), top + 1, np.round((np.nan_to_num(values, nan=low) - low) / step))
    return {"kind": kind, "low": low, "step": step, **_bytes(kind, codes)}


def _crowd(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes of that many bits, several to a byte, the first in the lowest bits."""
    each = 8 // bits
    whole = np.pad(codes, (0, -len(codes) % each)).reshape(-1, each)
    return np.bitwise_or.reduce(whole << np.arange(0, 8, bits, dtype=np.uint8), axis=1)


def _part(crowded: np.ndarray, bits: int) -> np.ndarray:
    """What `_crowd` was given, and the zeros that filled the last byte."""
    return (crowded[:, None] >> np.arange(0, 8, bits, dtype=np.uint8) & (2**bits - 1)).ravel()


def _bytes(kind: str, codes: np.ndarray) -> dict[str, str]:
    return {"bytes": base64.b64encode(codes.astype(_DTYPES[kind]).tobytes()).decode()}


def _row(entry: dict[str, Any], point: int) -> Any:
    if entry["kind"] == "json":
        return entry["values"][entry["index"][point]]
    codes = np.frombuffer(base64.b64decode(entry["bytes"]), dtype=_DTYPES[entry["kind"]])
    codes = _part(codes, entry["bits"]) if entry["kind"] == "table" else codes
    row = entry["index"][point] if entry["index"] else 0
    size = int(np.prod(entry["shape"]))
    codes = codes[row * size : (row + 1) * size].reshape(entry["shape"])
    if entry["kind"] == "table":
        return np.array([np.nan if v is None else v for v in entry["table"]], dtype=float)[codes]
    if entry["kind"] == "float":
        return codes.astype(float)
    gap = {"byte": 255, "short": 65535}[entry["kind"]]
    return np.where(codes == gap, np.nan, entry["low"] + entry["step"] * codes.astype(float))


def unpack(packed: dict[str, Any], point: int) -> Any:
    """The tree of one grid point, as the page's script rebuilds it.

    Args:
        packed: what `pack` returned, or the same read back from JSON.
        point: position in the grid.

    Example:
        >>> import numpy as np
        >>> from awdlib.explore.packing import pack, unpack
        >>> packed = pack([{"name": "line", "y": slope * np.arange(9.0)} for slope in (1, 2, 3)])
        >>> unpack(packed, 1)
        {'name': 'line', 'y': array([ 0.,  2.,  4.,  6.,  8., 10., 12., 14., 16.])}
    """
    tree = json.loads(json.dumps(packed["base"]))
    for entry in packed["varying"]:
        if not entry["path"]:
            return _row(entry, point)
        node = tree
        for key in entry["path"][:-1]:
            node = node[key]
        node[entry["path"][-1]] = _row(entry, point)
    return tree
