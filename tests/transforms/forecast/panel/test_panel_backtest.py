from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import ReferenceDataError
from tests.transforms.forecast.panel.daily import WEEK, daily, sales, stream
from transforms.forecast.panel.backtest import FITTED, backtest_panel


def test_backtest_ranks_the_forecasters(rng: np.random.Generator) -> None:
    """Two origins, three forecasters over each part of the horizon; the fitted one is best."""
    asked = stream()
    found = backtest_panel(daily(sales(20, 120, rng)), asked, asked.forecasts[0], origins=2)
    assert [origin.issues for origin in found.origins] == [5, 5]
    whole = {row.forecaster: row for row in found.rows if row.last_step - row.first_step == 6}
    assert list(whole) == [FITTED, "seasonal_naive", "climatology"]
    assert len(found.rows) == 3 * 5
    assert whole[FITTED].scaled_pinball < 0.9 * whole["seasonal_naive"].scaled_pinball
    assert found.skill() == pytest.approx(
        1 - whole[FITTED].scaled_pinball / whole["seasonal_naive"].scaled_pinball
    )
    assert found.skill("climatology") > 0
    # 8 whole issues and 2 at a block's end, of seven days each where they fit
    assert 20 * 9 * WEEK <= whole[FITTED].rows <= 20 * 10 * WEEK
    rows = whole[FITTED].rows
    # 150 weeks of series that share a fit of few rows: a week counts as one row
    assert whole[FITTED].coverage == pytest.approx(0.9, abs=3 * np.sqrt(0.09 * WEEK / rows))
    parts = [row for row in found.rows if row.forecaster == FITTED][:-1]
    assert sum(part.rows for part in parts) == rows
    assert sum(part.pinball * part.rows for part in parts) / rows == pytest.approx(
        whole[FITTED].pinball
    )


def test_forecasts_do_not_know_their_outcomes(rng: np.random.Generator) -> None:
    """Whatever comes after the only issue, the widths of all three forecasters are the same."""
    asked, values = stream(models=("seasonal_naive",)), rng.normal(size=(20, 2 * WEEK))
    other = values + 50 * (np.arange(2 * WEEK) >= WEEK) * rng.normal(size=values.shape)
    one, two = (
        backtest_panel(daily(table), asked, asked.forecasts[0], origins=1)
        for table in (values, other)
    )
    assert [row.width for row in one.rows] == [row.width for row in two.rows]
    assert one.rows[-1].pinball < two.rows[-1].pinball
    assert one.origins[0].issues == 1


def test_short_table_is_refused() -> None:
    """Rows that span less than two horizons are one clear error."""
    asked = stream()
    with pytest.raises(ReferenceDataError, match="needs 14"):
        backtest_panel(daily(np.ones((3, 13))), asked, asked.forecasts[0])
