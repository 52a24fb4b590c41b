"""Every file that people keep among their photographs: handled, or set aside with a reason, and the build goes on."""

from __future__ import annotations

import io
import os
import re
import struct
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import pytest

from patina.captioning import CAPTIONERS
from patina.captioning.captioner import Caption, Captioner, Photo
from patina.pipeline.builder.build import build
from patina.pipeline.builder.result import BuildResult
from patina.pipeline.builder.runner import Threads
from patina.pipeline.codec.decode import decode
from patina.pipeline.errors import BadImageError, BuildError, SourceError
from patina.pipeline.format.manifest import load_manifest, read_sources
from patina.pipeline.plan.planning import ALWAYS_ALLOWED, Options
from patina.pipeline.recipe.recipe import Recipe
from patina.synth.image import Image
from tests.pipeline.making import Built, encoded, photo, photos, picture, pixels, read_built, save, tiny_recipe

WIDTH, HEIGHT = 64, 48
SHOT = picture(WIDTH, HEIGHT, seed=1000)
GREY = np.repeat(SHOT[..., 1:2], 3, axis=2)
ANY_PHOTO = Options(max_set_aside=0.5)


def converted(image: Image, mode: str, kind: str, **how: Any) -> bytes:
    """The picture in another of Pillow's modes, as a file."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).convert(mode).save(buffer, kind, **how)
    return buffer.getvalue()


def by_pillow(data: bytes) -> Image:
    """What Pillow makes of a file: what an 8-bit file without rotation or alpha should decode to."""
    return np.array(PIL.Image.open(io.BytesIO(data)).convert("RGB"))


def several(kind: str) -> bytes:
    """A file of three pictures."""
    first, *others = [PIL.Image.fromarray(picture(WIDTH, HEIGHT, seed)) for seed in (1001, 1002, 1003)]
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others)
    return buffer.getvalue()


def cut(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def with_alpha(least: int) -> Image:
    """The picture under an alpha channel that is 255 but for one pixel of `least`."""
    alpha = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    alpha[20, 30] = least
    return np.concatenate([SHOT, alpha], axis=2)


def palette_with_transparency() -> bytes:
    flat = PIL.Image.fromarray(SHOT).quantize(16)
    buffer = io.BytesIO()
    flat.save(buffer, "PNG", transparency=flat.getpixel((5, 5)))
    return buffer.getvalue()


def huge_header(width: int = 60_000, height: int = 60_000) -> bytes:
    """The first bytes of a PNG that claims to be huge, and a pixel's worth of data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND")


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


# 16-bit levels that are no multiples of 257, so that rounding, cutting and shifting all give different pictures.
WIDE = np.clip(SHOT.astype(int) * 257 + np.random.default_rng(3).integers(-128, 129, SHOT.shape), 0, 65535).astype(
    np.uint16
)
WIDE_AS_8 = np.rint(WIDE / 257).astype(np.uint8)


def sixteen(suffix: str, image: np.ndarray = WIDE) -> bytes:
    """A 16-bit file, by OpenCV: Pillow writes no 16-bit colour."""
    done, data = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image)
    assert done
    return data.tobytes()


