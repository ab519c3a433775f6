"""Tail risk of forecasts: value at risk, expected shortfall, expectiles, and their backtests."""
