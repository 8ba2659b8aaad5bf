"""LSTM, GRU and the simple recurrent network, each twice: one step written as its equations, and a fast layer.

`lstm_step`, `gru_step` and `rnn_step` are there to be read and to be held against; `LSTMLayer`, `GRULayer` and
`RNNLayer` run whole windows through torch's fused kernels, with weight drop.
"""

import math
import warnings
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from awdlib import _require as require
from awdlib.bptt import gru_pays, gru_window, lstm_window, pays
from awdlib.dropout import require_probability, weight_dropout

# A freshly masked weight_hh cannot lie in the one block of memory that cuDNN likes best. The copy that cuDNN makes
# instead costs well under a tenth of a millisecond; the warning about it would come with every run.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk of memory")

State = tuple[Tensor, ...]  #: (h, c) of an LSTM, (h,) of a GRU or a simple network; each (batch, hidden_size)


def lstm_step(x: Tensor, state: State, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> State:
    """One step of an LSTM, an equation a line (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    Args:
        x: (batch, input_size), the input at this time step.
        state: h and c of the step before, each (batch, hidden_size).
        weight_ih: (4 * hidden_size, input_size), the rows of gates i, f, g, o in turn, as torch orders them.
        weight_hh: (4 * hidden_size, hidden_size).
        bias_ih: (4 * hidden_size,).
        bias_hh: (4 * hidden_size,), redundant beside bias_ih, kept because torch has both.

    Returns:
        the new h and c, each (batch, hidden_size).

    Raises:
        ValueError: a shape is none of these.

    Example:
        Step after step it is torch's own LSTM:

        >>> import torch
        >>> from awdlib.recurrent import lstm_step
        >>> lstm, x = torch.nn.LSTM(5, 7), torch.ones(4, 3, 5)
        >>> state = torch.zeros(3, 7), torch.zeros(3, 7)
        >>> for x_t in x:
        ...     state = lstm_step(x_t, state, *lstm.parameters())
        >>> torch.allclose(state[0], lstm(x)[0][-1], atol=1e-6)
        True
    """
    _require_step(x, state, weight_ih, weight_hh, bias_ih, bias_hh, gates=4, parts=2)
    h, c = state
    gates = x @ weight_ih.t() + bias_ih + h @ weight_hh.t() + bias_hh  # (batch, 4 * hidden_size)
    i, f, g, o = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return h, c


def gru_step(x: Tensor, state: State, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> State:
    """One step of a GRU, an equation a line (Cho et al. 2014, in the variant that torch and cuDNN compute).

    The variant resets the recurrent contribution *after* its matrix product; Cho et al. reset the state before it.

    Args:
        x: (batch, input_size), the input at this time step.
        state: h of the step before, (batch, hidden_size), in a tuple.
        weight_ih: (3 * hidden_size, input_size), the rows of r, z, n in turn, as torch orders them.
        weight_hh: (3 * hidden_size, hidden_size).
        bias_ih: (3 * hidden_size,).
        bias_hh: (3 * hidden_size,); not redundant: its part of n is reset too.

    Returns:
        the new h, (batch, hidden_size), in a tuple.

    Raises:
        ValueError: a shape is none of these.

    Example:
        Step after step it is torch's own GRU:

        >>> import torch
        >>> from awdlib.recurrent import gru_step
        >>> gru, x = torch.nn.GRU(5, 7), torch.ones(4, 3, 5)
        >>> state = (torch.zeros(3, 7),)
        >>> for x_t in x:
        ...     state = gru_step(x_t, state, *gru.parameters())
        >>> torch.allclose(state[0], gru(x)[0][-1], atol=1e-6)
        True
    """
    _require_step(x, state, weight_ih, weight_hh, bias_ih, bias_hh, gates=3, parts=1)
    (h,) = state
    r_x, z_x, n_x = (x @ weight_ih.t() + bias_ih).chunk(3, dim=1)
    r_h, z_h, n_h = (h @ weight_hh.t() + bias_hh).chunk(3, dim=1)
    r = (r_x + r_h).sigmoid()
    z = (z_x + z_h).sigmoid()
    n = (n_x + r * n_h).tanh()
    return ((1 - z) * n + z * h,)


def rnn_step(x: Tensor, state: State, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> State:
    """One step of the simple recurrent network (Elman 1990), with tanh: the network without gates.

    Args:
        x: (batch, input_size), the input at this time step.
        state: h of the step before, (batch, hidden_size), in a tuple.
        weight_ih: (hidden_size, input_size).
        weight_hh: (hidden_size, hidden_size).
        bias_ih: (hidden_size,).
        bias_hh: (hidden_size,), redundant beside bias_ih, kept because torch has both.

    Returns:
        the new h, (batch, hidden_size), in a tuple.

    Raises:
        ValueError: a shape is none of these.

    Example:
        Step after step it is torch's own network:

        >>> import torch
        >>> from awdlib.recurrent import rnn_step
        >>> rnn, x = torch.nn.RNN(5, 7), torch.ones(4, 3, 5)
        >>> state = (torch.zeros(3, 7),)
        >>> for x_t in x:
        ...     state = rnn_step(x_t, state, *rnn.parameters())
        >>> torch.allclose(state[0], rnn(x)[0][-1], atol=1e-6)
        True
    """
    _require_step(x, state, weight_ih, weight_hh, bias_ih, bias_hh, gates=1, parts=1)
    (h,) = state
    return ((x @ weight_ih.t() + bias_ih + h @ weight_hh.t() + bias_hh).tanh(),)


def _require_step(x: Tensor, state: State, *weights: Tensor, gates: int, parts: int) -> None:
    """Look whether the shapes of a step fit together: broadcasting would hide that they do not."""
    require.floats("x", x, "(batch, input_size)")
    _require_state(state, parts, like=x)
    rows, why = gates * state[0].shape[1], f"{gates} blocks of hidden_size rows"
    shapes = {"weight_ih": (rows, x.shape[1]), "weight_hh": (rows, state[0].shape[1]), "bias_ih": (rows,)}
    for (name, expected), weight in zip((shapes | {"bias_hh": (rows,)}).items(), weights, strict=True):
        require.shape(name, weight, expected, why)


def _require_state(state: State, parts: int, size: tuple[int, int] | None = None, *, like: Tensor) -> None:
    """Look whether a state has so many parts, each (batch, hidden_size), and lies beside the input ``like``."""
    if not isinstance(state, tuple | list) or len(state) != parts:
        raise ValueError(
            f"the state is {require.shown(state)}; it must be a tuple of {parts}, as initial_state() gives"
        )
    for part in state:
        require.floats("a part of the state", part, "(batch, hidden_size)")
        size = size or (like.shape[-2], part.shape[1])
        require.shape("a part of the state", part, size, "(batch, hidden_size)")
        require.alike("the state", part, "x", like)


class RecurrentLayer(nn.Module, ABC):
    """One recurrent layer whose hidden-to-hidden matrix is dropped entry by entry, one mask for a whole window.

    Merity et al. 2017, section 2. The raw ``weight_hh`` is the parameter; each training forward multiplies it with a
    fresh mask, and the gradient flows back through that product. Biases and ``weight_ih`` are never dropped. In
    evaluation, or with ``weight_dropout=0``, this is exactly torch's own layer. The original code masks the same
    matrix, also once a window. Use `LSTMLayer`, `GRULayer` or `RNNLayer`.

    Args:
        input_size: features of the input.
        hidden_size: features of the output and of the state.
        weight_dropout: probability of dropping an entry of weight_hh, in [0, 1).
        generator: source of randomness for the initial weights, uniform in +-1/sqrt(hidden_size).

    Raises:
        ValueError: a size is not positive, or weight_dropout is outside [0, 1).

    Example:
        From a zero state the first step does not see the dropped weights; the later ones do, and only in training:

        >>> import torch
        >>> from awdlib.recurrent import LSTMLayer
        >>> layer, x = LSTMLayer(5, 40, weight_dropout=0.5), torch.ones(4, 1, 5)
        >>> (first, _), (second, _) = layer(x, layer.initial_state(1)), layer(x, layer.initial_state(1))
        >>> torch.equal(first[0], second[0]), torch.equal(first[1:], second[1:])
        (True, False)
        >>> layer = layer.eval()
        >>> torch.equal(layer(x, layer.initial_state(1))[0], layer(x, layer.initial_state(1))[0])
        True
    """

    gates: int  #: blocks of hidden_size rows in the weights
    parts: int  #: tensors of the state

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        weight_dropout: float = 0.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require_probability("weight_dropout", weight_dropout)
        self.input_size = require.whole_number("input_size", input_size, 1)
        self.hidden_size = require.whole_number("hidden_size", hidden_size, 1)
        self.weight_dropout = weight_dropout
        self.weight_ih = nn.Parameter(torch.empty(self.gates * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(self.gates * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(self.gates * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(self.gates * hidden_size))
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def initial_state(self, batch_size: int) -> State:
        """Zeros, on the layer's device.

        Args:
            batch_size: sequences side by side.

        Returns:
            as many parts as the cell has, each (batch_size, hidden_size).

        Raises:
            ValueError: batch_size is not positive.
        """
        batch_size = require.whole_number("batch_size", batch_size, 1)
        return tuple(self.weight_hh.new_zeros(batch_size, self.hidden_size) for _ in range(self.parts))

    def forward(self, x: Tensor, state: State, *, generator: torch.Generator | None = None) -> tuple[Tensor, State]:
        """Run a window through the layer.

        Args:
            x: (seq_len, batch, input_size).
            state: before the window, each part (batch, hidden_size).
            generator: source of randomness for the mask, on x's device.

        Returns:
            the outputs (seq_len, batch, hidden_size), and the state after the window.

        Raises:
            ValueError: x or the state has another shape, kind or device; torch's kernels would read beyond their end.
        """
        self._require(x, state)
        weight_hh = weight_dropout(self.weight_hh, self.weight_dropout, self.training, generator=generator)
        stacked = tuple(part.unsqueeze(0) for part in state)  # torch counts layers in front
        outputs, *last = self.kernel(x, stacked, [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh])
        return outputs, tuple(part.squeeze(0) for part in last)

    def _require(self, x: Tensor, state: State) -> None:
        require.floats("x", x, "(seq_len, batch, features)")
        seq_len, batch, features = x.shape
        if features != self.input_size or not seq_len or not batch:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; it must be (seq_len, batch, {self.input_size}), neither of them 0"
            )
        require.alike("x", x, "the layer", self.weight_hh)
        _require_state(state, self.parts, (batch, self.hidden_size), like=x)

    @abstractmethod
    def kernel(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        """torch's function for a whole window.

        Args:
            x: (seq_len, batch, input_size).
            state: each part (1, batch, hidden_size).
            weights: weight_ih, the masked weight_hh, bias_ih, bias_hh.

        Returns:
            the outputs, then each part of the state.
        """

    def extra_repr(self) -> str:
        """What ``print(layer)`` says of it."""
        return f"{self.input_size}, {self.hidden_size}, weight_dropout={self.weight_dropout}"


class LSTMLayer(RecurrentLayer):
    """An LSTM layer with weight drop; its state is (h, c). Its arguments are those of `RecurrentLayer`.

    Example:
        >>> import torch
        >>> from awdlib.recurrent import LSTMLayer
        >>> layer = LSTMLayer(5, 7, weight_dropout=0.5)
        >>> output, (h, c) = layer(torch.ones(4, 3, 5), layer.initial_state(3))
        >>> output.shape, torch.equal(output[-1], h)
        (torch.Size([4, 3, 7]), True)
    """

    gates, parts = 4, 2

    def kernel(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        if pays(x, self.hidden_size):
            outputs, h, c = lstm_window(x, state[0][0], state[1][0], weights)
            return outputs, h[None], c[None]
        return torch.lstm(x, state, weights, True, 1, 0.0, self.training, False, False)


class GRULayer(RecurrentLayer):
    """A GRU layer with weight drop; its state is (h,). Its arguments are those of `RecurrentLayer`.

    Example:
        Three blocks of weights where an LSTM has four:

        >>> from awdlib.recurrent import GRULayer, LSTMLayer
        >>> [sum(weight.numel() for weight in layer(6, 8).parameters()) for layer in (GRULayer, LSTMLayer)]
        [384, 512]
    """

    gates, parts = 3, 1

    def kernel(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        if gru_pays(x):
            outputs, h = gru_window(x, state[0][0], weights)
            return outputs, h[None]
        return torch.gru(x, state[0], weights, True, 1, 0.0, self.training, False, False)


class RNNLayer(RecurrentLayer):
    """A layer of the simple recurrent network (Elman 1990) with weight drop; its state is (h,).

    It has no gates and no cell; the book compares others with it. Its arguments are those of `RecurrentLayer`.

    Example:
        One block of weights where an LSTM has four:

        >>> from awdlib.recurrent import LSTMLayer, RNNLayer
        >>> [sum(weight.numel() for weight in layer(6, 8).parameters()) for layer in (RNNLayer, LSTMLayer)]
        [128, 512]
    """

    gates, parts = 1, 1

    def kernel(self, x: Tensor, state: State, weights: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.rnn_tanh(x, state[0], weights, True, 1, 0.0, self.training, False, False)


#: `LSTMLayer`, `GRULayer` and `RNNLayer` by the name of the cell.
#:
#: :meta hide-value:
LAYERS: dict[str, type[RecurrentLayer]] = {"lstm": LSTMLayer, "gru": GRULayer, "rnn": RNNLayer}

#: `lstm_step`, `gru_step` and `rnn_step` by the name of the cell.
#:
#: :meta hide-value:
STEPS = {"lstm": lstm_step, "gru": gru_step, "rnn": rnn_step}
