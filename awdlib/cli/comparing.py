"""``ablate``: the paper's ablation, a run a cell; ``report``: several runs side by side."""

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from awdlib.ablation import ROWS, Cell, is_finished, open_cell, plan
from awdlib.ablation_table import Table, collect
from awdlib.allocator import keep_freed_memory
from awdlib.checkpoints import write_atomically
from awdlib.cli.training import INTERRUPTED, chosen_preset, consume, interrupts, introduce
from awdlib.corpora import CORPORA, load_corpus
from awdlib.environment import choose_device
from awdlib.runs import Run, hold, read_record


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the parser.

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

    command = commands.add_parser("report", help="several runs side by side")
    command.set_defaults(command=_report)
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder")
    command.add_argument("--out", type=Path, default=Path(), help="where report.txt and report.png go (default: here)")


def _ablate(options: argparse.Namespace) -> int:
    keep_freed_memory()
    preset, device = chosen_preset(options), choose_device(options.device)
    rows = _listed("rows", options.rows)
    seeds = _whole_numbers("seeds", options.seeds)
    corpus = load_corpus(options.corpus or preset.corpus, options.data)
    folder = options.out or Path("runs") / f"ablation-{options.preset}-{corpus.name}"
    cells = plan(preset, rows, seeds, corpus)
    waiting = [cell for cell in cells if not is_finished(cell, folder, options.preset)]
    print(f"{folder}: {len(cells)} runs, {len(cells) - len(waiting)} of them finished")
    for cell in waiting:
        with hold(folder / cell.name):
            if not _follow(cell, open_cell(cell, folder, corpus, options.preset, device)):
                print("interrupted; run the same command again to go on")
                return INTERRUPTED
    _publish(folder, collect(folder))
    return 0


def _follow(cell: Cell, run: Run) -> bool:
    """Train one cell to its end in front of the user; False when interrupted, between two updates."""
    print(f"\n{cell.name}: {ROWS[cell.row].label}, seed {cell.preset.training.seed}")
    introduce(run)
    with interrupts() as interrupted:
        finished = consume(run, interrupted)
    if not finished:
        run.save("interrupted")
        return False
    final = run.finish()
    print(f"{cell.name}: valid {final['valid']:.2f}, test {final['test']:.2f}")
    return True


def _publish(folder: Path, table: Table) -> None:
    """Print the table, and write it as text, as CSV and as a picture."""
    from awdlib.figures.ablation import ablation_figure, as_csv, as_text

    print(f"\n{as_text(table)}")
    write_atomically(folder / "table.txt", as_text(table).encode())
    write_atomically(folder / "table.csv", as_csv(table).encode())
    _draw(folder / "table.png", lambda: ablation_figure(table))
    print(f"table: {folder / 'table.txt'}, also as .csv")


def _report(options: argparse.Namespace) -> int:
    from awdlib.figures.comparison import comparison_figure

    records = dict(zip(_short_names(options.runs), map(read_record, options.runs), strict=True))
    text = _side_by_side(records)
    print(text, end="")
    write_atomically(options.out / "report.txt", text.encode())
    drawn = {name: record for name, record in records.items() if record["epochs"]}
    if drawn:
        _draw(options.out / "report.png", lambda: comparison_figure(drawn))
    return 0


def _short_names(folders: list[Path]) -> list[str]:
    """Each run's folder by its last name alone, or in full where two would be called the same."""
    last = [folder.resolve().name for folder in folders]
    return [name if last.count(name) == 1 else str(folder) for name, folder in zip(last, folders, strict=True)]


def _side_by_side(records: dict[str, dict[str, Any]]) -> str:
    head = ["run", "preset", "corpus", "parameters", "epochs", "best", "averaging", "valid", "test", "minutes"]
    rows = [head, *([name, *_figures(record)] for name, record in records.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows)


def _figures(record: dict[str, Any]) -> list[str]:
    """One run's line, the name apart; a run that is not finished says how far it is."""
    done, asked, final = len(record["epochs"]), record["training"]["epochs"], record["final_perplexity"]
    return [
        record["preset"] or "–",
        record["corpus"]["name"],
        f"{record['parameters']:,}",
        f"{done}" if record["status"] == "finished" else f"{done} of {asked}, {record['status']}",
        f"{record['best_epoch'] or '–'}",
        _averaging(record),
        *(f"{final[split]:.2f}" if final else "–" for split in ("valid", "test")),
        f"{record['minutes']:.1f}",
    ]


def _averaging(record: dict[str, Any]) -> str:
    """Since when a run has averaged its weights; fine-tuning begins with it."""
    if began := record["averaging"]:
        return f"after {began['begun_after_epoch']}, by {began['begun_by']}"
    return "from the start" if record["training"].get("average_from") == 1 else "–"


def _draw(path: Path, figure: Callable[[], Any]) -> None:
    """Write a figure as PNG with its text alternative inside; without matplotlib say so and go on."""
    try:
        drawn = figure()
    except ImportError:
        print(f"no {path.name}: matplotlib is not installed")
        return
    content = io.BytesIO()
    drawn.savefig(content, format="png", dpi=150, metadata={"Description": drawn.get_label()})
    write_atomically(path, content.getvalue())
    print(f"figure: {path}")


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
