"""The upper part of a JPEG: the pixels that OpenCV gives of the whole, or None."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from patina.pipeline.codec import jpeg_part
from patina.pipeline.codec.jpeg_part import sequential_jpeg
from tests.pipeline.making import picture

SAMPLINGS = {"4:4:4": 0x111111, "4:2:2": 0x211111, "4:2:0": 0x221111, "4:1:1": 0x411111}


def jpeg(width: int = 75, height: int = 203, **how: Any) -> bytes:
    """A JPEG by OpenCV. how: quality, sampling, restart, progressive, optimized."""
    names = {
        "quality": cv2.IMWRITE_JPEG_QUALITY,
        "sampling": cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        "restart": cv2.IMWRITE_JPEG_RST_INTERVAL,
        "progressive": cv2.IMWRITE_JPEG_PROGRESSIVE,
        "optimized": cv2.IMWRITE_JPEG_OPTIMIZE,
    }
    options = [value for name, number in how.items() for value in (names[name], int(number))]
    return bytes(cv2.imencode(".jpg", picture(width, height), options)[1])


def by_pillow(mode: str, **how: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(picture(75, 203)).convert(mode).save(file, "JPEG", **how)
    return file.getvalue()


def whole(data: bytes) -> Any:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("quality", [30, 95])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_part_has_the_pixels_of_the_whole(sampling: str, quality: int, restart: int, capfd: Any) -> None:
    data = jpeg(quality=quality, sampling=SAMPLINGS[sampling], restart=restart, optimized=quality > 50)
    found, expected = sequential_jpeg(data), whole(data)
    assert found is not None and (found.height, found.width) == expected.shape[:2]
    parts = 0
    for bottom in range(1, 204, 5):
        for left, right in ((0, 75), (13, 40), (74, 75)):
            box = (bottom // 3, bottom, left, right)
            part = found.part(box)
            parts += part is not None
            assert part is None or np.array_equal(part, expected[bottom // 3 : bottom, left:right]), box
    assert parts > 80
    assert capfd.readouterr().err == "", "what is left undecoded is no corruption that a decoder should tell of"


def test_what_is_below_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a file that ends behind its rows; and where nearly all rows are wanted, it is for OpenCV."""
    data = jpeg(quality=95)
    found = sequential_jpeg(data[: len(data) // 2])
    assert found is not None
    part = found.part((10, 60, 5, 70))
    assert part is not None and np.array_equal(part, whole(data)[10:60, 5:70])
    assert found.part((100, 180, 5, 70)) is None, "it needs rows that are not there"
    complete = sequential_jpeg(data)
    assert complete is not None and complete.part((100, 180, 5, 70)) is None
    monkeypatch.setattr(jpeg_part, "_agrees", lambda: False)
    assert complete.part((10, 60, 5, 70)) is None, "where Pillow and OpenCV give other pixels"


def test_the_decoders_of_this_machine_agree() -> None:
    assert jpeg_part._agrees()


def others() -> dict[str, bytes]:
    plain = jpeg()
    return {
        "progressive": jpeg(progressive=1),
        "grey": by_pillow("L"),
        "CMYK": by_pillow("CMYK"),
        "a PNG": cv2.imencode(".png", picture(20, 20))[1].tobytes(),
        "empty": b"",
        "its mark alone": plain[:2],
        "cut in its head": plain[:100],
        "no scan": plain[: plain.index(b"\xff\xda")],
        "no height": plain.replace((203).to_bytes(2) + (75).to_bytes(2), (0).to_bytes(2) + (75).to_bytes(2), 1),
        "of 12 bits": plain.replace(b"\x08" + (203).to_bytes(2), b"\x0c" + (203).to_bytes(2), 1),
        "arithmetic": plain.replace(b"\xff\xc0", b"\xff\xc9", 1),
    }


@pytest.mark.parametrize("name", others())
def test_any_other_file_is_left_to_opencv(name: str) -> None:
    assert sequential_jpeg(others()[name]) is None


def test_a_head_with_fill_bytes_and_a_comment_is_read() -> None:
    plain = jpeg()
    data = plain[:2] + b"\xff\xff\xfe\x00\x05abc" + plain[2:]
    found = sequential_jpeg(data)
    assert found is not None
    part = found.part((0, 40, 0, 75))
    assert part is not None and np.array_equal(part, whole(data)[:40])


def test_damage_in_the_coded_rows_is_no_error_of_its_own() -> None:
    """Whatever bytes come: an array of the box's shape, or None."""
    data = bytearray(jpeg(quality=95, restart=2))
    start = data.index(b"\xff\xda")
    rng = np.random.Generator(np.random.PCG64(3))
    for _ in range(60):
        spoilt = bytearray(data)
        for place in rng.integers(2, len(data), 6) if rng.random() < 0.3 else rng.integers(start, len(data), 40):
            spoilt[place] = int(rng.integers(256))
        found = sequential_jpeg(bytes(spoilt))
        if found and found.height >= 50 and found.width >= 60:
            part = found.part((5, 50, 5, 60))
            assert part is None or part.shape == (45, 55, 3)
