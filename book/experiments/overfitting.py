"""The experiments of the chapter *Overfitting, and where dropout may go*, on the toy language.

    python book/experiments/overfitting.py            writes data/runs/overfitting.json

Two parts. *placement*: two LSTM layers with ordinary dropout on no connections, on those
that go up, on the hidden state's way to the next step, on both, or on hidden and cell
state; several seeds. The run without dropout is also taken apart after each epoch: where
does it lose against the exact prediction? *size*: models of several sizes, each on a part
or all of the training text, without dropout, for the same number of updates. One thread a
run; finished runs are kept and skipped when the script is started again.
"""

import math
import sys
from dataclasses import asdict, replace
from functools import cache, partial

import numpy as np
import torch
from fitting import by_epoch, curves, training_config
from grid import RUNS, command_line, measure, rounded
from torch import Tensor
from torch.nn import functional as F

from awdlib.corpora import EOS, Corpus, load_corpus
from awdlib.dropout import keep_mask
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.recurrent import LSTMLayer, State
from awdlib.toy_language import SEED, SPLIT_TOKENS, toy_language
from awdlib.training import EpochRecord, TrainConfig, Training, train

OUT = RUNS / "overfitting.json"
SEEDS = (1, 2, 3)
P = 0.2
ARMS = {
    "none": (0.0, 0.0, 0.0),
    "up": (P, 0.0, 0.0),
    "h": (0.0, P, 0.0),
    "up and h": (P, P, 0.0),
    "h and c": (0.0, P, P),
}  # dropout on the connections upwards, and on h and on c on their way to the next step
SIZES = (
    32,
    64,
    128,
    256,
)  # hidden units; embeddings have half as many features
SHARES = (0.25, 0.5, 1.0)  # of the training text, from its beginning
READINGS = 18  # of the size part, counted in whole training texts
OPEN = {"being", "thing", "place", "verb", "move", "adjective"}


class StateDropLSTM(LSTMLayer):
    """An LSTM layer whose own state is dropped on its way to the next step, with fresh masks at each."""

    def __init__(self, layer: LSTMLayer, p_h: float, p_c: float) -> None:
        super().__init__(layer.input_size, layer.hidden_size)
        self.load_state_dict(layer.state_dict())
        self.p_h, self.p_c = p_h, p_c

    def forward(
        self,
        x: Tensor,
        state: State,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """As `LSTMLayer`: what is handed up is never dropped here."""
        if not self.training or self.p_h == self.p_c == 0:
            return super().forward(x, state, generator=generator)
        h, c = state
        shape = (len(x), *h.shape)
        masks_h = keep_mask(shape, self.p_h, generator=generator)
        masks_c = keep_mask(shape, self.p_c, generator=generator)
        driven = F.linear(x, self.weight_ih, self.bias_ih + self.bias_hh)
        outputs = []
        for drive, mask_h, mask_c in zip(driven, masks_h, masks_c, strict=True):
            gates = torch.addmm(drive, h * mask_h, self.weight_hh.t())
            i, f, _, o = gates.sigmoid().chunk(4, dim=1)
            g = gates.chunk(4, dim=1)[2].tanh()
            c = torch.addcmul(f * c * mask_c if self.p_c else f * c, i, g)
            h = o * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), (h, c)


def model_config(
    vocab_size: int, up: float = 0.0, hidden: int = 128
) -> ModelConfig:
    """Two layers; ordinary dropout, if any, on the connections that go up."""
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=hidden // 2, hidden_size=hidden, num_layers=2, dropout_input=up,
        dropout_hidden=up, dropout_output=up, dropout_embedding=0.0, dropout_weight=0.0, locked=False,
    )  # fmt: skip


