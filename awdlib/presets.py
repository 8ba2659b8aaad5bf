"""Named configurations, each with its source and the published figures that it aims at.

Vary one with ``dataclasses.replace``; the command line does so with ``--set field=value``.

Each preset has a precision (`awdlib.precision`). The published models are trained in fp32, the precision in which their
figures were reached. ``ptb-small`` and the two quick ones leave it to the processor: "auto" is bf16 where that is
computed in silicon, which is faster, and fp32 elsewhere, where bf16 would be imitated and slower. ``toy`` and the
slices are too small to gain: fp32.
"""

from dataclasses import dataclass, replace

from awdlib.model import ModelConfig
from awdlib.training import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A configuration with its source; those of `PRESETS` have a name.

    Example:
        The paper's settings for Penn Treebank with one change, for a run of a few epochs:

        >>> from dataclasses import replace
        >>> from awdlib.presets import PRESETS
        >>> paper = PRESETS["awd-lstm-ptb"]
        >>> short = replace(paper, training=replace(paper.training, epochs=9, average_from=6))
        >>> short.training.epochs, short.training.lr, short.model == paper.model
        (9, 30.0, True)
    """

    corpus: str  #: the corpus it is meant for
    model: ModelConfig  #: its vocab_size is replaced by the corpus's
    training: TrainConfig  #: how it is trained
    source: str  #: where the settings come from
    published: str = ""  #: perplexities that the source reports with them, validation / test


_PAPER = "Merity et al. 2017, section 5"
_CODE = "the original code's README"

_TOY = Preset(
    corpus="toy",
    model=ModelConfig(
        vocab_size=1_000,
        embedding_size=64,
        hidden_size=128,
        num_layers=2,
        dropout_input=0.2,
        dropout_hidden=0.2,
        dropout_output=0.2,
        dropout_embedding=0.05,
        dropout_weight=0.2,
    ),
    training=TrainConfig(epochs=40, batch_size=20, bptt=35, lr=20.0, ar_weight=0.5, tar_weight=0.5),
    source="this project: every part of AWD-LSTM at work within a minute on two CPU cores, the trigger too",
)
_PTB_SMALL = Preset(
    corpus="ptb",
    model=ModelConfig(
        vocab_size=10_000,
        embedding_size=300,
        hidden_size=600,
        num_layers=2,
        dropout_input=0.25,
        dropout_hidden=0.2,
        dropout_output=0.3,
        dropout_embedding=0.05,
        dropout_weight=0.3,
    ),
    training=TrainConfig(epochs=9, batch_size=20, bptt=35, average_from=6, precision="auto"),
    source="this project: real English within half an hour on two CPU cores; averaging begins by schedule, since so "
    "few epochs leave the trigger no time",
)
_PTB_QUICK = replace(
    _PTB_SMALL,
    model=replace(_PTB_SMALL.model, embedding_size=200, hidden_size=400),
    training=replace(_PTB_SMALL.training, epochs=5, average_from=4),
    source="this project: ptb-small, smaller still, for two CPU cores without bfloat16",
)
_WT2_QUICK = Preset(
    corpus="wikitext-2",
    model=ModelConfig(
        vocab_size=33_278,
        embedding_size=100,
        hidden_size=300,
        num_layers=2,
        dropout_input=0.2,
        dropout_hidden=0.1,
        dropout_output=0.2,
        dropout_embedding=0.05,
        dropout_weight=0.2,
    ),
    training=TrainConfig(epochs=2, batch_size=20, bptt=35, average_from=2, precision="auto"),
    source="this project: WikiText-2 in less than an hour on two CPU cores; averaging begins by schedule",
)
_PTB_100K = Preset(
    corpus="ptb-100k",
    model=ModelConfig(
        vocab_size=4_963,
        embedding_size=80,
        hidden_size=160,
        num_layers=2,
        dropout_input=0.2,
        dropout_hidden=0.1,
        dropout_output=0.2,
        dropout_embedding=0.05,
        dropout_weight=0.2,
    ),
    training=TrainConfig(epochs=32, batch_size=20, eval_batch_size=20, bptt=35, lr=20.0, patience=3),
    source="this project: a tenth of Penn Treebank, small enough for many seeds on a CPU; fixed by runs at seed 0",
)
_PTB = Preset(
    corpus="ptb",
    model=ModelConfig(vocab_size=10_000),
    training=TrainConfig(),
    source=_PAPER,
    published="60.0 / 57.3 with fine-tuning, 60.7 / 58.8 without",
)
_WT2 = Preset(
    corpus="wikitext-2",
    model=ModelConfig(vocab_size=33_278, dropout_input=0.65),
    training=TrainConfig(batch_size=80),
    source=_PAPER,
    published="68.6 / 65.8 with fine-tuning, 69.1 / 66.0 without",
)


def _zaremba(
    hidden: int, bptt: int, dropout: float, init: float, epochs: int, full: int, by: float, clip: float
) -> Preset:
    """Zaremba et al. 2014, section 4.1: ordinary dropout between layers only, SGD at 1 with a decay schedule."""
    return Preset(
        corpus="ptb",
        model=ModelConfig(
            embedding_size=hidden,
            hidden_size=hidden,
            num_layers=2,
            tied=False,
            locked=False,
            init_range=init,
            dropout_input=dropout,
            dropout_hidden=dropout,
            dropout_output=dropout,
            dropout_embedding=0.0,
            dropout_weight=0.0,
        ),
        training=TrainConfig(
            epochs=epochs,
            batch_size=20,
            eval_batch_size=20,
            bptt=bptt,
            variable_windows=False,
            lr=1.0,
            lr_decay="schedule",
            decay_factor=1 / by,
            decay_after=full,
            sum_over_time=True,
            max_grad_norm=clip,
            weight_decay=0.0,
            ar_weight=0.0,
            tar_weight=0.0,
        ),
        source="Zaremba et al. 2014, section 4.1; as in their code the full rate lasts one epoch longer than stated",
    )


def _gru(preset: Preset) -> Preset:
    """The same with GRU layers. At the LSTM's learning rate of 30 a GRU diverges, tried with ptb-small; 10 holds."""
    return replace(
        preset,
        model=replace(preset.model, cell="gru"),
        training=replace(preset.training, lr=10.0),
        source=f"{_PAPER}, with GRU in place of LSTM and a learning rate of 10, at which a GRU stays stable",
        published="",
    )


