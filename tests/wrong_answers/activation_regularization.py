"""Known wrong answers to the exercises of *Activation regularization*."""

# %% 1: half of AR
ar = (16 + 4 + 4 + 36) / 4
tar = 1 * (9 + 0 + 16) / 3

# %% 1: TAR's sum
ar = 2 * (16 + 4 + 4 + 36) / 4
tar = 9 + 0 + 16

# %% 1: norms instead of mean squares
ar = 2 * (16 + 4 + 4 + 36) ** 0.5
tar = (9 + 0 + 16) ** 0.5


# %% 2: the mask once
def gradient(raw, mask, alpha, beta):
    result = 2 * alpha * mask * raw / raw.numel()
    if len(raw) > 1:
        steps = raw[1:] - raw[:-1]
        pull = 2 * beta * steps / steps.numel()
        result[1:] += pull
        result[:-1] -= pull
    return result


# %% 2: a step pulls at one end only
def gradient(raw, mask, alpha, beta):
    result = 2 * alpha * mask**2 * raw / raw.numel()
    if len(raw) > 1:
        steps = raw[1:] - raw[:-1]
        result[1:] += 2 * beta * steps / steps.numel()
    return result


# %% 2: TAR divided by T, not by T - 1
def gradient(raw, mask, alpha, beta):
    result = 2 * alpha * mask**2 * raw / raw.numel()
    pull = 2 * beta * (raw[1:] - raw[:-1]) / raw.numel()
    result[1:] += pull
    result[:-1] -= pull
    return result


# %% 3: as for a locked mask
def dropped_steps(raw, p, locked):
    return (raw[1:] - raw[:-1]).square().mean() / (1 - p)


# %% 3: dropout changes nothing
def dropped_steps(raw, p, locked):
    return (raw[1:] - raw[:-1]).square().mean()


# %% 3: the variance of the coin, not of the mask
def dropped_steps(raw, p, locked):
    steps = (raw[1:] - raw[:-1]).square().mean()
    if locked:
        return steps / (1 - p)
    return steps + p * (1 - p) * (raw[1:].square() + raw[:-1].square()).mean()


# %% 4: the outputs exchanged back, and charged in evaluation
from torch.nn import functional as F


def objective(logits, targets, raw, dropped, alpha, beta, training):
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    loss = loss + alpha * dropped.square().mean()
    if len(raw) > 1:
        loss = loss + beta * (raw[1:] - raw[:-1]).square().mean()
    return loss


# %% 4: steps between sequences
from torch.nn import functional as F


def objective(logits, targets, raw, dropped, alpha, beta, training):
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    if not training:
        return loss
    loss = loss + alpha * dropped.square().mean()
    steps = raw[:, 1:] - raw[:, :-1]
    return loss + beta * steps.square().mean()


# %% 4: nan for a window of one step
from torch.nn import functional as F


def objective(logits, targets, raw, dropped, alpha, beta, training):
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    if not training:
        return loss
    steps = raw[1:] - raw[:-1]
    return loss + alpha * dropped.square().mean() + beta * steps.square().mean()
