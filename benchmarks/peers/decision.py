"""What a tool says of two tables. Standard library only: every peer's environment imports it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

LEVEL = 0.05  # of a whole table, where a tool lets it be set


@dataclass(frozen=True, slots=True)
class Decision:
    """One rule's answer."""

    alarm: bool
    named: list[str] = field(default_factory=list)  #: empty where the rule names no column

    @classmethod
    def by_names(cls, names: Iterable[str]) -> Decision:
        """Alarm where any column is named."""
        named = sorted(names)
        return cls(bool(named), named)


#: takes the reference and the current Arrow table; gives a decision per rule
Call: TypeAlias = Callable[[Any, Any], dict[str, Decision]]
