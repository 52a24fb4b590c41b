"""Putting finished shards, tables, card and manifest together, and publishing them as a version."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from patina.pipeline.builder.job import ShardResult
from patina.pipeline.builder.workspace import Workspace
from patina.pipeline.errors import DamagedShardError, ManifestError
from patina.pipeline.format.card import card
from patina.pipeline.format.croissant import croissant
from patina.pipeline.format.layout import CARD, CROISSANT, MANIFEST, PRIVATE, SAMPLES, SHARDS, SOURCES, STRIP
from patina.pipeline.format.manifest import (
    Manifest,
    SampleRow,
    ShardEntry,
    read_table,
    sources_schema,
    versions,
    write_samples,
    write_sources,
)
from patina.pipeline.format.rows import is_sound, rows_of_shard
from patina.pipeline.format.shard import read_span, unpack
from patina.pipeline.format.statistics import read_samples_table, statistics
from patina.pipeline.format.strip import Strip, draw_strip
from patina.pipeline.hashing import file_sha256
from patina.pipeline.machine import is_out_of_memory
from patina.pipeline.plan.captions import label
from patina.pipeline.plan.planning import PlannedBuild, Stores, refusal_record
from patina.pipeline.plan.recall import captioner_fingerprints
from patina.pipeline.redaction import without_secrets_in
from patina.pipeline.scan.recovered import TRUTH
from patina.pipeline.text import counted
from patina.pipeline.versions import KEEP
from patina.synth.compose import Composite
from patina.synth.degradation import Degradation


def publish(
    planned: PlannedBuild, workspace: Workspace, results: Sequence[ShardResult], stores: Stores, keep: int = KEEP
) -> Manifest:
    """Publish finished shards, tables, card and manifest as a version, and say what the dataset now is. Of the versions
    before, the last ones stay, `keep` with this one."""
    plan, recipe = planned.plan, planned.recipe
    shards = sorted([*plan.keep, *(r.shard for r in results)], key=lambda shard: shard.name)
    kept = [shard.name for shard in plan.keep]
    samples, sources = workspace.staging / SAMPLES, workspace.staging / SOURCES
    made = [row for result in results for row in result.rows]
    written = False
    if planned.built and is_sound(planned.built_in, planned.built, SAMPLES):
        with suppress(ManifestError):  # of an earlier release that had fewer columns
            write_samples(samples, planned.built_in, kept, made)
            written = True
    if not written:  # the old table is lost: the shards say all that it said
        again = [row for e in plan.keep for row in rows_of_shard(planned.built_in / SHARDS / e.name, e.split)]
        write_samples(samples, planned.out / PRIVATE, [], [*again, *made])
    write_sources(sources, planned.source_rows)
    manifest = Manifest(
        recipe=recipe.table,
        recipe_digest=recipe.digest,
        codec=planned.wanted.codec,
        identities=planned.wanted.identities,
        captioner=label(recipe.captioner),
        captioners=captioner_fingerprints(recipe),
        shards=tuple(shards),
        sources=len(planned.source_rows),
        duplicates=sum(len(row["names"]) - 1 for row in planned.source_rows),
        sources_digest=planned.sources_digest,
        set_aside=tuple(refusal_record(r) for r in planned.refusals),
        notes=planned.notes,
        leaks=planned.scan.leaks.facts(),
        tables={SAMPLES: file_sha256(samples), SOURCES: file_sha256(sources)},
        versions=versions(),
    )
    truth = _truth(planned)
    table = read_samples_table(workspace.staging)
    numbers = statistics(table, planned.source_rows)
    table_sizes = {path.name: path.stat().st_size for path in (samples, sources)}
    known = trusted_shards(planned.out, planned.built_in, plan.keep, stores)
    places = {name: planned.built_in / SHARDS / name for name in kept} | {r.shard.name: Path(r.staged) for r in results}
    strip = _strip(table, sources, places, planned.built_in / STRIP)
    workspace.publish(
        places,
        {
            SAMPLES: samples,
            SOURCES: sources,
            CARD: card(manifest, {name for names in truth.values() for name in names}, numbers, _shown(strip, planned)),
            **({STRIP: strip.picture} if strip else {}),
            CROISSANT: croissant(manifest, table_sizes, numbers, truth),
            MANIFEST: manifest.to_json(),
        },
        manifest.digest,
        _change(planned, results),
    )
    workspace.remove_old(1 if _tells_secrets(planned) else keep)
    known |= {r.shard.name: r.shard.sha256 for r in results}
    remember_shards(planned.out, known, stores)
    stores.scans.put_sums({r.shard.sha256: r.sums for r in results if r.sums}, {shard.sha256 for shard in shards})
    return manifest


def _strip(table: pa.Table, sources: Path, places: Mapping[str, Path], before: Path) -> Strip | None:
    """The card's picture; None, which stops no build, where a shard cannot be read or memory is short."""

    def read(row: SampleRow) -> Mapping[str, bytes]:
        return unpack(read_span(places[row.shard], row.span), row.shard)[1]

    try:
        return draw_strip(table, read_table(sources, sources_schema()), read, before)
    except Exception as error:
        if not isinstance(error, DamagedShardError | OSError) and not is_out_of_memory(error):
            raise
        logging.getLogger(__name__).warning("the card gets no picture: %s; `patina check` finds all of these", error)
        return None


