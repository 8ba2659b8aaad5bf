"""What figures of masks, of weight drop and of the activation penalties draw, against computations of another kind."""

import functools
import itertools
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("plotly")

from awdlib import runs  # noqa: E402
from awdlib.corpora import load_corpus  # noqa: E402
from awdlib.dropout import keep_mask  # noqa: E402
from awdlib.figures import activation_penalties, four_masks, style, weight_drop  # noqa: E402
from awdlib.figures.activation_penalties import by_step, penalties_figure  # noqa: E402
from awdlib.figures.four_masks import FEATURES, GATES, KINDS, ROWS, SEQ_LEN, four_masks_figure, masks  # noqa: E402
from awdlib.figures.weight_drop import noise_norm, weight_drop_figure, weight_matrix  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
POINTS = list(itertools.product((0.0, 0.3, 0.4, 0.9), (1, 3)))  # of p and seed


def alt(figure):
    return figure.layout.meta["alt"]


def texts(figure):
    return [note.text for note in figure.layout.annotations]


def maps(figure):
    return [np.asarray(trace.z, dtype=float) for trace in figure.data if trace.type == "heatmap"]


def lines(figure):
    return [(np.array(t.x, dtype=float), np.array(t.y, dtype=float)) for t in figure.data if t.type == "scatter"]


def seeded(shape, p, seed, **options):
    return keep_mask(shape, p, generator=torch.Generator().manual_seed(seed), **options)


# ---- the four masks ----


@functools.cache
def words_of_the_file():
    """The two windows, read from the corpus's own file."""
    text = (ROOT / "data" / "toy" / "valid.txt").read_text(encoding="utf-8")
    stream = [word for line in text.splitlines() for word in [*line.split(), "<eos>"]]
    return [stream[start : start + SEQ_LEN] for start in four_masks.STARTS]


