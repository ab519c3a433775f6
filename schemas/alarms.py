"""How many false alarms a stream may have, and over what they are counted."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.duration import parse_duration
from schemas.errors import error_at

_ALARM_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%\s+of\s+alarms")
_ALARM_BUDGET = re.compile(r"(\d+(?:\.\d+)?)\s+per\s+(?:(\d+(?:\.\d+)?)\s+windows?|(\S.*))")


class Alarms(BaseModel):
    """How many false alarms the user will bear, over the whole stream."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    false: str = Field(
        default="1 per 30d",
        description="Such as '1 per 30d', or '1 per 500 windows'; "
        "with `control: fdr` a share, such as '5 % of alarms'.",
    )
    control: Literal["window", "e-detector", "fdr"] = Field(
        default="window",
        description="window: every window by itself; e-detector: evidence adds up over windows; "
        "fdr: the share of false alarms is bounded.",
    )

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if self.control == "fdr":
            if self.share is None:
                message = (
                    f"`control: fdr` bounds a share of alarms: write '5 % of alarms', "
                    f"not {self.false!r}"
                )
                raise error_at(message, "false")
            return self
        if self.share is not None:
            message = f"{self.false!r} is a share of alarms: it needs `control: fdr`"
            raise error_at(message, "false")
        self.per_window(1.0)
        return self

    @property
    def share(self) -> float | None:
        """Share of the alarms that may be false; None when the budget is not such a share."""
        found = _ALARM_SHARE.fullmatch(self.false.strip())
        if found is None or not 0 < float(found[1]) < 100:
            return None
        return float(found[1]) / 100

    def per_window(self, every_seconds: float | None) -> float:
        """Return the false alarms allowed per window (at most 0.5), all monitors and keys together.

        Raises
        ------
        ValueError
            When the text cannot be read, or a time is given for windows that are counted in rows.
        """
        found = _ALARM_BUDGET.fullmatch(self.false.strip())
        if found is None or float(found[1]) == 0 or (found[2] and float(found[2]) == 0):
            message = (
                f"{self.false!r} is not an alarm budget: write '1 per 30d' or '1 per 500 windows'"
            )
            raise ValueError(message)
        count = float(found[1])
        if found[2]:
            return min(0.5, count / float(found[2]))
        seconds = parse_duration(found[3])
        if every_seconds is None:
            message = (
                f"windows counted in rows need a budget such as '1 per 500 windows', "
                f"not {self.false!r}"
            )
            raise ValueError(message)
        return min(0.5, count * every_seconds / seconds)
