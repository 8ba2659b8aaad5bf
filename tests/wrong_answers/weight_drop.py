"""Known wrong answers to the exercises of *Weight drop*."""

# %% 1: one gate's matrix
weights = 1150 * 1150
held = 40 * 1150
fresh = 70 * 40 * 1150

# %% 1: all sequences share the held mask
weights = 4 * 1150 * 1150
held = 1150
fresh = 70 * 40 * 1150

# %% 1: held and fresh exchanged
weights = 4 * 1150 * 1150
held = 70 * 40 * 1150
fresh = 40 * 1150


# %% 2: the variance
def noise(U, h, p):
    return p / (1 - p) * (U**2 @ h**2)


# %% 2: a mask that is not scaled
def noise(U, h, p):
    return (p * (1 - p) * (U**2 @ h**2)) ** 0.5


# %% 2: the sum squared, not its terms
def noise(U, h, p):
    return (p / (1 - p) * (U @ h) ** 2) ** 0.5


# %% 3: the first layer alone
class BothLayers(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p, self.lstm = p, nn.LSTM(6, 20, num_layers=2)

    def forward(self, x):
        masked = {"weight_hh_l0": F.dropout(self.lstm.weight_hh_l0, self.p, self.training)}
        return torch.func.functional_call(self.lstm, masked, (x,))


# %% 3: the ways up, too
class BothLayers(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p, self.lstm = p, nn.LSTM(6, 20, num_layers=2)

    def forward(self, x):
        masked = {
            name: F.dropout(weight, self.p, self.training)
            for name, weight in self.lstm.named_parameters()
            if name.startswith("weight")
        }
        return torch.func.functional_call(self.lstm, masked, (x,))


# %% 3: dropout of nn.LSTM
class BothLayers(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.lstm = nn.LSTM(6, 20, num_layers=2, dropout=p)

    def forward(self, x):
        return self.lstm(x)


# %% 4: evaluation is right, the gradient does not reach the raw weights
class WeightDrop(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p, self.lstm = p, nn.LSTM(6, 20)
        self.raw = nn.Parameter(self.lstm.weight_hh_l0.detach().clone())

    def forward(self, x):
        masked = F.dropout(self.raw, self.p, self.training)
        self.lstm.weight_hh_l0 = nn.Parameter(masked)
        return self.lstm(x)


# %% 4: the gradient is right, evaluation drops
class WeightDrop(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p, self.lstm = p, nn.LSTM(6, 20)

    def forward(self, x):
        masked = F.dropout(self.lstm.weight_hh_l0, self.p)
        return torch.func.functional_call(self.lstm, {"weight_hh_l0": masked}, (x,))
