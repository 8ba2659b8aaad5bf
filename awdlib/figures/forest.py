"""The ablation as a forest plot in nats: what was measured here with its intervals, and the paper's two corpora."""

from collections.abc import Mapping
from typing import Any

from awdlib.ablation import ROWS
from awdlib.figures.paired_runs import LEFT_OUT, gap, paper_gap
from awdlib.figures.style import BLUE, GREEN, INK, describe, use_style
from awdlib.results import Difference

MARKS = {"ptb-100k": (BLUE, "o", "●"), "toy": (GREEN, "s", "■")}  #: corpus -> colour, marker, as it is written
PAPERS = {"ptb": ("D", "◇"), "wikitext-2": ("v", "▽")}  #: the paper's corpora -> marker, as it is written


def forest_figure(corpora: list[str]) -> Any:
    """Difference in test loss of each row from the full model, in nats: means, seeds and intervals, and the paper's.

    Args:
        corpora: some of `awdlib.figures.paired_runs.corpora`.

    Returns:
        a matplotlib figure, whose label is its text alternative.

    Raises:
        ValueError: no corpora, or one that has no mark.

    Example:
        >>> from awdlib.figures.forest import forest_figure
        >>> forest_figure(["ptb-100k"]).get_label().partition(";")[0]
        'Difference in test loss from the full model, nats: – NT-ASGD ptb-100k +0.048 (+0.036 to +0.060), paper +0.080 \
on ptb and +0.055 on wikitext-2'
    """
    import matplotlib.pyplot as plt

    if not corpora or {*corpora} - {*MARKS}:
        raise ValueError(f"corpora are {corpora}; give some of {', '.join(MARKS)}")
    found = {row: {corpus: gap(row, corpus) for corpus in corpora} for row in LEFT_OUT}
    apart = 0.3 if len(corpora) > 1 else 0.0
    with use_style():
        figure, axes = plt.subplots(figsize=(5.4, 1.3 + (0.5 + apart) * len(found)))
        for height, (row, ours) in enumerate(found.items()):
            for place, (corpus, one) in enumerate(ours.items()):
                _draw(axes, one, height + apart * (place - (len(ours) - 1) / 2), corpus)
            for corpus, (mark, _) in PAPERS.items():
                axes.plot(paper_gap(row, corpus), height, mark, markersize=8, markerfacecolor="none", color=INK)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(found)), [ROWS[row].label for row in found])
        axes.set(ylim=(len(found) - 0.5, -0.6), xlabel="test loss minus the full model's, nats a word")
        axes.grid(visible=True, axis="x")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        ours_said = "   ".join(f"{MARKS[corpus][2]} {corpus}" for corpus in corpora)
        axes.set_title(f"here: {ours_said}, bar: interval, |: seeds\npaper: ◇ PTB   ▽ WikiText-2", fontsize=10)
        plt.close(figure)  # it is shown where it is returned to, and not once more by pyplot
    return describe(figure, f"Difference in test loss from the full model, nats: {_sentence(found)}.")


def _draw(axes: Any, one: Difference, height: float, corpus: str) -> None:
    ink, mark, _ = MARKS[corpus]
    axes.plot(one.interval, [height, height], color=ink, linewidth=7, alpha=0.25, solid_capstyle="butt")
    axes.plot([*one.by_seed.values()], [height] * len(one.by_seed), "|", color=ink, markersize=12)
    axes.plot(one.mean, height, mark, color=ink, markersize=7)


def _sentence(found: Mapping[str, Mapping[str, Difference]]) -> str:
    def words(row: str, ours: Mapping[str, Difference]) -> str:
        measured = ", ".join(
            f"{corpus} {one.mean:+.3f} ({one.interval[0]:+.3f} to {one.interval[1]:+.3f})"
            for corpus, one in ours.items()
        )
        papers = " and ".join(f"{paper_gap(row, corpus):+.3f} on {corpus}" for corpus in PAPERS)
        return f"{ROWS[row].label} {measured}, paper {papers}"

    return "; ".join(words(row, ours) for row, ours in found.items())