def turned_sixteen(orientation: int) -> bytes:
    """A 16-bit PNG with an EXIF rotation."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    plain = sixteen(".png")
    end_of_header = 33
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    return plain[:end_of_header] + chunk(b"eXIf", body) + plain[end_of_header:]


# File name: its bytes, and the pixels that its GT must have.
HANDLED: dict[str, tuple[bytes, Image]] = {
    "png.png": (encoded(SHOT, "PNG"), SHOT),
    "jpeg.jpg": ((j := encoded(SHOT, "JPEG", quality=90)), by_pillow(j)),
    "progressive.jpeg": ((j := encoded(SHOT, "JPEG", quality=70, progressive=True)), by_pillow(j)),
    "UPPER CASE.JPG": ((j := encoded(SHOT, "JPEG", quality=91)), by_pillow(j)),
    "a png in truth.jpg": (encoded(SHOT, "PNG", compress_level=1), SHOT),
    "webp.webp": (encoded(SHOT, "WEBP", lossless=True), SHOT),
    "bmp.bmp": (encoded(SHOT, "BMP"), SHOT),
    "tiff.tif": (encoded(SHOT, "TIFF"), SHOT),
    "ppm.ppm": (encoded(SHOT, "PPM"), SHOT),
    "still.gif": ((g := encoded(SHOT, "GIF")), by_pillow(g)),
    "cmyk.jpg": ((c := converted(SHOT, "CMYK", "JPEG", quality=95)), by_pillow(c)),
    "grey.jpg": ((g := encoded(SHOT[..., 1], "JPEG", quality=90)), by_pillow(g)),
    "grey.png": (encoded(SHOT[..., 1], "PNG"), GREY),
    "bilevel.png": ((b := converted(SHOT, "1", "PNG")), by_pillow(b)),
    "palette.png": ((p := converted(SHOT, "P", "PNG")), by_pillow(p)),
    "opaque rgba.png": (encoded(with_alpha(255), "PNG"), SHOT),
    "opaque palette.webp": (encoded(with_alpha(255), "WEBP", lossless=True), SHOT),
    "16-bit grey.png": (sixteen(".png", WIDE[..., 1]), np.repeat(WIDE_AS_8[..., 1:2], 3, axis=2)),
    "16-bit rgb.png": (sixteen(".png"), WIDE_AS_8),
    "16-bit rgb.tif": (sixteen(".tiff"), WIDE_AS_8),
    "16-bit grey.pgm": (sixteen(".pgm", WIDE[..., 1] // 2), np.repeat(np.rint(WIDE[..., 1:2] // 2 / 257), 3, axis=2)),
    "16-bit turned.png": (turned_sixteen(6), np.rot90(WIDE_AS_8, -1)),
    "phone.mpo": ((m := several("MPO")), by_pillow(m)),
    "no end mark.png": (encoded(SHOT, "PNG", compress_level=2)[:-12], SHOT),
    "16x16.png": (encoded(SHOT[:16, :16], "PNG"), SHOT[:16, :16]),
}

# File name: its bytes, and the reason in the manifest, whole or as a regular expression.
SET_ASIDE: dict[str, tuple[bytes, str]] = {
    "truncated.jpg": (cut(encoded(SHOT, "JPEG")), r"cannot be decoded: image file is truncated .*"),
    "truncated.png": (cut(encoded(SHOT, "PNG")), r"cannot be decoded: .*truncated.*"),
    "truncated 16-bit.png": (cut(sixteen(".png")), r"cannot be decoded: .*truncated.*"),
    "damaged.png": (encoded(SHOT, "PNG").replace(b"IDAT", b"IDAT\xff\xff", 1), r"is damaged: its chunk IDAT .*"),
    "empty.jpg": (b"", r"the file is empty \(0 bytes\)"),
    "text.jpg": (b"Dear diary, today ...", r"not an image in a known format \(it starts with b'Dear dia'\)"),
    "page.jpg": (b"<!DOCTYPE html><title>404", r"not an image in a known format \(it starts with b'<!DOCTYP'\)"),
    "transparent palette.png": (palette_with_transparency(), r"is partly transparent.*flatten it first"),
    "transparent rgba.png": (encoded(with_alpha(254), "PNG"), r"is partly transparent.*flatten it first"),
    "float.tif": (
        encoded(SHOT[..., 0].astype(np.float32), "TIFF"),
        r"has 32 bits a channel; convert it to 8 or 16 bi.*",
    ),
    "animated.gif": (several("GIF"), r"holds 3 frames or pages; export the one you want as a still"),
    "animated.webp": (several("WEBP"), r"holds 3 frames or pages; .*"),
    "animated.png": (several("PNG"), r"holds 3 frames or pages; .*"),
    "pages.tiff": (several("TIFF"), r"holds 3 frames or pages; .*"),
    "1x1.png": (encoded(SHOT[:1, :1], "PNG"), r"1×1 px is too small; at least 16 px a side are needed"),
    "15x40.png": (encoded(SHOT[:40, :15], "PNG"), r"15×40 px is too small; .*"),
    "huge.png": (huge_header(), r"60000×60000 is 3,600 megapixels, more than 100; cut it into smaller photographs"),
}

# Names that are hard to store, to print or to parse; every one holds a good photograph.
NAMES: tuple[bytes, ...] = (
    b"two words.png",
    b'it\'s "quoted".png',
    b"back\\slash.png",
    b"-rf.png",
    b"$(reboot) `x` & ; | * ?.png",
    b"many.dots.in.one.name.png",
    b"trailing dot..png",
    b"new\nline.png",
    b"tab\tand\rreturn.png",
    b"\x1b[31mred\x1b]0;title\x07.png",
    b"undecodable-\xff\xfe.png",
    "Ünïcödé-nfc.png".encode(),
    unicodedata.normalize("NFD", "Ünïcödé-nfd.png").encode(),
    "写真 📷.png".encode(),
    "right-to-left \u202egnp.png".encode(),
    b"n" * 251 + b".png",
    b"%s {0} $HOME ~.png",
    b"deep/er/and deeper/leaf.png",
    b"folder.jpg/leaf.png",
)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """One build of everything above, among good photographs."""
    folder = tmp_path_factory.mktemp("mixed")
    source = folder / "photos"
    photos(source, 20, WIDTH, HEIGHT)
    for name, (data, _) in {**HANDLED, **SET_ASIDE}.items():
        (source / name).write_bytes(data)
    for seed, name in enumerate(NAMES):
        path = Path(os.fsdecode(os.fsencode(source) + b"/" + name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(20, 20, seed), "PNG"))
    (source / "dangling.jpg").symlink_to(source / "nowhere.jpg")
    os.mkfifo(source / "pipe.jpg")
    (source / "device.jpg").symlink_to("/dev/zero")
    (source / "empty folder.png").mkdir()
    (source / "notes.txt").write_text("not a photograph, and not taken for one")
    (source / ".hidden.jpg").write_bytes(b"hidden")
    build(tiny_recipe(folder), folder / "out", ANY_PHOTO)
    return read_built(folder / "out")


def gt_pixels(built: Built, name: str) -> Image:
    """The one sample of a source: its GT as any reader decodes it."""
    (sample,) = built.samples[name]
    return pixels(sample.gt[1])


@pytest.mark.parametrize("name", HANDLED)
def test_is_handled(mixed: Built, name: str) -> None:
    assert name not in mixed.set_aside
    np.testing.assert_array_equal(gt_pixels(mixed, name), HANDLED[name][1])


@pytest.mark.parametrize("name", SET_ASIDE)
def test_is_set_aside_with_its_reason(mixed: Built, name: str) -> None:
    assert name not in mixed.samples
    assert re.fullmatch(SET_ASIDE[name][1], mixed.set_aside[name])


def test_nothing_else_is_set_aside(mixed: Built) -> None:
    special = {"dangling.jpg", "pipe.jpg", "device.jpg"}
    assert set(mixed.set_aside) == set(SET_ASIDE) | special
    assert mixed.set_aside["dangling.jpg"] == "cannot be read: No such file or directory"
    assert (
        mixed.set_aside["pipe.jpg"]
        == mixed.set_aside["device.jpg"]
        == ("is a pipe, a socket or a device, and no plain file")
    )


def test_every_good_photograph_is_there(mixed: Built) -> None:
    assert {f"good-{i:03d}.png" for i in range(20)} <= set(mixed.samples)
    assert ".hidden.jpg" not in mixed.samples


def test_cmyk_keeps_its_colours(mixed: Built) -> None:
    """Adobe's CMYK JPEGs are stored inverted; read naively they come out as negatives."""
    difference = gt_pixels(mixed, "cmyk.jpg").astype(int) - SHOT
    assert np.abs(difference).mean() < 3


