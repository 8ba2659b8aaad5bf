"""The exercises of *The model, line by line*: printed solutions pass, every known wrong answer gets its hint."""

import inspect
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_model_contract import rewritten
from torch.nn import functional as F

from awdlib import dropout
from awdlib.dropout import embedding_dropout, locked_dropout
from awdlib.exercises.reading_the_model import BROKEN, check_decisions, check_predictions
from awdlib.model import Encoding, LanguageModel, ModelConfig, Output
from awdlib.model_contract import check_language_model, check_objective

CHAPTER = Path(__file__).resolve().parent.parent / "book" / "reading-the-model.ipynb"
RIGHT = {"embedding": 10_000, "input": 16_000, "hidden": 92_000, "weight": 11_220_000, "output": 16_000}


def cells(kind):
    notebook = json.loads(CHAPTER.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def printed(number):
    """The code of an exercise's printed solution."""
    prose = "\n\n".join(cells("markdown"))
    text = prose.partition(f"### {number}. ")[2].partition("</details>\n\n###")[0]
    return re.search(r"```python\n(.*?)```", text, re.S)[1]


def defined(code, name):
    space = {
        "F": F, "LanguageModel": LanguageModel, "Encoding": Encoding, "embedding_dropout": embedding_dropout,
        "locked_dropout": locked_dropout,
    }  # fmt: skip
    exec(code, space)
    return space[name]


def test_the_printed_solutions_pass():
    first = {}
    exec(printed(1), first)
    assert {
        name.removesuffix("_decisions"): first[name] for name in first if name in RIGHT or "output" in name
    } == RIGHT
    assert check_decisions(**RIGHT).kept
    second = {}
    exec(printed(2), second)
    assert check_predictions(second["a"], second["b"], second["c"]).kept
    assert check_objective(defined(printed(3), "loss")).kept
    assert check_language_model(defined(printed(4), "Careless")).kept


def test_the_fourth_exercise_is_broken_as_its_text_says():
    (cell,) = [code for code in cells("code") if "class Careless" in code]
    careless = defined(cell.partition("\n\n\ncheck_language_model")[0], "Careless")
    broken = check_language_model(careless).broken()
    assert [text.partition(":")[0] for text in broken] == [
        "in evaluation nothing is dropped", "the softmax reads every row of the tied matrix",
        "locked dropout between every two layers", "locked dropout on the output",
    ]  # fmt: skip


def test_the_decisions_are_the_entries_of_the_masks_that_the_model_draws(monkeypatch):
    drawn, real = [], dropout.keep_mask

    def counting(shape, *args, **options):
        drawn.append(int(np.prod(shape)))
        return real(shape, *args, **options)

    monkeypatch.setattr(dropout, "keep_mask", counting)
    model = LanguageModel(ModelConfig())  # the paper's sizes
    with torch.no_grad():
        model.encode(torch.zeros(2, 40, dtype=torch.long))
    embedding, first, u1, m2, u2, m3, u3, output = drawn
    counted = {"embedding": embedding, "input": first, "hidden": m2 + m3, "weight": u1 + u2 + u3, "output": output}
    assert counted == RIGHT and check_decisions(**counted).kept


@pytest.mark.parametrize(("place", "answer", "hint"), [
    ("embedding", 4_000_000, "a row is dropped as a whole"),
    ("embedding", 400_000, "all sequences meet the same mask"),
    ("embedding", 400, "rows are dropped, not columns"),
    ("embedding", 2800, "word types are dropped, not the words of the window"),
    ("input", 1_120_000, "the time steps share it"), ("input", 400, "each sequence of the batch"),
    ("input", 28_000, "sequences differ, time steps share"), ("input", 46_000, "embedding_size features"),
    ("hidden", 46_000, "two places between them"), ("hidden", 138_000, "after the last one it is the output's mask"),
    ("hidden", 2300, "each sequence of the batch"), ("hidden", 6_440_000, "the time steps share it"),
    ("hidden", 62_000, "is not between two layers"),
    ("weight", 2_805_000, "four such blocks"), ("weight", 15_870_000, "the last layer is as large as an embedding"),
    ("weight", 5_290_000, "every layer has a recurrent matrix"), ("weight", 448_800_000, "for all sequences"),
    ("weight", 785_400_000, "for all time steps"),
    ("output", 46_000, "since the softmax is tied"), ("output", 1_120_000, "the time steps share it"),
    ("output", 400, "each sequence of the batch"), ("output", 400_000, "the logits are not dropped"),
    ("output", 1, "write down the shape of the mask"),
])  # fmt: skip
def test_a_wrong_count_gets_its_hint(place, answer, hint):
    report = check_decisions(**RIGHT | {place: answer})
    assert len(report.broken()) == 1 and hint in repr(report)


def test_changes_break_the_promises_that_the_second_exercise_says():
    text = "\n".join(cells("markdown")).partition("### 2. ")[2]
    a, b, c = (re.search(rf"\*\*{name}\*\*: `(.*?)`", text)[1] for name in "abc")
    source = inspect.getsource(LanguageModel.encode)
    line = re.search(r"x = dropout\(F\.embedding.*", source)[0].partition("  #")[0]
    layer = re.search(r"x, state = layer\(.*\)", source)[0]
    assert b in source
    early = inspect.getsource(LanguageModel).replace(f"            {b}\n", "").replace(layer, f"{b}; {layer}")
    space = dict(vars(inspect.getmodule(LanguageModel)))
    exec(early, space)
    changed = {
        "a": rewritten(LanguageModel, line, a),
        "b": space["LanguageModel"],
        "c": rewritten(LanguageModel, re.search(r"return Encoding\(.*\)", source)[0], c),
    }
    for name, faulty in changed.items():
        report = check_language_model(faulty)
        numbers = {n for n, promise in enumerate(report.promises, start=1) if not promise.kept}
        assert numbers == BROKEN[name], name


@pytest.mark.parametrize(("answers", "hint"), [
    ((5, 2, [8, 9]), "Which matrix does the lookup read?"), ((3, 1, [8, 9]), "handed to the next window"),
    ((3, 2, 9), "9 is right, but it is not all"), ((3, 2, [8]), "8 is right"),
    ((3, 2, [8, 9, 10]), "but 10 still holds"), (([3, 11], 2, [8, 9]), "but 11 still holds"),
    ((3, 2, [9, 10]), "two fields have changed places"), ((3, 2, []), "two fields have changed places"),
])  # fmt: skip
def test_a_wrong_prediction_gets_its_hint(answers, hint):
    report = check_predictions(*answers)
    assert len(report.broken()) == 1 and hint in repr(report)


def test_right_answers_count_however_they_are_written():
    for c in ([8, 9], (9, 8), {8, 9}, [8, 9, 9]):
        assert check_predictions([3], (2,), c).kept
    assert check_decisions(**{place: float(value) for place, value in RIGHT.items()}).kept
    assert check_decisions(**{place: np.int64(value) for place, value in RIGHT.items()}).kept


def test_an_empty_cell_is_told_from_a_wrong_answer():
    for report in (check_decisions(1, 2, ..., 3, 4), check_predictions(..., 2, 3)):
        assert not report.kept and "your turn" in repr(report)


@pytest.mark.parametrize("answer", ["3", 0, 12, None, 2.5])
def test_what_is_no_number_of_a_promise_is_refused(answer):
    with pytest.raises(ValueError, match="an answer to a"):
        check_predictions(answer, 2, 3)
    if answer in ("3", None):
        with pytest.raises(ValueError, match="embedding"):
            check_decisions(**RIGHT | {"embedding": answer})


def test_wrong_losses_of_the_third_exercise_are_told():
    def loss(output: Output, targets, alpha, beta, *, ar="dropped", norm=False):
        entropy = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
        h = output.dropped_output if ar == "dropped" else output.raw_output
        size = h.norm(dim=2).mean() if norm else h.square().mean()
        return entropy + alpha * size + beta * (output.raw_output[1:] - output.raw_output[:-1]).square().mean()

    assert check_objective(loss).kept
    for wrong in ({"ar": "raw"}, {"norm": True}):
        broken = check_objective(lambda *given, wrong=wrong: loss(*given, **wrong)).broken()
        assert broken == ["AR: α times the mean square of the dropped output"]
