"""Findings on a finished dataset: is every byte as it was written, and is every sample what it says it is?"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from patina.pipeline.cache import captions, scans
from patina.pipeline.cache.database import damage_of
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.decode import decode, decode_map
from patina.pipeline.codec.fingerprint import codec_fingerprint
from patina.pipeline.disk_errors import expect_there, explaining_errors
from patina.pipeline.errors import BadImageError, DamagedShardError, ManifestError, PipelineError, RecipeError
from patina.pipeline.format import earlier
from patina.pipeline.format.layout import PRIVATE, ROLES, SAMPLES, SCHEMA, SHARDS, SOURCES, STORES, sample_key
from patina.pipeline.format.manifest import (
    Manifest,
    SampleRow,
    ShardEntry,
    load_manifest,
    read_members,
    read_samples,
    read_sources,
)
from patina.pipeline.format.rows import row_of
from patina.pipeline.format.sample_schema import checked
from patina.pipeline.format.shard import read_shard
from patina.pipeline.format.untrusted import facts_of, params_of
from patina.pipeline.hashing import canonical_json, is_intact
from patina.pipeline.recipe.parse import parse_synthesis
from patina.pipeline.scan.leaks.candidates import like_pairs
from patina.pipeline.scan.leaks.registration import register
from patina.pipeline.scan.leaks.types import Scene
from patina.pipeline.stopping import expect_wanted, stoppable_threads
from patina.pipeline.text import counted
from patina.pipeline.versions.lease import OpenDataset, open_dataset
from patina.pipeline.versions.publication import has_names, lost_names
from patina.pipeline.versions.version import changed_papers, current_or_none
from patina.synth.degradation import Degradation
from patina.synth.image import Image, Map
from patina.synth.severity import psnr_of

NEARLY = "came out within one level of what is stored: made on another kind of processor; that is no damage"
"""What is said of samples whose replay rounds otherwise, here and there."""

Depth: TypeAlias = Literal["images", "digests", "sizes"]
"""How far a check goes into shards."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Checked:
    """What was checked, and what was found. `skipped`: what could not be checked here, with reasons; no finding.

    pairs  of the samples that were to be replayed, how many are ingested pairs: patina did not make their LQ.
    """

    shards: int
    samples: int
    replayed: int
    findings: tuple[Finding, ...]
    skipped: tuple[str, ...]
    pairs: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def summary(self) -> str:
        """How much was checked, in words."""
        pairs = f"; {self.pairs} ingested pair{'s' * (self.pairs != 1)} cannot be replayed" if self.pairs else ""
        return f"{counted(self.shards, 'shard')}, {counted(self.samples, 'sample')}, {self.replayed} replayed{pairs}"


@explaining_errors("check with fewer --workers, or where there is more")
def check(
    out: Path,
    replay: int | None = 0,
    *,
    workers: int = 1,
    recipe_folder: Path | None = None,
    copies: bool = True,
    depth: Depth = "images",
    progress: Callable[[int], None] | None = None,
) -> Checked:
    """Check the dataset in `out`, or a version of it (OUT@VERSION): hashes, counts, readability, tables, duplicates
    across splits; and replay samples.

    replay         how many samples to make again from their stored GT and parameters and to compare pixel by pixel
                   with the stored LQ, spread evenly over the dataset; None for all of them.
    recipe_folder  where relative folders in the recipe start (a user's masks); needed for replaying those alone.
    copies         whether copies of one photograph on two sides of a split are a finding. Equal bytes always are.
    depth          `images`: every sample is read, its images decoded and compared with its facts. `digests`: shards are
                   held to their digests alone. `sizes`: to be there, of their sizes: enough after a build, which
                   digests what it writes as it writes it, and knows by times and sizes that the rest is as it was.

    A damaged shard is also forgotten in the scan store, so that the next build makes it again whatever its times say.
    Raises ManifestError if there is no manifest to check against, OutputError if the dataset's disk fails or vanishes,
    BuildError for too little memory.
    """
    with open_dataset(out) as opened:
        return _check(opened, replay, workers, recipe_folder or Path(), copies, depth, progress or (lambda _: None))


