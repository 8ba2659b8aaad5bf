"""The chapter on the ablation: its figures against other computations, and its sentences against the records."""

import itertools
import json
import math
import re
import shlex
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("plotly")

from awdlib import ablation_table, results  # noqa: E402
from awdlib.ablation import ROWS  # noqa: E402
from awdlib.bundled import bundled  # noqa: E402
from awdlib.cli import build_parser  # noqa: E402
from awdlib.figures import forest, leave_one_out, paired_runs, power, two_runs  # noqa: E402
from awdlib.figures.leave_one_out import dropout_square, shrunken_error, square_figure  # noqa: E402
from awdlib.figures.paired_runs import LEFT_OUT, SEEDS, corpora, gap, gap_by_epoch, gap_figure, paper_gap  # noqa: E402
from awdlib.model import LanguageModel, ModelConfig  # noqa: E402
from awdlib.presets import PRESETS  # noqa: E402
from awdlib.runs import RECORD  # noqa: E402
from awdlib.training import start  # noqa: E402
from awdlib.training_config import TrainConfig  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
PRESET_OF = {"ptb-100k": "ptb-100k", "toy": "toy"}


def alt(figure):
    return figure.layout.meta["alt"]


def numbers(text):
    return [float(found.replace("−", "-")) for found in re.findall(r"[+−]?\d+\.\d+", text)]


