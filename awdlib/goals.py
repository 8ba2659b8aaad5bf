"""Every number that this project wants to reach, where it was published, and the commands that lead to it.

`GOALS` has them in the order in which they are worth computing: the base models, what builds on them, then their
variants. ``python -m awdlib reproduce NAME`` takes the steps of
one, skips what is finished, and goes on with what was interrupted; the records of its runs are what the book's page of
results is made from.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from awdlib.ablation import ROWS


@dataclass(frozen=True)
class Step:
    """One command, and the folder in which it leaves its run.

    Example:
        >>> from awdlib.goals import Step
        >>> Step("train", "ptb-small", ("--preset", "ptb-small")).command()
        'python -m awdlib train --preset ptb-small --out runs/ptb-small --resume'
    """

    kind: str  #: "train", "finetune", "tune-cache" or "ablate"
    run: str  #: folder below that of all runs; of a grid, the folder of its cells
    options: tuple[str, ...] = ()  #: beyond those that every step of this kind has
    parent: str = ""  #: the run that "finetune" starts from
    row: str = ""  #: of an ablation: the one row that is wanted; "" for all

    @property
    def preset(self) -> str:
        """Name of the preset that it trains; "" for a step that trains none from the beginning."""
        return self.options[self.options.index("--preset") + 1] if "--preset" in self.options else ""

    def needs(self, other: "Step") -> bool:
        """Whether it goes on from what another step makes."""
        source = self.parent or self.run
        return self.kind != other.kind and (source == other.run or source.startswith(f"{other.run}/"))

    def words(self, runs: str) -> list[str]:
        """The words of the command.

        Args:
            runs: folder of all runs.

        Returns:
            the command's name and its options.
        """
        folder = f"{runs}/{self.run}"
        fixed = {
            "train": [*self.options, "--out", folder, "--resume"],
            "finetune": [f"{runs}/{self.parent}", *self.options, "--out", folder, "--resume"],
            "tune-cache": [folder, *self.options],
            "ablate": [*self.options, "--out", folder],
        }
        return [self.kind, *fixed[self.kind]]

    def command(self) -> str:
        """The same as one line to copy."""
        return " ".join(["python", "-m", "awdlib", *self.words("runs")])


@dataclass(frozen=True)
class Goal:
    """Something to be reached; those of `GOALS` have a name.

    Example:
        >>> from awdlib.goals import GOALS
        >>> goal = GOALS["awd-lstm-ptb-cache"]
        >>> goal.published, [step.kind for step in goal.steps]
        ((53.9, 52.8), ['train', 'finetune', 'tune-cache'])
    """

    system: str  #: as a table calls it
    corpus: str  #: as `awdlib.corpora.load_corpus` calls it
    steps: tuple[Step, ...]  #: in order; the last one's run holds the result
    published: tuple[float, float] | None = None  #: perplexity on validation and test text, where somebody reports it
    source: str = ""  #: who

    @property
    def cached(self) -> bool:
        """Whether the result is the one with the continuous cache."""
        return self.steps[-1].kind == "tune-cache"


_PAPER, _README, _ZAREMBA = "Merity et al. 2017", "the original code's README", "Zaremba et al. 2014"
_SEEDS = (1, 2, 3)
_STRONGER = tuple(
    word
    for setting in ("dropout_input=0.3", "dropout_hidden=0.2", "dropout_output=0.3", "dropout_weight=0.3")
    for word in ("--set", setting)
)


def _train(preset: str, run: str = "", *options: str) -> Step:
    return Step("train", run or preset, ("--preset", preset, *options))


def _chain(
    preset: str, corpus: str, system: str, source: str, window: int, epochs: int,
    published: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
) -> dict[str, Goal]:  # fmt: skip
    """Trained, then fine-tuned, then with the cache: three goals, each with the steps of the one before."""
    tuned = f"{preset}-finetuned"
    steps = (
        _train(preset),
        Step("finetune", tuned, ("--epochs", str(epochs)), parent=preset),
        Step("tune-cache", tuned, ("--window", str(window))),
    )
    labels = {"": ", not fine-tuned", "-finetuned": ", fine-tuned", "-cache": ", fine-tuned, with the cache"}
    return {
        preset + end: Goal(system + label, corpus, steps[: number + 1], published[number], source)
        for number, (end, label) in enumerate(labels.items())
    }


def _of_paper(corpus: str, cached: tuple[float, float]) -> Any:
    """The paper's three figures of the whole model."""
    return ROWS["full"].published[corpus], ROWS["fine-tuned"].published[corpus], cached


