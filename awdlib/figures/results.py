"""The page of results: tables of what was published and what came out here, and the differences as a picture."""

import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from awdlib.ablation import ROWS
from awdlib.bundled import bundled
from awdlib.figures.style import BLUE, INK, MUTED, ORANGE, describe, use_style
from awdlib.goals import GOALS, GROUPS, LATER, Goal
from awdlib.model import LanguageModel
from awdlib.presets import PRESETS
from awdlib.published import PUBLISHED
from awdlib.results import HIGHER, LOWER, OPEN, WITHIN, Difference, Result, result_of

CLOSE = 0.03  #: a perplexity this near to the published one, as a share of it, counts as reproduced
REPRODUCED, MISSED, SHORTER = "reproduced", "not reproduced", "fewer epochs than published"  #: standing of a number
UNDER_WAY, DIVERGED, NOT_RUN, UNPUBLISHED = "under way", "diverged", "not run", "nothing published"  #: likewise


class Table:
    """A table that a notebook shows, scrolling by itself where it is wider than the page; in a terminal, columns.

    Args:
        title: says what it is.
        head: names of the columns.
        rows: of strings; the first of each names its row.

    Raises:
        ValueError: a row is longer or shorter than the head.

    Example:
        >>> from awdlib.figures.results import Table
        >>> Table("Perplexities", ["run", "test"], [["full", "125.5"]])
        Perplexities
        run   test
        full  125.5
    """

    def __init__(self, title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        self.title, self.head, self.rows = title, list(head), [list(row) for row in rows]
        if wrong := [row for row in self.rows if len(row) != len(self.head)]:
            raise ValueError(f"a row has {len(wrong[0])} cells and the head {len(self.head)}: {' | '.join(wrong[0])}")

    def __repr__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        columns = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in lines)
        return "\n".join([self.title, *map(str.rstrip, columns)])

    def _repr_html_(self) -> str:
        title = html.escape(self.title)
        line = "text-align:left;white-space:nowrap"
        head = "".join(f'<th scope="col" style="{line}">{_shown(text)}</th>' for text in self.head)
        body = "".join(
            f'<tr><th scope="row" style="{_STICKS}">{_shown(row[0])}</th>'
            + "".join(f'<td style="{line}">{_shown(text)}</td>' for text in row[1:])
            + "</tr>"
            for row in self.rows
        )
        return (
            f'<div role="region" aria-label="{title}" tabindex="0" style="overflow-x:auto">'
            '<table class="table" style="display:table;overflow:visible">'  # the region scrolls: keys reach it
            f'<caption style="caption-side:top;text-align:left">{title}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


#: The name of a row stays in view while a narrow page scrolls its figures.
_STICKS = (
    "text-align:left;font-weight:600;position:sticky;left:0;min-width:9em;"
    "background:var(--pst-color-background,var(--jp-layout-color0,Canvas))"
)


def _shown(text: str) -> str:
    """A cell; what stands between backticks is code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))


def standing(goal: Goal, result: Result | None) -> str:
    """Where a published number stands, in a word or two.

    Args:
        goal: one with a published number.
        result: what the records say of it.

    Example:
        >>> from awdlib.figures.results import standing
        >>> from awdlib.goals import GOALS
        >>> from awdlib.results import result_of
        >>> goal = GOALS["zaremba-small"]
        >>> standing(goal, result_of(goal)), standing(goal, None)
        ('reproduced', 'not run')
    """
    if result is None:
        return NOT_RUN
    if result.test is None:
        return DIVERGED if result.record["status"] == "diverged" else UNDER_WAY
    if goal.published is None:
        return UNPUBLISHED
    first = (*result.parents, result.record)[0]
    if len(first["epochs"]) < PRESETS[goal.steps[0].preset].training.epochs:
        return SHORTER
    ours = zip((result.valid, result.test), goal.published, strict=True)
    return REPRODUCED if all(abs(one / other - 1) <= CLOSE for one, other in ours) else MISSED


def published_table(corpus: str, records: Path | None = None) -> Table:
    """Every published number on a corpus beside ours, and the GRU, for which nobody has published one.

    Args:
        corpus: ``"ptb"`` or ``"wikitext-2"``.
        records: as `awdlib.results.result_of` takes it.

    Example:
        >>> from awdlib.figures.results import published_table
        >>> table = published_table("ptb")
        >>> len(table.rows), table.rows[0][:2]
        (17, ['AWD-LSTM, not fine-tuned', '60.7 / 58.8'])
    """
    rows = []
    for name in GROUPS["gpu"]:
        goal = GOALS[name]
        if goal.corpus == corpus:
            result = result_of(goal, records)
            stands = [_aim(goal), _reached(result), standing(goal, result), asked(goal)]
            rows.append([goal.system, *stands, *_how(result), goal.source or "this project", f"`{name}`"])
    head = ["system", "published", "ours", "standing", "asked for", *_HOW, "source", "name"]
    return Table(f"Perplexity on {corpus}, validation / test: published, and ours", head, rows)


def asked(goal: Goal) -> str:
    """Parameters and epochs of a goal as its source has them.

    Args:
        goal: one of `awdlib.goals.GOALS`.

    Example:
        >>> from awdlib.figures.results import asked
        >>> from awdlib.goals import GOALS
        >>> asked(GOALS["awd-lstm-ptb"])
        '24.2 M, 750 epochs'
    """
    preset = PRESETS[goal.steps[0].preset]
    if row := goal.steps[0].row:
        preset = ROWS[row].vary(preset)
    with torch.device("meta"):  # shapes only
        parameters = sum(weight.numel() for weight in LanguageModel(preset.model).parameters())
    more = f" + at most {step.options[1]}" if (step := goal.steps[-1 - goal.cached]).kind == "finetune" else ""
    return f"{parameters / 1e6:.1f} M, {preset.training.epochs}{more} epochs"


def later_table() -> Table:
    """What came after AWD-LSTM, from its papers: test perplexity.

    Example:
        >>> from awdlib.figures.results import later_table
        >>> later_table().rows[0]
        ['AWD-LSTM with past decode regularization', '–', '55.6', '63.5']
    """
    rows = [[one.system, "yes" if one.dynamic else "–", f"{one.ptb:.1f}", f"{one.wikitext2:.1f}"] for one in LATER]
    head = ["system", "dynamic evaluation", "Penn Treebank", "WikiText-2"]
    return Table("Test perplexity of what came after, as published; not part of this library, not run", head, rows)


def ours_table(names: Sequence[str], records: Path | None = None) -> Table:
    """Runs that no publication has beside it; those to come are marked.

    Args:
        names: of `awdlib.goals.GOALS`.
        records: as `awdlib.results.result_of` takes it.

    Example:
        >>> from awdlib.figures.results import ours_table
        >>> ours_table(["zaremba-small"]).rows[0][2]
        '119.5 / 115.9'
    """
    rows = []
    for name in names:
        goal, result = GOALS[name], result_of(GOALS[name], records)
        rows.append([goal.system, goal.corpus, _reached(result), *_how(result), f"`{name}`"])
    head = ["model", "corpus", "valid / test", *_HOW, "name"]
    return Table("Whole corpora at reduced size", head, rows)


def recorded_table(records: Path | None = None) -> Table:
    """What was really run on the whole of a corpus, with its command's name, and where the published number stands.

    Args:
        records: as `awdlib.results.result_of` takes it.

    Example:
        >>> from awdlib.figures.results import recorded_table
        >>> recorded_table().rows[0][:4]
        ['Zaremba, small', '120.7 / 114.5', '119.5 / 115.9', 'reproduced']
    """
    found = {name: result_of(goal, records) for name, goal in GOALS.items() if goal.corpus in PUBLISHED}
    rows = [
        [GOALS[name].system, _aim(GOALS[name]), _reached(result), standing(GOALS[name], result), *_how(result),
         f"`{name}`"]
        for name, result in found.items() if result
    ]  # fmt: skip
    head = ["system", "published", "ours", "standing", *_HOW, "name"]
    return Table("Runs on whole corpora, perplexity on validation / test text", head, rows)


_HOW = ["size", "budget", "seed", "hardware", "record"]


def _aim(goal: Goal) -> str:
    return "{:.1f} / {:.1f}".format(*goal.published) if goal.published else "–"


def _reached(result: Result | None) -> str:
    if result is None:
        return "–"
    return f"{result.valid:.1f} / {'–' if result.test is None else f'{result.test:.1f}'}"


def _how(result: Result | None) -> list[str]:
    if result is None:
        return ["–"] * 5
    seed = str(result.record["training"]["seed"])
    return [result.size, result.budget, seed, result.hardware, f"`{result.path}`"]


SAYS = {
    HIGHER: "higher: the interval is above 0",
    LOWER: "lower: the interval is below 0",
    OPEN: "not settled by these seeds",
    WITHIN: "within the seeds' spread",
}  #: a verdict in words


def differences_table(differences: Sequence[Difference]) -> Table:
    """Differences in test perplexity beside the paper's.

    Args:
        differences: from `awdlib.results.differences`.

    Example:
        >>> from awdlib.figures.results import differences_table
        >>> from awdlib.results import Difference
        >>> differences_table([Difference("– AR/TAR", "full", {1: 3.0, 2: 2.0, 3: 2.5}, 1.5, 634_323)]).rows[0]
        ['– AR/TAR', '+2.50 ± 0.50', '+1.5', 'higher: the interval is above 0', '+1.26 to +3.74', '3', '0.63 M']
    """
    rows = [
        [
            one.arm,
            _signed(f"{one.mean:+.2f} ± {one.spread:.2f}"),
            "–" if one.published is None else _signed(f"{one.published:+.1f}"),
            SAYS[one.verdict],
            _signed("{:+.2f} to {:+.2f}".format(*one.interval)),
            str(len(one.by_seed)),
            f"{one.parameters / 1e6:.2f} M",
        ]
        for one in differences
    ]
    head = ["arm", "difference ± sd", "paper's", "verdict", "95 % interval", "seeds", "parameters"]
    others = ", ".join(dict.fromkeys(one.against for one in differences))
    return Table(f"Test perplexity minus that of: {others}, at equal seed", head, rows)


def _signed(text: str) -> str:
    """With the minus sign that is as wide as a plus."""
    return text.replace("-", "−")


def differences_figure(differences: Sequence[Difference]) -> Any:
    """Each difference with its seeds and its interval, beside the paper's difference (matplotlib).

    Args:
        differences: from `awdlib.results.differences`.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: there is none.

    Example:
        >>> from awdlib.figures.results import differences_figure
        >>> from awdlib.results import Difference
        >>> differences_figure([Difference("– AR/TAR", "full", {1: 3.0, 2: 2.0, 3: 2.5}, 1.5)]).get_label()
        'Difference in test perplexity at equal seed: – AR/TAR +2.5 (+1.3 to +3.7; paper +1.5).'
    """
    import matplotlib.pyplot as plt

    if not differences:
        raise ValueError("there are no differences to draw: at least one comparison needs two finished seeds")
    with use_style():
        figure, axes = plt.subplots(figsize=(7.2, 1.0 + 0.42 * len(differences)))
        for height, one in enumerate(differences):
            settled = one.verdict in (HIGHER, LOWER)
            ink = (ORANGE if one.mean > 0 else BLUE) if settled else MUTED
            axes.plot(one.interval, [height, height], color=ink, linewidth=5, alpha=0.3, solid_capstyle="butt")
            axes.plot([*one.by_seed.values()], [height] * len(one.by_seed), "|", color=ink, markersize=11)
            axes.plot(one.mean, height, "o", color=ink, markersize=7)
            if one.published is not None:
                axes.plot(one.published, height, "D", markersize=6, markerfacecolor="none", color=INK)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(range(len(differences)), [one.arm for one in differences])
        axes.set(ylim=(len(differences) - 0.5, -0.6), xlabel=f"test perplexity minus that of: {differences[0].against}")
        axes.grid(visible=True, axis="x")
        axes.tick_params(axis="y", length=0)
        axes.set_title("● mean   | seeds   ▬ 95 % interval   ◇ paper, at its size", fontsize=10)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(figure, f"Difference in test perplexity at equal seed: {'; '.join(map(_words, differences))}.")


def _words(one: Difference) -> str:
    paper = "" if one.published is None else f"; paper {one.published:+.1f}"
    return f"{one.arm} {one.mean:+.1f} ({one.interval[0]:+.1f} to {one.interval[1]:+.1f}{paper})"


#: Preset -> the benchmark's configuration of its size.
MEASURED = {
    "awd-lstm-ptb": "ptb-40",
    "awd-lstm-ptb-readme": "ptb-20",
    "awd-gru-ptb": "gru-40",
    "awd-lstm-wt2": "wt2-80",
}


def days_table() -> Table:
    """How long the paper's models would train on the processor that the benchmark's record is of, in fp32.

    Example:
        >>> from awdlib.figures.results import days_table
        >>> days_table().rows[0][3]
        '750'
    """
    record = json.loads(bundled("benchmarks/cpu.json").read_text(encoding="utf-8"))
    rows = []
    for preset, config in MEASURED.items():
        wanted = {"group": "step", "config": config, "candidate": "awdlib", "precision": "fp32"}
        update = next(one for one in record["measurements"] if wanted.items() <= one.items())
        speed = update["tokens"] / update["median"]
        tokens, epochs = PUBLISHED[PRESETS[preset].corpus].tokens["train"], PRESETS[preset].training.epochs
        minutes = tokens / speed / 60
        days = f"{minutes * epochs / 60 / 24:.1f} days"
        rows.append([f"`{preset}`", f"{speed:,.0f}", f"{minutes:.0f} min", str(epochs), days])
    there = record["environment"]
    title = f"What training would take on the benchmark's machine: {there['cpu']}, {there['threads']} threads"
    return Table(title, ["preset", "tokens a second", "an epoch", "epochs", "altogether"], rows)
