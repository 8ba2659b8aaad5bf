"""Every page of the built book in a real browser: it asks nobody, complains of nothing, fits, weighs little."""

import re

import pytest
from browsing import INTERACTIVE, PAGES, SITE, draw, draw_all, settle, specifications

pytestmark = pytest.mark.browser

#: a page without the scripts that all pages share, in bytes: its HTML and the pictures that it asks for
MOST = 1_500_000

TOO_WIDE = """() => [...document.querySelectorAll('.explorable, .explorable *, .lab, .lab-result img, article img')]
  .filter(node => !node.closest('.explorable-plot svg') && node.getBoundingClientRect().right > innerWidth + 1)
  .map(node => node.outerHTML.slice(0, 120))"""  # what a scrolling box hides does not widen the page


MOVING = """() => [...document.querySelectorAll('*')].filter(node => {
  const {transitionDuration, animationDuration} = getComputedStyle(node);
  return `${transitionDuration}, ${animationDuration}`.split(', ').some(time => parseFloat(time) > 0.01);
}).map(node => node.outerHTML.slice(0, 80))"""  # in seconds


@pytest.mark.parametrize("name", PAGES or ["book"])
def test_page_asks_nobody_and_fits_a_phone(visit, name):
    page = visit(name, width=360)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(TOO_WIDE) == []
    formulas = page.evaluate("document.querySelectorAll('.math').length")
    page.wait_for_function(f"document.querySelectorAll('mjx-container').length >= {formulas}")
    assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0


@pytest.mark.parametrize("name", PAGES or ["book"])
def test_page_loads_plotly_once_and_only_where_a_figure_needs_it(visit, name):
    page = visit(name)
    page.set_viewport_size({"width": 1200, "height": 30_000})  # every figure at once, before plotly.js is there
    draw_all(page)
    assert page.locator("script[src*='plotly']").count() == (name in INTERACTIVE)
    bundles = {specification["plotly"]["bundle"] for specification in specifications(name)}
    asked = [url.rpartition("/")[2] for url in page.asked if "plotly" in url]
    assert asked == ["plotly-cartesian.min.js"] * len(bundles) and bundles <= {"cartesian"}
    assert sum("explorable.js" in url for url in page.asked) == (name in INTERACTIVE)


@pytest.mark.parametrize("name", PAGES or ["book"])
def test_page_weighs_little(name):
    text = (SITE / name).read_text(encoding="utf-8")
    pictures = {(SITE / name).parent / path for path in re.findall(r'<img[^>]+src="(?!data:|https?:)([^"?#]+)', text)}
    assert len(text.encode()) + sum(path.stat().st_size for path in pictures) <= MOST


@pytest.mark.parametrize("name", INTERACTIVE)
def test_page_brings_no_script_of_its_own_for_each_figure(name):
    text = (SITE / name).read_text(encoding="utf-8")
    figures = re.findall(r'<figure class="explorable".*?</figure>', text, re.DOTALL)
    assert len(figures) == text.count('class="explorable"')
    for figure in figures:
        assert "<style" not in figure and re.findall("<script[^>]*>", figure) == [
            '<script type="application/json" class="explorable-data">'
        ]


@pytest.mark.parametrize("name", INTERACTIVE)
def test_figures_below_the_fold_wait_until_they_come_near(visit, name):
    page = visit(name)
    page.wait_for_function("[...document.querySelectorAll('.explorable')].every(figure => figure.dataset.started)")
    settle(page)
    last = page.locator(".explorable").count() - 1
    box = page.locator(".explorable").nth(last).bounding_box()
    assert box["y"] > 900 + 400, "this test needs a page whose last figure lies far below"
    assert page.locator(".explorable").nth(last).get_attribute("data-ready") is None
    draw(page, last)


def test_the_sites_address_leads_to_the_introduction(visit):
    page = visit("index.html")
    page.wait_for_url("**/book/intro.html")


def test_search_works_with_nobody_to_ask(visit):
    page = visit("search.html?q=locked+dropout")
    page.wait_for_selector("#search-results li a")
    assert any("dropout-masks" in link.get_attribute("href") for link in page.locator("#search-results li a").all())


@pytest.mark.parametrize("name", PAGES or ["book"])
def test_nothing_moves_by_itself_for_those_who_asked_for_rest(visit, name):
    page = visit(name, reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert page.evaluate(MOVING) == []


@pytest.mark.parametrize("width", [1280, 360])
def test_the_front_says_what_it_is_for_whom_and_where_to_begin_on_its_first_screen(visit, width):
    page = visit("book/intro.html", width=width)
    screen = "node => { const {top, bottom} = node.getBoundingClientRect(); return [top, bottom]; }"
    lead, begin = page.locator(".front-lead"), page.locator(".front-begin a").first
    assert re.search(r"interactive book.*AWD-LSTM.*PyTorch.*for students.*teachers", lead.inner_text(), re.S)
    assert begin.evaluate(screen)[1] < 450, "the first link is in the first half of the screen"
    draw(page, 0)
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    top, bottom = page.locator(".explorable-plot").first.evaluate(screen)
    if width > 1000:
        assert top < 450 and bottom <= 950, "so is the beginning of the figure, and nearly all of it is on the screen"
    else:
        assert page.locator(".explorable input[type=range]").first.evaluate(screen)[1] < 800, "its slider is in sight"
    begin.click()
    page.wait_for_url("**/book/language-modelling.html")
    assert page.locator("h1").first.inner_text().startswith("Language modelling and perplexity")
