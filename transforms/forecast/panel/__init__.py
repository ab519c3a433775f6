"""Forecasts of many series' own futures, over all steps of a horizon, by one model.

`fit.fit_panel` fits, `fitted.FittedPanel` forecasts, `backtest.backtest_panel` says how well.
"""
