"""Compiled loops: there where a compiler is, made of the sources that lie beside them, and with NumPy's bits."""

from __future__ import annotations

import ctypes
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from patina.synth import figures
from patina.synth.compiled import library
from patina.synth.convolution import Taps, convolve
from patina.synth.image import FloatImage, Image
from patina.synth.resampling import shortened
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
HAVE_COMPILER = any(shutil.which(name) for name in ("cc", "gcc", "clang"))

needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="no C compiler is at hand")

SIZES = ((16, 16), (61, 83), (119, 40), (217, 260), (512, 768), (30, 2100))


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], T]], tuple[T, T]]:
    """What a function gives with compiled loops and without them."""

    def ways(function: Callable[[], T]) -> tuple[T, T]:
        library.functions.cache_clear()
        with monkeypatch.context() as patch:
            patch.delenv(library.SWITCH, raising=False)
            assert library.functions() is not None, "python hatch_build.py compiles them"
            one = function()
            library.functions.cache_clear()
            patch.setenv(library.SWITCH, "0")
            assert library.functions() is None
            other = function()
        library.functions.cache_clear()
        return one, other

    return ways


def pictures(height: int, width: int) -> tuple[Image, Image]:
    """A photograph of that size, and one that differs in everything: noise, ends of the scale, flat parts."""
    whole = np.tile(photo(), (1 + height // len(photo()), 1 + width // photo().shape[1], 1))
    gt = np.ascontiguousarray(whole[:height, :width])
    noise = Rng("c").levels(gt.size).reshape(gt.shape)
    lq = np.where(noise % 3 == 0, noise // 256, gt).astype(np.uint8)
    lq[: height // 4], lq[:, : width // 4] = 255, 0
    gt[: height // 5] = 0
    return gt, lq


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_figures_have_the_same_bits(size: tuple[int, int], both: Callable[..., tuple[object, object]]) -> None:
    gt, lq = pictures(*size)

    def sums() -> list[float]:  # before anything is rounded to four digits
        reference = figures.Reference(gt)
        return [reference._ssim(i, np.ascontiguousarray(lq[..., i]), 5, i) for i in range(3)]

    one, other = both(lambda: (sums(), figures.figures(gt, lq), figures.figures(gt, gt)))
    assert one == other


@needs_compiler
def test_luma_has_the_same_bits_for_every_colour(both: Callable[..., tuple[Image, Image]]) -> None:
    levels = np.array([*range(0, 256, 5), 1, 127, 128, 129, 254], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(len(levels), -1, 3)
    one, other = both(lambda: figures.luma(np.ascontiguousarray(colours)))
    assert np.array_equal(one, other)
    one, other = both(lambda: figures.luma(colours[:, ::2]))
    assert np.array_equal(one, other), "rows that do not follow one another"


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
            assert one.shape == other.shape and one.dtype == other.dtype == np.float32
            assert np.array_equal(one.view(np.uint32), other.view(np.uint32))


@needs_compiler
def test_a_convolution_leaves_what_is_beside_its_place(both: Callable[..., tuple[Any, Any]]) -> None:
    kernel = np.ones((3, 3), np.int64)

    def beside() -> FloatImage:
        out = np.full((9, 80, 3), -1, np.float32)
        Taps(3, *np.nonzero(kernel), kernel.ravel()).convolve(np.ones((5, 72, 3), np.float32), 1, out[2:5, 4:74])
        return out

    for out in both(beside):
        assert (out[2:5, 4:74] == 9).all() and (out == -1).sum() == out.size - 3 * 70 * 3


def compiler() -> Callable[..., Path | None]:
    compile: Callable[..., Path | None] = runpy.run_path(str(ROOT / "hatch_build.py"))["compiled"]
    return compile


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the folder without a library."""
    folder = tmp_path / "patina" / "synth" / "compiled"
    shutil.copytree(library.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def library_of(folder: Path) -> Path:
    return folder.parents[1] / library.LIBRARY.name


def loaded(folder: Path) -> ctypes.CDLL | None:
    """What `library.py` of that folder makes of it."""
    module = runpy.run_path(str(folder / "library.py"))
    found: ctypes.CDLL | None = module["functions"]()
    return found


@needs_compiler
def test_a_library_of_other_sources_is_left_aside(sources: Path) -> None:
    assert loaded(sources) is None
    assert compiler()(sources) == library_of(sources)
    assert loaded(sources) is not None
    with (sources / "figures.c").open("a", encoding="utf-8") as file:
        file.write("/* one word more */\n")
    assert loaded(sources) is None


@needs_compiler
def test_what_cannot_be_compiled_leaves_no_library(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile = compiler()
    assert compile(sources) is not None
    monkeypatch.setenv("CC", "a-compiler-that-is-not-there")
    assert compile(sources) is None
    assert [path.name for path in library_of(sources).parent.iterdir()] == ["synth"]
    monkeypatch.delenv("CC")
    monkeypatch.setenv(library.SWITCH, "0")
    assert compile(sources) is None
    monkeypatch.delenv(library.SWITCH)
    (sources / "figures.c").write_text("no C\n", "utf-8")
    assert compile(sources) is None


def test_a_file_that_is_no_library_is_left_aside(sources: Path) -> None:
    library_of(sources).write_bytes(b"no library")
    assert loaded(sources) is None


def test_the_signatures_are_those_of_the_sources() -> None:
    """ctypes believes whatever it is told: a pointer too few would be a crash."""
    pointer, size, number = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_float
    found = library.signatures(library.FOLDER)
    assert found["patina_luma"] == (pointer, size, pointer, number, number, pointer)
    text = "".join(path.read_text("utf-8") for path in library.FOLDER.glob("*.c"))
    assert len(found) == text.count("CLONED"), "a function that is not written as the others are has no signature"


def test_small_and_flat_pictures_work_in_both_ways(both: Callable[..., tuple[object, object]]) -> None:
    if not HAVE_COMPILER:
        pytest.skip("no C compiler is at hand")
    for gt, lq in ((flat(16, 16, 90), flat(16, 16, 91)), (cut(17, 19), cut(17, 19)[::-1].copy())):
        one, other = both(lambda gt=gt, lq=lq: figures.figures(gt, lq))
        assert one == other
