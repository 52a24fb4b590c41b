from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from patina.synth.degradations.downsampled import SMALL, Downsampled
from patina.synth.image import Image
from patina.synth.resizing import METHODS, resized
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo, psnr

_FULL = {"method": "bicubic", "antialias": True, "back": "bicubic"}
STRENGTHS = [
    {**_FULL, "scale": s, "height": round(512 * s), "width": round(512 * s)} for s in (0.9, 0.6, 0.4, 0.2, 0.1)
]
WIDE = Downsampled(scale={"min": 0.03, "max": 1.5}, method=METHODS, antialias=0.5, back=METHODS)
TOLD = {"scale": (SMALL, r"about ([\d.]+)% of its width", 0.01)}
BAD = [
    ({"scale": 0.01}, "scale: expected 0.02 to 2, found 0.01"),
    ({"scale": {"min": 0.5, "max": 3}}, "scale: expected 0.02 to 2, found 3"),
    ({"method": "cubic"}, "method: expected one of nearest, area, bilinear, bicubic, lanczos, found 'cubic'"),
    ({"back": []}, "back: expected one of nearest, area, bilinear, bicubic, lanczos, or a list of some, found []"),
    ({"antialias": 1.5}, "antialias: expected 0 to 1, found 1.5"),
]

FILTERS = {
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
    "lanczos": PIL.Image.Resampling.LANCZOS,
}


def down(image: Image, scale: float, method: str, back: str, antialias: bool = True) -> Image:
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    params = {"scale": scale, "method": method, "antialias": antialias, "back": back, "height": height, "width": width}
    return Downsampled().apply(image, params).image


class TestResizing:
    @pytest.mark.parametrize("method", FILTERS)
    @pytest.mark.parametrize("size", [(100, 100), (37, 160), (256, 201), (90, 61)])
    def test_antialiased_it_is_pillows(self, method: str, size: tuple[int, int]) -> None:
        """Pillow in floats, a channel at a time: its 8-bit way rounds between rows and columns."""
        image = cut(128, 160)
        found = resized(image, size, method)
        for channel in range(3):
            plane = PIL.Image.fromarray(image[..., channel].astype(np.float32))
            assert np.abs(np.asarray(plane.resize(size[::-1], FILTERS[method])) - found[..., channel]).max() < 0.01

    @pytest.mark.parametrize(
        ("method", "theirs"), [("bilinear", cv2.INTER_LINEAR), ("bicubic", cv2.INTER_CUBIC), ("area", cv2.INTER_AREA)]
    )
    @pytest.mark.parametrize("size", [(50, 64), (100, 131), (33, 70)])
    def test_without_it_is_opencvs(self, method: str, theirs: int, size: tuple[int, int]) -> None:
        """Away from the border, where OpenCV repeats pixels that do not count here."""
        image = cut(128, 160)
        found = resized(image, size, method, antialias=False)
        other: Any = cv2.resize(image.astype(np.float32), size[::-1], interpolation=theirs)
        assert np.abs(other - found)[3:-3, 3:-3].max() < 0.1

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("size", [(1, 1), (16, 300), (31, 2), (120, 90)])
    def test_an_even_picture_stays_even(self, method: str, size: tuple[int, int]) -> None:
        for antialias in (True, False):
            assert np.abs(resized(flat(30, 44, 200), size, method, antialias) - 200).max() < 1e-3

    @pytest.mark.parametrize("method", METHODS)
    def test_the_middle_stays_in_the_middle(self, method: str) -> None:
        """A mirrored picture gives the mirrored result: no method moves the picture."""
        image = cut(60, 84)
        turned = np.ascontiguousarray(image[::-1, ::-1])
        one, other = resized(image, (25, 40), method), resized(turned, (25, 40), method)
        differ = np.abs(one - other[::-1, ::-1])
        assert np.median(differ) < 1e-3 and (method == "nearest" or differ.max() < 1e-2)

    def test_the_mean_of_an_area_is_exact(self) -> None:
        image = cut(60, 84)
        means = image.reshape(20, 3, 28, 3, 3).mean(axis=(1, 3))
        assert np.abs(resized(image, (20, 28), "area") - means).max() < 1e-3

    def test_bands_do_not_show(self) -> None:
        """A picture of many bands and the same picture turned over, whose bands are others."""
        image = np.ascontiguousarray(np.tile(photo(), (2, 3, 1)))
        one = resized(image, (700, 900), "lanczos")
        other = resized(np.ascontiguousarray(image[::-1]), (700, 900), "lanczos")[::-1]
        assert np.abs(one - other).max() < 1e-2

    def test_an_unknown_method_is_refused(self) -> None:
        with pytest.raises(ValueError, match="expected a method of nearest, area, bilinear, bicubic, lanczos"):
            resized(photo(), (9, 9), "hamming")


def test_the_way_there_and_back_is_pillows() -> None:
    small = PIL.Image.fromarray(photo()).resize((128, 128), PIL.Image.Resampling.BILINEAR)
    theirs = np.asarray(small.resize((512, 512), PIL.Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(down(photo(), 0.25, "bilinear", "bilinear") - theirs).max() <= 2


def test_frequencies_above_the_small_pictures_are_lost_and_without_antialiasing_come_back_as_others() -> None:
    """Stripes of 3 px at a quarter of the size: an antialiased one is grey, the other has stripes that never were."""
    columns = np.arange(240)
    stripes = np.ascontiguousarray(np.broadcast_to((columns % 3 == 0)[None, :, None] * np.uint8(255), (48, 240, 3)))
    smooth, aliased = (down(stripes, 0.25, "bilinear", "bicubic", antialias) for antialias in (True, False))
    assert smooth[:, 20:-20].std() < 4
    assert aliased[:, 20:-20].std() > 40


def test_nearest_back_gives_blocks() -> None:
    lq = down(photo(), 0.125, "area", "nearest")
    assert np.array_equal(lq, np.repeat(np.repeat(lq[::8, ::8], 8, axis=0), 8, axis=1))


def test_at_its_own_size_nothing_happens() -> None:
    for method in METHODS:
        assert np.array_equal(down(photo(), 1, method, method), photo())


def test_enlarged_first_it_is_nearly_as_it_was() -> None:
    assert psnr(photo(), down(photo(), 1.5, "bicubic", "bicubic")) > 38


def test_what_is_drawn() -> None:
    degradation = Downsampled(scale={"min": 0.1, "max": 0.4}, antialias=True, back="bicubic")
    drawn = [degradation.draw(Rng(f"{i:x}"), cut(60, 90)) for i in range(300)]
    assert {params["antialias"] for params in drawn} == {True} and {params["back"] for params in drawn} == {"bicubic"}
    assert {params["method"] for params in drawn} == {"area", "bilinear", "bicubic", "lanczos"}
    assert all(0.1 <= params["scale"] < 0.4 for params in drawn)
    assert 0.4 < np.mean([params["scale"] < 0.2 for params in drawn]) < 0.6, "each ratio is as likely"
    assert all(params["height"] == round(60 * params["scale"]) for params in drawn)
    often = [Downsampled(antialias=0.3).draw(Rng(f"{i:x}"), photo())["antialias"] for i in range(300)]
    assert 0.2 < np.mean(often) < 0.4
