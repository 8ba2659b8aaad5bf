"""The language model: embedding, weight-dropped LSTM layers, tied softmax, and a dropout between each two of them.

::

    tokens -> embedding (rows dropped) -> locked dropout -> LSTM -> locked dropout -> LSTM -> ... -> locked dropout
           -> softmax over the vocabulary, with the embedding's own matrix

Merity et al. 2017, sections 2 to 4; where paper and original code differ, this follows the corrected code.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.dropout import embedding_dropout, locked_dropout, ordinary_dropout, require_probability
from awdlib.penalties import activation_regularization, temporal_activation_regularization
from awdlib.recurrent import LAYERS, RecurrentLayer, State


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and dropout probabilities of a `LanguageModel`. Defaults: the paper's for Penn Treebank.

    Args:
        vocab_size: number of word types.
        embedding_size: features of a word; with ``tied``, also of the last layer's output.
        hidden_size: features of each layer but the last.
        num_layers: number of recurrent layers.
        cell: "lstm", or "gru" for AWD-GRU: the same regularizers, three blocks of weights instead of four; or "rnn",
            the simple recurrent network, which has one and no gates.
        tied: whether the softmax uses the embedding matrix (Inan et al. 2016; Press & Wolf 2016).
        dropout_input: locked dropout on the embedded words.
        dropout_hidden: locked dropout between layers.
        dropout_output: locked dropout on the last layer's output.
        dropout_embedding: probability of dropping a word type for a window.
        dropout_weight: DropConnect on the hidden-to-hidden matrices.
        init_range: draw every parameter uniformly from +-init_range, as Zaremba et al. 2014 do; None for the
            defaults of `LanguageModel`.
        locked: whether the masks on activations stay the same for a window; False draws one a time step, for
            comparison.

    Raises:
        ValueError: a value is of another type, a size is not positive, or a probability outside [0, 1).

    Example:
        The paper's model, and the number of its parameters:

        >>> import torch
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> with torch.device("meta"):  # shapes only, no numbers
        ...     model = LanguageModel(ModelConfig())
        >>> f"{sum(weight.numel() for weight in model.parameters()):,}"
        '24,221,600'
    """

    vocab_size: int = 10_000
    embedding_size: int = 400
    hidden_size: int = 1150
    num_layers: int = 3
    cell: str = "lstm"
    tied: bool = True
    dropout_input: float = 0.4
    dropout_hidden: float = 0.3
    dropout_output: float = 0.4
    dropout_embedding: float = 0.1
    dropout_weight: float = 0.5
    locked: bool = True
    init_range: float | None = None

    def __post_init__(self) -> None:
        require.declared_types(self)
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_layers"):
            require.whole_number(name, getattr(self, name), 1, 2**31 - 1)
        if self.cell not in LAYERS:
            raise ValueError(f"cell is {self.cell!r}; it must be one of {', '.join(LAYERS)}")
        if self.init_range is not None:
            require.number("init_range", self.init_range, "(0, inf)")
        for field in fields(self):
            if field.name.startswith("dropout_"):
                require_probability(field.name, getattr(self, field.name))

    def layer_sizes(self) -> list[tuple[int, int]]:
        """(input size, output size) of each layer; tying makes the last output as large as an embedding.

        Example:
            >>> from awdlib.model import ModelConfig
            >>> ModelConfig().layer_sizes()
            [(400, 1150), (1150, 1150), (1150, 400)]
        """
        last = self.embedding_size if self.tied else self.hidden_size
        sizes = [self.embedding_size] + [self.hidden_size] * (self.num_layers - 1) + [last]
        return list(zip(sizes, sizes[1:]))  # noqa: B905 (neighbours: one shorter on purpose)


class Encoding(NamedTuple):
    """What `LanguageModel.encode` makes of a window, before any prediction; T = seq_len, B = batch.

    Example:
        >>> import torch
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=12)).eval()
        >>> encoding = model.encode(torch.arange(20).view(10, 2))
        >>> encoding.raw_output.shape, encoding.dropped_output is encoding.raw_output  # nothing is dropped
        (torch.Size([10, 2, 8]), True)
    """

    states: list[State]  #: of each layer after the window: (h, c) of an LSTM, else (h,)
    raw_output: Tensor  #: (T, B, features) of the last layer: what TAR and the cache see
    dropped_output: Tensor  #: the same after locked dropout: what AR and the softmax see


