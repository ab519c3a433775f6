"""Quantile forecasters on tables: all levels from one model, never crossing."""

from transforms.forecast.select import Fitted, contiguous_folds, fit_forecaster, load

__all__ = ["Fitted", "contiguous_folds", "fit_forecaster", "load"]
