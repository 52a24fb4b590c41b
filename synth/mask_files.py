"""Files of masks: two-valued pictures of any depth, cut at the middle of their range."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from patina.synth.degradation import SettingError
from patina.synth.holes import HOLE, KEEP
from patina.synth.image import Map

MASK_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})

DISAGREEING = 0.02
"""Share of a mask's pixels in which its colours and its alpha channel may tell different holes: soft edges do."""

_ORIENTATION, _PHOTOMETRIC = 0x0112, 262


@dataclass(frozen=True)
class MaskFile:
    """A mask as it was read.

    digest   sha256 of the file.
    mask     H×W uint8 at the file's own size, upright, 255 = keep and 0 = hole.
    reading  empty, or how it is read where earlier releases read the same bytes otherwise, and wrongly.
    """

    digest: str
    mask: Map
    reading: str = ""


def read_mask(path: Path, keep: str) -> MaskFile:
    """A mask file, of which `keep`, `white` or `black`, is kept: white is what lies in the upper half of its range.

    The range is that of 8 or 16 bits, or 0 to 1 for floats that do not exceed 1; wider numbers that do not exceed 255
    are levels of 8 bits. Raises SettingError for what is no whole still picture, has levels of no known range, or is
    ambiguous because colours and alpha channel tell different holes.
    """
    try:
        data = path.read_bytes()
        with PIL.Image.open(io.BytesIO(data)) as picture:  # unlike OpenCV, refuses a file that ends too early
            white, reading = _white(picture)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise SettingError(f"masks: expected an image at {path}, found {error}; put a whole one there") from error
    mask = np.where(white == (keep == "white"), np.uint8(KEEP), np.uint8(HOLE))
    return MaskFile(hashlib.sha256(data).hexdigest(), mask, reading)


def _white(picture: PIL.Image.Image) -> tuple[NDArray[np.bool_], str]:
    """Where a mask is white, H×W, upright; and a word for a reading that is not that of earlier releases."""
    if (pages := getattr(picture, "n_frames", 1)) > 1:
        raise ValueError(f"{pages} frames or pages")
    turned = picture.getexif().get(_ORIENTATION, 1) not in {0, 1} and picture.format != "TIFF"
    if turned:
        picture = PIL.ImageOps.exif_transpose(picture)
    if picture.mode in {"I", "F"} or picture.mode.startswith("I;16"):
        white, reading = _wide_white(picture)
    else:
        white, reading = np.asarray(picture.convert("L")) >= 128, ""
        if picture.has_transparency_data:
            _expect_agreeing(white, np.asarray(picture.convert("RGBA").getchannel("A")))
    return white, " ".join(word for word in (reading, "turned" if turned else "") if word)


def _wide_white(picture: PIL.Image.Image) -> tuple[NDArray[np.bool_], str]:
    """Of a grey picture whose levels are not bytes."""
    levels: NDArray[Any] = np.asarray(picture)
    least, most = float(levels.min()), float(levels.max())
    if not (least >= 0 and most <= 65535):
        raise ValueError(f"levels from {least:g} to {most:g}, where 0 to 255, 0 to 65535 or floats of 0 to 1 are known")
    limit = 1 if picture.mode == "F" and most <= 1 else 255 if most <= 255 else 65535
    white_is_zero = picture.format == "TIFF" and picture.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    half = 0.5 if limit == 1 else (limit + 1) // 2
    white = limit - levels >= half if white_is_zero else levels >= half
    return white, f"of {limit}{' inverted' if white_is_zero else ''}" if limit == 65535 or white_is_zero else ""


def _expect_agreeing(white: NDArray[np.bool_], alpha: NDArray[np.uint8]) -> None:
    """Raise ValueError where the alpha channel tells another hole than the colours, or a hole where they tell none."""
    opaque = alpha >= 128
    if opaque.all() or not opaque.any():
        return
    if white.all() or not white.any():
        raise ValueError(
            "a mask in the alpha channel alone, its colours all alike; save that channel as a grey picture"
        )
    differing = float(np.mean(white != opaque))
    if min(differing, 1 - differing) > DISAGREEING:
        raise ValueError("colours and an alpha channel that tell different holes; save the mask as a grey picture")
