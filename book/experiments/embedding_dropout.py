"""The experiments of the chapter *Embedding dropout*.

    AWDLIB_DATA=DIR python book/experiments/embedding_dropout.py    writes data/runs/embedding-dropout.json

Three parts. *windows*: how often the word types of a window occur in it, for three corpora
and windows of many sizes: numbers of occurrences only, no word is stored. *hole*: what the
exact prediction of the toy language loses when one word of the past cannot be seen, by its
distance. *arms*: two LSTM layers on the toy language with nothing dropped at the input, or
entries, or tokens, or word types; several seeds; each run judged at its best validation epoch,
also by the frequency of words, and with a hole in what it reads. One thread a run; finished
runs are kept and skipped when the script is started again.
"""

import math
import sys
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
from fitting import curves, fit, training_config
from grid import RUNS, begun, command_line, measure, rounded
from torch import Tensor
from torch.nn import functional as F

from awdlib.batches import batchify, fixed_windows
from awdlib.corpora import PUBLISHED, Corpus, load_corpus
from awdlib.dropout import keep_mask
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.recurrent import LSTMLayer, State
from awdlib.toy_language import toy_language
from awdlib.training import TrainConfig, Training

OUT = RUNS / "embedding-dropout.json"
SEEDS = (1, 2, 3, 4)
#: arm → probability that is dropped of the entries, the tokens, the types
ARMS = {
    "nothing": (0.0, 0.0, 0.0),
    "nothing, half as long": (0.0, 0.0, 0.0),
    "entries 0.1": (0.1, 0.0, 0.0),
    "tokens 0.1": (0.0, 0.1, 0.0),
    "types 0.1": (0.0, 0.0, 0.1),
    "types 0.3": (0.0, 0.0, 0.3),
}
DISTANCES = (1, 2, 3, 4, 5, 6, 8)  # from the hole to the word predicted
RANKS = (10, 100, 300)  # bounds between classes of words, by frequency
LENGTHS, BATCHES = (10, 35, 70, 140), (1, 20, 40, 80)
GROWTH = tuple(round(10 ** (n / 4)) for n in range(4, 26))  # tokens
SAMPLED = 20  # texts of each size


class TokenDropLSTM(LSTMLayer):
    """An LSTM layer that does not see some of the tokens: a coin for each position of each sequence."""

    def __init__(self, layer: LSTMLayer, p: float) -> None:
        super().__init__(layer.input_size, layer.hidden_size)
        self.load_state_dict(layer.state_dict())
        self.p = p

    def forward(
        self,
        x: Tensor,
        state: State,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, State]:
        """As `LSTMLayer`, on what is left of x."""
        if self.training and self.p > 0:
            coins = (*x.shape[:2], 1)  # time, sequence
            x = x * keep_mask(coins, self.p, generator=generator)
        return super().forward(x, state, generator=generator)


def model_config(
    vocab_size: int, entries: float = 0.0, types: float = 0.0
) -> ModelConfig:
    """Two layers, locked dropout between and behind them; at the input what an arm says."""
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=64, hidden_size=128, num_layers=2, dropout_input=entries,
        dropout_hidden=0.2, dropout_output=0.2, dropout_embedding=types, dropout_weight=0.0,
    )  # fmt: skip


def begin(corpus: Corpus, arm: str, config: TrainConfig) -> Training:
    """A training that drops at the input what the arm says."""
    entries, tokens, types = ARMS[arm]
    weights = torch.Generator().manual_seed(config.seed)
    sizes = model_config(len(corpus.vocabulary), entries, types)
    model = LanguageModel(sizes, generator=weights)
    if tokens:
        model.layers[0] = TokenDropLSTM(model.layers[0], tokens)
    return Training(model, config)


def run(epochs: int, arm: str, seed: int) -> dict:
    """One run, in a process of its own, with the weights of its best validation epoch looked at."""
    torch.set_num_threads(1)
    corpus = load_corpus("toy")
    length = epochs // 2 if arm.endswith("half as long") else epochs
    training = begin(corpus, arm, training_config(length, seed))
    model, best = training.model, fit(training, corpus)
    at_the_end = math.exp(evaluate(model, corpus.train, 20))
    model.load_state_dict(best)
    whole = surprises(model, corpus.test)
    classes = word_classes(corpus, corpus.test)
    return {
        "arm": arm,
        "seed": seed,
        **curves(training),
        "train_evaluated_at_end": rounded(at_the_end),
        "test": rounded(math.exp(whole.mean().item())),
        "nats_by_class_of_target": by_class(whole, classes[1:]),
        "nats_by_class_of_word_read": by_class(whole, classes[:-1]),
        "nats_with_hole": rounded(with_holes(model, corpus.test)),
        "nats_without": rounded(
            [whole[distance - 1 :].mean().item() for distance in DISTANCES]
        ),
    }


