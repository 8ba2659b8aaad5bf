"""What the browser tests share: the built pages, a server for them, and how to move and read an explorable.

They need ``make book`` and a Chromium. Where one is missing they are skipped; with REQUIRE_BROWSER=1 they fail.
"""

import functools
import http.server
import json
import os
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
    # Each window makes two pages of its own, for what drops down from an address bar that nobody sees: of opening a
    # small page of the book that is a third of the work. Chromium takes the last of such lists, and Playwright's is
    # before this one: what may matter of it is named again, no upgrades to HTTPS and nothing asked of a network.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,"
    "MediaRouter,PaintHolding,ThirdPartyStoragePartitioning,OptimizationHints,NetworkTimeServiceQuerying,AimEnabled,"
    "PreconnectToSearch,DestroyProfileOnBrowserClose,AvoidUnnecessaryBeforeUnloadCheckSync",
]  # fmt: skip
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.glob("book/**/*.html"))
PAGES += [name for name in ("genindex.html", "search.html") if (SITE / name).exists()]
INTERACTIVE = [name for name in PAGES if 'class="explorable"' in (SITE / name).read_text(encoding="utf-8")]
WAIT = 60_000  # milliseconds; a limit, not a pause


@contextmanager
def chromium():
    """A browser, or the reason for doing without."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    missing = None if found else "no Chromium was found"
    missing = missing if PAGES else "the book is not built: run make book"
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing = "playwright is not installed"
    if missing:
        (pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip)(missing)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        """As ever; but for a page without an icon, the redirection at the top, the browser asks for one by itself."""
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_):
        """Say nothing of each request."""


@contextmanager
def served(folder):
    """Address of a server of this folder's files."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def watch(page, own):
    """Complaints of a page, as they come: requests to others than those whose address begins so, failures, errors."""
    complaints = []
    page.on("request", lambda r: None if r.url.startswith((*own, "data:", "blob:")) else complaints.append(r.url))
    page.on("requestfailed", lambda r: complaints.append(f"failed: {r.url}"))
    page.on("response", lambda r: complaints.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: complaints.append(str(e)))
    return complaints


# ---- explorables in a page ----


def draw(page, number):
    """Bring one explorable to view, wait until it is drawn, and return it."""
    root = page.locator(".explorable").nth(number)
    root.scroll_into_view_if_needed()
    page.wait_for_function(f"document.querySelectorAll('.explorable')[{number}].dataset.ready === '1'")
    return root


def draw_all(page):
    """Every explorable of a page, drawn."""
    return [draw(page, number) for number in range(page.locator(".explorable").count())]


def settle(page):
    """Wait for the redraw that was asked of the next animation frame, and the one after it."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def specifications(name):
    """What the page's explorables were given, read from the file."""
    text = (SITE / name).read_text(encoding="utf-8")
    return [json.loads(data) for data in re.findall(r'class="explorable-data">(.*?)</script>', text, re.DOTALL)]


SHOWN = """root => { const plot = root.querySelector('.explorable-plot');
  return {alt: plot.getAttribute('aria-label'), readout: root.querySelector('.explorable-readout').textContent,
    data: plot.data, layout: {...plot.layout, template: null}} }"""


def assert_shows(root, wanted, errors):
    """The plot holds this figure, ``{"data", "layout", "alt"}``; arrays within what their packing may lose."""
    shown = root.evaluate(SHOWN)
    assert shown["alt"] == shown["readout"] == wanted["alt"]
    _assert_holds(shown["data"], wanted["data"], errors, ("data",))
    layout = {key: value for key, value in wanted["layout"].items() if key != "template"}
    _assert_holds(shown["layout"], layout, errors, ("layout",))


def _assert_holds(got, wanted, errors, path):
    """All that was asked for is there; plotly adds what it chose itself, and answers `autorange` in its own words."""
    if isinstance(wanted, dict):
        for key in wanted.keys() - {"autorange"}:
            _assert_holds(got[key], wanted[key], errors, (*path, key))
    elif isinstance(wanted, list):
        for number, (one, value) in enumerate(zip(got, wanted, strict=True)):
            _assert_holds(one, value, errors, (*path, number))
    elif isinstance(wanted, np.ndarray | float):
        absolute, relative = errors.get(path, (0, 1e-6))
        got = np.array(got, dtype=float)
        np.testing.assert_allclose(got, wanted, rtol=relative, atol=absolute, err_msg=str(path))
    else:
        assert got == wanted, path
