"""Text from a model, sampled word by word, and what a model thinks of each word of a given text.

What is drawn from is, in this order, model and cache mixed, temperature, top-k, nucleus. Without a cache that is the
usual softmax(logits / T), since softmax(log softmax(x) / T) = softmax(x / T).

Top-k: Fan et al. 2018. Nucleus: Holtzman et al. 2020, section 3.1. Cache: Grave et al. 2016, as in `awdlib.cache`.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.cache import CacheConfig
from awdlib.corpora import EOS, UNKNOWN, Vocabulary
from awdlib.model import LanguageModel


def generate(
    model: LanguageModel,
    vocabulary: Vocabulary,
    prompt: Sequence[str],
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    cache: CacheConfig | None = None,
) -> Iterator[str]:
    """Continue a text, word by word; the arguments are checked at once, before the first word is asked for.

    Args:
        model: used without dropout, and left in the mode it was found in.
        vocabulary: the one it was trained with.
        prompt: words to continue; where there are none, the text begins after an ``<eos>``, as a line of a corpus does.
        length: number of words to draw, at least 1; ``<eos>`` counts as one and ends nothing.
        temperature, top_k, top_p: as in `next_word_distribution`.
        generator: source of randomness, on any device; None takes torch's global one.
        cache: mixes in a continuous cache, whose history begins with the prompt.

    Returns:
        the words drawn, one at a time, without the prompt.

    Raises:
        ValueError: a word of the prompt is unknown, a setting is out of range, or the vocabulary is another model's.

    Example:
        Of an untrained model, whose softmax bias is made to prefer one word:

        >>> import torch
        >>> from awdlib.corpora import Vocabulary
        >>> from awdlib.generation import generate
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> words = Vocabulary(["<eos>", "the", "sea", "sings"])
        >>> model = LanguageModel(ModelConfig(vocab_size=4, embedding_size=8, hidden_size=8))
        >>> model.softmax_bias.data[words.ids["sea"]] = 5.0
        >>> list(generate(model, words, ["the"], length=3, temperature=0))
        ['sea', 'sea', 'sea']
        >>> len(set(generate(model, words, ["the"], 50, temperature=100, generator=torch.Generator().manual_seed(1))))
        4
    """
    length = require.whole_number("length", length, 1)
    _require_settings(temperature, top_k, top_p, len(vocabulary))
    if generator is not None:
        require.generator(generator, generator.device if isinstance(generator, torch.Generator) else "cpu")

    def words(unread: list[int]) -> Iterator[str]:
        reader = Reader(model, cache)
        for _ in range(length):
            expected = [reader.read(word) for word in unread][-1]
            drawn = _draw(next_word_distribution(expected.mixed.log(), temperature, top_k, top_p), generator)
            yield vocabulary.words[drawn]
            unread = [drawn]

    return words(_encode(model, vocabulary, prompt or [EOS]))


def next_word_distribution(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Probabilities to draw the next word from: softmax(logits / temperature), cut off by top-k, then by nucleus.

    Top-k: Fan et al. 2018. Nucleus: Holtzman et al. 2020, section 3.1.

    Args:
        logits: (..., vocab_size), or log probabilities; -inf for a word that cannot come.
        temperature: below 1 favours likely words, above 1 levels the distribution; 0 puts all on the likeliest.
        top_k: keep exactly this many words, the likeliest; None keeps all.
        top_p: keep the smallest set of likeliest words with this much of the probability that top-k left.

    Returns:
        (..., vocab_size), in double precision.

    Raises:
        ValueError: a setting is out of range, or the logits are not numbers.

    Example:
        >>> import torch
        >>> from awdlib.generation import next_word_distribution
        >>> logits = torch.tensor([0.5, 0.3, 0.2]).log()
        >>> next_word_distribution(logits, temperature=0.5)  # the squares, made to sum to 1
        tensor([0.6579, 0.2368, 0.1053], dtype=torch.float64)
        >>> next_word_distribution(logits, top_p=0.7)  # 0.5 alone is too little, 0.5 + 0.3 is enough
        tensor([0.6250, 0.3750, 0.0000], dtype=torch.float64)
    """
    require.tensor("logits", logits)
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits has shape {tuple(logits.shape)}; it must be (..., vocab_size)")
    _require_settings(temperature, top_k, top_p, logits.shape[-1])
    logits = logits.double() - logits.double().amax(-1, keepdim=True)  # at most 0: no small temperature overflows
    if logits.isnan().any():
        raise ValueError("the logits are not all numbers: the model has diverged; take an earlier checkpoint")
    if temperature == 0:
        return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
    if top_k is not None:
        likeliest = logits.topk(top_k)
        logits = torch.full_like(logits, -math.inf).scatter(-1, likeliest.indices, likeliest.values)
    kept = (logits / temperature).softmax(-1)
    if top_p is not None and top_p < 1:  # at 1, rounding of the running sum might cut the tail off
        descending, order = kept.sort(dim=-1, descending=True)
        of_likelier = descending.cumsum(-1) - descending  # probability of all words before this one
        kept = torch.zeros_like(kept).scatter(-1, order, descending * (of_likelier < top_p))
        kept = kept / kept.sum(-1, keepdim=True)
    return kept


