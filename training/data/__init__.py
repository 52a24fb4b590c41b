"""Shards become batches: in which order, cut how, seen how by CLIP."""
