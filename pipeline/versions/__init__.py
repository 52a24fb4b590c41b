"""Versions: what makes a dataset whole at every instant, and its readers sure of what they read."""

KEEP = 2
"""Versions that stay unless told otherwise: the current one, and the one before."""
