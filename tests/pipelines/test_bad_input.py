"""What a user can do wrong: one sentence on stderr, exit code 2, and nothing half-written."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from monitors.baseline import BASELINE_VERSION
from pipelines.run_folder import open_run
from tests.small_streams import (
    HOURS,
    MOVED,
    SENSORS,
    Outcome,
    Watched,
    current_rows,
    in_process,
    stream_file,
    tidegauge,
)


def change(watched: Watched, **changes: Any) -> None:
    """Change keys of the stream file; None takes one away."""
    stream = {**json.loads(watched.file.read_text()), **changes}
    watched.file.write_text(json.dumps({k: v for k, v in stream.items() if v is not None}))


def tree(folder: Path) -> dict[str, bytes | None]:
    """Return every file and folder below a folder, with what files hold."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def assert_refused(done: Outcome, *words: str) -> None:
    """Require exit code 2, nothing on stdout, and one message with these words."""
    assert (done.code, done.out) == (2, ""), done
    for word in words:
        assert word in done.err
    assert done.err.startswith("tidegauge: ")
    assert "Traceback" not in done.err


@dataclass(frozen=True)
class Mistake:
    """What is spoilt, the verbs that must refuse it, and words of their message."""

    spoil: Callable[[Watched], object]
    words: tuple[str, ...]
    verbs: tuple[str, ...] = ("validate", "fit", "run")
    flags: tuple[str, ...] = field(default=())


def both(spoil: Callable[[Path], object]) -> Callable[[Watched], None]:
    """Spoil the current rows and the reference alike."""

    def spoil_both(watched: Watched) -> None:
        spoil(watched.current)
        spoil(watched.folder / "reference.parquet")

    return spoil_both


def rewrite(function: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Watched], None]:
    """Write both tables anew."""
    return both(lambda path: function(pl.read_parquet(path)).write_parquet(path))


def edit_baseline(name: str, function: Callable[[str], str]) -> Callable[[Watched], object]:
    """Edit a text file of the baseline's version."""

    def edit(watched: Watched) -> None:
        path = next(watched.baseline.glob(f"*/{name}"))
        path.write_text(function(path.read_text()))

    return edit


def in_the_way(name: str) -> Callable[[Watched], object]:
    """Put a file where a folder goes."""

    def put(watched: Watched) -> None:
        path = watched.folder / name
        if path.is_dir():
            path.rename(watched.folder / "elsewhere")
        path.parent.mkdir(exist_ok=True)
        path.write_text("in the way")

    return put


def as_it_is(_: Watched) -> None:
    """Spoil nothing: the mistake is in the flags."""


def into_a_folder(watched: Watched) -> None:
    """Put a folder where the stream file is."""
    watched.file.unlink()
    watched.file.mkdir()


WIDE = {f"x{number}": {"type": "number"} for number in range(1200)}


def widen(watched: Watched) -> None:
    """Watch more columns than a conditional test takes."""
    table = np.random.default_rng(1).normal(size=(60, len(WIDE)))
    times = current_rows()["time"][:60]
    both(pl.DataFrame(table, schema=list(WIDE)).insert_column(0, times).write_parquet)(watched)
    change(watched, columns=WIDE, forecasts=None, window={"length": "1d"})


