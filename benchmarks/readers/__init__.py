"""Every reader of the field on one dataset, each in an environment of its own that holds no patina: `make readers`."""
