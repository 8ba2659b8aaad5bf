"""The LSTM twice: one step written as its equations, and a fast layer with weight drop.

`lstm_step` is there to be read and to be held against; `LSTMLayer` runs whole windows through torch's fused kernel.
"""

import math
import warnings

import torch
from torch import Tensor, nn

from awdlib.dropout import require_probability, weight_dropout

# A freshly masked weight_hh cannot lie in the one block of memory that cuDNN likes best. The copy that cuDNN makes
# instead costs well under a tenth of a millisecond; the warning about it would come with every run.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk of memory")

State = tuple[Tensor, Tensor]  # (h, c), each (batch, hidden_size)


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
    """
    h, c = state
    gates = x @ weight_ih.t() + bias_ih + h @ weight_hh.t() + bias_hh  # (batch, 4 * hidden_size)
    i, f, g, o = gates.chunk(4, dim=1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return h, c


class LSTMLayer(nn.Module):
    """One LSTM layer whose hidden-to-hidden matrix is dropped entry by entry, one mask for a whole window.

    Merity et al. 2017, section 2. The raw ``weight_hh`` is the parameter; each training forward multiplies it with a
    fresh mask, and the gradient flows back through that product. Biases and ``weight_ih`` are never dropped. In
    evaluation, or with ``weight_dropout=0``, this is exactly `torch.nn.LSTM`.

    Args:
        input_size: features of the input.
        hidden_size: features of the output and of the state.
        weight_dropout: probability of dropping an entry of weight_hh, in [0, 1).
        generator: source of randomness for the initial weights, uniform in +-1/sqrt(hidden_size).

    Raises:
        ValueError: weight_dropout is outside [0, 1).
    """

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
        self.input_size, self.hidden_size, self.weight_dropout = input_size, hidden_size, weight_dropout
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        bound = 1 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, x: Tensor, state: State, *, generator: torch.Generator | None = None) -> tuple[Tensor, State]:
        """Run a window through the layer.

        Args:
            x: (seq_len, batch, input_size).
            state: h and c before the window, each (batch, hidden_size).
            generator: source of randomness for the mask, on x's device.

        Returns:
            the outputs (seq_len, batch, hidden_size), and h and c after the window.
        """
        weight_hh = weight_dropout(self.weight_hh, self.weight_dropout, self.training, generator=generator)
        weights = [self.weight_ih, weight_hh, self.bias_ih, self.bias_hh]
        h, c = (part.unsqueeze(0) for part in state)  # torch counts layers in front
        outputs, h, c = torch.lstm(
            x, (h, c), weights, has_biases=True, num_layers=1, dropout=0.0, train=self.training,
            bidirectional=False, batch_first=False,
        )  # fmt: skip
        return outputs, (h.squeeze(0), c.squeeze(0))

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}, weight_dropout={self.weight_dropout}"
