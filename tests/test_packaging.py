"""The wheel, the pins, the make targets and the installer's error messages."""

import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ALLOWED_AT_THE_ROOT = set(
    "book awdlib data tests _config.yml _toc.yml requirements.txt README.md Makefile pyproject.toml LICENSE "
    "CITATION.cff CHANGELOG.md CONTRIBUTING.md "
    ".ci .github .gitignore .gitattributes".split()
)

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
needs_sh = pytest.mark.skipif(not shutil.which("sh"), reason="there is no POSIX shell")


def pins():
    """The lines of requirements.txt, as requirements."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def bounds(*without):
    """The library's own requirements and those of its extras, some of these left out."""
    project, build = PYPROJECT["project"], PYPROJECT["build-system"]
    extras = [group for name, group in project["optional-dependencies"].items() if name not in without]
    groups = [project["dependencies"], *extras, build["requires"]]
    return [Requirement(text) for group in groups for text in group]


# The wheel ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel built from this tree, in this process: no isolated environment, so no network."""
    build = pytest.importorskip("hatchling.build")
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / build.build_wheel(str(folder))


def files_below(folder, pattern="*"):
    """Names, from the root of the tree, of what git would keep of a folder."""
    found = (path for path in (ROOT / folder).rglob(pattern) if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


def test_the_wheel_carries_the_modules_the_small_data_and_the_scripts_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    data = {f"awdlib/{name}" for folder in ("data/toy", "data/runs", "data/benchmarks") for name in files_below(folder)}
    assert names == files_below("awdlib") | data
    assert any(name.startswith("awdlib/data/toy/") for name in names)
    assert any(name.startswith("awdlib/explore/") and name.endswith(".js") for name in names)


def test_the_wheel_has_the_licence_the_command_and_the_version_of_the_module(wheel):
    contents = zipfile.ZipFile(wheel)
    info = {Path(name).name: contents.read(name).decode() for name in contents.namelist() if ".dist-info/" in name}
    written = re.search(r'^__version__ = "(.+)"$', (ROOT / "awdlib/__init__.py").read_text(encoding="utf-8"), re.M)
    assert f"Version: {written[1]}\n" in info["METADATA"]
    assert "awdlib = awdlib.cli:main" in info["entry_points.txt"]
    assert info["LICENSE"] == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PYPROJECT["project"]["dynamic"] == ["version"], "the version is written in awdlib/__init__.py alone"


def test_an_installed_wheel_finds_its_data_with_no_clone_beside_it(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    # -S leaves out site-packages' .pth files, and with them an editable install of the clone; bundled.py is loaded
    # by its path because the package itself imports torch, which -S hides too.
    program = "import runpy, sys; print(runpy.run_path(sys.argv[1])['bundled']('toy'))"
    module = tmp_path / "site" / "awdlib" / "bundled.py"
    done = subprocess.run([sys.executable, "-S", "-c", program, module], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(tmp_path / "site" / "awdlib" / "data" / "toy"), done.stderr


# The pins ----------------------------------------------------------------------------------------------------------


def test_every_requirement_is_pinned_exactly():
    for pin in pins():
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and "*" not in specifier.version, f"{pin} is not an exact version"
        assert not pin.name.startswith(("nvidia", "cuda")), f"{pin}: PyTorch chooses the libraries of its own build"


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.13"])
def test_the_pins_satisfy_the_library_s_bounds_on_every_python(python):
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    chosen = [pin for pin in pins() if pin.marker is None or pin.marker.evaluate(environment)]
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in chosen}
    assert len(pinned) == len(chosen), "two pins of one package hold at once"
    for bound in bounds("bench"):  # the benchmarks' peer is in nobody's environment but theirs
        version = pinned.get(canonicalize_name(bound.name))
        assert version, f"{bound.name} is in pyproject.toml, but not pinned in requirements.txt"
        assert bound.specifier.contains(version), f"{bound.name}=={version} is not in {bound.specifier}"


def test_the_library_sets_lower_bounds_only():
    for bound in bounds():
        assert {specifier.operator for specifier in bound.specifier} == {">="}, f"{bound} would replace Colab's own"


def test_no_package_index_is_named_but_pytorch_s_own():
    named = set()
    for name in "Makefile pyproject.toml requirements.txt .ci/install .ci/run .github/workflows/book.yml".split():
        named |= set(re.findall(r"https?://([^/\s\"']+)", (ROOT / name).read_text(encoding="utf-8")))
    assert named <= {"download.pytorch.org", "127.0.0.1:$(PORT)"}


# The commands ------------------------------------------------------------------------------------------------------


def make_targets():
    """Public targets of the Makefile: the ones with a description."""
    return dict(re.findall(r"^([a-z-]+):.*?## +(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def make(*arguments):
    """Run make in the root, free of the options of a make that runs these tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-C", ROOT, "--no-print-directory", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=clean)


@needs_make
def test_make_help_lists_each_public_target_on_a_line_of_its_own():
    help_text = make().stdout
    assert {"help", "book", "test", "test-fast", "lab", "serve", "refresh", "lint", "clean"} <= set(make_targets())
    for target, description in make_targets().items():
        assert re.search(rf"^ *make {re.escape(target)} +{re.escape(description)}$", help_text, re.M), target


@needs_make
@pytest.mark.parametrize("target", make_targets())
def test_make_knows_how_to_make_each_target(target):
    done = make("--dry-run", target)
    assert done.returncode == 0, done.stderr


@needs_make
@pytest.mark.parametrize(("value", "asked"), [("1", True), ("x86_64", False), ("", False)])
def test_the_switch_for_pytorch_s_cpu_build(value, asked):
    assert ("https://download.pytorch.org/whl/cpu" in make("-n", "env", f"CPU={value}").stdout) is asked


def test_the_readme_names_the_targets_there_are():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"`+[^`]+`+", readme))
    mentioned = re.findall(r"\bmake (?:[A-Z]+=\S+ )*([a-z-]+)", code)
    assert set(mentioned) == set(make_targets())


# The installer -----------------------------------------------------------------------------------------------------


def stub(path, script):
    """A stand-in for a program: a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def install(python, venv):
    """Run the installer with a stand-in for Python; returns its exit status and what it printed as an error."""
    command = ["sh", ROOT / ".ci" / "install", python, venv]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    return done.returncode, done.stderr


def pip_that_says(tmp_path, words, status):
    """A Python whose `-m venv` makes an environment whose pip prints some words and ends with a status."""
    inner = stub(tmp_path / "inner", f'case "$*" in *pip*) echo "{words}"; exit {status};; esac\necho 3.11.7')
    make_venv = f'for venv; do :; done; mkdir -p "$venv/bin"; cp "{inner}" "$venv/bin/python"'
    return stub(tmp_path / "python", f'case "$*" in *"-m venv"*) {make_venv};; esac\necho 3.11.7')


@needs_sh
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 3.9.18", "is Python 3.9.18, which is too old: install Python 3.10 or newer"),
        ("echo 2.7.18", "is Python 2.7.18, which is too old"),
        ('case "$2" in *version_info*) echo 3.12.1;; *) exit 1;; esac', "(Python 3.12.1) has no venv module"),
        ("exit 127", "does not start"),
    ],
)
def test_a_python_that_will_not_do_ends_in_one_line(tmp_path, script, said):
    status, error = install(stub(tmp_path / "python", script), tmp_path / "venv")
    assert status == 1
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "venv").exists()


@needs_sh
def test_a_python_that_is_not_there_ends_in_one_line(tmp_path):
    status, error = install(tmp_path / "none", tmp_path / "venv")
    assert status == 1 and error.startswith("error: there is no ") and error.count("\n") == 1


@needs_sh
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("Retrying after connection broken by NewConnectionError", "check the connection"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: No matching distribution found for torch==0.0", "No matching distribution found for torch==0.0"),
    ],
)
def test_an_install_that_fails_ends_in_one_line_and_does_not_count_as_done(tmp_path, words, said):
    python = pip_that_says(tmp_path, words, 1)
    for _ in range(2):  # the second time it does not take the half-made environment for a finished one
        status, error = install(python, tmp_path / "venv")
        assert status == 1
        assert said in error and "run the same command again" in error and error.count("\n") == 1
    assert not (tmp_path / "venv" / ".installed").exists()


