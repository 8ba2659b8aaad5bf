"""Explorables hold what their function returns, labs run, cancel and fail in the open, and source is shown as it is."""

import base64
import hashlib
import inspect
import io
import json
import re
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

plotly = pytest.importorskip("plotly")
go = pytest.importorskip("plotly.graph_objects")
pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

import helpers  # noqa: E402
from contrast import contrast  # noqa: E402
from explorables import assert_close_trees, promised_errors, waves  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from awdlib.explore import (  # noqa: E402
    Lab,
    Progress,
    Source,
    choice,
    explorable,
    lab,
    packing,
    page,
    show_figure,
    show_source,
    slider,
    steps,
    switch,
)
from awdlib.explore.laboratory import COLAB  # noqa: E402
from awdlib.figures import style  # noqa: E402
from awdlib.training import start, train  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def empty(**_):
    return go.Figure(), "nothing"


@pytest.fixture(scope="module")
def packed_waves():
    return explorable(
        waves, frequency=slider(1, 4, 1, 2), wide=switch(False), kind=choice(["sin", "cos"], "sin"), title="Waves"
    )


# ---- packing ----


def test_page_shows_what_the_function_returns_at_every_grid_point(packed_waves):
    stored = json.loads(re.search(r'explorable-data">(.*?)</script>', packed_waves.html)[1])["figure"]
    errors = promised_errors(stored)
    for number, point in enumerate(packed_waves.points):
        assert_close_trees(packing.unpack(stored, number), packed_waves.tree(**point), errors)


def test_every_kind_of_packing_is_used_and_its_error_is_what_it_promises(packed_waves):
    kinds = {entry["kind"] for entry in packed_waves.packed["varying"]}
    assert kinds == {"json", "table", "byte", "short", "float"}
    for entry in packed_waves.packed["varying"]:
        if entry["kind"] in ("byte", "short"):
            span = entry["step"] * {"byte": 254, "short": 65534}[entry["kind"]]
            assert entry["step"] / 2 <= span / {"byte": 508, "short": 131068}[entry["kind"]] * 1.0001
            assert (entry["kind"] == "byte") == (entry["path"][-1] == "z")


def test_equal_arrays_are_stored_once(packed_waves):
    short = next(e for e in packed_waves.packed["varying"] if e["path"] == ["data", 0, "y"])
    assert len(set(short["index"])) == 4 * 2  # frequency and kind move it, the switch does not
    assert len(base64.b64decode(short["bytes"])) == 8 * 150 * 2


def test_both_ways_in_which_plotly_writes_arrays_come_out_the_same():
    numbers = np.arange(12.0).reshape(3, 4)
    typed = {"dtype": "f8", "bdata": base64.b64encode(numbers.tobytes()).decode(), "shape": "3, 4"}
    for written in (typed, numbers, numbers.tolist(), tuple(map(tuple, numbers))):
        np.testing.assert_array_equal(packing.plain(written), numbers)


