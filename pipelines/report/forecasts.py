"""The forecasts of a run, scored window by window: coverage of the interval and pinball loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.report.timeline import Timeline
from pipelines.report.words import count, percent
from pipelines.run_folder import Run, damaged

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """The forecasts of one target of one key, in order of valid time."""

    key: str
    target: str
    unit: str
    nominal: float  #: coverage that the stream file asks for
    frame: pl.DataFrame  #: x, lower, upper, outcome, median, q25, q75, loss, place
    scored: FloatArray  #: shape (windows,): outcomes known
    coverage: FloatArray  #: shape (windows,): share of them inside the interval; NaN without any
    pinball: FloatArray  #: shape (windows,): mean pinball loss over levels; NaN without any

    @property
    def in_time(self) -> bool:
        """Whether `x` is a time; a position in the source otherwise."""
        return isinstance(self.frame.schema["x"], pl.Datetime)

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
    """Read and score all forecasts, target by target in the stream file's order.

    Raises
    ------
    OutputError
        When a part of the run is damaged.
    """
    try:
        return _read(run, windows)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise damaged(run.folder, error) from error


def _read(run: Run, windows: Timeline) -> list[Series]:
    rows = run.scan("forecasts")
    order = {spec.target: place for place, spec in enumerate(run.stream.forecasts)}
    nominal = {spec.target: spec.interval for spec in run.stream.forecasts}
    targets = rows.select("target").unique().collect().to_series().sort().to_list()
    series: list[Series] = []
    for target in sorted(targets, key=lambda name: order.get(name, len(order))):
        mine = rows.filter(pl.col("target") == target)
        levels = mine.select("levels").first().collect().item().to_list()
        frame = _columns(mine, levels).collect()
        column = run.stream.columns.get(target)
        for (key,), part in frame.partition_by(["key"], as_dict=True).items():
            placed = _place(part.drop("key"), run, windows)
            series.append(
                Series(
                    key=str(key),
                    target=target,
                    unit=(column.unit or "") if column is not None else "",
                    nominal=nominal.get(target, 0.9),
                    frame=placed,
                    **_score(placed, len(windows)),
                )
            )
    return series


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


def _place(frame: pl.DataFrame, run: Run, windows: Timeline) -> pl.DataFrame:
    """Add `x`, the valid time or the position in the source, and `place`, the window's."""
    rows = run.stream.window.rows
    if windows.in_time and frame["valid_time"].null_count() == 0:
        x = frame["valid_time"]
        starts = pl.Series([start for start, _, _ in windows.windows], dtype=x.dtype)
        places = np.searchsorted(starts.to_numpy(), x.to_numpy(), side="right") - 1
    else:
        lengths = frame.group_by("path").agg(length=pl.col("row").max() + 1).sort("path")
        offsets = lengths.with_columns(offset=pl.col("length").cum_sum() - pl.col("length"))
        joined = frame.join(offsets, on="path", how="left", maintain_order="left")
        x = joined["row"] + joined["offset"]
        numbers = np.asarray([index or 0 for _, _, index in windows.windows], dtype=np.int64)
        places = np.searchsorted(numbers, x.to_numpy() // (rows or 1), side="right") - 1
    return frame.drop("valid_time", "path", "row").with_columns(
        x=x, place=pl.Series(places, dtype=pl.Int64)
    )


def _score(frame: pl.DataFrame, windows: int) -> dict[str, FloatArray]:
    inside = (pl.col("outcome") >= pl.col("lower")) & (pl.col("outcome") <= pl.col("upper"))
    table = (
        frame.filter(pl.col("outcome").is_not_null(), pl.col("place") >= 0)
        .group_by("place")
        .agg(scored=pl.len(), coverage=inside.mean(), pinball=pl.col("loss").mean())
    )
    scores = {name: np.full(windows, np.nan) for name in ("scored", "coverage", "pinball")}
    for name, values in scores.items():
        values[table["place"].to_numpy()] = table[name].to_numpy()
    scores["scored"] = np.nan_to_num(scores["scored"])
    return scores
