"""A day of event time in a minute or two, through a real broker, with all that goes wrong in a day.

``python -m benchmarks.stream_day [SECONDS]`` sends 24 hours of rows of 20 columns as JSON to four
partitions, out of order, some late, malformed or twice; one partition is silent for eight hours,
and at noon the producers change their schema. ``tidegauge run --follow`` takes them in meanwhile.
Printed: what became of every row, alarms against the budget, and the process's memory over time.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.measure import BIN, ROOT
from pipelines.run_folder import RowCounts, Run, open_run
from tests.servers.kafka import kafka_broker
from tests.servers.topics import create_topic

HOURS, PER_SECOND, COLUMNS, PARTITIONS = 24, 5, 20, 4
DAY = 86_400
REFERENCE_DAYS = 3
START = 1_780_272_000  # 2026-06-01, in seconds since 1970
SILENT, NOON = (8 * 3600, 16 * 3600), 12 * 3600
JITTER = 30.0  # seconds by which any two rows may change places
LATE, LATEST, MALFORMED, TWICE = 0.05, 2400.0, 0.01, 0.01


@dataclass(frozen=True, slots=True)
class Sent:
    """What the producers sent."""

    rows: int
    malformed: int
    twice: int
    late: int  #: rows delayed by minutes; not all of them too much


def rows_of(seed: int, days: int = 1) -> NDArray[np.float64]:
    """Return rows of some days: factors that wander, and noise; shape (rows, COLUMNS)."""
    rng = np.random.default_rng(seed)
    n = days * DAY * PER_SECOND
    loadings = np.random.default_rng(0).normal(size=(5, COLUMNS)) / np.sqrt(5)
    factors = rng.normal(size=(n, 5))
    for at in range(1, n):
        factors[at] = 0.6 * factors[at - 1] + 0.8 * factors[at]
    values: NDArray[np.float64] = factors @ loadings + 0.7 * rng.normal(size=(n, COLUMNS))
    return np.round(values, 4)


def messages(seed: int) -> Iterator[tuple[float, int, bytes, str]]:
    """Yield (second of the day at which it is sent, partition, message, what it is)."""
    rng = np.random.default_rng([seed, 1])
    values = rows_of(seed)
    n = len(values)
    at = np.arange(n) / PER_SECOND
    delay = rng.uniform(0, JITTER, n)
    late = rng.random(n) < LATE
    delay[late] = rng.uniform(60, LATEST, late.sum())
    malformed, twice = rng.random(n) < MALFORMED, rng.random(n) < TWICE
    partition = rng.integers(0, PARTITIONS, n)
    silent = (at + delay >= SILENT[0]) & (at + delay < SILENT[1]) & (partition == PARTITIONS - 1)
    partition[silent] = rng.integers(0, PARTITIONS - 1, silent.sum())
    for row in np.argsort(at + delay, kind="stable"):
        sent = float(at[row] + delay[row])
        record: dict[str, object] = {"time": (START + at[row]) * 1000.0}
        record |= {f"x{j:02}": value for j, value in enumerate(values[row].tolist())}
        if sent >= NOON:  # other producers: a new field, and a number written as a text
            record |= {"firmware": "2.1", "x03": str(record["x03"])}
        text = json.dumps(record).encode()
        kind = "malformed" if malformed[row] else "late" if late[row] else "row"
        yield sent, int(partition[row]), text[:-9] if malformed[row] else text, kind
        if twice[row]:
            yield sent, int(partition[row]), text, "twice"


def send(servers: str, topic: str, seconds: float, seed: int) -> Sent:
    """Send the day in so many seconds."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50})
    counts = dict.fromkeys(("row", "late", "malformed", "twice"), 0)
    begun = time.monotonic()
    for number, (sent, partition, text, kind) in enumerate(messages(seed)):
        if number % 512 == 0:
            wait = begun + sent / DAY * seconds - time.monotonic()
            if wait > 0:
                time.sleep(wait)
        while True:
            try:
                producer.produce(topic, text, partition=partition)
                break
            except BufferError:
                producer.poll(0.2)
        producer.poll(0)
        counts[kind] += 1
    producer.flush()
    return Sent(sum(counts.values()), counts["malformed"], counts["twice"], counts["late"])


