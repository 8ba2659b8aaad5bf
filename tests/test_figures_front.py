"""The figures of the first page: what they show is what was recorded, and what its text says of them holds."""

import math
from dataclasses import asdict

import by_heart as script
import numpy as np
import pytest

pytest.importorskip("plotly")

from awdlib.ablation import ROWS  # noqa: E402
from awdlib.corpora import load_corpus  # noqa: E402
from awdlib.explore.figure import figure_tree  # noqa: E402
from awdlib.figures.architecture import PARTS, architecture_figure  # noqa: E402
from awdlib.figures.by_heart import ARMS, TEXTS, by_heart_figure, experiment, runs  # noqa: E402
from awdlib.model import ModelConfig  # noqa: E402
from awdlib.toy_language import toy_language  # noqa: E402
from awdlib.training import TrainConfig  # noqa: E402

EPOCHS = 40


def tree(*arguments):
    return figure_tree(by_heart_figure(*arguments))


def test_the_record_is_of_the_scripts_models_and_sentences():
    record, corpus = experiment(), load_corpus("toy")
    fresh = script.arms(len(corpus.vocabulary))
    for arm, (model, training) in fresh.items():
        kept = record["arms"][arm]
        assert ModelConfig(**kept["model"]) == model and TrainConfig(**kept["training"]) == training
    regularized, bare = (asdict(fresh[arm][0]) for arm in ("with", "without"))
    differing = {name for name in bare if bare[name] != regularized[name]}
    assert differing == {f"dropout_{place}" for place in ("input", "hidden", "output", "embedding", "weight")}
    assert record["sentences"] == script.SENTENCES and record["floor"] == corpus.floor
    cells = [(arm, seed) for seed in (1, 2, 3) for arm in ("with", "without")]
    assert [(run["arm"], run["seed"]) for run in record["runs"]] == cells
    assert all(len(run[split]) == EPOCHS for run in record["runs"] for split in ("train", "valid"))
    assert not record["environment"]["commit"].endswith("+")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_the_best_possible_probabilities_are_the_grammars(split):
    corpus, words = load_corpus("toy"), script.SENTENCES[split].split()
    where = script.place(corpus, split)
    before = corpus.vocabulary.decode(corpus.split(split)[: where.start])
    begin = max(at for at in range(len(before)) if at == 0 or before[at - 2 : at] == ["<eos>", "<eos>"])
    language = toy_language()  # the document's beginning is as good as the text's: it forgets what was before
    for number, word in enumerate(words):
        p = language.next_word_probabilities(before[begin:] + words[:number])[language.index[word]]
        assert math.isclose(-math.log(p), experiment()["least_surprise"][split][number], abs_tol=1e-4)


@pytest.mark.parametrize("text", [*TEXTS])
@pytest.mark.parametrize("epoch", [1, 17, 40])
def test_dots_and_curves_stand_where_the_record_has_them(text, epoch):
    split, data = TEXTS[text], tree(text, epoch)["data"]
    dots = [trace for trace in data if trace["mode"] == "markers" and trace["xaxis"] == "x"]
    for arm, trace in zip(ARMS, dots, strict=True):
        expected = [10 ** np.asarray(trace["x"], dtype=float)]
        recorded = np.exp(-np.array(runs(arm)[0]["words"][split][epoch - 1]))
        assert np.allclose(expected, recorded, rtol=1e-6)
    strokes = [trace for trace in data if trace["mode"] == "lines" and trace["xaxis"] == "x"][-1]
    best = 10 ** np.asarray(strokes["x"], dtype=float)[::3]
    assert np.allclose(best, np.exp(-np.array(experiment()["least_surprise"][split])), rtol=1e-6)
    now = [trace for trace in data if trace["mode"] == "markers" and trace["xaxis"] == "x2"]
    assert [float(trace["y"][0]) for trace in now] == [runs(arm)[0][split][epoch - 1] for arm in ARMS]
    assert all(float(trace["x"][0]) == epoch for trace in now)
    alt = by_heart_figure(text, epoch).layout.meta["alt"]
    assert all(f"{runs(arm)[0][split][epoch - 1]:.1f}" in alt for arm in ARMS)


def test_the_curves_show_every_seed_and_the_chosen_run_up_to_the_epoch():
    lines = [trace for trace in tree("new", 17)["data"] if trace["mode"] == "lines" and trace["xaxis"] == "x2"]
    for number, arm in enumerate(ARMS):
        *pale, strong = (np.asarray(trace["y"], dtype=float) for trace in lines[4 * number : 4 * number + 4])
        assert [curve.tolist() for curve in pale] == [run["valid"] for run in reversed(runs(arm))]
        assert np.isfinite(strong).sum() == 17 and strong[:17].tolist() == runs(arm)[0]["valid"][:17]
    assert [float(y) for y in lines[-1]["y"]] == [experiment()["floor"]["valid"]] * 2


