"""``evaluate``: what a finished run reaches on held-out text."""

import argparse
import math
from pathlib import Path

from awdlib.corpora import load_corpus
from awdlib.environment import choose_device
from awdlib.evaluation import evaluate
from awdlib.runs import load_best, read_record


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the parser."""
    command = commands.add_parser("evaluate", help="perplexity of a run's best weights")
    command.set_defaults(command=_evaluate)
    command.add_argument("run", type=Path, help="a run's folder")
    command.add_argument("--split", choices=("valid", "test"), default="test")
    command.add_argument("--data", type=Path, help="folder that holds the corpus")
    command.add_argument("--batch-size", type=int, default=1, help="columns; 1 is exact, more is faster")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _evaluate(options: argparse.Namespace) -> int:
    record = read_record(options.run)
    corpus = load_corpus(record["corpus"]["name"], options.data)
    model, _ = load_best(options.run, corpus, choose_device(options.device))
    loss = evaluate(model, corpus.split(options.split), options.batch_size)
    floor = corpus.floor.get(options.split)
    beside = f", floor {floor:.2f}" if floor else ""
    print(f"{options.split}: perplexity {math.exp(loss):.2f} ({loss:.4f} nats a token{beside})")
    return 0
