"""The continuous cache: recently seen words become likelier where the hidden state resembles the one before them.

Grave, Joulin & Usunier 2016 ("Improving neural language models with a continuous cache"), section 3; Merity et al.
2017, on pointer models. Nothing is trained. With ``h_t`` the last layer's raw output at time t and ``w_{t+1}`` the word
that followed::

    p_cache(w | h_t)  =  sum over i in the window, w_{i+1} = w, of exp(theta h_t . h_i)  /  sum over i of the same
    p(w)              =  (1 - lambda) p_model(w) + lambda p_cache(w)

Only the target's probability is needed, so the cache is a handful of matrix products: a band of dot products, a masked
softmax along it, and a sum where the word that followed is the target.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.batches import fixed_windows
from awdlib.evaluation import columns_for
from awdlib.model import LanguageModel, at_least_single

CHUNK = 256  #: queries at a time, so that memory is CHUNK x (window + CHUNK) numbers a stream


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """Settings of the cache. Defaults: the original README's for Penn Treebank.

    Args:
        window: how many past positions are remembered.
        flatness: theta; 0 counts words, larger looks at how alike the states are.
        weight: lambda, in [0, 1]: how much of the probability the cache has.
        only_when_full: use the model alone until the history is longer than the window, as the original code does;
            otherwise the cache works from its first entry on.

    Raises:
        ValueError: a value is out of range.

    Example:
        The original README's settings for WikiText-2:

        >>> from awdlib.cache import CacheConfig
        >>> CacheConfig(window=3785, flatness=0.662, weight=0.1279)
        CacheConfig(window=3785, flatness=0.662, weight=0.1279, only_when_full=False)
        >>> CacheConfig(weight=1.1)
        Traceback (most recent call last):
            ...
        ValueError: the cache's weight (lambda) is 1.1; it must lie in [0, 1]
    """

    window: int = 500
    flatness: float = 1.0
    weight: float = 0.1
    only_when_full: bool = False

    def __post_init__(self) -> None:
        require.whole_number("the cache's window", self.window, 1)
        require.number("the cache's flatness (theta)", self.flatness, "[0, inf)")
        require.number("the cache's weight (lambda)", self.weight, "[0, 1]")
        require.declared_types(self)


class TargetProbabilities(NamedTuple):
    """What model and cache each give to the words that came; all (num_targets, batch), in double precision.

    From `target_probabilities` and `sweep_flatness`. Lambda is free to search in it, with no further look at the model.

    Example:
        The cache does not know the first word and is sure of the second. Lambda 7/16 balances the two:

        >>> import torch
        >>> from awdlib.cache import TargetProbabilities
        >>> model, cache = torch.tensor([[0.5], [0.1]]), torch.tensor([[0.0], [0.9]])
        >>> found = TargetProbabilities(model, cache, usable=torch.tensor([[True], [True]]))
        >>> round(found.best_weight(), 2)
        0.44
        >>> found.loss(7 / 16) < found.loss(0)
        True
    """

    model: Tensor  #: p_model of each target
    cache: Tensor  #: p_cache of each target; 0 where there is no history yet, or the target is not in it
    usable: Tensor  #: whether there is a history to use, as bool

    def mixed(self, weight: float) -> Tensor:
        """(1 - lambda) p_model + lambda p_cache, and p_model alone where the cache cannot be used.

        Args:
            weight: lambda, in [0, 1].

        Returns:
            (num_targets, batch), in double precision.

        Raises:
            ValueError: lambda is outside [0, 1].
        """
        require.number("the cache's weight (lambda)", weight, "[0, 1]")
        return torch.where(self.usable, (1 - weight) * self.model + weight * self.cache, self.model)

    def loss(self, weight: float) -> float:
        """Mean negative log likelihood of `mixed` in nats a token: free to search, once these are stored.

        Args:
            weight: lambda, in [0, 1].

        Raises:
            ValueError: lambda is outside [0, 1], or a probability is not a number.
        """
        loss = -self.mixed(weight).log().mean().item()
        if math.isnan(loss):
            raise ValueError(
                "the loss is nan: the model has diverged, or theta is too large; take earlier weights, or "
                "a smaller theta"
            )
        return loss

    def best_weight(self, tolerance: float = 1e-5) -> float:
        """The lambda of lowest `loss`, by golden-section search: the loss is convex in lambda.

        Args:
            tolerance: width of the interval at which the search ends.

        Raises:
            ValueError: the tolerance is too small for the search to end, or a probability is not a number.
        """
        require.number("tolerance", tolerance, "[1e-12, 1]")
        low, high, ratio = 0.0, 1.0, (math.sqrt(5) - 1) / 2
        while high - low > tolerance:
            left, right = high - ratio * (high - low), low + ratio * (high - low)
            low, high = (low, right) if self.loss(left) <= self.loss(right) else (left, high)
        return (low + high) / 2


def cache_probabilities(
    states: Tensor, targets: Tensor, window: int, flatness: float, only_when_full: bool = False
) -> tuple[Tensor, Tensor]:
    """Probability that the cache gives to each target, exactly, for every position of a stream.

    Grave et al. 2016, section 3. Position t sees the pairs ``(h_i, w_{i+1})`` with t - window <= i < t.

    Args:
        states: (num_targets, features), the last layer's raw output ``h_t`` before each target.
        targets: (num_targets,) the words that came.
        window: positions remembered.
        flatness: theta.
        only_when_full: see `CacheConfig`.

    Returns:
        probabilities (num_targets,), 0 where there is no history; and whether there is one, (num_targets,) bool. Where
        a state is not a number, neither are the probabilities that saw it.

    Raises:
        ValueError: a shape, kind or device is none of these, the text is empty, or a setting out of range.

    Example:
        At theta 0 the states do not matter, and a word's probability is its share of the words seen so far:

        >>> import torch
        >>> from awdlib.cache import cache_probabilities
        >>> words = torch.tensor([7, 5, 7, 7])
        >>> probabilities, usable = cache_probabilities(torch.ones(4, 2), words, window=10, flatness=0.0)
        >>> probabilities, usable
        (tensor([0.0000, 0.0000, 0.5000, 0.6667]), tensor([False,  True,  True,  True]))
    """
    require.floats("states", states, "(num_targets, features)")
    require.token_ids("targets", targets, "(num_targets,)")
    require.same_device("targets", targets, "states", states)
    if not len(states) == len(targets) > 0:
        raise ValueError(
            f"there are {len(states)} states and {len(targets)} targets; each target needs its state, and one is due"
        )
    CacheConfig(window=window, flatness=flatness, only_when_full=only_when_full)  # refuses what is out of range
    history = _History(window, flatness, only_when_full)
    chunks = zip(states.split(CHUNK), targets.split(CHUNK), strict=True)
    found = [history.look_up_and_remember(*chunk) for chunk in chunks]
    probabilities, usable = (torch.cat(pieces) for pieces in zip(*found, strict=True))
    return probabilities, usable


class _History:
    """The last ``window`` pairs of one stream, and the arithmetic of one chunk against them."""

    def __init__(self, window: int, flatness: float, only_when_full: bool) -> None:
        self.window, self.flatness, self.only_when_full = window, flatness, only_when_full
        self.states: Tensor | None = None
        self.words: Tensor | None = None
        self.seen = 0  # positions before the chunk, forgotten ones included

    def look_up_and_remember(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of a chunk's targets, each from the pairs before it; then the chunk becomes history."""
        keys = states if self.states is None else torch.cat([self.states, states])  # (K, features)
        words = targets if self.words is None else torch.cat([self.words, targets])  # (K,)
        past = len(keys) - len(states)
        position = torch.arange(len(states), device=states.device)[:, None] + past  # of each query among the keys
        key = torch.arange(len(keys), device=states.device)[None, :]
        visible = (key < position) & (key >= position - self.window)  # (Q, K)

        scores = (self.flatness * states @ keys.t()).masked_fill(~visible, -torch.inf)
        attention = scores.softmax(dim=1).where(visible, 0)  # a row with nothing visible is all nan: no history yet
        found = (attention * (words[None, :] == targets[:, None])).sum(dim=1)

        count = torch.arange(len(states), device=states.device) + self.seen  # pairs before each query
        usable = count > (self.window if self.only_when_full else 0)
        self.seen += len(states)
        self.states, self.words = keys[-self.window :].clone(), words[-self.window :].clone()  # a view would hold all
        return found * usable, usable


