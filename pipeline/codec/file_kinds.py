"""Kinds of picture files: those that patina does not read, what to do with them, and what first bytes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

INSTALL = "pip install 'patina-ir[formats]'"
"""What reads HEIC, HEIF and JPEG XL."""

EXTRA_SUFFIXES: Mapping[str, tuple[str, ...]] = {"HEIF": (".heic", ".heif", ".hif"), "JXL": (".jxl",)}
"""Suffixes of the formats that the extra [formats] reads, by Pillow's name of the format."""

_WITH_EXTRA = f"{INSTALL}, or convert to JPEG or PNG"
_REMEDIES: Mapping[str, str] = {
    " ".join(suffix for suffixes in EXTRA_SUFFIXES.values() for suffix in suffixes): _WITH_EXTRA,
    ".avif": "install a Pillow with AVIF, or convert to PNG",
    ".jp2 .j2k .j2c .jpc .jpf .jpx .jpm": "convert to PNG",
    ".dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .srw .raf .rw2 .raw .rwl .orf .pef .3fr .fff .iiq .mos .mef "
    ".mrw .erf .kdc .dcr .x3f .gpr": "develop to PNG or 16-bit TIFF",
    ".psd .psb .xcf .kra .ora .afphoto": "export as PNG",
    ".exr .hdr .rgbe .pfm .dpx .cin .jxr .hdp .wdp": "tone-map to PNG",
    ".svg .svgz .eps .ai .wmf .emf": "render to PNG",
    ".avifs .heics .heifs .tga .pbm .pam .pcx .sgi .ras .qoi .bpg .flif .dds .xpm .xbm .fit .fits .dcm "
    ".jps": "convert to PNG",
}

REMEDIES: Mapping[str, str] = {suffix: remedy for suffixes, remedy in _REMEDIES.items() for suffix in suffixes.split()}
"""What to do with a picture file of a suffix that is not read, by suffix, in lower case, with its dot."""

_NO_PICTURES = (
    ".txt .md .rst .json .jsonl .ndjson .csv .tsv .xml .html .htm .css .js .yaml .yml .toml .ini .cfg .log .db .sqlite "
    ".py .m .sh .bat .ipynb .npy .npz .mat .h5 .hdf5 .pkl .pickle .pt .pth .safetensors .parquet .arrow .tfrecord .mdb "
    ".tar .zip .gz .tgz .bz2 .xz .7z .rar .xmp .aae .thm .pdf .doc .docx .mp4 .mov .avi .mkv .m4v .wav .mp3 .flo .lmdb "
    ".md5 .sha256 .icc .icm .ico .lnk .part .tmp"
)
NO_PICTURES = frozenset(_NO_PICTURES.split())
"""Suffixes of files that are no pictures, or none that stands for itself: nobody opens them to look."""

HEAD = 64
"""First bytes of a file that tell its kind."""

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_BRANDS: Mapping[bytes, str] = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "CR3",
}
_SIGNATURES: Mapping[bytes, str] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "PSD",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"gimp xcf": "XCF",
    b"IIRO": "ORF",
    b"IIU\0": "RW2",
    b"FUJIFILMCCD-RAW": "RAF",
}

OWN_SUFFIX: Mapping[str, str] = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "GIF": ".gif",
    "TIFF": ".tif",
    "WebP": ".webp",
    "BMP": ".bmp",
    "PPM": ".ppm",
    "AVIF": ".avif",
    "HEIC": ".heic",
    "JPEG XL": ".jxl",
    "JPEG 2000": ".jp2",
    "PSD": ".psd",
    "OpenEXR": ".exr",
    "XCF": ".xcf",
    "CR3": ".cr3",
    "ORF": ".orf",
    "RW2": ".rw2",
    "RAF": ".raf",
}
"""The suffix of a file of each kind that `kind_of` names."""


def kind_of(head: bytes) -> str:
    """The kind of a picture file by its first HEAD bytes, a key of OWN_SUFFIX; "" for what is no known picture."""
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if re.match(rb"P[2356]\s+(#[^\n]*\n\s*)?\d+\s+\d+\s+\d+\s", head):
        return "PPM"
    return _kind_of_boxes(head) if head[4:8] == b"ftyp" else ""


def _kind_of_boxes(head: bytes) -> str:
    """Of a file that begins with the box `ftyp`: its own brand counts, then those that it is compatible with."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    kinds = [_BRANDS[brand] for brand in brands if brand in _BRANDS]
    return "AVIF" if "AVIF" in kinds else kinds[0] if kinds else ""


def remedy_of(kind: str) -> str:
    """What to do with a file of a kind that is not read, in words; "" for one of no known kind."""
    return REMEDIES.get(OWN_SUFFIX.get(kind, ""), "")
