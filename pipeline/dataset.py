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
from stat import S_ISREG
from typing import Any, Protocol, TypeVar

from patina.captioning.captioner import Run
from patina.captioning.store import CaptionStore, fingerprint
from patina.pipeline.batches import (
    MAX_BATCHES,
    StoredBatch,
    batch_count,
    expect_sources_seen,
    expect_staged,
    load_batch,
    store_batches,
)
from patina.pipeline.build import BuildError, Copy, ShardJob, ShardResult, build_shard, rows_of_shard, within_memory
from patina.pipeline.captions import Made, Problems, Words, chain_of, find_words, label, make_words
from patina.pipeline.card import CARD, card
from patina.pipeline.codec import BadImageError, codec_fingerprint
from patina.pipeline.croissant import CROISSANT, croissant
from patina.pipeline.events import Events, Meter, Silent
from patina.pipeline.manifest import (
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
    read_sources,
    rows_digest,
    versions,
    write_samples,
    write_sources,
)
from patina.pipeline.plan import BuildPlan, Wanted, WantedShard, make_plan, reusable_shards
from patina.pipeline.recipe import Recipe, canonical_json
from patina.pipeline.recovered import TRUTH
from patina.pipeline.shard import DamagedShardError, file_sha256, is_intact
from patina.pipeline.source import Scan, Source, SourceChangedError, load_clean, scan
from patina.pipeline.sources.reader import Refusal, printable
from patina.pipeline.statistics import read_samples_table, statistics
from patina.pipeline.store import ScanStore
from patina.pipeline.workspace import PRIVATE, STORES, Workspace, expect_there, in_words, is_tidy, speaking_of
from patina.synth.compose import Composite
from patina.synth.degradation import Degradation

A = TypeVar("A")
R = TypeVar("R")


