from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from schemas.errors import BaselineError, ReferenceDataError, SourceError, StreamFileError
from tests.transforms.forecast.panel.daily import DAY, START, WEEK, daily, sales, stream
from transforms.forecast.panel import fit, origins
from transforms.forecast.panel.design import design_of
from transforms.forecast.panel.fit import fit_naive, fit_on, fit_panel
from transforms.forecast.panel.fitted import TOGETHER, FittedPanel, load_panel
from transforms.forecast.panel.grid import read_panel
from transforms.scores import interval_coverage, pinball_loss

SERIES, DAYS = 150, 100
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def day(number: int) -> datetime:
    """Return the time of a day of the panel."""
    found: datetime = (START + number * DAY).item()
    return found


@pytest.fixture(autouse=True, scope="module")
def few_rows() -> object:
    """Learn from a tenth of the rows: tests need no more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "_ROWS", 6_000)
        yield


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """Return 150 series of 100 days."""
    return sales(SERIES, DAYS, np.random.default_rng(20260104))


@pytest.fixture(scope="module")
def fitted(values: np.ndarray) -> FittedPanel:
    """Return the forecaster of all but the last week."""
    asked = stream(min=0)
    return fit_panel(daily(values[:, :-WEEK]), asked, asked.forecasts[0])


@pytest.fixture(scope="module")
def forecast(fitted: FittedPanel, values: np.ndarray) -> pl.DataFrame:
    """Return its forecast of the last week."""
    return fitted.forecast(daily(values[:, :-WEEK]), day(DAYS - WEEK - 1))


def test_forecast_has_a_row_for_each_series_and_step(
    forecast: pl.DataFrame, fitted: FittedPanel
) -> None:
    """Rows go by key and step, valid times from the step after the issue; quantiles increase."""
    assert forecast.height == SERIES * WEEK
    assert forecast["shop"].is_sorted()
    first = forecast.head(WEEK)
    assert first["horizon"].to_list() == list(range(1, WEEK + 1))
    issue = day(DAYS - WEEK - 1)
    assert first["issue_time"].dt.replace_time_zone(None).unique().to_list() == [issue]
    assert first["valid_time"].dt.replace_time_zone(None).to_list() == [
        issue + timedelta(days=ahead) for ahead in range(1, WEEK + 1)
    ]
    quantiles = forecast["quantiles"].list.to_array(len(LEVELS)).to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert fitted.issue_time(issue + timedelta(hours=23)).replace(tzinfo=None) == issue


def test_interval_covers_and_beats_seasonal_naive(
    forecast: pl.DataFrame, fitted: FittedPanel, values: np.ndarray
) -> None:
    """Next week's 90 % interval holds 90 % of values, and the loss is a fifth below the naive's."""
    outcome = values[:, -WEEK:].ravel()
    covered = interval_coverage(outcome, forecast["lower"], forecast["upper"])
    assert covered == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / len(outcome)))
    asked = stream(min=0)
    panel = read_panel(daily(values[:, :-WEEK]), fitted.design)
    naive = fit_naive(panel, fitted, asked.forecasts[0])
    usual = naive.forecast(daily(values[:, :-WEEK]), day(DAYS - WEEK - 1))
    covered = interval_coverage(outcome, usual["lower"], usual["upper"])
    assert covered == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / len(outcome)))
    ours, theirs = (
        pinball_loss(outcome, table["quantiles"].list.to_array(len(LEVELS)).to_numpy(), LEVELS)
        for table in (forecast, usual)
    )
    scale = forecast["scale"].to_numpy()[:, None]
    assert (ours / scale).mean() < 0.8 * (theirs / scale).mean()


def test_weekends_have_the_wider_interval(forecast: pl.DataFrame) -> None:
    """Noise that doubles at weekends makes intervals half as wide again there, at the least."""
    width = (forecast["upper"] - forecast["lower"]) / forecast["scale"]
    each = width.to_numpy().reshape(SERIES, WEEK).mean(axis=0)
    weekend = np.arange(DAYS - WEEK, DAYS) % WEEK >= 5
    assert each[weekend].min() > 1.4 * each[~weekend].max()


def test_last_rows_are_enough(
    forecast: pl.DataFrame, fitted: FittedPanel, values: np.ndarray
) -> None:
    """Rows of the last `history_steps`, shuffled, give bit-equal forecasts; later targets none."""
    issue = day(DAYS - WEEK - 1)
    kept = daily(values).filter(
        pl.col("time") > issue - timedelta(microseconds=fitted.history_steps * fitted.step_us)
    )
    shuffled = kept.sample(fraction=1, shuffle=True, seed=1).select("y", "time", "shop")
    assert fitted.forecast(shuffled, issue).equals(forecast)


def test_many_series_are_forecast_in_parts(
    forecast: pl.DataFrame,
    fitted: FittedPanel,
    values: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few series at a time give the same forecasts, bit for bit, as all at once."""
    monkeypatch.setattr("transforms.forecast.panel.fitted._ROWS_AT_ONCE", 40 * WEEK)
    monkeypatch.setattr("transforms.forecast.panel.frame._AT_ONCE", 7 * fitted.history_steps)
    assert fitted.forecast(daily(values[:, :-WEEK]), day(DAYS - WEEK - 1)).equals(forecast)


