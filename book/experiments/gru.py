"""LSTM and GRU on the toy language: bare and regularized, each regularizer left out.

    python book/experiments/gru.py            writes data/runs/gru.json

Five parts. "tune": the learning rate of each cell, at seed 0, on the validation text. "whole": the comparison, at the
rates that "tune" found best, at equal width and at equal size. "bias": the LSTM once more, its forget gates' bias
larger by one at the start. "pull": one small layer, trained for a few epochs under AR or TAR of several weights; what
became of its gates, its state and its loss. "rates": a few epochs without any regularizer at several learning rates,
with the sharpness (the Hessian's largest eigenvalue) and the gradient's norm after the last.

One thread a run; finished runs are kept and skipped when the script is started again. Averaging begins after a fixed
epoch, for all: where the trigger fires is a matter of luck in so short a run, and would be a part of every difference.
The weights that are not averaged are judged as well.
"""

import math
import sys
from dataclasses import asdict, replace
from functools import partial

import torch
from fitting import by_epoch, curves
from grid import RUNS, command_line, measure, rounded
from torch import Tensor

from awdlib.batches import batchify, window
from awdlib.corpora import Corpus, load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig, cross_entropy
from awdlib.presets import PRESETS
from awdlib.recurrent import STEPS
from awdlib.training import (
    TrainConfig,
    Training,
    TrainingDiverged,
    start,
    train,
)

OUT = RUNS / "gru.json"
SEEDS = (1, 2, 3)
WIDTH = PRESETS["toy"].model.hidden_size
EQUAL = 158  # GRU layers of this width have the LSTM's number of parameters
LR = {"lstm": 20.0, "gru": 10.0}  # what "tune" found
RATES = {"lstm": (10.0, 20.0, 30.0), "gru": (5.0, 10.0, 20.0)}  # tried
EPOCHS, AVERAGE_FROM = 40, 30
BARE = {
    "dropout_input": 0.0, "dropout_hidden": 0.0, "dropout_output": 0.0,
    "dropout_embedding": 0.0, "dropout_weight": 0.0,
}  # fmt: skip
NO_PENALTY = {"ar_weight": 0.0, "tar_weight": 0.0}
WITHOUT: dict[str, tuple[dict, dict]] = {
    "weight drop": ({"dropout_weight": 0.0}, {}),
    "locked dropout": (
        {"dropout_input": 0.0, "dropout_hidden": 0.0, "dropout_output": 0.0},
        {},
    ),
    "embedding dropout": ({"dropout_embedding": 0.0}, {}),
    "AR and TAR": ({}, NO_PENALTY),
}  # what is changed of model and training
PULLS = ((0.0, 0.0), (4.0, 0.0), (16.0, 0.0), (0.0, 4.0), (0.0, 16.0))
# ... weights of AR and TAR
PULL_SIZE, PULL_EPOCHS = 32, 8
SHARP_RATES, SHARP_EPOCHS = (10.0, 30.0), 6
POWER_STEPS = 10


def model_config(
    vocab_size: int, cell: str, width: int = WIDTH, without: str = ""
) -> ModelConfig:
    """The preset "toy" with layers of this width; without one of its regularizers, or without "everything"."""
    changes = (
        BARE if without == "everything" else WITHOUT.get(without, ({},))[0]
    )
    return replace(
        PRESETS["toy"].model, vocab_size=vocab_size, cell=cell,
        hidden_size=width, **changes,
    )  # fmt: skip


def training_config(
    cell: str,
    epochs: int,
    seed: int,
    lr: float | None = None,
    without: str = "",
) -> TrainConfig:
    """The preset "toy" at the cell's own rate, averaging from a fixed epoch on."""
    changes = WITHOUT.get(without, ({}, {}))[1]
    if without == "everything":
        changes = {**NO_PENALTY, "weight_decay": 0.0}
    return replace(
        PRESETS["toy"].training, epochs=epochs, eval_batch_size=20, average_from=AVERAGE_FROM, patience=epochs,
        lr=lr or LR[cell], seed=seed, **changes,
    )  # fmt: skip


