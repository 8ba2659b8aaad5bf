"""Reading a corpus: the library's way, which also checks what it reads, and one word after another."""

import os
from pathlib import Path
from typing import Any

import torch
from cases import Case
from clock import measured
from torch import Tensor

from awdlib.bundled import bundled
from awdlib.corpora import EOS, PUBLISHED, SPLITS, load_corpus


def measure(case: Case) -> dict[str, Any]:
    """Seconds and memory of reading the three files."""
    paths = paths_of(case.config)
    read = (lambda: load_corpus(case.config)) if case.candidate == "awdlib" else (lambda: read_plainly(paths))
    count = sum(len(load_corpus(case.config).split(split)) for split in SPLITS)
    return {"tokens": count} | measured(case, lambda: read)


def paths_of(name: str) -> list[Path]:
    """The corpus's files, in the order of the splits."""
    if name == "toy":
        return [bundled(f"toy/{split}.txt") for split in SPLITS]
    files, folder = PUBLISHED[name].files, Path(os.environ["AWDLIB_DATA"])
    folder = folder / name if (folder / name).is_dir() else folder
    return [folder / files[split] for split in SPLITS]


def read_plainly(paths: list[Path]) -> tuple[list[str], list[Tensor]]:
    """Words in the order of their first appearance, and the ids of each file: a pass to count, a pass to fill in."""
    words: list[str] = []
    ids: dict[str, int] = {}
    streams = []
    for path in paths:
        count = 0
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                for word in [*line.split(), EOS]:
                    if word not in ids:
                        ids[word] = len(words)
                        words.append(word)
                    count += 1
        stream, position = torch.empty(count, dtype=torch.long), 0
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                for word in [*line.split(), EOS]:
                    stream[position] = ids[word]
                    position += 1
        streams.append(stream)
    return words, streams
