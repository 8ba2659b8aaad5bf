"""Hostile input to model, evaluation, cache, generation, training and corpora: refused in one line that names it."""

import copy
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hostile import assert_refused, inf, nan, table

from awdlib.cache import CacheConfig, TargetProbabilities, cache_probabilities, sweep_flatness, target_probabilities
from awdlib.corpora import Corpus, CorpusError, Vocabulary, load_corpus
from awdlib.evaluation import evaluate
from awdlib.generation import Reader, generate, inspect_tokens, next_word_distribution
from awdlib.model import LanguageModel, ModelConfig, cross_entropy
from awdlib.training import EpochRecord, StepRecord, TrainingDiverged, start, train
from awdlib.training_config import TrainConfig, finetuning

SIZES = ModelConfig(vocab_size=13, embedding_size=6, hidden_size=8, num_layers=2)
HOW = TrainConfig(epochs=1, batch_size=2, eval_batch_size=2, bptt=8, lr=1.0)
WORDS = Vocabulary([f"w{number}" for number in range(13)])
MODEL = LanguageModel(SIZES, generator=torch.Generator().manual_seed(1))
TEXT = torch.arange(60) % 13
WINDOW, LOGITS = torch.ones(5, 2, dtype=torch.long), torch.ones(5, 2, 13)
TEXTS = {
    "empty": (TEXT[:0], "0 tokens; it needs at least 2"), "of one word": (TEXT[:1], "1 tokens; it needs at least 2"),
    "beyond the vocabulary": (TEXT + 1, "ids from 1 to 13; the vocabulary has 0 to 12"),
    "below it": (TEXT - 100, "ids from -100 to -88; the vocabulary has 0 to 12"),
    "of floats": (TEXT.float(), r"holds torch.float32; token ids are torch.int64: use \.long"),
    "of int32": (
        TEXT.int(), "holds torch.int32"), "of two dimensions": (TEXT.view(30, 2), r"shape \(30, 2\); it must be"),
    "a list": (TEXT.tolist(), r"is \[0, 1, .*; it must be a tensor"), "none": (None, "is None; it must be a tensor"),
}  # fmt: skip
COUNTS = {"a fraction": 2.5, "2.0": 2.0, "nan": nan, "a string": "2", "a bool": True, "zero": 0, "below": -1}


def diverged(part):
    model = copy.deepcopy(MODEL)
    model.get_parameter(part).data.view(-1)[0] = nan
    return model


def corpus(**splits):
    return Corpus("tiny", WORDS, **{"train": TEXT, "valid": TEXT, "test": TEXT} | splits, checked="made here")


def of_kind(config, kind):
    return [field.name for field in fields(config) if field.type is kind]


def configured(config, name, value):
    return lambda: replace(config, **{name: value})


@table({
    **{f"{name} {case}": (configured(config, name, value), f"{name} is .*whole number|{name}.*(at least|negative)|bptt")
       for config in (SIZES, HOW) for name in of_kind(config, int)
       for case, value in COUNTS.items() if not (value in (0,) and name in ("patience", "decay_after", "seed"))},
    **{f"{name} {value!r}": (configured(config, name, value), f"{name} is .*(number|finite|lie in)")
       for config in (SIZES, HOW) for name in of_kind(config, float)
       for value in (nan, inf, -1.0, "3", None, True, torch.tensor(0.5))},
    **{f"{name} {value!r}": (configured(config, name, value), f"{name} is .*; it must be True or False")
       for config in (SIZES, HOW) for name in of_kind(config, bool) for value in ("no", 1, None)},
    **{f"{name} {value!r}": (configured(config, name, value), f"{name} is .*; it must be")
       for config in (SIZES, HOW) for name in of_kind(config, str) for value in ("other", 1, None, ["lstm"])},
    **{f"init_range {value!r}": (configured(SIZES, "init_range", value), "init_range is")
       for value in (nan, inf, 0.0, "1", True)},
    **{f"{name} {value!r}": (configured(HOW, name, value), f"{name} is|maximum is")
       for name in ("average_from", "longest_window") for value in (2.5, nan, "3", True, -1)},
    "a size beyond all memory": (
        lambda: ModelConfig(hidden_size=10**12), "hidden_size is 10+; it must be at most 2147483647"),
    "a seed beyond 64 bits": (lambda: TrainConfig(seed=2**64), "seed is 18446744073709551616; it must be at most"),
    "two epochs and a half of fine-tuning": (lambda: finetuning(HOW, 2.5), "epochs is 2.5; it must be a whole number"),
})  # fmt: skip
def test_configurations(call, line):
    assert_refused(call, line)


