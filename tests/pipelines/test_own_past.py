from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipelines.backtest import TargetReport, backtest_stream
from pipelines.fit_forecasters import forecaster_of
from schemas.errors import StreamFileError
from schemas.stream import Stream
from transforms.lags import with_lags_of_keys

LAGGED = ["r 1d ago", "r 2d ago", "r 3d ago"]


def stream(path: str = "r.parquet", **forecast: object) -> Stream:
    """Return a stream of daily returns with lags of one to three days."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "r",
            "source": {"path": path},
            "reference": {"path": path},
            "time": {"column": "day"},
            "columns": {"r": {"type": "number"}, "x": {"type": "number"}},
            "window": {"length": "30d"},
            "lags": ["1d", "2d", "3d"],
            "forecasts": [{"target": "r"} | forecast],
        }
    )


def bursts(rng: np.random.Generator, n: int = 400) -> pl.DataFrame:
    """Return days on which calm follows calm, and a column that says nothing."""
    spread = np.where(np.arange(n) // 40 % 2, 4.0, 0.5)
    day = pl.Series(
        [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=i) for i in range(n)]
    )
    return pl.DataFrame({"day": day, "r": spread * rng.normal(size=n), "x": rng.normal(size=n)})


def test_kinds_of_the_own_past_read_the_lags_of_their_target_alone() -> None:
    """`har` reads `r 1d ago`, not `x 1d ago`; other kinds read neither unless they name it."""
    for models, names in ((["har"], ["x", *LAGGED]), (["direct"], ["x"])):
        own = stream(models=models)
        assert own.forecast_features(own.forecasts[0]) == names
    own = stream(models=["direct"], features=["x 2d ago"])
    assert own.forecast_features(own.forecasts[0]) == ["x 2d ago"]
    with pytest.raises(ValueError, match="did you mean 'r 1d ago'"):
        stream(features=["r 1d agp"])


@pytest.mark.parametrize("kind", ["har", pytest.param("garch", marks=pytest.mark.slow)])
def test_a_sample_in_any_order_is_a_series_again(kind: str, rng: np.random.Generator) -> None:
    """The rows of a sample are in the order of their hashes; the kind is fitted, and chosen."""
    own = stream(models=[kind])
    table = with_lags_of_keys(bursts(rng).to_arrow(), own)
    found = forecaster_of(own, own.forecasts[0], table.take(pa.array(rng.permutation(len(table)))))
    assert found.model.model.kind == kind


def test_a_backtest_reads_the_lags_too(rng: np.random.Generator, tmp_path: Path) -> None:
    """On rows of a file, where they are no columns."""
    bursts(rng).write_parquet(tmp_path / "r.parquet")
    (report,) = backtest_stream(stream(str(tmp_path / "r.parquet"), models=["har"])).targets
    assert isinstance(report, TargetReport)
    assert report.origins[-1].kind == "har"


def test_without_lags_a_sentence_says_what_to_give(rng: np.random.Generator) -> None:
    """A forecast whose features name none of them is told of `lags` and `features`."""
    own = stream(models=["har"], features=["x"])
    table = with_lags_of_keys(bursts(rng, 100).to_arrow(), own)
    with pytest.raises(StreamFileError, match=r"`lags:`.*`features:`"):
        forecaster_of(own, own.forecasts[0], table)


def test_lags_of_a_whole_table_are_those_of_each_key() -> None:
    """Rows of two keys, mixed: a key's value of a day before, or none."""
    day = [dt.datetime(2024, 1, d, tzinfo=dt.UTC) for d in (2, 1, 1, 2)]
    table = pl.DataFrame({"day": day, "site": ["a", "b", "a", "b"], "r": [1.0, 2.0, 3.0, 4.0]})
    own = stream().model_copy(update={"key": ("site",), "lags": ("1d",)})
    found = with_lags_of_keys(table.with_columns(x=pl.col("r")).to_arrow(), own)
    values = pl.DataFrame(pl.from_arrow(found)).sort("r")["r 1d ago"].to_list()
    assert values == [3.0, None, None, 2.0]
