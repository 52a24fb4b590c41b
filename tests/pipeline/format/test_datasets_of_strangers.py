"""The dataset of a stranger, opened by everything that reads one: an error in words, or a result; nothing else.

A sound dataset is changed at one place by chance, with a seed, and sealed again, so that no digest gives that away: a
value of the manifest, a cell of a table, a fact of a sample, a member, a header of a tar, the record of a version.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import patina
from patina.flows.cli.user_errors import is_for_the_user
from patina.pipeline.builder.build import build
from patina.pipeline.builder.history import free, rollback
from patina.pipeline.errors import DamagedShardError
from patina.pipeline.export import EXPORTS
from patina.pipeline.export.push import check_folder, check_licences
from patina.pipeline.export.run import choose, export
from patina.pipeline.format.layout import MANIFEST, PRIVATE, SAMPLES, SHARDS, SOURCES
from patina.pipeline.format.manifest import load_manifest, read_sources
from patina.pipeline.format.rows import row_of
from patina.pipeline.format.shard import pack, read_shard
from patina.pipeline.format.untrusted import facts_of
from patina.pipeline.hashing import canonical_json, file_sha256
from patina.pipeline.plan.planning import Options, plan_build
from patina.pipeline.report.diff import read_snapshot
from patina.pipeline.report.diff_page import write_diff_page
from patina.pipeline.report.gallery import contact_sheet, ladder_sheet, write_gallery
from patina.pipeline.report.show import find_samples, story
from patina.pipeline.report.versions import list_versions
from patina.training.data.batches import make_batch
from patina.training.data.index import read_index
from patina.training.stages.stage import Data
from tests.pipeline.making import make_plain, photos, tiny_recipe

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e308, float("nan"), float("inf"), "", " ", "x" * 5000, "\0",
    "\x1b[2J", "\ud800", "../../outside", "/etc/passwd", "<script>alert(1)</script>", "=1+1", "é" * 300, [],
    [None], [[]], {}, {"a": {}}, {"": ""},
)  # fmt: skip
"""What takes the place of a value."""


@dataclass
class Stranger:
    """A dataset that was changed, and what it was before."""

    folder: Path
    out: Path
    good: Path

    def manifest(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((self.good / MANIFEST).read_text("utf-8"))
        return body

    def seal(self, body: dict[str, Any]) -> None:
        """Write a manifest that fits what lies there: digests of shards, and no sum, as earlier releases wrote none."""
        try:
            for shard in body["shards"]:
                path = self.out / SHARDS / f"{shard['split']}-{shard['bucket']:04d}-{shard['degradation']}.tar"
                if path.is_file():
                    shard |= {"sha256": file_sha256(path), "bytes": path.stat().st_size}
            lines = "".join(
                f"{s['sha256']}  {s['split']}-{s['bucket']:04d}-{s['degradation']}.tar\n" for s in body["shards"]
            )
            body["digest"] = hashlib.sha256(lines.encode()).hexdigest()
        except (KeyError, TypeError, ValueError, OSError):
            pass  # it is the shards that were changed
        body.pop("sum", None)
        text = json.dumps(body, allow_nan=True)
        (self.out / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))

    def reseal_tables(self) -> None:
        body = self.manifest()
        body["tables"] = {name: file_sha256(self.out / name) for name in (SAMPLES, SOURCES)}
        self.seal(body)


def change_value(body: Any, chance: random.Random) -> None:
    """Replace, remove or repeat one value of a tree of JSON, at any depth."""
    while True:
        keys = list(body) if isinstance(body, dict) else list(range(len(body)))
        key = chance.choice(keys)
        below = body[key]
        if isinstance(below, dict | list) and below and chance.random() < 0.75:
            body = below
            continue
        how = chance.random()
        if how < 0.15:
            del body[key]
        elif how < 0.25 and isinstance(body, list):
            body.append(below)
        else:
            body[key] = chance.choice(VALUES)
        return


def in_manifest(stranger: Stranger, chance: random.Random) -> None:
    body = stranger.manifest()
    change_value(body, chance)
    if chance.random() < 0.7:
        stranger.seal(body)
    else:
        (stranger.out / MANIFEST).write_bytes(json.dumps(body).encode("utf-8", "surrogatepass"))


def in_table(stranger: Stranger, chance: random.Random) -> None:
    name = chance.choice((SAMPLES, SOURCES))
    table = pq.read_table(stranger.good / name)
    column = chance.randrange(table.num_columns)
    field = table.schema.field(column)
    values = table[column].to_pylist()
    how = chance.random()
    if how < 0.1:
        table = table.remove_column(column)
    elif how < 0.2:
        table = table.slice(0, chance.randrange(len(table)))
    elif how < 0.3:
        table = pa.concat_tables([table, table.slice(0, 1)])
    elif how < 0.4:
        table = table.set_column(column, field.name, pa.array([str(value) for value in values]))
    else:
        try:
            values[chance.randrange(len(values))] = chance.choice(VALUES)
            table = table.set_column(column, field, pa.array(values, field.type))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
            table = table.set_column(column, field.name, pa.nulls(len(values), field.type))
    pq.write_table(table, stranger.out / name)
    stranger.reseal_tables()


def in_sample(stranger: Stranger, chance: random.Random) -> None:
    """A sample's facts, caption or images; its place in the table stays true where its size does."""
    path = chance.choice(sorted((stranger.good / SHARDS).glob("*.tar")))
    samples = [(key, dict(members)) for key, members, _ in read_shard(path)]
    members = chance.choice(samples)[1]
    name = chance.choice(sorted(members))
    if name == "json" and chance.random() < 0.9:
        fact = json.loads(members["json"])
        change_value(fact, chance)
        members["json"] = json.dumps(fact).encode("utf-8", "surrogatepass")
    elif chance.random() < 0.3:
        del members[name]
    elif chance.random() < 0.5:
        members[name] = chance.randbytes(chance.choice((0, 1, 300)))
    else:
        data = bytearray(members[name]) or bytearray(b"x")
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        members[name] = bytes(data)
    packed = [pack(key, tuple(members.items())) for key, members in samples]
    (stranger.out / SHARDS / path.name).write_bytes(b"".join([*packed, bytes(1024)]))
    stranger.seal(stranger.manifest())


