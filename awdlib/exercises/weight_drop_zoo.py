"""Weight drops with one defect each, as they are found in the wild: for a check to find, and a training to hide."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from awdlib import _require as require
from awdlib.dropout import keep_mask, require_probability
from awdlib.model import LanguageModel
from awdlib.recurrent import LSTMLayer, State

#: the defects of a `ZooLayer`, each the name of a method of it
DEFECTS = ("unread", "new_parameter", "never_off", "drawn_once", "for_good", "borrowed")


class ZooLayer(LSTMLayer):
    """An LSTM layer whose recurrent matrix is what one of its methods makes of it, right or with a defect.

    Args:
        way: "right", or one of `DEFECTS`.
        p: probability of dropping an entry of weight_hh.
        input_size: features of the input.
        hidden_size: features of the output and of the state.

    Raises:
        ValueError: an unknown way, p outside [0, 1), or a size that is not positive.

    Example:
        >>> from functools import partial
        >>> from awdlib.contracts import check_weight_drop
        >>> from awdlib.exercises.weight_drop_zoo import ZooLayer
        >>> check_weight_drop(partial(ZooLayer, "new_parameter")).broken()
        ['the gradient reaches the raw weights']
    """

    def __init__(self, way: str, p: float, input_size: int = 6, hidden_size: int = 20) -> None:
        if way not in ("right", *DEFECTS):
            raise ValueError(f"way is {require.shown(way)}; it must be one of right, {', '.join(DEFECTS)}")
        require_probability("p", p)
        super().__init__(input_size, hidden_size)
        self.way, self.p = way, p

    def forward(
        self, x: Tensor, state: State | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, State]:
        """As `LSTMLayer`, from zero where no state is given; the masks come from torch's own source of randomness."""
        h, c = state or self.initial_state(x.shape[1])
        masked = getattr(self, self.way)()
        weights = [self.weight_ih, masked, self.bias_ih, self.bias_hh]
        output, h, c = self.kernel(x, (h[None], c[None]), weights)
        return output, (h[0], c[0])

    def right(self) -> Tensor:
        """Without a defect."""
        return functional.dropout(self.weight_hh, self.p, self.training)

    def unread(self) -> Tensor:
        """The mask is made, and forgotten."""
        self.dropped = self.right().detach()  # made, stored, and forgotten
        return self.weight_hh

    def new_parameter(self) -> Tensor:
        """The raw matrix gets no gradient."""
        return nn.Parameter(self.right())  # the raw matrix gets no gradient

    def never_off(self) -> Tensor:
        """It is on in evaluation."""
        return functional.dropout(self.weight_hh, self.p)  # in evaluation too

    def drawn_once(self) -> Tensor:
        """One mask serves for life."""
        if not hasattr(self, "mask"):  # a mask for life
            self.mask = keep_mask(tuple(self.weight_hh.shape), self.p).to(self.weight_hh.device)
        return self.weight_hh * self.mask if self.training else self.weight_hh

    def for_good(self) -> Tensor:
        """What was dropped stays zero."""
        self.weight_hh.data = self.right().data  # what is dropped never comes back
        return self.weight_hh

    def borrowed(self) -> Tensor:
        """A deep copy reads the original's matrix."""
        if not hasattr(self, "masked"):
            self.masked = lambda: self.right()  # in a deep copy, still the original's
        return self.masked()


def with_way(model: LanguageModel, way: str, p: float) -> LanguageModel:
    """Put a `ZooLayer` with the same weights in the place of each of a model's layers.

    Args:
        model: of LSTM layers; it is changed.
        way: "right", or one of `DEFECTS`.
        p: probability of dropping.

    Returns:
        the model.

    Raises:
        ValueError: an unknown way, or p outside [0, 1).

    Example:
        >>> from awdlib.exercises.weight_drop_zoo import with_way
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> config = ModelConfig(vocab_size=9, embedding_size=4, hidden_size=6, num_layers=2)
        >>> [layer.way for layer in with_way(LanguageModel(config), "unread", 0.5).layers]
        ['unread', 'unread']
    """
    layers = []
    for layer in model.layers:
        if not isinstance(layer, LSTMLayer):
            raise ValueError(f"a layer of the model is {type(layer).__name__}; the zoo has LSTM layers only")
        twin = ZooLayer(way, p, layer.input_size, layer.hidden_size).to(layer.weight_hh)
        twin.load_state_dict(layer.state_dict())
        layers.append(twin)
    model.layers = nn.ModuleList(layers)
    return model
