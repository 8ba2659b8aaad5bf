"""The decks in a browser: they start without a network, nothing runs over an edge, and their figures are alive."""

import json
from itertools import pairwise

import pytest
from browsing import SITE, draw, settle

pytestmark = pytest.mark.browser

DECKS = sorted(path.name for path in SITE.glob("slides/*.html") if path.name != "index.html")
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


def test_dark_is_one_key_away(deck):
    page = deck(DECKS[0])
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("d")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
