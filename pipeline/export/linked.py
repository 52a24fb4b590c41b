"""Shards in an export that copies none: each gets a second name there, and stays one file on the disk."""

from __future__ import annotations

from pathlib import Path

from patina.pipeline.export.format import View
from patina.pipeline.versions.publication import place


def link_shards(folder: Path, view: View) -> None:
    """Put the shards of `view` into the new folder `folder` under their own names.

    They are hard links: they take no room, and outlive the dataset's next builds, which replace shards and change none.
    On another file system they are copies. Raises OSError.
    """
    folder.mkdir(parents=True)
    for shard in view.shards:
        place(view.path(shard), folder / shard.name)
