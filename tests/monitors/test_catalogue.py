from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitors.catalogue import CATALOGUE, PREFIX, Metric, to_markdown

ROOT = Path(__file__).parents[2]


def name_of(metric: Metric) -> str:
    """Return the name of a metric as a test's id."""
    return metric.name


def test_names_are_unique() -> None:
    """No two metrics share a name."""
    names = [metric.name for metric in CATALOGUE]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("metric", CATALOGUE, ids=name_of)
def test_metric_is_named_by_convention(metric: Metric) -> None:
    """Prefix, snake case, `_total` on counters alone; the stream first, keys in words only."""
    assert re.fullmatch(PREFIX + "[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.labels[0] == "stream"
    assert ("key" in metric.labels) == (metric.name == PREFIX + "alarm_info")
    assert metric.help.endswith(".")


def test_page_is_generated_from_the_catalogue() -> None:
    """docs/metrics.md is what `python -m monitors.catalogue` prints."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == to_markdown()
