"""What an update of a GRU costs beside one of an LSTM, in turns: of equal width, of equal size, through torch's kernel.

    python book/experiments/gru_speed.py            writes data/runs/gru-speed.json

One process, one thread, the seconds that the processor gave to it: waiting for other work is not counted, though what
that does to the caches is. Of each round every candidate's time is kept; a ratio is taken within a round. The wall
clock on a quiet machine, or a GPU, is for ``python tests/benchmarks cells``.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from grid import RUNS, rounded
from torch import Tensor

from awdlib import bptt, checkpoints, recurrent
from awdlib.allocator import keep_freed_memory
from awdlib.environment import describe_environment, now
from awdlib.figures.cells import equal_width, parameters
from awdlib.figures.speed import operations
from awdlib.model import ModelConfig
from awdlib.presets import PRESETS
from awdlib.training import TrainConfig, Training, start, update

OUT = RUNS / "gru-speed.json"
#: model, batch, window, rounds
SIZES: dict[str, tuple[ModelConfig, int, int, int]] = {
    "small": (
        replace(PRESETS["toy"].model, vocab_size=1_105), 20, 35, 15
    ),
    "middle": (PRESETS["ptb-small"].model, 20, 35, 5),
    "paper": (PRESETS["awd-lstm-ptb"].model, 40, 70, 3),
}  # fmt: skip
CANDIDATES = ("lstm", "gru", "gru-equal", "gru-torch")


def config_of(model: ModelConfig, candidate: str) -> ModelConfig:
    """The model with the candidate's cell and width."""
    if candidate == "lstm":
        return model
    wide = equal_width(model, "gru")
    width = wide if candidate == "gru-equal" else model.hidden_size
    return replace(model, cell="gru", hidden_size=width)


def seconds(
    training: Training, candidate: str, inputs: Tensor, targets: Tensor
) -> float:
    """Processor time of one update."""
    recurrent.gru_pays = (
        (lambda x: False) if candidate == "gru-torch" else bptt.gru_pays
    )
    began = time.process_time()
    update(training, inputs, targets, lr=1.0)
    return time.process_time() - began


def measure(name: str) -> dict:
    """All candidates at one size, in turns; the first round warms up."""
    model, batch, bptt_length, rounds = SIZES[name]
    settings = TrainConfig(
        batch_size=batch, bptt=bptt_length, variable_windows=False
    )
    runs = {
        which: start(config_of(model, which), settings) for which in CANDIDATES
    }
    text = torch.randint(
        model.vocab_size,
        (bptt_length + 1, batch),
        generator=torch.Generator().manual_seed(1),
    )
    found: dict = {which: [] for which in CANDIDATES}
    for number in range(rounds + 1):
        for which, training in runs.items():
            taken = seconds(training, which, text[:-1], text[1:])
            if number:
                found[which].append(taken)
    return {
        "size": name,
        "tokens": batch * bptt_length,
        "candidates": {
            which: {
                "hidden_size": config_of(model, which).hidden_size,
                "parameters": parameters(config_of(model, which)),
                "operations": sum(operations(config_of(model, which)).values()),
                "seconds": rounded(found[which]),
            }
            for which in CANDIDATES
        },
    }


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    record = {
        "command": "python book/experiments/gru_speed.py",
        "date": now(),
        "environment": describe_environment(),
        "sizes": [measure(name) for name in SIZES],
    }
    checkpoints.write_json(options.out, record)
    for one in record["sizes"]:
        print(one["size"], {
            which: [round(a / b, 2) for a, b in zip(
                of["seconds"], one["candidates"]["lstm"]["seconds"], strict=True
            )]
            for which, of in one["candidates"].items()
        })  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
