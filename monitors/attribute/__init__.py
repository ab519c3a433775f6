"""What a shift cost: shares of a forecast's loss, in units of that loss."""
