"""The table of an ablation, as text, as CSV and as a picture: what each part is worth, here and in the paper."""

import csv
import io
from typing import Any

from awdlib.ablation import ROWS
from awdlib.ablation_table import Line, Table
from awdlib.figures.style import BLUE, MUTED, describe, use_style


def as_csv(table: Table) -> str:
    """The table as comma-separated values: one line a row, in full precision, empty where there is nothing.

    Args:
        table: from `awdlib.ablation_table.collect`.

    Example:
        >>> from awdlib.ablation_table import Line, Table
        >>> from awdlib.figures.ablation import as_csv
        >>> full = Line("full", "1 2", 31.0, 0.2, 30.0, 0.1, None, None, None, None, 60.7, 58.8, 0.0, 0.0)
        >>> print(as_csv(Table("toy", "toy", 40, "ptb", [full])).splitlines()[1])
        ptb,full,1 2,31.0,0.2,30.0,0.1,,,,,60.7,58.8,0.0,0.0
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("paper_corpus", *Line._fields)])
    csv.writer(out, lineterminator="\n").writerows((table.paper_corpus, *line) for line in table.lines)
    return out.getvalue()


def as_text(table: Table) -> str:
    """The table in columns for a terminal, two decimals, under a line that says what is what.

    Args:
        table: from `awdlib.ablation_table.collect`.

    Example:
        >>> from awdlib.ablation_table import Line, Table
        >>> from awdlib.figures.ablation import as_text
        >>> full = Line("full", "1 2", 31.0, 0.2, 30.0, 0.1, None, None, None, None, 60.7, 58.8, 0.0, 0.0)
        >>> print(as_text(Table("toy", "toy", 40, "ptb", [full])).splitlines()[3][:55])
        full, not fine-tuned    1 2  31.00 ± 0.20  30.00 ± 0.10
    """
    head = ["", "seeds", "valid", "test", "valid − full", "test − full", "paper: valid", "test", "test − full"]
    rows = [head, *(_columns(line) for line in table.lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        row[0].ljust(widths[0]) + "".join(f"  {text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    title = (
        f"{table.preset} on {table.corpus}, {table.epochs} epochs without fine-tuning: perplexity, mean ± standard "
        f"deviation over seeds; difference ± standard error; the paper's figures for {table.paper_corpus}"
    )
    return "\n".join([title, "", *lines]) + "\n"


def _columns(line: Line) -> list[str]:
    def words(mean: float | None, spread: float | None, form: str = ".2f") -> str:
        beside = "" if spread is None else f" ± {spread:.2f}"
        return "–" if mean is None else f"{mean:{form}}{beside}"

    ours = [words(line.valid, line.valid_sd), words(line.test, line.test_sd)]
    differences = (line.valid_difference, line.valid_error), (line.test_difference, line.test_error)
    paper = words(None if line.row == "full" else line.paper_test_difference, None, "+.1f")
    return [
        ROWS[line.row].label, line.seeds, *ours, *(words(mean, error, "+.2f") for mean, error in differences),
        f"{line.paper_valid:.1f}", f"{line.paper_test:.1f}", paper,
    ]  # fmt: skip


def ablation_figure(table: Table) -> Any:
    """Test perplexity of every row, and its difference from ``full``, beside the paper's (matplotlib).

    Bars are one standard deviation over the seeds on the left, one standard error of the difference on the right.
    The paper's perplexities are drawn only where it is the same corpus; its differences always.

    Args:
        table: from `awdlib.ablation_table.collect`.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Example:
        >>> from awdlib.ablation_table import Line, Table
        >>> from awdlib.figures.ablation import ablation_figure
        >>> full = Line("full", "1 2", 31.0, 0.2, 30.0, 0.1, None, None, None, None, 60.7, 58.8, 0.0, 0.0)
        >>> dropped = Line("no-ar-tar", "1 2", 34.1, 0.2, 33.0, 0.1, 3.1, 0.2, 3.0, 0.2, 62.7, 60.3, 2.0, 1.5)
        >>> figure = ablation_figure(Table("toy", "toy", 40, "ptb", [full, dropped]))
        >>> figure.get_label().split("; ")[1]
        '– AR/TAR 33.00 ± 0.10, +3.00 from full (paper +1.5).'
    """
    import matplotlib.pyplot as plt

    lines, heights = table.lines, list(range(len(table.lines)))
    with use_style():
        figure, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(7.6, 1.3 + 0.36 * len(lines)))
        _points(left, [(line.test, line.test_sd) for line in lines])
        _points(right, [(line.test_difference, line.test_error) for line in lines], "+.2f")
        if table.corpus == table.paper_corpus:
            _papers(left, [line.paper_test for line in lines])
        _papers(right, [line.paper_test_difference for line in lines])
        right.axvline(0, color=MUTED, linewidth=1)
        left.set_yticks(heights, [ROWS[line.row].label for line in lines])
        left.set(xlabel="test perplexity", ylim=(len(lines) - 0.5, -1.2))
        right.set(xlabel="difference from full")
        for axes in (left, right):
            axes.grid(visible=True, axis="x")
            axes.tick_params(axis="y", length=0)
            axes.margins(x=0.08)
        left.set_title(f"{table.preset} on {table.corpus}, {table.epochs} epochs")
        right.set_title(f"● here   ◇ paper, {table.paper_corpus}")
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(figure, _sentence(table))


def _points(axes: Any, values: list[tuple[float | None, float | None]], form: str = ".2f") -> None:
    """Ours: filled points with their bars, and the value in words above each."""
    for height, (mean, spread) in enumerate(values):
        if mean is None:
            continue
        axes.errorbar(mean, height, xerr=spread, fmt="o", color=BLUE, capsize=3, markersize=6)
        above = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{mean:{form}}", (mean, height), color=BLUE, fontsize=8, **above)


def _papers(axes: Any, values: list[float]) -> None:
    """The paper's: hollow diamonds, told apart from ours by shape and not by colour alone."""
    axes.plot(values, range(len(values)), "D", markersize=6, markerfacecolor="none", color=MUTED)


def _sentence(table: Table) -> str:
    def words(line: Line) -> str:
        beside = "" if line.test_sd is None else f" ± {line.test_sd:.2f}"
        from_full = (
            ""
            if line.test_difference is None
            else f", {line.test_difference:+.2f} from full (paper {line.paper_test_difference:+.1f})"
        )
        return f"{ROWS[line.row].label} {line.test:.2f}{beside}{from_full}"

    return (
        f"Ablation of {table.preset} on {table.corpus}, test perplexity, beside the paper's differences on "
        f"{table.paper_corpus}: {'; '.join(map(words, table.lines))}."
    )
