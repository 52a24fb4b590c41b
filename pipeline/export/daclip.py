"""`daclip`: folders and captions as the published DA-CLIP trainers read them.

    {split}/{label}/LQ/KEY.png, {split}/{label}/GT/KEY.png     paired by their places in two sorted listings
    daclip_{split}.csv                                         tab-separated in spite of its name: filepath, title

`title` is `<caption>: <label>`. The trainer cuts it at every ": " and needs exactly two parts, so that ": " within a
caption is written ", ". Of a composite the folder is named `hazy+rainy`, the text says `hazy, rainy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from patina.captioning.captioner import one_line
from patina.pipeline.export.format import ExportError, Lists, Sample, View, Writer, cells, put_pair, stem_of

HEAD = cells(("filepath", "title"), "\t")


@dataclass(frozen=True)
class DaClip:
    """Settings of the format.

    prefix  put before every `filepath`, with a slash between. The trainer opens these paths as they are, so without a
            prefix it must run in the export's own folder.
    """

    name: ClassVar[str] = "daclip"
    version: ClassVar[int] = 2
    copies: ClassVar[bool] = True

    prefix: str = ""

    def __post_init__(self) -> None:
        if self.prefix != one_line(self.prefix):
            raise ExportError(f"--prefix: expected a path on one line, found {self.prefix!r}")

    def open(self, folder: Path, view: View) -> Writer:
        """Begin an export into `folder`."""
        return _Writer(folder, self.prefix, view.shared)


def title(caption: str, degradations: list[str]) -> str:
    """The text of one row: exactly one ": " in it, between caption and label."""
    # ", " and no dash: "a:: b" would keep a ": " if another space came before what replaces it
    return f"{one_line(caption).replace(': ', ', ')}: {', '.join(degradations)}"


class _Writer:
    def __init__(self, folder: Path, prefix: str, shared: frozenset[str]) -> None:
        self._folder, self._shared = folder, shared
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._lists = Lists(folder)

    def add(self, sample: Sample) -> Callable[[], None]:
        row = sample.row
        stem = stem_of(sample, self._shared)
        lq, _ = put_pair(self._folder, sample, f"{row.split}/{row.degradation}", stem, ("LQ", "GT"))
        line = cells((self._prefix + lq, title(row.caption, sample.degradations)), "\t")
        return lambda: self._lists.add(f"daclip_{row.split}.csv", line, HEAD)

    def close(self) -> None:
        self._lists.close()
