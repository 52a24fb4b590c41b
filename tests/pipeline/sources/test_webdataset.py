"""WebDataset tars as sources: what is a sample, what is torn, and the law that they give what the folder gave."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from patina.pipeline.builder.build import build
from patina.pipeline.errors import SourceError
from patina.pipeline.format.layout import SHARDS
from patina.pipeline.plan.planning import Options
from patina.pipeline.sources import locations
from patina.pipeline.sources import tar_index as tars
from patina.pipeline.sources.reader import Found
from patina.pipeline.sources.tar_index import read_headers
from patina.pipeline.sources.webdataset import WebDataset, split_name
from tests.pipeline.making import Built, encoded, photo, photos, picture, read_built, save, tiny_recipe
from tests.pipeline.serving import serving


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATINA_CACHE", str(tmp_path / "cache"))


def pack(path: Path, members: Mapping[str, bytes] | list[tuple[str, bytes]], mode: str = "w", **how: Any) -> Path:
    """A tar by the standard library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **how) as tar:  # type: ignore[call-overload]
        for name, data in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def bytes_of(found: Found) -> dict[str, tuple[bytes, bytes]]:
    """By name: the bytes of the clean and of the degraded image."""
    read = locations.read_file
    return {c.name: (read(c.path)[1], read(c.lq)[1] if c.lq else b"") for c in found.candidates}


def aside(found: Found) -> dict[str, str]:
    return {refusal.name: refusal.reason for refusal in found.refusals}


# ---------------------------------------------------------------------------------------------------------------------
# The tar itself


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_index_says_what_tarfile_says(tmp_path: Path, format: int) -> None:
    names = ["a.png", "sub/b.png", "x" * 90 + "/" + "y" * 60 + ".png"]
    names += [] if format == tarfile.USTAR_FORMAT else ["long/" + "é" * 150 + ".png", "é.png"]
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=format) as tar:
        for i, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 700 * i, 1.5 if format == tarfile.PAX_FORMAT else 1
            tar.addfile(info, io.BytesIO(bytes([i]) * info.size))
        for kind, name in ((tarfile.DIRTYPE, "folder"), (tarfile.SYMTYPE, "link.png"), (tarfile.LNKTYPE, "hard.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.png" if kind != tarfile.DIRTYPE else ""
            tar.addfile(info)
        info = tarfile.TarInfo("last.txt")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"end"))
    with tarfile.open(path) as tar:
        expected = tuple((m.name, m.offset_data, m.size) for m in tar if m.isreg())
    links = (("symbolic link", 1, "link.png → a.png"), ("hard link", 1, "hard.png → a.png"))
    assert read_headers(path) == tars.TarIndex(expected, others=links)
    assert [name for name, _, _ in expected] == [*names, "last.txt"]


@pytest.mark.slow  # importing webdataset takes seconds
def test_what_webdatasets_own_writer_packs_is_read(tmp_path: Path) -> None:
    import webdataset as wds

    with wds.TarWriter(str(tmp_path / "a.tar")) as writer:
        for i in range(3):
            writer.write({"__key__": f"{i:06d}", "jpg": bytes([i]) * 600, "txt": f"caption {i}"})
    result = WebDataset(str(tmp_path / "a.tar")).find()
    assert bytes_of(result) == {f"a/{i:06d}.jpg": (bytes([i]) * 600, b"") for i in range(3)}
    assert [c.caption for c in result.candidates] == ["caption 0", "caption 1", "caption 2"]
    assert not result.refusals


THREE = {f"{i}.{e}": bytes([65 + i]) * 600 for i in range(3) for e in ("png", "txt")}  # each header + two blocks


@pytest.mark.parametrize(
    ("size", "whole", "problem"),
    [
        (6 * 1536, "012", "ends at byte 9216 without its end mark: cut off, or still being written"),
        (4 * 1536 + 200, "01", "ends at byte 6344 without its end mark"),
        (5 * 1536 + 600, "01", "is cut off at byte 8280, within 2.txt"),
        (6 * 1536 + 512, "012", ""),  # one block of zeros is enough for an end
    ],
)
def test_a_torn_tar_gives_what_is_whole_and_says_where_it_breaks(
    tmp_path: Path, size: int, whole: str, problem: str
) -> None:
    path = pack(tmp_path / "a.tar", THREE)
    path.write_bytes(path.read_bytes()[:size])
    result = WebDataset(str(path)).find()
    assert [c.name for c in result.candidates] == [f"a/{i}.png" for i in whole]
    reasons = aside(result)
    assert reasons.get("a.tar", "").startswith(problem)
    assert reasons.get("a/2") == ("is cut off within its member txt" if "within" in problem else None)


