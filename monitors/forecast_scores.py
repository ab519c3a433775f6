"""Scores of a window's forecasts as mergeable counts, and tests of them against the reference's.

The reference's own windows are the null: they show how far coverage, pinball loss and PIT wander
from window to window when nothing is wrong, serial dependence included. Every p-value also carries
the uncertainty of having seen only so many windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from monitors.counts import RateLaw, fit_rate
from schemas.errors import BaselineError
from transforms.scores import interval_misses, pinball_loss, pit_values

Floats = NDArray[np.float64]
Monitor = Literal["coverage", "pinball", "pit"]

NULL_VERSION = 2
PIT_BINS = 10
FEWEST_WINDOWS = 8  # of the reference: fewer say too little about the spread between windows
FEWEST_ROWS = 20  # scored in a window
_NO_SPREAD = 1e-9  # of logs: rounding
_LARGEST_STATISTIC = 300.0  # −log10 of the smallest p-value that a float can hold


@dataclass(frozen=True, slots=True)
class ForecastScores:
    """Sums over the rows of one window; `merge` adds them in any order."""

    scored: int = 0
    no_outcome: int = 0
    below: int = 0  #: outcomes below the calibrated interval
    above: int = 0
    pinball_sum: float = 0.0  #: of each row's mean over levels
    width_sum: float = 0.0  #: of the calibrated intervals; inf when one is infinite
    pit: tuple[int, ...] = (0,) * PIT_BINS  #: histogram of PIT values, bins of equal width

    @property
    def misses(self) -> int:
        """Outcomes outside the interval."""
        return self.below + self.above

    @property
    def pinball(self) -> float:
        """Mean pinball loss; NaN when nothing was scored."""
        return self.pinball_sum / self.scored if self.scored else math.nan

    @property
    def coverage(self) -> float:
        """Share of outcomes inside the interval; NaN when nothing was scored."""
        return 1 - self.misses / self.scored if self.scored else math.nan

    def merge(self, other: ForecastScores) -> ForecastScores:
        """Return the scores of both sets of rows together."""
        return ForecastScores(
            scored=self.scored + other.scored,
            no_outcome=self.no_outcome + other.no_outcome,
            below=self.below + other.below,
            above=self.above + other.above,
            pinball_sum=self.pinball_sum + other.pinball_sum,
            width_sum=self.width_sum + other.width_sum,
            pit=tuple(a + b for a, b in zip(self.pit, other.pit, strict=True)),
        )

    def minus(self, other: ForecastScores) -> ForecastScores:
        """Return what to merge where rows were scored as `other`, and are now as in this one.

        An infinite width stays in the sum that it was added to.
        """
        return ForecastScores(
            scored=self.scored - other.scored,
            no_outcome=self.no_outcome - other.no_outcome,
            below=self.below - other.below,
            above=self.above - other.above,
            pinball_sum=self.pinball_sum - other.pinball_sum,
            width_sum=self.width_sum - other.width_sum if math.isfinite(other.width_sum) else 0.0,
            pit=tuple(a - b for a, b in zip(self.pit, other.pit, strict=True)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; an infinite width is null."""
        finite = self.width_sum if math.isfinite(self.width_sum) else None
        return asdict(self) | {"pit": list(self.pit), "width_sum": finite}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ForecastScores:
        """Return what `to_dict` wrote."""
        width = state["width_sum"]
        parts = {"pit": tuple(state["pit"]), "width_sum": math.inf if width is None else width}
        return cls(**(dict(state) | parts))


def score(
    quantiles: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    outcome: ArrayLike,
    levels: Sequence[float],
) -> ForecastScores:
    """Score the forecasts of some rows.

    Parameters
    ----------
    quantiles : array, shape (n, k)
        In the unit of the target; a row with a NaN counts as having no outcome.
    lower, upper : arrays, shape (n,)
        Ends of the calibrated interval.
    outcome : array, shape (n,)
        NaN where it is not known.
    levels : k floats
    """
    q, y = np.asarray(quantiles, np.float64), np.asarray(outcome, np.float64)
    lo, hi = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    known = np.isfinite(y) & ~np.isnan(q).any(axis=1) & ~np.isnan(lo) & ~np.isnan(hi)
    q, y, lo, hi = q[known], y[known], lo[known], hi[known]
    below, above = interval_misses(y, lo, hi)
    place = np.minimum((pit_values(y, q, levels) * PIT_BINS).astype(np.int64), PIT_BINS - 1)
    return ForecastScores(
        scored=len(y),
        no_outcome=int((~known).sum()),
        below=int(below.sum()),
        above=int(above.sum()),
        pinball_sum=float(pinball_loss(y, q, levels).mean(axis=1).sum()),
        width_sum=float((hi - lo).sum()),
        pit=tuple(np.bincount(place, minlength=PIT_BINS).tolist()),
    )


