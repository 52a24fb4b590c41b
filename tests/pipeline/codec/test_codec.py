"""Pixels to PNG and back without loss, the measures' known answers, and a fingerprint that is the same every time."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.pipeline.codec import jpeg_truncation
from patina.pipeline.codec.decode import decode, decode_map
from patina.pipeline.codec.fingerprint import codec_fingerprint
from patina.pipeline.codec.png import encode_png
from patina.pipeline.errors import BadImageError
from patina.pipeline.scan.leaks.perceptual_hash import perceptual_hash
from patina.synth.image import Image
from tests.pipeline.making import encoded, picture, pixels

HEAD = 64
"""Bytes with which a deflated image begins as they are."""

# ---------------------------------------------------------------------------------------------------------------------
# PNG


def constant(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.full(shape, seed % 256, np.uint8)


def gradient(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A slope that wraps around at 255, in a direction of its own for each channel."""
    axes = np.indices(shape)
    return (sum((seed % 5 + i + 1) * axis for i, axis in enumerate(axes)) % 256).astype(np.uint8)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def half_noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Noise below, nothing above."""
    image = noise(shape, seed)
    image[: shape[0] // 2] = 7
    return image


Content = Callable[[tuple[int, ...], int], np.ndarray]
CONTENTS = (constant, gradient, noise, half_noise)
sides = st.integers(16, 70)


def assert_every_reader_agrees(image: np.ndarray) -> bytes:
    """Encode; decode by Pillow, by OpenCV and by patina; give the bytes."""
    data = encode_png(image)
    np.testing.assert_array_equal(np.array(PIL.Image.open(io.BytesIO(data))), image)
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(by_opencv[..., ::-1] if image.ndim == 3 else by_opencv, image)
    if image.ndim == 3:
        assert decode(data).suffix == "png"
        np.testing.assert_array_equal(decode(data).image, image)
    else:
        np.testing.assert_array_equal(decode_map(data), image)
    return data


def is_stored(data: bytes) -> bool:
    """Whether all pixels lie in the file as they are, and not its first bytes alone: the length of the first block."""
    start = data.index(b"IDAT") + 4 + 2
    kind, length = struct.unpack_from("<BH", data, start)
    assert kind >> 1 == 0  # a stored block, RFC 1951, 3.2.3
    return bool(length > HEAD)


@settings(deadline=None)
@given(height=sides, width=sides, colour=st.booleans(), content=st.sampled_from(CONTENTS), seed=st.integers(0, 999))
def test_a_png_gives_back_what_was_put_in(height: int, width: int, colour: bool, content: Content, seed: int) -> None:
    shape = (height, width, 3) if colour else (height, width)
    assert_every_reader_agrees(content(shape, seed))


@settings(deadline=None, max_examples=30)
@given(height=sides, width=sides, content=st.sampled_from(CONTENTS), seed=st.integers(0, 999))
def test_a_map_of_16_bits_too(height: int, width: int, content: Content, seed: int) -> None:
    high, low = content((2, height, width), seed).astype(np.uint16)
    assert_every_reader_agrees(high << 8 | low)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (255, 256),  # rows of 257 bytes: 65535 in all, one full block
        (257, 254),  # 65535 bytes again
        (256, 255),  # 65536: a full block, and one byte more
        (226, 289),  # 65540
        (510, 256),  # two full blocks
        (254, 257),  # 65532
    ],
)
@pytest.mark.parametrize("content", [noise, constant])
def test_blocks_hold_65535_bytes_at_the_most(height: int, width: int, content: Content) -> None:
    data = assert_every_reader_agrees(content((height, width), 1))
    assert is_stored(data) == (content is noise)


def test_a_full_block_of_colour() -> None:
    assert is_stored(assert_every_reader_agrees(noise((771, 28, 3), 1)))  # 771 rows of 85 bytes: 65535
    assert is_stored(assert_every_reader_agrees(noise((772, 28, 3), 1)))


def test_noise_is_stored_and_the_rest_deflated() -> None:
    image = picture(256, 192, 1)
    raw = 192 * (1 + 256 * 3)
    assert not is_stored(encode_png(image))
    assert len(encode_png(image)) < raw
    stored = encode_png(noise((192, 256, 3), 1))
    assert is_stored(stored)
    assert len(stored) < raw * 1.001 + 100


def test_a_deflated_stream_begins_with_bytes_as_they_are() -> None:
    """ISA-L's matches in a stream's first bytes depend on addresses: there are none."""
    image = picture(256, 192, 1)
    raw = zlib.decompress(b"".join(_data(encode_png(image))))
    body = b"".join(_data(encode_png(image)))
    assert body[:2] == b"\x78\x01"
    assert struct.unpack_from("<BHH", body, 2) == (0, HEAD, HEAD ^ 0xFFFF)
    assert body[7 : 7 + HEAD] == raw[:HEAD]
    assert len(body) < len(raw) * 0.9


WHEREVER = """
import numpy as np
from patina.pipeline.codec.png import encode_png

maps = [np.random.default_rng(k).integers(0, 5, (16, 160), np.uint16) for k in range(64)]
for k, values in enumerate(maps):
    values[0, :60] = values[0, 140:] = 3 * k + 20  # the first match, and more of the same later on
first, elsewhere = [encode_png(values) for values in maps], []
for _ in range(800):
    elsewhere.append(bytearray(65500))  # what is allocated next lies behind it
    assert [encode_png(values) for values in maps] == first
