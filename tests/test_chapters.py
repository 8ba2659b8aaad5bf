"""Every chapter as it is stored: executed, complete, light, and consistent with the code and the records."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from explorables import assert_close_trees, code_cells, declared, promised_errors

from awdlib.corpora import load_corpus
from awdlib.explore import packing
from awdlib.explore.page import specification as specification_of
from awdlib.model import LanguageModel, ModelConfig

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
NOTEBOOKS = sorted(path.stem for path in BOOK.glob("*.ipynb"))
OF_THEIR_OWN_FORM = {
    "intro",
    "gallery",
    "make-your-own",
    "results",
    "reproducing",
    "speed",
}  #: pages that are no chapters: nothing is proven or set as an exercise
CHAPTERS = [name for name in NOTEBOOKS if name not in OF_THEIR_OWN_FORM]
CONFIG = (ROOT / "_config.yml").read_text()
REPOSITORY = re.search(r"^repository:\n  url: (?P<url>\S+)\n  branch: (?P<branch>\S+)$", CONFIG, re.M)
EXPLORABLE = re.compile(r'class="explorable-data">([^<]*)<')


def read(name):
    return name, json.loads((BOOK / f"{name}.ipynb").read_text(encoding="utf-8"))


@pytest.fixture(params=NOTEBOOKS)
def page(request):
    return read(request.param)


@pytest.fixture(params=CHAPTERS)
def chapter(request):
    return read(request.param)


def source(cell):
    return "".join(cell["source"])


def test_there_are_chapters_and_the_table_of_contents_has_them_all():
    listed = re.findall(r"(?:file|root): book/([\w-]+)", (ROOT / "_toc.yml").read_text())
    assert CHAPTERS and {*NOTEBOOKS} <= {*listed}


def test_it_is_stored_executed_in_order_and_without_errors(page):
    _, notebook = page
    assert [cell["execution_count"] for cell in code_cells(notebook)] == [*range(1, len(code_cells(notebook)) + 1)]
    assert not [o for cell in code_cells(notebook) for o in cell["outputs"] if o["output_type"] == "error"]
    assert "widgets" not in notebook["metadata"], "run make refresh: it strips widgets whose kernel is gone"


def test_it_opens_in_colab_from_its_badge_and_asks_for_a_gpu(page):
    name, notebook = page
    base = REPOSITORY["url"].replace("https://github.com/", "https://colab.research.google.com/github/")
    assert f"({base}/blob/{REPOSITORY['branch']}/book/{name}.ipynb)" in source(notebook["cells"][0])
    assert notebook["metadata"]["accelerator"] == "GPU"
    setup = source(code_cells(notebook)[0])
    assert f"git clone -q --depth 1 {REPOSITORY['url']}\n" in setup + "\n" and "--no-deps" in setup


def test_pictures_have_text_alternatives(page):
    _, notebook = page
    for cell in code_cells(notebook):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 40, source(cell)


def test_output_is_ignored_only_for_a_reason_and_then_the_cell_asserts_or_draws(page):
    _, notebook = page
    for cell in code_cells(notebook):
        if "nbval-ignore-output" in cell["metadata"].get("tags", []):
            assert cell["metadata"].get("reason"), source(cell)


def test_it_reads_well_where_there_is_no_sphinx_and_weighs_little(page):
    name, notebook = page
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


def test_running_times_come_from_the_record_and_keep_the_budget(page):
    name, _ = page
    times = json.loads((ROOT / "data" / "runs" / "chapter-times.json").read_text())
    assert 0 < times[name]["seconds"] <= 40


def test_stored_explorables_show_what_the_library_computes_today(page):
    name, notebook = page
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    html = "".join("".join(output.get("data", {}).get("text/html", "")) for output in outputs)
    stored, fresh = map(json.loads, EXPLORABLE.findall(html)), declared(BOOK / f"{name}.ipynb")
    assert fresh
    for specification, figure in zip(stored, fresh, strict=True):
        assert specification["controls"] == specification_of(figure.controls, {})["controls"]
        shape = [len(control.values) for control in figure.controls.values()]
        errors = promised_errors(specification["figure"], slack=1e-4)
        for point in range(0, math.prod(shape), max(1, math.prod(shape) // 25)):
            tree = figure.tree([int(at) for at in np.unravel_index(point, shape)])
            assert_close_trees(packing.unpack(specification["figure"], point), tree, errors)


def test_the_lab_that_shows_how_to_make_one_listens_to_each_of_its_controls():
    """A tied model of one layer has the embedding's width: a slider for the hidden size would move nothing."""
    page = read("make-your-own")[1]
    source = next("".join(cell["source"]) for cell in code_cells(page) if "training_lab" in "".join(cell["source"]))
    made = re.search(r"model = (ModelConfig\(.*?\n    \))", source, re.DOTALL)[1]
    sizes = [int(size) for size in re.search(r"hidden_size=steps\(\[([\d, ]+)\]", source)[1].split(",")]
    known = {"ModelConfig": ModelConfig, "corpus": load_corpus("toy")}
    models = [LanguageModel(eval(made, known | {"hidden_size": size})) for size in sizes]
    assert len({sum(weight.numel() for weight in model.parameters()) for model in models}) == len(sizes) > 3