def test_saved_forecaster_forecasts_bit_equal(
    forecast: pl.DataFrame, fitted: FittedPanel, values: np.ndarray, tmp_path: Path
) -> None:
    """What is read back forecasts the same bits and has the same id; a damaged one is refused."""
    fitted.save(tmp_path)
    again = load_panel(tmp_path)
    assert again.model_id == fitted.model_id
    assert again.forecast(daily(values[:, :-WEEK]), day(DAYS - WEEK - 1)).equals(forecast)
    text = (tmp_path / "panel.json").read_text()
    (tmp_path / "panel.json").write_text(text.replace('"version": 1', '"version": 0'))
    with pytest.raises(BaselineError, match="version 0"):
        load_panel(tmp_path)
    (tmp_path / "panel.json").write_text(text.replace('"season": 7', '"saison": 7'))
    with pytest.raises(BaselineError, match="damaged"):
        load_panel(tmp_path)
    (tmp_path / "panel.json").unlink()
    with pytest.raises(BaselineError, match="cannot be read"):
        load_panel(tmp_path)


def test_same_table_and_seed_give_the_same_forecaster(values: np.ndarray) -> None:
    """Rows in another order change no bit of the forecaster; nor does a second fit."""
    asked = stream(models=("seasonal_naive",))
    table = daily(values[:20])
    one = fit_panel(table, asked, asked.forecasts[0])
    other = fit_panel(table.sample(fraction=1, shuffle=True, seed=3), asked, asked.forecasts[0])
    assert one.model_id == other.model_id
    assert one.model_id != fit_panel(table, asked, asked.forecasts[0], seed=1).model_id


def test_out_of_fold_forecasts_have_their_outcomes(fitted: FittedPanel, values: np.ndarray) -> None:
    """Each carries the value of its series at its valid time, and 90 % lie in the interval."""
    table = fitted.out_of_fold
    series = table["shop"].str.slice(1).cast(pl.Int64).to_numpy()
    at = (table["valid_time"].to_numpy() - START) // DAY
    assert np.array_equal(values[series, at.astype(int)], table["outcome"].to_numpy())
    covered = interval_coverage(table["outcome"], table["lower"], table["upper"])
    assert covered == pytest.approx(0.9, abs=0.01)


