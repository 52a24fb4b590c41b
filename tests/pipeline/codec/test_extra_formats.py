"""HEIC, HEIF and JPEG XL, where the extra [formats] is installed; and what is said where it is not."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec import extra_formats
from patina.pipeline.codec.decode import SUFFIXES, decode
from patina.pipeline.codec.extra_formats import INSTALLED, SMALL_PICTURES, JxlHeader, jxl_header
from patina.pipeline.codec.fingerprint import extra_fingerprint, machine_fingerprint
from patina.pipeline.errors import BadImageError
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.plan.wanted import AssignedCaption, Wanted
from patina.pipeline.scan import digests
from patina.pipeline.scan.source import ImageInfo, Source
from patina.training.restore.photo import encode_photo, read_photo
from tests.pipeline.making import photos, picture, tiny_recipe

heif = pytest.mark.skipif("HEIF" not in INSTALLED, reason="pillow-heif is not installed")
jxl = pytest.mark.skipif("JXL" not in INSTALLED, reason="pillow-jxl-plugin is not installed")
absent = pytest.mark.skipif(bool(INSTALLED), reason="the extra [formats] is installed")

# 20×16 px: left of the middle one level, right of it another. Made with libjxl 0.11.2, without loss.
RGB_10 = "/wqDUUDRIggEAQCIAEsYixUAXBgvxouRMfICIQBE1hEAKBbhNQwFAa0KaElNEFk="
RGB_16 = (
    "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAAJanhsbAoAAAA+anhsY/8Kg/EDULQICAQBAKAASxiLFQDcGS/G4LgYGSMvEAKAJB4BwCIy"
    "gNc/DMChMu3q48Yi7U5QHQ=="
)
GREY_10 = "/wqDUVC0CAgEAQBsAEsYixUAXO4uxhjjxXgXAAEAgbBigVYQSQwQNg=="  # 700 and 90 of 1023
FRAMES = (
    "/wqDBU0AICYIBAEAgABLGIsVANSMdzEyRl4gBABIOgKARGKvGIpBU8K0mvDAAAgEBQCAAEsYixUA1Ix3MTJGXiAEAEg6AoBEYq8YikFTwrSa8MAA"
)
FLOATS = (
    "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAAJanhsbAoAAABIanhsY/8Kg8kBFC0CCAQBAMgASzhomMKD9xUUxBTx5Isx+LSLwS03an4t"
    "hOWVl5e3/frryysvb+379ddDIJdXXv7rrwc="
)


def saved(image: np.ndarray, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, kind, **how)
    return buffer.getvalue()


def wide_heif(mode: str, levels: np.ndarray) -> bytes:
    """Levels of 16 bits as a HEIC picture of 10, nearly without loss."""
    import pillow_heif

    buffer = io.BytesIO()
    height, width = levels.shape[:2]
    file = pillow_heif.from_bytes(mode=mode, size=(width, height), data=levels.tobytes())
    file.save(buffer, quality=-1, chroma=444)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (RGB_10, JxlHeader(20, 16, 10, False)),
        (RGB_16, JxlHeader(20, 16, 16, False)),
        (GREY_10, JxlHeader(20, 16, 10, False)),
        (FRAMES, JxlHeader(20, 16, 8, True)),
        (FLOATS, JxlHeader(20, 16, 32, False)),
        (SMALL_PICTURES["JXL"], JxlHeader(64, 48, 8, False)),
    ],
)
def test_a_jpeg_xl_header_is_read_without_any_library(data: str, header: JxlHeader) -> None:
    assert jxl_header(base64.b64decode(data)) == header


@pytest.mark.parametrize(
    "data", [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\0jxlp\0\0"]
)
def test_a_jpeg_xl_header_that_is_cut_off_ends_in_words(data: bytes) -> None:
    with pytest.raises(BadImageError, match="its header cannot be read"):
        jxl_header(data)


@absent
@pytest.mark.parametrize(("format", "kind"), [("HEIF", "HEIC"), ("JXL", "JPEG XL")])
def test_without_the_extra_such_a_file_names_it_whatever_its_suffix(format: str, kind: str) -> None:
    hint = rf"is a picture of the format {kind}, which is not read: pip install 'patina-ir\[formats\]', or convert"
    with pytest.raises(BadImageError, match=hint):
        decode(base64.b64decode(SMALL_PICTURES[format]))


@heif
def test_heic_pixels_are_those_of_its_picture() -> None:
    image = picture()
    decoded = decode(saved(image, "HEIF", quality=-1, chroma=444))
    assert (decoded.format, decoded.suffix, decoded.lost) == ("HEIF", "", ())
    assert np.abs(decoded.image.astype(int) - image).max() <= 2, "libheif has no lossless RGB"
    assert {".heic", ".heif", ".hif"} <= SUFFIXES


@heif
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_picture_is_turned_once(orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x112] = orientation
    image = picture(96, 64)
    upright = decode(saved(image, "PNG", exif=exif)).image
    found = decode(saved(image, "HEIF", quality=90, exif=exif.tobytes())).image
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 6


@heif
@pytest.mark.parametrize("mode", ["RGB;16", "RGBA;16", "L;16"])
def test_a_heic_picture_of_10_bits_is_rounded_to_8_and_not_cut_off(mode: str) -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint16) * 1023 // 63 << 6, (48, 1))
    bands = {"L": 1, "RGB": 3, "RGBA": 4}[mode.partition(";")[0]]
    levels = ramp if bands == 1 else np.repeat(ramp[..., None], bands, axis=2)
    if bands == 4:
        levels[..., 3] = 65535
    decoded = decode(wide_heif(mode, levels))
    assert decoded.lost[0] == "10 bits a channel"
    exact = (levels[..., :1] if bands > 1 else levels[..., None]) >> 6
    expected = (exact.astype(int) * 255 + 511) // 1023
    assert (np.abs(decoded.image - expected) <= 1).all()
    assert abs(float((decoded.image - expected).mean())) < 0.1, "cut off, they would be darker by a half"


@heif
def test_a_heic_picture_that_is_cut_off_transparent_or_one_of_several_is_told() -> None:
    whole = saved(picture(), "HEIF", quality=80)
    for end in (40, len(whole) // 2, len(whole) - 100, len(whole) - 1):
        with pytest.raises(BadImageError):
            decode(whole[:end])
    alpha = np.full((48, 64, 1), 255, np.uint8)
    assert decode(saved(np.dstack([picture(), alpha]), "HEIF")).lost == ("alpha channel",)
    alpha[10:] = 90
    with pytest.raises(BadImageError, match="partly transparent"):
        decode(saved(np.dstack([picture(), alpha]), "HEIF"))
    several = saved(picture(), "HEIF", save_all=True, append_images=[PIL.Image.fromarray(picture(seed=1))])
    assert decode(several).lost == ("further pictures",)
    assert np.abs(decode(several).image.astype(int) - picture()).mean() < 12, "the first one is the photograph"


@jxl
def test_jpeg_xl_pixels_are_those_of_its_picture() -> None:
    image = picture()
    decoded = decode(saved(image, "JXL", lossless=True))
    assert (decoded.format, decoded.suffix, decoded.lost) == ("JXL", "", ())
    assert np.array_equal(decoded.image, image)
    assert ".jxl" in SUFFIXES
    grey = decode(base64.b64decode(GREY_10))
    assert grey.lost[0] == "10 bits a channel"
    assert grey.image[0, 0].tolist() == [(700 * 255 + 511) // 1023] * 3
    assert grey.image[0, 19].tolist() == [(90 * 255 + 511) // 1023] * 3


@jxl
def test_the_exif_data_of_a_jpeg_xl_picture_turn_nothing() -> None:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    data = saved(picture(96, 64), "JXL", lossless=True, use_container=True, exif=exif.tobytes())
    assert np.array_equal(decode(data).image, picture(96, 64)), "the codestream alone says how it lies"


@jxl
@pytest.mark.filterwarnings("ignore:Using JPEG reconstruction")
def test_a_jpeg_file_within_jpeg_xl_is_that_file(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x112] = 6
    PIL.Image.fromarray(picture(96, 64)).save(tmp_path / "a.jpg", quality=90, exif=exif)
    with PIL.Image.open(tmp_path / "a.jpg") as jpeg:
        jpeg.save(tmp_path / "a.jxl", lossless_jpeg=True)
    jpeg_pixels = decode((tmp_path / "a.jpg").read_bytes()).image
    assert np.array_equal(decode((tmp_path / "a.jxl").read_bytes()).image, jpeg_pixels)
    assert jpeg_pixels.shape == (96, 64, 3)


@jxl
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (RGB_10, "in colour of 10 bits a channel, of which its library hands out 8, cut off and not rounded"),
        (RGB_16, "in colour of 16 bits a channel"),
        (FRAMES, "holds several frames"),
        (FLOATS, "has 32 bits a channel"),
    ],
)
def test_jpeg_xl_that_would_be_read_wrongly_is_refused(data: str, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason):
        decode(base64.b64decode(data))


@jxl
def test_a_jpeg_xl_picture_that_is_cut_off_or_too_large_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = saved(picture(), "JXL", lossless=True)
    for end in (2, 30, len(whole) // 2, len(whole) - 1):
        with pytest.raises(BadImageError, match="cut off"):
            decode(whole[:end])
    monkeypatch.setattr(PIL.Image, "open", None)
    huge = bytearray(base64.b64decode("/wq8VwE+nACC4kYIAgEAeAIAAAAA"))  # of 11000×10000 px, its header alone
    with pytest.raises(BadImageError, match="megapixels"):
        decode(bytes(huge))


@heif
def test_a_dataset_of_heic_photographs_is_built_and_depends_on_their_library_alone(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 1)
    recipe = tiny_recipe(tmp_path)
    (before,) = plan_build(recipe, tmp_path / "out", Options()).wanted.shards
    assert before.sources[0].extras == ()
    (tmp_path / "photos" / "good-000.png").unlink()
    (tmp_path / "photos" / "phone.HEIC").write_bytes(saved(picture(), "HEIF"))
    planned = build(recipe, tmp_path / "out", Options()).planned
    assert planned.notes == ()
    assert planned.wanted.sources[0].extras == ("HEIF",)
    assert plan_build(recipe, tmp_path / "out", Options()).plan.is_empty


@heif
def test_a_restored_heic_photograph_is_a_jpeg_with_its_data() -> None:
    exif = PIL.Image.Exif()
    exif[0x112], exif[0x10F] = 6, "A phone"
    photograph = read_photo(saved(picture(96, 64), "HEIF", exif=exif.tobytes()))
    assert (photograph.format, photograph.notes) == ("JPEG", ("written as JPEG, not HEIF",))
    data, _ = encode_photo(photograph.image, photograph)
    with PIL.Image.open(io.BytesIO(data)) as restored:
        assert (restored.format, restored.size) == ("JPEG", (64, 96))
        assert restored.getexif()[0x10F] == "A phone"
        assert restored.getexif().get(0x112, 1) == 1


def source(extra: str = "", lq_extra: str = "") -> Source:
    info = ImageInfo(width=64, height=48, extra=extra)
    return Source("ab" * 32, "ab" * 32, ("a.png",), ("",), "a.png", 0, "train", 1, info, lq_extra=lq_extra)


@pytest.fixture
def imagined(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Fingerprints of libraries, whether they are installed or not."""
    prints = {"HEIF": "heif 1", "JXL": "jxl 1"}
    for module in ("patina.pipeline.plan.wanted", "patina.pipeline.scan.digests"):
        monkeypatch.setattr(f"{module}.extra_fingerprint", prints.__getitem__)
    yield prints