def _check(
    opened: OpenDataset,
    replay: int | None,
    workers: int,
    recipe_folder: Path,
    copies: bool,
    depth: Depth,
    progress: Callable[[int], object],
) -> Checked:
    out = opened.folder
    manifest = load_manifest(out)
    if manifest is None:
        raise ManifestError(f"{out}: expected a dataset, found no manifest.json")
    findings = [*_tables(out, manifest), *_stores(opened.home), *_names(opened)]
    listed = not any(f.where == SAMPLES for f in findings)
    rows: list[SampleRow] = read_samples(out) if listed else []
    by_shard: dict[str, list[SampleRow]] = defaultdict(list)
    for row in rows:
        by_shard[row.shard].append(row)
    chosen = _chosen(rows, replay)
    degradations, skipped = _degradations(manifest, recipe_folder)
    if chosen and manifest.codec != codec_fingerprint():
        skipped.append("replay: built with other image codecs than are installed here, so bytes may differ")

    uniform = manifest.schema >= SCHEMA and manifest.recipe.get("storage", {}).get("uniform") is True

    def one(shard: ShardEntry) -> tuple[list[Finding], int, int]:
        cv2.setNumThreads(1)
        told = by_shard.get(shard.name, []) if listed else None
        found = list(_shard(out, shard, told, uniform) if depth == "images" else _bytes(out, shard, told, depth))
        replayed = nearly = 0
        for row in chosen.get(shard.name, ()) if not found else ():
            expect_wanted()
            problem = _replay(out, row, degradations)
            replayed += problem is not None
            nearly += problem == NEARLY
            found += [Finding(f"{shard.name} {row.key}", problem)] if problem and problem != NEARLY else []
        progress(1)
        return found, replayed, nearly

    with stoppable_threads(workers) as pool:
        outcomes = list(pool.map(one, manifest.shards))
    if nearly := sum(nearly for *_, nearly in outcomes):
        skipped.append(f"replay: {nearly} sample{'s' * (nearly != 1)} {NEARLY}")
    damaged = [str(out / SHARDS / e.name) for e, (found, *_) in zip(manifest.shards, outcomes, strict=True) if found]
    if damaged:
        expect_there(opened.home)
    if damaged and os.access(opened.home / PRIVATE, os.W_OK):
        with ScanStore(opened.home / PRIVATE / "scan.sqlite") as store:  # which knows shards by their public names
            store.forget(str(opened.home / SHARDS / Path(path).name) for path in damaged)
    findings += [finding for found, *_ in outcomes for finding in found]
    findings += [*_strays(out, manifest), *_keys(rows, manifest)]
    if not any(f.where in {SAMPLES, SOURCES} for f in findings):
        sources = read_sources(out)
        findings += _duplicates(sources)
        if copies:
            readable = [row for row in rows if str(out / SHARDS / row.shard) not in damaged]
            findings += _copies(out, sources, readable, workers)
    return Checked(
        len(manifest.shards),
        sum(shard.count for shard in manifest.shards),
        sum(replayed for _, replayed, _ in outcomes),
        tuple(findings),
        tuple(skipped),
        sum(not row.seed for same in chosen.values() for row in same),
    )


def _tables(out: Path, manifest: Manifest) -> Iterator[Finding]:
    for name, digest in manifest.tables.items():
        path = out / name
        if not path.exists():
            yield Finding(name, "is missing; `patina build` makes it again")
        elif not is_intact(path, digest):
            yield Finding(name, "its bytes are not those that were written; `patina build` makes it again")
    for name in changed_papers(out):
        found = "its bytes are not those that were written" if (out / name).exists() else "is missing"
        yield Finding(name, f"{found}; `patina build` makes it again")


def _bytes(out: Path, shard: ShardEntry, rows: list[SampleRow] | None, depth: Depth = "digests") -> Iterator[Finding]:
    """A shard from outside: there, with the bytes that were written, and with as many samples as the table has."""
    path = out / SHARDS / shard.name
    if not path.exists():
        yield Finding(shard.name, "is missing; `patina build` makes it again")
    elif path.stat().st_size != shard.bytes or (depth != "sizes" and not is_intact(path, shard.sha256)):
        yield Finding(shard.name, "its bytes are not those that were written; `patina build` makes it again")
    elif rows is not None and len(rows) != shard.count:
        yield Finding(shard.name, f"expected {counted(shard.count, 'sample')}, found {len(rows)} in {SAMPLES}")


