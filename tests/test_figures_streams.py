"""The figures of the stream and of window lengths, held against the text itself, many draws and the normal law."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch

from awdlib.batches import WindowLengths
from awdlib.corpora import load_corpus
from awdlib.figures.bptt_lengths import (
    FROM,
    LONGEST,
    RAREST,
    STRETCH,
    central,
    draw_windows,
    expected_factor,
    lengths_figure,
    split_probabilities,
)
from awdlib.figures.streams import WORDS, cut, states_of_words, stream, stream_figure

GRID = [(batch, bptt, update) for batch in (2, 3, 4, 5) for bptt in (2, 4, 6) for update in (1, 2, 4, 6)]


def naive_windows(rows, bptt):
    """Rows of inputs of each update of an epoch, counted on the fingers: it ends when one target or none is left."""
    windows, row = [], 0
    while rows - 1 - row > 1:
        windows.append(list(range(row, min(row + bptt, rows - 1))))
        row = windows[-1][-1] + 1
    return windows


# ---- the stream ----


def test_stream_is_the_beginning_of_the_corpus():
    corpus = load_corpus("toy")
    assert list(stream()) == [corpus.vocabulary.words[number] for number in corpus.train[:WORDS].tolist()]


@pytest.mark.parametrize(("batch", "bptt", "update"), GRID)
def test_every_cell_holds_its_word_and_says_when_it_is_read(batch, bptt, update):
    figure = stream_figure(batch, bptt, update)
    strip, crosses, _, cells, words = figure.data[:5]
    rows = WORDS // batch
    windows = naive_windows(rows, bptt)
    now = windows[update - 1] if update <= len(windows) else []
    done = [row for window in windows[: update - 1] for row in window]
    states = np.array(cells.z)
    used = []
    for place in range(batch * rows):
        column, row = divmod(place, rows)
        line = int(words.y[place])
        assert words.text[place] == stream()[place].replace("<eos>", "‹eos›")
        assert math.isclose(words.x[place], (column + 0.5) / batch)
        assert math.isclose(cells.x[column], words.x[place])
        assert list(cells.y) == list(range(rows + 2))
        due = 1 if row in now else 0 if row in done else 2
        assert states[line, column] == due == np.array(strip.z)[0, place]
        used.append((line, column))
    assert len(set(used)) == batch * rows
    assert np.isnan(states).sum() == 2 * batch  # the two free lines
    lines = [int(words.y[row]) for row in range(rows)]
    assert lines == sorted(lines)
    trimmed = range(batch * rows, WORDS)
    assert np.flatnonzero(np.isnan(np.array(strip.z)[0])).tolist() == list(trimmed)
    assert np.flatnonzero(~np.isnan(np.array(crosses.x, dtype=float))).tolist() == list(trimmed)
    assert all(text == "" for text in words.text[batch * rows :])


@pytest.mark.parametrize(("batch", "bptt", "update"), GRID)
def test_bars_stand_beside_inputs_and_targets_one_word_later(batch, bptt, update):
    figure = stream_figure(batch, bptt, update)
    words, inputs, targets = figure.data[4], *figure.data[6:8]
    rows = WORDS // batch
    windows = naive_windows(rows, bptt)
    if update > len(windows):
        assert np.isnan(np.array(inputs.y)).all()
        assert np.isnan(np.array(targets.y)).all()
        return
    for column in range(batch):
        lines = {row: words.y[column * rows + row] for row in range(rows)}

        def beside(bar, column=column, lines=lines):
            low, high = bar.y[3 * column : 3 * column + 2]
            assert bar.x[3 * column] == bar.x[3 * column + 1]
            assert int(bar.x[3 * column] * batch) == column
            return [row for row, line in lines.items() if low < line < high]

        assert beside(inputs) == windows[update - 1]
        assert beside(targets) == [row + 1 for row in windows[update - 1]]
        assert inputs.x[3 * column] < (column + 0.5) / batch < targets.x[3 * column]


@pytest.mark.parametrize(
    ("update", "before", "after"), [(1, "h = 0", "h ↓"), (2, "h ↓", "h ↓"), (3, "h ↓", ""), (4, "end", "")]
)
def test_state_is_carried_in_and_out_of_the_window(update, before, after):
    figure = stream_figure(4, 4, update)  # 11 rows, 10 targets: windows of 4, 4 and 2
    cells, above, below = figure.data[3], *figure.data[8:]
    for drawn, text in ((above, before), (below, after)):
        assert list(drawn.text) == [f"<b>{text}</b>" if text else ""] * 4
        line = int(drawn.y[0])
        assert np.isnan(np.array(cells.z)[line]).all()  # where nothing else stands
    now = np.flatnonzero((np.array(cells.z) == 1).all(axis=1))
    if update < 4:
        assert (above.y[0], below.y[0]) == (now[0] - 1, now[-1] + 1)


def test_fan_leads_from_each_part_of_the_strip_to_its_column():
    figure = stream_figure(5, 3, 1)
    fan, heads = figure.data[2], figure.data[5]
    starts, ends = np.array(fan.x)[::3], np.array(fan.x)[1::3]
    assert np.allclose(starts * WORDS, np.arange(6) * 9)
    assert np.allclose(ends, np.arange(6) / 5)
    assert list(heads.text) == ["1–9", "10–18", "19–27", "28–36", "37–45"]


def test_cut_counts_updates_and_what_is_trimmed():
    for batch in (2, 3, 4, 5):
        for bptt in (2, 3, 4, 5, 6):
            windows = naive_windows(WORDS // batch, bptt)
            for update in range(1, 8):
                found = cut(batch, bptt, update)
                assert found.updates == len(windows)
                assert found.trimmed == WORDS % batch
                over = windows[-1][-1] + 1
                expected = (
                    (windows[update - 1][0], windows[update - 1][-1] + 1) if update <= len(windows) else (over,) * 2
                )
                assert (found.start, found.stop) == expected
                assert np.nansum(states_of_words(found) == 1) == batch * (expected[1] - expected[0])


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            (4, 4, 2),
            "Update 2 of 3: in each of the 4 columns of 11 words, rows 5 to 8 are inputs and rows 6 to 9 their "
            "targets; each column's hidden state comes from update 1. Trimmed at the stream's end: 3.",
        ),
        (
            (5, 6, 1),
            "Update 1 of 2: in each of the 5 columns of 9 words, rows 1 to 6 are inputs and rows 2 to 7 their "
            "targets; each column's hidden state is zero. Trimmed at the stream's end: 2.",
        ),
        ((4, 4, 4), "The epoch is over: 3 updates have read the 4 columns of 11 words. Every target was reached."),
        (
            (4, 3, 4),
            "The epoch is over: 3 updates have read the 4 columns of 11 words. 1 target a column was not reached.",
        ),
    ],
)  # fmt: skip
def test_sentence_of_the_stream(setting, sentence):
    assert stream_figure(*setting).layout.meta["alt"] == sentence


@pytest.mark.parametrize(
    ("setting", "words"),
    [((0, 4, 1), "batch_size"), ((4, 0, 1), "length"), ((4, 4, 0), "update"), ((40, 4, 1), "at most 23")],
)
def test_stream_refuses(setting, words):
    with pytest.raises(ValueError, match=words):
        stream_figure(*setting)


# ---- window lengths ----

LENGTHS = [
    (70, 0.05, 5.0, 5),
    (20, 0.5, 10.0, 10),
    (35, 0.5, 2.0, 20),
    (35, 0.0, 5.0, 5),
    (20, 0.05, 0.0, 20),
    (35, 0.5, 5.0, 20),
]


def by_the_normal_law(bptt, p, spread, minimum):
    """P(length = k) for k = 1 … LONGEST, and the part of half the base, from the standard library's normal cdf."""

    def mass(base, k):
        if spread == 0:
            return float(max(minimum, int(base)) == k)
        law = NormalDist(base, spread)
        if k < minimum:
            return 0.0
        return law.cdf(k + 1) if k == minimum else law.cdf(k + 1) - law.cdf(k)

    lengths = range(1, LONGEST + 1)
    short = np.array([p * mass(bptt / 2, k) for k in lengths])
    return short + np.array([(1 - p) * mass(bptt, k) for k in lengths]), short