def test_odd_series_are_forecast_without_a_fuss(fitted: FittedPanel, values: np.ndarray) -> None:
    """A constant, a zero, a one-day, an empty and a gappy series get finite forecasts in bounds."""
    odd = np.full((5, DAYS), np.nan)
    odd[0], odd[1], odd[2, -1], odd[4] = 50, 0, 80, values[7]
    odd[4, ::3] = np.nan
    found = fitted.forecast(daily(odd), day(DAYS - 1))
    quantiles = found["quantiles"].list.to_array(len(LEVELS)).to_numpy().reshape(5, WEEK, -1)
    assert np.isfinite(quantiles).all()
    assert (quantiles >= 0).all()
    assert np.isfinite(found["lower"].to_numpy()).all()
    assert np.abs(quantiles[0, :, 3] - 50).max() < 10
    assert np.abs(quantiles[2, :, 3] - 80).max() < 40
    assert np.ptp(quantiles[3], axis=0) == pytest.approx(np.zeros(len(LEVELS)))
    assert np.abs(quantiles[4, :, 3] / values[7, -WEEK:] - 1).max() < 0.5


def test_columns_known_ahead_are_read_at_the_valid_time(rng: np.random.Generator) -> None:
    """A promotion that doubles sales moves the forecast of its own day, not of the day before."""
    values = sales(30, 80, rng)
    promoted = rng.random(values.shape) < 0.3
    table = daily(values * np.where(promoted, 2, 1)).with_columns(promo=promoted.ravel())
    asked = stream({"promo": {"type": "boolean"}}, known=["promo"], models=["location_scale"])
    fitted = fit_panel(table, asked, asked.forecasts[0])
    assert fitted.design.at_issue == ()
    ahead = daily(np.full((30, 80 + WEEK), np.nan)).filter(
        pl.col("time") >= pl.lit(START + 80 * DAY)
    )
    medians = []
    for promoted_day in (81, 83):
        plan = ahead.with_columns(promo=pl.col("time") == pl.lit(START + promoted_day * DAY))
        history = pl.concat([table, plan.select(table.columns)])
        found = fitted.forecast(history, day(79))
        medians.append(found["quantiles"].list.get(3).to_numpy().reshape(30, WEEK))
    ratio = np.median(medians[0] / medians[1], axis=0)
    assert ratio[1] > 1.4
    assert ratio[3] < 0.7
    assert ratio[[0, 2, 4, 5, 6]] == pytest.approx(np.ones(5), abs=0.05)


def test_each_series_may_have_its_own_model(rng: np.random.Generator) -> None:
    """With `series: each` a long series has its model, a short or new one that of all together."""
    table = pl.concat([daily(sales(2, 120, rng)), daily(sales(1, 20, rng), 2)])
    asked = stream(series="each", models=["seasonal_naive"])
    fitted = fit_panel(table, asked, asked.forecasts[0])
    assert list(fitted.models) == [TOGETHER, '{"shop": "s000"}', '{"shop": "s001"}']
    new = daily(sales(1, 120, rng), 9)
    found = fitted.forecast(pl.concat([table.filter(pl.col("shop") != "s002"), new]), day(119))
    assert found["shop"].unique().sort().to_list() == ["s000", "s001", "s009"]
    assert found["lower"].is_finite().all()
    assert fitted.out_of_fold["shop"].n_unique() == 3


def test_young_series_learn_too() -> None:
    """Origins come from every series in turn, one in ten before its history is whole."""
    asked = stream()
    design = design_of(asked, asked.forecasts[0], seasons=4)
    panel = read_panel(daily(np.ones((200, 100))), design)
    series, issue, steps = origins.draw_origins(panel, design, np.random.default_rng(0), 4_000)
    assert steps.shape == (1_000, 4)
    assert len(np.unique(series * 1_000 + issue - panel.first[0])) == 1_000
    young = issue - panel.first[series] < design.history_steps - 1
    assert young.sum() == 100
    assert ((steps >= 1) & (steps <= WEEK)).all()
    assert (np.diff(steps, axis=1) > 0).all()
    assert np.bincount(series, minlength=200).max() < 20


