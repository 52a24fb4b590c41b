"""Building a dataset from end to end: scan, plan, caption, shards, publish. Knows what to do, not where it runs."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from captioning.captioner import Run
from captioning.store import CaptionStore, fingerprint
from pipeline.build import BuildError, Copy, ShardJob, ShardResult, build_shard, rows_of_shard
from pipeline.captions import Problems, Words, chain_of, find_words, label, make_words
from pipeline.card import CARD, card
from pipeline.codec import codec_fingerprint
from pipeline.croissant import CROISSANT, croissant
from pipeline.events import Events, Meter, Silent
from pipeline.manifest import (
    MANIFEST,
    SAMPLES,
    SHARDS,
    SOURCES,
    Manifest,
    ManifestError,
    SampleRow,
    ShardEntry,
    load_manifest,
    read_samples,
    rows_digest,
    versions,
    write_samples,
    write_sources,
)
from pipeline.plan import BuildPlan, Wanted, WantedShard, make_plan, reusable_shards
from pipeline.recipe import Recipe, canonical_json
from pipeline.recovered import TRUTH
from pipeline.shard import DamagedShardError, file_sha256
from pipeline.source import Scan, Source, SourceChangedError, scan
from pipeline.sources.reader import Refusal, printable
from pipeline.statistics import read_samples_table, statistics
from pipeline.store import ScanStore
from pipeline.workspace import PRIVATE, Workspace
from synth.compose import Composite
from synth.degradation import Degradation

A = TypeVar("A")
R = TypeVar("R")

MAX_BATCHES = 200
"""Tasks of one build at the most: an orchestrator spends tens of milliseconds on each."""


class Runner(Protocol):
    """Where the steps of a build run. `map` gives one result for each item, in the items' order.

    shares_memory  whether mapped functions run in this process, so that they can report progress as they go.
    """

    shares_memory: bool

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step."""
        ...

    def map(self, step: str, function: Callable[[A], R], items: Sequence[A]) -> list[R]:
        """Run a function over all items, side by side. Raises the first error, after all have ended."""
        ...


