"""Named configurations, each with its source and the published figures that it aims at.

Vary one with `dataclasses.replace`; the command line does so with ``--set field=value``.
"""

from dataclasses import dataclass, replace

from awdlib.model import ModelConfig
from awdlib.training import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A configuration under a name."""

    corpus: str  #: the corpus it is meant for
    model: ModelConfig  #: its vocab_size is replaced by the corpus's
    training: TrainConfig
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
        dropout_input=0.3,
        dropout_hidden=0.2,
        dropout_output=0.3,
        dropout_embedding=0.05,
        dropout_weight=0.3,
    ),
    training=TrainConfig(epochs=12, batch_size=20, bptt=35, lr=20.0, patience=2, ar_weight=1.0, tar_weight=0.5),
    source="this project: every part of AWD-LSTM at work within a minute on two CPU cores",
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
    training=TrainConfig(epochs=9, batch_size=20, bptt=35, average_from=6, precision="bf16"),
    source="this project: real English within half an hour on two CPU cores; averaging begins by schedule, since so "
    "few epochs leave the trigger no time",
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

PRESETS: dict[str, Preset] = {
    "toy": _TOY,
    "ptb-small": _PTB_SMALL,
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
}
