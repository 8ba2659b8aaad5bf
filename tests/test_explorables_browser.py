"""Every explorable of the built book, moved by mouse and by keyboard: it shows what Python computes there."""

import functools
import re

import pytest
from browsing import INTERACTIVE, ROOT, assert_shows, draw, draw_all, settle, specifications
from explorables import declared, promised_errors

from awdlib.figures import style

pytestmark = pytest.mark.browser


@pytest.fixture(params=INTERACTIVE)
def name(request):
    return request.param


@functools.cache
def in_python(name):
    """The explorables of a page as its notebook declares them."""
    return declared((ROOT / name).with_suffix(".ipynb"))


def each(page, name):
    """(root, explorable as Python declares it, errors that its packing may make), drawn one after another."""
    python, stored = in_python(name), specifications(name)
    assert page.locator(".explorable").count() == len(python) == len(stored) > 0
    for number, (figure, specification) in enumerate(zip(python, stored, strict=True)):
        yield draw(page, number), figure, promised_errors(specification["figure"], slack=1e-4)


def knob(root, control_name):
    return root.locator(f"[data-name={control_name}]")


def position(root, control_name):
    """Where a control stands, read from the page."""
    return knob(root, control_name).evaluate("node => Number(node.type === 'checkbox' ? node.checked : node.value)")


def assert_announces(root, figure, at):
    """Every control says its value, in words, beside it and to a screen reader."""
    for (name, control), where in zip(figure.controls.items(), at, strict=True):
        assert position(root, name) == where
        text = control.text(control.values[where])
        if control.kind == "slider":
            assert knob(root, name).get_attribute("aria-valuetext") == text
            assert root.locator(f"output[for={knob(root, name).get_attribute('id')}]").inner_text() == text
        label = root.locator(f"label[for={knob(root, name).get_attribute('id')}]").inner_text()
        assert control.label in label and control.symbol in label


def test_it_shows_at_first_what_python_computes(visit, name):
    for root, figure, errors in each(visit(name), name):
        assert_shows(root, figure.tree(figure.default), errors)
        assert_announces(root, figure, figure.default)
        assert root.locator(".explorable-title").inner_text() == figure.title != ""
        assert root.locator(".explorable-look").inner_text() == figure.look_for != ""
        assert root.locator(".explorable-readout").get_attribute("aria-live") == "polite"
        assert root.get_attribute("data-ready") == "1"


def test_every_control_answers_to_the_keyboard(visit, name):
    page = visit(name)
    for root, figure, errors in each(page, name):
        for number, (control_name, control) in enumerate(figure.controls.items()):
            for key, wanted in keys(control):
                knob(root, control_name).focus()
                knob(root, control_name).press(key)
                settle(page)
                at = [*figure.default]
                at[number] = wanted
                assert_shows(root, figure.tree(at), errors)
                assert_announces(root, figure, at)
            root.locator(".explorable-reset").press("Enter")
            settle(page)
            assert_shows(root, figure.tree(figure.default), errors)
            assert_announces(root, figure, figure.default)
            assert root.locator(".explorable-reset").is_hidden()


def keys(control):
    """Keys to press one after another, and where the control then stands."""
    last = len(control.values) - 1
    if control.kind == "switch":
        return [("Space", 1 - control.default)]
    if control.kind == "choice":
        return [("Home", 0), ("End", last)] if control.default not in (0, last) else [
            ("End", last) if control.default == 0 else ("Home", 0)
        ]  # fmt: skip
    near = control.default + (1 if control.default < last else -1)
    ends = [("Home", 0), ("End", last)]
    return [("ArrowRight" if near > control.default else "ArrowLeft", near), *ends]


def test_every_control_answers_to_the_mouse(visit, name):
    page = visit(name)
    for root, figure, errors in each(page, name):
        at = [*figure.default]
        for number, (control_name, control) in enumerate(figure.controls.items()):
            at[number] = move(page, root, control_name, control)
            settle(page)
            assert_shows(root, figure.tree(at), errors)  # with what was moved before where it was left
            assert_announces(root, figure, at)
        root.locator(".explorable-reset").click()
        settle(page)
        assert_shows(root, figure.tree(figure.default), errors)
        assert_announces(root, figure, figure.default)


def move(page, root, control_name, control):
    """Turn a control with the mouse; returns where it stands afterwards, another place than before."""
    node = knob(root, control_name)
    node.scroll_into_view_if_needed()
    if control.kind == "switch":
        root.locator(f"label[for={node.get_attribute('id')}]").click()
        return 1 - control.default
    if control.kind == "choice":
        target = (control.default + 1) % len(control.values)
        node.select_option(str(target))  # the list itself is the system's, and not in the page
        return target
    box, last = node.bounding_box(), len(control.values) - 1
    target = last if control.default < last / 2 else 0
    radius = 10  # of the thumb, whose middle travels between the ends of the track less this
    x = [box["x"] + radius + (box["width"] - 2 * radius) * place / last for place in (control.default, target)]
    y = box["y"] + box["height"] / 2
    page.mouse.move(x[0], y)
    page.mouse.down()
    page.mouse.move((x[0] + x[1]) / 2, y, steps=3)
    page.mouse.move(x[1], y, steps=3)
    page.mouse.up()
    assert position(root, control_name) == target
    return target


