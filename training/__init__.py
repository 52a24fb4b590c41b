"""Shards become models. Reads the stored format as any outsider would; knows nothing of synthesis."""
