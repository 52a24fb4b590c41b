"""The dataset that is trained on, by its manifest."""

from __future__ import annotations

from pathlib import Path

from patina.pipeline.format.layout import MANIFEST
from patina.pipeline.format.manifest import Manifest, load_manifest
from patina.pipeline.sources.locations import is_remote
from patina.training.errors import StageError


def open_dataset(dataset: Path | str) -> Manifest:
    """The manifest of a dataset in a folder here. Raises StageError where there is none."""
    if is_remote(str(dataset)):
        raise StageError(f"{dataset}: train from a folder here; copy the dataset first")
    manifest = load_manifest(Path(dataset))
    if manifest is None:
        raise StageError(f"{dataset}: no patina dataset (no {MANIFEST}); build one with `patina build`")
    return manifest


def dataset_digest(dataset: Path | str) -> str:
    """The digest that names a dataset. Raises StageError where there is none."""
    return open_dataset(dataset).digest
