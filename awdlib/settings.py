"""``--set field=value``: settings by name, parsed by the type of the field they change."""

import difflib
from collections.abc import Iterable
from dataclasses import Field, fields, replace
from typing import Any, get_args

from awdlib import _require as require
from awdlib.model import ModelConfig
from awdlib.training import TrainConfig

_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def apply_settings(
    settings: Iterable[str], model: ModelConfig, training: TrainConfig
) -> tuple[ModelConfig, TrainConfig]:
    """Both configurations with each ``field=value`` applied to the one that has the field.

    Args:
        settings: such strings, in order; "none" unsets a field that is None unless set.
        model: sizes and dropouts; its vocab_size comes from the corpus and is no setting.
        training: how to train.

    Returns:
        the changed copies.

    Raises:
        ValueError: not of that form, no such field, given twice, or a value of the wrong type or out of range.

    Example:
        >>> from awdlib.model import ModelConfig
        >>> from awdlib.settings import apply_settings
        >>> from awdlib.training_config import TrainConfig
        >>> model, training = apply_settings(["dropout_weight=0", "lr=10"], ModelConfig(), TrainConfig())
        >>> model.dropout_weight, training.lr
        (0.0, 10.0)
        >>> apply_settings(["dropout_wieght=0"], model, training)
        Traceback (most recent call last):
            ...
        ValueError: there is no setting 'dropout_wieght'; did you mean 'dropout_weight'?
    """
    require.texts("settings", settings)
    seen: dict[str, str] = {}
    model_fields = {field.name: field for field in fields(ModelConfig) if field.name != "vocab_size"}
    train_fields = {field.name: field for field in fields(TrainConfig)}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"setting {setting!r} must have the form FIELD=VALUE")
        if name in seen:
            raise ValueError(f"setting {name} is given twice, as {seen[name]!r} and as {text!r}: leave one out")
        seen[name] = text
        if name in model_fields:
            model = replace(model, **{name: _parse(model_fields[name], text)})
        elif name in train_fields:
            training = replace(training, **{name: _parse(train_fields[name], text)})
        else:
            raise ValueError(f"there is no setting {name!r}{suggest(name, [*model_fields, *train_fields])}")
    return model, training


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known one, or all of them.

    Args:
        name: what was asked for.
        known: what there is.

    Example:
        >>> from awdlib.settings import suggest
        >>> suggest("tou", ["toy", "ptb"]), suggest("x", ["toy", "ptb"])
        ("; did you mean 'toy'?", '; choose one of toy, ptb')
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose one of {', '.join(known)}"


def _parse(field: Field, text: str) -> Any:
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    kind = (get_args(field.type) or (field.type,))[0]  # of an optional one, the kind beside None
    if text.lower() == "none" and field.default is None:
        return None
    try:
        return _SWITCHES[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"setting {field.name} is {text!r}; it must be {kinds[kind]}") from None