def test_sixteen_bits_are_rounded_and_not_cut(mixed: Built) -> None:
    stored = gt_pixels(mixed, "16-bit rgb.png")
    assert (stored != WIDE >> 8).any()
    np.testing.assert_array_equal(stored, np.rint(WIDE / 257))


def test_every_16_bit_level_is_rounded_to_the_nearest_of_8() -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    np.testing.assert_array_equal(decode(sixteen(".png", levels)).image[..., 0], np.rint(levels / 257))


@pytest.mark.parametrize("name", ["png.png", "jpeg.jpg", "progressive.jpeg", "a png in truth.jpg"])
def test_the_gt_is_the_very_file_where_nothing_was_changed(mixed: Built, name: str) -> None:
    (sample,) = mixed.samples[name]
    suffix, data = sample.gt
    assert data == HANDLED[name][0]
    assert suffix == ("jpg" if data[:2] == b"\xff\xd8" else "png")


@pytest.mark.parametrize("name", sorted(set(HANDLED) - {"png.png", "jpeg.jpg", "progressive.jpeg", "UPPER CASE.JPG"}))
def test_the_gt_is_plain_rgb_that_every_reader_decodes_alike(mixed: Built, name: str) -> None:
    (sample,) = mixed.samples[name]
    data = sample.gt[1]
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(by_opencv[..., ::-1], pixels(data))


