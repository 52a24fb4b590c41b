"""Datasets of the second version of the stored format: what this one calls their keys, fingerprints and facts.

A dataset of that version is read as it is. Its samples' keys name no entry, so that they repeat from entry to entry;
and its shards are called SPLIT-ENTRY-BUCKET.tar. The next build takes it over: images are copied, names are not.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from patina.pipeline.format.layout import SCHEMA, key_part

FORMER: Mapping[str, str] = {"source_sha256": "source"}
"""Columns of samples.parquet and fields of KEY.json that were called otherwise, by their present names."""


MEASURES: Mapping[str, str] = {"ssim": "structure", "clip_ssim": "clip_structure"}
"""Of KEY.json's severity, what the second version called otherwise; its `ssim` was no paper's."""

FIGURES = ("psnr_y", "ssim", "ssim_y")
"""Papers' figures, which the second version did not measure: they are NaN until a build takes a sample over."""


def papers(schema: int) -> frozenset[str]:
    """What lay among a dataset's shards that is none, by the version of its stored format."""
    return frozenset({"sizes.json"} if schema < 3 else ())


_KEY = re.compile(r"([0-9a-f]{16})((?:-y[0-9]{5,}x[0-9]{5,})?(?:-v[0-9]{3,})?)", re.ASCII)


def stored_as(content: str) -> str:
    """The fingerprint of a sample in this version of the stored format, from the digest of all that it tells, which was
    its fingerprint in the second version."""
    return hashlib.sha256(f"{SCHEMA} {content}".encode()).hexdigest()[:32]


def facts_now(fact: dict[str, Any]) -> dict[str, Any]:
    """What a KEY.json says under the names of this version; key and fingerprint are as they were."""
    if fact.get("schema") == 2:
        for name, before in FORMER.items():
            if before in fact:
                fact = {**fact, name: fact[before]}
                del fact[before]
        if isinstance(severity := fact.get("severity"), Mapping):
            renamed = {MEASURES.get(name, name): value for name, value in severity.items()}
            fact = {**fact, "severity": renamed | dict.fromkeys(FIGURES, math.nan)}
    return fact


def is_unmeasured(fact: Mapping[str, Any]) -> bool:
    """Whether the papers' figures of a sample, whose facts have the names of this version, are still to be measured."""
    return fact.get("schema") == 2


def figures_unknown(table: pa.Table) -> pa.Table:
    """The samples' table of a dataset of the second version with NaN for the papers' figures; another as it is."""
    names = [name for name in FIGURES if name in table.column_names]
    if "psnr_y" not in names or not table.num_rows or table["psnr_y"].null_count < table.num_rows:
        return table
    unknown = pa.array([math.nan] * table.num_rows, pa.float64())
    for name in names:
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), unknown)
    return table


def is_second(key: str) -> bool:
    """Whether a key is one of the second version."""
    return _KEY.fullmatch(key) is not None


def key_now(key: str, entry: str) -> str:
    """What this version calls the sample of that key; a key of this version stays as it is."""
    found = _KEY.fullmatch(key)
    return f"{found[1]}-{key_part(entry)}{found[2]}" if found else key
