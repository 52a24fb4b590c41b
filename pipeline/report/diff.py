"""Two datasets compared, or one at two times: what was added, changed and dropped, from manifests and tables alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from patina.pipeline.errors import ManifestError
from patina.pipeline.format.layout import MANIFEST, SAMPLES, SOURCES
from patina.pipeline.format.manifest import Manifest, load_manifest, read_table, samples_schema, sources_schema
from patina.pipeline.format.rows import name_now, table_now
from patina.pipeline.format.statistics import numbered
from patina.pipeline.hashing import file_sha256
from patina.pipeline.text import counted
from patina.pipeline.versions.lease import OpenDataset, open_dataset

Rows: TypeAlias = NDArray[np.int64]
"""Places of rows in a table."""

COLUMNS = (
    "key", "entry", "split", "source_sha256", "severity", "caption", "captioner", "sentence", "fingerprint", "pixels",
)  # fmt: skip
"""What is read of samples.parquet: a million rows of these take a quarter of a gigabyte."""

BATCH = 1 << 20
"""Rows compared at a time."""

MAX_LISTED = 200
"""Items of a list that are kept; all are counted."""

SHOWN = 12
"""Items of a list that `lines` prints."""


@dataclass(frozen=True)
class Snapshot:
    """A dataset as its manifest and its tables say it is; `samples` has COLUMNS, in the file's order, with the keys
    and fingerprints of this version of the stored format. `opened` holds
    the version that `folder` is."""

    folder: Path
    manifest: Manifest
    samples: pa.Table = field(repr=False)
    sources: pa.Table = field(repr=False)
    opened: OpenDataset = field(repr=False)


@dataclass(frozen=True)
class Listed:
    """A list that may be long: how many items it has, and the first of them in order."""

    total: int
    items: tuple[str, ...]


@dataclass(frozen=True)
class EntryChange:
    """The samples of one entry of the recipe, matched by their keys.

    pixels    what decides their images changed. captions: their captions did. reworded: only how they are worded, or
              the captioner's name. moved: they are in another split. same: nothing of this.
    severity  the median before and after, 0 to 100; nan where there is no sample.
    """

    entry: str
    added: int
    dropped: int
    pixels: int
    captions: int
    reworded: int
    moved: int
    same: int
    severity: tuple[float, float]

    @property
    def is_same(self) -> bool:
        """Whether no sample came, went or changed."""
        return not (self.added or self.dropped or self.pixels or self.captions or self.reworded or self.moved)

    @property
    def changes(self) -> str:
        """What happened to it, in words."""
        counts = {
            "added": self.added,
            "dropped": self.dropped,
            "with other pixels": self.pixels,
            "with another caption": self.captions,
            "worded anew": self.reworded,
            "in another split": self.moved,
            "as before": self.same,
        }
        text = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        before, after = (f"{value:.1f}" for value in self.severity)
        return (
            f"{text}; median severity {before} → {after}" if before != after and "nan" not in before + after else text
        )


@dataclass(frozen=True)
class Diff:
    """What differs. All is empty between equal datasets, but for `tools`, which explain and do not count.

    recipe     settings that differ, in words. tools: versions of what built them, likewise.
    shards     names by what happened: added, dropped, rewritten. sources: names likewise: added, dropped, edited (other
               bytes under the same name), renamed, in another split, with other facts.
    samples    by entry. captions: photographs whose caption changed. set_aside: inputs by what happened.
    added      rows of the new table, dropped: of the old one, changed: of both, where a sample's pixels changed.
    """

    recipe: tuple[str, ...]
    tools: tuple[str, ...]
    shards: Mapping[str, Listed]
    sources: Mapping[str, Listed]
    samples: tuple[EntryChange, ...]
    captions: Listed
    set_aside: Mapping[str, Listed]
    counts: tuple[tuple[int, int], tuple[int, int]]
    digests: tuple[str, str]
    added: Rows = field(repr=False)
    dropped: Rows = field(repr=False)
    changed: tuple[Rows, Rows] = field(repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether the two are equal in all that counts."""
        lists = (*self.shards.values(), *self.sources.values(), *self.set_aside.values(), self.captions)
        entries = all(entry.is_same for entry in self.samples)
        return not self.recipe and entries and not any(one.total for one in lists)

    def lines(self, shown: int = SHOWN) -> list[str]:
        """All of it in words, a line each; of long lists the first `shown` items."""
        (old_samples, old_shards), (new_samples, new_shards) = self.counts
        if self.is_empty:
            return [f"equal: {_size(new_samples, new_shards)}, digest {self.digests[1][:16]}"]
        lines = [
            f"old      {_size(old_samples, old_shards)}, digest {self.digests[0][:16]}",
            f"new      {_size(new_samples, new_shards)}, digest {self.digests[1][:16]}",
        ]
        lines += _section("recipe", [("", Listed(len(self.recipe), self.recipe))], shown)
        lines += _section("tools", [("", Listed(len(self.tools), self.tools))], shown)
        lines += _section("shards", self.shards.items(), shown)
        lines += _section("sources", self.sources.items(), shown)
        entries = [f"{entry.entry}: {entry.changes}" for entry in self.samples if not entry.is_same]
        lines += _section("samples", [("", Listed(len(entries), tuple(entries)))], len(entries))
        lines += _section("captions", [("", self.captions)], shown)
        lines += _section("set aside", self.set_aside.items(), shown)
        return lines