def _unregularized(preset: Preset) -> Preset:
    """The same model and optimizer without any regularizer."""
    return replace(
        preset,
        model=replace(
            preset.model, dropout_input=0.0, dropout_hidden=0.0, dropout_output=0.0, dropout_embedding=0.0,
            dropout_weight=0.0,
        ),
        training=replace(preset.training, weight_decay=0.0, ar_weight=0.0, tar_weight=0.0),
        source="this project: ptb-100k without dropout, weight decay, AR and TAR",
    )  # fmt: skip


def _as_gru(preset: Preset, hidden_size: int) -> Preset:
    """The same with GRU layers of a size at which both have the same number of parameters."""
    changed = _gru(replace(preset, model=replace(preset.model, hidden_size=hidden_size)))
    return replace(changed, source="this project: ptb-100k with GRU, as many parameters, and the rate of awd-gru-ptb")


_ZAREMBA_SMALL = _zaremba(200, 20, 0.0, 0.1, epochs=13, full=5, by=2.0, clip=5.0)
_ZAREMBA_MEDIUM = _zaremba(650, 35, 0.5, 0.05, epochs=39, full=7, by=1.2, clip=5.0)
_ZAREMBA_LARGE = _zaremba(1500, 35, 0.65, 0.04, epochs=55, full=15, by=1.15, clip=10.0)
_ZAREMBA_RULE = _zaremba(160, 35, 0.5, 0.05, epochs=32, full=15, by=1.2, clip=5.0)
_ZAREMBA_100K = replace(
    _ZAREMBA_RULE,
    corpus="ptb-100k",
    model=replace(_ZAREMBA_RULE.model, vocab_size=4_963),
    source="this project: Zaremba et al.'s medium model and rule at the width and budget of ptb-100k",
)

#: The presets by name. The first eight are this project's own; the others are the paper's, the original README's, the
#: paper's with GRU, and the three models of Zaremba et al. 2014. ``python -m awdlib presets`` lists them.
#:
#: :meta hide-value:
PRESETS: dict[str, Preset] = {
    "toy": _TOY,
    "ptb-small": _PTB_SMALL,
    "ptb-quick": _PTB_QUICK,
    "wikitext-2-quick": _WT2_QUICK,
    "ptb-100k": _PTB_100K,
    "ptb-100k-unregularized": _unregularized(_PTB_100K),
    "ptb-100k-gru": _as_gru(_PTB_100K, hidden_size=197),
    "ptb-100k-zaremba": _ZAREMBA_100K,
    "awd-lstm-ptb": _PTB,
    "awd-lstm-ptb-readme": replace(
        _PTB,
        model=replace(_PTB.model, dropout_hidden=0.25),
        training=replace(_PTB.training, batch_size=20, epochs=500),
        source=_CODE,
        published="61.2 / 58.8 before fine-tuning",
    ),
    "awd-lstm-wt2": _WT2,
    "awd-lstm-wt2-readme": replace(
        _WT2,
        model=replace(_WT2.model, dropout_hidden=0.2),
        source=_CODE,
        published="68.7 / 65.6 before fine-tuning",
    ),
    "awd-gru-ptb": _gru(_PTB),
    "awd-gru-wt2": _gru(_WT2),
    "zaremba-small": replace(_ZAREMBA_SMALL, published="120.7 / 114.5"),
    "zaremba-medium": replace(_ZAREMBA_MEDIUM, published="86.2 / 82.7"),
    "zaremba-large": replace(_ZAREMBA_LARGE, published="82.2 / 78.4"),
}