class Threads:
    """Steps in this process, shards on `workers` threads: NumPy, OpenCV, Pillow and ISA-L let others run meanwhile."""

    shares_memory = True

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run it here."""
        del step
        return function()

    def map(self, step: str, function: Callable[[A], R], items: Sequence[A]) -> list[R]:
        """Run it on a pool of threads."""
        del step
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            return list(pool.map(function, items))


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
        return cls(ScanStore(private / "scan.sqlite"), CaptionStore(private / "captions.sqlite"))

    def __enter__(self) -> Stores:
        return self

    def __exit__(self, *_: object) -> None:
        self.scans.close()
        self.captions.close()


@dataclass(frozen=True)
class Draft:
    """A plan and all that it was made from."""

    out: Path
    scan: Scan
    words: Words
    wanted: Wanted
    plan: BuildPlan
    built: Manifest | None
    damage: Mapping[str, str]
    refusals: tuple[Refusal, ...]
    source_rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    sources_digest: str

    @property
    def recipe(self) -> Recipe:
        """The recipe that is planned."""
        return self.wanted.recipe

    @property
    def notes(self) -> tuple[str, ...]:
        """Things to know that stop nothing."""
        return self.scan.notes


@dataclass(frozen=True)
class Report:
    """What a build did."""

    manifest: Manifest
    draft: Draft
    results: tuple[ShardResult, ...] = field(repr=False)
    seconds: float
    captions_made: int = 0

    @property
    def samples_written(self) -> int:
        """Samples in the shards that were written, copied ones included."""
        return sum(result.entry.count for result in self.results)


@dataclass(frozen=True)
class Options:
    """What decides how a build goes, and never what it gives.

    workers        threads for scanning (the runner has its own).
    strict         whether an input that must be set aside is an error.
    max_set_aside  share of the inputs, 0 to 1, above which a build stops: then the sources are broken as a whole.
    paranoid       whether every source and every shard is read and hashed, whatever its times say.
    captioning     on what devices, and how many photographs at a time, a captioner's model runs.
    """

    workers: int = 1
    strict: bool = False
    max_set_aside: float = 0.05
    paranoid: bool = False
    captioning: Run = field(default_factory=Run)


def make_draft(
    recipe: Recipe,
    out: Path,
    stores: Stores,
    options: Options,
    events: Events | None = None,
    problems: Problems | None = None,
) -> Draft:
    """Scan the sources and plan the build of `recipe` into `out`. Writes nothing but its stores of what it found.

    `problems`: what models could not caption or judge; such images are set aside, unless a fallback has words for them.
    Raises SourceError for a source that is unusable as a whole.
    """
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
        built = load_manifest(out)
    except ManifestError:
        built = None  # the build makes it again; `check` has named what is wrong with it
    lacking = [Refusal(s.names[0], lack) for s in found.sources if (lack := _lack(recipe, s))]
    usable = [s for s in found.sources if not _lack(recipe, s)] if lacking else found.sources
    words = find_words(recipe, usable, stores.captions, problems or {})
    if words.to_caption and _recall(recipe, out, built, usable, stores.captions):
        words = find_words(recipe, usable, stores.captions, problems or {})
    sources = tuple(s for s in usable if s.digest in words.worded)
    wanted = Wanted(recipe, codec_fingerprint(), words.worded, sources)
    damage = _damage(out, built, stores.scans, options.paranoid)
    rows = tuple(_source_row(recipe, source, words.similarity.get(source.digest)) for source in sources)
    refusals = tuple(sorted([*found.refusals, *lacking, *words.refusals], key=lambda r: (r.name, r.reason)))
    facts = rows_digest([*rows, *map(_reason, refusals), found.leaks.facts()])
    plan = make_plan(
        wanted, built, damage, partial(_rows, out, built), sources_digest=facts, rates=stores.scans.rates()
    )
    if built and not _papers_are_there(out, built):
        plan = replace(plan, relabel=True)
    return Draft(out, found, words, wanted, plan, built, damage, refusals, rows, facts)


def check_budget(draft: Draft, options: Options) -> None:
    """Raise BuildError if inputs were set aside and `options` forbid it, or too many were, or nothing is left."""
    bad, total = len(draft.refusals), max(draft.scan.seen, len(draft.refusals))
    first = "".join(f"\n  {r.name}: {r.reason}" for r in draft.refusals[:5])
    more = f"\n  … and {bad - 5} more" if bad > 5 else ""
    if not draft.wanted.sources:
        raise BuildError(f"no photograph can be used; {bad} were set aside:{first}{more}")
    if not draft.wanted.shards:
        example = draft.wanted.sources[0].names[0]
        raise BuildError(
            f"{len(draft.wanted.sources)} clean photographs were found, such as {example}, no pair, and the recipe has "
            "no [degradations.…] to apply to them; add one, such as [degradations.noisy]"
        )
    if options.strict and bad:
        raise BuildError(f"{bad} of {total} inputs cannot be used, and --strict was asked for:{first}{more}")
    # A handful of bad files among few is an accident; the budget is about sources that are broken as a whole.
    allowed = min(max(10, int(options.max_set_aside * total)), total // 2)
    if bad > allowed:
        raise BuildError(
            f"{bad} of {total} inputs cannot be used, more than the {allowed} allowed (--max-set-aside "
            f"{options.max_set_aside:g}); are the sources what you meant?{first}{more}"
        )


def build(
    recipe: Recipe,
    out: Path,
    options: Options | None = None,
    runner: Runner | None = None,
    events: Events | None = None,
) -> Report:
    """Build or rebuild the dataset of `recipe` in `out`: only what is stale is made, and all of it appears at once.

    Running it again is the way to continue after any interruption. Raises RecipeError, SourceError, BuildError,
    LockedError, ManifestError or OSError; whatever it raises, the dataset is as it was before.
    """
    options, runner, events = options or Options(), runner or Threads(), events or Silent()
    start = time.monotonic()
    with Workspace(out) as workspace, Stores.open(workspace.out) as stores:
        made, moving = 0, ""
        problems: dict[tuple[str, str], str] = {}
        for _ in range(3):
            draft = runner.call("scan and plan", lambda: make_draft(recipe, workspace.out, stores, options, events))
            check_budget(draft, options)
            for _ in range(
                2 * len(chain_of(recipe))
            ):  # a caption that is refused sends its image to the next captioner
                if not draft.words.pending:
                    break
                make = partial(make_words, recipe, draft.words, stores.captions, options.captioning, events)
                found = runner.call("caption", make)
                made += draft.words.pending - len(found)
                problems |= found
                draft = make_draft(recipe, workspace.out, stores, options, problems=problems)
                check_budget(draft, options)
            if draft.plan.captions:  # photographs that came or changed while captions were made
                moving = next(s.path for s in draft.wanted.sources if draft.wanted.captions[s.digest] is None)
                continue
            if draft.plan.is_empty and draft.built:
                workspace.sweep(())
                return Report(draft.built, draft, (), time.monotonic() - start, made)
            jobs = make_jobs(draft, workspace)
            events.begin("building shards", sum(len(job.samples) for job in jobs), "samples")
            tick = events.advance if runner.shares_memory else None
            batches = runner.map("build shards", partial(build_batch, progress=tick), make_batches(jobs))
            events.end()
            results = [r for batch in batches for r in batch if isinstance(r, ShardResult)]
            changed = [r for batch in batches for r in batch if isinstance(r, SourceChangedError)]
            if not changed:
                break
            stores.scans.forget(error.path for error in changed)
            moving = changed[0].path
        else:
            raise BuildError(
                f"sources keep changing while they are read, such as {printable(moving)}; build when they rest"
            )
        manifest = runner.call("publish", partial(publish, draft, workspace, results, stores))
        return Report(manifest, draft, tuple(results), time.monotonic() - start, made)


def idle_report(recipe: Recipe, out: Path, options: Options, events: Events | None = None) -> Report | None:
    """The report of a build that has nothing to do; None if there is something. Far quicker than finding out with
    locks and an orchestrator. Raises like `build`."""
    if not (out / MANIFEST).exists() or (out / PRIVATE / "journal.json").exists():
        return None
    start = time.monotonic()
    with Stores.open(out) as stores:
        draft = make_draft(recipe, out, stores, options, events)
    if not draft.plan.is_empty or draft.built is None:
        return None
    check_budget(draft, options)
    return Report(draft.built, draft, (), time.monotonic() - start)


def make_jobs(draft: Draft, workspace: Workspace) -> list[ShardJob]:
    """The jobs of a plan's steps, largest first, each with what it can copy from shards that are there."""
    plan, built = draft.plan, draft.built
    if not plan.build:
        return []
    have = {entry.name: entry for entry in built.shards} if built else {}
    names = reusable_shards(draft.recipe, built, [step.shard for step in plan.build])
    same: dict[str, Copy] = {}
    same_pixels: dict[str, Copy] = {}
    for row in _rows(draft.out, built, names):
        if row.shard not in draft.damage:
            copy = Copy(str(draft.out / SHARDS / row.shard), row.span)
            same.setdefault(row.fingerprint, copy)
            same_pixels.setdefault(row.pixels, copy)
    jobs = [_job(step.shard, draft, workspace, same, same_pixels, have) for step in plan.build]
    return sorted(jobs, key=lambda job: (-len(job.samples), job.name))


