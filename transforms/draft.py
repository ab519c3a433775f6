"""Writes the first stream file of a table: everything guessed is said to be guessed, and why."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from schemas.duration import parse_duration
from schemas.errors import SourceError
from schemas.stream import STREAM_FILE_VERSION, Column, Source
from transforms.contract import to_type
from transforms.infer import Inferred, infer_columns
from transforms.timestamps import to_utc

DAY = 86_400.0
MIN_WINDOW_ROWS = 90  # of one key: a season of days, four days of hours
_SHOWN = 12  # categories listed in a comment

#: Lengths of windows, and the false alarms to bear with each: about one in fifty windows or fewer.
_WINDOWS = (
    ("1h", "1 per 7d"),
    ("6h", "1 per 30d"),
    ("1d", "1 per 90d"),
    ("7d", "1 per 365d"),
    ("28d", "1 per 50 windows"),
    ("91d", "1 per 50 windows"),
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
