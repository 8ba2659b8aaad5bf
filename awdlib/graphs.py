"""CUDA graphs: the work of a window recorded once, and then launched as a whole.

At the paper's sizes a GPU is done with most kernels before Python has launched the next. A CUDA graph holds all kernels
of a window, from the masks to the clipped gradient, and takes one launch. It is recorded for fixed shapes and fixed
addresses, so there is one for each window length, recorded when the length first comes up; all share their memory.
What goes in is copied to fixed places before, what comes out lies in fixed places after.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from awdlib.gradients import Window, fast_gradients
from awdlib.model import LanguageModel
from awdlib.recurrent import State
from awdlib.training_config import TrainConfig

WARM_UP = 3  #: runs before a recording: cuDNN and cuBLAS choose kernels and allocate in the first ones


class Recording(NamedTuple):
    """The work of windows of one length.

    Example:
        >>> import torch
        >>> from awdlib.graphs import Recording
        >>> tokens = torch.zeros(4, 1, dtype=torch.int64)
        >>> Recording(tokens, tokens, replay=lambda: print("gradients of", len(tokens), "steps")).replay()
        gradients of 4 steps
    """

    inputs: Tensor  #: (seq_len, batch), read by the replay
    targets: Tensor  #: (seq_len, batch), read by the replay
    replay: Callable[[], None]  #: leaves its results where `GraphedGradients` keeps them


class GraphedGradients:
    """`awdlib.gradients.fast_gradients`, recorded once a window length.

    Args:
        model: on the device where it is trained; its weights stay at their addresses.
        config: precision, penalties, clip and what the gradient is of; its batch size is that of all windows.
        generator: source of randomness for the masks, on the model's device. It goes on as if nothing were recorded.

    Example:
        On a CPU nothing is recorded; the same work is done anew each time, with the same result:

        >>> import torch
        >>> from awdlib.gradients import Window, fast_gradients
        >>> from awdlib.graphs import GraphedGradients
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> from awdlib.training_config import TrainConfig
        >>> model, text = LanguageModel(ModelConfig(vocab_size=50, hidden_size=12)), torch.arange(21)[:, None]
        >>> config, generator = TrainConfig(batch_size=1), torch.Generator().manual_seed(1)
        >>> window = Window(text[:-1], text[1:], model.initial_states(1))
        >>> loss, _ = GraphedGradients(model, config, generator)(window)
        >>> loss.equal(fast_gradients(model, config, window, generator.manual_seed(1))[0])
        True
    """

    def __init__(self, model: LanguageModel, config: TrainConfig, generator: torch.Generator) -> None:
        self.model, self.config, self.generator = model, config, generator
        self.device = model.embedding.device
        self.weights = list(model.parameters())
        self.gradients = [torch.zeros_like(weight) for weight in self.weights]
        self.states: list[State] | None = None  # before the window; after a replay, those after it
        self.loss = torch.zeros((), device=self.device)
        self.recordings: dict[torch.Size, Recording] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None

    def __call__(self, window: Window) -> tuple[Tensor, list[State]]:
        """The clipped gradient of a window, in the weights' ``grad``.

        Args:
            window: what to learn from. States that this returned need not be copied.

        Returns:
            the cross entropy in nats a token, and the states after the window; the states are overwritten by the next
            call.
        """
        if window.states is not self.states:
            self._enter(window.states)
        shape = window.inputs.shape
        if shape not in self.recordings:
            self.recordings[shape] = self._record(shape)
        recording = self.recordings[shape]
        recording.inputs.copy_(window.inputs)
        recording.targets.copy_(window.targets)
        recording.replay()
        for weight, gradient in zip(self.weights, self.gradients, strict=True):
            weight.grad = gradient
        assert self.states is not None
        return self.loss.clone(), self.states

    def _enter(self, states: Sequence[State]) -> None:
        """Put states into their fixed places; the first ones make the places."""
        if self.states is None:
            self.states = [tuple(part.clone() for part in state) for state in states]
        torch._foreach_copy_(_parts(self.states), _parts(states))

    def _work(self, inputs: Tensor, targets: Tensor) -> None:
        """What is recorded: from tokens and states in fixed places to results in fixed places."""
        assert self.states is not None
        loss, states = fast_gradients(self.model, self.config, Window(inputs, targets, self.states), self.generator)
        torch._foreach_copy_(self.gradients, [cast(Tensor, weight.grad) for weight in self.weights])
        torch._foreach_copy_(_parts(self.states), _parts(states))
        self.loss.copy_(loss)

    def _record(self, shape: torch.Size) -> Recording:
        inputs = torch.zeros(shape, dtype=torch.int64, device=self.device)
        targets = torch.zeros_like(inputs)
        if self.device.type != "cuda":
            return Recording(inputs, targets, lambda: self._work(inputs, targets))

        assert self.states is not None
        states, random_state = [part.clone() for part in _parts(self.states)], self.generator.get_state()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._work(inputs, targets)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # newer versions of torch see to it by themselves
            graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph, pool=self.pool):
            self._work(inputs, targets)
        torch._foreach_copy_(_parts(self.states), states)
        self.generator.set_state(random_state)
        return Recording(inputs, targets, graph.replay)


def _parts(states: Sequence[State]) -> list[Tensor]:
    return [part for state in states for part in state]
