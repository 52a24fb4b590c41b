"""Pictures in strips are the pictures: the same bits whichever rows are made together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from benchmarks.processors import VARIANTS
from patina.synth.degradation import Params, Place, Stage
from patina.synth.degradations import CATALOGUE
from patina.synth.image import FloatImage, Image, to_float, to_linear, to_uint8
from patina.synth.resampling import (
    Rows,
    around,
    cuts,
    enlarged,
    enlarged_rows,
    smoothed,
    smoothed_rows,
    stretched,
    stretched_rows,
    usual_rows,
)
from patina.synth.rng import Rng
from patina.synth.strips import InStrips, Strip, Strips, watched
from tests.synth.pictures import cut

RANDOM = np.random.default_rng(3)


@dataclass(frozen=True)
class Dimmed(InStrips):
    """Half the light at the top, all of it at the bottom."""

    name: ClassVar[str] = "dimmed"
    version: ClassVar[int] = 1
    reads_levels: ClassVar[bool] = True
    stage: ClassVar[Stage] = "scene"
    truth: ClassVar[tuple[str, ...]] = ("share",)

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        return {"count": 0}

    def strips(self, image: FloatImage | Image, params: Params) -> Strips:
        share = stretched_rows(np.array([[0.5], [1.0]], np.float32), *image.shape[:2])

        def rows(top: int, bottom: int) -> Strip:
            part = share(top, bottom)
            light = to_linear(image[top:bottom])
            light *= cv2.merge([part, part, part])
            return Strip(light, {"share": np.rint(part * np.float32(65535)).astype(np.uint16)})

        return Strips(rows, is_linear=True, count=params["count"])


@pytest.mark.parametrize("count", [1, 7, 64, 1000])
def test_the_rows_of_a_strip_do_not_matter(count: int) -> None:
    image = cut(133, 90)
    whole, parts = (Dimmed().apply(image, {"count": n}) for n in (133, count))
    assert np.array_equal(whole.image, parts.image)
    assert np.array_equal(whole.truth["share"], parts.truth["share"])
    assert whole.truth["share"].dtype == np.uint16
    assert whole.truth["share"][[0, -1], 0].tolist() == [32768, 65535]


def test_floats_are_rounded_to_the_levels_that_strips_give() -> None:
    image = cut(90, 70)
    rendering = Dimmed().render(image, {"count": 0})
    assert rendering.is_linear
    assert np.array_equal(rendering.levels, Dimmed().apply(image, {"count": 0}).image)
    assert np.array_equal(Dimmed().render(to_float(image), {"count": 5}).pixels, rendering.pixels)


def picture(strip: Strip) -> FloatImage:
    """The pixels, which may be three planes."""
    return strip.pixels if isinstance(strip.pixels, np.ndarray) else np.stack(strip.pixels, axis=-1)


LOSSES = {"impulse-noisy": [{"stripes": 8, "dead": 5000}], "raindrop": [{"film": 0}]}
"""Settings by which most pixels are kept, and some lie between two levels."""

IN_STRIPS = [name for name, kind in CATALOGUE.items() if isinstance(kind(), InStrips)]


@pytest.mark.parametrize("name", IN_STRIPS)
def test_no_degradation_has_seams(name: str) -> None:
    """The law: any rows that are asked for together are those of the whole, in all of its ways; no strip shows."""
    image = cut(71, 90)
    for settings in VARIANTS.get(name, [{}]):
        degradation = CATALOGUE[name](**settings)
        assert isinstance(degradation, InStrips)
        params = degradation.draw(Rng("1f"), image)
        strips = degradation.strips(image if degradation.reads_levels else to_float(image), params)
        whole = strips.rows(0, 71)
        for count in (1, 10, 64):
            parts = [strips.rows(top, end) for top, end in cuts(71, count)]
            assert np.array_equal(np.concatenate([picture(part) for part in parts]), picture(whole))
            for map_name, values in whole.truth.items():
                assert np.array_equal(np.concatenate([part.truth[map_name] for part in parts]), values)


@pytest.mark.parametrize("name", IN_STRIPS)
def test_a_rendering_of_levels_is_that_of_their_floats(name: str) -> None:
    """The law: composites hand renderings on, and nothing is rounded between their parts."""
    image = cut(71, 90)
    between = 0
    for settings in [*VARIANTS.get(name, [{}]), *LOSSES.get(name, [])]:
        degradation = CATALOGUE[name](**settings)
        assert isinstance(degradation, InStrips) and degradation.reads_levels
        params = degradation.draw(Rng("1f"), image)
        mine, floats = degradation.render(image, params), degradation.render(to_float(image), params)
        assert np.array_equal(mine.pixels, floats.pixels)
        assert {name: values.tobytes() for name, values in mine.truth.items()} == {
            name: values.tobytes() for name, values in floats.truth.items()
        }
        between += np.count_nonzero(to_float(to_uint8(floats.image)) != floats.image)
    assert between or name == "noisy", "values between two levels; a noisy file has levels"


@pytest.mark.parametrize("name", IN_STRIPS)
def test_progress_is_told_within_a_photograph(name: str) -> None:
    image, degradation, told = cut(1500, 60), CATALOGUE[name](), list[float]()
    with watched(told.append):
        degradation.apply(image, degradation.draw(Rng("1f"), image))
    assert told == sorted(told) and told[-1] == 1 and len(told) > 2


def test_strips_follow_each_other_to_the_end() -> None:
    assert list(cuts(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(cuts(5, 64)) == [(0, 5)]
    assert [usual_rows(width) for width in (16, 768, 6000, 10**6)] == [128, 128, 33, 16]


def test_progress_is_told_after_each_strip_and_what_a_watcher_raises_ends_the_work() -> None:
    told: list[float] = []
    with watched(told.append):
        Dimmed().apply(cut(100, 20), {"count": 50})
    Dimmed().apply(cut(100, 20), {"count": 50})
    assert told == [0.5, 1.0]

    class CancelError(Exception):
        pass

    def cancel(done: float) -> None:
        told.append(done)
        raise CancelError

    with watched(cancel), pytest.raises(CancelError):
        Dimmed().apply(cut(100, 20), {"count": 10})
    assert told[2:] == [0.1]


def equal(rows: Rows, whole: np.ndarray) -> bool:
    parts = [slice(0, 1), slice(1, 2), slice(3, 40), slice(len(whole) - 3, len(whole)), slice(0, len(whole))]
    return all(np.array_equal(rows(p.start, p.stop), whole[p]) for p in parts)


@pytest.mark.parametrize("size", [(45, 60), (90, 133), (91, 267), (200, 121), (62, 63), (301, 500)])
@pytest.mark.parametrize("scale", [1.0, -2.5, 1000.0])
def test_rows_of_a_stretched_field_are_its_rows(size: tuple[int, int], scale: float) -> None:
    field = (RANDOM.random((31, 41), np.float32) * np.float32(scale)).astype(np.float32)
    assert equal(stretched_rows(field, *size), stretched(field, *size))


@pytest.mark.parametrize("size", [(45, 60), (90, 133), (200, 121), (301, 500), (31, 41)])
def test_rows_that_opencv_enlarges_are_nearly_the_stretched_ones(size: tuple[int, int]) -> None:
    """In larger steps, of which it has as many bits as the weights leave; seamless all the same."""
    field = RANDOM.random((31, 41), np.float32)
    field = smoothed(field, 3.0)
    rows = stretched_rows(field, *size, 8)
    whole = rows(0, size[0])
    assert equal(rows, whole)
    assert np.abs(whole - stretched(field, *size)).max() < 0.02 * np.ptp(field)


def test_rows_of_a_stretched_field_whose_peak_no_pixel_shows() -> None:
    """Its largest value is above a power of two, and all that lies between the values below: the step is the rows'."""
    field = np.full((3, 3), 0.5, np.float32)
    field[1, 1] = 1.02
    assert equal(stretched_rows(field, 100, 104), stretched(field, 100, 104))
    field[:] = 0
    assert equal(stretched_rows(field, 100, 104), stretched(field, 100, 104))
    field[:] = 1
    assert equal(stretched_rows(field, 100, 104), stretched(field, 100, 104))


