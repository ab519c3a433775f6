"""The pieces of work that are measured, each in a process of its own.

``python -m benchmarks.workloads NAME ARGUMENT ...`` prepares (imports, whatever is stored
beforehand), then measures the work alone and prints its cost as one line of JSON. Peak memory is
that above the prepared process.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 65_536

#: prepares, and returns the work
Workload: TypeAlias = Callable[..., Callable[[], object]]


def make_table(path: str, rows: str, columns: str, seed: str) -> Callable[[], object]:
    """Write correlated columns: five factors and noise, a third of them skewed or heavy-tailed."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    names = [f"x{j:02d}" for j in range(int(columns))]
    loadings = np.random.default_rng(0).normal(size=(5, len(names))) / np.sqrt(5)
    rng = np.random.default_rng(int(seed))

    def batches() -> Iterator[pa.Table]:
        for start in range(0, int(rows), BATCH_ROWS):
            size = min(BATCH_ROWS, int(rows) - start)
            values = rng.normal(size=(size, 5)) @ loadings + 0.7 * rng.normal(
                size=(size, len(names))
            )
            values[:, 1::6] = np.exp(values[:, 1::6])
            values[:, 4::6] = np.sinh(1.5 * values[:, 4::6])
            yield pa.table(dict(zip(names, values.T.copy(), strict=True)))

    def write() -> None:
        parts = batches()
        if path.endswith(".csv"):
            pyarrow.csv.write_csv(pa.concat_tables(parts), path)
            return
        first = next(parts)
        with pq.ParquetWriter(path, first.schema, use_dictionary=False) as writer:
            writer.write_table(first)
            for part in parts:
                writer.write_table(part)

    return write


def means_and_deviations(path: str) -> Callable[[], object]:
    """Let Polars scan the table for what is least worth knowing of it."""
    import polars as pl
    import polars.selectors as cs

    return lambda: (
        pl.scan_parquet(path)
        .select(cs.float().mean().name.suffix(" mean"), cs.float().std().name.suffix(" std"))
        .collect(engine="streaming")
    )


def ks_of_tables(reference: str, current: str) -> Callable[[], object]:
    """Read two tables and run SciPy's two-sample KS test column by column."""
    import pyarrow.parquet as pq
    from scipy.stats import ks_2samp

    def work() -> object:
        before, now = pq.read_table(reference), pq.read_table(current)
        return [
            ks_2samp(before[name].to_numpy(), now[name].to_numpy()) for name in before.column_names
        ]

    return work


def profile_file(path: str) -> Callable[[], object]:
    """Profile a table against a stored encoder, batch by batch, without Beam."""
    import functools
    import operator

    from benchmarks.stored import load_encoder, stored
    from monitors.gram import Profile, profile
    from transforms.contract import check_rows
    from transforms.decode import read_batches

    stream, encoder_file = stored(path)

    def work() -> Profile:
        encoder, columns = load_encoder(encoder_file), stream.columns
        with Path(path).open("rb") as file:
            batches = read_batches(file, path, stream.source, list(columns), stream.name)
            checked = (check_rows(part.batch, columns, None, (), stream.name) for part in batches)
            parts = (profile(encoder, part.batch.table) for part in checked)
            return functools.reduce(operator.add, parts)

    return work


def profile_with_beam(path: str) -> Callable[[], object]:
    """Do the same in a Beam graph on the local runner."""
    import apache_beam as beam

    from benchmarks.stored import load_encoder, stored
    from monitors.beam.merge import MergeParts
    from monitors.gram import profile
    from pipelines.runners import run_graph
    from transforms.beam import ReadBatches

    stream, encoder_file = stored(path)

    def build(pipeline: beam.Pipeline) -> None:
        _ = (
            (pipeline | ReadBatches([path], stream.source, stream))["batches"]
            | beam.Map(lambda batch: profile(load_encoder(encoder_file), batch.table))
            | beam.CombineGlobally(MergeParts()).without_defaults()
        )

    return lambda: run_graph(build)


def test_window(reference: str, current: str) -> Callable[[], object]:
    """Profile a window that is in memory and test it against a stored reference."""
    import pyarrow.parquet as pq

    from benchmarks.stored import stored_reference
    from monitors.gram import profile

    stored = stored_reference(reference)
    window = pq.read_table(current)
    profile(stored.encoder, window.slice(0, 1))  # a monitor has seen windows before
    return lambda: stored.test(
        profile(stored.encoder, window), level=0.01, ignore_below=0.1, seed=0
    )


def row_bootstrap(reference: str, current: str) -> Callable[[], object]:
    """Draw the null of the same statistic anew from the rows, `ROW_DRAWS` times."""
    import numpy as np
    import pyarrow.parquet as pq

    from benchmarks.measure import ROW_DRAWS
    from benchmarks.stored import stored_reference
    from monitors.feature_shift.gram_methods import GRAM_METHODS
    from monitors.gram import gram_matrix

    stored, moments = stored_reference(reference), GRAM_METHODS["moments"]
    rows = np.concatenate(
        [stored.encoder.encode(pq.read_table(f))[0] for f in (reference, current)]
    )
    half, rng = len(rows) // 2, np.random.default_rng(0)

    def draw() -> object:
        before, now = (gram_matrix(rows[rng.integers(len(rows), size=half)]) for _ in range(2))
        return moments.statistic(before + now, now, moments.bases(stored.bases))

    return lambda: [draw() for _ in range(ROW_DRAWS)]


def fit_nulls(reference: str, _: str) -> Callable[[], object]:
    """Fit the nulls of a reference's four window sizes."""
    from benchmarks.stored import stored_reference

    stored = stored_reference(reference)
    return lambda: stored.fit_nulls(0)


def ks_in_memory(reference: str, current: str) -> Callable[[], object]:
    """Run SciPy's KS test column by column on two tables in memory."""
    import pyarrow.parquet as pq
    from scipy.stats import ks_2samp

    before, now = pq.read_table(reference), pq.read_table(current)
    return lambda: [
        ks_2samp(before[name].to_numpy(), now[name].to_numpy()) for name in before.column_names
    ]


def check_in_memory(reference: str, current: str) -> Callable[[], object]:
    """Compare two tables that are in memory, as `tidegauge check` does once it has read them."""
    import pyarrow.parquet as pq

    from benchmarks.stored import number_columns
    from monitors.check import check

    before, now = pq.read_table(reference), pq.read_table(current)
    return lambda: check(before, now, number_columns(before.column_names))


WORKLOADS: dict[str, Workload] = {
    made.__name__: made
    for made in (
        make_table,
        means_and_deviations,
        ks_of_tables,
        profile_file,
        profile_with_beam,
        test_window,
        row_bootstrap,
        fit_nulls,
        ks_in_memory,
        check_in_memory,
    )
}


def _memory(what: str) -> float:
    """Return VmRSS (resident now) or VmHWM (its peak), in MB; the peak where there is no /proc."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1e-6
    line = next(line for line in status.read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1.024e-3


def _forget_peak() -> None:
    """Let the peak start from what is resident now (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    work = WORKLOADS[sys.argv[1]](*sys.argv[2:])
    _forget_peak()
    memory, wall, cpu = _memory("VmRSS"), time.perf_counter(), time.process_time()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = _memory("VmHWM") - memory
    print(json.dumps({"cpu": cpu, "wall": wall, "peak": peak, "output": ""}))
