"""What a file has and 8-bit RGB has not is told; nothing is told of sound photographs."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.codec.colours import profile_colours
from patina.pipeline.codec.decode import decode
from patina.pipeline.codec.lost import lost_of, told_of_many
from patina.pipeline.codec.png import encode_png
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.plan.planning import Options, plan_build
from tests.pipeline.making import encoded, photo, photos, picture, save, tiny_recipe

SRGB = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


def fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def profile(name: str, primaries: list[tuple[float, float, float]], curve: bytes) -> bytes:
    """An ICC profile of three primaries, adapted to D50, and one tone curve; of none for a grey one."""
    text = name.encode("utf-16-be")
    tags = {b"desc": b"mluc" + struct.pack(">IIIHHII", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text}
    tags |= {k: b"XYZ \0\0\0\0" + fixed(*xyz) for k, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=False)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC") if primaries else (b"kTRC",), curve)
    body, table, place = b"", b"", 132 + 12 * len(tags)
    for key, tag in tags.items():
        table += key + struct.pack(">II", place + len(body), len(tag))
        body += tag
    space = b"RGB " if primaries else b"GRAY"
    return b"\0" * 16 + space + b"\0" * 16 + b"acsp" + b"\0" * 88 + struct.pack(">I", len(tags)) + table + body


def gamma(value: float) -> bytes:
    return b"curv" + struct.pack(">IIH", 0, 1, round(value * 256))


OF_SRGB = [(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)]
OF_P3 = [(0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)]
OF_ADOBE = [(0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)]
PARAMETRIC = b"para" + struct.pack(">IHH", 0, 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
TABLE = b"curv" + struct.pack(">II1024H", 0, 1024, *(round(65535 * (i / 1023) ** 2.2) for i in range(1024)))


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (SRGB, ""),
        (profile("c2", OF_SRGB, gamma(2.2)), ""),
        (profile("sRGB", OF_SRGB, PARAMETRIC), ""),
        (profile("a camera's", OF_SRGB, TABLE), ""),
        (profile("Grey", [], gamma(2.2)), ""),
        (profile("Display P3", OF_P3, PARAMETRIC), "Display P3"),
        (profile("Adobe RGB (1998)", OF_ADOBE, gamma(2.19921875)), "Adobe RGB (1998)"),
        (profile("Apple RGB", OF_SRGB, gamma(1.8)), "Apple RGB"),
        (profile("Linear", OF_SRGB, b"curv" + struct.pack(">II", 0, 0)), "Linear"),
        (profile("Dot Gain 20%", [], gamma(1.75)), "Dot Gain 20%"),
        (profile("", OF_P3, PARAMETRIC), "an unnamed profile"),
        (b"\0" * 40, "a profile that cannot be read"),
        (SRGB[:200], "a profile that cannot be read"),
    ],
)
def test_a_profile_is_named_unless_it_is_like_srgb(found: bytes, name: str) -> None:
    assert profile_colours(found) == name


def png_with(kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk, before its pixels."""
    import zlib

    data = encode_png(picture())
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def wide_png(bands: int) -> bytes:
    image = np.dstack([picture().astype(np.uint16) * 257, np.full((48, 64), 65535, np.uint16)])
    return bytes(cv2.imencode(".png", image[..., 0] if bands == 1 else image[..., :bands])[1])


def pillow(kind: str, mode: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture()).convert(mode).save(buffer, kind, **how)
    return buffer.getvalue()


def adobe_by_exif() -> bytes:
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    return pillow("JPEG", "RGB", exif=exif)


