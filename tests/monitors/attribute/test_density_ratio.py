from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from monitors.attribute import logistic
from monitors.attribute.density_ratio import conditional_ratio, joint_ratio
from monitors.attribute.encoded import Encoded, encode_both
from schemas.stream import Column

ROWS, WINDOW = 2000, 500


def _encoded(before: np.ndarray, after: np.ndarray) -> Encoded:
    names = [f"x{j}" for j in range(before.shape[1])]
    old, new = (
        pa.table(dict(zip(names, np.ascontiguousarray(rows.T), strict=True)))
        for rows in (before, after)
    )
    return encode_both(old, new, dict.fromkeys(names, Column(type="number")), names)


def test_no_row_is_weighted_by_a_classifier_that_saw_it(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits of a fold stay as they are when its labels are turned round."""
    monkeypatch.setattr(logistic, "RIDGES", (1.0,))
    X = np.column_stack([np.ones(600), rng.standard_normal((600, 3))])
    target = rng.random(600) < 0.3
    folds = np.arange(600) // 10 % 5
    turned = np.where(folds == 2, ~target, target)
    before, after = (logistic.cross_fit(X, own, folds, np.zeros(600)) for own in (target, turned))
    np.testing.assert_allclose(before.logits[folds == 2], after.logits[folds == 2], atol=0.01)
    assert np.abs(before.logits[folds == 1] - after.logits[folds == 1]).max() > 0.1


def test_a_moved_mean_has_the_ratio_of_two_normal_densities(rng: np.random.Generator) -> None:
    """The weighted mean of the reference's rows is the window's, and others stay as they are."""
    shift = np.array([0.8, 0.0, 0.0])
    rows = _encoded(rng.standard_normal((ROWS, 3)), rng.standard_normal((WINDOW, 3)) + shift)
    logs = joint_ratio(rows, ["x0", "x1", "x2"]).values[:ROWS]
    x = rows.measured["x0"][:ROWS]
    assert np.corrcoef(logs, x)[0, 1] > 0.95
    weights = np.exp(logs) / np.exp(logs).sum()
    # The window's mean is known to 1/√500, the weighted one to 1/√(2000 e^-0.64).
    assert weights @ x == pytest.approx(0.8, abs=4 * np.sqrt(1 / 500 + np.exp(0.64) / 2000))
    assert weights @ rows.measured["x1"][:ROWS] == pytest.approx(0.0, abs=0.25)


def test_a_law_that_only_its_parents_moved_has_weights_of_one(rng: np.random.Generator) -> None:
    """P(x1 | x0) is as it was although both columns moved; a change of it is seen."""
    before, after = rng.standard_normal((ROWS, 2)), rng.standard_normal((WINDOW, 2))
    after[:, 0] += 0.7
    for own in (before, after):
        own[:, 1] = own[:, 0] + 0.5 * own[:, 1]
    still = _encoded(before, after)
    moved = _encoded(before, after + np.array([0.0, 0.4]))
    spread = [
        conditional_ratio(rows, "x1", ("x0",), joint_ratio(rows, ("x0",))).values[:ROWS].std()
        for rows in (still, moved)
    ]
    assert spread[0] < 0.25
    assert spread[1] == pytest.approx(0.8, abs=0.25)  # the log ratio is 0.4 e / 0.25: sd 0.8


def test_hundreds_of_columns_still_have_a_ratio(rng: np.random.Generator) -> None:
    """Beyond a hundred terms their principal components are the terms."""
    rows = _encoded(rng.standard_normal((400, 80)), rng.standard_normal((120, 80)))
    ratio = joint_ratio(rows, list(rows.groups))
    assert ratio.terms.shape == (520, 101)
    assert np.isfinite(ratio.values).all()
