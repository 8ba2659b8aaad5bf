"""NT-ASGD: plain SGD that begins to average its iterates once the validation loss has stopped improving.

Merity et al. 2017, section 3 and Algorithm 1. The step size never shrinks; the *average* of the iterates settles
where a decaying step size would have led (Polyak & Juditsky 1992).
"""

import copy
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from awdlib import _require as require


def is_triggered(history: list[float], patience: int) -> bool:
    """Whether the newest loss is worse than the best of all but the last ``patience`` losses before it.

    This is the rule of the original code, which its author has called the correct one. Algorithm 1 as printed
    compares with the last ``patience`` losses instead.

    Args:
        history: validation losses in order, the newest last.
        patience: n of the paper: how many of the latest checks are left out of the comparison.

    Raises:
        ValueError: a loss is not finite, or patience is negative.

    Example:
        Worse than the best of long ago fires; worse than only the latest few does not:

        >>> from awdlib.ntasgd import is_triggered
        >>> is_triggered([5.0, 4.0, 3.9, 3.8, 4.1], patience=2), is_triggered([5.0, 4.0, 3.9, 3.8, 3.95], patience=2)
        (True, False)
    """
    _require_losses(history, patience)
    return len(history) > patience + 1 and history[-1] > min(history[: -patience - 1])


def count_triggers(losses: list[float], patience: int) -> int:
    """How often the trigger has fired, the history beginning anew after each time.

    For SGD that lowers its learning rate by the same criterion. Without a new beginning, one bad stretch would lower it
    after every epoch.

    Args:
        losses: validation losses in order.
        patience: see `is_triggered`.

    Raises:
        ValueError: a loss is not finite, or patience is negative.

    Example:
        A loss that rises from its second check on. After each firing two checks pass before the next can come:

        >>> from awdlib.ntasgd import count_triggers
        >>> [count_triggers([4.0, 4.1, 4.2, 4.3, 4.4][:seen], patience=0) for seen in range(1, 6)]
        [0, 1, 1, 2, 2]
    """
    fired, begin = 0, 0
    for end in range(1, len(losses) + 1):
        if is_triggered(losses[begin:end], patience):
            fired, begin = fired + 1, end
    return fired


def _require_losses(losses: list[float], patience: int) -> None:
    require.whole_number("patience", patience, 0)
    if not math.isfinite(sum(losses)):  # one that is not makes the sum so
        shown = require.shown(losses)
        raise ValueError(f"the losses are {shown}; all must be finite numbers: a run that has diverged has no trigger")


