"""Quantile forecasters on tables: all levels from one model, never crossing."""

from transforms.forecast.fitted import Fitted, load
from transforms.forecast.select import contiguous_folds, fit_forecaster
from transforms.forecast.update import update_forecaster

__all__ = ["Fitted", "contiguous_folds", "fit_forecaster", "load", "update_forecaster"]
