"""Photographs from file to file: formats, what is kept of a file and said of it, names, tiles, memory, bad input."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import torch
from torch import Tensor

from patina.pipeline.codec.decode import decode
from patina.pipeline.codec.png import encode_png
from patina.pipeline.errors import BadImageError, SourceError
from patina.training.errors import CheckpointError, ModelInputError, RunFailedError
from patina.training.images import to_bytes
from patina.training.models import unet
from patina.training.restore.files import Restored, probabilities_line, restore_files
from patina.training.restore.load import load_model
from patina.training.restore.options import PhotoRestorer, RestoreOptions
from patina.training.restore.photo import Photo, encode_photo, read_photo, upright_exif
from patina.training.restore.places import restore_jobs
from patina.training.restore.restorer import Restorer
from patina.training.restore.tiles import Tiling
from tests.pipeline.making import encoded, photo, picture, save
from tests.training.restore.test_restorer import Pointwise, described, diffusion, made_up, of_pixels

WIDE, PLACE = 0x8769, 0x8825


def darker(x: Tensor) -> Tensor:
    return x * 0.4


def darkening() -> Restorer:
    """Something whose result is known: 0.4 of each level, which never lies halfway between two."""
    return of_pixels("described", darker)[0]


def darkened(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.rint(image * 0.4).astype(np.uint8)


def opened(path: Path) -> PIL.Image.Image:
    image = PIL.Image.open(path)
    image.load()
    return image


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(3)
    yield


# Formats


@pytest.mark.parametrize(
    ("name", "kind", "close"),
    [
        ("a.png", "PNG", 0),
        ("a.bmp", "BMP", 0),
        ("a.ppm", "PPM", 0),
        ("a.tif", "TIFF", 0),
        ("a.webp", "WEBP", 12),
        ("a.JPG", "JPEG", 12),
        ("a.jpe", "JPEG", 12),
        ("png-called.jpg", "PNG", 0),
    ],
)
def test_a_restored_photograph_keeps_its_format_and_its_name(tmp_path: Path, name: str, kind: str, close: int) -> None:
    save(tmp_path / name, picture(), format=kind)
    (result,) = restore_files([tmp_path / name], tmp_path / "out", darkening())
    assert result.out == tmp_path / "out" / name
    with opened(result.out) as image:
        assert image.format == kind
        found, expected = np.array(image).astype(int), darkened(decode((tmp_path / name).read_bytes()).image)
    assert np.abs(found - expected).max() <= close if close == 0 else np.abs(found - expected).mean() < 4
    assert (result.notes, result.error) == ((), "")


def test_jpegs_are_written_well_and_with_full_chroma(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", quality=60)
    for quality in (95, 40):
        (result,) = restore_files([tmp_path / "a.jpg"], tmp_path / "out", darkening(), RestoreOptions(quality=quality))
        assert result.out
        with opened(result.out) as image:
            assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
            tables = image.quantization  # type: ignore[attr-defined]
        buffer = io.BytesIO()
        PIL.Image.fromarray(picture()).save(buffer, "JPEG", quality=quality)
        with PIL.Image.open(buffer) as usual:
            assert tables == usual.quantization  # type: ignore[attr-defined]


def test_a_lossless_webp_stays_lossless(tmp_path: Path) -> None:
    photo(tmp_path / "a.webp", lossless=True, icc_profile=profile())
    (result,) = restore_files([tmp_path / "a.webp"], tmp_path / "out", darkening())
    assert result.out
    assert np.array_equal(decode(result.out.read_bytes()).image, darkened(picture()))


@pytest.mark.parametrize(("name", "becomes"), [("a.gif", "a.png"), ("a.mpo", "a.jpg"), ("b.jpg", "b.jpg")])
def test_what_is_written_as_another_format_gets_its_name_and_is_said(tmp_path: Path, name: str, becomes: str) -> None:
    if name.endswith("gif"):
        photo(tmp_path / name)
    else:
        second = PIL.Image.fromarray(picture(seed=1))
        save(tmp_path / name, picture(), format="MPO", save_all=True, append_images=[second])
    (result,) = restore_files([tmp_path / name], tmp_path / "out", darkening())
    assert result.out == tmp_path / "out" / becomes
    said = "written as PNG, not GIF" if name.endswith("gif") else "of its pictures the first is restored"
    assert result.notes == (said,)
    with opened(result.out) as image:
        assert image.format == ("PNG" if name.endswith("gif") else "JPEG")


def test_grey_photographs_stay_grey_with_their_profile(tmp_path: Path) -> None:
    grey = b"\0" * 16 + b"GRAY" + b"\0" * 108
    save(tmp_path / "a.png", picture()[..., 1], icc_profile=grey)
    (result,) = restore_files([tmp_path / "a.png"], tmp_path / "out", darkening())
    assert result.out
    with opened(result.out) as image:
        assert image.mode == "L"
        assert np.array_equal(np.array(image), darkened(picture()[..., 1]))
        assert image.info["icc_profile"] == grey


def test_sixteen_bits_are_restored_as_eight_and_it_is_said(tmp_path: Path) -> None:
    wide = picture().astype(np.uint16) * 257
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", wide[..., ::-1])[1].tobytes())
    (tmp_path / "b.tif").write_bytes(cv2.imencode(".tif", wide[..., ::-1])[1].tobytes())
    (tmp_path / "c.png").write_bytes(encode_png(wide[..., 0]))
    (tmp_path / "d.ppm").write_bytes(b"P6\n# made up\n64 48\n65535\n" + wide.astype(">u2").tobytes())
    results = restore_files([tmp_path / n for n in ("a.png", "b.tif", "c.png", "d.ppm")], tmp_path / "out", darkening())
    for result in results:
        assert result.notes == ("of its 16 bits a channel, 8 are restored",), result
        assert result.out
        image = decode(result.out.read_bytes())
        expected = picture()[..., :1].repeat(3, 2) if result.source.name == "c.png" else picture()
        assert np.array_equal(image.image, darkened(expected))


def test_opaque_alpha_is_left_out_and_said_and_what_is_transparent_is_refused(tmp_path: Path) -> None:
    opaque = np.dstack([picture(), np.full((48, 64), 255, np.uint8)])
    clear = opaque.copy()
    clear[5:9, 5:9, 3] = 100
    save(tmp_path / "a.png", opaque)
    save(tmp_path / "b.png", clear)
    first, second = restore_files([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", darkening())
    assert first.notes == ("its alpha channel, opaque everywhere, is left out",)
    assert first.out
    with opened(first.out) as image:
        assert image.mode == "RGB"
    assert second.out is None
    assert "partly transparent" in second.line
    assert not (tmp_path / "out" / "b.png").exists()


def test_cmyk_becomes_rgb_without_its_profile(tmp_path: Path) -> None:
    PIL.Image.fromarray(picture()).convert("CMYK").save(
        tmp_path / "a.jpg", icc_profile=b"\0" * 16 + b"CMYK" + b"\0" * 108
    )
    (result,) = restore_files([tmp_path / "a.jpg"], tmp_path / "out", darkening())
    assert result.notes == ("written as RGB, not CMYK", "its colour profile, of other colours, is left out")
    assert result.out
    with opened(result.out) as image:
        assert (image.mode, image.info.get("icc_profile")) == ("RGB", None)


# EXIF data and colour profiles


@cache  # it holds the time
def profile() -> bytes:
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def camera(orientation: int) -> PIL.Image.Exif:
    """EXIF data as a camera writes them: a maker, sides, a place."""
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = orientation, "Maker", "Model 1"
    exif.get_ifd(WIDE).update({0xA002: 64, 0xA003: 48, 0x9003: "2024:05:06 07:08:09", 0x927C: b"by offsets\x01\x02"})
    exif.get_ifd(PLACE).update({1: "N", 2: (52.0, 31.0, 12.0)})
    exif[WIDE] = exif[PLACE] = 0  # where they lie is found when they are written
    return exif


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_exif_data_and_profile_are_kept_and_the_photograph_is_upright(
    tmp_path: Path, name: str, orientation: int
) -> None:
    photo(tmp_path / name, exif=camera(orientation), icc_profile=profile())
    (result,) = restore_files([tmp_path / name], tmp_path / "out", darkening())
    assert (result.error, result.notes) == ("", ())
    assert result.out
    with opened(result.out) as image:
        exif = image.getexif()
        assert exif.get(0x0112, 1) == 1
        assert (exif[0x010F], exif[0x0110]) == ("Maker", "Model 1")
        inner = exif.get_ifd(WIDE)
        assert (inner[0x9003], inner[0x927C]) == ("2024:05:06 07:08:09", b"by offsets\x01\x02")
        assert (inner[0xA002], inner[0xA003]) == image.size == ((48, 64) if orientation == 6 else (64, 48))
        assert exif.get_ifd(PLACE)[2] == (52.0, 31.0, 12.0)
        assert image.info["icc_profile"] == profile()
    expected = decode((tmp_path / name).read_bytes()).image  # decode turns it
    assert np.abs(decode(result.out.read_bytes()).image.astype(int) - darkened(expected)).mean() < 4


def test_exif_data_can_be_left_out(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", exif=camera(6), icc_profile=profile())
    (result,) = restore_files([tmp_path / "a.jpg"], tmp_path / "out", darkening(), RestoreOptions(strip=True))
    assert result.out
    with opened(result.out) as image:
        assert image.size == (48, 64)
        assert not image.getexif()
        assert image.info["icc_profile"] == profile()  # without it the colours would be others


@pytest.mark.parametrize("order", ["little", "big"])
def test_exif_bytes_change_only_where_they_must(order: Any) -> None:
    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)

    def entry(tag: int, kind: int, value: bytes) -> bytes:
        return number(tag, 2) + number(kind, 2) + number(1, 4) + value.ljust(4, b"\0")

    def block(orientation: int, width: int, following: int) -> bytes:
        head = (b"II" if order == "little" else b"MM") + number(42, 2) + number(8, 4)
        outer = number(2, 2) + entry(0x0112, 3, number(orientation, 2)) + entry(WIDE, 4, number(38, 4))
        inner = number(2, 2) + entry(0xA002, 3, number(width, 2)) + entry(0xA003, 4, number(48, 4)) + number(0, 4)
        return head + outer + number(following, 4) + inner + b"a preview and what its maker keeps"

    assert upright_exif(block(6, 64, 80), 48, 4000) == b"Exif\0\0" + block(1, 4000, 0)
    assert upright_exif(b"Exif\0\0" + block(6, 64, 80), 48, 4000) == b"Exif\0\0" + block(1, 4000, 0)
    for length in (0, 1, 7, 9, 20, 37, 45):  # cut short
        assert upright_exif(block(6, 64, 80)[:length], 48, 64) == b""


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_data_that_cannot_be_followed_or_stored_is_left_out_and_said() -> None:
    read = read_photo(encoded(picture(), "PNG", exif=b"Exif\0\0II*\0\xff\0\0\0"))
    assert read.exif == b""
    assert read.notes == ("its EXIF data cannot be followed and is left out",)
    long = read_photo(encoded(picture(), "JPEG", exif=camera(1)))
    grown = Photo(long.image, long.format, exif=long.exif + b"\0" * 70000)
    data, notes = encode_photo(grown.image, grown)
    assert notes == ["its EXIF data is too long for a JPEG file and is left out"]
    assert b"Exif" not in data
    assert encode_photo(grown.image, grown, strip=True)[1] == []


# Files and folders


def test_a_folder_comes_out_with_its_folders(tmp_path: Path) -> None:
    for name in ("a.png", "deep/b.png", "deep/er/c.jpg"):
        photo(tmp_path / "in" / name)
    (tmp_path / "in" / "deep" / "notes.txt").write_text("no photograph")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    photo(tmp_path / "alone.png")
    results = restore_files([tmp_path / "in", tmp_path / "alone.png"], tmp_path / "out", darkening())
    assert [r.error for r in results] == [""] * 4
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"a.png", "deep/b.png", "deep/er/c.jpg", "alone.png"}


def test_what_was_restored_before_is_no_input_and_is_replaced(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    out = tmp_path / "restored"
    for _ in range(2):
        (result,) = restore_files([tmp_path], out, darkening())
        assert result.out == out / "a.png"
    assert [p.name for p in out.rglob("*")] == ["a.png"]
    (below,) = restore_jobs([out], tmp_path / "twice")
    assert below.source == out / "a.png"


def test_a_folder_may_be_restored_into_the_one_above(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "a.png")
    (job,) = restore_jobs([tmp_path / "in"], tmp_path)
    assert job.out == tmp_path / "a.png"


@pytest.mark.parametrize("way", ["same folder", "link", "other"])
def test_a_photograph_that_was_given_is_never_replaced(tmp_path: Path, way: str) -> None:
    first, second = photo(tmp_path / "in" / "a.png"), photo(tmp_path / "b" / "a.png", seed=1)
    before = first.read_bytes(), second.read_bytes()
    out = tmp_path / "in"
    if way == "link":
        out = tmp_path / "out"
        out.mkdir()
        os.link(first, out / "a.png")
    given = [second, tmp_path / "in" / "a.png"] if way == "other" else [first]
    with pytest.raises(SourceError, match=r"was given|would both become"):
        restore_files(given, out, darkening())
    assert (first.read_bytes(), second.read_bytes()) == before


def test_two_photographs_never_become_one(tmp_path: Path) -> None:
    one, two = photo(tmp_path / "x" / "a.png"), photo(tmp_path / "y" / "a.png")
    with pytest.raises(SourceError, match="would both become"):
        restore_files([one, two], tmp_path / "out", darkening())
    photo(tmp_path / "x" / "a.gif")
    with pytest.raises(SourceError, match="would both become"):
        restore_jobs([tmp_path / "x"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_photograph_given_twice_is_restored_once(tmp_path: Path) -> None:
    one = photo(tmp_path / "x" / "a.png")
    assert len(restore_jobs([one, tmp_path / "x", one], tmp_path / "out")) == 1


def test_nothing_is_done_if_a_path_is_wrong(tmp_path: Path) -> None:
    good = photo(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("none")
    (tmp_path / "file").write_text("no folder")
    for given, out, said in (
        ([good, tmp_path / "missing.png"], "out", "there is no such file or folder"),
        ([good, tmp_path / "empty"], "out", "expected photographs in this folder, found none among 1 other files"),
        ([good], "file", "expected a folder, found a file"),
    ):
        with pytest.raises(SourceError, match=said):
            restore_files(given, tmp_path / out, darkening())
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_told_and_the_rest_restored(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "b.png")
    (tmp_path / "in" / "a.png").write_bytes(photo(tmp_path / "whole.png").read_bytes()[:100])
    (tmp_path / "in" / "c.jpg").write_bytes(b"no picture")
    photo(tmp_path / "in" / "d.png", 12, 12)
    os.mkfifo(tmp_path / "in" / "e.png")
    restored: list[Restored] = []
    results = restore_files([tmp_path / "in"], tmp_path / "out", darkening(), on_restored=restored.append)
    assert restored == results
    assert [(r.source.name, bool(r.error), r.out is None) for r in results] == [
        ("a.png", True, True),
        ("b.png", False, False),
        ("c.jpg", True, True),
        ("d.png", True, True),
    ]
    assert "too small" in results[3].line
    assert "not an image" in results[2].line
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b.png"]


def test_names_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    name = "a\nb\x1b[31m.png"
    photo(tmp_path / "in" / name)
    (tmp_path / "in" / "bad\r.png").write_bytes(b"no")
    lines = [r.line for r in restore_files([tmp_path / "in"], tmp_path / "out", darkening())]
    assert all(line.isprintable() for line in lines)
    assert "a\\nb\\x1b[31m.png" in lines[0]
    assert (tmp_path / "out" / name).exists()


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_bytes(b"before")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        restore_files([tmp_path / "a.png"], tmp_path / "out", darkening())
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "out").iterdir()] == [("a.png", b"before")]


def test_a_place_where_no_folder_can_be_made_is_told(tmp_path: Path) -> None:
    photo(tmp_path / "in" / "deep" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "deep").write_text("a file")
    with pytest.raises(CheckpointError, match="no folder can be made here"):
        restore_files([tmp_path / "in"], tmp_path / "out", darkening())


# How


def test_large_photographs_go_through_tiles_and_small_ones_do_not() -> None:
    one_pass, (sampled, _) = darkening(), of_pixels("sde")
    options = RestoreOptions()
    assert options.tiling(1000, 1000, one_pass) == Tiling(0, 0)
    assert options.tiling(1000, 1001, one_pass) == Tiling(512, 32)
    assert options.tiling(400, 300, sampled).windows(400, 300) == [(..., slice(0, 512), slice(0, 512))]
    assert options.tiling(600, 300, sampled) == Tiling(512, 32)
    assert RestoreOptions(tile=0).tiling(5000, 5000, sampled).side == 0
    assert RestoreOptions(tile=64).tiling(600, 600, sampled) == Tiling(64, 16)
    assert RestoreOptions(tile=300, overlap=100).tiling(600, 600, one_pass) == Tiling(300, 100)


def test_a_shallow_unet_that_attends_gets_smaller_tiles() -> None:
    restorer = diffusion()
    assert RestoreOptions().tiling(600, 300, restorer) == Tiling(128, 32)
    with torch.device("meta"):
        restorer.net = unet.UNet(unet.DACLIP)
        assert RestoreOptions().tiling(600, 300, restorer) == Tiling(512, 32)
        restorer.net = unet.UNet(replace(unet.TINY, image_context=None))
        assert RestoreOptions().tiling(600, 300, restorer) == Tiling(512, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (RestoreOptions(tile=20), "expected 64 or more, or 0"),
        (RestoreOptions(tile=100, overlap=50), "less than half of the side"),
        (RestoreOptions(overlap=300), "less than half of the side"),
        (RestoreOptions(sampler="best"), "no sampler 'best'"),
        (RestoreOptions(sampler="posterior", steps=101), "expected 1 to 100"),
        (RestoreOptions(seed=-1), "expected 0 or more"),
        (RestoreOptions(quality=0), "expected 1 to 100"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is(tmp_path: Path, options: RestoreOptions, said: str) -> None:
    restorer, _ = of_pixels("sde")
    with pytest.raises(ModelInputError, match=said):
        restore_files([photo(tmp_path / "a.png")], tmp_path / "out", restorer, options)
    assert not (tmp_path / "out").exists()


def test_a_network_of_one_pass_has_no_sampler() -> None:
    for options in (RestoreOptions(sampler="ode"), RestoreOptions(steps=3)):
        with pytest.raises(ModelInputError, match="restores in one pass"):
            PhotoRestorer(darkening(), options)


def test_sampler_steps_seed_and_tiles_reach_the_restorer(tmp_path: Path) -> None:
    restorer = diffusion()
    image = picture(90, 70)
    photo(tmp_path / "a.png", 90, 70)
    options = RestoreOptions("fast-sde", 2, 9, tile=64, overlap=8)
    (result,) = restore_files([tmp_path / "a.png"], tmp_path / "out", restorer, options)
    same = restorer.restore(image, sampler="fast-sde", steps=2, seed=9, tiling=Tiling(64, 8))
    assert result.out
    assert np.array_equal(decode(result.out.read_bytes()).image, to_bytes(same))
    assert result.degradations == restorer.look(image).degradations


def test_progress_counts_the_calls_of_all_photographs(tmp_path: Path) -> None:
    restorer, _ = of_pixels("sde")
    photo(tmp_path / "in" / "a.png", 100, 64)
    photo(tmp_path / "in" / "b.png", 64, 64)
    (tmp_path / "in" / "c.png").write_bytes(b"none")
    told: list[tuple[int, int]] = []
    options = RestoreOptions(steps=3, tile=64, overlap=8)
    restore_files([tmp_path / "in"], tmp_path / "out", restorer, options, progress=lambda *now: told.append(now))
    assert told == [(k, 10) for k in range(1, 11)]  # three steps of two tiles and of one, and a file that is none


# Memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_too_little_memory_halves_the_tiles_says_so_and_remembers(tmp_path: Path, error: Exception) -> None:
    class Small(Pointwise):
        def forward(self, x: Tensor, mu: Tensor | None = None, t: Tensor | None = None) -> Tensor:
            found = super().forward(x, mu, t)
            if max(x.shape[-2:]) > 80:
                raise error
            return found

    net = Small(darker)
    restorer = Restorer(net, None, made_up("described"))
    photo(tmp_path / "in" / "a.png", 300, 200)
    photo(tmp_path / "in" / "b.png", 120, 100)
    photo(tmp_path / "in" / "c.png", 60, 50)
    told: list[tuple[int, int]] = []
    results = restore_files([tmp_path / "in"], tmp_path / "out", restorer, progress=lambda *now: told.append(now))
    assert [r.notes for r in results] == [("in tiles of 64 px, for lack of memory",), (), ()]
    assert net.sides == {(200, 300), (144, 144), (64, 64), (50, 60)}  # 300 → 144 → 64, and no second try
    assert told[-1][0] == told[-1][1]
    for result in results:
        assert result.out
        assert np.array_equal(decode(result.out.read_bytes()).image, darkened(decode(result.source.read_bytes()).image))


def test_too_little_memory_for_the_smallest_tile_is_told(tmp_path: Path) -> None:
    def never(x: Tensor) -> Tensor:
        raise MemoryError

    restorer, _ = of_pixels("described", never)
    with pytest.raises(RunFailedError, match=r"too little memory on cpu even for tiles of 64 px"):
        restore_files([photo(tmp_path / "a.png", 128, 128)], tmp_path / "out", restorer)


def test_other_errors_of_a_network_are_not_taken_for_memory(tmp_path: Path) -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("a fault of ours")

    restorer, _ = of_pixels("described", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        restore_files([photo(tmp_path / "a.png")], tmp_path / "out", restorer)


def test_a_network_that_gives_no_numbers_is_told(tmp_path: Path) -> None:
    restorer, _ = of_pixels("sde", lambda x: x * float("nan"))
    (result,) = restore_files([photo(tmp_path / "a.png")], tmp_path / "out", restorer)
    assert "NaN or infinity" in result.error
    assert not (tmp_path / "out").exists()


# What is said


def test_lines_and_shares() -> None:
    degradations = {"noisy": 0.931, "jpeg-compressed": 0.044, "hazy": 0.02}
    done = Restored(Path("photo.jpg"), Path("out/photo.jpg"), degradations, 1.23)
    assert done.line == "photo.jpg: noisy 93 %, jpeg-compressed 4 % → out/photo.jpg, 1.2 s"
    assert Restored(Path("a"), Path("b"), {}, 0.04, ("told",)).line == "a → b, 0.0 s; told"
    assert Restored(Path("a"), None, error="the file is empty (0 bytes)").line == "a: the file is empty (0 bytes)"
    assert probabilities_line({"noisy": 0.999, "hazy": 0.001}) == "noisy 100 %"
    assert probabilities_line({"noisy": 0.001}) == "noisy 0 %"


# Models


def published(folder: Path, make: Callable[[], Restorer]) -> Restorer:
    from patina.training import official

    restorer = make()
    assert restorer.conditioner
    official.save(restorer.net, folder / "model.ckpt", degradation_model=restorer.conditioner.net)
    return restorer


def test_a_published_file_is_loaded_by_its_path_alone(tmp_path: Path) -> None:
    own = published(tmp_path, described)
    assert torch.equal(load_model(tmp_path / "model.ckpt").restore(picture()), own.restore(picture()))


def test_models_and_options_that_do_not_go_together_are_told(tmp_path: Path) -> None:
    published(tmp_path, described)
    for error, said, model, options in (
        (CheckpointError, "no such file or folder", tmp_path / "none", {}),
        (CheckpointError, "no finished restorer", tmp_path, {}),
        (
            ModelInputError,
            "is one model, not a run; leave out --stage irsde",
            tmp_path / "model.ckpt",
            {"stage": "irsde"},
        ),
        (ModelInputError, "--device abc cannot be used", tmp_path, {"device": "abc"}),
    ):
        with pytest.raises(error, match=said):
            load_model(model, **options)  # type: ignore[arg-type]
    if not torch.cuda.is_available():
        with pytest.raises(ModelInputError, match="--device cuda:0 cannot be used"):
            load_model(tmp_path / "model.ckpt", device="cuda:0")


def test_reading_refuses_what_decoding_refuses() -> None:
    with pytest.raises(BadImageError, match="empty"):
        read_photo(b"")