def in_tar(stranger: Stranger, chance: random.Random) -> None:
    path = chance.choice(sorted((stranger.good / SHARDS).glob("*.tar")))
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 4))):
        data[chance.randrange(min(len(data), 600)) if chance.random() < 0.5 else chance.randrange(len(data))] = (
            chance.randrange(256)
        )
    if chance.random() < 0.2:
        del data[chance.randrange(len(data)) :]
    (stranger.out / SHARDS / path.name).write_bytes(data)
    stranger.seal(stranger.manifest())


def in_other_file(stranger: Stranger, chance: random.Random) -> None:
    place = chance.choice(("README.md", "croissant.json", MANIFEST, SAMPLES, SOURCES))
    data = bytearray((stranger.good / place).read_bytes())
    if chance.random() < 0.3:
        data = bytearray(chance.randbytes(chance.choice((0, 1, 200))))
    else:
        data[chance.randrange(len(data))] = chance.randrange(256)
    (stranger.out / place).write_bytes(data)


CHANGES = (in_manifest, in_manifest, in_table, in_table, in_sample, in_sample, in_tar, in_other_file)


def restored_first(stranger: Stranger) -> None:
    for row in patina.read_samples(stranger.out)[:1]:
        patina.read_members(stranger.out, row)


def trained_on(stranger: Stranger) -> None:
    index = read_index(stranger.out, "train")
    make_batch(index, Data(batch=2, crop=16), 0, 32, (0, [0, len(index) - 1]))  # type: ignore[arg-type]


def as_a_dataset(stranger: Stranger) -> None:
    data = patina.Dataset(stranger.out, truth=True)
    for i in range(len(data)):
        data[i]


def told(stranger: Stranger) -> None:
    for row in patina.read_samples(stranger.out)[:3]:
        story(stranger.out, row, stranger.folder / "extracted")
    find_samples(stranger.out, "good")


def compared(stranger: Stranger) -> None:
    sides = read_snapshot(stranger.good), read_snapshot(stranger.out)
    found = patina.pipeline.report.diff.diff(*sides)  # type: ignore[attr-defined]
    found.lines()
    write_diff_page(*sides, found, stranger.folder / "diff.html", 4)


def pushed(stranger: Stranger) -> None:
    manifest = check_folder(stranger.out)
    check_licences(read_sources(stranger.out), manifest.recipe)


def exported(stranger: Stranger, name: str) -> None:
    export(stranger.out, stranger.folder / f"as-{name}", choose(name))


