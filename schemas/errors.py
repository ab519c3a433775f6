"""The errors a user can cause: each says what was seen, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


class TidegaugeError(Exception):
    """Base of every error that is the user's to mend; the command line exits with code 2."""


class StreamFileError(TidegaugeError):
    """The stream file cannot be read, or says something impossible."""


class SourceError(TidegaugeError):
    """A source is missing, empty, damaged, or does not match the stream file."""


class BaselineError(TidegaugeError):
    """A baseline is missing, damaged, too new, or belongs to another stream."""


class ReferenceDataError(TidegaugeError):
    """The reference cannot carry a baseline (too short, empty columns, failed expectations)."""


class OutputError(TidegaugeError):
    """An output folder or file cannot be written or read."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def error_at(message: str, *where: str | int) -> ValidationError:
    """Return the error of a place of the stream file that is deeper than the part that finds it."""
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    details = InitErrorDetails(type=error, loc=where, input=None)
    return ValidationError.from_exception_data("Stream", [details])
