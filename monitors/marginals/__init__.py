"""One column at a time, beside the conditional test: see docs/methods/marginals.md."""
