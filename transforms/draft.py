"""Writes the first stream file of a table: everything guessed is said to be guessed, and why."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from schemas.duration import parse_duration
from schemas.errors import SourceError
from schemas.stream import STREAM_FILE_VERSION, Column
from transforms.contract import to_type
from transforms.infer import Inferred, infer_columns
from transforms.tables import guess_source
from transforms.timestamps import to_utc

DAY = 86_400.0
MIN_WINDOW_ROWS = 90  # of one key: a season of days, four days of hours
_SHOWN = 12  # categories listed in a comment

#: Lengths of windows, and the false alarms to bear with each: about one in fifty windows or fewer.
_WINDOWS = (
    ("1h", "1 per 7d"),
    ("6h", "1 per 30d"),
    ("1d", "1 per 90d"),
    ("7d", "1 per 365d"),
    ("28d", "1 per 50 windows"),
    ("91d", "1 per 50 windows"),
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # of YAML, old and new


@dataclass(frozen=True, slots=True)
class _Rhythm:
    """How the rows lie in time."""

    step: float  #: seconds, median of the steps between different times
    span: float  #: seconds
    rows_per_day: float  #: of one key
    keys: int


def draft_stream_file(
    table_path: str,
    table: pa.Table,
    out_path: str | None = None,
    time: str | None = None,
    keys: Sequence[str] = (),
) -> str:
    """Return the text of a stream file for a table, with its guesses explained in comments.

    Parameters
    ----------
    table_path
        What `source:` and `reference:` shall name.
    table
        Its first rows, as `transforms.tables.read_head` gives them.
    out_path
        Where the text will go; named in the text only.
    time, keys
        What the user knows already; guessed when left out.

    Raises
    ------
    SourceError
        When `time` or a key is not in the table, or no column is left to watch.
    """
    inferred = infer_columns(table, time, keys)
    if not inferred.columns:
        raise SourceError(f"{table_path}: no column is left to watch")
    rhythm = _rhythm(table, inferred)
    lines = [
        *_head(table_path, table.num_rows, out_path or "STREAM.yaml"),
        *_sources(table_path),
        *_time_and_keys(inferred, time, keys),
        *_window(rhythm),
        "columns:",
    ]
    for name, column in inferred.columns.items():
        lines += _column(name, column, table[name], inferred.notes.get(name))
    for name, note in inferred.notes.items():
        if name not in (*inferred.columns, inferred.time, *inferred.keys):
            lines.append(_comment(f"{name!r} {note}", indent="  "))
    return "\n".join([*lines, *_tail(inferred, rhythm), ""])


def _head(table_path: str, rows: int, out_path: str) -> list[str]:
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(table_path).stem).strip("-_.")[:100]
    return [
        _comment(f"Drafted from the first {rows} rows of {table_path}."),
        _comment(f"Read it, correct it, then run: tidegauge validate {out_path}"),
        "",
        f"tidegauge: {STREAM_FILE_VERSION}",
        f"name: {_scalar(stem or 'stream')}",
        "",
    ]


def _sources(table_path: str) -> list[str]:
    lines = [f"  path: {_scalar(table_path)}"]
    delimiter = guess_source(table_path).delimiter if Path(table_path).exists() else ","
    if delimiter != ",":
        lines.append(f"  delimiter: {_scalar(delimiter)}")
    return [
        "source:",
        *lines,
        "",
        "# What is normal. As drafted it is the source itself: point it at rows known to be good,",
        "# such as the months before the source begins.",
        "reference:",
        *lines,
        "",
    ]


def _time_and_keys(inferred: Inferred, time: str | None, keys: Sequence[str]) -> list[str]:
    lines = ["# time:  # no column seems to hold the time of a row's event", "#   column: NAME"]
    if inferred.time is not None:
        lines = ["time:", f"  column: {_scalar(inferred.time)}"]
        if time is None:
            lines.insert(1, _comment(inferred.notes[inferred.time], indent="  "))
        lines.append("  # zone: Europe/Paris  # of times that carry none; UTC when left out")
    listed = f"key: [{', '.join(map(_scalar, inferred.keys))}]"
    if not inferred.keys:
        lines += ["", "# key: [NAME]  # one series per value, such as a sensor; none was found"]
    elif keys:
        lines += ["", listed]
    else:
        lines += ["", _comment(inferred.notes[inferred.keys[0]]), listed]
    return [*lines, ""]


def _rhythm(table: pa.Table, inferred: Inferred) -> _Rhythm | None:
    """Return how the rows lie in time; None when there is no time, or only one."""
    if inferred.time is None:
        return None
    times = to_utc(table[inferred.time], "UTC").drop_null()
    moments = np.unique(times.cast(pa.int64()).to_numpy()) / 1e6
    if len(moments) < 2:
        return None
    keys = pl.DataFrame(table.select(list(inferred.keys)))
    count = keys.n_unique() if inferred.keys else 1
    span = float(moments[-1] - moments[0])
    step = float(np.median(np.diff(moments)))
    return _Rhythm(step, span, len(times) / count / span * DAY, count)


def _window(rhythm: _Rhythm | None) -> list[str]:
    chosen = _chosen_window(rhythm)
    if rhythm is None or chosen is None:
        lines = ["window:", "  rows: 1000"]
    else:
        rows = rhythm.rows_per_day * parse_duration(chosen[0]) / DAY
        each = f" of each of {rhythm.keys} keys" if rhythm.keys > 1 else ""
        lines = ["window:", f"  length: {chosen[0]}  # about {rows:.0f} rows{each}"]
    terms = _calendar(rhythm)
    if terms:
        lines += [
            "",
            "# Rhythms that explain the columns and are never blamed; each needs a reference that",
            "# goes through it, best several times.",
            f"calendar: [{', '.join(terms)}]",
        ]
    return [*lines, ""]


def _chosen_window(rhythm: _Rhythm | None) -> tuple[str, str] | None:
    """Return the shortest window with enough rows that the table holds four times, if any."""
    if rhythm is None:
        return None
    for length, budget in _WINDOWS:
        seconds = parse_duration(length)
        if rhythm.rows_per_day * seconds / DAY >= MIN_WINDOW_ROWS:
            return (length, budget) if rhythm.span >= 4 * seconds else None
    return None


def _calendar(rhythm: _Rhythm | None) -> list[str]:
    if rhythm is None:
        return []
    terms = {
        "hour_of_day": rhythm.step < DAY and rhythm.span > 2 * DAY,
        "day_of_week": rhythm.step < 7 * DAY and rhythm.span > 21 * DAY,
        "day_of_year": rhythm.span > 0.9 * 365 * DAY,
    }
    return [term for term, supported in terms.items() if supported]


def _column(name: str, column: Column, values: pa.ChunkedArray, note: str | None) -> list[str]:
    lines = [f"  {_scalar(name)}:", f"    type: {column.type}"]
    if note is not None:
        lines.insert(1, _comment(note, indent="    "))
    if column.role == "ignore":
        return [*lines, "    role: ignore"]
    lines.append("    role: feature")
    typed = to_type(values, column.type)[0]
    if column.type in ("number", "integer"):
        ends = pc.min_max(typed).as_py()
        lines += ["    unit:", f"    # min: {ends['min']!r}", f"    # max: {ends['max']!r}"]
    elif column.type == "category":
        seen = sorted(pc.unique(typed.drop_null()).to_pylist())
        listed = f"# categories: [{', '.join(map(_scalar, seen))}]"
        many = f"# categories:  # {len(seen)} were seen; a list rejects all others"
        lines.append(f"    {listed if len(seen) <= _SHOWN else many}")
    return lines


def _tail(inferred: Inferred, rhythm: _Rhythm | None) -> list[str]:
    chosen = _chosen_window(rhythm)
    numbers = [n for n, c in inferred.columns.items() if c.type in ("number", "integer")]
    target = next((n for n in numbers if inferred.columns[n].role == "feature"), None)
    forecast = []
    if target is not None:
        forecast = [
            "",
            "# forecasts:  # quantiles of a column, from the other features",
            f"#   - target: {_scalar(target)}",
            "#     levels: [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]",
            "#     interval: 0.9",
        ]
    return [
        *forecast,
        "",
        "alarms:  # the false alarms you will bear, over all columns and keys together",
        f"  false: {'1 per 100 windows' if chosen is None else chosen[1]}",
        "",
        "# sinks:",
        "#   textfile: /var/lib/node_exporter/tidegauge.prom",
        "#   pushgateway: http://localhost:9091",
    ]


def _comment(text: str, indent: str = "") -> str:
    """Return one line of comment; what YAML cannot print is escaped."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"{indent}# {''.join(escaped)}"


def _scalar(text: str) -> str:
    """Return text as a YAML scalar on one line, quoted where it must be."""
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    yaml, out = YAML(), io.StringIO()
    yaml.width = 2**31  # never fold
    yaml.dump(DoubleQuotedScalarString(text), out)
    return out.getvalue().strip()
