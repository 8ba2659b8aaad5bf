"""Known wrong answers to the exercises of *Speed*."""


# %% 1: an LSTM's four blocks
def gru_operations(vocabulary, embedding, hidden, layers):
    widths = [embedding, *[hidden] * (layers - 1), embedding]
    entries = embedding * vocabulary
    for below, size in zip(widths, widths[1:]):
        entries += 4 * size * (below + size)
    return 6 * entries


# %% 1: forward only
def gru_operations(vocabulary, embedding, hidden, layers):
    widths = [embedding, *[hidden] * (layers - 1), embedding]
    entries = embedding * vocabulary
    for below, size in zip(widths, widths[1:]):
        entries += 3 * size * (below + size)
    return 2 * entries


# %% 1: without the softmax
def gru_operations(vocabulary, embedding, hidden, layers):
    widths = [embedding, *[hidden] * (layers - 1), embedding]
    return 6 * sum(3 * size * (below + size) for below, size in zip(widths, widths[1:]))


# %% 2: no waiting backwards
def balance(operations, layers, latency, rate):
    return layers * latency * rate / operations


# %% 2: one layer waits
def balance(operations, layers, latency, rate):
    return 2 * latency * rate / operations


# %% 2: upside down
def balance(operations, layers, latency, rate):
    return operations / (2 * layers * latency * rate)


# %% 3: sums
def times_as_long(ours, theirs):
    return sum(ours) / sum(theirs)


# %% 3: medians first
import statistics


def times_as_long(ours, theirs):
    return statistics.median(ours) / statistics.median(theirs)


# %% 3: the other way round
import statistics


def times_as_long(ours, theirs):
    return statistics.median(b / a for a, b in zip(ours, theirs))
