"""One window on its way through the trained model: what each line of the forward pass and of the loss makes of it."""

import copy
from functools import cache
from typing import Any, NamedTuple

import plotly.graph_objects as go
import torch
from torch import Tensor
from torch.nn import functional as F

from awdlib import _require as require
from awdlib.dropout import embedding_dropout
from awdlib.figures.style import BLUE, DIVERGING, INK, MUTED, describe
from awdlib.figures.trained import toy_run

STEPS, FEATURES = 13, 40  #: words that are read, and features that are drawn of each


class Line(NamedTuple):
    """One line of the code, the term of the equation that it is, and what its two pictures show.

    Example:
        >>> from awdlib.figures.window_walk import LINES
        >>> LINES["input"].formula
        'x<sup>1</sup><sub>t</sub> = m<sup>1</sup> ⊙ Ẽ<sub>w<sub>t</sub></sub>'
    """

    code: str  #: as the library has it, shortened
    formula: str  #: the term
    rows: str  #: what a row of the left picture is
    bars: str  #: what a bar of the right one is
    longest: float  #: end of the bars' axis
    darkest: float  #: numbers of this size and above are drawn in the darkest colours


#: the lines that change something, in the order in which they run
LINES = {
    "embedding": Line(
        "words = embedding_dropout(self.embedding, …)", "Ẽ = diag(m<sup>e</sup>) E, and of it the rows of the words",
        "a word's row of Ẽ", "mean square", 2.4, 2.0,
    ),
    "input": Line(
        "x = dropout(F.embedding(tokens, words), …)",
        "x<sup>1</sup><sub>t</sub> = m<sup>1</sup> ⊙ Ẽ<sub>w<sub>t</sub></sub>",
        "what layer 1 reads", "mean square", 2.4, 2.0,
    ),
    "first": Line(
        "x, state = layer(x, state)",
        "h<sup>1</sup><sub>t</sub> = LSTM(x<sup>1</sup><sub>t</sub>; M<sup>1</sup> ⊙ U<sup>1</sup>)",
        "output of layer 1", "mean square", 0.26, 0.8,
    ),
    "hidden": Line(
        "x = dropout(x, config.dropout_hidden)",
        "x<sup>2</sup><sub>t</sub> = m<sup>2</sup> ⊙ h<sup>1</sup><sub>t</sub>",
        "what layer 2 reads", "mean square", 0.26, 0.8,
    ),
    "raw": Line(
        "x, state = layer(x, state)",
        "h<sub>t</sub> = LSTM(x<sup>2</sup><sub>t</sub>; M<sup>2</sup> ⊙ U<sup>2</sup>)",
        "raw output", "mean square", 0.13, 0.6,
    ),
    "output": Line(
        "dropout(x, config.dropout_output)", "m<sup>o</sup> ⊙ h<sub>t</sub>",
        "dropped output", "mean square", 0.13, 0.6,
    ),
    "entropy": Line(
        "cross_entropy(output.logits, targets)",
        "−ln softmax(E (m<sup>o</sup> ⊙ h<sub>t</sub>) + b) at w<sub>t+1</sub>",
        "dropped output", "nats for the next word", 7.5, 0.6,
    ),
    "ar": Line(
        "activation_regularization(dropped_output, α)", "α · mean (m<sup>o</sup> ⊙ h<sub>t</sub>)²",
        "dropped output", "α · mean square", 0.065, 0.6,
    ),
    "tar": Line(
        "temporal_activation_regularization(raw_output, β)", "β · mean (h<sub>t</sub> − h<sub>t−1</sub>)²",
        "step of the raw output", "β · mean square", 0.065, 0.6,
    ),
}  # fmt: skip


class Walk(NamedTuple):
    """All that one forward pass leaves behind; T words, one sequence.

    Example:
        >>> from awdlib.figures.window_walk import walk
        >>> walk(training=False, seed=1).stages["first"].shape
        torch.Size([13, 128])
    """

    words: list[str]  #: T, and the one after them
    stages: dict[str, Tensor]  #: by the line: (T, features)
    losses: Tensor  #: (T,), of the next word, in nats


@cache
def walk(training: bool, seed: int) -> Walk:
    """Send the beginning of the validation text through the trained toy model, and keep what each line makes of it.

    Args:
        training: whether the dropouts that it was trained with are on.
        seed: of the masks.

    Returns:
        the walk; the stages of the two layers' inputs and outputs come from the running model itself.

    Raises:
        ValueError: the seed is not a whole number from 0 on.

    Example:
        In evaluation a dropout hands on what it got:

        >>> from awdlib.figures.window_walk import walk
        >>> stages = walk(training=False, seed=1).stages
        >>> stages["hidden"].equal(stages["first"]), stages["output"].equal(stages["raw"])
        (True, True)
    """
    require.whole_number("seed", seed, 0)
    shipped, corpus, _ = toy_run()
    model, text = copy.deepcopy(shipped).train(training), corpus.valid[: STEPS + 1]
    seen: list[Tensor] = []
    for layer in model.layers:
        layer.register_forward_hook(lambda _, inputs, outputs: seen.extend([inputs[0][:, 0], outputs[0][:, 0]]))
    generator = torch.Generator()
    with torch.no_grad():
        output = model(text[:-1, None], generator=generator.manual_seed(seed))
        rows = embedding_dropout(
            model.embedding.detach(), model.config.dropout_embedding, training, generator=generator.manual_seed(seed)
        )  # the first mask that the model draws
    raw, dropped = output.raw_output[:, 0], output.dropped_output[:, 0]
    names = ("input", "first", "hidden", "raw")
    stages = {"embedding": rows[text[:-1]], **dict(zip(names, seen, strict=True))}
    stages |= {"output": dropped, "entropy": dropped, "ar": dropped}
    stages["tar"] = torch.cat([torch.zeros_like(raw[:1]), raw[1:] - raw[:-1]])
    losses = F.cross_entropy(output.logits[:, 0], text[1:], reduction="none")
    return Walk(corpus.vocabulary.decode(text), stages, losses)


