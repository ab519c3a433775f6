from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import BaselineError, SourceError
from transforms.forecast import Fitted, contiguous_folds, fit_forecaster, load, select
from transforms.forecast.direct import cross_fit_direct
from transforms.forecast.location_scale import cross_fit_location_scale
from transforms.forecast.symmetric import cross_fit_symmetric
from transforms.forecast.training import CrossFit, TrainingSet, some_rows
from transforms.scores import pinball_loss

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
NINE = (0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95)


def heteroscedastic(rows: int, seed: int) -> tuple[pl.DataFrame, list[str]]:
    """Draw HET: smooth location, scale of four features, skew of one; features x0 … x19."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(20, rows))
    x[15:18] = rng.integers(0, 10, (3, rows)) / 10
    x[18:] = rng.standard_normal((2, rows))
    location = 10 * np.sin(np.pi * x[0] * x[1]) + 20 * (x[2] - 0.5) ** 2 + 10 * x[3] + 5 * x[4]
    location += 2 * (x[15] >= 0.5) * x[18]
    scale = 0.5 + 2 * x[5] + 1.5 * (x[6] > 0.5) * x[3] + 0.3 * np.exp(x[19] / 2)
    left, right = np.exp(0.5 - x[7]), np.exp(x[7] - 0.5)
    size = np.abs(rng.standard_t(5, rows))
    error = np.where(rng.uniform(size=rows) < right / (left + right), right * size, -left * size)
    names = [f"x{j}" for j in range(20)]
    return pl.DataFrame({**dict(zip(names, x, strict=True)), "y": location + scale * error}), names


def mixed(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    """Draw a small table with every type of feature, missing values and missing targets."""
    x, site = rng.normal(size=rows), rng.choice(["a", "b", "c"], rows)
    wet = rng.uniform(size=rows) < 0.5
    y = 2 * x + np.array([0.0, 3.0, -3.0])[np.searchsorted(["a", "b", "c"], site)] + wet
    y = y + (0.3 + wet) * rng.normal(size=rows)
    hide = rng.uniform(size=(3, rows)) < 0.1
    table = pl.DataFrame({"x": x, "site": site, "wet": wet, "y": y})
    return table.with_columns(
        pl.when(~pl.Series(hidden)).then(pl.col(name)).alias(name)
        for name, hidden in zip(("x", "site", "y"), hide, strict=True)
    )


def fit(table: pl.DataFrame, features: list[str], levels: tuple[float, ...] = LEVELS) -> Fitted:
    """Fit on five folds contiguous in row order."""
    folds = contiguous_folds(np.arange(table.height), 5)
    return fit_forecaster(table, "y", features, levels, folds, 1)


def loss_of(table: pl.DataFrame, quantiles: np.ndarray, levels: tuple[float, ...]) -> float:
    """Return the mean pinball loss over rows with a target."""
    y = table["y"].to_numpy()
    return float(np.nanmean(pinball_loss(y, quantiles, levels)))


@pytest.fixture(scope="module")
def fitted_mixed() -> tuple[Fitted, pl.DataFrame]:
    """Fit on the mixed table once for the tests of what a fitted forecaster does."""
    table = mixed(600, np.random.default_rng(4))
    return fit(table, ["x", "site", "wet"]), table


@pytest.mark.slow
def test_heteroscedastic_target_beats_nine_separate_boostings() -> None:
    """On HET one model has a lower loss than LightGBM per level, sorted, and honest coverage."""
    import lightgbm

    train, names = heteroscedastic(1500, 1)
    test, _ = heteroscedastic(3000, 2)
    fitted = fit(train, names, NINE)
    assert fitted.kind in {"symmetric", "aggregate"}
    quantiles = fitted.predict(test)
    own = loss_of(test, quantiles, NINE)

    y = test["y"].to_numpy()
    assert own < 0.7 * loss_of(test, np.tile(np.quantile(train["y"], NINE), (3000, 1)), NINE)
    # coverage of 3,000 rows, and of residual quantiles of 1,500
    coverage = np.mean((y >= quantiles[:, 0]) & (y <= quantiles[:, -1]))
    assert abs(coverage - 0.9) < 4 * np.sqrt(0.09 / 3000 + 0.09 / 1500)

    settings = {"objective": "quantile", "verbose": -1, "num_threads": 1}
    nine = [
        lightgbm.train(
            settings | {"alpha": level},
            lightgbm.Dataset(train[names].to_numpy(), train["y"].to_numpy()),
            num_boost_round=50,
        ).predict(test[names].to_numpy())
        for level in NINE
    ]
    assert own < loss_of(test, np.sort(np.column_stack(nine), axis=1), NINE)


def test_predictions_are_finite_and_do_not_cross(
    fitted_mixed: tuple[Fitted, pl.DataFrame], rng: np.random.Generator
) -> None:
    """Far outside the training data, with nulls and new categories, quantiles stay in order."""
    fitted, table = fitted_mixed
    assert fitted.kind != "climatology"
    wild = pl.DataFrame(
        {
            "x": [1e12, -1e12, None, 0.0],
            "site": ["new", None, "a", "b"],
            "wet": [None, True, False, None],
        }
    )
    for rows in (wild, table, mixed(200, rng)):
        quantiles = fitted.predict(rows)
        assert quantiles.shape == (rows.height, len(LEVELS))
        assert np.isfinite(quantiles).all()
        assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (np.diff(fitted.out_of_fold, axis=1)[table["y"].is_not_null()] >= 0).all()


def test_out_of_fold_quantiles_cover_every_row_with_a_target(
    fitted_mixed: tuple[Fitted, pl.DataFrame],
) -> None:
    """Rows without a target are NaN and no others, and their loss is the one reported."""
    fitted, table = fitted_mixed
    missing = table["y"].is_null().to_numpy()
    assert (np.isnan(fitted.out_of_fold).any(axis=1) == missing).all()
    assert loss_of(table, fitted.out_of_fold, LEVELS) == pytest.approx(fitted.losses[fitted.kind])
    assert fitted.losses[fitted.kind] == min(fitted.losses.values())


@pytest.mark.parametrize(
    "cross_fit", [cross_fit_location_scale, cross_fit_symmetric, cross_fit_direct]
)
def test_out_of_fold_quantiles_do_not_see_their_own_outcome(
    cross_fit: Callable[..., CrossFit], rng: np.random.Generator
) -> None:
    """On noise that row-by-row features could memorise, out-of-fold losses show no skill."""
    X, y = rng.normal(size=(300, 8)), rng.normal(size=300)
    folds, levels = np.arange(300) % 5, np.array(LEVELS)
    found = cross_fit(TrainingSet(X, y, folds, levels, seed=1))
    honest = pinball_loss(y, found.quantiles, levels).mean()
    seen = pinball_loss(y, found.refit().quantiles(X), levels).mean()
    unconditional = pinball_loss(y, np.tile(np.quantile(y, levels), (300, 1)), levels).mean()
    assert seen < 0.95 * unconditional
    assert honest > 0.97 * unconditional


def test_columns_may_come_in_any_order(fitted_mixed: tuple[Fitted, pl.DataFrame]) -> None:
    """Predictions follow names, not positions, and ignore further columns."""
    fitted, table = fitted_mixed
    shuffled = table.select("wet", "y", "site", "x").with_columns(other=1)
    np.testing.assert_array_equal(fitted.predict(table), fitted.predict(shuffled))


def test_missing_column_is_one_error_that_names_it(
    fitted_mixed: tuple[Fitted, pl.DataFrame],
) -> None:
    """A table without a feature is refused before anything is computed."""
    fitted, table = fitted_mixed
    with pytest.raises(SourceError, match="'site'"):
        fitted.predict(table.drop("site"))


def test_empty_table_gives_no_rows(fitted_mixed: tuple[Fitted, pl.DataFrame]) -> None:
    """No rows in, no rows out, of the right width."""
    fitted, table = fitted_mixed
    assert fitted.predict(table.head(0)).shape == (0, len(LEVELS))


@pytest.mark.parametrize(
    "kinds",
    [
        ("location_scale",),
        ("symmetric",),
        ("direct",),
        ("climatology",),
        ("symmetric", "location_scale", "linear", "aggregate"),
    ],
)
def test_reload_is_bit_equal(
    kinds: tuple[str, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    """Each kind predicts the same bits and has the same id after save and load."""
    x, z = rng.uniform(size=(2, 400))
    table = pl.DataFrame({"x": x, "z": z})
    table = table.with_columns(y=np.sin(6 * x) + 3 * z + (0.1 + x) * rng.normal(size=400))
    fitted = fit_forecaster(table, "y", ["x", "z"], LEVELS, np.arange(400) % 3, 1, kinds=kinds)
    assert fitted.kind == kinds[-1]
    fitted.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(fitted.predict(table), again.predict(table))
    assert again.model_id == fitted.model_id
    assert not list((tmp_path / "model").glob("*.partial"))
    assert {path.suffix for path in (tmp_path / "model").iterdir()} <= {".json", ".txt"}


def test_same_table_and_seed_give_the_same_model(rng: np.random.Generator) -> None:
    """Fits are reproducible to the bit; another seed or table is another id."""
    table = mixed(200, rng)
    one, two = fit(table, ["x", "site"]), fit(table, ["x", "site"])
    assert one.model_id == two.model_id
    np.testing.assert_array_equal(one.out_of_fold, two.out_of_fold)
    assert fit(table.head(190), ["x", "site"]).model_id != one.model_id


def test_fitted_travels_to_other_processes(fitted_mixed: tuple[Fitted, pl.DataFrame]) -> None:
    """A fitted forecaster can be sent to workers, and predicts the same there."""
    fitted, table = fitted_mixed
    sent = pickle.loads(pickle.dumps(fitted))  # noqa: S301 (our own bytes)
    np.testing.assert_array_equal(sent.predict(table), fitted.predict(table))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "forecaster.json").unlink(), "cannot be read"),
        (lambda f: (f / "forecaster.json").write_text("{"), "damaged"),
        (lambda f: (f / "booster_0.txt").write_text("tree"), "booster_0.txt is not the one"),
        (lambda f: rewrite(f, version=99), "version 99"),
        (lambda f: rewrite(f, kind="magic"), "damaged"),
    ],
)
def test_damaged_folders_are_explained(
    damage: object, says: str, tmp_path: Path, fitted_mixed: tuple[Fitted, pl.DataFrame]
) -> None:
    """Missing, damaged and newer files are one error that says what to do."""
    fitted_mixed[0].save(tmp_path)
    assert callable(damage)
    damage(tmp_path)
    with pytest.raises(BaselineError, match=f"{says}.*tidegauge fit"):
        load(tmp_path)


def rewrite(folder: Path, **change: object) -> None:
    """Change values of a saved forecaster."""
    path = folder / "forecaster.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    "target",
    ["constant", "zeros", "ties", "outlier", "huge", "integers"],
)
def test_hard_targets_do_not_blow_up(target: str, rng: np.random.Generator) -> None:
    """Ties, zeros, outliers and extreme units stay within the target's range, widened by itself."""
    x = rng.uniform(size=300)
    y = {
        "constant": np.full(300, 7.0),
        "zeros": np.where(x > 0.95, 100 * x, 0.0),
        "ties": np.round(x * 2),
        "outlier": np.where(np.arange(300) == 150, 1e12, rng.normal(size=300)),
        "huge": 1e150 * rng.normal(size=300),
        "integers": rng.poisson(3, 300).astype(np.int64),
    }[target]
    table = pl.DataFrame({"x": x, "y": y})
    fitted = fit(table, ["x"])
    quantiles = fitted.predict(table)
    assert np.isfinite(quantiles).all()
    reach = float(y.max() - y.min())
    assert quantiles.min() >= y.min() - reach
    assert quantiles.max() <= y.max() + reach
    assert fitted.losses[fitted.kind] <= fitted.losses["climatology"]
    if target == "constant":
        assert fitted.kind == "climatology"
        assert (quantiles == 7.0).all()