def run(part: str, epochs: int, **cell) -> dict:
    """One run of a part, in a process of its own."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    work = {
        "pull": pull, "rates": rates, "tune": tune, "whole": whole, "bias": bias,
    }[part]  # fmt: skip
    arguments = {} if part in ("pull", "rates") else {"epochs": epochs}
    return {"part": part, **cell, **rounded(work(corpus, **cell, **arguments))}


def tune(corpus: Corpus, cell: str, lr: float, seed: int, epochs: int) -> dict:
    """The whole recipe at one rate; a divergence ends it."""
    training = start(
        model_config(len(corpus.vocabulary), cell),
        training_config(cell, epochs, seed, lr),
    )
    try:
        for _ in by_epoch(training, corpus, {}):
            pass
    except TrainingDiverged as error:
        return {**curves(training), "diverged": str(error)}
    return curves(training)


def whole(
    corpus: Corpus, cell: str, width: int, without: str, seed: int, epochs: int
) -> dict:
    """An arm of the comparison."""
    training = start(
        model_config(len(corpus.vocabulary), cell, width, without),
        training_config(cell, epochs, seed, without=without),
    )
    return to_the_end(training, corpus)


def bias(corpus: Corpus, cell: str, seed: int, epochs: int) -> dict:
    """The LSTM with all regularizers, its forget gates' bias larger by one at the start."""
    training = start(
        model_config(len(corpus.vocabulary), cell),
        training_config(cell, epochs, seed),
    )
    with torch.no_grad():
        for layer in training.model.layers:
            layer.bias_ih[layer.hidden_size : 2 * layer.hidden_size] += 1
    return to_the_end(training, corpus)


def to_the_end(training: Training, corpus: Corpus) -> dict:
    """Train; what the best epoch's weights are worth, and those that are not averaged."""
    model, best, raw, raw_best = training.model, {}, [], {}
    for _ in by_epoch(training, corpus, best):
        raw.append(math.exp(evaluate(model, corpus.valid, 20)))
        if raw[-1] == min(raw):
            raw_best = {n: of.clone() for n, of in model.state_dict().items()}
    model.load_state_dict(raw_best)
    raw_test = math.exp(evaluate(model, corpus.test))
    model.load_state_dict(best)
    return {
        **curves(training),
        "raw_valid": raw,
        "raw_test": raw_test,
        "averaging_from": next(
            (one.epoch for one in training.history if one.averaging), None
        ),
        "test": math.exp(evaluate(model, corpus.test)),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "traits": traits(model, corpus),
    }


def pull(corpus: Corpus, cell: str, ar: float, tar: float, seed: int) -> dict:
    """One layer under a penalty, without dropout."""
    config = replace(
        model_config(len(corpus.vocabulary), cell, without="everything"),
        num_layers=1, embedding_size=PULL_SIZE, hidden_size=PULL_SIZE,
    )  # fmt: skip
    settings = replace(
        training_config(cell, PULL_EPOCHS, seed, without="everything"),
        ar_weight=ar, tar_weight=tar,
    )  # fmt: skip
    training = start(config, settings)
    for _ in train(training, corpus):
        pass
    return {**curves(training), "traits": traits(training.model, corpus)}


@torch.no_grad()
def traits(model: LanguageModel, corpus: Corpus) -> dict[str, float]:
    """Of the last layer, over the validation text: mean gates, root mean squares of state, memory and their steps."""
    model.eval()
    columns = batchify(corpus.valid, 20)
    x, layer = model.embedding[columns], model.layers[-1]
    for before in model.layers[:-1]:
        x, _ = before(x, before.initial_state(20))
    outputs, _ = layer(x, layer.initial_state(20))
    h = torch.cat([torch.zeros_like(outputs[:1]), outputs[:-1]])
    from_x = x @ layer.weight_ih.t() + layer.bias_ih
    from_h = h @ layer.weight_hh.t() + layer.bias_hh
    gates = (from_x + from_h).chunk(layer.gates, dim=2)
    found = {"h": rms(outputs), "change": rms(outputs.diff(dim=0))}
    if model.config.cell == "gru":
        return found | {
            "reset": gates[0].sigmoid().mean().item(),
            "update": gates[1].sigmoid().mean().item(),
        }
    state, cells = layer.initial_state(20), []
    for x_t in x:
        state = STEPS["lstm"](x_t, state, *layer.parameters())
        cells.append(state[1])
    memory = torch.stack(cells)
    return found | {
        "input": gates[0].sigmoid().mean().item(),
        "forget": gates[1].sigmoid().mean().item(),
        "output": gates[3].sigmoid().mean().item(),
        "memory": rms(memory),
        "memory_change": rms(memory.diff(dim=0)),
    }


def rms(of: Tensor) -> float:
    """Root mean square."""
    return of.square().mean().sqrt().item()


def rates(corpus: Corpus, cell: str, lr: float, seed: int) -> dict:
    """A few epochs without any regularizer at one rate, and how sharp the loss has become."""
    settings = training_config(
        cell, SHARP_EPOCHS, seed, lr, without="everything"
    )
    training = start(
        model_config(len(corpus.vocabulary), cell, without="everything"),
        settings,
    )
    try:
        for _ in train(training, corpus):
            pass
    except TrainingDiverged as error:
        return {**curves(training), "diverged": str(error)}
    return {**curves(training), **sharpness(training, corpus)}


