"""The record of the experiment on AR and TAR: of today's script and corpus, and consistent in itself."""

import json
import math

import pytest
import torch
from test_records import read, script

from awdlib.corpora import load_corpus
from awdlib.figures.penalty_runs import by_seed
from awdlib.presets import PRESETS
from awdlib.training import start

RECORD, EXPERIMENT, CORPUS = read("activation-regularization"), script("activation_regularization"), load_corpus("toy")


def test_it_is_whole_and_of_todays_corpus_and_settings():
    epochs = {setting: training["epochs"] for setting, training in RECORD["training"].items()}
    plan = EXPERIMENT.plan(epochs)
    assert json.loads(json.dumps(plan)) == {name: RECORD[name] for name in plan}
    assert RECORD["environment"]["commit"] and not RECORD["environment"]["commit"].endswith("+")
    cells = [(run["setting"], run["arm"], run["seed"]) for run in RECORD["runs"]]
    due = [(setting, arm, seed) for setting in RECORD["seeds"] for seed in RECORD["seeds"][setting]
           for arm in RECORD["arms"]]  # fmt: skip
    assert cells == due and min(map(len, RECORD["seeds"].values())) >= 3
    for run in RECORD["runs"]:
        assert len(run["valid"]) == len(run["train"]) == epochs[run["setting"]]
        assert run["best_epoch"] == run["valid"].index(min(run["valid"])) + 1
        assert len(run["power"]) == RECORD["piece"] and len(run["correlation"]) == EXPERIMENT.LAGS + 1


def test_its_weights_are_the_papers_and_its_seeds_others_than_that_of_the_pairs():
    paper = PRESETS["awd-lstm-ptb"].training
    assert RECORD["arms"]["both"] == [paper.ar_weight, paper.tar_weight]
    pairs = read("activation-penalties")
    assert all(pairs["training"]["seed"] not in seeds for seeds in RECORD["seeds"].values())
    assert RECORD["models"]["moderate"] == pairs["model"]


@pytest.mark.parametrize("run", RECORD["runs"], ids=lambda run: f"{run['setting']}-{run['arm']}-{run['seed']}")
def test_what_each_run_measured_hangs_together(run):
    # Parseval; the pieces leave out the text's last words
    assert sum(run["power"]) / len(run["power"]) == pytest.approx(run["mean_square"], rel=0.02)
    assert sum(run["histogram"]) == pytest.approx(1, abs=1e-4)
    centred = run["mean_square"] - run["square_of_mean"]
    first = (run["mean_square"] - run["mean_square_step"] / 2 - run["square_of_mean"]) / centred
    assert run["correlation"][1] == pytest.approx(first, abs=0.01), "a step's square is twice the size less the product"


def test_a_look_at_a_model_is_what_its_names_say():
    """On an untrained model, in other words."""
    config = EXPERIMENT.model_config("moderate", len(CORPUS.vocabulary))
    model = start(config, EXPERIMENT.training_config("moderate", "none", 1)).model
    text = CORPUS.valid[:257]
    look = EXPERIMENT.look(model, text)
    with torch.no_grad():
        output = model.eval()(text[:, None])
    h = output.raw_output[:, 0].double()
    scores = output.logits[:, 0].double() - model.softmax_bias
    assert look["mean_square"] == pytest.approx((h**2).mean().item())
    assert look["mean_square_step"] == pytest.approx(((h[1:] - h[:-1]) ** 2).mean().item())
    assert look["score_spread"] == pytest.approx(scores.var(1).sqrt().mean().item(), rel=1e-5)
    assert look["softmax_rms"] == pytest.approx(model.embedding.norm().item() / math.sqrt(model.embedding.numel()))
    assert look["power"][0] == pytest.approx((h[:256].view(4, 64, -1).mean(1) ** 2).mean().item() * 64)


def test_the_pair_with_both_weights_at_4_is_clearly_worse_than_that_with_none():
    runs = {(run["alpha"], run["beta"]): run["test_perplexity"] for run in read("activation-penalties")["runs"]}
    assert runs[4.0, 4.0] > 1.3 * runs[0.0, 0.0]