def _shard(out: Path, shard: ShardEntry, rows: list[SampleRow] | None, uniform: bool) -> Iterator[Finding]:
    """A shard and all that lies in it, which is of one kind where the recipe asks for `uniform` shards."""
    if outside := list(_bytes(out, shard, None)):
        yield from outside
        return
    path = out / SHARDS / shard.name
    try:
        found: list[SampleRow] = []
        wrong: list[Finding] = []
        first: tuple[str, ...] = ()
        for key, members, span in read_shard(path):
            expect_wanted()
            found.append(row_of(key, members, span, path.name, shard.split))
            wrong += _sample(f"{shard.name} {key}", members)
            first = first or tuple(members)
            if uniform and tuple(members) != first:
                wrong.append(Finding(f"{shard.name} {key}", f"has the members {', '.join(members)}, others {first}"))
        if len(found) != shard.count:
            yield Finding(shard.name, f"expected {counted(shard.count, 'sample')}, found {len(found)}")
        if rows is not None and [asdict(r) for r in found] != [asdict(r) for r in rows]:
            yield Finding(shard.name, f"its samples are not those that {SAMPLES} lists")
        yield from wrong
    except DamagedShardError as error:
        yield Finding(shard.name, str(error))


def _sample(where: str, members: Mapping[str, bytes]) -> Iterator[Finding]:
    """One sample on its own: members, decodable images of one size, facts that fit, binary masks."""
    lq, gt = _pair(members)
    if len(lq) != 1 or len(gt) != 1 or "txt" not in members:
        yield Finding(where, f"expected one LQ, one GT and a caption, found {', '.join(members)}")
        return
    try:
        fact = dict(checked(facts_of(members, "it")))
    except (TypeError, DamagedShardError) as error:
        yield Finding(where, str(error))
        return
    if members["txt"].decode("utf-8", "replace") != fact["caption"]:
        yield Finding(where, "its .txt is not the caption in its .json")
    try:
        images = {name: decode(members[name]).image for name in (*lq, *gt)}
        rest = {name: body for name, body in members.items() if name not in {*lq, *gt, "txt", "json"}}
        images |= {name: decode(body).image for name, body in rest.items() if name.startswith("step-")}
        maps = {name: decode_map(body) for name, body in rest.items() if name not in images}
    except BadImageError as error:
        yield Finding(where, f"an image {error}")
        return
    size = (fact["height"], fact["width"])
    for name, image in (*images.items(), *((n, m) for n, m in maps.items() if not n.endswith("kernel.png"))):
        if image.shape[:2] != size:
            found = f"{image.shape[1]}×{image.shape[0]}"
            yield Finding(where, f"{name} is {found} px, its .json says {size[1]}×{size[0]}")
            return
    psnr = psnr_of(images[gt[0]], images[lq[0]])
    if abs(psnr - fact["severity"]["psnr"]) > 1e-3:
        yield Finding(where, f"its PSNR is {psnr}, not {fact['severity']['psnr']}")


