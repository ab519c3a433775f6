"""How a feature moved: the kind of change in words, and the maps that would undo it."""
