"""`folders`: plain folders, and all that is known of each sample.

    {split}/{entry}/{lq,gt}/KEY.png        and a folder for each truth map and intermediate target (mask, step-1)
    captions.csv                           name (the GT), caption, lq, degradation; the captioner `sidecar` reads it
    samples.jsonl                          a sample a line: its KEY.json, its files, its source's names and licence

The names are those that a recipe's `kind = "pairs"` matches by default, so that a folder can be built from again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from patina.pipeline.export.format import Lists, Sample, View, Writer, cells, put, put_pair
from patina.pipeline.hashing import canonical_json

HEAD = cells(("name", "caption", "lq", "degradation"))


@dataclass(frozen=True)
class Folders:
    """The format has no settings."""

    name: ClassVar[str] = "folders"
    version: ClassVar[int] = 1
    copies: ClassVar[bool] = True

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`."""
        return _Writer(folder)


class _Writer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lists = Lists(folder)

    def add(self, sample: Sample) -> Callable[[], None]:
        row, source = sample.row, sample.source
        place = f"{row.split}/{row.entry}"  # keys are unique within an entry
        lq, gt = put_pair(self._folder, sample, place, row.key, ("lq", "gt"))
        maps = {name: f"{place}/{name}/{row.key}.png" for name in sample.maps}
        for name, body in sample.maps.items():
            put(self._folder / maps[name], body)
        about = {name: source[name] for name in ("names", "licence", "attribution")}
        fact = canonical_json({**sample.fact, "split": row.split, "lq": lq, "gt": gt, "maps": maps, **about})
        caption = cells((gt, row.caption, lq, row.degradation))

        def then() -> None:
            self._lists.add("captions.csv", caption, HEAD)
            self._lists.add("samples.jsonl", f"{fact}\n")

        return then

    def close(self) -> None:
        self._lists.close()
