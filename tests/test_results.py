"""Goals and results: what was published, the commands that lead there, what the records say, and the page about it."""

import json
import statistics
from dataclasses import replace

import pytest
from test_records import RUNS, read, script

from awdlib.ablation import ROWS
from awdlib.cli import build_parser
from awdlib.figures import recorded_runs, results
from awdlib.figures.results import CLOSE, DIVERGED, MISSED, NOT_RUN, REPRODUCED, SHORTER, UNDER_WAY, standing
from awdlib.goals import GOALS, GROUPS, LATER
from awdlib.model import ModelConfig
from awdlib.presets import PRESETS
from awdlib.results import HIGHER, LOWER, OPEN, WITHIN, Difference, differences, result_of
from awdlib.runs import RECORD, TUNED
from awdlib.training import TrainConfig
from awdlib.training_config import decided

#: validation and test perplexity, as the papers' tables and the original README have them
PUBLISHED = {
    "zaremba-small": (120.7, 114.5), "zaremba-medium": (86.2, 82.7), "zaremba-large": (82.2, 78.4),
    "awd-lstm-ptb": (60.7, 58.8), "awd-lstm-ptb-finetuned": (60.0, 57.3), "awd-lstm-ptb-cache": (53.9, 52.8),
    "awd-lstm-wt2": (69.1, 66.0), "awd-lstm-wt2-finetuned": (68.6, 65.8), "awd-lstm-wt2-cache": (53.8, 52.0),
    "awd-lstm-ptb-readme": (61.2, 58.8), "awd-lstm-ptb-readme-finetuned": (58.8, 56.5),
    "awd-lstm-ptb-readme-cache": (53.2, 52.5), "awd-lstm-wt2-readme": (68.7, 65.6),
    "awd-lstm-wt2-readme-finetuned": (67.4, 64.7), "awd-lstm-wt2-readme-cache": (52.2, 50.6),
    "no-ntasgd-ptb": (66.3, 63.7), "no-variable-windows-ptb": (61.3, 58.9), "no-embedding-dropout-ptb": (65.1, 62.7),
    "no-weight-decay-ptb": (63.7, 61.0), "no-ar-tar-ptb": (62.7, 60.3), "full-sized-embedding-ptb": (68.0, 65.6),
    "no-weight-drop-ptb": (71.1, 68.9), "no-ntasgd-wikitext-2": (73.3, 69.7),
    "no-variable-windows-wikitext-2": (69.3, 66.2), "no-embedding-dropout-wikitext-2": (71.1, 68.1),
    "no-weight-decay-wikitext-2": (71.9, 68.7), "no-ar-tar-wikitext-2": (73.2, 70.1),
    "full-sized-embedding-wikitext-2": (73.7, 70.7), "no-weight-drop-wikitext-2": (78.4, 74.9),
}  # fmt: skip
ARMS = ["full", *recorded_runs.ARMS]


# Goals


def test_every_published_number_is_a_goal_with_its_figures():
    assert {name: goal.published for name, goal in GOALS.items() if goal.published} == PUBLISHED
    assert all(goal.source for goal in GOALS.values() if goal.published)


@pytest.mark.parametrize("name", GOALS)
def test_each_step_is_a_command_that_the_parser_takes_and_the_folders_fit_together(name):
    goal, made = GOALS[name], set()
    for step in goal.steps:
        options = build_parser().parse_args(step.words("runs"))
        assert step.command().startswith(f"python -m awdlib {step.kind} ")
        if step.kind in ("train", "ablate"):
            assert PRESETS[options.preset].corpus == goal.corpus
            made.add(step.run)
        if step.kind == "finetune":
            assert step.parent in made
            made.add(step.run)
        if step.kind == "tune-cache":
            assert {step.run, step.run.split("/")[0]} & made
            # the README's windows; for Penn Treebank the paper's was larger
            windows = {"awd-lstm-ptb-cache": 2000, "awd-lstm-wt2-cache": 3785, "awd-lstm-wt2-readme-cache": 3785}
            assert options.window == windows.get(name, 3785 if goal.corpus == "wikitext-2" else 500)


def test_a_step_needs_what_it_goes_on_from_and_no_run_of_a_similar_name():
    train, finetune, cache = GOALS["awd-lstm-ptb-cache"].steps
    readme = GOALS["awd-lstm-ptb-readme-cache"].steps
    assert finetune.needs(train) and cache.needs(finetune) and not train.needs(finetune)
    assert not any(step.needs(train) or step.needs(finetune) for step in readme)
    grid, *caches = GOALS["ptb-100k-cache"].steps
    assert all(step.needs(grid) for step in caches)


