"""The tables of a record, in Markdown: the library's own figures, and how many times as long the others take."""

import statistics
from typing import Any

import growth
from cases import GROUPS

ABOUT = {
    "step": "One update in training: milliseconds of the library and of the limit, which is the matrix products "
    "alone; of the others, how many times as long they take. Traffic is what the memory of the machine needs for the "
    "bytes that no update can do without.",
    "evaluate": "Evaluation of the model for Penn Treebank: tokens a second, and how many times as long the others "
    "take.",
    "cache": "The continuous cache: tokens a second, how many times as long the usual loop takes, and the memory that "
    "each adds.",
    "cells": "One update in training, by cell: milliseconds of the library's LSTM; how many times as long its GRU "
    "takes, of equal width and of as many parameters, and the bare LSTM and GRU layers of torch.",
    "import": "Importing what trains a model, beyond torch: milliseconds; how many times as long fastai.text takes.",
    "corpus": "Reading a corpus: milliseconds, and how many times as long it takes word by word.",
}
A_SECOND = ("evaluate", "cache")  # groups whose own figures are tokens a second; the others' are milliseconds
WITH_MEMORY = ("cache",)
WITHOUT_ARITHMETIC = ("import", "corpus")  # precision has no meaning there


def tables(record: dict[str, Any], picture: str = "") -> str:
    """All tables, each under a line that says what it shows, the conditions above them.

    ``picture`` is where the growth's figure lies, seen from the page.
    """
    parts = [conditions(record)]
    for name in ABOUT:
        if measurements := [one for one in record["measurements"] if one["group"] == name]:
            parts += [heading(name, measurements), table(name, measurements), _missing(measurements)]
    return "\n\n".join(filter(None, [*parts, *growth.section(record, picture)])) + "\n"


def conditions(record: dict[str, Any]) -> str:
    """One line: where, when and under what conditions."""
    known = record["environment"]
    threads = "1 thread" if known["threads"] == 1 else f"{known['threads']} threads"
    machine = known["gpu"] or f"{known['cpu']} ({threads}, {known['capability']})"
    warning = "A quick look at tiny sizes, whose figures mean nothing. " if known["quick"] else ""
    versions = [f"{name} {known[name]}" for name in ("torch", "fastai", "awdlib") if known[name]]
    commit = f" at {known['commit'][:7]}" if known["commit"] else ""
    return (
        f"{warning}Measured on {machine} with {', '.join(versions)}{commit}, {record['date'][:10]}. Threads and "
        f"allocator ({known['allocator']}) are the same for all, precision for those in a row."
    )


def heading(name: str, measurements: list[dict[str, Any]]) -> str:
    """What a group's table shows."""
    rounds = sorted({len(one["seconds"]) for one in measurements if "seconds" in one})
    counted = " to ".join(str(n) for n in dict.fromkeys([rounds[0], rounds[-1]])) if rounds else "no"
    return f"**{ABOUT[name]}** Medians of {counted} rounds."


def table(name: str, measurements: list[dict[str, Any]]) -> str:
    """A group's table; "–" where there is no figure."""
    found = {(one["config"], one["precision"], one["candidate"]): one for one in measurements if "median" in one}
    rows = dict.fromkeys((config, precision) for config, precision, _ in found)
    candidates = [c for c in GROUPS[name].candidates if any(c == candidate for _, _, candidate in found)]
    memory = name in WITH_MEMORY
    unit = "tokens/s" if name in A_SECOND else "ms"
    absolute = ("awdlib", "limit")
    exact = name in WITHOUT_ARITHMETIC
    head = ["configuration"] if exact else ["configuration", "precision"]
    for candidate in candidates:
        head += [f"{candidate}, {unit}" if candidate in absolute else candidate] + [f"{candidate}, MiB"] * memory
    traffic = "limit" in candidates
    head += ["traffic, ms"] * traffic
    lines = [head, ["---" if title in ("configuration", "precision") else "---:" for title in head]]
    for config, precision in rows:
        line = [config] if exact else [config, precision]
        own = found.get((config, precision, "awdlib"))
        for candidate in candidates:
            one = found.get((config, precision, candidate))
            line.append(_figure(name, one) if candidate in absolute else ratio(one, own))
            if memory:
                line.append(digits(statistics.median(one["added"]) / 2**20) if one else "–")
        if traffic:
            limit = found.get((config, precision, "limit"))
            line.append(digits(1000 * statistics.median(limit["seconds_of_traffic"])) if limit else "–")
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(one: dict[str, Any] | None, own: dict[str, Any] | None) -> str:
    """How many times as long a candidate takes for a token as the library does."""
    if one is None or own is None:
        return "–"
    return digits(one["median"] / one["tokens"] / (own["median"] / own["tokens"])) + "×"


def _figure(name: str, one: dict[str, Any] | None) -> str:
    if one is None:
        return "–"
    return digits(one["tokens"] / one["median"] if name in A_SECOND else 1000 * one["median"])


def digits(value: float) -> str:
    """Three digits or, where these are not enough, the whole number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _missing(measurements: list[dict[str, Any]]) -> str:
    reasons = dict.fromkeys(one["not_measured"] for one in measurements if "not_measured" in one)
    return f"Not measured: {'; '.join(reasons)}." if reasons else ""