def test_what_the_first_page_says_of_its_figure_holds():
    """The section "What you have just seen" of the introduction."""
    words = {(arm, split): np.array(runs(arm)[0]["words"][split][-1]) for arm in ARMS for split in ("train", "valid")}
    least = {split: np.array(experiment()["least_surprise"][split]) for split in ("train", "valid")}
    read, new = words["without", "train"] < least["train"], words["without", "valid"] > words["with", "valid"]
    assert read.all() and new.all()  # "its dots pass the green strokes", "thrown far to the left"
    floor = experiment()["floor"]
    for run in runs("without"):  # of each seed
        assert run["train"][-1] < floor["train"] and run["valid"][-1] > 1.3 * min(run["valid"])
    for run in runs("with"):
        assert run["train"][-1] > floor["train"]  # "it never learns the text by heart"
        assert min(run["valid"]) == min(run["valid"][-5:]) < min(other["valid"][-1] for other in runs("without"))


@pytest.mark.parametrize(("arguments", "message"), [
    (("old", 3), "text is 'old'; it must be one of new, read in training"),
    (("new", 0), "epoch is 0; it must be at least 1"),
    (("new", 41), "epoch is 41; it must be at most 40"),
])  # fmt: skip
def test_there_is_no_other_text_or_epoch(arguments, message):
    with pytest.raises(ValueError, match=message):
        by_heart_figure(*arguments)
    with pytest.raises(ValueError, match="arm is 'both'; it must be one of without, with"):
        runs("both")


def marked(part):
    """What the figure marks: line segments and dots, without gaps."""
    data = figure_tree(architecture_figure(part))["data"]
    lines, dots = (np.array([trace["x"], trace["y"]], dtype=float).T for trace in data[3:5])
    segments = [two for two in zip(lines, lines[1:], strict=False) if np.isfinite(two).all()]
    return segments, dots[np.isfinite(dots).all(1)]


def columns(places):
    """Of each step, where the others have the same mark: positions relative to the step's column."""
    return [{(round(x - step, 6), round(y, 6)) for x, y in places if abs(x - step) < 0.5} for step in range(5)]


def test_parts_are_marked_where_they_act():
    assert not marked("nothing yet: the plain model")[0]
    _, dots = marked("locked dropout")
    assert len({frozenset(column) for column in columns(dots)}) == 1, "the same features at every step"
    rows = {frozenset(x for x, row in columns(dots)[0] if row == y) for y in {y for _, y in dots}}
    assert len(rows) == 4, "another mask for each place: word vectors, two between the layers, the output"
    segments, _ = marked("weight drop")
    lanes = [
        frozenset(round(float(start[1] - y), 6) for start, _ in segments if round(start[1]) == y) for y in (2, 3, 4)
    ]
    assert all(lanes) and len({*lanes}) == 3, "another mask for each layer"
    assert all(start[1] == end[1] and end[0] > start[0] for start, end in segments), "only from left to right"
    between = [{round(start[1], 6) for start, _ in segments if int(start[0]) == step} for step in range(4)]
    assert between[0] == between[1] == between[2] == between[3], "one mask for the window"
    rows = {round(float(y)) for two in marked("weight tying")[0] for _, y in two}
    assert rows == {1, 5}, "the word vectors and the softmax"
    assert all(abs(start[0] - end[0]) < 1e-9 for start, end in marked("variable windows")[0]), "borders in time"
    assert {round(float(y), 2) for two in marked("AR and TAR")[0] for _, y in two} <= {3.76, 4.0, 4.24}, "the top layer"


def test_each_part_has_the_row_of_the_ablation_that_leaves_it_out():
    rows = {name: ROWS[part.row].label for name, part in PARTS.items() if part.row}
    assert rows == {
        "embedding dropout": "– embedding dropout", "weight drop": "– weight drop", "AR and TAR": "– AR/TAR",
        "variable windows": "– variable windows", "NT-ASGD": "– NT-ASGD",
    }  # fmt: skip


@pytest.mark.parametrize("part", [name for name, part in PARTS.items() if part.row])
def test_the_published_figures_are_the_ablations(part):
    alt = architecture_figure(part).layout.meta["alt"]
    assert f"{ROWS[PARTS[part].row].published['ptb'][1]} without it" in alt and "58.8 with it" in alt


def test_there_is_no_other_part():
    with pytest.raises(ValueError, match="part is 'attention'; it must be one of nothing yet: the plain model, embed"):
        architecture_figure("attention")
