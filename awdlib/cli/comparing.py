"""``report``: several runs side by side; and the table that ``ablate`` ends with."""

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from awdlib.ablation_table import Table
from awdlib.checkpoints import write_atomically
from awdlib.runs import read_record


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the parser.

    Args:
        commands: the parser's commands so far.
    """
    command = commands.add_parser("report", help="several runs side by side")
    command.set_defaults(command=_report)
    command.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="a run's folder")
    command.add_argument("--out", type=Path, default=Path(), help="where report.txt and report.png go (default: here)")


def publish_table(folder: Path, table: Table) -> None:
    """Print an ablation's table, and write it as text, as CSV and as a picture.

    Args:
        folder: of the grid.
        table: from `awdlib.ablation_table.collect`.
    """
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
