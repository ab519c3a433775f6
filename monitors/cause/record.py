"""What is told of the cause of one finding, and in which form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitors.attribute.attribution import Attribution
from monitors.cause.density import Density
from monitors.cause.quantile_shift import QuantileShift
from monitors.explain.conditional import Conditional
from monitors.explain.maps import ShiftMap
from monitors.target_shift.verdict import TargetShift
from schemas.records import Finding, WindowKey


@dataclass(frozen=True, slots=True)
class Similar:
    """An earlier shift of the same run that looked like this one."""

    finding_id: str  #: of its strongest window
    subject: str
    kind: str | None
    start: datetime | None  #: None for windows counted in rows
    end: datetime | None
    start_index: int | None
    windows: int
    effect: float | None
    explanation: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a column was in the reference."""

    mean: float
    std: float
    unit: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Cause:
    """All that is told of one finding. What could not be computed is None, and `notes` say why."""

    finding: Finding
    unit: str | None  #: of the subject
    since: datetime | None = None  #: when the shift that the finding is part of began
    first_window: WindowKey | None = None  #: of that shift
    beside: Sequence[Finding] = ()  #: other alarms of the same window, causes first
    kept_rows: int | None = None  #: of the window, where some of its rows are not kept
    course: Conditional | None = None  #: of the window's kept rows, in order of time
    density: Density | None = None  #: of observed less expected, in the reference and `after`
    shift: QuantileShift | None = None  #: of the same
    own_shift: QuantileShift | None = None  #: of the feature by itself
    after_since: bool = False  #: whether only rows since the change are compared in these three
    maps: Sequence[ShiftMap] = ()
    map_sentence: str | None = None
    map_given_others: bool = False  #: whether the maps are of what features read given the others
    scales: Mapping[str, Scale] = field(default_factory=dict)  #: of the columns of the maps
    attributions: Sequence[Attribution] = ()
    targets: Sequence[TargetShift] = ()
    similar: Sequence[Similar] = ()
    checks: Sequence[str] = ()  #: what to look at, the likeliest first
    notes: Sequence[str] = ()
