"""Datasets by what a user typed."""

from __future__ import annotations

from pathlib import Path

from patina.flows.cli.output import progress


def find_dataset(named: str) -> Path:
    """The folder of a dataset, or of its version, that is named by a path, OUT@VERSION or an address; it stays as it is
    until this process ends. Raises ManifestError if it holds none."""
    from patina.pipeline.export.remote_output import dataset_at
    from patina.pipeline.versions.lease import pinned

    with progress() as events:
        return pinned(dataset_at(named, events).folder).folder
