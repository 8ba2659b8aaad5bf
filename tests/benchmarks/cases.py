"""What is measured: the groups, their configurations, the candidates of each, and what stands in the way of some."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import sizes

from awdlib.corpora import PUBLISHED
from awdlib.precision import has_bf16


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    group: str
    config: str
    precision: str
    candidate: str
    device: str = "cpu"
    quick: bool = False

    @property
    def key(self) -> dict[str, str]:
        """What tells it from the others of a record."""
        return {name: getattr(self, name) for name in ("group", "config", "precision", "candidate")}

    def __str__(self) -> str:
        return f"{self.group}/{self.config} {self.precision} {self.candidate}"


@dataclass(frozen=True)
class Group:
    """Configurations, and who is measured at each of them; the library itself comes first."""

    configs: tuple[str, ...]
    candidates: tuple[str, ...]
    precisions: tuple[str, ...] = ("fp32",)
    quick: tuple[str, ...] = ()  #: configurations of a quick look
    rounds: int = 1_000_000  #: no more than these
    on_gpu: bool = True


GROUPS = {
    "step": Group(
        tuple(sizes.STEP),
        ("awdlib", "awdlib-graphs", "awdlib-plain", "bare", "fastai", "limit"),
        precisions=("fp32", "tf32", "bf16", "fp16"),
        quick=("small",),
    ),
    "evaluate": Group(tuple(sizes.EVALUATE), ("awdlib", "bare", "fastai"), quick=("batch-10",)),
    "cache": Group(("window-500", "window-3785"), ("awdlib", "per-token-loop"), quick=("window-500",)),
    "cells": Group(
        tuple(sizes.CELLS), ("awdlib", "awdlib-gru", "awdlib-gru-equal", "bare", "bare-gru"), quick=("small",)
    ),
    "import": Group(("library",), ("awdlib", "fastai"), quick=("library",), on_gpu=False),
    "corpus": Group(("toy", *PUBLISHED), ("awdlib", "plain-reader"), quick=("toy",), on_gpu=False),
    "growth": Group(
        tuple(sizes.GROWTH),
        ("awdlib",),
        quick=("base", "window-70", "vocabulary-4000"),
        rounds=3,
    ),
}
#: Of these the peers have no counterpart: their users would write one, or do without.
NOT_OFFERED = {("bare", "fp16"), ("fastai", "tf32"), ("fastai", "fp16")}


def plan(wanted: list[str], device: str, quick: bool = False) -> list[list[Case]]:
    """The cases, those that are compared with each other together; these are measured in turn.

    ``wanted`` are groups, or configurations as in "step/ptb-40"; none of them means all there are.
    """
    groups = {name: group for name, group in GROUPS.items() if group.on_gpu or device == "cpu"}
    listed = [(name, config) for name, group in groups.items() for config in (group.quick if quick else group.configs)]
    for word in wanted:
        if not any(word in (name, f"{name}/{config}") for name, config in listed):
            raise ValueError(f"there is no {word!r} to measure: name a group ({', '.join(groups)}) or GROUP/CONFIG")
    return [
        [
            Case(name, config, precision, candidate, device, quick)
            for candidate in groups[name].candidates
            if _is_offered(candidate, precision, device, quick)
        ]
        for name, config in listed
        if not wanted or name in wanted or f"{name}/{config}" in wanted
        for precision in groups[name].precisions
        if device == "cuda" or precision in ("fp32", "bf16")
    ]


def _is_offered(candidate: str, precision: str, device: str, quick: bool) -> bool:
    """Without a GPU there are no graphs to compare; a quick look goes their way nevertheless."""
    return (candidate, precision) not in NOT_OFFERED and (candidate != "awdlib-graphs" or device == "cuda" or quick)


def obstacle(case: Case) -> str:
    """Why a case cannot be measured here; empty if it can."""
    if case.precision == "bf16" and not has_bf16(case.device):
        return f"this {case.device.upper()} has no bf16 arithmetic"
    if case.candidate == "fastai" and not find_spec("fastai"):
        return "fastai is not installed"
    if case.candidate == "fastai" and case.config.startswith("gru"):
        return "fastai has no GRU"
    if case.config in PUBLISHED and not _has_files(case.config):
        return f"AWDLIB_DATA names no folder with {case.config}"
    return ""


def _has_files(name: str) -> bool:
    folder = Path(os.environ.get("AWDLIB_DATA") or os.devnull)
    files = PUBLISHED[name].files.values()
    return any(all((place / file).is_file() for file in files) for place in (folder, folder / name))
