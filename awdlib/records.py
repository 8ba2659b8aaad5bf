"""What a run's record must hold: looked at when it is read, so that nobody who uses it has to."""

import math
from typing import Any

from awdlib.model import ModelConfig
from awdlib.training_config import TrainConfig

_EPOCH = {"epoch": int, "train_perplexity": float, "valid_perplexity": float}
LAYOUT = {
    "status": str,
    "preset": str,
    "corpus": {"name": str, "floor": {}},
    "model": {},
    "parameters": int,
    "training": {},
    "epochs": [_EPOCH],
    "minutes": float,
    "averaging": (None, {"begun_after_epoch": int, "begun_by": str}),
    "best_epoch": (None, int),
    "final_perplexity": (None, {"valid": float, "test": float}),
}  #: a type, None, {name: layout}, [layout of each], or a tuple of any of these


def complaint(record: Any) -> str:
    """What is wrong with a record that was read.

    Args:
        record: plain values, as JSON gives them.

    Returns:
        one line; empty if nothing is wrong.

    Example:
        >>> from awdlib.records import complaint
        >>> complaint({"status": "finished"})
        "it has no 'preset'"
    """
    if wrong := _misfit(record, LAYOUT, "it"):
        return wrong
    try:
        ModelConfig(**record["model"])
        TrainConfig(**record["training"])
    except (TypeError, ValueError) as error:
        return str(error)
    if record["status"] == "finished" and record["final_perplexity"] is None:
        return "it is finished and has no final_perplexity"
    began = record["averaging"]
    if began and not 1 <= began["begun_after_epoch"] <= len(record["epochs"]):
        return "averaging began after an epoch that is not there"
    return ""


def _misfit(value: Any, layout: Any, name: str) -> str:
    """The first part that does not fit the layout, and how; empty if all do."""
    if isinstance(layout, tuple):
        return min((_misfit(value, one, name) for one in layout), key=len)
    if isinstance(layout, dict) and isinstance(value, dict):
        missing = [f"{name} has no {key!r}" for key in layout if key not in value]
        return next(filter(None, missing or (_misfit(value[key], layout[key], key) for key in layout)), "")
    if isinstance(layout, list) and isinstance(value, list):
        return next(filter(None, (_misfit(one, layout[0], name) for one in value)), "")
    if layout is float and isinstance(value, int | float) and not isinstance(value, bool):
        return "" if math.isfinite(value) else f"{name} is {value}"
    if isinstance(layout, type) and isinstance(value, layout) and isinstance(value, bool) == (layout is bool):
        return ""
    return "" if value is layout is None else f"{name} is of another kind"
