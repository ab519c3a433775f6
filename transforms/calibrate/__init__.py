"""Calibration of forecast intervals: what turns nominal coverage into measured coverage."""