def test_the_groups_share_out_all_goals_and_a_gpu_begins_with_the_papers_model():
    assert sorted([*GROUPS["gpu"], *GROUPS["cpu"]]) == sorted(GOALS)
    assert GROUPS["gpu"][:4] == ["awd-lstm-ptb", "awd-lstm-ptb-finetuned", "awd-lstm-ptb-cache", "awd-gru-ptb"]
    assert all(GOALS[name].published is None for name in GROUPS["cpu"])


def test_the_presets_and_the_later_papers_have_the_same_figures():
    for name, preset in PRESETS.items():
        if name in GOALS and preset.published:
            assert "{:.1f} / {:.1f}".format(*GOALS[name].published) in preset.published, name
    assert [(one.ptb, one.wikitext2) for one in LATER if not one.dynamic] == [
        (55.6, 63.5), (54.4, 61.5), (52.4, 58.0), (50.1, 55.1), (47.9, 55.0)]  # fmt: skip
    assert [(one.ptb, one.wikitext2) for one in LATER if one.dynamic] == [(51.1, 44.3), (47.7, 40.7), (42.9, 38.0)]


@pytest.mark.parametrize(("name", "wanted"), [
    ("awd-lstm-ptb", "24.2 M, 750 epochs"), ("awd-lstm-wt2-cache", "33.6 M, 750 + at most 750 epochs"),
    ("awd-lstm-ptb-readme-finetuned", "24.2 M, 500 + at most 500 epochs"), ("awd-gru-ptb", "19.2 M, 750 epochs"),
    ("zaremba-large", "66.0 M, 55 epochs"), ("full-sized-embedding-ptb", "43.3 M, 750 epochs"),
])  # fmt: skip
def test_what_is_asked_for_has_the_sizes_of_the_papers(name, wanted):
    assert results.asked(GOALS[name]) == wanted


# Results


def pretend(folder, run, status="finished", epochs=750, **changes):
    """A record with figures made up."""
    record = read("ptb-small") | {"status": status} | changes
    record["training"] = record["training"] | {"epochs": max(epochs, 750)}
    record["epochs"] = [record["epochs"][0]] * (epochs - 1) + record["epochs"][-1:]
    path = folder / run / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return record


def cached(folder, run, without, reached):
    tuned = {"valid": {"without": 70.0, "with": 60.0}, "test": {"without": without, "with": reached}}
    (folder / run / TUNED).write_text(json.dumps(tuned))


def test_where_a_number_stands(tmp_path):
    goal = GOALS["awd-lstm-ptb"]
    assert standing(goal, result_of(goal, tmp_path)) == NOT_RUN
    for status, wanted in (("interrupted", UNDER_WAY), ("running", UNDER_WAY), ("diverged", DIVERGED)):
        pretend(tmp_path, "awd-lstm-ptb", status, 9, final_perplexity=None)
        found = result_of(goal, tmp_path)
        assert standing(goal, found) == wanted and found.test is None
        assert found.valid == min(epoch["valid_perplexity"] for epoch in found.record["epochs"])
    for share, wanted in ((CLOSE * 0.9, REPRODUCED), (-CLOSE * 0.9, REPRODUCED), (CLOSE * 1.1, MISSED)):
        for off in ((share, 0.0), (0.0, share)):
            valid, test = (aim * (1 + part) for aim, part in zip(goal.published, off, strict=True))
            pretend(tmp_path, "awd-lstm-ptb", final_perplexity={"valid": valid, "test": test})
            assert standing(goal, result_of(goal, tmp_path)) == wanted
    pretend(
        tmp_path, "awd-lstm-ptb", epochs=50, final_perplexity=dict(zip(("valid", "test"), goal.published, strict=True))
    )
    assert standing(goal, result_of(goal, tmp_path)) == SHORTER


def test_a_new_run_hides_no_finished_one_and_another_corpus_is_refused(tmp_path):
    goal = GOALS["zaremba-small"]
    (tmp_path / "zaremba-small.json").write_text(json.dumps(read("zaremba-small")))
    pretend(tmp_path, "zaremba-small", "running", 2, final_perplexity=None)
    assert result_of(goal, tmp_path).path == "zaremba-small.json"
    pretend(tmp_path, "zaremba-small", corpus={"name": "toy"})
    (tmp_path / "zaremba-small.json").unlink()
    with pytest.raises(ValueError, match="is of a run on toy, not ptb: move it away"):
        result_of(goal, tmp_path)


