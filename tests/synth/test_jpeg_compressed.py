import io
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.synth.degradation import Degraded
from patina.synth.degradations.jpeg_compressed import SUBSAMPLINGS, JpegCompressed
from patina.synth.image import Image
from patina.synth.rng import Rng
from tests.synth.pictures import cut, photo, psnr

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"quality": quality} for quality in (95, 75, 50, 30, 20, 10, 5, 1)]
WIDE = JpegCompressed(quality={"min": 5, "max": 95}, double=0.5)
BAD = [
    ({"quality": 0}, "quality: expected 1 to 100, found 0"),
    ({"quality": 101}, "quality: expected 1 to 100, found 101"),
    ({"quality": 10.5}, "quality: expected a whole number, found 10.5"),
    ({"quality": {"min": 5, "max": 101}}, "quality: expected 1 to 100, found 101"),
    ({"subsampling": "4:1:1"}, "subsampling: expected one of 4:2:0, 4:2:2, 4:4:4, found '4:1:1'"),
    ({"double": 1.5}, "double: expected 0 to 1, found 1.5"),
    ({"double": [50, 101]}, "double: expected 1 to 100, found 101"),
    ({"double": {"min": 50.5, "max": 60}}, "double: expected a whole number, found 50.5"),
    ({"codec": "avif"}, "codec: expected one of jpeg, webp, found 'avif'"),
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


class TestDouble:
    def test_by_default_there_is_none_and_nothing_else_is_drawn(self) -> None:
        params = JpegCompressed(quality={"min": 5, "max": 95}).draw(Rng("2a"), photo())
        assert params["first_quality"] == 0 and params["codec"] == "jpeg"
        assert params["quality"] == Rng("2a").integer(5, 95)

    def test_it_is_two_compressions_with_a_crop_between(self) -> None:
        mirrored = np.pad(photo(), ((3, 0), (5, 0), (0, 0)), mode="reflect")
        between = compress(mirrored, 40)[0].image[3:, 5:]
        params = {"quality": 70, "subsampling": "4:2:0", "first_quality": 40, "shift": [5, 3]}
        assert np.array_equal(JpegCompressed().apply(photo(), params).image, compress(between, 70)[0].image)

    def test_both_grids_are_seen(self) -> None:
        """Steps of luma by column modulo 8: after 5 more columns were cut off, the first grid's borders are at 3."""
        params = {"quality": 30, "subsampling": "4:2:0", "first_quality": 10, "shift": [5, 5]}
        luma = cv2.cvtColor(JpegCompressed().apply(photo(), params).image, cv2.COLOR_RGB2GRAY).astype(np.float64)
        steps = np.abs(np.diff(luma, axis=1)).mean(axis=0)
        by_column = [steps[np.arange(1, 512) % 8 == column].mean() for column in range(8)]
        assert np.argsort(by_column)[-2:].tolist() in ([0, 3], [3, 0])

    def test_how_often_and_at_what_quality(self) -> None:
        def drawn(double: Any) -> list[dict[str, Any]]:
            return [JpegCompressed(double=double).draw(Rng(f"{i:x}"), photo()) for i in range(400)]

        some = [params for params in drawn(0.25) if params["first_quality"]]
        assert 60 < len(some) < 140
        assert all(30 <= params["first_quality"] <= 90 for params in some)
        assert {shift for params in some for shift in params["shift"]} == set(range(1, 8))
        assert {params["first_quality"] for params in drawn([20, 60])} == {20, 60}
        assert {params["first_quality"] for params in drawn({"min": 20, "max": 23})} == {20, 21, 22, 23}
        assert all(params["first_quality"] for params in drawn(1))


class TestWebp:
    def test_it_is_what_pillow_reads(self) -> None:
        file = io.BytesIO()
        PIL.Image.fromarray(photo()).save(file, "WEBP", quality=30)
        degraded = JpegCompressed(codec="webp", quality=30).apply(photo(), {"quality": 30, "codec": "webp"})
        assert degraded.file is None
        assert np.array_equal(degraded.image, np.asarray(PIL.Image.open(file)))

    @pytest.mark.parametrize("shape", [(16, 16), (17, 501), (501, 17)])
    def test_any_size(self, shape: tuple[int, int]) -> None:
        degradation = JpegCompressed(codec="webp", double=1)
        image = cut(*shape)
        degraded = degradation.apply(image, degradation.draw(Rng("1"), image))
        assert degraded.image.shape == image.shape and degraded.image.flags.writeable

    def test_quality_counts(self) -> None:
        figures = [
            psnr(photo(), JpegCompressed().apply(photo(), {"quality": quality, "codec": "webp"}).image)
            for quality in (1, 10, 40, 90)
        ]
        assert figures == sorted(figures) and figures[-1] > figures[0] + 8

    def test_too_long_a_side_is_told(self) -> None:
        with pytest.raises(ValueError, match="expected sides of 16383 px or less for WebP, found 16384×16"):
            JpegCompressed().apply(np.zeros((16, 16384, 3), np.uint8), {"quality": 10, "codec": "webp"})
