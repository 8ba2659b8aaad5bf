"""Four ideas that came after AWD-LSTM, each a few lines on the library.

========================  ====================================  ============================================
idea                      what it changes                       here
========================  ====================================  ============================================
partial shuffle           which words share a window            `partial_shuffle`, `BeyondTraining`
past decode (PDR)         what the gradient is of               `PastDecoder`, `BeyondTraining`
mixture of softmaxes      what the model can say                `MixtureOfSoftmaxes`
dynamic evaluation        the weights, while they read          `dynamic_evaluation`
========================  ====================================  ============================================

Press 2019; Brahma 2018; Yang, Dai, Salakhutdinov & Cohen 2018; Krause, Kahembwe, Murray & Renals 2018.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.batches import fixed_windows
from awdlib.evaluation import columns_for
from awdlib.gradients import Window, clip, objective
from awdlib.model import LanguageModel, ModelConfig, Output, cross_entropy, detach
from awdlib.recurrent import State
from awdlib.training import LARGEST_LOSS, Training
from awdlib.training_config import TrainConfig


def partial_shuffle(columns: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Cut each column at a random row of its own, and swap the two parts (Press 2019).

    Neighbours stay neighbours but for one place a column, so the hidden state still finds what it expects; what stands
    beside what, and where the windows' borders fall, is new.

    Args:
        columns: (rows, batch) from `batchify`.
        generator: source of randomness, on the CPU; None takes torch's global one.

    Returns:
        (rows, batch), new memory.

    Raises:
        ValueError: columns has another shape, or holds nothing.

    Example:
        >>> import torch
        >>> from awdlib.beyond import partial_shuffle
        >>> partial_shuffle(torch.arange(15).view(3, 5).t(), torch.Generator().manual_seed(1))
        tensor([[ 0,  9, 14],
                [ 1,  5, 10],
                [ 2,  6, 11],
                [ 3,  7, 12],
                [ 4,  8, 13]])
    """
    require.tensor("columns", columns, "(rows, batch)")
    require.generator(generator, "cpu")
    if columns.numel() == 0:
        raise ValueError(f"columns has shape {tuple(columns.shape)}: there is nothing to shuffle")
    rows = len(columns)
    cuts = torch.randint(rows, columns.shape[1:], generator=generator).to(columns.device)  # (batch,)
    order = (torch.arange(rows, device=columns.device)[:, None] + cuts) % rows
    return columns.gather(0, order)


class PastDecoder(LanguageModel):
    """A language model that can also say, from its prediction alone, which word it has just read (Brahma 2018).

    The predicted distribution becomes one vector, the mean of all embeddings that it expects. A layer and a softmax
    with the same embeddings decode the last word from that.

    Args:
        config: sizes and dropouts; tied.
        generator: as of `LanguageModel`.

    Raises:
        ValueError: the configuration is not tied.

    Example:
        >>> import torch
        >>> from awdlib.beyond import PastDecoder
        >>> from awdlib.model import ModelConfig
        >>> model = PastDecoder(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=12))
        >>> tokens = torch.arange(20).view(10, 2)
        >>> round(model.past_loss(model(tokens).logits, tokens).item(), 1)  # nothing learned yet: ln 50 = 3.9
        3.9
    """

    def __init__(self, config: ModelConfig, *, generator: torch.Generator | None = None) -> None:
        if not config.tied:
            raise ValueError("tied is False; the past is decoded with the embeddings that predict: tie them")
        super().__init__(config, generator=generator)
        size, bound = config.embedding_size, config.embedding_size**-0.5
        self.past_weight = nn.Parameter(torch.empty(size, size).uniform_(-bound, bound, generator=generator))
        self.past_bias = nn.Parameter(torch.zeros(size))
        self.past_softmax_bias = nn.Parameter(torch.zeros(config.vocab_size))

    def past_loss(self, logits: Tensor, tokens: Tensor) -> Tensor:
        """Mean cross entropy of the words just read, decoded from the predictions of the next ones.

        Args:
            logits: (seq_len, batch, vocab_size), of the words to come.
            tokens: (seq_len, batch), the words read.

        Returns:
            a scalar, in nats a token.
        """
        expected = logits.softmax(-1) @ self.embedding  # (T, B, embedding_size): the mean embedding
        hidden = F.linear(expected, self.past_weight, self.past_bias).tanh()
        return cross_entropy(F.linear(hidden, self.embedding, self.past_softmax_bias), tokens)


