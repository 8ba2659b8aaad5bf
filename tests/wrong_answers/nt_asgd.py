"""Known wrong answers to the exercises of *From SGD to NT-ASGD*."""

# %% 1: the rules exchanged
coded = 5
printed = 10

# %% 1: epochs counted from 0
coded = 9
printed = 4

# %% 1: an n of 0
coded = 3
printed = 3


# %% 2: variances
def spread(lr, curvature, noise, n):
    return lr * noise**2 / (curvature * (2 - lr * curvature)), noise**2 / (curvature**2 * n)


# %% 2: as if the iterates were independent
def spread(lr, curvature, noise, n):
    settled = (lr * noise**2 / (curvature * (2 - lr * curvature))) ** 0.5
    return settled, settled / n**0.5


# %% 2: the rate's second order forgotten
def spread(lr, curvature, noise, n):
    return noise * (lr / (2 * curvature)) ** 0.5, noise / (curvature * n**0.5)


# %% 3: the rate divided
def to_mean(lr, clip, steps):
    return lr / steps, clip / steps


# %% 3: the limit as it was
def to_mean(lr, clip, steps):
    return lr * steps, clip


# %% 3: both multiplied
def to_mean(lr, clip, steps):
    return lr * steps, clip * steps


# %% 4: the first iterate is averaged in as zeros
class AveragedSGD:
    def __init__(self, weights, lr):
        self.weights, self.lr = list(weights), lr
        self.means, self.count = None, 0

    def start(self):
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.count = 1

    @torch.no_grad()
    def step(self):
        for weight in self.weights:
            weight -= self.lr * weight.grad
        if self.means is not None:
            self.count += 1
            for average, weight in zip(self.means, self.weights, strict=True):
                average += (weight - average) / self.count


# %% 4: the rate mended, the first iterate left out
class AveragedSGD:
    def __init__(self, weights, lr):
        self.weights, self.lr = list(weights), lr
        self.means, self.count = None, 0

    def start(self):
        self.means = [torch.zeros_like(weight) for weight in self.weights]

    @torch.no_grad()
    def step(self):
        for weight in self.weights:
            weight -= self.lr * weight.grad
        if self.means is not None:
            self.count += 1
            for average, weight in zip(self.means, self.weights, strict=True):
                average += (weight - average) / self.count


# %% 4: the average mended, the rate late by a step
class AveragedSGD:
    def __init__(self, weights, lr):
        self.weights, self.lr, self.rate = list(weights), lr, lr
        self.means, self.count = None, 0

    def start(self):
        self.means = [weight.detach().clone() for weight in self.weights]
        self.count = 1

    @torch.no_grad()
    def step(self):
        for weight in self.weights:
            weight -= self.rate * weight.grad
        if self.means is not None:
            self.count += 1
            for average, weight in zip(self.means, self.weights, strict=True):
                average += (weight - average) / self.count
        self.rate = self.lr
