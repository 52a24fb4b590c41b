"""A mask is cut at the middle of its range, whatever its file's depth, and is refused where that is not known."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from patina.synth.degradation import SettingError
from patina.synth.degradations.uncompleted import Uncompleted
from patina.synth.mask_files import read_mask
from patina.synth.rng import Rng

SHADES = np.full((40, 60), 60000, np.uint16)  # soft: a third at 30 % grey, the rest near white, a black corner
SHADES[:15] = 20000
SHADES[32:, :9] = 0
WHITE = SHADES >= 32768
BYTES = (SHADES // 257).astype(np.uint8)


def pillow(array: np.ndarray, kind: str, mode: str = "", **how: Any) -> bytes:
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(buffer, kind, **how)
    return buffer.getvalue()


def png_of(depth: int, colour: int, rows: list[bytes]) -> bytes:
    """A PNG of a depth that Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 60, len(rows), depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def wide_rows(*bands: np.ndarray) -> list[bytes]:
    return [np.dstack([band[y] for band in bands]).astype(">u2").tobytes() for y in range(len(SHADES))]


OPAQUE = np.full_like(SHADES, 65535)
FILES: dict[str, Callable[[], bytes]] = {
    "grey8.png": lambda: pillow(BYTES, "PNG"),
    "grey16.png": lambda: pillow(SHADES, "PNG"),
    "grey16.tif": lambda: pillow(SHADES, "TIFF"),
    "grey16 inverted.tif": lambda: pillow(65535 - SHADES, "TIFF", tiffinfo={262: 0}),
    "int32.tif": lambda: pillow(SHADES.astype(np.int32), "TIFF"),
    "bytes in int32.tif": lambda: pillow(BYTES.astype(np.int32), "TIFF"),
    "bytes in 16.png": lambda: pillow(BYTES.astype(np.uint16), "PNG"),
    "floats to 1.tif": lambda: pillow((SHADES / 65535).astype(np.float32), "TIFF"),
    "floats to 255.tif": lambda: pillow((SHADES / 257).astype(np.float32), "TIFF"),
    "floats inverted.tif": lambda: pillow((1 - SHADES / 65535).astype(np.float32), "TIFF", tiffinfo={262: 0}),
    "one bit.png": lambda: pillow(np.where(WHITE, 255, 0).astype(np.uint8), "PNG", "1"),
    "one bit.tif": lambda: pillow(np.where(WHITE, 255, 0).astype(np.uint8), "TIFF", "1"),
    "four bits.png": lambda: png_of(4, 0, [bytes((r[::2] >> 12 << 4 | r[1::2] >> 12).tolist()) for r in SHADES]),
    "palette.png": lambda: pillow(BYTES, "PNG", "P"),
    "rgb8.png": lambda: pillow(np.dstack([BYTES] * 3), "PNG"),
    "rgb16.png": lambda: png_of(16, 2, wide_rows(SHADES, SHADES, SHADES)),
    "grey and alpha8.png": lambda: pillow(np.dstack([BYTES, np.full_like(BYTES, 255)]), "PNG"),
    "grey and alpha16.png": lambda: png_of(16, 4, wide_rows(SHADES, OPAQUE)),
    "alpha like the colours.png": lambda: pillow(np.dstack([BYTES] * 4), "PNG"),
    "alpha against the colours.png": lambda: pillow(np.dstack([BYTES] * 3 + [255 - BYTES]), "PNG"),
    "cmyk.jpg": lambda: pillow(np.dstack([BYTES] * 3), "JPEG", "CMYK", quality=100),
    "lossless.webp": lambda: pillow(np.dstack([BYTES] * 3), "WEBP", lossless=True),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", ["white", "black"])
def test_one_mask_has_one_hole_in_every_kind_of_file(tmp_path: Path, name: str, keep: str) -> None:
    path = tmp_path / f"mask.{name.rpartition('.')[2]}"
    path.write_bytes(FILES[name]())
    mask = read_mask(path, keep).mask
    assert mask.dtype == np.uint8
    differing = (mask == 255) != (WHITE if keep == "white" else ~WHITE)
    assert differing.mean() == (0 if "jpg" not in name else pytest.approx(0, abs=0.02))


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "wide.tif": (lambda: pillow(SHADES.astype(np.int32) * 3, "TIFF"), "levels from 0 to 180000"),
    "below.tif": (lambda: pillow(SHADES.astype(np.int32) - 9, "TIFF"), "levels from -9 to"),
    "nan.tif": (lambda: pillow(np.where(WHITE, np.nan, 1).astype(np.float32), "TIFF"), "levels from nan to nan"),
    "alpha.png": (
        lambda: pillow(np.dstack([np.zeros_like(BYTES)] * 3 + [BYTES]), "PNG"),
        "a mask in the alpha channel alone",
    ),
    "both.png": (
        lambda: pillow(np.dstack([BYTES] * 3 + [np.ascontiguousarray(BYTES[::-1])]), "PNG"),
        "colours and an alpha channel that tell different holes",
    ),
    "pages.tif": (
        lambda: pillow(BYTES, "TIFF", save_all=True, append_images=[PIL.Image.fromarray(BYTES)]),
        "2 frames or pages",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mask_that_can_be_read_in_two_ways_is_refused(tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(SettingError, match=reason):
        Uncompleted(masks=str(tmp_path))


def test_a_mask_is_turned_as_its_photograph_is(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    (tmp_path / "a.png").write_bytes(pillow(BYTES, "PNG", exif=exif))
    file = read_mask(tmp_path / "a.png", "white")
    assert np.array_equal(file.mask == 255, np.rot90(WHITE, -1))
    assert file.reading == "turned"


def test_only_masks_that_were_misread_change_the_fingerprint(tmp_path: Path) -> None:
    """The digest of masks is that of their files alone, as it was; but where the same bytes are read otherwise."""
    import hashlib

    def digest_of(name: str) -> tuple[str, str]:
        folder = tmp_path / name
        folder.mkdir()
        data = FILES[name]()
        (folder / f"m.{name.rpartition('.')[2]}").write_bytes(data)
        before = hashlib.sha256(hashlib.sha256(data).hexdigest().encode()).hexdigest()
        return Uncompleted(masks=str(folder)).settings()["masks"], before

    for name in ("grey8.png", "one bit.png", "palette.png", "rgb16.png", "bytes in 16.png", "bytes in int32.tif"):
        now, before = digest_of(name)
        assert now == before, name
    for name in ("grey16.png", "grey16.tif", "int32.tif", "grey16 inverted.tif"):
        now, before = digest_of(name)
        assert now != before, name


def test_a_photograph_gets_the_same_hole_from_8_and_16_bits(tmp_path: Path) -> None:
    image = np.full((80, 120, 3), 128, np.uint8)
    holes = []
    for name in ("grey8.png", "grey16.png"):
        (tmp_path / name[:-4]).mkdir()
        (tmp_path / name[:-4] / "m.png").write_bytes(FILES[name]())
        degradation = Uncompleted(masks=str(tmp_path / name[:-4]))
        holes.append(degradation.apply(image, degradation.draw(Rng("ab" * 32), image)))
    assert np.array_equal(holes[0].truth["mask"], holes[1].truth["mask"])
    assert np.array_equal(holes[0].image, holes[1].image)
