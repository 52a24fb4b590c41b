"""Versions: what makes a dataset whole at every instant, and its readers sure of what they read."""
