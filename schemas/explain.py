"""What is kept for the explanation of a finding, and what is known of the causes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter

from pydantic import BaseModel, ConfigDict, Field, field_validator

FEWEST, MOST = 64, 10_000  # rows of a window: fewer say too little to be worth their place


class Explain(BaseModel):
    """How a finding is explained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(
        default=500,
        description="Rows kept of each window for the explanation of its findings, 64 to 10,000; "
        "0 keeps none, neither of windows nor of the reference.",
    )
    graph: dict[str, tuple[str, ...]] = Field(
        default={},
        description="Each column's direct causes, where they are known: divides the cost of a "
        "shift among mechanisms.",
    )

    @field_validator("rows")
    @classmethod
    def _enough(cls, rows: int) -> int:
        if rows and not FEWEST <= rows <= MOST:
            message = f"keep {FEWEST} to {MOST:,} rows of a window, or none: 0"
            raise ValueError(message)
        return rows

    @field_validator("graph")
    @classmethod
    def _acyclic(cls, graph: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            message = f"no column can be its own cause: {' → '.join(error.args[1])}"
            raise ValueError(message) from error
        return graph

    def unknown(self, columns: Collection[str]) -> Iterator[tuple[str, tuple[str | int, ...]]]:
        """Yield the names of the graph that are no columns, with their place in it."""
        for name, causes in self.graph.items():
            if name not in columns:
                yield name, (name,)
            for at, cause in enumerate(causes):
                if cause not in columns:
                    yield cause, (name, at)
