"""How event time goes on in a stream."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from schemas.duration import Duration


class Watermark(BaseModel):
    """How event time goes on where rows come in any order and without an end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    out_of_orderness: Duration | None = Field(
        default=None,
        description="How far the watermark stays behind the newest event time of a partition; "
        "none when left out.",
    )
    allowed_lateness: Duration | None = Field(
        default=None,
        description="How long after its end a window takes in late rows, which revise its "
        "findings; one length of the window when left out. Later rows are counted as late.",
    )
    idle_after: Duration = Field(
        default="1m", description="A partition silent for so long holds the watermark no more."
    )
