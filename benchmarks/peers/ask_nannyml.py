"""NannyML: its calculators with their defaults, both tables in ten chunks."""

from __future__ import annotations

from typing import Any

import nannyml
import pyarrow as pa

from benchmarks.peers.decision import Decision

PACKAGES = ("nannyml",)
CHUNKS = 10  # its default


def univariate(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Jensen-Shannon distance of every column, thresholds from the reference's chunks."""
    names = reference.column_names
    alerts = _alerts(
        nannyml.UnivariateDriftCalculator(column_names=names, chunk_number=CHUNKS),
        reference,
        current,
    )
    moved = [name for name in names if alerts[(name, "jensen_shannon", "alert")].any()]
    return {"NannyML univariate": Decision.by_names(moved)}


def reconstruction(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Error of the rows rebuilt from principal components."""
    alerts = _alerts(
        nannyml.DataReconstructionDriftCalculator(
            column_names=reference.column_names, chunk_number=CHUNKS
        ),
        reference,
        current,
    )
    return {"NannyML PCA": Decision(bool(alerts[("reconstruction_error", "alert")].any()))}


def quality(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Share of missing values, and of values that the reference never had."""
    names = reference.column_names
    texts = [f.name for f in reference.schema if not pa.types.is_floating(f.type)]
    missing = _alerts(
        nannyml.MissingValuesCalculator(column_names=names, chunk_number=CHUNKS),
        reference,
        current,
    )
    moved = {name for name in names if missing[(name, "alert")].any()}
    if texts:
        unseen = _alerts(
            nannyml.UnseenValuesCalculator(column_names=texts, chunk_number=CHUNKS),
            reference,
            current,
        )
        moved |= {name for name in texts if unseen[(name, "alert")].any()}
    return {"NannyML data quality": Decision.by_names(moved)}


def _alerts(calculator: Any, reference: pa.Table, current: pa.Table) -> Any:  # noqa: ANN401 (untyped)
    """Return the frame of the current table's chunks."""
    result = calculator.fit(reference.to_pandas()).calculate(current.to_pandas())
    return result.filter(period="analysis").to_df()