def _ablation(preset: str, corpus: str) -> dict[str, Goal]:
    """The paper's rows that leave something out, each a run beside the full one."""
    return {
        f"{row}-{corpus}": Goal(
            ROWS[row].label, corpus,
            (Step("ablate", f"ablation-{corpus}", ("--preset", preset, "--rows", row, "--seeds", "1"), row=row),),
            ROWS[row].published[corpus], _PAPER,
        )
        for row in ROWS if row not in ("full", "fine-tuned")
    }  # fmt: skip


def _slice(preset: str, system: str) -> Goal:
    """A few seeds of a preset beside the ablation's runs."""
    arm = preset.removeprefix("ptb-100k-")
    steps = tuple(_train(preset, f"ptb-100k/{arm}-{seed}", "--seed", str(seed)) for seed in _SEEDS)
    return Goal(system, "ptb-100k", steps)


def _quick(preset: str, corpus: str) -> dict[str, Goal]:
    """A model that two CPU cores can train, without and with the cache."""
    window = {"ptb": "500", "wikitext-2": "3785"}[corpus]
    steps = (_train(preset), Step("tune-cache", preset, ("--window", window)))
    names = {"": "AWD-LSTM at reduced size", "-cache": "AWD-LSTM at reduced size, with the cache"}
    return {preset + end: Goal(name, corpus, steps[: number + 1]) for number, (end, name) in enumerate(names.items())}


#: By name.
#:
#: :meta hide-value:
GOALS: dict[str, Goal] = {
    # The paper's cache on Penn Treebank remembered 2,000 positions by what a secondary source says, the README's 500.
    **_chain("awd-lstm-ptb", "ptb", "AWD-LSTM", _PAPER, 2000, 500, _of_paper("ptb", (53.9, 52.8))),
    "awd-gru-ptb": Goal("AWD-GRU", "ptb", (_train("awd-gru-ptb"),)),
    **_chain("awd-lstm-wt2", "wikitext-2", "AWD-LSTM", _PAPER, 3785, 750, _of_paper("wikitext-2", (53.8, 52.0))),
    "awd-gru-wt2": Goal("AWD-GRU", "wikitext-2", (_train("awd-gru-wt2"),)),
    **_chain(
        "awd-lstm-ptb-readme", "ptb", "AWD-LSTM, the code's settings", _README, 500, 500,
        ((61.2, 58.8), (58.8, 56.5), (53.2, 52.5)),
    ),
    **_chain(
        "awd-lstm-wt2-readme", "wikitext-2", "AWD-LSTM, the code's settings", _README, 3785, 750,
        ((68.7, 65.6), (67.4, 64.7), (52.2, 50.6)),
    ),
    "zaremba-small": Goal("Zaremba, small", "ptb", (_train("zaremba-small"),), (120.7, 114.5), _ZAREMBA),
    "zaremba-medium": Goal("Zaremba, medium", "ptb", (_train("zaremba-medium"),), (86.2, 82.7), _ZAREMBA),
    "zaremba-large": Goal("Zaremba, large", "ptb", (_train("zaremba-large"),), (82.2, 78.4), _ZAREMBA),
    **_ablation("awd-lstm-ptb", "ptb"),
    **_ablation("awd-lstm-wt2", "wikitext-2"),
    "ptb-100k-pilot": Goal(
        "two strengths of the dropouts, to choose between", "ptb-100k",
        tuple(
            _train("ptb-100k", f"ptb-100k-pilot/{name}", "--seed", "0", *settings)
            for name, settings in {"chosen": (), "stronger": _STRONGER}.items()
        ),
    ),
    "ptb-100k": Goal(
        "the nine rows of the ablation", "ptb-100k",
        (Step("ablate", "ptb-100k", ("--preset", "ptb-100k", "--seeds", ",".join(map(str, _SEEDS)))),),
    ),
    "ptb-100k-unregularized": _slice("ptb-100k-unregularized", "no regularizer"),
    "ptb-100k-gru": _slice("ptb-100k-gru", "GRU of equal size"),
    "ptb-100k-zaremba": _slice("ptb-100k-zaremba", "Zaremba's rule"),
    "ptb-100k-cache": Goal(
        "with the cache", "ptb-100k",
        (
            Step("ablate", "ptb-100k", ("--preset", "ptb-100k", "--seeds", ",".join(map(str, _SEEDS)))),
            *(Step("tune-cache", f"ptb-100k/full-{seed}", ("--window", "500")) for seed in _SEEDS),
        ),
    ),
    **_quick("ptb-quick", "ptb"),
    **_quick("wikitext-2-quick", "wikitext-2"),
}  # fmt: skip
_OURS = ("ptb-100k", "ptb-quick", "wikitext-2-quick")  # presets of this project, for a CPU
#: What ``reproduce`` can be asked for at once, in the order in which it is done: the paper's sizes, which need a GPU,
#: and what two CPU cores can do within hours.
#:
#: :meta hide-value:
GROUPS = {
    "gpu": [name for name in GOALS if not name.startswith(_OURS)],
    "cpu": [name for name in GOALS if name.startswith(_OURS)],
}


