"""What the dataset is, and what must be made: recipe, sources, plan, shards, manifest, check."""
