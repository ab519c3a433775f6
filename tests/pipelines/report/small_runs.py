"""Small run folders of any shape: keys, windows counted in rows, names that mean harm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.run_folder import RUN_VERSION, Run, open_run
from schemas.records import RECORDS, Finding
from schemas.stream import Stream

ROWS = 50  # of a window
BASELINE = "0123456789ab"


def row_stream(
    features: Sequence[str] = ("a", "b", "c"), *, key: Sequence[str] = (), target: str | None = None
) -> Stream:
    """Return a stream without times, its windows counted in rows."""
    columns: dict[str, Any] = {name: {"type": "number"} for name in features}
    if target is not None:
        columns[target] = {"type": "number", "role": "target"}
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "small",
            "source": {"path": "current.csv"},
            "reference": {"path": "reference.csv"},
            "key": list(key),
            "columns": columns,
            "window": {"rows": ROWS},
            "forecasts": [{"target": target}] if target is not None else [],
            "alarms": {"false": "1 per 500 windows"},
        }
    )


def finding(stream: Stream, index: int, subject: str, **changes: Any) -> dict[str, object]:
    """Return one row of findings: tested and quiet, unless told otherwise."""
    values: dict[str, Any] = {
        "key": "{}",
        "window_start": None,
        "window_end": None,
        "monitor": "feature_shift",
        "method": "moments",
        "status": "tested",
        "statistic": 0.8,
        "threshold": 4.0,
        "p_value": 0.16,
        "effect": 0.02,
        "alarm": False,
        "rank": 2,
        "explanation": "as in the reference, given the other features",
        "rows": ROWS,
        "baseline_id": BASELINE,
    }
    about: dict[str, Any] = {"stream": stream.name, "window_index": index, "subject": subject}
    return Finding(**(about | values | changes)).as_row()


ALARM = {
    "alarm": True,
    "statistic": 12.0,
    "p_value": 1e-12,
    "effect": 0.9,
    "rank": 1,
    "explanation": "no longer follows the other features: they explained 91 % of it in the "
    "reference, 2 % here",
}


def forecast_rows(
    stream: Stream, rows: int, *, key: str = "{}", outcomes: bool = True, seed: int = 3
) -> list[dict[str, object]]:
    """Return forecasts of rows without times: standard normal, as their outcomes."""
    rng = np.random.default_rng(seed)
    (spec,) = stream.forecasts
    quantiles = [-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645]
    return [
        {
            "stream": stream.name,
            "key": key,
            "target": spec.target,
            "issue_time": None,
            "valid_time": None,
            "levels": list(spec.levels),
            "quantiles": quantiles,
            "lower": quantiles[0],
            "upper": quantiles[-1],
            "outcome": rng.standard_normal() if outcomes else None,
            "model_id": "m",
            "calibration": "conformal",
            "path": "current.csv",
            "row": row,
        }
        for row in range(rows)
    ]


def write_small_run(
    folder: Path,
    stream: Stream,
    tables: dict[str, list[dict[str, Any]]] | None = None,
    *,
    windows: int = 0,
    **changes: Any,
) -> Run:
    """Write a run folder with these tables and open it; `changes` are of the manifest."""
    files: dict[str, list[str]] = {}
    for name, rows in (tables or {}).items():
        path = folder / name / "part.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        revised = [{"revision": 0, **row} for row in rows]
        pq.write_table(pa.Table.from_pylist(revised, schema=RECORDS[name]), path)
        files[name] = [f"{name}/part.parquet"]
    rejected = len((tables or {}).get("rejects", []))
    used = windows * ROWS
    manifest = {
        "version": RUN_VERSION,
        "stream": stream.model_dump(mode="json"),
        "baseline_id": BASELINE,
        "baseline_folder": "/nowhere",
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:04:06+00:00",
        "duration_seconds": 1.25,
        "rows": {"in": used + rejected, "used": used, "rejected": rejected, "late": 0},
        "windows": windows,
        "reference": {"rows": 4000, "start": None, "end": None},
        "files": files,
        "baselines": [[BASELINE, None]],
        "ticks": 1,
        "watermark": None,
        "progress": {},
        "state": {},
        "control": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(manifest | changes), encoding="utf-8")
    return open_run(folder)
