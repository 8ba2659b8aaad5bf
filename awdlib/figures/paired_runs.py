"""The ablation's recorded runs as differences in nats: between runs of one seed, between runs of two, and the paper's.

A difference in nats is the logarithm of a ratio of perplexities, so that scales can be compared on which perplexity
itself is 58 or 125. The grids are read as ``python -m awdlib ablate`` leaves them: ``FOLDER/ROW-SEED/record.json``.
"""

import json
import math
from functools import cache
from typing import Any

import plotly.graph_objects as go

from awdlib import _require as require
from awdlib.ablation import ROWS
from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.figures.style import BLUE, INK, MUTED, ORANGE, PAPER, describe, fade
from awdlib.published import PTB_100K
from awdlib.results import Difference
from awdlib.runs import RECORD

#: Corpus -> the folder of its grid, below ``data``; `corpora` says which of them are there.
GRIDS = {"ptb-100k": "runs/ptb-100k", "toy": "runs/ablation-toy"}
#: Corpus -> what its text is, and what comes after ``python -m awdlib`` to make its grid.
_MADE = {
    "ptb-100k": ("the first tenth of Penn Treebank", "reproduce ptb-100k"),
    "toy": ("sentences of a grammar", "ablate --preset toy --seeds 1,2,3 \\\n            --out runs/ablation-toy"),
}
REACH = {"ptb-100k": 0.2, "toy": 0.5}  #: corpus -> the largest difference that `gap_figure` has room for, in nats
SEEDS = (1, 2, 3)  #: of every row
#: Row -> what a control calls it; all rows of the table but the full model.
LEFT_OUT = {row: ROWS[row].label.replace("– ", "without ") for row in ROWS if row != "full"}
PARTNERS = {0: "of the same seed", 1: "of another seed"}  #: how far the full model's seed is moved on, in words


def corpora() -> list[str]:
    """Names of the corpora whose grid is among the project's records.

    Example:
        >>> from awdlib.figures.paired_runs import corpora
        >>> corpora()[0]
        'ptb-100k'
    """
    return [name for name, folder in GRIDS.items() if (bundled("runs").parent / folder).is_dir()]


@cache
def recorded(corpus: str, row: str, seed: int) -> dict[str, Any]:
    """The record of one run of a grid; read once, and not to be changed.

    Args:
        corpus: one of `corpora`.
        row: one of `awdlib.ablation.ROWS`.
        seed: one of `SEEDS`.

    Raises:
        ValueError: there is no such grid, row or seed.
        FileNotFoundError: the grid lacks this run.

    Example:
        >>> from awdlib.figures.paired_runs import recorded
        >>> recorded("ptb-100k", "no-weight-drop", 2)["model"]["dropout_weight"]
        0.0
    """
    if corpus not in corpora():
        raise ValueError(f"there is no grid of {corpus!r}; it must be one of {', '.join(corpora())}")
    if row not in ROWS:
        raise ValueError(f"there is no row {row!r}; it must be one of {', '.join(ROWS)}")
    require.whole_number("seed", seed, SEEDS[0], SEEDS[-1])
    path = bundled(f"{GRIDS[corpus]}/{row}-{seed}/{RECORD}")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def grid_facts(corpus: str) -> str:
    """What was run on a corpus, in lines: its text, the full model, the budget, the seeds and the command.

    Args:
        corpus: one of `corpora`.

    Raises:
        ValueError: there is no such grid.

    Example:
        >>> from awdlib.figures.paired_runs import grid_facts
        >>> print(grid_facts("ptb-100k").splitlines()[0])
        corpus  ptb-100k: 100,009 words to train on, V = 4,963,
    """
    full = recorded(corpus, "full", SEEDS[0])
    model, how, (text, command) = full["model"], full["training"], _MADE[corpus]
    minutes = [round(recorded(corpus, row, seed)["minutes"]) for row in ROWS for seed in SEEDS]
    words = PTB_100K.tokens["train"] if corpus == "ptb-100k" else len(load_corpus(corpus).train)
    return "\n".join([
        f"corpus  {corpus}: {words:,} words to train on, V = {model['vocab_size']:,},",
        f"        {text}",
        f"model   {model['num_layers']} layers, embedding {model['embedding_size']}, hidden {model['hidden_size']}:",
        f"        {full['parameters']:,} parameters",
        f"budget  {how['epochs']} epochs, batch {how['batch_size']}: at most {max(minutes)} minutes a run",
        f"seeds   {', '.join(map(str, SEEDS))}: {len(minutes)} runs, each on one CPU core",
        f"command python -m awdlib {command}",
    ])  # fmt: skip


