"""Known wrong answers to the exercises of *Language modelling and perplexity*."""


# %% 1: the arithmetic mean of 1/p
def perplexity_of(probabilities):
    return mean(1 / p for p in probabilities)


# %% 1: the cross entropy, without the exponential
def perplexity_of(probabilities):
    return -mean(math.log(p) for p in probabilities)


# %% 1: bits, and then exp
def perplexity_of(probabilities):
    return math.exp(-mean(math.log2(p) for p in probabilities))


# %% 1: a product, which a long text turns into 0
def perplexity_of(probabilities):
    return math.prod(probabilities) ** (-1 / len(probabilities))


# %% 2: nats
def bits_per_character(perplexity, tokens, characters):
    return math.log(perplexity) * tokens / characters


# %% 2: bits a token
def bits_per_character(perplexity, tokens, characters):
    return math.log2(perplexity)


# %% 2: the ratio the wrong way round
def bits_per_character(perplexity, tokens, characters):
    return characters * math.log2(perplexity) / tokens


# %% 3: nothing is taken off
def bigram_table(counts, D):
    return counts / counts.sum(1, keepdim=True)


# %% 3: a row that nothing followed is forgotten
def bigram_table(counts, D):
    seen = (counts > 0).to(counts.dtype)
    lower = seen.sum(0) / seen.sum()
    total = counts.sum(1, keepdim=True)
    freed = D * seen.sum(1, keepdim=True)
    return ((counts - D).clamp(min=0) + freed * lower) / total.clamp(min=1)


# %% 3: the lower order counts occurrences
def bigram_table(counts, D):
    seen = (counts > 0).to(counts.dtype)
    lower = counts.sum(0) / counts.sum()
    total = counts.sum(1, keepdim=True)
    freed = D * seen.sum(1, keepdim=True)
    table = ((counts - D).clamp(min=0) + freed * lower) / total.clamp(min=1)
    return torch.where(total > 0, table, lower)


# %% 4: the state is carried, the windows are averaged as before
from torch.nn import functional as F


def evaluate_text(model, columns, length):
    found, state = [], None
    for inputs, targets in fixed_windows(columns, length):
        logits, state = model(inputs, state)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        found.append(math.exp(loss.item()))
    return mean(found)


# %% 4: the exponential is taken last, but every window counts alike
from torch.nn import functional as F


def evaluate_text(model, columns, length):
    found, state = [], None
    for inputs, targets in fixed_windows(columns, length):
        logits, state = model(inputs, state)
        found.append(F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item())
    return math.exp(mean(found))


# %% 4: the mean is right, and each window begins from nothing
from torch.nn import functional as F


def evaluate_text(model, columns, length):
    nats, count = 0.0, 0
    for inputs, targets in fixed_windows(columns, length):
        logits, _ = model(inputs, None)
        nats += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        count += targets.numel()
    return math.exp(nats / count)
