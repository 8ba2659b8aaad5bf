"""Which arithmetic runs where, what stays in single precision, and that nothing of it outlives the update."""

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import CONFIG, MODEL, Products, corpus
from hostile import assert_refused, table

from awdlib import gradients, precision
from awdlib.batches import batchify
from awdlib.gradients import Window, fast_gradients, plain_gradients
from awdlib.model import LanguageModel
from awdlib.precision import AUTOCAST, autocast, choose_precision, cpu_flags, has_bf16, require_precision, tensor_float
from awdlib.training import start, update
from awdlib.training_config import TrainConfig

BOTH = pytest.mark.parametrize("compute", [plain_gradients, fast_gradients])


def flags(*more):
    """The text of /proc/cpuinfo for a processor with these flags beside others."""
    listed = " ".join(("fpu avx512f avx512_vnni", *more, "sha_ni"))
    return f"processor\t: 0\nmodel name\t: Some Processor\nflags\t\t: {listed}\nbugs\t\t: swapgs\n"


@pytest.fixture
def cpuinfo(monkeypatch):
    """A function that says what /proc/cpuinfo holds, forgets answers given before, and notes what is read."""

    def holds(text):
        reads = []

        def read_text(path, **_):
            reads.append(path)
            if isinstance(text, OSError):
                raise text
            return text

        monkeypatch.setattr(Path, "read_text", read_text)
        cpu_flags.cache_clear()
        return reads

    yield holds
    cpu_flags.cache_clear()


def window():
    columns = batchify(corpus().train, 3)
    return Window(columns[:7], columns[1:8], LanguageModel(MODEL).initial_states(3))


@pytest.mark.parametrize(("text", "has"), [
    (flags(), False), (flags("avx512_bf16"), True), (flags("amx_bf16"), True), (flags("avx512_bf16", "amx_bf16"), True),
    (flags("no_avx512_bf16"), False), ("", False), (OSError("no such file"), False),
], ids=["neither", "avx512", "amx", "both", "another flag", "nothing", "no Linux"])  # fmt: skip
def test_whether_a_cpu_has_bf16_is_what_linux_says_of_it(text, has, cpuinfo):
    cpuinfo(text)
    assert has_bf16("cpu") is has_bf16(torch.device("cpu")) is has
    assert choose_precision("auto", "cpu") == ("bf16" if has else "fp32")


def test_a_processor_is_asked_once(cpuinfo):
    reads = cpuinfo(flags())
    assert {has_bf16("cpu") for _ in range(3)} == {False} and reads == [Path("/proc/cpuinfo")]


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("device", ["cpu", torch.device("cuda:0")], ids=str)
def test_the_precision_of_every_name(device, has, monkeypatch):
    """A device object is believed to be there, so the GPU's row needs none."""
    monkeypatch.setattr(precision, "has_bf16", lambda asked: has)
    names = ["fp32", "tf32", "bf16", *(["fp16"] if device != "cpu" else [])]
    assert [choose_precision(name, device) for name in names] == names
    assert choose_precision("auto", device) == ("bf16" if has else "fp32")
    assert {*AUTOCAST} == {"fp32", "tf32", "bf16", "fp16"}


def train_in(name):
    text = corpus().train[:18].view(9, 2)
    return update(start(MODEL, replace(CONFIG, precision=name)), text[:-1], text[1:], lr=1.0)


@table({
    "fp16 on a CPU": (lambda: choose_precision("fp16", "cpu"), "^precision is 'fp16'; half precision needs a GPU: "),
    "an update in fp16": (lambda: train_in("fp16"), "^precision is 'fp16'; half precision needs a GPU"),
    **{f"{name!r}": (lambda name=name: choose_precision(name, "cpu"), f"^precision is {name!r}; it must be auto, fp32,")
       for name in ("fp8", "FP32", "", "float32", None)},
    "a check of a name": (lambda: require_precision("double"), "^precision is 'double'; it must be auto, fp32, tf32,"),
    "no such device": (lambda: choose_precision("auto", "gpu"), "^device is 'gpu'; torch finds here: cpu"),
    "bf16 of no device": (lambda: has_bf16("gpu"), "^device is 'gpu'"),
    "a setting": (lambda: TrainConfig(precision="bfloat16"), "^precision is 'bfloat16'; it must be auto, fp32, tf32,"),
    "a setting of no name": (lambda: TrainConfig(precision=16), "^precision is 16; it must be a string"),
    "half fast": (lambda: TrainConfig(fast="yes"), "^fast is 'yes'; it must be True or False"),
})  # fmt: skip
def test_what_there_is_not_is_refused(call, line):
    assert_refused(call, line)


def test_every_precision_is_a_setting():
    for name in ("auto", *AUTOCAST):
        assert TrainConfig(precision=name).precision == name
        require_precision(name)


