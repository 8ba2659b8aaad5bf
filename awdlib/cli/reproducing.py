"""``reproduce``: one command a number, or a group of them, unattended and resumable."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from awdlib import checkpoints
from awdlib.checkpoints import CheckpointError
from awdlib.cli.training import STATUS, add_time_limit
from awdlib.environment import choose_device, describe_environment
from awdlib.fastest import fastest_settings
from awdlib.goals import GOALS, GROUPS, Step
from awdlib.presets import PRESETS
from awdlib.runs import RECORD, TUNED, read_record, tuned_state
from awdlib.settings import suggest
from awdlib.stops import INTERRUPTED, Stop, stops

TRIAL = ("--corpus", "toy", "--epochs", "2")  # of a dry run
TRIAL_SETTINGS = ("embedding_size=8", "hidden_size=12", "batch_size=60", "eval_batch_size=60", "bptt=35", "patience=0")
DRY = "dry-run"  #: folder below those of runs and records, so that a dry run never stands in the way of a real one
FASTEST = "fastest.json"  #: in the folder of all runs: what was measured, for the runs that are still to begin
INCOMPLETE = 1  #: exit status where a step has failed


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's command to the parser.

    Args:
        commands: the parser's commands so far.
    """
    command = commands.add_parser(
        "reproduce",
        help="take every step to a published number",
        description="Every step to a number, or to all of a group; what is finished is skipped, what was interrupted "
        "goes on. Without a name: the list.",
    )
    command.set_defaults(command=_reproduce)
    command.add_argument("names", nargs="*", metavar="NAME", help=f"of the list; or a group: {', '.join(GROUPS)}")
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    command.add_argument("--records", type=Path, help="folder that gets a copy of each run's record")
    command.add_argument("--data", type=Path, help="folder that holds the corpora")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    command.add_argument("--epochs", type=int, help="instead of the published ones, for all that train")
    command.add_argument("--jobs", type=int, metavar="N", help="cells of an ablation at a time")
    command.add_argument("--fastest", action="store_true", help="on a GPU, measure first which way is fastest")
    add_time_limit(command)
    command.add_argument("--dry-run", action="store_true", help="every step at a size of seconds, on the toy language")


def _reproduce(options: argparse.Namespace) -> int:
    if not options.names:
        return _list()
    if options.dry_run and options.epochs is not None:
        raise ValueError(f"--epochs is {options.epochs} and a dry run has 2: leave out one of them")
    steps = dict.fromkeys(step for name in options.names for step in _steps(name))
    if options.dry_run:
        options.runs, options.records = options.runs / DRY, options.records and options.records / DRY
    stop = Stop(options.time_limit)
    settings = _fastest(options)
    failed: list[Step] = []
    with stops(stop):
        for step in steps:
            if any(step.needs(other) for other in failed):
                print(f"\nleft out, since what it builds on has failed: {step.command()}")
                failed.append(step)
            elif why := _take(step, options, settings, stop, failed):
                print(f"{why}; run the same command again to go on")
                return STATUS[why]
    if failed:
        print(
            f"\nnot done: {', '.join(step.run for step in failed)}; run the same command again to go on with the rest"
        )
        return INCOMPLETE
    print(f"\nfinished: {', '.join(options.names)}")
    return 0


def _take(step: Step, options: argparse.Namespace, settings: list[str], stop: Stop, failed: list[Step]) -> str:
    """One step, unless it is done; returns why all is to stop, "" while it is not."""
    try:
        if not _is_done(step, options):
            if why := stop():
                return why
            words = _words(step, options, settings)
            print(f"\n$ python -m awdlib {' '.join(words)}", flush=True)
            status = _run(words, stop)
            reasons = {code: reason for reason, code in STATUS.items()}
            if status in reasons:
                return reasons[status]
            if status:
                failed.append(step)
    finally:
        _keep_records(step, options)
    return ""


def _list() -> int:
    """Every goal with what was published, and the groups."""
    for name, goal in GOALS.items():
        published = "{:.1f} / {:.1f}".format(*goal.published) if goal.published else ""
        print(f"{name:30} {goal.corpus:11} {goal.system:58} {published:13} {goal.source}".rstrip())
    for group, names in GROUPS.items():
        print(f"{group}: {' '.join(names)}")
    return 0


def _steps(name: str) -> Iterator[Step]:
    if name not in GOALS and name not in GROUPS:
        raise ValueError(
            f"there is no number {name!r}{suggest(name, [*GOALS, *GROUPS])}; without a name, all are listed"
        )
    for goal in GROUPS.get(name, [name]):
        yield from GOALS[goal].steps