@pytest.mark.parametrize("setting", LENGTHS)
def test_probabilities_are_the_normal_laws(setting):
    lengths = WindowLengths(**dict(zip(("bptt", "short_probability", "spread", "minimum"), setting, strict=True)))
    total, short = split_probabilities(lengths)
    due_total, due_short = by_the_normal_law(*setting)
    assert np.allclose(total, due_total, atol=1e-11)
    assert np.allclose(short, due_short, atol=1e-11)


@pytest.mark.parametrize("setting", LENGTHS[:3])
def test_probabilities_are_those_of_many_draws(setting):
    lengths = WindowLengths(**dict(zip(("bptt", "short_probability", "spread", "minimum"), setting, strict=True)))
    generator, count = torch.Generator().manual_seed(5), 20_000
    drawn = np.array([lengths.draw(generator) for _ in range(count)])
    total, _ = split_probabilities(lengths)
    shares = np.bincount(drawn, minlength=LONGEST + 1)[1 : LONGEST + 1] / count
    assert np.all(np.abs(shares - total) < 5 * np.sqrt(total * (1 - total) / count) + 2e-4)
    assert abs(drawn.mean() / lengths.bptt - expected_factor(lengths)) < 5 * drawn.std() / lengths.bptt / count**0.5
    low, high = central(lengths)
    assert np.mean(drawn < low) < 0.013
    assert np.mean(drawn > high) < 0.013
    assert np.mean(drawn <= low) > 0.007
    assert np.mean(drawn >= high) > 0.007


