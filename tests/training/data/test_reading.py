"""Squares of samples are what is cut out of whole images, however these are stored, and no more is read than that."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

import patina
from patina.pipeline.codec.png import encode_png
from patina.pipeline.errors import DamagedShardError
from patina.pipeline.format.layout import ROLES, SHARDS
from patina.pipeline.format.shard import Span, pack, read_first, write_shard
from patina.training.data import reading
from patina.training.data.cutting import cut_alike
from patina.training.data.index import Index, Kept, read_index
from patina.training.data.order import of_image
from patina.training.data.reading import GT, LQ, read_image, read_pair, read_square, read_squares
from tests.pipeline.making import encoded, photo, picture


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Samples whose LQ is a PNG or a JPEG, whose GT is a JPEG, a PNG of others, or one of ours."""
    here = tmp_path_factory.mktemp("reading")
    photo(here / "photos" / "a.jpg", 90, 70, 0, quality=95)
    photo(here / "photos" / "b.png", 80, 64, 1)
    photo(here / "photos" / "c.png", 72, 66, 2, compress_level=1)
    photo(here / "photos" / "d.webp", 64, 90, 3, lossless=True)
    degradations: dict[str, Any] = {"noisy": {}, "jpeg-compressed": {}, "hazy": {}, "motion-blurry": {}}
    patina.build({"sources": [{"path": str(here / "photos")}], "degradations": degradations}, here / "out")
    return replace(read_index(here / "out", "train"), kept=Kept(0))


def by_opencv(data: bytes) -> Any:
    found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return found[..., ::-1]


def _middle() -> None:
    """For the generator of a square in the middle."""


@pytest.mark.parametrize("kept", [0, 40_000, 1 << 20])
@pytest.mark.parametrize("side", [0, 1, 48, 64, 100])
def test_squares_are_cut_out_of_the_whole_images(index: Index, side: int, kept: int) -> None:
    index = replace(index, kept=Kept(kept))
    for row in (*range(len(index)), *range(len(index))):  # twice, the second time out of what is kept
        files = index.members(row)
        whole = [by_opencv(next(files[e] for e in ROLES[role] if e in files)) for role in (LQ, GT)]
        for drawn in (True, False):
            rng = partial(of_image, 0, row) if drawn else _middle
            wanted = cut_alike(whole, side, rng()) if side else whole
            found = read_square(index, row, side, rng())
            assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
            for role, image in zip((LQ, GT), wanted, strict=True):
                assert np.array_equal(read_square(index, row, side, rng(), (role,))[0], image)
        assert np.array_equal(read_image(index, row, GT), whole[1])


def test_several_squares_of_one_decoding(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = [0, 1, None, 2]
    for row in range(len(index)):
        rngs = [None if seed is None else of_image(seed, row) for seed in seeds]
        found = [images for images, _ in read_squares(index, row, 24, rngs)]
        alone = [read_square(index, row, 24, None if seed is None else of_image(seed, row)) for seed in seeds]
        assert all(np.array_equal(a, b) for x, y in zip(found, alone, strict=True) for a, b in zip(x, y, strict=True))
    decoded: list[str] = []
    whole = reading.Picture.whole
    monkeypatch.setattr(reading.Picture, "whole", lambda self: (decoded.append("one"), whole(self))[1])
    assert len(list(read_squares(index, 0, 24, [of_image(k, 0) for k in range(5)]))) == 5
    assert len(decoded) == 2


def test_truth_maps_are_cut_as_the_images_and_kernels_are_not(index: Index) -> None:
    seen = set()
    for row in range(len(index)):
        whole = next(read_squares(index, row, 0, [None], maps=True))
        images, maps = next(read_squares(index, row, 32, [of_image(1, row)], maps=True))
        assert [f"{name}.png" for name in maps] == [
            name for name in index.members(row) if name.endswith(".png") and name not in ("png", "gt.png")
        ]
        alike = [*whole[0], *(m for name, m in whole[1].items() if name != "kernel")]
        wanted = cut_alike(alike, 32, of_image(1, row))
        found = [*images, *(m for name, m in maps.items() if name != "kernel")]
        assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(found, wanted, strict=True))
        if "kernel" in maps:
            assert np.array_equal(maps["kernel"], whole[1]["kernel"])
        seen |= {(name, values.dtype.name) for name, values in maps.items()}
    assert ("transmission", "uint16") in seen and "kernel" in {name for name, _ in seen}


