"""A plan from recipe, sources, captions and what is built."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from json.encoder import encode_basestring
from pathlib import Path
from stat import S_ISREG
from typing import Any, overload

import numpy as np

from patina.captioning.captioner import Run
from patina.pipeline.cache.captions import CaptionStore
from patina.pipeline.cache.scans import ScanStore
from patina.pipeline.codec.installed import RECORD, confirm, known_fingerprint, recall, record_of
from patina.pipeline.disk_errors import expect_there, explain_errors
from patina.pipeline.errors import BuildError, ManifestError, SourceError
from patina.pipeline.format.layout import CARD, CROISSANT, PRIVATE, SHARDS, STORES, STRIP, why_keys_clash
from patina.pipeline.format.manifest import Manifest, load_manifest, read_sides, texts_digest
from patina.pipeline.format.rows import is_sound, known_rows
from patina.pipeline.hashing import canonical_json, file_sha256
from patina.pipeline.machine import available_memory
from patina.pipeline.plan.captions import CaptionState, Problems, resolve_captions
from patina.pipeline.plan.cost import memory_warning
from patina.pipeline.plan.depth_maps import depth_notes
from patina.pipeline.plan.difference import BuildPlan, make_plan
from patina.pipeline.plan.layout_changes import layout_changes
from patina.pipeline.plan.recall import captioner_fingerprints, recall_captions
from patina.pipeline.plan.side_folders import reads_beside, side_folder_notes
from patina.pipeline.plan.stored_files import mixing_notes
from patina.pipeline.plan.wanted import Wanted
from patina.pipeline.progress import Events, Meter, Silent
from patina.pipeline.recipe.recipe import Recipe
from patina.pipeline.redaction import without_secrets
from patina.pipeline.scan.columns import AT_ONCE, Sources, each_hex, hex_of
from patina.pipeline.scan.scan import scan
from patina.pipeline.scan.source import Scan, Source
from patina.pipeline.sources.reader import Refusal
from patina.pipeline.versions import KEEP
from patina.pipeline.versions.lease import open_dataset
from patina.pipeline.versions.version import VersionError, built_folder, changed_papers, expect_home

ALWAYS_ALLOWED = 10
"""Inputs that may be set aside whatever share they are, as long as they are no more than half: a handful of bad files
among few is an accident, and the budget is about sources that are broken as a whole. `--strict` allows none."""


@dataclass(frozen=True)
class Stores:
    """What earlier runs found and captioned, kept in a dataset's private folder."""

    scans: ScanStore
    captions: CaptionStore

    @classmethod
    def open(cls, out: Path) -> Stores:
        """Open both below `out`; in memory if `out` is no dataset's folder yet or cannot be written to."""
        private = out / PRIVATE
        if not private.is_dir() or not os.access(private, os.W_OK):
            return cls(ScanStore(None), CaptionStore(None))
        scans, captions = (private / name for name in STORES)
        return cls(ScanStore(scans), CaptionStore(captions))

    def __enter__(self) -> Stores:
        return self

    def __exit__(self, *_: object) -> None:
        self.scans.close()
        self.captions.close()


@dataclass(frozen=True)
class PlannedBuild:
    """A plan and all that it was made from.

    built_in  the folder where `built` and its shards lie, which is that of a version of the dataset in `out`.
    blocked   what a build would stop for, in words, of a dry run; empty where nothing is in its way.
    """

    out: Path
    built_in: Path
    scan: Scan
    captions: CaptionState
    wanted: Wanted
    plan: BuildPlan
    built: Manifest | None
    damage: Mapping[str, str]
    refusals: tuple[Refusal, ...]
    source_rows: Sequence[Mapping[str, Any]] = field(repr=False)
    sources_digest: str
    blocked: str = ""

    def __repr__(self) -> str:
        return f"<plan for {self.out}: {self.plan.summary()}>"  # its fields hold every photograph

    @property
    def recipe(self) -> Recipe:
        """The recipe that is planned."""
        return self.wanted.recipe

    @property
    def notes(self) -> tuple[str, ...]:
        """Things to know that stop nothing."""
        return self.scan.notes


