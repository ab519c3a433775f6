"""Which feature moved, given all the others: conditional feature-shift tests."""