@pytest.mark.parametrize(("values", "bits"), [(2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (256, 8)])
def test_few_values_take_few_bits_and_come_back_exactly(values, bits):
    rows = np.random.default_rng(values).integers(values, size=(3, 7, 299)).astype(float) / 7
    rows[0].flat[:values] = np.arange(values) / 7
    packed = packing.pack([{"z": row} for row in rows])
    (entry,) = packed["varying"]
    assert entry["bits"] == bits and len(base64.b64decode(entry["bytes"])) == -(-rows.size * bits // 8)
    for number, row in enumerate(rows):
        np.testing.assert_array_equal(packing.unpack(packed, number)["z"], row)


def test_numpys_numbers_make_steps():
    assert [(type(v), v) for v in steps(np.arange(2), 1).values] == [(int, 0), (int, 1)]


def test_gaps_survive():
    column = np.linspace(0, 1, 600)
    column[7] = np.nan
    packed = packing.pack([{"y": column}, {"y": column + 1}])
    assert np.isnan(packing.unpack(packed, 1)["y"]).nonzero()[0].tolist() == [7]


@pytest.mark.parametrize(
    ("trees", "path"),
    [
        ([{"data": {"y": np.r_[np.arange(20.0), np.inf]}}], "data.y"),
        ([{"data": {"y": np.array([1.0, -np.inf])}}], "data.y"),  # so few are written out, not packed
        ([{"data": [{"y": np.ones(3)}]}, {"data": [{"y": np.array([np.inf])}]}], "data.0.y"),
        ([{"data": [{"y": np.ones(30)}]}, {"data": [{"y": np.full(20, np.inf)}]}], "data.0.y"),
        ([{"a": 1}, {"b": [{"x": np.inf}]}], "b.0.x"),
    ],
)
def test_infinite_numbers_are_refused(trees, path):
    with pytest.raises(ValueError, match=f"^{re.escape(path)} holds an infinite number, .*: use nan for gaps$"):
        packing.pack(trees)


# ---- explorables ----


def test_same_function_gives_the_same_html(packed_waves):
    again = explorable(
        waves, frequency=slider(1, 4, 1, 2), wide=switch(False), kind=choice(["sin", "cos"], "sin"), title="Waves"
    )
    assert again.html == packed_waves.html
    assert repr(again) == repr(packed_waves)


def test_html_has_a_text_alternative_a_picture_and_no_address_but_the_pinned_one(packed_waves):
    html = packed_waves.html
    assert html.startswith('<figure class="explorable" data-id="x')
    assert 'alt="sin with frequency 2"' in html
    picture = base64.b64decode(re.search(r'src="data:image/png;base64,([^"]+)"', html)[1])
    assert Image.open(io.BytesIO(picture)).width == 760
    assert set(re.findall(r"https?://[^\"' ]+", html)) == {page.PLOTLY["cartesian"]["source"]}
    assert "sin with frequency 2" in repr(packed_waves)


def test_words_cannot_leave_the_script_element():
    figure = go.Figure(layout_title="</script><b>")
    html = show_figure(figure, alt='<i>"quoted"</i>', title="a < b", still=Figure()).html
    assert html.count("</script>") == 2 and "<i>" not in html and "a &lt; b" in html


def test_values_are_written_with_a_minus_and_one_of_a_unit_in_the_singular():
    control = slider(-1.0, 2.0, 0.5, 1.0, unit="steps")
    texts = [control.text(value) for value in control.values]
    assert texts == ["−1.0 step", "−0.5 steps", "0.0 steps", "0.5 steps", "1.0 step", "1.5 steps", "2.0 steps"]
    assert [slider(1, 2, 1, 1, unit=unit).text(1) for unit in ("s", "nats", "")] == ["1 s", "1 nat", "1"]


def test_values_are_written_out_with_commas_between_thousands():
    assert steps([-1e-7, 5e-05, 0.1 + 0.2, 1e6], 1e6).texts == ("−0.0000001", "0.00005", "0.3", "1,000,000")
    assert slider(500, 1500, 500, 500).texts == ("500", "1,000", "1,500")


def test_function_sees_the_values_that_were_declared():
    seen = []

    def function(**values):
        seen.append(values)
        return go.Figure(), "nothing"

    explorable(function, a=slider(0.1, 0.3, 0.1, 0.2), b=steps([1, 10], 1), c=choice({5: "five", 6: "six"}, 6))
    assert [v["a"] for v in seen[::4]] == [0.1, 0.2, 0.3]
    assert seen[:4] == [{"a": 0.1, "b": b, "c": c} for b in (1, 10) for c in (5, 6)]


def test_alternative_may_be_attached_to_the_figure_or_is_asked_for():
    assert explorable(lambda: style.describe(go.Figure(), "an empty figure")).decoded()["alt"] == "an empty figure"
    with pytest.raises(ValueError, match="no text alternative: return .figure, sentence."):
        explorable(lambda: go.Figure())


def test_unknown_kind_of_trace_needs_a_picture_of_its_own():
    figure = go.Figure(go.Pie(values=[1, 2]))
    with pytest.raises(ValueError, match="'pie' trace: pass still="):
        _ = show_figure(figure, alt="a pie").html
    assert "base64" in show_figure(figure, alt="a pie", still=Figure).html


def two(a, b=1):
    return go.Figure(), f"{a} and {b}"


def text_of_two(a, b=1):
    yield f"{a} and {b}"


def never(a, b):
    raise AssertionError("it was computed")


A, MANY = slider(1, 3, 1, 1), slider(0, 400, 1, 0)


@pytest.mark.parametrize("make", [explorable, lab])
@pytest.mark.parametrize(
    ("function", "names", "message"),
    [
        (never, ["a", "aa"], "'aa' is no parameter of never: give controls for a, b"),
        (lambda a: never(a, 1), ["aa"], "'aa' is no parameter of the function: give controls for a"),
        (lambda: never(1, 1), ["aa"], "'aa' is no parameter of the function: it takes none"),
        (never, ["a"], "parameter 'b' of never has no control and no default: give it one"),
        (lambda a, **more: never(a, 1), ["b"], "parameter 'a' of the function has no control and no default"),
        (lambda a, /: never(a, 1), [], "parameter 'a' of the function takes no keyword: leave out the / behind it"),
    ],
)
def test_controls_fit_the_parameters_before_anything_is_computed(make, function, names, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make(function, **dict.fromkeys(names, A))


def test_misspelt_argument_is_no_parameter_either():
    with pytest.raises(ValueError, match="^'titel' is no parameter of two: give controls for a, b$"):
        explorable(two, titel="Two", a=A)


def test_function_that_does_not_say_what_it_takes_is_left_alone():
    class Silent:
        __signature__ = "unknown"

        def __call__(self, **values):
            return two(**values)

    with pytest.raises((TypeError, ValueError)):
        inspect.signature(Silent())
    assert explorable(Silent(), a=A).decoded()["alt"] == "1 and 1"
    assert explorable(partial(two, b=2), a=A).decoded(a=3)["alt"] == "3 and 2"


@pytest.mark.parametrize(
    ("make", "names"),
    [(explorable, ["title", "look_for", "still", "limit_mb"]), (lab, ["title", "look_for", "chapter"])],
)
def test_parameter_that_is_called_like_an_argument_is_to_be_renamed(make, names):
    for name in names:
        message = f"^'{name}' is an argument of {make.__name__} itself: rename the function's parameter$"
        with pytest.raises(ValueError, match=message):
            make(lambda **_: None, **{name: A})


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions take notes from Python 3.11 on")
def test_error_at_a_point_of_the_grid_says_where():
    def fragile(a, b):
        if (a, b) == (3, "x"):
            raise ZeroDivisionError("three")
        return go.Figure(), "" if a == 2 else "fine"

    with pytest.raises(ZeroDivisionError, match="^three") as caught:
        explorable(fragile, a=slider(3, 4, 1, 3), b=choice(["x", "y"], "x"))
    assert caught.value.__notes__ == ["at a = 3, b = 'x'"]
    with pytest.raises(ValueError, match="no text alternative") as caught:
        explorable(fragile, a=A, b=choice(["x", "y"], "x"))
    assert caught.value.__notes__ == ["at a = 2, b = 'x'"]
    with pytest.raises(ZeroDivisionError) as caught:
        explorable(lambda: 1 / 0)
    assert not hasattr(caught.value, "__notes__")  # there is but one point


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: slider(0, 1, 0, 0), "step must be positive, got 0"),
        (lambda: slider(0.0, 1.0, 0.3, 0.3), "never meets 1.0"),
        (lambda: slider(0.0, 1.0, 0.001, 0.5), "at most 401 positions, got 1001"),
        (lambda: slider(0.0, 1.0, 0.1, 0.25), "cannot stand at 0.25: choose one of 0.0, 0.1"),
        (lambda: slider(0, 400, 1, 2.5), r"stand at 2.5: choose one of 0, 1, 2, …, 400$"),
        (lambda: slider(1, 8, 1, 9), r"choose one of 1, 2, 3, 4, 5, 6, 7, 8$"),
        (lambda: slider(1, 1, 1, 1), r"^a slider needs at least two different values, got \[1\]$"),
        (lambda: steps([1], 1), r"^steps\(\) needs at least two different values, got \[1\]$"),
        (lambda: steps([2, 1, 1], 1), r"^steps\(\) takes every value once, but 1 is given twice: leave one out$"),
        (lambda: steps(3, 3), r"^the values of steps\(\) are 3; give a list of numbers$"),
        (lambda: choice(None, "a"), "^the options are None; give a list or a mapping of them$"),
        (lambda: choice([[1], [2]], [1]), r"^a choice cannot hold \[1\], a list: give numbers or strings$"),
        (lambda: choice(["a", "b"], ["a"]), r"cannot stand at \['a'\]: choose one of a, b"),
        (lambda: choice(["a"], "a"), "at least two different values"),
        (lambda: choice(["a", "b"], "c"), "cannot stand at 'c': choose one of a, b"),
        (lambda: switch(1), "True or False, got 1"),
        (lambda: explorable(waves, frequency=3), r"frequency = 3 is no control: use slider\(\)"),
        (lambda: explorable(lambda: (go.Figure(), 5)), "^the text alternative is 5; it must be a string$"),
        (lambda: explorable(lambda: go.Figure(layout_meta={"alt": 5})), "^the text alternative is 5; it must be a str"),
        (lambda: explorable(lambda: ()), r"^the function returned 0 things: return \(figure, sentence\)$"),
        (lambda: explorable(lambda: (go.Figure(),)), r"^the function returned 1 thing in a tuple: return \(fig"),
        (lambda: explorable(lambda: (go.Figure(), "a", "b")), "^the function returned 3 things: return .figure, sent"),
        (lambda: explorable(two, a=A).decoded(b=1), "^there is no control 'b': choose among a$"),
        (lambda: explorable(lambda: two(1)).decoded(b=1), "^there is no control 'b': there are none$"),
        (lambda: explorable(two, a=A).decoded(a=9), "^control 'a' cannot stand at 9: choose one of 1, 2, 3$"),
        (lambda: explorable(never, still="x", a=A, b=A), "^still is 'x'; give a matplotlib figure or a function that"),
        (
            lambda: explorable(two, still=list, a=A).html,
            r"^still\(\) returned \[\]; it must return a matplotlib figure$",
        ),
        (lambda: lab(text_of_two, a=MANY).run(b=1), "^there is no control 'b': choose among a$"),
        (
            lambda: lab(text_of_two, a=MANY).run(a=999),
            "^control 'a' cannot stand at 999: choose one of 0, 1, 2, …, 400$",
        ),
        (lambda: lab(text_of_two, a=A, chapter="x.ipynb"), "^chapter is 'x.ipynb'; leave the ending out: 'x'$"),
        (lambda: Progress(2), r"^fraction is 2.0; it must lie in \[0, 1\]: divide what is done by all that there is"),
        (lambda: Progress(1 + 1e-9), r"must lie in \[0, 1\]"),
        (lambda: Progress(-0.1), r"must lie in \[0, 1\]"),
        (
            lambda: explorable(waves, frequency=slider(0, 400, 1, 0), wide=slider(0, 19, 1, 0)),
            r"8,020 combinations of values, about \d\d\.\d MB; the limits are 4,000 and 0.8 MB: "
            r"give 'frequency' at most \d+ values in place of 401$",
        ),
        (
            lambda: explorable(empty, a=slider(0, 400, 1, 0), b=slider(0, 300, 1, 0), c=slider(0, 99, 1, 0)),
            "12,070,100 .* give 'a' fewer values than its 401, and so 'b', 'c'$",
        ),
        (
            lambda: explorable(waves, limit_mb=0.01, frequency=slider(1, 9, 1, 1)),
            r"weighs 0\.\d\d MB of 0.01 allowed: give 'frequency' at most \d values in place of 9, or show less",
        ),
        (
            lambda: explorable(waves, limit_mb=0.01, wide=switch(True)),
            r"weighs 0\.\d\d MB of 0.01 allowed: leave a control out, or show less$",
        ),
    ],
)
def test_bad_input_names_value_limit_and_remedy(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def integrity(script):
    return f"sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}"


def test_pinned_plotly_is_the_installed_one():
    from plotly.offline import get_plotlyjs, get_plotlyjs_version

    if get_plotlyjs_version() != page.PLOTLY_VERSION:
        pytest.skip(f"plotly.js {get_plotlyjs_version()} is installed, the page pins {page.PLOTLY_VERSION}")
    assert page.PLOTLY["full"]["integrity"] == integrity(get_plotlyjs().encode())


def test_pinned_cartesian_bundle_is_the_one_that_the_book_brings_along():
    script = (ROOT / "book" / "_static_assets" / "plotly" / "plotly-cartesian.min.js").read_bytes()
    assert f"(cartesian - minified) v{page.PLOTLY_VERSION}".encode() in script[:200]
    assert page.PLOTLY["cartesian"]["integrity"] == integrity(script)
    for bundle in page.PLOTLY.values():
        assert page.PLOTLY_VERSION in bundle["source"]


def test_whole_plotly_is_asked_for_only_by_figures_that_need_it():
    def shape(kind):
        return go.Figure(go.Surface(z=[[0, 1], [1, 2]]) if kind == "solid" else go.Scatter(y=[0, 1])), "a shape"

    for other, bundle in (("dotted line", "cartesian"), ("solid", "full")):
        stored = json.loads(explorable(shape, kind=choice(["line", other], "line")).data)["plotly"]
        assert stored == {"bundle": bundle, **page.PLOTLY[bundle]}


# ---- colours ----


@pytest.mark.parametrize("name", ["INK", "MUTED", "BLUE", "ORANGE", "GREEN", "PINK", "GOLD"])
def test_text_in_these_colours_reads_on_light_and_on_dark(name):
    light = getattr(style, name)
    assert contrast(light, style.PAPER) >= 4.5
    assert contrast(style.DARK[light], style.DARK[style.PAPER]) >= 4.5


def test_every_colour_of_the_language_has_a_dark_twin():
    used = {stop[1] for stop in style.SEQUENTIAL + style.DIVERGING} | set(style.ROLES.values()) | set(style.CYCLE)
    used |= set(re.findall(r"#[0-9a-f]{6}", json.dumps(style.plotly_template())))
    assert used <= set(style.DARK)
    with pytest.raises(ValueError, match="no colour for the role 'trian': the roles are iterate"):
        style.colour("trian")


# ---- labs ----


def picture(sentence):
    return style.describe(Figure(figsize=(1, 1)), sentence)


def doubled(n, loud=False):
    yield Progress(0.5, "half way")
    yield picture(f"twice {n} is {2 * n}")


def test_default_run_is_made_at_once_and_stored():
    made = lab(doubled, n=slider(1, 5, 1, 3), loud=switch(False), title="Doubling", chapter="dropout-masks")
    assert made.result.get_label() == "twice 3 is 6"
    bundle = made._repr_mimebundle_()
    assert 'alt="twice 3 is 6"' in bundle["text/html"] and "n = <b>3</b>" in bundle["text/html"]
    assert f'href="{COLAB}book/dropout-masks.ipynb"' in bundle["text/html"]
    assert "twice 3 is 6" in bundle["text/plain"]
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == made.panel.widget.model_id


def test_errors_of_the_default_run_are_the_cells_errors():
    def broken(n):
        yield Progress(0.1)
        raise RuntimeError("the loss is nan")

    with pytest.raises(RuntimeError, match="the loss is nan"):
        lab(broken, n=slider(1, 2, 1, 1))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda n: n, "must be a generator"),
        (lambda n: iter(()), "must be a generator"),
        (lambda n: (Progress(i) for i in range(2)), "showed nothing"),
        (lambda n: (Figure() for _ in range(1)), "no text alternative"),
        (lambda n: (("text", (Figure(),)) for _ in range(1)), "no text alternative"),
        (lambda n: (go.Figure() for _ in range(1)), "draw with matplotlib: plotly does not show in Colab's widgets$"),
        (lambda n: (("text", [go.Figure()]) for _ in range(1)), "draw with matplotlib: plotly does not show in Colab"),
    ],
)
def test_function_that_shows_nothing_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        lab(function, n=slider(1, 2, 1, 1))


