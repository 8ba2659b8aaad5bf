"""``reproduce``: one command a number, or a group of them, unattended and resumable."""

import argparse
import json
import time
from pathlib import Path

from awdlib import checkpoints
from awdlib.cli.training import STATUS
from awdlib.environment import choose_device
from awdlib.fastest import fastest_settings
from awdlib.goals import GOALS, GROUPS, Step
from awdlib.runs import RECORD, TUNED, read_record
from awdlib.settings import suggest
from awdlib.stops import Stop

TRIAL = ("--corpus", "toy", "--epochs", "2")  # of a dry run
TRIAL_SETTINGS = ("embedding_size=8", "hidden_size=12", "batch_size=60", "eval_batch_size=60", "bptt=35", "patience=0")
FASTEST = "fastest.json"  #: in the folder of all runs: what was measured, so that a resumed run keeps to it


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
    command.add_argument("--fastest", action="store_true", help="on a GPU, measure first which precision is fastest")
    command.add_argument("--time-limit", type=float, metavar="MINUTES", help="stop then; run again to go on")
    command.add_argument("--dry-run", action="store_true", help="every step at a size of seconds, on the toy language")


def _reproduce(options: argparse.Namespace) -> int:
    if not options.names:
        return _list()
    steps = [step for name in options.names for step in _steps(name)]
    stop, began = Stop(options.time_limit), time.monotonic()
    settings = _fastest(options)
    for step in dict.fromkeys(steps):
        if _is_done(step, options.runs):
            continue
        if why := stop():
            print(f"{why}; run the same command again to go on")
            return STATUS[why]
        words = _words(step, options, settings)
        if options.time_limit is not None and step.kind != "tune-cache":
            left = options.time_limit - (time.monotonic() - began) / 60
            words += ["--time-limit", f"{max(left, 1e-9):.3g}"]
        print(f"\n$ python -m awdlib {' '.join(words)}", flush=True)
        status = _run(words)
        _keep_records(step, options)
        if status:
            return status
    print(f"\nfinished: {', '.join(options.names)}")
    return 0


def _list() -> int:
    """Every goal with what was published, and the groups."""
    for name, goal in GOALS.items():
        published = "{:.1f} / {:.1f}".format(*goal.published) if goal.published else ""
        print(f"{name:30} {goal.corpus:11} {goal.system:46} {published:13} {goal.source}".rstrip())
    for group, names in GROUPS.items():
        print(f"{group}: {' '.join(names)}")
    return 0


def _steps(name: str) -> list[Step]:
    if name in GROUPS:
        return [step for one in GROUPS[name] for step in GOALS[one].steps]
    if name not in GOALS:
        raise ValueError(
            f"there is no number {name!r}{suggest(name, [*GOALS, *GROUPS])}; without a name, all are listed"
        )
    return list(GOALS[name].steps)


def _is_done(step: Step, runs: Path) -> bool:
    """Whether a step has nothing left to do; an ablation looks for itself."""
    folder = runs / step.run
    if step.kind == "tune-cache":
        return (folder / TUNED).exists()
    return step.kind != "ablate" and (folder / RECORD).exists() and read_record(folder)["status"] == "finished"


def _words(step: Step, options: argparse.Namespace, settings: list[str]) -> list[str]:
    """The step's command with what the user added."""
    words = step.words(str(options.runs))
    if options.data:
        words += ["--data", str(options.data)]
    words += ["--device", options.device]
    if step.kind in ("train", "ablate"):
        settings = [*settings, *(TRIAL_SETTINGS if options.dry_run else ())]
        words += [word for setting in settings for word in ("--set", setting)]
    if step.kind == "ablate" and options.jobs:
        words += ["--jobs", str(options.jobs)]
    if step.kind != "tune-cache":
        if options.dry_run:
            words += TRIAL if step.kind != "finetune" else TRIAL[2:]
        elif options.epochs:
            words += ["--epochs", str(options.epochs)]
    return words


def _fastest(options: argparse.Namespace) -> list[str]:
    """Settings of the fastest way to train on this GPU, measured once; none on a CPU, or unless asked for."""
    device = choose_device(options.device)
    path = options.runs / FASTEST
    if not options.fastest or device.type == "cpu":
        return []
    if not path.exists():
        checkpoints.write_json(path, fastest_settings(device))
    measured = json.loads(path.read_text(encoding="utf-8"))
    print(f"fastest: {measured['settings']}, of {len(measured['tried'])} ways ({path})")
    return measured["settings"]


def _run(words: list[str]) -> int:
    from awdlib.cli import build_parser

    options = build_parser().parse_args(words)
    return options.command(options)


def _keep_records(step: Step, options: argparse.Namespace) -> None:
    """Copy the records of a step's runs: what is small, and worth keeping in the repository."""
    if not options.records:
        return
    for name in (RECORD, TUNED):
        for path in (options.runs / step.run).rglob(name):
            copy = options.records / path.relative_to(options.runs)
            checkpoints.write_atomically(copy, path.read_bytes())
