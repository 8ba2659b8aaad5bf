"""The experiments of the chapter *Weight tying and independent sizes*, on the toy language.

    python book/experiments/weight_tying.py            writes data/runs/weight-tying.json

Two parts. *models*: two LSTM layers with embeddings of several sizes and up to four kinds
of softmax, several seeds. *softmax*: what a softmax with so many columns could express at
best, if every context came with the vector that suits it: logits of low rank, fitted to
the exact next-word distributions of the test text. One thread a run; finished runs are
kept and skipped when the script is started again.
"""

import math
import sys
from collections import Counter
from dataclasses import asdict, replace
from functools import cache, partial

import fitting
import numpy as np
import torch
from grid import RUNS, command_line, measure, rounded
from torch import Tensor, nn

from awdlib.corpora import EOS, Corpus, load_corpus
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel, ModelConfig
from awdlib.toy_language import SEED, SPLIT_TOKENS, toy_language
from awdlib.training import TrainConfig, Training

OUT = RUNS / "weight-tying.json"
SEEDS = (1, 2, 3)
SIZES = (8, 32, 96)  # features of a word
HIDDEN = 96
ARMS = {
    "tied": "the embedding's matrix; the last layer as large as an embedding",
    "narrow": "a matrix of its own; layers as of tied",
    "projected": "the embedding's matrix; the last layer of hidden size, projected",
    "wide": "a matrix of its own; the last layer of hidden size",
}
TRAINED = {
    "projected": (8,),
    "wide": (8, 32),
}  # at 96 a wide model is a narrow one
WATCHED = 96  # embedding size of which word vectors are drawn
MOMENTS = (0, 1, 2, 4, 8)  # epochs after which they are, and the best one
DRAWN = 260  # words, spread evenly from the most frequent to the rarest
BANDS = {"1 to 9": (1, 9), "10 to 49": (10, 49), "50 or more": (50, 10**9)}
COLUMNS = (1, 2, 4, 8, 16, 32)  # of the fitted softmax
CONTEXTS, STEPS = 1500, 500
GROUPS = {
    "adjective": "adjectives", "name": "names",
    **{f"{kind}.one": "nouns, one" for kind in ("being", "thing")},
    **{f"{kind}.many": "nouns, many" for kind in ("being", "thing")},
    "place": "nouns, one", "tale": "nouns, one",
    **{f"{kind}.one": "verbs, one" for kind in ("verb", "move", "say", "tell")},
    **{f"{kind}.many": "verbs, many" for kind in ("verb", "move", "say", "tell")},
}  # fmt: skip


class Narrow(LanguageModel):
    """The layers of a tied model, and a softmax matrix of its own."""

    def __init__(
        self, config: ModelConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, generator=generator)
        self.softmax_weight = nn.Parameter(torch.empty_like(self.embedding))
        nn.init.uniform_(self.softmax_weight, -0.1, 0.1, generator=generator)

    def decoder(self) -> tuple[Tensor, Tensor]:
        """As of `LanguageModel`, untied."""
        return self.softmax_weight, self.softmax_bias


class Projected(LanguageModel):
    """A last layer of hidden size, made as small as an embedding by a linear map in front of the tied softmax."""

    def __init__(
        self, config: ModelConfig, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, generator=generator)
        del self.softmax_weight
        inputs, outputs = config.hidden_size, config.embedding_size
        self.projection = nn.Parameter(torch.empty(outputs, inputs))
        bound = inputs**-0.5
        nn.init.uniform_(self.projection, -bound, bound, generator=generator)

    def decoder(self) -> tuple[Tensor, Tensor]:
        """(E P) h is E (P h): the map is put into the matrix."""
        return self.embedding @ self.projection, self.softmax_bias


def model_config(vocab_size: int, size: int, arm: str) -> ModelConfig:
    """Two layers without dropout; equal but for the softmax and the last layer's size."""
    return ModelConfig(
        vocab_size=vocab_size, embedding_size=size, hidden_size=HIDDEN, num_layers=2,
        tied=arm in ("tied", "narrow"), dropout_input=0.0, dropout_hidden=0.0, dropout_output=0.0,
        dropout_embedding=0.0, dropout_weight=0.0,
    )  # fmt: skip


def make(vocab_size: int, size: int, arm: str, seed: int = 1) -> LanguageModel:
    """An untrained model of an arm."""
    kind = {"narrow": Narrow, "projected": Projected}.get(arm, LanguageModel)
    generator = torch.Generator().manual_seed(seed)
    return kind(model_config(vocab_size, size, arm), generator=generator)


def training_config(epochs: int, seed: int) -> TrainConfig:
    """As in other chapters, but half the batch, and a rate that is halved after each epoch of the last third."""
    return replace(
        fitting.training_config(epochs, seed), batch_size=10, decay_factor=0.5
    )