MISTAKES = {
    "no stream file": Mistake(
        lambda w: w.file.unlink(), ("stream.yaml", "no such stream file", "tidegauge init")
    ),
    "stream file is a folder": Mistake(into_a_folder, ("stream.yaml", "cannot be read")),
    "not YAML": Mistake(
        lambda w: w.file.write_text("name: [sensors,\n"), ("stream.yaml:", "not valid YAML")
    ),
    "not a mapping": Mistake(
        lambda w: w.file.write_text("- sensors\n"), ("stream.yaml", "a mapping of keys")
    ),
    "empty stream file": Mistake(
        lambda w: w.file.write_text(""), ("stream.yaml", "a mapping of keys")
    ),
    "unknown key": Mistake(
        lambda w: change(w, windw={"length": "1d"}), ("'windw'", "did you mean 'window'?")
    ),
    "forecast target unknown": Mistake(
        lambda w: change(w, forecasts=[{"target": "s11"}]), ("'s11'", "did you mean 's1'?")
    ),
    "no source": Mistake(
        lambda w: change(w, source={"path": str(w.folder / "none-*.parquet")}),
        ("none-*.parquet", "no such file", "glob"),
        ("validate", "run"),
    ),
    "no reference": Mistake(
        lambda w: change(w, reference={"path": str(w.folder / "none.parquet")}),
        ("none.parquet", "no such file"),
        ("validate", "fit", "backtest"),
    ),
    "source is a folder": Mistake(
        lambda w: change(w, source={"path": str(w.folder)}),
        ("cannot be opened", "directory", "glob"),
        ("validate", "run"),
    ),
    "file system unknown": Mistake(
        lambda w: change(w, source={"path": "zz://bucket/x.parquet"}),
        ("zz://bucket/x.parquet", "cannot be listed"),
        ("validate", "run"),
    ),
    "empty file": Mistake(both(lambda path: path.write_bytes(b"")), ("is empty", ".parquet")),
    "no rows": Mistake(
        rewrite(lambda table: table.clear()), ("holds no rows", ".parquet"), ("fit", "run")
    ),
    "truncated Parquet": Mistake(
        both(lambda path: path.write_bytes(path.read_bytes()[:-500])),
        (".parquet", "cannot be read as parquet", "complete"),
    ),
    "missing column": Mistake(
        rewrite(lambda table: table.rename({"s4": "s44"})),
        ("no column 's4'", "did you mean 's44'?"),
        ("validate", "fit", "run", "backtest"),
    ),
    "missing time": Mistake(
        rewrite(lambda table: table.rename({"time": "times"})),
        ("no column 'time'", "did you mean 'times'?"),
    ),
    "column of lists": Mistake(
        rewrite(lambda table: table.with_columns(pl.concat_list("s1", "s2").alias("s4"))),
        ("'s4' holds", "list", "cannot be read as number"),
        ("fit", "run"),
    ),
    "column without a value": Mistake(
        rewrite(lambda table: table.with_columns(s4=pl.lit(None, pl.Float64))),
        ("'s4' has no value", "role: ignore"),
        ("fit",),
    ),
    "no usable row": Mistake(
        rewrite(lambda table: table.with_columns(s4=pl.lit("x"))),
        ("none of the 5,040 rows", "can be used"),
        ("fit",),
    ),
    "reference too short": Mistake(
        rewrite(lambda table: table.head(200)),
        ("reference.parquet", "holds 1.2 windows of 7d", "two are the least"),
        ("fit",),
    ),
    "too many features": Mistake(widen, ("1,200 features", "at most 500"), ("fit",)),
    "no baseline": Mistake(
        lambda w: w.baseline.rename(w.folder / "elsewhere"),
        ("stream.baseline", "no baseline", "tidegauge fit"),
        ("run",),
    ),
    "baseline of another stream": Mistake(
        lambda w: change(w, name="others"), ("belongs to", "'sensors'", "'others'"), ("run",)
    ),
    "stream changed since": Mistake(
        lambda w: change(w, window={"length": "14d"}),
        ("changed its window", "tidegauge fit"),
        ("run",),
    ),
    "newer baseline": Mistake(
        edit_baseline(
            "manifest.json",
            lambda text: text.replace(f'"version": {BASELINE_VERSION}', '"version": 99'),
        ),
        ("format version 99", "upgrade tidegauge"),
        ("run",),
    ),
    "changed baseline": Mistake(
        edit_baseline("encoder.json", lambda text: text + " "),
        ("missing or was changed", "fit it again"),
        ("run",),
    ),
    "incomplete baseline": Mistake(
        lambda w: next(w.baseline.glob("*/references.arrow")).unlink(),
        ("missing or was changed", "fit it again"),
        ("run",),
    ),
    "baseline is a file": Mistake(
        in_the_way("stream.baseline"), ("stream.baseline", "fit it again"), ("run",)
    ),
    "file in the way of the baseline": Mistake(
        in_the_way("stream.baseline"), ("stream.baseline", "cannot be written"), ("fit",)
    ),
    "file in the way of the run": Mistake(
        in_the_way("stream.run"), ("stream.run", "cannot be written"), ("run",)
    ),
    "file in the way of the findings": Mistake(
        in_the_way("stream.run/findings"),
        ("stream.run/findings", "cannot be written", "move it away"),
        ("run",),
    ),
    "folder in the way of the manifest": Mistake(
        lambda w: (w.run / "run.json").mkdir(parents=True),
        ("run.json", "cannot be written"),
        ("run",),
    ),
    "unknown runner": Mistake(
        as_it_is,
        ("--runner flinc", "did you mean 'flink'?"),
        ("fit", "run"),
        ("--runner", "flinc"),
    ),
    "runner lacks options": Mistake(
        as_it_is,
        ("--runner dataflow", "project", "after `--`"),
        ("fit", "run"),
        ("--runner", "dataflow"),
    ),
    "runner option unknown": Mistake(
        as_it_is,
        ("--direct_num_worker", "did you mean 'direct_num_workers'?"),
        ("fit", "run"),
        ("--", "--direct_num_worker=2"),
    ),
    "runner option of the wrong type": Mistake(
        as_it_is,
        ("--direct_num_workers", "invalid int value: 'two'"),
        ("fit", "run"),
        ("--", "--direct_num_workers=two"),
    ),
    "nothing to backtest": Mistake(
        lambda w: change(w, forecasts=None), ("'sensors'", "no `forecasts:`"), ("backtest",)
    ),
}
CASES = [
    pytest.param(mistake, verb, id=f"{verb}: {name}")
    for name, mistake in MISTAKES.items()
    for verb in mistake.verbs
]