class Runner(Protocol):
    """Where the steps of a build run. `map` gives one result for each item, in the items' order.

    shares_memory  whether mapped functions run in this process, so that they can report progress as they go.
    workers        how many items are under way at a time.
    """

    shares_memory: bool
    workers: int

    def call(self, step: str, function: Callable[[], R]) -> R:
        """Run one step."""
        ...

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run a function over all items, side by side. Raises the first error, after all have ended.

        `finished` is called in this process with each item whose result is there, one at a time.
        """
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

    def map(
        self, step: str, function: Callable[[A], R], items: Sequence[A], finished: Callable[[A], None] | None = None
    ) -> list[R]:
        """Run it on a pool of threads."""
        del step
        results = []
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            for item, result in zip(items, pool.map(function, items), strict=True):
                results.append(result)
                if finished:
                    finished(item)
        return results


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
    problems = {**({} if options.paranoid else _known_problems(usable, stores.scans)), **(problems or {})}
    words = find_words(recipe, usable, stores.captions, problems)
    if words.pending and _recall(recipe, out, built, usable, stores.captions):
        words = find_words(recipe, usable, stores.captions, problems)
    sources = tuple(s for s in usable if s.digest in words.worded)
    wanted = Wanted(recipe, codec_fingerprint(), words.worded, sources)
    damage = _damage(out, built, stores.scans, options.paranoid)
    found = replace(found, notes=(*found.notes, *_unused(recipe, sources)))
    rows = tuple(_source_row(recipe, source, words.similarity.get(source.digest)) for source in sources)
    refusals = tuple(sorted([*found.refusals, *lacking, *words.refusals], key=lambda r: (r.name, r.reason)))
    told = {"notes": list(found.notes), "captioners": _captioners(recipe), "identities": wanted.identities}
    facts = rows_digest([*rows, *map(_reason, refusals), found.leaks.facts(), told])
    plan = make_plan(
        wanted, built, damage, partial(_rows, out, built), sources_digest=facts, rates=stores.scans.rates()
    )
    if built and not _papers_are_there(out, built):
        plan = replace(plan, relabel=True)
    return Draft(out, found, words, wanted, plan, built, damage, refusals, rows, facts)


def plan_build(recipe: Recipe, out: Path, options: Options, events: Events | None = None) -> Draft:
    """Plan the build of `recipe` into `out` by what its stores know, which are all that is written to.

    Raises SourceError, ManifestError, BuildError, OSError.
    """
    with in_words(out, "plan with fewer --workers, or where there is more"), Stores.open(out) as stores:
        return make_draft(recipe, out, stores, options, events)


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
    with speaking_of(out):
        _adopt(out)
    with within_memory(), speaking_of(out), Workspace(out) as workspace, Stores.open(workspace.out) as stores:
        made, moving = 0, ""
        problems: dict[tuple[str, str], str] = {}
        read_once = replace(options, paranoid=False)  # every byte was read by the first draft
        for _ in range(3):
            draft = runner.call("scan and plan", lambda: make_draft(recipe, workspace.out, stores, options, events))
            check_budget(draft, options)
            for _ in range(2 * len(chain_of(recipe))):  # what one captioner was refused goes to the next, to be judged
                if not draft.words.pending:
                    break
                make = partial(make_words, recipe, draft.words, stores.captions, options.captioning, events)
                found = runner.call("caption", make)
                _keep_problems(draft, found, stores.scans)
                made += found.captions
                problems |= found.problems
                draft = make_draft(recipe, workspace.out, stores, read_once, problems=problems)
                check_budget(draft, options)
            if draft.plan.captions:  # photographs that came or changed while captions were made
                moving = next(s.path for s in draft.wanted.sources if draft.wanted.captions[s.digest] is None)
                continue
            if draft.plan.is_empty and draft.built:
                workspace.sweep(())
                return Report(draft.built, draft, (), time.monotonic() - start, made)
            jobs = make_jobs(draft, workspace)
            events.begin("building shards", sum(len(job.samples) for job in jobs), "samples")
            batches = build_shards(jobs, draft.plan.seconds, runner, workspace.staging, events)
            events.end()
            results = [r for batch in batches for r in batch if isinstance(r, ShardResult)]
            changed = [r for batch in batches for r in batch if isinstance(r, SourceChangedError)]
            if not changed:
                break
            if not runner.shares_memory:
                expect_sources_seen(changed, draft.wanted.sources)
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
    if not (out / MANIFEST).exists() or not is_tidy(out):
        return None
    start = time.monotonic()
    draft = plan_build(recipe, out, options, events)
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
    same: dict[tuple[str, str], Copy] = {}
    same_pixels: dict[str, Copy] = {}
    for row in _rows(draft.out, built, names):
        if row.shard not in draft.damage:
            copy = Copy(str(draft.out / SHARDS / row.shard), row.span)
            same.setdefault((row.key, row.fingerprint), copy)
            same_pixels.setdefault(row.pixels, copy)
    jobs = [_job(step.shard, draft, workspace, same, same_pixels, have) for step in plan.build]
    return sorted(jobs, key=lambda job: (-len(job.samples), job.name))


def _job(
    shard: WantedShard,
    draft: Draft,
    workspace: Workspace,
    same: Mapping[tuple[str, str], Copy],
    same_pixels: Mapping[str, Copy],
    have: Mapping[str, ShardEntry],
) -> ShardJob:
    every = (s for source in shard.sources for s in draft.wanted.samples(source, shard.degradation))
    samples = tuple(sorted(every, key=lambda s: s.key))
    # By key too: a photograph as large as one tile has the same pixels whole, under another key.
    copies = {s.fingerprint: same[s.key, s.fingerprint] for s in samples if (s.key, s.fingerprint) in same}
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


def build_shards(
    jobs: Sequence[ShardJob], seconds: float, runner: Runner, staging: Path, events: Events
) -> list[list[ShardResult | SourceChangedError]]:
    """Make all shards, batch by batch, where `runner` runs. `seconds`: what they take on one core, as far as is known.

    Progress is told after every sample, or, by workers in other processes, after every batch.
    """
    if not jobs:  # something is dropped or told anew: no reason to start workers
        return []
    for half in staging.glob("*.tmp"):  # of workers that were killed; one that still writes it keeps its open file
        half.unlink(missing_ok=True)
    if runner.shares_memory:
        return runner.map("build shards", partial(build_batch, progress=events.advance), make_batches(jobs))
    stored = store_batches(make_batches(jobs, batch_count(runner.workers, seconds)), staging)
    batches = runner.map("build shards", build_stored, stored, lambda batch: events.advance(batch.samples))
    expect_staged(result for batch in batches for result in batch if isinstance(result, ShardResult))
    return batches


def make_batches(jobs: Sequence[ShardJob], most: int = MAX_BATCHES) -> list[list[ShardJob]]:
    """Jobs in `most` batches at the most, of about equal size; the largest first."""
    count = min(len(jobs), most)
    batches: list[list[ShardJob]] = [[] for _ in range(count)]
    for i, job in enumerate(jobs):
        place = i % (2 * count)  # forth and back: the shards of one bucket come in the same order of degradations
        batches[min(place, 2 * count - 1 - place)].append(job)
    return batches


def build_stored(batch: StoredBatch) -> list[ShardResult | SourceChangedError]:
    """Make the shards of a batch that was left in the dataset's folder. Raises BuildError beside what they raise."""
    return build_batch(load_batch(batch))


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
    if draft.built and _is_sound(draft.out, draft.built, SAMPLES):
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
        captioners=_captioners(recipe),
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
    if not built or not names:
        return []
    if _is_sound(out, built, SAMPLES):
        return read_samples(out, names)
    found = []
    for entry in built.shards:
        if entry.name in names:
            try:
                found += rows_of_shard(out / SHARDS / entry.name, entry.split)
            except (DamagedShardError, OSError):
                continue
    return found