def run(part: str, epochs: int, **cell) -> dict:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    done = models(epochs, **cell) if part == "models" else softmax(**cell)
    return {"part": part, **cell, **rounded(done)}


def models(epochs: int, size: int, seed: int) -> dict:
    """All arms at one size and seed; and how alike their word vectors are."""
    corpus = load_corpus("toy")
    found, vectors, moments = {}, {}, {}
    for arm in ARMS:
        if size not in TRAINED.get(arm, SIZES):
            continue
        # with equal seeds both would begin with one embedding, and be alike for that
        weights = seed + 1000 * [*ARMS].index(arm)
        model = make(len(corpus.vocabulary), size, arm, weights)
        done, seen = curve(model, corpus, training_config(epochs, seed))
        matrices = word_matrices(model)
        done["words"] = {
            name: describe(matrix) for name, matrix in matrices.items()
        }
        found[arm] = done
        if arm in ("tied", "narrow"):
            for name, matrix in matrices.items():
                vectors[f"{arm} {name}"] = matrix
                moments[f"{arm} {name}"] = [m[name] for m in seen] + [matrix]
    done = {"arms": found, "alike": alike(vectors)}
    if size == WATCHED and seed == SEEDS[0]:
        done["map"] = {
            name: [plane(matrix, seen[-1]) for matrix in seen]
            for name, seen in moments.items()
        }
    return done


def curve(
    model: LanguageModel, corpus: Corpus, config: TrainConfig
) -> tuple[dict, list[dict[str, Tensor]]]:
    """Train; the curves, the test perplexity of the best epoch, whose weights stay, and word matrices on the way."""
    training = Training(model, config)
    best, seen = {}, [word_matrices(model)]
    for record in fitting.by_epoch(training, corpus, best):
        if record.epoch in MOMENTS:
            seen.append(word_matrices(model))
    model.load_state_dict(best)
    done = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        **fitting.curves(training),
        "best_epoch": training.best_epoch().epoch,
        "test": math.exp(evaluate(model, corpus.test)),
    }
    return done, seen


def word_matrices(model: LanguageModel) -> dict[str, Tensor]:
    """What a model holds for its words: one matrix, or one to read and one to write."""
    if not hasattr(model, "softmax_weight"):
        return {"both": model.embedding.detach().clone()}
    return {
        "input": model.embedding.detach().clone(),
        "output": model.softmax_weight.detach().clone(),
    }


def counts(corpus: Corpus) -> Tensor:
    """How often each word occurs in the training text."""
    return corpus.train.bincount(minlength=len(corpus.vocabulary))


@cache
def word_classes() -> list[str]:
    """The class from which each word of the vocabulary was drawn most often in the training text; "" of none."""
    corpus = load_corpus("toy")
    steps = toy_language().derive(
        np.random.default_rng(SEED), SPLIT_TOKENS["train"]
    )
    assert [step.word for step in steps[:99]] == corpus.vocabulary.decode(
        corpus.train[:99]
    )
    drawn: dict[str, Counter] = {
        word: Counter() for word in corpus.vocabulary.words
    }
    for step in steps:
        drawn[step.word][step.word_class] += 1
    return [
        max(found, key=found.get) if found else "" for found in drawn.values()
    ]


def describe(matrix: Tensor) -> dict:
    """Size of a word's vector, and how often its nearest neighbour is of its class, by the word's frequency."""
    corpus = load_corpus("toy")
    often, classes = counts(corpus), word_classes()
    known = torch.tensor([name in GROUPS for name in classes])
    kinds = sorted(set(classes))
    of = torch.tensor([kinds.index(name) for name in classes])
    rows = nn.functional.normalize(matrix, dim=1)
    cosines = (rows @ rows.t()).fill_diagonal_(-2)
    cosines[
        :, ~known
    ] = -2  # neighbours are looked for among words of the same open classes
    same = of[cosines.argmax(1)] == of
    bands = {
        name: known & (often >= low) & (often <= high)
        for name, (low, high) in BANDS.items()
    }
    others = (of[known][:, None] == of[known]).sum(1) - 1.0
    chance = torch.zeros(len(of)).masked_scatter(
        known, others / (known.sum() - 1)
    )
    return {
        "chance": {
            name: chance[band].mean().item() for name, band in bands.items()
        },
        "norm": {
            name: matrix[band].norm(dim=1).mean().item()
            for name, band in bands.items()
        },
        "same_class": {
            name: same[band].float().mean().item()
            for name, band in bands.items()
        },
    }


def alike(vectors: dict[str, Tensor]) -> dict[str, float]:
    """Correlation over pairs of words between the cosines of two matrices, for each two of them."""
    corpus = load_corpus("toy")
    frequent = counts(corpus) >= BANDS["10 to 49"][0]
    cosines = {}
    for name, matrix in vectors.items():
        rows = nn.functional.normalize(matrix[frequent], dim=1)
        above = torch.ones(len(rows), len(rows)).triu(1).bool()
        cosines[name] = (rows @ rows.t())[above]
    names = [*cosines]
    return {
        f"{one} / {other}": torch.corrcoef(
            torch.stack([cosines[one], cosines[other]])
        )[0, 1].item()
        for at, one in enumerate(names)
        for other in names[at + 1 :]
    }


