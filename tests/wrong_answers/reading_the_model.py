"""Known wrong answers to the exercises of *The model, line by line*."""

# %% 1: every entry of the embedding
embedding = 10_000 * 400
input = 40 * 400
hidden = 2 * 40 * 1150
weight = 4 * (1150**2 + 1150**2 + 400**2)
output_decisions = 40 * 400

# %% 1: three places between three layers
embedding = 10_000
input = 40 * 400
hidden = 3 * 40 * 1150
weight = 4 * (1150**2 + 1150**2 + 400**2)
output_decisions = 40 * 400

# %% 1: the last layer as large as the others
embedding = 10_000
input = 40 * 400
hidden = 2 * 40 * 1150
weight = 4 * 3 * 1150**2
output_decisions = 40 * 1150

# %% 2: one of two
a = 3
b = 2
c = 9

# %% 2: the state is not looked at
a = 3
b = 1
c = [8, 9]

# %% 2: the dropped lookup taken for the whole softmax
a = 5
b = 2
c = [8, 9]


# %% 3: AR of the raw output
def loss(output, targets, alpha, beta):
    entropy = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    step = output.raw_output[1:] - output.raw_output[:-1]
    return entropy + alpha * output.raw_output.square().mean() + beta * step.square().mean()


# %% 3: TAR of the dropped output
def loss(output, targets, alpha, beta):
    entropy = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    step = output.dropped_output[1:] - output.dropped_output[:-1]
    return entropy + alpha * output.dropped_output.square().mean() + beta * step.square().mean()


# %% 3: a norm
def loss(output, targets, alpha, beta):
    entropy = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    step = output.raw_output[1:] - output.raw_output[:-1]
    return entropy + alpha * output.dropped_output.norm(dim=2).mean() + beta * step.square().mean()


# %% 4: the decoder mended, the drops as they were
from awdlib.dropout import embedding_dropout, locked_dropout
from awdlib.model import Encoding


class Careless(LanguageModel):
    def words(self):
        return embedding_dropout(self.embedding, self.config.dropout_embedding, self.training)

    def encode(self, tokens, states=None, *, generator=None):
        p, training = self.config, self.training
        states = states or self.initial_states(tokens.shape[1])
        x = locked_dropout(F.embedding(tokens, self.words()), p.dropout_input, training)
        new_states = []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state)
            new_states.append(state)
            x = locked_dropout(x, p.dropout_hidden, training)
        return Encoding(new_states, x, F.dropout(x, p.dropout_output))

    def decoder(self):
        return self.embedding, self.softmax_bias


# %% 4: the output dropped in training only, but afresh at each step
from awdlib.dropout import embedding_dropout, locked_dropout
from awdlib.model import Encoding


class Careless(LanguageModel):
    def words(self):
        return embedding_dropout(self.embedding, self.config.dropout_embedding, self.training)

    def encode(self, tokens, states=None, *, generator=None):
        p, training = self.config, self.training
        states = states or self.initial_states(tokens.shape[1])
        x = locked_dropout(F.embedding(tokens, self.words()), p.dropout_input, training)
        new_states = []
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if number > 0:
                x = locked_dropout(x, p.dropout_hidden, training)
            x, state = layer(x, state)
            new_states.append(state)
        return Encoding(new_states, x, F.dropout(x, p.dropout_output, training))

    def decoder(self):
        return self.embedding, self.softmax_bias


# %% 4: every drop in its place, and the softmax reads dropped rows
from awdlib.dropout import embedding_dropout, locked_dropout
from awdlib.model import Encoding


class Careless(LanguageModel):
    def words(self):
        return embedding_dropout(self.embedding, self.config.dropout_embedding, self.training)

    def encode(self, tokens, states=None, *, generator=None):
        p, training = self.config, self.training
        states = states or self.initial_states(tokens.shape[1])
        x = locked_dropout(F.embedding(tokens, self.words()), p.dropout_input, training)
        new_states = []
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            if number > 0:
                x = locked_dropout(x, p.dropout_hidden, training)
            x, state = layer(x, state)
            new_states.append(state)
        return Encoding(new_states, x, locked_dropout(x, p.dropout_output, training))

    def decoder(self):
        return self.words(), self.softmax_bias
