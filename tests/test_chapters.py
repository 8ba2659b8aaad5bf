"""Every chapter as it is stored: executed, complete, light, and consistent with the code and the records."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

from awdlib.explore import packing

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
CHAPTERS = sorted(path.stem for path in BOOK.glob("*.ipynb"))
CONFIG = (ROOT / "_config.yml").read_text()
REPOSITORY = re.search(r"^repository:\n  url: (?P<url>\S+)\n  branch: (?P<branch>\S+)$", CONFIG, re.M)
EXPLORABLE = re.compile(r'class="explorable-data">([^<]*)<')


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return request.param, json.loads((BOOK / f"{request.param}.ipynb").read_text(encoding="utf-8"))


def source(cell):
    return "".join(cell["source"])


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_there_are_chapters_and_the_table_of_contents_has_them_all():
    listed = re.findall(r"file: book/([\w-]+)", (ROOT / "_toc.yml").read_text())
    assert CHAPTERS and {*CHAPTERS} <= {*listed}


def test_it_is_stored_executed_in_order_and_without_errors(chapter):
    _, notebook = chapter
    assert [cell["execution_count"] for cell in code_cells(notebook)] == [*range(1, len(code_cells(notebook)) + 1)]
    assert not [o for cell in code_cells(notebook) for o in cell["outputs"] if o["output_type"] == "error"]
    assert "widgets" not in notebook["metadata"], "run make refresh: it strips widgets whose kernel is gone"


def test_it_opens_in_colab_from_its_badge_and_asks_for_a_gpu(chapter):
    name, notebook = chapter
    base = REPOSITORY["url"].replace("https://github.com/", "https://colab.research.google.com/github/")
    assert f"({base}/blob/{REPOSITORY['branch']}/book/{name}.ipynb)" in source(notebook["cells"][0])
    assert notebook["metadata"]["accelerator"] == "GPU"
    setup = source(code_cells(notebook)[0])
    assert f"git clone -q --depth 1 {REPOSITORY['url']}\n" in setup + "\n" and "--no-deps" in setup


def test_pictures_have_text_alternatives(chapter):
    _, notebook = chapter
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 40, source(cell)


def test_output_is_ignored_only_for_a_reason_and_then_the_cell_asserts_or_draws(chapter):
    _, notebook = chapter
    for cell in code_cells(notebook):
        if "nbval-ignore-output" in cell["metadata"].get("tags", []):
            assert cell["metadata"].get("reason"), source(cell)


def test_it_reads_well_where_there_is_no_sphinx_and_weighs_little(chapter):
    name, notebook = chapter
    prose = "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    assert not re.search(r"```\{|^:::|\{(cite|ref|doc|numref|eq)[:a-z]*\}`", prose, re.M)
    assert (BOOK / f"{name}.ipynb").stat().st_size < 2_000_000


def test_it_has_the_parts_that_every_chapter_has(chapter):
    _, notebook = chapter
    prose = "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    for heading in ("Proof", "Exercises", "History and caveats", "Summary"):
        assert re.search(rf"^## {heading}", prose, re.M), heading
    assert prose.count("Predict, then run") >= 2
    exercises = re.split(r"^### \d\. ", prose.partition("## Exercises")[2].partition("\n## ")[0], flags=re.M)[1:]
    assert 4 <= len(exercises) <= 6
    assert all("<details>" in text for text in exercises), "every exercise has a solution that opens"
    summary = prose.partition("## Summary")[2].partition("**Next")[0]
    assert len(re.findall(r"^- ", summary, re.M)) == 5


def test_links_into_the_bibliography_lead_somewhere(chapter):
    _, notebook = chapter
    keys = re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(), re.M)
    used = re.findall(r"bibliography\.md#([\w-]+)", "\n".join(map(source, notebook["cells"])))
    assert used and {*used} <= {*keys}


def test_running_times_come_from_the_record_and_keep_the_budget(chapter):
    name, _ = chapter
    times = json.loads((ROOT / "data" / "runs" / "chapter-times.json").read_text())
    assert 0 < times[name]["seconds"] <= 40


def explorables(notebook):
    """(source, stored specification) of each explorable."""
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            for data in EXPLORABLE.findall("".join(output.get("data", {}).get("text/html", ""))):
                yield source(cell), json.loads(data)


def recompute(notebook, cell_source):
    """The explorable that a cell's last expression makes, with no cell run but for the imports of all."""
    imports = [node for cell in code_cells(notebook) for node in _statements(source(cell)) if _is_import(node)]
    space = {}
    exec(compile(ast.Module(imports, []), "imports", "exec"), space)
    return eval(compile(ast.Expression(_statements(cell_source)[-1].value), "cell", "eval"), space)


def _statements(text):
    text = re.sub(r"^(\s*)[!%].*$", r"\1pass", text, flags=re.M)  # what only IPython understands
    return ast.parse(text).body


def _is_import(node):
    return isinstance(node, ast.Import | ast.ImportFrom)


def test_stored_explorables_show_what_the_library_computes_today(chapter):
    _, notebook = chapter
    stored = list(explorables(notebook))
    assert stored
    for cell_source, specification in stored:
        fresh = json.loads(recompute(notebook, cell_source).data)
        assert specification["controls"] == fresh["controls"]
        points = np.prod([len(control["values"]) for control in fresh["controls"]])
        for point in range(0, int(points), max(1, int(points) // 25)):
            assert_alike(packing.unpack(specification["figure"], point), packing.unpack(fresh["figure"], point))


def assert_alike(one, other):
    """Equal trees, their numbers within the tolerance of their packing."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, np.ndarray) or (isinstance(one, list) and all(map(_is_number, one))):
        np.testing.assert_allclose(np.asarray(one, dtype=float), np.asarray(other, dtype=float), rtol=1e-3, atol=1e-3)
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_alike(left, right)
    else:
        assert one == other


def _is_number(value):
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
