"""Known wrong answers to the exercises of *Embedding dropout*."""

# %% 1: the steps share the entries of a row, and were counted all the same
entries = 70 * 40 * 400
token_wise = 70 * 40
type_wise = 10_000

# %% 1: every entry of the matrix has a coin
entries = 40 * 400
token_wise = 70 * 40
type_wise = 10_000 * 400

# %% 1: the batch shares the coins of tokens
entries = 40 * 400
token_wise = 70
type_wise = 10_000


# %% 2: the variance
def spread(tokens, p, types):
    total = tokens.numel()
    squares = torch.bincount(tokens.flatten()).square().sum() if types else total
    return p * (1 - p) * float(squares) / total**2


# %% 2: every word of the vocabulary weighs alike
def spread(tokens, p, types):
    coins = len(tokens.unique()) if types else tokens.numel()
    return (p * (1 - p) / coins) ** 0.5


# %% 2: a coin for each token, always
def spread(tokens, p, types):
    return (p * (1 - p) / tokens.numel()) ** 0.5


# %% 3: one coin for all sequences
def drop(x, tokens, p, training):
    if not training or p == 0:
        return x
    coins = torch.empty(int(tokens.max()) + 1, dtype=x.dtype).bernoulli_(1 - p)
    return x * (coins / (1 - p))[tokens][..., None]


# %% 3: a coin for each token
def drop(x, tokens, p, training):
    if not training or p == 0:
        return x
    coins = torch.empty(*tokens.shape, 1, dtype=x.dtype).bernoulli_(1 - p)
    return x * coins / (1 - p)


# %% 3: not scaled
def drop(x, tokens, p, training):
    if not training or p == 0:
        return x
    coins = torch.empty(int(tokens.max()) + 1, tokens.shape[1], dtype=x.dtype).bernoulli_(1 - p)
    return x * coins.gather(0, tokens)[..., None]


# %% 4: scaled, but the softmax still reads dropped rows
class TiedEmbedding(torch.nn.Module):
    def __init__(self, vocab_size, embedding_size, p):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(vocab_size, embedding_size).uniform_(-0.1, 0.1))
        self.p = p

    def forward(self, tokens):
        self.keep = torch.ones(len(self.weight), 1)
        if self.training and self.p > 0:
            self.keep.bernoulli_(1 - self.p).div_(1 - self.p)
        return F.embedding(tokens, self.weight * self.keep)

    def logits(self, h):
        return F.linear(h, self.weight * self.keep)


# %% 4: the softmax is whole, and the last word never learns
class TiedEmbedding(torch.nn.Module):
    def __init__(self, vocab_size, embedding_size, p):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(vocab_size, embedding_size).uniform_(-0.1, 0.1))
        self.p = p

    def forward(self, tokens):
        keep = torch.ones(len(self.weight), 1)
        if self.training and self.p > 0:
            keep.bernoulli_(1 - self.p).div_(1 - self.p)
        return F.embedding(tokens, self.weight * keep, padding_idx=-1)

    def logits(self, h):
        return F.linear(h, self.weight)


# %% 4: padding and softmax mended, the rows not scaled
class TiedEmbedding(torch.nn.Module):
    def __init__(self, vocab_size, embedding_size, p):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(vocab_size, embedding_size).uniform_(-0.1, 0.1))
        self.p = p

    def forward(self, tokens):
        keep = torch.ones(len(self.weight), 1)
        if self.training and self.p > 0:
            keep.bernoulli_(1 - self.p)
        return F.embedding(tokens, self.weight * keep)

    def logits(self, h):
        return F.linear(h, self.weight)
