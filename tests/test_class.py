"""A class on a hub: what teaching/class.md and teaching/hub/ say follows from what was measured and what is pinned."""

import ast
import json
import re
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from awdlib.chapters import CHAPTERS

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]
HUB = ROOT / "book" / "teaching" / "hub"
PAGE = (ROOT / "book" / "teaching" / "class.md").read_text(encoding="utf-8")
FILES = {path.name: path.read_text(encoding="utf-8") for path in sorted(HUB.iterdir()) if path.is_file()}

sys.path.append(str(ROOT / "book" / "_tools"))
import classroom  # noqa: E402, I001

VALUES = yaml.safe_load(FILES["values.yaml"])
LIMITS = json.loads((ROOT / "data" / "runs" / "class-limits.json").read_text(encoding="utf-8"))
TRIAL = json.loads((ROOT / "data" / "runs" / "class-trial.json").read_text(encoding="utf-8"))

#: The settings of ours that the chart's published schema has, with the types that it gives them
OF_THE_CHART = {
    "hub.concurrentSpawnLimit": int,
    "hub.config": dict,
    "proxy.https.enabled": bool,
    "proxy.https.hosts": list,
    "proxy.https.letsencrypt.contactEmail": str,
    "singleuser.image.name": str,
    "singleuser.image.tag": str,
    "singleuser.memory.guarantee": str,
    "singleuser.memory.limit": str,
    "singleuser.cpu.guarantee": (int, float),
    "singleuser.cpu.limit": (int, float),
    "singleuser.storage.capacity": str,
    "singleuser.defaultUrl": str,
    "singleuser.startTimeout": int,
    "singleuser.extraEnv": dict,
    "scheduling.userScheduler.enabled": bool,
    "scheduling.podPriority.enabled": bool,
    "scheduling.userPlaceholder.replicas": int,
    "prePuller.hook.enabled": bool,
    "prePuller.continuous.enabled": bool,
    "cull.enabled": bool,
    "cull.timeout": int,
    "cull.every": int,
}
#: The settings of tljh-config that its documentation names
OF_TLJH = {
    "limits.memory",
    "limits.cpu",
    "user_environment.default_app",
    "services.cull.timeout",
    "services.cull.every",
    "users.allowed",
    "https.enabled",
    "https.letsencrypt.email",
    "https.letsencrypt.domains",
}


def leaves(tree, path=""):
    """Every setting with its place, down to what the chart passes on as it is."""
    for key, value in tree.items():
        place = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict) and place not in OF_THE_CHART:
            yield from leaves(value, place)
        else:
            yield place, value


def packages(text):
    """Package and version of every exact pin in a text."""
    return re.findall(r"^[\s-]*([\w-]+)==([\w.]+)", text, re.M)


# What is made ------------------------------------------------------------------------------------------------------


def test_the_page_is_up_to_date():
    assert classroom.renewed(PAGE) == PAGE, "run python book/_tools/classroom.py"
    assert all(f"<!-- made: {name} -->" in PAGE for name in classroom.MADE)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_up_to_date_and_narrow(name):
    assert classroom.refreshed(name, FILES[name]) == FILES[name], "run python book/_tools/classroom.py"
    assert all(len(line) <= 120 for line in FILES[name].splitlines())
    assert not re.search(r"(?<!\w)/(?:work|Users)/", FILES[name])


@pytest.mark.parametrize("name", ["values.yaml", "tljh.sh"])
def test_what_the_page_shows_of_a_file_needs_no_scrolling_on_a_wide_screen(name):
    assert f"{{literalinclude}} hub/{name}" in PAGE
    assert all(len(line) <= 80 for line in FILES[name].splitlines())


def test_the_page_offers_every_file():
    assert {*re.findall(r"\{download\}`[\w.]+ <hub/([\w.]+)>`", PAGE)} == {*FILES}


# Limits ------------------------------------------------------------------------------------------------------------


def test_every_chapter_was_measured_with_one_thread():
    assert [*LIMITS["chapters"]] == [one.name for one in CHAPTERS]
    assert LIMITS["threads"] == LIMITS["environment"]["threads"] == 1
    for one in LIMITS["chapters"].values():
        assert 200 < one["private"] <= one["memory"] < 4000
        assert 1 < one["processor_seconds"] < 1.3 * one["seconds"] + 3