def _draw(p: Tensor, generator: torch.Generator | None) -> int:
    """One word, drawn where the generator lives: a seed means the same whatever the model runs on."""
    return int(torch.multinomial(p.to(generator.device if generator else p.device), 1, generator=generator))


class NextWord(NamedTuple):
    """What model and cache expect after the words read so far; (vocab_size,) each, in double precision.

    From `Reader.read`, whose example shows one.
    """

    model_log: Tensor  #: natural logarithm of p_model
    cache: Tensor  #: p_cache; all 0 without a cache, or while it has no history
    weight: float  #: lambda, the cache's part; 0 in those cases

    @property
    def mixed(self) -> Tensor:
        """(1 - lambda) p_model + lambda p_cache, (vocab_size,)."""
        return (1 - self.weight) * self.model_log.exp() + self.weight * self.cache


class Reader:
    """Reads a text word by word and says after each what may follow: hidden state carried, cache growing.

    Args:
        model: used without dropout, and left in the mode it was found in.
        cache: settings of a continuous cache, which sees what is read; None for the model alone.

    Example:
        After the words 3, 5, 3 the cache knows what came after the first two of them, each once:

        >>> from awdlib.cache import CacheConfig
        >>> from awdlib.generation import Reader
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=6, embedding_size=8, hidden_size=8))
        >>> reader = Reader(model, CacheConfig(flatness=0.0))
        >>> [reader.read(word).cache.tolist() for word in (3, 5, 3)][-1]
        [0.0, 0.0, 0.0, 0.5, 0.0, 0.5]
    """

    def __init__(self, model: LanguageModel, cache: CacheConfig | None = None) -> None:
        self.model, self.cache, self.states = model, cache, model.initial_states(1)
        self.history: deque[tuple[Tensor, int]] = deque(maxlen=cache.window if cache else 0)  # (h_i, w_{i+1})
        self.pairs_seen = 0  # forgotten ones included
        self.hidden: Tensor | None = None  # (features,) h_t: the last raw output

    @torch.no_grad()
    def read(self, word: int) -> NextWord:
        """Read one more word.

        Args:
            word: its id.

        Returns:
            what is expected to follow it.

        Raises:
            ValueError: the model knows no word of this id.
        """
        require.whole_number("a word's id", word, 0, self.model.config.vocab_size - 1)
        if self.hidden is not None:
            self.history.append((self.hidden, word))
            self.pairs_seen += 1
        was_training = self.model.training
        self.model.eval()
        try:
            output = self.model(torch.tensor([[word]], device=self.model.embedding.device), self.states)
        finally:
            self.model.train(was_training)
        self.states, self.hidden = output.states, output.raw_output[0, 0].double()
        return self._expect(output.logits[0, 0].double().log_softmax(-1))

    def _expect(self, model_log: Tensor) -> NextWord:
        """With p_cache(w | h_t): attention over the window, summed for each word that followed."""
        cached = torch.zeros_like(model_log)
        if (
            self.cache is None
            or self.hidden is None
            or self.pairs_seen <= (self.cache.window if self.cache.only_when_full else 0)
        ):
            return NextWord(model_log, cached, weight=0.0)
        states, words = zip(*self.history, strict=True)
        attention = (self.cache.flatness * torch.stack(states) @ self.hidden).softmax(0)  # (pairs in the window,)
        cached.index_add_(0, torch.tensor(words, device=cached.device), attention)
        return NextWord(model_log, cached, self.cache.weight)


