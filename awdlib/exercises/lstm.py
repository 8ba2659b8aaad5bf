"""Checks for the exercises of the chapter *The LSTM from scratch, and BPTT by hand*."""

import math
from collections.abc import Callable
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.contracts import Promise, Report
from awdlib.exercises.answers import YOUR_TURN, is_empty, raised
from awdlib.recurrent import State, lstm_step, rnn_step

INPUTS, HIDDEN = 400, 1150  #: the first layer of the paper's model, of which exercise 1 asks

Step = Callable[..., State]  #: called as `awdlib.recurrent.lstm_step` is


def check_parameters(lstm: int, rnn: int) -> Report:
    """Exercise 1: the numbers of parameters of two layers of 400 inputs and 1150 units, as torch has them.

    Args:
        lstm: the reader's count for an LSTM layer; ``...`` where there is none yet.
        rnn: the same for a simple recurrent layer.

    Raises:
        ValueError: an answer is not a number.

    Example:
        >>> from awdlib.exercises.lstm import check_parameters
        >>> check_parameters(..., ...)
        your turn: fill in the cell and run it again
        >>> check_parameters(4 * 1150 * (400 + 1150 + 1), 1150 * (400 + 1150 + 2))
        ✗ parameters of the LSTM layer
            hint: torch keeps two biases a row, bias_ih and bias_hh
        ✓ parameters of the simple layer
    """
    if lstm is ... or rnn is ...:
        return YOUR_TURN
    found = []
    for name, given, blocks in (("LSTM", lstm, 4), ("simple", rnn, 1)):
        require.number(name, given)
        rows = blocks * HIDDEN
        hints = {
            rows * (INPUTS + HIDDEN + 1): "torch keeps two biases a row, bias_ih and bias_hh",
            rows * (INPUTS + HIDDEN): "the biases are missing",
            rows * (INPUTS + 2): "the matrix from hidden state to hidden state is missing",
            rows * (HIDDEN + 2): "the matrix that reads the input is missing",
            3 * HIDDEN * (INPUTS + HIDDEN + 2): "three gates and the candidate make four blocks of rows",
            (5 - blocks) * HIDDEN * (INPUTS + HIDDEN + 2): "that is the other layer's count",
        }
        rest = "rows times (inputs + hidden units + biases); how many rows does each layer have?"
        text = f"parameters of the {name} layer"
        found.append(Promise(text, given == rows * (INPUTS + HIDDEN + 2), hints.get(given, rest)))
    return Report(tuple(found))


def check_forget_bias(function: Callable[[float], float]) -> Report:
    """Exercise 2: ``function(half_life)``, the forget bias at which a cell at rest halves in so many steps.

    Args:
        function: the reader's.

    Example:
        The solution: f to the power of k is one half, and the bias is where the sigmoid is f.

        >>> import math
        >>> from awdlib.exercises.lstm import check_forget_bias
        >>> def forget_bias(half_life):
        ...     f = 0.5 ** (1 / half_life)
        ...     return math.log(f / (1 - f))
        >>> check_forget_bias(forget_bias).kept
        True
    """
    if is_empty(function, 10.0):
        return YOUR_TURN
    found = []
    for steps in (1.0, 10.0, 30.0):
        text = f"the bias for a half-life of {steps:g} step{'s' if steps > 1 else ''}"
        try:
            given = float(function(steps))
        except Exception as error:  # whatever a reader's code may raise
            return Report((raised(text, error),))
        gate = 0.5 ** (1 / steps)
        bias = math.log(gate / (1 - gate))
        found.append(Promise(text, _near(given, bias), _bias_hint(given, gate, bias, steps)))
    return Report(tuple(found))


def _near(given: float, right: float) -> bool:
    return math.isclose(given, right, rel_tol=1e-4, abs_tol=1e-5)  # what single precision leaves near f = 1