@dataclass(frozen=True)
class Options:
    """What decides how a build goes, and never what it gives.

    workers        threads for scanning (the runner has its own).
    strict         whether an input that must be set aside is an error.
    max_set_aside  share of the inputs, 0 to 1, above which a build stops: then the sources are broken as a whole. Up to
                   ALWAYS_ALLOWED never stop it, more than half always do.
    paranoid       whether every source and every shard is read and hashed, whatever its times say.
    captioning     on what devices, and how many photographs at a time, a captioner's model runs.
    keep           versions of the dataset that stay beside those that somebody reads: the newest ones, from 1.
    without_links  whether to publish by copies where the file system has no hard or symbolic links.
    """

    workers: int = 1
    strict: bool = False
    max_set_aside: float = 0.05
    paranoid: bool = False
    captioning: Run = field(default_factory=Run)
    keep: int = KEEP
    without_links: bool = False


def plan_from_stores(
    recipe: Recipe,
    out: Path,
    stores: Stores,
    options: Options,
    events: Events | None = None,
    problems: Problems | None = None,
) -> PlannedBuild:
    """Scan the sources and plan the build of `recipe` into `out`. Writes nothing but its stores of what it found.

    `problems`: what models could not caption or judge; such images are set aside, unless a fallback has words for them.
    Raises SourceError for a source that is unusable as a whole.
    """
    recalled = recall("" if options.paranoid else stores.scans.inspection(*RECORD) or "")
    planned = _planned(recipe, out, stores, options, events, problems)
    if recalled and not planned.plan.is_empty and not confirm():
        planned, recalled = _planned(recipe, out, stores, options, events, problems), False
    if not recalled and (record := record_of(known_fingerprint())):
        stores.scans.put([], [(*RECORD, record)])
    return planned


def _planned(
    recipe: Recipe,
    out: Path,
    stores: Stores,
    options: Options,
    events: Events | None,
    problems: Problems | None,
) -> PlannedBuild:
    """The plan, by what is known of this machine's codecs."""
    expect_home(out)
    place = built_folder(out)
    events = events or Silent()
    reading = Meter(events, "reading new photographs", "files")
    comparing = Meter(events, "looking for copies", "steps")
    with reading, comparing:
        found = scan(
            recipe,
            stores.scans,
            workers=options.workers,
            paranoid=options.paranoid,
            progress=reading,
            comparing=comparing,
        )
    try:
        built = load_manifest(place)
    except ManifestError:
        built = None  # the build makes it again; `check` has named what is wrong with it
    may_lack = any(reads_beside(synthesis.degradation) for synthesis in recipe.degradations.values())
    usable, lacking = Sources.of(found.sources), list[Refusal]()
    if may_lack:
        lacks = [_lack(recipe, source) for source in usable]
        lacking = [Refusal(usable.names[row], lack) for row, lack in enumerate(lacks) if lack]
        usable = usable.take(np.flatnonzero([not lack for lack in lacks])) if lacking else usable
    problems = {**({} if options.paranoid else _known_problems(usable, stores.scans)), **(problems or {})}
    aside = [refusal.name.partition(" with ")[0] for refusal in (*found.refusals, *lacking)]
    aside += [found.leaks.names[content] for content in found.leaks.left_out]
    captions = resolve_captions(recipe, usable, stores.captions, problems, aside)
    if captions.pending and recall_captions(recipe, place, built, usable, stores.captions):
        captions = resolve_captions(recipe, usable, stores.captions, problems, aside)
    sources = usable
    if len(captions.assigned) < len(usable):
        sources = usable.take(np.flatnonzero([digest in captions.assigned for digest in each_hex(usable.digests)]))
    wanted = Wanted(recipe, known_fingerprint(), captions.assigned, sources)
    if clash := why_keys_clash(wanted.identities):
        raise SourceError(f"degradations of pairs: {clash}")
    damage = _damage(out, place, built, stores.scans, options.paranoid)
    side_notes = [
        *side_folder_notes(recipe),
        *mixing_notes(recipe, sources),
        *depth_notes(recipe, sources, stores.scans, options.workers),
    ]
    found = replace(found, notes=(*found.notes, *captions.notes, *side_notes, *_unused(recipe, sources)))
    rows = SourceTable(recipe, sources, captions.similarity)
    refusals = tuple(sorted([*found.refusals, *lacking, *captions.refusals], key=lambda r: (r.name, r.reason)))
    told = {"notes": list(found.notes), "captioners": captioner_fingerprints(recipe), "identities": wanted.identities}
    facts = texts_digest(
        chain(rows.texts(), map(canonical_json, chain(map(refusal_record, refusals), [found.leaks.facts(), told])))
    )
    plan = make_plan(wanted, built, damage, partial(known_rows, place, built), sources_digest=facts)
    if built and not _papers_are_there(place, built):
        plan = replace(plan, relabel=True)
    if built and built.recipe_digest != recipe.digest and not plan.is_empty:
        plan = replace(plan, changes=layout_changes(wanted, built, read_sides(place)))
    _warn_of_memory(memory_warning(wanted, [step.shard for step in plan.build], options.workers, available_memory()))
    return PlannedBuild(out, place, found, captions, wanted, plan, built, damage, refusals, rows, facts)