@dataclass(frozen=True, slots=True)
class ScoreNull:
    """What windows look like when nothing is wrong, learnt from the reference's windows."""

    interval: float  #: nominal coverage, for the explanations
    misses: RateLaw  #: of outcomes outside the interval; knows how many windows had enough rows
    window_rows: float  #: scored in the median one
    log_pinball: tuple[float, float]  #: mean and standard deviation of log mean loss
    pit_share: tuple[float, ...]  #: of each bin, with half a row added to each
    log_chi_square: tuple[float, float]  #: mean and standard deviation of log PIT χ²

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"version": NULL_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ScoreNull:
        """Return what `to_dict` wrote.

        Raises
        ------
        BaselineError
            When it was written by another version.
        """
        parts = dict(state)
        if (version := parts.pop("version", None)) != NULL_VERSION:
            raise BaselineError(
                f"the scores of the reference have version {version!r}, this program reads "
                f"{NULL_VERSION}; run `tidegauge fit` again"
            )
        for name, value in parts.items():
            parts[name] = tuple(value) if isinstance(value, list) else value
        misses = parts["misses"] | {"prior": tuple(parts["misses"]["prior"])}
        return cls(**parts | {"misses": RateLaw(**misses)})


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """What one test says about one window; no statistic means it was not tested."""

    statistic: float | None  #: −log10 of the p-value, to be held against `threshold_for`
    p_value: float | None
    effect: float | None
    explanation: str

    @property
    def tested(self) -> bool:
        """Whether there was enough to test."""
        return self.statistic is not None


def threshold_for(level: float) -> float:
    """Return what a statistic must exceed for a false-alarm rate of `level`: −log10 of it."""
    return -math.log10(level)


def score_null(per_window_reference: Sequence[ForecastScores], interval: float) -> ScoreNull:
    """Learn the null from the reference's contiguous windows.

    Parameters
    ----------
    per_window_reference : sequence of ForecastScores
        Out-of-fold scores of each window of the reference, as long as the windows to be tested.
        Those with fewer than half the median window's rows are left out.
    interval : float
        Nominal coverage of the calibrated interval.
    """
    counts = [w.scored for w in per_window_reference if w.scored]
    typical = float(np.median(counts)) if counts else 0.0
    used = [w for w in per_window_reference if w.scored >= max(1.0, typical / 2)]
    misses = np.array([w.misses for w in used], np.int64)
    with np.errstate(divide="ignore"):
        losses = np.log([w.pinball for w in used])
    bins = np.array([w.pit for w in used], np.float64).reshape(-1, PIT_BINS)
    # each window against the others, as a new window will be against all of them
    chi_squares = [_pit_chi_square(own, _shares(bins.sum(axis=0) - own)) for own in bins]
    return ScoreNull(
        interval=interval,
        misses=fit_rate(misses, np.array([w.scored for w in used], np.float64)),
        window_rows=typical,
        log_pinball=_mean_and_deviation(losses),
        pit_share=tuple(_shares(bins.sum(axis=0)).tolist()),
        log_chi_square=_mean_and_deviation(np.log(np.maximum(chi_squares, 1e-300))),
    )


def test_scores(window: ForecastScores, null: ScoreNull) -> dict[Monitor, ScoreResult]:
    """Test coverage, pinball loss and PIT of one window against the reference's windows.

    - coverage, two-sided: the exact count of misses, over-dispersed like the reference's
      (`monitors.counts`). Effect: change of the share inside the interval.
    - pinball, one-sided: log of the mean loss against its mean over the reference's windows, by the
      predictive t distribution, s √(1 + 1/C). Effect: relative change of the mean loss.
    - PIT: log of the χ² of the histogram against the reference's histogram, whose mean over windows
      is its over-dispersion, again by the predictive t distribution. Effect: total variation
      distance of the two histograms.

    The null is on the safe side for windows of other lengths: noise between rows is taken to grow
    in shorter windows, and not to average out in longer ones.
    """
    reason = None
    if null.misses.windows < FEWEST_WINDOWS:
        reason = (
            f"the reference has {null.misses.windows} windows with scored forecasts, "
            f"at least {FEWEST_WINDOWS} are needed"
        )
    elif window.scored < FEWEST_ROWS:
        reason = (
            f"{window.scored} forecasts of the window have an outcome "
            f"({window.no_outcome} have none yet), at least {FEWEST_ROWS} are needed"
        )
    if reason is not None:
        untested = ScoreResult(None, None, None, f"not tested: {reason}")
        return {"coverage": untested, "pinball": untested, "pit": untested}
    return {
        "coverage": _coverage(window, null),
        "pinball": _pinball(window, null),
        "pit": _pit(window, null),
    }


