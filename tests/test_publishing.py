"""What a visitor of the repository finds: how to cite, contribute and report; and the workflows that keep it alive."""

import re
import stat
from pathlib import Path

import pytest
from test_packaging import PYPROJECT

import awdlib
from awdlib.chapters import CHAPTERS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
ADDRESS = re.search(r"^  url: (\S+)$", (ROOT / "_config.yml").read_text(), re.M)[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_citation_is_of_this_version_and_of_this_place():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software" and cited["message"]
    assert cited["version"] == awdlib.__version__ and cited["repository-code"] == ADDRESS
    assert [one["name"] for one in cited["authors"]] == [one["name"] for one in PYPROJECT["project"]["authors"]]
    (paper,) = cited["references"]
    assert paper["title"] in re.sub("[{}]", "", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"))


def test_the_changelog_begins_with_this_version():
    found = re.findall(r"^## (\S+?),", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert found[0] == awdlib.__version__


def test_every_path_command_and_target_that_contributing_names_is_there():
    text = CONTRIBUTING.replace("CHAPTER", "lstm").replace("refresh.py lstm", "refresh.py")
    paths = set(re.findall(r"`(?:python )?((?:awdlib|book|tests|data|\.ci)/[\w./*-]*)", text)) | set(
        re.findall(r"\]\((?!http)([\w./-]+)\)", text)
    )
    assert len(paths) > 8
    for path in paths:
        assert [*ROOT.glob(path)], path
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    assert {*re.findall(r"(?:`|^|: )make (?:CPU=1 )?([a-z-]+)", CONTRIBUTING, re.M)} <= targets
    assert ADDRESS in CONTRIBUTING and any(chapter.name == "dropout-masks" for chapter in CHAPTERS)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_template_asks_what_is_needed(path):
    template = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        return
    assert {"name", "description", "title", "labels", "body"} <= {*template}
    questions = [one for one in template["body"] if one["type"] != "markdown"]
    assert len({one["id"] for one in questions}) == len(questions) >= 2
    assert any(one.get("validations", {}).get("required") for one in questions)
    assert all(one["attributes"]["label"] for one in questions)


def test_there_is_a_template_for_each_kind_of_report():
    assert {"typo", "unclear", "wrong"} <= {path.stem for path in TEMPLATES}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_only_what_is_there(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    for command in commands:
        assert {*re.findall(r"\bmake ([a-z-]+)", command)} <= targets, command
        for name in re.findall(r"(?:^|\s)(\.ci/\w+)", command):
            assert (ROOT / name).exists(), name
    extras = {
        extra for command in commands for found in re.findall(r"\.\[([\w,]+)\]", command) for extra in found.split(",")
    }
    assert extras <= {*PYPROJECT["project"]["optional-dependencies"]}
    assert all("timeout-minutes" in job for name, job in workflow["jobs"].items() if name != "publish")


def test_once_a_week_the_newest_versions_colabs_links_and_mirrors_are_tried():
    weekly = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8"))
    when = weekly[True]  # "on", which YAML reads as a truth value
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", when["schedule"][0]["cron"]) and "workflow_dispatch" in when
    text = (ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8")
    for needed in ("--upgrade", "make test-colab", "linkcheck", ".ci/mirrors"):
        assert needed in text
    assert (ROOT / ".ci" / "mirrors").stat().st_mode & stat.S_IXUSR


def test_the_mirrors_are_asked_one_by_one(tmp_path, monkeypatch, capsys):
    import runpy

    from awdlib import downloads, published

    good = (ROOT / "data" / "toy" / "test.txt").as_uri()
    right = published.PTB.hashes | {"train": "sha256:" + __import__("hashlib").sha256(
        (ROOT / "data" / "toy" / "test.txt").read_bytes()).hexdigest()}  # fmt: skip
    from dataclasses import replace

    one = replace(
        published.PTB, files={"train": "t.txt"}, hashes={"train": right["train"]},
        mirrors=(downloads.Mirror({"train": good}), downloads.Mirror({"train": "file:///nowhere"})),
    )  # fmt: skip
    monkeypatch.setattr(published, "PUBLISHED", {"ptb": one})
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / ".ci" / "mirrors"))
    said = capsys.readouterr().out.splitlines()
    assert ended.value.code == 1 and [line.split()[0] for line in said] == ["ok", "DEAD"]