def sharpness(training: Training, corpus: Corpus) -> dict[str, float]:
    """The largest eigenvalue of the loss's Hessian on a fixed part of the training text, and the gradient's norm there.

    By power iteration; a product with the Hessian is a central difference of gradients, in double precision.
    """
    model = LanguageModel(training.model.config).double()
    model.load_state_dict(training.model.state_dict())
    weights = [*model.parameters()]
    columns = batchify(corpus.train, training.config.batch_size)
    inputs, targets = window(columns, 0, 2 * training.config.bptt)
    model.train()

    def gradient() -> Tensor:
        logits, *_ = model(inputs, None)
        parts = torch.autograd.grad(cross_entropy(logits, targets), weights)
        return torch.cat([part.flatten() for part in parts])

    def shift(by: Tensor) -> None:
        at = 0
        with torch.no_grad():
            for weight in weights:
                piece = by[at : at + weight.numel()]
                weight += piece.view_as(weight)
                at += weight.numel()

    norm, step = gradient().norm().item(), 1e-4
    direction = torch.randn(
        sum(weight.numel() for weight in weights),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    value = 0.0
    for _ in range(POWER_STEPS):
        direction /= direction.norm()
        shift(step * direction)
        ahead = gradient()
        shift(-2 * step * direction)
        product = (ahead - gradient()) / (2 * step)
        shift(step * direction)
        value = (product @ direction).item()
        direction = product
    return {"sharpness": value, "norm": norm}


def cells() -> list[dict]:
    """What is run, in this order: the tuning, the comparison, what is left out, the pull, and the rates."""
    both = ("lstm", "gru")
    pulls = [
        {"part": "pull", "cell": cell, "ar": ar, "tar": tar, "seed": seed}
        for seed in SEEDS for cell in both for ar, tar in PULLS
    ]  # fmt: skip
    sharp = [
        {"part": "rates", "cell": cell, "lr": lr, "seed": seed}
        for seed in SEEDS for cell in both for lr in SHARP_RATES
    ]  # fmt: skip
    tuning = [
        {"part": "tune", "cell": cell, "lr": lr, "seed": 0}
        for cell in both for lr in RATES[cell]
    ]  # fmt: skip
    arms = [
        ("lstm", WIDTH, ""), ("gru", WIDTH, ""), ("gru", EQUAL, ""),
        ("lstm", WIDTH, "everything"), ("gru", WIDTH, "everything"),
    ]  # fmt: skip
    left_out = [(cell, WIDTH, without) for without in WITHOUT for cell in both]
    compared, without = (
        [
            {"part": "whole", "cell": cell, "width": width, "without": without, "seed": seed}
            for seed in SEEDS for cell, width, without in chosen
        ]
        for chosen in (arms, left_out)
    )  # fmt: skip
    biases = [{"part": "bias", "cell": "lstm", "seed": seed} for seed in SEEDS]
    return tuning + compared + biases + without + pulls + sharp


def main() -> int:
    """Run every cell that the record does not hold yet."""
    options = command_line(
        __doc__, OUT, epochs=EPOCHS, of="of the comparison", jobs=1
    ).parse_args()  # fmt: skip
    corpus = load_corpus("toy")
    size = len(corpus.vocabulary)
    settings = {
        "command": f"python book/experiments/gru.py --epochs {options.epochs}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "epochs": options.epochs,
        "seeds": list(SEEDS),
        "lr": LR,
        "models": {
            f"{cell} {width}": asdict(model_config(size, cell, width))
            for cell, width in (
                ("lstm", WIDTH),
                ("gru", WIDTH),
                ("gru", EQUAL),
            )
        },
        "training": {
            cell: asdict(training_config(cell, options.epochs, seed=0))
            for cell in LR
        },
        "without": {
            name: {"model": model, "training": training}
            for name, (model, training) in WITHOUT.items()
        },
        "pull": {"size": PULL_SIZE, "epochs": PULL_EPOCHS},
        "sharp": {"epochs": SHARP_EPOCHS, "power_steps": POWER_STEPS},
    }
    one = partial(run, epochs=options.epochs)
    record = measure(options.out, settings, cells(), one, options.jobs)
    for done in record["runs"]:
        shown = {
            k: v for k, v in done.items() if not isinstance(v, list | dict)
        }
        print(shown, f"best validation {min(done['valid'], default=0):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