@pytest.mark.parametrize("step", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_rows_of_an_enlarged_field_are_its_rows(step: int, channels: tuple[int, ...]) -> None:
    field = RANDOM.random((30, 20, *channels), np.float32)
    height, width = 30 * step - step // 2, 20 * step - step // 2
    assert equal(enlarged_rows(field, step, height, width), enlarged(field, step)[:height, :width])
    assert equal(enlarged_rows(0 * field, step, height, width), np.zeros((height, width, *channels), np.float32))


@pytest.mark.parametrize("sigma", [0.6, 2.0, 7.0, 40.0])
def test_rows_of_a_smoothed_field_are_its_rows(sigma: float) -> None:
    field = RANDOM.random((50, 30), np.float32)
    assert equal(smoothed_rows(field.copy(), sigma), smoothed(field, sigma))


@pytest.mark.parametrize("reach", [0, 1, 9, 40])
def test_rows_around_are_mirrored_as_opencv_does(reach: int) -> None:
    image = cut(23, 17)
    framed = np.asarray(cv2.copyMakeBorder(image, reach, reach, 0, 0, cv2.BORDER_REFLECT))
    for top, bottom in ((0, 5), (5, 9), (20, 23), (0, 23)):
        assert np.array_equal(around(image, top, bottom, reach), framed[top : bottom + 2 * reach])


def test_encoded_floats_are_rounded_where_nothing_says_that_they_are_linear() -> None:
    image = cut(20, 20)

    class Same(Dimmed):
        def strips(self, image: FloatImage | Image, params: Params) -> Strips:
            return Strips(lambda top, bottom: Strip(to_float(image[top:bottom])))  # type: ignore[arg-type]

    assert np.array_equal(Same().apply(image, {}).image, image)
    assert np.array_equal(to_uint8(Same().render(image, {}).pixels), image)
