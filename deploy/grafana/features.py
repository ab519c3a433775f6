"""The dashboard of a stream's features: which of them moved, when, and how many."""

from __future__ import annotations

from boards import STREAM, Board, Variable
from panels import Link, Panel, Query

S = 'stream="$stream"'
F = f'{S},feature=~"$feature"'
_ONLY = Link("Only this feature", "tidegauge-features", ("stream",), "feature")

CHOSEN = (
    Panel(
        "bars",
        "Strongest in the latest window",
        "Evidence of drift (-log10 of the p-value) of the chosen features in the latest window. "
        "All features are in the findings of the run folder.",
        "none",
        8,
        [
            Query(
                f"sort_desc(topk(10, max by (feature) (tidegauge_feature_drift_top_score{{{F}}})))",
                "{{feature}}",
            )
        ],
        _ONLY,
    ),
    Panel(
        "lines",
        "Evidence by feature",
        "The same over time, and what a feature has to pass: a feature that leaves the strongest "
        "leaves the plot.",
        "none",
        16,
        [
            Query(f"max by (feature) (tidegauge_feature_drift_top_score{{{F}}})", "{{feature}}"),
            Query(
                f'max(tidegauge_drift_log_evidence_threshold{{{S},monitor="feature_shift"}})',
                "threshold",
            ),
        ],
    ),
    Panel(
        "table",
        "Strongest in the time shown",
        "The highest evidence of each chosen feature in the time shown, and the latest.",
        "none",
        24,
        [
            Query(
                "sort_desc(max by (feature) "
                f"(max_over_time(tidegauge_feature_drift_top_score{{{F}}}[$__range])))",
                "highest",
            ),
            Query(f"max by (feature) (tidegauge_feature_drift_top_score{{{F}}})", "latest"),
        ],
        _ONLY,
    ),
)

ALL = (
    Panel(
        "lines",
        "Features over their threshold",
        "Features of the latest window: tested, and over their threshold. One is most often a "
        "sensor; many at once a join, a unit or a time zone.",
        "none",
        10,
        [
            Query(f"max(tidegauge_features_over_threshold{{{S}}})", "over threshold"),
            Query(f"max(tidegauge_features_tested{{{S}}})", "tested"),
        ],
    ),
    Panel(
        "buckets",
        "Scores of all features",
        "Tested features, over all windows of the run, by their evidence up to each value.",
        "none",
        8,
        [Query(f"max by (le) (tidegauge_feature_drift_score_bucket{{{S}}})", "{{le}}")],
    ),
    Panel(
        "number",
        "Without a series",
        "Tested features of the latest window that have no series of their own and are only in "
        "the findings. `tidegauge serve --feature NAME` gives one to a feature.",
        "none",
        6,
        [Query(f"max(tidegauge_feature_series_dropped{{{S}}})", "not shown")],
    ),
)

BOARD = Board(
    "tidegauge-features",
    "tidegauge: features",
    "Which features of a stream moved, when, and by how much evidence.",
    (STREAM, Variable("feature", 'tidegauge_feature_drift_top_score{stream="$stream"}', True)),
    (("Chosen features", CHOSEN), ("All features", ALL)),
)
