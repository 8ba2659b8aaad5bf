"""Explorables and labs outside the book's server: a file on disk, no scripts, no plotly, nbconvert, JupyterLab.

Where a page has no plotly.js of its own the explorable asks a public address for one, known by its hash; here the
book's copy is handed over in its place, so that the hash is checked as well.
"""

import os
import re
import subprocess
import sys
import threading
from html import unescape

import pytest
from browsing import INTERACTIVE, ROOT, SITE, WAIT, assert_shows, draw, draw_all, settle, specifications
from explorables import promised_errors, waves

from awdlib.explore import choice, explorable, show_figure, slider, switch
from awdlib.explore import page as explore_page

pytestmark = pytest.mark.browser

CHAPTERS = sorted({(ROOT / name).with_suffix(".ipynb") for name in INTERACTIVE})


def new_page(browser, **settings):
    page = browser.new_page(viewport={"width": 1200, "height": 900}, **settings)
    page.set_default_timeout(WAIT)
    return page


def hand_over_plotly(page):
    """Answer for the public address of the cartesian bundle, and for nobody else beyond this machine."""
    script = (ROOT / "book" / "_static_assets" / "plotly" / "plotly-cartesian.min.js").read_bytes()
    how = {"content_type": "text/javascript", "headers": {"Access-Control-Allow-Origin": "*"}}
    page.route("https://**", lambda route: route.abort())
    page.route(explore_page.PLOTLY["cartesian"]["source"], lambda route: route.fulfill(body=script, **how))


# ---- the book without a server, without scripts, without plotly ----


@pytest.mark.parametrize("name", INTERACTIVE)
def test_book_works_from_a_file_on_disk(browser, name):
    page = new_page(browser)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((SITE / name).as_uri())
    roots = draw_all(page)
    assert len(roots) == len(specifications(name))
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()


@pytest.mark.parametrize("name", INTERACTIVE)
def test_still_picture_stands_where_scripts_do_not_run(browser, address, name):
    page = new_page(browser, java_script_enabled=False)
    page.goto(address + name)
    pictures = page.locator(".explorable-still")
    assert pictures.count() == len(specifications(name))
    for number in range(pictures.count()):
        assert pictures.nth(number).is_visible() and unescape(pictures.nth(number).get_attribute("alt"))
        assert pictures.nth(number).evaluate("picture => picture.naturalWidth") > 0
        note = page.locator(".explorable-note").nth(number)
        assert note.is_visible() and note.inner_text() == explore_page.NOTE
    page.close()


def test_without_plotly_the_picture_stays_and_says_why(browser, address):
    page = new_page(browser)
    page.route("**/plotly*.min.js", lambda route: route.abort())
    page.goto(address + INTERACTIVE[0])
    root = page.locator(".explorable").first
    root.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.explorable').dataset.failed")
    assert root.locator(".explorable-still").is_visible()
    note = root.locator(".explorable-note")
    assert note.is_visible() and "could not be loaded" in note.inner_text()
    readout = root.locator(".explorable-readout")
    before = readout.inner_text()
    root.locator("input[type=range]").first.press("End")
    assert readout.inner_text() != before  # the sliders still say what they would show
    page.close()


# ---- a page of nothing but figures ----


def plain_page(browser, address, folder, *shown):
    """With plotly from the book, and no theme that gives itself a name."""
    metas = [
        f'<meta name="plotly-{bundle}" content="{address}_static/plotly/{name}.min.js">'
        for bundle, name in (("cartesian", "plotly-cartesian"), ("full", "plotly"))
    ]
    text = "\n".join(["<!doctype html><body>", *metas, *(figure.html for figure in shown)])
    (folder / "page.html").write_text(text, encoding="utf-8")
    page = new_page(browser)
    page.goto((folder / "page.html").as_uri())
    return page