def by_loops(kind, p, seed):
    """Whether each entry is kept, entry by entry, from a mask of the shape that the library's table names."""
    ids = load_corpus("toy").vocabulary.ids
    if kind == "weight":
        mask = seeded((4 * FEATURES, FEATURES), p, seed)
        rows = [gate * FEATURES + row for gate in range(4) for row in range(ROWS)]
        return [[[bool(mask[row, j]) for j in range(FEATURES)] for row in rows]] * 2
    shape = {"ordinary": (SEQ_LEN, 2, FEATURES), "locked": (1, 2, FEATURES), "embedding": (len(ids), 1)}[kind]
    mask = seeded(shape, p, seed)

    def kept(sequence, step, feature):
        if kind == "embedding":
            return bool(mask[ids[words_of_the_file()[sequence][step]], 0])
        return bool(mask[step if kind == "ordinary" else 0, sequence, feature])

    return [[[kept(b, t, j) for j in range(FEATURES)] for t in range(SEQ_LEN)] for b in range(2)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p, seed", [(0.0, 1), (0.4, 1), (0.4, 2), (0.9, 3)])
def test_what_is_drawn_of_each_kind_is_a_mask_of_the_shape_that_the_library_names(kind, p, seed):
    figure = four_masks_figure(kind, p, seed)
    for drawn, kept in zip(maps(figure), by_loops(kind, p, seed), strict=True):
        np.testing.assert_array_equal(drawn, np.array(kept, dtype=float))
    assert masks(kind, p, seed).unique().tolist() == pytest.approx([0, 1 / (1 - p)] if p else [1])
    for trace in figure.data[::2]:
        assert trace.colorscale[0][1] == style.EMPTY and trace.colorscale[1][1] == style.colour("kept")
        assert (trace.zmin, trace.zmax) == (0, 1)
    assert f"multiplied by {1 / (1 - p):.2f}" in texts(figure)[3] and alt(figure).endswith(
        f"multiplied by {1 / (1 - p):.2f}."
    )


def test_what_each_kind_shares_is_seen_in_the_picture():
    def pictures(kind):
        return maps(four_masks_figure(kind, 0.4, 1))

    for ordinary in pictures("ordinary"):
        assert len(np.unique(ordinary, axis=0)) > SEQ_LEN / 2 and len(np.unique(ordinary, axis=1).T) > FEATURES / 2
    one, other = pictures("locked")
    assert (one != other).any()
    for picture in (one, other):
        assert (picture == picture[0]).all()
        assert 0 < picture[0].mean() < 1
    fates = {}
    for picture, words in zip(pictures("embedding"), words_of_the_file(), strict=True):
        assert (picture == picture[:, :1]).all()
        for word, kept in zip(words, picture[:, 0], strict=True):
            assert fates.setdefault(word, kept) == kept, f"{word} is both kept and dropped"
    assert set(fates.values()) == {0, 1} and fates["the"] == 0
    assert sum(words.count("the") for words in words_of_the_file()) == 8
    one, other = pictures("weight")
    assert (one == other).all() and len(np.unique(one, axis=0)) == SEQ_LEN


def test_masks_of_one_seed_are_nested_so_that_a_higher_p_only_drops_more():
    for kind in KINDS:
        kept = [masks(kind, p, 2) > 0 for p in (0.1, 0.5, 0.8)]
        assert all((after <= before).all() and (after != before).any() for before, after in itertools.pairwise(kept))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_labelled_by_the_words_read_or_by_the_gates(kind):
    figure = four_masks_figure(kind, 0.4, 1)
    for axis, words in zip((figure.layout.yaxis, figure.layout.yaxis2), words_of_the_file(), strict=True):
        assert list(axis.range) == [SEQ_LEN - 0.5, -0.5], "time runs downwards"
        if kind == "weight":
            assert [label.strip() for label in axis.ticktext] == [*GATES] == [*"ifgo"]
            assert list(axis.tickvals) == [2, 7, 12, 17]
        else:
            assert list(axis.ticktext) == words and list(axis.tickvals) == list(range(SEQ_LEN))
    for x, y in lines(figure):
        if kind == "weight":
            assert y[~np.isnan(y)].tolist() == [4.5, 4.5, 9.5, 9.5, 14.5, 14.5]
            assert x[~np.isnan(x)].tolist() == [-0.5, FEATURES - 0.5] * 3
        else:
            assert np.isnan(x).all() and np.isnan(y).all()
    assert KINDS[kind].unit in texts(figure)[0] and KINDS[kind].name in texts(figure)[0].lower()


@pytest.mark.parametrize("p, seed", POINTS)
def test_the_words_below_the_masks_say_what_is_drawn(p, seed):
    sentences = {kind: alt(four_masks_figure(kind, p, seed)) for kind in KINDS}
    drawn = {kind: maps(four_masks_figure(kind, p, seed)) for kind in KINDS}
    assert all(f"p = {p:g}:" in sentence for sentence in sentences.values())

    share = 1 - np.mean(drawn["ordinary"])
    assert f"one decision for each of {2 * SEQ_LEN * FEATURES} entries" in sentences["ordinary"]
    assert f"{share:.0%} of them" in sentences["ordinary"]
    share = (seeded((4 * FEATURES, FEATURES), p, seed) == 0).double().mean().item()
    assert f"{share:.0%} of them" in sentences["weight"] and "1,024 weights" in sentences["weight"]

    parts = re.search(r"it drops (.*) of sequence 1 and (.*) of sequence 2\.", sentences["locked"])
    for picture, part in zip(drawn["locked"], parts.groups(), strict=True):
        named = [int(number) for number in re.findall(r"\d+", part)]
        assert named == [j + 1 for j in range(FEATURES) if picture[0, j] == 0]

    gone = Counter()
    for picture, words in zip(drawn["embedding"], words_of_the_file(), strict=True):
        gone.update(word for word, row in zip(words, picture, strict=True) if not row.any())
    expected = [word if n == 1 else f"{word} ({n} times)" for word, n in gone.most_common()]
    said = re.search(r"gone here: (.*)\. What", sentences["embedding"])
    assert (said[1].split(", ") if said else []) == expected and bool(said) == bool(gone)
    assert "1,105 word types" in sentences["embedding"]


@pytest.mark.parametrize(
    "kind, p, seed, message",
    [
        ("zoneout", 0.5, 1, "kind is 'zoneout'; it must be one of ordinary, locked, embedding, weight"),
        ("locked", 1.0, 1, r"p is 1.0; it must lie in \[0, 1\)"),
        ("weight", 0.5, -1, "seed is -1; it cannot be negative"),
        ("ordinary", 0.5, 1.5, "seed is 1.5; it must be a whole number"),
    ],
)
def test_masks_refuse_what_they_cannot_draw(kind, p, seed, message):
    with pytest.raises(ValueError, match=message):
        four_masks_figure(kind, p, seed)


# ---- weight drop and singular values ----


def test_the_trained_matrix_is_the_forget_gate_and_the_others_have_its_norm():
    model, _ = runs.load_best(ROOT / "data" / "runs" / "toy", load_corpus("toy"))
    gates = model.state_dict()["layers.0.weight_hh"].numpy().astype(float)
    trained = weight_matrix("trained").numpy()
    np.testing.assert_array_equal(trained, np.split(gates, 4)[1])  # torch's order: i, f, g, o
    norm = math.sqrt((trained**2).sum())
    orthogonal, gaussian = (weight_matrix(kind).numpy() for kind in ("orthogonal", "gaussian"))
    np.testing.assert_allclose(orthogonal @ orthogonal.T, norm**2 / 128 * np.eye(128), atol=1e-10 * norm**2)
    assert math.sqrt((gaussian**2).sum()) == pytest.approx(norm)
    within = (np.abs(gaussian) < gaussian.std()).mean()
    assert within == pytest.approx(0.6827, abs=4 * math.sqrt(0.22 / gaussian.size)) and abs(gaussian.mean()) < 0.01


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.8])
@pytest.mark.parametrize("matrix", weight_drop.KINDS)
def test_singular_values_are_numpys_of_a_matrix_masked_independently(p, matrix):
    whole = weight_matrix(matrix).numpy()
    kept = seeded((128, 128), p, seed=1).numpy() > 0
    masked = np.where(kept, whole / (1 - p), 0)
    figure = weight_drop_figure(p, matrix)
    (corner,) = maps(figure)
    np.testing.assert_array_equal(np.isnan(corner), ~kept[: corner.shape[0], : corner.shape[1]])
    np.testing.assert_allclose(corner, np.where(kept, masked, np.nan)[: corner.shape[0], : corner.shape[1]])
    named = dict(zip((trace.name for trace in figure.data[1:]), lines(figure), strict=True))
    for name, independent in {"masked": masked, "without mask": whole, "noise alone": masked - whole}.items():
        expected = np.linalg.svd(independent, compute_uv=False)
        x, y = named[name]
        np.testing.assert_array_equal(x, np.arange(1, len(y) + 1))
        np.testing.assert_allclose(y, expected[: len(y)], atol=1e-9)
        assert f"{name}: largest {expected[0]:.1f}" in texts(figure)
        assert expected[0] < figure.layout.yaxis.range[1], "the axis holds them all"
    # Weyl: no singular value moves by more than the noise's largest
    assert (abs(named["masked"][1] - named["without mask"][1]) <= named["noise alone"][1][0] + 1e-9).all()

    def both(of):
        before, after = (of(np.linalg.svd(m, compute_uv=False)) for m in (whole, masked))
        return f"from {before:.1f} to {after:.1f}"

    sentence = alt(figure)
    assert f"largest singular value goes {both(np.max)}, the median {both(np.median)}." in sentence
    norms = [np.linalg.norm(masked - whole), math.sqrt(p / (1 - p)) * np.linalg.norm(whole), np.linalg.norm(whole)]
    said = re.search(r"Frobenius norm ([\d.]+), expected ([\d.]+); the matrix has ([\d.]+)\.", sentence)
    assert [float(number) for number in said.groups()] == [round(norm, 1) for norm in norms]
    assert f"{1 - kept.mean():.0%} of the entries are dropped" in sentence and f"p = {p:g}:" in sentence