def begin(corpus: Corpus, arm: str, config: TrainConfig) -> Training:
    """A training whose layers drop where the arm says."""
    up, p_h, p_c = ARMS[arm]
    weights = torch.Generator().manual_seed(config.seed)
    model = LanguageModel(
        model_config(len(corpus.vocabulary), up), generator=weights
    )
    if p_h or p_c:
        model.layers = torch.nn.ModuleList(
            StateDropLSTM(layer, p_h, p_c) for layer in model.layers
        )
    return Training(model, config)


def run(part: str, epochs: int, **cell) -> dict:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    done = placement(epochs, **cell) if part == "placement" else size(**cell)
    return {"part": part, **cell, **done}


def placement(epochs: int, arm: str, seed: int) -> dict:
    """The curves of an arm, its best validation epoch on the test text, and how it stands at the end."""
    corpus = load_corpus("toy")
    training = begin(corpus, arm, training_config(epochs, seed))
    best, looks = {}, []
    for _ in by_epoch(training, corpus, best):
        if arm == "none":
            looks.append(look(training.model, corpus))
    at_the_end = math.exp(evaluate(training.model, corpus.train, 20))
    training.model.load_state_dict(best)
    done = {
        **curves(training),
        "train_evaluated_at_end": rounded(at_the_end),
        "test": rounded(math.exp(evaluate(training.model, corpus.test))),
    }
    return done | ({"looks": looks} if looks else {})


def look(model: LanguageModel, corpus: Corpus) -> dict:
    """Where a model stands: on the training text, and against the exact prediction of the validation text."""
    reference = exact()
    predicted = log_predictions(model, corpus.valid)
    targets = corpus.valid[1:]
    own = predicted.gather(1, targets[:, None])[:, 0].double().numpy()
    excess = reference["log_p"] - own  # nats lost at each word
    p = reference["p"]
    apart = torch.where(p > 0, p * (p.clamp(min=1e-30).log() - predicted), 0.0)
    return {
        "train_evaluated": rounded(math.exp(evaluate(model, corpus.train, 20))),
        "kl": rounded(apart.sum(1).double().mean().item()),
        "excess": rounded(excess.mean()),
        **{
            kind: {
                name: rounded(excess[members].sum() / len(excess))
                for name, members in reference[kind].items()
            }
            for kind in ("classes", "novelty")
        },
    }


@torch.no_grad()
def log_predictions(model: LanguageModel, tokens: Tensor) -> Tensor:
    """(tokens - 1, vocabulary) log probabilities of the next word, the text read as one stream in evaluation."""
    model.eval()
    states, found = model.initial_states(1), []
    for part in tokens[:-1].split(500):
        logits, states, _, _ = model(part[:, None], states)
        found.append(logits[:, 0].log_softmax(1))
    return torch.cat(found)


@cache
def exact() -> dict:
    """What is known of the validation text's words but the first: exact predictions, classes, and what is new."""
    language, corpus = toy_language(), load_corpus("toy")
    words = corpus.vocabulary.decode(corpus.valid)
    known = [language.index[word] for word in corpus.vocabulary.words]
    starts = document_starts(words)
    p = np.stack(
        [
            language.next_word_probabilities(words[starts[at] : at])[known]
            for at in range(1, len(words))
        ]
    )  # a few names of the grammar occur in no text: the models have no such word
    return {
        "log_p": language.log_probabilities(words)[1:],
        "p": torch.from_numpy(p / p.sum(1, keepdims=True)).float(),
        "classes": classes(words),
        "novelty": novelty(corpus.vocabulary.decode(corpus.train), words),
    }


def document_starts(words: list[str]) -> list[int]:
    """For each position, where its document begins: a new one begins behind two <eos> in a row."""
    starts, start = [], 0
    for at in range(len(words)):
        if at >= 2 and words[at - 1] == words[at - 2] == EOS:
            start = at
        starts.append(start)
    return starts


