"""Compiled loops: there where a compiler is, made of the sources that lie beside them, and with NumPy's bits."""

from __future__ import annotations

import ctypes
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patina.synth import figures, resampling, severity
from patina.synth.compiled import library
from patina.synth.image import Image
from patina.synth.rng import Rng
from tests.synth.pictures import cut, flat, photo

ROOT = Path(__file__).parents[2]
COMPILER = next(filter(shutil.which, ("cc", "gcc", "clang")), "")

needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C compiler is at hand")

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


def compiled(sources: Path) -> str:
    """What hatch_build.py says of compiling a folder in place: "" if it could."""
    said: str = runpy.run_path(str(ROOT / "hatch_build.py"))["compile_in_place"](sources)
    return said


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the folder without a library."""
    return some_sources(tmp_path, "figures", "light")


def some_sources(place: Path, *names: str) -> Path:
    """A copy of the folder with these of its C files alone: to compile all of them takes seven seconds."""
    folder = place / "patina" / "synth" / "compiled"
    folder.mkdir(parents=True)
    files = ["library.py", "sources.c", *(f"{name}.c" for name in names)]
    for path in (*library.FOLDER.glob("*.h"), *(library.FOLDER / file for file in files)):
        shutil.copy(path, folder)
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
    assert compiled(sources) == ""
    assert loaded(sources) == (True, f"used: {library_of(sources)}")
    with (sources / "figures.c").open("a", encoding="utf-8") as file:
        file.write("/* one word more */\n")
    assert loaded(sources)[0] is False and "other sources" in loaded(sources)[1]


@needs_compiler
@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CC", "a-compiler-that-is-not-there", "a-compiler-that-is-not-there"),
        ("CC", "cc '", "cc '"),
        ("CC", "/dev/null", "/dev/null"),
        ("CC", "true", "true"),  # which makes nothing that could be loaded
        (library.SWITCH, "0", f"{library.SWITCH} is 0"),
    ],
)
def test_what_cannot_be_compiled_leaves_no_library_and_says_why(
    variable: str, value: str, said: str, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library_of(sources).write_bytes(b"an older one")
    monkeypatch.setenv(variable, value)
    assert said in compiled(sources)
    assert [path.name for path in library_of(sources).parent.iterdir()] == ["synth"]


@needs_compiler
def test_what_is_no_c_is_told_with_the_compilers_words(sources: Path) -> None:
    (sources / "figures.c").write_text("no C\n", "utf-8")
    assert "figures.c" in compiled(sources)


@needs_compiler
def test_arguments_of_the_compiler_change_no_bit(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{COMPILER} -Ofast -ffast-math -ffp-contract=fast")
    monkeypatch.setenv("CFLAGS", "-funsafe-math-optimizations -fassociative-math -ffinite-math-only")
    monkeypatch.setenv("LDFLAGS", "-funsafe-math-optimizations")
    assert compiled(sources) == ""
    code = (
        "import sys; from pathlib import Path; from patina.synth.compiled import library\n"
        "if len(sys.argv) > 1: library.LIBRARY, library.FOLDER = map(Path, sys.argv[1:])\n"
        "import numpy as np; from patina.synth.figures import Reference\n"
        "from patina.synth.image import to_encoded_levels\n"
        "assert library.functions() is not None\n"
        "levels = (np.arange(97 * 85 * 3, dtype=np.uint32) * 2654435761 >> 24).astype(np.uint8).reshape(97, 85, 3)\n"
        "other = np.ascontiguousarray(levels[::-1] // 2 + 60)\n"
        "light = np.linspace(-0.1, 1.3, 99999, dtype=np.float32)\n"
        "reference = Reference(levels)\n"
        "print(reference._ssim(0, np.ascontiguousarray(other[..., 0]), 1, 0))\n"
        "print(to_encoded_levels(light).tobytes().hex())\n"
        "print(sys.float_info.min / 2, np.float32(2**-126) / 2)  # 0 where such a library has them lost\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for words in ([], [str(library_of(sources)), str(sources)])
    ]
    assert said[0] == said[1]


@needs_compiler
@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ("-freciprocal-math", "quotient by 255"),
        ("-funsafe-math-optimizations", "nearest"),
    ],
)
def test_a_library_that_rounds_otherwise_is_not_kept(
    arguments: str, wrong: str, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a compiler whose own arguments come after ours: some have such ways unless they are told otherwise."""
    for path in sources.glob("*.c"):
        if path.name != "sources.c":  # which is what is asked
            path.unlink()
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\nexec {COMPILER} "$@" {arguments}\n', "utf-8")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    said = compiled(sources)
    assert "IEEE 754" in said and wrong in said
    assert not library_of(sources).exists()


def test_arguments_of_the_environment_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))
    given = hook["given"]
    for name in ("CPPFLAGS", "CFLAGS", "LDFLAGS", "ARCHFLAGS"):
        monkeypatch.delenv(name, raising=False)
    assert given("linux", "linux-x86_64") == given("darwin", "macosx-11.0-arm64") == []
    assert given("darwin", "macosx-11.0-universal2") == ["-arch", "arm64", "-arch", "x86_64"]
    monkeypatch.setenv("CFLAGS", "-g '-DTITLE=two words'")
    monkeypatch.setenv("LDFLAGS", "-Wl,-s")
    monkeypatch.setenv("ARCHFLAGS", "-arch x86_64")
    assert given("linux", "linux-x86_64") == ["-g", "-DTITLE=two words", "-Wl,-s"]
    assert given("darwin", "macosx-11.0-universal2") == ["-arch", "x86_64", "-g", "-DTITLE=two words", "-Wl,-s"]
    assert hook["EXACT"][-1] == "-ffp-contract=off", "clang takes -fno-fast-math for a word on contraction, too"


@pytest.mark.parametrize("name", ["CPPFLAGS", "CFLAGS", "LDFLAGS", "ARCHFLAGS"])
def test_a_quote_too_few_is_told_of_the_variable_that_has_it(
    name: str, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\ntouch "{tmp_path}/called"\n', "utf-8")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv(name, "-g '")
    said = compiled(sources)
    assert said.startswith(f'{name} is "-g \'"') and "No closing quotation" in said
    assert str(compiler) not in said and not (tmp_path / "called").exists(), "no compiler can mend that"


def test_sizes_are_those_that_the_loops_have_room_for() -> None:
    texts = {name: (library.FOLDER / name).read_text("utf-8") for name in ("figures.c", "resampling.c")}
    assert f"#define WIDEST {figures.WIDEST}\n" in texts["figures.c"]
    assert f"#define MOST_TAPS {2 * resampling.WIDEST + 1}\n" in texts["resampling.c"]


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
    if not COMPILER:
        pytest.skip("no C compiler is at hand")
    for gt, lq in ((flat(16, 16, 90), flat(16, 16, 91)), (cut(17, 19), cut(17, 19)[::-1].copy())):
        one, other = both(lambda gt=gt, lq=lq: figures.figures(gt, lq))
        assert one == other


def test_pointers_are_the_addresses_that_arrays_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    constant = array.copy()
    constant.setflags(write=False)
    for one in (array, array[1:], array[:, 2:], array[::-1], array.T, constant, array[:0], np.zeros(())):
        assert library.pointer(one) == one.__array_interface__["data"][0]
    monkeypatch.setattr(library, "_data_follows_head", lambda: False)
    assert library.pointer(array[1:]) == array.__array_interface__["data"][0] + array.strides[0]
