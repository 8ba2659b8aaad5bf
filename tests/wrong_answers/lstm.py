"""Known wrong answers to the exercises of the chapter on the LSTM."""

# %% 1: one bias a row
lstm_parameters = 4 * 1150 * (400 + 1150 + 1)
simple_parameters = 1150 * (400 + 1150 + 1)

# %% 1: the recurrent matrix forgotten
lstm_parameters = 4 * 1150 * (400 + 2)
simple_parameters = 1150 * (400 + 1150 + 2)

# %% 1: the two counts exchanged
simple_parameters = 4 * 1150 * (400 + 1150 + 2)
lstm_parameters = 1150 * (400 + 1150 + 2)


# %% 2: the gate, not its bias
def forget_bias(half_life):
    return 0.5 ** (1 / half_life)


# %% 2: the sign turned
import math


def forget_bias(half_life):
    f = 0.5 ** (1 / half_life)
    return math.log((1 - f) / f)


# %% 2: 1/e is left, not a half
import math


def forget_bias(half_life):
    f = math.exp(-1 / half_life)
    return math.log(f / (1 - f))


# %% 3: the error of h goes past tanh
def rnn_backward(dh, h, weight_hh):
    return dh, dh @ weight_hh


# %% 3: tanh is taken of h, which is tanh of the sum already
def rnn_backward(dh, h, weight_hh):
    da = dh * (1 - torch.tanh(h) ** 2)
    return da, da @ weight_hh


# %% 3: the matrix transposed, as forwards
def rnn_backward(dh, h, weight_hh):
    da = dh * (1 - h**2)
    return da, da @ weight_hh.T


# %% 4: the two gates exchanged
def coupled_step(x, state, weight_ih, weight_hh, bias):
    h, c = state
    z_f, z_g, z_o = (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(3, dim=1)
    f = torch.sigmoid(z_f)
    c = (1 - f) * c + f * torch.tanh(z_g)
    return torch.sigmoid(z_o) * torch.tanh(c), c


# %% 4: 1 minus the sum before the sigmoid
def coupled_step(x, state, weight_ih, weight_hh, bias):
    h, c = state
    f, g, o = (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(3, dim=1)
    c = torch.sigmoid(f) * c + (1 - f) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


# %% 4: h without tanh
def coupled_step(x, state, weight_ih, weight_hh, bias):
    h, c = state
    f, g, o = (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(3, dim=1)
    f = torch.sigmoid(f)
    c = f * c + (1 - f) * torch.tanh(g)
    return torch.sigmoid(o) * c, c


# %% 5: the blocks in order, the addition still there
def ported_step(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    h, c = state
    z = x @ weight_ih.T + h @ weight_hh.T + bias_ih + bias_hh
    i, f, g, o = z.chunk(4, dim=1)
    c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


# %% 5: the addition gone, the blocks as they were
def ported_step(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    h, c = state
    z = x @ weight_ih.T + h @ weight_hh.T + bias_ih + bias_hh
    i, g, f, o = z.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


# %% 5: mended, but one bias is lost
def ported_step(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    h, c = state
    z = x @ weight_ih.T + h @ weight_hh.T + bias_ih
    i, f, g, o = z.chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c