def test_every_kind_of_packing_comes_out_in_the_page(browser, address, tmp_path):
    made = explorable(waves, frequency=slider(1, 4, 1, 2), wide=switch(False), kind=choice(["sin", "cos"], "sin"))
    page = plain_page(browser, address, tmp_path, made)
    root, errors = draw(page, 0), promised_errors(made.packed)
    assert_shows(root, made.tree(**made.default), errors)
    moves = [
        ("kind", "End", {"kind": "cos"}),
        ("frequency", "Home", {"frequency": 1}),
        ("wide", "Space", {"wide": True}),
    ]
    moves += [("frequency", "ArrowRight", {"frequency": value}) for value in (2, 3, 4)]
    values = {**made.default}
    for name, key, change in moves:
        root.locator(f"[data-name={name}]").press(key)
        settle(page)
        values |= change
        assert_shows(root, made.tree(**values), errors)
    page.close()


def test_where_no_theme_is_named_the_colour_of_the_text_tells_whether_the_page_is_dark(browser, address, tmp_path):
    made = explorable(waves, frequency=slider(1, 2, 1, 2), title="Waves")
    page = plain_page(browser, address, tmp_path, made)
    title = draw(page, 0).locator(".gtitle")
    light = title.evaluate("node => getComputedStyle(node).fill")
    page.evaluate("document.body.style.color = '#eeeeee'")
    settle(page)
    assert title.evaluate("node => getComputedStyle(node).fill") != light
    page.evaluate("document.body.style.color = '#111111'")
    settle(page)
    assert title.evaluate("node => getComputedStyle(node).fill") == light
    page.close()


# ---- nbconvert ----


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_explorables_live_in_nbconverts_html(browser, tmp_path, chapter):
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--output-dir", tmp_path, chapter]
    subprocess.run(command, check=True, capture_output=True)
    page = new_page(browser)
    hand_over_plotly(page)
    page.goto((tmp_path / f"{chapter.stem}.html").as_uri())
    figures = page.locator(".explorable")
    assert figures.count() == len(specifications(f"book/{chapter.stem}.html"))
    with_slider = (at for at in range(figures.count()) if figures.nth(at).locator("input[type=range]").count())
    root = draw(page, next(with_slider))
    before = root.locator(".explorable-readout").inner_text()
    slider = root.locator("input[type=range]").first
    slider.focus()
    slider.press("Home" if slider.input_value() == slider.get_attribute("max") else "End")
    settle(page)
    assert root.locator(".explorable-readout").inner_text() != before
    page.close()


# ---- JupyterLab ----

EXPLORABLE = """\
from awdlib.explore import Progress, explorable, lab, slider, steps
from awdlib.figures.dropout_masks import average_figure

explorable(average_figure, title="Average", p=slider(0.1, 0.5, 0.4, 0.5), steps=steps([2, 5], 2))"""

LAB = """\
from dataclasses import replace
from awdlib.corpora import load_corpus
from awdlib.model import ModelConfig
from awdlib.training import EpochRecord, TrainConfig, start, train

corpus = load_corpus("toy")
settings = ModelConfig(vocab_size=len(corpus.vocabulary), embedding_size=8, hidden_size=8, num_layers=1)

def work(epochs):
    if epochs == 0:
        return (yield "nothing was trained")
    training = start(settings, TrainConfig(epochs=epochs))
    for step in train(training, corpus):
        yield Progress((training.epoch - 1) / epochs, f"epoch {step.epoch}")
    yield f"trained for {epochs} epochs"

lab(work, title="Train", chapter="dropout-masks", epochs=steps([0, 1, 1000], 0))"""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """A notebook with an explorable and a lab, run and stored as the chapters are: nobody trusts it yet."""
    import nbformat
    from nbclient import NotebookClient

    folder = tmp_path_factory.mktemp("jupyter")
    cells = [nbformat.v4.new_code_cell(source) for source in (EXPLORABLE, LAB)]
    stored = nbformat.v4.new_notebook(cells=cells)
    stored.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(stored, timeout=120).execute()
    stored.metadata.pop("widgets", None)
    nbformat.write(stored, folder / "figures.ipynb")
    return folder / "figures.ipynb"


