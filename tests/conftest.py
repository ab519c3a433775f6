"""What every test shares: a seeded generator, and property tests that decide by the code alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings

# No deadline: other work may share the machine. Derandomised: a run depends on the code only.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with the same seed for every test."""
    return np.random.default_rng(20260101)
