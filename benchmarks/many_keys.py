"""Fits and runs a stream of many keys: ``python -m benchmarks.many_keys KEYS... [--pooled]``.

Every key has ten hourly features that hang together in one way, over 2,000 hours of reference and
2,000 hours to watch, with the rows of all keys mixed in the order of time: the hard case, for every
batch of rows holds every key.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.measure import BIN, DATA, Cost, machine, print_table, run

FEATURES = 10
ROWS = 2_000  # of a key
FILES = 4
START = datetime(2024, 1, 4, tzinfo=UTC)


def main(counts: list[int], key_baseline: str) -> None:
    """Print what `fit` and `run` take by number of keys."""
    table = []
    for keys in counts:
        folder = DATA / f"keys-{keys}"
        if not folder.exists():
            run([sys.executable, "-m", "benchmarks.many_keys", "--make", str(keys)])
        file = _stream_file(folder, key_baseline)
        fit = run([BIN / "tidegauge", "fit", file])
        scored = run([BIN / "tidegauge", "run", file])
        size = sum(p.stat().st_size for p in (folder / "stream.baseline").rglob("*") if p.is_file())
        table.append([f"{keys:,}", *_figures(fit), *_figures(scored), f"{size / 1e6:,.1f}"])
        for name in ("stream.baseline", "stream.run"):
            shutil.rmtree(folder / name)
    print(f"{machine()}; {FEATURES} features, {ROWS:,} rows a key, key_baseline: {key_baseline}\n")
    print_table(
        [
            "keys",
            "fit, CPU s",
            "wall s",
            "peak MB",
            "run, CPU s",
            "wall s",
            "peak MB",
            "baseline MB",
        ],
        table,
    )


def _figures(cost: Cost) -> list[str]:
    return [f"{cost.cpu:,.0f}", f"{cost.wall:,.0f}", f"{cost.peak:,.0f}"]


def _stream_file(folder: Path, key_baseline: str) -> Path:
    stream = {
        "tidegauge": 1,
        "name": "keys",
        "source": {"path": str(folder / "current-*.parquet")},
        "reference": {"path": str(folder / "reference-*.parquet")},
        "time": {"column": "time"},
        "key": ["key"],
        "columns": {f"x{j}": {"type": "number"} for j in range(FEATURES)},
        "window": {"length": "7d"},
        "monitors": {"expectations": False},
    }
    if key_baseline != "own":
        stream["key_baseline"] = key_baseline
    file = folder / "stream.yaml"
    file.write_text(json.dumps(stream))
    return file


def make(keys: int) -> None:
    """Write the tables, a few files of time each."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(1)
    folder = DATA / f"keys-{keys}"
    draft = folder.with_name("draft")
    draft.mkdir(parents=True)
    (DATA / ".gitignore").write_text("*\n")
    names = [f"k{number:05}" for number in range(keys)]
    loadings = rng.normal(size=(3, FEATURES))
    causes = np.zeros((keys, 3))
    for part, name in enumerate(("reference", "current")):
        for number in range(FILES):
            hours = ROWS // FILES
            values = np.empty((hours, keys, FEATURES))
            for hour in range(hours):
                causes = 0.8 * causes + 0.6 * rng.normal(size=causes.shape)
                noise = 0.5 * rng.normal(size=(keys, FEATURES))
                values[hour] = causes @ loadings + noise
            first = START + timedelta(hours=part * ROWS + number * hours)
            times = pl.Series([first + timedelta(hours=hour) for hour in range(hours)])
            table = pl.DataFrame(
                values.reshape(-1, FEATURES), schema=[f"x{j}" for j in range(FEATURES)]
            ).with_columns(
                time=pl.Series(np.repeat(np.arange(hours), keys)).replace_strict(
                    np.arange(hours), times
                ),
                key=pl.Series(names * hours),
            )
            table.write_parquet(draft / f"{name}-{number}.parquet")
    draft.rename(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_keys", description=__doc__)
    parser.add_argument("keys", type=int, nargs="+")
    parser.add_argument("--pooled", action="store_true", help="one reference for all keys")
    parser.add_argument("--make", action="store_true", help="only write the tables")
    given = parser.parse_args()
    if given.make:
        make(given.keys[0])
    else:
        main(given.keys, "pooled" if given.pooled else "own")
