from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from monitors.baseline import MANIFEST, Baseline, check_fits
from monitors.baseline_folder import CURRENT, load_baseline, save_baseline
from monitors.forecasting import forecast_rows
from monitors.gram import profile
from monitors.judge import judge
from monitors.summary import summarise
from monitors.window import WindowPart
from schemas.errors import BaselineError, OutputError
from schemas.records import Finding, WindowKey
from schemas.stream import Stream
from tests.small_streams import HOURS, Outcome, Watched
from transforms.contract import ROW


@pytest.fixture(scope="module")
def baseline(fitted: tuple[Watched, Outcome]) -> Baseline:
    """Return the baseline of the small stream, forecaster and all."""
    return load_baseline(fitted[0].baseline)


def judged(baseline: Baseline, watched: Watched) -> list[Finding]:
    """Return what is found in the first week of the small stream."""
    rows = pq.read_table(watched.current).slice(0, HOURS)
    rows = rows.append_column(ROW, [np.arange(HOURS)])
    stream = baseline.stream
    part = WindowPart(
        profile(baseline.encoder, rows),
        summarise(rows, stream.columns),
        {t: forecast_rows(baseline, stream, t, rows, "{}", "f")[1] for t in baseline.forecasters},
    )
    return list(judge(baseline, stream, WindowKey("{}", None, None, 0), part))


def test_a_baseline_reads_back_and_judges_to_the_last_bit(
    baseline: Baseline, fitted: tuple[Watched, Outcome], tmp_path: Path
) -> None:
    """Encoder, block profiles, nulls, summaries and forecasters."""
    saved = save_baseline(baseline, tmp_path / "b")
    again = load_baseline(tmp_path / "b")
    assert again.id == saved.id == baseline.id
    assert again.summary == baseline.summary
    assert again.stream == baseline.stream
    assert again.span == baseline.span
    one, other = baseline.references["{}"], again.references["{}"]
    np.testing.assert_array_equal(other.grams, one.grams)
    np.testing.assert_array_equal(other.counts, one.counts)
    np.testing.assert_array_equal(other.numbers, one.numbers)
    assert judged(again, fitted[0]) == judged(baseline, fitted[0])


def test_the_same_reference_has_the_same_id_and_another_has_another(
    baseline: Baseline, tmp_path: Path
) -> None:
    """The id is a hash of what was learnt."""
    assert save_baseline(baseline, tmp_path / "a").id == save_baseline(baseline, tmp_path / "b").id
    other = replace(baseline, span={**baseline.span, "rows": 1})
    assert save_baseline(other, tmp_path / "c").id != baseline.id


@pytest.fixture
def folder(baseline: Baseline, tmp_path: Path) -> Path:
    """Return a folder with the baseline."""
    save_baseline(baseline, tmp_path / "b")
    return tmp_path / "b"