def test_the_chapters_words_on_the_experiment_hold():
    """Prose carries no figures, but it does say which arms win, and in how many seeds."""
    for arm in ("AR", "TAR", "both"):
        gap = by_seed(RECORD, "plain", arm, "test") - by_seed(RECORD, "plain", "none", "test")
        assert (gap < 0).all() and gap.mean() < -2 * gap.std(ddof=1) / math.sqrt(len(gap))
        fit = by_seed(RECORD, "plain", arm, "train")[:, -1]
        assert (fit > by_seed(RECORD, "plain", "none", "train")[:, -1]).all(), "higher on the training text"
    moderate = [run for run in RECORD["runs"] if run["setting"] == "moderate"]
    last = RECORD["training"]["moderate"]["epochs"]
    assert min(run["best_epoch"] for run in moderate) > last - 3, "all are at their best in the last three epochs"
    base = by_seed(RECORD, "moderate", "none", "test")
    gaps = {arm: by_seed(RECORD, "moderate", arm, "test") - base for arm in ("AR", "TAR", "both")}
    assert [(gap < 0).sum().item() for gap in gaps.values()] == [2, 3, 2] and len(base) == 3, "seeds that end lower"
    assert all(gap.mean() < 0 for gap in gaps.values())
    assert gaps["both"].mean() > max(gaps["AR"].mean(), gaps["TAR"].mean()), "they do not add up"


def test_what_the_pictures_descriptions_say_of_the_record_holds():
    """The alternative texts of the spectrum and of the states, which no cell asserts in full."""
    power = {arm: by_seed(RECORD, "moderate", arm, "power").mean(0) for arm in RECORD["arms"]}
    ratio = {arm: power[arm] / power["none"] for arm in ("AR", "TAR", "both")}
    slow, quick = slice(1, 3), slice(-8, None)
    assert 0.75 < ratio["TAR"][slow].mean() < 1 < ratio["TAR"][0] and 0.2 < ratio["TAR"][quick].mean() < 1 / 3
    assert ratio["AR"].max() < 0.5 and ratio["AR"][1:9].mean() < min(ratio["AR"][9:].mean(), ratio["AR"][quick].mean())
    assert (ratio["both"][2:] < ratio["AR"][2:]).all() and (ratio["both"][1:] < ratio["TAR"][1:]).all()
    assert ratio["both"][1] > ratio["AR"][1], "lowest at all but the slowest"
    near = {arm: by_seed(RECORD, "moderate", arm, "correlation").mean(0)[1:] for arm in RECORD["arms"]}
    for arm in ("none", "both"):
        assert (near["AR"] < near[arm]).all() and (near[arm] < near["TAR"]).all()
    ends = {arm: by_seed(RECORD, "moderate", arm, "histogram").mean(0)[[0, -1]].sum() for arm in RECORD["arms"]}
    assert ends["both"] < ends["AR"] < ends["none"] / 5 and ends["none"] / 5 < ends["TAR"] < ends["none"]


def test_the_recorded_pairs_look_as_the_explorable_says():
    runs = {(run["alpha"], run["beta"]): run for run in read("activation-penalties")["runs"]}
    size = {weights: run["mean_square"] for weights, run in runs.items()}
    restless = {weights: run["mean_square_step"] / run["mean_square"] for weights, run in runs.items()}
    assert size[4.0, 0.0] < size[0.0, 4.0] < size[0.0, 0.0], "with alpha 4 colours pale"
    assert restless[0.0, 4.0] < restless[0.0, 0.0] / 2, "with beta 4 they run on"


def test_the_three_examples_of_restlessness():
    torch.manual_seed(3)
    draws, sign = torch.randn(20_000), torch.tensor([1.0, -1.0]).repeat(50)
    for trace, due in ((torch.ones(100), 0), (draws, 2), (sign, 4)):
        assert (trace.diff().square().mean() / trace.square().mean()).item() == pytest.approx(due, abs=0.06)
