"""Prefect flows and the `patina` command: when and where things run, and how that is shown. Nothing else."""
