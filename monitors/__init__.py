"""Profiles in, findings out: shift tests, forecast scores, alarm control and export."""