@pytest.mark.parametrize(("mistake", "verb"), CASES)
def test_mistake_is_named_in_one_sentence(mistake: Mistake, verb: str, small: Watched) -> None:
    """The message names it, stdout is empty, the exit code 2; nothing new lies in the folder."""
    mistake.spoil(small)
    before = tree(small.folder)
    assert_refused(tidegauge(verb, small.file, *mistake.flags), *mistake.words)
    left = {name: held for name, held in tree(small.folder).items() if before.get(name, 0) != held}
    adopted = re.compile(
        r"stream\.run/(\.lock|\w+(/\w+\.parquet)?)"
    )  # of a run folder that was there
    assert not [name for name in left if not (small.run.is_dir() and adopted.fullmatch(name))]
    assert not list(small.folder.rglob(".staging"))


def test_mistakes_read_the_same_in_a_process_of_its_own(small: Watched) -> None:
    """A shell sees the code and the streams that the tests within this process see."""
    small.current.write_bytes(small.current.read_bytes()[:-500])
    done = in_process("run", small.file)
    assert_refused(done, "cannot be read as parquet")
    assert done.err.count("\n") == 1
    assert not small.run.exists()


def test_first_fit_that_fails_leaves_no_baseline_folder(small: Watched) -> None:
    """Where there was no baseline there is none after a failed fit; not even an empty folder."""
    small.baseline.rename(small.folder / "elsewhere")
    rewrite(lambda table: table.head(200))(small)
    assert_refused(tidegauge("fit", small.file), "two are the least")
    assert not small.baseline.exists()


