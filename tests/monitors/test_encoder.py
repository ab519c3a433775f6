from __future__ import annotations

import functools
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from monitors.encoder import MAX_FEATURES, MAX_INDICATORS, Encoder, fit_encoder
from schemas.errors import ReferenceDataError
from schemas.stream import Column
from tests.monitors.simulated import Floats, chain, columns_of, table


def fit(rows: pa.Table, window_rows: int = 1000) -> Encoder:
    """Return the encoder of a table all of whose columns are features."""
    return fit_encoder(rows, columns_of(rows), features=rows.column_names, window_rows=window_rows)


def score(encoder: Encoder, rows: pa.Table, column: int = 0) -> Floats:
    """Return one basis column in its own units, before it was standardised."""
    phi, _ = encoder.encode(rows)
    return np.asarray(phi[:, column] * encoder.scale[column] + encoder.centre[column])


@functools.cache
def one_number(law: str) -> Encoder:
    """Return the encoder of one number."""
    rng = np.random.default_rng(3)
    x = {
        "normal": rng.standard_normal(3000),
        "cauchy": rng.standard_cauchy(3000),
        "lognormal": np.exp(3 * rng.standard_normal(3000)),
        "rounded": np.round(rng.standard_normal(3000)),
        "zeros": np.where(rng.random(3000) < 0.7, 0.0, rng.exponential(1, 3000)),
    }[law]
    return fit(table(x[:, None]), window_rows=1)


@settings(max_examples=150)
@given(
    st.sampled_from(["normal", "cauchy", "lognormal", "rounded", "zeros"]),
    st.lists(st.floats(-1e9, 1e9) | st.floats(-4, 4), min_size=2, max_size=30),
)
def test_the_score_of_a_number_never_falls(law: str, values: list[float]) -> None:
    """Whatever the law of the reference, the order of values is the order of scores."""
    scores = score(one_number(law), table(np.sort(values)[:, None]))
    assert (np.diff(scores) >= -1e-9).all()


def test_ties_get_the_score_of_their_mid_rank() -> None:
    """Half below, half above: Φ⁻¹ of .25, .65 and .9 for shares of .5, .3 and .2."""
    x = np.repeat([0.0, 1.0, 2.0], [500, 300, 200])[:, None]
    encoder = fit(table(x), window_rows=1)
    found = score(encoder, table(np.array([[0.0], [1.0], [2.0]])))
    np.testing.assert_allclose(found, ndtri([0.25, 0.65, 0.9]), atol=2e-3)


def test_scores_of_the_reference_are_normal() -> None:
    """Quantiles of a heavy-tailed column become those of the normal law."""
    rng = np.random.default_rng(1)
    x = rng.standard_cauchy((5000, 1))
    found = score(fit(table(x), window_rows=1), table(x))
    levels = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(np.quantile(found, levels), ndtri(levels), atol=0.02)


@pytest.mark.parametrize("law", ["normal", "cauchy", "lognormal", "rounded", "zeros"])
def test_values_beyond_the_reference_score_three_and_no_more(law: str) -> None:
    """A single wild value cannot rule a covariance."""
    found = score(one_number(law), table(np.array([[-1e12], [1e12]])))
    np.testing.assert_allclose(found, [-3.0, 3.0], atol=1e-9)