def _job(
    shard: WantedShard,
    draft: Draft,
    workspace: Workspace,
    same: Mapping[str, Copy],
    same_pixels: Mapping[str, Copy],
    have: Mapping[str, ShardEntry],
) -> ShardJob:
    every = (s for source in shard.sources for s in draft.wanted.samples(source, shard.degradation))
    samples = tuple(sorted(every, key=lambda s: s.key))
    copies = {s.fingerprint: same[s.fingerprint] for s in samples if s.fingerprint in same}
    recaptioned = {s.pixels: same_pixels[s.pixels] for s in samples if s.pixels in same_pixels}
    paths = {copy.path for copy in (*copies.values(), *recaptioned.values())}
    synthesis = draft.recipe.degradations.get(shard.degradation)
    return ShardJob(
        split=shard.split,
        word=shard.degradation,
        bucket=shard.bucket,
        fingerprint=shard.fingerprint,
        samples=samples,
        degradation=synthesis.degradation if synthesis else None,
        same=copies,
        same_pixels=recaptioned,
        old_shards={path: have[Path(path).name].sha256 for path in paths},
        staging=str(workspace.staging),
        codec=draft.wanted.codec,
    )


def make_batches(jobs: Sequence[ShardJob]) -> list[list[ShardJob]]:
    """Jobs in MAX_BATCHES batches at the most, of about equal size; the largest first."""
    batches: list[list[ShardJob]] = [[] for _ in range(min(len(jobs), MAX_BATCHES))]
    for i, job in enumerate(jobs):
        batches[i % len(batches)].append(job)
    return batches


