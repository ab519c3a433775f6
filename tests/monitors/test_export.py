from __future__ import annotations

import dataclasses
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from prometheus_client import Metric as Family
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitors.catalogue import CATALOGUE, TOP_FEATURES
from monitors.export import collect, collect_findings, push, push_completion, write_textfile
from monitors.snapshot import RunSnapshot
from pipelines.run_folder import open_run
from schemas.errors import OutputError
from schemas.stream import Stream
from tests.run_folders import FEATURES, write_run_folder
from tests.servers import free_port, read, running

NAME = "nyc-weather"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> RunSnapshot:
    """Return the snapshot of a run whose last window has an alarm."""
    folder = write_run_folder(tmp_path_factory.mktemp("run"), weeks=12, shifted_week=-1)
    return open_run(folder).snapshot()


def text_of(snapshot: RunSnapshot, path: Path, allow: tuple[str, ...] = ()) -> str:
    """Return the exposition of a snapshot."""
    write_textfile(snapshot, path / "tidegauge.prom", allow)
    return (path / "tidegauge.prom").read_text(encoding="utf-8")


def values(families: list[Family], name: str) -> dict[tuple[str, ...], float]:
    """Return the series of one name by the values of their labels but the stream's."""
    return {
        tuple(v for k, v in sorted(sample.labels.items()) if k != "stream"): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "tidegauge_" + name
    }


def with_features(snapshot: RunSnapshot, count: int) -> RunSnapshot:
    """Return the snapshot with that many features in its latest window."""
    return with_latest(snapshot, wide_findings(count))


def with_latest(snapshot: RunSnapshot, latest: pl.DataFrame) -> RunSnapshot:
    """Return the snapshot with other findings in its latest window."""
    found = dataclasses.replace(snapshot.found, latest=latest)
    return dataclasses.replace(snapshot, found=found)


def wide_findings(count: int, key: str = "{}") -> pl.DataFrame:
    """Return one finding for each of so many features of a key."""
    return pl.DataFrame(
        {
            "id": [f"{key}-{i}" for i in range(count)],
            "monitor": "feature_shift",
            "key": key,
            "subject": [f"x{i:04}" for i in range(count)],
            "status": "tested",
            "statistic": np.linspace(0, 5, count),
            "threshold": 4.9,
            "alarm": False,
            "explanation": "",
            "kind": pl.Series([None] * count, dtype=pl.String),
            "since": pl.Series([None] * count, dtype=pl.Datetime("us", "UTC")),
        }
    )


def test_every_metric_of_the_catalogue_is_exported_and_no_other(snapshot: RunSnapshot) -> None:
    """Names, types and labels of what is exported are the catalogue's, and each has a series."""
    exported = {
        (family.name + "_total" if family.type == "counter" else family.name): (
            family.type,
            tuple(sorted({label for s in family.samples for label in s.labels} - {"le"})),
            family.documentation,
            {sample.name for sample in family.samples},
        )
        for family in collect(snapshot)
    }
    assert exported == {
        metric.name: (metric.kind, tuple(sorted(metric.labels)), metric.help, set(metric.series))
        for metric in CATALOGUE
    }


def test_exposition_parses_back(snapshot: RunSnapshot, tmp_path: Path) -> None:
    """What is written is read back by the official parser, series for series."""
    written = list(text_string_to_metric_families(text_of(snapshot, tmp_path)))
    assert [f.samples for f in written] == [f.samples for f in collect(snapshot)]


def test_rows_in_are_the_sum_of_the_outcomes(snapshot: RunSnapshot) -> None:
    """Rows used, rejected and late add up to the rows read."""
    records = values(collect(snapshot), "records_total")
    assert set(records) == {("used",), ("rejected",), ("late",)}
    assert sum(records.values()) == snapshot.manifest["rows"]["in"]
    assert sum(values(collect(snapshot), "dead_letters_total").values()) == records[("rejected",)]


def test_alarm_of_the_latest_window_is_active(snapshot: RunSnapshot) -> None:
    """The monitor that alarmed is active, its evidence over its threshold; the others are at 0."""
    families = collect(snapshot)
    monitors = ["coverage", "feature_shift", "pinball", "pit"]
    assert values(families, "alarm_active") == {(m,): float(m == "feature_shift") for m in monitors}
    assert values(families, "alarms_total") == {(m,): float(m == "feature_shift") for m in monitors}
    assert values(families, "drift_log_evidence")[("feature_shift",)] == 41.7
    assert values(families, "drift_log_evidence_threshold")[("feature_shift",)] == 2.6
    assert values(families, "features_over_threshold") == {(): 1}
    assert values(families, "features_tested") == {(): len(FEATURES)}


