"""Image files with something wrong in them: each decodes to what Pillow decodes, or is refused with a reason.

And where picture data is missing, it is refused, though Pillow would fill in grey, black or a blur without a word.
"""

from __future__ import annotations

import io
import random
import subprocess
import sys
import warnings
from collections import Counter

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from patina.pipeline.codec.decode import decode, readable_formats
from patina.pipeline.codec.jpeg_truncation import expect_whole
from patina.pipeline.errors import BadImageError
from patina.pipeline.scan.digests import inspect
from patina.synth.image import Image
from tests.pipeline.making import encoded, picture

WIDTH, HEIGHT = 80, 64
SHOT = picture(WIDTH, HEIGHT, seed=77)
WIDE = SHOT.astype(np.uint16) * 257 + 40


def converted(mode: str, kind: str, **how: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(SHOT).convert(mode).save(buffer, kind, **how)
    return buffer.getvalue()


BASES: dict[str, bytes] = {
    "baseline.jpg": encoded(SHOT, "JPEG", quality=90),
    "whole colour.jpg": encoded(SHOT, "JPEG", quality=95, subsampling=0),
    "optimised.jpg": encoded(SHOT, "JPEG", quality=75, optimize=True),
    "progressive.jpg": encoded(SHOT, "JPEG", quality=85, progressive=True),
    "restarts.jpg": encoded(SHOT, "JPEG", quality=85, restart_marker_blocks=3),
    "grey.jpg": encoded(SHOT[..., 1], "JPEG", quality=85),
    "cmyk.jpg": converted("CMYK", "JPEG", quality=90),
    "colour.png": encoded(SHOT, "PNG"),
    "stored.png": encoded(SHOT, "PNG", compress_level=0),
    "palette.png": converted("P", "PNG"),
    "opaque.png": converted("RGBA", "PNG"),
    "wide.png": cv2.imencode(".png", WIDE)[1].tobytes(),
    "lossy.webp": encoded(SHOT, "WEBP", quality=80),
    "lossless.webp": encoded(SHOT, "WEBP", lossless=True),
    "plain.tif": encoded(SHOT, "TIFF"),
    "lzw.tif": encoded(SHOT, "TIFF", compression="tiff_lzw"),
    "deflate.tif": encoded(SHOT, "TIFF", compression="tiff_adobe_deflate"),
    "jpeg.tif": encoded(SHOT, "TIFF", compression="jpeg"),
    "wide.tif": cv2.imencode(".tiff", WIDE)[1].tobytes(),
}
ENDS = {"jpg": b"\xff\xd9", "png": b"\0\0\0\0IEND\xae\x42\x60\x82", "webp": b"", "tif": b""}


def flip_bits(data: bytearray, chance: random.Random, name: str) -> None:
    for _ in range(chance.choice((1, 1, 2, 8))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def edit_the_header(data: bytearray, chance: random.Random, name: str) -> None:
    for _ in range(chance.randint(1, 3)):
        data[chance.randrange(min(len(data), 700))] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))


def swap_chunks(data: bytearray, chance: random.Random, name: str) -> None:
    size = chance.choice((1, 4, 12, 100))
    one, other = (chance.randrange(len(data) - size) for _ in range(2))
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]


def drop_some(data: bytearray, chance: random.Random, name: str) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.choice((1, 7, 64, 1000))]


def add_some(data: bytearray, chance: random.Random, name: str) -> None:
    start = chance.randrange(len(data))
    data[start:start] = chance.randbytes(chance.choice((1, 7, 64)))


def cut(data: bytearray, chance: random.Random, name: str) -> None:
    del data[chance.randrange(len(data)) :]


def cut_and_close(data: bytearray, chance: random.Random, name: str) -> None:
    cut(data, chance, name)
    data += ENDS[name.rpartition(".")[2]]


MUTATIONS = (flip_bits, flip_bits, edit_the_header, swap_chunks, drop_some, add_some, cut, cut_and_close)