def test_numpys_numbers_are_welcome_in_configurations_and_become_pythons():
    model = ModelConfig(hidden_size=np.int64(8), dropout_input=np.float32(0.5), init_range=1)
    config = TrainConfig(lr=np.float64(30), seed=np.int32(4), epochs=np.uint8(3), weight_decay=0)
    cache = CacheConfig(window=np.int64(4), flatness=1, weight=np.float32(0))
    for made in (model, config, cache):
        for field in fields(made):
            value = getattr(made, field.name)
            assert value is None or type(value) in (int, float, bool, str), field.name
    assert (config.lr, config.seed, model.dropout_input, model.init_range) == (30.0, 4, 0.5, 1.0)


def states(batch=2, **changes):
    return [tuple(part.to(**changes) if changes else part for part in state) for state in MODEL.initial_states(batch)]


@table({
    "words out of the vocabulary": (
        lambda: MODEL(WINDOW * 13), "tokens has ids from 13 to 13; the vocabulary has 0 to 12"),
    "words below it": (lambda: MODEL(-WINDOW), "tokens has ids from -1 to -1"),
    "words as floats": (lambda: MODEL(WINDOW.float()), "tokens holds torch.float32"),
    "words as a list": (lambda: MODEL([[1, 2]]), r"tokens is \[\[1, 2\]\]; it must be a tensor"),
    "words elsewhere": (lambda: MODEL(WINDOW.to("meta")), "tokens is on meta and the model on cpu"),
    "a state too few": (lambda: MODEL(WINDOW, states()[:1]), "there are 1 states; .* each of 2 layers"),
    "states too many": (lambda: MODEL(WINDOW, states() * 2), "there are 4 states"),
    "states of another batch": (lambda: MODEL(WINDOW, states(3)), r"\(3, 8\); it must have shape \(2, 8\)"),
    "states in the wrong order": (lambda: MODEL(WINDOW, states()[::-1]), r"\(2, 6\); it must have shape \(2, 8\)"),
    "states in double": (lambda: MODEL(WINDOW, states(dtype=torch.double)), "the state holds torch.float64"),
    "a seed for the masks": (lambda: MODEL(WINDOW, generator=1), "generator is 1"),
    "no streams": (lambda: MODEL.initial_states(0), "batch_size is 0; it must be at least 1"),
    "targets across": (lambda: cross_entropy(LOGITS, WINDOW.t()), r"\(2, 5\); it must have shape \(5, 2\)"),
    "targets in a row": (lambda: cross_entropy(LOGITS, WINDOW.flatten()), r"targets has shape \(10,\)"),
    "targets out of the vocabulary": (lambda: cross_entropy(LOGITS, WINDOW * 13), "targets has ids from 13 to 13"),
    "targets that torch would ignore": (
        lambda: cross_entropy(LOGITS, WINDOW * -100), "targets has ids from -100 to -100"),
    "targets as floats": (lambda: cross_entropy(LOGITS, WINDOW.float()), "targets holds torch.float32"),
    "targets elsewhere": (lambda: cross_entropy(LOGITS, WINDOW.to("meta")), "targets is on meta and the logits on cpu"),
    "no targets": (lambda: cross_entropy(LOGITS[:0], WINDOW[:0]), "a mean needs at least one target"),
    "logits of a text": (lambda: cross_entropy(LOGITS[0], WINDOW[0]), r"logits has shape \(2, 13\)"),
})  # fmt: skip
def test_model(call, line):
    assert_refused(call, line)