def test_a_goal_with_the_cache_is_reached_when_it_is_tuned_and_a_row_has_its_own_run(tmp_path):
    goal, row = GOALS["awd-lstm-ptb-cache"], GOALS["no-ar-tar-ptb"]
    pretend(tmp_path, "awd-lstm-ptb")
    pretend(tmp_path, "awd-lstm-ptb-finetuned", epochs=120)
    assert result_of(goal, tmp_path) is None and result_of(GOALS["awd-lstm-ptb-finetuned"], tmp_path)
    cached(tmp_path, "awd-lstm-ptb-finetuned", 57.0, 52.0)
    found = result_of(goal, tmp_path)
    assert (found.valid, found.test, found.path) == (60.0, 52.0, f"awd-lstm-ptb-finetuned/{TUNED}")
    assert found.budget == "750 + 120 (ended by the criterion) epochs, 42 min"
    assert result_of(row, tmp_path) is None
    pretend(tmp_path, "ablation-ptb/no-ar-tar-1")
    assert result_of(row, tmp_path).path == f"ablation-ptb/no-ar-tar-1/{RECORD}"


def test_a_table_says_size_budget_hardware_and_how_far_a_run_is(tmp_path):
    here = read("ptb-small")["environment"]
    old, new = here | {"gpu": "NVIDIA T4", "until_epoch": 3}, here | {"gpu": "NVIDIA H200"}
    pretend(tmp_path, "awd-lstm-ptb", "interrupted", 9, final_perplexity=None, environment=new,
            earlier_environments=[old, new])  # fmt: skip
    table = results.published_table("ptb", tmp_path)
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert row["ours"].endswith(" / –") and row["standing"] == UNDER_WAY and row["seed"] == "1"
    assert (
        row["size"] == "2-layer LSTM, embedding 300, hidden 600, 6.3 M" and row["budget"] == "9 of 750 epochs, 21 min"
    )
    assert row["hardware"] == "NVIDIA T4 and NVIDIA H200; bf16" and row["name"] == "`awd-lstm-ptb`"
    assert row["record"] == f"`awd-lstm-ptb/{RECORD}`" and row["asked for"] == "24.2 M, 750 epochs"
    assert {"AWD-GRU"} <= {row[0] for row in table.rows} and str(table)


@pytest.mark.parametrize(("values", "verdict"), [
    ((3.0, 3.1, 2.9), HIGHER), ((-3.0, -3.1, -2.9), LOWER),
    ((1.0, 3.0, 2.0), OPEN), ((-1.0, 3.0, 1.0), WITHIN), ((1.0, 1.0), HIGHER),
])  # fmt: skip
def test_a_difference_is_told_from_chance_by_students_interval(values, verdict):
    one = Difference("arm", "full", dict(enumerate(values, 1)))
    assert one.verdict == verdict
    low, high = one.interval
    # Student's t of both ends is the table's quantile: 4.303 at two degrees of freedom, 12.706 at one
    error = statistics.stdev(values) / len(values) ** 0.5
    assert (high - one.mean) == pytest.approx({2: 12.706, 3: 4.303}[len(values)] * error)
    assert low + high == pytest.approx(2 * one.mean)


def test_more_seeds_than_the_table_of_t_are_refused():
    with pytest.raises(ValueError, match="arm has 11 seeds; the table of t is for 2 to 10"):
        Difference("arm", "full", dict.fromkeys(range(11), 1.0)).verdict  # noqa: B018