@pytest.mark.parametrize("verb", ["fit", "run"])
def test_two_at_once_are_refused(verb: str, small: Watched) -> None:
    """The second to write a folder is told so at once, and the first is not disturbed."""
    folder = small.baseline if verb == "fit" else small.run
    folder.mkdir(exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / ".staging").mkdir()
        assert_refused(tidegauge(verb, small.file), str(folder), "another run is writing")
        assert (folder / ".staging").is_dir()
    assert tidegauge(verb, small.file).code == 0


@pytest.mark.parametrize("argv", [("report",), ("serve",), ("explain", "abc", "--run")])
def test_folder_that_is_no_run_is_refused(argv: tuple[str, ...], small: Watched) -> None:
    """A folder without a manifest, a file, and nothing at all are each named for what they are."""
    for folder, words in (
        (small.folder, "it has no run.json"),
        (small.current, "a file"),
        (small.folder / "none", "there is no such folder"),
    ):
        assert_refused(tidegauge(*argv, folder), str(folder), words, "tidegauge run")


def test_address_that_is_none_is_refused(finished: tuple[Watched, Outcome]) -> None:
    """`serve --listen nonsense` says how an address is written."""
    done = tidegauge("serve", finished[0].run, "--listen", "nonsense")
    assert_refused(done, "'nonsense'", "host:port")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--condition-on", "s11"), ("--condition-on s11", "did you mean 's1'?")),
        (("--condition-on", "time"), ("--condition-on time", "no such column")),
        ([part for name in SENSORS for part in ("--condition-on", name)], ("no column is left",)),
        (("--false-alarm-rate", "0"), ("--false-alarm-rate 0", "between 0 and 1")),
        (("--false-alarm-rate", "1"), ("--false-alarm-rate 1", "between 0 and 1")),
        (("--false-alarm-rate", "nan"), ("--false-alarm-rate nan", "between 0 and 1")),
        (("--method", "guess"), ("'guess'", "moments")),
    ],
)
def test_check_refuses_flags(
    flags: tuple[str, ...], words: tuple[str, ...], small: Watched
) -> None:
    """A flag with a value that cannot be is named, with what could be."""
    reference = small.folder / "reference.parquet"
    assert_refused(tidegauge("check", reference, small.current, *flags), *words)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda table: table.head(10), ("current table has 10 rows", "at least 40")),
        (lambda table: table.clear(), ("current.parquet", "no rows")),
        (lambda table: table.drop("s4"), ("current.parquet", "no column 's4'")),
    ],
    ids=["too few rows", "no rows", "missing column"],
)
def test_check_refuses_tables(
    spoil: Callable[[pl.DataFrame], pl.DataFrame], words: tuple[str, ...], small: Watched
) -> None:
    """A table that cannot be compared is named, with what it lacks."""
    spoil(pl.read_parquet(small.current)).write_parquet(small.current)
    reference = small.folder / "reference.parquet"
    assert_refused(tidegauge("check", reference, small.current, "--json"), *words)


def test_check_refuses_too_many_columns(small: Watched) -> None:
    """More columns than a conditional test takes are refused, with the number it takes."""
    widen(small)
    done = tidegauge("check", small.current, small.current)
    assert_refused(done, "1,200 features", "at most 500")


def test_init_refuses_what_it_cannot_draft(small: Watched) -> None:
    """No table, no such column: named with the nearest; a file that is there is not overwritten."""
    assert_refused(tidegauge("init", small.folder / "curent.parquet"), "did you mean 'current")
    assert_refused(tidegauge("init", small.current, "--time", "tme"), "did you mean 'time'?")
    assert_refused(tidegauge("init", small.current, "--key", "s11"), "did you mean 's1'?")
    before = small.file.read_text()
    assert_refused(tidegauge("init", small.current, "--out", small.file), "is there already")
    assert small.file.read_text() == before


# What is not the user's mistake, or not all of it: the run goes on, and counts.


