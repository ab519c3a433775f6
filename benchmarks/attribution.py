"""Divides changes of loss whose cause is known: the paper's simulator, sensor faults, the weather.

Run by ``python -m benchmarks.attribution``; about two minutes. It prints the tables of
docs/methods/attribution.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from monitors.attribute.attribute import attribute
from monitors.attribute.attribution import Attribution
from monitors.attribute.shapley import shapley
from pipelines.demo import WEEK_SECONDS, hourly_weather, split_weeks
from schemas.forecasts import DEFAULT_LEVELS
from schemas.stream import Column
from transforms.calendar import calendar_names, calendar_terms
from transforms.forecast import fit_forecaster
from transforms.scores import pinball_loss

Floats = NDArray[np.float64]
Draw = Callable[[int, str, np.random.Generator], Floats]
NUMBER = Column(type="number")

PAPER_ROWS = 20_000
PAPER_NAMES = ["G", "Y", "X1", "X2", "X3"]
PAPER_GRAPH = {"Y": ("G",), "X1": ("Y",), "X2": ("G", "Y"), "X3": ("G", "Y")}

OTHERS, ROWS, WINDOW, TRIALS, TRUTH_ROWS = 18, 2000, 500, 100, 200_000
FAULTS: dict[str, dict[str, float]] = {
    "nothing": {},
    "sensor + 0.5": {"offset": 0.5},
    "sensor + 1": {"offset": 1.0},
    "sensor + 3": {"offset": 3.0},
    "sensor × 1.5": {"factor": 1.5},
    "sensor shuffled": {"replay": 1.0},
    "target's law": {"slope": 0.3},
    "another feature + 1": {"other": 1.0},
    "sensor, target and feature": {"offset": 0.7, "slope": 0.15, "other": 0.7},
}

FAULTY, TARGET, OFFSET = "EWR.temp", "LGA.temp", 5.0
CALENDAR = ("hour_of_day", "day_of_year")
LEAST_HOURS = 100


def paper() -> None:
    """Zhang et al., ICML 2023: G → Y → X1, X2, X3; the model has seen q = .9, μ = 3."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(0)
    learnt = _paper_rows(0.9, 3.0, rng)
    model = HistGradientBoostingClassifier(random_state=0).fit(learnt[:, 2:], learnt[:, 1])

    def brier(rows: pa.Table) -> Floats:
        X = np.column_stack([rows[name].to_numpy() for name in PAPER_NAMES[2:]])
        return np.square(model.predict_proba(X)[:, 1] - rows["Y"].to_numpy())

    print("| q | μ | before | after | P(G) | P(X1) | P(X2) | P(X3) | P(Y) | unexplained | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for q, mu in [
        *((q, 3.0) for q in (0.1, 0.0, 0.3, 0.5, 0.7, 1.0)),
        *((0.9, m) for m in range(-1, 6)),
    ]:
        before, after = (
            _table(_paper_rows(*law, rng), PAPER_NAMES) for law in ((0.9, 3.0), (q, mu))
        )
        started = time.process_time()
        found = attribute(
            before,
            after,
            brier,
            "Y",
            dict.fromkeys(PAPER_NAMES, NUMBER),
            named=(),
            graph=PAPER_GRAPH,
            unit=None,
            loss_name="Brier score",
            seed=0,
        )
        spent = time.process_time() - started
        amounts = {share.columns[0]: share.amount for share in found.shares}
        told = " | ".join(f"{amounts[name]:.4f}" for name in ("G", "X1", "X2", "X3", "Y"))
        print(
            f"| {q} | {mu:g} | {found.before:.4f} | {found.after:.4f} | {told} | "
            f"{found.unexplained:.4f} | {spent:.1f} |",
            flush=True,
        )


