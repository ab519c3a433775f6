"""The command line is what the README says, says what it does, and only where it should."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from pipelines.cli import app, default_folder
from schemas.stream import Stream
from schemas.stream_file import load_stream
from tests.small_streams import CURRENT_WEEKS, ROOT, Outcome, Watched, tidegauge

#: verb: (arguments in order, flags); `*` after a name: may be given again
CONTRACT = {
    "init": (["TABLE"], {"--out", "--time", "--key*"}),
    "validate": (["STREAM.yaml"], set()),
    "fit": (["STREAM.yaml", "-- RUNNER OPTIONS*"], {"--baseline", "--runner", "--since"}),
    "run": (
        ["STREAM.yaml", "-- RUNNER OPTIONS*"],
        {"--baseline", "--out", "--runner", "--follow", "--every", "--anew", "--fail-on-alarm"},
    ),
    "check": (
        ["REFERENCE", "CURRENT"],
        {
            "--method",
            "--false-alarm-rate",
            "--condition-on*",
            "--lag*",
            "--seed",
            "--json",
            "--fail-on-alarm",
        },
    ),
    "backtest": (["STREAM.yaml"], {"--json"}),
    "explain": (["FINDING_ID"], {"--run", "--baseline"}),
    "report": (["RUN_DIR"], {"--out", "--baseline"}),
    "serve": (
        ["RUN_DIR|STREAM.yaml"],
        {"--listen", "--feature*", "--wait", "--tls-certificate", "--tls-key", "--users"}
        | {"--url", "--baseline"},
    ),
    "compare-at": (
        ["TIME", "TABLE|STREAM.yaml"],
        {"--time", "--column*", "--every", "--season", "--key*", "--false-alarm-rate"}
        | {"--seed", "--json", "--out", "--fail-on-alarm"},
    ),
    "replay": (["TABLE", "STREAM.yaml"], {"--speed"}),
    "demo": ([], {"--out"}),
    "schema": ([], set()),
}


def test_verbs_and_flags_are_those_of_the_contract() -> None:
    """No verb, argument or flag more or less than is documented."""
    found = {}
    for verb, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        arguments, flags = [], set()
        for one in command.params:
            again = "*" if one.multiple or one.nargs == -1 else ""
            if one.param_type_name == "argument":
                arguments.append(str(one.metavar) + again)
            else:
                assert len(one.opts) == 1, one.opts
                flags.add(one.opts[0] + again)
        found[verb] = (arguments, flags)
    assert found == CONTRACT


@pytest.mark.parametrize("verb", ["", *CONTRACT])
def test_help_says_what_a_verb_does(verb: str) -> None:
    """`--help` prints to stdout and exits with 0."""
    done = tidegauge(*verb.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: tidegauge {verb}".rstrip())


@pytest.mark.parametrize(
    "argv", [(), ("runn",), ("run", "x.yaml", "--fail-on-alarms"), ("report",)]
)
def test_wrong_usage_exits_with_two_and_says_nothing_on_stdout(argv: tuple[str, ...]) -> None:
    """A verb, flag or argument that is not, or is missing, is a mistake of the user."""
    done = tidegauge(*argv)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_schema_is_that_of_the_stream_file(finished: tuple[Watched, Outcome]) -> None:
    """`schema` prints one JSON Schema that knows the stream file's keys, and takes it."""
    schema = json.loads(tidegauge("schema").out)
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == set(Stream.model_fields)
    assert schema["additionalProperties"] is False
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema)
    document = json.loads(finished[0].file.read_text())
    assert not list(validator.iter_errors(document))
    assert list(validator.iter_errors({**document, "windw": {}}))


def test_default_folders_stand_beside_the_stream_file() -> None:
    """weather.yaml has weather.baseline and weather.run, in its own folder."""
    assert default_folder(Path("a/weather.yaml"), "baseline") == Path("a/weather.baseline")
    assert default_folder(Path("a/nyc.weather.yaml"), "run") == Path("a/nyc.weather.run")


def test_folders_may_be_named(small: Watched, tmp_path: Path) -> None:
    """`--baseline` and `--out` put the baseline, the run and the report elsewhere."""
    stream = json.loads(small.file.read_text())
    small.file.write_text(json.dumps({**stream, "forecasts": []}))
    baseline, run, page = tmp_path / "b", tmp_path / "deep" / "r", tmp_path / "page.html"
    assert tidegauge("fit", small.file, "--baseline", baseline).code == 0
    done = tidegauge("run", small.file, "--baseline", baseline, "--out", run)
    assert f"in {run}" in done.out
    done = tidegauge("report", run, "--out", page)
    assert done.out == f"{page}\n"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not small.run.exists()


def test_drafted_stream_file_is_valid_and_not_overwritten(small: Watched, tmp_path: Path) -> None:
    """`init` to a file says what next; to stdout it prints the same; it overwrites nothing."""
    file = tmp_path / "drafted.yaml"
    done = tidegauge("init", small.current, "--out", file, "--time", "time")
    assert f"tidegauge validate {file}" in done.out
    assert tidegauge("validate", file).out.endswith(f"{file}: valid\n")
    printed = tmp_path / "printed.yaml"
    printed.write_text(tidegauge("init", small.current, "--time", "time").out)
    assert load_stream(printed) == load_stream(file)
    assert tidegauge("init", small.current, "--out", file).code == 2


def test_key_may_be_given_to_init(tmp_path: Path, small: Watched) -> None:
    """`init --key a --key b` names both."""
    import polars as pl

    table = pl.read_parquet(small.current).with_columns(site=pl.lit("x"), unit=pl.lit("y"))
    table.write_parquet(tmp_path / "t.parquet")
    done = tidegauge("init", tmp_path / "t.parquet", "--key", "site", "--key", "unit")
    assert "key: [site, unit]" in done.out


def test_progress_shows_on_a_terminal_only(small: Watched) -> None:
    """On a terminal stderr says what is going on; in a pipe it is empty; stdout is the same."""
    primary, secondary = pty.openpty()
    argv = [sys.executable, "-c", "from pipelines.cli import main; main()", "run", str(small.file)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=secondary, env=env) as process:
        os.close(secondary)
        assert process.stdout is not None
        out = process.stdout.read().decode()
        shown = read_all(primary)
    assert process.returncode == 0
    assert "judging the windows" in shown
    assert f"windows: {CURRENT_WEEKS}" in out
    assert "scoring" not in out
    assert "\x1b" not in out
    piped = tidegauge("run", small.file)
    assert piped.err == ""
    assert piped.out == out


def read_all(terminal: int) -> str:
    """Return what was written to a terminal; its end is an error on Linux."""
    parts = []
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(terminal)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(parts).decode())


def test_long_lines_are_not_cut_in_a_pipe(finished: tuple[Watched, Any]) -> None:
    """An alarm stands on one line, however long, for grep to find it whole."""
    lines = [line for line in finished[1].out.splitlines() if "feature_shift" in line]
    assert len(lines) == 1
    assert lines[0].endswith("here")
    assert len(lines[0]) > 80


def test_closed_pipe_ends_without_a_traceback(finished: tuple[Watched, Outcome]) -> None:
    """`tidegauge … | head -1` ends in silence."""
    argv = [sys.executable, "-c", "from pipelines.cli import main; main()", "schema"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
