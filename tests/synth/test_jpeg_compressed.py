import io
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.degradation import Degraded
from synth.degradations.jpeg_compressed import SUBSAMPLINGS, JpegCompressed
from synth.image import Image
from synth.rng import Rng
from tests.synth.pictures import cut, photo, psnr

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"quality": quality} for quality in (95, 75, 50, 30, 20, 10, 5, 1)]
WIDE = JpegCompressed(quality={"min": 5, "max": 95})
BAD = [
    ({"quality": 0}, "quality: expected 1 to 100, found 0"),
    ({"quality": 101}, "quality: expected 1 to 100, found 101"),
    ({"quality": 10.5}, "quality: expected a whole number, found 10.5"),
    ({"quality": {"min": 5, "max": 101}}, "quality: expected 1 to 100, found 101"),
    ({"subsampling": "4:1:1"}, "subsampling: expected one of 4:2:0, 4:2:2, 4:4:4, found '4:1:1'"),
]

# ITU-T T.81, Annex K, table K.1: the luminance quantisation table, row by row.
ANNEX_K = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]


def compress(image: Image, quality: int = 10, subsampling: str = "4:2:0") -> tuple[Degraded, bytes]:
    degraded = JpegCompressed().apply(image, {"quality": quality, "subsampling": subsampling})
    assert degraded.file is not None
    suffix, data = degraded.file
    assert suffix == "jpg"
    return degraded, data


def opened(data: bytes) -> Any:
    return PIL.Image.open(io.BytesIO(data))


def blockiness(image: Image) -> float:
    """Mean step of the luma across the borders of 8×8 blocks, over the mean step inside blocks."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)
    border, inside = [], []
    for plane in (luma, luma.T):
        steps = np.abs(np.diff(plane, axis=1)).mean(axis=0)
        at_border = np.arange(1, plane.shape[1]) % 8 == 0
        border.append(steps[at_border].mean())
        inside.append(steps[~at_border].mean())
    return float(np.sum(border) / np.sum(inside))


def test_quality_10_is_annex_k_times_five() -> None:
    """Pillow lists a table row by row; the file itself holds it in zigzag order."""
    table = opened(compress(photo())[1]).quantization[0]
    assert table[:8] == [80, 55, 50, 80, 120, 200, 255, 255]
    assert table == np.minimum(np.array(ANNEX_K) * 5, 255).ravel().tolist()


def test_the_file_is_what_pillow_writes() -> None:
    file = io.BytesIO()
    PIL.Image.fromarray(photo()).save(file, "JPEG", quality=10)
    assert compress(photo())[1] == file.getvalue()


def test_the_file_is_baseline() -> None:
    """Frame marker SOF0 and no SOF2."""
    data = compress(photo())[1]
    assert b"\xff\xc0" in data and b"\xff\xc2" not in data
    assert not opened(data).info.get("progressive")


def test_opencv_gives_the_same_bytes_and_pixels() -> None:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(photo(), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 10])
    assert data.tobytes() == compress(photo())[1]
    lq: Any = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert np.array_equal(compress(photo())[0].image, cv2.cvtColor(lq, cv2.COLOR_BGR2RGB))


@given(
    st.integers(16, 70), st.integers(16, 70), st.integers(1, 100), st.sampled_from(SUBSAMPLINGS), st.integers(0, 2**32)
)
def test_the_image_is_what_pillow_reads(height: int, width: int, quality: int, subsampling: str, seed: int) -> None:
    for image in (cut(height, width), np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)):
        degraded, data = compress(image, quality, subsampling)
        assert np.array_equal(degraded.image, np.asarray(opened(data)))


@pytest.mark.parametrize(("subsampling", "luma"), [("4:2:0", (2, 2)), ("4:2:2", (2, 1)), ("4:4:4", (1, 1))])
def test_subsampling_is_in_the_file(subsampling: str, luma: tuple[int, int]) -> None:
    """Sampling factors (horizontal, vertical) of the three components."""
    layers = opened(compress(photo(), subsampling=subsampling)[1]).layer
    assert [layer[1:3] for layer in layers] == [luma, (1, 1), (1, 1)]


def test_full_chroma_is_a_little_better() -> None:
    full, halved = (psnr(photo(), compress(photo(), 10, s)[0].image) for s in ("4:4:4", "4:2:0"))
    assert 0.05 < full - halved < 1


def test_quality_10_shows_its_blocks() -> None:
    assert blockiness(photo()) == pytest.approx(1, abs=0.05)
    assert blockiness(compress(photo())[0].image) > 1.5


def test_a_range_of_qualities_is_drawn_whole_with_both_ends() -> None:
    degradation = JpegCompressed(quality={"min": 5, "max": 9})
    drawn = [degradation.draw(Rng(f"{i:x}"), photo())["quality"] for i in range(200)]
    assert set(drawn) == {5, 6, 7, 8, 9}
    assert {type(quality) for quality in drawn} == {int}
