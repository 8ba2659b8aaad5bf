"""The pictures of *AWD-LSTM assembled* show the numbers of the record, computed here a second time."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from awdlib.bundled import bundled
from awdlib.figures.staircase import NAMES, excess_figure, stair_runs, staircase_figure
from awdlib.figures.style import colour
from awdlib.figures.surprise import READERS, passage, passage_figure, surprisals, surprise_figure
from awdlib.figures.training import history_figure
from awdlib.training import EpochRecord

RECORD = json.loads(bundled("runs/awd-lstm.json").read_text(encoding="utf-8"))


def of(reader, number):
    """The mean surprisal over seeds, from the record."""
    extra = reader in ("finetuned", "cache")
    runs = [run[reader] if extra else run for run in RECORD["runs"] if run["stair"] == ("ntasgd" if extra else reader)]
    return np.mean([run["surprisal"][number - 1] for run in runs], axis=0)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("number", range(1, len(RECORD["passages"]) + 1))
def test_the_bars_of_a_passage_are_the_languages_surprise_and_what_is_added(number, reader):
    figure = surprise_figure(number, reader)
    floor, found = np.array(RECORD["passages"][number - 1]["floor"]), of(reader, number)
    shared, added, gained = figure.data
    assert np.allclose(shared.x, np.minimum(found, floor), atol=0.006)
    assert np.allclose(added.x, np.maximum(found - floor, 0), atol=0.006) and np.allclose(added.base, floor, atol=0.006)
    assert np.allclose(gained.x, np.maximum(floor - found, 0), atol=0.006)
    assert np.allclose(gained.base, found, atol=0.006)
    words = [word.replace("<eos>", "‹eos›") for word in RECORD["passages"][number - 1]["words"]]
    assert list(figure.layout.yaxis.ticktext) == words
    assert max(found.max(), floor.max()) < figure.layout.xaxis.range[1], "no bar leaves the picture"
    alt = figure.layout.meta["alt"]
    worst = int((found - floor).argmax())
    assert f"{found.mean():.2f} nats a word" in alt and f"“{words[worst]}” {found[worst] - floor[worst]:+.1f}" in alt
    assert f"{found.mean() - floor.mean():+.2f}" in figure.layout.annotations[1].text


def test_what_was_not_recorded_is_refused():
    with pytest.raises(ValueError, match="reader is 'gru'"):
        surprisals(1, "gru")
    with pytest.raises(ValueError, match="number is 9"):
        passage(9)


def test_a_passage_as_text_has_each_word_and_its_excess():
    words, floor = passage(2)
    found = surprisals(2, "plain")
    figure = passage_figure(words, found, floor)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[::2] == [word.replace("<eos>", "‹eos›") for word in words]
    numbers = [float(text.replace("−", "-")) for text in texts[1::2]]
    assert np.allclose(numbers, np.subtract(found, floor), atol=0.051)
    left, right = figure.axes[0].get_xlim()
    for patch in figure.axes[0].patches:
        assert left <= patch.get_x() and patch.get_x() + patch.get_width() <= right
    with pytest.raises(ValueError, match="give one a word"):
        passage_figure(words, found[:-1], floor)


def test_the_staircase_has_the_means_and_the_changes():
    tests = {name: [run["test"] for run in runs] for name, runs in stair_runs(RECORD).items()}
    assert [*tests] == [*NAMES] == [*RECORD["stairs"], "finetuned", "cache"]
    floor = RECORD["floor"]["test"]
    figure = staircase_figure(tests, floor)
    axes = figure.axes[0]
    said = [text.get_text() for text in axes.texts]
    heights = [np.mean([math.log(value / floor) for value in values]) for values in tests.values()]
    for at, values in enumerate(tests.values()):
        expected = f"{np.mean(values):.1f}"
        if at:
            expected += f"  ({heights[at] - heights[at - 1]:+.3f})".replace("-", "−")
        assert said[at] == expected
        pale, coloured = axes.patches[2 * at : 2 * at + 2]
        ends = sorted((heights[at], heights[at - 1] if at else heights[at]))
        assert np.isclose(pale.get_width(), ends[0]) and np.isclose(coloured.get_x(), ends[0])
        assert np.isclose(coloured.get_width(), ends[1] - ends[0])
    assert all(np.isclose(mean, float(part.split()[-1].rstrip(".")), atol=0.051) for mean, part in zip(
        (np.mean(values) for values in tests.values()), figure.get_label().partition(": ")[2].split(", "), strict=True
    ))  # fmt: skip
    with pytest.raises(ValueError, match="give at least two"):
        staircase_figure({"one": [20.0]}, floor)


def test_the_excess_is_drawn_kind_by_kind():
    excess = {"low": {"nouns": 0.3, "names": 0.2}, "high": {"nouns": -0.01, "names": -0.001}}
    figure = excess_figure(excess)
    for axes, kind in zip(figure.axes, ("nouns", "names"), strict=True):
        assert axes.get_title(loc="left") == kind
        assert [patch.get_width() for patch in axes.patches] == [parts[kind] for parts in excess.values()]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["0.30", "−0.01"], ["0.20", "0.00"]]
    with pytest.raises(ValueError, match="other kinds"):
        excess_figure(excess | {"third": {"nouns": 0.1}})


def test_the_history_marks_the_trigger_and_the_iterate():
    one = EpochRecord(
        epoch=1, updates=9, train_loss=4.0, valid_loss=3.5, averaging=False, averaging_began=None, seconds=1.0
    )
    two = replace(one, epoch=2, valid_loss=3.6, averaging_began="trigger")
    three = replace(one, epoch=3, valid_loss=3.0, averaging=True)
    plain = history_figure([one, replace(two, averaging_began=None)])
    marked = history_figure([one, two, three], iterate=[30.0])
    rings = [line for line in marked.axes[0].lines if line.get_marker() == "o" and line.get_markersize() == 8]
    assert [(ring.get_xdata()[0], ring.get_ydata()[0]) for ring in rings] == [(2, two.valid_perplexity)]
    (beside,) = [line for line in marked.axes[0].lines if line.get_color() == colour("iterate")]
    assert [*beside.get_xdata()] == [3] and [*beside.get_ydata()] == [30.0]
    assert "averaging began after epoch 2, and the iterate itself is at 30" in marked.get_label()
    assert "the trigger fires" in [text.get_text() for text in marked.axes[0].texts]
    assert len(plain.axes[0].lines) == 2 and "averaging" not in plain.get_label()