def as_csv(watched: Watched, edit: Callable[[list[list[str]]], object]) -> None:
    """Write the current rows as CSV, edit lines of fields (the header is the first)."""
    text = current_rows().write_csv(datetime_format="%Y-%m-%dT%H:%M:%SZ")
    lines = [line.split(",") for line in text.splitlines()]
    edit(lines)
    path = watched.folder / "current.csv"
    path.write_text("".join(",".join(line) + "\n" for line in lines))
    change(watched, source={"path": str(path)})


def ran(watched: Watched) -> tuple[dict[str, int], dict[tuple[str, str | None], int], Outcome]:
    """Run; return the row counts, the rejects by reason and column, and what was said."""
    done = tidegauge("run", watched.file)
    assert done.code == 0, done.err
    run = open_run(watched.run)
    rows = {name: int(count) for name, count in run.manifest["rows"].items()}  # type: ignore[call-overload]
    assert rows["in"] == rows["used"] + rows["rejected"] + rows["late"]
    rejects = run.table("rejects").group_by("reason", "column").len()
    assert rejects["len"].sum() == rows["rejected"]
    return rows, {(reason, column): count for reason, column, count in rejects.rows()}, done


def not_tested(watched: Watched) -> pl.DataFrame:
    """Return the findings of the run that were not tested."""
    return open_run(watched.run).table("findings").filter(status="not_tested")


def test_ragged_lines_are_rejected_and_counted(small: Watched) -> None:
    """CSV lines with too few or too many fields are rejects; the shuffled sensor is still found."""

    def edit(lines: list[list[str]]) -> None:
        lines[5].append("1")
        lines[10] = ["a", "b"]
        del lines[20][-2:]

    as_csv(small, edit)
    rows, rejects, done = ran(small)
    assert rows["rejected"] == 3
    assert rejects == {("ragged", None): 3}
    assert f"feature_shift  {MOVED}" in done.out
    assert open_run(small.run).table("rejects")["row"].sort().to_list() == [4, 9, 19]


def test_wrong_types_are_rejected_and_counted(small: Watched) -> None:
    """A text for a number, an infinite number, a time that is none: one reject each."""

    def edit(lines: list[list[str]]) -> None:
        lines[5][3] = "abc"
        lines[7][2] = "1e400"
        lines[9][1] = "-inf"
        lines[11][0] = "yesterday"
        lines[13][0] = ""
        lines[15][4] = "NA"  # no value, which is none of them

    as_csv(small, edit)
    rows, rejects, _ = ran(small)
    assert rows == {"in": 1344, "used": 1339, "rejected": 5, "late": 0}
    assert rejects == {
        ("type", "s3"): 1,
        ("infinite", "s2"): 1,
        ("infinite", "s1"): 1,
        ("time", "time"): 2,
    }


def test_infinite_values_are_rejected_and_counted(small: Watched) -> None:
    """Infinite numbers of a Parquet file are rejects; NaN is no value."""
    place = pl.int_range(pl.len())
    table = current_rows().with_columns(
        s2=pl.when(place < 7).then(float("inf")).otherwise("s2"),
        s4=pl.when(place < 9).then(float("nan")).otherwise("s4"),
    )
    table.write_parquet(small.current)
    rows, rejects, _ = ran(small)
    assert rows["used"] == 1337
    assert rejects == {("infinite", "s2"): 7}
    summary = open_run(small.run).table("summaries").filter(column="s4")
    assert summary["nulls"].sum() == 2


def test_zones_may_be_mixed(small: Watched, finished: tuple[Watched, Outcome]) -> None:
    """The same instants in three zones, and without one, fall into the same windows."""

    def edit(lines: list[list[str]]) -> None:
        times = current_rows()["time"]
        for number, time in enumerate(times[:300], start=1):
            zone = ("Asia/Tokyo", "America/New_York", "UTC")[number % 3]
            local = pl.Series([time]).dt.convert_time_zone(zone)[0]
            lines[number][0] = local.isoformat()
        lines[301][0] = f"{times[300]:%Y-%m-%d %H:%M:%S}"

    as_csv(small, edit)
    rows, _, _ = ran(small)
    assert rows["rejected"] == 0
    given = open_run(small.run).table("findings").sort("id")
    assert given.equals(open_run(finished[0].run).table("findings").sort("id"))