def test_season_that_changes_is_read_over_fewer_weeks(rng: np.random.Generator) -> None:
    """A season that stays is measured over many weeks, one that changes each month over few."""
    asked = stream()
    chosen = []
    for life in (1_000, 28):
        profiles = np.repeat(rng.normal(size=(20, 450 // life + 1, WEEK)), life, axis=1)
        days = np.arange(448)
        values = profiles[:, days, days % WEEK] + 0.5 * rng.normal(size=(20, 448))
        panel = read_panel(daily(values), design_of(asked, asked.forecasts[0]))
        chosen.append(
            origins.choose_seasons(panel, asked, asked.forecasts[0], 0, np.random.default_rng(0))
        )
    assert chosen == [32, 4]


def test_target_without_a_second_value_is_refused() -> None:
    """One day, or no value at all, is one clear error; so is a spec without `ahead`."""
    asked = stream()
    with pytest.raises(ReferenceDataError, match="no series has a value and another"):
        fit_panel(daily(np.ones((3, 1))), asked, asked.forecasts[0])
    with pytest.raises(ReferenceDataError, match="no series has a value and another"):
        fit_panel(daily(np.full((3, 20), np.nan)), asked, asked.forecasts[0])
    spec = asked.forecasts[0].model_copy(update={"ahead": None})
    with pytest.raises(StreamFileError, match="has no `ahead:`"):
        fit_panel(daily(np.ones((3, 20))), asked, spec)


def test_missing_column_is_one_clear_error(fitted: FittedPanel, values: np.ndarray) -> None:
    """A history without the target's column names it."""
    with pytest.raises(SourceError, match="no column 'y'"):
        fitted.forecast(daily(values).drop("y"), day(50))


def test_rows_after_the_issue_are_not_read(fitted: FittedPanel, values: np.ndarray) -> None:
    """Even where they are nearest to its step: ten hours after it, before the next day."""
    table = daily(values)
    late = table.with_columns(pl.col("time") + pl.duration(hours=10), y=pl.lit(1e9))
    both = pl.concat([table, late.filter(pl.col("time") > day(50))])
    assert fitted.forecast(both, day(50)).equals(fitted.forecast(table, day(50)))


@pytest.mark.parametrize("name", ["horizon", "outcome", "__series"])
def test_key_named_like_a_column_of_forecasts_is_refused(name: str) -> None:
    """It would be one column for two things."""
    asked = stream().model_copy(update={"key": (name,)})
    with pytest.raises(StreamFileError, match=f"key column '{name}' has the name"):
        fit_panel(daily(np.ones((3, 20))).rename({"shop": name}), asked, asked.forecasts[0])


def test_model_of_single_series_is_refused() -> None:
    """GARCH reads the lags of a row in order of time, which origins of a panel are not in."""
    asked = stream(models=["garch"])
    with pytest.raises(StreamFileError, match="take one of the two away"):
        fit_panel(daily(np.ones((3, 20))), asked, asked.forecasts[0])


def test_constant_panel_is_forecast_as_it_is() -> None:
    """A panel of one constant is forecast as that constant, whatever is asked of it."""
    asked = stream()
    fitted = fit_panel(daily(np.full((4, 60), 3.0)), asked, asked.forecasts[0])
    found = fitted.forecast(daily(np.full((4, 60), 3.0)), day(59))
    assert fitted.kind == "climatology"
    assert found["lower"].to_list() == [3.0] * 28
    assert found["upper"].to_list() == [3.0] * 28


def test_fit_on_a_panel_is_the_fit_on_its_table(values: np.ndarray) -> None:
    """Rows already on their grid give the same forecaster."""
    asked = stream(models=("seasonal_naive",))
    spec = asked.forecasts[0]
    panel = read_panel(daily(values[:20]), design_of(asked, spec))
    whole = fit_panel(daily(values[:20]), asked, spec)
    assert fit_on(panel, asked, spec, 0).model_id == whole.model_id
