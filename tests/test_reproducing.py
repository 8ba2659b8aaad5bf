"""``reproduce``: steps in order, what is finished skipped, what was cut off taken up again, records copied."""

import json
import re
import signal
from argparse import Namespace
from dataclasses import asdict

import pytest
from test_records import read

from awdlib import checkpoints, fastest
from awdlib.cli import build_parser, main, reproducing
from awdlib.cli.training import chosen_preset
from awdlib.goals import GOALS, GROUPS
from awdlib.presets import PRESETS
from awdlib.runs import RECORD, TUNED, tuned_state

CHAIN = "awd-lstm-ptb-cache"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def commands(printed):
    return re.findall(r"^\$ python -m awdlib (\S+) ", printed, re.M)


def test_a_dry_run_takes_every_step_into_folders_of_its_own_and_a_second_one_none(tmp_path, capfd):
    words = ["reproduce", CHAIN, "no-ar-tar-ptb", "--dry-run", "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    words += ["--records", str(tmp_path / "records")]
    assert main(words) == 0
    printed = capfd.readouterr().out
    assert commands(printed) == ["train", "finetune", "tune-cache", "ablate"] and printed.endswith("no-ar-tar-ptb\n")
    assert {path.name for folder in ("runs", "records") for path in (tmp_path / folder).iterdir()} == {"dry-run"}
    runs, records = files(tmp_path / "runs" / "dry-run"), files(tmp_path / "records" / "dry-run")
    kept = {"awd-lstm-ptb", "awd-lstm-ptb-finetuned", "ablation-ptb/no-ar-tar-1"}
    assert {*records} == {f"{run}/{RECORD}" for run in kept} | {f"awd-lstm-ptb-finetuned/{TUNED}"}
    assert all(records[name] == runs[name] for name in records)
    record = json.loads(records[f"awd-lstm-ptb-finetuned/{RECORD}"])
    assert record["parent"]["run"] == "awd-lstm-ptb" and record["corpus"]["name"] == "toy"
    assert main(words) == 0
    again = capfd.readouterr().out
    assert commands(again) == ["ablate"] and "1 runs, 1 of them finished" in again  # it looks for itself
    untouched = {name: content for name, content in runs.items() if "table" not in name}
    assert {name: files(tmp_path / "runs" / "dry-run")[name] for name in untouched} == untouched


class Steps:
    """In place of the commands: what was asked for, and what each is to leave behind."""

    def __init__(self, monkeypatch, folder):
        self.folder, self.asked, self.status, self.end = folder, [], {}, "finished"
        monkeypatch.setattr(reproducing, "_run", self)

    def __call__(self, words, stop):
        self.asked.append(words)
        options = build_parser().parse_args(words)
        run = str((getattr(options, "out", None) or options.run).relative_to(self.folder))
        if status := self.status.get(run, 0):
            return status
        if words[0] == "train":
            self.leave(run, options)
        elif words[0] == "finetune":
            parent = self.record(self.folder.joinpath(run.removesuffix("-finetuned")))
            self.leave(run, options, parent={"run": "x", "perplexity": parent["final_perplexity"]})
        elif words[0] == "tune-cache":
            checkpoints.write_json(self.folder / run / TUNED, {"of": tuned_state(self.record(self.folder / run))})
        return 0

    def leave(self, run, options, **changes):
        epochs = options.epochs or 750
        record = read("ptb-small") | changes
        record["training"] = record["training"] | {"epochs": epochs}
        record["corpus"] = record["corpus"] | {
            "name": PRESETS.get(getattr(options, "preset", ""), PRESETS["awd-lstm-ptb"]).corpus
        }
        record["final_perplexity"] = {"valid": 60.0 + epochs, "test": 58.0}
        checkpoints.write_json(self.folder / run / RECORD, record)

    @staticmethod
    def record(folder):
        return json.loads((folder / RECORD).read_text())

    def kinds(self):
        kinds = [words[0] for words in self.asked]
        self.asked.clear()
        return kinds


@pytest.fixture
def steps(monkeypatch, tmp_path):
    return Steps(monkeypatch, tmp_path / "runs")


def reproduce(steps, *names):
    return main(["reproduce", *names, "--runs", str(steps.folder), "--device", "cpu"])


def test_what_is_done_is_what_was_asked_for(steps, capsys):
    assert reproduce(steps, CHAIN, "--epochs", "50") == 0 and steps.kinds() == ["train", "finetune", "tune-cache"]
    assert reproduce(steps, CHAIN, "--epochs", "50") == 0 and steps.kinds() == []
    assert reproduce(steps, CHAIN, "--epochs", "40") == 2
    assert "was trained for 50 epochs, more than the 40 asked for" in capsys.readouterr().err
    # more epochs change the run that the others build on
    assert reproduce(steps, "awd-lstm-ptb") == 0 and steps.kinds() == ["train"]
    assert reproduce(steps, CHAIN) == 2
    assert "fine-tunes an earlier state of awd-lstm-ptb: move it away" in capsys.readouterr().err
    (steps.folder / "awd-lstm-ptb-finetuned" / RECORD).unlink()
    assert reproduce(steps, CHAIN) == 0 and steps.kinds() == ["finetune", "tune-cache"]
    checkpoints.write_json(steps.folder / "awd-lstm-ptb-finetuned" / TUNED, {"of": {"best_epoch": 1}})
    assert reproduce(steps, CHAIN) == 0 and steps.kinds() == ["tune-cache"]


def test_a_run_on_another_corpus_and_damaged_files_are_named(steps, capsys):
    reproduce(steps, CHAIN)
    path = steps.folder / "awd-lstm-ptb" / RECORD
    path.write_text(path.read_text().replace('"name": "ptb"', '"name": "toy"'))
    assert reproduce(steps, CHAIN) == 2
    assert "holds a run on toy, not ptb" in capsys.readouterr().err
    path.write_text("{")
    assert reproduce(steps, CHAIN) == 2 and str(path) in capsys.readouterr().err
    path.unlink()
    (steps.folder / "awd-lstm-ptb-finetuned" / TUNED).write_text("[]")
    assert reproduce(steps, CHAIN) == 2
    assert "cache.json is damaged: delete it" in capsys.readouterr().err


def test_a_step_that_fails_takes_with_it_what_builds_on_it_and_nothing_else(steps, capsys):
    steps.status = {"awd-lstm-ptb": 2}
    assert reproduce(steps, CHAIN, "zaremba-small") == 1
    printed = capsys.readouterr().out
    assert steps.kinds() == ["train", "train"] and printed.count("left out, since what it builds on has failed") == 2
    assert "not done: awd-lstm-ptb, awd-lstm-ptb-finetuned, awd-lstm-ptb-finetuned; run" in printed
    assert (steps.folder / "zaremba-small" / RECORD).exists()


@pytest.mark.parametrize(("status", "why"), [(130, "interrupted"), (75, "the time limit is reached")])
def test_a_step_that_was_cut_off_ends_it_all_and_its_record_is_kept(steps, status, why, tmp_path, capsys):
    reproduce(steps, "awd-lstm-ptb")
    steps.asked.clear()
    steps.status = {"awd-lstm-ptb-finetuned": status}
    assert reproduce(steps, CHAIN, "zaremba-small", "--records", str(tmp_path / "kept")) == status
    assert f"{why}; run the same command again to go on" in capsys.readouterr().out
    assert steps.kinds() == ["finetune"]
    # a record of a step that was done before there was a place for records is copied too
    assert {*files(tmp_path / "kept")} == {f"awd-lstm-ptb/{RECORD}"}


def test_a_time_limit_reaches_each_step_and_ends_before_the_next(steps, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("awdlib.stops.time.monotonic", lambda: now[0])
    taken = steps.__call__

    def slowly(words, stop):
        now[0] += 100.0
        return taken(words, stop)

    monkeypatch.setattr(reproducing, "_run", slowly)
    assert reproduce(steps, CHAIN, "--time-limit", "3") == 75
    assert steps.kinds() == ["train", "finetune"]
    assert "the time limit is reached; run the same command again" in capsys.readouterr().out
    assert reproduce(steps, CHAIN, "--time-limit", "3") == 0 and steps.kinds() == ["tune-cache"]


class Pretended:
    """A process that ends by itself after a few looks, or when it is told to."""

    def __init__(self, words, looks, status):
        self.words, self.looks, self.returncode, self.told = words, looks, None, []
        self.status = status

    def poll(self):
        self.looks -= 1
        if self.looks < 0:
            self.returncode = self.status
        return self.returncode

    def terminate(self):
        self.told.append(signal.SIGTERM)
        self.looks, self.status = 0, 130


def test_a_command_gets_the_time_that_is_left_and_is_ended_with_this_one(monkeypatch):
    started = []

    def start(words):
        started.append(Pretended(words, 3, 7))
        return started[-1]

    monkeypatch.setattr(reproducing.subprocess, "Popen", start)
    monkeypatch.setattr(reproducing.time, "sleep", lambda seconds: None)
    stop = reproducing.Stop(None)
    assert reproducing._run(["train", "--preset", "toy"], stop) == 7
    assert started[0].words[1:] == ["-m", "awdlib", "train", "--preset", "toy"] and not started[0].told
    assert reproducing._run(["train"], reproducing.Stop(60)) == 7
    assert started[1].words[-2] == "--time-limit" and 59 < float(started[1].words[-1]) <= 60
    assert reproducing._run(["tune-cache"], reproducing.Stop(60)) == 7 and "--time-limit" not in started[2].words
    stop.request()
    assert reproducing._run(["train"], stop) == 130 and started[3].told


def planned(*words):
    """The commands that a call would run, none of them run."""
    options = build_parser().parse_args(["reproduce", *words])
    steps = dict.fromkeys(step for name in options.names for step in reproducing._steps(name))
    return [reproducing._words(step, options, ["precision=bf16", "graphs=True"]) for step in steps]


def test_shared_steps_are_taken_once_and_options_reach_those_that_know_them(tmp_path):
    chain = ["awd-lstm-ptb", "awd-lstm-ptb-finetuned", CHAIN]
    ways = planned(*chain, "no-ar-tar-ptb", "--epochs", "9", "--data", "DIR", "--jobs", "3", "--runs", str(tmp_path))
    assert [words[0] for words in ways] == ["train", "finetune", "tune-cache", "ablate"]
    assert all(words[words.index("--data") + 1] == "DIR" for words in ways)
    asked = [build_parser().parse_args(words) for words in ways]
    assert [getattr(one, "epochs", None) for one in asked] == [9, 9, None, 9]
    assert [getattr(one, "jobs", None) for one in asked] == [None, None, None, 3]


def test_each_training_step_on_a_gpu_takes_the_fastest_settings(tmp_path):
    for words in planned(*GROUPS["gpu"], "--runs", str(tmp_path)):
        options = build_parser().parse_args(words)
        if words[0] in ("train", "ablate"):
            training = chosen_preset(options).training
            assert (training.precision, training.graphs) == ("bf16", True)


def test_a_run_that_has_begun_keeps_its_precision(tmp_path):
    training = asdict(PRESETS["awd-lstm-ptb"].training) | {"precision": "tf32", "graphs": False}
    for run in ("awd-lstm-ptb", "ablation-ptb/full-1"):
        checkpoints.write_json(tmp_path / run / RECORD, read("ptb-small") | {"training": training})
    for words in planned("awd-lstm-ptb", "no-ar-tar-ptb", "--runs", str(tmp_path)):
        chosen = chosen_preset(build_parser().parse_args(words)).training
        assert (chosen.precision, chosen.graphs) == ("tf32", False)


@pytest.mark.parametrize(("words", "complaint"), [
    (["awd-lstm-ptb-cach"], "no number 'awd-lstm-ptb-cach'; did you mean 'awd-lstm-ptb-cache'?"),
    ([CHAIN, "--time-limit", "0"], "time limit in minutes is 0"),
    ([CHAIN, "--dry-run", "--epochs", "3"], "--epochs is 3 and a dry run has 2"),
    ([CHAIN, "--device", "tpu"], "device is 'tpu'"),
])  # fmt: skip
def test_bad_words_get_one_line(words, complaint, tmp_path, capsys):
    assert main(["reproduce", *words, "--runs", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1


def test_without_a_name_all_are_listed(capsys):
    assert main(["reproduce"]) == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"^{name} ", printed, re.M) for name in GOALS) and "53.9 / 52.8" in printed


# The fastest way of training


def test_the_fastest_way_is_measured_once_for_each_gpu_and_then_kept(tmp_path, monkeypatch, capsys):
    asked, gpu = [], ["A"]

    def measured(device):
        asked.append(gpu[0])
        return {"settings": ["precision=bf16", "graphs=True"], "tried": [{}] * 8, "environment": {"gpu": gpu[0]}}

    monkeypatch.setattr(reproducing, "fastest_settings", measured)
    monkeypatch.setattr(reproducing, "describe_environment", lambda device: {"gpu": gpu[0]})
    monkeypatch.setattr(reproducing, "choose_device", lambda name: Namespace(type="cuda"))
    options = Namespace(device="auto", fastest=True, runs=tmp_path / "runs", records=tmp_path / "records")
    for _ in range(2):
        assert reproducing._fastest(options) == ["precision=bf16", "graphs=True"]
    assert asked == ["A"] and "fastest on A: precision=bf16, graphs=True, of 8 ways" in capsys.readouterr().out
    assert files(tmp_path / "records") == files(tmp_path / "runs")
    gpu[0] = "B"
    reproducing._fastest(options)
    assert asked == ["A", "B"]
    (tmp_path / "runs" / "fastest.json").write_text("{")
    with pytest.raises(ValueError, match=r"fastest\.json is damaged: delete it"):
        reproducing._fastest(options)
    assert reproducing._fastest(Namespace(device="auto", fastest=False, runs=tmp_path)) == []


def test_on_a_cpu_fastest_says_that_it_does_nothing(capsys):
    assert reproducing._fastest(Namespace(device="cpu", fastest=True)) == []
    assert "--fastest measures GPUs" in capsys.readouterr().out


def test_the_fastest_is_the_one_of_least_time_and_what_is_refused_is_left_out(monkeypatch):
    times = {"fp32": 3.0, "tf32": 1.0}

    def measure(way, *_):
        return {"ms": times[way["precision"]] + way["graphs"]} if way["precision"] in times else {"refused": "no bf16"}

    monkeypatch.setattr(fastest, "_measure", measure)
    found = fastest.fastest_settings("cpu", "toy")
    assert found["settings"] == ["precision=tf32", "graphs=False"] and len(found["tried"]) == len(fastest.WAYS)
    times.clear()
    with pytest.raises(ValueError, match="no way of training works here: no bf16"):
        fastest.fastest_settings("cpu", "toy")


def test_what_is_measured_is_an_update_at_the_nominal_window_and_a_refusal_is_kept(monkeypatch):
    seen = []
    monkeypatch.setattr(fastest, "update", lambda training, words, *_: seen.append((training.config, words.shape)))
    found = fastest.fastest_settings("cpu", "toy", updates=3)
    refused = {one["precision"] for one in found["tried"] if "refused" in one}
    assert refused == {"fp16"}, "a CPU has no fp16, and says so"
    assert len(seen) == 6 * 6 and all(shape == (35, 20) for _, shape in seen)
    assert [(c.precision, c.graphs) for c, _ in seen[::6]] == [(w["precision"], w["graphs"]) for w in fastest.WAYS[:6]]

    def refuse(*_):
        raise RuntimeError("CUDA error: out of something\nand more")

    monkeypatch.setattr(fastest, "update", refuse)
    with pytest.raises(ValueError, match="no way of training works here: CUDA error: out of something$"):
        fastest.fastest_settings("cpu", "toy")
    with pytest.raises(ValueError, match="there is no preset 'toys'"):
        fastest.fastest_settings("cpu", "toys")
