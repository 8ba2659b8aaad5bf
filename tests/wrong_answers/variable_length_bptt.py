"""Known wrong answers to the exercises of *Variable-length BPTT*."""

# %% 1: a token's window taken for any window
mean_window = 6
mean_of_token = 6
mean_reach = 2.5

# %% 1: the weights turned
mean_window = 6
mean_of_token = (4 * 8 + 8 * 4) / 12
mean_reach = ((4 * 8 + 8 * 4) / 12 - 1) / 2

# %% 1: the first token counts a step
mean_window = 6
mean_of_token = 80 / 12
mean_reach = 80 / 12 / 2


# %% 2: the lengths' own probabilities
def borders(p, rows):
    return [1.0] + [p.get(n, 0.0) for n in range(1, rows)]


# %% 2: where it tends to
def borders(p, rows):
    return [1 / sum(length * mass for length, mass in p.items())] * rows


# %% 2: a window that begins at the top is forgotten
def borders(p, rows):
    u = [1.0]
    for n in range(1, rows):
        u.append(sum(mass * u[n - k] for k, mass in p.items() if k < n))
    return u


# %% 3: the rate set after the step
def epoch(optimizer, lengths, nominal, gradient):
    lr = optimizer.param_groups[0]["lr"]
    for length in lengths:
        gradient()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = lr * length / nominal
    for group in optimizer.param_groups:
        group["lr"] = lr


# %% 3: nothing is scaled
def epoch(optimizer, lengths, nominal, gradient):
    for _ in lengths:
        gradient()
        optimizer.step()


# %% 3: the gradient scaled, and the rate as well
def epoch(optimizer, lengths, nominal, gradient):
    lr = optimizer.param_groups[0]["lr"]
    for length in lengths:
        gradient()
        for group in optimizer.param_groups:
            group["lr"] = lr * length / nominal
            for weight in group["params"]:
                weight.grad.mul_(length / nominal)
        optimizer.step()
    for group in optimizer.param_groups:
        group["lr"] = lr
