"""Shards in an export that copies none: each gets a second name there, and stays one file on the disk."""

from __future__ import annotations

from pathlib import Path

from patina.pipeline.export.format import ExportError, View
from patina.pipeline.versions.publication import place


def link_shards(folder: Path, view: View) -> None:
    """Put the shards of `view` into the new folder `folder` under their own names.

    They are hard links: they take no room, and outlive the dataset's next builds, which replace shards and change none.
    On another file system they are copies. Raises ExportError if one is missing, OSError.
    """
    folder.mkdir(parents=True)
    for shard in view.shards:
        path = view.path(shard)
        if not path.exists():
            raise ExportError(f"{path}: is missing; `patina build` makes it again, and then export again")
        place(path, folder / shard.name)
