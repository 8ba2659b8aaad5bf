"""The experiment of the chapter *From SGD to NT-ASGD*: one path of SGD, and every way to end it, on the toy language.

    python book/experiments/nt_asgd.py            writes data/runs/nt-asgd.json

Of each seed one run is made at a constant learning rate, and all else is taken from it. The averages are means of its
iterates; the arms whose learning rate falls leave it at the epoch where theirs first differs, and share every number
up to there. Each arm with a setting has three values tried at seed 0, which is not among the seeds reported; the one
with the lowest validation perplexity after the last epoch is kept. Finished seeds are kept and skipped when the script
is started again.
"""

import copy
import math
import sys
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch
from fitting import NEVER
from grid import RUNS, command_line, measure, rounded
from torch import Tensor
from torch.nn.utils import (
    clip_grad_norm_,
    parameters_to_vector,
    vector_to_parameters,
)
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn

from awdlib.batches import batchify
from awdlib.corpora import Corpus, load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig, cross_entropy
from awdlib.ntasgd import is_triggered
from awdlib.presets import PRESETS
from awdlib.training import EpochRecord, TrainConfig, Training, start, train

OUT = RUNS / "nt-asgd.json"
TUNED_AT, SEEDS = 0, (1, 2, 3)
ARMS: dict[str, list[Any]] = {  # by name: the values tried at seed 0
    "constant": [None],
    "plateau": [2, 5, 8],  # patience of SGD that halves its learning rate
    "schedule": [0.4, 0.6, 0.8],  # part of the epochs at the full rate
    "nt-asgd": [2, 5, 8],  # patience
    "swa": [20.0, 10.0, 5.0],  # learning rate under SWALR
    "ema": [0.99, 0.997, 0.999],  # decay
}
FACTOR = 0.8  # of the schedule, an epoch
SWA_FROM = 0.75  # of the epochs, as in Izmailov et al. 2018
UNCLIPPED = 1e9  # the gradient is clipped here, where its norm is noted
SHARPNESS_ROWS, POWER_STEPS = 105, 15


def model_config(vocab_size: int) -> ModelConfig:
    """The preset "toy": every regularizer of AWD-LSTM."""
    return replace(PRESETS["toy"].model, vocab_size=vocab_size)


def training_config(epochs: int, seed: int) -> TrainConfig:
    """The preset "toy" at a constant learning rate."""
    return replace(
        PRESETS["toy"].training,
        epochs=epochs,
        eval_batch_size=20,
        patience=NEVER,
        seed=seed,
    )


@dataclass
class Path:
    """A run of SGD: its weights after each epoch (0 is before the first), the sums of all iterates, its losses."""

    weights: list[Tensor] = field(default_factory=list)
    sums: list[Tensor] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    norms: list[list[float]] = field(default_factory=list)
    ema: dict[float, list[Tensor]] = field(default_factory=dict)

    def mean(self, begin: int, end: int) -> Tensor:
        """The mean of the iterates since the end of epoch ``begin``, that one included, to the end of ``end``."""
        total = self.sums[end] - self.sums[begin] + self.weights[begin].double()
        number = self.counts[end] - self.counts[begin] + 1
        return (total / number).float()


def flat(model: torch.nn.Module) -> Tensor:
    """A copy of all weights in one row."""
    return parameters_to_vector(model.parameters()).detach().clone()


def walk(training: Training, corpus: Corpus, decays: list[float]) -> Path:
    """Train to the end at a constant rate; keeps what every arm needs of it."""
    model, path = training.model, Path()
    limit = training.config.max_grad_norm
    training.config = replace(training.config, max_grad_norm=UNCLIPPED)
    norms: list[float] = []

    def note(*_: Any) -> None:
        norms.append(clip_grad_norm_(model.parameters(), limit).item())

    training.optimizer.register_step_pre_hook(note)
    averages = {
        decay: AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        for decay in decays
    }
    total, updates = torch.zeros_like(flat(model), dtype=torch.float64), 0
    _keep(path, training, total, updates)
    for record in train(training, corpus):
        if isinstance(record, EpochRecord):
            path.losses.append(record.valid_loss)
            path.norms.append(list(norms))
            norms.clear()
            _keep(path, training, total, updates)
            for decay, average in averages.items():
                path.ema.setdefault(decay, []).append(flat(average))
            continue
        updates += 1
        total += flat(model)
        for average in averages.values():
            average.update_parameters(model)
    return path


def _keep(path: Path, training: Training, total: Tensor, updates: int) -> None:
    path.weights.append(flat(training.model))
    path.sums.append(total.clone())
    path.counts.append(updates)
    path.states.append(copy.deepcopy(training.state_dict()))