def _pair(members: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
    return [n for n in members if n in ROLES["lq"]], [n for n in members if n in ROLES["gt"]]


def _chosen(rows: list[SampleRow], replay: int | None) -> dict[str, list[SampleRow]]:
    """The rows to replay by shard: all, or so many at equal distances."""
    count = len(rows) if replay is None else min(replay, len(rows))
    chosen: dict[str, list[SampleRow]] = defaultdict(list)
    for i in range(count):
        row = rows[i * len(rows) // count]
        chosen[row.shard].append(row)
    return chosen


def _degradations(manifest: Manifest, folder: Path) -> tuple[dict[str, Degradation], list[str]]:
    """The degradations of the manifest's recipe as they are installed here; and which cannot be had."""
    made: dict[str, Degradation] = {}
    skipped = []
    for entry, table in manifest.recipe["degradations"].items():
        try:
            synthesis = parse_synthesis(entry, table, folder)[0]
        except RecipeError as error:
            skipped.append(f"replay of {error}")
            continue
        stored = manifest.identities.get(entry, {})
        if any(stored.get(key) != value for key, value in synthesis.identity().items()):
            skipped.append(f"replay of {entry}: built by another version of it than is installed, or with other masks")
        else:
            made[entry] = synthesis.degradation
    return made, skipped


def _replay(out: Path, row: SampleRow, degradations: Mapping[str, Degradation]) -> str | None:
    """Make a sample's LQ again. Empty if it is as stored, NEARLY if within a level, another problem if not, None if it
    cannot be replayed."""
    try:
        return _replayed(out, row, degradations)
    except (MemoryError, OSError, PipelineError):
        raise
    except Exception as error:  # whatever a degradation says to parameters that it would never draw
        return f"its parameters cannot be applied ({type(error).__name__}: {error})"


def _replayed(out: Path, row: SampleRow, degradations: Mapping[str, Degradation]) -> str | None:
    degradation = degradations.get(row.entry)
    if degradation is None or not row.seed:
        return None
    members = read_members(out, row)
    lq, gt = _pair(members)
    clean: Image = decode(members[gt[0]]).image
    params = params_of(row.params, row.key)
    result = degradation.apply(clean, params)
    if canonical_json(params) != row.params:
        return "its LQ is not what its GT and parameters give"
    apart = _apart(result.image, decode(members[lq[0]]).image)
    if apart > 1:
        return "its LQ is not what its GT and parameters give"
    if result.file and result.file[0] == lq[0] and result.file[1] != members[lq[0]] and not apart:
        return "its LQ file is not the one that its GT and parameters give"
    maps: dict[str, tuple[Image | Map, Image | Map]]
    maps = {name: (step, decode(members[f"{name}.png"]).image) for name, step in result.steps.items()}
    maps |= {name: (values, decode_map(members[f"{name}.png"])) for name, values in result.truth.items()}
    for name, (made, stored) in maps.items():
        apart = max(apart, further := _apart(made, stored))
        if further > 1:
            return f"its {name} is not the one that its parameters give"
    return NEARLY if apart else ""


def _apart(made: Image | Map, stored: Image | Map) -> int:
    """By how many levels two images or maps differ at most, of 8 bits or of 16; of other shapes by more than all."""
    if made.shape != stored.shape or made.dtype != stored.dtype:
        return 1 << 16
    return int(np.abs(made.astype(np.int32) - stored).max())


def _strays(out: Path, manifest: Manifest) -> list[Finding]:
    """Files among the shards that the manifest does not know: a reader that takes *.tar would train on them."""
    known = {shard.name for shard in manifest.shards} | earlier.papers(manifest.schema)
    there = sorted(path.name for path in (out / SHARDS).iterdir()) if (out / SHARDS).is_dir() else []
    return [Finding(f"{SHARDS}/{name}", "is not in the manifest") for name in there if name not in known]


def _keys(rows: list[SampleRow], manifest: Manifest) -> Iterator[Finding]:
    """Keys that two samples have, for a reader would take members of both for one sample; and keys that name another
    sample than theirs. In an earlier version of the stored format every entry had the same keys."""
    if manifest.schema < SCHEMA:
        return
    seen: dict[str, SampleRow] = {}
    for row in rows:
        if (other := seen.setdefault(row.key, row)) is not row:
            yield Finding(f"{row.shard} {row.key}", f"{other.shard} has a sample of this key too")
        plain = sample_key(row.source_sha256, row.entry, None, row.variant)
        placed = sample_key(row.source_sha256, row.entry, (row.x, row.y), row.variant)
        if row.key not in {plain, placed}:
            yield Finding(f"{row.shard} {row.key}", f"its key is not that of what it is, {placed}")


def _names(opened: OpenDataset) -> Iterator[Finding]:
    """Public names that do not lead to the current version: other readers find something else than patina does."""
    if opened.version and opened.version == current_or_none(opened.home) and not has_names(opened.home):
        lost = ", ".join(lost_names(opened.home))
        yield Finding(lost, "does not lead to the current version; `patina build` mends it, and keeps what is there")


def _stores(out: Path) -> Iterator[Finding]:
    """Stores of what was found and captioned that a build does not take as they are, and begins anew."""
    for name, schema in zip(STORES, (scans.SCHEMA, captions.SCHEMA), strict=True):
        if problem := damage_of(out / PRIVATE / name, schema):
            yield Finding(f"{PRIVATE}/{name}", f"{problem}; `patina build` puts it aside and begins anew")


def _duplicates(sources: list[dict[str, Any]]) -> Iterator[Finding]:
    """Clean images that stand on two sides of a split under equal bytes."""
    sides: dict[str, set[str]] = defaultdict(set)
    for source in sources:
        sides[source["content"]].add(source["split"])
    for content, splits in sides.items():
        if len(splits) > 1:
            yield Finding(content[:16], f"the same clean image is in {' and '.join(sorted(splits))}")


def _copies(out: Path, sources: list[dict[str, Any]], rows: list[SampleRow], workers: int) -> list[Finding]:
    """Photographs that stand on two sides of a split under other bytes, by the clean images of `rows`.

    As a build does, it compares photographs and no tiles, which are alike wherever there is sky: a photograph is laid
    together out of its tiles, and one that they do not cover is left out.
    """
    pieces = _pieces(rows)
    sources = [s for s in sources if _covers(pieces.get(s["digest"], ()), s["width"], s["height"])]
    # In the scan's order: which picture is laid over which may decide a close case.
    known = sorted(sources, key=lambda s: (s["content"], s["digest"]))
    if len({source["split"] for source in known}) < 2:
        return []
    scenes = [_scene(out, source, pieces[source["digest"]]) for source in known]
    # Of ten thousand frames of one film all are near all others: pairs of one side are left out before they are kept.
    with ScanStore(None) as store:
        like = like_pairs(scenes, store, workers, sides=[s.split for s in scenes])
    pairs = like.fitting(like.pairs)
    contents = np.array([scene.content for scene in scenes])
    pairs = pairs[contents[pairs[:, 0]] != contents[pairs[:, 1]]]

    def compare(pair: tuple[int, int]) -> Finding | None:
        expect_wanted()
        cv2.setNumThreads(1)
        one, other = (scenes[place] for place in pair)
        if not register(one.load(), other.load()).same:
            return None
        names = f"{one.name} ({one.split}) and {other.name} ({other.split})"
        return Finding(names, "are near duplicates on two sides of a split; force one `split` for both sources")

    with stoppable_threads(workers) as pool:
        return [finding for finding in pool.map(compare, pairs.tolist()) if finding]


def _pieces(rows: Sequence[SampleRow]) -> dict[str, list[SampleRow]]:
    """Of each source the samples that hold its clean image, or its tiles, once: those of one entry and variant."""
    pieces: dict[str, list[SampleRow]] = {}
    for row in rows:
        there = pieces.setdefault(row.source_sha256, [])
        if not there or (row.entry, row.variant) == (there[0].entry, there[0].variant):
            there.append(row)
    return pieces


def _covers(pieces: Sequence[SampleRow], width: int, height: int) -> bool:
    """Whether clean images lie on every pixel of a photograph of this size."""
    xs = sorted({0, width, *(x for p in pieces for x in (p.x, p.x + p.width))})
    ys = sorted({0, height, *(y for p in pieces for y in (p.y, p.y + p.height))})
    fields = np.zeros((len(ys) - 1, len(xs) - 1), np.bool_)
    for piece in pieces:
        across, down = ((a, a + side) for a, side in ((piece.x, piece.width), (piece.y, piece.height)))
        fields[slice(*map(ys.index, down)), slice(*map(xs.index, across))] = True
    return bool(fields.all())


def _scene(out: Path, source: Mapping[str, Any], pieces: Sequence[SampleRow]) -> Scene:
    """A source whose pixels are those of its samples' GT."""
    return Scene(
        source["content"],
        source["names"][0],
        source["phash"],
        source["width"],
        source["height"],
        source["split"],
        False,
        source["set"],
        partial(_photograph, out, pieces, source["width"], source["height"]),
    )


def _photograph(out: Path, pieces: Sequence[SampleRow], width: int, height: int) -> Image:
    if len(pieces) == 1:
        return _clean(out, pieces[0])
    photograph = np.empty((height, width, 3), np.uint8)
    for piece in pieces:
        rows, columns = slice(piece.y, piece.y + piece.height), slice(piece.x, piece.x + piece.width)
        photograph[rows, columns] = _clean(out, piece)
    return photograph


def _clean(out: Path, row: SampleRow) -> Image:
    members = read_members(out, row)
    return decode(members[_pair(members)[1][0]]).image
