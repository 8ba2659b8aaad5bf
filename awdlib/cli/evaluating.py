"""``evaluate`` and ``tune-cache``: what a finished run reaches on held-out text, without and with the cache."""

import argparse
import math
from dataclasses import asdict, replace
from pathlib import Path

from awdlib import checkpoints
from awdlib.cache import CacheConfig, sweep_flatness, target_probabilities
from awdlib.cli.cache_options import add_cache_options, cache_settings
from awdlib.corpora import Corpus, load_corpus
from awdlib.environment import choose_device, describe_environment, now
from awdlib.evaluation import evaluate
from awdlib.model import LanguageModel
from awdlib.runs import TUNED, load_best, read_record, tuned_state

THETAS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)  #: what tune-cache tries unless told
COLUMNS = 10  #: tuning reads the validation text in this many streams, each with a cache of its own


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the parser.

    Args:
        commands: the parser's commands so far.
    """
    command = commands.add_parser("evaluate", help="perplexity of a run's best weights")
    command.set_defaults(command=_evaluate)
    _add_common(command)
    command.add_argument("--split", choices=("valid", "test"), default="test")
    command.add_argument("--batch-size", type=int, default=1, metavar="N", help="columns; 1 is exact, more is faster")
    add_cache_options(command)
    command.add_argument("--only-when-full", action="store_true", help="no cache until its window is full")

    command = commands.add_parser("tune-cache", help="choose theta and lambda on the validation text")
    command.set_defaults(command=_tune_cache)
    _add_common(command)
    command.add_argument("--window", type=int, default=500, help="positions remembered")
    command.add_argument("--thetas", default=",".join(map(str, THETAS)), help="values to try, with commas between")


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", type=Path, help="a run's folder")
    command.add_argument("--data", type=Path, help="folder that holds the corpus")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _load(options: argparse.Namespace) -> tuple[LanguageModel, Corpus]:
    corpus = load_corpus(read_record(options.run)["corpus"]["name"], options.data)
    model, _ = load_best(options.run, corpus, choose_device(options.device))
    return model, corpus


def _evaluate(options: argparse.Namespace) -> int:
    config = cache_settings(options)
    model, corpus = _load(options)
    tokens, floor = corpus.split(options.split), corpus.floor.get(options.split)
    beside = f", floor {floor:.2f}" if floor else ""
    if config is not None:
        config = replace(config, only_when_full=options.only_when_full)
        found = target_probabilities(model, tokens, config, options.batch_size)
        loss = found.loss(config.weight)
        print(
            f"cache: window {config.window}, theta {config.flatness:g}, lambda {config.weight:g}; without it "
            f"{options.split}: perplexity {math.exp(found.loss(0.0)):.2f}"
        )
    else:
        loss = evaluate(model, tokens, options.batch_size)
    print(f"{options.split}: perplexity {math.exp(loss):.2f} ({loss:.4f} nats a token{beside})")
    return 0


def _tune_cache(options: argparse.Namespace) -> int:
    try:
        thetas = [float(text) for text in options.thetas.split(",")]
    except ValueError:
        raise ValueError(f"thetas is {options.thetas!r}; it must be numbers with commas between") from None
    model, corpus = _load(options)
    config = CacheConfig(window=options.window)
    swept = sweep_flatness(model, corpus.valid, config, thetas, COLUMNS)
    tried = [
        (found.loss(weight := found.best_weight()), theta, weight) for theta, found in zip(thetas, swept, strict=True)
    ]
    for loss, theta, weight in tried:
        print(f"theta {theta:<6g} best lambda {weight:.4f}  valid {math.exp(loss):.2f}")
    loss, theta, weight = min(tried)
    config = replace(config, flatness=theta, weight=round(weight, 4))
    without = math.exp(swept[0].loss(0.0))
    test = target_probabilities(model, corpus.test, config)
    reached = {"without": math.exp(test.loss(0.0)), "with": math.exp(test.loss(config.weight)), "streams": 1}
    figures = {
        "settings": asdict(config),
        "valid": {"without": without, "with": math.exp(loss), "streams": COLUMNS},
        "test": reached,
        "tried": [{"theta": t, "lambda": w, "valid": math.exp(value)} for value, t, w in tried],
        "of": tuned_state(read_record(options.run)),
        "environment": describe_environment(model.embedding.device),
        "date": now(),
    }
    checkpoints.write_json(options.run / TUNED, figures)
    print(f"best: theta {theta:g}, lambda {config.weight:g}: valid {without:.2f} -> {math.exp(loss):.2f}")
    print(f"test, with what validation chose: {reached['without']:.2f} -> {reached['with']:.2f}")
    print(f"kept in {options.run / TUNED}: 'evaluate RUN --cache' takes it from there")
    return 0