def test_run_takes_the_values_that_the_controls_show():
    made = lab(doubled, n=slider(1, 5, 1, 3), loud=switch(False))
    made.panel.inputs["n"].value = 5
    made.panel.run.click()
    assert made.wait(30)
    assert made.values == {"n": 5, "loud": False} and made.result.get_label() == "twice 5 is 10"
    assert 'alt="twice 5 is 10"' in made.panel.output.value
    assert made.panel.status.value == "Done." and not made.panel.run.disabled and made.panel.stop.disabled
    assert made.panel.bar.value == 0.5 and made.panel.bar.layout.visibility == "hidden"


def test_cancel_is_heard_while_the_model_trains():
    working, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    held = []  # so that it is the lab that closes the generator, and not the collection of garbage

    def patient(n):
        if n == 1:
            yield "default"
            return
        try:
            for step in range(1_000_000):
                yield Progress(step / 1_000_000, f"step {step}")
                working.set()
                assert go_on.wait(30)
        finally:
            closed.set()

    def kept(n):
        held.append(patient(n))
        return held[-1]

    made = lab(kept, n=slider(1, 2, 1, 1))
    made.panel.inputs["n"].value = 2
    made.panel.run.click()
    assert working.wait(30) and made.panel.run.disabled and not made.panel.stop.disabled
    assert made.panel.bar.layout.visibility == "visible"
    made.panel.stop.click()
    go_on.set()
    assert made.wait(30) and closed.is_set()
    assert made.panel.status.value == "Cancelled." and not made.panel.run.disabled
    assert made.result == "default" and made.values == {"n": 1}


