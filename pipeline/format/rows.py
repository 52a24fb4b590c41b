"""Rows of samples.parquet, from the shards themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from patina.pipeline.errors import DamagedShardError, ManifestError
from patina.pipeline.format.layout import SAMPLES, SHARDS
from patina.pipeline.format.manifest import Manifest, SampleRow, read_samples
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