def strictly(data: bytes) -> Image:
    """What Pillow makes of a file: 8 bits, upright, RGB."""
    with PIL.Image.open(io.BytesIO(data), formats=readable_formats()) as opened:
        opened.load()
        upright = PIL.ImageOps.exif_transpose(opened)
    if upright.mode.startswith("I"):
        return np.repeat((np.array(upright).astype(np.int64) * 255 // 65535)[..., None], 3, 2).astype(np.uint8)
    return np.array(upright.convert("RGB"))


def examine(data: bytes) -> str:
    """The reason why a file is refused; empty if it is taken, and then it is what Pillow makes of it."""
    info = inspect(data)
    if info.problem:
        assert info.problem.isprintable()
        return info.problem
    found, expected = decode(data).image, strictly(data)
    assert found.shape == expected.shape == (info.height, info.width, 3)
    slack = 1 if data[24] == 16 or data[:2] in (b"II", b"MM") else 0  # 16 bits are rounded, where Pillow cuts
    assert int(np.abs(found.astype(int) - expected).max()) <= slack
    return ""


def fuzz(seed: str, count: int) -> Counter[str]:
    """So many mutated files; gives how many were refused, the same as before, and other pictures."""
    told: Counter[str] = Counter()
    chance = random.Random(seed)
    names = list(BASES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata, and does not refuse
        for i in range(count):
            name, mutate = names[i % len(names)], chance.choice(MUTATIONS)
            data = bytearray(BASES[name])
            mutate(data, chance, name)
            try:
                refused = examine(bytes(data))
            except Exception as error:
                raise AssertionError(f"{seed}, {i}: {name} after {mutate.__name__}") from error
            same = not refused and np.array_equal(decode(bytes(data)).image, decode(BASES[name]).image)
            told["refused" if refused else "same" if same else "other"] += 1
            if not refused and mutate in {cut, cut_and_close}:
                assert same or missing_at_most_the_last_blocks(decode(bytes(data)).image, name), f"{seed}, {i}: {name}"
    return told


def missing_at_most_the_last_blocks(found: Image, name: str) -> bool:
    """Whether a JPEG that was cut differs from the whole one within its very last blocks alone."""
    differs = (found != decode(BASES[name]).image).any(axis=2)
    differs[-18:, -18:] = False
    return name.endswith(".jpg") and not differs.any()


def test_files_as_they_are_made_are_taken() -> None:
    for name, data in BASES.items():
        assert examine(data) == "", name


def test_two_hundred_mutated_files() -> None:
    told = fuzz("fast", 220)
    assert told["refused"] > 60
    assert told["other"] > 10, "some damage nobody can tell: what Pillow decodes is taken"


@pytest.mark.slow
def test_thousands_of_mutated_files_in_a_process_of_their_own() -> None:
    """A decoder that crashed or hung would take the whole build with it."""
    code = "from tests.pipeline.codec.test_damaged_images import fuzz; print(sum(fuzz('slow', 6000).values()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "6000\n"), done.stderr[-3000:]


# ---------------------------------------------------------------------------------------------------------------------
# What is missing, and Pillow makes up


@pytest.mark.parametrize("name", [name for name in BASES if name.endswith(".jpg")])
def test_a_jpeg_that_was_cut_and_closed_is_refused_wherever_it_was_cut(name: str) -> None:
    data = BASES[name]
    start = data.rindex(b"\xff\xda") if "progressive" not in name else data.index(b"\xff\xda")
    for place in range(start + 40, len(data) - 150, max(1, (len(data) - start) // 12)):
        closed = data[:place] + b"\xff\xd9"
        assert "is incomplete" in inspect(closed).problem or "truncated" in inspect(closed).problem, place


def test_a_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    """It decodes to a blur, by the book."""
    data = BASES["progressive.jpg"]
    scans = [i for i in range(len(data) - 1) if data[i : i + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for end in scans[1:]:
        tables = data.rfind(b"\xff\xc4", scans[0], end)
        early = data[: tables if tables > 0 and data.find(b"\xff\xda", tables, end) < 0 else end] + b"\xff\xd9"
        assert strictly(early).shape == SHOT.shape, "Pillow takes it"
        assert "is incomplete: a progressive JPEG without" in inspect(early).problem


def test_a_jpeg_with_a_hole_of_zeros_is_refused() -> None:
    """As a download leaves it whose pieces did not all come."""
    data = encoded(picture(200, 160, 5), "JPEG", quality=95)
    middle = len(data) // 2
    holed = data[:middle] + bytes(1024) + data[middle + 1024 :]
    assert strictly(holed).shape == (160, 200, 3), "Pillow takes it"
    assert inspect(holed).problem == "is incomplete: it has a hole of zeros in its picture data"


def test_a_jpeg_whose_segment_is_lost_between_restarts_is_refused() -> None:
    data = encoded(picture(200, 160, 5), "JPEG", quality=90, restart_marker_blocks=13)
    first = data.index(b"\xff\xd2")
    second = data.index(b"\xff\xd3", first)
    lost = data[: first + 30] + data[second:]
    assert strictly(lost).shape == (160, 200, 3), "Pillow takes it"
    assert "decoders fill in grey" in inspect(lost).problem


def grey_cards() -> list[tuple[str, bytes]]:
    """Pictures with flat grey, white and black in them, in every way that a JPEG is written."""
    chance = random.Random("cards")
    found = []
    for i in range(60):
        image = picture(chance.randint(16, 120), chance.randint(16, 120), i)
        image[chance.randrange(image.shape[0]) :] = chance.choice((0, 127, 128, 255))
        if i % 6 == 0:
            image[:] = 128
        how = {"quality": chance.randint(1, 100), "progressive": i % 2 == 1, "optimize": chance.random() < 0.5}
        if chance.random() < 0.4:
            how["restart_marker_blocks"] = chance.randint(1, 9)
        if i % 7 == 0:
            found.append((f"{i}, grey", encoded(image[..., 0], "JPEG", **how)))
        else:
            found.append((f"{i}, {how}", encoded(image, "JPEG", subsampling=chance.randrange(3), **how)))
    found.append(("blank", encoded(np.full((1500, 1500), 255, np.uint8), "JPEG", optimize=True)))
    frames = [PIL.Image.fromarray(np.full((64, 64, 3), 128, np.uint8)) for _ in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:])
    return [*found, ("phone", buffer.getvalue())]


def test_flat_grey_that_is_meant_is_no_damage() -> None:
    for name, data in grey_cards():
        assert inspect(data).problem == "", name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_missing_is_seen_in_a_rotated_jpeg_too(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    data = encoded(SHOT, "JPEG", quality=90, exif=exif)
    assert inspect(data).problem == ""
    assert "is incomplete" in inspect(data[: len(data) * 2 // 3] + b"\xff\xd9").problem


def test_what_pillow_does_not_notice_in_a_png_is_noticed() -> None:
    data = encoded(picture(200, 160, 5), "PNG")
    chance, unnoticed = random.Random("png"), 0
    for _ in range(400):
        flipped = bytearray(data)
        flipped[chance.randrange(60, len(data) - 20)] ^= 1 << chance.randrange(8)
        try:
            unnoticed += not np.array_equal(strictly(bytes(flipped)), picture(200, 160, 5))
        except Exception:
            continue
        assert "does not fit its checksum" in inspect(bytes(flipped)).problem
    assert unnoticed


@pytest.mark.parametrize("name", [name for name in BASES if name.endswith(".png")])
def test_no_flipped_bit_of_a_png_goes_unnoticed(name: str) -> None:
    data = BASES[name]
    chance = random.Random(name)
    for _ in range(40):
        place = chance.randrange(data.index(b"IDAT"), data.rindex(b"IEND") - 8)
        flipped = bytearray(data)
        flipped[place] ^= 1 << chance.randrange(8)
        assert inspect(bytes(flipped)).problem, place


def test_a_note_in_a_png_with_a_wrong_checksum_is_no_damage_to_its_picture() -> None:
    data = BASES["colour.png"]
    end = data.rindex(b"IEND") - 4
    noted = data[:end] + b"\0\0\0\4tEXta\0b\0" + b"none" + data[end:]
    np.testing.assert_array_equal(decode(noted).image, SHOT)


@pytest.mark.parametrize("name", ["plain.tif", "lzw.tif", "deflate.tif", "jpeg.tif"])
def test_a_tiff_that_says_it_has_more_rows_than_there_are_is_refused(name: str) -> None:
    with PIL.Image.open(io.BytesIO(BASES[name])) as opened:
        strips = len(opened.tag_v2[273])  # type: ignore[attr-defined]
        rows = opened.tag_v2.get(278, HEIGHT)  # type: ignore[attr-defined]
    for more in (rows, 10 * rows):
        assert "strips or tiles are there" in inspect(with_height(BASES[name], strips * rows + more)).problem


def with_height(tiff: bytes, height: int) -> bytes:
    """A little-endian TIFF whose tag 257, ImageLength, is another."""
    place = int.from_bytes(tiff[4:8], "little")
    entries = range(place + 2, place + 2 + 12 * int.from_bytes(tiff[place : place + 2], "little"), 12)
    (entry,) = (e for e in entries if int.from_bytes(tiff[e : e + 2], "little") == 257)
    return tiff[: entry + 2] + b"\4\0\1\0\0\0" + height.to_bytes(4, "little") + tiff[entry + 12 :]


def test_what_is_no_jpeg_is_let_be() -> None:
    for data in (b"", b"\xff\xd8", BASES["colour.png"], b"\xff\xd8\xff\xda\0", b"\xff\xd8" + bytes(50)):
        expect_whole(data, SHOT)


@pytest.mark.parametrize("keep", [0, 1, 2, 30, 400])
def test_a_jpegs_structure_is_followed_as_far_as_it_goes(keep: int) -> None:
    """The walk over markers meets what it may: it ends, and raises nothing of its own."""
    chance = random.Random(keep)
    for _ in range(200):
        data = BASES["progressive.jpg"][:keep] + chance.randbytes(chance.randrange(200))
        try:
            expect_whole(b"\xff\xd8" + data, SHOT)
        except BadImageError as error:
            assert str(error).startswith("is incomplete")
