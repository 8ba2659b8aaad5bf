"""Explorables hold what their function returns, labs run, cancel and fail in the open, and source is shown as it is."""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

plotly = pytest.importorskip("plotly")
go = pytest.importorskip("plotly.graph_objects")
pytest.importorskip("ipywidgets")
pytest.importorskip("matplotlib")

from explorables import assert_close_trees, promised_errors, waves  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

from awdlib.explore import (  # noqa: E402
    Progress,
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


def test_gaps_survive():
    column = np.linspace(0, 1, 600)
    column[7] = np.nan
    packed = packing.pack([{"y": column}, {"y": column + 1}])
    assert np.isnan(packing.unpack(packed, 1)["y"]).nonzero()[0].tolist() == [7]


def test_infinite_numbers_are_refused():
    with pytest.raises(ValueError, match="data.y holds an infinite number.*use nan"):
        packing.pack([{"data": {"y": np.r_[np.arange(20.0), np.inf]}}])


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: slider(0, 1, 0, 0), "step must be positive, got 0"),
        (lambda: slider(0.0, 1.0, 0.3, 0.3), "never meets 1.0"),
        (lambda: slider(0.0, 1.0, 0.001, 0.5), "at most 401 positions, got 1001"),
        (lambda: slider(0.0, 1.0, 0.1, 0.25), "cannot stand at 0.25: choose one of 0.0, 0.1"),
        (lambda: choice(["a"], "a"), "at least two different values"),
        (lambda: choice(["a", "b"], "c"), "cannot stand at 'c': choose one of a, b"),
        (lambda: switch(1), "True or False, got 1"),
        (lambda: explorable(waves, frequency=3), r"frequency = 3 is no control: use slider\(\)"),
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


def contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


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
