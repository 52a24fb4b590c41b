"""Images of samples: read from their shard together, decoded as far as they are needed, cut alike.

The one way to pixels here: of the training loop, of evaluations, of `patina.Dataset` and of `patina.Stream`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from patina.pipeline.codec.jpeg_part import SequentialJpeg, sequential_jpeg
from patina.pipeline.codec.png_part import Box, OwnPng, own_png
from patina.pipeline.errors import DamagedShardError
from patina.pipeline.format.layout import IMAGES, ROLES
from patina.training.data.cutting import cut_alike, place_of
from patina.training.data.index import Index
from patina.training.images import Pixels

LQ, GT = "lq", "gt"
PAIR = (LQ, GT)

_AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_NO_MAPS = frozenset({*IMAGES, "txt", "json"})


def _no_image() -> Exception:
    return ValueError("not an image")


class Picture:
    """An image file, H×W×3 uint8 RGB, or a truth map, H×W uint8 or uint16, of which only what is asked for is decoded.

    A PNG as patina writes them and a sequential JPEG are decoded up to the last row that is wanted; anything else
    wholly, by OpenCV, when it is opened. Raises what `refusal` gives for what cannot be decoded, also where a part is
    asked for.
    """

    def __init__(self, data: bytes, is_map: bool = False, refusal: Callable[[], Exception] = _no_image) -> None:
        own = own_png(data)
        self._by_rows: OwnPng | SequentialJpeg | None = own
        if not is_map and (own is None or own.channels != 3):
            self._by_rows = sequential_jpeg(data)
        self._refusal = refusal
        self._data, self._is_map = data, is_map
        self._whole: Any = None
        if self._by_rows:
            self.shape = (self._by_rows.height, self._by_rows.width)
        else:
            self._whole = self._by_opencv()
            self.shape = self._whole.shape[:2]

    def part(self, box: Box) -> Any:
        """The pixels of a box inside it; not to be written to."""
        if self._by_rows and self._whole is None:
            found = self._by_rows.part(box)
            if found is not None:
                return found
            self._whole = self._by_opencv()
        top, bottom, left, right = box
        found = self._whole[top:bottom, left:right]
        return cv2.cvtColor(found, cv2.COLOR_BGR2RGB) if found.ndim == 3 else found

    def whole(self) -> Any:
        """All pixels; not to be written to."""
        return self.part((0, self.shape[0], 0, self.shape[1]))

    def _by_opencv(self) -> Any:
        """All pixels, H×W or BGR."""
        flags = cv2.IMREAD_UNCHANGED if self._is_map else _AS_STORED
        try:
            found: Any = cv2.imdecode(np.frombuffer(self._data, np.uint8), flags) if self._data else None
        except cv2.error:
            found = None
        if found is None:
            raise self._refusal()
        return found


class _Decoded:
    """Pixels that were kept, as a `Picture`."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels, self.shape = pixels, (pixels.shape[0], pixels.shape[1])

    def part(self, box: Box) -> Pixels:
        top, bottom, left, right = box
        return self.pixels[top:bottom, left:right]

    def whole(self) -> Pixels:
        return self.pixels


def read_image(index: Index, row: int, role: str) -> Pixels:
    """One image of a sample, `LQ` or `GT`, H×W×3 uint8 RGB; not to be written to. Raises DamagedShardError, OSError."""
    return read_square(index, row, 0, None, (role,))[0]


def read_pair(index: Index, row: int) -> tuple[Pixels, Pixels]:
    """LQ and GT of one sample, H×W×3 uint8 RGB each; not to be written to. Raises DamagedShardError, OSError."""
    lq, gt = read_square(index, row, 0, None)
    return lq, gt


def read_square(
    index: Index, row: int, side: int, rng: np.random.Generator | None, roles: Sequence[str] = PAIR
) -> list[Pixels]:
    """The same square of a sample's images, H×W×3 uint8 RGB each: a random one, or the middle if `rng` is None; side 0:
    the whole images. They may not be written to.

    What the index keeps (see `Kept`) is decoded wholly, once, and anything else as far as the square wants it.
    Raises DamagedShardError for images that cannot be read or are of two sizes, OSError.
    """
    return next(read_squares(index, row, side, (rng,), roles))[0]


