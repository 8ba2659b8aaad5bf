"""Still pictures say what the plotly figures that they stand for say: the same data, axes, words and places."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from awdlib.explore.still import MARGINS, PIXELS_WIDE, draw  # noqa: E402
from awdlib.figures import style  # noqa: E402


def drawn(*traces, height=300, **layout):
    return draw({"data": list(traces), "layout": layout}, height)


def line(**more):
    return {"type": "scatter", "x": np.arange(3.0), "y": np.array([1.0, 10.0, 5.0]), **more}


def test_panels_lie_where_plotlys_domains_and_margins_put_them():
    lower = line(yaxis="y2")
    figure = drawn(line(), lower, yaxis={"domain": [0.6, 1]}, yaxis2={"domain": [0, 0.4]}, margin={"t": 60, "b": 10})
    boxes = [axes.get_position() for axes in figure.axes]
    top, bottom = 1 - 60 / 300, MARGINS["b"] / 300
    assert boxes[0].y1 == pytest.approx(top) and boxes[1].y0 == pytest.approx(bottom)
    assert boxes[0].y0 == pytest.approx(bottom + 0.6 * (top - bottom))
    assert boxes[0].x0 == pytest.approx(MARGINS["l"] / PIXELS_WIDE)


@pytest.mark.parametrize(
    ("axis", "visible"), [({}, [True, True]), ({"showline": False}, [True, False]), ({"side": "right"}, [True, False])]
)
def test_axis_lines_are_drawn_where_plotly_draws_them(axis, visible):
    (axes,) = drawn(line(), yaxis=axis).axes
    assert [axes.spines[side].get_visible() for side in ("bottom", "left")] == visible
    assert axes.spines["right"].get_visible() == (axis.get("side") == "right")
    assert not axes.spines["top"].get_visible()


def test_lines_keep_their_steps_dashes_and_colour():
    ink = style.colour("floor")
    (drawn_line,) = drawn(line(line={"shape": "hv", "dash": "dot", "color": ink})).axes[0].lines
    assert drawn_line.get_drawstyle() == "steps-post" and drawn_line.get_linestyle() == ":"
    assert drawn_line.get_color() == ink and drawn_line.get_ydata().tolist() == [1.0, 10.0, 5.0]


@pytest.mark.parametrize(
    ("note", "place"),
    [
        ({"x": 1, "y": 1}, "data"),
        ({"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}, "paper"),
        ({"x": 1, "y": 0.5, "yref": "y domain"}, "half way up"),
    ],
)
def test_words_stand_where_plotly_puts_them_on_a_logarithmic_axis_too(note, place):
    figure = drawn(line(), yaxis={"type": "log", "range": [0, 2]}, xaxis={"range": [0, 2]}, annotations=[note])
    (axes,) = figure.axes
    (text,) = axes.texts
    figure.canvas.draw()
    middle = axes.transAxes.transform((0.5, 0.5))
    wanted = {"data": axes.transData.transform((1, 10)), "paper": middle, "half way up": middle}[place]
    assert text.xycoords.transform(text.xy) == pytest.approx(wanted)


def test_a_logarithmic_axis_across_is_counted_in_powers_of_ten_too():
    figure = drawn(line(x=np.array([1.0, 10.0, 100.0])), xaxis={"type": "log"}, annotations=[{"x": 1, "y": 5}])
    assert figure.axes[0].texts[0].xy == (10, 5)


@pytest.mark.parametrize(("position", "where"), [("middle left", "right"), ("bottom center", "center")])
def test_words_left_of_a_point_end_there(position, where):
    trace = line(mode="text", text=["a", "b", "c"], textposition=position)
    assert {text.get_ha() for text in drawn(trace).axes[0].texts} == {where}


@pytest.mark.parametrize("shown", [True, False])
def test_grid_lines_are_drawn_where_the_figure_has_them(shown):
    (axes,) = drawn(line(), yaxis={"showgrid": shown}).axes
    assert {gridline.get_visible() for gridline in axes.yaxis.get_gridlines()} == {shown}


@pytest.mark.parametrize(("yref", "panel"), [("y", 0), ("y2", 1)])
def test_words_stand_in_their_own_panel_where_two_share_an_axis(yref, panel):
    shared = {"yaxis": {"domain": [0.6, 1]}, "yaxis2": {"domain": [0, 0.4]}}
    for xref in ("x", "paper"):
        note = {"x": 0.5, "y": 5, "xref": xref, "yref": yref}
        figure = drawn(line(), line(yaxis="y2"), **shared, annotations=[note])
        assert [len(axes.texts) for axes in figure.axes] == [panel == 0, panel == 1]


def test_words_are_shifted_bold_and_coloured_and_only_plotlys_tags_are_taken_out():
    note = {"text": "<b>the</b><br>&lt;eos&gt; <eos> $5", "x": 1, "y": 5, "xshift": 10, "font": {"color": style.PINK}}
    (text,) = drawn(line(), annotations=[note]).axes[0].texts
    assert text.get_text() == "the\n<eos> <eos> \\$5"
    assert text.get_fontweight() == "bold" and text.get_color() == style.PINK and text.xyann == pytest.approx((7.2, 0))


def test_words_of_a_trace_stand_beside_their_points():
    trace = line(
        mode="text", text=["a", "b", "c"], textposition="top right", textfont={"size": 20, "color": style.GOLD}
    )
    texts = drawn(trace).axes[0].texts
    assert [(text.get_text(), text.get_position()) for text in texts] == [("a", (0, 1)), ("b", (1, 10)), ("c", (2, 5))]
    assert {(text.get_va(), text.get_ha(), text.get_color()) for text in texts} == {("bottom", "left", style.GOLD)}
    assert texts[0].get_fontsize() == pytest.approx(14.4)


def test_ticks_are_turned_and_sized_as_in_the_figure():
    axis = {"tickvals": np.arange(3.0), "ticktext": ["<eos>", "b", "c"], "tickangle": -90, "tickfont": {"size": 10}}
    figure = drawn(line(), xaxis=axis)
    figure.canvas.draw()
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_text() for label in labels] == ["<eos>", "b", "c"]
    assert labels[0].get_rotation() == 90 and labels[0].get_fontsize() == pytest.approx(7.2)


@pytest.mark.parametrize("gap", [0, 1])
def test_cells_of_a_heat_map_are_apart_where_they_are_in_the_figure(gap):
    (mesh,) = drawn({"type": "heatmap", "z": np.eye(4), "xgap": gap}).axes[0].collections
    assert (len(mesh.get_edgecolors()) > 0) == (gap > 0)
    assert mesh.get_array().reshape(4, 4).tolist() == np.eye(4).tolist()
