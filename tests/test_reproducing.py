"""``reproduce``: steps in order, what is finished skipped, what was cut off taken up again, records copied."""

import json
import re
from argparse import Namespace

import pytest

from awdlib import fastest
from awdlib.cli import build_parser, main, reproducing
from awdlib.goals import GOALS, GROUPS
from awdlib.runs import RECORD, TUNED

CHAIN = "awd-lstm-ptb-cache"


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def commands(printed):
    return re.findall(r"^\$ python -m awdlib (\S+) ", printed, re.M)


def test_a_dry_run_takes_every_step_and_a_second_one_none(tmp_path, capsys):
    words = ["reproduce", CHAIN, "no-ar-tar-ptb", "--dry-run", "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    words += ["--records", str(tmp_path / "records")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert commands(printed) == ["train", "finetune", "tune-cache", "ablate"] and printed.endswith("no-ar-tar-ptb\n")
    runs, records = files(tmp_path / "runs"), files(tmp_path / "records")
    kept = {"awd-lstm-ptb", "awd-lstm-ptb-finetuned", "ablation-ptb/no-ar-tar-1"}
    assert {*records} == {f"{run}/{RECORD}" for run in kept} | {f"awd-lstm-ptb-finetuned/{TUNED}"}
    assert all(records[name] == runs[name] for name in records)
    record = json.loads(records[f"awd-lstm-ptb-finetuned/{RECORD}"])
    assert record["parent"]["run"] == "awd-lstm-ptb" and record["corpus"]["name"] == "toy"
    assert main(words) == 0
    again = capsys.readouterr().out
    assert commands(again) == ["ablate"] and "1 runs, 1 of them finished" in again  # it looks for itself
    untouched = {name: content for name, content in runs.items() if "table" not in name}
    assert {name: files(tmp_path / "runs")[name] for name in untouched} == untouched


def test_a_time_limit_is_shared_by_all_steps_and_the_next_stretch_goes_on(tmp_path, capsys):
    words = ["reproduce", CHAIN, "--dry-run", "--runs", str(tmp_path), "--device", "cpu"]
    limited = [*words, "--time-limit", "1e-9"]
    assert main(limited) == 75
    assert "the time limit is reached; run the same command again to go on" in capsys.readouterr().out
    assert main([*words, "--time-limit", "0.0005"]) == 75  # within the first epoch, or before it
    for _ in range(50):
        if (status := main([*words, "--time-limit", "0.05"])) != 75:
            break
    assert status == 0 and (tmp_path / "awd-lstm-ptb-finetuned" / TUNED).exists()


def planned(*words):
    """The commands that a call would run, none of them run."""
    options = build_parser().parse_args(["reproduce", *words])
    steps = dict.fromkeys(step for name in options.names for step in reproducing._steps(name))
    return [reproducing._words(step, options, reproducing._fastest(options)) for step in steps]


def test_shared_steps_are_taken_once_and_options_reach_those_that_know_them():
    chain = ["awd-lstm-ptb", "awd-lstm-ptb-finetuned", CHAIN]
    ways = planned(*chain, "no-ar-tar-ptb", "--epochs", "9", "--data", "DIR", "--jobs", "3", "--device", "cpu")
    assert [words[0] for words in ways] == ["train", "finetune", "tune-cache", "ablate"]
    assert all(words[words.index("--data") + 1] == "DIR" for words in ways)
    assert [("--epochs" in words, "--jobs" in words) for words in ways] == [
        (True, False), (True, False), (False, False), (True, True)]  # fmt: skip
    for words in planned(*GROUPS["gpu"], "--device", "cpu"):
        build_parser().parse_args(words)


def test_a_number_by_another_name_and_no_name_at_all(capsys):
    assert main(["reproduce", "awd-lstm-ptb-cach"]) == 2
    assert "no number 'awd-lstm-ptb-cach'; did you mean 'awd-lstm-ptb-cache'?" in capsys.readouterr().err
    assert main(["reproduce"]) == 0
    printed = capsys.readouterr().out
    assert all(re.search(rf"^{name} ", printed, re.M) for name in GOALS) and "53.9 / 52.8" in printed
    assert main(["reproduce", CHAIN, "--time-limit", "0"]) == 2
    assert "time limit in minutes is 0" in capsys.readouterr().err


def test_a_step_that_fails_ends_it_with_its_own_line(tmp_path, capsys):
    assert main(["reproduce", "zaremba-small", "--runs", str(tmp_path), "--data", str(tmp_path)]) == 2
    assert "looked for ptb.train.txt" in capsys.readouterr().err


# The fastest way of training


def test_the_fastest_way_is_measured_once_and_then_kept(tmp_path, monkeypatch, capsys):
    asked = []

    def measured(device):
        asked.append(device.type)
        return {"settings": ["precision=bf16", "graphs=True"], "tried": [{}] * 6}

    monkeypatch.setattr(reproducing, "fastest_settings", measured)
    monkeypatch.setattr(reproducing, "choose_device", lambda name: Namespace(type="cuda"))
    options = Namespace(device="auto", fastest=True, runs=tmp_path)
    for _ in range(2):
        assert reproducing._fastest(options) == ["precision=bf16", "graphs=True"]
    assert asked == ["cuda"] and "of 6 ways" in capsys.readouterr().out
    assert reproducing._fastest(Namespace(device="auto", fastest=False, runs=tmp_path)) == []


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
    assert len(seen) == 6 * len(fastest.WAYS) and all(shape == (35, 20) for _, shape in seen)
    assert [(c.precision, c.graphs) for c, _ in seen[::6]] == [(w["precision"], w["graphs"]) for w in fastest.WAYS]
    assert all(one["ms"] >= 0 for one in found["tried"])

    def refuse(*_):
        raise RuntimeError("CUDA error: out of something\nand more")

    monkeypatch.setattr(fastest, "update", refuse)
    with pytest.raises(ValueError, match="no way of training works here: CUDA error: out of something$"):
        fastest.fastest_settings("cpu", "toy")
    with pytest.raises(ValueError, match="there is no preset 'toys'"):
        fastest.fastest_settings("cpu", "toys")