@pytest.fixture(scope="module")
def jupyterlab(notebook):
    """A JupyterLab of its own in the notebook's folder; its address with the token."""
    folder = notebook.parent
    places = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    settings = ["--allow-root", "--no-browser", "--ServerApp.port=0", "--ServerApp.token=known", "--LabApp.news_url="]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *settings, f"--ServerApp.root_dir={folder}"],
        env=os.environ | places | {"HOME": str(folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        said = iter(process.stderr.readline, "")
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in said)), None)
        rest = threading.Thread(target=process.stderr.read, daemon=True)  # or its pipe fills up, and it waits
        rest.start()
        try:
            yield found[0]
        finally:
            process.terminate()
            rest.join()


def open_notebook(browser, jupyterlab, notebook):
    page = new_page(browser)
    hand_over_plotly(page)
    page.goto(f"{jupyterlab}lab/tree/{notebook.name}?token=known&reset")
    page.wait_for_selector(".jp-Notebook .explorable", state="attached")
    return page


@pytest.mark.slow
def test_in_jupyterlab_an_untrusted_notebook_shows_the_still_picture_and_no_gap(browser, jupyterlab, notebook):
    page = open_notebook(browser, jupyterlab, notebook)
    root = page.locator(".explorable")
    still = root.locator(".explorable-still")
    still.wait_for(state="visible")
    assert root.locator("script").count() == 0, "JupyterLab took out no script: is the notebook trusted?"
    assert "still picture" in root.locator(".explorable-note").inner_text()
    assert root.locator(".explorable-plot").bounding_box()["height"] < 5
    page.close()


@pytest.mark.slow
def test_in_jupyterlab_the_explorable_moves_and_the_lab_runs_and_is_cancelled(browser, jupyterlab, notebook):
    page = open_notebook(browser, jupyterlab, notebook)
    page.get_by_text("(ipykernel) | Idle").wait_for()  # before that, running all cells only empties them
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.locator(".jupyter-widgets").get_by_text("nothing was trained").wait_for()
    root = draw(page, 0)
    before = root.locator(".explorable-readout").inner_text()
    root.locator("[data-name=steps]").press("ArrowRight")
    settle(page)
    assert root.locator(".explorable-readout").inner_text() != before

    run = page.locator("button.jupyter-button", has_text="Run")
    run.scroll_into_view_if_needed()
    slider = page.get_by_role("slider").last
    slider.press("ArrowRight")
    slider.press("ArrowRight")  # a thousand epochs
    run.click()
    page.get_by_text(re.compile(r"^epoch \d+$")).wait_for()
    assert run.is_disabled()
    page.locator("button.jupyter-button", has_text="Cancel").click()
    page.get_by_text("Cancelled.", exact=True).wait_for()
    assert page.get_by_text("trained for 1000 epochs").count() == 0

    slider.press("ArrowLeft")  # one epoch
    run.click()
    page.get_by_text("trained for 1 epochs", exact=True).wait_for()
    page.close()


# ---- plotly's two bundles ----


def test_cartesian_bundle_draws_all_that_it_is_asked_to(visit):
    page = visit(INTERACTIVE[0])
    draw(page, 0)
    assert explore_page.CARTESIAN <= set(page.evaluate("Object.keys(Plotly.PlotSchema.get().traces)"))


def test_figure_that_needs_the_whole_of_plotly_gets_it_beside_one_that_does_not(browser, address, tmp_path):
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

    figures = [go.Figure(go.Scatter(y=[1, 2])), go.Figure(go.Scatterpolar(r=[1, 2, 3], theta=[0, 90, 180]))]
    shown = [show_figure(figure, alt="a figure", still=Figure()) for figure in figures]
    page = plain_page(browser, address, tmp_path, *shown)
    draw_all(page)
    assert page.locator(".explorable .polarlayer .scatterlayer path").count() > 0
    page.close()