def test_the_size_of_the_noise_is_its_mean_over_all_masks():
    """Exactly, by listing the 16 masks of a matrix of four entries with their probabilities."""
    whole, p = torch.tensor([[0.3, -1.2], [2.0, 0.7]], dtype=torch.float64), 0.3
    noise = square = 0.0
    for kept in itertools.product((0, 1), repeat=4):
        chance = math.prod(1 - p if bit else p for bit in kept)
        masked = whole * torch.tensor(kept).view(2, 2) / (1 - p)
        noise += chance * (masked - whole).square().sum().item()
        square += chance * masked.square().sum().item()
    assert noise_norm(whole, p) ** 2 == pytest.approx(noise)
    assert square == pytest.approx(whole.square().sum().item() / (1 - p))


def test_the_masked_norm_that_is_drawn_lies_near_its_expectation():
    for p, matrix in itertools.product((0.1, 0.5, 0.8), weight_drop.KINDS):
        whole = weight_matrix(matrix)
        squares = whole.square()
        spread = math.sqrt((p / (1 - p) ** 3 * squares.square().sum()).item())  # of the masked squared norm
        masked = weight_drop.masked(whole, p)
        assert masked.square().sum().item() == pytest.approx(squares.sum().item() / (1 - p), abs=4 * spread)


