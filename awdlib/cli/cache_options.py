"""The continuous cache's options, the same wherever a command can mix it in."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from awdlib.cache import CacheConfig
from awdlib.runs import TUNED

OPTIONS = {"window": "--window", "flatness": "--theta", "weight": "--lambda"}  #: field of `CacheConfig` -> its option


def add_cache_options(command: argparse.ArgumentParser) -> None:
    """Add them; where they are left out, tuned values count, else the defaults.

    Args:
        command: the parser of a command that takes a run.
    """
    command.add_argument("--cache", action="store_true", help="mix in the continuous cache")
    command.add_argument("--window", type=int, help="positions that the cache remembers")
    command.add_argument("--theta", type=float, dest="flatness", help="how much likeness of the states counts")
    command.add_argument("--lambda", type=float, dest="weight", help="share of the cache in the probability")


def cache_settings(options: argparse.Namespace) -> CacheConfig | None:
    """What the options say, over what ``tune-cache`` left in the run's folder, over the defaults; None without cache.

    Args:
        options: as parsed.

    Raises:
        ValueError: a setting without --cache, or out of range.
    """
    if getattr(options, "only_when_full", False) and not options.cache:
        raise ValueError("--only-when-full is a setting of the cache, which is off: add --cache")
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    if given and not options.cache:
        raise ValueError(f"{OPTIONS[next(iter(given))]} is a setting of the cache, which is off: add --cache")
    return replace(_tuned(options.run), **given) if options.cache else None


def _tuned(run: Path) -> CacheConfig:
    path = run / TUNED
    if not path.exists():
        return CacheConfig()
    try:
        return CacheConfig(**json.loads(path.read_text(encoding="utf-8"))["settings"])
    except OSError as error:
        raise ValueError(f"cannot read {path} ({error.strerror}): delete it, or run tune-cache again") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{path} is damaged: delete it, or run tune-cache again") from None
