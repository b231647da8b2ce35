"""Trains the encoders: a teacher that embeds guidelines, and a fast student that embeds requests."""