def test_cancel_is_heard_between_two_updates_of_a_real_training():
    made_updates, go_on = threading.Event(), threading.Event()
    updates = []

    def retrain(epochs):
        if epochs == 1:
            yield "not trained"
            return
        training = start(helpers.MODEL, replace(helpers.CONFIG, epochs=epochs))
        for step in train(training, helpers.corpus()):
            updates.append(step)
            yield Progress(training.epoch / epochs, "training")
            if len(updates) == 5:
                made_updates.set()
                assert go_on.wait(30)

    made = lab(retrain, epochs=steps([1, 10_000], 1))
    made.panel.inputs["epochs"].value = 10_000
    made.panel.run.click()
    assert made_updates.wait(30)
    made.panel.stop.click()
    go_on.set()
    assert made.wait(30) and made.panel.status.value == "Cancelled."
    assert len(updates) == 6 and made.result == "not trained"  # the update under way, and none after it


def test_second_run_does_not_start_while_one_is_under_way():
    release, started = threading.Event(), []

    def slow(n):
        started.append(n)
        if len(started) > 1:
            assert release.wait(30)
        yield "shown"

    made = lab(slow, n=slider(1, 2, 1, 1))
    made.start()
    made.start()
    release.set()
    assert made.wait(30) and len(started) == 2