def test_a_damaged_header_and_joined_tars_are_told(tmp_path: Path) -> None:
    path = pack(tmp_path / "bad.tar", THREE)
    data = bytearray(path.read_bytes())
    data[2 * 1536] ^= 1
    path.write_bytes(data)
    result = WebDataset(str(path)).find()
    assert [c.name for c in result.candidates] == ["bad/0.png"]
    assert aside(result) == {"bad.tar": "is damaged: at byte 3072 there is no header of a member"}

    joined = tmp_path / "joined.tar"
    joined.write_bytes(pack(tmp_path / "x.tar", {"x.png": b"x"}).read_bytes() * 2)
    (reason,) = aside(WebDataset(str(joined)).find()).values()
    assert reason.startswith("goes on behind its end mark at byte 1536: several tars joined?")


def test_an_index_is_kept_until_the_tar_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.tar", THREE)
    walks: list[Path] = []
    original = tars.read_headers
    monkeypatch.setattr(tars, "read_headers", lambda p: walks.append(p) or original(p))
    monkeypatch.setattr(tars, "RECENT_NS", 10**12)
    reader = WebDataset(str(path))
    first = reader.find()
    assert reader.find() == first
    assert len(walks) == 2, "a tar written just now may be written again within the same tick"
    monkeypatch.setattr(tars, "RECENT_NS", -(10**12))
    assert [reader.find(), reader.find()] == [first, first]
    assert len(walks) == 3
    (index,) = (tmp_path / "cache" / "tars").glob("*.json")
    index.write_text("{")
    assert reader.find() == first
    assert len(walks) == 4
    pack(path, {"9.png": b"nine"})
    assert [c.name for c in reader.find().candidates] == ["a/9.png"]


# ---------------------------------------------------------------------------------------------------------------------
# Samples


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("000.png", ("000", "png")),
        ("./a.b/000.GT.PNG", ("a.b/000", "gt.png")),
        ("img.000.png", ("img", "000.png")),
        ("readme", ("", "")),
        ("._000.png", ("", "")),
        (".png", ("", "")),
        ("__MACOSX/000.png", ("", "")),
    ],
)
def test_the_key_ends_at_the_first_dot_of_the_base_name(path: str, expected: tuple[str, str]) -> None:
    assert split_name(path) == expected


def test_clean_images_with_captions(tmp_path: Path) -> None:
    members = {
        "a.jpg": b"A",
        "a.txt": b"\xef\xbb\xbfa dog",
        "a.json": b"{}",
        "b.png": b"B",
        "b.mask.png": b"mask",
        "b.txt": b"\xff",
        "c.txt": b"no image",
        "d.png": b"D",
        "d.jpg": b"D",
        "e.png": b"E",
        "f.png": b"F1",
        "LICENSE": b"x",
    }
    result = WebDataset(str(pack(tmp_path / "a.tar", [*members.items(), ("f.png", b"F2")]))).find()
    assert bytes_of(result) == {"a/a.jpg": (b"A", b""), "a/b.png": (b"B", b""), "a/e.png": (b"E", b"")}
    assert [c.caption for c in result.candidates] == ["a dog", "", ""]
    assert aside(result) == {
        "a/b.txt": "is not UTF-8, it has byte 0xff; its image is taken without a caption",
        "a/c": "has no clean image (jpg, png): only txt",
        "a/d": "has several clean images, png and jpg; name one in `gt`",
        "a/f": "has two members png; keep one, or give the samples keys of their own",
    }
    assert result.ignored == 1