class MixtureOfSoftmaxes(LanguageModel):
    """Several softmaxes over one vocabulary, mixed by weights that follow from the state (Yang et al. 2018).

    ``p = sum over k of pi_k softmax(W tanh(U_k h + a_k) + b)``, with ``pi = softmax(C h)``. The logits that it returns
    are log-probabilities, so all that reads a `LanguageModel` reads it too. `BeyondTraining` trains it without them:
    of a target only its own probability is needed.

    Args:
        config: sizes and dropouts; tied.
        components: number of softmaxes.
        generator: as of `LanguageModel`.

    Raises:
        ValueError: components is not positive, or the configuration is not tied.

    Example:
        >>> import torch
        >>> from awdlib.beyond import MixtureOfSoftmaxes
        >>> from awdlib.model import ModelConfig
        >>> model = MixtureOfSoftmaxes(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=12), components=3)
        >>> p = model(torch.arange(20).view(10, 2)).logits.exp()
        >>> torch.allclose(p.sum(-1), torch.ones(10, 2))
        True
    """

    def __init__(self, config: ModelConfig, components: int, *, generator: torch.Generator | None = None) -> None:
        require.whole_number("components", components, 1)
        if not config.tied:
            raise ValueError("tied is False; the mixture's softmaxes share the embedding matrix: tie them")
        super().__init__(config, generator=generator)
        self.components, size, bound = components, config.embedding_size, config.embedding_size**-0.5
        self.latent_weight = nn.Parameter(torch.empty(components * size, size))
        self.latent_bias = nn.Parameter(torch.zeros(components * size))
        self.prior_weight = nn.Parameter(torch.empty(components, size))
        for weight in (self.latent_weight, self.prior_weight):
            nn.init.uniform_(weight, -bound, bound, generator=generator)

    def forward(
        self, tokens: Tensor, states: Sequence[State] | None = None, *, generator: torch.Generator | None = None
    ) -> Output:
        """As `LanguageModel.forward`; the logits are log-probabilities, already normalized."""
        encoding = self.encode(tokens, states, generator=generator)
        logits, log_prior = self.parts(encoding.dropped_output)
        return Output((log_prior[..., None] + logits.log_softmax(-1)).logsumexp(-2), *encoding)

    def parts(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of each softmax (T, B, K, vocab_size), and ln pi (T, B, K), from the last layer's output."""
        latent = F.linear(h, self.latent_weight, self.latent_bias).tanh()
        latent = latent.unflatten(-1, (self.components, -1))  # (T, B, K, embedding_size)
        return F.linear(latent, *self.decoder()), F.linear(h, self.prior_weight).log_softmax(-1)

    def target_loss(self, h: Tensor, targets: Tensor) -> Tensor:
        """Mean cross entropy in nats a token, with no distribution of the mixture ever made.

        Args:
            h: (seq_len, batch, features), the last layer's output.
            targets: (seq_len, batch), the words that came.

        Returns:
            a scalar.
        """
        logits, log_prior = self.parts(h)
        words = targets[..., None].expand(log_prior.shape).flatten()
        each = -F.cross_entropy(logits.flatten(0, 2), words, reduction="none").view(log_prior.shape)  # (T, B, K)
        return -(log_prior + each).logsumexp(-1).mean()


class BeyondTraining(Training):
    """A `Training` with partial shuffle, with past decode regularization, or of a mixture of softmaxes.

    Each epoch is shuffled anew, in a way that hangs on seed and epoch alone, so that a resumed run goes on exactly.

    Args:
        model: a `PastDecoder` where ``past_weight`` is not 0.
        config: how to train it; on the two models of this module ``fast``, ``graphs`` and ``precision`` do nothing.
        shuffle: whether each epoch begins with `partial_shuffle`.
        past_weight: weight of `PastDecoder.past_loss` in what is minimized.

    Raises:
        ValueError: past_weight is negative, or the model cannot decode the past.

    Example:
        >>> import torch
        >>> from awdlib import beyond, model, training_config
        >>> sizes = model.ModelConfig(vocab_size=20, embedding_size=8, hidden_size=8)
        >>> config = training_config.TrainConfig(batch_size=2)
        >>> run = beyond.BeyondTraining(model.LanguageModel(sizes), config, shuffle=True)
        >>> columns = torch.arange(20).view(2, 10).t()
        >>> once, again = run.arranged(columns), run.arranged(columns)
        >>> once.equal(columns), once.equal(again), once.sort(0).values.equal(columns)
        (False, True, True)
    """

    def __init__(
        self, model: LanguageModel, config: TrainConfig, *, shuffle: bool = False, past_weight: float = 0.0
    ) -> None:
        self.shuffle = require.switch("shuffle", shuffle)
        self.past_weight = require.number("past_weight", past_weight, "[0, inf)")
        if past_weight and not isinstance(model, PastDecoder):
            raise ValueError(f"past_weight is {past_weight}; only a PastDecoder decodes the past: build the model so")
        super().__init__(model, config)

    def arranged(self, columns: Tensor) -> Tensor:
        """The columns, shuffled for the epoch under way."""
        if not self.shuffle:
            return columns
        return partial_shuffle(columns, torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.epoch))

    def gradients(self, window: Window) -> tuple[Tensor, list[State]]:
        """As `Training.gradients`, for the mixture's loss, or with the past's added to what is minimized."""
        model, config = self.model, self.config
        if not (self.past_weight or isinstance(model, MixtureOfSoftmaxes)):
            return super().gradients(window)
        encoding = model.encode(window.inputs, window.states, generator=self.mask_generator)
        if isinstance(model, MixtureOfSoftmaxes):
            loss = model.target_loss(encoding.dropped_output, window.targets)
            whole = objective(config, loss, encoding)
        else:
            assert isinstance(model, PastDecoder)
            logits = F.linear(encoding.dropped_output, *model.decoder())
            loss = cross_entropy(logits, window.targets)
            whole = objective(config, loss, encoding) + self.past_weight * model.past_loss(logits, window.inputs)
        model.zero_grad()
        whole.backward()
        clip([weight.grad for weight in model.parameters() if weight.grad is not None], config.max_grad_norm)
        return loss.detach(), detach(encoding.states)


