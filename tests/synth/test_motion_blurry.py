import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from patina.synth.degradation import Place
from patina.synth.degradations import motion_blurry
from patina.synth.degradations.motion_blurry import MotionBlurry, _around, _Movement, _Tiles
from patina.synth.form import mean_change
from patina.synth.image import FloatImage, Image, to_float, to_linear
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo, psnr

# For test_contract.py: parameters from mild to strong, settings with room to draw from, settings that cannot work.
STRENGTHS = [{"length": float(length)} for length in (0, 4, 8, 16, 32, 64, 128, 300)]
WIDE = MotionBlurry(length={"min": 0, "max": 300}, exposure={"min": 0, "max": 1}, shake={"min": 0, "max": 4})
BAD = [
    ({"length": -1}, "length: expected 0 to 300, found -1"),
    ({"length": {"min": 5, "max": 500}}, "length: expected 0 to 300, found 500"),
    ({"exposure": 1.5}, "exposure: expected 0 to 1, found 1.5"),
    ({"shake": [0, 5]}, "shake: expected 0 to 4, found 5"),
    ({"rotation": 90}, "rotation: expected 0 to 2, found 90"),
    ({"zoom": 11}, "zoom: expected 0 to 10, found 11"),
    ({"parallax": -1}, "parallax: expected 0 to 1, found -1"),
    ({"frames": 2.5}, "frames: expected a whole number, found 2.5"),
    ({"light": "gamma"}, "light: expected one of linear, encoded, found 'gamma'"),
    ({"depth": "/no/such/folder"}, "depth: expected a folder of depth maps, found no folder at /no/such/folder"),
    ({"highlights": 9}, "highlights: expected 0 to 6, found 9"),
    ({"highlights": "none"}, "highlights: expected a number from 0 to 6, found 'none'"),
]

STILL: dict[str, Any] = {
    "length": 0.0,
    "exposure": 1.0,
    "shake": 0.0,
    "rotation": 0.0,
    "zoom": 0.0,
    "parallax": 0.0,
    "frames": 0,
    "light": "linear",
    "highlights": 0.0,
    "seed": "2a",
}

# fmt: off
FROZEN_KERNEL = [
    [0, 0, 0, 0, 0],
    [67, 1208, 3355, 3663, 2],
    [453, 10375, 28112, 9999, 7],
    [4, 1582, 6175, 533, 0],
    [0, 0, 0, 0, 0],
]
# fmt: on
FROZEN_LEVELS = [[72, 169, 175], [68, 182, 173], [21, 26, 180]]


def light_of(image: Image, **params: Any) -> FloatImage:
    """The blurred image in linear light, before it is quantised."""
    return to_linear(MotionBlurry().render(to_float(image), {**STILL, **params}).image)


def kernel_of(height: int = 512, width: int = 512, **params: Any) -> NDArray[np.float64]:
    return MotionBlurry().apply(flat(height, width, 0), {**STILL, **params}).truth["kernel"] / 65535


