"""What lies on the disk? Names, shards, manifest, tables, card."""
