"""The forecasts of a run, scored window by window: coverage of the interval and pinball loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.report.timeline import Timeline
from pipelines.report.words import count, percent
from pipelines.run_folder import Run

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Edges: TypeAlias = tuple[NDArray[Any], NDArray[Any]]  # datetime64[us], or int64


@dataclass(frozen=True, slots=True)
class Series:
    """The forecasts of one target of one key, in order of valid time."""

    key: str
    target: str
    unit: str
    nominal: float  #: coverage that the stream file asks for
    frame: pl.DataFrame  #: x, lower, upper, outcome, median, q25, q75, loss
    edges: Edges  #: start and end of each window, as `x`
    first: IntArray  #: shape (windows,): its first forecast in `frame`
    last: IntArray  #: shape (windows,): one past its last
    scored: FloatArray  #: shape (windows,): outcomes known
    coverage: FloatArray  #: shape (windows,): share of them inside the interval; NaN without any
    pinball: FloatArray  #: shape (windows,): mean pinball loss over levels; NaN without any

    @property
    def in_time(self) -> bool:
        """Whether `x` is a time; a position in the source otherwise."""
        return isinstance(self.frame.schema["x"], pl.Datetime)

    @property
    def known(self) -> pl.DataFrame:
        """Return the forecasts whose outcome is known."""
        return self.frame.filter(pl.col("outcome").is_not_null())

    def effect(self, place: int) -> str:
        """Say what the forecasts did in one window, against all other windows."""
        known = int(self.scored[place])
        if not known:
            return "no outcome of this window is known yet"
        text = (
            f"{percent(self.coverage[place])} of {count(known, 'outcome')} inside the interval "
            f"(asked for: {percent(self.nominal, 0)})"
        )
        weights = np.where(np.arange(len(self.scored)) == place, 0.0, self.scored)
        if not weights.any():
            return text
        usual = float(np.nansum(self.pinball * weights) / weights.sum())
        covered = float(np.nansum(self.coverage * weights) / weights.sum())
        text += f", {percent(covered)} in the other windows"
        if usual > 0:
            change = self.pinball[place] / usual - 1.0
            side = "above" if change >= 0 else "below"
            text += f"; pinball loss {percent(abs(change), 0)} {side} the other windows"
        return text


def read_series(run: Run, windows: Timeline) -> list[Series]:
    """Read and score all forecasts, target by target in the stream file's order."""
    rows = _with_late_outcomes(run.scan("forecasts"), run.scan("outcomes"))
    order = {spec.target: place for place, spec in enumerate(run.stream.forecasts)}
    nominal = {spec.target: spec.interval for spec in run.stream.forecasts}
    targets = rows.select("target").unique().collect().to_series().sort().to_list()
    series: list[Series] = []
    for target in sorted(targets, key=lambda name: order.get(name, len(order))):
        mine = rows.filter(pl.col("target") == target)
        levels = mine.select("levels").first().collect().item().to_list()
        frame = _columns(mine, levels).collect()
        column = run.stream.columns.get(target)
        parts = frame.partition_by(["key"], as_dict=True)
        for (key,), part in sorted(parts.items(), key=lambda item: str(item[0])):
            x, edges = _positions(part, windows, run.stream.window.rows or 1)
            placed = part.drop("key", "valid_time", "path", "row").with_columns(x=x).sort("x")
            places = placed["x"].to_numpy()
            first, last = (np.searchsorted(places, edge).astype(np.int64) for edge in edges)
            series.append(
                Series(
                    key=str(key),
                    target=target,
                    unit=(column.unit or "") if column is not None else "",
                    nominal=nominal.get(target, 0.9),
                    frame=placed,
                    edges=edges,
                    first=first,
                    last=last,
                    **_score(placed, first, last),
                )
            )
    return series


def _with_late_outcomes(forecasts: pl.LazyFrame, outcomes: pl.LazyFrame) -> pl.LazyFrame:
    """Return forecasts with the last that became known of their outcomes."""
    same = ["key", "target", "model_id", "path", "row"]
    last = outcomes.sort("revision").unique(same, keep="last").select(*same, late="outcome")
    return forecasts.join(last, on=same, how="left", maintain_order="left").with_columns(
        outcome=pl.coalesce("late", "outcome")
    )


def _columns(rows: pl.LazyFrame, levels: list[float]) -> pl.LazyFrame:
    """Reduce forecasts to what is drawn; the loss is the mean of |y − q|/2 + (level − ½)(y − q)."""
    known = rows.with_columns(pl.col("outcome").fill_nan(None))
    error = [pl.col("outcome") - pl.col("quantiles").list.get(i) for i in range(len(levels))]
    losses = [e.abs() / 2 + (level - 0.5) * e for e, level in zip(error, levels, strict=True)]
    quantile = {
        name: pl.col("quantiles").list.get(levels.index(level)) if level in levels else None
        for name, level in (("q25", 0.25), ("median", 0.5), ("q75", 0.75))
    }
    return known.select(
        "key",
        "valid_time",
        "path",
        "row",
        "lower",
        "upper",
        "outcome",
        loss=pl.sum_horizontal(losses, ignore_nulls=False) / len(levels),
        **{
            name: pl.lit(None, pl.Float64) if value is None else value
            for name, value in quantile.items()
        },
    ).sort("valid_time", "path", "row")


def _positions(frame: pl.DataFrame, windows: Timeline, rows: int) -> tuple[pl.Series, Edges]:
    """Return where each forecast is, in time or in the source, and the edges of the windows.

    Positions in the source count the rows of all files, in order of their paths.
    """
    by_rows = len(windows) > 0 and not windows.in_time
    if not by_rows and frame["valid_time"].null_count() == 0:
        x = frame["valid_time"]
        starts = pl.Series([start for start, _, _ in windows.windows], dtype=x.dtype)
        ends = pl.Series([end for _, end, _ in windows.windows], dtype=x.dtype)
        return x, (starts.to_numpy(), ends.to_numpy())
    lengths = frame.group_by("path").agg(length=pl.col("row").max() + 1).sort("path")
    offsets = lengths.with_columns(offset=pl.col("length").cum_sum() - pl.col("length"))
    joined = frame.join(offsets, on="path", how="left", maintain_order="left")
    numbers = np.asarray([index or 0 for _, _, index in windows.windows], dtype=np.int64)
    return joined["row"] + joined["offset"], (numbers * rows, (numbers + 1) * rows)


def _score(frame: pl.DataFrame, first: IntArray, last: IntArray) -> dict[str, FloatArray]:
    """Score each window; sliding windows share forecasts."""
    inside = frame.select(
        (pl.col("outcome") >= pl.col("lower")) & (pl.col("outcome") <= pl.col("upper"))
    )
    covered = inside.to_series().cast(pl.Float64).to_numpy()
    loss = frame["loss"].to_numpy()
    scores = {name: np.full(len(first), np.nan) for name in ("scored", "coverage", "pinball")}
    for place, (start, stop) in enumerate(zip(first, last, strict=True)):
        known = ~np.isnan(covered[start:stop])
        scores["scored"][place] = known.sum()
        if known.any():
            scores["coverage"][place] = covered[start:stop][known].mean()
            scores["pinball"][place] = loss[start:stop][known].mean()
    return scores