def _is_done(step: Step, options: argparse.Namespace) -> bool:
    """Whether nothing of a step is left to do; an ablation looks for itself."""
    folder = options.runs / step.run
    if step.kind == "ablate" or not (folder / RECORD).exists():
        return False
    record = read_record(folder)
    if step.kind == "tune-cache":
        return (folder / TUNED).exists() and _read(folder / TUNED).get("of") == tuned_state(record)
    if step.kind == "finetune":
        parent = read_record(options.runs / step.parent)
        if parent["final_perplexity"] != record["parent"]["perplexity"]:
            raise CheckpointError(f"{folder} fine-tunes an earlier state of {step.parent}: move it away, to do it anew")
        return record["status"] == "finished"
    corpus = "toy" if options.dry_run else PRESETS[step.preset].corpus
    if record["corpus"]["name"] != corpus:
        raise CheckpointError(f"{folder} holds a run on {record['corpus']['name']}, not {corpus}: name other --runs")
    done, asked = record["training"]["epochs"], _epochs(step, options)
    if done > asked:
        raise CheckpointError(
            f"{folder} was trained for {done} epochs, more than the {asked} asked for: name other --runs"
        )
    return record["status"] == "finished" and done == asked


def _epochs(step: Step, options: argparse.Namespace) -> int:
    """How many a training step is asked for."""
    if options.dry_run:
        return int(TRIAL[-1])
    return PRESETS[step.preset].training.epochs if options.epochs is None else options.epochs


def _words(step: Step, options: argparse.Namespace, settings: list[str]) -> list[str]:
    """The step's command with what the user added."""
    words = step.words(str(options.runs))
    if options.data:
        words += ["--data", str(options.data)]
    words += ["--device", options.device]
    if step.kind in ("train", "ablate"):
        begun = [*_begun_with(options.runs / step.run)] or settings
        all_settings = [*begun, *(TRIAL_SETTINGS if options.dry_run else ())]
        words += [word for setting in all_settings for word in ("--set", setting)]
    if step.kind == "ablate" and options.jobs is not None:
        words += ["--jobs", str(options.jobs)]
    if step.kind != "tune-cache":
        if options.dry_run:
            words += TRIAL if step.kind != "finetune" else TRIAL[2:]
        elif options.epochs is not None:
            words += ["--epochs", str(options.epochs)]
    return words


def _begun_with(folder: Path) -> Iterator[str]:
    """Precision and graphs of a run, or a grid, that has begun: it goes on as it began."""
    for path in sorted(folder.rglob(RECORD))[:1]:
        training = read_record(path.parent)["training"]
        yield f"precision={training['precision']}"
        yield f"graphs={training.get('graphs', False)}"


def _fastest(options: argparse.Namespace) -> list[str]:
    """Settings of the fastest way to train on this GPU, measured once; none unless asked for."""
    device = choose_device(options.device)
    if not options.fastest:
        return []
    if device.type == "cpu":
        print("--fastest measures GPUs: on this CPU, everything trains as its preset says")
        return []
    path = options.runs / FASTEST
    here = describe_environment(device)["gpu"]
    measured = _read(path) if path.exists() else {}
    if measured.get("environment", {}).get("gpu") != here:
        measured = fastest_settings(device)
        checkpoints.write_json(path, measured)
    print(f"fastest on {here}: {', '.join(measured['settings'])}, of {len(measured['tried'])} ways ({path})")
    if options.records:
        checkpoints.write_json(options.records / FASTEST, measured)
    return list(measured["settings"])


def _run(words: list[str], stop: Stop) -> int:
    """One command in a process of its own, which a fault of the GPU does not outlive; returns its exit status."""
    if (left := stop.minutes_left()) is not None and words[0] != "tune-cache":
        words = [*words, "--time-limit", f"{left:.3g}"]
    process = subprocess.Popen([sys.executable, "-m", "awdlib", *words])
    while process.poll() is None:
        if stop() == INTERRUPTED:
            process.terminate()
        time.sleep(0.05)
    return process.returncode


def _keep_records(step: Step, options: argparse.Namespace) -> None:
    """Copy the records of a step's runs: what is small, and worth keeping in the repository."""
    for name in (RECORD, TUNED) if options.records else ():
        for path in (options.runs / step.run).rglob(name):
            checkpoints.write_atomically(options.records / path.relative_to(options.runs), path.read_bytes())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is damaged: delete it, and it is made anew")
    return content