def classes(words: list[str]) -> dict[str, np.ndarray]:
    """Group -> which of the words but the first belong to it, by what the generator drew them from."""
    rng, language = np.random.default_rng(SEED), toy_language()
    language.sample(rng, SPLIT_TOKENS["train"])
    steps = language.derive(rng, SPLIT_TOKENS["valid"])
    assert [step.word for step in steps] == words
    groups = {"name": "names", EOS: "sentence ends"} | dict.fromkeys(
        OPEN, "open"
    )
    found = np.array(
        [
            groups.get(step.word_class.split(".")[0], "closed")
            for step in steps[1:]
        ]
    )
    return {
        name: found == name
        for name in ("names", "open", "closed", "sentence ends")
    }


def novelty(train_words: list[str], words: list[str]) -> dict[str, np.ndarray]:
    """Group -> which of the words but the first belong to it, by whether training had it behind the same two words."""
    padded = [EOS, *train_words]
    triples = set(zip(padded, padded[1:], padded[2:], strict=False))
    pairs = {triple[:2] for triple in triples}
    found = []
    for triple in zip([EOS, *words], words, words[1:], strict=False):
        known = (
            "known context, new word" if triple[:2] in pairs else "new context"
        )
        found.append("known" if triple in triples else known)
    names = ("known", "known context, new word", "new context")
    return {name: np.array(found) == name for name in names}


def size(hidden: int, share: float) -> dict:
    """The curves of one model on a part of the text, with as many updates as `READINGS` of the whole text take."""
    corpus = load_corpus("toy")
    corpus = replace(corpus, train=corpus.train[: part_of(corpus, share)])
    every = round(1 / share)
    config = replace(
        training_config(READINGS * every, seed=1), decay_factor=1.0
    )
    weights = torch.Generator().manual_seed(config.seed)
    sizes = model_config(len(corpus.vocabulary), hidden=hidden)
    training = Training(LanguageModel(sizes, generator=weights), config)
    curve = {"train": [], "valid": []}
    for record in train(training, corpus):
        if isinstance(record, EpochRecord) and record.epoch % every == 0:
            evaluated = evaluate(training.model, corpus.train, 20)
            curve["train"].append(rounded(math.exp(evaluated)))
            curve["valid"].append(rounded(record.valid_perplexity))
    count = sum(weight.numel() for weight in training.model.parameters())
    return curve | {"parameters": count, "updates": training.updates}


def part_of(corpus: Corpus, share: float) -> int:
    """How many words of the training text a share is."""
    return int(len(corpus.train) * share)


def main() -> int:
    """Run every cell that the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=30, of="of placement", jobs=1)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the runs
    corpus, language = load_corpus("toy"), toy_language()
    words = corpus.vocabulary.decode(corpus.train)
    valid = corpus.vocabulary.decode(corpus.valid)
    groups = {"classes": classes(valid), "novelty": novelty(words, valid)}
    settings = {
        "command": f"python book/experiments/overfitting.py --epochs {options.epochs}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "model": asdict(model_config(len(corpus.vocabulary))),
        "training": asdict(training_config(options.epochs, seed=0)),
        "seeds": list(SEEDS),
        "arms": {arm: list(p) for arm, p in ARMS.items()},
        "share_of_words": {
            kind: {name: rounded(found.mean()) for name, found in group.items()}
            for kind, group in groups.items()
        },
        "sizes": list(SIZES),
        "shares": list(SHARES),
        "readings": READINGS,
        "train_floors": [
            rounded(language.floor(words[: part_of(corpus, share)]))
            for share in SHARES
        ],
    }
    cells = [
        {"part": "placement", "arm": arm, "seed": seed}
        for seed in SEEDS
        for arm in ARMS
    ] + [
        {"part": "size", "hidden": hidden, "share": share}
        for share in SHARES
        for hidden in SIZES
    ]
    one = partial(run, epochs=options.epochs)
    record = measure(options.out, settings, cells, one, options.jobs)
    for done in record["runs"]:
        name = ", ".join(
            str(done[key])
            for key in ("arm", "seed", "hidden", "share")
            if key in done
        )
        print(
            f"{name}: best validation {min(done['valid']):.2f}, last {done['valid'][-1]:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
