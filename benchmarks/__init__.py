"""Benchmarks: ours beside a peer and beside a floor, in one run on one machine."""