def test_repeated_rows_are_not_tested(small: Watched) -> None:
    """A window whose rows are there twice is not tested, and the note says why; others are."""
    table = current_rows()
    pl.concat([table, table.head(2 * HOURS)]).write_parquet(small.current)
    rows, _, done = ran(small)
    assert rows["used"] == 1344 + 2 * HOURS
    skipped = not_tested(small)
    assert skipped["window_start"].n_unique() == 2
    assert skipped.height == 2 * (len(SENSORS) + 3)
    assert skipped["explanation"].str.contains("remove the repeated rows").all()
    assert "feature_shift: 2 windows were not tested: 336 rows" in done.err
    assert f"feature_shift  {MOVED}" in done.out


def test_window_of_one_row_is_not_tested(small: Watched) -> None:
    """A window with one row is not tested, and the note says how many rows it takes."""
    current_rows().head(HOURS + 1).write_parquet(small.current)
    _, _, done = ran(small)
    assert set(not_tested(small)["rows"]) == {1}
    assert "feature_shift: 1 window was not tested: the window has 1 rows" in done.err
    assert open_run(small.run).manifest["windows"] == 2


def test_outcomes_may_be_missing(small: Watched) -> None:
    """Windows without outcomes have forecasts that are not scored, and say so."""
    missing = pl.int_range(pl.len()) < 2 * HOURS
    current_rows().with_columns(s1=pl.when(missing).then(None).otherwise("s1")).write_parquet(
        small.current
    )
    _, _, done = ran(small)
    skipped = not_tested(small)
    assert set(skipped["monitor"]) == {"coverage", "pinball", "pit"}
    assert skipped["window_start"].n_unique() == 2
    assert "0 forecasts of the window have an outcome (168 have none yet)" in done.err
    forecasts = open_run(small.run).table("forecasts")
    assert forecasts["outcome"].null_count() == 2 * HOURS


def test_constant_column_is_noted_and_its_departure_found(small: Watched) -> None:
    """A sensor with one value in the reference is noted by fit; when it departs, it alarms."""
    both_constant = rewrite(lambda table: table.with_columns(s5=pl.lit(20.0)))
    both_constant(small)
    change(small, forecasts=None)
    noted = tidegauge("fit", small.file)
    assert noted.code == 0
    assert "note: column 's5' has one value in the reference" in noted.err
    table = pl.read_parquet(small.current)
    later = pl.int_range(pl.len()) >= 6 * HOURS
    table.with_columns(s5=pl.when(later).then(21.0).otherwise(20.0)).write_parquet(small.current)
    ran(small)
    alarms = open_run(small.run).table("findings").filter(pl.col("alarm"), subject="s5")
    assert alarms.height == 2