def _paper_rows(q: float, mu: float, rng: np.random.Generator) -> Floats:
    g = rng.random(PAPER_ROWS) < 0.5
    y = g ^ (rng.random(PAPER_ROWS) < 1.0 - q)
    noisy = [y ^ (rng.random(PAPER_ROWS) < 0.25) for _ in range(3)]
    x = [rng.normal(mean) for mean in (noisy[0] + 0.0, noisy[1] + 1.0 * g, noisy[2] + mu * g)]
    return np.column_stack([g, y, *x]).astype(np.float64)


def faults() -> None:
    """A target of two features and a sensor that follows it, among others; shares by simulation."""
    rng = np.random.default_rng(0)
    loadings = 0.7 * rng.standard_normal((3, OTHERS))
    learnt = _fault_rows(PAPER_ROWS, "", rng, loadings, {})
    X = np.column_stack([np.ones(PAPER_ROWS), learnt[:, :-1]])
    weights = np.linalg.lstsq(X, learnt[:, -1], rcond=None)[0]
    names = [*(f"x{j}" for j in range(OTHERS)), "sensor", "y"]

    def error(rows: Floats) -> Floats:
        return np.abs(rows[:, -1] - weights[0] - rows[:, :-1] @ weights[1:])

    def loss(rows: pa.Table) -> Floats:
        return error(np.column_stack([rows[name].to_numpy() for name in names]))

    print(
        "| moved | mechanism | truth | mean share | its spread | told error | interval holds it |"
    )
    print("|---|---|---|---|---|---|---|")
    spent = 0.0
    for case, fault in FAULTS.items():
        draw: Draw = partial(_fault_draw, loadings=loadings, fault=fault)

        def value(coalition: frozenset[int], draw: Draw = draw) -> Floats:
            moved = "".join("oys"[k] for k in sorted(coalition))
            common = np.random.default_rng(1)
            return np.array([error(draw(TRUTH_ROWS, moved, common)).mean()])

        nothing = value(frozenset())
        truth = shapley(3, lambda own: value(own) - nothing, rng)[0][:, 0]  # noqa: B023 (called here)
        results: list[Attribution] = []
        for trial in range(TRIALS):
            own = np.random.default_rng([trial, 7])
            tables = [
                _table(draw(n, moved, own), names) for n, moved in ((ROWS, ""), (WINDOW, "oys"))
            ]
            started = time.process_time()
            results.append(
                attribute(
                    *tables,
                    loss,
                    "y",
                    dict.fromkeys(names, NUMBER),
                    named=["sensor"],
                    graph={},
                    unit=None,
                    loss_name="absolute error",
                    seed=trial,
                )
            )
            spent += time.process_time() - started
        for k, column in enumerate(("other features", "y", "sensor")):
            own_shares = [
                next(
                    s
                    for s in found.shares
                    if (column in s.columns) or (k == 0 and len(s.columns) > 1)
                )
                for found in results
            ]
            amounts = np.array([share.amount for share in own_shares])
            told = np.mean([(s.high - s.low) / (2 * 1.645) for s in own_shares])
            held = np.mean([s.low <= truth[k] <= s.high for s in own_shares])
            print(
                f"| {case} | {column} | {truth[k]:.3f} | {amounts.mean():.3f} | "
                f"{amounts.std():.3f} | {told:.3f} | {held:.0%} |",
                flush=True,
            )
    print(f"\n{spent / (TRIALS * len(FAULTS)):.2f} CPU seconds each")


def _fault_draw(
    n: int, moved: str, rng: np.random.Generator, *, loadings: Floats, fault: dict[str, float]
) -> Floats:
    return _fault_rows(n, moved, rng, loadings, fault)