def test_a_student_is_sure_of_one_chapter_and_may_have_two():
    lab = LIMITS["server"]["lab"]["memory"]
    largest = max(one["memory"] for one in LIMITS["chapters"].values())
    memory = {key: int(value.removesuffix("M")) for key, value in VALUES["singleuser"]["memory"].items()}
    assert lab + largest <= memory["guarantee"] < lab + largest + 128
    assert 1.25 * (lab + 2 * largest) <= memory["limit"] < 1.25 * (lab + 2 * largest) + 256
    assert re.search(r"set limits\.memory (\d+)M", FILES["tljh.sh"])[1] == str(memory["limit"])


def test_cores_are_one_and_a_quarter_on_both_hubs():
    assert VALUES["singleuser"]["cpu"] == {"guarantee": 0.25, "limit": 1}
    assert "set limits.cpu 1 " in FILES["tljh.sh"]
    assert VALUES["singleuser"]["extraEnv"]["OMP_NUM_THREADS"] == "1"
    assert '{"OMP_NUM_THREADS": "1"}' in FILES["jupyterhub_config.py"]


def test_the_disk_of_a_student_holds_a_clone_many_times():
    assert VALUES["singleuser"]["storage"]["capacity"] == "1Gi"
    assert 10 * LIMITS["disk"]["clone"] < 1024


def test_the_table_of_servers_is_the_stated_formula():
    limit = int(VALUES["singleuser"]["memory"]["limit"].removesuffix("M"))
    rows = re.findall(r"^\| (\d+), (half|all) \| (\d+) \| ([\d,]+) \| (\d+) \| (\d+) \|$", PAGE, re.M)
    assert [row[:2] for row in rows] == [(str(n), said) for n in (30, 100, 200) for said in ("half", "all")]
    for size, said, at_once, memory, cores, disk in rows:
        students = int(size) // (2 if said == "half" else 1)
        assert int(at_once) == students
        assert 0 <= int(memory.replace(",", "")) - 4 - students * limit / 1024 < 1
        assert 0 <= int(cores) - students / 4 < 1
        assert int(disk) == 20 + int(size)


