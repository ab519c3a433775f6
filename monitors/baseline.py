"""The baseline: what `fit` leaves behind and everything later reads. No pickle.

A baseline on disk is a folder with a manifest with the hash of every file, the stream file it was
fitted for, the encoder, the references of the keys (Arrow, see `reference_store`), the column
summaries, the forecasters in LightGBM's text format with their calibration, and, unless the stream
file forbids it, some rows of the reference. Its name is the hash of the manifest's hashes: whatever
changes, the name does not fit.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from monitors.ahead import AheadForecaster
from monitors.attribute.feature_attributions import AttributionNull
from monitors.encoder import Encoder
from monitors.feature_shift.reference import Reference
from monitors.forecast_scores import ScoreNull
from monitors.pooling import POOL, is_pooled
from monitors.reference_rows import read_rows, write_rows
from monitors.reference_store import open_references, write_references
from monitors.summary import TableSummary
from schemas.errors import BaselineError
from schemas.monitors import FeatureShift
from schemas.stream import Stream
from transforms.calibrate.cqr import Conformal
from transforms.calibrate.cqr import from_dict as conformal_from_dict
from transforms.forecast.fitted import Fitted
from transforms.forecast.fitted import load as load_forecaster
from transforms.forecast.panel.fitted import load_panel

BASELINE_VERSION = 4
MANIFEST = "manifest.json"
SCORE_NULL, SCORE_NULLS = "score_null.json", "score_nulls.json"  # of a forecaster
ATTRIBUTIONS, ONLINE = "attributions.json", "online.json"
HISTORY = "history.parquet"

#: Parts of the stream file that a baseline is made from: if one changes, it must be fitted anew.
_DECIDING = (
    "name",
    "time",
    "key",
    "key_baseline",
    "columns",
    "window",
    "calendar",
    "lags",
    "forecasts",
)


@dataclass(frozen=True, slots=True)
class Forecaster:
    """A fitted and calibrated forecaster of one target, and how its scores vary without drift."""

    model: Fitted
    conformal: Conformal
    null: ScoreNull
    model_id: str
    attributions: AttributionNull | None = None  #: where that monitor is on
    #: by key, the state of the online calibrator after the reference; see `online_intervals`
    online: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Baseline:
    """Everything learnt from the reference."""

    stream: Stream
    encoder: Encoder
    references: Mapping[str, Reference]  #: by key; `POOL` and `ALL_KEYS` hold those of many keys
    summary: TableSummary
    forecasters: Mapping[str, Forecaster]  #: by target
    span: Mapping[str, Any]  #: rows, start and end of the reference
    expectations: Sequence[Mapping[str, Any]] = ()  #: what was checked of the reference
    id: str = ""
    #: rows of the reference, by key or `POOL`; see `reference_rows`
    rows: Mapping[str, pa.Table] = field(default_factory=dict)
    #: by target, of series' own future
    ahead: Mapping[str, AheadForecaster] = field(default_factory=dict)
    history: pa.Table | None = None  #: the last rows of series in the reference, for `ahead`

    @property
    def keys(self) -> int:
        """Number of keys of the reference that can be tested: they share the alarm budget."""
        return int(self.span.get("keys", 1))

    def reference_of(self, key: str) -> Reference | None:
        """Return what the windows of a key are compared with; None when there is nothing."""
        return self.references.get(POOL if is_pooled(self.stream) else key)

    def null_of(self, target: str, key: str) -> ScoreNull:
        """Return what the scores of a target's forecasts are held against."""
        if target in self.ahead:
            return self.ahead[target].null_of(key)
        return self.forecasters[target].null

    def rows_of(self, key: str) -> pa.Table:
        """Return the rows kept of what the windows of a key are compared with, in order of time.

        The columns are those of `kept_rows.kept_columns`; a table without rows where none are kept.
        """
        known = self.rows.get(POOL if is_pooled(self.stream) else key)
        if known is not None:
            return known
        return next(iter(self.rows.values()), pa.table({})).slice(0, 0)

    @property
    def step(self) -> int:
        """How far apart neighbouring rows of a key are: in µs, or in rows without event time.

        0 where most rows of a key share their time with others.
        """
        return int(self.span.get("step", 0))


