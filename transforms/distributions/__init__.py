"""Families of distributions: density, distribution function, quantiles, CRPS and moments.

Every argument of every function broadcasts by NumPy's rules; results are float64. Outcomes come
first, then the parameters in the order of `families.FAMILIES`. Quantiles of n rows at k levels:
``quantile(levels, *(p[:, None] for p in parameters))``. NaN in, NaN out.
"""
