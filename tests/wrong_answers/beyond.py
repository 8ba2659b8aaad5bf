"""Known wrong answers to the exercises of *Beyond AWD-LSTM*."""

# %% 1: not led home
stepped = 1.5 - 0.5 * 0.03 / 0.1
rank = 3 + 2
kept = 4 * 2 * 64 * 1000

# %% 1: the way home begins before the step
stepped = 1.5 - 0.5 * 0.03 / 0.1 + 0.1 * 0.1 / 0.05 * (1.0 - 1.5)
rank = 3 + 2
kept = 4 * 2 * 64 * 1000

# %% 1: every weight goes the same part of the way home
stepped = 1.5 - 0.5 * 0.03 / 0.1
stepped += 0.1 * (1.0 - stepped)
rank = 3 + 2
kept = 4 * 2 * 64 * 1000

# %% 1: the normalizer's rank forgotten
stepped = 1.5 - 0.5 * 0.03 / 0.1
stepped += 0.1 * 0.1 / 0.05 * (1.0 - stepped)
rank = 3 + 1
kept = 4 * 2 * 64 * 1000

# %% 1: keys without values
stepped = 1.5 - 0.5 * 0.03 / 0.1
stepped += 0.1 * 0.1 / 0.05 * (1.0 - stepped)
rank = 3 + 2
kept = 4 * 64 * 1000


# %% 2: a partial shuffle that does not look at sentences
def shuffle(columns, generator):
    rolled = []
    for column in columns.t():
        cut = torch.randint(len(column), (), generator=generator).item()
        rolled.append(column.roll(-cut))
    return torch.stack(rolled, dim=1)


# %% 2: the end of the sentence before comes to the top
def shuffle(columns, generator):
    rolled = []
    for column in columns.t():
        ends = (column == 0).nonzero()[:, 0]
        starts = torch.cat([torch.tensor([0]), ends])
        drawn = torch.randint(len(starts), (), generator=generator)
        rolled.append(column.roll(-starts[drawn].item()))
    return torch.stack(rolled, dim=1)


# %% 2: the first sentence never stays first
def shuffle(columns, generator):
    rolled = []
    for column in columns.t():
        starts = (column[:-1] == 0).nonzero()[:, 0] + 1
        cut = 0
        if len(starts):
            cut = starts[torch.randint(len(starts), (), generator=generator)].item()
        rolled.append(column.roll(-cut))
    return torch.stack(rolled, dim=1)


# %% 2: a random row, and from there on to the next beginning
def shuffle(columns, generator):
    rolled = []
    for column in columns.t():
        row = torch.randint(len(column), (), generator=generator).item()
        while row > 0 and row < len(column) and column[row - 1] != 0:
            row += 1
        rolled.append(column.roll(-row))
    return torch.stack(rolled, dim=1)


# %% 2: the first column's cut for all
def shuffle(columns, generator):
    after = (columns[:-1, 0] == 0).nonzero()[:, 0] + 1
    starts = torch.cat([torch.tensor([0]), after])
    drawn = torch.randint(len(starts), (), generator=generator)
    return columns.roll(-starts[drawn].item(), dims=0)


# %% 2: a column's sentences in any order
def shuffle(columns, generator):
    shuffled = []
    for column in columns.t():
        bounds = [0, *((column[:-1] == 0).nonzero()[:, 0] + 1).tolist(), len(column)]
        sentences = [column[a:b] for a, b in zip(bounds, bounds[1:])]
        order = torch.randperm(len(sentences), generator=generator)
        shuffled.append(torch.cat([sentences[k] for k in order]))
    return torch.stack(shuffled, dim=1)


# %% 2: the generator is not used, so nobody can draw the same again
def shuffle(columns, generator):
    rolled = []
    for column in columns.t():
        after = (column[:-1] == 0).nonzero()[:, 0] + 1
        starts = torch.cat([torch.tensor([0]), after])
        rolled.append(column.roll(-starts[torch.randint(len(starts), ())].item()))
    return torch.stack(rolled, dim=1)


# %% 3: a copy learns, and still before it is asked
def dynamic(model, words, lr, seq_len):
    model = copy.deepcopy(model)
    states, scores = None, []
    for begin in range(0, len(words) - 1, seq_len):
        part = words[begin : begin + seq_len + 1, None]
        for learning in (True, False):
            output = model(part[:-1], states)
            ln_p = output.logits[:, 0].log_softmax(-1).gather(1, part[1:])
            if learning:
                weights = list(model.parameters())
                grads = torch.autograd.grad(-ln_p.mean(), weights)
                with torch.no_grad():
                    for w, g in zip(weights, grads, strict=True):
                        w -= lr * g
        scores.append(ln_p.detach()[:, 0])
        states = [tuple(x.detach() for x in s) for s in output.states]
    return torch.cat(scores)


# %% 3: it is asked first, and the given model learns
def dynamic(model, words, lr, seq_len):
    states, scores = None, []
    weights = list(model.parameters())
    for begin in range(0, len(words) - 1, seq_len):
        part = words[begin : begin + seq_len + 1, None]
        output = model(part[:-1], states)
        ln_p = output.logits[:, 0].log_softmax(-1).gather(1, part[1:])
        scores.append(ln_p.detach()[:, 0])
        grads = torch.autograd.grad(-ln_p.mean(), weights)
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w -= lr * g
        states = [tuple(x.detach() for x in s) for s in output.states]
    return torch.cat(scores)


# %% 3: mended, with a fresh copy for each segment, so that nothing learned is left
def dynamic(model, words, lr, seq_len):
    states, scores = None, []
    for begin in range(0, len(words) - 1, seq_len):
        learner = copy.deepcopy(model)
        weights = list(learner.parameters())
        part = words[begin : begin + seq_len + 1, None]
        output = learner(part[:-1], states)
        ln_p = output.logits[:, 0].log_softmax(-1).gather(1, part[1:])
        scores.append(ln_p.detach()[:, 0])
        grads = torch.autograd.grad(-ln_p.mean(), weights)
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w -= lr * g
        states = [tuple(x.detach() for x in s) for s in output.states]
    return torch.cat(scores)


# %% 3: mended, and the state is lost between segments
def dynamic(model, words, lr, seq_len):
    learner, scores = copy.deepcopy(model), []
    weights = list(learner.parameters())
    for begin in range(0, len(words) - 1, seq_len):
        part = words[begin : begin + seq_len + 1, None]
        output = learner(part[:-1], None)
        ln_p = output.logits[:, 0].log_softmax(-1).gather(1, part[1:])
        scores.append(ln_p.detach()[:, 0])
        grads = torch.autograd.grad(-ln_p.mean(), weights)
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w -= lr * g
    return torch.cat(scores)


# %% 3: mended, and the loss is a sum
def dynamic(model, words, lr, seq_len):
    learner, states, scores = copy.deepcopy(model), None, []
    weights = list(learner.parameters())
    for begin in range(0, len(words) - 1, seq_len):
        part = words[begin : begin + seq_len + 1, None]
        output = learner(part[:-1], states)
        ln_p = output.logits[:, 0].log_softmax(-1).gather(1, part[1:])
        scores.append(ln_p.detach()[:, 0])
        grads = torch.autograd.grad(-ln_p.sum(), weights)
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w -= lr * g
        states = [tuple(x.detach() for x in s) for s in output.states]
    return torch.cat(scores)