@pytest.mark.parametrize("rows", [1, 2, 49, 50])
def test_few_rows_fall_back_to_climatology(rows: int, rng: np.random.Generator) -> None:
    """Below fifty rows no model is tried; at fifty it is, and does no harm."""
    x = rng.normal(size=rows)
    table = pl.DataFrame({"x": x, "y": x + 0.01 * rng.normal(size=rows)})
    fitted = fit(table, ["x"])
    assert (len(fitted.losses) == 1) is (rows < 50)
    assert np.isfinite(fitted.predict(table)).all()
    assert np.isfinite(fitted.out_of_fold).all()


@pytest.mark.parametrize("features", [[], ["constant"], ["missing"]])
def test_features_that_say_nothing_leave_climatology(
    features: list[str], rng: np.random.Generator
) -> None:
    """Without informative features the forecast is the same for all rows, and no error."""
    table = pl.DataFrame({"y": rng.normal(size=200)}).with_columns(
        constant=1.0, missing=pl.lit(None, pl.Float64)
    )
    fitted = fit(table, features)
    assert np.ptp(fitted.predict(table), axis=0).max() == 0
    assert fitted.losses[fitted.kind] <= fitted.losses["climatology"]


def test_noise_is_left_to_climatology(rng: np.random.Generator) -> None:
    """A target that no feature explains is not worse than its unconditional quantiles."""
    table = pl.DataFrame({"x": rng.normal(size=400), "y": rng.standard_t(2, size=400)})
    fitted = fit(table, ["x"])
    assert fitted.losses[fitted.kind] == min(fitted.losses.values())
    assert loss_of(table, fitted.out_of_fold, LEVELS) <= fitted.losses["climatology"] + 1e-12


