"""The trigger's figure, held against a naive reading of both rules and against the records."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from awdlib.figures.trigger import (
    NOT_YET,
    PATIENCES,
    compared,
    is_triggered_as_printed,
    levels,
    noisy,
    recorded,
    trigger_epoch,
    trigger_figure,
)
from awdlib.ntasgd import NTASGD

RUNS = Path(__file__).parent.parent / "data" / "runs"


def naive_epoch(losses, n, rule):
    """Algorithm 1, line by line: a log, t checks in it, v compared before it is written down."""
    logs = []
    for epoch, v in enumerate(losses, start=1):
        t = len(logs)
        if t > n:
            held = [logs[i] for i in range(t) if (i < t - n if rule == "coded" else i >= t - n)]
            if any(v > one for one in held):
                return epoch
        logs.append(v)
    return None


def traces(figure, axis="y"):
    return [trace for trace in figure.data if (trace.yaxis or "y") == axis]


def test_recorded_toy_curve_is_the_record_split_where_averaging_began():
    record = json.loads((RUNS / "toy" / "record.json").read_text(encoding="utf8"))
    losses = [epoch["valid_loss"] for epoch in record["epochs"]]
    begun = record["averaging"]["begun_after_epoch"]
    curve = recorded("toy")
    assert list(curve.iterate) == losses[:begun]
    assert list(curve.average) == losses[begun:]
    assert trigger_epoch(list(curve.iterate), record["training"]["patience"]) == begun


def test_recorded_overfitted_curve_is_the_log_of_recorded_perplexity():
    record = json.loads((RUNS / "dropout-masks.json").read_text(encoding="utf8"))
    assert record["training"]["average_from"] is None  # never averaged, all through
    assert record["training"]["patience"] > record["training"]["epochs"]
    perplexities = [point["valid"] for point in record["runs"]["none-1"]["curve"]]
    assert np.allclose(np.exp(recorded("overfitted").iterate), perplexities)


@pytest.mark.parametrize("rule", ["coded", "printed"])
@pytest.mark.parametrize("curve", ["toy", "overfitted"])
def test_trigger_epoch_is_the_naive_loops(rule, curve):
    for noise in (0.0, 0.05, 0.15):
        losses = noisy(recorded(curve).iterate, noise)
        for n in PATIENCES:
            assert trigger_epoch(losses, n, rule) == naive_epoch(losses, n, rule), (noise, n)


def test_trigger_epoch_on_random_and_tied_losses():
    draws = np.random.default_rng(3)
    for _ in range(200):
        losses = draws.integers(0, 6, size=draws.integers(1, 14)).astype(float).tolist()
        for n in range(5):
            for rule in ("coded", "printed"):
                assert trigger_epoch(losses, n, rule) == naive_epoch(losses, n, rule), (losses, n, rule)


def test_trigger_epoch_is_when_the_optimizer_begins():
    import torch

    losses = noisy(recorded("toy").iterate, 0.1)
    for n in (0, 2, 5):
        optimizer = NTASGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0, patience=n)
        begun = next(epoch for epoch, loss in enumerate(losses, start=1) if optimizer.observe(loss))
        assert trigger_epoch(losses, n) == begun


def test_printed_rule_compares_with_the_last_n_only():
    assert is_triggered_as_printed([1.0, 5.0, 4.0, 4.5], patience=1)  # worse than the check before it
    assert not is_triggered_as_printed([1.0, 5.0, 4.0, 3.0], patience=1)  # the best of all is out of sight
    assert is_triggered_as_printed([1.0, 5.0, 4.0, 3.0, 3.5], patience=3)
    assert not is_triggered_as_printed([2.0, 3.0], patience=1)  # t > n: one loss is not more than n = 1
    assert not is_triggered_as_printed([2.0, 3.0, 4.0], patience=0)


@pytest.mark.parametrize("rule", ["coded", "printed"])
def test_compared_and_levels_are_what_the_rule_looks_at(rule):
    losses = noisy(recorded("toy").iterate, 0.15)
    for n in PATIENCES:
        level = levels(losses, n, rule)
        for epoch in range(1, len(losses) + 1):
            held, left_out = compared(epoch, n, rule)
            assert sorted([*held, *left_out]) == list(range(1, epoch))
            fires = bool(held) and losses[epoch - 1] > min(losses[i - 1] for i in held)
            assert fires == (losses[epoch - 1] > level[epoch - 1])  # nan compares as False
            if naive_epoch(losses[: epoch - 1], n, rule) is None:
                assert fires == (naive_epoch(losses[:epoch], n, rule) == epoch)


def test_noise_scales_one_set_of_draws():
    losses = recorded("toy").iterate
    clean, weak, strong = (np.array(noisy(losses, noise)) for noise in (0.0, 0.05, 0.15))
    assert clean.tolist() == list(losses)
    assert np.allclose(strong - clean, 3 * (weak - clean))
    assert 0.03 < np.std(weak - clean) < 0.07
    assert not np.allclose(noisy(losses, 0.05, seed=9), weak)


@pytest.mark.parametrize("curve", ["toy", "overfitted"])
@pytest.mark.parametrize("rule", ["coded", "printed"])
@pytest.mark.parametrize(("patience", "noise"), [(0, 0.0), (3, 0.1), (5, 0.0), (10, 0.15)])
def test_drawn_curve_level_spans_and_mark(curve, rule, patience, noise):
    losses = noisy(recorded(curve).iterate, noise)
    epoch = naive_epoch(losses, patience, rule)
    last = epoch or len(losses)
    held_shade, left_shade, whole, level, strong, best, line, ring, mark, average = traces(
        trigger_figure(curve, rule, patience, noise)
    )
    held, left_out = compared(last, patience, rule)
    for shade, span in ((held_shade, held), (left_shade, left_out)):
        if span:
            assert (min(shade.x), max(shade.x)) == (span[0] - 0.5, span[-1] + 0.5)
        else:
            assert min(shade.x) == max(shade.x)
    drawn = np.array(strong.y, dtype=float)
    assert np.array_equal(drawn[:last], losses[:last])
    assert np.isnan(drawn[last:]).all()
    assert np.array_equal(np.array(whole.y)[: len(losses)], losses)
    assert np.array_equal(np.array(level.y)[:last], levels(losses, patience, rule)[:last], equal_nan=True)
    assert np.isnan(np.array(level.y)[last:]).all()
    assert list(strong.x) == list(level.x) == list(range(1, 41))
    if epoch:
        assert list(line.x) == [epoch, epoch]
        assert (ring.x[0], ring.y[0]) == (mark.x[0], mark.y[0]) == (epoch, losses[epoch - 1])
        assert best.y[0] == best.y[1] < losses[epoch - 1]
        assert losses[best.x[0] - 1] == best.y[0]
        assert best.x[0] in held
        assert best.x[1] == epoch
    else:
        assert math.isnan(line.x[0])
        assert math.isnan(mark.x[0])
    assert len(average.x) == len(average.y)


# with noise 0.1 and n = 9 the trigger comes after the same epoch, but not on the losses that the run saw
def test_average_is_shown_only_for_the_trigger_that_the_run_had():
    curve = recorded("toy")
    shown = traces(trigger_figure("toy", "coded", 5, 0.0))[-1]
    assert list(shown.x) == list(range(33, 41))
    assert list(shown.y) == list(curve.average)
    for setting in (("toy", "coded", 4, 0.0), ("toy", "coded", 6, 0.0), ("toy", "coded", 9, 0.1),
                    ("toy", "printed", 5, 0.0), ("overfitted", "coded", 5, 0.0)):  # fmt: skip
        assert math.isnan(traces(trigger_figure(*setting))[-1].y[0]), setting


@pytest.mark.parametrize(("rule", "patience"), [("coded", 2), ("printed", 2), ("coded", 8)])
def test_map_has_both_rules_at_every_patience(rule, patience):
    losses = noisy(recorded("toy").iterate, 0.05)
    row, line, ring, coded, printed = traces(trigger_figure("toy", rule, patience, 0.05), "y2")
    for drawn, name in ((coded, "coded"), (printed, "printed")):
        assert list(drawn.y) == list(range(11))
        assert list(drawn.x) == [naive_epoch(losses, n, name) or NOT_YET for n in range(11)]
    assert set(row.y) == {patience}
    at = naive_epoch(losses, patience, rule)
    assert (ring.x[0], ring.y[0]) == (at or NOT_YET, patience)
    assert line.x[0] == at if at else math.isnan(line.x[0])


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            ("toy", "coded", 5, 0.0),
            "Averaging begins after epoch 32 (as coded, n = 5): its loss of {:.3f} nats is worse than {:.3f}, the best "
            "of epochs 1 to 26. As coded and without patience it would be epoch 6.",
        ),
        (
            ("toy", "printed", 5, 0.0),
            "Averaging begins after epoch 10 (as printed, n = 5): its loss of {:.3f} nats is worse than {:.3f}, the "
            "best of epochs 5 to 9. As coded and without patience it would be epoch 6.",
        ),
        (
            ("toy", "printed", 1, 0.0),
            "Averaging begins after epoch 6 (as printed, n = 1): its loss of {:.3f} nats is worse than {:.3f}, the "
            "loss of epoch 5. As coded and without patience it would be epoch 6.",
        ),
        (
            ("toy", "coded", 9, 0.0),
            "No trigger in 32 epochs (as coded, n = 9). As coded and without patience it would be epoch 6.",
        ),
    ],
)
def test_sentence_and_label(setting, sentence):
    figure, losses = trigger_figure(*setting), recorded("toy").iterate
    numbers = {"coded": (losses[31], min(losses[:26])), "printed": (losses[9], min(losses[4:9]))}[setting[1]]
    if setting[2] == 1:
        numbers = losses[5], losses[4]
    assert figure.layout.meta["alt"] == sentence.format(*numbers)
    label = figure.layout.annotations[6]
    epoch = naive_epoch(list(losses), setting[2], setting[1])
    assert label.text.endswith(f"<b>after epoch {epoch}</b>" if epoch else "in <b>32 epochs</b>")
    assert abs(label.x - (epoch or 32)) < 1


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (("ptb", "coded", 5, 0.0), "one of toy, overfitted"),
        (("toy", "code", 5, 0.0), "one of coded, printed"),
        (("toy", "coded", 11, 0.0), "at most 10"),
        (("toy", "coded", -1, 0.0), "negative"),
        (("toy", "coded", 5, -0.1), "noise"),
        (("toy", "coded", 5, math.nan), "noise"),
    ],
)
def test_bad_input_is_named(setting, words):
    with pytest.raises(ValueError, match=words):
        trigger_figure(*setting)


def test_printed_rule_refuses_what_the_coded_one_does():
    with pytest.raises(ValueError, match="finite"):
        is_triggered_as_printed([1.0, math.nan], 1)
    with pytest.raises(ValueError, match="patience"):
        is_triggered_as_printed([1.0], -1)
    with pytest.raises(ValueError, match="one of coded, printed"):
        compared(3, 1, "as coded")
