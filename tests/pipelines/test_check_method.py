"""`tidegauge check --method`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitors.check import METHODS
from tests.monitors.simulated import chain, table
from tests.small_streams import tidegauge


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write two tables; in the second, x1 is in another order."""
    rng = np.random.default_rng(5)
    p, q = chain(rng, 500, 3, rho=0.6), chain(rng, 500, 3, rho=0.6)
    q[:, 1] = rng.permutation(q[:, 1])
    folder = tmp_path_factory.mktemp("shuffled")
    for name, rows in (("before", p), ("now", q)):
        pq.write_table(table(rows), folder / f"{name}.parquet")
    return folder / "before.parquet", folder / "now.parquet"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_names_what_moved_and_itself(shuffled: tuple[Path, Path], method: str) -> None:
    """The JSON object has the same shape for all of them."""
    done = tidegauge("check", *shuffled, "--method", method, "--json")
    assert done.code == 0, done.err
    findings = json.loads(done.out)["findings"]
    assert [finding["subject"] for finding in findings if finding["alarm"]] == ["x1"]
    assert {finding["method"] for finding in findings} == {method}


def test_unknown_method_is_a_mistake_that_names_the_nearest(tmp_path: Path) -> None:
    """Said before a table is looked for; exit code 2."""
    done = tidegauge("check", tmp_path / "a.csv", tmp_path / "b.csv", "--method", "knnks")
    assert done.code == 2
    assert "did you mean 'knn-ks'?" in done.err
    assert all(method in done.err for method in METHODS)


def test_help_lists_the_methods() -> None:
    """What the option says is what there is."""
    said = " ".join(tidegauge("check", "--help").out.split())
    assert "moments, fisher, model-ks, knn-ks, pit or flow" in said
