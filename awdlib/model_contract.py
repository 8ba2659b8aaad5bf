"""The promises of the complete model: every line of its forward pass and of its loss, looked at from outside.

    >>> from awdlib.model import LanguageModel
    >>> from awdlib.model_contract import check_language_model
    >>> check_language_model(LanguageModel).kept
    True

`awdlib.contracts` looks at one regularizer on its own. A correct regularizer that nobody calls, or that is called in
the wrong place, passes there; it is caught here, where the whole model runs, each time with one probability above 0.
Masks are found by what they do: an activation that was dropped leaves an exact zero in a gradient.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib.contracts import STANDARD_ERRORS, Promise, Report, guarded
from awdlib.model import ModelConfig, Output

Make = Callable[[ModelConfig], nn.Module]  #: gives a model that is called, and has its weights, as `LanguageModel` does
Objective = Callable[[Output, Tensor, float, float], Tensor]  #: called as ``function(output, targets, alpha, beta)``

P = 0.5  #: of the one dropout that is tried
SIZES = ModelConfig(
    vocab_size=120, embedding_size=24, hidden_size=32, dropout_input=0.0, dropout_hidden=0.0, dropout_output=0.0,
    dropout_embedding=0.0, dropout_weight=0.0,
)  # fmt: skip
PLACES = ("dropout_embedding", "dropout_input", "dropout_hidden", "dropout_weight", "dropout_output")


def check_language_model(make: Make) -> Report:
    """Look whether each regularizer of AWD-LSTM's forward pass acts, acts where it should, and in training only.

    Args:
        make: ``make(config)`` gives a model of these sizes and dropouts: called as `awdlib.model.LanguageModel`, with
            its result, its ``embedding``, ``softmax_bias``, ``layers`` and their weights. The class itself will do.

    Example:
        A model that is built without weight drop:

        >>> from dataclasses import replace
        >>> from awdlib.model import LanguageModel
        >>> from awdlib.model_contract import check_language_model
        >>> check_language_model(lambda config: LanguageModel(replace(config, dropout_weight=0.0))).broken()
        ['weight drop: one mask on each recurrent matrix']
    """

    def look() -> Iterator[Promise]:
        for part in (_evaluation, _states, _embedding, _input, _hidden, _weight, _output, _fresh):
            yield from part(make)

    return guarded(look)


def check_objective(function: Objective) -> Report:
    """Look whether a loss is cross entropy + AR on the dropped output + TAR on the raw one, all of them means.

    Args:
        function: called as ``function(output, targets, ar_weight, tar_weight)``, with an `awdlib.model.Output`.

    Example:
        AR on the raw output:

        >>> from awdlib.model import cross_entropy, penalties
        >>> from awdlib.model_contract import check_objective
        >>> def confused(output, targets, ar_weight, tar_weight):
        ...     raw = output._replace(dropped_output=output.raw_output)
        ...     return cross_entropy(output.logits, targets) + penalties(raw, ar_weight, tar_weight)
        >>> check_objective(confused).broken()
        ['AR: α times the mean square of the dropped output']
    """
    return guarded(lambda: _objective(function))


def _alone(make: Make, **dropouts: Any) -> Any:
    """A model in training with only these dropouts on, in double precision: zeros are then zeros."""
    return make(replace(SIZES, **dropouts)).double().train()


def _twin(make: Make, model: nn.Module) -> Any:
    """A model of the same weights that drops nothing."""
    twin = _alone(make)
    twin.load_state_dict(model.state_dict(), strict=False)
    return twin


def _tokens(seq_len: int, batch: int) -> Tensor:
    """Each word of the vocabulary once before any comes again."""
    return (torch.arange(seq_len * batch) % SIZES.vocab_size).view(seq_len, batch)


def _gradient(value: Tensor, weight: Tensor) -> Tensor:
    """Of a random weighting of the value, so that nothing cancels; zeros where nothing reaches the weight."""
    if not value.requires_grad:
        return torch.zeros_like(weight)
    weighted = (value * torch.rand_like(value).add(0.5)).sum()
    found = torch.autograd.grad(weighted, weight, allow_unused=True, retain_graph=True)[0]
    return torch.zeros_like(weight) if found is None else found


def _about_p(decisions: Tensor) -> bool:
    """Whether a share of about P of them is True, within what chance allows."""
    return bool(
        abs(decisions.double().mean().item() - P) <= STANDARD_ERRORS * math.sqrt(P * (1 - P) / decisions.numel())
    )


def _evaluation(make: Make) -> Iterator[Promise]:
    model = _alone(make, **dict.fromkeys(PLACES, P))
    tokens, twin = _tokens(12, 2), _twin(make, model)
    same = model.eval()(tokens).logits.allclose(twin.eval()(tokens).logits)
    yield Promise("in evaluation nothing is dropped", same, "hand self.training to every dropout, and call eval()")


def _states(make: Make) -> Iterator[Promise]:
    model, tokens = _alone(make).eval(), _tokens(12, 2)
    first = model(tokens[:5])
    parts = torch.cat([first.logits, model(tokens[5:], first.states).logits])
    yield Promise("the state after a window begins the next", parts.allclose(model(tokens).logits),
                  "two windows, with the state carried, give something else than the same text in one window: "
                  "each layer needs its own state in, and its new one out")  # fmt: skip


def _embedding(make: Make) -> Iterator[Promise]:
    model = _alone(make, dropout_embedding=P)
    tokens = _tokens(60, 6)  # every word three times, at different places
    output = model(tokens)
    gone = (_gradient(output.raw_output, model.embedding) == 0).all(dim=1)
    twin = _twin(make, model)
    with torch.no_grad():
        twin.embedding.mul_((~gone).double()[:, None] / (1 - P))
    whole_words = _about_p(gone) and output.raw_output.allclose(twin(tokens).raw_output)
    yield Promise("embedding dropout: a word is gone wherever it stands", whole_words,
                  f"{gone.double().mean():.0%} of the words are gone as a whole, at p = {P:g}: one decision a row of "
                  "the embedding, what is kept scaled by 1/(1 - p), and the words read from the result")  # fmt: skip
    whole = F.linear(output.dropped_output, model.embedding, model.softmax_bias)
    yield Promise("the softmax reads every row of the tied matrix", output.logits.allclose(whole),
                  "logits = output · (the embedding itself, not the dropped one) + bias")  # fmt: skip


def _input(make: Make) -> Iterator[Promise]:
    model, tokens = _alone(make, dropout_input=P), _tokens(10, 4)
    gradient = _gradient(model(tokens).raw_output, model.embedding)
    dropped = gradient[tokens] == 0  # (seq_len, batch, features), since no word occurs twice
    yield Promise("locked dropout on the embedded words", _is_locked(dropped), _hint(dropped))


def _hidden(make: Make) -> Iterator[Promise]:
    model, tokens = _alone(make, dropout_hidden=P), _tokens(10, 1)
    output, dropped = model(tokens), []
    for layer in model.layers:  # a feature that never arrives leaves a column of zeros
        dropped.append((_gradient(output.raw_output, layer.weight_ih) == 0).all(dim=0))
    first, *between = dropped
    shares = " and ".join(f"{part.double().mean():.0%}" for part in between)
    placed = all(map(_about_p, between)) and not bool(first.any()) and not bool((output.raw_output == 0).any())
    yield Promise("locked dropout between every two layers", placed,
                  f"{shares} of the features never arrive in the layers above the first, at p = {P:g}: one mask a "
                  "sequence, held for the window, before each layer but the first, and not after the last")  # fmt: skip


def _weight(make: Make) -> Iterator[Promise]:
    model, tokens = _alone(make, dropout_weight=P), _tokens(10, 2)
    output = model(tokens)
    dropped = [_gradient(output.raw_output, layer.weight_hh) == 0 for layer in model.layers]
    share = torch.cat([part.flatten() for part in dropped]).double().mean()
    yield Promise("weight drop: one mask on each recurrent matrix", all(map(_about_p, dropped)),
                  f"{share:.0%} of the gradient of weight_hh is zero, at p = {P:g}: one mask a window, on the raw "
                  "parameter, in every layer")  # fmt: skip


def _output(make: Make) -> Iterator[Promise]:
    model, tokens = _alone(make, dropout_output=P), _tokens(10, 4)
    output = model(tokens)
    raw = output.raw_output.allclose(_twin(make, model)(tokens).raw_output)
    yield Promise("the raw output is what the last layer gave", raw, "TAR and the cache need it before its dropout")
    mask = output.dropped_output / output.raw_output
    scaled = mask[mask != 0].allclose(mask.new_tensor(1 / (1 - P)))
    yield Promise("locked dropout on the output", _is_locked(mask == 0) and scaled, _hint(mask == 0))
    logits = F.linear(output.dropped_output, model.embedding, model.softmax_bias)
    yield Promise("the softmax reads the dropped output", output.logits.allclose(logits), "not the raw one")


def _fresh(make: Make) -> Iterator[Promise]:
    tokens, stuck = _tokens(10, 2), []
    for place in PLACES:
        model = _alone(make, **{place: P})
        first, second, without = model(tokens).logits, model(tokens).logits, _twin(make, model)(tokens).logits
        if first.allclose(second) and not first.allclose(without):
            stuck.append(place)
    yield Promise("draws every mask anew for each window", not stuck,
                  f"the same window twice gave the same twice with {' and '.join(stuck)} on")  # fmt: skip


def _is_locked(dropped: Tensor) -> bool:
    """Whether (seq_len, batch, features) is one decision a sequence and feature, a share P of them True."""
    held = bool((dropped == dropped[:1]).all())
    return held and _about_p(dropped[0]) and not bool((dropped[0] == dropped[0, :1]).all())


def _hint(dropped: Tensor) -> str:
    share = f"{dropped.double().mean():.0%} of the entries are gone, at p = {P:g}"
    if not dropped.any():
        return f"{share}: it is silently inactive"
    if not bool((dropped == dropped[:1]).all()):
        return f"{share}, other ones at other time steps: the mask needs size 1 along time"
    return f"{share}: p of the features, others for each sequence, and nothing else"


def _objective(function: Objective) -> Iterator[Promise]:
    logits, raw = torch.randn(7, 3, 11, dtype=torch.float64), torch.randn(7, 3, 5, dtype=torch.float64)
    logits, raw = logits.requires_grad_(), raw.requires_grad_()
    dropped = raw * 2 * torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    output, targets = Output(logits, [], raw, dropped), torch.randint(11, (7, 3))

    def added(alpha: float, beta: float) -> Tensor:
        return function(output, targets, alpha, beta) - function(output, targets, 0.0, 0.0)

    entropy = -logits.log_softmax(2).gather(2, targets[..., None]).mean()
    terms = {
        "cross entropy: the mean over all words of the window": (function(output, targets, 0.0, 0.0), entropy),
        "AR: α times the mean square of the dropped output": (added(1.5, 0.0), 1.5 * dropped.square().mean()),
        "TAR: β times the mean square of the raw output's steps": (
            added(0.0, 2.5), 2.5 * (raw[1:] - raw[:-1]).square().mean()
        ),
    }  # fmt: skip
    reaches = True
    for text, (value, due) in terms.items():
        right = value.allclose(due)
        hint = f"it is {value.item():.4f} where {due.item():.4f} was due: of what, and sum or mean?"
        yield Promise(text, right, hint)
        reaches = reaches and (not right or _equal_gradients(value, due, [logits, raw]))
    yield Promise("every term sends its gradient back", reaches, "nothing may be detached on the way to the loss")


def _equal_gradients(value: Tensor, due: Tensor, inputs: list[Tensor]) -> bool:
    if not value.requires_grad:
        return False
    found, wanted = (
        torch.autograd.grad(one, inputs, allow_unused=True, materialize_grads=True, retain_graph=True)
        for one in (value, due)
    )
    return all(one.allclose(other) for one, other in zip(found, wanted, strict=True))