def commands(names: Iterable[str]) -> str:
    """The commands of several goals as one script, in order; a step that two goals share stands there once.

    ``python -m awdlib reproduce`` takes the same steps, and knows besides what is finished.

    Args:
        names: of `GOALS`.

    Raises:
        ValueError: no goal has one of these names, or they are one text.

    Example:
        The cache is tuned on what was trained before:

        >>> from awdlib.goals import commands
        >>> print(commands(["ptb-quick", "ptb-quick-cache"]))
        # ptb-quick: AWD-LSTM at reduced size
        python -m awdlib train --preset ptb-quick --out runs/ptb-quick --resume
        <BLANKLINE>
        # ptb-quick-cache: AWD-LSTM at reduced size, with the cache
        python -m awdlib tune-cache runs/ptb-quick --window 500
    """
    if isinstance(names, str):
        raise ValueError(f"names is the text {names!r}: give a list of names")
    blocks, told = [], set()
    for name in names:
        if name not in GOALS:
            raise ValueError(f"no goal is called {name!r}: use one of {', '.join(GOALS)}")
        goal = GOALS[name]
        aim = f" -> {goal.published[0]:.1f} / {goal.published[1]:.1f}, {goal.source}" if goal.published else ""
        steps = [step.command() for step in goal.steps if step.command() not in told]
        told.update(steps)
        blocks.append("\n".join([f"# {name}: {goal.system}{aim}", *steps]))
    return "\n\n".join(blocks)


class Later(NamedTuple):
    """A later result on the test texts; not part of this library, and not run with it.

    Example:
        >>> from awdlib.goals import LATER
        >>> min(LATER, key=lambda one: one.ptb).system
        'Mogrifier RLSTM'
    """

    system: str  #: as its paper calls it
    ptb: float  #: test perplexity
    wikitext2: float  #: test perplexity
    dynamic: bool = False  #: with dynamic evaluation: the weights go on learning while the test text is read


#: What came after AWD-LSTM, as its papers and NLP-progress report it.
#:
#: :meta hide-value:
LATER = (
    Later("AWD-LSTM with past decode regularization", 55.6, 63.5),
    Later("AWD-LSTM with a mixture of softmaxes", 54.4, 61.5),
    Later("AWD-LSTM, direct output connection", 52.4, 58.0),
    Later("Mogrifier LSTM", 50.1, 55.1),
    Later("Mogrifier RLSTM", 47.9, 55.0),
    Later("AWD-LSTM", 51.1, 44.3, dynamic=True),
    Later("AWD-LSTM with a mixture of softmaxes", 47.7, 40.7, dynamic=True),
    Later("Mogrifier RLSTM", 42.9, 38.0, dynamic=True),
)