def test_differences_are_taken_at_equal_seed_and_from_finished_runs_alone(tmp_path):
    slice_ = tmp_path / "ptb-100k"
    for seed, full, other in ((1, 100.0, 103.0), (2, 110.0, 114.0), (3, 90.0, 80.0)):
        pretend(slice_, f"full-{seed}", final_perplexity={"valid": 1.0, "test": full})
        cached(slice_, f"full-{seed}", full, full - seed)
        done = "interrupted" if seed == 3 else "finished"
        pretend(slice_, f"full-sized-embedding-{seed}", "running")
        cached(slice_, f"full-sized-embedding-{seed}", 1.0, 99.0)  # not the full model's
        pretend(slice_, f"no-ar-tar-{seed}", done, final_perplexity={"valid": 1.0, "test": other})
    pretend(slice_, "gru-1", final_perplexity={"valid": 1.0, "test": 1.0})
    rows, cache = differences(tmp_path)
    assert rows.by_seed == {1: 3.0, 2: 4.0} and rows.arm == ROWS["no-ar-tar"].label
    assert rows.published == pytest.approx(60.3 - 58.8)
    assert rows.parameters == read("ptb-small")["parameters"]
    assert cache.by_seed == {1: -1.0, 2: -2.0, 3: -3.0} and cache.published == pytest.approx(52.8 - 57.3)


# The records


@pytest.mark.parametrize("seed", recorded_runs.SEEDS)
@pytest.mark.parametrize("arm", ARMS)
def test_each_recorded_run_is_the_preset_with_what_its_arm_changes(arm, seed):
    record, base = recorded_runs.recorded(arm, seed), PRESETS["ptb-100k"]
    preset = ROWS[arm].vary(base) if arm in ROWS else PRESETS[f"ptb-100k-{arm}"]
    assert record["status"] == "finished" and record["corpus"]["name"] == "ptb-100k"
    assert TrainConfig(**record["training"]) == replace(preset.training, seed=seed)
    assert ModelConfig(**record["model"]) == preset.model
    assert record["environment"]["commit"] and not record["environment"]["commit"].endswith("+")
    if arm != "fine-tuned":
        assert len(record["epochs"]) == preset.training.epochs == base.training.epochs


def test_what_is_compared_is_of_equal_size():
    full, gru = (recorded_runs.recorded(arm, 1)["parameters"] for arm in ("full", "gru"))
    assert abs(gru / full - 1) < 0.001


def test_the_summary_is_what_the_records_say():
    computed, stored = script("ptb_100k").summary(RUNS), read("ptb-100k/summary")
    assert json.loads(json.dumps(computed)) == stored
    assert len(stored["differences"]) == len(ARMS) and len(stored["pilot"]) == 2
    assert all(len(one["by_seed"]) >= 3 and one["verdict"] for one in stored["differences"])
    assert PRESETS["ptb-100k"].model == ModelConfig(**stored["size"]["model"])
    chosen = [one for one in stored["pilot"] if one["dropouts"]["dropout_input"] == 0.2]
    assert [one["valid"] for one in chosen] == [min(one["valid"] for one in stored["pilot"])]


# The page


def page():
    return json.loads((RUNS.parents[1] / "book" / "results.ipynb").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "checked", "window"), [
    ("ptb-quick", "published hashes", 500), ("wikitext-2-quick", "counts of tokens and word types", 3785),
])  # fmt: skip
def test_the_models_on_whole_corpora_are_the_presets_and_the_cache_helps(name, checked, window):
    record, preset = read(f"{name}/record"), PRESETS[name]
    assert record["status"] == "finished" and record["corpus"]["checked"].startswith(checked)
    assert ModelConfig(**record["model"]) == preset.model
    asked = replace(decided(preset.training, record["training"]), precision=record["training"]["precision"])
    assert TrainConfig(**record["training"]) == asked and len(record["epochs"]) == asked.epochs
    tuned = read(f"{name}/cache")
    assert tuned["settings"]["window"] == window
    assert tuned["test"]["with"] < tuned["test"]["without"]
    assert tuned["test"]["without"] == pytest.approx(record["final_perplexity"]["test"], rel=1e-3)


def test_the_page_shows_what_the_records_say_today():
    outputs = [output for cell in page()["cells"] for output in cell.get("outputs", [])]
    shown = ["".join(output["data"]["text/html"]) for output in outputs if "text/html" in output.get("data", {})]
    found = differences()
    whole = [f"{corpus}-quick{cache}" for corpus in ("ptb", "wikitext-2") for cache in ("", "-cache")]
    for table in (results.published_table("ptb"), results.published_table("wikitext-2"), results.days_table(),
                  results.differences_table(found), results.ours_table(whole), results.later_table()):  # fmt: skip
        assert table._repr_html_() in shown and str(table), table.title
    alts = [cell["metadata"]["mystnb"]["image"]["alt"] for cell in page()["cells"] if "mystnb" in cell["metadata"]]
    assert results.differences_figure(found).get_label() in alts