"""


@pytest.mark.slow
def test_the_same_pixels_give_the_same_bytes_wherever_memory_lies() -> None:
    """ISA-L's first match in a stream depends on an address, by the 64 KiB: without precaution about five of these
    come out otherwise."""
    subprocess.run([sys.executable, "-c", WHEREVER], check=True)  # a fresh one: memory without holes


def _data(png: bytes) -> Iterator[bytes]:
    place = 8
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        if kind == b"IDAT":
            yield png[place + 8 : place + 8 + length]
        place += 12 + length


def test_a_view_is_encoded_like_its_copy() -> None:
    image = picture(80, 60, 2)
    for view in (image[::2], image[:, ::-1], image[..., ::-1], image[5:40, 7:50], image.transpose(1, 0, 2)):
        assert encode_png(view) == encode_png(view.copy())


def test_the_same_pixels_give_the_same_bytes_whatever_was_encoded_before() -> None:
    """The encoder keeps its scratch memory: what an earlier, larger image left there must not show."""
    image = picture(40, 30, 3)
    first = encode_png(image)
    encode_png(noise((300, 300, 3), 4))
    assert encode_png(image) == first


def test_a_png_is_small_enough() -> None:
    """The fast encoder may cost some bytes, against Pillow's at its usual level, but not many."""
    image = picture(256, 192, 5)
    assert len(encode_png(image)) < 1.35 * len(encoded(image, "PNG"))


NO_MAPS = {
    "empty": b"",
    "text": b"no png",
    "colour": encoded(picture(), "PNG"),
    "cut": encode_png(picture(32, 32)[..., 0])[:60],
}


@pytest.mark.parametrize("data", NO_MAPS.values(), ids=NO_MAPS)
def test_what_is_no_map_is_refused(data: bytes) -> None:
    with pytest.raises(BadImageError):
        decode_map(data)


def test_every_chunk_has_its_checksum() -> None:
    data = encode_png(picture(40, 30, 1))
    place = 8
    kinds = []
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind_and_body = data[place + 4 : place + 8 + length]
        kinds.append(kind_and_body[:4])
        assert int.from_bytes(data[place + 8 + length : place + 12 + length], "big") == zlib.crc32(kind_and_body)
        place += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


# ---------------------------------------------------------------------------------------------------------------------
# Measures


def apart(first: str, second: str) -> int:
    """Bits in which two perceptual hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def recompressed(image: Image) -> Image:
    return pixels(encoded(image, "JPEG", quality=40))


def halved(image: Image) -> Image:
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def enlarged(image: Image) -> Image:
    return cv2.resize(image, None, fx=1.37, fy=1.37, interpolation=cv2.INTER_CUBIC)


def brightened(image: Image) -> Image:
    return np.clip(image * 1.1 + 8, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [recompressed, halved, enlarged, brightened])
def test_near_duplicates_have_near_hashes(change: Callable[[Image], Image]) -> None:
    for seed in range(12):
        image = picture(200, 150, seed)
        assert apart(perceptual_hash(change(image)), perceptual_hash(image)) <= 10, f"seed {seed}"


def test_other_pictures_have_far_hashes() -> None:
    hashes = [perceptual_hash(picture(200, 150, seed)) for seed in range(24)]
    distances = [apart(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 10
    assert 28 < sum(distances) / len(distances) < 36  # half of the bits


def test_a_hash_is_16_digits_even_of_nothing() -> None:
    for level in (0, 128, 255):
        found = perceptual_hash(np.full((20, 30, 3), level, np.uint8))
        assert len(found) == 16
        int(found, 16)


# ---------------------------------------------------------------------------------------------------------------------
# The codecs' fingerprint


def test_the_fingerprint_is_the_same_in_this_process_and_in_another() -> None:
    codec_fingerprint.cache_clear()
    first = codec_fingerprint()
    codec_fingerprint.cache_clear()
    assert codec_fingerprint() == first
    program = "from patina.pipeline.codec.fingerprint import codec_fingerprint; print(codec_fingerprint())"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == first
    assert len(first) == 16


@pytest.mark.parametrize("changed", ["png", "jpeg"])
def test_the_fingerprint_changes_with_a_codec(monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    before = codec_fingerprint()
    codec_fingerprint.cache_clear()
    if changed == "png":
        monkeypatch.setattr(
            "patina.pipeline.codec.png.deflate.compressobj", lambda level, *a, **k: zlib.compressobj(9, *a, **k)
        )
    else:
        monkeypatch.setattr(
            "patina.pipeline.codec.decode.PIL.Image.Image.save", saved_a_little_worse(PIL.Image.Image.save)
        )
    try:
        assert codec_fingerprint() != before
    finally:
        codec_fingerprint.cache_clear()


def saved_a_little_worse(save: Callable[..., None]) -> Callable[..., None]:
    """Another build of libjpeg: the same settings, other bytes."""

    def worse(self: PIL.Image.Image, file: io.BytesIO, kind: str, quality: int, **others: Any) -> None:
        save(self, file, kind, quality=quality - 1, **others)

    return worse


@given(st.lists(st.sampled_from([b"\xff", b"\x00", b"\xd0", b"\xd7", b"\xd9", b"\x07"]), max_size=40))
def test_coded_data_ends_at_the_first_marker_that_is_no_restart(parts: list[bytes]) -> None:
    data = b"".join(parts)
    found = re.search(rb"\xff+[^\x00\xff\xd0-\xd7]", data, re.DOTALL)
    expected = found.start() if found else len(data)
    for at_once in (3, 1 << 16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jpeg_truncation, "_AT_ONCE", at_once)
            assert jpeg_truncation._entropy_end(data, 0) == expected
