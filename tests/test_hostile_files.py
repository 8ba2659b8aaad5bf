"""Hostile files in a run's folder: truncated, bit-flipped, of another kind, preset, version or layout.

Every bit of a checkpoint is covered by its header or by the hash of its contents, so that a flip anywhere is noticed.
torch alone would not: it reads a file whose tensors are changed without a word.
"""

import json
import shutil
from dataclasses import asdict, replace

import pytest
import torch
from hostile import assert_refused, nan

from awdlib import checkpoints
from awdlib.checkpoints import HEADER, CheckpointError
from awdlib.cli import main
from awdlib.corpora import Corpus, Vocabulary
from awdlib.model import ModelConfig
from awdlib.runs import Run, load_best, read_record, resume
from awdlib.training import TrainConfig, start

MODEL = ModelConfig(vocab_size=13, embedding_size=6, hidden_size=8, num_layers=2)
HOW = TrainConfig(epochs=2, batch_size=2, eval_batch_size=2, bptt=8, lr=1.0, patience=0, average_from=2)
TEXT = torch.arange(60) % 13


def corpus(first="w0"):
    return Corpus("toy", Vocabulary([first, *(f"w{n}" for n in range(1, 13))]), TEXT, TEXT, TEXT, checked="made here")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("runs") / "whole", corpus(), start(MODEL, HOW), "toy")
    for _ in run.steps():
        pass
    run.finish()
    return run.folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def go_on(folder, model=MODEL, how=HOW, text=None):
    return resume(folder, text or corpus(), model, how, "cpu")