def test_pairs_are_recognised_and_none_is_taken_for_a_clean_image(tmp_path: Path) -> None:
    members = {
        "a.png": b"lq",
        "a.gt.jpg": b"gt",
        "a.txt": b"a dog",
        "a.json": json.dumps({"degradation": "noisy", "params": '{"sigma":25.0,"parts":[1],"kind":"grey"}'}).encode(),
        "b.png": b"lq",
        "b.gt.png": b"gt",
        "b.degradation.txt": b"Hazy\n",
        "c.png": b"lq alone",
        "d.png": b"lq",
        "d.gt.png": b"gt",
        "e.png": b"lq",
        "e.gt.png": b"gt",
        "e.json": b'{"degradation": "noissy"}',
        "f.png": b"lq",
        "f.gt.png": b"gt",
        "f.json": b"{",
    }
    path = pack(tmp_path / "a.tar", members)
    result = WebDataset(str(path)).find()
    assert [(c.name, c.lq_name, c.degradation, c.caption, dict(c.params)) for c in result.candidates] == [
        ("a/a.gt.jpg", "a.png", "noisy", "a dog", {"sigma": 25.0, "kind": "grey"}),
        ("a/b.gt.png", "b.png", "hazy", "", {}),
    ]
    assert set(bytes_of(result).values()) == {(b"gt", b"lq")}
    reasons = aside(result)
    assert reasons["a/c"] == "has no clean image (gt.jpg, gt.png): only png"
    assert reasons["a/d"].startswith("is a pair without a degradation")
    assert "did you mean 'noisy'" in reasons["a/e"]
    assert reasons["a/f"].startswith("its member json is no JSON")
    labelled = WebDataset(str(path), degradation="rainy").find()
    assert {c.name for c in labelled.candidates} == {f"a/{k}.gt.{'jpg' if k == 'a' else 'png'}" for k in "abdef"}
    assert {(c.degradation, *c.params) for c in labelled.candidates} == {("",)}


def test_members_are_chosen_by_settings(tmp_path: Path) -> None:
    members = {"a.in.png": b"lq", "a.out.jpg": b"gt", "a.cap": b"words", "b.in.jpg": b"lq", "b.out.jpg": b"gt"}
    path = str(pack(tmp_path / "a.tar", members))
    result = WebDataset(path, lq="in.png, .IN.jpg", gt="out.jpg", caption="cap", degradation="hazy").find()
    assert bytes_of(result) == {"a/a.out.jpg": (b"gt", b"lq"), "a/b.out.jpg": (b"gt", b"lq")}
    assert [c.caption for c in result.candidates] == ["words", ""]
    assert bytes_of(WebDataset(path, gt="out.jpg").find()) == dict.fromkeys(bytes_of(result), (b"gt", b""))
    with pytest.raises(SourceError, match="lq: expected gt beside it"):
        WebDataset(path, lq="png")
    with pytest.raises(SourceError, match=r"none that can be used among 2 in 1 tar; .*has no clean image \(webp\)"):
        WebDataset(path, gt="webp").find()


# ---------------------------------------------------------------------------------------------------------------------
# Several tars, packed ones, remote ones


@pytest.fixture
def several(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    for i in (0, 1, 10):
        pack(folder / f"train-{i:02d}.tar", {"0.png": b"%d" % i})
    pack(folder / "deep" / "val.tar", {"0.png": b"v"})
    return folder


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["deep/val", "train-00", "train-01", "train-10"]),
        ("/train-{00..01}.tar", ["train-00", "train-01"]),
        ("/{train-00,deep/val}.tar", ["deep/val", "train-00"]),
        ("/train-?0.tar", ["train-00", "train-10"]),
        ("/**/*.tar", ["deep/val", "train-00", "train-01", "train-10"]),
        ("/train-01.tar", ["train-01"]),
    ],
)
def test_a_path_may_mean_several_tars(several: Path, pattern: str, expected: list[str]) -> None:
    found = WebDataset(f"{several}{pattern}").find()
    assert [c.name for c in found.candidates] == [f"{stem}/0.png" for stem in expected]


def test_a_tar_of_a_pattern_that_is_missing_is_set_aside(several: Path) -> None:
    found = WebDataset(f"{several}/train-{{00..02}}.tar").find()
    assert len(found.candidates) == 2
    assert aside(found) == {"train-02.tar": "cannot be read: No such file or directory"}


