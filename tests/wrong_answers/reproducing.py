"""Known wrong answers to the exercises of *Reproducing the paper*."""

# %% 1: every window counts alike
import math


def perplexity(means, counts):
    return math.exp(sum(means) / len(means))


# %% 1: a mean of perplexities
import math


def perplexity(means, counts):
    return sum(count * math.exp(mean) for mean, count in zip(means, counts)) / sum(counts)


# %% 1: the loss, without the exponential
def perplexity(means, counts):
    return sum(mean * count for mean, count in zip(means, counts)) / sum(counts)


# %% 2: where the mean of many runs lies
import statistics

from awdlib.results import T_QUANTILES


def seed_range(own):
    n, mean = len(own), statistics.fmean(own)
    half = T_QUANTILES[n - 1] * statistics.stdev(own) / n**0.5
    return mean - half, mean + half


# %% 2: as if the own mean were exact
import statistics

from awdlib.results import T_QUANTILES


def seed_range(own):
    mean = statistics.fmean(own)
    half = T_QUANTILES[len(own) - 1] * statistics.stdev(own)
    return mean - half, mean + half


# %% 2: 1.96 for three runs
import statistics


def seed_range(own):
    n, mean = len(own), statistics.fmean(own)
    half = 1.96 * statistics.stdev(own) * (1 + 1 / n) ** 0.5
    return mean - half, mean + half


# %% 3: everything is there, and the weight is no copy
def keep(run):
    return {
        "weight": run.weight,
        "average": run.average.clone(),
        "averaged": run.averaged,
        "hidden": run.hidden.clone(),
        "position": run.position,
        "history": list(run.history),
        "draw": run.draw.get_state(),
    }


def bring_back(run, kept):
    run.weight = kept["weight"].clone()
    run.average = kept["average"].clone()
    run.averaged = kept["averaged"]
    run.hidden = kept["hidden"].clone()
    run.position = kept["position"]
    run.history = list(kept["history"])
    run.draw.set_state(kept["draw"])


# %% 3: state and history, but not the generator
def keep(run):
    return {
        "weight": run.weight.clone(),
        "average": run.average.clone(),
        "averaged": run.averaged,
        "hidden": run.hidden.clone(),
        "position": run.position,
        "history": list(run.history),
    }


def bring_back(run, kept):
    run.weight = kept["weight"].clone()
    run.average = kept["average"].clone()
    run.averaged = kept["averaged"]
    run.hidden = kept["hidden"].clone()
    run.position = kept["position"]
    run.history = list(kept["history"])


# %% 3: the carried state is forgotten
def keep(run):
    return {
        "weight": run.weight.clone(),
        "average": run.average.clone(),
        "averaged": run.averaged,
        "position": run.position,
        "history": list(run.history),
        "draw": run.draw.get_state(),
    }


def bring_back(run, kept):
    run.weight = kept["weight"].clone()
    run.average = kept["average"].clone()
    run.averaged = kept["averaged"]
    run.position = kept["position"]
    run.history = list(kept["history"])
    run.draw.set_state(kept["draw"])
