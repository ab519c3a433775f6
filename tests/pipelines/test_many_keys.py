from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from monitors.baseline_folder import load_baseline
from monitors.export import collect
from monitors.judge import NO_BASELINE
from monitors.pooling import POOL
from monitors.rollup import ALL_KEYS
from pipelines.report import render
from pipelines.run_folder import Run, open_run
from tests.monitors.simulated import chain
from tests.small_streams import HOURS, START, Outcome, stream_file, tidegauge

COLUMNS = [f"x{j}" for j in range(4)]
KEYS, WEEKS, SHIFTED_WEEK = 10, 12, 1  # of the reference; week of the current rows


def rows_of(site: str, weeks: int, first: int, rng: np.random.Generator) -> pl.DataFrame:
    """Return the hourly rows of one key."""
    begin = START + timedelta(weeks=first)
    times = pl.Series("time", [begin + timedelta(hours=h) for h in range(weeks * HOURS)])
    values = chain(rng, weeks * HOURS, len(COLUMNS))
    return pl.DataFrame(values, schema=COLUMNS).with_columns(
        times.cast(pl.Datetime("us", "UTC")), site=pl.lit(site)
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the rows of ten keys, one key too short, and one that is new.

    In one week, x2 reads a little high in all keys.
    """
    folder, rng = tmp_path_factory.mktemp("keys"), np.random.default_rng(11)
    sites = [f"s{i}" for i in range(KEYS)]
    reference = [rows_of(site, WEEKS, 0, rng) for site in sites]
    reference.append(rows_of("short", 1, 3, rng))
    pl.concat(reference).sort("time").write_parquet(folder / "reference.parquet")
    current = pl.concat([rows_of(site, 3, WEEKS, rng) for site in [*sites, "short", "new"]]).sort(
        "time"
    )
    begin = START + timedelta(weeks=WEEKS + SHIFTED_WEEK)
    week = pl.col("time").is_between(begin, begin + timedelta(weeks=1), closed="left")
    current = current.with_columns(x2=pl.col("x2") + 0.15 * week.cast(pl.Float64))
    current.write_parquet(folder / "current.parquet")
    return folder


def watched(tables: Path, key_baseline: str) -> tuple[Run, Outcome, Outcome]:
    """Fit and run the stream, and return the run and what the commands said."""
    file = stream_file(
        tables,
        columns={name: {"type": "number"} for name in COLUMNS},
        key=["site"],
        key_baseline=key_baseline,
    )
    baseline, out = tables / f"{key_baseline}.baseline", tables / f"{key_baseline}.run"
    fitted = tidegauge("fit", file, "--baseline", baseline)
    assert fitted.code == 0, fitted.err
    said = tidegauge("run", file, "--baseline", baseline, "--out", out)
    assert said.code == 0, said.err
    return open_run(out), fitted, said


@pytest.fixture(scope="module")
def own(tables: Path) -> tuple[Run, Outcome, Outcome]:
    """Return the run in which each key has a reference of its own."""
    return watched(tables, "own")


@pytest.fixture(scope="module")
def pooled(tables: Path) -> tuple[Run, Outcome, Outcome]:
    """Return the run in which the keys share one."""
    return watched(tables, "pooled")


def key(site: str) -> str:
    """Return the key of a site."""
    return f'{{"site": "{site}"}}'


def test_a_new_key_and_a_short_one_are_not_tested_and_the_words_say_what_helps(
    own: tuple[Run, Outcome, Outcome],
) -> None:
    """All their windows have findings, with the reason."""
    run, fitted, _ = own
    skipped = run.table("findings").filter(status="not_tested")
    assert set(skipped["key"]) == {key("new"), key("short")}
    assert set(skipped["explanation"]) == {NO_BASELINE}
    assert skipped.height == 2 * 3 * len(COLUMNS)
    assert "key_baseline: pooled" in NO_BASELINE
    assert key("short") in fitted.err
    assert "key_baseline: pooled" in fitted.err


def test_a_shift_common_to_all_keys_is_found_though_no_key_alarms(
    own: tuple[Run, Outcome, Outcome],
) -> None:
    """In its week, and by its name; the other weeks are quiet."""
    run, _, said = own
    alarms = run.table("findings").filter("alarm")
    assert alarms["key"].to_list() == [ALL_KEYS]
    assert alarms["subject"].to_list() == ["x2"]
    assert alarms["window_start"][0] == START + timedelta(weeks=WEEKS + SHIFTED_WEEK)
    assert alarms["explanation"][0].endswith(f"named in 0 of {KEYS} keys")
    assert alarms["rows"][0] == KEYS * HOURS
    assert f"keys: 0 of {KEYS + 2} alarmed; all keys together in 1 window" in said.out


def test_every_window_of_all_keys_has_a_finding_per_feature(
    own: tuple[Run, Outcome, Outcome],
) -> None:
    """Beside those of the keys."""
    together = own[0].table("findings").filter(key=ALL_KEYS)
    assert together.height == 3 * len(COLUMNS)
    assert set(together["status"]) == {"tested"}


def test_a_pool_tests_new_keys_and_short_ones(
    pooled: tuple[Run, Outcome, Outcome], tables: Path
) -> None:
    """Against one reference, that of all keys."""
    run, _, _ = pooled
    single = run.table("findings").filter(pl.col("key") != ALL_KEYS)
    assert set(single["status"]) == {"tested"}
    assert {key("new"), key("short")} <= set(single["key"])
    baseline = load_baseline(tables / "pooled.baseline")
    assert set(baseline.references) == {POOL, ALL_KEYS}
    assert baseline.keys == KEYS + 1


def test_the_report_and_the_metrics_speak_of_the_keys(
    own: tuple[Run, Outcome, Outcome],
) -> None:
    """All keys together are not a key."""
    run = own[0]
    page = render(run)
    assert '<section id="keys">' in page
    assert "all keys together" in page
    families = {family.name: family for family in collect(run.snapshot())}
    values = {
        name: families[f"tidegauge_{name}"].samples[0].value
        for name in ("keys_tested", "keys_alarming")
    }
    assert values == {"keys_tested": KEYS, "keys_alarming": 0}
