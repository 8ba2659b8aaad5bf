"""Known wrong answers to the exercises of *Overfitting, and where dropout may go*."""

# %% 1: the softmax's mask forgotten
up = 2
up_and_h = 2 + 20
torchs = 1

# %% 1: the steps multiplied by the layers
up = 3
up_and_h = 3 + 2 * 20
torchs = 1

# %% 1: nn.LSTM's mask behind the last layer
up = 3
up_and_h = 23
torchs = 2


# %% 2: variances added up
def variance(layers, steps, p, recurrent):
    masks = layers + 1 + (steps if recurrent else 0)
    return masks * p / (1 - p)


# %% 2: the square of the mean not subtracted
def variance(layers, steps, p, recurrent):
    masks = layers + 1 + (steps if recurrent else 0)
    return (1 / (1 - p)) ** masks


# %% 2: a mask too few
def variance(layers, steps, p, recurrent):
    masks = layers + (steps if recurrent else 0)
    return (1 / (1 - p)) ** masks - 1


# %% 3: nothing is dropped on the way in
class Zaremba(torch.nn.Module):
    def __init__(self, inputs, hidden, layers, p):
        super().__init__()
        self.lstm = torch.nn.LSTM(inputs, hidden, layers, dropout=p if layers > 1 else 0.0)
        self.dropout = torch.nn.Dropout(p)

    def forward(self, x):
        return self.dropout(self.lstm(x)[0])


# %% 3: nothing is dropped between the layers
class Zaremba(torch.nn.Module):
    def __init__(self, inputs, hidden, layers, p):
        super().__init__()
        self.lstm = torch.nn.LSTM(inputs, hidden, layers)
        self.dropout = torch.nn.Dropout(p)

    def forward(self, x):
        return self.dropout(self.lstm(self.dropout(x))[0])


# %% 3: dropout that no evaluation turns off
class Zaremba(torch.nn.Module):
    def __init__(self, inputs, hidden, layers, p):
        super().__init__()
        self.lstm = torch.nn.LSTM(inputs, hidden, layers, dropout=p if layers > 1 else 0.0)
        self.p = p

    def forward(self, x):
        return F.dropout(self.lstm(F.dropout(x, self.p))[0], self.p)


# %% 4: the way to the next step is free, but evaluation drops
class Stack(torch.nn.Module):
    def __init__(self, inputs, hidden, layers, p):
        super().__init__()
        sizes = [inputs] + [hidden] * layers
        self.cells = torch.nn.ModuleList(torch.nn.LSTMCell(sizes[n], sizes[n + 1]) for n in range(layers))
        self.p = p

    def forward(self, x):
        x = F.dropout(x, self.p)
        for cell in self.cells:
            h = c = x.new_zeros(x.shape[1], cell.hidden_size)
            outputs = []
            for x_t in x:
                h, c = cell(x_t, (h, c))
                outputs.append(F.dropout(h, self.p))
            x = torch.stack(outputs)
        return x


# %% 4: evaluation is right, but h is still dropped on its way to the next step
class Stack(torch.nn.Module):
    def __init__(self, inputs, hidden, layers, p):
        super().__init__()
        sizes = [inputs] + [hidden] * layers
        self.cells = torch.nn.ModuleList(torch.nn.LSTMCell(sizes[n], sizes[n + 1]) for n in range(layers))
        self.p = p

    def forward(self, x):
        x = F.dropout(x, self.p, self.training)
        for cell in self.cells:
            h = c = x.new_zeros(x.shape[1], cell.hidden_size)
            outputs = []
            for x_t in x:
                h, c = cell(x_t, (h, c))
                h = F.dropout(h, self.p, self.training)
                outputs.append(h)
            x = torch.stack(outputs)
        return x


# %% 5: an equal loss counts as lower
def stop(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss <= losses[best]:
            best = epoch
        if epoch - best == patience:
            break
    return best + 1, epoch + 1


# %% 5: epochs counted from 0
def stop(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best == patience:
            break
    return best, epoch


# %% 5: looks at epochs after the end
def stop(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best == patience:
            break
    return losses.index(min(losses)) + 1, epoch + 1
