"""How good a model is: its cross entropy on held-out text, hidden state carried from beginning to end."""

import math

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.batches import batchify, fixed_windows
from awdlib.corpora import Corpus
from awdlib.model import LanguageModel, cross_entropy


@torch.no_grad()
def evaluate(model: LanguageModel, tokens: Tensor, batch_size: int = 1, seq_len: int = 70) -> float:
    """Mean cross entropy over a stream, hidden state carried, every target counted once.

    The original code divides by the number of rows, one more than there are targets, and so reports a loss smaller by
    a factor 1 - 1.4e-4 on Penn Treebank's validation set.

    Args:
        model: left in the mode it was found in.
        tokens: (num_tokens,) token ids.
        batch_size: columns that the stream is cut into; 1 is exact, more is faster.
        seq_len: rows at a time; does not change the result.

    Returns:
        nats a token; its exponential is the perplexity.

    Raises:
        ValueError: tokens are not ids of the model's words, or too few for the batch; batch_size or seq_len is not
            positive; or the loss is not a finite number.

    Example:
        With all weights at 0 every word is equally likely, whatever was read:

        >>> import math, torch
        >>> from awdlib.evaluation import evaluate
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=8, num_layers=1))
        >>> for weight in model.parameters():
        ...     _ = torch.nn.init.zeros_(weight)
        >>> round(math.exp(evaluate(model, torch.arange(50))), 3)
        50.0
    """
    columns = columns_for(model, tokens, batch_size)
    was_training = model.training
    model.eval()
    try:
        states = model.initial_states(batch_size)
        total = torch.zeros((), dtype=torch.float64, device=columns.device)
        for inputs, targets in fixed_windows(columns, seq_len):
            logits, states, _, _ = model(inputs, states)
            total += cross_entropy(logits, targets).double() * len(inputs)
        loss = total.item() / (len(columns) - 1)
    finally:
        model.train(was_training)
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss}: the model has diverged; take earlier weights, or train at a lower lr")
    return loss


def columns_for(model: LanguageModel, tokens: Tensor, batch_size: int) -> Tensor:
    """`batchify`, on the model's device, of a text that the model can read: looked at once, before it is read.

    Args:
        model: who is to read it.
        tokens: (num_tokens,) token ids.
        batch_size: number of columns.

    Returns:
        (rows, batch_size), as `batchify` says.

    Raises:
        ValueError: an id is outside the model's vocabulary, or as `batchify` says.

    Example:
        >>> import torch
        >>> from awdlib.evaluation import columns_for
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=8))
        >>> columns_for(model, torch.tensor([3, 49, 50]), batch_size=1)
        Traceback (most recent call last):
            ...
        ValueError: the text has ids from 3 to 50; the vocabulary has 0 to 49: use its own encode()
    """
    columns = batchify(tokens, batch_size)
    require.known("the text", tokens, model.config.vocab_size)
    return columns.to(model.embedding.device)


def check_vocabulary(model: LanguageModel, corpus: Corpus) -> None:
    """Raise unless the model's vocabulary has the corpus's size.

    Args:
        model: the model.
        corpus: what it is to read.

    Raises:
        ValueError: it does not.

    Example:
        >>> from awdlib.corpora import load_corpus
        >>> from awdlib.evaluation import check_vocabulary
        >>> from awdlib.model import LanguageModel, ModelConfig
        >>> model = LanguageModel(ModelConfig(vocab_size=50, embedding_size=8, hidden_size=8))
        >>> check_vocabulary(model, load_corpus("toy"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: the model knows 50 word types and corpus 'toy' has 1,105: ...
    """
    if model.config.vocab_size != len(corpus.vocabulary):
        raise ValueError(
            f"the model knows {model.config.vocab_size:,} word types and corpus {corpus.name!r} has "
            f"{len(corpus.vocabulary):,}: use the corpus that the model was trained on"
        )
