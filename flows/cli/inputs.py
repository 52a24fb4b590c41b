"""Datasets by what a user typed."""

from __future__ import annotations

from pathlib import Path

from patina.flows.cli.output import console


def find_dataset(named: str) -> Path:
    """The folder of a dataset that is named by a path or an address. Raises ManifestError if it holds none."""
    from patina.flows.terminal import TerminalEvents
    from patina.pipeline.export.remote_output import dataset_at

    with TerminalEvents(console) as events:
        return dataset_at(named, events)
