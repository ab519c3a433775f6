"""Evidently: `DataDriftPreset` with its defaults (up to 1,000 rows: KS and chi-square at 0.05)."""

from __future__ import annotations

import pyarrow as pa
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from benchmarks.peers.decision import LEVEL, Decision

PACKAGES = ("evidently",)


def drift_preset(reference: pa.Table, current: pa.Table) -> dict[str, Decision]:
    """Run the preset once and read three rules from its p-values."""
    numbers = [f.name for f in reference.schema if pa.types.is_floating(f.type)]
    texts = [name for name in reference.column_names if name not in numbers]
    known = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    before, now = (
        Dataset.from_pandas(table.to_pandas(), data_definition=known)
        for table in (reference, current)
    )
    metrics = Report([DataDriftPreset()]).run(now, before).dict()["metrics"]
    p_values, half = {}, False
    for metric in metrics:
        config = metric["config"]
        if config["type"].endswith("DriftedColumnsCount"):
            half = metric["value"]["share"] >= config["drift_share"]
        elif config["type"].endswith("ValueDrift"):
            if "p_value" not in config["method"]:
                raise RuntimeError(f"{config['column']}: {config['method']} gives no p-value")
            p_values[config["column"]] = metric["value"]
    drifted = [name for name, p in p_values.items() if p < LEVEL]
    small = [name for name, p in p_values.items() if p < LEVEL / len(p_values)]
    return {
        "Evidently, half of the columns": Decision(half, sorted(drifted) if half else []),
        "Evidently, any column": Decision.by_names(drifted),
        "Evidently, any column, threshold / columns": Decision.by_names(small),
    }
