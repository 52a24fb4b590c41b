"""Composites: the parts in physical order, in floats for as long as possible, quantised once."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import PIL.Image
import pytest

from patina.synth.compose import Composite
from patina.synth.degradation import Params, Place, Rendered, Rendering, SettingError, Stage
from patina.synth.degradations.jpeg_compressed import JpegCompressed
from patina.synth.degradations.noisy import Noisy
from patina.synth.degradations.uncompleted import Uncompleted
from patina.synth.image import FloatImage, Image, to_float, to_uint8
from patina.synth.rng import Rng
from tests.synth.pictures import photo


@dataclass(frozen=True)
class Dim(Rendered):
    """A double: every value times a factor, with a truth map."""

    name: ClassVar[str] = "dim"
    version: ClassVar[int] = 1
    stage: ClassVar[Stage] = "scene"
    truth: ClassVar[tuple[str, ...]] = ("shade",)

    factor: float = 0.3

    def draw(self, rng: Rng, image: Image, place: Place | None = None) -> dict[str, Any]:
        return {"factor": self.factor, "number": rng.uniform()}

    def render(self, image: FloatImage, params: Params) -> Rendering:
        shade = np.full(image.shape[:2], min(255, round(255 * params["factor"])), np.uint8)
        return Rendering(image * np.float32(params["factor"]), {"shade": shade})


@dataclass(frozen=True)
class Lift(Dim):
    """The inverse, later on the way."""

    name: ClassVar[str] = "lift"
    stage: ClassVar[Stage] = "optics"
    factor: float = 1 / 0.3


def composite(**parts: Any) -> Composite:
    return Composite({name.replace("_", "-"): part for name, part in parts.items()})


def test_parts_follow_light_whatever_the_order_they_are_written_in() -> None:
    parts = {"uncompleted": Uncompleted(), "jpeg-compressed": JpegCompressed(), "lift": Lift(), "dim": Dim()}
    for order in (list(parts), list(reversed(parts))):
        made = Composite({name: parts[name] for name in order})
        assert made.name == "dim+lift+jpeg-compressed+uncompleted"
        assert made.truth == ("dim-shade", "lift-shade", "uncompleted-mask")


def test_it_is_quantised_once() -> None:
    """Darkening and lifting give the picture back; through 8-bit levels in between they would not."""
    both, image = composite(dim=Dim(), lift=Lift()), photo()
    assert np.array_equal(both.apply(image, both.draw(Rng("1"), image)).image, image)
    stepwise = to_uint8(to_float(to_uint8(to_float(image) * np.float32(0.3))) * np.float32(1 / 0.3))
    assert not np.array_equal(stepwise, image)


def test_it_equals_its_parts_applied_one_after_another_where_all_are_of_levels() -> None:
    both, image = composite(jpeg_compressed=JpegCompressed(quality=30), uncompleted=Uncompleted()), photo()
    params = both.draw(Rng("1"), image)
    (_, first), (_, second) = params["parts"]
    middle = JpegCompressed().apply(image, first).image
    last = Uncompleted().apply(middle, second)
    result = both.apply(image, params)
    assert np.array_equal(result.image, last.image)
    assert np.array_equal(result.truth["uncompleted-mask"], last.truth["mask"])
    assert result.file is None  # the hole came after the codec


def test_a_codec_at_the_end_gives_the_file() -> None:
    both, image = composite(dim=Dim(), jpeg_compressed=JpegCompressed(quality=30)), photo()
    result = both.apply(image, both.draw(Rng("1"), image))
    assert result.file is not None
    assert np.array_equal(np.array(PIL.Image.open(io.BytesIO(result.file[1]))), result.image)


def test_every_prefix_is_kept_on_request() -> None:
    parts = {"dim": Dim(), "jpeg-compressed": JpegCompressed(), "uncompleted": Uncompleted()}
    image = photo()
    with_steps = Composite(parts, steps=True)
    params = with_steps.draw(Rng("1"), image)
    result = with_steps.apply(image, params)
    assert list(result.steps) == ["step-1", "step-2"]
    assert np.array_equal(result.steps["step-1"], to_uint8(to_float(image) * np.float32(0.3)))
    codec = JpegCompressed().apply(result.steps["step-1"], params["parts"][1][1])
    assert np.array_equal(result.steps["step-2"], codec.image)
    without = Composite(parts)
    assert np.array_equal(without.apply(image, without.draw(Rng("1"), image)).image, result.image)


def test_a_part_more_leaves_the_others_draws_as_they_were() -> None:
    image = photo()
    two = composite(dim=Dim(), noisy=Noisy()).draw(Rng("1"), image)
    three = composite(dim=Dim(), noisy=Noisy(), uncompleted=Uncompleted()).draw(Rng("1"), image)
    assert three["parts"][:2] == two["parts"]


def test_one_part_is_no_composite() -> None:
    with pytest.raises(SettingError, match="two parts at least, found noisy"):
        composite(noisy=Noisy())