class Reader:
    """Perplexities and sharpness of weights that lie in a row."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.model = LanguageModel(model_config(len(corpus.vocabulary)))
        rows = batchify(corpus.train, 20)[: SHARPNESS_ROWS + 1]
        self.inputs, self.targets = rows[:-1], rows[1:]

    def _put(self, weights: Tensor) -> LanguageModel:
        vector_to_parameters(weights.clone(), self.model.parameters())
        return self.model.eval()

    def valid(self, weights: Tensor) -> float:
        return math.exp(evaluate(self._put(weights), self.corpus.valid, 20, 35))

    def test(self, weights: Tensor) -> float:
        return math.exp(evaluate(self._put(weights), self.corpus.test))

    def sharpness(self, weights: Tensor) -> float:
        """The largest eigenvalue of the Hessian of the cross entropy without dropout, by power iteration."""
        parameters = list(self._put(weights).parameters())
        states = self.model.initial_states(self.inputs.shape[1])
        loss = cross_entropy(
            self.model(self.inputs, states).logits, self.targets
        )
        slopes = torch.autograd.grad(loss, parameters, create_graph=True)
        generator, value = torch.Generator().manual_seed(0), 0.0
        along = [torch.randn(w.shape, generator=generator) for w in parameters]
        for _ in range(POWER_STEPS):
            length = torch.stack([part.norm() for part in along]).norm()
            along = [part / length for part in along]
            products = zip(slopes, along, strict=True)
            slope = torch.stack([(s * a).sum() for s, a in products]).sum()
            image = torch.autograd.grad(slope, parameters, retain_graph=True)
            value = sum(
                (i * a).sum().item() for i, a in zip(image, along, strict=True)
            )
            along = list(image)
        return value


def fork(
    path: Path, epoch: int, config: TrainConfig, corpus: Corpus
) -> Training:
    """A run that has the path behind it, up to the end of an epoch, and its own rule before it."""
    training = start(model_config(len(corpus.vocabulary)), config)
    training.load_state_dict(path.states[epoch])
    return training


def fires(losses: list[float], patience: int) -> int | None:
    """The epoch after which the trigger, as coded, fires."""
    seen = range(1, len(losses) + 1)
    return next((e for e in seen if is_triggered(losses[:e], patience)), None)


def decayed(
    path: Path, config: TrainConfig, at: int | None, corpus: Corpus
) -> list[Tensor]:
    """Weights after each epoch of a run whose learning rate falls from the end of epoch ``at`` on."""
    if at is None:
        return path.weights[1:]
    training = fork(path, at, config, corpus)
    after = [
        flat(training.model)
        for record in train(training, corpus)
        if isinstance(record, EpochRecord)
    ]
    return path.weights[1 : at + 1] + after


class Annealed(Training):
    """A run whose learning rate a scheduler of torch decides."""

    scheduler: SWALR | None = None

    @property
    def lr(self) -> float:
        falling = self.scheduler
        return float(falling.get_last_lr()[0]) if falling else super().lr


def swa(
    path: Path, config: TrainConfig, swa_lr: float, corpus: Corpus
) -> list[Tensor]:
    """torch's recipe: SWALR and an AveragedModel that takes the weights once an epoch, from three quarters on."""
    begin = round(SWA_FROM * config.epochs)
    model = LanguageModel(model_config(len(corpus.vocabulary)))
    training = Annealed(model, config)
    training.load_state_dict(path.states[begin])
    shown = torch.optim.SGD(
        [torch.zeros(1)], lr=config.lr
    )  # SWALR asks for an optimizer of torch
    training.scheduler = SWALR(shown, swa_lr=swa_lr, anneal_epochs=3)
    average, after = AveragedModel(training.model), []
    for record in train(training, corpus):
        if isinstance(record, EpochRecord):
            average.update_parameters(training.model)
            shown.step()
            training.scheduler.step()
            after.append(flat(average))
    return path.weights[1 : begin + 1] + after


def arm(
    name: str, value: Any, path: Path, config: TrainConfig, corpus: Corpus
) -> tuple[list[Tensor], int | None]:
    """Weights after each epoch as an arm would hand them out, and the epoch after which it leaves the path."""
    epochs = config.epochs
    if name == "constant":
        return path.weights[1:], None
    if name == "plateau":
        at = fires(path.losses, value)
        slower = replace(config, lr_decay="plateau", patience=value)
        return decayed(path, slower, at, corpus), at
    if name == "schedule":
        at = round(value * epochs)
        slower = replace(
            config, lr_decay="schedule", decay_factor=FACTOR, decay_after=at
        )
        return decayed(path, slower, at, corpus), at
    if name == "nt-asgd":
        at = fires(path.losses, value)
        if at is None:
            return path.weights[1:], None
        means = [path.mean(at, end) for end in range(at + 1, epochs + 1)]
        return path.weights[1 : at + 1] + means, at
    if name == "swa":
        return swa(path, config, value, corpus), round(SWA_FROM * epochs)
    return path.ema[value], 0