@dataclass(frozen=True, kw_only=True)
class DynamicConfig:
    """Settings of dynamic evaluation.

    Args:
        lr: eta, the step. With squared gradients it is measured in their roots, without them in plain gradients.
        decay: lambda, how far each step leads back to the trained weights, in [0, 1].
        seq_len: words between two steps.
        epsilon: added to the root of a squared gradient.

    Raises:
        ValueError: a value is out of range.

    Example:
        >>> from awdlib.beyond import DynamicConfig
        >>> DynamicConfig(lr=0.1, decay=1.5)
        Traceback (most recent call last):
            ...
        ValueError: decay is 1.5; it must lie in [0, 1]
    """

    lr: float
    decay: float = 0.0
    seq_len: int = 5
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        require.number("lr", self.lr, "[0, inf)")
        require.number("decay", self.decay, "[0, 1]")
        require.whole_number("seq_len", self.seq_len, 1)
        require.number("epsilon", self.epsilon, "(0, inf)")
        require.declared_types(self)


class Reading(NamedTuple):
    """A text as a model read it whose weights moved meanwhile; from `dynamic_evaluation`.

    Example:
        With both parts, the cache is one call away: ``cache_probabilities(reading.states, reading.targets, ...)``.

        >>> from awdlib.beyond import Reading
        >>> Reading._fields
        ('log_p', 'states', 'targets')
    """

    log_p: Tensor  #: (num_targets,), ln p of each word that came, in double precision
    states: Tensor  #: (num_targets, features), the last layer's output before it
    targets: Tensor  #: (num_targets,), the words that came


def squared_gradients(model: LanguageModel, tokens: Tensor, batch_size: int = 20, seq_len: int = 35) -> list[Tensor]:
    """Mean squared gradient of each weight over windows of a text: what `dynamic_evaluation` divides its steps by.

    Krause et al. 2018 gather them over the training text, with weights that stand still.

    Args:
        model: stays as it is; its gradients are cleared.
        tokens: (num_tokens,) token ids, of the training text.
        batch_size: columns.
        seq_len: rows of a window.

    Returns:
        one tensor for each of ``model.parameters()``.

    Raises:
        ValueError: as `evaluate` says.

    Example:
        >>> import torch
        >>> from awdlib.beyond import squared_gradients
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=10, embedding_size=8, hidden_size=8))
        >>> squares = squared_gradients(model, torch.arange(100) % 10, batch_size=2, seq_len=10)
        >>> all(square.shape == weight.shape for square, weight in zip(squares, model.parameters()))
        True
    """
    columns = columns_for(model, tokens, batch_size)
    twin = copy.deepcopy(model).eval()
    sums = [torch.zeros_like(weight) for weight in twin.parameters()]
    states, windows = twin.initial_states(batch_size), 0
    for inputs, targets in fixed_windows(columns, seq_len):
        output = twin(inputs, states)
        states, windows = detach(output.states), windows + 1
        grads = torch.autograd.grad(cross_entropy(output.logits, targets), list(twin.parameters()), allow_unused=True)
        for total, grad in zip(sums, grads, strict=True):
            if grad is not None:
                total.addcmul_(grad, grad)
    return [total / windows for total in sums]


