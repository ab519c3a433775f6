"""Writes the Grafana dashboards: `python deploy/grafana/build.py`.

The JSON is generated, so that a query is written once and every panel has its title, description,
unit and legend. A test compares the committed files with what this script writes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import features
import fleet
import forecasts
import pipeline
import stream

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = (fleet.BOARD, stream.BOARD, features.BOARD, forecasts.BOARD, pipeline.BOARD)


def main() -> None:
    """Write the dashboards, and remove those that are none any more."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for board in BOARDS:
        path = FOLDER / f"{board.uid}.json"
        path.write_text(board.to_json(), encoding="utf-8")
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