@pytest.mark.parametrize(
    ("target", "features", "says"),
    [
        ("nothing", ["x"], "'nothing' has no value in any of 60 rows"),
        ("site", ["x"], "'site' holds String values, not numbers"),
        ("yy", ["x"], r"no column 'yy' \(did you mean 'y'\?\)|no column 'yy'"),
        ("y", ["x", "z"], "no column 'z'"),
    ],
)
def test_targets_and_features_that_cannot_be_used_are_named(
    target: str, features: list[str], says: str
) -> None:
    """What the table cannot give is one error naming the column."""
    table = mixed(60, np.random.default_rng(1)).with_columns(nothing=pl.lit(None, pl.Float64))
    with pytest.raises(SourceError, match=says):
        fit_forecaster(table, target, features, LEVELS, contiguous_folds(np.arange(60), 3), 1)


def test_folds_are_contiguous_in_the_order_given() -> None:
    """Rows are cut by their order, not by their position in the table."""
    order = np.array([5, 0, 3, 1, 4, 2])
    assert contiguous_folds(order, 3).tolist() == [2, 0, 1, 0, 2, 1]


@settings(max_examples=5)
@given(
    seed=st.integers(0, 1000),
    atoms=st.floats(0, 0.9),
    levels=st.lists(st.integers(1, 99), min_size=2, max_size=9, unique=True),
)
def test_quantiles_never_cross_whatever_the_target(
    seed: int, atoms: float, levels: list[int]
) -> None:
    """For any mixture of atoms and a continuous part, and any levels, order holds."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=120)
    y = np.where(rng.uniform(size=120) < atoms, np.round(x), x + rng.standard_cauchy(120))
    table = pl.DataFrame({"x": x, "y": y})
    fitted = fit(table, ["x"], tuple(level / 100 for level in sorted(levels)))
    for quantiles in (fitted.predict(table), fitted.out_of_fold):
        assert (np.diff(quantiles, axis=1) >= 0).all()


def test_one_fold_of_many_rows_is_halved(rng: np.random.Generator) -> None:
    """More rows than the kind is chosen on, all of one fold: both halves are among the chosen."""
    table = pl.DataFrame({"x": rng.normal(size=10_001)})
    table = table.with_columns(y=2 * pl.col("x") + pl.Series(rng.normal(size=10_001)))
    fitted = fit_forecaster(table, "y", ["x"], (0.1, 0.5, 0.9), np.zeros(10_001, np.int64), 1)
    assert fitted.kind == "linear"


def test_a_target_constant_in_all_but_one_fold_is_no_error(rng: np.random.Generator) -> None:
    """A fold's complement may hold one value only; every kind then forecasts that."""
    y = np.where(np.arange(100) >= 80, rng.normal(size=100), 0.0)
    fitted = fit(pl.DataFrame({"x": rng.normal(size=100), "y": y}), ["x"])
    assert fitted.losses[fitted.kind] <= fitted.losses["climatology"]


