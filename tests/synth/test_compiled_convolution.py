"""Convolutions, and the kernels of a moving camera, by compiled loops and without them: the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from patina.synth.convolution import BORDERS, Taps, convolve, disc, spread
from patina.synth.degradations import motion_blurry
from patina.synth.degradations.motion_blurry import MotionBlurry, _Light, _Movement, _shaken
from patina.synth.image import FloatImage, Image, to_float
from patina.synth.resampling import shortened
from patina.synth.rng import Rng
from tests.synth.pictures import cut
from tests.synth.test_compiled import needs_compiler

PARAMS: dict[str, Any] = {
    "length": 40.0,
    "exposure": 0.8,
    "shake": 1.0,
    "rotation": 1.0,
    "zoom": 3.0,
    "parallax": 0,
    "frames": 0,
    "light": "linear",
    "highlights": 3.0,
    "seed": "2a",
}


def same(one: Any, other: Any) -> bool:
    """Whether two arrays have the same type, shape and bits."""
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@needs_compiler
@pytest.mark.parametrize("size", [(1, 1), (3, 21), (20, 22), (7, 90), (130, 65)])
@pytest.mark.parametrize(
    ("side", "share", "least", "most"),
    [
        (1, 1.0, 1, 9),
        (3, 1.0, 0, 4095),
        (13, 0.3, 0, 65535),
        (25, 0.06, 0, 9000),
        (31, 1.0, 0, 4095),
        (11, 0.8, -99, 99),
    ],
)
def test_convolutions_have_the_same_bits(
    size: tuple[int, int], side: int, share: float, least: int, most: int, both: Callable[..., tuple[Any, Any]]
) -> None:
    """Of one and three channels, of parts of pictures, and of kernels whose sums depend on the order of their taps."""
    chance = np.random.default_rng(side)
    shape = side, side
    kernel = np.where(chance.random(shape) < share, chance.integers(least, most + 1, shape), 0)
    kernel[side // 2, 0] = most
    whole = shortened(chance.random((size[0] + side, size[1] + side + 1, 3), dtype=np.float32))
    whole[: size[0] // 2] *= 2.0**-9
    for framed in (whole[1:, :-2], np.ascontiguousarray(whole[:-1, 2:, 1]), whole[1:, 1:-1, 0]):
        taps = np.nonzero(kernel)

        def into(framed: FloatImage = framed, taps: Any = taps) -> tuple[FloatImage, FloatImage, FloatImage]:
            kept = Taps(side, *taps, kernel[taps])
            out = np.zeros((size[0] + 1, size[1] + 3, *framed.shape[2:]), np.float32)
            kept.convolve(framed, 1 / 65535, out[1:, 2:-1])
            return convolve(framed, kernel), kept.convolve(framed, 1 / 4096), out

        for one, other in zip(*both(into), strict=True):
            assert same(one, other)


@needs_compiler
def test_a_convolution_leaves_what_is_beside_its_place(both: Callable[..., tuple[Any, Any]]) -> None:
    kernel = np.ones((3, 3), np.int64)

    def beside() -> FloatImage:
        out = np.full((9, 80, 3), -1, np.float32)
        Taps(3, *np.nonzero(kernel), kernel.ravel()).convolve(np.ones((5, 72, 3), np.float32), 1, out[2:5, 4:74])
        return out

    for out in both(beside):
        assert (out[2:5, 4:74] == 9).all() and (out == -1).sum() == out.size - 3 * 70 * 3


@needs_compiler
@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("shape", [(16, 16), (3, 90), (70, 5), (20, 33, 3), (41, 130, 3)])
@pytest.mark.parametrize("radius", [0.5, 1.0, 2.3, 6.2])
def test_discs_have_the_same_bits(
    radius: float, shape: tuple[int, ...], border: int, both: Callable[..., tuple[Any, Any]]
) -> None:
    """Of both ends of the scale, beside parts where there is nothing, and wider than the picture."""
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    levels[: shape[0] // 2, : shape[1] // 2] = 0
    levels[:, -2:] = 255
    one, other = both(lambda: spread(levels, disc(radius, 1 << 15), border, 1 / (255 << 15)))
    assert same(one, other) and one.max() > 0.5


@needs_compiler
def test_a_kernel_that_is_no_mirror_image_has_the_same_bits(both: Callable[..., tuple[Any, Any]]) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (20, 80)).astype(np.float32)
    kernel = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    one, other = both(lambda: spread(levels, kernel, BORDERS[0], 1 / 36))
    assert same(one, other)


@needs_compiler
@pytest.mark.parametrize("shake", [0.0, 1.0, 4.0])
def test_shakes_have_the_same_bits(shake: float, both: Callable[..., tuple[Any, Any]]) -> None:
    for seed in "123":
        for one, other in zip(*both(lambda seed=seed: _shaken(Rng(seed), shake)), strict=True):
            assert same(one, other)


@needs_compiler
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"length": 0.0},
        {"length": 300.0},
        {"frames": 5},
        {"shake": 0.0, "rotation": 0.0},
        {"length": 2.0, "zoom": 10},
    ],
)
def test_kernels_have_the_same_bits(changed: dict[str, Any], both: Callable[..., tuple[Any, Any]]) -> None:
    """Of many places of a row: each shows where its taps are in a picture of a point, and in what order in one of many
    lights."""
    middles = np.array([-300.0, -7.5, 0.0, 250.0])
    movement = _Movement.of(PARAMS | changed, 1.0)
    lights = shortened(np.random.default_rng(1).random((900, 900), dtype=np.float32))

    def blurred() -> list[FloatImage]:
        found = []
        for taps in movement.taps(middles, -120.0):
            point = np.zeros((2 * taps.side - 1, 2 * taps.side - 1), np.float32)
            point[taps.side - 1, taps.side - 1] = 1
            found += [taps.convolve(lights[: taps.side + 19, 3 : taps.side + 20], 1 / 65535), taps.convolve(point)]
        return found

    one, other = both(blurred)
    assert len(one) == len(other) == 8 and all(map(same, one, other))
    assert all(part.sum() == 65535 for part in one[1::2])


@needs_compiler
@pytest.mark.parametrize("is_linear", [True, False])
@pytest.mark.parametrize(("size", "reach"), [((40, 33), 0), ((61, 83), 12), ((20, 17), 40)])
def test_frames_of_light_have_the_same_bits(
    size: tuple[int, int], reach: int, is_linear: bool, both: Callable[..., tuple[Any, Any]]
) -> None:
    """Whatever is brighter than white, at every border, and when the frame is larger than the picture."""
    image = lamps(*size)
    for levels in (image, to_float(image)):
        for top, bottom in ((0, size[0]), (5, 13), (size[0] - 3, size[0])):
            one, other = both(
                lambda top=top, bottom=bottom, levels=levels: (
                    _Light(levels, is_linear, 3.0).framed(top, bottom, reach).copy()
                )
            )
            assert same(one, other) and one.shape == (bottom - top + 2 * reach, size[1] + 2 * reach, 3)
            assert one.max() > 1 or top or size[0] < 30, "a lamp"


def test_a_frame_is_mirrored_where_the_picture_ends() -> None:
    light = _Light(lamps(30, 40), True, 3.0)
    plain = light.framed(0, 30, 0).copy()
    for top, bottom, reach in ((0, 30, 7), (11, 12, 30), (3, 30, 1), (0, 4, 75)):
        rows, columns = (
            np.pad(np.arange(size), 80, mode="symmetric")[80 + first - reach : 80 + end + reach]
            for size, first, end in ((30, top, bottom), (40, 0, 40))
        )
        assert same(light.framed(top, bottom, reach), plain[rows[:, None], columns])


@needs_compiler
@pytest.mark.parametrize("bands", [1, 1 << 12, 1 << 20])
@pytest.mark.parametrize("pixels", [1, 3000, 1 << 20])
def test_blurred_strips_are_the_picture(
    pixels: int, bands: int, monkeypatch: pytest.MonkeyPatch, both: Callable[..., tuple[Any, Any]]
) -> None:
    """Whatever rows are made together, and whichever way."""
    image, params = lamps(90, 120), PARAMS | {"parallax": 0.5, **MotionBlurry().depths.draw(Rng("1"), None)}
    whole = MotionBlurry().apply(image, params).image
    monkeypatch.setattr(motion_blurry, "PIXELS", {True: pixels, False: pixels})
    monkeypatch.setattr(motion_blurry, "BAND", bands)
    for part in both(lambda: MotionBlurry().apply(image, params).image):
        assert same(part, whole)


def lamps(height: int, width: int) -> Image:
    """A dark photograph with white and nearly white spots, some at its borders."""
    image = cut(height, width) // 3
    for level, (y, x) in enumerate(((0, 0), (height // 2, width - 1), (height - 2, width // 2), (7, 9))):
        image[y : y + 2, x : x + 3] = 255 - 4 * level
    return image