def built_upon(stranger: Stranger) -> None:
    recipe = tiny_recipe(stranger.good.parent, tiles={"size": 24})
    plan_build(recipe, stranger.out, Options())
    build(recipe, stranger.out)
    patina.check(stranger.out, replay=None)
    list_versions(stranger.out)
    rollback(stranger.out, "previous")
    free(stranger.out, 1)


READERS: dict[str, Callable[[Stranger], object]] = {
    "check": lambda s: patina.check(s.out, replay=None),
    "members": restored_first,
    "gallery": lambda s: write_gallery(s.out, s.folder / "gallery.html", 8),
    "sheet": lambda s: contact_sheet(s.out, 1),
    "ladder": lambda s: ladder_sheet(s.out),
    "show": told,
    "diff": compared,
    "push": pushed,
    "dataset": as_a_dataset,
    "train": trained_on,
    **{f"export {name}": functools.partial(exported, name=name) for name in EXPORTS},
    "build": built_upon,  # last, as it mends
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stranger")
    photos(folder / "photos", 3, 40, 32)
    build(tiny_recipe(folder, tiles={"size": 24}), folder / "good")
    make_plain(folder / "good")
    return folder / "good"


def open_everywhere(good: Path, place: Path, seed: int) -> list[str]:
    """Change the dataset as `seed` says, and open it with everything; gives what ended otherwise than in words."""
    chance = random.Random(f"stranger {seed}")
    change = chance.choice(CHANGES)
    shutil.copytree(good, place / "out")
    (place / "out" / PRIVATE).mkdir()
    stranger = Stranger(place, place / "out", good)
    change(stranger, chance)
    wrong = []
    for name, reader in READERS.items():
        try:
            reader(stranger)
        except Exception as error:
            words = str(error)
            if not is_for_the_user(error) or "\n" in words.strip() or not words:
                last = traceback.extract_tb(error.__traceback__)[-1]
                frame = f"{Path(last.filename).name}:{last.lineno}"
                wrong.append(f"{seed} {change.__name__} {name}: {type(error).__name__} at {frame}: {words[:150]}")
    for page in place.glob("*.html"):
        if "<script>alert(1)" in page.read_text("utf-8"):
            wrong.append(f"{seed} {page.name}: a script of the dataset's")
    return wrong


def test_facts_are_sealed_as_they_were(good: Path, tmp_path: Path) -> None:
    """Else every change below would be found by its digest alone."""
    shutil.copytree(good, tmp_path / "out")
    stranger = Stranger(tmp_path, tmp_path / "out", good)
    stranger.reseal_tables()
    assert patina.check(tmp_path / "out", replay=None).ok
    assert canonical_json(load_manifest(tmp_path / "out").recipe) == canonical_json(load_manifest(good).recipe)  # type: ignore[union-attr]


@pytest.mark.parametrize("field", ["x", "y", "width", "height", "variant"])
def test_what_no_image_can_measure_is_refused(good: Path, field: str) -> None:
    path = sorted((good / SHARDS).glob("*.tar"))[0]
    key, members, span = next(iter(read_shard(path)))
    fact = json.loads(members["json"])
    for value, is_taken in ((2**31 - 1, True), (2**31, False), (-1, False)):
        changed = {**members, "json": json.dumps({**fact, field: value}).encode()}
        if is_taken:
            assert getattr(row_of(key, changed, span, path.name, "train"), field) == value
            continue
        with pytest.raises(DamagedShardError, match=f"its {field} cannot be {value}"):
            row_of(key, changed, span, path.name, "train")


def test_half_a_character_is_no_text() -> None:
    half = {"text": {"sentence": json.loads('"\\ud800"')}}
    with pytest.raises(DamagedShardError, match="found half of a character"):
        facts_of({"json": json.dumps(half).encode()}, "shard key")
    whole = {"text": {"sentence": "\U0001f308 – é"}}
    assert facts_of({"json": json.dumps(whole).encode()}, "shard key") == whole


@pytest.mark.parametrize("seed", range(40))
def test_a_changed_dataset_ends_in_words(good: Path, tmp_path: Path, seed: int) -> None:
    assert open_everywhere(good, tmp_path, seed) == []


@pytest.mark.slow
def test_two_hundred_changed_datasets_end_in_words(good: Path, tmp_path: Path) -> None:
    wrong = []
    for seed in range(100, 300):
        place = tmp_path / str(seed)
        place.mkdir()
        wrong += open_everywhere(good, place, seed)
        shutil.rmtree(place)
    assert wrong == []