@pytest.mark.parametrize("path", ["none.tar", "none", "train-9*.tar", "train-00.tar/x"])
def test_no_tar_at_all(several: Path, path: str) -> None:
    with pytest.raises(SourceError, match="path: expected "):
        WebDataset(str(several / path)).find()


def test_packed_tars_are_read_and_torn_ones_as_far_as_they_go(tmp_path: Path) -> None:
    pack(tmp_path / "a.tgz", THREE, "w:gz")
    pack(tmp_path / "b.tar.xz", THREE, "w:xz")
    pack(tmp_path / "c.tar.bz2", THREE, "w:bz2")
    noise = {f"{i}.png": np.random.default_rng(i).bytes(60000) for i in range(3)}
    whole = gzip.compress(pack(tmp_path / "x" / "d.tar", noise).read_bytes())
    (tmp_path / "d.tar.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "e.tar.gz").write_bytes(b"<html>not found</html>")
    pack(tmp_path / "c.tar", THREE)
    (tmp_path / "x" / "d.tar").unlink()
    found = WebDataset(str(tmp_path)).find()
    assert bytes_of(found) == {f"{s}/{i}.png": (bytes([65 + i]) * 600, b"") for s in "abc" for i in range(3)} | {
        "d/0.png": (noise["0.png"], b"")
    }
    reasons = aside(found)
    assert reasons["d.tar.gz"].endswith("within 1.png")
    assert reasons["e.tar.gz"].startswith("cannot be decompressed: Not a gzipped file")
    assert reasons["c.tar.bz2"] == "has the name of c.tar, which is read; move one of them away"


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's file system in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.mark.parametrize("path", ["", "/train-{00..01}.tar", "/train-0*.tar", "/train-{01,00}.tar"])
def test_tars_elsewhere(several: Path, memory: Any, path: str) -> None:
    for tar in several.glob("train-0*.tar"):
        memory.pipe(f"/bucket/set/{tar.name}", tar.read_bytes())
    found = WebDataset(f"memory://bucket/set{path}").find()
    assert bytes_of(found) == {"train-00/0.png": (b"0", b""), "train-01/0.png": (b"1", b"")}
    with pytest.raises(
        SourceError, match=r"none that can be used among 0 in 0 tars; the first: no\.tar cannot be read"
    ):
        WebDataset("memory://bucket/set/no.tar").find()


# ---------------------------------------------------------------------------------------------------------------------
# The law: what a folder gives, its tar gives


def shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / SHARDS).glob("*.tar")}


def test_a_tar_gives_the_shards_of_the_folder_that_it_was_made_of(tmp_path: Path) -> None:
    files = photos(tmp_path / "photos", 4)
    members = {}
    for file in files:
        members |= {f"{file.stem}.png": file.read_bytes(), f"{file.stem}.txt": f"words on {file.stem}".encode()}
        file.with_suffix(".txt").write_text(f"words on {file.stem}")
    pack(tmp_path / "web" / "train-0000.tar", members)
    source = {"kind": "webdataset", "path": "web/train-0000.tar"}
    build(tiny_recipe(tmp_path), tmp_path / "folder")
    build(tiny_recipe(tmp_path, sources=[source]), tmp_path / "tar")
    assert shards(tmp_path / "folder") == shards(tmp_path / "tar") != {}
    with serving(tmp_path / "web") as server:
        away = source | {"path": f"{server.address}/train-{{0000..0000}}.tar"}
        build(tiny_recipe(tmp_path, sources=[away]), tmp_path / "http")
        again = build(tiny_recipe(tmp_path, sources=[away]), tmp_path / "http")
        assert server.gets(".tar") == ["/train-0000.tar"]
    assert shards(tmp_path / "http") == shards(tmp_path / "folder")
    assert again.planned.plan.is_empty

    build(tiny_recipe(tmp_path, captions={"kind": "sidecar"}), tmp_path / "folder")
    build(tiny_recipe(tmp_path, sources=[source], captions={"kind": "source"}), tmp_path / "tar")
    for file in files:
        (one,), (other,) = (
            read_built(tmp_path / "folder").samples[file.name],
            read_built(tmp_path / "tar").samples[f"train-0000/{file.name}"],
        )
        assert one.members["txt"] == other.members["txt"] == f"words on {file.stem}".encode()
        assert (one.key, one.lq, one.gt) == (other.key, other.lq, other.gt)