class NTASGD(Optimizer):
    """Non-monotonically triggered averaged SGD.

    ``step()`` is SGD, always. ``observe(loss)`` after each validation decides whether averaging begins; from then on
    every step also updates the mean of all iterates, the weights at the trigger included (the paper's sum from
    i = T). ``with optimizer.averaged():`` puts the mean in place for evaluation and takes it out again.

    Two departures from torch.optim.ASGD, which the original code switches to: a step takes the learning rate set for
    that very step (torch's acts one step late), and the mean includes the first iterate (torch's leaves it out).

    Args:
        params: parameters or parameter groups; a tensor listed twice in a group (tied weights) counts once.
        lr: learning rate.
        weight_decay: coefficient of plain L2, added to the gradient after any clipping.
        patience: n of the paper: see `is_triggered`.

    Raises:
        ValueError: a value is out of range.

    Example:
        Four steps along a gradient of 1. The average is the mean of the iterates, the first one included:

        >>> import torch
        >>> from awdlib.ntasgd import NTASGD
        >>> weight = torch.nn.Parameter(torch.tensor(10.0))
        >>> optimizer = NTASGD([weight], lr=1.0)
        >>> optimizer.start_averaging()
        >>> for _ in range(4):
        ...     weight.grad = torch.tensor(1.0)
        ...     optimizer.step()
        >>> with optimizer.averaged():
        ...     print(weight.item())  # of 10, 9, 8, 7 and 6
        8.0
        >>> weight.item()
        6.0
    """

    def __init__(self, params: Iterable[Any], lr: float, *, weight_decay: float = 0.0, patience: int = 5) -> None:
        self.patience = require.whole_number("patience", patience, 0)
        self.history: list[float] = []
        self.iterates_averaged = 0  # 0 until averaging begins
        self._average_is_in_place = False
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take more weights to train, as torch's optimizers do; before averaging begins, since it begins for all.

        Raises:
            ValueError: its lr or weight_decay is out of range.
            RuntimeError: averaging has begun.
        """
        if self.averaging:
            raise RuntimeError("add_param_group() was called after averaging had begun: add all weights before")
        _require_rates(self.defaults | param_group)
        super().add_param_group(param_group)

    @property
    def averaging(self) -> bool:
        """Whether averaging has begun, and so whether `averaged` changes anything."""
        return self.iterates_averaged > 0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """w <- w - lr (gradient + weight_decay w); once averaging has begun, also update the mean.

        Gradients are not looked at, since that would make a GPU wait: nan in them is nan in the weights.

        Args:
            closure: there for torch's signature; must be None.

        Raises:
            ValueError: the learning rate set for this step is negative or not finite, or a closure was given.
            RuntimeError: called while the average is in place of the iterate.
        """
        if closure is not None:
            raise ValueError("closure is given; NT-ASGD evaluates nothing again: call backward() before step()")
        for group in self.param_groups:
            _require_rates(group)
        if self._average_is_in_place:
            raise RuntimeError("step() was called inside averaged(): leave the context first, it restores the iterate")
        self.iterates_averaged += self.averaging
        for group in self.param_groups:
            weights = list(dict.fromkeys(group["params"]))
            trained = [weight for weight in weights if weight.grad is not None]
            if trained:  # all weights in one call: on a GPU one kernel, not one a weight
                torch._foreach_mul_(trained, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(trained, [weight.grad for weight in trained], alpha=-group["lr"])
            if self.averaging:
                averages = [self.state[weight]["average"] for weight in weights]
                torch._foreach_lerp_(averages, weights, 1 / self.iterates_averaged)

    def observe(self, validation_loss: float) -> bool:
        """Note the validation loss of an epoch, and begin to average when the trigger says so.

        Args:
            validation_loss: in nats a token, measured on the current iterate, or on the average once there is one.

        Returns:
            whether averaging began at this very call.

        Raises:
            ValueError: the loss is not a finite number; it is not noted.
        """
        self.history.append(require.number("validation_loss", validation_loss))
        if self.averaging or not is_triggered(self.history, self.patience):
            return False
        self.start_averaging()
        return True

    def start_averaging(self) -> None:
        """Begin to average now, the current weights being the first iterate; again starts the mean afresh."""
        self.iterates_averaged = 1
        for weight in self._weights():
            self.state[weight]["average"] = weight.detach().clone()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the average in place of the weights inside the context; before the trigger, change nothing.

        The iterate comes back on leaving, also through an exception.
        """
        if not self.averaging or self._average_is_in_place:
            yield
            return
        self._swap()
        self._average_is_in_place = True
        try:
            yield
        finally:
            self._swap()
            self._average_is_in_place = False

    @torch.no_grad()
    def _swap(self) -> None:
        for weight in self._weights():
            average = self.state[weight]["average"]
            held = weight.clone()
            weight.copy_(average)
            average.copy_(held)

    def _weights(self) -> Iterator[Tensor]:  # each once: a second swap would undo the first
        return (weight for group in self.param_groups for weight in dict.fromkeys(group["params"]))

    def state_dict(self) -> dict[str, Any]:
        """torch's state, with the history of losses and the number of averaged iterates.

        Raises:
            RuntimeError: called while the average is in place of the iterate.
        """
        if self._average_is_in_place:
            raise RuntimeError("state_dict() was called inside averaged(): leave the context first")
        return super().state_dict() | {"history": list(self.history), "iterates_averaged": self.iterates_averaged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; it stays as it is, and can be restored again.

        Args:
            state_dict: of an optimizer over parameters of the same shapes.

        Raises:
            ValueError: it is not the state of an NTASGD over weights of these shapes; nothing is changed.
        """
        _require_state(state_dict, list(dict.fromkeys(self._weights())))
        super().load_state_dict(copy.deepcopy(state_dict))  # torch would go on in the very tensors handed in
        self.history = list(state_dict["history"])
        self.iterates_averaged = state_dict["iterates_averaged"]

    def __getstate__(self) -> dict[str, Any]:  # copy.deepcopy and pickle: torch's own leaves our counters out
        own = {"patience": self.patience, "history": self.history, "iterates_averaged": self.iterates_averaged}
        return super().__getstate__() | own | {"_average_is_in_place": self._average_is_in_place}


def _require_rates(group: dict[str, Any]) -> None:
    require.number("lr", group["lr"], "[0, inf)")
    require.number("weight_decay", group["weight_decay"], "[0, inf)")


def _require_state(saved: dict[str, Any], weights: list[Tensor]) -> None:
    """Look whether this is a whole `NTASGD.state_dict` that fits these weights."""
    try:
        numbers = list(dict.fromkeys(number for group in saved["param_groups"] for number in group["params"]))
        for group in saved["param_groups"]:
            _require_rates(group)
        _require_losses(saved["history"], 0)
        averaging = require.whole_number("iterates_averaged", saved["iterates_averaged"], 0) > 0
        averages = [saved["state"][number]["average"] for number in numbers] if averaging else []
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is not the state of an NTASGD ({type(error).__name__}: {error})") from None
    if len(numbers) != len(weights):
        raise ValueError(f"the state is of {len(numbers)} weights and the optimizer has {len(weights)}")
    for average, weight in zip(averages, weights, strict=False):  # none before averaging began
        require.shape("an average", average, weight.shape, "its weight has it")
