"""The benchmarks' records, tables and command line: nothing measured twice, nothing mixed, right ratios."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cases
import growth
import pytest
import readme
import record as records
import running
import table
from cases import Case

PROGRAM = Path(__file__).parent / "benchmarks"


# What is measured --------------------------------------------------------------------------------------------------


def test_every_comparison_has_the_library_in_it():
    for device in ("cpu", "cuda"):
        for alternatives in cases.plan([], device):
            assert alternatives[0].candidate == "awdlib"
            assert len({(case.group, case.config, case.precision) for case in alternatives}) == 1


def test_a_name_chooses_a_group_or_a_configuration():
    chosen = cases.plan(["cache", "step/small"], "cpu")
    assert [(case[0].group, case[0].config, case[0].precision) for case in chosen] == [
        ("step", "small", "fp32"), ("step", "small", "bf16"),
        ("cache", "window-500", "fp32"), ("cache", "window-3785", "fp32"),
    ]  # fmt: skip


def test_half_precision_is_measured_where_the_processor_has_it(monkeypatch):
    half = Case("step", "small", "bf16", "awdlib")
    for has, reason in ((True, ""), (False, "this CPU has no bf16 arithmetic")):
        monkeypatch.setattr(cases, "has_bf16", lambda device, has=has: has)
        assert cases.obstacle(half) == reason
        assert cases.obstacle(replace(half, precision="fp32")) == ""


def test_what_is_not_there_is_not_measured(monkeypatch):
    monkeypatch.delenv("AWDLIB_DATA", raising=False)
    monkeypatch.setattr(cases, "find_spec", lambda name: None)
    assert cases.obstacle(Case("corpus", "ptb", "fp32", "awdlib")) == "AWDLIB_DATA names no folder with ptb"
    assert cases.obstacle(Case("import", "library", "fp32", "fastai")) == "fastai is not installed"
    assert cases.obstacle(Case("corpus", "toy", "fp32", "awdlib")) == ""


# The record --------------------------------------------------------------------------------------------------------

TWO = [[Case("step", "small", "fp32", candidate) for candidate in ("awdlib", "bare")]]


class Work:
    """In place of a worker: seconds that are made up, and an interrupt after so many calls."""

    def __init__(self, calls=1_000):
        self.calls, self.done = calls, []

    def __call__(self, case):
        if len(self.done) == self.calls:
            raise KeyboardInterrupt
        self.done.append(case.candidate)
        return {"seconds": float(len(self.done)), "tokens": 4}


def test_candidates_take_turns_and_an_interrupted_run_repeats_nothing(tmp_path):
    path, conditions = tmp_path / "record.json", {"cpu": "this one"}
    first = Work(calls=3)
    with pytest.raises(KeyboardInterrupt):
        running.run(path, records.begin(path, conditions, fresh=False), TWO, 3, first)
    second = Work()
    running.run(path, records.begin(path, conditions, fresh=False), TWO, 3, second)
    assert first.done + second.done == ["awdlib", "bare"] * 3
    third = Work()
    running.run(path, records.begin(path, conditions, fresh=False), TWO, 3, third)
    assert third.done == []
    ours, bare = records.read(path)["measurements"]
    assert ours["seconds"] == [1, 3, 2] and bare["seconds"] == [2, 1, 3]


def test_a_record_keeps_each_round_s_seconds_and_bytes_and_their_median():
    record = {"measurements": []}
    for seconds, added in ((2.0, 70), (9.0, 60), (1.0, 50)):
        records.add(record, TWO[0][0], {"seconds": seconds, "added": added, "tokens": 4})
    expected = {"seconds": [2.0, 9.0, 1.0], "median": 2.0, "added": [70, 60, 50], "tokens": 4}
    assert record["measurements"] == [TWO[0][0].key | expected]


def test_a_record_of_other_conditions_is_not_continued(tmp_path):
    path = tmp_path / "record.json"
    before = {"cpu": "that one", "commit": "aaa", "fastai": None}
    records.write(path, records.begin(path, before, fresh=False))
    with pytest.raises(ValueError, match=r"\(cpu that one, now this one\): --fresh starts it over, --out"):
        records.begin(path, before | {"cpu": "this one"}, fresh=False)
    now = before | {"commit": "bbb", "fastai": "2.8"}  # the same code elsewhere in its history; a peer that came
    assert records.begin(path, now, fresh=False)["environment"] == now
    assert records.begin(path, {"cpu": "this one"}, fresh=True)["measurements"] == []


def test_the_conditions_change_with_the_code(monkeypatch, tmp_path):
    (tmp_path / "awdlib").mkdir()
    monkeypatch.setattr(records, "ROOT", tmp_path)
    seen = set()
    for code in ("a = 1", "a = 2"):
        (tmp_path / "awdlib" / "module.py").write_text(code)
        seen.add(records.conditions("cpu", quick=False)["sources"])
    assert len(seen) == 2


def test_an_obstacle_is_on_record_until_it_is_gone(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    monkeypatch.setattr(running, "obstacle", lambda case: "it is not there" if case.candidate == "bare" else "")
    running.run(path, records.begin(path, {}, fresh=False), TWO, 1, Work())
    assert records.read(path)["measurements"][0]["not_measured"] == "it is not there"
    for now in ("", "it is gone again"):  # the second does not take back what was measured
        monkeypatch.setattr(running, "obstacle", lambda case, now=now: now)
        running.run(path, records.begin(path, {}, fresh=False), TWO, 1, Work())
    assert not any("not_measured" in one for one in records.read(path)["measurements"])


def test_a_worker_that_fails_ends_in_one_line_and_leaves_the_record():
    with pytest.raises(
        ValueError, match=r"^step/none fp32 awdlib failed \(KeyError: 'none'\): try measure.py step"
    ) as e:
        running.worker(1)(Case("step", "none", "fp32", "awdlib"))
    assert "\n" not in str(e.value)


# The tables --------------------------------------------------------------------------------------------------------

ENVIRONMENT = {
    "cpu": "a CPU", "threads": 2, "capability": "AVX2", "gpu": None, "torch": "2.0", "fastai": None, "awdlib": "0.1.0",
    "commit": "0123456789", "allocator": "keeps freed memory", "quick": False,
}  # fmt: skip


def entry(config, candidate, median, group="step", **more):
    key = {"group": group, "config": config, "precision": "fp32", "candidate": candidate}
    return key | {"seconds": [median] * 7, "median": median, "tokens": 100} | more


def test_a_table_holds_the_library_s_own_figures_and_the_others_ratios():
    limit = entry("small", "limit", 0.1234, seconds_of_traffic=[0.03, 0.01, 0.02])
    measurements = [entry("small", "awdlib", 0.5), entry("small", "bare", 0.4), limit]
    measurements += [entry("large", "awdlib", 2.0), entry("large", "fastai", 5.0)]
    measurements += [dict(group="step", config="small", precision="bf16", candidate="bare", not_measured="no bf16")]
    text = table.tables({"date": "2030-01-02T03:04:05", "environment": ENVIRONMENT, "measurements": measurements})
    assert text.endswith(
        "Medians of 7 rounds.\n\n"
        "| configuration | precision | awdlib, ms | bare | fastai | limit, ms | traffic, ms |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| small | fp32 | 500 | 0.80× | – | 123 | 20.0 |\n"
        "| large | fp32 | 2,000 | – | 2.50× | – | – |\n\n"
        "Not measured: no bf16.\n"
    )
    assert text.startswith("Measured on a CPU (2 threads, AVX2) with torch 2.0, awdlib 0.1.0 at 0123456, 2030-01-02.")


def test_a_ratio_is_of_the_time_for_a_token():
    ours, loop = entry("window-500", "awdlib", 2.0, "cache"), entry("window-500", "per-token-loop", 3.0, "cache")
    assert table.ratio(loop | {"tokens": 5}, ours) == "30.0×"


def test_the_growth_compares_the_ends_of_each_line():
    def at(config, factor):
        return entry(config, "awdlib", factor / 10, "growth", operations=factor, bytes_held=factor, memory=[factor] * 3)

    record = {"measurements": [at("base", 2), at("batch-10", 1), at("batch-160", 16), at("hidden-1600", 32)]}
    text = "\n".join(growth.section(record, "growth.svg"))
    assert "| batch | 10 | 160 | × 16.0 | × 16.0 | × 16.0 |\n| hidden size | 400 | 1,600 | × 16.0 |" in text
    assert "window" not in text and "](growth.svg)" in text and "a factor of 1.00; its tensors" in text


def test_the_readme_says_what_is_on_record():
    _, between, _ = readme.split(readme.README.read_text(encoding="utf-8"))
    assert between == readme.speed()


# The program -------------------------------------------------------------------------------------------------------


def run(*arguments):
    return subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "there is no 'nonsense' to measure: name a group (step, "),
        (["--rounds", "0"], "'0' is not a positive whole number"),
        (["--device", "tpu"], "device is 'tpu'; it must be auto, cpu or cuda"),
        (["--table", "--out", "none.json"], "cannot read none.json (No such file or directory): measure first"),
        (["--table", "--out", __file__], "is not a record of benchmarks"),
        (["--table", "cache"], "tables are of whole records: leave out cache"),
    ],
)
def test_a_mistake_ends_in_one_line(arguments, said):
    done = run(*arguments)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.slow
def test_a_quick_look_measures_everything_once(tmp_path):
    path = tmp_path / "record.json"
    done = run("--quick", "--threads", "1", "--out", path)
    assert done.returncode == 0, done.stderr
    measurements = {tuple(one[n] for n in ("group", "config", "precision", "candidate")): one
                    for one in json.loads(path.read_text(encoding="utf-8"))["measurements"]}  # fmt: skip
    for case in sum(cases.plan([], "cpu", quick=True), []):
        one = measurements[tuple(case.key.values())]
        if reason := cases.obstacle(case):
            assert one["not_measured"] == reason and "seconds" not in one
        else:
            assert one["repetitions"] == [1, 1] and len(one["seconds"]) == 2 and one["tokens"] > 0
    assert done.stdout == table.tables(records.read(path)) and "mean nothing" in done.stdout
    assert (tmp_path / "record-growth.svg").read_text(encoding="utf-8").count("<svg") == 1