def printed(name: bytes) -> str:
    """The name that patina gives to such a file: bytes that are no UTF-8 and control characters as escapes."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@pytest.mark.parametrize("raw", NAMES, ids=range(len(NAMES)))
def test_any_name_will_do(mixed: Built, raw: bytes) -> None:
    (sample,) = mixed.samples[printed(raw)]
    np.testing.assert_array_equal(pixels(sample.gt[1]), picture(20, 20, NAMES.index(raw)))
    assert "." not in sample.key


def test_all_that_is_printed_is_printable(mixed: Built) -> None:
    told = [*mixed.samples, *mixed.set_aside, *mixed.set_aside.values(), *mixed.manifest.notes]
    assert all(text.isprintable() for text in told)
    assert r"\x1b[31mred\x1b]0;title\x07.png" in told


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotated_jpeg_is_stored_upright(tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = photo(tmp_path / "photos" / "phone.jpg", exif=exif.tobytes(), quality=90)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    (sample,) = read_built(tmp_path / "out").samples["phone.jpg"]
    suffix, data = sample.gt
    np.testing.assert_array_equal(pixels(data), np.array(PIL.ImageOps.exif_transpose(PIL.Image.open(path))))
    assert suffix == ("jpg" if orientation == 1 else "png")  # a reader that ignores EXIF must see it upright
    assert pixels(data).shape == pixels(sample.lq[1]).shape


def test_a_huge_header_is_refused_before_a_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: PIL.ImageFile.ImageFile) -> None:
        raise AssertionError("decoding began")

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", load)
    with pytest.raises(BadImageError, match="3,600 megapixels"):
        decode(huge_header())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_forbidden_file_is_set_aside(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "good-000.png").chmod(0)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    assert read_built(tmp_path / "out").set_aside == {"good-000.png": "cannot be read: Permission denied"}


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passed over, its photographs would leave the dataset without a word."""
    photos(tmp_path / "photos", 2)
    photos(tmp_path / "photos" / "forbidden", 2, first=10)
    listed = os.scandir

    def scandir(path: str) -> Any:
        if str(path).endswith("forbidden"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(SourceError, match=r"path: cannot list the folder .*forbidden: Permission denied"):
        build(tiny_recipe(tmp_path), tmp_path / "out")


def test_linked_folders_are_followed_and_a_loop_ends(tmp_path: Path) -> None:
    photos(tmp_path / "elsewhere", 2)
    photos(tmp_path / "photos", 1, first=10)
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "loop").symlink_to(tmp_path / "photos")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "photos")
    build(tiny_recipe(tmp_path), tmp_path / "out")
    assert {"good-000.png", "link/good-000.png", "link/good-001.png"} == set(read_built(tmp_path / "out").samples)


# ---------------------------------------------------------------------------------------------------------------------
# Duplicates


