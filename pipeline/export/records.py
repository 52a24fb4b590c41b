"""A sample as one record, for formats that hold records instead of files: the same columns in each of them."""

from __future__ import annotations

from collections.abc import Sequence

from patina.pipeline.export.format import Sample

TEXTS = ("key", "caption", "facts")
"""Columns of text, in UTF-8: key, caption, and KEY.json as it is stored. All others are bytes of image files."""


def columns(maps: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns: `TEXTS`, `lq`, `gt`, and one for each truth map or intermediate target."""
    return (*TEXTS, "lq", "gt", *maps)


def record(sample: Sample, maps: Sequence[str]) -> list[bytes]:
    """The columns' bytes, in the order of `columns`. A truth map that the sample does not have is empty."""
    row = sample.row
    texts = (row.key.encode(), row.caption.encode(), sample.members["json"])
    return [*texts, sample.lq[1], sample.gt[1], *(sample.maps.get(name, b"") for name in maps)]
