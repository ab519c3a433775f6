from __future__ import annotations

import pytest
from pydantic import ValidationError

from schemas.stream import Stream


def stream(marginals: list[str], kind: str = "number") -> Stream:
    """Return a stream of one column with some marginal monitors."""
    return Stream.model_validate(
        {
            "tidegauge": 1,
            "name": "s",
            "source": {"path": "a.csv"},
            "reference": {"path": "b.csv"},
            "columns": {"x": {"type": kind}},
            "window": {"rows": 100},
            "monitors": {"marginals": marginals},
            "alarms": {"false": "1 per 100 windows"},
        }
    )


def test_only_some_marginal_monitors_read_histograms() -> None:
    """The counted ones do not, and so need no new baseline."""
    monitors = stream(["psi", "missing_rate", "range"]).monitors
    assert monitors.histograms == ("psi", "range")


@pytest.mark.parametrize(
    ("names", "kind", "says"),
    [
        (["psi", "psi"], "number", "psi is twice"),
        (["psi", "ks"], "category", "ks needs a feature that is a number"),
        (["new_category"], "number", "new_category needs a feature that is a category"),
        (["kolmogorov"], "number", "Input should be 'ks'"),
    ],
)
def test_a_marginal_monitor_that_cannot_be_is_refused(
    names: list[str], kind: str, says: str
) -> None:
    """Twice, of no column, or of no such name."""
    with pytest.raises(ValidationError, match=says):
        stream(names, kind)
