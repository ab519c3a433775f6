"""Tests of the aggregate as a kind of forecaster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
from scipy.special import ndtri

from transforms.forecast import contiguous_folds, fit_forecaster, load
from transforms.forecast.aggregate.cross_fit import (
    COARSE,
    LOCAL_COARSE,
    LOCAL_MEDIUM,
    MEDIUM,
    aggregate_trials,
)
from transforms.forecast.aggregate.model import Aggregate
from transforms.forecast.empirical import cross_fit_climatology, mean_pinball
from transforms.forecast.training import CrossFit, TrainingSet

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95])


@dataclass(frozen=True, slots=True)
class Known:
    """A forecaster that needs no fit: normal quantiles around a sum of features."""

    kind: ClassVar[str] = "known"
    slopes: tuple[float, ...]
    spread: float = 1.0
    boosters: tuple[str, ...] = ()

    def quantiles(self, X: np.ndarray) -> np.ndarray:
        """Return the quantiles of each row."""
        return np.asarray((X @ np.array(self.slopes))[:, None] + self.spread * ndtri(LEVELS))

    def to_dict(self) -> dict[str, Any]:
        """Return nothing: it is never saved."""
        return {}

    def trial(self, training: TrainingSet) -> CrossFit:
        """Return it as a cross-fit."""
        return CrossFit(self.quantiles(training.X), lambda: self)


def training_of(X: np.ndarray, y: np.ndarray) -> TrainingSet:
    """Return rows in five folds."""
    return TrainingSet(X, y, np.arange(len(y)) % 5, LEVELS)


def two_halves(rng: np.random.Generator, rows: int) -> tuple[TrainingSet, Mapping[str, Known]]:
    """Return outcomes that are the sum of two features, and forecasters that know one each."""
    X = rng.standard_normal((rows, 2))
    return training_of(X, X.sum(axis=1) + 0.5 * rng.standard_normal(rows)), {
        "first": Known((1.0, 0.0), 1.2),
        "second": Known((0.0, 1.0), 1.2),
    }


def switching(rng: np.random.Generator, rows: int) -> tuple[TrainingSet, Mapping[str, Known]]:
    """Return outcomes that follow one feature or another, by the sign of a third."""
    X = rng.standard_normal((rows, 3))
    y = 2 * np.where(X[:, 2] > 0, X[:, 0], X[:, 1]) + 0.5 * rng.standard_normal(rows)
    return training_of(X, y), {"right": Known((2.0, 0, 0)), "left": Known((0, 2.0, 0))}


def test_aggregate_beats_each_of_its_members(rng: np.random.Generator) -> None:
    """Forecasters that know different things are better together, on rows not seen as well."""
    training, members = two_halves(rng, 600)
    fitted = aggregate_trials(training, {k: m.trial(training) for k, m in members.items()}).refit()
    fresh, _ = two_halves(rng, 4000)
    best = min(mean_pinball(fresh.y, m.quantiles(fresh.X), LEVELS) for m in members.values())
    assert isinstance(fitted, Aggregate)
    assert mean_pinball(fresh.y, fitted.quantiles(fresh.X), LEVELS) < 0.95 * best


def test_local_weights_follow_the_feature_that_tells(rng: np.random.Generator) -> None:
    """Where a feature tells which member is right, weights that read it are chosen."""
    training, members = switching(rng, 1500)
    trials = {k: m.trial(training) for k, m in members.items()}
    fitted = aggregate_trials(training, trials).refit()
    assert isinstance(fitted, Aggregate)
    assert fitted.weights.inputs is not None
    fresh, _ = switching(rng, 4000)
    coarse = aggregate_trials(training, trials, [COARSE]).refit()
    lost = [mean_pinball(fresh.y, m.quantiles(fresh.X), LEVELS) for m in (fitted, coarse)]
    assert lost[0] < 0.8 * lost[1]


@pytest.mark.parametrize("scheme", [COARSE, MEDIUM, LOCAL_COARSE, LOCAL_MEDIUM])
def test_weights_of_a_fold_have_not_seen_its_outcomes(
    rng: np.random.Generator, scheme: Any
) -> None:
    """Other outcomes in one fold change the forecasts of the other folds, not its own."""
    training, members = two_halves(rng, 500)
    own = training.folds == 2
    changed = replace(training, y=np.where(own, training.y + training.X[:, 0], training.y))
    before, after = (
        aggregate_trials(t, {k: m.trial(t) for k, m in members.items()}, [scheme]).quantiles
        for t in (training, changed)
    )
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[~own] != after[~own]).any()


def test_loss_out_of_fold_is_what_new_rows_show(rng: np.random.Generator) -> None:
    """The loss claimed is that on 20,000 new rows, within three standard errors."""
    training, members = switching(rng, 1500)
    cross_fit = aggregate_trials(training, {k: m.trial(training) for k, m in members.items()})
    fresh, _ = switching(rng, 20_000)
    truth = mean_pinball(fresh.y, cross_fit.refit().quantiles(fresh.X), LEVELS)
    error = np.maximum(
        LEVELS * (training.y[:, None] - cross_fit.quantiles),
        (LEVELS - 1) * (training.y[:, None] - cross_fit.quantiles),
    ).mean(axis=1)
    assert abs(error.mean() - truth) < 3 * error.std() / np.sqrt(len(error))


def test_nothing_is_gained_from_noise() -> None:
    """Of 25 targets without any relation to the features, few get an aggregate, and none a gain.

    Members are climatology plus noise. Five of 80 such targets got an aggregate; at that rate six
    or more of 25 have a probability of 0.4 %.
    """
    combined, gains = 0, []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((200, 3)), rng.standard_normal(200)
        training = training_of(X, y)
        climatology = cross_fit_climatology(training)
        trials = {"climatology": climatology} | {
            f"noise {place}": replace(
                climatology, quantiles=climatology.quantiles + slope * X[:, [place]]
            )
            for place, slope in enumerate((0.05, 0.1, 0.2))
        }
        found = aggregate_trials(training, trials)
        least = min(mean_pinball(y, trial.quantiles, LEVELS) for trial in trials.values())
        combined += all(found is not trial for trial in trials.values())
        gains.append(1 - mean_pinball(y, found.quantiles, LEVELS) / least)
    assert combined < 6
    assert np.mean(gains) < 0.0005


def test_best_member_is_returned_where_nothing_is_gained(rng: np.random.Generator) -> None:
    """A member that knows the law is returned as it is; bad ones are not even fitted."""
    X = rng.standard_normal((500, 2))
    training = training_of(X, X[:, 0] + rng.standard_normal(500))

    def refuse() -> Known:
        raise AssertionError

    trials = {
        "true": Known((1.0, 0.0)).trial(training),
        "bad": CrossFit(Known((-9.0, 0.0)).quantiles(X), refuse),
    }
    assert aggregate_trials(training, trials) is trials["true"]
    other = Known((0.0, 1.0)).trial(training)
    training = replace(training, y=X.sum(axis=1) + rng.standard_normal(500))
    fitted = aggregate_trials(training, trials | {"other": other}).refit()
    assert isinstance(fitted, Aggregate)
    assert len(fitted.members) == 2


def test_saved_aggregate_predicts_bit_equal(rng: np.random.Generator, tmp_path: Path) -> None:
    """Members' boosters are found again; columns may come in any order."""
    x = rng.uniform(size=(300, 3))
    y = np.sin(6 * x[:, 0]) + 2 * x[:, 1] + 0.3 * rng.standard_normal(300)
    table = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y})
    folds = contiguous_folds(np.arange(300), 3)
    fitted = fit_forecaster(
        table, "y", ["a", "b", "c"], LEVELS.tolist(), folds, 0, kinds=("aggregate",)
    )
    assert isinstance(fitted.model, Aggregate)
    assert fitted.kind == "aggregate"
    fitted.save(tmp_path)
    again = load(tmp_path)
    expected = fitted.predict(table)
    np.testing.assert_array_equal(again.predict(table.select("c", "b", "a")), expected)
    assert again.model_id == fitted.model_id
    assert (np.diff(expected, axis=1) >= 0).all()
