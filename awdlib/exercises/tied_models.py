"""Whether a model's two word matrices are one: the check of exercise 4 of the chapter on weight tying."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import raised

Maker = Callable[[int, int, int], nn.Module]  #: called as ``make(vocab_size, embedding_size, hidden_size)``
_V, _E, _H = 23, 5, 7  # sizes that no two shapes can be mistaken for each other
_READ, _NOT_READ = 4, 9  # two words; the first is read, the second never


def check_tied(make: Maker) -> Report:
    """Exercise 4: whether one parameter reads and writes, and goes on doing so.

    It looks at what the model does, not at how its parts are called: it changes a row and watches the logits.

    Args:
        make: the reader's class; its models are called with tokens (seq_len, batch), and return logits.

    Example:
        Without a tie one matrix reads and another one writes:

        >>> from torch import nn
        >>> from awdlib.exercises.weight_tying import check_tied
        >>> check_tied(lambda v, e, h: nn.Sequential(nn.Embedding(v, e), nn.Linear(e, v))).broken()[0]
        'one parameter has a row for each word'
    """
    torch.manual_seed(1)
    try:
        model = make(_V, _E, _H)
        logits = model(_tokens())
    except Exception as error:  # whatever a reader's code may raise
        return Report((raised("it reads a window", error),))
    if not isinstance(logits, Tensor) or logits.shape != (*_tokens().shape, _V):
        hint = f"return a tensor of logits, (seq_len, batch, vocab_size), here {(*_tokens().shape, _V)}"
        return Report((Promise("it returns logits", False, hint),))
    if torch.allclose(logits.exp().sum(-1), torch.ones(()), atol=1e-4) or torch.allclose(
        logits.sum(-1), torch.ones(()), atol=1e-4
    ):
        return Report((Promise("it returns logits", False, "leave the softmax to the loss: these are normalized"),))
    found = [
        Promise("one parameter has a row for each word", len(_word_matrices(model)) == 1, _count_hint(model)),
        Promise(_FELT, _is_felt(model), _felt_hint(model)),
        Promise("its gradient has a part from reading and one from writing", _has_both(model), _gradient_of(model)),
    ]
    if not found[1].kept:  # nothing is there that could go on
        return Report(tuple(found))
    _step(model)
    twins = {
        "so it is after an update": (lambda one: one, "the optimizer moved the two ends apart"),
        "so it is in a deep copy": (copy.deepcopy, "Parameters that share memory are copied one by one"),
        "so it is in double precision": (lambda one: copy.deepcopy(one).double(), "`.double()`, like `.to(device)`, "
                                         "makes new memory for each Parameter: only one Parameter stays one"),
        "so it is in a fresh model that loads its state": (lambda one: _loaded(make, one), "tie when the model is "
                                                           "made, and keep all of it in the state"),
    }  # fmt: skip
    for text, (twin, hint) in twins.items():
        try:
            other = twin(model)
            same = torch.allclose(_eval(other), _eval(model).to(_eval(other).dtype), atol=1e-5)
            found.append(Promise(text, same and _is_felt(other), hint))
        except Exception as error:  # such as a state that does not fit
            found.append(raised(text, error))
    return Report(tuple(found))


_FELT = "a change of its row is felt by reading and by writing"


def _tokens() -> Tensor:
    return torch.tensor([[_READ, 1], [2, 3], [1, 2]])


def _eval(model: nn.Module) -> Tensor:
    logits: Tensor = model.eval()(_tokens())
    return logits


def _word_matrices(model: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if sorted(weight.shape) == [_E, _V]]


def _row(matrix: Tensor, word: int) -> Tensor:
    return matrix[word] if matrix.shape[0] == _V else matrix[:, word]


@torch.no_grad()
def _changes(model: nn.Module, matrix: Tensor) -> tuple[bool, bool]:
    """Whether a row of the matrix matters to what the model makes of a word it reads, and to a word's own logit."""
    before, kept = _eval(model).clone(), matrix.clone()
    felt = []
    for word in (_READ, _NOT_READ):
        _row(matrix, word).add_(1.0)
        moved = ((_eval(model) - before)[:, 0].abs() > 1e-6).any(0)
        matrix.copy_(kept)
        moved_others = moved[torch.arange(_V) != word].any().item()
        felt.append(moved_others if word == _READ else moved[word].item() and not moved_others)
    return bool(felt[0]), bool(felt[1])


def _is_felt(model: nn.Module) -> bool:
    return any(_changes(model, matrix) == (True, True) for matrix in _word_matrices(model))


def _gradients(model: nn.Module) -> list[tuple[bool, bool]]:
    """Of each word matrix: has the logit of a word that was not read a gradient at a word read, and at its own row?"""
    model.zero_grad()
    _eval(model)[-1, 0, _NOT_READ].backward()
    rows = [(m.grad if m.grad is not None else torch.zeros_like(m)) for m in _word_matrices(model)]
    found = [(bool(_row(grad, _READ).any()), bool(_row(grad, _NOT_READ).any())) for grad in rows]
    model.zero_grad()
    return found


def _has_both(model: nn.Module) -> bool:
    return (True, True) in _gradients(model)


def _step(model: nn.Module) -> None:
    """One update from some text."""
    tokens = torch.arange(2 * _V).view(_V, 2) % _V
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    loss = F.cross_entropy(model.train()(tokens).flatten(0, 1), tokens.roll(-1, 0).flatten())
    loss.backward()
    optimizer.step()


def _loaded(make: Maker, model: nn.Module) -> nn.Module:
    fresh = make(_V, _E, _H)
    fresh.load_state_dict(model.state_dict())
    return fresh


def _count_hint(model: nn.Module) -> str:
    count = len(_word_matrices(model))
    if count == 0:
        return "no parameter has the shape (vocab_size, embedding_size)"
    places = {matrix.data_ptr() for matrix in _word_matrices(model)}
    if len(places) < count:
        return "two Parameters share their memory (`.data`): the optimizer sees two. Assign the Parameter itself"
    return f"there are {count}: was it copied, or replaced after it was tied? Assign the Parameter itself, last"


def _felt_hint(model: nn.Module) -> str:
    ends = [_changes(model, matrix) for matrix in _word_matrices(model)]
    if len(ends) > 1:
        return "the matrix that reads is not the one that writes: equal numbers in two places are no tie"
    if ends and not ends[0][1]:
        return "what writes is something else: a copy, or a matrix that is no parameter"
    return "what reads is something else: a copy, or a matrix that is no parameter"


def _gradient_of(model: nn.Module) -> str:
    ends = _gradients(model)
    if len(ends) > 1:
        return "each of two Parameters has one part: their sum belongs to one Parameter"
    if ends and not ends[0][1]:
        return "the softmax's part is missing: a detached weight, or its `.data`, has no gradient"
    return "the part of reading is missing: a detached weight, or its `.data`, has no gradient"
