"""What all tests share: the same random numbers each time, no clock, and one thread."""

import os
import random

import browsing
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


@pytest.fixture(scope="module")
def browser():
    """A Chromium; the test is skipped, or fails, where there is none."""
    with browsing.chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address():
    """Of the built book."""
    with browsing.served(browsing.SITE) as own:
        yield own


@pytest.fixture
def visit(browser, address):
    """Open a page; what it asked of other hosts and what went wrong is held against it at the end."""
    opened, complaints = [], []

    def open_page(name, width=1200, scheme="light", **settings):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)
        page.set_default_timeout(browsing.WAIT)
        opened.append(page)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        complaints.append(browsing.watch(page, (address,)))
        page.goto(address + name, wait_until="load")
        return page

    yield open_page
    for page in opened:
        page.close()
    assert [line for lines in complaints for line in lines] == []