def bars(line: str, training: bool, seed: int) -> Tensor:
    """The number that stands beside each word: a mean square, or what the word adds to a term of the loss.

    Args:
        line: one of `LINES`.
        training: as of `walk`.
        seed: as of `walk`.

    Returns:
        (T,); their mean is the term of the loss, but that of TAR has one step less than words.

    Raises:
        ValueError: there is no such line.

    Example:
        >>> from awdlib.figures.window_walk import bars
        >>> bars("tar", training=False, seed=1)[0].item()  # the first word has none before it
        0.0
    """
    if line not in LINES:
        raise ValueError(f"line is {require.shown(line)}; it must be one of {', '.join(LINES)}")
    found, config = walk(training, seed), toy_run().record["training"]
    if line == "entropy":
        return found.losses
    weight = {"ar": config["ar_weight"], "tar": config["tar_weight"]}.get(line, 1.0)
    return weight * found.stages[line].square().mean(dim=1)


def walk_figure(line: str, training: bool, seed: int) -> go.Figure:
    """What one line of the forward pass or of the loss makes of a window: features to the right, words downwards.

    Merity et al. 2017, sections 2 and 4, on the trained model of ``data/runs/toy``.

    Args:
        line: one of `LINES`.
        training: whether the dropouts are on.
        seed: of the masks.

    Returns:
        a plotly figure of a heat map, and of a bar beside each word.

    Raises:
        ValueError: an unknown line, or a seed that is not a whole number from 0 on.

    Example:
        >>> from awdlib.figures.window_walk import walk_figure
        >>> walk_figure("hidden", training=True, seed=2).layout.annotations[0].text
        '<b>x = dropout(x, config.dropout_hidden)</b>'
    """
    numbers = bars(line, training, seed)
    found, told = walk(training, seed), LINES[line]
    drawn = found.stages[line][:, :FEATURES].detach()
    figure = go.Figure()
    figure.add_heatmap(
        z=drawn.numpy(), zmin=-told.darkest, zmax=told.darkest, colorscale=DIVERGING, showscale=False, ygap=1,
        hoverinfo="skip",
    )  # fmt: skip
    figure.add_bar(
        x=numbers.numpy(), y=[*range(STEPS)], orientation="h", xaxis="x2", marker={"color": BLUE}, hoverinfo="skip",
    )  # fmt: skip
    figure.update_layout(_layout(told, found.words))
    return describe(figure, _sentence(line, training, seed))


def _layout(told: Line, words: list[str]) -> dict[str, Any]:
    heading = {"xref": "paper", "yref": "paper", "x": 0, "xanchor": "left", "yanchor": "bottom"}
    heading["xshift"] = -48  # above the words, too: on a phone the line has to fit
    under = {"xref": "paper", "yref": "paper", "yanchor": "top", "y": -0.02, "font": {"color": MUTED}}
    return {
        "height": 400, "margin": {"l": 4, "r": 12, "t": 58, "b": 44}, "bargap": 0.35,
        "xaxis": {"domain": [0, 0.66], "visible": False},
        "xaxis2": {"domain": [0.72, 1], "range": [0, told.longest], "nticks": 3, "showgrid": False, "side": "bottom"},
        "yaxis": {
            "autorange": "reversed", "tickvals": [*range(STEPS)],
            "ticktext": [word.replace("<eos>", "‹eos›") for word in words[:STEPS]], "ticks": "", "showline": False,
            "showgrid": False,
        },
        "annotations": [
            heading
            | {"text": f"<b>{told.code}</b>", "y": 1.075, "font": {"family": "monospace", "color": INK, "size": 11}},
            heading | {"text": told.formula, "y": 1.005},
            under | {"text": told.rows, "x": 0.0, "xanchor": "left"},
            under | {"text": told.bars, "x": 1.0, "xanchor": "right", "y": -0.07},
        ],
    }  # fmt: skip


def _sentence(line: str, training: bool, seed: int) -> str:
    told, found, numbers = LINES[line], walk(training, seed), bars(line, training, seed)
    zeros = (found.stages[line] == 0).double().mean(dim=1)
    gone = [word for word, share in zip(found.words, zeros.tolist(), strict=False) if share == 1]
    missing = f"; nothing is left of: {', '.join(dict.fromkeys(gone))}" if gone and line != "tar" else ""
    text = (
        f"{told.code} in {'training' if training else 'evaluation'}. Shown: {told.rows}, {zeros.mean():.0%} of it "
        f"zeros{missing}. Beside each word: {told.bars}, {numbers.mean():.2g} on average, most at "
        f"{found.words[int(numbers.argmax())]}."
    )
    return text.replace("<eos>", "‹eos›")