def test_basis_columns_have_mean_0_and_variance_1_on_the_reference() -> None:
    """So that one ridge serves all of them."""
    rng = np.random.default_rng(2)
    words = pa.array(rng.choice(["a", "b", "c"], 800, p=[0.6, 0.3, 0.1]))
    rows = table(np.exp(chain(rng, 800, 3)), {"word": words})
    phi, _ = fit(rows).encode(rows)
    assert phi.shape == (800, 3 * 2 + 2)
    np.testing.assert_allclose(phi.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(phi.std(axis=0), 1, atol=1e-9)


def test_a_second_term_comes_only_where_a_window_has_the_rows_for_it() -> None:
    """Fifteen rows per basis column."""
    rows = table(chain(np.random.default_rng(0), 400, 4))
    assert fit(rows, window_rows=15 * 2 * 4).terms == 2
    assert fit(rows, window_rows=15 * 2 * 4 - 1).terms == 1


def gappy(rng: np.random.Generator, rows: int = 400) -> pa.Table:
    """Return four dependent numbers and a category, a third of them missing."""
    x = chain(rng, rows, 4)
    x[rng.random(x.shape) < 0.3] = np.nan
    words = [None if u < 0.3 else f"c{int(3 * u)}" for u in rng.random(rows)]
    return table(x, {"word": pa.array(words, pa.string())})


def test_the_order_of_rows_does_not_change_what_a_row_becomes() -> None:
    """Gaps are filled from the row's own content."""
    rng = np.random.default_rng(4)
    rows = gappy(rng)
    encoder = fit(rows)
    phi, flags = encoder.encode(rows)
    order = rng.permutation(rows.num_rows)
    shuffled, shuffled_flags = encoder.encode(rows.take(order))
    np.testing.assert_allclose(shuffled, phi[order], atol=1e-12)
    np.testing.assert_array_equal(shuffled_flags, flags[order])
    alone, _ = encoder.encode(rows.slice(7, 1))
    np.testing.assert_allclose(alone[0], phi[7], atol=1e-12)


def test_filled_gaps_keep_means_spreads_and_dependence() -> None:
    """A row with a gap says nothing new: moments of 30 % filled cells are those of full rows."""
    rng = np.random.default_rng(5)
    full = chain(rng, 20_000, 4)
    holes = np.where(rng.random(full.shape) < 0.3, np.nan, full)
    encoder = fit_encoder(
        table(full[:10_000]),
        columns_of(table(full)),
        features=["x0", "x1", "x2", "x3"],
        window_rows=1,
    )
    phi, flags = encoder.encode(table(holes[10_000:]))
    assert not np.isnan(phi).any()
    np.testing.assert_array_equal(flags[:, :, 0], np.isnan(holes[10_000:]))
    truth, _ = encoder.encode(table(full[10_000:]))
    np.testing.assert_allclose(phi.mean(axis=0), truth.mean(axis=0), atol=0.03)
    np.testing.assert_allclose(np.cov(phi.T), np.cov(truth.T), atol=0.04)


def test_an_encoder_reads_back_bit_for_bit() -> None:
    """Through the text of a JSON file."""
    rng = np.random.default_rng(6)
    rows = gappy(rng)
    encoder = fit(rows)
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    for one, other in zip(encoder.encode(rows), again.encode(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.to_json() == encoder.to_json()


def test_frequent_categories_but_the_first_have_an_indicator() -> None:
    """The most frequent value is the ground the others stand out from; rare ones have none."""
    words = ["a"] * 500 + ["b"] * 300 + ["c"] * 195 + ["rare"] * 5
    encoder = fit(pa.table({"word": words}))
    assert encoder.features[0].values == ("a", "b", "c", "rare")
    shown = pa.table({"word": ["a", "b", "c", "rare", "never", None]})
    phi, flags = encoder.encode(shown)
    assert (np.round(phi * encoder.scale + encoder.centre)).tolist() == [
        [0, 0], [1, 0], [0, 1], [0, 0], [0, 0], [0, 0]
    ]  # fmt: skip
    assert flags[:, 0, 0].tolist() == [False] * 5 + [True]
    assert flags[:, 0, 1].tolist() == [False] * 4 + [True, False]


def test_a_category_of_many_values_has_few_indicators() -> None:
    """Ties among the counts are broken by the text, so that the basis is the same everywhere."""
    words = [f"v{i % 40:02d}" for i in range(4000)]
    coding = fit(pa.table({"word": words})).features[0]
    assert coding.indicators == MAX_INDICATORS
    assert coding.values[:3] == ("v00", "v01", "v02")


def test_the_share_of_values_seen_once_is_kept() -> None:
    """It is the probability of a new value (Good 1953)."""
    words = ["a"] * 80 + ["b"] * 10 + [f"u{i}" for i in range(10)]
    assert fit(pa.table({"word": words})).features[0].once == pytest.approx(0.1)


def test_a_boolean_is_a_category_of_two_values() -> None:
    """One indicator, of the rarer value."""
    rows = pa.table({"flag": [True] * 30 + [False] * 70})
    encoder = fit(rows)
    assert len(encoder.groups[0]) == 1
    phi, _ = encoder.encode(rows)
    assert (
        np.round(phi[:, 0] * encoder.scale[0] + encoder.centre[0]).tolist() == [1] * 30 + [0] * 70
    )


@pytest.mark.parametrize(
    ("then", "now"), [([2.5] * 50, [2.5, 2.0, None]), (["on"] * 50, ["on", "off", None])]
)
def test_a_feature_that_is_constant_has_no_basis_and_flags_other_values(
    then: list[object], now: list[object]
) -> None:
    """There is nothing to regress on, and everything else is new."""
    more = np.arange(50.0)
    encoder = fit(pa.table({"it": then, "x": more}))
    assert len(encoder.groups[0]) == 0
    _, flags = encoder.encode(pa.table({"it": now, "x": more[:3]}))
    assert flags[:, 0, :].tolist() == [[False, False], [False, True], [True, False]]


def test_conditions_and_the_calendar_follow_the_features_and_belong_to_none() -> None:
    """They explain the others and are never blamed."""
    rng = np.random.default_rng(7)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    times = pa.array([start + timedelta(hours=h) for h in range(300)], pa.timestamp("us", "UTC"))
    rows = table(chain(rng, 300, 3), {"time": times})
    encoder = fit_encoder(
        rows,
        {name: Column(type="number") for name in ("x0", "x1", "x2")},
        features=["x2", "x0"],
        conditions=["x1"],
        calendar=["hour_of_day"],
        time_column="time",
        window_rows=1,
    )
    assert encoder.names == ["x2", "x0"]
    assert [group.tolist() for group in encoder.groups] == [[0], [1]]
    phi, flags = encoder.encode(rows)
    assert flags.shape == (300, 2, 2)
    assert phi.shape[1] > 3
    np.testing.assert_allclose(phi[:, 3:].std(axis=0), 1, atol=1e-9)


def test_a_reference_that_cannot_carry_a_basis_is_refused_with_what_to_do() -> None:
    """No feature, too many, or one without a value."""
    number = Column(type="number")
    with pytest.raises(ReferenceDataError, match="at least one column the role `feature`"):
        fit_encoder(pa.table({"x": [1.0]}), {"x": number}, features=[], window_rows=1)
    names = [f"x{j}" for j in range(MAX_FEATURES + 1)]
    with pytest.raises(ReferenceDataError, match="watch fewer columns"):
        fit_encoder(pa.table({}), dict.fromkeys(names, number), features=names, window_rows=1)
    empty = pa.table({"x": pa.array([None, None], pa.float64())})
    with pytest.raises(ReferenceDataError, match="'x' has no value in the reference"):
        fit_encoder(empty, {"x": number}, features=["x"], window_rows=1)