def test_tab_alone_reaches_every_control_in_order_and_it_shows(visit, name):
    page = visit(name)
    for root, figure, _ in each(page, name):
        names = [*figure.controls]
        knob(root, names[0]).focus()
        page.keyboard.press("Shift+Tab")  # from before the figure
        for control_name, control in figure.controls.items():
            node = knob(root, control_name)
            before = node.screenshot()
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.dataset.name") == control_name
            seen = node.screenshot() != before if control.kind == "slider" else has_ring(node)
            assert seen, f"no focus can be seen on {control_name}"
            assert node.evaluate("node => node.matches(':focus-visible')")
        page.keyboard.press(keys(control)[0][0])
        settle(page)
        page.keyboard.press("Tab")
        reset = root.locator(".explorable-reset")
        assert reset.evaluate("node => node === document.activeElement") and has_ring(reset)
        page.keyboard.press("Enter")
        settle(page)
        assert page.evaluate("document.activeElement.dataset.name") == names[0]  # not lost with the button


def has_ring(node):
    """Whether an outline is drawn around it; it lies outside what a picture of the element shows."""
    width, line = node.evaluate("node => [getComputedStyle(node).outlineWidth, getComputedStyle(node).outlineStyle]")
    return float(width.removesuffix("px")) >= 2 and line != "none"


COLOURS = r"#[0-9a-f]{6}\b|rgba?\([^)]*\)"

ASKED = """root => { const {data, layout} = root.querySelector('.explorable-plot');
  return JSON.stringify([data, {...layout, template: null}]) }"""

TEXTS = """root => [...root.querySelectorAll('.explorable-plot text')].filter(node => node.textContent.trim())
  .map(node => getComputedStyle(node).fill)"""


def test_dark_switch_recolours_every_figure_while_the_page_is_open(visit, name):
    page = visit(name)
    roots = draw_all(page)
    light = [{as_hex(fill) for fill in root.evaluate(TEXTS)} for root in roots]
    colours = [re.findall(COLOURS, root.evaluate(ASKED)) for root in roots]
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    settle(page)
    settle(page)
    for root, before, asked in zip(roots, light, colours, strict=True):
        assert re.findall(COLOURS, root.evaluate(ASKED)) == [dark_twin(colour) for colour in asked]
        after = {as_hex(fill) for fill in root.evaluate(TEXTS)}
        assert before and before <= {*style.DARK}, "a colour with no dark twin"
        assert after == {style.DARK[colour] for colour in before}
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    settle(page)
    settle(page)
    assert [{as_hex(fill) for fill in root.evaluate(TEXTS)} for root in roots] == light


def as_hex(colour):
    return "#" + "".join(f"{int(n):02x}" for n in re.findall(r"\d+", colour)[:3])


def dark_twin(colour):
    """What a colour becomes on a dark page; a fade keeps how much shows through it."""
    if colour.startswith("#"):
        return style.DARK.get(colour, colour)
    twin = style.DARK.get(as_hex(colour))
    return style.fade(twin, float(re.findall(r"[\d.]+", colour)[3])) if twin else colour


def test_dark_page_prints_light_and_shows_values_in_place_of_sliders(visit, name):
    page = visit(name, scheme="dark")
    for root, figure, _ in each(page, name):
        first, control = next(iter(figure.controls.items()))
        knob(root, first).press(keys(control)[0][0])
        settle(page)
        assert root.locator(".explorable-reset").is_visible()
        dark = root.evaluate(TEXTS)
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        settle(page)
        assert {as_hex(fill) for fill in root.evaluate(TEXTS)} <= {*style.DARK}
        assert as_hex(page.evaluate("getComputedStyle(document.body).backgroundColor")) == style.PAPER
        assert page.locator("html").get_attribute("data-theme") == "light"
        assert root.locator(".explorable-reset").is_hidden()
        for control_name, control in figure.controls.items():
            if control.kind == "slider":
                assert knob(root, control_name).is_hidden()
                label = f"output[for={knob(root, control_name).get_attribute('id')}]"
                assert root.locator(label).is_visible()
        page.emulate_media(media="screen")
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        settle(page)
        assert root.evaluate(TEXTS) == dark


def test_dark_page_prints_its_code_in_the_colours_of_the_light_one(visit):
    """Pale letters, chosen for a dark page, could not be read on paper."""
    colours = "[...document.querySelectorAll('.highlight pre span')].map(node => getComputedStyle(node).color)"
    light = visit("book/gru.html").evaluate(colours)
    page = visit("book/gru.html", scheme="dark")
    dark = page.evaluate(colours)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.evaluate(colours) == light != dark
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(colours) == dark