SETTINGS = CacheConfig(window=3)
READERS = {
    "evaluate": evaluate,
    "the cache": lambda model, text, **how: target_probabilities(model, text, SETTINGS, **how),
}


@table({
    **{f"{name}, a text {case}": (lambda read=read, text=text: read(MODEL, text), line)
       for name, read in READERS.items() for case, (text, line) in TEXTS.items()},
    **{f"{name}, {how} {case}": (lambda read=read, how=how, v=v: read(MODEL, TEXT, **{how: v}), f"{called} is")
       for name, read in READERS.items() for how, called in (("batch_size", "batch_size"), ("seq_len", "length"))
       for case, v in COUNTS.items()},
    **{f"{name}, more columns than words": (lambda read=read: read(MODEL, TEXT, batch_size=99), "of at most 30")
       for name, read in READERS.items()},
    **{f"{name}, before a word is read": (lambda read=read: read(MODEL, TEXT + 1), "^the text has ids from 1 to 13")
       for name, read in READERS.items()},
    "evaluate, a diverged model": (
        lambda: evaluate(diverged("softmax_bias"), TEXT), "the loss is nan: .* has diverged"),
})  # fmt: skip
def test_reading_a_text(call, line):
    assert_refused(call, line)


def test_a_refused_text_leaves_the_model_in_its_mode():
    model = copy.deepcopy(MODEL).train()
    for read in READERS.values():
        with pytest.raises(ValueError):
            read(model, TEXT + 1)
        assert model.training


FOUND = TargetProbabilities(torch.rand(9, 1), torch.rand(9, 1), torch.ones(9, 1, dtype=torch.bool))
STATES, CAME = torch.ones(9, 4), torch.ones(9, dtype=torch.long)


def cached(states=STATES, targets=CAME, window=3, flatness=1.0):
    return cache_probabilities(states, targets, window, flatness)


@table({
    **{f"window {case}": (lambda v=v: CacheConfig(window=v), "cache's window is") for case, v in COUNTS.items()},
    **{f"theta {v!r}": (lambda v=v: CacheConfig(flatness=v), r"\(theta\) is")
       for v in (nan, inf, -1.0, "1", True, None)},
    **{f"lambda {v!r}": (lambda v=v: CacheConfig(weight=v), r"\(lambda\) is")
       for v in (nan, inf, 1.1, "1", True, None)},
    "only_when_full a word": (lambda: CacheConfig(only_when_full="no"), "only_when_full is 'no'"),
    **{f"mixed at {v!r}": (lambda v=v: FOUND.loss(v), r"\(lambda\) is") for v in (nan, -1, 2, "a", True, None)},
    **{f"a search to {v!r}": (lambda v=v: FOUND.best_weight(v), "tolerance is") for v in (nan, -1, 0, "a")},
    "as many words as states": (lambda: cached(targets=CAME[:5]), "there are 9 states and 5 targets"),
    "an empty text": (lambda: cached(STATES[:0], CAME[:0]), "there are 0 states and 0 targets"),
    "a window of none": (lambda: cached(window=0), "cache's window is 0"),
    "theta below zero": (lambda: cached(flatness=-1.0), r"\(theta\) is -1.0"),
    "words as floats": (lambda: cached(targets=CAME.float()), "targets holds torch.float32"),
    "words in columns": (lambda: cached(targets=CAME[:, None]), r"targets has shape \(9, 1\)"),
    "words elsewhere": (lambda: cached(targets=CAME.to("meta")), "targets is on meta and states on cpu"),
    "states in columns": (lambda: cached(STATES[:, None]), r"states has shape \(9, 1, 4\)"),
    "states as whole numbers": (lambda: cached(STATES.long()), "states holds torch.int64"),
    "no theta to try": (lambda: sweep_flatness(MODEL, TEXT, SETTINGS, []), "there is no theta to try"),
    "a theta of nan to try": (lambda: sweep_flatness(MODEL, TEXT, SETTINGS, [1.0, nan]), r"\(theta\) is nan"),
    "states of nan": (lambda: target_probabilities(diverged("layers.0.weight_hh"), TEXT, SETTINGS).loss(0.5),
                      "the loss is nan: the model has diverged, or theta is too large"),
    "a theta that overflows": (lambda: target_probabilities(MODEL, TEXT, replace(SETTINGS, flatness=1e39)).loss(0.5),
                               "the loss is nan: .* or theta is too large"),
})  # fmt: skip
def test_cache(call, line):
    assert_refused(call, line)


