"""``generate``: text that a finished run writes."""

import argparse
from collections.abc import Iterable
from pathlib import Path

import torch

from awdlib.cli.cache_options import add_cache_options, cache_settings
from awdlib.corpora import EOS, load_corpus
from awdlib.environment import choose_device
from awdlib.generation import generate
from awdlib.runs import load_best, read_record


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the parser.

    Args:
        commands: the parser's commands so far.
    """
    command = commands.add_parser("generate", help="text written by a run's best weights")
    command.set_defaults(command=_generate)
    command.add_argument("run", type=Path, help="a run's folder")
    command.add_argument("--prompt", default="", help="words to continue, with spaces between; a new line is an <eos>")
    command.add_argument("--length", type=int, default=60, help="words to write")
    command.add_argument("--temperature", type=float, default=1.0, help="0 always takes the likeliest word")
    command.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest words only")
    command.add_argument("--top-p", type=float, metavar="P", help="draw from the fewest words that have probability P")
    command.add_argument("--seed", type=int, default=1, help="the same seed writes the same text")
    add_cache_options(command)
    command.add_argument("--data", type=Path, help="folder that holds the corpus")
    command.add_argument("--device", default="auto", help="auto, cpu or cuda")


def _generate(options: argparse.Namespace) -> int:
    cache, generator = cache_settings(options), _generator(options.seed)
    record = read_record(options.run)
    corpus = load_corpus(record["corpus"]["name"], options.data)
    model, _ = load_best(options.run, corpus, choose_device(options.device))
    prompt = options.prompt.replace("\n", f" {EOS} ").split()
    settings = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    words = generate(model, corpus.vocabulary, prompt, options.length, generator=generator, cache=cache, **settings)
    _print_words(prompt)
    _print_words(words, line_begun=bool(prompt) and prompt[-1] != EOS)
    print()
    return 0


def _generator(seed: int) -> torch.Generator:
    """On the processor whatever the model runs on, so that a seed draws the same numbers everywhere."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"--seed is {seed}; it must lie in [0, 2**63)")
    return torch.Generator().manual_seed(seed)


def _print_words(words: Iterable[str], line_begun: bool = False) -> None:
    """Print words as they come, a new line for each ``<eos>``."""
    for word in words:
        print("\n" if word == EOS else f" {word}" if line_begun else word, end="", flush=True)
        line_begun = word != EOS
