"""Samples copied from an old shard: what is known of it is not found out again, and nothing rotten comes along."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from patina.pipeline.builder import samples
from patina.pipeline.builder.build import build
from patina.pipeline.format.layout import PRIVATE, SHARDS, STORES
from patina.pipeline.format.manifest import load_manifest, read_samples
from patina.pipeline.hashing import file_sha256
from patina.pipeline.plan.planning import Stores
from patina.pipeline.report.check import check
from tests.pipeline.making import photo, photos, public_files, tiny_recipe

SAMPLES = 6


def replaced(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset of one shard, of which the photograph of the last sample changed since; and its shard."""
    paths = photos(tmp_path / "photos", SAMPLES)
    out = tmp_path / "out"
    build(tiny_recipe(tmp_path), out)
    last = read_samples(out)[-1].source_sha256
    photo(next(path for path in paths if file_sha256(path) == last), seed=99)
    return out, (out / SHARDS / "train-0000-noisy.tar").resolve()


def built_anew(tmp_path: Path) -> dict[str, bytes]:
    build(tiny_recipe(tmp_path), tmp_path / "anew")
    return contents(tmp_path / "anew")


def contents(out: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in public_files(out).items()}


def flip(shard: Path, offset: int) -> None:
    data = bytearray(shard.read_bytes())
    data[offset] ^= 1
    with shard.open("r+b") as file:  # the same file: other versions may share it
        file.write(data)


def trust(out: Path, shard: Path) -> None:
    """Let the store believe that the shard is what was written: what rots on a disk changes no time."""
    (entry,) = load_manifest(out).shards  # type: ignore[union-attr]
    with Stores.open(out) as stores:
        stores.scans.put([(str(out.absolute() / SHARDS / entry.name), shard.stat(), entry.sha256)], settled=True)


def test_a_shard_whose_stat_is_as_stored_is_not_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = replaced(tmp_path)

    def refuse(shard: samples.ShardReader) -> str:
        raise AssertionError(f"{shard.path} is hashed")

    monkeypatch.setattr(samples.ShardReader, "sha256", refuse)
    result = build(tiny_recipe(tmp_path), out)
    assert [(r.copied, r.synthesised) for r in result.results] == [(SAMPLES - 1, 1)]
    monkeypatch.undo()
    assert contents(out) == built_anew(tmp_path)


def test_what_rotted_in_an_old_shard_is_made_anew_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out, shard = replaced(tmp_path)
    rotten, row = read_samples(out)[1:3]
    flip(shard, rotten.offset + rotten.size // 2)
    trust(out, shard)
    with caplog.at_level(logging.WARNING):
        result = build(tiny_recipe(tmp_path), out)
    assert sum(r.synthesised for r in result.results) == 2
    assert f"{rotten.key} is damaged" in caplog.text and row.key not in caplog.text
    assert contents(out) == built_anew(tmp_path)
    assert check(out).samples == SAMPLES
    assert caplog.text.count(rotten.key) == 1


@pytest.mark.parametrize("what", ["forgotten", "other"])
def test_without_sums_of_its_samples_the_old_shard_is_hashed(tmp_path: Path, what: str) -> None:
    """A store of an earlier release has none, and a damaged one gives none: then the whole file decides."""
    out, shard = replaced(tmp_path)
    first = read_samples(out)[0]
    flip(shard, first.offset + first.size // 2)
    trust(out, shard)
    (entry,) = load_manifest(out).shards  # type: ignore[union-attr]
    with Stores.open(out) as stores:
        stores.scans.put_sums({entry.sha256: [1]} if what == "other" else {}, {"another"})
    result = build(tiny_recipe(tmp_path), out)
    assert sum(r.synthesised for r in result.results) == SAMPLES
    assert contents(out) == built_anew(tmp_path)


def test_a_shard_that_is_written_meanwhile_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan trusted it; by the time of copying its stat has changed, and its bytes with it."""
    out, shard = replaced(tmp_path)
    make = samples.SampleMaker.sample
    first = read_samples(out)[0]
    done: list[bool] = []

    def late(self: samples.SampleMaker, sample: samples.WantedSample) -> object:
        if not done:
            flip(shard, first.offset + first.size // 2)
            done.append(True)
        return make(self, sample)

    monkeypatch.setattr(samples.SampleMaker, "sample", late)
    result = build(tiny_recipe(tmp_path), out)
    monkeypatch.undo()
    assert sum(r.synthesised for r in result.results) == SAMPLES
    assert contents(out) == built_anew(tmp_path)


def test_sums_are_kept_of_the_present_shards_alone(tmp_path: Path) -> None:
    out, _ = replaced(tmp_path)
    before = load_manifest(out)
    build(tiny_recipe(tmp_path), out)
    after = load_manifest(out)
    assert before and after and (out / PRIVATE / STORES[0]).exists()
    with Stores.open(out) as stores:
        assert [len(stores.scans.sums(m.shards[0].sha256)) for m in (before, after)] == [0, SAMPLES]
