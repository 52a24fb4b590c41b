"""A run: which stages are stale, and where a model comes from."""
