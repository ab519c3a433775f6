"""Neural forecasters: learnt with JAX (extra `neural`), forecast with NumPy."""
