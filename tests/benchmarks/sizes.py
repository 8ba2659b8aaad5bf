"""The sizes that updates are measured at, and what an update of each costs: operations, traffic, memory."""

from dataclasses import dataclass, replace

from awdlib.figures.speed import GROWING, point
from awdlib.model import ModelConfig
from awdlib.presets import PRESETS
from awdlib.recurrent import LAYERS
from awdlib.softmax import BLOCK


@dataclass(frozen=True)
class Sizes:
    """A model, and how much of a text it reads in one update."""

    model: ModelConfig
    batch: int
    window: int

    @property
    def tokens(self) -> int:
        """Tokens of one update."""
        return self.batch * self.window

    @property
    def gates(self) -> int:
        """Blocks of rows in a layer's weights: four of an LSTM, three of a GRU."""
        return LAYERS[self.model.cell].gates


_PTB = Sizes(ModelConfig(), batch=40, window=70)
_SMALL = Sizes(ModelConfig(vocab_size=2_000, embedding_size=200, hidden_size=400, num_layers=2), batch=20, window=35)

STEP = {
    "ptb-40": _PTB,
    "ptb-20": replace(_PTB, batch=20),
    "wt2-80": replace(_PTB, model=ModelConfig(vocab_size=33_278, dropout_input=0.65), batch=80),
    "small": _SMALL,
    "gru-40": replace(_PTB, model=replace(_PTB.model, cell="gru")),
}
#: of the comparison of cells: the models of the presets "toy" and "ptb-small", and the paper's
CELLS = {
    "small": Sizes(replace(PRESETS["toy"].model, vocab_size=1_105), batch=20, window=35),
    "middle": Sizes(PRESETS["ptb-small"].model, batch=20, window=35),
    "paper": _PTB,
}
EVALUATE = {f"batch-{batch}": replace(_PTB, batch=batch) for batch in (1, 10)}


def _grown(what: str, value: int) -> Sizes:
    if what in ("batch", "window"):
        return replace(_SMALL, **{what: value})
    field = {"hidden": "hidden_size", "vocabulary": "vocab_size"}[what]
    return replace(_SMALL, model=replace(_SMALL.model, **{field: value}))


GROWTH = {point(what, value): _grown(what, value) for what, (_, values) in GROWING.items() for value in values}


def tiny(sizes: Sizes) -> Sizes:
    """A tenth of everything: for a look whether all works, not for a measurement."""
    model = sizes.model
    names = ("vocab_size", "embedding_size", "hidden_size")
    smaller = replace(model, **{name: getattr(model, name) // 10 for name in names})
    return Sizes(smaller, max(1, sizes.batch // 10), sizes.window // 10)


def parameters(sizes: Sizes) -> int:
    """Numbers that are learned; the softmax's matrix is the embedding's."""
    layers = sum(sizes.gates * size * (inputs + size + 2) for inputs, size in sizes.model.layer_sizes())
    return layers + sizes.model.vocab_size * (sizes.model.embedding_size + 1)


def operations(sizes: Sizes) -> int:
    """Floating-point operations of an update's matrix products: each forward one has two of its size in backward."""
    model = sizes.model
    layers = sum(sizes.gates * size * (inputs + size) for inputs, size in model.layer_sizes())
    return 3 * 2 * sizes.tokens * (layers + model.vocab_size * model.embedding_size)


def bytes_moved(sizes: Sizes, element: int) -> int:
    """Bytes between memory and processor that an update cannot do without, unless a cache holds the weights.

    The recurrent weights are read once a time step, forward and backward, the others once in each direction; the
    logits once. Every gradient is written, read for its norm, read for the update; every weight is read and written
    there. ``element`` is the size of a number in the products; gradients and updates are in single precision.
    """
    model = sizes.model
    recurrent = sum(sizes.gates * size * size for _, size in model.layer_sizes())
    others = sum(sizes.gates * size * inputs for inputs, size in model.layer_sizes())
    products = 2 * (sizes.window * recurrent + others + model.vocab_size * model.embedding_size)
    return element * (products + sizes.tokens * model.vocab_size) + 4 * 5 * parameters(sizes)


def bytes_held(sizes: Sizes, device: str) -> int:
    """Bytes of the tensors that an update of the library holds at its peak, in single precision.

    Six times the parameters: weights and gradients, masks, dropped weights and their gradients, the kernels' copies.
    Four times each layer's inputs, gates, outputs and cells: forward, dropped, backward, the kernels' copies. Three
    times the logits, which exist for a block of positions at a time.
    """
    model = sizes.model
    activations = sizes.tokens * sum(inputs + (sizes.gates + 2) * size for inputs, size in model.layer_sizes())
    logits = min(BLOCK[device], sizes.tokens) * model.vocab_size
    return 4 * (6 * parameters(sizes) + 4 * activations + 3 * logits)
