"""`webshart`: the shards as webshart reads them, with an index of each, by which every sample is one.

    shards/{shard}.tar, {shard}.json       a link to the shard, and the index of its degraded images
    gt/{shard}.json, {map}/{shard}.json    the indexes of its clean images and truth maps

webshart's own index takes every member but KEY.json for a sample: four and more of each. Here a file of an index names
one image of each sample, with its place, size and caption, and the place of KEY.json. `discover_dataset("DIR/shards")`
gives the degraded images, `discover_dataset("DIR/shards", metadata="DIR/gt")` the clean ones in the same order. Every
shard has a file in every index, be it empty: webshart would leave the shard out, and number those behind it anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TextIO

from patina.pipeline.export.format import Sample, View, Writer, map_names
from patina.pipeline.export.linked import link_shards
from patina.pipeline.format.layout import ROLES, SHARDS
from patina.pipeline.format.manifest import ShardEntry


@dataclass(frozen=True)
class WebShart:
    """The format has no settings."""

    name: ClassVar[str] = "webshart"
    version: ClassVar[int] = 1
    copies: ClassVar[bool] = False

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`. Raises ExportError if a shard cannot be read."""
        return _Writer(folder, view, map_names(view))


def entries(sample: Sample) -> dict[str, tuple[str, dict[str, Any]]]:
    """A sample's images by index folder (`shards` for LQ, `gt`, a truth map's name): file name, and what an index says
    of it. Lengths and offsets are in bytes, sizes in pixels; a truth map's size is told by its own header."""
    row, places = sample.row, sample.places()
    facts = places["json"]
    about = {
        "json_path": f"{row.key}.json",
        "json_offset": facts.offset,
        "json_length": facts.size,
        "captions": row.caption,
    }
    size = {"width": row.width, "height": row.height, "aspect": row.width / row.height}
    folders = dict.fromkeys(ROLES["lq"], SHARDS) | dict.fromkeys(ROLES["gt"], "gt")
    folders |= {f"{name}.png": name for name in sample.maps}
    found = {}
    for member, folder in folders.items():
        if member in places:
            name, place = f"{row.key}.{member}", places[member]
            entry = {"path": name, "offset": place.offset, "length": place.size}
            found[folder] = (name, entry | ({} if folder in sample.maps else size) | about)
    return found


class _Writer:
    def __init__(self, folder: Path, view: View, maps: list[str]) -> None:
        self._folder = folder
        self._shards = {shard.name: shard for shard in view.shards}
        link_shards(folder / SHARDS, view)
        self._folders = (SHARDS, "gt", *maps)
        for name in self._folders[1:]:
            (folder / name).mkdir()
        self._shard = ""
        self._files: dict[str, TextIO] = {}
        self._begun: set[str] = set()

    def add(self, sample: Sample) -> Callable[[], None]:
        found = entries(sample)

        def then() -> None:
            if sample.row.shard != self._shard:
                self._finish_shard()
                self._begin_shard(self._shards[sample.row.shard])
            for folder, (name, entry) in found.items():
                comma = ", " if folder in self._begun else ""
                self._begun.add(folder)
                text = json.dumps(entry, ensure_ascii=False)
                self._files[folder].write(f"{comma}{json.dumps(name)}: {text}")

        return then

    def _begin_shard(self, shard: ShardEntry) -> None:
        self._shard = shard.name
        head = json.dumps({"path": shard.name, "filesize": shard.bytes})
        for folder in self._folders:
            path = (self._folder / folder / shard.name).with_suffix(".json")
            self._files[folder] = path.open("w", encoding="utf-8")
            self._files[folder].write(f'{head[:-1]}, "files": {{')

    def _finish_shard(self) -> None:
        for file in self._files.values():
            file.write("}}\n")
            file.close()
        self._files, self._begun = {}, set()

    def close(self) -> None:
        self._finish_shard()
