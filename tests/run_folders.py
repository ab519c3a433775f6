"""A run folder written by hand: what `tidegauge run` leaves, without running it.

Thirty weeks of hourly weather at three airports, eighteen sensors, one of which (LGA.temp) reads
too warm for one week; and a forecast of the mean departure delay.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from monitors.alarms.episodes import episodes
from pipelines.run_folder import RUN_VERSION
from schemas.records import RECORDS, Finding
from schemas.stream import Stream

START = datetime(2013, 1, 7, tzinfo=UTC)  # a Monday
WEEK = timedelta(days=7)
HOURS = 168  # of a week
TARGET = "delay"
BASELINE = "9f3c2a7be4d1"
SENSORS = ("temp", "dewp", "humid", "wind_speed", "pressure", "visib")
UNITS = {
    "temp": "°F",
    "dewp": "°F",
    "humid": "%",
    "wind_speed": "mph",
    "pressure": "hPa",
    "visib": "mi",
}
NORMAL = {
    "temp": (55.0, 18.0),
    "dewp": (41.0, 19.0),
    "humid": (62.0, 19.0),
    "wind_speed": (10.5, 5.0),
    "pressure": (1018.0, 7.5),
    "visib": (9.2, 2.0),
}
FEATURES = tuple(f"{airport}.{sensor}" for airport in ("EWR", "JFK", "LGA") for sensor in SENSORS)
THRESHOLD = 2.6  # log10 evidence
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
Z = np.asarray([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])


def weather_stream() -> Stream:
    """Return the stream that the run is of."""
    columns: dict[str, dict[str, Any]] = {
        name: {"type": "number", "unit": UNITS[name.split(".")[1]]} for name in FEATURES
    }
    columns[TARGET] = {"type": "number", "role": "target", "unit": "min"}
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "nyc-weather",
            "source": {"path": "current/*.parquet"},
            "reference": {"path": "reference.parquet"},
            "time": {"column": "time_hour"},
            "columns": columns,
            "window": {"length": "7d"},
            "calendar": ["hour_of_day", "day_of_year"],
            "forecasts": [{"target": TARGET}],
            "alarms": {"false": "1 per 52w"},
        }
    )


def write_run_folder(
    folder: Path,
    *,
    weeks: int = 30,
    shifted: str = "LGA.temp",
    shifted_week: int | None = 17,
    seed: int = 7,
) -> Path:
    """Write a run folder and return it.

    Parameters
    ----------
    weeks : number of weekly windows, from Monday 2013-01-07.
    shifted : the sensor that reads too high.
    shifted_week : the window in which it does, from 0 (negative: from the end); None: never.
    """
    rng = np.random.default_rng(seed)
    stream = weather_stream()
    week = None if shifted_week is None else range(weeks)[shifted_week]
    moved = [shifted if w == week else None for w in range(weeks)]
    findings = [row for w in range(weeks) for row in _findings(stream, w, moved[w], rng)]
    rejects = _rejects(stream, rng)
    half = len(findings) // 2
    parts = {
        "findings/part-00000.parquet": findings[:half],
        "findings/part-00001.parquet": findings[half:],
        "forecasts/part-00000.parquet": _forecasts(stream, weeks, rng),
        "rejects/part-00000.parquet": rejects,
        "summaries/part-00000.parquet": [
            row for w in range(weeks) for row in _summaries(stream, w, moved[w], rng)
        ],
        "expectations/part-00000.parquet": [
            row for w in range(weeks) for row in _expectations(stream, w)
        ],
    }
    found = pl.DataFrame(pa.Table.from_pylist(findings, schema=RECORDS["findings"]))
    parts["episodes/part-00000.parquet"] = episodes(found.lazy()).to_dicts()
    parts["sentinels/part-00000.parquet"] = [_sentinel(stream, w) for w in range(weeks)]
    files: dict[str, list[str]] = {"evidence": []}
    for path, rows in parts.items():
        name = path.split("/")[0]
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=RECORDS[name]), target)
        files.setdefault(name, []).append(path)
    used = weeks * HOURS
    manifest = {
        "version": RUN_VERSION,
        "stream": stream.model_dump(mode="json"),
        "baseline_id": BASELINE,
        "baseline_folder": "/nowhere",
        "started": "2013-12-31T06:00:00+00:00",
        "finished": "2013-12-31T06:00:12.300000+00:00",
        "duration_seconds": 12.3,
        "rows": {
            "in": used + len(rejects),
            "used": used,
            "rejected": len(rejects),
            "late": 0,
        },
        "windows": weeks,
        "reference": {
            "rows": 8760,
            "start": "2012-01-01T00:00:00+00:00",
            "end": "2012-12-31T00:00:00+00:00",
        },
        "files": files,
        "baselines": [[BASELINE, None]],
        "ticks": 1,
        "watermark": (START + weeks * WEEK).isoformat(),
        "progress": {},
        "state": {},
        "control": {},
    }
    (folder / "run.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return folder


def _window(week: int) -> dict[str, Any]:
    start = START + week * WEEK
    return {"window_start": start, "window_end": start + WEEK, "window_index": None}


def _sentinel(stream: Stream, week: int) -> dict[str, object]:
    return {
        "stream": stream.name,
        "key": "{}",
        **_window(week),
        "monitor": "feature_shift",
        "block": 8 * (week % 10),
        "blocks": 8,
        "statistic": 1.1,
        "threshold": THRESHOLD,
        "level": 0.02,
        "alarm": False,
        "baseline_id": BASELINE,
    }


def _findings(
    stream: Stream, week: int, shifted: str | None, rng: np.random.Generator
) -> list[dict[str, object]]:
    evidence = -np.log10(rng.uniform(0.01, 1.0, len(FEATURES)))
    effect = rng.uniform(0.0, 0.08, len(FEATURES))
    if shifted is not None:
        j = FEATURES.index(shifted)
        evidence[j], effect[j] = 41.7, 0.92
    untested = FEATURES.index("JFK.visib") if week == 3 else None
    order = sorted((j for j in range(len(FEATURES)) if j != untested), key=lambda j: -evidence[j])
    ranks = {j: rank for rank, j in enumerate(order, 1)}
    rows = []
    for j, feature in enumerate(FEATURES):
        tested, alarm = j in ranks, bool(evidence[j] > THRESHOLD)
        says = "" if tested else "one value in the whole window: nothing to compare"
        if alarm:
            says = (
                f"{feature} reads 3.1 {stream.columns[feature].unit} high given the other columns; "
                f"it explains 92 % of the shift"
            )
        rows.append(
            Finding(
                stream=stream.name,
                key="{}",
                **_window(week),
                monitor="feature_shift",
                method="moments",
                subject=feature,
                status="tested" if tested else "not_tested",
                statistic=float(evidence[j]) if tested else None,
                threshold=THRESHOLD if tested else None,
                p_value=float(10 ** -evidence[j]) if tested else None,
                effect=float(effect[j]) if tested else None,
                alarm=alarm and tested,
                rank=ranks.get(j),
                explanation=says,
                rows=HOURS,
                baseline_id=BASELINE,
            ).as_row()
        )
    for monitor in ("coverage", "pinball", "pit"):
        weak = float(-np.log10(rng.uniform(0.05, 1.0)))
        rows.append(
            Finding(
                stream=stream.name,
                key="{}",
                **_window(week),
                monitor=monitor,
                method=monitor,
                subject=TARGET,
                status="tested",
                statistic=weak,
                threshold=2.2,
                p_value=10**-weak,
                effect=float(rng.normal(0, 0.01)),
                alarm=False,
                rank=1,
                explanation="",
                rows=HOURS,
                baseline_id=BASELINE,
            ).as_row()
        )
    return rows


def _forecasts(stream: Stream, weeks: int, rng: np.random.Generator) -> list[dict[str, object]]:
    hours = weeks * HOURS
    median = 13.0 + 8.0 * np.sin(2 * np.pi * np.arange(hours) / 24)
    scale = rng.uniform(4.0, 7.0, hours)
    quantiles = median[:, None] + scale[:, None] * Z
    outcome = median + scale * rng.standard_normal(hours)
    return [
        {
            "stream": stream.name,
            "key": "{}",
            "target": TARGET,
            "issue_time": START + timedelta(hours=i),
            "valid_time": START + timedelta(hours=i),
            "levels": LEVELS,
            "quantiles": quantiles[i].tolist(),
            "lower": quantiles[i, 0],
            "upper": quantiles[i, -1],
            "outcome": None if i >= hours - 6 else outcome[i],  # the last labels have not come yet
            "model_id": "d41c88aa",
            "calibration": "conformal",
            "path": "current/2013.parquet",
            "row": i,
        }
        for i in range(hours)
    ]


def _rejects(stream: Stream, rng: np.random.Generator) -> list[dict[str, object]]:
    kinds = [
        ("type", "LGA.temp", "'n/a' is not a number"),
        ("range", "EWR.humid", "104.2 is above max 100"),
        ("infinite", "JFK.pressure", "inf is not a finite number"),
        ("ragged", None, "17 fields where 20 are expected"),
    ]
    return [
        {
            "stream": stream.name,
            "path": "current/2013.parquet",
            "row": int(rng.integers(0, 5000)),
            "reason": reason,
            "column": column,
            "detail": detail,
            "raw": json.dumps({"time_hour": "2013-02-03T04:00:00", str(column): "n/a"}),
        }
        for reason, column, detail in (kinds[i % 4] for i in range(11))
    ]


def _summaries(
    stream: Stream, week: int, shifted: str | None, rng: np.random.Generator
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for column in (*FEATURES, TARGET):
        mean, std = NORMAL.get(column.split(".")[-1], (13.0, 9.0))
        centre = mean + rng.normal(0, std / 4) + (3.1 if column == shifted else 0.0)
        nulls = int(rng.integers(0, 4))
        rows.append(
            {
                "stream": stream.name,
                "key": "{}",
                **_window(week),
                "column": column,
                "rows": HOURS,
                "nulls": nulls,
                "null_rate": nulls / HOURS,
                "min": centre - 2.4 * std,
                "max": centre + 2.4 * std,
                "mean": centre,
                "std": std,
                "new_values": None,
                "revision": 0,
            }
        )
    return rows


def _expectations(stream: Stream, week: int) -> list[dict[str, object]]:
    checks: list[tuple[str, str, str, list[str], str]] = [
        ("rows of every column between 100 and 200", "critical", "pass", [], ""),
        ("null rate at most 0.05", "critical", "pass", [], ""),
        ("mean within the reference's range", "warning", "pass", [], ""),
        ("no new category values", "info", "pass", [], ""),
    ]
    if week == 5:
        checks[1] = ("null rate at most 0.05", "critical", "fail", ["EWR.wind_speed"], "0.31")
    if week == 9:
        checks[2] = (*checks[2][:2], "error", [], "the expectation could not be evaluated")
    return [
        {
            "stream": stream.name,
            "key": "{}",
            **_window(week),
            "expectation": expectation,
            "severity": severity,
            "result": result,
            "columns": columns,
            "detail": detail,
            "revision": 0,
        }
        for expectation, severity, result, columns, detail in checks
    ]