def test_allowed_false_alarms_are_the_budget_over_the_windows(snapshot: RunSnapshot) -> None:
    """One per year allows 12 / 52 over twelve weeks."""
    allowed = values(collect(snapshot), "false_alarms_allowed")
    assert allowed == {(): pytest.approx(12 / 52)}


def test_alarm_of_an_earlier_window_is_counted_and_not_active(tmp_path: Path) -> None:
    """An alarm that is over stays in the count of the run."""
    families = collect(open_run(write_run_folder(tmp_path, weeks=5, shifted_week=2)).snapshot())
    assert values(families, "alarms_total")[("feature_shift",)] == 1
    assert values(families, "alarm_active")[("feature_shift",)] == 0


def test_evidence_is_that_of_the_subject_nearest_its_threshold(snapshot: RunSnapshot) -> None:
    """Where thresholds differ, the evidence and the threshold are those of one subject."""
    two = wide_findings(2).with_columns(
        statistic=pl.Series([5.0, 3.0]), threshold=pl.Series([9.0, 3.5])
    )
    families = collect(with_latest(snapshot, two))
    assert values(families, "drift_log_evidence")[("feature_shift",)] == 3.0
    assert values(families, "drift_log_evidence_threshold")[("feature_shift",)] == 3.5


def test_features_of_all_keys_share_a_series(snapshot: RunSnapshot) -> None:
    """A feature's score is its strongest over the keys, and it is counted once."""
    one = wide_findings(3)
    other = one.with_columns(key=pl.lit('{"k":"b"}'), statistic=pl.Series([6.0, 0.0, 0.0]))
    families = collect(with_latest(snapshot, pl.concat([one, other])))
    assert values(families, "features_tested") == {(): 3}
    assert values(families, "feature_drift_top_score") == {
        ("x0000",): 6,
        ("x0001",): 2.5,
        ("x0002",): 5,
    }


def test_only_top_features_and_those_allowed_have_a_series(snapshot: RunSnapshot) -> None:
    """The number of series does not grow with the number of features; what is left out is told."""
    families = collect(with_features(snapshot, 5000), allow=["x0003", "x4999", "no such feature"])
    top = values(families, "feature_drift_top_score")
    wanted = {(f"x{i:04}",) for i in range(5000 - TOP_FEATURES, 5000)} | {("x0003",)}
    assert set(top) == wanted
    assert values(families, "feature_series_dropped") == {(): 5000 - TOP_FEATURES - 1}
    assert sum(len(family.samples) for family in families) < 100


def test_series_do_not_grow_with_keys_and_features(snapshot: RunSnapshot) -> None:
    """Half a million findings, of 500 keys by 1,000 features, have as many series as a few."""
    keys = [wide_findings(1000, key=f'{{"k":{i}}}') for i in range(500)]
    families = collect(with_latest(snapshot, pl.concat(keys)))
    assert len(values(families, "feature_drift_top_score")) == TOP_FEATURES
    assert values(families, "feature_series_dropped") == {(): 1000 - TOP_FEATURES}
    assert values(families, "keys_tested") == {(): 500}
    assert sum(len(family.samples) for family in families) < 100


def test_findings_alone_are_exported_as_those_of_a_run(snapshot: RunSnapshot) -> None:
    """The families made of findings are the same, value for value; the others are empty."""
    whole = collect(snapshot)
    alone = collect_findings(
        snapshot.found,
        Stream.model_validate(snapshot.manifest["stream"]),
        closed=12,
        committed=datetime.fromisoformat(snapshot.manifest["finished"]),
    )
    assert [family.name for family in alone] == [family.name for family in whole]
    pairs = [(a, b) for a, b in zip(alone, whole, strict=True) if a.samples]
    assert all(a.samples == b.samples for a, b in pairs)
    assert {a.name.removeprefix("tidegauge_") for a, _ in pairs} == {
        "alarms", "alarm_active", "alarm_info", "false_alarms_allowed", "drift_log_evidence",
        "drift_log_evidence_threshold", "feature_drift_score", "feature_drift_top_score",
        "keys_tested", "keys_alarming", "features_tested", "features_over_threshold",
        "feature_series_dropped", "findings_revised", "windows_closed", "window_length_seconds",
        "watermark_timestamp_seconds", "last_commit_timestamp_seconds",
    }  # fmt: skip