def plan_build(recipe: Recipe, out: Path, options: Options, events: Events | None = None) -> PlannedBuild:
    """Plan the build of `recipe` into `out` by what its stores know, which are all that is written to.

    Raises SourceError, ManifestError, BuildError, OSError.
    """
    expect_home(out)
    less = "plan with fewer --workers, or where there is more"
    with explain_errors(out, less), Stores.open(out) as stores, ExitStack() as reading:
        with suppress(VersionError):  # a damaged one is built anew
            reading.enter_context(open_dataset(out))
        return plan_from_stores(recipe, out, stores, options, events)


@cache
def _warn_of_memory(warning: str) -> None:
    """Say before anything is made, and once, that the workers may not fit: it is of this machine, and no note of the
    dataset's."""
    if warning:
        logging.getLogger(__name__).warning("%s", warning)


def check_budget(planned: PlannedBuild, options: Options) -> None:
    """Raise BuildError if inputs were set aside and `options` forbid it, or too many were, or nothing is left."""
    bad, total = len(planned.refusals), max(planned.scan.seen, len(planned.refusals))
    first = "".join(f"\n  {r.name}: {r.reason}" for r in planned.refusals[:5])
    more = f"\n  … and {bad - 5} more" if bad > 5 else ""
    if not planned.wanted.sources:
        raise BuildError(f"no photograph can be used; {bad} were set aside:{first}{more}")
    if not planned.wanted.shards:
        count, example = len(planned.wanted.sources), planned.wanted.sources[0].names[0]
        raise BuildError(
            f"{count} clean photographs were found, such as {example}, no pair, and the recipe has "
            "no [degradations.…] to apply to them; add one, such as [degradations.noisy]"
        )
    if options.strict and bad:
        raise BuildError(f"{bad} of {total} inputs cannot be used, and --strict was asked for:{first}{more}")
    allowed = min(max(ALWAYS_ALLOWED, int(options.max_set_aside * total)), total // 2)
    if bad > allowed:
        raise BuildError(
            f"{bad} of {total} inputs cannot be used, more than the {allowed} allowed (--max-set-aside "
            f"{options.max_set_aside:g}; {ALWAYS_ALLOWED} are always allowed, but never more than half); are the "
            f"sources what you meant?{first}{more}"
        )


def _lack(recipe: Recipe, source: Source) -> str:
    """What the recipe's degradations would need for a photograph and have not, in words; "" for nothing."""
    if source.is_pair:
        return ""
    entries = source.entries or recipe.degradations
    missing_input = (recipe.degradations[entry].degradation.missing_input(source.names[0]) for entry in entries)
    return next((lack for lack in missing_input if lack), "")


def _unused(recipe: Recipe, sources: Sources) -> list[str]:
    """Sentences on degradations of the recipe that no photograph undergoes."""
    clean = [source for source in sources.examples if not source.is_pair]
    used = {entry for source in clean for entry in source.entries or recipe.degradations}
    why = "every source of clean photographs names others" if clean else "the sources hold no clean photograph"
    return [
        f"[degradations.{entry}] is applied to nothing: {why}; name it in a source's `degradations`, or remove it"
        for entry in recipe.degradations
        if entry not in used and len(sources)
    ]


def _known_problems(sources: Sources, store: ScanStore) -> Problems:
    """What models could not caption or judge in earlier builds. By name as well, since the reasons tell it."""
    kept = store.problems()
    names = set(zip(each_hex(sources.contents), sources.names, strict=True)) if kept else set()
    return {(model, content): reason for (model, content, name), reason in kept.items() if (content, name) in names}


def _papers_are_there(out: Path, built: Manifest) -> bool:
    """Whether tables, card and Croissant file lie beside the manifest, as they were written; and the card's picture,
    if the card has one: nothing is written for the picture alone that an earlier release did not draw."""
    if not (out / CARD).is_file() or not (out / CROISSANT).is_file():
        return False
    if not (out / STRIP).is_file() and f"({STRIP})" in (out / CARD).read_text("utf-8", "replace"):
        return False
    return not changed_papers(out) and all(is_sound(out, built, name) for name in built.tables)


def _damage(out: Path, place: Path, built: Manifest | None, store: ScanStore, paranoid: bool) -> dict[str, str]:
    """Shards in the folder `place` that are not as the manifest says, with what is wrong. One whose stat did not change
    is trusted; the store knows it by its public name.

    Raises OutputError if the dataset's folder is gone as a whole."""
    damage: dict[str, str] = {}
    fresh: list[tuple[str, os.stat_result, str]] = []
    begun_ns = time.time_ns()
    for shard in built.shards if built else ():
        path, name = place / SHARDS / shard.name, str(out / SHARDS / shard.name)
        try:
            stat = path.stat()
        except OSError:
            damage[shard.name] = "the file is missing"
            continue
        if not S_ISREG(stat.st_mode):
            damage[shard.name] = "there is no plain file of that name"
            continue
        if stat.st_size != shard.bytes:
            damage[shard.name] = f"the file has {stat.st_size} bytes, not {shard.bytes}"
            continue
        digest = None if paranoid else store.trusted_digest(name, stat)
        if digest is None:
            try:
                digest = file_sha256(path)
            except OSError as error:
                damage[shard.name] = f"the file cannot be read: {error.strerror}"
                continue
            fresh.append((name, stat, digest))
        if digest != shard.sha256:
            damage[shard.name] = "its bytes are not those that were written"
    if damage:
        expect_there(out)
    store.put(fresh, begun_ns=begun_ns)
    return damage


def refusal_record(refusal: Refusal) -> dict[str, str]:
    """A refusal as the manifest keeps it."""
    return {"name": refusal.name, "reason": refusal.reason}


class SourceTable(Sequence[Mapping[str, Any]]):
    """The rows of sources.parquet, each made when it is looked at: a million of them would take a gigabyte."""

    def __init__(self, recipe: Recipe, sources: Sources, similarity: Mapping[str, float]) -> None:
        self._sources, self._similarity = sources, similarity
        self._readers = [(reader.title, reader.licence, reader.attribution) for reader in recipe.sources]

    def texts(self) -> Iterator[str]:
        """The rows as canonical JSON, some at a time: an object for each would take most of the time of a plan."""
        sources = self._sources
        forms = [self._form(example) for example in sources.examples]
        for start in range(0, len(sources), AT_ONCE):
            rows = slice(start, start + AT_ONCE)
            digests, contents = hex_of(sources.digests[rows]), hex_of(sources.contents[rows])
            names, phashes = sources.names[rows], sources.phashes[rows].tolist()
            kinds, sizes = sources.kinds[rows].tolist(), sources.bytes[rows].tolist()
            texts = []
            for i, digest in enumerate(digests):
                if start + i in sources.whole or digest in self._similarity:
                    texts.append(canonical_json(self._row(sources[start + i])))
                else:
                    own = (sizes[i], contents[i], digest, encode_basestring(names[i]), phashes[i])
                    texts.append(forms[kinds[i]] % own)
            yield "".join(texts)

    def _form(self, example: Source) -> str:
        """The JSON of the rows of a kind, with places for what is each one's own, in the order of its keys."""
        row = self._row(example) | {"similarity": None}
        own = {"bytes": "%d", "content": '"%s"', "digest": '"%s"', "names": "[%s]", "phash": '"%016x"'}
        cells = [
            f'"{name}":{own[name] if name in own else canonical_json(row[name]).replace("%", "%%")}'
            for name in sorted(row)
        ]
        return f"{{{','.join(cells)}}}"

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return list(map(self._row, self._sources[index]))
        return self._row(self._sources[index])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(self._row, self._sources)

    def _row(self, source: Source) -> dict[str, Any]:
        title, licence, attribution = self._readers[source.source_index]
        return {
            "digest": source.digest,
            "content": source.content,
            "lq_digest": source.lq_digest,
            "lq_name": source.lq_name,
            "names": list(source.names),
            "split": source.split,
            "degradation": source.degradation,
            "set": title,
            "licence": without_secrets(licence or source.licence),
            "attribution": without_secrets(attribution or source.attribution),
            "phash": source.info.phash,
            "bytes": source.bytes,
            "width": source.info.width,
            "height": source.info.height,
            "similarity": self._similarity.get(source.digest),
        }
