"""Those that the library is compared with: torch's own layers as they are, and fastai's AWD-LSTM.

Both are wrapped alike: a module that is called with tokens (window, batch), carries its states from call to call, and
returns the logits and what has to be added to the loss.
"""

from collections.abc import Callable

import torch
from sizes import Sizes
from torch import Tensor, nn
from torch.nn import functional as F

from awdlib.model import ModelConfig
from awdlib.training_config import TrainConfig

PAPER = TrainConfig()
LR = 1.0  # at 30 random text may make a model diverge; the time is the same
KINDS = {"lstm": nn.LSTM, "gru": nn.GRU}
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Bare(nn.Module):
    """nn.LSTM or nn.GRU layers one after another and a tied softmax, without any regularization."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.layers = nn.ModuleList(KINDS[config.cell](*size) for size in config.layer_sizes())
        self.softmax = nn.Linear(config.embedding_size, config.vocab_size)
        self.softmax.weight = self.embedding.weight
        self.reset()

    def reset(self) -> None:
        """Back to zero states, which are what torch's layers take None for."""
        self.states = [None] * len(self.layers)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | float]:
        x = self.embedding(tokens)
        for number, layer in enumerate(self.layers):
            x, state = layer(x, self.states[number])
            self.states[number] = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return self.softmax(x), 0.0


class FastAI(nn.Module):
    """fastai's AWD_LSTM, with AR and TAR as its callback RNNRegularizer adds them; it reads (batch, window)."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        from fastai.text.all import AWD_LSTM, get_language_model

        settings = {
            "emb_sz": config.embedding_size, "n_hid": config.hidden_size, "n_layers": config.num_layers,
            "input_p": config.dropout_input, "hidden_p": config.dropout_hidden, "output_p": config.dropout_output,
            "embed_p": config.dropout_embedding, "weight_p": config.dropout_weight,
            "pad_token": 1, "bidir": False, "tie_weights": True, "out_bias": True,
        }  # fmt: skip
        self.model = get_language_model(AWD_LSTM, config.vocab_size, settings)

    def reset(self) -> None:
        """Back to zero states."""
        self.model.reset()

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | float]:
        logits, raw, dropped = self.model(tokens.t())
        if not self.training:
            return logits.transpose(0, 1), 0.0
        ar = PAPER.ar_weight * dropped.float().pow(2).mean()
        tar = PAPER.tar_weight * (raw[:, 1:] - raw[:, :-1]).float().pow(2).mean()
        return logits.transpose(0, 1), ar + tar


PEERS = {"bare": Bare, "fastai": FastAI}


def make(name: str, sizes: Sizes, device: str) -> nn.Module:
    """A peer on its device, its states at zero."""
    torch.manual_seed(PAPER.seed)
    peer = PEERS[name](sizes.model).to(device)
    peer.reset()  # fastai makes its states where its weights are
    return peer


def updating(peer: nn.Module, precision: str) -> Callable[[Tensor, Tensor], Tensor]:
    """An update as people write it: autocast, torch's clip, torch's SGD."""
    optimizer = torch.optim.SGD(peer.parameters(), lr=LR, weight_decay=PAPER.weight_decay)
    kind = next(peer.parameters()).device.type

    def update(inputs: Tensor, targets: Tensor) -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(kind, HALVES.get(precision), enabled=precision in HALVES):
            logits, penalty = peer(inputs)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        (loss + penalty).backward()
        nn.utils.clip_grad_norm_(peer.parameters(), PAPER.max_grad_norm)
        optimizer.step()
        return loss.detach()

    return update