def test_the_words_of_the_page_are_those_of_the_verdicts():
    """The page's prose names no numbers; what it claims stands here."""
    found = {one.arm: one for one in differences()}
    label = {name: row.label for name, row in ROWS.items()}
    for row in ("no-ntasgd", "no-embedding-dropout", "no-ar-tar"):
        one = found[label[row]]
        assert one.verdict == HIGHER and one.published / 2 < one.mean < 3 * one.published, "worth several points"
    assert found[label["fine-tuned"]].verdict == LOWER
    windows = found[label["no-variable-windows"]]
    assert windows.verdict == WITHIN and windows.published == 0.1
    for row in ("no-weight-drop", "no-weight-decay", "full-sized-embedding"):
        assert found[label[row]].verdict in (OPEN, WITHIN)
    assert sum(value > 0 for value in found[label["no-weight-drop"]].by_seed.values()) == 2
    assert sum(value < 0 for value in found[label["full-sized-embedding"]].by_seed.values()) == 2
    full, wide, zaremba = (
        recorded_runs.recorded(arm, 1)["parameters"] for arm in ("full", "full-sized-embedding", "zaremba")
    )
    assert 1.8 < wide / full < 2.1 and 3 < zaremba / full < 3.3
    assert all(found[arm].verdict == HIGHER for arm in ("no regularizer", "GRU", "Zaremba's rule"))
    assert found["full with the cache"].verdict == LOWER
    assert found["full with the cache"].mean < 3 * found["full with the cache"].published
    for seed in recorded_runs.SEEDS:
        plain = [epoch["valid_perplexity"] for epoch in recorded_runs.recorded("unregularized", seed)["epochs"]]
        assert min(plain) < 0.95 * plain[-1], "it overfits to the end, averaged as it is"
        wide_run = recorded_runs.recorded("full-sized-embedding", seed)
        assert wide_run["best_epoch"] < len(wide_run["epochs"])


def test_a_table_is_one_for_screen_readers_and_for_terminals():
    table = results.Table("A <title>", ["a", "b"], [["`one` & two", "3"], ["x", "44"]])
    shown = table._repr_html_()
    assert "A &lt;title&gt;" in shown and "<code>one</code> &amp; two" in shown
    assert shown.count('scope="col"') == 2 and shown.count('scope="row"') == 2 and 'tabindex="0"' in shown
    assert repr(table).splitlines()[1:] == ["a            b", "`one` & two  3", "x            44"]
    with pytest.raises(ValueError, match="a row has 1 cells and the head 2: x"):
        results.Table("A", ["a", "b"], [["x"]])


def test_the_explorable_of_runs_says_what_each_reached_and_refuses_what_was_not_run():
    figure = recorded_runs.recorded_figure("no-ntasgd", 2)
    full, ours = (recorded_runs.recorded(arm, 2) for arm in ("full", "no-ntasgd"))
    for record in (full, ours):
        assert f"{record['final_perplexity']['test']:.1f}" in figure.layout.meta["alt"]
    bold = [trace for trace in figure.data if trace.mode == "lines" and trace.line.width == 3]
    assert [list(trace.y) for trace in bold] == [[e["valid_perplexity"] for e in r["epochs"]] for r in (full, ours)]
    rings = [trace for trace in figure.data if trace.mode == "markers"]
    began = full["averaging"]["begun_after_epoch"]
    assert list(rings[0].x) == [began] and list(rings[0].y) == [full["epochs"][began - 1]["valid_perplexity"]]
    assert "never averaging" in figure.layout.meta["alt"] and not list(rings[1].x or ())
    tuned = recorded_runs.recorded_figure("fine-tuned", 1)
    assert min(trace.x[0] for trace in tuned.data[-2:-1]) == len(recorded_runs.recorded("full", 1)["epochs"]) + 1
    assert "averaging from its start" in tuned.layout.meta["alt"]
    low, high = (10**end for end in figure.layout.yaxis.range)
    for arm in recorded_runs.ARMS:
        for one in recorded_runs.SEEDS:
            last = recorded_runs.recorded(arm, one)["epochs"]
            assert all(low < epoch["valid_perplexity"] < high for epoch in last[3:]), (arm, one)
    for arm, seed in (("no-dropout", 1), ("full-1", 1), ("gru", 4)):
        with pytest.raises(ValueError, match=r"arm is|seed"):
            recorded_runs.recorded_figure(arm, seed)
