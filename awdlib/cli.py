"""``python -m awdlib``: train, evaluate, and list what there is.

Every mistake of the user's ends in one line and exit status 2; an interrupted run in a checkpoint and status 130.
"""

import argparse
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from awdlib.allocator import keep_freed_memory
from awdlib.corpora import CORPORA, Corpus, load_corpus
from awdlib.environment import choose_device
from awdlib.evaluation import evaluate
from awdlib.presets import PRESETS, Preset
from awdlib.runs import CHECKPOINT, Run, load_best, read_record, resume
from awdlib.settings import apply_settings, suggest
from awdlib.training import EpochRecord, Training, start

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options)
    except (ValueError, OSError) as error:
        if os.environ.get("AWDLIB_DEBUG"):
            raise
        print(f"awdlib: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # outside of training, which stops between two updates and saves
        print("awdlib: interrupted", file=sys.stderr)
        return INTERRUPTED


class _OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaint is one line, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"awdlib: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(prog="python -m awdlib", description="AWD-LSTM, piece by piece.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("train", help="train a model", description="Train a model into a run's folder.")
    command.set_defaults(command=_train)
    command.add_argument("--preset", required=True, help="a name that 'presets' lists")
    command.add_argument("--corpus", choices=CORPORA, help="another corpus than the preset's")
    command.add_argument("--data", type=Path, help="folder that holds the corpus (else AWDLIB_DATA, else downloaded)")
    command.add_argument("--epochs", type=int, help="passes over the training set")
    command.add_argument("--seed", type=int, help="of weights, masks and windows")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    command.add_argument("--out", type=Path, help="the run's folder (default: runs/PRESET-CORPUS-SEED)")
    command.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint; start if none")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a setting")
    command.add_argument("--checkpoint-minutes", type=float, default=3.0, help="between checkpoints in an epoch")

    command = commands.add_parser("evaluate", help="perplexity of a run's best weights")
    command.set_defaults(command=_evaluate)
    command.add_argument("run", type=Path, help="a run's folder")
    command.add_argument("--split", choices=("valid", "test"), default="test")
    command.add_argument("--data", type=Path, help="folder that holds the corpus")
    command.add_argument("--batch-size", type=int, default=1, help="columns; 1 is exact, more is faster")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")

    command = commands.add_parser("presets", help="list the presets")
    command.set_defaults(command=_presets)
    return parser


def _train(options: argparse.Namespace) -> int:
    keep_freed_memory()
    preset = _preset(options)
    device = choose_device(options.device)
    corpus = load_corpus(options.corpus or preset.corpus, options.data)
    preset = replace(preset, model=replace(preset.model, vocab_size=len(corpus.vocabulary)))
    folder = options.out or Path("runs") / f"{options.preset}-{corpus.name}-{preset.training.seed}"
    training = _training(options, preset, corpus, folder, device)
    run = Run(folder, corpus, training, options.preset, options.checkpoint_minutes)
    _introduce(run)
    with _interrupts() as interrupted:
        finished = _consume(run, interrupted)
    if not finished:
        run.save("interrupted")
        print(f"interrupted; {folder} holds a checkpoint: run the same command with --resume to go on")
        return INTERRUPTED
    final = run.finish()
    floor = corpus.floor.get("test")
    beside = f" (floor {floor:.2f})" if floor else ""
    print(f"best epoch {training.best_epoch().epoch}: valid {final['valid']:.2f}, test {final['test']:.2f}{beside}")
    print(f"record: {folder / 'record.json'}")
    return 0


def _preset(options: argparse.Namespace) -> Preset:
    """The preset named, with the settings of the command line."""
    if options.preset not in PRESETS:
        raise ValueError(f"there is no preset {options.preset!r}{suggest(options.preset, PRESETS)}")
    preset = PRESETS[options.preset]
    settings = list(options.set)
    settings += [f"{name}={value}" for name in ("epochs", "seed") if (value := getattr(options, name)) is not None]
    model, training = apply_settings(settings, preset.model, preset.training)
    return replace(preset, model=model, training=training)


def _training(options: argparse.Namespace, preset: Preset, corpus: Corpus, folder: Path, device: object) -> Training:
    """A fresh training, or the folder's own; never one over the other."""
    there = (folder / CHECKPOINT).exists()
    if options.resume and there:
        training = resume(folder, corpus, preset.model, preset.training, device)
        print(f"resuming {folder} in epoch {training.epoch}, after {training.updates:,} updates")
        return training
    if there:
        raise ValueError(f"{folder} already holds a run: add --resume to go on with it, or name another --out")
    if options.resume:
        print(f"{folder} holds no checkpoint: starting from the beginning")
    return start(preset.model, preset.training, device)


def _introduce(run: Run) -> None:
    parameters = sum(weight.numel() for weight in run.training.model.parameters())
    corpus = run.corpus
    print(
        f"{run.preset}: {parameters:,} parameters on {run.training.device}; {corpus.name}: {len(corpus.train):,} "
        f"training tokens, {len(corpus.vocabulary):,} word types, checked by {corpus.checked}"
    )


def _consume(run: Run, interrupted: list[int]) -> bool:
    """Train to the end with a progress bar; False when interrupted."""
    bar = _bar(run)
    columns = run.training.config.batch_size
    with bar:
        for record in run.steps():
            if isinstance(record, EpochRecord):
                bar.write(_line(record, run), file=sys.stdout)
                bar.reset()
            else:
                bar.set_description(f"epoch {record.epoch}", refresh=False)
                bar.update(record.seq_len * columns)
            if interrupted:
                return False
    return True


def _bar(run: Run) -> tqdm:
    tokens = len(run.corpus.train) // run.training.config.batch_size * run.training.config.batch_size
    return tqdm(
        total=tokens, initial=run.training.row * run.training.config.batch_size, unit="tok", unit_scale=True,
        leave=False, dynamic_ncols=True, disable=None,
    )  # fmt: skip


def _line(record: EpochRecord, run: Run) -> str:
    """What one epoch reached, in one line."""
    floor = run.corpus.floor.get("valid")
    parts = [
        f"epoch {record.epoch:>3}/{run.training.config.epochs}",
        f"train {record.train_perplexity:8.2f}",
        f"valid {record.valid_perplexity:8.2f}" + (f" (floor {floor:.2f})" if floor else ""),
        "averaged" if record.averaging else "        ",
        f"{record.seconds:6.1f} s",
    ]
    if record.averaging_began:
        parts.append(f"averaging begins (by {record.averaging_began})")
    return "  ".join(parts)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collect Ctrl-C and termination instead of dying of them, so that the run stops between two updates."""
    caught: list[int] = []
    before = {
        kind: signal.signal(kind, lambda number, _: caught.append(number)) for kind in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _evaluate(options: argparse.Namespace) -> int:
    record = read_record(options.run)
    corpus = load_corpus(record["corpus"]["name"], options.data)
    model, _ = load_best(options.run, corpus, choose_device(options.device))
    loss = evaluate(model, corpus.split(options.split), options.batch_size)
    floor = corpus.floor.get(options.split)
    beside = f", floor {floor:.2f}" if floor else ""
    print(f"{options.split}: perplexity {math.exp(loss):.2f} ({loss:.4f} nats a token{beside})")
    return 0


def _presets(options: argparse.Namespace) -> int:
    for name, preset in PRESETS.items():
        print(f"{name:22} {preset.corpus:11} {preset.source}")
        if preset.published:
            print(f"{'':34} published, validation / test: {preset.published}")
    return 0