def page():
    notebook = json.loads((ROOT / "book" / "ablation.ipynb").read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"]], notebook


# ---- two dropouts ----


def test_the_error_of_a_shrunken_coefficient_is_that_of_many_draws():
    rng = np.random.default_rng(1)
    true = rng.normal(size=400_000)
    seen = true + rng.normal(size=400_000)
    for penalty in (0.0, 0.4, 1.0, 3.0):
        assert ((seen / (1 + penalty) - true) ** 2).mean() == pytest.approx(shrunken_error(penalty), rel=0.01)
    assert min(range(300), key=lambda penalty: shrunken_error(penalty / 100)) == 100


@pytest.mark.parametrize(("p", "q", "shared"), [(0.5, 0.5, 1.0), (0.3, 0.6, 0.5), (0.2, 0.0, 0.0)])
def test_the_square_is_that_of_features_with_real_masks(p, q, shared):
    """Each feature's penalty is the variance of the product of its masks, counted over all outcomes."""

    def error(p, q):
        found = 0.0
        for share, ps in ((shared, (p, q)), ((1 - shared) / 2, (p,)), ((1 - shared) / 2, (q,))):
            second = 0.0
            for zeros in itertools.product((True, False), repeat=len(ps)):
                chance = math.prod(one if zero else 1 - one for zero, one in zip(zeros, ps, strict=True))
                mask = math.prod(0 if zero else 1 / (1 - one) for zero, one in zip(zeros, ps, strict=True))
                second += chance * mask**2
            found += share * shrunken_error(second - 1)
        return found

    assert dropout_square(p, q, shared) == pytest.approx((error(0, 0), error(p, 0), error(0, q), error(p, q)))


def test_the_identities_of_the_chapter_hold_for_any_square():
    rng = np.random.default_rng(2)
    for errors in rng.normal(size=(20, 4)):
        square = leave_one_out.Square(*errors)
        one, other = square.alone
        first, second = square.left_out
        assert square.whole == pytest.approx(first + second + square.overlap)
        assert square.whole == pytest.approx(one + other - square.overlap)
        assert square.whole == pytest.approx(one + second) and square.whole == pytest.approx(other + first)
        assert square.overlap == pytest.approx(other - second)
        shapley = (one + first) / 2 + (other + second) / 2
        assert shapley == pytest.approx(square.whole), "exercise 1: the average over both orders adds up"


def test_the_picture_of_the_square_has_its_errors_and_says_them():
    for p, q, shared in itertools.product((0.0, 0.3, 0.7), (0.0, 0.5), (0.0, 0.5, 1.0)):
        square, figure = dropout_square(p, q, shared), square_figure(p, q, shared)
        gap_, first, second, ends, hollow = figure.data
        assert list(first.y) == [square.neither, square.first, square.both]
        assert list(second.y) == [square.neither, square.second, square.both]
        assert list(ends.y) == [square.neither, square.both]
        assert hollow.y[0] == pytest.approx(square.neither - sum(square.alone))
        assert abs(gap_.y[1] - gap_.y[0]) == pytest.approx(abs(square.overlap))
        said = numbers(alt(figure))
        assert said[:4] == pytest.approx(square, abs=0.006)
        assert said[4:] == pytest.approx(
            (*square.left_out, -square.alone[0], -square.alone[1], -square.whole, square.overlap), abs=0.006
        )
        low, high = figure.layout.yaxis.range
        assert low < min(hollow.y[0], *square) and max(square) < high


def test_what_the_chapter_tells_to_look_for_is_there():
    for p, q in itertools.product((0.1, 0.3, 0.5, 0.7), repeat=2):
        assert dropout_square(p, q, 0.0).overlap == pytest.approx(0)
    both = dropout_square(0.5, 0.5, 1.0)
    assert max(both.left_out) < 0 < both.whole, "both look harmful"
    mixed = dropout_square(0.5, 0.1, 1.0)
    assert mixed.left_out[0] > 0 > mixed.left_out[1], "one looks useful"
    worth = [dropout_square(0.5, q / 10, 1.0).left_out[0] for q in range(8)]
    assert worth == sorted(worth, reverse=True), "the weaker the companion, the more the first is worth"


@pytest.mark.parametrize(("arguments", "says"), [
    ((1.0, 0.5, 0.5), "p is 1.0"), ((0.5, -0.1, 0.5), "q is -0.1"), ((0.5, 0.5, 1.5), "shared is 1.5"),
])  # fmt: skip
def test_impossible_squares_are_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        square_figure(*arguments)
    with pytest.raises(ValueError, match="penalty is -1"):
        shrunken_error(-1)


# ---- the records ----


def test_these_grids_are_there_and_each_is_whole():
    """No silent skip: a corpus is offered when its folder is there, and then all of its 27 runs must be."""
    there = [name for name, folder in paired_runs.GRIDS.items() if (ROOT / "data" / folder).is_dir()]
    assert corpora() == there and there[0] == "ptb-100k"
    for corpus, row, seed in itertools.product(corpora(), ROWS, SEEDS):
        record, base = paired_runs.recorded(corpus, row, seed), PRESETS[PRESET_OF[corpus]]
        preset = ROWS[row].vary(base)
        assert record["status"] == "finished" and record["corpus"]["name"] == corpus
        training = TrainConfig(**record["training"])
        assert training.seed == seed and training.epochs == preset.training.epochs
        vocabulary = record["model"]["vocab_size"]
        assert ModelConfig(**record["model"] | {"vocab_size": base.model.vocab_size}) == preset.model, vocabulary
    cells, notebook = page()
    shown = "".join("".join(output.get("text", "")) for cell in notebook["cells"] for output in cell.get("outputs", []))
    for corpus in corpora():
        assert paired_runs.grid_facts(corpus) in shown, "run make refresh: the chapter was stored with other corpora"
    (choices,) = [cell for cell in cells if "gap_figure,\n" in cell and "explorable(" in cell]
    assert "corpus=choice(corpora()" in choices, "the reader chooses the corpus"


@pytest.mark.parametrize("corpus", corpora())
def test_the_facts_of_a_grid_are_those_of_its_records_and_its_text(corpus):
    preset = PRESETS[PRESET_OF[corpus]]
    record = paired_runs.recorded(corpus, "full", 2)
    vocabulary = record["model"]["vocab_size"]
    with torch.device("meta"):
        model = LanguageModel(ModelConfig(**record["model"]))
    said = paired_runs.grid_facts(corpus)
    words = {"ptb-100k": 100_009, "toy": len((ROOT / "data" / "toy" / "train.txt").read_text().split("\n")) - 1}
    if corpus == "toy":
        words["toy"] += len((ROOT / "data" / "toy" / "train.txt").read_text().split())
    assert f"{corpus}: {words[corpus]:,} words to train on, V = {vocabulary:,}," in said
    assert f"{sum(weight.numel() for weight in model.parameters()):,} parameters" in said
    assert f"embedding {preset.model.embedding_size}, hidden {preset.model.hidden_size}:" in said
    assert f"{preset.training.epochs} epochs, batch {preset.training.batch_size}:" in said
    assert "seeds   1, 2, 3: 27 runs" in said
    command = said.partition("command python -m awdlib ")[2].replace("\\\n", " ")
    build_parser().parse_args(shlex.split(command))
    with pytest.raises(ValueError, match="no grid of 'ptb'"):
        paired_runs.grid_facts("ptb")


@pytest.mark.parametrize("corpus", corpora())
def test_the_last_third_of_every_curve_is_in_view(corpus):
    for row, seed in itertools.product(LEFT_OUT, SEEDS):
        low, high = gap_figure(row, seed, 0, corpus).layout.yaxis.range
        curve = gap_by_epoch(row, corpus, seed)
        assert all(low < value < high for value in curve[-len(curve) // 3 :]), (row, seed)
        assert sum(low < value < high for value in curve) > 0.8 * len(curve)
    ticks = gap_figure("no-ar-tar", 1, 0, corpus).layout.yaxis
    assert [float(text.replace("−", "-")) for text in ticks.ticktext] == list(ticks.tickvals)


@pytest.mark.parametrize("corpus", corpora())
def test_gaps_are_those_of_the_table_and_of_the_results(corpus):
    table = ablation_table.collect(ROOT / "data" / paired_runs.GRIDS[corpus])
    for line in table.lines[1:]:
        found = gap(line.row, corpus)
        ours = [math.exp(paired_runs._loss(corpus, line.row, seed)) for seed in SEEDS]
        assert statistics.fmean(ours) == pytest.approx(line.test)
        for seed in SEEDS:
            ratio = math.exp(found.by_seed[seed]) * math.exp(paired_runs._loss(corpus, "full", seed))
            record = json.loads((ROOT / "data" / paired_runs.GRIDS[corpus] / f"{line.row}-{seed}" / RECORD).read_text())
            assert ratio == pytest.approx(record["final_perplexity"]["test"])
        assert math.copysign(1, line.test_difference) == math.copysign(1, found.mean)
    moved = gap("no-ar-tar", corpus, partner=1)
    losses = {seed: paired_runs._loss(corpus, "full", seed) for seed in SEEDS}
    straight = gap("no-ar-tar", corpus)
    for seed, other in ((1, 2), (2, 3), (3, 1)):
        assert moved.by_seed[seed] == pytest.approx(straight.by_seed[seed] + losses[seed] - losses[other])


def test_the_papers_gaps_are_logarithms_of_its_table():
    assert paper_gap("no-weight-drop", "ptb") == pytest.approx(math.log(68.9 / 58.8))
    assert paper_gap("no-weight-drop", "wikitext-2") == pytest.approx(math.log(74.9 / 66.0))
    assert paper_gap("full-sized-embedding", "ptb", "valid") == pytest.approx(math.log(68.0 / 60.7))


def test_the_curves_are_differences_of_recorded_losses():
    for row, seed, partner in (("no-ar-tar", 2, 0), ("no-ntasgd", 3, 1), ("fine-tuned", 1, 0)):
        figure = gap_figure(row, seed, partner)
        lines = [trace for trace in figure.data if trace.mode == "lines" and trace.line.width == 3]
        ours = paired_runs.recorded("ptb-100k", row, seed)["epochs"]
        full = paired_runs.recorded("ptb-100k", "full", seed % 3 + 1 if partner else seed)["epochs"]
        low = min(epoch["valid_perplexity"] for epoch in full)
        base = [low] * len(ours) if row == "fine-tuned" else [epoch["valid_perplexity"] for epoch in full]
        wanted = [math.log(a["valid_perplexity"] / b) for a, b in zip(ours, base, strict=True)]
        assert list(lines[0].y) == pytest.approx(wanted)
        assert f"ends at {wanted[-1]:+.3f} nats".replace("-", "−") in alt(figure)
        said = numbers(alt(figure))
        assert said[1:3] == pytest.approx((min(wanted), max(wanted)), abs=6e-4)


def test_the_ring_is_where_the_later_of_both_began_to_average():
    def began(row, seed):
        return paired_runs.recorded("ptb-100k", row, seed)["averaging"]["begun_after_epoch"]

    def ring(figure):
        return [trace for trace in figure.data if trace.mode == "markers"][0]

    for seed in SEEDS:
        assert ring(gap_figure("no-ar-tar", seed, 0)).x[0] == max(began("no-ar-tar", seed), began("full", seed))
    assert ring(gap_figure("no-ar-tar", 3, 1)).x[0] == max(began("no-ar-tar", 3), began("full", 1))
    assert ring(gap_figure("no-ntasgd", 2, 0)).x[0] == began("full", 2)
    assert not list(ring(gap_figure("fine-tuned", 1, 0)).x or ())


@pytest.mark.parametrize(("call", "says"), [
    (lambda: gap_figure("full", 1, 0), "row is 'full'"), (lambda: gap_figure("no-ar-tar", 1, 2), "partner is 2"),
    (lambda: gap_figure("no-ar-tar", 4, 0), "seed"), (lambda: gap_figure("no-ar-tar", 1, 0, "ptb"), "no grid of 'ptb'"),
    (lambda: paired_runs.recorded("ptb-100k", "gru", 1), "no row 'gru'"), (lambda: forest.forest_figure([]), "corpora"),
    (lambda: power.power_figure(3, 0.008, 2.0), "scale is 2.0"), (lambda: power.power(0.1, 0.0, 3), "spread is 0.0"),
    (lambda: power.power(0.1, 0.1, 11), "seeds"), (lambda: two_runs.two_runs_figure([1.0], [], "x"), "1 epochs of one"),
    (lambda: two_runs.gap_lines_figure([[0.1], [0.1, 0.2]], "x"), r"\[1, 2\] epochs"),
])  # fmt: skip
def test_wrong_arguments_get_one_line(call, says):
    with pytest.raises(ValueError, match=says) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_a_second_grid_is_read_as_ablate_leaves_it(tmp_path, monkeypatch):
    """A stand-in for the toy language's grid: the records of the other corpus, with other losses."""
    for row, seed in itertools.product(ROWS, SEEDS):
        record = json.loads(bundled(f"runs/ptb-100k/{row}-{seed}/{RECORD}").read_text())
        record["final_perplexity"]["test"] = 20.0 + seed + (0.5 if row == "full" else 2.0)
        record["corpus"] = {"name": "toy", "floor": {}}
        for epoch in record["epochs"]:
            epoch["valid_loss"] -= 1.0
        path = tmp_path / "runs" / "ablation-toy" / f"{row}-{seed}" / RECORD
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
    (tmp_path / "runs" / "ptb-100k").symlink_to(ROOT / "data" / "runs" / "ptb-100k")
    monkeypatch.setattr(paired_runs, "bundled", lambda name: tmp_path / name)
    paired_runs.recorded.cache_clear()
    try:
        assert corpora() == ["ptb-100k", "toy"]
        found = gap("no-weight-drop", "toy")
        assert found.by_seed == pytest.approx({s: math.log((22 + s) / (20.5 + s)) for s in SEEDS})
        assert "toy, by epoch" in alt(gap_figure("no-weight-drop", 2, 0, "toy"))
        figure = forest.forest_figure(corpora())
        assert f"toy {found.mean:+.3f}" in figure.get_label() and "■ toy" in figure.axes[0].get_title(loc="left")
        squares = [line for line in figure.axes[0].lines if line.get_marker() == "s"]
        assert len(squares) == len(LEFT_OUT)
    finally:
        paired_runs.recorded.cache_clear()


@pytest.mark.parametrize("corpus", corpora())
def test_the_forest_has_means_intervals_and_the_papers_two_corpora(corpus):
    figure = forest.forest_figure([corpus])
    lines = figure.axes[0].lines
    dots = [line for line in lines if line.get_marker() == forest.MARKS[corpus][1]]
    bars = [line for line in lines if line.get_linewidth() == 7]
    for row, dot, bar in zip(LEFT_OUT, dots, bars, strict=True):
        found = gap(row, corpus)
        assert dot.get_xdata()[0] == found.mean and tuple(bar.get_xdata()) == found.interval
        ours = f"{ROWS[row].label} {corpus} {found.mean:+.3f} ({found.interval[0]:+.3f} to {found.interval[1]:+.3f})"
        assert ours in figure.get_label()
    for paper, (mark, _) in forest.PAPERS.items():
        drawn = [line.get_xdata()[0] for line in lines if line.get_marker() == mark]
        assert drawn == [paper_gap(row, paper) for row in LEFT_OUT]


# ---- power ----


@pytest.mark.parametrize(("effect", "seeds"), [(0.0, 3), (1.0, 3), (2.5, 3), (1.0, 8), (4.0, 2)])
def test_power_is_the_share_of_simulated_experiments(effect, seeds):
    draws = np.random.default_rng(4).normal(effect, 1.0, size=(200_000, seeds))
    low = draws.mean(1) - results.T_QUANTILES[seeds - 1] * draws.std(1, ddof=1) / math.sqrt(seeds)
    assert power.power(effect, 1.0, seeds) == pytest.approx((low > 0).mean(), abs=0.004)
    assert power.power(-effect, 1.0, seeds) == power.power(effect, 1.0, seeds)


def test_the_bars_are_the_powers_of_the_papers_effects():
    figure = power.power_figure(5, 0.008, 0.25)
    (bars,) = figure.data
    for name, chance, text in zip(bars.y, bars.x, bars.text, strict=True):
        (row,) = [row for row in LEFT_OUT if name.startswith(f"{ROWS[row].label}<br>")]
        effect = 0.25 * paper_gap(row, "ptb")
        assert chance == power.power(effect, 0.008, 5) and text == f"{chance:.0%}"
        assert name.endswith(f"{effect:+.3f}".replace("-", "−"))
        assert f"{LEFT_OUT[row]} {chance:.0%}" in alt(figure)
    assert f"{sum(chance >= 0.8 for chance in bars.x)} of 8 reach 80%" in alt(figure)


# ---- two runs ----


def test_two_runs_show_both_curves_and_their_difference():
    full, other = [5.0, 4.0, 3.5], [4.8, 4.1, 3.9]
    top, low = two_runs.two_runs_figure(full, other, "without AR/TAR", floor=2.7).axes
    curves = [list(np.log(line.get_ydata())) for line in top.lines if len(line.get_ydata()) == 3]
    assert curves == [pytest.approx(full), pytest.approx(other)]
    assert [bar.get_height() for bar in low.patches] == pytest.approx([-0.2, 0.1, 0.4])
    assert len({bar.get_facecolor() for bar in low.patches}) == 2
    assert top.get_ylim()[0] < math.exp(2.7), "the floor is in view"
    names = {label.get_text(): label.xy[1] for label in top.texts if hasattr(label, "xy")}
    assert {*names} == {"full", "without\nAR/TAR"} and max(names.values()) < top.get_ylim()[1]


@pytest.mark.parametrize("last", [(4.1, 4.1), (4.0, 4.3), (4.4, 4.35)])
def test_both_names_stay_inside_where_curves_end_at_their_highest(last):
    top, _ = two_runs.two_runs_figure([4.0, last[0]], [3.9, last[1]], "without it").axes
    heights = [label.xy[1] for label in top.texts if hasattr(label, "xy")]
    assert len(heights) == 2 and max(heights) < top.get_ylim()[1] and max(heights) > 1.6 * min(heights)


def test_a_sign_is_for_good_where_it_changes_no_more():
    assert two_runs.sign_since([-1, 1, -1, 1, 1]) == 4 and two_runs.sign_since([1, 1]) == 1
    assert two_runs.sign_since([1, -1]) == 2
    label = two_runs.gap_lines_figure([[-1.0, 1.0], [-0.5, 0.25]], "without it").get_label()
    assert "from −1.00 nats to +1.00" in label and "epoch 2, 2 on" in label


# ---- the chapter's sentences ----


def verdict(row):
    found, papers = gap(row, "ptb-100k"), [paper_gap(row, corpus) for corpus in ("ptb", "wikitext-2")]
    low, high = found.interval
    return low < 0 < high, low < max(papers) and min(papers) < high


def mean_gap(row):
    return gap(row, "ptb-100k").mean


def test_what_carries_over_and_what_does_not_is_what_the_chapter_says():
    for row in ("no-ntasgd", "no-embedding-dropout", "no-ar-tar", "fine-tuned"):
        assert verdict(row) == (False, True)
        assert mean_gap(row) * paper_gap(row, "ptb") > 0, "with the paper's sign"
    for row in ("no-weight-drop", "no-weight-decay", "full-sized-embedding"):
        assert verdict(row) == (True, False)
        assert gap(row, "ptb-100k").interval[1] < 0.5 * min(paper_gap(row, corpus) for corpus in ("ptb", "wikitext-2"))
    assert verdict("no-variable-windows") == (True, True)
    for row in ("no-ar-tar", "fine-tuned"):
        ratio = paper_gap(row, "ptb") / paper_gap(row, "wikitext-2")
        assert max(ratio, 1 / ratio) > 2
    for row in ("no-ntasgd", "no-embedding-dropout"):
        assert 0.5 < mean_gap(row) / paper_gap(row, "ptb") < 0.65
        assert abs(mean_gap(row) - paper_gap(row, "wikitext-2")) < 0.01
    assert 0.8 < mean_gap("no-ar-tar") / paper_gap("no-ar-tar", "ptb") < 1.25, "in nats the same"
    points = {one.arm: one for one in results.differences()}[ROWS["no-ar-tar"].label]
    assert points.mean > 2 * points.published, "in points twice the paper's"
    cells, _ = page()
    (summary,) = [cell.partition("## Summary")[2] for cell in cells if "## Summary" in cell]
    assert "NT-ASGD, embedding dropout, AR/TAR and fine-tuning carry over" in summary


def test_one_full_model_is_what_pushes_all_eight_rows_of_the_toy_language_down():
    """The stand-in is the same seed with an average as late as the others', and nothing else is changed."""
    grid = {row: gap(row, "toy") for row in LEFT_OUT}
    for row, found in grid.items():
        assert found.mean < 0 < found.interval[1] and min(found.by_seed, key=found.by_seed.get) == 1
        assert (found.interval[1] < paper_gap(row, "wikitext-2")) == (row == "no-weight-drop")
    assert 0.05 < math.sqrt(statistics.fmean(found.spread**2 for found in grid.values())) < 0.065, "near 0.06"
    later = json.loads(bundled(f"runs/ablation-toy/later-average-1/{RECORD}").read_text())
    full = {seed: paired_runs.recorded("toy", "full", seed) for seed in SEEDS}
    changed = {name: value for name, value in later["training"].items() if value != full[1]["training"][name]}
    assert changed == {"patience": 39, "average_from": 35} and later["model"] == full[1]["model"]
    assert later["status"] == "finished" and not later["environment"]["commit"].endswith("+")
    began = {seed: record["averaging"]["begun_after_epoch"] for seed, record in full.items()}
    assert began[1] < 20 < began[2] <= later["averaging"]["begun_after_epoch"] <= began[3]
    tests = {seed: record["final_perplexity"]["test"] for seed, record in full.items()}
    assert tests[2] < later["final_perplexity"]["test"] < tests[3] < tests[1] - 2
    both = [epoch["valid_loss"] for epoch in later["epochs"]], [epoch["valid_loss"] for epoch in full[1]["epochs"]]
    assert both[0][: began[1]] == both[1][: began[1]], "until the trigger they are one run"


def test_embedding_dropout_and_the_small_embedding_cost_at_first_on_both_corpora():
    for corpus, seed in itertools.product(("ptb-100k", "toy"), SEEDS):
        for row in ("no-embedding-dropout", "full-sized-embedding"):
            assert statistics.fmean(gap_by_epoch(row, corpus, seed)[1:11]) < 0
    assert max(statistics.fmean(gap_by_epoch("no-ar-tar", "toy", seed)[1:11]) for seed in SEEDS) > 0
    weights = [PRESETS[name].training for name in ("toy", "ptb-100k")]
    assert weights[0].ar_weight < weights[1].ar_weight and weights[0].tar_weight < weights[1].tar_weight


def test_most_runs_were_at_their_best_at_the_end_and_each_row_has_one_seed_a_run():
    runs = [paired_runs.recorded("ptb-100k", row, seed) for row in ROWS for seed in SEEDS]
    last = [run["best_epoch"] == len(run["epochs"]) for run in runs]
    assert sum(last) > 0.8 * len(last)
    for row in ROWS:
        trained = [paired_runs.recorded("ptb-100k", row, seed)["training"] for seed in SEEDS]
        assert [one.pop("seed") for one in map(dict, trained)] == [*SEEDS]
        assert len({json.dumps({k: v for k, v in one.items() if k != "seed"}) for one in trained}) == 1


def test_the_model_is_a_fortieth_of_the_papers_and_the_text_a_tenth():
    with torch.device("meta"):
        paper = sum(weight.numel() for weight in LanguageModel(PRESETS["awd-lstm-ptb"].model).parameters())
    assert 35 < paper / paired_runs.recorded("ptb-100k", "full", 1)["parameters"] < 42


def test_fixed_windows_start_from_the_same_weights_and_the_wide_embedding_cannot():
    base = PRESETS["ptb-100k"]
    starts = {}
    for row in ("full", "no-variable-windows", "full-sized-embedding"):
        preset = ROWS[row].vary(base)
        training = start(preset.model, TrainConfig(**vars(preset.training) | {"seed": 1}), torch.device("cpu"))
        starts[row] = list(training.model.parameters())
    pairs = zip(starts["full"], starts["no-variable-windows"], strict=True)
    assert all(one.equal(other) for one, other in pairs)
    assert starts["full"][0].shape != starts["full-sized-embedding"][0].shape


def test_averaging_removes_the_ups_and_downs_of_the_full_model():
    curves = [[epoch["valid_loss"] for epoch in paired_runs.recorded("ptb-100k", "full", s)["epochs"]] for s in SEEDS]
    spreads = [statistics.stdev(losses) for losses in zip(*curves, strict=True)]
    assert spreads[-1] < statistics.fmean(spreads[1:11]) / 5


def test_the_wide_embedding_is_the_row_whose_seeds_differ_most_and_blocks_put_it_between_the_two_rulers():
    spreads = {row: gap(row, "ptb-100k").spread for row in LEFT_OUT}
    assert max(spreads, key=spreads.get) == "full-sized-embedding"
    assert 0.007 < math.sqrt(statistics.fmean(s**2 for s in spreads.values())) < 0.009, "near 0.008 nats"
    table = np.array([[paired_runs._loss("ptb-100k", row, seed) for seed in SEEDS] for row in ROWS])
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    error = math.sqrt(2 / 3 * (rest**2).sum() / 16)
    size = {row: abs(mean_gap(row)) / error for row in LEFT_OUT}
    assert 2.120 < size["full-sized-embedding"] < 3.146
    assert all(size[row] > 3.146 for row in ("no-ntasgd", "no-embedding-dropout", "no-ar-tar", "fine-tuned"))
    assert all(size[row] < 2.120 for row in ("no-weight-drop", "no-weight-decay", "no-variable-windows"))


@pytest.mark.parametrize(("quantile", "freedom", "tail"), [(2.120, 16, 0.025), (3.146, 16, 0.05 / 16),
                                                           (2.776, 4, 0.025), (4.303, 2, 0.025)])  # fmt: skip
def test_the_quantiles_that_the_chapter_types_are_students(quantile, freedom, tail):
    draws = np.linspace(quantile, 500, 2_000_001)
    density = (1 + draws**2 / freedom) ** (-(freedom + 1) / 2) / math.sqrt(freedom * math.pi)
    density *= math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    area = ((density[1:] + density[:-1]) / 2).sum() * (draws[1] - draws[0])
    assert area == pytest.approx(tail, rel=0.002)


def test_power_is_what_the_chapter_says_of_weight_drop_and_of_ar_tar():
    assert power.power(paper_gap("no-weight-drop", "ptb"), 0.008, 3) > 0.99
    assert power.power(paper_gap("no-ar-tar", "ptb"), 0.008, 3) == pytest.approx(0.75, abs=0.04)


def test_embedding_dropout_and_ar_tar_help_early_and_hurt_late_and_the_wide_embedding_loses_most_of_its_lead():
    for row in ("no-embedding-dropout", "no-ar-tar", "full-sized-embedding"):
        for seed in SEEDS:
            found = gap_by_epoch(row, "ptb-100k", seed)
            assert statistics.fmean(found[1:11]) < 0 and (found[-1] > 0) == (row != "full-sized-embedding")
    early, late = (
        statistics.fmean(
            statistics.fmean(gap_by_epoch("full-sized-embedding", "ptb-100k", seed)[part]) for seed in SEEDS
        )
        for part in (slice(1, 11), slice(29, 32))
    )
    assert late > 0.5 * early


def test_the_commands_of_the_last_exercise_are_taken_by_the_parser():
    cells, _ = page()
    (block,) = re.findall(r"```\n(rows=.*?)```", "\n".join(cells), re.S)
    names, found = {}, 0
    for line in block.strip().splitlines():
        if "=" in line.split(" ")[0]:
            name, _, value = line.partition("=")
            names[name] = shlex.split(value)[0]
            continue
        for name, value in names.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line)
        assert words[:4] == ["python", "-m", "awdlib", "ablate"] and "$" not in line
        build_parser().parse_args(words[3:])
        found += 1
    assert found == 4