class Output(NamedTuple):
    """What a forward pass of `LanguageModel` returns: logits, and its `Encoding`; T = seq_len, B = batch.

    Example:
        The softmax multiplies with the embedding's own matrix (Inan et al. 2016; Press & Wolf 2016):

        >>> import torch
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=12))
        >>> output = model(torch.arange(20).view(10, 2))
        >>> tied = output.dropped_output @ model.embedding.t() + model.softmax_bias
        >>> torch.allclose(output.logits, tied, atol=1e-6)
        True
    """

    logits: Tensor  #: (T, B, vocab_size)
    states: list[State]  #: as in `Encoding`
    raw_output: Tensor  #: as in `Encoding`
    dropped_output: Tensor  #: as in `Encoding`


class LanguageModel(nn.Module):
    """AWD-LSTM, and with its dropouts at 0 a plain tied LSTM language model.

    The hidden state is handed in and returned; the module keeps none.

    Args:
        config: sizes and dropouts.
        generator: source of randomness for the initial weights: embedding uniform in +-0.1, softmax bias 0, layers
            as `RecurrentLayer` says; None takes torch's global one.

    Example:
        A window may be read in two parts, if the state goes from one to the next:

        >>> import torch
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=12)).eval()
        >>> tokens = torch.arange(20).view(10, 2)
        >>> first = model(tokens[:4])
        >>> second = model(tokens[4:], first.states)
        >>> torch.allclose(torch.cat([first.logits, second.logits]), model(tokens).logits, atol=1e-6)
        True
    """

    def __init__(self, config: ModelConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.embedding_size))
        self.layers = nn.ModuleList(
            LAYERS[config.cell](inputs, outputs, config.dropout_weight, generator=generator)
            for inputs, outputs in config.layer_sizes()
        )
        self.softmax_bias = nn.Parameter(torch.zeros(config.vocab_size))
        nn.init.uniform_(self.embedding, -0.1, 0.1, generator=generator)
        if not config.tied:
            self.softmax_weight = nn.Parameter(torch.empty(config.vocab_size, config.layer_sizes()[-1][1]))
            nn.init.uniform_(self.softmax_weight, -0.1, 0.1, generator=generator)
        if config.init_range is not None:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -config.init_range, config.init_range, generator=generator)

    def initial_states(self, batch_size: int) -> list[State]:
        """Zero states, one a layer, on the model's device.

        Args:
            batch_size: sequences side by side.
        """
        return [cast(RecurrentLayer, layer).initial_state(batch_size) for layer in self.layers]

    def decoder(self) -> tuple[Tensor, Tensor]:
        """Weight (vocab_size, features) and bias (vocab_size,) of the softmax; tied, the weight is the embedding."""
        return (self.embedding if self.config.tied else self.softmax_weight), self.softmax_bias

    def forward(
        self, tokens: Tensor, states: Sequence[State] | None = None, *, generator: torch.Generator | None = None
    ) -> Output:
        """Read a window and predict the next word at each of its positions: `encode`, and logits from it.

        Args:
            tokens: (seq_len, batch) token ids.
            states: of each layer before the window; None begins with zeros.
            generator: source of randomness for the masks, on the model's device.

        Returns:
            the prediction, the states after the window, and the last layer's output before and after dropout.

        Raises:
            ValueError: as `encode` says.
        """
        encoding = self.encode(tokens, states, generator=generator)
        return Output(F.linear(encoding.dropped_output, *self.decoder()), *encoding)

    def encode(
        self, tokens: Tensor, states: Sequence[State] | None = None, *, generator: torch.Generator | None = None
    ) -> Encoding:
        """Read a window: everything but the prediction, for `awdlib.softmax`, which needs no logits of the whole.

        Merity et al. 2017, sections 2 and 4; every mask is drawn anew for the window, in training only.

        Args:
            tokens: (seq_len, batch) token ids.
            states: of each layer before the window; None begins with zeros.
            generator: source of randomness for the masks, on the model's device.

        Returns:
            the states after the window, and the last layer's output before and after dropout.

        Raises:
            ValueError: tokens is not (seq_len, batch) of token ids, or empty, or on another device; the states are not
                one a layer for this batch; on the CPU, an id outside the vocabulary. On a GPU, ids are not looked at,
                since that would make it wait: `evaluate` and `awdlib.training.train` do so once, with a whole text.
        """
        require.token_ids("tokens", tokens, "")
        require.same_device("tokens", tokens, "the model", self.embedding)
        if tokens.dim() != 2 or tokens.numel() == 0:
            raise ValueError(f"tokens has shape {tuple(tokens.shape)}; a window is (seq_len, batch), neither of them 0")
        if tokens.device.type == "cpu":
            require.known("tokens", tokens, self.config.vocab_size)
        states = self.initial_states(tokens.shape[1]) if states is None else states
        if len(states) != len(self.layers):
            raise ValueError(
                f"there are {len(states)} states; the model needs one for each of {len(self.layers)} layers"
            )
        config = self.config
        dropping: dict[str, Any] = {"training": self.training, "generator": generator}
        dropout = locked_dropout if config.locked else ordinary_dropout

        words = embedding_dropout(self.embedding, config.dropout_embedding, **dropping)
        x = dropout(F.embedding(tokens, words), config.dropout_input, **dropping)  # (T, B, embedding_size)
        new_states = []
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if number > 0:
                x = dropout(x, config.dropout_hidden, **dropping)
            x, state = layer(x, state, generator=generator)  # (T, B, features)
            new_states.append(state)
        return Encoding(new_states, x, dropout(x, config.dropout_output, **dropping))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean negative log likelihood in nats a token; softmax in at least single precision.

    Args:
        logits: (seq_len, batch, vocab_size).
        targets: (seq_len, batch), token ids.

    Returns:
        a scalar.

    Raises:
        ValueError: there are none, their shape is not that of the logits, or they are not token ids; on the CPU, an id
            is outside the vocabulary. On a GPU, ids are not looked at, since that would make it wait.

    Example:
        Who knows nothing has the vocabulary's size as perplexity:

        >>> import torch
        >>> from awdlib.model import cross_entropy
        >>> loss = cross_entropy(torch.zeros(7, 2, 1000), torch.arange(14).view(7, 2))
        >>> round(loss.exp().item())
        1000
    """
    require.floats("logits", logits, "(seq_len, batch, vocab_size)")
    require.token_ids("targets", targets, "(seq_len, batch)")
    require.same_device("targets", targets, "the logits", logits)
    require.shape("targets", targets, logits.shape[:2], "that of the logits")
    if targets.numel() == 0:
        raise ValueError(f"targets has shape {tuple(targets.shape)}; a mean needs at least one target")
    if targets.device.type == "cpu":
        require.known("targets", targets, logits.shape[2])
    return F.cross_entropy(at_least_single(logits).flatten(0, 1), targets.flatten())


def penalties(output: Output | Encoding, ar_weight: float, tar_weight: float) -> Tensor:
    """AR on the dropped and TAR on the raw output of the last layer: what training adds to the cross entropy.

    Merity et al. 2017, section 4.6; the mean over all elements, as in the original code, where the paper has norms.
    Computed in at least single precision, whatever the layers ran in.

    Args:
        output: of a forward pass, or of `LanguageModel.encode`.
        ar_weight: alpha of the paper.
        tar_weight: beta of the paper.

    Returns:
        a scalar.

    Example:
        >>> import torch
        >>> from awdlib.model import Output, penalties
        >>> raw, dropped = torch.tensor([1.0, 3.0]).view(2, 1, 1), torch.tensor([2.0, 0.0]).view(2, 1, 1)
        >>> output = Output(torch.zeros(2, 1, 5), [], raw_output=raw, dropped_output=dropped)
        >>> penalties(output, ar_weight=1.0, tar_weight=10.0).item()  # (2² + 0²) / 2 + 10 (3 - 1)²
        42.0
    """
    ar = activation_regularization(at_least_single(output.dropped_output), ar_weight)
    return ar + temporal_activation_regularization(at_least_single(output.raw_output), tar_weight)


def at_least_single(x: Tensor) -> Tensor:
    """x in single precision where it is in half; otherwise x itself.

    Args:
        x: any shape.

    Example:
        >>> import torch
        >>> from awdlib.model import at_least_single
        >>> [at_least_single(torch.ones(1, dtype=dtype)).dtype for dtype in (torch.bfloat16, torch.float64)]
        [torch.float32, torch.float64]
    """
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def detach(states: Sequence[State]) -> list[State]:
    """The same states with their history cut off: where truncated backpropagation stops.

    Args:
        states: of each layer.

    Example:
        >>> import torch
        >>> from awdlib.model import detach
        >>> h = torch.ones(1, 3, requires_grad=True) * 2
        >>> ((cut,),) = detach([(h,)])
        >>> h.requires_grad, cut.requires_grad, torch.equal(h, cut)
        (True, False, True)
    """
    return [tuple(part.detach() for part in state) for state in states]
