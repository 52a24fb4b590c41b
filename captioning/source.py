"""`source`: the caption that each source brings itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from patina.captioning.captioner import Caption, Captioner, Photo, one_line


@dataclass(frozen=True)
class SourceCaption(Captioner):
    """Takes what the source says of a photo: a column of a table or of a Hugging Face dataset, an archive's .txt."""

    name: ClassVar[str] = "source"
    version: ClassVar[int] = 1
    stored: ClassVar[bool] = False

    def settings(self) -> dict[str, Any]:
        """As the protocol says: there are none, the captions count for themselves."""
        return {}

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        """The caption that each photo came with, on one line; a problem where it came with none."""
        return [_caption(photo) for photo in photos]


def _caption(photo: Photo) -> Caption:
    line = one_line(photo.caption)
    if line:
        return Caption(line)
    found = "an empty one" if photo.caption else "none"
    return Caption(
        "",
        f"no caption for {photo.name!r}: its source brings {found}; write one there, or set a fallback or a captioner",
        missing=True,
    )