def test_error_in_a_run_is_one_clear_line_and_the_lab_goes_on():
    def fragile(n):
        if n == 2:
            raise ValueError("n must not be 2:\n <choose 1>")
        yield "fine"

    made = lab(fragile, n=slider(1, 2, 1, 1))
    made.panel.inputs["n"].value = 2
    made.panel.run.click()
    assert made.wait(30)
    assert 'role="alert">ValueError: n must not be 2: &lt;choose 1&gt;</span>' in made.panel.status.value
    made.panel.inputs["n"].value = 1
    made.panel.run.click()
    assert made.wait(30) and made.panel.status.value == "Done."


def test_lab_shows_tables_text_and_several_things():
    class Table:
        def _repr_html_(self):
            return "<table></table>"

    made = lab(lambda n: ((part, Table(), "a < b") for part in [picture("curve")]), n=slider(1, 2, 1, 1))
    html = made._repr_mimebundle_()["text/html"]
    assert 'alt="curve"' in html and "<table></table>" in html and "a &lt; b" in html


def test_links_to_colab_follow_the_repository_in_the_configuration():
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    owner = re.search(r"url: https://github.com/(\S+)", config)[1]
    branch = re.search(r"branch: (\S+)", config)[1]
    assert COLAB == f"https://colab.research.google.com/github/{owner}/blob/{branch}/"


