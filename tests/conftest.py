"""What tests share: a seeded generator, a small stream that is fitted and run once, and settings.

Property tests decide by the code alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tests.small_streams import (
    Outcome,
    Watched,
    current_rows,
    reference_rows,
    stream_file,
    tidegauge,
)

# No deadline: other work may share the machine. Derandomised: a run depends on the code only.
settings.register_profile("house", deadline=None, derandomize=True, database=None)
settings.load_profile("house")

# one kind: all that compete by default would take most of the time of a small fit
FORECASTS = [{"target": "s1", "features": ["s2", "s4", "s6"], "models": ["location_scale"]}]


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with the same seed for every test."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watched, Outcome]:
    """Return a small stream with its baseline, and what `fit` said; nobody writes there."""
    folder = tmp_path_factory.mktemp("small-stream")
    reference_rows().write_parquet(folder / "reference.parquet")
    current_rows().write_parquet(folder / "current.parquet")
    said = tidegauge("fit", stream_file(folder, forecasts=FORECASTS))
    assert said.code == 0, said.err
    return Watched(folder), said


@pytest.fixture(scope="session")
def finished(
    fitted: tuple[Watched, Outcome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Watched, Outcome]:
    """Return the small stream with its run, and what `run` said; nobody writes there."""
    folder = tmp_path_factory.mktemp("finished") / "stream"
    shutil.copytree(fitted[0].folder, folder)
    said = tidegauge("run", stream_file(folder, forecasts=FORECASTS))
    assert said.code == 0, said.err
    return Watched(folder), said


@pytest.fixture
def small(fitted: tuple[Watched, Outcome], tmp_path: Path) -> Watched:
    """Return a copy of the small stream with its baseline, to be spoilt."""
    folder = tmp_path / "stream"
    shutil.copytree(fitted[0].folder, folder)
    stream_file(folder, forecasts=FORECASTS)
    return Watched(folder)
