"""Topics of Apache Kafka, to read rows from and to write records to."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MessageFormat = Literal["json", "arrow", "avro"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Security(_Part):
    """How to reach brokers that ask who is there. Secrets are in files, never in a stream file."""

    protocol: Literal["SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="How the password is proven; with SASL."
    )
    username: str | None = None
    password_file: str | None = Field(default=None, description="A file with the password alone.")
    ca_file: str | None = Field(
        default=None, description="Certificates that sign the brokers'; the system's if left out."
    )
    certificate_file: str | None = Field(default=None, description="The client's own certificate.")
    key_file: str | None = Field(default=None, description="The key of that certificate.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        proven = (self.mechanism, self.username, self.password_file)
        if self.protocol.startswith("SASL") and None in proven:
            message = f"{self.protocol} needs `mechanism`, `username` and `password_file`"
            raise ValueError(message)
        if self.protocol == "SSL" and proven != (None, None, None):
            message = "SSL has no password; did you mean `protocol: SASL_SSL`?"
            raise ValueError(message)
        if (self.certificate_file is None) != (self.key_file is None):
            message = "`certificate_file` and `key_file` go together"
            raise ValueError(message)
        return self


class Brokers(_Part):
    """The brokers of a Kafka cluster."""

    servers: str = Field(description="One or more of them, such as kafka-1:9092,kafka-2:9092.")
    security: Security | None = None


class Envelope(_Part):
    """Columns that take what a message carries beside its value."""

    key: str | None = Field(default=None, description="The column that takes the message's key.")
    timestamp: str | None = Field(
        default=None, description="The column that takes the message's timestamp."
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="For each column the header that it takes."
    )

    @property
    def fills(self) -> list[tuple[str, str]]:
        """The columns that it fills, each after the part that fills it."""
        alone = [("key", self.key), ("timestamp", self.timestamp)]
        columns = [(part, name) for part, name in alone if name is not None]
        return [*columns, *(("headers", name) for name in self.headers)]


class Topic(Brokers):
    """A topic whose messages hold the rows of a stream."""

    topic: str = Field(min_length=1)
    format: MessageFormat = Field(
        description="json: one object, or an array of them; arrow: an IPC stream of any number of "
        "rows; avro: an object container, or one datum of `avro_schemas`."
    )
    avro_schemas: tuple[str, ...] = Field(
        default=(), description="Files with the writers' schemas, the newest first."
    )
    envelope: Envelope = Envelope()
    start: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where the first run begins; later ones go on."
    )

    @model_validator(mode="after")
    def _schemas_of_avro(self) -> Self:
        if self.avro_schemas and self.format != "avro":
            message = f"`avro_schemas` go with `format: avro`, not with {self.format}"
            raise ValueError(message)
        return self