@torch.no_grad()
def surprises(model: LanguageModel, tokens: Tensor) -> Tensor:
    """(tokens - 1,) nats of each word but the first, read as one stream in evaluation."""
    logits = model.eval()(tokens[:-1, None]).logits[:, 0].double()
    return F.cross_entropy(logits, tokens[1:], reduction="none")


@torch.no_grad()
def with_holes(model: LanguageModel, tokens: Tensor) -> list[float]:
    """Mean nats of a word if the one a distance before it is a zero vector; all places of the text are one batch."""
    model.eval()
    embedded = F.embedding(tokens[:-1], model.embedding)
    states = states_before(model, embedded)  # of every position at once
    x, nats = torch.zeros_like(embedded), []
    for distance in range(1, max(DISTANCES) + 1):
        new = []
        for layer, state in zip(model.layers, states, strict=True):
            x, state = layer(x[None], state)
            x = x[0]
            new.append(state)
        logits = F.linear(x, *model.decoder()).double()
        nats.append(F.cross_entropy(logits, tokens[distance:]).item())
        x = embedded[
            distance:
        ]  # the word behind the hole; the last place has none
        states = [tuple(part[: len(x)] for part in state) for state in new]
    return [nats[distance - 1] for distance in DISTANCES]


def states_before(model: LanguageModel, embedded: Tensor) -> list[State]:
    """The state of each layer before each word: (words, features) a part."""
    x, found = embedded[:, None], []
    for layer in model.layers:
        state, parts, outputs = layer.initial_state(1), [], []
        for x_t in x:
            parts.append(state)
            output, state = layer(x_t[None], state)
            outputs.append(output[0])
        x = torch.stack(outputs)
        found.append(
            tuple(torch.cat(part) for part in zip(*parts, strict=True))
        )
    return found


def word_classes(corpus: Corpus, tokens: Tensor) -> Tensor:
    """For each word the number of its class: 0 for the most frequent types of the training text, and so on."""
    counts = torch.bincount(corpus.train, minlength=len(corpus.vocabulary))
    ranks = counts.argsort(descending=True, stable=True).argsort()
    return torch.bucketize(ranks[tokens], torch.tensor(RANKS), right=True)


def by_class(nats: Tensor, classes: Tensor) -> list[float]:
    """Mean nats of each class."""
    kinds = range(len(RANKS) + 1)
    return rounded([nats[classes == kind].mean().item() for kind in kinds])


def exact(corpus: Corpus) -> dict:
    """The same of the exact prediction: nats by class, and with a hole."""
    language = toy_language()
    words = corpus.vocabulary.decode(corpus.test)
    whole = torch.from_numpy(-language.log_probabilities(words)[1:])
    classes = word_classes(corpus, corpus.test)
    return {
        "nats_by_class_of_target": by_class(whole, classes[1:]),
        "nats_by_class_of_word_read": by_class(whole, classes[:-1]),
        "share_of_words": rounded(
            torch.bincount(classes[1:]).div(len(whole)).tolist()
        ),
        "nats_with_hole": rounded(exact_with_holes(language, words)),
        "nats_without": rounded(
            [whole[distance - 1 :].mean().item() for distance in DISTANCES]
        ),
    }


class Reader:
    """The exact prediction of a text of which a word may be hidden: what may be believed, and how likely each is.

    One belief is enough while every word is seen. Behind a hidden word a document may have
    ended or not, so there are several: each is [probability, belief, urn].
    """

    def __init__(self, language, cases=None) -> None:
        self.language = language
        self.cases = cases or [
            (1.0, self._fresh(), language.names.empty())
        ]  # a document begins

    def _fresh(self) -> np.ndarray:
        states = self.language.arcs.states
        belief = np.zeros((len(self.language.topic_prior), len(states)))
        belief[:, states.index("document")] = self.language.topic_prior
        return belief

    def see(self, word: str) -> tuple["Reader", float]:
        """Who has read one word more, and the probability it was given."""
        language, flows = self.language, []
        for weight, belief, urn in self.cases:
            source, emits, arrives = language._step(word)
            flow = weight * belief[:, source] * emits
            if word in urn.base:
                flow = flow * urn.probability(word)
                named = urn.empty()
                for name in (*urn.seen, word):
                    named.add(name)
                urn = named
            flows.append((flow @ arrives, urn))
        total = sum(flow.sum() for flow, _ in flows)
        return self._next([(flow / total, urn) for flow, urn in flows]), total

    def skip(self) -> "Reader":
        """Who could not see one word. A name that is not seen leaves the prediction of other names as it is: the
        urn's draws are exchangeable."""
        arcs, flows = self.language.arcs, []
        arrives = np.eye(len(arcs.states))[arcs.destination]
        for weight, belief, urn in self.cases:
            flow = weight * belief[:, arcs.source] * arcs.probability
            flows.append((flow @ arrives, urn))
        return self._next(flows)

    def _next(self, flows) -> "Reader":
        """Take apart what goes on in its document from what begins a new one."""
        document, cases, begun_anew = (
            self.language.arcs.states.index("document"),
            [],
            0.0,
        )
        for flow, urn in flows:
            begun_anew += flow[:, document].sum()
            rest = flow.copy()
            rest[:, document] = 0
            if (mass := rest.sum()) > 0:
                cases.append((mass, rest / mass, urn))
        if begun_anew > 0:
            cases.append(
                (begun_anew, self._fresh(), self.language.names.empty())
            )
        return Reader(self.language, cases)


