"""Rows in, rows out: decode, validate, sample, forecast and calibrate."""
