"""Known wrong answers to the exercises of *Dropout masks*."""

# %% 1: the two counts exchanged
ordinary_decisions = 20 * 400
locked_decisions = 35 * 20 * 400

# %% 1: one mask for all sequences
ordinary_decisions = 35 * 20 * 400
locked_decisions = 400

# %% 1: the features share, too
ordinary_decisions = 35 * 20 * 400
locked_decisions = 35 * 20


# %% 2: independent at every step, whatever the mask
def noise(x, p, locked):
    return (p / (1 - p) * x.square().mean() / len(x)) ** 0.5


# %% 2: held, whatever the mask
def noise(x, p, locked):
    return (p / (1 - p) * x.mean() ** 2) ** 0.5


# %% 2: p and 1 - p exchanged
def noise(x, p, locked):
    variance = x.mean() ** 2 if locked else x.square().mean() / len(x)
    return ((1 - p) / p * variance) ** 0.5


# %% 3: a mask for time first
def locked_batch_first(x, p, training):
    if not training or p == 0:
        return x
    mask = torch.empty(1, *x.shape[1:], dtype=x.dtype, device=x.device)
    return x * mask.bernoulli_(1 - p) / (1 - p)


# %% 3: ordinary dropout
def locked_batch_first(x, p, training):
    return torch.nn.functional.dropout(x, p, training)


# %% 3: not scaled
def locked_batch_first(x, p, training):
    if not training or p == 0:
        return x
    mask = torch.empty(x.shape[0], 1, x.shape[2], dtype=x.dtype, device=x.device)
    return x * mask.bernoulli_(1 - p)


# %% 3: never turned off
def locked_batch_first(x, p, training):
    mask = torch.empty(x.shape[0], 1, x.shape[2], dtype=x.dtype, device=x.device)
    return x * mask.bernoulli_(1 - p) / (1 - p)


# %% 4: held over time, but one mask for the whole batch
class LockedDropout(torch.nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        mask = torch.empty(1, 1, x.shape[2], dtype=x.dtype, device=x.device)
        return x * mask.bernoulli_(1 - self.p) / (1 - self.p)


# %% 4: a mask for each sequence, and a fresh one at each step
class LockedDropout(torch.nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        mask = torch.empty_like(x)
        return x * mask.bernoulli_(1 - self.p) / (1 - self.p)


# %% 4: one mask for ever
class LockedDropout(torch.nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p, self.mask = p, None

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        if self.mask is None:
            self.mask = torch.empty(1, *x.shape[1:], dtype=x.dtype).bernoulli_(1 - self.p) / (1 - self.p)
        return x * self.mask