LOSSES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "rgb.png": (encode_png(picture()), ()),
    "rgb.jpg": (pillow("JPEG", "RGB", icc_profile=SRGB), ()),
    "grey.jpg": (pillow("JPEG", "L"), ()),
    "bits.png": (pillow("PNG", "1"), ()),
    "rgb.webp": (pillow("WEBP", "RGB"), ()),
    "rgb.tif": (pillow("TIFF", "RGB"), ()),
    "grey16.png": (wide_png(1), ("16 bits a channel",)),
    "rgb16.png": (wide_png(3), ("16 bits a channel",)),
    "rgba16.png": (wide_png(4), ("16 bits a channel", "alpha channel")),
    "rgba.png": (pillow("PNG", "RGBA"), ("alpha channel",)),
    "la.png": (pillow("PNG", "LA"), ("alpha channel",)),
    "palette.png": (pillow("PNG", "P"), ("palette",)),
    "a.gif": (pillow("GIF", "P"), ("palette",)),
    "cmyk.jpg": (pillow("JPEG", "CMYK"), ("CMYK",)),
    "p3.jpg": (pillow("JPEG", "RGB", icc_profile=profile("P3", OF_P3, PARAMETRIC)), ("colours of P3",)),
    "p3.png": (pillow("PNG", "RGB", icc_profile=profile("P3", OF_P3, PARAMETRIC)), ("colours of P3",)),
    "adobe.jpg": (adobe_by_exif(), ("colours of Adobe RGB",)),
    "pq.png": (png_with(b"cICP", bytes([9, 16, 0, 1])), ("colours of BT.2020 PQ",)),
    "cicp.png": (png_with(b"cICP", bytes([1, 13, 0, 1])), ()),
    "gamma.png": (png_with(b"gAMA", struct.pack(">I", 100000)), ("colours of gamma 1.00",)),
    "usual.png": (png_with(b"gAMA", struct.pack(">I", 45455)), ()),
}


@pytest.mark.parametrize(("bits", "lost"), [(8, ()), (10, ("10 bits a channel",)), (12, ("12 bits a channel",))])
@pytest.mark.parametrize("kind", [".avif", "box of 64 bits"])
def test_deep_avif(bits: int, lost: tuple[str, ...], kind: str) -> None:
    image = picture() if bits == 8 else picture().astype(np.uint16) << bits - 8
    data = bytes(cv2.imencode(".avif", image, [cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_SPEED, 10])[1])
    if kind != ".avif":  # first comes a box that says in other words how long it is, and looks like what is sought
        size = struct.unpack_from(">I", data)[0]
        data = data[:size] + struct.pack(">I4sQ", 1, b"free", 23) + b"av1C\x81\x05\x6c" + data[size:]
        assert PIL.Image.open(io.BytesIO(data)).format == "AVIF"
        assert lost_of(PIL.Image.open(io.BytesIO(data)), data) == lost
    else:
        assert decode(data).lost == lost


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_has_its_word_and_sound_files_have_none(name: str) -> None:
    data, losses = LOSSES[name]
    assert decode(data).lost == losses


def test_a_dataset_tells_each_loss_once_with_a_count_and_the_first_example(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    for i, seed in enumerate((5, 6, 7)):
        save(tmp_path / "photos" / f"b{i}.png", np.dstack([picture(seed=seed), np.full((48, 64), 255, np.uint8)]))
    (tmp_path / "photos" / "c.jpg").write_bytes(LOSSES["cmyk.jpg"][0])
    (tmp_path / "photos" / "a.png").write_bytes(LOSSES["rgb16.png"][0])
    told = (
        "1 image, a.png: of the 16 bits a channel, 8 are stored",
        "1 image, c.jpg: stored as RGB, not CMYK",
        "3 images, such as b0.png: the alpha channel, opaque everywhere, is left out",
    )
    recipe = tiny_recipe(tmp_path)
    assert plan_build(recipe, tmp_path / "out", Options()).notes == told
    build(recipe, tmp_path / "out", Options())
    manifest = load_manifest(tmp_path / "out")
    assert manifest
    assert manifest.notes == told
    again = plan_build(recipe, tmp_path / "out", Options())
    assert again.plan.is_empty, "what is known of a file's losses is kept"
    assert again.notes == told


def test_both_files_of_a_pair_are_told_of(tmp_path: Path) -> None:
    photo(tmp_path / "gt" / "a.png")
    (tmp_path / "lq").mkdir()
    (tmp_path / "lq" / "a.png").write_bytes(encoded(picture(), "PNG", icc_profile=profile("P3", OF_P3, PARAMETRIC)))
    sources = [{"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "tinted"}]
    planned = plan_build(tiny_recipe(tmp_path, sources=sources, degradations={}), tmp_path / "out", Options())
    assert f"1 image, a.png: {told_of_many('colours of P3')}" in planned.notes


def test_a_dataset_of_sound_photographs_has_no_note(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    (tmp_path / "photos" / "srgb.jpg").write_bytes(pillow("JPEG", "RGB", icc_profile=SRGB))
    assert plan_build(tiny_recipe(tmp_path), tmp_path / "out", Options()).notes == ()
