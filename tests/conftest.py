"""What all tests share: the same random numbers each time, and no clock."""

import random

import hypothesis
import numpy as np
import pytest
import torch

# Examples are the same on every run and may take their time: a test that fails now and then teaches nothing.
hypothesis.settings.register_profile("awdlib", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("awdlib")


@pytest.fixture(autouse=True)
def same_random_numbers():
    """Seed every global generator before each test, so that no test depends on the ones run before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
