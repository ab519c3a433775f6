"""Before and after: whether distributions jumped at a known time, and at which quantiles."""