def test_the_same_bytes_under_two_names_are_one_source(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    (tmp_path / "photos" / "copy.png").write_bytes((tmp_path / "photos" / "good-000.png").read_bytes())
    build(tiny_recipe(tmp_path), tmp_path / "out")
    names = {tuple(row["names"]) for row in read_sources(tmp_path / "out")}
    assert names == {("copy.png", "good-000.png"), ("good-001.png",)}
    manifest = read_built(tmp_path / "out").manifest
    assert (manifest.sources, manifest.duplicates, manifest.shards[0].count) == (2, 1, 2)


def test_the_same_pixels_in_different_bytes_are_two_sources(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "small.png", SHOT, compress_level=9)
    save(tmp_path / "photos" / "large.png", SHOT, compress_level=0)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    built = read_built(tmp_path / "out")
    assert (built.manifest.sources, built.manifest.duplicates) == (2, 0)
    assert built.samples["small.png"][0].lq != built.samples["large.png"][0].lq  # each has its own seed


# ---------------------------------------------------------------------------------------------------------------------
# Budgets and whole sources


def test_a_mended_file_comes_back_by_itself(tmp_path: Path) -> None:
    recipe, out = tiny_recipe(tmp_path), tmp_path / "out"
    broken = photos(tmp_path / "photos", 3)[1]
    whole = broken.read_bytes()
    broken.write_bytes(cut(whole))
    build(recipe, out)
    assert set(read_built(out).set_aside) == {"good-001.png"}
    broken.write_bytes(whole)
    report = build(recipe, out)
    assert set(read_built(out).samples) == {"good-000.png", "good-001.png", "good-002.png"}
    assert read_built(out).set_aside == {}
    assert [(r.synthesised, r.copied) for r in report.results] == [(1, 2)]


def broken_among(folder: Path, bad: int, good: int) -> None:
    (folder / "photos").mkdir(exist_ok=True)
    photos(folder / "photos", good, 16, 16)
    for i in range(bad):
        (folder / "photos" / f"bad-{i}.jpg").write_bytes(b"")


def test_strict_makes_the_first_bad_input_an_error(tmp_path: Path) -> None:
    broken_among(tmp_path, bad=1, good=3)
    with pytest.raises(BuildError) as caught:
        build(tiny_recipe(tmp_path), tmp_path / "out", Options(strict=True))
    assert str(caught.value) == (
        "1 of 4 inputs cannot be used, and --strict was asked for:\n  bad-0.jpg: the file is empty (0 bytes)"
    )
    assert load_manifest(tmp_path / "out") is None


def test_too_many_bad_inputs_stop_a_build(tmp_path: Path) -> None:
    broken_among(tmp_path, bad=12, good=20)
    with pytest.raises(BuildError) as caught:
        build(tiny_recipe(tmp_path), tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "12 of 32 inputs cannot be used, more than the 10 allowed (--max-set-aside 0.05; 10 are always allowed, but "
        "never more than half); are the sources what you meant?"
    )
    assert lines[-1] == "  … and 7 more"
    assert len(build(tiny_recipe(tmp_path), tmp_path / "out", Options(max_set_aside=0.4)).planned.refusals) == 12


def test_the_inputs_that_are_always_allowed_are_told_wherever_the_share_is() -> None:
    from patina import build as public_build
    from patina.flows.build_dataset import build_dataset
    from patina.flows.cli.options import AsideOption

    told = [public_build.__doc__, build_dataset.fn.__doc__, AsideOption.__metadata__[0].help]
    assert ALWAYS_ALLOWED == 10
    assert all("ten are always allowed, but never more than half" in " ".join(text.lower().split()) for text in told)


def test_half_of_a_few_is_the_most_that_is_set_aside(tmp_path: Path) -> None:
    broken_among(tmp_path, bad=2, good=1)
    with pytest.raises(BuildError, match="2 of 3 inputs cannot be used, more than the 1 allowed"):
        build(tiny_recipe(tmp_path), tmp_path / "out", Options(max_set_aside=1))


def test_a_failed_build_leaves_the_dataset_as_it_was(tmp_path: Path) -> None:
    broken_among(tmp_path, bad=0, good=2)
    build(tiny_recipe(tmp_path), tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("[!.]*/**/*") if path.is_file()}
    broken_among(tmp_path, bad=9, good=2)
    with pytest.raises(BuildError):
        build(tiny_recipe(tmp_path), tmp_path / "out")
    assert {path: path.read_bytes() for path in before} == before


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    broken_among(tmp_path, bad=2, good=0)
    with pytest.raises(BuildError, match=r"no photograph can be used; 2 were set aside:\n  bad-0.jpg: the file is emp"):
        build(tiny_recipe(tmp_path), tmp_path / "out")


def test_a_missing_folder_says_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match=r"\[\[sources\]\] 1: path: expected a folder of photographs at .*, found noth"
    ):
        build(tiny_recipe(tmp_path), tmp_path / "out")
    (tmp_path / "photos").write_text("a file")
    with pytest.raises(SourceError, match="found a file"):
        build(tiny_recipe(tmp_path), tmp_path / "out")