def test_a_tar_of_pairs_gives_the_shards_of_their_folders(tmp_path: Path) -> None:
    members = {}
    for i in range(3):
        clean = photo(tmp_path / "gt" / f"{i}.png", seed=i)
        hazy = save(tmp_path / "lq" / f"{i}.jpg", np.rint(0.3 * picture(seed=i) + 154).astype(np.uint8), quality=95)
        members |= {f"{i}.jpg": hazy.read_bytes(), f"{i}.gt.png": clean.read_bytes()}
        members |= {f"{i}.json": b'{"degradation": "hazy"}'}
    pack(tmp_path / "pairs.tar", members)
    folders = {"kind": "pairs", "lq": "lq", "gt": "gt", "degradation": "hazy"}
    build(tiny_recipe(tmp_path, sources=[folders], degradations={}), tmp_path / "folders")
    web = {"kind": "webdataset", "path": "pairs.tar"}
    build(tiny_recipe(tmp_path, sources=[web], degradations={}), tmp_path / "tar")
    assert shards(tmp_path / "folders") == shards(tmp_path / "tar") != {}


def test_a_dataset_of_patina_is_a_source_of_pairs(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    both = {"noisy": {"sigma": 25}, "jpeg-compressed": {}}
    build(tiny_recipe(tmp_path, degradations=both), tmp_path / "first")
    web = {"kind": "webdataset", "path": "first"}
    build(tiny_recipe(tmp_path, sources=[web], degradations={}, captions={"kind": "source"}), tmp_path / "second")
    first, second = read_built(tmp_path / "first"), read_built(tmp_path / "second")

    def images(built: Built) -> set[Any]:
        """Images and captions with their shards' names, less the group of what a pair brings as its own file."""
        stored = [one for samples in built.samples.values() for one in samples]
        return {(s.shard.replace("--lq-jpg", ""), s.lq, s.gt, s.members["txt"]) for s in stored}

    assert images(second) == images(first)
    params = {
        json.loads(s.members["json"])["degradation"]: json.loads(json.loads(s.members["json"])["params"])
        for stored in second.samples.values()
        for s in stored
    }
    assert params["noisy"]["sigma"] == 25
    assert set(params) == set(both)
    assert not second.set_aside


def test_a_tar_that_is_only_named_like_patinas_decides_no_split(tmp_path: Path) -> None:
    members = {"a.png": b"x", "a.gt.png": b"y", "a.json": b'{"degradation": "hazy"}'}
    pack(tmp_path / "set" / "test-hazy-0000.tar", members)
    members["a.json"] = b'{"degradation": "hazy", "schema": 1, "fingerprint": "f"}'
    pack(tmp_path / "set" / "test-snowy-0000.tar", members)
    pack(tmp_path / "set" / "train-snowy-0000.tar", members)
    for name in ("test-0000-snowy", "test-0001-low-light+snowy.0123456789abcdef", "test-0000-of-0010"):
        pack(tmp_path / "set" / f"{name}.tar", members)
    sides = {c.name: c.split for c in WebDataset(str(tmp_path / "set")).find().candidates}
    assert sides == {
        "test-hazy-0000/a.gt.png": "",
        "test-snowy-0000/a.gt.png": "test",
        "train-snowy-0000/a.gt.png": "",
        "test-0000-snowy/a.gt.png": "test",
        "test-0001-low-light+snowy.0123456789abcdef/a.gt.png": "test",
        "test-0000-of-0010/a.gt.png": "",
    }


def test_a_member_that_is_no_image_is_set_aside_by_its_name(tmp_path: Path) -> None:
    members = {f"{i}.png": encoded(picture(seed=i), "PNG") for i in range(2)} | {"2.png": b"no image"}
    pack(tmp_path / "a.tar", members)
    recipe = tiny_recipe(tmp_path, sources=[{"kind": "webdataset", "path": "a.tar"}])
    build(recipe, tmp_path / "out", Options(max_set_aside=0.5))
    built = read_built(tmp_path / "out")
    assert sorted(built.samples) == ["a/0.png", "a/1.png"]
    assert "not an image" in built.set_aside["a/2.png"]


# ---------------------------------------------------------------------------------------------------------------------
# Captions under keys of members json


def packed_json(path: Path, *facts: Any, more: dict[str, bytes] | None = None) -> str:
    members = {f"{i}.{e}": d for i, f in enumerate(facts) for e, d in (("jpg", b"%d" % i), ("json", json.dumps(f)))}
    return str(pack(path, {n: d.encode() if isinstance(d, str) else d for n, d in {**members, **(more or {})}.items()}))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("json:caption", ["a dog", "a cat", ""]),
        ("json:meta.words", ["", "deep", "deeper"]),
        (".JSON:meta.words, json:caption", ["a dog", "deep", "deeper"]),
        ("txt,json:caption", ["a dog", "beside", ""]),
        ("json:list", ["one", "", ""]),
        ("json:a.b", ["dotted", "", ""]),
    ],
)
def test_captions_lie_under_keys_of_members_json(tmp_path: Path, caption: str, expected: list[str]) -> None:
    facts = (
        {"caption": "a dog", "width": 3, "list": ["one", "two"], "a.b": "dotted", "meta": {"words": None}},
        {"caption": "a cat", "meta": {"words": "deep"}},
        {"caption": None, "meta": {"words": "deeper"}},
    )
    path = packed_json(tmp_path / "a.tar", *facts, more={"1.txt": b"beside"})
    result = WebDataset(path, caption=caption).find()
    assert [c.caption for c in result.candidates] == expected and not result.refusals


