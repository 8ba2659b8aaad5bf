"""Known wrong answers to the exercises of *AWD-LSTM assembled*."""

# %% 1: as the list has them
order = "abcdefgh"

# %% 1: the last two exchanged
order = "cfabdehg"

# %% 1: the observation before its time
order = "cfabgdeh"


# %% 2: two matrices for the words
def parameters(vocab, embedding, hidden, layers):
    sizes = [embedding] + [hidden] * (layers - 1) + [embedding]
    total = 2 * vocab * embedding + vocab
    for inputs, outputs in zip(sizes, sizes[1:]):
        total += 4 * outputs * (inputs + outputs + 2)
    return total


# %% 2: one bias
def parameters(vocab, embedding, hidden, layers):
    sizes = [embedding] + [hidden] * (layers - 1) + [embedding]
    total = vocab * embedding + vocab
    for inputs, outputs in zip(sizes, sizes[1:]):
        total += 4 * outputs * (inputs + outputs + 1)
    return total


# %% 2: the last layer as large as the others
def parameters(vocab, embedding, hidden, layers):
    sizes = [embedding] + [hidden] * layers
    total = vocab * embedding + vocab
    for inputs, outputs in zip(sizes, sizes[1:]):
        total += 4 * outputs * (inputs + outputs + 2)
    return total


# %% 3: differences of perplexities
def excess(perplexity, floor):
    return perplexity - floor


def closed(before, after, floor):
    return (before - after) / (before - floor)


# %% 3: bits, and per cent
import math


def excess(perplexity, floor):
    return math.log2(perplexity / floor)


def closed(before, after, floor):
    return 100 * (1 - excess(after, floor) / excess(before, floor))


# %% 3: what is left
import math


def excess(perplexity, floor):
    return math.log(perplexity / floor)


def closed(before, after, floor):
    return excess(after, floor) / excess(before, floor)


# %% 4: training mode and rate mended, the average not validated
from awdlib.model import cross_entropy


def epoch(model, optimizer, windows, validate, lr, bptt, clip):
    model.train()
    states = model.initial_states(windows[0][0].shape[1])
    for inputs, targets in windows:
        output = model(inputs, states)
        optimizer.zero_grad()
        cross_entropy(output.logits, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        for group in optimizer.param_groups:
            group["lr"] = lr * len(inputs) / bptt
        optimizer.step()
        states = detach(output.states)
    model.eval()
    loss = validate(model)
    optimizer.observe(loss)
    return loss


# %% 4: all but the rate, which comes a window late
from awdlib.model import cross_entropy


def epoch(model, optimizer, windows, validate, lr, bptt, clip):
    model.train()
    states = model.initial_states(windows[0][0].shape[1])
    for inputs, targets in windows:
        output = model(inputs, states)
        optimizer.zero_grad()
        cross_entropy(output.logits, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = lr * len(inputs) / bptt
        states = detach(output.states)
    model.eval()
    with optimizer.averaged():
        loss = validate(model)
    optimizer.observe(loss)
    return loss


# %% 4: all but the mode of training
from awdlib.model import cross_entropy


def epoch(model, optimizer, windows, validate, lr, bptt, clip):
    states = model.initial_states(windows[0][0].shape[1])
    for inputs, targets in windows:
        output = model(inputs, states)
        optimizer.zero_grad()
        cross_entropy(output.logits, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        for group in optimizer.param_groups:
            group["lr"] = lr * len(inputs) / bptt
        optimizer.step()
        states = detach(output.states)
    model.eval()
    with optimizer.averaged():
        loss = validate(model)
    optimizer.observe(loss)
    return loss
