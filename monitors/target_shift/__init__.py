"""Whether the target's distribution moved, and the weights that undo it."""
