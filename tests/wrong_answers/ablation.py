"""Known wrong answers to the exercises of *The ablation*."""

# %% 1: a fall of the loss as a negative number
alone = 4.88 - 4.95
left_out = 4.84 - 4.86
overlap = alone - left_out

# %% 1: the gain beside B taken for the gain alone
alone = 4.86 - 4.84
left_out = 4.86 - 4.84
overlap = 4.95 - 4.88 - 4.86 + 4.84

# %% 1: the whole taken for what is shared
alone = 4.95 - 4.88
left_out = 4.86 - 4.84
overlap = 4.95 - 4.84


# %% 2: in perplexity
from statistics import mean, stdev


def gap(arm, full):
    gaps = [a - b for a, b in zip(arm, full, strict=True)]
    return mean(gaps), stdev(gaps) / len(gaps) ** 0.5


# %% 2: the spread of one pair
import math
from statistics import mean, stdev


def gap(arm, full):
    gaps = [math.log(a / b) for a, b in zip(arm, full, strict=True)]
    return mean(gaps), stdev(gaps)


# %% 2: as if the seeds were not shared
import math
from statistics import mean, stdev


def gap(arm, full):
    arm, full = [math.log(a) for a in arm], [math.log(b) for b in full]
    return mean(arm) - mean(full), math.hypot(stdev(arm), stdev(full)) / len(arm) ** 0.5


# %% 3: 1.96, as if the spread were known
def seeds_needed(effect, spread, quantiles):
    for freedom in quantiles:
        if 1.96 * spread / (freedom + 1) ** 0.5 < abs(effect):
            return freedom + 1
    return None


# %% 3: degrees of freedom taken for pairs
def seeds_needed(effect, spread, quantiles):
    for freedom, t in quantiles.items():
        if t * spread / (freedom + 1) ** 0.5 < abs(effect):
            return freedom
    return None


# %% 3: an effect of the other sign
def seeds_needed(effect, spread, quantiles):
    for freedom, t in quantiles.items():
        if t * spread / (freedom + 1) ** 0.5 < effect:
            return freedom + 1
    return None


# %% 4: changed and paired, but chosen by the test text
from statistics import mean


def my_ablation(run, full, changes, seeds):
    return {
        name: mean(min(run(full | change, seed)["test"]) - min(run(full, seed)["test"]) for seed in seeds)
        for name, change in changes.items()
    }


# %% 4: the epoch is right, the seeds are not
from statistics import mean


def my_ablation(run, full, changes, seeds):
    def at_best(losses):
        return losses["test"][losses["valid"].index(min(losses["valid"]))]

    return {
        name: mean(at_best(run(full | change, seed + 100)) - at_best(run(full, seed)) for seed in seeds)
        for name, change in changes.items()
    }


# %% 4: the change gets lost
from statistics import mean


def my_ablation(run, full, changes, seeds):
    def at_best(losses):
        return losses["test"][losses["valid"].index(min(losses["valid"]))]

    table = {}
    for name, change in changes.items():
        settings = dict(full)
        settings | change
        table[name] = mean(at_best(run(settings, seed)) - at_best(run(full, seed)) for seed in seeds)
    return table