def test_rows_below_a_square_are_not_inflated(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes behind those that a square wants may be anything, if checksums are set aside."""
    image = picture(64, 400)
    data = bytearray(encode_png(image))
    opened = reading.own_png(bytes(data))
    assert opened is not None
    data[-300:-16] = bytes(284)
    torn = replace(opened, data=bytes(data))
    assert np.array_equal(torn.part((10, 42, 8, 40)), image[10:42, 8:40])
    assert torn.part((0, 400, 0, 64)) is None or not np.array_equal(torn.part((0, 400, 0, 64)), image)


def test_maps_are_not_read_where_they_are_not_wanted(tmp_path: Path) -> None:
    members = [("png", b"a" * 700), ("gt.jpg", b"b" * 30), ("txt", b"c"), ("json", b"{}"), ("depth.png", b"d" * 5000)]
    samples = [pack("first", members), pack("second", members)]
    written = write_shard(tmp_path / "a.tar", samples)
    span, wanted = written.spans[1], ("png", "jpg", "gt.png", "gt.jpg")
    assert read_first(tmp_path / "a.tar", span, wanted, 2) == ("second", dict(members[:2]))
    assert read_first(tmp_path / "a.tar", span, ("json",), 1) == ("second", {"json": b"{}"})
    assert read_first(tmp_path / "a.tar", span, ("json", "none"), 2) == ("second", {"json": b"{}"})
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(data[: span.offset + 512 + 1024 + 512 + 512])
    assert read_first(tmp_path / "short.tar", span, wanted, 2) == ("second", dict(members[:2]))
    for cut in (span.offset + 100, span.offset + 600):
        (tmp_path / "torn.tar").write_bytes(data[:cut])
        with pytest.raises(DamagedShardError):
            read_first(tmp_path / "torn.tar", span, wanted, 2)
    for wrong in (Span(span.offset + 512, span.size), Span(span.offset, 1024)):
        with pytest.raises(DamagedShardError):
            read_first(tmp_path / "a.tar", wrong, wanted, 2)
    with pytest.raises(DamagedShardError, match="expected one sample at 0, found first and second"):
        read_first(tmp_path / "a.tar", Span(0, 2 * span.size), ("none",), 2)


def test_damage_is_told_with_the_sample(index: Index, tmp_path: Path) -> None:
    with pytest.raises(DamagedShardError, match=rf"expected sample {index.keys[1]}, found {index.keys[0]}"):
        read_pair(replace(index, offset=np.full_like(index.offset, index.offset[0]), shard=index.shard * 0), 1)
    sample = {
        "png": encode_png(picture(40, 30)),
        "gt.png": encode_png(picture(40, 30, 1)),
        "mask.png": encode_png(picture(40, 30)[..., 0]),
    }
    for change, says in (
        ({"png": b"no picture"}, "k has no readable png"),
        ({"gt.png": sample["gt.png"][:200]}, "k has no readable gt.png"),
        ({"gt.png": encode_png(picture(41, 30))}, r"k: LQ of \(30, 40\) beside GT of \(30, 41\)"),
        ({"gt.png": None}, "k has no readable gt.png or gt.jpg"),
        ({"mask.png": b"no map"}, "k has no readable mask.png"),
        ({"mask.png": encode_png(picture(40, 31)[..., 0])}, r"k: LQ of .* mask of \(31, 40\)"),
    ):
        members = [(name, data) for name, data in (sample | change).items() if data is not None]
        (tmp_path / SHARDS).mkdir(exist_ok=True)
        (span,) = write_shard(tmp_path / SHARDS / "s.tar", [pack("k", members)]).spans
        one = replace(
            index.taken(np.array([0])),
            **{"folder": tmp_path, "shards": ("s.tar",), "keys": np.array(["k"]), "shard": np.zeros(1, np.int32)},
            offset=np.array([span.offset]),
            size=np.array([span.size]),
        )
        with pytest.raises(DamagedShardError, match=says):
            next(read_squares(one, 0, 0, [None], maps=True))


def test_a_jpeg_that_says_it_is_turned_is_read_as_it_is_stored() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(40, 30), "JPEG", quality=95, exif=exif)
    assert reading.Picture(data).shape == (30, 40)
