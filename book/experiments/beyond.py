"""The experiment of the chapter *Beyond AWD-LSTM*: four ideas that came after it, and a transformer, on the toy language.

    python book/experiments/beyond.py              writes data/runs/beyond.json

All arms have as many parameters, but for rounding, and as many updates of as many words. At seed 0 what an arm has to
be told is chosen on the validation text, in fewer epochs; dynamic evaluation is tuned there on a full model. Then come
three more seeds. Of each trained full model the record keeps what reading with the cache, with dynamic evaluation and
with both reaches on the test text, by kind of word. One thread; finished runs are kept and skipped when the script is
started again.
"""

import math
import sys
import time
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch
from fitting import by_epoch
from grid import RUNS, command_line, measure, rounded
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib.allocator import keep_freed_memory
from awdlib.batches import batchify
from awdlib.beyond import (
    BeyondTraining,
    DynamicConfig,
    MixtureOfSoftmaxes,
    PastDecoder,
    Reading,
    dynamic_evaluation,
    squared_gradients,
)
from awdlib.cache import TargetProbabilities, cache_probabilities
from awdlib.corpora import Corpus, load_corpus
from awdlib.evaluation import evaluate
from awdlib.figures.cache_gain import KINDS, kinds
from awdlib.model import LanguageModel, ModelConfig
from awdlib.presets import PRESETS
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig

OUT = RUNS / "beyond.json"
SEEDS = [1, 2, 3]
TUNED_AT = 0
TUNING_EPOCHS = 12
AVERAGE_FROM = 30
COMPONENTS = 3  # of the mixture
ARMS = {  # what is tried at seed 0, by arm
    "full": [{}],
    "shuffle": [{"shuffle": True}],
    "past": [{"past_weight": weight} for weight in (0.01, 0.1)],
    "mixture": [{"components": COMPONENTS}],
    "transformer": [
        {"lr": lr, "dropout": p}
        for lr, p in ((0.001, 0.1), (0.003, 0.1), (0.003, 0.3))
    ],
}
TRANSFORMER = {
    "width": 64, "heads": 4, "feedforward": 256, "layers": 3, "context": 70,
    "batch": 10, "weight_decay": 0.01, "warmup": 0.1, "validate_every": 4,
}  # fmt: skip
SGD = {"lr": [0.1, 0.3, 1.0], "decay": [0.0, 0.001, 0.01]}
RMS = {"lr": [5e-5, 1e-4, 2e-4, 4e-4], "decay": [0.0, 0.001, 0.01]}
SEQ_LEN, EPSILON = 5, 1e-4  # of dynamic evaluation
WINDOW, THETAS = 300, [3.0, 5.0, 7.0, 10.0]  # of the cache
BIN = 100  # words of the text whose gains the record adds up
POSITIONS = [1, 11, 31, 61, 101]  # least of each group of places in a document


def sizes(vocab_size: int) -> ModelConfig:
    return replace(PRESETS["toy"].model, vocab_size=vocab_size)


def training_config(epochs: int, seed: int) -> TrainConfig:
    """The preset's, but that averaging begins with the same epoch in every run: the trigger's luck is no arm's."""
    return replace(
        PRESETS["toy"].training, epochs=epochs, seed=seed,
        average_from=AVERAGE_FROM, patience=epochs,
    )  # fmt: skip


def parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def mixture_sizes(vocab_size: int, components: int) -> ModelConfig:
    """The sizes at which a mixture has as many parameters as the full model, as nearly as can be."""
    full = sizes(vocab_size)
    due = parameters(LanguageModel(full))
    narrow = [replace(full, hidden_size=size) for size in range(64, 129)]
    with torch.device("meta"):  # shapes only
        return min(
            narrow,
            key=lambda one: abs(
                parameters(MixtureOfSoftmaxes(one, components)) - due
            ),
        )


def begin(
    arm: str, values: dict[str, Any], config: TrainConfig, vocab_size: int
) -> BeyondTraining:
    """A fresh training of an arm of the LSTM."""
    generator = torch.Generator().manual_seed(config.seed)
    if arm == "mixture":
        components = values["components"]
        narrow = mixture_sizes(vocab_size, components)
        model = MixtureOfSoftmaxes(narrow, components, generator=generator)
        return BeyondTraining(model, config)
    kind = PastDecoder if arm == "past" else LanguageModel
    model = kind(sizes(vocab_size), generator=generator)
    return BeyondTraining(model, config, **values)


