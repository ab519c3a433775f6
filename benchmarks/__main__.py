"""Runs every benchmark: ``python -m benchmarks [--quick]``."""

from __future__ import annotations

import argparse

from benchmarks import profile_and_check, start_up

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("--quick", action="store_true", help="100,000 rows where the full run has 1 M")
quick = parser.parse_args().quick

profile_and_check.main(rows=100_000 if quick else 1_000_000)
start_up.main()