def exact_with_holes(language, words: list[str]) -> list[float]:
    """Mean nats of the exact prediction of a word if the one a distance before it cannot be seen."""
    nats = [[] for _ in range(max(DISTANCES))]
    reader = Reader(language)
    for at, word in enumerate(words[:-1]):
        blind = reader.skip()
        for distance, later in enumerate(words[at + 1 : at + 1 + len(nats)]):
            blind, p = blind.see(later)
            nats[distance].append(-math.log(p))
        reader, _ = reader.see(word)
    return [float(np.mean(nats[distance - 1])) for distance in DISTANCES]


def window_statistics(corpus: Corpus) -> dict:
    """Of windows of many sizes: how many types occur once, twice, …; and of all of them, the mean of Σ(n/N)²."""
    found = []
    for batch in BATCHES:
        columns = batchify(corpus.train, batch)
        for length in LENGTHS:
            every = [
                inputs
                for inputs, _ in fixed_windows(columns, length)
                if len(inputs) == length
            ]
            middle = torch.bincount(every[len(every) // 2].flatten())
            times, types = middle[middle > 0].unique(return_counts=True)
            picked = every[:: max(1, len(every) // 400)]
            found.append(
                {
                    "length": length,
                    "batch": batch,
                    "types_that_occur": [
                        [*pair]
                        for pair in zip(
                            times.tolist(), types.tolist(), strict=True
                        )
                    ],
                    "windows": len(picked),
                    "mean_concentration": np.mean(
                        [concentration(inputs) for inputs in picked]
                    ),
                    "mean_types": np.mean(
                        [len(inputs.unique()) for inputs in picked]
                    ),
                }
            )
    return {
        "tokens": len(corpus.train),
        "vocab_size": len(corpus.vocabulary),
        "concentration": concentration(corpus.train),
        "growth": growth(corpus),
        "windows": found,
    }


def growth(corpus: Corpus) -> list[list[float]]:
    """[tokens, mean number of types, mean effective number of decisions] of stretches of the text."""
    rows = []
    for size in GROWTH:
        if size > len(corpus.train):
            break
        starts = np.linspace(0, len(corpus.train) - size, SAMPLED).astype(int)
        texts = [corpus.train[start : start + size] for start in {*starts}]
        rows.append(
            [
                size,
                float(np.mean([len(text.unique()) for text in texts])),
                float(np.mean([1 / concentration(text) for text in texts])),
            ]
        )
    return rows


def concentration(tokens: Tensor) -> float:
    """Σ(n/N)² over the word types of a text: the chance that two of its tokens, drawn with return, are one type."""
    counts = torch.bincount(tokens.flatten()).double()
    return (counts / counts.sum()).square().sum().item()


def main() -> int:
    """Do what the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=36, of="of most runs", jobs=1)
    options = parser.parse_args()
    torch.set_num_threads(1)  # as the runs
    corpus = load_corpus("toy")
    fixed = {
        "command": f"python book/experiments/embedding_dropout.py --epochs {options.epochs}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "model": asdict(model_config(len(corpus.vocabulary))),
        "training": asdict(training_config(options.epochs, seed=0)),
        "seeds": list(SEEDS),
        "arms": {arm: list(p) for arm, p in ARMS.items()},
        "distances": list(DISTANCES),
        "ranks": list(RANKS),
    }
    before = begun(options.out, fixed)
    settings = fixed | {
        "windows": before["windows"]
        if before
        else rounded(
            {n: window_statistics(load_corpus(n)) for n in ("toy", *PUBLISHED)}
        ),
        "exact": before["exact"] if before else exact(corpus),
    }
    cells = [{"arm": arm, "seed": seed} for seed in SEEDS for arm in ARMS]
    one = partial(run, options.epochs)
    record = measure(options.out, settings, cells, one, options.jobs)
    for done in record["runs"]:
        print(
            f"{done['arm']}, {done['seed']}: best validation {min(done['valid']):.2f}, test {done['test']:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
