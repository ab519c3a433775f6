"""Forecasters combined: their quantiles averaged with weights that are learnt out of fold."""
