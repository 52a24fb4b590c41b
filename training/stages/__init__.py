"""Stages and plans: what is to be trained, in TOML."""