def run(seed: int, epochs: int, knobs: dict[str, list[Any]]) -> dict[str, Any]:
    """Everything of one seed, in a process of its own."""
    torch.set_num_threads(1)  # layers this small gain nothing from a second one
    corpus = load_corpus("toy")
    config, reader = training_config(epochs, seed), Reader(corpus)
    path = walk(
        start(model_config(len(corpus.vocabulary)), config),
        corpus,
        knobs["ema"],
    )
    found, last = [], {}
    for name, values in knobs.items():
        for value in values:
            weights, at = arm(name, value, path, config, corpus)
            valid = [reader.valid(each) for each in weights]
            best = weights[valid.index(min(valid))]
            last[name] = weights[-1]
            tests = {
                "last": reader.test(weights[-1]),
                "best": reader.test(best),
            }
            found.append(
                {
                    "arm": name,
                    "value": value,
                    "from": at,
                    "valid": valid,
                    "test": tests,
                }
            )
    result = {
        "seed": seed,
        "arms": found,
        "norms": summary_of_norms(path, config.max_grad_norm),
    }
    if seed != TUNED_AT:
        result |= {
            "starts": starts(path, reader, epochs),
            "sharpness": sharpness(path, last, reader, epochs),
        }
    return rounded(result)


def summary_of_norms(path: Path, limit: float) -> dict[str, list[Any]]:
    """Of the gradients of each epoch before the clip: tenths of their norms, and the share that is clipped."""
    tenths = [
        torch.tensor(norms).quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
        for norms in path.norms
    ]
    shares = [
        sum(norm > limit for norm in norms) / len(norms) for norms in path.norms
    ]
    return {"tenths_1_5_9": tenths, "clipped": shares}


def starts(path: Path, reader: Reader, epochs: int) -> dict[str, list[float]]:
    """Validation perplexity of the mean since the end of epoch 0, 1, ..., read after each quarter of the epochs."""
    ends = [round(epochs * quarter / 4) for quarter in (1, 2, 3, 4)]
    return {
        str(end): [
            reader.valid(path.mean(begin, end)) for begin in range(end + 1)
        ]
        for end in ends
    }


def sharpness(
    path: Path, last: dict[str, Tensor], reader: Reader, epochs: int
) -> dict[str, Any]:
    """Of the path after an eighth of the epochs, half of them and all; and of two arms at the end."""
    of_path = {
        str(e): reader.sharpness(path.weights[e])
        for e in (epochs // 8, epochs // 2, epochs)
    }
    return {"path": of_path} | {
        name: reader.sharpness(last[name]) for name in ("schedule", "nt-asgd")
    }


def chosen(tuning: dict[str, Any]) -> dict[str, list[Any]]:
    """Of each arm the value with the lowest validation perplexity after the last epoch."""
    return {
        name: [
            min(
                (one for one in tuning["arms"] if one["arm"] == name),
                key=lambda one: one["valid"][-1],
            )["value"]
        ]
        for name in ARMS
    }


def main() -> int:
    """Tune at one seed, then run the seeds that the record does not hold yet."""
    options = command_line(__doc__, OUT, epochs=48).parse_args()
    corpus = load_corpus("toy")
    settings = {
        "command": f"python book/experiments/nt_asgd.py --epochs {options.epochs}",
        "corpus": "toy",
        "floor": corpus.floor,
        "model": asdict(model_config(len(corpus.vocabulary))),
        "training": asdict(training_config(options.epochs, seed=TUNED_AT)),
        "tuned_at": TUNED_AT,
        "tried": ARMS,
        "schedule_factor": FACTOR,
        "swa_from": SWA_FROM,
        "seeds": list(SEEDS),
    }
    cells = [{"seed": seed} for seed in (TUNED_AT, *SEEDS)]
    measured = partial(measure, options.out, settings, jobs=1)
    tuning = measured(
        cells=cells[:1], run=partial(run, epochs=options.epochs, knobs=ARMS)
    )
    knobs = chosen(tuning["runs"][0])
    measured(cells=cells, run=partial(run, epochs=options.epochs, knobs=knobs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
