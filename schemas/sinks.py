"""Where records and metrics go besides the run folder."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from schemas.kafka import Brokers


class RecordTopics(Brokers):
    """Topics that take the records of a run, as JSON keyed by their id; none is made here."""

    findings: str | None = None
    forecasts: str | None = None
    rejects: str | None = None


class Sinks(BaseModel):
    """Where records and metrics go besides the run folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pushgateway: str | None = Field(default=None, description="URL, for scheduled runs.")
    textfile: str | None = Field(
        default=None, description="A .prom file for node_exporter's textfile collector."
    )
    kafka: RecordTopics | None = None