@pytest.mark.parametrize("setting", LENGTHS)
def test_drawn_bars_mean_and_factors(setting):
    figure = lengths_figure(*setting)
    bars, orange, mean_line, line, likely, cross, dot = figure.data[:7]
    total, short = by_the_normal_law(*setting)
    bptt = setting[0]
    assert list(bars.x) == list(range(1, LONGEST + 1))
    assert np.allclose(bars.y, np.where(total < RAREST, 0, total), atol=1e-9)
    assert np.allclose(orange.y, np.where(short < RAREST, 0, short)[: len(orange.y)], atol=1e-9)
    assert np.all(short[len(orange.y) :] < RAREST)
    assert max(bars.y) <= figure.layout.yaxis.range[1] <= 1
    mean = (total * np.arange(1, LONGEST + 1)).sum()
    assert math.isclose(mean_line.x[0], mean, abs_tol=0.02)
    assert mean_line.x[0] == mean_line.x[1] == dot.x[0] == cross.x[0] == cross.x[1]
    assert math.isclose(dot.y[0], dot.x[0] / bptt)  # the factor is linear: its mean lies on the line
    assert cross.y[1] == cross.y[2] == dot.y[0]
    for trace in (line, likely):
        assert np.allclose(np.array(trace.y) * bptt, trace.x)
    assert list(likely.x) == [*(np.flatnonzero(total >= RAREST)[[0, -1]] + 1)]
    notes = [note.text for note in figure.layout.annotations]
    assert notes[0] == f"■ base {bptt}: {round(100 * (1 - setting[1]))}%"
    assert notes[1] == f"■ half, {bptt / 2:g}: {round(100 * setting[1])}%"
    shown = [float(note.strip("mean×b<>/ ")) for note in notes[2:]]
    assert np.allclose(shown, [mean_line.x[0], dot.y[0]], rtol=0, atol=[0.0501, 0.00501])


def test_windows_are_those_that_the_library_draws_one_behind_the_other():
    lengths = WindowLengths(bptt=35, short_probability=0.5, spread=5.0)
    windows = list(draw_windows(lengths, 1000, torch.Generator().manual_seed(7)))
    generator, start = torch.Generator().manual_seed(7), 0
    for begin, end, _ in windows:
        assert (begin, end) == (start, min(1000, start + lengths.draw(generator)))
        start = end
    assert start == 1000