def version(folder: Path) -> Path:
    """Return the current version of a baseline folder."""
    return folder / (folder / CURRENT).read_text().strip()


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Replace a text of a file of the baseline."""

    def change(folder: Path) -> None:
        file = version(folder) / name
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return change


def flip(folder: Path) -> None:
    """Change one bit of the block profiles."""
    file = version(folder) / "references.arrow"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def swap(folder: Path) -> None:
    """Let the manifest vouch for a changed file."""
    change = edit("about.json", '"name": "sensors"', '"name": "another"')
    before = json.loads((version(folder) / MANIFEST).read_text())["files"]["about.json"]
    change(folder)
    now = hashlib.sha256((version(folder) / "about.json").read_bytes()).hexdigest()
    edit(MANIFEST, before, now)(folder)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (flip, "a file of the baseline is missing or was changed"),
        (swap, "a file of the baseline is missing or was changed"),
        (edit("encoder.json", "s1", "s9"), "a file of the baseline is missing or was changed"),
        (lambda f: (version(f) / "keys.json").unlink(), "is missing or was changed"),
        (lambda f: (version(f) / "more.json").write_text("{}"), "is missing or was changed"),
        (lambda f: (f / CURRENT).unlink(), "there is no baseline here; `tidegauge fit"),
        (lambda f: (f / CURRENT).write_text("elsewhere"), "there is no baseline here"),
        (edit(MANIFEST, '"version": 4', '"version": 5'), "format version 5, this program reads 4"),
        (lambda f: (version(f) / MANIFEST).write_text("{"), "cannot be read"),
        (lambda f: (version(f) / MANIFEST).write_text("[]"), "cannot be read"),
        (lambda f: (version(f) / MANIFEST).write_text('{"version": 4}'), "was changed"),
    ],
)
def test_a_baseline_that_is_not_whole_is_one_error_that_says_what_to_do(
    folder: Path, spoil: Callable[[Path], object], says: str
) -> None:
    """Nothing is ever judged by half a baseline."""
    spoil(folder)
    with pytest.raises(BaselineError) as caught:
        load_baseline(folder)
    assert says in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "fit" in str(caught.value)


def test_fitting_again_mends_a_baseline_that_is_not_whole(baseline: Baseline, folder: Path) -> None:
    """Also where only its manifest was lost."""
    for spoil in (flip, lambda f: (version(f) / MANIFEST).write_text("{")):
        spoil(folder)
        save_baseline(baseline, folder)
        assert load_baseline(folder).id == baseline.id


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_a_save_that_is_killed_leaves_the_old_baseline_current(
    baseline: Baseline, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Killed while files are written, or when they are about to be renamed."""

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "write":
            patch.setattr(os, "fsync", killed)
        else:
            patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_baseline(replace(baseline, span={"rows": 1}), folder)
    assert load_baseline(folder).span == baseline.span
    assert save_baseline(replace(baseline, span={"rows": 1}), folder).id != baseline.id
    assert load_baseline(folder).span == {"rows": 1}


def test_saving_what_is_current_does_not_touch_it(
    baseline: Baseline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in use, and a kill in between must not leave nothing."""
    file = version(folder) / "encoder.json"
    before = file.stat().st_ino
    save_baseline(baseline, folder)
    assert file.stat().st_ino == before
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_cannot_be_written_is_the_users_to_mend(
    baseline: Baseline, tmp_path: Path
) -> None:
    """Here a file stands where the folder would be."""
    (tmp_path / "b").write_text("")
    with pytest.raises(OutputError, match="the baseline cannot be written"):
        save_baseline(baseline, tmp_path / "b")


def other(stream: Stream, **parts: object) -> Stream:
    """Return a stream with some parts replaced."""
    return Stream.model_validate(stream.model_dump() | parts)


def test_a_baseline_fits_its_stream_whatever_its_budget_and_sinks(baseline: Baseline) -> None:
    """What it was not made from may change."""
    stream = other(baseline.stream, alarms={"false": "1 per 90d"}, sinks={"textfile": "x.prom"})
    check_fits(baseline, stream, Path("b"))


def test_the_baseline_of_another_stream_is_refused_by_name(baseline: Baseline) -> None:
    """And `--baseline` is named."""
    with pytest.raises(BaselineError, match="belongs to the stream 'sensors', not to 'tides'"):
        check_fits(baseline, other(baseline.stream, name="tides"), Path("b"))


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"window": {"length": "14d"}}, "changed its window"),
        ({"calendar": ["hour_of_day"]}, "changed its calendar"),
        ({"forecasts": []}, "changed its forecasts"),
        ({"window": {"length": "14d"}, "forecasts": []}, "changed its window, forecasts"),
    ],
)
def test_a_stream_that_changed_what_the_baseline_was_made_from_must_be_fitted_again(
    baseline: Baseline, parts: dict[str, object], says: str
) -> None:
    """The parts that changed are named."""
    with pytest.raises(BaselineError, match=says) as caught:
        check_fits(baseline, other(baseline.stream, **parts), Path("b"))
    assert "run `tidegauge fit` again" in str(caught.value)


def test_changed_columns_must_be_fitted_again(baseline: Baseline) -> None:
    """Another role of one column is enough."""
    columns = {name: column.model_dump() for name, column in baseline.stream.columns.items()}
    columns["s8"]["role"] = "condition"
    with pytest.raises(BaselineError, match="changed its columns"):
        check_fits(baseline, other(baseline.stream, columns=columns), Path("b"))