def write_baseline(baseline: Baseline, folder: Path) -> Baseline:
    """Write a baseline into a folder of baselines, and return it with its id.

    Raises
    ------
    OSError
        When the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".fit-"))
    try:
        _write(baseline, temporary)
        files = _hashes(temporary)
        identity = _identity(files)
        manifest = {"version": BASELINE_VERSION, "id": identity, "files": files}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        _sync(temporary)
        _put(temporary, folder / identity, files)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return replace(baseline, id=identity)


def read_baseline(folder: Path, identity: str) -> Baseline:
    """Read one baseline of a folder of baselines.

    Raises
    ------
    BaselineError
        When there is none, it was written by another version, or a file is missing or changed.
    """
    version = folder / identity
    try:
        manifest = _parse(version / MANIFEST)
        written_by = manifest["version"]
    except FileNotFoundError as error:
        message = f"{folder}: there is no baseline here; `tidegauge fit STREAM.yaml` makes one"
        raise BaselineError(message) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{folder}: the baseline cannot be read ({error}); fit it again"
        raise BaselineError(message) from error
    if written_by != BASELINE_VERSION:
        message = (
            f"{folder}: the baseline has format version {written_by}, this program reads "
            f"{BASELINE_VERSION}; upgrade tidegauge, or fit the baseline again"
        )
        raise BaselineError(message)
    files = manifest.get("files")
    if _hashes(version) != files or _identity(files) != identity:
        message = f"{version}: a file of the baseline is missing or was changed; fit it again"
        raise BaselineError(message)
    try:
        return _read(version, identity)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{version}: the baseline cannot be read ({error}); fit it again"
        raise BaselineError(message) from error


def check_fits(baseline: Baseline, stream: Stream, folder: Path) -> None:
    """Refuse a baseline that was fitted for another stream.

    Raises
    ------
    BaselineError
        Naming what differs.
    """
    ours, theirs = stream.model_dump(mode="json"), baseline.stream.model_dump(mode="json")
    if ours["name"] != theirs["name"]:
        message = (
            f"{folder}: this baseline belongs to the stream {theirs['name']!r}, "
            f"not to {ours['name']!r}; give the right one with --baseline"
        )
        raise BaselineError(message)
    different = [part for part in _DECIDING if ours[part] != theirs[part]]
    if shift_method(stream) != shift_method(baseline.stream):
        different.append("feature-shift method")
    asked, kept = (part.monitors.histograms for part in (stream, baseline.stream))
    if more := [name for name in asked if name not in kept]:
        different.append(f"marginal monitors ({', '.join(more)})")
    if stream.monitors.attributions and not baseline.stream.monitors.attributions:
        different.append("monitor of attributions")
    if different:
        message = (
            f"{folder}: the stream file changed its {', '.join(different)} since the baseline was "
            f"fitted; run `tidegauge fit` again"
        )
        raise BaselineError(message)


def shift_method(stream: Stream) -> str:
    """Return the method whose null the references hold."""
    options = stream.monitors.feature_shift or FeatureShift()
    return options.method


def _write(baseline: Baseline, folder: Path) -> None:
    about = {"stream": baseline.stream.model_dump(mode="json"), "span": dict(baseline.span)}
    _dump(folder / "about.json", about)
    _dump(folder / "encoder.json", baseline.encoder.to_json())
    (folder / "summary.json").write_text(baseline.summary.to_json(), encoding="utf-8")
    write_references(baseline.references, folder)
    _dump(folder / "expectations.json", list(baseline.expectations))
    write_rows(baseline.rows, folder)
    if baseline.history is not None:
        pq.write_table(baseline.history, folder / HISTORY, compression="zstd")
    for number, spec in enumerate(baseline.stream.forecasts):
        own = folder / f"forecast-{number}"
        own.mkdir()
        if spec.target in baseline.ahead:
            _write_ahead(baseline.ahead[spec.target], own)
            continue
        forecaster = baseline.forecasters[spec.target]
        forecaster.model.save(own)
        _dump(own / "conformal.json", forecaster.conformal.to_dict())
        _dump(own / SCORE_NULL, forecaster.null.to_dict())
        if forecaster.attributions is not None:
            _dump(own / ATTRIBUTIONS, forecaster.attributions.to_dict())
        if forecaster.online:
            _dump(own / ONLINE, dict(forecaster.online))


def _read(folder: Path, identity: str) -> Baseline:
    about = _parse(folder / "about.json")
    stream = Stream.model_validate(about["stream"])
    encoder = Encoder.from_json(_parse(folder / "encoder.json"))
    references = open_references(folder, encoder, shift_method(stream))
    forecasters, ahead = {}, {}
    for number, spec in enumerate(stream.forecasts):
        own = folder / f"forecast-{number}"
        if spec.ahead is not None:
            ahead[spec.target] = _read_ahead(own)
            continue
        model = load_forecaster(own)
        known, online = own / ATTRIBUTIONS, own / ONLINE
        forecasters[spec.target] = Forecaster(
            model,
            conformal_from_dict(_parse(own / "conformal.json")),
            ScoreNull.from_dict(_parse(own / SCORE_NULL)),
            model.model_id,
            AttributionNull.from_dict(_parse(known)) if known.exists() else None,
            _parse(online) if online.exists() else {},
        )
    return Baseline(
        stream,
        encoder,
        references,
        TableSummary.from_json((folder / "summary.json").read_text(encoding="utf-8")),
        forecasters,
        about["span"],
        _parse(folder / "expectations.json"),
        identity,
        read_rows(folder),
        ahead,
        pq.read_table(folder / HISTORY) if (folder / HISTORY).exists() else None,
    )


def _write_ahead(forecaster: AheadForecaster, folder: Path) -> None:
    forecaster.model.save(folder)
    _dump(folder / SCORE_NULL, forecaster.null.to_dict())
    nulls = {key: null.to_dict() for key, null in forecaster.nulls.items()}
    _dump(folder / SCORE_NULLS, nulls)


def _read_ahead(folder: Path) -> AheadForecaster:
    nulls = _parse(folder / SCORE_NULLS).items()
    return AheadForecaster(
        load_panel(folder),
        ScoreNull.from_dict(_parse(folder / SCORE_NULL)),
        {key: ScoreNull.from_dict(null) for key, null in nulls},
    )


def _dump(path: Path, data: object) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


def _parse(path: Path) -> Any:  # noqa: ANN401 (JSON)
    return json.loads(path.read_text(encoding="utf-8"))


def _identity(files: Mapping[str, str]) -> str:
    text = json.dumps(dict(files), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _put(temporary: Path, target: Path, files: Mapping[str, str]) -> None:
    """Rename a version to its name; one that is there and whole stays, for it may be in use."""
    if target.exists():
        new, old = temporary / MANIFEST, target / MANIFEST
        if _hashes(target) == files and old.is_file() and filecmp.cmp(new, old, shallow=False):
            return
        shutil.rmtree(target)
    temporary.chmod(0o755)
    temporary.replace(target)


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): _hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    for part in (path, *path.rglob("*")):
        if part.is_file():
            with part.open("rb") as file:
                os.fsync(file.fileno())
