"""What are the photographs? Digests, sizes, pairs, duplicates, leaks."""