def test_key_with_a_short_reference_is_noted_and_left_out(small: Watched) -> None:
    """One key of a few rows does not keep the others from a baseline; it is not tested."""
    sites = {"north": 6000, "south": 12}

    def with_sites(table: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([table.head(n).with_columns(site=pl.lit(s)) for s, n in sites.items()])

    rewrite(with_sites)(small)
    change(small, forecasts=None, key=["site"])
    noted = tidegauge("fit", small.file)
    assert noted.code == 0, noted.err
    assert 'note: the reference of key {"site": "south"} is too short' in noted.err
    ran(small)
    assert set(not_tested(small)["key"]) == {'{"site": "south"}'}


def test_nothing_usable_is_counted(small: Watched) -> None:
    """A source of which every row is rejected gives a run with no window and all the rejects."""
    current_rows().with_columns(s4=pl.lit("x")).write_parquet(small.current)
    rows, rejects, done = ran(small)
    assert rows == {"in": 1344, "used": 0, "rejected": 1344, "late": 0}
    assert rejects == {("type", "s4"): 1344}
    assert "windows: 0; alarms: 0" in done.out


def test_compressed_csv_is_read(small: Watched, finished: tuple[Watched, Outcome]) -> None:
    """A gzipped CSV file is decompressed by its suffix; the format is named in the stream file."""
    as_csv(small, len)
    path = small.folder / "current.csv.gz"
    path.write_bytes(gzip.compress((small.folder / "current.csv").read_bytes()))
    change(small, source={"path": str(path), "format": "csv"})
    rows, _, _ = ran(small)
    assert rows["used"] == 1344
    given = open_run(small.run).table("findings").sort("id")
    assert given.equals(open_run(finished[0].run).table("findings").sort("id"))


ODD_NAMES = {
    "s1": 'the "first", or so',
    "s2": "two\nlines",
    "s3": " leading blank",
    "s4": "Temperatur in °C – 温度",
    "s5": "it's: {a} [b] #c",
    "s6": "null",
    "s7": "1e3",
    "s8": "__index",
}


@contextlib.contextmanager
def odd_stream(folder: Path) -> Iterator[Watched]:
    """Draft the stream file of a table with odd column names, and complete it."""
    table = pl.concat([pl.read_parquet(folder / "reference.parquet"), current_rows()])
    table = table.rename({**ODD_NAMES, "time": "the time"})
    table[: -8 * HOURS].write_csv(folder / "reference.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    table[-8 * HOURS :].write_csv(folder / "current.csv", datetime_format="%Y-%m-%dT%H:%M:%SZ")
    file = folder / "odd.yaml"
    done = tidegauge("init", folder / "reference.csv", "--out", file)
    assert done.code == 0, done.err
    text = file.read_text()
    start = text.index("source:")
    text = text[:start] + text[start:].replace("reference.csv", "current.csv", 1)
    text += f'forecasts: [{{"target": {json.dumps(ODD_NAMES["s1"])}}}]\n'
    file.write_text(text)
    yield Watched(folder)


def test_odd_column_names_pass_through_every_verb(small: Watched) -> None:
    """Quotes, line ends, commas, blanks and other scripts in names survive init to metrics."""
    from pipelines.serve.run_source import RunSource

    with odd_stream(small.folder) as odd:
        file, run = odd.folder / "odd.yaml", odd.folder / "odd.run"
        for argv in (("validate", file), ("fit", file), ("run", file), ("report", run)):
            done = tidegauge(*argv)
            assert done.code == 0, done.err
        findings = open_run(run).table("findings")
        assert set(findings.filter(monitor="feature_shift")["subject"]) == set(ODD_NAMES.values())
        alarms = findings.filter(pl.col("alarm"), monitor="feature_shift")
        assert alarms["subject"].to_list() == [ODD_NAMES[MOVED]]
        told = tidegauge("explain", alarms["id"][0], "--run", run)
        assert told.out.startswith(ODD_NAMES[MOVED])
        assert "Temperatur in °C – 温度" in (run / "report.html").read_text(encoding="utf-8")
        families = RunSource(run).families()
        labels = {sample.labels.get("feature") for one in families for sample in one.samples}
        assert ODD_NAMES[MOVED] in labels
        checked = tidegauge(
            "check", odd.folder / "reference.csv", odd.folder / "current.csv", "--json"
        )
        assert {one["subject"] for one in json.loads(checked.out)["findings"]} == set(
            ODD_NAMES.values()
        )


def test_stream_file_helper_is_plain_json(tmp_path: Path) -> None:
    """JSON is YAML: the helper's stream files are read as any other."""
    assert json.loads(stream_file(tmp_path).read_text())["name"] == "sensors"
