"""A text under a model and the continuous cache: read once, looked up with any theta, lambda and theta chosen."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from awdlib.cache import TargetProbabilities, cache_probabilities
from awdlib.model import LanguageModel


class Text(NamedTuple):
    """A text as a model read it: the states before its words, the words, ln p of each word of the vocabulary."""

    states: Tensor
    targets: Tensor
    model: Tensor  # (num_targets, 1), p of each target
    log_p: Tensor | None  # (num_targets, vocab_size)


def read(model: LanguageModel, tokens: Tensor, whole: bool) -> Text:
    """Let a model read a text in one stream; ``whole``: keep all of its distributions."""
    states, raws, of_targets, distributions = None, [], [], []
    with torch.no_grad():
        for inputs, targets in zip(
            tokens[:-1].split(256), tokens[1:].split(256), strict=True
        ):
            logits, states, raw, _ = model(inputs[:, None], states)
            log_p = logits[:, 0].log_softmax(-1).double()
            raws.append(raw[:, 0])
            of_targets.append(log_p.gather(1, targets[:, None]).exp())
            distributions += [log_p] if whole else []
    kept = torch.cat(distributions) if whole else None
    return Text(torch.cat(raws), tokens[1:], torch.cat(of_targets), kept)


def look_up(text: Text, window: int, theta: float) -> TargetProbabilities:
    """What model and cache give to each word of a text."""
    cached, usable = cache_probabilities(
        text.states, text.targets, window, theta
    )
    return TargetProbabilities(
        text.model, cached.double()[:, None], usable[:, None]
    )


def perplexity(found: TargetProbabilities, weight: float) -> float:
    return math.exp(found.loss(weight))


def tried(
    text: Text, window: int, thetas: list[float], lambdas: list[float] = ()
) -> list[dict[str, Any]]:
    """Of each theta: the best lambda, what it reaches, and what given ones reach."""
    cells = []
    for theta in thetas:
        found = look_up(text, window, theta)
        best = found.best_weight(1e-4)
        cells.append(
            {
                "theta": theta,
                "lambda": best,
                "reached": perplexity(found, best),
            }
        )
        if lambdas:
            cells[-1]["at"] = [perplexity(found, weight) for weight in lambdas]
    return cells


def choose(
    cells: list[dict[str, Any]], valid: Text, test: Text, window: int
) -> dict[str, Any]:
    """What validation chooses among the cells, and what that reaches on the test text."""
    best = min(cells, key=lambda cell: cell["reached"])
    found = look_up(test, window, best["theta"])
    on_test = found.best_weight(1e-4)
    late = found._replace(
        usable=torch.arange(len(found.model))[:, None] > window
    )
    return {
        "window": window,
        "theta": best["theta"],
        "lambda": best["lambda"],
        "valid": {"without": mean_of(valid.model), "with": best["reached"]},
        "test": {
            "without": perplexity(found, 0.0),
            "with": perplexity(found, best["lambda"]),
            "only_when_full": perplexity(late, best["lambda"]),
            "lambda_of_its_own": [on_test, perplexity(found, on_test)],
        },
    }


def mean_of(probabilities: Tensor) -> float:
    return math.exp(-probabilities.log().mean().item())