def _shown(strip: Strip | None, planned: PlannedBuild) -> list[tuple[Mapping[str, Any], list[str]]]:
    """What the picture shows: rows of sources.parquet, each with its entries in order."""
    if strip is None:
        return []
    wanted = {rows[0].source_sha256: [row.entry for row in rows] for rows in strip.shown}
    rows = {row["digest"]: row for row in planned.source_rows if row["digest"] in wanted}
    return [(rows[digest], entries) for digest, entries in wanted.items()]


def _truth(planned: PlannedBuild) -> dict[str, list[str]]:
    """Names of the truth maps and intermediate targets that samples of each entry may have."""
    found = {
        entry: {*s.degradation.truth, *step_names(s.degradation)} for entry, s in planned.recipe.degradations.items()
    }
    for entry in {source.degradation for source in planned.wanted.columns.examples if source.is_pair}:
        found.setdefault(entry, set()).update(TRUTH.get(entry, ()))
    return {entry: sorted(names) for entry, names in found.items()}


def step_names(degradation: Degradation) -> tuple[str, ...]:
    """Names of the intermediate targets that its samples carry."""
    if isinstance(degradation, Composite) and degradation.steps:
        return tuple(f"step-{i}" for i in range(1, len(degradation.parts)))
    return ()


def _change(planned: PlannedBuild, results: Sequence[ShardResult]) -> str:
    """What a version changed, in words."""
    if not planned.built:
        return f"first built: {counted(len(results), 'shard')}"
    counts = {
        "written": len(results),
        "dropped": len(planned.plan.drop),
        "kept": len(planned.plan.keep),
    }
    told = ", ".join(f"{counted(n, 'shard')} {what}" for what, n in counts.items() if n)
    told = "; ".join([told, *planned.plan.changes])
    return told if results or planned.plan.drop else f"facts of sources or recipe; {told}"


def _tells_secrets(planned: PlannedBuild) -> bool:
    """Whether the version before holds an address with a secret in it, as earlier releases stored them."""
    try:
        body = json.loads((planned.built_in / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(without_secrets_in(body) != body)


def trusted_shards(out: Path, folder: Path, shards: Iterable[ShardEntry], stores: Stores) -> dict[str, str]:
    """Digests of those shards in `folder` whose times say that they are as they were when they were last read. A second
    name changes a file's ctime, so this is asked before, and `remember_shards` told after."""
    trusted = {}
    for shard in shards:
        name, path = str(out / SHARDS / shard.name), folder / SHARDS / shard.name
        if not path.is_file():
            continue
        stat = path.stat()
        if stores.scans.trusted_digest(name, stat) == shard.sha256:
            trusted[shard.name] = shard.sha256
    return trusted


def remember_shards(out: Path, digests: Mapping[str, str], stores: Stores) -> None:
    """Keep the digests of published shards, by file name, with their times as they are now."""
    paths = [(out / SHARDS / name, digest) for name, digest in digests.items()]
    stores.scans.put([(str(path), path.stat(), digest) for path, digest in paths], settled=True)
