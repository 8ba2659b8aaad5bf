"""What all tests share: the same random numbers each time, no clock, and one thread."""

import os
import random

import hypothesis
import numpy as np
import pytest
import torch

# The models of the tests are tiny. More threads than free cores make them tens of times slower, and each pytest worker
# would start its own; the variable passes the same limit on to the programs that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# Examples are the same on every run and may take their time: a test that fails now and then teaches nothing.
hypothesis.settings.register_profile("awdlib", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("awdlib")


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Seed every global generator before each test, so that no test depends on the ones run before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
