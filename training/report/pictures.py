"""Pictures of a report, within its size."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from patina.training.checkpoints.files import SAMPLES
from patina.training.numbers import as_number, signed
from patina.training.report.record import PICTURES, Record

PICTURE_BYTES = 11_000_000
"""Of all pictures together, as they stand in the page: with the rest it stays below about 12 MB."""

WIDEST, NARROWEST = 1600, 240
"""Widths of a picture, px: it is scaled down to the first, and if need be further, but not below the second."""


@dataclass(frozen=True)
class Picture:
    """A picture in the page. uri: data:, empty if it could not be read or had no room, which `remark` then says."""

    uri: str
    width: int = 0
    height: int = 0
    remark: str = ""


def encode_pictures(paths: Sequence[Path], room: int = PICTURE_BYTES) -> dict[Path, Picture]:
    """Pictures as JPEG; each may fill its share of what is left of the room, so small ones leave more to others."""
    found = {}
    for k, path in enumerate(paths):
        picture = _jpeg(path, room // (len(paths) - k))
        room -= len(picture.uri)
        found[path] = picture
    return found


def _jpeg(path: Path, room: int) -> Picture:
    """A picture of at most `room` characters, as wide as that lets it be."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        return Picture("", remark="could not be read")
    height, width = image.shape[:2]
    across = min(width, WIDEST)
    while True:
        size = (across, max(1, round(height * across / width)))
        scaled = image if across == width else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        # Full chroma: halved, it would hide what restorers do to colours
        how = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        uri = "data:image/jpeg;base64," + base64.b64encode(cv2.imencode(".jpg", scaled, how)[1].tobytes()).decode()
        if len(uri) <= room:
            return Picture(uri, *size, remark="" if across == width else f"scaled to {100 * across / width:.0f} %")
        if across <= NARROWEST:
            return Picture("", remark="left out, as the page would be too large")
        across = max(NARROWEST, min(int(across * 0.8), across - 1))


@dataclass(frozen=True)
class Figure:
    """A picture on the page. what: what it shows. caption: that, and whether it was scaled."""

    uri: str = field(repr=False)
    width: int
    height: int
    what: str
    caption: str


@dataclass(frozen=True)
class Pictured:
    """A stage's pictures. note: what they are. missing: those that are not shown, and why, with their classes."""

    note: str
    figures: Sequence[Figure]
    missing: Sequence[tuple[str, str]]


def pictured(record: Record, pictures: Mapping[Path, Picture]) -> Pictured | None:
    """A stage's pictures with what they are; None without one."""
    figures, missing, gains = [], [], _gains(record)
    for path in record.pictures:
        picture, name = pictures[path], path.stem
        if not picture.uri:
            missing.append((f"{path.parent.name}/{path.name} {picture.remark}", "trouble"))
            continue
        if path.parent.name == SAMPLES:
            what = f"validation after {int(name):,} images" if name.isdecimal() else f"validation, {name}"
        else:
            what = name + gains.get(name, "")
        caption = ", ".join(filter(None, (what, picture.remark)))
        figures.append(Figure(picture.uri, picture.width, picture.height, what, caption))
    if not figures and not missing:
        return None
    note = "LQ | restored | GT, from left to right; recompressed (JPEG, quality 88, full chroma)."
    if any(path.parent.name == PICTURES for path in record.pictures):
        note += " Of an evaluation the image that gained most comes first, the one that gained least last."
    return Pictured(note, figures, missing)


def _gains(record: Record) -> dict[str, str]:
    """What each entry of the evaluation gained, for the captions of its pictures."""
    listed = (record.evaluation or {}).get("rows")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    found = {}
    for row in rows:
        gain, worst, best = (as_number(row.get(key)) for key in ("gain", "worst_gain", "best_gain"))
        if gain is not None:
            span = f", {signed(worst)} to {signed(best)}" if worst is not None and best is not None else ""
            found[str(row.get("entry"))] = f": {signed(gain)} dB in the mean{span}"
    return found
