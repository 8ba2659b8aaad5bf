"""The house keeps its plan: which module may import which, and what may import what from outside."""

import ast
import subprocess
import sys
from pathlib import Path

import awdlib

PACKAGE = Path(awdlib.__file__).parent

#: in reading order; a module may import those above it, and nothing else of the library
ORDER = [
    "_require", "bundled", "allocator", "precision", "toy_floor", "toy_language", "downloads", "published", "corpora",
    "batches", "ngrams", "dropout", "penalties", "ntasgd", "bptt", "recurrent", "contracts", "model", "model_contract",
    "exercises", "softmax", "evaluation", "agreement", "reach", "cache", "generation", "training_config",
    "training_records", "gradients", "graphs", "training", "beyond", "presets", "settings", "environment", "stops",
    "checkpoints", "locks", "records", "runs", "ablation", "ablation_table", "jobs", "workers", "goals", "results",
    "fastest", "chapters", "figures", "explore", "cli", "__main__",
]  # fmt: skip

#: components stand on their own: these import nothing of the library but the checks of what enters them
ALONE = {
    "_require", "bundled", "allocator", "batches", "ngrams", "dropout", "penalties", "ntasgd", "contracts",
    "checkpoints", "toy_floor", "downloads",
}  # fmt: skip

#: heavy or optional packages, and the only places that may import them
ONLY_IN = {
    "ipywidgets": {"explore"}, "IPython": {"explore"}, "plotly": {"figures", "explore"},
    "matplotlib": {"figures", "explore"}, "tqdm": {"downloads", "cli"},
    "submitit": {"jobs", "workers"},
}  # fmt: skip


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        yield relative.parts[0].removesuffix(".py"), path


def imports(path):
    """Full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_library(path):
    return {name.split(".")[1] for name in imports(path) if name.startswith("awdlib.")} - {"__version__"}


def test_every_module_has_its_place_in_the_reading_order():
    assert {place for place, _ in modules()} == {*ORDER, "__init__"}


def test_modules_import_only_from_those_above_them():
    for place, path in modules():
        if place == "__init__":
            assert not of_library(path)
            continue
        allowed = {*ORDER[: ORDER.index(place)], place} if place in ("figures", "explore", "exercises", "cli") else {
            *ORDER[: ORDER.index(place)]
        }  # fmt: skip
        below = {name for name in of_library(path) if name in ORDER} - allowed
        assert not below, f"{path.relative_to(PACKAGE)} imports {below}"
        if place in ALONE:
            assert not of_library(path) - {"_require"}, f"{place} is to stand alone"


def test_heavy_packages_are_imported_only_where_they_belong():
    for place, path in modules():
        outside = {name.split(".")[0] for name in imports(path)}
        for package, places in ONLY_IN.items():
            assert package not in outside or place in places, f"{path.relative_to(PACKAGE)} imports {package}"


def test_importing_the_library_imports_nothing_heavy():
    names = [place for place in ORDER if place not in ("figures", "explore", "__main__")]
    code = f"import sys, importlib; [importlib.import_module('awdlib.' + n) for n in {names}]; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"ipywidgets", "IPython", "plotly", "matplotlib", "pandas", "submitit"} & {*loaded}


def test_files_and_functions_stay_short():
    for _, path in modules():
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        documented = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
        told = {node: (ast.get_docstring(node, clean=False) or "").count("\n") for node in documented}
        assert text.count("\n") - sum(told.values()) <= 250, f"{path.name} is too long to be read in one go"
        for node in documented:
            if isinstance(node, ast.FunctionDef):
                own = node.end_lineno - node.lineno - told[node]
                assert own <= 45, f"{path.name}: {node.name} takes {own} lines"