def drawn_words(corpus: Corpus) -> Tensor:
    """Numbers of the words that are drawn: of the open classes and the names, by falling frequency."""
    often, classes = counts(corpus), word_classes()
    open_class = torch.tensor([name in GROUPS for name in classes])
    order = (often * open_class).argsort(descending=True, stable=True)
    among = int(open_class.sum())
    return order[torch.linspace(0, among - 1, DRAWN).long()]


def plane(matrix: Tensor, last: Tensor) -> list[list[float]]:
    """(DRAWN, 2): rows in the plane of the two directions in which the last moment's rows differ most."""
    chosen = drawn_words(load_corpus("toy"))
    end = last[chosen].double()
    _, _, directions = torch.linalg.svd(end - end.mean(0), full_matrices=False)
    two = directions[:2]
    two = two * two.gather(1, two.abs().argmax(1, keepdim=True)).sign()
    here = matrix[chosen].double()
    points = (here - here.mean(0)) @ two.t()
    return [[round(x, 3) for x in point] for point in points.tolist()]


def exact_distributions(corpus: Corpus, contexts: int) -> Tensor:
    """(contexts, vocabulary) exact p(next word | words before), at places spread evenly over the test text."""
    language = toy_language()
    words = corpus.vocabulary.decode(corpus.test)
    known = [language.index[word] for word in corpus.vocabulary.words]
    starts, start = [], 0
    for at in range(len(words)):
        if at >= 2 and words[at - 1] == words[at - 2] == EOS:
            start = at  # a new document begins behind two <eos>
        starts.append(start)
    places = np.linspace(1, len(words) - 1, contexts).astype(int)
    p = np.stack(
        [
            language.next_word_probabilities(words[starts[at] : at])[known]
            for at in places
        ]
    )
    return torch.from_numpy(p / p.sum(1, keepdims=True))


def softmax(columns: int) -> dict:
    """The divergence from the exact distributions of the best logits found of so many columns, and a bias."""
    corpus = load_corpus("toy")
    p = exact_distributions(corpus, CONTEXTS).float()
    smooth = 0.99 * p + 0.01 * p.mean(0)
    logs = smooth.log()
    bias = logs.mean(0)
    left, size, right = torch.svd_lowrank(
        logs - bias - (logs - bias).mean(1, keepdim=True), columns + 8, niter=4
    )
    left, size, right = (
        left[:, :columns],
        size[:columns].sqrt(),
        right[:, :columns],
    )
    states = (left * size).requires_grad_()
    matrix = (right * size).requires_grad_()
    bias.requires_grad_()
    entropy = -torch.special.xlogy(p, p).sum(1).mean()
    optimizer = torch.optim.Adam([states, matrix, bias], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        q = torch.addmm(bias, states, matrix.t()).log_softmax(1)
        loss = -(p * q).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {"divergence": (loss - entropy).item(), "entropy": entropy.item()}


def main() -> int:
    """Run every cell that the record does not hold yet."""
    parser = command_line(__doc__, OUT, epochs=12, of="of the models", jobs=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    corpus = load_corpus("toy")
    classes, chosen = word_classes(), drawn_words(corpus)
    settings = {
        "command": f"python book/experiments/weight_tying.py --epochs {options.epochs}",
        "corpus": corpus.name,
        "floor": corpus.floor,
        "arms": ARMS,
        "sizes": list(SIZES),
        "seeds": list(SEEDS),
        "model": asdict(model_config(len(corpus.vocabulary), WATCHED, "tied")),
        "training": asdict(training_config(options.epochs, seed=0)),
        "columns": list(COLUMNS),
        "contexts": CONTEXTS,
        "moments": list(MOMENTS),
        "bands": {name: list(band) for name, band in BANDS.items()},
        "drawn": {
            "words": corpus.vocabulary.decode(chosen),
            "counts": counts(corpus)[chosen].tolist(),
            "groups": [GROUPS[classes[word]] for word in chosen.tolist()],
        },
    }
    cells = [{"part": "softmax", "columns": columns} for columns in COLUMNS] + [
        {"part": "models", "size": size, "seed": seed}
        for seed in SEEDS
        for size in SIZES
    ]
    one = partial(run, epochs=options.epochs)
    record = measure(options.out, settings, cells, one, options.jobs)
    for done in record["runs"]:
        if done["part"] == "softmax":
            print(f"{done['columns']} columns: {done['divergence']:.4f} nats")
        else:
            tests = {arm: kept["test"] for arm, kept in done["arms"].items()}
            print(f"size {done['size']}, seed {done['seed']}: {tests}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
