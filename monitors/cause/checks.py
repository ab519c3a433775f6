"""What to look at first, by the kind of change: short advice to who is on call."""

from __future__ import annotations

from collections.abc import Mapping

from monitors.explain.diagnosis import Kind

_BY_KIND: Mapping[Kind, tuple[str, ...]] = {
    "offset": (
        "the sensor's last calibration or replacement, and its supply voltage",
        "a change of the zero point, tare or reference level in the gateway's configuration",
        "whether it was moved: nearer to a heat source, into the sun, to another height",
    ),
    "scale": (
        "the gain, range or unit set in the sensor or gateway",
        "a job that began to convert, normalise or average the values",
    ),
    "unit": (
        "the unit of the source: a gateway or exporter was set from one to the other",
        "a conversion that is made twice, or no longer",
    ),
    "stuck": (
        "the sensor's connection and power, and when the device last answered",
        "the gateway's cache: it may repeat the last value that it has",
        "a job that fills gaps with the last value",
    ),
    "replay": (
        "the order of the rows: a join or a sort that lost the time",
        "a job that sends old rows again, and the clock of the device",
        "whether rows of another device are written under this name",
    ),
    "noise": (
        "loose contacts, shielding, and new machines nearby",
        "averaging or filtering that was switched off (noisier) or on (quieter)",
    ),
    "lag": (
        "the clock and time zone of the device, and daylight saving time",
        "a queue or an upload that is behind",
    ),
    "swapped": (
        "the order of columns in the job that writes both, and the names it gives them",
        "the cables or channels of the two sensors",
    ),
    "clipped": (
        "the sensor's measuring range, and saturation of its input",
        "a limit set in the gateway or in a cleaning step",
    ),
    "missing": (
        "whether the device answers: power, network, battery",
        "the job that fills this column, and renamed or dropped fields in its source",
    ),
    "drift": (
        "ageing, fouling or icing of the sensor, and its cleaning and calibration plan",
        "a slow change in the world that the other features do not carry",
    ),
    "dependence": (
        "a join that matches the wrong rows, or a key that was reused",
        "a change of the process itself: with right data, fit a new baseline",
    ),
    "outside": (
        "the unit and the measuring range of the source",
        "a season or a load that the reference does not hold: then fit a longer one",
    ),
    "unseen": (
        "a new code, name or version in the source",
        "spelling, case and encoding of the values",
    ),
    "category": (
        "a change of the mix upstream: a filter, a new customer, a closed line",
        "codes that were merged, split or renamed",
    ),
}
_FORECAST = (
    "the features named in the same window: they move the forecast",
    "whether the target itself moved: its sensor, its unit, its definition",
    "with right data and a changed world: fit a new baseline",
)
_OTHER = (
    "the job that fills this column, and what changed in it",
    "other features of the same device or table: many at once are a join, a unit or a time zone",
)


def checks(kind: str | None, *, of_forecast: bool) -> tuple[str, ...]:
    """Return what to look at, the likeliest first.

    Parameters
    ----------
    kind : of the change; None where it has none.
    of_forecast : whether a monitor of forecasts raised the alarm.
    """
    if of_forecast:
        return _FORECAST
    return next((advice for name, advice in _BY_KIND.items() if name == kind), _OTHER)
