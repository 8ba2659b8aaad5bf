"""Hostile command lines: one line that names the mistake, exit status 2, no traceback, nothing left behind."""

import re

import pytest
import torch
from test_cli import TINY

from awdlib import toy_language
from awdlib.cli import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "RUN"
    assert main([*TINY, "--epochs", "1", "--out", str(folder)]) == 0
    return folder


ABLATE = ["ablate", *TINY[1:], "--rows", "full"]
TUNE = ["tune-cache", "RUN", "--device", "cpu"]
EVALUATE = ["evaluate", "RUN", "--device", "cpu"]
GENERATE = ["generate", "RUN", "--device", "cpu"]
#: (the command, what the one line must say)
BAD = [
    ([*TINY, "--set", "lr=1", "--set", "lr=2"], "setting lr is given twice, as '1' and as '2'"),
    ([*TINY, "--set", "epochs=3"], "setting epochs is given twice, as '3' and as '2'"),
    ([*TINY, "--set", "lr=nan"], "lr is nan; it must be a finite number"),
    ([*TINY, "--set", "lr=inf"], "lr is inf; it must be a finite number"),
    ([*TINY, "--set", "dropout_weight=nan"], "dropout_weight is nan"),
    ([*TINY, "--set", "bptt=20.5"], "setting bptt is '20.5'; it must be a whole number"),
    ([*TINY, "--set", "num_layers=0"], "num_layers is 0; it must be at least 1"),
    ([*TINY, "--set", "vocab_size=5"], "there is no setting 'vocab_size'"),
    ([*TINY, "--set", "decay_factor=1e999"], "decay_factor is inf"),
    ([*TINY, "--epochs", "2.5"], "argument --epochs: invalid int value: '2.5'"),
    ([*TINY, "--seed", "-1"], "seed is -1; it cannot be negative"),
    ([*TINY, "--seed", "99999999999999999999"], "seed is 99999999999999999999; it must be at most"),
    ([*TINY, "--checkpoint-minutes", "nan"], "checkpoint_minutes is nan; it must be finite"),
    ([*TINY, "--checkpoint-minutes", "-1"], "checkpoint_minutes is -1.0"),
    ([*TINY, "--device", "cuda:7"], "device is 'cuda:7'; it must be auto, cpu or cuda"),
    ([*TINY, "--corpus", ""], "argument --corpus: invalid choice: ''"),
    ([*TINY[:3], "--set", "batch_size=99999", "--device", "cpu"], "batch_size 99999 cuts .* use a batch_size of at"),
    ([*TINY[:3], "--set", "eval_batch_size=99999", "--device", "cpu"], "batch_size 99999 cuts"),
    ([*TINY[:3], "--set", "hidden_size=1000000000000"], "hidden_size is 1000000000000; it must be at most 2147483647"),
    ([*TINY[:3], "--set", "hidden_size=2000000000", "--device", "cpu"], "out of memory: lower batch_size or bptt"),
    ([*ABLATE, "--seeds", "1,2,1"], "seeds is '1,2,1', with 1 twice"),
    ([*ABLATE, "--seeds", "1,01"], "seeds is '1,1', with 1 twice"),
    ([*ABLATE, "--seeds", "-1"], "seed is -1; it cannot be negative"),
    ([*ABLATE, "--seeds", "1.5"], "seeds is '1.5'; it must be whole numbers"),
    ([*ABLATE[:-1], "full,full"], "rows is 'full,full', with full twice"),
    ([*TUNE, "--thetas", ""], "thetas is ''; it must be numbers with commas between"),
    ([*TUNE, "--thetas", ","], "thetas is ','; it must be numbers"),
    ([*TUNE, "--thetas", "0,nan"], r"\(theta\) is nan; it must be finite and cannot be negative"),
    ([*TUNE, "--thetas", "inf"], r"\(theta\) is inf"),
    ([*TUNE, "--thetas", "0,-1"], r"\(theta\) is -1.0"),
    ([*TUNE, "--thetas", "1e39"], "the loss is nan: .* theta is too large"),
    ([*TUNE, "--window", "0"], "window is 0; it must be at least 1"),
    ([*EVALUATE, "--batch-size", "0"], "batch_size is 0"),
    ([*EVALUATE, "--batch-size", "999999"], "use a batch_size of at most"),
    ([*EVALUATE, "--split", "train"], "argument --split: invalid choice: 'train'"),
    ([*EVALUATE, "--only-when-full"], "--only-when-full is a setting of the cache, which is off: add --cache"),
    ([*EVALUATE, "--cache", "--lambda", "nan"], r"\(lambda\) is nan"),
    ([*EVALUATE, "--cache", "--theta=-inf"], r"\(theta\) is -inf"),
    ([*GENERATE, "--length", "0"], "length is 0; it must be at least 1"),
    ([*GENERATE, "--temperature", "nan"], "temperature is nan"),
    ([*GENERATE, "--top-k", "0"], "top_k is 0; it must be at least 1"),
    ([*GENERATE, "--top-k", "99999"], "top_k is 99999; it must be at most"),
    ([*GENERATE, "--top-p", "nan"], "top_p is nan"),
    ([*GENERATE, "--seed", "99999999999999999999"], "--seed is 99999999999999999999"),
    ([*GENERATE, "--prompt", "\ud800"], "not among the vocabulary's"),
    (["finetune", "RUN", "--device", "cpu", "--epochs", "-3"], "epochs is -3; it must be at least 1"),
    (["finetune", "RUN", "--device", "cpu", "--out", "RUN"], "RUN already holds a run"),
    (["finetune", "RUN", "--device", "cpu", "--out", "RUN", "--resume"], "a run with other settings"),
    (["report"], "the following arguments are required: RUN"),
    (["report", "RUN", "nowhere"], "nowhere is not the folder of a run"),
    (["unheard-of"], "invalid choice: 'unheard-of'"),
]  # fmt: skip
BAD += [([*words[:-1], "cuda"], "torch finds no CUDA GPU here") for words in (TUNE, EVALUATE, GENERATE)
        if not torch.cuda.is_available()]  # fmt: skip


@pytest.mark.parametrize(("words", "line"), BAD, ids=lambda case: " ".join(case[-2:]) if isinstance(case, list) else "")
def test_bad_input_ends_in_one_line_and_leaves_everything_as_it_was(
    words, line, finished, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(finished.parent)
    before = {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()}
    capsys.readouterr()
    try:
        status = main(words)
    except SystemExit as ended:  # argparse's own way out
        status = ended.code
    said = capsys.readouterr().err
    assert status == 2
    assert re.search(line, said) and said.startswith("awdlib: ") and said.count("\n") == 1, said
    assert {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()} == before
    assert {path.name for path in finished.parent.iterdir()} == {"RUN"}


def test_a_mistake_of_the_librarys_own_is_not_hidden(finished, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("awdlib.cli.evaluating.evaluate", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["evaluate", str(finished), "--device", "cpu"])


@pytest.mark.parametrize(("words", "line"), [
    (["--write", "nowhere"], "nowhere is not a folder: make it first"),
    (["--write", ".", "--seed", "-1"], "seed is -1; it cannot be negative"),
    ([], "--write"),
])  # fmt: skip
def test_the_toy_languages_own_command(words, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        toy_language.main(words)
    assert ended.value.code == 2 and line in capsys.readouterr().err and not list(tmp_path.iterdir())