def _size(samples: int, shards: int) -> str:
    return f"{counted(samples, 'sample')} in {counted(shards, 'shard')}"


def _section(name: str, groups: Iterable[tuple[str, Listed]], shown: int) -> list[str]:
    """A heading with what happened how often, and the items below it; nothing where nothing happened."""
    found = [(what, one) for what, one in groups if one.total]
    if not found:
        return []
    head = ", ".join(f"{one.total:,} {what}" for what, one in found if what)
    lines = [f"{name:8} {head}".rstrip()]
    for what, one in found:
        lines += [f"  {what} {item}" if what else f"  {item}" for item in one.items[:shown]]
        if one.total > shown:
            lines.append(f"  … and {one.total - shown:,} more {what}".rstrip())
    return lines


# ---------------------------------------------------------------------------------------------------------------------


def read_snapshot(path: Path) -> Snapshot:
    """A dataset's manifest and tables, from its folder, from a version of it (OUT@VERSION), or from its manifest.json
    with both tables beside it.

    Raises ManifestError if one is missing or damaged, or if the tables are not the manifest's.
    """
    opened = open_dataset(path.parent if path.name == MANIFEST and not path.is_dir() else path)
    folder = opened.folder
    manifest = load_manifest(folder)
    if manifest is None:
        raise ManifestError(f"{path}: expected a dataset's folder or its {MANIFEST}, found none")
    for name, digest in manifest.tables.items():
        if not (folder / name).exists():
            raise ManifestError(f"{folder / name} is missing: a comparison needs {MANIFEST}, {SAMPLES} and {SOURCES}")
        if file_sha256(folder / name) != digest:
            raise ManifestError(f"{folder / name} is not the table that its {MANIFEST} was written with; copy both")
    columns = pa.schema([samples_schema().field(name) for name in COLUMNS])
    samples = table_now(read_table(folder / SAMPLES, columns))
    return Snapshot(folder, manifest, samples, read_table(folder / SOURCES, sources_schema()), opened)


def diff(old: Snapshot, new: Snapshot) -> Diff:
    """What `new` has, and how, that `old` had not; samples are matched by entry and key, in whatever split they are."""
    both, dropped, added = _match(old.samples, new.samples, ("entry", "key"))
    differ = {
        name: _differ(old.samples, new.samples, name, both) for name in ("pixels", "caption", "fingerprint", "split")
    }
    pixels = differ["pixels"]
    return Diff(
        recipe=tuple(settings(old.manifest.recipe, new.manifest.recipe)),
        tools=tuple(settings(_tools(old.manifest), _tools(new.manifest))),
        shards=_shards(old.manifest, new.manifest),
        sources=_sources(old.sources, new.sources),
        samples=_entries(old.samples, new.samples, both, dropped, added, differ),
        captions=_captions(old, new, both, differ["caption"]),
        set_aside=_set_aside(old.manifest, new.manifest),
        counts=(_count(old), _count(new)),
        digests=(old.manifest.digest, new.manifest.digest),
        added=added,
        dropped=dropped,
        changed=(both[0][pixels], both[1][pixels]),
    )