def build_batch(
    jobs: Sequence[ShardJob], progress: Callable[[int], None] | None = None
) -> list[ShardResult | SourceChangedError]:
    """Make several shards. One whose source changed meanwhile gives that error in its place; any other error raises."""
    results: list[ShardResult | SourceChangedError] = []
    for job in jobs:
        try:
            results.append(build_shard(job, progress))
        except SourceChangedError as error:
            results.append(error)
    return results


def publish(draft: Draft, workspace: Workspace, results: Sequence[ShardResult], stores: Stores) -> Manifest:
    """Put finished shards, tables, card and manifest in place in one step, and say what the dataset now is."""
    plan, recipe = draft.plan, draft.recipe
    shards = sorted([*plan.keep, *(r.entry for r in results)], key=lambda entry: entry.name)
    kept = [entry.name for entry in plan.keep]
    samples, sources = workspace.staging / SAMPLES, workspace.staging / SOURCES
    made = [row for result in results for row in result.rows]
    if draft.built and _table_is_sound(draft, SAMPLES):
        write_samples(samples, draft.out, kept, made)
    else:  # the old table is lost: the shards say all that it said
        again = [row for e in plan.keep for row in rows_of_shard(draft.out / SHARDS / e.name, e.split)]
        write_samples(samples, draft.out / PRIVATE, [], [*again, *made])
    write_sources(sources, draft.source_rows)
    manifest = Manifest(
        recipe=recipe.table,
        recipe_digest=recipe.digest,
        codec=draft.wanted.codec,
        identities=draft.wanted.identities,
        captioner=label(recipe.captioner),
        captioners={label(c): fingerprint(c) for c in chain_of(recipe)},
        shards=tuple(shards),
        sources=len(draft.source_rows),
        duplicates=sum(len(row["names"]) - 1 for row in draft.source_rows),
        sources_digest=draft.sources_digest,
        set_aside=tuple(_reason(r) for r in draft.refusals),
        notes=draft.notes,
        leaks=draft.scan.leaks.facts(),
        tables={SAMPLES: file_sha256(samples), SOURCES: file_sha256(sources)},
        versions=versions(),
    )
    kinds = (s.degradation for s in recipe.degradations.values())
    truth = {name for degradation in kinds for name in (*degradation.truth, *step_names(degradation))}
    truth |= {name for s in draft.wanted.sources if s.is_pair for name in TRUTH.get(s.degradation, ())}
    sizes = canonical_json({entry.name: entry.count for entry in shards})
    numbers = statistics(read_samples_table(workspace.staging), draft.source_rows)
    table_sizes = {path.name: path.stat().st_size for path in (samples, sources)}
    workspace.publish(
        {r.entry.name: Path(r.staged) for r in results},
        {
            SAMPLES: samples,
            SOURCES: sources,
            CARD: card(manifest, truth, numbers),
            CROISSANT: croissant(manifest, table_sizes, numbers),
            f"{SHARDS}/sizes.json": sizes,
            MANIFEST: manifest.to_json(),
        },
        [entry.name for entry, _ in plan.drop],
    )
    _remember(draft, results, stores)
    return manifest


def step_names(degradation: Degradation) -> tuple[str, ...]:
    """Names of the intermediate targets that its samples carry."""
    if isinstance(degradation, Composite) and degradation.steps:
        return tuple(f"step-{i}" for i in range(1, len(degradation.parts)))
    return ()


# ---------------------------------------------------------------------------------------------------------------------


def _rows(out: Path, built: Manifest | None, names: Iterable[str]) -> list[SampleRow]:
    """Rows of these shards; where the table is lost, those that can be read from the shards themselves."""
    names = list(names)
    try:
        rows = read_samples(out, names)
    except ManifestError:
        rows = []
    if built and built.tables.get(SAMPLES) and (rows or not names):
        return rows
    found = []
    for entry in built.shards if built else ():
        if entry.name in names:
            try:
                found += rows_of_shard(out / SHARDS / entry.name, entry.split)
            except (DamagedShardError, OSError):
                continue
    return found