def test_micro_batches_are_counted(snapshot: RunSnapshot) -> None:
    """The manifest's commits are a counter, beside the time of the last one."""
    families = collect(dataclasses.replace(snapshot, manifest={**snapshot.manifest, "ticks": 77}))
    assert values(families, "ticks_total") == {(): 77}
    assert values(families, "last_commit_timestamp_seconds") == {(): 1388469612.3}


def test_monitor_that_is_off_has_no_series(snapshot: RunSnapshot) -> None:
    """A monitor switched off in the stream file is not exported as quiet."""
    stream = json.loads(json.dumps(snapshot.manifest["stream"]))
    stream["monitors"] |= {"feature_shift": False, "pit": False, "expectations": False}
    families = collect(
        dataclasses.replace(
            with_latest(snapshot, snapshot.found.latest.clear()),
            manifest={**snapshot.manifest, "stream": stream},
            expectations=snapshot.expectations.clear(),
        )
    )
    assert set(values(families, "alarm_active")) == {("coverage",), ("pinball",)}
    assert values(families, "feature_drift_score_count") == {}
    assert values(families, "features_tested") == {}
    assert values(families, "contract_checks_total") == {}


def test_hostile_names_are_escaped(snapshot: RunSnapshot, tmp_path: Path) -> None:
    """A column name with quotes, backslashes and line ends cannot forge a series."""
    name = 'x"} 1\ntidegauge_forged{a="\\'
    latest = wide_findings(1).with_columns(subject=pl.lit(name))
    text = text_of(with_latest(snapshot, latest), tmp_path)
    assert not any(line.startswith("tidegauge_forged") for line in text.splitlines())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["tidegauge_feature_drift_top_score"].samples[0].labels["feature"] == name


def test_exposition_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    """What a small run looks like, exactly; helps are the catalogue's, the middle is numbers."""
    run = open_run(write_run_folder(tmp_path / "run", weeks=2, shifted_week=0))
    text = text_of(run.snapshot(), tmp_path)
    assert text == text_of(run.snapshot(), tmp_path)
    lines = [line for line in text.splitlines() if not line.startswith("# HELP")]
    assert lines[:5] == [
        "# TYPE tidegauge_alarms_total counter",
        'tidegauge_alarms_total{monitor="coverage",stream="nyc-weather"} 0.0',
        'tidegauge_alarms_total{monitor="feature_shift",stream="nyc-weather"} 1.0',
        'tidegauge_alarms_total{monitor="pinball",stream="nyc-weather"} 0.0',
        'tidegauge_alarms_total{monitor="pit",stream="nyc-weather"} 0.0',
    ]
    assert lines[-18:] == [
        "# TYPE tidegauge_watermark_timestamp_seconds gauge",
        'tidegauge_watermark_timestamp_seconds{stream="nyc-weather"} 1.3587264e+09',
        "# TYPE tidegauge_window_length_seconds gauge",
        'tidegauge_window_length_seconds{stream="nyc-weather"} 604800.0',
        "# TYPE tidegauge_findings_revised_total counter",
        'tidegauge_findings_revised_total{stream="nyc-weather"} 0.0',
        "# TYPE tidegauge_ticks_total counter",
        'tidegauge_ticks_total{stream="nyc-weather"} 1.0',
        "# TYPE tidegauge_last_commit_timestamp_seconds gauge",
        'tidegauge_last_commit_timestamp_seconds{stream="nyc-weather"} 1.3884696123e+09',
        "# TYPE tidegauge_batch_last_success_timestamp_seconds gauge",
        'tidegauge_batch_last_success_timestamp_seconds{stream="nyc-weather"} 1.3884696123e+09',
        "# TYPE tidegauge_batch_last_completion_timestamp_seconds gauge",
        'tidegauge_batch_last_completion_timestamp_seconds{stream="nyc-weather"} 1.3884696123e+09',
        "# TYPE tidegauge_batch_duration_seconds gauge",
        'tidegauge_batch_duration_seconds{stream="nyc-weather"} 12.3',
        "# TYPE tidegauge_baseline_info gauge",
        'tidegauge_baseline_info{baseline="9f3c2a7be4d1",stream="nyc-weather"} 1.0',
    ]