def read_squares(
    index: Index,
    row: int,
    side: int,
    rngs: Sequence[np.random.Generator | None],
    roles: Sequence[str] = PAIR,
    maps: bool = False,
) -> Iterator[tuple[list[Pixels], dict[str, Any]]]:
    """As `read_square`, a square for each generator out of one decoding; and with `maps` the truth maps by name, as
    they are stored: H×W uint8 or uint16, or H×W×3 of a composite's steps. They are cut as the images are; a blur kernel
    stays whole. Raises DamagedShardError."""
    pictures, found = _opened(index, row, roles, maps)
    alike = {name: picture for name, picture in found.items() if not name.endswith("kernel")}
    named = dict(zip((role.upper() for role in roles), pictures, strict=True)) | alike
    if len({picture.shape for picture in named.values()}) > 1:
        sizes = " beside ".join(f"{name} of {picture.shape}" for name, picture in named.items())
        raise DamagedShardError(f"sample {index.keys[row]}: {sizes}")
    whole = {name: found[name].whole() for name in found if name not in alike}
    if len(rngs) > 1:
        named = {name: _Decoded(picture.whole()) for name, picture in named.items()}
    for rng in rngs:
        squares = dict(zip(named, _cut(list(named.values()), side, rng), strict=True))
        truth = {name: squares[name] if name in alike else whole[name] for name in found}
        yield [squares[role.upper()] for role in roles], truth


def _opened(
    index: Index, row: int, roles: Sequence[str], maps: bool
) -> tuple[list[Picture | _Decoded], dict[str, Picture]]:
    """A sample's images, and its maps if they are wanted, by one reading of its shard."""
    kept = [index.kept.get(row, role) for role in roles]
    if not maps and all(pixels is not None for pixels in kept):
        return [_Decoded(pixels) for pixels in kept], {}
    members = index.members(row) if maps else index.images(row)
    pictures = [
        _image(index, row, role, members) if pixels is None else _Decoded(pixels)
        for role, pixels in zip(roles, kept, strict=True)
    ]
    if not maps:
        return pictures, {}
    return pictures, {
        extension.removesuffix(".png"): _picture(index, row, extension, data, is_map=True)
        for extension, data in members.items()
        if extension not in _NO_MAPS
    }


def _image(index: Index, row: int, role: str, members: dict[str, bytes]) -> Picture | _Decoded:
    """One image of a sample, kept from now on if there is room for it."""
    there = [extension for extension in ROLES[role] if extension in members]
    if not there:
        raise _unreadable(index, row, " or ".join(ROLES[role]))
    picture = _picture(index, row, there[0], members[there[0]])
    if not index.kept.has_room(3 * picture.shape[0] * picture.shape[1]):
        return picture
    pixels = np.ascontiguousarray(picture.whole())
    index.kept.put(row, role, pixels)
    return _Decoded(pixels)


def _picture(index: Index, row: int, extension: str, data: bytes, is_map: bool = False) -> Picture:
    return Picture(data, is_map, lambda: _unreadable(index, row, extension))


def _unreadable(index: Index, row: int, what: str) -> DamagedShardError:
    shard = index.shards[index.shard[row]]
    return DamagedShardError(
        f"{shard}: sample {index.keys[row]} has no readable {what}; run `patina check`, then build again"
    )


def _cut(pictures: Sequence[Picture | _Decoded], side: int, rng: np.random.Generator | None) -> list[Any]:
    """The same square of pictures of one size. Raises DamagedShardError."""
    height, width = pictures[0].shape
    if not side:
        return [picture.whole() for picture in pictures]
    if min(height, width) < side:
        return cut_alike([picture.whole() for picture in pictures], side, rng)
    top, left = place_of(height, width, side, rng)
    return [picture.part((top, top + side, left, left + side)) for picture in pictures]
