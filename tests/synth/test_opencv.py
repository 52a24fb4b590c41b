"""What OpenCV does on x86-64, by NumPy with the same bits: on this processor the two can be compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from patina.synth import opencv
from patina.synth.compiled import library
from patina.synth.convolution import convolve, reflected
from patina.synth.degradations import CATALOGUE
from patina.synth.image import to_float
from patina.synth.resampling import filtered, gaussian_taps, shortened
from patina.synth.rng import Rng
from patina.synth.severity import at_clip_size
from tests.synth.pictures import cut

on_x86 = pytest.mark.skipif(not opencv.is_x86(), reason="OpenCV rounds otherwise on this kind of processor")

SIZES = [
    ((20, 31), (40, 62)),
    ((1, 1), (9, 4)),
    ((97, 83), (61, 50)),
    ((64, 64), (63, 65)),
    ((9, 300), (33, 151)),
    ((2, 1), (1, 2)),
]


def levels(*shape: int) -> np.ndarray:
    count = int(np.prod(shape))
    return (Rng("1").levels(count) >> 8).astype(np.uint8).reshape(shape)


@on_x86
@pytest.mark.parametrize(("size", "wanted"), SIZES)
def test_levels_are_interpolated_as_opencv_does(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    for image in (levels(*size), levels(*size, 3), np.full(size, 255, np.uint8)):
        theirs = cv2.resize(image, wanted[::-1], interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(opencv.interpolated_by_numpy(image, wanted[::-1]), theirs)
        assert np.array_equal(opencv.interpolated(image, wanted[::-1]), theirs)


def test_interpolating_has_known_answers() -> None:
    """A quarter and three quarters of 0 and 8; and of 255 two digits that are cut off on the way make no difference."""
    for function in (opencv.interpolated, opencv.interpolated_by_numpy):
        assert function(np.array([[0, 8]], np.uint8), (4, 1)).tolist() == [[0, 2, 6, 8]]
        assert function(np.full((3, 5), 255, np.uint8), (10, 6)).tolist() == [[255] * 10] * 6


@on_x86
@pytest.mark.parametrize("shape", [(3, 3), (11, 11), (1, 121), (121, 1), (7, 8)])
def test_filters_add_up_in_opencvs_order(shape: tuple[int, int]) -> None:
    taps = (Rng("2").levels(shape[0] * shape[1]) >> 4).reshape(shape).astype(np.float32)
    taps[::2, ::3] = 0
    for values in (levels(30, 41).astype(np.float32), shortened(to_float(levels(150, 131, 3)) + np.float32(0.1))):
        for border in (cv2.BORDER_REFLECT, cv2.BORDER_DEFAULT):
            theirs = cv2.filter2D(values, -1, taps, borderType=border)
            assert np.array_equal(opencv.correlated_by_numpy(values, taps, border, (-1, -1)), theirs)
            assert np.array_equal(opencv.correlated(values, taps, border), theirs)
        corner = cv2.filter2D(values, -1, taps, anchor=(0, 0))
        assert np.array_equal(opencv.correlated_by_numpy(values, taps, cv2.BORDER_DEFAULT, (0, 0)), corner)


@pytest.fixture
def without_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(library.SWITCH, "0")
    library.functions.cache_clear()
    yield
    library.functions.cache_clear()


@on_x86
@pytest.mark.usefixtures("without_loops")
def test_all_of_it_is_the_same_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that is no x86: neither function is asked there, however many taps there are."""
    plane, kernel = shortened(to_float(levels(90, 70))), (levels(19, 19) + np.uint8(1)).astype(np.int64)
    video, params = CATALOGUE["video-compressed"](), {"qp": 30, "age": 1, "step": [2, 1]}
    photograph = np.tile(cut(120, 160), (2, 2, 1))

    def everything() -> list[bytes]:
        return [
            convolve(reflected(plane, 9), kernel).tobytes(),
            filtered(plane, gaussian_taps(17.0)).tobytes(),
            at_clip_size(photograph).tobytes(),
            video.apply(cut(33, 47), params).image.tobytes(),
        ]

    here = everything()
    monkeypatch.setattr(opencv, "is_x86", lambda: False)
    assert everything() == here


def test_nobody_asks_opencv_for_what_differs() -> None:
    """Levels by INTER_LINEAR and INTER_CUBIC, and filters of 50 taps or more, but for those whose taps are counted."""
    few = {"figures.py", "moire.py"}  # eleven taps, and nine
    fields = {"resampling.py", "raindrop.py"}  # of whole numbers in floats, which no processor rounds
    for path in Path(opencv.__file__).parent.rglob("*.py"):
        text = path.read_text("utf-8")
        if path.name != "opencv.py":
            assert "cv2.filter2D(" not in text or path.name in few, path
            assert "INTER_LINEAR)" not in text or path.name in fields, path
            assert "INTER_CUBIC" not in text, path
