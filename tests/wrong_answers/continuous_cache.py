"""Known wrong answers to the exercises of *The continuous cache*."""

# %% 1: one of the word's positions forgotten
in_cache = 4 / 8
mixed = 0.8 * 0.05 + 0.2 * in_cache
lost = 0.2231

# %% 1: the shares of model and cache exchanged
in_cache = 5 / 8
mixed = 0.2 * 0.05 + 0.8 * in_cache
lost = 0.2231

# %% 1: bits
in_cache = 5 / 8
mixed = 0.8 * 0.05 + 0.2 * in_cache
lost = math.log2(1 / 0.8)


# %% 2: a ratio of sums
def improve(weight, model, cache):
    of_cache = weight * cache
    return of_cache.mean() / ((1 - weight) * model + of_cache).mean()


# %% 2: the model's share
def improve(weight, model, cache):
    of_model = (1 - weight) * model
    return (of_model / (of_model + weight * cache)).mean()


# %% 2: a vote
def improve(weight, model, cache):
    return (cache > model).double().mean()


# %% 3: no peeking, and no window either
def cache_of(states, targets, window, theta):
    found = []
    for t in range(len(states)):
        past = torch.arange(t)
        attention = (theta * states[past] @ states[t]).softmax(0)
        found.append(attention[targets[past] == targets[t]].sum())
    return torch.stack(found)


# %% 3: a window, and the word itself in it
def cache_of(states, targets, window, theta):
    found = []
    for t in range(len(states)):
        past = torch.arange(max(0, t - window), t + 1)
        attention = (theta * states[past] @ states[t]).softmax(0)
        found.append(attention[targets[past] == targets[t]].sum())
    return torch.stack(found)


# %% 3: the window's oldest position is lost
def cache_of(states, targets, window, theta):
    found = []
    for t in range(len(states)):
        past = torch.arange(max(0, t - window + 1), t)
        attention = (theta * states[past] @ states[t]).softmax(0)
        found.append(attention[targets[past] == targets[t]].sum())
    return torch.stack(found)