READERS = {"checkpoint.pt": go_on, "best.pt": lambda folder: load_best(folder, corpus())}


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_file_is_noticed_at_every_length(name, folder):
    path, whole = folder / name, (folder / name).read_bytes()
    edges = [0, 1, len(HEADER) - 1, len(HEADER), len(HEADER) + 31, len(HEADER) + 32, len(whole) - 1]
    for length in {*edges, *range(0, len(whole), len(whole) // 200)}:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=f"{name} (is|was) .*(damaged|not a checkpoint)"):
            READERS[name](folder)
    path.write_bytes(whole + b"\0")
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        READERS[name](folder)


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_noticed_in_every_region(name, folder):
    path, whole = folder / name, (folder / name).read_bytes()
    start_of_contents = len(HEADER) + 32
    places = {*range(start_of_contents + 64), *range(start_of_contents, len(whole), len(whole) // 400),
              *range(len(whole) - 64, len(whole))}  # header, hash, contents, the archive's directory  # fmt: skip
    for number, place in enumerate(sorted(places)):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << number % 8
        path.write_bytes(spoilt)
        with pytest.raises(CheckpointError, match=f"{name} (is|was) .*(damaged|not a checkpoint)"):
            READERS[name](folder)
    path.write_bytes(whole)
    READERS[name](folder)


def test_torch_alone_would_not_notice_a_flip_within_a_tensor(tmp_path):
    """Why checkpoints carry a hash of their own; should torch begin to look, this test says so."""
    torch.save({"weights": torch.zeros(1000)}, tmp_path / "plain")
    spoilt = bytearray((tmp_path / "plain").read_bytes())
    spoilt[spoilt.index(bytes(4000)) + 1003] ^= 64
    (tmp_path / "plain").write_bytes(spoilt)
    assert torch.load(tmp_path / "plain", weights_only=True)["weights"].any()


def rewritten(folder, change, name="checkpoint.pt"):
    """The file with its contents changed and its hash right: what another version, or another hand, might write."""
    saved = checkpoints.load(folder / name)
    changed = change(saved)
    checkpoints.save(folder / name, changed if isinstance(changed, list) else saved)


#: what was done to the folder -> (how, what the one line says)
OTHERS = {
    "no file": (lambda f: (f / "checkpoint.pt").unlink(), r"cannot read .*checkpoint.pt \(No such file"),
    "a folder for a file": (
        lambda f: [(f / "checkpoint.pt").unlink(), (f / "checkpoint.pt").mkdir()],
        r"cannot read .* \(Is a directory\)"),
    "the best weights": (lambda f: shutil.copy(f / "best.pt", f / "checkpoint.pt"), "of another kind or version"),
    "torch's own": (lambda f: torch.save({}, f / "checkpoint.pt"), "not a checkpoint of awdlib"),
    "another version's": (
        lambda f: (f / "checkpoint.pt").write_bytes(b"awdlib checkpoint 2\nnew"), "by another version of awdlib"),
    "a list": (lambda f: rewritten(f, lambda s: [s]), "of another kind or version: it must hold model_config"),
    "no vocabulary": (lambda f: rewritten(f, lambda s: s.pop("vocabulary")), "it must hold .*vocabulary"),
    "settings that are none": (lambda f: rewritten(f, lambda s: s.update(model_config=3)), "it holds no settings"),
    "a setting of the future": (
        lambda f: rewritten(f, lambda s: s["train_config"].update(zoneout=0.1)), "settings .zoneout"),
    "a setting that is gone": (
        lambda f: rewritten(f, lambda s: s["train_config"].pop("lr")), r"settings \(lr\)"),
    "weights of another shape": (
        lambda f: rewritten(f, lambda s: s["model"].update(softmax_bias=torch.ones(3))),
        "cannot be resumed: .*another model"),
    "weights of nan": (lambda f: rewritten(f, lambda s: s["model"]["embedding"].fill_(nan)), "no longer finite"),
    "averages of another shape": (
        lambda f: rewritten(f, lambda s: s["optimizer"]["state"][0].update(average=torch.ones(3))),
        "an average is .*shape"),
    "no averages": (lambda f: rewritten(f, lambda s: s["optimizer"].update(state={})), "not the state of an NTASGD"),
    "half a state": (lambda f: rewritten(f, lambda s: s.update(states=s["states"][:1])), "hidden states are of"),
    "masks of a GPU": (
        lambda f: rewritten(f, lambda s: s.update(mask_generator=torch.zeros(16, dtype=torch.uint8))),
        "another .*device"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_checkpoint_of_this_run_is_refused_and_left_alone(case, folder):
    spoil, line = OTHERS[case]
    spoil(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert_refused(lambda: go_on(folder), line)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(("changes", "line"), [
    ({"model": replace(MODEL, hidden_size=9)}, r"a run with other settings \(hidden_size\)"),
    ({"model": replace(MODEL, cell="gru", dropout_input=0.1)}, r"other settings \(cell, dropout_input\)"),
    ({"how": replace(HOW, lr=2.0, epochs=9)}, r"other settings \(lr\)"),
    ({"text": corpus("other")}, "a run on another corpus"),
])  # fmt: skip
def test_a_checkpoint_of_another_preset_or_corpus_is_refused_by_the_settings_that_differ(changes, line, folder):
    assert_refused(lambda: go_on(folder, **changes), line)


@pytest.mark.parametrize(("change", "line"), [
    (lambda s: s.update(config=asdict(MODEL) | {"zoneout": 0.1}), "best.pt is of another version of awdlib"),
    (lambda s: s.update(config=asdict(MODEL) | {"hidden_size": 9}), "best.pt is of another version of awdlib"),
    (lambda s: s["model"].pop("embedding"), "best.pt is of another version of awdlib"),
    (lambda s: s.pop("config"), "must hold model, config, vocabulary"),
])  # fmt: skip
def test_best_weights_of_another_make_are_refused(change, line, folder):
    rewritten(folder, change, "best.pt")
    assert_refused(lambda: load_best(folder, corpus()), line)


RECORDS = {
    "nothing": (
        b"", "it is not JSON"), "half": (b'{"status": "fin', "it is not JSON"), "bytes": (b"\xff\xfe", "not JSON"),
    "a list": (b"[]", "it is of another kind"), "nested without end": (b"[" * 100_000, "it is not JSON"),
    "empty": (b"{}", "it has no 'status'"),
}  # fmt: skip
CHANGES = {
    "no epochs": ({"epochs": None}, "epochs is of another kind"),
    "epochs that are none": ({"epochs": [3]}, "epochs is of another kind"),
    "an epoch without figures": ({"epochs": [{"epoch": 1}]}, "epochs has no 'train_perplexity'"),
    "a figure of nan": ({"final_perplexity": {"valid": nan, "test": 1.0}}, "valid is nan"),
    "no corpus": ({"corpus": "toy"}, "corpus is of another kind"),
    "a corpus without a name": ({"corpus": {"floor": {}}}, "corpus has no 'name'"),
    "finished without figures": ({"final_perplexity": None}, "it is finished and has no final_perplexity"),
    "a setting of the future": ({"training": asdict(HOW) | {"zoneout": 1}}, "unexpected keyword argument 'zoneout'"),
    "a setting out of range": ({"model": asdict(MODEL) | {"hidden_size": 0}}, "hidden_size is 0"),
    "averaging after an epoch beyond the last": (
        {"averaging": {"begun_after_epoch": 9, "begun_by": "trigger"}}, "an epoch that is not there"),
    "true for a number": ({"parameters": True}, "parameters is of another kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*RECORDS, *CHANGES])
def test_a_damaged_record_ends_every_command_that_reads_it_in_one_line(case, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder.parent)
    path = folder / "record.json"
    content, line = RECORDS[case] if case in RECORDS else (
        json.dumps(json.loads(path.read_text()) | CHANGES[case][0]).encode(), CHANGES[case][1]
    )  # fmt: skip
    path.write_bytes(content)
    assert_refused(lambda: read_record(folder), f"record.json is damaged.*{line}.*bring back a copy")
    for command in ("evaluate", "tune-cache", "generate", "report", "finetune"):
        assert main([command, str(folder)]) == 2
        said = capsys.readouterr().err
        assert line in said and said.count("\n") == 1
    assert {path.name for path in folder.parent.iterdir()} == {"run"}, "nothing is to be left behind"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"settings": 5}', b'{"settings": {"window": "5"}}',
                                     b'{"settings": {"flatness": NaN}}', b"[" * 100_000, b"\xff"])  # fmt: skip
def test_damaged_cache_settings_end_in_one_line(content, folder, capsys):
    (folder / "cache.json").write_bytes(content)
    assert main(["evaluate", str(folder), "--cache"]) == 2
    assert "cache.json is damaged: delete it, or run tune-cache again" in capsys.readouterr().err
    (folder / "cache.json").unlink()
    (folder / "cache.json").mkdir()
    assert main(["evaluate", str(folder), "--cache"]) == 2
    assert "cache.json (Is a directory)" in capsys.readouterr().err