def test_an_aggregate_of_many_rows_is_tried_where_no_other_kind_is_named() -> None:
    """Its cost is that of all its members; beyond ten thousand rows one kind is chosen."""
    rng = np.random.default_rng(6)
    table = pl.DataFrame({"x": rng.normal(size=10_001)})
    table = table.with_columns(y=2 * pl.col("x") + pl.Series(rng.normal(size=10_001)))
    folds = np.arange(10_001) % 2
    both = fit_forecaster(table, "y", ["x"], LEVELS, folds, 1, kinds=("linear", "aggregate"))
    assert set(both.losses) == {"climatology", "linear"}


def test_family_that_a_single_row_rules_out_is_not_chosen_on_the_others(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many rows, kinds are compared on some; the rest may hold what a family cannot have."""
    monkeypatch.setattr(select, "_ROWS_TO_COMBINE", 300)
    monkeypatch.setattr(select, "_ROWS_TO_CHOOSE", 150)
    x = rng.standard_normal(600)
    y = np.exp(x + 0.2 * rng.standard_normal(600))
    y[np.setdiff1d(np.arange(600), some_rows(600, 150, 0))[0]] = 0.0
    folds = contiguous_folds(np.arange(600), 3)
    table = pl.DataFrame({"x": x, "y": y})
    fitted = fit_forecaster(table, "y", ["x"], LEVELS, folds, 0, kinds=("lognormal", "linear"))
    assert fitted.kind == "linear"