def gap(row: str, corpus: str, partner: int = 0) -> Difference:
    """Test loss of a row minus the full model's, in nats, for each seed.

    Args:
        row: one of `LEFT_OUT`.
        corpus: one of `corpora`.
        partner: 0 compares runs of one seed; 1 compares each with the full model of the next seed.

    Returns:
        as `awdlib.results.differences` has it, but in nats; beside it the paper's on Penn Treebank.

    Raises:
        ValueError: there is no such grid or row.

    Example:
        >>> from awdlib.figures.paired_runs import gap
        >>> found = gap("no-ntasgd", "ptb-100k")
        >>> found.verdict, round(found.published, 3)
        ('higher', 0.08)
    """
    values = {seed: _loss(corpus, row, seed) - _loss(corpus, "full", _moved(seed, partner)) for seed in SEEDS}
    return Difference(ROWS[row].label, "full", values, paper_gap(row, "ptb"), recorded(corpus, row, 1)["parameters"])


def paper_gap(row: str, corpus: str, split: str = "test") -> float:
    """The same difference as the paper reports it: from its row without fine-tuning, in nats.

    Args:
        row: one of `awdlib.ablation.ROWS`.
        corpus: "ptb" or "wikitext-2".
        split: "valid" or "test".

    Example:
        >>> from awdlib.figures.paired_runs import paper_gap
        >>> round(paper_gap("no-weight-drop", "ptb"), 3), round(paper_gap("no-weight-drop", "wikitext-2"), 3)
        (0.159, 0.126)
    """
    at = ("valid", "test").index(split)
    return math.log(ROWS[row].published[corpus][at] / ROWS["full"].published[corpus][at])


def _loss(corpus: str, row: str, seed: int) -> float:
    return math.log(recorded(corpus, row, seed)["final_perplexity"]["test"])


def _moved(seed: int, partner: int) -> int:
    return SEEDS[(SEEDS.index(seed) + partner) % len(SEEDS)]


def gap_by_epoch(row: str, corpus: str, seed: int, partner: int = 0) -> list[float]:
    """Validation loss of a row minus the full model's after each epoch, in nats.

    A fine-tuned run goes on from the full one, and is compared with where that one ended.

    Args:
        row: one of `LEFT_OUT`.
        corpus: one of `corpora`.
        seed: one of `SEEDS`.
        partner: as in ``gap``.

    Example:
        Until the learning rate falls for the first time, the row without NT-ASGD *is* the full model:

        >>> from awdlib.figures.paired_runs import gap_by_epoch
        >>> gap_by_epoch("no-ntasgd", "ptb-100k", seed=1)[:3]
        [0.0, 0.0, 0.0]
    """
    ours, full = _curve(corpus, row, seed), _curve(corpus, "full", _moved(seed, partner))
    if row == "fine-tuned":
        return [loss - min(full) for loss in ours]
    return [one - other for one, other in zip(ours, full, strict=True)]


def _curve(corpus: str, row: str, seed: int) -> list[float]:
    return [epoch["valid_loss"] for epoch in recorded(corpus, row, seed)["epochs"]]


def _averages(corpus: str, row: str, seed: int) -> int:
    """The epoch from which on a run is judged by its average; 0 where that is from the start, or never."""
    began = recorded(corpus, row, seed)["averaging"]
    return began["begun_after_epoch"] if began else 0