def _coverage(window: ForecastScores, null: ScoreNull) -> ScoreResult:
    n, law = window.scored, null.misses
    statistic = law.evidence(window.misses, n, two_sided=True, times_longer=n / null.window_rows)
    rate = (law.events + 0.5) / (law.rows + 1.0)  # kept off 0 and 1 by half a row on each side
    return ScoreResult(
        statistic=statistic,
        p_value=10.0**-statistic,
        effect=rate - window.misses / n,
        explanation=(
            f"{_percent(window.coverage)} of outcomes fell inside the {_percent(null.interval)} "
            f"interval ({n - window.misses} of {n}; {window.below} below, {window.above} above), "
            f"against {_percent(1 - rate)} in the reference"
        ),
    )


def _pinball(window: ForecastScores, null: ScoreNull) -> ScoreResult:
    mean, deviation = null.log_pinball
    reference = math.exp(mean)
    if deviation == 0 or window.pinball_sum <= 0:  # below 0: rounding, after a revision
        return ScoreResult(
            None,
            None,
            None,
            "not tested: forecasts are exact, or lose the same in every window",
        )
    deviation *= math.sqrt(max(1.0, null.window_rows / window.scored))
    p_value = _predictive_tail(math.log(window.pinball), mean, deviation, null.misses.windows)
    change = window.pinball / reference - 1
    return ScoreResult(
        statistic=_surprise(p_value),
        p_value=p_value,
        effect=change,
        explanation=(
            f"mean pinball loss {window.pinball:.3g} against {reference:.3g} in the reference "
            f"({100 * change:+.0f} %)"
        ),
    )


def _pit(window: ForecastScores, null: ScoreNull) -> ScoreResult:
    bins, share = np.array(window.pit, np.float64), np.array(null.pit_share)
    mean, deviation = null.log_chi_square
    if deviation == 0:
        return ScoreResult(None, None, None, "not tested: the PIT of every window is equal")
    chi_square = _pit_chi_square(bins, share)
    grown = max(1.0, window.scored / null.window_rows)  # as χ² of the same shift would
    value = math.log(max(chi_square / grown, 1e-300))  # 0 when the histogram is the reference's own
    p_value = _predictive_tail(value, mean, deviation, null.misses.windows)
    difference = bins / bins.sum() - share
    worst = int(np.argmax(np.abs(difference)))
    return ScoreResult(
        statistic=_surprise(p_value),
        p_value=p_value,
        effect=float(np.abs(difference).sum() / 2),
        explanation=(
            f"{_percent(bins[worst] / bins.sum())} of outcomes fell between the "
            f"{_percent(worst / PIT_BINS)} and {_percent((worst + 1) / PIT_BINS)} forecast "
            f"quantiles, against {_percent(share[worst])} in the reference "
            f"(χ² of the PIT histogram {chi_square:.3g}, {math.exp(mean):.3g} in a typical window)"
        ),
    )


def _predictive_tail(value: float, mean: float, deviation: float, windows: int) -> float:
    """Chance that the next window exceeds `value`, by the predictive t distribution.

    Half of the C − 1 degrees of freedom: logs of sums of dependent losses lean to the right, and
    the wider tail pays for it. With all of them, false alarms at level .002 are two to three times
    too many on weekly windows of an hourly AR(1) with φ = .8.
    """
    spread = deviation * math.sqrt(1 + 1 / windows)
    return float(special.stdtr((windows - 1) / 2, -(value - mean) / spread))


def _pit_chi_square(bins: Floats, share: Floats) -> float:
    expected = bins.sum() * share
    return float(((bins - expected) ** 2 / expected).sum())


def _shares(bins: Floats) -> Floats:
    shares: Floats = (bins + 0.5) / (bins.sum() + PIT_BINS / 2)
    return shares


def _mean_and_deviation(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation; zeros where there is no spread to measure others against."""
    if len(values) == 0 or not np.isfinite(values).all() or np.ptp(values) < _NO_SPREAD:
        return 0.0, 0.0
    return float(values.mean()), float(values.std(ddof=1))


def _surprise(p_value: float) -> float:
    return min(_LARGEST_STATISTIC, -math.log10(p_value)) if p_value > 0 else _LARGEST_STATISTIC


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