def test_a_state_of_nan_is_not_taken_for_one_without_history():
    states = STATES.clone()
    states[3] = nan
    found, _ = cached(states, window=2)
    assert found.isnan().tolist() == [t in (3, 4, 5) for t in range(9)]  # whoever asks with it, or sees it


def written(**changes):
    return generate(**{"model": MODEL, "vocabulary": WORDS, "prompt": ["w1"], "length": 3} | changes)


@table({
    **{f"length {case}": (lambda v=v: written(length=v), "length is") for case, v in COUNTS.items()},
    **{f"temperature {v!r}": (lambda v=v: written(temperature=v), "temperature is") for v in ("1", True, None)},
    **{f"top_k {v!r}": (lambda v=v: written(top_k=v), "top_k is .*whole") for v in (2.5, nan, "2", True)},
    **{f"top_p {v!r}": (lambda v=v: written(top_p=v), "top_p is") for v in (nan, inf, "0.5", True)},
    "a seed for a generator": (lambda: written(generator=5), "generator is 5"),
    **{f"a word's id {v!r}": (lambda v=v: Reader(MODEL).read(v), "a word's id is")
       for v in (13, -1, "a", 1.5, True, None)},
    "one logit": (
        lambda: next_word_distribution(torch.tensor(1.0)), r"logits has shape \(\); it must be \(..., vocab_size"),
    "no logits": (lambda: next_word_distribution(torch.ones(0)), r"logits has shape \(0,\)"),
    "logits in a list": (lambda: next_word_distribution([1.0]), r"logits is \[1.0\]; it must be a tensor"),
    "no word that can come": (lambda: next_word_distribution(torch.full((3,), -inf)), "not all numbers"),
    "a diverged model": (lambda: inspect_tokens(diverged("softmax_bias"), WORDS, ["w1", "w2"], context=["w3"]),
                         "the probability of 'w1' is nan: the model has diverged"),
})  # fmt: skip
def test_generation(call, line):
    assert_refused(call, line)


@table({
    **{f"a split {case}": (lambda text=text: corpus(test=text), f"split 'test'.*{line}")
       for case, (text, line) in TEXTS.items()},
    "no such split": (lambda: corpus().split("all"), "split is 'all'; it must be one of"),
    "one string of words": (lambda: Vocabulary("abc"), r"words is one string, 'abc'; .* use \.split\(\)"),
    "words that are numbers": (lambda: Vocabulary([1, 2]), "one of words is 1; it must be a string"),
    "a string to encode": (lambda: WORDS.encode("w1 w2"), "words is one string, 'w1 w2'"),
    **{f"an id {v!r} to decode": (lambda v=v: WORDS.decode([v]), "a token id is")
       for v in (13, -1, 1.7, "a", nan, True)},
    "a tensor of halves to decode": (lambda: WORDS.decode(torch.tensor([1.5])), "a token id is 1.5"),
    "a name that is none": (lambda: load_corpus(None), "the corpus's name is None; it must be a string"),
})  # fmt: skip
def test_corpora(call, line):
    assert_refused(call, line)


