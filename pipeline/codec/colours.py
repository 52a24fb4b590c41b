"""Whether a file says that its levels are not those of sRGB: by an ICC profile, or by tags of its format."""

from __future__ import annotations

import struct
from contextlib import suppress

import PIL.Image

from patina.pipeline.codec.wide_png import png_chunks

# Of sRGB: the three primaries' X, Y, Z, adapted to D50 as profiles have them, and light at the middle of its levels.
_PRIMARIES = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
_MIDDLE = 0.214
NEAR, NEAR_MIDDLE = 0.02, 0.04
"""By how much primaries and tone curve of a profile may differ from sRGB's: its copies differ by some thousandths,
curves of a plain gamma of 2.2 or 2.4 by 0.004 and 0.025. Adobe RGB's red is 0.17 away, Display P3's 0.08."""

# Code points of ITU-T H.273, as PNG's chunk cICP and HEIF's nclx have them; what is not named here is like sRGB.
_WIDE = {9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "Display P3"}
_CURVES = {8: "linear light", 16: "PQ", 18: "HLG"}
_INTEROPERABILITY, _ADOBE_RGB = 0xA005, "R03"  # EXIF's folder, and its rule for Adobe RGB


def colours_of(picture: PIL.Image.Image, data: bytes) -> str:
    """What a file calls its colours, such as `Display P3`; "" where they are sRGB's, or nothing is said of them."""
    if profile := picture.info.get("icc_profile"):
        return profile_colours(profile)
    if picture.format == "PNG":
        return _png_colours(picture, data)
    if nclx := picture.info.get("nclx_profile"):
        return _coded(int(nclx.get("color_primaries", 2)), int(nclx.get("transfer_characteristics", 2)))
    with suppress(Exception):  # EXIF data that cannot be read say nothing
        if picture.getexif().get_ifd(_INTEROPERABILITY).get(1) == _ADOBE_RGB:
            return "Adobe RGB"
    return ""


def _png_colours(picture: PIL.Image.Image, data: bytes) -> str:
    for kind, body, _ in png_chunks(data):
        if kind == b"cICP" and len(body) == 4:
            return _coded(body[0], body[1])
        if kind == b"IDAT":
            break
    gamma = picture.info.get("gamma")
    if gamma and "srgb" not in picture.info and abs(0.5 ** (1 / gamma) - _MIDDLE) > NEAR_MIDDLE:
        return f"gamma {1 / gamma:.2f}"
    return ""


def _coded(primaries: int, transfer: int) -> str:
    return " ".join(name for name in (_WIDE.get(primaries, ""), _CURVES.get(transfer, "")) if name)


def profile_colours(profile: bytes) -> str:
    """The name of an ICC profile; "" where its colours and its tone curve are nearly those of sRGB."""
    try:
        tags = _tags(profile)
        if _is_like_srgb(tags):
            return ""
        return _description(tags.get(b"desc", b"")) or "an unnamed profile"
    except (struct.error, ValueError, ArithmeticError, LookupError):
        return "a profile that cannot be read"


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = struct.unpack_from(">I", profile, 128)[0]
    tags = {}
    for i in range(min(count, 100)):
        name, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        tags[name] = profile[offset : offset + size]
    return tags


def _is_like_srgb(tags: dict[bytes, bytes]) -> bool:
    if b"kTRC" in tags:
        return abs(_light_at_middle(tags[b"kTRC"]) - _MIDDLE) <= NEAR_MIDDLE
    if not all(name in tags for name in (*_PRIMARIES, b"rTRC", b"gTRC", b"bTRC")):
        return False
    for name, expected in _PRIMARIES.items():
        found = [value / 65536 for value in struct.unpack_from(">3i", tags[name], 8)]
        if max(abs(a - b) for a, b in zip(found, expected, strict=True)) > NEAR:
            return False
    return all(abs(_light_at_middle(tags[t]) - _MIDDLE) <= NEAR_MIDDLE for t in (b"rTRC", b"gTRC", b"bTRC"))


def _light_at_middle(curve: bytes) -> float:
    """What a tone curve gives for a level of one half, 0 to 1."""
    if curve[:4] == b"para":
        kind = struct.unpack_from(">H", curve, 8)[0]
        count = (1, 3, 4, 5, 7)[kind]
        numbers = [value / 65536 for value in struct.unpack_from(f">{count}i", curve, 12)]
        gamma, scale, offset = numbers[:3] if kind else (numbers[0], 1.0, 0.0)
        added = numbers[3] if kind == 2 else numbers[5] if kind == 4 else 0.0
        return float(max(0.0, scale / 2 + offset) ** gamma + added)
    count = struct.unpack_from(">I", curve, 8)[0]
    if count == 0:
        return 0.5
    if count == 1:
        return float(0.5 ** (struct.unpack_from(">H", curve, 12)[0] / 256))
    low, high = (struct.unpack_from(">H", curve, 12 + 2 * at)[0] for at in ((count - 1) // 2, count // 2))
    return float((low + high) / 2 / 65535)


def _description(tag: bytes) -> str:
    if tag[:4] == b"mluc":
        length, offset = struct.unpack_from(">II", tag, 20)
        return tag[offset : offset + length].decode("utf-16-be").strip("\0 ")
    if tag[:4] == b"desc":
        length = struct.unpack_from(">I", tag, 8)[0]
        return tag[12 : 12 + length].decode("latin-1").strip("\0 ")
    return ""
