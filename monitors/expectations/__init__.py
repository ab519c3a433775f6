"""Great Expectations over column summaries: what each window, and the reference, must look like."""

from monitors.expectations.checks import suite
from monitors.expectations.reference import gate, validate_reference
from monitors.expectations.validator import Validator

__all__ = ["Validator", "gate", "suite", "validate_reference"]
