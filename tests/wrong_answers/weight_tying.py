"""Known wrong answers to the exercises of *Weight tying*."""

# %% 1: the softmax's bias forgotten
tied = 20_211_600 + 33_278 * 400
untied = tied + 33_278 * 400
saved = 33_278 * 400 / (20_211_600 + 2 * 33_278 * 400 + 33_278)

# %% 1: a share of the tied model
tied = 20_211_600 + 33_278 * 400 + 33_278
untied = tied + 33_278 * 400
saved = 33_278 * 400 / tied

# %% 1: what remains, not what is saved
tied = 20_211_600 + 33_278 * 400 + 33_278
untied = tied + 33_278 * 400
saved = tied / untied


# %% 2: of a word read twice, one part is kept
def tied_gradient(tokens, grad_x, h, error, vocab_size):
    found = error.t() @ h
    found[tokens] += grad_x
    return found


# %% 2: writing alone
def tied_gradient(tokens, grad_x, h, error, vocab_size):
    return error.t() @ h


# %% 2: reading alone
def tied_gradient(tokens, grad_x, h, error, vocab_size):
    return torch.zeros(vocab_size, h.shape[1], dtype=h.dtype).index_add(0, tokens, grad_x)


# %% 3: without the bias
def projected_logits(h, embedding, projection, bias):
    return h @ projection.t() @ embedding.t()


# %% 3: a tanh between
def projected_logits(h, embedding, projection, bias):
    return torch.tanh(h @ projection.t()) @ embedding.t() + bias


# %% 3: h is cut off
def projected_logits(h, embedding, projection, bias):
    return h[..., : embedding.shape[1]] @ embedding.t() + bias


# %% 4: a copy
class TiedModel(torch.nn.Module):
    def __init__(self, vocab_size, embedding_size, hidden_size):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, embedding_size)
        self.first = torch.nn.LSTM(embedding_size, hidden_size)
        self.last = torch.nn.LSTM(hidden_size, embedding_size)
        self.softmax = torch.nn.Linear(embedding_size, vocab_size)
        self.softmax.weight = torch.nn.Parameter(self.embedding.weight.detach().clone())

    def forward(self, tokens):
        x, _ = self.first(self.embedding(tokens))
        x, _ = self.last(x)
        return self.softmax(x)


# %% 4: the softmax's part of the gradient is cut off
class TiedModel(torch.nn.Module):
    def __init__(self, vocab_size, embedding_size, hidden_size):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, embedding_size)
        self.first = torch.nn.LSTM(embedding_size, hidden_size)
        self.last = torch.nn.LSTM(hidden_size, embedding_size)
        self.bias = torch.nn.Parameter(torch.zeros(vocab_size))

    def forward(self, tokens):
        x, _ = self.first(self.embedding(tokens))
        x, _ = self.last(x)
        return torch.nn.functional.linear(x, self.embedding.weight.detach(), self.bias)


# %% 4: tied, and then replaced
class TiedModel(torch.nn.Module):
    def __init__(self, vocab_size, embedding_size, hidden_size):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, embedding_size)
        self.first = torch.nn.LSTM(embedding_size, hidden_size)
        self.last = torch.nn.LSTM(hidden_size, embedding_size)
        self.softmax = torch.nn.Linear(embedding_size, vocab_size)
        self.softmax.weight = self.embedding.weight
        self.embedding = torch.nn.Embedding(vocab_size, embedding_size)

    def forward(self, tokens):
        x, _ = self.first(self.embedding(tokens))
        x, _ = self.last(x)
        return self.softmax(x)