def test_only_samples_of_such_files_change_with_their_library(tmp_path: Path, imagined: dict[str, str]) -> None:
    recipe = tiny_recipe(tmp_path)

    def marks(*sources: Source) -> list[str]:
        captions = {s.digest: AssignedCaption("a", "b") for s in sources}
        wanted = Wanted(recipe, "codec", captions, sources)
        return [wanted.shards[0].fingerprint for s in sources]

    plain, heic, pair = (lambda: marks(source())), (lambda: marks(source("HEIF"))), (lambda: marks(source("", "JXL")))
    before = plain(), heic(), pair()
    assert len({str(marks) for marks in before}) == 3
    imagined["HEIF"] = "heif 2"
    after = plain(), heic(), pair()
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_what_a_library_had_a_part_in_is_looked_at_again_without_it(
    monkeypatch: pytest.MonkeyPatch, imagined: dict[str, str]
) -> None:
    infos = {"plain": ImageInfo(width=1), "bad": ImageInfo(problem="no"), "heic": ImageInfo(extra="HEIF")}

    def known(store: ScanStore) -> list[str]:
        return [name for name in infos if digests._known_info(store, name)]

    def put(store: ScanStore) -> None:
        import json
        from dataclasses import asdict

        store.put([], [(n, digests._inspector_of(info), json.dumps(asdict(info))) for n, info in infos.items()])

    with ScanStore(None) as store:
        monkeypatch.setattr(digests, "INSTALLED", frozenset({"HEIF"}))
        put(store)
        assert known(store) == ["plain", "bad", "heic"]
        imagined["HEIF"] = "heif 2"
        assert known(store) == ["plain"]
        monkeypatch.setattr(digests, "INSTALLED", frozenset())
        assert known(store) == ["plain"]
        put(store)
        assert "bad" in known(store)
        monkeypatch.setattr(digests, "INSTALLED", frozenset({"JXL"}))
        assert known(store) == ["plain"], "what could not be read may be read now"


def test_machines_with_other_libraries_are_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    from patina.pipeline.codec import fingerprint

    monkeypatch.setattr(fingerprint, "INSTALLED", frozenset())
    without = machine_fingerprint.__wrapped__()
    monkeypatch.setattr(fingerprint, "INSTALLED", frozenset({"HEIF"}))
    monkeypatch.setattr(fingerprint, "extra_fingerprint", lambda format: "1")
    assert machine_fingerprint.__wrapped__() != without


@pytest.mark.parametrize("format", sorted(SMALL_PICTURES))
def test_a_fingerprint_of_a_library_is_the_same_twice(format: str) -> None:
    if format not in INSTALLED:
        pytest.skip(f"{extra_formats.DISTRIBUTIONS[format]} is not installed")
    assert extra_fingerprint(format) == extra_fingerprint.__wrapped__(format)
    assert extra_formats.DISTRIBUTIONS[format] in extra_formats.library_version(format)
