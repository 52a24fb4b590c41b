"""The laws that every degradation of the catalogue keeps.

A degradation's own test module gives what only it can know: STRENGTHS (parameters from mild to strong), WIDE (an
instance with room to draw from) and BAD (settings that cannot work, each with words of its error).
"""

import dataclasses
import importlib
import io
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.synth.degradation import Degradation, Degraded, Params, Place, SettingError
from patina.synth.degradations import CATALOGUE
from patina.synth.image import Image
from patina.synth.rng import Rng, sample_seed
from tests.synth.pictures import cut, flat, photo, psnr

TESTS: dict[str, Any] = {
    name: importlib.import_module(f"tests.synth.test_{name.replace('-', '_')}") for name in CATALOGUE
}

every = pytest.mark.parametrize("name", CATALOGUE)
IMAGES = {
    "smallest": cut(16, 16),
    "flat strip": cut(17, 501),
    "upright strip": cut(501, 17),
    "grey": flat(40, 56, 128),
    "white": flat(40, 56, 255),
    "black": flat(40, 56, 0),
}


def seed_of(name: str, variant: int) -> str:
    return sample_seed(0, "digest", name, variant, (0, 0, 512, 512))


def same(one: Degraded, other: Degraded) -> bool:
    return (
        np.array_equal(one.image, other.image)
        and one.file == other.file
        and one.truth.keys() == other.truth.keys()
        and all(np.array_equal(one.truth[name], other.truth[name]) for name in one.truth)
    )


def replay(degradation: Degradation, image: Image, params: Params) -> Degraded:
    """At the top of the module, so that another process can find it."""
    return degradation.apply(image, params)


@pytest.fixture(scope="module")
def another_process() -> Iterator[ProcessPoolExecutor]:
    """Started afresh rather than forked: it shares no memory, no cache and no hash seed with this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


@every
def test_the_word_is_the_fields_and_the_class_is_frozen(name: str) -> None:
    assert CATALOGUE[name].name == name
    assert CATALOGUE[name].version >= 1
    degradation = CATALOGUE[name]()
    assert pickle.loads(pickle.dumps(degradation)) == degradation == CATALOGUE[name]()
    with pytest.raises(dataclasses.FrozenInstanceError):
        degradation.name = "other"  # type: ignore[misc]


@every
def test_settings_are_json(name: str) -> None:
    settings = TESTS[name].WIDE.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings == TESTS[name].WIDE.settings()


@every
@pytest.mark.parametrize("kind", IMAGES)
def test_any_image_works(name: str, kind: str) -> None:
    """Read-only images, so a write to the input would raise."""
    image, degradation = IMAGES[kind], CATALOGUE[name]()
    before = image.copy()
    check(degradation, image, seed_of(name, 0))
    assert np.array_equal(image, before)


@every
@settings(max_examples=40)
@given(height=st.integers(16, 80), width=st.integers(16, 80), variant=st.integers(0, 10**6))
def test_any_size_works(name: str, height: int, width: int, variant: int) -> None:
    check(TESTS[name].WIDE, cut(height, width), seed_of(name, variant))


@every
@pytest.mark.parametrize("x", [0, 448, 960])
@pytest.mark.parametrize("y", [0, 224, 704])
def test_a_tile_from_anywhere_works(name: str, x: int, y: int) -> None:
    """The sky's corner, the middle and the ground: what looks at the whole photograph knows only its place."""
    place = Place("there/photo.jpg", x, y, 64, 64, 1024, 768)
    for variant in range(3):
        check(CATALOGUE[name](), cut(64, 64), seed_of(name, variant), place)


def check(degradation: Degradation, image: Image, seed: str, place: Place | None = None) -> None:
    params = degradation.draw(Rng(seed), image, place)
    degraded = degradation.apply(image, params)
    assert degraded.image.shape == image.shape
    assert degraded.image.dtype == np.uint8
    assert degraded.image.flags.c_contiguous and degraded.image.flags.writeable
    for name, truth in degraded.truth.items():
        assert truth.ndim == 2 and truth.dtype in (np.uint8, np.uint16)
        assert name == "kernel" or truth.shape == image.shape[:2]
    assert set(degraded.truth) == set(degradation.truth)
    if degraded.file is not None:
        assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(degraded.file[1]))), degraded.image)
    kept = json.loads(json.dumps(params))
    assert kept == params
    assert same(degradation.apply(image, kept), degraded)


@every
def test_the_same_parameters_give_the_same_pixels_anywhere(name: str, another_process: ProcessPoolExecutor) -> None:
    degradation, image = TESTS[name].WIDE, photo()
    drawn = [degradation.draw(Rng(seed_of(name, variant)), image) for variant in range(6)]
    here = [degradation.apply(image, params) for params in drawn]
    with ThreadPoolExecutor(3) as threads:
        there = list(threads.map(lambda params: degradation.apply(image, params), drawn))
    assert all(map(same, here, there))
    assert same(another_process.submit(replay, degradation, image, drawn[0]).result(), here[0])


@every
def test_results_are_independent(name: str) -> None:
    """The next image, or a change to this result, changes no earlier result: no buffer is handed out."""
    degradation, image = CATALOGUE[name](), cut(64, 48)
    first, second = (degradation.draw(Rng(seed_of(name, variant)), image) for variant in (0, 1))
    result = degradation.apply(image, first)
    kept = pickle.loads(pickle.dumps(result))
    other = degradation.apply(image, second)
    arrays = [image, *(array for r in (result, other) for array in (r.image, *r.truth.values()))]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])
    other.image[:] = 0
    assert same(result, kept)


@every
def test_drawing_depends_on_the_seed_alone_and_varies(name: str) -> None:
    degradation, image = TESTS[name].WIDE, cut(64, 48)
    drawn = [degradation.draw(Rng(seed_of(name, variant)), image) for variant in range(8)]
    again = [degradation.draw(Rng(seed_of(name, variant)), image) for variant in reversed(range(8))]
    assert drawn == again[::-1]
    assert len({json.dumps(params) for params in drawn}) >= 7


@every
def test_stronger_is_never_better(name: str) -> None:
    degradation, image = CATALOGUE[name](), photo()
    params = degradation.draw(Rng(seed_of(name, 0)), image)
    figures = [
        psnr(image, degradation.apply(image, {**params, **strength}).image) for strength in TESTS[name].STRENGTHS
    ]
    assert len(figures) >= 4
    assert figures == sorted(figures, reverse=True)
    assert figures[-1] < figures[0] - 3


@pytest.mark.parametrize(("name", "settings", "says"), [(name, *bad) for name in CATALOGUE for bad in TESTS[name].BAD])
def test_bad_settings_are_refused_in_words(name: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError) as raised:
        CATALOGUE[name](**settings)
    assert says in str(raised.value)
