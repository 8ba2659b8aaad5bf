"""The decks in a browser: they start without a network, nothing runs over an edge, and their figures are alive."""

import json
import re
from itertools import pairwise

import pytest
from browsing import ROOT, SITE, draw, draw_all, settle
from contrast import contrast

pytestmark = pytest.mark.browser

DECKS = sorted(path.name for path in SITE.glob("slides/*.html") if path.name != "index.html")
TITLE = re.search(r"^title: (.+)$", (ROOT / "_config.yml").read_text(encoding="utf-8"), re.MULTILINE)[1]
SMALLEST = 12  # of the letters of a slide, of whose height 720 of these pixels make up the whole

# goes through all slides, and measures each as soon as it lies still
WALK = """async () => {
  const still = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const found = [];
  for (let number = 0; number < Reveal.getTotalSlides(); number++) {
    const section = Reveal.getCurrentSlide(), slide = section.querySelector(".slide");
    const shown = section.querySelector(".shown"), waits = () => section.querySelector(".explorable:not([data-ready])");
    for (let tries = 0; waits() && tries < 600; tries++) await still();
    await still();
    const stage = section.querySelector(".stage"), text = section.querySelector(".slide > .text");
    const letters = shown && shown.querySelector("pre, mjx-container, table, .explorable-readout");
    found.push({
      title: section.querySelector("h1, h2").innerText, kind: section.className.replace(/ ?present/, ""),
      over: Math.max(slide.scrollHeight - slide.clientHeight, slide.scrollWidth - slide.clientWidth),
      room: stage && stage.clientHeight, scale: shown && Number(shown.dataset.scale),
      letters: letters && parseFloat(getComputedStyle(letters).fontSize) * Number(shown.dataset.scale),
      words: text && parseFloat(getComputedStyle(text).fontSize),
      outside: shown ? shown.getBoundingClientRect().bottom - stage.getBoundingClientRect().bottom : 0,
      notes: !!section.querySelector("aside.notes"), raw: section.innerText.includes("\\\\("),
    });
    Reveal.next();
  }
  return found;
}"""


@pytest.fixture
def deck(visit):
    def open_deck(name, **settings):
        page = visit(f"slides/{name}", width=1280, **settings)
        page.set_viewport_size({"width": 1280, "height": 720})
        page.wait_for_function("window.Reveal && Reveal.isReady() && window.MathJax && MathJax.startup")
        page.wait_for_function("() => MathJax.startup.promise.then(() => true)")
        return page

    return open_deck


def test_there_is_a_deck_for_every_chapter_and_the_list_has_them_all(visit):
    page = visit("slides/index.html")
    assert DECKS and sorted(link.get_attribute("href") for link in page.locator("main li a").all()) == DECKS


@pytest.mark.parametrize("name", DECKS)
def test_a_deck_says_which_book_it_is_from(name):
    text = (SITE / "slides" / name).read_text(encoding="utf-8")
    assert f"slides of {TITLE}</title>" in text and f'<p class="part">{TITLE} · ' in text


@pytest.mark.parametrize("name", DECKS)
def test_every_slide_can_be_read_and_nothing_runs_over_its_edge(deck, name):
    slides = deck(name).evaluate(WALK)
    assert len(slides) > 5
    for slide in slides:
        about = json.dumps(slide)
        assert slide["over"] <= 1 and slide["outside"] <= 1 and not slide["raw"], about
        assert slide["notes"] or slide["words"] is None or slide["title"] == "Exercises", about
        if slide["room"] is not None:
            assert slide["room"] > 300 and slide["scale"] > 0, about
        if slide["letters"] is not None:
            assert slide["letters"] >= SMALLEST, about
        assert slide["words"] is None or slide["words"] >= 28, about
    assert any(one["title"] != other["title"] for one, other in pairwise(slides))


@pytest.mark.parametrize("name", DECKS[:3])
def test_a_figure_with_sliders_answers_on_its_slide_and_the_deck_stays(deck, name):
    page = deck(name)
    number = page.evaluate(
        """() => Reveal.getSlides().findIndex((one) => one.querySelector(".explorable input[type=range]"))"""
    )
    page.evaluate("n => { const at = Reveal.getIndices(Reveal.getSlides()[n]); Reveal.slide(at.h, at.v) }", number)
    order = page.evaluate(
        """() => { const here = Reveal.getCurrentSlide().querySelector(".explorable");
          return [...document.querySelectorAll(".explorable")].indexOf(here) }"""
    )
    root = draw(page, order)
    before, at = root.locator(".explorable-readout").inner_text(), page.evaluate("Reveal.getSlidePastCount()")
    slider = root.locator("input[type=range]").first
    slider.focus()
    slider.press("Home" if slider.input_value() == slider.get_attribute("max") else "End")
    settle(page)
    assert root.locator(".explorable-readout").inner_text() != before
    slider.press("ArrowLeft")
    assert page.evaluate("Reveal.getSlidePastCount()") == at  # the arrow is the slider's, not the deck's


CODE = """() => [...document.querySelectorAll('.highlight span')].filter(node => node.innerText.trim()).map(node => [
  getComputedStyle(node).color, getComputedStyle(node.closest('pre')).backgroundColor])"""


def as_hex(colour):
    return "#" + "".join(f"{int(n):02x}" for n in re.findall(r"\d+", colour)[:3])


def test_dark_is_one_key_away_and_code_can_be_read_in_both(deck):
    page, papers = deck(DECKS[0]), set()
    for _ in range(2):
        colours = {tuple(map(as_hex, pair)) for pair in page.evaluate(CODE)}
        assert len(colours) > 2 and min(contrast(*pair) for pair in colours) >= 4.5, colours
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.keyboard.press("d")
    assert len(papers) == 2


def test_a_deck_prints_a_slide_a_page_with_every_figure_drawn(visit):
    page = visit("slides/gru.html?print-pdf", width=1280)
    page.wait_for_function("window.Reveal && Reveal.isReady() && document.querySelector('.pdf-page')")
    assert page.locator(".pdf-page").count() == page.evaluate("Reveal.getTotalSlides()")
    figures = draw_all(page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert figures
    for figure in figures:
        assert figure.locator("input").first.is_hidden() and figure.locator("output").first.is_visible()