def _fault_rows(
    n: int, moved: str, rng: np.random.Generator, loadings: Floats, fault: dict[str, float]
) -> Floats:
    """Return rows (n, OTHERS + 2); `moved` has o, y, s for others, target and sensor."""
    others = rng.standard_normal((n, 3)) @ loadings + 0.7 * rng.standard_normal((n, OTHERS))
    if "o" in moved:
        others[:, 0] += fault.get("other", 0.0)
    noise = (0.3 + 0.25 * np.abs(others[:, 0])) * rng.standard_normal(n)
    y = 0.6 * others[:, 0] + 0.4 * others[:, 1] + noise
    if "y" in moved:
        y += fault.get("slope", 0.0) * others[:, 2]
    sensor = y + 0.3 * others[:, 1] + 0.5 * rng.standard_normal(n)
    if "s" in moved:
        sensor = sensor * fault.get("factor", 1.0) + fault.get("offset", 0.0)
        sensor = rng.permutation(sensor) if "replay" in fault else sensor
    return np.column_stack([others, sensor, y])


def weather() -> None:
    """LGA.temp forecast from the other airports, EWR.temp 5 °F too high in each watched week."""
    even, odd = split_weeks(hourly_weather())
    sensors = [name for name in even.columns if name != "time"]
    features = [name for name in sensors if not name.startswith("LGA")]
    folds = np.unique(even["time"].dt.epoch("s") // WEEK_SECONDS, return_inverse=True)[1]
    folds = (folds * 5 // (folds.max() + 1)).astype(np.int64)
    frame = _with_calendar(even)
    model = fit_forecaster(
        frame, TARGET, [*features, *calendar_names(CALENDAR)], DEFAULT_LEVELS, folds, 0
    )
    levels = np.asarray(model.levels)

    def loss(rows: pa.Table) -> Floats:
        quantiles = model.predict(_with_calendar(pl.DataFrame(rows)))
        outcome = rows[TARGET].to_numpy(zero_copy_only=False)
        return pinball_loss(outcome, quantiles, levels).mean(axis=1)

    days = np.arange(even.height) // 24
    kept = np.random.default_rng(0).choice(days.max() + 1, ROWS // 24, replace=False)
    before = even.filter(pl.Series(np.isin(days, kept))).to_arrow()
    print(
        "| week from | clean | with the fault | it cost | P(EWR.temp) | P(others) | P(LGA.temp) "
        "| unexplained | effective rows |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    figures = []
    for week in odd.with_columns(week=pl.col("time").dt.epoch("s") // WEEK_SECONDS).partition_by(
        "week", include_key=False, maintain_order=True
    ):
        if week.height < LEAST_HOURS:
            continue
        clean = float(np.nanmean(loss(week.to_arrow())))
        found = attribute(
            before,
            week.with_columns(pl.col(FAULTY) + OFFSET).to_arrow(),
            loss,
            TARGET,
            dict.fromkeys(sensors, NUMBER),
            named=[FAULTY],
            graph={},
            unit="°F",
            loss_name="pinball loss",
            seed=0,
            held_out=model.losses[model.kind],
        )
        amounts = {s.columns[0] if len(s.columns) == 1 else "": s.amount for s in found.shares}
        cost = (found.after or 0.0) - clean
        row = (
            clean,
            found.after or 0.0,
            cost,
            amounts[FAULTY],
            amounts[""],
            amounts[TARGET],
            found.unexplained,
        )
        figures.append(row)
        told = " | ".join(f"{value:.2f}" for value in row)
        print(f"| {week['time'][0]:%d %b} | {told} | {found.effective_rows:.0f} |")
    median = np.median(np.array(figures), axis=0)
    print("| median | " + " | ".join(f"{value:.2f}" for value in median) + " | |")


def _with_calendar(rows: pl.DataFrame) -> pl.DataFrame:
    terms = calendar_terms(rows.to_arrow()["time"], CALENDAR)
    names = calendar_names(CALENDAR)
    return rows.with_columns(pl.Series(name, terms[:, j]) for j, name in enumerate(names))


def _table(rows: Floats, names: list[str]) -> pa.Table:
    return pa.table(dict(zip(names, np.ascontiguousarray(rows.T), strict=True)))


if __name__ == "__main__":
    for part in (paper, faults, weather):
        print(f"\n{part.__doc__}\n")
        part()