def stream_file(folder: Path, servers: str, topic: str) -> Path:
    """Write the stream file, and the reference."""
    rows = rows_of(1, REFERENCE_DAYS)
    times = pl.Series("time", START - np.arange(len(rows), 0, -1) / PER_SECOND)
    reference = pl.DataFrame(rows, schema=[f"x{j:02}" for j in range(COLUMNS)])
    reference.insert_column(0, (times * 1000).cast(pl.Int64).cast(pl.Datetime("ms", "UTC")))
    reference.write_parquet(folder / "reference.parquet")
    stream = {
        "tidegauge": 1,
        "name": "day",
        "source": {"servers": servers, "topic": topic, "format": "json"},
        "reference": {"path": str(folder / "reference.parquet")},
        "time": {"column": "time"},
        "columns": {f"x{j:02}": {"type": "number"} for j in range(COLUMNS)},
        "window": {"length": "10m"},
        "watermark": {"out_of_orderness": "1m", "allowed_lateness": "20m", "idle_after": "5s"},
        "monitors": {"expectations": False},
        "alarms": {"false": "1 per 7d"},
    }
    file = folder / "day.yaml"
    file.write_text(json.dumps(stream))
    return file


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def main(seconds: float) -> None:
    """Run the day, and print what became of it."""
    with TemporaryDirectory() as name, kafka_broker() as broker:
        folder = Path(name)
        create_topic(broker.address, "day", partitions=PARTITIONS)
        file = stream_file(folder, broker.address, "day")
        subprocess.run([BIN / "tidegauge", "fit", file], check=True, cwd=ROOT)
        follow = subprocess.Popen(
            [BIN / "tidegauge", "run", file, "--follow", "--every", "1"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        producer = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stream_day", "send", broker.address, str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        memory, begun = list[float](), time.monotonic()
        while producer.poll() is None:
            time.sleep(1)
            memory.append(resident(follow.pid))
        sent = Sent(**json.loads(producer.communicate()[0]))
        while open_run(folder / "day.run").manifest["rows"]["in"] < sent.rows:
            time.sleep(1)
            memory.append(resident(follow.pid))
        took = time.monotonic() - begun
        time.sleep(3)
        used = cpu(follow.pid)
        follow.send_signal(signal.SIGTERM)
        follow.wait()
        tell(sent, open_run(folder / "day.run"), memory, took, used)


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def tell(sent: Sent, run: Run, memory: list[float], took: float, used: float) -> None:
    """Print what became of the day."""
    rows, findings = run.manifest["rows"], run.table("findings")
    windows = findings["window_start"].n_unique()
    alarms = findings.filter("alarm")["window_start"].n_unique()
    again = findings.filter(pl.col("revision") > 0)["window_start"].n_unique()
    spans = sum(pl.read_parquet(part).height for part in run.state("spans"))
    quarter = max(1, len(memory) // 4)
    lines = {
        "sent": f"{sent.rows:,}: {sent.malformed:,} malformed, {sent.twice:,} twice, "
        f"{sent.late:,} delayed by 1 to {LATEST / 60:.0f} minutes",
        "became": f"{rows['in']:,} in = {rows['used']:,} used + {rows['rejected']:,} rejected + "
        f"{rows['late']:,} late: {'adds up' if adds_up(rows, sent) else 'DOES NOT ADD UP'}",
        "windows": f"{windows} judged, {again} of them again for late rows; "
        f"{alarms} false alarms (budget {windows / 1008:.2f})",
        "state": f"{spans} spans in {len(run.state('spans'))} files; "
        f"{run.manifest['ticks']} commits",
        "memory": f"{np.mean(memory[quarter : 2 * quarter]):.0f} MB in the second quarter, "
        f"{np.mean(memory[-quarter:]):.0f} MB in the last, {max(memory):.0f} MB at most",
        "time": f"{took:.0f} s, {used:.0f} CPU s: "
        f"{used / rows['in'] * 1e6:.1f} CPU s per million rows",
    }
    for name, line in lines.items():
        print(f"{name:<10} {line}")


def adds_up(rows: RowCounts, sent: Sent) -> bool:
    """Say whether every row that was sent is accounted for, and every malformed one rejected."""
    whole = rows["used"] + rows["rejected"] + rows["late"]
    return rows["in"] == sent.rows == whole and rows["rejected"] == sent.malformed


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        from dataclasses import asdict

        print(json.dumps(asdict(send(sys.argv[2], "day", float(sys.argv[3]), seed=2))))
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 90.0)
