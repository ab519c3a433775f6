from __future__ import annotations

from typing import get_args

from schemas.forecasts import Kind
from transforms.forecast.kinds import CROSS_FITS, DEFAULT_KINDS, MODELS


def test_the_stream_file_knows_every_kind() -> None:
    """What can be named can be fitted and read back, and the other way round."""
    named = {*get_args(Kind), "climatology"}
    assert named == set(MODELS) == set(CROSS_FITS)
    assert set(DEFAULT_KINDS) < named
