"""The dataset that is trained on, by its manifest."""

from __future__ import annotations

from pathlib import Path

from patina.pipeline.format.layout import MANIFEST
from patina.pipeline.format.manifest import Manifest, load_manifest
from patina.pipeline.sources.locations import is_remote
from patina.pipeline.versions.lease import OpenDataset
from patina.pipeline.versions.lease import open_dataset as open_any
from patina.training.errors import StageError


def open_dataset(dataset: Path | str) -> OpenDataset:
    """Open a dataset in a folder here, or a version of it (OUT@VERSION): what is read stays as it is until it is
    closed. Raises StageError where there is none, ManifestError where it is damaged."""
    if is_remote(str(dataset)):
        raise StageError(f"{dataset}: train from a folder here; copy the dataset first")
    opened = open_any(Path(dataset))
    try:
        if load_manifest(opened.folder) is None:
            raise StageError(f"{dataset}: no patina dataset (no {MANIFEST}); build one with `patina build`")
    except BaseException:
        opened.close()
        raise
    return opened


def dataset_manifest(dataset: Path | str) -> Manifest:
    """The manifest of a dataset in a folder here. Raises StageError where there is none."""
    with open_dataset(dataset) as opened:
        manifest = load_manifest(opened.folder)
    assert manifest is not None, "it was there, and a version never changes"
    return manifest


def dataset_digest(dataset: Path | str) -> str:
    """The digest that names a dataset. Raises StageError where there is none."""
    return dataset_manifest(dataset).digest
