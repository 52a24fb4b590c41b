"""Rows of samples.parquet: from the shards themselves, and as this version of the stored format calls those of an
earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from patina.pipeline.errors import DamagedShardError, ManifestError
from patina.pipeline.format.earlier import is_second, key_now, stored_as
from patina.pipeline.format.layout import SAMPLES, SHARDS, shard_name
from patina.pipeline.format.manifest import Manifest, SampleRow, ShardEntry, read_samples
from patina.pipeline.format.sample_schema import COLUMNS, fitting_value
from patina.pipeline.format.shard import Span, read_shard
from patina.pipeline.format.untrusted import facts_of
from patina.pipeline.hashing import is_intact


def sample_row(key: str, fact: Mapping[str, Any], span: Span, shard: str, split: str) -> SampleRow:
    """The row of one sample: what KEY.json says of it, and where it lies."""
    told = {column: fitting_value(fact, path) for column, path in COLUMNS.items() if column != "key"}
    return SampleRow(key=key, shard=shard, offset=span.offset, size=span.size, split=split, **told)


def rows_of_shard(path: Path, split: str) -> list[SampleRow]:
    """The rows of samples.parquet for one shard, read from the shard itself. Raises DamagedShardError."""
    return [row_of(key, members, span, path.name, split) for key, members, span in read_shard(path)]


def row_of(key: str, members: Mapping[str, bytes], span: Span, shard: str, split: str) -> SampleRow:
    """The row of samples.parquet for one sample, from its KEY.json. Raises DamagedShardError."""
    try:
        return sample_row(key, facts_of(members, f"{shard} {key}"), span, shard, split)
    except (KeyError, TypeError) as error:
        raise DamagedShardError(f"{shard}: {key}.json is missing or not as written ({error})") from None


def known_rows(out: Path, built: Manifest | None, names: Iterable[str]) -> list[SampleRow]:
    """Rows of these shards; where the table is lost, those that can be read from the shards themselves."""
    names = list(names)
    if not built or not names:
        return []
    if is_sound(out, built, SAMPLES):
        with suppress(ManifestError):  # of an earlier release that had fewer columns
            return read_samples(out, names)
    found = []
    for shard in built.shards:
        if shard.name in names:
            try:
                found += rows_of_shard(out / SHARDS / shard.name, shard.split)
            except (DamagedShardError, OSError):
                continue
    return found


def is_sound(out: Path, built: Manifest, table: str) -> bool:
    """Whether a table is the one that was written: another build's names places where other samples lie now."""
    return is_intact(out / table, built.tables.get(table, ""))


# ---------------------------------------------------------------------------------------------------------------------
# Of a dataset of the second version of the stored format


def name_now(shard: ShardEntry) -> str:
    """What this version calls a shard."""
    return shard_name(shard.split, shard.degradation, shard.bucket, shard.group)


def row_now(row: SampleRow) -> SampleRow:
    """A row whose key and fingerprint are those that this version gives the sample; its place is where it lies."""
    if not is_second(row.key):
        return row
    return replace(row, key=key_now(row.key, row.entry), fingerprint=stored_as(row.fingerprint))


def table_now(table: pa.Table) -> pa.Table:
    """As `row_now`, of a table that has the columns key, entry and fingerprint."""
    if not table.num_rows or not is_second(table["key"][0].as_py()):
        return table
    keys = [key_now(key, entry) for key, entry in zip(*(table[n].to_pylist() for n in ("key", "entry")), strict=True)]
    fingerprints = [stored_as(content) for content in table["fingerprint"].to_pylist()]
    for name, values in (("key", keys), ("fingerprint", fingerprints)):
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), pa.array(values))
    return table
