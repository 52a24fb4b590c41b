"""Sources that mean harm: tars, bombs, files that are not what they are called, names that talk to terminals."""

from __future__ import annotations

import bz2
import contextlib
import csv
import errno
import gzip
import io
import json
import lzma
import os
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from patina.flows.cli.main import main
from patina.flows.cli.output import escape
from patina.pipeline.builder.build import build
from patina.pipeline.codec.decode import MAX_BYTES
from patina.pipeline.errors import BuildError, SourceError
from patina.pipeline.export.run import choose, export
from patina.pipeline.format.layout import MANIFEST, SHARDS
from patina.pipeline.format.manifest import load_manifest
from patina.pipeline.format.shard import tar_header
from patina.pipeline.plan.planning import Options
from patina.pipeline.report.check import check
from patina.pipeline.report.gallery import write_gallery
from patina.pipeline.scan.digests import inspect
from patina.pipeline.sources import locations
from patina.pipeline.sources import tar_index as tars
from patina.pipeline.sources.reader import Found
from patina.pipeline.sources.webdataset import WebDataset
from tests.pipeline.making import encoded, photos, picture, read_built, tiny_recipe

PNGS = [encoded(picture(32, 24, seed), "PNG") for seed in range(3)]
HALF = Options(max_set_aside=0.5)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))


# ---------------------------------------------------------------------------------------------------------------------
# Tars


def member(name: str, body: bytes) -> bytes:
    return tar_header(name, len(body)) + body + bytes(-len(body) % 512)