# ---- source, and what importing costs ----


def test_source_is_shown_with_its_place_and_without_the_machine():
    shown = show_source(packing.pack)._repr_mimebundle_()
    assert "from <code>awdlib/explore/packing.py</code>" in shown["text/html"]
    assert "def pack(trees" in shown["text/plain"] and "Args:" not in shown["text/plain"]
    assert str(ROOT) not in shown["text/html"] + shown["text/plain"]
    assert "Args:" in repr(show_source(packing.pack, docstring=True))
    methods = [show_source(method)._repr_mimebundle_()["text/html"] for method in (Source.__init__, Lab.__init__)]
    labels = [re.search('aria-label="(.*?)"', html)[1] for html in methods]
    assert labels == ["Source code of Source.__init__", "Source code of Lab.__init__"], "regions of one page differ"
    plain = re.sub(r"<[^>]+>", "", shown["text/html"].split("<pre")[1].split(">", 1)[1])
    assert "varying: list[dict[str, Any]] = []" in plain


def test_source_of_what_has_none_is_refused():
    with pytest.raises(ValueError, match="no source for <built-in function len>"):
        show_source(len)


def test_importing_the_library_imports_no_drawing():
    code = "import sys, awdlib; print(sorted({'plotly', 'matplotlib', 'ipywidgets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys, awdlib.explore; print(sorted({'plotly', 'matplotlib', 'ipywidgets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