def _table_is_sound(draft: Draft, name: str) -> bool:
    path = draft.out / name
    expected = draft.built.tables.get(name) if draft.built else None
    return path.exists() and file_sha256(path) == expected


def _lack(recipe: Recipe, source: Source) -> str:
    """What the recipe's degradations would need for a photograph and have not, in words; "" for nothing."""
    if source.is_pair:
        return ""
    entries = source.entries or recipe.degradations
    lacks = (recipe.degradations[entry].degradation.lacks(source.names[0]) for entry in entries)
    return next((lack for lack in lacks if lack), "")


def _recall(recipe: Recipe, out: Path, built: Manifest | None, sources: Sequence[Source], store: CaptionStore) -> int:
    """Put captions that a model made for the built dataset back into a store that has lost them; gives their number.

    A dataset that was copied without its private folder keeps its sentences that way: another machine's model might
    word some of them otherwise. Only of captioners that are wholly those of the built dataset.
    """
    same = [
        captioner
        for captioner in chain_of(recipe)
        if captioner.stored and built and built.captioners.get(label(captioner)) == fingerprint(captioner)
    ]
    if not built or not same:
        return 0
    contents = {source.digest: source.content for source in sources}
    rows = [row for row in _rows(out, built, [entry.name for entry in built.shards]) if row.source in contents]
    count = 0
    for captioner in same:
        key, own = fingerprint(captioner), label(captioner)
        mine = {contents[row.source]: row.caption for row in rows if row.captioner == own}
        there = store.get(mine, key)
        lost = [(content, text) for content, text in mine.items() if content not in there]
        store.put(lost, key)
        count += len(lost)
    return count


def _papers_are_there(out: Path, built: Manifest) -> bool:
    """Whether tables, card and Croissant file lie beside the manifest, the tables as they were written."""
    if not (out / CARD).exists() or not (out / CROISSANT).exists():
        return False
    return all((out / name).exists() and file_sha256(out / name) == digest for name, digest in built.tables.items())


def _damage(out: Path, built: Manifest | None, store: ScanStore, paranoid: bool) -> dict[str, str]:
    """Shards that are not as the manifest says, with what is wrong. One whose stat did not change is trusted."""
    damage: dict[str, str] = {}
    fresh = []
    for entry in built.shards if built else ():
        path = out / SHARDS / entry.name
        try:
            stat = path.stat()
        except OSError:
            damage[entry.name] = "the file is missing"
            continue
        if stat.st_size != entry.bytes:
            damage[entry.name] = f"the file has {stat.st_size} bytes, not {entry.bytes}"
            continue
        digest = None if paranoid else store.trusted_digest(str(path), stat)
        if digest is None:
            digest = file_sha256(path)
            fresh.append((str(path), stat, digest))
        if digest != entry.sha256:
            damage[entry.name] = "its bytes are not those that were written"
    store.put(fresh)
    return damage


def _remember(draft: Draft, results: Sequence[ShardResult], stores: Stores) -> None:
    """Keep the digests of the new shards, and how long and how large each degradation was."""
    paths = [(draft.out / SHARDS / r.entry.name, r.entry.sha256) for r in results]
    stores.scans.put([(str(path), path.stat(), digest) for path, digest in paths], settled=True)
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for result in results:
        if result.megapixels and not result.copied and not result.captioned:
            total = totals[result.entry.degradation]
            total[0] += result.seconds
            total[1] += result.entry.bytes
            total[2] += result.megapixels
    stores.scans.put_rates((word, s / mp, b / mp, mp) for word, (s, b, mp) in totals.items())


def _reason(refusal: Refusal) -> dict[str, str]:
    return {"name": refusal.name, "reason": refusal.reason}


def _source_row(recipe: Recipe, source: Source, similarity: float | None) -> dict[str, Any]:
    reader = recipe.sources[source.entry]
    return {
        "digest": source.digest,
        "content": source.content,
        "lq_digest": source.lq_digest,
        "lq_name": source.lq_name,
        "names": list(source.names),
        "split": source.split,
        "degradation": source.degradation,
        "set": reader.title,
        "licence": reader.licence,
        "attribution": reader.attribution,
        "phash": source.looks.phash,
        "bytes": source.bytes,
        "width": source.looks.width,
        "height": source.looks.height,
        "similarity": similarity,
    }