def dynamic_evaluation(
    model: LanguageModel, tokens: Tensor, config: DynamicConfig, squares: Sequence[Tensor] | None = None
) -> Reading:
    """Read a text and learn from each few words of it, after they have been scored (Krause et al. 2018).

    With g the gradient of the words just scored, a step is ``weights -= lr g``, and then ``weights += decay (trained
    weights - weights)``. With squared gradients, their roots R divide g, and the decay of a weight is multiplied by
    R / mean R, up to where it would lead all the way back. (The authors' code takes the way back from the weights
    before the step, and the mean of the tensors' means.)

    Args:
        model: stays as it is; a copy learns.
        tokens: (num_tokens,) token ids, read in one stream.
        config: step and decay.
        squares: from `squared_gradients`; None for plain SGD.

    Returns:
        of each word its log-probability, by the weights as they were before it was seen, and the state before it.

    Raises:
        ValueError: the squares are not one a weight, the steps were too large, or as `evaluate` says.

    Example:
        A text that repeats itself is learned while it is read; without steps nothing is:

        >>> import torch
        >>> from awdlib.beyond import DynamicConfig, dynamic_evaluation
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=10, embedding_size=8, hidden_size=8, num_layers=1))
        >>> for lr in (0.0, 10.0):
        ...     log_p = dynamic_evaluation(model, torch.arange(300) % 3, DynamicConfig(lr=lr)).log_p
        ...     print((log_p[-100:].mean() > log_p[:100].mean() + 0.3).item())
        False
        True
    """
    if not isinstance(config, DynamicConfig):
        raise ValueError(f"config is {require.shown(config)}; it must be a DynamicConfig")
    columns = columns_for(model, tokens, 1)
    learner = copy.deepcopy(model).eval()
    weights, trained = list(learner.parameters()), [weight.detach().clone() for weight in model.parameters()]
    scales, decays = _scales(trained, config, squares)
    states, log_p, raw = learner.initial_states(1), [], []
    for inputs, targets in fixed_windows(columns, config.seq_len):
        output = learner(inputs, states)
        scores = output.logits[:, 0].log_softmax(-1).gather(1, targets)[:, 0]  # before anything is learned from them
        log_p.append(scores.detach().double())
        raw.append(output.raw_output[:, 0].detach())
        states = detach(output.states)
        grads = torch.autograd.grad(-scores.mean(), weights, allow_unused=True)
        with torch.no_grad():
            for weight, grad, home, scale, decay in zip(weights, grads, trained, scales, decays, strict=True):
                if grad is not None:
                    weight.addcmul_(grad, scale, value=-config.lr)
                weight.addcmul_(home - weight, decay)
    found = torch.cat(log_p)
    if not -found.mean() < LARGEST_LOSS:  # nan is not, either
        raise ValueError(f"the learner diverged at lr {config.lr}: take a smaller lr, or more decay")
    return Reading(found, torch.cat(raw), columns[1:, 0])


def _scales(
    weights: Sequence[Tensor], config: DynamicConfig, squares: Sequence[Tensor] | None
) -> tuple[list[Tensor], list[Tensor]]:
    """What multiplies the gradient of each weight, and what its way back to the trained one."""
    if squares is None:
        ones = [weight.new_ones(()) for weight in weights]
        return ones, [config.decay * one for one in ones]
    given = list(squares) if isinstance(squares, Sequence) else [squares]
    if [getattr(square, "shape", None) for square in given] != [weight.shape for weight in weights]:
        raise ValueError("the squared gradients are not this model's: make them with squared_gradients(model, text)")
    roots = [square.sqrt() for square in squares]
    mean = sum(root.sum() for root in roots) / sum(root.numel() for root in roots)
    decays = [(config.decay * root / mean).clamp(max=1.0) for root in roots]
    return [1 / (root + config.epsilon) for root in roots], decays
