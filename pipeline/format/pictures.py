"""Parts of a dataset's images for pages and sheets: cut out and never resized, as JPEG files and data: URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.typing import NDArray

from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import BadImageError, DamagedShardError
from patina.pipeline.format.layout import ROLES
from patina.pipeline.format.manifest import SampleRow
from patina.synth.image import Image

Box: TypeAlias = tuple[int, int, int, int]
"""x, y, width, height in pixels."""

SMALLEST_CELL, GUTTER, HEADING = 136, 8, 34
"""A sheet's measures in pixels. Cells are smaller where no image is larger: down to what a heading needs."""

COLUMNS = 7
"""Images side by side in a sheet, at the most."""

SMALL_FILE = 200_000
"""Bytes. A JPEG file up to here is shown as it is: recompressing it would add blocks of its own."""


def lq_and_gt(members: Mapping[str, bytes], row: SampleRow) -> tuple[Image, Image]:
    """LQ and GT of a sample as pixels. Raises DamagedShardError."""
    lq, gt = one_of(members, ROLES["lq"], row), one_of(members, ROLES["gt"], row)
    return decoded(members[lq], lq, row), decoded(members[gt], gt, row)


def one_of(members: Mapping[str, bytes], names: tuple[str, str], row: SampleRow) -> str:
    """The one of two names that a sample has among its members. Raises DamagedShardError for none or both."""
    found = [name for name in names if name in members]
    if len(found) != 1:
        raise DamagedShardError(f"{row.shard} {row.key}: expected {' or '.join(names)}, found {', '.join(members)}")
    return found[0]


def decoded(data: bytes, name: str, row: SampleRow) -> Image:
    """The pixels of a sample's member `name`. Raises DamagedShardError."""
    try:
        return decode(data).image
    except BadImageError as error:
        raise DamagedShardError(f"{row.shard} {row.key}.{name}: {error}; `patina check` finds all of these") from None


def cut_out(image: Image, box: Box) -> Image:
    """The part of an image in the box, contiguous."""
    x, y, width, height = box
    return np.ascontiguousarray(image[y : y + height, x : x + width])


def jpeg(image: Image, box: Box, stored: bytes) -> bytes:
    """A preview: the stored file if it is a small JPEG, otherwise its pixels in the box, recompressed."""
    if stored.startswith(b"\xff\xd8") and len(stored) <= SMALL_FILE and image.shape[:2] == (box[3], box[2]):
        with PIL.Image.open(io.BytesIO(stored)) as picture:
            # patina leaves colour profiles aside; a browser would apply one, to this side of the divider alone
            if "icc_profile" not in picture.info:
                return stored
    file = io.BytesIO()
    PIL.Image.fromarray(cut_out(image, box)).save(file, "JPEG", quality=90, subsampling="4:4:4")
    return file.getvalue()


def data_uri(kind: str, data: bytes) -> str:
    """An image file as a data: URI; `kind` is png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def busiest(image: Image, width: int, height: int) -> Box:
    """The window of `width`×`height` px, or as much as there is, with the largest sum of absolute gradients."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    energy = sum(np.abs(cv2.Sobel(grey, cv2.CV_16S, *axes)).astype(np.int32) for axes in ((1, 0), (0, 1)))
    return strongest(np.asarray(energy, np.float64), width, height)


def strongest(amount: NDArray[Any], width: int, height: int) -> Box:
    """The window of `width`×`height` px, or as much as there is, with the largest sum of `amount`, H×W."""
    width, height = min(width, amount.shape[1]), min(height, amount.shape[0])
    sums = cv2.integral(amount.astype(np.float64))  # exact: whole numbers far below 2^53
    windows = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    y, x = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(x), int(y), width, height


def broken(line: list[tuple[str, Image]]) -> list[list[tuple[str, Image]]]:
    """A line in parts of about equal length, of COLUMNS at the most."""
    parts = -(-len(line) // COLUMNS)
    length = -(-len(line) // parts)
    return [line[start : start + length] for start in range(0, len(line), length)]


def lines_of(parts: Sequence[list[tuple[str, Image]]]) -> list[list[tuple[str, Image]]]:
    """Parts in order, as many to a line as COLUMNS allow; none is broken."""
    lines: list[list[tuple[str, Image]]] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) <= COLUMNS:
            lines[-1] += part
        else:
            lines.append(list(part))
    return lines


def sheet(lines: Sequence[Sequence[tuple[str, Image]]]) -> bytes:
    """A JPEG picture: rows of images on white, each with its label above; labels that repeat those of the row above are
    left out, and one that is wider than its image is cut off."""
    labels = [[text for text, _ in line] for line in lines]
    headed = [i == 0 or labels[i] != labels[i - 1] for i in range(len(lines))]
    side = max([SMALLEST_CELL, *(max(image.shape) for line in lines for _, image in line)])
    step = side + GUTTER
    size = (max(map(len, lines)) * step - GUTTER, len(lines) * step - GUTTER + sum(headed) * HEADING)
    drawn = PIL.Image.new("RGB", size, "white")
    draw, font = PIL.ImageDraw.Draw(drawn), PIL.ImageFont.load_default(size=15)
    top = 0
    for line, with_heading in zip(lines, headed, strict=True):
        for column, (text, image) in enumerate(line):
            left = column * step
            if with_heading:
                draw.text((left, top + HEADING // 2 - 1), _fitting(text, font, side), "#333333", font, "lm")
            x, y = (side - image.shape[1]) // 2, (side - image.shape[0]) // 2  # a smaller one stands in the middle
            drawn.paste(PIL.Image.fromarray(image), (left + x, top + with_heading * HEADING + y))
        top += step + with_heading * HEADING
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=88, subsampling="4:4:4")
    return file.getvalue()


def _fitting(text: str, font: Any, width: int) -> str:
    """A label, cut off where it is wider than `width` px."""
    kept = text
    while kept and font.getlength(kept if kept == text else f"{kept}…") > width:
        kept = kept[:-1]
    return kept if kept == text else f"{kept}…"
