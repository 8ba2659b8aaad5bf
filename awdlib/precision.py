"""In which floating-point arithmetic a model is trained, and where the processor at hand has it.

=========  ==========================================================================================
precision  matrix products and layers
=========  ==========================================================================================
fp32       single precision; on a GPU without TF32
tf32       on a GPU, products of single-precision numbers cut to 10 bits of fraction; elsewhere fp32
bf16       bfloat16 under autocast; on a GPU, cuDNN's LSTM and GRU run in fp16 then, as torch has it
fp16       half precision under autocast, on a GPU only
auto       bf16 where the processor computes in it, and fp32 elsewhere, where bf16 would be slower
=========  ==========================================================================================

In all of them weights, their averages, the softmax, the penalties and the gradient's norm are in single precision.
Autocast: Micikevicius et al. 2018 ("Mixed precision training"), whose loss scaling is used here too.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path

import torch

from awdlib import _require as require

#: the type that autocast computes in, None for no autocast; by the name of the precision
AUTOCAST: dict[str, torch.dtype | None] = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

#: The loss is multiplied by this, and the gradient divided by it, where layers run in fp16: small gradients would
#: vanish there. A power of two changes no bit of any other number.
LOSS_SCALE = 2.0**12


def has_bf16(device: torch.device | str) -> bool:
    """Whether a processor multiplies matrices of bfloat16 itself; elsewhere torch imitates it, several times slower.

    Args:
        device: a CPU or a CUDA GPU.

    Raises:
        ValueError: there is no such device.

    Example:
        >>> from awdlib.precision import choose_precision, has_bf16
        >>> choose_precision("auto", "cpu") == ("bf16" if has_bf16("cpu") else "fp32")
        True
    """
    device = require.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(cpu_flags())


@lru_cache
def cpu_flags() -> frozenset[str]:
    """What the CPU says it can do, in the words of Linux; nothing on other systems.

    Example:
        Who has Intel's matrix unit for bfloat16 has bfloat16:

        >>> from awdlib.precision import cpu_flags, has_bf16
        >>> has_bf16("cpu") or "amx_bf16" not in cpu_flags()
        True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split())


def choose_precision(name: str, device: torch.device | str) -> str:
    """The precision of a name on a device: "auto" decided, and what cannot be there refused.

    Args:
        name: one of the table above.
        device: where the model is trained.

    Returns:
        a key of `AUTOCAST`.

    Raises:
        ValueError: an unknown name, no such device, or "fp16" on a CPU.

    Example:
        >>> from awdlib.precision import choose_precision
        >>> choose_precision("fp16", "cpu")
        Traceback (most recent call last):
            ...
        ValueError: precision is 'fp16'; half precision needs a GPU: take 'auto', 'bf16' or 'fp32' on a CPU
    """
    device = require.device(device)
    require_precision(name)
    if name == "fp16" and device.type == "cpu":
        raise ValueError("precision is 'fp16'; half precision needs a GPU: take 'auto', 'bf16' or 'fp32' on a CPU")
    if name == "auto":
        return "bf16" if has_bf16(device) else "fp32"
    return name


def require_precision(name: str) -> None:
    """Raise unless there is such a precision.

    Args:
        name: to look at.

    Raises:
        ValueError: there is none of this name.

    Example:
        >>> from awdlib.precision import require_precision
        >>> require_precision("fp8")
        Traceback (most recent call last):
            ...
        ValueError: precision is 'fp8'; it must be auto, fp32, tf32, bf16 or fp16
    """
    if name not in ("auto", *AUTOCAST):
        raise ValueError(f"precision is {name!r}; it must be auto, fp32, tf32, bf16 or fp16")


def autocast(precision: str, device: torch.device | str) -> AbstractContextManager[object]:
    """A context in which layers compute in a precision. For the way forward: backward follows by itself.

    Args:
        precision: a key of `AUTOCAST`.
        device: where the layers are.

    Example:
        >>> import torch
        >>> from awdlib.precision import autocast
        >>> with autocast("bf16", "cpu"):
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    dtype = AUTOCAST[precision]
    # no cache of weights in half precision: in a CUDA graph it would outlive what it was made from
    return torch.autocast(torch.device(device).type, dtype, enabled=dtype is not None, cache_enabled=False)


@contextmanager
def tensor_float(precision: str) -> Iterator[None]:
    """A context in which a GPU multiplies in TF32, or with "fp32" does not. For the way forward and back.

    torch's own defaults are mixed: TF32 in cuDNN's LSTM and GRU, none in matrix products.

    Args:
        precision: a key of `AUTOCAST`.

    Example:
        >>> import torch
        >>> from awdlib.precision import tensor_float
        >>> with tensor_float("tf32"):
        ...     inside = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
        >>> inside, torch.get_float32_matmul_precision()
        ((True, 'high'), 'highest')
    """
    try:
        products, recurrence = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # "a mix of the legacy and new APIs"
        yield
        return
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = recurrence