def target_probabilities(
    model: LanguageModel, tokens: Tensor, config: CacheConfig, batch_size: int = 1, seq_len: int = CHUNK
) -> TargetProbabilities:
    """What model and cache give to every target of a text; each column of the batch has a cache of its own.

    Args:
        model: left in the mode it was found in.
        tokens: (num_tokens,) token ids.
        config: the cache's settings; its weight does not matter here.
        batch_size: columns that the text is cut into; 1 is exact.
        seq_len: rows at a time; does not change the result.

    Returns:
        both probabilities of every target, (num_tokens // batch_size - 1, batch_size).

    Raises:
        ValueError: as `evaluate` says.

    Example:
        Without the cache's part, what is left is the loss of `evaluate`:

        >>> import torch
        >>> from awdlib.cache import CacheConfig, target_probabilities
        >>> from awdlib.evaluation import evaluate
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=10, embedding_size=8, hidden_size=8))
        >>> text = torch.arange(60) % 10
        >>> found = target_probabilities(model, text, CacheConfig(window=20))
        >>> abs(found.loss(weight=0) - evaluate(model, text)) < 1e-5
        True
    """
    return sweep_flatness(model, tokens, config, [config.flatness], batch_size, seq_len)[0]


@torch.no_grad()
def sweep_flatness(
    model: LanguageModel,
    tokens: Tensor,
    config: CacheConfig,
    flatnesses: Sequence[float],
    batch_size: int = 1,
    seq_len: int = CHUNK,
) -> list[TargetProbabilities]:
    """`target_probabilities` for several theta in one pass of the model.

    Memory is bounded by the window and the chunk, whatever the length of the text; only three numbers a target and
    theta are kept.

    Args:
        model: left in the mode it was found in.
        tokens: (num_tokens,) token ids.
        config: the cache's settings; its flatness and weight do not matter here.
        flatnesses: the theta to try.
        batch_size: columns that the text is cut into; 1 is exact.
        seq_len: rows at a time; does not change the result.

    Returns:
        the probabilities at each theta, in the order of ``flatnesses``.

    Raises:
        ValueError: there is no theta, one is out of range, or as `evaluate` says.

    Example:
        In a text that repeats itself, the states of like positions are alike: looking at them beats counting words.

        >>> import torch
        >>> from awdlib.cache import CacheConfig, sweep_flatness
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> sizes = ModelConfig(vocab_size=10, embedding_size=8, hidden_size=8, num_layers=1)
        >>> model = LanguageModel(sizes, generator=torch.Generator().manual_seed(1))
        >>> counted, looked_up = sweep_flatness(model, torch.arange(60) % 10, CacheConfig(window=20), [0.0, 1e5])
        >>> round(counted.cache[-1].item(), 3), round(looked_up.cache[-1].item(), 3)
        (0.1, 1.0)
    """
    columns = columns_for(model, tokens, batch_size)
    settings = [replace(config, flatness=flatness) for flatness in flatnesses]
    if not settings:
        raise ValueError("there is no theta to try: name at least one")
    was_training = model.training
    model.eval()
    try:
        caches = [[_History(s.window, s.flatness, s.only_when_full) for _ in range(batch_size)] for s in settings]
        states = None
        parts: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in settings]
        for inputs, targets in fixed_windows(columns, seq_len):
            logits, states, raw, _ = model(inputs, states)
            log_p = at_least_single(logits).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
            for part, histories in zip(parts, caches, strict=True):
                found = [history.look_up_and_remember(raw[:, b], targets[:, b]) for b, history in enumerate(histories)]
                cached, usable = (torch.stack(pieces, dim=1) for pieces in zip(*found, strict=True))
                part.append((log_p.double().exp(), cached.double(), usable))
        return [TargetProbabilities(*(torch.cat(pieces) for pieces in zip(*part, strict=True))) for part in parts]
    finally:
        model.train(was_training)