@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("outside", [True, False], ids=["in autocast", "outside"])
def test_autocast_is_on_for_half_precision_alone_and_keeps_no_cache(name, outside):
    """Also where somebody has switched autocast on around it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=outside):
        with autocast(name, "cpu"):
            assert torch.is_autocast_enabled("cpu") == (name == "bf16")
            assert not torch.is_autocast_cache_enabled()
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (AUTOCAST[name] or torch.float32)
        assert torch.is_autocast_enabled("cpu") == outside and torch.is_autocast_cache_enabled()


@contextmanager
def switches(products, recurrence):
    """Torch's global switches for TF32, and what they were before."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = recurrence
    try:
        yield lambda: (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize(("products", "recurrence"), [("highest", True), ("high", False), ("medium", True)])
@pytest.mark.parametrize("name", AUTOCAST)
def test_tensor_float_puts_torchs_switches_back_after_an_error_too(name, products, recurrence):
    with switches(products, recurrence) as now:
        with tensor_float(name):
            assert now() == (("highest", False) if name == "fp32" else ("high", True))
        assert now() == (products, recurrence)
        with pytest.raises(KeyboardInterrupt), tensor_float(name):
            raise KeyboardInterrupt
        assert now() == (products, recurrence)


@BOTH
@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16"])
def test_the_switches_hold_forward_and_back_and_no_longer(compute, name):
    model, seen = LanguageModel(MODEL), []
    with switches("medium", False) as now:
        model.layers[0].register_forward_hook(lambda *_: seen.append(now()))
        model.layers[0].weight_ih.register_hook(lambda _: seen.append(now()))  # on the way back
        compute(model, replace(CONFIG, precision=name), window())
        assert seen == [("highest", False) if name == "fp32" else ("high", True)] * 2
        assert now() == ("medium", False)


@BOTH
@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("tf32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_are_in_the_precision_and_loss_penalties_and_gradients_in_single(compute, name, dtype, monkeypatch):
    model, config, seen = LanguageModel(MODEL), replace(CONFIG, precision=name, max_grad_norm=1e6), []
    penalties = gradients.penalties

    def watched(output, *weights):
        seen.append((output.raw_output.detach(), output.dropped_output.detach(), penalties(output, *weights)))
        return seen[0][-1]

    monkeypatch.setattr(gradients, "penalties", watched)
    with Products() as products:
        loss, states = compute(model, config, window())
    ((raw, dropped, penalty),) = seen
    assert {*products.dtypes} == {dtype}
    assert raw.dtype == dropped.dtype == dtype
    assert loss.dtype == penalty.dtype == torch.float32
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert {weight.grad.dtype for weight in model.parameters()} == {torch.float32}
    in_double = 2 * dropped.double().square().mean() + (raw[1:].double() - raw[:-1].double()).square().mean()
    torch.testing.assert_close(penalty.double(), in_double, rtol=1e-6, atol=0)  # bfloat16 would be off by 1e-3


def test_half_precision_is_close_to_single():
    """A gradient of one direction: rounding each product to 8 bits turns it by little."""
    model, given, found = LanguageModel(MODEL), window(), {}
    for name in ("fp32", "bf16"):
        for compute in (plain_gradients, fast_gradients):
            config = replace(CONFIG, precision=name, max_grad_norm=1e6)
            loss, _ = compute(model, config, given, torch.Generator().manual_seed(5))
            found[name, compute] = loss, torch.cat([weight.grad.flatten() for weight in model.parameters()])
    right_loss, right = found["fp32", plain_gradients]
    for loss, gradient in found.values():
        torch.testing.assert_close(loss, right_loss, rtol=2**-8, atol=0)
        assert (gradient - right).norm() < 0.02 * right.norm()
    assert not found["bf16", fast_gradients][1].equal(right)


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_loss_on_a_cpu_is_not_scaled(name, monkeypatch):
    """bfloat16 has the exponents of single precision: nothing vanishes that would have to be scaled up."""
    monkeypatch.setattr(gradients, "LOSS_SCALE", float("nan"))
    model = LanguageModel(MODEL)
    fast_gradients(model, replace(CONFIG, precision=name), window())
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_the_scale_of_the_loss_is_a_power_of_two():
    """Only then is it taken out again without a trace."""
    mantissa, _ = torch.frexp(torch.tensor(precision.LOSS_SCALE))
    assert mantissa == 0.5 and precision.LOSS_SCALE > 1


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_what_it_stands_for(has, monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda device: has)
    assert train_in("auto").equal(train_in("bf16" if has else "fp32"))
    assert not train_in("bf16").equal(train_in("fp32"))


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch has no newer switches yet")
@pytest.mark.parametrize("name", AUTOCAST)
def test_torchs_newer_switches_stay_as_somebody_has_set_them(name):
    code = f"""
import torch
from awdlib.precision import tensor_float
torch.backends.cuda.matmul.fp32_precision = "tf32"
with tensor_float({name!r}):
    print(torch.backends.cuda.matmul.fp32_precision)
print(torch.backends.cuda.matmul.fp32_precision)
"""  # in a Python of its own: no way leads back from these switches to the older ones
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tf32", "tf32"]
