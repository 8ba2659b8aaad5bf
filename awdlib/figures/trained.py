"""The run that ships with the book, for figures that show a trained model at work: ``data/runs/toy``.

``python -m awdlib train --preset toy --out data/runs/toy`` made it, in under a minute on two CPU cores. Its record says
where and when; of its checkpoints the best one was kept.
"""

from functools import cache
from typing import Any, NamedTuple

from awdlib import runs
from awdlib.bundled import bundled
from awdlib.corpora import Corpus, load_corpus
from awdlib.model import LanguageModel


class Trained(NamedTuple):
    """A trained model, in evaluation mode, and what it was trained on; what `toy_run` returns.

    Example:
        >>> from awdlib.figures.trained import toy_run
        >>> model, corpus, record = toy_run()
        >>> record["final_perplexity"]["test"] > corpus.floor["test"]
        True
    """

    model: LanguageModel  #: with the weights of the best validation epoch
    corpus: Corpus  #: the toy language
    record: dict[str, Any]  #: the run's record, epoch by epoch


@cache
def toy_run() -> Trained:
    """The toy preset as it came out of training; read once, and not to be changed.

    Example:
        >>> from awdlib.figures.trained import toy_run
        >>> run = toy_run()
        >>> run.model.training, run.corpus.name, len(run.record["epochs"])
        (False, 'toy', 40)
    """
    folder, corpus = bundled("runs/toy"), load_corpus("toy")
    model, _ = runs.load_best(folder, corpus)
    return Trained(model, corpus, runs.read_record(folder))