def test_an_empty_folder_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SourceError, match=r"path: expected photographs below .*photos, found none$"):
        build(tiny_recipe(tmp_path), tmp_path / "out")
    (tmp_path / "photos" / "notes.txt").write_text("")
    with pytest.raises(SourceError, match=r"found none \(1 other files, 0 images outside `include`\)"):
        build(tiny_recipe(tmp_path), tmp_path / "out")
    photos(tmp_path / "photos", 2)
    nothing = tiny_recipe(tmp_path, sources=[{"path": "photos", "include": "*.jpg"}])
    with pytest.raises(SourceError, match=r"found none \(1 other files, 2 images outside `include`\)"):
        build(nothing, tmp_path / "out")


def test_a_dataset_inside_the_photo_folder_is_not_scanned(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    recipe, out = tiny_recipe(tmp_path), tmp_path / "photos" / "my dataset"
    build(recipe, out)
    photo(out / "gallery" / "picture.png", seed=77)
    assert build(recipe, out).planned.plan.is_empty
    assert set(read_built(out).samples) == {"good-000.png", "good-001.png"}


# ---------------------------------------------------------------------------------------------------------------------
# Sources that do not rest


class Meddler(Threads):
    """Runs shards like `Threads`, but does something to the sources just before, as often as it is told."""

    def __init__(self, meddle: Callable[[int], None], times: int = 1) -> None:
        super().__init__()
        self._meddle, self._times = meddle, times
        self.rounds = 0

    def map(self, step: str, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        self.rounds += 1
        if self.rounds <= self._times:
            self._meddle(self.rounds)
        return super().map(step, function, items)


def test_a_source_that_changes_under_way_is_read_anew(tmp_path: Path) -> None:
    path = photos(tmp_path / "photos", 3)[1]
    runner = Meddler(lambda _: save(path, SHOT) and None)
    build(tiny_recipe(tmp_path), tmp_path / "out", runner=runner)
    assert runner.rounds == 2
    built = read_built(tmp_path / "out")
    assert built.manifest.sources == 3
    np.testing.assert_array_equal(gt_pixels(built, "good-001.png"), SHOT)


def test_a_source_that_vanishes_under_way_is_left_out(tmp_path: Path) -> None:
    path = photos(tmp_path / "photos", 3)[1]
    build(tiny_recipe(tmp_path), tmp_path / "out", runner=Meddler(lambda _: path.unlink()))
    assert set(read_built(tmp_path / "out").samples) == {"good-000.png", "good-002.png"}


def test_a_source_that_never_rests_stops_the_build(tmp_path: Path) -> None:
    path = photos(tmp_path / "photos", 2)[0].rename(tmp_path / "photos" / "restless \x1b.png")
    runner = Meddler(lambda round_: save(path, picture(seed=100 + round_)) and None, times=99)
    with pytest.raises(
        BuildError, match=r"sources keep changing while they are read, such as .*; build when "
    ) as caught:
        build(tiny_recipe(tmp_path), tmp_path / "out", runner=runner)
    assert str(caught.value).isprintable()
    assert load_manifest(tmp_path / "out") is None


def test_bytes_that_change_back_and_forth_give_one_dataset(tmp_path: Path) -> None:
    """Same size, same second: only a digest tells, and the stat alone is not believed."""
    path = save(tmp_path / "photos" / "a.bmp", SHOT)
    recipe, out = tiny_recipe(tmp_path), tmp_path / "out"
    reports: list[BuildResult] = []
    for image in (SHOT, SHOT[::-1], SHOT):
        save(path, image)
        reports.append(build(recipe, out))
        np.testing.assert_array_equal(gt_pixels(read_built(out), "a.bmp"), image)
    assert reports[0].manifest.digest == reports[2].manifest.digest != reports[1].manifest.digest


# ---------------------------------------------------------------------------------------------------------------------
# Captions that a model makes, which takes hours


@dataclass(frozen=True)
class Model(Captioner):
    """A captioner whose captions are kept: it looks at pixels, and something may happen while it does."""

    name: ClassVar[str] = "model"
    version: ClassVar[int] = 1
    stored: ClassVar[bool] = True
    meddle: ClassVar[Callable[[], None]]

    def settings(self) -> dict[str, Any]:
        return {}

    def caption(self, photos: Sequence[Photo]) -> list[Caption]:
        Model.meddle()
        return [self._caption(photo) for photo in photos]

    def _caption(self, photo: Photo) -> Caption:
        try:
            level = photo.load().mean()
        except Exception:
            return Caption("", "the model could not read it")
        return Caption("", "the model has no words") if level > 250 else Caption(f"a picture of level {level:.3f}")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Three photographs, and a recipe whose captions the model makes."""
    monkeypatch.setitem(CAPTIONERS, "model", Model)
    monkeypatch.setattr(Model, "meddle", lambda: None, raising=False)
    photos(tmp_path / "photos", 3)
    return tiny_recipe(tmp_path, captions={"kind": "model"})


def captions_are_right(built: Built) -> bool:
    stored = [sample for samples in built.samples.values() for sample in samples]
    return all(s.members["txt"].decode() == f"a picture of level {pixels(s.gt[1]).mean():.3f}" for s in stored)


def test_no_sample_without_a_caption(tmp_path: Path, model: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes or changes while captions are made is captioned too, and no caption is kept for other bytes."""
    rounds = iter(range(9))

    def meddle() -> None:
        if next(rounds) == 0:
            photo(tmp_path / "photos" / "good-000.png", seed=70)
            photo(tmp_path / "photos" / "new.png", seed=71)

    monkeypatch.setattr(Model, "meddle", meddle)
    build(model, tmp_path / "out")
    built = read_built(tmp_path / "out")
    assert set(built.samples) == {"good-000.png", "good-001.png", "good-002.png", "new.png"}
    assert captions_are_right(built)
    photo(tmp_path / "photos" / "good-000.png", seed=0)  # as it was before
    build(model, tmp_path / "out")
    assert captions_are_right(read_built(tmp_path / "out"))


def test_what_a_model_cannot_caption_is_set_aside(tmp_path: Path, model: Recipe) -> None:
    save(tmp_path / "photos" / "white.png", np.full((20, 20, 3), 255, np.uint8))
    report = build(model, tmp_path / "out")
    assert report.captions_made == 3
    built = read_built(tmp_path / "out")
    assert built.set_aside == {"white.png": "the model has no words"}
    assert set(built.samples) == {"good-000.png", "good-001.png", "good-002.png"}
    again = build(model, tmp_path / "out")
    assert (again.results, again.captions_made) == ((), 0)


def test_a_fallback_says_what_a_model_cannot(tmp_path: Path, model: Recipe) -> None:
    save(tmp_path / "photos" / "white.png", np.full((20, 20, 3), 255, np.uint8))
    build(tiny_recipe(tmp_path, captions={"kind": "model", "fallback": "template"}), tmp_path / "out")
    (white,) = read_built(tmp_path / "out").samples["white.png"]
    assert white.members["txt"] == b"a bright square photograph"
