"""What decoding a photograph holds in memory: as is said beforehand, and 1.2 GB at the most."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from patina.pipeline.codec import decode as codec
from patina.pipeline.codec import wide_png
from patina.pipeline.codec.decode import MAX_MEMORY, MAX_PIXELS, decode
from patina.pipeline.codec.png import deflate
from patina.pipeline.errors import BadImageError
from tests.pipeline.making import encoded, picture

HEIGHT, WIDTH = 2000, 3000
SLACK = 30_000_000
"""Bytes of the blocks in which pixels are converted, and of what an allocator keeps."""

CHILD = """
import os, sys
from pathlib import Path
from patina.pipeline.codec.decode import decode

def peak():  # of this program alone: ru_maxrss begins with what its parent had
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

for line in sys.stdin:
    if not (child := os.fork()):  # has decoded nothing yet, and its peak begins with what it holds
        for path in line.rstrip().split("|"):
            decode(Path(path).read_bytes())
            print(peak(), end=" ")
        print(flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("failed", flush=True)
"""

Peaks = Callable[..., list[int]]


@pytest.fixture(scope="module")
def peaks() -> Iterator[Peaks]:
    """Decodes files one after another in a process of its own, and gives its peak after each, in bytes."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdin is not None and one.stdout is not None
        to, answers = one.stdin, one.stdout

        def decoded(*paths: Path) -> list[int]:
            to.write("|".join(map(str, paths)) + "\n")
            to.flush()
            return [int(word) for word in answers.readline().split()]

        yield decoded


@cache
def large() -> np.ndarray:
    """Six megapixels, neither flat nor noise."""
    return cv2.resize(picture(300, 200), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def wide(bands: int, ext: str, *how: int) -> bytes:
    image = large().astype(np.uint16) * 257
    if bands == 4:
        image = np.dstack([image, np.full((HEIGHT, WIDTH), 65535, np.uint16)])
    return cv2.imencode(ext, image[..., 0] if bands == 1 else image, list(how))[1].tobytes()


def pillow(kind: str, mode: str = "RGB", **how: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(large()).convert(mode).save(file, kind, **how)
    return file.getvalue()


def turned() -> bytes:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    return pillow("JPEG", exif=exif)


KINDS: dict[str, Callable[[], bytes]] = {
    "rgb16.png": lambda: wide(3, ".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
    "rgba16.png": lambda: wide(4, ".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
    "grey16.png": lambda: wide(1, ".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
    "rgb16.tif": lambda: wide(3, ".tif"),
    "grey16.tif": lambda: wide(1, ".tif"),
    "grey16.pgm": lambda: b"P5 3000 2000 65535\n" + (large()[..., 0].astype(">u2") * 257).tobytes(),
    "rgb8.png": lambda: pillow("PNG", compress_level=1),
    "rgba8.png": lambda: pillow("PNG", "RGBA", compress_level=1),
    "palette.png": lambda: pillow("PNG", "P", compress_level=1),
    "bits.png": lambda: pillow("PNG", "1"),
    "rgb.jpg": lambda: pillow("JPEG"),
    "progressive.jpg": lambda: pillow("JPEG", progressive=True, subsampling="4:4:4"),
    "cmyk.jpg": lambda: pillow("JPEG", "CMYK"),
    "progressive-cmyk.jpg": lambda: pillow("JPEG", "CMYK", progressive=True),
    "turned.jpg": turned,
    "rgb.bmp": lambda: pillow("BMP"),
    "strips.tif": lambda: pillow("TIFF"),
    "one-strip.tif": lambda: pillow("TIFF", compression="tiff_lzw", tiffinfo={278: HEIGHT}),
    "grey.gif": lambda: pillow("GIF", "L"),
    "lossy.webp": lambda: pillow("WEBP", quality=50, method=0),
    "lossless.webp": lambda: pillow("WEBP", lossless=True, quality=0, method=0),
    "rgb.avif": lambda: pillow("AVIF", speed=10),
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a program's own peak")
@pytest.mark.parametrize("name", KINDS)
def test_decoding_takes_no_more_than_is_said_beforehand(name: str, peaks: Peaks, tmp_path: Path) -> None:
    data = KINDS[name]()
    (tmp_path / name).write_bytes(data)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        said = codec._bytes_per_pixel(opened, data, codec._has_16_bits(opened, data)) * HEIGHT * WIDTH
    (tmp_path / "tiny").write_bytes(encoded(picture(), {".jpg": "JPEG"}.get(Path(name).suffix, "PNG")))
    before, peak = peaks(tmp_path / "tiny", tmp_path / name)
    assert peak - before - len(data) <= said + SLACK
    assert before <= codec.PROCESS_BYTES


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a program's own peak")
def test_a_hundred_megapixels_of_16_bits_are_decoded_within_1200_mb(peaks: Peaks, tmp_path: Path) -> None:
    """Of noise in the low byte, which no PNG makes small: the file is read into memory, too."""
    rng = np.random.Generator(np.random.PCG64(1))
    rows = np.zeros((100, 1 + 6 * 10_000), np.uint8)  # the filter None, then RGB, the high bytes first
    rows[:, 1::2] = np.repeat(np.linspace(0, 255, 10_000).astype(np.uint8), 3)
    rows[:, 2::2] = rng.integers(0, 256, (100, 30_000), np.uint8)
    packer = deflate.compressobj(1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    with (tmp_path / "wide.png").open("wb") as file:  # in pieces: this process need not hold it either
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 16, 2, 0, 0, 0)))
        for _ in range(100):
            file.write(chunk(b"IDAT", packer.compress(rows.tobytes())))
        file.write(chunk(b"IDAT", packer.flush()) + chunk(b"IEND", b""))
    assert (tmp_path / "wide.png").stat().st_size > 250e6
    (tmp_path / "tiny").write_bytes(encoded(picture(), "PNG"))
    _, peak = peaks(tmp_path / "tiny", tmp_path / "wide.png")
    assert 300e6 < peak <= MAX_MEMORY


def test_what_does_not_fit_is_refused_by_its_header_alone() -> None:
    """A hundred megapixels of each kind: those that fit are decoded, and found to be no more than a head."""

    def head(bits: int, colour: int, interlaced: int) -> bytes:
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, bits, colour, 0, 0, interlaced)), (b"IDAT", b"")]
        parts = [
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in chunks
        ]
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    for bits, colour, interlaced, fits in (
        (16, 2, 0, True), (16, 6, 0, True), (16, 0, 0, True), (8, 2, 0, True), (8, 6, 1, True), (8, 3, 0, True),
        (16, 2, 1, False), (16, 6, 1, False),
    ):  # fmt: skip
        with pytest.raises(BadImageError) as caught:
            decode(head(bits, colour, interlaced))
        assert ("GB to decode, more than 1.20" in str(caught.value)) is not fits, caught.value
    assert MAX_PIXELS == 10_000 * 10_000
    assert MAX_MEMORY == 1_200_000_000


@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("strategy", range(5))
@pytest.mark.parametrize("level", [0, 9])
def test_rows_of_16_bits_are_those_of_the_whole_file(
    bands: int, strategy: int, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the filters, which look back one row, and wherever blocks and pieces end."""
    rng = np.random.default_rng(bands + strategy)
    image = picture(61, 47).astype(np.uint16) * 256 + rng.integers(0, 255, (47, 61, 3)).astype(np.uint16)
    image = np.dstack([image, image[..., :1]])[..., :bands] if bands > 1 else image[..., 0]
    how = [cv2.IMWRITE_PNG_COMPRESSION, level, cv2.IMWRITE_PNG_STRATEGY, strategy]
    data = cv2.imencode(".png", image, how)[1].tobytes()
    assert wide_png.comes_in_rows(data)
    for block, piece in ((1, 7), (900, 64), (10_000, 1 << 16), (1 << 20, 100)):
        monkeypatch.setattr(wide_png, "BLOCK_BYTES", block)
        monkeypatch.setattr(wide_png, "PIECE", piece)
        assert np.array_equal(np.concatenate(list(wide_png.wide_rows(data))), image)


@pytest.mark.parametrize("orientation", range(10))
def test_rows_are_turned_as_pillow_turns_the_whole(orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "BLOCK_PIXELS", 200)
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    data = encoded(picture(61, 47), "PNG", exif=exif)
    with PIL.Image.open(io.BytesIO(data)) as opened:
        expected = np.array(PIL.ImageOps.exif_transpose(opened))
    found = decode(data).image
    assert np.array_equal(found, expected)
    assert found.flags.c_contiguous


def test_rows_that_break_off_are_told() -> None:
    data = cv2.imencode(".png", picture().astype(np.uint16) * 257)[1].tobytes()
    with pytest.raises(BadImageError, match=r"is cut off: \d+ of its 48 rows"):
        list(wide_png.wide_rows(data[: len(data) // 2] + data[-12:]))
