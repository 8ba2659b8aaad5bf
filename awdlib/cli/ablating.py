"""``ablate``: the paper's ablation, a run a cell; one after another, side by side, or on a cluster."""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from awdlib import _require as require
from awdlib.ablation import ROWS, Cell, is_finished, open_cell, plan
from awdlib.ablation_table import collect
from awdlib.allocator import keep_freed_memory
from awdlib.cli.comparing import publish_table
from awdlib.cli.training import STATUS, add_time_limit, chosen_preset, consume, introduce
from awdlib.corpora import CORPORA, Corpus, load_corpus
from awdlib.environment import choose_device
from awdlib.jobs import ELSEWHERE, Job
from awdlib.runs import hold, read_record
from awdlib.stops import TIME_IS_UP, Stop, stops
from awdlib.workers import Event, Worker, here, on_cluster, side_by_side

GIVEN_UP = 1  #: exit status where a cell could not be trained


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's command to the parser.

    Args:
        commands: the parser's commands so far.
    """
    command = commands.add_parser(
        "ablate", help="leave out each part in turn", description="The paper's ablation; run again to go on with it."
    )
    command.set_defaults(command=_ablate, seed=None)
    command.add_argument("--preset", required=True, help="a name that 'presets' lists")
    command.add_argument("--corpus", choices=CORPORA, help="another corpus than the preset's")
    command.add_argument("--data", type=Path, help="folder that holds the corpus (else AWDLIB_DATA, else downloaded)")
    command.add_argument("--rows", default=",".join(ROWS), help=f"some of {', '.join(ROWS)}; all if left out")
    command.add_argument("--seeds", default="1,2,3", help="one run of each row for each of them")
    command.add_argument("--epochs", type=int, help="passes over the training set, the same for every run")
    command.add_argument("--out", type=Path, help="folder of the runs (default: runs/ablation-PRESET-CORPUS)")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")
    command.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="change a setting of all")
    add_time_limit(command)
    command.add_argument(
        "--jobs", type=int, metavar="N", help="run N cells at a time, each in a process of its own or a cluster's job"
    )
    command.add_argument("--threads", type=int, metavar="N", help="of each process (default: the cores, shared out)")
    command.add_argument(
        "--cluster", choices=("slurm", "local"),
        help="submit the cells through submitit: to Slurm, or, to try that, to processes here",
    )  # fmt: skip
    command.add_argument(
        "--cluster-set", action="append", default=[], metavar="NAME=VALUE",
        help="a parameter of submitit's jobs: timeout_min (240), gpus_per_node, slurm_partition, ...",
    )  # fmt: skip


def _ablate(options: argparse.Namespace) -> int:
    stop, apart = Stop(options.time_limit), _apart(options)
    preset, device = chosen_preset(options), choose_device("cpu" if options.cluster == "slurm" else options.device)
    rows = _listed("rows", options.rows)
    seeds = _whole_numbers("seeds", options.seeds)
    corpus = load_corpus(options.corpus or preset.corpus, options.data)
    folder = options.out or Path("runs") / f"ablation-{options.preset}-{corpus.name}"
    cells = plan(preset, rows, seeds, corpus)
    waiting = [cell for cell in cells if not is_finished(cell, folder, options.preset)]
    print(f"{folder}: {len(cells)} runs, {len(cells) - len(waiting)} of them finished")
    if apart and waiting:
        status = _side_by_side(waiting, folder, options, stop)
    else:
        status = _one_after_another(waiting, folder, corpus, options.preset, device, stop)
    if status == 0:
        publish_table(folder, collect(folder))
    return status


def _one_after_another(
    waiting: list[Cell], folder: Path, corpus: Corpus, preset: str, device: torch.device, stop: Stop
) -> int:
    """Each cell in this process, in front of the user; returns the exit status."""
    keep_freed_memory()
    for cell in waiting:
        with hold(folder / cell.name):
            run = open_cell(cell, folder, corpus, preset, device)
            print(f"\n{cell.name}: {ROWS[cell.row].label}, seed {cell.preset.training.seed}")
            introduce(run)
            if why := consume(run, stop):
                print(f"{why}; run the same command again to go on")
                return STATUS[why]
            final = run.finish()
        print(f"{cell.name}: valid {final['valid']:.2f}, test {final['test']:.2f}")
    return 0


def _apart(options: argparse.Namespace) -> bool:
    """Whether the cells are to run in other processes, once what was said of these is found in order."""
    for name in ("jobs", "threads"):
        if (value := getattr(options, name)) is not None:
            require.whole_number(name, value, 1)
    _parameters(options.cluster_set)
    apart = options.jobs is not None or options.cluster is not None
    if options.threads is not None and not apart:
        raise ValueError("--threads is of the processes of --jobs and --cluster: add one of them")
    if options.cluster_set and options.cluster is None:
        raise ValueError("--cluster-set is of a cluster's jobs: add --cluster")
    return apart


def _side_by_side(waiting: list[Cell], folder: Path, options: argparse.Namespace, stop: Stop) -> int:
    """Several cells at a time, in other processes; returns the exit status."""
    folder = folder.resolve()  # a job may start elsewhere
    at_once = min(options.jobs or len(waiting), len(waiting))
    launch: Callable[[Job], Worker] = here
    if options.cluster:
        launch = on_cluster(options.cluster, folder / "submitit", **_parameters(options.cluster_set))
    threads = options.threads
    if threads is None and options.cluster != "slurm":
        threads = max(1, torch.get_num_threads() // at_once)
    data = options.data and options.data.resolve()
    jobs = [Job(cell, folder, options.preset, data, options.device, threads) for cell in waiting]
    bar = tqdm(total=sum(cell.preset.training.epochs for cell in waiting), unit="epoch", leave=False, disable=None)
    lost = []
    with stops(stop), bar:
        for event in side_by_side(jobs, launch, at_once, stop=stop):
            _tell(event, folder, bar)
            if event.what == "given up" and event.detail != ELSEWHERE:
                lost.append(event.cell.name)
    return _status([cell.name for cell in waiting if not is_finished(cell, folder, options.preset)], lost, stop())


def _status(unfinished: list[str], lost: list[str], why: str) -> int:
    """Say what is left to do, and by which exit status: stopped, given up, or being done elsewhere."""
    if not unfinished:
        return 0
    if why:
        print(f"{why}; run the same command again to go on")
        return STATUS[why]
    if lost:
        print(f"not trained: {', '.join(lost)}; run the same command again to go on")
        return GIVEN_UP
    print(f"{ELSEWHERE}: {', '.join(unfinished)}; run the same command again for the table")
    return STATUS[TIME_IS_UP]


def _tell(event: Event, folder: Path, bar: tqdm) -> None:
    """One line for what happened to a cell; its epochs move the bar on."""
    name, epochs = event.cell.name, event.cell.preset.training.epochs
    if event.what == "epoch":
        bar.set_postfix_str(f"{name}: {event.epochs}/{epochs}, valid {event.valid:.2f}", refresh=False)
        bar.update(event.new_epochs)
        return
    line = f"{name}: {event.what}" + (f" ({event.detail})" if event.detail else "")
    if event.what == "finished":
        final = read_record(folder / name)["final_perplexity"]
        line += f", valid {final['valid']:.2f}, test {final['test']:.2f}"
    bar.write(line, file=sys.stdout)
    sys.stdout.flush()


def _parameters(settings: list[str]) -> dict[str, Any]:
    """What ``--cluster-set`` says."""
    parameters: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name or not value:
            raise ValueError(f"--cluster-set is {setting!r}; it must be NAME=VALUE")
        parameters[name] = _value(value)
    return parameters


def _value(text: str) -> Any:
    """A parameter as submitit wants it: whole numbers, numbers and yes or no are not texts to it."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        with suppress(ValueError):
            if str(kind(text)) == text:
                return kind(text)
    return text


def _listed(name: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if twice := [part for part in parts if parts.count(part) > 1]:
        raise ValueError(f"{name} is {text!r}, with {twice[0]} twice: a grid has one run of each row for each seed")
    return parts


def _whole_numbers(name: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ValueError(f"{name} is {text!r}; it must be whole numbers with commas between them") from None
    _listed(name, ",".join(map(str, numbers)))
    return numbers
