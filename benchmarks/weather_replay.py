"""Replays every sensor of the demo's weather in every watched week: what is found, what is named.

Run by ``python -m benchmarks.weather_replay``; about two minutes. A replay shuffles one sensor's
values within one week, so that its own distribution stays as it was.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from monitors.encoder import fit_encoder
from monitors.feature_shift.reference import Reference, blocks_per_window, reference_from_blocks
from monitors.gram import profile, profile_blocks
from pipelines.demo import WEEK_SECONDS, hourly_weather, split_weeks
from schemas.stream import Column
from transforms.lags import LAGGED
from transforms.windows import time_spans

TESTS = 4  # of one window of the demo, which share its budget evenly
BUDGETS = {"1 per 365d": 7 / 365, "1 per 3650d": 7 / 3650}
LEAST_HOURS = 100  # of a week that is replayed
SEED = 0


@dataclass(slots=True)
class Tally:
    """Counts over the watched weeks."""

    weeks: int = 0
    false: int = 0
    replays: int = 0
    found: int = 0
    named: int = 0  #: the replayed sensor first


def fit(table: pl.DataFrame, lagged: Collection[str] = ()) -> Reference:
    """Fit the demo's reference; lagged values, where there are some, are conditions."""
    rows = table.to_arrow()
    sensors = [name for name in table.columns if name != "time" and name not in lagged]
    weeks = table["time"].dt.epoch("s") // WEEK_SECONDS
    encoder = fit_encoder(
        rows,
        {name: Column(type="number") for name in sensors} | dict.fromkeys(lagged, LAGGED),
        features=sensors,
        conditions=list(lagged),
        calendar=("hour_of_day", "day_of_year"),
        time_column="time",
        window_rows=round(table.height / weeks.n_unique()),
    )
    count = blocks_per_window(weeks.n_unique())
    blocks = profile_blocks(encoder, rows, time_spans(rows["time"], WEEK_SECONDS / count))
    return reference_from_blocks(encoder, "moments", blocks, count).fit_nulls(SEED)


def evaluate(reference: Reference, watched: pl.DataFrame, level: float) -> Tally:
    """Test every watched week as it is, and with each sensor replayed."""
    rng = np.random.default_rng(SEED)
    tally = Tally()

    def named(week: pl.DataFrame) -> list[str]:
        part = profile(reference.encoder, pa.table(week))
        found = reference.test(part, level=level, ignore_below=0.1, seed=SEED)
        return [reference.encoder.names[item.feature] for item in found if item.alarm]

    weeks = watched.with_columns(week=pl.col("time").dt.epoch("s") // WEEK_SECONDS)
    for week in weeks.partition_by("week", include_key=False, maintain_order=True):
        if week.height < LEAST_HOURS:
            continue
        tally.weeks += 1
        tally.false += bool(named(week))
        for sensor in reference.encoder.names:
            shuffled = pl.Series(sensor, rng.permutation(week[sensor].to_numpy()), nan_to_null=True)
            names = named(week.with_columns(shuffled))
            tally.replays += 1
            tally.found += bool(names)
            tally.named += names[:1] == [sensor]
    return tally


def main() -> None:
    """Print one line per reference and budget."""
    print("reference  budget       weeks  false alarms  replays  found   named first")
    even, odd = split_weeks(hourly_weather())
    for name, before, watched in (("even", even, odd), ("odd", odd, even)):
        reference = fit(before)
        for budget, level in BUDGETS.items():
            t = evaluate(reference, watched, level / TESTS)
            print(
                f"{name:9}  {budget:11}  {t.weeks:5}  {t.false:12}  {t.replays:7}  "
                f"{t.found / t.replays:6.1%}  {t.named / t.replays:6.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
