"""Every page of the built book under axe, which finds what keeps a reader out: in both themes, and without exceptions.

A file of its own, so that a second worker can do it while the first looks at the pages otherwise.
"""

import os

import pytest
from browsing import PAGES, WAIT, draw_all

pytestmark = pytest.mark.browser


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
    draw_all(page)
    found = axe.Axe().run(page).response["violations"]
    report = [f"{v['id']}: {node['html'][:160]} {node['target']}" for v in found for node in v["nodes"]]
    page.close()
    assert report == []