class Transformer(nn.Module):
    """A decoder of torch's own layers: tied embedding, learned positions, normalization first, a causal mask."""

    def __init__(self, vocab_size: int, dropout: float) -> None:
        super().__init__()
        width, context = TRANSFORMER["width"], TRANSFORMER["context"]
        self.embedding = nn.Parameter(torch.randn(vocab_size, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(context, width) * 0.02)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        layer = nn.TransformerEncoderLayer(
            width, TRANSFORMER["heads"], TRANSFORMER["feedforward"], dropout,
            activation="gelu", batch_first=True, norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerEncoder(
            layer,
            TRANSFORMER["layers"],
            norm=nn.LayerNorm(width),
            enable_nested_tensor=False,
        )
        self.dropout = nn.Dropout(dropout)
        for one in self.layers.layers:
            one.self_attn.dropout = 0.0  # with it, torch has no fast attention

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (batch, time, vocab_size) of the words after each of (batch, time) tokens."""
        time_steps = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(time_steps)
        x = F.embedding(tokens, self.embedding) + self.positions[:time_steps]
        x = self.layers(self.dropout(x), mask=mask, is_causal=True)
        return F.linear(x, self.embedding, self.bias)


def score(model: Transformer, tokens: Tensor) -> float:
    """Nats a word of a text. Windows overlap by half: each word is read after at least half a context, but the first."""
    context = TRANSFORMER["context"]
    half, last = context // 2, len(tokens) - 1
    total = 0.0
    model.eval()
    with torch.no_grad():
        for begins in range(0, last, half):
            ends = min(begins + context, last)
            log_p = model(tokens[None, begins:ends])[0].log_softmax(-1)
            words = tokens[begins + 1 : ends + 1, None]
            new = slice(half if begins else 0, None)
            total -= log_p.gather(1, words)[new].double().sum().item()
            if ends == last:
                break
    return total / last


def train_transformer(
    values: dict[str, Any], epochs: int, seed: int, corpus: Corpus, updates: int
) -> dict[str, Any]:
    """AdamW, a warm-up, a cosine; ``updates`` an epoch, of as many words as the LSTM's."""
    torch.manual_seed(seed)
    model = Transformer(len(corpus.vocabulary), values["dropout"])
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=values["lr"],
        weight_decay=TRANSFORMER["weight_decay"],
    )
    total, context = epochs * updates, TRANSFORMER["context"]
    warm = TRANSFORMER["warmup"] * total
    plan = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda done: (
            min(1, (done + 1) / warm)
            * (1 + math.cos(math.pi * done / total))
            / 2
        ),
    )
    curve, best, spent = [], (math.inf, None), 0.0
    for epoch in range(1, epochs + 1):
        began = time.perf_counter()
        model.train()
        for _ in range(updates):
            starts = torch.randint(
                len(corpus.train) - context, (TRANSFORMER["batch"], 1)
            )
            rows = corpus.train[starts + torch.arange(context + 1)]
            logits = model(rows[:, :-1]).flatten(0, 1)
            loss = F.cross_entropy(logits, rows[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            plan.step()
        spent += time.perf_counter() - began
        if epoch % TRANSFORMER["validate_every"]:
            continue
        curve.append(score(model, corpus.valid))
        if curve[-1] < best[0]:
            weights = {n: w.clone() for n, w in model.state_dict().items()}
            best = curve[-1], weights
    model.load_state_dict(best[1])
    return {
        "parameters": parameters(model),
        "curve": [math.exp(loss) for loss in curve],
        "valid": math.exp(min(curve)),
        "test": math.exp(score(model, corpus.test)),
        "seconds": spent,
    }


def train_lstm(
    arm: str, values: dict[str, Any], epochs: int, seed: int, corpus: Corpus
) -> tuple[LanguageModel, dict[str, Any]]:
    """Train an arm; the model, with the weights of its best epoch, and what is kept of the run."""
    config = training_config(epochs, seed)
    training = begin(arm, values, config, len(corpus.vocabulary))
    best: dict[str, Tensor] = {}
    history = list(by_epoch(training, corpus, best))
    model = training.model.eval()
    model.load_state_dict(best)
    began = [one.epoch for one in history if one.averaging_began]
    return model, {
        "parameters": parameters(model),
        "curve": [one.valid_perplexity for one in history],
        "valid": min(one.valid_perplexity for one in history),
        "test": math.exp(evaluate(model, corpus.test)),
        "seconds": sum(one.seconds for one in history),
        "averaging_after": began[0] if began else None,
    }


def updates_of_an_epoch(corpus: Corpus) -> int:
    """What the toy preset takes on average: the rows of a column over the mean window."""
    config = PRESETS["toy"].training
    rows = len(batchify(corpus.train, config.batch_size))
    return round((rows - 1) / config.window_lengths().mean())


def with_cache(reading: Reading, theta: float) -> TargetProbabilities:
    """What the model and the cache over its states give to each word."""
    cached, usable = cache_probabilities(
        reading.states, reading.targets, WINDOW, theta
    )
    return TargetProbabilities(
        reading.log_p.exp()[:, None], cached.double()[:, None], usable[:, None]
    )


def read(
    model: LanguageModel,
    tokens: Tensor,
    values: dict[str, float],
    squares: list[Tensor] | None,
) -> Reading:
    settings = DynamicConfig(**values, seq_len=SEQ_LEN, epsilon=EPSILON)
    return dynamic_evaluation(model, tokens, settings, squares)


def tune_dynamic(model: LanguageModel, corpus: Corpus) -> dict[str, Any]:
    """Every step and decay on the validation text: nats a word, and the gain of each hundred words."""
    squares = squared_gradients(model, corpus.train)
    still = read(model, corpus.valid, {"lr": 0.0}, None).log_p
    found: dict[str, Any] = {"still": -still.mean().item(), "bin": BIN}
    for rule, grid, given in (("sgd", SGD, None), ("rms", RMS, squares)):
        found[rule] = []
        for lr in grid["lr"]:
            for decay in grid["decay"]:
                cell: dict[str, Any] = {"lr": lr, "decay": decay}
                try:
                    log_p = read(model, corpus.valid, cell, given).log_p
                    cell["loss"] = -log_p.mean().item()
                    gains = (log_p - still).split(BIN)
                    cell["gains"] = [round(g.sum().item(), 2) for g in gains]
                except ValueError:  # it diverged
                    cell["loss"] = None
                found[rule].append(cell)
    return found


def best_dynamic(tuned: dict[str, Any], rule: str) -> dict[str, float]:
    cells = [cell for cell in tuned[rule] if cell["loss"] is not None]
    best = min(cells, key=lambda cell: cell["loss"])
    return {name: best[name] for name in ("lr", "decay")}


def adapt(
    model: LanguageModel, corpus: Corpus, chosen: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """What the cache, dynamic evaluation and both together reach, and on which words."""
    squares = squared_gradients(model, corpus.train)
    words = corpus.vocabulary.decode(corpus.test)
    floor = torch.from_numpy(toy_language().log_probabilities(words))[1:]
    kind = torch.tensor(kinds(corpus.vocabulary.words))[corpus.test[1:]]
    place = places(words)
    rules = {
        "static": ({"lr": 0.0}, None),
        "sgd": (chosen["sgd"], None),
        "rms": (chosen["rms"], squares),
    }
    ways, log_ps = {}, {"floor": floor}
    for rule, (values, given) in rules.items():
        test = read(model, corpus.test, values, given)
        log_ps[rule] = test.log_p
        ways[rule] = {"test": math.exp(-test.log_p.mean().item())}
        if rule == "sgd":
            continue
        valid = read(model, corpus.valid, values, given)
        tried = [(theta, with_cache(valid, theta)) for theta in THETAS]
        theta, weight, _ = min(
            ((t, w := f.best_weight(1e-4), f.loss(w)) for t, f in tried),
            key=lambda one: one[2],
        )
        mixed = with_cache(test, theta).mixed(weight)[:, 0].log()
        log_ps[f"{rule}+cache"] = mixed
        ways[f"{rule}+cache"] = {
            "test": math.exp(-mixed.mean().item()),
            "theta": theta,
            "lambda": weight,
        }
    return {
        "ways": ways,
        "kinds": [
            sums(kind == number, log_ps) | {"kind": name}
            for number, name in enumerate(KINDS)
        ],
        "places": [
            sums(place == number, log_ps) for number in range(len(POSITIONS))
        ],
    }


def places(words: list[str]) -> Tensor:
    """Of each word but the first, the group of its place in its document, counted from 1."""
    found, at = [], 0
    for before, word in zip([None, *words], words, strict=False):
        at += 1
        found.append(sum(at >= least for least in POSITIONS) - 1)
        if before == word == "<eos>":  # the document ends
            at = 0
    return torch.tensor(found[1:])


def sums(group: Tensor, log_ps: dict[str, Tensor]) -> dict[str, Any]:
    """How many words a group has, and the sum of their log-probabilities by each way of reading."""
    added = {name: of[group].sum().item() for name, of in log_ps.items()}
    return {"words": int(group.sum())} | added


def run(
    arm: str,
    seed: int,
    values: dict[str, Any],
    epochs: int,
    dynamic: dict[str, dict[str, float]] | None,
) -> dict[str, Any]:
    """One cell, in a process of its own; ``dynamic`` holds the chosen steps once they are known."""
    torch.set_num_threads(1)  # layers this small gain nothing from a second one
    keep_freed_memory()
    corpus = load_corpus("toy")
    cell = {"arm": arm, "seed": seed, "values": values, "epochs": epochs}
    if arm == "transformer":
        updates = updates_of_an_epoch(corpus)
        found = train_transformer(values, epochs, seed, corpus, updates)
        return rounded(cell | found)
    model, found = train_lstm(arm, values, epochs, seed, corpus)
    if arm == "full" and seed == TUNED_AT:
        found["tuned"] = tune_dynamic(model, corpus)
    elif arm == "full":
        found |= adapt(model, corpus, dynamic)
    return rounded(cell | found)


def cells_of_tuning(epochs: int, arms: tuple[str, ...]) -> list[dict[str, Any]]:
    """Seed 0: every value of those of the arms that have a choice, in few epochs; and one full model."""
    full = {"arm": "full", "seed": TUNED_AT, "values": {}, "epochs": epochs}
    fewer = min(epochs, TUNING_EPOCHS)
    return [full] + [
        {"arm": arm, "seed": TUNED_AT, "values": values, "epochs": fewer}
        for arm in arms
        for values in ARMS[arm]
    ]


def chosen_values(
    runs: list[dict[str, Any]], arms: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Of each arm the values with the lowest validation perplexity at seed 0."""
    found = {}
    for arm in arms:
        tried = [one for one in runs if one["arm"] == arm]
        tried = [one for one in tried if one["seed"] == TUNED_AT]
        best = min(tried, key=lambda one: one["valid"], default=None)
        found[arm] = best["values"] if best else ARMS[arm][0]
    return found


def cells_of_arms(
    epochs: int, runs: list[dict[str, Any]], arms: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Every seed of the arms, with what seed 0 has chosen for them."""
    values = chosen_values(runs, arms)
    return [
        {"arm": arm, "seed": seed, "values": values[arm], "epochs": epochs}
        for arm in arms
        for seed in SEEDS
    ]


def main() -> int:
    """Tune at seed 0, then run what the record does not hold yet."""
    options = command_line(__doc__, OUT, epochs=40).parse_args()
    epochs = options.epochs
    corpus = load_corpus("toy")
    vocab_size = len(corpus.vocabulary)
    settings = {
        "command": f"python book/experiments/beyond.py --epochs {epochs}",
        "corpus": "toy",
        "floor": corpus.floor,
        "model": asdict(sizes(vocab_size)),
        "mixture": asdict(mixture_sizes(vocab_size, COMPONENTS)),
        "training": asdict(training_config(epochs, seed=TUNED_AT)),
        "transformer": TRANSFORMER,
        "updates_of_an_epoch": updates_of_an_epoch(corpus),
        "tuned_at": TUNED_AT,
        "tried": ARMS,
        "tuning_epochs": TUNING_EPOCHS,
        "dynamic": {
            "sgd": SGD, "rms": RMS, "seq_len": SEQ_LEN, "epsilon": EPSILON,
        },
        "cache": {"window": WINDOW, "thetas": THETAS},
        "places": POSITIONS,
        "seeds": SEEDS,
    }  # fmt: skip
    measured = partial(measure, options.out, settings, jobs=1)
    first = cells_of_tuning(epochs, ("past",))
    tuning = measured(cells=first, run=partial(run, dynamic=None))["runs"]
    tuned = next(one["tuned"] for one in tuning if "tuned" in one)
    dynamic = {rule: best_dynamic(tuned, rule) for rule in ("sgd", "rms")}
    measured = partial(measured, run=partial(run, dynamic=dynamic))
    rest = cells_of_arms(epochs, tuning, ("full", "shuffle", "past", "mixture"))
    measured(cells=first + rest)
    last = cells_of_tuning(epochs, ("past", "transformer"))
    tuning = measured(cells=last + rest)["runs"]
    rest += cells_of_arms(epochs, tuning, ("transformer",))
    measured(cells=last + rest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
