"""Makes, mends and measures libraries of guidelines."""