@table({
    **{f"device {v!r}": (lambda v=v: start(SIZES, HOW, v), "device is .*; torch finds here: cpu")
       for v in ("gpu", 5.5, "cuda:99")},
    "another vocabulary": (
        lambda: next(train(start(replace(SIZES, vocab_size=12), HOW), corpus())), "knows 12 word types"),
    "more columns than words": (lambda: next(train(start(SIZES, replace(HOW, batch_size=99)), corpus())), "at most 30"),
    "validation columns": (lambda: next(train(start(SIZES, replace(HOW, eval_batch_size=99)), corpus())), "at most 30"),
    "columns of two words": (
        lambda: next(train(start(SIZES, replace(HOW, batch_size=30)), corpus())), "training needs 3"),
})  # fmt: skip
def test_training(call, line):
    assert_refused(call, line)


def restored(change):
    """A training restored from a state that was tampered with."""
    training = start(SIZES, HOW)
    next(train(training, corpus()))
    saved = training.state_dict()
    change(saved)
    fresh = start(SIZES, HOW)
    fresh.load_state_dict(saved)
    next(train(fresh, corpus()))


@table({
    "no model": (lambda: restored(lambda s: s.pop("model")), "of another model, device or version .KeyError"),
    "a weight of another shape": (
        lambda: restored(lambda s: s["model"].update(softmax_bias=torch.ones(3))), "another model"),
    "a weight too many": (lambda: restored(lambda s: s["model"].update(more=torch.ones(3))), "another model"),
    "a weight of nan": (lambda: restored(lambda s: s["model"]["embedding"].fill_(nan)), "a weight is no longer finite"),
    "a loss of nan": (lambda: restored(lambda s: s["loss_sum"].fill_(nan)), "the loss became nan"),
    **{f"row {v!r}": (lambda v=v: restored(lambda s: s.update(row=v)), "row is|stands at row")
       for v in (-5, 2.5, 10**6)},
    "updates in words": (lambda: restored(lambda s: s.update(updates="a")), "updates is 'a'"),
    "a time of nan": (lambda: restored(lambda s: s.update(seconds=nan)), "seconds is nan"),
    "a state too few": (lambda: restored(lambda s: s["states"].pop()), "hidden states are of another model"),
    "states of another batch": (lambda: restored(lambda s: s.update(states=[[p[:1] for p in q] for q in s["states"]])),
                                "hidden states are of another model or batch_size"),
    "a history of something else": (
        lambda: restored(lambda s: s.update(history=[{"a": 1}])), "another model.*TypeError"),
    "masks of another device": (lambda: restored(lambda s: s.update(mask_generator=torch.zeros(16, dtype=torch.uint8))),
                                "of another model, device or version .RuntimeError.*RNG state"),
    "no optimizer": (lambda: restored(lambda s: s.update(optimizer={})), "not the state of an NTASGD"),
})  # fmt: skip
def test_restoring(call, line):
    assert_refused(call, line)


def test_a_last_gradient_of_nan_ends_the_run_before_the_trigger_or_a_checkpoint_sees_it():
    training = start(SIZES, HOW)
    with pytest.raises(TrainingDiverged, match="a weight is no longer finite in epoch 1"):
        for record in train(training, corpus()):
            assert isinstance(record, StepRecord), "the epoch must not count as finished"
            if record.progress > 0.8:
                training.model.embedding.data[0, 0] = nan  # as a gradient of nan would leave it
    assert training.history == training.optimizer.history == []


def test_a_loss_whose_perplexity_no_number_can_hold_ends_the_run():
    training = start(SIZES, HOW)
    with torch.no_grad():
        training.model.softmax_bias[:] = torch.arange(13.0) * 300
    with pytest.raises(TrainingDiverged, match=r"the loss became \d+ nats a token in epoch 1.*lower lr"):
        list(train(training, corpus()))
    with pytest.raises(ValueError, match="valid_loss is nan"):
        EpochRecord(1, 1, 2.0, nan, False, None, 1.0)


def test_a_file_where_a_folder_of_files_is_due_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(CorpusError, match="looked for ptb.train.txt"):
        load_corpus("ptb", tmp_path / "file")