@needs_sh
def test_an_install_that_is_done_is_not_done_again(tmp_path):
    assert install(pip_that_says(tmp_path, "installed", 0), tmp_path / "venv") == (0, "")
    (tmp_path / "venv" / "install.log").unlink()
    assert install("", tmp_path / "venv") == (0, "")
    assert not (tmp_path / "venv" / "install.log").exists()


@needs_sh
def test_packages_cut_off_in_the_middle_are_forgotten_so_that_pip_installs_them_again(tmp_path):
    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    python = pip_that_says(tmp_path, "cut off", 1)
    install(python, tmp_path / "venv")
    for name, whole in (("whole-1.dist-info", True), ("cut-1.dist-info", False)):
        (packages / name).mkdir(parents=True)
        (packages / name / "METADATA").touch()
        if whole:
            (packages / name / "INSTALLER").touch()
    install(python, tmp_path / "venv")
    assert [path.name for path in packages.iterdir()] == ["whole-1.dist-info"]


# The tree ----------------------------------------------------------------------------------------------------------


def test_nothing_else_lies_at_the_root():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout
    assert {name.split("/")[0] for name in names.splitlines()} <= ALLOWED_AT_THE_ROOT


def test_the_licence_holds_both_licences():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Permission is hereby granted, free of charge" in text
    assert "https://creativecommons.org/licenses/by/4.0/legalcode" in text