def _is_sound(out: Path, built: Manifest, table: str) -> bool:
    """Whether a table is the one that was written: another build's names places where other samples lie now."""
    return is_intact(out / table, built.tables.get(table, ""))


def _lack(recipe: Recipe, source: Source) -> str:
    """What the recipe's degradations would need for a photograph and have not, in words; "" for nothing."""
    if source.is_pair:
        return ""
    entries = source.entries or recipe.degradations
    lacks = (recipe.degradations[entry].degradation.lacks(source.names[0]) for entry in entries)
    return next((lack for lack in lacks if lack), "")


def _unused(recipe: Recipe, sources: Sequence[Source]) -> list[str]:
    """Sentences on degradations of the recipe that no photograph undergoes."""
    clean = [source for source in sources if not source.is_pair]
    used = {entry for source in clean for entry in source.entries or recipe.degradations}
    why = "every source of clean photographs names others" if clean else "the sources hold no clean photograph"
    return [
        f"[degradations.{entry}] is applied to nothing: {why}; name it in a source's `degradations`, or remove it"
        for entry in recipe.degradations
        if entry not in used and sources
    ]


def _recall(recipe: Recipe, out: Path, built: Manifest | None, sources: Sequence[Source], store: CaptionStore) -> int:
    """Put what models said for the built dataset, captions and similarities, back into a store that has lost it; gives
    how much that was.

    A dataset that was copied without its private folder keeps its sentences that way: another machine's model might
    word some of them otherwise. Only of models that are wholly those of the built dataset.
    """
    if not built:
        return 0
    now = _captioners(recipe)
    same = {name for name, key in now.items() if built.captioners.get(name) == key}
    # Where both captioners are called the same, the dataset does not say whose a sentence is.
    mine = [c for c in chain_of(recipe) if c.stored and label(c) in same and FALLBACK.format(label(c)) not in now]
    scorer = recipe.similarity if recipe.similarity and label(recipe.similarity) in same else None
    if not mine and not scorer:
        return 0
    contents = {source.digest: source.content for source in sources}
    rows = [row for row in _rows(out, built, [entry.name for entry in built.shards]) if row.source in contents]
    count = 0
    for captioner in mine:
        key = fingerprint(captioner)
        said = {contents[row.source]: row.caption for row in rows if row.captioner == label(captioner)}
        there = store.get(said, key)
        lost = [(content, text) for content, text in said.items() if content not in there]
        store.put(lost, key)
        count += len(lost)
    if scorer and _is_sound(out, built, SOURCES):
        key, texts = fingerprint(scorer), {row.source: row.caption for row in rows}
        judged = [s for s in read_sources(out) if s["digest"] in texts and s["similarity"] is not None]
        scores = {(contents[s["digest"]], texts[s["digest"]]): float(s["similarity"]) for s in judged}
        known = store.get_scores(scores, key)
        missing = [(item, score) for item, score in scores.items() if item not in known]
        store.put_scores(missing, key)
        count += len(missing)
    return count