def test_a_member_json_as_a_whole_is_no_caption(tmp_path: Path) -> None:
    path = packed_json(tmp_path / "a.tar", {"url": "https://x", "text": "a dog", "exif": {"make": "x"}, "width": 3})
    with pytest.raises(SourceError) as raised:
        WebDataset(path, caption="json").find()
    assert str(raised.value) == (
        "caption: the member json holds JSON and no sentence; name the key of the sentence, such as "
        "caption = \"json:text\"; found in a/0.json the keys 'url', 'text', 'exif.make'"
    )
    with pytest.raises(SourceError, match="no member json has a text under the key 'txt'; did you mean 'text'"):
        WebDataset(path, caption="json:txt").find()
    with pytest.raises(SourceError, match="expected a key of a member json, such as json:x, found txt:x"):
        WebDataset(path, caption="txt:x")
    assert WebDataset(path, caption="txt").find().notes == []
    assert WebDataset(path).find().notes == [
        "no sample has a member txt or caption.txt, and a/0.json has a text under 'text'; for captions from there set "
        'caption = "json:text"'
    ]


def test_what_stands_under_a_key_and_is_no_text_is_told(tmp_path: Path) -> None:
    more = {"3.jpg": b"3", "3.json": b"{"}
    path = packed_json(tmp_path / "a.tar", {"c": "fine"}, {"c": 3}, {"c": {"d": "x"}}, more=more)
    result = WebDataset(path, caption="json:c").find()
    assert [c.caption for c in result.candidates] == ["fine", "", "", ""]
    reasons = aside(result)
    assert reasons["a/1.json"] == "has 3 under the key 'c', and no text; its image is taken without a caption"
    assert reasons["a/2.json"].startswith("has an object under the key 'c'")
    assert reasons["a/3.json"].startswith("is no JSON")


# ---------------------------------------------------------------------------------------------------------------------
# What is in tars beside plain samples