def gap_figure(row: str, seed: int, partner: int, corpus: str = "ptb-100k") -> go.Figure:
    """The difference from the full model by epoch, in nats, of one seed; the other seeds pale.

    Args:
        row: one of `LEFT_OUT`.
        seed: one of `SEEDS`.
        partner: 0 compares runs of one seed; 1 compares each with the full model of the next seed.
        corpus: one of `corpora`.

    Returns:
        a plotly figure; a ring marks from where on averages are compared.

    Raises:
        ValueError: there is no such row, seed or grid.

    Example:
        >>> from awdlib.figures.paired_runs import gap_figure
        >>> gap_figure("no-ar-tar", 1, 0).layout.meta["alt"].partition(":")[0]
        'Validation loss without AR/TAR minus the full model of the same seed, ptb-100k, by epoch'
    """
    if row not in LEFT_OUT:
        raise ValueError(f"row is {row!r}; it must be one of {', '.join(LEFT_OUT)}")
    if partner not in PARTNERS:
        raise ValueError(f"partner is {partner}; it must be one of {', '.join(map(str, PARTNERS))}")
    bold = gap_by_epoch(row, corpus, seed, partner)
    pale = [gap_by_epoch(row, corpus, other, partner) for other in SEEDS if other != seed]
    found, paper = gap(row, corpus, partner), paper_gap(row, "ptb", "valid")
    longest = max(len(_curve(corpus, "full", one)) for one in SEEDS)
    traces = [_line(values, fade(BLUE, 0.4), 1.5) for values in pale]
    traces += [_line(bold, BLUE, 3), _ring(row, corpus, seed, partner, bold)]
    rule = {"type": "scatter", "x": [0.5, longest + 0.8], "mode": "lines", "hoverinfo": "skip"}
    traces += [rule | {"y": [0, 0], "line": {"color": MUTED, "width": 1}},
               rule | {"y": [paper, paper], "line": {"color": ORANGE, "width": 1.5, "dash": "dash"}}]  # fmt: skip
    reach = REACH[corpus]
    ticks = [-reach, -reach / 2, 0.0, reach / 2, reach]
    layout = {
        "height": 390, "margin": {"l": 56, "r": 12, "t": 74, "b": 44},
        "xaxis": {"range": [0.5, longest + 0.8],
                  "title": {"text": "epoch of fine-tuning" if row == "fine-tuned" else "epoch"}},
        "yaxis": {"range": [-reach, reach], "tickvals": ticks, "title": {"text": "nats, validation"},
                  "ticktext": [f"{tick:+g}".replace("-", "−") if tick else "0" for tick in ticks]},
        "annotations": _words(found, seed, paper),
    }  # fmt: skip
    return describe(go.Figure({"data": traces, "layout": layout}), _sentence(row, corpus, seed, partner, found))


def _line(values: list[float], ink: str, width: float) -> dict[str, Any]:
    x = [*range(1, len(values) + 1)]
    return {"type": "scatter", "x": x, "y": values, "mode": "lines", "hoverinfo": "skip",
            "line": {"color": ink, "width": width}}  # fmt: skip


def _ring(row: str, corpus: str, seed: int, partner: int, values: list[float]) -> dict[str, Any]:
    """Where the later of both runs has begun to average."""
    began = max(_averages(corpus, row, seed), _averages(corpus, "full", _moved(seed, partner)))
    place = ([began], [values[began - 1]]) if began and row != "fine-tuned" else ([], [])
    marker = {"color": PAPER, "size": 11, "line": {"color": BLUE, "width": 2.5}}
    return {"type": "scatter", "x": place[0], "y": place[1], "mode": "markers", "hoverinfo": "skip",
            "marker": marker}  # fmt: skip


def _words(found: Difference, seed: int, paper: float) -> list[dict[str, Any]]:
    low, high = found.interval
    lines = {
        f"test, this pair <b>{found.by_seed[seed]:+.3f}</b>; three: {found.mean:+.3f} ± {found.spread:.3f}": BLUE,
        f"interval of the mean: {low:+.3f} to {high:+.3f}": INK,
        f"○ averages from here   <b>- -</b> paper {paper:+.3f}": ORANGE,
    }
    at = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom", "showarrow": False,
          "xshift": -44}  # fmt: skip
    return [
        at | {"text": _signed(text), "yshift": 46 - 21 * row, "font": {"color": ink}}
        for row, (text, ink) in enumerate(lines.items())
    ]


def _signed(text: str) -> str:
    """With the minus sign that is as wide as a plus."""
    return text.replace("+-", "−").replace(" -0", " −0").replace(">-0", ">−0")


def _sentence(row: str, corpus: str, seed: int, partner: int, found: Difference) -> str:
    values = gap_by_epoch(row, corpus, seed, partner)
    return _signed(
        f"Validation loss {_phrase(row)} minus the full model {PARTNERS[partner]}, {corpus}, by epoch: seed {seed} "
        f"ends at {values[-1]:+.3f} nats, between {min(values):+.3f} and {max(values):+.3f} on its way. On the test "
        f"text {found.by_seed[seed]:+.3f}, over three seeds {found.mean:+.3f} with a standard deviation of "
        f"{found.spread:.3f}; the paper has {paper_gap(row, 'ptb'):+.3f}."
    )


def _phrase(row: str) -> str:
    return LEFT_OUT[row] if row.startswith("no-") else f"of the model '{LEFT_OUT[row]}'"
