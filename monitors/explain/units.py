"""Units of one quantity, and how a number turns into another unit's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: per quantity: unit → (factor, constant) from the quantity's base unit
_QUANTITIES: tuple[Mapping[str, tuple[float, float]], ...] = (
    {"°C": (1.0, 0.0), "°F": (1.8, 32.0), "K": (1.0, 273.15)},
    {
        "m/s": (1.0, 0.0),
        "km/h": (3.6, 0.0),
        "mph": (3600 / 1609.344, 0.0),
        "kn": (3600 / 1852, 0.0),
    },
    {
        "hPa": (1.0, 0.0),
        "Pa": (100.0, 0.0),
        "kPa": (0.1, 0.0),
        "inHg": (0.02952998, 0.0),
        "mmHg": (0.75006158, 0.0),
        "psi": (0.01450377, 0.0),
    },
    {
        "km": (1.0, 0.0),
        "m": (1000.0, 0.0),
        "mi": (1 / 1.609344, 0.0),
        "ft": (1000 / 0.3048, 0.0),
        "nmi": (1 / 1.852, 0.0),
    },
    {"mm": (1.0, 0.0), "cm": (0.1, 0.0), "in": (1 / 25.4, 0.0)},
    {"%": (100.0, 0.0), "1": (1.0, 0.0)},
    {"kg": (1.0, 0.0), "g": (1000.0, 0.0), "lb": (1 / 0.45359237, 0.0), "t": (0.001, 0.0)},
    {"kWh": (1.0, 0.0), "MWh": (0.001, 0.0), "Wh": (1000.0, 0.0), "MJ": (3.6, 0.0)},
    {"kW": (1.0, 0.0), "MW": (0.001, 0.0), "W": (1000.0, 0.0)},
    {"l": (1.0, 0.0), "m³": (0.001, 0.0), "gal": (1 / 3.785411784, 0.0)},
    {"s": (1.0, 0.0), "ms": (1000.0, 0.0), "min": (1 / 60, 0.0), "h": (1 / 3600, 0.0)},
)
_ALIASES: Mapping[str, str] = {
    "C": "°C",
    "degC": "°C",
    "celsius": "°C",
    "F": "°F",
    "degF": "°F",
    "fahrenheit": "°F",
    "percent": "%",
    "mbar": "hPa",
    "kt": "kn",
    "kmh": "km/h",
    "miles": "mi",
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """A number in one unit becomes factor · number + constant in another."""

    before: str
    now: str
    factor: float
    constant: float


def conversions(unit: str | None) -> Iterator[Conversion]:
    """Yield the conversions out of a unit; of all known units where it is not one of them."""
    own = _ALIASES.get(unit, unit) if unit else None
    known = any(own in quantity for quantity in _QUANTITIES)
    for quantity in _QUANTITIES:
        for before, (factor, constant) in quantity.items():
            if known and before != own:
                continue
            for now, (other, other_constant) in quantity.items():
                if now != before:
                    yield Conversion(
                        unit if known and unit else before,
                        now,
                        other / factor,
                        other_constant - other / factor * constant,
                    )
