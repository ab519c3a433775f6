"""`tidegauge check`: its JSON, its inputs, and how little it needs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.small_streams import MOVED, ROOT, SENSORS, Watched, current_rows, tidegauge

FIELDS = ["monitor", "method", "subject", "statistic", "threshold", "p_value", "effect", "alarm"]
FIELDS += ["rank", "explanation", "kind"]
HEAVY = {"apache_beam", "lightgbm", "great_expectations", "matplotlib", "pandas", "scipy.stats"}


def week(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows around the shuffled week."""
    return table[600:]


WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    "parquet": lambda table, path: table.write_parquet(path),
    "csv": lambda table, path: table.write_csv(path),
    "arrow": lambda table, path: table.write_ipc(path),
    "jsonl": lambda table, path: table.with_columns(
        pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    ).write_ndjson(path),
}


@pytest.fixture(params=WRITERS)
def tables(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """Write the reference and the current rows in one of the formats."""
    return write(tmp_path, request.param)


def write(folder: Path, suffix: str) -> tuple[Path, Path]:
    """Write the small stream's tables in one format."""
    reference, current = folder / f"reference.{suffix}", folder / f"current.{suffix}"
    from tests.small_streams import reference_rows

    WRITERS[suffix](reference_rows(), reference)
    WRITERS[suffix](week(current_rows()), current)
    return reference, current


def test_json_has_exactly_this_shape(tables: tuple[Path, Path]) -> None:
    """One object on stdout, with these keys and types, whatever the tables' format."""
    done = tidegauge("check", *tables, "--json")
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    result = json.loads(done.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(result) == ["alarm", "rows", "false_alarm_rate", "findings"]
    assert result["alarm"] is True
    assert result["rows"] == {"reference": 5040, "current": 744, "rejected": 0}
    assert result["false_alarm_rate"] == 0.05
    findings = result["findings"]
    assert [list(one) for one in findings] == [FIELDS] * len(SENSORS)
    assert {one["subject"] for one in findings} == set(SENSORS)
    assert [one["rank"] for one in findings] == list(range(1, len(SENSORS) + 1))
    assert [one["subject"] for one in findings if one["alarm"]] == [MOVED]
    assert findings[0]["subject"] == MOVED
    for one in findings:
        assert (one["monitor"], one["method"]) == ("feature_shift", "moments")
        assert all(isinstance(one[name], float) for name in FIELDS[3:7])
        assert math.isclose(one["p_value"], 10 ** -one["statistic"], rel_tol=1e-6)
        assert isinstance(one["alarm"], bool)
        assert isinstance(one["explanation"], str)


def test_formats_agree(tmp_path: Path) -> None:
    """The four formats of the same tables give the same object."""
    told = {}
    for suffix in WRITERS:
        (tmp_path / suffix).mkdir()
        told[suffix] = tidegauge("check", *write(tmp_path / suffix, suffix), "--json").out
    assert len(set(told.values())) == 1


def test_time_is_left_out_with_a_note(finished: tuple[Watched, object]) -> None:
    """The column of times is not compared, and the note says so; stdout stays JSON."""
    folder = finished[0].folder
    done = tidegauge("check", folder / "reference.parquet", finished[0].current, "--json")
    assert "note: 'time' guessed to be the event time" in done.err
    assert "it is not tested" in done.err
    assert "time" not in {one["subject"] for one in json.loads(done.out)["findings"]}


def test_screen_names_the_sensor_and_why(finished: tuple[Watched, object]) -> None:
    """Without `--json` the moved feature stands first, with the reason."""
    folder = finished[0].folder
    done = tidegauge("check", folder / "reference.parquet", finished[0].current)
    assert "5,040 reference rows, 1,344 current rows, 0 rejected; 8 features tested" in done.out
    first = done.out.splitlines()[2].split()
    assert first[:2] == ["1", MOVED]
    assert "MOVED:" in first


def test_nothing_moved_is_said(finished: tuple[Watched, object]) -> None:
    """Of two halves of the reference nothing moved; `--fail-on-alarm` exits with 0."""
    table = pl.read_parquet(finished[0].folder / "reference.parquet")
    halves = (
        finished[0].folder.parent / "first.parquet",
        finished[0].folder.parent / "second.parquet",
    )
    table[:2520].write_parquet(halves[0])
    table[2520:].write_parquet(halves[1])
    done = tidegauge("check", *halves, "--fail-on-alarm")
    assert done.code == 0
    assert "no feature moved, given the others" in done.out


def test_alarm_exits_with_three_only_when_asked(finished: tuple[Watched, object]) -> None:
    """`--fail-on-alarm` changes the exit code, and nothing of what is said."""
    paths = finished[0].folder / "reference.parquet", finished[0].current
    plain = tidegauge("check", *paths, "--json")
    strict = tidegauge("check", *paths, "--json", "--fail-on-alarm")
    assert (plain.code, strict.code) == (0, 3)
    assert plain.out == strict.out


def test_seed_decides_the_permutations(finished: tuple[Watched, object]) -> None:
    """The same seed gives the same figures; another one other figures and the same name."""
    paths = finished[0].folder / "reference.parquet", finished[0].current
    first, again, other = (
        json.loads(tidegauge("check", *paths, "--json", "--seed", seed).out) for seed in "112"
    )
    assert first == again
    assert first != other
    assert first["findings"][0]["subject"] == other["findings"][0]["subject"] == MOVED


def test_conditions_explain_and_are_not_tested(finished: tuple[Watched, object]) -> None:
    """Columns given to `--condition-on` have no finding of their own."""
    paths = finished[0].folder / "reference.parquet", finished[0].current
    done = tidegauge("check", *paths, "--json", "--condition-on", "s1", "--condition-on", "s2")
    subjects = {one["subject"] for one in json.loads(done.out)["findings"]}
    assert subjects == set(SENSORS) - {"s1", "s2"}


def test_rejected_rows_are_counted(finished: tuple[Watched, object], tmp_path: Path) -> None:
    """Ragged lines and infinite numbers of either table are left out and counted."""
    path = tmp_path / "current.csv"
    lines = current_rows().write_csv().splitlines()
    lines[3] += ",1"
    lines[5] = lines[5].rsplit(",", 1)[0] + ",inf"
    path.write_text("\n".join(lines))
    done = tidegauge("check", finished[0].folder / "reference.parquet", path, "--json")
    rows = json.loads(done.out)["rows"]
    assert rows == {"reference": 5040, "current": 1342, "rejected": 2}


def test_check_loads_nothing_heavy(finished: tuple[Watched, object]) -> None:
    """A process that has checked two tables has loaded no Beam, no LightGBM and the like."""
    program = (
        "import sys\n"
        "from pipelines.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(*sorted(set(sys.modules) & {HEAVY!r}), file=sys.stderr)"
    )
    paths = finished[0].folder / "reference.parquet", finished[0].current
    done = subprocess.run(
        [sys.executable, "-c", program, "check", *paths, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["alarm"]
    assert done.stderr.splitlines()[-1] == ""