def test_text_file_is_replaced_whole_and_readable_by_others(
    snapshot: RunSnapshot, tmp_path: Path
) -> None:
    """The file takes the old one's place by a rename, and no temporary file is left."""
    old = tmp_path / "tidegauge.prom"
    old.write_text("old")
    inode = old.stat().st_ino
    text_of(snapshot, tmp_path)
    assert old.stat().st_ino != inode
    assert old.stat().st_mode & 0o444 == 0o444
    assert [path.name for path in tmp_path.iterdir()] == ["tidegauge.prom"]


def test_text_file_that_cannot_be_written_is_an_output_error(
    snapshot: RunSnapshot, tmp_path: Path
) -> None:
    """A missing folder is named; a folder in the file's place leaves no temporary file."""
    with pytest.raises(OutputError, match=r"nowhere/x\.prom: the metrics cannot be written"):
        write_textfile(snapshot, tmp_path / "nowhere" / "x.prom")
    (tmp_path / "x.prom").mkdir()
    with pytest.raises(OutputError, match=r"x\.prom: the metrics cannot be written"):
        write_textfile(snapshot, tmp_path / "x.prom")
    assert [path.name for path in tmp_path.iterdir()] == ["x.prom"]


@contextmanager
def gateway(status: int, says: str) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """Answer every request with a status and a text; give the address and the requests."""
    requests: list[tuple[str, str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((self.command, self.path, body))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(says.encode())

        do_PUT = do_POST = answer  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def test_push_replaces_the_group_of_the_stream(snapshot: RunSnapshot) -> None:
    """A successful run is PUT under job and stream, without timestamps or an instance."""
    with gateway(200, "") as (url, requests):
        push(snapshot, url)
    ((method, path, body),) = requests
    assert (method, path) == ("PUT", f"/metrics/job/tidegauge/stream/{NAME}")
    assert all(
        len(line.rsplit("} ", 1)[1].split()) == 1
        for line in body.decode().splitlines()
        if line[0] != "#"
    )


def test_push_of_a_completion_adds_one_series(snapshot: RunSnapshot) -> None:
    """A failed run is POSTed, which leaves the last success as it was."""
    with gateway(200, "") as (url, requests):
        push_completion(NAME, datetime(2014, 1, 1, tzinfo=UTC), url)
    ((method, path, body),) = requests
    assert (method, path) == ("POST", f"/metrics/job/tidegauge/stream/{NAME}")
    samples = [line for line in body.decode().splitlines() if not line.startswith("#")]
    assert samples == [
        f'tidegauge_batch_last_completion_timestamp_seconds{{stream="{NAME}"}} 1.3885344e+09'
    ]


def test_gateway_that_refuses_is_an_output_error(snapshot: RunSnapshot) -> None:
    """The error holds what the gateway said."""
    with (
        gateway(400, "pushed metrics are invalid") as (url, _),
        pytest.raises(OutputError, match="refused the metrics: 400 pushed metrics are invalid"),
    ):
        push(snapshot, url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://[bad", "http://127.0.0.1:x"])
def test_gateway_that_is_not_there_is_an_output_error(snapshot: RunSnapshot, url: str) -> None:
    """No connection, or no address, names the address and the key of the stream file."""
    with pytest.raises(OutputError, match=r"no Pushgateway answers: .*; check `pushgateway:`"):
        push(snapshot, url.format(port=free_port()))


@pytest.mark.integration
def test_exposition_passes_promtool(snapshot: RunSnapshot) -> None:
    """`promtool check metrics` finds nothing to say."""
    text = generate_latest(type("All", (), {"collect": lambda _: collect(snapshot)})())
    check = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, b"", b"")


@pytest.mark.integration
def test_pushgateway_keeps_the_last_success_after_a_failure(snapshot: RunSnapshot) -> None:
    """A real gateway takes the run, and the completion of a later failure beside it."""
    with running("prometheus-pushgateway", ready="/-/ready") as url:
        push(snapshot, url)
        push(snapshot, url)
        push_completion(NAME, datetime(2014, 1, 1, tzinfo=UTC), url)
        families = list(text_string_to_metric_families(read(f"{url}/metrics")))
    assert values(families, "batch_last_completion_timestamp_seconds") == {
        ("", "tidegauge"): 1.3885344e9
    }
    assert values(families, "batch_last_success_timestamp_seconds") == {
        ("", "tidegauge"): 1388469612.3
    }
    assert len(values(families, "feature_drift_top_score")) == len(FEATURES)
