"""Hostile input to what stands around the model: settings, ablation, toy language, devices, explorables and labs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hostile import assert_refused, inf, nan, table

from awdlib import toy_language
from awdlib.ablation import plan
from awdlib.bundled import bundled
from awdlib.corpora import load_corpus
from awdlib.environment import choose_device, describe_environment
from awdlib.explore import Progress, choice, explorable, lab, show_figure, slider, steps, switch
from awdlib.presets import PRESETS
from awdlib.settings import apply_settings
from awdlib.toy_floor import Arcs, NameUrn
from awdlib.toy_language import ToyLanguage

TOY, CORPUS = PRESETS["toy"], load_corpus("toy")
LEXICON = json.loads((bundled("toy") / "lexicon.json").read_text(encoding="utf-8"))
LANGUAGE = toy_language.toy_language()


def changed(*settings):
    return apply_settings(settings, TOY.model, TOY.training)


@table({
    "twice": (lambda: changed("lr=1", "lr=2"), "setting lr is given twice, as '1' and as '2': leave one out"),
    "one string": (lambda: apply_settings("lr=1", TOY.model, TOY.training), "settings is one string, 'lr=1'"),
    "no string": (lambda: changed(5), "one of settings is 5; it must be a string"),
    "epochs of 2.0": (lambda: changed("epochs=2.0"), "setting epochs is '2.0'; it must be a whole number"),
    "an lr of nan": (lambda: changed("lr=nan"), "lr is nan; it must be a finite number"),
    "an lr without end": (lambda: changed("lr=1e999"), "lr is inf; it must be a finite number"),
    "a negative seed": (lambda: changed("seed=-1"), "seed is -1; it cannot be negative"),
    "a seed beyond 64 bits": (lambda: changed(f"seed={2**64}"), "it must be at most 9223372036854775806"),
    "the corpus's own size": (lambda: changed("vocab_size=5"), "there is no setting 'vocab_size'"),
    "an empty value": (lambda: changed("lr="), "setting lr is ''; it must be a number"),
    "an empty name": (lambda: changed("=1"), "there is no setting ''"),
})  # fmt: skip
def test_settings(call, line):
    assert_refused(call, line)


def test_an_optional_setting_takes_its_own_kind_of_number():
    assert changed("init_range=0.05")[0].init_range == 0.05 and changed("init_range=none")[0].init_range is None
    assert changed("longest_window=80")[1].longest_window == 80


@table({
    "rows as one string": (lambda: plan(TOY, "full", [1], CORPUS), "rows is one string, 'full'"),
    "a seed of 1.5": (lambda: plan(TOY, ["full"], [1.5], CORPUS), "seed is 1.5; it must be a whole number"),
    "a seed as a string": (lambda: plan(TOY, ["full"], ["1"], CORPUS), "seed is '1'; it must be a whole number"),
    "a negative seed": (lambda: plan(TOY, ["full"], [-1], CORPUS), "seed is -1; it cannot be negative"),
    **{f"a run on {v!r}": (lambda v=v: choose_device(v), "device is .*auto, cpu or cuda")
       for v in ("tpu", None, 5, "cuda:0")},
    **{f"a record of {v!r}": (lambda v=v: describe_environment(v), "device is .*; torch finds here: cpu")
       for v in ("gpu", 5.5, "cuda:99")},
})  # fmt: skip
def test_ablation_and_devices(call, line):
    assert_refused(call, line)


FORM = r"must have the form STATE PROBABILITY \[CLASS\] STATE"


@table({
    **{f"topic_share {v!r}": (lambda v=v: ToyLanguage(LEXICON, topic_share=v), "topic_share is")
       for v in (1.5, nan, "a")},
    "leak below zero": (lambda: ToyLanguage(LEXICON, leak=-1), r"leak is -1; it must lie in \[0, 1\]"),
    "shares beyond one": (lambda: ToyLanguage(LEXICON, leak=0.5), r"topic_share \+ leak is 1.4; it must lie in"),
    **{f"name_alpha {v!r}": (lambda v=v: ToyLanguage(LEXICON, name_alpha=v), "name_alpha is")
       for v in (0, nan, inf, -1)},
    "no lexicon": (lambda: ToyLanguage({}), "the lexicon has no closed, general, irregular_plurals, names, topics"),
    **{f"grammar {text!r}": (lambda text=text: Arcs.from_grammar(text), FORM) for text in (
        "document", "document 1.0", "document x name document", "document 1.0 a b c document",
        "document -1 name document | 2 name document", "document nan name document")},
    "a grammar that is none": (lambda: Arcs.from_grammar(5), "grammar is 5; it must be a string"),
    "a silent circle": (lambda: Arcs.from_grammar("document 0.5 document | 0.5 name document"),
                        "state 'document' leads to itself without a word"),
    **{f"{v!r} tokens": (lambda v=v: LANGUAGE.sample(np.random.default_rng(0), v), "tokens is")
       for v in (2.5, nan, "5", True, 0)},
    "a name of another urn": (lambda: NameUrn({"a": 1.0}, 1.0).probability("b"), "'b' is not a name of this urn"),
    "a text that is one string": (lambda: LANGUAGE.floor("anna"), "is not a word of this language"),
    "no folder": (lambda: toy_language.write(Path("nowhere")), "nowhere is not a folder: make it first"),
    "a negative seed": (lambda: toy_language.write(Path(), -1), "seed is -1; it cannot be negative"),
})  # fmt: skip
def test_toy_language(call, line):
    assert_refused(call, line)


def figure(p=0.0):
    import plotly.graph_objects as go

    return go.Figure(go.Scatter(y=[0.0, float(p)])), "a line"


def results(p=0.0):
    yield "text"


@table({
    **{f"a slider's {name} {v!r}":
       (lambda n=name, v=v: slider(**{"start": 0, "stop": 1, "step": 1, "value": 0, n: v}),
        f"slider's {name} is .*number")
       for name in ("start", "stop", "step", "value") for v in (nan, inf, "1", None, True)},
    "steps in words": (lambda: steps(["a", "b"], "a"), "a slider's value is 'a'; it must be a number"),
    "steps with nan": (lambda: steps([1.0, nan], 1.0), "a slider's value is nan"),
    "options in one string": (lambda: choice("ab", "a"), "the options are one string, 'ab'"),
    "a switch at 1": (lambda: switch(1), "a switch is True or False, got 1"),
    "a label that is a number": (lambda: switch(True, label=5), "a switch's label is 5; it must be a string"),
    "no function": (lambda: explorable(5), "the function is 5; give one"),
    "no figure": (lambda: explorable(lambda: None), "there is no plotly figure, but None: return one"),
    "a title that is a number": (lambda: explorable(figure, title=5), "title is 5; it must be a string"),
    **{f"a limit of {v!r} MB": (lambda v=v: explorable(figure, limit_mb=v), "limit_mb is") for v in (nan, 0, -1, "1")},
    "show_figure of none": (lambda: show_figure(None, alt="x"), "there is no plotly figure"),
    "a value beside the grid": (lambda: explorable(figure, p=slider(0, 1, 1, 0)).decoded(p=7), "cannot stand at .*7"),
    "a lab of nothing": (lambda: lab(5), "the function is 5; give a generator function"),
    "a chapter that is a number": (lambda: lab(results, chapter=5), "chapter is 5; it must be a string"),
    "a control that is not there": (lambda: lab(results, p=switch(True)).run(q=1), "no control 'q': choose among p"),
    **{f"progress {v!r}": (lambda v=v: Progress(v), "fraction is .*number") for v in (nan, inf, "half", None)},
})  # fmt: skip
def test_explorables_and_labs(call, line):
    assert_refused(call, line)


def test_a_toy_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_text("old")
    monkeypatch.setattr(toy_language, "SPLIT_TOKENS", {"train": 10})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(toy_language.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        toy_language.write(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"train.txt": "old"}


def test_a_device_that_is_there_is_returned():
    assert choose_device("cpu") == torch.device("cpu") and describe_environment(torch.device("cpu"))["device"] == "cpu"