def changed(*changes: tuple[int, bytes], body: bytes = b"", name: str = "evil.png") -> bytes:
    """A member whose header is another in some places, with a checksum that fits."""
    header = bytearray(tar_header(name, len(body)))
    for place, value in changes:
        header[place : place + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + body + bytes(-len(body) % 512)


def long_name(name: bytes) -> bytes:
    """GNU tar's way to name the next member."""
    return changed((156, b"L"), body=name + b"\0", name="././@LongLink")


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    return changed((156, kind), body=b"".join(records), name="pax")


def record(key: str, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key.encode(), value)


SECRET = b"of great worth"
HUGE = b"\x80" + b"\0" * 2 + b"\x7f" + b"\xff" * 8
# What lies between two good members; whether the second one is still found; and a part of what is told, if anything is.
TARS: dict[str, tuple[bytes, bool, str]] = {
    "a way up": (member("../../outside.png", PNGS[1]), True, ""),
    "a way up in the middle": (member("a/../../outside.png", PNGS[1]), True, ""),
    "an absolute name": (member("/etc/passwd.png", PNGS[1]), True, ""),
    "a home": (member("~/x.png", PNGS[1]), True, ""),
    "a symbolic link": (changed((156, b"2/etc/passwd")), True, ""),
    "a symbolic link with bytes": (changed((156, b"2../../outside.png"), body=PNGS[1]), False, "is damaged"),
    "a hard link": (changed((156, b"1/etc/passwd")), True, ""),
    "a link to a good member": (changed((156, b"10.png")), True, ""),
    "a character device": (changed((156, b"3"), (329, b"0000001\0" + b"0000005\0")), True, ""),
    "a block device": (changed((156, b"4")), True, ""),
    "a folder": (changed((156, b"5"), name="folder"), True, ""),
    "a pipe": (changed((156, b"6")), True, ""),
    "a kind of file that nobody knows": (changed((156, b"Z"), body=b"x" * 600), True, ""),
    "a size beyond the end": (changed((124, b"77777777777\0")), False, "is cut off at byte"),
    "a size beyond any file": (changed((124, HUGE)), False, "is cut off at byte"),
    "a size beyond 64 bits": (changed((124, b"\x80" + b"\xff" * 11)), False, "is cut off at byte"),
    "a negative size": (changed((124, b"\xff" * 12)), False, "is damaged"),
    "a size with a sign": (changed((124, b"-0000000007\0")), False, "is damaged"),
    "a size in words": (changed((124, b"many bytes \0")), False, "is damaged"),
    "a record beyond 64 bits": (changed((156, b"x"), (124, b"\x80" + b"\xff" * 11)), False, "is cut off"),
    "a link whose size is beyond any file": (changed((156, b"2"), (124, HUGE)), True, ""),
    "GNU's sparse file": (changed((156, b"S")), False, "as a sparse file, which is not read"),
    "pax's sparse file": (pax(record("GNU.sparse.map", b"0,1")) + member("s.png", PNGS[1]), False, "as a sparse file"),
    "a size of 5000 digits": (pax(record("size", b"9" * 5000)) + member("a.png", PNGS[1]), False, "no pax record"),
    "a size of 25 digits": (pax(record("size", b"9" * 25)) + member("a.png", PNGS[1]), False, "no pax record"),
    "a pax size beyond the end": (pax(record("size", b"9" * 18)) + member("a.png", PNGS[1]), False, "is cut off"),
    "a pax size below zero": (pax(record("size", b"-1")) + member("a.png", PNGS[1]), False, "no pax record"),
    "a record of no length": (pax(b"0 path=x\n") + member("a.png", PNGS[1]), False, "no pax record"),
    "a record of length below zero": (pax(b"-9 path=x\n") + member("a.png", PNGS[1]), False, "no pax record"),
    "a record longer than it is": (pax(b"99 path=x\n") + member("a.png", PNGS[1]), False, "no pax record"),
    "a record without a length": (pax(b"path=x\n") + member("a.png", PNGS[1]), False, "no pax record"),
    "a name of 10 kB": (long_name(b"n" * 10_000 + b".png") + member("a.png", PNGS[1]), True, ""),
    "a pax name of 10 kB": (pax(record("path", b"n" * 10_000 + b".png")) + member("a.png", PNGS[1]), True, ""),
    "a name with a zero byte": (pax(record("path", b"n\0ul.png")) + member("a.png", PNGS[1]), True, ""),
    "a name that talks": (long_name(b"\x1b[2J\n\x9b31m.png") + member("a.png", PNGS[1]), True, ""),
    "one name for all that follows": (
        pax(record("path", b"same.png"), kind=b"g") + member("a.png", PNGS[1]),
        False,
        "",
    ),
    "a good member's name again": (member("0.png", PNGS[1]), True, "has two members png"),
    "an endless chain of names": (long_name(b"x.png") * 500 + member("a.png", PNGS[1]), True, ""),
}


def hostile(folder: Path, middle: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "t.tar"
    path.write_bytes(member("0.png", PNGS[0]) + middle + member("2.png", PNGS[2]) + bytes(1024))
    return path


@pytest.mark.parametrize("kind", TARS)
def test_a_hostile_tar_gives_nothing_but_its_own_bytes(tmp_path: Path, kind: str) -> None:
    middle, goes_on, told = TARS[kind]
    path = hostile(tmp_path / "in", middle)
    found = find(path)
    for candidate in found.candidates:
        assert candidate.name.isprintable()
        assert ".." not in candidate.name.split("/")
        assert candidate.path.startswith(f"{path}{locations.PART}")
        assert locations.read_file(candidate.path)[1] in PNGS
    names = {c.name for c in found.candidates}
    first_is_there = "t/0.png" in names or "two members" in told or kind == "a link to a good member"
    assert first_is_there
    assert ("t/2.png" in names) == goes_on
    reasons = " ".join(r.reason for r in found.refusals)
    assert told in reasons
    assert reasons.isprintable()
    assert told or goes_on or "same" in kind or "one name" in kind
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["in"]


def find(path: Path) -> Found:
    return WebDataset(str(path)).find()


def test_a_tar_of_all_that_is_hostile_is_built_without_harm(tmp_path: Path) -> None:
    """What stops the walk comes last."""
    (tmp_path / "outside.png").write_bytes(SECRET)
    going = [middle for middle, goes_on, told in TARS.values() if goes_on and not told]
    hostile(tmp_path / "in", b"".join(going) + TARS["a negative size"][0])
    recipe = tiny_recipe(tmp_path, sources=[{"kind": "webdataset", "path": "in"}])
    build(recipe, tmp_path / "out", HALF)
    built = read_built(tmp_path / "out")
    assert "t/0.png" in built.samples
    assert any("is damaged" in reason for reason in built.set_aside.values())
    assert check(tmp_path / "out", None).ok
    assert (tmp_path / "outside.png").read_bytes() == SECRET
    stored = b"".join(p.read_bytes() for p in (tmp_path / "out" / SHARDS).iterdir())
    assert SECRET not in stored


def test_a_pax_record_of_a_hundred_thousand_keys_is_read_at_once(tmp_path: Path) -> None:
    """Its parts are not copied again for each of them."""
    many = b"6 a=b\n" * 170_000 + record("path", b"late.png")
    path = hostile(tmp_path / "in", pax(many[-tars.LONGEST_RECORD :].removeprefix(b"=b\n")) + member("a.png", PNGS[1]))
    start = time.process_time()
    found = find(path)
    assert time.process_time() - start < 2
    assert "t/late.png" in {c.name for c in found.candidates} or found.refusals


@pytest.mark.parametrize("count", [2_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_tar_of_empty_members_is_walked_and_refused(tmp_path: Path, count: int) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "t.tar").open("wb") as file:
        header = bytearray(tar_header("0000000.png", 0))
        base = sum(header[:7])
        total = int(header[148:154], 8)
        for i in range(count):
            digits = b"%07d" % i
            header[:7] = digits
            header[148:154] = b"%06o" % (total - base + sum(digits))
            file.write(header)
        file.write(bytes(1024))
    start = time.process_time()
    index = tars.read_headers(tmp_path / "in" / "t.tar")
    assert (len(index.members), index.problem) == (count, "")
    assert time.process_time() - start < 1 + count * 60e-6
    recipe = tiny_recipe(tmp_path, sources=[{"kind": "webdataset", "path": "in"}])
    if count > 2_000:  # the index is what was to be shown; to say the same of a million files takes its minutes
        return
    with pytest.raises(BuildError, match=r"no photograph can be used; 2000 were set aside") as caught:
        build(recipe, tmp_path / "out", HALF)
    assert "the file is empty (0 bytes)" in str(caught.value)
    assert len(str(caught.value)) < 1000


FACTS: dict[str, bytes] = {
    "half a character": rb'{"degradation": "hazy", "params": {"beta": 1, "\ud800": "\udfff"}}',
    "a label of half a character": rb'{"degradation": "\ud800"}',
    "a label that talks": rb'{"degradation": "hazy\u001b[2J"}',
    "a label that leads up": b'{"degradation": "../../../etc/passwd"}',
    "nested without end": b"[" * 100_000,
    "nested objects without end": b'{"a":' * 100_000,
    "a number of 10000 digits": b'{"degradation": "hazy", "params": {"beta": ' + b"9" * 10_000 + b"}}",
    "a number of 4000 digits": b'{"degradation": "hazy", "params": {"beta": ' + b"9" * 4000 + b"}}",
    "no number": b'{"degradation": "hazy", "params": {"beta": NaN, "air": Infinity}}',
    "keys that talk": rb'{"degradation": "hazy", "params": {"\u001b[2J\n": "\u0007", "": 1, "__class__": "x"}}',
    "lists for all": b'{"degradation": ["hazy"], "params": [1]}',
    "ten megabytes": b'{"degradation": "hazy", "x": "' + b"x" * 10_000_000 + b'"}',
    "no text": b"\xff\xfe\0\0",
}


@pytest.mark.parametrize("kind", FACTS)
def test_hostile_facts_of_a_pair_are_taken_or_refused_in_words(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in" / "t.tar").open("wb") as file:
        for i in range(3):
            clean = picture(32, 24, i)
            hazy = encoded(np.rint(0.4 * clean + 120).astype(np.uint8), "PNG")
            body = FACTS[kind] if i == 1 else b'{"degradation": "hazy"}'
            for name, data in (("png", hazy), ("gt.png", encoded(clean, "PNG")), ("json", body)):
                file.write(member(f"{i}.{name}", data))
        file.write(bytes(1024))
    recipe = tiny_recipe(tmp_path, sources=[{"kind": "webdataset", "path": "in"}], degradations={})
    build(recipe, tmp_path / "out", HALF)
    built = read_built(tmp_path / "out")
    assert len(built.samples) + len(built.set_aside) == 3
    assert all(reason.isprintable() for reason in built.set_aside.values())
    assert {json.loads(s.members["json"])["degradation"] for found in built.samples.values() for s in found} == {"hazy"}
    assert check(tmp_path / "out", None).ok
    no_control_character((tmp_path / "out" / "README.md").read_text("utf-8"))
    no_control_character(write_gallery(tmp_path / "out", None, 60).read_text("utf-8"))


def no_control_character(text: str) -> None:
    assert not [c for c in text if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160]


# ---------------------------------------------------------------------------------------------------------------------
# Bombs


BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "t.tar.gz": lambda data: gzip.compress(data, 9),
    "t.tgz": lambda data: gzip.compress(data, 9),
    "t.tar.bz2": bz2.compress,
    "t.tar.xz": lzma.compress,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_packed_tar_of_ten_gigabytes_of_nothing_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The disk sees a few megabytes of it, and none stay."""
    monkeypatch.setattr(tars, "PLENTY", 4 << 20)
    packed = BOMBS[name](member("0.png", PNGS[0]) + changed((124, b"77777777777\0"), name="1.png"))
    zeros = BOMBS[name](bytes(8 << 20))
    (tmp_path / name).write_bytes(packed + zeros * (10_000_000_000 // (8 << 20)))
    written = 0
    real = tars._more

    def counted(file: Any, so_far: int) -> bytes:
        nonlocal written
        data = real(file, so_far)
        written += len(data)
        return data

    monkeypatch.setattr(tars, "_more", counted)
    with pytest.raises(SourceError, match=r"none that can be used .* holds more than 100 times its own size"):
        find(tmp_path)
    assert 4 << 20 < written < 40 << 20
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_photographs_in_a_packed_tar_are_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also flat ones in an old format, as far as they go."""
    monkeypatch.setattr(tars, "PLENTY", 0)
    noisy = [np.random.default_rng(i).integers(0, 64, (200, 300, 3)).astype(np.uint8) for i in range(4)]
    data = b"".join(member(f"{i}.bmp", encoded(image, "BMP")) for i, image in enumerate(noisy)) + bytes(1024)
    (tmp_path / "t.tar.xz").write_bytes(lzma.compress(data))
    assert len(find(tmp_path).candidates) == 4


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_cache_without_room_is_not_the_tars_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Set aside, all that is in it would leave the dataset."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.tar.gz").write_bytes(gzip.compress(member("0.png", PNGS[0]) + bytes(1024)))
    opened = Path.open

    def full(self: Path, *args: Any, **how: Any) -> Any:
        if self.name.startswith(".half"):
            raise OSError(code, os.strerror(code), str(self))
        return opened(self, *args, **how)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(SourceError, match=rf"t.tar.gz cannot be unpacked into .*{os.strerror(code)}.*PATINA_CACHE"):
            find(tmp_path / "in")
    assert len(find(tmp_path / "in").candidates) == 1


def test_an_unpacked_copy_is_made_anew_if_its_tar_was_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tar that is written again within one tick of a coarse clock has the times of the first."""
    path, real, read = tmp_path / "t.tar.gz", time.time_ns, []
    monkeypatch.setattr(tars, "_state", lambda *_: "one and the same")
    for png, seconds in zip(PNGS, (0, 10, 20), strict=True):  # at once after it was written, and later
        path.write_bytes(gzip.compress(member("0.png", png) + bytes(1024)))
        monkeypatch.setattr(time, "time_ns", lambda seconds=seconds: real() + 10**9 * seconds)
        read.append(locations.read_file(find(path).candidates[0].path)[1])
    assert read == [PNGS[0], PNGS[1], PNGS[1]], "the second copy was made of a tar that had rested"


def test_files_of_a_terabyte_are_not_read(tmp_path: Path) -> None:
    """Holes cost no room on a disk, and all of it in memory."""
    photos(tmp_path / "photos", 3)
    with (tmp_path / "photos" / "huge.jpg").open("wb") as file:
        file.write(b"\xff\xd8\xff\xe0")
        try:
            file.truncate(1 << 40)
        except OSError:
            pytest.skip("this file system holds no file of a terabyte")
    with (tmp_path / "photos" / "holes.tar").open("wb") as file:
        file.write(tar_header("deep.png", 8 * 10**9))
        file.truncate(10**10)
    sources = [{"path": "photos"}, {"kind": "webdataset", "path": "photos/holes.tar"}]
    report = build(tiny_recipe(tmp_path, sources=sources), tmp_path / "out", HALF)
    limit = f"more than the {MAX_BYTES:,} that a photograph may have"
    assert {r.name: r.reason for r in report.planned.refusals} == {
        "huge.jpg": f"has {1 << 40:,} bytes, {limit}",
        "holes/deep.png": f"has {8 * 10**9:,} bytes, {limit}",
    }


def png(width: int, height: int, idat: bytes, *others: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    more = b"".join(chunk(body[:4], body[4:]) for body in others)
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


def test_png_bombs_take_neither_time_nor_memory() -> None:
    zeros = zlib.compressobj(9)
    megabyte = bytes(1 << 20)
    bomb = b"".join(zeros.compress(megabyte) for _ in range(300)) + zeros.flush()
    files = {
        "more rows than it says": png(64, 64, bomb),
        "a text of 300 MB": png(64, 64, zlib.compress(bytes(64 * 193)), b"zTXtcomment\0\0" + bomb),
        "a profile of 300 MB": png(64, 64, zlib.compress(bytes(64 * 193)), b"iCCPprofile\0\0" + bomb),
        "as wide as it gets": png(2**31 - 1, 1, b""),
        "as wide and high as it gets": png(2**31 - 1, 2**31 - 1, b""),
    }
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for name, data in files.items():
        info = inspect(data)
        assert info.problem or (info.width, info.height) == (64, 64), name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000, "KB"
    assert time.process_time() - start < 3


# ---------------------------------------------------------------------------------------------------------------------
# Files that are not what they are called

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="64"><script>alert(1)</script></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(%pipe%touch owned) (w) file closefile\nshowpage\n%%EOF\n"


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil.sh", "#!/bin/sh\ntouch owned\n")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [SVG, EPS, b"\n \t" + SVG, b"%PDF-1.7\n1 0 obj", zipped(), b"#!/bin/sh\ntouch owned\n", b"MZ" + bytes(100),
     b"GIF89a/*" + bytes(4) + b"*/=1;alert(1)", b"P6\n# \x1b[2J\n99999 99999\n255\n", b"RIFF\xff\xff\xff\xffWEBPVP8 "],
    ids=["SVG", "EPS", "SVG behind spaces", "PDF", "ZIP", "script", "program", "GIF and script", "huge PPM", "WebP"],
)  # fmt: skip
def test_what_is_no_photograph_is_set_aside_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "a.png", "a.gif", "a.tif"):
        (tmp_path / name).write_bytes(data)
        assert inspect((tmp_path / name).read_bytes()).problem.isprintable()
        assert inspect((tmp_path / name).read_bytes()).problem
    assert not (tmp_path / "owned").exists()


def test_polyglots_are_the_pictures_that_they_are_and_the_page_shows_them_as_such(tmp_path: Path) -> None:
    jpeg = encoded(picture(48, 40, 1), "JPEG", quality=90)
    comment = b"<script>alert(1)</script>"
    files = {
        "and a zip.jpg": jpeg + zipped(),
        "and a page.jpg": jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:],
        "and an SVG.png": encoded(picture(48, 40, 2), "PNG") + SVG,
    }
    (tmp_path / "photos").mkdir()
    for name, data in files.items():
        (tmp_path / "photos" / name).write_bytes(data)
    build(tiny_recipe(tmp_path), tmp_path / "out", HALF)
    built = read_built(tmp_path / "out")
    assert built.samples.keys() == files.keys()
    for name, data in files.items():
        with (
            PIL.Image.open(io.BytesIO(built.samples[name][0].gt[1])) as stored,
            PIL.Image.open(io.BytesIO(data)) as own,
        ):
            np.testing.assert_array_equal(np.array(stored), np.array(own.convert("RGB")))
    page = write_gallery(tmp_path / "out", None, 60).read_text("utf-8")
    assert "alert(1)" not in page


# ---------------------------------------------------------------------------------------------------------------------
# Names and words that talk to terminals, tables and pages

NAMES = (
    "line\nbreak.png",
    "\x1b[31mred\x1b]0;title\x07.png",
    "c1 \x9b2J.png",
    "=cmd|' calc'!A1.png",
    'a,b;\t"c".png',
    "[red]markup.png",
    "<b>bold.png",
)
WORDS = 'a "dog", \x1b[2Jon\r\na\tbeach: =1+1 [bold]x[/bold] <script>alert(1)</script> \x9b31m'


@pytest.fixture
def talking(tmp_path: Path) -> Path:
    """A dataset whose photographs have such names and captions, some of which are set aside, and its recipe."""
    folder = tmp_path / "photos"
    photos(folder, 2)
    for seed, name in enumerate(NAMES):
        (folder / name).write_bytes(encoded(picture(24, 20, 100 + seed), "PNG"))
        (folder / name).with_suffix(".txt").write_text(WORDS)
        (folder / f"bad {name}").write_bytes(b"")
    table = '[[sources]]\npath = "photos"\n[degradations.noisy]\n[captions]\nkind = "sidecar"\nfallback = "template"\n'
    (tmp_path / "recipe.toml").write_text(table)
    from patina.pipeline.recipe.parse import load_recipe

    build(load_recipe(tmp_path / "recipe.toml"), tmp_path / "out", HALF)
    return tmp_path


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command; gives all that it prints."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["patina", *map(str, words)])
        with contextlib.suppress(SystemExit):
            main()
        told = capsys.readouterr()
        return told.out + told.err

    return run


def test_no_name_and_no_caption_talks_to_the_terminal(talking: Path, said: Callable[..., str]) -> None:
    out = talking / "out"
    (talking / "photos" / "new \x1b[5m\nline.png").write_bytes(PNGS[0])
    told = [said("plan", talking / "recipe.toml", "--out", out), said("check", out), said("gallery", out)]
    told += [said("show", name, "--out", out) for name in ("[red]markup.png", "<b>bold.png", "\x1b[31m")]
    (out / SHARDS / "train-0000-noisy.tar").write_bytes(b"")
    told.append(said("check", out))
    for text in told:
        assert text.strip()
        no_control_character(text)
    assert r"bad line\nbreak.png: the file is empty" in told[0]
    assert r"bad \x1b[31mred\x1b]0;title\x07.png" in told[0]
    assert "photograph   [red]markup.png" in told[3]
    assert "[bold]x[/bold]" in told[3], "nor does it act as markup"


def test_a_strangers_dataset_does_not_talk_to_the_terminal_either(talking: Path, said: Callable[..., str]) -> None:
    """Its manifest was not written here, so its names are not what our scan would have made of them."""
    path = talking / "out" / MANIFEST
    body = json.loads(path.read_text("utf-8"))
    del body["sum"]
    body["shards"][0]["split"] = "tr\x1b[2Jain"
    path.write_text(json.dumps(body), "utf-8")
    told = said("check", talking / "out")
    assert told.strip()
    no_control_character(told)


@pytest.mark.parametrize(
    ("text", "plain"),
    [("\x1b[2J", r"\x1b\[2J"), ("a\nb", "a\nb"), ("\u202egnp", r"\u202egnp"), ("写真 é", "写真 é"), ("\x9b", r"\x9b"),
     ("[red]", r"\[red]"), ("\ud800", r"\ud800")],
)  # fmt: skip
def test_what_is_printed_is_plain(text: str, plain: str) -> None:
    assert escape(text).replace(r"\x1b[", r"\x1b\[") == plain


def test_pages_cards_and_tables_are_free_of_them(talking: Path) -> None:
    out = talking / "out"
    manifest = load_manifest(out)
    assert manifest is not None
    samples = sum(shard.count for shard in manifest.shards)
    assert len(manifest.set_aside) == len(NAMES)
    page = write_gallery(out, None, 60).read_text("utf-8")
    card = (out / "README.md").read_text("utf-8")
    for text in (page, card, (out / "croissant.json").read_text("utf-8"), (out / MANIFEST).read_text("utf-8")):
        no_control_character(text)
    assert "<script>alert(1)" not in page.replace("&lt;", "&#60;")
    assert "<b>bold" not in page
    for format_name in ("daclip", "vlunet", "folders"):
        export(out, talking / format_name, choose(format_name, prefix=""))
        tables = [p for p in (talking / format_name).rglob("*") if p.suffix in {".csv", ".txt", ".tsv", ".jsonl"}]
        assert tables
        for table in tables:
            text = table.read_text("utf-8")
            no_control_character(text)
            if table.name == "daclip_train.csv":
                rows = list(csv.reader(text.splitlines(), delimiter="\t"))
                assert [len(row) for row in rows] == [2] * (1 + samples), "a line a sample"
        assert all(p.name.isprintable() and not set(p.name) & set("\n<>=") for p in (talking / format_name).rglob("*"))