def _bias_hint(given: float, gate: float, bias: float, steps: float) -> str:
    if _near(given, gate):
        return "this is the gate; the bias is what the sigmoid must be given to come out there"
    if _near(given, -bias):
        return "the sign is turned: a longer memory needs a larger bias"
    if _near(given, math.log(steps / math.log(2))):
        return "close, but this is what it comes near to for long memories: invert the sigmoid itself"
    if _near(given, 1 / (1 + math.exp(-gate))):
        return "the sigmoid is taken, where its inverse is asked for"
    natural = math.exp(-1 / steps)
    if _near(given, math.log(natural / (1 - natural))):
        return "after that many steps 1/e would be left: a half-life asks for 1/2"
    return "first the gate f with f**half_life = 1/2, then the bias b with sigmoid(b) = f"


def check_rnn_backward(function: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Report:
    """Exercise 3: ``function(dh, h, weight_hh)``, one step back through the simple recurrent network.

    Args:
        function: the reader's. It gets the error dh that arrives at the step's new state h, both (batch, hidden_size),
            and returns the error of the sum that enters tanh, and that of the state before.

    Example:
        The solution, section *Backpropagation through time, by hand* of the chapter:

        >>> from awdlib.exercises.lstm import check_rnn_backward
        >>> def backward(dh, h, weight_hh):
        ...     delta = dh * (1 - h**2)
        ...     return delta, delta @ weight_hh
        >>> check_rnn_backward(backward).kept
        True
    """
    draw = torch.Generator().manual_seed(5)
    x, h, dh, w, u, b = (_normal(shape, draw) for shape in ((3, 2), (3, 4), (3, 4), (4, 2), (4, 4), (4,)))
    total = x @ w.t() + b + h @ u.t()
    after = total.tanh()
    if is_empty(function, *_copies(dh, after, u)):
        return YOUR_TURN
    slope = dh * (1 - after**2)
    expected = {"the error of the sum": slope, "the error of the state before": slope @ u}
    try:
        given = tuple(torch.as_tensor(part).detach().double() for part in function(*_copies(dh, after, u)))
    except Exception as error:  # whatever a reader's code may raise
        return Report((raised("it returns two tensors", error),))
    if len(given) != 2 or any(part.shape != dh.shape for part in given):
        shapes = ", ".join(str(tuple(part.shape)) for part in given)
        hint = f"it returned {shapes}; both errors have the shape of h, {tuple(dh.shape)}"
        return Report((Promise("it returns two tensors of h's shape", False, hint),))
    hints = (_slope_hint(given[0], dh, after), _before_hint(given[1], given[0], dh, u))
    found = [
        Promise(name, torch.allclose(one, right), hint)
        for (name, right), one, hint in zip(expected.items(), given, hints, strict=True)
    ]
    return Report((*found, _through_time(function)))


def _slope_hint(given: Tensor, dh: Tensor, h: Tensor) -> str:
    if torch.allclose(given, dh):
        return "the error has not passed through tanh yet: multiply by its slope"
    if torch.allclose(given, dh * (1 - h.tanh() ** 2)):
        return "h is tanh of the sum already: its slope is 1 - h**2"
    if torch.allclose(given, dh * h * (1 - h)):
        return "h (1 - h) is the slope of the sigmoid; that of tanh is 1 - h**2"
    return "the slope of tanh at the sum is 1 - h**2; multiply entry by entry"


def _before_hint(given: Tensor, delta: Tensor, dh: Tensor, u: Tensor) -> str:
    if torch.allclose(given, delta @ u.t()):
        return "forward was h @ weight_hh.t(), so backward is delta @ weight_hh: it goes through the other way"
    if torch.allclose(given, dh @ u):
        return "what goes back is the error behind tanh, not the one before it"
    return "multiply the error of the sum by weight_hh"


def _through_time(function: Callable[..., Any]) -> Promise:
    """Five steps in a chain against autograd."""
    draw = torch.Generator().manual_seed(6)
    x, u, weight = _normal((5, 3, 4), draw), _normal((4, 4), draw).requires_grad_(), torch.eye(4, dtype=torch.float64)
    states = [torch.zeros(3, 4, dtype=torch.float64)]
    for one in x:
        states.append(rnn_step(one, (states[-1],), weight, u, weight[0] * 0, weight[0] * 0)[0])
    (expected,) = torch.autograd.grad(states[-1].sin().sum(), u)
    dh, found = states[-1].detach().cos(), torch.zeros_like(expected)
    for before, after in zip(states[-2::-1], states[:0:-1], strict=True):
        delta, dh = (torch.as_tensor(part).detach().double() for part in function(*_copies(dh, after, u)))
        found = found + delta.t() @ before.detach()
    hint = "each step alone must be right first; then the sum of outer products over time is autograd's gradient"
    return Promise("five steps in a row give autograd's gradient of weight_hh", torch.allclose(found, expected), hint)


def check_coupled_step(function: Step) -> Report:
    """Exercise 4: an LSTM step whose input gate is 1 - f, ``function(x, state, weight_ih, weight_hh, bias)``.

    It has three blocks of rows, f, g, o in turn, and one bias. Since 1 - sigmoid(z) = sigmoid(-z), it must be the
    LSTM whose rows of i are those of f with their signs turned: this is what it is held against.

    Args:
        function: the reader's; it returns the new h and c.

    Example:
        >>> from awdlib.exercises.lstm import check_coupled_step
        >>> def step(x, state, weight_ih, weight_hh, bias):
        ...     h, c = state
        ...     f, g, o = (x @ weight_ih.t() + h @ weight_hh.t() + bias).chunk(3, dim=1)
        ...     c = f.sigmoid() * c + (1 - f.sigmoid()) * g.tanh()
        ...     return o.sigmoid() * c.tanh(), c
        >>> check_coupled_step(step).kept
        True
    """
    draw = torch.Generator().manual_seed(7)
    x, h, c, w, u, b = (_normal(shape, draw) for shape in ((3, 2), (3, 4), (3, 4), (12, 2), (12, 4), (12,)))
    if is_empty(function, *_copies(x, (h, c), w, u, b)):
        return YOUR_TURN
    w4, u4, b4 = (torch.cat([-one[:4], one]) for one in (w, u, b))
    expected = lstm_step(x, (h, c), w4, u4, b4, torch.zeros_like(b4))
    given = _tried(function, x, (h, c), w, u, b)
    if isinstance(given, Report):
        return given
    f, g, o = (x @ w.t() + h @ u.t() + b).chunk(3, dim=1)
    wrong = {
        "the gate 1 - f is of the sigmoid, not of the sum": f.sigmoid() * c + (1 - f) * g.tanh(),
        "both gates are f: the input gate is what the forget gate leaves": f.sigmoid() * (c + g.tanh()),
        "the two gates are swapped: f keeps the old cell": (1 - f.sigmoid()) * c + f.sigmoid() * g.tanh(),
        "the candidate passes through tanh": f.sigmoid() * c + (1 - f.sigmoid()) * g,
        "nothing limits what is written: multiply the candidate by 1 - f": f.sigmoid() * c + g.tanh(),
    }
    rest = "c = f c + (1 - f) g, with f = sigmoid and g = tanh of their blocks, in the order f, g, o"
    hint = next((said for said, cell in wrong.items() if torch.allclose(given[1], cell)), rest)
    return Report(_parts(given, expected, o, hint, "the new cell state c", "the new hidden state h"))


def _parts(given: State, right: State, o: Tensor, hint: str, *names: str) -> tuple[Promise, Promise]:
    """The promises of a new cell and a new hidden state; the second one's hint looks whether the first is to blame."""
    (h, c), (right_h, right_c) = given, right
    if torch.allclose(h, right_c) and torch.allclose(c, right_h):
        hint = of_h = "h and c have changed places: h is returned first"
    elif torch.allclose(c, right_c):
        of_h = "h = o tanh(c), the new c"
    elif torch.allclose(h, o.sigmoid() * c.tanh()):
        of_h = "it follows from c, and is right once c is"
    else:
        of_h = "h = o tanh(c), the new c, with the rows of o: mend c first, then look at o"
    return Promise(names[0], torch.allclose(c, right_c), hint), Promise(names[1], torch.allclose(h, right_h), of_h)


def check_port(function: Step) -> Report:
    """Exercise 5: an LSTM step that must compute what torch does from torch's weights.

    Args:
        function: the reader's, called as `awdlib.recurrent.lstm_step` is.

    Example:
        >>> from awdlib.exercises.lstm import check_port
        >>> from awdlib.recurrent import lstm_step
        >>> check_port(lstm_step).kept
        True
    """
    draw = torch.Generator().manual_seed(8)
    lstm, x = torch.nn.LSTM(3, 4).double(), _normal((2, 5, 3), draw)
    weights = [_normal(tuple(weight.shape), draw) for weight in lstm.parameters()]
    for parameter, weight in zip(lstm.parameters(), weights, strict=True):
        parameter.data.copy_(weight)
    state = _normal((5, 4), draw), _normal((5, 4), draw)
    if is_empty(function, *_copies(x[0], state, *weights)):
        return YOUR_TURN
    given = _tried(function, x[0], state, *weights)
    if isinstance(given, Report):
        return given
    with torch.no_grad():
        right, (_, cell) = lstm(x[:1], (state[0][None], state[1][None]))
        end, _ = lstm(x, (state[0][None], state[1][None]))
    then = _tried(function, x[1], given, *weights)
    w, u, b, b2 = weights
    o = (x[0] @ w.t() + b + state[0] @ u.t() + b2).chunk(4, dim=1)[3]
    hint = _port_hint(given[1], x[0], state, w, u, b, b2)
    names = "the new cell state c is torch's", "the new hidden state h is torch's"
    found = _parts(given, (right[0], cell[0]), o, hint, *names)
    if isinstance(then, Report):
        return Report((*found, *then.promises))
    first = all(promise.kept for promise in found)
    hint = "a step must depend on nothing but its arguments" if first else "it begins with what the first step returned"
    text = "so is the hidden state of the second step"
    return Report((*found, Promise(text, torch.allclose(then[0], end[1]), hint)))


def _port_hint(given: Tensor, x: Tensor, state: State, w: Tensor, u: Tensor, b: Tensor, b2: Tensor) -> str:
    """Which of the known mistakes gives the reader's cell state."""
    h, c = state
    biases = {"": b + b2, "bias_hh is left out": b, "bias_ih is left out": b2, "both biases are left out": 0 * b}
    for order in permutations("ifgo"):
        for left_out, bias in biases.items():
            for extra in (0.0, 1.0):
                rows = dict(zip(order, (x @ w.t() + h @ u.t() + bias).chunk(4, dim=1), strict=True))
                cell = (rows["f"] + extra).sigmoid() * c + rows["i"].sigmoid() * rows["g"].tanh()
                if torch.allclose(given, cell):
                    said = [] if order == ("i", "f", "g", "o") else ["torch's blocks of rows are i, f, g, o"]
                    said += ["something is added to the forget gate that is not in torch's weights"] if extra else []
                    if found := ", and ".join([*said, left_out] if left_out else said):
                        return found
    return "c = sigmoid(f) c + sigmoid(i) tanh(g), of x W' + h U' and both biases"


def _tried(function: Step, *arguments: Any) -> State | Report:
    """What a reader's step returns, in double precision, or a report that it returns no state."""
    try:
        h, c = (torch.as_tensor(part).detach().double() for part in function(*_copies(*arguments)))
        if h.shape != c.shape or h.shape != arguments[1][0].shape:
            raise ValueError(f"h is {tuple(h.shape)} and c {tuple(c.shape)}; both are (batch, hidden_size)")
    except Exception as error:  # whatever a reader's code may raise
        return Report((raised("it returns h and c", error),))
    return h, c


def _copies(*arguments: Any) -> list[Any]:
    """Tensors of a reader's own, to change in place as they like."""
    return [tuple(_copies(*one)) if isinstance(one, tuple) else one.detach().clone() for one in arguments]


def _normal(shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=draw, dtype=torch.float64)
