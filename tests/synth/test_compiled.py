"""Compiled loops: there where a compiler is, made of the sources that lie beside them, and with NumPy's bits."""

from __future__ import annotations

import ctypes
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patina.synth import figures, severity
from patina.synth.compiled import library
from patina.synth.image import Image
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo

ROOT = Path(__file__).parents[2]
HAVE_COMPILER = any(shutil.which(name) for name in ("cc", "gcc", "clang"))

needs_compiler = pytest.mark.skipif(not HAVE_COMPILER, reason="no C compiler is at hand")

SIZES = ((16, 16), (61, 83), (119, 40), (217, 260), (512, 768), (30, 2100))


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
@pytest.mark.parametrize("size", [*SIZES, (8, 8192 + 40), (7, 30), (97, 85)])
def test_severity_has_the_same_bits(size: tuple[int, int], both: Callable[..., tuple[object, object]]) -> None:
    gt, lq = pictures(*size)

    def found() -> tuple[float, ...]:  # before anything is rounded to four digits
        planes = [(np.ascontiguousarray(gt[..., i]), np.ascontiguousarray(lq[..., i])) for i in range(3)]
        return tuple(severity._Structure(x).of(y) for x, y in [*planes, planes[0][::-1], (planes[1][0], planes[1][0])])

    one, other = both(lambda: (found(), severity.measure(gt, lq)))
    assert one == other


@needs_compiler
def test_luma_has_the_same_bits_for_every_colour(both: Callable[..., tuple[Image, Image]]) -> None:
    levels = np.array([*range(0, 256, 5), 1, 127, 128, 129, 254], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(len(levels), -1, 3)
    one, other = both(lambda: figures.luma(np.ascontiguousarray(colours)))
    assert np.array_equal(one, other)
    one, other = both(lambda: figures.luma(colours[:, ::2]))
    assert np.array_equal(one, other), "rows that do not follow one another"


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


def loaded(folder: Path) -> tuple[bool, str]:
    """Whether `library.py` of that folder gives functions, and what it says of that."""
    module = runpy.run_path(str(folder / "library.py"))
    return module["functions"]() is not None, module["state"]()


@needs_compiler
def test_a_library_of_other_sources_is_left_aside(sources: Path) -> None:
    assert loaded(sources)[0] is False and "not compiled" in loaded(sources)[1]
    assert compiler()(sources) == library_of(sources)
    assert loaded(sources) == (True, f"used: {library_of(sources)}")
    with (sources / "figures.c").open("a", encoding="utf-8") as file:
        file.write("/* one word more */\n")
    assert loaded(sources)[0] is False and "other sources" in loaded(sources)[1]


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
    assert loaded(sources)[0] is False and "cannot be loaded" in loaded(sources)[1]


def test_whoever_wants_none_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SWITCH, "0")
    assert library.state() == "not used: PATINA_COMPILED is 0"


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
