"""The advice by kind."""

from __future__ import annotations

from typing import get_args

import pytest

from monitors.cause.checks import checks
from monitors.explain.diagnosis import Kind


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_has_advice_of_its_own(kind: str) -> None:
    """No kind of change falls back to the advice for a change without one."""
    assert checks(kind, of_forecast=False) != checks(None, of_forecast=False)


def test_a_forecast_sends_to_its_features() -> None:
    """Whatever the kind, the alarm of a forecast begins with the features that moved it."""
    assert "features" in checks("stuck", of_forecast=True)[0]
