"""The online rules by name: how one is started, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from schemas.errors import BaselineError
from transforms.calibrate.aci import Aci
from transforms.calibrate.dtaci import DtAci
from transforms.calibrate.online import ONLINE_VERSION, OnlineCalibrator
from transforms.calibrate.pid import Pid
from transforms.calibrate.tracker import Tracker
from transforms.calibrate.weighted import Weighted

RULES: dict[str, type[Tracker | Weighted | Aci | DtAci | Pid]] = {
    rule.kind: rule for rule in (Tracker, Weighted, Aci, DtAci, Pid)
}


def start(interval: float, *, kind: str = Tracker.kind, series: int = 1) -> OnlineCalibrator:
    """Return a calibrator that has seen nothing.

    Parameters
    ----------
    interval : float in (0, 1)
        Nominal coverage, that of the base interval.
    kind : str
        One of `RULES`.
    series : int
        How many are forecast together.
    """
    return OnlineCalibrator(RULES[kind].start(interval, series), series)


def restore(state: Mapping[str, Any]) -> OnlineCalibrator:
    """Return what `OnlineCalibrator.to_dict` wrote.

    Raises
    ------
    BaselineError
        When it was written by another version, or is damaged.
    """
    if state.get("version") != ONLINE_VERSION:
        raise BaselineError(
            f"online calibration has version {state.get('version')!r}, this program reads "
            f"{ONLINE_VERSION}; run `tidegauge fit` again"
        )
    try:
        kind = RULES[state["kind"]]
        usual = np.array(state["usual"], np.float64)
        fresh = kind.start(float(state["settings"]["interval"]), len(usual))
        for field in fields(kind):
            before = getattr(fresh, field.name)
            if not isinstance(before, np.ndarray):
                setattr(fresh, field.name, float(state["settings"][field.name]))
                continue
            part = np.array(state["state"][field.name], np.float64)  # None becomes NaN
            if part.shape != before.shape:
                raise ValueError(f"{field.name} has shape {part.shape}, not {before.shape}")
            setattr(fresh, field.name, part)
        return OnlineCalibrator(fresh, len(usual), int(state["issued"]), usual)
    except (KeyError, TypeError, ValueError) as error:
        raise BaselineError(
            f"online calibration is damaged ({error}); run `tidegauge fit` again"
        ) from error
