"""The built book in a real browser: it asks nobody, complains of nothing, and its figures answer the keyboard.

Needs ``make book`` and a Chromium. Where one is missing the tests are skipped; with REQUIRE_BROWSER=1 they fail.
"""

import functools
import http.server
import json
import os
import re
import shutil
import threading
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from awdlib.explore import packing
from awdlib.figures import style

SITE = Path(__file__).resolve().parent.parent / "_build" / "html"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.glob("book/**/*.html"))
INTERACTIVE = [name for name in PAGES if 'class="explorable"' in (SITE / name).read_text(encoding="utf-8")]
WAIT = 60_000  # milliseconds; a limit, not a pause

pytestmark = pytest.mark.browser


def browser_path():
    """Chromium's path, or a reason for doing without."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    missing = None if found else "no Chromium was found"
    missing = missing if PAGES else "the book is not built: run make book"
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing = "playwright is not installed"
    return found, missing


@pytest.fixture(scope="module")
def browser():
    path, missing = browser_path()
    if missing:
        (pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip)(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing of each request."""


@pytest.fixture(scope="module")
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(SITE)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def visit(browser, address):
    """Open a page; what it asked of other hosts and what went wrong is held against it at the end."""
    opened, complaints = [], []

    def open_page(name, width=1200, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(WAIT)
        own = (address, "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else complaints.append(f"asks {r.url}"))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.goto(address + name, wait_until="load")
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert complaints == []


def ready(page):
    """Bring every explorable of the page to view and wait until it is drawn."""
    figures = page.locator(".explorable")
    for number in range(figures.count()):
        figures.nth(number).scroll_into_view_if_needed()
        page.wait_for_function(f"document.querySelectorAll('.explorable')[{number}].dataset.ready === '1'")
    return figures


def specifications(name):
    """What the page's explorables were given, read from the file."""
    text = (SITE / name).read_text(encoding="utf-8")
    return [json.loads(data) for data in re.findall(r'class="explorable-data">(.*?)</script>', text, re.DOTALL)]


SHOWN = """root => { const plot = root.querySelector('.explorable-plot');
  return {alt: plot.getAttribute('aria-label'), readout: root.querySelector('.explorable-readout').textContent,
    data: JSON.parse(JSON.stringify(plot.data.map(({x, y, z, text}) => ({x, y, z, text}))))} }"""


def assert_shows(root, spec, positions):
    """The plot holds what Python unpacks for these positions of the controls."""
    shape = [len(control["values"]) for control in spec["controls"]]
    point = int(np.ravel_multi_index(positions, shape)) if shape else 0
    wanted, shown = packing.unpack(spec["figure"], point), root.evaluate(SHOWN)
    assert shown["alt"] == shown["readout"] == wanted["alt"]
    for got, trace in zip(shown["data"], wanted["data"], strict=True):
        for key in ("x", "y", "z"):
            if isinstance(trace.get(key), np.ndarray):
                np.testing.assert_allclose(np.array(got[key], dtype=float), trace[key], rtol=1e-12)
            elif trace.get(key) is not None:
                assert got[key] == trace[key]


TOO_WIDE = """() => [...document.querySelectorAll('.explorable, .explorable *, .lab, .lab-result img, article img')]
  .filter(node => !node.closest('.explorable-plot svg') && node.getBoundingClientRect().right > innerWidth + 1)
  .map(node => node.outerHTML.slice(0, 120))"""  # what a scrolling box hides does not widen the page


@pytest.mark.parametrize("name", PAGES or ["book"])
def test_page_asks_nobody_and_fits_a_phone(visit, name):
    page = visit(name, width=360)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0
    formulas = page.evaluate("document.querySelectorAll('.math').length")
    page.wait_for_function(f"document.querySelectorAll('mjx-container').length >= {formulas}")


@pytest.mark.parametrize("name", INTERACTIVE)
def test_every_explorable_shows_what_python_computed(visit, name):
    page = visit(name)
    figures, specs = ready(page), specifications(name)
    assert figures.count() == len(specs)
    for number, spec in enumerate(specs):
        assert_shows(figures.nth(number), spec, [control["default"] for control in spec["controls"]])


@pytest.mark.parametrize("name", INTERACTIVE)
def test_every_control_answers_to_the_keyboard(visit, name):
    page = visit(name)
    figures = ready(page)
    for number, spec in enumerate(specifications(name)):
        root = figures.nth(number)
        for at, control in enumerate(spec["controls"]):
            positions = [c["default"] for c in spec["controls"]]
            positions[at] = turn(page, root, control)
            settle(page)
            assert_shows(root, spec, positions)
            if control["kind"] == "slider":
                knob = root.locator(f"[data-name={control['name']}]")
                assert knob.get_attribute("aria-valuetext") == control["texts"][positions[at]]
            root.locator(".explorable-reset").press("Enter")
            settle(page)
            assert_shows(root, spec, [c["default"] for c in spec["controls"]])


def turn(page, root, control):
    """Move a control by one with the keyboard alone; returns its new position."""
    knob = root.locator(f"[data-name={control['name']}]")
    knob.focus()
    if control["kind"] == "switch":
        knob.press("Space")
        return 1 - control["default"]
    back = control["default"] == len(control["values"]) - 1
    step = {("slider", False): "ArrowRight", ("slider", True): "ArrowLeft"}.get(
        (control["kind"], back), "ArrowUp" if back else "ArrowDown"
    )
    knob.press(step)
    return control["default"] + (-1 if back else 1)


def settle(page):
    """Wait for the redraw that was asked of the next animation frame, and the one after it."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


@pytest.mark.parametrize("name", INTERACTIVE)
def test_dark_switch_recolours_while_the_page_is_open(visit, name):
    page = visit(name)
    root = ready(page).first
    ink = "root => getComputedStyle(root.querySelector('.xtitle, .ytitle, .gtitle, .xtick text, .ytick text')).fill"
    colours = {root.evaluate(ink)}
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    settle(page)
    settle(page)
    colours.add(root.evaluate(ink))
    triples = {"#" + "".join(f"{int(n):02x}" for n in re.findall(r"\d+", colour)[:3]) for colour in colours}
    assert triples in ({style.INK, style.DARK[style.INK]}, {style.MUTED, style.DARK[style.MUTED]})


@pytest.mark.parametrize("name", INTERACTIVE[:1])
def test_still_picture_stands_where_scripts_do_not_run(browser, address, name):
    page = browser.new_page(java_script_enabled=False)
    page.goto(address + name)
    pictures = page.locator(".explorable-still")
    assert pictures.count() == len(specifications(name))
    assert pictures.first.is_visible() and page.locator(".explorable-note").first.is_visible()
    assert unescape(pictures.first.get_attribute("alt"))
    page.close()


@pytest.mark.parametrize("name", INTERACTIVE[:1])
def test_works_from_a_file_on_disk(browser, name):
    page = browser.new_page()
    page.set_default_timeout(WAIT)
    page.goto((SITE / name).as_uri())
    ready(page)
    page.close()


@pytest.mark.parametrize("name", INTERACTIVE[:1])
def test_without_plotly_the_picture_stays_and_says_why(browser, address, name):
    page = browser.new_page()
    page.set_default_timeout(WAIT)
    page.route("**/plotly.min.js", lambda route: route.abort())
    page.goto(address + name)
    root = page.locator(".explorable").first
    root.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.explorable').dataset.failed")
    assert root.locator(".explorable-still").is_visible()
    assert "could not be loaded" in root.locator(".explorable-note").inner_text()
    page.close()


@pytest.mark.parametrize("name", PAGES or ["book"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_of_ours(browser, address, name, scheme):
    if os.environ.get("REQUIRE_BROWSER") == "1":
        import axe_playwright_python.sync_playwright as axe
    else:
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = browser.new_page(color_scheme=scheme)  # not visit(): axe itself asks for style sheets that do not exist
    page.set_default_timeout(WAIT)
    page.goto(address + name)
    # the theme fades from one colour to the next: in the middle of it nothing has the contrast it will have
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; animation: none !important }")
    page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
    ready(page)
    found = axe.Axe().run(page).response["violations"]
    report = [f"{v['id']}: {node['html'][:160]} {node['target']}" for v in found for node in v["nodes"]]
    page.close()
    assert [line for line in report if "logo__image" not in line] == []  # the theme's: its logo is in no landmark