def test_weight_drop_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match=r"p is 1; it must lie in \[0, 1\)"):
        weight_drop_figure(1, "trained")
    with pytest.raises(ValueError, match=r"p is -0.1; it must lie in \[0, 1\)"):
        noise_norm(torch.ones(2, 2), -0.1)
    with pytest.raises(ValueError, match="matrix is 'sparse'; it must be one of trained, orthogonal, gaussian"):
        weight_drop_figure(0.5, "sparse")


# ---- AR and TAR ----


def cell(alpha, beta):
    """One run of the record, and its trace, read by hand."""
    record = json.loads((ROOT / "data" / "runs" / "activation-penalties.json").read_text(encoding="utf-8"))
    (run,) = (run for run in record["runs"] if (run["alpha"], run["beta"]) == (alpha, beta))
    return run, np.array([word.split() for word in run["trace"]], dtype=float) / 1000, record


@pytest.mark.parametrize("alpha, beta", [(0.0, 0.0), (0.0, 4.0), (2.0, 0.5), (4.0, 1.0)])
def test_traces_and_penalties_are_those_of_the_record_computed_by_hand(alpha, beta):
    run, trace, record = cell(alpha, beta)
    figure = penalties_figure(alpha, beta)
    (drawn,) = maps(figure)
    np.testing.assert_allclose(drawn, trace.T[: activation_penalties.UNITS], atol=1e-12)
    size, change = (trace**2).mean(1), (np.diff(trace, axis=0) ** 2).mean(1)
    _, neither, _ = cell(0.0, 0.0)
    dotted = (neither**2).mean(1), (np.diff(neither, axis=0) ** 2).mean(1)
    steps = np.arange(len(trace))
    for (x, y), expected in zip(lines(figure), (*dotted, size, change), strict=True):
        np.testing.assert_array_equal(x, steps)
        gap = len(y) - len(expected)
        assert np.isnan(y[:gap]).all()
        np.testing.assert_allclose(y[gap:], expected)
    assert [trace.line.dash for trace in figure.data[1:]] == ["dot", "dot", None, None]
    assert list(figure.layout.xaxis.ticktext) == record["words"] and len(record["words"]) == len(trace)
    assert f"= {alpha:g} · {size.mean():.3f} = {alpha * size.mean():.3f}" in texts(figure)[2]
    assert f"= {beta:g} · {change.mean():.3f} = {beta * change.mean():.3f}" in texts(figure)[3]
    assert texts(figure)[1] == f"validation perplexity {run['valid_perplexity']:.1f}"
    assert alt(figure) == (
        f"Trained with α = {alpha:g} and β = {beta:g}, validation perplexity {run['valid_perplexity']:.1f}: over these "
        f"26 words the mean square of the activations is {size.mean():.3f} and that of their change from word to word "
        f"{change.mean():.3f}; over the whole validation text {run['mean_square']:.3f} and "
        f"{run['mean_square_step']:.3f}."
    )


def test_the_axis_of_the_penalties_holds_them_at_every_setting():
    record = activation_penalties.experiment()
    low, high = (10**end for end in penalties_figure(0.0, 0.0).layout.yaxis.range)
    for alpha, beta in itertools.product(record["alphas"], record["betas"]):
        for squares in by_step(activation_penalties.trained(alpha, beta)[0]):
            assert low < np.nanmin(squares) and np.nanmax(squares) < high


def test_the_penalties_refuse_weights_that_nothing_was_trained_with():
    with pytest.raises(ValueError, match="alpha is 3; models were trained at 0.0, 0.5, 1.0, 2.0, 4.0"):
        penalties_figure(3, 0.5)
    with pytest.raises(ValueError, match="beta is -1; models were trained at"):
        penalties_figure(0.5, -1)


def test_an_experiment_that_was_not_finished_says_so(monkeypatch):
    record = activation_penalties.experiment()
    monkeypatch.setattr(activation_penalties, "experiment", lambda: record | {"runs": record["runs"][:1]})
    with pytest.raises(ValueError, match="the record has no run at alpha 4.0 and beta 4.0: run the experiment again"):
        activation_penalties.trained(4.0, 4.0)