def test_links_and_other_members_that_are_no_files_are_told_once(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {"a.png": b"A"})
    with tarfile.open(path, "a") as tar:
        for name, kind in (
            ("b.png", tarfile.SYMTYPE),
            ("c.png", tarfile.SYMTYPE),
            ("d.png", tarfile.LNKTYPE),
            ("e.png", tarfile.FIFOTYPE),
            ("f.png", tarfile.CHRTYPE),
            ("g.png", b"Z"),
            ("h.png", b"Z"),
            ("folder", tarfile.DIRTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.png" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
            tar.addfile(info)
    for _ in range(2):  # the index is kept
        result = WebDataset(str(path)).find()
        assert [c.name for c in result.candidates] == ["a/a.png"]
        assert aside(result) == {
            "a.tar": "holds 2 symbolic links, such as 'b.png → a.png'; 1 hard link, such as 'd.png → a.png'; 1 pipe, "
            "such as 'e.png'; 1 device, such as 'f.png'; 2 members with the unknown kind 'Z', such as 'g.png': they "
            "are not read; pack plain files, by names without .. and, for links, with `tar --dereference "
            "--hard-dereference`"
        }


def test_the_target_of_a_link_with_a_long_name_is_told(tmp_path: Path) -> None:
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{format}.tar"
        with tarfile.open(path, "w", format=format) as tar:
            info = tarfile.TarInfo("b.png")
            info.type, info.linkname = tarfile.SYMTYPE, "x" * 120
            tar.addfile(info)
            info = tarfile.TarInfo("a.png")
            tar.addfile(info)
        index = read_headers(path)
        assert index.others == (("symbolic link", 1, f"b.png → {'x' * 120}"),)
        assert [name for name, _, _ in index.members] == ["a.png"]


def test_odd_names_are_read_or_told(tmp_path: Path) -> None:
    members = {
        "/abs/a.png": b"1",
        "a/./b//c.png": b"2",
        "my photo.png": b"3",
        "v1.0/d.png": b"4",
        "../out.png": b"5",
        "x/../../out.png": b"6",
        ".png": b"7",
        ".hidden/e.png": b"8",
        "0001": b"9",
        "0002": b"10",
        "._a.png": b"mac",
        "__MACOSX/a.png": b"mac",
        ".DS_Store": b"mac",
        "README": b"x",
        "x/LICENSE": b"x",
    }
    result = WebDataset(str(pack(tmp_path / "t.tar", members))).find()
    names = ["t/a/b/c.png", "t/abs/a.png", "t/my photo.png", "t/v1.0/d.png"]
    assert [c.name for c in result.candidates] == names
    assert aside(result) == {
        "t.tar": "holds 2 members with .. in the name, such as '../out.png': they are not read; pack plain files, by "
        "names without .. and, for links, with `tar --dereference --hard-dereference`"
    }
    assert list(result.notes) == [
        "t.tar: 2 members with a hidden name or no key, such as '.png': passed over, as no part of a sample "
        "(KEY.extension)",
        "t.tar: 2 members with no extension, such as '0001': passed over, as no part of a sample (KEY.extension)",
    ]


@pytest.mark.parametrize("other", ["sharp.jpg", "lq.png", "target.webp", "v2.jpg"])
def test_two_images_of_a_sample_whose_extensions_do_not_tell_are_asked_about(tmp_path: Path, other: str) -> None:
    path = str(pack(tmp_path / "t.tar", {"a.jpg": b"1", f"a.{other}": b"2"}))
    with pytest.raises(SourceError, match=f"found in t/a the members jpg and {other}; name the clean one, as gt = "):
        WebDataset(path).find()
    path_two = str(pack(tmp_path / "u.tar", {"a.left.png": b"1", "a.right.png": b"2"}))
    with pytest.raises(SourceError, match=r"found in u/a the members left\.png and right\.png; name the clean one"):
        WebDataset(path_two).find()
    assert len(WebDataset(path, gt=other, lq="jpg", degradation="hazy").find().candidates) == 1
    assert len(WebDataset(str(pack(tmp_path / "m.tar", {"a.jpg": b"1", "a.mask.png": b"2"}))).find().candidates) == 1


def test_a_label_without_degraded_images_is_asked_about(tmp_path: Path) -> None:
    path = str(pack(tmp_path / "a.tar", {"0.png": b"0", "0.degradation.txt": b"noisy", "0.txt": b"a dog"}))
    with pytest.raises(SourceError, match=r"'degradation\.txt' that tells a degradation, and no degraded images"):
        WebDataset(path).find()
    assert len(WebDataset(path, gt="png").find().candidates) == 1, "the recipe may answer for it"
