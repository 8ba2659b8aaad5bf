"""Temperature and top-k on a real next-word distribution: what the trained toy model expects, and what is drawn from.

`awdlib.generation.next_word_distribution` does the work. Top-k: Fan et al. 2018.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from awdlib.corpora import EOS
from awdlib.figures.style import EMPTY, GRID, MUTED, PAPER, colour, describe
from awdlib.figures.trained import toy_run
from awdlib.generation import Reader, next_word_distribution

PROMPTS = ("the sailor steers the", "the sailors near the harbour", "the sailor steers the boat")
"""From many possible next words to few; none has two words of nearly the same probability among those shown."""

SHOWN = 16  #: words with a bar of their own, the model's likeliest; the rest share one


class Choice(NamedTuple):
    """What the model expects and what is drawn from; what `choose` returns.

    Example:
        >>> from awdlib.figures.sampling import choose
        >>> choice = choose("the sailors near the harbour", temperature=0.0, top_k=1105)
        >>> choice.words[0], choice.after[0].item()
        ('hoist', 1.0)
    """

    words: list[str]  #: the whole vocabulary, the model's likeliest first
    before: Tensor  #: (vocab_size,) the model's probabilities of these
    after: Tensor  #: (vocab_size,) with temperature and top-k


@cache
def _expected(prompt: str) -> tuple[list[str], Tensor]:
    """The vocabulary and its log probabilities after a prompt, likeliest first."""
    model, corpus, _ = toy_run()
    reader = Reader(model)
    ids = corpus.vocabulary.encode([EOS, *prompt.split()]).tolist()
    log_p = [reader.read(word).model_log for word in ids][-1]
    log_p, order = log_p.sort(descending=True, stable=True)
    return [corpus.vocabulary.words[number] for number in order.tolist()], log_p


def choose(prompt: str, temperature: float, top_k: int) -> Choice:
    """The next-word distribution of the trained toy model after a prompt, before and after temperature and top-k.

    Args:
        prompt: words of the toy language with spaces between; read after an ``<eos>``, as `generate` reads it.
        temperature: as in `awdlib.generation.next_word_distribution`.
        top_k: likewise; all words of the vocabulary keep all.

    Raises:
        ValueError: a word is unknown, or a setting out of range.

    Example:
        >>> from awdlib.figures.sampling import choose
        >>> choice = choose("the sailors near the harbour", temperature=1.0, top_k=3)
        >>> choice.words[:4], [round(p, 2) for p in choice.after[:4].tolist()]
        (['hoist', 'haul', 'steer', 'paint'], [0.79, 0.11, 0.1, 0.0])
    """
    words, log_p = _expected(prompt)
    return Choice(words, log_p.exp(), next_word_distribution(log_p, temperature, top_k))


def effective_number(p: Tensor) -> float:
    """How many equally likely words would be as uncertain: exp of the entropy in nats.

    Args:
        p: (vocab_size,) probabilities.

    Example:
        >>> import torch
        >>> from awdlib.figures.sampling import effective_number
        >>> effective_number(torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0]))
        4.0
    """
    return torch.special.entr(p).sum().exp().item()


def sampling_figure(prompt: str, temperature: float, top_k: int) -> go.Figure:
    """The likeliest next words: a ring where the model puts each, a bar for what is drawn from, pale if dropped.

    Args:
        prompt: words of the toy language, such as one of `PROMPTS`.
        temperature: divides the logits.
        top_k: words kept.

    Returns:
        a plotly figure.

    Raises:
        ValueError: as `choose` says.

    Example:
        >>> from awdlib.figures.sampling import sampling_figure
        >>> sampling_figure("the sailor steers the boat", 1.0, 2).layout.meta["alt"].partition("; ")[2]
        "top-k drops 35.9% of the model's probability."
    """
    words, before, after = choose(prompt, temperature, top_k)
    shown = [*(_written(word) for word in words[:SHOWN]), "all others"]
    bars_before, bars_after = (_gathered(p) for p in (before, after))
    dropped = np.append(np.arange(SHOWN) >= top_k, top_k < len(words))
    rows = np.arange(SHOWN + 1)
    bar = {"type": "bar", "orientation": "h", "y": rows, "width": 0.72, "hoverinfo": "skip"}
    traces = [
        bar | {"x": np.where(dropped, bars_before, 0), "marker": {"color": EMPTY, "line": {"color": GRID, "width": 1}}},
        bar | {"x": bars_after, "marker": {"color": colour("kept"), "line": {"width": 0}}},
        *(
            {
                "x": bars_before,
                "y": rows,
                "mode": "markers",
                "hoverinfo": "skip",
                "marker": {"color": ink, "size": size},
            }
            for ink, size in ((MUTED, 10), (PAPER, 6))  # a ring that can be seen on every bar
        ),
    ]
    numbers = effective_number(before), effective_number(after), before[top_k:].sum().item()
    figure = go.Figure({"data": traces, "layout": _layout(shown) | {"annotations": _notes(prompt, *numbers)}})
    return describe(figure, _sentence(prompt, temperature, top_k, shown[0], after[0].item(), *numbers))


def _written(word: str) -> str:
    return "‹eos›" if word == EOS else word  # plotly would take "<eos>" for a tag


def _gathered(p: Tensor) -> np.ndarray:
    """The first `SHOWN` probabilities and the sum of the others."""
    return torch.cat([p[:SHOWN], p[SHOWN:].sum()[None]]).numpy()


def _layout(shown: list[str]) -> dict[str, Any]:
    return {
        "height": 440, "margin": {"l": 84, "r": 14, "t": 30, "b": 44}, "barmode": "overlay",
        "xaxis": {"range": [0, 1.02], "tickvals": [0, 0.25, 0.5, 0.75, 1], "showgrid": True,
                  "title": {"text": "probability of the next word", "standoff": 4}},
        "yaxis": {"range": [SHOWN + 0.6, -0.6], "tickvals": list(range(SHOWN + 1)), "ticktext": shown, "ticks": "",
                  "showgrid": False},
    }  # fmt: skip


def _notes(prompt: str, before: float, after: float, dropped: float) -> list[dict[str, Any]]:
    """The prompt above, the key, and the numbers where bars are short."""
    above = {"xref": "paper", "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False}
    inside = {"x": 1, "xanchor": "right", "showarrow": False}
    return [
        above | {"x": 0, "xanchor": "left", "xshift": -80, "text": f"<b>{prompt} …</b>"},
        inside | {"y": 5.0, "text": "effective number of words", "font": {"color": MUTED}},
        inside | {"y": 6.2, "text": f"○ model {before:.1f}", "font": {"color": MUTED}},
        inside | {"y": 7.4, "text": f"<b>■ drawn from {after:.1f}</b>", "font": {"color": colour("kept")}},
        inside | {"y": 9.0, "text": f"top-k drops {dropped:.1%} of the model's" if dropped else ""},
    ]


def _sentence(
    prompt: str, temperature: float, top_k: int, first: str, p: float, before: float, after: float, dropped: float
) -> str:
    kept = f"the {top_k:,} likeliest words" if top_k > 1 else "only the likeliest word"
    drops = f"; top-k drops {dropped:.1%} of the model's probability" if dropped else ""
    return (
        f"“{prompt} …” at temperature {temperature:g}, {kept} kept: “{first}” comes with probability {p:.2f}, and the "
        f"effective number of words goes from {before:.1f} to {after:.1f}{drops}."
    )