FALLBACK = "{} (fallback)"
"""What the manifest calls a fallback that has the name and version of the captioner before it."""


def _captioners(recipe: Recipe) -> dict[str, str]:
    """The fingerprints of all captioners that are asked, and of the model that judges their captions, by
    `name@version`."""
    found: dict[str, str] = {}
    for captioner in chain_of(recipe):
        name = label(captioner)
        found[FALLBACK.format(name) if name in found else name] = fingerprint(captioner)
    if recipe.similarity:
        found[label(recipe.similarity)] = fingerprint(recipe.similarity)
    return found


def _known_problems(sources: Sequence[Source], store: ScanStore) -> Problems:
    """What models could not caption or judge in earlier builds. By name as well, since the reasons tell it."""
    names = {(source.content, source.names[0]) for source in sources}
    kept = store.problems()
    return {(model, content): reason for (model, content, name), reason in kept.items() if (content, name) in names}


def _keep_problems(draft: Draft, made: Made, store: ScanStore) -> None:
    """Keep what models could not caption or judge, so that a build with nothing new asks none of them again; but not
    where a photograph could not be read just now."""
    sources = {source.content: source for source in draft.wanted.sources}
    kept = []
    for (model, content), reason in made.problems.items():
        source = sources[content]
        try:
            load_clean(source.path, content)
        except (SourceChangedError, BadImageError):
            continue
        kept.append((model, content, source.names[0], reason))
    store.put_problems(kept)


def _adopt(out: Path) -> None:
    """Make the private folder of a dataset that was copied without it. Whatever else lies in `out` is let be."""
    try:
        if load_manifest(out):
            (out / PRIVATE).mkdir(exist_ok=True)
    except ManifestError:
        return  # a damaged one, or none of patina's: entering the workspace tells


def _papers_are_there(out: Path, built: Manifest) -> bool:
    """Whether tables, card and Croissant file lie beside the manifest, the tables as they were written."""
    if not (out / CARD).is_file() or not (out / CROISSANT).is_file():
        return False
    return all(_is_sound(out, built, name) for name in built.tables)


def _damage(out: Path, built: Manifest | None, store: ScanStore, paranoid: bool) -> dict[str, str]:
    """Shards that are not as the manifest says, with what is wrong. One whose stat did not change is trusted.

    Raises OutputError if the dataset's folder is gone as a whole."""
    damage: dict[str, str] = {}
    fresh: list[tuple[str, os.stat_result, str]] = []
    begun_ns = time.time_ns()
    for entry in built.shards if built else ():
        path = out / SHARDS / entry.name
        try:
            stat = path.stat()
        except OSError:
            damage[entry.name] = "the file is missing"
            continue
        if not S_ISREG(stat.st_mode):
            damage[entry.name] = "there is no plain file of that name"
            continue
        if stat.st_size != entry.bytes:
            damage[entry.name] = f"the file has {stat.st_size} bytes, not {entry.bytes}"
            continue
        digest = None if paranoid else store.trusted_digest(str(path), stat)
        if digest is None:
            try:
                digest = file_sha256(path)
            except OSError as error:
                damage[entry.name] = f"the file cannot be read: {error.strerror}"
                continue
            fresh.append((str(path), stat, digest))
        if digest != entry.sha256:
            damage[entry.name] = "its bytes are not those that were written"
    if damage:
        expect_there(out)
    store.put(fresh, begun_ns=begun_ns)
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
        "licence": reader.licence or source.licence,
        "attribution": reader.attribution or source.attribution,
        "phash": source.looks.phash,
        "bytes": source.bytes,
        "width": source.looks.width,
        "height": source.looks.height,
        "similarity": similarity,
    }
