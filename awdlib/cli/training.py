"""``train``, ``finetune`` and ``presets``; the loop that every command which trains shares."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from awdlib.allocator import keep_freed_memory
from awdlib.corpora import CORPORA, Corpus, load_corpus
from awdlib.environment import choose_device
from awdlib.model import ModelConfig
from awdlib.presets import PRESETS, Preset
from awdlib.runs import CHECKPOINT, Run, hold, read_record, resume, start_finetuning
from awdlib.settings import apply_settings, suggest
from awdlib.stops import INTERRUPTED, TIME_IS_UP, Stop, stops
from awdlib.training import EpochRecord, Training, start
from awdlib.training_config import TrainConfig, finetuning

STATUS = {INTERRUPTED: 130, TIME_IS_UP: 75}  #: exit status of a run that is not finished, by what ended it


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the parser.

    Args:
        commands: the parser's commands so far.
    """
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
    _add_stretches(command)

    command = commands.add_parser("finetune", help="fine-tune a finished run into a new one")
    command.set_defaults(command=_finetune)
    command.add_argument("run", type=Path, help="the run to start from; it is left as it is")
    command.add_argument("--epochs", type=int, default=500, help="at most; the trigger's criterion may end it earlier")
    command.add_argument("--out", type=Path, help="the new run's folder (default: RUN-finetuned)")
    command.add_argument("--data", type=Path, help="folder that holds the corpus")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    command.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint; start if none")
    _add_stretches(command)

    command = commands.add_parser("presets", help="list the presets")
    command.set_defaults(command=_presets)


def _add_stretches(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint-minutes", type=float, default=3.0, metavar="M", help="between two checkpoints")
    add_time_limit(command)


def add_time_limit(command: argparse.ArgumentParser) -> None:
    """Add ``--time-limit``.

    Args:
        command: the parser of a command that trains.
    """
    command.add_argument(
        "--time-limit", type=float, metavar="MINUTES",
        help=f"stop then, with a checkpoint, and exit with {STATUS[TIME_IS_UP]} if there is more to do",
    )  # fmt: skip


def _train(options: argparse.Namespace) -> int:
    stop = Stop(options.time_limit)
    keep_freed_memory()
    preset = chosen_preset(options)
    device = choose_device(options.device)
    corpus = load_corpus(options.corpus or preset.corpus, options.data)
    preset = replace(preset, model=replace(preset.model, vocab_size=len(corpus.vocabulary)))
    folder = options.out or Path("runs") / f"{options.preset}-{corpus.name}-{preset.training.seed}"
    with hold(folder):  # before looking whether it has a run: until the end nobody else may begin one there
        training = _training(options, preset, corpus, folder, device)
        return follow(Run(folder, corpus, training, options.preset, options.checkpoint_minutes), stop)


def _finetune(options: argparse.Namespace) -> int:
    stop = Stop(options.time_limit)
    keep_freed_memory()
    parent, device = read_record(options.run), choose_device(options.device)
    corpus = load_corpus(parent["corpus"]["name"], options.data)
    folder = options.out or options.run.with_name(f"{options.run.name}-finetuned")
    origin = {"run": options.run.name, "best_epoch": parent["best_epoch"], "perplexity": parent["final_perplexity"]}
    with hold(folder):
        if _goes_on(options.resume, folder):
            model, config = ModelConfig(**parent["model"]), TrainConfig(**parent["training"])
            training = resume(folder, corpus, model, finetuning(config, options.epochs), device)
            print(f"resuming {folder} in epoch {training.epoch}, after {training.updates:,} updates")
        else:
            training = start_finetuning(options.run, corpus, options.epochs, device)
        return follow(Run(folder, corpus, training, parent["preset"], options.checkpoint_minutes, parent=origin), stop)


def follow(run: Run, stop: Stop) -> int:
    """Train a run to its end in front of the user, or until it is to stop.

    Args:
        run: fresh, or resumed.
        stop: asked after every update.

    Returns:
        the exit status.
    """
    introduce(run)
    if why := consume(run, stop):
        print(f"{why}; {run.folder} holds a checkpoint: run the same command with --resume to go on")
        return STATUS[why]
    final = run.finish()
    floor = run.corpus.floor.get("test")
    beside = f" (floor {floor:.2f})" if floor else ""
    best = min(run.training.history, key=lambda record: record.valid_loss)
    print(f"best epoch {best.epoch}: valid {final['valid']:.2f}, test {final['test']:.2f}{beside}")
    print(f"record: {run.folder / 'record.json'}")
    return 0


def chosen_preset(options: argparse.Namespace) -> Preset:
    """The preset named, with the settings of the command line.

    Args:
        options: as parsed.

    Raises:
        ValueError: there is no such preset, or a setting does not fit.
    """
    if options.preset not in PRESETS:
        raise ValueError(f"there is no preset {options.preset!r}{suggest(options.preset, PRESETS)}")
    preset = PRESETS[options.preset]
    settings = list(options.set)
    settings += [f"{name}={value}" for name in ("epochs", "seed") if (value := getattr(options, name)) is not None]
    model, training = apply_settings(settings, preset.model, preset.training)
    return replace(preset, model=model, training=training)


def _training(
    options: argparse.Namespace, preset: Preset, corpus: Corpus, folder: Path, device: torch.device
) -> Training:
    """A fresh training, or the folder's own."""
    if not _goes_on(options.resume, folder):
        return start(preset.model, preset.training, device)
    training = resume(folder, corpus, preset.model, preset.training, device)
    print(f"resuming {folder} in epoch {training.epoch}, after {training.updates:,} updates")
    return training


def _goes_on(wanted: bool, folder: Path) -> bool:
    """Whether a run goes on from the folder's checkpoint; never over one that is there unasked."""
    there = (folder / CHECKPOINT).exists()
    if there and not wanted:
        raise ValueError(f"{folder} already holds a run: add --resume to go on with it, or name another --out")
    if wanted and not there:
        print(f"{folder} holds no checkpoint: starting from the beginning")
    return there


def introduce(run: Run) -> None:
    """Say what is about to be trained, on what and where.

    Args:
        run: before its first step.
    """
    parameters = sum(weight.numel() for weight in run.training.model.parameters())
    corpus = run.corpus
    print(
        f"{run.preset}: {parameters:,} parameters on {run.training.device}; {corpus.name}: {len(corpus.train):,} "
        f"training tokens, {len(corpus.vocabulary):,} word types, checked by {corpus.checked}"
    )


def consume(run: Run, stop: Stop) -> str:
    """Train with a progress bar until the end, or until the run is to stop, which then leaves a checkpoint.

    Args:
        run: fresh, or resumed.
        stop: asked after every update, and by signals.

    Returns:
        why it stopped; "" at its end.
    """
    columns = run.training.config.batch_size
    with stops(stop), _bar(run) as bar:
        for record in run.steps():
            if isinstance(record, EpochRecord):
                bar.write(_line(record, run), file=sys.stdout)
                bar.reset()
            else:
                bar.set_description(f"epoch {record.epoch}", refresh=False)
                bar.update(record.seq_len * columns)
            if why := stop():
                run.save("interrupted")
                return why
    return ""


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


def _presets(options: argparse.Namespace) -> int:
    for name, preset in PRESETS.items():
        print(f"{name:22} {preset.corpus:11} {preset.training.precision:5} {preset.source}")
        if preset.published:
            print(f"{'':40} published, validation / test: {preset.published}")
    return 0
