"""Known wrong answers to the exercises of *From LSTM to GRU*."""

# %% 1: the update gate reversed
state = 0.25 * 0.5 + 0.75 * -0.3
change = state - 0.5
entries = 3 * 100 * 100

# %% 1: the candidate is added whole
state = 0.75 * 0.5 - 0.3
change = state - 0.5
entries = 3 * 100 * 100

# %% 1: the old state minus the new one
state = 0.75 * 0.5 + 0.25 * -0.3
change = 0.5 - state
entries = 3 * 100 * 100

# %% 1: an LSTM's mask
state = 0.75 * 0.5 + 0.25 * -0.3
change = 0.25 * (-0.3 - 0.5)
entries = 4 * 100 * 100


# %% 2: torch's, with the reset after the product
def cho_step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    r_x, z_x, n_x = (x @ weight_ih.T + bias_ih).chunk(3, dim=1)
    r_h, z_h, n_h = (h @ weight_hh.T + bias_hh).chunk(3, dim=1)
    r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
    return z * h + (1 - z) * torch.tanh(n_x + r * n_h)


# %% 2: the blocks taken as z, r, n
def cho_step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    z_x, r_x, n_x = (x @ weight_ih.T + bias_ih).chunk(3, dim=1)
    u_z, u_r, u_n = weight_hh.chunk(3)
    b_z, b_r, b_n = bias_hh.chunk(3)
    r = torch.sigmoid(r_x + h @ u_r.T + b_r)
    z = torch.sigmoid(z_x + h @ u_z.T + b_z)
    n = torch.tanh(n_x + (r * h) @ u_n.T + b_n)
    return z * h + (1 - z) * n


# %% 2: z writes, as many a textbook has it
def cho_step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    r_x, z_x, n_x = (x @ weight_ih.T + bias_ih).chunk(3, dim=1)
    u_r, u_z, u_n = weight_hh.chunk(3)
    b_r, b_z, b_n = bias_hh.chunk(3)
    r = torch.sigmoid(r_x + h @ u_r.T + b_r)
    z = torch.sigmoid(z_x + h @ u_z.T + b_z)
    n = torch.tanh(n_x + (r * h) @ u_n.T + b_n)
    return (1 - z) * h + z * n


# %% 2: the state itself is reset, and so what z keeps
def cho_step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    r_x, z_x, n_x = (x @ weight_ih.T + bias_ih).chunk(3, dim=1)
    u_r, u_z, u_n = weight_hh.chunk(3)
    b_r, b_z, b_n = bias_hh.chunk(3)
    r = torch.sigmoid(r_x + h @ u_r.T + b_r)
    z = torch.sigmoid(z_x + h @ u_z.T + b_z)
    h = r * h
    n = torch.tanh(n_x + h @ u_n.T + b_n)
    return z * h + (1 - z) * n


# %% 2: the candidate has one bias only
def cho_step(x, h, weight_ih, weight_hh, bias_ih, bias_hh):
    r_x, z_x, n_x = (x @ weight_ih.T + bias_ih).chunk(3, dim=1)
    u_r, u_z, u_n = weight_hh.chunk(3)
    b_r, b_z, _ = bias_hh.chunk(3)
    r = torch.sigmoid(r_x + h @ u_r.T + b_r)
    z = torch.sigmoid(z_x + h @ u_z.T + b_z)
    n = torch.tanh(n_x + (r * h) @ u_n.T)
    return z * h + (1 - z) * n


# %% 3: the mask still misses the candidate's block
def gru_window(x, h, weight_ih, weight_hh, bias_ih, bias_hh, mask):
    size, outputs = h.shape[1], []
    u_gates = weight_hh[: 2 * size] * mask[: 2 * size]
    u_n = weight_hh[2 * size :]
    b_gates, b_n = bias_hh[: 2 * size], bias_hh[2 * size :]
    for x_t in x:
        from_x = x_t @ weight_ih.T + bias_ih
        gates = from_x[:, : 2 * size] + h @ u_gates.T + b_gates
        r, z = torch.sigmoid(gates).chunk(2, dim=1)
        n = torch.tanh(from_x[:, 2 * size :] + r * (h @ u_n.T + b_n))
        h = z * h + (1 - z) * n
        outputs.append(h)
    return torch.stack(outputs)


# %% 3: the recurrent bias still stands outside of r
def gru_window(x, h, weight_ih, weight_hh, bias_ih, bias_hh, mask):
    size, outputs = h.shape[1], []
    u_gates, u_n = (weight_hh * mask).split([2 * size, size])
    b_gates, b_n = bias_hh[: 2 * size], bias_hh[2 * size :]
    for x_t in x:
        from_x = x_t @ weight_ih.T + bias_ih
        gates = from_x[:, : 2 * size] + h @ u_gates.T + b_gates
        r, z = torch.sigmoid(gates).chunk(2, dim=1)
        n = torch.tanh(from_x[:, 2 * size :] + r * (h @ u_n.T) + b_n)
        h = z * h + (1 - z) * n
        outputs.append(h)
    return torch.stack(outputs)


# %% 3: the update gate is still reversed
def gru_window(x, h, weight_ih, weight_hh, bias_ih, bias_hh, mask):
    size, outputs = h.shape[1], []
    u_gates, u_n = (weight_hh * mask).split([2 * size, size])
    b_gates, b_n = bias_hh[: 2 * size], bias_hh[2 * size :]
    for x_t in x:
        from_x = x_t @ weight_ih.T + bias_ih
        gates = from_x[:, : 2 * size] + h @ u_gates.T + b_gates
        r, z = torch.sigmoid(gates).chunk(2, dim=1)
        n = torch.tanh(from_x[:, 2 * size :] + r * (h @ u_n.T + b_n))
        h = (1 - z) * h + z * n
        outputs.append(h)
    return torch.stack(outputs)


# %% 3: all three mended, and the input's part is reset as well
def gru_window(x, h, weight_ih, weight_hh, bias_ih, bias_hh, mask):
    size, outputs = h.shape[1], []
    u_gates, u_n = (weight_hh * mask).split([2 * size, size])
    b_gates, b_n = bias_hh[: 2 * size], bias_hh[2 * size :]
    for x_t in x:
        from_x = x_t @ weight_ih.T + bias_ih
        gates = from_x[:, : 2 * size] + h @ u_gates.T + b_gates
        r, z = torch.sigmoid(gates).chunk(2, dim=1)
        n = torch.tanh(r * (from_x[:, 2 * size :] + h @ u_n.T + b_n))
        h = z * h + (1 - z) * n
        outputs.append(h)
    return torch.stack(outputs)