def settings(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """What differs between two tables of settings, in words: `degradations.noisy.sigma 50 → 15..25`."""
    if old == new:
        return
    if _is_table(old) and _is_table(new):
        for key in sorted(old.keys() | new.keys()):
            below = f"{name}.{key}".lstrip(".")
            if key not in old or key not in new:
                value, what = (new[key], "added") if key in new else (old[key], "dropped")
                yield f"{below} {what}" + ("" if _is_table(value) else f": {_spelt(value)}")
            else:
                yield from settings(old[key], new[key], below)
    elif _is_tables(old) and _is_tables(new):
        was = [(i, table) for i, table in enumerate(old, 1) if table not in new]
        now = [(i, table) for i, table in enumerate(new, 1) if table not in old]
        for (_, table), (i, other) in zip(was, now, strict=False):  # what is left over came or went
            yield from settings(table, other, f"{name}[{i}]")
        same = min(len(was), len(now))
        yield from (f"{name}[{i}] dropped: {_spelt(table)}" for i, table in was[same:])
        yield from (f"{name}[{i}] added: {_spelt(table)}" for i, table in now[same:])
        if not was and not now:
            yield f"{name}: in another order, or repeated"
    else:
        yield f"{name} {_spelt(old)} → {_spelt(new)}"


def _is_table(value: object) -> bool:
    """Whether it is a table of settings, and no range."""
    return isinstance(value, Mapping) and value.keys() != {"min", "max"}


def _is_tables(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(_is_table(one) for one in value)


def _spelt(value: Any) -> str:
    if isinstance(value, Mapping) and value.keys() == {"min", "max"}:
        return f"{value['min']}..{value['max']}"
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


def _tools(manifest: Manifest) -> dict[str, Any]:
    return {**manifest.versions, "codecs": manifest.codec, "captioner": manifest.captioner}


def _count(one: Snapshot) -> tuple[int, int]:
    return one.samples.num_rows, len(one.manifest.shards)


def _listed(items: Iterable[str]) -> Listed:
    found = sorted(items)
    return Listed(len(found), tuple(found[:MAX_LISTED]))


def _shards(old: Manifest, new: Manifest) -> dict[str, Listed]:
    """What became of shards, by their names on the disk; an earlier version of the stored format called them otherwise,
    so they are matched by what this version calls them."""
    before, after = ({name_now(shard): shard for shard in one.shards} for one in (old, new))
    both = [(before[name], after[name]) for name in before.keys() & after.keys()]
    return {
        "added": _listed(after[name].name for name in after.keys() - before.keys()),
        "dropped": _listed(before[name].name for name in before.keys() - after.keys()),
        "rewritten": _listed(
            now.name if was.name == now.name else f"{was.name} → {now.name}"
            for was, now in both
            if was.sha256 != now.sha256
        ),
    }


def _set_aside(old: Manifest, new: Manifest) -> dict[str, Listed]:
    before, after = ({f"{one['name']}: {one['reason']}" for one in m.set_aside} for m in (old, new))
    return {"now": _listed(after - before), "no more": _listed(before - after)}


# ---------------------------------------------------------------------------------------------------------------------
# Tables


def _match(old: pa.Table, new: pa.Table, keys: Sequence[str]) -> tuple[tuple[Rows, Rows], Rows, Rows]:
    """Rows that have equal `keys` in both, in the new table's order; rows of the old one alone; rows of the new."""
    sides = [
        table.select(list(keys)).append_column(name, pa.array(np.arange(table.num_rows)))
        for table, name in ((old, "old"), (new, "new"))
    ]
    joined = sides[0].join(sides[1], list(keys), join_type="full outer")
    before, after = (joined[name].fill_null(-1).to_numpy() for name in ("old", "new"))
    both = (before >= 0) & (after >= 0)
    order = np.argsort(after[both], kind="stable")
    return (before[both][order], after[both][order]), np.sort(before[after < 0]), np.sort(after[before < 0])


def _differ(old: pa.Table, new: pa.Table, name: str, both: tuple[Rows, Rows]) -> NDArray[np.bool_]:
    """Where a column differs between matched rows; two missing values are equal."""
    found = [np.zeros(0, np.bool_)]
    for start in range(0, len(both[0]), BATCH):  # a column of a million texts fits into one array, a hundred do not
        one, other = (
            table[name].take(rows[start : start + BATCH]).combine_chunks()
            for table, rows in zip((old, new), both, strict=True)
        )
        if pa.types.is_list(one.type):
            one, other = (pc.binary_join(column, "\0") for column in (one, other))
        absent = [column.is_null(nan_is_null=True) for column in (one, other)]
        unequal = pc.and_not(pc.fill_null(pc.not_equal(one, other), False), pc.or_(*absent))
        found.append(pc.or_(unequal, pc.xor(*absent)).to_numpy(zero_copy_only=False))
    return np.concatenate(found)


def _entries(
    old: pa.Table,
    new: pa.Table,
    both: tuple[Rows, Rows],
    dropped: Rows,
    added: Rows,
    differ: Mapping[str, NDArray[np.bool_]],
) -> tuple[EntryChange, ...]:
    before, after = _codes(old["entry"]), _codes(new["entry"])
    severity = [table["severity"].to_numpy() for table in (old, new)]
    plain = ~(differ["pixels"] | differ["caption"])
    changes = []
    for entry in sorted(before[0].keys() | after[0].keys()):
        was, now = (codes == names.get(entry, -1) for names, codes in (before, after))
        matched = now[both[1]]
        counts = {
            "added": now[added],
            "dropped": was[dropped],
            "pixels": matched & differ["pixels"],
            "captions": matched & differ["caption"],
            "reworded": matched & plain & differ["fingerprint"],
            "moved": matched & differ["split"],
            "same": matched & plain & ~differ["fingerprint"] & ~differ["split"],
        }
        medians = [float(np.median(values[rows])) if rows.any() else float("nan")
                   for values, rows in zip(severity, (was, now), strict=True)]  # fmt: skip
        numbers = {name: int(rows.sum()) for name, rows in counts.items()}
        changes.append(EntryChange(entry=entry, severity=(medians[0], medians[1]), **numbers))
    return tuple(changes)


def _codes(column: pa.ChunkedArray) -> tuple[dict[str, int], NDArray[np.int32]]:
    """A column of few different texts as numbers, and the number of each text."""
    encoded = numbered(column)
    return {value: i for i, value in enumerate(encoded.dictionary.to_pylist())}, encoded.indices.to_numpy()


def _captions(old: Snapshot, new: Snapshot, both: tuple[Rows, Rows], differ: NDArray[np.bool_]) -> Listed:
    """Photographs whose caption changed, each once however many samples it has."""
    columns = {"digest": new.samples["source_sha256"].take(both[1][differ])}
    for name, one, rows in (("old", old, both[0]), ("new", new, both[1])):
        columns[name] = one.samples["caption"].take(rows[differ])
    found = pa.table(columns).group_by(list(columns)).aggregate([]).sort_by([(n, "ascending") for n in columns])
    first = found.slice(0, MAX_LISTED).to_pylist()
    digests = pa.array([row["digest"] for row in first], pa.string())
    named = new.sources.filter(pc.is_in(new.sources["digest"], digests)).select(["digest", "names"]).to_pylist()
    names = {row["digest"]: row["names"][0] for row in named}
    lines = sorted(f"{names[row['digest']]}: {_spelt(row['old'])} → {_spelt(row['new'])}" for row in first)
    return Listed(found.num_rows, tuple(lines))


def _sources(old: pa.Table, new: pa.Table) -> dict[str, Listed]:
    both, dropped, added = _match(old, new, ("digest",))
    differ = {name: _differ(old, new, name, both) for name in sources_schema().names if name != "digest"}
    gone, come = (
        Counter(_name(row) for row in table.select(["names", "lq_name"]).take(rows).to_pylist())
        for table, rows in ((old, dropped), (new, added))
    )
    facts = [name for name in sources_schema().names if name not in {"digest", "names", "split"}]
    other = np.zeros(len(both[0]), np.bool_)
    for name in facts:
        other |= differ[name]

    def listed(where: NDArray[np.bool_], line_of: Callable[[dict[str, Any], dict[str, Any]], str]) -> Listed:
        sides = ((old, both[0]), (new, both[1]))
        # of a million of them not all need be
        first = [table.take(rows[where][:MAX_LISTED]).to_pylist() for table, rows in sides]
        return Listed(int(where.sum()), tuple(sorted(line_of(was, now) for was, now in zip(*first, strict=True))))

    def other_facts(was: dict[str, Any], now: dict[str, Any]) -> str:
        return f"{_name(now)}: {', '.join(settings({n: was[n] for n in facts}, {n: now[n] for n in facts}))}"

    return {
        "added": _listed((come - gone).elements()),
        "dropped": _listed((gone - come).elements()),
        "edited": _listed((gone & come).elements()),
        "renamed": listed(differ["names"], lambda was, now: f"{_name(was)} → {_name(now)}"),
        "in another split": listed(differ["split"], lambda was, now: f"{_name(now)}: {was['split']} → {now['split']}"),
        "with other facts": listed(other, other_facts),
    }


def _name(source: Mapping[str, Any]) -> str:
    """A source's name for people; a pair's names both files, since one clean image may serve several degraded ones."""
    return f"{source['names'][0]} with {source['lq_name']}" if source["lq_name"] else str(source["names"][0])