@dataclass(frozen=True)
class TokenReport:
    """What the model, and the cache beside it, thought of one word of a text before they read it.

    From `inspect_tokens`, whose example shows some.
    """

    word: str  #: as it stands in the text
    probability: float  #: p_model
    surprisal: float  #: -ln p_model, in nats
    entropy: float  #: of the model's whole distribution, in nats; it is the surprisal that the model expected
    rank: int  #: among the model's words; 1 is the likeliest
    cache_probability: float | None  #: p_cache, 0 where there is no history yet; None without a cache
    cache_share: float  #: how much of the mixed probability comes from the cache, lambda p_cache / mixed
    mixed: float  #: (1 - lambda) p_model + lambda p_cache; p_model where the cache has no history


def inspect_tokens(
    model: LanguageModel,
    vocabulary: Vocabulary,
    words: Sequence[str],
    cache: CacheConfig | None = None,
    *,
    context: Sequence[str] = (),
) -> list[TokenReport]:
    """What a model thinks of each word of a text; the mean surprisal is the loss of `evaluate` on context and text.

    Args:
        model: used without dropout, and left in the mode it was found in.
        vocabulary: the one it was trained with.
        words: the text; one report each.
        cache: mixes in a continuous cache; the model's own figures do not change with it.
        context: words read before the text and not reported on; where there are none, an ``<eos>``.

    Returns:
        one report a word of the text, in order.

    Raises:
        ValueError: a word is unknown, the vocabulary is another model's, or the model has diverged.

    Example:
        A model that has learned nothing is near ln 3 = 1.10 nats of surprise at each of three words:

        >>> import torch
        >>> from awdlib.corpora import Vocabulary
        >>> from awdlib.generation import inspect_tokens
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> sizes = ModelConfig(vocab_size=3, embedding_size=8, hidden_size=8)
        >>> model = LanguageModel(sizes, generator=torch.Generator().manual_seed(1))
        >>> reports = inspect_tokens(model, Vocabulary(["<eos>", "a", "b"]), ["a", "b", "a"])
        >>> [(report.word, round(report.surprisal, 1)) for report in reports]
        [('a', 1.1), ('b', 1.1), ('a', 1.1)]
    """
    before, text = _encode(model, vocabulary, context or [EOS]), _encode(model, vocabulary, words)
    reader, reports = Reader(model, cache), []
    for number, (word, next_word) in enumerate(pairwise(before + text), start=1):
        expected = reader.read(word)
        if number >= len(before):
            reports.append(_report(vocabulary.words[next_word], next_word, expected, cache is not None))
    return reports


def _report(name: str, word: int, expected: NextWord, with_cache: bool) -> TokenReport:
    log_p, mixed, cached = (part[word].item() for part in (expected.model_log, expected.mixed, expected.cache))
    if math.isnan(mixed):
        raise ValueError(f"the probability of {name!r} is nan: the model has diverged; take an earlier checkpoint")
    entropy = torch.special.entr(expected.model_log.exp()).sum().item()
    rank = 1 + int((expected.model_log > log_p).sum())
    share = expected.weight * cached / mixed if mixed > 0 else 0.0
    return TokenReport(name, math.exp(log_p), -log_p, entropy, rank, cached if with_cache else None, share, mixed)


def _encode(model: LanguageModel, vocabulary: Vocabulary, words: Sequence[str]) -> list[int]:
    if isinstance(words, str):
        raise ValueError(f"the text is one string, {words[:40]!r}; it must be a list of words: use .split()")
    if (known := model.config.vocab_size) != (size := len(vocabulary)):
        raise ValueError(f"the model knows {known:,} words and the vocabulary has {size:,}: use the model's own")
    if unknown := dict.fromkeys(repr(word) for word in words if word not in vocabulary.ids):
        remedy = f"write {UNKNOWN} instead" if UNKNOWN in vocabulary.ids else "use words of the training text"
        raise ValueError(f"not among the vocabulary's {size:,} words: {', '.join(unknown)}; {remedy}")
    return vocabulary.encode(words).tolist()


def _require_settings(temperature: float, top_k: int | None, top_p: float | None, vocab_size: int) -> None:
    require.number("temperature", temperature, "[0, inf)", ": 0 always takes the likeliest word")
    if top_k is not None:
        require.whole_number("top_k", top_k, 1, vocab_size)
    if top_p is not None:
        require.number("top_p", top_p, "(0, 1]", ", or be left out to keep every word")