def points(side: int, step: int) -> Image:
    """Grey points of light on black, one every `step` px, from the middle outwards."""
    image = np.zeros((side, side, 3), np.uint8)
    image[step // 2 :: step, step // 2 :: step] = 200
    return image


@given(st.integers(0, 2**64), st.integers(16, 400), st.integers(16, 400))
def test_a_kernel_is_a_kernel(seed: int, height: int, width: int) -> None:
    """Σ = 1, nothing below 0, centroid in the middle: otherwise the pair is shifted."""
    image = flat(height, width, 90)
    degraded = WIDE.apply(image, WIDE.draw(Rng(f"{seed:x}"), image))
    kernel = degraded.truth["kernel"]
    assert kernel.dtype == np.uint16 and kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
    assert int(kernel.sum(dtype=np.int64)) == 65535
    at = np.arange(len(kernel)) - len(kernel) // 2
    assert abs(kernel.sum(axis=0) @ at) / 65535 < 0.05
    assert abs(kernel.sum(axis=1) @ at) / 65535 < 0.05
    assert np.array_equal(degraded.image, image)  # nothing to blur


@pytest.mark.parametrize(("length", "shake", "taps"), [(12.0, 0.5, (5, 100)), (120.0, 0.0, (150, 400))])
def test_a_point_of_light_draws_the_kernel(length: float, shake: float, taps: tuple[int, int]) -> None:
    """With few taps, which are added up, and with many, which go through a transform."""
    kernel = kernel_of(301, 301, length=length, shake=shake)
    assert taps[0] < np.count_nonzero(kernel) < taps[1]
    image = np.zeros((301, 301, 3), np.uint8)
    image[150, 150] = 255
    half = len(kernel) // 2
    drawn = light_of(image, length=length, shake=shake)[150 - half : 151 + half, 150 - half : 151 + half]
    assert np.abs(drawn - kernel[..., None]).max() < 2e-5


@pytest.mark.parametrize("rotation", [0.0, 1.0])
def test_brightness_is_kept(rotation: float) -> None:
    """Within 0.1 % in linear light."""
    before = to_linear(to_float(photo())).mean(dtype=np.float64)
    for seed in "123":
        after = light_of(photo(), length=40.0, shake=0.5, rotation=rotation, seed=seed).mean(dtype=np.float64)
        assert after == pytest.approx(before, rel=0.001)


@pytest.mark.parametrize("seed", ["1", "2", "3", "4"])
def test_the_mean_of_levels_stays_in_gopros_way(seed: str) -> None:
    """Within 0.4 levels, as between GoPro's pairs; in linear light a picture with contrast gets brighter."""
    gopro, usual = MotionBlurry(light="encoded", frames={"min": 7, "max": 13}), MotionBlurry(length=60, exposure=1)
    lq = gopro.apply(photo(), gopro.draw(Rng(seed), photo())).image
    assert abs(mean_change(photo(), lq)) < 0.4
    assert mean_change(photo(), usual.apply(photo(), usual.draw(Rng(seed), photo())).image) > 1


def test_gopros_way_is_the_mean_of_frames() -> None:
    """Each frame is the sharp picture, moved: with whole pixels' ways the mean is that of shifted pictures."""
    params = {**STILL, "light": "encoded", "frames": 5, "length": 40.0, "shake": 0.0}
    kernel = MotionBlurry().apply(photo(), params).truth["kernel"] / 65535
    assert 5 <= np.count_nonzero(kernel) <= 20  # each of the five is spread over four pixels at most
    half = len(kernel) // 2
    framed = np.pad(photo().astype(np.float64), ((half, half), (half, half), (0, 0)), mode="symmetric")
    mean = sum(
        kernel[y, x] * framed[2 * half - y : 2 * half - y + 512, 2 * half - x : 2 * half - x + 512]
        for y, x in np.argwhere(kernel)
    )
    assert np.abs(MotionBlurry().apply(photo(), params).image - mean).max() <= 0.6


@pytest.mark.parametrize("zoom", [1.0, 3.0])
def test_a_zoom_moves_points_outwards_as_far_as_they_are_from_the_middle(zoom: float) -> None:
    side, step = 600, 40
    light = light_of(points(side, step), zoom=zoom)[..., 0]
    assert kernel_of(side, side, zoom=zoom).shape == (1, 1)
    half = step // 2
    y, x = np.mgrid[-half:half, -half:half]
    for top, left in ((0, 0), (0, 280), (560, 560), (280, 0)):
        spot = light[top : top + step, left : left + step].astype(np.float64)
        spot /= spot.sum()
        px, py = left + half - side / 2, top + half - side / 2
        radius = math.hypot(px, py)
        outwards = (x * px + y * py) / radius
        outwards -= (spot * outwards).sum()
        assert 0.75 < math.sqrt(12 * (spot * outwards**2).sum()) / (radius * zoom / 100) < 1.6


def test_near_things_move_more(tmp_path: Path) -> None:
    depth = np.full((200, 300), 2.0, np.float32)
    depth[:100] = 200.0
    np.save(tmp_path / "photo.npy", depth)
    blur = MotionBlurry(length=40, shake=0, rotation=0, zoom=0, parallax=1, depth=str(tmp_path), highlights=0)
    gt = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    params = blur.draw(Rng("2a"), gt, Place("photo.jpg", 0, 0, 300, 200, 300, 200))
    lq = blur.apply(gt, params).image
    assert psnr(gt[:80], lq[:80]) > 35  # far away nothing moves, but for a hundredth
    assert np.array_equal(lq[140:], MotionBlurry().apply(gt, {**params, "parallax": 0.0}).image[140:])
    assert "depth" not in MotionBlurry().draw(Rng("2a"), gt)


def test_highlights_streak() -> None:
    """A glint's streak is brighter than a convolution of levels makes it, and brighter still if it was above white."""
    image = np.full((128, 128, 3), 20, np.uint8)
    image[62:66, 62:66] = 255
    kernel = kernel_of(128, 128, length=80.0).astype(np.float32)
    in_levels = cv2.filter2D(to_float(image), -1, np.ascontiguousarray(kernel[::-1, ::-1]))
    blurred = [MotionBlurry().apply(image, {**STILL, "length": 80.0, "highlights": h}).image for h in (0.0, 2.0, 4.0)]
    levels, linear, bright, brighter = (float(i.mean()) - 20 for i in (in_levels * 255, *blurred))
    assert linear > 2 * levels and bright > 1.5 * linear and brighter > 1.3 * bright
    assert (blurred[2] == 255).all(axis=-1).sum() > 40  # burnt out along the streak


def test_without_white_highlights_change_nothing() -> None:
    image = np.minimum(photo(), 230)
    assert np.array_equal(light_of(image, length=20.0, highlights=6.0), light_of(image, length=20.0))


def test_a_white_wall_is_no_lamp() -> None:
    image = np.full((256, 256, 3), 60, np.uint8)
    image[:, 128:] = 255
    params = {**STILL, "length": 0.0, "highlights": 6.0}
    assert np.array_equal(MotionBlurry().apply(image, params).image, image)


@pytest.mark.parametrize("exposure", [0.25, 1.0])
def test_without_shake_the_path_is_a_straight_line_of_its_length(exposure: float) -> None:
    kernel = kernel_of(length=60.0, exposure=exposure)
    half = len(kernel) // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    moments = np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])
    across, along = np.linalg.eigvalsh(moments)
    assert math.sqrt(12 * along) == pytest.approx(60 * exposure, rel=0.02, abs=0.3)  # a uniform line's variance
    assert across < 0.5


def test_length_is_for_512_pixels() -> None:
    small, large = (len(kernel_of(side, side + 100, length=40.0)) // 2 for side in (256, 1024))
    assert large == pytest.approx(4 * small, abs=4)


def test_a_roll_turns_the_corners_and_leaves_the_middle() -> None:
    """A point r px from the centre moves r times the angle, at right angles to the radius, and stays in its place."""
    side, step = 600, 40
    light = light_of(points(side, step), rotation=1.0)[..., 0]
    assert kernel_of(side, side, rotation=1.0).shape == (1, 1)
    half = step // 2
    y, x = np.mgrid[-half:half, -half:half]
    for top in range(0, side, step):
        for left in range(0, side, step):
            spot = light[top : top + step, left : left + step].astype(np.float64)
            spot /= spot.sum()
            assert math.hypot((spot * x).sum(), (spot * y).sum()) < 0.5
            px, py = left + half - side / 2, top + half - side / 2
            radius = math.hypot(px, py)
            if radius > 250:
                outwards, around = (x * px + y * py) / radius, (x * py - y * px) / radius
                moved = math.sqrt(12 * (spot * around**2).sum())
                assert 0.8 < moved / (radius * math.radians(1)) < 1.5
                assert math.sqrt((spot * outwards**2).sum()) < 0.9


def test_from_tile_to_tile_a_points_way_changes_by_a_pixel_at_most() -> None:
    """Where two tiles meet, the two kernels draw a point of light within a pixel of each other: no seam is seen."""
    params = MotionBlurry().draw(Rng("5"), photo()) | {"rotation": 0.7, "zoom": 1.2}
    movement = _Movement.of(params, 1.0)
    tiles = _Tiles(512, 512, movement)
    assert len(tiles.columns) > 6
    for one, other in pairwise(tiles.columns[:-1]):
        assert (other - one) * movement.turn <= 1.2
    assert tiles.columns[0] == 0 and tiles.columns[-1] == 512


def test_a_picture_in_tiles_is_nearly_that_of_a_kernel_for_each_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside tiles so small that a point's way changes by an eighth of a pixel."""
    image = photo()[:192]
    degradation = MotionBlurry()
    params = degradation.draw(Rng("3"), image) | {"rotation": 0.7}
    found = degradation.apply(image, params).image
    monkeypatch.setattr(motion_blurry, "APART", 0.125)
    away = np.abs(degradation.apply(image, params).image.astype(int) - found)
    assert 0 < away.mean() < 0.6
    assert (away <= 3).mean() > 0.97


def test_detail_is_lost_nearly_everywhere() -> None:
    """Gradient energy falls in 95 % of the tiles that have any: the test that finds swapped folders."""

    def energy(image: Image) -> NDArray[np.float32]:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        steps = cv2.Sobel(grey, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(grey, cv2.CV_32F, 0, 1) ** 2
        return steps.reshape(16, 32, 16, 32).sum(axis=(1, 3))

    degradation = MotionBlurry()
    for seed in "12345":
        lq = degradation.apply(photo(), degradation.draw(Rng(seed), photo())).image
        detailed = energy(photo()) > 1e5  # the sky of this photograph is black
        assert detailed.mean() > 0.9
        assert (energy(lq) < energy(photo()))[detailed].mean() >= 0.95


def test_a_still_camera_takes_the_photograph() -> None:
    assert np.array_equal(MotionBlurry().apply(photo(), STILL).image, photo())


def test_more_exposure_blurs_more() -> None:
    figures = [
        psnr(photo(), MotionBlurry().apply(photo(), {**STILL, "length": 50.0, "exposure": e}).image)
        for e in (0.1, 0.3, 0.6, 1.0)
    ]
    assert figures == sorted(figures, reverse=True)


def test_pixels_are_frozen() -> None:
    """If this fails, raise `MotionBlurry.version`: stored samples can no longer be replayed."""
    params = {"length": 30.0, "exposure": 0.8, "shake": 0.7, "rotation": 0.5, "highlights": 3.0}
    params = STILL | params
    degraded = MotionBlurry().apply(cut(128, 160), params)
    kernel, levels = degraded.truth["kernel"], degraded.image[10::40, 10::50, 1]
    # One level more or less, because another processor's floats may end in another digit.
    assert np.abs(kernel.astype(int) - FROZEN_KERNEL).max() <= 1
    assert np.abs(levels.astype(int) - FROZEN_LEVELS).max() <= 1


@pytest.mark.parametrize(("height", "width"), [(256, 256), (259, 430), (427, 640), (131, 517)])
def test_what_lies_around_a_pixel_is_known_to_the_last_row(height: int, width: int) -> None:
    levels = np.rint(np.add.outer(np.linspace(0, 100, height), np.linspace(0, 127, width))).astype(np.uint8)
    side = min(height, width) // 16 * 2 + 1
    found = _around(np.ascontiguousarray(np.repeat(levels[..., None], 3, 2)), False)(0, height)
    assert found.shape == levels.shape
    exact = cv2.blur(to_float(levels), (side, side), borderType=cv2.BORDER_REFLECT)
    assert np.abs(found - exact).max() < 0.02