def test_the_students_of_a_node_fit_on_it_and_one_more_would_not():
    sure = int(VALUES["singleuser"]["memory"]["guarantee"].removesuffix("M"))
    rows = re.findall(r"^\| (\d+) cores, (\d+) GiB \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.M)
    assert len(rows) == 4

    def fit(students, cores, memory):
        return students / 4 <= cores - 0.5 and students * sure <= (memory - 2) * 1024

    for cores, memory, students, half, whole in (map(int, row) for row in rows):
        assert fit(students, cores, memory) and not fit(students + 1, cores, memory)
        assert (half - 1) * students < 100 <= half * students and (whole - 1) * students < 200 <= whole * students


def test_cores_decide_and_not_memory_as_the_page_says():
    for cores, memory in classroom.NODES:
        assert classroom.on_a_node(cores, memory) == classroom.on_a_node(cores, 10 * memory)


# Versions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml", "Dockerfile"])
def test_versions_agree_with_the_books_own(name):
    ours = {line for lines in classroom.pins().values() for line in lines}
    exact = {line.partition(";")[0] for line in ours}
    outside = {"jupyterhub", "nbgitpuller"}  # the book needs neither
    found = [(package, version) for package, version in packages(FILES[name]) if package not in outside]
    assert found
    for package, version in found:
        assert f"{package}=={version}" in exact, package
    assert "https://download.pytorch.org/whl/cpu" in FILES[name]


def test_conda_and_the_image_have_the_same_packages():
    conda = yaml.safe_load(FILES["environment.yml"])
    assert conda["channels"] == ["conda-forge"]
    (pip,) = (one["pip"] for one in conda["dependencies"] if isinstance(one, dict))
    python = next(one for one in conda["dependencies"] if str(one).startswith("python="))
    assert re.search(r"^FROM python:([\d.]+)-slim$", FILES["Dockerfile"], re.M)[1] == python.removeprefix("python=")
    image = dict(packages(FILES["Dockerfile"]))
    kernel = [line for line in FILES["requirements.txt"].splitlines() if '; python_version < "3.11"' not in line]
    assert dict(packages("\n".join(pip))) == image | dict(packages("\n".join(kernel)))


def test_a_student_has_all_that_the_library_and_its_book_import():
    wanted = re.findall(r'^  "([\w-]+)>=', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    needed = {*wanted[: wanted.index("submitit")]}
    assert {"torch", "plotly"} <= needed <= {package for package, _ in packages(FILES["requirements.txt"])}


def test_hub_and_image_are_of_one_major_version_and_it_is_the_one_tried():
    version = dict(packages(FILES["Dockerfile"]))["jupyterhub"]
    assert version == TRIAL["versions"]["jupyterhub"]
    assert dict(packages(FILES["Dockerfile"]))["nbgitpuller"] == TRIAL["versions"]["nbgitpuller"]
    chart = re.search(r"--version (\S+)", PAGE)[1]
    assert f"chart {chart} (JupyterHub {version.rpartition('.')[0]})" in FILES["values.yaml"]


def test_the_image_gets_what_the_wheel_is_built_of():
    copied = " ".join(re.findall(r"^COPY (.+) \S+$", FILES["Dockerfile"], re.M)).split()
    for name in copied:
        assert (ROOT / name).exists(), name
    wheel = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("tool.hatch.build.targets.wheel]")[2]
    included = re.findall(r'"([\w/]+)"', re.search(r"^only-include = \[(.+)\]$", wheel, re.M)[1])
    assert {"pyproject.toml", "README.md", "LICENSE", "awdlib", *included} <= {*copied} and "data" not in copied


# Settings and links ------------------------------------------------------------------------------------------------


def test_the_chart_has_every_setting():
    for place, value in leaves(VALUES):
        assert place in OF_THE_CHART, f"the chart has no {place}"
        assert isinstance(value, OF_THE_CHART[place]), place


def test_tljh_has_every_setting():
    commands = re.findall(r"(?:\$config|tljh-config) (?:set|add-item) (\S+)", FILES["tljh.sh"] + PAGE)
    assert len(commands) > 6 and {*commands} <= OF_TLJH


def test_culling_is_the_same_on_both_hubs():
    for key in ("timeout", "every"):
        assert f"services.cull.{key} {VALUES['cull'][key]}\n" in FILES["tljh.sh"]
    assert "Servers that nobody touches for an hour" in PAGE and VALUES["cull"]["timeout"] == 3600


@pytest.mark.parametrize("chapter", [one.name for one in CHAPTERS])
def test_a_link_fetches_the_repository_and_opens_the_chapter(chapter):
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    found = urlsplit(classroom.link("https://hub.example.org/", chapter))
    assert (found.netloc, found.path) == ("hub.example.org", "/hub/user-redirect/git-pull")
    asked = {key: value for key, (value,) in parse_qs(found.query, strict_parsing=True).items()}
    assert asked["repo"] == config["url"] and asked["branch"] == config["branch"]
    start, tree, folder, *path = asked["urlpath"].split("/")
    assert (start, tree, folder) == ("lab", "tree", config["url"].rpartition("/")[2])
    assert (ROOT / "/".join(path)).exists()


def test_the_link_on_the_page_is_a_link():
    block = PAGE.partition("<!-- made: link -->")[2].partition("<!-- end")[0].replace("```text", "").replace("```", "")
    assert "".join(block.split()) == classroom.link("https://HUB", "lstm")


def test_the_programs_are_programs():
    for name in ("rehearse.py", "jupyterhub_config.py"):
        ast.parse(FILES[name])
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    assert f'REPOSITORY = "{config["url"]}"' in FILES["rehearse.py"]
    assert f'BRANCH = "{config["branch"]}"' in FILES["rehearse.py"]


# The trial ---------------------------------------------------------------------------------------------------------


def test_the_trial_had_one_two_and_four_students_and_no_errors():
    assert [one["students"] for one in TRIAL["rehearsals"]] == [1, 2, 4]
    for one in TRIAL["rehearsals"]:
        assert not one["errors"] and one["chapter"] == TRIAL["chapter"]
        assert {*one["slowest_seconds"]} == {"start", "pull", "open", "run"}
    assert TRIAL["environment"]["cores"] == 2 and TRIAL["environment"]["gpu"] is None
    assert "two cores and no GPU" in PAGE


def test_four_students_took_much_less_than_four_limits():
    limit = classroom.limits()["memory limit"]
    four = TRIAL["rehearsals"][-1]
    assert four["memory_at_most"] < 0.5 * 4 * limit


def test_the_limit_held_the_largest_chapter_and_ended_what_took_more():
    kept = TRIAL["limit"]
    peaks = {name: one["memory"] for name, one in LIMITS["chapters"].items()}
    assert kept["chapter"] == max(peaks, key=peaks.get) and kept["errors"] == []
    assert kept["limit"] == classroom.limits()["memory limit"] and kept["memory_at_most"] <= kept["limit"]
    assert kept["runaway"]["kernels_ended"] == 1 and kept["runaway"]["server_lived"]
    for part in kept["runaway"]["dialog"]:
        assert part in PAGE.replace("**", "")
