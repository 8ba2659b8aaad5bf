"""The matrix products of an update and nothing else: what is left when all around them costs nothing."""

import statistics
import time

import torch
from sizes import Sizes
from torch import Tensor


class Products:
    """Calling it multiplies whatever the update of a model has to multiply, at its shapes, in its order.

    What recurs is multiplied step by step; everything else once for the whole window. Results go to memory that is
    there already.
    """

    def __init__(self, sizes: Sizes, dtype: torch.dtype, device: str):
        def made(*shape: int) -> Tensor:
            return torch.randn(*shape, device=device).mul_(0.01).to(dtype)

        self.window, rows, model = sizes.window, sizes.tokens, sizes.model
        self.layers = [
            {
                "x": made(rows, inputs), "h": made(rows, size), "gates": made(rows, sizes.gates * size),
                "weight_ih": made(sizes.gates * size, inputs), "weight_hh": made(sizes.gates * size, size),
            }
            for inputs, size in model.layer_sizes()
        ]  # fmt: skip
        self.output, self.logits = made(rows, model.embedding_size), made(rows, model.vocab_size)
        self.embedding = made(model.vocab_size, model.embedding_size)
        self.gradients = [{name: torch.empty_like(layer[name]) for name in layer} for layer in self.layers]
        self.embedding_gradient, self.output_gradient = torch.empty_like(self.embedding), torch.empty_like(self.output)

    def __call__(self) -> None:
        for layer, result in zip(self.layers, self.gradients, strict=True):
            torch.mm(layer["x"], layer["weight_ih"].t(), out=result["gates"])
            steps = zip(layer["h"].chunk(self.window), result["gates"].chunk(self.window), strict=True)
            for h, gates in steps:
                torch.mm(h, layer["weight_hh"].t(), out=gates)
        torch.mm(self.output, self.embedding.t(), out=self.logits)
        torch.mm(self.logits, self.embedding, out=self.output_gradient)
        torch.mm(self.logits.t(), self.output, out=self.embedding_gradient)
        for layer, result in zip(reversed(self.layers), reversed(self.gradients), strict=True):
            steps = zip(layer["gates"].chunk(self.window), result["h"].chunk(self.window), strict=True)
            for gates, h in steps:
                torch.mm(gates, layer["weight_hh"], out=h)
            torch.mm(layer["gates"].t(), layer["h"], out=result["weight_hh"])
            torch.mm(layer["gates"].t(), layer["x"], out=result["weight_ih"])
            torch.mm(layer["gates"], layer["weight_ih"], out=result["x"])


def bandwidth(device: str, size: int) -> float:
    """Bytes a second that copying so many moves, those read and those written."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = []
    for _ in range(6):
        wait()
        began = time.perf_counter()
        target.copy_(source)
        wait()
        seconds.append(time.perf_counter() - began)
    return 2 * size / statistics.median(seconds[1:])