def test_windows_know_whether_their_base_was_halved():
    lengths = WindowLengths(bptt=70, short_probability=0.3, spread=3.0)  # the two bumps do not touch
    windows = list(draw_windows(lengths, 20_000, torch.Generator().manual_seed(7)))[:-1]
    assert all(short == (end - begin < 52) for begin, end, short in windows)
    assert 0.2 < np.mean([short for *_, short in windows]) < 0.4
    cut = WindowLengths(bptt=20, short_probability=0.3, spread=0.0, minimum=20)  # both bases give windows of 20 tokens
    windows = list(draw_windows(cut, 20_000, torch.Generator().manual_seed(7)))
    assert 0.25 < np.mean([short for *_, short in windows]) < 0.35


@pytest.mark.parametrize("setting", LENGTHS)
def test_strips_show_the_windows_of_the_stretch(setting):
    figure = lengths_figure(*setting)
    lengths = WindowLengths(**dict(zip(("bptt", "short_probability", "spread", "minimum"), setting, strict=True)))
    strips = figure.data[7:]
    generator = torch.Generator().manual_seed(1)
    for row in range(3):
        band, orange, ticks = strips[3 * row : 3 * row + 3]
        assert (set(band.y), list(band.x)) == ({row}, [0, STRETCH])
        borders = np.array(ticks.x)[::3]
        if row == 0:
            due = np.arange(0, FROM + STRETCH, setting[0])[1:]
            list(draw_windows(WindowLengths(bptt=setting[0], short_probability=0, spread=0), FROM + STRETCH, generator))
            assert np.isnan(orange.x[0])
        else:
            windows = list(draw_windows(lengths, FROM + STRETCH, generator))
            due = np.array([end for _, end, _ in windows[:-1]])
            short = [
                (max(begin, FROM) - FROM, end - FROM) for begin, end, is_short in windows if is_short and end > FROM
            ]
            drawn = np.array(orange.x, dtype=float).reshape(-1, 3)[:, :2] if short else np.empty((0, 2))
            assert [tuple(pair) for pair in drawn] == short
            assert short or np.isnan(orange.x[0])
        assert borders.tolist() == (due[due > FROM] - FROM).tolist()
        assert np.nanmin(ticks.y) > row - 0.5
        assert np.nanmax(ticks.y) < row + 0.5


def test_axis_names_tokens_of_the_column():
    axis = lengths_figure(70, 0.05, 5.0, 5).layout.xaxis3
    assert [int(text.replace(",", "")) - FROM for text in axis.ticktext] == list(axis.tickvals)


def test_sentence_of_the_lengths():
    total, _ = by_the_normal_law(70, 0.05, 5.0, 5)
    below = np.cumsum(total)
    low, high = np.argmax(below > 0.01) + 1, np.argmax(below >= 0.99) + 1
    mean = (total * np.arange(1, LONGEST + 1)).sum()
    assert lengths_figure(70, 0.05, 5.0, 5).layout.meta["alt"] == (
        f"Mean {mean - 1e-4:.1f} tokens; at least 98% of windows have {low} to {high}, which multiplies the learning "
        f"rate by {low / 70:.2f} to {high / 70:.2f}, on average by {mean / 70:.2f}."
    )
    fixed = lengths_figure(35, 0.0, 0.0, 5).layout.meta["alt"]
    assert fixed == "Every window has 35 tokens, and the learning rate is multiplied by 1.00."


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ((80, 0.05, 5.0, 5), "bptt is 80; it must be at most 70"),
        ((70, 0.05, 11.0, 5), "spread"),
        ((70, 1.5, 5.0, 5), "short_probability"),
        ((20, 0.05, 5.0, 21), "minimum"),
        ((70, 0.05, 5.0, 0), "minimum"),
    ],
)
def test_lengths_figure_refuses(setting, words):
    with pytest.raises(ValueError, match=words):
        lengths_figure(*setting)
